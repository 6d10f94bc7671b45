/* SPDX-License-Identifier: MIT */
/*
 * cl_walk: runs of the step list that walk.cl does in one launch, for one row: as far as all
 * matrices have one format, no session is cut, and the result is wanted. What cannot be walked is
 * launched step by step.
 */
#include <stdlib.h>
#include "infer/cl/cl_exec.h"

int sherd_clx_add_walks(struct cl_exec *x, const struct sherd_exec_params *p,
			struct sherd_error *err)
{
	const struct sherd_kv_shape kv = { .n_kv_heads = x->hp->n_kv_heads,
					   .head_dim = x->hp->head_dim,
					   .type = p->kv_type };
	int i, rc = 0;

	for (i = 0; i < p->program->n_ops && !rc; i++) {
		const struct sherd_op *op = &p->program->ops[i];

		/*
		 * a format that the head alone has would save one launch: it does not pay for
		 * compiling
		 */
		if (op->kind == SHERD_OP_MATMUL && op->layer >= 0)
			rc = sherd_cl_add_walk(&x->c, &op->w->fmt, &kv, x->hp->n_heads, err);
	}
	return rc;
}

/* --- the table --- */

_Static_assert(SHERD_WALK_X == SHERD_BUF_X && SHERD_WALK_QKV == SHERD_BUF_QKV &&
		       SHERD_WALK_FFN == SHERD_BUF_FFN && SHERD_WALK_LOGITS == SHERD_BUF_LOGITS &&
		       SHERD_WALK_OUT == SHERD_BUF_OUT,
	       "walk.h has the numbers of enum sherd_buf");

static int kind_of(const struct sherd_op *op)
{
	switch (op->kind) {
	case SHERD_OP_NORM:
		if (op->norm != SHERD_NORM_NONE)
			return SHERD_WALK_NORM;
		return op->src == SHERD_BUF_ATT ? SHERD_WALK_MERGE : SHERD_WALK_QUANTIZE;
	case SHERD_OP_MATMUL:
		return SHERD_WALK_MATMUL;
	case SHERD_OP_ROPE:
		return SHERD_WALK_ROPE;
	case SHERD_OP_ATTEND:
		return SHERD_WALK_ATTEND;
	case SHERD_OP_ACT:
		return SHERD_WALK_ACT;
	case SHERD_OP_NORM_TO:
		return SHERD_WALK_NORM_TO;
	case SHERD_OP_CAP:
		return SHERD_WALK_CAP;
	default:
		return SHERD_WALK_NOTHING;
	}
}

/* @at: values, scales, minima, bias. */
static struct sherd_walk_step step_of(struct cl_exec *x, int i, const cl_ulong at[4])
{
	const struct sherd_op *op = &x->program->ops[i];
	bool matmul = op->kind == SHERD_OP_MATMUL;
	const struct sherd_op *quantizes = op->kind == SHERD_OP_ATTEND ? op + 1 : op;
	int layer = op->layer < 0 ? 0 : op->layer - x->program->shard->first_layer;

	return (struct sherd_walk_step){
		.values = at[0],
		.scales = at[1],
		.mins = at[2],
		.bias = at[3],
		.cache = sherd_kv_offset(&x->shape, layer, 0),
		.kind = kind_of(op),
		.src = op->src,
		.dst = op->dst,
		.rows = matmul ? op->w->fmt.rows : 0,
		.cols = op->width,
		.dst_col = op->dst_col,
		.flags = (op->residual ? SHERD_CL_RESIDUAL : 0) | (op->bias ? SHERD_CL_BIAS : 0),
		.want = sherd_clx_wanted(x->act, quantizes).want,
		.norm = op->norm,
		.inv_cols = 1.0f / (float)op->width,
		.n_parts = op->n_parts,
		.weight_step = op->weight_step,
		.scale = op->scale,
		.cap = op->cap,
		.inv_cap = op->cap != 0 ? 1.0f / op->cap : 0,
		/* the merge, which is the next op, looks as far */
		.window = i && op[-1].kind == SHERD_OP_ATTEND ? op[-1].window : op->window,
	};
}

static void find_addresses(struct cl_exec *x, cl_mem *mem, cl_ulong *at)
{
	const struct sherd_program *p = x->program;
	int i, n = p->n_ops;

	for (i = 0; i < n; i++) {
		const struct sherd_cl_op_mem *m = &x->weights.op[i];
		bool matmul = p->ops[i].kind == SHERD_OP_MATMUL;

		mem[4 * i] = matmul			     ? m->w.values :
			     p->ops[i].kind == SHERD_OP_ROPE ? x->weights.rope[p->ops[i].rope] :
							       m->weight;
		mem[4 * i + 1] = matmul ? m->w.scales : NULL;
		mem[4 * i + 2] = matmul ? m->w.mins : NULL;
		mem[4 * i + 3] = m->bias;
	}
	sherd_cl_addresses(&x->c, mem, 4 * n, at);
}

int sherd_clx_make_walk(struct cl_exec *x, struct sherd_error *err)
{
	int i, n = x->program->n_ops;
	size_t size = n * sizeof(struct sherd_walk_step);
	struct sherd_walk_step *steps = sherd_calloc(n, sizeof(*steps));
	cl_mem *mem = sherd_calloc(n, 4 * sizeof(*mem));
	cl_ulong *at = sherd_calloc(n, 4 * sizeof(*at));
	int rc = 0;

	if (!sherd_cl_any_walk(&x->c))
		goto out;
	if (!steps || !mem || !at) {
		rc = sherd_fail_oom(err, size, "the list of steps");
		goto out;
	}
	find_addresses(x, mem, at);
	for (i = 0; i < n; i++)
		steps[i] = step_of(x, i, at + 4 * i);
	x->steps = sherd_clx_buffer(x, size, "the list of steps", err);
	if (!x->c.rc)
		x->c.rc = clEnqueueWriteBuffer(x->c.dev->queue, x->steps, CL_TRUE, 0, size, steps,
					       0, NULL, NULL);
	if (x->c.rc)
		rc = x->no_room ?
			     sherd_cl_errno(x->c.rc) :
			     sherd_fail_cl(err, x->c.rc, "%s: finding out where the weights are",
					   x->c.dev->info.name);
out:
	free(steps);
	free(mem);
	free(at);
	return rc;
}

/* --- a run --- */

/*
 * May op @i be part of the run that began at @first, whose matrices are for *@program (NULL: none
 * so far)?
 */
static bool walks(struct cl_exec *x, int first, int i, struct sherd_cl_program **program)
{
	const struct sherd_op *op = &x->program->ops[i];
	struct sherd_cl_program *p;

	switch (op->kind) {
	case SHERD_OP_EMBED:
	case SHERD_OP_ROUTE:
	case SHERD_OP_EXPERTS:
	case SHERD_OP_COMBINE:
		return false;
	case SHERD_OP_ACT:
		return !op->pair_stride;
	case SHERD_OP_CUT:
		return !sherd_work_is_cut(x->w, 0, op->layer);
	case SHERD_OP_GATHER:
		return x->w->n_wanted == 1;
	case SHERD_OP_NORM: /* attention quantizes its own output */
		return op->src != SHERD_BUF_ATT || (i > first && op[-1].kind == SHERD_OP_ATTEND);
	case SHERD_OP_MATMUL:
		if (op->dst > SHERD_BUF_OUT)
			return false;
		p = sherd_cl_walk_program(&x->c, &op->w->fmt, &x->shape);
		if (!p || (*program && p != *program))
			return false;
		*program = p;
		return true;
	default:
		return true;
	}
}

static struct sherd_walk run_of(struct cl_exec *x, int first, int end, int n_parts)
{
	const struct sherd_hparams *hp = x->hp;

	return (struct sherd_walk){
		.first = first,
		.end = end,
		.workers = x->c.dev->info.compute_units,
		.qkv_stride = x->buf[SHERD_BUF_QKV].stride,
		.n_heads = hp->n_heads,
		.n_kv_heads = hp->n_kv_heads,
		.rope_dim = x->weights.rope[0] ? hp->rope_dim : 0,
		.rope_halves = hp->arch->position == SHERD_POS_ROPE_HALVES,
		.act = hp->arch->act,
		.gated = hp->arch->gated,
		.n_tiles = x->n_tiles,
		.n_parts = n_parts,
		.eps = hp->norm_eps,
		.q_scale = hp->q_scale,
	};
}

/* --- its profile --- */

static void note_step(struct cl_exec *x, int i)
{
	const struct sherd_op *op = &x->program->ops[i];
	struct sherd_cl *c = &x->c;

	switch (op->kind) {
	case SHERD_OP_NORM:
		if (op->src == SHERD_BUF_ATT)
			sherd_cl_note_merge(c, 1, x->hp->n_heads, x->n_chunks, x->hp->head_dim);
		else
			sherd_cl_note_rows(c, op->norm ? "norm" : "quantize", 4, 1, op->width);
		break;
	case SHERD_OP_NORM_TO:
		sherd_cl_note_rows(c, "norm_to", op->residual ? 12 : 8, 1, op->width * op->n_parts);
		break;
	case SHERD_OP_CAP:
		sherd_cl_note_rows(c, "cap", 8, 1, op->width);
		break;
	case SHERD_OP_MATMUL:
		sherd_cl_note_matmul(c, SHERD_K_MATMUL_1, &op->w->fmt, 1);
		break;
	case SHERD_OP_ROPE:
		sherd_cl_note_rows(c, "rope", 4, 1, x->buf[SHERD_BUF_QKV].stride);
		break;
	case SHERD_OP_ATTEND:
		sherd_clx_count_positions(x, op->window);
		sherd_cl_note_attend(c, 1, x->hp->n_heads, &x->shape);
		break;
	default:
		sherd_cl_note_rows(c, "activate", x->hp->arch->gated ? 8 : 4, 1, op->width);
	}
}

/* Does it depend on what of a walk is tuned? */
static bool is_tuned(const struct sherd_op *op)
{
	return op->kind == SHERD_OP_MATMUL || op->kind == SHERD_OP_ATTEND;
}

/*
 * Shares the launch's time out among its steps, by the clock that the kernel has read. What the
 * launch took before its first step is shared out too: of a small model's token that is a tenth.
 */
static void note_steps(struct cl_exec *x, int first, int end,
		       const struct sherd_cl_program *program)
{
	size_t size = (end - first) * sizeof(struct sherd_walk_counters);
	struct sherd_walk_counters *c = x->c.profiling ? sherd_calloc(1, size) : NULL;
	cl_ulong begin = 0, last = 0, before;
	int i;

	if (!c || x->c.rc)
		goto out;
	x->c.rc = clEnqueueReadBuffer(x->c.dev->queue, x->input[IN_COUNTERS], CL_TRUE,
				      first * sizeof(*c), size, c, 0, NULL, NULL);
	for (i = 0; i < end - first; i++) {
		begin = begin ? begin : c[i].begin;
		last = MAX(last, c[i].end);
	}
	for (i = 0, before = begin; i < end - first && last > begin && !x->c.rc; i++) {
		if (c[i].end <= before)
			continue; /* nothing to do, or no clock */
		x->c.step = first + i;
		note_step(x, first + i);
		if (is_tuned(&x->program->ops[first + i]))
			sherd_cl_note_variant(&x->c, program);
		sherd_cl_note_part(&x->c, (double)(c[i].end - before) / (double)(last - begin));
		before = c[i].end;
	}
out:
	free(c);
}

int sherd_clx_walk(struct cl_exec *x, int i, struct sherd_error *err)
{
	struct sherd_cl_cache cache = sherd_clx_cache(x);
	struct sherd_cl_program *program = NULL;
	struct sherd_cl_walk run;
	int end = i, k, n_parts;

	/*
	 * one row in all: of more, the head's may be the only one that is left, but its place is
	 * not 0
	 */
	if (!x->steps || x->n != 1 || x->w->n_rows != 1)
		return 0;
	while (end < x->w->end_op && walks(x, i, end, &program))
		end++;
	if (!program || end - i < 2)
		return 0;
	for (k = i; k < end; k++) {
		if (x->program->ops[k].kind == SHERD_OP_GATHER)
			x->gathered = true;
		if (x->program->ops[k].dst == SHERD_BUF_LOGITS)
			sherd_clx_grow_logits(x, err);
	}
	n_parts = sherd_clx_parts(x); /* may make x->parts anew */
	run = (struct sherd_cl_walk){
		.run = run_of(x, i, end, n_parts),
		.program = program,
		.steps = x->steps,
		.counters = x->input[IN_COUNTERS],
		.x = x->buf[SHERD_BUF_X].mem,
		.qkv = x->buf[SHERD_BUF_QKV].mem,
		.ffn = x->buf[SHERD_BUF_FFN].mem,
		.logits = x->buf[SHERD_BUF_LOGITS].mem,
		.out = x->buf[SHERD_BUF_OUT].mem,
		.parts = x->parts,
		.tiles = x->input[IN_TILES],
	};
	x->c.step = i;
	sherd_cl_walk(&x->c, &run, &cache, &x->act);
	note_steps(x, i, end, program);
	return end - i;
}
