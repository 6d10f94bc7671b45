/* SPDX-License-Identifier: MIT */
/*
 * Talks in sentences: what a full context makes one forget, and that a talk is what it was after it has
 * been a text. A word is a token here, and a message costs two more.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include "base/base.h"
#include "random.h"
#include "talk.h"

static uint64_t rng;

struct counter {
	int asked, fail_at;
};

static int length(void *ctx, const struct sherd_message *v, int n)
{
	struct counter *c = ctx;
	int tokens = 0;

	if (++c->asked == c->fail_at)
		return -7;
	for (int i = 0; i < n; i++)
		tokens += 2 + (int)strlen(v[i].content);
	return tokens;
}

/* @n_turns questions, all but the last with an answer, of random lengths, each begun by its number. */
static struct talk make(int n_turns, bool system)
{
	struct talk t = { 0 };
	char text[64];

	if (system)
		assert_true(talk_system(&t, "Be kind."));
	for (int i = 0; i < n_turns; i++) {
		int n = snprintf(text, sizeof(text), "%d", i);

		memset(text + n, '.', sizeof(text) - n);
		text[n + tiny_below(&rng, 40)] = '\0';
		assert_true(talk_add(&t, "user", text));
		if (i < n_turns - 1)
			assert_true(talk_add(&t, "assistant", "and so on" + tiny_below(&rng, 9)));
	}
	return t;
}

/* The lengths one after the other, as nobody should look for them. */
static int surplus(const struct talk *t, int n_turns, int most)
{
	struct counter c = { 0 };

	for (int k = 0; k < n_turns - 1; k++) {
		struct sherd_message *v;
		int n = talk_rest(t, k, &v), tokens = length(&c, v, n);

		free(v);
		if (tokens <= most)
			return k;
	}
	return n_turns - 1;
}

static void the_newest_turns_that_fit_are_kept(void **state)
{
	(void)state;
	for (int i = 0; i < 300; i++) {
		int n_turns = 1 + tiny_below(&rng, 60), most = tiny_below(&rng, 1500);
		bool system = tiny_below(&rng, 2);
		struct talk t = make(n_turns, system);
		struct counter c = { 0 };
		int k = talk_surplus(&t, most, length, &c);

		assert_int_equal(k, surplus(&t, n_turns, most));
		assert_true(c.asked <= 6); /* 60 turns, halved and halved again */
		talk_forget(&t, k);
		assert_int_equal(t.n, system + 2 * (n_turns - k) - 1);
		assert_int_equal(atoi(t.v[system].content), k);
		assert_int_equal(atoi(t.v[t.n - 1].content), n_turns - 1);
		assert_int_equal(talk_first(&t), system);
		if (k < n_turns - 1)
			assert_true(length(&c, t.v, t.n) <= most);
		talk_free(&t);
	}
}

static void an_answer_without_its_question_goes_first(void **state)
{
	struct talk t = { 0 };
	struct counter c = { 0 };
	struct sherd_message *v;

	(void)state;
	talk_add(&t, "assistant", "Hello");
	talk_add(&t, "user", "And?");
	assert_int_equal(talk_surplus(&t, 3, length, &c), 1);
	assert_int_equal(talk_rest(&t, 1, &v), 1);
	assert_string_equal(v[0].content, "And?");
	free(v);
	assert_int_equal(talk_rest(&t, 0, &v), 2);
	free(v);
	talk_free(&t);
}

static void a_template_that_fails_ends_the_search(void **state)
{
	struct talk t = make(30, true);
	struct counter c = { .fail_at = 3 };

	(void)state;
	assert_int_equal(talk_surplus(&t, 100, length, &c), -7);
	assert_int_equal(c.asked, 3);
	talk_free(&t);
}

static void a_talk_is_the_same_after_it_was_a_text(void **state)
{
	struct talk t = make(5, true), again = { 0 };
	struct sherd_error err;
	char *text, *twice;

	(void)state;
	talk_add(&t, "assistant", "\"quoted\"\n\tand \xc3\xa9\\");
	text = talk_text(&t);
	assert_int_equal(talk_parse(&again, text, strlen(text), "a text", &err), 0);
	assert_int_equal(again.n, t.n);
	twice = talk_text(&again);
	assert_string_equal(text, twice);
	free(twice);
	/* and what is none leaves it so */
	text[strlen(text) / 2] = '\0';
	assert_int_equal(talk_parse(&again, text, strlen(text), "half", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "half: is no talk"));
	assert_int_equal(again.n, t.n);
	free(text);
	talk_free(&t);
	talk_free(&again);
}

static void no_message_is_left_out_of_a_text(void **state)
{
	struct talk t = make(2, false);

	(void)state;
	assert_true(talk_add(&t, "assistant", "caf\xe9"));
	assert_null(talk_text(&t));
	talk_free(&t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_newest_turns_that_fit_are_kept),
		cmocka_unit_test(an_answer_without_its_question_goes_first),
		cmocka_unit_test(a_template_that_fails_ends_the_search),
		cmocka_unit_test(a_talk_is_the_same_after_it_was_a_text),
		cmocka_unit_test(no_message_is_left_out_of_a_text),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
