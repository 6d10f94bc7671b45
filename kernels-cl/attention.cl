/* SPDX-License-Identifier: MIT */
/*
 * attention.cl: softmax(q k) v over a session's pages. A chunk is 256 absolute positions; each gets its
 * own maximum, sum and weighted V from scratch, and chunks merge in position order, so that it does not
 * matter who computes which: a work-item may walk all chunks of its queries (prompts), or chunks are
 * parts of their own that attend_merge puts together (single tokens).
 *
 * A row sees positions [first, last]: of CACHE_ARGS, @pos is here the rows' last ones, and first follows from
 * the layer's window. Chunks that no query sees anything of are left out; what is masked weighs 0.
 *
 * Orders: a score is one chain of fma over head_dim; the sum of exponentials follows the lane rule over
 * positions; an output is one chain of fma over positions.
 */
#include "group.h"
#include "kv.h"

#define PART (DIM_PAD + 2) /* floats of a part: maximum, sum, output */

INLINED int first_seen(int last, int window)
{
	return window ? max(0, last + 1 - window) : 0;
}

/* What is known of a query's past: the chunks so far, merged. */
struct state {
	float max, sum;
};

/* What the outputs so far and the new chunk's are multiplied with. */
struct weights {
	float old, new;
};

/* One more chunk's maximum and sum; the caller merges outputs: fma(o, old, o_new * new). */
INLINED struct weights merge(struct state *s, float max, float sum)
{
	float m = fmax(s->max, max);
	struct weights w = { num_exp_1(s->max - m), num_exp_1(max - m) };

	s->sum = fma(s->sum, w.old, sum * w.new);
	s->max = m;
	return w;
}

/*
 * A head's outputs o [HEAD_DIM], times @r: to ATT, or, where the caller wants that (@want: head_dim is a
 * multiple of 32), straight to what the next matmul reads.
 */
INLINED void put_head(const float *o, float r, int row, int h, int n_heads, __global float *att,
		      int att_stride, QUANT_ARGS, int step, __global int *failed)
{
	__global float *to = att + (size_t)row * att_stride + h * HEAD_DIM;
	int bad = 0;

	for (int d = 0; d < HEAD_DIM && !want; d++)
		to[d] = o[d] * r;
	for (int g = 0; g < HEAD_DIM / 32 && want; g++) {
		struct group x = { { vload16(2 * g, o) * r, vload16(2 * g + 1, o) * r } };

		bad |= put_group(x, row, h * (HEAD_DIM / 32) + g, n_heads * HEAD_DIM, QUANT_PASS);
	}
	if (bad)
		fail_row(failed, step, row);
}

#if LANES == 16
#define NQ 8 /* queries that share a read of K and V: at most */
#ifndef TOKEN_QUERIES
#define TOKEN_QUERIES NQ
#endif

/* Queries of one KV head and session: rows x query heads of the group. */
struct queries {
	__global const float *q[NQ];
	int first[NQ], last[NQ]; /* the positions that each sees */
	int begin, end; /* in the chunk that is looked at: what any of them sees */
	int next_page, last_page, next_head; /* what is looked at after this chunk, as a rule */
};

/*
 * How many queries a tile has at most is a constant @nq to the functions below, which are inlined for
 * PASS_QUERIES, and for what a single token of the model has (-DTOKEN_QUERIES=, one without grouped heads). They
 * keep nq * VECS(nq) sums at a time, enough to hide how long an fma takes: the fewer queries, the more vectors of
 * positions (or of dimensions). Where registers are few or short a tile takes several passes: `sherd tune` measures
 * what suits a device (-DATTEND_VECS= -DATTEND_QUERIES=).
 */
#ifdef ATTEND_VECS
#define VECS(nq)     ATTEND_VECS
#define PASS_QUERIES ATTEND_QUERIES
#else
#define VECS(nq)     ((nq) > 4 ? 1 : (nq) > 2 ? 2 : 4)
#define PASS_QUERIES NQ
#endif

/*
 * Asks for @n elements that are read soon. A head's K or V of a page is 8 KiB: too short for the hardware to
 * see what is next, so scores() ask for the V of the same page, values() for a K of the next chunk.
 */
INLINED void prefetch_kv(__global const kv_t *at, int n)
{
	for (int i = 0; i < n * (int)sizeof(kv_t); i += 64)
		prefetch_next((__global const uchar *)at + i);
}

/*
 * e [nq][256]: scores of chunk @chunk, some vectors of positions at a time, so that a query's element that
 * is read serves all; beyond the last position they are nonsense that weigh() does not look at.
 */
INLINED void scores(const int nq, float16 e[NQ][CHUNK / 16], const struct queries *in,
		    const struct cache *c, int chunk, int head)
{
	const int nv = VECS(nq);

	for (int j = in->begin / (16 * nv) * (16 * nv); j < in->end; j += 16 * nv) {
		__global kv_t *k = k_of(c, chunk * (CHUNK / PAGE) + j / PAGE, head);
		__global const kv_t *at = k + j % PAGE;
		__global const kv_t *ahead =
			v_of(c, chunk * (CHUNK / PAGE) + j / PAGE, head) + j % PAGE * HEAD_DIM;
		float16 s[NQ][4];

#pragma unroll
		for (int q = 0; q < nq; q++)
#pragma unroll
			for (int i = 0; i < nv; i++)
				s[q][i] = (float16)(0.0f);
		for (int d = 0; d < HEAD_DIM; d++) {
			float16 kd[4];

#pragma unroll
			for (int i = 0; i < nv; i++)
				kd[i] = LOAD_KV(at + d * PAGE + 16 * i);
			prefetch_kv(ahead + d * 16 * nv, 16 * nv);
#pragma unroll
			for (int q = 0; q < nq; q++)
#pragma unroll
				for (int i = 0; i < nv; i++)
					s[q][i] = fma((float16)in->q[q][d], kd[i], s[q][i]);
		}
#pragma unroll
		for (int q = 0; q < nq; q++)
#pragma unroll
			for (int i = 0; i < nv; i++)
				e[q][j / 16 + i] =
					KV == 1 ? s[q][i] * vload16(i, scales_of(k) + j % PAGE) : s[q][i];
	}
}

/* Scores of the vectors that are looked at, capped. */
INLINED void cap_scores(const int nq, float16 e[NQ][CHUNK / 16], const struct queries *in, float cap,
			float inv_cap)
{
	for (int q = 0; q < nq; q++)
		for (int v = in->begin / 16; v < (in->end + 15) / 16; v++)
			e[q][v] = num_cap_16(e[q][v], cap, inv_cap);
}

/*
 * Scores to weights, in vectors [begin, end): exp(score - max), 0 but for positions [from, to); returns the
 * maximum, and the sum.
 */
INLINED float weigh(float16 *e, int from, int to, int begin, int end, float *sum)
{
	const int16 lane = (int16)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) - max(from, 0);
	const uint16 n = (uint16)(max(to - max(from, 0), 0));
	float16 m16 = (float16)(-INFINITY), s = (float16)(0.0f);

	for (int v = begin; v < end; v++) {
		e[v] = select((float16)(-INFINITY), e[v], as_uint16(lane + 16 * v) < n);
		m16 = fmax(m16, e[v]);
	}
	float8 m8 = fmax(m16.lo, m16.hi);
	float4 m4 = fmax(m8.lo, m8.hi);
	float2 m2 = fmax(m4.lo, m4.hi);
	float m = fmax(m2.x, m2.y);

	for (int v = begin; v < end; v++) {
		e[v] = num_exp_16(e[v] - m);
		e[v] = select((float16)(0.0f), e[v], as_uint16(lane + 16 * v) < n);
		s = s + e[v];
	}
	float8 s8 = s.lo + s.hi;
	float4 s4 = s8.lo + s8.hi;
	float2 s2 = s4.lo + s4.hi;

	*sum = s2.x + s2.y;
	return m;
}

/* o [nq][DIM_VECS], vectors [d, d + nd) of it = weights times V, in position order. */
INLINED void some_values(const int nq, const int nd, int d, float16 o[NQ][DIM_VECS],
			 float16 e[NQ][CHUNK / 16], const struct queries *in, const struct cache *c,
			 int chunk, int head)
{
	float16 acc[NQ][4];

#pragma unroll
	for (int q = 0; q < nq; q++)
#pragma unroll
		for (int i = 0; i < nd; i++)
			acc[q][i] = (float16)(0.0f);
	for (int j0 = in->begin / PAGE * PAGE; j0 < in->end; j0 += PAGE) {
		__global kv_t *v = v_of(c, chunk * (CHUNK / PAGE) + j0 / PAGE, head);
		const int begin = max(0, in->begin - j0), end = min(PAGE, in->end - j0);
		const int next = min(in->next_page + j0 / PAGE, in->last_page);
		__global const kv_t *ahead = k_of(c, next, in->next_head) + d * PAGE * 16;

		for (int j = begin; j < end; j++) {
			float16 vd[4];
			float scale = KV == 1 ? scales_of(v)[j] : 1.0f;

#pragma unroll
			for (int i = 0; i < nd; i++)
				vd[i] = LOAD_KV(v + j * HEAD_DIM + 16 * (d + i));
			prefetch_kv(ahead + j * 16 * nd, 16 * nd);
#pragma unroll
			for (int q = 0; q < nq; q++) {
				float w = ((float *)e[q])[j0 + j];

#pragma unroll
				for (int i = 0; i < nd; i++)
					acc[q][i] = fma((float16)(KV == 1 ? w * scale : w), vd[i],
							acc[q][i]);
			}
		}
	}
#pragma unroll
	for (int q = 0; q < nq; q++)
#pragma unroll
		for (int i = 0; i < nd; i++)
			o[q][d + i] = acc[q][i];
}

INLINED void values(const int nq, float16 o[NQ][DIM_VECS], float16 e[NQ][CHUNK / 16],
		    const struct queries *in, const struct cache *c, int chunk, int head)
{
	const int nd = DIM_VECS % VECS(nq) == 0 ? VECS(nq) : DIM_VECS % 2 == 0 ? 2 : 1;

	for (int d = 0; d < DIM_VECS; d += nd)
		some_values(nq, nd, d, o, e, in, c, chunk, head);
}

#define ATTEND_ARGS                                                                             \
	__global const float *qkv, int stride, __global float *att, int att_stride,             \
		__global float *parts, int n_parts, int n_heads, int group,                     \
		__global const int4 *tiles, int window, float cap, float inv_cap
#define ATTEND \
	qkv, stride, att, att_stride, parts, n_parts, n_heads, group, tiles, window, cap, inv_cap

/*
 * Tiles: {first row of the item, first query of the item, queries in the tile, item}; query i of an item is
 * head i % group of its row i / group.
 */
INLINED int row_of(int4 tile, int q, int group)
{
	return tile.x + (tile.y + q) / group;
}

INLINED int head_of(int4 tile, int q, int group, int kv_head)
{
	return kv_head * group + (tile.y + q) % group;
}

/* A tile's queries, the last in place of those that lack; returns the positions that any sees. */
INLINED int2 find_queries(const int nq, struct queries *in, int4 tile, int kv_head, int group,
			  __global const float *qkv, int stride, __global const int *pos, int window)
{
	int2 seen = (int2)(INT_MAX, 0);

	for (int q = 0; q < nq; q++) {
		int i = min(q, tile.z - 1), row = row_of(tile, i, group);

		in->q[q] = qkv + (size_t)row * stride + head_of(tile, i, group, kv_head) * HEAD_DIM;
		in->last[q] = pos[row];
		in->first[q] = first_seen(in->last[q], window);
		seen.x = min(seen.x, in->first[q]);
		seen.y = max(seen.y, in->last[q]);
	}
	return seen;
}

INLINED void put_part(__global float *p, float max, float sum, const float16 o[DIM_VECS])
{
	p[0] = max;
	p[1] = sum;
	for (int d = 0; d < DIM_VECS; d++)
		vstore16(o[d], d, p + 2);
}

/* One more chunk for a query, or its first. */
INLINED void add_chunk(int first, struct state *all, float16 total[DIM_VECS], float max, float sum,
		       const float16 o[DIM_VECS])
{
	struct weights w;

	if (first) {
		all->max = max;
		all->sum = sum;
		for (int d = 0; d < DIM_VECS; d++)
			total[d] = o[d];
		return;
	}
	w = merge(all, max, sum);
	for (int d = 0; d < DIM_VECS; d++)
		total[d] = fma(total[d], (float16)(w.old), o[d] * w.new);
}

/*
 * With @n_parts only chunk @first_chunk is computed, and its result goes to parts
 * [row][head][n_parts][PART]; else all chunks are merged into att.
 */
INLINED void attend_up_to(const int nq, int4 tile, int kv_head, int first_chunk, ATTEND_ARGS, CACHE_ARGS,
			  QUANT_ARGS, int step, __global int *failed)
{
	const struct cache c = { pool, pages + (size_t)tile.w * pages_stride, page_bytes, layer_offset,
				 side_bytes };
	struct queries in;
	float16 e[NQ][CHUNK / 16], o[NQ][DIM_VECS], total[NQ][DIM_VECS];
	struct state all[NQ];
	float m[NQ], s[NQ];
	const int2 seen = find_queries(nq, &in, tile, kv_head, group, qkv, stride, pos, window);
	const int begin_chunk = n_parts ? first_chunk : seen.x / CHUNK;
	const int end_chunk = n_parts ? first_chunk + 1 : seen.y / CHUNK + 1;
	const int last_head = !n_parts || kv_head + 1 == n_heads / group;

	in.last_page = seen.y / PAGE;
	in.next_head = n_parts ? last_head ? 0 : kv_head + 1 : kv_head;
	for (int chunk = begin_chunk; chunk < end_chunk; chunk++) {
		in.next_page = (chunk + last_head) * (CHUNK / PAGE);
		in.begin = max(0, seen.x - chunk * CHUNK);
		in.end = min(CHUNK, seen.y + 1 - chunk * CHUNK);
		if (in.begin >= in.end)
			return;
		scores(nq, e, &in, &c, chunk, kv_head);
		if (cap != 0.0f)
			cap_scores(nq, e, &in, cap, inv_cap);
		for (int q = 0; q < nq; q++)
			m[q] = weigh(e[q], in.first[q] - chunk * CHUNK, in.last[q] + 1 - chunk * CHUNK,
				     in.begin / 16, (in.end + 15) / 16, &s[q]);
		values(nq, o, e, &in, &c, chunk, kv_head);
		for (int q = 0; q < tile.z; q++) {
			size_t at = (size_t)row_of(tile, q, group) * n_heads +
				    head_of(tile, q, group, kv_head);

			if (in.last[q] < chunk * CHUNK || in.first[q] >= (chunk + 1) * CHUNK)
				continue;
			if (n_parts)
				put_part(parts + (at * n_parts + chunk) * PART, m[q], s[q], o[q]);
			else
				add_chunk(chunk == in.first[q] / CHUNK, &all[q], total[q], m[q], s[q], o[q]);
		}
	}
	for (int q = 0; q < tile.z && !n_parts; q++)
		put_head((float *)total[q], num_recip_1(all[q].sum), row_of(tile, q, group),
			 head_of(tile, q, group, kv_head), n_heads, att, att_stride, QUANT_PASS, step,
			 failed);
}

INLINED void attend_tile(int4 tile, int kv_head, int first_chunk, ATTEND_ARGS, CACHE_ARGS, QUANT_ARGS,
			 int step, __global int *failed)
{
#define UP_TO(nq, tile) \
	attend_up_to(nq, tile, kv_head, first_chunk, ATTEND, CACHE_PASS, QUANT_PASS, step, failed)
	if (TOKEN_QUERIES < PASS_QUERIES && tile.z <= TOKEN_QUERIES) {
		UP_TO(TOKEN_QUERIES, tile);
		return;
	}
	/* the host's tiles have NQ at most: one pass then, and no loop */
	for (int q = 0; q < (PASS_QUERIES < NQ ? tile.z : 1); q += PASS_QUERIES) {
		const int4 pass = (int4)(tile.x, tile.y + q, min(tile.z - q, PASS_QUERIES), tile.w);

		UP_TO(PASS_QUERIES, pass);
	}
#undef UP_TO
}

#ifndef SHERD_WALK
/* Global: (tiles, KV heads, chunks or 1). */
__kernel void attend(ATTEND_ARGS, CACHE_ARGS, QUANT_ARGS, int step, __global int *failed)
{
	attend_tile(tiles[get_global_id(0)], get_global_id(1), n_parts ? get_global_id(2) : 0, ATTEND,
		    CACHE_PASS, QUANT_PASS, step, failed);
}
#endif
#else

/*
 * A work-group a (row, head) and, with @n_parts, a chunk: global (local size, heads, rows * max(1,
 * n_parts)). Scores: a position a work-item; outputs: a dimension a work-item. What lives from chunk to
 * chunk is in local memory: PoCL 3.1 loses private variables in loops with barriers.
 */
__kernel void attend(__global const float *qkv, int stride, __global float *att, int att_stride,
		     __global float *parts, int n_parts, int n_heads, int group,
		     __global const int4 *tiles, int window, float cap, float inv_cap, CACHE_ARGS,
		     QUANT_ARGS, int step, __global int *failed)
{
	__local float e[CHUNK], lanes[16], query[HEAD_DIM], total[HEAD_DIM];
	__local struct state all, one;
	__local struct weights w;
	const int l = get_local_id(0), n_items = get_local_size(0), h = get_global_id(1);
	const int row = n_parts ? get_global_id(2) / n_parts : get_global_id(2);
	const struct cache c = { pool, pages + (size_t)item[row] * pages_stride, page_bytes,
				 layer_offset, side_bytes };
	const int last = pos[row], first = first_seen(last, window), head = h / group;
	const int first_chunk = n_parts ? get_global_id(2) % n_parts : first / CHUNK;
	const int end_chunk = n_parts ? first_chunk + 1 : last / CHUNK + 1;

	for (int d = l; d < HEAD_DIM; d += n_items)
		query[d] = qkv[(size_t)row * stride + h * HEAD_DIM + d];
	barrier(CLK_LOCAL_MEM_FENCE);
	for (int chunk = first_chunk; chunk < end_chunk; chunk++) {
		const int from = clamp(first - chunk * CHUNK, 0, CHUNK);
		const int n = clamp(last + 1 - chunk * CHUNK, 0, CHUNK);

		for (int j = from + l; j < n; j += n_items) {
			__global kv_t *k = k_of(&c, chunk * (CHUNK / PAGE) + j / PAGE, head);
			float s = 0.0f;

			for (int d = 0; d < HEAD_DIM; d++)
				s = fma(query[d], LOAD_KV(k + d * PAGE + j % PAGE), s);
			s = KV == 1 ? s * scales_of(k)[j % PAGE] : s;
			e[j] = cap != 0.0f ? num_cap_1(s, cap, inv_cap) : s;
		}
		barrier(CLK_LOCAL_MEM_FENCE);
		if (l == 0) {
			float m = e[min(from, CHUNK - 1)];

			for (int j = from + 1; j < n; j++)
				m = fmax(m, e[j]);
			one.max = m;
		}
		barrier(CLK_LOCAL_MEM_FENCE);
		for (int j = from + l; j < n; j += n_items)
			e[j] = num_exp_1(e[j] - one.max);
		barrier(CLK_LOCAL_MEM_FENCE);
		if (l < 16) {
			float s = 0.0f;

			for (int j = from + (l - from & 15); j < n; j += 16)
				s = s + e[j];
			lanes[l] = s;
		}
		barrier(CLK_LOCAL_MEM_FENCE);
		if (l == 0) {
			for (int step = 8; step; step /= 2)
				for (int i = 0; i < step; i++)
					lanes[i] = lanes[i] + lanes[i + step];
			one.sum = lanes[0];
			w.old = 0.0f;
			w.new = 1.0f;
			if (chunk > first_chunk) {
				struct state s = { all.max, all.sum };

				struct weights v = merge(&s, one.max, one.sum);
				all.max = s.max;
				all.sum = s.sum;
				w.old = v.old;
				w.new = v.new;
			} else {
				all.max = one.max;
				all.sum = one.sum;
			}
		}
		barrier(CLK_LOCAL_MEM_FENCE);
		for (int d = l; d < HEAD_DIM; d += n_items) {
			float o = 0.0f;

			for (int j = from; j < n; j++) {
				__global kv_t *v = v_of(&c, chunk * (CHUNK / PAGE) + j / PAGE, head);
				float weight = KV == 1 ? e[j] * scales_of(v)[j % PAGE] : e[j];

				o = fma(weight, LOAD_KV(v + (j % PAGE) * HEAD_DIM + d), o);
			}
			total[d] = chunk > first_chunk ? fma(total[d], w.old, o * w.new) : o;
		}
		barrier(CLK_LOCAL_MEM_FENCE);
	}
	if (n_parts) {
		__global float *p = parts + (((size_t)row * n_heads + h) * n_parts + first_chunk) * PART;

		if (l == 0) {
			p[0] = all.max;
			p[1] = all.sum;
		}
		for (int d = l; d < HEAD_DIM; d += n_items)
			p[2 + d] = total[d];
		return;
	}
	for (int d = l; d < HEAD_DIM; d += n_items)
		att[(size_t)row * att_stride + h * HEAD_DIM + d] = total[d] * num_recip_1(all.sum);
}
#endif

/* Head @h of ATT from the parts of a row's chunks, in position order. */
INLINED void merge_head(int h, int row, __global const float *parts, int n_parts, __global float *att,
			int att_stride, int n_heads, int window, __global const int *pos, QUANT_ARGS,
			int step, __global int *failed)
{
	const int first = first_seen(pos[row], window) / CHUNK;
	__global const float *p = parts + (((size_t)row * n_heads + h) * n_parts + first) * PART;
	struct state all = { p[0], p[1] };
	float o[HEAD_DIM];

	for (int d = 0; d < HEAD_DIM; d++)
		o[d] = p[2 + d];
	for (int c = first + 1; c <= pos[row] / CHUNK; c++) {
		p += PART;
		struct weights w = merge(&all, p[0], p[1]);

		for (int d = 0; d < HEAD_DIM; d++)
			o[d] = fma(o[d], w.old, p[2 + d] * w.new);
	}
	put_head(o, num_recip_1(all.sum), row, h, n_heads, att, att_stride, QUANT_PASS, step, failed);
}

#ifndef SHERD_WALK
/* Global: (heads, rows). */
__kernel void attend_merge(__global const float *parts, int n_parts, __global float *att,
			   int att_stride, int n_heads, int window, __global const int *pos,
			   QUANT_ARGS, int step, __global int *failed)
{
	merge_head(get_global_id(0), get_global_id(1), parts, n_parts, att, att_stride, n_heads, window,
		   pos, QUANT_PASS, step, failed);
}
#endif
