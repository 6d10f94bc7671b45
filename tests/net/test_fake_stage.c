/* SPDX-License-Identifier: MIT */
/*
 * The stand-in for a stage, in sentences: it must see what it is there to see. And the queue below
 * it, which is the real one's: this is where the thread sanitizer meets it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "net/fake_stage.h"
#include "post_loop.h"

#define N_TOKENS   60
#define N_SESSIONS 3

static const int first[] = { 0, 3 };
static struct fake_control control;

static struct sherd_stage *new_stage(int k)
{
	struct fake_params p = {
		.spec = { .first = first[k], .end = k ? 6 : 3, .n_ctx = 100, .n_batch = 64 },
		.n_layers = 6,
		.room = 3 * 100,
		.control = &control,
		.post = loop_post,
		.loop = &loop
	};
	struct sherd_job job = { .kind = SHERD_JOB_LOAD };
	struct sherd_stage *s;
	struct sherd_error err;

	if (fake_stage_new(&s, &p, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(stage_do(s, &job), 0);
	return s;
}

struct rig {
	struct sherd_stage *stage[2];
	int32_t tokens[N_SESSIONS][N_TOKENS];
	uint8_t *rows[N_SESSIONS]; /* what the first stage gave, all of them */
	enum sherd_wire wire;
};

static int open_session(struct sherd_stage *s, uint64_t id, enum sherd_wire wire)
{
	struct sherd_stage_session x = { .id = id,
					 .max = 100,
					 .params = { .wire = wire, .sampler = { .seed = id } } };
	struct sherd_job job = { .kind = SHERD_JOB_OPEN, .session = &x };

	return stage_do(s, &job);
}

static struct sherd_job_item item(struct rig *r, int k, int session, int from, int n)
{
	size_t size = sherd_wire_bytes(r->wire, 1, FAKE_HIDDEN);
	uint8_t *rows = r->rows[session] + (size_t)from * size;

	return (struct sherd_job_item){ .session = (uint64_t)session,
					.position = (uint32_t)from,
					.n = n,
					.tokens = r->tokens[session] + from,
					.rows = k ? rows : NULL,
					.out = k ? NULL : rows,
					.want = k };
}

static void run(struct rig *r, int k, struct sherd_job_item *items, int n)
{
	struct sherd_job job = { .kind = SHERD_JOB_STEP, .items = items, .n_items = n };

	assert_int_equal(stage_do(r->stage[k], &job), 0);
}

/* The first stage's rows are there, in pieces of any size; the second has seen nothing. */
static int setup(void **state)
{
	struct rig *r = calloc(1, sizeof(*r));
	int i, k, from, n;

	memset(&control, 0, sizeof(control));
	r->wire = (enum sherd_wire)(rand() % 3);
	for (k = 0; k < 2; k++)
		r->stage[k] = new_stage(k);
	for (i = 0; i < N_SESSIONS; i++) {
		r->rows[i] = malloc(sherd_wire_bytes(r->wire, N_TOKENS, FAKE_HIDDEN));
		for (k = 0; k < N_TOKENS; k++)
			r->tokens[i][k] = rand() % FAKE_VOCAB;
		for (k = 0; k < 2; k++)
			assert_int_equal(open_session(r->stage[k], (uint64_t)i, r->wire), 0);
		for (from = 0; from < N_TOKENS; from += n) {
			struct sherd_job_item it;

			n = 1 + rand() % (N_TOKENS - from);
			it = item(r, 0, i, from, n);
			run(r, 0, &it, 1);
			assert_int_equal(it.rc, 0);
		}
	}
	*state = r;
	return 0;
}

static int teardown(void **state)
{
	struct rig *r = *state;
	int i;

	for (i = 0; i < 2; i++)
		r->stage[i]->ops->put(r->stage[i]);
	while (loop_run(false))
		;
	for (i = 0; i < N_SESSIONS; i++)
		free(r->rows[i]);
	free(r);
	return 0;
}

static int32_t expected(const struct rig *r, int session, int n)
{
	return fake_next_token(first, 2, r->wire, (uint64_t)session, r->tokens[session], n);
}

static void the_token_is_that_of_the_sum_of_all_rows_in_any_pieces(void **state)
{
	struct rig *r = *state;
	int from[N_SESSIONS] = { 0 }, i, left = N_SESSIONS;

	while (left) {
		struct sherd_job_item items[N_SESSIONS];
		int n_items = 0;

		for (i = 0; i < N_SESSIONS; i++) {
			int n = 1 + rand() % 20;

			if (from[i] == N_TOKENS || rand() % 3 == 0)
				continue;
			n = MIN(n, N_TOKENS - from[i]);
			items[n_items++] = item(r, 1, i, from[i], n);
			from[i] += n;
			left -= from[i] == N_TOKENS;
		}
		run(r, 1, items, n_items);
		for (i = 0; i < n_items; i++) {
			int session = (int)items[i].session;

			assert_int_equal(items[i].rc, 0);
			assert_int_equal(items[i].token, expected(r, session, from[session]));
		}
	}
}

/* Tokens are one of a thousand: what differs is looked for in the next few. */
static void assert_differs(struct rig *r, int from)
{
	int same = 0, n;

	for (n = from; n < from + 4; n++) {
		struct sherd_job_item it = item(r, 1, 0, n, 1);

		run(r, 1, &it, 1);
		assert_int_equal(it.rc, 0);
		same += it.token == expected(r, 0, n + 1);
	}
	assert_true(same < 2);
}

static void a_row_that_is_not_the_right_one_changes_what_follows(void **state)
{
	struct rig *r = *state;
	size_t size = sherd_wire_bytes(r->wire, 1, FAKE_HIDDEN);
	struct sherd_job_item it;
	uint8_t row[sizeof(float) * FAKE_HIDDEN];

	it = item(r, 1, 0, 0, 5);
	run(r, 1, &it, 1);
	assert_int_equal(it.token, expected(r, 0, 5));
	switch (rand() % 4) {
	case 0: /* damaged */
		r->rows[0][5 * size + (size_t)rand() % size] ^= (uint8_t)(1 << rand() % 6);
		break;
	case 1: /* another session's */
		memcpy(r->rows[0] + 5 * size, r->rows[1] + 5 * size, size);
		break;
	case 2: /* swapped */
		memcpy(row, r->rows[0] + 5 * size, size);
		memcpy(r->rows[0] + 5 * size, r->rows[0] + 6 * size, size);
		memcpy(r->rows[0] + 6 * size, row, size);
		break;
	default: /* its token is another */
		r->tokens[0][5]++;
		it = item(r, 1, 0, 5, 1);
		run(r, 1, &it, 1);
		r->tokens[0][5]--;
		assert_differs(r, 6);
		return;
	}
	assert_differs(r, 5);
}

static void a_row_too_many_or_too_few_is_refused(void **state)
{
	struct rig *r = *state;
	struct sherd_job_item it = item(r, 1, 0, 0, 5);

	run(r, 1, &it, 1);
	it = item(r, 1, 0, 6, 5); /* one was lost */
	run(r, 1, &it, 1);
	assert_int_equal(it.rc, -EPROTO);
	it = item(r, 1, 0, 4, 5); /* one comes twice */
	run(r, 1, &it, 1);
	assert_int_equal(it.rc, -EPROTO);
	it = item(r, 1, 0, 0, 1);
	it.session = 9;
	run(r, 1, &it, 1);
	assert_int_equal(it.rc, -EPROTO);
	it = item(r, 1, 0, 5, 5);
	run(r, 1, &it, 1);
	assert_int_equal(it.token, expected(r, 0, 10));
}

static void it_fails_and_refuses_as_it_is_told_to(void **state)
{
	struct rig *r = *state;
	struct sherd_job_item it = item(r, 1, 0, 0, 5);
	struct sherd_job close = { .kind = SHERD_JOB_CLOSE, .id = 2 };

	control.fail = true;
	run(r, 1, &it, 1);
	assert_int_equal(it.rc, -EDOM);
	control.fail = false;
	run(r, 1, &it, 1);
	assert_int_equal(it.token, expected(r, 0, 5));
	assert_int_equal(open_session(r->stage[1], 77, r->wire), -ENOSPC);
	assert_int_equal(stage_do(r->stage[1], &close), 0);
	control.refuse = true;
	assert_int_equal(open_session(r->stage[1], 77, r->wire), -ENOSPC);
	control.refuse = false;
	assert_int_equal(open_session(r->stage[1], 77, r->wire), 0);
}

static void it_hangs_until_it_is_told_otherwise_or_put(void **state)
{
	struct rig *r = *state;
	struct sherd_job_item it = item(r, 1, 0, 0, 5);
	int done = 0, waits;
	struct sherd_job job = {
		.kind = SHERD_JOB_STEP, .items = &it, .n_items = 1, .done = loop_count, .ctx = &done
	};

	control.row_us = 100;
	control.hang = true;
	r->stage[1]->ops->submit(r->stage[1], &job);
	for (waits = 0; waits < 20; waits++) {
		usleep(1000);
		loop_run(false);
	}
	assert_int_equal(done, 0);
	control.hang = false;
	while (!done)
		loop_run(true);
	assert_int_equal(it.token, expected(r, 0, 5));
	control.hang = true;
	it = item(r, 1, 0, 5, 5);
	r->stage[1]->ops->submit(r->stage[1], &job); /* the stage is put while it hangs */
	r->stage[1]->ops->put(r->stage[1]);
	while (loop_run(false))
		;
	assert_int_equal(done, 1);
	r->stage[1] = new_stage(1);
}

/* More jobs than the loop has room for posts: the queue's thread waits, and none is lost. */
static void a_loop_without_room_loses_no_job(void **state)
{
	enum { N = 3 * MAX_POSTS };
	struct rig *r = *state;
	struct sherd_job *jobs = calloc(N, sizeof(*jobs));
	int done = 0, i;

	for (i = 0; i < N; i++) {
		jobs[i] = (struct sherd_job){
			.kind = SHERD_JOB_CLOSE, .id = 1000, .done = loop_count, .ctx = &done
		};
		r->stage[0]->ops->submit(r->stage[0], &jobs[i]);
	}
	usleep(5000);
	while (done < N)
		loop_run(true);
	assert_int_equal(done, N);
	while (loop_run(false))
		;
	free(jobs);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(the_token_is_that_of_the_sum_of_all_rows_in_any_pieces),
		T(a_row_that_is_not_the_right_one_changes_what_follows),
		T(a_row_too_many_or_too_few_is_refused),
		T(it_fails_and_refuses_as_it_is_told_to),
		T(it_hangs_until_it_is_told_otherwise_or_put),
		T(a_loop_without_room_loses_no_job),
	};
	const char *env = getenv("SHERD_SEED");
	unsigned seed = env ? (unsigned)strtoul(env, NULL, 0) : (unsigned)time(NULL);

	printf("seed: SHERD_SEED=%u\n", seed);
	srand(seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
