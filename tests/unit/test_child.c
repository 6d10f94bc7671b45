/* SPDX-License-Identifier: MIT */
/* child: the process that tries a device out first, played by a shell script named sherd. */
#include <signal.h>
#include "device/device.h"
#include "fake_sherd.h"

static void a_childs_output_and_arguments_arrive(void **state)
{
	const char *args[] = { "a b", "--limits", NULL };
	char *text;

	(void)state;
	fake_sherd("[ $# = 3 ] && printf '%s|' \"$@\"");
	assert_int_equal(sherd_device_child_text(args, 20, -1, &text, NULL), 0);
	assert_string_equal(text, "device-test|a b|--limits|");
	free(text);
	assert_int_equal(sherd_device_child(args, 20, NULL), 0);
}

static void a_failing_child_is_quoted_by_its_last_line(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd("echo first >&2; echo 'sherd device-test: rope differs at 3' >&2; exit 1");
	assert_int_equal(sherd_device_child(NULL, 20, &err), -EIO);
	assert_non_null(strstr(err.msg, "could not be done (exit code 1)"));
	assert_non_null(strstr(err.msg, "rope differs at 3"));
	assert_null(strstr(err.msg, "first"));
}

static void a_crashing_child_is_named_by_its_signal(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd("kill -SEGV $$");
	assert_int_equal(sherd_device_child(NULL, 20, &err), -EBADE);
	assert_non_null(strstr(err.msg, "crashed (Segmentation fault)"));
	fake_sherd("kill -KILL $$"); /* which says nothing about the device */
	assert_int_equal(sherd_device_child(NULL, 20, &err), -EIO);
	assert_non_null(strstr(err.msg, "was ended from outside (Killed, as a kernel does"));
}

static void a_child_whose_device_fails_says_so_by_its_exit_code(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd("echo other bits >&2; exit 3");
	assert_int_equal(sherd_device_child(NULL, 20, &err), -EBADE);
	assert_string_equal(err.msg, "the device's test failed: other bits");
}

/* ... together with what it has started, and although it closed its stderr. */
static void a_hanging_child_is_ended_when_its_time_is_up(void **state)
{
	const char *scripts[] = { "sleep 60", "exec 2>&-; sleep 60" };
	struct sherd_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(scripts); i++) {
		double start = sherd_now();

		fake_sherd(scripts[i]);
		assert_int_equal(sherd_device_child(NULL, 0.3, &err), -ETIMEDOUT);
		assert_true(sherd_now() - start < 20);
		assert_non_null(strstr(err.msg, "hung"));
	}
}

/* One that was killed, and whose end nobody has asked for yet, is none that runs. */
static bool is_running(int pid)
{
	char *path = sherd_asprintf("/proc/%d/stat", pid), state = 'Z';
	FILE *f = fopen(path, "r");

	if (f && fscanf(f, "%*d %*s %c", &state) != 1)
		state = 'Z';
	if (f)
		fclose(f);
	free(path);
	return state != 'Z' && state != 'X';
}

/* Processes whose numbers are in pids, a line each; @n of them, of which none is there any more. */
static void assert_gone(int n)
{
	char *path = in_dir("pids");
	FILE *f = fopen(path, "r");
	int pid, found = 0;

	assert_non_null(f);
	for (; fscanf(f, "%d", &pid) == 1; found++) {
		double start = sherd_now();

		while (is_running(pid) && sherd_now() - start < 20)
			usleep(1000);
		assert_false(is_running(pid));
	}
	fclose(f);
	unlink(path);
	free(path);
	assert_int_equal(found, n);
}

#define TWO "sleep 60 >&- 2>&- & echo $$ $! >$XDG_CACHE_HOME/pids; "

static void nothing_stays_of_what_a_child_has_started(void **state)
{
	char *text, *script;
	int stop[2];

	(void)state;
	setenv("XDG_CACHE_HOME", dir, 1);
	fake_sherd(TWO "wait"); /* it hangs */
	assert_int_equal(sherd_device_child(NULL, 0.5, NULL), -ETIMEDOUT);
	assert_gone(2);
	fake_sherd(TWO "exit 0"); /* it ends well, and leaves somebody behind */
	assert_int_equal(sherd_device_child(NULL, 20, NULL), 0);
	assert_gone(2);
	fake_sherd(TWO "kill -SEGV $$"); /* it crashes */
	assert_int_equal(sherd_device_child(NULL, 20, NULL), -EBADE);
	assert_gone(2);
	assert_int_equal(pipe(stop), 0); /* it is called off */
	script = sherd_asprintf(TWO "echo ! >/proc/$$/fd/%d; wait", stop[1]);
	fake_sherd(script);
	assert_int_equal(sherd_device_child_text(NULL, 50, stop[0], &text, NULL), -ECANCELED);
	assert_gone(2);
	free(script);
	close(stop[0]);
	close(stop[1]);
}

static void a_child_that_is_called_off_ends_at_once(void **state)
{
	double start = sherd_now();
	struct sherd_error err;
	char *text;
	int stop[2];

	(void)state;
	assert_int_equal(pipe(stop), 0);
	fake_sherd("echo begun; sleep 60");
	assert_int_equal(write(stop[1], "!", 1), 1);
	assert_int_equal(sherd_device_child_text(NULL, 50, stop[0], &text, &err), -ECANCELED);
	assert_true(sherd_now() - start < 20);
	assert_non_null(strstr(err.msg, "called off"));
	assert_null(text);
	close(stop[0]);
	close(stop[1]);
}

static void a_chatty_child_neither_blocks_nor_overflows(void **state)
{
	char *text;

	(void)state;
	fake_sherd(
		"head -c 300000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2");
	assert_int_equal(sherd_device_child_text(NULL, 20, -1, &text, NULL), 0);
	assert_true(strlen(text) < 70000);
	free(text);
}

/* ... which is what a process inherits from some daemons: a crash must not count as a pass. */
static void a_child_whose_end_nobody_knows_has_not_passed(void **state)
{
	struct sherd_error err;

	(void)state;
	fake_sherd("kill -SEGV $$");
	signal(SIGCHLD, SIG_IGN);
	assert_int_equal(sherd_device_child(NULL, 20, &err), -EIO);
	signal(SIGCHLD, SIG_DFL);
	assert_non_null(strstr(err.msg, "SIGCHLD"));
}

static void no_sherd_command_is_not_an_error_of_the_device(void **state)
{
	struct sherd_error err;

	(void)state;
	setenv("PATH", "/nonexistent", 1);
	assert_int_equal(sherd_device_child(NULL, 1, &err), -ENOENT);
	setenv("PATH", real_path, 1);
}

/* A driver's helper, say, that has the test's stderr and stays: what the test said is known. */
static void who_keeps_a_childs_pipes_open_is_not_waited_for(void **state)
{
	double start = sherd_now();
	struct sherd_error err;
	char *text;

	(void)state;
	setenv("XDG_CACHE_HOME", dir, 1);
	fake_sherd("sleep 60 & echo $$ $! >$XDG_CACHE_HOME/pids; exit 0");
	assert_int_equal(sherd_device_child(NULL, 50, &err), 0);
	assert_gone(2);
	fake_sherd("sleep 60 & echo $$ $! >$XDG_CACHE_HOME/pids; echo the answer; exit 0");
	assert_int_equal(sherd_device_child_text(NULL, 50, -1, &text, &err), 0);
	assert_string_equal(text, "the answer\n");
	free(text);
	assert_gone(2);
	fake_sherd("sleep 60 & echo $$ $! >$XDG_CACHE_HOME/pids; echo other bits >&2; exit 3");
	assert_int_equal(sherd_device_child(NULL, 50, &err), -EBADE);
	assert_string_equal(err.msg, "the device's test failed: other bits");
	assert_gone(2);
	assert_true(sherd_now() - start < 40);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_childs_output_and_arguments_arrive),
		cmocka_unit_test(a_failing_child_is_quoted_by_its_last_line),
		cmocka_unit_test(a_crashing_child_is_named_by_its_signal),
		cmocka_unit_test(a_child_whose_device_fails_says_so_by_its_exit_code),
		cmocka_unit_test(a_hanging_child_is_ended_when_its_time_is_up),
		cmocka_unit_test(nothing_stays_of_what_a_child_has_started),
		cmocka_unit_test(who_keeps_a_childs_pipes_open_is_not_waited_for),
		cmocka_unit_test(a_child_that_is_called_off_ends_at_once),
		cmocka_unit_test(a_chatty_child_neither_blocks_nor_overflows),
		cmocka_unit_test(a_child_whose_end_nobody_knows_has_not_passed),
		cmocka_unit_test(no_sherd_command_is_not_an_error_of_the_device),
	};

	return cmocka_run_group_tests(tests, fake_sherd_set_up, scratch_remove);
}
