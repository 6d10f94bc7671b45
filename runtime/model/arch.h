/* SPDX-License-Identifier: MIT */
/*
 * arch: the table of architectures. A row says how a family's layer is built; the forward pass is
 * one for all rows (infer/ops.c). To add a family, add a row.
 */
#ifndef SHERD_ARCH_H
#define SHERD_ARCH_H

#include "model/gguf.h"

enum sherd_norm { SHERD_NORM_NONE, SHERD_NORM_RMS, SHERD_NORM_LAYER };
enum sherd_position { SHERD_POS_ROPE_PAIRS, SHERD_POS_ROPE_HALVES, SHERD_POS_LEARNED };
enum sherd_act { SHERD_ACT_SILU, SHERD_ACT_GELU_TANH, SHERD_ACT_GELU_ERF };

struct sherd_arch {
	const char *name; /* general.architecture */
	enum sherd_norm norm;
	enum sherd_position position; /* PAIRS: (2i, 2i+1) rotate together; HALVES: (i, i + d/2) */
	enum sherd_act act;
	bool gated; /* ffn: act(gate) * up */
	/* required; optional ones are used if there */
	bool norm_bias, qkv_bias, out_bias, ffn_bias;
	bool qkv_fused; /* the file has attn_qkv instead of attn_q, attn_k, attn_v */
	bool parallel; /* attention and ffn both read the same norm's output */
	const char *not_yet; /* non-NULL: known, but refused with this reason */
};

const struct sherd_arch *sherd_arch_find(const char *name, size_t len); /* NULL: unknown */
/* The names that are supported, comma separated, for messages. */
const char *sherd_arch_names(void);

enum sherd_rope_scaling { SHERD_ROPE_PLAIN, SHERD_ROPE_LINEAR };

struct sherd_hparams {
	const struct sherd_arch *arch;
	int n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, n_vocab, n_ctx_train;
	int window; /* positions that attention looks back on, its own included; 0: all of them */
	float norm_eps;
	float rope_theta; /* base frequency */
	int rope_dim; /* of head_dim, how many are rotated */
	enum sherd_rope_scaling rope_scaling;
	float rope_factor; /* linear scaling: positions are divided by this */
	/* Llama-3's scaling comes as the tensor rope_freqs: divisors [rope_dim / 2]. */
};

/*
 * Reads and checks; refuses what the table or the kernels can't do with a sentence that says which.
 */
int sherd_hparams_read(struct sherd_hparams *hp, const struct gguf *g, struct sherd_error *err);
/*
 * The context to open the model with: @asked, or if that is 0 what it was trained for, at most
 * 4096, and at most its window. Beyond the window the text would be another one: -ENOTSUP.
 */
int sherd_hparams_ctx(const struct sherd_hparams *hp, int asked, struct sherd_error *err);

/*
 * The matrices and vectors of a model, in file order: what the packer writes, the shard loader
 * looks up, and the step list refers to. @parts: names in the GGUF file whose rows are stacked.
 */
enum sherd_slot {
	SHERD_TOKEN_EMBD, /* [n_vocab][hidden] */
	SHERD_POS_EMBD, /* [n_ctx_train][hidden], learned positions */
	SHERD_ROPE_FREQS, /* vector [rope_dim / 2] */
	SHERD_OUT_NORM, /* vector [hidden] */
	SHERD_OUT_NORM_BIAS,
	SHERD_OUTPUT, /* [n_vocab][hidden]; absent: tied to TOKEN_EMBD */
	/* one of each a layer from here on */
	SHERD_ATTN_NORM,
	SHERD_ATTN_NORM_BIAS,
	SHERD_ATTN_QKV, /* [(n_heads + 2 n_kv_heads) * head_dim][hidden], if of one format, else: */
	SHERD_ATTN_Q,
	SHERD_ATTN_K,
	SHERD_ATTN_V,
	SHERD_ATTN_QKV_BIAS, /* vector, always stacked */
	SHERD_ATTN_OUT, /* [hidden][n_heads * head_dim] */
	SHERD_ATTN_OUT_BIAS,
	SHERD_FFN_NORM,
	SHERD_FFN_NORM_BIAS,
	SHERD_FFN_GATE_UP, /* [2 ffn][hidden], gate's rows first, if of one format, else: */
	SHERD_FFN_GATE,
	SHERD_FFN_UP,
	SHERD_FFN_UP_BIAS,
	SHERD_FFN_DOWN, /* [hidden][ffn] */
	SHERD_FFN_DOWN_BIAS,
	SHERD_N_SLOTS,
};
#define SHERD_FIRST_LAYER_SLOT SHERD_ATTN_NORM

/*
 * "blk.3.attn_qkv.weight": the tensor's name in a packed shard. @layer is ignored for global slots.
 */
void sherd_slot_name(enum sherd_slot slot, int layer, char *buf, size_t size);
bool sherd_slot_is_vector(enum sherd_slot slot);

#endif
