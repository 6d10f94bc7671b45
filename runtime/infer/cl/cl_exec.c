/* SPDX-License-Identifier: MIT */
/*
 * cl_exec: walks the step list with the kernels of cl_kernels.c. A run is one upload (tokens,
 * positions, page tables: one buffer cut into parts), all launches, and one wait at its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl_exec.h"

void sherd_clx_unmap(struct cl_exec *x)
{
	if (x->mapped)
		clEnqueueUnmapMemObject(x->c.dev->queue, x->mapped_mem, x->mapped, 0, NULL, NULL);
	x->mapped = NULL;
}

/* ------------------------------------------------------------------- inputs */

static void stage(struct cl_exec *x, enum input i, const void *data, size_t size)
{
	if (data)
		memcpy(x->staging + x->input_at[i], data, size);
}

static void count_chunks(struct cl_exec *x)
{
	int i, last = 0;

	for (i = 0; i < x->w->n_rows; i++)
		last = MAX(last, x->w->last[i]);
	x->n_chunks = last / SHERD_CHUNK + 1;
}

void sherd_clx_count_positions(struct cl_exec *x, int window)
{
	const struct sherd_work *w = x->w;
	int i, first;

	if (!x->c.profiling)
		return;
	x->c.kv_rows = x->c.q_rows = 0;
	for (i = 0; i < w->n_rows; i++)
		x->c.q_rows += w->last[i] + 1 - sherd_first_seen(w->last[i], window);
	for (i = 0; i < w->n_items; i++) {
		first = sherd_first_seen(w->last[w->item_row[i]], window);
		x->c.kv_rows += w->last[w->item_row[i + 1] - 1] + 1 - first;
	}
}

static int upload(struct cl_exec *x, struct sherd_error *err)
{
	const struct sherd_work *w = x->w;
	size_t n_pages = (size_t)w->n_items * w->pages_stride;
	int group = x->hp->n_heads / x->hp->n_kv_heads, rc;

	if (n_pages > x->pages_cap) {
		rc = sherd_clx_inputs(x, n_pages, err);
		if (rc)
			return rc;
	}
	stage(x, IN_TOKENS, w->tokens, 4 * w->n_rows);
	stage(x, IN_POS, w->pos, 4 * w->n_rows);
	stage(x, IN_LAST, w->last, 4 * w->n_rows);
	stage(x, IN_ITEM, w->item, 4 * w->n_rows);
	stage(x, IN_WANTED, w->wanted, 4 * w->n_wanted);
	stage(x, IN_PAGES, w->pages, 4 * n_pages);
	x->n_tiles = sherd_cl_make_tiles(w->item_row, w->n_items, group,
					 (void *)(x->staging + x->input_at[IN_TILES]));
	count_chunks(x);
	x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->inputs, CL_FALSE, 0,
				       x->input_at[IN_PAGES] + 4 * n_pages, x->staging, 0, NULL,
				       NULL);
	if (!x->c.rc && w->hidden)
		x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->buf[SHERD_BUF_X].mem, CL_FALSE,
					       0, 4 * (size_t)w->n_rows * x->hp->hidden, w->hidden,
					       0, NULL, NULL);
	return 0;
}

/* -------------------------------------------------------------------- steps */

static void run_cut(struct cl_exec *x, const struct sherd_op *op)
{
	uint8_t *wire = x->wires + (size_t)op->layer * x->n_batch;
	bool any = false;
	int i;

	for (i = 0; i < x->n; i++) {
		int item = x->w->item[i];

		wire[i] = sherd_work_is_cut(x->w, item, op->layer) ? x->w->wire[item] : 255;
		any |= wire[i] != 255;
	}
	if (!any || x->c.rc)
		return;
	x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->wire, CL_FALSE, 0, x->n, wire, 0, NULL,
				       NULL);
	sherd_cl_cut(&x->c, x->buf[SHERD_BUF_X], x->n, op->width, x->wire);
}

static void run_gather(struct cl_exec *x)
{
	if (x->w->n_wanted && x->w->n_wanted != x->w->n_rows)
		sherd_cl_gather(&x->c, x->buf[SHERD_BUF_X], x->hp->hidden, x->input[IN_WANTED],
				x->w->n_wanted);
	x->n = x->w->n_wanted;
	x->gathered = true;
}

struct sherd_cl_act sherd_clx_wanted(struct sherd_cl_act a, const struct sherd_op *op)
{
	a.want = (op->want.f32 ? SHERD_QUANT_F32 : 0) | (op->want.q8 ? SHERD_QUANT_Q8 : 0) |
		 (op->want.halves ? SHERD_QUANT_HALVES : 0);
	return a;
}

static void run_norm(struct cl_exec *x, int i, const struct sherd_op *op)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	struct sherd_cl_act a = sherd_clx_wanted(x->act, op);

	sherd_cl_norm(&x->c, op->norm, x->buf[op->src], x->n, op->width, m->weight, m->bias,
		      x->hp->norm_eps, &a);
}

static void run_norm_to(struct cl_exec *x, int i, const struct sherd_op *op)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	const struct sherd_cl_norm_to to = { op->norm,	  op->dst_col,	   op->width,
					     op->n_parts, op->weight_step, op->residual,
					     op->scale,	  x->hp->norm_eps, m->weight,
					     m->bias };

	sherd_cl_norm_to(&x->c, x->buf[op->src], x->buf[op->dst], x->n, &to);
}

/* For rows, or for pairs. */
static void run_act(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_act a = sherd_clx_wanted(op->pair_stride ? x->pairs : x->act, op);
	struct sherd_cl_rows src = x->buf[op->src];
	int n = x->n;

	if (op->pair_stride) {
		src.stride = op->pair_stride;
		n *= x->hp->n_used;
	}
	sherd_cl_activate(&x->c, x->hp->arch->act, x->hp->arch->gated, src, n, op->width, &a);
}

static void run_route(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_act p = sherd_clx_wanted(x->pairs, op);

	sherd_cl_route(&x->c, x->buf[op->src], x->n, &x->routes);
	if (x->n > 1) /* a row alone is read by all its pairs */
		sherd_cl_spread(&x->c, &x->act, op->width, x->n, &x->routes, &p);
}

/* The first ones after the route read what was spread to P, or a lone row's A itself. */
static void run_experts(struct cl_exec *x, int i, const struct sherd_op *op)
{
	bool alone = x->n == 1 && op->dst == SHERD_BUF_FFN;
	struct sherd_cl_rows dst = { x->buf[op->dst].mem, op->pair_stride };

	sherd_cl_matmul_experts(&x->c, 0, &x->weights.op[i].w, op->expert_rows,
				alone ? &x->act : &x->pairs, alone, x->n, &x->routes, dst,
				op->dst_col);
}

static void run_combine(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_rows out = { x->buf[op->src].mem, op->width };

	sherd_cl_combine(&x->c, x->buf[op->dst], op->width, x->n, out, &x->routes,
			 x->buf[SHERD_BUF_SHARED], x->buf[SHERD_BUF_SCORES]);
}

void sherd_clx_grow_logits(struct cl_exec *x, struct sherd_error *err)
{
	struct sherd_cl_rows *l = &x->buf[SHERD_BUF_LOGITS];

	if (x->n <= x->logit_rows)
		return;
	sherd_clx_release(&l->mem);
	x->logit_rows = 0;
	l->mem = sherd_clx_buffer(x, 4 * (size_t)x->n * l->stride, "the logits", err);
	if (!x->c.rc)
		x->logit_rows = x->n;
}

/* Op @i + 1, if it is one of @kind and part of this run. */
static const struct sherd_op *next_op(const struct cl_exec *x, int i, enum sherd_op_kind kind)
{
	const struct sherd_op *op = &x->program->ops[i + 1];

	return i + 1 < x->w->end_op && op->kind == kind ? op : NULL;
}

/* Gate, up and the activation after them in one launch, where there is a kernel for it. */
static bool run_gated(struct cl_exec *x, int i, const struct sherd_op *op)
{
	const struct sherd_op *next = next_op(x, i, SHERD_OP_ACT);
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	struct sherd_cl_program *p = sherd_cl_matmul_program(&x->c, &m->w.fmt, false, x->n);
	struct sherd_cl_act to, swap = x->act;

	if (!next || !x->hp->arch->gated || op->dst != SHERD_BUF_FFN || m->bias || op->residual ||
	    (int)m->w.fmt.rows != 2 * next->width || !sherd_cl_can_gate(&x->c, p, &m->w.fmt, x->n))
		return false;
	to = sherd_clx_wanted(x->other, next);
	x->c.step = i + 1;
	sherd_cl_matmul_gated(&x->c, p, &m->w, &x->act, x->n, x->hp->arch->act, &to);
	x->act = x->other;
	x->other = swap;
	return true;
}

static void run_matmul(struct cl_exec *x, int i, const struct sherd_op *op, struct sherd_error *err)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];

	if (op->dst == SHERD_BUF_LOGITS)
		sherd_clx_grow_logits(x, err);
	sherd_cl_matmul(&x->c, sherd_cl_matmul_program(&x->c, &m->w.fmt, false, x->n), 0, &m->w, &x->act,
			x->n, m->bias, op->residual, x->buf[op->dst], op->dst_col);
}

struct sherd_cl_cache sherd_clx_cache(const struct cl_exec *x)
{
	return (struct sherd_cl_cache){ x->pool, x->input[IN_PAGES], x->input[IN_ITEM],
					x->input[IN_POS], x->input[IN_LAST],
					x->w->pages_stride, x->shape };
}

static void run_rope(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_cache cache = sherd_clx_cache(x);

	sherd_cl_rope(&x->c, x->buf[SHERD_BUF_QKV], x->n, x->hp->n_heads,
		      x->weights.rope[op->rope], x->hp->rope_dim,
		      x->hp->arch->position == SHERD_POS_ROPE_HALVES, x->hp->q_scale, &cache,
		      op->layer - x->program->shard->first_layer);
}

int sherd_clx_parts(struct cl_exec *x)
{
	int n_heads = x->hp->n_heads;
	int n_parts = sherd_cl_parts(&x->c, &x->shape, x->n, n_heads, x->n_tiles, x->n_chunks);
	size_t size =
		sherd_cl_parts_bytes(&x->c, x->n, n_heads, x->n_chunks, x->hp->head_dim);

	if (!n_parts || x->c.rc)
		return 0;
	if (size > x->parts_size) {
		sherd_clx_release(&x->parts);
		x->parts_size = 0;
		x->parts = sherd_clx_buffer(x, size, "attention's parts", NULL);
		x->parts_size = x->parts ? size : 0;
	}
	if (x->parts)
		return n_parts;
	/* no room is no reason to fail: each query walks its chunks */
	x->c.rc = CL_SUCCESS;
	x->no_room = false;
	return 0;
}

/* Attention, and the quantizer after it where the kernel can do both; true if it did. */
static bool run_attend(struct cl_exec *x, int i, const struct sherd_op *op)
{
	const struct sherd_op *next = next_op(x, i, SHERD_OP_NORM);
	struct sherd_cl_cache cache = sherd_clx_cache(x);
	int n_parts = sherd_clx_parts(x);
	struct sherd_cl_sight sight = { op->window, op->cap };
	struct sherd_cl_act to;
	bool both = next && next->norm == SHERD_NORM_NONE && next->src == SHERD_BUF_ATT &&
		    sherd_cl_attend_quantizes(&x->c, x->hp->head_dim);

	if (both) {
		to = sherd_clx_wanted(x->act, next);
		x->c.step = i + 1;
	}
	sherd_clx_count_positions(x, op->window);
	sherd_cl_attend(&x->c, x->buf[SHERD_BUF_QKV], x->n, x->hp->n_heads, x->input[IN_TILES],
			x->n_tiles, x->parts, n_parts, sight, &cache,
			op->layer - x->program->shard->first_layer, x->buf[SHERD_BUF_ATT],
			both ? &to : NULL);
	return both;
}

/* Runs op @i, and what it could be fused with; returns how many ops that were. */
static int run_op(struct cl_exec *x, int i, struct sherd_error *err)
{
	const struct sherd_op *op = &x->program->ops[i];
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	int n = sherd_clx_walk(x, i, err);

	if (n)
		return n;
	x->c.step = i;
	switch (op->kind) {
	case SHERD_OP_EMBED:
		sherd_cl_embed(&x->c, &m->w, op->positions ? &m->positions : NULL,
			       x->input[op->by_position ? IN_POS : IN_TOKENS], x->input[IN_POS],
			       x->n, op->scale, m->bias, x->buf[op->dst]);
		break;
	case SHERD_OP_CUT:
		run_cut(x, op);
		break;
	case SHERD_OP_GATHER:
		run_gather(x);
		break;
	case SHERD_OP_NORM:
		run_norm(x, i, op);
		break;
	case SHERD_OP_NORM_TO:
		run_norm_to(x, i, op);
		break;
	case SHERD_OP_CAP:
		sherd_cl_cap(&x->c, x->buf[op->src], x->n, op->width, op->scale, op->cap);
		break;
	case SHERD_OP_MATMUL:
		if (run_gated(x, i, op))
			return 2;
		run_matmul(x, i, op, err);
		break;
	case SHERD_OP_ROPE:
		run_rope(x, op);
		break;
	case SHERD_OP_ATTEND:
		return 1 + run_attend(x, i, op);
	case SHERD_OP_ACT:
		run_act(x, op);
		break;
	case SHERD_OP_ROUTE:
		run_route(x, op);
		break;
	case SHERD_OP_EXPERTS:
		run_experts(x, i, op);
		break;
	case SHERD_OP_COMBINE:
		run_combine(x, op);
		break;
	case SHERD_N_OPS:
		break;
	}
	return 1;
}

/* Pairs keep their slots once a step has failed. */
static int row_of_slot(const struct cl_exec *x, int slot)
{
	cl_int pair = 0;

	clEnqueueReadBuffer(x->c.dev->queue, x->routes.order, CL_TRUE, slot * sizeof(pair),
			    sizeof(pair), &pair, 0, NULL, NULL);
	return pair / x->hp->n_used;
}

static int not_finite(const struct cl_exec *x, const cl_int *failed, struct sherd_error *err)
{
	bool sent = failed[0] - 1 == x->w->end_op; /* the step after the last */
	const struct sherd_op *op = &x->program->ops[failed[0] - 1 - sent];
	bool gathered = (op->layer < 0 || sent) && x->gathered;
	int failed_row = op->pair_stride ? row_of_slot(x, failed[1]) : failed[1];
	int row = gathered ? x->w->wanted[failed_row] : failed_row;
	char where[32] = "after the last layer";

	if (op->layer >= 0)
		snprintf(where, sizeof(where), "layer %d", op->layer);
	return sherd_fail(err, -EDOM, "%s, position %d: %s is NaN, infinite or too large", where,
			  x->w->pos[row], sent ? SHERD_SENT_ROWS : sherd_op_what(op));
}

/* The result's rows, mapped until the next run. */
static const float *map_rows(struct cl_exec *x)
{
	bool head = x->w->end_op == x->program->n_ops && x->program->ops[x->w->end_op - 1].dst ==
							       SHERD_BUF_LOGITS;
	struct sherd_cl_rows *r = &x->buf[head ? SHERD_BUF_LOGITS : SHERD_BUF_X];

	x->mapped_mem = r->mem;
	x->mapped = clEnqueueMapBuffer(x->c.dev->queue, r->mem, CL_TRUE, CL_MAP_READ, 0,
				       4 * (size_t)x->n * r->stride, 0, NULL, NULL, &x->c.rc);
	return x->mapped;
}

/* Drivers lose devices: a GPU's reset is the usual reason, and the kernel's log has it. */
static int fail_step(const struct cl_exec *x, struct sherd_error *err)
{
	int rc = sherd_cl_errno(x->c.rc);

	sherd_fail_cl(err, x->c.rc, "%s: the step at position %d (%d rows) failed",
		      x->c.dev->info.name, x->w->pos[0], x->w->n_rows);
	if (!err || rc == -ENOMEM)
		return rc;
	return sherd_fail(err, rc, "%s; dmesg may say why%s", err->msg,
			  x->c.dev->info.is_cpu ? "" : ", and --device cpu does without it");
}

/* Waits for everything. */
static int finish(struct cl_exec *x, const float **rows, struct sherd_error *err)
{
	cl_int failed[2] = { 0, 0 };
	int rc = 0;

	if (!x->gathered)
		run_gather(x);
	*rows = NULL;
	if (x->w->out)
		sherd_clx_send_rows(x, err);
	if (!x->c.rc)
		x->c.rc = clEnqueueReadBuffer(x->c.dev->queue, x->input[IN_FAILED], CL_FALSE, 0,
					      sizeof(failed), failed, 0, NULL, NULL);
	if (!x->c.rc && x->n && !x->w->out)
		*rows = map_rows(x);
	if (clFinish(x->c.dev->queue) && !x->c.rc)
		x->c.rc = CL_OUT_OF_RESOURCES;
	if (x->w->out)
		rc = sherd_clx_sent(x, err);
	if (x->no_room)
		return sherd_cl_errno(x->c.rc);
	if (x->c.rc)
		return fail_step(x, err);
	return failed[0] ? not_finite(x, failed, err) : rc;
}

static int page_failed(const struct cl_exec *x, cl_int rc, const char *what,
		       struct sherd_error *err)
{
	return rc ? sherd_fail_cl(err, rc, "%s: a page of the KV cache could not be %s",
				  x->c.dev->info.name, what) : 0;
}

int sherd_clx_read_page(struct sherd_exec *e, int page, void *bytes, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	size_t size = sherd_kv_shape_page_bytes(&x->shape);

	return page_failed(x, clEnqueueReadBuffer(x->c.dev->queue, x->pool, CL_TRUE, page * size,
						  size, bytes, 0, NULL, NULL), "read", err);
}

int sherd_clx_write_page(struct sherd_exec *e, int page, const void *bytes,
			 struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	size_t size = sherd_kv_shape_page_bytes(&x->shape);

	return page_failed(x, clEnqueueWriteBuffer(x->c.dev->queue, x->pool, CL_TRUE, page * size,
						   size, bytes, 0, NULL, NULL), "written", err);
}

int sherd_clx_run(struct sherd_exec *e, const struct sherd_work *w, const float **rows,
		  struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	double began = sherd_now();
	int i, rc;

	x->w = w;
	x->n = w->n_rows;
	x->gathered = x->no_room = false;
	x->c.rc = 0;
	sherd_clx_unmap(x);
	sherd_clx_profile_begin(x);
	rc = upload(x, err);
	if (rc)
		return rc;
	for (i = w->first_op; i < w->end_op && !x->c.rc && (x->n || !x->gathered);)
		i += run_op(x, i, err);
	rc = finish(x, rows, err);
	sherd_clx_profile_end(x);
	return rc ? rc : sherd_clx_check_sometimes(x, sherd_now() - began, err);
}
