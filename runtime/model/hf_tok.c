/* SPDX-License-Identifier: MIT */
/*
 * hf_tok: a folder's tokenizer as the tokenizer.* metadata that a GGUF has. tokenizer.model comes
 * before tokenizer.json, which was made of it then and says less; added tokens, roles and the chat's
 * template are gathered from all files. What GGUF has no key for goes under tokenizer.sherd.
 */
#include "model/hf_tok.h"

#include <stdio.h>
#include <stdlib.h>

#define MAX_TEMPLATE (4u << 20)

struct hf_chunk {
	struct hf_chunk *next;
	char data[];
};

/* --------------------------------------------------------------------- vocabulary */

char *hf_vocab_own(struct hf_vocab *v, size_t size)
{
	struct hf_chunk *c = sherd_calloc(1, sizeof(*c) + size);

	if (!c) {
		sherd_fail_oom(v->hf->err, size, "the tokenizer");
		return NULL;
	}
	c->next = v->chunks;
	v->chunks = c;
	return c->data;
}

void hf_vocab_expect(struct hf_vocab *v, size_t n)
{
	v->listed = MIN(v->listed + n, (size_t)HF_MAX_TOKENS);
}

int hf_vocab_set(struct hf_vocab *v, int64_t id, const char *text, size_t len, float score,
		 enum hf_token_type type)
{
	if (id < 0 || id >= HF_MAX_TOKENS || (size_t)id >= v->listed + HF_MAX_GAP)
		return sherd_fail(v->hf->err, -EINVAL,
				  "%s: the token \"%.40s\" has an id that cannot be, %lld: its "
				  "files list %zu tokens",
				  v->hf->dir, text, (long long)id, v->listed);
	if ((size_t)id >= v->room) {
		size_t room = MAX(2 * v->room, (size_t)id + 1024);
		struct hf_token *t = reallocarray(v->tokens, room, sizeof(*t));

		if (!t)
			return sherd_fail_oom(v->hf->err, room * sizeof(*t), "the vocabulary");
		memset(t + v->room, 0, (room - v->room) * sizeof(*t));
		v->tokens = t;
		v->room = room;
	}
	v->n = MAX(v->n, (size_t)id + 1);
	v->tokens[id] =
		(struct hf_token){ { text, len }, score, (uint8_t)type, v->tokens[id].strip };
	free(v->by_text);
	v->by_text = NULL;
	return 0;
}

static int compare(const struct gguf_str *a, const struct gguf_str *b)
{
	size_t n = MIN(a->len, b->len);
	int d = n ? memcmp(a->data, b->data, n) : 0;

	return d ? d : (a->len > b->len) - (a->len < b->len);
}

/* By text; of equal ones the lowest id is first, as the tokens lie in that order. */
static int by_text(const void *a, const void *b)
{
	const struct hf_token *x = *(const struct hf_token *const *)a;
	const struct hf_token *y = *(const struct hf_token *const *)b;
	int d = compare(&x->text, &y->text);

	return d ? d : (x > y) - (x < y);
}

/* A sorted list, which no chosen texts can make slow. */
static bool sort_by_text(struct hf_vocab *v)
{
	size_t i;

	v->by_text = sherd_calloc(v->n, sizeof(*v->by_text));
	if (!v->by_text)
		return false;
	for (i = v->n_texts = 0; i < v->n; i++)
		if (v->tokens[i].text.data)
			v->by_text[v->n_texts++] = &v->tokens[i];
	qsort(v->by_text, v->n_texts, sizeof(*v->by_text), by_text);
	return true;
}

int32_t hf_vocab_find(struct hf_vocab *v, const char *text, size_t len)
{
	const struct gguf_str wanted = { text, len };
	size_t lo = 0, hi;

	if (!text || !v->n || (!v->by_text && !sort_by_text(v)))
		return -1;
	for (hi = v->n_texts; lo < hi;) {
		size_t mid = (lo + hi) / 2;

		if (compare(&v->by_text[mid]->text, &wanted) < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (lo == v->n_texts || compare(&v->by_text[lo]->text, &wanted))
		return -1;
	return (int32_t)(v->by_text[lo] - v->tokens);
}

int hf_vocab_merges(struct hf_vocab *v, size_t n)
{
	if (n > HF_MAX_TOKENS)
		return sherd_fail(v->hf->err, -E2BIG, "%s: has %zu merges, at most %u are allowed",
				  v->hf->dir, n, HF_MAX_TOKENS);
	v->merges = sherd_calloc(n, sizeof(*v->merges));
	return v->merges ? 0 : sherd_fail_oom(v->hf->err, n * sizeof(*v->merges), "the merges");
}

int hf_vocab_json(struct hf_vocab *v, const char *file, json_t **j)
{
	int ret = hf_json(v->hf, file, HF_MAX_TOKENIZER, false, j);

	if (!ret && *j)
		v->json[v->n_json++] = *j;
	return ret;
}

static void clear(struct hf_vocab *v)
{
	struct hf_chunk *c, *next;

	while (v->n_json)
		json_decref(v->json[--v->n_json]);
	for (c = v->chunks; c; c = next) {
		next = c->next;
		free(c);
	}
	if (v->map.fd >= 0)
		sherd_map_close(&v->map);
	free(v->by_text);
	free(v->tokens);
	free(v->merges);
}

/* ------------------------------------------------------------------------- loading */

static int load_spm(struct hf_vocab *v)
{
	char *path = hf_path(v->hf, "tokenizer.model");
	int ret = path ? sherd_map_open(&v->map, path, v->hf->err) : -ENOMEM;

	if (!ret)
		ret = hf_tok_spm(v, v->map.data, v->map.size, path);
	free(path);
	return ret;
}

/* Some folders have tiktoken's list under that name, which tokenizer.json was made of as well. */
static bool is_spm(const struct hf_vocab *v)
{
	char *path = hf_path(v->hf, "tokenizer.model");
	FILE *f = path ? fopen(path, "re") : NULL;
	bool yes = f && fgetc(f) == '\n'; /* the first piece's key */

	if (f)
		fclose(f);
	free(path);
	return yes;
}

/* Which file is the vocabulary. */
static int load_vocab(struct hf_vocab *v, const json_t *tokenizer)
{
	if (hf_has(v->hf, "tokenizer.model") && (!tokenizer || is_spm(v)))
		return load_spm(v);
	if (tokenizer)
		return hf_tok_json(v, tokenizer);
	if (hf_has(v->hf, "vocab.json") && hf_has(v->hf, "merges.txt"))
		return hf_tok_merges_txt(v);
	if (hf_has(v->hf, "vocab.txt"))
		return hf_tok_vocab_txt(v);
	return 0;
}

static void say(int *flag, const json_t *config, const char *key)
{
	const json_t *j = json_object_get(config, key);

	if (json_is_boolean(j))
		*flag = json_is_true(j);
}

/* tokenizer.json says it all; without it the classes' defaults hold, and what their files say. */
static int load_flags(struct hf_vocab *v, const json_t *tokenizer, const json_t *config)
{
	int ret = 0;

	if (tokenizer) {
		ret = hf_tok_frame(v, tokenizer);
	} else if (!strcmp(v->model, "bert")) {
		v->add_bos = v->add_eos = 1;
		v->role[HF_BOS] = v->role[HF_CLS];
		say(&v->lowercase, config, "do_lower_case");
		v->strip_accents = v->lowercase;
		say(&v->strip_accents, config, "strip_accents");
	}
	if (!tokenizer || v->has_scores) {
		say(&v->add_bos, config, "add_bos_token");
		say(&v->add_eos, config, "add_eos_token");
	}
	return ret;
}

/* --------------------------------------------------------------------------- roles */

static void put_role(struct hf_vocab *v, const char *key, int32_t id)
{
	gguf_put_u32(v->hf->w, key, id >= 0 && (size_t)id < v->n ? (uint32_t)id : UINT32_MAX);
}

static void add_id(struct hf_vocab *v, uint32_t *ids, size_t *n, const json_t *id)
{
	json_int_t x = json_is_integer(id) ? json_integer_value(id) : -1;

	if (x >= 0 && x < (json_int_t)v->n && *n < 64)
		ids[(*n)++] = (uint32_t)x;
}

/* A number or a list of these. */
static void add_ids(struct hf_vocab *v, uint32_t ids[64], size_t *n, const json_t *j)
{
	const json_t *one;
	size_t i;

	add_id(v, ids, n, j);
	json_array_foreach(j, i, one)
		add_id(v, ids, n, one);
}

/* The model's files name tokens that end a text by their ids, chat models several. */
static int put_roles(struct hf_vocab *v)
{
	json_t *generation;
	uint32_t ends[64], bos;
	size_t n = 0, n_bos = 0;
	int ret = hf_vocab_json(v, "generation_config.json", &generation);

	if (ret)
		return ret;
	add_ids(v, ends, &n, json_object_get(generation, "eos_token_id"));
	add_ids(v, ends, &n, json_object_get(v->hf->root, "eos_token_id"));
	if (v->role[HF_EOS] < 0 && n)
		v->role[HF_EOS] = (int32_t)ends[0];
	if (v->role[HF_BOS] < 0 && v->add_bos) {
		add_id(v, &bos, &n_bos, json_object_get(v->hf->root, "bos_token_id"));
		v->role[HF_BOS] = n_bos ? (int32_t)bos : -1;
	}
	put_role(v, "tokenizer.ggml.bos_token_id", v->role[HF_BOS]);
	put_role(v, "tokenizer.ggml.eos_token_id", v->role[HF_EOS]);
	put_role(v, "tokenizer.ggml.unknown_token_id", v->role[HF_UNK]);
	put_role(v, "tokenizer.ggml.seperator_token_id", v->role[HF_SEP]);
	put_role(v, "tokenizer.ggml.padding_token_id", v->role[HF_PAD]);
	put_role(v, "tokenizer.ggml.mask_token_id", v->role[HF_MASK]);
	if (n)
		gguf_put_u32_array(v->hf->w, "tokenizer.sherd.end_token_ids", ends, n);
	return 0;
}

/* ------------------------------------------------------------------ chat template */

static int put_template(struct hf_vocab *v, const json_t *config)
{
	const json_t *j = json_object_get(config, "chat_template"), *one;
	bool own_file = hf_has(v->hf, "chat_template.jinja"); /* then that is the default one */
	char *path, *text, key[96];
	size_t size, i;
	int ret;

	json_array_foreach(j, i, one) {
		const char *name = json_string_value(json_object_get(one, "name"));
		const char *t = json_string_value(json_object_get(one, "template"));

		if (!name || !t || strlen(name) > 40 || (own_file && !strcmp(name, "default")))
			continue;
		snprintf(key, sizeof(key), "tokenizer.chat_template%s%s",
			 strcmp(name, "default") ? "." : "", strcmp(name, "default") ? name : "");
		gguf_put_str(v->hf->w, key, t);
	}
	if (!own_file) {
		if (json_is_string(j))
			gguf_put_strn(v->hf->w, "tokenizer.chat_template", json_string_value(j),
				      json_string_length(j));
		return 0;
	}
	path = hf_path(v->hf, "chat_template.jinja");
	ret = path ? sherd_read_file(path, MAX_TEMPLATE, &text, &size, v->hf->err) : -ENOMEM;
	free(path);
	if (ret)
		return ret;
	gguf_put_strn(v->hf->w, "tokenizer.chat_template", text, size);
	free(text);
	return 0;
}

/* ------------------------------------------------------------------------- writing */

/*
 * As many tokens as the embedding has rows: those that were made to fill it up get a name, and those
 * beyond it (Gemma's tokenizer has one for images) can't be had.
 */
static int fit(struct hf_vocab *v)
{
	size_t n = v->hf->n_rows > 0 ? (size_t)v->hf->n_rows : v->n, i;
	int ret = 0;
	char *name;

	if (n >= v->listed + HF_MAX_GAP || n > HF_MAX_TOKENS)
		return sherd_fail(v->hf->err, -EINVAL,
				  "%s: the embedding has %zu rows, but the tokenizer's files list "
				  "%zu tokens: they do not belong together",
				  v->hf->dir, n, v->listed);
	if (n > v->n)
		ret = hf_vocab_set(v, (int64_t)n - 1, NULL, 0, 0, HF_UNUSED);
	v->n = n;
	for (i = 0; i < n && !ret; i++) {
		if (v->tokens[i].text.data)
			continue;
		name = hf_vocab_own(v, 32);
		if (!name)
			return -ENOMEM;
		snprintf(name, 32, "[PAD%zu]", i);
		ret = hf_vocab_set(v, (int64_t)i, name, strlen(name), 0, HF_UNUSED);
	}
	return ret;
}

/* GGUF marks the pieces that begin a word, BERT's files those that do not. */
static int mark_words(struct hf_vocab *v)
{
	size_t i;

	for (i = 0; i < v->n; i++) {
		struct gguf_str *s = &v->tokens[i].text;
		char *text;

		if (v->tokens[i].type != HF_NORMAL)
			continue;
		if (s->len > 2 && !memcmp(s->data, "##", 2)) {
			*s = (struct gguf_str){ s->data + 2, s->len - 2 };
			continue;
		}
		text = hf_vocab_own(v, s->len + 3);
		if (!text)
			return -ENOMEM;
		memcpy(text, "\xe2\x96\x81", 3);
		memcpy(text + 3, s->data, s->len);
		*s = (struct gguf_str){ text, s->len + 3 };
	}
	return 0;
}

static int put_tokens(struct hf_vocab *v)
{
	struct gguf_str *texts = sherd_calloc(v->n, sizeof(*texts));
	float *scores = sherd_calloc(v->n, sizeof(*scores));
	int32_t *types = sherd_calloc(v->n, sizeof(*types));
	size_t i;

	for (i = 0; texts && scores && types && i < v->n; i++) {
		texts[i] = v->tokens[i].text;
		scores[i] = v->tokens[i].score;
		types[i] = v->tokens[i].type;
	}
	if (texts && scores && types) {
		gguf_put_strings(v->hf->w, "tokenizer.ggml.tokens", texts, v->n);
		gguf_put_array(v->hf->w, "tokenizer.ggml.token_type", GGUF_I32, types, v->n);
	}
	if (texts && scores && types && v->has_scores)
		gguf_put_array(v->hf->w, "tokenizer.ggml.scores", GGUF_F32, scores, v->n);
	i = !texts || !scores || !types;
	free(texts);
	free(scores);
	free(types);
	return i ? sherd_fail_oom(v->hf->err, v->n * 24, "the vocabulary") : 0;
}

/* The ids whose tokens take white space along on one side. */
static int put_strips(struct hf_vocab *v, const char *key, uint8_t side)
{
	uint32_t *ids = sherd_calloc(v->n, sizeof(*ids));
	size_t n = 0, i;

	if (!ids)
		return sherd_fail_oom(v->hf->err, v->n * sizeof(*ids), "the vocabulary");
	for (i = 0; i < v->n; i++)
		if (v->tokens[i].strip & side)
			ids[n++] = (uint32_t)i;
	if (n)
		gguf_put_u32_array(v->hf->w, key, ids, n);
	free(ids);
	return 0;
}

static void put_flag(struct hf_vocab *v, const char *key, int flag)
{
	if (flag >= 0)
		gguf_put_bool(v->hf->w, key, flag);
}

static void put_flags(struct hf_vocab *v)
{
	struct gguf_writer *w = v->hf->w;

	gguf_put_str(w, "tokenizer.ggml.model", v->model);
	if (v->pre)
		gguf_put_str(w, "tokenizer.ggml.pre", v->pre);
	put_flag(v, "tokenizer.ggml.add_bos_token", v->add_bos == 1);
	put_flag(v, "tokenizer.ggml.add_eos_token", v->add_eos == 1);
	put_flag(v, "tokenizer.ggml.add_space_prefix", v->space_prefix);
	put_flag(v, "tokenizer.ggml.normalizer.lowercase", v->lowercase);
	put_flag(v, "tokenizer.ggml.normalizer.strip_accents", v->strip_accents);
	if (!strcmp(v->model, "t5"))
		gguf_put_bool(w, "tokenizer.ggml.remove_extra_whitespaces", v->remove_extra_ws);
	if (!strcmp(v->model, "gpt2")) {
		gguf_put_bool(w, "tokenizer.sherd.nfc", v->nfc);
		gguf_put_bool(w, "tokenizer.sherd.one_space_prefix", v->one_space_prefix);
		gguf_put_bool(w, "tokenizer.sherd.ignore_merges", v->ignore_merges);
		gguf_put_strings(w, "tokenizer.ggml.merges", v->merges, v->n_merges);
	}
	if (v->charsmap_size)
		gguf_put_array(w, "tokenizer.ggml.precompiled_charsmap", GGUF_U8, v->charsmap,
			       v->charsmap_size);
}

static int put_all(struct hf_vocab *v, const json_t *config)
{
	int ret = fit(v);

	if (!ret && !strcmp(v->model, "bert"))
		ret = mark_words(v);
	if (!ret)
		ret = put_tokens(v);
	if (!ret)
		ret = put_strips(v, "tokenizer.sherd.lstrip_token_ids", HF_LSTRIP);
	if (!ret)
		ret = put_strips(v, "tokenizer.sherd.rstrip_token_ids", HF_RSTRIP);
	if (!ret)
		ret = put_roles(v);
	if (ret)
		return ret;
	put_flags(v);
	return put_template(v, config);
}

int hf_tok_put(struct hf *hf)
{
	struct hf_vocab v = { .hf = hf,
			      .map.fd = -1,
			      .space_prefix = -1,
			      .add_bos = -1,
			      .add_eos = -1,
			      .lowercase = -1,
			      .strip_accents = -1 };
	json_t *tokenizer, *config;
	int i, ret;

	for (i = 0; i < HF_N_ROLES; i++)
		v.role[i] = -1;
	ret = hf_vocab_json(&v, "tokenizer.json", &tokenizer);
	if (!ret)
		ret = hf_vocab_json(&v, "tokenizer_config.json", &config);
	if (!ret)
		ret = load_vocab(&v, tokenizer);
	if (!ret && v.model)
		ret = hf_tok_added(&v, tokenizer, config);
	if (!ret && v.model)
		ret = load_flags(&v, tokenizer, config);
	if (!ret && v.model)
		ret = put_all(&v, config);
	clear(&v);
	return ret;
}
