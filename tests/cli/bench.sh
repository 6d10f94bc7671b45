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
# A prompt of the whole context, and one of a batch: what is more is the KV cache, which fills.
if [[ -x ${SHERD_PLAIN:-} ]]; then
	for p in 256 6000; do
		"$SHERD_PLAIN" bench -m "$model" -c 6016 -p $p -n 0 -r 1 --no-limits --json >"$out" 2>"$err" </dev/null
		eval "peak_$p=$(json 0.memory.peak) kv_$p=$(json 0.memory.kv)"
	done
	ok "a prompt of the whole context takes the memory of a short one, and its KV cache" awk "BEGIN {
		more = $peak_6000 - $peak_256; exit !(more <= $kv_6000 + 2 ^ 20 && more > 0) }"
else
	skip "a long prompt takes the memory of a short one, and its KV cache" "no build without sanitizers"
fi
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
refuses "a plan and a model are one thing too many" 2 "-m or --plan" bench -m "$model" --plan "$tmp/plan.json"
refuses "a plan that is not there is named" 1 "nosuch" bench --plan "$tmp/nosuch" --insecure
for o in "-c 64" "--bits 4" "-t 2" "-b 8" "--device cpu" --no-limits; do
	# shellcheck disable=SC2086
	refuses "a plan has its own ${o% *}" 2 "${o% *} does nothing with --plan" bench --plan "$tmp/nosuch" $o
done
for o in "--sessions 2" "--chunk 4" "--deadline 4" --inexact "--tls $tmp" --insecure "--io epoll"; do
	# shellcheck disable=SC2086
	refuses "${o% *} goes with a plan" 2 "${o% *} does nothing without --plan" bench -m "$model" $o
done
refuses "requests begin with an empty context" 2 "nothing before it" bench --plan "$tmp/nosuch" --sessions 2 -d 8
refuses "the kernels of other boards are not to be seen" 2 "nodes" bench --plan "$tmp/nosuch" --kernels

# Two nodes of this machine, which share a folder of shards.
mkdir "$tmp/shards"
"$sherd" pack "$model" -o "$tmp/shards/a.gguf" --layers 0-2 >/dev/null 2>&1
"$sherd" pack "$model" -o "$tmp/shards/b.gguf" --layers 3-5 --json >"$out" 2>/dev/null
hash=$(json source_sha256)
nodes=()
trap 'kill "${nodes[@]}" 2>/dev/null; rm -rf "$tmp"' EXIT
address=()
for i in 0 1; do
	"$sherd" node --insecure --listen 127.0.0.1:0 --name n$i --shards "$tmp/shards" --device reference \
		--trace "$tmp/trace$i" 2>"$tmp/node$i" &
	nodes+=($!)
	for ((k = 0; k < 100; k++)); do
		address[i]=$(sed -n 's/.*listens at \([^,]*\),.*/\1/p' "$tmp/node$i")
		[[ ${address[i]} ]] && break
		sleep 0.1
	done
done
cat >"$tmp/plan.json" <<EOF
{ "sherd_plan": 1, "model": { "name": "kdoc", "path": "$model", "hash": "$hash", "arch": "llama",
  "n_layers": 6, "hidden": 256, "bits": "file" }, "wire": "int8", "kv": "f16", "n_ctx": 64, "n_sessions": 2,
  "chunk": 4, "nodes": { "n0": { "address": "${address[0]}" }, "n1": { "address": "${address[1]}" } },
  "stages": [ { "node": "n0", "first": 0, "end": 3 }, { "node": "n1", "first": 3, "end": 6 } ] }
EOF
plan=(bench --plan "$tmp/plan.json" --insecure -p 16 -n 4 -r 2)
sh_run "${plan[@]}" --json
ok "--plan measures the nodes of a plan" test $rc = 0 -a "$(json 0.n_prompt) $(json 1.n_gen)" = "16 4"
ok "with the speed that they had together" awk "BEGIN { exit !($(json 0.avg_ts) > 0) }"
ok "and what each did: two prompts of four chunks" test \
	"$(json 0.stages.0.node) $(json 0.stages.1.node) $(json 0.stages.1.steps) $(json 0.stages.1.rows)" = "n0 n1 8 32"
ok "a node's --trace has a line for each step, with its rows" grep -q '"rows": 4, "items": 1, "position": 12' \
	"$tmp/trace1"
sh_run "${plan[@]}" --sessions 2 --json
ok "--sessions measures requests, so many at a time" test "$(json 0.n_sessions) $(json 0.n_prompt) $(json 0.n_gen)" = \
	"2 16 4"
ok "and how many end in a second" awk "BEGIN { exit !($(json 0.requests_per_s) > 0) }"
sh_run "${plan[@]}"
ok "the table has a row for each test, and one for each stage of each" bash -c \
	"test $rc = 0 && grep -q '| *pp16 |' '$out' && test \$(grep -c '| n[01] ' '$out') = 4"
refuses "tests that need more context than the plan has are refused with both numbers" 1 "100.*64" \
	bench --plan "$tmp/plan.json" --insecure -p 100 -n 0
"$sherd" "${quick[@]}" --no-limits >/dev/full 2>"$err"
rc=$?
ok "a table that cannot be written is a failure" bash -c "test $rc = 1 && grep -q 'No space' '$err'"
finish
