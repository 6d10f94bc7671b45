/* SPDX-License-Identifier: MIT */
/* cl_selftest_matmul: random matrices times random activations, by every kernel that multiplies. */
#include "infer/cl/cl_selftest.h"

/* One matrix through one kernel; dst is wider than the result on both sides. */
static void check_matmul(struct sherd_st *t, struct sherd_cl_program *p, enum sherd_cl_kernel k,
			 const struct sherd_tensor *w, const struct sherd_cl_matrix *dw,
			 const struct sherd_st_act *h, const struct sherd_cl_act *a, int n)
{
	bool residual = sherd_st_below(t, 2), with_bias = sherd_st_below(t, 2);
	int rows = w->fmt.rows, col = sherd_st_below(t, 3),
	    stride = rows + col + sherd_st_below(t, 5);
	float *bias = sherd_st_floats(t, rows), *dst = sherd_st_floats(t, (size_t)n * stride);
	struct sherd_ref_act ra = sherd_st_ref_act(h);
	struct sherd_cl_rows d = { sherd_st_upload(t, dst, 4 * (size_t)n * stride), stride };
	cl_mem db = with_bias ? sherd_st_upload(t, bias, 4 * rows) : NULL;

	sherd_cl_matmul(t->c, p, k, dw, a, n, db, residual, d, col);
	sherd_ref_matmul(w, &ra, n, with_bias ? bias : NULL, residual, dst + col, stride);
	sherd_st_expect(t, d.mem, dst, 4 * (size_t)n * stride, p->spec, "kernel %d, %d x %d x %d",
			k - SHERD_K_MATMUL_1, rows, h->width, n);
}

/* A network's first half: its matrix, its input, and what it should make of that. */
struct gated {
	struct sherd_tensor w;
	struct sherd_cl_matrix dev;
	struct sherd_st_act in, out;
	enum sherd_act act;
	int n, width;
};

/* Fills g->out; the first row that the reference refuses, or -1. */
static int gated_reference(struct sherd_st *t, struct gated *g)
{
	int n = g->n, width = g->width, i, refused = -1;
	float *y = sherd_st_alloc(t, 8 * (size_t)n * width), *row = sherd_st_alloc(t, 4 * width);
	struct sherd_ref_act a = sherd_st_ref_act(&g->in);

	sherd_ref_matmul(&g->w, &a, n, NULL, false, y, 2 * width);
	for (i = 0; i < n; i++) {
		sherd_ref_act(g->act, y + 2 * (size_t)i * width, y + (2 * (size_t)i + 1) * width,
			      width, row);
		if (refused < 0 && sherd_ref_norm(SHERD_NORM_NONE, row, NULL, NULL, width, 0, row))
			refused = i;
		sherd_st_quantize_row(&g->out, i, row);
	}
	return refused;
}

static void run_gated(struct sherd_st *t, struct sherd_cl_program *p, struct gated *g,
		      struct sherd_cl_act *to)
{
	struct sherd_cl_act a = sherd_st_upload_act(t, &g->in);

	*to = sherd_st_poisoned_act(t, g->n, g->width);
	sherd_cl_matmul_gated(t->c, p, &g->dev, &a, g->n, g->act, to);
}

/* Gate, up and the activation in one kernel; then a row whose product is too large. */
static void check_gated(struct sherd_st *t, struct sherd_cl_program *p, int cols, int n,
			enum sherd_act act)
{
	struct gated g = { .act = act, .n = n, .width = 32 * (1 + sherd_st_below(t, 5)) };
	struct sherd_format f = sherd_st_format(p, 2 * g.width, cols);
	float *x = sherd_st_floats(t, cols);
	int row = sherd_st_below(t, n), i;
	struct sherd_cl_act to;

	sherd_st_matrix(t, &f, &g.w, &g.dev);
	g.in = sherd_st_random_act(t, n, cols);
	g.out = sherd_st_new_act(t, n, g.width);
	run_gated(t, p, &g, &to);
	i = gated_reference(t, &g);
	sherd_st_expect_act(t, &to, &g.out, "matmul_gated");
	sherd_st_expect_failed(t, i, "matmul_gated", 0);
	for (i = 0; i < cols; i++)
		x[i] *= 1e25f;
	sherd_st_quantize_row(&g.in, row, x);
	run_gated(t, p, &g, &to);
	sherd_st_expect_failed(t, gated_reference(t, &g), "matmul_gated", 1e25f);
}

/* Fixed sizes: the least; whole tiles; odd ones; more tokens than matmul_tile sums at a time. */
void sherd_st_matmul(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	static const int sizes[][3] = {
		{ 1, 1, 1 }, { 16, 256, 16 }, { 70, 544, 33 }, { 20, 300, 270 }
	};
	bool fixed = round < (int)ARRAY_SIZE(sizes);
	int rows = fixed ? sizes[round][0] : 1 + sherd_st_below(t, 150);
	int cols = fixed ? sizes[round][1] : 1 + sherd_st_below(t, 700);
	int n = fixed ? sizes[round][2] : 1 + sherd_st_below(t, 40), k;
	struct sherd_format f = sherd_st_format(p, rows, cols);
	struct sherd_st_act h = sherd_st_random_act(t, n, cols);
	struct sherd_cl_matrix dw;
	struct sherd_cl_act a;
	struct sherd_tensor w;

	sherd_st_matrix(t, &f, &w, &dw);
	a = sherd_st_upload_act(t, &h);
	for (k = SHERD_K_MATMUL_1; k <= SHERD_K_MATMUL_TILE && !t->rc; k++)
		if (p->kernel[k])
			check_matmul(t, p, k, &w, &dw, &h, &a, n);
	if (p->kernel[SHERD_K_MATMUL_GATED] && !t->rc)
		check_gated(t, p, cols, n, round % 4);
}
