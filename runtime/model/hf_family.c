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

static const struct hf_key llama_keys[] = {
	{ "num_hidden_layers", "block_count", HF_INT, true, NAN },
	{ "max_position_embeddings", "context_length", HF_INT, false, 2048 },
	{ "hidden_size", "embedding_length", HF_INT, true, NAN },
	{ "intermediate_size", "feed_forward_length", HF_INT, true, NAN },
	{ "num_attention_heads", "attention.head_count", HF_INT, true, NAN },
	{ "num_key_value_heads", "attention.head_count_kv", HF_INT, false, NAN },
	{ "head_dim", "attention.key_length", HF_INT, false, NAN },
	{ "head_dim", "attention.value_length", HF_INT, false, NAN },
	{ "rms_norm_eps", "attention.layer_norm_rms_epsilon", HF_FLOAT, false, 1e-6 },
	{ "rope_theta", "rope.freq_base", HF_FLOAT, false, 10000 },
	{ "vocab_size", "vocab_size", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_key gpt2_keys[] = {
	{ "n_layer", "block_count", HF_INT, true, NAN },
	{ "n_positions", "context_length", HF_INT, false, 1024 },
	{ "n_embd", "embedding_length", HF_INT, true, NAN },
	{ "n_inner", "feed_forward_length", HF_INT, false, NAN }, /* null: 4 n_embd (hf_config.c) */
	{ "n_head", "attention.head_count", HF_INT, true, NAN },
	{ "layer_norm_epsilon", "attention.layer_norm_epsilon", HF_FLOAT, false, 1e-5 },
	{ "vocab_size", "vocab_size", HF_INT, false, NAN },
	{ 0 },
};

static const struct hf_family families[] = {
	{ .types = "llama mistral", .arch = "llama", .names = { rotated_names, llama_names },
	  .keys = { llama_keys }, .acts = "silu swish", .window = true },
	{ .types = "qwen2", .arch = "qwen2", .names = { llama_names }, .keys = { llama_keys },
	  .acts = "silu swish" },
	{ .types = "gpt2", .arch = "gpt2", .names = { gpt2_names }, .keys = { gpt2_keys },
	  .acts = "gelu_new gelu_pytorch_tanh gelu_fast" },
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

const struct hf_family *hf_family_find(const char *model_type)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(families); i++)
		if (hf_has_word(families[i].types, model_type))
			return &families[i];
	return NULL;
}

const char *hf_family_types(void)
{
	static _Thread_local char types[512];
	size_t i, n = 0;
	char *c;

	types[0] = '\0';
	for (i = 0; i < ARRAY_SIZE(families) && n < sizeof(types); i++)
		n += (size_t)snprintf(types + n, sizeof(types) - n, "%s%s", n ? " " : "",
				      families[i].types);
	for (c = types; *c; c++) /* the separator becomes a comma in place: no word has one */
		if (*c == ' ')
			*c = ',';
	return types;
}
