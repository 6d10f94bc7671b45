/* SPDX-License-Identifier: MIT */
/* compare_report: a comparison as tables for people, and as JSON. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"
#include "compare.h"

static const char *const verdicts[] = {
	[COMPARE_UNKNOWN] = "unknown",
	[COMPARE_SAME] = "same",
	[COMPARE_FASTER] = "faster",
	[COMPARE_SLOWER] = "SLOWER",
};

bool compare_any_slower(const struct compare *c)
{
	for (int i = 0; i < c->n_tests; i++)
		if (c->tests[i].result.verdict == COMPARE_SLOWER)
			return true;
	return false;
}

const struct compare_test *compare_unknown(const struct compare *c)
{
	for (int i = 0; i < c->n_tests; i++)
		if (c->tests[i].result.verdict == COMPARE_UNKNOWN)
			return &c->tests[i];
	return NULL;
}

static double percent(double ratio)
{
	return 100 * (ratio - 1);
}

/* "-3.0 % read" */
static void machine_text(const struct compare_result *r, char *buf, size_t size)
{
	if (r->limit.name)
		snprintf(buf, size, "%+.1f %% %s", percent(r->machine), r->limit.name);
	else
		snprintf(buf, size, "-");
}

/* "+4.1 % (+2.0 to +6.3)" */
static void beyond_text(const struct compare_result *r, char *buf, size_t size)
{
	if (!r->side[0].n || !r->side[1].n)
		snprintf(buf, size, "-");
	else if (isfinite(r->high))
		snprintf(buf, size, "%+.1f %% (%+.1f to %+.1f)", percent(r->ratio),
			 percent(r->low), percent(r->high));
	else
		snprintf(buf, size, "%+.1f %%", percent(r->ratio));
}

static void print_tests(const struct compare *c)
{
	char machine[32], beyond[64];

	printf("| %-16s | %10s | %10s | %8s | %14s | %26s | %-7s |\n", "test", "old t/s", "new t/s",
	       "change", "machine", "beyond the machine", "verdict");
	printf("| ---------------- | ---------: | ---------: | -------: | -------------: | "
	       "-------------------------: | ------- |\n");
	for (int i = 0; i < c->n_tests; i++) {
		const struct compare_result *r = &c->tests[i].result;

		machine_text(r, machine, sizeof(machine));
		beyond_text(r, beyond, sizeof(beyond));
		printf("| %-16s | %10.2f | %10.2f | %+6.1f %% | %14s | %26s | %-7s |\n",
		       c->tests[i].name, r->side[0].mean, r->side[1].mean,
		       percent(r->side[1].mean / r->side[0].mean), machine, beyond,
		       verdicts[r->verdict]);
	}
}

static void print_kernels(const struct compare *c)
{
	char machine[32], beyond[64];

	if (!c->n_kernels)
		return;
	printf("\nkernels, of one run each; faster is +:\n\n");
	printf("| %-12s | %-13s | %-28s | %9s | %9s | %14s | %26s | %-7s |\n", "test", "kernel",
	       "shape", "old us", "new us", "machine", "beyond the machine", "verdict");
	printf("| ------------ | ------------- | ---------------------------- | --------: | "
	       "--------: | -------------: | -------------------------: | ------- |\n");
	for (int i = 0; i < c->n_kernels; i++) {
		const struct compare_kernel *k = &c->kernels[i];

		machine_text(&k->result, machine, sizeof(machine));
		beyond_text(&k->result, beyond, sizeof(beyond));
		printf("| %-12s | %-13s | %-28s | %9.1f | %9.1f | %14s | %26s | %-7s |\n", k->test,
		       k->name, k->shape, 1e6 * k->result.side[0].mean,
		       1e6 * k->result.side[1].mean, machine, beyond, verdicts[k->result.verdict]);
	}
}

void compare_print(const struct compare *c, const char *old_name, const char *new_name)
{
	printf("\nold: %s (%s)\nnew: %s (%s)\n", old_name, c->from[0], new_name, c->from[1]);
	for (int i = 0; i < c->n_warnings; i++)
		printf("not the same: %s\n", c->warnings[i]);
	for (int i = 0; i < 2; i++)
		if (c->missing[i])
			printf("%d test%s of the %s one %s not in the %s one\n", c->missing[i],
			       c->missing[i] > 1 ? "s" : "", i ? "old" : "new",
			       c->missing[i] > 1 ? "are" : "is", i ? "new" : "old");
	putchar('\n');
	print_tests(c);
	print_kernels(c);
}

/* -------------------------------------------------------------------- JSON */

static json_t *real_or_null(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static json_t *result_json(const struct compare_result *r, const char *unit)
{
	char key[2][16];
	json_t *o = json_object();

	snprintf(key[0], sizeof(key[0]), "old_%s", unit);
	snprintf(key[1], sizeof(key[1]), "new_%s", unit);
	for (int i = 0; i < 2; i++)
		json_object_set_new(o, key[i], r->side[i].n ? real_or_null(r->side[i].mean) : json_null());
	json_object_set_new(o, "limit", r->limit.name ? json_string(r->limit.name) : json_null());
	json_object_set_new(o, "machine", real_or_null(r->machine));
	json_object_set_new(o, "speed", real_or_null(r->ratio));
	json_object_set_new(o, "speed_low", real_or_null(r->low));
	json_object_set_new(o, "speed_high", real_or_null(r->high));
	json_object_set_new(o, "verdict", json_string(r->verdict == COMPARE_SLOWER ?
							      "slower" : verdicts[r->verdict]));
	return o;
}

json_t *compare_json(const struct compare *c)
{
	json_t *o = json_object(), *tests = json_array(), *kernels = json_array();
	json_t *warnings = json_array();

	for (int i = 0; i < c->n_warnings; i++)
		json_array_append_new(warnings, json_string(c->warnings[i]));
	for (int i = 0; i < c->n_tests; i++) {
		json_t *t = result_json(&c->tests[i].result, "ts");

		json_object_set_new(t, "test", json_string(c->tests[i].name));
		json_array_append_new(tests, t);
	}
	for (int i = 0; i < c->n_kernels; i++) {
		const struct compare_kernel *k = &c->kernels[i];
		json_t *t = result_json(&k->result, "s");

		json_object_set_new(t, "test", json_string(k->test));
		json_object_set_new(t, "name", json_string(k->name));
		json_object_set_new(t, "shape", json_string(k->shape));
		json_array_append_new(kernels, t);
	}
	json_object_set_new(o, "not_the_same", warnings);
	json_object_set_new(o, "tests", tests);
	json_object_set_new(o, "kernels", kernels);
	json_object_set_new(o, "tests_of_new_only", json_integer(c->missing[0]));
	json_object_set_new(o, "tests_of_old_only", json_integer(c->missing[1]));
	json_object_set_new(o, "slower", json_boolean(compare_any_slower(c)));
	return o;
}
