/* SPDX-License-Identifier: MIT */
/*
 * ops: writes a model's step list from its architecture's row. One layer reads like the paper:
 *
 *	A = norm(X); QKV = W A; rope; ATT = softmax(q k) v; A = ATT; X += W A
 *	A = norm(X); FFN = W A; A = act(gate) * up;                  X += W A
 *
 * What varies between families is which matrices are stacked, what has a bias, where norms are
 * (before a block, behind it, behind the sum; of q and k), and whether the two halves follow each
 * other or both read the same X (parallel).
 */
#include <stdlib.h>
#include "infer/ops.h"

#define MAX_LAYER_OPS 32

struct builder {
	struct sherd_program *p;
	const struct sherd_shard *shard;
	const struct sherd_hparams *hp;
	int cap, layer;
	int q, kv;  /* widths */
	int last_a; /* the op that wrote A last: it learns what the matmuls want */
	int last_p; /* and P */
	struct sherd_error *err;
	int rc; /* the first failure sticks */
};

static const struct sherd_tensor *matrix(struct builder *b, enum sherd_slot slot)
{
	return sherd_shard_matrix(b->shard, slot, b->layer);
}

static const float *vector(struct builder *b, enum sherd_slot slot)
{
	return sherd_shard_vector(b->shard, slot, b->layer);
}

static struct sherd_op *add(struct builder *b, enum sherd_op_kind kind)
{
	static struct sherd_op nowhere;
	struct sherd_op *op;

	if (b->p->n_ops == b->cap) {
		if (!b->rc)
			b->rc = sherd_fail(b->err, -EINVAL, "a layer has more than %d steps",
					   MAX_LAYER_OPS);
		return &nowhere;
	}
	op = &b->p->ops[b->p->n_ops++];
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	op->layer = b->layer;
	return op;
}

static void missing(struct builder *b, enum sherd_slot slot)
{
	char name[64];

	if (b->rc)
		return;
	sherd_slot_name(slot, b->layer, name, sizeof(name));
	b->rc = sherd_fail(b->err, -EINVAL, "the model has no %s, which its architecture needs",
			   name);
}

/* @slot: the norm's weight; a layer norm's bias is in the slot that follows. */
static void set_norm(struct builder *b, struct sherd_op *op, enum sherd_norm norm,
		     enum sherd_slot slot)
{
	op->norm = norm;
	if (norm == SHERD_NORM_NONE)
		return;
	op->weight = vector(b, slot);
	if (!op->weight)
		missing(b, slot);
	if (norm != SHERD_NORM_LAYER)
		return;
	op->bias = vector(b, slot + 1);
	if (!op->bias && b->hp->arch->norm_bias)
		missing(b, slot + 1);
}

/* A = norm of src's first @width columns. */
static void add_norm(struct builder *b, enum sherd_norm norm, enum sherd_slot slot,
		     enum sherd_buf src, int width)
{
	struct sherd_op *op;

	b->last_a = b->p->n_ops;
	op = add(b, SHERD_OP_NORM);
	op->src = src;
	op->dst = SHERD_BUF_A;
	op->width = width;
	set_norm(b, op, norm, slot);
}

/* dst = norm of src as floats, or dst += it. */
static struct sherd_op *add_norm_to(struct builder *b, enum sherd_norm norm, enum sherd_slot slot,
				    enum sherd_buf src, enum sherd_buf dst, int width)
{
	struct sherd_op *op = add(b, SHERD_OP_NORM_TO);

	op->src = src;
	op->dst = dst;
	op->residual = src != dst;
	op->width = width;
	op->n_parts = 1;
	op->scale = 1;
	set_norm(b, op, norm, slot);
	return op;
}

/* dst[:, col ..] = W A, or += where it goes to the residual stream. @width: columns of A. */
static void add_matmul(struct builder *b, enum sherd_slot slot, const float *bias, int width,
		       enum sherd_buf dst, int col)
{
	const struct sherd_tensor *w = matrix(b, slot);
	struct sherd_op *op = add(b, SHERD_OP_MATMUL), *a = &b->p->ops[b->last_a];
	char name[64];

	if (!w) {
		missing(b, slot);
		return;
	}
	if (w->fmt.cols != (uint32_t)width || w->fmt.rows > (uint32_t)(b->p->width[dst] - col)) {
		sherd_slot_name(slot, b->layer, name, sizeof(name));
		if (!b->rc)
			b->rc = sherd_fail(b->err, -EINVAL,
					   "%s is %u x %u, but %d columns and at most %d rows fit",
					   name, w->fmt.rows, w->fmt.cols, width,
					   b->p->width[dst] - col);
		return;
	}
	op->src = SHERD_BUF_A;
	op->dst = dst;
	op->dst_col = col;
	op->width = width;
	op->w = w;
	op->bias = bias;
	op->residual = dst == SHERD_BUF_X;
	sherd_forms_add(&b->p->forms, &w->fmt);
	sherd_forms_add(&a->want, &w->fmt);
}

static void add_qkv(struct builder *b)
{
	const float *bias = vector(b, SHERD_ATTN_QKV_BIAS);
	int hidden = b->hp->hidden;

	if (!bias && b->hp->arch->qkv_bias)
		missing(b, SHERD_ATTN_QKV_BIAS);
	if (matrix(b, SHERD_ATTN_QKV)) {
		add_matmul(b, SHERD_ATTN_QKV, bias, hidden, SHERD_BUF_QKV, 0);
		return;
	}
	add_matmul(b, SHERD_ATTN_Q, bias, hidden, SHERD_BUF_QKV, 0);
	add_matmul(b, SHERD_ATTN_K, bias ? bias + b->q : NULL, hidden, SHERD_BUF_QKV, b->q);
	add_matmul(b, SHERD_ATTN_V, bias ? bias + b->q + b->kv : NULL, hidden, SHERD_BUF_QKV,
		   b->q + b->kv);
}

/* What a block gives joins the stream: X += W A, or by way of a norm or a scale. */
static void add_join(struct builder *b, enum sherd_slot w, const float *bias, int width,
		     enum sherd_slot post_norm, enum sherd_slot sum_norm)
{
	const struct sherd_hparams *hp = b->hp;
	bool direct = !(hp->norm_at & SHERD_NORM_OUT) && hp->residual_scale == 1;

	add_matmul(b, w, bias, width, direct ? SHERD_BUF_X : SHERD_BUF_OUT, 0);
	if (!direct)
		add_norm_to(b, sherd_norm_at(hp, SHERD_NORM_OUT), post_norm, SHERD_BUF_OUT,
			    SHERD_BUF_X, hp->hidden)
			->scale = hp->residual_scale;
	if (hp->norm_at & SHERD_NORM_SUM)
		add_norm_to(b, hp->arch->norm, sum_norm, SHERD_BUF_X, SHERD_BUF_X, hp->hidden);
}

/* q's and k's heads in QKV, each by itself or as one row. */
static void add_qk_norm(struct builder *b)
{
	enum sherd_qk_norm how = b->hp->qk_norm;
	const int heads[] = { b->hp->n_heads, b->hp->n_kv_heads };
	struct sherd_op *op;
	int i;

	for (i = 0; i < 2 && how != SHERD_QK_NONE; i++) {
		bool row = how == SHERD_QK_ROW;

		/* layer norms among them have no bias */
		op = add_norm_to(b, SHERD_NORM_RMS, SHERD_ATTN_Q_NORM + i, SHERD_BUF_QKV,
				 SHERD_BUF_QKV, b->hp->head_dim * (row ? heads[i] : 1));
		op->norm = b->hp->arch->norm;
		op->n_parts = row ? 1 : heads[i];
		op->weight_step = how == SHERD_QK_EACH ? b->hp->head_dim : 0;
		op->dst_col = i * b->q;
	}
}

static void add_attention(struct builder *b)
{
	const float *bias = vector(b, SHERD_ATTN_OUT_BIAS);
	int window = sherd_hparams_window(b->hp, b->layer);
	struct sherd_op *op;

	add_qk_norm(b);
	op = add(b, SHERD_OP_ROPE);
	op->src = op->dst = SHERD_BUF_QKV;
	op->width = b->q + b->kv;
	op->rope = sherd_hparams_other_rope(b->hp, b->layer);
	op = add(b, SHERD_OP_ATTEND);
	op->src = SHERD_BUF_QKV;
	op->dst = SHERD_BUF_ATT;
	op->width = b->q;
	op->window = window;
	op->cap = b->hp->score_cap;
	add_norm(b, SHERD_NORM_NONE, 0, SHERD_BUF_ATT, b->q);
	if (!bias && b->hp->arch->out_bias)
		missing(b, SHERD_ATTN_OUT_BIAS);
	add_join(b, SHERD_ATTN_OUT, bias, b->q, SHERD_ATTN_POST_NORM, SHERD_ATTN_SUM_NORM);
}

static void add_ffn_up(struct builder *b)
{
	const float *bias = vector(b, SHERD_FFN_UP_BIAS);
	int hidden = b->hp->hidden, ffn = b->hp->ffn;

	if (!bias && b->hp->arch->ffn_bias)
		missing(b, SHERD_FFN_UP_BIAS);
	if (!b->hp->arch->gated) {
		add_matmul(b, SHERD_FFN_UP, bias, hidden, SHERD_BUF_FFN, 0);
		return;
	}
	if (matrix(b, SHERD_FFN_GATE_UP)) {
		if (bias && !b->rc)
			b->rc = sherd_fail(
				b->err, -ENOTSUP,
				"layer %d: a bias on stacked gate and up is not supported",
				b->layer);
		add_matmul(b, SHERD_FFN_GATE_UP, NULL, hidden, SHERD_BUF_FFN, 0);
		return;
	}
	add_matmul(b, SHERD_FFN_GATE, NULL, hidden, SHERD_BUF_FFN, 0);
	add_matmul(b, SHERD_FFN_UP, bias, hidden, SHERD_BUF_FFN, ffn);
}

static struct sherd_op *add_act(struct builder *b, enum sherd_buf dst, int width)
{
	struct sherd_op *op = add(b, SHERD_OP_ACT);

	op->src = SHERD_BUF_FFN;
	op->dst = dst;
	op->width = width;
	return op;
}

static void add_ffn_down(struct builder *b)
{
	const float *bias = vector(b, SHERD_FFN_DOWN_BIAS);

	b->last_a = b->p->n_ops;
	add_act(b, SHERD_BUF_A, b->hp->ffn);
	if (!bias && b->hp->arch->ffn_bias)
		missing(b, SHERD_FFN_DOWN_BIAS);
	add_join(b, SHERD_FFN_DOWN, bias, b->hp->ffn, SHERD_FFN_POST_NORM, SHERD_FFN_SUM_NORM);
}

/* dst[:, col ..] = W[expert] P. What is spread to P comes from A, in the same forms. */
static void add_expert_matmul(struct builder *b, enum sherd_slot slot, int width,
			      enum sherd_buf dst, int pair_stride, int col)
{
	const struct sherd_tensor *w = matrix(b, slot);
	struct sherd_op *op = add(b, SHERD_OP_EXPERTS), *p = &b->p->ops[b->last_p];

	if (!w) {
		missing(b, slot);
		return;
	}
	op->src = SHERD_BUF_P;
	op->dst = dst;
	op->dst_col = col;
	op->pair_stride = pair_stride;
	op->width = width;
	op->w = w;
	op->expert_rows = (int)sherd_slot_expert_rows(b->hp, slot);
	sherd_forms_add(&b->p->forms, &w->fmt);
	sherd_forms_add(&p->want, &w->fmt);
	if (p->kind == SHERD_OP_ROUTE)
		sherd_forms_add(&b->p->ops[b->last_a].want, &w->fmt);
}

/* The network that all rows use: to SHARED, by way of A. */
static void add_shared(struct builder *b)
{
	int hidden = b->hp->hidden, ffn = b->hp->ffn_shared;

	if (matrix(b, SHERD_SHARED_GATE_UP)) {
		add_matmul(b, SHERD_SHARED_GATE_UP, NULL, hidden, SHERD_BUF_FFN, 0);
	} else {
		add_matmul(b, SHERD_SHARED_GATE, NULL, hidden, SHERD_BUF_FFN, 0);
		add_matmul(b, SHERD_SHARED_UP, NULL, hidden, SHERD_BUF_FFN, ffn);
	}
	b->last_a = b->p->n_ops;
	add_act(b, SHERD_BUF_A, ffn);
	add_matmul(b, SHERD_SHARED_DOWN, NULL, ffn, SHERD_BUF_SHARED, 0);
}

/*
 * Scores = W A; who chose whom; FFN = W P, P = act(gate) * up, EXPERTS = W P for pairs; then the
 * shared network, which needs A's norm still; X += all of them.
 */
static void add_experts(struct builder *b)
{
	const struct sherd_hparams *hp = b->hp;
	int ffn = hp->ffn_expert;
	struct sherd_op *op;

	if ((hp->norm_at != SHERD_NORM_IN || hp->residual_scale != 1 || hp->parallel) && !b->rc)
		b->rc = sherd_fail(b->err, -ENOTSUP,
				   "experts whose outputs are normed or scaled are not supported");
	add_matmul(b, SHERD_ROUTER, NULL, hp->hidden, SHERD_BUF_SCORES, 0);
	if (hp->arch->shared_expert)
		add_matmul(b, SHERD_SHARED_SCORE, NULL, hp->hidden, SHERD_BUF_SCORES,
			   hp->n_experts);
	b->last_p = b->p->n_ops;
	op = add(b, SHERD_OP_ROUTE);
	op->src = SHERD_BUF_SCORES;
	op->dst = SHERD_BUF_P;
	op->width = hp->hidden;
	if (matrix(b, SHERD_EXPERTS_GATE_UP)) {
		add_expert_matmul(b, SHERD_EXPERTS_GATE_UP, hp->hidden, SHERD_BUF_FFN, 2 * ffn, 0);
	} else {
		add_expert_matmul(b, SHERD_EXPERTS_GATE, hp->hidden, SHERD_BUF_FFN, 2 * ffn, 0);
		add_expert_matmul(b, SHERD_EXPERTS_UP, hp->hidden, SHERD_BUF_FFN, 2 * ffn, ffn);
	}
	b->last_p = b->p->n_ops;
	add_act(b, SHERD_BUF_P, ffn)->pair_stride = 2 * ffn;
	add_expert_matmul(b, SHERD_EXPERTS_DOWN, ffn, SHERD_BUF_EXPERTS, hp->hidden, 0);
	if (hp->arch->shared_expert)
		add_shared(b);
	op = add(b, SHERD_OP_COMBINE);
	op->src = SHERD_BUF_EXPERTS;
	op->dst = SHERD_BUF_X;
	op->width = hp->hidden;
}

static void add_layer(struct builder *b)
{
	enum sherd_norm norm = sherd_norm_at(b->hp, SHERD_NORM_IN);
	bool parallel = b->hp->parallel;
	struct sherd_op *op;

	if (b->layer > 0) {
		op = add(b, SHERD_OP_CUT);
		op->src = op->dst = SHERD_BUF_X;
		op->width = b->hp->hidden;
	}
	add_norm(b, norm, SHERD_ATTN_NORM, SHERD_BUF_X, b->hp->hidden);
	add_qkv(b);
	if (!parallel)
		add_attention(b);
	if (!parallel || b->hp->two_norms)
		add_norm(b, norm, SHERD_FFN_NORM, SHERD_BUF_X, b->hp->hidden);
	if (b->hp->n_experts) {
		add_experts(b);
		return;
	}
	add_ffn_up(b);
	if (parallel)
		add_attention(b);
	add_ffn_down(b);
}

static struct sherd_op *add_table(struct builder *b, enum sherd_slot slot, enum sherd_buf dst)
{
	struct sherd_op *op = add(b, SHERD_OP_EMBED);

	op->dst = dst;
	op->scale = 1;
	op->table = matrix(b, slot);
	if (!op->table)
		missing(b, slot);
	else
		op->width = op->table->fmt.cols;
	return op;
}

static void check_positions(struct builder *b)
{
	const struct sherd_tensor *t = matrix(b, SHERD_POS_EMBD);

	if (!t)
		missing(b, SHERD_POS_EMBD);
	else if (t->fmt.rows < (uint32_t)b->p->n_ctx && !b->rc)
		b->rc = sherd_fail(
			b->err, -EINVAL,
			"a context of %d was asked for, but the model has learned only %u "
			"positions: ask for at most that",
			b->p->n_ctx, t->fmt.rows);
}

/* X = embedding (+ positions); where it is narrower: X = (positions +) W embedding. */
static void add_embed(struct builder *b)
{
	bool learned = b->hp->arch->position == SHERD_POS_LEARNED;
	bool projected = b->hp->embd != b->hp->hidden;
	struct sherd_op *op =
		add_table(b, SHERD_TOKEN_EMBD, projected ? SHERD_BUF_OUT : SHERD_BUF_X);

	op->scale = b->hp->embd_scale;
	if (learned)
		check_positions(b);
	if (b->hp->arch->encoder)
		op->bias = vector(b, SHERD_TOKEN_TYPES);
	if (!projected) {
		op->positions = learned ? matrix(b, SHERD_POS_EMBD) : NULL;
		if (b->hp->arch->embd_norm)
			add_norm_to(b, b->hp->arch->norm, SHERD_EMBD_NORM, SHERD_BUF_X, SHERD_BUF_X,
				    b->hp->hidden);
		return;
	}
	add_norm(b, SHERD_NORM_NONE, 0, SHERD_BUF_OUT, b->hp->embd);
	if (learned)
		add_table(b, SHERD_POS_EMBD, SHERD_BUF_X)->by_position = true;
	add_matmul(b, SHERD_PROJ_IN, NULL, b->hp->embd, SHERD_BUF_X, 0);
	b->p->ops[b->p->n_ops - 1].residual = learned;
}

/* Logits, scaled and capped where the model does that. */
static void add_logits(struct builder *b)
{
	const float *bias = vector(b, SHERD_OUTPUT_BIAS);
	bool tied = !matrix(b, SHERD_OUTPUT);
	struct sherd_op *op;

	if (!bias && b->hp->arch->head_bias)
		missing(b, SHERD_OUTPUT_BIAS);
	add_matmul(b, tied ? SHERD_TOKEN_EMBD : SHERD_OUTPUT, bias, b->hp->embd, SHERD_BUF_LOGITS,
		   0);
	if (b->hp->logit_scale == 1 && b->hp->logit_cap == 0)
		return;
	op = add(b, SHERD_OP_CAP);
	op->src = op->dst = SHERD_BUF_LOGITS;
	op->width = b->hp->n_vocab;
	op->scale = b->hp->logit_scale;
	op->cap = b->hp->logit_cap;
}

static void add_head(struct builder *b)
{
	struct sherd_op *op = add(b, SHERD_OP_GATHER);

	op->src = op->dst = SHERD_BUF_X;
	op->width = b->hp->hidden;
	add_norm(b, sherd_final_norm(b->hp), SHERD_OUT_NORM, SHERD_BUF_X, b->hp->hidden);
	if (b->hp->embd != b->hp->hidden) {
		add_matmul(b, SHERD_PROJ_OUT, NULL, b->hp->hidden, SHERD_BUF_OUT, 0);
		add_norm(b, SHERD_NORM_NONE, 0, SHERD_BUF_OUT, b->hp->embd);
	}
	add_logits(b);
}

const char *sherd_op_what(const struct sherd_op *op)
{
	switch (op->kind) {
	case SHERD_OP_CUT:
		return "the residual stream at a cut";
	case SHERD_OP_ROPE:
		return "a query, key or value";
	case SHERD_OP_ACT:
		return "the feed-forward activation";
	case SHERD_OP_ROUTE:
		return "a router's score";
	default:
		break;
	}
	switch (op->src) {
	case SHERD_BUF_ATT:
		return "attention's output";
	case SHERD_BUF_QKV:
		return "a query or key";
	case SHERD_BUF_OUT:
		return "what joins the residual stream";
	default:
		return "the residual stream";
	}
}

static void add_all(struct builder *b)
{
	const struct sherd_shard *s = b->shard;
	int l;

	for (l = 0; l <= b->hp->n_layers; l++)
		b->p->layer_op[l] = -1;
	b->layer = -1;
	if (s->first_layer == 0) {
		b->p->layer_op[0] = 0;
		add_embed(b);
	}
	for (l = s->first_layer; l < s->end_layer; l++) {
		if (l > 0)
			b->p->layer_op[l] = b->p->n_ops;
		b->layer = l;
		add_layer(b);
	}
	b->layer = -1;
	b->p->layer_op[s->end_layer] = b->p->n_ops;
	if (s->end_layer == b->hp->n_layers && !b->hp->arch->encoder)
		add_head(b);
}

int sherd_program_build(struct sherd_program **out, const struct sherd_shard *shard, int n_ctx,
			struct sherd_error *err)
{
	struct sherd_program *p = sherd_calloc(1, sizeof(*p));
	struct builder b = { .p = p, .shard = shard, .hp = &shard->hp, .err = err };

	*out = NULL;
	if (!p)
		return sherd_fail_oom(err, sizeof(*p), "the step list");
	p->shard = shard;
	p->n_ctx = n_ctx;
	b.q = b.hp->n_heads * b.hp->head_dim;
	b.kv = b.hp->n_kv_heads * b.hp->head_dim;
	b.cap = (shard->end_layer - shard->first_layer + 1) * MAX_LAYER_OPS;
	p->ops = sherd_calloc(b.cap, sizeof(*p->ops));
	p->layer_op = sherd_calloc(b.hp->n_layers + 1, sizeof(*p->layer_op));
	if (!p->ops || !p->layer_op) {
		sherd_program_free(p);
		return sherd_fail_oom(err, b.cap * sizeof(*p->ops), "the step list");
	}
	sherd_buf_widths(b.hp, p->width);
	add_all(&b);
	if (!b.rc)
		b.rc = sherd_rope_make(p, err);
	if (b.rc) {
		sherd_program_free(p);
		return b.rc;
	}
	*out = p;
	return 0;
}

void sherd_program_free(struct sherd_program *p)
{
	int i;

	if (!p)
		return;
	free(p->ops);
	free(p->layer_op);
	for (i = 0; i < SHERD_MAX_ROPES; i++)
		free(p->rope[i]);
	free(p);
}
