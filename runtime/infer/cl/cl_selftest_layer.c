/* SPDX-License-Identifier: MIT */
/*
 * cl_selftest_layer: layers at the end of random pasts, by layer.cl and by the reference's steps.
 * Launches follow each other without a wait, as in a step: the next one reads the x that the last one
 * left, and has counters of its own.
 */
#include <math.h>
#include "infer/cl/cl_selftest.h"

#define N_LAYERS   2
#define N_LAUNCHES 6 /* launch i is layer i % N_LAYERS */

enum { QKV, OUT, UP, DOWN };
/* Where a layer can fail: the kernel's steps in this order. */
enum phase { NORM_1, ROPE, ATTENTION, NORM_2, ACTIVATE, N_PHASES };
#define FIRST_STEP 7 /* of the first phase */

struct layer {
	struct sherd_st_past past;
	struct sherd_tensor w[4];
	struct sherd_cl_matrix dev[4];
	float *bias[4], *norm[2], *norm_bias[2];
	cl_mem bias_mem[4], norm_mem[2], norm_bias_mem[2];
	enum sherd_norm norm_kind;
	enum sherd_act act;
	bool gated, with_bias;
	int hidden, q, ffn;
	struct sherd_cl_cache cache;
	cl_mem rope, tiles;
	int n_tiles;
};

/* What all layers of a run share. */
struct scratch {
	cl_mem x, qkv, ffn, parts, counters;
	struct sherd_cl_act a;
};

static cl_mem vector(struct sherd_st *t, float **x, int n)
{
	*x = sherd_st_floats(t, n);
	return sherd_st_upload(t, *x, 4 * n);
}

static void make_matrix(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p,
			int i, int rows, int cols)
{
	struct sherd_format f = sherd_st_format(p, rows, cols);

	sherd_st_matrix(t, &f, &l->w[i], &l->dev[i]);
	if (l->with_bias)
		l->bias_mem[i] = vector(t, &l->bias[i], rows);
}

static void make_weights(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p)
{
	int i;

	make_matrix(t, l, p, QKV, l->past.stride, l->hidden);
	make_matrix(t, l, p, OUT, l->hidden, l->q);
	make_matrix(t, l, p, UP, l->ffn * (1 + l->gated), l->hidden);
	make_matrix(t, l, p, DOWN, l->hidden, l->ffn);
	for (i = 0; i < 2; i++) {
		l->norm_mem[i] = vector(t, &l->norm[i], l->hidden);
		if (l->with_bias && l->norm_kind == SHERD_NORM_LAYER)
			l->norm_bias_mem[i] = vector(t, &l->norm_bias[i], l->hidden);
	}
}

/* Everything but the pool: what the kernel reads of the past. */
static void upload_past(struct sherd_st *t, struct layer *l)
{
	const struct sherd_st_past *past = &l->past;
	int32_t item_row[2] = { 0, 1 }, *pos = sherd_st_alloc(t, 4), *item = sherd_st_alloc(t, 4);
	int group = past->n_heads / past->shape.n_kv_heads;
	struct sherd_cl_tile *tiles;

	l->n_tiles = sherd_cl_make_tiles(item_row, 1, group, NULL);
	tiles = sherd_st_alloc(t, l->n_tiles * sizeof(*tiles));
	sherd_cl_make_tiles(item_row, 1, group, tiles);
	l->tiles = sherd_st_upload(t, tiles, l->n_tiles * sizeof(*tiles));
	if (past->rope)
		l->rope = sherd_st_upload(t, past->rope,
					  4 * (size_t)past->n_ctx * past->rope_dim);
	pos[0] = past->n_ctx - 1;
	l->cache = (struct sherd_cl_cache){
		.shape = past->shape,
		.pages = sherd_st_upload(t, past->pages, 4 * DIV_ROUND_UP(past->n_ctx, SHERD_PAGE)),
		.pos = sherd_st_upload(t, pos, 4),
		.item = sherd_st_upload(t, item, 4),
	};
}

static void make_layer(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p,
		       int hidden, int ffn, int round)
{
	int i;

	l->hidden = hidden;
	l->ffn = ffn;
	l->act = round % 3;
	l->gated = sherd_st_below(t, 2);
	l->with_bias = sherd_st_below(t, 2);
	l->norm_kind = sherd_st_below(t, 2) ? SHERD_NORM_RMS : SHERD_NORM_LAYER;
	sherd_st_make_past(t, &l->past, p->arg[4], p->arg[5], round);
	l->q = l->past.n_heads * l->past.shape.head_dim;
	make_weights(t, l, p);
	for (i = 0; i < l->past.n_ctx - 1; i++)
		sherd_st_past_add(&l->past, i);
	upload_past(t, l);
}

/* --- the reference --- */

/* A quantized row, dst (+)= W times it; -EDOM where the quantizer refuses it. */
static int multiply(struct sherd_st *t, const struct layer *l, int i, const float *x, int n,
		    float *dst, bool residual)
{
	struct sherd_st_act h = sherd_st_new_act(t, 1, n);
	struct sherd_ref_act a = sherd_st_ref_act(&h);
	int rc = sherd_ref_norm(SHERD_NORM_NONE, x, NULL, NULL, n, 0, h.a);

	sherd_st_quantize_row(&h, 0, x);
	if (!rc)
		sherd_ref_matmul(&l->w[i], &a, 1, l->bias[i], residual, dst, l->w[i].fmt.rows);
	return rc;
}

static int normalize(const struct layer *l, int i, const float *x, float *y)
{
	return sherd_ref_norm(l->norm_kind, x, l->norm[i], l->norm_bias[i], l->hidden, 1e-5f, y);
}

/* The layer, on the past's last position; x [hidden] changes. The phase that refuses, or -1. */
static int reference(struct sherd_st *t, struct layer *l, float *x)
{
	int last = l->past.n_ctx - 1;
	float *y = sherd_st_alloc(t, 4 * MAX(MAX(l->hidden, l->q), l->ffn));
	float *up = sherd_st_alloc(t, 8 * l->ffn);
	float *qkv = l->past.qkv + (size_t)last * l->past.stride;

	if (normalize(l, 0, x, y) || multiply(t, l, QKV, y, l->hidden, qkv, false))
		return NORM_1;
	if (sherd_st_past_add(&l->past, last))
		return ROPE;
	sherd_st_past_attend(&l->past, last, y);
	if (multiply(t, l, OUT, y, l->q, x, true))
		return ATTENTION;
	if (normalize(l, 1, x, y) || multiply(t, l, UP, y, l->hidden, up, false))
		return NORM_2;
	sherd_ref_act(l->act, l->gated ? up : NULL, l->gated ? up + l->ffn : up, l->ffn, y);
	return multiply(t, l, DOWN, y, l->ffn, x, true) ? ACTIVATE : -1;
}

/* --- the kernel --- */

static struct sherd_layer_shape shape_of(struct sherd_st *t, const struct layer *l, bool parts,
					 int slot)
{
	const int bias = l->with_bias ? 2 : 0;

	return (struct sherd_layer_shape){
		.hidden = l->hidden,
		.q_width = l->q,
		.ffn = l->ffn,
		.qkv_stride = l->past.stride,
		.n_heads = l->past.n_heads,
		.n_kv_heads = l->past.shape.n_kv_heads,
		.rope_dim = l->past.rope ? l->past.rope_dim : 0,
		.rope_halves = l->past.position == SHERD_POS_ROPE_HALVES,
		.norm_layer = l->norm_kind == SHERD_NORM_LAYER,
		.norm_bias = l->norm_bias_mem[0] != NULL,
		.act = l->act,
		.gated = l->gated,
		.want = SHERD_QUANT_Q8 | SHERD_QUANT_HALVES,
		.out_flags = 1 | bias,
		.qkv_flags = bias,
		.up_flags = bias,
		.down_flags = 1 | bias,
		.n_tiles = l->n_tiles,
		.n_parts = parts ? (l->past.n_ctx - 1) / SHERD_CHUNK + 1 : 0,
		.slot = slot,
		.workers = t->c->dev->info.compute_units,
		.step_norm_1 = FIRST_STEP + NORM_1,
		.step_rope = FIRST_STEP + ROPE,
		.step_att = FIRST_STEP + ATTENTION,
		.step_norm_2 = FIRST_STEP + NORM_2,
		.step_act = FIRST_STEP + ACTIVATE,
		.eps = 1e-5f,
		.inv_hidden = 1.0f / (float)l->hidden,
		.q_scale = SHERD_ST_Q_SCALE,
	};
}

/* Room for @n layers, full of what no layer leaves there, and the counters of all launches. */
static struct scratch make_scratch(struct sherd_st *t, const struct layer *l, int n, const float *x)
{
	size_t width = 0, qkv = 0, ffn = 0, part = 0, counters = N_LAUNCHES * SHERD_CL_LAYER_COUNTERS;
	uint8_t *bad;
	int i;

	for (i = 0; i < n; i++, l++) {
		int n_parts = (l->past.n_ctx - 1) / SHERD_CHUNK + 1;
		int floats = sherd_cl_part_floats(t->c, l->past.shape.head_dim);

		width = MAX(width, (size_t)MAX(MAX(l->hidden, l->q), l->ffn));
		qkv = MAX(qkv, 4 * (size_t)l->past.stride);
		ffn = MAX(ffn, 8 * (size_t)l->ffn);
		part = MAX(part, 4 * (size_t)l->past.n_heads * n_parts * floats);
	}
	bad = sherd_st_alloc(t, MAX(MAX(qkv, ffn), part));
	sherd_st_poison(bad, MAX(MAX(qkv, ffn), part));
	return (struct scratch){
		.x = sherd_st_upload(t, x, 4 * l[-1].hidden),
		.qkv = sherd_st_upload(t, bad, qkv),
		.ffn = sherd_st_upload(t, bad, ffn),
		.parts = sherd_st_upload(t, bad, part),
		.counters = sherd_st_upload(t, sherd_st_alloc(t, counters), counters),
		.a = sherd_st_poisoned_act(t, 1, width),
	};
}

/* Enqueues a layer, and waits for nothing. */
static void run(struct sherd_st *t, const struct layer *l, const struct scratch *s, bool parts,
		int slot)
{
	struct sherd_cl_layer d = {
		.shape = shape_of(t, l, parts, slot),
		.counters = s->counters,
		.x = s->x,
		.qkv = s->qkv,
		.ffn = s->ffn,
		.norm_1 = l->norm_mem[0],
		.norm_1_bias = l->norm_bias_mem[0],
		.norm_2 = l->norm_mem[1],
		.norm_2_bias = l->norm_bias_mem[1],
		.qkv_w = { &l->dev[QKV], l->bias_mem[QKV] },
		.out_w = { &l->dev[OUT], l->bias_mem[OUT] },
		.up_w = { &l->dev[UP], l->bias_mem[UP] },
		.down_w = { &l->dev[DOWN], l->bias_mem[DOWN] },
		.rope = l->rope,
		.parts = s->parts,
		.tiles = l->tiles,
		.layer = l->past.layer,
	};

	sherd_cl_layer(t->c, &d, &l->cache, &s->a);
}

static void upload_pool(struct sherd_st *t, struct layer *l)
{
	l->cache.pool = sherd_st_upload(t, l->past.pool, l->past.pool_size + 256);
}

/* --- the cases --- */

/* The chain of all launches, attention's chunks one after the other and side by side. */
static void check_chain(struct sherd_st *t, const struct sherd_cl_program *p, struct layer *l)
{
	float *x = sherd_st_floats(t, l->hidden);
	cl_mem got[2], pool[2][N_LAYERS];
	int parts, i;

	for (parts = 0; parts < 2; parts++) {
		struct scratch s = make_scratch(t, l, N_LAYERS, x);

		for (i = 0; i < N_LAYERS; i++) {
			upload_pool(t, &l[i]);
			pool[parts][i] = l[i].cache.pool;
		}
		for (i = 0; i < N_LAUNCHES; i++)
			run(t, &l[i % N_LAYERS], &s, parts, i);
		got[parts] = s.x;
	}
	for (i = 0; i < N_LAUNCHES; i++)
		reference(t, &l[i % N_LAYERS], x);
	for (parts = 0; parts < 2; parts++) {
		sherd_st_expect(t, got[parts], x, 4 * l->hidden, p->spec,
				"%d layers: hidden %d, %d of %d heads, ffn %d, %d positions, parts %d",
				N_LAUNCHES, l->hidden, l->past.n_heads, l->past.shape.n_kv_heads,
				l->ffn, l->past.n_ctx, parts);
		for (i = 0; i < N_LAYERS; i++)
			sherd_st_expect(t, pool[parts][i], l[i].past.pool, l[i].past.pool_size,
					p->spec, "the cache of layer %d", i);
	}
	t->c->step = FIRST_STEP;
	sherd_st_expect_failed(t, -1, "layer", 0);
}

/* A value of the first position in the cache becomes a NaN. */
static void spoil_cache(struct sherd_st *t, struct layer *l)
{
	const struct sherd_kv_shape *s = &l->past.shape;
	int d = sherd_st_below(t, s->head_dim), head = sherd_st_below(t, s->n_kv_heads);
	uint8_t *v = l->past.pool + l->past.pages[0] * sherd_kv_shape_page_bytes(s) +
		     sherd_kv_offset(s, l->past.layer, head) + sherd_kv_side_bytes(s);

	if (s->type == SHERD_KV_INT8)
		memset(v + s->head_dim * SHERD_PAGE, 0xff, sizeof(float)); /* its scale */
	else
		memset(v + d * sherd_kv_elem_bytes(s->type), 0xff, sherd_kv_elem_bytes(s->type));
}

static void scale_norm(struct sherd_st *t, struct layer *l, int i, float factor)
{
	float *w = sherd_st_alloc(t, 4 * l->hidden);
	int k;

	for (k = 0; k < l->hidden; k++)
		w[k] = l->norm[i][k] * factor;
	l->norm[i] = w;
	l->norm_mem[i] = sherd_st_upload(t, w, 4 * l->hidden);
}

/* A row of UP has a scale that is a NaN. */
static void spoil_up(struct sherd_st *t, struct layer *l)
{
	struct sherd_tensor *w = &l->w[UP];
	size_t size = w->fmt.scale == SHERD_ELEM_F32 ? 4 : 2;
	uint8_t *scales = memcpy(sherd_st_alloc(t, w->scales_size), w->scales, w->scales_size);

	memset(scales + size * sherd_st_below(t, MIN(l->ffn, 16)), 0xff, size);
	w->scales = scales;
	l->dev[UP].scales = sherd_st_upload(t, scales, w->scales_size);
}

/* Makes a layer with input @x fail in @phase, by what the phases before it do not refuse. */
static void spoil(struct sherd_st *t, struct layer *l, enum phase phase, int round, float *x)
{
	switch (phase) {
	case NORM_1:
		x[sherd_st_below(t, l->hidden)] = sherd_st_extreme(round % 4);
		break;
	case ROPE: /* caches of halves hold less than the others */
		scale_norm(t, l, 0, l->past.shape.type == SHERD_KV_F16 && round % 2 ? 1e8f : 1e20f);
		break;
	case ATTENTION:
		spoil_cache(t, l);
		break;
	case NORM_2:
		scale_norm(t, l, 1, sherd_st_extreme(round % 4));
		break;
	default: /* the product of gate and up is too large */
		if (l->gated && round % 2)
			scale_norm(t, l, 1, 1e22f);
		else
			spoil_up(t, l);
	}
}

/* Each phase says so when it fails, and nobody else does. */
static void check_failure(struct sherd_st *t, const struct layer *good, enum phase phase, int round)
{
	struct layer l = *good;
	float *x = sherd_st_floats(t, l.hidden);
	struct scratch s;
	int refused;

	l.past.pool = memcpy(sherd_st_alloc(t, l.past.pool_size + 256), good->past.pool,
			     l.past.pool_size);
	spoil(t, &l, phase, round, x);
	s = make_scratch(t, &l, 1, x);
	upload_pool(t, &l);
	run(t, &l, &s, round % 2, 0);
	refused = reference(t, &l, x);
	t->c->step = FIRST_STEP + refused;
	sherd_st_expect_failed(t, refused < 0 ? -1 : 0, "layer", phase);
}

/* Narrow and odd; in the last round wide, so that all workers have something to do at once. */
void sherd_st_layer(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	bool wide = round == SHERD_ST_ROUNDS - 1;
	int hidden = wide ? 512 + sherd_st_below(t, 512) : 1 + sherd_st_below(t, 300), i;
	struct layer l[N_LAYERS] = { 0 };
	enum phase phase;

	for (i = 0; i < N_LAYERS; i++)
		make_layer(t, &l[i], p, hidden, wide ? 1536 : 1 + sherd_st_below(t, 300), round + i);
	check_chain(t, p, l);
	for (phase = 0; phase < N_PHASES; phase++)
		check_failure(t, &l[0], phase, round);
}
