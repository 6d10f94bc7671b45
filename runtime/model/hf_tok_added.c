/* SPDX-License-Identifier: MIT */
/*
 * hf_tok_added: tokens beside the model's own, and which of all are special. tokenizer.json has them
 * as a list, tokenizer_config.json as an object by id, added_tokens.json by text; roles such as the
 * end of a text are given by name, in the tokenizer's files, or by id, in the model's.
 */
#include "model/hf_tok.h"

#include <stdlib.h>

#define MAX_SPECIAL 4096 /* of those without a role */

static const char *const role_keys[HF_N_ROLES] = {
	[HF_BOS] = "bos_token",	  [HF_EOS] = "eos_token", [HF_UNK] = "unk_token",
	[HF_SEP] = "sep_token",	  [HF_PAD] = "pad_token", [HF_CLS] = "cls_token",
	[HF_MASK] = "mask_token",
};

/* A token is named by its text, or by an object with that in it. */
static const json_t *content_of(const json_t *j)
{
	return json_is_object(j) ? json_object_get(j, "content") : j;
}

static int add(struct hf_vocab *v, int64_t id, const char *text, size_t len, bool special)
{
	enum hf_token_type type = special ? HF_CONTROL : HF_USER;
	float score = 0;

	if (!text)
		return sherd_fail(v->hf->err, -EINVAL, "%s: an added token has no text",
				  v->hf->dir);
	if (id >= 0 && (uint64_t)id < v->n && v->tokens[id].text.data) {
		/* a part of the vocabulary that is looked for in the text first of all */
		if (v->tokens[id].type == HF_UNKNOWN || v->tokens[id].type == HF_BYTE)
			return 0;
		score = v->tokens[id].score;
	}
	return hf_vocab_set(v, id, text, len, score, type);
}

static int add_object(struct hf_vocab *v, int64_t id, const json_t *token)
{
	const json_t *content = content_of(token);
	int ret = add(v, id, json_string_value(content), json_string_length(content),
		      json_is_true(json_object_get(token, "special")));

	if (ret || (uint64_t)id >= v->n)
		return ret;
	if (json_is_true(json_object_get(token, "lstrip")))
		v->tokens[id].strip |= HF_LSTRIP;
	if (json_is_true(json_object_get(token, "rstrip")))
		v->tokens[id].strip |= HF_RSTRIP;
	return 0;
}

static int64_t id_of(const json_t *j)
{
	return json_is_integer(j) ? json_integer_value(j) : -1;
}

static int add_lists(struct hf_vocab *v, const json_t *tokenizer, const json_t *config)
{
	const json_t *list = json_object_get(tokenizer, "added_tokens"), *one;
	const json_t *decoder = json_object_get(config, "added_tokens_decoder");
	json_t *by_text, *id;
	const char *key;
	char *end;
	size_t i;
	int ret = hf_vocab_json(v, "added_tokens.json", &by_text);

	hf_vocab_expect(v, json_object_size(by_text) + json_array_size(list) +
				   json_object_size(decoder));
	json_object_foreach(by_text, key, id)
		ret = ret ? ret : add(v, id_of(id), key, strlen(key), false);
	json_array_foreach(list, i, one)
		ret = ret ? ret : add_object(v, id_of(json_object_get(one, "id")), one);
	json_object_foreach((json_t *)decoder, key, id) {
		long number = strtol(key, &end, 10);

		ret = ret ? ret : add_object(v, *end ? -1 : number, id);
	}
	return ret;
}

static void set_role(struct hf_vocab *v, enum hf_role role, const json_t *token)
{
	const json_t *content = content_of(token);
	int32_t id;

	if (!json_is_string(content))
		return;
	id = hf_vocab_find(v, json_string_value(content), json_string_length(content));
	if (id < 0)
		return;
	v->role[role] = id;
	if (v->tokens[id].type == HF_NORMAL || v->tokens[id].type == HF_USER)
		v->tokens[id].type =
			role == HF_UNK && strcmp(v->model, "bert") ? HF_UNKNOWN : HF_CONTROL;
}

int hf_tok_added(struct hf_vocab *v, const json_t *tokenizer, const json_t *config)
{
	const json_t *more, *one;
	json_t *map;
	size_t i;
	int ret = add_lists(v, tokenizer, config);

	if (!ret)
		ret = hf_vocab_json(v, "special_tokens_map.json", &map);
	if (ret)
		return ret;
	for (i = 0; i < HF_N_ROLES; i++) {
		set_role(v, (enum hf_role)i, json_object_get(map, role_keys[i]));
		set_role(v, (enum hf_role)i, json_object_get(config, role_keys[i]));
	}
	more = json_object_get(map, "additional_special_tokens");
	json_array_foreach(more, i, one) {
		if (i == MAX_SPECIAL)
			break;
		const json_t *content = content_of(one);
		int32_t id =
			hf_vocab_find(v, json_string_value(content), json_string_length(content));

		if (id >= 0)
			v->tokens[id].type = HF_CONTROL;
	}
	return 0;
}
