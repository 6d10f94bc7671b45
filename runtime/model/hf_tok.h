/* SPDX-License-Identifier: MIT */
/*
 * hf_tok: what the files of the folder's tokenizer share. hf_tok.c is in charge and writes the
 * result, hf_tok_json.c reads tokenizer.json, hf_tok_pre.c tells its pre-tokenizers apart,
 * hf_tok_spm.c reads SentencePiece's tokenizer.model, hf_tok_files.c the vocabularies of before
 * (vocab.json with merges.txt, vocab.txt), hf_tok_added.c added tokens and which are special.
 */
#ifndef SHERD_HF_TOK_H
#define SHERD_HF_TOK_H

#include "model/hf.h"

#define HF_MAX_TOKENS	 (1u << 22)
#define HF_MAX_TOKENIZER (256u << 20) /* bytes of a file */
#define HF_MAX_GAP	 (1u << 16) /* ids that nobody has, beyond as many as there are tokens */

/* GGUF's numbers of token types. */
enum hf_token_type {
	HF_NORMAL = 1,
	HF_UNKNOWN = 2,
	HF_CONTROL = 3,
	HF_USER = 4,
	HF_UNUSED = 5,
	HF_BYTE = 6,
};

enum hf_strip { HF_LSTRIP = 1, HF_RSTRIP = 2 };

/* The roles of special tokens, by the names of their keys. */
enum hf_role { HF_BOS, HF_EOS, HF_UNK, HF_SEP, HF_PAD, HF_CLS, HF_MASK, HF_N_ROLES };

struct hf_token {
	struct gguf_str text; /* data NULL: nobody has this id */
	float score;
	uint8_t type, strip;
};

struct hf_vocab {
	struct hf *hf;
	struct hf_token *tokens;
	size_t n, room; /* n: the highest id and one */
	size_t listed; /* how many the files list */
	const struct hf_token **by_text; /* [n_texts], sorted; NULL: not yet */
	size_t n_texts;
	struct gguf_str *merges;
	size_t n_merges;
	struct hf_chunk *chunks; /* memory of texts that are made here */
	json_t *json[8];	 /* documents that texts point into */
	size_t n_json;
	struct sherd_map map; /* tokenizer.model; fd -1: none */

	const char *model, *pre; /* of tokenizer.ggml.; model NULL: there is no tokenizer */
	bool has_scores, nfc, ignore_merges;
	int space_prefix, add_bos, add_eos; /* -1: not said */
	bool one_space_prefix;		    /* none where the text has one */
	bool remove_extra_ws;
	int lowercase, strip_accents; /* WordPiece; -1: not said */
	const uint8_t *charsmap;
	size_t charsmap_size;
	int32_t role[HF_N_ROLES]; /* ids; -1: none */
};

/* A file lists @n tokens: no id may be far beyond all that are listed. */
void hf_vocab_expect(struct hf_vocab *v, size_t n);
/* A token's text is not copied: it has to live as long as @v. */
int hf_vocab_set(struct hf_vocab *v, int64_t id, const char *text, size_t len, float score,
		 enum hf_token_type type);
int32_t hf_vocab_find(struct hf_vocab *v, const char *text, size_t len); /* -1: none */
char *hf_vocab_own(struct hf_vocab *v, size_t size); /* memory that lives with @v */
/* A file's JSON, which lives with @v; *j NULL where there is none. */
int hf_vocab_json(struct hf_vocab *v, const char *file, json_t **j);
int hf_vocab_merges(struct hf_vocab *v, size_t n); /* room for so many */

int hf_tok_json(struct hf_vocab *v, const json_t *root);
/* Which tokens stand before and behind a text; what else a post-processor does is refused. */
int hf_tok_frame(struct hf_vocab *v, const json_t *root);
/* Sets v->pre from "pre_tokenizer"; -ENOTSUP and a sentence: nobody knows it. */
int hf_tok_pre(struct hf_vocab *v, const json_t *root);
int hf_tok_spm(struct hf_vocab *v, const uint8_t *data, size_t size, const char *name);
int hf_tok_merges_txt(struct hf_vocab *v); /* vocab.json and merges.txt */
int hf_tok_vocab_txt(struct hf_vocab *v);
int hf_tok_added(struct hf_vocab *v, const json_t *tokenizer, const json_t *config);

#endif
