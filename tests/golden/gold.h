/* SPDX-License-Identifier: MIT */
/*
 * gold: golden logits in a file, and the model's own at the same positions.
 *
 * A .gold file: "SHGOLD1\n"; u32 n_tokens, n_rows, n_vocab, n_sections; i32 tokens [n_tokens];
 * i32 rows [n_rows], the positions whose logits follow; sections of char name[8] and float logits
 * [n_rows][n_vocab].
 */
#ifndef SHERD_TEST_GOLD_H
#define SHERD_TEST_GOLD_H

#include "base/base.h"

struct gold {
	uint32_t n_tokens, n_rows, n_vocab, n_sections;
	const int32_t *tokens, *rows;
	const char *sections;
	char *file;
};

/* "tests/golden/<name><suffix>", or in $SHERD_GOLDEN; free it. */
char *golden_path(const char *name, const char *suffix);
/* Free g->file. */
void gold_open(struct gold *g, const char *path);
const float *gold_find(const struct gold *g, const char *name); /* NULL: there is none */
const float *gold_section(const struct gold *g, const char *name);
/* max |a - b| / max |b|; a NaN is infinitely far. */
double gold_worst(const float *a, const float *b, size_t n);
/* The logits of the model at @path at the golden positions; free() them. */
float *gold_run(const struct gold *g, const char *path, const char *device, int bits);

#endif
