/* SPDX-License-Identifier: MIT */
/*
 * rope.cl: rotates q and k by their position's row of the host's table {cos, sin} [rope_dim / 2], scales q,
 * and stores k and v in the cache. Where the cache is int8, q and k are mixed (num_mix) before.
 */
#include "kv.h"

/* Pairs (2i, 2i + 1) or, @halves, (i, i + rope_dim / 2). */
INLINED void rotate(float *x, __global const float *table, int rope_dim, int halves)
{
	const int half_dim = rope_dim / 2;
	int i = 0;

	if (!halves) {
		for (; i + 8 <= half_dim; i += 8) {
			float16 v = vload16(0, x + 2 * i), t = vload16(0, table + 2 * i);
			float16 turned = (float16)(-t.odd.s0, t.even.s0, -t.odd.s1, t.even.s1, -t.odd.s2,
						   t.even.s2, -t.odd.s3, t.even.s3, -t.odd.s4, t.even.s4,
						   -t.odd.s5, t.even.s5, -t.odd.s6, t.even.s6, -t.odd.s7,
						   t.even.s7);

			vstore16(fma(v.s0022446688aaccee, t, v.s1133557799bbddff * turned), 0, x + 2 * i);
		}
	}
	for (; i < half_dim; i++) {
		int a = halves ? i : 2 * i, b = halves ? i + half_dim : 2 * i + 1;
		float c = table[2 * i], s = table[2 * i + 1];
		float x0 = x[a], x1 = x[b];

		x[a] = fma(x0, c, -(x1 * s));
		x[b] = fma(x0, s, x1 * c);
	}
}

/* Stores x as slot @slot: K's dimensions are PAGE apart, V's side by side. */
INLINED void store(__global kv_t *side, int slot, const float *x, float amax, int is_k)
{
#if KV == 1
	float r;

	scales_of(side)[slot] = num_quant_scale(amax, &r);
#endif
	for (int d = 0; d < HEAD_DIM; d++) {
		__global kv_t *to = side + (is_k ? d * PAGE + slot : slot * HEAD_DIM + d);

#if KV == 0
		*to = half_bits(x[d]);
#elif KV == 1
		*to = convert_char(fmin(fmax(rint(x[d] * r), -127.0f), 127.0f));
#else
		*to = x[d];
#endif
	}
}

#define ROPE_ARGS                                                                               \
	__global float *qkv, int stride, int n_heads, int n_kv_heads, __global const float *table, \
		int rope_dim, int halves, float q_scale

/* Head @h of a row: first q's, then k's, then v's. Returns 1 if a number is too large. */
INLINED int rope_head(int h, int row, ROPE_ARGS, CACHE_ARGS)
{
	const int p = pos[row];
	const struct cache c = { pool, pages + (size_t)item[row] * pages_stride, page_bytes,
				 layer_offset, side_bytes };
	__global float *at = qkv + (size_t)row * stride + h * HEAD_DIM;
	float x[HEAD_DIM];
	int amax = 0;

	for (int d = 0; d < HEAD_DIM; d++)
		x[d] = at[d];
	if (rope_dim && h < n_heads + n_kv_heads)
		rotate(x, table + (size_t)p * rope_dim, rope_dim, halves);
#if KV == 1
	if (h < n_heads + n_kv_heads)
		num_mix(x, HEAD_DIM);
#endif
	for (int d = 0; d < HEAD_DIM; d++)
		amax = max(amax, as_int(x[d]) & 0x7fffffff);
	if (h < n_heads) {
		for (int d = 0; d < HEAD_DIM; d++)
			at[d] = x[d] * q_scale;
	} else if (h < n_heads + n_kv_heads) {
		store(k_of(&c, p / PAGE, h - n_heads), p % PAGE, x, as_float(amax), 1);
	} else {
		store(v_of(&c, p / PAGE, h - n_heads - n_kv_heads), p % PAGE, x, as_float(amax), 0);
	}
	return amax >= as_int(KV == 0 && h >= n_heads ? NUM_HALF_MAX : NUM_QKV_MAX);
}

#ifndef SHERD_WALK
/* A work-item a head; global (q heads + 2 * KV heads, rows). */
__kernel void rope(ROPE_ARGS, CACHE_ARGS, int step, __global int *failed)
{
	if (rope_head(get_global_id(0), get_global_id(1), qkv, stride, n_heads, n_kv_heads, table, rope_dim,
		      halves, q_scale, CACHE_PASS))
		fail_row(failed, step, get_global_id(1));
}
#endif
