/* SPDX-License-Identifier: MIT */
/*
 * tok_load: a GGUF's tokenizer.ggml.* metadata -> struct sherd_tokenizer. What a file leaves out is
 * taken from its model's kind; what it says wrongly is refused with a sentence. Tokens that end a
 * generation are known by their names too, since many files mark only one of them.
 */
#include <stdio.h>
#include <stdlib.h>
#include "model/tok.h"

/* A kind of model, by tokenizer.ggml.model, and its defaults. */
struct model_row {
	const char *name;
	enum tok_kind kind;
	const char *label;
	int32_t bos, eos, unk, sep;
	bool add_bos, add_eos, space_prefix;
};

static const struct model_row models[] = {
	{ "llama", TOK_SPM, "SPM", 1, 2, 0, -1, true, false, true },
	{ "gpt2", TOK_BPE, "BPE", 11, 11, -1, -1, false, false, false },
	{ "gemma4", TOK_BPE, "BPE", -1, -1, -1, -1, true, false, false },
	{ "bert", TOK_WPM, "WordPiece", 101, -1, 100, 102, true, false, false },
	{ "t5", TOK_UGM, "Unigram", -1, 1, 2, -1, false, true, false },
};

/* clang-format off: names side by side */

/* Names that end a generation, wherever a vocabulary has them. */
static const char *const end_names[] = {
	"<|eot_id|>",
	"<|im_end|>",
	"<|end|>",
	"<|return|>",
	"<|call|>",
	"<|flush|>",
	"<|calls|>",
	"<end_of_turn>",
	"<|endoftext|>",
	"</s>",
	"<|eom_id|>",
	"<EOT>",
	"_<EOT>",
	"[EOT]",
	"[EOS]",
	"<|end_of_text|>",
	"<end_of_utterance>",
	"<eos>",
	"<turn|>",
	"<|tool_response>",
	"[e~[",
	"<|fim_pad|>",
	"<fim-pad>",
	"<fim_pad>",
	"<PAD>",
	"[PAD]",
	"<|fim_repo|>",
	"<|repo_name|>",
	"<fim-repo>",
	"<REPO>",
	"<reponame>",
	"<|file_sep|>",
	("<\xef\xbd\x9c"
	 "end\xe2\x96\x81of\xe2\x96\x81sentence\xef\xbd\x9c>"),
};

/* Names of control tokens that older files list as ordinary ones. */
static const char *const control_names[] = {
	"<|fim_prefix|>",
	"<fim-prefix>",
	"<fim_prefix>",
	"<PRE>",
	"<|code_prefix|>",
	"<|prefix|>",
	"\xe2\x96\x81<PRE>",
	"<|fim_suffix|>",
	"<fim-suffix>",
	"<fim_suffix>",
	"<SUF>",
	"<|code_suffix|>",
	"<|suffix|>",
	"\xe2\x96\x81<SUF>",
	"<|fim_middle|>",
	"<fim-middle>",
	"<fim_middle>",
	"<MID>",
	"<|code_middle|>",
	"<|middle|>",
	"\xe2\x96\x81<MID>",
	"<\xef\xbd\x9c"
	"fim\xe2\x96\x81"
	"begin\xef\xbd\x9c>",
	"<\xef\xbd\x9c"
	"fim\xe2\x96\x81hole\xef\xbd\x9c>",
	"<\xef\xbd\x9c"
	"fim\xe2\x96\x81"
	"end\xef\xbd\x9c>",
};

/* clang-format on */

/* What a harmony-style model puts around its messages is text that a reader wants to see. */
static const char *const shown_names[] = { "<|channel|>", "<|message|>", "<|start|>",
					   "<|constrain|>" };

static int32_t find_name(const struct sherd_tokenizer *t, const char *name)
{
	return tok_vocab_find(&t->vocab, name, strlen(name));
}

static void mark(struct sherd_tokenizer *t, int32_t id, uint32_t set, uint32_t clear)
{
	if (id >= 0)
		t->vocab.pieces[id].attr = (t->vocab.pieces[id].attr & ~clear) | set;
}

static bool is_end_name(const struct sherd_tokenizer *t, const char *name)
{
	int32_t id = find_name(t, name);

	return id >= 0 && (t->vocab.pieces[id].attr & TOK_END);
}

static void mark_names(struct sherd_tokenizer *t)
{
	const uint32_t kinds =
		TOK_NORMAL | TOK_UNKNOWN | TOK_CONTROL | TOK_USER | TOK_UNUSED | TOK_END;
	int32_t end = find_name(t, "<|end|>");

	for (size_t i = 0; i < ARRAY_SIZE(end_names); i++)
		mark(t, find_name(t, end_names[i]), TOK_CONTROL | TOK_END, 0);
	for (size_t i = 0; i < ARRAY_SIZE(control_names); i++)
		mark(t, find_name(t, control_names[i]), TOK_CONTROL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(shown_names); i++)
		mark(t, find_name(t, shown_names[i]), TOK_USER, kinds);
	mark(t, t->eos, TOK_END, 0);
	/* Where messages end in <|end|> and turns in another, the former ends no generation. */
	if ((is_end_name(t, "<|return|>") && is_end_name(t, "<|call|>")) ||
	    (is_end_name(t, "<|flush|>") &&
	     (is_end_name(t, "<|call|>") || is_end_name(t, "<|calls|>"))))
		mark(t, end, TOK_USER, kinds);
	/* Gemma 4 has an HTML tag of that name among its ordinary tokens. */
	if (is_end_name(t, "<|tool_response>"))
		mark(t, find_name(t, "</s>"), TOK_NORMAL, kinds);
}

static bool contains(struct gguf_str s, const char *what)
{
	size_t n = strlen(what);

	for (size_t i = 0; i + n <= s.len; i++)
		if (!strncasecmp(s.data + i, what, n))
			return true;
	return false;
}

/* A Hugging Face folder says of each token what files of GGUF leave to its name (hf_tok.c). */
static int mark_ids(struct sherd_tokenizer *t, const struct gguf *g, const char *key, uint32_t attr,
		    struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (v->kind != GGUF_ARRAY || v->elem != GGUF_U32)
		return sherd_fail(err, -EINVAL, "%s is not a list of u32", key);
	for (uint64_t i = 0; i < v->n; i++)
		if (gguf_elem_int(v, i) < t->n_vocab)
			mark(t, (int32_t)gguf_elem_int(v, i), attr, 0);
	return 0;
}

/* Which special tokens take white space along: no field of the file says it, its names do. */
static int mark_strips(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	static const char *const not_phi3[] = { "<unk>", "<s>", "<|endoftext|>" };
	struct gguf_str name = { 0 }, pre = { 0 }, arch = { 0 };

	if (gguf_get_str(g, "general.name", &name, err) < 0 ||
	    gguf_get_str(g, "tokenizer.ggml.pre", &pre, err) < 0 ||
	    gguf_get_str(g, "general.architecture", &arch, err) < 0)
		return -EINVAL;
	if (contains(pre, "jina-v2-de") || contains(pre, "jina-v2-es") ||
	    contains(pre, "jina-v2-code") || contains(arch, "nomic-bert-moe") ||
	    contains(arch, "jina-bert-v3")) {
		mark(t, find_name(t, "<mask>"), TOK_LSTRIP, 0);
	} else if (contains(name, "phi-3") || contains(name, "phi3")) {
		for (int32_t id = 0; id < t->n_vocab; id++)
			if (t->vocab.pieces[id].attr & TOK_SPECIAL)
				mark(t, id, TOK_RSTRIP, 0);
		mark(t, find_name(t, "</s>"), TOK_RSTRIP, 0);
		for (size_t i = 0; i < ARRAY_SIZE(not_phi3); i++)
			mark(t, find_name(t, not_phi3[i]), 0, TOK_RSTRIP);
	} else if (contains(name, "modern-bert")) {
		mark(t, find_name(t, "[MASK]"), TOK_LSTRIP, 0);
	}
	if (mark_ids(t, g, "tokenizer.sherd.lstrip_token_ids", TOK_LSTRIP, err))
		return -EINVAL;
	return mark_ids(t, g, "tokenizer.sherd.rstrip_token_ids", TOK_RSTRIP, err);
}

/* The numbers of tokenizer.ggml.token_type. */
static uint32_t attr_of_type(int64_t type)
{
	static const uint32_t attrs[] = { TOK_NORMAL, TOK_NORMAL, TOK_UNKNOWN, TOK_CONTROL,
					  TOK_USER,   TOK_UNUSED, TOK_BYTE };

	return type >= 0 && type < (int64_t)ARRAY_SIZE(attrs) ? attrs[type] : TOK_NORMAL;
}

/* An array of numbers that runs along with the tokens, or NULL. */
static int get_parallel(const struct gguf *g, const char *key, uint64_t n,
			const struct gguf_value **out, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	*out = v;
	if (!v)
		return 0;
	if (v->kind != GGUF_ARRAY || v->elem == GGUF_STRING || v->elem == GGUF_ARRAY)
		return sherd_fail(err, -EINVAL, "%s is not a list of numbers", key);
	if (v->n != n)
		return sherd_fail(err, -EINVAL, "%s has %llu entries, but there are %llu tokens",
				  key, (unsigned long long)v->n, (unsigned long long)n);
	return 0;
}

static int load_tokens(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, "tokenizer.ggml.tokens"), *scores, *types;
	int ret;

	if (!v || v->kind != GGUF_ARRAY || v->elem != GGUF_STRING)
		return sherd_fail(err, -EINVAL, "tokenizer.ggml.tokens is %s",
				  v ? "not a list of strings" : "missing");
	if (!v->n || v->n > INT32_MAX / 4)
		return sherd_fail(err, -EINVAL, "a vocabulary of %llu tokens is of no use",
				  (unsigned long long)v->n);
	if (get_parallel(g, "tokenizer.ggml.scores", v->n, &scores, err) ||
	    get_parallel(g, "tokenizer.ggml.token_type", v->n, &types, err))
		return -EINVAL;
	ret = tok_vocab_init(&t->vocab, v->n, err);
	for (uint64_t i = 0; i < v->n && !ret; i++) {
		int32_t id = tok_vocab_add(&t->vocab, v->strings[i].data, v->strings[i].len, err);

		if (id < 0)
			return id;
		t->vocab.pieces[id].attr =
			types ? attr_of_type(gguf_elem_int(types, i)) : TOK_NORMAL;
		t->vocab.pieces[id].score = scores ? (float)gguf_elem_float(scores, i) : 0.0f;
	}
	t->n_vocab = (int32_t)v->n;
	return ret;
}

/* A special token's id; a default that is out of range is none, one in the file is refused. */
static int get_id(struct sherd_tokenizer *t, const struct gguf *g, const char *key, int32_t *id,
		  struct sherd_error *err)
{
	int64_t v;
	int ret = gguf_get_int(g, key, -1, UINT32_MAX, &v, err);

	if (*id >= t->n_vocab)
		*id = -1;
	if (ret <= 0)
		return ret;
	if (v == -1 || v == UINT32_MAX) {
		*id = -1;
		return 0;
	}
	if (v >= t->n_vocab)
		return sherd_fail(err, -EINVAL, "%s is %lld, but there are only %d tokens", key,
				  (long long)v, t->n_vocab);
	*id = (int32_t)v;
	return 0;
}

static int load_ids(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	int32_t eot = -1, eom = -1;

	if (get_id(t, g, "tokenizer.ggml.cls_token_id", t->kind == TOK_WPM ? &t->bos : &eot, err) ||
	    get_id(t, g, "tokenizer.ggml.bos_token_id", &t->bos, err) ||
	    get_id(t, g, "tokenizer.ggml.eos_token_id", &t->eos, err) ||
	    get_id(t, g, "tokenizer.ggml.unknown_token_id", &t->unk, err) ||
	    get_id(t, g, "tokenizer.ggml.seperator_token_id", &t->sep, err))
		return -EINVAL;
	eot = -1;
	if (get_id(t, g, "tokenizer.ggml.eot_token_id", &eot, err) ||
	    get_id(t, g, "tokenizer.ggml.eom_token_id", &eom, err) ||
	    gguf_get_bool(g, "tokenizer.ggml.add_bos_token", &t->add_bos, err) < 0 ||
	    gguf_get_bool(g, "tokenizer.ggml.add_eos_token", &t->add_eos, err) < 0)
		return -EINVAL;
	/* Gemma 4 needs its BOS; early files deny it. */
	if (t->kind == TOK_BPE && (t->pre.flags & TOK_PRE_RAW) && (t->pre.flags & TOK_PRE_ADD_BOS))
		t->add_bos = true;
	mark_names(t);
	mark(t, eot, TOK_END, 0);
	mark(t, eom, TOK_END, 0);
	return mark_ids(t, g, "tokenizer.sherd.end_token_ids", TOK_END, err);
}

static int load_flags(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	bool ignore_merges = t->pre.flags & TOK_PRE_IGNORE_MERGES;

	t->lowercase = true;
	if (gguf_get_bool(g, "tokenizer.sherd.nfc", &t->nfc, err) < 0 ||
	    gguf_get_bool(g, "tokenizer.sherd.one_space_prefix", &t->one_space_prefix, err) < 0 ||
	    gguf_get_bool(g, "tokenizer.sherd.ignore_merges", &ignore_merges, err) < 0)
		return -EINVAL;
	t->pre.flags &= ~(unsigned)TOK_PRE_IGNORE_MERGES;
	t->pre.flags |= ignore_merges ? TOK_PRE_IGNORE_MERGES : 0;
	if (gguf_get_bool(g, "tokenizer.ggml.add_space_prefix", &t->space_prefix, err) < 0 ||
	    gguf_get_bool(g, "tokenizer.ggml.remove_extra_whitespaces", &t->remove_extra_ws, err) <
		    0 ||
	    gguf_get_bool(g, "tokenizer.ggml.treat_whitespace_as_suffix", &t->ws_as_suffix, err) <
		    0 ||
	    gguf_get_bool(g, "tokenizer.ggml.normalizer.lowercase", &t->lowercase, err) < 0)
		return -EINVAL;
	t->strip_accents = t->lowercase;
	return gguf_get_bool(g, "tokenizer.ggml.normalizer.strip_accents", &t->strip_accents, err) <
			       0
		       ? -EINVAL
		       : 0;
}

/* "<0x0A>" tokens; a vocabulary without them may have the byte itself. */
static void find_bytes(struct sherd_tokenizer *t)
{
	for (int b = 0; b < 256; b++) {
		char name[8], c = (char)b;

		snprintf(name, sizeof(name), "<0x%02X>", b);
		t->byte_id[b] = find_name(t, name);
		if (t->byte_id[b] < 0)
			t->byte_id[b] = tok_vocab_find(&t->vocab, &c, 1);
	}
}

static int load_pre(struct sherd_tokenizer *t, const struct gguf *g, const char *model,
		    struct sherd_error *err)
{
	struct gguf_str name = { 0 };
	int ret = gguf_get_str(g, "tokenizer.ggml.pre", &name, err);

	if (ret < 0)
		return ret;
	if (!strcmp(model, "gemma4"))
		name = (struct gguf_str){ model, strlen(model) };
	ret = tok_pre_init(&t->pre, name, err);
	if (ret)
		return ret;
	t->add_bos |= !!(t->pre.flags & TOK_PRE_ADD_BOS);
	if (t->pre.flags & TOK_PRE_NO_BOS)
		t->bos = -1;
	if (!name.len)
		t->describe = sherd_asprintf("BPE (no pre-tokenizer named, treated as default)");
	else if (t->pre.known)
		t->describe = sherd_asprintf("BPE (%.*s)", (int)name.len, name.data);
	else
		t->describe = sherd_asprintf("BPE (unknown pre-tokenizer %.*s, treated as default)",
					     (int)MIN(name.len, (size_t)60), name.data);
	return t->describe ? 0 : sherd_fail_oom(err, 64, "the tokenizer's name");
}

static int load_kind(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	switch (t->kind) {
	case TOK_SPM:
		return tok_spm_load(t, err);
	case TOK_BPE:
		return tok_bpe_load(t, g, err);
	case TOK_WPM:
		return tok_trie_build(&t->matcher, &t->vocab, t->n_vocab, ~0u, err);
	case TOK_UGM:
		return tok_ugm_load(t, g, err);
	}
	return -EINVAL;
}

static int load(struct sherd_tokenizer *t, const struct gguf *g, const struct model_row *m,
		struct sherd_error *err)
{
	int ret = m->kind == TOK_BPE ? load_pre(t, g, m->name, err) : 0;

	if (!ret)
		ret = load_tokens(t, g, err);
	if (!ret)
		ret = load_ids(t, g, err);
	if (!ret)
		ret = load_flags(t, g, err);
	if (ret)
		return ret;
	find_bytes(t);
	ret = mark_strips(t, g, err);
	if (!ret)
		ret = tok_trie_build(&t->special, &t->vocab, t->n_vocab, TOK_SPECIAL, err);
	for (int b = 0; !ret && b < 256; b++)
		t->special_first[b] = tok_trie_step(&t->special, 0, (uint8_t)b);
	return ret ? ret : load_kind(t, g, err);
}

static const struct model_row *find_model(struct gguf_str name)
{
	for (size_t i = 0; i < ARRAY_SIZE(models); i++)
		if (gguf_str_eq(name, models[i].name))
			return &models[i];
	return NULL;
}

/* Its text alone: whoever has a chat to make parses it. */
static int keep_chat_template(struct sherd_tokenizer *t, const struct gguf *g,
			      struct sherd_error *err)
{
	struct gguf_str text;

	if (gguf_get_str(g, "tokenizer.chat_template", &text, NULL) <= 0 || !text.len)
		return 0;
	t->chat_template = strndup(text.data, text.len);
	return t->chat_template ? 0 : sherd_fail_oom(err, text.len, "the chat template");
}

int sherd_tokenizer_from_gguf(struct sherd_tokenizer **tok, const struct gguf *g,
			      struct sherd_error *err)
{
	struct gguf_str name = { 0 };
	const struct model_row *m;
	struct sherd_tokenizer *t;
	int ret = gguf_get_str(g, "tokenizer.ggml.model", &name, err);

	*tok = NULL;
	if (ret < 0)
		return sherd_fail_prefix(err, ret, "%s", g->path);
	if (!ret || gguf_str_eq(name, "none") || gguf_str_eq(name, "no_vocab"))
		return sherd_fail(err, -ENOENT,
				  "%s: has no tokenizer; a Hugging Face folder's is tokenizer.json, "
				  "tokenizer.model, vocab.json with merges.txt, or vocab.txt",
				  g->path);
	m = find_model(name);
	if (!m)
		return sherd_fail(
			err, -ENOTSUP,
			"%s: the tokenizer is of the kind \"%.*s\", but only llama (SPM), gpt2 "
			"and gemma4 (BPE), bert (WordPiece) and t5 (unigram) are known",
			g->path, (int)MIN(name.len, (size_t)40), name.data);
	t = sherd_calloc(1, sizeof(*t));
	if (!t)
		return sherd_fail_oom(err, sizeof(*t), "the tokenizer");
	t->kind = m->kind;
	t->bos = m->bos;
	t->eos = m->eos;
	t->unk = m->unk;
	t->sep = m->sep;
	t->add_bos = m->add_bos;
	t->add_eos = m->add_eos;
	t->space_prefix = m->space_prefix;
	ret = load(t, g, m, err);
	if (!ret && !t->describe) {
		t->describe =
			sherd_asprintf(m->kind == TOK_WPM ? "%s" : "%s (%s)", m->label, m->name);
		ret = t->describe ? 0 : sherd_fail_oom(err, 64, "the tokenizer's name");
	}
	if (!ret)
		ret = keep_chat_template(t, g, err);
	if (ret) {
		sherd_tokenizer_free(t);
		return sherd_fail_prefix(err, ret, "%s", g->path);
	}
	*tok = t;
	return 0;
}
