/* SPDX-License-Identifier: MIT */
/*
 * tokenizer: the calls of sherd.h. Special tokens are found here, the longest at each place, and
 * what lies between them goes to the model's kind of tokenizer; the way back is one loop for all
 * kinds.
 */
#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <utf8proc.h>
#include "base/trace.h"
#include "model/shard.h"
#include "model/source.h"
#include "model/tok.h"

#define TEXT_MAX (1u << 30)

/* ------------------------------------------------------------- scratch memory */

void *tok_buf_reserve(struct tok_buf *b, size_t n, size_t elem, struct sherd_error *err)
{
	size_t need, size;
	void *data;

	if (!sherd_mul_ok(n, elem, &need) || need > SIZE_MAX / 2) {
		sherd_fail_oom(err, SIZE_MAX, "tokenizing");
		return NULL;
	}
	if (need <= b->size && b->data)
		return b->data;
	size = MAX(need, MAX(b->size * 2, (size_t)256));
	data = realloc(b->data, size);
	if (!data) {
		sherd_fail_oom(err, size, "tokenizing");
		return NULL;
	}
	b->data = data;
	b->size = size;
	return data;
}

int tok_emit(struct tok_work *w, int32_t id)
{
	int32_t *ids = tok_buf_reserve(&w->ids, w->n_ids + 1, sizeof(*ids), w->err);

	if (!ids)
		return -ENOMEM;
	ids[w->n_ids++] = id;
	return 0;
}

int tok_put_utf8(struct tok_work *w, const char *text, size_t len, bool escape, size_t *out_len)
{
	char *out = tok_buf_reserve(&w->text, len * 3, 1, w->err);
	utf8proc_int32_t c;
	size_t n = 0;

	if (!out)
		return -ENOMEM;
	for (size_t at = 0; at < len;) {
		utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + at,
							 (utf8proc_ssize_t)(len - at), &c);
		bool space = escape && text[at] == ' ';
		const char *from = step <= 0 ? "\xef\xbf\xbd" : space ? TOK_SPACE : text + at;
		size_t bytes = step <= 0 || space ? 3 : (size_t)step;

		memcpy(out + n, from, bytes);
		n += bytes;
		at += step > 0 ? (size_t)step : 1;
	}
	*out_len = n;
	return 0;
}

static int work_init(struct tok_work *w, const struct sherd_tokenizer *t, struct sherd_error *err)
{
	*w = (struct tok_work){ .t = t, .err = err };
	if (!tok_buf_reserve(&w->ids, 64, sizeof(int32_t), err))
		return -ENOMEM;
	if (t->kind != TOK_BPE)
		return 0;
	w->match = pcre2_match_data_create(1, NULL);
	w->match_ctx = pcre2_match_context_create(NULL);
	w->jit_stack = pcre2_jit_stack_create(32 << 10, 8 << 20, NULL);
	if (!w->match || !w->match_ctx)
		return sherd_fail_oom(err, 4096, "tokenizing");
	if (w->jit_stack)
		pcre2_jit_stack_assign(w->match_ctx, NULL, w->jit_stack);
	return 0;
}

static void work_free(struct tok_work *w)
{
	free(w->ids.data);
	free(w->text.data);
	free(w->syms.data);
	free(w->heap.data);
	free(w->aux.data);
	free(w->cuts[0].data);
	free(w->cuts[1].data);
	pcre2_match_data_free(w->match);
	pcre2_match_context_free(w->match_ctx);
	pcre2_jit_stack_free(w->jit_stack);
}

/* ---------------------------------------------------------------- text -> ids */

static int encode_part(struct tok_work *w, const char *text, size_t len)
{
	if (!len)
		return 0;
	switch (w->t->kind) {
	case TOK_SPM:
		return tok_spm_encode(w, text, len);
	case TOK_BPE:
		return tok_bpe_encode(w, text, len);
	case TOK_WPM:
		return tok_wpm_encode(w, text, len);
	case TOK_UGM:
		return tok_ugm_encode(w, text, len);
	}
	return -EINVAL;
}

/* Without SHERD_TOK_PARSE only user-defined tokens are looked for. */
static int32_t special_at(const struct sherd_tokenizer *t, const char *text, size_t len,
			  unsigned flags)
{
	if (!t->special_first[(uint8_t)*text])
		return -1;
	return tok_trie_longest(&t->special, &t->vocab, text, len,
				flags & SHERD_TOK_PARSE ? 0 : TOK_CONTROL | TOK_UNKNOWN);
}

static int encode(struct tok_work *w, const char *text, size_t len, unsigned flags)
{
	const struct sherd_tokenizer *t = w->t;
	size_t from = 0, at = 0;

	while (at < len) {
		int32_t id = special_at(t, text + at, len - at, flags);
		uint32_t attr = id < 0 ? 0 : t->vocab.pieces[id].attr;
		size_t to = at;
		int ret;

		if (id < 0) {
			at++;
			continue;
		}
		while ((attr & TOK_LSTRIP) && to > from && isspace((uint8_t)text[to - 1]))
			to--;
		ret = encode_part(w, text + from, to - from);
		if (ret || tok_emit(w, id))
			return ret ? ret : -ENOMEM;
		at += t->vocab.pieces[id].len;
		while ((attr & TOK_RSTRIP) && at < len && isspace((uint8_t)text[at]))
			at++;
		from = at;
	}
	return encode_part(w, text + from, len - from);
}

/* BERT's frame is [CLS] text [SEP], whatever the flags say. */
static int encode_framed(struct tok_work *w, const char *text, size_t len, unsigned flags)
{
	const struct sherd_tokenizer *t = w->t;
	int32_t first = t->kind == TOK_WPM || t->add_bos ? t->bos : -1;
	int32_t last = t->kind == TOK_WPM ? t->sep : t->add_eos ? t->eos : -1;
	bool framed = flags & SHERD_TOK_SPECIAL;
	int ret = 0;

	if (framed && first >= 0)
		ret = tok_emit(w, first);
	if (!ret)
		ret = encode(w, text, len, flags);
	if (!ret && framed && last >= 0)
		ret = tok_emit(w, last);
	return ret;
}

int sherd_tokenize(const struct sherd_tokenizer *tok, const char *text, size_t len, unsigned flags,
		   int32_t **ids, int *n, struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("tokenize", NULL);
	struct tok_work w;
	int ret;

	*ids = NULL;
	*n = 0;
	if (len > TEXT_MAX)
		return sherd_fail(err, -E2BIG,
				  "a text of %zu bytes is too long, at most %u can be "
				  "tokenized at once: cut it",
				  len, TEXT_MAX);
	ret = work_init(&w, tok, err);
	if (!ret)
		ret = encode_framed(&w, text, len, flags);
	if (!ret && w.n_ids > INT_MAX)
		ret = sherd_fail(err, -E2BIG, "the text has %zu tokens: cut it", w.n_ids);
	if (!ret) {
		*ids = w.ids.data;
		*n = (int)w.n_ids;
		w.ids.data = NULL;
	}
	work_free(&w);
	return ret;
}

/* ---------------------------------------------------------------- ids -> text */

/* Counts what it is given, keeps what fits. */
struct sink {
	char *buf;
	size_t size, n;
};

static void put(struct sink *s, const char *text, size_t len)
{
	if (s->n < s->size)
		memcpy(s->buf + s->n, text, MIN(len, s->size - s->n));
	s->n += len;
}

/* GPT-2's letters back to bytes; what is no such letter stays as it is. */
static void put_letters(struct sink *s, const char *text, size_t len)
{
	utf8proc_int32_t c;

	for (size_t at = 0; at < len;) {
		utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + at,
							 (utf8proc_ssize_t)(len - at), &c);
		int byte = step > 0 ? tok_letter_to_byte(c) : -1;
		char b = (char)byte;

		step = MAX(step, 1);
		if (byte >= 0)
			put(s, &b, 1);
		else
			put(s, text + at, (size_t)step);
		at += (size_t)step;
	}
}

/* U+2581 back to spaces; @drop: without the first one, which the tokenizer added. */
static void put_spaced(struct sink *s, const char *text, size_t len, bool drop)
{
	for (size_t at = 0; at < len; drop = false) {
		bool space =
			len - at >= TOK_SPACE_LEN && !memcmp(text + at, TOK_SPACE, TOK_SPACE_LEN);

		if (!space)
			put(s, text + at, 1);
		else if (!drop)
			put(s, " ", 1);
		at += space ? TOK_SPACE_LEN : 1;
	}
}

static void put_token(struct sink *s, const struct sherd_tokenizer *t, int32_t id, bool special,
		      bool drop)
{
	const struct tok_piece *p = &t->vocab.pieces[id];
	const char *text = tok_text(&t->vocab, id);

	if (p->attr & (TOK_CONTROL | TOK_UNKNOWN)) {
		if (special)
			put(s, text, p->len);
	} else if (p->attr & TOK_USER) {
		put(s, text, p->len);
	} else if ((p->attr & TOK_BYTE) && p->len == 6) {
		char hex[3] = { text[3], text[4], 0 }, byte = (char)strtol(hex, NULL, 16);

		put(s, &byte, 1);
	} else if (t->kind == TOK_BPE && !(t->pre.flags & TOK_PRE_RAW)) {
		put_letters(s, text, p->len);
	} else {
		put_spaced(s, text, p->len, drop);
	}
}

int sherd_token_text(const struct sherd_tokenizer *tok, int32_t id, bool special, char *buf,
		     size_t size)
{
	struct sink s = { buf, size, 0 };

	if (id >= 0 && id < tok->n_vocab)
		put_token(&s, tok, id, special, false);
	return (int)s.n;
}

/* The space that encoding put at the start and behind a special token goes again. */
static void put_tokens(struct sink *s, const struct sherd_tokenizer *t, const int32_t *ids, int n,
		       bool special)
{
	bool letters = t->kind == TOK_BPE && !(t->pre.flags & TOK_PRE_RAW);
	bool prefixed =
		t->kind == TOK_WPM || (!letters && t->space_prefix && !t->ws_as_suffix);
	bool drop = prefixed;

	for (int i = 0; i < n; i++) {
		put_token(s, t, ids[i], special, drop);
		drop = prefixed && (t->vocab.pieces[ids[i]].attr & (TOK_CONTROL | TOK_USER));
	}
}

int sherd_detokenize(const struct sherd_tokenizer *tok, const int32_t *ids, int n, bool special,
		     char **text, size_t *len, struct sherd_error *err)
{
	struct sink s = { 0 };

	*text = NULL;
	*len = 0;
	for (int i = 0; i < n; i++)
		if (ids[i] < 0 || ids[i] >= tok->n_vocab)
			return sherd_fail(err, -EINVAL,
					  "id %d (the %d. of %d) is not in the "
					  "vocabulary of %d tokens",
					  ids[i], i + 1, n, tok->n_vocab);
	put_tokens(&s, tok, ids, n, special);
	s.buf = malloc(s.n + 1);
	if (!s.buf)
		return sherd_fail_oom(err, s.n + 1, "the text");
	s.size = s.n;
	s.n = 0;
	put_tokens(&s, tok, ids, n, special);
	s.buf[s.n] = 0;
	*text = s.buf;
	*len = s.n;
	return 0;
}

/* -------------------------------------------------------------------- the rest */

int sherd_tokenizer_open(struct sherd_tokenizer **tok, const char *name, struct sherd_error *err)
{
	struct gguf *g;
	char *path;
	int ret;

	*tok = NULL;
	ret = sherd_resolve_model(name, &path, err);
	if (ret)
		return ret;
	ret = sherd_source_open(&g, path, err);
	free(path);
	if (ret)
		return ret;
	ret = sherd_tokenizer_from_gguf(tok, g, err);
	gguf_close(g);
	return ret;
}

void sherd_tokenizer_free(struct sherd_tokenizer *tok)
{
	if (!tok)
		return;
	free(tok->describe);
	free(tok->chat_template);
	tok_vocab_free(&tok->vocab);
	free(tok->special.edges);
	free(tok->matcher.edges);
	tok_pre_free(&tok->pre);
	free(tok->merges);
	tok_ugm_free(tok);
	free(tok);
}

const char *sherd_tokenizer_describe(const struct sherd_tokenizer *tok)
{
	return tok->describe;
}

const char *sherd_tokenizer_chat_template(const struct sherd_tokenizer *tok)
{
	return tok->chat_template;
}

int sherd_tokenizer_n_vocab(const struct sherd_tokenizer *tok)
{
	return tok->n_vocab;
}

int32_t sherd_tokenizer_bos(const struct sherd_tokenizer *tok)
{
	return tok->bos;
}

int32_t sherd_tokenizer_eos(const struct sherd_tokenizer *tok)
{
	return tok->eos;
}

bool sherd_tokenizer_is_end(const struct sherd_tokenizer *tok, int32_t id)
{
	return id >= 0 && id < tok->n_vocab && (tok->vocab.pieces[id].attr & TOK_END);
}
