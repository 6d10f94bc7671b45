/* SPDX-License-Identifier: MIT */
/* The sampler in sentences: what it may choose, what it must not, and that it does so again. */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/sampler.h"
#include "tiny_model.h"

#define N 50

static uint64_t rng;

static struct sherd_sampler_params plain(float temp)
{
	return (struct sherd_sampler_params){ .temp = temp, .top_p = 1.0f, .repeat_penalty = 1.0f,
					      .seed = 7 };
}

static int32_t draw(const struct sherd_sampler_params *p, uint64_t pos, const float *logits, int n)
{
	struct sherd_candidate scratch[N];

	return sherd_sampler_draw(p, pos, logits, n, NULL, 0, scratch);
}

/* Vectors published with the generator (Random123's kat_vectors, philox4x32 10). */
static void philox_gives_its_published_vectors(void **state)
{
	static const struct {
		uint32_t counter[4], key[2], out[4];
	} known[] = {
		{ { 0, 0, 0, 0 }, { 0, 0 }, { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 } },
		{ { 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff },
		  { 0xffffffff, 0xffffffff },
		  { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd } },
		{ { 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344 },
		  { 0xa4093822, 0x299f31d0 },
		  { 0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1 } },
	};
	uint32_t out[4];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(known); i++) {
		sherd_philox(known[i].counter, known[i].key, out);
		assert_memory_equal(out, known[i].out, sizeof(out));
	}
}

static void greedy_takes_the_largest_and_of_equals_the_first(void **state)
{
	struct sherd_sampler_params p = plain(0), cold = plain(-1);
	float logits[6] = { -1, 3, 2, 3, -INFINITY, 3 };

	(void)state;
	assert_int_equal(draw(&p, 0, logits, 6), 1);
	assert_int_equal(draw(&cold, 9, logits, 6), 1);
	logits[5] = INFINITY;
	assert_int_equal(draw(&p, 0, logits, 6), 5);
}

static void what_is_no_number_is_never_drawn(void **state)
{
	struct sherd_sampler_params p = plain(1.5f), greedy = plain(0);
	float logits[N];
	uint64_t pos;
	int i;

	(void)state;
	for (i = 0; i < N; i++)
		logits[i] = i % 3 == 0 ? NAN : i % 3 == 1 ? -INFINITY : 0.1f * (float)i;
	for (pos = 0; pos < 1000; pos++)
		assert_int_equal(draw(&p, pos, logits, N) % 3, 2);
	assert_int_equal(draw(&greedy, 0, logits, N) % 3, 2);
	for (i = 0; i < N; i++)
		logits[i] = i % 2 ? NAN : -INFINITY;
	assert_int_equal(draw(&p, 0, logits, N), -1);
	assert_int_equal(draw(&greedy, 0, logits, N), -1);
	logits[3] = INFINITY; /* certain, whatever the others are */
	logits[4] = 1e30f;
	for (pos = 0; pos < 100; pos++)
		assert_int_equal(draw(&p, pos, logits, N), 3);
}

/* Draws with @p; counts [n]. */
static void histogram(const struct sherd_sampler_params *p, const float *logits, int n, int draws,
		      int *counts)
{
	int i;

	memset(counts, 0, n * sizeof(*counts));
	for (i = 0; i < draws; i++)
		counts[draw(p, i, logits, n)]++;
}

static void draws_follow_the_softmax_at_the_temperature(void **state)
{
	static const float temps[] = { 0.5f, 1.0f, 2.0f };
	enum { DRAWS = 100000, K = 8 };
	int counts[K], i;
	size_t t;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(temps); t++) {
		struct sherd_sampler_params p = plain(temps[t]);
		float logits[K];
		double sum = 0, chi2 = 0;

		for (i = 0; i < K; i++) {
			logits[i] = tiny_normal(&rng);
			sum += exp((double)logits[i] / (double)temps[t]);
		}
		p.seed = rng;
		histogram(&p, logits, K, DRAWS, counts);
		for (i = 0; i < K; i++) {
			double want = DRAWS * exp((double)logits[i] / (double)temps[t]) / sum;

			chi2 += (counts[i] - want) * (counts[i] - want) / want;
		}
		/* 7 degrees of freedom: above 40 once in a million times */
		if (chi2 > 40)
			fail_msg("chi-square is %g at temperature %g", chi2, (double)temps[t]);
	}
}

static void top_k_keeps_the_k_largest_and_of_equals_the_first(void **state)
{
	struct sherd_sampler_params p = plain(5.0f);
	float logits[N];
	int counts[N], i, k;

	(void)state;
	for (k = 1; k <= N; k += 7) {
		for (i = 0; i < N; i++)
			logits[i] = (float)((i * 13) % 25); /* each value twice */
		p.top_k = k;
		histogram(&p, logits, N, 3000, counts);
		for (i = 0; i < N; i++) {
			int better = 0, j;

			for (j = 0; j < N; j++)
				better +=
					logits[j] > logits[i] || (logits[j] == logits[i] && j < i);
			if (better >= k)
				assert_int_equal(counts[i], 0);
			else if (better < 10)
				assert_true(counts[i] > 0);
		}
	}
}

static void top_p_keeps_the_shortest_run_that_reaches_p(void **state)
{
	/* probabilities 0.5, 0.25, 0.15, 0.1 */
	float logits[4] = { logf(0.15f), logf(0.5f), logf(0.1f), logf(0.25f) };
	struct sherd_sampler_params p = plain(1.0f);
	int counts[4];

	(void)state;
	p.top_p = 0.7f;
	histogram(&p, logits, 4, 3000, counts);
	assert_true(counts[1] > 0 && counts[3] > 0 && !counts[0] && !counts[2]);
	p.top_p = 0.8f;
	histogram(&p, logits, 4, 3000, counts);
	assert_true(counts[1] > 0 && counts[3] > 0 && counts[0] > 0 && !counts[2]);
	p.top_p = 0.0f;
	histogram(&p, logits, 4, 100, counts);
	assert_int_equal(counts[1], 100);
}

static void min_p_drops_what_is_small_beside_the_largest(void **state)
{
	float logits[4] = { logf(0.15f), logf(0.5f), logf(0.1f), logf(0.25f) };
	struct sherd_sampler_params p = plain(3.0f); /* the temperature comes after the cut */
	int counts[4];

	(void)state;
	p.min_p = 0.25f;
	histogram(&p, logits, 4, 3000, counts);
	assert_true(counts[1] > 0 && counts[3] > 0 && counts[0] > 0 && !counts[2]);
	p.min_p = 1.0f;
	histogram(&p, logits, 4, 100, counts);
	assert_int_equal(counts[1], 100);
}

static void repeated_tokens_are_penalized_once_within_the_window(void **state)
{
	struct sherd_sampler_params p = plain(0);
	struct sherd_candidate scratch[4];
	static const int32_t history[] = { 0, 1, 1, -1, 1 };
	float logits[4] = { 4.0f, 5.0f, 3.0f, -1.0f };

	(void)state;
	p.repeat_penalty = 1.5f;
	p.repeat_last_n = 3;
	/* 1 falls to 3.33, 0 is out of the window; penalized thrice it would be 1.5 */
	assert_int_equal(sherd_sampler_draw(&p, 0, logits, 4, history, 5, scratch), 0);
	logits[0] = 3.2f;
	assert_int_equal(sherd_sampler_draw(&p, 0, logits, 4, history, 5, scratch), 1);
	p.repeat_last_n = 100; /* longer than the history */
	logits[0] = 4.9f; /* falls to 3.27 */
	assert_int_equal(sherd_sampler_draw(&p, 0, logits, 4, history, 5, scratch), 1);
	p.repeat_last_n = 0;
	assert_int_equal(sherd_sampler_draw(&p, 0, logits, 4, history, 5, scratch), 1);
}

static void a_negative_logit_is_penalized_downwards(void **state)
{
	struct sherd_sampler_params p = plain(0);
	struct sherd_candidate scratch[2];
	static const int32_t history[] = { 0 };
	float logits[2] = { -1.0f, -1.5f };

	(void)state;
	p.repeat_penalty = 2.0f;
	p.repeat_last_n = 8;
	assert_int_equal(sherd_sampler_draw(&p, 0, logits, 2, history, 1, scratch), 1);
}

static void a_draw_depends_on_seed_and_position_alone(void **state)
{
	struct sherd_sampler_params p = SHERD_SAMPLER_PARAMS_INIT, q;
	float logits[N];
	int32_t first[200];
	int i, same = 0;

	(void)state;
	for (i = 0; i < N; i++)
		logits[i] = 0.3f * tiny_normal(&rng);
	for (i = 0; i < 200; i++)
		first[i] = draw(&p, i, logits, N);
	for (i = 199; i >= 0; i--)
		assert_int_equal(draw(&p, i, logits, N), first[i]);
	q = p;
	q.seed = p.seed + (1ull << 32);
	for (i = 0; i < 200; i++)
		same += draw(&q, i, logits, N) == first[i];
	assert_true(same < 100);
	for (i = 1, same = 0; i < 200; i++)
		same += first[i] == first[0];
	assert_true(same < 100);
}

static void extreme_temperatures_are_no_accident(void **state)
{
	struct sherd_sampler_params p = plain(FLT_MIN / 4);
	float logits[3] = { 1.0f, 1.5f, -3e38f };
	int counts[3];

	(void)state;
	histogram(&p, logits, 3, 100, counts);
	assert_int_equal(counts[1], 100);
	p.temp = FLT_MAX;
	histogram(&p, logits, 2, 2000, counts);
	assert_true(counts[0] > 800 && counts[1] > 800);
	p.temp = NAN;
	assert_int_equal(draw(&p, 0, logits, 3), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(philox_gives_its_published_vectors),
		cmocka_unit_test(greedy_takes_the_largest_and_of_equals_the_first),
		cmocka_unit_test(what_is_no_number_is_never_drawn),
		cmocka_unit_test(draws_follow_the_softmax_at_the_temperature),
		cmocka_unit_test(top_k_keeps_the_k_largest_and_of_equals_the_first),
		cmocka_unit_test(top_p_keeps_the_shortest_run_that_reaches_p),
		cmocka_unit_test(min_p_drops_what_is_small_beside_the_largest),
		cmocka_unit_test(repeated_tokens_are_penalized_once_within_the_window),
		cmocka_unit_test(a_negative_logit_is_penalized_downwards),
		cmocka_unit_test(a_draw_depends_on_seed_and_position_alone),
		cmocka_unit_test(extreme_temperatures_are_no_accident),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
