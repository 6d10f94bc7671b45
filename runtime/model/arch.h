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
enum sherd_act { SHERD_ACT_SILU, SHERD_ACT_GELU_TANH, SHERD_ACT_GELU_ERF, SHERD_ACT_RELU };
/* Where a block f, attention or ffn, is normalized. */
enum sherd_norm_at {
	SHERD_NORM_IN = 1, /* x + f(norm(x)) */
	SHERD_NORM_OUT = 2, /* x + norm(f(x)) */
	SHERD_NORM_SUM = 4, /* norm(x + f(x)) */
};
/*
 * How q and k are normalized before they rotate: not, head by head, all heads as one row, or head by
 * head with weights of its own each.
 */
enum sherd_qk_norm { SHERD_QK_NONE, SHERD_QK_HEADS, SHERD_QK_ROW, SHERD_QK_EACH };

/* Whether a layer has one feed-forward network, or several of which a row uses some. */
enum sherd_experts { SHERD_EXPERTS_NEVER, SHERD_EXPERTS_MAY, SHERD_EXPERTS_ALWAYS };

/* Layers that rotate otherwise than what the file says of RoPE. */
enum sherd_other_rope {
	SHERD_ROPE_SAME, /* none do */
	SHERD_ROPE_OWN_BASE, /* those with a window: by a base of their own, and unscaled */
	SHERD_ROPE_UNSCALED, /* those with a window: unscaled */
	SHERD_ROPE_SKIPPED, /* every fourth: not at all */
	SHERD_ROPE_WINDOWS, /* those without a window, where others have one: not at all */
};
#define SHERD_SKIP_PERIOD 4

struct sherd_arch {
	const char *name; /* general.architecture */
	enum sherd_norm norm;
	int norm_at; /* enum sherd_norm_at, or'ed */
	enum sherd_position position; /* PAIRS: (2i, 2i+1) rotate together; HALVES: (i, i + d/2) */
	enum sherd_act act;
	enum sherd_qk_norm qk_norm;
	bool qk_norm_may; /* only where the file has its weights */
	bool gated; /* ffn: act(gate) * up */
	/* required; optional ones are used if there */
	bool norm_bias, qkv_bias, out_bias, ffn_bias, head_bias;
	bool qkv_fused; /* the file has attn_qkv instead of attn_q, attn_k, attn_v */
	bool gate_up_fused; /* the file's ffn_up has the gate's rows, then up's */
	bool parallel; /* x + attention + ffn: both read the same norm's output, or */
	bool two_norms; /* a norm each, of the same x */
	/* where the file has attn_norm_2, that is attention's, and attn_norm the other's */
	bool two_norms_may;
	enum sherd_experts experts;
	bool renormalize; /* a row's experts are weighed by the softmax over them, not over all */
	bool shared_expert; /* and there is one more that all rows use, by a sigmoid of its own */
	bool encoder; /* rows see later ones too: a text is one batch, and gives vectors, no text */
	bool embd_norm; /* embeddings are normalized */
	bool scaled_embd; /* embeddings are multiplied by sqrt(hidden) */
	/*
	 * Of every @window_period layers the last has no window; 0: all have one, if the file says
	 * that there is one
	 */
	int window_period, window; /* window: where the file does not say */
	/* which of the layers rotate by a table of their own, and how */
	enum sherd_other_rope other_rope;
	int wide_layers; /* a model of so many scales q by its hidden size, not by head_dim */
	/*
	 * Rows of a Hugging Face folder's position table before position 0; position_embd.weight is
	 * without them.
	 */
	int unused_positions;
	const char *not_yet; /* non-NULL: known, but refused with this reason */
};

const struct sherd_arch *sherd_arch_find(const char *name, size_t len); /* NULL: unknown */
/* The names that are supported, comma separated, for messages. */
const char *sherd_arch_names(void);

/*
 * YARN: what turns slowly is divided by the factor, what turns fast is not. LONG: two tensors of
 * divisors, one for contexts beyond rope_ctx, and a factor.
 */
enum sherd_rope_scaling { SHERD_ROPE_PLAIN, SHERD_ROPE_LINEAR, SHERD_ROPE_YARN, SHERD_ROPE_LONG };

#define SHERD_MAX_LAYERS  1024
#define SHERD_MAX_EXPERTS 512

struct sherd_hparams {
	const struct sherd_arch *arch;
	int n_layers, hidden, n_heads, n_kv_heads, head_dim, ffn, n_vocab, n_ctx_train;
	int n_experts, n_used; /* networks of a layer, 0: it has the one; how many a row uses */
	int ffn_expert, ffn_shared; /* their widths */
	bool renormalize; /* the row's, or the file's */
	enum sherd_pooling pooling; /* of an encoder */
	int embd; /* width of the token embedding; another than hidden: there are projections */
	int norm_at; /* the row's, or the file's */
	bool parallel, two_norms;
	enum sherd_qk_norm qk_norm;
	int window; /* positions that attention looks back on, its own included; 0: all of them */
	uint64_t windowed[SHERD_MAX_LAYERS / 64]; /* bit set: the layers that have the window */
	float norm_eps;
	float embd_scale, residual_scale, logit_scale; /* 1: none */
	float score_cap, logit_cap; /* x becomes cap * tanh(x / cap); 0: it does not */
	float q_scale; /* of scores: 1 / sqrt(head_dim), or what the file says */
	float rope_theta; /* base frequency */
	enum sherd_other_rope other_rope; /* the row's, where such layers are there */
	float rope_other_theta; /* of these layers; 0: they do not rotate */
	int rope_dim; /* of head_dim, how many are rotated */
	enum sherd_rope_scaling rope_scaling;
	float rope_factor; /* linear scaling, YaRN: positions are divided by this */
	float rope_attn_factor; /* cosines and sines are multiplied by this */
	int rope_ctx; /* context that the model was trained for before it was scaled */
	/* YaRN: turns in rope_ctx positions from which on, and up to which, a pair counts as fast and slow */
	float rope_fast, rope_slow;
	bool rope_whole; /* what lies between begins and ends at whole pairs */
	/* Llama-3's scaling comes as the tensor rope_freqs: divisors [rope_dim / 2]. */
};

/*
 * Reads and checks; refuses what the table or the kernels can't do with a sentence that says which.
 */
int sherd_hparams_read(struct sherd_hparams *hp, const struct gguf *g, struct sherd_error *err);
/* The context to open the model with: @asked, or if that is 0 what it was trained for, <= 4096. */
int sherd_hparams_ctx(const struct sherd_hparams *hp, int asked);
/* The norm that a block has at @at (one of enum sherd_norm_at), and the one before the head. */
static inline enum sherd_norm sherd_norm_at(const struct sherd_hparams *hp, int at)
{
	return hp->norm_at & at ? hp->arch->norm : SHERD_NORM_NONE;
}
static inline enum sherd_norm sherd_final_norm(const struct sherd_hparams *hp)
{
	return hp->norm_at & SHERD_NORM_SUM ? SHERD_NORM_NONE : hp->arch->norm;
}
/* How many positions @layer looks back on, its own included; 0: all of them. */
int sherd_hparams_window(const struct sherd_hparams *hp, int layer);
/* Whether @layer rotates by the other table. */
bool sherd_hparams_other_rope(const struct sherd_hparams *hp, int layer);

/*
 * The matrices and vectors of a model, in file order: what the packer writes, the shard loader
 * looks up, and the step list refers to. @parts: names in the GGUF file whose rows are stacked.
 */
enum sherd_slot {
	SHERD_TOKEN_EMBD, /* [n_vocab][hidden] */
	SHERD_POS_EMBD, /* [n_ctx_train][hidden], learned positions */
	SHERD_TOKEN_TYPES, /* vector [hidden]: of the first type, which all tokens have */
	SHERD_EMBD_NORM, /* vector [hidden] */
	SHERD_EMBD_NORM_BIAS,
	SHERD_PROJ_IN, /* [hidden][embd], where they differ */
	SHERD_ROPE_FREQS, /* vector [rope_dim / 2] */
	SHERD_ROPE_SHORT, /* the same, for contexts of at most rope_ctx */
	SHERD_ROPE_LONG_FREQS, /* and for those beyond */
	SHERD_OUT_NORM, /* vector [hidden] */
	SHERD_OUT_NORM_BIAS,
	SHERD_PROJ_OUT, /* [embd][hidden] */
	SHERD_OUTPUT, /* [n_vocab][embd]; absent: tied to TOKEN_EMBD */
	SHERD_OUTPUT_BIAS, /* vector [n_vocab] */
	/* one of each a layer from here on */
	SHERD_ATTN_NORM,
	SHERD_ATTN_NORM_BIAS,
	SHERD_ATTN_QKV, /* [(n_heads + 2 n_kv_heads) * head_dim][hidden], if of one format, else: */
	SHERD_ATTN_Q,
	SHERD_ATTN_K,
	SHERD_ATTN_V,
	SHERD_ATTN_QKV_BIAS, /* vector, always stacked */
	SHERD_ATTN_Q_NORM, /* vector [head_dim], or [heads][head_dim] */
	SHERD_ATTN_K_NORM,
	SHERD_ATTN_OUT, /* [hidden][n_heads * head_dim] */
	SHERD_ATTN_OUT_BIAS,
	SHERD_ATTN_POST_NORM, /* SHERD_NORM_OUT's */
	SHERD_ATTN_SUM_NORM, /* SHERD_NORM_SUM's */
	SHERD_ATTN_SUM_NORM_BIAS,
	SHERD_FFN_NORM,
	SHERD_FFN_NORM_BIAS,
	SHERD_FFN_GATE_UP, /* [2 ffn][hidden], gate's rows first, if of one format, else: */
	SHERD_FFN_GATE,
	SHERD_FFN_UP,
	SHERD_FFN_UP_BIAS,
	SHERD_FFN_DOWN, /* [hidden][ffn] */
	SHERD_FFN_DOWN_BIAS,
	SHERD_FFN_POST_NORM,
	SHERD_FFN_SUM_NORM,
	SHERD_FFN_SUM_NORM_BIAS,
	/* instead of the FFN_... matrices, where there are experts; EXPERTS_...: stacks (format.h) */
	SHERD_ROUTER, /* [n_experts][hidden] */
	SHERD_EXPERTS_GATE_UP, /* n_experts times [2 ffn_expert][hidden], or: */
	SHERD_EXPERTS_GATE,
	SHERD_EXPERTS_UP,
	SHERD_EXPERTS_DOWN, /* n_experts times [hidden][ffn_expert] */
	SHERD_SHARED_SCORE, /* [1][hidden] */
	SHERD_SHARED_GATE_UP, /* [2 ffn_shared][hidden], or: */
	SHERD_SHARED_GATE,
	SHERD_SHARED_UP,
	SHERD_SHARED_DOWN, /* [hidden][ffn_shared] */
	SHERD_N_SLOTS,
};
#define SHERD_FIRST_LAYER_SLOT SHERD_ATTN_NORM

/*
 * "blk.3.attn_qkv.weight": the tensor's name in a packed shard. @layer is ignored for global slots.
 */
void sherd_slot_name(enum sherd_slot slot, int layer, char *buf, size_t size);
/* The same without "blk.3.". */
const char *sherd_slot_base(enum sherd_slot slot);
/* And what a file that is no shard has it under, but for stacks. */
const char *sherd_slot_file_name(const struct sherd_hparams *hp, enum sherd_slot slot);
bool sherd_slot_is_vector(enum sherd_slot slot);
static inline bool sherd_slot_is_experts(enum sherd_slot slot)
{
	return slot >= SHERD_EXPERTS_GATE_UP && slot <= SHERD_EXPERTS_DOWN;
}

/* The slots that may stand for several: a layer has either the whole or each of [first, last]. */
struct sherd_stack {
	enum sherd_slot whole, first, last;
};
#define SHERD_N_STACKS 4
extern const struct sherd_stack sherd_stacks[SHERD_N_STACKS];

#endif
