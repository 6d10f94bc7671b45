/* SPDX-License-Identifier: MIT */
/*
 * ref_exec: walks the step list with the functions of ref.h, row by row, on one thread. It is the
 * device that is always there, and the one that the others are compared with.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/trace.h"
#include "infer/ref/ref.h"
#include "num.h"


/* What matmuls read, in all its forms. */
struct ref_act {
	float *x; /* [rows][x_stride]; of A and P the floats are always there */
	size_t x_stride, q_stride;
	int8_t *q; /* [rows][q_stride] */
	struct sherd_act_group *groups; /* [rows][q_stride / 32] */
	struct sherd_act_half *halves;
};

struct ref {
	struct sherd_exec exec;
	const struct sherd_program *program;
	const struct sherd_hparams *hp;
	struct sherd_kv_shape shape;
	uint8_t *pool; /* [n_pages][page bytes] */
	float *buf[SHERD_N_BUFS]; /* [n_batch][width]; logits: [logit_rows] */
	int logit_rows;
	struct ref_act a, p; /* A: n_batch rows; P: n_used pairs of each */
	int32_t *choice; /* [n_batch][n_used], and what each counts */
	float *weight;
	float *scratch; /* a row on its way to where a norm puts it */
	/* the run in progress */
	const struct sherd_work *w;
	int n; /* rows that are computed: all, then the wanted ones */
	bool gathered;
};

static struct sherd_ref_act act_from(const struct ref_act *a, int row)
{
	size_t q = row * a->q_stride, g = q / SHERD_ACT_GROUP;

	return (struct sherd_ref_act){ a->x + row * a->x_stride, a->x_stride,	a->q + q,
				       a->q_stride,		 a->groups + g, a->halves + g };
}

static float *row_of(const struct ref *r, enum sherd_buf buf, int row)
{
	return r->buf[buf] + (size_t)row * r->program->width[buf];
}

/* The batch's row that stands in row @i of the buffers. */
static int work_row(const struct ref *r, int i)
{
	return r->gathered ? r->w->wanted[i] : i;
}

static int not_finite(const struct ref *r, const struct sherd_op *op, int i, const char *what,
		      struct sherd_error *err)
{
	int pos = r->w->pos[work_row(r, i)];

	if (!what)
		what = sherd_op_what(op);
	if (op->layer < 0)
		return sherd_fail(
			err, -EDOM,
			"after the last layer, position %d: %s is NaN, infinite or too large", pos,
			what);
	return sherd_fail(err, -EDOM, "layer %d, position %d: %s is NaN, infinite or too large",
			  op->layer, pos, what);
}

static int run_embed(struct ref *r, const struct sherd_op *op)
{
	int i;

	for (i = 0; i < r->n; i++)
		sherd_ref_embed(op->table, op->positions,
				op->by_position ? r->w->pos[i] : r->w->tokens[i], r->w->pos[i],
				op->scale, op->bias, row_of(r, op->dst, i));
	return 0;
}

static int run_cut(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	int i;

	for (i = 0; i < r->n; i++) {
		int item = r->w->item[work_row(r, i)];

		if (!sherd_work_is_cut(r->w, item, op->layer))
			continue;
		if (sherd_ref_cut(r->w->wire[item], row_of(r, SHERD_BUF_X, i), op->width))
			return not_finite(r, op, i, NULL, err);
	}
	return 0;
}

/* Wanted rows move to the front: they rise, so no row is overwritten before it has moved. */
static int run_gather(struct ref *r)
{
	size_t width = r->program->width[SHERD_BUF_X] * sizeof(float);
	int i;

	for (i = 0; i < r->w->n_wanted; i++)
		memmove(row_of(r, SHERD_BUF_X, i), row_of(r, SHERD_BUF_X, r->w->wanted[i]), width);
	r->n = r->w->n_wanted;
	r->gathered = true;
	return 0;
}

/* What norm and act end with: the floats of @row are there, the matmuls may want integers. */
static int finish_act(const struct sherd_op *op, const struct ref_act *a, int row)
{
	size_t g = row * a->q_stride / SHERD_ACT_GROUP;

	if (!op->want.q8)
		return 0;
	return sherd_ref_quantize(a->x + row * a->x_stride, op->width, a->q + row * a->q_stride,
				  a->groups + g, op->want.halves ? a->halves + g : NULL);
}

static int run_norm(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	int i;

	for (i = 0; i < r->n; i++)
		if (sherd_ref_norm(op->norm, row_of(r, op->src, i), op->weight, op->bias, op->width,
				   r->hp->norm_eps, r->a.x + i * r->a.x_stride) ||
		    finish_act(op, &r->a, i))
			return not_finite(r, op, i, NULL, err);
	return 0;
}

static int run_norm_to(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	int i, part;

	for (i = 0; i < r->n; i++)
		for (part = 0; part < op->n_parts; part++) {
			int at = op->dst_col + part * op->width;
			const float *w = op->weight ? op->weight + part * op->weight_step : NULL;

			if (sherd_ref_norm_to(op->norm, row_of(r, op->src, i) + at, w, op->bias,
					      op->width, r->hp->norm_eps, op->scale, op->residual,
					      r->scratch, row_of(r, op->dst, i) + at))
				return not_finite(r, op, i, NULL, err);
		}
	return 0;
}

static int run_cap(struct ref *r, const struct sherd_op *op)
{
	int i;

	for (i = 0; i < r->n; i++)
		sherd_ref_cap(row_of(r, op->src, i), op->width, op->scale, op->cap);
	return 0;
}

/* For rows, or for the pairs of each. */
static int run_act(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	const struct ref_act *to = op->pair_stride ? &r->p : &r->a;
	int stride = op->pair_stride ? op->pair_stride : r->program->width[SHERD_BUF_FFN];
	int times = op->pair_stride ? r->hp->n_used : 1, i;
	bool gated = r->hp->arch->gated;

	for (i = 0; i < r->n * times; i++) {
		const float *f = row_of(r, SHERD_BUF_FFN, i / times) + i % times * stride;
		float *h = to->x + i * to->x_stride;

		sherd_ref_act(r->hp->arch->act, gated ? f : NULL, gated ? f + op->width : f,
			      op->width, h);
		if (sherd_ref_norm(SHERD_NORM_NONE, h, NULL, NULL, op->width, 0, h) ||
		    finish_act(op, to, i))
			return not_finite(r, op, i / times, NULL, err);
	}
	return 0;
}

/* Who chose whom; then each pair has its row's A. */
static int run_route(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	int k = r->hp->n_used, i, j;

	for (i = 0; i < r->n; i++) {
		if (sherd_ref_route(row_of(r, SHERD_BUF_SCORES, i), r->hp->n_experts, k,
				    r->hp->renormalize, r->choice + i * k, r->weight + i * k))
			return not_finite(r, op, i, NULL, err);
		for (j = i * k; j < (i + 1) * k; j++) {
			memcpy(r->p.x + j * r->p.x_stride, r->a.x + i * r->a.x_stride,
			       op->width * sizeof(float));
			finish_act(op, &r->p, j); /* as finite as A is */
		}
	}
	return 0;
}

static void run_experts(struct ref *r, const struct sherd_op *op)
{
	int k = r->hp->n_used, i;

	for (i = 0; i < r->n * k; i++) {
		struct sherd_tensor w = sherd_stack_expert(op->w, op->expert_rows, r->choice[i]);
		struct sherd_ref_act p = act_from(&r->p, i);

		sherd_ref_matmul(&w, &p, 1, NULL, false,
				 row_of(r, op->dst, i / k) + i % k * op->pair_stride + op->dst_col,
				 op->pair_stride);
	}
}

static void run_combine(struct ref *r, const struct sherd_op *op)
{
	bool shared = r->hp->arch->shared_expert;
	int k = r->hp->n_used, i;

	for (i = 0; i < r->n; i++)
		sherd_ref_combine(row_of(r, op->src, i), op->width, k, r->weight + i * k,
				  shared ? row_of(r, SHERD_BUF_SHARED, i) : NULL,
				  row_of(r, SHERD_BUF_SCORES, i) + r->hp->n_experts, op->width,
				  row_of(r, op->dst, i));
}

/* Logits are as wide as the vocabulary: room only for as many rows as somebody wanted. */
static int grow_logits(struct ref *r, struct sherd_error *err)
{
	float *p;
	size_t n;

	if (r->n <= r->logit_rows)
		return 0;
	n = (size_t)r->n * r->program->width[SHERD_BUF_LOGITS];
	p = sherd_calloc(n, sizeof(float));
	if (!p)
		return sherd_fail_oom(err, n * sizeof(float), "the logits");
	free(r->buf[SHERD_BUF_LOGITS]);
	r->buf[SHERD_BUF_LOGITS] = p;
	r->logit_rows = r->n;
	return 0;
}

static int run_matmul(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	struct sherd_ref_act a = act_from(&r->a, 0);
	int rc = op->dst == SHERD_BUF_LOGITS ? grow_logits(r, err) : 0;

	if (rc || !r->n)
		return rc;
	sherd_ref_matmul(op->w, &a, r->n, op->bias, op->residual, r->buf[op->dst] + op->dst_col,
			 r->program->width[op->dst]);
	return 0;
}

static const int32_t *pages_of(const struct ref *r, int row)
{
	return r->w->pages + (size_t)r->w->item[row] * r->w->pages_stride;
}

static int rope_row(struct ref *r, const struct sherd_op *op, int i)
{
	const struct sherd_hparams *hp = r->hp;
	int pos = r->w->pos[i], dim = hp->head_dim,
	    layer = op->layer - r->program->shard->first_layer;
	float *q = row_of(r, SHERD_BUF_QKV, i), *k = q + hp->n_heads * dim;
	float *v = k + hp->n_kv_heads * dim;
	uint8_t *page = r->pool + pages_of(r, i)[pos / SHERD_PAGE] *
					  sherd_kv_shape_page_bytes(&r->shape);
	int h, rc;

	if (r->program->rope[op->rope]) {
		const float *t = r->program->rope[op->rope] + (size_t)pos * hp->rope_dim;

		for (h = 0; h < hp->n_heads + hp->n_kv_heads; h++)
			sherd_ref_rope(hp->arch->position, t, hp->rope_dim, q + h * dim);
	}
	rc = sherd_ref_query(&r->shape, q, hp->n_heads, hp->q_scale);
	for (h = 0; h < hp->n_kv_heads && !rc; h++)
		rc = sherd_ref_kv_store(&r->shape, page, layer, h, pos % SHERD_PAGE, k + h * dim,
					v + h * dim);
	return rc;
}

static int run_rope(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	int i;

	for (i = 0; i < r->n; i++)
		if (rope_row(r, op, i))
			return not_finite(r, op, i, NULL, err);
	return 0;
}

static int run_attend(struct ref *r, const struct sherd_op *op)
{
	const struct sherd_hparams *hp = r->hp;
	int layer = op->layer - r->program->shard->first_layer;
	int i, h;

	for (i = 0; i < r->n; i++)
		for (h = 0; h < hp->n_heads; h++)
			sherd_ref_attend(&r->shape, r->pool, pages_of(r, i), layer,
					 h / (hp->n_heads / hp->n_kv_heads),
					 sherd_first_seen(r->w->last[i], op->window), r->w->last[i],
					 op->cap, row_of(r, SHERD_BUF_QKV, i) + h * hp->head_dim,
					 row_of(r, SHERD_BUF_ATT, i) + h * hp->head_dim);
	return 0;
}

static int run_op(struct ref *r, const struct sherd_op *op, struct sherd_error *err)
{
	switch (op->kind) {
	case SHERD_OP_EMBED:
		return run_embed(r, op);
	case SHERD_OP_CUT:
		return run_cut(r, op, err);
	case SHERD_OP_GATHER:
		return run_gather(r);
	case SHERD_OP_NORM:
		return run_norm(r, op, err);
	case SHERD_OP_NORM_TO:
		return run_norm_to(r, op, err);
	case SHERD_OP_CAP:
		return run_cap(r, op);
	case SHERD_OP_ROUTE:
		return run_route(r, op, err);
	case SHERD_OP_EXPERTS:
		run_experts(r, op);
		return 0;
	case SHERD_OP_COMBINE:
		run_combine(r, op);
		return 0;
	case SHERD_OP_MATMUL:
		return run_matmul(r, op, err);
	case SHERD_OP_ROPE:
		return run_rope(r, op, err);
	case SHERD_OP_ATTEND:
		return run_attend(r, op);
	case SHERD_OP_ACT:
		return run_act(r, op, err);
	case SHERD_N_OPS:
		break;
	}
	return sherd_fail(err, -EINVAL, "step %d is unknown to the reference", op->kind);
}

/* Wanted rows as they travel, to whom they go. */
static int send_rows(struct ref *r, const struct sherd_op *last, struct sherd_error *err)
{
	const struct sherd_work *w = r->w;
	int item, i = 0;

	for (item = 0; item < w->n_items; item++) {
		uint8_t *out = w->out[item];
		size_t size = sherd_wire_bytes(w->wire[item], 1, r->hp->hidden);
		int first = i, n = sherd_work_wanted(w, item, &i);

		for (int k = 0; k < n; k++)
			if (sherd_wire_encode(w->wire[item], row_of(r, SHERD_BUF_X, first + k), 1,
					      r->hp->hidden, out + k * size, NULL))
				return not_finite(r, last, first + k,
						  SHERD_SENT_ROWS, err);
	}
	return 0;
}

static void tell(const struct ref *r, const struct sherd_op *op, double begin)
{
	static const char *const names[SHERD_N_OPS] = {
		[SHERD_OP_EMBED] = "embed",   [SHERD_OP_CUT] = "cut",   [SHERD_OP_GATHER] = "gather",
		[SHERD_OP_NORM] = "norm",     [SHERD_OP_MATMUL] = "matmul", [SHERD_OP_ROPE] = "rope",
		[SHERD_OP_ATTEND] = "attend", [SHERD_OP_ACT] = "activate",
		[SHERD_OP_NORM_TO] = "norm_to", [SHERD_OP_CAP] = "cap",
		[SHERD_OP_ROUTE] = "route",   [SHERD_OP_EXPERTS] = "experts",
		[SHERD_OP_COMBINE] = "combine",
	};
	struct sherd_trace_kernel k = { .begin = begin, .end = sherd_now(), .name = names[op->kind] ? names[op->kind] : "step",
					.step = r->w->n, .layer = op->layer, .rows = r->n };
	char shape[48];
	size_t v, s, m;

	snprintf(shape, sizeof(shape), "%d x %d", r->n, op->width);
	k.shape = shape;
	if (op->kind == SHERD_OP_MATMUL) {
		const struct sherd_format *f = &op->w->fmt;

		sherd_format_sizes(f, &v, &s, &m);
		snprintf(shape, sizeof(shape), "%u x %u x %d", f->rows, f->cols, r->n);
		k.bytes = (double)(v + s + m);
		k.ops = 2.0 * f->rows * f->cols * r->n;
		k.floats = !sherd_elem_is_int(f->elem);
	}
	sherd_trace->kernel(sherd_trace, &k);
}

static int ref_run(struct sherd_exec *e, const struct sherd_work *w, const float **rows,
		   struct sherd_error *err)
{
	struct ref *r = (struct ref *)e;
	bool head = w->end_op == r->program->n_ops &&
		    r->program->ops[w->end_op - 1].dst == SHERD_BUF_LOGITS;
	int i, rc;

	r->w = w;
	r->n = w->n_rows;
	r->gathered = false;
	if (w->hidden)
		memcpy(r->buf[SHERD_BUF_X], w->hidden,
		       (size_t)w->n_rows * r->hp->hidden * sizeof(float));
	for (i = w->first_op; i < w->end_op; i++) {
		double begin = sherd_trace_begin();

		rc = run_op(r, &r->program->ops[i], err);
		if (rc)
			return rc;
		if (sherd_tracing() && sherd_trace->kernels)
			tell(r, &r->program->ops[i], begin);
	}
	if (!r->gathered)
		run_gather(r);
	*rows = NULL;
	if (w->out)
		return send_rows(r, &r->program->ops[w->end_op - 1], err);
	*rows = r->buf[head ? SHERD_BUF_LOGITS : SHERD_BUF_X];
	return 0;
}

static int ref_read_page(struct sherd_exec *e, int page, void *bytes, struct sherd_error *err)
{
	const struct ref *r = (const struct ref *)e;
	size_t size = sherd_kv_shape_page_bytes(&r->shape);

	(void)err;
	memcpy(bytes, r->pool + page * size, size);
	return 0;
}

static int ref_write_page(struct sherd_exec *e, int page, const void *bytes,
			  struct sherd_error *err)
{
	struct ref *r = (struct ref *)e;
	size_t size = sherd_kv_shape_page_bytes(&r->shape);

	(void)err;
	memcpy(r->pool + page * size, bytes, size);
	return 0;
}

static void free_act(struct ref_act *a)
{
	free(a->x);
	free(a->q);
	free(a->groups);
	free(a->halves);
}

static void ref_close(struct sherd_exec *e)
{
	struct ref *r = (struct ref *)e;
	int i;

	for (i = 0; i < SHERD_N_BUFS; i++)
		free(r->buf[i]);
	free(r->pool);
	free_act(&r->a);
	free_act(&r->p);
	free(r->choice);
	free(r->weight);
	free(r->scratch);
	free(r);
}

static const struct sherd_exec_ops ref_ops = { .run = ref_run,
					       .read_page = ref_read_page,
					       .write_page = ref_write_page,
					       .close = ref_close };

static int alloc_act(struct ref *r, struct ref_act *a, size_t rows, size_t width,
		     struct sherd_error *err)
{
	size_t n_groups;

	a->x_stride = width;
	a->q_stride = ROUND_UP(width, SHERD_ACT_GROUP);
	n_groups = rows * (a->q_stride / SHERD_ACT_GROUP);
	a->x = sherd_calloc(rows, width * sizeof(float));
	a->q = sherd_calloc(rows, a->q_stride);
	a->groups = sherd_calloc(n_groups, sizeof(*a->groups));
	a->halves = sherd_calloc(n_groups, sizeof(*a->halves));
	if (!a->x || !a->q || !a->groups || !a->halves)
		return sherd_fail_oom(err, rows * (width * sizeof(float) + a->q_stride),
				      "what matmuls read");
	r->exec.scratch_bytes += rows * (width * sizeof(float) + a->q_stride) +
				 n_groups * (sizeof(*a->groups) + sizeof(*a->halves));
	return 0;
}

static int alloc_experts(struct ref *r, size_t rows, struct sherd_error *err)
{
	size_t pairs = rows * r->hp->n_used;

	if (!pairs)
		return 0;
	r->choice = sherd_calloc(pairs, sizeof(*r->choice));
	r->weight = sherd_calloc(pairs, sizeof(*r->weight));
	if (!r->choice || !r->weight)
		return sherd_fail_oom(err, pairs * sizeof(*r->weight), "the choice of experts");
	return alloc_act(r, &r->p, pairs, r->program->width[SHERD_BUF_P], err);
}

static int alloc_bufs(struct ref *r, const struct sherd_exec_params *p, struct sherd_error *err)
{
	const int *width = r->program->width;
	int i, rc;

	for (i = 0; i < SHERD_N_BUFS; i++) {
		size_t row = width[i] * sizeof(float);

		if (i == SHERD_BUF_LOGITS || i == SHERD_BUF_A || i == SHERD_BUF_P || !row)
			continue;
		r->buf[i] = sherd_calloc(p->n_batch, row);
		if (!r->buf[i])
			return sherd_fail_oom(err, p->n_batch * row, "activations");
		r->exec.scratch_bytes += p->n_batch * row;
	}
	r->scratch = sherd_calloc(MAX(width[SHERD_BUF_QKV], width[SHERD_BUF_X]), sizeof(float));
	if (!r->scratch)
		return sherd_fail_oom(err, width[SHERD_BUF_QKV] * sizeof(float), "a row");
	rc = alloc_act(r, &r->a, p->n_batch, width[SHERD_BUF_A], err);
	return rc ? rc : alloc_experts(r, p->n_batch, err);
}

static int alloc_pool(struct ref *r, const struct sherd_exec_params *p, struct sherd_error *err)
{
	const struct sherd_shard *s = r->program->shard;
	size_t page;

	r->shape = (struct sherd_kv_shape){ s->end_layer - s->first_layer, r->hp->n_kv_heads,
					    r->hp->head_dim, p->kv_type };
	page = sherd_kv_shape_page_bytes(&r->shape);
	r->pool = sherd_calloc(p->n_pages, page);
	if (!r->pool)
		return sherd_fail_oom(err, p->n_pages * page, "the KV cache");
	if (p->hold_kv && p->n_pages * page > sherd_memory_available())
		return sherd_fail(err, -ENOMEM, "no room for the KV cache, %.1f MiB: %.1f MiB can be "
				  "had; a smaller context (-c) needs less",
				  (double)(p->n_pages * page) / 1048576.0,
				  (double)sherd_memory_available() / 1048576.0);
	for (size_t at = 0; p->hold_kv && at < p->n_pages * page; at += 4096)
		((volatile uint8_t *)r->pool)[at] = 0;
	r->exec.kv_bytes = p->n_pages * page;
	return 0;
}

int sherd_exec_ref_open(struct sherd_exec **e, const struct sherd_exec_params *p,
			struct sherd_error *err)
{
	struct ref *r = sherd_calloc(1, sizeof(*r));
	int rc;

	*e = NULL;
	if (!r)
		return sherd_fail_oom(err, sizeof(*r), "the reference executor");
	r->exec.ops = &ref_ops;
	r->program = p->program;
	r->hp = &p->program->shard->hp;
	r->exec.weights = "in place";
	snprintf(r->exec.device, sizeof(r->exec.device), "reference (plain C, one thread)");
	snprintf(r->exec.why, sizeof(r->exec.why), "it was asked for");
	sherd_ref_bit_profile(r->exec.bit_profile);
	if (r->hp->head_dim > SHERD_REF_MAX_HEAD_DIM)
		rc = sherd_fail(err, -ENOTSUP,
				"heads of %d are wider than the %d that are supported",
				r->hp->head_dim, SHERD_REF_MAX_HEAD_DIM);
	else
		rc = alloc_bufs(r, p, err);
	if (!rc)
		rc = alloc_pool(r, p, err);
	if (rc) {
		ref_close(&r->exec);
		return rc;
	}
	*e = &r->exec;
	return 0;
}
