/* SPDX-License-Identifier: MIT */
/*
 * cl_exec: walks the step list with the kernels of cl_kernels.c. A run is one upload (tokens, positions,
 * page tables: one buffer cut into parts), all launches, and one wait at its end.
 */
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl.h"
#include "infer/cl/cl_weights.h"
#include "infer/ref/ref.h"

#define MAX_PARTS (8u << 20) /* bytes of attention's parts: beyond, chunks are walked in turn */

/* The parts of the upload, in order. */
enum input { IN_FAILED, IN_TOKENS, IN_POS, IN_ITEM, IN_WANTED, IN_TILES, IN_PAGES, N_INPUTS };

struct cl_exec {
	struct sherd_exec exec;
	struct sherd_cl c;
	const struct sherd_program *program;
	const struct sherd_hparams *hp;
	struct sherd_cl_weights weights;
	int n_batch, n_pages;
	struct sherd_kv_shape shape;
	struct sherd_cl_rows buf[SHERD_N_BUFS];
	struct sherd_cl_act act, other; /* A; what a fused step writes while it reads A: then they swap */
	int logit_rows;
	cl_mem pool, parts, wire;
	size_t parts_size;
	cl_mem inputs, input[N_INPUTS]; /* one buffer, and its parts */
	size_t input_at[N_INPUTS + 1];
	uint8_t *staging;
	size_t pages_cap;
	uint8_t *wires; /* [n_layers][n_batch], for the cuts */
	float *mapped; /* the last run's result */
	cl_mem mapped_mem;
	/* the run in progress */
	const struct sherd_work *w;
	int n, n_tiles, n_chunks; /* rows; attention's tiles; chunks that the furthest row sees */
	bool gathered, no_room; /* no_room: what failed has been said */
};

static cl_mem new_buffer(struct cl_exec *x, size_t size, const char *what, struct sherd_error *err)
{
	cl_int rc = CL_SUCCESS;
	cl_mem m = NULL;

	if (x->c.rc)
		return NULL;
	if (size > x->c.dev->info.max_alloc)
		rc = CL_INVALID_BUFFER_SIZE;
	else
		m = clCreateBuffer(x->c.dev->context, CL_MEM_READ_WRITE, MAX(size, 64), NULL, &rc);
	if (rc) {
		x->c.rc = rc;
		x->no_room = true;
		sherd_fail_cl(err, rc, "%s: no room for %s, %.1f MiB (a buffer may have %.1f MiB)",
			      x->c.dev->info.name, what, size / 1048576.0,
			      x->c.dev->info.max_alloc / 1048576.0);
	}
	return m;
}

static void release(cl_mem *m)
{
	if (*m)
		clReleaseMemObject(*m);
	*m = NULL;
}

static void release_act(struct sherd_cl_act *a)
{
	release(&a->a);
	release(&a->q);
	release(&a->groups);
	release(&a->halves);
}

static void unmap(struct cl_exec *x)
{
	if (x->mapped)
		clEnqueueUnmapMemObject(x->c.dev->queue, x->mapped_mem, x->mapped, 0, NULL, NULL);
	x->mapped = NULL;
}

/* ------------------------------------------------------------------- inputs */

/* (Re)makes the upload buffer with room for @pages numbers in the page tables. */
static int make_inputs(struct cl_exec *x, size_t pages, struct sherd_error *err)
{
	int group = x->hp->n_heads / x->hp->n_kv_heads;
	size_t tiles = DIV_ROUND_UP((size_t)x->n_batch * group, SHERD_CL_TILE_QUERIES) + x->n_batch;
	const size_t sizes[N_INPUTS] = { 64, 4 * x->n_batch, 4 * x->n_batch, 4 * x->n_batch,
					 4 * x->n_batch, sizeof(struct sherd_cl_tile) * tiles,
					 4 * pages };
	cl_int rc = 0;
	int i;

	x->pages_cap = 0; /* should this fail, the next run tries again */
	x->c.failed = NULL;
	for (i = 0; i < N_INPUTS; i++)
		release(&x->input[i]);
	release(&x->inputs);
	free(x->staging);
	for (i = 0; i < N_INPUTS; i++)
		x->input_at[i + 1] = x->input_at[i] + ROUND_UP(sizes[i], 4096);
	x->staging = sherd_calloc(1, x->input_at[N_INPUTS]);
	if (!x->staging)
		return sherd_fail_oom(err, x->input_at[N_INPUTS], "a step's inputs");
	x->inputs = new_buffer(x, x->input_at[N_INPUTS], "a step's inputs", err);
	for (i = 0; i < N_INPUTS && !x->c.rc; i++) {
		cl_buffer_region r = { x->input_at[i], x->input_at[i + 1] - x->input_at[i] };

		x->input[i] = clCreateSubBuffer(x->inputs, CL_MEM_READ_WRITE,
						CL_BUFFER_CREATE_TYPE_REGION, &r, &rc);
		if (rc)
			x->c.rc = rc;
	}
	if (x->no_room)
		return sherd_cl_errno(x->c.rc);
	if (x->c.rc)
		return sherd_fail_cl(err, x->c.rc, "%s: buffers for a step's inputs",
				     x->c.dev->info.name);
	x->c.failed = x->input[IN_FAILED];
	x->pages_cap = pages;
	return 0;
}

static void stage(struct cl_exec *x, enum input i, const void *data, size_t size)
{
	if (data)
		memcpy(x->staging + x->input_at[i], data, size);
}

static void count_chunks(struct cl_exec *x)
{
	const struct sherd_work *w = x->w;
	int i, last = 0;

	x->c.kv_rows = x->c.q_rows = 0;
	for (i = 0; i < w->n_rows; i++) {
		last = MAX(last, w->pos[i]);
		x->c.q_rows += w->pos[i] + 1;
	}
	for (i = 0; i < w->n_items; i++)
		x->c.kv_rows += w->pos[w->item_row[i + 1] - 1] + 1;
	x->n_chunks = last / SHERD_CHUNK + 1;
}

static int upload(struct cl_exec *x, struct sherd_error *err)
{
	const struct sherd_work *w = x->w;
	size_t n_pages = (size_t)w->n_items * w->pages_stride;
	int group = x->hp->n_heads / x->hp->n_kv_heads, rc;

	if (n_pages > x->pages_cap) {
		rc = make_inputs(x, n_pages, err);
		if (rc)
			return rc;
	}
	stage(x, IN_TOKENS, w->tokens, 4 * w->n_rows);
	stage(x, IN_POS, w->pos, 4 * w->n_rows);
	stage(x, IN_ITEM, w->item, 4 * w->n_rows);
	stage(x, IN_WANTED, w->wanted, 4 * w->n_wanted);
	stage(x, IN_PAGES, w->pages, 4 * n_pages);
	x->n_tiles = sherd_cl_make_tiles(w->item_row, w->n_items, group,
					 (void *)(x->staging + x->input_at[IN_TILES]));
	count_chunks(x);
	x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->inputs, CL_FALSE, 0,
				       x->input_at[IN_PAGES] + 4 * n_pages, x->staging, 0, NULL, NULL);
	if (!x->c.rc && w->hidden)
		x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->buf[SHERD_BUF_X].mem, CL_FALSE, 0,
					       4 * (size_t)w->n_rows * x->hp->hidden, w->hidden, 0,
					       NULL, NULL);
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

static struct sherd_cl_act wanted_of(struct sherd_cl_act a, const struct sherd_op *op)
{
	a.want = (op->want_f32 ? SHERD_QUANT_F32 : 0) | (op->want_q8 ? SHERD_QUANT_Q8 : 0) |
		 (op->want_q8_halves ? SHERD_QUANT_HALVES : 0);
	return a;
}

static void run_norm(struct cl_exec *x, int i, const struct sherd_op *op)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	struct sherd_cl_act a = wanted_of(x->act, op);

	sherd_cl_norm(&x->c, op->norm, x->buf[op->src], x->n, op->width, m->weight, m->bias,
		      x->hp->norm_eps, &a);
}

static void run_act(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_act a = wanted_of(x->act, op);

	sherd_cl_activate(&x->c, x->hp->arch->act, x->hp->arch->gated, x->buf[op->src], x->n,
			  op->width, &a);
}

/* Logits are as wide as the vocabulary: room only for as many rows as somebody wanted. */
static void grow_logits(struct cl_exec *x, struct sherd_error *err)
{
	struct sherd_cl_rows *l = &x->buf[SHERD_BUF_LOGITS];

	if (x->n <= x->logit_rows)
		return;
	release(&l->mem);
	x->logit_rows = 0;
	l->mem = new_buffer(x, 4 * (size_t)x->n * l->stride, "the logits", err);
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
	struct sherd_cl_act to, swap = x->act;

	if (!next || !x->hp->arch->gated || op->dst != SHERD_BUF_FFN || m->bias || op->residual ||
	    (int)m->w.fmt.rows != 2 * next->width || !sherd_cl_can_gate(&x->c, &m->w.fmt, x->n))
		return false;
	to = wanted_of(x->other, next);
	x->c.step = i + 1;
	sherd_cl_matmul_gated(&x->c, &m->w, &x->act, x->n, x->hp->arch->act, &to);
	x->act = x->other;
	x->other = swap;
	return true;
}

static void run_matmul(struct cl_exec *x, int i, const struct sherd_op *op, struct sherd_error *err)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];

	if (op->dst == SHERD_BUF_LOGITS)
		grow_logits(x, err);
	sherd_cl_matmul(&x->c, 0, &m->w, &x->act, x->n, m->bias, op->residual, x->buf[op->dst],
			op->dst_col);
}

static struct sherd_cl_cache cache_of(const struct cl_exec *x)
{
	return (struct sherd_cl_cache){ x->pool, x->input[IN_PAGES], x->input[IN_ITEM],
					x->input[IN_POS], x->w->pages_stride, x->shape };
}

static void run_rope(struct cl_exec *x, const struct sherd_op *op)
{
	struct sherd_cl_cache cache = cache_of(x);

	sherd_cl_rope(&x->c, x->buf[SHERD_BUF_QKV], x->n, x->hp->n_heads, x->weights.rope,
		      x->hp->rope_dim, x->hp->arch->position == SHERD_POS_ROPE_HALVES,
		      x->program->q_scale, &cache, op->layer - x->program->shard->first_layer);
}

/*
 * Few rows and a long past: chunks are computed side by side and merged after; else there are enough
 * queries to keep the device busy, and each walks its chunks. The bits are the same.
 */
static int parts_for(struct cl_exec *x, struct sherd_error *err)
{
	int units = x->c.dev->info.compute_units, work;
	size_t size;

	if (x->c.dev->shape == SHERD_SHAPE_WIDE)
		work = x->n_tiles * x->hp->n_kv_heads;
	else
		work = x->n * x->hp->n_heads / 4;
	size = 4 * (size_t)x->n * x->hp->n_heads * x->n_chunks *
	       sherd_cl_part_floats(&x->c, x->hp->head_dim);
	if (x->n_chunks < 2 || work >= 4 * units || size > MAX_PARTS)
		return 0;
	if (size > x->parts_size) {
		release(&x->parts);
		x->parts_size = 0;
		x->parts = new_buffer(x, size, "attention's parts", err);
		x->parts_size = x->c.rc ? 0 : size;
	}
	return x->n_chunks;
}

/* Attention, and the quantizer after it where the kernel can do both; true if it did. */
static bool run_attend(struct cl_exec *x, int i, const struct sherd_op *op, struct sherd_error *err)
{
	const struct sherd_op *next = next_op(x, i, SHERD_OP_NORM);
	struct sherd_cl_cache cache = cache_of(x);
	int n_parts = parts_for(x, err);
	struct sherd_cl_act to;
	bool both = next && next->norm == SHERD_NORM_NONE && next->src == SHERD_BUF_ATT &&
		    sherd_cl_attend_quantizes(&x->c, x->hp->head_dim);

	if (both) {
		to = wanted_of(x->act, next);
		x->c.step = i + 1;
	}
	sherd_cl_attend(&x->c, x->buf[SHERD_BUF_QKV], x->n, x->hp->n_heads, x->input[IN_TILES],
			x->n_tiles, x->parts, n_parts, &cache,
			op->layer - x->program->shard->first_layer, x->buf[SHERD_BUF_ATT],
			both ? &to : NULL);
	return both;
}

/* Runs op @i, and what it could be fused with; returns how many ops that were. */
static int run_op(struct cl_exec *x, int i, struct sherd_error *err)
{
	const struct sherd_op *op = &x->program->ops[i];
	const struct sherd_cl_op_mem *m = &x->weights.op[i];

	x->c.step = i;
	switch (op->kind) {
	case SHERD_OP_EMBED:
		sherd_cl_embed(&x->c, &m->w, op->positions ? &m->positions : NULL,
			       x->input[IN_TOKENS], x->input[IN_POS], x->n, x->buf[SHERD_BUF_X]);
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
	case SHERD_OP_MATMUL:
		if (run_gated(x, i, op))
			return 2;
		run_matmul(x, i, op, err);
		break;
	case SHERD_OP_ROPE:
		run_rope(x, op);
		break;
	case SHERD_OP_ATTEND:
		return 1 + run_attend(x, i, op, err);
	case SHERD_OP_ACT:
		run_act(x, op);
		break;
	case SHERD_N_OPS:
		break;
	}
	return 1;
}

static const char *what_failed(const struct sherd_op *op)
{
	switch (op->kind) {
	case SHERD_OP_CUT:
		return "the residual stream at a cut";
	case SHERD_OP_ROPE:
		return "a query, key or value";
	case SHERD_OP_ACT:
		return "the feed-forward activation";
	default:
		return op->src == SHERD_BUF_ATT ? "attention's output" : "the residual stream";
	}
}

static int not_finite(const struct cl_exec *x, const cl_int *failed, struct sherd_error *err)
{
	const struct sherd_op *op = &x->program->ops[failed[0] - 1];
	int row = op->layer < 0 && x->gathered ? x->w->wanted[failed[1]] : failed[1];
	char where[32] = "after the last layer";

	if (op->layer >= 0)
		snprintf(where, sizeof(where), "layer %d", op->layer);
	return sherd_fail(err, -EDOM, "%s, position %d: %s is NaN, infinite or too large", where,
			  x->w->pos[row], what_failed(op));
}

/* Waits for everything; the result's rows are mapped until the next run. */
static int finish(struct cl_exec *x, const float **rows, struct sherd_error *err)
{
	bool head = x->w->end_op == x->program->n_ops && x->program->ops[x->w->end_op - 1].dst ==
							       SHERD_BUF_LOGITS;
	struct sherd_cl_rows *r = &x->buf[head ? SHERD_BUF_LOGITS : SHERD_BUF_X];
	cl_int failed[2] = { 0, 0 };

	if (!x->gathered)
		run_gather(x);
	*rows = NULL;
	if (!x->c.rc)
		x->c.rc = clEnqueueReadBuffer(x->c.dev->queue, x->input[IN_FAILED], CL_FALSE, 0,
					      sizeof(failed), failed, 0, NULL, NULL);
	if (!x->c.rc && x->n) {
		x->mapped_mem = r->mem;
		x->mapped = clEnqueueMapBuffer(x->c.dev->queue, r->mem, CL_TRUE, CL_MAP_READ, 0,
					       4 * (size_t)x->n * r->stride, 0, NULL, NULL, &x->c.rc);
		*rows = x->mapped;
	}
	if (clFinish(x->c.dev->queue) && !x->c.rc)
		x->c.rc = CL_OUT_OF_RESOURCES;
	if (x->no_room)
		return sherd_cl_errno(x->c.rc);
	if (x->c.rc)
		return sherd_fail_cl(err, x->c.rc, "%s: a step of %d rows failed",
				     x->c.dev->info.name, x->w->n_rows);
	return failed[0] ? not_finite(x, failed, err) : 0;
}

static int cl_run(struct sherd_exec *e, const struct sherd_work *w, const float **rows,
		  struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	int i, rc;

	x->w = w;
	x->n = w->n_rows;
	x->gathered = x->no_room = false;
	x->c.rc = 0;
	unmap(x);
	rc = upload(x, err);
	if (rc)
		return rc;
	for (i = w->first_op; i < w->end_op && !x->c.rc && (x->n || !x->gathered);)
		i += run_op(x, i, err);
	return finish(x, rows, err);
}

/* ------------------------------------------------------------ open and close */

static void cl_close(struct sherd_exec *e)
{
	struct cl_exec *x = (struct cl_exec *)e;
	int i;

	if (x->c.dev) {
		unmap(x);
		clFinish(x->c.dev->queue);
	}
	for (i = 0; i < SHERD_N_BUFS; i++)
		release(&x->buf[i].mem);
	release_act(&x->act);
	release_act(&x->other);
	release(&x->pool);
	release(&x->parts);
	release(&x->wire);
	for (i = 0; i < N_INPUTS; i++)
		release(&x->input[i]);
	release(&x->inputs);
	sherd_cl_weights_release(&x->weights);
	x->c.failed = NULL; /* was the upload's first part */
	sherd_cl_close(&x->c);
	free(x->staging);
	free(x->wires);
	free(x);
}

/* A, with the rows that a matmul may read beyond the last; returns its bytes. */
static size_t make_act(struct cl_exec *x, struct sherd_cl_act *a, struct sherd_error *err)
{
	const struct sherd_program *p = x->program;
	size_t rows = x->n_batch + SHERD_ACT_PAD, width = p->width[SHERD_BUF_A];
	size_t groups = rows * DIV_ROUND_UP(width, 32), total = 0;

	a->a_stride = width;
	if (p->any_f32) {
		a->a = new_buffer(x, 4 * rows * width, "activations", err);
		total += 4 * rows * width;
	}
	if (p->any_q8) {
		a->q = new_buffer(x, 32 * groups, "activations", err);
		a->groups = new_buffer(x, 16 * groups, "activations", err);
		total += 48 * groups;
	}
	if (p->any_halves) {
		a->halves = new_buffer(x, 16 * groups, "activations", err);
		total += 16 * groups;
	}
	return total;
}

static int make_buffers(struct cl_exec *x, struct sherd_error *err)
{
	const struct sherd_program *p = x->program;
	size_t total = 0;
	int i;

	for (i = 0; i < SHERD_N_BUFS; i++) {
		size_t size = 4 * (size_t)x->n_batch * p->width[i];

		x->buf[i].stride = p->width[i];
		if (i == SHERD_BUF_A || i == SHERD_BUF_LOGITS)
			continue;
		x->buf[i].mem = new_buffer(x, size, "activations", err);
		total += size;
	}
	total += make_act(x, &x->act, err);
	if (x->hp->arch->gated && x->c.dev->shape == SHERD_SHAPE_WIDE)
		total += make_act(x, &x->other, err);
	x->wire = new_buffer(x, x->n_batch, "the cuts", err);
	x->wires = sherd_calloc(x->hp->n_layers, x->n_batch);
	if (!x->wires)
		return sherd_fail_oom(err, (size_t)x->hp->n_layers * x->n_batch, "the cuts");
	x->exec.scratch_bytes = total;
	return x->c.rc ? -ENOMEM : 0;
}

static int make_cache(struct cl_exec *x, const struct sherd_exec_params *p, struct sherd_error *err)
{
	const struct sherd_shard *s = p->program->shard;

	x->shape = (struct sherd_kv_shape){ s->end_layer - s->first_layer, x->hp->n_kv_heads,
					    x->hp->head_dim, p->kv_type };
	x->exec.kv_bytes = (uint64_t)p->n_pages * sherd_kv_shape_page_bytes(&x->shape);
	/* vectors may read past the last head's end, and use nothing of it */
	x->pool = new_buffer(x, x->exec.kv_bytes + 256, "the KV cache (a smaller context needs less)",
			     err);
	return x->c.rc ? -ENOMEM : 0;
}

static int add_programs(struct cl_exec *x, const struct sherd_exec_params *p, struct sherd_error *err)
{
	char spec[32];
	int i, rc = sherd_cl_add(&x->c, "rows", err);

	snprintf(spec, sizeof(spec), "attention.%d.%d", p->kv_type, x->hp->head_dim);
	if (!rc)
		rc = sherd_cl_add(&x->c, spec, err);
	for (i = 0; i < p->program->n_ops && !rc; i++) {
		if (p->program->ops[i].kind != SHERD_OP_MATMUL)
			continue;
		sherd_cl_spec_of(&p->program->ops[i].w->fmt, spec, sizeof(spec));
		rc = sherd_cl_add(&x->c, spec, err);
	}
	return rc;
}

static const struct sherd_exec_ops cl_ops = { .run = cl_run, .close = cl_close };

/* The device with all programs that the model needs, proven and built. */
static int open_device(struct cl_exec *x, const struct sherd_exec_params *p, const char *device,
		       struct sherd_error *err)
{
	int rc = sherd_cl_open(&x->c, device, p->n_threads, err);

	if (!rc)
		rc = add_programs(x, p, err);
	if (!rc)
		rc = sherd_cl_prove(&x->c, p, err);
	return rc ? rc : sherd_cl_build(&x->c, err);
}

/*
 * A compiler or driver that fails with an instruction set's path gets the plain one, and a remark: slower,
 * but a text. A path that was asked for by name fails.
 */
static int open_device_somehow(struct cl_exec *x, const struct sherd_exec_params *p,
			       struct sherd_error *err)
{
	struct sherd_error why = { "" };
	char note[sizeof(why.msg) + 128], plain[256];
	int rc = open_device(x, p, p->device, &why);

	if (rc && x->c.dev && !x->c.forced && strcmp(x->c.dev->dot, "plain")) {
		snprintf(note, sizeof(note), "%s fails here, and plain code takes its place: %s",
			 x->c.dev->dot, why.msg);
		snprintf(plain, sizeof(plain), "%s/plain", x->c.device);
		if (p->note)
			p->note(p->ctx, note);
		sherd_cl_close(&x->c);
		rc = open_device(x, p, plain, &why);
	}
	if (rc && err)
		*err = why;
	return rc;
}

static int open_parts(struct cl_exec *x, const struct sherd_exec_params *p, struct sherd_error *err)
{
	int rc = open_device_somehow(x, p, err);

	if (rc)
		return rc;
	snprintf(x->exec.device, sizeof(x->exec.device), "%s", x->c.dev->info.name);
	snprintf(x->exec.why, sizeof(x->exec.why), "%s", x->c.dev->info.why);
	rc = sherd_cl_weights_load(&x->weights, &x->c, p->program, err);
	if (!rc)
		rc = make_buffers(x, err);
	if (!rc)
		rc = make_cache(x, p, err);
	release(&x->c.failed); /* from now on a part of the upload */
	if (!rc)
		rc = make_inputs(x, DIV_ROUND_UP(p->program->n_ctx, SHERD_PAGE), err);
	if (!rc)
		sherd_ref_bit_profile(x->exec.bit_profile); /* the self-test has proved them equal */
	return rc;
}

int sherd_exec_cl_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		       struct sherd_error *err)
{
	struct cl_exec *x = sherd_calloc(1, sizeof(*x));
	int rc;

	*e = NULL;
	if (!x)
		return sherd_fail_oom(err, sizeof(*x), "the OpenCL executor");
	x->exec.ops = &cl_ops;
	x->program = p->program;
	x->hp = &p->program->shard->hp;
	x->n_batch = p->n_batch;
	x->n_pages = p->n_pages;
	rc = open_parts(x, p, err);
	if (rc) {
		cl_close(&x->exec);
		return rc;
	}
	*e = &x->exec;
	return 0;
}

/* ------------------------------------------------------------------ profile */

int sherd_cl_exec_profile(struct sherd_exec *e, bool on, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;

	if (e->ops != &cl_ops)
		return sherd_fail(err, -ENOTSUP, "the reference has no kernels to time");
	unmap(x);
	x->c.profiling = on;
	return sherd_device_set_profiling(x->c.dev, on, err);
}

/* Adds a launch to the row of its name and shape. */
static int add_time(struct sherd_cl_time *rows, int n, const struct sherd_cl_time *t, double seconds)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(rows[i].name, t->name) && !strcmp(rows[i].shape, t->shape))
			break;
	if (i == n) {
		rows[i] = *t;
		rows[i].seconds = rows[i].bytes = rows[i].ops = 0;
		rows[i].calls = 0;
		n++;
	}
	rows[i].seconds += seconds;
	rows[i].bytes += t->bytes;
	rows[i].ops += t->ops;
	rows[i].calls++;
	return n;
}

int sherd_cl_exec_times(struct sherd_exec *e, struct sherd_cl_time **times, int *n)
{
	struct cl_exec *x = (struct cl_exec *)e;
	struct sherd_cl *c = &x->c;
	cl_ulong from, to;
	int i;

	*n = 0;
	*times = NULL;
	if (e->ops != &cl_ops)
		return -ENOTSUP;
	*times = sherd_calloc(c->n_events + 1, sizeof(**times));
	if (!*times)
		return -ENOMEM;
	for (i = 0; i < c->n_events; i++) {
		if (!clGetEventProfilingInfo(c->events[i], CL_PROFILING_COMMAND_START, sizeof(from), &from,
					     NULL) &&
		    !clGetEventProfilingInfo(c->events[i], CL_PROFILING_COMMAND_END, sizeof(to), &to,
					     NULL))
			*n = add_time(*times, *n, &c->times[i], 1e-9 * (to - from));
		clReleaseEvent(c->events[i]);
	}
	c->n_events = 0;
	return 0;
}
