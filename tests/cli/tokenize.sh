#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd tokenize: every text comes back, however odd.
. "$(dirname "$0")/lib"

there_and_back() # MODEL FILE
{
	"$sherd" tokenize -m "$1" -f "$2" >"$tmp/ids" 2>"$err" &&
		"$sherd" tokenize -m "$1" --decode <"$tmp/ids" >"$out" 2>"$err"
	rc=$?
	((rc == 0)) && cmp -s "$out" "$2"
}

printf 'It returns 0, or a negative errno.\n\n\tif (ret)\n' >"$tmp/plain"
printf 'na\xc3\xafve \xf0\x9f\x98\x80 \xe4\xb8\xad\xe6\x96\x87 <s> </s> <|im_end|>\r\n' >"$tmp/utf8"
printf '   leading and   many spaces  \n\n\n ' >"$tmp/spaces"
: >"$tmp/empty"
printf 'caf\xe9' >"$tmp/latin1"
for f in plain utf8 spaces empty; do
	ok "a text comes back as it was ($f)" there_and_back "$model" "$tmp/$f"
done
refuses "a text that is no UTF-8 is refused with the place" 1 "latin1: byte 3 .0xe9. is not valid" \
	tokenize -m "$model" -f "$tmp/latin1"

sh_run tokenize -m "$model" -p "The scheduler"
ok "the ids stand on one line" bash -c "test $rc = 0 && grep -qE '^[0-9]+( [0-9]+)*$' '$out' &&
	test \$(wc -l <'$out') = 1"
with=$(wc -w <"$out")
sh_run tokenize -m "$model" -p "The scheduler" --no-special
ok "--no-special leaves out what begins a text" test $((with - 1)) = "$(wc -w <"$out")"
count=$(wc -w <"$out")
sh_run tokenize -m "$model" -p "The scheduler" --no-special --json
ok "--json has the same number of ids" test "$(json count)" = "$count"
sh_run tokenize -m "$model" -p "caf"$'\xc3\xa9 \xe4\xb8\xad' --json --show
ok "--json is JSON even for pieces that are no UTF-8 by themselves" json pieces.0
sh_run tokenize -m "$model" -p "a" --show
ok "--show prints a line a token" grep -qE "^[0-9]+"$'\t'"'" "$out"

refuses "a word among ids is named with its place" 1 "'x' .*byte 3" \
	tokenize -m "$model" -d -p "1 x"
refuses "an id beyond the vocabulary is refused" 1 "4096" tokenize -m "$model" -d -p 99999999
refuses "a negative id is refused" 1 "-5" tokenize -m "$model" -d -p "-5"
refuses "a file that is not there is named" 1 "nosuch" tokenize -m "$model" -f "$tmp/nosuch"
refuses "a model that is not there is named" 1 "nosuch" tokenize -m "$tmp/nosuch" -p a
refuses "two texts are one too many" 2 "two texts" tokenize -m "$model" -p a -f b
"$sherd" tokenize -m "$model" -p a >/dev/full 2>"$err"
rc=$?
ok "ids that cannot be written are a failure" bash -c "test $rc = 1 && grep -q 'No space' '$err'"
head -c 2000 "$model" >"$tmp/short.gguf"
refuses "a truncated vocabulary is refused" 1 "short.gguf" tokenize -m "$tmp/short.gguf" -p a
finish
