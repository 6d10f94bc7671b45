/* SPDX-License-Identifier: MIT */
/*
 * ops: writes a model's step list from its architecture's row. One layer reads like the paper:
 *
 *	A = norm(X); QKV = W A; rope; ATT = softmax(q k) v; A = ATT; X += W A
 *	A = norm(X); FFN = W A; A = act(gate) * up;                  X += W A
 *
 * What varies between families is which matrices are stacked, what has a bias, and whether the
 * second norm is there at all (parallel: both halves read the first).
 */
#include <math.h>
#include <stdlib.h>
#include "infer/act.h"
#include "infer/ops.h"

#define MAX_LAYER_OPS 16

struct builder {
	struct sherd_program *p;
	const struct sherd_shard *shard;
	const struct sherd_hparams *hp;
	int cap, layer;
	int q, kv; /* widths */
	int last_a; /* the op that wrote A last: it learns what the matmuls want */
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

/* A = norm of src; @slot: its weight, the bias is in the slot that follows. */
static void add_norm(struct builder *b, enum sherd_norm norm, enum sherd_slot slot,
		     enum sherd_buf src)
{
	struct sherd_op *op;

	b->last_a = b->p->n_ops;
	op = add(b, SHERD_OP_NORM);
	op->norm = norm;
	op->src = src;
	op->dst = SHERD_BUF_A;
	op->width = b->p->width[src];
	if (norm == SHERD_NORM_NONE)
		return;
	op->weight = vector(b, slot);
	op->bias = norm == SHERD_NORM_LAYER ? vector(b, slot + 1) : NULL;
	if (!op->weight)
		missing(b, slot);
	if (!op->bias && b->hp->arch->norm_bias)
		missing(b, slot + 1);
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
	if (w->fmt.cols != (uint32_t)width ||
	    w->fmt.rows > (uint32_t)(b->p->width[dst] - col)) {
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

static void add_attention(struct builder *b)
{
	const float *bias = vector(b, SHERD_ATTN_OUT_BIAS);
	struct sherd_op *op;

	op = add(b, SHERD_OP_ROPE);
	op->src = op->dst = SHERD_BUF_QKV;
	op->width = b->q + b->kv;
	op = add(b, SHERD_OP_ATTEND);
	op->src = SHERD_BUF_QKV;
	op->dst = SHERD_BUF_ATT;
	op->width = b->q;
	add_norm(b, SHERD_NORM_NONE, 0, SHERD_BUF_ATT);
	if (!bias && b->hp->arch->out_bias)
		missing(b, SHERD_ATTN_OUT_BIAS);
	add_matmul(b, SHERD_ATTN_OUT, bias, b->q, SHERD_BUF_X, 0);
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

static void add_ffn_down(struct builder *b)
{
	const float *bias = vector(b, SHERD_FFN_DOWN_BIAS);
	struct sherd_op *op;

	b->last_a = b->p->n_ops;
	op = add(b, SHERD_OP_ACT);
	op->src = SHERD_BUF_FFN;
	op->dst = SHERD_BUF_A;
	op->width = b->hp->ffn;
	if (!bias && b->hp->arch->ffn_bias)
		missing(b, SHERD_FFN_DOWN_BIAS);
	add_matmul(b, SHERD_FFN_DOWN, bias, b->hp->ffn, SHERD_BUF_X, 0);
}

static void add_layer(struct builder *b)
{
	const struct sherd_arch *arch = b->hp->arch;
	struct sherd_op *op;

	if (b->layer > 0) {
		op = add(b, SHERD_OP_CUT);
		op->src = op->dst = SHERD_BUF_X;
		op->width = b->hp->hidden;
	}
	add_norm(b, arch->norm, SHERD_ATTN_NORM, SHERD_BUF_X);
	add_qkv(b);
	if (arch->parallel)
		add_ffn_up(b);
	add_attention(b);
	if (!arch->parallel) {
		add_norm(b, arch->norm, SHERD_FFN_NORM, SHERD_BUF_X);
		add_ffn_up(b);
	}
	add_ffn_down(b);
}

static void add_embed(struct builder *b)
{
	struct sherd_op *op = add(b, SHERD_OP_EMBED);

	op->dst = SHERD_BUF_X;
	op->width = b->hp->hidden;
	op->table = matrix(b, SHERD_TOKEN_EMBD);
	if (!op->table)
		missing(b, SHERD_TOKEN_EMBD);
	if (b->hp->arch->position != SHERD_POS_LEARNED)
		return;
	op->positions = matrix(b, SHERD_POS_EMBD);
	if (!op->positions)
		missing(b, SHERD_POS_EMBD);
	else if (op->positions->fmt.rows < (uint32_t)b->p->n_ctx && !b->rc)
		b->rc = sherd_fail(
			b->err, -EINVAL,
			"a context of %d was asked for, but the model has learned only %u "
			"positions: ask for at most that",
			b->p->n_ctx, op->positions->fmt.rows);
}

static void add_head(struct builder *b)
{
	struct sherd_op *op = add(b, SHERD_OP_GATHER);
	bool tied = !matrix(b, SHERD_OUTPUT);

	op->src = op->dst = SHERD_BUF_X;
	op->width = b->hp->hidden;
	add_norm(b, b->hp->arch->norm, SHERD_OUT_NORM, SHERD_BUF_X);
	add_matmul(b, tied ? SHERD_TOKEN_EMBD : SHERD_OUTPUT, NULL, b->hp->hidden,
		   SHERD_BUF_LOGITS, 0);
}

static void set_widths(const struct sherd_hparams *hp, int width[SHERD_N_BUFS])
{
	int q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim;

	width[SHERD_BUF_X] = hp->hidden;
	width[SHERD_BUF_A] = MAX(MAX(hp->hidden, q), hp->ffn);
	width[SHERD_BUF_QKV] = q + 2 * kv;
	width[SHERD_BUF_ATT] = q;
	width[SHERD_BUF_FFN] = hp->arch->gated ? 2 * hp->ffn : hp->ffn;
	width[SHERD_BUF_LOGITS] = hp->n_vocab;
}

void sherd_forms_add(struct sherd_forms *f, const struct sherd_format *w)
{
	bool q8 = sherd_elem_is_int(w->elem);

	f->f32 |= !q8;
	f->q8 |= q8;
	f->halves |= q8 && w->group == 16;
}

void sherd_forms_of(struct sherd_forms *f, const struct sherd_shard *s)
{
	const struct sherd_tensor *head = sherd_shard_matrix(s, SHERD_OUTPUT, -1), *w;
	int layer, slot;

	if (!head)
		head = sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1);
	if (head && s->end_layer == s->hp.n_layers)
		sherd_forms_add(f, &head->fmt);
	for (layer = s->first_layer; layer < s->end_layer; layer++)
		for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++) {
			w = sherd_shard_matrix(s, slot, layer);
			if (w)
				sherd_forms_add(f, &w->fmt);
		}
}

/* A in all its forms, with the rows that a matmul may read beyond the last. */
static uint64_t act_bytes(const struct sherd_forms *f, int n_batch, int width)
{
	uint64_t rows = n_batch + SHERD_ACT_PAD;
	uint64_t groups = rows * DIV_ROUND_UP(width, SHERD_ACT_GROUP);

	return (f->f32 ? rows * width * sizeof(float) : 0) +
	       (f->q8 ? groups * (SHERD_ACT_GROUP + sizeof(struct sherd_act_group)) : 0) +
	       (f->halves ? groups * sizeof(struct sherd_act_half) : 0);
}

uint64_t sherd_scratch_bytes(const struct sherd_hparams *hp, const struct sherd_forms *forms,
			     int n_batch, int n_ctx)
{
	int width[SHERD_N_BUFS], n_act = hp->arch->gated && forms->q8 ? 2 : 1, i;
	uint64_t total = 0;

	set_widths(hp, width);
	for (i = 0; i < SHERD_N_BUFS; i++)
		if (i != SHERD_BUF_A && i != SHERD_BUF_LOGITS)
			total += sizeof(float) * (uint64_t)n_batch * width[i];
	total += n_act * act_bytes(forms, n_batch, width[SHERD_BUF_A]);
	return total + sherd_rope_bytes(hp, n_ctx);
}

size_t sherd_rope_bytes(const struct sherd_hparams *hp, int n_ctx)
{
	return hp->arch->position == SHERD_POS_LEARNED ? 0 : sizeof(float) * n_ctx * hp->rope_dim;
}

/* In double on the host and rounded once: a device's own sine never enters a result. */
void sherd_rope_table(const struct sherd_hparams *hp, const float *divisors, int n_ctx,
		      float *table)
{
	int half = hp->rope_dim / 2, pos, i;

	for (i = 0; i < half; i++) {
		double freq = pow(hp->rope_theta, -2.0 * i / hp->rope_dim);

		if (divisors)
			freq /= divisors[i];
		if (hp->rope_scaling == SHERD_ROPE_LINEAR)
			freq /= hp->rope_factor;
		for (pos = 0; pos < n_ctx; pos++) {
			float *at = table + ((size_t)pos * half + i) * 2;

			at[0] = (float)cos(pos * freq);
			at[1] = (float)sin(pos * freq);
		}
	}
}

static int make_rope(struct builder *b)
{
	const struct sherd_hparams *hp = b->hp;
	size_t size = sherd_rope_bytes(hp, b->p->n_ctx);

	if (!size)
		return 0;
	b->p->rope = sherd_calloc(1, size);
	if (!b->p->rope)
		return sherd_fail_oom(b->err, size, "the table of rotary angles");
	sherd_rope_table(hp, vector(b, SHERD_ROPE_FREQS), b->p->n_ctx, b->p->rope);
	return 0;
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
	if (s->end_layer == b->hp->n_layers)
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
	p->q_scale = (float)(1.0 / sqrt(b.hp->head_dim));
	b.q = b.hp->n_heads * b.hp->head_dim;
	b.kv = b.hp->n_kv_heads * b.hp->head_dim;
	b.cap = (shard->end_layer - shard->first_layer + 1) * MAX_LAYER_OPS;
	p->ops = sherd_calloc(b.cap, sizeof(*p->ops));
	p->layer_op = sherd_calloc(b.hp->n_layers + 1, sizeof(*p->layer_op));
	if (!p->ops || !p->layer_op) {
		sherd_program_free(p);
		return sherd_fail_oom(err, b.cap * sizeof(*p->ops), "the step list");
	}
	set_widths(b.hp, p->width);
	add_all(&b);
	if (!b.rc)
		b.rc = make_rope(&b);
	if (b.rc) {
		sherd_program_free(p);
		return b.rc;
	}
	*out = p;
	return 0;
}

void sherd_program_free(struct sherd_program *p)
{
	if (!p)
		return;
	free(p->ops);
	free(p->layer_op);
	free(p->rope);
	free(p);
}
