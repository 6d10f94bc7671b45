/* SPDX-License-Identifier: MIT */
/* compare: verdicts on numbers that are made up, and what files may and may not be. */
#include "scratch.h"
#include <jansson.h>
#include <math.h>
#include "compare.h"
#include "random.h"

#define N 5

static struct compare_result judged(const double *old, int n_old, const double *new, int n_new,
				    const struct compare_limit *limit, bool times)
{
	struct compare_result r = { 0 };

	compare_samples(&r.side[0], old, n_old);
	compare_samples(&r.side[1], new, n_new);
	if (limit)
		r.limit = *limit;
	compare_judge(&r, times);
	return r;
}

static const double quiet[N] = { 100, 101, 99, 100.5, 99.5 };

static void scaled(double *to, const double *from, double factor)
{
	for (int i = 0; i < N; i++)
		to[i] = factor * from[i];
}

static void a_change_beyond_the_spread_is_seen(void **state)
{
	double new[N];
	struct compare_result r;

	(void)state;
	scaled(new, quiet, 1.1);
	r = judged(quiet, N, new, N, NULL, false);
	assert_int_equal(r.verdict, COMPARE_FASTER);
	assert_true(fabs(r.ratio - 1.1) < 1e-9 && r.low > 1.05 && r.high < 1.15);
	assert_int_equal(judged(new, N, quiet, N, NULL, false).verdict, COMPARE_SLOWER);
}

static void less_time_is_faster(void **state)
{
	double new[N];

	(void)state;
	scaled(new, quiet, 1.1);
	assert_int_equal(judged(quiet, N, new, N, NULL, true).verdict, COMPARE_SLOWER);
	assert_int_equal(judged(new, N, quiet, N, NULL, true).verdict, COMPARE_FASTER);
}

/* By hand: logarithms of 100, 110 and 121, 133.1 have means ln 100 + 0.04766 and that + ln 1.21,
 * deviations 0.067396; of the mean of both 0.067396; two degrees of freedom: t = 9.925. */
static void the_interval_is_welch_s(void **state)
{
	const double old[] = { 100, 110 }, new[] = { 121, 133.1 };
	struct compare_result r = judged(old, 2, new, 2, NULL, false);
	double half = 9.925 * 0.067396;

	(void)state;
	assert_true(fabs(r.ratio - 1.21) < 1e-9);
	assert_true(fabs(log(r.low) - (log(1.21) - half)) < 1e-3);
	assert_true(fabs(log(r.high) - (log(1.21) + half)) < 1e-3);
	assert_int_equal(r.verdict, COMPARE_SAME);
}

static void a_change_within_the_spread_is_none(void **state)
{
	const double old[N] = { 80, 120, 100, 90, 110 };
	double new[N];

	(void)state;
	scaled(new, old, 0.9);
	assert_int_equal(judged(old, N, new, N, NULL, false).verdict, COMPARE_SAME);
	/* sure, and of no interest */
	scaled(new, quiet, 1.005);
	assert_int_equal(judged(quiet, N, new, N, NULL, false).verdict, COMPARE_SAME);
}

/* The same distribution twice: one verdict in a hundred may be wrong, and so few are. */
static void noise_is_seldom_taken_for_a_change(void **state)
{
	uint64_t seed = 7;
	int wrong = 0;

	(void)state;
	for (int k = 0; k < 2000; k++) {
		double v[2][N];

		for (int i = 0; i < 2 * N; i++) {
			double sum = 0;

			for (int j = 0; j < 12; j++)
				sum += (double)tiny_random(&seed) / 4294967296.0;
			v[i / N][i % N] = exp(0.1 * (sum - 6));
		}
		wrong += judged(v[0], N, v[1], N, NULL, false).verdict != COMPARE_SAME;
	}
	assert_true(wrong > 0 && wrong < 40);
}

static void a_slower_machine_is_no_slower_sherd(void **state)
{
	struct compare_limit l = { "read", { 50, 40 }, { 50, 40 } };
	double new[N];
	struct compare_result r;

	(void)state;
	scaled(new, quiet, 0.8);
	assert_int_equal(judged(quiet, N, new, N, NULL, false).verdict, COMPARE_SLOWER);
	r = judged(quiet, N, new, N, &l, false);
	assert_int_equal(r.verdict, COMPARE_SAME);
	assert_true(fabs(r.machine - 0.8) < 1e-9 && fabs(r.ratio - 1) < 1e-9);
	/* beyond it, slower still */
	scaled(new, quiet, 0.7);
	assert_int_equal(judged(quiet, N, new, N, &l, false).verdict, COMPARE_SLOWER);
	/* and a machine that only seems slower makes nothing faster */
	assert_int_equal(judged(quiet, N, quiet, N, &l, false).verdict, COMPARE_SAME);
}

static void a_machine_without_rest_makes_verdicts_careful(void **state)
{
	struct compare_limit restless = { "read", { 40, 50 }, { 60, 50 } };
	double new[N];

	(void)state;
	scaled(new, quiet, 0.9);
	assert_int_equal(judged(quiet, N, new, N, NULL, false).verdict, COMPARE_SLOWER);
	assert_int_equal(judged(quiet, N, new, N, &restless, false).verdict, COMPARE_SAME);
}

static void nothing_is_made_of_numbers_that_are_none(void **state)
{
	const double one[] = { 100 }, bad[] = { 100, -1, 100, 100, 100 },
		     nan[] = { 100, NAN, 100, 100, 100 };
	struct compare_limit l = { "read", { 0, NAN }, { INFINITY, 1 } };

	(void)state;
	assert_int_equal(judged(one, 1, quiet, N, NULL, false).verdict, COMPARE_UNKNOWN);
	assert_int_equal(judged(bad, N, quiet, N, NULL, false).verdict, COMPARE_UNKNOWN);
	assert_int_equal(judged(quiet, N, nan, N, NULL, false).verdict, COMPARE_UNKNOWN);
	assert_int_equal(judged(quiet, 0, quiet, 0, NULL, false).verdict, COMPARE_UNKNOWN);
	assert_true(judged(quiet, N, quiet, N, &l, false).machine == 1);
}

/* ------------------------------------------------------------------- files */

#define RESULT(device, prompt, ts, us)                                                           \
	"{\"devices\": \"" device "\", \"n_prompt\": " #prompt ", \"n_gen\": 0, \"n_depth\": 0, " \
	"\"bound\": \"dot\", \"samples_ts\": [" ts "], \"limits_before\": {\"dot_ops_per_s\": 1e12, " \
	"\"read_bytes_per_s\": 1e10}, \"limits_after\": {\"dot_ops_per_s\": 1e12, "                 \
	"\"read_bytes_per_s\": 1e10}, \"kernels\": [{\"name\": \"norm\", \"shape\": \"1 x 8\", "    \
	"\"calls\": 100, \"seconds\": " us ", \"stddev_s\": 1e-7, \"bytes\": 1e4, \"ops\": 1}]}"

static json_t *read_text(const char *text, struct sherd_error *err)
{
	char *path = in_dir("results.json");
	json_t *j;

	write_file("results.json", text);
	compare_read(&j, path, err);
	free(path);
	return j;
}

static void tests_and_kernels_are_paired_by_name(void **state)
{
	struct sherd_error err = { "" };
	json_t *old = read_text("[" RESULT("A", 64, "100, 101, 99", "1e-3") ", "
				RESULT("A", 512, "10, 10, 10", "1e-3") "]", &err);
	json_t *new = read_text("[" RESULT("B", 512, "5, 5.1, 4.9", "2e-3") ", "
				RESULT("B", 7, "1, 1, 1", "1") "]", &err);
	struct compare c;
	json_t *j;

	(void)state;
	assert_non_null(old);
	assert_non_null(new);
	assert_int_equal(compare_make(&c, old, new, &err), 0);
	assert_int_equal(c.n_tests, 1);
	assert_string_equal(c.tests[0].name, "pp512");
	assert_int_equal(c.tests[0].result.verdict, COMPARE_SLOWER);
	assert_int_equal(c.n_kernels, 1);
	assert_int_equal(c.kernels[0].result.verdict, COMPARE_SLOWER);
	assert_true(fabs(c.kernels[0].result.ratio - 0.5) < 1e-9);
	assert_int_equal(c.missing[0], 1);
	assert_int_equal(c.missing[1], 1);
	assert_int_equal(c.n_warnings, 1);
	assert_string_equal(c.warnings[0], "the device is another: A, now B");
	assert_true(compare_any_slower(&c));
	j = compare_json(&c);
	assert_true(json_is_true(json_object_get(j, "slower")));
	json_decref(j);
	compare_free(&c);
	json_decref(old);
	json_decref(new);
}

/* As many results and kernels as a file may have: what is quadratic in them takes minutes. */
static void a_large_file_is_paired_at_once(void **state)
{
	struct sherd_error err = { "" };
	json_t *list = json_array(), *kernels = json_array(), *o;
	double start = sherd_now();
	struct compare c;
	char name[16];

	(void)state;
	for (int i = 0; i < 20000; i++) {
		snprintf(name, sizeof(name), "k%d", i);
		json_array_append_new(kernels, json_pack("{s:s,s:i,s:f}", "name", name, "calls", 1, "seconds", 1.0));
	}
	for (int i = 1; i <= 4000; i++) {
		o = json_pack("{s:i,s:[f,f]}", "n_prompt", i, "samples_ts", 1.0, 1.0);
		if (i == 1)
			json_object_set(o, "kernels", kernels);
		json_array_append_new(list, o);
	}
	assert_int_equal(compare_make(&c, list, list, &err), 0);
	assert_true(sherd_now() - start < 20);
	assert_int_equal(c.n_tests, 4000);
	assert_int_equal(c.n_kernels, 20000);
	assert_string_equal(c.tests[3999].name, "pp4000");
	assert_string_equal(c.kernels[19999].name, "k19999");
	assert_true(!c.missing[0] && !c.missing[1]);
	compare_free(&c);
	json_decref(kernels);
	json_decref(list);
}

static void of_results_with_one_name_the_first_counts(void **state)
{
	struct sherd_error err = { "" };
	json_t *old = read_text("[" RESULT("A", 64, "100, 101, 99", "1e-3") "]", &err);
	json_t *new = read_text("[" RESULT("A", 64, "100, 101, 99", "1e-3") ", "
				RESULT("A", 64, "5, 5, 5", "1e-3") "]", &err);
	struct compare c;

	(void)state;
	assert_int_equal(compare_make(&c, old, new, &err), 0);
	assert_int_equal(c.n_tests, 1);
	assert_int_equal(c.tests[0].result.verdict, COMPARE_SAME);
	assert_true(!c.missing[0] && !c.missing[1]);
	compare_free(&c);
	json_decref(old);
	json_decref(new);
}

static void repetitions_that_are_too_few_are_known(void **state)
{
	struct sherd_error err = { "" };
	json_t *two = read_text("[" RESULT("A", 64, "1, 2", "1") ", " RESULT("A", 5, "1, 2, 3", "1") "]", &err);
	json_t *one = read_text("[" RESULT("A", 64, "1, 2", "1") ", " RESULT("A", 5, "1", "1") "]", &err);
	struct compare c;

	(void)state;
	assert_int_equal(compare_fewest(two), 2);
	assert_int_equal(compare_fewest(one), 1);
	assert_int_equal(compare_make(&c, two, one, &err), 0);
	assert_non_null(compare_unknown(&c));
	assert_string_equal(compare_unknown(&c)->name, "pp5");
	compare_free(&c);
	assert_int_equal(compare_make(&c, two, two, &err), 0);
	assert_null(compare_unknown(&c));
	compare_free(&c);
	json_decref(two);
	json_decref(one);
}

static void the_tests_of_a_file_are_listed_once_and_rising(void **state)
{
	struct sherd_error err;
	json_t *j = read_text("[" RESULT("A", 512, "1", "1") ", " RESULT("A", 64, "1", "1") ", "
			      RESULT("A", 512, "1", "1") "]", &err);
	struct opt_ints list = { 0 };

	(void)state;
	assert_int_equal(compare_values(j, "n_prompt", &list), 0);
	assert_int_equal(list.n, 2);
	assert_true(list.v[0] == 64 && list.v[1] == 512);
	opt_ints_free(&list);
	json_decref(j);
}

static void what_is_no_result_is_refused(void **state)
{
	static const char *const texts[] = {
		"", "{}", "[]", "[1]", "{\"results\": 3}", "[{}]", "[{\"n_prompt\": 5}]",
		"[{\"n_prompt\": -5, \"samples_ts\": [1]}]", "[{\"n_prompt\": 1e99, \"samples_ts\": [1]}]",
		"[{\"n_prompt\": 5, \"samples_ts\": [1]}", "[{\"n_prompt\": 5, \"samples_ts\": \"1\"}]",
	};
	struct sherd_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		assert_null(read_text(texts[i], &err));
		assert_non_null(strstr(err.msg, "results.json: "));
	}
}

static void what_is_odd_in_a_result_is_left_out(void **state)
{
	static const char *const texts[] = {
		"[{\"n_prompt\": 5, \"samples_ts\": [], \"kernels\": 7, \"bound\": 1}]",
		"[{\"n_prompt\": 5, \"samples_ts\": [null, \"x\"], \"kernels\": [1, {}, {\"name\": 3}], "
		"\"bound\": \"read\", \"limits_before\": 4}]",
		"[{\"n_prompt\": 5, \"samples_ts\": [1, 2], \"devices\": \"\\u001b[31m\\u009b\", "
		"\"kernels\": [{\"calls\": -1, \"seconds\": -1, \"stddev_s\": 1e300}]}]",
	};
	struct sherd_error err;
	struct compare c;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		for (size_t k = 0; k < ARRAY_SIZE(texts); k++) {
			json_t *old = read_text(texts[i], &err), *new = read_text(texts[k], &err);

			assert_int_equal(compare_make(&c, old, new, &err), 0);
			assert_false(compare_any_slower(&c));
			for (int w = 0; w < c.n_warnings; w++)
				assert_null(strpbrk(c.warnings[w], "\x1b\x9b"));
			json_decref(compare_json(&c));
			compare_free(&c);
			json_decref(old);
			json_decref(new);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_beyond_the_spread_is_seen),
		cmocka_unit_test(less_time_is_faster),
		cmocka_unit_test(the_interval_is_welch_s),
		cmocka_unit_test(a_change_within_the_spread_is_none),
		cmocka_unit_test(noise_is_seldom_taken_for_a_change),
		cmocka_unit_test(a_slower_machine_is_no_slower_sherd),
		cmocka_unit_test(a_machine_without_rest_makes_verdicts_careful),
		cmocka_unit_test(nothing_is_made_of_numbers_that_are_none),
		cmocka_unit_test(tests_and_kernels_are_paired_by_name),
		cmocka_unit_test(a_large_file_is_paired_at_once),
		cmocka_unit_test(of_results_with_one_name_the_first_counts),
		cmocka_unit_test(repetitions_that_are_too_few_are_known),
		cmocka_unit_test(the_tests_of_a_file_are_listed_once_and_rising),
		cmocka_unit_test(what_is_no_result_is_refused),
		cmocka_unit_test(what_is_odd_in_a_result_is_left_out),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
