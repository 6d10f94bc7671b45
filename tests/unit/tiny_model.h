/* SPDX-License-Identifier: MIT */
/*
 * tiny_model: writes a GGUF file with a random model of any shape, architecture and weight type,
 * for tests that need a model and not its meaning. Weights are of the size that training gives, so
 * that logits differ and nothing overflows.
 */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "model/gguf.h"
#include "random.h"
#include "sherd.h"

struct tiny_model {
	const char *arch; /* any that the table has */
	int n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, n_vocab, n_ctx;
	enum ggml_type type; /* of matrices; the columns must be a multiple of its block */
	enum ggml_type embd_type; /* of the token embedding */
	bool tied; /* no output matrix */
	bool rope_freqs; /* Llama-3's divisors */
	uint64_t seed;
	const char *huge; /* this vector ("blk.2.ffn_norm.weight") has values around ... */
	float huge_mean;
	int window; /* of attention; 0: none */
	const char *odd; /* this matrix has another type */
	enum ggml_type odd_type;
	const char *more; /* further metadata: "name=2,name=0.5,name=true" under the architecture's */
	const char *with; /* a tensor that says what no metadata does: the other ones follow */
};

/* One of each kind of arithmetic; ends with arch NULL. Odd sizes on purpose. */
extern const struct tiny_model tiny_models[];
/* The plainest with grouped heads, where it does not matter which. */
extern const struct tiny_model tiny_plain;
/* One of each family of the table, alike in shape; ends with arch NULL. */
extern const struct tiny_model tiny_families[];
/* "llama Q4_0 2 layers of 96", for messages; a static buffer. */
const char *tiny_model_describe(const struct tiny_model *t);

/* Writes the model to a new temporary file; the path is malloc'd: unlink() and free() it. */
char *tiny_model_write(const struct tiny_model *t);
/* Opens it without the cache; no file is left. As sherd_model_open() otherwise. */
int tiny_model_open(struct sherd_model **m, const struct tiny_model *t,
		    const struct sherd_model_params *p, struct sherd_error *err);

/* Roughly normal, variance 1. */
float tiny_normal(uint64_t *state);

#endif
