/* SPDX-License-Identifier: MIT */
/* test_tok_pre: how text is cut into words for BPE, by the name that a file gives. */
#include "tok_check.h"
#include "model/tok.h"

/* One name of every row of the table. */
static const char *const pre_names[] = {
	"default",	"llama-bpe",
	"smaug-bpe",	"chatglm-bpe",
	"glm4",		"gpt-2",
	"qwen2",	"qwen35",
	"ufakzeka",	"laguna",
	"minicpm5",	"jais-2",
	"deepseek-llm", "deepseek-coder",
	"deepseek-v3",	"spark2_5",
	"afmoe",	"youtu",
	"falcon",	"starcoder",
	"bloom",	"viking",
	"tekken",	"chameleon",
	"gpt-4o",	"granite-embed-multi-97m",
	"tiny_aya",	"kimi-k2",
	"superbpe",	"bailingmoe",
	"seed-coder",	"exaone-moe",
	"sarvam-moe",
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
		{ "gpt-2",
		  "a\xc2\xa0\xc2\xa0"
		  "b",
		  "a|\xc2\xa0|\xc2\xa0|b" },
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
	static const char *const units[] = {
		" ",	    "\n",	    "a",   "1", "!",   "'", "a1", " a", "<",
		"\xc3\xa9", "\xe4\xbd\xa0", "\t ", "A", "the "
	};
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
				fail_msg("%s: \"%s\" again and again: %.1f s", tok->describe,
					 units[u], took);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOK_TEST(text_is_cut_into_words_as_each_model_was_trained),
		TOK_TEST(every_pre_tokenizer_loses_nothing),
		TOK_TEST(long_monotonous_texts_take_no_time),
		TOK_TEST(an_unknown_pre_tokenizer_is_treated_as_default_and_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
