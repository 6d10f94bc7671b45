/* SPDX-License-Identifier: MIT */
/*
 * Steps and sessions in sentences: what is refused and how it is said, that a refusal moves
 * nothing, and where the pages of the KV cache go.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/infer.h"
#include "tiny_model.h"

struct rig {
	struct sherd_model *m;
	struct sherd_session *a, *b;
	int32_t tokens[300];
	struct sherd_error err;
};

static struct sherd_model *open_model(const struct tiny_model *t,
				      const struct sherd_model_params *base)
{
	struct sherd_model_params p = *base;
	struct sherd_error err = { "" };
	struct sherd_model *m;

	p.device = "reference";
	if (tiny_model_open(&m, t, &p, &err))
		fail_msg("%s", err.msg);
	return m;
}

static int setup(void **state)
{
	static const struct sherd_model_params p = { .n_ctx = 200, .n_batch = 64 };
	struct rig *r = calloc(1, sizeof(*r));
	int i;

	r->m = open_model(&tiny_plain, &p); /* one session's worth of pages: 4 */
	assert_int_equal(sherd_session_new(&r->a, r->m, NULL, &r->err), 0);
	assert_int_equal(sherd_session_new(&r->b, r->m, NULL, &r->err), 0);
	for (i = 0; i < 300; i++)
		r->tokens[i] = i % 40;
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;

	sherd_session_free(r->a);
	sherd_session_free(r->b);
	assert_int_equal(r->m->pool.n_free, r->m->pool.n_pages);
	sherd_model_close(r->m);
	free(r);
	return 0;
}

static int step(struct rig *r, struct sherd_session *s, int n, int first, int end)
{
	static float hidden[300 * 64];
	struct sherd_item item = { .session = s,
				   .tokens = r->tokens,
				   .hidden = first ? hidden : NULL,
				   .n = n,
				   .want = SHERD_WANT_LAST };
	struct sherd_rows rows;

	memset(r->err.msg, 0, sizeof(r->err.msg));
	return sherd_step(r->m, &item, 1, first, end, &rows, &r->err);
}

/* The sentence holds each of these words. */
static void assert_says(const struct rig *r, const char *const *words)
{
	for (; *words; words++)
		if (!strstr(r->err.msg, *words))
			fail_msg("\"%s\" does not say \"%s\"", r->err.msg, *words);
	assert_null(strchr(r->err.msg, '\n'));
}
#define SAYS(r, ...) assert_says(r, (const char *const[]){ __VA_ARGS__, NULL })

static void a_full_context_is_refused_with_its_size(void **state)
{
	struct rig *r = *state;
	const float *logits;

	assert_int_equal(sherd_prefill(r->a, r->tokens, 200, &logits, &r->err), 0);
	assert_non_null(logits);
	assert_int_equal(step(r, r->a, 1, 0, 0), -ENOSPC);
	SAYS(r, "context of 200 tokens is full", "position 200");
	assert_int_equal(sherd_session_pos(r->a), 200);
	assert_int_equal(sherd_prefill(r->b, r->tokens, 201, &logits, &r->err), -ENOSPC);
	SAYS(r, "context of 200 tokens is full");
	assert_null(logits);
}

static void an_empty_prompt_or_batch_is_refused(void **state)
{
	struct rig *r = *state;
	const float *logits;
	struct sherd_rows rows;

	assert_int_equal(sherd_prefill(r->a, r->tokens, 0, &logits, &r->err), -EINVAL);
	SAYS(r, "prompt is empty");
	assert_int_equal(sherd_step(r->m, NULL, 0, 0, 0, &rows, &r->err), -EINVAL);
	SAYS(r, "batch is empty");
	assert_int_equal(step(r, r->a, 0, 0, 0), -EINVAL);
	SAYS(r, "0 rows");
	assert_int_equal(step(r, r->a, -5, 0, 0), -EINVAL);
}

static void a_token_outside_the_vocabulary_is_named(void **state)
{
	struct rig *r = *state;

	r->tokens[3] = 40;
	assert_int_equal(step(r, r->a, 5, 0, 0), -EINVAL);
	SAYS(r, "token 40", "number 3", "40 tokens");
	r->tokens[3] = -1;
	assert_int_equal(step(r, r->a, 5, 0, 0), -EINVAL);
	SAYS(r, "token -1");
	assert_int_equal(sherd_session_pos(r->a), 0);
	assert_int_equal(r->m->pool.n_free, 4);
}

static void a_session_stands_in_a_batch_once(void **state)
{
	struct rig *r = *state;
	struct sherd_item items[2] = {
		{ .session = r->a, .tokens = r->tokens, .n = 2, .want = SHERD_WANT_LAST },
		{ .session = r->a, .tokens = r->tokens, .n = 2, .want = SHERD_WANT_LAST }
	};
	struct sherd_rows rows;

	assert_int_equal(sherd_step(r->m, items, 2, 0, 0, &rows, &r->err), -EINVAL);
	SAYS(r, "item 1", "twice");
	items[1].session = NULL;
	assert_int_equal(sherd_step(r->m, items, 2, 0, 0, &rows, &r->err), -EINVAL);
	items[1].session = r->b;
	assert_int_equal(sherd_step(r->m, items, 2, 0, 0, &rows, &r->err), 0);
	assert_int_equal(rows.n_rows, 2);
	assert_int_equal(rows.row_len, 40);
}

static void more_rows_than_a_batch_takes_are_refused(void **state)
{
	struct rig *r = *state;

	assert_int_equal(step(r, r->a, 65, 0, 0), -E2BIG);
	SAYS(r, "64");
	assert_int_equal(step(r, r->a, 64, 0, 0), 0);
}

static void layers_that_are_not_there_are_refused(void **state)
{
	struct rig *r = *state;

	assert_int_equal(step(r, r->a, 1, 0, 4), -EINVAL);
	SAYS(r, "0 to 4", "0 to 3");
	assert_int_equal(step(r, r->a, 1, -1, 2), -EINVAL);
	assert_int_equal(step(r, r->a, 1, 2, 2), -EINVAL);
	assert_int_equal(step(r, r->a, 1, 2, 1), -EINVAL);
}

static void tokens_and_hidden_rows_each_have_their_place(void **state)
{
	struct rig *r = *state;
	float hidden[64] = { 0 };
	struct sherd_item item = { .session = r->a, .hidden = hidden, .n = 1, .want = SHERD_WANT_LAST };
	struct sherd_rows rows;

	assert_int_equal(sherd_step(r->m, &item, 1, 0, 1, &rows, &r->err), -EINVAL);
	SAYS(r, "no tokens");
	item.hidden = NULL;
	item.tokens = r->tokens;
	assert_int_equal(sherd_step(r->m, &item, 1, 1, 3, &rows, &r->err), -EINVAL);
	SAYS(r, "no hidden rows");
}

static void ranges_may_run_ahead_of_each_other_but_not_overlap_unevenly(void **state)
{
	struct rig *r = *state;

	assert_int_equal(step(r, r->a, 5, 0, 1), 0);
	assert_int_equal(step(r, r->a, 7, 0, 1), 0); /* a second chunk before the first went on */
	assert_int_equal(sherd_session_pos(r->a), 0);
	assert_int_equal(step(r, r->a, 5, 0, 3), -EINVAL);
	SAYS(r, "layer 0 is at position 12", "layer 1 at 0");
	assert_int_equal(step(r, r->a, 5, 1, 3), 0);
	assert_int_equal(sherd_session_pos(r->a), 5);
	assert_int_equal(step(r, r->a, 7, 1, 3), 0);
	assert_int_equal(sherd_session_pos(r->a), 12);
	assert_int_equal(step(r, r->a, 1, 0, 0), 0);
}

/* Layer 2 lags behind: the prompt is refused, and layers 0 and 1 keep what they have. */
static void a_prompt_that_is_refused_moves_no_layer(void **state)
{
	struct rig *r = *state;
	const float *logits;

	assert_int_equal(step(r, r->a, 5, 0, 2), 0);
	assert_int_equal(sherd_prefill(r->a, r->tokens, 3, &logits, &r->err), -EINVAL);
	SAYS(r, "equally far");
	assert_int_equal(r->a->layer_pos[1], 5);
	assert_int_equal(step(r, r->a, 5, 2, 3), 0);
	assert_int_equal(sherd_session_pos(r->a), 5);
}

static void truncation_gives_pages_back(void **state)
{
	struct rig *r = *state;

	assert_int_equal(step(r, r->a, 64, 0, 0), 0);
	assert_int_equal(r->m->pool.n_free, 3);
	assert_int_equal(step(r, r->a, 1, 0, 0), 0);
	assert_int_equal(r->m->pool.n_free, 2);
	assert_int_equal(sherd_session_truncate(r->a, 66, &r->err), -EINVAL);
	SAYS(r, "66", "65 positions");
	assert_int_equal(sherd_session_truncate(r->a, -1, &r->err), -EINVAL);
	assert_int_equal(sherd_session_truncate(r->a, 64, &r->err), 0);
	assert_int_equal(r->m->pool.n_free, 3);
	assert_int_equal(sherd_session_truncate(r->a, 1, &r->err), 0);
	assert_int_equal(r->m->pool.n_free, 3);
	assert_int_equal(sherd_session_truncate(r->a, 0, &r->err), 0);
	assert_int_equal(r->m->pool.n_free, 4);
}

static void a_cache_without_free_pages_moves_no_session(void **state)
{
	struct rig *r = *state;
	struct sherd_item items[2];
	struct sherd_rows rows;
	int i;

	for (i = 0; i < 3; i++)
		assert_int_equal(step(r, r->a, 63, 0, 0), 0);
	assert_int_equal(r->m->pool.n_free, 1);
	items[0] = (struct sherd_item){
		.session = r->a, .tokens = r->tokens, .n = 4, .want = SHERD_WANT_ALL
	};
	items[1] = (struct sherd_item){
		.session = r->b, .tokens = r->tokens, .n = 1, .want = SHERD_WANT_ALL
	};
	assert_int_equal(sherd_step(r->m, items, 2, 0, 0, &rows, &r->err), -ENOSPC);
	SAYS(r, "KV cache is full", "4 pages of 64");
	assert_int_equal(sherd_session_pos(r->a), 189);
	assert_int_equal(sherd_session_pos(r->b), 0);
	assert_int_equal(r->m->pool.n_free, 1);
	assert_int_equal(step(r, r->b, 1, 0, 0), 0); /* the page that the failed step gave back */
}

static void an_overflow_is_an_error_that_names_layer_and_position(void **state)
{
	static const struct sherd_model_params p = { .n_ctx = 100 };
	struct tiny_model bad = tiny_plain;
	struct rig *r = *state, own = { 0 };
	const float *logits;

	bad.huge = "blk.2.ffn_norm.weight";
	bad.huge_mean = 3e38f;
	own.m = open_model(&bad, &p);
	assert_int_equal(sherd_session_new(&own.a, own.m, NULL, &own.err), 0);
	memcpy(own.tokens, r->tokens, sizeof(own.tokens));
	assert_int_equal(step(&own, own.a, 3, 0, 2), 0); /* layers 0 and 1 are sound */
	assert_int_equal(sherd_session_truncate(own.a, 0, NULL), 0);
	assert_int_equal(sherd_prefill(own.a, own.tokens, 3, &logits, &own.err), -EDOM);
	SAYS(&own, "layer 2", "position 0", "infinite");
	assert_int_equal(sherd_session_pos(own.a), 0);
	assert_int_equal(own.m->pool.n_free, own.m->pool.n_pages);
	sherd_session_free(own.a);
	sherd_model_close(own.m);
}

static void rows_go_to_out_for_all_items_or_for_none_and_logits_never(void **state)
{
	struct rig *r = *state;
	uint8_t out[64 * 4];
	struct sherd_item items[2] = {
		{ .session = r->a,
		  .tokens = r->tokens,
		  .n = 1,
		  .want = SHERD_WANT_LAST,
		  .out = out },
		{ .session = r->b, .tokens = r->tokens, .n = 1, .want = SHERD_WANT_LAST },
	};
	struct sherd_rows rows;

	assert_int_equal(sherd_step(r->m, items, 2, 0, 2, &rows, &r->err), -EINVAL);
	assert_string_equal(r->err.msg,
			    "item 1: rows go to out for all items of a step, or for none");
	assert_int_equal(sherd_step(r->m, items, 1, 0, 0, &rows, &r->err), -EINVAL);
	assert_string_equal(r->err.msg,
			    "item 0: logits, which come after the last layer, do not travel");
	assert_int_equal(sherd_step(r->m, items, 1, 0, 2, &rows, &r->err), 0);
	assert_null(rows.data);
	assert_int_equal(rows.n_rows, 1);
}

static void unwanted_rows_are_not_returned(void **state)
{
	struct rig *r = *state;
	struct sherd_item item = {
		.session = r->a, .tokens = r->tokens, .n = 7, .want = SHERD_WANT_NONE
	};
	struct sherd_rows rows;

	assert_int_equal(sherd_step(r->m, &item, 1, 0, 0, &rows, &r->err), 0);
	assert_int_equal(rows.n_rows, 0);
	item.want = SHERD_WANT_ALL;
	assert_int_equal(sherd_step(r->m, &item, 1, 0, 2, &rows, &r->err), 0);
	assert_int_equal(rows.n_rows, 7);
	assert_int_equal(rows.row_len, 64);
}

static void cuts_outside_the_model_are_refused(void **state)
{
	struct rig *r = *state;
	struct sherd_session_params p = { .n_cuts = 1 };
	struct sherd_session *s;
	static const int bad[] = { 0, 3, -1, 1000000 };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		p.cuts = &bad[i];
		assert_int_equal(sherd_session_new(&s, r->m, &p, &r->err), -EINVAL);
		SAYS(r, "layers 1 to 2");
		assert_null(s);
	}
}

static void parameters_out_of_range_are_refused(void **state)
{
	static const struct sherd_model_params bad[] = {
		{ .n_ctx = -1 },  { .n_ctx = 1 << 25 },	 { .n_batch = -1 },  { .n_batch = 1 << 20 },
		{ .bits = 5 },	  { .n_sessions = -1 },	 { .kv_type = 9 },
	};
	struct rig *r = *state;
	struct sherd_model *m;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		r->err.msg[0] = 0;
		assert_int_equal(sherd_model_open(&m, "/nonexistent", &bad[i], &r->err), -EINVAL);
		assert_null(m);
		assert_true(strlen(r->err.msg) > 10);
	}
}

/* The last of @n tokens' logits, in a session of their own; free() them. */
static float *last_logits(struct sherd_model *m, const int32_t *tokens, int n)
{
	struct sherd_item item = { .want = SHERD_WANT_LAST };
	struct sherd_error err = { "" };
	struct sherd_rows rows;
	float *out = NULL;

	if (sherd_session_new(&item.session, m, NULL, &err))
		fail_msg("%s", err.msg);
	for (int at = 0; at < n; at += item.n) {
		item.tokens = tokens + at;
		item.n = MIN(n - at, 100);
		if (sherd_step(m, &item, 1, 0, 0, &rows, &err))
			fail_msg("%s", err.msg);
		out = realloc(out, rows.row_len * sizeof(float));
		assert_non_null(out);
		memcpy(out, rows.data, rows.row_len * sizeof(float));
	}
	sherd_session_free(item.session);
	return out;
}

/*
 * Two layers that look back on 48 positions each, their own included: what a row's logits depend on
 * begins 2 * 47 positions before it.
 */
static void a_row_knows_what_its_windows_reach_and_no_more(void **state)
{
	enum { N = 400, REACH = 2 * 47 };
	struct tiny_model t = tiny_plain;
	int32_t tokens[N];
	struct sherd_model *m;
	float *logits[3];
	int i;

	(void)state;
	t.window = 48;
	t.n_layers = 2;
	t.n_ctx = N;
	m = open_model(&t, &(struct sherd_model_params){ 0 });
	assert_int_equal(sherd_model_info(m)->n_ctx, N);
	for (i = 0; i < N; i++)
		tokens[i] = i % t.n_vocab;
	logits[0] = last_logits(m, tokens, N);
	for (i = 0; i < N - 1 - REACH; i++)
		tokens[i] = (i + 1) % t.n_vocab;
	logits[1] = last_logits(m, tokens, N);
	tokens[N - 1 - REACH] = (tokens[N - 1 - REACH] + 1) % t.n_vocab;
	logits[2] = last_logits(m, tokens, N);
	assert_memory_equal(logits[0], logits[1], t.n_vocab * sizeof(float));
	assert_memory_not_equal(logits[0], logits[2], t.n_vocab * sizeof(float));
	for (i = 0; i < 3; i++)
		free(logits[i]);
	sherd_model_close(m);
}

static void a_shared_page_is_free_when_its_last_holder_lets_go(void **state)
{
	struct sherd_kv_pool pool;
	int32_t page;

	(void)state;
	assert_int_equal(sherd_kv_pool_init(&pool, 2, NULL), 0);
	page = sherd_kv_page_take(&pool);
	assert_int_equal(page, 0);
	sherd_kv_page_hold(&pool, page);
	assert_int_equal(sherd_kv_page_take(&pool), 1);
	assert_int_equal(sherd_kv_page_take(&pool), -1);
	sherd_kv_page_drop(&pool, page);
	assert_int_equal(sherd_kv_page_take(&pool), -1);
	sherd_kv_page_drop(&pool, page);
	assert_int_equal(sherd_kv_page_take(&pool), 0);
	sherd_kv_pool_destroy(&pool);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_full_context_is_refused_with_its_size),
		T(an_empty_prompt_or_batch_is_refused),
		T(a_token_outside_the_vocabulary_is_named),
		T(a_session_stands_in_a_batch_once),
		T(more_rows_than_a_batch_takes_are_refused),
		T(layers_that_are_not_there_are_refused),
		T(tokens_and_hidden_rows_each_have_their_place),
		T(ranges_may_run_ahead_of_each_other_but_not_overlap_unevenly),
		T(a_prompt_that_is_refused_moves_no_layer),
		T(truncation_gives_pages_back),
		T(a_cache_without_free_pages_moves_no_session),
		T(an_overflow_is_an_error_that_names_layer_and_position),
		T(unwanted_rows_are_not_returned),
		T(rows_go_to_out_for_all_items_or_for_none_and_logits_never),
		T(cuts_outside_the_model_are_refused),
		T(parameters_out_of_range_are_refused),
		T(a_row_knows_what_its_windows_reach_and_no_more),
		cmocka_unit_test(a_shared_page_is_free_when_its_last_holder_lets_go),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
