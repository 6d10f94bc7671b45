/* SPDX-License-Identifier: MIT */
/*
 * Encoders: a text is one batch and gives one vector, whatever its company, by each way of pooling.
 * The rows themselves are compared with torch's in tests/golden.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/infer.h"
#include "random.h"

#define N      40
#define HIDDEN 36 /* bert-f16's */
#define LAYERS 2
#define CTX    320

static uint64_t rng;

struct rig {
	struct sherd_model *m;
	struct sherd_session *s;
	int32_t tokens[CTX + 1];
	struct sherd_error err;
};

static struct sherd_model *open_golden(const char *name, const char *device, int n_batch)
{
	const char *dir = getenv("SHERD_GOLDEN");
	char *path = sherd_asprintf("%s/%s.gguf", dir ? dir : "tests/golden", name);
	struct sherd_model_params p = {
		.device = device, .no_cache = true, .n_sessions = 2, .n_batch = n_batch
	};
	struct sherd_error err = { "" };
	struct sherd_model *m;
	int rc = sherd_model_open(&m, path, &p, &err);

	free(path);
	if (rc == -ENODEV || rc == -ENOSYS) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	if (rc)
		fail_msg("%s: %s", name, err.msg);
	return m;
}

static void rig_open(struct rig *r, const char *device)
{
	int i;

	r->m = open_golden("bert-f16", device, 0);
	assert_int_equal(sherd_session_new(&r->s, r->m, NULL, &r->err), 0);
	for (i = 0; i <= CTX; i++)
		r->tokens[i] = tiny_below(&rng, 97);
}

static void rig_close(struct rig *r)
{
	sherd_session_free(r->s);
	sherd_model_close(r->m);
}

/* Rows of layers [first, end) of the text, through sherd_step(). */
static void rows_of(struct rig *r, struct sherd_session *s, const float *hidden, int n, int first,
		    int end, float *out)
{
	struct sherd_item item = {
		.session = s, .tokens = r->tokens, .hidden = hidden, .n = n, .want = SHERD_WANT_ALL
	};
	struct sherd_rows rows;

	if (sherd_step(r->m, &item, 1, first, end, &rows, &r->err))
		fail_msg("%s", r->err.msg);
	assert_int_equal(rows.n_rows, n);
	assert_int_equal(rows.row_len, HIDDEN);
	memcpy(out, rows.data, sizeof(float) * HIDDEN * (size_t)n);
}

static void a_vector_is_the_mean_the_first_or_the_last_of_a_texts_rows(void **state)
{
	float rows[N * HIDDEN], all[N * HIDDEN], v[HIDDEN];
	struct rig r;
	int c, i;

	rig_open(&r, *state);
	assert_true(sherd_model_info(r.m)->encoder);
	assert_int_equal(sherd_model_info(r.m)->pooling, SHERD_POOL_MEAN);
	rows_of(&r, r.s, NULL, N, 0, 0, rows);
	assert_int_equal(sherd_embed(r.s, r.tokens, N, SHERD_POOL_MODEL, false, v, &r.err), 0);
	for (c = 0; c < HIDDEN; c++) {
		double sum = 0;

		for (i = 0; i < N; i++)
			sum += rows[i * HIDDEN + c];
		assert_true(v[c] == (float)(sum / N));
	}
	assert_int_equal(sherd_embed(r.s, r.tokens, N, SHERD_POOL_CLS, false, v, &r.err), 0);
	assert_memory_equal(v, rows, sizeof(v));
	assert_int_equal(sherd_embed(r.s, r.tokens, N, SHERD_POOL_LAST, false, v, &r.err), 0);
	assert_memory_equal(v, rows + (N - 1) * HIDDEN, sizeof(v));
	assert_int_equal(sherd_embed(r.s, r.tokens, N, SHERD_POOL_NONE, false, all, &r.err), 0);
	assert_memory_equal(all, rows, sizeof(all));
	rig_close(&r);
}

static void a_normalized_vector_has_a_length_of_1(void **state)
{
	float v[HIDDEN], w[HIDDEN];
	double xx = 0, xy = 0, yy = 0;
	struct rig r;
	int c;

	rig_open(&r, *state);
	assert_int_equal(sherd_embed(r.s, r.tokens, 9, SHERD_POOL_MEAN, true, v, &r.err), 0);
	assert_int_equal(sherd_embed(r.s, r.tokens, 9, SHERD_POOL_MEAN, false, w, &r.err), 0);
	for (c = 0; c < HIDDEN; c++) {
		xx += (double)v[c] * v[c];
		yy += (double)w[c] * w[c];
		xy += (double)v[c] * w[c];
	}
	assert_true(fabs(xx - 1) < 1e-6 && fabs(xy / sqrt(yy) - 1) < 1e-6);
	assert_true(fabs(yy - 1) > 1e-3); /* or this says nothing */
	rig_close(&r);
}

/* Rows see the text's last token, and no other text's. */
static void a_texts_rows_depend_on_all_of_it_and_not_on_its_company(void **state)
{
	float alone[N * HIDDEN], again[N * HIDDEN];
	struct sherd_item items[2];
	struct sherd_session *s;
	struct sherd_rows rows;
	struct rig r;
	int c, differ = 0;

	rig_open(&r, *state);
	rows_of(&r, r.s, NULL, N, 0, 0, alone);
	assert_int_equal(sherd_session_truncate(r.s, 0, &r.err), 0);
	assert_int_equal(sherd_session_new(&s, r.m, NULL, &r.err), 0);
	items[0] = (struct sherd_item){
		.session = s, .tokens = r.tokens + N, .n = 21, .want = SHERD_WANT_NONE
	};
	items[1] = (struct sherd_item){
		.session = r.s, .tokens = r.tokens, .n = N, .want = SHERD_WANT_ALL
	};
	assert_int_equal(sherd_step(r.m, items, 2, 0, 0, &rows, &r.err), 0);
	assert_int_equal(rows.n_rows, N);
	assert_memory_equal(rows.data, alone, sizeof(alone));
	sherd_session_free(s);
	assert_int_equal(sherd_session_truncate(r.s, 0, &r.err), 0);
	r.tokens[N - 1] = (r.tokens[N - 1] + 1) % 97;
	rows_of(&r, r.s, NULL, N, 0, 0, again);
	for (c = 0; c < HIDDEN; c++)
		differ += again[c] != alone[c];
	assert_true(differ > HIDDEN / 2);
	rig_close(&r);
}

static void layer_by_layer_a_text_gives_the_same_rows(void **state)
{
	float whole[N * HIDDEN], rows[N * HIDDEN];
	struct rig r;
	int l;

	rig_open(&r, *state);
	rows_of(&r, r.s, NULL, N, 0, 0, whole);
	assert_int_equal(sherd_session_truncate(r.s, 0, &r.err), 0);
	for (l = 0; l < LAYERS; l++)
		rows_of(&r, r.s, l ? rows : NULL, N, l, l + 1, rows);
	assert_memory_equal(rows, whole, sizeof(whole));
	rig_close(&r);
}

static void opencl_has_the_bits_of_the_reference(void **state)
{
	static const char *const names[] = { "bert-f16", "bert-q8_0", "distilbert-f16" };
	float a[300 * 64], b[300 * 64];
	struct rig r;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		int n = 1 + tiny_below(&rng, 299), k, hidden;

		for (k = 0; k < n; k++)
			r.tokens[k] = tiny_below(&rng, 97);
		r.m = open_golden(names[i], "reference", 0);
		hidden = sherd_model_info(r.m)->hidden;
		assert_int_equal(sherd_session_new(&r.s, r.m, NULL, &r.err), 0);
		assert_int_equal(sherd_embed(r.s, r.tokens, n, SHERD_POOL_NONE, false, a, &r.err),
				 0);
		rig_close(&r);
		r.m = open_golden(names[i], "auto", 0);
		assert_int_equal(sherd_session_new(&r.s, r.m, NULL, &r.err), 0);
		assert_int_equal(sherd_embed(r.s, r.tokens, n, SHERD_POOL_NONE, false, b, &r.err),
				 0);
		rig_close(&r);
		assert_memory_equal(a, b, sizeof(float) * (size_t)(n * hidden));
	}
}

static void a_text_that_is_too_long_or_goes_on_is_refused(void **state)
{
	struct sherd_item item = { .n = 1, .want = SHERD_WANT_LAST };
	const float *logits;
	float v[HIDDEN];
	struct rig r;

	rig_open(&r, *state);
	assert_int_equal(sherd_embed(r.s, r.tokens, CTX + 1, SHERD_POOL_MEAN, true, v, &r.err),
			 -E2BIG);
	assert_non_null(strstr(r.err.msg, "has 321 tokens, and "));
	assert_non_null(strstr(r.err.msg, "at most 320 at once"));
	assert_int_equal(sherd_embed(r.s, r.tokens, 0, SHERD_POOL_MEAN, true, v, &r.err), -EINVAL);
	assert_int_equal(sherd_embed(r.s, r.tokens, CTX, SHERD_POOL_MEAN, true, v, &r.err), 0);
	assert_int_equal(sherd_session_pos(r.s), 0);
	item.session = r.s;
	item.tokens = r.tokens;
	assert_int_equal(sherd_step(r.m, &item, 1, 0, 0, NULL, &r.err), 0);
	assert_int_equal(sherd_step(r.m, &item, 1, 0, 0, NULL, &r.err), -ENOTSUP);
	assert_non_null(strstr(r.err.msg, "a text is one item"));
	assert_int_equal(sherd_prefill(r.s, r.tokens, 3, &logits, &r.err), -ENOTSUP);
	assert_non_null(strstr(r.err.msg, "gives vectors and no logits"));
	rig_close(&r);
}

static void a_model_that_writes_text_gives_no_vector(void **state)
{
	float v[64];
	struct rig r;

	(void)state;
	r.m = open_golden("llama-q8_0", "reference", 0);
	r.tokens[0] = 5;
	assert_int_equal(sherd_session_new(&r.s, r.m, NULL, &r.err), 0);
	assert_int_equal(sherd_embed(r.s, r.tokens, 1, SHERD_POOL_MEAN, true, v, &r.err), -ENOTSUP);
	assert_non_null(strstr(r.err.msg, "vectors come from encoders"));
	rig_close(&r);
}

#define ON_REFERENCE(f)                                               \
	{                                                             \
#f " (reference)", f, NULL, NULL, (char *)"reference" \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_REFERENCE(a_vector_is_the_mean_the_first_or_the_last_of_a_texts_rows),
		ON_REFERENCE(a_normalized_vector_has_a_length_of_1),
		ON_REFERENCE(a_texts_rows_depend_on_all_of_it_and_not_on_its_company),
		ON_REFERENCE(layer_by_layer_a_text_gives_the_same_rows),
		ON_REFERENCE(a_text_that_is_too_long_or_goes_on_is_refused),
		cmocka_unit_test(opencl_has_the_bits_of_the_reference),
		cmocka_unit_test(a_model_that_writes_text_gives_no_vector),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
