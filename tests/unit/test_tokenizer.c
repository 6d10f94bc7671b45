/* SPDX-License-Identifier: MIT */
/*
 * test_tokenizer: text to ids and back for each kind of vocabulary, on tiny ones whose ids can be
 * worked out by hand.
 */
#include "tok_check.h"

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
	check_ids("a\xc3\xb1"
		  "a",
		  4, 0, 2, 1, 0, 1, -1);
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
	check_ids("th a\xc3\xa9\xc3\xb1", 8, SHERD_TOK_SPECIAL, 1, 265, 263, 273, 3 + 0xc3,
		  3 + 0xb1, -1);
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
	out = there_and_back("a\x80"
			     "b\xc3"
			     "c\xc0\xaf\xed\xa0\x80",
			     10, &len);
	assert_string_equal(out, "a\xef\xbf\xbd"
				 "b\xef\xbf\xbd"
				 "c\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOK_TEST(spm_merges_the_best_score_first),
		TOK_TEST(spm_spells_what_it_does_not_know_in_bytes),
		TOK_TEST(spm_without_byte_tokens_says_unknown),
		TOK_TEST(spm_with_a_token_across_words_still_finds_it),
		TOK_TEST(bpe_merges_in_the_list_s_order),
		TOK_TEST(a_word_that_is_a_token_stays_whole_where_merges_are_ignored),
		TOK_TEST(raw_bpe_takes_characters_and_falls_back_to_bytes),
		TOK_TEST(wordpiece_cleans_cuts_and_takes_the_longest),
		TOK_TEST(wordpiece_keeps_accents_where_the_file_says_so),
		TOK_TEST(unigram_takes_the_best_sum_not_the_longest_token),
		TOK_TEST(bos_and_eos_are_added_as_the_file_says),
		TOK_TEST(control_tokens_are_letters_unless_they_are_asked_for),
		TOK_TEST(a_special_token_s_text_is_shown_only_on_demand),
		TOK_TEST(spm_prefixes_a_space_behind_special_tokens_and_takes_it_back),
		TOK_TEST(generation_ends_at_eos_and_at_tokens_named_like_it),
		TOK_TEST(where_messages_end_in_end_the_generation_does_not),
		TOK_TEST(any_valid_text_comes_back_byte_for_byte),
		TOK_TEST(invalid_utf8_stays_in_spm_and_is_replaced_in_bpe),
		TOK_TEST(text_may_hold_a_nul),
		TOK_TEST(an_id_out_of_range_is_refused_with_one_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
