#!/bin/bash
# SPDX-License-Identifier: MIT
# A signal while a model is packed: nothing unfinished stays, neither in the cache nor beside the output.
. "$(dirname "$0")/lib"
. tests/cli/gguf
export XDG_CACHE_HOME=$tmp/own
shards=$XDG_CACHE_HOME/sherd/shards

# 300 MiB of zeros take a while to pack, and next to no block on disk.
big=$tmp/big.gguf
zeros "$big" 2048 65536

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

empty() # FOLDER: what is in it is shown if the assertion fails
{
	ls "$1" >"$out"
	[[ ! -s $out ]]
}

sh_run info "$big" --json
ok "the model of zeros is one that sherd takes" test "$(json runs)" = true
mkdir -p "$tmp/here"
for sig in INT TERM HUP; do
	n_sig=$(kill -l $sig)
	interrupt $sig "$shards" run -m "$big" --bits 8 --device reference -p a
	ok "SIG$sig ends run while it packs" test $seen = 1 -a $rc = $((128 + n_sig))
	ok "and leaves neither half a shard nor a lock" empty "$shards"
	interrupt $sig "$tmp/here" pack "$big" --bits 8 -o "$tmp/here/big.shard"
	ok "SIG$sig ends pack" test $seen = 1 -a $rc = $((128 + n_sig))
	ok "and leaves nothing beside its output" empty "$tmp/here"
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
