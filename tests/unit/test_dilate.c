/* SPDX-License-Identifier: MIT */
/*
 * Slower boards, imitated: they take as many times as long as they are told to, and those that share a
 * file compute one at a time. Clocks are only asked for what they can't show too little of.
 */
#include <pthread.h>
#include <time.h>
#include "dilate.h"
#include "scratch.h"

enum { N_BOARDS = 4, N_STEPS = 50 };

/* Some work that takes processor time; returns how much. */
static double spin(void)
{
	double start = sherd_now(), now;

	do
		now = sherd_now();
	while (now - start < 2e-4);
	return now - start;
}

static void what_is_computed_takes_so_many_times_as_long(void **state)
{
	(void)state;
	for (int k = 1; k < 6; k++) {
		struct dilation d = { .factor = (float)k, .turns = -1 };
		double start = sherd_now(), took;

		dilate_begin(&d);
		took = spin();
		dilate_end(&d);
		assert_true(sherd_now() - start >= k * took);
	}
}

static struct board {
	pthread_t thread;
	struct dilation d;
	int steps;
} boards[N_BOARDS];

static int computing, most;

static void *run_board(void *arg)
{
	struct board *b = arg;

	for (; b->steps < N_STEPS; b->steps++) {
		int now;

		dilate_begin(&b->d);
		now = __atomic_add_fetch(&computing, 1, __ATOMIC_SEQ_CST);
		if (now > __atomic_load_n(&most, __ATOMIC_SEQ_CST))
			__atomic_store_n(&most, now, __ATOMIC_SEQ_CST);
		spin();
		__atomic_sub_fetch(&computing, 1, __ATOMIC_SEQ_CST);
		dilate_end(&b->d);
	}
	return NULL;
}

/* Every board has opened the file for itself, as every process does. */
static void run_boards(const char *path)
{
	struct sherd_error err;

	most = 0;
	for (int i = 0; i < N_BOARDS; i++) {
		boards[i] = (struct board){ .d = { .factor = N_BOARDS } };
		if (dilate_open(&boards[i].d.turns, path, &err))
			fail_msg("%s", err.msg);
	}
	for (int i = 0; i < N_BOARDS; i++)
		assert_int_equal(pthread_create(&boards[i].thread, NULL, run_board, boards + i), 0);
	for (int i = 0; i < N_BOARDS; i++) {
		pthread_join(boards[i].thread, NULL);
		assert_int_equal(boards[i].steps, N_STEPS);
		if (path)
			close(boards[i].d.turns);
	}
}

static void who_shares_a_file_computes_one_at_a_time(void **state)
{
	char *path = in_dir("turns");

	(void)state;
	run_boards(path);
	free(path);
	assert_int_equal(most, 1);
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return;
	/* without a file they do meet, sooner or later: the count above could have been another */
	for (int i = 0; i < 100 && most < 2; i++)
		run_boards(NULL);
	assert_true(most > 1);
}

static void a_file_that_cannot_be_opened_is_named(void **state)
{
	char *path = in_dir("nowhere/turns");
	struct sherd_error err;
	int fd;

	(void)state;
	assert_int_equal(dilate_open(&fd, path, &err), -ENOENT);
	assert_non_null(strstr(err.msg, path));
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_computed_takes_so_many_times_as_long),
		cmocka_unit_test(who_shares_a_file_computes_one_at_a_time),
		cmocka_unit_test(a_file_that_cannot_be_opened_is_named),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
