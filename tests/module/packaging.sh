#!/bin/bash
# SPDX-License-Identifier: MIT
#
# The module as integrators build and install it: by KDIR and by KERNEL_SRC, from the kernel's side with
# M=, the way of Yocto's module class, for another machine, and through DKMS. All of it goes to a
# temporary folder, on whatever kernel headers are installed or were fetched; without, some cases are left.
set -u
cd "$(dirname "$0")/../.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0

ok()
{
	n=$((n + 1))
	if [[ $1 == 0 ]]; then
		echo "ok $n - $2"
	else
		echo "not ok $n - $2"
		tail -n 40 "$tmp/log" | sed 's/^/# /'
	fi
}
skip()
{
	n=$((n + 1))
	echo "ok $n # SKIP $1"
	echo "skipped: $2"
}
try()
{
	"$@" >"$tmp/log" 2>&1
}

# A clean copy of what a build needs, as from a release: $tmp/src.
sources()
{
	rm -rf "$tmp/src"
	mkdir "$tmp/src"
	git ls-files -z --cached --others --exclude-standard Kbuild Makefile dkms.conf kmod uapi 2>/dev/null |
		xargs -0r cp --parents -pt "$tmp/src"
	[[ -e $tmp/src/Kbuild ]] || cp -rp Kbuild Makefile dkms.conf kmod uapi "$tmp/src/"
}

# headers ARCH: a folder of kernel headers for it, installed or fetched.
headers()
{
	local f native=

	[[ $1 != "$arch" ]] || native='/lib/modules/*/build'
	for f in $native /usr/src/linux-headers-*-"$1" \
		"${SHERD_BUILD_PLAIN:-build}"/module/kernels/bookworm-"$1"/usr/src/linux-headers-*-"$1"; do
		[[ -e $f/include/generated/utsrelease.h && -e $f/Module.symvers ]] && realpath "$f" && return
	done
	return 1
}

release_of()
{
	sed -n 's/.*UTS_RELEASE "\(.*\)".*/\1/p' "$1/include/generated/utsrelease.h"
}

# ---------------------------------------------------------------- what is installed

root=$tmp/root
version=$(sed -n 's/^VERSION := //p' Makefile)
mk=(make --no-print-directory "DESTDIR=$root" prefix=/usr)
try "${mk[@]}" install-udev
ok $? "make install-udev succeeds"
rule=$root/usr/lib/udev/rules.d/60-sherd.rules
find "$root" -type f | sed "s|^$root||" | sort >"$tmp/log"
printf '%s\n' /usr/lib/modules-load.d/sherd.conf /usr/lib/udev/rules.d/60-sherd.rules | cmp -s - "$tmp/log"
ok $? "it installs the rule and the name of the module, and nothing else"
grep -v '^#' "$rule" >"$tmp/log"
grep -q 'KERNEL=="sherd"' "$tmp/log" && grep -q 'MODE="0660"' "$tmp/log" &&
	grep -q 'GROUP="render"' "$tmp/log" && grep -q 'TAG+="uaccess"' "$tmp/log" && ! grep -q 0666 "$tmp/log"
ok $? "the rule gives the device to group render and to who sits there, and to nobody else"
number=${rule##*/}
try test "${number%%-*}" -lt 73 # where systemd makes access of the tag
ok $? "the rule comes before the one that reads its tag"
if udevadm verify --help >/dev/null 2>&1; then
	try udevadm verify --resolve-names=never "$rule"
	ok $? "udevadm finds no fault with the rule"
else
	skip "udevadm finds no fault with the rule" "no udevadm verify here (systemd 254 and later)"
fi
try "${mk[@]}" install-dkms
ok $? "make install-dkms succeeds"
dkms=$root/usr/src/sherd-$version
(cd kmod && find . -name '*.[ch]' ! -name '*.mod.c' | sort) >"$tmp/want"
(cd "$dkms/kmod" && find . -name '*.[ch]' | sort) | diff "$tmp/want" - >"$tmp/log"
ok $? "all of the module's sources are installed for DKMS"
# dkms reads the file as bash does; other tools look for the line.
grep -qx "PACKAGE_VERSION=\"$version\"" "$dkms/dkms.conf" && try bash -c \
	". '$PWD/dkms.conf' && [[ \$PACKAGE_NAME-\$PACKAGE_VERSION == sherd-$version ]]"
ok $? "the version for DKMS is the Makefile's"
try "${mk[@]}" uninstall
rm -rf "$dkms"
ok "$(find "$root" -type f | wc -l)" "make uninstall leaves nothing but the sources for DKMS"

# ---------------------------------------------------------------- the reference of the interface

scripts/uapi-doc uapi/linux/sherd.h | diff Documentation/uapi.rst - >"$tmp/log"
ok $? "Documentation/uapi.rst says what the header says (else: make docs)"
kernel_doc=
for f in /usr/src/linux-headers-*-common/scripts/kernel-doc /usr/lib/linux-kbuild-*/scripts/kernel-doc; do
	[[ ! -e $f ]] || kernel_doc=$f
done
if [[ -n $kernel_doc ]] && head -n 1 "$kernel_doc" | grep -q perl && command -v perl >/dev/null; then
	try perl "$kernel_doc" -none -Werror uapi/linux/sherd.h kmod/*.[ch]
	ok $? "the kernel's own kernel-doc is content with every comment"
else
	skip "the kernel's own kernel-doc is content with every comment" \
		"no kernel-doc here (linux-headers-*-common)"
fi

# ---------------------------------------------------------------- builds

case $(uname -m) in
x86_64) arch=amd64 ;;
aarch64) arch=arm64 ;;
*) arch=none ;;
esac
if ! command -v gcc >/dev/null || ! kdir=$(headers "$arch"); then
	skip "the module builds" "no kernel headers here (package linux-headers-$arch)"
	echo "1..$n"
	exit
fi
release=$(release_of "$kdir")
mod=lib/modules/$release
mk=(make --no-print-directory CC=gcc)
export KBUILD_MODPOST_WARN=1 # says what is missing, does not stop
unset KDIR KERNEL_SRC ARCH CROSS_COMPILE O M INSTALL_MOD_PATH INSTALL_MOD_DIR

# A module for that kernel, with all that it asks of it found there.
is_module()
{
	[[ $(modinfo -F vermagic "$1" 2>>"$tmp/log") == "$2 "* ]] && ! grep -q 'undefined!' "$tmp/log"
}

sources
try "${mk[@]}" -C "$tmp/src/kmod" "KERNEL_SRC=$kdir" && is_module "$tmp/src/kmod/sherd.ko" "$release"
ok $? "make -C kmod KERNEL_SRC= builds in place"
try "${mk[@]}" -C "$tmp/src/kmod" modules_install "KERNEL_SRC=$kdir" "INSTALL_MOD_PATH=$tmp/path" \
	INSTALL_MOD_DIR=updates && [[ -n $(find "$tmp/path/$mod/updates" -name 'sherd.ko*') ]]
ok $? "modules_install goes below INSTALL_MOD_PATH, into INSTALL_MOD_DIR"
try "${mk[@]}" -C "$tmp/src/kmod" clean "KERNEL_SRC=$kdir"
cp -r "$tmp/src" "$tmp/cleaned"
sources
diff -r "$tmp/src" "$tmp/cleaned" >"$tmp/log"
ok $? "make -C kmod clean leaves the sources alone"

try "${mk[@]}" -C "$kdir" "M=$tmp/src/." "PWD=$tmp/src/." modules &&
	is_module "$tmp/src/kmod/sherd.ko" "$release"
ok $? "make -C KERNEL M= builds, as Buildroot does it"

# Yocto: source and build folders of the kernel are two, and O= is the kernel's. Debian's are two as well.
source=$(sed -n 's|^include \(.*\)/Makefile$|\1|p' "$kdir/Makefile")
sources
if [[ -d $source ]]; then
	yocto=("${mk[@]}" -C "$tmp/src" "KERNEL_SRC=$source" "KERNEL_PATH=$source" "O=$kdir"
		"CC=gcc -DYOCTO=1" LD=ld)
	ls -a "$kdir" >"$tmp/before"
	try "${yocto[@]}" modules && is_module "$tmp/src/build/kmod/kmod/sherd.ko" "$release"
	ok $? "make modules builds the way of Yocto's module class"
	try "${yocto[@]}" modules_install DEPMOD=echo "MODLIB=$tmp/modlib" &&
		[[ -n $(find "$tmp/modlib" -name 'sherd.ko*') ]]
	ok $? "and modules_install goes to MODLIB"
	ls -a "$kdir" | diff "$tmp/before" - >"$tmp/log" && try "${yocto[@]}" clean &&
		[[ ! -e $tmp/src/build && -e $kdir/Module.symvers ]]
	ok $? "and neither it nor make clean touches the kernel's folder"
else
	skip "make modules builds the way of Yocto's module class" "the headers of $release are in one folder"
fi
try "${mk[@]}" -C "$tmp/src" "KDIR=$kdir" "O=$tmp/out" modules &&
	is_module "$tmp/out/kmod/kmod/sherd.ko" "$release" &&
	[[ ! -e $tmp/src/build && ! -e $tmp/src/kmod/sherd.ko ]]
ok $? "make modules KDIR= O= builds in O, and leaves the sources alone"

# ---------------------------------------------------------------- for another machine

if [[ $arch == amd64 ]] && command -v aarch64-linux-gnu-gcc >/dev/null && cross=$(headers arm64); then
	try make --no-print-directory -C "$tmp/src" modules "KDIR=$cross" ARCH=arm64 \
		CROSS_COMPILE=aarch64-linux-gnu- CC=aarch64-linux-gnu-gcc && is_module "$tmp/src/build/kmod/kmod/sherd.ko" "$(release_of "$cross")"
	ok $? "make modules ARCH=arm64 CROSS_COMPILE= builds for arm64"
else
	skip "make modules ARCH=arm64 CROSS_COMPILE= builds for arm64" \
		"no headers for arm64, which make check-module fetches, or no aarch64-linux-gnu-gcc"
fi

# ---------------------------------------------------------------- DKMS

if ! command -v dkms >/dev/null; then
	skip "DKMS adds, builds, installs and removes the module" "no dkms here"
elif [[ $kdir == */module/kernels/* ]]; then
	skip "DKMS adds, builds, installs and removes the module" "no kernel headers are installed, only fetched"
elif [[ $(id -u) != 0 ]]; then
	skip "DKMS adds, builds, installs and removes the module" "dkms wants to be root"
else
	mkdir -p "$tmp/dkms" "$tmp/inst/$release"
	opt=(--sourcetree "$root/usr/src" --dkmstree "$tmp/dkms" --installtree "$tmp/inst" --no-depmod)
	kernel=(-k "$release" --kernelsourcedir "$kdir")
	# Its key for signing is made where it has none: here, then.
	export mok_signing_key=$tmp/mok.key mok_certificate=$tmp/mok.pub
	find /var/lib/dkms /usr/src /lib/modules -maxdepth 3 2>/dev/null | sort >"$tmp/before"
	try make --no-print-directory install-dkms "DESTDIR=$root" prefix=/usr &&
		try dkms add "sherd/$version" "${opt[@]}"
	ok $? "dkms add takes what make install-dkms installed"
	try dkms build "sherd/$version" "${opt[@]}" "${kernel[@]}"
	ok $? "dkms build"
	ko=
	try dkms install "sherd/$version" "${opt[@]}" "${kernel[@]}" &&
		ko=$(find "$tmp/inst/$release/updates/dkms" -name 'sherd.ko*') && is_module "$ko" "$release"
	ok $? "dkms install puts it below updates/dkms"
	if [[ -e $tmp/mok.key ]]; then
		modinfo "$ko" >"$tmp/log"
		grep -q '^sig_id: *PKCS#7' "$tmp/log"
		ok $? "and it is signed with DKMS's key"
	else
		skip "and it is signed with DKMS's key" "dkms found no sign-file"
	fi
	try dkms remove "sherd/$version" "${opt[@]}" --all && [[ -z $(find "$tmp/inst" "$tmp/dkms" -name '*sherd*') ]]
	ok $? "dkms remove leaves nothing"
	find /var/lib/dkms /usr/src /lib/modules -maxdepth 3 2>/dev/null | sort | diff "$tmp/before" - >"$tmp/log"
	ok $? "and nothing of the system was touched"
fi
echo "1..$n"
