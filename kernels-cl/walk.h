/* SPDX-License-Identifier: MIT */
/*
 * walk.h: what walk.cl and the host agree on. Compiled as OpenCL C and as C: there is one text for both, and
 * both compilers check its sizes.
 */
#ifndef SHERD_WALK_H
#define SHERD_WALK_H

#ifdef __OPENCL_VERSION__
typedef ulong sherd_walk_u64;
#else
typedef cl_ulong sherd_walk_u64;
#endif

enum sherd_walk_kind {
	SHERD_WALK_NOTHING, /* a cut that is none, a gather of the only row */
	SHERD_WALK_NORM,
	SHERD_WALK_MATMUL,
	SHERD_WALK_ROPE,
	SHERD_WALK_ATTEND, /* leaves A, or parts of it for the next step */
	SHERD_WALK_MERGE,
	SHERD_WALK_ACT,
	SHERD_WALK_NORM_TO,
	SHERD_WALK_QUANTIZE, /* A without a norm */
	SHERD_WALK_CAP,
};

/* The buffers that steps read and write, as enum sherd_buf numbers them. */
#define SHERD_WALK_X	  0
#define SHERD_WALK_QKV	  2
#define SHERD_WALK_FFN	  4
#define SHERD_WALK_LOGITS 5
#define SHERD_WALK_OUT	  6

/* A step of the model's list, for one row. Addresses are the device's; 0: not there. */
struct sherd_walk_step {
	/* of a matrix; values alone: a norm's weight, or the table of angles */
	sherd_walk_u64 values, scales, mins;
	sherd_walk_u64 bias;
	sherd_walk_u64 cache; /* offset of the step's layer in a page */
	int kind; /* enum sherd_walk_kind */
	int src, dst; /* SHERD_WALK_X ... */
	int rows, cols; /* of the matrix; cols: what a norm or an activation has */
	int dst_col, flags; /* RESIDUAL, BIAS */
	int want; /* QUANT_... */
	int norm; /* enum sherd_norm */
	float inv_cols; /* 1 / cols */
	int window; /* attention's: how far back it looks, 0: to the beginning */
	int n_parts; /* norm_to's: of cols columns, from dst_col on */
	float scale, cap, inv_cap; /* norm_to's, cap's; attention's cap */
	int weight_step; /* norm_to's: floats from a part's weights to the next one's */
};

/* What is the same for all steps of a run. */
struct sherd_walk {
	int first, end; /* steps */
	int workers;
	int qkv_stride; /* floats: q, k, v side by side */
	int n_heads, n_kv_heads, rope_dim, rope_halves;
	int act, gated;
	int n_tiles, n_parts; /* attention's: see attention.cl */
	float eps, q_scale;
};

/*
 * A step's counters, in cache lines of their own; zeros when the run begins. The clock (dot4.h) is read when
 * the first unit is taken and when the last is done.
 */
struct sherd_walk_counters {
	int next, unused_next[13];
	sherd_walk_u64 begin;
	int done, unused_done[13];
	sherd_walk_u64 end;
};

/* OpenCL C 1.2 has no _Static_assert. */
#define SHERD_WALK_CHECK(what, holds) typedef char sherd_walk_check_##what[(holds) ? 1 : -1]

SHERD_WALK_CHECK(a_step_is_thirteen_words_of_eight, sizeof(struct sherd_walk_step) == 13 * 8);
SHERD_WALK_CHECK(a_run_is_fourteen_words, sizeof(struct sherd_walk) == 14 * 4);
SHERD_WALK_CHECK(counters_are_two_lines, sizeof(struct sherd_walk_counters) == 2 * 64);

#endif
