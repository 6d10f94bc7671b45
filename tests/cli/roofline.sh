#!/bin/bash
# SPDX-License-Identifier: MIT
# bench --roofline: the picture is there, and what is missing is said before anything is measured.
. "$(dirname "$0")/lib"

quick=(bench -m "$model" -p 8 -n 2 -r 1)

if command -v gnuplot >/dev/null; then
	sh_run "${quick[@]}" --roofline "$tmp/out.svg"
	ok "--roofline FILE.svg is a picture" bash -c "test $rc = 0 && grep -q '</svg>' '$tmp/out.svg'"
	ok "with model and device in its title, and axes that say what they are" bash -c "
		grep -q 'kdoc.* threads*, ' '$tmp/out.svg' && grep -q 'operations a byte' '$tmp/out.svg' &&
		grep -q 'GOP/s' '$tmp/out.svg'"
	ok "and every kernel that bench's table has, but for what only moves" bash -c "
		grep '^| ' '$out' | grep -oE '(matmul|norm|rope|attend|embed)[a-z_0-9]*' | sort -u >'$tmp/names'
		test -s '$tmp/names' && while read -r name; do grep -qw \"\$name\" '$tmp/out.svg' || exit 1; done <'$tmp/names'"
	mkdir "$tmp/bin"
	printf '#!/bin/sh\necho "line 1: it broke" >&2\nexit 1\n' >"$tmp/bin/gnuplot"
	chmod +x "$tmp/bin/gnuplot"
	PATH=$tmp/bin:$PATH sh_run "${quick[@]}" -n 0 --roofline "$tmp/bad.svg"
	ok "a gnuplot that fails is quoted, and leaves no file" bash -c "
		test $rc = 1 -a ! -e '$tmp/bad.svg' && tail -n 1 '$err' | grep -q 'gnuplot failed: line 1: it broke'"
else
	skip "--roofline FILE.svg is a picture" "no gnuplot here (gnuplot-nox)"
fi
printf '#!/bin/bash\nPATH=/nonexistent exec %q "$@"\n' "$sherd" >"$tmp/pathless"
chmod +x "$tmp/pathless"
with_path=$sherd sherd=$tmp/pathless
refuses "without gnuplot the package is named, before anything is measured" 1 "gnuplot-nox" \
	bench -m "$tmp/none" --roofline "$tmp/x.svg"
sherd=$with_path
refuses "another ending is refused with those that there are" 2 ".svg .* .gp .* .csv or .json" \
	bench -m "$tmp/none" --roofline "$tmp/x.pdf"
refuses "so is a place where no file can be" 1 "cannot create" bench -m "$tmp/none" --roofline "$tmp/no/x.gp"
refuses "and a roof without limits" 2 "--no-limits" bench -m "$tmp/none" --roofline "$tmp/x.gp" --no-limits
refuses "and the reference" 2 "reference" bench -m "$tmp/none" --roofline "$tmp/x.gp" --device reference
finish
