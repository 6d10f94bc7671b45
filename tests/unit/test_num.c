/* SPDX-License-Identifier: MIT */
/*
 * The contract's own functions (kernels-cl/num.h) against the C library's in double: how far they
 * are off, and what they do at the edges, where a device's built-ins would each do something else.
 */
#include <float.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <cmocka.h>
#include "num.h"
#include "tiny_model.h"

static uint64_t rng;

/* A random number with the exponent in [lo, hi). */
static float random_float(int lo, int hi, bool positive)
{
	float m = 1.0f + (float)tiny_random(&rng) * 0x1p-32f;
	float x = ldexpf(m, lo + tiny_below(&rng, hi - lo));

	return positive || tiny_below(&rng, 2) ? x : -x;
}

static void assert_near(const char *what, float x, double got, double want, double limit)
{
	if (!(fabs(got - want) <= limit))
		fail_msg("%s(%a) = %.9g, but %.9g is right: off by %g, not at most %g", what,
			 (double)x, got, want, fabs(got - want), limit);
}

static void exp_is_right_to_seven_digits(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 200000; i++) {
		float x = -86.9f + 174.8f * (float)i / 200000.0f;
		double want = exp((double)x);

		assert_near("exp", x, num_exp_1(x), want, 4e-7 * want);
	}
}

static void exp_has_defined_edges(void **state)
{
	(void)state;
	assert_true(num_exp_1(0.0f) == 1.0f);
	assert_true(num_exp_1(-0.0f) == 1.0f);
	assert_true(num_exp_1(-87.1f) == 0.0f);
	assert_true(num_exp_1(-1e30f) == 0.0f);
	assert_true(num_exp_1(-INFINITY) == 0.0f);
	assert_true(isfinite(num_exp_1(1e30f)));
	assert_true(num_exp_1(-86.99f) >= FLT_MIN); /* no denormal */
}

static void recip_is_right_to_the_last_bit_but_one(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 200000; i++) {
		float x = random_float(-120, 120, true);
		double want = 1.0 / (double)x;

		assert_near("recip", x, num_recip_1(x), want, fabs(want) * 0x1p-23);
	}
}

static void rsqrt_is_right_to_the_last_bit_but_one(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 200000; i++) {
		float x = random_float(-120, 120, true);
		double want = 1.0 / sqrt((double)x);

		assert_near("rsqrt", x, num_rsqrt_1(x), want, want * 0x1p-22);
	}
}

static void tanh_and_erf_are_right_to_six_digits_and_odd(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		float x = random_float(-20, 6, false);

		assert_near("tanh", x, num_tanh_1(x), tanh((double)x), 3e-7);
		assert_near("erf", x, num_erf_1(x), erf((double)x), 8e-7);
		assert_true(num_tanh_1(-x) == -num_tanh_1(x));
		assert_true(num_erf_1(-x) == -num_erf_1(x));
	}
	assert_true(num_tanh_1(1e30f) == 1.0f);
	assert_near("erf", 1e30f, num_erf_1(1e30f), 1.0, 8e-7);
}

static void activations_are_right_where_networks_live(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < 100000; i++) {
		float x = random_float(-12, 6, false);
		double d = (double)x, limit = 1e-6 * fmax(1.0, fabs(d));
		double t = tanh(0.7978845608 * (d + 0.044715 * d * d * d));

		assert_near("silu", x, num_silu_1(x), d / (1.0 + exp(-d)), limit);
		assert_near("gelu_tanh", x, num_gelu_tanh_1(x), 0.5 * d * (1.0 + t), limit);
		assert_near("gelu_erf", x, num_gelu_erf_1(x), 0.5 * d * (1.0 + erf(d * M_SQRT1_2)),
			    limit);
	}
	assert_true(num_silu_1(1e4f) == 1e4f);
	assert_near("silu", -1e4f, num_silu_1(-1e4f), 0.0, 1e-6);
}

static void the_quantizers_scale_is_amax_over_127_and_zero_for_next_to_nothing(void **state)
{
	int i;
	float r, d;

	(void)state;
	for (i = 0; i < 100000; i++) {
		float amax = random_float(-90, 90, true);

		d = num_quant_scale(amax, &r);
		assert_near("scale", amax, (double)d, (double)amax / 127.0, (double)amax * 1e-9);
		assert_near("scale * reciprocal", amax, (double)d * (double)r, 1.0, 3e-7);
		/* the largest value of a group comes out as 127 exactly */
		assert_true(NUM_RINT(amax * r) == 127.0f);
	}
	assert_true(num_quant_scale(0.0f, &r) == 0.0f && r == 0.0f);
	assert_true(num_quant_scale(1e-40f, &r) == 0.0f && r == 0.0f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exp_is_right_to_seven_digits),
		cmocka_unit_test(exp_has_defined_edges),
		cmocka_unit_test(recip_is_right_to_the_last_bit_but_one),
		cmocka_unit_test(rsqrt_is_right_to_the_last_bit_but_one),
		cmocka_unit_test(tanh_and_erf_are_right_to_six_digits_and_odd),
		cmocka_unit_test(activations_are_right_where_networks_live),
		cmocka_unit_test(
			the_quantizers_scale_is_amax_over_127_and_zero_for_next_to_nothing),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
