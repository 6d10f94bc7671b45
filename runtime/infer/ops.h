/* SPDX-License-Identifier: MIT */
/*
 * ops: a model as a list of steps, built from its architecture's row. Two executors walk the same
 * list: plain C (ref/), the definition of every result's bits, and OpenCL (cl/). Tracing, memory
 * planning and taps walk it too.
 */
#ifndef SHERD_OPS_H
#define SHERD_OPS_H

#include "model/shard.h"

/* The activations of a step; each is [n_rows][width] floats, but for the quantized pair. */
enum sherd_buf {
	SHERD_BUF_X, /* residual stream, width hidden */
	/*
	 * input of the next matmuls: floats and/or quantized groups, width <= max(hidden, q, ffn)
	 */
	SHERD_BUF_A,
	SHERD_BUF_QKV, /* q, k, v side by side, width q + 2 kv */
	SHERD_BUF_ATT, /* attention's output, width q */
	SHERD_BUF_FFN, /* gate and up side by side (or up alone); a row's pairs side by side */
	SHERD_BUF_LOGITS, /* width n_vocab, wanted rows only */
	/* what does not go where it belongs at once: to be normed, scaled or projected first */
	SHERD_BUF_OUT,
	/* a mixture of experts; a pair is a row and one of the n_used experts that it chose */
	SHERD_BUF_SCORES, /* the experts', then the shared network's */
	SHERD_BUF_P, /* what A is to rows, to pairs; width of a pair */
	SHERD_BUF_EXPERTS, /* a row's pairs' outputs side by side, each hidden */
	SHERD_BUF_SHARED, /* the shared network's output */
	SHERD_N_BUFS,
};

enum sherd_op_kind {
	SHERD_OP_EMBED, /* dst = scale * table[token, or pos] (+ positions[pos]) */
	SHERD_OP_CUT, /* X through the wire format and back; runs where a session has a cut here */
	SHERD_OP_GATHER, /* X's wanted rows move together: from here on only they are computed */
	SHERD_OP_NORM, /* A = norm(src), or src itself (norm NONE) */
	SHERD_OP_NORM_TO, /* dst (+)= scale * norm(src) as floats, each of some parts by itself */
	SHERD_OP_MATMUL, /* dst[:, dst_col ..] = W A (+ bias) (+ dst) */
	SHERD_OP_ROPE, /* rotates q and k in QKV, scales q, stores k and v in the cache */
	SHERD_OP_ATTEND, /* ATT = softmax(q k) v */
	SHERD_OP_ACT, /* A = act(gate) * up, or act(up) */
	/* each row chooses experts by its scores; P = A, each row as often as it has pairs */
	SHERD_OP_ROUTE,
	SHERD_OP_EXPERTS, /* dst[:, dst_col ..] = W[expert of the pair] P, for pairs */
	SHERD_OP_COMBINE, /* X += the pairs' outputs and the shared one, weighted */
	SHERD_OP_CAP, /* src = scale * src, then cap * tanh(src / cap) if there is a cap */
	SHERD_N_OPS,
};

/* Forms of A that matmuls read: floats, quantized groups, and sums per 16 columns. */
struct sherd_forms {
	bool f32, q8, halves;
};

struct sherd_op {
	enum sherd_op_kind kind;
	int layer; /* -1: before the first or after the last */
	enum sherd_buf src, dst;
	int width; /* columns of src that count (norm, act), or W's cols; norm_to: of a part */
	struct sherd_forms want; /* norm, act: what the matmuls that follow read */
	enum sherd_norm norm;
	const float *weight, *bias; /* norm: [width]; matmul: bias [rows] or NULL */
	/* matmul */
	const struct sherd_tensor *w;
	int dst_col; /* where W's rows begin in dst; norm_to: its parts, in src too */
	bool residual; /* dst += instead of =; norm_to too */
	int n_parts; /* norm_to: side by side, of @width columns */
	int weight_step; /* floats from a part's weights to the next one's; 0: all have the same */
	float scale; /* norm_to, embed, cap; 1: none */
	float cap; /* cap, attend: of scores; 0: none */
	/* experts, and act where it is for pairs */
	int expert_rows; /* of W: an expert's */
	int pair_stride; /* floats of a pair in dst, or in act's src; 0: act is for rows */
	/* embed */
	const struct sherd_tensor *table, *positions;
	bool by_position; /* the table's row is the position's */
	/* rope, attend */
	int rope; /* which of the tables: 1 is the other layers' */
	int window; /* positions that a row looks back on, its last included; 0: all of them */
};

/* A rule for rotary angles: a model has one, or one more for layers that rotate otherwise. */
struct sherd_rope {
	float theta; /* base; 0: nothing rotates */
	float factor; /* positions are divided by this */
	bool yarn; /* those of pairs from ramp[1] on are, up to ramp[0] not, and between by degrees */
	double ramp[2];
	float scale; /* cosines and sines are multiplied by this */
	const float *divisors; /* of frequencies, [rope_dim / 2], or NULL */
};
#define SHERD_MAX_ROPES 2

struct sherd_program {
	const struct sherd_shard *shard;
	struct sherd_op *ops;
	int n_ops;
	/* [n_layers + 1]: index of the first op of a layer; [n_layers]: of the head's ops */
	int *layer_op;
	int width[SHERD_N_BUFS];
	struct sherd_forms forms; /* that are needed at all */
	float *rope[SHERD_MAX_ROPES]; /* [n_ctx][rope_dim / 2][2]: cos, sin; NULL: there is none */
	int n_ctx;
};

/* @n_ctx: positions that the RoPE table covers. The shard must outlive the program. */
int sherd_program_build(struct sherd_program **p, const struct sherd_shard *shard, int n_ctx,
			struct sherd_error *err);
void sherd_program_free(struct sherd_program *p);

/* What a step works on, for the sentence that says it is NaN or too large. */
const char *sherd_op_what(const struct sherd_op *op);

/* Columns of each buffer; 0: the model has none. */
void sherd_buf_widths(const struct sherd_hparams *hp, int width[SHERD_N_BUFS]);
/* Columns of the widest activation function, an expert's or all rows'; 0: there is none. */
int sherd_program_ffn(const struct sherd_program *p);
/* Adds to @f what a matmul with weights in format @w reads. */
void sherd_forms_add(struct sherd_forms *f, const struct sherd_format *w);
/* Adds what all matmuls of a shard read. */
void sherd_forms_of(struct sherd_forms *f, const struct sherd_shard *s);
/*
 * Bytes of an executor's scratch: activations of @n_batch rows and the RoPE table, as cl/ has them
 * on a CPU. Logits come on top, as many rows as a step wants.
 */
uint64_t sherd_scratch_bytes(const struct sherd_hparams *hp, const struct sherd_forms *forms,
			     int n_batch, int n_ctx);

/* Of these, who chose whom takes as much: 32 bytes for each pair of @n_batch rows. */
static inline size_t sherd_route_bytes(const struct sherd_hparams *hp, int n_batch)
{
	return (size_t)32 * n_batch * hp->n_used;
}

/* Of one table, and how many there are: 0 for learned positions. */
size_t sherd_rope_bytes(const struct sherd_hparams *hp, int n_ctx);
int sherd_n_ropes(const struct sherd_hparams *hp);
/* The program's tables, for its context. */
int sherd_rope_make(struct sherd_program *p, struct sherd_error *err);
/* table [n_ctx][rope_dim / 2][2]: cos, sin */
void sherd_rope_table(const struct sherd_rope *r, int rope_dim, int n_ctx, float *table);

#endif
