/* SPDX-License-Identifier: MIT */
/*
 * limits.cl: what a device can do at best, for `sherd bench` to hold results against: reads, integer
 * dot products through dot4.h, fused multiply-adds, launches. Nothing here computes anything.
 *
 * Twelve independent accumulators hide the latency of one; inputs change with every round, so that no
 * compiler can take the work out of the loop.
 */
#include "common.h"

#define REP12(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)

__kernel void limit_empty(__global uint *out)
{
	if (get_global_size(0) == 0)
		out[0] = 0;
}

/* A result that nobody reads keeps the compiler from leaving the work out. */
#if LANES == 16
#define STORE_LANES(x, to) vstore16(x, get_global_id(0), to)
#else
#define STORE_LANES(x, to) (to)[get_global_id(0)] = (x)
#endif

/* x: [lines] lines of 64 bytes. */
#if LANES == 16
static inline uint fold(uint16 a)
{
	uint8 b = a.lo ^ a.hi;
	uint4 c = b.lo ^ b.hi;

	return c.s0 ^ c.s1 ^ c.s2 ^ c.s3;
}

/* A run of lines a work-item, read at @STREAMS places of the run at once. */
#define READ(NAME, STREAMS)                                                                       \
	__kernel void NAME(__global const uint16 *x, __global uint *out, uint lines)              \
	{                                                                                         \
		uint n = lines / get_global_size(0) / STREAMS;                                    \
		__global const uint16 *p = x + (size_t)get_global_id(0) * n * STREAMS;            \
		uint16 a = 0, b = 0, c = 0, d = 0;                                                \
                                                                                                  \
		for (uint i = 0; i + 4 <= n; i += 4)                                              \
			for (uint s = 0; s < STREAMS; s++) {                                      \
				__global const uint16 *q = p + (size_t)s * n + i;                 \
                                                                                                  \
				prefetch_far(&q[64]);                                             \
				prefetch_far(&q[65]);                                             \
				prefetch_far(&q[66]);                                             \
				prefetch_far(&q[67]);                                             \
				a ^= q[0];                                                        \
				b ^= q[1];                                                        \
				c ^= q[2];                                                        \
				d ^= q[3];                                                        \
			}                                                                         \
		out[get_global_id(0)] = fold(a ^ b ^ c ^ d);                                      \
	}
READ(limit_read_1, 1)
READ(limit_read_4, 4)
#else
/* Neighbouring work-items read neighbouring 16 bytes, @STREAMS of them before the next round. */
#define READ(NAME, STREAMS)                                                                       \
	__kernel void NAME(__global const uint4 *x, __global uint *out, uint lines)               \
	{                                                                                         \
		size_t step = get_global_size(0), n = (size_t)lines * 4;                          \
		uint4 a = 0;                                                                      \
                                                                                                  \
		for (size_t i = get_global_id(0); i + (STREAMS - 1) * step < n; i += STREAMS * step) \
			for (uint s = 0; s < STREAMS; s++)                                        \
				a ^= x[i + s * step];                                             \
		out[get_global_id(0)] = a.s0 ^ a.s1 ^ a.s2 ^ a.s3;                                \
	}
READ(limit_read_1, 1)
READ(limit_read_4, 4)
#endif

/* 12 * LANES * 4 multiply-adds a round. */
__kernel void limit_dot(__global int *out, uint rounds)
{
#define DECLARE(K)                                                \
	VI a##K = (VI)((int)get_global_id(0) + K);                \
	VU w##K = (VU)(0x01020304u * (K + 1) + (uint)get_global_id(0));
	REP12(DECLARE)
#undef DECLARE
	for (uint i = 0; i < rounds; i++) {
#define ROUND(K) a##K = dot4(a##K, w##K, (int)(i * 0x01010101u));
		REP12(ROUND)
#undef ROUND
	}
	VI sum = 0;
#define ADD(K) sum += a##K;
	REP12(ADD)
#undef ADD
	STORE_LANES(sum, out);
}

/* 12 * LANES fused multiply-adds a round. */
__kernel void limit_fma(__global float *out, uint rounds, float m)
{
#define DECLARE(K) VF a##K = (VF)((float)get_global_id(0) + K);
	REP12(DECLARE)
#undef DECLARE
	for (uint i = 0; i < rounds; i++) {
#define ROUND(K) a##K = fma(a##K, (VF)(m), (VF)(m));
		REP12(ROUND)
#undef ROUND
	}
	VF sum = 0;
#define ADD(K) sum += a##K;
	REP12(ADD)
#undef ADD
	STORE_LANES(sum, out);
}

#ifdef DOT_TILE
/*
 * 16 * 16 * GROUP multiply-adds a round, with the loads and the store that a group's sum needs: they
 * hide behind the product (measured: 92 % of the rate without them).
 */
__kernel void limit_tile(__global int *out, uint rounds)
{
	uint x[16 * GROUP / 4] __attribute__((aligned(64)));
	uint w[16 * GROUP / 4] __attribute__((aligned(64)));
	int c[256] __attribute__((aligned(64)));

	for (uint i = 0; i < 16 * GROUP / 4; i++)
		x[i] = w[i] = 0x01020304u * i + (uint)get_global_id(0);
	tile_begin();
	for (uint i = 0; i < rounds; i++)
		TILE_DOT(c, x, GROUP, w);
	tile_end();
	out[get_global_id(0)] = c[get_global_id(0) % 256];
}
#endif
