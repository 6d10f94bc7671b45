/* SPDX-License-Identifier: MIT */
/*
 * arch: the table of architectures, and the names that a model's tensors have in files. A row with
 * a reason in not_yet says what the step list (infer/ops.c) lacks for that family: when it has the
 * step, the reason goes and the row works.
 */
#include <stdio.h>
#include "model/arch.h"

#define PRE	   .norm_at = SHERD_NORM_IN
#define RMS	   .norm = SHERD_NORM_RMS
#define LAYER	   .norm = SHERD_NORM_LAYER, .norm_bias = true
#define SILU_GATED .act = SHERD_ACT_SILU, .gated = true
#define GELU_GATED .act = SHERD_ACT_GELU_TANH, .gated = true
#define GELU	   .act = SHERD_ACT_GELU_TANH
#define GELU_ERF   .act = SHERD_ACT_GELU_ERF
#define RELU	   .act = SHERD_ACT_RELU
#define ALL_BIASES .qkv_bias = true, .out_bias = true, .ffn_bias = true
#define PAIRS	   .position = SHERD_POS_ROPE_PAIRS
#define HALVES	   .position = SHERD_POS_ROPE_HALVES
#define LEARNED	   .position = SHERD_POS_LEARNED
#define FUSED	   .qkv_fused = true
#define PARALLEL   .parallel = true
#define RENORM	   .renormalize = true
#define MAY_ROUTE  .experts = SHERD_EXPERTS_MAY
#define ROUTES	   .experts = SHERD_EXPERTS_ALWAYS
#define QK_HEADS   .qk_norm = SHERD_QK_HEADS

/* clang-format off: a row a family */
static const struct sherd_arch archs[] = {
	/* Mistral, Mixtral, TinyLlama, SmolLM too */
	{ .name = "llama", PRE, RMS, PAIRS, SILU_GATED, MAY_ROUTE, RENORM },
	{ .name = "qwen2", PRE, RMS, HALVES, SILU_GATED, .qkv_bias = true },
	{ .name = "qwen3", PRE, RMS, HALVES, SILU_GATED, QK_HEADS },
	{ .name = "gpt2", PRE, LAYER, LEARNED, GELU, ALL_BIASES, FUSED },
	/* sherd's own name, as llama.cpp has none; opt-350m says opt.norm_after and has projections */
	{ .name = "opt", PRE, LAYER, LEARNED, RELU, ALL_BIASES, .unused_positions = 2 },
	{ .name = "gptj", PRE, LAYER, PAIRS, GELU, PARALLEL, .ffn_bias = true, .head_bias = true },
	{ .name = "phi3", PRE, RMS, HALVES, SILU_GATED, FUSED, .gate_up_fused = true },
	{ .name = "gemma", PRE, RMS, HALVES, GELU_GATED, .scaled_embd = true },
	{ .name = "gemma2", .norm_at = SHERD_NORM_IN | SHERD_NORM_OUT, RMS, HALVES, GELU_GATED,
	  .scaled_embd = true, .window = 4096, .window_period = 2, .wide_layers = 46 },
	{ .name = "gemma3", .norm_at = SHERD_NORM_IN | SHERD_NORM_OUT, RMS, HALVES, GELU_GATED,
	  QK_HEADS, .scaled_embd = true, .window_period = 6,
	  .other_rope = SHERD_ROPE_OWN_BASE, .wide_layers = 62 },
	{ .name = "phi2", PRE, LAYER, HALVES, GELU, ALL_BIASES, PARALLEL, .head_bias = true },
	{ .name = "falcon", PRE, LAYER, HALVES, GELU_ERF, FUSED, PARALLEL, .two_norms_may = true },
	{ .name = "gptneox", PRE, LAYER, HALVES, GELU_ERF, ALL_BIASES, FUSED, PARALLEL,
	  .two_norms = true }, /* Pythia */
	{ .name = "starcoder2", PRE, LAYER, HALVES, GELU, ALL_BIASES },
	{ .name = "stablelm", PRE, LAYER, HALVES, SILU_GATED, .qk_norm = SHERD_QK_EACH,
	  .qk_norm_may = true },
	{ .name = "granite", PRE, RMS, PAIRS, SILU_GATED },
	{ .name = "smollm3", PRE, RMS, PAIRS, SILU_GATED, .other_rope = SHERD_ROPE_SKIPPED },
	{ .name = "exaone", PRE, RMS, HALVES, SILU_GATED }, /* 3 and 3.5 */
	{ .name = "exaone4", .norm_at = SHERD_NORM_OUT, RMS, HALVES, SILU_GATED, QK_HEADS,
	  .window_period = 4, .other_rope = SHERD_ROPE_WINDOWS },
	{ .name = "olmo2", .norm_at = SHERD_NORM_OUT, RMS, HALVES, SILU_GATED, /* OLMo 3 too */
	  .qk_norm = SHERD_QK_ROW, .window_period = 4, .other_rope = SHERD_ROPE_UNSCALED },
	/* DistilBERT, MiniLM and BGE too */
	{ .name = "bert", .norm_at = SHERD_NORM_SUM, LAYER, LEARNED, GELU_ERF, ALL_BIASES,
	  .encoder = true, .embd_norm = true },
	{ .name = "qwen2moe", PRE, RMS, HALVES, SILU_GATED, ROUTES, .qkv_bias = true,
	  .shared_expert = true },
	{ .name = "qwen3moe", PRE, RMS, HALVES, SILU_GATED, QK_HEADS, ROUTES, RENORM },

	{ .name = "bloom", PRE, LAYER, GELU, ALL_BIASES, FUSED,
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
	static _Thread_local char names[512];
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
	[SHERD_TOKEN_TYPES] = { "token_types.weight", true },
	[SHERD_EMBD_NORM] = { "token_embd_norm.weight", true },
	[SHERD_EMBD_NORM_BIAS] = { "token_embd_norm.bias", true },
	[SHERD_PROJ_IN] = { "project_in.weight", false },
	[SHERD_ROPE_FREQS] = { "rope_freqs.weight", true },
	[SHERD_ROPE_SHORT] = { "rope_factors_short.weight", true },
	[SHERD_ROPE_LONG_FREQS] = { "rope_factors_long.weight", true },
	[SHERD_OUT_NORM] = { "output_norm.weight", true },
	[SHERD_OUT_NORM_BIAS] = { "output_norm.bias", true },
	[SHERD_PROJ_OUT] = { "project_out.weight", false },
	[SHERD_OUTPUT] = { "output.weight", false },
	[SHERD_OUTPUT_BIAS] = { "output.bias", true },
	[SHERD_ATTN_NORM] = { "attn_norm.weight", true },
	[SHERD_ATTN_NORM_BIAS] = { "attn_norm.bias", true },
	[SHERD_ATTN_QKV] = { "attn_qkv.weight", false },
	[SHERD_ATTN_Q] = { "attn_q.weight", false },
	[SHERD_ATTN_K] = { "attn_k.weight", false },
	[SHERD_ATTN_V] = { "attn_v.weight", false },
	[SHERD_ATTN_QKV_BIAS] = { "attn_qkv.bias", true },
	[SHERD_ATTN_Q_NORM] = { "attn_q_norm.weight", true },
	[SHERD_ATTN_K_NORM] = { "attn_k_norm.weight", true },
	[SHERD_ATTN_OUT] = { "attn_output.weight", false },
	[SHERD_ATTN_OUT_BIAS] = { "attn_output.bias", true },
	[SHERD_ATTN_POST_NORM] = { "post_attention_norm.weight", true },
	[SHERD_ATTN_SUM_NORM] = { "attn_output_norm.weight", true },
	[SHERD_ATTN_SUM_NORM_BIAS] = { "attn_output_norm.bias", true },
	[SHERD_FFN_NORM] = { "ffn_norm.weight", true },
	[SHERD_FFN_NORM_BIAS] = { "ffn_norm.bias", true },
	[SHERD_FFN_GATE_UP] = { "ffn_gate_up.weight", false },
	[SHERD_FFN_GATE] = { "ffn_gate.weight", false },
	[SHERD_FFN_UP] = { "ffn_up.weight", false },
	[SHERD_FFN_UP_BIAS] = { "ffn_up.bias", true },
	[SHERD_FFN_DOWN] = { "ffn_down.weight", false },
	[SHERD_FFN_DOWN_BIAS] = { "ffn_down.bias", true },
	[SHERD_FFN_POST_NORM] = { "post_ffw_norm.weight", true },
	[SHERD_FFN_SUM_NORM] = { "layer_output_norm.weight", true },
	[SHERD_FFN_SUM_NORM_BIAS] = { "layer_output_norm.bias", true },
	[SHERD_ROUTER] = { "ffn_gate_inp.weight", false },
	[SHERD_EXPERTS_GATE_UP] = { "ffn_gate_up_exps.weight", false },
	[SHERD_EXPERTS_GATE] = { "ffn_gate_exps.weight", false },
	[SHERD_EXPERTS_UP] = { "ffn_up_exps.weight", false },
	[SHERD_EXPERTS_DOWN] = { "ffn_down_exps.weight", false },
	[SHERD_SHARED_SCORE] = { "ffn_gate_inp_shexp.weight", false },
	[SHERD_SHARED_GATE_UP] = { "ffn_gate_up_shexp.weight", false },
	[SHERD_SHARED_GATE] = { "ffn_gate_shexp.weight", false },
	[SHERD_SHARED_UP] = { "ffn_up_shexp.weight", false },
	[SHERD_SHARED_DOWN] = { "ffn_down_shexp.weight", false },
};

const struct sherd_stack sherd_stacks[SHERD_N_STACKS] = {
	{ SHERD_ATTN_QKV, SHERD_ATTN_Q, SHERD_ATTN_V },
	{ SHERD_FFN_GATE_UP, SHERD_FFN_GATE, SHERD_FFN_UP },
	{ SHERD_EXPERTS_GATE_UP, SHERD_EXPERTS_GATE, SHERD_EXPERTS_UP },
	{ SHERD_SHARED_GATE_UP, SHERD_SHARED_GATE, SHERD_SHARED_UP },
};

const char *sherd_slot_base(enum sherd_slot slot)
{
	return slots[slot].name;
}

const char *sherd_slot_file_name(const struct sherd_hparams *hp, enum sherd_slot slot)
{
	bool second = hp->arch->two_norms_may && hp->two_norms;

	if (second && slot == SHERD_ATTN_NORM)
		return "attn_norm_2.weight";
	if (second && slot == SHERD_ATTN_NORM_BIAS)
		return "attn_norm_2.bias";
	if (second && slot == SHERD_FFN_NORM)
		return slots[SHERD_ATTN_NORM].name;
	if (second && slot == SHERD_FFN_NORM_BIAS)
		return slots[SHERD_ATTN_NORM_BIAS].name;
	return slots[slot].name;
}

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
