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
#include "model/hparams.h"

#define MAX_HEADS    4096
#define MAX_HEAD_DIM 1024
#define MAX_WIDTH    (1 << 20)
#define MAX_VOCAB    (1 << 24)
#define DEFAULT_CTX  4096

const char *hparams_key(struct hparams_reader *r, const char *name)
{
	snprintf(r->key, sizeof(r->key), "%s.%s", r->arch, name);
	return r->key;
}

int hparams_missing(struct hparams_reader *r, const char *name)
{
	return sherd_fail(r->err, -EINVAL, "%s: the metadata lacks %s", r->g->path,
			  hparams_key(r, name));
}

int hparams_int(struct hparams_reader *r, const char *name, int hi, int *out)
{
	const struct gguf_value *v = gguf_find(r->g, hparams_key(r, name));
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

int hparams_need(struct hparams_reader *r, const char *name, int hi, int *out)
{
	int ret = hparams_int(r, name, hi, out);

	return ret < 0 ? ret : ret ? 0 : hparams_missing(r, name);
}

int hparams_float(struct hparams_reader *r, const char *name, float lo, float hi, float *out)
{
	float x;
	int ret = gguf_get_float(r->g, hparams_key(r, name), &x, r->err);

	if (ret <= 0)
		return ret;
	if (!(x >= lo && x <= hi))
		return sherd_fail(r->err, -ERANGE, "%s: %s is %g, which is not within %g to %g",
				  r->g->path, r->key, (double)x, (double)lo, (double)hi);
	*out = x;
	return 1;
}

static int find_arch(struct hparams_reader *r, struct sherd_hparams *hp)
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
static int refuse_extras(struct hparams_reader *r, bool encoder)
{
	static const struct {
		const char *name;
		double neutral; /* 0 is neutral too: writers mean "none" by it */
		const char *what;
	} extras[] = {
		{ "expert_weights_scale", 1, "scaling what experts count" },
		{ "expert_gating_func", 1, "choosing experts by another function than softmax" },
		{ "expert_group_count", 1, "experts in groups" },
		{ "leading_dense_block_count", 0, "layers without experts before those with" },
		{ "attention.clamp_kqv", 0, "clamping q, k and v" },
		{ "attention.max_alibi_bias", 0, "positions as slopes on the scores" },
	};
	const struct gguf_value *v;
	bool causal = true;
	size_t i;
	double x;

	for (i = 0; i < ARRAY_SIZE(extras); i++) {
		v = gguf_find(r->g, hparams_key(r, extras[i].name));
		if (!v || v->n == 0)
			continue;
		x = gguf_elem_float(v, 0);
		if (x != 0 && x != extras[i].neutral)
			return sherd_fail(r->err, -ENOTSUP, "%s: %s is %g: %s is not supported yet",
					  r->g->path, r->key, x, extras[i].what);
	}
	if (gguf_get_bool(r->g, hparams_key(r, "attention.causal"), &causal, r->err) < 0)
		return -EINVAL;
	if (!causal && !encoder)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: looks at later tokens (%s is false): "
				  "it is no text generator",
				  r->g->path, r->key);
	return 0;
}

/* How many experts a layer has, and how wide they are. */
static int read_experts(struct hparams_reader *r, struct sherd_hparams *hp)
{
	enum sherd_experts e = hp->arch->experts;
	int64_t n = 0;
	int ret = gguf_get_int(r->g, hparams_key(r, "expert_count"), 0, SHERD_MAX_EXPERTS, &n,
			       r->err);

	if (ret < 0)
		return ret;
	if (n && e == SHERD_EXPERTS_NEVER)
		return sherd_fail(
			r->err, -ENOTSUP,
			"%s: %s is %d: a mixture of experts is not supported in a %s model",
			r->g->path, r->key, (int)n, r->arch);
	if (!n)
		return e == SHERD_EXPERTS_ALWAYS ? hparams_missing(r, "expert_count") : 0;
	hp->n_experts = (int)n;
	hp->renormalize = hp->arch->renormalize;
	ret = hparams_need(r, "expert_used_count", hp->n_experts, &hp->n_used);
	if (ret)
		return ret;
	/* what files leave out: Mixtral's, and those that are older than the key */
	hp->ffn_expert = e == SHERD_EXPERTS_MAY ? hp->ffn : hp->ffn / hp->n_used;
	hp->ffn_shared = hp->ffn;
	ret = hparams_int(r, "expert_feed_forward_length", MAX_WIDTH, &hp->ffn_expert);
	if (ret >= 0)
		ret = hparams_int(r, "expert_shared_feed_forward_length", MAX_WIDTH,
				  &hp->ffn_shared);
	if (ret >= 0)
		ret = gguf_get_bool(r->g, hparams_key(r, "expert_weights_norm"), &hp->renormalize,
				    r->err);
	if (!hp->ffn_expert)
		return hparams_missing(r, "expert_feed_forward_length");
	return MIN(ret, 0);
}

static int read_heads(struct hparams_reader *r, struct sherd_hparams *hp)
{
	int ret, value_dim;

	ret = hparams_need(r, "attention.head_count", MAX_HEADS, &hp->n_heads);
	if (ret)
		return ret;
	hp->n_kv_heads = hp->n_heads;
	ret = hparams_int(r, "attention.head_count_kv", MAX_HEADS, &hp->n_kv_heads);
	if (ret < 0)
		return ret;
	if (hp->n_heads % hp->n_kv_heads)
		return sherd_fail(r->err, -EINVAL,
				  "%s: %d attention heads cannot share %d key/value heads evenly",
				  r->g->path, hp->n_heads, hp->n_kv_heads);
	ret = hparams_int(r, "attention.key_length", MAX_HEAD_DIM, &hp->head_dim);
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
	ret = hparams_int(r, "attention.value_length", MAX_HEAD_DIM, &value_dim);
	if (ret < 0)
		return ret;
	if (value_dim != hp->head_dim)
		return sherd_fail(
			r->err, -ENOTSUP,
			"%s: keys of %d and values of %d are not supported: equal ones are",
			r->g->path, hp->head_dim, value_dim);
	return 0;
}

static void set_windowed(struct sherd_hparams *hp, int layer)
{
	hp->windowed[layer / 64] |= 1ull << layer % 64;
}

/* Which layers have the window: a period, a flag a layer, or as the row has it. */
static int read_window_pattern(struct hparams_reader *r, struct sherd_hparams *hp)
{
	static const char name[] = "attention.sliding_window_pattern";
	const struct gguf_value *v = gguf_find(r->g, hparams_key(r, name));
	int period = hp->arch->window_period, ret, l;

	if (v && v->kind == GGUF_ARRAY) {
		if (v->n != (uint64_t)hp->n_layers)
			return sherd_fail(r->err, -EINVAL,
					  "%s: %s has %" PRIu64 " elements for %d layers",
					  r->g->path, r->key, v->n, hp->n_layers);
		for (l = 0; l < hp->n_layers; l++)
			if (gguf_elem_int(v, l))
				set_windowed(hp, l);
		return 0;
	}
	ret = hparams_int(r, name, SHERD_MAX_LAYERS, &period);
	for (l = 0; l < hp->n_layers; l++)
		if (!period || (l + 1) % period)
			set_windowed(hp, l);
	return MIN(ret, 0);
}

static int read_window(struct hparams_reader *r, struct sherd_hparams *hp)
{
	static const char name[] = "attention.sliding_window";
	const struct gguf_value *v = gguf_find(r->g, hparams_key(r, name));
	int64_t x = hp->arch->window; /* 0: there is none */
	int ret;

	if (v && v->kind == GGUF_ARRAY) {
		ret = hparams_int(r, name, INT_MAX, &hp->window);
	} else {
		ret = gguf_get_int(r->g, r->key, 0, INT_MAX, &x, r->err);
		hp->window = (int)x;
	}
	if (ret < 0)
		return ret;
	return hp->window ? read_window_pattern(r, hp) : 0;
}

/*
 * A factor or a cap, 0 where there is none: @out is left alone then. What is next to nothing has no
 * reciprocal to go on with.
 */
static int get_scale(struct hparams_reader *r, const char *name, float hi, float *out)
{
	float x = 0;
	int ret = hparams_float(r, name, 0, hi, &x);

	if (ret > 0 && x != 0 && x < 1e-6f)
		return sherd_fail(r->err, -ERANGE, "%s: %s is %g, which is next to nothing",
				  r->g->path, r->key, (double)x);
	if (x != 0)
		*out = x;
	return MIN(ret, 0);
}

static int read_scales(struct hparams_reader *r, struct sherd_hparams *hp)
{
	float logits = 1;
	int ret;

	hp->embd_scale = hp->arch->scaled_embd ? (float)sqrt(hp->hidden) : 1;
	hp->residual_scale = hp->logit_scale = 1;
	hp->q_scale = (float)(1.0 / sqrt(hp->arch->wide_layers == hp->n_layers ?
						 MAX(hp->hidden / hp->n_heads, 1) :
						 hp->head_dim));
	/* at most 1: then no score of numbers below NUM_QKV_MAX overflows */
	ret = get_scale(r, "attention.scale", 1, &hp->q_scale);
	if (!ret)
		ret = get_scale(r, "embedding_scale", 1e6f, &hp->embd_scale);
	if (!ret)
		ret = get_scale(r, "residual_scale", 1e6f, &hp->residual_scale);
	if (!ret)
		ret = get_scale(r, "logit_scale", 1e6f, &logits);
	if (!ret)
		ret = get_scale(r, "attn_logit_softcapping", 1e6f, &hp->score_cap);
	if (!ret)
		ret = get_scale(r, "final_logit_softcapping", 1e6f, &hp->logit_cap);
	hp->logit_scale = (float)(1.0 / logits); /* logits are divided by it */
	return ret;
}

/* Whether a layer has tensor @name, of a file or a shard of some layers. */
static bool has_in_layer(const struct gguf *g, const char *name)
{
	size_t n = strlen(name), i;

	for (i = 0; i < g->n_tensors; i++) {
		struct gguf_str s = g->tensors[i].name;

		if (s.len > n + 5 && !memcmp(s.data, "blk.", 4) && s.data[s.len - n - 1] == '.' &&
		    !memcmp(s.data + s.len - n, name, n))
			return true;
	}
	return false;
}

/* What no key says, only that there are tensors for it. */
static void see_layout(const struct gguf *g, struct sherd_hparams *hp)
{
	const struct sherd_arch *a = hp->arch;

	hp->qk_norm = a->qk_norm;
	if (a->qk_norm_may && !has_in_layer(g, "attn_q_norm.weight"))
		hp->qk_norm = SHERD_QK_NONE;
	/* a shard has either under the name of its place */
	hp->two_norms =
		a->two_norms || (a->two_norms_may && (has_in_layer(g, "attn_norm_2.weight") ||
						      has_in_layer(g, "ffn_norm.weight")));
	/* StableLM's converter says "parallel" where config.json says nothing */
	if (hp->parallel && !a->parallel && has_in_layer(g, "ffn_norm.weight"))
		hp->parallel = false;
}

/* What a row says, and some files of its family say otherwise. */
static int read_layout(struct hparams_reader *r, struct sherd_hparams *hp)
{
	bool after = false;
	int ret;

	hp->parallel = hp->arch->parallel;
	hp->norm_at = hp->arch->norm_at;
	hp->embd = hp->hidden;
	ret = gguf_get_bool(r->g, hparams_key(r, "use_parallel_residual"), &hp->parallel, r->err);
	if (ret >= 0)
		ret = gguf_get_bool(r->g, hparams_key(r, "norm_after"), &after, r->err);
	if (ret >= 0)
		ret = hparams_int(r, "embedding_length_in", MAX_WIDTH, &hp->embd);
	if (after)
		hp->norm_at = SHERD_NORM_SUM;
	see_layout(r->g, hp);
	return MIN(ret, 0);
}

/* What an encoder makes one vector of a text's rows by: the file's number is another. */
static int read_pooling(struct hparams_reader *r, struct sherd_hparams *hp)
{
	static const enum sherd_pooling poolings[] = { SHERD_POOL_NONE, SHERD_POOL_MEAN,
						       SHERD_POOL_CLS, SHERD_POOL_LAST };
	int64_t n = 1;
	int ret = gguf_get_int(r->g, hparams_key(r, "pooling_type"), 0, INT32_MAX, &n, r->err);

	if (ret < 0)
		return ret;
	if (n >= (int64_t)ARRAY_SIZE(poolings))
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: %s is %d: it ranks texts, or pools their rows in a way that "
				  "sherd does not know; none, mean, cls and last are known",
				  r->g->path, r->key, (int)n);
	hp->pooling = poolings[n];
	return 0;
}

static int read_eps(struct hparams_reader *r, struct sherd_hparams *hp)
{
	const char *name = hp->arch->norm == SHERD_NORM_RMS ? "attention.layer_norm_rms_epsilon" :
							      "attention.layer_norm_epsilon";
	int ret = hparams_float(r, name, 1e-20f, 1, &hp->norm_eps);

	return ret < 0 ? ret : ret ? 0 : hparams_missing(r, name);
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

static int read_vocab(struct hparams_reader *r, struct sherd_hparams *hp)
{
	const struct gguf_value *tokens = gguf_find(r->g, "tokenizer.ggml.tokens");
	int64_t rows = embedding_rows(r->g), n = rows;
	int ret;

	if (tokens && tokens->kind == GGUF_ARRAY) {
		n = (int64_t)tokens->n;
	} else {
		ret = hparams_int(r, "vocab_size", MAX_VOCAB, &hp->n_vocab);
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
	struct hparams_reader r = { .g = g, .err = err };
	int ret;

	memset(hp, 0, sizeof(*hp));
	ret = find_arch(&r, hp);
	if (!ret)
		ret = refuse_extras(&r, hp->arch->encoder);
	if (!ret)
		ret = hparams_need(&r, "block_count", SHERD_MAX_LAYERS, &hp->n_layers);
	if (!ret)
		ret = hparams_need(&r, "context_length", HPARAMS_MAX_CTX, &hp->n_ctx_train);
	if (!ret)
		ret = hparams_need(&r, "embedding_length", MAX_WIDTH, &hp->hidden);
	if (!ret)
		ret = read_layout(&r, hp);
	if (!ret)
		ret = hparams_need(&r, "feed_forward_length", MAX_WIDTH, &hp->ffn);
	if (!ret)
		ret = read_experts(&r, hp);
	if (!ret)
		ret = read_heads(&r, hp);
	if (!ret)
		ret = read_window(&r, hp);
	if (!ret)
		ret = hparams_rope(&r, hp);
	if (!ret)
		ret = read_scales(&r, hp);
	if (!ret)
		ret = read_eps(&r, hp);
	if (!ret)
		ret = read_vocab(&r, hp);
	if (!ret && hp->arch->encoder)
		ret = read_pooling(&r, hp);
	return ret;
}

int sherd_hparams_ctx(const struct sherd_hparams *hp, int asked)
{
	return asked ? asked : MIN(hp->n_ctx_train, DEFAULT_CTX);
}

int sherd_hparams_window(const struct sherd_hparams *hp, int layer)
{
	return hp->windowed[layer / 64] >> layer % 64 & 1 ? hp->window : 0;
}
