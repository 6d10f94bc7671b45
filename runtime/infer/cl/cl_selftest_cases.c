/* SPDX-License-Identifier: MIT */
/* cl_selftest_cases: the shapes and inputs of the self-test, and what the reference says to each. */
#include <math.h>
#include <stdlib.h>
#include "infer/cl/cl_selftest.h"
#include "infer/ref/ref.h"
#include "num.h"

/* The quantizer's three outputs on the host, with the rows that a matmul may read beyond the last. */
struct host_act {
	float *a;
	int8_t *q;
	struct sherd_act_group *groups;
	struct sherd_act_half *halves;
	size_t n_groups, rows;
	int width;
};

static struct host_act new_act(struct sherd_st *t, int rows, int width)
{
	struct host_act h = { .width = width, .n_groups = DIV_ROUND_UP(width, 32),
			      .rows = rows + SHERD_ACT_PAD };

	h.a = sherd_st_alloc(t, 4 * h.rows * width);
	h.q = sherd_st_alloc(t, 32 * h.rows * h.n_groups);
	h.groups = sherd_st_alloc(t, 16 * h.rows * h.n_groups);
	h.halves = sherd_st_alloc(t, 16 * h.rows * h.n_groups);
	return h;
}

static void quantize_row(struct host_act *h, int row, const float *x)
{
	memcpy(h->a + (size_t)row * h->width, x, 4 * h->width);
	sherd_ref_quantize(x, h->width, h->q + row * h->n_groups * 32, h->groups + row * h->n_groups,
			   h->halves + row * h->n_groups);
}

static struct sherd_cl_act upload_act(struct sherd_st *t, const struct host_act *h)
{
	return (struct sherd_cl_act){
		.a = sherd_st_upload(t, h->a, 4 * h->rows * h->width),
		.a_stride = h->width,
		.q = sherd_st_upload(t, h->q, 32 * h->rows * h->n_groups),
		.groups = sherd_st_upload(t, h->groups, 16 * h->rows * h->n_groups),
		.halves = sherd_st_upload(t, h->halves, 16 * h->rows * h->n_groups),
		.want = SHERD_QUANT_F32 | SHERD_QUANT_Q8 | SHERD_QUANT_HALVES,
	};
}

struct sherd_cl_act sherd_st_poisoned_act(struct sherd_st *t, int rows, int width)
{
	struct host_act h = new_act(t, rows, width);

	sherd_st_poison(h.a, 4 * h.rows * width);
	sherd_st_poison(h.q, 32 * h.rows * h.n_groups);
	return upload_act(t, &h);
}

static void expect_act(struct sherd_st *t, const struct sherd_cl_act *a, const struct host_act *h,
		       int rows, const char *what)
{
	sherd_st_expect(t, a->a, h->a, 4 * (size_t)rows * h->width, what, "%d x %d floats", rows,
			h->width);
	sherd_st_expect(t, a->q, h->q, 32 * rows * h->n_groups, what, "%d x %d int8", rows, h->width);
	sherd_st_expect(t, a->groups, h->groups, 16 * rows * h->n_groups, what, "%d x %d groups", rows,
			h->width);
	sherd_st_expect(t, a->halves, h->halves, 16 * rows * h->n_groups, what, "%d x %d halves", rows,
			h->width);
}

/* ---------------------------------------------------------------------- matrices */

static void fill_plane(struct sherd_st *t, enum sherd_elem e, void *plane, size_t size, float scale)
{
	size_t i;

	for (i = 0; e == SHERD_ELEM_F32 && i < size / 4; i++)
		((float *)plane)[i] = sherd_st_float(t) * scale;
	for (i = 0; e == SHERD_ELEM_F16 && i < size / 2; i++)
		((uint16_t *)plane)[i] = sherd_f32_to_f16(sherd_st_float(t) * scale);
	for (i = 0; e == SHERD_ELEM_BF16 && i < size / 2; i++) {
		float f = sherd_st_float(t) * scale;
		uint32_t u;

		memcpy(&u, &f, 4);
		((uint16_t *)plane)[i] = u >> 16;
	}
	for (i = 0; sherd_elem_is_int(e) && i < size; i++)
		((uint8_t *)plane)[i] = sherd_st_random(t);
}

void sherd_st_matrix(struct sherd_st *t, const struct sherd_format *f, struct sherd_tensor *host,
		     struct sherd_cl_matrix *dev)
{
	void *v, *s, *m;

	memset(host, 0, sizeof(*host));
	memset(dev, 0, sizeof(*dev));
	host->fmt = dev->fmt = *f;
	sherd_format_sizes(f, &host->values_size, &host->scales_size, &host->mins_size);
	host->values = v = sherd_st_alloc(t, host->values_size + 64);
	fill_plane(t, f->elem, v, host->values_size, 1.0f);
	dev->values = sherd_st_upload(t, v, host->values_size);
	if (host->scales_size) {
		host->scales = s = sherd_st_alloc(t, host->scales_size);
		fill_plane(t, f->scale, s, host->scales_size, 0.01f);
		dev->scales = sherd_st_upload(t, s, host->scales_size);
	}
	if (host->mins_size) {
		host->mins = m = sherd_st_alloc(t, host->mins_size);
		fill_plane(t, f->min, m, host->mins_size, 0.05f);
		dev->mins = sherd_st_upload(t, m, host->mins_size);
	}
}

struct sherd_format sherd_st_format(const struct sherd_cl_program *p, int rows, int cols)
{
	static const enum sherd_elem mins[] = { SHERD_ELEM_NONE, SHERD_ELEM_F16, SHERD_ELEM_F32 };

	if (p->kind == SHERD_CL_FLOAT)
		return (struct sherd_format){ p->arg[0], 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, rows, cols };
	return (struct sherd_format){ p->arg[0] == 4 ? SHERD_ELEM_U4 : SHERD_ELEM_U8, p->arg[1],
				      p->arg[2] ? SHERD_ELEM_F32 : SHERD_ELEM_F16, mins[p->arg[3]],
				      rows, cols };
}

/* One matrix through one kernel; dst is wider than the result on both sides. */
static void check_matmul(struct sherd_st *t, struct sherd_cl_program *p, enum sherd_cl_kernel k,
			 const struct sherd_tensor *w, const struct sherd_cl_matrix *dw,
			 const struct host_act *h, const struct sherd_cl_act *a, int n)
{
	bool residual = sherd_st_below(t, 2), with_bias = sherd_st_below(t, 2);
	int rows = w->fmt.rows, col = sherd_st_below(t, 3), stride = rows + col + sherd_st_below(t, 5);
	float *bias = sherd_st_floats(t, rows), *dst = sherd_st_floats(t, (size_t)n * stride);
	struct sherd_ref_act ra = { h->a, h->width, h->q, h->n_groups * 32, h->groups, h->halves };
	struct sherd_cl_rows d = { sherd_st_upload(t, dst, 4 * (size_t)n * stride), stride };
	cl_mem db = with_bias ? sherd_st_upload(t, bias, 4 * rows) : NULL;

	sherd_cl_matmul(t->c, k, dw, a, n, db, residual, d, col);
	sherd_ref_matmul(w, &ra, n, with_bias ? bias : NULL, residual, dst + col, stride);
	sherd_st_expect(t, d.mem, dst, 4 * (size_t)n * stride, p->spec, "kernel %d, %d x %d x %d",
			k - SHERD_K_MATMUL_1, rows, h->width, n);
}

/* Gate, up and the activation in one kernel. */
static void check_gated(struct sherd_st *t, struct sherd_cl_program *p, int cols, int n,
			enum sherd_act act)
{
	int width = 32 * (1 + sherd_st_below(t, 5)), i;
	struct sherd_format f = sherd_st_format(p, 2 * width, cols);
	struct host_act in = new_act(t, n, cols), h = new_act(t, n, width);
	struct sherd_ref_act ra = { in.a, cols, in.q, in.n_groups * 32, in.groups, in.halves };
	float *y = sherd_st_alloc(t, 8 * (size_t)n * width), *row = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a, to;
	struct sherd_cl_matrix dw;
	struct sherd_tensor w;

	sherd_st_matrix(t, &f, &w, &dw);
	for (i = 0; i < n; i++)
		quantize_row(&in, i, sherd_st_floats(t, cols));
	a = upload_act(t, &in);
	sherd_ref_matmul(&w, &ra, n, NULL, false, y, 2 * width);
	for (i = 0; i < n; i++) {
		sherd_ref_act(act, y + 2 * (size_t)i * width, y + (2 * (size_t)i + 1) * width, width, row);
		quantize_row(&h, i, row);
	}
	to = sherd_st_poisoned_act(t, n, width);
	sherd_cl_matmul_gated(t->c, &dw, &a, n, act, &to);
	expect_act(t, &to, &h, n, "matmul_gated");
}

void sherd_st_matmul(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	static const int sizes[][3] = { { 1, 1, 1 }, { 16, 256, 16 }, { 70, 544, 33 } };
	bool fixed = round < (int)ARRAY_SIZE(sizes);
	int rows = fixed ? sizes[round][0] : 1 + sherd_st_below(t, 150);
	int cols = fixed ? sizes[round][1] : 1 + sherd_st_below(t, 700);
	int n = fixed ? sizes[round][2] : 1 + sherd_st_below(t, 40), i, k;
	struct sherd_format f = sherd_st_format(p, rows, cols);
	struct host_act h = new_act(t, n, cols);
	struct sherd_cl_matrix dw;
	struct sherd_cl_act a;
	struct sherd_tensor w;

	sherd_st_matrix(t, &f, &w, &dw);
	for (i = 0; i < n; i++)
		quantize_row(&h, i, sherd_st_floats(t, cols));
	a = upload_act(t, &h);
	for (k = SHERD_K_MATMUL_1; k <= SHERD_K_MATMUL_TILE && !t->rc; k++)
		if (p->kernel[k])
			check_matmul(t, p, k, &w, &dw, &h, &a, n);
	if (p->kernel[SHERD_K_MATMUL_GATED] && !t->rc)
		check_gated(t, p, cols, n, round % 3);
}

/* -------------------------------------------------------------------------- rows */

static struct sherd_cl_rows upload_rows(struct sherd_st *t, const float *x, int n, int stride)
{
	return (struct sherd_cl_rows){ sherd_st_upload(t, x, 4 * (size_t)n * stride), stride };
}

static void check_norm(struct sherd_st *t, enum sherd_norm norm, int n, int width)
{
	int stride = width + sherd_st_below(t, 4), i;
	float *x = sherd_st_floats(t, (size_t)n * stride), *w = sherd_st_floats(t, width);
	float *b = sherd_st_floats(t, width), *y = sherd_st_alloc(t, 4 * width);
	bool with_bias = norm == SHERD_NORM_LAYER && sherd_st_below(t, 2);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	struct host_act h = new_act(t, n, width);

	memset(x, 0, 4 * MIN(width, 40)); /* a group of zeros */
	sherd_cl_norm(t->c, norm, upload_rows(t, x, n, stride), n, width, sherd_st_upload(t, w, 4 * width),
		      with_bias ? sherd_st_upload(t, b, 4 * width) : NULL, 1e-5f, &a);
	for (i = 0; i < n; i++) {
		sherd_ref_norm(norm, x + (size_t)i * stride, w, with_bias ? b : NULL, width, 1e-5f, y);
		quantize_row(&h, i, y);
	}
	expect_act(t, &a, &h, n, norm == SHERD_NORM_NONE ? "quantize" : "norm");
}

static void check_act(struct sherd_st *t, enum sherd_act act, bool gated, int n, int width)
{
	int stride = width * 2, i;
	float *x = sherd_st_floats(t, (size_t)n * stride), *y = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	struct host_act h = new_act(t, n, width);

	for (i = 0; i < n * stride; i++)
		x[i] *= 5.0f;
	sherd_cl_activate(t->c, act, gated, upload_rows(t, x, n, stride), n, width, &a);
	for (i = 0; i < n; i++) {
		float *row = x + (size_t)i * stride;

		sherd_ref_act(act, gated ? row : NULL, gated ? row + width : row, width, y);
		quantize_row(&h, i, y);
	}
	expect_act(t, &a, &h, n, "activate");
}

static void check_cut_and_gather(struct sherd_st *t, int n, int width)
{
	float *x = sherd_st_floats(t, (size_t)n * width);
	uint8_t *wire = sherd_st_alloc(t, n);
	int32_t *wanted = sherd_st_alloc(t, 4 * n);
	struct sherd_cl_rows d = upload_rows(t, x, n, width);
	int i, m = 0;

	for (i = 0; i < n; i++) {
		wire[i] = sherd_st_below(t, 4) == 3 ? 255 : sherd_st_below(t, 3);
		if (sherd_st_below(t, 2))
			wanted[m++] = i;
	}
	sherd_cl_cut(t->c, d, n, width, sherd_st_upload(t, wire, n));
	for (i = 0; i < n; i++)
		if (wire[i] != 255)
			sherd_ref_cut(wire[i], x + (size_t)i * width, width);
	sherd_st_expect(t, d.mem, x, 4 * (size_t)n * width, "cut", "%d x %d", n, width);
	if (!m)
		return;
	sherd_cl_gather(t->c, d, width, sherd_st_upload(t, wanted, 4 * m), m);
	for (i = 0; i < m; i++)
		memmove(x + (size_t)i * width, x + (size_t)wanted[i] * width, 4 * width);
	sherd_st_expect(t, d.mem, x, 4 * (size_t)n * width, "gather", "%d of %d x %d", m, n, width);
}

static struct sherd_format random_format(struct sherd_st *t, int rows, int cols)
{
	static const struct sherd_format all[] = {
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 0, 0 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_F16, 0, 0 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F32, SHERD_ELEM_F32, 0, 0 },
		{ SHERD_ELEM_U8, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 0, 0 },
		{ SHERD_ELEM_U8, 16, SHERD_ELEM_F32, SHERD_ELEM_NONE, 0, 0 },
		{ SHERD_ELEM_U8, 32, SHERD_ELEM_F32, SHERD_ELEM_F32, 0, 0 },
		{ SHERD_ELEM_F16, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
		{ SHERD_ELEM_BF16, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
		{ SHERD_ELEM_F32, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
	};
	struct sherd_format f = all[sherd_st_below(t, ARRAY_SIZE(all))];

	f.rows = rows;
	f.cols = cols;
	return f;
}

static void check_embed(struct sherd_st *t, int n, int width)
{
	struct sherd_format f = random_format(t, 50, width), g = random_format(t, 70, width);
	int32_t *tokens = sherd_st_alloc(t, 4 * n), *pos = sherd_st_alloc(t, 4 * n);
	float *x = sherd_st_alloc(t, 4 * (size_t)n * width);
	struct sherd_cl_matrix table, positions;
	bool learned = sherd_st_below(t, 2);
	struct sherd_tensor ht, hp;
	struct sherd_cl_rows d;
	char name[48];
	int i;

	sherd_st_matrix(t, &f, &ht, &table);
	sherd_st_matrix(t, &g, &hp, &positions);
	sherd_st_poison(x, 4 * (size_t)n * width);
	d = upload_rows(t, x, n, width);
	for (i = 0; i < n; i++) {
		tokens[i] = sherd_st_below(t, 50);
		pos[i] = sherd_st_below(t, 70);
		sherd_ref_embed(&ht, learned ? &hp : NULL, tokens[i], pos[i], x + (size_t)i * width);
	}
	sherd_cl_embed(t->c, &table, learned ? &positions : NULL, sherd_st_upload(t, tokens, 4 * n),
		       sherd_st_upload(t, pos, 4 * n), n, d);
	sherd_format_name(&f, name, sizeof(name));
	sherd_st_expect(t, d.mem, x, 4 * (size_t)n * width, "embed", "%d x %d %s", n, width, name);
}

/* One for each round: kernels refuse what the reference refuses, and no more. */
static const float extremes[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e18f, 1e5f };

static void check_refusals(struct sherd_st *t, float extreme, enum sherd_act act, int n, int width)
{
	int row = sherd_st_below(t, n), i, rc;
	float *x = sherd_st_floats(t, (size_t)n * width), *at = x + (size_t)row * width;
	float *w = sherd_st_floats(t, width), *y = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	cl_mem wm = sherd_st_upload(t, w, 4 * width);
	uint8_t *wire = sherd_st_alloc(t, n);
	struct sherd_cl_rows d;

	at[sherd_st_below(t, width)] = extreme;
	d = upload_rows(t, x, n, width);
	sherd_st_expect_failed(t, -1, "rows", 0);
	for (i = SHERD_NORM_NONE; i <= SHERD_NORM_LAYER; i++) {
		sherd_cl_norm(t->c, i, d, n, width, wm, NULL, 1e-5f, &a);
		rc = sherd_ref_norm(i, at, w, NULL, width, 1e-5f, y);
		sherd_st_expect_failed(t, rc ? row : -1, "norm", extreme);
	}
	sherd_cl_activate(t->c, act, false, d, n, width, &a);
	sherd_ref_act(act, NULL, at, width, y);
	rc = sherd_ref_norm(SHERD_NORM_NONE, y, NULL, NULL, width, 0, y);
	sherd_st_expect_failed(t, rc ? row : -1, "activate", extreme);
	for (i = SHERD_WIRE_INT8; i <= SHERD_WIRE_F32; i++) {
		memset(wire, i, n);
		sherd_cl_cut(t->c, upload_rows(t, x, n, width), n, width, sherd_st_upload(t, wire, n));
		memcpy(y, at, 4 * width);
		rc = sherd_ref_cut(i, y, width);
		sherd_st_expect_failed(t, rc ? row : -1, "cut", extreme);
	}
}

void sherd_st_rows(struct sherd_st *t, int round)
{
	int n = round ? 1 + sherd_st_below(t, 40) : 1;
	int width = round == 1 ? 256 : 1 + sherd_st_below(t, 500);

	check_norm(t, SHERD_NORM_RMS, n, width);
	check_norm(t, SHERD_NORM_LAYER, n, width);
	check_norm(t, SHERD_NORM_NONE, n, width);
	check_act(t, round % 3, round % 2, n, width);
	check_cut_and_gather(t, n, width);
	check_embed(t, n, width);
	check_embed(t, n, width);
	check_refusals(t, extremes[round % ARRAY_SIZE(extremes)], round % 3, n, width);
}

/* --------------------------------------------------------------------- attention */

/* What the reference executor does to a row: see ref_exec.c. */
int sherd_st_past_add(struct sherd_st_past *a, int pos)
{
	int dim = a->shape.head_dim, h, d, rc = 0;
	float *q = a->qkv + (size_t)pos * a->stride, *k = q + a->n_heads * dim;
	float *v = k + a->shape.n_kv_heads * dim;
	uint8_t *page = a->pool + a->pages[pos / SHERD_PAGE] * sherd_kv_shape_page_bytes(&a->shape);

	for (h = 0; a->rope && h < a->n_heads + a->shape.n_kv_heads; h++)
		sherd_ref_rope(a->position, a->rope + (size_t)pos * a->rope_dim, a->rope_dim,
			       q + h * dim);
	if (!sherd_ref_below(q, a->n_heads * dim, NUM_QKV_MAX))
		return -EDOM;
	for (d = 0; d < a->n_heads * dim; d++)
		q[d] = q[d] * SHERD_ST_Q_SCALE;
	for (h = 0; h < a->shape.n_kv_heads && !rc; h++)
		rc = sherd_ref_kv_store(&a->shape, page, a->layer, h, pos % SHERD_PAGE, k + h * dim,
					v + h * dim);
	return rc;
}

void sherd_st_make_past(struct sherd_st *t, struct sherd_st_past *a, int kv_type, int dim, int round)
{
	int n_pages, i;

	a->shape = (struct sherd_kv_shape){ 2, 1 + sherd_st_below(t, 3), dim, kv_type };
	a->n_heads = a->shape.n_kv_heads * (1 + sherd_st_below(t, 4));
	a->n_ctx = round < 3 ? 1 + sherd_st_below(t, 100) : 200 + sherd_st_below(t, 500);
	a->layer = sherd_st_below(t, 2);
	a->stride = (a->n_heads + 2 * a->shape.n_kv_heads) * dim;
	a->qkv = sherd_st_floats(t, (size_t)a->n_ctx * a->stride);
	a->position = sherd_st_below(t, 2) ? SHERD_POS_ROPE_PAIRS : SHERD_POS_ROPE_HALVES;
	a->rope_dim = sherd_st_below(t, 3) || dim < 4 ? dim / 2 * 2 : dim / 4 * 2;
	a->rope = round % 3 == 2 || !a->rope_dim ?
			  NULL :
			  sherd_st_floats(t, (size_t)a->n_ctx * a->rope_dim);
	n_pages = DIV_ROUND_UP(a->n_ctx, SHERD_PAGE);
	a->pages = sherd_st_alloc(t, 4 * n_pages);
	for (i = 0; i < n_pages; i++)
		a->pages[i] = n_pages - i; /* backwards, page 0 unused */
	a->pool_size = (n_pages + 1) * sherd_kv_shape_page_bytes(&a->shape);
	a->pool = sherd_st_alloc(t, a->pool_size + 256);
}

void sherd_st_past_attend(const struct sherd_st_past *a, int pos, float *out)
{
	int dim = a->shape.head_dim, group = a->n_heads / a->shape.n_kv_heads, h;

	for (h = 0; h < a->n_heads; h++)
		sherd_ref_attend(&a->shape, a->pool, a->pages, a->layer, h / group, pos,
				 a->qkv + (size_t)pos * a->stride + h * dim, out + h * dim);
}

/* The last @n rows of the sequence, with and without parts. */
static void check_attend(struct sherd_st *t, struct sherd_st_past *a, struct sherd_cl_cache *cache, int n)
{
	int dim = a->shape.head_dim, width = a->n_heads * dim, first = a->n_ctx - n, i, parts;
	int group = a->n_heads / a->shape.n_kv_heads, n_chunks = (a->n_ctx - 1) / SHERD_CHUNK + 1;
	int32_t item_row[2] = { 0, n }, *pos = sherd_st_alloc(t, 4 * n);
	float *want = sherd_st_alloc(t, 4 * (size_t)n * width), *bad = sherd_st_alloc(t, 4 * (size_t)n * width);
	int n_tiles = sherd_cl_make_tiles(item_row, 1, group, NULL);
	struct sherd_cl_tile *tiles = sherd_st_alloc(t, n_tiles * sizeof(*tiles));
	size_t part = 4 * (size_t)n * a->n_heads * n_chunks * sherd_cl_part_floats(t->c, dim);
	struct sherd_cl_rows q = upload_rows(t, a->qkv + (size_t)first * a->stride, n, a->stride);
	struct host_act h = new_act(t, n, width);
	struct sherd_cl_act to;
	cl_mem dt;

	sherd_cl_make_tiles(item_row, 1, group, tiles);
	dt = sherd_st_upload(t, tiles, n_tiles * sizeof(*tiles));
	for (i = 0; i < n; i++) {
		pos[i] = first + i;
		sherd_st_past_attend(a, pos[i], want + (size_t)i * width);
		quantize_row(&h, i, want + (size_t)i * width);
	}
	cache->pos = sherd_st_upload(t, pos, 4 * n);
	sherd_st_poison(bad, 4 * (size_t)n * width);
	for (parts = 0; parts < 2; parts++) {
		struct sherd_cl_rows att = upload_rows(t, bad, n, width);
		cl_mem pm = parts ? sherd_st_upload(t, sherd_st_alloc(t, part), part) : NULL;

		sherd_cl_attend(t->c, q, n, a->n_heads, dt, n_tiles, pm, parts ? n_chunks : 0, cache,
				a->layer, att, NULL);
		sherd_st_expect(t, att.mem, want, 4 * (size_t)n * width, "attend",
				"%d rows to position %d, %d of %d heads of %d, parts %d", n, a->n_ctx,
				a->n_heads, a->shape.n_kv_heads, dim, parts);
		if (!sherd_cl_attend_quantizes(t->c, dim))
			continue;
		to = sherd_st_poisoned_act(t, n, width);
		sherd_cl_attend(t->c, q, n, a->n_heads, dt, n_tiles, pm, parts ? n_chunks : 0, cache,
				a->layer, att, &to);
		expect_act(t, &to, &h, n, "attend, quantized");
	}
}

void sherd_st_attention(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	struct sherd_cl_cache cache = { 0 };
	struct sherd_st_past a = { 0 };
	float extreme = extremes[round % ARRAY_SIZE(extremes)];
	struct sherd_cl_rows qkv;
	int32_t *pos, *item;
	cl_mem rope = NULL;
	int i;

	sherd_st_make_past(t, &a, p->arg[0], p->arg[1], round);
	pos = sherd_st_alloc(t, 4 * a.n_ctx);
	item = sherd_st_alloc(t, 4 * a.n_ctx);
	for (i = 0; i < a.n_ctx; i++)
		pos[i] = i;
	cache.shape = a.shape;
	cache.pool = sherd_st_upload(t, a.pool, a.pool_size + 256);
	cache.pages = sherd_st_upload(t, a.pages, 4 * DIV_ROUND_UP(a.n_ctx, SHERD_PAGE));
	cache.pos = sherd_st_upload(t, pos, 4 * a.n_ctx);
	cache.item = sherd_st_upload(t, item, 4 * a.n_ctx);
	qkv = upload_rows(t, a.qkv, a.n_ctx, a.stride);
	if (a.rope)
		rope = sherd_st_upload(t, a.rope, 4 * (size_t)a.n_ctx * a.rope_dim);
	sherd_cl_rope(t->c, qkv, a.n_ctx, a.n_heads, rope, a.rope_dim,
		      a.position == SHERD_POS_ROPE_HALVES, SHERD_ST_Q_SCALE, &cache, a.layer);
	for (i = 0; i < a.n_ctx; i++)
		sherd_st_past_add(&a, i);
	sherd_st_expect(t, cache.pool, a.pool, a.pool_size, "rope", "%d positions, cache type %d",
			a.n_ctx, a.shape.type);
	check_attend(t, &a, &cache, 1);
	i = 1 + sherd_st_below(t, 40);
	check_attend(t, &a, &cache, MIN(a.n_ctx, i));

	sherd_st_expect_failed(t, -1, "rope", 0);
	for (i = 0; i < a.stride; i++)
		a.qkv[i] = sherd_st_float(t);
	a.qkv[sherd_st_below(t, a.stride)] = extreme;
	cache.pos = sherd_st_upload(t, pos, 4);
	sherd_cl_rope(t->c, upload_rows(t, a.qkv, 1, a.stride), 1, a.n_heads, rope, a.rope_dim,
		      a.position == SHERD_POS_ROPE_HALVES, SHERD_ST_Q_SCALE, &cache, a.layer);
	sherd_st_expect_failed(t, sherd_st_past_add(&a, 0) ? 0 : -1, "rope", extreme);
}
