/* SPDX-License-Identifier: MIT */
/*
 * walk.cl: the step list of one row in one launch, on CPUs (wide shape). A token of a small model, or of
 * any model at a good memory's speed, is short: a launch a step costs its dispatch, and at each step's end
 * all of the driver's threads but one go to sleep and have to be woken (PoCL: 20 us in a virtual machine,
 * two hundred times a token).
 *
 * A work-group is a worker. Each step is cut into units of work; workers take units off the step's counter,
 * and go on to the next when all units of one are done. Nobody waits for a worker that has not begun, only
 * for units that somebody has taken: any number of workers will do, at any time, in any order, and one alone
 * finishes the run. Units write what no other unit of their step reads; the bodies are those of the other
 * files, so the bits are too.
 *
 * Steps name buffers by address: OpenCL 1.2 has no arrays of buffers, and a CPU's buffers stay where they
 * are. address() says where that is.
 *
 * Compiled with the options of a matmul program, of an attention program, and -DSHERD_WALK; all matrices of a
 * run have one format.
 */
#include "rows.cl"
#include "rope.cl"
#include "attention.cl"
#include "matmul.cl"
#include "walk.h"

typedef __global struct sherd_walk_counters counters_t;

/* The buffers that change from run to run, and what belongs to no step. */
struct places {
	__global float *x, *qkv, *ffn, *logits, *out, *parts;
	__global const int4 *tiles;
};

INLINED __global float *buffer(const struct places *p, int buf)
{
	switch (buf) {
	case SHERD_WALK_X:
		return p->x;
	case SHERD_WALK_QKV:
		return p->qkv;
	case SHERD_WALK_FFN:
		return p->ffn;
	case SHERD_WALK_LOGITS:
		return p->logits;
	case SHERD_WALK_OUT:
		return p->out;
	default:
		return 0; /* a step that has none */
	}
}

/* Short units come in handfuls: the counter is another CPU's cache line half of the time. */
INLINED int least(int kind)
{
	switch (kind) {
	case SHERD_WALK_ACT:
	case SHERD_WALK_QUANTIZE:
	case SHERD_WALK_CAP:
		return 8;
	case SHERD_WALK_ROPE:
	case SHERD_WALK_NORM_TO:
		return 4;
	default:
		return 1;
	}
}

/* Takes some of @n units: many while there are many, so that a worker reads W in long runs. */
INLINED int take(counters_t *c, int n, int kind, int workers, int *first)
{
	const int left = n - *(volatile __global int *)&c->next;
	const int size = max(left / (2 * workers), least(kind));

	if (left <= 0)
		return 0;
	*first = atomic_add((volatile __global int *)&c->next, size);
	if (*first == 0)
		c->begin = clock_now();
	return clamp(n - *first, 0, size);
}

/*
 * What a step wrote must be there before its count is, and be read after. OpenCL 1.2 has no fence between
 * work-groups (PoCL's mem_fence() is empty), so dot4.h brings the machine's.
 */
INLINED void finish(counters_t *c, int count, int n)
{
	fence_release();
	if (atomic_add((volatile __global int *)&c->done, count) + count == n)
		c->end = clock_now();
}

INLINED void wait_for(counters_t *c, int n)
{
	while (*(volatile __global int *)&c->done < n)
		cpu_relax();
	fence_acquire();
}

INLINED int units_of(const struct sherd_walk_step *s, const struct sherd_walk *w)
{
	switch (s->kind) {
	case SHERD_WALK_NORM:
		return 1;
	case SHERD_WALK_MATMUL:
		return (s->rows + 15) / 16;
	case SHERD_WALK_ROPE:
		return w->n_heads + 2 * w->n_kv_heads;
	case SHERD_WALK_ATTEND:
		return w->n_tiles * w->n_kv_heads * max(w->n_parts, 1);
	case SHERD_WALK_MERGE:
		return w->n_parts ? w->n_heads : 0;
	case SHERD_WALK_ACT:
	case SHERD_WALK_QUANTIZE:
	case SHERD_WALK_CAP:
		return (s->cols + 31) / 32;
	case SHERD_WALK_NORM_TO:
		return s->n_parts;
	default:
		return 0;
	}
}

INLINED int norm_unit(const struct sherd_walk_step *s, const struct sherd_walk *w,
		      __global const float *src, QUANT_ARGS)
{
	float lanes[16];

	return norm_row(src, 0, s->cols, 0, 1, lanes, QUANT_PASS, (__global const float *)s->values,
			(__global const float *)s->bias, s->norm == 2, s->bias != 0, w->eps, s->inv_cols);
}

INLINED int norm_to_unit(int id, const struct sherd_walk_step *s, const struct sherd_walk *w,
			 __global const float *src, __global float *dst)
{
	const int at = s->dst_col + id * s->cols;
	float lanes[16];

	return norm_part(src + at, dst + at, 0, 1, lanes, s->cols, s->norm, (s->flags & RESIDUAL) != 0,
			 s->scale, (__global const float *)s->values + id * s->weight_step,
			 (__global const float *)s->bias, s->bias != 0, w->eps, s->inv_cols);
}

INLINED void matmul_unit(int id, const struct sherd_walk_step *s, __global float *dst,
			 __global const int *q, __global const struct act_group *groups,
			 __global const struct act_half *halves)
{
	matmul(1, id, 0, 1, (__global const uint *)s->values, (__global const scale_t *)s->scales,
	       (__global const min_t *)s->mins, q, groups, halves, s->rows, (s->cols + 31) / 32, 1,
	       (__global const float *)s->bias, dst, 0, s->dst_col, s->flags);
}

INLINED void attend_unit(int id, const struct sherd_walk_step *s, const struct sherd_walk *w,
			 const struct places *p, CACHE_ARGS, QUANT_ARGS, int step, __global int *failed)
{
	const int tile = id % w->n_tiles, head = id / w->n_tiles % w->n_kv_heads;

	attend_tile(p->tiles[tile], head, id / w->n_tiles / w->n_kv_heads, p->qkv, w->qkv_stride, 0, 0,
		    p->parts, w->n_parts, w->n_heads, w->n_heads / w->n_kv_heads, p->tiles, s->window,
		    s->cap, s->inv_cap, CACHE_PASS, QUANT_PASS, step, failed);
}

/* Unit @id of step @step, by the other files' bodies. */
INLINED void unit(int id, int step, const struct sherd_walk_step *s, const struct sherd_walk *w,
		  const struct places *p, CACHE_ARGS, QUANT_ARGS, __global int *failed)
{
	__global float *src = buffer(p, s->src);
	int bad = 0;

	switch (s->kind) {
	case SHERD_WALK_NORM:
		bad = norm_unit(s, w, src, QUANT_PASS);
		break;
	case SHERD_WALK_MATMUL:
		matmul_unit(id, s, buffer(p, s->dst), (__global const int *)to_q, to_groups, to_halves);
		break;
	case SHERD_WALK_ROPE:
		bad = rope_head(id, 0, p->qkv, w->qkv_stride, w->n_heads, w->n_kv_heads,
				(__global const float *)s->values, w->rope_dim, w->rope_halves, w->q_scale, CACHE_PASS);
		break;
	case SHERD_WALK_ATTEND: /* what it refuses is refused where it is quantized: by the next step */
		attend_unit(id, s, w, p, CACHE_PASS, QUANT_PASS, step + 1, failed);
		break;
	case SHERD_WALK_MERGE:
		merge_head(id, 0, p->parts, w->n_parts, 0, 0, w->n_heads, s->window, pos, QUANT_PASS, step, failed);
		break;
	case SHERD_WALK_NORM_TO:
		bad = norm_to_unit(id, s, w, src, buffer(p, s->dst));
		break;
	case SHERD_WALK_QUANTIZE:
		bad = put_group(load_group(src, id, s->cols), 0, id, s->cols, QUANT_PASS);
		break;
	case SHERD_WALK_CAP:
		cap_one(src, id, s->cols, s->scale, s->cap, s->inv_cap);
		break;
	case SHERD_WALK_ACT:
		bad = activate_group(src, 0, id, s->cols, w->act, w->gated, QUANT_PASS);
		break;
	}
	if (bad)
		fail_row(failed, step, 0);
}

/*
 * Global: more work-groups than there are workers, so that each gets one; local 1. head_dim is a multiple of
 * 32: heads are quantized where they are made.
 */
__kernel void walk(struct sherd_walk w, __global const struct sherd_walk_step *steps, counters_t *counters,
		   __global float *x, __global float *qkv, __global float *ffn, __global float *logits,
		   __global float *out, __global float *parts, __global const int4 *tiles,
		   __global uchar *pool, __global const int *pages, int pages_stride,
		   __global const int *item, __global const int *pos, ulong page_bytes, uint side_bytes,
		   __global float *to_a, int to_stride, __global char *to_q,
		   __global struct act_group *to_groups, __global struct act_half *to_halves,
		   __global int *failed)
{
	const struct places p = { x, qkv, ffn, logits, out, parts, tiles };

	for (int step = w.first; step < w.end; step++) {
		const struct sherd_walk_step s = steps[step];
		const ulong layer_offset = s.cache; /* for CACHE_PASS; and for QUANT_PASS: */
		const int want = s.want;
		const int n = units_of(&s, &w);
		counters_t *c = &counters[step];
		int first, count;

		if (!n)
			continue;
		while ((count = take(c, n, s.kind, w.workers, &first)) > 0) {
			for (int id = first; id < first + count; id++)
				unit(id, step, &s, &w, &p, CACHE_PASS, QUANT_PASS, failed);
			finish(c, count, n);
		}
		wait_for(c, n);
	}
}

/* to[i] = where @buffer is. */
__kernel void address(__global const uchar *buffer, __global ulong *to, int i)
{
	to[i] = (ulong)buffer;
}
