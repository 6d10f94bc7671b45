/* SPDX-License-Identifier: MIT */
/* cl_selftest_attention: a random past, and what rope and attention make of it. */
#include "infer/cl/cl_selftest.h"
#include "num.h"

/* What the reference executor does to a row: see ref_exec.c. */
int sherd_st_past_add(struct sherd_st_past *a, int pos)
{
	int dim = a->shape.head_dim, h, rc;
	float *q = a->qkv + (size_t)pos * a->stride, *k = q + a->n_heads * dim;
	float *v = k + a->shape.n_kv_heads * dim;
	uint8_t *page = a->pool + a->pages[pos / SHERD_PAGE] * sherd_kv_shape_page_bytes(&a->shape);

	for (h = 0; a->rope && h < a->n_heads + a->shape.n_kv_heads; h++)
		sherd_ref_rope(a->position, a->rope + (size_t)pos * a->rope_dim, a->rope_dim,
			       q + h * dim);
	rc = sherd_ref_query(&a->shape, q, a->n_heads, SHERD_ST_Q_SCALE);
	for (h = 0; h < a->shape.n_kv_heads && !rc; h++)
		rc = sherd_ref_kv_store(&a->shape, page, a->layer, h, pos % SHERD_PAGE, k + h * dim,
					v + h * dim);
	return rc;
}

void sherd_st_make_past(struct sherd_st *t, struct sherd_st_past *a, int kv_type, int dim,
			int queries, int round)
{
	int n_pages, i, group = 1 + sherd_st_below(t, 4);

	a->shape = (struct sherd_kv_shape){ 2, 1 + sherd_st_below(t, 3), dim, kv_type };
	/* a tile of a single token's size, with a short past and a long one */
	if (queries < SHERD_CL_TILE_QUERIES && (round == 0 || round == SHERD_ST_ROUNDS - 2))
		group = queries;
	if (round == 1) /* more than a tile has room for, so that a row has several */
		group = SHERD_CL_TILE_QUERIES + 1 + sherd_st_below(t, SHERD_CL_TILE_QUERIES);
	if (round == SHERD_ST_ROUNDS - 1) {
		a->shape.n_kv_heads = 2;
		group = 4;
	}
	a->n_heads = a->shape.n_kv_heads * group;
	a->n_ctx = round < 3 ? 1 + sherd_st_below(t, 100) : 200 + sherd_st_below(t, 500);
	a->layer = sherd_st_below(t, 2);
	a->stride = (a->n_heads + 2 * a->shape.n_kv_heads) * dim;
	a->qkv = sherd_st_floats(t, (size_t)a->n_ctx * a->stride);
	a->position = sherd_st_below(t, 2) ? SHERD_POS_ROPE_PAIRS : SHERD_POS_ROPE_HALVES;
	a->rope_dim = sherd_st_below(t, 3) || dim < 4 ? dim / 2 * 2 : dim / 4 * 2;
	a->rope = round % 3 == 2 || !a->rope_dim ?
			  NULL :
			  sherd_st_floats(t, (size_t)a->n_ctx * a->rope_dim);
	if (round % 2)
		a->sight.window = 1 + sherd_st_below(t, a->n_ctx + 20);
	if (sherd_st_below(t, 2))
		a->sight.cap = 0.5f + (float)sherd_st_below(t, 50);
	n_pages = DIV_ROUND_UP(a->n_ctx, SHERD_PAGE);
	a->pages = sherd_st_alloc(t, 4 * n_pages);
	for (i = 0; i < n_pages; i++)
		a->pages[i] = n_pages - i; /* backwards, page 0 unused */
	a->pool_size = (n_pages + 1) * sherd_kv_shape_page_bytes(&a->shape);
	a->pool = sherd_st_alloc(t, a->pool_size + 256);
}

void sherd_st_past_attend(const struct sherd_st_past *a, int pos, int last, float *out)
{
	int dim = a->shape.head_dim, group = a->n_heads / a->shape.n_kv_heads, h;

	for (h = 0; h < a->n_heads; h++)
		sherd_ref_attend(&a->shape, a->pool, a->pages, a->layer, h / group,
				 sherd_first_seen(last, a->sight.window), last, a->sight.cap,
				 a->qkv + (size_t)pos * a->stride + h * dim, out + h * dim);
}

/*
 * The last @n rows of the sequence, with and without parts; each sees what came before it, or
 * @all.
 */
static void check_attend(struct sherd_st *t, struct sherd_st_past *a, struct sherd_cl_cache *cache,
			 int n, bool all)
{
	int dim = a->shape.head_dim, width = a->n_heads * dim, first = a->n_ctx - n, i, parts;
	int group = a->n_heads / a->shape.n_kv_heads, n_chunks = (a->n_ctx - 1) / SHERD_CHUNK + 1;
	int32_t item_row[2] = { 0, n }, *last = sherd_st_alloc(t, 4 * n);
	float *want = sherd_st_alloc(t, 4 * (size_t)n * width);
	float *bad = sherd_st_alloc(t, 4 * (size_t)n * width);
	int n_tiles = sherd_cl_make_tiles(item_row, 1, group, NULL);
	struct sherd_cl_tile *tiles = sherd_st_alloc(t, n_tiles * sizeof(*tiles));
	size_t part = 4 * (size_t)n * a->n_heads * n_chunks * sherd_cl_part_floats(t->c, dim);
	struct sherd_cl_rows q =
		sherd_st_upload_rows(t, a->qkv + (size_t)first * a->stride, n, a->stride);
	struct sherd_st_act h = sherd_st_new_act(t, n, width);
	struct sherd_cl_act to;
	cl_mem dt;

	sherd_cl_make_tiles(item_row, 1, group, tiles);
	dt = sherd_st_upload(t, tiles, n_tiles * sizeof(*tiles));
	for (i = 0; i < n; i++) {
		last[i] = all ? a->n_ctx - 1 : first + i;
		sherd_st_past_attend(a, first + i, last[i], want + (size_t)i * width);
		sherd_st_quantize_row(&h, i, want + (size_t)i * width);
	}
	cache->last = sherd_st_upload(t, last, 4 * n);
	sherd_st_poison(bad, 4 * (size_t)n * width);
	for (parts = 0; parts < 2; parts++) {
		struct sherd_cl_rows att = sherd_st_upload_rows(t, bad, n, width);
		cl_mem pm = parts ? sherd_st_upload(t, sherd_st_alloc(t, part), part) : NULL;

		sherd_cl_attend(t->c, q, n, a->n_heads, dt, n_tiles, pm, parts ? n_chunks : 0,
				a->sight, cache, a->layer, att, NULL);
		sherd_st_expect(
			t, att.mem, want, 4 * (size_t)n * width, "attend",
			"%d rows to position %d, %d of %d heads of %d, parts %d, window %d, "
			"cap %g",
			n, a->n_ctx, a->n_heads, a->shape.n_kv_heads, dim, parts, a->sight.window,
			(double)a->sight.cap);
		if (!sherd_cl_attend_quantizes(t->c, dim))
			continue;
		to = sherd_st_poisoned_act(t, n, width);
		sherd_cl_attend(t->c, q, n, a->n_heads, dt, n_tiles, pm, parts ? n_chunks : 0,
				a->sight, cache, a->layer, att, &to);
		sherd_st_expect_act(t, &to, &h, "attend, quantized");
	}
}

void sherd_st_attention(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	struct sherd_cl_cache cache = { 0 };
	struct sherd_st_past a = { 0 };
	float extreme = sherd_st_extreme(round);
	struct sherd_cl_rows qkv;
	int32_t *pos, *item;
	cl_mem rope = NULL;
	int i;

	sherd_st_make_past(t, &a, p->arg[0], p->arg[1], p->arg[2], round);
	pos = sherd_st_alloc(t, 4 * a.n_ctx);
	item = sherd_st_alloc(t, 4 * a.n_ctx);
	for (i = 0; i < a.n_ctx; i++)
		pos[i] = i;
	cache.shape = a.shape;
	cache.pool = sherd_st_upload(t, a.pool, a.pool_size + 256);
	cache.pages = sherd_st_upload(t, a.pages, 4 * DIV_ROUND_UP(a.n_ctx, SHERD_PAGE));
	cache.pos = sherd_st_upload(t, pos, 4 * a.n_ctx);
	cache.item = sherd_st_upload(t, item, 4 * a.n_ctx);
	qkv = sherd_st_upload_rows(t, a.qkv, a.n_ctx, a.stride);
	if (a.rope)
		rope = sherd_st_upload(t, a.rope, 4 * (size_t)a.n_ctx * a.rope_dim);
	sherd_cl_rope(t->c, qkv, a.n_ctx, a.n_heads, rope, a.rope_dim,
		      a.position == SHERD_POS_ROPE_HALVES, SHERD_ST_Q_SCALE, &cache, a.layer);
	for (i = 0; i < a.n_ctx; i++)
		sherd_st_past_add(&a, i);
	sherd_st_expect(t, cache.pool, a.pool, a.pool_size, "rope", "%d positions, cache type %d",
			a.n_ctx, a.shape.type);
	check_attend(t, &a, &cache, 1, false);
	i = 1 + sherd_st_below(t, 40);
	check_attend(t, &a, &cache, MIN(a.n_ctx, i), round % 3 == 2);

	sherd_st_expect_failed(t, -1, "rope", 0);
	for (i = 0; i < a.stride; i++)
		a.qkv[i] = sherd_st_float(t);
	a.qkv[sherd_st_below(t, a.stride)] = extreme;
	cache.pos = sherd_st_upload(t, pos, 4);
	qkv = sherd_st_upload_rows(t, a.qkv, 1, a.stride);
	sherd_cl_rope(t->c, qkv, 1, a.n_heads, rope, a.rope_dim,
		      a.position == SHERD_POS_ROPE_HALVES, SHERD_ST_Q_SCALE, &cache, a.layer);
	sherd_st_expect_failed(t, sherd_st_past_add(&a, 0) ? 0 : -1, "rope", extreme);
}
