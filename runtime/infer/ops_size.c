/* SPDX-License-Identifier: MIT */
/*
 * ops_size: how wide each buffer of a model's steps is, and what an executor's memory comes to: the
 * planner asks for that before any model is opened.
 */
#include "infer/act.h"
#include "infer/ops.h"

static void set_expert_widths(const struct sherd_hparams *hp, int width[SHERD_N_BUFS])
{
	bool shared = hp->arch->shared_expert;

	width[SHERD_BUF_SCORES] = width[SHERD_BUF_P] = 0;
	width[SHERD_BUF_EXPERTS] = width[SHERD_BUF_SHARED] = 0;
	if (!hp->n_experts)
		return;
	width[SHERD_BUF_A] =
		MAX(MAX(hp->hidden, width[SHERD_BUF_ATT]), shared ? hp->ffn_shared : 0);
	width[SHERD_BUF_FFN] = 2 * MAX(hp->n_used * hp->ffn_expert, shared ? hp->ffn_shared : 0);
	width[SHERD_BUF_SCORES] = hp->n_experts + shared;
	width[SHERD_BUF_P] = MAX(hp->hidden, hp->ffn_expert);
	width[SHERD_BUF_EXPERTS] = hp->n_used * hp->hidden;
	width[SHERD_BUF_SHARED] = shared ? hp->hidden : 0;
}

void sherd_buf_widths(const struct sherd_hparams *hp, int width[SHERD_N_BUFS])
{
	int q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim;
	bool joins = hp->norm_at & SHERD_NORM_OUT || hp->residual_scale != 1;
	bool projected = hp->embd != hp->hidden;

	width[SHERD_BUF_X] = hp->hidden;
	width[SHERD_BUF_A] = MAX(MAX(MAX(hp->hidden, q), hp->ffn), hp->embd);
	width[SHERD_BUF_QKV] = q + 2 * kv;
	width[SHERD_BUF_ATT] = q;
	width[SHERD_BUF_FFN] = hp->arch->gated ? 2 * hp->ffn : hp->ffn;
	width[SHERD_BUF_LOGITS] = hp->n_vocab;
	set_expert_widths(hp, width);
	width[SHERD_BUF_OUT] = MAX(joins ? hp->hidden : 0, projected ? hp->embd : 0);
}

int sherd_program_ffn(const struct sherd_program *p)
{
	int widest = 0, i;

	for (i = 0; i < p->n_ops; i++)
		if (p->ops[i].kind == SHERD_OP_ACT)
			widest = MAX(widest, p->ops[i].width);
	return widest;
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
	if (head && s->end_layer == s->hp.n_layers && !s->hp.arch->encoder)
		sherd_forms_add(f, &head->fmt);
	for (slot = 0; slot < 2; slot++) {
		w = sherd_shard_matrix(s, slot ? SHERD_PROJ_OUT : SHERD_PROJ_IN, -1);
		if (w)
			sherd_forms_add(f, &w->fmt);
	}
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

	sherd_buf_widths(hp, width);
	for (i = 0; i < SHERD_N_BUFS; i++)
		if (i != SHERD_BUF_A && i != SHERD_BUF_P && i != SHERD_BUF_LOGITS)
			total += sizeof(float) * (uint64_t)n_batch * width[i];
	total += n_act * act_bytes(forms, n_batch, width[SHERD_BUF_A]);
	if (hp->n_experts)
		total += act_bytes(forms, n_batch * hp->n_used, width[SHERD_BUF_P]) +
			 sherd_route_bytes(hp, n_batch);
	return total + sherd_n_ropes(hp) * sherd_rope_bytes(hp, n_ctx);
}
