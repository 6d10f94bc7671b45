#!/bin/bash
# SPDX-License-Identifier: MIT
# A signal while a model is packed: nothing unfinished stays, neither in the cache nor beside the output.
. "$(dirname "$0")/lib"
export XDG_CACHE_HOME=$tmp/own
shards=$XDG_CACHE_HOME/sherd/shards

# --------------------------------------------- a model of zeros, which takes a while: 300 MiB, and next to no block on disk

bytes() # COUNT NUMBER: little endian
{
	local i v=$2

	for ((i = 0; i < $1; i++, v >>= 8)); do
		# shellcheck disable=SC2059
		printf "\\x$(printf %02x $((v & 255)))"
	done
}

string()
{
	bytes 8 ${#1}
	printf %s "$1"
}

key() # NAME NUMBER: an unsigned int
{
	string "$1"
	bytes 4 4
	bytes 4 "$2"
}

at=0
matrix() # NAME COLUMNS ROWS: halves
{
	string "$1"
	bytes 4 2
	bytes 8 "$2"
	bytes 8 "$3"
	bytes 4 1
	bytes 8 $at
	at=$((at + 2 * $2 * $3))
}

vector() # NAME COUNT: floats
{
	string "$1"
	bytes 4 1
	bytes 8 "$2"
	bytes 4 0
	bytes 8 $at
	at=$((at + 4 * $2))
}

header()
{
	printf GGUF
	bytes 4 3
	bytes 8 12
	bytes 8 8
	string general.architecture
	bytes 4 8
	string llama
	key llama.block_count 1
	key llama.context_length 64
	key llama.embedding_length 2048
	key llama.feed_forward_length 2048
	key llama.attention.head_count 16
	key llama.vocab_size 65536
	string llama.attention.layer_norm_rms_epsilon
	bytes 4 6
	bytes 4 $((0x3727c5ac)) # 1e-5
	matrix token_embd.weight 2048 65536
	vector output_norm.weight 2048
	vector blk.0.attn_norm.weight 2048
	vector blk.0.ffn_norm.weight 2048
	for m in attn_q attn_k attn_v attn_output ffn_gate ffn_up ffn_down; do
		matrix blk.0.$m.weight 2048 2048
	done
	vector rope_freqs.weight 64
	echo $at >"$tmp/size"
}

big=$tmp/big.gguf
header >"$big"
truncate -s $(($(stat -c %s "$big") / 32 * 32 + 32 + $(cat "$tmp/size"))) "$big"

# ------------------------------------------------------------------------------------------------ the signal

# interrupt SIGNAL FOLDER ARG...: sends it when FOLDER has an unfinished file; fails if that never was.
interrupt()
{
	local sig=$1 folder=$2 pid

	shift 2
	rm -f "$folder"/*
	# a shell's background jobs ignore SIGINT; env puts that right
	env --default-signal=INT "$sherd" "$@" >"$out" 2>"$err" </dev/null &
	pid=$!
	until compgen -G "$folder/*.tmp" >/dev/null; do
		kill -0 $pid 2>/dev/null || break
		sleep 0.01
	done
	kill "-$sig" $pid 2>/dev/null && seen=1 || seen=0
	wait $pid 2>/dev/null
	rc=$?
}

sh_run info "$big" --json
ok "the model of zeros is one that sherd takes" test "$(json runs)" = true
mkdir -p "$tmp/here"
for sig in INT TERM HUP; do
	n_sig=$(kill -l $sig)
	interrupt $sig "$shards" run -m "$big" --bits 8 --device reference -p a
	ok "SIG$sig ends run while it packs" test $seen = 1 -a $rc = $((128 + n_sig))
	ok "and leaves neither half a shard nor a lock" test -z "$(ls "$shards")"
	interrupt $sig "$tmp/here" pack "$big" --bits 8 -o "$tmp/here/big.shard"
	ok "SIG$sig ends pack" test $seen = 1 -a $rc = $((128 + n_sig))
	ok "and leaves nothing beside its output" test -z "$(ls "$tmp/here")"
done

(
	trap '' HUP # as nohup does
	"$sherd" pack "$model" -o "$tmp/here/small.shard" >"$out" 2>"$err" &
	kill -HUP $!
	wait $!
)
rc=$?
ok "a signal that was ignored from the start is ignored" test $rc = 0 -a -s "$tmp/here/small.shard"
finish
