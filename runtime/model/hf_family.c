/* SPDX-License-Identifier: MIT */
/*
 * hf_family: the table of families that Hugging Face folders hold: which of GGUF's names each tensor
 * gets, and where in config.json its numbers are. How a layer is computed is the architecture's row
 * (arch.c); to read a further family, add a row here.
 */
#include "model/hf.h"

#include <math.h>
#include <stdio.h>

/* clang-format off: a row a tensor */

static const struct hf_name llama_names[] = {
	{ "embed_tokens", "token_embd", 0 },
	{ "norm", "output_norm", 0 },
	{ "lm_head", "output", 0 },
	{ "layers.*.input_layernorm", "attn_norm", 0 },
	{ "layers.*.self_attn.q_proj", "attn_q", 0 },
	{ "layers.*.self_attn.k_proj", "attn_k", 0 },
	{ "layers.*.self_attn.v_proj", "attn_v", 0 },
	{ "layers.*.self_attn.o_proj", "attn_output", 0 },
	{ "layers.*.self_attn.q_norm", "attn_q_norm", 0 },
	{ "layers.*.self_attn.k_norm", "attn_k_norm", 0 },
	{ "layers.*.self_attn.rotary_emb.inv_freq", NULL, HF_IGNORED },
	{ "layers.*.post_attention_layernorm", "ffn_norm", 0 },
	{ "layers.*.mlp.gate_proj", "ffn_gate", 0 },
	{ "layers.*.mlp.up_proj", "ffn_up", 0 },
	{ "layers.*.mlp.down_proj", "ffn_down", 0 },
	{ "vision_tower.", NULL, HF_IGNORED }, /* the eyes of some */
	{ "multi_modal_projector.", NULL, HF_IGNORED },
	{ 0 },
};

static const struct hf_name rotated_names[] = {
	{ "layers.*.self_attn.q_proj", "attn_q", HF_ROTATED_Q },
	{ "layers.*.self_attn.k_proj", "attn_k", HF_ROTATED_K },
	{ 0 },
};

static const struct hf_name gpt2_names[] = {
	{ "wte", "token_embd", 0 },
	{ "wpe", "position_embd", 0 },
	{ "ln_f", "output_norm", 0 },
	{ "lm_head", "output", 0 },
	{ "h.*.ln_1", "attn_norm", 0 },
	{ "h.*.attn.c_attn", "attn_qkv", HF_TRANSPOSED },
	{ "h.*.attn.c_proj", "attn_output", HF_TRANSPOSED },
	{ "h.*.attn", NULL, HF_IGNORED }, /* "bias" is the causal mask */
	{ "h.*.attn.masked_bias", NULL, HF_IGNORED },
	{ "h.*.ln_2", "ffn_norm", 0 },
	{ "h.*.mlp.c_fc", "ffn_up", HF_TRANSPOSED },
	{ "h.*.mlp.c_proj", "ffn_down", HF_TRANSPOSED },
	{ 0 },
};

/* post-norms: what Llama calls so stands before the feed-forward block, here it follows attention */
static const struct hf_name post_norm_names[] = {
	{ "layers.*.post_attention_layernorm", "post_attention_norm", 0 },
	{ "layers.*.pre_feedforward_layernorm", "ffn_norm", 0 },
	{ "layers.*.post_feedforward_layernorm", "post_ffw_norm", 0 },
	{ 0 },
};

static const struct hf_name phi3_names[] = {
	{ "layers.*.self_attn.qkv_proj", "attn_qkv", 0 },
	{ "layers.*.mlp.gate_up_proj", "ffn_up", 0 }, /* the gate's rows first */
	{ 0 },
};

static const struct hf_name phi2_names[] = {
	{ "final_layernorm", "output_norm", 0 },
	{ "layers.*.self_attn.dense", "attn_output", 0 },
	{ "layers.*.mlp.fc1", "ffn_up", 0 },
	{ "layers.*.mlp.fc2", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name gptneox_names[] = {
	{ "embed_in", "token_embd", 0 },
	{ "embed_out", "output", 0 },
	{ "final_layer_norm", "output_norm", 0 },
	{ "layers.*.input_layernorm", "attn_norm", 0 },
	{ "layers.*.attention.query_key_value", "attn_qkv", HF_GROUPED },
	{ "layers.*.attention.dense", "attn_output", 0 },
	{ "layers.*.attention", NULL, HF_IGNORED }, /* "bias" is the causal mask */
	{ "layers.*.attention.masked_bias", NULL, HF_IGNORED },
	{ "layers.*.attention.rotary_emb.inv_freq", NULL, HF_IGNORED },
	{ "layers.*.post_attention_layernorm", "ffn_norm", 0 },
	{ "layers.*.mlp.dense_h_to_4h", "ffn_up", 0 },
	{ "layers.*.mlp.dense_4h_to_h", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name falcon_names[] = {
	{ "word_embeddings", "token_embd", 0 },
	{ "ln_f", "output_norm", 0 },
	{ "lm_head", "output", 0 },
	{ "h.*.input_layernorm", "attn_norm", 0 },
	{ "h.*.ln_mlp", "attn_norm", 0 }, /* GGUF's names for the two of Falcon 40B */
	{ "h.*.ln_attn", "attn_norm_2", 0 },
	{ "h.*.self_attention.query_key_value", "attn_qkv", HF_GROUPED },
	{ "h.*.self_attention.dense", "attn_output", 0 },
	{ "h.*.self_attention.rotary_emb.inv_freq", NULL, HF_IGNORED },
	{ "h.*.mlp.dense_h_to_4h", "ffn_up", 0 },
	{ "h.*.mlp.dense_4h_to_h", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name exaone_names[] = { /* the rest as GPT-2 */
	{ "h.*.attn.attention.q_proj", "attn_q", 0 },
	{ "h.*.attn.attention.k_proj", "attn_k", 0 },
	{ "h.*.attn.attention.v_proj", "attn_v", 0 },
	{ "h.*.attn.attention.out_proj", "attn_output", 0 },
	{ "h.*.mlp.c_fc_0", "ffn_gate", 0 },
	{ "h.*.mlp.c_fc_1", "ffn_up", 0 },
	{ "h.*.mlp.c_proj", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name stablelm_names[] = {
	{ "layers.*.self_attn.q_layernorm.norms.*", "attn_q_norm", HF_HEAD_OF_Q },
	{ "layers.*.self_attn.k_layernorm.norms.*", "attn_k_norm", HF_HEAD_OF_K },
	{ 0 },
};

static const struct hf_name starcoder2_names[] = {
	{ "layers.*.mlp.c_fc", "ffn_up", 0 },
	{ "layers.*.mlp.c_proj", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name gptj_names[] = {
	{ "h.*.attn.q_proj", "attn_q", 0 },
	{ "h.*.attn.k_proj", "attn_k", 0 },
	{ "h.*.attn.v_proj", "attn_v", 0 },
	{ "h.*.attn.out_proj", "attn_output", 0 },
	{ "h.*.mlp.fc_in", "ffn_up", 0 },
	{ "h.*.mlp.fc_out", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name opt_names[] = {
	{ "embed_tokens", "token_embd", 0 },
	{ "embed_positions", "position_embd", 0 },
	{ "project_in", "project_in", 0 },
	{ "project_out", "project_out", 0 },
	{ "final_layer_norm", "output_norm", 0 },
	{ "lm_head", "output", 0 },
	{ "layers.*.self_attn_layer_norm", "attn_norm", 0 },
	{ "layers.*.self_attn.q_proj", "attn_q", 0 },
	{ "layers.*.self_attn.k_proj", "attn_k", 0 },
	{ "layers.*.self_attn.v_proj", "attn_v", 0 },
	{ "layers.*.self_attn.out_proj", "attn_output", 0 },
	{ "layers.*.final_layer_norm", "ffn_norm", 0 },
	{ "layers.*.fc1", "ffn_up", 0 },
	{ "layers.*.fc2", "ffn_down", 0 },
	{ 0 },
};

static const struct hf_name opt_after_names[] = { /* opt-350m normalizes sums */
	{ "layers.*.self_attn_layer_norm", "attn_output_norm", 0 },
	{ "layers.*.final_layer_norm", "layer_output_norm", 0 },
	{ 0 },
};

static const struct hf_name mixtral_names[] = {
	{ "layers.*.block_sparse_moe.gate", "ffn_gate_inp", 0 },
	{ "layers.*.block_sparse_moe.experts.*.w1", "ffn_gate_exps", HF_EXPERT },
	{ "layers.*.block_sparse_moe.experts.*.w3", "ffn_up_exps", HF_EXPERT },
	{ "layers.*.block_sparse_moe.experts.*.w2", "ffn_down_exps", HF_EXPERT },
	{ 0 },
};

static const struct hf_name qwen_moe_names[] = {
	{ "layers.*.mlp.gate", "ffn_gate_inp", 0 },
	{ "layers.*.mlp.experts.*.gate_proj", "ffn_gate_exps", HF_EXPERT },
	{ "layers.*.mlp.experts.*.up_proj", "ffn_up_exps", HF_EXPERT },
	{ "layers.*.mlp.experts.*.down_proj", "ffn_down_exps", HF_EXPERT },
	{ "layers.*.mlp.shared_expert_gate", "ffn_gate_inp_shexp", 0 },
	{ "layers.*.mlp.shared_expert.gate_proj", "ffn_gate_shexp", 0 },
	{ "layers.*.mlp.shared_expert.up_proj", "ffn_up_shexp", 0 },
	{ "layers.*.mlp.shared_expert.down_proj", "ffn_down_shexp", 0 },
	{ 0 },
};

static const struct hf_name bert_names[] = {
	{ "embeddings.word_embeddings", "token_embd", 0 },
	{ "embeddings.position_embeddings", "position_embd", 0 },
	{ "embeddings.token_type_embeddings", "token_types", 0 },
	{ "embeddings.LayerNorm", "token_embd_norm", 0 },
	{ "embeddings.position_ids", NULL, HF_IGNORED },
	{ "encoder.layer.*.attention.self.query", "attn_q", 0 },
	{ "encoder.layer.*.attention.self.key", "attn_k", 0 },
	{ "encoder.layer.*.attention.self.value", "attn_v", 0 },
	{ "encoder.layer.*.attention.output.dense", "attn_output", 0 },
	{ "encoder.layer.*.attention.output.LayerNorm", "attn_output_norm", 0 },
	{ "encoder.layer.*.intermediate.dense", "ffn_up", 0 },
	{ "encoder.layer.*.output.dense", "ffn_down", 0 },
	{ "encoder.layer.*.output.LayerNorm", "layer_output_norm", 0 },
	{ "pooler.", NULL, HF_IGNORED }, /* what guesses words and sentences is not for vectors */
	{ "cls.", NULL, HF_IGNORED },
	{ 0 },
};

static const struct hf_name distilbert_names[] = {
	{ "layer.*.attention.q_lin", "attn_q", 0 },
	{ "layer.*.attention.k_lin", "attn_k", 0 },
	{ "layer.*.attention.v_lin", "attn_v", 0 },
	{ "layer.*.attention.out_lin", "attn_output", 0 },
	{ "layer.*.sa_layer_norm", "attn_output_norm", 0 },
	{ "layer.*.ffn.lin1", "ffn_up", 0 },
	{ "layer.*.ffn.lin2", "ffn_down", 0 },
	{ "layer.*.output_layer_norm", "layer_output_norm", 0 },
	{ "vocab_transform.", NULL, HF_IGNORED },
	{ "vocab_layer_norm.", NULL, HF_IGNORED },
	{ "vocab_projector.", NULL, HF_IGNORED },
	{ 0 },
};

/* What most have; what a family has beside it, or means by its absence, comes first. */
static const struct hf_key common_keys[] = {
	{ "num_hidden_layers", "block_count", HF_INT, true, NAN },
	{ "max_position_embeddings", "context_length", HF_INT, false, 2048 },
	{ "hidden_size", "embedding_length", HF_INT, true, NAN },
	{ "intermediate_size", "feed_forward_length", HF_INT, true, NAN },
	{ "num_attention_heads", "attention.head_count", HF_INT, true, NAN },
	{ "num_key_value_heads", "attention.head_count_kv", HF_INT, false, NAN },
	{ "head_dim", "attention.key_length", HF_INT, false, NAN },
	{ "head_dim", "attention.value_length", HF_INT, false, NAN },
	{ "rope_theta", "rope.freq_base", HF_FLOAT, false, 10000 },
	{ "partial_rotary_factor", "rope.dimension_count", HF_SHARE, false, NAN },
	{ "vocab_size", "vocab_size", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_key rms_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ 0 },
};

static const struct hf_key phi2_keys[] = {
	{ "partial_rotary_factor", "rope.dimension_count", HF_SHARE, false, 0.5 },
	{ "layer_norm_eps", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ 0 },
};

static const struct hf_key stablelm_keys[] = {
	{ "partial_rotary_factor", "rope.dimension_count", HF_SHARE, false, 0.25 },
	{ "layer_norm_eps", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "use_parallel_residual", "use_parallel_residual", HF_BOOL, false, 0 },
	{ 0 },
};

static const struct hf_key gptneox_keys[] = {
	{ "rotary_pct", "rope.dimension_count", HF_SHARE, false, 0.25 },
	{ "rotary_emb_base", "rope.freq_base", HF_FLOAT, false, 10000 },
	{ "layer_norm_eps", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "use_parallel_residual", "use_parallel_residual", HF_BOOL, false, 1 },
	{ 0 },
};

static const struct hf_key falcon_keys[] = {
	{ "ffn_hidden_size", "feed_forward_length", HF_INT, false, NAN }, /* 4 hidden (hf_config.c) */
	{ "layer_norm_epsilon", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "num_kv_heads", "attention.head_count_kv", HF_INT, false, NAN },
	{ 0 },
};

/* Falcon 7B and its like: whatever num_kv_heads is. */
static const struct hf_key multi_query_keys[] = {
	{ "", "attention.head_count_kv", HF_INT, false, 1 },
	{ 0 },
};

static const struct hf_key all_heads_keys[] = {
	{ "num_attention_heads", "attention.head_count_kv", HF_INT, true, NAN },
	{ 0 },
};

static const struct hf_key smollm3_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ "rope_theta", "rope.freq_base", HF_FLOAT, false, 2000000 },
	{ 0 },
};

static const struct hf_key exaone_keys[] = {
	{ "num_layers", "block_count", HF_INT, true, NAN },
	{ "layer_norm_epsilon", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-5 },
	{ 0 },
};

static const struct hf_key rms_1e5_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-5 },
	{ 0 },
};

static const struct hf_key starcoder2_keys[] = {
	{ "norm_epsilon", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ 0 },
};

static const struct hf_key phi3_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-5 },
	{ "original_max_position_embeddings", "rope.scaling.original_context_length", HF_INT,
	  false, NAN },
	{ 0 },
};

static const struct hf_key granite_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ "attention_multiplier", "attention.scale", HF_FLOAT, false, 1 },
	{ "embedding_multiplier", "embedding_scale", HF_FLOAT, false, NAN },
	{ "residual_multiplier", "residual_scale", HF_FLOAT, false, NAN },
	{ "logits_scaling", "logit_scale", HF_FLOAT, false, NAN },
	{ 0 },
};

/* Files of models that see leave out what is the class's default. */
static const struct hf_key gemma_keys[] = {
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ "max_position_embeddings", "context_length", HF_INT, false, 8192 },
	{ "head_dim", "attention.key_length", HF_INT, false, 256 },
	{ "head_dim", "attention.value_length", HF_INT, false, 256 },
	{ 0 },
};

static const struct hf_key gemma2_keys[] = {
	{ "query_pre_attn_scalar", "attention.scale", HF_RSQRT, false, 256 },
	{ "attn_logit_softcapping", "attn_logit_softcapping", HF_FLOAT, false, NAN },
	{ "final_logit_softcapping", "final_logit_softcapping", HF_FLOAT, false, NAN },
	{ 0 },
};

static const struct hf_key gemma3_keys[] = {
	{ "max_position_embeddings", "context_length", HF_INT, false, 131072 },
	{ "num_attention_heads", "attention.head_count", HF_INT, false, 8 },
	{ "num_key_value_heads", "attention.head_count_kv", HF_INT, false, 4 },
	{ "head_dim", "attention.key_length", HF_INT, false, 256 },
	{ "head_dim", "attention.value_length", HF_INT, false, 256 },
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ "rope_theta", "rope.freq_base", HF_FLOAT, false, 1000000 },
	{ "rope_local_base_freq", "rope.freq_base_swa", HF_FLOAT, false, 10000 },
	{ "query_pre_attn_scalar", "attention.scale", HF_RSQRT, false, 256 },
	{ "attn_logit_softcapping", "attn_logit_softcapping", HF_FLOAT, false, NAN },
	{ "final_logit_softcapping", "final_logit_softcapping", HF_FLOAT, false, NAN },
	{ "sliding_window_pattern", "attention.sliding_window_pattern", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_key mixtral_keys[] = {
	{ "num_local_experts", "expert_count", HF_INT, false, 8 },
	{ "num_experts_per_tok", "expert_used_count", HF_INT, false, 2 },
	{ 0 },
};

static const struct hf_key qwen_moe_keys[] = {
	{ "num_experts", "expert_count", HF_INT, true, NAN },
	{ "num_experts_per_tok", "expert_used_count", HF_INT, true, NAN },
	{ "moe_intermediate_size", "expert_feed_forward_length", HF_INT, true, NAN },
	{ "shared_expert_intermediate_size", "expert_shared_feed_forward_length", HF_INT, false,
	  NAN },
	{ "norm_topk_prob", "expert_weights_norm", HF_BOOL, false, 0 },
	{ 0 },
};

static const struct hf_key gpt2_keys[] = {
	{ "n_layer", "block_count", HF_INT, true, NAN },
	{ "n_positions", "context_length", HF_INT, false, 1024 },
	{ "n_embd", "embedding_length", HF_INT, true, NAN },
	{ "n_inner", "feed_forward_length", HF_INT, false, NAN }, /* null: 4 n_embd (hf_config.c) */
	{ "n_head", "attention.head_count", HF_INT, true, NAN },
	{ "rotary_dim", "rope.dimension_count", HF_INT, false, NAN }, /* GPT-J */
	{ "layer_norm_epsilon", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "vocab_size", "vocab_size", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_key bert_keys[] = {
	{ "max_position_embeddings", "context_length", HF_INT, false, 512 },
	{ "layer_norm_eps", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-12 },
	{ "type_vocab_size", "token_type_count", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_key distilbert_keys[] = {
	{ "n_layers", "block_count", HF_INT, true, NAN },
	{ "dim", "embedding_length", HF_INT, true, NAN },
	{ "hidden_dim", "feed_forward_length", HF_INT, true, NAN },
	{ "n_heads", "attention.head_count", HF_INT, true, NAN },
	{ 0 },
};

static const struct hf_key opt_keys[] = {
	{ "layer_norm_eps", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "ffn_dim", "feed_forward_length", HF_INT, true, NAN },
	{ "word_embed_proj_dim", "embedding_length_in", HF_INT, false, NAN },
	{ 0 },
};

#define SILU .acts = "silu swish"
#define GELU .acts = "gelu_new gelu_pytorch_tanh gelu_fast"
/* what some of Gemma's files call "gelu" is that as well */
#define GEMMA .acts = "gelu_pytorch_tanh gelu_new gelu", .norms_from_one = true

static const struct hf_family families[] = {
	{ .types = "llama mistral", .arch = "llama", SILU, .names = { rotated_names, llama_names },
	  .keys = { rms_keys, common_keys }, .window = true },
	{ .types = "granite", .arch = "granite", SILU, .names = { rotated_names, llama_names },
	  .keys = { granite_keys, common_keys } },
	{ .types = "qwen2", .arch = "qwen2", SILU, .names = { llama_names },
	  .keys = { rms_keys, common_keys } },
	{ .types = "qwen3", .arch = "qwen3", SILU, .names = { llama_names },
	  .keys = { rms_keys, common_keys } },
	{ .types = "mixtral", .arch = "llama", SILU,
	  .names = { mixtral_names, rotated_names, llama_names },
	  .keys = { mixtral_keys, rms_keys, common_keys }, .window = true },
	{ .types = "qwen2_moe", .arch = "qwen2moe", SILU, .names = { qwen_moe_names, llama_names },
	  .keys = { qwen_moe_keys, rms_keys, common_keys } },
	{ .types = "qwen3_moe", .arch = "qwen3moe", SILU, .names = { qwen_moe_names, llama_names },
	  .keys = { qwen_moe_keys, rms_keys, common_keys } },
	{ .types = "phi3", .arch = "phi3", SILU, .names = { phi3_names, llama_names },
	  .keys = { phi3_keys, common_keys }, .window = true },
	{ .types = "phi", .arch = "phi2", GELU, .names = { phi2_names, llama_names },
	  .keys = { phi2_keys, common_keys } },
	{ .types = "gemma", .arch = "gemma", GEMMA, .names = { llama_names },
	  .keys = { gemma_keys, common_keys } },
	{ .types = "gemma2", .arch = "gemma2", GEMMA, .names = { post_norm_names, llama_names },
	  .keys = { gemma2_keys, gemma_keys, common_keys }, .window = true },
	{ .types = "gemma3_text", .arch = "gemma3", GEMMA, .names = { post_norm_names, llama_names },
	  .keys = { gemma3_keys, common_keys }, .window = true },
	{ .types = "olmo2", .arch = "olmo2", SILU, .names = { post_norm_names, llama_names },
	  .keys = { rms_1e5_keys, common_keys } },
	{ .types = "olmo3", .arch = "olmo2", SILU, .names = { post_norm_names, llama_names },
	  .keys = { rms_1e5_keys, common_keys }, .window = true },
	{ .types = "exaone4", .arch = "exaone4", SILU, .names = { post_norm_names, llama_names },
	  .keys = { rms_1e5_keys, common_keys }, .window = true },
	{ .types = "smollm3", .arch = "smollm3", SILU, .names = { rotated_names, llama_names },
	  .keys = { smollm3_keys, common_keys } },
	{ .types = "exaone", .arch = "exaone", SILU, .names = { exaone_names, gpt2_names },
	  .keys = { exaone_keys, common_keys } },
	{ .types = "gpt_neox", .arch = "gptneox", .acts = "gelu", .names = { gptneox_names },
	  .keys = { gptneox_keys, common_keys } },
	{ .types = "falcon", .arch = "falcon", .acts = "gelu", .names = { falcon_names },
	  .only_if_true = "new_decoder_architecture", .keys = { falcon_keys, common_keys } },
	{ .types = "falcon", .arch = "falcon", .acts = "gelu", .names = { falcon_names },
	  .only_if_false = "multi_query", .keys = { all_heads_keys, falcon_keys, common_keys } },
	{ .types = "falcon", .arch = "falcon", .acts = "gelu", .names = { falcon_names },
	  .keys = { multi_query_keys, falcon_keys, common_keys } },
	{ .types = "stablelm", .arch = "stablelm", SILU, .names = { stablelm_names, llama_names },
	  .keys = { stablelm_keys, common_keys } },
	{ .types = "starcoder2", .arch = "starcoder2", GELU,
	  .names = { starcoder2_names, llama_names }, .keys = { starcoder2_keys, common_keys },
	  .window = true },
	{ .types = "gpt2", .arch = "gpt2", GELU, .names = { gpt2_names }, .keys = { gpt2_keys } },
	{ .types = "gptj", .arch = "gptj", GELU, .names = { gptj_names, gpt2_names },
	  .keys = { gpt2_keys } },
	{ .types = "bert", .arch = "bert", .acts = "gelu", .names = { bert_names },
	  .keys = { bert_keys, common_keys } },
	{ .types = "distilbert", .arch = "bert", .acts = "gelu",
	  .names = { distilbert_names, bert_names },
	  .keys = { distilbert_keys, bert_keys, common_keys } },
	{ .types = "opt", .arch = "opt", .acts = "relu", .only_if_false = "do_layer_norm_before",
	  .flag = "norm_after", .names = { opt_after_names, opt_names },
	  .keys = { opt_keys, common_keys } },
	{ .types = "opt", .arch = "opt", .acts = "relu", .names = { opt_names },
	  .keys = { opt_keys, common_keys } },
};
/* clang-format on */

bool hf_has_word(const char *words, const char *word)
{
	size_t n = strlen(word), len;

	for (; *words; words += len + (words[len] == ' ')) {
		len = strcspn(words, " ");
		if (len == n && !memcmp(words, word, n))
			return true;
	}
	return false;
}

static bool is_for(const struct hf_family *f, const json_t *config)
{
	if (f->only_if_false && !json_is_false(json_object_get(config, f->only_if_false)))
		return false;
	return !f->only_if_true || json_is_true(json_object_get(config, f->only_if_true));
}

const struct hf_family *hf_family_find(const json_t *config)
{
	const char *type = json_string_value(json_object_get(config, "model_type"));
	size_t i;

	for (i = 0; type && i < ARRAY_SIZE(families); i++)
		if (hf_has_word(families[i].types, type) && is_for(&families[i], config))
			return &families[i];
	return NULL;
}

const char *hf_family_types(void)
{
	static _Thread_local char types[512];
	size_t i, n = 0;
	const char *word;

	types[0] = '\0';
	for (i = 0; i < ARRAY_SIZE(families); i++) {
		/* another row has these */
		word = families[i].only_if_false || families[i].only_if_true ? "" : families[i].types;
		while (*word && n < sizeof(types)) {
			size_t len = strcspn(word, " ");

			n += (size_t)snprintf(types + n, sizeof(types) - n, "%s%.*s", n ? ", " : "",
					      (int)len, word);
			word += len + (word[len] == ' ');
		}
	}
	return types;
}
