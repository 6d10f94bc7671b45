/* SPDX-License-Identifier: MIT */
/*
 * test_boards: a head and boards with all that is real but the model: sockets of the loop, a thread
 * for each board and one for each of its stages. What the simulator cannot show is what threads do
 * to each other; this is what the thread sanitizer is run on, and what is run on old kernels.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/board.h"
#include "net/head.h"
#include "random.h"

#define N_BOARDS   4 /* the last one is the spare of all */
#define N_STAGES   3
#define N_LAYERS   BOARD_LAYERS
#define N_SESSIONS 3
#define N_TOKENS   50
#define MAX_POSITIONS 128
#define HASH	   "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static const int first[N_STAGES] = { 0, 5, 8 };
static uint64_t seed;

struct session {
	uint64_t id, seed;
	int32_t tokens[MAX_POSITIONS];
	int n_prompt, n;
	bool failed;
};

struct test {
	struct board boards[N_BOARDS];
	struct sherd_loop *loop;
	struct sherd_head *head;
	struct sherd_head_node nodes[N_BOARDS];
	struct sherd_head_stage stages[N_STAGES];
	int seats[N_STAGES][2];
	struct session sessions[N_SESSIONS];
	struct sherd_timer limit;
	int wrong;
	struct sherd_error err;
	void (*mischief)(struct test *t); /* when session 0 has half of its tokens */
};

/* --------------------------------------------------------------- the head */

static void ready(void *ctx)
{
	struct test *t = ctx;
	struct sherd_error err;

	for (int i = 0; i < N_SESSIONS; i++) {
		struct session *s = &t->sessions[i];
		struct sherd_stage_session p = { .max = MAX_POSITIONS };

		p.params.sampler.seed = s->seed;
		p.params.sampler.repeat_penalty = 1;
		p.params.cuts = first + 1;
		p.params.n_cuts = N_STAGES - 1;
		if (sherd_head_open(t->head, &p, &s->id, &err) ||
		    sherd_head_feed(t->head, s->id, s->tokens, s->n_prompt, &err))
			fail_msg("%s", err.msg);
	}
}

static bool all_done(const struct test *t)
{
	for (int i = 0; i < N_SESSIONS; i++)
		if (t->sessions[i].n < N_TOKENS && !t->sessions[i].failed)
			return false;
	return true;
}

static struct session *find(struct test *t, uint64_t id)
{
	for (int i = 0; i < N_SESSIONS; i++)
		if (t->sessions[i].id == id)
			return &t->sessions[i];
	fail_msg("a token of session %d, which there is not", (int)id);
	return NULL;
}

static void token(void *ctx, uint64_t id, uint32_t position, int32_t token)
{
	struct test *t = ctx;
	struct session *s = find(t, id);
	int n = s->n_prompt + s->n;

	assert_int_equal(position, n);
	t->wrong +=
		token != fake_next_token(first, N_STAGES, SHERD_WIRE_INT8, s->seed, s->tokens, n);
	s->tokens[n] = token;
	s->n++;
	if (s == t->sessions && s->n == N_TOKENS / 2 && t->mischief)
		t->mischief(t);
	if (s->n < N_TOKENS)
		assert_int_equal(sherd_head_feed(t->head, id, &token, 1, &t->err), 0);
	else
		sherd_head_close(t->head, id);
	if (all_done(t))
		sherd_loop_stop(t->loop);
}

static void failed(void *ctx, uint64_t id, const struct sherd_error *why)
{
	struct test *t = ctx;

	t->err = *why;
	for (int i = 0; i < N_SESSIONS; i++)
		if (!id || t->sessions[i].id == id)
			t->sessions[i].failed = true;
	if (all_done(t))
		sherd_loop_stop(t->loop);
}

static void too_late(void *ctx)
{
	struct test *t = ctx;

	snprintf(t->err.msg, sizeof(t->err.msg), "three minutes were not enough");
	sherd_loop_stop(t->loop);
}

static void fill_plan(struct test *t, struct sherd_head_params *p)
{
	for (int i = 0; i < N_BOARDS; i++)
		t->nodes[i] = (struct sherd_head_node){ t->boards[i].name, t->boards[i].address };
	for (int k = 0; k < N_STAGES; k++) {
		t->seats[k][0] = k;
		t->seats[k][1] = N_BOARDS - 1;
		t->stages[k] = (struct sherd_head_stage){
			first[k], k + 1 < N_STAGES ? first[k + 1] : N_LAYERS, t->seats[k], 2
		};
	}
	*p = (struct sherd_head_params){ .net = &t->loop->net,
					 .model = HASH,
					 .nodes = t->nodes,
					 .stages = t->stages,
					 .n_nodes = N_BOARDS,
					 .n_stages = N_STAGES,
					 .n_ctx = MAX_POSITIONS,
					 .n_sessions = N_SESSIONS,
					 .n_batch = 16,
					 .chunk = 8,
					 .ready = ready,
					 .token = token,
					 .failed = failed,
					 .ctx = t };
	for (int i = 0; i < SHERD_RUN_ID - 1; i++)
		p->run[i] = "0123456789abcdef"[tiny_below(&seed, 16)];
}

static struct test *start(const char *io)
{
	const struct sherd_loop_params lp = { .io = io };
	/* not on the stack: what fails leaves threads behind */
	struct test *t = test_calloc(1, sizeof(*t));
	struct sherd_head_params p;

	for (int i = 0; i < N_BOARDS; i++) {
		struct board *b = &t->boards[i];

		snprintf(b->name, sizeof(b->name), "board-%d", i);
		b->io = io;
		b->control.row_us = 200;
		board_begin(b);
	}
	for (int i = 0; i < N_SESSIONS; i++) {
		struct session *s = &t->sessions[i];

		s->seed = tiny_random(&seed);
		s->n_prompt = 1 + tiny_below(&seed, MAX_POSITIONS - N_TOKENS - 1);
		for (int k = 0; k < s->n_prompt; k++)
			s->tokens[k] = tiny_below(&seed, FAKE_VOCAB);
	}
	if (sherd_loop_create(&t->loop, &lp, &t->err))
		fail_msg("%s", t->err.msg);
	fill_plan(t, &p);
	assert_int_equal(sherd_head_new(&t->head, &p, &t->err), 0);
	t->limit = (struct sherd_timer){ .fire = too_late, .ctx = t };
	sherd_timer_after(&t->loop->net, &t->limit, 200000000);
	return t;
}

/* Every token is right, and at the end no board has a session. */
static void run(struct test *t)
{
	assert_int_equal(sherd_loop_run(t->loop, &t->err), 0);
	if (t->err.msg[0])
		fail_msg("%s", t->err.msg);
	assert_true(all_done(t));
	assert_int_equal(t->wrong, 0);
}

static void finish(struct test *t)
{
	sherd_timer_stop(&t->loop->net, &t->limit);
	sherd_head_free(t->head);
	sherd_loop_free(t->loop);
	for (int i = 0; i < N_BOARDS; i++)
		board_end(&t->boards[i]);
	test_free(t);
}

/* ------------------------------------------------------------------ cases */

static void undisturbed(const char *io)
{
	struct test *t = start(io);

	run(t);
	finish(t);
}

static void one_ends(struct test *t)
{
	board_end(&t->boards[tiny_below(&seed, N_STAGES)]);
}

static void one_is_lost(const char *io)
{
	struct test *t = start(io);

	t->mischief = one_ends;
	run(t);
	assert_true(sherd_head_recoveries(t->head) >= 1);
	finish(t);
}

static void one_ends_and_lives(struct test *t)
{
	struct board *b = &t->boards[tiny_below(&seed, N_STAGES)];

	board_end(&t->boards[N_BOARDS - 1]); /* nobody else can take its place */
	board_end(b);
	board_begin(b);
}

static void one_is_back(const char *io)
{
	struct test *t = start(io);

	t->mischief = one_ends_and_lives;
	run(t);
	finish(t);
}

static void one_hangs(struct test *t)
{
	t->boards[tiny_below(&seed, N_STAGES)].control.hang = true;
}

static void one_stands_still(const char *io)
{
	struct test *t = start(io);

	t->mischief = one_hangs;
	run(t);
	assert_true(sherd_head_recoveries(t->head) >= 1);
	finish(t);
}

/* Those that this machine has. */
static void on_each_rung(void (*fn)(const char *io))
{
	int n = 0;

	for (int i = 0; i < SHERD_N_IOS; i++) {
		const struct sherd_loop_params p = { .io = sherd_io_name(i) };
		struct sherd_loop *loop;
		struct sherd_error err;

		if (sherd_loop_create(&loop, &p, &err))
			continue;
		sherd_loop_free(loop);
		fn(p.io);
		n++;
	}
	assert_true(n >= 1);
}

static void boards_draw_the_tokens_of_the_chain(void **state)
{
	(void)state;
	on_each_rung(undisturbed);
}

static void a_board_that_ends_is_replaced_by_the_spare(void **state)
{
	(void)state;
	on_each_rung(one_is_lost);
}

static void a_board_that_lives_again_takes_its_own_place(void **state)
{
	(void)state;
	on_each_rung(one_is_back);
}

static void a_board_whose_device_hangs_is_replaced_by_the_spare(void **state)
{
	(void)state;
	on_each_rung(one_stands_still);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(boards_draw_the_tokens_of_the_chain),
		cmocka_unit_test(a_board_that_ends_is_replaced_by_the_spare),
		cmocka_unit_test(a_board_that_lives_again_takes_its_own_place),
		cmocka_unit_test(a_board_whose_device_hangs_is_replaced_by_the_spare),
	};

	seed = tiny_seed();
	return cmocka_run_group_tests_name("boards", tests, NULL, NULL);
}
