/* SPDX-License-Identifier: MIT */
/*
 * rows.cl: the steps between the matmuls, a row (token) at a time: embedding, norm, activation function,
 * quantizer, cut, wire, gather. All of them end in groups of 32 columns, a group by one work-item, which
 * takes more of them where the global size is smaller than a row. -DSHERD_WALK: without the kernels, for
 * walk.cl, which calls their bodies.
 */
#include "group.h"

#define EACH_GROUP(g, width) \
	for (int g = get_global_id(0); g < ((width) + 31) / 32; g += get_global_size(0))

#ifndef SHERD_WALK
/* A = src, quantized. Global: (groups or fewer, rows). */
__kernel void quantize(__global const float *src, int src_stride, int width, QUANT_ARGS, int step,
		       __global int *failed)
{
	const int row = get_global_id(1);
	int bad = 0;

	EACH_GROUP(g, width)
		bad |= put_group(load_group(src + (size_t)row * src_stride, g, width), row, g, width,
				 QUANT_PASS);
	if (bad)
		fail_row(failed, step, row);
}

#endif

/* Group @g of A = activation(src), quantized; @gated: times the second half of a row of 2 * width. */
INLINED int activate_group(__global const float *s, int row, int g, int width, int act, int gated,
			   QUANT_ARGS)
{
	struct group x = load_group(s, g, width); /* functions of 0 are 0, beyond the end */

#pragma unroll
	for (int i = 0; i < 2; i++)
		x.v[i] = activation(act, x.v[i]);
	if (gated) {
		struct group up = load_group(s + width, g, width);

		x.v[0] = x.v[0] * up.v[0];
		x.v[1] = x.v[1] * up.v[1];
	}
	return put_group(x, row, g, width, QUANT_PASS);
}

#ifndef SHERD_WALK
__kernel void activate(__global const float *src, int src_stride, int width, QUANT_ARGS, int step,
		       __global int *failed, int act, int gated)
{
	const int row = get_global_id(1);
	int bad = 0;

	EACH_GROUP(g, width)
		bad |= activate_group(src + (size_t)row * src_stride, row, g, width, act, gated,
				      QUANT_PASS);
	if (bad)
		fail_row(failed, step, row);
}
#endif

/*
 * The lane rule: lane l sums elements l, l + 16, ...; then the lanes pairwise. In the wide shape a
 * work-item has all lanes; in the SIMT shape 16 of the work-group's items are the lanes, and
 * everybody gets the result. Adds x, or (x - mean)^2 by fma.
 */
#if LANES == 16
#define LANE_MEM
INLINED float lanes_add(float16 s)
{
	float8 s8 = s.lo + s.hi;
	float4 s4 = s8.lo + s8.hi;
	float2 s2 = s4.lo + s4.hi;

	return s2.x + s2.y;
}

INLINED float lane_sum(__global const float *x, int n, int squares, float mean,
		       LANE_MEM float *lanes)
{
	float16 s = (float16)(0.0f);
	int i;

	for (i = 0; i + 16 <= n; i += 16) {
		float16 v = vload16(0, x + i);

		s = squares ? fma(v - mean, v - mean, s) : s + v;
	}
	vstore16(s, 0, lanes);
	for (; i < n; i++) {
		float v = x[i];

		lanes[i % 16] = squares ? fma(v - mean, v - mean, lanes[i % 16]) : lanes[i % 16] + v;
	}
	return lanes_add(vload16(0, lanes));
}
#else
#define LANE_MEM __local
INLINED float lane_sum(__global const float *x, int n, int squares, float mean,
		       LANE_MEM float *lanes)
{
	const int l = get_local_id(0);
	float s = 0.0f;

	barrier(CLK_LOCAL_MEM_FENCE);
	if (l < 16) {
		for (int i = l; i < n; i += 16)
			s = squares ? fma(x[i] - mean, x[i] - mean, s) : s + x[i];
		lanes[l] = s;
	}
	for (int step = 8; step; step /= 2) {
		barrier(CLK_LOCAL_MEM_FENCE);
		if (l < step)
			lanes[l] = lanes[l] + lanes[l + step];
	}
	barrier(CLK_LOCAL_MEM_FENCE);
	return lanes[0];
}
#endif

/*
 * A = norm(src), by item @l of the @n_items that share the row. @layer: layer norm, else RMS; bias may be
 * absent (has_bias 0).
 */
#define NORM_ARGS                                                                               \
	__global const float *weight, __global const float *bias, int layer, int has_bias,      \
		float eps, float inv_n
#define NORM weight, bias, layer, has_bias, eps, inv_n

/* Group @g, times @r and the weight. */
INLINED void norm_group(float16 x[2], int g, int width, float mean, float r,
			__global const float *weight, __global const float *bias, int layer, int has_bias)
{
	struct group w = load_group(weight, g, width);
	struct group b = { { (float16)(0.0f), (float16)(0.0f) } };

	if (has_bias)
		b = load_group(bias, g, width);
#pragma unroll
	for (int i = 0; i < 2; i++) {
		float16 y = (layer ? x[i] - mean : x[i]) * r;

		x[i] = has_bias ? fma(y, w.v[i], b.v[i]) : y * w.v[i];
	}
}

INLINED int norm_row(__global const float *s, int row, int width, int l, int n_items,
		     LANE_MEM float *lanes, QUANT_ARGS, NORM_ARGS)
{
	float mean = layer ? lane_sum(s, width, 0, 0.0f, lanes) * inv_n : 0.0f;
	float v = lane_sum(s, width, 1, mean, lanes) * inv_n + eps;
	float r = num_rsqrt_1(v);
	int bad = !(v < NUM_NORM_MAX);

	for (int g = l; g < (width + 31) / 32; g += n_items) {
		struct group x = load_group_or(s, g, width, mean); /* its distance from the mean is 0 */

		norm_group(x.v, g, width, mean, r, weight, bias, layer, has_bias);
		bad |= put_group(x, row, g, width, QUANT_PASS);
	}
	return bad;
}

/*
 * dst (+)= scale * norm(src) of a part of @width columns, by item @l of the @n_items that share it; src may be
 * dst. @kind: enum sherd_norm.
 */
#define NORM_TO_ARGS                                                                            \
	int width, int kind, int add, float scale, __global const float *weight,                \
		__global const float *bias, int has_bias, float eps, float inv_n
#define NORM_TO width, kind, add, scale, weight, bias, has_bias, eps, inv_n

INLINED int norm_part(__global const float *s, __global float *d, int l, int n_items,
		      LANE_MEM float *lanes, NORM_TO_ARGS)
{
	float mean = kind == 2 ? lane_sum(s, width, 0, 0.0f, lanes) * inv_n : 0.0f;
	float v = kind ? lane_sum(s, width, 1, mean, lanes) * inv_n + eps : 1.0f;
	float r = num_rsqrt_1(v);
	int bad = !(v < NUM_NORM_MAX);

	for (int g = l; g < (width + 31) / 32; g += n_items) {
		const struct group in = load_group_or(s, g, width, mean), was = load_group(d, g, width);
		struct group x;
		float16 y[2];

		for (int i = 0; i < 2; i++)
			y[i] = in.v[i];
		if (kind)
			norm_group(y, g, width, mean, r, weight, bias, kind == 2, has_bias);
		x.v[0] = y[0];
		x.v[1] = y[1];
		bad |= not_finite(amax_of(x));
		for (int i = 0; i < 2; i++)
			x.v[i] = add ? was.v[i] + y[i] * scale : y[i] * scale;
		store_group(x, d, g, width);
	}
	return bad;
}

/* Group @g of x, scaled, and capped where there is a cap. */
INLINED void cap_one(__global float *x, int g, int width, float scale, float cap, float inv_cap)
{
	const struct group in = load_group(x, g, width);
	struct group y;

	for (int i = 0; i < 2; i++) {
		float16 v = in.v[i] * scale;

		y.v[i] = cap != 0.0f ? num_cap_16(v, cap, inv_cap) : v;
	}
	store_group(y, x, g, width);
}

#ifndef SHERD_WALK
/* A work-group a row: global (local size, rows). */
__kernel void norm(__global const float *src, int src_stride, int width, QUANT_ARGS, int step,
		   __global int *failed, NORM_ARGS)
{
	LANE_MEM float lanes[16];
	const int row = get_global_id(1);

	if (norm_row(src + (size_t)row * src_stride, row, width, get_local_id(0), get_local_size(0), lanes,
		     QUANT_PASS, NORM))
		fail_row(failed, step, row);
}

/* Parts stand side by side from column @col on, in both. A work-group a part: global (local size, parts, rows). */
__kernel void norm_to(__global const float *src, int src_stride, __global float *dst, int dst_stride,
		      int col, int weight_step, int step, __global int *failed, NORM_TO_ARGS)
{
	LANE_MEM float lanes[16];
	const int row = get_global_id(2), part = get_global_id(1), at = col + part * width;

	weight += part * weight_step;
	if (norm_part(src + (size_t)row * src_stride + at, dst + (size_t)row * dst_stride + at,
		      get_local_id(0), get_local_size(0), lanes, NORM_TO))
		fail_row(failed, step, row);
}

/* Global: (groups or fewer, rows). */
__kernel void cap(__global float *x, int stride, int width, float scale, float cap, float inv_cap)
{
	__global float *s = x + (size_t)get_global_id(1) * stride;

	EACH_GROUP(g, width)
		cap_one(s, g, width, scale, cap, inv_cap);
}

/* A group's scale as it travels, and the reciprocal of what arrives. */
INLINED ushort wire_scale(float amax, float *r)
{
	ushort h = amax >= NUM_TINY ? half_bits(amax * NUM_INV_127) : (ushort)0;
	float d = half_value(h);

	*r = d > 0.0f ? num_recip_1(d) : 0.0f;
	return h;
}

/* A group through the wire's format and back; @wire: enum sherd_wire. 1: it is not finite. */
INLINED int cut_group(struct group *x, int wire)
{
	float amax = amax_of(*x);
	int bad = not_finite(amax);

	if (wire == 0) {
		float r, d = half_value(wire_scale(amax, &r));

		for (int i = 0; i < 2; i++)
			x->v[i] = convert_float16(to_int8(x->v[i], r)) * d;
		return bad | not_finite(d);
	}
	for (int i = 0; wire == 1 && i < 2; i++) {
		float lane[16];

		vstore16(x->v[i], 0, lane);
		for (int l = 0; l < 16; l++) {
			lane[l] = half_value(half_bits(lane[l]));
			bad |= not_finite(lane[l]);
		}
		x->v[i] = vload16(0, lane);
	}
	return bad;
}

/* @wire: a row's, 255 for one that is not cut. Global: (groups or fewer, rows). */
__kernel void cut(__global float *src, int src_stride, int width, __global const uchar *wire,
		  int step, __global int *failed)
{
	const int row = get_global_id(1);
	__global float *s = src + (size_t)row * src_stride;
	int bad = 0;

	if (wire[row] == 255)
		return;
	EACH_GROUP(g, width) {
		/* a copy: of x itself compilers make a noalias scope, which Oclgrind does not know */
		const struct group in = load_group(s, g, width);
		struct group x = { { in.v[0], in.v[1] } };

		bad |= cut_group(&x, wire[row]);
		store_group(x, s, g, width);
	}
	if (bad)
		fail_row(failed, step, row);
}

/* Columns [32 g, 32 g + 32) of a row as it travels; see infer/wire.c. 1: the wire does not hold them. */
INLINED int wire_group(struct group x, int g, int width, int wire, __global uchar *out)
{
	__global ushort *halves = (__global ushort *)out;
	float lane[32], amax = amax_of(x), r;
	int bad = not_finite(amax);

	if (wire == 0) {
		ushort h = wire_scale(amax, &r);

		vstore16(convert_char16(to_int8(x.v[0], r)), 2 * g, (__global char *)out);
		vstore16(convert_char16(to_int8(x.v[1], r)), 2 * g + 1, (__global char *)out);
		halves[(width + 31) / 32 * 16 + g] = h;
		return bad | not_finite(half_value(h));
	}
	if (wire == 2) {
		store_group(x, (__global float *)out, g, width);
		return bad;
	}
	vstore16(x.v[0], 0, lane);
	vstore16(x.v[1], 1, lane);
	for (int i = 0; i < 32 && 32 * g + i < width; i++) {
		ushort h = half_bits(lane[i]);

		halves[32 * g + i] = h;
		bad |= not_finite(half_value(h));
	}
	return bad;
}

/*
 * Rows [first, ...) of src as they travel, from byte @at of @out on, a row @row_bytes: 2 divides both, for floats 4.
 * Global: (groups or fewer, rows).
 */
__kernel void wire(__global const float *src, int src_stride, int width, int first, int format,
		   __global uchar *out, uint at, int row_bytes, int step, __global int *failed)
{
	const int row = first + get_global_id(1);
	__global uchar *to = out + at + (size_t)get_global_id(1) * row_bytes;
	int bad = 0;

	EACH_GROUP(g, width)
		bad |= wire_group(load_group(src + (size_t)row * src_stride, g, width), g, width, format, to);
	if (bad)
		fail_row(failed, step, row);
}

/* Row i of X becomes row wanted[i]; they rise, and a work-item keeps its columns: global (groups). */
__kernel void gather(__global float *x, int stride, int width, __global const int *wanted, int n)
{
	const int c = get_global_id(0) * 32;

	for (int i = 0; i < n; i++)
		for (int k = c; k < min(c + 32, width); k++)
			x[(size_t)i * stride + k] = x[(size_t)wanted[i] * stride + k];
}

/* A matrix in the packed layout as embed reads it; elem and planes: enum sherd_elem. */
struct table {
	int elem, group, scale, min;
};

INLINED float plane_get(__global const uchar *plane, int elem, size_t i)
{
	return elem == 4 ? ((__global const float *)plane)[i] :
			   vload_half(i, (__global const half *)plane);
}

/* Columns [32 g, 32 g + 32) of a row, from the tile that holds them. */
INLINED void table_group(float x[32], struct table t, __global const uchar *values,
			 __global const uchar *scales, __global const uchar *mins, int row, int g,
			 int n_groups)
{
	const size_t tile = (size_t)(row / 16) * n_groups + g;
	const int r = row % 16;

	if (t.elem > 1) {
		for (int c = 0; c < 32; c++) {
			size_t i = (tile * 32 + c) * 16 + r;
			ushort h = t.elem == 3 ? ((__global const ushort *)values)[i] : 0;

			x[c] = t.elem == 3 ? as_float((uint)h << 16) : plane_get(values, t.elem, i);
		}
		return;
	}
	for (int c = 0; c < 32; c++) {
		const int per = 32 / t.group;
		size_t i = (tile * per + c / t.group) * 16 + r;
		float d = plane_get(scales, t.scale, i);
		int q;

		if (t.elem == 0)
			q = (values[tile * 256 + (c / 8) * 64 + r * 4 + c % 4] >> (c & 4)) & 15;
		else
			q = values[tile * 512 + (c / 4) * 64 + r * 4 + c % 4];
		if (t.min == 255)
			x[c] = d * (float)(q - (t.elem == 0 ? 8 : 128));
		else
			x[c] = d * (float)q - plane_get(mins, t.min, i);
	}
}

/* X = scale * table[token] (+ bias) (+ positions[pos]). Global: (groups or fewer, rows). */
__kernel void embed(__global float *dst, int stride, int width, __global const int *tokens,
		    int4 format, __global const uchar *values, __global const uchar *scales,
		    __global const uchar *mins, __global const int *pos, int4 pos_format,
		    __global const uchar *pos_values, __global const uchar *pos_scales,
		    __global const uchar *pos_mins, int has_positions, float scale,
		    __global const float *bias, int has_bias)
{
	const int row = get_global_id(1), n_groups = (width + 31) / 32;
	struct table t = { format.x, format.y, format.z, format.w };
	struct table p = { pos_format.x, pos_format.y, pos_format.z, pos_format.w };

	EACH_GROUP(g, width) {
		float x[32], y[32];

		table_group(x, t, values, scales, mins, tokens[row], g, n_groups);
		if (has_positions)
			table_group(y, p, pos_values, pos_scales, pos_mins, pos[row], g, n_groups);
		for (int i = 0; i < 32 && 32 * g + i < width; i++) {
			float v = x[i] * scale;

			v = has_bias ? v + bias[32 * g + i] : v;
			dst[(size_t)row * stride + 32 * g + i] = has_positions ? v + y[i] : v;
		}
	}
}
#endif
