/* SPDX-License-Identifier: MIT */
/*
 * hf_rope: how config.json stretches a model's positions, under GGUF's keys, or as the tensors of
 * divisors that GGUF has for it. hparams_rope.c says which of the ways there are.
 */
#include "model/hf.h"

#include <math.h>

static int new_factors(struct hf *hf, int i, const char *name)
{
	size_t n = (size_t)hf->rope_dim / 2;

	hf->rope[i].name = name;
	hf->rope[i].data = sherd_calloc(n, sizeof(float));
	return hf->rope[i].data ? 0 : sherd_fail_oom(hf->err, n * sizeof(float), "RoPE's factors");
}

static int bad_rope(const struct hf *hf)
{
	return sherd_fail(hf->err, -EINVAL,
			  "%s/config.json: the numbers of its RoPE scaling cannot be", hf->dir);
}

/* Llama 3's: long waves are stretched by the factor, short ones not, those between in between. */
static int make_llama3(struct hf *hf, const json_t *scaling)
{
	double factor = json_number_value(hf_get(scaling, "factor"));
	double low = json_number_value(hf_get(scaling, "low_freq_factor"));
	double high = json_number_value(hf_get(scaling, "high_freq_factor"));
	double old = json_number_value(hf_get(scaling, "original_max_position_embeddings"));
	double theta = hf_value(hf, "rope.freq_base");
	int i, n = hf->rope_dim / 2;

	if (!(factor > 0) || !(low > 0) || !(high > low) || !(old > 0) || !(theta > 0))
		return bad_rope(hf);
	if (new_factors(hf, 0, "rope_freqs.weight"))
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		double wave = 2 * M_PI * pow(theta, (double)i / n);
		double smooth = (old / wave - low) / (high - low);

		smooth = fmin(fmax(smooth, 0), 1);
		hf->rope[0].data[i] = (float)(1 / ((1 - smooth) / factor + smooth));
	}
	return 0;
}

/* Phi-3's: two lists of divisors. */
static int take_factors(struct hf *hf, int i, const char *name, const json_t *list)
{
	const json_t *one;
	size_t k;

	if (json_array_size(list) != (size_t)hf->rope_dim / 2)
		return bad_rope(hf);
	if (new_factors(hf, i, name))
		return -ENOMEM;
	json_array_foreach(list, k, one) {
		if (!(json_number_value(one) > 0))
			return bad_rope(hf);
		hf->rope[i].data[k] = (float)json_number_value(one);
	}
	return 0;
}

static void put_number(struct hf *hf, const json_t *from, const char *key, const char *gguf)
{
	char buf[96];

	if (json_is_number(hf_get(from, key)))
		gguf_put_f32(hf->w, hf_arch_key(hf, gguf, buf),
			     (float)json_number_value(hf_get(from, key)));
}

/* How much of a head rotates. */
static int rotated(const struct hf *hf)
{
	double part = hf_value(hf, "rope.dimension_count"); /* a share, or the number itself */

	if (!(part > 0))
		return hf->head_dim;
	return (int)(part <= 1 ? part * hf->head_dim : part);
}

/* DeepSeek's way to say how much scores grow: by one multiple of the paper's, but for another. */
static void put_mscale(struct hf *hf, const json_t *scaling)
{
	double m = json_number_value(hf_get(scaling, "mscale"));
	double all = json_number_value(hf_get(scaling, "mscale_all_dim"));
	double log_factor = log(fmax(json_number_value(hf_get(scaling, "factor")), 1));
	char buf[96];

	if (m != 0 && all != 0 && !hf_get(scaling, "attention_factor"))
		gguf_put_f32(hf->w, hf_arch_key(hf, "rope.scaling.yarn_attn_factor", buf),
			     (float)((0.1 * m * log_factor + 1) / (0.1 * all * log_factor + 1)));
}

static void put_yarn(struct hf *hf, const json_t *scaling)
{
	const json_t *whole = hf_get(scaling, "truncate");
	double old = json_number_value(hf_get(scaling, "original_max_position_embeddings"));
	char buf[96];

	if (json_number_value(hf_get(scaling, "beta_fast")) != 0) /* 0 stands for what is usual */
		put_number(hf, scaling, "beta_fast", "rope.scaling.yarn_beta_fast");
	if (json_number_value(hf_get(scaling, "beta_slow")) != 0)
		put_number(hf, scaling, "beta_slow", "rope.scaling.yarn_beta_slow");
	put_number(hf, scaling, "attention_factor", "rope.scaling.yarn_attn_factor");
	put_mscale(hf, scaling);
	if (old >= 1 && old <= INT32_MAX)
		gguf_put_u32(hf->w, hf_arch_key(hf, "rope.scaling.original_context_length", buf),
			     (uint32_t)old);
	if (json_is_boolean(whole))
		gguf_put_bool(hf->w, hf_arch_key(hf, "rope.scaling.yarn_truncate", buf),
			      json_is_true(whole));
}

static int put_longrope(struct hf *hf, const json_t *scaling)
{
	int ret;

	put_number(hf, scaling, "attention_factor", "rope.scaling.attn_factor");
	ret = take_factors(hf, 0, "rope_factors_long.weight", hf_get(scaling, "long_factor"));
	return ret ? ret :
		     take_factors(hf, 1, "rope_factors_short.weight",
				  hf_get(scaling, "short_factor"));
}

int hf_rope_put(struct hf *hf)
{
	const json_t *scaling = hf_get(hf->config, "rope_scaling");
	const char *type;
	char buf[96];

	hf->rope_dim = rotated(hf);
	if (!scaling)
		scaling = hf_rope_of(hf, "full_attention");
	type = hf_text(scaling, "rope_type");
	if (!*type)
		type = hf_text(scaling, "type");
	if (!*type || !strcmp(type, "default"))
		return 0;
	if (hf->rope_dim < 2 || hf->rope_dim > 8192)
		return bad_rope(hf);
	if (!strcmp(type, "llama3"))
		return make_llama3(hf, scaling);
	/* what Phi-3's first files called it */
	if (!strcmp(hf->family->arch, "phi3") && hf_has_word("su yarn", type))
		type = "longrope";
	/* whatever it is: who reads the hyper-parameters knows what can be done */
	gguf_put_str(hf->w, hf_arch_key(hf, "rope.scaling.type", buf), type);
	put_number(hf, scaling, "factor", "rope.scaling.factor");
	if (!strcmp(type, "yarn"))
		put_yarn(hf, scaling);
	return strcmp(type, "longrope") ? 0 : put_longrope(hf, scaling);
}
