#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd run: texts that must be the same, ends, and everything that can be wrong with a prompt or a model.
. "$(dirname "$0")/lib"

greedy=(run -m "$model" --temp 0)

text() # text FILE ARG...: a greedy text into FILE
{
	local file=$1

	shift
	sh_run "${greedy[@]}" "$@"
	cp "$out" "$file"
}

# ------------------------------------------------------------------ same text

text "$tmp/a" -p "The scheduler" -n 40
ok "a text comes, and standard error says device and speed" \
	bash -c "test $rc = 0 -a -s '$out' && grep -q 't/s' '$err' && grep -qE '^sherd: [^ ].*: .+' '$err'"
text "$tmp/b" -p "The scheduler" -n 40
ok "greedy gives the same text again" same "$tmp/a" "$tmp/b"
text "$tmp/b" -p "The scheduler" -n 40 --no-cache
ok "the cache does not change the text" same "$tmp/a" "$tmp/b"
text "$tmp/b" -p "The scheduler" -n 40 --device reference
ok "the plain-C reference gives the same text" same "$tmp/a" "$tmp/b"
text "$tmp/b" -p "The scheduler" -n 40 -t 1
ok "one thread gives the same text" same "$tmp/a" "$tmp/b"
sh_run run "$model" --temp=0 -p "The scheduler" -n40
ok "the model may stand without -m" same "$tmp/a" "$out"

prompt=$(printf 'The driver takes the lock before it looks at the queue. %.0s' 1 2 3 4 5)
text "$tmp/long" -p "$prompt" -n 24
for b in 1 7 16 33; do
	text "$tmp/b" -p "$prompt" -n 24 -b $b
	ok "a prompt read $b tokens at a time gives the same text" same "$tmp/long" "$tmp/b"
done
printf '%s\n' "$prompt" >"$tmp/prompt"
text "$tmp/b" -f "$tmp/prompt" -n 24
ok "a prompt from a file gives the same text, its last newline dropped" same "$tmp/long" "$tmp/b"
"$sherd" "${greedy[@]}" - -n 24 <"$tmp/prompt" >"$tmp/b" 2>"$err"
ok "a prompt from standard input gives the same text" same "$tmp/long" "$tmp/b"
text "$tmp/b" -p "$prompt" -n 24 --echo
ok "--echo puts the prompt before the text" same <(printf '%s' "$prompt"; cat "$tmp/long") "$tmp/b"

sh_run run -m "$model" -p The -n 40 -s 5 --temp 1.5 --top-k 0 --top-p 1 --min-p 0
cp "$out" "$tmp/a"
sh_run run -m "$model" -p The -n 40 -s 5 --temp 1.5 --top-k 0 --top-p 1 --min-p 0 -b 1 -t 1
ok "the same seed gives the same text" same "$tmp/a" "$out"
sh_run run -m "$model" -p The -n 40 -s 6 --temp 1.5 --top-k 0 --top-p 1 --min-p 0
ok "another seed gives another text" bash -c "! cmp -s '$tmp/a' '$out'"
sh_run run -m "$model" -p The -n 2 -s 18446744073709551615
ok "the largest seed is a seed" bash -c "test $rc = 0 && ! grep -q 'sherd: seed' '$err'"
sh_run run -m "$model" -p The -n 40
cp "$out" "$tmp/a"
seed=$(sed -n 's/^sherd: seed //p' "$err")
sh_run run -m "$model" -p The -n 40 -s "${seed:-0}"
ok "the seed that was printed gives that text again" \
	bash -c "test -n '$seed' && cmp -s '$tmp/a' '$out'"
sh_run run -m "$model" -p The -n 40 -s 5 -s -1
cp "$out" "$tmp/b"
minus=$(sed -n 's/^sherd: seed //p' "$err")
sh_run run -m "$model" -p The -n 40 --seed="${minus:-0}"
ok "-s -1 draws a fresh seed, and prints it" \
	bash -c "test -n '$minus' -a '$minus' != '$seed' && cmp -s '$tmp/b' '$out'"
refuses "any other negative seed is refused" 2 "-s: '-2' is not a number" run -m "$model" -s -2

# ----------------------------------------------------------------------- ends

text "$tmp/a" -p "The scheduler" -n 40
word=$(tr -s ' \n' '\n\n' <"$tmp/a" | grep -E '^[a-z]{4,}$' | sed -n 5p)
text "$tmp/b" -p "The scheduler" -n 40 --stop "$word" --stop "never in it"
size=$(stat -c %s "$tmp/b")
ok "--stop ends just before the string" bash -c "! grep -q '$word' '$tmp/b' &&
	cmp -s -n $size '$tmp/a' '$tmp/b' && tail -c +$((size + 1)) '$tmp/a' | head -c ${#word} |
	grep -qx '$word'"
text "$tmp/b" -p "The scheduler" -n 0
ok "-n 0 reads the prompt and says nothing" test $rc = 0 -a ! -s "$out"
sh_run "${greedy[@]}" -p "The scheduler" -c 32 --ignore-eos
ok "a full context ends the text with a sentence" \
	bash -c "test $rc = 0 -a -s '$out' && grep -q 'context is full' '$err'"
sh_run "${greedy[@]}" -n 8
ok "without a prompt a text begins at its beginning" test $rc = 0 -a -s "$out"
ok "such a text does not begin with a space" bash -c "! head -c 1 '$out' | grep -q ' '"
refuses "an empty prompt is refused" 1 "the prompt is empty" "${greedy[@]}" -p ''
refuses "an empty file of a prompt is refused" 1 "the prompt is empty" "${greedy[@]}" -f /dev/null
refuses "a prompt that is no UTF-8 is refused with the place" 1 "byte 4 .0xff. is not valid UTF-8" \
	"${greedy[@]}" -p $'abc \xff\xfe broken'
sh_run run -m "$model" -p "The" -n 200 -s 3 --temp 3 --top-k 0 --top-p 1 --min-p 0 --ignore-eos
ok "the wildest text is UTF-8" bash -c "test $rc = 0 && iconv -f UTF-8 -t UTF-8 '$out' >/dev/null"
"$sherd" "${greedy[@]}" -p The -n 8 >/dev/full 2>"$err"
rc=$?
ok "a text that cannot be written is a failure with a reason" \
	bash -c "test $rc = 1 && grep -q 'No space left' '$err'"
: >"$out"
{ "$sherd" "${greedy[@]}" -p The -n 200 --ignore-eos 2>"$err"; echo $? >"$tmp/rc"; } | head -c 1 >/dev/null
rc=$(cat "$tmp/rc")
ok "a reader that goes away is no reason for words" bash -c "! grep -qiE 'pipe|written' '$err'"

"$sherd" run -m "$model" --device reference -p The -c 8192 -n 8000 -s 1 --temp 1 --ignore-eos \
	>"$out" 2>"$err" &
pid=$!
for _ in {1..300}; do
	[[ -s $out ]] && break
	sleep 0.1
done
kill -INT $pid
wait $pid
rc=$?
ok "Ctrl-C ends the text, says how fast it was, and exits with 130" \
	bash -c "test $rc = 130 -a -s '$out' && grep -q 't/s' '$err'"

# ---------------------------------------------------------------- wrong lines

refuses "a value that is no number is named" 2 "-n: 'abc' is not a number" run -m "$model" -n abc
refuses "a number out of range is named with the range" 2 "--top-p: 2 is out of range" \
	run -m "$model" --top-p 2
refuses "two prompts are one too many" 2 "one prompt" run -m "$model" -p a -f b
refuses "two models are one too many" 2 "too many" run one two
refuses "an empty stop string is refused" 2 "--stop" run -m "$model" --stop ''
refuses "5 bits are not offered" 2 "neither 4 nor 8" run -m "$model" --bits 5
refuses "an unknown wire format is refused with the known ones" 2 "int8, f16, f32" \
	run -m "$model" --wire int7
refuses "a cut behind the last layer is refused" 1 "." run -m "$model" -p a --cuts 99

plan=(run --plan "$tmp/nosuch.json" -p a)
for o in "-c 64" "--kv int8" "--bits 4" "-t 2" "-b 8" "--device cpu" "--wire f16" "--cuts 3"; do
	# shellcheck disable=SC2086
	refuses "a plan has its own ${o% *}" 2 "${o% *} does nothing with --plan" "${plan[@]}" $o
done
for o in "--deadline 4" "--time-limit 4" --inexact "--tls $tmp" --insecure "--io epoll"; do
	# shellcheck disable=SC2086
	refuses "${o% *} goes with a plan" 2 "${o% *} does nothing without --plan" run -m "$model" -p a $o
done
for o in "-n 4" "-s 4" "--temp 0.1" "--stop x"; do
	# shellcheck disable=SC2086
	refuses "a journal has its own ${o% *}" 2 "${o% *} does nothing with --resume" \
		run -m "$model" --resume "$tmp/nosuch" $o
done

# ------------------------------------------------------- wrong files, wrong rooms

refuses "a model that is not there is named" 1 "nosuch" run -m "$tmp/nosuch.gguf" -p a
refuses "a folder is no model" 1 "." run -m "$tmp" -p a
refuses "a text is no model" 1 "README" run -m README.md -p a
refuses "an empty file is no model" 1 "." run -m /dev/null -p a
head -c 100000 "$model" >"$tmp/short.gguf"
refuses "a truncated model is refused" 1 "short.gguf" run -m "$tmp/short.gguf" -p a
refuses "a prompt file that is not there is named" 1 "nosuch" run -m "$model" -f "$tmp/nosuch"
refuses "a text is no journal" 1 "README.md: is no journal of sherd run" run -m "$model" --resume README.md
echo '{"sherd_plan": 1}' >"$tmp/plan.json"
refuses "a plan is no journal" 1 "plan.json: is no journal of sherd run" run -m "$model" --resume "$tmp/plan.json"
: >"$tmp/journal"
refuses "a journal that is there is not written over, and no plan is looked for" 1 \
	"journal is there already: --resume goes on with it" "${plan[@]}" --journal "$tmp/journal"
refuses "a folder is no prompt" 1 "directory" run -m "$model" -f "$tmp"
refuses "a prompt longer than the context is refused with both numbers" 1 "tokens .* 16" \
	run -m "$model" -p "$prompt" -c 16
refuses "an unknown device is refused" 1 "no-such-device" run -m "$model" -p a --device no-such-device

refuses "a KV cache without room is refused in MiB" 1 "KV cache.* [0-9.]+ MiB" \
	run -m "$model" -p a -c 16777216 --kv f32
ok "and in no other unit" bash -c "! tail -n 1 '$err' | grep -qE 'GiB|KiB|bytes'"

text "$tmp/a" -p "The scheduler" -n 8
XDG_CACHE_HOME=/dev/null text "$tmp/b" -p "The scheduler" -n 8
ok "where there is no room for a cache, run works without and says so" \
	bash -c "test $rc = 0 && cmp -s '$tmp/a' '$tmp/b' && grep -qi 'memory' '$err'"
(
	ulimit -f 0
	XDG_CACHE_HOME=$tmp/full "$sherd" "${greedy[@]}" -p "The scheduler" -n 8 --device reference | cat
	exit "${PIPESTATUS[0]}"
) 2>&1 >"$tmp/b" | cat >"$err"
rc=${PIPESTATUS[0]}
ok "where no file may grow, not even in memory, one sentence says so" \
	bash -c "test $rc = 1 && tail -n 1 '$err' | grep -q '^sherd run: .*File too large'"
HOME=/nonexistent XDG_CACHE_HOME='' text "$tmp/b" -p "The scheduler" -n 8
ok "a user without a home is served" bash -c "test $rc = 0 && cmp -s '$tmp/a' '$tmp/b'"

export OCL_ICD_VENDORS=/nonexistent
refuses "without any OpenCL platform, one sentence says so" 1 "OpenCL" run -m "$model" -p a
text "$tmp/b" -p "The scheduler" -n 8 --device reference
ok "the reference needs no OpenCL" bash -c "test $rc = 0 && cmp -s '$tmp/a' '$tmp/b'"
unset OCL_ICD_VENDORS

left=$(find "$TMPDIR" -mindepth 1; find "$XDG_CACHE_HOME" -name '*.tmp')
[[ -z $left ]] || echo "# left behind: $left"
ok "nothing is left behind" test -z "$left"
finish
