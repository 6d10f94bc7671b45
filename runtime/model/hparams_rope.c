/* SPDX-License-Identifier: MIT */
/*
 * hparams_rope: what a model's metadata says about its rotary positions: base, share of a head, which
 * of the ways to stretch them (linear, YaRN, Llama 3's and longrope's divisors), and the layers that
 * rotate otherwise. infer/rope.c makes angles of it.
 */
#include <math.h>
#include "model/hparams.h"

/*
 * Divisors for short and for long contexts, by which of them the context is for; cosines and sines
 * grow with the ratio.
 */
static int read_long_rope(struct hparams_reader *r, struct sherd_hparams *hp)
{
	double ratio;
	int ret = hparams_need(r, "rope.scaling.original_context_length", HPARAMS_MAX_CTX,
			       &hp->rope_ctx);

	if (ret)
		return ret;
	hp->rope_scaling = SHERD_ROPE_LONG;
	if (gguf_find(r->g, hparams_key(r, "rope.scaling.attn_factor")))
		return 0;
	ratio = (double)hp->n_ctx_train / hp->rope_ctx;
	if (ratio > 1 && hp->rope_ctx > 1)
		hp->rope_attn_factor = (float)sqrt(1 + log(ratio) / log(hp->rope_ctx));
	return 0;
}

/* The paper's, @times over. */
static double yarn_growth(double factor, double times)
{
	return 1 + 0.1 * times * log(factor);
}

/*
 * By how much cosines and sines grow: what the file says, or the paper's, less what of it a model has
 * otherwise (llama.cpp's converters write that as a multiple).
 */
static int read_yarn_growth(struct hparams_reader *r, struct sherd_hparams *hp)
{
	float own = (float)yarn_growth(hp->rope_factor, 1), had = 0;
	int ret = hparams_float(r, "rope.scaling.yarn_log_multiplier", 0, 100, &had);

	if (ret > 0)
		own = (float)(yarn_growth(hp->rope_factor, 1) / yarn_growth(hp->rope_factor, had));
	if (ret >= 0)
		ret = hparams_float(r, "rope.scaling.yarn_attn_factor", 0.01f, 100, &own);
	hp->rope_attn_factor *= own;
	return MIN(ret, 0);
}

static int read_yarn(struct hparams_reader *r, struct sherd_hparams *hp)
{
	int ret = hparams_float(r, "rope.scaling.factor", 1, 1e6f, &hp->rope_factor);

	if (!ret)
		return hparams_missing(r, "rope.scaling.factor");
	if (hp->rope_theta <= 1)
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: %s is 1, with which all pairs turn alike: YaRN has nothing "
				  "to tell apart",
				  r->g->path, hparams_key(r, "rope.freq_base"));
	hp->rope_scaling = SHERD_ROPE_YARN;
	hp->rope_ctx = hp->n_ctx_train;
	hp->rope_fast = 32;
	hp->rope_slow = 1;
	hp->rope_whole = true;
	if (ret > 0)
		ret = hparams_int(r, "rope.scaling.original_context_length", HPARAMS_MAX_CTX,
				  &hp->rope_ctx);
	if (ret >= 0)
		ret = hparams_float(r, "rope.scaling.yarn_beta_slow", 1e-3f, 1e6f, &hp->rope_slow);
	if (ret >= 0)
		ret = hparams_float(r, "rope.scaling.yarn_beta_fast", hp->rope_slow, 1e6f,
				    &hp->rope_fast);
	if (ret >= 0)
		ret = gguf_get_bool(r->g, hparams_key(r, "rope.scaling.yarn_truncate"),
				    &hp->rope_whole, r->err);
	return ret < 0 ? ret : read_yarn_growth(r, hp);
}

static int read_rope_scaling(struct hparams_reader *r, struct sherd_hparams *hp)
{
	struct gguf_str type = { "linear", 6 }; /* what a factor without a type means */
	float factor = 1;
	int ret;

	ret = gguf_get_str(r->g, hparams_key(r, "rope.scaling.type"), &type, r->err);
	if (ret >= 0)
		ret = hparams_float(r, "rope.scaling.attn_factor", 0.01f, 100,
				    &hp->rope_attn_factor);
	if (ret < 0)
		return ret;
	if (gguf_str_eq(type, "longrope") || gguf_tensor(r->g, "rope_factors_long.weight"))
		return read_long_rope(r, hp);
	if (gguf_str_eq(type, "yarn"))
		return read_yarn(r, hp);
	/* "llama3" needs nothing else: its divisors are a tensor. */
	if (gguf_str_eq(type, "none") ||
	    (gguf_str_eq(type, "llama3") && gguf_tensor(r->g, "rope_freqs.weight")))
		return 0;
	if (!gguf_str_eq(type, "linear"))
		return sherd_fail(r->err, -ENOTSUP,
				  "%s: RoPE scaling \"%.*s\" is not supported: "
				  "none, linear, yarn, longrope and Llama-3's (the tensor "
				  "rope_freqs.weight) are",
				  r->g->path, (int)MIN(type.len, (size_t)64), type.data);
	ret = hparams_float(r, "rope.scaling.factor", 0, 1e6f, &factor);
	if (!ret) /* the key's older name */
		ret = hparams_float(r, "rope.scale_linear", 0, 1e6f, &factor);
	if (ret < 0)
		return ret;
	if (factor != 1 && factor != 0) { /* 0: none */
		hp->rope_scaling = SHERD_ROPE_LINEAR;
		hp->rope_factor = factor;
	}
	return 0;
}

int hparams_rope(struct hparams_reader *r, struct sherd_hparams *hp)
{
	int ret;

	hp->rope_theta = 10000;
	hp->rope_factor = hp->rope_attn_factor = 1;
	if (hp->arch->position == SHERD_POS_LEARNED)
		return 0;
	hp->rope_dim = hp->head_dim;
	ret = hparams_int(r, "rope.dimension_count", hp->head_dim, &hp->rope_dim);
	if (ret < 0)
		return ret;
	if (hp->rope_dim % 2)
		return sherd_fail(r->err, -EINVAL, "%s: %s is %d, which is odd", r->g->path,
				  hparams_key(r, "rope.dimension_count"), hp->rope_dim);
	ret = hparams_float(r, "rope.freq_base", 1, 1e12f, &hp->rope_theta);
	if (hp->window || hp->arch->other_rope == SHERD_ROPE_SKIPPED)
		hp->other_rope = hp->arch->other_rope;
	if (hp->other_rope == SHERD_ROPE_OWN_BASE)
		hp->rope_other_theta = 10000;
	else if (hp->other_rope == SHERD_ROPE_UNSCALED)
		hp->rope_other_theta = hp->rope_theta;
	if (ret >= 0 && hp->rope_other_theta != 0)
		ret = hparams_float(r, "rope.freq_base_swa", 1, 1e12f, &hp->rope_other_theta);
	return ret < 0 ? ret : read_rope_scaling(r, hp);
}

bool sherd_hparams_other_rope(const struct sherd_hparams *hp, int layer)
{
	switch (hp->other_rope) {
	case SHERD_ROPE_OWN_BASE:
	case SHERD_ROPE_UNSCALED:
		return sherd_hparams_window(hp, layer) != 0;
	case SHERD_ROPE_SKIPPED:
		return (layer + 1) % SHERD_SKIP_PERIOD == 0;
	case SHERD_ROPE_WINDOWS:
		return sherd_hparams_window(hp, layer) == 0;
	case SHERD_ROPE_SAME:
		break;
	}
	return false;
}
