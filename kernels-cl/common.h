/* SPDX-License-Identifier: MIT */
/* common.h: the types that kernels share with the host (infer/act.h) and the lane rule. */
#ifndef SHERD_COMMON_H
#define SHERD_COMMON_H

#include "num.h"
#include "dot4.h"

#define CHUNK 256

/* A group of 32 quantized activations: scale, scale * sum, -8 * sum, -128 * sum. */
struct act_group {
	float d, ds;
	int n4, n8;
};

#define INLINED static inline __attribute__((always_inline))

/* The same for its two halves of 16, for weights with groups of 16. */
struct act_half {
	float ds[2];
	int n8[2];
};

#if LANES == 16
#define LOAD_FLOATS(p) vload16(0, p)
#else
#define LOAD_FLOATS(p) (*(p))
#endif

/*
 * A matmul of experts (-DEXPERTS): W is a stack of them, each of @rows rows padded to whole row blocks, and
 * get_global_id(1) is a run {first slot, slot behind the last, expert} of the rows that meet one of them (see
 * experts.cl); a run may be empty. @alone: all slots have one row of activations. Without it there is one matrix,
 * which all rows meet.
 */
#ifdef EXPERTS
#define RUN_ARGS , __global const int4 *runs, int alone
#define RUN_ROWS   (runs[get_global_id(1)].y - runs[get_global_id(1)].x)
#define RUN_SLOT   ((size_t)runs[get_global_id(1)].x)
#define RUN_INPUT  (alone ? 0 : RUN_SLOT)
#define RUN_BLOCK(rows) ((size_t)runs[get_global_id(1)].z * (((rows) + 15) / 16))
#endif

/* How a matmul ends: flags of its kernels. */
#define RESIDUAL 1 /* dst += */
#define BIAS	 2

/* Sixteen rows (wide) or one (SIMT) of a result, fewer where W ends. */
INLINED void store_lanes(__global float *dst, VF y, __global const float *bias, int row, int rows,
			 int flags)
{
#if LANES == 16
	if (row + 16 <= rows) {
		if (flags & BIAS)
			y = y + vload16(0, bias + row);
		if (flags & RESIDUAL)
			y = vload16(0, dst + row) + y;
		vstore16(y, 0, dst + row);
		return;
	}
	float lane[16];

	vstore16(y, 0, lane);
	for (int i = 0; row + i < rows; i++) {
		float v = lane[i];

		if (flags & BIAS)
			v = v + bias[row + i];
		dst[row + i] = flags & RESIDUAL ? dst[row + i] + v : v;
	}
#else
	if (row >= rows)
		return;
	if (flags & BIAS)
		y = y + bias[row];
	dst[row] = flags & RESIDUAL ? dst[row] + y : y;
#endif
}

/*
 * The first NaN, infinite or too large value of a run is kept: failed[0] is the step's number + 1,
 * failed[1] the row. What follows computes nonsense that nobody reads.
 */
INLINED void fail_row(__global int *failed, int step, int row)
{
	if (atomic_cmpxchg((volatile __global int *)failed, 0, step + 1) == 0)
		failed[1] = row;
}

INLINED float half_value(ushort h)
{
	return vload_half(0, (const __private half *)&h);
}

INLINED int not_finite(float x)
{
	return (as_int(x) & 0x7f800000) == 0x7f800000;
}

#endif
