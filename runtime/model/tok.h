/* SPDX-License-Identifier: MIT */
/*
 * tok: what the tokenizer's own files share. tokenizer.c is the public face (control tokens, text
 * and back), tok_load.c reads the metadata, tok_vocab.c keeps the pieces, tok_trie.c finds the
 * longest, tok_merge.c merges neighbours for both tok_spm.c and tok_bpe.c, tok_pre.c cuts text
 * into words for BPE, tok_wpm.c and tok_ugm.c are WordPiece and unigram. Nobody else includes
 * this.
 *
 * A *piece* is a string with an id. Ids below n_vocab are the model's tokens; BPE merges may name
 * strings that are no tokens, and these get ids from n_vocab on.
 */
#ifndef SHERD_TOK_H
#define SHERD_TOK_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include "model/tokenizer.h"

enum tok_kind { TOK_SPM, TOK_BPE, TOK_WPM, TOK_UGM };

enum tok_attr {
	TOK_NORMAL = 1 << 0,
	TOK_UNKNOWN = 1 << 1,
	TOK_CONTROL = 1 << 2,
	TOK_USER = 1 << 3, /* found in text before anything else, even without SHERD_TOK_PARSE */
	TOK_UNUSED = 1 << 4,
	TOK_BYTE = 1 << 5,   /* named "<0x0A>", stands for one byte */
	TOK_LSTRIP = 1 << 6, /* takes the white space before it along */
	TOK_RSTRIP = 1 << 7, /* and after it */
	TOK_END = 1 << 8,    /* generation ends here */
	TOK_SPECIAL = TOK_UNKNOWN | TOK_CONTROL | TOK_USER,
};

/* ---------------------------------------------------------------- pieces (tok_vocab.c) */

struct tok_piece {
	uint32_t off, len; /* in the arena */
	uint32_t attr;
	float score;
};

struct tok_slot {
	uint32_t hash;
	int32_t id; /* -1: free */
};

struct tok_vocab {
	char *arena;
	size_t arena_len, arena_cap;
	struct tok_piece *pieces;
	uint32_t n, cap;
	struct tok_slot *slots; /* open addressing, mask + 1 of them, at most half full */
	uint32_t mask, used;
	uint32_t max_len; /* of any piece */
};

int tok_vocab_init(struct tok_vocab *v, size_t n_hint, struct sherd_error *err);
void tok_vocab_free(struct tok_vocab *v);
/* -1: no piece has this text. */
int32_t tok_vocab_find(const struct tok_vocab *v, const char *text, size_t len);
/* A new piece; of pieces with equal texts find() knows the first. Empty ones are never found. */
int32_t tok_vocab_add(struct tok_vocab *v, const char *text, size_t len, struct sherd_error *err);
/* find, or else add */
int32_t tok_vocab_intern(struct tok_vocab *v, const char *text, size_t len,
			 struct sherd_error *err);

static inline const char *tok_text(const struct tok_vocab *v, int32_t id)
{
	return v->arena ? v->arena + v->pieces[id].off : ""; /* all pieces are empty */
}

/* ------------------------------------------------------------------- trie (tok_trie.c) */

struct tok_edge {
	uint32_t from, to; /* nodes; 0 is the root, and as @to a free place of the table */
	int32_t id;	   /* the token whose text ends here, or -1 */
	uint8_t byte;
};

struct tok_trie {
	struct tok_edge *edges; /* open addressing, mask + 1 of them, at most half full */
	uint32_t mask, n;
};

/* Of the first @n pieces those with any of @attrs; of equal texts the first. */
int tok_trie_build(struct tok_trie *t, const struct tok_vocab *v, int32_t n, uint32_t attrs,
		   struct sherd_error *err);
/* NULL: no text goes on so. */
const struct tok_edge *tok_trie_step(const struct tok_trie *t, uint32_t node, uint8_t byte);
/* The longest token that @text begins with and whose attributes are not in @but; -1: none. */
int32_t tok_trie_longest(const struct tok_trie *t, const struct tok_vocab *v, const char *text,
			 size_t len, uint32_t but);

/* --------------------------------------------------------- pre-tokenizers (tok_pre.c) */

#define TOK_PRE_STAGES 6

enum tok_pre_flags {
	TOK_PRE_IGNORE_MERGES = 1 << 0, /* a word that is a token stays whole */
	TOK_PRE_ADD_BOS = 1 << 1,	/* unless the file says otherwise */
	TOK_PRE_NO_BOS = 1 << 2,	/* BPE's default BOS does not hold */
	TOK_PRE_RAW = 1 << 3,		/* UTF-8 with U+2581 for spaces, not GPT-2's letters */
	TOK_PRE_NO_MERGES = 1 << 4,	/* files without merges exist */
	TOK_PRE_WHOLE_NUMBERS = 1 << 5, /* digits with a letter behind them are not cut in threes */
	TOK_PRE_LOOSE_NUMBERS = 1 << 6, /* digits are cut within, not from what is around them */
	TOK_PRE_NEWLINES = 1 << 7,	/* so does a run of newlines that is a token */
};

/* Each stage cuts every part that the one before left: matches and the gaps between them. */
struct tok_pre {
	bool known; /* false: the file's name for it is not in the table */
	unsigned flags;
	int n_stages;
	pcre2_code *stages[TOK_PRE_STAGES]; /* NULL: digits in threes from the right */
};

struct tok_work;
int tok_pre_init(struct tok_pre *p, struct gguf_str name, struct sherd_error *err);
void tok_pre_free(struct tok_pre *p);
/* Cuts w->text [len] (valid UTF-8); *ends [*n] are the ends of the words, w's. */
int tok_pre_split(struct tok_work *w, size_t len, const size_t **ends, size_t *n);

/* ------------------------------------------------------------------- the tokenizer */

/* left + right give piece, the lower the rank the sooner. An open-addressing table. */
struct tok_merge {
	int32_t left, right, rank, piece; /* left -1: free */
};

struct tok_charsmap; /* normalization rules of a unigram model (tok_ugm.c) */

struct sherd_tokenizer {
	enum tok_kind kind;
	char *describe;
	char *chat_template; /* NULL: the file has none */
	struct tok_vocab vocab;
	int32_t n_vocab;
	struct tok_trie special;    /* control, user-defined and unknown tokens */
	bool special_first[256];    /* first bytes of these */
	int32_t bos, eos, unk, sep; /* -1: none */
	bool add_bos, add_eos;
	bool space_prefix;
	bool one_space_prefix; /* BPE: text that begins with a space gets none */
	bool nfc;	       /* BPE: text is composed first */
	bool remove_extra_ws, ws_as_suffix; /* unigram */
	bool lowercase, strip_accents;	    /* WordPiece */
	bool cut_at_space;		    /* SPM: no token has U+2581 behind another character */
	int32_t byte_id[256]; /* byte tokens; BPE: the pieces of the bytes' letters; -1: none */
	struct tok_pre pre;
	struct tok_merge *merges;
	uint32_t merge_mask;
	struct tok_trie matcher; /* unigram: every token that text may contain */
	float unk_score;
	struct tok_charsmap *charsmap;
};

/* One step of loading for each kind, after the tokens are in. */
int tok_spm_load(struct sherd_tokenizer *t, struct sherd_error *err);
int tok_bpe_load(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err);
int tok_ugm_load(struct sherd_tokenizer *t, const struct gguf *g, struct sherd_error *err);
void tok_ugm_free(struct sherd_tokenizer *t);

/* ------------------------------------------------------- work of one sherd_tokenize() */

struct tok_buf {
	void *data;
	size_t size;
};

/* Room for @n elements of @elem bytes, what was there is kept; NULL and a sentence: no memory. */
void *tok_buf_reserve(struct tok_buf *b, size_t n, size_t elem, struct sherd_error *err);

/* A character of the text, or several that were merged; a list by index, -1 ends it. */
struct tok_sym {
	int32_t prev, next;
	int32_t piece;	   /* -1: none */
	uint32_t pos, len; /* in w->text; len 0: swallowed by its left neighbour */
};

/* Two neighbours that may merge; valid as long as their lengths still add up to @len. */
struct tok_cand {
	int32_t key; /* the lowest goes first, then the leftmost */
	int32_t left;
	uint32_t len;
	int32_t piece;
};

struct tok_work {
	const struct sherd_tokenizer *t;
	struct sherd_error *err;
	struct tok_buf ids; /* int32_t */
	size_t n_ids;
	struct tok_buf text; /* char: the fragment, normalized */
	struct tok_buf syms, heap;
	size_t n_heap;
	struct tok_buf aux, cuts[2];
	pcre2_match_data *match;
	pcre2_match_context *match_ctx;
	pcre2_jit_stack *jit_stack;
};

int tok_emit(struct tok_work *w, int32_t id);
/* Copies text to w->text; invalid UTF-8 becomes U+FFFD, @escape: a space becomes U+2581. */
int tok_put_utf8(struct tok_work *w, const char *text, size_t len, bool escape, size_t *out_len);

/* Merges @n symbols of w->syms, linked by the caller, until no pair of neighbours can merge. */
typedef int32_t (*tok_pair_fn)(const struct tok_work *w, const struct tok_sym *l,
			       const struct tok_sym *r, int32_t *key); /* the merged piece, or -1 */
int tok_merge(struct tok_work *w, size_t n, tok_pair_fn pair);

/* Text without special tokens -> ids. It stands at the start or behind a special token. */
int tok_spm_encode(struct tok_work *w, const char *text, size_t len);
int tok_bpe_encode(struct tok_work *w, const char *text, size_t len);
int tok_wpm_encode(struct tok_work *w, const char *text, size_t len);
int tok_ugm_encode(struct tok_work *w, const char *text, size_t len);

/* The byte that a letter of GPT-2's alphabet stands for, -1: not in it; and the other way round. */
int tok_letter_to_byte(int32_t letter);
int32_t tok_byte_to_letter(uint8_t byte);

/* Bytes of a character by its first byte, as UTF-8 has it; 1 for a continuation byte. */
static inline size_t tok_utf8_len(uint8_t c)
{
	return c < 0xc0 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
}

#define TOK_SPACE     "\xe2\x96\x81" /* U+2581 stands for a space */
#define TOK_SPACE_LEN 3

#endif
