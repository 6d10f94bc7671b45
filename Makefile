# SPDX-License-Identifier: MIT
# sherd: userspace build. `make help` lists the targets; the kernel module has its own Kbuild.

VERSION := 0.1.0
SOVERSION := 0
O ?= build
prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib
includedir ?= $(prefix)/include
datadir ?= $(prefix)/share
mandir ?= $(datadir)/man

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

PKGS := OpenCL libcrypto jansson libpcre2-8 libutf8proc
PKG_CFLAGS ?= $(shell $(PKG_CONFIG) --cflags $(PKGS))
PKG_LIBS ?= $(shell $(PKG_CONFIG) --libs $(PKGS))
SHERD_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-ffp-contract=off -fno-math-errno -fPIC -D_GNU_SOURCE -DCL_TARGET_OPENCL_VERSION=120 \
	-Iruntime -Ikernels-cl $(PKG_CFLAGS)
LIBS := $(PKG_LIBS) -lm -lpthread

LIB_SRC := $(sort $(wildcard runtime/*.c runtime/*/*.c runtime/*/*/*.c))
TOOL_SRC := $(sort $(wildcard tools/*.c))
KERNELS := $(sort $(wildcard kernels-cl/*.cl kernels-cl/*.h))
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o) $(O)/gen/kernels.o
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
$(O)/gen/kernels.c: FORCE scripts/embed-kernels
	@mkdir -p $(@D)
	@scripts/embed-kernels $(KERNELS) > $@.tmp
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
	$(Q)$(CC) $(CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

FORCE:
-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d)
.PHONY: all FORCE
