/* SPDX-License-Identifier: MIT */
/*
 * hf_config: config.json's numbers under GGUF's names. What a file leaves out means what
 * transformers takes it to mean; what would change the result and has no place in GGUF is refused.
 */
#include "model/hf.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "model/arch.h"

#define MAX_CONFIG (4u << 20)

const json_t *hf_get(const json_t *j, const char *key)
{
	const json_t *v = json_object_get(j, key);

	return json_is_null(v) ? NULL : v;
}

const char *hf_text(const json_t *j, const char *key)
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
	type = hf_text(hf->root, "model_type");
	hf->family = hf_family_find(hf->config);
	if (!hf->family && json_is_object(json_object_get(hf->root, "text_config"))) {
		hf->config = json_object_get(hf->root, "text_config");
		hf->family = hf_family_find(hf->config);
	}
	if (!hf->family)
		return sherd_fail(hf->err, -ENOTSUP,
				  "%s: a model of type \"%.64s\" is not supported; these are: %s",
				  hf->dir, type, hf_family_types());
	return 0;
}

const char *hf_arch_key(const struct hf *hf, const char *name, char buf[96])
{
	snprintf(buf, 96, "%s.%s", hf->family->arch, name);
	return buf;
}

const json_t *hf_rope_of(const struct hf *hf, const char *layers)
{
	const json_t *all = hf_get(hf->config, "rope_parameters"), *one = hf_get(all, layers);

	return one ? one : all;
}

static const json_t *find_key(const struct hf *hf, const char *key)
{
	static const struct {
		const char *before, *now;
	} renamed[] = {
		/* as they moved there */
		{ "rotary_pct", "partial_rotary_factor" },
		{ "rotary_emb_base", "rope_theta" },
	};
	const json_t *v = hf_get(hf->config, key);
	size_t i;

	if (!v && !strcmp(key, "rope_local_base_freq"))
		return hf_get(hf_get(hf_get(hf->config, "rope_parameters"), "sliding_attention"),
			      "rope_theta");
	for (i = 0; i < ARRAY_SIZE(renamed) && !v; i++)
		if (!strcmp(key, renamed[i].before))
			key = renamed[i].now;
	return v ? v : hf_get(hf_rope_of(hf, "full_attention"), key);
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
	if (key->kind == HF_BOOL && json_is_boolean(v)) {
		*x = json_is_true(v);
		return 1;
	}
	if (!json_is_number(v) || (key->kind == HF_INT && !(*x >= 0 && *x <= INT32_MAX)) ||
	    (key->kind == HF_INT && *x != floor(*x)) ||
	    (key->kind == HF_SHARE && !(*x >= 0 && *x <= 1)) ||
	    (key->kind == HF_RSQRT && !(*x > 0)))
		return sherd_fail(hf->err, -EINVAL, "%s/config.json: %s is no %s", hf->dir, key->hf,
				  key->kind == HF_INT ? "number of things" : "number");
	return 1;
}

static int put_key(struct hf *hf, const struct hf_key *key)
{
	char buf[96];
	double x;
	int ret = number_of(hf, key, &x);

	if (ret <= 0)
		return ret;
	hf_arch_key(hf, key->gguf, buf);
	if (key->kind == HF_INT)
		gguf_put_u32(hf->w, buf, (uint32_t)x);
	else if (key->kind == HF_SHARE)
		gguf_put_u32(hf->w, buf, (uint32_t)(x * hf->head_dim));
	else if (key->kind == HF_BOOL)
		gguf_put_bool(hf->w, buf, x != 0);
	else
		gguf_put_f32(hf->w, buf, (float)(key->kind == HF_RSQRT ? 1 / sqrt(x) : x));
	return 0;
}

/* Whether a table before number @n has @gguf. */
static bool is_overruled(const struct hf *hf, int n, const char *gguf)
{
	const struct hf_key *key;
	int i;

	for (i = 0; i < n; i++)
		for (key = hf->family->keys[i]; key->hf; key++)
			if (!strcmp(key->gguf, gguf))
				return true;
	return false;
}

static int put_keys(struct hf *hf)
{
	const struct hf_key *key;
	int i, ret;

	for (i = 0; i < HF_TABLES && hf->family->keys[i]; i++)
		for (key = hf->family->keys[i]; key->hf; key++) {
			ret = is_overruled(hf, i, key->gguf) ? 0 : put_key(hf, key);
			if (ret)
				return ret;
		}
	return 0;
}

double hf_value(const struct hf *hf, const char *gguf)
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
		act = hf_text(hf->config, keys[i]);
	if (!*act || hf_has_word(hf->family->acts, act))
		return 0;
	return sherd_fail(
		hf->err, -ENOTSUP,
		"%s/config.json: the activation is \"%.40s\"; sherd has a %s model's as %s",
		hf->dir, act, hf->family->arch, hf->family->acts);
}

/* Switches that change the result: what they have to be for it to be what sherd computes. */
static int check_switches(const struct hf *hf)
{
	static const struct {
		const char *key;
		bool want;
		const char *but; /* an architecture that has either */
	} switches[] = {
		{ "scale_attn_by_inverse_layer_idx", false, NULL },
		{ "scale_attn_weights", true, NULL },
		{ "add_cross_attention", false, NULL },
		{ "is_encoder_decoder", false, NULL },
		{ "use_sliding_window", false, NULL },
		{ "use_bidirectional_attention", false, NULL },
		{ "qk_layernorm", false, "stablelm" },
		{ "alibi", false, NULL },
		{ "parallel_attn", true, NULL },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(switches); i++) {
		const json_t *v = json_object_get(hf->config, switches[i].key);

		if (switches[i].but && !strcmp(switches[i].but, hf->family->arch))
			continue;
		if (json_is_boolean(v) && json_is_true(v) != switches[i].want)
			return sherd_fail(hf->err, -ENOTSUP,
					  "%s/config.json: %s is %s, which sherd does not do",
					  hf->dir, switches[i].key,
					  json_is_true(v) ? "true" : "false");
	}
	if (hf_get(hf->root, "quantization_config"))
		return sherd_fail(hf->err, -ENOTSUP,
				  "%s: its weights are quantized (\"%.40s\"); of folders sherd "
				  "reads %s only: take the model that it was made of, or a GGUF",
				  hf->dir,
				  hf_text(hf_get(hf->root, "quantization_config"), "quant_method"),
				  SAFETENSORS_TYPES);
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

/* Which layers have the window, where a list says it of each. */
static int put_layer_types(struct hf *hf)
{
	const json_t *types = hf_get(hf->config, "layer_types"), *one;
	size_t n = json_array_size(types), i;
	uint32_t *windowed;
	char buf[96];

	if (!n)
		return 0;
	windowed = sherd_calloc(n, sizeof(*windowed));
	if (!windowed)
		return sherd_fail_oom(hf->err, n * sizeof(*windowed), "a list of layers");
	json_array_foreach(types, i, one)
		windowed[i] =
			json_is_string(one) && !strcmp(json_string_value(one), "sliding_attention");
	gguf_put_u32_array(hf->w, hf_arch_key(hf, "attention.sliding_window_pattern", buf),
			   windowed, n);
	free(windowed);
	return 0;
}

/* sentence-transformers' models list what a text goes through; Dense, for one, is a layer more. */
static int check_modules(const struct hf *hf)
{
	json_t *modules, *one;
	size_t i;
	int ret = hf_json(hf, "modules.json", MAX_CONFIG, false, &modules);

	json_array_foreach(modules, i, one) {
		const char *type = hf_text(one, "type"), *dot = strrchr(type, '.');

		if (!ret && !hf_has_word("Transformer Pooling Normalize", dot ? dot + 1 : type))
			ret = sherd_fail(
				hf->err, -ENOTSUP,
				"%s/modules.json: a text goes through \"%.64s\", which sherd "
				"does not have; Transformer, Pooling and Normalize are known",
				hf->dir, type);
	}
	json_decref(modules);
	return ret;
}

/* And in a folder of its own how a text's rows become one. */
static int take_pooling(const struct hf *hf, const json_t *pooling, uint32_t *type)
{
	static const char *const modes[] = { "pooling_mode_mean_tokens", "pooling_mode_cls_token",
					     "pooling_mode_lasttoken" };
	const char *key;
	json_t *v;
	size_t i;

	json_object_foreach((json_t *)pooling, key, v) {
		if (strncmp(key, "pooling_mode_", 13) || !json_is_true(v))
			continue;
		for (i = 0; i < ARRAY_SIZE(modes) && strcmp(key, modes[i]);)
			i++;
		if (i == ARRAY_SIZE(modes) || *type)
			return sherd_fail(
				hf->err, -ENOTSUP,
				"%s/1_Pooling/config.json: %.64s is true; sherd pools by one "
				"of mean, cls and last token",
				hf->dir, key);
		*type = (uint32_t)i + 1;
	}
	return 0;
}

static int put_pooling(struct hf *hf)
{
	uint32_t type = 0;
	json_t *pooling;
	char buf[96];
	int ret = check_modules(hf);

	if (!ret)
		ret = hf_json(hf, HF_POOLING, MAX_CONFIG, false, &pooling);
	if (ret)
		return ret;
	ret = take_pooling(hf, pooling, &type);
	json_decref(pooling);
	if (type)
		gguf_put_u32(hf->w, hf_arch_key(hf, "pooling_type", buf), type);
	gguf_put_bool(hf->w, hf_arch_key(hf, "attention.causal", buf), false);
	return ret;
}

/* Which layers do not rotate: a list, or one of so many. The row knows one of four. */
static int check_skipped(const struct hf *hf)
{
	const json_t *list = hf_get(hf->config, "no_rope_layers"), *one; /* 1: it does */
	const json_t *period = hf_get(hf->config, "no_rope_layer_interval");
	bool ok = list || !period || json_integer_value(period) == SHERD_SKIP_PERIOD;
	size_t i;

	json_array_foreach(list, i, one)
		ok = ok && json_integer_value(one) == ((i + 1) % SHERD_SKIP_PERIOD != 0);
	if (ok)
		return 0;
	return sherd_fail(hf->err, -ENOTSUP,
			  "%s/config.json: its layers without rotation are others than every %dth",
			  hf->dir, SHERD_SKIP_PERIOD);
}

/* Those that hang together with others. */
static int put_rest(struct hf *hf)
{
	const char *name = hf->family->arch;
	const struct sherd_arch *arch = sherd_arch_find(name, strlen(name));
	double window = json_number_value(hf_get(hf->config, "sliding_window"));
	double hidden = hf_value(hf, "embedding_length");
	char buf[96];
	int ret = 0;

	if (!hf_value(hf, "feed_forward_length") && hidden < INT32_MAX / 4)
		gguf_put_u32(hf->w, hf_arch_key(hf, "feed_forward_length", buf),
			     4 * (uint32_t)hidden);
	if (hf->family->flag)
		gguf_put_bool(hf->w, hf_arch_key(hf, hf->family->flag, buf), true);
	if (arch->encoder)
		return put_pooling(hf);
	if (arch->other_rope == SHERD_ROPE_SKIPPED)
		ret = check_skipped(hf);
	if (ret || !hf->family->window || !(window >= 1 && window <= INT32_MAX))
		return ret;
	gguf_put_u32(hf->w, hf_arch_key(hf, "attention.sliding_window", buf), (uint32_t)window);
	return put_layer_types(hf);
}

static void note_heads(struct hf *hf)
{
	double hidden = hf_value(hf, "embedding_length"), d = hf_value(hf, "attention.key_length");

	hf->n_layers = (int)hf_value(hf, "block_count");
	hf->n_experts = (int)hf_value(hf, "expert_count");
	hf->n_heads = (int)hf_value(hf, "attention.head_count");
	hf->n_kv_heads = (int)hf_value(hf, "attention.head_count_kv");
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
		ret = hf_rope_put(hf);
	return ret ? ret : put_rest(hf);
}
