/* SPDX-License-Identifier: MIT */
/*
 * variant: the ways in which a kernel may be cut for a device, all with the same bits. As text,
 * which is what tune files and the names of programs have: "local=2x16+kernel=8"; "default" is
 * none of it.
 */
#ifndef SHERD_VARIANT_H
#define SHERD_VARIANT_H

#include "base/base.h"

/* What is 0 is as the runtime has it by itself. */
struct sherd_variant {
	int local[2]; /* SIMT: work-items of a group, rows x shares of the tokens */
	int kernel;   /* 1, 4, 8: tokens that a work-item takes at a time; 16: matmul_tile */
	int ahead;    /* wide: bytes that a single token's weights are asked for in advance */
	int blocks;   /* matmul_tile: row blocks of a work-item */
	/* whose sums are in registers: row blocks x tokens; attention: vectors x queries */
	int tile[2];
	int parts;  /* attention: chunks are spread where a compute unit has less work than this */
	int pieces; /* wide: work-items that share a row of groups */
};

#define SHERD_VARIANT_TEXT 64
#define SHERD_VARIANT_TILE 16 /* .kernel's number for matmul_tile */

/* False: no such parameter, a value out of its range, or two that don't go together. */
bool sherd_variant_parse(struct sherd_variant *v, const char *text);
/* "default" where nothing is set. */
void sherd_variant_print(const struct sherd_variant *v, char text[SHERD_VARIANT_TEXT]);
bool sherd_variant_is_default(const struct sherd_variant *v);

#endif
