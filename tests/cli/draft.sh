#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd run --draft: the same text as without, however it ends, and drafts that cannot be had.
. "$(dirname "$0")/lib"

draft=models/kdoc-5m-Q4_0.gguf
twice="The lock is taken before the queue is read. The lock is taken before the queue"

same_with_drafts() # NAME ARG...
{
	local name=$1 d

	shift
	sh_run run -m "$model" "$@"
	cp "$out" "$tmp/plain"
	for d in ngram "$draft"; do
		sh_run run -m "$model" "$@" --draft "$d"
		ok "$name, with ${d##*/}" bash -c "test $rc = 0 -a -s '$out' && cmp -s '$tmp/plain' '$out'"
	done
}

same_with_drafts "a drawn text to the context's end is the same" \
	-p "$twice" -s 7 -c 64 --ignore-eos --repeat-penalty 1.1 --kv int8
ok "what the draft was worth is said" grep -qE '^sherd: draft: [0-9]+ tokens guessed, [0-9]+ % of them right' "$err"
sh_run run -m "$model" -p "$twice" -n 20 --temp 0 --session "$tmp/a.session"
word=$(tr -s ' \n' '\n\n' <"$out" | grep -E '^[a-z]{4,}$' | sed -n 3p)
sh_run run -m "$model" -p "$twice" -n 20 --temp 0 --session "$tmp/b.session" --draft ngram --draft-max 64
ok "a session that is kept has no guesses in it" bash -c "test $rc = 0 && cmp -s '$tmp/a.session' '$tmp/b.session'"
same_with_drafts "a greedy text that ends before '$word' is the same" -p "$twice" -n 20 --temp 0 --stop "$word"

sh_run bench -m "$model" --draft ngram -n 40 -r 2 --json
ok "bench measures a draft against none" test $rc = 0
ok "and says how often it was right" test -n "$(json share_right)" -a -n "$(json speedup)"
refuses "such a race has no other tests" 2 "-p does nothing with --draft" \
	bench -m "$model" --draft ngram -p 64
refuses "a text to continue goes with a draft" 2 "-f does nothing without --draft" bench -m "$model" -f README.md

refuses "--draft-max goes with a draft" 2 "--draft-max does nothing without --draft" \
	run -m "$model" -p a --draft-max 4
refuses "a plan has no draft" 2 "--draft does nothing with --plan" run --plan "$tmp/none" -p a --draft ngram
refuses "more guesses than a step takes are refused" 2 "--draft-max: 65 is out of range" \
	run -m "$model" -p a --draft ngram --draft-max 65
refuses "a draft that is not there is named" 1 "nosuch" run -m "$model" -p a --draft "$tmp/nosuch.gguf"
other=../shared/data/models/stories260K-f32.gguf
if [[ -f $other ]]; then
	refuses "a draft with another vocabulary is refused with both sizes" 1 \
		"vocabulary has 512 tokens, that of .*kdoc-5m.* has 4096" \
		run -m "$model" -p a --draft "$other"
else
	skip "a draft with another vocabulary is refused" "no $other"
fi
finish
