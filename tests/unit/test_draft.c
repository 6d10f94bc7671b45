/* SPDX-License-Identifier: MIT */
/*
 * draft: whatever is guessed, the text is the same as without guesses: greedy and drawn, with a good
 * draft, a bad one and one that breaks, at the context's end, and for a user who changes its mind.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/base.h"
#include "gguf_edit.h"
#include "infer/draft.h"
#include "sherd.h"
#include "tiny_model.h"

#define TARGET "models/kdoc-5m-Q8_0.gguf"
#define DRAFT  "models/kdoc-5m-Q4_0.gguf"
#define N_CTX  96

static struct sherd_model *target, *small_steps, *good, *bad, *broken;

static struct sherd_model *open_model(const char *path, struct sherd_model_params p)
{
	struct sherd_model *m;
	struct sherd_error err;
	int rc;

	p.no_cache = true;
	rc = sherd_model_open(&m, path, &p, &err);
	if (rc == -ENODEV || rc == -ENOSYS) {
		printf("skipped: %s: %s\n", path, err.msg);
		return NULL;
	}
	if (rc)
		fail_msg("%s: %s", path, err.msg);
	return m;
}

/* A draft whose tokens are all alike, and one that no step of succeeds with. */
static struct sherd_model *open_edited(const struct gguf_edit *e)
{
	char *path = gguf_edit_write(DRAFT, e);
	struct sherd_model *m = open_model(path, (struct sherd_model_params){ .n_ctx = N_CTX });

	unlink(path);
	free(path);
	return m;
}

static int open_all(void **state)
{
	static const float huge = 1e30f;
	const struct gguf_edit alike = { .tensor = "token_embd.weight",
					 .type_plus_1 = GGML_Q8_0 + 1 };
	const struct gguf_edit breaks = { .tensor = "blk.0.attn_norm.weight",
					  .poke = &huge,
					  .poke_size = 4 };

	(void)state;
	target = open_model(TARGET, (struct sherd_model_params){ .n_ctx = N_CTX });
	small_steps = open_model(TARGET, (struct sherd_model_params){
						 .n_ctx = N_CTX, .n_batch = 5, .n_sessions = 2 });
	good = open_model(DRAFT, (struct sherd_model_params){ .n_ctx = N_CTX - 20 });
	bad = open_edited(&alike);
	broken = open_edited(&breaks);
	return 0;
}

static int close_all(void **state)
{
	(void)state;
	sherd_model_close(target);
	sherd_model_close(small_steps);
	sherd_model_close(good);
	sherd_model_close(bad);
	sherd_model_close(broken);
	return 0;
}

static void need(const struct sherd_model *m)
{
	if (!m)
		skip();
}

/* ------------------------------------------------------------------------------ texts */

struct text {
	int32_t ids[N_CTX + 1];
	int n, n_prompt;
};

static struct text prompt_of(const char *words)
{
	struct text t = { .n = 0 };
	struct sherd_error err;
	int32_t *ids;

	if (sherd_tokenize(sherd_model_tokenizer(target), words, strlen(words), SHERD_TOK_SPECIAL,
			   &ids, &t.n, &err))
		fail_msg("%s", err.msg);
	assert_true(t.n > 0 && t.n < N_CTX / 2);
	memcpy(t.ids, ids, (size_t)t.n * sizeof(*ids));
	t.n_prompt = t.n;
	free(ids);
	return t;
}

static struct sherd_session *begin(struct sherd_model *m, const struct sherd_sampler_params *p,
				   struct text *t)
{
	const struct sherd_session_params sp = { .sampler = *p };
	struct sherd_session *s;
	struct sherd_error err;
	const float *logits;

	if (sherd_session_new(&s, m, &sp, &err) || sherd_prefill(s, t->ids, t->n, &logits, &err))
		fail_msg("%s", err.msg);
	t->ids[t->n++] = sherd_session_sample(s, logits);
	return s;
}

/* Token by token, until the context is full. */
static void go_plainly(struct sherd_model *m, const struct sherd_sampler_params *p, struct text *t)
{
	struct sherd_session *s = begin(m, p, t);
	struct sherd_error err;
	const float *logits;

	while (t->n <= N_CTX) {
		if (sherd_prefill(s, &t->ids[t->n - 1], 1, &logits, &err))
			fail_msg("%s", err.msg);
		t->ids[t->n++] = sherd_session_sample(s, logits);
	}
	sherd_session_free(s);
}

static struct sherd_draft_stats go_drafted(struct sherd_model *m,
					   const struct sherd_sampler_params *p,
					   const struct sherd_draft_params *dp, struct text *t)
{
	struct sherd_session *s = begin(m, p, t);
	struct sherd_draft_stats stats;
	struct sherd_draft *d;
	struct sherd_error err;

	if (sherd_draft_new(&d, s, dp, &err))
		fail_msg("%s", err.msg);
	while (t->n <= N_CTX) {
		if (sherd_draft_next(d, t->ids[t->n - 1], &t->ids[t->n], &err))
			fail_msg("token %d: %s", t->n, err.msg);
		t->n++;
	}
	assert_int_equal(sherd_session_pos(s), N_CTX);
	/* and one more is what the context has no room for, drafted or not */
	assert_int_equal(sherd_draft_next(d, t->ids[N_CTX], &t->ids[0], &err), -ENOSPC);
	sherd_draft_stats(d, &stats);
	stats.stopped = stats.stopped ? "stopped" : NULL;
	sherd_draft_free(d);
	sherd_session_free(s);
	return stats;
}

static void assert_same_text(const struct text *a, const struct text *b, const char *what)
{
	int i;

	for (i = a->n_prompt; i <= N_CTX; i++)
		if (a->ids[i] != b->ids[i])
			fail_msg("%s: token %d is %d, and %d without a draft", what, i, b->ids[i],
				 a->ids[i]);
}

static const char *const prompts[] = {
	"The scheduler",
	"one two three four one two three four one two three four one two",
};

static const struct sherd_sampler_params samplers[] = {
	{ .temp = 0, .repeat_penalty = 1 },
	{ .temp = 0.8f, .top_k = 40, .top_p = 0.95f, .min_p = 0.05f, .repeat_penalty = 1 },
	{ .temp = 1.5f, .repeat_penalty = 1.3f, .repeat_last_n = 20, .top_p = 1 },
};

/* Returns the guesses that were right. */
static uint64_t compare(struct sherd_model *m, const struct sherd_draft_params *dp, uint64_t seed,
			const char *what)
{
	struct sherd_sampler_params p = samplers[seed % ARRAY_SIZE(samplers)];
	struct text want = prompt_of(prompts[seed % 5 % 2]), got = want;
	struct sherd_draft_stats stats;

	p.seed = seed;
	go_plainly(m, &p, &want);
	stats = go_drafted(m, &p, dp, &got);
	assert_same_text(&want, &got, what);
	assert_int_equal(stats.n_tokens, N_CTX - want.n_prompt);
	assert_true(stats.n_accepted <= stats.n_guessed);
	assert_int_equal(stats.n_steps + stats.n_accepted, stats.n_tokens);
	return stats.n_accepted;
}

static void a_draft_model_changes_no_token(void **state)
{
	const struct sherd_draft_params always = { .model = good, .n_max = 6, .always = true };
	const struct sherd_draft_params paced = { .model = good };
	uint64_t seed, right = 0;

	(void)state;
	need(target);
	for (seed = 0; seed < (getenv("SHERD_LONG") ? 60 : 6); seed++) {
		right += compare(target, seed % 3 == 2 ? &paced : &always, seed, "a draft model");
		if (seed % 3 == 1)
			right += compare(small_steps, &always, seed, "steps of 5 rows");
	}
	assert_true(right > 80); /* else nothing was tested: temperature and all */
}

static void n_grams_change_no_token(void **state)
{
	const struct sherd_draft_params always = { .n_max = SHERD_DRAFT_MAX, .always = true };
	const struct sherd_draft_params paced = { .n_max = 4 };
	uint64_t seed, right = 0;

	(void)state;
	need(target);
	for (seed = 0; seed < (getenv("SHERD_LONG") ? 60 : 4); seed++) {
		right += compare(target, &always, seed, "n-grams");
		right += compare(small_steps, &paced, seed, "n-grams, paced");
	}
	assert_true(right > 30);
}

static void a_bad_draft_changes_no_token(void **state)
{
	const struct sherd_draft_params dp = { .model = bad, .n_max = 3, .always = true };
	uint64_t seed;

	(void)state;
	need(bad);
	for (seed = 0; seed < 3; seed++)
		assert_true(compare(target, &dp, seed, "a bad draft") < N_CTX / 4);
}

static void a_draft_that_breaks_is_done_without(void **state)
{
	const struct sherd_draft_params dp = { .model = broken };
	struct text want = prompt_of(prompts[0]), got = want;
	struct sherd_draft_stats stats;

	(void)state;
	need(broken);
	go_plainly(target, &samplers[0], &want);
	stats = go_drafted(target, &samplers[0], &dp, &got);
	assert_same_text(&want, &got, "a broken draft");
	assert_non_null(stats.stopped);
	assert_int_equal(stats.n_guessed, 0);
}

/* The token after tokens [n], computed by a session that has nobody's help. */
static int32_t after(const int32_t *tokens, int n)
{
	struct sherd_session *s;
	struct sherd_error err;
	const float *logits;
	int32_t id;

	if (sherd_session_new(&s, small_steps, NULL, &err) ||
	    sherd_prefill(s, tokens, n, &logits, &err))
		fail_msg("%s", err.msg);
	id = sherd_session_sample(s, logits);
	sherd_session_free(s);
	return id;
}

/* Hands over other tokens than were drawn, and settles amid guesses that were right. */
static void whoever_changes_its_mind_gets_what_follows_that(void **state)
{
	const struct sherd_draft_params dp = { .n_max = 4, .always = true };
	struct text t = prompt_of(prompts[1]);
	struct sherd_session *s;
	struct sherd_draft *d;
	struct sherd_error err;
	int ahead = 0;

	(void)state;
	need(small_steps);
	s = begin(small_steps, &samplers[0], &t);
	assert_int_equal(sherd_draft_new(&d, s, &dp, &err), 0);
	while (t.n < N_CTX) {
		if (t.n % 7 == 0)
			t.ids[t.n - 1] = t.ids[t.n / 2]; /* another one than was drawn */
		if (t.n % 5 == 0) {
			sherd_draft_settle(d);
			assert_int_equal(sherd_session_pos(s), t.n - 1);
		}
		if (sherd_draft_next(d, t.ids[t.n - 1], &t.ids[t.n], &err))
			fail_msg("%s", err.msg);
		ahead += sherd_session_pos(s) > t.n;
		assert_int_equal(t.ids[t.n], after(t.ids, t.n));
		t.n++;
	}
	assert_true(ahead > 3); /* there was something to be taken back */
	sherd_draft_free(d);
	sherd_session_free(s);
}

/* Nobody should do so without sherd_draft_settle(), and nothing bad comes of it. */
static void a_session_that_was_moved_meanwhile_has_no_guesses_left(void **state)
{
	const struct sherd_draft_params dp = { .model = good, .n_max = 6, .always = true };
	struct text want = prompt_of(prompts[0]), got = want;
	struct sherd_session *s;
	struct sherd_draft *d;
	struct sherd_error err;
	const float *logits;
	int32_t token;

	(void)state;
	need(target);
	go_plainly(target, &samplers[0], &want);
	s = begin(target, &samplers[0], &got);
	assert_int_equal(sherd_draft_new(&d, s, &dp, &err), 0);
	do {
		assert_in_range(got.n, 1, N_CTX);
		assert_int_equal(sherd_draft_next(d, got.ids[got.n - 1], &got.ids[got.n], &err), 0);
		got.n++;
	} while (sherd_session_pos(s) < got.n); /* until it is ahead of what was handed out */
	assert_int_equal(sherd_session_truncate(s, 0, NULL), 0);
	assert_int_equal(sherd_draft_next(d, want.ids[0], &token, &err), 0);
	assert_int_equal(sherd_session_truncate(s, 0, NULL), 0);
	sherd_draft_settle(d);
	assert_int_equal(sherd_session_pos(s), 0);
	assert_int_equal(sherd_prefill(s, got.ids, got.n_prompt, &logits, &err), 0);
	for (got.n = got.n_prompt + 1; got.n <= N_CTX; got.n++)
		if (sherd_draft_next(d, got.ids[got.n - 1], &got.ids[got.n], &err))
			fail_msg("%s", err.msg);
	assert_same_text(&want, &got, "moved");
	sherd_draft_free(d);
	sherd_session_free(s);
}

/* As a talk's next answer with another seed: the draft model draws alike, to the last token. */
static void a_draft_draws_with_the_seed_that_its_session_has_by_now(void **state)
{
	const struct sherd_draft_params dp = { .model = target, .n_max = 3, .always = true };
	struct sherd_sampler_params p = samplers[1];
	struct text t = prompt_of(prompts[0]);
	struct sherd_draft_stats stats;
	struct sherd_session *s;
	struct sherd_draft *d;
	struct sherd_error err;

	(void)state;
	need(small_steps);
	s = begin(small_steps, &p, &t);
	assert_int_equal(sherd_draft_new(&d, s, &dp, &err), 0);
	p.seed = 77;
	sherd_session_set_sampler(s, &p);
	for (; t.n < N_CTX; t.n++)
		if (sherd_draft_next(d, t.ids[t.n - 1], &t.ids[t.n], &err))
			fail_msg("%s", err.msg);
	sherd_draft_stats(d, &stats);
	assert_true(stats.n_guessed > N_CTX / 4);
	assert_int_equal(stats.n_accepted, stats.n_guessed);
	sherd_draft_free(d);
	sherd_session_free(s);
}

/* -------------------------------------------------------------------------- refusals */

static void what_cannot_draft_is_refused_in_a_sentence(void **state)
{
	struct sherd_draft_params dp = { .n_max = SHERD_DRAFT_MAX + 1 };
	char *path = tiny_model_write(&tiny_models[0]);
	struct sherd_model *tiny;
	struct sherd_session *s;
	struct sherd_draft *d;
	struct sherd_error err;

	(void)state;
	need(target);
	assert_int_equal(sherd_session_new(&s, target, NULL, &err), 0);
	assert_int_equal(sherd_draft_new(&d, s, &dp, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "65 guesses"));
	assert_null(d);
	tiny = open_model(path, (struct sherd_model_params){ .device = "reference" });
	assert_non_null(tiny);
	dp = (struct sherd_draft_params){ .model = tiny };
	assert_int_equal(sherd_draft_new(&d, s, &dp, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "can't draft"));
	sherd_session_free(s);
	sherd_model_close(tiny);
	unlink(path);
	free(path);
}

/* --------------------------------------------------------------------------- n-grams */

static void n_grams_guess_what_followed_the_longest_end(void **state)
{
	static const int32_t text[] = { 1, 2, 3, 4, 9, 2, 3, 5, 9, 1, 2, 3 };
	static const int32_t loop[] = { 7, 8, 7, 8, 7 };
	static const int32_t once[] = { 1, 2, 3, 4, 5, 3 };
	int32_t guess[8];
	int n = ARRAY_SIZE(text);

	(void)state;
	assert_int_equal(sherd_ngram_guess(text, n, guess, 4), 4);
	/* after "1 2 3", not after the later "2 3" */
	assert_memory_equal(guess, text + 3, 4 * sizeof(*guess));
	assert_int_equal(sherd_ngram_guess(loop, 5, guess, 6), 6);
	assert_memory_equal(guess, ((int32_t[]){ 8, 7, 8, 7, 8, 7 }), 6 * sizeof(*guess));
	assert_int_equal(sherd_ngram_guess(once, 6, guess, 6), 0); /* one token is no likeness */
	assert_int_equal(sherd_ngram_guess(once, 1, guess, 6), 0);
	assert_int_equal(sherd_ngram_guess(once, 0, guess, 6), 0);
	/* what nobody knows is no guess */
	assert_int_equal(sherd_ngram_guess((int32_t[]){ 1, 2, -1, 5, 1, 2 }, 6, guess, 6), 0);
}

/* ------------------------------------------------------------------------------ pace */

/*
 * @n_tokens tokens on a machine where rows take @row_s more each, a guess @guess_s, and where one in
 * @wrong is wrong; how long that took, in plain steps.
 */
static double pace_time(struct sherd_pace *p, int n_tokens, double row_s, double guess_s, int wrong)
{
	double took = 0;
	int at = 0, i;

	for (i = 0; at < n_tokens; i++) {
		int n = sherd_pace_length(p), right = 0;
		double step = 1 + row_s * n;

		while (right < n && (wrong == 0 || (at + right) % wrong))
			right++;
		if (n)
			sherd_pace_guessed(p, n, guess_s * n);
		sherd_pace_checked(p, n, right, step);
		took += step + guess_s * n;
		at += right + 1;
	}
	return took;
}

static void guesses_are_made_where_they_pay_and_not_where_they_do_not(void **state)
{
	enum { N = 2000 };
	struct sherd_pace p;

	(void)state;
	sherd_pace_init(&p, 8, false);
	assert_true(pace_time(&p, N, 0.02, 0.05, 0) < 0.25 * N); /* all right, and cheap */
	sherd_pace_init(&p, 8, false);
	assert_true(pace_time(&p, N, 0.05, 0.1, 4) < 0.75 * N); /* three of four */
	sherd_pace_init(&p, 8, false);
	assert_true(pace_time(&p, N, 0.05, 0.1, 1) < 1.02 * N); /* never right */
	sherd_pace_init(&p, 8, false);
	assert_true(pace_time(&p, N, 0.5, 1, 0) < 1.02 * N); /* right, at a token's price */
	sherd_pace_init(&p, 8, true);
	assert_int_equal(sherd_pace_length(&p), 8);
}

static void a_text_that_becomes_guessable_is_guessed_again(void **state)
{
	struct sherd_pace p;

	(void)state;
	sherd_pace_init(&p, 8, false);
	pace_time(&p, 1000, 0.05, 0.1, 1);
	assert_true(pace_time(&p, 2000, 0.02, 0.05, 0) < 0.45 * 2000);
}

/* A machine that was busy for a moment is not taken to be slow for good. */
static void one_slow_step_is_forgotten(void **state)
{
	struct sherd_pace p;
	int n;

	(void)state;
	sherd_pace_init(&p, 8, false);
	pace_time(&p, 200, 0.02, 0.05, 0);
	n = sherd_pace_length(&p);
	assert_true(n > 4);
	sherd_pace_checked(&p, n, n, 1000);
	sherd_pace_checked(&p, n, n, 1000);
	assert_true(pace_time(&p, 2000, 0.02, 0.05, 0) < 0.35 * 2000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_draft_model_changes_no_token),
		cmocka_unit_test(n_grams_change_no_token),
		cmocka_unit_test(a_bad_draft_changes_no_token),
		cmocka_unit_test(a_draft_that_breaks_is_done_without),
		cmocka_unit_test(whoever_changes_its_mind_gets_what_follows_that),
		cmocka_unit_test(a_session_that_was_moved_meanwhile_has_no_guesses_left),
		cmocka_unit_test(a_draft_draws_with_the_seed_that_its_session_has_by_now),
		cmocka_unit_test(what_cannot_draft_is_refused_in_a_sentence),
		cmocka_unit_test(n_grams_guess_what_followed_the_longest_end),
		cmocka_unit_test(guesses_are_made_where_they_pay_and_not_where_they_do_not),
		cmocka_unit_test(a_text_that_becomes_guessable_is_guessed_again),
		cmocka_unit_test(one_slow_step_is_forgotten),
	};

	return cmocka_run_group_tests(tests, open_all, close_all);
}
