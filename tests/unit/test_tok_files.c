/* SPDX-License-Identifier: MIT */
/*
 * test_tok_files: what files may say wrongly about their tokenizer, and the vocabularies of
 * ../shared, which come with ids from their own tokenizers.
 */
#include <dirent.h>
#include <math.h>
#include "tok_check.h"

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
	static const char *const keys[] = { "tokenizer.ggml.bos_token_id",
					    "tokenizer.ggml.eos_token_id",
					    "tokenizer.ggml.unknown_token_id",
					    "tokenizer.ggml.eot_token_id" };

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

/* X.gguf, X.gguf.inp (texts, each ended by a line of __ggml_vocab_test__), X.gguf.out (ids). */
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TOK_TEST(a_file_without_a_tokenizer_is_no_tokenizer),
		TOK_TEST(arrays_of_the_wrong_length_are_refused),
		TOK_TEST(special_ids_out_of_range_are_refused),
		TOK_TEST(default_ids_beyond_a_small_vocabulary_are_none),
		TOK_TEST(bad_scores_and_merges_are_refused),
		TOK_TEST(duplicate_and_empty_tokens_do_no_harm),
		TOK_TEST(an_empty_vocabulary_is_refused),
		TOK_TEST(the_vectors_of_the_shared_vocabularies_come_out_exactly),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
