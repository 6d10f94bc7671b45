/* SPDX-License-Identifier: MIT */
/*
 * test_tokenizer: text to ids and back for each kind of vocabulary. Tiny ones are made here, with ids
 * that can be worked out by hand; the big ones of ../shared come with ids from their own tokenizers.
 */
#include <dirent.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "model/tok.h"
#include "tiny_model.h"
#include "tiny_vocab.h"

static struct tiny_vocab vocab;
static struct sherd_tokenizer *tok;
static struct sherd_error err;

static int close_tok(void **state)
{
	(void)state;
	sherd_tokenizer_free(tok);
	tok = NULL;
	memset(&vocab, 0, sizeof(vocab));
	return 0;
}

static void open_tok(void)
{
	err.msg[0] = 0;
	if (tiny_open(&vocab, &tok, &err))
		fail_msg("%s", err.msg);
}

/* One vocabulary of each kind with bytes to spell anything; false after the last. */
static bool open_byte_complete(int i)
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
static void check_ids(const char *text, size_t len, unsigned flags, ...)
{
	int32_t *ids, want;
	int n, i = 0;
	va_list ap;

	assert_int_equal(sherd_tokenize(tok, text, len, flags, &ids, &n, &err), 0);
	va_start(ap, flags);
	while ((want = va_arg(ap, int)) >= 0) {
		if (i >= n || ids[i] != want)
			fail_msg("\"%s\": id %d is %d of %d, not %d", text, i, i < n ? ids[i] : -1, n,
				 want);
		i++;
	}
	va_end(ap);
	if (i != n)
		fail_msg("\"%s\": %d ids, not %d", text, n, i);
	free(ids);
}

static void check_text(const char *want, bool special, ...)
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
static char *there_and_back(const char *text, size_t len, size_t *out_len)
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

static void check_round_trip(const char *text, size_t len)
{
	size_t out_len;
	char *out = there_and_back(text, len, &out_len);

	if (out_len != len || memcmp(out, text, len))
		fail_msg("%s: \"%.*s\" came back as \"%s\"", sherd_tokenizer_describe(tok), (int)len,
			 text, out);
	free(out);
}

static size_t put_char(uint32_t c, char *out)
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
static size_t random_text(uint64_t *seed, char *out, size_t room)
{
	static const char *const bits[] = { " ", "  ", "\n", "\r\n", "\t", "the", " the", "in", "12345",
					    "'s", "'LL", "zz", "<|", "...", "\xe4\xbd\xa0", "World" };
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

/* ------------------------------------------------------------------------ kinds */

static void spm_merges_the_best_score_first(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok), "SPM (llama)");
	check_ids("the in", 6, 0, 262, 272, 260, -1);
	check_ids("th", 2, 0, 261, 267, -1);
	check_ids("a  a", 4, 0, 263, 272, 263, -1);
	check_ids("the", 3, SHERD_TOK_SPECIAL, 1, 262, -1);
	check_ids("", 0, SHERD_TOK_SPECIAL, 1, -1);
	check_ids("", 0, 0, -1);
}

static void spm_spells_what_it_does_not_know_in_bytes(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	open_tok();
	check_ids("\xc3\xa9", 2, 0, 272, 273, -1);
	check_ids("\xc3\xb1", 2, 0, 272, 3 + 0xc3, 3 + 0xb1, -1);
	check_text("\xc3\xb1", false, 272, 3 + 0xc3, 3 + 0xb1, -1);
}

static void spm_without_byte_tokens_says_unknown(void **state)
{
	(void)state;
	vocab.model = "llama";
	tiny_token(&vocab, "<unk>", TINY_UNKNOWN, 0);
	tiny_token(&vocab, "a", TINY_NORMAL, 0);
	tiny_token(&vocab, TINY_SP, TINY_NORMAL, 0);
	open_tok();
	check_ids("a\xc3\xb1" "a", 4, 0, 2, 1, 0, 1, -1);
}

static void spm_with_a_token_across_words_still_finds_it(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	tiny_token(&vocab, "e" TINY_SP "a", TINY_NORMAL, 1);
	tiny_token(&vocab, "e" TINY_SP, TINY_NORMAL, 2);
	open_tok();
	check_ids("e a", 3, 0, 272, 275, -1);
}

static void bpe_merges_in_the_list_s_order(void **state)
{
	(void)state;
	tiny_bpe(&vocab, "gpt-2");
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok), "BPE (gpt-2)");
	check_ids("the in a", 8, 0, 257, 32, 259, 260, -1);
	check_ids(" the", 4, SHERD_TOK_SPECIAL, 258, -1);
	/* merged to pieces that are no tokens: back to bytes */
	check_ids("zzzz", 4, 0, 'z', 'z', 'z', 'z', -1);
	check_text(" the\xff", false, 258, 255, -1);
}

static void a_word_that_is_a_token_stays_whole_where_merges_are_ignored(void **state)
{
	(void)state;
	tiny_bpe(&vocab, "llama-bpe");
	tiny_token(&vocab, "inthe", TINY_NORMAL, 0);
	open_tok();
	check_ids("inthe", 5, 0, 264, -1);
	check_ids("inthe", 5, SHERD_TOK_SPECIAL, 261, 264, -1);
	close_tok(NULL);
	tiny_bpe(&vocab, "qwen2");
	tiny_token(&vocab, "inthe", TINY_NORMAL, 0);
	open_tok();
	check_ids("inthe", 5, 0, 259, 257, -1);
}

static void raw_bpe_takes_characters_and_falls_back_to_bytes(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	vocab.model = "gemma4";
	tiny_merge(&vocab, "t h");
	tiny_merge(&vocab, TINY_SP " a");
	tiny_number(&vocab, "tokenizer.ggml.bos_token_id", 1);
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok), "BPE (gemma4)");
	check_ids("th a\xc3\xa9\xc3\xb1", 8, SHERD_TOK_SPECIAL, 1, 265, 263, 273, 3 + 0xc3, 3 + 0xb1, -1);
	check_round_trip("th a\xc3\xa9\xc3\xb1\n", 9);
}

static void wordpiece_cleans_cuts_and_takes_the_longest(void **state)
{
	(void)state;
	tiny_wpm(&vocab);
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok), "WordPiece");
	check_ids("The unable, qa \xc3\xa9", 17, 0, 4, 5, 6, 8, 1, 11, -1);
	check_ids("the\xe4\xbd\xa0!", 7, SHERD_TOK_SPECIAL, 2, 4, 12, 9, 3, -1);
	check_ids(" \t\x01\xff ", 5, SHERD_TOK_SPECIAL, 2, 3, -1);
	/* U+0301 by itself is stripped as well, and U+00AD is a control */
	check_ids("e\xcc\x81 t\xc2\xadhe", 9, 0, 11, 4, -1);
	/* U+2581 in a word is no start of one */
	check_ids("un" TINY_SP "the", 8, 0, 1, -1);
	check_text("the unable ,", false, 4, 5, 6, 8, -1);
}

static void wordpiece_keeps_accents_where_the_file_says_so(void **state)
{
	(void)state;
	tiny_wpm(&vocab);
	tiny_flag(&vocab, "tokenizer.ggml.normalizer.lowercase", false);
	open_tok();
	check_ids("\xc3\xa9 The", 6, 0, 13, 1, -1);
}

static void unigram_takes_the_best_sum_not_the_longest_token(void **state)
{
	(void)state;
	tiny_ugm(&vocab);
	open_tok();
	check_ids("abcd", 4, 0, 4, 5, -1);
	check_ids("  abc   abc ", 12, SHERD_TOK_SPECIAL, 3, 3, 1, -1);
	/* unknown characters in a row are one token */
	check_ids("xyz", 3, 0, 6, 2, -1);
	check_ids("\xff", 1, 0, 6, 2, -1);
	check_text("abcd ab", false, 4, 5, 4, -1);
}

static void bos_and_eos_are_added_as_the_file_says(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	tiny_flag(&vocab, "tokenizer.ggml.add_bos_token", false);
	tiny_flag(&vocab, "tokenizer.ggml.add_eos_token", true);
	tiny_flag(&vocab, "tokenizer.ggml.add_space_prefix", false);
	open_tok();
	check_ids("the", 3, SHERD_TOK_SPECIAL, 266, 259, 2, -1);
	check_text(" the", false, 262, -1);
	assert_int_equal(sherd_tokenizer_bos(tok), 1);
	assert_int_equal(sherd_tokenizer_eos(tok), 2);
}

/* --------------------------------------------------------------- special tokens */

static void control_tokens_are_letters_unless_they_are_asked_for(void **state)
{
	int32_t *ids;
	int n;

	(void)state;
	tiny_bpe(&vocab, "gpt-2");
	open_tok();
	check_ids("a<|user|>!<|endoftext|>", 23, SHERD_TOK_PARSE, 'a', 263, 261, -1);
	check_ids("<|user|>?<|user|>", 17, SHERD_TOK_PARSE, 262, '?', 262, -1);
	assert_int_equal(sherd_tokenize(tok, "<|endoftext|>", 13, 0, &ids, &n, &err), 0);
	assert_int_equal(n, 13);
	free(ids);
	/* user-defined ones are found in any case */
	check_ids("<|user|>", 8, 0, 262, -1);
}

static void a_special_token_s_text_is_shown_only_on_demand(void **state)
{
	char buf[4] = "....";

	(void)state;
	tiny_bpe(&vocab, "gpt-2");
	open_tok();
	check_text("a<|user|>", false, 'a', 261, 262, -1);
	check_text("a<|endoftext|>", true, 'a', 261, -1);
	assert_int_equal(sherd_token_text(tok, 261, false, buf, sizeof(buf)), 0);
	assert_int_equal(sherd_token_text(tok, 261, true, buf, 3), 13);
	assert_memory_equal(buf, "<|e.", 4);
	assert_int_equal(sherd_token_text(tok, 258, false, NULL, 0), 4);
	assert_int_equal(sherd_token_text(tok, -1, true, buf, 4), 0);
	assert_int_equal(sherd_token_text(tok, 100000, true, buf, 4), 0);
}

static void spm_prefixes_a_space_behind_special_tokens_and_takes_it_back(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	open_tok();
	check_ids("the<|tool|>the", 14, 0, 262, 274, 262, -1);
	check_text("the<|tool|>the", false, 262, 274, 262, -1);
	check_round_trip(" the <|tool|> the", 17);
	check_text("the the", false, 1, 262, 262, 2, -1);
}

static void generation_ends_at_eos_and_at_tokens_named_like_it(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	tiny_token(&vocab, "<|im_end|>", TINY_NORMAL, 0);
	tiny_token(&vocab, "<turn>", TINY_NORMAL, 0);
	tiny_number(&vocab, "tokenizer.ggml.eot_token_id", 276);
	open_tok();
	assert_true(sherd_tokenizer_is_end(tok, 2));
	assert_true(sherd_tokenizer_is_end(tok, 275));
	assert_true(sherd_tokenizer_is_end(tok, 276));
	assert_false(sherd_tokenizer_is_end(tok, 1));
	assert_false(sherd_tokenizer_is_end(tok, 262));
	assert_false(sherd_tokenizer_is_end(tok, -1));
	assert_false(sherd_tokenizer_is_end(tok, 277));
	/* by name it is a control token, whatever its type says */
	check_text("the", false, 262, 275, -1);
}

static void where_messages_end_in_end_the_generation_does_not(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	tiny_token(&vocab, "<|end|>", TINY_CONTROL, 0);
	open_tok();
	assert_true(sherd_tokenizer_is_end(tok, 275));
	close_tok(NULL);
	tiny_spm(&vocab);
	tiny_token(&vocab, "<|end|>", TINY_CONTROL, 0);
	tiny_token(&vocab, "<|return|>", TINY_CONTROL, 0);
	tiny_token(&vocab, "<|call|>", TINY_CONTROL, 0);
	open_tok();
	assert_false(sherd_tokenizer_is_end(tok, 275));
	assert_true(sherd_tokenizer_is_end(tok, 276));
}

/* --------------------------------------------------------------- there and back */

static void any_valid_text_comes_back_byte_for_byte(void **state)
{
	uint64_t seed = tiny_seed();
	char text[1024];

	(void)state;
	for (int kind = 0; open_byte_complete(kind); kind++)
		for (int i = 0; i < 2000; i++)
			check_round_trip(text, random_text(&seed, text, sizeof(text)));
}

static void invalid_utf8_stays_in_spm_and_is_replaced_in_bpe(void **state)
{
	uint64_t seed = tiny_seed();
	char text[64], *out;
	size_t len;

	(void)state;
	tiny_spm(&vocab);
	open_tok();
	for (int i = 0; i < 2000; i++) {
		size_t n = tiny_random(&seed) % sizeof(text);

		for (size_t j = 0; j < n; j++)
			text[j] = (char)tiny_random(&seed);
		/* neither U+2581 nor part of it: that means a space */
		for (size_t j = 0; j < n; j++)
			text[j] = (uint8_t)text[j] == 0xe2 ? 'x' : text[j];
		check_round_trip(text, n);
	}
	close_tok(NULL);
	tiny_bpe(&vocab, "gpt-2");
	open_tok();
	/* a stray byte, a truncated character, an overlong one, a surrogate */
	out = there_and_back("a\x80" "b\xc3" "c\xc0\xaf\xed\xa0\x80", 10, &len);
	assert_string_equal(out, "a\xef\xbf\xbd" "b\xef\xbf\xbd" "c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
				 "\xef\xbf\xbd\xef\xbf\xbd");
	free(out);
}

static void text_may_hold_a_nul(void **state)
{
	(void)state;
	for (int kind = 0; open_byte_complete(kind); kind++)
		check_round_trip("a\0b\0", 4);
}

static void an_id_out_of_range_is_refused_with_one_sentence(void **state)
{
	int32_t ids[] = { 5, 100000 };
	char *text;
	size_t len;

	(void)state;
	tiny_spm(&vocab);
	open_tok();
	assert_int_equal(sherd_detokenize(tok, ids, 2, false, &text, &len, &err), -EINVAL);
	assert_null(text);
	assert_non_null(strstr(err.msg, "100000"));
	ids[1] = -1;
	assert_int_equal(sherd_detokenize(tok, ids, 2, false, &text, &len, &err), -EINVAL);
}

/* ---------------------------------------------------------------- pre-tokenizers */

/* One name of every row of the table. */
static const char *const pre_names[] = {
	"default", "llama-bpe", "smaug-bpe", "chatglm-bpe", "glm4", "gpt-2", "qwen2", "qwen35",
	"ufakzeka", "laguna", "minicpm5", "jais-2", "deepseek-llm", "deepseek-coder", "deepseek-v3",
	"spark2_5", "afmoe", "youtu", "falcon", "starcoder", "bloom", "viking", "tekken", "chameleon",
	"gpt-4o", "granite-embed-multi-97m", "tiny_aya", "kimi-k2", "superbpe", "bailingmoe",
	"seed-coder", "exaone-moe", "sarvam-moe",
};

static void check_words(const char *pre, const char *text, const char *want)
{
	struct tok_work w = { .t = tok, .err = &err };
	const size_t *ends;
	size_t len, n, from = 0;
	char got[512] = "", *at = got;

	assert_int_equal(tok_put_utf8(&w, text, strlen(text), false, &len), 0);
	w.match = pcre2_match_data_create(1, NULL);
	assert_int_equal(tok_pre_split(&w, len, &ends, &n), 0);
	for (size_t i = 0; i < n; from = ends[i++])
		at += sprintf(at, "%s%.*s", i ? "|" : "", (int)(ends[i] - from),
			      (char *)w.text.data + from);
	if (strcmp(got, want))
		fail_msg("%s: \"%s\", not \"%s\"", pre, got, want);
	pcre2_match_data_free(w.match);
	free(w.text.data);
	free(w.cuts[0].data);
	free(w.cuts[1].data);
}

static void text_is_cut_into_words_as_each_model_was_trained(void **state)
{
	static const struct {
		const char *pre, *text, *words;
	} cases[] = {
		{ "gpt-2", "Hello world's  x9\n\n ok", "Hello| world|'s| | x|9|\n\n| ok" },
		/* U+180E is no white space */
		{ "gpt-2", "a \xe1\xa0\x8e!", "a| \xe1\xa0\x8e!" },
		{ "gpt-2", "a\xc2\xa0\xc2\xa0" "b", "a|\xc2\xa0|\xc2\xa0|b" },
		{ "llama-bpe", "It'S 12345\n\n  x", "It|'S| |123|45|\n\n| | x" },
		{ "qwen2", "a12?\n!", "a|1|2|?\n|!" },
		{ "tekken", "helloWorld ABCdef 12", "hello|World| ABCdef| |1|2" },
		{ "gpt-4o", "I'll DON'T", "I'll| DON'T" },
		{ "superbpe", "a 1234567b", "a |1|234|567|b" },
		{ "tiny_aya", "1234567 89", "1|234|567| |89" },
		{ "kimi-k2", "\xe4\xbd\xa0\xe5\xa5\xbdworldWide\xe4\xbb\xac",
		  "\xe4\xbd\xa0\xe5\xa5\xbd|world|Wide|\xe4\xbb\xac" },
		{ "deepseek-v3", "1234\xe4\xbd\xa0,ab c", "123|4|\xe4\xbd\xa0|,ab| c" },
		{ "deepseek-llm", "a 12  ", "a| |12|  " },
		{ "falcon", "ab12345", "ab|123|45" },
		{ "starcoder", "a12", "a|1|2" },
		{ "bloom", "hello, world (x)", "hello|,| world| (|x|)" },
		{ "default", "a,b  12", "a|,|b| | |12" },
		{ "jais-2", "a       b", "a|    |  | b" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		tiny_bpe(&vocab, cases[i].pre);
		open_tok();
		check_words(cases[i].pre, cases[i].text, cases[i].words);
		close_tok(NULL);
	}
}

static void every_pre_tokenizer_loses_nothing(void **state)
{
	uint64_t seed = tiny_seed();
	char text[1024];

	(void)state;
	for (size_t p = 0; p < ARRAY_SIZE(pre_names); p++) {
		tiny_bpe(&vocab, pre_names[p]);
		open_tok();
		assert_true(tok->pre.known);
		/* the raw kind needs other tokens: see above */
		for (int i = 0; i < 100 && !(tok->pre.flags & TOK_PRE_RAW); i++)
			check_round_trip(text, random_text(&seed, text, sizeof(text)));
		close_tok(NULL);
	}
}

/* Quadratic time would take minutes. */
static void long_monotonous_texts_take_no_time(void **state)
{
	static const char *const units[] = { " ", "\n", "a", "1", "!", "'", "a1", " a", "<", "\xc3\xa9",
					     "\xe4\xbd\xa0", "\t ", "A", "the " };
	enum { LEN = 100000 };
	char *text = malloc(LEN);

	(void)state;
	assert_non_null(text);
	for (size_t p = 0; p < ARRAY_SIZE(pre_names) + 1; p++) {
		if (p < ARRAY_SIZE(pre_names))
			tiny_bpe(&vocab, pre_names[p]);
		else
			tiny_spm(&vocab);
		open_tok();
		for (size_t u = 0; u < ARRAY_SIZE(units); u++) {
			double start = sherd_now(), took;
			size_t len = strlen(units[u]), n = LEN / len * len;

			for (size_t i = 0; i < n; i += len)
				memcpy(text + i, units[u], len);
			if (!(tok->pre.flags & TOK_PRE_RAW))
				check_round_trip(text, n);
			took = sherd_now() - start;
			if (took > 5)
				fail_msg("%s: \"%s\" again and again: %.1f s", tok->describe, units[u],
					 took);
		}
		close_tok(NULL);
	}
	free(text);
}

static void an_unknown_pre_tokenizer_is_treated_as_default_and_says_so(void **state)
{
	(void)state;
	tiny_bpe(&vocab, "brand-new");
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok),
			    "BPE (unknown pre-tokenizer brand-new, treated as default)");
	check_words("brand-new", "a,b  12", "a|,|b| | |12");
	close_tok(NULL);
	tiny_bpe(&vocab, NULL);
	open_tok();
	assert_string_equal(sherd_tokenizer_describe(tok),
			    "BPE (no pre-tokenizer named, treated as default)");
}

/* ------------------------------------------------------------------ hostile files */

/* Opening fails with @code and one sentence that has @words. */
static void refused(int code, const char *words)
{
	err.msg[0] = 0;
	assert_int_equal(tiny_open(&vocab, &tok, &err), code);
	assert_null(tok);
	if (!strstr(err.msg, words) || !strstr(err.msg, "tiny.gguf") || strchr(err.msg, '\n'))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, words);
	memset(&vocab, 0, sizeof(vocab));
}

static void a_file_without_a_tokenizer_is_no_tokenizer(void **state)
{
	(void)state;
	refused(-ENOENT, "no tokenizer");
	tiny_spm(&vocab);
	vocab.model = "rwkv";
	refused(-ENOTSUP, "rwkv");
	vocab.model = "llama";
	refused(-EINVAL, "tokens is missing");
}

static void arrays_of_the_wrong_length_are_refused(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	vocab.n_scores--;
	refused(-EINVAL, "tokenizer.ggml.scores has 274 entries, but there are 275");
	tiny_spm(&vocab);
	vocab.n_types++;
	refused(-EINVAL, "token_type has 276");
}

static void special_ids_out_of_range_are_refused(void **state)
{
	static const char *const keys[] = {
		"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
		"tokenizer.ggml.unknown_token_id", "tokenizer.ggml.eot_token_id"
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
		tiny_spm(&vocab);
		tiny_number(&vocab, keys[i], 275);
		refused(-EINVAL, keys[i]);
	}
	/* "none" is said so */
	tiny_spm(&vocab);
	tiny_number(&vocab, keys[0], UINT32_MAX);
	open_tok();
	assert_int_equal(sherd_tokenizer_bos(tok), -1);
	check_ids("the", 3, SHERD_TOK_SPECIAL, 262, -1);
}

static void default_ids_beyond_a_small_vocabulary_are_none(void **state)
{
	(void)state;
	vocab.model = "llama";
	tiny_token(&vocab, "a", TINY_NORMAL, 0);
	open_tok();
	assert_int_equal(sherd_tokenizer_bos(tok), -1);
	assert_int_equal(sherd_tokenizer_eos(tok), -1);
	check_ids("b", 1, SHERD_TOK_SPECIAL, 0, 0, -1); /* unknown is id 0 by default */
}

static void bad_scores_and_merges_are_refused(void **state)
{
	(void)state;
	tiny_spm(&vocab);
	vocab.scores[260] = NAN;
	refused(-EINVAL, "token 260's score");
	tiny_bpe(&vocab, "gpt-2");
	tiny_merge(&vocab, "nospace");
	refused(-EINVAL, "merge 7 (\"nospace\")");
	tiny_bpe(&vocab, "gpt-2");
	tiny_merge(&vocab, "");
	refused(-EINVAL, "merge 7");
	tiny_bpe(&vocab, "gpt-2");
	tiny_merge(&vocab, "a ");
	refused(-EINVAL, "merge 7");
	tiny_bpe(&vocab, "gpt-2");
	vocab.n_merges = 0;
	refused(-EINVAL, "merges is missing");
}

static void duplicate_and_empty_tokens_do_no_harm(void **state)
{
	(void)state;
	tiny_bpe(&vocab, "gpt-2");
	tiny_token(&vocab, "the", TINY_NORMAL, 0);
	tiny_token(&vocab, "", TINY_NORMAL, 0);
	tiny_token(&vocab, "", TINY_USER, 0);
	tiny_token(&vocab, "<|user|>", TINY_USER, 0);
	tiny_token(&vocab, "<0xZZ>", TINY_BYTE, 0);
	tiny_token(&vocab, "<", TINY_BYTE, 0);
	tiny_merge(&vocab, "t h");
	open_tok();
	check_ids("the<|user|>", 11, 0, 257, 262, -1);
	check_text("the", false, 264, 265, 266, -1);
	assert_int_equal(sherd_token_text(tok, 268, false, NULL, 0), 1);
}

static void an_empty_vocabulary_is_refused(void **state)
{
	int fd = memfd_create("empty", 0);
	struct gguf_writer *w = gguf_writer_new(fd, "empty", 32);
	struct gguf_value none = { .kind = GGUF_ARRAY, .elem = GGUF_STRING };
	struct gguf *g;

	(void)state;
	gguf_put_str(w, "tokenizer.ggml.model", "llama");
	gguf_put_value(w, "tokenizer.ggml.tokens", &none);
	assert_int_equal(gguf_writer_header(w, &err), 0);
	assert_int_equal(gguf_writer_finish(w, &err), 0);
	gguf_writer_free(w);
	assert_int_equal(gguf_open_fd(&g, fd, "empty.gguf", &err), 0);
	assert_int_equal(sherd_tokenizer_from_gguf(&tok, g, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "empty.gguf"));
	gguf_close(g);
}

/* ------------------------------------------------------------- shared vocabularies */

static const char *shared_dir(void)
{
	const char *dir = getenv("SHERD_SHARED");

	return dir ? dir : "../shared";
}

/* The next space-separated ids of a line against what we make of @text. */
static bool same_ids(const char *text, size_t len, const char *line)
{
	int32_t *ids;
	bool same = true;
	int n, i = 0;
	char *end;

	assert_int_equal(sherd_tokenize(tok, text, len, 0, &ids, &n, &err), 0);
	for (long id; id = strtol(line, &end, 10), end != line; line = end, i++)
		same = same && i < n && ids[i] == id;
	same = same && i == n;
	free(ids);
	return same;
}

/* X.gguf, X.gguf.inp (texts with a line of __ggml_vocab_test__ between them) and X.gguf.out (ids). */
static int check_vectors(const char *gguf)
{
	static const char between[] = "\n__ggml_vocab_test__\n";
	char path[1000], *inp, *out, *text, *line, *next;
	size_t inp_len, out_len;
	int n = 0;

	snprintf(path, sizeof(path), "%s.inp", gguf);
	assert_int_equal(sherd_read_file(path, 1 << 20, &inp, &inp_len, &err), 0);
	snprintf(path, sizeof(path), "%s.out", gguf);
	assert_int_equal(sherd_read_file(path, 1 << 20, &out, &out_len, &err), 0);
	if (sherd_tokenizer_open(&tok, gguf, &err))
		fail_msg("%s", err.msg);
	line = out;
	for (text = inp; text < inp + inp_len; text = next, n++) {
		char *stop = strstr(text, between), *eol = strchr(line, '\n');
		size_t len = (size_t)(stop - text);

		assert_non_null(stop);
		assert_non_null(eol);
		next = stop + strlen(between);
		*eol = 0;
		if (!same_ids(text, len, line))
			fail_msg("%s: \"%.*s\" does not give %s", gguf, (int)len, text, line);
		line = eol + 1;
	}
	free(inp);
	free(out);
	return n;
}

static void the_vectors_of_the_shared_vocabularies_come_out_exactly(void **state)
{
	char path[500];
	struct dirent *e;
	DIR *d;
	int n = 0;

	(void)state;
	snprintf(path, sizeof(path), "%s/data/tokenizers", shared_dir());
	d = opendir(path);
	if (!d) {
		print_message("skipped: there is no %s\n", path);
		skip();
	}
	while ((e = readdir(d))) {
		size_t len = strlen(e->d_name);
		char file[800];

		if (len < 5 || strcmp(e->d_name + len - 5, ".gguf"))
			continue;
		snprintf(file, sizeof(file), "%s/%s", path, e->d_name);
		n += check_vectors(file);
		close_tok(NULL);
	}
	closedir(d);
	assert_true(n >= 4 * 46);
}

#define T(f) cmocka_unit_test_teardown(f, close_tok)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(spm_merges_the_best_score_first),
		T(spm_spells_what_it_does_not_know_in_bytes),
		T(spm_without_byte_tokens_says_unknown),
		T(spm_with_a_token_across_words_still_finds_it),
		T(bpe_merges_in_the_list_s_order),
		T(a_word_that_is_a_token_stays_whole_where_merges_are_ignored),
		T(raw_bpe_takes_characters_and_falls_back_to_bytes),
		T(wordpiece_cleans_cuts_and_takes_the_longest),
		T(wordpiece_keeps_accents_where_the_file_says_so),
		T(unigram_takes_the_best_sum_not_the_longest_token),
		T(bos_and_eos_are_added_as_the_file_says),
		T(control_tokens_are_letters_unless_they_are_asked_for),
		T(a_special_token_s_text_is_shown_only_on_demand),
		T(spm_prefixes_a_space_behind_special_tokens_and_takes_it_back),
		T(generation_ends_at_eos_and_at_tokens_named_like_it),
		T(where_messages_end_in_end_the_generation_does_not),
		T(any_valid_text_comes_back_byte_for_byte),
		T(invalid_utf8_stays_in_spm_and_is_replaced_in_bpe),
		T(text_may_hold_a_nul),
		T(an_id_out_of_range_is_refused_with_one_sentence),
		T(text_is_cut_into_words_as_each_model_was_trained),
		T(every_pre_tokenizer_loses_nothing),
		T(long_monotonous_texts_take_no_time),
		T(an_unknown_pre_tokenizer_is_treated_as_default_and_says_so),
		T(a_file_without_a_tokenizer_is_no_tokenizer),
		T(arrays_of_the_wrong_length_are_refused),
		T(special_ids_out_of_range_are_refused),
		T(default_ids_beyond_a_small_vocabulary_are_none),
		T(bad_scores_and_merges_are_refused),
		T(duplicate_and_empty_tokens_do_no_harm),
		T(an_empty_vocabulary_is_refused),
		T(the_vectors_of_the_shared_vocabularies_come_out_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
