# SPDX-License-Identifier: MIT
# sherd: userspace build. `make help` lists the targets; the kernel module has its own Kbuild.

VERSION := 0.1.0
SOVERSION := 0
O ?= build
# Yocto's O= is the kernel's build folder: for the kernel, then, and no place for ours.
ifneq ($(wildcard $(O)/include/config/auto.conf),)
override O := build
KERNEL_O := 1
endif
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man
bashdir ?= $(datadir)/bash-completion/completions
zshdir ?= $(datadir)/zsh/site-functions
fishdir ?= $(datadir)/fish/vendor_completions.d
udevrulesdir ?= $(prefix)/lib/udev/rules.d
systemdunitdir ?= $(prefix)/lib/systemd/system
modulesloaddir ?= $(prefix)/lib/modules-load.d
dkmsdir ?= /usr/src

# CC=clang and CROSS_COMPILE=aarch64-linux-gnu- both work; make's own default of `cc` does not count.
ifeq ($(origin CC),default)
CC := $(CROSS_COMPILE)gcc
endif
ifeq ($(origin AR),default)
AR := $(CROSS_COMPILE)ar
endif
ifdef CROSS_COMPILE
PKG_CONFIG ?= $(shell command -v $(CROSS_COMPILE)pkg-config || echo pkg-config)
else
PKG_CONFIG ?= pkg-config
endif
CFLAGS ?= -O2 -g
Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);)

PKGS := OpenCL libssl libcrypto jansson libpcre2-8 libutf8proc liburing libdrm
PKG_CFLAGS ?= $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS ?= $(shell $(PKG_CONFIG) --libs $(PKGS))
# Lines that can be edited, in sherd chat: where it is missing, they are read as they come.
ifeq ($(shell $(PKG_CONFIG) --exists libedit && echo yes),yes)
EDIT_CFLAGS ?= -DSHERD_LIBEDIT $(shell $(PKG_CONFIG) --cflags libedit)
EDIT_LIBS ?= $(shell $(PKG_CONFIG) --libs libedit)
endif
SHERD_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-ffp-contract=off -fno-math-errno -fPIC -D_GNU_SOURCE -DCL_TARGET_OPENCL_VERSION=120 \
	-Iruntime -Ikernels-cl -Iuapi $(PKG_CFLAGS)
LIBS := $(PKG_LIBS) -lm -lpthread -ldl

LIB_SRC := $(sort $(wildcard runtime/*.c runtime/*/*.c runtime/*/*/*.c))
TOOL_SRC := $(sort $(wildcard tools/*.c))
KERNELS := $(sort $(wildcard kernels-cl/*.cl kernels-cl/*.h))
TEMPLATES := $(sort $(wildcard runtime/chat/templates/*.jinja))
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o) $(O)/gen/kernels.o $(O)/gen/templates.o
TOOL_OBJ := $(TOOL_SRC:%.c=$(O)/%.o)
SO := libsherd.so.$(VERSION)
SONAME := libsherd.so.$(SOVERSION)

all: $(O)/sherd $(O)/$(SO) $(O)/sherd.pc

# A change of compiler or flags rebuilds everything.
FLAGS := $(CC) $(SHERD_CFLAGS) $(CFLAGS) $(LDFLAGS) $(LIBS)
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS)' | cmp -s - $@ || printf '%s\n' '$(FLAGS)' > $@

$(O)/%.o: %.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(SHERD_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

# The kernels' texts inside the library. Written anew only when they differ, so that removing a file
# is noticed and rebuilding for nothing is not.
$(O)/gen/kernels.c: FORCE scripts/embed
	@mkdir -p $(@D)
	@scripts/embed device/kernels.h kernel_source $(KERNELS) > $@.tmp
	@cmp -s $@.tmp $@ && rm $@.tmp || mv $@.tmp $@

# And the chat templates that come along.
$(O)/gen/templates.c: FORCE scripts/embed
	@mkdir -p $(@D)
	@scripts/embed chat/chat.h chat_builtin $(TEMPLATES) > $@.tmp
	@cmp -s $@.tmp $@ && rm $@.tmp || mv $@.tmp $@

$(O)/gen/%.o: $(O)/gen/%.c $(O)/flags
	$(call say,CC,$<)
	$(Q)$(CC) $(SHERD_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/libsherd.a: $(LIB_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The shared library shows the functions of sherd.h and nothing else: the list is made from it.
$(O)/gen/libsherd.map: runtime/sherd.h
	@mkdir -p $(@D)
	@{ echo 'SHERD_$(SOVERSION) {'; echo 'global:'; \
	   $(CC) -E -P $< | grep -o 'sherd_[a-z0-9_]*(' | sort -u | sed 's/($$/;/; s/^/\t/'; \
	   echo 'local:'; echo '	*;'; echo '};'; } > $@

$(O)/$(SO): $(LIB_OBJ) $(O)/gen/libsherd.map
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -shared -Wl,-soname,$(SONAME) -Wl,--version-script=$(O)/gen/libsherd.map \
		-Wl,--no-undefined $(LDFLAGS) -o $@ $(LIB_OBJ) $(LIBS)
	$(Q)ln -sf $(SO) $(O)/$(SONAME) && ln -sf $(SO) $(O)/libsherd.so

$(O)/sherd: $(TOOL_OBJ) $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(EDIT_LIBS) $(LIBS)

# ---------------------------------------------------------------- tests
# A test is tests/DIR/test_*.c; the folder's other .c files are linked to each of its tests. The
# sub-commands' objects are an archive without main(), so that a test takes what it needs.

TEST_SRC := $(sort $(wildcard tests/unit/test_*.c tests/region/test_*.c tests/kernels/test_*.c \
	tests/golden/test_*.c tests/net/test_*.c))
TESTS := $(TEST_SRC:%.c=$(O)/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
REPLAYS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=$(O)/tests/fuzz/replay_%)
FUZZERS := $(FUZZ_SRC:%.c=$(O)/%)
helpers = $(patsubst %.c,$(O)/%.o,$(filter-out tests/$(1)/test_%.c,$(sort $(wildcard tests/$(1)/*.c))))

$(O)/tools/prompt_edit.o: SHERD_CFLAGS += $(EDIT_CFLAGS)

$(O)/tests/%.o: SHERD_CFLAGS += -Itests -Itools

$(O)/tools.a: $(filter-out $(O)/tools/main.o,$(TOOL_OBJ))
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

define test_rule
$(O)/tests/$(1)/test_%: $(O)/tests/$(1)/test_%.o $(call helpers,$(1)) $(O)/tools.a $(O)/libsherd.a
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(CFLAGS) $$(LDFLAGS) -o $$@ $$^ -lcmocka $$(EDIT_LIBS) $$(LIBS)
endef
$(foreach d,unit region kernels golden net,$(eval $(call test_rule,$(d))))

# Stand-ins that are loaded, by the plain build too.
STAND_INS := $(O)/tests/region/libfakecl.so $(O)/tests/cli/libbadvariant.so \
	$(O)/tests/device/libfakeicd.so
tests-build: $(STAND_INS)

$(O)/tests/cli/json: $(O)/tests/cli/json.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -ljansson

$(O)/tests/cli/pty: $(O)/tests/cli/pty.o
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ -lutil

# A faulty network between sockets, to be run by hand, and what a frame's way costs.
$(O)/tests/net/bin/proxy: $(O)/tests/net/bin/proxy.o $(O)/tests/net/proxy.o $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/tests/bench/hop: $(O)/tests/bench/hop.o $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# What the pipeline's tests take beside the command.
PIPELINE := $(O)/tests/pipeline/deny $(O)/tests/pipeline/sessions $(O)/tests/pipeline/librounding.so \
	$(O)/tests/net/bin/proxy
$(O)/tests/pipeline/%: $(O)/tests/pipeline/%.o $(O)/tools.a $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(EDIT_LIBS) $(LIBS)

# For the plain build to preload.
$(O)/tests/pipeline/librounding.so: tests/pipeline/rounding.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(SHERD_CFLAGS) -shared -o $@ $< -lm

# The stand-in for libOpenCL, to be preloaded.
$(O)/tests/region/libfakecl.so: tests/region/fake_cl.c tests/region/fake_cl.h $(O)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(SHERD_CFLAGS) $(CFLAGS) -shared -o $@ $< -ldl

# A driver that misbehaves, for the loader of the plain build and the sanitized one.
$(O)/tests/device/libfakeicd.so: tests/device/fake_icd.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(SHERD_CFLAGS) -shared -o $@ $< -ldl -lpthread

# Kernels that are wrong in some variants, to be preloaded.
$(O)/tests/cli/libbadvariant.so: tests/cli/bad_variant.c $(O)/flags
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(SHERD_CFLAGS) $(CFLAGS) -shared -o $@ $< -ldl

$(O)/tests/fuzz/replay_%: $(O)/tests/fuzz/fuzz_%.o $(O)/tests/fuzz/replay.o $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(O)/tests/fuzz/fuzz_%: $(O)/tests/fuzz/fuzz_%.o $(O)/libsherd.a
	$(call say,LD,$@)
	$(Q)$(CC) $(CFLAGS) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(LIBS)

# A session needs a model.
$(O)/tests/fuzz/replay_session $(O)/tests/fuzz/fuzz_session: $(O)/tests/unit/tiny_model.o

.SECONDARY:
tests-build: $(TESTS) $(REPLAYS) $(O)/tests/cli/json $(O)/tests/cli/pty $(PIPELINE)
fuzzers-build: $(FUZZERS)

# As many jobs as there are cores, unless -j was given.
JOBS = $(if $(findstring jobserver,$(MAKEFLAGS)),,-j$(shell nproc))
SUB = +@$(MAKE) --no-print-directory $(JOBS)
# gcc's instrumentation makes its guesses about uninitialized variables wrong.
SANITIZE := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
CHECK := O=$(O)/check CFLAGS='$(SANITIZE) -Wno-maybe-uninitialized'

check:
	@scripts/deps check
	$(SUB) all $(STAND_INS)
	$(SUB) -k $(CHECK) $(O)/check/sherd tests-build || true # what is missing fails below
	@tests/check $(O)/check $(O)

# Kernels that see what a stock one does not: built once, for minutes; their checks say what is missing.
MODULE_KERNELS = for k in debug kcsan clang; do \
	tests/module/kernel $$k amd64 $(O)/module/kernels >/dev/null 2>&1 || true; done

check-long:
	@scripts/deps long
	$(SUB) all fuzz-build tsan-build net-tests $(STAND_INS)
	$(SUB) -k $(CHECK) $(O)/check/sherd tests-build || true # what is missing fails below
	@$(MODULE_KERNELS)
	@SHERD_LONG=1 tests/check $(O)/check $(O)

fuzz-build:
	$(SUB) O=$(O)/fuzz CC=clang \
		CFLAGS='$(SANITIZE) -fsanitize=fuzzer-no-link' fuzzers-build

# What the network does with threads. No OpenCL: drivers are not built for this, and reported as broken.
NET_TESTS := $(patsubst %.c,$(O)/%,$(wildcard tests/net/test_*.c))
net-tests: $(NET_TESTS)
tsan-build:
	$(SUB) O=$(O)/tsan CFLAGS='-O1 -g -fno-omit-frame-pointer -fsanitize=thread' net-tests

fuzz:
	@scripts/deps long
	$(SUB) fuzz-build
	@T='fuzz/* s)' SHERD_LONG=1 tests/check $(O) $(O)

golden:
	@tests/golden/make.sh

bench: all
	@tests/bench/run.sh $(O) $(BENCH)

bench-pipeline: all $(O)/tests/bench/hop
	@tests/bench/pipeline.sh $(O) $(BENCH)

# Compiles for aarch64 with this machine's headers, which are the same there but for C's own and
# those under a multiarch folder; links too where the arm64 libraries are installed.
CROSS := aarch64-linux-gnu-
ARM64_LIBS := /usr/lib/aarch64-linux-gnu
cross-check:
	@command -v $(CROSS)gcc >/dev/null || { echo 'skipped: no $(CROSS)gcc here'; exit 77; }
	@mkdir -p $(O)/include
	@for h in CL openssl jansson.h jansson_config.h pcre2.h utf8proc.h liburing.h liburing \
			xf86drm.h libdrm; do \
		ln -sfn /usr/include/$$h $(O)/include/$$h; done
	@rm -rf $(O)/include/openssl && mkdir $(O)/include/openssl
	@ln -sf /usr/include/openssl/*.h /usr/include/*-linux-gnu/openssl/*.h $(O)/include/openssl
	@if [ -e $(ARM64_LIBS)/libjansson.so ] && [ -e $(ARM64_LIBS)/libOpenCL.so ]; then \
		targets=all; else targets=objects; fi; \
	$(MAKE) --no-print-directory CROSS_COMPILE=$(CROSS) O=$(O) CC=$(CROSS)gcc AR=$(CROSS)ar \
		PKG_CFLAGS='-I$(abspath $(O))/include -I$(abspath $(O))/include/libdrm' \
		PKG_LIBS='-lOpenCL -lssl -lcrypto -ljansson -lpcre2-8 -lutf8proc -luring -ldrm' \
		$$targets && echo "aarch64: $$targets built"

objects: $(LIB_OBJ) $(TOOL_OBJ)

# ------------------------------------------------------- the kernel module
# Built in a copy below $(O), so that the sources stay clean. Everything else - KDIR, ARCH, M,
# INSTALL_MOD_PATH - is kmod/Makefile's.
KMOD := $(O)/kmod
modules modules_install:
	@mkdir -p $(KMOD)
	@cp -rpu Kbuild kmod uapi $(KMOD)/
	+$(Q)$(MAKE) --no-print-directory -C $(KMOD)/kmod $@ \
		$(if $(KERNEL_O),,MAKEOVERRIDES='$(filter-out O=%,$(MAKEOVERRIDES))')

# What a kernel with the module wants beside it: who may open /dev/sherd, and that it is loaded at
# boot. Not a part of install, since loading at boot fails where the module is missing.
install-udev:
	install -d $(DESTDIR)$(udevrulesdir) $(DESTDIR)$(modulesloaddir)
	install -m 644 kmod/60-sherd.rules $(DESTDIR)$(udevrulesdir)/60-sherd.rules
	install -m 644 kmod/sherd.conf $(DESTDIR)$(modulesloaddir)/sherd.conf

# The module's sources; `dkms install sherd/VERSION` does the rest.
DKMS := $(DESTDIR)$(dkmsdir)/sherd-$(VERSION)
install-dkms: install-udev
	install -d $(DKMS)/kmod $(DKMS)/uapi/linux $(DKMS)/LICENSES
	install -m 644 Kbuild $(DKMS)/Kbuild
	install -m 644 $(filter-out %.mod.c,$(wildcard kmod/*.[ch])) kmod/Kbuild kmod/Makefile $(DKMS)/kmod
	install -m 644 uapi/linux/sherd.h $(DKMS)/uapi/linux/sherd.h
	install -m 644 LICENSES/GPL-2.0-only.txt LICENSES/Linux-syscall-note.txt $(DKMS)/LICENSES
	sed 's/^PACKAGE_VERSION=.*/PACKAGE_VERSION="$(VERSION)"/' dkms.conf > $(DKMS)/dkms.conf

# SUITE: of Debian, whose kernel it is: bullseye (5.10), bookworm (6.1), bookworm-backports (6.12), sid ...
SUITE ?= bookworm
check-module:
	@scripts/deps module
	@scripts/deps run
	$(SUB) all $(O)/tests/region/libfakecl.so
	@rc=0; export SHERD_BUILD_PLAIN=$(O) SHERD_GUEST_TIME=3600; \
	for run in '--runtime amd64' '--long amd64' '--long arm64' '--cma arm64'; do \
		tests/module/check --suite $(SUITE) $$run || [ $$? = 77 ] || rc=1; \
	done; exit $$rc

check-module-debug:
	@scripts/deps debug
	@$(MODULE_KERNELS)
	@rc=0; export SHERD_BUILD_PLAIN=$(O) SHERD_GUEST_TIME=3000; \
	for run in 'check --suite debug' 'check --suite kcsan' 'build.sh --cocci'; do \
		tests/module/$$run || [ $$? = 77 ] || rc=1; \
	done; exit $$rc

# ------------------------------------------------------------- for people

# What is made from sources and kept, to be read where the sources are.
docs:
	scripts/uapi-doc uapi/linux/sherd.h > Documentation/uapi.rst

# Documentation/ as a site.
html:
	@command -v sphinx-build >/dev/null || { echo 'sherd: no sphinx-build here: apt-get install python3-sphinx' >&2; exit 1; }
	@sphinx-build -W --keep-going -q -b html -d $(O)/html.doctrees Documentation $(O)/html
	@echo 'wrote $(O)/html/index.html'

demo:
	@scripts/deps run
	$(SUB) all
	@scripts/demo $(O)/sherd

$(O)/sherd.pc: sherd.pc.in $(O)/flags FORCE
	@sed -e 's|@prefix@|$(prefix)|; s|@libdir@|$(libdir)|; s|@includedir@|$(includedir)|' \
		-e 's|@version@|$(VERSION)|; s|@pkgs@|$(PKGS)|' $< > $@

# The kernel's interface has a folder of its own: <linux/sherd.h> beside the C library's kernel headers
# would be in the way of the kernel's own, should it come to have one.
UAPIDIR := $(DESTDIR)$(includedir)/sherd/linux
MAN := $(sort $(wildcard man/*.[14]))
install: all
	install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/pkgconfig $(UAPIDIR) $(DESTDIR)$(systemdunitdir) \
		$(DESTDIR)$(mandir)/man1 $(DESTDIR)$(mandir)/man4 $(DESTDIR)$(datadir)/sherd/kernels-cl \
		$(DESTDIR)$(datadir)/sherd/bpftrace $(DESTDIR)$(datadir)/sherd/tune
	install -m 755 $(O)/sherd $(DESTDIR)$(bindir)/sherd
	install -m 755 $(O)/$(SO) $(DESTDIR)$(libdir)/$(SO)
	ln -sf $(SO) $(DESTDIR)$(libdir)/$(SONAME)
	ln -sf $(SO) $(DESTDIR)$(libdir)/libsherd.so
	install -m 644 $(O)/libsherd.a $(DESTDIR)$(libdir)/libsherd.a
	install -m 644 $(O)/sherd.pc $(DESTDIR)$(libdir)/pkgconfig/sherd.pc
	install -m 644 runtime/sherd.h $(DESTDIR)$(includedir)/sherd.h
	sed 's|@bindir@|$(bindir)|' tools/sherd-node.service.in > $(DESTDIR)$(systemdunitdir)/sherd-node.service
	install -m 644 uapi/linux/sherd.h $(UAPIDIR)/sherd.h
	install -m 644 $(KERNELS) $(DESTDIR)$(datadir)/sherd/kernels-cl
	for f in $(notdir $(wildcard scripts/bpftrace/*.bt)); do \
		sed 's|/usr/local/bin|$(bindir)|' scripts/bpftrace/$$f > $(DESTDIR)$(datadir)/sherd/bpftrace/$$f && \
		chmod 755 $(DESTDIR)$(datadir)/sherd/bpftrace/$$f || exit 1; done
	install -m 644 $(sort $(wildcard tune/*.tune)) $(DESTDIR)$(datadir)/sherd/tune
	install -m 644 $(filter %.1,$(MAN)) $(DESTDIR)$(mandir)/man1
	install -d $(DESTDIR)$(bashdir) $(DESTDIR)$(zshdir) $(DESTDIR)$(fishdir)
	install -m 644 tools/completion/sherd.bash $(DESTDIR)$(bashdir)/sherd
	install -m 644 tools/completion/sherd.zsh $(DESTDIR)$(zshdir)/_sherd
	install -m 644 tools/completion/sherd.fish $(DESTDIR)$(fishdir)/sherd.fish
	install -m 644 $(filter %.4,$(MAN)) $(DESTDIR)$(mandir)/man4

uninstall:
	rm -f $(DESTDIR)$(bindir)/sherd $(DESTDIR)$(libdir)/$(SO) $(DESTDIR)$(libdir)/$(SONAME) \
		$(DESTDIR)$(libdir)/libsherd.so $(DESTDIR)$(libdir)/libsherd.a \
		$(DESTDIR)$(libdir)/pkgconfig/sherd.pc $(DESTDIR)$(includedir)/sherd.h \
		$(patsubst man/%,$(DESTDIR)$(mandir)/man1/%,$(filter %.1,$(MAN))) \
		$(patsubst man/%,$(DESTDIR)$(mandir)/man4/%,$(filter %.4,$(MAN))) \
		$(DESTDIR)$(bashdir)/sherd $(DESTDIR)$(zshdir)/_sherd $(DESTDIR)$(fishdir)/sherd.fish \
		$(DESTDIR)$(udevrulesdir)/60-sherd.rules $(DESTDIR)$(modulesloaddir)/sherd.conf \
		$(DESTDIR)$(systemdunitdir)/sherd-node.service
	rm -rf $(DESTDIR)$(datadir)/sherd $(DESTDIR)$(includedir)/sherd

# For editors and clang-tidy.
compile_commands:
	@mkdir -p $(O)
	@{ sep='['; for f in $(LIB_SRC) $(TOOL_SRC) $(TEST_SRC) $(FUZZ_SRC); do \
		printf '%s\n{"directory":"%s","file":"%s","command":"%s -c %s"}' "$$sep" '$(CURDIR)' \
			$$f '$(CC) $(SHERD_CFLAGS) $(CFLAGS) -Itests -Itools' $$f; sep=','; \
	done; echo; echo ']'; } > $(O)/compile_commands.json
	@echo 'wrote $(O)/compile_commands.json'

clean:
	rm -rf $(O)

help:
	@printf '%s\n' \
	'make               the command and the library, in $(O)/' \
	'make demo          install what is missing, build, and stream text from a small model' \
	'make check         every check but the long ones (T=PATTERN: only some, e.g. T="unit/*")' \
	'make check-long    all of them: minutes of fuzzing, whole perplexities, Oclgrind' \
	'make bench         against llama.cpp, about 20 minutes (BENCH=--quick: a first look)' \
	'make bench-pipeline   several boards, imitated here by root, about 30 minutes' \
	'make fuzz          the fuzz targets alone, FUZZ_TIME seconds each (120)' \
	'make golden        remake the golden values (Python, transformers, torch)' \
	'make cross-check   compile for aarch64' \
	'make docs          Documentation/uapi.rst, from uapi/linux/sherd.h' \
	'make html          Documentation/ as a site, in $(O)/html (python3-sphinx)' \
	'make modules       the kernel module, for KDIR=/lib/modules/RELEASE/build; modules_install' \
	'make install-udev  the udev rule, and loading at boot; install-dkms: sources for DKMS, too' \
	'make check-module  boots it under QEMU, for x86-64 and arm64, with the long cases; SUITE=' \
	'make check-module-debug   boots kernels with KASAN, lockdep, KCSAN ..., built for it' \
	'make install       DESTDIR= prefix=$(prefix)' \
	'make uninstall clean compile_commands' \
	'' \
	'O=FOLDER           build there instead of build/' \
	'V=1                show the commands' \
	'CC= CFLAGS= LDFLAGS= CROSS_COMPILE=aarch64-linux-gnu-'

FORCE:
-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d) $(wildcard $(O)/tests/*/*.d)
.PHONY: FORCE all net-tests tsan-build tests-build fuzzers-build check check-long fuzz-build fuzz \
	golden bench bench-pipeline cross-check modules modules_install install-udev install-dkms \
	check-module check-module-debug objects docs html demo install uninstall compile_commands clean help
