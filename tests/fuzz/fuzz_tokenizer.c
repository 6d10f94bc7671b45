/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tokenizer: the first byte of the input chooses a tiny vocabulary and the second flags, the
 * rest is text; or the rest is a GGUF file whose tokenizer, if it has one, gets some text to
 * chew. Besides not crashing: ids are in range, ids have a text, and what can spell every byte
 * loses none.
 */
#include <utf8proc.h>
#include "tiny_vocab.h"

#define CHECK(x) ((x) ? (void)0 : abort())

static const char *const pre_names[] = { "gpt-2",	 "llama-bpe", "qwen2",	 "default",
					 "deepseek-llm", "gpt-4o",    "kimi-k2", "superbpe",
					 "bloom",	 "exaone-moe" };

enum { SPM, WPM, UGM, RAW, BPE };
#define N_KINDS (BPE + ARRAY_SIZE(pre_names))

static struct sherd_tokenizer *open_tiny(size_t kind)
{
	struct tiny_vocab v = { 0 };
	struct sherd_tokenizer *tok = NULL;

	if (kind == SPM || kind == RAW)
		tiny_spm(&v);
	else if (kind == WPM)
		tiny_wpm(&v);
	else if (kind == UGM)
		tiny_ugm(&v);
	else
		tiny_bpe(&v, pre_names[kind - BPE]);
	if (kind == RAW) {
		v.model = "gemma4";
		tiny_merge(&v, "t h");
		tiny_merge(&v, "th e");
	}
	CHECK(!tiny_open(&v, &tok, NULL));
	return tok;
}

static bool is_utf8(const char *text, size_t len)
{
	utf8proc_int32_t c;

	for (size_t at = 0; at < len;) {
		utf8proc_ssize_t n = utf8proc_iterate((const uint8_t *)text + at,
						      (utf8proc_ssize_t)(len - at), &c);

		if (n <= 0)
			return false;
		at += (size_t)n;
	}
	return true;
}

static void chew(const struct sherd_tokenizer *tok, const char *text, size_t len, unsigned flags,
		 bool exact)
{
	int32_t *ids;
	char *back;
	size_t back_len;
	int n;

	if (sherd_tokenize(tok, text, len, flags, &ids, &n, NULL))
		return;
	for (int i = 0; i < n; i++)
		CHECK(ids[i] >= 0 && ids[i] < sherd_tokenizer_n_vocab(tok));
	CHECK(!sherd_detokenize(tok, ids, n, true, &back, &back_len, NULL));
	if (exact)
		CHECK(back_len == len && !memcmp(back, text, len));
	free(back);
	free(ids);
}

static void chew_file(const uint8_t *data, size_t size)
{
	static const char text[] =
		"the quick <s> brown\n\n fox's 12345 \xc3\xa9\xe4\xbd\xa0 \xff<|x|>";
	struct sherd_tokenizer *tok;
	char buf[8];
	struct gguf *g;

	if (gguf_open_memory(&g, data, size, "fuzz", NULL))
		return;
	if (!sherd_tokenizer_from_gguf(&tok, g, NULL)) {
		CHECK(sherd_tokenizer_describe(tok));
		chew(tok, text, sizeof(text) - 1, SHERD_TOK_SPECIAL | SHERD_TOK_PARSE, false);
		chew(tok, text, sizeof(text) - 1, 0, false);
		for (int id = -1; id <= sherd_tokenizer_n_vocab(tok); id++) {
			sherd_token_text(tok, id, true, buf, sizeof(buf));
			sherd_tokenizer_is_end(tok, id);
		}
		sherd_tokenizer_free(tok);
	}
	gguf_close(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct sherd_tokenizer *toks[N_KINDS];
	const char *text = (const char *)data + 2;
	size_t len = size - 2, kind;
	unsigned flags;
	bool exact;

	if (size < 2)
		return 0;
	if (*data == 'G') {
		chew_file(data, size); /* a GGUF's own first byte */
		return 0;
	}
	kind = *data % N_KINDS;
	flags = data[1] & (SHERD_TOK_SPECIAL | SHERD_TOK_PARSE);
	if (!toks[kind])
		toks[kind] = open_tiny(kind);
	/* U+2581 means a space to SPM; its byte 0xe2 may also come in pieces */
	exact = !flags && (kind == SPM || kind == RAW ? !memchr(text, 0xe2, len) : kind >= BPE);
	chew(toks[kind], text, len, flags, exact && (kind == SPM || is_utf8(text, len)));
	return 0;
}
