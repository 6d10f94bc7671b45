#!/bin/bash
# SPDX-License-Identifier: MIT
# Writes corpus/session: what fuzz_session.c begins with. Almost all are changes of a session that the
# target saves itself, so they need not be made anew when the kernels, or the bits, are others.
set -eu
cd "$(dirname "$0")/corpus"
mkdir -p session
cd session

# change NAME FLAGS CUT PLACE VALUE...: CUT bytes off its end, VALUEs put at PLACEs
change()
{
	local name=$1 flags=$2 cut=$3

	shift 3
	{
		printf "\\x$flags"
		printf "\\x$(printf %02x $((cut & 255)))\\x$(printf %02x $((cut >> 8)))"
		while (($#)); do
			printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8)))"
			printf "\\x$(printf %02x "$2")"
			shift 2
		done
	} >"$name"
}

change whole 01 0
change shorter 01 1
change much_shorter 01 9000
change no_magic 03 0 0 120
change version_1 03 0 8 1
change many_tokens 03 0 15 127
change one_token_more 03 0 12 71 48 25
change other_cache 03 0 16 0
change other_page 03 0 20 32
change other_layers 03 0 24 1
change cuts 03 0 36 1 48 21
change many_cuts 03 0 39 255
change other_bits 03 0 40 4
change long_note 03 0 51 255
change short_note 03 0 48 2
change huge_pages 03 0 63 128
change other_model 03 0 64 120
change other_profile 03 0 136 120
change token_below 03 0 211 128
change token_above 03 0 208 40
change front_damaged 01 0 208 5
change note_damaged 01 0 490 5
change pages_damaged 01 0 800 5
change pages_odd 05 0 521 255 522 255 523 255 524 255 640 127 641 128 642 255 643 255
printf '\x00sherdses' >short_head
printf '\x00hello, I am a letter' >letter
# at position 0, with a note
{
	printf '\x06sherdses\x02\0\0\0\0\0\0\0\0\0\0\0\x40\0\0\0'
	head -c 24 /dev/zero
	printf '\x04\0\0\0'
	head -c 156 /dev/zero
	printf 'note\0\0\0\0\0\0\0\0'
} >only_a_note
