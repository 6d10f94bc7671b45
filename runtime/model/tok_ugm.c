/* SPDX-License-Identifier: MIT */
/*
 * tok_ugm: SentencePiece's unigram model as T5 and its kin use it. The text is normalized by a
 * table of replacements that comes with the model; then, of all ways to spell it in tokens, the
 * one with the greatest sum of scores is taken (Viterbi over byte positions).
 */
#include <float.h>
#include <stdlib.h>
#include <utf8proc.h>
#include "model/tok.h"

#define UNK_PENALTY  10.0f
#define CHARSMAP_MAX (64u << 20)

/*
 * The table as SentencePiece packs it: a trie in a compact double array, 32 bits a node (bits 0-7
 * label, 8 leaf, 9 scale of the offset, 10-30 offset; a leaf's child has bits 0-30 as value), whose
 * values are offsets into replacement strings that end with a NUL each.
 */
struct tok_charsmap {
	uint32_t *nodes;
	size_t n_nodes;
	char *strings;
	size_t strings_len; /* the last one is a NUL */
};

static uint32_t node_offset(uint32_t node)
{
	return (node >> 10) << ((node & (1u << 9)) >> 6);
}

/* The longest entry that @text begins with: its length, 0 for none, and what replaces it. */
static size_t charsmap_match(const struct tok_charsmap *m, const char *text, size_t len,
			     const char **to)
{
	size_t best = 0;
	uint32_t at = m->n_nodes ? node_offset(m->nodes[0]) : 0;

	for (size_t i = 0; i < len && text[i]; i++) {
		uint8_t c = (uint8_t)text[i];
		uint32_t node, value;

		at ^= c;
		if (at >= m->n_nodes || ((node = m->nodes[at]) & (1u << 31 | 0xff)) != c)
			break;
		at ^= node_offset(node);
		if (!(node >> 8 & 1) || at >= m->n_nodes)
			continue;
		value = m->nodes[at] & ~(1u << 31);
		if (value < m->strings_len) {
			*to = m->strings + value;
			best = i + 1;
		}
	}
	return best;
}

static int load_charsmap(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, "tokenizer.ggml.precompiled_charsmap");
	struct tok_charsmap *m;
	uint32_t trie_bytes;

	if (!v || (v->kind == GGUF_ARRAY && !v->n))
		return 0;
	if (v->kind != GGUF_ARRAY || (v->elem != GGUF_U8 && v->elem != GGUF_I8) || v->n < 4 ||
	    v->n > CHARSMAP_MAX)
		return sherd_fail(err, -EINVAL,
				  "tokenizer.ggml.precompiled_charsmap is not a table "
				  "of bytes of a sensible size");
	memcpy(&trie_bytes, v->data, 4);
	if (trie_bytes % 4 || trie_bytes > v->n - 4 || trie_bytes == v->n - 4 || v->data[v->n - 1])
		return sherd_fail(err, -EINVAL,
				  "tokenizer.ggml.precompiled_charsmap claims a trie of "
				  "%u bytes in %llu, or its strings do not end",
				  trie_bytes, (unsigned long long)v->n);
	t->charsmap = m = sherd_calloc(1, sizeof(*m));
	if (!m)
		return sherd_fail_oom(err, sizeof(*m), "the normalization table");
	m->n_nodes = trie_bytes / 4;
	m->strings_len = v->n - 4 - trie_bytes;
	m->nodes = sherd_calloc(m->n_nodes + 1, 4);
	m->strings = sherd_calloc(m->strings_len, 1);
	if (!m->nodes || !m->strings)
		return sherd_fail_oom(err, v->n, "the normalization table");
	memcpy(m->nodes, v->data + 4, trie_bytes);
	memcpy(m->strings, v->data + 4 + trie_bytes, m->strings_len);
	return 0;
}

void tok_ugm_free(struct sherd_tokenizer *t)
{
	if (!t->charsmap)
		return;
	free(t->charsmap->nodes);
	free(t->charsmap->strings);
	free(t->charsmap);
}

int tok_ugm_load(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err)
{
	float lowest = FLT_MAX;

	for (int32_t id = 0; id < t->n_vocab; id++) {
		const struct tok_piece *p = &t->vocab.pieces[id];

		if (p->score != p->score)
			return sherd_fail(err, -EINVAL, "token %d's score is not a number", id);
		if (p->attr & TOK_NORMAL)
			lowest = MIN(lowest, p->score);
	}
	if (t->unk < 0)
		return sherd_fail(err, -EINVAL, "a unigram tokenizer needs an unknown token");
	t->unk_score = lowest - UNK_PENALTY;
	if (load_charsmap(t, g, err))
		return -EINVAL;
	return tok_trie_build(&t->matcher, &t->vocab, t->n_vocab,
			      TOK_NORMAL | TOK_USER | TOK_UNUSED, err);
}

/* Normalizing: @spaced says whether the last thing put was a space, real or added. */
struct norm {
	struct tok_work *w;
	size_t n;
	bool in_word, prefixed;
};

static int norm_put(struct norm *o, const char *text, size_t len)
{
	char *out = tok_buf_reserve(&o->w->text, o->n + len, 1, o->w->err);

	if (!out)
		return -ENOMEM;
	memcpy(out + o->n, text, len);
	o->n += len;
	return 0;
}

/* One character of normalized text. Words get a space before them, spaces are merged or kept. */
static int norm_byte(struct norm *o, char c)
{
	const struct sherd_tokenizer *t = o->w->t;
	bool starts = c != ' ' && !o->in_word;

	o->in_word = c != ' ';
	if (c == ' ')
		return t->remove_extra_ws ? 0 : norm_put(o, TOK_SPACE, TOK_SPACE_LEN);
	if (starts &&
	    (t->remove_extra_ws || (t->space_prefix && !t->ws_as_suffix && !o->prefixed))) {
		o->prefixed = true;
		if (norm_put(o, TOK_SPACE, TOK_SPACE_LEN))
			return -ENOMEM;
	}
	return norm_put(o, &c, 1);
}

static int normalize(struct tok_work *w, const char *text, size_t len, size_t *out_len)
{
	const struct sherd_tokenizer *t = w->t;
	struct norm o = { .w = w };
	utf8proc_int32_t c;

	for (size_t at = 0; at < len;) {
		const char *to = NULL;
		size_t step =
			t->charsmap ? charsmap_match(t->charsmap, text + at, len - at, &to) : 0;
		size_t n = step ? strlen(to) : 0;

		if (!step) {
			utf8proc_ssize_t valid = utf8proc_iterate((const uint8_t *)text + at,
								  (utf8proc_ssize_t)(len - at), &c);

			to = valid > 0 ? text + at : "\xef\xbf\xbd";
			step = valid > 0 ? (size_t)valid : 1;
			n = valid > 0 ? step : 3;
		}
		for (size_t i = 0; i < n; i++)
			if (norm_byte(&o, to[i]))
				return -ENOMEM;
		at += step;
	}
	if (t->ws_as_suffix && t->space_prefix && norm_put(&o, TOK_SPACE, TOK_SPACE_LEN))
		return -ENOMEM;
	*out_len = o.n;
	return 0;
}

/* The best spelling of the text up to a position: its last token, and where that began. */
struct best {
	double score;
	int32_t id;
	uint32_t from;
};

static void challenge(struct best *b, double score, int32_t id, size_t from)
{
	if (score > b->score)
		*b = (struct best){ score, id, (uint32_t)from };
}

/* Every token that begins at @at competes for the position where it ends. */
static void spell_from(const struct sherd_tokenizer *t, const char *text, size_t at, size_t n,
		       struct best *best)
{
	size_t char_len = MIN(tok_utf8_len((uint8_t)text[at]), n - at);
	const struct tok_edge *e;
	bool whole_char = false;
	uint32_t node = 0;

	for (size_t to = at; to < n && (e = tok_trie_step(&t->matcher, node, (uint8_t)text[to]));) {
		const struct tok_piece *p = e->id < 0 ? NULL : &t->vocab.pieces[e->id];

		node = e->to;
		to++;
		if (!p)
			continue;
		whole_char = whole_char || to - at == char_len;
		challenge(&best[to], best[at].score + (p->attr & TOK_USER ? 0.0 : (double)p->score),
			  e->id, at);
	}
	if (!whole_char)
		challenge(&best[at + char_len], best[at].score + (double)t->unk_score, t->unk, at);
}

/* Backwards along the best spelling; unknown tokens in a row are one. */
static int emit_best(struct tok_work *w, const struct best *best, size_t n)
{
	size_t first = w->n_ids, last;
	bool was_unk = false;
	int32_t *ids;

	for (size_t at = n; at; at = best[at].from) {
		bool unk = best[at].id == w->t->unk;

		if (!(unk && was_unk) && tok_emit(w, best[at].id))
			return -ENOMEM;
		was_unk = unk;
	}
	ids = w->ids.data;
	for (last = w->n_ids; first + 1 < last; first++, last--) {
		int32_t swap = ids[first];

		ids[first] = ids[last - 1];
		ids[last - 1] = swap;
	}
	return 0;
}

int tok_ugm_encode(struct tok_work *w, const char *text, size_t len)
{
	struct best *best;
	size_t n;

	if (normalize(w, text, len, &n))
		return -ENOMEM;
	best = tok_buf_reserve(&w->syms, n + 1, sizeof(*best), w->err);
	if (!best)
		return -ENOMEM;
	text = w->text.data;
	for (size_t i = 0; i <= n; i++)
		best[i] = (struct best){ -DBL_MAX, w->t->unk, 0 };
	best[0].score = 0;
	for (size_t at = 0; at < n; at += MIN(tok_utf8_len((uint8_t)text[at]), n - at))
		spell_from(w->t, text, at, n, best);
	return emit_best(w, best, n);
}
