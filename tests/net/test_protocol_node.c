/* SPDX-License-Identifier: MIT */
/*
 * test_protocol_node: what a node owes to its head, to its neighbours and to itself, on a simulated
 * network: failures are heard of, room is given back, dead links are given up, and nobody has its
 * memory by not listening.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include "net/message.h"
#include "net/node_post.h"
#include "net/world.h"

static uint64_t base_seed;

static void who_is_cancelled_in_a_step_leaves_room_for_the_next(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t us = 5000; us < 25000; us += 1000) {
		world_init(&w, base_seed, 2, 2);
		w.nodes[0].stages.room = w.nodes[1].stages.room = 120;
		world_add(&w, 90, 10);
		world_begin(&w);
		sim_go(&w.sim, us);
		sherd_head_close(w.head, w.sessions[0].id);
		w.n_sessions = 0;
		memset(w.sessions, 0, sizeof(w.sessions));
		world_add(&w, 50, 10);
		world_expect_well(&w, 5 * SECOND);
		world_end(&w);
	}
}

/* The second stage cannot take it, while the head is not to be reached for longer than it waits. */
static void a_refusal_that_is_lost_on_its_way_is_said_again(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t k = 0; k < 20; k++) {
		world_init(&w, base_seed + k, 2, 2);
		w.nodes[1].stages.room = 500;
		world_add(&w, 10, 400);
		world_begin(&w);
		sim_go(&w.sim, SECOND / 5);
		sim_block_both(&w.sim, 0, 2, true);
		sim_go(&w.sim, k * 1000);
		world_add(&w, 10, 300);
		sim_go(&w.sim, k % 4 * SECOND / 2);
		sim_block_both(&w.sim, 0, 2, false);
		assert_true(world_run(&w, 30 * SECOND));
		assert_true(w.sessions[0].done && w.sessions[1].failed);
		assert_non_null(strstr(w.sessions[1].err.msg, "no room for "));
		world_end(&w);
	}
}

/* A session may be opened long before there is anything to feed it. */
static void a_refusal_is_heard_by_a_session_that_is_fed_later(void **state)
{
	struct sherd_stage_session params = { .max = 60,
					      .params.cuts = (int[]){ WORLD_LAYERS / 2 },
					      .params.n_cuts = 1,
					      .params.sampler = SHERD_SAMPLER_PARAMS_INIT };
	struct sherd_error err;
	struct world_session *s;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 2, 2);
	w.nodes[1].stages.room = 50;
	world_begin(&w);
	s = world_add(&w, 10, 50);
	sherd_head_close(w.head, s->id);
	assert_int_equal(sherd_head_open(w.head, &params, &s->id, &err), 0);
	sim_go(&w.sim, SECOND);
	assert_int_equal(sherd_head_feed(w.head, s->id, s->tokens, s->n, &err), 0);
	assert_true(world_run(&w, SECOND));
	assert_true(s->failed && strstr(s->err.msg, "no room for "));
	world_end(&w);
}

/* What the next stage has got on with moves a window that has nothing to show any more. */
static void a_session_that_failed_sends_no_more_rows(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t k = 0; k < 30; k++) {
		world_init(&w, base_seed + k, 2, 2);
		w.sim.faults.latency_us = 4300; /* so that the first stage is the first to know */
		w.nodes[1].stages.step_us = 30000;
		w.params.request_us = SECOND / 10 + k * 1000;
		world_add(&w, 500, 1);
		world_begin(&w);
		assert_true(world_run(&w, 10 * SECOND));
		assert_non_null(strstr(w.sessions[0].err.msg, "the request's time was over"));
		assert_in_range(w.nodes[0].stages.n_rows - w.nodes[1].stages.n_rows, 33, 499);
		world_end(&w);
	}
}

static void a_spare_takes_over_soon_when_two_stages_do_not_reach_each_other(void **state)
{
	struct world_session *s;
	struct world w;
	uint64_t at;
	int n;

	(void)state;
	for (uint64_t k = 0; k < 10; k++) {
		world_init(&w, base_seed + k, 2, 3);
		s = world_add(&w, 10, 400);
		world_begin(&w);
		sim_go(&w.sim, SECOND / 5 + k * 7000);
		sim_block_both(&w.sim, 1, 2, true);
		at = w.sim.now;
		sim_go(&w.sim, SECOND / 5);
		for (n = s->n; s->n == n && w.sim.now < at + 10 * SECOND;)
			sim_step(&w.sim, UINT64_MAX);
		assert_true(w.sim.now - at < 2 * SECOND);
		world_expect_well(&w, 10 * SECOND);
		assert_int_equal(sherd_head_recoveries(w.head), 1);
		world_end(&w);
	}
}

static void who_was_stopped_himself_does_not_blame_the_next_stage(void **state)
{
	struct world w;

	(void)state;
	for (uint64_t k = 0; k < 10; k++) {
		world_init(&w, base_seed + k, 2, 3);
		w.params.ping_us = 20000;
		w.params.lost_us = 1150000;
		/* steps so long that none of them is overdue */
		w.nodes[0].stages.step_us = w.nodes[1].stages.step_us = SECOND / 2;
		world_add(&w, 10, 5);
		world_begin(&w);
		sim_go(&w.sim, SECOND + k * 25000);
		sim_pause(&w.sim, 1, 1100000);
		world_expect_well(&w, 20 * SECOND);
		assert_int_equal(sherd_head_recoveries(w.head), 0);
		world_end(&w);
	}
}

/* It is new, and does not know of the session until the head has said so. */
static void the_stages_behind_a_restarted_one_keep_what_they_have(void **state)
{
	uint64_t rows;
	struct world w;

	(void)state;
	for (uint64_t k = 0; k < 20; k++) {
		world_init(&w, base_seed + k, 3, 3);
		world_add(&w, 100, 100);
		world_begin(&w);
		sim_go(&w.sim, SECOND / 4 + k * 1000);
		world_kill_node(&w, 0);
		sim_go(&w.sim, k * 20000);
		world_start_node(&w, 0);
		world_expect_well(&w, 20 * SECOND);
		rows = w.nodes[2].stages.n_rows;
		world_end(&w);
		assert_in_range(rows, 199, 200);
	}
}

/* Two sessions, and a stage that sends rows: one remark. */
static void chunks_that_fit_into_no_slot_are_said_once(void **state)
{
	static const int chunks[] = { 8, 200 };
	struct world w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(chunks); i++) {
		world_init(&w, base_seed, 2, 2);
		w.words = "do not fit into the ring's slots of 4:";
		w.params.chunk = chunks[i];
		w.nodes[0].stages.n_batch = w.nodes[1].stages.n_batch = 256;
		world_add(&w, 300, 10);
		world_add(&w, 10, 10);
		world_begin(&w);
		world_expect_well(&w, 5 * SECOND);
		assert_int_equal(w.n_words, i);
		world_end(&w);
	}
}

/* ------------------------------------------------ somebody at the door */

struct asker {
	enum sherd_role role;
	unsigned run;
	struct sherd_link *link; /* NULL: down */
	uint64_t heard; /* bytes */
	bool welcome;
	struct sherd_reply reply; /* the last one to a command */
	char refused[SHERD_SENTENCE_MAX];
};

static void asker_up(void *ctx, struct sherd_link *l)
{
	const struct asker *a = ctx;
	struct sherd_hello h = { .role = a->role, .epoch = 1, .stage = 1 };

	snprintf(h.run, sizeof(h.run), "%032x", a->run);
	memset(h.model, 'e', sizeof(h.model) - 1);
	sherd_hello_send(l, &h);
}

static int asker_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
			struct sherd_error *err)
{
	(void)ctx, (void)l, (void)f, (void)err;
	return 0;
}

static void asker_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
			const uint8_t *payload)
{
	struct sherd_reply r;
	struct asker *a = ctx;

	(void)l;
	a->heard += sherd_frame_size(f->payload);
	a->welcome |= f->type == SHERD_FRAME_WELCOME;
	if (f->type == SHERD_FRAME_REFUSE)
		sherd_sentence_read(a->refused, sizeof(a->refused), payload, f->payload);
	if (f->type == SHERD_FRAME_REPLY && !sherd_reply_read(&r, payload, f->payload, NULL))
		a->reply = r;
}

static void asker_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct asker *a = ctx;

	(void)l, (void)why;
	a->link = NULL;
}

static const struct sherd_link_user user = { asker_up, asker_expect, asker_frame, asker_down };

static void dial_of_run(struct world *w, struct asker *a, enum sherd_role role, unsigned run)
{
	struct sherd_net *net = sim_start(&w->sim, 9);
	struct sherd_error err;

	*a = (struct asker){ .role = role, .run = run };
	assert_int_equal(net->ops->dial(net, "host:1", "node0", &user, a, &a->link, &err), 0);
	sim_go(&w->sim, SECOND / 100);
}

static void dial(struct world *w, struct asker *a, enum sherd_role role)
{
	dial_of_run(w, a, role, 1);
}

static void ask(struct asker *a, int times)
{
	const struct sherd_command status = { .kind = SHERD_COMMAND_STATUS };
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };

	while (times--)
		if (a->role == SHERD_ROLE_STATUS)
			sherd_command_send(a->link, &status);
		else
			sherd_link_send(a->link, &ping, NULL, 0);
}

static void who_does_not_read_the_answers_gets_no_more(void **state)
{
	static const enum sherd_role roles[] = { SHERD_ROLE_STATUS, SHERD_ROLE_HEAD,
						 SHERD_ROLE_MEASURE, SHERD_ROLE_PROBE };
	struct asker a;
	struct world w;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
		world_init(&w, base_seed, 1, 1);
		dial(&w, &a, roles[i]);
		ask(&a, 1000);
		sim_go(&w.sim, SECOND / 2);
		assert_non_null(a.link); /* so many may ask who listens */
		a.heard = 0;
		sim_pause(&w.sim, 9, 5 * SECOND);
		ask(&a, 60000);
		sim_go(&w.sim, 10 * SECOND);
		assert_null(a.link);
		assert_in_range(a.heard, 1 << 20, (1 << 20) + (64 << 10));
		world_start_head(&w);
		world_add(&w, 10, 10);
		world_expect_well(&w, 5 * SECOND);
		world_end(&w);
	}
}

/* -------------------------------------------------------- a head by hand */

/* All layers, for one session. */
static void load_stage(struct world *w, struct asker *head, uint32_t stage)
{
	struct sherd_command load = { .kind = SHERD_COMMAND_LOAD, .id = stage, .stage = stage,
				      .spec = { .end = WORLD_LAYERS, .n_ctx = 512, .n_sessions = 1,
						.n_batch = 32 } };

	memset(load.spec.model, 'e', SHERD_SHA256_HEX - 1);
	sherd_command_send(head->link, &load);
	sim_go(&w->sim, SECOND);
	assert_int_equal(head->reply.id, stage);
}

/* A head with the only stage of a run, and the link for its rows. */
static void lead(struct world *w, struct asker *head, struct asker *rows)
{
	const struct sherd_command route = { .kind = SHERD_COMMAND_ROUTE, .id = 2, .stage = 1,
					     .epoch = 1, .chunk = 8, .window = 400 };

	dial(w, head, SHERD_ROLE_HEAD);
	load_stage(w, head, 1);
	sherd_command_send(head->link, &route);
	sim_go(&w->sim, SECOND);
	dial(w, rows, SHERD_ROLE_DATA);
	assert_true(rows->welcome);
}

/* A frame of the run's, OPEN's filled up with spaces. */
static void say_open(struct asker *rows, uint64_t session, size_t size)
{
	static const struct sherd_stage_session s = {
		.max = 500, .params.sampler = SHERD_SAMPLER_PARAMS_INIT
	};
	const struct sherd_frame f = { .type = SHERD_FRAME_OPEN, .session = session, .epoch = 1 };
	char *text = sherd_open_text(&s), *wide = malloc(size);

	memset(wide, ' ', size);
	memcpy(wide, text, MIN(strlen(text), size));
	if (rows->link)
		sherd_link_send(rows->link, &f, wide, (uint32_t)size);
	free(text);
	free(wide);
}

static void say_close(struct asker *rows, uint64_t session)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_CLOSE, .session = session, .epoch = 1 };

	if (rows->link)
		sherd_link_send(rows->link, &f, NULL, 0);
}

static void say_rows(struct asker *rows, uint64_t session, uint32_t position, uint32_t n)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_ROWS, .session = session, .epoch = 1,
				       .position = position, .n_tokens = n };
	static const int32_t tokens[8];

	sherd_link_send(rows->link, &f, tokens, n * sizeof(*tokens));
}

static void end_lead(struct world *w)
{
	world_kill_node(w, 0);
	sim_go(&w->sim, SECOND);
	world_end(w);
}

static void so_many_runs_are_served_and_no_more(void **state)
{
	const struct sherd_command end = { .kind = SHERD_COMMAND_END };
	struct asker heads[17], again, late;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	for (unsigned i = 0; i < 17; i++) {
		dial_of_run(&w, &heads[i], SHERD_ROLE_HEAD, i);
		assert_true(heads[i].welcome == (i < 16));
	}
	assert_string_equal(heads[16].refused,
			    "as many runs as this node takes are under way; try again later");
	/* A head of one of them that comes again is none too many. */
	dial_of_run(&w, &again, SHERD_ROLE_HEAD, 7);
	assert_true(again.welcome);
	sherd_command_send(heads[3].link, &end);
	sim_go(&w.sim, SECOND);
	dial_of_run(&w, &late, SHERD_ROLE_HEAD, 16);
	assert_true(late.welcome);
	end_lead(&w);
}

static void so_many_stages_of_a_run_are_served_and_no_more(void **state)
{
	struct asker head;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	dial(&w, &head, SHERD_ROLE_HEAD);
	for (uint32_t stage = 1; stage <= SHERD_MAX_POSTS; stage++) {
		load_stage(&w, &head, stage);
		assert_string_equal(head.reply.error, "");
	}
	load_stage(&w, &head, SHERD_MAX_POSTS + 1);
	assert_string_equal(head.reply.error, "node0 serves 16 stages of this run already");
	load_stage(&w, &head, SHERD_MAX_POSTS);
	assert_string_equal(head.reply.error, "");
	end_lead(&w);
}

/* Two prompts and two decoding sessions, and a step has room for one prompt's chunk beside these. */
static void no_prompt_waits_for_another_one_s_end(void **state)
{
	enum { STEPS = 40 };
	const struct flow *flows[4];
	struct asker head, rows;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	w.nodes[0].stages.n_batch = 16;
	lead(&w, &head, &rows);
	for (uint64_t i = 4; i; i--)
		say_open(&rows, i, 300);
	sim_go(&w.sim, SECOND);
	for (int i = 0; i < 4; i++)
		flows[i] = sherd_flow_find(w.nodes[0].node->runs->posts, (uint64_t)i + 1);
	w.nodes[0].stages.hangs = true; /* until all rows are there */
	for (uint32_t k = 0; k < STEPS; k++)
		for (uint64_t i = 1; i <= 4; i++)
			say_rows(&rows, i, i % 2 ? 8 * k : k, i % 2 ? 8 : 1);
	sim_go(&w.sim, SECOND);
	sim_stages_wake(&w.nodes[0].stages);
	for (uint64_t until = w.sim.now + SECOND; sim_step(&w.sim, until);)
		for (int i = 0; i < 2; i++)
			assert_in_range(flows[i]->out.n + 16 - flows[i + 2]->out.n, 0, 32);
	for (int i = 0; i < 4; i++)
		assert_int_equal(flows[i]->out.n, i % 2 ? STEPS : 8 * STEPS);
	end_lead(&w);
}

/* ------------------------------------------------ sessions without end */

/* Its link goes down, and there is no more at the node than may be. */
static void expect_bounded(struct world *w, struct asker *rows)
{
	const struct flow *f;
	int n = 0;

	sim_go(&w->sim, SECOND);
	assert_null(rows->link);
	for (f = w->nodes[0].node->workers->flows; f; f = f->worker_next) {
		assert_true(f->state != FLOW_FAILED || !f->out.ids);
		n++;
	}
	assert_in_range(n, 64, 4 + 64 + 1);
}

static void sessions_without_end_cost_a_stage_no_memory(void **state)
{
	struct asker head, rows;
	struct world w;

	(void)state;
	for (uint32_t room = 0; room <= 600; room += 600) { /* for any number, for one */
		world_init(&w, base_seed, 1, 1);
		lead(&w, &head, &rows);
		w.nodes[0].stages.room = room;
		for (uint64_t i = 1; i < 3000; i++)
			say_open(&rows, i, 300);
		expect_bounded(&w, &rows);
		end_lead(&w);
	}
}

/* A stage that is in a step, or hangs, closes nothing before that is over. */
static void sessions_that_are_closed_at_once_do_not_either(void **state)
{
	struct asker head, rows;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	lead(&w, &head, &rows);
	w.nodes[0].stages.hangs = true;
	say_open(&rows, 1, 300);
	sim_go(&w.sim, SECOND / 10);
	say_rows(&rows, 1, 0, 1);
	for (uint64_t i = 2; i < 3000; i++) {
		say_open(&rows, i, 300);
		say_close(&rows, i);
	}
	expect_bounded(&w, &rows);
	end_lead(&w);
}

static void a_session_says_no_more_than_it_can_need(void **state)
{
	struct asker head, rows;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	lead(&w, &head, &rows);
	say_open(&rows, 1, SHERD_OPEN_MAX(WORLD_LAYERS));
	sim_go(&w.sim, SECOND / 10);
	assert_int_equal(sherd_node_sessions(w.nodes[0].node), 1);
	say_open(&rows, 2, SHERD_OPEN_MAX(WORLD_LAYERS) + 1);
	sim_go(&w.sim, SECOND / 10);
	assert_null(rows.link);
	assert_int_equal(sherd_node_sessions(w.nodes[0].node), 1);
	end_lead(&w);
}

/* ------------------------------------------------- links without end */

/* Who is silent for ever, and be it in great numbers, keeps nobody out. */
static void silent_links_leave_room_for_runs_and_for_who_speaks(void **state)
{
	static const char full[] = "as many ask and bring things as this node has links for; try "
				   "again later";
	struct asker silent[64], speaks, late;
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		dial(&w, &silent[i], i % 2 ? SHERD_ROLE_STATUS : SHERD_ROLE_PROBE);
	dial(&w, &late, SHERD_ROLE_STATUS);
	assert_false(late.welcome);
	assert_string_equal(late.refused, full);
	world_add(&w, 10, 10);
	world_start_head(&w);
	world_expect_well(&w, 5 * SECOND);
	sim_go(&w.sim, 8 * SECOND);
	ask(&silent[1], 1);
	sim_go(&w.sim, 5 * SECOND);
	dial(&w, &speaks, SHERD_ROLE_STATUS);
	dial(&w, &late, SHERD_ROLE_MEASURE);
	sim_go(&w.sim, 2 * SECOND);
	assert_true(speaks.welcome && speaks.link && late.welcome && late.link);
	for (size_t i = 0; i < ARRAY_SIZE(silent); i++)
		assert_true(silent[i].welcome && !silent[i].link == (i == 0 || i == 2));
	world_kill_node(&w, 0);
	sim_go(&w.sim, SECOND);
	world_end(&w);
}

/* ------------------------------------------------------ devices that hang */

/* Another head wants the stage that node 1 has. */
static void load_again(struct world *w, struct asker *a)
{
	struct sherd_command c = { .kind = SHERD_COMMAND_LOAD, .id = 77, .stage = 1,
				   .spec = { .first = WORLD_LAYERS / 2, .end = WORLD_LAYERS,
					     .n_ctx = 512, .n_sessions = WORLD_SESSIONS,
					     .n_batch = 32, .kv = w->params.kv } };
	struct sherd_net *net = sim_start(&w->sim, 9);
	struct sherd_error err;

	memcpy(c.spec.model, w->params.model, sizeof(c.spec.model));
	*a = (struct asker){ .role = SHERD_ROLE_HEAD };
	assert_int_equal(net->ops->dial(net, "host:2", "node1", &user, a, &a->link, &err), 0);
	sim_go(&w->sim, SECOND / 10);
	sherd_command_send(a->link, &c);
	sim_go(&w->sim, SECOND / 10);
	assert_int_equal(a->reply.id, 77);
}

static const char *state_of(json_t *status)
{
	json_t *run = json_array_get(json_object_get(status, "runs"), 0);
	json_t *stage = json_array_get(json_object_get(run, "stages"), 0);

	return json_string_value(json_object_get(stage, "state"));
}

static void a_device_that_hangs_serves_no_new_run_and_is_given_up_once(void **state)
{
	struct asker a;
	struct world w;
	json_t *j;

	(void)state;
	world_init(&w, base_seed, 2, 2);
	world_add(&w, 10, 400);
	world_begin(&w);
	sim_go(&w.sim, SECOND / 2);
	j = sherd_node_status(w.nodes[1].node);
	assert_string_equal(state_of(j), "ready");
	assert_int_equal(json_array_size(json_object_get(j, "overdue")), 0);
	json_decref(j);
	w.nodes[1].stages.hangs = true;
	sim_go(&w.sim, 5 * SECOND);
	j = sherd_node_status(w.nodes[1].node);
	assert_string_equal(state_of(j), "hangs");
	assert_int_equal(json_array_size(json_object_get(j, "overdue")), 1);
	json_decref(j);
	load_again(&w, &a);
	assert_non_null(strstr(a.reply.error, "layers 6 to 11: a step has been running for "));
	sim_go(&w.sim, 50 * SECOND);
	assert_int_equal(w.n_hung, 0);
	sim_go(&w.sim, 10 * SECOND);
	assert_int_equal(w.n_hung, 1);
	sim_go(&w.sim, 1000 * SECOND);
	assert_int_equal(w.n_hung, 1);
	world_end(&w);
}

/* The first step of all is due after 10 s, and takes 30. */
static void a_process_that_was_stopped_blames_no_device(void **state)
{
	struct world w;

	(void)state;
	world_init(&w, base_seed, 1, 1);
	w.nodes[0].stages.step_us = 30 * SECOND;
	w.params.deadline_us = 1000 * SECOND;
	world_add(&w, 10, 3);
	world_begin(&w);
	sim_go(&w.sim, 12 * SECOND);
	sim_pause(&w.sim, 1, 200 * SECOND);
	sim_go(&w.sim, 300 * SECOND);
	assert_int_equal(w.n_hung, 0);
	world_end(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_cancelled_in_a_step_leaves_room_for_the_next),
		cmocka_unit_test(a_refusal_that_is_lost_on_its_way_is_said_again),
		cmocka_unit_test(a_refusal_is_heard_by_a_session_that_is_fed_later),
		cmocka_unit_test(a_session_that_failed_sends_no_more_rows),
		cmocka_unit_test(a_spare_takes_over_soon_when_two_stages_do_not_reach_each_other),
		cmocka_unit_test(who_was_stopped_himself_does_not_blame_the_next_stage),
		cmocka_unit_test(the_stages_behind_a_restarted_one_keep_what_they_have),
		cmocka_unit_test(chunks_that_fit_into_no_slot_are_said_once),
		cmocka_unit_test(who_does_not_read_the_answers_gets_no_more),
		cmocka_unit_test(so_many_runs_are_served_and_no_more),
		cmocka_unit_test(so_many_stages_of_a_run_are_served_and_no_more),
		cmocka_unit_test(no_prompt_waits_for_another_one_s_end),
		cmocka_unit_test(sessions_without_end_cost_a_stage_no_memory),
		cmocka_unit_test(sessions_that_are_closed_at_once_do_not_either),
		cmocka_unit_test(a_session_says_no_more_than_it_can_need),
		cmocka_unit_test(silent_links_leave_room_for_runs_and_for_who_speaks),
		cmocka_unit_test(a_device_that_hangs_serves_no_new_run_and_is_given_up_once),
		cmocka_unit_test(a_process_that_was_stopped_blames_no_device),
	};

	base_seed = sim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
