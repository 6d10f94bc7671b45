#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd eval: perplexities that say what they are.
. "$(dirname "$0")/lib"

cat Documentation/*.rst README.md >"$tmp/text"
ppl=(eval perplexity -m "$model" -f "$tmp/text" --ctx 64 --chunks 6)

sh_run "${ppl[@]}" --json
ok "--json has the perplexity, a positive number" \
	awk "BEGIN { exit !($(json perplexity) > 1 && $(json error) > 0) }"
ok "and the protocol and the context" test "$(json protocol) $(json context)" = "llamacpp 64"
ok "and the text's hash" test "$(json corpus.sha256)" = "$(sha256sum <"$tmp/text" | cut -d ' ' -f 1)"
ok "the second half of each window is scored" test "$(json scored)" = $((6 * 31))
first=$(json perplexity)
sh_run "${ppl[@]}" --json -b 5 -t 1
ok "batch and threads do not change a digit" test "$(json perplexity)" = "$first"
sh_run "${ppl[@]}" --json --device reference
ok "nor does the device" test "$(json perplexity)" = "$first"
sh_run "${ppl[@]}"
ok "the text form has the same value" grep -qF "$(printf '%.4f' "$first")" "$out"
sh_run "${ppl[@]}" --json --protocol gptq
ok "another protocol is another number" test "$(json scored)" = $((6 * 63))

sh_run "${ppl[@]}" --json --cuts 2,4 --wire f16
ok "cuts are part of the result" test "$(json cuts.0) $(json cuts.1) $(json wire)" = "2 4 f16"
ok "and of the perplexity" test "$(json perplexity)" != "$first"
sh_run "${ppl[@]}" --json --cuts 2,4 --wire f32
ok "floats on the wire change nothing" test "$(json perplexity)" = "$first"
refuses "a cut outside the model is refused with the layers there are" 1 "layers 1 to 5" \
	"${ppl[@]}" --cuts 6
refuses "an unknown wire type is refused with the known ones" 2 "int8, f16, f32" "${ppl[@]}" --wire int4

cp "$model" "$tmp/"$'caf\xe9.gguf'
sh_run "${ppl[@]}" --json -m "$tmp/"$'caf\xe9.gguf' --device reference
ok "a model whose path is no UTF-8 is measured all the same" test "$(json perplexity)" = "$first"

refuses "a text shorter than a window is refused with both numbers" 1 "tokens .*256" \
	eval perplexity -m "$model" -f .gitignore --ctx 256
refuses "an empty text is refused" 1 "." eval perplexity -m "$model" -f /dev/null
refuses "an unknown protocol is refused with the known ones" 2 "llamacpp" "${ppl[@]}" --protocol ppl
refuses "a text is wanted" 2 "-f" eval perplexity -m "$model"
refuses "what to measure is wanted" 2 "perplexity" eval -m "$model" -f "$tmp/text"
refuses "a text that is not there is named" 1 "nosuch" eval perplexity -m "$model" -f "$tmp/nosuch"
"$sherd" "${ppl[@]}" >/dev/full 2>"$err"
rc=$?
ok "a result that cannot be written is a failure" bash -c "test $rc = 1 && grep -q 'No space' '$err'"
finish
