/* SPDX-License-Identifier: MIT */
/*
 * cl_layer: recognizes layers of the step list that layer.cl can do in one launch, and launches them:
 * norm, stacked q k v, rope, attention, out, norm, up (and gate), activation, down, all four matrices in
 * one format. Other layers, and more than one token, go step by step.
 */
#include "infer/cl/cl_exec.h"

enum { NORM_1, QKV, ROPE, ATTEND, QUANTIZE, OUT, NORM_2, UP, ACT, DOWN, N_OPS };

static const enum sherd_op_kind kinds[N_OPS] = {
	[NORM_1] = SHERD_OP_NORM,   [QKV] = SHERD_OP_MATMUL,	[ROPE] = SHERD_OP_ROPE,
	[ATTEND] = SHERD_OP_ATTEND, [QUANTIZE] = SHERD_OP_NORM, [OUT] = SHERD_OP_MATMUL,
	[NORM_2] = SHERD_OP_NORM,   [UP] = SHERD_OP_MATMUL,	[ACT] = SHERD_OP_ACT,
	[DOWN] = SHERD_OP_MATMUL,
};

/* A matmul that makes all of its buffer, in @f's format. */
static bool fills(const struct sherd_program *p, const struct sherd_op *op, enum sherd_buf dst,
		  const struct sherd_format *f)
{
	const struct sherd_format *g = &op->w->fmt;

	return op->dst == dst && !op->dst_col && op->residual == (dst == SHERD_BUF_X) &&
	       (int)g->rows == p->width[dst] && g->elem == f->elem && g->group == f->group &&
	       g->scale == f->scale && g->min == f->min;
}

static bool is_layer(const struct sherd_program *p, int i)
{
	const struct sherd_op *op = &p->ops[i];
	const struct sherd_format *f;
	int k;

	if (i + N_OPS > p->n_ops)
		return false;
	for (k = 0; k < N_OPS; k++)
		if (op[k].kind != kinds[k] || op[k].layer != op->layer)
			return false;
	f = &op[QKV].w->fmt;
	return op[NORM_1].src == SHERD_BUF_X && op[NORM_2].src == SHERD_BUF_X &&
	       op[NORM_1].norm != SHERD_NORM_NONE && op[NORM_2].norm == op[NORM_1].norm &&
	       !op[NORM_2].bias == !op[NORM_1].bias &&
	       op[QUANTIZE].norm == SHERD_NORM_NONE && op[QUANTIZE].src == SHERD_BUF_ATT &&
	       fills(p, &op[QKV], SHERD_BUF_QKV, f) && fills(p, &op[OUT], SHERD_BUF_X, f) &&
	       fills(p, &op[UP], SHERD_BUF_FFN, f) && fills(p, &op[DOWN], SHERD_BUF_X, f);
}

int sherd_clx_add_layers(struct cl_exec *x, const struct sherd_exec_params *p,
			 struct sherd_error *err)
{
	struct sherd_kv_shape kv = { .head_dim = x->hp->head_dim, .type = p->kv_type };
	char spec[32];
	int i, rc = 0;

	for (i = 0; i < p->program->n_ops && !rc; i++)
		if (is_layer(p->program, i) &&
		    sherd_cl_layer_spec(&x->c, &p->program->ops[i + QKV].w->fmt, &kv, spec,
					sizeof(spec)))
			rc = sherd_cl_add(&x->c, spec, err);
	return rc;
}

static int flags_of(const struct sherd_op *op)
{
	return (op->residual ? 1 : 0) | (op->bias ? 2 : 0);
}

static struct sherd_layer_shape shape_of(struct cl_exec *x, int i, int n_parts)
{
	const struct sherd_op *op = &x->program->ops[i];
	const struct sherd_hparams *hp = x->hp;

	return (struct sherd_layer_shape){
		.hidden = hp->hidden,
		.q_width = hp->n_heads * hp->head_dim,
		.ffn = op[ACT].width,
		.qkv_stride = x->buf[SHERD_BUF_QKV].stride,
		.n_heads = hp->n_heads,
		.n_kv_heads = hp->n_kv_heads,
		.rope_dim = x->weights.rope ? hp->rope_dim : 0,
		.rope_halves = hp->arch->position == SHERD_POS_ROPE_HALVES,
		.norm_layer = op[NORM_1].norm == SHERD_NORM_LAYER,
		.norm_bias = op[NORM_1].bias != NULL,
		.act = hp->arch->act,
		.gated = hp->arch->gated,
		.want = sherd_clx_wanted(x->act, &op[NORM_1]).want,
		.out_flags = flags_of(&op[OUT]),
		.qkv_flags = flags_of(&op[QKV]),
		.up_flags = flags_of(&op[UP]),
		.down_flags = flags_of(&op[DOWN]),
		.n_tiles = x->n_tiles,
		.n_parts = n_parts,
		.slot = op->layer - x->program->shard->first_layer,
		.workers = x->c.dev->info.compute_units,
		.step_norm_1 = i + NORM_1,
		.step_rope = i + ROPE,
		.step_att = i + QUANTIZE,
		.step_norm_2 = i + NORM_2,
		.step_act = i + ACT,
		.eps = hp->norm_eps,
		.inv_hidden = 1.0f / (float)hp->hidden,
		.q_scale = x->program->q_scale,
	};
}

int sherd_clx_layer(struct cl_exec *x, int i, struct sherd_error *err)
{
	const struct sherd_cl_op_mem *m = &x->weights.op[i];
	struct sherd_cl_cache cache = sherd_clx_cache(x);
	struct sherd_cl_layer l;

	if (x->n != 1 || x->w->n_rows != 1 || i + N_OPS > x->w->end_op ||
	    !is_layer(x->program, i) || !sherd_cl_layer_program(&x->c, &m[QKV].w.fmt, &x->shape))
		return 0;
	l = (struct sherd_cl_layer){
		.shape = shape_of(x, i, sherd_clx_parts(x, err)),
		.counters = x->input[IN_COUNTERS],
		.x = x->buf[SHERD_BUF_X].mem,
		.qkv = x->buf[SHERD_BUF_QKV].mem,
		.ffn = x->buf[SHERD_BUF_FFN].mem,
		.norm_1 = m[NORM_1].weight,
		.norm_1_bias = m[NORM_1].bias,
		.norm_2 = m[NORM_2].weight,
		.norm_2_bias = m[NORM_2].bias,
		.qkv_w = { &m[QKV].w, m[QKV].bias },
		.out_w = { &m[OUT].w, m[OUT].bias },
		.up_w = { &m[UP].w, m[UP].bias },
		.down_w = { &m[DOWN].w, m[DOWN].bias },
		.rope = x->weights.rope,
		.parts = x->parts,
		.tiles = x->input[IN_TILES],
		.layer = x->program->ops[i].layer - x->program->shard->first_layer,
	};
	sherd_cl_layer(&x->c, &l, &cache, &x->act);
	return N_OPS;
}
