/* SPDX-License-Identifier: MIT */
/* test_resolve: names to files, in caches that are made for each test under a home of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "model/shard.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char home[200];

static int begin(void **state)
{
	(void)state;
	snprintf(home, sizeof(home), "%s/sherd-resolve-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(home))
		return -1;
	unsetenv("HF_HOME");
	unsetenv("HF_HUB_CACHE");
	unsetenv("XDG_CACHE_HOME");
	unsetenv("OLLAMA_MODELS");
	return setenv("HOME", home, 1);
}

static int end(void **state)
{
	char cmd[256];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", home);
	return system(cmd);
}

/* Writes @text to @path below home, with the folders that it needs. */
static void put(const char *path, const char *text)
{
	char full[512], *slash;
	FILE *f;

	snprintf(full, sizeof(full), "%s/%s", home, path);
	for (slash = strchr(full + strlen(home) + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0700);
		*slash = '/';
	}
	f = fopen(full, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

static void finds(const char *name, const char *below)
{
	struct sherd_error err = { "" };
	char want[512], *path = NULL;

	snprintf(want, sizeof(want), "%s/%s", home, below);
	if (sherd_resolve_model(name, &path, &err))
		fail_msg("%s should be found: %s", name, err.msg);
	assert_string_equal(path, want);
	free(path);
}

/* Not found, or refused, with a sentence that holds @words. */
static void refuses(const char *name, const char *words)
{
	struct sherd_error err = { "" };
	char *path = (char *)name;

	if (!sherd_resolve_model(name, &path, &err))
		fail_msg("%s became %s", name, path);
	assert_null(path);
	if (!strstr(err.msg, words))
		fail_msg("%s: \"%s\" should contain \"%s\"", name, err.msg, words);
}

static const char *below_home(const char *path)
{
	static char full[512];

	snprintf(full, sizeof(full), "%s/%s", home, path);
	return full;
}

static void manifest(const char *path, const char *digest)
{
	char text[1024];

	snprintf(text, sizeof(text),
		 "{\"schemaVersion\":2,\"layers\":["
		 "{\"mediaType\":\"application/"
		 "vnd.ollama.image.template\",\"digest\":\"sha256:%s\"},"
		 "{\"mediaType\":\"application/"
		 "vnd.ollama.image.model\",\"digest\":\"%s\",\"size\":5}]}",
		 HEX, digest);
	put(path, text);
}

/* ------------------------------------------------------------------- paths */

static void a_file_that_is_there_is_itself(void **state)
{
	(void)state;
	put("any name.bin", "x");
	finds(below_home("any name.bin"), "any name.bin");
}

static void a_file_wins_over_a_model_of_its_name(void **state)
{
	char cwd[512], *path;

	(void)state;
	assert_non_null(getcwd(cwd, sizeof(cwd)));
	put("work/tiny", "x");
	put(".ollama/models/blobs/sha256-" HEX, "GGUF");
	manifest(".ollama/models/manifests/registry.ollama.ai/library/tiny/latest", "sha256:" HEX);
	assert_int_equal(chdir(below_home("work")), 0);
	assert_int_equal(sherd_resolve_model("tiny", &path, NULL), 0);
	assert_int_equal(chdir(cwd), 0);
	assert_string_equal(path, "tiny");
	free(path);
	finds("tiny", ".ollama/models/blobs/sha256-" HEX);
}

static void a_folder_with_one_model_is_that_model(void **state)
{
	(void)state;
	put("m/config.json", "{}");
	put("m/the-model.gguf", "x");
	put("m/mmproj-the-model.gguf", "x");
	finds(below_home("m"), "m/the-model.gguf");
	put("m/second.GGUF", "x");
	refuses(below_home("m"), "holds 2 models, name one: second.GGUF, the-model.gguf");
}

static void a_folder_without_a_model_is_refused(void **state)
{
	(void)state;
	put("m/model.safetensors", "x");
	refuses(below_home("m"), "holds no .gguf file");
	put("m/dir.gguf/inner", "x");
	refuses(below_home("m"), "dir.gguf: is not a file");
}

static void a_folder_of_safetensors_is_a_model_itself(void **state)
{
	(void)state;
	put("st/config.json", "{}");
	put("st/model.safetensors", "x");
	finds(below_home("st"), "st");
	finds(below_home("st/config.json"), "st");
	finds(below_home("st/model.safetensors"), "st");
	put("st/m.gguf", "x"); /* smaller, as a rule, and what was taken before */
	finds(below_home("st"), "st/m.gguf");
	finds(below_home("st/config.json"), "st");
}

static void a_repository_of_safetensors_is_found_by_its_name(void **state)
{
	(void)state;
	put(".cache/huggingface/hub/models--org--st/refs/main", "abc");
	put(".cache/huggingface/hub/models--org--st/snapshots/abc/config.json", "{}");
	finds("org/st", ".cache/huggingface/hub/models--org--st/snapshots/abc");
}

static void a_list_of_very_many_models_is_cut(void **state)
{
	char name[64];
	int i;

	(void)state;
	for (i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "m/a-rather-long-name-of-a-file-%d.gguf", i);
		put(name, "x");
	}
	refuses(below_home("m"), "holds 200 models");
}

/* ------------------------------------------------------------ Hugging Face */

#define HUB ".cache/huggingface/hub/models--org--Name-1.1B"

static void a_repository_is_found_in_the_cache(void **state)
{
	(void)state;
	put(HUB "/refs/main", "abc123\n");
	put(HUB "/snapshots/abc123/m.gguf", "x");
	put(HUB "/snapshots/old/m.gguf", "x");
	finds("org/Name-1.1B", HUB "/snapshots/abc123/m.gguf");
	finds(below_home(HUB), HUB "/snapshots/abc123/m.gguf");
	finds(below_home(HUB "/snapshots/old"), HUB "/snapshots/old/m.gguf");
}

static void the_cache_may_be_elsewhere(void **state)
{
	(void)state;
	put("hf/hub/models--o--m/refs/main", "r");
	put("hf/hub/models--o--m/snapshots/r/m.gguf", "x");
	put("direct/models--o--n/refs/main", "r");
	put("direct/models--o--n/snapshots/r/n.gguf", "x");
	setenv("HF_HOME", below_home("hf"), 1);
	setenv("HF_HUB_CACHE", below_home("direct"), 1);
	finds("o/m", "hf/hub/models--o--m/snapshots/r/m.gguf");
	finds("o/n", "direct/models--o--n/snapshots/r/n.gguf");
	refuses("o/k", "direct");
}

static void a_single_snapshot_needs_no_ref(void **state)
{
	(void)state;
	put(HUB "/snapshots/one/m.gguf", "x");
	finds("org/Name-1.1B", HUB "/snapshots/one/m.gguf");
	put(HUB "/snapshots/two/m.gguf", "x");
	refuses("org/Name-1.1B", "refs/main names no snapshot");
}

static void a_ref_cannot_lead_out_of_the_snapshots(void **state)
{
	static const char *const refs[] = {
		"../../../secret", "..", ".", "/etc", "", "\n", "a/../b"
	};
	size_t i;

	(void)state;
	put(".cache/huggingface/secret/m.gguf", "x");
	put(HUB "/m.gguf", "x");
	put(HUB "/snapshots/one/m.gguf", "x");
	put(HUB "/snapshots/two/m.gguf", "x");
	for (i = 0; i < ARRAY_SIZE(refs); i++) {
		put(HUB "/refs/main", refs[i]);
		refuses("org/Name-1.1B", "refs/main names no snapshot");
	}
}

static void a_link_to_a_missing_blob_is_told(void **state)
{
	(void)state;
	put(HUB "/refs/main", "r");
	put(HUB "/snapshots/r/config.json", "{}");
	assert_int_equal(symlink("../../blobs/gone", below_home(HUB "/snapshots/r/m.gguf")), 0);
	refuses("org/Name-1.1B", "blob is missing");
}

/* ------------------------------------------------------------------ Ollama */

static void ollamas_names_are_found(void **state)
{
	(void)state;
	put(".ollama/models/blobs/sha256-" HEX, "GGUF");
	manifest(".ollama/models/manifests/registry.ollama.ai/library/llama3.2/latest",
		 "sha256:" HEX);
	manifest(".ollama/models/manifests/registry.ollama.ai/library/llama3.2/1b", "sha256:" HEX);
	manifest(".ollama/models/manifests/registry.ollama.ai/someone/thing/q8_0", "sha256:" HEX);
	finds("llama3.2", ".ollama/models/blobs/sha256-" HEX);
	finds("llama3.2:1b", ".ollama/models/blobs/sha256-" HEX);
	finds("someone/thing:q8_0", ".ollama/models/blobs/sha256-" HEX);
	refuses("llama3.2:no-such-tag", "no model in");
	refuses("someone/thing", "no model in");
}

static void ollamas_folder_may_be_elsewhere(void **state)
{
	(void)state;
	put("models/blobs/sha256-" HEX, "GGUF");
	manifest("models/manifests/registry.ollama.ai/library/tiny/latest", "sha256:" HEX);
	setenv("OLLAMA_MODELS", below_home("models"), 1);
	finds("tiny", "models/blobs/sha256-" HEX);
}

static void a_manifest_names_a_blob_by_its_sum_and_by_nothing_else(void **state)
{
	static const char *const bad[] = {
		"sha256:../../../../secret",
		"../secret",
		"",
		"sha256:",
		"sha256:" HEX "0",
		"sha512:" HEX,
		"sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"sha256:/123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
	};
	size_t i;

	(void)state;
	put("secret", "GGUF");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		manifest(".ollama/models/manifests/registry.ollama.ai/library/evil/latest", bad[i]);
		refuses("evil", "names no model by its SHA-256");
	}
}

static void broken_manifests_are_refused(void **state)
{
	static const struct {
		const char *text, *words;
	} bad[] = {
		{ "", "is no JSON" },
		{ "{\"layers\":[", "is no JSON" },
		{ "[]", "names no model" },
		{ "{\"layers\":5}", "names no model" },
		{ "{\"layers\":[5,null,{\"mediaType\":7}]}", "names no model" },
		{ "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\"}]}",
		  "names no model" },
		{ "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.model\","
		  "\"digest\":12}]}",
		  "names no model" },
		{ "{\"layers\":[{\"mediaType\":\"application/vnd.ollama.image.adapter\"}]}",
		  "adapter" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		put(".ollama/models/manifests/registry.ollama.ai/library/m/latest", bad[i].text);
		refuses("m", bad[i].words);
	}
	manifest(".ollama/models/manifests/registry.ollama.ai/library/m/latest", "sha256:" HEX);
	refuses("m", "pull the model again");
}

static void names_cannot_lead_out_of_their_folders(void **state)
{
	static const char *const bad[] = {
		"../secret:x", "..:x",	  "a/..:x", "../..",  "..%2f", "a/../../b", "a:../b",
		"a:..",	       ".hidden", "a/.b:c", "org/..", "../x",  "a b",	    "a\nb",
		"a:b:c",       "a//b",	  "/",	    ":",      "a:",
	};
	size_t i;

	(void)state;
	/* what each of them would reach if it were let through */
	manifest(".ollama/models/manifests/registry.ollama.ai/secret/x", "sha256:" HEX);
	manifest(".ollama/models/manifests/registry.ollama.ai/library/x", "sha256:" HEX);
	manifest(".ollama/models/manifests/registry.ollama.ai/library/.hidden/latest",
		 "sha256:" HEX);
	put(".ollama/models/blobs/sha256-" HEX, "GGUF");
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		struct sherd_error err = { "" };
		char *path;

		if (!access(bad[i], F_OK)) /* "../.." is a folder here: paths are no names */
			continue;
		if (!sherd_resolve_model(bad[i], &path, &err))
			fail_msg("%s became %s", bad[i], path);
		assert_null(path);
		assert_true(err.msg[0] && !strchr(err.msg, '\n'));
	}
}

static void what_is_nowhere_is_refused_with_the_places(void **state)
{
	char name[300];

	(void)state;
	refuses("", "no model is named");
	refuses(NULL, "no model is named");
	refuses("/no/such/file.gguf", "no such file");
	refuses("./missing.gguf", "no such file");
	refuses("no-such-model:1b", ".ollama/models");
	refuses("org/no-such-model", ".cache/huggingface/hub");
	refuses("org/no-such-model", ".ollama/models");
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	refuses(name, "no such file");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_file_that_is_there_is_itself),
		TEST(a_file_wins_over_a_model_of_its_name),
		TEST(a_folder_with_one_model_is_that_model),
		TEST(a_folder_without_a_model_is_refused),
		TEST(a_folder_of_safetensors_is_a_model_itself),
		TEST(a_repository_of_safetensors_is_found_by_its_name),
		TEST(a_list_of_very_many_models_is_cut),
		TEST(a_repository_is_found_in_the_cache),
		TEST(the_cache_may_be_elsewhere),
		TEST(a_single_snapshot_needs_no_ref),
		TEST(a_ref_cannot_lead_out_of_the_snapshots),
		TEST(a_link_to_a_missing_blob_is_told),
		TEST(ollamas_names_are_found),
		TEST(ollamas_folder_may_be_elsewhere),
		TEST(a_manifest_names_a_blob_by_its_sum_and_by_nothing_else),
		TEST(broken_manifests_are_refused),
		TEST(names_cannot_lead_out_of_their_folders),
		TEST(what_is_nowhere_is_refused_with_the_places),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
