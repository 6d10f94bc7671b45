/* SPDX-License-Identifier: MIT */
/*
 * choose: of several devices the one that multiplies fastest is taken, once and for all, and
 * whoever crashes is out. PoCL plays two devices, a script how fast they are.
 */
#include <sys/time.h>
#include "fake_sherd.h"
#include "device/device.h"
#include "infer/infer.h"
#include "tiny_model.h"

#define LOG	    "echo \"$*\" >>\"$XDG_CACHE_HOME/log\"; "
#define TIMES(s)    "for i in 1 2 3 4; do echo " s " " s " 0; done;; "
#define ON(device)  "*\"--device " device "\"*) "
#define PLAY(cases) LOG "case \"$*\" in " cases "*) exit 3;; esac"

static char notes[4096];
static struct sherd_model *model;

static void on_note(void *ctx, const char *sentence)
{
	(void)ctx;
	strncat(notes, sentence, sizeof(notes) - strlen(notes) - 2);
	strcat(notes, "\n");
}

static int set_up(void **state)
{
	if (fake_sherd_set_up(state))
		return -1;
	setenv("XDG_CACHE_HOME", dir, 1);
	setenv("POCL_DEVICES", "basic pthread", 1); /* before there is a platform */
	return 0;
}

static int tear_down(void **state)
{
	sherd_model_close(model);
	free(real_path);
	return scratch_remove(state);
}

static int forget(void **state)
{
	(void)state;
	fake_sherd_forget();
	return 0;
}

static void open_model(void)
{
	struct sherd_model_params p = { .no_cache = true, .device = "reference" };
	char *path = tiny_model_write(&tiny_models[0]);
	struct sherd_device_info *list;
	struct sherd_error err;
	int n = 0;

	if (sherd_device_list(&list, &n, &err) || n != 2) {
		print_message("skipped: there are no two devices to play with\n");
		skip();
	}
	sherd_device_list_free(list, n);
	if (!model && sherd_model_open(&model, path, &p, &err))
		fail_msg("%s", err.msg);
	unlink(path);
	free(path);
}

static struct sherd_exec_choice choose_by(const char *script, int n_threads)
{
	struct sherd_exec_params p = { .n_threads = n_threads, .note = on_note };
	struct sherd_exec_choice choice;

	open_model();
	p.program = model->program;
	notes[0] = 0;
	fake_sherd(script);
	sherd_exec_choose(&p, &choice);
	return choice;
}

static struct sherd_exec_choice choose(const char *script)
{
	return choose_by(script, 2);
}

/* Does the second device have another path of dot4.h than plain code? */
static bool has_path(void)
{
	struct sherd_device_info *list;
	bool has = false;
	int n;

	if (!sherd_device_list(&list, &n, NULL)) {
		has = n > 1 && strcmp(sherd_dot_choose(&list[1], NULL, NULL), "plain");
		sherd_device_list_free(list, n);
	}
	return has;
}

static void the_faster_device_is_taken_and_why_is_said(void **state)
{
	const char *script = PLAY(ON("0") TIMES("1e-3") ON("1") TIMES("4e-3"));
	struct sherd_exec_choice first, again;

	(void)state;
	first = choose(script);
	assert_string_equal(first.device, "0");
	assert_non_null(strstr(first.why, " GB/s against "));
	assert_non_null(strstr(first.why, " on pthread"));
	assert_non_null(strstr(first.why, "4.0 times as fast at decode"));
	assert_non_null(strstr(notes, "2 devices could compute this"));
	assert_int_equal(fake_sherd_runs(), 2);
	again = choose(script);
	assert_string_equal(again.device, "0");
	assert_string_equal(again.why, first.why);
	assert_string_equal(notes, "");
	assert_int_equal(fake_sherd_runs(), 2); /* it was known */
}

static void a_tie_leaves_the_device_that_ranks_first(void **state)
{
	(void)state;
	assert_string_equal(choose(PLAY(ON("0") TIMES("1.00e-3") ON("1") TIMES("1.02e-3"))).device,
			    "1");
}

static void a_device_that_fails_is_out_with_a_line(void **state)
{
	struct sherd_exec_choice c =
		choose(PLAY(ON("0") TIMES("1") ON("1") "kill -SEGV $$;; "
						       "*\"--device 1/plain\"*) kill -SEGV $$;; "));

	(void)state;
	assert_string_equal(c.device, "0");
	assert_non_null(strstr(c.why, "the only one"));
	assert_non_null(strstr(notes, "is not used: the device's test crashed"));
	assert_int_equal(fake_sherd_runs(), has_path() ? 3 : 2); /* plain code has had its chance */
	c = choose(LOG "exit 1");
	assert_string_equal(c.device, "0");
	assert_int_equal(fake_sherd_runs(), has_path() ? 3 : 2);
	assert_non_null(strstr(notes, " is not used: the device's test crashed (Segmentation fault) (at "
				      "an earlier start; to try again: sherd devices --forget)"));
}

/*
 * A choice is another one for another number of threads; what hangs is known from the first. Plain code
 * has a fifth of the time.
 */
static void a_device_that_hangs_is_waited_for_once(void **state)
{
	const char *script = PLAY(ON("0") TIMES("1e-3") "*\"--device 1\"*) sleep 60;; ");
	const int waits = has_path() ? 2 : 1;
	int i;

	(void)state;
	setenv("SHERD_DEVICE_TIMEOUT", "5", 1);
	assert_string_equal(choose_by(script, 2).device, "0");
	assert_non_null(strstr(notes, " is not used: the device's test hung: ended after "));
	assert_int_equal(fake_sherd_runs(), 1 + waits);
	for (i = 0; i < 2; i++) {
		assert_string_equal(choose_by(script, 1).device, "0");
		assert_non_null(strstr(notes, " s (at an earlier start; to try again: "));
		assert_int_equal(fake_sherd_runs(), 2 + waits);
	}
	unsetenv("SHERD_DEVICE_TIMEOUT");
}

static void a_choice_is_forgotten_when_somebody_says_so(void **state)
{
	const char *script = PLAY(ON("0") TIMES("1e-3") ON("1") TIMES("4e-3"));
	struct sherd_error err;
	int n;

	(void)state;
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(sherd_device_forget(&n, &err), 0);
	assert_int_equal(n, 1);
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(fake_sherd_runs(), 4);
}

static void a_path_that_fails_is_measured_as_plain_code(void **state)
{
	(void)state;
	assert_string_equal(choose(PLAY("*\"--device 0/plain\"*) " TIMES("1e-3") ON("1")
						TIMES("4e-3") ON("0") "exit 3;; "))
				    .device,
			    "0");
}

static void where_none_can_be_measured_all_is_as_usual(void **state)
{
	(void)state;
	assert_string_equal(choose(LOG "exit 3").device, "");
	assert_string_equal(choose(LOG "echo nonsense").device, "");
}

/* Everything that is known was found out two hours ago. */
static int make_old(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	const time_t then = st->st_mtime - 7200;
	const struct timeval times[2] = { { .tv_sec = then }, { .tv_sec = then } };

	(void)type;
	(void)ftw;
	return utimes(path, times);
}

static void what_may_pass_is_measured_again_after_an_hour(void **state)
{
	const char *script = PLAY(ON("0") TIMES("1e-3") ON("1") "kill -KILL $$;; ");
	char *verdicts = in_dir("sherd/device");

	(void)state;
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(fake_sherd_runs(), 2);
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(fake_sherd_runs(), 2); /* each start would take seconds */
	assert_int_equal(nftw(verdicts, make_old, 8, FTW_PHYS), 0);
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(fake_sherd_runs(), 4);
	free(verdicts);
}

static void what_a_device_is_by_itself_does_not_age(void **state)
{
	const char *script = PLAY(ON("0") TIMES("1e-3") ON("1") TIMES("4e-3"));
	char *verdicts = in_dir("sherd/device");

	(void)state;
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(nftw(verdicts, make_old, 8, FTW_PHYS), 0);
	assert_string_equal(choose(script).device, "0");
	assert_int_equal(fake_sherd_runs(), 2);
	free(verdicts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(the_faster_device_is_taken_and_why_is_said, forget),
		cmocka_unit_test_setup(a_tie_leaves_the_device_that_ranks_first, forget),
		cmocka_unit_test_setup(a_device_that_fails_is_out_with_a_line, forget),
		cmocka_unit_test_setup(a_device_that_hangs_is_waited_for_once, forget),
		cmocka_unit_test_setup(a_choice_is_forgotten_when_somebody_says_so, forget),
		cmocka_unit_test_setup(a_path_that_fails_is_measured_as_plain_code, forget),
		cmocka_unit_test_setup(where_none_can_be_measured_all_is_as_usual, forget),
		cmocka_unit_test_setup(what_may_pass_is_measured_again_after_an_hour, forget),
		cmocka_unit_test_setup(what_a_device_is_by_itself_does_not_age, forget),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
