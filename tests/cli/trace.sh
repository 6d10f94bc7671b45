#!/bin/bash
# SPDX-License-Identifier: MIT
# --trace of run and bench: what is in the file is looked at in unit/test_trace.c; here, that it is there.
. "$(dirname "$0")/lib"

greedy=(run -m "$model" --temp 0 -p "The scheduler" -n 12)
trace=$tmp/trace.json

# What the trace has at a path of its JSON.
at()
{
	"${SHERD_BUILD:-build/check}/tests/cli/json" "$@" <"$trace"
}

has() # TEXT
{
	grep -qF -- "$1" "$trace"
}

sh_run "${greedy[@]}"
cp "$out" "$tmp/plain"
sh_run "${greedy[@]}" --trace "$trace" --no-limits
ok "run --trace writes JSON" at traceEvents.0.ph
ok "and the same text" test $rc = 0 -a -z "$(cmp "$tmp/plain" "$out" 2>&1)"
ok "with the prompt's step, and twelve tokens' less one" test "$(grep -c '"cat": "step"' "$trace")" = 12
for phase in open resolve shard tokenizer region device "choose the device" self-test build weights tokenize sample output; do
	ok "with the phase: $phase" has "\"name\": \"$phase\""
done
ok "with kernels, each with its step and layer" grep -q '"cat": "kernel".*"step": 1, "layer": 5' "$trace"
ok "it says whose it is" test "$(at otherData.model)" = "$model"
ok "nothing lies beside it" test "$(ls "$tmp"/trace.json*)" = "$trace"
sh_run "${greedy[@]}" --trace "$trace" --device reference
ok "the reference is traced too" bash -c "grep -q '\"name\": \"matmul\"' '$trace'"

refuses "a trace that cannot be written is refused before the model is looked for" 1 \
	"no/where/t.json: cannot create" run -m "$tmp/nosuch" -p a --trace "$tmp/no/where/t.json"
refuses "a folder is no trace" 1 "is a folder" run -m "$tmp/nosuch" -p a --trace "$tmp"
refuses "nor do bench's tests begin" 1 "cannot create" bench -m "$tmp/nosuch" --trace "$tmp/no/where/t.json"
refuses "a plan's nodes have traces of their own" 2 "sherd node --trace" bench --plan "$tmp/nosuch" --trace x
rm -f "$trace"
sh_run run -m "$tmp/nosuch" -p a --trace "$trace"
ok "a run that failed leaves a trace of how far it came" bash -c "test $rc = 1 && grep -q resolve '$trace'"
ok "which is JSON" at traceEvents.0.ph

sh_run bench -m "$model" -p 16 -n 2 -r 2 --no-limits --trace "$trace"
ok "bench --trace writes JSON" at traceEvents.0.ph
ok "with what counts as one event each, and kernels of one run more" bash -c "
	test \$(grep -c '\"name\": \"measure\"' '$trace') = 2 && test \$(grep -c '\"cat\": \"step\"' '$trace') = 4 &&
	grep -q '\"cat\": \"kernel\"' '$trace'"

# Ctrl-C while the text comes, and while the model is read, where nobody but the handler writes.
interrupt() # SECONDS ARG...
{
	local wait=$1

	shift
	rm -f "$trace"
	: >"$out"
	env --default-signal=INT "$sherd" "$@" --trace "$trace" >"$out" 2>"$err" </dev/null &
	pid=$!
	for _ in {1..300}; do
		case $wait in
		text) [[ -s $out ]] && break ;;
		start) compgen -G "$trace.*.tmp" >/dev/null && break ;;
		esac
		sleep 0.05
	done
	kill -INT $pid
	wait $pid
	rc=$?
}
interrupt text run -m "$model" --device reference -p The -c 8192 -n 8000 -s 1 --temp 1 --ignore-eos
ok "Ctrl-C ends the text, and the trace is JSON" test $rc = 130 -a -n "$(at traceEvents.0.ph)"
ok "with the steps until then" has '"cat": "step"'
zeros=$tmp/big.gguf
. tests/cli/gguf
zeros "$zeros" 2048 65536
XDG_CACHE_HOME=$tmp/own interrupt start run -m "$zeros" --bits 8 --device reference -p a
ok "Ctrl-C before there is a text leaves a trace that is JSON" test $rc = 130 -a -n "$(at traceEvents.0.ph)"
ok "and nothing beside it" test "$(ls "$tmp"/trace.json*)" = "$trace"

# ------------------------------------------------------------------------ USDT

probes=(step__begin step__end kernel__enqueue kernel__done token frame__send frame__receive)
plain=${SHERD_BUILD_PLAIN:-build}/sherd
if [[ ! -e /usr/include/sys/sdt.h && -z $(compgen -G '/usr/include/*/sys/sdt.h') ]]; then
	skip "the command has probes for bpftrace" "no sys/sdt.h here (systemtap-sdt-dev)"
elif ! command -v readelf >/dev/null; then
	skip "the command has probes for bpftrace" "no readelf here"
else
	readelf -n "$plain" >"$out" 2>/dev/null
	for p in "${probes[@]}"; do
		ok "the command has the probe $p" bash -c "grep -A1 'Provider: sherd' '$out' | grep -qw '$p'"
	done
fi
# What a histogram of bpftrace's has counted: "[256, 512)   25 |@@@".
counted() # MAP
{
	awk -v map="@$1:" '/^@/ { is_map = $1 == map } /^\[/ && is_map { n += $3 } END { print n + 0 }' "$out"
}

for f in scripts/bpftrace/*.bt; do
	name="bpftrace sees what a run does: $(basename "$f")"
	if ! command -v bpftrace >/dev/null; then
		skip "$name" "no bpftrace here"
		continue
	elif [[ $(id -u) != 0 ]]; then
		skip "$name" "bpftrace is for root"
		continue
	elif ! readelf -n "$plain" 2>/dev/null | grep -q 'Provider: sherd'; then
		skip "$name" "the command has no probes"
		continue
	fi
	sed "s|/usr/local/bin/sherd|$(realpath "$plain")|g" "$f" >"$tmp/a.bt"
	BPFTRACE_VMLINUX='' timeout 60 bpftrace -c "$(realpath "$plain") run -m $model --temp 0 -p The -n 30" "$tmp/a.bt" \
		>"$out" 2>"$err" </dev/null
	rc=$?
	if ! grep -q '^Attaching' "$out" && grep -qiE 'permi(ssion|tted)|debugfs|tracefs|BTF|headers|BPF' "$err"; then
		skip "$name" "bpftrace can't run here: $(head -n 1 "$err")"
	elif [[ $f == *token* ]]; then
		ok "$name" test "$(counted token_us)" = 29 # from each to the next
	else
		ok "$name" bash -c "test $(counted step_us) = 30 && grep -q '^@calls\[matmul' '$out'"
	fi
done
finish
