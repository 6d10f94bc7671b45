#!/bin/bash
# SPDX-License-Identifier: MIT
# The model that ships, on the text held out of its training: what llama.cpp gives, at each width.
. "$(dirname "$0")/lib"

data=${SHERD_SHARED:-../shared}/data/models/kdoc-5m
[[ -e $data/heldout.txt ]] || {
	echo "skipped: no $data/heldout.txt"
	exit 77
}

# gives "sentence" VALUE TOLERANCE ARG...
gives()
{
	local name=$1 value=$2 tolerance=$3

	shift 3
	sh_run eval perplexity -f "$data/heldout.txt" --ctx 256 --json "$@"
	ok "$name: $(json perplexity), which is $value within $tolerance" \
		awk "BEGIN { d = $(json perplexity) - $value; exit !(d * d <= $tolerance ^ 2) }"
}

# From the README beside the data; Q4_0 with its embedding in 4 bits too, from models/README.md.
gives "float weights have llama.cpp's perplexity" 55.6455 0.002 -m "$data/kdoc-5m-f16.gguf"
gives "int8 weights have it" 55.6501 0.02 -m models/kdoc-5m-Q8_0.gguf
gives "int4 weights have it" 56.2200 0.02 -m models/kdoc-5m-Q4_0.gguf

# What cuts over the int8 wire cost: at most so many thousandths of what the same text has uncut.
few=(--chunks 40)
[[ -z ${SHERD_LONG:-} ]] || few=()
sh_run eval perplexity -f "$data/heldout.txt" --ctx 256 --json "${few[@]}" -m "$model"
uncut=$(json perplexity)
costs()
{
	gives "$1" "$uncut" "$(awk "BEGIN { print $uncut * $2 / 1000 }")" \
		"${few[@]}" -m "$model" --cuts "$3"
	ok "and it was cut, for the digits differ" test "$(json perplexity)" != "$uncut"
}
costs "a cut costs at most 0.1 %" 1 3
costs "three cuts cost at most 0.3 %" 3 1,3,5

# What an int8 KV cache costs: at most 0.1 %.
gives "an int8 KV cache costs at most 0.1 %" "$uncut" "$(awk "BEGIN { print $uncut / 1000 }")" \
	"${few[@]}" -m "$model" --kv int8
ok "and it was int8, for the digits differ" test "$(json perplexity)" != "$uncut"

# Heads of 8 dimensions, among them few that are large. A single story says little (its perplexity moves
# by 0.3 % either way), so there are twenty, told by the model itself.
stories()
{
	local story=${SHERD_SHARED:-../shared}/data/models/stories260K-f32.gguf s kv

	for s in {1..20}; do
		"$sherd" run -m "$story" -s "$s" --temp 1 --top-k 0 --top-p 1 --min-p 0 -n 500 >"$tmp/story" \
			2>/dev/null
		for kv in f32 int8; do
			sh_run eval perplexity -m "$story" -f "$tmp/story" --protocol full --kv $kv --json
			json perplexity
		done
	done | awk 'NR % 2 { a = log($1); next } { sum += log($1) - a; n++ }
		END { print sum / n * 100 "%"; exit !(n == 20 && sum != 0 && sum / n < 0.001) }'
}

if [[ -n ${SHERD_LONG:-} ]]; then
	ok "over twenty stories of stories260K too" stories
	gives "requantized to int8, a model loses next to nothing" 55.6455 0.02 \
		-m "$data/kdoc-5m-f16.gguf" --bits 8
	gives "requantized to int4, it loses what Q4_0 loses" 56.2200 0.02 \
		-m "$data/kdoc-5m-f16.gguf" --bits 4
fi
finish
