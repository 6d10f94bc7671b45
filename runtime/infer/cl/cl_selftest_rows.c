/* SPDX-License-Identifier: MIT */
/* cl_selftest_rows: the steps between the matmuls, on random rows. */
#include <math.h>
#include <stdlib.h>
#include "infer/cl/cl_selftest.h"

static void check_norm(struct sherd_st *t, enum sherd_norm norm, int n, int width)
{
	int stride = width + sherd_st_below(t, 4), i;
	float *x = sherd_st_floats(t, (size_t)n * stride), *w = sherd_st_floats(t, width);
	float *b = sherd_st_floats(t, width), *y = sherd_st_alloc(t, 4 * width);
	bool with_bias = norm == SHERD_NORM_LAYER && sherd_st_below(t, 2);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	struct sherd_st_act h = sherd_st_new_act(t, n, width);

	memset(x, 0, 4 * MIN(width, 40)); /* a group of zeros */
	sherd_cl_norm(t->c, norm, sherd_st_upload_rows(t, x, n, stride), n, width,
		      sherd_st_upload(t, w, 4 * width),
		      with_bias ? sherd_st_upload(t, b, 4 * width) : NULL, 1e-5f, &a);
	for (i = 0; i < n; i++) {
		sherd_ref_norm(norm, x + (size_t)i * stride, w, with_bias ? b : NULL, width, 1e-5f,
			       y);
		sherd_st_quantize_row(&h, i, y);
	}
	sherd_st_expect_act(t, &a, &h, norm == SHERD_NORM_NONE ? "quantize" : "norm");
}

/* Parts of a row, from some column on; what lies beside them stays. */
static void check_norm_to(struct sherd_st *t, enum sherd_norm norm, int n, int width)
{
	struct sherd_cl_norm_to to = { .norm = norm,
				       .col = sherd_st_below(t, 40),
				       .width = width,
				       .n_parts = 1 + sherd_st_below(t, 4),
				       .weight_step = sherd_st_below(t, 2) ? width : 0,
				       .add = sherd_st_below(t, 2),
				       .scale = sherd_st_below(t, 2) ? 1 : sherd_st_float(t),
				       .eps = 1e-5f };
	int stride = to.col + to.n_parts * width + sherd_st_below(t, 4), i, k;
	int n_weights = width + (to.n_parts - 1) * to.weight_step;
	float *x = sherd_st_floats(t, (size_t)n * stride), *w = sherd_st_floats(t, n_weights);
	float *b = sherd_st_floats(t, width), *y = sherd_st_alloc(t, 4 * width);
	bool in_place = sherd_st_below(t, 2);
	float *z = in_place ? x : sherd_st_floats(t, (size_t)n * stride);
	bool with_bias = norm == SHERD_NORM_LAYER && sherd_st_below(t, 2);
	struct sherd_cl_rows src = sherd_st_upload_rows(t, x, n, stride);
	struct sherd_cl_rows dst = in_place ? src : sherd_st_upload_rows(t, z, n, stride);

	to.weight = norm == SHERD_NORM_NONE ? NULL : sherd_st_upload(t, w, 4 * n_weights);
	to.bias = with_bias ? sherd_st_upload(t, b, 4 * width) : NULL;
	sherd_cl_norm_to(t->c, src, dst, n, &to);
	for (i = 0; i < n; i++)
		for (k = 0; k < to.n_parts; k++) {
			size_t at = (size_t)i * stride + to.col + k * width;

			sherd_ref_norm_to(norm, x + at, w + k * to.weight_step,
					  with_bias ? b : NULL, width, to.eps, to.scale, to.add, y,
					  z + at);
		}
	sherd_st_expect(t, dst.mem, z, 4 * (size_t)n * stride, "norm_to",
			"%d x %d of %d, norm %d, add %d", n, to.n_parts, width, norm, to.add);
}

static void check_cap(struct sherd_st *t, int n, int width)
{
	float *x = sherd_st_floats(t, (size_t)n * width);
	float cap = sherd_st_below(t, 3) ? 0.5f + (float)sherd_st_below(t, 30) : 0;
	float scale = cap != 0 && sherd_st_below(t, 2) ? 1 : sherd_st_float(t);
	struct sherd_cl_rows d = sherd_st_upload_rows(t, x, n, width);
	int i;

	sherd_cl_cap(t->c, d, n, width, scale, cap);
	for (i = 0; i < n; i++)
		sherd_ref_cap(x + (size_t)i * width, width, scale, cap);
	sherd_st_expect(t, d.mem, x, 4 * (size_t)n * width, "cap", "%d x %d, at %g", n, width,
			(double)cap);
}

/*
 * A row that is its mean, which is huge: a distance from it is nothing, beyond the row's end too.
 */
static void check_flat_norm(struct sherd_st *t, int width)
{
	float *x = sherd_st_alloc(t, 4 * width), *w = sherd_st_floats(t, width);
	float *y = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, 1, width);
	struct sherd_st_act h = sherd_st_new_act(t, 1, width);
	int i;

	for (i = 0; i < width; i++)
		x[i] = 0x1p125f;
	sherd_cl_norm(t->c, SHERD_NORM_LAYER, sherd_st_upload_rows(t, x, 1, width), 1, width,
		      sherd_st_upload(t, w, 4 * width), NULL, 1e-5f, &a);
	if (sherd_ref_norm(SHERD_NORM_LAYER, x, w, NULL, width, 1e-5f, y))
		abort(); /* the case is none */
	sherd_st_quantize_row(&h, 0, y);
	sherd_st_expect_act(t, &a, &h, "norm of equal numbers");
	sherd_st_expect_failed(t, -1, "norm of equal numbers", x[0]);
}

static void check_act(struct sherd_st *t, enum sherd_act act, bool gated, int n, int width)
{
	int stride = width * 2, i;
	float *x = sherd_st_floats(t, (size_t)n * stride), *y = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	struct sherd_st_act h = sherd_st_new_act(t, n, width);

	for (i = 0; i < n * stride; i++)
		x[i] *= 5.0f;
	sherd_cl_activate(t->c, act, gated, sherd_st_upload_rows(t, x, n, stride), n, width, &a);
	for (i = 0; i < n; i++) {
		float *row = x + (size_t)i * stride;

		sherd_ref_act(act, gated ? row : NULL, gated ? row + width : row, width, y);
		sherd_st_quantize_row(&h, i, y);
	}
	sherd_st_expect_act(t, &a, &h, "activate");
}

static void check_cut_and_gather(struct sherd_st *t, int n, int width)
{
	float *x = sherd_st_floats(t, (size_t)n * width);
	uint8_t *wire = sherd_st_alloc(t, n);
	int32_t *wanted = sherd_st_alloc(t, 4 * n);
	struct sherd_cl_rows d = sherd_st_upload_rows(t, x, n, width);
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

/* Two items' rows behind each other, as a step's; what lies beside them stays. */
static void check_wire(struct sherd_st *t, enum sherd_wire format, int n, int width)
{
	size_t row = sherd_wire_bytes(format, 1, width), at = 64 * (size_t)sherd_st_below(t, 3);
	size_t size = at + n * row + 4, padded = ROUND_UP(size, 4);
	float *x = sherd_st_floats(t, (size_t)n * width);
	uint8_t *want = sherd_st_alloc(t, padded);
	struct sherd_cl_rows d;
	int half = n / 2;
	cl_mem out;

	memset(x, 0, 4 * MIN(width, 40)); /* a group of zeros */
	d = sherd_st_upload_rows(t, x, n, width);
	sherd_st_poison(want, padded);
	out = sherd_st_upload(t, want, padded);
	if (sherd_wire_encode(format, x, n, width, want + at, NULL))
		abort(); /* the case is none */
	sherd_cl_wire(t->c, d, half, n - half, width, format, out, at + half * row);
	if (half)
		sherd_cl_wire(t->c, d, 0, half, width, format, out, at);
	sherd_st_expect(t, out, want, padded, "wire", "%d x %d, format %d", n, width, format);
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
	float scale = sherd_st_below(t, 2) ? 1 : sherd_st_float(t);
	int32_t *tokens = sherd_st_alloc(t, 4 * n), *pos = sherd_st_alloc(t, 4 * n);
	float *x = sherd_st_alloc(t, 4 * (size_t)n * width);
	struct sherd_cl_matrix table, positions;
	bool learned = sherd_st_below(t, 2), biased = sherd_st_below(t, 2);
	float *bias = sherd_st_floats(t, width);
	struct sherd_tensor ht, hp;
	struct sherd_cl_rows d;
	char name[48];
	int i;

	sherd_st_matrix(t, &f, &ht, &table);
	sherd_st_matrix(t, &g, &hp, &positions);
	sherd_st_poison(x, 4 * (size_t)n * width);
	d = sherd_st_upload_rows(t, x, n, width);
	for (i = 0; i < n; i++) {
		tokens[i] = sherd_st_below(t, 50);
		pos[i] = sherd_st_below(t, 70);
		sherd_ref_embed(&ht, learned ? &hp : NULL, tokens[i], pos[i], scale,
				biased ? bias : NULL, x + (size_t)i * width);
	}
	sherd_cl_embed(t->c, &table, learned ? &positions : NULL, sherd_st_upload(t, tokens, 4 * n),
		       sherd_st_upload(t, pos, 4 * n), n, scale,
		       biased ? sherd_st_upload(t, bias, 4 * width) : NULL, d);
	sherd_format_name(&f, name, sizeof(name));
	sherd_st_expect(t, d.mem, x, 4 * (size_t)n * width, "embed", "%d x %d %s", n, width, name);
}

float sherd_st_extreme(int round)
{
	static const float extremes[] = { NAN, INFINITY, -INFINITY, 3e38f, -3e18f, 1e5f };

	return extremes[round % ARRAY_SIZE(extremes)];
}

static void check_refusals(struct sherd_st *t, float extreme, enum sherd_act act, int n, int width)
{
	int row = sherd_st_below(t, n), i, rc;
	float *x = sherd_st_floats(t, (size_t)n * width), *at = x + (size_t)row * width;
	float *w = sherd_st_floats(t, width), *y = sherd_st_alloc(t, 4 * width);
	struct sherd_cl_act a = sherd_st_poisoned_act(t, n, width);
	cl_mem wm = sherd_st_upload(t, w, 4 * width);
	/* int8 is the largest format of a few columns: it pads */
	size_t size = (size_t)n * MAX(sherd_wire_bytes(SHERD_WIRE_INT8, 1, width),
				      sherd_wire_bytes(SHERD_WIRE_F32, 1, width));
	uint8_t *wire = sherd_st_alloc(t, n), *sent = sherd_st_alloc(t, size);
	cl_mem out = sherd_st_upload(t, sent, size);
	struct sherd_cl_norm_to to = {
		.width = width, .n_parts = 1, .scale = 1, .eps = 1e-5f, .weight = wm
	};
	struct sherd_cl_rows d;

	at[sherd_st_below(t, width)] = extreme;
	d = sherd_st_upload_rows(t, x, n, width);
	sherd_st_expect_failed(t, -1, "rows", 0);
	for (i = SHERD_NORM_NONE; i <= SHERD_NORM_LAYER; i++) {
		sherd_cl_norm(t->c, i, d, n, width, wm, NULL, 1e-5f, &a);
		rc = sherd_ref_norm(i, at, w, NULL, width, 1e-5f, y);
		sherd_st_expect_failed(t, rc ? row : -1, "norm", extreme);
		to.norm = i;
		sherd_cl_norm_to(t->c, d, sherd_st_upload_rows(t, x, n, width), n, &to);
		sherd_st_expect_failed(t, rc ? row : -1, "norm_to", extreme);
	}
	sherd_cl_activate(t->c, act, false, d, n, width, &a);
	sherd_ref_act(act, NULL, at, width, y);
	rc = sherd_ref_norm(SHERD_NORM_NONE, y, NULL, NULL, width, 0, y);
	sherd_st_expect_failed(t, rc ? row : -1, "activate", extreme);
	for (i = SHERD_WIRE_INT8; i <= SHERD_WIRE_F32; i++) {
		memset(wire, i, n);
		sherd_cl_cut(t->c, sherd_st_upload_rows(t, x, n, width), n, width,
			     sherd_st_upload(t, wire, n));
		memcpy(y, at, 4 * width);
		rc = sherd_ref_cut(i, y, width);
		sherd_st_expect_failed(t, rc ? row : -1, "cut", extreme);
		sherd_cl_wire(t->c, d, 0, n, width, i, out, 0);
		rc = sherd_wire_encode(i, at, 1, width, sent, NULL);
		sherd_st_expect_failed(t, rc ? row : -1, "wire", extreme);
	}
}

void sherd_st_rows(struct sherd_st *t, int round)
{
	int n = round ? 1 + sherd_st_below(t, 40) : 1;
	int width = round == 1 ? 256 : 1 + sherd_st_below(t, 500), i;

	check_norm(t, SHERD_NORM_RMS, n, width);
	check_norm(t, SHERD_NORM_LAYER, n, width);
	check_norm(t, SHERD_NORM_NONE, n, width);
	check_flat_norm(t, 1 << round % 3);
	for (i = SHERD_NORM_NONE; i <= SHERD_NORM_LAYER; i++)
		check_norm_to(t, i, n, i == SHERD_NORM_RMS ? 1 + width % 70 : width);
	check_cap(t, n, width);
	check_act(t, round % 4, round % 2, n, width);
	check_cut_and_gather(t, n, width);
	check_wire(t, round % 3, n, width);
	check_embed(t, n, width);
	check_embed(t, n, width);
	check_refusals(t, sherd_st_extreme(round), round % 4, n, width);
}
