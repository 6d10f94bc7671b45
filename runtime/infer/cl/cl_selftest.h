/* SPDX-License-Identifier: MIT */
/* cl_selftest: what the self-test's files share. Buffers live until the case ends. */
#ifndef SHERD_CL_SELFTEST_H
#define SHERD_CL_SELFTEST_H

#include "infer/cl/cl.h"
#include "infer/ref/ref.h"

struct sherd_st {
	struct sherd_cl *c;
	struct sherd_error *err;
	uint64_t seed, rng;
	int rc; /* the first difference sticks */
	unsigned n_compared;
	bool vector; /* small and quick: see sherd_cl_selftest_vector() */
	uint8_t *arena; /* what a case allocates, one after the other */
	size_t used;
	cl_mem mem[1024];
	size_t n_mem;
};

uint32_t sherd_st_random(struct sherd_st *t);
int sherd_st_below(struct sherd_st *t, int n);
float sherd_st_float(struct sherd_st *t); /* in [-2, 2) */
/* Zeroed and never NULL; aligned to 64 bytes, with room behind. Gone with sherd_st_reset(). */
void *sherd_st_alloc(struct sherd_st *t, size_t size);
void *sherd_st_floats(struct sherd_st *t, size_t n);
cl_mem sherd_st_upload(struct sherd_st *t, const void *data, size_t size);
/* Bytes that are NaN as floats and -1 as integers: whatever is added to them shows. */
void sherd_st_poison(void *data, size_t size);
void sherd_st_reset(struct sherd_st *t);
void sherd_st_expect(struct sherd_st *t, cl_mem m, const void *want, size_t size, const char *what,
		     const char *fmt, ...) __attribute__((format(printf, 6, 7)));

void sherd_st_clear_failed(struct sherd_st *t);
void sherd_st_expect_failed(struct sherd_st *t, int row, const char *what, float x);

/* The cases; @round counts from 0, and the first and the last ones have fixed shapes. */
#define SHERD_ST_ROUNDS 7
void sherd_st_rows(struct sherd_st *t, int round);
void sherd_st_matmul(struct sherd_st *t, struct sherd_cl_program *p, int round);
void sherd_st_matmul_experts(struct sherd_st *t, struct sherd_cl_program *p, int round);
void sherd_st_experts(struct sherd_st *t, int round);
void sherd_st_attention(struct sherd_st *t, struct sherd_cl_program *p, int round);
void sherd_st_walk(struct sherd_st *t, struct sherd_cl_program *p, int round);

/* --- what the cases share --- */

/*
 * A on the host, with the rows behind the last that a matmul may read: they are poison, as is every
 * row that nothing was quantized to.
 */
struct sherd_st_act {
	float *a;
	int8_t *q;
	struct sherd_act_group *groups;
	struct sherd_act_half *halves;
	size_t n_groups, rows; /* groups in a row; rows with those behind */
	int width;
};
struct sherd_st_act sherd_st_new_act(struct sherd_st *t, int rows, int width);
struct sherd_st_act sherd_st_random_act(struct sherd_st *t, int rows, int width);
void sherd_st_quantize_row(struct sherd_st_act *h, int row, const float *x);
struct sherd_ref_act sherd_st_ref_act(const struct sherd_st_act *h);
struct sherd_cl_act sherd_st_upload_act(struct sherd_st *t, const struct sherd_st_act *h);
/* Room for A, full of what no kernel should leave there. */
struct sherd_cl_act sherd_st_poisoned_act(struct sherd_st *t, int rows, int width);
/* The rows behind the last are compared too. */
void sherd_st_expect_act(struct sherd_st *t, const struct sherd_cl_act *a,
			 const struct sherd_st_act *h, const char *what);
struct sherd_cl_rows sherd_st_upload_rows(struct sherd_st *t, const float *x, int n, int stride);
/* One for each round: kernels refuse what the reference refuses, and no more. */
float sherd_st_extreme(int round);

/* A sequence's queries, keys and values, and the cache that the reference stores them in. */
struct sherd_st_past {
	struct sherd_kv_shape shape;
	int n_heads, n_ctx, stride, layer;
	float *qkv, *rope; /* [n_ctx][stride]: a sequence */
	int rope_dim;
	enum sherd_position position;
	struct sherd_cl_sight sight; /* of attention */
	uint8_t *pool;
	size_t pool_size;
	int32_t *pages;
};
#define SHERD_ST_Q_SCALE 0.125f
/* @queries: of a single token, where the program has a tile of that size. */
void sherd_st_make_past(struct sherd_st *t, struct sherd_st_past *a, int kv_type, int head_dim,
			int queries, int round);
/* Rotates and stores position @pos, as the reference executor does; -EDOM: too large. */
int sherd_st_past_add(struct sherd_st_past *a, int pos);
/* out [n_heads][head_dim]: attention of position @pos, which sees up to @last. */
void sherd_st_past_attend(const struct sherd_st_past *a, int pos, int last, float *out);

/* The format that a program is for. */
struct sherd_format sherd_st_format(const struct sherd_cl_program *p, int rows, int cols);
/* A random matrix on the host and on the device. */
void sherd_st_matrix(struct sherd_st *t, const struct sherd_format *f, struct sherd_tensor *host,
		     struct sherd_cl_matrix *dev);

/* All programs that c has; @rounds: SHERD_ST_ROUNDS, or fewer where there is no time for that. */
int sherd_cl_selftest_programs(struct sherd_cl *c, uint64_t seed, int rounds,
			       struct sherd_error *err);
/* One case a program, small and always the same: milliseconds. */
int sherd_cl_selftest_vector(struct sherd_cl *c, struct sherd_error *err);
int sherd_cl_add_list(struct sherd_cl *c, const char *specs, struct sherd_error *err);
/* Builds a program, tests it, and keeps the verdict if it passes. -EBADE: it fails. */
int sherd_cl_selftest_program(struct sherd_cl *c, struct sherd_cl_program *p, uint64_t seed,
			      struct sherd_error *err);
/* Keeps the binary of a program that passed. */
void sherd_cl_selftest_keep(struct sherd_cl *c, const struct sherd_cl_program *p);
/* What "this program passed, or failed, on this device and driver" is kept under. */
int sherd_cl_verdict_key(struct sherd_cl *c, const struct sherd_cl_program *p,
			 char key[SHERD_SHA256_HEX]);

#endif
