/* SPDX-License-Identifier: MIT */
/*
 * trace: what is in a file that tools/trace_file.c wrote of a small model's run. Each test writes one and
 * reads it back with another JSON parser than the one that nobody used to write it.
 */
#include "scratch.h"
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <sys/wait.h>
#include "infer/cl/cl.h"
#include "infer/infer.h"
#include "tiny_model.h"
#include "trace_file.h"

#define N_PROMPT 5
#define N_TOKENS 3

/* ------------------------------------------------------------------- runs */

static struct sherd_model *open_tiny(const char *device)
{
	struct sherd_model_params p = { .device = device, .n_ctx = 64, .n_batch = 8,
					.untested = true };
	struct sherd_error err = { "" };
	struct sherd_model *m = NULL;
	int rc = tiny_model_open(&m, &tiny_models[0], &p, &err);

	if (rc == -ENODEV) {
		print_message("skipped: %s\n", err.msg);
		return NULL;
	}
	if (rc)
		fail_msg("%s", err.msg);
	return m;
}

/* A prompt and some tokens after it, greedy. */
static void generate(struct sherd_model *m, int32_t made[N_TOKENS])
{
	static const int32_t prompt[N_PROMPT] = { 1, 5, 9, 2, 7 };
	struct sherd_session *s;
	struct sherd_error err;
	const float *logits;

	assert_int_equal(sherd_session_new(&s, m, NULL, &err), 0);
	assert_int_equal(sherd_prefill(s, prompt, N_PROMPT, &logits, &err), 0);
	for (int i = 0; i < N_TOKENS; i++) {
		made[i] = sherd_session_sample(s, logits);
		assert_int_equal(sherd_prefill(s, &made[i], 1, &logits, &err), 0);
	}
	sherd_session_free(s);
}

static json_t *load(const char *path)
{
	json_error_t why;
	json_t *j = json_load_file(path, JSON_REJECT_DUPLICATES, &why);

	if (!j)
		fail_msg("%s: line %d: %s", path, why.line, why.text);
	return j;
}

/* A run of @device in a trace; NULL: there is no such device. @made: its tokens. */
static json_t *trace_of(const char *device, int32_t made[N_TOKENS])
{
	char *path = in_dir("trace.json");
	struct trace_file *t;
	struct sherd_error err;
	struct sherd_model *m;
	json_t *j = NULL;

	assert_int_equal(trace_file_open(&t, path, "test", TRACE_AT_END, &err), 0);
	trace_file_roof(t, 1e10, 1e12, 1e11);
	trace_file_listen(t, true, true);
	m = open_tiny(device);
	if (m)
		generate(m, made);
	assert_int_equal(trace_file_close(t, &err), 0);
	assert_null(sherd_trace);
	if (m)
		j = load(path);
	sherd_model_close(m);
	free(path);
	return j;
}

/* ------------------------------------------------------------------ events */

static const char *text(const json_t *e, const char *key)
{
	const char *s = json_string_value(json_object_get(e, key));

	return s ? s : "";
}

static double number(const json_t *e, const char *key)
{
	return json_number_value(json_object_get(e, key));
}

static double arg(const json_t *e, const char *key)
{
	const json_t *v = json_object_get(json_object_get(e, "args"), key);

	if (!json_is_number(v))
		fail_msg("\"%s\" has no %s", text(e, "name"), key);
	return json_number_value(v);
}

static bool is(const json_t *e, const char *category)
{
	return !strcmp(text(e, "ph"), "X") && !strcmp(text(e, "cat"), category);
}

static double end_of(const json_t *e)
{
	return number(e, "ts") + number(e, "dur");
}

/*
 * Two spans of one thread, in the file's order, lie one after the other, or one in the other: the outer one
 * comes first if they begin together, and ends last.
 */
static void check_pair(const json_t *a, const json_t *b)
{
	const double eps = 2e-3; /* microseconds: doubles of this size hold no less */
	bool apart = end_of(a) <= number(b, "ts") + eps || end_of(b) <= number(a, "ts") + eps;
	bool a_in_b = number(a, "ts") >= number(b, "ts") - eps && end_of(a) <= end_of(b) + eps;
	bool b_in_a = number(b, "ts") >= number(a, "ts") - eps && end_of(b) <= end_of(a) + eps;

	if (!apart && !a_in_b && !b_in_a)
		fail_msg("%s (%.3f to %.3f) and %s (%.3f to %.3f) overlap", text(a, "name"),
			 number(a, "ts"), end_of(a), text(b, "name"), number(b, "ts"), end_of(b));
	if (number(a, "ts") == number(b, "ts"))
		assert_true(!number(a, "dur") || number(a, "dur") > number(b, "dur"));
}

static void check_nesting(const json_t *events)
{
	size_t i, k;
	const json_t *a, *b;

	json_array_foreach(events, i, a) {
		if (strcmp(text(a, "ph"), "X"))
			continue;
		for (k = i + 1; k < json_array_size(events); k++) {
			b = json_array_get(events, k);
			if (!strcmp(text(b, "ph"), "X") && number(a, "tid") == number(b, "tid"))
				check_pair(a, b);
		}
	}
}

static const json_t *step_of(const json_t *events, int n)
{
	const json_t *e;
	size_t i;

	json_array_foreach(events, i, e)
		if (is(e, "step") && arg(e, "step") == n)
			return e;
	fail_msg("there is no step %d", n);
	return NULL;
}

/* Launches of step @n; their microseconds are added to *sum. @part: parts of launches. */
static int kernels_of(const json_t *events, int n, bool part, double *sum)
{
	const json_t *e;
	size_t i;
	int found = 0;

	json_array_foreach(events, i, e) {
		if (!is(e, part ? "kernel part" : "kernel") || arg(e, "step") != n)
			continue;
		assert_true(number(e, "dur") >= 0);
		*sum += number(e, "dur");
		found++;
	}
	return found;
}

static int count_phases(const json_t *events, const char *name)
{
	const json_t *e;
	size_t i;
	int n = 0;

	json_array_foreach(events, i, e)
		n += is(e, "phase") && !strcmp(text(e, "name"), name);
	return n;
}

static int count_values(const json_t *events, const char *counter, const char *unit)
{
	const json_t *e;
	size_t i;
	int n = 0;

	json_array_foreach(events, i, e)
		n += !strcmp(text(e, "ph"), "C") && !strcmp(text(e, "name"), counter) &&
		     arg(e, unit) > 0;
	return n;
}

/* ------------------------------------------------------------------- tests */

static void check_steps(const json_t *events)
{
	for (int n = 1; n <= 1 + N_TOKENS; n++) {
		const json_t *step = step_of(events, n);
		double launched = 0, parts = 0;
		int n_launched = kernels_of(events, n, false, &launched);
		int n_parts = kernels_of(events, n, true, &parts);

		assert_int_equal((int)arg(step, "rows"), n == 1 ? N_PROMPT : 1);
		assert_int_equal((int)arg(step, "position"), n == 1 ? 0 : N_PROMPT + n - 2);
		/* 2 layers of 7 launches, however they are fused, embedding and logits */
		assert_true(n_launched + n_parts >= 14);
		/* in order, one at a time: no more than the step took */
		assert_true(launched <= number(step, "dur"));
		assert_true(parts <= launched + 0.1);
		assert_true(launched > 0);
	}
}

/* Layers' matrices: of a step each, seven in the file and five in the step list. */
static void check_kernels(const json_t *events)
{
	const json_t *e;
	size_t i;
	int n_matrices[1 + 1 + N_TOKENS] = { 0 };

	json_array_foreach(events, i, e) {
		if (!is(e, "kernel") && !is(e, "kernel part"))
			continue;
		assert_true(arg(e, "rows") >= 1 && arg(e, "layer") >= -1 && arg(e, "layer") < 2);
		if (strncmp(text(e, "name"), "matmul", 6))
			continue;
		assert_true(arg(e, "bytes") > 0 && arg(e, "int8_ops") > 0);
		assert_true(arg(e, "share_of_roof") >= 0);
		n_matrices[(int)arg(e, "step")]++;
	}
	for (int n = 1; n <= 1 + N_TOKENS; n++)
		assert_true(n_matrices[n] >= 4 * 2 + 1);
}

static void a_run_is_in_its_trace(const char *device)
{
	int32_t traced[N_TOKENS], plain[N_TOKENS];
	json_t *j = trace_of(device, traced);
	const json_t *events = json_object_get(j, "traceEvents");
	struct sherd_model *m;

	if (!j)
		skip();
	check_nesting(events);
	check_steps(events);
	check_kernels(events);
	assert_int_equal(count_phases(events, "open"), 1);
	assert_int_equal(count_phases(events, "resolve"), 1);
	assert_int_equal(count_phases(events, "pack"), 1);
	assert_int_equal(count_phases(events, "sample"), N_TOKENS);
	assert_int_equal(count_values(events, "speed", "tokens/s"), 1 + N_TOKENS);
	assert_int_equal(count_values(events, "KV cache", "bytes"), 1 + N_TOKENS);
	assert_true(count_values(events, "memory", "resident bytes") > 0);
	assert_true(json_is_string(json_object_get(json_object_get(j, "otherData"), "clock")));
	json_decref(j);
	m = open_tiny(device);
	generate(m, plain);
	sherd_model_close(m);
	assert_memory_equal(traced, plain, sizeof(plain));
}

static void a_run_of_the_reference_is_in_its_trace(void **state)
{
	(void)state;
	a_run_is_in_its_trace("reference");
}

static void a_run_with_a_walk_a_token_is_in_its_trace(void **state)
{
	(void)state;
	a_run_is_in_its_trace("cpu/wide");
}

static void a_run_with_a_launch_a_step_is_in_its_trace(void **state)
{
	(void)state;
	a_run_is_in_its_trace("cpu/simt");
}

static void kernels_lie_inside_their_step(void **state)
{
	int32_t made[N_TOKENS];
	json_t *j = trace_of("cpu", made), *e;
	const json_t *events = json_object_get(j, "traceEvents");
	size_t i;

	(void)state;
	if (!j)
		skip();
	json_array_foreach(events, i, e) {
		const json_t *step;

		if (!is(e, "kernel"))
			continue;
		/* two clocks, of which one is read while others use the machine */
		step = step_of(events, (int)arg(e, "step"));
		assert_true(number(e, "ts") > number(step, "ts") - 1000);
		assert_true(end_of(e) < end_of(step) + 1000);
	}
	json_decref(j);
}

static void tell_launch(double begin, double end, bool inner)
{
	const struct sherd_trace_kernel k = { .begin = begin, .end = end, .name = inner ? "part" : "whole",
					      .shape = "1 x 1", .rows = 1, .inner = inner };

	sherd_trace->kernel(sherd_trace, &k);
}

/* Event @i but for counters and names. */
static const json_t *span_at(const json_t *events, size_t i)
{
	const json_t *e;
	size_t k;

	json_array_foreach(events, k, e)
		if (!strcmp(text(e, "ph"), "X") && !i--)
			return e;
	return NULL;
}

static void launches_stay_in_a_row_though_clocks_do_not(void **state)
{
	char *path = in_dir("clocks.json");
	const json_t *events, *whole, *last;
	struct trace_file *t;
	struct sherd_error err;
	json_t *j;

	(void)state;
	assert_int_equal(trace_file_open(&t, path, "test", TRACE_AT_END, &err), 0);
	trace_file_listen(t, true, true);
	tell_launch(1, 2, false);
	tell_launch(1.9999, 3, false);
	tell_launch(3, 4, false);
	tell_launch(3, 3.5, true);
	tell_launch(3.5, 4, true);
	assert_int_equal(trace_file_close(t, &err), 0);
	j = load(path);
	events = json_object_get(j, "traceEvents");
	check_nesting(events);
	assert_true(number(span_at(events, 1), "ts") == 2e6 && end_of(span_at(events, 1)) == 3e6);
	/* what begins together: the outer one first; what ends together: not quite */
	whole = span_at(events, 2);
	last = span_at(events, 4);
	assert_string_equal(text(whole, "name"), "whole");
	assert_true(end_of(last) < end_of(whole) && end_of(last) > end_of(whole) - 0.01);
	json_decref(j);
	free(path);
}

static void nobody_is_told_where_nobody_listens(void **state)
{
	char *path = in_dir("silent.json");
	int32_t made[N_TOKENS];
	struct trace_file *t;
	struct sherd_error err;
	struct sherd_model *m;
	json_t *j, *e;
	size_t i;

	(void)state;
	assert_int_equal(trace_file_open(&t, path, "test", TRACE_AT_END, &err), 0);
	m = open_tiny("reference");
	generate(m, made);
	sherd_model_close(m);
	assert_int_equal(trace_file_close(t, &err), 0);
	j = load(path);
	json_array_foreach(json_object_get(j, "traceEvents"), i, e)
		assert_string_equal(text(e, "ph"), "M");
	json_decref(j);
	free(path);
}

static void strange_names_are_json_too(void **state)
{
	char *path = in_dir("strange.json"), longest[4000];
	struct trace_file *t;
	struct sherd_error err;
	json_t *j;

	(void)state;
	memset(longest, '"', sizeof(longest) - 1);
	longest[sizeof(longest) - 1] = 0;
	assert_int_equal(trace_file_open(&t, path, "test", TRACE_AT_END, &err), 0);
	for (int i = 0; i < 200; i++) {
		trace_file_phase(t, "pack", "a\"b\\c\n\x01\xff\xc3", 1, 2);
		trace_file_phase(t, "pack", longest, 1, 2);
		trace_file_phase(t, "pack", NULL, 2, 1);
	}
	for (int i = 0; i < 20; i++)
		trace_file_note(t, i % 2 ? "model" : "device", longest);
	assert_int_equal(trace_file_close(t, &err), 0);
	j = load(path);
	assert_int_equal(count_phases(json_object_get(j, "traceEvents"), "pack"), 600);
	json_decref(j);
	free(path);
}

static void a_file_that_cannot_be_made_is_refused_at_once(void **state)
{
	char *path = in_dir("no/such/folder/trace.json");
	struct trace_file *t;
	struct sherd_error err = { "" };

	(void)state;
	assert_true(trace_file_open(&t, path, "test", TRACE_AT_END, &err) < 0);
	assert_null(t);
	assert_non_null(strstr(err.msg, "no/such/folder"));
	assert_true(trace_file_open(&t, path, "test", TRACE_LIVE, &err) < 0);
	free(path);
}

static void a_disk_that_is_full_is_said_at_the_end(void **state)
{
	struct trace_file *t;
	struct sherd_error err = { "" };

	(void)state;
	assert_true(trace_file_open(&t, "/dev/full", "test", TRACE_LIVE, &err) < 0);
	assert_non_null(strstr(err.msg, "No space left"));
}

/* What a process that dies without a word leaves. */
static void what_was_flushed_is_whole_whoever_dies(void **state)
{
	char *path = in_dir("killed.json");
	struct trace_file *t;
	struct sherd_error err;
	int status;
	pid_t pid = fork();
	json_t *j;

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		if (trace_file_open(&t, path, "test", TRACE_LIVE, &err))
			_exit(1);
		trace_file_phase(t, "first", NULL, 1, 2);
		trace_file_note(t, "model", "a name");
		trace_file_flush(t);
		trace_file_phase(t, "second", NULL, 1, 2);
		trace_file_note(t, "model", "another, longer name");
		trace_file_flush(t);
		trace_file_phase(t, "third", NULL, 1, 2);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	j = load(path);
	assert_int_equal(count_phases(json_object_get(j, "traceEvents"), "first"), 1);
	assert_int_equal(count_phases(json_object_get(j, "traceEvents"), "second"), 1);
	assert_int_equal(count_phases(json_object_get(j, "traceEvents"), "third"), 0);
	json_decref(j);
	free(path);
}

/* As a handler does: the file has its name, and is whole. */
static void a_signal_s_handler_gives_the_file_its_name(void **state)
{
	char *path = in_dir("rescued.json");
	struct trace_file *t;
	struct sherd_error err;
	int status;
	pid_t pid = fork();
	json_t *j;

	(void)state;
	assert_true(pid >= 0);
	if (!pid) {
		if (trace_file_open(&t, path, "test", TRACE_AT_END, &err) || !access(path, F_OK))
			_exit(1);
		trace_file_phase(t, "first", NULL, 1, 2);
		trace_file_flush(t);
		trace_file_rescue();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	j = load(path);
	assert_int_equal(count_phases(json_object_get(j, "traceEvents"), "first"), 1);
	json_decref(j);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_of_the_reference_is_in_its_trace),
		cmocka_unit_test(a_run_with_a_walk_a_token_is_in_its_trace),
		cmocka_unit_test(a_run_with_a_launch_a_step_is_in_its_trace),
		cmocka_unit_test(kernels_lie_inside_their_step),
		cmocka_unit_test(launches_stay_in_a_row_though_clocks_do_not),
		cmocka_unit_test(nobody_is_told_where_nobody_listens),
		cmocka_unit_test(strange_names_are_json_too),
		cmocka_unit_test(a_file_that_cannot_be_made_is_refused_at_once),
		cmocka_unit_test(a_disk_that_is_full_is_said_at_the_end),
		cmocka_unit_test(what_was_flushed_is_whole_whoever_dies),
		cmocka_unit_test(a_signal_s_handler_gives_the_file_its_name),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
