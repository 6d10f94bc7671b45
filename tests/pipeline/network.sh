#!/bin/bash
# SPDX-License-Identifier: MIT
# Bad networks between boards: each board is in a name space of its own, all packets pass through one that forwards
# them, drops them or takes its time. As root; nothing of it outlives the test.
. "$(dirname "$0")/lib"

if ((EUID)); then
	echo "skipped: network name spaces take root"
	exit 77
fi
if ! command -v ip >/dev/null || ! command -v tc >/dev/null; then
	echo "skipped: no ip or no tc here (package iproute2)"
	exit 77
fi

ns=sherd$$
places=(head a b c d)
at_exit()
{
	local place

	for place in router "${places[@]}"; do
		ip netns del "$ns-$place" 2>/dev/null
	done
}

# Board a is at 10.77.1.2 behind the router's 10.77.1.1, and so on; the head is 10.77.200.2.
net=10.77
octet()
{
	if [[ $1 == head ]]; then
		echo 200
	else
		number_of "$1"
	fi
}
home()
{
	echo "$net.$(octet "$1").2:$port"
}
metrics()
{
	echo "$net.$(octet "$1").2:27100"
}
go_to()
{
	via=(ip netns exec "$ns-$1")
}
at_router()
{
	ip -n "$ns-router" "$@"
}

build()
{
	local place i

	ip netns add "$ns-router" || return
	ip netns exec "$ns-router" sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.all.rp_filter=0 \
		net.ipv4.conf.default.rp_filter=0
	for place in "${places[@]}"; do
		i=$(octet "$place")
		ip netns add "$ns-$place" &&
			ip -n "$ns-$place" link add e0 type veth peer name "to-$place" netns "$ns-router" &&
			ip -n "$ns-$place" link set lo up &&
			ip -n "$ns-$place" address add "$net.$i.2/24" dev e0 &&
			ip -n "$ns-$place" link set e0 up &&
			at_router address add "$net.$i.1/24" dev "to-$place" &&
			at_router link set "to-$place" up &&
			ip -n "$ns-$place" route add default via "$net.$i.1" || return
	done
}
if ! build 2>"$err"; then
	echo "skipped: no network name spaces with veth here: $(head -n 1 "$err")"
	exit 77
fi

# silent FROM TO: nothing gets through that way any more, and nobody is told.
silent()
{
	at_router rule add from "$net.$(octet "$1").2" to "$net.$(octet "$2").2" priority 100 blackhole
}
# forbidden FROM TO: who sends that way is told that he may not.
forbidden()
{
	at_router rule add from "$net.$(octet "$1").2" to "$net.$(octet "$2").2" priority 100 prohibit
}
heal()
{
	while at_router rule del priority 100 2>/dev/null; do
		:
	done
}
# alone NAME: to nobody and from nobody
alone()
{
	at_router rule add from "$net.$(octet "$1").2" priority 100 blackhole
	at_router rule add to "$net.$(octet "$1").2" priority 100 blackhole
}
for_a_while() # SECONDS COMMAND...
{
	"${@:2}"
	(sleep "$1"; heal) >/dev/null 2>&1 &
}
slow_link() # NAME RATE
{
	ip netns exec "$ns-$1" tc qdisc replace dev e0 root tbf rate "$2" burst 5kb latency 500ms
	ip netns exec "$ns-router" tc qdisc replace dev "to-$1" root tbf rate "$2" burst 5kb latency 500ms
}
fast_links()
{
	local place

	for place in "${places[@]}"; do
		ip netns exec "$ns-$place" tc qdisc del dev e0 root
		ip netns exec "$ns-router" tc qdisc del dev "to-$place" root
	done 2>/dev/null
}

shards 0-2 2-4 $third
slow=$(slowly 15)
for name in a b c d; do
	# shellcheck disable=SC2086
	ok "board $name starts in a name space of its own" node $name $slow
done
ok "and warns that it is open to its network" grep -q 'WARNING: --insecure with 10.77.1.2:'$port "$tmp/a.log"
plan spared int8 d 0-2@a 2-4@b "$third@c"
plan alone int8 '' 0-2@a 2-4@b "$third@c"
ask=(-p "$(words 20)" -n 40 --temp 0.8 -s "$seed")
want int8 2,4 "${ask[@]}"
lead alone "${ask[@]}"
ok "without faults the text is that of one process" is_wanted
boards_remember

# Of the next N attempts one is drawn, so that there is one of each kind; with SHERD_LONG=1 all are made.
one_of() # N
{
	drawn=$((RANDOM % $1)) next=0
}

attempt() # NAME PLAN COMMAND
{
	if ((next++ != drawn)) && [[ -z ${SHERD_LONG:-} && $3 != : ]]; then
		echo "# not drawn this time: $1"
		return
	fi
	struck "$2" $((RANDOM % 30 + 1)) "$3" "${ask[@]}"
	ok "$1: the text is that of an undisturbed run" is_wanted
	heal
	fast_links
	wait_until 20 all_rest
}

one_of 2
attempt "a board that nobody reaches any more, silently, and a spare" spared "alone b"
attempt "a board that is cut off for 2 s, without a spare" alone "for_a_while 2 alone c"
one_of 2
attempt "the first board reaches the second no more, and a spare" spared "silent a b"
attempt "the second board's answers to the first are lost, and a spare" spared "silent b a"
one_of 3
attempt "two boards lose each other for 3 s, without a spare" alone "for_a_while 3 silent b c; silent c b"
attempt "a board hears the head and is not heard, and a spare" spared "silent a head"
attempt "a board is heard by the head and does not hear it, for 3 s" alone "for_a_while 3 silent head c"
one_of 2
attempt "a firewall between two boards, and a spare" spared "forbidden b c"
attempt "a cable that is pulled for 2 s" alone \
	"at_router link set to-b down; (sleep 2; at_router link set to-b up) >/dev/null 2>&1 &"

# Nobody else could take the layers: a sentence, in time.
struck alone 10 "silent a b; silent b a" "${ask[@]}" --deadline 4
ok "two boards that lose each other for good are one sentence" fails_with \
	"nobody can serve|no stage has computed anything for [4-9] s"
heal
wait_until 20 all_rest

for name in a b c; do
	slow_link $name 100kbit
done
patience=200
attempt "links of 100 kbit/s" alone :
if [[ -n ${SHERD_LONG:-} ]]; then
	outages()
	{
		while :; do
			sleep 30
			for_a_while 5 alone "$1"
		done
	}
	patience=900
	ask=(-p "$(words 20)" -n 200 --temp 0.8 -s "$seed")
	want int8 2,4 "${ask[@]}"
	# shellcheck disable=SC2086
	for name in a b c d; do
		retire $name
		node $name $(slowly 250)
	done
	for name in b c; do
		outages $name >/dev/null 2>&1 &
		outage=$!
		attempt "outages of 5 s, every 30 s, of $name" alone :
		attempt "the same, with a spare" spared :
		kill $outage
		sleep 6
		heal
	done
fi
boards_rest "nothing is left of it at any board"
finish_boards
