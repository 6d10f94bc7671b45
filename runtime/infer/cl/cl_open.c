/* SPDX-License-Identifier: MIT */
/*
 * cl_open: opens a device for a model and closes it: programs, proven and built; weights; buffers
 * for a step's inputs and activations; the KV cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl_exec.h"

cl_mem sherd_clx_buffer(struct cl_exec *x, size_t size, const char *what, struct sherd_error *err)
{
	const struct sherd_device_info *info = &x->c.dev->info;
	const double mib = 1048576.0;
	cl_mem m = NULL;

	if (x->c.rc)
		return NULL;
	if (size > info->max_alloc) {
		x->c.rc = CL_INVALID_BUFFER_SIZE;
		sherd_fail(err, -ENOMEM, "%s: no room for %s, %.1f MiB: a buffer may have %.1f MiB",
			   info->name, what, size / mib, info->max_alloc / mib);
	} else if ((info->is_cpu || info->host_unified) && size > sherd_memory_available()) {
		/* Drivers promise it all the same; who writes there is killed then. */
		x->c.rc = CL_MEM_OBJECT_ALLOCATION_FAILURE;
		sherd_fail(err, -ENOMEM, "%s: no room for %s, %.1f MiB: %.1f MiB can be had",
			   info->name, what, size / mib, sherd_memory_available() / mib);
	} else {
		m = clCreateBuffer(x->c.dev->context, CL_MEM_READ_WRITE, MAX(size, 64), NULL,
				   &x->c.rc);
		if (x->c.rc)
			sherd_fail_cl(err, x->c.rc, "%s: no room for %s, %.1f MiB", info->name,
				      what, size / mib);
	}
	x->no_room = x->c.rc != CL_SUCCESS;
	return m;
}

/* If there was no room, what helps joins the sentence. */
static int check_room(const struct cl_exec *x, const char *helps, struct sherd_error *err)
{
	if (!x->c.rc)
		return 0;
	return err ? sherd_fail(err, -ENOMEM, "%s; %s", err->msg, helps) : -ENOMEM;
}

void sherd_clx_release(cl_mem *m)
{
	if (*m)
		clReleaseMemObject(*m);
	*m = NULL;
}

static void release_act(struct sherd_cl_act *a)
{
	sherd_clx_release(&a->a);
	sherd_clx_release(&a->q);
	sherd_clx_release(&a->groups);
	sherd_clx_release(&a->halves);
}

static void release_routes(struct sherd_cl_routes *r)
{
	sherd_clx_release(&r->choice);
	sherd_clx_release(&r->weight);
	sherd_clx_release(&r->runs);
	sherd_clx_release(&r->order);
	sherd_clx_release(&r->place);
}

static void release_inputs(struct cl_exec *x)
{
	int i;

	if (x->input[IN_FAILED])
		x->c.failed = NULL; /* was that one */
	for (i = 0; i < N_INPUTS; i++)
		sherd_clx_release(&x->input[i]);
	sherd_clx_release(&x->inputs);
	free(x->staging);
	x->staging = NULL;
	x->pages_cap = 0;
}

/* Where the parts begin, and where the last one ends. */
static void place_inputs(struct cl_exec *x, size_t pages)
{
	int group = x->hp->n_heads / x->hp->n_kv_heads, i;
	size_t tiles = DIV_ROUND_UP((size_t)x->n_batch * group, SHERD_CL_TILE_QUERIES) + x->n_batch;
	const size_t row = 4 * (size_t)x->n_batch; /* a number a row */
	const size_t sizes[N_INPUTS] = {
		[IN_FAILED] = 64,
		[IN_COUNTERS] = x->program->n_ops * sizeof(struct sherd_walk_counters),
		[IN_TOKENS] = row,
		[IN_POS] = row,
		[IN_LAST] = row,
		[IN_ITEM] = row,
		[IN_WANTED] = row,
		[IN_TILES] = sizeof(struct sherd_cl_tile) * tiles,
		[IN_PAGES] = 4 * pages,
	};

	for (i = 0; i < N_INPUTS; i++)
		x->input_at[i + 1] = x->input_at[i] + ROUND_UP(sizes[i], 4096);
}

static int cut_inputs(struct cl_exec *x, struct sherd_error *err)
{
	int i;

	for (i = 0; i < N_INPUTS && !x->c.rc; i++) {
		cl_buffer_region r = { x->input_at[i], x->input_at[i + 1] - x->input_at[i] };

		x->input[i] = clCreateSubBuffer(x->inputs, CL_MEM_READ_WRITE,
						CL_BUFFER_CREATE_TYPE_REGION, &r, &x->c.rc);
	}
	if (x->c.rc)
		return sherd_fail_cl(err, x->c.rc, "%s: buffers for a step's inputs",
				     x->c.dev->info.name);
	x->c.failed = x->input[IN_FAILED];
	return 0;
}

int sherd_clx_inputs(struct cl_exec *x, size_t pages, struct sherd_error *err)
{
	int rc;

	release_inputs(x); /* should this fail, the next run tries again */
	place_inputs(x, pages);
	x->staging = sherd_calloc(1, x->input_at[N_INPUTS]);
	if (!x->staging)
		return sherd_fail_oom(err, x->input_at[N_INPUTS], "a step's inputs");
	x->inputs = sherd_clx_buffer(x, x->input_at[N_INPUTS], "a step's inputs", err);
	if (x->c.rc)
		return sherd_cl_errno(x->c.rc);
	rc = cut_inputs(x, err);
	if (!rc)
		x->pages_cap = pages;
	return rc;
}

static void cl_close(struct sherd_exec *e)
{
	struct cl_exec *x = (struct cl_exec *)e;
	int i;

	if (x->c.dev) {
		sherd_clx_unmap(x);
		clFinish(x->c.dev->queue);
	}
	for (i = 0; i < SHERD_N_BUFS; i++)
		sherd_clx_release(&x->buf[i].mem);
	release_act(&x->act);
	release_act(&x->other);
	release_act(&x->pairs);
	release_routes(&x->routes);
	sherd_clx_release(&x->pool);
	sherd_clx_release(&x->parts);
	sherd_clx_release(&x->steps);
	sherd_clx_release(&x->wire);
	sherd_clx_release(&x->sent);
	sherd_clx_close_ring(x);
	release_inputs(x);
	sherd_cl_weights_release(&x->weights);
	sherd_cl_close(&x->c);
	free(x->wires);
	free(x);
}

/* A or P, with the rows that a matmul may read beyond the last of @n; returns its bytes. */
static size_t make_act(struct cl_exec *x, struct sherd_cl_act *a, int n, size_t width,
		       struct sherd_error *err)
{
	const struct sherd_program *p = x->program;
	size_t rows = n + SHERD_ACT_PAD;
	size_t groups = rows * DIV_ROUND_UP(width, 32), total = 0;

	a->a_stride = width;
	if (p->forms.f32) {
		a->a = sherd_clx_buffer(x, 4 * rows * width, "activations", err);
		total += 4 * rows * width;
	}
	if (p->forms.q8) {
		a->q = sherd_clx_buffer(x, 32 * groups, "activations", err);
		a->groups = sherd_clx_buffer(x, 16 * groups, "activations", err);
		total += 48 * groups;
	}
	if (p->forms.halves) {
		a->halves = sherd_clx_buffer(x, 16 * groups, "activations", err);
		total += 16 * groups;
	}
	return total;
}

/* Zeros. Drivers find memory for a buffer when it is written to. */
static void fill(struct cl_exec *x, cl_mem m, size_t size, const char *what,
		 struct sherd_error *err)
{
	const cl_uint zero = 0;

	if (x->c.rc)
		return;
	x->c.rc = clEnqueueFillBuffer(x->c.dev->queue, m, &zero, sizeof(zero), 0,
				      ROUND_UP(size, sizeof(zero)), 0, NULL, NULL);
	if (!x->c.rc)
		x->c.rc = clFinish(x->c.dev->queue);
	if (x->c.rc)
		sherd_fail_cl(err, x->c.rc, "%s: no room for %s, %.1f MiB", x->c.dev->info.name,
			      what, (double)size / 1048576.0);
}

/*
 * P, and who chose whom; returns their bytes. What a failed step leaves there is used all the same,
 * for nothing: it must be places that exist, and zeros are.
 */
static size_t make_pairs(struct cl_exec *x, struct sherd_error *err)
{
	size_t pairs = (size_t)x->n_batch * x->hp->n_used;
	struct sherd_cl_routes *r = &x->routes;
	cl_mem *const four[] = { &r->choice, &r->weight, &r->order, &r->place };
	size_t i;

	if (!pairs)
		return 0;
	r->n_experts = x->hp->n_experts;
	r->k = x->hp->n_used;
	r->renormalize = x->hp->renormalize;
	for (i = 0; i < ARRAY_SIZE(four); i++) {
		*four[i] = sherd_clx_buffer(x, 4 * pairs, "the choice of experts", err);
		fill(x, *four[i], 4 * pairs, "the choice of experts", err);
	}
	r->runs = sherd_clx_buffer(x, 16 * pairs, "the choice of experts", err);
	fill(x, r->runs, 16 * pairs, "the choice of experts", err);
	return sherd_route_bytes(x->hp, x->n_batch) +
	       make_act(x, &x->pairs, (int)pairs, x->program->width[SHERD_BUF_P], err);
}

/* Some step may write A while it reads A. */
static bool any_gated(const struct cl_exec *x)
{
	int i;

	for (i = 0; i < x->c.n_programs && x->hp->arch->gated; i++)
		if (x->c.programs[i].kernel[SHERD_K_MATMUL_GATED])
			return true;
	return false;
}

static int make_buffers(struct cl_exec *x, struct sherd_error *err)
{
	const struct sherd_program *p = x->program;
	size_t total = sherd_n_ropes(x->hp) * sherd_rope_bytes(x->hp, p->n_ctx); /* weights.rope */
	int i;

	for (i = 0; i < SHERD_N_BUFS; i++) {
		size_t size = 4 * (size_t)x->n_batch * p->width[i];

		x->buf[i].stride = p->width[i];
		if (i == SHERD_BUF_A || i == SHERD_BUF_P || i == SHERD_BUF_LOGITS || !size)
			continue;
		x->buf[i].mem = sherd_clx_buffer(x, size, "activations", err);
		total += size;
	}
	total += make_act(x, &x->act, x->n_batch, p->width[SHERD_BUF_A], err);
	if (any_gated(x))
		total += make_act(x, &x->other, x->n_batch, p->width[SHERD_BUF_A], err);
	total += make_pairs(x, err);
	x->wire = sherd_clx_buffer(x, x->n_batch, "the cuts", err);
	x->wires = sherd_calloc(x->hp->n_layers, x->n_batch);
	if (!x->wires)
		return sherd_fail_oom(err, (size_t)x->hp->n_layers * x->n_batch, "the cuts");
	x->exec.scratch_bytes = total;
	return check_room(x, "a smaller batch (-b) needs less", err);
}

static int make_cache(struct cl_exec *x, const struct sherd_exec_params *p, struct sherd_error *err)
{
	const struct sherd_shard *s = p->program->shard;

	x->shape = (struct sherd_kv_shape){ s->end_layer - s->first_layer, x->hp->n_kv_heads,
					    x->hp->head_dim, p->kv_type };
	x->exec.kv_bytes = (uint64_t)p->n_pages * sherd_kv_shape_page_bytes(&x->shape);
	/* vectors may read past the last head's end, and use nothing of it */
	x->pool = sherd_clx_buffer(x, x->exec.kv_bytes + 256, "the KV cache", err);
	if (p->hold_kv)
		fill(x, x->pool, x->exec.kv_bytes, "the KV cache", err);
	return check_room(x, "a smaller context (-c) needs less", err);
}

static int add_programs(struct cl_exec *x, const struct sherd_exec_params *p,
			struct sherd_error *err)
{
	const struct sherd_kv_shape kv = { .n_kv_heads = x->hp->n_kv_heads,
					   .head_dim = x->hp->head_dim,
					   .type = p->kv_type };
	int i, rc = sherd_cl_add_rows(&x->c, x->hp->hidden, sherd_program_ffn(p->program), err);

	if (!rc)
		rc = sherd_cl_add_attention(&x->c, &kv, x->hp->n_heads, err);
	if (!rc && x->hp->n_experts)
		rc = sherd_cl_add(&x->c, "experts", err);
	for (i = 0; i < p->program->n_ops && !rc; i++) {
		const struct sherd_op *op = &p->program->ops[i];

		if (op->kind == SHERD_OP_MATMUL || op->kind == SHERD_OP_EXPERTS)
			rc = sherd_cl_add_matrix(&x->c, &op->w->fmt, op->expert_rows, err);
	}
	return rc;
}

const struct sherd_exec_ops sherd_clx_ops = { .run = sherd_clx_run,
					      .read_page = sherd_clx_read_page,
					      .write_page = sherd_clx_write_page,
					      .use_ring = sherd_clx_use_ring,
					      .check = sherd_clx_check,
					      .close = cl_close };

static int make_programs(struct cl_exec *x, const struct sherd_exec_params *p,
			 const struct sherd_exec_trial *t, struct sherd_error *err)
{
	int rc = add_programs(x, p, err);

	if (!rc && !t->walkless)
		rc = sherd_clx_add_walks(x, p, err);
	if (!rc)
		rc = sherd_cl_prove(&x->c, p, t->limit, err);
	if (!rc)
		rc = sherd_cl_build(&x->c, err);
	return rc ? rc : sherd_cl_bit_profile(&x->c, p->untested, x->exec.bit_profile, err);
}

static int open_device(struct cl_exec *x, const struct sherd_exec_params *p,
		       const struct sherd_exec_trial *t, struct sherd_error *err)
{
	const char *device = t->device;
	char plain[256];
	int rc;

	if (t->plain) {
		sherd_cl_plain_device(device, plain, sizeof(plain));
		device = plain;
	}
	rc = sherd_cl_open(&x->c, device, p->n_threads, err);
	if (rc)
		return rc;
	/* what is wrong with a tune file is said once */
	return sherd_cl_tune(&x->c, t->untuned ? "none" : p->tune,
			     t->walkless || t->plain ? NULL : p->note, p->ctx, err);
}

/* What the programs that failed had. */
static void note_tried(struct cl_exec *x, struct sherd_exec_tried *tried)
{
	struct sherd_cl *c = &x->c;

	*tried = (struct sherd_exec_tried){ .programs = true };
	tried->dot = c->forced ? NULL : c->dev->dot;
	tried->tuned = sherd_cl_is_tuned(c);
	tried->walks = sherd_cl_any_walk(c) != NULL;
}

static const char *import_name(int way)
{
	return sherd_import_name((enum sherd_import_way)way);
}

static int open_parts(struct cl_exec *x, const struct sherd_exec_params *p, struct sherd_error *err)
{
	int rc;

	snprintf(x->exec.device, sizeof(x->exec.device), "%s", x->c.dev->info.name);
	snprintf(x->exec.why, sizeof(x->exec.why), "%s", x->c.dev->info.why);
	sherd_tune_describe(&x->c.tune, x->exec.tune, sizeof(x->exec.tune));
	rc = sherd_cl_weights_load(&x->weights, &x->c, p->program, p->region, p->untested, err);
	x->exec.weights = sherd_import_name(x->weights.import.way);
	x->exec.weights_refused = x->weights.import.refused;
	x->exec.n_refused = SHERD_N_IMPORTS;
	x->exec.weights_name = import_name;
	if (!rc)
		rc = make_buffers(x, err);
	if (!rc)
		rc = make_cache(x, p, err);
	if (!rc)
		rc = sherd_clx_make_walk(x, err);
	sherd_clx_release(&x->c.failed); /* from now on a part of the upload */
	if (!rc)
		rc = sherd_clx_inputs(x, DIV_ROUND_UP(p->program->n_ctx, SHERD_PAGE), err);
	return rc;
}

int sherd_exec_cl_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		       const struct sherd_exec_trial *trial, struct sherd_exec_tried *tried,
		       struct sherd_error *err)
{
	struct cl_exec *x = sherd_calloc(1, sizeof(*x));
	int rc;

	*e = NULL;
	*tried = (struct sherd_exec_tried){ .name = "a device" };
	if (!x)
		return sherd_fail_oom(err, sizeof(*x), "the OpenCL executor");
	x->exec.ops = &sherd_clx_ops;
	x->program = p->program;
	x->hp = &p->program->shard->hp;
	x->n_batch = p->n_batch;
	x->n_pages = p->n_pages;
	x->note = p->note;
	x->note_ctx = p->ctx;
	rc = open_device(x, p, trial, err);
	if (!rc) {
		rc = make_programs(x, p, trial, err);
		if (rc)
			note_tried(x, tried);
	}
	if (!rc)
		rc = open_parts(x, p, err);
	if (!rc) {
		*e = &x->exec;
		return 0;
	}
	if (x->c.dev) {
		snprintf(tried->name, sizeof(tried->name), "%s", x->c.dev->info.name);
		tried->is_cpu = x->c.dev->info.is_cpu;
	}
	cl_close(&x->exec);
	return rc;
}
