/* SPDX-License-Identifier: MIT */
/* cl_selftest_layer: a layer on the host and on the device, for cl_selftest_walk.c. */
#ifndef SHERD_CL_SELFTEST_LAYER_H
#define SHERD_CL_SELFTEST_LAYER_H

#include "infer/cl/cl_selftest.h"

#define JOIN_SCALE 0.75f /* of what joins x behind DOWN */

enum { QKV, OUT, UP, DOWN };
/* A layer's steps. */
enum {
	NORM_1,
	MUL_QKV,
	Q_NORM,
	ROPE,
	ATTEND,
	MERGE,
	MUL_OUT,
	NORM_2,
	MUL_UP,
	ACT,
	MUL_DOWN,
	JOIN,
	LAYER_STEPS
};

struct layer {
	struct sherd_st_past past;
	struct sherd_tensor w[4];
	struct sherd_cl_matrix dev[4];
	float *bias[4], *norm[2], *norm_bias[2];
	cl_mem bias_mem[4], norm_mem[2], norm_bias_mem[2];
	enum sherd_norm norm_kind;
	enum sherd_act act;
	bool gated, with_bias;
	/*
	 * normalizes q, nothing before UP, and what DOWN gives on its way to x; Q_NORM and JOIN are
	 * nothing elsewhere
	 */
	bool joins;
	float *q_norm; /* a head's, or a head after the other */
	int q_norm_step;
	cl_mem q_norm_mem;
	int hidden, q, ffn, want;
	struct sherd_cl_cache cache; /* and the rest is the past's, too */
	cl_mem tiles;
	cl_ulong rope_at;
	int n_tiles;
};

/* Where the device has @m, for a table of steps. */
cl_ulong sherd_st_address(struct sherd_st *t, cl_mem m);
/* Random floats on the host and on the device. */
cl_mem sherd_st_vector(struct sherd_st *t, float **x, int n);
/* @l, random but for its sizes, with a past for all positions but the last. */
void sherd_st_make_layer(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p,
			 int hidden, int ffn, int round);
/* Other weights for the same layer. */
void sherd_st_make_weights(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p);

/* --- the reference --- */

/* A quantized row, dst (+)= W times it; -EDOM where the quantizer refuses it. */
int sherd_st_multiply(struct sherd_st *t, const struct layer *l, int i, const float *x, int n,
		      float *dst, bool residual);
int sherd_st_normalize(const struct layer *l, int i, const float *x, float *y);
/* The layer, on the past's last position; x [hidden] changes. The step that refuses, or -1. */
int sherd_st_layer(struct sherd_st *t, struct layer *l, float *x);

#endif
