/* SPDX-License-Identifier: MIT */
/*
 * Tokenizers of Hugging Face folders: the ids that tokenizers, transformers and sentencepiece give
 * for the folders in tok/, one of each kind of file and pre-tokenizer (hf_tokenizers.py).
 */
#include <dirent.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "gold.h"

/* True if @text gives @want. */
static bool check_text(const char *name, const struct sherd_tokenizer *tok, const json_t *text,
		       const json_t *want)
{
	struct sherd_error err = { "" };
	int32_t *ids;
	bool same;
	int n, i;

	if (sherd_tokenize(tok, json_string_value(text), json_string_length(text),
			   SHERD_TOK_SPECIAL | SHERD_TOK_PARSE, &ids, &n, &err))
		fail_msg("%s: %s", name, err.msg);
	same = n == (int)json_array_size(want);
	for (i = 0; same && i < n; i++)
		same = ids[i] == json_integer_value(json_array_get(want, (size_t)i));
	if (!same) {
		char *t = json_dumps(text, JSON_ENCODE_ANY), *w = json_dumps(want, JSON_COMPACT);

		print_message("%s: %s should be %s, but is [", name, t, w);
		for (i = 0; i < n; i++)
			print_message("%d,", ids[i]);
		print_message("]\n");
		free(t);
		free(w);
	}
	free(ids);
	return same;
}

static int check_folder(const char *folder)
{
	char *name = sherd_asprintf("tok/%s", folder), *path = golden_path(name, "");
	char *golden = golden_path(name, "/golden.json");
	json_t *texts = json_load_file(golden, JSON_ALLOW_NUL, NULL), *t;
	struct sherd_error err = { "" };
	struct sherd_tokenizer *tok;
	int bad = 0;
	size_t i;

	if (sherd_tokenizer_open(&tok, path, &err))
		fail_msg("%s", err.msg);
	assert_true(json_array_size(texts) > 20);
	json_array_foreach(texts, i, t)
		bad += !check_text(folder, tok, json_object_get(t, "text"),
				   json_object_get(t, "ids"));
	sherd_tokenizer_free(tok);
	json_decref(texts);
	free(golden);
	free(path);
	free(name);
	return bad;
}

static void tokenizers_of_folders_give_their_own_librarys_ids(void **state)
{
	char *tok = golden_path("tok", "");
	DIR *d = opendir(tok);
	const struct dirent *e;
	int n = 0, bad = 0;

	(void)state;
	assert_non_null(d);
	for (; (e = readdir(d)); n++)
		if (e->d_name[0] != '.')
			bad += check_folder(e->d_name);
	closedir(d);
	free(tok);
	assert_true(n > 12);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokenizers_of_folders_give_their_own_librarys_ids),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
