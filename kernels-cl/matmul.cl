/* SPDX-License-Identifier: MIT */
/*
 * matmul.cl: dst = W a for integer weights in the packed layout and quantized activations. Compiled
 * once a format: -DBITS=4|8 -DGROUP=16|32 -DSCALE_F32=0|1 -DMIN=0 (none), 1 (half) or 2 (float); -DEXPERTS: W is
 * a stack of experts (common.h).
 *
 * Wide shape: a work-item is a row block (16 rows, a lane each), for T tokens at a time; matmul_tile takes
 * TILE_RB row blocks, with dot4() or a matrix unit. SIMT shape: a work-item is a row, and where the launch has
 * a second dimension, every so many of the tokens.
 *
 * AHEAD, TILE_RB, TILE_PAIR and TILE_TOKENS may be given, too: `sherd tune` measures what suits a device.
 *
 * All give the same bits: int32 dot products within a group are exact in any order, groups are
 * added by fma in column order within chunks of 256 columns, chunks in column order.
 */
#include "group.h"

#define GROUPS_PER_CHUNK (CHUNK / 32) /* activation groups, whatever GROUP is */
#define PARTS		 (32 / GROUP) /* weight groups in an activation group */
#define LINES		 BITS /* 64-byte lines a tile: 4 or 8 */
#define PART_DOTS	 (8 / PARTS)

#if SCALE_F32
typedef float scale_t;
#define LOAD_SCALE(p) LOAD_FLOATS(p)
#else
typedef ushort scale_t;
#define LOAD_SCALE(p) load_half(p)
#endif
#if MIN == 2
typedef float min_t;
#define LOAD_MIN(p) LOAD_FLOATS(p)
#else
typedef ushort min_t;
#define LOAD_MIN(p) load_half(p)
#endif
#if MIN
#define MINS_AT(p, i) ((p) + (i))
#else
#define MINS_AT(p, i) (p)
#endif
#if LANES == 16
#define LOAD_LINE(p)   (*(__global const uint16 *)(p))
#else
#define LOAD_LINE(p)   (*(p))
#endif
#ifndef AHEAD
#define AHEAD	 1024 /* words: 4 KiB */
#endif

/* What a dot product starts from so that it ends as sum((u - zero) * x). */
static inline int dot_start(__global const struct act_group *g, __global const struct act_half *h,
			    int part)
{
#if MIN == 0 && BITS == 4 && GROUP == 32
	return g->n4;
#elif MIN == 0 && BITS == 4
	return h->n8[part] >> 4;
#elif (MIN == 0 && !DOT4_SIGNED) || (MIN != 0 && DOT4_SIGNED && BITS == 8)
	int n8 = GROUP == 32 ? g->n8 : h->n8[part];

	return MIN == 0 ? n8 : -n8;
#else
	return 0;
#endif
}

/* scale * sum of the activations that a weight group meets: what a minimum is multiplied with. */
static inline float part_sum(__global const struct act_group *g, __global const struct act_half *h,
			     int part)
{
	return GROUP == 32 ? g->ds : h->ds[part];
}

/* The 8 words of a tile, one column quad each; @p points at this lane's first word. */
static inline void load_tile(VU w[8], __global const uint *p)
{
#pragma unroll
	for (int l = 0; l < LINES; l++) {
		VU line = LOAD_LINE(p + 16 * l);

#if BITS == 4
		w[2 * l] = line & 0x0f0f0f0fu;
		w[2 * l + 1] = (line >> 4) & 0x0f0f0f0fu;
#else
		w[l] = DOT4_SIGNED ? line ^ 0x80808080u : line;
#endif
	}
}

#if GROUP == 16
#define HALVES(h, i) ((h) + (i))
#else
#define HALVES(h, i) (h)
#endif
#define MAX_T	 8

/* What T tokens bring: pointers to their rows of activations. T is a constant after inlining. */
struct tokens {
	__global const int *q[MAX_T]; /* 4 activations a word */
	__global const struct act_group *groups[MAX_T];
	__global const struct act_half *halves[MAX_T];
};

/* Adds one tile, 16 rows x 32 columns, to the sums of T tokens. */
INLINED void add_tile(const int T, VF acc[MAX_T], __global const uint *tile,
		      __global const scale_t *scale, __global const min_t *minimum,
		      const struct tokens *in, int g)
{
	VU w[8];

	load_tile(w, tile);
#pragma unroll
	for (int part = 0; part < PARTS; part++) {
		VF dw = LOAD_SCALE(scale + part * 16);
		VI dot[MAX_T];

#pragma unroll
		for (int t = 0; t < T; t++)
			dot[t] = (VI)dot_start(in->groups[t] + g, HALVES(in->halves[t], g), part);
#pragma unroll
		for (int l = part * PART_DOTS; l < (part + 1) * PART_DOTS; l++)
#pragma unroll
			for (int t = 0; t < T; t++)
				dot[t] = dot4(dot[t], w[l], in->q[t][g * 8 + l]);
#pragma unroll
		for (int t = 0; t < T; t++)
			acc[t] = fma(VF_OF_VI(dot[t]), dw * in->groups[t][g].d, acc[t]);
#if MIN
		VF mw = -LOAD_MIN(minimum + part * 16);

#pragma unroll
		for (int t = 0; t < T; t++)
			acc[t] = fma(mw, (VF)part_sum(in->groups[t] + g, HALVES(in->halves[t], g), part),
				     acc[t]);
#endif
	}
}

/* W, and the activations that meet it. */
#define OPERAND_ARGS                                                                              \
	__global const uint *values, __global const scale_t *scales, __global const min_t *mins,  \
		__global const int *q, __global const struct act_group *groups,                   \
		__global const struct act_half *halves, int rows, int n_groups, int n
#define OPERANDS values, scales, mins, q, groups, halves, rows, n_groups, n
#define RESULT_ARGS \
	__global const float *bias, __global float *dst, int dst_stride, int dst_col, int flags
#define RESULT bias, dst, dst_stride, dst_col, flags

/*
 * Sums of a row block (wide) or a row (SIMT) for T tokens from @t0. The last tokens are computed more
 * than once where n is no multiple of T.
 */
INLINED void row_sums(const int T, VF total[MAX_T], int row, int t0, OPERAND_ARGS)
{
	const size_t first = (size_t)(row / 16) * n_groups;
	struct tokens in;

	values += first * (LINES * 16) + row % 16;
	scales += first * (PARTS * 16) + row % 16;
	mins = MINS_AT(mins, first * (PARTS * 16) + row % 16);
#pragma unroll
	for (int t = 0; t < T; t++) {
		size_t token = min(t0 + t, n - 1);

		in.q[t] = q + token * n_groups * 8;
		in.groups[t] = groups + token * n_groups;
		in.halves[t] = HALVES(halves, token * n_groups);
		total[t] = (VF)(0.0f);
	}
	for (int c = 0; c < n_groups; c += GROUPS_PER_CHUNK) {
		VF acc[MAX_T];

#pragma unroll
		for (int t = 0; t < T; t++)
			acc[t] = (VF)(0.0f);
		for (int g = c; g < min(c + GROUPS_PER_CHUNK, n_groups); g++) {
			__global const uint *tile = values + (size_t)g * (LINES * 16);
			const size_t part = (size_t)g * (PARTS * 16);

			if (T == 1) {
#pragma unroll
				for (int l = 0; l < LINES; l++)
					prefetch_far(tile + AHEAD + 16 * l);
			}
			add_tile(T, acc, tile, scales + part, MINS_AT(mins, part), &in, g);
		}
#pragma unroll
		for (int t = 0; t < T; t++)
			total[t] = total[t] + acc[t];
	}
}

/* The row block or the row of work-item @id, for every @n_shares-th T tokens from the @share-th on. */
INLINED void matmul(const int T, int id, int share, int n_shares, OPERAND_ARGS, RESULT_ARGS)
{
	const int row = LANES == 16 ? id * 16 : id;
	VF total[MAX_T];

	if (row >= rows)
		return;
	for (int t0 = T * share; t0 < n; t0 += T * n_shares) {
		row_sums(T, total, row, t0, OPERANDS);
#pragma unroll
		for (int t = 0; t < T; t++)
			if (t0 + t < n)
				store_lanes(dst + (size_t)(t0 + t) * dst_stride + dst_col, total[t], bias, row,
					    rows, flags);
	}
}

#ifndef SHERD_WALK
#ifdef EXPERTS
/* The operands and results of a run. */
#define TAKE_RUN                                                             \
	const size_t tiles = RUN_BLOCK(rows) * n_groups, in = RUN_INPUT * n_groups; \
                                                                             \
	values += tiles * (LINES * 16);                                      \
	scales += tiles * (PARTS * 16);                                      \
	mins = MINS_AT(mins, tiles * (PARTS * 16));                          \
	q += in * 8;                                                         \
	groups += in;                                                        \
	halves = HALVES(halves, in);                                         \
	dst += RUN_SLOT * dst_stride;                                        \
	n = RUN_ROWS;                                                        \
	if (n <= 0)                                                          \
		return;
#else
#define RUN_ARGS
#define TAKE_RUN
#endif

#if LANES == 16 || defined(EXPERTS)
#define SHARE 0, 1
#else
#define SHARE get_global_id(1), get_global_size(1)
#endif
#define MATMUL_KERNEL(T)                                                                          \
	__kernel void matmul_##T(OPERAND_ARGS, RESULT_ARGS RUN_ARGS)                              \
	{                                                                                         \
		TAKE_RUN                                                                          \
		matmul(T, get_global_id(0), SHARE, OPERANDS, RESULT);                             \
	}

MATMUL_KERNEL(1)
MATMUL_KERNEL(4)
MATMUL_KERNEL(8)

#if LANES == 16
/*
 * The feed-forward network's first half in one kernel: W is the gate's rows, then as many of "up"; a
 * work-item has two row blocks of each, and makes groups of act(gate) * up, quantized. No bias. For a
 * single token two launches are faster: W is read in one stream.
 */
#define GATED_ARGS int act, QUANT_ARGS, int step, __global int *failed
#define GATED	   act, QUANT_PASS, step, failed

/* Row block @i of 4 of group @g. */
INLINED int gated_block(int i, int g, int rows)
{
	return i < 2 ? 2 * g + i : rows / 32 + 2 * g + i - 2;
}

INLINED int put_gated(float16 y[4], int token, int g, int rows, int act, QUANT_ARGS)
{
	struct group x;

	x.v[0] = activation(act, y[0]) * y[2];
	x.v[1] = activation(act, y[1]) * y[3];
	return put_group(x, token, g, rows / 2, QUANT_PASS);
}

#ifndef TILE_RB
#define TILE_RB	   4 /* row blocks that share a read of the activations */
#endif
#define GATED_RB   4 /* the same of matmul_gated: two of the gate's, two of "up"'s */
#define TILE_ROOM  (TILE_RB > GATED_RB ? TILE_RB : GATED_RB)
#define TILE_BLOCK 256 /* tokens whose sums are kept on the stack */
#define TILE_SUMS  (TILE_BLOCK + 16) /* the last tile may go beyond */

/*
 * A chunk of one row block, unpacked once for TILE_BLOCK tokens. A matrix unit takes bytes whose zero is
 * taken off where there are no minima; dot4() takes them as they are, and 8-bit ones of these are not unpacked.
 */
#if BITS == 8 && !DOT4_SIGNED && !defined(DOT_TILE) && !MIN
#define AS_IT_IS
struct ready {
	__global const uint *w;
	__global const scale_t *scale;
};
#define READY_WORDS(r, g, l)    LOAD_LINE((r).w + (g) * (LINES * 16) + 16 * (l))
#define READY_SCALE(r, g, part) LOAD_SCALE((r).scale + ((g) * PARTS + (part)) * 16)
#else
#define READY_WORDS(r, g, l)    (r).w[g][l]
#define READY_SCALE(r, g, part) (r).scale[g][part]
struct ready {
	uint16 w[GROUPS_PER_CHUNK][8];
	float16 scale[GROUPS_PER_CHUNK][PARTS];
#if MIN
	float16 min[GROUPS_PER_CHUNK][PARTS];
#endif
};
#endif

#if defined(DOT_TILE) && !MIN && BITS == 4
#define READY(w) ((((w) ^ 0x80808080u) - 0x08080808u) ^ 0x80808080u)
#elif defined(DOT_TILE) && !MIN
#define READY(w) ((w) ^ 0x80808080u)
#else
#define READY(w) (w)
#endif

INLINED void make_ready(struct ready *r, int n, __global const uint *tile,
			__global const scale_t *scale, __global const min_t *minimum)
{
#ifdef AS_IT_IS
	r->w = tile;
	r->scale = scale;
#else
	for (int g = 0; g < n; g++) {
		uint16 w[8];

		load_tile(w, tile + g * (LINES * 16));
#pragma unroll
		for (int l = 0; l < 8; l++)
			r->w[g][l] = READY(w[l]);
#pragma unroll
		for (int p = 0; p < PARTS; p++) {
			r->scale[g][p] = LOAD_SCALE(scale + (g * PARTS + p) * 16);
#if MIN
			r->min[g][p] = -LOAD_MIN(minimum + (g * PARTS + p) * 16);
#endif
		}
	}
#endif
}

/* What is multiplied next, of one row block; near: it has come from memory already. */
struct coming {
	__global const uint *tile;
	__global const scale_t *scale;
	int near;
};

#ifdef DOT_TILE
#undef TILE_TOKENS
#undef TILE_PAIR
#define TILE_TOKENS 16
#define TILE_PAIR   1
#define TILE_READY  TILE_RB
/* Where the unit is: groups (or halves) of one row block after the other. */
struct tile_at {
	int block, part;
};

/*
 * Adds a chunk's sums of 16 tokens to total [TILE_RB][...]. The unit works RING - 1 products ahead of the
 * additions: what it stored must have left the store buffer before it is loaded, and waiting for that at
 * once cost a tenth of the time.
 */
#define RING 4

INLINED struct tile_at tile_ahead(int16 dot[RING][16], int slot, struct tile_at at,
				  const struct ready *r, int n_blocks, int n_parts,
				  __global const int *q, int q_stride)
{
	if (at.block < n_blocks) {
		TILE_DOT(dot[slot % RING], q + at.part * PART_DOTS, q_stride,
			 (const uint16 *)r[at.block].w + at.part * PART_DOTS);
		if (++at.part == n_parts) {
			at.part = 0;
			at.block++;
		}
	}
	return at;
}

INLINED void add_chunk_tiles(float16 (*total)[TILE_SUMS], const struct ready *r, int n_blocks,
			     int n, __global const int *q, __global const struct act_group *groups,
			     __global const struct act_half *halves, int stride,
			     const struct coming *next)
{
	const int n_parts = n * PARTS, q_stride = stride * 32;
	int16 dot[RING][16];
	struct tile_at at = { 0, 0 };
	int slot = 0;

	for (; slot < RING - 1; slot++)
		at = tile_ahead(dot, slot, at, r, n_blocks, n_parts, q, q_stride);
	for (int i = 0; i < n_blocks; i++) {
		float16 acc[16];

#pragma unroll
		for (int t = 0; t < 16; t++)
			acc[t] = (float16)(0.0f);
		for (int p = 0; p < n_parts; p++, slot++) {
			const int16 *d = dot[(slot + 1) % RING];
			const int g = p / PARTS;

			at = tile_ahead(dot, slot, at, r, n_blocks, n_parts, q, q_stride);
#pragma unroll
			for (int t = 0; t < 16; t++) {
				acc[t] = fma(convert_float16(d[t]),
					     ((const float16 *)r[i].scale)[p] * groups[t * stride + g].d,
					     acc[t]);
#if MIN
				acc[t] = fma(((const float16 *)r[i].min)[p],
					     (float16)part_sum(groups + t * stride + g,
							       HALVES(halves, t * stride + g),
							       p % PARTS),
					     acc[t]);
#endif
			}
		}
#pragma unroll
		for (int t = 0; t < 16; t++)
			total[i][t] = total[i][t] + acc[t];
	}
}
#else
#ifndef TILE_TOKENS
#define TILE_TOKENS 6
#endif
#ifndef TILE_PAIR
#define TILE_PAIR   2 /* row blocks at a time: 12 sums and 12 dot products fill AVX-512's registers */
#endif
#define TILE_READY  TILE_PAIR
#define tile_begin()
#define tile_end()

/* From memory, or from there into the first cache. */
INLINED void bring(const struct coming *next, int g)
{
#pragma unroll
	for (int i = 0; i < TILE_PAIR; i++) {
		__global const uint *tile = next[i].tile + g * (LINES * 16);
		__global const uint *scale = (__global const uint *)(next[i].scale + g * (PARTS * 16));

		if (next[i].near) {
#pragma unroll
			for (int l = 0; l < LINES; l++)
				prefetch_far(tile + 16 * l);
			prefetch_far(scale);
		} else {
#pragma unroll
			for (int l = 0; l < LINES; l++)
				prefetch_next(tile + 16 * l);
			prefetch_next(scale);
		}
	}
}

/* Adds one group of a pair of row blocks to the sums of TILE_TOKENS tokens. */
INLINED void add_ready(float16 acc[TILE_PAIR][TILE_TOKENS], const struct ready *r, int g,
		       __global const int *q, __global const struct act_group *groups,
		       __global const struct act_half *halves, int stride,
		       const struct coming *next)
{
	if (next)
		bring(next, g);
#pragma unroll
	for (int part = 0; part < PARTS; part++) {
		int16 dot[TILE_PAIR][TILE_TOKENS];

#pragma unroll
		for (int t = 0; t < TILE_TOKENS; t++)
#pragma unroll
			for (int i = 0; i < TILE_PAIR; i++)
				dot[i][t] = (int16)dot_start(groups + t * stride,
							     HALVES(halves, t * stride), part);
#pragma unroll
		for (int l = part * PART_DOTS; l < (part + 1) * PART_DOTS; l++)
#pragma unroll
			for (int t = 0; t < TILE_TOKENS; t++)
#pragma unroll
				for (int i = 0; i < TILE_PAIR; i++)
					dot[i][t] = dot4(dot[i][t], READY_WORDS(r[i], g, l), q[t * stride * 8 + l]);
#pragma unroll
		for (int t = 0; t < TILE_TOKENS; t++)
#pragma unroll
			for (int i = 0; i < TILE_PAIR; i++) {
				acc[i][t] = fma(convert_float16(dot[i][t]),
						READY_SCALE(r[i], g, part) * groups[t * stride].d, acc[i][t]);
#if MIN
				acc[i][t] = fma(r[i].min[g][part],
						(float16)part_sum(groups + t * stride,
								  HALVES(halves, t * stride), part),
						acc[i][t]);
#endif
			}
	}
}

/*
 * Adds a chunk's sums of TILE_TOKENS tokens to total [TILE_RB][...]. @next: tiles of each row block that come
 * from memory in the meantime; or NULL.
 */
INLINED void add_chunk_tiles(float16 (*total)[TILE_SUMS], const struct ready *r, int n_blocks,
			     int n, __global const int *q, __global const struct act_group *groups,
			     __global const struct act_half *halves, int stride,
			     const struct coming *next)
{
	for (int p = 0; p < n_blocks; p += TILE_PAIR) {
		float16 acc[TILE_PAIR][TILE_TOKENS];

#pragma unroll
		for (int t = 0; t < TILE_TOKENS; t++)
#pragma unroll
			for (int i = 0; i < TILE_PAIR; i++)
				acc[i][t] = (float16)(0.0f);
		for (int g = 0; g < n; g++)
			add_ready(acc, r + p, g, q + g * 8, groups + g, HALVES(halves, g), stride,
				  next ? next + p : 0);
#pragma unroll
		for (int t = 0; t < TILE_TOKENS; t++)
#pragma unroll
			for (int i = 0; i < TILE_PAIR; i++)
				total[p + i][t] = total[p + i][t] + acc[i][t];
	}
}
#endif

/*
 * Adds the chunk from group @c on. What is multiplied next - the next chunk, or @after's first - comes from
 * memory with the first tile of tokens, and into the first cache with the last.
 */
INLINED void sum_chunk(float16 (*total)[TILE_SUMS], const int *block, int n_blocks, const int *after,
		       int apart, int b, int tokens, int c, OPERAND_ARGS)
{
	const int m = min(GROUPS_PER_CHUNK, n_groups - c);
	struct ready ready[TILE_READY];
	struct coming next[TILE_READY];

	for (int i = 0; i < n_blocks; i++) {
		const size_t first = (size_t)block[i] * n_groups + c;
		const size_t then = c + m < n_groups ? first + m : (size_t)(after[i] + apart) * n_groups;

		make_ready(ready + i, m, values + first * (LINES * 16), scales + first * (PARTS * 16),
			   MINS_AT(mins, first * (PARTS * 16)));
		next[i].tile = values + then * (LINES * 16);
		next[i].scale = scales + then * (PARTS * 16);
		next[i].near = 0;
	}
	for (int t = 0; t < tokens; t += TILE_TOKENS) {
		const size_t at = (size_t)(b + t) * n_groups + c;

		add_chunk_tiles((float16(*)[TILE_SUMS])(total[0] + t), ready, n_blocks, m, q + at * 8,
				groups + at, HALVES(halves, at), n_groups,
				!t || t + TILE_TOKENS >= tokens ? next : 0);
		for (int i = 0; i < n_blocks; i++)
			next[i].near = 1;
	}
}

/*
 * Sums of row blocks @block, whole pairs of them, for tokens [b, b + tokens). Up to 15 rows of
 * activations behind the last are read, and ignored. The next work-item's blocks are @apart further on.
 */
INLINED void sum_tiles(float16 (*total)[TILE_SUMS], const int *block, int n_blocks, int apart, int b,
		       int tokens, OPERAND_ARGS)
{
	for (int i = 0; i < n_blocks; i++)
		for (int t = 0; t < tokens; t++)
			total[i][t] = (float16)(0.0f);
	/*
	 * Row blocks are read along their columns, as memory likes it. Where there is but one tile of tokens,
	 * a chunk later is too soon: then the pairs take turns.
	 */
	if (tokens <= TILE_TOKENS) {
		for (int c = 0; c < n_groups; c += GROUPS_PER_CHUNK)
			for (int i = 0; i < n_blocks; i += TILE_READY)
				sum_chunk(total + i, block + i, min(n_blocks - i, TILE_READY), block + i,
					  apart, b, tokens, c, OPERANDS);
		return;
	}
	for (int i = 0; i < n_blocks; i += TILE_READY) {
		const int last = i + TILE_READY >= n_blocks;

		for (int c = 0; c < n_groups; c += GROUPS_PER_CHUNK)
			sum_chunk(total + i, block + i, min(n_blocks - i, TILE_READY),
				  last ? block : block + i + TILE_READY, last ? apart : 0, b, tokens, c,
				  OPERANDS);
	}
}

INLINED void store_tiles(float16 (*total)[TILE_SUMS], const int *block, int n_blocks, int b,
			 int tokens, int rows, RESULT_ARGS)
{
	for (int t = 0; t < tokens; t++)
		for (int i = 0; i < n_blocks; i++)
			store_lanes(dst + (size_t)(b + t) * dst_stride + dst_col, total[i][t], bias,
				    block[i] * 16, rows, flags);
}

/* Returns @bad, or where that is -1 the first token whose products are refused, if any. */
INLINED int gate_tiles(float16 (*total)[TILE_SUMS], int g, int b, int tokens, int rows, int bad,
		       int act, QUANT_ARGS)
{
	for (int t = 0; t < tokens; t++) {
		float16 y[4] = { total[0][t], total[1][t], total[2][t], total[3][t] };

		if (put_gated(y, b + t, g, rows, act, QUANT_PASS) && bad < 0)
			bad = b + t;
	}
	return bad;
}

/* TILE_RB row blocks for all tokens; what a last pair lacks is its last one once more. */
INLINED void matmul_tiles(const int gated, OPERAND_ARGS, RESULT_ARGS, GATED_ARGS)
{
	const int id = get_global_id(0), last = (rows + 15) / 16 - 1;
	const int n_blocks = gated ? GATED_RB : min(last + 1 - id * TILE_RB, TILE_RB);
	const int n_pairs = (n_blocks + TILE_PAIR - 1) / TILE_PAIR;
	float16 total[TILE_ROOM][TILE_SUMS];
	int block[TILE_ROOM], bad = -1;

	if (n_blocks <= 0)
		return;
	for (int i = 0; i < (gated ? GATED_RB : TILE_RB); i++)
		block[i] = gated ? gated_block(i, id, rows) : min(id * TILE_RB + i, last);
	tile_begin();
	for (int b = 0; b < n; b += TILE_BLOCK) {
		const int tokens = min(n - b, TILE_BLOCK);

		sum_tiles(total, block, n_pairs * TILE_PAIR, gated ? GATED_RB / 2 : TILE_RB, b, tokens,
			  OPERANDS);
		if (!gated)
			store_tiles(total, block, n_blocks, b, tokens, rows, RESULT);
		else
			bad = gate_tiles(total, id, b, tokens, rows, bad, act, QUANT_PASS);
	}
	tile_end();
	if (bad >= 0)
		fail_row(failed, step, bad);
}

__kernel void matmul_tile(OPERAND_ARGS, RESULT_ARGS RUN_ARGS)
{
	TAKE_RUN
	matmul_tiles(0, OPERANDS, RESULT, 0, 0, 0, 0, 0, 0, 0, 0, 0);
}

#ifndef EXPERTS
__kernel void matmul_gated(OPERAND_ARGS, GATED_ARGS)
{
	matmul_tiles(1, OPERANDS, 0, 0, 0, 0, 0, GATED);
}
#endif
#endif
#endif
