/* SPDX-License-Identifier: MIT */
/*
 * tok_check: what the tests of tokenizers share. A test fills `vocab`, opens it as `tok`, and
 * compares ids and texts; its teardown closes both.
 */
#ifndef TOK_CHECK_H
#define TOK_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "tiny_model.h"
#include "tiny_vocab.h"

static struct tiny_vocab vocab;
static struct sherd_tokenizer *tok;
static struct sherd_error err __attribute__((unused));

TINY_FN int close_tok(void **state)
{
	(void)state;
	sherd_tokenizer_free(tok);
	tok = NULL;
	memset(&vocab, 0, sizeof(vocab));
	return 0;
}

TINY_FN void open_tok(void)
{
	err.msg[0] = 0;
	if (tiny_open(&vocab, &tok, &err))
		fail_msg("%s", err.msg);
}

/* One vocabulary of each kind with bytes to spell anything; false after the last. */
TINY_FN bool open_byte_complete(int i)
{
	close_tok(NULL);
	if (i == 0)
		tiny_spm(&vocab);
	else if (i == 1)
		tiny_bpe(&vocab, "gpt-2");
	else if (i == 2)
		tiny_bpe(&vocab, "llama-bpe");
	else
		return false;
	open_tok();
	return true;
}

/* Tokenizes and compares with ids that end with -1. */
TINY_FN void check_ids(const char *text, size_t len, unsigned flags, ...)
{
	int32_t *ids, want;
	int n, i = 0;
	va_list ap;

	assert_int_equal(sherd_tokenize(tok, text, len, flags, &ids, &n, &err), 0);
	va_start(ap, flags);
	while ((want = va_arg(ap, int)) >= 0) {
		if (i >= n || ids[i] != want)
			fail_msg("\"%s\": id %d is %d of %d, not %d", text, i, i < n ? ids[i] : -1,
				 n, want);
		i++;
	}
	va_end(ap);
	if (i != n)
		fail_msg("\"%s\": %d ids, not %d", text, n, i);
	free(ids);
}

TINY_FN void check_text(const char *want, bool special, ...)
{
	int32_t ids[64], id;
	int n = 0;
	char *text;
	size_t len;
	va_list ap;

	va_start(ap, special);
	while ((id = va_arg(ap, int)) >= 0)
		ids[n++] = id;
	va_end(ap);
	assert_int_equal(sherd_detokenize(tok, ids, n, special, &text, &len, &err), 0);
	assert_string_equal(text, want);
	assert_int_equal(len, strlen(want));
	free(text);
}

/* Encodes, checks the ids' range, decodes; malloc'd. */
TINY_FN char *there_and_back(const char *text, size_t len, size_t *out_len)
{
	int32_t *ids;
	char *out;
	int n;

	if (sherd_tokenize(tok, text, len, 0, &ids, &n, &err))
		fail_msg("%s", err.msg);
	for (int i = 0; i < n; i++)
		assert_in_range(ids[i], 0, sherd_tokenizer_n_vocab(tok) - 1);
	assert_int_equal(sherd_detokenize(tok, ids, n, false, &out, out_len, &err), 0);
	free(ids);
	return out;
}

TINY_FN void check_round_trip(const char *text, size_t len)
{
	size_t out_len;
	char *out = there_and_back(text, len, &out_len);

	if (out_len != len || memcmp(out, text, len))
		fail_msg("%s: \"%.*s\" came back as \"%s\"", sherd_tokenizer_describe(tok),
			 (int)len, text, out);
	free(out);
}

TINY_FN size_t put_char(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

/* Valid UTF-8 of all planes, with much white space, words of the vocabularies and no U+2581. */
TINY_FN size_t random_text(uint64_t *seed, char *out, size_t room)
{
	static const char *const bits[] = { " ",    "  ",  "\n",	   "\r\n", "\t",  "the",
					    " the", "in",  "12345",	   "'s",   "'LL", "zz",
					    "<|",   "...", "\xe4\xbd\xa0", "World" };
	static const uint32_t tops[] = { 0x80, 0x800, 0x10000, 0x110000 };
	size_t n = 0, count = tiny_random(seed) % 60;

	for (size_t i = 0; i < count && n + 8 < room; i++) {
		uint32_t c = tiny_random(seed) % tops[tiny_random(seed) % 4];
		const char *bit = bits[tiny_random(seed) % ARRAY_SIZE(bits)];

		if (tiny_random(seed) % 2 == 0)
			n = (size_t)((char *)mempcpy(out + n, bit, strlen(bit)) - out);
		else if ((c < 0xd800 || c > 0xdfff) && c != 0x2581)
			n += put_char(c, out + n);
	}
	return n;
}

#define TOK_TEST(f) cmocka_unit_test_teardown(f, close_tok)

#endif
