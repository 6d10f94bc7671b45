/* SPDX-License-Identifier: MIT */
/*
 * compare_file: results as `sherd bench --json` writes them, paired by test and by kernel. Files come
 * from anywhere: what is not there, or not what it should be, is left out and never trusted.
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include "base/base.h"
#include "compare.h"

#define FILE_MAX     (64u << 20)
#define RESULTS_MAX  4096
#define KERNELS_MAX  (64 << 10)
#define SAMPLES_MAX  1024
#define WARNINGS_MAX 16
#define NAME_SIZE    128
/* A kernel's calls are of one run, and not independent of each other: they count as so many at most. */
#define CALLS_MAX    8

/* ----------------------------------------------------------------- reading */

static const char *text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

/* As much as fits, of letters that can go anywhere: to a terminal, and into JSON. */
static void copy(char *buf, size_t size, const char *from)
{
	size_t n;

	for (n = 0; from[n] && n + 1 < size; n++)
		buf[n] = from[n] >= 32 && from[n] < 127 ? from[n] : '?';
	buf[n] = 0;
}

static double number(const json_t *o, const char *key)
{
	const json_t *v = json_object_get(o, key);

	return json_is_number(v) ? json_number_value(v) : NAN;
}

static int whole(const json_t *o, const char *key)
{
	json_int_t v = json_integer_value(json_object_get(o, key));

	return v > 0 && v <= 1 << 24 ? (int)v : 0;
}

static bool is_result(const json_t *o)
{
	return json_is_object(o) && json_is_array(json_object_get(o, "samples_ts")) &&
	       (whole(o, "n_prompt") || whole(o, "n_gen"));
}

static size_t count_kernels(const json_t *results)
{
	const json_t *o;
	size_t i, n = 0;

	json_array_foreach(results, i, o)
		n += json_array_size(json_object_get(o, "kernels"));
	return n;
}

int compare_read(json_t **results, const char *path, struct sherd_error *err)
{
	json_error_t why;
	json_t *j, *list;
	char *data;
	size_t size, i;
	const json_t *o;
	int rc = sherd_read_file(path, FILE_MAX, &data, &size, err);

	*results = NULL;
	if (rc)
		return rc;
	j = json_loadb(data, size, JSON_REJECT_DUPLICATES, &why);
	free(data);
	if (!j)
		return sherd_fail(err, -EINVAL, "%s: is no JSON, see line %d", path, why.line);
	list = json_is_object(j) ? json_object_get(j, "results") : j;
	rc = !json_is_array(list) || !json_array_size(list) || json_array_size(list) > RESULTS_MAX;
	json_array_foreach(list, i, o)
		rc = rc || !is_result(o);
	if (rc || count_kernels(list) > KERNELS_MAX)
		rc = sherd_fail(err, -EINVAL, "%s: has no results of sherd bench --json", path);
	else
		*results = json_incref(list);
	json_decref(j);
	return rc;
}

int compare_values(const json_t *results, const char *key, struct opt_ints *list)
{
	const json_t *o;
	size_t i;
	int k;

	if (list->n)
		return 0;
	list->v = malloc(json_array_size(results) * sizeof(*list->v));
	if (!list->v)
		return -ENOMEM;
	json_array_foreach(results, i, o) {
		int v = whole(o, key), at;

		for (at = 0; at < list->n && list->v[at] < v; at++)
			;
		if (at < list->n && list->v[at] == v)
			continue;
		for (k = list->n++; k > at; k--)
			list->v[k] = list->v[k - 1];
		list->v[at] = v;
	}
	return 0;
}

/* ----------------------------------------------------------------- pairing */

static void name_of(const json_t *o, char *buf, size_t size)
{
	int prompt = whole(o, "n_prompt"), gen = whole(o, "n_gen"), depth = whole(o, "n_depth");
	int n = 0;

	if (prompt)
		n += snprintf(buf + n, size - n, "pp%d", prompt);
	if (gen)
		n += snprintf(buf + n, size - n, "%stg%d", n ? "+" : "", gen);
	if (depth)
		n += snprintf(buf + n, size - n, " @ d%d", depth);
	if (whole(o, "n_sessions"))
		snprintf(buf + n, size - n, " x%d", whole(o, "n_sessions"));
}

/* Test or kernel of @list by their names; where several have the same, the first. NULL: no memory. */
static json_t *by_name(const json_t *list, void (*name)(const json_t *o, char *buf, size_t size))
{
	json_t *names = json_object(), *o;
	char own[NAME_SIZE];
	size_t i;
	int rc = names ? 0 : -ENOMEM;

	json_array_foreach(list, i, o) {
		name(o, own, sizeof(own));
		if (!rc && !json_object_get(names, own))
			rc = json_object_set_nocheck(names, own, o);
	}
	if (rc) {
		json_decref(names);
		return NULL;
	}
	return names;
}

static void read_side(struct compare_side *s, const json_t *o)
{
	const json_t *list = json_object_get(o, "samples_ts"), *v;
	double values[SAMPLES_MAX];
	size_t i;
	int n = 0;

	json_array_foreach(list, i, v)
		if (n < SAMPLES_MAX)
			values[n++] = json_number_value(v); /* 0: no number, and refused */
	compare_samples(s, values, n);
}

int compare_fewest(const json_t *results)
{
	struct compare_side s;
	const json_t *o;
	int fewest = SAMPLES_MAX;
	size_t i;

	json_array_foreach(results, i, o) {
		read_side(&s, o);
		fewest = MIN(fewest, s.n);
	}
	return fewest;
}

/* Limit @name of both results, before and after. */
static void read_limit(struct compare_limit *l, const json_t *const side[2], const char *name)
{
	const char *key = !strcmp(name, "read")	 ? "read_bytes_per_s" :
			  !strcmp(name, "float") ? "fma_flops" :
						   "dot_ops_per_s";

	l->name = name;
	for (int i = 0; i < 2; i++) {
		l->before[i] = number(json_object_get(side[i], "limits_before"), key);
		l->after[i] = number(json_object_get(side[i], "limits_after"), key);
		if (isnan(l->before[i]) || isnan(l->after[i]))
			l->name = NULL;
	}
}

static void pair_test(struct compare *c, const char *name, const json_t *old, const json_t *new)
{
	const json_t *const side[2] = { old, new };
	struct compare_test *t = &c->tests[c->n_tests++];

	copy(t->name, sizeof(t->name), name);
	for (int i = 0; i < 2; i++)
		read_side(&t->result.side[i], side[i]);
	if (json_is_string(json_object_get(new, "bound")))
		read_limit(&t->result.limit, side,
			   strcmp(text(new, "bound"), "read") ? "int8" : "read");
	compare_judge(&t->result, false);
}

/* ----------------------------------------------------------------- kernels */

static void name_of_kernel(const json_t *o, char *buf, size_t size)
{
	char name[sizeof(((struct compare_kernel *)0)->name)];
	char shape[sizeof(((struct compare_kernel *)0)->shape)];

	copy(name, sizeof(name), text(o, "name"));
	copy(shape, sizeof(shape), text(o, "shape"));
	snprintf(buf, size, "%s\t%s", name, shape);
}

static void read_calls(struct compare_side *s, const json_t *kernel)
{
	int calls = whole(kernel, "calls");
	double deviation = number(kernel, "stddev_s");

	compare_moments(s, number(kernel, "seconds") / MAX(calls, 1),
			isnan(deviation) ? 0 : deviation,
			isnan(deviation) ? MIN(calls, 1) : MIN(calls, CALLS_MAX));
}

/* The limit that the kernel is nearer to. */
static const char *bound_of(const json_t *result, const json_t *kernel)
{
	const json_t *l = json_object_get(result, "limits_before");
	bool floats = !strcmp(text(kernel, "ops_are"), "float");
	double read = number(kernel, "bytes") / number(l, "read_bytes_per_s");
	double ops = number(kernel, "ops") / number(l, floats ? "fma_flops" : "dot_ops_per_s");

	return ops > read ? floats ? "float" : "int8" : "read";
}

static void pair_kernel(struct compare *c, const char *test, const json_t *const result[2],
			const json_t *old, const json_t *new)
{
	struct compare_kernel *k = &c->kernels[c->n_kernels++];

	copy(k->test, sizeof(k->test), test);
	copy(k->name, sizeof(k->name), text(new, "name"));
	copy(k->shape, sizeof(k->shape), text(new, "shape"));
	read_calls(&k->result.side[0], old);
	read_calls(&k->result.side[1], new);
	read_limit(&k->result.limit, result, bound_of(result[1], new));
	compare_judge(&k->result, true);
}

static int pair_kernels(struct compare *c, const char *test, const json_t *old, const json_t *new)
{
	const json_t *const result[2] = { old, new };
	json_t *had = by_name(json_object_get(old, "kernels"), name_of_kernel), *k;
	json_t *has = by_name(json_object_get(new, "kernels"), name_of_kernel);
	const char *name;
	int rc = had && has ? 0 : -ENOMEM;

	json_object_foreach(has, name, k)
		if (json_object_get(had, name))
			pair_kernel(c, test, result, json_object_get(had, name), k);
	json_decref(had);
	json_decref(has);
	return rc;
}

/* ---------------------------------------------------------------- warnings */

static void value_text(const json_t *o, const char *key, char *buf, size_t size)
{
	const json_t *v = json_object_get(o, key);

	if (json_is_string(v))
		copy(buf, size, json_string_value(v));
	else if (json_is_number(v))
		snprintf(buf, size, "%.15g", json_number_value(v));
	else
		snprintf(buf, size, "nothing");
}

static void warn(struct compare *c, const json_t *old, const json_t *new, const char *key,
		 const char *what)
{
	char a[128], b[128];

	value_text(old, key, a, sizeof(a));
	value_text(new, key, b, sizeof(b));
	if (strcmp(a, b) && c->n_warnings < WARNINGS_MAX) {
		c->warnings[c->n_warnings] = sherd_asprintf("%s: %s, now %s", what, a, b);
		c->n_warnings += c->warnings[c->n_warnings] != NULL;
	}
}

static void find_warnings(struct compare *c, const json_t *old, const json_t *new)
{
	static const struct {
		const char *key, *what;
	} list[] = { { "model_type", "the model is another" },
		     { "model_size", "the weights have other bytes" },
		     { "model_n_params", "the model has other parameters" },
		     { "devices", "the device is another" },
		     { "backends", "the back end is another" },
		     { "n_threads", "the threads are others" },
		     { "n_batch", "a batch has other rows" },
		     { "type_k", "the KV cache is of another type" },
		     { "region", "what holds the weights is another" },
		     { "weights", "the device reads the weights in another way" },
		     { "build_commit", "sherd is another" } };

	for (size_t i = 0; i < ARRAY_SIZE(list); i++)
		warn(c, old, new, list[i].key, list[i].what);
	warn(c, json_object_get(old, "limits_before"), json_object_get(new, "limits_before"),
	     "dot_path", "the dot product is another");
}

/* Both @had and @has, by name: the pairs, and how many have no other. */
static int pair(struct compare *c, json_t *had, json_t *has)
{
	const char *name;
	json_t *o;
	int rc = 0;

	json_object_foreach(has, name, o) {
		const json_t *other = json_object_get(had, name);

		c->missing[0] += !other;
		if (!other)
			continue;
		pair_test(c, name, other, o);
		rc = rc ? rc : pair_kernels(c, name, other, o);
	}
	c->missing[1] = (int)json_object_size(had) - c->n_tests;
	return rc;
}

static void say_from(char *buf, size_t size, const json_t *result)
{
	char from[64];

	snprintf(from, sizeof(from), "%.24s, sherd %.24s", text(result, "test_time"),
		 text(result, "build_commit"));
	copy(buf, size, from);
}

int compare_make(struct compare *c, const json_t *old, const json_t *new, struct sherd_error *err)
{
	const json_t *const side[2] = { json_array_get(old, 0), json_array_get(new, 0) };
	json_t *had = by_name(old, name_of), *has = by_name(new, name_of);
	int rc = -ENOMEM;

	memset(c, 0, sizeof(*c));
	c->tests = sherd_calloc(json_object_size(has) + 1, sizeof(*c->tests));
	c->kernels = sherd_calloc(count_kernels(new) + 1, sizeof(*c->kernels));
	c->warnings = sherd_calloc(WARNINGS_MAX, sizeof(*c->warnings));
	if (had && has && c->tests && c->kernels && c->warnings) {
		for (int i = 0; i < 2; i++)
			say_from(c->from[i], sizeof(c->from[i]), side[i]);
		find_warnings(c, side[0], side[1]);
		rc = pair(c, had, has);
	}
	json_decref(had);
	json_decref(has);
	if (rc)
		return sherd_fail_oom(err, sizeof(*c->tests), "a comparison");
	return c->n_tests ? 0 : sherd_fail(err, -EINVAL, "the two results have no test in common");
}

void compare_free(struct compare *c)
{
	for (int i = 0; i < c->n_warnings; i++)
		free(c->warnings[i]);
	free(c->warnings);
	free(c->tests);
	free(c->kernels);
}
