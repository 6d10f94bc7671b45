/* SPDX-License-Identifier: MIT */
/*
 * compare: two results of `sherd bench --json`, and what changed between them beyond noise. Reading
 * them (compare_file.c), judging (compare.c: arithmetic on numbers alone) and saying so
 * (compare_report.c) know nothing of how they came about.
 *
 * What is judged is the ratio new / old, by its logarithm. Its interval is Welch's, with 99 %
 * confidence, from the repetitions' spread. A machine that changed meanwhile is taken out of it by what
 * its limit was, and what the limit itself moved while it was measured is added to both sides. But
 * not all work follows the limit (what lies in caches does not follow memory): the interval has the ratio
 * with the machine's change and without it, and a verdict holds for both.
 */
#ifndef SHERD_TOOL_COMPARE_H
#define SHERD_TOOL_COMPARE_H

#include "tool.h"

struct json_t;

enum compare_verdict { COMPARE_UNKNOWN, COMPARE_SAME, COMPARE_FASTER, COMPARE_SLOWER };

/* What was measured: mean and deviation of the samples' logarithms. */
struct compare_side {
	double mean; /* of the values themselves, for people */
	double log_mean, log_deviation;
	int n;
};

/* The limit that a test, or a kernel, is bound by. */
struct compare_limit {
	const char *name; /* "read", "int8", "float"; NULL: not known on both sides */
	double before[2], after[2]; /* old, new */
};

struct compare_result {
	struct compare_side side[2]; /* old, new */
	struct compare_limit limit;
	double machine; /* new / old of the limit; 1: unknown */
	double ratio, low, high; /* new / old of the speed, the machine's change taken out */
	enum compare_verdict verdict;
};

void compare_samples(struct compare_side *s, const double *values, int n);
/* Of @n values with this mean and deviation. */
void compare_moments(struct compare_side *s, double mean, double deviation, int n);
/* From side and limit: the rest. @less_is_better: they are times. */
void compare_judge(struct compare_result *r, bool less_is_better);

/* ------------------------------------------------------------------ files */

struct compare_kernel {
	char test[32], name[32], shape[64];
	struct compare_result result; /* of seconds a call */
};

struct compare_test {
	char name[48];
	struct compare_result result; /* of tokens/s */
};

struct compare {
	char from[2][64]; /* when, and by which sherd */
	char **warnings; /* what is not the same, a clause each */
	int n_warnings;
	struct compare_test *tests; /* that both have */
	int n_tests;
	struct compare_kernel *kernels;
	int n_kernels;
	int missing[2]; /* tests that the other has */
};

/* A file of `sherd bench --json`, or of --compare with it; json_decref() it. */
int compare_read(struct json_t **results, const char *path, struct sherd_error *err);
/* @old, @new: such results. -EINVAL: they have no test in common. */
int compare_make(struct compare *c, const struct json_t *old, const struct json_t *new,
		 struct sherd_error *err);
void compare_free(struct compare *c);
/* The different values of @key in the results, rising, into @list if it is empty; 0 or -ENOMEM. */
int compare_values(const struct json_t *results, const char *key, struct opt_ints *list);

/* Repetitions that count, of the test that has the fewest; noise is not known of less than two. */
int compare_fewest(const struct json_t *results);

bool compare_any_slower(const struct compare *c);
/* A test without a verdict; NULL: there is none. */
const struct compare_test *compare_unknown(const struct compare *c);
void compare_print(const struct compare *c, const char *old_name, const char *new_name);
struct json_t *compare_json(const struct compare *c);

#endif
