#!/bin/bash
# SPDX-License-Identifier: MIT
# run --session: what is kept changes the time that a text takes, and never the text.
. "$(dirname "$0")/lib"

kept=$tmp/kept
prompt=$(printf 'The driver takes the lock before it looks at the queue. %.0s' 1 2 3 4 5 6)

# same_with "sentence" FROM ARG...: the text with --session is the one without; FROM tokens (or some,
# or none) came from the file
same_with()
{
	local name=$1 from=$2

	shift 2
	sh_run run -m "$model" "$@"
	cp "$out" "$tmp/without"
	sh_run run -m "$model" "$@" --session "$kept"
	ok "$name" bash -c "test $rc = 0 && cmp '$out' '$tmp/without'"
	if [[ $from == none ]]; then
		ok "nothing was taken from the file" bash -c "! grep -q 'of them from' '$err'"
	else
		ok "and $from of its tokens came from the file" \
			grep -q ", ${from/some/[0-9]*} of them from $kept," "$err"
	fi
}

same_with "a first run has the text that it has without a file" none -p "$prompt" -n 20 --temp 0
same_with "a second one has it too" some -p "$prompt" -n 20 --temp 0
same_with "so has one that goes on longer" some -p "$prompt" -n 40 --temp 0
same_with "so has a prompt that begins the same" some -p "$prompt Then" -n 20 --temp 0
same_with "so has one that is a beginning of the other" some -p "The driver takes" -n 20 --temp 0
same_with "so has another seed" some -p "The driver takes" -n 20 -s 7
same_with "so has a prompt that shares its first token alone" 1 -p "Memory is" -n 20 -s 7
rm "$kept"
same_with "so has an int8 cache, first" none -p "$prompt" -n 20 --temp 0 --kv int8
same_with "and again" some -p "$prompt" -n 20 --temp 0 --kv int8
same_with "so has a wire that nothing goes over" some -p "$prompt" -n 20 --temp 0 --kv int8 --wire f16
rm "$kept"
same_with "so have cuts, first" none -p "$prompt" -n 20 --temp 0 --cuts 2,4
same_with "and again" some -p "$prompt" -n 20 --temp 0 --cuts 2,4
cp "$kept" "$tmp/before"

refuses "other cuts' file is refused" 1 "kept: is a session of other cuts" run -m "$model" -p The -n 1 --session "$kept"
refuses "another cache's file is refused" 1 "another type of KV cache" \
	run -m "$model" -p The -n 1 --session "$kept" --cuts 2,4 --kv f32
refuses "another model's file is refused" 1 "a session of another model" \
	run -m models/kdoc-5m-Q4_0.gguf -p The -n 1 --session "$kept" --cuts 2,4
ok "what was refused is as it was" cmp "$kept" "$tmp/before"
printf x | dd of="$kept" bs=1 seek=5000 conv=notrunc status=none
refuses "a damaged file is refused" 1 "kept: is damaged" run -m "$model" -p The -n 1 --session "$kept" --cuts 2,4
refuses "a file that is none is refused" 1 "README.md: is no saved session" \
	run -m "$model" -p The -n 1 --session README.md
refuses "a folder is refused" 1 "is a folder" run -m "$model" -p The -n 1 --session "$tmp"
refuses "a plan has no use for it" 2 "\-\-session does nothing with --plan" run --plan x --session "$kept"

sh_run run -m "$model" -p The -n 4 --temp 0 --session "$tmp/no/folder"
ok "what cannot be kept is said, behind the text" \
	bash -c "test $rc = 1 -a -s '$out' && grep -q '^sherd run: .*no/folder: cannot create' '$err'"
finish
