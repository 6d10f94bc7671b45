/* SPDX-License-Identifier: MIT */
/*
 * tok_bpe: byte-pair encoding with a list of merges. tok_pre.c has cut the text into words;
 * within one, the neighbours whose merge stands first in the list become one, until none is in
 * the list. GPT-2's kind writes every byte as a letter of its own (a space is U+0120), so that
 * any text can be spelled; the raw kind merges characters and falls back to byte tokens.
 */
#include <stdlib.h>
#include <utf8proc.h>
#include "model/tok.h"

/*
 * Printable bytes are their own letters, the others follow from U+0100 on in their order:
 * 0x00-0x20, 0x7f-0xa0, 0xad.
 */
int32_t tok_byte_to_letter(uint8_t byte)
{
	if (byte <= 0x20)
		return 0x100 + byte;
	if (byte >= 0x7f && byte <= 0xa0)
		return 0x121 + byte - 0x7f;
	return byte == 0xad ? 0x143 : byte;
}

int tok_letter_to_byte(int32_t letter)
{
	if (letter > 0x143 || letter < 0x21)
		return -1;
	if (letter == 0x143)
		return 0xad;
	if (letter >= 0x121)
		return letter - 0x121 + 0x7f;
	if (letter >= 0x100)
		return letter - 0x100;
	return tok_byte_to_letter((uint8_t)letter) == letter ? letter : -1;
}

static size_t put_letter(uint8_t byte, char *out)
{
	int32_t c = tok_byte_to_letter(byte);

	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = (char)(0xc0 | (c >> 6));
	out[1] = (char)(0x80 | (c & 0x3f));
	return 2;
}

static uint32_t merge_hash(int32_t left, int32_t right)
{
	uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32);
}

/* The entry of this pair, or the free one where it belongs. */
static struct tok_merge *merge_slot(const struct sherd_tokenizer *t, int32_t left, int32_t right)
{
	uint32_t i = merge_hash(left, right) & t->merge_mask;

	while (t->merges[i].left >= 0 && (t->merges[i].left != left || t->merges[i].right != right))
		i = (i + 1) & t->merge_mask;
	return &t->merges[i];
}

static int32_t pair_merge(const struct tok_work *w, const struct tok_sym *l,
			  const struct tok_sym *r, int32_t *key)
{
	const struct tok_merge *m;

	if (l->piece < 0 || r->piece < 0)
		return -1;
	m = merge_slot(w->t, l->piece, r->piece);
	*key = m->rank;
	return m->left < 0 ? -1 : m->piece;
}

/*
 * Merges mostly make tokens in the order of their ids: the one after @last is tried before the
 * index.
 */
static int32_t intern_next(struct tok_vocab *v, int32_t last, const char *text, size_t len,
			   struct sherd_error *err)
{
	uint32_t next = (uint32_t)last + 1;

	if (next < v->n && v->pieces[next].len == len &&
	    !memcmp(tok_text(v, (int32_t)next), text, len))
		return (int32_t)next;
	return tok_vocab_intern(v, text, len, err);
}

/* "left right": the first space that is not at the start parts them. *@last: the piece it made. */
static int add_merge(struct sherd_tokenizer *t, struct gguf_str s, int32_t rank, int32_t *last,
		     struct tok_buf *joined, struct sherd_error *err)
{
	const char *space = s.len > 1 ? memchr(s.data + 1, ' ', s.len - 1) : NULL;
	size_t n = space ? (size_t)(space - s.data) : 0;
	int32_t left, right, piece;
	struct tok_merge *m;
	char *text;

	if (!space || n + 1 == s.len)
		return sherd_fail(err, -EINVAL,
				  "merge %d (\"%.*s\") is not two pieces with a space between them",
				  rank, (int)MIN(s.len, (size_t)40), s.data);
	text = tok_buf_reserve(joined, s.len, 1, err);
	if (!text)
		return -ENOMEM;
	memcpy(mempcpy(text, s.data, n), space + 1, s.len - n - 1);
	left = tok_vocab_intern(&t->vocab, text, n, err);
	right = left < 0 ? left : tok_vocab_intern(&t->vocab, text + n, s.len - n - 1, err);
	piece = right < 0 ? right : intern_next(&t->vocab, *last, text, s.len - 1, err);
	if (piece < 0)
		return piece;
	*last = piece;
	m = merge_slot(t, left, right);
	if (m->left < 0)
		*m = (struct tok_merge){ left, right, rank, piece };
	return 0;
}

static int load_merges(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, "tokenizer.ggml.merges");
	struct tok_buf joined = { 0 };
	int32_t last = -1;
	size_t n = 16;
	int ret = 0;

	if (!v && !(t->pre.flags & TOK_PRE_NO_MERGES))
		return sherd_fail(err, -EINVAL, "tokenizer.ggml.merges is missing: BPE needs it");
	if (v && (v->kind != GGUF_ARRAY || v->elem != GGUF_STRING || v->n > INT32_MAX / 4))
		return sherd_fail(err, -EINVAL, "tokenizer.ggml.merges is not a list of strings");
	while (v && n < v->n * 2)
		n *= 2;
	t->merges = sherd_calloc(n, sizeof(*t->merges));
	if (!t->merges)
		return sherd_fail_oom(err, n * sizeof(*t->merges), "the merges");
	t->merge_mask = (uint32_t)(n - 1);
	for (size_t i = 0; i < n; i++)
		t->merges[i].left = -1;
	for (uint64_t i = 0; v && i < v->n && !ret; i++)
		ret = add_merge(t, v->strings[i], (int32_t)i, &last, &joined, err);
	free(joined.data);
	return ret;
}

int tok_bpe_load(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	int ret = load_merges(t, g, err);
	char letter[2];

	if (ret || (t->pre.flags & TOK_PRE_RAW))
		return ret;
	for (int b = 0; b < 256; b++)
		t->byte_id[b] = tok_vocab_find(&t->vocab, letter, put_letter((uint8_t)b, letter));
	return 0;
}

/* Of characters that nobody knows those that stand side by side are one token. */
static int emit_unknown(struct tok_work *w)
{
	const int32_t *ids = w->ids.data;
	int32_t unk = w->t->unk;

	return unk < 0 || (w->n_ids && ids[w->n_ids - 1] == unk) ? 0 : tok_emit(w, unk);
}

/* A piece that is no token is spelled in bytes; a byte without a token is unknown. */
static int emit_sym(struct tok_work *w, const struct tok_sym *s)
{
	const struct sherd_tokenizer *t = w->t;
	const uint8_t *text = (const uint8_t *)w->text.data + s->pos;

	if (s->piece >= 0 && s->piece < t->n_vocab)
		return tok_emit(w, s->piece);
	for (size_t i = 0; i < s->len; i++) {
		int32_t id = t->byte_id[text[i]];

		if ((id < 0 || id >= t->n_vocab) && (t->pre.flags & TOK_PRE_RAW))
			return emit_unknown(w);
		if (id < 0 || id >= t->n_vocab)
			id = t->unk;
		if (id >= 0 && tok_emit(w, id))
			return -ENOMEM;
	}
	return 0;
}

/* The whole word's token, where such a word is not merged from its letters; -1: merge. */
static int32_t whole_word(struct tok_work *w, size_t from, size_t to)
{
	const struct sherd_tokenizer *t = w->t;
	const char *text = w->text.data;
	char *out;
	int32_t id;
	size_t n = 0;

	if (t->pre.flags & TOK_PRE_NEWLINES) {
		/* runs of newlines: Gemma's merges do not lead to all of their tokens */
		while (from + n < to && text[from + n] == '\n')
			n++;
		return from + n < to ? -1 : tok_vocab_find(&t->vocab, text + from, n);
	}
	if (!(t->pre.flags & TOK_PRE_IGNORE_MERGES) || to - from > t->vocab.max_len)
		return -1;
	if (t->pre.flags & TOK_PRE_RAW) {
		id = tok_vocab_find(&t->vocab, text + from, to - from);
		return id < t->n_vocab ? id : -1;
	}
	out = tok_buf_reserve(&w->aux, (to - from) * 2, 1, w->err);
	if (!out)
		return -1;
	for (size_t i = from; i < to; i++)
		n += put_letter((uint8_t)text[i], out + n);
	id = tok_vocab_find(&t->vocab, out, n);
	return id < t->n_vocab ? id : -1;
}

static int encode_word(struct tok_work *w, size_t from, size_t to)
{
	const char *text = w->text.data;
	bool raw = w->t->pre.flags & TOK_PRE_RAW;
	int32_t n = 0, id = whole_word(w, from, to);
	struct tok_sym *syms;

	if (id >= 0)
		return tok_emit(w, id);
	syms = tok_buf_reserve(&w->syms, to - from, sizeof(*syms), w->err);
	if (!syms)
		return -ENOMEM;
	for (size_t at = from; at < to; n++) {
		size_t len = raw ? MIN(tok_utf8_len((uint8_t)text[at]), to - at) : 1;
		int32_t piece = raw ? tok_vocab_find(&w->t->vocab, text + at, len)
				    : w->t->byte_id[(uint8_t)text[at]];

		syms[n] = (struct tok_sym){ n - 1, n + 1, piece, (uint32_t)at, (uint32_t)len };
		at += len;
	}
	syms[n - 1].next = -1;
	if (tok_merge(w, (size_t)n, pair_merge))
		return -ENOMEM;
	for (int32_t i = 0; i >= 0; i = syms[i].next)
		if (emit_sym(w, &syms[i]))
			return -ENOMEM;
	return 0;
}

/* Composed characters, as Unicode's form C has them; ASCII is that already. */
static int compose(struct tok_work *w, size_t *len)
{
	utf8proc_uint8_t *out;
	utf8proc_ssize_t n;
	size_t i = 0;
	char *text = w->text.data;

	while (i < *len && !((uint8_t)text[i] & 0x80))
		i++;
	if (i == *len)
		return 0;
	n = utf8proc_map((const uint8_t *)text, (utf8proc_ssize_t)*len, &out,
			 UTF8PROC_STABLE | UTF8PROC_COMPOSE);
	if (n < 0)
		return sherd_fail(w->err, -ENOMEM, "a text of %zu bytes can't be normalized: %s",
				  *len, utf8proc_errmsg(n));
	text = tok_buf_reserve(&w->text, (size_t)n, 1, w->err);
	if (text)
		memcpy(text, out, (size_t)n);
	*len = (size_t)n;
	free(out);
	return text ? 0 : -ENOMEM;
}

/* A space before the text, unless one is there and only one is wanted. */
static int put_prefix(struct tok_work *w, size_t *len)
{
	const struct sherd_tokenizer *t = w->t;
	const char *prefix = t->pre.flags & TOK_PRE_RAW ? TOK_SPACE : " ";
	size_t n = strlen(prefix);
	char *text = w->text.data;

	if (t->one_space_prefix && *len >= n && !memcmp(text, prefix, n))
		return 0;
	text = tok_buf_reserve(&w->text, *len + n, 1, w->err);
	if (!text)
		return -ENOMEM;
	memmove(text + n, text, *len);
	memcpy(text, prefix, n);
	*len += n;
	return 0;
}

int tok_bpe_encode(struct tok_work *w, const char *text, size_t len)
{
	const size_t *ends;
	size_t n_words, n, from = 0;
	int ret = tok_put_utf8(w, text, len, w->t->pre.flags & TOK_PRE_RAW, &n);

	if (!ret && w->t->nfc)
		ret = compose(w, &n);
	if (!ret && w->t->space_prefix)
		ret = put_prefix(w, &n);
	if (!ret)
		ret = tok_pre_split(w, n, &ends, &n_words);
	for (size_t i = 0; !ret && i < n_words; i++) {
		ret = encode_word(w, from, ends[i]);
		from = ends[i];
	}
	return ret;
}
