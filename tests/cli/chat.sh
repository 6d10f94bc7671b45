#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd chat, from a pipe and at a terminal, and run with a chat template.
. "$(dirname "$0")/lib"

pty=${SHERD_BUILD:-build/check}/tests/cli/pty
export XDG_CACHE_HOME=$tmp/own
chat=(chat -m "$model" --template alpaca --temp 0 -n 12)

talk() # talk LINES ARG...: sherd chat with these lines to read
{
	local lines=$1

	shift
	printf "$lines" | "$sherd" "$@" >"$out" 2>"$err"
	rc=$?
}

number() # the little-endian number of 8 bytes
{
	printf "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24)) 0 0 0 0)"
}

# with_template TEMPLATE FILE: the model with that template in its metadata, its tensors where they were
with_template()
{
	local text="$1{#" n=$((${#1} + 4))

	text+=$(printf "%$(((64 - (43 + n) % 32) % 32))s")#}
	{
		head -c 16 "$model"
		number $(($(od -An -tu8 -j 16 -N 8 "$model") + 1))
		number 23
		printf 'tokenizer.chat_template\x08\0\0\0'
		number ${#text}
		printf '%s' "$text"
		tail -c +25 "$model"
	} >"$2"
}

# ------------------------------------------------------------------- templates

refuses "a model without a template is refused, and what helps is said" 1 \
	"no chat template; --template NAME" chat -m "$model"
refuses "an unknown template is answered with those that there are" 2 \
	"'nix' is neither a file nor one of .*chatml, .*llama3, .*zephyr" chat -m "$model" --template nix
sh_run chat --template list
ok "--template list lists them" bash -c "test $rc = 0 && grep -q '^gemma  *Gemma' '$out'"
printf 'a\n{{ b' >"$tmp/broken.jinja"
refuses "a broken template is refused with its line" 1 "broken.jinja: the chat template's line 2: a tag" \
	chat -m "$model" --template "$tmp/broken.jinja"
printf '{{ raise_exception("roles must alternate") }}' >"$tmp/no.jinja"
refuses "a template that says no is heard" 1 "line 1: roles must alternate" \
	run -m "$model" -p Hello --template "$tmp/no.jinja"

refuses "a system prompt that is no UTF-8 is refused" 1 "--system: byte 3 .0xe9. is not valid UTF-8" \
	chat -m "$model" --template alpaca --system $'caf\xe9'
refuses "so it is where there is one question alone" 1 "--system: byte 3 .0xe9. is not valid UTF-8" \
	run -m "$model" --template alpaca --system $'caf\xe9' -p Hello

# ------------------------------------------------------------------ from a pipe

talk 'The scheduler\nAnd memory?\n' "${chat[@]}"
cp "$out" "$tmp/two"
ok "a line is a turn: an answer each, and nothing else on standard output" \
	bash -c "test $rc = 0 && grep -c 't/s' '$err' | grep -qx 2 && test \$(wc -l <'$out') -ge 2"
read -r first known < <(sed -n 's/^sherd: prompt \([0-9]*\) tokens.*/\1/p' "$err" | tr '\n' ' ')
made=$(sed -n 's/.*generated \([0-9]*\) tokens.*/\1/p' "$err" | head -n 1)
known=$(sed -n 's/^sherd: prompt [0-9]* tokens, \([0-9]*\) of them known.*/\1/p' "$err")
ok "of the second prompt only what is new is computed" \
	test -n "$known" -a "${known:-0}" = $((${first:-0} + ${made:-0} - 1))
talk 'The scheduler\nAnd memory?\n' "${chat[@]}" -b 3 --no-cache --device reference
ok "the batch, the cache and the device do not change the answers" same "$out" "$tmp/two"
talk 'The scheduler\n/save '"$tmp"'/talk.json\n' "${chat[@]}" --system 'Be kind.'
ok "a talk is saved" bash -c "test $rc = 0 && grep -q '\"Be kind.\"' '$tmp/talk.json'"
head -n -0 "$out" >"$tmp/first"
talk '/load '"$tmp"'/talk.json\nAnd memory?\n' "${chat[@]}"
cat "$tmp/first" "$out" >"$tmp/loaded"
talk 'The scheduler\nAnd memory?\n' "${chat[@]}" --system 'Be kind.'
ok "a talk that was loaded goes on as the one that was saved" same "$tmp/loaded" "$out"
talk 'Something else\n/undo\nThe scheduler\n/clear\nA file\n/clear\nThe scheduler\n/undo\nThe scheduler\nAnd memory?\n' \
	"${chat[@]}"
tail -n "$(wc -l <"$tmp/two")" "$out" >"$tmp/last"
ok "what was undone or cleared leaves no trace" same "$tmp/two" "$tmp/last"
talk 'The scheduler\n/retry\n' "${chat[@]}" --temp 2 --top-k 0 --min-p 0 --top-p 1 -s 5
cp "$out" "$tmp/a"
talk 'The scheduler\n/retry\n' "${chat[@]}" --temp 2 --top-k 0 --min-p 0 --top-p 1 -s 5
ok "the same seed gives the same talk" same "$tmp/a" "$out"
talk 'The scheduler\n' "${chat[@]}" --temp 2 --top-k 0 --min-p 0 --top-p 1 -s 5
ok "/retry gives another answer" bash -c "! cmp -s <(cat '$out' '$out') '$tmp/a'"
talk 'one\\\ntwo\n"""\nthree\n\nfour"""\n"""five"""\n//six\n/show\n' "${chat[@]}" -n 1
ok "messages have several lines, by a backslash or in quotes, and may begin with a slash" \
	bash -c "grep -A 1 '^user:' '$err' | tr -d '\n' | grep -q 'user:  one--user:  three--user:  five--user:  /six' &&
	grep -A 3 '^  three' '$err' | tr '\n' '|' | grep -q '  three|  |  four|'"
talk '/help\n/frobnicate\n/load '"$tmp"'/broken.jinja\n/save\n/system x\n/system\n/quit\nnever\n' "${chat[@]}"
ok "commands explain themselves, and what is wrong with them is said" \
	bash -c "test $rc = 0 -a ! -s '$out' && grep -q '/retry' '$err' && grep -q 'no /frobnicate' '$err' &&
	grep -q 'no talk that sherd chat saved' '$err' && grep -q 'needs a file' '$err'"
talk 'The scheduler\nof the kernel\ngoes on and on\nand further\n/show\n' "${chat[@]}" -c 96 --system Kind
ok "a full context forgets the oldest turns behind the system prompt, and says so" \
	bash -c "test $rc = 0 && grep -q 'context of 96 tokens is full: the [0-9] oldest' '$err' &&
	grep -q '^system:' '$err' && ! grep -q '^  The scheduler' '$err' && grep -q '^  and further' '$err'"
talk 'x\n'"$(printf 'much too long %.0s' {1..60})"'\n' "${chat[@]}" -c 96
ok "a message that the context cannot hold is refused" \
	bash -c "test $rc = 1 && tail -n 1 '$err' | grep -q 'the context holds 96'"
talk 'a \xff b\n' "${chat[@]}"
ok "a message that is no UTF-8 is refused with the place" \
	bash -c "test $rc = 1 && grep -q 'byte 2 .0xff. is not valid UTF-8' '$err'"
"$sherd" "${chat[@]}" >/dev/full 2>"$err" <<<'The scheduler'
rc=$?
ok "an answer that cannot be written is a failure with a reason" \
	bash -c "test $rc = 1 && grep -q 'No space left' '$err'"

# --------------------------------------------------------------------- guesses

long='The scheduler\n/retry\nAnd memory?\nThe scheduler\n/undo\nof the kernel\ngoes on and on\nand further\nand on\n'
same_with_draft() # same_with_draft DRAFT ARG...
{
	local draft=$1

	shift
	talk "$long" "${chat[@]}" -n 20 -c 160 "$@"
	cp "$out" "$tmp/plain"
	talk "$long" "${chat[@]}" -n 20 -c 160 "$@" --draft $draft
	ok "a talk with --draft ${draft##*/} has the answers of one without, $*" \
		bash -c "test $rc = 0 && cmp '$tmp/plain' '$out' && grep -q 'oldest turn' '$err'"
	ok "  ... and says of each answer what the draft was worth" \
		bash -c "grep -c '^sherd: draft: ' '$err' | grep -qx 8"
}
same_with_draft ngram --temp 0
same_with_draft models/kdoc-5m-Q4_0.gguf --temp 0.9 -s 5 --repeat-penalty 1.1
ok "  ... which was something" grep -qE 'tokens guessed, [1-9][0-9]* % of them right' "$err"
refuses "--draft-max goes with a draft, in a talk too" 2 "--draft-max does nothing without --draft" \
	"${chat[@]}" --draft-max 4

# -------------------------------------------------------------------- sessions

kept=$tmp/kept
talk 'The scheduler\nAnd memory?\n' "${chat[@]}" --temp 0.9 -s 5 --system 'Be kind.'
cp "$out" "$tmp/whole"
talk 'The scheduler\n' "${chat[@]}" --temp 0.9 -s 5 --system 'Be kind.' --session "$kept"
cp "$out" "$tmp/parts"
talk 'And memory?\n' "${chat[@]}" --temp 0.9 -s 5 --session "$kept"
cat "$out" >>"$tmp/parts"
ok "a talk goes on in another process as it would have in one, with the same seed" \
	bash -c "test $rc = 0 && cmp '$tmp/whole' '$tmp/parts'"
ok "  ... and nothing of it is read twice" \
	bash -c "grep -q 'kept goes on, with 3 messages; /show' '$err' && grep -q 'tokens, [0-9]* of them known' '$err'"
cp "$kept" "$tmp/before"
talk '' "${chat[@]}" --session "$kept"
ok "who says nothing leaves the file as it was" cmp "$kept" "$tmp/before"
refuses "run does not write over a talk" 1 "kept: is a talk, which sherd chat --session goes on with" \
	run -m "$model" -p The -n 1 --session "$kept"
sh_run run -m "$model" -p The -n 1 --session "$tmp/run.kept"
refuses "and chat not over what run keeps" 1 "a session of sherd run, without a talk" \
	"${chat[@]}" --session "$tmp/run.kept"
talk '/show\n' "${chat[@]}" --session "$kept" --kv int8
ok "another KV cache's talk goes on, and is read again" \
	bash -c "test $rc = 0 && grep -q 'read again, for what was read of it is another' '$err' && grep -q '^  And memory' '$err'"
ok "  ... but stays as it is until something is said" cmp "$kept" "$tmp/before"
talk 'The scheduler\n/clear\n' "${chat[@]}" --session "$tmp/cleared"
talk '' "${chat[@]}" --session "$tmp/empty"
ok "what was cleared is in nobody's file" cmp "$tmp/cleared" "$tmp/empty"
ok "  ... which is its owner's alone" test "$(stat -c %a "$tmp/empty")" = 600
printf x | dd of="$tmp/before" bs=1 seek=250 conv=notrunc status=none
cp "$tmp/before" "$tmp/damaged"
refuses "a damaged file is refused" 1 "damaged: is damaged" "${chat[@]}" --session "$tmp/damaged"
ok "  ... and stays as it is" cmp "$tmp/before" "$tmp/damaged"
refuses "a talk that cannot be kept is not begun" 1 "no/folder: cannot create" "${chat[@]}" --session "$tmp/no/folder"

# Killed, as by a lost connection: what was said is there, and its cache is not.
rm -f "$kept"
mkfifo "$tmp/lines"
"$sherd" "${chat[@]}" --session "$kept" <"$tmp/lines" >"$tmp/parts" 2>"$err" &
exec 7>"$tmp/lines"
echo 'The scheduler' >&7
for ((i = 0; i < 600; i++)); do
	grep -q '"assistant"' "$kept" 2>/dev/null && break
	sleep 0.1
done
kill -KILL $!
wait $! 2>/dev/null
exec 7>&-
cp "$kept" "$tmp/shared"
talk 'And memory?\n' "${chat[@]}" --session "$kept"
cat "$out" >>"$tmp/parts"
ok "a talk whose process was killed goes on with all that was said" \
	bash -c "test $rc = 0 && cmp '$tmp/parts' '$tmp/two' && ! grep -q 'of them known' '$err'"

# Two at once: the second one's words stay, and the first one hears of it.
"$sherd" "${chat[@]}" --session "$tmp/shared" <"$tmp/lines" >/dev/null 2>"$tmp/first" &
first=$!
exec 7>"$tmp/lines"
for ((i = 0; i < 600; i++)); do
	grep -q 'goes on' "$tmp/first" 2>/dev/null && break
	sleep 0.1
done
talk 'And memory?\n' "${chat[@]}" --session "$tmp/shared"
cp "$tmp/shared" "$tmp/second"
echo 'The network' >&7
exec 7>&-
wait $first
rc=$?
ok "a talk's file that another talk was written to is not written over" \
	bash -c "test $rc = 1 && cmp '$tmp/shared' '$tmp/second' && grep -q 'another program has written' '$tmp/first'"

# ---------------------------------------------------- run, and a model's template

own=$tmp/own.gguf
with_template '{% for m in messages %}### {{ m.role }}: {{ m.content | trim }} {% endfor %}### assistant:' "$own"
greedy=(run -m "$own" --temp 0 -n 12)
sh_run "${greedy[@]}" -p ' The scheduler '
cp "$out" "$tmp/a"
ok "run makes the prompt a message of the model's template, and says so" \
	bash -c "test $rc = 0 && grep -q \"a message, by the model's chat template; --raw\" '$err'"
sh_run "${greedy[@]}" --raw -p '### user: The scheduler ### assistant:'
ok "that is the text that the template makes" same <(sed 's/^ //' "$out") "$tmp/a"
ok "--raw says nothing of templates" bash -c "! grep -q template '$err'"
sh_run "${greedy[@]}" -p 'The scheduler' --system 'Be kind.' --journal "$tmp/journal"
cp "$out" "$tmp/b"
sh_run "${greedy[@]}" --raw -p '### system: Be kind. ### user: The scheduler ### assistant:'
ok "--system stands before it" same <(sed 's/^ //' "$out") "$tmp/b"
sh_run run -m "$own" --resume "$tmp/journal"
ok "a journal has what the template made" same "$out" "$tmp/b"
sh_run "${greedy[@]}"
cp "$out" "$tmp/a"
sh_run run -m "$model" --temp 0 -n 12
ok "without a prompt a text begins at its beginning, template or not" same "$out" "$tmp/a"
talk 'The scheduler\n' chat -m "$own" --temp 0 -n 12 --system 'Be kind.'
ok "chat takes the model's template" same <(cat "$tmp/b"; [[ -z $(tail -c 1 "$tmp/b") ]] || echo) "$out"
refuses "--raw and --system exclude each other" 2 "without --system too" run -m "$own" --raw --system x -p y
refuses "--system needs a template" 1 "no chat template that would say where" run -m "$model" --system x -p y
with_template '{% include "x" %}' "$own"
refuses "a template with what is unknown is refused with what helps" 1 \
	"no statement 'include' here .*; --template NAME" run -m "$own" -p y

# ---------------------------------------------------------------- at a terminal

person() # person STEPS ARG...
{
	local steps=$1

	shift
	TERM=xterm LC_ALL=C.UTF-8 "$pty" "$sherd" "$@" <<<"$steps" >"$out" 2>"$err"
	rc=$?
}

person $'wait > \nsend The scheduler\\r\nwait t/s\nwait > \nsend \\x04' "${chat[@]}" --session "$tmp/typed"
ok "at a terminal it asks, answers, and Ctrl-D leaves" test $rc = 0
ok "  ... keeping the talk, once" bash -c "grep -c 'keeping the talk in' '$out' | grep -qx 1 && grep -q 'The scheduler' '$tmp/typed'"
ok "  ... saying how to get help" grep -q '/help says' "$out"
person $'wait > \nsend One\\\\\\r\nwait . \nsend two\\r\nwait t/s\nwait > \nsend /show\\r
wait   One\nwait   two\nwait > \nsend \\x04' "${chat[@]}"
ok "a line that ends in a backslash goes on" test $rc = 0
# Pasting in brackets ends where the line has been taken; what comes behind that is the answer.
taken=scheduler
ldd "$sherd" | grep -q libedit && taken=2004l
person $'wait > \nsend The scheduler\\r\nwait '$taken$'\nwait The\nsend \\x03\nwait interrupted\nwait > \nsend /show\\r
wait assistant:\nwait > \nsend \\x03\nwait once more\nwait > \nsend \\x03' \
	chat -m "$model" --template alpaca --device reference -c 8192 -n 8000 -s 1 --temp 1 --stop NEVER
ok "Ctrl-C ends the answer, which is kept as far as it came, and not the program; twice leaves" test $rc = 130
rm -f "$tmp"/*.json
person $'wait > \nsend The scheduler\\r\nwait '$taken$'\nwait The\nsend \\x03\nwait interrupted\nwait > \nsend And memory?\\r
wait '$taken$'\nwait t/s\nwait > \nsend /save '"$tmp"$'/a.json\\r\nwait saved\nwait > \nsend /undo\\r\nwait forgotten\nwait > \nsend /save '"$tmp"$'/b.json\\r
wait saved\nwait > \nsend \\x04' \
	chat -m "$model" --template alpaca --device reference -c 512 -n 48 --temp 0 --stop NEVER --draft ngram
talk '/load '"$tmp"'/b.json\nAnd memory?\n/save '"$tmp"'/c.json\n' \
	chat -m "$model" --template alpaca --device reference -c 512 -n 48 --temp 0 --stop NEVER
ok "an answer that Ctrl-C ended amid guesses leaves none of them to the next" cmp "$tmp/a.json" "$tmp/c.json"
if ldd "$sherd" | grep -q libedit; then
	person $'wait > \nsend The scheduler\\r\nwait t/s\nwait > \nsend rubbish\\x03\nwait ^C\nwait > \nsend \\e[A\\r
wait scheduler\nwait t/s\nwait > \nsend \\e[200~pasted\\rlines\\e[201~\\r\nwait t/s\nwait > \nsend gr\\xc3\\xbcn\\x7f\\x7fau\\r
wait t/s\nwait > \nsend /show\\r\nwait   pasted\nwait   lines\nwait   grau\nwait > \nsend \\x04' "${chat[@]}"
	ok "lines can be edited, come back, are dropped by Ctrl-C, and pasted with their line ends" test $rc = 0
	ok "  ... and what was dropped is not said" bash -c "! grep -q '^  rubbish' '$out'"
else
	skip "lines can be edited" "sherd was built without libedit"
fi
finish
