/* SPDX-License-Identifier: MIT */
/*
 * prove: what a device's test has shown is remembered, good or bad, and nothing else is. The test
 * itself is played by a script that adds a line to a file each time.
 */
#include <sched.h>
#include "fake_sherd.h"
#include "infer/cl/cl_exec.h"
#include "infer/cl/cl_selftest.h"
#include "infer/infer.h"
#include "infer/cl/cl_weights.h"
#include "infer/ref/ref.h"
#include "tiny_model.h"

#define LOG "echo \"$*\" >>\"$XDG_CACHE_HOME/log\"; "

static char notes[4096];
static cpu_set_t all_cpus;

static void on_note(void *ctx, const char *sentence)
{
	(void)ctx;
	strncat(notes, sentence, sizeof(notes) - strlen(notes) - 2);
	strcat(notes, "\n");
}

static int set_up(void **state)
{
	cpu_set_t one;
	int cpu;

	if (fake_sherd_set_up(state))
		return -1;
	setenv("XDG_CACHE_HOME", dir, 1);
	/* one CPU, one child: it gets all programs */
	if (sched_getaffinity(0, sizeof(one), &one))
		return -1;
	all_cpus = one;
	for (cpu = 0; !CPU_ISSET(cpu, &one); cpu++)
		;
	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

static int forget(void **state)
{
	(void)state;
	fake_sherd_forget();
	notes[0] = 0;
	return 0;
}

static void open_cl(struct sherd_cl *c, const char *device, const char *programs)
{
	struct sherd_error err;

	if (sherd_cl_open(c, device, 1, &err)) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	assert_int_equal(sherd_cl_add_list(c, programs, &err), 0);
}

static int prove_for(double limit, const char *device, const char *programs,
		     struct sherd_error *err)
{
	struct sherd_exec_params p = { .n_threads = 1, .note = on_note };
	struct sherd_cl c;
	int rc;

	open_cl(&c, device, programs);
	rc = sherd_cl_prove(&c, &p, limit, err);
	sherd_cl_close(&c);
	return rc;
}

/* What a start on @device does before it computes. */
static int prove(const char *device, const char *programs, struct sherd_error *err)
{
	return prove_for(60, device, programs, err);
}

static void what_failed_fails_at_once_from_then_on(void **state)
{
	const char *scripts[] = { LOG "echo no such instruction >&2; exit 3", LOG "kill -SEGV $$" };
	struct sherd_error first, err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(scripts); i++) {
		forget(state);
		fake_sherd(scripts[i]);
		assert_int_equal(prove("auto", "rows", &first), -EBADE);
		assert_int_equal(fake_sherd_runs(), 1);
		notes[0] = 0;
		assert_int_equal(prove("auto", "rows", &err), -EBADE);
		assert_int_equal(fake_sherd_runs(), 1);
		assert_string_equal(notes, ""); /* no "first use" */
		assert_int_equal(strncmp(err.msg, first.msg, strlen(first.msg)), 0);
		assert_non_null(strstr(err.msg, "earlier start; to try again: sherd device-test "
						"--device \"auto\" --programs rows"));
	}
}

/* ... unless somebody would wait for longer. */
static void what_hung_is_waited_for_once(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd(LOG "sleep 60");
	assert_int_equal(prove_for(2, "auto", "rows", &err), -ETIMEDOUT);
	assert_int_equal(fake_sherd_runs(), 1);
	assert_int_equal(prove_for(2, "auto", "rows", &err), -ETIMEDOUT);
	assert_int_equal(fake_sherd_runs(), 1);
	assert_non_null(strstr(err.msg, "hung: ended after 2 s (at an earlier start; to try again: "
					"sherd device-test --device \"auto\" --programs rows, or "
					"sherd devices --forget)"));
	assert_int_equal(sherd_cl_recall("auto", 1, "rows", 2, &err), -ETIMEDOUT);
	assert_int_equal(sherd_cl_recall("auto", 1, "rows", 2.5, &err), 0);
	assert_int_equal(sherd_cl_recall("auto", 1, "attention.0.8", 2, &err), 0);
	assert_int_equal(prove_for(2.5, "auto", "rows", &err), -ETIMEDOUT);
	assert_int_equal(fake_sherd_runs(), 2);
	fake_sherd(LOG "exit 0");
	assert_int_equal(prove_for(0, "auto", "rows", &err), -ETIMEDOUT); /* tests nothing */
	assert_int_equal(fake_sherd_runs(), 2);
	assert_int_equal(prove("auto", "rows", &err), 0);
}

/* "once" is said where it is true. */
static void where_nothing_can_be_kept_each_start_tests_and_says_so(void **state)
{
	struct sherd_error err;
	int i;

	(void)state;
	fake_sherd("exit 0");
	setenv("XDG_CACHE_HOME", "/dev/null", 1);
	for (i = 0; i < 2; i++) {
		notes[0] = 0;
		assert_int_equal(prove("auto", "rows", &err), 0);
		assert_non_null(strstr(notes,
				       "testing 1 kernel program, at each start: there is no "
				       "cache folder"));
		assert_null(strstr(notes, "once"));
	}
	setenv("XDG_CACHE_HOME", dir, 1);
	notes[0] = 0;
	assert_int_equal(prove("auto", "rows", &err), 0);
	assert_non_null(strstr(notes, "first use: compiling and testing 1 kernel program, once"));
}

static void what_is_forgotten_is_what_failed_and_not_what_passed(void **state)
{
	char key[SHERD_SHA256_HEX], want[512];
	struct sherd_error err;
	struct sherd_cl c;
	int n;

	(void)state;
	fake_sherd(LOG "echo other bits >&2; exit 3");
	assert_int_equal(prove("auto", "rows", &err), -EBADE);
	open_cl(&c, "auto", "attention.0.8");
	assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[0], key), 0);
	notes[0] = 0;
	sherd_device_each_failure(on_note, NULL);
	snprintf(want, sizeof(want), "%s (driver %s), rows: the device's test failed: other bits",
		 c.dev->info.name, c.dev->info.driver);
	assert_int_equal(strncmp(notes, want, strlen(want)), 0);
	sherd_cl_close(&c);
	sherd_device_verdict_put(key, SHERD_PASSED, NULL);
	assert_int_equal(sherd_device_forget(&n, &err), 0);
	assert_int_equal(n, 1);
	notes[0] = 0;
	sherd_device_each_failure(on_note, NULL);
	assert_string_equal(notes, "");
	fake_sherd(LOG "exit 0");
	assert_int_equal(prove("auto", "rows,attention.0.8", &err), 0);
	assert_int_equal(fake_sherd_runs(), 2);
	assert_int_equal(sherd_device_forget(&n, &err), 0);
	assert_int_equal(n, 0);
}

static void another_key_is_tried_again(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd(LOG "exit 3");
	assert_int_equal(prove("auto/wide", "rows", &err), -EBADE);
	assert_int_equal(prove("auto/simt", "rows", &err), -EBADE); /* other options */
	assert_int_equal(fake_sherd_runs(), 2);
	assert_int_equal(prove("auto/wide", "attention.0.8", &err), -EBADE); /* another source */
	assert_int_equal(fake_sherd_runs(), 3);
}

static void a_test_that_could_not_be_done_is_done_again(void **state)
{
	const char *scripts[] = { LOG "kill -KILL $$", LOG "exit 1" };
	struct sherd_error err;
	size_t i;

	for (i = 0; i < ARRAY_SIZE(scripts); i++) {
		forget(state);
		fake_sherd(scripts[i]);
		assert_int_equal(prove("auto", "rows", &err), -EIO);
		assert_int_equal(prove("auto", "rows", &err), -EIO);
		assert_int_equal(fake_sherd_runs(), 2);
	}
}

/*
 * Of three programs the first passes before the child dies: the second is to blame, the third
 * untested.
 */
static void the_program_that_failed_is_the_one_that_is_remembered(void **state)
{
	struct sherd_error err;
	char key[SHERD_SHA256_HEX], *script;
	struct sherd_cl c;

	(void)state;
	open_cl(&c, "auto", "rows");
	assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[0], key), 0);
	sherd_cl_close(&c);
	script = sherd_asprintf(LOG "echo passed >\"$XDG_CACHE_HOME/sherd/device/%s.txt\"; exit 3",
				key);
	fake_sherd(script);
	free(script);
	assert_int_equal(prove("auto", "rows,attention.0.8,int.8.32.0.0", &err), -EBADE);
	fake_sherd(LOG "exit 0");
	assert_int_equal(prove("auto", "rows", &err), 0);
	assert_int_equal(fake_sherd_runs(), 1);
	assert_int_equal(prove("auto", "int.8.32.0.0", &err), 0);
	assert_int_equal(fake_sherd_runs(), 2);
	assert_int_equal(prove("auto", "attention.0.8", &err), -EBADE);
	assert_int_equal(fake_sherd_runs(), 2);
}

static void a_broken_verdict_is_none(void **state)
{
	const char *broken[] = { "", "failed", "failed: cut off in the mid", "passed",
				 "passed\n\n" };
	struct sherd_error err;
	struct sherd_cl c;
	char key[SHERD_SHA256_HEX];
	size_t i;

	(void)state;
	fake_sherd(LOG "exit 0");
	open_cl(&c, "auto", "rows");
	assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[0], key), 0);
	sherd_cl_close(&c);
	for (i = 0; i < ARRAY_SIZE(broken); i++) {
		sherd_device_verdict_put(key, broken[i], NULL);
		assert_int_equal(prove("auto", "rows", &err), 0);
		assert_int_equal(fake_sherd_runs(), (int)i + 1);
	}
	sherd_device_verdict_put(key, SHERD_PASSED, NULL); /* as sherd device-test leaves it */
	assert_int_equal(prove("auto", "rows", &err), 0);
	assert_int_equal(fake_sherd_runs(), (int)i);
}

/* The process may run on @n CPUs from now on. */
static void run_on(int n)
{
	cpu_set_t set;
	int cpu, k = 0;

	CPU_ZERO(&set);
	for (cpu = 0; cpu < CPU_SETSIZE && k < n; cpu++)
		if (CPU_ISSET(cpu, &all_cpus)) {
			CPU_SET(cpu, &set);
			k++;
		}
	if (k < n) {
		print_message("skipped: %d CPUs are needed\n", n);
		skip();
	}
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
}

static int one_cpu(void **state)
{
	run_on(1);
	return forget(state);
}

#define WALK "walk.4.32.0.0.0.32"

/* And PoCL, whose count of threads is in the environment of who starts the test, hears of it. */
static void walks_are_tested_with_all_cpus_whatever_was_asked_for(void **state)
{
	struct sherd_error err;
	char *path = in_dir("log"), *log;
	size_t len;

	(void)state;
	run_on(2);
	fake_sherd("echo \"$* count ${POCL_MAX_PTHREAD_COUNT-none}.\" >>\"$XDG_CACHE_HOME/log\"");
	assert_int_equal(prove("auto", "rows," WALK, &err), 0); /* asks for one thread */
	assert_int_equal(sherd_read_file(path, 4096, &log, &len, &err), 0);
	assert_non_null(strstr(log, "--programs rows --threads 1 count none."));
	assert_non_null(strstr(log, "--programs " WALK " --threads 2 count none."));
	free(log);
	free(path);
}

static bool is_proven(const char *device, const char *program)
{
	char key[SHERD_SHA256_HEX], *verdict;
	struct sherd_cl c;

	open_cl(&c, device, program);
	assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[0], key), 0);
	sherd_cl_close(&c);
	verdict = sherd_device_verdict_get(key);
	free(verdict);
	return verdict != NULL;
}

static void what_few_workers_have_shown_of_a_walk_is_not_remembered(void **state)
{
	struct sherd_error err;

	(void)state;
	setenv("PATH", real_path, 1); /* no command: the test runs here, with the one thread */
	if (prove("cpu", "rows," WALK, &err))
		fail_msg("%s", err.msg);
	assert_true(is_proven("cpu", "rows"));
	assert_true(is_proven("cpu", WALK)); /* there is one CPU */
	forget(state);
	run_on(2);
	assert_false(is_proven("cpu", WALK));
	assert_int_equal(prove("cpu", "rows," WALK, &err), 0);
	assert_true(is_proven("cpu", "rows"));
	assert_false(is_proven("cpu", WALK));
	run_on(1);
	assert_int_equal(prove("cpu", WALK, &err), 0);
	assert_true(is_proven("cpu", WALK));
	run_on(2);
	assert_false(is_proven("cpu", WALK)); /* another number of CPUs, another test */
}

static struct sherd_model *open_tiny(const char *path, bool untested)
{
	struct sherd_model_params p = {
		.n_threads = 1, .no_cache = true, .untested = untested, .note = on_note
	};
	struct sherd_error err;
	struct sherd_model *m;

	notes[0] = 0;
	if (sherd_model_open(&m, path, &p, &err))
		fail_msg("%s", err.msg);
	return m;
}

static void a_path_that_failed_gives_way_to_plain_code_and_each_start_says_so(void **state)
{
	struct sherd_cl c;
	char *path;
	bool plain;
	int n;

	(void)state;
	open_cl(&c, "auto", "rows");
	plain = !strcmp(c.dev->dot, "plain");
	sherd_cl_close(&c);
	if (plain) {
		print_message("skipped: there is only plain code here\n");
		skip();
	}
	fake_sherd(LOG "case $3 in */plain) exit 0 ;; esac; exit 3");
	path = tiny_model_write(&tiny_models[0]);
	sherd_model_close(open_tiny(path, false));
	assert_non_null(strstr(notes, "plain code takes its place"));
	n = fake_sherd_runs();
	fake_sherd(LOG "case $3 in */plain) exit 0 ;; esac; echo again >&2; exit 3");
	sherd_model_close(open_tiny(path, false));
	assert_non_null(strstr(notes, "plain code takes its place"));
	assert_non_null(strstr(notes, "at an earlier start"));
	assert_null(strstr(notes, "again\n"));
	assert_int_equal(fake_sherd_runs(), n + 1); /* the plain one's: the script keeps no verdict */
	unlink(path);
	free(path);
}

/* As if all programs of the model at @path had passed. */
static void pass_all(const char *path, const char *device)
{
	struct sherd_model_params p = { .n_threads = 1, .no_cache = true, .untested = true,
					.device = device, .tune = "none" };
	char key[SHERD_SHA256_HEX];
	struct sherd_error err;
	struct sherd_model *m;
	struct sherd_cl *c;
	int i;

	if (sherd_model_open(&m, path, &p, &err))
		fail_msg("%s", err.msg);
	c = &((struct cl_exec *)m->exec)->c;
	for (i = 0; i < c->n_programs; i++) {
		assert_int_equal(sherd_cl_verdict_key(c, &c->programs[i], key), 0);
		assert_int_equal(sherd_device_verdict_put(key, SHERD_PASSED, &err), 0);
	}
	sherd_model_close(m);
}

/* Plain code passes; it hangs as well, in a fifth of the time; it is known to pass. */
static void a_path_that_hangs_gives_way_to_plain_code_and_is_waited_for_once(void **state)
{
	char *path = tiny_model_write(&tiny_models[0]);
	struct sherd_cl c;
	bool plain;
	int i;

	(void)state;
	open_cl(&c, "auto", "rows");
	plain = !strcmp(c.dev->dot, "plain") || !c.dev->info.is_cpu;
	sherd_cl_close(&c);
	if (plain) {
		unlink(path);
		free(path);
		print_message("skipped: there is no other path than plain code here\n");
		skip();
	}
	setenv("SHERD_DEVICE_TIMEOUT", "5", 1);
	fake_sherd(LOG "case $3 in */plain) exit 0 ;; esac; sleep 60");
	sherd_model_close(open_tiny(path, false));
	assert_non_null(strstr(notes, "plain code takes its place: the device's test hung: ended after "
				      "5 s"));
	assert_int_equal(fake_sherd_runs(), 2);
	fake_sherd(LOG "sleep 60"); /* the other script has left no verdict of plain code */
	for (i = 0; i < 2; i++) {
		sherd_model_close(open_tiny(path, false));
		assert_non_null(strstr(notes, "plain C computes"));
		assert_non_null(strstr(notes, "hung: ended after 1 s"));
		assert_int_equal(fake_sherd_runs(), 3);
	}
	assert_non_null(strstr(notes, "at an earlier start; to try again"));
	pass_all(path, "cpu/plain/wide");
	sherd_model_close(open_tiny(path, false));
	assert_non_null(strstr(notes, "plain code takes its place: "));
	assert_non_null(strstr(notes, "at an earlier start"));
	assert_int_equal(fake_sherd_runs(), 3);
	unsetenv("SHERD_DEVICE_TIMEOUT");
	unlink(path);
	free(path);
}

/* All programs have passed but the one that walks, which the script fails. */
static void a_walk_program_that_failed_costs_speed_and_a_remark_and_no_more(void **state)
{
	char key[SHERD_SHA256_HEX], *path;
	struct sherd_cl c;
	bool walks;
	int i;

	(void)state;
	open_cl(&c, "auto", "rows,attention.0.32.4,int.4.32.0.0,int.8.32.0.0");
	for (i = 0; i < c.n_programs; i++) {
		assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[i], key), 0);
		sherd_device_verdict_put(key, SHERD_PASSED, NULL);
	}
	walks = c.dev->info.is_cpu;
	sherd_cl_close(&c);
	if (!walks) {
		print_message("skipped: no walks on this device\n");
		skip();
	}
	fake_sherd(LOG "echo another sum; exit 3");
	path = tiny_model_write(&tiny_models[0]);
	for (i = 0; i < 2; i++) {
		sherd_model_close(open_tiny(path, false));
		assert_non_null(strstr(notes, "each step is a launch"));
		assert_null(strstr(notes, "plain code"));
	}
	assert_non_null(strstr(notes, "at an earlier start"));
	assert_int_equal(fake_sherd_runs(), 1);
	unlink(path);
	free(path);
}

/* The variant's test fails, the default's has passed. */
/* Nobody knows yet of the default whether it passes: it has a fifth of the time. */
static void a_tuned_kernel_that_hangs_gives_way_to_the_default(void **state)
{
	char *path = tiny_model_write(&tiny_models[0]), *tune = in_dir("x.tune");
	struct sherd_model_params p = { .n_threads = 1,
					.no_cache = true,
					.note = on_note,
					.device = "cpu/wide",
					.tune = tune };
	char key[SHERD_SHA256_HEX];
	struct sherd_error err;
	struct sherd_model *m;
	struct sherd_cl c;
	int i;

	(void)state;
	open_cl(&c, "cpu/wide", "int.4.32.0.0");
	pass_all(path, "cpu/wide");
	assert_int_equal(sherd_cl_verdict_key(&c, &c.programs[0], key), 0);
	assert_int_equal(sherd_device_verdict_put(key, "", &err), 0);
	sherd_cl_close(&c);
	setenv("SHERD_DEVICE_TIMEOUT", "5", 1);
	write_file("x.tune", "sherd-tune 1\nshape wide\nkernels any\nuse int.* * * kernel=8\n");
	fake_sherd(LOG "case \"$*\" in *kernel=8*) sleep 60 ;; esac; exit 0");
	for (i = 0; i < 2; i++) {
		notes[0] = 0;
		if (sherd_model_open(&m, path, &p, &err))
			fail_msg("%s", err.msg);
		assert_non_null(strstr(notes,
				       "a tuned kernel fails here, and the defaults take their "
				       "place: the device's test hung: ended after 5 s"));
		assert_null(strstr(notes, "plain code"));
		sherd_model_close(m);
		/* the script leaves no verdict of what passes: that is tested each time */
		assert_int_equal(fake_sherd_runs(), 2 + i);
	}
	unsetenv("SHERD_DEVICE_TIMEOUT");
	unlink(path);
	free(path);
	free(tune);
}

static void a_tuned_kernel_that_fails_gives_way_to_the_default(void **state)
{
	char *path = tiny_model_write(&tiny_models[0]), *tune = in_dir("x.tune");
	struct sherd_model_params p = { .n_threads = 1, .no_cache = true, .note = on_note,
					.device = "cpu/wide", .tune = tune };
	struct sherd_error err;
	struct sherd_model *m;
	struct sherd_cl c;

	(void)state;
	open_cl(&c, "cpu", "rows"); /* is there a device? */
	sherd_cl_close(&c);
	write_file("x.tune", "sherd-tune 1\nshape wide\nkernels any\nuse int.* * * kernel=8\n");
	fake_sherd(LOG "case \"$*\" in *kernel=8*) echo other bits >&2; exit 3;; esac");
	pass_all(path, "cpu/wide");
	notes[0] = 0;
	if (sherd_model_open(&m, path, &p, &err))
		fail_msg("%s", err.msg);
	assert_non_null(strstr(notes, "a tuned kernel fails here, and the defaults take their "
				      "place: "));
	assert_non_null(strstr(notes, "other bits"));
	assert_string_equal(sherd_model_info(m)->tune, "");
	sherd_model_close(m);
	unlink(path);
	free(path);
	free(tune);
}

static void an_untested_device_has_no_profile(void **state)
{
	char *path = tiny_model_write(&tiny_models[0]), want[SHERD_SHA256_HEX];
	struct sherd_model *m;
	struct sherd_cl c;

	(void)state;
	open_cl(&c, "auto", "rows");
	sherd_cl_close(&c);
	fake_sherd(LOG "exit 0");
	sherd_ref_bit_profile(want);
	m = open_tiny(path, false);
	assert_string_equal(sherd_model_info(m)->bit_profile, want);
	sherd_model_close(m);
	m = open_tiny(path, true);
	assert_string_equal(sherd_model_info(m)->bit_profile, SHERD_UNTESTED);
	sherd_model_close(m);
	unlink(path);
	free(path);
}

/* A program that lost a kernel gives no bits: whether anybody looks, shows. */
static void that_programs_give_the_references_bits_is_found_out_once(void **state)
{
	char want[SHERD_SHA256_HEX], got[SHERD_SHA256_HEX];
	struct sherd_error err;
	struct sherd_cl c;
	cl_kernel lost;

	sherd_ref_bit_profile(want);
	open_cl(&c, "auto", "rows,int.8.32.0.0");
	assert_int_equal(sherd_cl_build(&c, &err), 0);
	assert_int_equal(sherd_cl_bit_profile(&c, false, got, &err), 0);
	assert_string_equal(got, want);
	lost = c.programs[0].kernel[SHERD_K_EMBED];
	c.programs[0].kernel[SHERD_K_EMBED] = NULL;
	strcpy(got, "");
	assert_int_equal(sherd_cl_bit_profile(&c, false, got, &err), 0);
	assert_string_equal(got, want);
	assert_int_equal(sherd_cl_bit_profile(&c, true, got, &err), 0);
	assert_string_equal(got, SHERD_UNTESTED);
	c.n_programs--; /* other programs are another question */
	assert_int_not_equal(sherd_cl_bit_profile(&c, false, got, &err), 0);
	c.n_programs++;
	forget(state);
	assert_int_not_equal(sherd_cl_bit_profile(&c, false, got, &err), 0);
	c.programs[0].kernel[SHERD_K_EMBED] = lost;
	sherd_cl_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(what_failed_fails_at_once_from_then_on, forget),
		cmocka_unit_test_setup(what_hung_is_waited_for_once, forget),
		cmocka_unit_test_setup(where_nothing_can_be_kept_each_start_tests_and_says_so,
				       forget),
		cmocka_unit_test_setup(what_is_forgotten_is_what_failed_and_not_what_passed,
				       forget),
		cmocka_unit_test_setup(another_key_is_tried_again, forget),
		cmocka_unit_test_setup(a_test_that_could_not_be_done_is_done_again, forget),
		cmocka_unit_test_setup(the_program_that_failed_is_the_one_that_is_remembered,
				       forget),
		cmocka_unit_test_setup(a_broken_verdict_is_none, forget),
		cmocka_unit_test_setup_teardown(
			walks_are_tested_with_all_cpus_whatever_was_asked_for, forget, one_cpu),
		cmocka_unit_test_setup_teardown(
			what_few_workers_have_shown_of_a_walk_is_not_remembered, forget, one_cpu),
		cmocka_unit_test_setup(
			a_path_that_failed_gives_way_to_plain_code_and_each_start_says_so, forget),
		cmocka_unit_test_setup(
			a_path_that_hangs_gives_way_to_plain_code_and_is_waited_for_once, forget),
		cmocka_unit_test_setup(
			a_walk_program_that_failed_costs_speed_and_a_remark_and_no_more, forget),
		cmocka_unit_test_setup(a_tuned_kernel_that_hangs_gives_way_to_the_default, forget),
		cmocka_unit_test_setup(a_tuned_kernel_that_fails_gives_way_to_the_default, forget),
		cmocka_unit_test_setup(an_untested_device_has_no_profile, forget),
		cmocka_unit_test_setup(that_programs_give_the_references_bits_is_found_out_once,
				       forget),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
