/* SPDX-License-Identifier: MIT */
/*
 * tok_spm: SentencePiece's BPE as Llama uses it. Spaces become U+2581; characters merge to the
 * token of the highest score, the leftmost first; what forms no token is spelled in byte tokens.
 */
#include "model/tok.h"

/* Floats as integers of the opposite order: the highest score has the lowest key. */
static int32_t score_key(float score)
{
	float f = -score;
	int32_t i;

	memcpy(&i, &f, sizeof(i));
	return i >= 0 ? i : INT32_MIN - i;
}

static int32_t pair_token(const struct tok_work *w, const struct tok_sym *l,
			  const struct tok_sym *r, int32_t *key)
{
	const struct tok_vocab *v = &w->t->vocab;
	int32_t id =
		tok_vocab_find(v, (const char *)w->text.data + l->pos, (size_t)l->len + r->len);

	if (id >= 0)
		*key = score_key(v->pieces[id].score);
	return id;
}

static int emit_bytes(struct tok_work *w, const uint8_t *text, size_t len)
{
	const struct sherd_tokenizer *t = w->t;

	for (size_t i = 0; i < len; i++)
		if (t->byte_id[text[i]] < 0)
			return t->unk < 0 ? 0 : tok_emit(w, t->unk);
	for (size_t i = 0; i < len; i++)
		if (tok_emit(w, t->byte_id[text[i]]))
			return -ENOMEM;
	return 0;
}

/* w->text [from, to): characters -> symbols -> merged -> ids */
static int encode_part(struct tok_work *w, size_t from, size_t to)
{
	const char *text = w->text.data;
	struct tok_sym *syms = tok_buf_reserve(&w->syms, to - from, sizeof(*syms), w->err);
	int32_t n = 0;

	if (!syms)
		return -ENOMEM;
	for (size_t at = from; at < to; n++) {
		size_t len = MIN(tok_utf8_len((uint8_t)text[at]), to - at);
		int32_t piece = tok_vocab_find(&w->t->vocab, text + at, len);

		syms[n] = (struct tok_sym){ n - 1, n + 1, piece, (uint32_t)at, (uint32_t)len };
		at += len;
	}
	syms[n - 1].next = -1;
	if (tok_merge(w, (size_t)n, pair_token))
		return -ENOMEM;
	for (int32_t i = 0; i >= 0; i = syms[i].next) {
		const struct tok_sym *s = &syms[i];
		int ret = s->piece >= 0 ? tok_emit(w, s->piece)
					: emit_bytes(w, (const uint8_t *)text + s->pos, s->len);

		if (ret)
			return ret;
	}
	return 0;
}

static bool is_space(const char *text, size_t at, size_t len)
{
	return len - at >= TOK_SPACE_LEN && !memcmp(text + at, TOK_SPACE, TOK_SPACE_LEN);
}

static int put_spaced(struct tok_work *w, const char *text, size_t len, size_t *out_len)
{
	size_t n = w->t->space_prefix ? TOK_SPACE_LEN : 0;
	char *out;

	for (size_t i = 0; i < len; i++)
		n += text[i] == ' ' ? TOK_SPACE_LEN : 1;
	out = tok_buf_reserve(&w->text, n, 1, w->err);
	if (!out)
		return -ENOMEM;
	*out_len = n;
	if (w->t->space_prefix)
		out = mempcpy(out, TOK_SPACE, TOK_SPACE_LEN);
	for (size_t i = 0; i < len; i++)
		if (text[i] == ' ')
			out = mempcpy(out, TOK_SPACE, TOK_SPACE_LEN);
		else
			*out++ = text[i];
	return 0;
}

/* Where no token spans the start of a word, words are merged one by one: long texts stay cheap. */
int tok_spm_encode(struct tok_work *w, const char *text, size_t len)
{
	size_t n, from = 0;
	int ret = put_spaced(w, text, len, &n);
	bool was_space = true;

	text = w->text.data;
	for (size_t at = 0; !ret && w->t->cut_at_space && at < n;) {
		bool space = is_space(text, at, n);

		if (space && !was_space) {
			ret = encode_part(w, from, at);
			from = at;
		}
		was_space = space;
		at += space ? TOK_SPACE_LEN : 1;
	}
	return ret || from == n ? ret : encode_part(w, from, n);
}

/* Does any token go on with U+2581 behind another character? */
static bool has_inner_space(const char *text, size_t len)
{
	bool other = false;

	for (size_t at = 0; at < len;) {
		bool space = is_space(text, at, len);

		if (space && other)
			return true;
		other = other || !space;
		at += space ? TOK_SPACE_LEN : 1;
	}
	return false;
}

int tok_spm_load(struct sherd_tokenizer *t, struct sherd_error *err)
{
	t->cut_at_space = true;
	for (int32_t id = 0; id < t->n_vocab; id++) {
		const struct tok_piece *p = &t->vocab.pieces[id];

		if (p->score != p->score)
			return sherd_fail(err, -EINVAL, "token %d's score is not a number", id);
		if (has_inner_space(tok_text(&t->vocab, id), p->len))
			t->cut_at_space = false;
	}
	return 0;
}
