/* SPDX-License-Identifier: MIT */
/*
 * slot: which matrices and vectors a range of layers has, and how large they are. The packer asks
 * before it writes and the shard loader before it trusts, so both read the architecture's row here.
 */
#include "model/shard.h"

static enum sherd_slot_need needed_if(bool needed)
{
	return needed ? SHERD_SLOT_REQUIRED : SHERD_SLOT_NEVER;
}

/* Biases: the row says which a family always has; others are used where a file brings them. */
static enum sherd_slot_need bias_need(bool known, bool needed)
{
	if (!known)
		return SHERD_SLOT_NEVER;
	return needed ? SHERD_SLOT_REQUIRED : SHERD_SLOT_OPTIONAL;
}

static enum sherd_slot_need global_need(const struct sherd_hparams *hp, enum sherd_slot slot,
					bool head, bool last)
{
	const struct sherd_arch *a = hp->arch;

	switch (slot) {
	case SHERD_TOKEN_TYPES:
		return bias_need(head && a->encoder, false);
	case SHERD_EMBD_NORM:
		return needed_if(head && a->embd_norm);
	case SHERD_EMBD_NORM_BIAS:
		return bias_need(head && a->embd_norm && a->norm == SHERD_NORM_LAYER, a->norm_bias);
	case SHERD_TOKEN_EMBD:
		last = last && !a->encoder;
		/* the last stage reads it where the output projection is tied to it */
		return head ? SHERD_SLOT_REQUIRED : last ? SHERD_SLOT_OPTIONAL : SHERD_SLOT_NEVER;
	case SHERD_POS_EMBD:
		return needed_if(head && a->position == SHERD_POS_LEARNED);
	case SHERD_PROJ_IN:
		return needed_if(head && hp->embd != hp->hidden);
	case SHERD_PROJ_OUT:
		return needed_if(last && hp->embd != hp->hidden);
	case SHERD_ROPE_FREQS:
		return bias_need(a->position != SHERD_POS_LEARNED, false);
	case SHERD_ROPE_SHORT:
	case SHERD_ROPE_LONG_FREQS:
		return needed_if(hp->rope_scaling == SHERD_ROPE_LONG);
	case SHERD_OUT_NORM:
		return needed_if(last && sherd_final_norm(hp) != SHERD_NORM_NONE);
	case SHERD_OUT_NORM_BIAS:
		return bias_need(last && sherd_final_norm(hp) == SHERD_NORM_LAYER, a->norm_bias);
	case SHERD_OUTPUT_BIAS:
		return bias_need(last && !a->encoder, a->head_bias);
	default: /* SHERD_OUTPUT */
		return last && !a->encoder ? SHERD_SLOT_OPTIONAL : SHERD_SLOT_NEVER;
	}
}

static enum sherd_slot_need norm_need(const struct sherd_hparams *hp, int at, bool there)
{
	return needed_if(there && sherd_norm_at(hp, at) != SHERD_NORM_NONE);
}

static enum sherd_slot_need norm_bias_need(const struct sherd_hparams *hp, int at, bool there)
{
	return bias_need(there && sherd_norm_at(hp, at) == SHERD_NORM_LAYER, hp->arch->norm_bias);
}

/* What a layer's one network has, or its experts. */
static enum sherd_slot_need ffn_need(const struct sherd_hparams *hp, enum sherd_slot slot)
{
	const struct sherd_arch *a = hp->arch;
	bool one = !hp->n_experts, shared = !one && a->shared_expert;

	switch (slot) {
	case SHERD_FFN_GATE_UP:
	case SHERD_FFN_GATE:
		return one && a->gated ? SHERD_SLOT_OPTIONAL : SHERD_SLOT_NEVER;
	case SHERD_FFN_UP:
		return !one	? SHERD_SLOT_NEVER :
		       a->gated ? SHERD_SLOT_OPTIONAL :
				  SHERD_SLOT_REQUIRED;
	case SHERD_FFN_UP_BIAS:
		return bias_need(one && !a->gated, a->ffn_bias);
	case SHERD_FFN_DOWN_BIAS:
		return bias_need(one, a->ffn_bias);
	case SHERD_FFN_DOWN:
		return needed_if(one);
	case SHERD_ROUTER:
	case SHERD_EXPERTS_DOWN:
		return needed_if(!one);
	case SHERD_EXPERTS_GATE_UP:
	case SHERD_EXPERTS_GATE:
	case SHERD_EXPERTS_UP:
		return one ? SHERD_SLOT_NEVER : SHERD_SLOT_OPTIONAL;
	case SHERD_SHARED_SCORE:
	case SHERD_SHARED_DOWN:
		return needed_if(shared);
	default: /* SHARED_GATE_UP and its parts */
		return shared ? SHERD_SLOT_OPTIONAL : SHERD_SLOT_NEVER;
	}
}

/* Of a stack (sherd_stacks) and its parts, a layer has one or the other. */
enum sherd_slot_need sherd_slot_need(const struct sherd_hparams *hp, enum sherd_slot slot,
				     int first_layer, int end_layer)
{
	const struct sherd_arch *a = hp->arch;
	bool second = !hp->parallel || hp->two_norms;

	if (slot < SHERD_FIRST_LAYER_SLOT)
		return global_need(hp, slot, first_layer == 0, end_layer == hp->n_layers);
	switch (slot) {
	case SHERD_ATTN_NORM:
		return norm_need(hp, SHERD_NORM_IN, true);
	case SHERD_ATTN_NORM_BIAS:
		return norm_bias_need(hp, SHERD_NORM_IN, true);
	case SHERD_FFN_NORM:
		return norm_need(hp, SHERD_NORM_IN, second);
	case SHERD_FFN_NORM_BIAS:
		return norm_bias_need(hp, SHERD_NORM_IN, second);
	case SHERD_ATTN_POST_NORM:
	case SHERD_FFN_POST_NORM:
		return norm_need(hp, SHERD_NORM_OUT, true);
	case SHERD_ATTN_SUM_NORM:
	case SHERD_FFN_SUM_NORM:
		return norm_need(hp, SHERD_NORM_SUM, true);
	case SHERD_ATTN_SUM_NORM_BIAS:
	case SHERD_FFN_SUM_NORM_BIAS:
		return norm_bias_need(hp, SHERD_NORM_SUM, true);
	case SHERD_ATTN_Q_NORM:
	case SHERD_ATTN_K_NORM:
		return needed_if(hp->qk_norm != SHERD_QK_NONE);
	case SHERD_ATTN_QKV_BIAS:
		return bias_need(true, a->qkv_bias);
	case SHERD_ATTN_OUT_BIAS:
		return bias_need(true, a->out_bias);
	case SHERD_ATTN_QKV:
	case SHERD_ATTN_Q:
	case SHERD_ATTN_K:
	case SHERD_ATTN_V:
		return SHERD_SLOT_OPTIONAL;
	case SHERD_ATTN_OUT:
		return SHERD_SLOT_REQUIRED;
	default:
		return ffn_need(hp, slot);
	}
}

uint32_t sherd_slot_expert_rows(const struct sherd_hparams *hp, enum sherd_slot slot)
{
	if (slot == SHERD_EXPERTS_DOWN)
		return hp->hidden;
	return (slot == SHERD_EXPERTS_GATE_UP ? 2 : 1) * hp->ffn_expert;
}

static void expert_shape(const struct sherd_hparams *hp, enum sherd_slot slot, uint32_t *rows,
			 uint32_t *cols)
{
	*cols = hp->hidden;
	switch (slot) {
	case SHERD_ROUTER:
		*rows = hp->n_experts;
		break;
	case SHERD_SHARED_SCORE:
		*rows = 1;
		break;
	case SHERD_SHARED_GATE_UP:
		*rows = 2 * hp->ffn_shared;
		break;
	case SHERD_SHARED_GATE:
	case SHERD_SHARED_UP:
		*rows = hp->ffn_shared;
		break;
	case SHERD_SHARED_DOWN:
		*rows = hp->hidden;
		*cols = hp->ffn_shared;
		break;
	default: /* stacks */
		*rows = sherd_stack_rows(hp->n_experts, sherd_slot_expert_rows(hp, slot));
		*cols = slot == SHERD_EXPERTS_DOWN ? hp->ffn_expert : hp->hidden;
		break;
	}
}

static void matrix_shape(const struct sherd_hparams *hp, enum sherd_slot slot, uint32_t *rows,
			 uint32_t *cols)
{
	uint32_t q = hp->n_heads * hp->head_dim, kv = hp->n_kv_heads * hp->head_dim;

	*cols = hp->hidden;
	*rows = hp->hidden;
	switch (slot) {
	case SHERD_TOKEN_EMBD:
	case SHERD_OUTPUT:
		*rows = hp->n_vocab;
		*cols = hp->embd;
		break;
	case SHERD_PROJ_IN:
		*cols = hp->embd;
		break;
	case SHERD_PROJ_OUT:
		*rows = hp->embd;
		break;
	case SHERD_POS_EMBD:
		*rows = hp->n_ctx_train;
		break;
	case SHERD_ATTN_QKV:
		*rows = q + 2 * kv;
		break;
	case SHERD_ATTN_Q:
		*rows = q;
		break;
	case SHERD_ATTN_K:
	case SHERD_ATTN_V:
		*rows = kv;
		break;
	case SHERD_ATTN_OUT:
		*cols = q;
		break;
	case SHERD_FFN_GATE_UP:
		*rows = 2 * hp->ffn;
		break;
	case SHERD_FFN_GATE:
	case SHERD_FFN_UP:
		*rows = hp->ffn;
		break;
	default: /* FFN_DOWN */
		*cols = hp->ffn;
		break;
	}
}

void sherd_slot_shape(const struct sherd_hparams *hp, enum sherd_slot slot, uint32_t *rows,
		      uint32_t *cols)
{
	bool by_head = hp->qk_norm == SHERD_QK_HEADS;

	if (slot >= SHERD_ROUTER) {
		expert_shape(hp, slot, rows, cols);
		return;
	}
	if (!sherd_slot_is_vector(slot)) {
		matrix_shape(hp, slot, rows, cols);
		return;
	}
	*rows = 1;
	switch (slot) {
	case SHERD_ROPE_FREQS:
	case SHERD_ROPE_SHORT:
	case SHERD_ROPE_LONG_FREQS:
		*cols = hp->rope_dim / 2;
		break;
	case SHERD_OUTPUT_BIAS:
		*cols = hp->n_vocab;
		break;
	case SHERD_ATTN_Q_NORM:
		*cols = (by_head ? 1 : hp->n_heads) * hp->head_dim;
		break;
	case SHERD_ATTN_K_NORM:
		*cols = (by_head ? 1 : hp->n_kv_heads) * hp->head_dim;
		break;
	case SHERD_ATTN_QKV_BIAS:
		*cols = (hp->n_heads + 2 * hp->n_kv_heads) * hp->head_dim;
		break;
	case SHERD_FFN_UP_BIAS:
		*cols = hp->ffn;
		break;
	default: /* norms, and biases of what is added to the residual stream */
		*cols = hp->hidden;
		break;
	}
}
