/* SPDX-License-Identifier: MIT */
/*
 * The reference's functions, twice: bit for bit against the contract's words written down once
 * more from plain arrays, as slowly and plainly as can be; and against double arithmetic, so that
 * the words themselves make sense.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/ref/ref.h"
#include "num.h"
#include "tiny_model.h"

static uint64_t rng;

static float *floats(size_t n, float scale)
{
	float *x = sherd_calloc(n, sizeof(*x));
	size_t i;

	assert_non_null(x);
	for (i = 0; i < n; i++)
		x[i] = scale * tiny_normal(&rng);
	return x;
}

static void assert_bits(const char *what, const float *got, const float *want, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		if (memcmp(&got[i], &want[i], sizeof(float)))
			fail_msg("%s: element %zu is %a, not %a", what, i, (double)got[i],
				 (double)want[i]);
}

/* Within @limit of the largest value, or of what it is made of (@least)? */
static void assert_within(const char *what, const float *got, const double *want, size_t n,
			  double limit, double least)
{
	double max = least;
	size_t i;

	for (i = 0; i < n; i++)
		max = fmax(max, fabs(want[i]));
	for (i = 0; i < n; i++)
		if (!(fabs((double)got[i] - want[i]) <= limit * max))
			fail_msg("%s: element %zu is %.9g, not %.9g (of at most %g)", what, i,
				 (double)got[i], want[i], max);
}

static void assert_close(const char *what, const float *got, const double *want, size_t n,
			 double limit)
{
	assert_within(what, got, want, n, limit, 0);
}

/* ---------------------------------------------------------------- sums, norms */

static void halves_are_the_same_floats_for_all_65536(void **state)
{
	uint16_t h[19];
	float got[19];
	int i, k;

	(void)state;
	for (i = 0; i < 65536; i += 19) {
		for (k = 0; k < 19; k++)
			h[k] = (uint16_t)(i + k);
		sherd_ref_halves(h, 19, got);
		for (k = 0; k < 19; k++) {
			float want = sherd_f16_to_f32(h[k]);

			if (isnan(want))
				assert_true(isnan(got[k]));
			else
				assert_bits("half", &got[k], &want, 1);
		}
	}
}

/* The lane rule in its shortest form. */
static float lane_rule(const float *x, int n)
{
	float s[16] = { 0 };
	int i;

	for (i = 0; i < n; i++)
		s[i % 16] += x[i];
	for (i = 0; i < 8; i++)
		s[i] += s[i + 8];
	for (i = 0; i < 4; i++)
		s[i] += s[i + 4];
	return (s[0] + s[2]) + (s[1] + s[3]);
}

static void sums_follow_the_lane_rule(void **state)
{
	int round;

	(void)state;
	for (round = 0; round < 300; round++) {
		int n = 1 + tiny_below(&rng, 400);
		float *x = floats(n, 10.0f), got = sherd_ref_lane_sum(x, n), want = lane_rule(x, n);

		assert_bits("sum", &got, &want, 1);
		free(x);
	}
}

static void rms_norm_is_the_contracts_and_right(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		int n = 1 + tiny_below(&rng, 300), l;
		float *x = floats(n, 3.0f), *w = floats(n, 1.0f), *got = floats(n, 1.0f);
		float s[16] = { 0 }, want[300], r;
		double sum = 0, exact[300];

		for (i = 0; i < n; i++) {
			s[i % 16] = fmaf(x[i], x[i], s[i % 16]);
			sum += (double)x[i] * (double)x[i];
		}
		for (l = 8; l; l /= 2)
			for (i = 0; i < l; i++)
				s[i] += s[i + l];
		r = num_rsqrt_1(s[0] * (1.0f / (float)n) + 1e-5f);
		for (i = 0; i < n; i++) {
			want[i] = (x[i] * r) * w[i];
			exact[i] = (double)x[i] * (double)w[i] / sqrt(sum / n + 1e-5);
		}
		assert_int_equal(sherd_ref_norm(SHERD_NORM_RMS, x, w, NULL, n, 1e-5f, got), 0);
		assert_bits("rms norm", got, want, n);
		assert_close("rms norm", got, exact, n, 1e-6);
		free(x);
		free(w);
		free(got);
	}
}

static void layer_norm_is_right_and_may_run_in_place(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		int n = 2 + tiny_below(&rng, 300);
		float *x = floats(n, 3.0f), *w = floats(n, 1.0f), *b = floats(n, 1.0f);
		double mean = 0, var = 0, exact[302];
		float y[302];

		for (i = 0; i < n; i++)
			mean += (double)(x[i] += 1.0f) / n;
		for (i = 0; i < n; i++)
			var += ((double)x[i] - mean) * ((double)x[i] - mean) / n;
		for (i = 0; i < n; i++)
			exact[i] = ((double)x[i] - mean) / sqrt(var + 1e-5) * (double)w[i] +
				   (double)b[i];
		assert_int_equal(sherd_ref_norm(SHERD_NORM_LAYER, x, w, b, n, 1e-5f, y), 0);
		assert_close("layer norm", y, exact, n, 3e-6);
		assert_int_equal(sherd_ref_norm(SHERD_NORM_LAYER, x, w, b, n, 1e-5f, x), 0);
		assert_bits("layer norm in place", x, y, n);
		free(x);
		free(w);
		free(b);
	}
}

static void what_is_no_number_is_refused_by_norm_and_quantizer(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY };
	struct sherd_act_group g[3];
	int8_t q[96];
	float y[70];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		float *x = floats(70, 1.0f), *w = floats(70, 1.0f);

		assert_int_equal(sherd_ref_quantize(x, 70, q, g, NULL), 0);
		x[tiny_below(&rng, 70)] = bad[i];
		assert_int_equal(sherd_ref_norm(SHERD_NORM_RMS, x, w, NULL, 70, 1e-5f, y), -EDOM);
		assert_int_equal(sherd_ref_norm(SHERD_NORM_LAYER, x, w, w, 70, 1e-5f, y), -EDOM);
		assert_int_equal(sherd_ref_norm(SHERD_NORM_NONE, x, NULL, NULL, 70, 0, y), -EDOM);
		assert_int_equal(sherd_ref_quantize(x, 70, q, g, NULL), -EDOM);
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, x, 70), -EDOM);
		free(x);
		free(w);
	}
}

/* ------------------------------------------------------------------ quantizer */

static void quantized_groups_are_within_half_a_step_and_know_their_sums(void **state)
{
	int round, i, g;

	(void)state;
	for (round = 0; round < 300; round++) {
		int n = 1 + tiny_below(&rng, 200), padded = ROUND_UP(n, 32);
		float *x = floats(n, powf(10.0f, (float)tiny_below(&rng, 9) - 4.0f));
		struct sherd_act_group groups[7];
		struct sherd_act_half halves[7];
		int8_t q[224];

		memset(q, 0x55, sizeof(q));
		assert_int_equal(sherd_ref_quantize(x, n, q, groups, halves), 0);
		for (i = 0; i < n; i++) {
			float d = groups[i / 32].d;

			assert_true(fabs((double)x[i] - (double)d * q[i]) <= 0.5001 * (double)d);
			assert_in_range(q[i] + 127, 0, 254);
		}
		for (i = n; i < padded; i++)
			assert_int_equal(q[i], 0);
		for (g = 0; g < padded / 32; g++) {
			int sum[2] = { 0 };

			for (i = 0; i < 32; i++)
				sum[i / 16] += q[32 * g + i];
			assert_int_equal(groups[g].n4, -8 * (sum[0] + sum[1]));
			assert_int_equal(groups[g].n8, -128 * (sum[0] + sum[1]));
			assert_true(groups[g].ds == groups[g].d * (float)(sum[0] + sum[1]));
			for (i = 0; i < 2; i++) {
				assert_int_equal(halves[g].n8[i], -128 * sum[i]);
				assert_true(halves[g].ds[i] == groups[g].d * (float)sum[i]);
			}
		}
		free(x);
	}
}

static void a_group_of_zeros_is_zeros(void **state)
{
	float x[33] = { 0 };
	struct sherd_act_group g[2];
	int8_t q[64];
	int i;

	(void)state;
	x[3] = 1e-38f;
	x[32] = -0.0f;
	assert_int_equal(sherd_ref_quantize(x, 33, q, g, NULL), 0);
	for (i = 0; i < 64; i++)
		assert_int_equal(q[i], 0);
	assert_true(g[0].d == 0.0f && g[1].d == 0.0f && g[0].ds == 0.0f);
}

/* --------------------------------------------------------------------- matmul */

/* A matrix as plain arrays, and packed. */
struct matrix {
	struct sherd_tensor t;
	uint8_t *q; /* [rows][cols] */
	float *w, *scale, *min; /* [rows][cols], or a value a group */
	int n_groups;
	void *planes[3];
};

static void *plane(size_t size)
{
	void *p = sherd_calloc(size ? size : 1, 1);

	assert_non_null(p);
	return p;
}

/* Not inline: gcc 12.2 turns `condition ? this : x` into x where it sees through. */
static __attribute__((noinline)) float truncated_to_bf16(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	return sherd_bf16_to_f32((uint16_t)(u >> 16));
}

/* @x as the element type holds it. */
static float rounded(enum sherd_elem e, float x)
{
	if (e == SHERD_ELEM_F16)
		return sherd_f16_to_f32(sherd_f32_to_f16(x));
	return e == SHERD_ELEM_BF16 ? truncated_to_bf16(x) : x;
}

static void matrix_make(struct matrix *m, const struct sherd_format *f)
{
	size_t n = (size_t)f->rows * f->cols, size[3], i;
	bool is_int = sherd_elem_is_int(f->elem);
	uint32_t r;

	memset(m, 0, sizeof(*m));
	m->t.fmt = *f;
	m->n_groups = is_int ? (int)DIV_ROUND_UP(f->cols, f->group) : 0;
	m->q = plane(n);
	m->w = plane(n * sizeof(float));
	m->scale = plane(f->rows * m->n_groups * sizeof(float));
	m->min = plane(f->rows * m->n_groups * sizeof(float));
	for (i = 0; i < n; i++) {
		m->q[i] = tiny_random(&rng) & (f->elem == SHERD_ELEM_U4 ? 15 : 255);
		m->w[i] = rounded(f->elem, tiny_normal(&rng));
	}
	for (i = 0; i < (size_t)f->rows * m->n_groups; i++) {
		m->scale[i] = rounded(f->scale, 0.02f * tiny_normal(&rng));
		m->min[i] =
			f->min == SHERD_ELEM_NONE ? 0 : rounded(f->min, 0.1f * tiny_normal(&rng));
	}
	sherd_format_sizes(f, &size[0], &size[1], &size[2]);
	for (i = 0; i < 3; i++)
		m->planes[i] = plane(size[i]);
	for (r = 0; r < f->rows; r++) {
		if (is_int)
			sherd_pack_int_row(f, r, m->q + (size_t)r * f->cols,
					   m->scale + r * m->n_groups, m->min + r * m->n_groups,
					   m->planes[0], m->planes[1], m->planes[2]);
		else
			sherd_pack_float_row(f, r, m->w + (size_t)r * f->cols, m->planes[0]);
	}
	m->t.values = m->planes[0];
	m->t.scales = m->planes[1];
	m->t.mins = m->planes[2];
}

static void matrix_free(struct matrix *m)
{
	int i;

	for (i = 0; i < 3; i++)
		free(m->planes[i]);
	free(m->q);
	free(m->w);
	free(m->scale);
	free(m->min);
}

/* One row of W times one quantized row, in the contract's words. */
static float int_dot(const struct matrix *m, uint32_t row, const int8_t *q,
		     const struct sherd_act_group *ag)
{
	const struct sherd_format *f = &m->t.fmt;
	bool min = f->min != SHERD_ELEM_NONE;
	int zero = min ? 0 : f->elem == SHERD_ELEM_U4 ? 8 : 128;
	float total = 0, acc = 0;
	uint32_t c, at;

	for (c = 0; c < f->cols; c = at) {
		int32_t idot = 0, sum = 0;
		float scale = m->scale[row * m->n_groups + c / f->group];

		for (at = c; at < f->cols && at < c + f->group; at++) {
			idot += (m->q[(size_t)row * f->cols + at] - zero) * q[at];
			sum += q[at];
		}
		acc = fmaf((float)idot, scale * ag[c / 32].d, acc);
		if (min)
			acc = fmaf(-m->min[row * m->n_groups + c / f->group],
				   ag[c / 32].d * (float)sum, acc);
		if (at % 256 == 0 || at == f->cols) {
			total = total + acc;
			acc = 0;
		}
	}
	return total;
}

static float float_dot(const struct matrix *m, uint32_t row, const float *x)
{
	float total = 0, acc = 0;
	uint32_t c;

	for (c = 0; c < m->t.fmt.cols; c++) {
		acc = fmaf(m->w[(size_t)row * m->t.fmt.cols + c], x[c], acc);
		if (c % 256 == 255 || c + 1 == m->t.fmt.cols) {
			total = total + acc;
			acc = 0;
		}
	}
	return total;
}

static double exact_dot(const struct matrix *m, uint32_t row, const float *x, const int8_t *q,
			const struct sherd_act_group *ag)
{
	const struct sherd_format *f = &m->t.fmt;
	double sum = 0;
	uint32_t c;

	for (c = 0; c < f->cols; c++)
		sum += (double)sherd_tensor_get(&m->t, row, c) *
		       (sherd_elem_is_int(f->elem) ? (double)ag[c / 32].d * q[c] : (double)x[c]);
	return sum;
}

static void check_matmul(const struct sherd_format *f)
{
	int n = 1 + tiny_below(&rng, 40), padded = ROUND_UP(f->cols, 32), i;
	size_t stride = f->rows + (size_t)tiny_below(&rng, 5), k, n_dst = stride * n;
	float *x = floats((size_t)n * f->cols, 1.0f), *bias = floats(f->rows, 1.0f);
	float *dst = floats(n_dst, 1.0f), *want = plane(n_dst * sizeof(float));
	int8_t *q = plane((size_t)n * padded);
	struct sherd_act_group *ag = plane((size_t)n * padded / 32 * sizeof(*ag));
	struct sherd_act_half *ah = plane((size_t)n * padded / 32 * sizeof(*ah));
	struct sherd_ref_act a = { x, f->cols, q, padded, ag, ah };
	bool residual = tiny_below(&rng, 2), biased = tiny_below(&rng, 2);
	double *exact = plane(n_dst * sizeof(double));
	struct matrix m;
	char what[64];
	uint32_t r;

	matrix_make(&m, f);
	memcpy(want, dst, n_dst * sizeof(float));
	for (k = 0; k < n_dst; k++)
		exact[k] = (double)dst[k];
	for (i = 0; i < n; i++) {
		const struct sherd_act_group *g = ag + i * padded / 32;

		sherd_ref_quantize(x + (size_t)i * f->cols, f->cols, q + (size_t)i * padded,
				   ag + i * padded / 32, ah + i * padded / 32);
		for (r = 0; r < f->rows; r++) {
			const float *xi = x + (size_t)i * f->cols;
			const int8_t *qi = q + (size_t)i * padded;
			float y = sherd_elem_is_int(f->elem) ? int_dot(&m, r, qi, g) :
							       float_dot(&m, r, xi);

			y = biased ? y + bias[r] : y;
			k = i * stride + r;
			exact[k] = (residual ? exact[k] : 0) + (biased ? (double)bias[r] : 0) +
				   exact_dot(&m, r, xi, qi, g);
			want[k] = residual ? want[k] + y : y;
		}
	}
	sherd_format_name(f, what, sizeof(what));
	sherd_ref_matmul(&m.t, &a, n, biased ? bias : NULL, residual, dst, stride);
	assert_bits(what, dst, want, n_dst);
	assert_within(what, dst, exact, n_dst, 3e-6, 1.0);
	matrix_free(&m);
	free(x);
	free(bias);
	free(dst);
	free(want);
	free(q);
	free(ag);
	free(ah);
	free(exact);
}

static void matmul_is_the_contracts_for_every_format_and_odd_shapes(void **state)
{
	static const enum sherd_elem elems[] = { SHERD_ELEM_U4, SHERD_ELEM_U8, SHERD_ELEM_F16,
						 SHERD_ELEM_BF16, SHERD_ELEM_F32 };
	static const enum sherd_elem planes[] = { SHERD_ELEM_F16, SHERD_ELEM_F32, SHERD_ELEM_NONE };
	int round;

	(void)state;
	for (round = 0; round < 400; round++) {
		struct sherd_format f = { .elem = elems[round % 5], .scale = SHERD_ELEM_NONE,
					  .min = SHERD_ELEM_NONE,
					  .rows = 1 + tiny_below(&rng, 70),
					  .cols = 1 + tiny_below(&rng, round % 7 ? 130 : 900) };

		if (sherd_elem_is_int(f.elem)) {
			f.group = tiny_below(&rng, 2) ? 16 : 32;
			f.scale = planes[tiny_below(&rng, 2)];
			f.min = planes[tiny_below(&rng, 3)];
		}
		check_matmul(&f);
	}
}

/* --------------------------------------------------------------------- others */

static void rope_rotates_pairs_or_halves_and_leaves_the_rest(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 200; round++) {
		int half = 1 + tiny_below(&rng, 40), dim = 2 * half + 2 * tiny_below(&rng, 4);
		bool pairs = tiny_below(&rng, 2);
		float *x = floats(dim, 1.0f), y[128], table[128];
		double want[128];

		for (i = 0; i < half; i++) {
			table[2 * i] = (float)cos(0.37 * i + round);
			table[2 * i + 1] = (float)sin(0.37 * i + round);
		}
		for (i = 0; i < dim; i++)
			want[i] = (double)x[i];
		for (i = 0; i < half; i++) {
			int a = pairs ? 2 * i : i, b = pairs ? 2 * i + 1 : i + half;
			double c = (double)table[2 * i], s = (double)table[2 * i + 1];

			want[a] = (double)x[a] * c - (double)x[b] * s;
			want[b] = (double)x[a] * s + (double)x[b] * c;
		}
		memcpy(y, x, dim * sizeof(float));
		sherd_ref_rope(pairs ? SHERD_POS_ROPE_PAIRS : SHERD_POS_ROPE_HALVES, table,
			       2 * half, y);
		assert_close("rope", y, want, dim, 1e-6);
		assert_bits("what is not rotated", y + 2 * half, x + 2 * half, dim - 2 * half);
		free(x);
	}
}

static void activations_are_gated_or_not(void **state)
{
	float gate[5] = { -3, -0.5f, 0, 1, 4 }, up[5] = { 2, 3, 4, 5, -6 }, h[5];
	double want[5];
	int i;

	(void)state;
	for (i = 0; i < 5; i++)
		want[i] = (double)gate[i] / (1 + exp(-(double)gate[i])) * (double)up[i];
	sherd_ref_act(SHERD_ACT_SILU, gate, up, 5, h);
	assert_close("gated silu", h, want, 5, 1e-6);
	for (i = 0; i < 5; i++)
		want[i] = 0.5 * (double)up[i] * (1 + erf((double)up[i] * M_SQRT1_2));
	sherd_ref_act(SHERD_ACT_GELU_ERF, NULL, up, 5, h);
	assert_close("gelu", h, want, 5, 1e-6);
}

static void a_cut_changes_little_and_a_second_cut_nothing(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 300; round++) {
		int n = 1 + tiny_below(&rng, 100);
		float size = powf(10.0f, (float)tiny_below(&rng, 6) - 2.0f);
		float *x = floats(n, size), y[100], z[100];
		double want[100];

		/* so that the scale is a normal half: below, a second cut may change something */
		for (i = 0; i < n; i += 32)
			x[i] = size;
		for (i = 0; i < n; i++)
			want[i] = (double)x[i];
		memcpy(y, x, n * sizeof(float));
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, y, n), 0);
		assert_close("int8 wire", y, want, n, 0.5 / 126);
		memcpy(z, y, n * sizeof(float));
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, z, n), 0);
		assert_bits("int8 wire, again", z, y, n);
		memcpy(y, x, n * sizeof(float));
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_F16, y, n), 0);
		assert_close("f16 wire", y, want, n, 0x1p-11);
		memcpy(y, x, n * sizeof(float));
		assert_int_equal(sherd_ref_cut(SHERD_WIRE_F32, y, n), 0);
		assert_bits("f32 wire", y, x, n);
		free(x);
	}
}

static void values_too_large_for_the_wire_are_refused(void **state)
{
	float x[2] = { 1.0f, 1e5f }, y[2] = { 1.0f, 1e8f };

	(void)state;
	assert_int_equal(sherd_ref_cut(SHERD_WIRE_F16, x, 2), -EDOM);
	assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, y, 2), -EDOM);
}

/* ------------------------------------------------------------------ attention */

struct cache {
	struct sherd_kv_shape shape;
	uint8_t *pool;
	int32_t pages[16];
	int n_pos;
	float *k, *v; /* [n_pos][head_dim], as the caller gave them */
};

/* A cache of random keys and values; pages in random order, everything unwritten is NaN. */
static void cache_make(struct cache *c, enum sherd_kv_type type, int n_pos)
{
	int n_pages = DIV_ROUND_UP(n_pos, SHERD_PAGE), dim, i, k;
	size_t bytes;

	dim = 2 * (1 + tiny_below(&rng, 40));
	c->shape = (struct sherd_kv_shape){ 2, 3, dim, type };
	bytes = sherd_kv_shape_page_bytes(&c->shape);
	c->pool = plane(bytes * n_pages);
	memset(c->pool, 0xFF, bytes * n_pages);
	for (i = 0; i < n_pages; i++) {
		k = tiny_below(&rng, i + 1);
		c->pages[i] = c->pages[k];
		c->pages[k] = i;
	}
	c->n_pos = n_pos;
	c->k = floats((size_t)n_pos * dim, 1.0f);
	c->v = floats((size_t)n_pos * dim, 1.0f);
	for (i = 0; i < n_pos; i++)
		assert_int_equal(sherd_ref_kv_store(&c->shape,
						    c->pool + bytes * c->pages[i / SHERD_PAGE], 1,
						    2, i % SHERD_PAGE, c->k + (size_t)i * dim,
						    c->v + (size_t)i * dim),
				 0);
}

static void cache_free(struct cache *c)
{
	free(c->pool);
	free(c->k);
	free(c->v);
}

/* What a row sees: positions [first, last], and scores within -cap .. cap if that is not 0. */
struct sight {
	int first, last;
	float cap;
};

/* The last position first, and without a window first. */
static struct sight random_sight(const struct cache *c, int i)
{
	struct sight s = { 0, i ? tiny_below(&rng, c->n_pos) : c->n_pos - 1, 0 };

	if (i % 2)
		s.first = sherd_first_seen(s.last, 1 + tiny_below(&rng, s.last + 10));
	if (i > 2)
		s.cap = 0.1f + (float)tiny_below(&rng, 30);
	return s;
}

static void attend(const struct cache *c, const float *q, const struct sight *s, float *out)
{
	sherd_ref_attend(&c->shape, c->pool, c->pages, 1, 2, s->first, s->last, s->cap, q, out);
}

static void exact_attention(const struct cache *c, const float *q, const struct sight *sight,
			    double *out)
{
	double cap = (double)sight->cap;
	int dim = c->shape.head_dim, j, d;
	double sum = 0;

	memset(out, 0, dim * sizeof(*out));
	for (j = sight->first; j <= sight->last; j++) {
		double s = 0, e;

		for (d = 0; d < dim; d++)
			s += (double)q[d] * (double)c->k[(size_t)j * dim + d];
		e = exp(cap > 0 ? cap * tanh(s / cap) : s);
		sum += e;
		for (d = 0; d < dim; d++)
			out[d] += e * (double)c->v[(size_t)j * dim + d];
	}
	for (d = 0; d < dim; d++)
		out[d] /= sum;
}

static void attention_is_softmax_over_pages_in_any_order(void **state)
{
	static const double limit[] = { 2e-3, 5e-2, 1e-5 }; /* f16, int8, f32 */
	int round, i;

	(void)state;
	for (round = 0; round < 90; round++) {
		enum sherd_kv_type type = round % 3;
		struct cache c;
		float *q, got[80], mixed[80];
		double want[80];

		cache_make(&c, type, 1 + tiny_below(&rng, round % 2 ? 700 : 70));
		q = floats(c.shape.head_dim, 1.0f / sqrtf((float)c.shape.head_dim));
		for (i = 0; i < 5; i++) {
			struct sight s = random_sight(&c, i);

			exact_attention(&c, q, &s, want);
			memcpy(mixed, q, c.shape.head_dim * sizeof(*q));
			assert_int_equal(sherd_ref_query(&c.shape, mixed, 1, 1.0f), 0);
			attend(&c, mixed, &s, got);
			assert_within("attention", got, want, c.shape.head_dim, limit[type], 0.5);
		}
		free(q);
		cache_free(&c);
	}
}

/* Chunks and merges in the contract's words, for a float cache. */
static void contract_attention(const struct cache *c, const float *q, const struct sight *s,
			       float *out)
{
	int dim = c->shape.head_dim, first, j, d;
	float M = 0, S = 0, O[80], e[256], o[80];
	bool begun = false;

	for (first = s->first / 256 * 256; first <= s->last; first += 256) {
		int n = MIN(256, s->last + 1 - first), from = MAX(0, s->first - first);
		float m = -INFINITY, sum, max, a, b;

		memset(e, 0, sizeof(e)); /* what is not seen weighs nothing */
		for (j = from; j < n; j++) {
			for (d = 0; d < dim; d++)
				e[j] = fmaf(q[d], c->k[(size_t)(first + j) * dim + d], e[j]);
			if (s->cap > 0)
				e[j] = num_tanh_1(e[j] * (1.0f / s->cap)) * s->cap;
			m = fmaxf(m, e[j]);
		}
		for (j = from; j < n; j++)
			e[j] = num_exp_1(e[j] - m);
		sum = lane_rule(e, n);
		for (d = 0; d < dim; d++) {
			o[d] = 0;
			for (j = 0; j < n; j++)
				o[d] = fmaf(e[j], c->v[(size_t)(first + j) * dim + d], o[d]);
		}
		if (!begun) {
			begun = true;
			M = m;
			S = sum;
			memcpy(O, o, sizeof(O));
			continue;
		}
		max = fmaxf(M, m);
		a = num_exp_1(M - max);
		b = num_exp_1(m - max);
		S = fmaf(S, a, sum * b);
		for (d = 0; d < dim; d++)
			O[d] = fmaf(O[d], a, o[d] * b);
		M = max;
	}
	for (d = 0; d < dim; d++)
		out[d] = O[d] * num_recip_1(S);
}

static void attention_is_the_contracts_bits(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 40; round++) {
		struct cache c;
		float *q, got[80], want[80];

		cache_make(&c, SHERD_KV_F32, 1 + tiny_below(&rng, 900));
		q = floats(c.shape.head_dim, 1.0f);
		for (i = 0; i < 5; i++) {
			struct sight s = random_sight(&c, i);

			contract_attention(&c, q, &s, want);
			attend(&c, q, &s, got);
			assert_bits("attention", got, want, c.shape.head_dim);
		}
		free(q);
		cache_free(&c);
	}
}

static void the_bit_profile_is_a_hash_that_stays(void **state)
{
	char a[SHERD_SHA256_HEX], b[SHERD_SHA256_HEX];

	(void)state;
	sherd_ref_bit_profile(a);
	sherd_ref_bit_profile(b);
	assert_string_equal(a, b);
	assert_int_equal(strlen(a), SHERD_SHA256_HEX - 1);
	/*
	 * Changes when the contract does, and then its version in ref_profile.c has to as well; or
	 * with the vector; or on a machine whose sine is another one.
	 */
	assert_string_equal(a, "c3d6be4f0a45f7811b0c67ff555d4afb16668ff8b46d38fef35a7e38f0ea6cb5");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(halves_are_the_same_floats_for_all_65536),
		cmocka_unit_test(sums_follow_the_lane_rule),
		cmocka_unit_test(rms_norm_is_the_contracts_and_right),
		cmocka_unit_test(layer_norm_is_right_and_may_run_in_place),
		cmocka_unit_test(what_is_no_number_is_refused_by_norm_and_quantizer),
		cmocka_unit_test(quantized_groups_are_within_half_a_step_and_know_their_sums),
		cmocka_unit_test(a_group_of_zeros_is_zeros),
		cmocka_unit_test(matmul_is_the_contracts_for_every_format_and_odd_shapes),
		cmocka_unit_test(rope_rotates_pairs_or_halves_and_leaves_the_rest),
		cmocka_unit_test(activations_are_gated_or_not),
		cmocka_unit_test(a_cut_changes_little_and_a_second_cut_nothing),
		cmocka_unit_test(values_too_large_for_the_wire_are_refused),
		cmocka_unit_test(attention_is_softmax_over_pages_in_any_order),
		cmocka_unit_test(attention_is_the_contracts_bits),
		cmocka_unit_test(the_bit_profile_is_a_hash_that_stays),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
