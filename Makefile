# SPDX-License-Identifier: MIT
# sherd: userspace build. `make help` lists the targets.

O ?= build
CC ?= gcc
CFLAGS ?= -O2 -g
PKG_CONFIG ?= $(CROSS_COMPILE)pkg-config
Q := $(if $(V),,@)

PKGS := OpenCL libcrypto jansson libpcre2-8 libutf8proc
SHERD_CFLAGS := -std=gnu11 -Wall -Wextra -Werror -Wstrict-prototypes -Wmissing-prototypes \
	-ffp-contract=off -fno-math-errno -fPIC -D_GNU_SOURCE -DCL_TARGET_OPENCL_VERSION=120 \
	-Iruntime -Ikernels-cl -I$(O)/gen $(shell $(PKG_CONFIG) --cflags $(PKGS))
LIBS := $(shell $(PKG_CONFIG) --libs $(PKGS)) -lm -lpthread

LIB_SRC := $(sort $(wildcard runtime/*/*.c runtime/*/*/*.c))
TOOL_SRC := $(sort $(wildcard tools/*.c))
LIB_OBJ := $(LIB_SRC:%.c=$(O)/%.o)
TOOL_OBJ := $(TOOL_SRC:%.c=$(O)/%.o)

all: $(O)/sherd

$(O)/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(SHERD_CFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

$(O)/libsherd.a: $(LIB_OBJ)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(O)/sherd: $(TOOL_OBJ) $(O)/libsherd.a
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

-include $(LIB_OBJ:.o=.d) $(TOOL_OBJ:.o=.d)
.PHONY: all
