#!/bin/bash
# SPDX-License-Identifier: MIT
# A faulty network between two boards and the head: bytes trickle, come late, come damaged, or do not come; links are
# cut and reset, again and again. The text is that of an undisturbed run.
. "$(dirname "$0")/lib"

proxy=$SHERD_BUILD/tests/net/bin/proxy
if [[ ! -x $proxy ]]; then
	echo "skipped: tests/net/bin/proxy is not built"
	exit 77
fi
at_exit()
{
	local pid

	for pid in "$tmp"/*.proxy; do
		[[ ! -e $pid ]] || kill -KILL "$(<"$pid")" 2>/dev/null
	done
}

# Boards a and b are dialled at their proxies, spare c at home.
address()
{
	case $1 in
	[ab]) echo "$net.$(($(number_of "$1") + 100)):7433" ;;
	*) home "$1" ;;
	esac
}
go_between() # NAME FAULT...: from now on
{
	local name=$1

	shift
	[[ ! -e $tmp/$name.proxy ]] || kill -KILL "$(<"$tmp/$name.proxy")" 2>/dev/null
	(
		"$proxy" "$(address "$name")" "$(home "$name")" "$@" >"$tmp/$name.bound" 2>&1 </dev/null &
		echo $! >"$tmp/$name.proxy"
	)
	wait_until 5 test -s "$tmp/$name.bound"
}

shards 0-3 $half
slow=$(slowly 10)
for name in a b c; do
	# shellcheck disable=SC2086
	ok "board $name starts" node $name $slow
done
plan alone int8 '' 0-3@a "$half@b"
plan spared int8 c 0-3@a "$half@b"
go_between a
go_between b
ask=(-p "$(words 20)" -n 30 --temp 0.8 -s "$seed")
want int8 3 "${ask[@]}"
lead alone "${ask[@]}"
ok "through a network without faults the text is that of one process" is_wanted
boards_remember

attempt() # "sentence" FAULT...
{
	local what=$1

	shift
	go_between a "$@"
	go_between b "$@"
	lead alone "${ask[@]}"
	ok "$what: the text is that of one process" is_wanted
}

few()
{
	echo $(($1 + RANDOM % $1))
}

attempt "bytes that come one by one, in both directions" there piece=1 pause_us=20 back piece=1 pause_us=20
attempt "a reader that is slow" there piece=512 pause_us=5000
attempt "40 ms there and back" there delay_us=20000 back delay_us=20000
for way in there back; do
	attempt "every link is reset after some KiB $way" $way reset="$(few 3000)"
	attempt "every link is cut after some KiB $way" $way cut="$(few 3000)"
	attempt "every link falls silent after some KiB $way" $way stall="$(few 3000)"
	attempt "a bit is flipped in every link after some KiB $way" $way corrupt="$(few 3000)"
done

go_between a
go_between b
struck alone 10 "kill -STOP $(<"$tmp/b.proxy"); (sleep 5; kill -CONT $(<"$tmp/b.proxy")) >/dev/null 2>&1 &" "${ask[@]}"
ok "an outage of 5 s: the text is that of one process" is_wanted
struck alone 10 "go_between b" "${ask[@]}"
ok "all links of a board are reset at once: the text is that of one process" is_wanted
struck spared 10 "go_between b blackhole" "${ask[@]}"
ok "connections that are taken and never answered, and a spare: the text is that of one process" is_wanted
lead alone "${ask[@]}" --deadline 6
ok "connections that are never answered are a sentence" fails_with "nobody can serve layers 3 to ., after [6-9] s: b: "
go_between b there corrupt=10
lead alone "${ask[@]}" --deadline 3
ok "and so are bytes that are damaged in every greeting" fails_with "nobody can serve layers 3 to ., after [3-6] s: b: "
boards_rest "no board has anything left of it"
finish_boards
