/* SPDX-License-Identifier: MIT */
/*
 * tok_wpm: WordPiece as BERT uses it. Text is cleaned (controls go, accents are stripped, letters
 * lowered), cut at white space, punctuation and Chinese characters, and each word is spelled by the
 * longest tokens from its left; a word that can't be spelled is one unknown token. In GGUF files a
 * token that starts a word begins with U+2581.
 */
#include <utf8proc.h>
#include "model/tok.h"

static bool is_chinese(int32_t c)
{
	static const int32_t ranges[][2] = {
		{ 0x3400, 0x4dbf },   { 0x4e00, 0x9fff },   { 0xf900, 0xfaff },
		{ 0x20000, 0x2a6df }, { 0x2a700, 0x2b73f }, { 0x2b740, 0x2b81f },
		{ 0x2b920, 0x2ceaf }, { 0x2f800, 0x2fa1f },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (c >= ranges[i][0] && c <= ranges[i][1])
			return true;
	return false;
}

static bool is_white(int32_t c)
{
	utf8proc_category_t cat = utf8proc_category(c);

	return c == '\t' || c == '\n' || c == '\r' ||
	       (cat >= UTF8PROC_CATEGORY_ZS && cat <= UTF8PROC_CATEGORY_ZP);
}

static bool is_dropped(int32_t c)
{
	utf8proc_category_t cat = utf8proc_category(c);

	return c == 0xfffd || cat == UTF8PROC_CATEGORY_CC || cat == UTF8PROC_CATEGORY_CF ||
	       cat == UTF8PROC_CATEGORY_CO;
}

/* ASCII's symbols count as punctuation, others do not. */
static bool is_punctuation(int32_t c)
{
	utf8proc_category_t cat = utf8proc_category(c);

	return (cat >= UTF8PROC_CATEGORY_PC && cat <= UTF8PROC_CATEGORY_PO) ||
	       (c < 0x80 && cat >= UTF8PROC_CATEGORY_SM && cat <= UTF8PROC_CATEGORY_SO);
}

/* w->text holds U+2581 and the word: @len bytes with it. Ends the word. */
static int end_word(struct tok_work *w, size_t *len)
{
	const struct sherd_tokenizer *t = w->t;
	const char *word = w->text.data;
	size_t n_before = w->n_ids, at = 0, n = *len;

	*len = TOK_SPACE_LEN;
	if (n == TOK_SPACE_LEN)
		return 0;
	while (at < n) {
		int32_t id = tok_trie_longest(&t->matcher, &t->vocab, word + at, n - at, 0);

		/* U+2581 in the text itself starts no word */
		if (id < 0 || (at && n - at >= TOK_SPACE_LEN &&
			       !memcmp(word + at, TOK_SPACE, TOK_SPACE_LEN))) {
			w->n_ids = n_before;
			return t->unk < 0 ? 0 : tok_emit(w, t->unk);
		}
		if (tok_emit(w, id))
			return -ENOMEM;
		at += t->vocab.pieces[id].len;
	}
	return 0;
}

static int add_char(struct tok_work *w, int32_t c, size_t *len)
{
	const struct sherd_tokenizer *t = w->t;
	bool alone = is_punctuation(c);
	char *text;

	if (t->strip_accents && utf8proc_category(c) == UTF8PROC_CATEGORY_MN)
		return 0;
	if (alone && end_word(w, len))
		return -ENOMEM;
	text = tok_buf_reserve(&w->text, *len + 4, 1, w->err);
	if (!text)
		return -ENOMEM;
	*len += (size_t)utf8proc_encode_char(t->lowercase ? utf8proc_tolower(c) : c,
					     (uint8_t *)text + *len);
	return alone ? end_word(w, len) : 0;
}

static int add_decomposed(struct tok_work *w, int32_t c, size_t *len)
{
	utf8proc_int32_t parts[32];
	int boundclass = 0;
	utf8proc_ssize_t n = 1;

	parts[0] = c;
	if (w->t->strip_accents)
		n = utf8proc_decompose_char(c, parts, ARRAY_SIZE(parts), UTF8PROC_DECOMPOSE,
					    &boundclass);
	if (n < 1 || n > (utf8proc_ssize_t)ARRAY_SIZE(parts)) {
		parts[0] = c;
		n = 1;
	}
	for (utf8proc_ssize_t i = 0; i < n; i++)
		if (add_char(w, parts[i], len))
			return -ENOMEM;
	return 0;
}

int tok_wpm_encode(struct tok_work *w, const char *text, size_t len)
{
	size_t n = TOK_SPACE_LEN;
	utf8proc_int32_t c;

	if (!tok_buf_reserve(&w->text, n, 1, w->err))
		return -ENOMEM;
	memcpy(w->text.data, TOK_SPACE, n);
	for (size_t at = 0; at < len;) {
		utf8proc_ssize_t step = utf8proc_iterate((const uint8_t *)text + at,
							 (utf8proc_ssize_t)(len - at), &c);
		bool alone = step > 0 && is_chinese(c);

		at += step > 0 ? (size_t)step : 1;
		if (step <= 0)
			continue;
		if ((is_white(c) || alone) && end_word(w, &n))
			return -ENOMEM;
		if (is_white(c) || is_dropped(c))
			continue;
		if (add_decomposed(w, c, &n) || (alone && end_word(w, &n)))
			return -ENOMEM;
	}
	return end_word(w, &n);
}
