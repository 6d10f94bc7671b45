/* SPDX-License-Identifier: MIT */
/*
 * ref: every step's arithmetic as pure functions on plain arrays. These functions are the
 * definition of the contract (Documentation/arithmetic.rst): what a device computes is right if it
 * has the same bits. They are written to be read and compared with; they are only as fast as a
 * plain loop that the compiler vectorizes can be.
 *
 * A function that returns int gives 0, or -EDOM where a value is NaN, infinite or too large to go
 * on with; what it wrote then means nothing.
 */
#ifndef SHERD_REF_H
#define SHERD_REF_H

#include "infer/act.h"
#include "infer/kv.h"

/* Attention's scratch is on the stack; sherd_exec_ref_open() refuses more. */
#define SHERD_REF_MAX_HEAD_DIM 1024

/* 16 lanes, lane l sums elements l, l + 16, ...; then the lanes pairwise: +8, +4, +2, +1. */
float sherd_ref_lane_sum(const float *x, int n);

/* @n halves as floats, exactly: sherd_f16_to_f32() in a loop that compilers vectorize. */
void sherd_ref_halves(const uint16_t *restrict h, int n, float *restrict out);

/* X = scale * table[token] + bias + positions[pos]; the last two may be NULL. x [table's cols] */
void sherd_ref_embed(const struct sherd_tensor *table, const struct sherd_tensor *positions,
		     int32_t token, int32_t pos, float scale, const float *bias, float *x);

/* y [n] = norm of x [n]; @bias may be NULL, NONE copies. In place is fine. */
int sherd_ref_norm(enum sherd_norm norm, const float *x, const float *weight, const float *bias,
		   int n, float eps, float *y);

/*
 * dst [n] = scale * norm(src), or dst += it if @add; @src may be @dst. @y [n] is scratch.
 */
int sherd_ref_norm_to(enum sherd_norm norm, const float *src, const float *weight,
		      const float *bias, int n, float eps, float scale, bool add, float *y,
		      float *dst);

/* x [n] = scale * x, and then cap * tanh(x / cap) if @cap is not 0. */
void sherd_ref_cap(float *x, int n, float scale, float cap);

/*
 * Quantizes a row x [n]: q [n padded to 32], groups [padded n / 32]; @halves [padded n / 32] may
 * be NULL. The padding's q are 0.
 */
int sherd_ref_quantize(const float *x, int n, int8_t *q, struct sherd_act_group *groups,
		       struct sherd_act_half *halves);

/* The rows that a matmul reads: floats for float weights, the rest for integer weights. */
struct sherd_ref_act {
	const float *x; /* [n_rows][x_stride] */
	size_t x_stride;
	const int8_t *q; /* [n_rows][q_stride], q_stride: a multiple of 32 */
	size_t q_stride;
	const struct sherd_act_group *groups; /* [n_rows][q_stride / 32] */
	const struct sherd_act_half *halves; /* the same; needed for groups of 16 with minima */
};

/*
 * dst[i][r] = W[r] . a[i] (+ bias[r]), or dst[i][r] += it if @residual; i < n_rows, r < W's rows.
 * dst [n_rows][dst_stride]
 */
void sherd_ref_matmul(const struct sherd_tensor *w, const struct sherd_ref_act *a, int n_rows,
		      const float *bias, bool residual, float *dst, size_t dst_stride);

/* Rotates x [head_dim] in place; table: {cos, sin} [rope_dim / 2] of the position. */
void sherd_ref_rope(enum sherd_position position, const float *table, int rope_dim, float *x);

/* Is every |x| below @limit (NUM_QKV_MAX, NUM_HALF_MAX)? NaN is not. */
bool sherd_ref_below(const float *x, int n, float limit);

/*
 * Queries q [n_heads][head_dim], rotated, as sherd_ref_attend() takes them: times @scale (1 /
 * sqrt(head_dim)), and mixed where the keys are. In place.
 */
int sherd_ref_query(const struct sherd_kv_shape *s, float *q, int n_heads, float scale);

/* Stores k (rotated) and v [head_dim] as position @slot of the page (see kv.h). */
int sherd_ref_kv_store(const struct sherd_kv_shape *s, uint8_t *page, int layer, int kv_head,
		       int slot, const float *k, const float *v);

/*
 * out [head_dim] = attention of q [head_dim] (from sherd_ref_query) over positions first .. last,
 * scores capped if @cap is not 0; pool: all pages' bytes, side by side; pages: the session's table.
 */
void sherd_ref_attend(const struct sherd_kv_shape *s, const uint8_t *pool, const int32_t *pages,
		      int layer, int kv_head, int first, int last, float cap, const float *q,
		      float *out);

/* h [n] = act(gate) * up, or act(up) if @gate is NULL. */
void sherd_ref_act(enum sherd_act act, const float *gate, const float *up, int n, float *h);

/*
 * The k experts of the largest scores [n], in falling order, the lower index first among equals,
 * and what each counts: exp(score - largest) over the sum of all, or of the chosen ones.
 */
int sherd_ref_route(const float *scores, int n, int k, bool renormalize, int32_t *choice,
		    float *weight);
/*
 * x [n] += the experts' outputs out [k][stride], weighted, in the order of the choice, and at last
 * @shared [n] times sigmoid(*gate); NULL: nothing is shared.
 */
void sherd_ref_combine(const float *out, size_t stride, int k, const float *weight,
		       const float *shared, const float *gate, int n, float *x);

/*
 * A row x [n] as the int8 wire carries it: q [n padded to 32], the padding 0, and a half (never
 * negative, always finite) for each group of 32. And back: what a cut leaves of the row.
 */
int sherd_ref_wire_quantize(const float *restrict x, int n, int8_t *restrict q,
			    uint16_t *restrict scales);
void sherd_ref_wire_restore(const int8_t *restrict q, const uint16_t *restrict scales, int n,
			    float *restrict x);

/* x [n] through the wire format and back, in place. */
int sherd_ref_cut(enum sherd_wire wire, float *x, int n);

/*
 * Names the arithmetic: SHA-256 over the contract's version and the bits that a fixed vector gives.
 * Executors whose results have the same bits have the same profile.
 */
void sherd_ref_bit_profile(char hex[SHERD_SHA256_HEX]);

/*
 * Hot loops are compiled twice where the compiler can do so and the loader picks: an fma is one
 * instruction on any recent x86, but a call in code for the first x86-64. The bits are the same.
 */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) && \
	!defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define SHERD_REF_HOT __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define SHERD_REF_HOT
#endif

#endif
