/* SPDX-License-Identifier: MIT */
/*
 * The planner's search against brute force: on small random problems every subset and order of
 * nodes, every cut and every chunk is tried, each judged by the recurrence itself (predict.c),
 * which the search does not use. Then what must hold for problems of any size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "plan/partition.h"
#include "tiny_model.h"

#define MAX_LAYERS 40
#define MAX_NODES  14
#define MAX_KINDS  3
#define MIB	   ((uint64_t)1 << 20)

/* A problem with all that it points to. */
struct world {
	struct sherd_problem p;
	struct sherd_sizes sizes;
	struct sherd_cluster cluster;
	uint64_t layer[MAX_LAYERS];
	uint8_t kind_of[MAX_LAYERS];
	struct sherd_cluster_node nodes[MAX_NODES];
	struct sherd_cluster_link links[(MAX_NODES + 1) * (MAX_NODES + 1)];
	struct sherd_profile profiles[MAX_NODES];
	struct sherd_profile_width widths[MAX_NODES];
	struct sherd_profile_kind kinds[MAX_NODES][MAX_KINDS];
};

static uint64_t seed;

static double uniform(uint64_t *rng, double lo, double hi)
{
	return lo + (hi - lo) * (tiny_random(rng) / 4294967296.0);
}

/* A time that grows with the tokens, in steps of any height. */
static struct sherd_curve random_curve(uint64_t *rng, double scale)
{
	static const int tokens[] = { 1, 4, 8, 12, 16, 32, 64, 128, 256 };
	struct sherd_curve c = { 0 };
	double us = scale * uniform(rng, 0.5, 2);

	for (size_t i = 0; i < ARRAY_SIZE(tokens); i++) {
		sherd_curve_add(&c, tokens[i], us);
		us *= uniform(rng, 1, 2);
	}
	return c;
}

static void random_sizes(struct world *w, uint64_t *rng, int n_layers, int n_kinds)
{
	struct sherd_sizes *z = &w->sizes;

	*z = (struct sherd_sizes){ .hash = "same",
				   .n_layers = n_layers,
				   .hidden = 64,
				   .n_vocab = 100,
				   .layer = w->layer,
				   .kind_of = w->kind_of,
				   .n_kinds = n_kinds,
				   .kv_page_layer = 4096,
				   .kv_page = 64,
				   .scratch = 1 << 16,
				   .scratch_row = 4096 };
	z->embed = 1 + tiny_below(rng, 20) * MIB;
	z->output = 1 + tiny_below(rng, 20) * MIB;
	if (!tiny_below(rng, 3)) {
		z->output += z->embed;
		z->shared = z->embed;
	}
	for (int l = 0; l < n_layers; l++) {
		z->kind_of[l] = (uint8_t)tiny_below(rng, n_kinds);
		z->layer[l] = (8 + 4 * z->kind_of[l]) * MIB;
	}
}

static void random_node(struct world *w, uint64_t *rng, int i)
{
	struct sherd_profile *p = &w->profiles[i];
	struct sherd_profile_width *width = &w->widths[i];
	double speed = uniform(rng, 0.3, 3);

	*width = (struct sherd_profile_width){ .kinds = w->kinds[i], .n_kinds = w->sizes.n_kinds,
					       .kind_of = w->kind_of };
	width->step = random_curve(rng, 20);
	width->embed = random_curve(rng, 5);
	width->output = random_curve(rng, 300 * speed);
	for (int k = 0; k < w->sizes.n_kinds; k++)
		w->kinds[i][k].us = random_curve(rng, 200 * speed);
	*p = (struct sherd_profile){ .model_hash = "same", .n_layers = w->sizes.n_layers,
				     .widths = width, .n_widths = 1 };
	w->nodes[i] = (struct sherd_cluster_node){ .slower = 1, .profile = p, .memory = 1 << 30 };
}

static struct sherd_cluster_link random_link(uint64_t *rng)
{
	return (struct sherd_cluster_link){ .mbit = uniform(rng, 10, 1000),
					     .rtt_us = uniform(rng, 0, 1000) };
}

/* All alike, or not; or alike but for those into one node, or out of it. */
static void random_links(struct world *w, uint64_t *rng, int n, bool even)
{
	struct sherd_cluster_link one = random_link(rng);
	int odd = tiny_below(rng, n + 1), kind = tiny_below(rng, 3);

	for (int i = 0; i <= n; i++)
		for (int k = 0; k <= n; k++)
			w->links[i * (n + 1) + k] = !even || (kind == 1 && k == odd) ||
								    (kind == 2 && i == odd) ?
							    random_link(rng) :
							    one;
}

static struct world *random_world(uint64_t *rng, int n_nodes, int n_layers)
{
	struct world *w = calloc(1, sizeof(*w));
	bool twins = !tiny_below(rng, 3), tight = tiny_below(rng, 2);

	assert_non_null(w);
	random_sizes(w, rng, n_layers, 1 + tiny_below(rng, MAX_KINDS));
	for (int i = 0; i < n_nodes; i++) {
		random_node(w, rng, i);
		if (twins && i && tiny_below(rng, 2))
			w->nodes[i] = w->nodes[i - 1];
		if (tight)
			w->nodes[i].memory = (uint64_t)(tiny_below(rng, 16 * n_layers) + 8) * MIB;
	}
	random_links(w, rng, n_nodes, tiny_below(rng, 2));
	w->cluster =
		(struct sherd_cluster){ .nodes = w->nodes, .n_nodes = n_nodes, .links = w->links };
	w->p = (struct sherd_problem){ .sizes = &w->sizes,
				       .cluster = &w->cluster,
				       .objective = tiny_below(rng, 3) ? SHERD_LATENCY
								       : SHERD_THROUGHPUT,
				       .wire = (enum sherd_wire)tiny_below(rng, 3),
				       .n_ctx = tiny_below(rng, 3) ? 256 : 65536,
				       .n_sessions = 1 + tiny_below(rng, 5),
				       .n_prompt = 1 + tiny_below(rng, 200),
				       .n_predict = tiny_below(rng, 2) * tiny_below(rng, 50),
				       .reserve = MIB };
	return w;
}

/* ------------------------------------------------------------- brute force */

struct brute {
	const struct sherd_problem *p;
	struct sherd_pipeline pipe;
	double best;
	long tried;
};

static bool fits(const struct sherd_problem *p, const struct sherd_stage_span *s, int chunk)
{
	struct sherd_need need;

	sherd_cost_need(p, s->first, s->end, chunk, &need);
	return need.total <= sherd_cluster_memory(&p->cluster->nodes[s->node]);
}

static void brute_stage(struct brute *b, int from, unsigned used)
{
	const struct sherd_problem *p = b->p;
	struct sherd_prediction out;

	if (from == p->sizes->n_layers) {
		sherd_cost_predict(p, &b->pipe, &out);
		b->best = MIN(b->best, sherd_cost_value(p, &out));
		b->tried++;
		return;
	}
	for (int n = 0; n < p->cluster->n_nodes; n++)
		for (int end = from + 1; end <= p->sizes->n_layers && !(used >> n & 1); end++) {
			const struct sherd_stage_span s = { n, from, end };

			if (!fits(p, &s, b->pipe.chunk))
				continue;
			b->pipe.stages[b->pipe.n_stages++] = s;
			brute_stage(b, end, used | 1u << n);
			b->pipe.n_stages--;
		}
}

static double brute_force(const struct sherd_problem *p, long *tried)
{
	int chunks[SHERD_MAX_CHUNK], groups[SHERD_CLUSTER_NODES + 1];
	int n_chunks = sherd_partition_chunks(p, chunks),
	    n_groups = sherd_partition_groups(p, groups);
	struct brute b = { .p = p, .best = INFINITY };

	for (int i = 0; i < n_chunks; i++)
		for (int k = 0; k < n_groups; k++) {
			b.pipe.chunk = chunks[i];
			b.pipe.group = groups[k];
			brute_stage(&b, 0, 0);
		}
	*tried += b.tried;
	return b.best;
}

/* ------------------------------------------------------------------ checks */

/* Every layer once and in order, no node twice, and all within their memory. */
static void check_sound(const struct sherd_problem *p, const struct sherd_pipeline *pipe)
{
	uint64_t used = 0;
	int at = 0;

	for (int i = 0; i < pipe->n_stages; i++) {
		const struct sherd_stage_span *s = &pipe->stages[i];

		assert_int_equal(s->first, at);
		assert_true(s->end > s->first);
		assert_false(used >> s->node & 1);
		used |= (uint64_t)1 << s->node;
		assert_true(fits(p, s, pipe->chunk));
		at = s->end;
	}
	assert_int_equal(at, p->sizes->n_layers);
}

/* The best value; infinite where nothing fits. */
static double solve(const struct sherd_problem *p, int must, struct sherd_pipeline *pipe)
{
	struct sherd_prediction out;
	struct sherd_error err = { "" };
	bool exact;
	int rc = sherd_partition(p, must < 0 ? 0 : (uint64_t)1 << must, SHERD_SEARCH_WIDE, pipe,
				 &exact, &err);

	if (rc == -ENOSPC) {
		assert_true(strlen(err.msg) > 20);
		return INFINITY;
	}
	assert_int_equal(rc, 0);
	assert_true(exact);
	check_sound(p, pipe);
	sherd_cost_predict(p, pipe, &out);
	return sherd_cost_value(p, &out);
}

static bool close_to(double a, double b)
{
	return a == b || fabs(a - b) <= 2e-5 * fabs(b); /* what a tie is broken by weighs 1e-6 */
}

static void the_search_finds_what_brute_force_finds(void **state)
{
	int n = getenv("SHERD_LONG") ? 20000 : 1500, infeasible = 0, i;
	struct sherd_pipeline pipe;
	long tried = 0;

	(void)state;
	for (i = 0; i < n; i++) {
		uint64_t rng = seed + (uint64_t)i;
		int n_nodes = 1 + tiny_below(&rng, 4);
		struct world *w =
			random_world(&rng, n_nodes, 1 + tiny_below(&rng, n_nodes > 3 ? 5 : 7));
		double want = brute_force(&w->p, &tried), got = solve(&w->p, -1, &pipe);

		if (!close_to(got, want))
			fail_msg("problem %d: brute force finds %.9g us, the search %.9g", i, want,
				 got);
		infeasible += isinf(want);
		free(w);
	}
	print_message("# %d problems (%d without an answer), %ld pipelines\n", n, infeasible,
		      tried);
	assert_true(infeasible > n / 100 && infeasible < n / 2);
}

static void a_node_that_has_to_be_there_is_there_and_costs_no_less(void **state)
{
	struct sherd_pipeline pipe, with;

	(void)state;
	for (int i = 0; i < 100; i++) {
		uint64_t rng = seed + 7777 + (uint64_t)i;
		struct world *w = random_world(&rng, 2 + tiny_below(&rng, 4), 8);
		double free_choice = solve(&w->p, -1, &pipe);

		for (int must = 0; must < w->cluster.n_nodes; must++) {
			double v = solve(&w->p, must, &with);
			bool there = isinf(v);

			for (int k = 0; k < with.n_stages && !there; k++)
				there = with.stages[k].node == must;
			assert_true(there);
			assert_true(v >= free_choice * (1 - 1e-5));
		}
		free(w);
	}
}

static void more_of_anything_makes_no_plan_worse(void **state)
{
	struct sherd_pipeline pipe;

	(void)state;
	for (int i = 0; i < 200; i++) {
		uint64_t rng = seed + 55555 + (uint64_t)i;
		int n = 2 + tiny_below(&rng, 4);
		struct world *w = random_world(&rng, n, 6 + tiny_below(&rng, 10));
		double was = solve(&w->p, -1, &pipe), v;
		int node = tiny_below(&rng, n);

		w->nodes[node].memory *= 2;
		v = solve(&w->p, -1, &pipe);
		assert_true(isinf(was) || v <= was * (1 + 1e-5));
		was = v;
		w->nodes[node].slower = 0.5;
		v = solve(&w->p, -1, &pipe);
		assert_true(isinf(was) || v <= was * (1 + 1e-5));
		was = v;
		for (int k = 0; k < (n + 1) * (n + 1); k++)
			w->links[k].mbit *= 2;
		v = solve(&w->p, -1, &pipe);
		assert_true(isinf(was) || v <= was * (1 + 1e-5));
		was = v;
		w->p.n_ctx *= 16;
		v = solve(&w->p, -1, &pipe);
		assert_true(isinf(v) || v >= was * (1 - 1e-5));
		free(w);
	}
}

/* Equal boards, links that take no time: facts that can be worked out on paper. */
static struct world *even_world(int n_nodes, int n_layers, double us)
{
	uint64_t rng = 1;
	struct world *w = random_world(&rng, n_nodes, n_layers);
	struct sherd_curve per_token = { .n = 2, .tokens = { 1, 256 }, .us = { us, 256 * us } };

	w->sizes.n_kinds = 1;
	memset(w->kind_of, 0, sizeof(w->kind_of));
	for (int l = 0; l < n_layers; l++)
		w->layer[l] = 8 * MIB;
	for (int i = 0; i < n_nodes; i++) {
		w->nodes[i] = (struct sherd_cluster_node){ .slower = 1, .profile = &w->profiles[i],
							   .memory = (uint64_t)1 << 40 };
		w->widths[i].n_kinds = 1;
		w->kinds[i][0].us = per_token;
		w->widths[i].step.n = w->widths[i].embed.n = w->widths[i].output.n = 0;
	}
	for (int i = 0; i < (n_nodes + 1) * (n_nodes + 1); i++)
		w->links[i] = (struct sherd_cluster_link){ .mbit = 1e9 };
	w->p.objective = SHERD_LATENCY;
	w->p.n_prompt = 128;
	w->p.n_predict = 0;
	w->p.n_sessions = 1;
	return w;
}

static void equal_boards_reach_the_flow_shops_ideal(void **state)
{
	(void)state;
	for (int n = 1; n <= 4; n++) {
		struct world *w = even_world(n, 12, 10);
		struct sherd_pipeline pipe;
		struct sherd_prediction out;
		double alone = 128 * 12 * 10, m, got = solve(&w->p, -1, &pipe);

		m = DIV_ROUND_UP(128, pipe.chunk);
		assert_int_equal(pipe.n_stages, n);
		/* N M / (M + N - 1); chunks are even, since 128 divides */
		assert_true(fabs(alone / got - n * m / (m + n - 1)) < 0.02);
		sherd_cost_predict(&w->p, &pipe, &out);
		assert_true(fabs(out.bubble - (1 - m / (m + n - 1))) < 0.01);
		assert_true(fabs(out.bound_us - alone / n) < 1);
		free(w);
	}
}

static void a_board_that_only_slows_the_pipeline_down_is_left_out(void **state)
{
	struct world *w = even_world(3, 12, 10);
	struct sherd_pipeline pipe;

	(void)state;
	w->nodes[1].slower = 500;
	solve(&w->p, -1, &pipe);
	assert_int_equal(pipe.n_stages, 2);
	for (int i = 0; i < pipe.n_stages; i++)
		assert_int_not_equal(pipe.stages[i].node, 1);
	free(w);
}

static void an_unequal_board_gets_its_share(void **state)
{
	struct world *w = even_world(2, 24, 10);
	struct sherd_pipeline pipe;

	(void)state;
	w->nodes[0].slower = 2;
	solve(&w->p, -1, &pipe);
	assert_int_equal(pipe.n_stages, 2);
	for (int i = 0; i < 2; i++)
		assert_in_range(pipe.stages[i].end - pipe.stages[i].first,
				pipe.stages[i].node ? 15 : 7, pipe.stages[i].node ? 17 : 9);
	free(w);
}

static void decoding_alone_takes_the_fewest_boards(void **state)
{
	struct world *w = even_world(3, 12, 10);
	struct sherd_pipeline pipe;

	(void)state;
	for (int i = 0; i < 16; i++)
		w->links[i].rtt_us = 100;
	w->p.n_predict = 10000;
	solve(&w->p, -1, &pipe);
	assert_int_equal(pipe.n_stages, 1);
	/* ... unless none holds all layers */
	w->sizes.embed = w->sizes.output = w->sizes.shared = 0;
	for (int i = 0; i < 3; i++)
		w->nodes[i].memory = 8 * MIB + 7 * w->layer[0];
	solve(&w->p, -1, &pipe);
	assert_int_equal(pipe.n_stages, 2);
	free(w);
}

static void missing_memory_is_said_with_layers_and_numbers(void **state)
{
	struct world *w = even_world(2, 12, 10);
	struct sherd_pipeline pipe;
	struct sherd_error err;
	bool exact;

	(void)state;
	for (int l = 0; l < 12; l++)
		w->layer[l] = 100 * MIB;
	w->sizes.embed = w->sizes.output = w->sizes.shared = 0;
	w->nodes[0].memory = 450 * MIB;
	w->nodes[1].memory = 350 * MIB;
	assert_int_equal(sherd_partition(&w->p, 0, SHERD_SEARCH_WIDE, &pipe, &exact, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.msg, "layers 0 to 6 at most: layers 7 to 11 take"));
	assert_non_null(strstr(err.msg, "weights 500.0"));
	w->nodes[0].memory = w->nodes[1].memory = 50 * MIB;
	assert_int_equal(sherd_partition(&w->p, 0, SHERD_SEARCH_WIDE, &pipe, &exact, &err),
			 -ENOSPC);
	assert_non_null(strstr(err.msg, "none of the layers: layers 0 to 11 take"));
	w->nodes[0].profile = w->nodes[1].profile = NULL;
	assert_int_equal(sherd_partition(&w->p, 0, SHERD_SEARCH_WIDE, &pipe, &exact, &err),
			 -ENODATA);
	free(w);
}

static void eight_uneven_nodes_are_planned_exactly(void **state)
{
	int n = getenv("SHERD_LONG") ? 50 : 4;
	struct sherd_pipeline pipe;

	(void)state;
	for (int i = 0; i < n; i++) {
		uint64_t rng = seed + 99 + (uint64_t)i;
		struct world *w = random_world(&rng, 8, 20);

		random_links(w, &rng, 8, i % 2);
		w->p.objective = i % 4 < 2 ? SHERD_LATENCY : SHERD_THROUGHPUT;
		solve(&w->p, -1, &pipe);
		free(w);
	}
}

static void
a_narrow_search_gives_a_sound_plan_and_says_that_it_is_narrow(void **state)
{
	uint64_t rng = seed + 4711;
	struct world *w = random_world(&rng, MAX_NODES, MAX_LAYERS);
	struct sherd_pipeline pipe;
	bool exact = true;

	(void)state;
	for (int i = 0; i < MAX_NODES; i++)
		w->nodes[i].memory = (uint64_t)1 << 40;
	random_links(w, &rng, MAX_NODES, false);
	w->p.objective = SHERD_LATENCY;
	w->p.n_prompt = 128;
	assert_int_equal(sherd_partition(&w->p, 0, 8, &pipe, &exact, NULL), 0);
	check_sound(&w->p, &pipe);
	assert_false(exact);
	free(w);
}

static void curves_are_lines_between_what_was_measured(void **state)
{
	struct sherd_curve c = { 0 };

	(void)state;
	assert_true(sherd_curve_at(&c, 5) == 0);
	sherd_curve_add(&c, 4, 100);
	assert_true(sherd_curve_at(&c, 1) == 100 && sherd_curve_at(&c, 900) == 100);
	sherd_curve_add(&c, 8, 300);
	sherd_curve_add(&c, 16, 400);
	assert_true(sherd_curve_at(&c, 1) == 100 && sherd_curve_at(&c, 4) == 100);
	assert_true(sherd_curve_at(&c, 6) == 200 && sherd_curve_at(&c, 8) == 300);
	assert_true(sherd_curve_at(&c, 12) == 350 && sherd_curve_at(&c, 32) == 600);
}

static void a_stages_memory_is_what_its_parts_take(void **state)
{
	struct world *w = even_world(1, 4, 1);
	struct sherd_need n;

	(void)state;
	w->sizes.embed = 100;
	w->sizes.output = 130;
	w->sizes.shared = 90;
	for (int l = 0; l < 4; l++)
		w->layer[l] = 1000;
	w->p.n_ctx = 65; /* two pages */
	w->p.n_sessions = 3;
	sherd_cost_need(&w->p, 0, 2, 16, &n);
	assert_int_equal(n.weights, 2100);
	assert_int_equal(n.kv, 3 * 2 * 2 * 4096);
	assert_int_equal(n.journal, 3 * 65 * sherd_cost_frame(&w->p, 1, false));
	assert_int_equal(n.total, n.weights + n.kv + n.journal + n.scratch + MIB);
	sherd_cost_need(&w->p, 3, 4, 16, &n);
	assert_int_equal(n.weights, 1130);
	assert_int_equal(n.journal, 0);
	sherd_cost_need(&w->p, 0, 4, 16, &n);
	assert_int_equal(n.weights, 4140);
	free(w);
}

static void a_step_has_room_for_a_chunk_beside_a_token_of_every_session(void **state)
{
	struct world *w = even_world(1, 4, 1);
	struct sherd_need n, m;

	(void)state;
	assert_int_equal(sherd_cost_batch(16, 1), 32); /* or for two chunks */
	assert_int_equal(sherd_cost_batch(16, 40), 56);
	assert_int_equal(sherd_cost_batch(SHERD_STEP_MAX, 1), SHERD_STEP_MAX);
	w->p.n_sessions = 40;
	sherd_cost_need(&w->p, 1, 2, 16, &n);
	w->sizes.scratch_row += 1000;
	sherd_cost_need(&w->p, 1, 2, 16, &m);
	assert_int_equal(m.scratch - n.scratch, 56 * 1000);
	free(w);
}

static void frames_have_the_length_that_the_protocol_gives_them(void **state)
{
	struct world *w = even_world(1, 1, 1);

	(void)state;
	w->sizes.hidden = 4096;
	w->p.wire = SHERD_WIRE_INT8;
	assert_int_equal(sherd_cost_frame(&w->p, 1, false), 64 + 64 + 4352);
	assert_int_equal(sherd_cost_frame(&w->p, 16, false), 64 + 64 + 16 * 4352);
	assert_int_equal(sherd_cost_frame(&w->p, 17, true), 64 + 128);
	w->p.wire = SHERD_WIRE_F16;
	assert_int_equal(sherd_cost_frame(&w->p, 1, false), 64 + 64 + 8192);
	w->p.wire = SHERD_WIRE_F32;
	assert_int_equal(sherd_cost_frame(&w->p, 1, false), 64 + 64 + 16384);
	free(w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_search_finds_what_brute_force_finds),
		cmocka_unit_test(a_node_that_has_to_be_there_is_there_and_costs_no_less),
		cmocka_unit_test(more_of_anything_makes_no_plan_worse),
		cmocka_unit_test(equal_boards_reach_the_flow_shops_ideal),
		cmocka_unit_test(a_board_that_only_slows_the_pipeline_down_is_left_out),
		cmocka_unit_test(an_unequal_board_gets_its_share),
		cmocka_unit_test(decoding_alone_takes_the_fewest_boards),
		cmocka_unit_test(missing_memory_is_said_with_layers_and_numbers),
		cmocka_unit_test(eight_uneven_nodes_are_planned_exactly),
		cmocka_unit_test(
			a_narrow_search_gives_a_sound_plan_and_says_that_it_is_narrow),
		cmocka_unit_test(curves_are_lines_between_what_was_measured),
		cmocka_unit_test(a_stages_memory_is_what_its_parts_take),
		cmocka_unit_test(a_step_has_room_for_a_chunk_beside_a_token_of_every_session),
		cmocka_unit_test(frames_have_the_length_that_the_protocol_gives_them),
	};

	seed = tiny_seed() * 0x9e3779b97f4a7c15u; /* neighbours have nothing in common */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
