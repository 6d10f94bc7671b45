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

if [[ -n ${SHERD_LONG:-} ]]; then
	gives "requantized to int8, a model loses next to nothing" 55.6455 0.02 \
		-m "$data/kdoc-5m-f16.gguf" --bits 8
	gives "requantized to int4, it loses what Q4_0 loses" 56.2200 0.02 \
		-m "$data/kdoc-5m-f16.gguf" --bits 4
fi
finish
