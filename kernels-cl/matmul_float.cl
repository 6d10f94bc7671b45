/* SPDX-License-Identifier: MIT */
/*
 * matmul_float.cl: dst = W a for float weights in the packed layout. Compiled once an element type:
 * -DELEM=2 (half), 3 (bfloat16), 4 (float), the numbers of enum sherd_elem; -DEXPERTS: W is a stack of
 * experts (common.h).
 *
 * A row's sum is one chain of fma in column order within chunks of 256 columns; chunks are added in
 * column order. Wide shape: a work-item a row block; SIMT shape: a row.
 */
#include "common.h"

#if ELEM == 4
typedef float elem_t;
#define LOAD_ELEM(p) LOAD_FLOATS(p)
#else
typedef ushort elem_t;
#if ELEM == 2
#define LOAD_ELEM(p) load_half(p)
#elif LANES == 16
#define LOAD_ELEM(p) as_float16(convert_uint16(vload16(0, p)) << 16)
#else
#define LOAD_ELEM(p) as_float((uint)*(p) << 16)
#endif
#endif
#define MAX_T 8

#define MATMUL_ARGS                                                                               \
	__global const elem_t *values, __global const float *a, __global const float *bias,       \
		__global float *dst, int rows, int cols, int n, int a_stride, int dst_stride,     \
		int dst_col, int flags

INLINED void matmul(const int T, MATMUL_ARGS)
{
	const int id = get_global_id(0);
	const int row = LANES == 16 ? id * 16 : id;

	if (row >= rows)
		return;
	values += (size_t)(row / 16) * ((cols + 31) / 32 * 32) * 16 + row % 16;
	for (int t0 = 0; t0 < n; t0 += T) {
		__global const float *x[MAX_T];
		VF total[MAX_T];

#pragma unroll
		for (int t = 0; t < T; t++) {
			x[t] = a + (size_t)min(t0 + t, n - 1) * a_stride;
			total[t] = (VF)(0.0f);
		}
		for (int c0 = 0; c0 < cols; c0 += CHUNK) {
			const int end = min(c0 + CHUNK, cols);
			VF acc[MAX_T];

#pragma unroll
			for (int t = 0; t < T; t++)
				acc[t] = (VF)(0.0f);
			for (int c = c0; c < end; c++) {
				VF w = LOAD_ELEM(values + (size_t)c * 16);

				prefetch_far(values + (size_t)c * 16 + 2048);
#pragma unroll
				for (int t = 0; t < T; t++)
					acc[t] = fma(w, (VF)x[t][c], acc[t]);
			}
#pragma unroll
			for (int t = 0; t < T; t++)
				total[t] = total[t] + acc[t];
		}
#pragma unroll
		for (int t = 0; t < T; t++)
			if (t0 + t < n)
				store_lanes(dst + (size_t)(t0 + t) * dst_stride + dst_col, total[t],
					    bias, row, rows, flags);
	}
}

#ifdef EXPERTS
/* The operands and results of a run. */
#define TAKE_RUN                                                      \
	values += RUN_BLOCK(rows) * ((cols + 31) / 32 * 32) * 16;     \
	a += RUN_INPUT * a_stride;                                    \
	dst += RUN_SLOT * dst_stride;                                 \
	n = RUN_ROWS;                                                 \
	if (n <= 0)                                                   \
		return;
#else
#define RUN_ARGS
#define TAKE_RUN
#endif

#define MATMUL_KERNEL(T)                                                                          \
	__kernel void matmul_##T(MATMUL_ARGS RUN_ARGS)                                            \
	{                                                                                         \
		TAKE_RUN                                                                          \
		matmul(T, values, a, bias, dst, rows, cols, n, a_stride, dst_stride, dst_col,     \
		       flags);                                                                    \
	}

MATMUL_KERNEL(1)
MATMUL_KERNEL(4)
MATMUL_KERNEL(8)
