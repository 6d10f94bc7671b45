/* SPDX-License-Identifier: MIT */
/* cl_time_work: see cl_time_work.h. Numbers are small and no denormals; the results nobody reads. */
#include <stdlib.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_time_work.h"

#define DEPTH	  1024	      /* positions that attention's last row sees */
#define MAX_HEADS 4096

static cl_mem keep(struct sherd_time_side *s, cl_mem m)
{
	return m ? s->mem[s->n_mem++] = m : NULL;
}

static cl_mem new_buffer(struct sherd_time_side *s, size_t size)
{
	const cl_uint pattern = SHERD_TIME_PATTERN;
	cl_mem m = NULL;

	size = ROUND_UP(MAX(size, 64), 64);
	if (!s->c.rc)
		m = keep(s, clCreateBuffer(s->c.dev->context, CL_MEM_READ_WRITE, size, NULL,
					   &s->c.rc));
	if (!s->c.rc)
		s->c.rc = clEnqueueFillBuffer(s->c.dev->queue, m, &pattern, sizeof(pattern), 0,
					      size, 0, NULL, NULL);
	return m;
}

static cl_mem upload(struct sherd_time_side *s, const void *data, size_t size)
{
	if (s->c.rc)
		return NULL;
	return keep(s, clCreateBuffer(s->c.dev->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
				      size, (void *)data, &s->c.rc));
}

/* What a matmul reads, or a norm writes: @f32 or quantized. */
static struct sherd_cl_act new_act(struct sherd_time_side *s, size_t n, int width, bool f32)
{
	struct sherd_cl_act a = { .a_stride = width,
				  .want = f32 ? SHERD_QUANT_F32 : SHERD_QUANT_Q8 };
	size_t rows = n + SHERD_ACT_PAD, groups = rows * DIV_ROUND_UP(width, 32);

	if (f32) {
		a.a = new_buffer(s, 4 * rows * width);
		return a;
	}
	a.q = new_buffer(s, 32 * groups);
	a.groups = new_buffer(s, 16 * groups);
	a.halves = new_buffer(s, 16 * groups);
	return a;
}

static struct sherd_cl_rows new_rows(struct sherd_time_side *s, size_t n, int width)
{
	return (struct sherd_cl_rows){ new_buffer(s, 4 * n * width), width };
}

/* ------------------------------------------------------------------ matmuls */

static size_t matrix_size(const struct sherd_cl_program *p, const struct sherd_time_size *z)
{
	struct sherd_format f = sherd_st_format(p, z->rows, z->cols);
	size_t v, s, m;

	sherd_format_sizes(&f, &v, &s, &m);
	return ROUND_UP(v, 4096) + ROUND_UP(s, 4096) + ROUND_UP(m, 4096);
}

static cl_mem cut(struct sherd_time_side *s, size_t *at, size_t size)
{
	cl_buffer_region r = { *at, size };

	*at += ROUND_UP(size, 4096);
	if (!size || s->c.rc)
		return NULL;
	return keep(s, clCreateSubBuffer(s->pool, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION,
					 &r, &s->c.rc));
}

static void prepare_matmul(struct sherd_time_side *s)
{
	const struct sherd_time_size *z = &s->size;
	struct sherd_format f = sherd_st_format(s->p, z->rows, z->cols);
	size_t v, sc, mn, at = 0;
	int i;

	sherd_format_sizes(&f, &v, &sc, &mn);
	for (i = 0; i < s->n_copies && !s->c.rc; i++) {
		s->w[i].fmt = f;
		s->w[i].values = cut(s, &at, v);
		s->w[i].scales = cut(s, &at, sc);
		s->w[i].mins = cut(s, &at, mn);
	}
	s->a = new_act(s, z->n, z->cols, s->p->kind == SHERD_CL_FLOAT);
	s->dst = new_rows(s, z->n, z->rows);
}

static void launch_matmul(struct sherd_time_side *s)
{
	sherd_cl_matmul(&s->c, s->p, 0, &s->w[s->next], &s->a, s->size.n, NULL, false, s->dst, 0);
}

/* ---------------------------------------------------------------- attention */

/* rows: query heads; cols: KV heads. */
static struct sherd_kv_shape past_of(const struct sherd_cl_program *p, int n_layers,
				     const struct sherd_time_size *z)
{
	return (struct sherd_kv_shape){ n_layers, z->cols, p->arg[1], p->arg[0] };
}

static size_t past_size(const struct sherd_cl_program *p, const struct sherd_time_size *z)
{
	struct sherd_kv_shape one = past_of(p, 1, z);

	return ROUND_UP(DEPTH / SHERD_PAGE * sherd_kv_shape_page_bytes(&one) + 256, 4096);
}

/* The last rows of one sequence. */
static void prepare_rows_of_past(struct sherd_time_side *s)
{
	int32_t pages[DEPTH / SHERD_PAGE], last[DEPTH], item[DEPTH] = { 0 }, i;

	for (i = 0; i < DEPTH / SHERD_PAGE; i++)
		pages[i] = i;
	for (i = 0; i < s->size.n; i++)
		last[i] = DEPTH - s->size.n + i;
	s->cache.pages = upload(s, pages, sizeof(pages));
	s->cache.pages_stride = DEPTH / SHERD_PAGE;
	s->cache.last = s->cache.pos = upload(s, last, sizeof(*last) * s->size.n);
	s->cache.item = upload(s, item, sizeof(*item) * s->size.n);
}

static void prepare_tiles(struct sherd_time_side *s)
{
	const struct sherd_kv_shape *kv = &s->cache.shape;
	int32_t item_row[2] = { 0, s->size.n };
	int n = s->size.n, n_heads = s->size.rows, group = n_heads / kv->n_kv_heads;
	struct sherd_cl_tile *tiles;

	s->n_tiles = sherd_cl_make_tiles(item_row, 1, group, NULL);
	tiles = sherd_calloc(s->n_tiles, sizeof(*tiles));
	if (!tiles) {
		s->c.rc = CL_OUT_OF_HOST_MEMORY;
		return;
	}
	sherd_cl_make_tiles(item_row, 1, group, tiles);
	s->tiles = upload(s, tiles, s->n_tiles * sizeof(*tiles));
	free(tiles);
	s->n_parts = sherd_cl_parts(&s->c, kv, n, n_heads, s->n_tiles, DEPTH / SHERD_CHUNK);
	s->parts = NULL;
	if (s->n_parts)
		s->parts = new_buffer(s, sherd_cl_parts_bytes(&s->c, n, n_heads, s->n_parts,
							      kv->head_dim));
}

static void prepare_attention(struct sherd_time_side *s)
{
	struct sherd_kv_shape kv = past_of(s->p, s->n_copies, &s->size);
	int n = s->size.n, n_heads = s->size.rows;

	s->cache = (struct sherd_cl_cache){ .pool = s->pool, .shape = kv };
	prepare_rows_of_past(s);
	prepare_tiles(s);
	s->src = new_rows(s, n, (n_heads + 2 * kv.n_kv_heads) * kv.head_dim);
	s->dst = new_rows(s, n, n_heads * kv.head_dim);
	s->to = new_act(s, n, n_heads * kv.head_dim, false);
}

static void launch_attention(struct sherd_time_side *s)
{
	const struct sherd_cl_sight all = { 0, 0 };
	bool both = sherd_cl_attend_quantizes(&s->c, s->cache.shape.head_dim);

	sherd_cl_attend(&s->c, s->src, s->size.n, s->size.rows, s->tiles, s->n_tiles, s->parts,
			s->n_parts, all, &s->cache, s->next, s->dst, both ? &s->to : NULL);
}

/* --------------------------------------------------------------------- rows */

static size_t no_copies(const struct sherd_cl_program *p, const struct sherd_time_size *z)
{
	(void)p, (void)z;
	return 0;
}

/* rows: the norm's width; cols: the activation's. */
static void prepare_rows(struct sherd_time_side *s)
{
	const struct sherd_time_size *z = &s->size;

	s->src = new_rows(s, z->n, z->rows);
	s->dst = new_rows(s, z->n, 2 * z->cols);
	s->weight = new_buffer(s, 4 * (size_t)z->rows);
	s->a = new_act(s, z->n, z->rows, false);
	s->to = new_act(s, z->n, z->cols, false);
}

static void launch_rows(struct sherd_time_side *s)
{
	const struct sherd_time_size *z = &s->size;

	sherd_cl_norm(&s->c, SHERD_NORM_RMS, s->src, z->n, z->rows, s->weight, NULL, 1e-5f, &s->a);
	sherd_cl_activate(&s->c, SHERD_ACT_SILU, true, s->dst, z->n, z->cols, &s->to);
}

/* ---------------------------------------------------------------------- all */

static const struct work {
	size_t (*copy_size)(const struct sherd_cl_program *p, const struct sherd_time_size *z);
	void (*prepare)(struct sherd_time_side *s);
	void (*launch)(struct sherd_time_side *s);
} works[] = {
	[SHERD_CL_INT] = { matrix_size, prepare_matmul, launch_matmul },
	[SHERD_CL_FLOAT] = { matrix_size, prepare_matmul, launch_matmul },
	[SHERD_CL_ATTENTION] = { past_size, prepare_attention, launch_attention },
	[SHERD_CL_ROWS] = { no_copies, prepare_rows, launch_rows },
	[SHERD_CL_WALK] = { 0 },
	[SHERD_CL_EXPERTS] = { 0 },
};

int sherd_time_check(const struct sherd_cl_program *p, const struct sherd_time_size *z,
		     struct sherd_error *err)
{
	bool matmul = p->kind == SHERD_CL_INT || p->kind == SHERD_CL_FLOAT;

	if (!works[p->kind].launch || (matmul && p->arg[SHERD_CL_MATMUL_ARGS - 1]))
		return sherd_fail(err, -EINVAL,
				  "%s can't be timed: matmuls of a matrix, attention and rows can",
				  p->spec);
	if (p->kind == SHERD_CL_ATTENTION &&
	    (z->rows > MAX_HEADS || z->rows % z->cols || z->n > DEPTH))
		return sherd_fail(
			err, -EINVAL,
			"%s: %d heads don't share %d KV heads equally, or %d rows are more "
			"than %d",
			p->spec, z->rows, z->cols, z->n, DEPTH);
	return 0;
}

size_t sherd_time_copy_size(const struct sherd_cl_program *p, const struct sherd_time_size *z)
{
	return works[p->kind].copy_size(p, z);
}

void sherd_time_prepare(struct sherd_time_side *s)
{
	works[s->p->kind].prepare(s);
}

void sherd_time_launch(struct sherd_time_side *s)
{
	works[s->p->kind].launch(s);
	s->next = (s->next + 1) % MAX(s->n_copies, 1);
}

double sherd_time_bytes(const char *spec, const struct sherd_time_size *z)
{
	struct sherd_cl none = { 0 };
	struct sherd_cl_program *p = &none.programs[0];
	struct sherd_kv_shape past;
	struct sherd_format f;
	size_t v, s, m;

	if (sherd_cl_add(&none, spec, NULL) || sherd_time_check(p, z, NULL))
		return 0;
	if (p->kind == SHERD_CL_ROWS)
		return 0;
	if (p->kind == SHERD_CL_ATTENTION) {
		past = past_of(p, 1, z);
		return (double)DEPTH / SHERD_PAGE * sherd_kv_shape_page_bytes(&past);
	}
	f = sherd_st_format(p, z->rows, z->cols);
	sherd_format_sizes(&f, &v, &s, &m);
	return (double)v + (double)s + (double)m;
}

double sherd_time_ops(const char *spec, const struct sherd_time_size *z)
{
	struct sherd_cl none = { 0 };
	const struct sherd_cl_program *p = &none.programs[0];
	double seen = z->n * (DEPTH - (z->n - 1) / 2.0); /* positions, by all rows */

	if (sherd_cl_add(&none, spec, NULL) || p->kind == SHERD_CL_ROWS)
		return 0;
	if (p->kind == SHERD_CL_ATTENTION)
		return 4.0 * seen * z->rows * p->arg[1];
	return 2.0 * z->rows * z->cols * z->n;
}
