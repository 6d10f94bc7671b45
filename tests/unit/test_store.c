/* SPDX-License-Identifier: MIT */
/* The store of a node: what becomes of a file that comes in pieces, when the disk has no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <signal.h>
#include <sys/resource.h>
#include "post_loop.h"
#include "scratch.h"
#include "store.h"

#define PIECE 4096
#define N     6

static uint8_t file[N * PIECE];
static struct store *store;

/* ------------------------------------------------------------------------ jobs */

static void count(void *ctx, struct sherd_store_job *job)
{
	assert_non_null(job);
	++*(int *)ctx;
}

/* Submits them all at once, and waits for them. */
static void do_jobs(struct sherd_store_job *jobs, int n)
{
	struct sherd_store *s = store_of(store);
	int done = 0;

	for (int i = 0; i < n; i++) {
		jobs[i].done = count;
		jobs[i].ctx = &done;
		s->submit(s, &jobs[i]);
	}
	while (done < n)
		loop_run(true);
}

static struct sherd_store_job job_of(enum sherd_store_kind kind, void *to)
{
	struct sherd_store_job j = { .kind = kind, .offer = { .name = "a", .size = sizeof(file) },
				     .file = to };

	sherd_sha256(file, sizeof(file), j.offer.sha256);
	return j;
}

static struct sherd_store_job offer(void)
{
	struct sherd_store_job j = job_of(SHERD_STORE_OFFER, NULL);

	do_jobs(&j, 1);
	assert_int_equal(j.rc, 0);
	return j;
}

static struct sherd_store_job piece(void *to, int i)
{
	struct sherd_store_job j = job_of(SHERD_STORE_WRITE, to);

	j.data = file + i * PIECE;
	j.size = PIECE;
	return j;
}

static void finish(void *to)
{
	struct sherd_store_job j = job_of(SHERD_STORE_FINISH, to);

	do_jobs(&j, 1);
	if (j.rc)
		fail_msg("%s", j.err.msg);
	assert_true(j.whole);
}

static void drop(void *to)
{
	struct sherd_store_job j = job_of(SHERD_STORE_DROP, to);

	do_jobs(&j, 1);
}

/* Of each file that is written; 0: as much as one likes. */
static void limit(rlim_t bytes)
{
	struct rlimit r;

	getrlimit(RLIMIT_FSIZE, &r);
	r.rlim_cur = bytes ? bytes : r.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &r), 0);
}

/* ----------------------------------------------------------------------- tests */

static int begin(void **state)
{
	struct sherd_error err;

	if (scratch_make(state))
		return -1;
	for (size_t i = 0; i < sizeof(file); i++)
		file[i] = (uint8_t)(i * 7 + i / PIECE);
	return store_open(&store, dir, loop_post, &loop, &err);
}

static int end(void **state)
{
	store_close(store);
	return scratch_remove(state);
}

static void pieces_become_a_file(void **state)
{
	struct sherd_store_job o = offer(), jobs[N];

	(void)state;
	for (int i = 0; i < N; i++)
		jobs[i] = piece(o.file, i);
	do_jobs(jobs, N);
	finish(o.file);
	o = offer();
	assert_true(o.whole && o.have == sizeof(file));
}

/* Here the room comes back between two pieces that were sent one after the other. */
static void what_comes_behind_a_piece_that_failed_is_not_written(void **state)
{
	struct sherd_store_job o = offer(), first = piece(o.file, 0), second = piece(o.file, 1),
			       third = piece(o.file, 2), rest[N];
	char *whole = in_dir("a");
	int from;

	(void)state;
	do_jobs(&first, 1);
	assert_int_equal(first.rc, 0);
	limit(PIECE + PIECE / 2);
	do_jobs(&second, 1);
	assert_int_equal(second.rc, -EFBIG);
	limit(0);
	do_jobs(&third, 1);
	assert_true(third.rc < 0);
	assert_string_equal(third.err.msg, second.err.msg);
	drop(o.file);
	o = offer();
	assert_int_equal(o.have, PIECE + PIECE / 2);
	rest[0] = piece(o.file, 1);
	rest[0].data = file + o.have;
	rest[0].size = PIECE / 2;
	for (from = 2; from < N; from++)
		rest[from - 1] = piece(o.file, from);
	do_jobs(rest, N - 1);
	finish(o.file);
	assert_int_equal(access(whole, R_OK), 0);
	free(whole);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(pieces_become_a_file, begin, end),
		cmocka_unit_test_setup_teardown(
			what_comes_behind_a_piece_that_failed_is_not_written, begin, end),
	};

	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
