/* SPDX-License-Identifier: MIT */
/*
 * test_protocol: head and nodes on a simulated network. Whatever happens to links, boards and
 * devices, the tokens are those of the undisturbed chain, or there is a sentence in time; and
 * nothing is left behind.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/world.h"

static uint64_t base_seed;

static void tokens_are_those_of_the_chain(void **state)
{
	struct world w;

	(void)state;
	for (int n = 1; n <= 5; n++) {
		world_init(&w, base_seed + (uint64_t)n, n, n);
		world_add(&w, 1, 3);
		world_add(&w, 100, 20);
		world_add(&w, 33, 1);
		world_start_head(&w);
		world_expect_well(&w, 20 * SECOND);
		assert_int_equal(sherd_head_recoveries(w.head), 0);
		assert_true((n > 1) == (w.sim.n_from_slots > 0));
		world_end(&w);
	}
}

/* --------------------------------------------- somebody dies at a token */

static struct {
	int token; /* of session 0 */
	int node;
	enum { KILL, PAUSE, HANG, BLOCK } what;
	uint64_t us, at, healed;
} mischief;

static void heal(void *arg)
{
	struct world *w = arg;

	if (mischief.what == KILL && !w->nodes[mischief.node].node)
		world_start_node(w, mischief.node);
	for (int i = 0; i <= w->n_nodes; i++) {
		sim_block(&w->sim, i, mischief.node + 1, false);
		sim_block(&w->sim, mischief.node + 1, i, false);
	}
	sim_stages_wake(&w->nodes[mischief.node].stages);
}

static void strike(void *arg)
{
	struct world *w = arg;

	mischief.at = w->sim.now;
	switch (mischief.what) {
	case KILL:
		world_kill_node(w, mischief.node);
		break;
	case PAUSE:
		sim_pause(&w->sim, mischief.node + 1, mischief.us);
		break;
	case HANG:
		w->nodes[mischief.node].stages.hangs = true;
		break;
	case BLOCK:
		for (int i = 0; i <= w->n_nodes; i++) {
			sim_block(&w->sim, i, mischief.node + 1, true);
			sim_block(&w->sim, mischief.node + 1, i, true);
		}
	}
	if (mischief.us)
		sim_at(&w->sim, w->sim.now + mischief.us, -1, heal, w);
}

static void at_token(struct world *w, struct world_session *s)
{
	if (s != w->sessions)
		return;
	if (s->n - s->n_prompt == mischief.token)
		sim_at(&w->sim, w->sim.now + sim_random(&w->sim, 3000), -1, strike, w);
	else if (mischief.at && !mischief.healed)
		mischief.healed = w->sim.now;
}

/*
 * Strikes one of three stages at a token (0: while the prompt is computed); with a spare, or coming
 * back.
 */
static uint64_t survive(uint64_t seed, int what, int node, int at, int n_nodes, uint64_t back_after)
{
	struct world w;
	uint64_t took;

	memset(&mischief, 0, sizeof(mischief));
	mischief.what = what;
	mischief.node = node;
	mischief.token = at;
	mischief.us = back_after;
	world_init(&w, seed, 3, n_nodes);
	w.on_token = at_token;
	world_add(&w, 90, 30);
	world_add(&w, 7, 40);
	world_begin(&w);
	if (!at)
		sim_at(&w.sim, w.sim.now + 5000 + sim_random(&w.sim, 20000), -1, strike, &w);
	world_expect_well(&w, 200 * SECOND);
	took = mischief.healed - mischief.at;
	world_end(&w);
	return took;
}

static void survive_everywhere(int what, int n_nodes, uint64_t back_after, uint64_t within)
{
	static const int tokens[] = { 0, 1, 2, 3, 17 };
	uint64_t worst = 0;

	for (int node = 0; node < 3; node++)
		for (size_t t = 0; t < ARRAY_SIZE(tokens); t++)
			for (uint64_t k = 0; k < 4; k++) {
				uint64_t took =
					survive(base_seed + 1000 * k + 10 * t + (uint64_t)node,
						what, node, tokens[t], n_nodes, back_after);

				worst = MAX(worst, took);
			}
	printf("# the worst gap: %.3f s\n", (double)worst * 1e-6);
	assert_true(worst <= within);
}

static void a_spare_takes_over_from_a_killed_stage(void **state)
{
	(void)state;
	survive_everywhere(KILL, 4, 0, SECOND);
}

static void a_spare_takes_over_from_a_stage_that_is_cut_off(void **state)
{
	(void)state;
	survive_everywhere(BLOCK, 4, 0, 3 * SECOND);
}

static void a_spare_takes_over_from_a_device_that_hangs(void **state)
{
	(void)state;
	survive_everywhere(HANG, 4, 0, 11 * SECOND);
}

static void a_stopped_stage_is_a_zombie_when_it_wakes(void **state)
{
	(void)state;
	survive_everywhere(PAUSE, 4, 2 * SECOND, 3 * SECOND);
	survive_everywhere(PAUSE, 4, 60 * SECOND, 3 * SECOND);
}

static void a_restarted_node_takes_its_own_place(void **state)
{
	(void)state;
	survive_everywhere(KILL, 3, SECOND, 4 * SECOND);
}

static void who_is_gone_is_not_for_the_one_before_to_answer_for(void **state)
{
	struct sherd_head_status status;
	struct world w;

	(void)state;
	for (uint64_t k = 0; k < 8; k++) {
		memset(&mischief, 0, sizeof(mischief));
		mischief.what = KILL;
		mischief.node = 1;
		mischief.token = 5;
		mischief.us = (k + 1) * SECOND;
		world_init(&w, base_seed + k, 2, 3);
		w.plan_stages[1].n_nodes = 1; /* the spare has the first layers alone */
		w.on_token = at_token;
		world_add(&w, 20, 30);
		world_start_head(&w);
		world_expect_well(&w, 60 * SECOND);
		sherd_head_stage_status(w.head, 0, &status);
		assert_string_equal(status.node, "node0");
		world_end(&w);
	}
}

static void without_a_spare_a_stopped_stage_is_waited_for(void **state)
{
	(void)state;
	survive_everywhere(PAUSE, 3, 2 * SECOND, 5 * SECOND);
}

static void without_a_spare_a_blackhole_is_waited_for(void **state)
{
	(void)state;
	survive_everywhere(BLOCK, 3, 5 * SECOND, 10 * SECOND);
}

static void a_head_that_has_died_is_followed_by_another(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t i = 0; i < 40; i++) {
		world_init(&w, base_seed + i, 3, 3);
		world_add(&w, 1 + (int)sim_random(&w.sim, 100), 30);
		world_start_head(&w);
		for (int k = 0; k < 3; k++) {
			world_run(&w, 20000 + sim_random(&w.sim, 100000));
			world_kill_head(&w);
			if (sim_random(&w.sim, 2))
				world_kill_node(&w, (int)sim_random(&w.sim, 3));
			sim_go(&w.sim, sim_random(&w.sim, SECOND));
			for (int n = 0; n < 3; n++)
				if (!w.nodes[n].node)
					world_start_node(&w, n);
			world_start_head(&w);
		}
		world_expect_well(&w, 20 * SECOND);
		world_end(&w);
	}
}

/* ------------------------------------------------------------ random luck */

struct luck {
	struct world *w;
	uint64_t until;
};

/* One thing after another; never so much at once that nobody could go on. */
static void bad_luck(void *arg)
{
	struct luck *l = arg;
	struct world *w = l->w;
	int node = (int)sim_random(&w->sim, (uint64_t)w->n_nodes);

	if (w->sim.now > l->until)
		return;
	mischief.node = node;
	mischief.us = SECOND / 10 + sim_random(&w->sim, 3 * SECOND);
	mischief.what = sim_random(&w->sim, 4);
	strike(w);
	sim_at(&w->sim, w->sim.now + mischief.us + sim_random(&w->sim, 2 * SECOND), -1, bad_luck,
	       l);
}

static void one_story(uint64_t seed)
{
	struct world w;
	struct luck luck = { .w = &w };
	int n_stages = 1 + (int)(seed % 4), n_spares = (int)(seed / 4 % 3);

	memset(&mischief, 0, sizeof(mischief));
	world_init(&w, seed, n_stages, n_stages + n_spares);
	w.params.chunk = 1 + (int)sim_random(&w.sim, 16);
	w.params.window = w.params.chunk * (1 + (int)sim_random(&w.sim, 4));
	w.sim.faults = (struct sim_faults){
		.drop = (uint32_t)sim_random(&w.sim, 400),
		.twice = (uint32_t)sim_random(&w.sim, 400),
		.swap = (uint32_t)sim_random(&w.sim, 400),
		.damage = (uint32_t)sim_random(&w.sim, 400),
		.reset = (uint32_t)sim_random(&w.sim, 400),
		.latency_us = 20 + (uint32_t)sim_random(&w.sim, 2000),
		.jitter_us = (uint32_t)sim_random(&w.sim, 2000),
		.bytes_per_ms =
			sim_random(&w.sim, 2) ? 0 : 12 + (uint32_t)sim_random(&w.sim, 10000),
		.chop = sim_random(&w.sim, 2),
	};
	for (int i = 1 + (int)sim_random(&w.sim, 5); i; i--)
		world_add(&w, 1 + (int)sim_random(&w.sim, 150), 1 + (int)sim_random(&w.sim, 40));
	world_start_head(&w);
	luck.until = w.sim.now + 20 * SECOND;
	sim_at(&w.sim, w.sim.now + sim_random(&w.sim, 2 * SECOND), -1, bad_luck, &luck);
	world_expect_well(&w, 300 * SECOND);
	world_end(&w);
}

static void any_bad_luck_gives_the_same_tokens(void **state)
{
	int n = getenv("SHERD_LONG") ? 5000 : 300;
	const char *one = getenv("SHERD_SEED");

	(void)state;
	if (one) {
		one_story(strtoull(one, NULL, 0));
		return;
	}
	for (int i = 0; i < n; i++) {
		uint64_t seed = base_seed + (uint64_t)i;

		if (getenv("SHERD_VERBOSE"))
			printf("# seed %llu\n", (unsigned long long)seed);
		one_story(seed);
	}
}

/* ------------------------------------------------------------- giving up */

static void without_anybody_there_is_a_sentence_in_time(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 3, 3);
	mischief.token = 3;
	mischief.node = 1;
	mischief.what = KILL;
	mischief.us = 0;
	w.on_token = at_token;
	world_add(&w, 20, 30);
	world_start_head(&w);
	assert_true(world_run(&w, 40 * SECOND));
	assert_true(w.failed);
	assert_non_null(
		strstr(w.err.msg,
		       "nobody can serve layers 4 to 7, after 30 s: node1: connection refused"));
	world_end(&w);
}

static void a_shard_that_is_nowhere_is_said_at_once(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 3);
	w.nodes[1].stages.no_shard = true;
	w.nodes[2].stages.no_shard = true;
	world_add(&w, 20, 30);
	world_start_head(&w);
	assert_true(world_run(&w, SECOND));
	assert_true(w.failed);
	assert_string_equal(
		w.err.msg,
		"nobody can serve layers 6 to 11: node1: the shard is not here; node2: the "
		"shard is not here");
	world_end(&w);
}

static void a_session_that_has_no_room_is_refused_alone(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 2);
	w.nodes[1].stages.room = 100;
	world_add(&w, 20, 30);
	world_begin(&w);
	sim_step(&w.sim, w.sim.now + 2000);
	world_add(&w, 60, 30);
	assert_true(world_run(&w, 10 * SECOND));
	assert_true(w.sessions[0].done != w.sessions[1].done);
	assert_true(w.sessions[0].failed != w.sessions[1].failed);
	assert_non_null(strstr(w.sessions[w.sessions[1].failed].err.msg, "no room for "));
	world_end(&w);
}

static void another_bit_profile_is_no_spare(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 3);
	w.nodes[2].stages.bit_profile = 'b';
	memset(&mischief, 0, sizeof(mischief));
	mischief.token = 3;
	mischief.node = 1;
	mischief.what = KILL;
	w.on_token = at_token;
	world_add(&w, 20, 30);
	world_start_head(&w);
	assert_true(world_run(&w, 40 * SECOND));
	assert_non_null(strstr(w.err.msg, "node2: its bit profile is another one"));
	world_end(&w);
}

static void what_nobody_waits_for_any_more_is_not_computed(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 3, 3);
	w.params.request_us = SECOND / 10;
	world_add(&w, 20, 200);
	world_start_head(&w);
	assert_true(world_run(&w, 10 * SECOND));
	assert_string_equal(w.sessions[0].err.msg, "the session's time of 0 s is over");
	assert_true(w.sessions[0].n > w.sessions[0].n_prompt);
	world_add(&w, 500, 1);
	assert_true(world_run(&w, 10 * SECOND));
	assert_non_null(strstr(w.sessions[1].err.msg, ": the request's time was over 0.0 s ago"));
	assert_int_equal(w.sessions[1].n, w.sessions[1].n_prompt);
	world_end(&w);
}

static void a_thousand_sessions_come_and_go(void **state)
{
	struct world w;
	int n = 0;

	(void)state;
	world_init(&w, base_seed, 3, 3);
	world_begin(&w);
	while (n < 1000) {
		w.n_sessions = 0;
		memset(w.sessions, 0, sizeof(w.sessions));
		for (int i = 0; i < 20; i++, n++)
			world_add(&w, 1 + (int)sim_random(&w.sim, 20),
				  1 + (int)sim_random(&w.sim, 5));
		/* half of them are cancelled in mid-stream */
		world_run(&w, sim_random(&w.sim, 40000));
		for (int i = 0; i < 20; i += 2)
			if (!w.sessions[i].done) {
				sherd_head_close(w.head, w.sessions[i].id);
				w.sessions[i].done = true;
			}
		world_expect_well(&w, 20 * SECOND);
	}
	assert_int_equal(sherd_head_recoveries(w.head), 0);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tokens_are_those_of_the_chain),
		cmocka_unit_test(a_spare_takes_over_from_a_killed_stage),
		cmocka_unit_test(a_spare_takes_over_from_a_stage_that_is_cut_off),
		cmocka_unit_test(a_spare_takes_over_from_a_device_that_hangs),
		cmocka_unit_test(a_stopped_stage_is_a_zombie_when_it_wakes),
		cmocka_unit_test(a_restarted_node_takes_its_own_place),
		cmocka_unit_test(who_is_gone_is_not_for_the_one_before_to_answer_for),
		cmocka_unit_test(without_a_spare_a_stopped_stage_is_waited_for),
		cmocka_unit_test(without_a_spare_a_blackhole_is_waited_for),
		cmocka_unit_test(a_head_that_has_died_is_followed_by_another),
		cmocka_unit_test(any_bad_luck_gives_the_same_tokens),
		cmocka_unit_test(without_anybody_there_is_a_sentence_in_time),
		cmocka_unit_test(a_shard_that_is_nowhere_is_said_at_once),
		cmocka_unit_test(a_session_that_has_no_room_is_refused_alone),
		cmocka_unit_test(another_bit_profile_is_no_spare),
		cmocka_unit_test(what_nobody_waits_for_any_more_is_not_computed),
		cmocka_unit_test(a_thousand_sessions_come_and_go),
	};

	base_seed = sim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
