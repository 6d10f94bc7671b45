#!/bin/bash
# SPDX-License-Identifier: MIT
# scripts/deps asks before it installs, if there is anybody to ask. The packages, apt and root are played.
. "$(dirname "$0")/lib"

mkdir "$tmp/bin"
play() # NAME BODY
{
	printf '#!/bin/sh\n%s\n' "$2" >"$tmp/bin/$1"
	chmod +x "$tmp/bin/$1"
}
play dpkg-query "exit 1"
play apt-get "echo \"apt-get \$*\" >>'$tmp/done'"
play id "echo 0"
export PATH=$tmp/bin:$PATH
unset SHERD_NO_INSTALL

# on_terminal ANSWER REDIRECTIONS: what a person sees goes to $out; standard error of the script to $err.
on_terminal()
{
	rm -f "$tmp/done"
	: >"$err"
	(sleep 0.2; printf '%s\n' "$1"; sleep 0.2) |
		script -qec "scripts/deps run $2" /dev/null >"$out"
}

installed()
{
	grep -q "install .*gcc" "$tmp/done"
}

if command -v script >/dev/null; then
	on_terminal n ""
	ok "on a terminal it asks, and a no is a no" \
		bash -c "grep -q 'Install them' '$out' && test ! -e '$tmp/done'"
	on_terminal n "2>$err"
	ok "it asks there too when its messages go to a file" \
		bash -c "grep -q 'Install them' '$out' && test ! -e '$tmp/done' && grep -q yourself '$err'"
	on_terminal y "2>$err"
	ok "a yes installs" installed
	on_terminal n "</dev/null 2>$err"
	ok "it does not ask whose input is no terminal" \
		bash -c "! grep -q 'Install them' '$out' && grep -q install '$tmp/done'"
else
	skip "on a terminal it asks" "no script command here"
fi
rm -f "$tmp/done"
setsid -w scripts/deps run >"$out" 2>"$err" </dev/null
ok "without a terminal root is not asked" installed
rm -f "$tmp/done"
SHERD_NO_INSTALL=1 scripts/deps run >"$out" 2>"$err" </dev/null
rc=$?
ok "SHERD_NO_INSTALL is obeyed, and what is missing is said" \
	bash -c "test $rc = 1 -a ! -e '$tmp/done' && grep -q 'apt-get install gcc' '$err'"
finish
