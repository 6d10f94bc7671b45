/* SPDX-License-Identifier: MIT */
/* cl_selftest_experts: rows that choose experts, alone and in company, and meet them. */
#include <math.h>
#include "infer/cl/cl_selftest.h"

/* Rows and their choice, on the host; pairs are numbered row * k + rank. */
struct choice {
	int n, n_experts, k;
	int32_t *expert;	/* [n * k] */
	float *weight;		/* [n * k] */
	int32_t *order, *place; /* [n * k]: slot to pair, pair to slot */
	cl_int4 *runs;
	int n_runs;
};

static void *poisoned(struct sherd_st *t, size_t size)
{
	void *p = sherd_st_alloc(t, size);

	sherd_st_poison(p, size);
	return p;
}

static struct choice new_choice(struct sherd_st *t, int n, int n_experts, int k)
{
	struct choice c = { .n = n, .n_experts = n_experts, .k = k };
	size_t pairs = (size_t)n * k;

	c.n_runs = MIN(n_experts, n * k);
	c.expert = sherd_st_alloc(t, 4 * pairs);
	c.weight = sherd_st_alloc(t, 4 * pairs);
	c.order = sherd_st_alloc(t, 4 * pairs);
	c.place = sherd_st_alloc(t, 4 * pairs);
	c.runs = sherd_st_alloc(t, 16 * (size_t)c.n_runs);
	return c;
}

/* Slots of a row alone are in the order of its choice; of several, expert by expert. */
static void group(struct choice *c)
{
	int slot = 0, run = 0, e, p;

	for (p = 0; p < c->k && c->n == 1; p++) {
		c->runs[p] = (cl_int4){ { p, p + 1, c->expert[p], 0 } };
		c->order[p] = c->place[p] = p;
	}
	for (e = 0; e < c->n_experts && c->n > 1; e++) {
		int first = slot;

		for (p = 0; p < c->n * c->k; p++)
			if (c->expert[p] == e) {
				c->order[slot] = p;
				c->place[p] = slot++;
			}
		if (slot > first)
			c->runs[run++] = (cl_int4){ { first, slot, e, 0 } };
	}
}

static struct sherd_cl_routes upload_routes(struct sherd_st *t, const struct choice *c, bool poison,
					    bool renormalize)
{
	size_t pairs = 4 * (size_t)c->n * c->k, runs = 16 * (size_t)c->n_runs;
	struct sherd_cl_routes r = { .n_experts = c->n_experts,
				     .k = c->k,
				     .renormalize = renormalize };

	r.choice = sherd_st_upload(t, poison ? poisoned(t, pairs) : c->expert, pairs);
	r.weight = sherd_st_upload(t, poison ? poisoned(t, pairs) : c->weight, pairs);
	r.order = sherd_st_upload(t, poison ? poisoned(t, pairs) : c->order, pairs);
	r.place = sherd_st_upload(t, poison ? poisoned(t, pairs) : c->place, pairs);
	r.runs = sherd_st_upload(t, poison ? poisoned(t, runs) : c->runs, runs);
	return r;
}

/* Scores with many ties; the first row's are all equal. */
static float *make_scores(struct sherd_st *t, int n, int stride)
{
	float *x = sherd_st_floats(t, (size_t)n * stride);
	int i;

	for (i = 0; i < n * stride; i++)
		x[i] = i < stride	    ? 0.25f :
		       sherd_st_below(t, 3) ? (float)sherd_st_below(t, 5) :
					      20.0f * x[i];
	return x;
}

/* Fills @c; the first row that the reference refuses, or -1. */
static int route_reference(struct choice *c, const float *scores, int stride, bool renormalize)
{
	int i, refused = -1;

	for (i = 0; i < c->n; i++)
		if (sherd_ref_route(scores + (size_t)i * stride, c->n_experts, c->k, renormalize,
				    c->expert + i * c->k, c->weight + i * c->k) &&
		    refused < 0)
			refused = i;
	group(c);
	return refused;
}

static void check_route(struct sherd_st *t, int n, int n_experts, int k, float extreme)
{
	struct choice c = new_choice(t, n, n_experts, k);
	int stride = n_experts + sherd_st_below(t, 3), row = sherd_st_below(t, n), refused;
	bool renormalize = sherd_st_below(t, 2);
	float *scores = make_scores(t, n, stride);
	struct sherd_cl_rows d = sherd_st_upload_rows(t, scores, n, stride);
	struct sherd_cl_routes r = upload_routes(t, &c, true, renormalize);
	size_t pairs = 4 * (size_t)n * k;

	sherd_cl_route(t->c, d, n, &r);
	route_reference(&c, scores, stride, renormalize);
	sherd_st_expect(t, r.choice, c.expert, pairs, "route", "%d x %d of %d", n, k, n_experts);
	sherd_st_expect(t, r.weight, c.weight, pairs, "route", "%d x %d of %d, weights", n, k,
			n_experts);
	sherd_st_expect(t, r.order, c.order, pairs, "group_pairs", "%d x %d of %d", n, k,
			n_experts);
	sherd_st_expect(t, r.place, c.place, pairs, "group_pairs", "%d x %d of %d, places", n, k,
			n_experts);
	sherd_st_expect(t, r.runs, c.runs, 16 * (size_t)c.n_runs, "group_pairs",
			"%d x %d of %d, runs", n, k, n_experts);
	sherd_st_expect_failed(t, -1, "route", 0);
	/* what is refused leaves the order of before */
	scores[(size_t)row * stride + sherd_st_below(t, n_experts)] = extreme;
	d = sherd_st_upload_rows(t, scores, n, stride);
	sherd_cl_route(t->c, d, n, &r);
	refused = isfinite(extreme) ? -1 : row;
	if (refused >= 0)
		sherd_st_expect(t, r.order, c.order, pairs, "group_pairs", "after a failure");
	sherd_st_expect_failed(t, refused, "route", extreme);
}

/* Any choice will do. */
static struct choice random_choice(struct sherd_st *t, int n, int n_experts, int k)
{
	struct choice c = new_choice(t, n, n_experts, k);
	float *scores = make_scores(t, n, n_experts);

	route_reference(&c, scores, n_experts, true);
	return c;
}

static void check_spread(struct sherd_st *t, int n, int n_experts, int k, int width)
{
	struct choice c = random_choice(t, n, n_experts, k);
	struct sherd_cl_routes r = upload_routes(t, &c, false, true);
	struct sherd_st_act from = sherd_st_random_act(t, n, width);
	struct sherd_st_act to = sherd_st_new_act(t, n * k, width);
	struct sherd_cl_act a = sherd_st_upload_act(t, &from);
	struct sherd_cl_act b = sherd_st_poisoned_act(t, n * k, width);
	int slot;

	sherd_cl_spread(t->c, &a, width, n, &r, &b);
	for (slot = 0; slot < n * k; slot++)
		sherd_st_quantize_row(&to, slot, from.a + (size_t)(c.order[slot] / k) * width);
	sherd_st_expect_act(t, &b, &to, "spread");
}

static void check_combine(struct sherd_st *t, int n, int n_experts, int k, int width)
{
	struct choice c = random_choice(t, n, n_experts, k);
	struct sherd_cl_routes r = upload_routes(t, &c, false, true);
	int stride = width + sherd_st_below(t, 3), i, j;
	bool any = sherd_st_below(t, 2);
	float *x = sherd_st_floats(t, (size_t)n * stride), *out, *one, *shared, *scores;
	struct sherd_cl_rows dx = sherd_st_upload_rows(t, x, n, stride), none = { NULL, 0 };

	out = sherd_st_floats(t, (size_t)n * k * width);
	one = sherd_st_alloc(t, 4 * (size_t)k * width);
	shared = sherd_st_floats(t, (size_t)n * width);
	scores = sherd_st_floats(t, (size_t)n * (n_experts + 1));
	sherd_cl_combine(t->c, dx, width, n, sherd_st_upload_rows(t, out, n * k, width), &r,
			 any ? sherd_st_upload_rows(t, shared, n, width) : none,
			 sherd_st_upload_rows(t, scores, n, n_experts + 1));
	for (i = 0; i < n; i++) {
		for (j = 0; j < k; j++)
			memcpy(one + (size_t)j * width, out + (size_t)c.place[i * k + j] * width,
			       4 * width);
		sherd_ref_combine(one, width, k, c.weight + i * k,
				  any ? shared + (size_t)i * width : NULL,
				  scores + (size_t)i * (n_experts + 1) + n_experts, width,
				  x + (size_t)i * stride);
	}
	sherd_st_expect(t, dx.mem, x, 4 * (size_t)n * stride, "combine", "%d x %d, %d experts", n,
			width, k);
}

void sherd_st_experts(struct sherd_st *t, int round)
{
	/* the least; as wide as may be; then any */
	int n_experts = !round ? 1 : round == 1 ? SHERD_MAX_EXPERTS : 2 + sherd_st_below(t, 70);
	int k = round == 1 ? 40 : 1 + sherd_st_below(t, MIN(n_experts, 9));
	int n = round % 3 ? 1 + sherd_st_below(t, 40) : 1;
	int width = 1 + sherd_st_below(t, 300);

	check_route(t, n, n_experts, k, sherd_st_extreme(round));
	check_spread(t, n, n_experts, k, width);
	check_combine(t, n, n_experts, k, width);
}

/* --- their matmuls --- */

/* Rows of the stack times rows of A by one kernel; dst is wider than the result on both sides. */
static void check_kernel(struct sherd_st *t, struct sherd_cl_program *p, enum sherd_cl_kernel k,
			 const struct choice *c, int rows, int cols)
{
	struct sherd_format f = sherd_st_format(p, sherd_stack_rows(c->n_experts, rows), cols);
	bool alone = c->n == 1 && sherd_st_below(t, 2);
	int pairs = c->n * c->k, col = sherd_st_below(t, 3);
	int stride = rows + col + sherd_st_below(t, 5), slot;
	struct sherd_st_act h = sherd_st_random_act(t, alone ? 1 : pairs, cols);
	struct sherd_cl_act a = sherd_st_upload_act(t, &h);
	struct sherd_cl_routes r = upload_routes(t, c, false, true);
	float *dst = sherd_st_floats(t, (size_t)pairs * stride);
	struct sherd_cl_rows d = sherd_st_upload_rows(t, dst, pairs, stride);
	struct sherd_cl_matrix dw;
	struct sherd_tensor w;

	sherd_st_matrix(t, &f, &w, &dw);
	sherd_cl_matmul_experts(t->c, k, &dw, rows, &a, alone, c->n, &r, d, col);
	for (slot = 0; slot < pairs; slot++) {
		struct sherd_tensor e = sherd_stack_expert(&w, rows, c->expert[c->order[slot]]);
		struct sherd_ref_act ra = sherd_st_ref_act(&h);
		size_t at = alone ? 0 : slot;

		ra.x += at * ra.x_stride;
		ra.q += at * ra.q_stride;
		ra.groups += at * (ra.q_stride / SHERD_ACT_GROUP);
		ra.halves += at * (ra.q_stride / SHERD_ACT_GROUP);
		sherd_ref_matmul(&e, &ra, 1, NULL, false, dst + (size_t)slot * stride + col,
				 stride);
	}
	sherd_st_expect(t, d.mem, dst, 4 * (size_t)pairs * stride, p->spec,
			"kernel %d, %d rows of %d experts, %d columns, %d x %d",
			k - SHERD_K_MATMUL_1, rows, c->n_experts, cols, c->n, c->k);
}

void sherd_st_matmul_experts(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	int n_experts = 1 + sherd_st_below(t, 6), rows = 1 + sherd_st_below(t, 100);
	int cols = round == 1 ? 288 : 1 + sherd_st_below(t, 400), k;
	int n = round % 3 ? 1 + sherd_st_below(t, 60) : 1;
	struct choice c = random_choice(t, n, n_experts, 1 + sherd_st_below(t, MIN(n_experts, 3)));

	for (k = SHERD_K_MATMUL_1; k <= SHERD_K_MATMUL_TILE && !t->rc; k++)
		if (p->kernel[k])
			check_kernel(t, p, k, &c, rows, cols);
}
