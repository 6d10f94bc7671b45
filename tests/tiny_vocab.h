/* SPDX-License-Identifier: MIT */
/*
 * tiny_vocab: vocabularies of a few dozen tokens, one of each kind, written as GGUF and opened
 * again. A header alone, since fuzz targets are linked from one object.
 */
#ifndef TINY_VOCAB_H
#define TINY_VOCAB_H

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "model/tokenizer.h"

#define TINY_MAX 512
#define TINY_SP	 "\xe2\x96\x81"

enum { TINY_NORMAL = 1, TINY_UNKNOWN, TINY_CONTROL, TINY_USER, TINY_UNUSED, TINY_BYTE };

/* What is 0 or NULL stays out of the file. */
struct tiny_vocab {
	const char *model, *pre, *chat_template;
	struct gguf_str tokens[TINY_MAX], merges[TINY_MAX];
	float scores[TINY_MAX];
	int32_t types[TINY_MAX];
	uint64_t n, n_scores, n_types, n_merges;
	struct {
		const char *key;
		uint32_t value;
		bool flag; /* a bool rather than a number */
	} extra[8];
	int n_extra;
	char names[256][8];
};

/* Only those in use are warned about. */
#define TINY_FN static inline __attribute__((unused))

TINY_FN struct gguf_str tiny_str(const char *s)
{
	return (struct gguf_str){ s, strlen(s) };
}

TINY_FN int tiny_token(struct tiny_vocab *v, const char *text, int type, float score)
{
	v->tokens[v->n] = tiny_str(text);
	v->types[v->n] = type;
	v->scores[v->n] = score;
	v->n_scores = v->n_types = v->n + 1;
	return (int)v->n++;
}

TINY_FN void tiny_merge(struct tiny_vocab *v, const char *pair)
{
	v->merges[v->n_merges++] = tiny_str(pair);
}

TINY_FN void tiny_number(struct tiny_vocab *v, const char *key, uint32_t value)
{
	v->extra[v->n_extra].key = key;
	v->extra[v->n_extra++].value = value;
}

TINY_FN void tiny_flag(struct tiny_vocab *v, const char *key, bool value)
{
	tiny_number(v, key, value);
	v->extra[v->n_extra - 1].flag = true;
}

TINY_FN void tiny_bytes(struct tiny_vocab *v)
{
	for (int b = 0; b < 256; b++) {
		snprintf(v->names[b], sizeof(v->names[b]), "<0x%02X>", b);
		tiny_token(v, v->names[b], TINY_BYTE, 0);
	}
}

/* Ids: 0 <unk>, 1 <s>, 2 </s>, 3-258 bytes, then these; the earlier, the better the score. */
TINY_FN void tiny_spm(struct tiny_vocab *v)
{
	static const char *const pieces[] = { "he",	     "in",	  TINY_SP "t",
					      TINY_SP "the", TINY_SP "a", TINY_SP TINY_SP,
					      "th",	     "t",	  "h",
					      "e",	     "i",	  "n",
					      "a",	     TINY_SP,	  "\xc3\xa9" };

	v->model = "llama";
	tiny_token(v, "<unk>", TINY_UNKNOWN, 0);
	tiny_token(v, "<s>", TINY_CONTROL, 0);
	tiny_token(v, "</s>", TINY_CONTROL, 0);
	tiny_bytes(v);
	for (size_t i = 0; i < ARRAY_SIZE(pieces); i++)
		tiny_token(v, pieces[i], TINY_NORMAL, -(float)i);
	tiny_token(v, "<|tool|>", TINY_USER, 0);
}

/* GPT-2's letter of a byte: printable ones stand for themselves, the rest follow U+0100. */
TINY_FN void tiny_letter(int byte, char out[8])
{
	int c = byte, n = 0;

#define TINY_PRINTABLE(b) (((b) > 0x20 && (b) < 0x7f) || ((b) > 0xa0 && (b) != 0xad))
	if (!TINY_PRINTABLE(byte)) {
		for (int b = 0; b < byte; b++)
			n += !TINY_PRINTABLE(b);
		c = 0x100 + n;
	}
	if (c < 0x80)
		snprintf(out, 8, "%c", c);
	else
		snprintf(out, 8, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
}

#define TINY_G "\xc4\xa0" /* the letter of a space */

/* Ids: 0-255 bytes, 256 th, 257 the, 258 " the", 259 in, 260 " a", 261 end, 262 user, 263 user!. */
TINY_FN void tiny_bpe(struct tiny_vocab *v, const char *pre)
{
	v->model = "gpt2";
	v->pre = pre;
	for (int b = 0; b < 256; b++) {
		tiny_letter(b, v->names[b]);
		tiny_token(v, v->names[b], TINY_NORMAL, 0);
	}
	tiny_token(v, "th", TINY_NORMAL, 0);
	tiny_token(v, "the", TINY_NORMAL, 0);
	tiny_token(v, TINY_G "the", TINY_NORMAL, 0);
	tiny_token(v, "in", TINY_NORMAL, 0);
	tiny_token(v, TINY_G "a", TINY_NORMAL, 0);
	tiny_token(v, "<|endoftext|>", TINY_CONTROL, 0);
	tiny_token(v, "<|user|>", TINY_USER, 0);
	tiny_token(v, "<|user|>!", TINY_USER, 0);
	tiny_merge(v, "t h");
	tiny_merge(v, "th e");
	tiny_merge(v, TINY_G " the");
	tiny_merge(v, "i n");
	tiny_merge(v, TINY_G " a");
	/* makes no token, and goes on to one that is none either */
	tiny_merge(v, "z z");
	tiny_merge(v, "zz zz");
	tiny_number(v, "tokenizer.ggml.bos_token_id", 261);
	tiny_number(v, "tokenizer.ggml.eos_token_id", 261);
}

/* Ids: 0 [PAD], 1 [UNK], 2 [CLS], 3 [SEP], 4 the, 5 un, 6 -able, 7 -n, 8 ",", 9 "!", 10 a, 11 e. */
TINY_FN void tiny_wpm(struct tiny_vocab *v)
{
	static const char *const words[] = { TINY_SP "the",
					     TINY_SP "un",
					     "able",
					     "n",
					     TINY_SP ",",
					     TINY_SP "!",
					     TINY_SP "a",
					     TINY_SP "e",
					     TINY_SP "\xe4\xbd\xa0",
					     TINY_SP "\xc3\xa9" };

	v->model = "bert";
	tiny_token(v, "[PAD]", TINY_CONTROL, 0);
	tiny_token(v, "[UNK]", TINY_CONTROL, 0);
	tiny_token(v, "[CLS]", TINY_CONTROL, 0);
	tiny_token(v, "[SEP]", TINY_CONTROL, 0);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		tiny_token(v, words[i], TINY_NORMAL, 0);
	tiny_number(v, "tokenizer.ggml.bos_token_id", 2);
	tiny_number(v, "tokenizer.ggml.unknown_token_id", 1);
	tiny_number(v, "tokenizer.ggml.seperator_token_id", 3);
}

/* Ids: 0 <pad>, 1 </s>, 2 <unk>, 3 " abc", 4 " ab", 5 "cd", 6 " ", 7 a, 8 b, 9 c, 10 d. */
TINY_FN void tiny_ugm(struct tiny_vocab *v)
{
	v->model = "t5";
	tiny_token(v, "<pad>", TINY_CONTROL, 0);
	tiny_token(v, "</s>", TINY_CONTROL, 0);
	tiny_token(v, "<unk>", TINY_UNKNOWN, 0);
	tiny_token(v, TINY_SP "abc", TINY_NORMAL, -2);
	tiny_token(v, TINY_SP "ab", TINY_NORMAL, -2.5f);
	tiny_token(v, "cd", TINY_NORMAL, -2.5f);
	tiny_token(v, TINY_SP, TINY_NORMAL, -3);
	tiny_token(v, "a", TINY_NORMAL, -5);
	tiny_token(v, "b", TINY_NORMAL, -5);
	tiny_token(v, "c", TINY_NORMAL, -5);
	tiny_token(v, "d", TINY_NORMAL, -5);
	tiny_flag(v, "tokenizer.ggml.add_space_prefix", true);
	tiny_flag(v, "tokenizer.ggml.remove_extra_whitespaces", true);
}

TINY_FN void tiny_array(struct gguf_writer *w, const char *key, enum gguf_kind elem,
			const void *data, uint64_t n)
{
	struct gguf_value v = { .kind = GGUF_ARRAY, .elem = elem, .n = n, .data = data };

	if (elem == GGUF_STRING)
		v.strings = (struct gguf_str *)data;
	if (n)
		gguf_put_value(w, key, &v);
}

/* The GGUF file of @v in a memfd, or -1. */
TINY_FN int tiny_file(const struct tiny_vocab *v)
{
	int fd = memfd_create("tiny-vocab", MFD_CLOEXEC);
	struct gguf_writer *w = fd < 0 ? NULL : gguf_writer_new(fd, "tiny", 32);
	bool ok;

	if (!w)
		return -1;
	gguf_put_str(w, "general.architecture", "llama");
	if (v->model)
		gguf_put_str(w, "tokenizer.ggml.model", v->model);
	if (v->pre)
		gguf_put_str(w, "tokenizer.ggml.pre", v->pre);
	if (v->chat_template)
		gguf_put_str(w, "tokenizer.chat_template", v->chat_template);
	tiny_array(w, "tokenizer.ggml.tokens", GGUF_STRING, v->tokens, v->n);
	tiny_array(w, "tokenizer.ggml.merges", GGUF_STRING, v->merges, v->n_merges);
	tiny_array(w, "tokenizer.ggml.scores", GGUF_F32, v->scores, v->n_scores);
	tiny_array(w, "tokenizer.ggml.token_type", GGUF_I32, v->types, v->n_types);
	for (int i = 0; i < v->n_extra; i++)
		if (v->extra[i].flag)
			gguf_put_bool(w, v->extra[i].key, v->extra[i].value);
		else
			gguf_put_u32(w, v->extra[i].key, v->extra[i].value);
	ok = !gguf_writer_header(w, NULL) && !gguf_writer_finish(w, NULL);
	gguf_writer_free(w);
	return ok ? fd : -1;
}

/* 0 and a tokenizer, or what opening it says. */
TINY_FN int tiny_open(const struct tiny_vocab *v, struct sherd_tokenizer **tok,
		      struct sherd_error *err)
{
	int fd = tiny_file(v), ret;
	struct gguf *g;

	ret = gguf_open_fd(&g, fd, "tiny.gguf", err);
	if (ret)
		return ret;
	ret = sherd_tokenizer_from_gguf(tok, g, err);
	gguf_close(g);
	return ret;
}

#endif
