#!/bin/bash
# SPDX-License-Identifier: MIT
# Completion in shells: what they are offered is what there is.
. "$(dirname "$0")/lib"

mkdir "$tmp/bin"
ln -s "$(realpath "$sherd")" "$tmp/bin/sherd"
export PATH=$tmp/bin:$PATH
touch "$tmp/model.gguf"

offers() # offers WORD... : what bash is offered for the last one
{
	COMP_WORDS=("$@") COMP_CWORD=$(($# - 1))
	_sherd
	printf '%s\n' "${COMPREPLY[@]}" >"$out"
}

. tools/completion/sherd.bash
: >"$err"
offers sherd ""
"$sherd" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | grep -vx sherd >"$tmp/commands"
ok "bash is offered every command of --help" \
	bash -c "test -s '$tmp/commands' && diff <(sort '$tmp/commands') <(sort '$out')"
offers sherd ch
ok "of these those that begin as what was typed" grep -qx chat "$out"
for c in $(cat "$tmp/commands"); do
	offers sherd "$c" --
	"$sherd" "$c" --help | grep -oE '^ {2,6}(-., )?--[a-z0-9-]+' | grep -oE -- '--[a-z0-9-]+' | sort -u >"$tmp/options"
	ok "every option of $c is offered" \
		bash -c "test -s '$tmp/options' && diff '$tmp/options' <(sort -u '$out') >&2"
done
offers sherd run -m "$tmp/mod"
ok "a file is offered where one is wanted" grep -qx "$tmp/model.gguf" "$out"
offers sherd run --bits ""
ok "words are offered where one of them is wanted" same "$out" <(printf '4\n8\n')
offers sherd frobnicate --
ok "an unknown command has no options" bash -c "! grep -q -- -- '$out'"
if command -v zsh >/dev/null; then
	zsh -n tools/completion/sherd.zsh 2>"$err"
	rc=$?
	ok "zsh can read its part" test $rc = 0
else
	skip "zsh can read its part" "no zsh here"
fi
if command -v fish >/dev/null; then
	fish -c 'source tools/completion/sherd.fish; complete -C "sherd chat --templ"' >"$out" 2>"$err" </dev/null
	rc=$?
	ok "fish is offered options, and what they are for" grep -q -- '--template.*chat template' "$out"
else
	skip "fish is offered options" "no fish here"
fi
finish
