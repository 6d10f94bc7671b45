/* SPDX-License-Identifier: MIT */
/*
 * cl_selftest_layer: a random layer at the end of a random past, and what the reference makes of it,
 * step by step, for the test of walk.cl.
 */
#include "infer/cl/cl_selftest_layer.h"

cl_ulong sherd_st_address(struct sherd_st *t, cl_mem m)
{
	cl_ulong at;

	sherd_cl_addresses(t->c, &m, 1, &at);
	return at;
}

cl_mem sherd_st_vector(struct sherd_st *t, float **x, int n)
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
		l->bias_mem[i] = sherd_st_vector(t, &l->bias[i], rows);
}

void sherd_st_make_weights(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p)
{
	int i;

	make_matrix(t, l, p, QKV, l->past.stride, l->hidden);
	make_matrix(t, l, p, OUT, l->hidden, l->q);
	make_matrix(t, l, p, UP, l->ffn * (1 + l->gated), l->hidden);
	make_matrix(t, l, p, DOWN, l->hidden, l->ffn);
	for (i = 0; i < 2; i++) {
		l->norm_mem[i] = sherd_st_vector(t, &l->norm[i], l->hidden);
		if (l->with_bias && l->norm_kind == SHERD_NORM_LAYER)
			l->norm_bias_mem[i] = sherd_st_vector(t, &l->norm_bias[i], l->hidden);
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
		l->rope_at = sherd_st_address(t, sherd_st_upload(t, past->rope,
							4 * (size_t)past->n_ctx * past->rope_dim));
	pos[0] = past->n_ctx - 1;
	l->cache = (struct sherd_cl_cache){
		.shape = past->shape,
		.pages = sherd_st_upload(t, past->pages, 4 * DIV_ROUND_UP(past->n_ctx, SHERD_PAGE)),
		.pos = sherd_st_upload(t, pos, 4),
		.item = sherd_st_upload(t, item, 4),
	};
}

void sherd_st_make_layer(struct sherd_st *t, struct layer *l, const struct sherd_cl_program *p,
		       int hidden, int ffn, int round)
{
	int i;

	l->hidden = hidden;
	l->ffn = ffn;
	l->act = round % 4;
	l->gated = sherd_st_below(t, 2);
	l->want = SHERD_QUANT_Q8 | (sherd_st_below(t, 2) ? SHERD_QUANT_F32 : 0) |
		  (p->arg[1] == 16 || sherd_st_below(t, 2) ? SHERD_QUANT_HALVES : 0);
	l->with_bias = sherd_st_below(t, 2);
	l->norm_kind = sherd_st_below(t, 2) ? SHERD_NORM_RMS : SHERD_NORM_LAYER;
	sherd_st_make_past(t, &l->past, p->arg[4], p->arg[5], p->arg[6], round);
	l->q = l->past.n_heads * l->past.shape.head_dim;
	sherd_st_make_weights(t, l, p);
	for (i = 0; i < l->past.n_ctx - 1; i++)
		sherd_st_past_add(&l->past, i);
	upload_past(t, l);
}

int sherd_st_multiply(struct sherd_st *t, const struct layer *l, int i, const float *x, int n,
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

int sherd_st_normalize(const struct layer *l, int i, const float *x, float *y)
{
	enum sherd_norm kind = i && l->joins ? SHERD_NORM_NONE : l->norm_kind;

	return sherd_ref_norm(kind, x, l->norm[i], l->norm_bias[i], l->hidden, 1e-5f, y);
}

int sherd_st_layer(struct sherd_st *t, struct layer *l, float *x)
{
	int last = l->past.n_ctx - 1;
	float *y = sherd_st_alloc(t, 4 * MAX(MAX(l->hidden, l->q), l->ffn));
	float *up = sherd_st_alloc(t, MAX(8 * l->ffn, 4 * l->hidden));
	int dim = l->past.shape.head_dim, h;
	float *qkv = l->past.qkv + (size_t)last * l->past.stride;

	if (sherd_st_normalize(l, 0, x, y) || sherd_st_multiply(t, l, QKV, y, l->hidden, qkv, false))
		return NORM_1;
	for (h = 0; h < l->past.n_heads && l->joins; h++)
		if (sherd_ref_norm_to(SHERD_NORM_RMS, qkv + h * dim, l->q_norm + h * l->q_norm_step,
				      NULL, dim, 1e-5f, 1, false, y, qkv + h * dim))
			return Q_NORM;
	if (sherd_st_past_add(&l->past, last))
		return ROPE;
	sherd_st_past_attend(&l->past, last, last, y);
	if (sherd_st_multiply(t, l, OUT, y, l->q, x, true))
		return MERGE;
	if (sherd_st_normalize(l, 1, x, y) || sherd_st_multiply(t, l, UP, y, l->hidden, up, false))
		return NORM_2;
	sherd_ref_act(l->act, l->gated ? up : NULL, l->gated ? up + l->ffn : up, l->ffn, y);
	if (!l->joins)
		return sherd_st_multiply(t, l, DOWN, y, l->ffn, x, true) ? ACT : -1;
	if (sherd_st_multiply(t, l, DOWN, y, l->ffn, up, false))
		return ACT;
	return sherd_ref_norm_to(l->norm_kind, up, l->norm[0], l->norm_bias[0], l->hidden, 1e-5f,
				 JOIN_SCALE, true, y, x) ?
		       JOIN :
		       -1;
}
