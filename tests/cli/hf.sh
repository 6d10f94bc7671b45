#!/bin/bash
# SPDX-License-Identifier: MIT
# Hugging Face folders as a person meets them: described, packed, run, cached, found by name.
. "$(dirname "$0")/lib"
folder=tests/golden/hf/llama-bf16-sharded

sh_run info "$folder"
ok "a folder is described" bash -c "test $rc = 0 && grep -q 'safetensors' '$out' && grep -q 'BF16' '$out'"
for d in tests/golden/hf/*/; do
	sh_run info "$d" --json
	ok "$(basename "$d") would run" test "$rc $(json runs)" = "0 true"
done
sh_run pack "$folder" -o "$tmp/a.shard"
ok "a folder is packed" test "$rc" = 0 -a -s "$tmp/a.shard"
sh_run pack "$folder/config.json" -o "$tmp/b.shard"
ok "a file of a folder means the folder" same "$tmp/a.shard" "$tmp/b.shard"

cp -r "$folder" "$tmp/m"
refuses "a folder's own files are not overwritten" 1 "is the source itself" \
	pack "$tmp/m" -o "$tmp/m/model-00002-of-00004.safetensors" -f
rm "$tmp/m/model-00003-of-00004.safetensors"
refuses "a missing file of several is named" 1 "model-00003-of-00004.safetensors" info "$tmp/m"
sed -i 's/"llama"/"mamba2"/' "$tmp/m/config.json"
refuses "an unknown family is refused with those that are known" 1 "mamba2.*llama, mistral" info "$tmp/m"
mkdir "$tmp/empty"
refuses "a folder without a model says what it lacks" 1 "no .gguf file, and no config.json" info "$tmp/empty"

# The hub's cache: links into blobs, as its library makes them.
repo=$tmp/hub/models--org--tiny
mkdir -p "$repo/snapshots/abc" "$repo/refs" "$repo/blobs"
printf abc >"$repo/refs/main"
for f in "$folder"/*; do
	cp "$f" "$repo/blobs/"
	ln -s "../../blobs/$(basename "$f")" "$repo/snapshots/abc/"
done
HF_HUB_CACHE=$tmp/hub sh_run info org/tiny
ok "a repository in the hub's cache is found by its name" \
	bash -c "test $rc = 0 && grep -q 'name  *org/tiny' '$out'"

sh_run tokenize -m tests/golden/tok/llama3 -p "hello there"
ok "a folder's tokenizer is used" test "$rc" = 0 -a -s "$out"

# A folder with its tokenizer runs, as any model does.
sh_run run -m "$folder" -p hello -n 4
ok "a folder without a tokenizer says which files would be it" \
	bash -c "test $rc = 1 && grep -q 'has no tokenizer.*tokenizer.json' '$err'"
cp -r "$folder" "$tmp/whole"
cp tests/golden/tok/llama-json/{tokenizer,tokenizer_config,special_tokens_map}.json "$tmp/whole/"
sh_run run -m "$tmp/whole" -p hello -n 4 --temp 0 --ignore-eos
ok "a folder's model writes text" bash -c "test $rc = 0 && grep -q 'generated 4 tokens' '$err'"
sh_run eval perplexity -m "$tmp/whole" -f README.md --ctx 32 --chunks 2 --json
ok "and has a perplexity" test "$rc" = 0 -a -n "$(json perplexity)"

# Its chat template, from each place that may have it.
says() # says WHERE: a template that answers with that
{
	printf '{{ raise_exception(\x27from %s\x27) }}' "$1"
}
asked=(run -m "$tmp/whole" --device reference -p hello -n 1)
echo "{\"chat_template\": \"$(says "the configuration")\"}" >"$tmp/whole/tokenizer_config.json"
refuses "a folder's chat template is in tokenizer_config.json" 1 "line 1: from the configuration" "${asked[@]}"
echo "{\"chat_template\": [{\"name\": \"default\", \"template\": \"$(says "a list")\"}]}" >"$tmp/whole/tokenizer_config.json"
refuses "or in a list there" 1 "line 1: from a list" "${asked[@]}"
says "a file" >"$tmp/whole/chat_template.jinja"
refuses "and chat_template.jinja comes before both" 1 "line 1: from a file" "${asked[@]}"

# Our own model, of which there is a folder and a GGUF file: text for text, number for number.
kdoc=${SHERD_SHARED:-../shared}/data/models/kdoc-5m
if [[ -e $kdoc/model.safetensors ]]; then
	mkdir "$tmp/kdoc"
	cp "$kdoc"/{config.json,model.safetensors,tokenizer.model} "$tmp/kdoc/"
	head -c 6000 "$kdoc/heldout.txt" >"$tmp/text"
	sh_run tokenize -m "$tmp/kdoc" -f "$tmp/text"
	cp "$out" "$tmp/ids"
	sh_run tokenize -m "$kdoc/kdoc-5m-f16.gguf" -f "$tmp/text"
	ok "kdoc-5m's folder and file have the same tokens" same "$out" "$tmp/ids"
	sh_run eval perplexity -m "$kdoc/kdoc-5m-f16.gguf" -f "$tmp/text" --json
	want=$(json perplexity)
	sh_run eval perplexity -m "$tmp/kdoc" -f "$tmp/text" --json
	ok "and the same perplexity, but for f16's rounding" \
		awk -v a="$(json perplexity)" -v b="$want" 'BEGIN { exit !(a > 1 && a / b > 0.9998 && a / b < 1.0002) }'
	touch "$tmp/kdoc/tokenizer.model"
	rm -rf "$tmp/kdoc-cache"
	XDG_CACHE_HOME=$tmp/kdoc-cache sh_run run -m "$tmp/kdoc" --temp 0 -p "The" -n 4
	cp "$out" "$tmp/four"
	XDG_CACHE_HOME=$tmp/kdoc-cache sh_run run -m "$tmp/kdoc" --temp 0 -p "The" -n 4
	ok "a folder is packed once" \
		bash -c "test $rc = 0 && ! grep -q 'packed:' '$err' && cmp -s '$out' '$tmp/four'"
else
	skip "kdoc-5m's folder is as its file" "no $kdoc/model.safetensors"
fi
finish
