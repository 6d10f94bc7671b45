#!/bin/bash
# SPDX-License-Identifier: MIT
# make install, and a program from outside that uses what was installed: the manual's own example.
. "$(dirname "$0")/lib"

build=${SHERD_BUILD_PLAIN:-build}
root=$tmp/root
mk=(make --no-print-directory "O=$build" "DESTDIR=$root" prefix=/usr)

"${mk[@]}" install >"$out" 2>"$err"
rc=$?
ok "make install succeeds" test $rc = 0
for f in bin/sherd lib/libsherd.so lib/libsherd.a lib/pkgconfig/sherd.pc include/sherd.h \
	include/sherd/linux/sherd.h share/man/man1/sherd-run.1 share/man/man4/sherd.4 \
	share/sherd/kernels-cl/num.h share/sherd/bpftrace/token-latency.bt share/sherd/tune/nvidia.tune \
	share/bash-completion/completions/sherd share/zsh/site-functions/_sherd \
	share/fish/vendor_completions.d/sherd.fish; do
	ok "it installs $f" test -s "$root/usr/$f"
done
ok "it installs every man page" \
	test "$(find "$root/usr/share/man" -type f | wc -l)" = "$(find man -type f | wc -l)"
ok "nothing is installed outside the prefix" test "$(ls "$root")" = usr

so=$root/usr/lib/libsherd.so
ok "the library's name carries its version" \
	bash -c "objdump -p '$so' | grep -qE 'SONAME +libsherd\.so\.[0-9]+$'"
nm -D --defined-only "$so" | awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' | sort >"$tmp/shown"
cc -E -P runtime/sherd.h | grep -o 'sherd_[a-z0-9_]*(' | tr -d '(' | sort -u >"$tmp/promised"
diff "$tmp/promised" "$tmp/shown" >"$out"
ok "it shows the functions of sherd.h and nothing else" test ! -s "$out"

export PKG_CONFIG_PATH=$root/usr/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$root
# shellcheck disable=SC2046 # flags are words
cc -Wall -Wextra -Werror examples/hello.c -o "$tmp/hello" \
	$(PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1 \
	pkg-config --cflags --libs sherd) 2>"$err"
rc=$?
ok "the manual's example builds against it" test $rc = 0
LD_LIBRARY_PATH=$root/usr/lib "$tmp/hello" "$model" "The scheduler" >"$out" 2>"$err"
rc=$?
ok "and writes a text" test $rc = 0 -a -s "$out"
"$root/usr/bin/sherd" run -m "$model" -p "The scheduler" --temp 0 -n 50 >"$tmp/text" 2>"$err"
echo >>"$tmp/text"
ok "the same text as sherd run" same "$out" "$tmp/text"
"$root/usr/bin/sherd" pack "$model" --layers 1-1 -o "$tmp/part" >"$out" 2>&1
LD_LIBRARY_PATH=$root/usr/lib "$tmp/hello" "$tmp/part" "The scheduler" >"$out" 2>"$err"
rc=$?
ok "a part of a model, which has no tokenizer, is refused by it in a sentence" \
	bash -c "test $rc = 1 && grep -q 'part: is a part of a model' '$err'"

cat >"$tmp/cxx.cc" <<'END'
#include <sherd.h>
int main() { return sherd_version()[0] ? 0 : 1; }
END
if command -v c++ >/dev/null; then
	c++ -Wall -Wextra -Werror -I"$root/usr/include" "$tmp/cxx.cc" -L"$root/usr/lib" -lsherd \
		-o "$tmp/cxx" 2>"$err" && LD_LIBRARY_PATH=$root/usr/lib "$tmp/cxx"
	rc=$?
	ok "the header is C++ too" test $rc = 0
else
	skip "the header is C++ too" "no C++ compiler here"
fi
printf '#include <linux/sherd.h>\nstruct sherd_pin pin = { sizeof(pin) };\n' >"$tmp/uapi.c"
cc -Wall -Wextra -Werror -Wno-missing-field-initializers -I"$root/usr/include/sherd" -c "$tmp/uapi.c" \
	-o "$tmp/uapi.o" 2>"$err"
rc=$?
ok "the kernel's interface compiles from where it is installed" test $rc = 0
unit=$root/usr/lib/systemd/system/sherd-node.service
ok "the node's unit starts what was installed" grep -q '^ExecStart=/usr/bin/sherd node ' "$unit"
if command -v systemd-analyze >/dev/null; then
	sed "s|^ExecStart=/usr/bin/|ExecStart=$root/usr/bin/|" "$unit" >"$tmp/sherd-node.service"
	systemd-analyze verify --man=no "$tmp/sherd-node.service" >"$out" 2>&1
	rc=$?
	cp "$out" "$err"
	ok "systemd finds no fault with it" test $rc = 0 -a ! -s "$out"
	sed 's/^WatchdogSec=/WatchDogSeconds=/' "$tmp/sherd-node.service" >"$tmp/faulty.service"
	systemd-analyze verify --man=no "$tmp/faulty.service" >"$out" 2>&1
	ok "and it would find one" grep -q WatchDogSeconds "$out"
else
	skip "systemd finds no fault with it" "no systemd-analyze here"
fi
"${mk[@]}" uninstall >"$out" 2>"$err"
ok "make uninstall leaves no file" test -z "$(find "$root" -type f -o -type l)"
finish
