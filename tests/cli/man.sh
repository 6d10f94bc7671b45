#!/bin/bash
# SPDX-License-Identifier: MIT
# The man pages: every command has one, with the options of its --help and no others.
. "$(dirname "$0")/lib"

# The options of a page, sorted, as they are typed: what stands behind Fl in the heads of its lists.
options_of()
{
	awk '/^\.It Fl/ {
		is_flag = 0
		for (i = 2; i <= NF; i++)
			if ($i == "Fl")
				is_flag = 1
			else if ($i ~ /^(Ar|Cm|Li|Ns|Op|No)$/)
				is_flag = 0
			else if (is_flag && $i !~ /^[,|]$/)
				print "-" $i
	}' "$1" | sort -u
}

sh_run --help
sed -n 's/^  \([a-z]*\)  *\(.*\)/\1\t\2/p' "$out" | grep -v '^sherd' >"$tmp/commands"
ok "there are commands" test -s "$tmp/commands"
while IFS=$'\t' read -r command summary; do
	page=man/sherd-$command.1
	sh_run "$command" --help
	grep -oE '^  (-.|  )(, --[a-z0-9-]+|  --[a-z0-9-]+| )' "$out" | grep -oE -- '-[a-zA-Z]\b|--[a-z0-9-]+' |
		grep -vxE -- '-h|--help' | sort -u >"$tmp/help"
	[[ ! -e $page ]] || options_of "$page" >"$tmp/page"
	diff "$tmp/help" "$tmp/page" >"$err"
	rc=$?
	ok "sherd-$command(1) has its options" test -s "$tmp/help" -a $rc = 0
	ok "and says what it is in the same words" grep -qxF ".Nd $summary" "$page"
	ok "and is in sherd(1)'s list" grep -qE "^\.(It )?(Ic|Cm|Xr|Nm) (sherd-)?$command( 1)?( |$)" man/sherd.1
done <"$tmp/commands"
finish
