#!/bin/bash
# SPDX-License-Identifier: MIT
# The command itself: help, version, and what it says to a wrong line.
. "$(dirname "$0")/lib"

sh_run --version
ok "--version prints name and version" grep -qxE 'sherd [0-9]+\.[0-9]+\.[0-9]+' "$out"
sh_run --help
ok "--help lists every command" test "$(grep -cE '^  (run|chat|bench|info|tokenize|pack|eval|plan|doctor) ' "$out")" = 9
ok "--help does not list what is not for people" bash -c "! grep -q device-test '$out'"
ok "--help fits 80 columns" bash -c "! grep -qE '.{81}' '$out'"
sh_run
ok "no command at all is a wrong line, answered with the help on standard error" \
	test "$rc" = 2 -a ! -s "$out" -a -s "$err"
refuses "a mistyped command is answered with the nearest" 2 "did you mean 'run'" rnu
refuses "an unknown command is named" 2 "no command 'frobnicate'" frobnicate
refuses "a hostile command name is no trouble" 2 "no command" "$(printf 'x%.0s' {1..5000})"

refuses "what is said back commands no terminal" 2 "no command 'rn.*u'" $'rn\e[31mu'
ok "  ... and shows that there was something" grep -qF "'rn?[31mu'" "$err"
for name in $'c\e[31mRED"x' a/b head .; do
	refuses "a node cannot be called ${name@Q}" 2 "can't be a node's name" node --tls "$tmp/none" --shards "$tmp/none" --name "$name"
done

for c in run chat bench embed info tokenize pack eval plan doctor; do
	sh_run $c --help
	ok "$c --help gives usage and examples, and succeeds" \
		bash -c "test $rc = 0 && grep -q '^Usage: sherd $c' '$out' && grep -q '^  sherd $c' '$out'"
	ok "$c --help fits 100 columns" bash -c "! grep -qE '.{101}' '$out'"
	cp "$out" "$tmp/help"
	sh_run help $c
	ok "help $c is the same" same "$out" "$tmp/help"
	refuses "$c refuses an unknown option" 2 "no option '--frobnicate'" $c --frobnicate
	[[ $c == doctor ]] || refuses "$c wants a model" 2 "." $c
done
for c in $("$sherd" --help | sed -n 's/^  \([a-z]*\)  .*/\1/p' | grep -vx sherd); do
	man=man/sherd-$c.1
	missing=$("$sherd" "$c" --help | grep -oE '^ {2,6}(-., )?--[a-z-]+' | grep -oE -- '--[a-z-]+' |
		sed 's/^--//' | grep -vx help | while read -r o; do
		grep -qE "(Fl|,) -$o( |\$)" "$man" || echo "$o"
	done)
	[[ -z $missing ]] || echo "# not in $man: $missing"
	ok "every option of $c is in its manual page" test -e "$man" -a -z "$missing"
done
"$sherd" --help >/dev/full 2>"$err"
rc=$?
ok "help that cannot be written is a failure" test $rc = 1 -a "$(wc -l <"$err")" = 1
finish
