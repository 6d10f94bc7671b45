#!/bin/bash
# SPDX-License-Identifier: MIT
# The text of a pipeline is that of one process with the same cuts: whatever the stages, the wire, the sampler
# and the chunks.
. "$(dirname "$0")/lib"

shards 0-$layers 0-3 $half 0-2 2-4 $third
for name in a b c; do
	ok "board $name starts" node $name
done

# compare STAGES WIRE CUTS SPAN@NAME...
compare()
{
	local stages=$1 wire=$2 cuts=$3 chunk prompt sampler

	shift 3
	chunk=$((RANDOM % 20 + 1))
	plan plan $wire '' "$@"
	prompt=$(words $((RANDOM % 60 + 1)))
	sampler=$(draw_sampler)
	# shellcheck disable=SC2086
	want $wire "$cuts" -p "$prompt" -n 24 $sampler
	# shellcheck disable=SC2086
	lead plan -p "$prompt" -n 24 $sampler
	ok "$stages stages over $wire, chunks of $chunk, $sampler: the text is that of one process" is_wanted
}

rounds=${SHERD_LONG:+10}
compare 1 int8 '' 0-$layers@b
boards_remember
for ((i = 0; i < ${rounds:-1}; i++)); do
	for wire in int8 f16 f32; do
		compare 1 $wire '' 0-$layers@b
		compare 2 $wire 3 0-3@a $half@b
		compare 3 $wire 2,4 0-2@c 2-4@a $third@b
	done
done

# What the boards say of a run that is under way; a's neighbour answers after a beat or two.
look()
{
	for _ in {1..60}; do
		"$sherd" status --plan "$tmp/plan" "${secure[@]}" >"$tmp/status" 2>&1 </dev/null
		! grep -qE "$1" "$tmp/status" || return 0
		sleep 0.1
	done
}
seen='^ +1  0-2 +ready .* [0-9]+\.[0-9] +[0-9]+\.[0-9][0-9]  [0-9.]+:[0-9]+$'
slow=$(slowly 10) # it should still be there when it is looked at
for name in a b; do
	retire $name
	# shellcheck disable=SC2086
	node $name $slow
done
boards_remember
chunk=8 plan plan int8 '' 0-3@a "$half@b"
struck plan 20 "look '$seen'" -p The -n 220 --temp 0
ok "status says of a stage what went to the next, and how long that takes" grep -qE "$seen" "$tmp/status"
boards_rest "afterwards no board has a run"
finish_boards
