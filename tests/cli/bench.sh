#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd bench: the table and its JSON are there; how fast it is, is no matter here.
. "$(dirname "$0")/lib"

quick=(bench -m "$model" -p 16 -n 4 -r 2)

sh_run "${quick[@]}" --no-limits --region plain
ok "a table has a row for each test" bash -c "test $rc = 0 && grep -q '| *pp16 |' '$out' &&
	grep -q '| *tg4 |' '$out'"
ok "below it stands what holds the weights, as asked for, and how the device reads them" \
	grep -q '^weights: mapped, neither .*; the device reads them: in place' "$out"
sh_run "${quick[@]}" -d 0,8 --json --no-limits --region plain
ok "--json has an object for each test" test "$(json 3.n_depth)" = 8
ok "with llama-bench's keys" test "$(json 0.n_prompt) $(json 0.n_gen)" = "16 0"
ok "and speeds" awk "BEGIN { exit !($(json 0.avg_ts) > 0) }"
ok "and what holds the weights, and how the device reads them" \
	test "$(json 0.region)" = "mapped, neither locked nor shared as a dma-buf" -a "$(json 0.weights)" = "in place"
ok "and the samples that they are the mean of" json 0.samples_ts.1
for f in "$model" tests/golden/{llama-f32,llama-q4_0,gpt2-f32,gpt2-q8_0}.gguf; do
	sh_run info "$f" -c 64 --json
	want=$(json memory.scratch_bytes)
	sh_run bench -m "$f" -c 64 -p 1 -n 0 -r 1 --json --no-limits --device cpu/wide
	ok "info says what a step of $(basename "$f") takes: $want bytes" \
		test "$(json 0.memory.scratch)" = "$want"
done
sh_run bench -m "$model" -p 0 -n 4 -r 1 --kernels --json --no-limits
ok "--kernels has each step of a token, also of one that is a single launch" test \
	"$(json 0.kernels.1.name) $(json 0.kernels.1.calls) $(json 0.kernels.3.name) $(json 0.kernels.3.calls)" \
	= "norm 52 rope 24"
ok "and how long it took" awk "BEGIN { exit !($(json 0.kernels.2.seconds) > 0) }"
sh_run "${quick[@]}" --json --no-limits --device reference
ok "the reference can be measured too" test $rc = 0 -a "$(json 0.n_prompt)" = 16
refuses "nothing to measure is a wrong line" 2 "nothing to measure" bench -m "$model" -p 0 -n 0
refuses "a context too short for the tests is refused with both numbers" 2 "512.*64" \
	bench -m "$model" -c 64
refuses "a region that is none is refused" 1 "none of auto" "${quick[@]}" --no-limits --region shred
refuses "a model that is not there is named" 1 "nosuch" bench -m "$tmp/nosuch" --no-limits
"$sherd" "${quick[@]}" --no-limits >/dev/full 2>"$err"
rc=$?
ok "a table that cannot be written is a failure" bash -c "test $rc = 1 && grep -q 'No space' '$err'"
finish
