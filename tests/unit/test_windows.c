/* SPDX-License-Identifier: MIT */
/*
 * test_windows: which layers of a model a node is sent to measure, and what it makes of a question
 * that somebody else has written.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "probe.h"
#include "random.h"

static uint64_t x;

static uint64_t draw(uint64_t below)
{
	return tiny_random(&x) % below;
}

static struct sherd_sizes *make_sizes(int n_layers, int n_kinds, uint64_t largest)
{
	struct sherd_sizes *z = calloc(1, sizeof(*z));

	*z = (struct sherd_sizes){ .name = "model",
				   .n_layers = n_layers,
				   .hidden = 64,
				   .n_ctx_train = 2048,
				   .n_kinds = n_kinds,
				   .bits = 4 * (int)draw(3) };
	memset(z->hash, 'a', SHERD_SHA256_HEX - 1);
	z->layer = calloc((size_t)n_layers, sizeof(*z->layer));
	z->kind_of = calloc((size_t)n_layers, 1);
	z->format = calloc((size_t)n_kinds, sizeof(*z->format));
	for (int k = 0; k < n_kinds; k++)
		snprintf(z->format[k], sizeof(z->format[k]), "format %d", k);
	for (int l = 0; l < n_layers; l++) {
		z->layer[l] = 1 + draw(largest);
		z->kind_of[l] = (uint8_t)(l < n_kinds ? l : (int)draw((uint64_t)n_kinds));
	}
	for (int l = n_layers - 1; l > 0; l--) { /* every kind is somewhere */
		int o = (int)draw((uint64_t)l + 1);
		uint8_t t = z->kind_of[l];

		z->kind_of[l] = z->kind_of[o];
		z->kind_of[o] = t;
	}
	return z;
}

static void windows_show_every_kind_the_first_layers_and_the_last(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		int n = 1 + (int)draw(60), kinds = 1 + (int)draw((uint64_t)MIN(n, 6));
		struct sherd_sizes *z = make_sizes(n, kinds, draw(2) ? 200 << 20 : 1 << 20);
		uint64_t all = 0, left_out = 0;
		bool seen[8] = { false }, sent[64] = { false };
		struct probe p;

		probe_choose(&p, z);
		assert_int_equal(p.windows[0].first, 0);
		assert_int_equal(p.windows[p.n_windows > 1].end, n);
		for (int w = 0; w < p.n_windows; w++) {
			assert_true(p.windows[w].first >= 0 && p.windows[w].end <= n);
			assert_true(p.windows[w].end - p.windows[w].first >= MIN(n, 2));
			for (int l = p.windows[w].first; l < p.windows[w].end; l++) {
				seen[z->kind_of[l]] = true;
				sent[l] = true;
			}
		}
		for (int l = 0; l < n; l++) {
			all += z->layer[l];
			left_out += sent[l] ? 0 : z->layer[l];
		}
		for (int k = 0; k < kinds; k++)
			assert_true(seen[k]);
		if (p.n_windows == 1)
			assert_true(!left_out && !p.others);
		else
			assert_true(p.others >= left_out && p.others < all);
		sherd_sizes_free(z);
	}
}

static void a_large_model_is_shown_by_few_layers_and_a_small_one_whole(void **state)
{
	struct sherd_sizes *large = make_sizes(80, 1, 1), *small = make_sizes(80, 1, 1);
	struct probe p;

	(void)state;
	for (int l = 0; l < 80; l++)
		large->layer[l] = 400 << 20;
	probe_choose(&p, large);
	assert_int_equal(p.n_windows, 2);
	assert_int_equal(p.windows[0].end, 2);
	assert_int_equal(p.windows[1].first, 78);
	probe_choose(&p, small);
	assert_int_equal(p.n_windows, 1);
	sherd_sizes_free(large);
	sherd_sizes_free(small);
}

static char *text_of(const struct probe *p, bool key)
{
	json_t *j = probe_to_json(p, key);
	char *text = json_dumps(j, JSON_COMPACT | JSON_SORT_KEYS);

	json_decref(j);
	return text;
}

static void a_question_arrives_as_it_was_asked(void **state)
{
	struct sherd_error err;
	struct probe p, got;

	(void)state;
	for (int i = 0; i < 200; i++) {
		int n = 1 + (int)draw(60);
		struct sherd_sizes *z =
			make_sizes(n, 1 + (int)draw((uint64_t)MIN(n, 6)), 100 << 20);
		char *text, *again;

		probe_choose(&p, z);
		p.seconds = 0.5 + (double)draw(100);
		p.again = draw(2);
		p.kv = (enum sherd_kv_type)draw(SHERD_KV_F32 + 1);
		text = text_of(&p, false);
		if (probe_parse(&got, text, &err))
			fail_msg("%s: %s", text, err.msg);
		again = text_of(&got, false);
		assert_string_equal(text, again);
		free(text);
		free(again);
		/* ... and what it is kept under knows neither how long nor whether again */
		p.seconds += 1;
		p.again = !p.again;
		text = text_of(&p, true);
		again = text_of(&got, true);
		assert_string_equal(text, again);
		free(text);
		free(again);
		sherd_sizes_free(got.sizes);
		sherd_sizes_free(z);
	}
}

/* One value of a sound question is another one. */
static void a_question_that_makes_no_sense_is_refused(void **state)
{
	static const struct {
		const char *key, *value, *why;
	} bad[] = {
		{ "hash", "\"xyz\"", "hash" },
		{ "n_layers", "0", "n_layers" },
		{ "n_layers", "100000", "n_layers" },
		{ "n_layers", "3", "kind_of" },
		{ "hidden", "-1", "hidden" },
		{ "bits", "\"5\"", "bits" },
		{ "kinds", "[]", "kinds" },
		{ "kinds", "[\"a\",\"b\",\"c\",\"d\"]", "show no layer of kind" },
		{ "kind_of", "[0,0,0,0,0,0,0,9]", "kind_of" },
		{ "windows", "[]", "windows" },
		{ "windows", "[[0,9]]", "windows" },
		{ "windows", "[[4,4]]", "windows" },
		{ "windows", "[[0,2]]", "windows" },
		{ "windows", "[[2,8]]", "windows" },
		{ "windows", "7", "windows" },
		{ "kv", "7", "kv" },
		{ "n_ctx", "100000", "n_ctx" },
		{ "others", "-1", "others" },
		{ "seconds", "1e9", "seconds" },
		{ "seconds", "\"a\"", "seconds" },
		{ "again", "1", "again" },
		{ "more", "1", "more" },
	};
	struct sherd_sizes *z = make_sizes(8, 1, 1);
	struct sherd_error err;
	struct probe p, got;

	(void)state;
	probe_choose(&p, z);
	p.seconds = 1;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		json_t *j = probe_to_json(&p, false);
		char *text;

		json_object_set_new(j, bad[i].key, json_loads(bad[i].value, JSON_DECODE_ANY, NULL));
		text = json_dumps(j, 0);
		if (!probe_parse(&got, text, &err))
			fail_msg("%s: %s is taken", bad[i].key, bad[i].value);
		if (!strstr(err.msg, bad[i].why))
			fail_msg("%s: %s is refused with: %s", bad[i].key, bad[i].value, err.msg);
		assert_null(got.sizes);
		json_decref(j);
		j = probe_to_json(&p, false);
		if (json_object_del(j, bad[i].key) == 0) {
			free(text);
			text = json_dumps(j, 0);
			assert_int_not_equal(probe_parse(&got, text, &err), 0);
		}
		json_decref(j);
		free(text);
	}
	assert_int_not_equal(probe_parse(&got, "no JSON", &err), 0);
	assert_int_not_equal(probe_parse(&got, "[]", &err), 0);
	sherd_sizes_free(z);
}

static void a_file_says_what_it_is_for(void **state)
{
	struct sherd_sizes *z = make_sizes(8, 1, 1);
	char name[SHERD_FILE_NAME];
	struct probe p;

	(void)state;
	z->bits = 0;
	probe_choose(&p, z);
	probe_name(&p, 0, name);
	assert_string_equal(name, "probe-aaaaaaaaaaaaaaaa-0-8.gguf");
	sherd_sizes_free(z);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(windows_show_every_kind_the_first_layers_and_the_last),
		cmocka_unit_test(a_large_model_is_shown_by_few_layers_and_a_small_one_whole),
		cmocka_unit_test(a_question_arrives_as_it_was_asked),
		cmocka_unit_test(a_question_that_makes_no_sense_is_refused),
		cmocka_unit_test(a_file_says_what_it_is_for),
	};

	x = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
