/* SPDX-License-Identifier: MIT */
/* cl_selftest: what the self-test's files share. Buffers live until the case ends. */
#ifndef SHERD_CL_SELFTEST_H
#define SHERD_CL_SELFTEST_H

#include "infer/cl/cl.h"

struct sherd_st {
	struct sherd_cl *c;
	struct sherd_error *err;
	uint64_t seed, rng;
	int rc; /* the first difference sticks */
	unsigned n_compared;
	void *host[256];
	size_t n_host;
	cl_mem mem[256];
	size_t n_mem;
};

uint32_t sherd_st_random(struct sherd_st *t);
int sherd_st_below(struct sherd_st *t, int n);
float sherd_st_float(struct sherd_st *t); /* in [-2, 2) */
/* Zeroed; aligned as calloc aligns, with room behind. Freed by sherd_st_reset(). */
void *sherd_st_alloc(struct sherd_st *t, size_t size);
void *sherd_st_floats(struct sherd_st *t, size_t n);
cl_mem sherd_st_upload(struct sherd_st *t, const void *data, size_t size);
void sherd_st_poison(void *data, size_t size);
void sherd_st_reset(struct sherd_st *t);
void sherd_st_expect(struct sherd_st *t, cl_mem m, const void *want, size_t size, const char *what,
		     const char *fmt, ...) __attribute__((format(printf, 6, 7)));

void sherd_st_clear_failed(struct sherd_st *t);
void sherd_st_expect_failed(struct sherd_st *t, int row, const char *what, float x);

/* The cases, @round counts from 0. */
void sherd_st_rows(struct sherd_st *t, int round);
void sherd_st_matmul(struct sherd_st *t, struct sherd_cl_program *p, int round);
void sherd_st_attention(struct sherd_st *t, struct sherd_cl_program *p, int round);
/* A random matrix on the host and on the device. */
void sherd_st_matrix(struct sherd_st *t, const struct sherd_format *f, struct sherd_tensor *host,
		     struct sherd_cl_matrix *dev);

int sherd_cl_add_list(struct sherd_cl *c, const char *specs, struct sherd_error *err);
/* Keeps binaries and verdicts of programs that passed: the next process neither compiles nor tests. */
void sherd_cl_keep(struct sherd_cl *c);
#define SHERD_CL_PASSED "passed\n" /* a verdict's text */
/* What "this program passed on this device and driver" is kept under. */
int sherd_cl_verdict_key(struct sherd_cl *c, const struct sherd_cl_program *p,
			 char key[SHERD_SHA256_HEX]);

#endif
