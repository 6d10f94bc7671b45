/* SPDX-License-Identifier: MIT */
/*
 * hparams: a model's numbers, read from its metadata under "<architecture>." and checked: what the
 * table cannot express is refused here, in a sentence, rather than computed wrongly later. A packed
 * shard keeps its source's keys, so both are read alike.
 */
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include "model/arch.h"

#define MAX_LAYERS   1024
#define MAX_HEADS    4096
#define MAX_HEAD_DIM 1024
#define MAX_WIDTH    (1 << 20)
#define MAX_VOCAB    (1 << 24)
#define MAX_CTX	     (1 << 30)
#define DEFAULT_CTX  4096

struct reader {
	const struct gguf *g;
	const char *arch;
	struct sherd_error *err;
	char key[160];
};

static const char *arch_key(struct reader *r, const char *name)
{
	snprintf(r->key, sizeof(r->key), "%s.%s", r->arch, name);
	return r->key;
}

static int missing(struct reader *r, const char *name)
{
	return sherd_fail(r->err, -EINVAL, "%s: the metadata lacks %s", r->g->path,
			  arch_key(r, name));
}

/*
 * An integer in [1, hi]; @out is left alone if it is not there. Pruned models have an array with a
 * value a layer: it will do if all are equal.
 */
static int get_int(struct reader *r, const char *name, int hi, int *out)
{
	const struct gguf_value *v = gguf_find(r->g, arch_key(r, name));
	int64_t x = 0;
	uint64_t i;
	int ret;

	if (!v)
		return 0;
	if (v->kind != GGUF_ARRAY) {
		ret = gguf_get_int(r->g, r->key, 1, hi, &x, r->err);
		if (ret == 1)
			*out = (int)x;
		return ret;
	}
	for (i = 0; i < v->n; i++) {
		if (i && gguf_elem_int(v, i) != x)
			return sherd_fail(r->err, -ENOTSUP,
					  "%s: %s differs from layer to layer (%" PRId64
					  " and %" PRId64 "), which sherd cannot do yet",
					  r->g->path, r->key, x, gguf_elem_int(v, i));
		x = gguf_elem_int(v, i);
	}
	if (x < 1 || x > hi)
		return sherd_fail(r->err, -ERANGE,
				  "%s: %s is %" PRId64
				  " in each layer, which is not within 1 to %d",
				  r->g->path, r->key, x, hi);
	*out = (int)x;
	return 1;
}

static int need_int(struct reader *r, const char *name, int hi, int *out)
{
	int ret = get_int(r, name, hi, out);

	return ret < 0 ? ret : ret ? 0 : missing(r, name);
}

/* A finite number in [lo, hi]; NaN is in no range. */
static int get_float(struct reader *r, const char *name, float lo, float hi, float *out)
{
	float x;
	int ret = gguf_get_float(r->g, arch_key(r, name), &x, r->err);

	if (ret <= 0)
		return ret;
	if (!(x >= lo && x <= hi))
		return sherd_fail(r->err, -ERANGE, "%s: %s is %g, which is not within %g to %g",
				  r->g->path, r->key, (double)x, (double)lo, (double)hi);
	*out = x;
	return 1;
}

static int find_arch(struct reader *r, struct sherd_hparams *hp)
{
	struct gguf_str name;
	int ret = gguf_get_str(r->g, "general.architecture", &name, r->err);

	if (ret == 1 && gguf_str_eq(name, "sherd"))
		ret = gguf_get_str(r->g, "sherd.source.architecture", &name, r->err);
	if (ret < 0)
		return ret;
	if (!ret)
		return sherd_fail(r->err, -EINVAL,
				  "%s: the metadata does not say which architecture it is",
				  r->g->path);
	hp->arch = sherd_arch_find(name.data, name.len);
	if (!hp->arch)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: architecture \"%.*s\" is not supported; these are: %s",
				  r->g->path, (int)MIN(name.len, (size_t)64), name.data,
				  sherd_arch_names());
	if (hp->arch->not_yet)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: architecture %s is not supported yet (%s); these are: %s",
				  r->g->path, hp->arch->name, hp->arch->not_yet,
				  sherd_arch_names());
	r->arch = hp->arch->name;
	return 0;
}

/* Keys that change a result and that no step takes into account. */
static int refuse_extras(struct reader *r)
{
	static const struct {
		const char *name;
		double neutral; /* 0 is neutral too: writers mean "none" by it */
		const char *what;
	} extras[] = {
		{ "expert_count", 0, "a mixture of experts" },
		{ "attention.clamp_kqv", 0, "clamping q, k and v" },
		{ "attention.max_alibi_bias", 0, "positions as slopes on the scores" },
		{ "attention.scale", 1, "a scale of the attention's scores of its own" },
		{ "attn_logit_softcapping", 0, "capping the attention's scores" },
		{ "final_logit_softcapping", 0, "capping the logits" },
		{ "logit_scale", 1, "scaling the logits" },
		{ "embedding_scale", 1, "scaling the embeddings" },
		{ "residual_scale", 1, "scaling the residuals" },
		{ "rope.scaling.attn_factor", 1, "scaling attention with the context" },
		{ "use_parallel_residual", 0, "attention and feed-forward side by side" },
	};
	const struct gguf_value *v;
	bool causal = true;
	size_t i;
	double x;

	for (i = 0; i < ARRAY_SIZE(extras); i++) {
		v = gguf_find(r->g, arch_key(r, extras[i].name));
		if (!v || v->n == 0)
			continue;
		x = gguf_elem_float(v, 0);
		if (x != 0 && x != extras[i].neutral)
			return sherd_fail(r->err, -ENOTSUP, "%s: %s is %g: %s is not supported yet",
					  r->g->path, r->key, x, extras[i].what);
	}
	if (gguf_get_bool(r->g, arch_key(r, "attention.causal"), &causal, r->err) < 0)
		return -EINVAL;
	if (!causal)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: looks at later tokens (%s is false): "
				  "it is no text generator",
				  r->g->path, r->key);
	return 0;
}

static int read_heads(struct reader *r, struct sherd_hparams *hp)
{
	int ret, value_dim;

	ret = need_int(r, "attention.head_count", MAX_HEADS, &hp->n_heads);
	if (ret)
		return ret;
	hp->n_kv_heads = hp->n_heads;
	ret = get_int(r, "attention.head_count_kv", MAX_HEADS, &hp->n_kv_heads);
	if (ret < 0)
		return ret;
	if (hp->n_heads % hp->n_kv_heads)
		return sherd_fail(r->err, -EINVAL,
				  "%s: %d attention heads cannot share %d key/value heads evenly",
				  r->g->path, hp->n_heads, hp->n_kv_heads);
	ret = get_int(r, "attention.key_length", MAX_HEAD_DIM, &hp->head_dim);
	if (ret < 0)
		return ret;
	if (!ret && hp->hidden % hp->n_heads)
		return sherd_fail(r->err, -EINVAL,
				  "%s: embedding length %d is no multiple of its %d heads",
				  r->g->path, hp->hidden, hp->n_heads);
	if (!ret)
		hp->head_dim = hp->hidden / hp->n_heads;
	if (hp->head_dim % 2 || hp->head_dim > MAX_HEAD_DIM)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: heads of %d are not supported: even ones up to %d are",
				  r->g->path, hp->head_dim, MAX_HEAD_DIM);
	value_dim = hp->head_dim;
	ret = get_int(r, "attention.value_length", MAX_HEAD_DIM, &value_dim);
	if (ret < 0)
		return ret;
	if (value_dim != hp->head_dim)
		return sherd_fail(
			r->err, -ENOTSUP,
			"%s: keys of %d and values of %d are not supported: equal ones are",
			r->g->path, hp->head_dim, value_dim);
	return 0;
}

/*
 * No step leaves positions out: a window is kept by keeping the context within it. 0: there is
 * none.
 */
static int read_window(struct reader *r, struct sherd_hparams *hp)
{
	static const char name[] = "attention.sliding_window";
	const struct gguf_value *v = gguf_find(r->g, arch_key(r, name));
	int64_t x = 0;
	int ret;

	if (v && v->kind == GGUF_ARRAY)
		ret = get_int(r, name, INT_MAX, &hp->window);
	else
		ret = gguf_get_int(r->g, r->key, 0, INT_MAX, &x, r->err);
	if (ret == 1 && x)
		hp->window = (int)x;
	return ret < 0 ? ret : 0;
}

static int read_rope_scaling(struct reader *r, struct sherd_hparams *hp)
{
	struct gguf_str type = { "linear", 6 }; /* what a factor without a type means */
	float factor = 1;
	int ret;

	ret = gguf_get_str(r->g, arch_key(r, "rope.scaling.type"), &type, r->err);
	if (ret < 0)
		return ret;
	/* "llama3" needs nothing else: its divisors are a tensor. */
	if (gguf_str_eq(type, "none") ||
	    (gguf_str_eq(type, "llama3") && gguf_tensor(r->g, "rope_freqs.weight")))
		return 0;
	if (!gguf_str_eq(type, "linear"))
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: RoPE scaling \"%.*s\" is not supported: "
				  "none, linear and Llama-3's (the tensor rope_freqs.weight) are",
				  r->g->path, (int)MIN(type.len, (size_t)64), type.data);
	ret = get_float(r, "rope.scaling.factor", 0, 1e6f, &factor);
	if (!ret) /* the key's older name */
		ret = get_float(r, "rope.scale_linear", 0, 1e6f, &factor);
	if (ret < 0)
		return ret;
	if (factor != 1 && factor != 0) { /* 0: none */
		hp->rope_scaling = SHERD_ROPE_LINEAR;
		hp->rope_factor = factor;
	}
	return 0;
}

static int read_rope(struct reader *r, struct sherd_hparams *hp)
{
	int ret;

	hp->rope_theta = 10000;
	hp->rope_factor = 1;
	if (hp->arch->position == SHERD_POS_LEARNED)
		return 0;
	hp->rope_dim = hp->head_dim;
	ret = get_int(r, "rope.dimension_count", hp->head_dim, &hp->rope_dim);
	if (ret < 0)
		return ret;
	if (hp->rope_dim % 2)
		return sherd_fail(r->err, -EINVAL, "%s: %s is %d, which is odd", r->g->path,
				  arch_key(r, "rope.dimension_count"), hp->rope_dim);
	ret = get_float(r, "rope.freq_base", 1, 1e12f, &hp->rope_theta);
	return ret < 0 ? ret : read_rope_scaling(r, hp);
}

static int read_eps(struct reader *r, struct sherd_hparams *hp)
{
	const char *name = hp->arch->norm == SHERD_NORM_RMS ? "attention.layer_norm_rms_epsilon"
							    : "attention.layer_norm_epsilon";
	int ret = get_float(r, name, 1e-20f, 1, &hp->norm_eps);

	return ret < 0 ? ret : ret ? 0 : missing(r, name);
}

/* Rows of the embedding, which a packed shard keeps in the format record. */
static int64_t embedding_rows(const struct gguf *g)
{
	const struct gguf_value *v = gguf_find(g, "sherd.format.token_embd.weight");
	const struct gguf_tensor *t = gguf_tensor(g, "token_embd.weight");

	if (t)
		return (int64_t)MIN(t->dims[1], (uint64_t)INT64_MAX);
	return v && v->kind == GGUF_ARRAY && v->n >= 6 ? gguf_elem_int(v, v->n - 2) : 0;
}

static int read_vocab(struct reader *r, struct sherd_hparams *hp)
{
	const struct gguf_value *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
	int64_t rows = embedding_rows(r->g), n = rows;
	int ret;

	if (tokens && tokens->kind == GGUF_ARRAY) {
		n = (int64_t)tokens->n;
	} else {
		ret = get_int(r, "vocab_size", MAX_VOCAB, &hp->n_vocab);
		if (ret < 0)
			return ret;
		if (ret)
			n = hp->n_vocab;
	}
	if (n < 1 || n > MAX_VOCAB)
		return sherd_fail(r->err, -EINVAL,
				  "%s: a vocabulary of %" PRId64 " tokens: 1 to %d are supported",
				  r->g->path, n, MAX_VOCAB);
	if (rows && rows != n)
		return sherd_fail(r->err, -EINVAL,
				  "%s: token_embd.weight has %" PRId64
				  " rows, but the vocabulary has %" PRId64 " tokens",
				  r->g->path, rows, n);
	hp->n_vocab = (int)n;
	return 0;
}

int sherd_hparams_read(struct sherd_hparams *hp, const struct gguf *g, struct sherd_error *err)
{
	struct reader r = { .g = g, .err = err };
	int ret;

	memset(hp, 0, sizeof(*hp));
	ret = find_arch(&r, hp);
	if (!ret)
		ret = refuse_extras(&r);
	if (!ret)
		ret = need_int(&r, "block_count", MAX_LAYERS, &hp->n_layers);
	if (!ret)
		ret = need_int(&r, "context_length", MAX_CTX, &hp->n_ctx_train);
	if (!ret)
		ret = need_int(&r, "embedding_length", MAX_WIDTH, &hp->hidden);
	if (!ret)
		ret = need_int(&r, "feed_forward_length", MAX_WIDTH, &hp->ffn);
	if (!ret)
		ret = read_heads(&r, hp);
	if (!ret)
		ret = read_window(&r, hp);
	if (!ret)
		ret = read_rope(&r, hp);
	if (!ret)
		ret = read_eps(&r, hp);
	if (!ret)
		ret = read_vocab(&r, hp);
	return ret;
}

int sherd_hparams_ctx(const struct sherd_hparams *hp, int asked, struct sherd_error *err)
{
	int most = hp->window ? hp->window : INT_MAX;

	if (!asked)
		return MIN(MIN(hp->n_ctx_train, DEFAULT_CTX), most);
	if (asked > most)
		return sherd_fail(
			err, -ENOTSUP,
			"its attention looks back on a window of %d tokens, which sherd keeps "
			"only by a context within it: one of %d cannot be had, ask for at most "
			"%d",
			most, asked, most);
	return asked;
}
