#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd pack: shards that give the same text, and files that are never half there.
. "$(dirname "$0")/lib"
. tests/cli/gguf

sh_run run -m "$model" --temp 0 -p "The scheduler" -n 24
cp "$out" "$tmp/text"
sh_run pack "$model" -o "$tmp/a.shard"
ok "a quantized model is packed, and nothing is lost" \
	bash -c "test $rc = 0 -a -s '$tmp/a.shard' && grep -q exact '$out' && ! grep -q 'relative' '$out'"
sh_run run -m "$tmp/a.shard" --temp 0 -p "The scheduler" -n 24 --no-cache
ok "the shard gives the model's text" same "$out" "$tmp/text"
refuses "a shard that is there is not overwritten" 1 "-f overwrites" pack "$model" -o "$tmp/a.shard"
cp "$tmp/a.shard" "$tmp/b.shard"
sh_run pack "$model" -o "$tmp/a.shard" -f --json
ok "packing again with -f gives the same file" same "$tmp/a.shard" "$tmp/b.shard"
ok "--json is JSON and has the loss of every tensor" test "$(json tensors.0.relative_rms_error)" = 0.0
refuses "a shard cannot be packed onto itself" 1 "." pack "$tmp/a.shard" -o "$tmp/a.shard" -f
refuses "a folder that is not there is named" 1 "nowhere" pack "$model" -o "$tmp/nowhere/x.shard"
refuses "a device file is not overwritten" 1 "/dev/full" pack "$model" -o /dev/full -f
refuses "an output is wanted" 2 "-o" pack "$model"
refuses "an output without a name is no output" 2 "-o" pack "$model" -o ''
refuses "layers that the model lacks are refused with those it has" 1 "0-5" \
	pack "$model" -o "$tmp/c.shard" --layers 4-99
refuses "a range that runs backwards is refused" 2 "--layers" pack "$model" -o "$tmp/c.shard" --layers 4-2
ok "a refused pack leaves no file" test ! -e "$tmp/c.shard"
sh_run pack "$model" -o "$tmp/tail.shard" --layers 3-5
ok "a range of layers is packed" test $rc = 0
refuses "text wants all layers" 1 "layers 3 to 5 of 6" run -m "$tmp/tail.shard" -p a
head -c 100000 "$tmp/a.shard" >"$tmp/short.shard"
refuses "a truncated shard is refused" 1 "short.shard" run -m "$tmp/short.shard" -p a
sh_run pack "$model" -o "$tmp/bits.shard" --bits 4
ok "--bits says when it changes nothing" grep -q "4 bits change nothing" "$err"
zeros "$tmp/f16.gguf" 256 64
sh_run run -m "$tmp/f16.gguf" --bits 4 --device reference -p a
ok "run says what it packed, and what that took" \
	grep -qE '^sherd: packed: F16 -> int4 g32 f16 exact; [0-9.]+ MiB became [0-9.]+ MiB' "$err"
printf '\42' | dd of="$tmp/f16.gguf" bs=1 conv=notrunc status=none \
	seek=$(($(grep -abo 'blk.0.ffn_up.weight' "$tmp/f16.gguf" | head -n 1 | cut -d: -f1) + 19 + 4 + 16))
refuses "a type that is not read is named, with those that are" 1 "ffn_up.weight is of type TQ1_0, .*reads F32, .*MXFP4" \
	pack "$tmp/f16.gguf" -o "$tmp/c.shard"
(
	ulimit -f 1000
	trap '' XFSZ
	"$sherd" pack "$model" -o "$tmp/big.shard" >"$out" 2>"$err"
)
rc=$?
ok "a shard that does not fit is a failure, and no part of it stays" \
	bash -c "test $rc = 1 && ! ls '$tmp' | grep -q 'big'"
# A cache of its own: what other checks use at this moment is not removed.
export XDG_CACHE_HOME=$tmp/own
sh_run run -m "$model" -p a -n 1 --device reference
sh_run pack --list-cache --json
ok "the cache is listed as JSON" test "$(json shards.0.name)" = kdoc-5m
sh_run pack --clear-cache
ok "the cache can be cleared" bash -c "test $rc = 0 && ! ls '$XDG_CACHE_HOME/sherd/shards' | grep -q shard"
finish
