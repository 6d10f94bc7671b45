/* SPDX-License-Identifier: MIT */
/*
 * test_probe: questions to nodes on a simulated network - profiles, links - and nodes that are
 * busy, gone, or answer nonsense. The network's delay and bandwidth are known here, so that what is
 * measured can be compared with them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include <jansson.h>
#include "net/ask.h"
#include "net/node.h"
#include "net/probe.h"
#include "net/sim_stage.h"

#define NODES 2

/* Measures in virtual time, and says what it was asked. */
struct profiler {
	struct sherd_profiler base;
	struct sim *sim;
	int host, n_asked, n_cancelled;
	uint64_t takes_us;
	struct sherd_profiler_job *job;
	const char *answer; /* NULL: {"asked": what was asked} */
	const char *fails; /* so */
};

struct asker {
	struct world *w;
	struct sherd_ask *ask;
	json_t *answer;
	int n_answers;
	bool ended;
	struct sherd_error why;
};

struct world {
	struct sim sim;
	struct sim_stages stages[NODES];
	struct profiler profilers[NODES];
	struct sherd_node *nodes[NODES];
	struct asker askers[3];
	struct sherd_probe *probe;
	bool probed, probe_failed;
	struct sherd_probe_result result;
	struct sherd_error why;
};

static uint64_t base_seed;

/* --------------------------------------------------------- the profiler */

static void finish(void *arg)
{
	struct profiler *p = arg;
	struct sherd_profiler_job *job = p->job;

	if (!job)
		return;
	p->job = NULL;
	if (p->fails)
		job->rc = sherd_fail(&job->err, -EIO, "%s", p->fails);
	else if (job->rc != -ECANCELED)
		job->profile =
			p->answer ? strdup(p->answer) : sherd_asprintf("{\"asked\": %s}", job->ask);
	job->done(job->ctx, job);
}

static void submit(struct sherd_profiler *base, struct sherd_profiler_job *job)
{
	struct profiler *p = (struct profiler *)base;

	assert_null(p->job);
	p->job = job;
	p->n_asked++;
	sim_at(p->sim, p->sim->now + p->takes_us, p->host, finish, p);
}

static void cancel(struct sherd_profiler *base)
{
	struct profiler *p = (struct profiler *)base;

	p->n_cancelled++;
	if (!p->job)
		return;
	p->job->rc = -ECANCELED;
	sim_at(p->sim, p->sim->now + 1000, p->host, finish, p);
}

/* ------------------------------------------------------------ the world */

static void begin(struct world *w, uint64_t seed)
{
	static const char *const names[] = { "node0", "node1" };
	struct sherd_error err;

	memset(w, 0, sizeof(*w));
	sim_init(&w->sim, seed);
	w->sim.faults.latency_us = 300;
	for (int i = 0; i < NODES; i++) {
		struct profiler *f = &w->profilers[i];
		struct sherd_node_params p = { .name = names[i],
					       .profiler = &f->base,
					       .lease_us = SECOND };

		*f = (struct profiler){ .base = { submit, cancel }, .sim = &w->sim, .host = i + 1,
					.takes_us = 30 * SECOND };
		sim_stages_init(&w->stages[i], &w->sim, i + 1, 4);
		p.net = sim_start(&w->sim, i + 1);
		p.source = sim_stages_source(&w->stages[i]);
		assert_int_equal(sherd_node_new(&w->nodes[i], &p, &err), 0);
	}
	sim_start(&w->sim, 0);
}

static void clean(void *arg)
{
	sherd_node_free(arg);
}

static void kill_node(struct world *w, int i)
{
	if (w->nodes[i])
		sim_kill(&w->sim, i + 1, clean, w->nodes[i]);
	w->nodes[i] = NULL;
	w->profilers[i].job = NULL;
	sim_stages_destroy(&w->stages[i]);
}

static void end(struct world *w)
{
	for (size_t i = 0; i < ARRAY_SIZE(w->askers); i++) {
		sherd_ask_free(w->askers[i].ask);
		json_decref(w->askers[i].answer);
	}
	sherd_probe_free(w->probe);
	sim_go(&w->sim, 60 * SECOND);
	for (int i = 0; i < NODES; i++)
		kill_node(w, i);
	assert_int_equal(w->sim.n_links, 0);
	sim_destroy(&w->sim);
}

static void answered(void *ctx, json_t *answer)
{
	struct asker *a = ctx;

	json_decref(a->answer);
	a->answer = answer;
	a->n_answers++;
}

static void ended(void *ctx, const struct sherd_error *why)
{
	struct asker *a = ctx;

	assert_false(a->ended);
	a->ended = true;
	a->why = *why;
}

static struct asker *start(struct world *w, int i, const char *address)
{
	struct asker *a = &w->askers[i];
	struct sherd_ask_params p = { .net = &w->sim.hosts[0].net,
				      .name = "node0",
				      .address = address,
				      .answered = answered,
				      .ended = ended,
				      .ctx = a };
	struct sherd_error err;

	a->w = w;
	assert_int_equal(sherd_ask_new(&a->ask, &p, &err), 0);
	return a;
}

static bool is_over(void *arg)
{
	const struct asker *a = arg;

	return a->ended || a->n_answers;
}

/* Asks and waits; true: there is an answer. */
static bool ask(struct asker *a, enum sherd_command_kind kind, json_t *with)
{
	a->n_answers = 0;
	sherd_ask(a->ask, kind, with, 300 * SECOND);
	sim_run(&a->w->sim, a->w->sim.now + 400 * SECOND, is_over, a);
	return a->n_answers == 1 && !a->ended;
}

static json_t *question(void)
{
	return json_pack("{s:s, s:i}", "model", "m", "seconds", 7);
}

static const char *error_of(const struct asker *a)
{
	static struct sherd_error why;

	return sherd_answer_failed(a->answer, &why) ? why.msg : "";
}

/* ----------------------------------------------------------------- tests */

static void a_profile_is_brought_as_it_is(void **state)
{
	struct world w;
	struct asker *a;
	json_t *want = question();

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	for (int i = 0; i < 3; i++) {
		assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
		assert_true(json_equal(
			json_object_get(json_object_get(a->answer, "profile"), "asked"), want));
	}
	assert_int_equal(w.profilers[0].n_asked, 3);
	assert_true(ask(a, SHERD_COMMAND_STATUS, NULL));
	assert_string_equal(json_string_value(json_object_get(a->answer, "name")), "node0");
	json_decref(want);
	end(&w);
}

static void a_second_profile_is_refused_while_one_is_measured(void **state)
{
	struct world w;
	struct asker *a, *b;

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	b = start(&w, 1, "host:1");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, 5 * SECOND);
	assert_true(ask(b, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(
		error_of(b),
		"node0 has been measuring itself for 5 s already; ask again when it is done");
	assert_true(ask(b, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2")));
	assert_non_null(strstr(error_of(b), "measuring itself"));
	sim_run(&w.sim, w.sim.now + 100 * SECOND, is_over, a);
	assert_non_null(json_object_get(a->answer, "profile"));
	assert_int_equal(w.profilers[0].n_asked, 1);
	assert_true(ask(b, SHERD_COMMAND_PROFILE, question()));
	assert_non_null(json_object_get(b->answer, "profile"));
	end(&w);
}

static void who_asked_and_is_gone_needs_no_profile(void **state)
{
	struct world w;
	struct asker *a, *b;

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, 5 * SECOND);
	sherd_ask_free(a->ask);
	a->ask = NULL;
	sim_go(&w.sim, SECOND);
	assert_int_equal(w.profilers[0].n_cancelled, 1);
	assert_null(w.profilers[0].job);
	b = start(&w, 1, "host:1");
	assert_true(ask(b, SHERD_COMMAND_PROFILE, question()));
	assert_non_null(json_object_get(b->answer, "profile"));
	end(&w);
}

static void what_goes_wrong_is_a_sentence(void **state)
{
	struct world w;
	struct asker *a;

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	w.profilers[0].fails = "the device is on fire";
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(error_of(a), "the device is on fire");
	w.profilers[0].fails = "\033[2Jo\xff.gguf is missing";
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(error_of(a), "?[2Jo?.gguf is missing");
	w.profilers[0].fails = NULL;
	w.profilers[0].answer = "no JSON";
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(error_of(a), "the profile is no JSON");
	assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, json_pack("{s:s}", "name", "x")));
	assert_non_null(strstr(error_of(a), "wants a name and an address"));
	assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("x", "host:1\n")));
	assert_non_null(strstr(error_of(a), "wants a name and an address"));
	assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("nobody", "host:9")));
	assert_string_equal(error_of(a), "nobody: connection refused");
	end(&w);
}

static void a_profile_that_is_too_large_is_refused(void **state)
{
	struct world w;
	struct asker *a;
	char *big = malloc(80001);

	(void)state;
	memset(big, 'x', 80000);
	memcpy(big, "{\"a\":\"", 6);
	strcpy(big + 79998, "\"}");
	begin(&w, base_seed);
	w.profilers[0].answer = big;
	a = start(&w, 0, "host:1");
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_non_null(strstr(error_of(a), "larger than a message"));
	end(&w);
	free(big);
}

/* A head's link, as far as this takes: a run with a stage. */
static void head_up(void *ctx, struct sherd_link *l)
{
	struct sherd_hello h = { .role = SHERD_ROLE_HEAD };

	(void)ctx;
	memset(h.run, '5', SHERD_RUN_ID - 1);
	sherd_hello_send(l, &h);
}

static int head_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		       struct sherd_error *err)
{
	(void)ctx;
	(void)l;
	(void)f;
	(void)err;
	return 0;
}

static void head_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		       const uint8_t *payload)
{
	struct sherd_command c = {
		.kind = SHERD_COMMAND_LOAD,
		.id = 1,
		.stage = 1,
		.spec = { .first = 0, .end = 4, .n_ctx = 64, .n_sessions = 1, .n_batch = 8 }
	};

	(void)ctx;
	(void)payload;
	memset(c.spec.model, 'e', SHERD_SHA256_HEX - 1);
	if (f->type == SHERD_FRAME_WELCOME)
		sherd_command_send(l, &c);
}

static void head_down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	(void)l;
	(void)why;
	*(struct sherd_link **)ctx = NULL;
}

static const struct sherd_link_user head_links = { head_up, head_expect, head_frame, head_down };

static void a_run_comes_first(void **state)
{
	struct sherd_link *head;
	struct sherd_error err;
	struct world w;
	struct asker *a;

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, 5 * SECOND);
	assert_int_equal(w.sim.hosts[0].net.ops->dial(&w.sim.hosts[0].net, "host:1", NULL,
						      &head_links, &head, &head, &err),
			 0);
	sim_go(&w.sim, SECOND / 2);
	assert_string_equal(error_of(a), "a run has begun, which comes first");
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(error_of(a), "node0 serves a run; measure when it has ended");
	assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2")));
	assert_string_equal(error_of(a), "node0 serves a run; measure when it has ended");
	if (head)
		sherd_link_hang_up(head, "enough");
	sim_go(&w.sim, 5 * SECOND); /* the lease */
	assert_null(head);
	assert_true(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_non_null(json_object_get(a->answer, "profile"));
	end(&w);
}

/* -------------------------------------------------------------- links */

static void probe_ended(void *ctx, const struct sherd_error *why,
			const struct sherd_probe_result *r)
{
	struct world *w = ctx;

	assert_false(w->probed);
	w->probed = true;
	w->probe_failed = why;
	if (why)
		w->why = *why;
	else
		w->result = *r;
}

static bool is_probed(void *arg)
{
	return ((struct world *)arg)->probed;
}

/* Returns whether there is a result; the time it took is in *us. */
static bool probe(struct world *w, const char *address, uint64_t *us)
{
	struct sherd_probe_params p = { .net = &w->sim.hosts[0].net,
					.name = "node",
					.address = address,
					.ended = probe_ended,
					.ctx = w };
	struct sherd_error err;
	uint64_t start = w->sim.now;

	sherd_probe_free(w->probe);
	w->probed = false;
	assert_int_equal(sherd_probe_new(&w->probe, &p, &err), 0);
	assert_true(sim_run(&w->sim, w->sim.now + 20 * SECOND, is_probed, w));
	*us = w->sim.now - start;
	return !w->probe_failed;
}

static void a_link_is_what_the_network_makes_it(void **state)
{
	/* bytes/ms: 1 Gbit/s to 240 kbit/s */
	static const uint32_t rates[] = { 125000, 12500, 1250, 125, 30 };
	struct world w;
	uint64_t us;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(rates); i++)
		for (uint32_t latency = 100; latency <= 10000; latency *= 10) {
			double mbit = 8e-3 * rates[i], rtt = 2.0 * latency + 2 * 64e3 / rates[i];
			/* a window a round trip */
			double most = 8.0 * 32 * SHERD_PROBE_PIECE / (rtt + 1);

			begin(&w, base_seed + i);
			w.sim.faults.latency_us = latency;
			w.sim.faults.bytes_per_ms = rates[i];
			if (!probe(&w, "host:1", &us))
				fail_msg("%u bytes/ms, %u us: %s", rates[i], latency, w.why.msg);
			if (fabs(w.result.rtt_us / rtt - 1) > 0.1 ||
			    fabs(w.result.mbit / MIN(mbit, most) - 1) > 0.1)
				fail_msg(
					"%u bytes/ms, %u us: found %g Mbit/s and %g us, not %g and %g",
					rates[i], latency, w.result.mbit, w.result.rtt_us,
					MIN(mbit, most), rtt);
			assert_true(us < 4 * SECOND);
			end(&w);
		}
}

static void a_node_measures_its_link_to_another(void **state)
{
	double mbit, rtt_us;
	struct sherd_error err;
	struct world w;
	struct asker *a;

	(void)state;
	begin(&w, base_seed);
	w.sim.faults.latency_us = 500;
	w.sim.faults.bytes_per_ms = 12500;
	a = start(&w, 0, "host:1");
	for (int i = 0; i < 2; i++) {
		assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2")));
		assert_int_equal(sherd_answer_link(a->answer, &mbit, &rtt_us, &err), 0);
		assert_true(fabs(mbit / 100 - 1) < 0.1 && fabs(rtt_us / 1010 - 1) < 0.1);
	}
	sim_block(&w.sim, 1, 2, true);
	assert_true(ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2")));
	assert_non_null(strstr(error_of(a), "node1: "));
	sim_block(&w.sim, 1, 2, false);
	/*
	 * Who is being measured for somebody measures nothing else, and does not when nobody waits.
	 */
	sherd_ask(a->ask, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2"),
		  300 * SECOND);
	sim_go(&w.sim, 20000);
	assert_true(ask(start(&w, 1, "host:1"), SHERD_COMMAND_PROBE_LINK,
			sherd_ask_link("node1", "host:2")));
	assert_string_equal(error_of(&w.askers[1]), "node0 is measuring another link; ask again");
	sherd_ask_free(a->ask);
	a->ask = NULL;
	sim_go(&w.sim, SECOND / 5);
	assert_true(ask(&w.askers[1], SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2")));
	assert_int_equal(sherd_answer_link(w.askers[1].answer, &mbit, &rtt_us, &err), 0);
	end(&w);
}

static void a_busy_node_does_not_have_its_links_measured(void **state)
{
	struct world w;
	struct asker *a;
	uint64_t us;

	(void)state;
	begin(&w, base_seed);
	a = start(&w, 0, "host:1");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, SECOND);
	assert_false(probe(&w, "host:1", &us));
	assert_non_null(strstr(w.why.msg, "it refuses: node0 has been measuring itself"));
	end(&w);
}

/* ------------------------------------------------------------ bad luck */

static void a_node_that_is_gone_is_a_sentence_in_time(void **state)
{
	struct world w;
	struct asker *a;
	uint64_t us;

	(void)state;
	begin(&w, base_seed);
	assert_false(probe(&w, "host:7", &us));
	assert_string_equal(w.why.msg, "connection refused");
	a = start(&w, 0, "host:7");
	assert_false(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(a->why.msg, "connection refused");
	/* in mid-measurement, and silently */
	a = start(&w, 1, "host:1");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, 2 * SECOND);
	sim_block_both(&w.sim, 0, 1, true);
	assert_true(sim_run(&w.sim, w.sim.now + 12 * SECOND, is_over, a));
	assert_string_equal(a->why.msg, "nothing comes over the link");
	assert_false(probe(&w, "host:1", &us));
	assert_true(us <= 11 * SECOND);
	sim_block_both(&w.sim, 0, 1, false);
	a = start(&w, 2, "host:2");
	sherd_ask(a->ask, SHERD_COMMAND_PROFILE, question(), 300 * SECOND);
	sim_go(&w.sim, 2 * SECOND);
	kill_node(&w, 1);
	assert_true(sim_run(&w.sim, w.sim.now + 12 * SECOND, is_over, a));
	assert_true(a->ended);
	end(&w);
}

static void a_node_that_never_comes_to_an_end_is_given_up(void **state)
{
	struct world w;
	struct asker *a;

	(void)state;
	begin(&w, base_seed);
	w.profilers[0].takes_us = 3000 * SECOND;
	a = start(&w, 0, "host:1");
	assert_false(ask(a, SHERD_COMMAND_PROFILE, question()));
	assert_string_equal(a->why.msg, "it does not answer in time");
	sim_go(&w.sim, 2 * SECOND);
	assert_int_equal(w.profilers[0].n_cancelled, 1);
	end(&w);
}

/*
 * Frames are lost, doubled, swapped and damaged: there is an answer, or a sentence, and nothing is
 * left.
 */
static void any_bad_luck_ends(void **state)
{
	int n = getenv("SHERD_LONG") ? 3000 : 150, answers = 0, links = 0;
	struct world w;
	struct asker *a;
	uint64_t us;

	(void)state;
	for (int i = 0; i < n; i++) {
		begin(&w, base_seed + (uint64_t)i);
		w.sim.faults = (struct sim_faults){
			.latency_us = 300, .jitter_us = 300, .bytes_per_ms = 50000, .chop = i % 2
		};
		w.sim.faults.drop = (uint32_t)sim_random(&w.sim, 20000);
		w.sim.faults.damage = w.sim.faults.twice = (uint32_t)sim_random(&w.sim, 5000);
		w.sim.faults.swap = w.sim.faults.reset = (uint32_t)sim_random(&w.sim, 5000);
		w.profilers[0].takes_us = sim_random(&w.sim, 3 * SECOND);
		a = start(&w, 0, "host:1");
		answers += ask(a, SHERD_COMMAND_PROFILE, question());
		assert_true(a->ended || a->n_answers == 1);
		if (!a->ended)
			links +=
				ask(a, SHERD_COMMAND_PROBE_LINK, sherd_ask_link("node1", "host:2"));
		probe(&w, "host:2", &us);
		assert_true(us <= 11 * SECOND);
		w.sim.faults = (struct sim_faults){ .latency_us = 300 };
		end(&w);
	}
	assert_true(answers > n / 10 && answers < n && links);
	printf("# of %d, %d profiles and %d links came in spite of it\n", n, answers, links);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_profile_is_brought_as_it_is),
		cmocka_unit_test(a_second_profile_is_refused_while_one_is_measured),
		cmocka_unit_test(who_asked_and_is_gone_needs_no_profile),
		cmocka_unit_test(what_goes_wrong_is_a_sentence),
		cmocka_unit_test(a_profile_that_is_too_large_is_refused),
		cmocka_unit_test(a_run_comes_first),
		cmocka_unit_test(a_link_is_what_the_network_makes_it),
		cmocka_unit_test(a_node_measures_its_link_to_another),
		cmocka_unit_test(a_busy_node_does_not_have_its_links_measured),
		cmocka_unit_test(a_node_that_is_gone_is_a_sentence_in_time),
		cmocka_unit_test(a_node_that_never_comes_to_an_end_is_given_up),
		cmocka_unit_test(any_bad_luck_ends),
	};

	base_seed = sim_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
