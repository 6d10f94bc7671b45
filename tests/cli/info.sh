#!/bin/bash
# SPDX-License-Identifier: MIT
# sherd info: what is in a file, without a device and without reading weights.
. "$(dirname "$0")/lib"
. tests/cli/gguf
export OCL_ICD_VENDORS=/nonexistent # nothing here needs OpenCL

sh_run info "$model"
ok "a model is described without any OpenCL" bash -c "test $rc = 0 && grep -q 'Q8_0' '$out' &&
	grep -qi 'tokenizer' '$out' && grep -qi 'kv cache' '$out'"
sh_run info "$model" --json --tensors
ok "--json says that it runs, and in what shape" test "$(json runs) $(json shape.layers)" = "true 6"
ok "--tensors lists them all" test "$(json tensors.42.name)" != ""
small=$(json memory.kv_f16_bytes)
sh_run info "$model" --json -c 4096
ok "-c says what memory a longer context takes" test "$(json memory.kv_f16_bytes)" = $((small * 16))
sh_run info "$model" --json
ok "the parameters are counted" test "$(json parameters)" -gt 5000000

for f in tests/golden/*.gguf; do
	sh_run info "$f" --json
	ok "$(basename "$f") is described" test "$rc $(json runs)" = "0 true"
done
sh_run info tests/golden/llama-f32.gguf --json
whole=$(json memory.packed_bytes)
sh_run info tests/golden/llama-f32.gguf --json --bits 4
ok "--bits says what requantizing saves" test "$(json memory.packed_bytes)" -lt $((whole / 3))

zeros "$tmp/window.gguf" 64 100 attention.sliding_window 512
sh_run info "$tmp/window.gguf"
ok "attention's window is shown" grep -q "4096 tokens trained, attention looks back on 512" "$out"
sh_run info "$tmp/window.gguf" --json
ok "and bounds no context" test "$(json shape.window) $(json memory.ctx) $(json runs)" = "512 4096 true"

sh_run info tests/golden/qwen2moe-f16.gguf
ok "experts are shown" grep -q "experts        6 of 20, of which a token uses 3; and one of 28 that all use" "$out"
sh_run info tests/golden/qwen2moe-f16.gguf --json
ok "--json has them too" test "$(json shape.experts) $(json shape.experts_used) $(json shape.ffn_shared)" = "6 3 28"

# The header with another architecture's name, of the same length.
LC_ALL=C sed 's/llama/lxama/g' "$model" >"$tmp/other.gguf"
sh_run info "$tmp/other.gguf"
ok "an unknown architecture is described, with its name" bash -c "test $rc = 0 && grep -q lxama '$out'"
sh_run info "$tmp/other.gguf" --json
ok "and --json says that it does not run, and why" \
	bash -c "test '$(json runs)' = false -a -n '$(json why_not)'"
refuses "a file that is not there is named" 1 "nosuch" info "$tmp/nosuch.gguf"
refuses "a text is no model" 1 "README" info README.md
for size in 0 3 24 1000 60000 1000000; do
	head -c $size "$model" >"$tmp/short.gguf"
	refuses "a file of $size bytes is refused" 1 "short.gguf" info "$tmp/short.gguf"
done
refuses "two models are one too many" 2 "too many" info "$model" "$model"
"$sherd" info "$model" >/dev/full 2>"$err"
rc=$?
ok "a description that cannot be written is a failure" \
	bash -c "test $rc = 1 && grep -q 'No space' '$err'"
finish
