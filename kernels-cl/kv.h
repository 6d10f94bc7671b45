/* SPDX-License-Identifier: MIT */
/*
 * kv.h: the KV cache's pages as kernels see them; runtime/infer/kv.h says how they are laid out.
 * Compiled with -DHEAD_DIM= and -DKV=0 (half), 1 (int8) or 2 (float), the numbers of enum sherd_kv_type.
 */
#ifndef SHERD_KV_CL_H
#define SHERD_KV_CL_H

#include "common.h"

#define PAGE	 64 /* positions: SHERD_PAGE */
#define DIM_VECS ((HEAD_DIM + LANES - 1) / LANES)
#define DIM_PAD	 (DIM_VECS * LANES)

#if KV == 0
typedef ushort kv_t;
#define LOAD_KV(p) load_half(p)
#elif KV == 1
typedef char kv_t;
#if LANES == 16
#define LOAD_KV(p) convert_float16(vload16(0, p))
#else
#define LOAD_KV(p) ((float)*(p))
#endif
#else
typedef float kv_t;
#define LOAD_KV(p) LOAD_FLOATS(p)
#endif

/* Where a session's pages are; what is the same for a whole launch. */
struct cache {
	__global uchar *pool;
	__global const int *pages; /* the session's table */
	ulong page_bytes, offset; /* of the layer in a page */
	uint side_bytes; /* of K, or of V, of one head */
};

#define CACHE_ARGS                                                                                \
	__global uchar *pool, __global const int *pages, int pages_stride,                        \
		__global const int *item, __global const int *pos, ulong page_bytes,              \
		ulong layer_offset, uint side_bytes
#define CACHE_PASS \
	pool, pages, pages_stride, item, pos, page_bytes, layer_offset, side_bytes

INLINED __global kv_t *k_of(const struct cache *c, int page, int head)
{
	return (__global kv_t *)(c->pool + (ulong)c->pages[page] * c->page_bytes + c->offset +
				 (ulong)head * 2 * c->side_bytes);
}

INLINED __global kv_t *v_of(const struct cache *c, int page, int head)
{
	return (__global kv_t *)((__global uchar *)k_of(c, page, head) + c->side_bytes);
}

/* The scales behind a head's K or V. */
INLINED __global float *scales_of(__global kv_t *side)
{
	return (__global float *)(side + HEAD_DIM * PAGE);
}

#endif
