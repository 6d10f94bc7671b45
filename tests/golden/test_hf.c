/* SPDX-License-Identifier: MIT */
/*
 * Hugging Face folders: the logits that transformers gives for the folders in hf/, which it saved
 * itself (hf_models.py). Each family is there with another type of weights, one in several files.
 */
#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "gold.h"

static bool check_folder(const char *name, const char *device)
{
	char *path = golden_path(name, ""), *gold_path = golden_path(name, "/logits.gold");
	struct gold g;
	float *out;
	double w;

	gold_open(&g, gold_path);
	out = gold_run(&g, path, device, 0);
	w = gold_worst(out, gold_section(&g, "float"), (size_t)g.n_rows * g.n_vocab);
	print_message("  %-28s %-10s max error %.1e of the largest logit\n", name, device, w);
	free(out);
	free(g.file);
	free(path);
	free(gold_path);
	return w <= 1e-4;
}

/* Those that @begin so. */
static void check_folders(const char *device, const char *begin)
{
	char *hf = golden_path("hf", ""), name[300];
	DIR *d = opendir(hf);
	const struct dirent *e;
	int n = 0, bad = 0;

	assert_non_null(d);
	while ((e = readdir(d))) {
		if (e->d_name[0] == '.' || strncmp(e->d_name, begin, strlen(begin)))
			continue;
		snprintf(name, sizeof(name), "hf/%s", e->d_name);
		bad += !check_folder(name, device);
		n++;
	}
	closedir(d);
	free(hf);
	assert_true(n > (*begin ? 0 : 19));
	assert_int_equal(bad, 0);
}

static void folders_give_transformers_logits_on_the_reference(void **state)
{
	(void)state;
	check_folders("reference", "");
}

static void folders_give_transformers_logits_on_opencl(void **state)
{
	(void)state;
	/* by then a folder is a shard as any other: one will do */
	check_folders("auto", getenv("SHERD_LONG") ? "" : "llama");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(folders_give_transformers_logits_on_the_reference),
		cmocka_unit_test(folders_give_transformers_logits_on_opencl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
