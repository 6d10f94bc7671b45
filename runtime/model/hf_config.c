/* SPDX-License-Identifier: MIT */
/*
 * hf_config: config.json's numbers under GGUF's names. What a file leaves out means what
 * transformers takes it to mean; what would change the result and has no place in GGUF is refused.
 */
#include "model/hf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_CONFIG (4u << 20)

/* A key that is null is one that is not there. */
static const json_t *get(const json_t *j, const char *key)
{
	const json_t *v = json_object_get(j, key);

	return json_is_null(v) ? NULL : v;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

int hf_config_load(struct hf *hf)
{
	const char *type;
	int ret = hf_json(hf, "config.json", MAX_CONFIG, true, &hf->root);

	if (ret)
		return ret;
	hf->config = hf->root;
	type = text_of(hf->root, "model_type");
	hf->family = hf_family_find(type);
	if (!hf->family && json_is_object(json_object_get(hf->root, "text_config"))) {
		hf->config = json_object_get(hf->root, "text_config");
		hf->family = hf_family_find(text_of(hf->config, "model_type"));
	}
	if (!hf->family)
		return sherd_fail(hf->err, -ENOTSUP,
				  "%s: a model of type \"%.64s\" is not supported; these are: %s",
				  hf->dir, type, hf_family_types());
	return 0;
}

static const char *arch_key(const struct hf *hf, const char *name, char buf[96])
{
	snprintf(buf, 96, "%s.%s", hf->family->arch, name);
	return buf;
}

/* transformers 5 keeps everything about RoPE in an object of its own. */
static const json_t *find_key(const struct hf *hf, const char *key)
{
	const json_t *v = get(hf->config, key);

	return v ? v : get(get(hf->config, "rope_parameters"), key);
}

/* 1: there, or what its absence means. 0: nothing. */
static int number_of(const struct hf *hf, const struct hf_key *key, double *x)
{
	const json_t *v = find_key(hf, key->hf);

	*x = v ? json_number_value(v) : key->neutral;
	if (!v && key->needed)
		return sherd_fail(hf->err, -EINVAL, "%s/config.json: lacks %s", hf->dir, key->hf);
	if (!v)
		return !isnan(*x);
	if (!json_is_number(v) || (key->kind == HF_INT && !(*x >= 0 && *x <= INT32_MAX)) ||
	    (key->kind == HF_INT && *x != floor(*x)))
		return sherd_fail(hf->err, -EINVAL, "%s/config.json: %s is no %s", hf->dir,
				  key->hf, key->kind == HF_INT ? "number of things" : "number");
	return 1;
}

static int put_key(struct hf *hf, const struct hf_key *key)
{
	char buf[96];
	double x;
	int ret = number_of(hf, key, &x);

	if (ret <= 0)
		return ret;
	if (key->kind == HF_INT)
		gguf_put_u32(hf->w, arch_key(hf, key->gguf, buf), (uint32_t)x);
	else
		gguf_put_f32(hf->w, arch_key(hf, key->gguf, buf), (float)x);
	return 0;
}

static int put_keys(struct hf *hf)
{
	const struct hf_key *key;
	int i, ret;

	for (i = 0; i < HF_TABLES && hf->family->keys[i]; i++)
		for (key = hf->family->keys[i]; key->hf; key++) {
			ret = put_key(hf, key);
			if (ret)
				return ret;
		}
	return 0;
}

/* What a key of the family's tables gives, 0 if there is none. */
static double value_of(const struct hf *hf, const char *gguf)
{
	const struct hf_key *key;
	double x;
	int i;

	for (i = 0; i < HF_TABLES && hf->family->keys[i]; i++)
		for (key = hf->family->keys[i]; key->hf; key++)
			if (!strcmp(key->gguf, gguf) && number_of(hf, key, &x) == 1)
				return x;
	return 0;
}

/* ------------------------------------------------------------------------ refusals */

static int check_act(const struct hf *hf)
{
	static const char *const keys[] = { "hidden_activation", "hidden_act",
					    "activation_function", "activation" };
	const char *act = "";
	size_t i;

	for (i = 0; i < ARRAY_SIZE(keys) && !*act; i++)
		act = text_of(hf->config, keys[i]);
	if (!*act || hf_has_word(hf->family->acts, act))
		return 0;
	return sherd_fail(hf->err, -ENOTSUP,
			  "%s/config.json: the activation is \"%.40s\"; sherd has a %s model's as %s",
			  hf->dir, act, hf->family->arch, hf->family->acts);
}

/* Switches that change the result: what they have to be for it to be what sherd computes. */
static int check_switches(const struct hf *hf)
{
	static const struct {
		const char *key;
		bool want;
	} switches[] = {
		{ "scale_attn_by_inverse_layer_idx", false },
		{ "scale_attn_weights", true },
		{ "add_cross_attention", false },
		{ "is_encoder_decoder", false },
		{ "use_sliding_window", false },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(switches); i++) {
		const json_t *v = json_object_get(hf->config, switches[i].key);

		if (json_is_boolean(v) && json_is_true(v) != switches[i].want)
			return sherd_fail(hf->err, -ENOTSUP,
					  "%s/config.json: %s is %s, which sherd does not do",
					  hf->dir, switches[i].key,
					  json_is_true(v) ? "true" : "false");
	}
	if (get(hf->root, "quantization_config"))
		return sherd_fail(hf->err, -ENOTSUP,
				  "%s: its weights are quantized (\"%.40s\"); of folders sherd "
				  "reads %s only: take the model that it was made of, or a GGUF",
				  hf->dir,
				  text_of(get(hf->root, "quantization_config"), "quant_method"),
				  SAFETENSORS_TYPES);
	return 0;
}

/* ---------------------------------------------------------------------------- RoPE */

/* Llama 3's: long waves are stretched by the factor, short ones not, those between in between. */
static int make_rope_factors(struct hf *hf, const json_t *scaling)
{
	double factor = json_number_value(get(scaling, "factor"));
	double low = json_number_value(get(scaling, "low_freq_factor"));
	double high = json_number_value(get(scaling, "high_freq_factor"));
	double old = json_number_value(get(scaling, "original_max_position_embeddings"));
	double theta = value_of(hf, "rope.freq_base");
	int i, n = hf->head_dim / 2;

	if (!(factor > 0) || !(low > 0) || !(high > low) || !(old > 0) || !(theta > 0) || n < 1 ||
	    n > 4096)
		return sherd_fail(hf->err, -EINVAL,
				  "%s/config.json: the numbers of its RoPE scaling cannot be",
				  hf->dir);
	hf->rope_factors = sherd_calloc((size_t)n, sizeof(float));
	if (!hf->rope_factors)
		return sherd_fail_oom(hf->err, (size_t)n * sizeof(float), "RoPE's factors");
	for (i = 0; i < n; i++) {
		double wave = 2 * M_PI * pow(theta, (double)i / n);
		double smooth = (old / wave - low) / (high - low);

		smooth = fmin(fmax(smooth, 0), 1);
		hf->rope_factors[i] = (float)(1 / ((1 - smooth) / factor + smooth));
	}
	return 0;
}

static int put_rope(struct hf *hf)
{
	const json_t *scaling = get(hf->config, "rope_scaling");
	const char *type;
	char buf[96];

	if (!scaling)
		scaling = get(hf->config, "rope_parameters");
	type = text_of(scaling, "rope_type");
	if (!*type)
		type = text_of(scaling, "type");
	if (!*type || !strcmp(type, "default"))
		return 0;
	if (!strcmp(type, "llama3"))
		return make_rope_factors(hf, scaling);
	/* whatever it is: who reads the hyper-parameters knows what can be done */
	gguf_put_str(hf->w, arch_key(hf, "rope.scaling.type", buf), type);
	if (json_is_number(get(scaling, "factor")))
		gguf_put_f32(hf->w, arch_key(hf, "rope.scaling.factor", buf),
			     (float)json_number_value(get(scaling, "factor")));
	return 0;
}

/* ------------------------------------------------------------------------------ all */

/* "org/name" of a folder in the hub's cache, else the folder's own name. */
static void put_name(struct hf *hf)
{
	const char *repo = strstr(hf->dir, "/models--"), *end, *slash = strrchr(hf->dir, '/');
	char name[256], *dashes;

	if (repo) {
		repo += strlen("/models--");
		end = strchrnul(repo, '/');
	} else {
		repo = slash && slash[1] ? slash + 1 : hf->dir;
		end = repo + strlen(repo);
	}
	snprintf(name, sizeof(name), "%.*s", (int)(end - repo), repo);
	dashes = strstr(name, "--");
	if (dashes && repo > hf->dir + 9 && !strncmp(repo - 9, "/models--", 9)) {
		*dashes = '/';
		memmove(dashes + 1, dashes + 2, strlen(dashes + 2) + 1);
	}
	gguf_put_str(hf->w, "general.name", name);
}

/* Those that hang together with others. */
static void put_rest(struct hf *hf)
{
	int64_t window = json_integer_value(get(hf->config, "sliding_window"));
	char buf[96];

	if (!value_of(hf, "feed_forward_length"))
		gguf_put_u32(hf->w, arch_key(hf, "feed_forward_length", buf),
			     4 * (uint32_t)value_of(hf, "embedding_length"));
	if (hf->family->window && window > 0 && window <= INT32_MAX)
		gguf_put_u32(hf->w, arch_key(hf, "attention.sliding_window", buf),
			     (uint32_t)window);
}

static void note_heads(struct hf *hf)
{
	double hidden = value_of(hf, "embedding_length"), d = value_of(hf, "attention.key_length");

	hf->n_heads = (int)value_of(hf, "attention.head_count");
	hf->n_kv_heads = (int)value_of(hf, "attention.head_count_kv");
	if (!hf->n_kv_heads)
		hf->n_kv_heads = hf->n_heads;
	hf->head_dim = d ? (int)d : hf->n_heads ? (int)hidden / hf->n_heads : 0;
}

int hf_config_put(struct hf *hf)
{
	int ret = check_act(hf);

	if (!ret)
		ret = check_switches(hf);
	if (ret)
		return ret;
	gguf_put_str(hf->w, "general.architecture", hf->family->arch);
	put_name(hf);
	note_heads(hf);
	ret = put_keys(hf);
	if (!ret)
		ret = put_rope(hf);
	if (!ret)
		put_rest(hf);
	return ret;
}
