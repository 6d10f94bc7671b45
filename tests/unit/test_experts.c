/* SPDX-License-Identifier: MIT */
/*
 * Mixtures of experts: whom a row chooses and what it makes of them, against the contract's words and
 * against double arithmetic.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/ref/ref.h"
#include "num.h"
#include "tiny_model.h"

static uint64_t rng;

/* Few values, so that many are equal. */
static void make_scores(float *s, int n)
{
	int i;

	for (i = 0; i < n; i++)
		s[i] = tiny_below(&rng, 2) ? (float)tiny_below(&rng, 4) : 3.0f * tiny_normal(&rng);
}

static const float *sorting;

static int before(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	if (sorting[x] != sorting[y])
		return sorting[x] > sorting[y] ? -1 : 1;
	return x - y;
}

/* The first @k of a stable sort. */
static void assert_choice(const float *scores, int n, int k, const int32_t *choice)
{
	int all[SHERD_MAX_EXPERTS], i;

	for (i = 0; i < n; i++)
		all[i] = i;
	sorting = scores;
	qsort(all, (size_t)n, sizeof(*all), before);
	for (i = 0; i < k; i++)
		assert_int_equal(choice[i], all[i]);
}

static void assert_softmax(const float *scores, int n, int k, bool renormalize,
			   const int32_t *choice, const float *weight)
{
	double all = 0, chosen = 0, want;
	int i;

	for (i = 0; i < n; i++)
		all += exp((double)scores[i] - scores[choice[0]]);
	for (i = 0; i < k; i++)
		chosen += exp((double)scores[choice[i]] - scores[choice[0]]);
	for (i = 0; i < k; i++) {
		want = exp((double)scores[choice[i]] - scores[choice[0]]) /
		       (renormalize ? chosen : all);
		if (!(fabs(weight[i] - want) <= 2e-6 * want + 1e-37))
			fail_msg("rank %d of %d counts %.9g, not %.9g", i, n, (double)weight[i],
				 want);
	}
}

static void a_row_chooses_the_largest_scores_the_lower_index_first_among_equals(void **state)
{
	float s[SHERD_MAX_EXPERTS], w[SHERD_MAX_EXPERTS];
	int32_t choice[SHERD_MAX_EXPERTS];
	int round;

	(void)state;
	for (round = 0; round < 200; round++) {
		int n = round ? 1 + tiny_below(&rng, 130) : SHERD_MAX_EXPERTS;
		int k = 1 + tiny_below(&rng, MIN(n, 20));
		bool renormalize = tiny_below(&rng, 2);

		make_scores(s, n);
		assert_int_equal(sherd_ref_route(s, n, k, renormalize, choice, w), 0);
		assert_choice(s, n, k, choice);
		assert_softmax(s, n, k, renormalize, choice, w);
	}
}

static void what_a_choice_counts_is_the_contracts_bits(void **state)
{
	float s[100], e[100], lanes[16] = { 0 }, w[5], t = 0;
	int32_t choice[5];
	int i, step;

	(void)state;
	make_scores(s, 100);
	sherd_ref_route(s, 100, 5, false, choice, w);
	for (i = 0; i < 100; i++) {
		e[i] = num_exp_1(s[i] - s[choice[0]]);
		lanes[i % 16] += e[i];
	}
	for (step = 8; step; step /= 2)
		for (i = 0; i < step; i++)
			lanes[i] += lanes[i + step];
	for (i = 0; i < 5; i++)
		assert_true(w[i] == e[choice[i]] * num_recip_1(lanes[0]));
	sherd_ref_route(s, 100, 5, true, choice, w);
	for (i = 0; i < 5; i++)
		t += e[choice[i]];
	for (i = 0; i < 5; i++)
		assert_true(w[i] == e[choice[i]] * num_recip_1(t));
}

static void a_score_that_is_no_number_is_refused(void **state)
{
	static const float extremes[] = { NAN, INFINITY, -INFINITY };
	int32_t choice[3];
	float s[20], w[3];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(extremes); i++) {
		make_scores(s, 20);
		s[tiny_below(&rng, 20)] = extremes[i];
		assert_int_equal(sherd_ref_route(s, 20, 3, true, choice, w), -EDOM);
	}
	make_scores(s, 20);
	s[7] = 3e38f;
	s[8] = -3e38f;
	assert_int_equal(sherd_ref_route(s, 20, 3, true, choice, w), 0);
	assert_int_equal(choice[0], 7);
	assert_true(w[0] == 1.0f && w[1] == 0.0f);
}

static void experts_are_added_in_the_order_of_the_choice_and_the_shared_one_last(void **state)
{
	enum { N = 37, K = 4, STRIDE = 40 };
	float out[K * STRIDE], w[K], shared[N], x[N], before_[N], gate = tiny_normal(&rng), g;
	int i, j, with;

	(void)state;
	for (i = 0; i < K * STRIDE; i++)
		out[i] = tiny_normal(&rng);
	for (i = 0; i < K; i++)
		w[i] = tiny_normal(&rng);
	for (i = 0; i < N; i++)
		shared[i] = tiny_normal(&rng);
	g = num_recip_1(num_exp_1(fminf(-gate, 80.0f)) + 1.0f);
	assert_true(fabs(g - 1 / (1 + exp(-(double)gate))) < 1e-6);
	for (with = 0; with < 2; with++) {
		for (i = 0; i < N; i++)
			x[i] = before_[i] = tiny_normal(&rng);
		sherd_ref_combine(out, STRIDE, K, w, with ? shared : NULL, &gate, N, x);
		for (i = 0; i < N; i++) {
			float sum = 0.0f;

			for (j = 0; j < K; j++)
				sum = fmaf(w[j], out[j * STRIDE + i], sum);
			if (with)
				sum = fmaf(g, shared[i], sum);
			assert_true(x[i] == before_[i] + sum);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(
			a_row_chooses_the_largest_scores_the_lower_index_first_among_equals),
		cmocka_unit_test(what_a_choice_counts_is_the_contracts_bits),
		cmocka_unit_test(a_score_that_is_no_number_is_refused),
		cmocka_unit_test(
			experts_are_added_in_the_order_of_the_choice_and_the_shared_one_last),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
