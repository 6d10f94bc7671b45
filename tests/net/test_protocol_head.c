/* SPDX-License-Identifier: MIT */
/*
 * test_protocol_head: what the head makes of links that break, nodes that come back and nodes that
 * say no, on a simulated network. test_protocol.c has the whole protocol.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/head_plan.h"
#include "net/node_post.h"
#include "net/world.h"

static uint64_t base_seed;

/* One session, @n_tokens of @step_us each; until all is ready. */
static void begin(struct world *w, int n_stages, int n_nodes, uint32_t step_us, int n_tokens)
{
	world_init(w, base_seed, n_stages, n_nodes);
	for (int i = 0; i < n_nodes; i++)
		w->nodes[i].stages.step_us = step_us;
	world_add(w, 10, n_tokens);
	world_begin(w);
}

static void expect_server(const struct world *w, int stage, const char *name)
{
	struct sherd_head_status status;

	sherd_head_stage_status(w->head, stage, &status);
	assert_string_equal(status.node, name);
}

/* ------------------------------------------------------------ the head itself */

static void a_head_that_was_stopped_blames_nobody(void **state)
{
	static const uint64_t seconds[] = { 1, 4, 40 };
	struct world w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(seconds); i++) {
		begin(&w, 2, 3, 1000, 300);
		sim_go(&w.sim, SECOND / 5);
		sim_pause(&w.sim, 0, seconds[i] * SECOND);
		world_expect_well(&w, 80 * SECOND);
		assert_int_equal(sherd_head_recoveries(w.head), 0);
		world_end(&w);
	}
}

/* Which is as many as a stage keeps. */
static void sessions_without_end_are_refused(void **state)
{
	struct sherd_stage_session s = { .max = 20, .params.sampler = SHERD_SAMPLER_PARAMS_INIT };
	struct sherd_error err;
	struct world w;
	uint64_t id;
	int n = 0;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	world_begin(&w);
	while (!sherd_head_open(w.head, &s, &id, &err))
		n++;
	assert_int_equal(n, 4 * WORLD_SESSIONS + 64);
	assert_string_equal(err.msg, "192 sessions are open, and 192 are the most");
	sim_go(&w.sim, SECOND);
	assert_int_equal(sherd_node_sessions(w.nodes[0].node), n);
	world_end(&w);
}

/* ------------------------------------------------------------ links that break */

static void a_reset_link_of_a_stage_that_is_well_costs_it_nothing(void **state)
{
	struct world w;

	(void)state;
	for (int node = 0; node < 2; node++) {
		begin(&w, 2, 3, 1000, 300);
		for (int i = 0; i < 5; i++) {
			sim_go(&w.sim, SECOND / 5);
			sherd_link_hang_up(w.head->nodes[node].link, "reset");
		}
		world_expect_well(&w, 20 * SECOND);
		assert_int_equal(sherd_head_recoveries(w.head), 0);
		world_end(&w);
	}
}

static void a_node_with_two_stages_keeps_both_when_its_link_breaks(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 3);
	w.plan_stages[1].nodes = w.seats[0]; /* node0, and node2 in reserve */
	world_add(&w, 10, 300);
	world_begin(&w);
	sim_go(&w.sim, SECOND / 20);
	sherd_link_hang_up(w.head->nodes[0].link, "reset");
	world_expect_well(&w, 20 * SECOND);
	assert_int_equal(sherd_head_recoveries(w.head), 0);
	world_end(&w);
}

static void a_hop_that_is_whole_again_is_gone_over_again(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 3, 100000, 300);
	sim_go(&w.sim, SECOND);
	sim_block_both(&w.sim, 1, 2, true);
	sim_go(&w.sim, 3 * SECOND);
	sim_block_both(&w.sim, 1, 2, false);
	expect_server(&w, 1, "node2");
	sim_go(&w.sim, 10 * SECOND);
	world_kill_node(&w, 2);
	world_expect_well(&w, 120 * SECOND);
	expect_server(&w, 1, "node1");
	world_end(&w);
}

static void a_stage_that_reaches_nobody_is_given_up_in_time(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 4, 100000, 300);
	w.plan_stages[0].n_nodes = 1; /* whoever reaches nobody has no spare */
	sim_go(&w.sim, SECOND);
	for (int node = 1; node < 4; node++)
		sim_block_both(&w.sim, 1, node + 1, true);
	assert_true(world_run(&w, 35 * SECOND));
	assert_true(w.failed);
	world_end(&w);
}

static void who_was_cut_off_from_one_may_be_reached_by_another(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 4, 20000, 300);
	w.plan_stages[1].n_nodes = 2; /* node1 and node2 */
	w.seats[0][1] = 3; /* node0 and node3 */
	w.plan_stages[0].n_nodes = 2;
	sim_go(&w.sim, SECOND / 5);
	sim_block_both(&w.sim, 1, 2, true);
	sim_go(&w.sim, 3 * SECOND);
	expect_server(&w, 1, "node2");
	world_kill_node(&w, 0);
	sim_go(&w.sim, SECOND / 2);
	expect_server(&w, 0, "node3");
	world_kill_node(&w, 2);
	sim_go(&w.sim, SECOND / 2);
	expect_server(&w, 1, "node1");
	world_expect_well(&w, 60 * SECOND);
	world_end(&w);
}

static void a_device_that_hangs_without_a_spare_is_named(void **state)
{
	struct world w;

	(void)state;
	for (int node = 0; node < 2; node++) {
		begin(&w, 2, 2, 1000, 300);
		sim_go(&w.sim, SECOND / 5);
		w.nodes[node].stages.hangs = true;
		assert_true(world_run(&w, 40 * SECOND));
		assert_true(w.failed);
		assert_string_equal(w.err.msg,
				    node ? "nobody can serve layers 6 to 11, after 30 s: node1: "
					   "its device hangs" :
					   "nobody can serve layers 0 to 5, after 30 s: node0: "
					   "its device hangs");
		world_end(&w);
	}
}

/* ------------------------------------------------------------ nodes that come back */

static void who_comes_back_as_nobody_lets_go_of_its_sessions(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 3, 20000, 200);
	sim_go(&w.sim, SECOND / 5);
	w.nodes[1].stages.room = 250; /* for one session */
	sim_pause(&w.sim, 2, 2 * SECOND);
	sim_go(&w.sim, 4 * SECOND);
	expect_server(&w, 1, "node2");
	assert_int_equal(sim_stages_sessions(&w.nodes[1].stages), 0);
	world_expect_well(&w, 60 * SECOND);
	/* another one fits */
	world_add(&w, 10, 200);
	sim_go(&w.sim, SECOND);
	world_kill_node(&w, 2);
	world_expect_well(&w, 60 * SECOND);
	world_end(&w);
}

static void who_holds_an_old_head_s_sessions_for_nothing_lets_go_of_them(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 1, 2, 50000, 100);
	sim_go(&w.sim, SECOND);
	sim_block_both(&w.sim, 0, 1, true);
	sim_go(&w.sim, 3 * SECOND);
	expect_server(&w, 0, "node1");
	world_kill_head(&w);
	sim_block_both(&w.sim, 0, 1, false);
	world_start_head(&w);
	sim_go(&w.sim, SECOND);
	assert_int_equal(sim_stages_sessions(&w.nodes[0].stages) +
				 sim_stages_sessions(&w.nodes[1].stages),
			 1);
	world_expect_well(&w, 60 * SECOND);
	world_end(&w);
}

static void who_knows_a_later_epoch_does_not_stop_the_present_one(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 1, 3, 50000, 400);
	sim_go(&w.sim, SECOND);
	/* The first epoch is node0's, the second node1's, the third node2's. */
	sim_block_both(&w.sim, 0, 1, true);
	sim_go(&w.sim, 3 * SECOND);
	sim_block_both(&w.sim, 0, 2, true);
	sim_go(&w.sim, 3 * SECOND);
	expect_server(&w, 0, "node2");
	world_kill_head(&w);
	sim_block_both(&w.sim, 0, 1, false);
	sim_block_both(&w.sim, 0, 3, true);
	world_start_head(&w);
	sim_go(&w.sim, 3 * SECOND);
	expect_server(&w, 0, "node0");
	sim_block_both(&w.sim, 0, 3, false);
	world_expect_well(&w, 30 * SECOND);
	/* and it may be given the stage, later epoch or not */
	world_add(&w, 10, 100);
	world_kill_node(&w, 0);
	world_kill_node(&w, 1);
	world_expect_well(&w, 30 * SECOND);
	expect_server(&w, 0, "node2");
	world_end(&w);
}

static void reset_link(struct world *w, int node)
{
	sherd_link_hang_up(w->head->nodes[node].link, "reset");
	sim_go(&w->sim, SECOND);
}

static void an_epoch_that_leaves_none_to_follow_is_not_believed(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 3, 20000, 400);
	sim_go(&w.sim, SECOND / 5);
	/* The spare's: so far it may be counted, and honest nodes know it then, too. */
	w.nodes[2].node->runs->posts->epoch = 1u << 31;
	reset_link(&w, 2);
	reset_link(&w, 0);
	reset_link(&w, 0);
	assert_int_equal(w.head->epoch, (1u << 31) + 2);
	w.nodes[2].node->runs->posts->epoch = UINT32_MAX;
	reset_link(&w, 2);
	reset_link(&w, 0);
	assert_int_equal(w.head->epoch, (1u << 31) + 3);
	world_expect_well(&w, 60 * SECOND);
	assert_int_equal(sherd_head_recoveries(w.head), 0);
	world_end(&w);
}

static void who_says_there_was_one_may_not_serve(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 2, 20000, 200);
	sim_go(&w.sim, SECOND / 5);
	world_kill_head(&w);
	w.nodes[1].node->runs->posts->epoch = (1u << 31) + 1;
	world_start_head(&w);
	sim_go(&w.sim, SECOND);
	assert_true(w.failed);
	assert_string_equal(w.err.msg, "nobody can serve layers 6 to 11: node1: it says that epoch "
				       "2147483649 of this run had begun, and no head has come so "
				       "far");
	world_end(&w);
}

/* ------------------------------------------------------------ nodes that say no */

/* A node that has room for no run. */
static void start_full(struct world *w, int node)
{
	struct sherd_node_params p = { .net = sim_start(&w->sim, node + 1),
				       .name = w->names[node][0],
				       .max_runs = -1,
				       .source = sim_stages_source(&w->nodes[node].stages) };
	struct sherd_error err;

	if (sherd_node_new(&w->nodes[node].node, &p, &err))
		abort();
}

static void who_refuses_is_not_missed_where_a_spare_serves(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 3, 20000, 200);
	sim_go(&w.sim, SECOND);
	world_kill_node(&w, 1);
	sim_go(&w.sim, SECOND);
	start_full(&w, 1);
	world_expect_well(&w, 60 * SECOND);
	/* It is asked again now and then. */
	w.nodes[1].node->p.max_runs = 0;
	sim_go(&w.sim, 2 * SECOND);
	world_kill_node(&w, 2);
	world_add(&w, 10, 20);
	world_expect_well(&w, 10 * SECOND);
	expect_server(&w, 1, "node1");
	world_end(&w);
}

static void who_refuses_at_the_beginning_is_done_without(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 3);
	world_kill_node(&w, 1);
	start_full(&w, 1);
	world_add(&w, 10, 20);
	world_start_head(&w);
	world_expect_well(&w, 10 * SECOND);
	expect_server(&w, 1, "node2");
	world_end(&w);
}

static void who_refuses_and_has_no_spare_ends_the_run_with_its_sentence(void **state)
{
	struct world w;

	(void)state;
	begin(&w, 2, 2, 20000, 200);
	sim_go(&w.sim, SECOND);
	world_kill_node(&w, 1);
	start_full(&w, 1);
	assert_true(world_run(&w, 2 * SECOND));
	assert_true(w.failed);
	assert_string_equal(w.err.msg,
			    "nobody can serve layers 6 to 11: node1: it refuses: as many "
			    "runs as this node takes are under way; try again later");
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_head_that_was_stopped_blames_nobody),
		cmocka_unit_test(sessions_without_end_are_refused),
		cmocka_unit_test(a_reset_link_of_a_stage_that_is_well_costs_it_nothing),
		cmocka_unit_test(a_node_with_two_stages_keeps_both_when_its_link_breaks),
		cmocka_unit_test(a_hop_that_is_whole_again_is_gone_over_again),
		cmocka_unit_test(a_stage_that_reaches_nobody_is_given_up_in_time),
		cmocka_unit_test(who_was_cut_off_from_one_may_be_reached_by_another),
		cmocka_unit_test(a_device_that_hangs_without_a_spare_is_named),
		cmocka_unit_test(who_comes_back_as_nobody_lets_go_of_its_sessions),
		cmocka_unit_test(who_holds_an_old_head_s_sessions_for_nothing_lets_go_of_them),
		cmocka_unit_test(who_knows_a_later_epoch_does_not_stop_the_present_one),
		cmocka_unit_test(an_epoch_that_leaves_none_to_follow_is_not_believed),
		cmocka_unit_test(who_says_there_was_one_may_not_serve),
		cmocka_unit_test(who_refuses_is_not_missed_where_a_spare_serves),
		cmocka_unit_test(who_refuses_at_the_beginning_is_done_without),
		cmocka_unit_test(who_refuses_and_has_no_spare_ends_the_run_with_its_sentence),
	};

	base_seed = sim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
