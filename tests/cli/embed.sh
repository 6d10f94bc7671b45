#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd embed: texts to vectors, by an encoder.
. "$(dirname "$0")/lib"

bert=tests/golden/bert-f16.gguf
embed()
{
	sh_run embed -m "$bert" --device reference --no-cache "$@"
}

embed -p "a cat sleeps"
ok "a text is a line of as many numbers as the model is wide" bash -c "test $rc = 0 &&
	test \$(wc -l <'$out') = 1 && test \$(wc -w <'$out') = 36"
ok "its length is 1" awk '{ for (i = 1; i <= NF; i++) s += $i * $i } END { exit !((s - 1) ^ 2 < 1e-10) }' "$out"
cp "$out" "$tmp/one"
embed -p "a dog barks" -p "a cat sleeps"
ok "a text's vector does not depend on the texts beside it" bash -c "sed -n 2p '$out' | cmp - '$tmp/one'"
printf 'a dog barks\n\na cat sleeps' >"$tmp/texts"
cp "$out" "$tmp/two"
embed -f "$tmp/texts"
ok "the lines of a file are texts, but for empty ones" same "$out" "$tmp/two"
embed -p "a dog barks" -p "a cat sleeps" --similarity
ok "--similarity is symmetric, with ones on its diagonal" awk \
	'{ for (i = 1; i <= NF; i++) s[NR, i] = $i }
	END { exit !(NR == 2 && s[1, 1] == 1 && s[2, 2] == 1 && s[1, 2] == s[2, 1] && s[1, 2] < 1) }' "$out"
embed -p "a cat sleeps" --pooling none --json
ok "--pooling none gives a row a token" test "$(json texts.0.rows.3.35)" != "" -a "$(json texts.0.tokens)" = 14
embed -p "a cat sleeps" --pooling cls --no-normalize --json
ok "--json says what was done" test "$(json pooling) $(json hidden) $(json model)" = "cls 36 $bert"
first=$(json texts.0.embedding.0)
embed -p "a cat sleeps" --pooling none --no-normalize --json
ok "cls is the first row" test "$(json texts.0.rows.0.0)" = "$first"

refuses "a text that does not fit is refused with its length" 1 "text 2: the text has [0-9]+ tokens, .* at most 320" \
	embed -m $bert --device reference --no-cache -p "short" -p "$(printf 'a%.0s' {1..400})"
refuses "a model that writes text is refused" 1 "vectors come from encoders" \
	embed -m "$model" --device reference -p "a"
refuses "run names embed where the model is an encoder" 1 "sherd embed -m" \
	run -m $bert --device reference --no-cache -p "a"
refuses "eval names it too" 1 "sherd embed -m" eval perplexity -m $bert --device reference --no-cache -f "$tmp/texts"
refuses "and bench" 1 "sherd embed -m" bench -m $bert --device reference --no-cache -p 32 -n 8
refuses "an unknown pooling is refused with the known ones" 2 "model, none, mean, cls" \
	embed -m $bert --pooling max -p a
refuses "no text at all is refused" 1 "there is no text" embed -m $bert -f /dev/null
refuses "texts from two places are refused" 2 "-p and -f are both texts" embed -m $bert -p a -f "$tmp/texts"
refuses "rows have no similarity" 2 "one vector a text" embed -m $bert -p a --pooling none --similarity
finish
