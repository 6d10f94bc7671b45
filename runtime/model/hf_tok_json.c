/* SPDX-License-Identifier: MIT */
/*
 * hf_tok_json: tokenizer.json, the file of Hugging Face's tokenizers library: a model (BPE, WordPiece,
 * unigram) between a normalizer and a post-processor. What the steps around the model do and ours do
 * not is refused.
 */
#include "model/hf_tok.h"

#include <openssl/evp.h>

static bool is_type(const json_t *j, const char *type)
{
	return !strcmp(hf_text(j, "type"), type);
}

static int refuse(const struct hf_vocab *v, const char *what, const char *name)
{
	return sherd_fail(v->hf->err, -ENOTSUP,
			  "%s/tokenizer.json: %s \"%.40s\" is none that sherd knows: take a GGUF "
			  "of the model",
			  v->hf->dir, what, name);
}

static int broken(const struct hf_vocab *v, const char *what)
{
	return sherd_fail(v->hf->err, -EINVAL, "%s/tokenizer.json: %s", v->hf->dir, what);
}

/* ---------------------------------------------------------------- normalizers */

static int take_charsmap(struct hf_vocab *v, const json_t *step)
{
	const char *text = hf_text(step, "precompiled_charsmap");
	size_t len = strlen(text), pad = 0;
	uint8_t *out;
	int n;

	while (pad < 2 && len > pad && text[len - 1 - pad] == '=')
		pad++;
	if (!len)
		return 0;
	out = (uint8_t *)hf_vocab_own(v, len);
	if (!out)
		return -ENOMEM;
	n = len % 4 || len > INT32_MAX ? -1 : EVP_DecodeBlock(out, (const uint8_t *)text, (int)len);
	if (n < (int)pad)
		return broken(v, "the normalizer's precompiled_charsmap is no base64");
	v->charsmap = out;
	v->charsmap_size = (size_t)n - pad;
	return 0;
}

static void take_bert(struct hf_vocab *v, const json_t *step)
{
	v->lowercase = !json_is_false(json_object_get(step, "lowercase"));
	if (json_is_boolean(json_object_get(step, "strip_accents")))
		v->strip_accents = json_is_true(json_object_get(step, "strip_accents"));
	else
		v->strip_accents = v->lowercase;
}

/* Replacements: a space becomes U+2581 (what a kind of model does anyway), or several one. */
static int take_replace(struct hf_vocab *v, const json_t *step)
{
	const json_t *pattern = json_object_get(step, "pattern");
	const char *from = hf_text(pattern, "String"), *regex = hf_text(pattern, "Regex");
	const char *to = hf_text(step, "content");

	if (!strcmp(from, " ") && !strcmp(to, "\xe2\x96\x81"))
		return 0;
	if (!strcmp(regex, " {2,}") && (!strcmp(to, " ") || !strcmp(to, "\xe2\x96\x81"))) {
		v->remove_extra_ws = true;
		return 0;
	}
	return refuse(v, "a normalizer that replaces", *from ? from : regex);
}

static int take_normalizer(struct hf_vocab *v, const json_t *step)
{
	const json_t *one;
	size_t i;
	int ret = 0;

	if (!json_is_object(step))
		return 0;
	if (is_type(step, "Sequence")) {
		json_array_foreach(json_object_get(step, "normalizers"), i, one) {
			if (is_type(one, "Sequence"))
				return refuse(v, "the normalizer", "Sequence in a Sequence");
			ret = ret ? ret : take_normalizer(v, one);
		}
		return ret;
	}
	if (is_type(step, "Prepend") && !strcmp(hf_text(step, "prepend"), "\xe2\x96\x81"))
		v->space_prefix = 1;
	else if (is_type(step, "Replace"))
		ret = take_replace(v, step);
	else if (is_type(step, "NFC"))
		v->nfc = true;
	else if (is_type(step, "Precompiled"))
		ret = take_charsmap(v, step);
	else if (is_type(step, "BertNormalizer"))
		take_bert(v, step);
	else if (is_type(step, "Strip") && json_is_false(json_object_get(step, "strip_left")))
		v->remove_extra_ws = true; /* T5's; spaces at the end go with the others */
	else
		ret = refuse(v, "the normalizer", hf_text(step, "type"));
	return ret;
}

/* --------------------------------------------------------------------- models */

static int take_ids(struct hf_vocab *v, const json_t *vocab)
{
	const char *token;
	json_t *id;
	int ret;

	if (!json_is_object(vocab))
		return broken(v, "its model has no vocabulary");
	hf_vocab_expect(v, json_object_size(vocab));
	json_object_foreach((json_t *)vocab, token, id) {
		ret = hf_vocab_set(v, json_is_integer(id) ? json_integer_value(id) : -1, token,
				   strlen(token), 0, HF_NORMAL);
		if (ret)
			return ret;
	}
	return 0;
}

/* "left right", or a list of the two. */
static int take_merge(struct hf_vocab *v, const json_t *merge)
{
	const json_t *left = json_array_get(merge, 0), *right = json_array_get(merge, 1);
	struct gguf_str *m = &v->merges[v->n_merges++];
	size_t n, k;
	char *text;

	if (json_is_string(merge)) {
		*m = (struct gguf_str){ json_string_value(merge), json_string_length(merge) };
		return 0;
	}
	n = json_string_length(left);
	k = json_string_length(right);
	if (json_array_size(merge) != 2 || !n || !k)
		return broken(v, "a merge is no pair of pieces");
	/* the first space that is not at the start is what parts them */
	if (memchr(json_string_value(left) + 1, ' ', n - 1))
		return broken(v, "a merge has a space within its first piece");
	text = hf_vocab_own(v, n + 1 + k);
	if (!text)
		return -ENOMEM;
	memcpy(text, json_string_value(left), n);
	text[n] = ' ';
	memcpy(text + n + 1, json_string_value(right), k);
	*m = (struct gguf_str){ text, n + 1 + k };
	return 0;
}

/* "<0x0A>" and so on stand for bytes where the model falls back to these. */
static void mark_bytes(struct hf_vocab *v)
{
	char name[8];
	int b;

	for (b = 0; b < 256; b++) {
		int32_t id;

		snprintf(name, sizeof(name), "<0x%02X>", b);
		id = hf_vocab_find(v, name, 6);
		if (id >= 0)
			v->tokens[id].type = HF_BYTE;
	}
}

static int take_bpe(struct hf_vocab *v, const json_t *root, const json_t *model)
{
	const json_t *merges = json_object_get(model, "merges"), *one;
	size_t i;
	int ret = take_ids(v, json_object_get(model, "vocab"));

	if (!ret)
		ret = hf_tok_pre(v, root);
	if (!ret)
		ret = hf_vocab_merges(v, json_array_size(merges));
	json_array_foreach(merges, i, one)
		ret = ret ? ret : take_merge(v, one);
	if (ret)
		return ret;
	v->model = "gpt2";
	v->ignore_merges = json_is_true(json_object_get(model, "ignore_merges"));
	if (!strncmp(v->pre, "spm-", 4) && json_is_true(json_object_get(model, "byte_fallback")))
		mark_bytes(v);
	if (*hf_text(model, "continuing_subword_prefix") || *hf_text(model, "end_of_word_suffix"))
		return refuse(v, "a BPE model with", "affixes of subwords");
	return 0;
}

static int take_wordpiece(struct hf_vocab *v, const json_t *root, const json_t *model)
{
	const json_t *pre = json_object_get(root, "pre_tokenizer");
	const char *prefix = hf_text(model, "continuing_subword_prefix");

	if (*prefix && strcmp(prefix, "##"))
		return refuse(v, "a WordPiece model with the prefix", prefix);
	if (!is_type(pre, "BertPreTokenizer"))
		return refuse(v, "WordPiece with the pre-tokenizer", hf_text(pre, "type"));
	v->model = "bert";
	return take_ids(v, json_object_get(model, "vocab"));
}

static int take_unigram(struct hf_vocab *v, const json_t *root, const json_t *model)
{
	const json_t *pre = json_object_get(root, "pre_tokenizer"), *one;
	size_t i;
	int ret = 0;

	hf_vocab_expect(v, json_array_size(json_object_get(model, "vocab")));
	json_array_foreach(json_object_get(model, "vocab"), i, one) {
		const json_t *text = json_array_get(one, 0), *score = json_array_get(one, 1);

		if (!json_is_string(text) || !json_is_number(score))
			return broken(v, "a piece of its vocabulary is no pair of text and score");
		ret = ret ? ret :
			    hf_vocab_set(v, (int64_t)i, json_string_value(text),
					 json_string_length(text), (float)json_number_value(score),
					 HF_NORMAL);
	}
	ret = ret ? ret : hf_tok_pre(v, root);
	if (ret)
		return ret;
	if (strncmp(v->pre, "spm-", 4))
		return refuse(v, "unigram with the pre-tokenizer", hf_text(pre, "type"));
	if (json_is_integer(json_object_get(model, "unk_id")))
		v->role[HF_UNK] = (int32_t)MIN(json_integer_value(json_object_get(model, "unk_id")),
					       INT32_MAX);
	v->model = "t5";
	v->pre = NULL;
	v->has_scores = true;
	if (json_is_true(json_object_get(model, "byte_fallback")))
		mark_bytes(v);
	return 0;
}

int hf_tok_json(struct hf_vocab *v, const json_t *root)
{
	const json_t *model = json_object_get(root, "model");
	const char *type = hf_text(model, "type"), *unk = hf_text(model, "unk_token");
	int ret = take_normalizer(v, json_object_get(root, "normalizer"));

	if (ret)
		return ret;
	if (!strcmp(type, "BPE") || (!*type && json_object_get(model, "merges")))
		ret = take_bpe(v, root, model);
	else if (!strcmp(type, "WordPiece"))
		ret = take_wordpiece(v, root, model);
	else if (!strcmp(type, "Unigram"))
		ret = take_unigram(v, root, model);
	else
		ret = refuse(v, "the model", type);
	if (!ret && *unk)
		v->role[HF_UNK] = hf_vocab_find(v, unk, strlen(unk));
	return ret;
}

/* ------------------------------------------------------------------------- frames */

/* The one token that a template calls @id; its list says which, older files only its name. */
static int special_id(struct hf_vocab *v, const json_t *step, const json_t *item, int32_t *id)
{
	const char *name = hf_text(json_object_get(item, "SpecialToken"), "id");
	const json_t *known = json_object_get(json_object_get(step, "special_tokens"), name);
	const json_t *ids = json_object_get(known, "ids"), *one = json_array_get(ids, 0);

	*id = hf_vocab_find(v, name, strlen(name));
	if (json_is_integer(one) && json_integer_value(one) >= 0 &&
	    json_integer_value(one) < (json_int_t)v->n)
		*id = (int32_t)json_integer_value(one);
	if (*id < 0 || json_array_size(ids) > 1)
		return refuse(v, "a post-processor with the token", name);
	return 0;
}

/* "first text last", or without one or both of the tokens; more than that has no place in GGUF. */
static int take_template(struct hf_vocab *v, const json_t *step)
{
	const json_t *single = json_object_get(step, "single");
	size_t n = json_array_size(single), at = 0;
	int32_t first = -1, last = -1;
	int ret = 0;

	while (at < n && !json_object_get(json_array_get(single, at), "Sequence"))
		at++;
	if (at == n || at > 1 || n - at > 2 ||
	    (n - at == 2 && !json_object_get(json_array_get(single, n - 1), "SpecialToken")))
		return sherd_fail(
			v->hf->err, -ENOTSUP,
			"%s/tokenizer.json: its post-processor puts more around a text "
			"than one token before it and one behind it, which sherd cannot do",
			v->hf->dir);
	if (at)
		ret = special_id(v, step, json_array_get(single, 0), &first);
	if (!ret && n - at == 2)
		ret = special_id(v, step, json_array_get(single, n - 1), &last);
	if (ret)
		return ret;
	v->add_bos = first >= 0;
	v->add_eos = last >= 0;
	if (first >= 0)
		v->role[HF_BOS] = first;
	if (last >= 0)
		v->role[HF_SEP] = last;
	if (last >= 0 && strcmp(v->model, "bert"))
		v->role[HF_EOS] = last;
	return 0;
}

static int take_pair(struct hf_vocab *v, const json_t *step)
{
	const json_t *cls = json_array_get(json_object_get(step, "cls"), 1);
	const json_t *sep = json_array_get(json_object_get(step, "sep"), 1);

	if (!json_is_integer(cls) || !json_is_integer(sep))
		return broken(v, "its post-processor lacks cls or sep");
	v->add_bos = v->add_eos = 1;
	v->role[HF_BOS] = v->role[HF_CLS] = (int32_t)MIN(json_integer_value(cls), INT32_MAX);
	v->role[HF_SEP] = (int32_t)MIN(json_integer_value(sep), INT32_MAX);
	if (strcmp(v->model, "bert"))
		v->role[HF_EOS] = v->role[HF_SEP];
	return 0;
}

/* @framed: one of the steps has put tokens around the text already. */
static int take_post(struct hf_vocab *v, const json_t *step, bool *framed)
{
	const char *type = hf_text(step, "type");
	bool pair = !strcmp(type, "BertProcessing") || !strcmp(type, "RobertaProcessing");

	if (!strcmp(type, "ByteLevel")) /* about offsets */
		return 0;
	if ((!pair && strcmp(type, "TemplateProcessing")) || *framed)
		return refuse(v, "the post-processor", type);
	*framed = true;
	return pair ? take_pair(v, step) : take_template(v, step);
}

int hf_tok_frame(struct hf_vocab *v, const json_t *root)
{
	const json_t *post = json_object_get(root, "post_processor"), *one;
	bool framed = false;
	size_t i;
	int ret = 0;

	v->add_bos = v->add_eos = 0;
	if (!is_type(post, "Sequence"))
		return json_is_object(post) ? take_post(v, post, &framed) : 0;
	json_array_foreach(json_object_get(post, "processors"), i, one)
		ret = ret ? ret : take_post(v, one, &framed);
	return ret;
}
