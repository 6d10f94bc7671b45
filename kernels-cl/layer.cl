/* SPDX-License-Identifier: MIT */
/*
 * layer.cl: a whole layer for one token in one launch, on CPUs (wide shape). A token of a small model, or
 * of any model at a good memory's speed, is short: a launch a step costs its dispatch, and at each step's
 * end all of the driver's threads but one go to sleep and have to be woken (PoCL: 24 us in a virtual
 * machine, nine times a layer).
 *
 * A work-group is a worker. The layer is a row of phases, each cut into units of work; workers take
 * units off a counter, and go on to the next phase when all units of one are done. Nobody waits for a
 * worker that has not begun, only for units that somebody has taken: any number of workers will do, at
 * any time, in any order, and one alone finishes the layer. Units write what no other unit of their phase
 * reads; the bodies are those of the other files, so the bits are too.
 *
 * Compiled with the options of a matmul program, of an attention program, and -DSHERD_LAYER; all four
 * matrices have one format.
 */
#include "rows.cl"
#include "rope.cl"
#include "attention.cl"
#include "matmul.cl"
#include "layer.h"

enum phase { NORM_1, QKV, ROPE, ATTENTION, MERGE, OUT, NORM_2, UP, ACTIVATE, DOWN, N_PHASES };

LAYER_CHECK(phases_have_counters, N_PHASES <= LAYER_COUNTERS);

struct matrix {
	__global const uint *values;
	__global const scale_t *scales;
	__global const min_t *mins;
	__global const float *bias;
};
#define MATRIX_ARGS(m)                                                                          \
	__global const uint *m##_values, __global const scale_t *m##_scales,                    \
		__global const min_t *m##_mins, __global const float *m##_bias
#define MATRIX(m) { m##_values, m##_scales, m##_mins, m##_bias }

/* What units of all phases read and write. */
struct layer {
	struct sherd_layer_shape shape;
	__global float *x, *qkv, *ffn, *parts;
	__global const float *norm[2], *norm_bias[2], *rope;
	__global const int4 *tiles;
	struct matrix m[4]; /* QKV, OUT, UP, DOWN */
};

/* Takes some of @n units: many while there are many, so that a worker reads W in long runs. */
INLINED int take(__global struct sherd_layer_counters *c, int n, int workers, int *first)
{
	const int left = n - *(volatile __global int *)&c->next;
	const int size = max(left / (2 * workers), 1);

	if (left <= 0)
		return 0;
	*first = atomic_add((volatile __global int *)&c->next, size);
	return clamp(n - *first, 0, size);
}

/*
 * What a phase wrote must be there before its count is, and be read after. OpenCL 1.2 has no fence between
 * work-groups (PoCL's mem_fence() is empty), so dot4.h brings the machine's.
 */
INLINED void finish(__global struct sherd_layer_counters *c, int n)
{
	fence_release();
	atomic_add((volatile __global int *)&c->done, n);
}

INLINED void wait_for(__global struct sherd_layer_counters *c, int n)
{
	while (*(volatile __global int *)&c->done < n)
		cpu_relax();
	fence_acquire();
}

INLINED int units_of(int phase, const struct sherd_layer_shape *l)
{
	switch (phase) {
	case QKV:
		return (l->qkv_stride + 15) / 16;
	case ROPE:
		return l->n_heads + 2 * l->n_kv_heads;
	case ATTENTION:
		return l->n_tiles * l->n_kv_heads * max(l->n_parts, 1);
	case MERGE:
		return l->n_parts ? l->n_heads : 0;
	case OUT:
	case DOWN:
		return (l->hidden + 15) / 16;
	case UP:
		return ((l->gated ? 2 : 1) * l->ffn + 15) / 16;
	case ACTIVATE:
		return (l->ffn + 31) / 32;
	default:
		return 1; /* a norm */
	}
}

INLINED int norm_unit(int second, const struct layer *l, QUANT_ARGS)
{
	const struct sherd_layer_shape *s = &l->shape;
	float lanes[16];

	return norm_row(l->x, 0, s->hidden, 0, 1, lanes, QUANT_PASS, l->norm[second], l->norm_bias[second],
			s->norm_layer, s->norm_bias, s->eps, s->inv_hidden);
}

INLINED void matrix_unit(int id, const struct layer *l, int phase, __global const int *q,
			 __global const struct act_group *groups,
			 __global const struct act_half *halves)
{
	const struct sherd_layer_shape *s = &l->shape;
	const int i = phase == QKV ? 0 : phase == OUT ? 1 : phase == UP ? 2 : 3;
	const struct matrix *m = &l->m[i];
	const int rows = i == 0 ? s->qkv_stride : i == 2 ? (s->gated ? 2 : 1) * s->ffn : s->hidden;
	const int cols = i == 1 ? s->q_width : i == 3 ? s->ffn : s->hidden;
	const int flags = i == 0 ? s->qkv_flags :
			  i == 1 ? s->out_flags :
			  i == 2 ? s->up_flags :
				   s->down_flags;

	matmul(1, id, m->values, m->scales, m->mins, q, groups, halves, rows, (cols + 31) / 32, 1,
	       m->bias, i == 0 ? l->qkv : i == 2 ? l->ffn : l->x, 0, 0, flags);
}

INLINED void attention_unit(int id, const struct layer *l, CACHE_ARGS, QUANT_ARGS, __global int *failed)
{
	const struct sherd_layer_shape *s = &l->shape;
	const int tile = id % s->n_tiles, head = id / s->n_tiles % s->n_kv_heads;

	attend_tile(l->tiles[tile], head, id / s->n_tiles / s->n_kv_heads, l->qkv, s->qkv_stride, 0, 0,
		    l->parts, s->n_parts, s->n_heads, s->n_heads / s->n_kv_heads, l->tiles,
		    CACHE_PASS, QUANT_PASS, s->step_att, failed);
}

/* Unit @id of a phase, by the other files' bodies. */
INLINED void unit(int phase, int id, const struct layer *l, CACHE_ARGS, QUANT_ARGS, __global int *failed)
{
	const struct sherd_layer_shape *s = &l->shape;
	int step = -1;

	switch (phase) {
	case NORM_1:
	case NORM_2:
		if (norm_unit(phase == NORM_2, l, QUANT_PASS))
			step = phase == NORM_2 ? s->step_norm_2 : s->step_norm_1;
		break;
	case ROPE:
		if (rope_head(id, 0, l->qkv, s->qkv_stride, s->n_heads, s->n_kv_heads, l->rope, s->rope_dim,
			      s->rope_halves, s->q_scale, CACHE_PASS))
			step = s->step_rope;
		break;
	case ATTENTION:
		attention_unit(id, l, CACHE_PASS, QUANT_PASS, failed);
		break;
	case MERGE:
		merge_head(id, 0, l->parts, s->n_parts, 0, 0, s->n_heads, pos, QUANT_PASS, s->step_att, failed);
		break;
	case ACTIVATE:
		if (activate_group(l->ffn, 0, id, s->ffn, s->act, s->gated, QUANT_PASS))
			step = s->step_act;
		break;
	default:
		matrix_unit(id, l, phase, (__global const int *)to_q, to_groups, to_halves);
	}
	if (step >= 0)
		fail_row(failed, step, 0);
}

/*
 * Global: more work-groups than there are workers, so that each gets one; local 1. head_dim is a multiple of
 * 32: heads are quantized where they are made.
 */
__kernel void layer(struct sherd_layer_shape shape, __global struct sherd_layer_counters *counters,
		    __global float *x, __global float *qkv, __global float *ffn,
		    __global const float *norm_1, __global const float *norm_1_bias,
		    __global const float *norm_2, __global const float *norm_2_bias,
		    MATRIX_ARGS(qkv), MATRIX_ARGS(out), MATRIX_ARGS(up), MATRIX_ARGS(down),
		    __global const float *table, __global float *parts, __global const int4 *tiles,
		    CACHE_ARGS, __global float *to_a, int to_stride, __global char *to_q,
		    __global struct act_group *to_groups, __global struct act_half *to_halves,
		    __global int *failed)
{
	const struct layer l = { shape,
				 x,
				 qkv,
				 ffn,
				 parts,
				 { norm_1, norm_2 },
				 { norm_1_bias, norm_2_bias },
				 table,
				 tiles,
				 { MATRIX(qkv), MATRIX(out), MATRIX(up), MATRIX(down) } };
	const int want = shape.want;

	for (int phase = 0; phase < N_PHASES; phase++) {
		__global struct sherd_layer_counters *c = &counters[shape.slot * LAYER_COUNTERS + phase];
		const int n = units_of(phase, &shape);
		int first, count;

		while ((count = take(c, n, shape.workers, &first)) > 0) {
			for (int id = first; id < first + count; id++)
				unit(phase, id, &l, CACHE_PASS, QUANT_PASS, failed);
			finish(c, count);
		}
		wait_for(c, n);
	}
}
