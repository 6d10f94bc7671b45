/* SPDX-License-Identifier: MIT */
/* cl_selftest_layer: a random layer at the end of a random past, by layer.cl and by the reference's steps. */
#include <math.h>
#include "infer/cl/cl_selftest.h"

enum { QKV, OUT, UP, DOWN };

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

static void make_layer(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p,
		       int round)
{
	int i;

	l->hidden = 1 + sherd_st_below(t, 300);
	l->ffn = 1 + sherd_st_below(t, 300);
	l->act = round % 3;
	l->gated = sherd_st_below(t, 2);
	l->with_bias = sherd_st_below(t, 2);
	l->norm_kind = sherd_st_below(t, 2) ? SHERD_NORM_RMS : SHERD_NORM_LAYER;
	sherd_st_make_past(t, &l->past, p->arg[4], p->arg[5], round);
	l->q = l->past.n_heads * l->past.shape.head_dim;
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

/* dst (+)= W quantize(x): a step of the reference; 0, or -EDOM where the quantizer refuses x. */
static int multiply(struct sherd_st *t, const struct layer *l, int i, const float *x, int n,
		    float *dst, bool residual)
{
	int groups = DIV_ROUND_UP(n, 32), rc;
	int8_t *q = sherd_st_alloc(t, 32 * groups);
	struct sherd_act_group *g = sherd_st_alloc(t, sizeof(*g) * groups);
	struct sherd_act_half *h = sherd_st_alloc(t, sizeof(*h) * groups);
	struct sherd_ref_act a = { x, n, q, 32 * groups, g, h };

	rc = sherd_ref_quantize(x, n, q, g, h);
	sherd_ref_matmul(&l->w[i], &a, 1, l->bias[i], residual, dst, l->w[i].fmt.rows);
	return rc;
}

/* The layer, on the past's last position; x [hidden] changes. Returns the first refusal. */
static int reference(struct sherd_st *t, struct layer *l, float *x)
{
	int width = MAX(MAX(l->hidden, l->q), l->ffn), rc;
	float *y = sherd_st_alloc(t, 4 * width), *up = sherd_st_alloc(t, 8 * l->ffn);
	float *qkv = l->past.qkv + (size_t)(l->past.n_ctx - 1) * l->past.stride;

	rc = sherd_ref_norm(l->norm_kind, x, l->norm[0], l->norm_bias[0], l->hidden, 1e-5f, y);
	if (rc)
		return rc;
	multiply(t, l, QKV, y, l->hidden, qkv, false);
	rc = sherd_st_past_add(&l->past, l->past.n_ctx - 1);
	if (rc)
		return rc;
	sherd_st_past_attend(&l->past, l->past.n_ctx - 1, y);
	multiply(t, l, OUT, y, l->q, x, true);
	rc = sherd_ref_norm(l->norm_kind, x, l->norm[1], l->norm_bias[1], l->hidden, 1e-5f, y);
	if (rc)
		return rc;
	multiply(t, l, UP, y, l->hidden, up, false);
	sherd_ref_act(l->act, l->gated ? up : NULL, l->gated ? up + l->ffn : up, l->ffn, y);
	rc = multiply(t, l, DOWN, y, l->ffn, x, true);
	return rc;
}

static struct sherd_layer_shape shape_of(struct sherd_st *t, const struct layer *l, int n_parts)
{
	const int bias = l->with_bias ? 2 : 0, step = t->c->step;

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
		.n_parts = n_parts,
		.slot = 1,
		.workers = t->c->dev->info.compute_units,
		.step_norm_1 = step,
		.step_rope = step,
		.step_att = step,
		.step_norm_2 = step,
		.step_act = step,
		.eps = 1e-5f,
		.inv_hidden = 1.0f / (float)l->hidden,
		.q_scale = SHERD_ST_Q_SCALE,
	};
}

/* Runs the kernel on @x; the new x is in *x_mem. */
static void run(struct sherd_st *t, struct layer *l, const float *x, struct sherd_cl_cache *cache,
		int n_parts, cl_mem *x_mem)
{
	int32_t item_row[2] = { 0, 1 }, *pos = sherd_st_alloc(t, 4), *item = sherd_st_alloc(t, 4);
	int group = l->past.n_heads / l->past.shape.n_kv_heads,
	    width = MAX(MAX(l->hidden, l->q), l->ffn);
	int n_tiles = sherd_cl_make_tiles(item_row, 1, group, NULL);
	struct sherd_cl_tile *tiles = sherd_st_alloc(t, n_tiles * sizeof(*tiles));
	size_t part = 4 * (size_t)l->past.n_heads * MAX(n_parts, 1) *
		      sherd_cl_part_floats(t->c, l->past.shape.head_dim);
	void *zeros = sherd_st_alloc(t, 2 * SHERD_CL_LAYER_COUNTERS);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, 1, width);
	struct sherd_cl_layer d = {
		.shape = shape_of(t, l, n_parts),
		.counters = sherd_st_upload(t, zeros, 2 * SHERD_CL_LAYER_COUNTERS),
		.x = *x_mem = sherd_st_upload(t, x, 4 * l->hidden),
		.qkv = sherd_st_upload(t, sherd_st_floats(t, l->past.stride), 4 * l->past.stride),
		.ffn = sherd_st_upload(t, sherd_st_floats(t, 2 * l->ffn), 8 * l->ffn),
		.norm_1 = l->norm_mem[0],
		.norm_1_bias = l->norm_bias_mem[0],
		.norm_2 = l->norm_mem[1],
		.norm_2_bias = l->norm_bias_mem[1],
		.qkv_w = { &l->dev[QKV], l->bias_mem[QKV] },
		.out_w = { &l->dev[OUT], l->bias_mem[OUT] },
		.up_w = { &l->dev[UP], l->bias_mem[UP] },
		.down_w = { &l->dev[DOWN], l->bias_mem[DOWN] },
		.parts = sherd_st_upload(t, sherd_st_alloc(t, part), part),
		.layer = l->past.layer,
	};

	pos[0] = l->past.n_ctx - 1;
	sherd_cl_make_tiles(item_row, 1, group, tiles);
	d.shape.n_tiles = n_tiles;
	d.tiles = sherd_st_upload(t, tiles, n_tiles * sizeof(*tiles));
	if (l->past.rope)
		d.rope = sherd_st_upload(t, l->past.rope,
					 4 * (size_t)l->past.n_ctx * l->past.rope_dim);
	cache->shape = l->past.shape;
	cache->pages =
		sherd_st_upload(t, l->past.pages, 4 * DIV_ROUND_UP(l->past.n_ctx, SHERD_PAGE));
	cache->pos = sherd_st_upload(t, pos, 4);
	cache->item = sherd_st_upload(t, item, 4);
	cache->pool = sherd_st_upload(t, l->past.pool, l->past.pool_size + 256);
	sherd_cl_layer(t->c, &d, cache, &a);
}

void sherd_st_layer(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	struct sherd_cl_cache cache[2] = { { 0 }, { 0 } };
	struct layer l = { 0 };
	float *x, *bad;
	cl_mem got[2];
	int i, n_parts;

	make_layer(t, &l, p, round);
	n_parts = (l.past.n_ctx - 1) / SHERD_CHUNK + 1;
	for (i = 0; i < l.past.n_ctx - 1; i++)
		sherd_st_past_add(&l.past, i);
	x = sherd_st_floats(t, l.hidden);
	for (i = 0; i < 2; i++)
		run(t, &l, x, &cache[i], i ? n_parts : 0, &got[i]);
	bad = sherd_st_floats(t, l.hidden);
	bad[sherd_st_below(t, l.hidden)] = round % 2 ? NAN : INFINITY;
	reference(t, &l, x);
	for (i = 0; i < 2; i++) {
		sherd_st_expect(t, got[i], x, 4 * l.hidden, p->spec,
				"layer: hidden %d, %d of %d heads, ffn %d, %d positions, parts %d",
				l.hidden, l.past.n_heads, l.past.shape.n_kv_heads, l.ffn,
				l.past.n_ctx, i);
		sherd_st_expect(t, cache[i].pool, l.past.pool, l.past.pool_size, p->spec,
				"layer's cache");
	}
	sherd_st_expect_failed(t, -1, "layer", 0);
	run(t, &l, bad, &cache[0], 0, &got[0]);
	sherd_st_expect_failed(t, 0, "layer", bad[0]);
}
