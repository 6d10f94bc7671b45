/* SPDX-License-Identifier: MIT */
/*
 * group.h: 32 columns of a row, which is what a quantizer sees at once: load, store, activation function,
 * quantize. Everything that matmuls read ends in put_group(), whichever kernel made it.
 */
#ifndef SHERD_GROUP_H
#define SHERD_GROUP_H

#include "common.h"

/* 32 columns, in vectors: of an array of floats, compilers make halves, quarters and memory. */
struct group {
	float16 v[2];
};

/* Columns [32 g, 32 g + 32) of a row, and @beyond its end. */
INLINED struct group load_group_or(__global const float *row, int g, int width, float beyond)
{
	struct group x;
	float tail[32];

	if (32 * g + 32 <= width) {
		x.v[0] = vload16(2 * g, row);
		x.v[1] = vload16(2 * g + 1, row);
		return x;
	}
	for (int i = 0; i < 32; i++)
		tail[i] = 32 * g + i < width ? row[32 * g + i] : beyond;
	x.v[0] = vload16(0, tail);
	x.v[1] = vload16(1, tail);
	return x;
}

INLINED struct group load_group(__global const float *row, int g, int width)
{
	return load_group_or(row, g, width, 0.0f);
}

INLINED void store_group(struct group x, __global float *row, int g, int width)
{
	float tail[32];

	if (32 * g + 32 <= width) {
		vstore16(x.v[0], 2 * g, row);
		vstore16(x.v[1], 2 * g + 1, row);
		return;
	}
	vstore16(x.v[0], 0, tail);
	vstore16(x.v[1], 1, tail);
	for (int i = 0; 32 * g + i < width; i++)
		row[32 * g + i] = tail[i];
}

INLINED float amax_of(struct group x)
{
	int16 m16 = max(as_int16(x.v[0]) & 0x7fffffff, as_int16(x.v[1]) & 0x7fffffff);
	int8 m8 = max(m16.lo, m16.hi);
	int4 m4 = max(m8.lo, m8.hi);
	int2 m2 = max(m4.lo, m4.hi);

	return as_float(max(m2.x, m2.y));
}

INLINED int sum_of(int16 q)
{
	int8 s8 = q.lo + q.hi;
	int4 s4 = s8.lo + s8.hi;
	int2 s2 = s4.lo + s4.hi;

	return s2.x + s2.y;
}

/* rint and clamp: x * r to [-127, 127], ties to even. */
INLINED int16 to_int8(float16 x, float r)
{
	return convert_int16(fmin(fmax(rint(x * r), (float16)(-127.0f)), (float16)(127.0f)));
}

/* What matmuls read of a group: floats (@a), integers, or both. Returns 0, or 1 if it is not finite. */
#define QUANT_F32    1
#define QUANT_Q8     2
#define QUANT_HALVES 4
#define QUANT_ARGS                                                                                \
	__global float *to_a, int to_stride, __global char *to_q,                                 \
		__global struct act_group *to_groups, __global struct act_half *to_halves,        \
		int want
#define QUANT_PASS to_a, to_stride, to_q, to_groups, to_halves, want

INLINED int put_group(struct group x, int row, int g, int width, QUANT_ARGS)
{
	const int n_groups = (width + 31) / 32;
	const size_t at = (size_t)row * n_groups + g;
	float amax = amax_of(x), r;
	float d = num_quant_scale(amax, &r);

	if (want & QUANT_F32)
		store_group(x, to_a + (size_t)row * to_stride, g, width);
	if (want & QUANT_Q8) {
		int16 lo = to_int8(x.v[0], r), hi = to_int8(x.v[1], r);
		int sum = sum_of(lo + hi);

		vstore16(convert_char16(lo), 2 * at, to_q);
		vstore16(convert_char16(hi), 2 * at + 1, to_q);
		to_groups[at].d = d;
		to_groups[at].ds = d * (float)sum;
		to_groups[at].n4 = -8 * sum;
		to_groups[at].n8 = -128 * sum;
		if (want & QUANT_HALVES) {
			int s0 = sum_of(lo), s1 = sum - s0;

			to_halves[at].ds[0] = d * (float)s0;
			to_halves[at].ds[1] = d * (float)s1;
			to_halves[at].n8[0] = -128 * s0;
			to_halves[at].n8[1] = -128 * s1;
		}
	}
	return not_finite(amax);
}

/* The numbers of enum sherd_act. */
INLINED float16 activation(int act, float16 x)
{
	return act == 0 ? num_silu_16(x) :
	       act == 1 ? num_gelu_tanh_16(x) :
	       act == 2 ? num_gelu_erf_16(x) :
			  num_relu_16(x);
}

#endif
