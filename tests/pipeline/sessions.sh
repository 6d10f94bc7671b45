#!/bin/bash
# SPDX-License-Identifier: MIT
# Many sessions, one after another and at once, of one head and of several: none mixes with another, and each gives
# back what it had. Ctrl-C and the death of a head free all stages. SHERD_LONG=1: 1,000 sessions.
. "$(dirname "$0")/lib"

sessions=$SHERD_BUILD/tests/pipeline/sessions
shards 0-3 $half
for name in a b; do
	ok "board $name starts" node $name
done
n_sessions=8 plan many int8 '' 0-3@a "$half@b"
plan one int8 '' 0-3@a "$half@b"

churn() # COUNT AT_ONCE
{
	timeout 500 "$sessions" "$tmp/many" "$model" "$1" "$2" $RANDOM >"$out" 2>"$err"
	rc=$?
	cat "$out"
	ok "$1 sessions, $2 at once, some of them cancelled: every token is that of a process alone" test $rc = 0
}

if [[ -x $sessions ]]; then
	churn 4 2
	boards_remember
	churn "${SHERD_LONG:+10}50" 1
	churn "${SHERD_LONG:+10}50" 8
	boards_rest "the boards are as they were before"
	grown()
	{
		(($(resident "$1") > $(<"$tmp/$1.rss") + 16384))
	}
	for name in a b; do
		ok "and have not grown by more than 16 MiB: $name" eval "! grown $name"
	done
	timeout 500 "$sessions" "$tmp/many" "$model" 40 4 $RANDOM >"$tmp/first" 2>&1 &
	first=$!
	churn 40 3
	wait $first
	rc=$?
	cp "$tmp/first" "$out"
	ok "another head's, on the same boards at the same time, have their own tokens, too" test $rc = 0
else
	skip "sessions do not mix" "tests/pipeline/sessions is not built"
	lead one -p The -n 2
	boards_remember
fi

# Two heads' texts at once, of different lengths and seeds.
go()
{
	"$sherd" run --plan "$tmp/one" --insecure --ignore-eos "$@" </dev/null
}
want int8 3 -p "The lock" -n 60 --temp 0.8 -s 1
cp "$want" "$tmp/want.1"
want int8 3 -p "A page of memory" -n 40 --temp 0
go -p "The lock" -n 60 --temp 0.8 -s 1 >"$tmp/got.1" 2>"$tmp/err.1" &
first=$!
go -p "A page of memory" -n 40 --temp 0 >"$out" 2>"$err"
rc=$?
wait $first
first=$?
ok "two runs at the same time have their own texts" \
	eval "is_wanted && test $first = 0 && same '$tmp/want.1' '$tmp/got.1'"

# --------------------------------------------------------- Ctrl-C, and worse

slow=$(slowly 25)
for name in a b; do
	retire $name
	# shellcheck disable=SC2086
	node $name $slow
done
lead one -p The -n 2
boards_remember
want int8 3 -p "The lock" -n 200 --temp 0

# begin_text: a long one, in the background, until some of it has come; signals go to it, not to timeout.
begin_text() # ARG...
{
	rm -f "$tmp/begun"
	env --default-signal=INT "$sherd" run --plan "$tmp/one" --insecure --ignore-eos -p "The lock" -n 200 \
		--temp 0 "$@" >"$tmp/begun" 2>"$tmp/begun.err" </dev/null &
	leader=$!
	wait_until 30 test -s "$tmp/begun"
}
both_have()
{
	[[ $(sessions_of a) == "$1" && $(sessions_of b) == "$1" ]]
}

begin_text
ok "in mid-sentence both boards have the session" both_have 1
refuses "whoever comes then and does not fit beside it is refused with the numbers" 1 \
	"no room for a session of 2[0-9]* positions: of the KV cache's 256, 2[0-9]* are promised to 1 sessions" \
	run --plan "$tmp/one" --insecure --ignore-eos -p "A page" -n 201
kill -INT $leader
wait $leader 2>/dev/null
rc=$?
ended=${EPOCHREALTIME/./}
ok "Ctrl-C ends the text with 130 and what it cost" eval "test $rc = 130 && grep -q 't/s' '$tmp/begun.err'"
wait_until 10 all_rest
echo "# both boards were free $(((${EPOCHREALTIME/./} - ended) / 1000)) ms after its end"
ok "and frees both boards at once, long before the lease" test $((${EPOCHREALTIME/./} - ended)) -lt 3000000
ok "what had come by then is right" cmp -s -n "$(stat -c %s "$tmp/begun")" "$want" "$tmp/begun"

begin_text
kill -KILL $leader
wait $leader 2>/dev/null
rc=$?
ended=${EPOCHREALTIME/./}
ok "a head that is killed leaves its sessions for a while" both_have 1
wait_until 25 all_rest
took=$(((${EPOCHREALTIME/./} - ended) / 1000))
ok "then its lease of 10 s is over, and both boards are free (after $took ms)" \
	eval "all_rest && test $took -gt 7000 -a $took -lt 16000"
ok "which the boards say" grep -q "a run's head has not come back: its sessions are dropped" "$tmp/b.log"

want int8 3 -p "The lock" -n 60 --temp 0.8 -s 4
begin_text -n 60 --temp 0.8 -s 4 --journal "$tmp/journal"
kill -KILL $leader
wait $leader 2>/dev/null
"$sherd" run --plan "$tmp/one" --insecure --resume "$tmp/journal" >"$out" 2>"$err" </dev/null
rc=$?
ok "a head that was killed is followed by one that goes on from its journal: the same text" is_wanted

want int8 3 -p "The lock" -n 200 --temp 0
begin_text
kill -STOP $leader
sleep 2
kill -CONT $leader
wait $leader
rc=$?
cp "$tmp/begun" "$out"
cp "$tmp/begun.err" "$err"
ok "a head that stands still for 2 s has its text all the same" is_wanted
boards_rest "nothing is left of any of them"
lead one -p "The lock" -n 60 --temp 0
want int8 3 -p "The lock" -n 60 --temp 0
lead one -p "The lock" -n 60 --temp 0
ok "and the next text is right" is_wanted
finish_boards
