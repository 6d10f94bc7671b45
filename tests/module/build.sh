#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The kernel module builds without a warning - W=1, and sparse where it is - for whatever kernel headers
# are installed here or were fetched before, and for those built for `make check-module-debug`, one of them
# with clang; checkpatch has nothing to say, and its interface is C and C++ that stands alone. --cocci: and
# Coccinelle has nothing to say either.
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d)
src=$tmp/src
trap 'rm -rf "$tmp" "$src"' EXIT
n=0

ok()
{
	n=$((n + 1))
	if [[ $1 == 0 ]]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		sed 's/^/# /' "$tmp/log"
	fi
}

skip()
{
	n=$((n + 1))
	echo "ok $n # SKIP $1 ($2)"
}

echo '#include <linux/sherd.h>' >"$tmp/use.c"
"${CC:-cc}" -std=c99 -Wall -Wextra -Wpedantic -Werror -Iuapi -c -o "$tmp/use.o" "$tmp/use.c" >"$tmp/log" 2>&1
ok $? "the interface is C that stands alone"
if command -v c++ >/dev/null; then
	c++ -x c++ -Wall -Wextra -Werror -Iuapi -c -o "$tmp/use.o" "$tmp/use.c" >"$tmp/log" 2>&1
	ok $? "the interface is C++ that stands alone"
fi

some=
sparse=
if command -v sparse >/dev/null; then
	sparse=C=2
else
	skip "the module passes sparse" "no sparse here (package sparse)"
fi
kernels=$(realpath -m "${SHERD_BUILD_PLAIN:-build}/module/kernels")
for kdir in /lib/modules/*/build "$kernels"/*-amd64/usr/src/linux-headers-*-{amd64,debug,kcsan,clang} \
	"$kernels"/*-arm64*/usr/src/linux-headers-*-arm64*; do
	[[ -e $kdir/Makefile && $(uname -m) == x86_64 ]] || continue
	release=$(basename "$kdir")
	[[ $release != build ]] || release=$(basename "$(realpath "$kdir")")
	release=${release#linux-headers-}
	# A kernel that is newer than this machine was fetched with the tools that it wants.
	kernel=${kdir%/usr/src/*}
	# One that is being fetched or built at the moment is not there yet.
	[[ $kernel == "$kdir" || -e $kernel/release ]] || continue
	make="make CC=${CC:-gcc} $sparse" symbols=''
	case $release in
	*-clang)
		make="make LLVM=1 $sparse" symbols='modpost|Module.symvers|Modules may not|unresolved symbol'
		;;
	*-arm64*)
		cross=aarch64-linux-gnu-
		make="make ARCH=arm64 CROSS_COMPILE=$cross CC=${cross}gcc $sparse"
		command -v ${cross}gcc >/dev/null || {
			skip "the module builds without a warning for $release" "no ${cross}gcc here"
			continue
		}
		;;
	esac
	rm -rf "$src"
	src=$tmp/src
	[[ ! -e $kernel/make ]] || src=$(mktemp -d -p "$kernel/tmp") make=$kernel/make
	mkdir -p "$src"
	cp -rp Kbuild kmod uapi "$src/"
	$make -s -C "$kdir" M="$src" W=1 modules >"$tmp/log" 2>&1
	rc=$?
	# What is missing to make BTF, or to match the compiler to the letter, is no fault of the module;
	# nor are symbols, where the kernel itself was not built: the headers for clang.
	grep -vE 'BTF|pahole|The kernel was built with|You are using|compiler differs|CONFIG_X86_X32' "$tmp/log" |
		grep -vE "${symbols:-^\$}" >"$tmp/rest"
	[[ $rc == 0 && ! -s $tmp/rest ]]
	ok $? "the module builds without a warning for $release"
	some=1
done
[[ -n $some ]] || echo "skipped: no kernel headers here (package linux-headers-amd64)"

# The script wants to lie in a kernel's tree; Debian's headers come without it.
checkpatch=$kernels/source-amd64/scripts/checkpatch.pl
if [[ -e $checkpatch ]] && command -v perl >/dev/null; then
	# What is in tests/ and in the interface is of the kernel's form as well.
	perl "$checkpatch" --no-tree --strict --terse --no-summary --max-line-length=100 --file kmod/*.[ch] \
		kmod/Kbuild kmod/Kconfig uapi/linux/sherd.h tests/module/importer.[ch] tests/module/faulty.c \
		>"$tmp/log" 2>&1
	[[ ! -s $tmp/log ]]
	ok $? "checkpatch --strict finds nothing in the module"
else
	skip "checkpatch --strict finds nothing in the module" "no kernel source was fetched, or no perl here"
fi

# The kernel's semantic patches one by one: `make coccicheck` ends at the first that needs OCaml.
if [[ ${1:-} == --cocci ]]; then
	source=$kernels/source-amd64
	if [[ ! -d $source/scripts/coccinelle ]] || ! command -v spatch >/dev/null; then
		echo "skipped: no spatch here (package coccinelle), or no kernel source was fetched"
	else
		: >"$tmp/log"
		while read -r patch; do
			# shellcheck disable=SC2046 # these are options
			spatch -D report --very-quiet --no-show-diff --cocci-file "$patch" \
				$(sed -n 's|^// *Options: *||p' "$patch") --dir kmod -I uapi \
				-I "$source/include" -I "$source/arch/x86/include" >>"$tmp/log" 2>&1 </dev/null
		done < <(grep -rl --include='*.cocci' '^virtual report' "$source/scripts/coccinelle" |
			xargs grep -L ':ocaml' | sort)
		grep -v '^warning: ' "$tmp/log" >"$tmp/rest"
		[[ ! -s $tmp/rest ]]
		ok $? "Coccinelle finds nothing in the module"
	fi
fi
echo "1..$n"
