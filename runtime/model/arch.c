/* SPDX-License-Identifier: MIT */
/*
 * arch: the table of architectures, and the names that a model's tensors have in files. A row with
 * a reason in not_yet says what the step list (infer/ops.c) lacks for that family: when it has the
 * step, the reason goes and the row works.
 */
#include <stdio.h>
#include "model/arch.h"

#define RMS_SILU   .norm = SHERD_NORM_RMS, .act = SHERD_ACT_SILU, .gated = true
#define RMS_GELU   .norm = SHERD_NORM_RMS, .act = SHERD_ACT_GELU_TANH, .gated = true
#define LAYER_SILU .norm = SHERD_NORM_LAYER, .act = SHERD_ACT_SILU, .gated = true, .norm_bias = true
#define LAYER_GELU .norm = SHERD_NORM_LAYER, .act = SHERD_ACT_GELU_TANH, .norm_bias = true
#define ALL_BIASES .qkv_bias = true, .out_bias = true, .ffn_bias = true
#define PAIRS	   .position = SHERD_POS_ROPE_PAIRS
#define HALVES	   .position = SHERD_POS_ROPE_HALVES
#define LEARNED	   .position = SHERD_POS_LEARNED
#define FUSED	   .qkv_fused = true
#define PARALLEL   .parallel = true

/* clang-format off: a row a family */
static const struct sherd_arch archs[] = {
	{ .name = "llama", RMS_SILU, PAIRS }, /* Mistral, TinyLlama, SmolLM too */
	{ .name = "qwen2", RMS_SILU, HALVES, .qkv_bias = true },
	{ .name = "gpt2", LAYER_GELU, LEARNED, ALL_BIASES, FUSED },

	{ .name = "qwen3", RMS_SILU, HALVES, .not_yet = "it normalizes q and k of each head" },
	{ .name = "phi3",
	  RMS_SILU,
	  HALVES,
	  FUSED,
	  .not_yet = "its gate and up rows are one tensor, and its attention has a window" },
	{ .name = "gemma", RMS_GELU, HALVES, .not_yet = "it scales its embeddings" },
	{ .name = "gemma2",
	  RMS_GELU,
	  HALVES,
	  .not_yet = "it caps its scores and normalizes after attention" },
	{ .name = "gemma3",
	  RMS_GELU,
	  HALVES,
	  .not_yet = "it normalizes after attention, and its attention has windows" },
	{ .name = "phi2",
	  LAYER_GELU,
	  HALVES,
	  ALL_BIASES,
	  FUSED,
	  PARALLEL,
	  .not_yet = "attention and feed-forward side by side are not tested" },
	{ .name = "falcon",
	  LAYER_GELU,
	  HALVES,
	  FUSED,
	  PARALLEL,
	  .not_yet = "attention and feed-forward side by side are not tested" },
	{ .name = "gptneox",
	  LAYER_GELU,
	  HALVES,
	  ALL_BIASES,
	  FUSED,
	  PARALLEL,
	  .not_yet = "attention and feed-forward side by side with a norm each are not there" },
	{ .name = "starcoder2",
	  LAYER_GELU,
	  HALVES,
	  ALL_BIASES,
	  .not_yet = "no golden values were made for it" },
	{ .name = "stablelm", LAYER_SILU, HALVES, .not_yet = "no golden values were made for it" },
	{ .name = "granite", RMS_SILU, PAIRS, .not_yet = "it scales embeddings and residuals" },
	{ .name = "olmo2", RMS_SILU, HALVES, .not_yet = "it normalizes after attention" },
	{ .name = "bloom",
	  LAYER_GELU,
	  ALL_BIASES,
	  FUSED,
	  .not_yet = "its positions are slopes on the scores" },
};
/* clang-format on */

const struct sherd_arch *sherd_arch_find(const char *name, size_t len)
{
	struct gguf_str s = { name, len };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(archs); i++)
		if (gguf_str_eq(s, archs[i].name))
			return &archs[i];
	return NULL;
}

const char *sherd_arch_names(void)
{
	static _Thread_local char names[256];
	size_t i, n = 0;

	names[0] = '\0';
	for (i = 0; i < ARRAY_SIZE(archs) && n < sizeof(names); i++)
		if (!archs[i].not_yet)
			n += (size_t)snprintf(names + n, sizeof(names) - n, "%s%s", n ? ", " : "",
					      archs[i].name);
	return names;
}

static const struct {
	const char *name; /* in a layer: after "blk.<number>." */
	bool vector;
} slots[SHERD_N_SLOTS] = {
	[SHERD_TOKEN_EMBD] = { "token_embd.weight", false },
	[SHERD_POS_EMBD] = { "position_embd.weight", false },
	[SHERD_ROPE_FREQS] = { "rope_freqs.weight", true },
	[SHERD_OUT_NORM] = { "output_norm.weight", true },
	[SHERD_OUT_NORM_BIAS] = { "output_norm.bias", true },
	[SHERD_OUTPUT] = { "output.weight", false },
	[SHERD_ATTN_NORM] = { "attn_norm.weight", true },
	[SHERD_ATTN_NORM_BIAS] = { "attn_norm.bias", true },
	[SHERD_ATTN_QKV] = { "attn_qkv.weight", false },
	[SHERD_ATTN_Q] = { "attn_q.weight", false },
	[SHERD_ATTN_K] = { "attn_k.weight", false },
	[SHERD_ATTN_V] = { "attn_v.weight", false },
	[SHERD_ATTN_QKV_BIAS] = { "attn_qkv.bias", true },
	[SHERD_ATTN_OUT] = { "attn_output.weight", false },
	[SHERD_ATTN_OUT_BIAS] = { "attn_output.bias", true },
	[SHERD_FFN_NORM] = { "ffn_norm.weight", true },
	[SHERD_FFN_NORM_BIAS] = { "ffn_norm.bias", true },
	[SHERD_FFN_GATE_UP] = { "ffn_gate_up.weight", false },
	[SHERD_FFN_GATE] = { "ffn_gate.weight", false },
	[SHERD_FFN_UP] = { "ffn_up.weight", false },
	[SHERD_FFN_UP_BIAS] = { "ffn_up.bias", true },
	[SHERD_FFN_DOWN] = { "ffn_down.weight", false },
	[SHERD_FFN_DOWN_BIAS] = { "ffn_down.bias", true },
};

void sherd_slot_name(enum sherd_slot slot, int layer, char *buf, size_t size)
{
	if (slot < SHERD_FIRST_LAYER_SLOT)
		snprintf(buf, size, "%s", slots[slot].name);
	else
		snprintf(buf, size, "blk.%d.%s", layer, slots[slot].name);
}

bool sherd_slot_is_vector(enum sherd_slot slot)
{
	return slots[slot].vector;
}
