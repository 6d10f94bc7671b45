#!/bin/bash
# SPDX-License-Identifier: MIT
# What a pipeline cannot do is said in one sentence by the head, and boards serve others all the same.
. "$(dirname "$0")/lib"

shards 0-3 $half
for name in a b; do
	ok "board $name starts" node $name
done
two=(0-3@a "$half@b")
plan good int8 '' "${two[@]}"
ask=(-p "The lock" -n 12 --temp 0)
want int8 3 "${ask[@]}"
lead good "${ask[@]}"
ok "two boards have the text of one process" is_wanted
ok "and it is said who serves what" grep -qE \
	"^sherd: 2 stages \(a 0-2, b 3-$((layers - 1))\), without TLS, over [a-z.0-9-]+, chunks of 8 tokens$" "$err"
sh_run status "$net.99:$port" --insecure
ok "a node that is not there has its address said once" grep -q "^sherd status: $net.99:$port: no connection" "$err"
cp "$want" "$tmp/right"
boards_remember
: >"$want"

# fails "what" PATTERN PLAN ARG...
fails()
{
	local name=$1 pattern=$2

	shift 2
	lead "$@" --deadline 4
	ok "$name" fails_with "$pattern"
}

real=$hash
hash=${real//[0-7]/8} plan other int8 '' "${two[@]}"
hash=$real
fails "a plan for another model is refused by who has not got it" \
	"nobody can serve layers 0 to 2: a: layers 0 to 2 of model [0-9a-f]{16}\.\.\. are not here; sherd push" \
	other "${ask[@]}"
plan swapped int8 '' 0-3@b "$half@a"
rm "$tmp/a/$half.gguf"
fails "a board without the shard says what it lacks, and what brings it" \
	"nobody can serve layers 3 to .: a: layers 3 to .* are not here, only others.*sherd push brings them" \
	swapped "${ask[@]}"
cp "$tmp/a/0-3.gguf" "$tmp/whole"
rm "$tmp/a/0-3.gguf"
head -c 20000 "$tmp/whole" >"$tmp/a/0-3.gguf"
fails "a shard of which a part is missing is refused" "nobody can serve layers 0 to 2: a: " good "${ask[@]}"
rm "$tmp/a/0-3.gguf"
ln "$tmp/whole" "$tmp/a/0-3.gguf"

n_ctx=16777216 n_sessions=64 plan huge int8 '' "${two[@]}"
fails "a KV cache that no board has room for is refused with the numbers" \
	"nobody can serve layers .*: KV cache|nobody can serve layers .*(MiB|bytes|room|memory)" huge "${ask[@]}"
n_ctx=16 plan narrow int8 '' "${two[@]}"
fails "a session that is longer than the plan's context is refused with the numbers" \
	"tokens and the plan's context holds 16: .* .sherd plan -c." narrow "${ask[@]}" -p "$(words 40)"

fails "a model of another shape has no tokenizer for the plan" \
	"llama-q4_0.gguf is not the model of the plan: it is llama, 2 layers of" \
	good -m tests/golden/llama-q4_0.gguf "${ask[@]}"
cp "$model" "$tmp/other.gguf"
printf '\001\002' | dd of="$tmp/other.gguf" bs=1 seek=$(($(stat -c %s "$model") - 100)) conv=notrunc status=none
fails "nor has one of the same shape with other weights" \
	"other.gguf is not the model of the plan: its hash is [0-9a-f]{16}\.\.\." good -m "$tmp/other.gguf" "${ask[@]}"
lead good -m "$tmp/a/0-3.gguf" "${ask[@]}"
ok "a shard of the first layers has the tokenizer" same "$tmp/right" "$out"
before=$(find "$XDG_CACHE_HOME" -name '*.shard' | sort)
refuses "another model is not pushed" 1 "other.gguf is not the model of the plan: its hash" \
	push "$tmp/good" -m "$tmp/other.gguf" --insecure
ok "nor packed first" test "$(find "$XDG_CACHE_HOME" -name '*.shard' | sort)" = "$before"
"$sherd" run --plan "$tmp/good" --tls "$tmp" "${ask[@]}" >"$out" 2>"$err"
rc=$?
ok "a folder without certificates is named" fails_with "ca.pem is not there: .sherd cluster init. makes"
plan absent int8 '' 0-3@a "$half@z"
began=$SECONDS
fails "a board that is not there is named with why" \
	"nobody can serve layers 3 to ., after [4-6] s: z: .*(refused|no connection)" absent "${ask[@]}"
ok "and waited for not without a word" grep -qE "^sherd: waiting for z: .*no connection" "$err"
ok "within the deadline" test $((SECONDS - began)) -le 15
echo '{"sherd_plan": 2}' >"$tmp/later"
fails "a plan of another version is refused" "plan" later "${ask[@]}"
fails "a plan that is not there is named" "nosuch" nosuch "${ask[@]}"

# A board whose arithmetic is another one: the same program, with another rounding.
if [[ -e ${SHERD_BUILD:-build}/tests/pipeline/librounding.so && -x ${SHERD_PLAIN:-} ]]; then
	echo "env LD_PRELOAD=$(realpath "$SHERD_BUILD/tests/pipeline/librounding.so") ASAN_OPTIONS=$ASAN_OPTIONS:verify_asan_link_order=0" \
		>"$tmp/c.before"
	node c
	plan odd int8 '' 0-3@a "$half@c"
	fails "neighbours with other arithmetic are refused: the bit profile" \
		"c refuses: its bit profile is another one: the same tokens are not to be had" odd "${ask[@]}"
	lead odd "${ask[@]}" --inexact
	ok "--inexact has a text from them" test $rc = 0 -a -s "$out"
	plan spare int8 c "${two[@]}"
	slow=$(slowly 10)
	strike b KILL
	# shellcheck disable=SC2086
	node b $slow
	cp "$tmp/right" "$want"
	want int8 3 -p "The lock" -n 60 --temp 0
	struck spare 20 'strike b KILL' -p "The lock" -n 60 --temp 0 --deadline 4
	ok "such a board takes nobody's place" fails_with \
		"nobody can serve layers 3 to ., after [4-6] s: b: .*; c: its bit profile is another one"
	node b
else
	skip "boards with other arithmetic are refused" "librounding.so is not built"
fi

cp "$tmp/right" "$want"
lead good "${ask[@]}"
ok "after all that two boards still have the text of one process" is_wanted
boards_rest "no board has anything left of it"
finish_boards
