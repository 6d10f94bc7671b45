/* SPDX-License-Identifier: MIT */
/*
 * cl_selftest_walk: layers and a head at the end of random pasts, by walk.cl in one launch, or in
 * several that follow each other without a wait. cl_selftest_layer.c has the layers, and what the
 * reference makes of them.
 */
#include <math.h>
#include "infer/cl/cl_selftest_layer.h"

#define N_WEIGHTS  2
#define N_LAYERS   6 /* layer i has weights i % N_WEIGHTS: they chain through x */
#define FIRST_STEP 3 /* of the table: what is before it is not there */
#define LOGITS_COL 5
#define MAX_TRIES  8
/*
 * Workers that do not wait as they should give the right bits nearly always: the more, the busier
 * CPUs are.
 */
#define WIDE_CHAINS 6
#define HEAD_STEPS 3 /* behind the last layer */
#define N_STEPS	   (FIRST_STEP + N_LAYERS * LAYER_STEPS + HEAD_STEPS)

/* Steps that can fail. */
static const int phases[] = { NORM_1, ROPE, MERGE, NORM_2, ACT };

/* What a run writes. */
struct scratch {
	cl_mem x, qkv, ffn, logits, out, parts, counters;
	struct sherd_cl_act a;
};

static struct sherd_walk_step norm_step(struct sherd_st *t, const struct layer *l, int i)
{
	return (struct sherd_walk_step){
		.kind = SHERD_WALK_NORM,
		.src = SHERD_BUF_X,
		.cols = l->hidden,
		.values = sherd_st_address(t, l->norm_mem[i]),
		.bias = sherd_st_address(t, l->norm_bias_mem[i]),
		.want = l->want,
		.norm = l->norm_kind,
		.inv_cols = 1.0f / (float)l->hidden,
	};
}

static struct sherd_walk_step matmul_step(struct sherd_st *t, const struct layer *l, int i, int dst)
{
	const struct sherd_cl_matrix *m = &l->dev[i];

	return (struct sherd_walk_step){
		.kind = SHERD_WALK_MATMUL,
		.dst = dst,
		.rows = m->fmt.rows,
		.cols = m->fmt.cols,
		.values = sherd_st_address(t, m->values),
		.scales = sherd_st_address(t, m->scales),
		.mins = sherd_st_address(t, m->mins),
		.bias = sherd_st_address(t, l->bias_mem[i]),
		.flags = (dst == SHERD_BUF_X ? SHERD_CL_RESIDUAL : 0) |
			 (l->with_bias ? SHERD_CL_BIAS : 0),
	};
}

static struct sherd_walk_step other_step(const struct layer *l, int kind)
{
	return (struct sherd_walk_step){
		.kind = kind,
		.src = SHERD_BUF_FFN, /* where it is read at all */
		.cols = l->ffn,
		.want = l->want,
		.cache = sherd_kv_offset(&l->past.shape, l->past.layer, 0),
		.window = l->past.sight.window,
		.cap = l->past.sight.cap,
		.inv_cap = l->past.sight.cap != 0 ? 1.0f / l->past.sight.cap : 0,
		.values = kind == SHERD_WALK_ROPE ? l->rope_at : 0,
	};
}

/* The three steps that a layer with joins has otherwise. */
static void add_joins(struct sherd_st *t, const struct layer *l, struct sherd_walk_step *s)
{
	int dim = l->past.shape.head_dim;

	s[Q_NORM] = (struct sherd_walk_step){
		.kind = SHERD_WALK_NORM_TO,
		.src = SHERD_BUF_QKV,
		.dst = SHERD_BUF_QKV,
		.cols = dim,
		.n_parts = l->past.n_heads,
		.values = sherd_st_address(t, l->q_norm_mem),
		.weight_step = l->q_norm_step,
		.norm = SHERD_NORM_RMS,
		.inv_cols = 1.0f / (float)dim,
		.scale = 1,
	};
	s[NORM_2].kind = SHERD_WALK_QUANTIZE;
	s[MUL_DOWN].dst = SHERD_BUF_OUT;
	s[MUL_DOWN].flags &= ~SHERD_CL_RESIDUAL;
	s[JOIN] = norm_step(t, l, 0);
	s[JOIN].kind = SHERD_WALK_NORM_TO;
	s[JOIN].src = SHERD_BUF_OUT;
	s[JOIN].dst = SHERD_BUF_X;
	s[JOIN].n_parts = 1;
	s[JOIN].scale = JOIN_SCALE;
	s[JOIN].flags = SHERD_CL_RESIDUAL;
}

static void add_layer(struct sherd_st *t, const struct layer *l, struct sherd_walk_step *s)
{
	s[NORM_1] = norm_step(t, l, 0);
	s[MUL_QKV] = matmul_step(t, l, QKV, SHERD_BUF_QKV);
	s[ROPE] = other_step(l, SHERD_WALK_ROPE);
	s[ATTEND] = other_step(l, SHERD_WALK_ATTEND);
	s[MERGE] = other_step(l, SHERD_WALK_MERGE);
	s[MUL_OUT] = matmul_step(t, l, OUT, SHERD_BUF_X);
	s[NORM_2] = norm_step(t, l, 1);
	s[MUL_UP] = matmul_step(t, l, UP, SHERD_BUF_FFN);
	s[ACT] = other_step(l, SHERD_WALK_ACT);
	s[MUL_DOWN] = matmul_step(t, l, DOWN, SHERD_BUF_X);
	s[Q_NORM] = s[JOIN] = (struct sherd_walk_step){ .kind = SHERD_WALK_NOTHING };
	if (l->joins)
		add_joins(t, l, s);
}

/*
 * The table of @n layers, which take turns with the weights, and of a head: UP, as there is no
 * other matrix.
 */
static cl_mem make_table(struct sherd_st *t, const struct layer *l, int n)
{
	struct sherd_walk_step *s = sherd_st_alloc(t, N_STEPS * sizeof(*s)), *head;
	int i;

	sherd_st_poison(s, FIRST_STEP * sizeof(*s));
	for (i = 0; i < MIN(n, N_WEIGHTS); i++)
		add_layer(t, &l[i], s + FIRST_STEP + i * LAYER_STEPS);
	for (; i < n; i++)
		memcpy(s + FIRST_STEP + i * LAYER_STEPS,
		       s + FIRST_STEP + i % N_WEIGHTS * LAYER_STEPS, LAYER_STEPS * sizeof(*s));
	head = s + FIRST_STEP + n * LAYER_STEPS;
	head[0] = norm_step(t, l, 0);
	head[1] = matmul_step(t, l, UP, SHERD_BUF_LOGITS);
	head[1].dst_col = LOGITS_COL;
	head[2] = (struct sherd_walk_step){ .kind = SHERD_WALK_CAP,
					    .src = SHERD_BUF_X,
					    .cols = l->hidden,
					    .scale = 0.5f,
					    .cap = 3,
					    .inv_cap = 1.0f / 3 };
	return sherd_st_upload(t, s, N_STEPS * sizeof(*s));
}

static void *poisoned(struct sherd_st *t, size_t size)
{
	void *p = sherd_st_alloc(t, size);

	sherd_st_poison(p, size);
	return p;
}

static cl_mem upload_poison(struct sherd_st *t, size_t size)
{
	return sherd_st_upload(t, poisoned(t, size), size);
}

static struct scratch make_scratch(struct sherd_st *t, const struct layer *l, const float *x)
{
	size_t n_parts = (l->past.n_ctx - 1) / SHERD_CHUNK + 1;
	size_t floats = sherd_cl_part_floats(t->c, l->past.shape.head_dim);
	size_t counters = N_STEPS * sizeof(struct sherd_walk_counters);

	return (struct scratch){
		.x = sherd_st_upload(t, x, 4 * l->hidden),
		.qkv = upload_poison(t, 4 * (size_t)l->past.stride),
		.ffn = upload_poison(t, 8 * (size_t)l->ffn),
		.out = upload_poison(t, 4 * (size_t)l->hidden),
		.logits = upload_poison(t, 4 * (LOGITS_COL + 2 * (size_t)l->ffn)),
		.parts = upload_poison(t, 4 * l->past.n_heads * n_parts * floats),
		.counters = sherd_st_upload(t, sherd_st_alloc(t, counters), counters),
		.a = sherd_st_poisoned_act(t, 1, MAX(MAX(l->hidden, l->q), l->ffn)),
	};
}

/* Enqueues steps [first, end), and waits for nothing. */
static void run(struct sherd_st *t, const struct layer *l, const struct scratch *s, cl_mem table,
		bool parts, int first, int end)
{
	struct sherd_cl_walk w = {
		.run = {
			.first = first,
			.end = end,
			.workers = t->c->dev->info.compute_units,
			.qkv_stride = l->past.stride,
			.n_heads = l->past.n_heads,
			.n_kv_heads = l->past.shape.n_kv_heads,
			.rope_dim = l->past.rope ? l->past.rope_dim : 0,
			.rope_halves = l->past.position == SHERD_POS_ROPE_HALVES,
			.act = l->act,
			.gated = l->gated,
			.n_tiles = l->n_tiles,
			.n_parts = parts ? (l->past.n_ctx - 1) / SHERD_CHUNK + 1 : 0,
			.eps = 1e-5f,
			.q_scale = SHERD_ST_Q_SCALE,
		},
		.program = sherd_cl_walk_program(t->c, &l->dev[QKV].fmt, &l->past.shape),
		.steps = table,
		.counters = s->counters,
		.x = s->x,
		.qkv = s->qkv,
		.ffn = s->ffn,
		.logits = s->logits,
		.out = s->out,
		.parts = s->parts,
		.tiles = l->tiles,
	};

	sherd_cl_walk(t->c, &w, &l->cache, &s->a);
}

static void upload_pool(struct sherd_st *t, struct layer *l)
{
	l->cache.pool = sherd_st_upload(t, l->past.pool, l->past.pool_size + 256);
}

/* --- the cases --- */

/*
 * All layers and the head on @x, which changes; y: the head's A; logits of LOGITS_COL + rows
 * floats.
 */
static void reference_chain(struct sherd_st *t, struct layer *l, float *x, float *y, float *logits)
{
	int i;

	for (i = 0; i < N_LAYERS; i++)
		sherd_st_layer(t, &l[i % N_WEIGHTS], x);
	sherd_st_normalize(l, 0, x, y);
	sherd_st_multiply(t, l, UP, y, l->hidden, logits + LOGITS_COL, false);
	sherd_ref_cap(x, l->hidden, 0.5f, 3);
}

/* A is the head's, as far as forms of it were wanted, and untouched where not. */
static void check_act(struct sherd_st *t, const struct sherd_cl_program *p, const struct layer *l,
		      const struct scratch *s, const float *y)
{
	struct sherd_st_act h = sherd_st_new_act(t, 1, l->hidden);
	size_t floats = 4 * (size_t)l->hidden, halves = 16 * (size_t)h.n_groups;
	void *bad = poisoned(t, MAX(floats, halves));

	sherd_st_quantize_row(&h, 0, y);
	sherd_st_expect(t, s->a.a, l->want & SHERD_QUANT_F32 ? h.a : bad, floats, p->spec,
			"A's floats");
	sherd_st_expect(t, s->a.q, h.q, 32 * (size_t)h.n_groups, p->spec, "A's int8");
	sherd_st_expect(t, s->a.groups, h.groups, 16 * (size_t)h.n_groups, p->spec, "A's groups");
	sherd_st_expect(t, s->a.halves, l->want & SHERD_QUANT_HALVES ? h.halves : bad, halves,
			p->spec, "A's halves");
}

/* Layers and head, in one run and attention's chunks in turn; in three, and chunks side by side. */
static void check_chain(struct sherd_st *t, const struct sherd_cl_program *p, struct layer *l)
{
	const int third = N_LAYERS / 3 * LAYER_STEPS;
	size_t size = 4 * (LOGITS_COL + l->w[UP].fmt.rows);
	float *x = sherd_st_floats(t, l->hidden), *y = sherd_st_alloc(t, 4 * l->hidden);
	float *logits = poisoned(t, size);
	cl_mem table = make_table(t, l, N_LAYERS), pool[2];
	struct scratch s[2];
	int i, at = FIRST_STEP;

	for (i = 0; i < 2; i++) {
		s[i] = make_scratch(t, l, x);
		upload_pool(t, l);
		pool[i] = l->cache.pool;
		if (!i)
			run(t, l, &s[i], table, false, at, N_STEPS);
	}
	run(t, l, &s[1], table, true, at, at + third + 4);
	run(t, l, &s[1], table, true, at + third + 4, at + 2 * third);
	run(t, l, &s[1], table, true, at + 2 * third, N_STEPS);
	reference_chain(t, l, x, y, logits);
	for (i = 0; i < 2; i++) {
		check_act(t, p, l, &s[i], y);
		sherd_st_expect(
			t, s[i].x, x, 4 * l->hidden, p->spec,
			"%d layers: hidden %d, %d of %d heads, ffn %d, %d positions, parts %d",
			N_LAYERS, l->hidden, l->past.n_heads, l->past.shape.n_kv_heads, l->ffn,
			l->past.n_ctx, i);
		sherd_st_expect(t, s[i].logits, logits, size, p->spec, "the head, parts %d", i);
		sherd_st_expect(t, pool[i], l->past.pool, l->past.pool_size, p->spec,
				"the cache, parts %d", i);
	}
	t->c->step = FIRST_STEP;
	sherd_st_expect_failed(t, -1, "walk", 0);
}

/* A value of the first position that is seen in the cache becomes a NaN. */
static void spoil_cache(struct sherd_st *t, struct layer *l)
{
	const struct sherd_kv_shape *s = &l->past.shape;
	int d = sherd_st_below(t, s->head_dim), head = sherd_st_below(t, s->n_kv_heads);
	int pos = sherd_first_seen(l->past.n_ctx - 1, l->past.sight.window);
	int slot = pos % SHERD_PAGE;
	uint8_t *v = l->past.pool + l->past.pages[pos / SHERD_PAGE] * sherd_kv_shape_page_bytes(s) +
		     sherd_kv_offset(s, l->past.layer, head) + sherd_kv_side_bytes(s);

	d += slot * s->head_dim;
	if (s->type == SHERD_KV_INT8) /* its scale */
		memset(v + s->head_dim * SHERD_PAGE + slot * sizeof(float), 0xff, sizeof(float));
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

/* Makes a layer with input @x fail in step @phase, by what the steps before it do not refuse. */
static void spoil(struct sherd_st *t, struct layer *l, int phase, int round, float *x)
{
	switch (phase) {
	case NORM_1:
		x[sherd_st_below(t, l->hidden)] = sherd_st_extreme(round % 4);
		break;
	case ROPE: /* caches of halves hold less than the others */
		scale_norm(t, l, 0, l->past.shape.type == SHERD_KV_F16 && round % 2 ? 1e8f : 1e20f);
		break;
	case MERGE:
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

/* A step says so when it fails, and nobody else does; false: what was to spoil it did not. */
static bool check_failure(struct sherd_st *t, const struct layer *good, int phase, int round)
{
	struct layer l = *good;
	float *x = sherd_st_floats(t, l.hidden);
	struct scratch s;
	int refused;

	l.past.pool = memcpy(sherd_st_alloc(t, l.past.pool_size + 256), good->past.pool,
			     l.past.pool_size);
	spoil(t, &l, phase, round, x);
	s = make_scratch(t, &l, x);
	upload_pool(t, &l);
	run(t, &l, &s, make_table(t, &l, 1), round % 2, FIRST_STEP, FIRST_STEP + LAYER_STEPS);
	refused = sherd_st_layer(t, &l, x);
	t->c->step = FIRST_STEP + refused;
	sherd_st_expect_failed(t, refused < 0 ? -1 : 0, "walk", phase);
	return refused == phase;
}

/* Some layers can't be made to fail in some step: those without a past, or with one column. */
static void check_failures(struct sherd_st *t, const struct layer *l, int round)
{
	size_t i;
	int tries;

	for (i = 0; i < ARRAY_SIZE(phases); i++)
		for (tries = 0; tries < MAX_TRIES; tries++)
			if (check_failure(t, l, phases[i], round + tries))
				break;
}

/* Narrow and odd; in the last round wide, so that all workers have something to do at once. */
void sherd_st_walk(struct sherd_st *t, struct sherd_cl_program *p, int round)
{
	bool wide = round == SHERD_ST_ROUNDS - 1;
	struct layer l[N_WEIGHTS] = { 0 };
	int i;

	sherd_st_make_layer(t, &l[0], p,
			    wide ? 512 + sherd_st_below(t, 512) : 1 + sherd_st_below(t, 300),
			    wide ? 1536 : 1 + sherd_st_below(t, 300), round);
	l[1] = l[0]; /* at the same past, which the last layer to write it leaves its position in */
	sherd_st_make_weights(t, &l[1], p);
	l[1].joins = true;
	l[1].q_norm_step = sherd_st_below(t, 2) ? p->arg[5] : 0;
	l[1].q_norm_mem =
		sherd_st_vector(t, &l[1].q_norm,
				p->arg[5] + (l[1].past.n_heads - 1) * l[1].q_norm_step);
	for (i = 0; i < (wide ? WIDE_CHAINS : 1); i++)
		check_chain(t, p, l);
	if (!t->vector)
		check_failures(t, &l[0], round);
}
