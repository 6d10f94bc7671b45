#!/bin/bash
# SPDX-License-Identifier: MIT
# What llama.cpp gives for the tiny models of each family that it knows: tests/golden/perplexity.list says how.
. "$(dirname "$0")/lib"

golden=tests/golden
families=0
while read -r name f16 f32; do
	[[ $name && $name != \#* ]] || continue
	families=$((families + 1))
	sh_run eval perplexity -m "$golden/$name.gguf" -f "$golden/perplexity.txt" --ctx 256 --kv f32 \
		--device reference --json
	# sherd keeps activations as floats: nearer to what the same weights give as F32
	ok "$name: $(json perplexity), llama.cpp's $f32, and with activations in F16 $f16" \
		awk "BEGIN { p = $(json perplexity); a = p / $f32 - 1; b = p / $f16 - 1
			exit !(a * a < 5e-5 ^ 2 && b * b < 4e-4 ^ 2) }"
done <"$golden/perplexity.list"
ok "there were families to compare" test "$families" -ge 24
finish
