#!/bin/bash
# SPDX-License-Identifier: MIT
# Boards die, or stand still and come back, before the prompt, in it, and at each of the first tokens: with a spare
# or without, the text is that of an undisturbed run. SHERD_LONG=1 tries all that is drawn from otherwise.
. "$(dirname "$0")/lib"

shards 0-2 2-4 $third
slow=$(slowly 15)
echo "# $slow"
for name in a b c; do
	# shellcheck disable=SC2086
	ok "board $name starts" node $name $slow
done
for name in d e; do
	ok "spare $name starts" node $name
done
plan spared int8 'd e' 0-2@a 2-4@b $third@c
plan alone int8 '' 0-2@a 2-4@b $third@c

all_there()
{
	local name

	for name in "${boards[@]}"; do
		revive "$name" >/dev/null
		rests "$name" || return 1
	done
}

# Everybody lives again, and serves nobody: what the run before did is over.
mend()
{
	local name

	for name in "${boards[@]}"; do
		revive "$name"
	done
	wait_until 15 all_there
}

# attempt PLAN WHEN NAME HOW: WHEN is "before", "prompt", or a number of bytes of text.
attempt()
{
	local bytes=$2 command="strike $3 $4" prompt sampler

	mend
	prompt=$(words $((RANDOM % 20 + 10)))
	sampler=$(draw_sampler)
	# shellcheck disable=SC2086
	want int8 2,4 -p "$prompt" -n 24 $sampler
	case $2 in
	before)
		strike "$3" "$4"
		bytes=0 command=:
		;;
	prompt)
		bytes=0
		rm -f "$tmp/struck"
		command="(wait_until 10 grep -q ' stages (' '$err' && sleep 0.$((RANDOM % 4)) && strike $3 $4 &&
			touch '$tmp/struck') >/dev/null &"
		;;
	esac
	# shellcheck disable=SC2086
	struck "$1" $bytes "$command" -p "$prompt" -n 24 $sampler
	ok "$1, $4 of $3 at $2, $sampler: the text is that of an undisturbed run" is_wanted
	[[ $2 != prompt ]] || ok "  ... and $3 was struck while it came" test -e "$tmp/struck"
}

moments() # NUMBER: all of them, or the one that was drawn
{
	local all=(before prompt 1 3 6 9 12 15 20 30 60)

	if [[ -n ${SHERD_LONG:-} ]]; then
		echo "${all[@]}"
	else
		echo "${all[$1 % ${#all[@]}]}"
	fi
}

hows=(KILL STOP:2)
[[ -z ${SHERD_LONG:-} ]] || hows+=(STOP:60)
lead spared -p The -n 2
boards_remember

# With a spare whoever is lost may stay away; one who comes back finds somebody in his place.
for name in a b c; do
	for how in "${hows[@]}"; do
		for at in $(moments $RANDOM); do
			attempt spared $at $name $how
		done
	done
done

# Without one, the head waits for him.
for name in a b c; do
	hows=(RESTART:1 STOP:2)
	[[ -n ${SHERD_LONG:-} ]] || hows=("${hows[RANDOM % 2]}")
	for how in "${hows[@]}"; do
		for at in $(moments $RANDOM); do
			attempt alone $at $name $how
		done
	done
done

# Who comes to the rescue dies as well, half a second later, and then another one.
spared=$((RANDOM % 3)) # of them one is, this time
for name in a b c; do
	((spared-- != 0)) || [[ -n ${SHERD_LONG:-} ]] || continue
	attempt spared $((RANDOM % 20 + 1)) $name "KILL; (sleep 0.$((RANDOM % 10)); strike d KILL) >/dev/null &"
done
mend
attempt spared 5 a "KILL; strike b KILL; strike c KILL"
ok "every board was told of" grep -q 'sherd: layers 4 to . go from c to [de]' "$err"

# Nobody is left who could serve the last layers: one sentence, within the deadline.
mend
want int8 2,4 -p The -n 40 --temp 0
began=$SECONDS
struck alone 10 'strike c KILL' -p The -n 40 --temp 0 --deadline 3
ok "without anybody who could take its layers, a lost board is a sentence" fails_with \
	'nobody can serve layers 4 to ., after [3-6] s: c: .*Connection refused'
ok "that comes within the deadline" test $((SECONDS - began)) -le 15

# A device hangs, and its process answers as ever: a spare takes over, long before the deadline.
for name in a b c; do
	mend
	retire $name
	args=$(<"$tmp/$name.args")
	# shellcheck disable=SC2086
	ok "$name's device is one that hangs" node $name $slow --hang-after $((RANDOM % 8 + 14))
	want int8 2,4 -p The -n 40 --temp 0
	began=$SECONDS
	struck spared 0 : -p The -n 40 --temp 0
	ok "$name's device hangs: the text is that of an undisturbed run" is_wanted
	ok "somebody else has its layers" grep -q "go from $name to [de]" "$err"
	ok "and had them soon" test $((SECONDS - began)) -le 20
	strike $name KILL
	echo "$args" >"$tmp/$name.args"
done

# Without a spare it is a sentence, which says whose device it is.
mend
retire b
args=$(<"$tmp/b.args")
# shellcheck disable=SC2086
ok "b's device is one that hangs" node b $slow --hang-after $((RANDOM % 8 + 14))
struck alone 0 : -p The -n 40 --temp 0 --deadline 3
ok "and nobody else has its layers: a sentence names it" fails_with \
	'nobody can serve layers 2 to 3, after [0-9]* s: b: its device hangs'
strike b KILL
echo "$args" >"$tmp/b.args"
mend
boards_rest "nothing is left of all that at any board"
finish_boards
