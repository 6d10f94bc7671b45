/* SPDX-License-Identifier: MIT */
/*
 * Which stages spares stand in for: never more than they hold all at once. A stage is one layer
 * here, and what is not its weights is small beside them.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include "plan/spares.h"
#include "tiny_model.h"

#define MAX_STAGES 6
#define MAX_NODES  12
#define MIB	   ((uint64_t)1 << 20)
#define RESERVE	   (3 * MIB)
#define BESIDES	   (MIB / 2) /* of a node, more than all that is no weights */

struct world {
	struct sherd_problem p;
	struct sherd_pipeline pipe;
	struct sherd_sizes sizes;
	struct sherd_cluster cluster;
	uint64_t layer[MAX_STAGES];
	struct sherd_cluster_node nodes[MAX_NODES];
	struct sherd_profile profiles[MAX_NODES];
	struct sherd_profile_width width;
	struct sherd_spare spares[SHERD_CLUSTER_NODES];
};

static uint64_t seed;

static void add_node(struct world *w, uint64_t mib)
{
	int n = w->cluster.n_nodes++;

	w->profiles[n] = (struct sherd_profile){ .model_hash = "same",
						 .bit_profile = "these",
						 .n_layers = w->sizes.n_layers,
						 .widths = &w->width,
						 .n_widths = 1 };
	w->nodes[n] = (struct sherd_cluster_node){ .memory = RESERVE + mib * MIB + BESIDES,
						   .profile = &w->profiles[n] };
}

/* @stages, @rooms: MiB of weights, and for weights; up to a 0. */
static struct world *make_world(const int *stages, const int *rooms)
{
	struct world *w = calloc(1, sizeof(*w));

	assert_non_null(w);
	w->sizes = (struct sherd_sizes){ .hash = "same",
					 .hidden = 64,
					 .n_vocab = 100,
					 .layer = w->layer,
					 .kv_page_layer = 4096,
					 .kv_page = 64,
					 .scratch = 4096,
					 .scratch_row = 64 };
	w->cluster.nodes = w->nodes;
	w->p = (struct sherd_problem){ .sizes = &w->sizes,
				       .cluster = &w->cluster,
				       .n_ctx = 64,
				       .n_sessions = 1,
				       .n_prompt = 16,
				       .reserve = RESERVE };
	w->pipe.chunk = 16;
	while (stages[w->sizes.n_layers])
		w->sizes.n_layers++;
	for (int k = 0; k < w->sizes.n_layers; k++) {
		w->layer[k] = (uint64_t)stages[k] * MIB;
		w->pipe.stages[w->pipe.n_stages++] = (struct sherd_stage_span){ k, k, k + 1 };
		add_node(w, 1000);
	}
	for (int i = 0; rooms[i]; i++)
		add_node(w, (uint64_t)rooms[i]);
	return w;
}

#define WORLD(stages, ...) make_world((const int[]){ stages, 0 }, (const int[]){ __VA_ARGS__, 0 })
#define STAGES(...)	   __VA_ARGS__

/* Of the spare that is @i-th after the nodes with stages. */
static uint64_t stages_of(struct world *w, int i)
{
	sherd_spares_choose(&w->p, &w->pipe, w->spares);
	return w->spares[w->pipe.n_stages + i].stages;
}

/* What the stages that node @n is a spare for take all at once. */
static uint64_t sum(const struct world *w, int n)
{
	uint64_t bytes = RESERVE;
	struct sherd_need need;

	for (int k = 0; k < w->pipe.n_stages; k++)
		if (w->spares[n].stages >> k & 1) {
			sherd_cost_need(&w->p, k, k + 1, w->pipe.chunk, &need);
			bytes += need.total - RESERVE;
		}
	return bytes;
}

static void a_spare_holds_all_that_it_stands_in_for_at_once(void **state)
{
	struct world *w = WORLD(STAGES(5, 3), 8, 7);

	(void)state;
	/* each of the two would fit the small one */
	assert_int_equal(stages_of(w, 0), 3);
	assert_int_equal(stages_of(w, 1), 1);
	assert_int_equal(w->spares[2].memory, sum(w, 2));
	assert_int_equal(w->spares[3].memory, sum(w, 3));
	/* with the reserve once, or there was no room for both */
	assert_true(w->spares[2].memory < 2 * RESERVE + 8 * MIB);
	/* who has a stage is none */
	assert_true(!w->spares[0].stages && !w->spares[1].stages);
	free(w);
}

static void as_many_stages_as_possible_have_a_spare(void **state)
{
	struct world *w = WORLD(STAGES(9, 4, 5), 9);

	(void)state;
	assert_int_equal(stages_of(w, 0), 6); /* two small ones, and not the large one */
	free(w);
	w = WORLD(STAGES(4, 6, 6), 10, 6);
	assert_int_equal(stages_of(w, 0) | stages_of(w, 1), 7);
	free(w);
}

static void what_room_is_left_makes_second_spares(void **state)
{
	struct world *w = WORLD(STAGES(3, 5), 4, 8);

	(void)state;
	assert_int_equal(stages_of(w, 0), 1);
	assert_int_equal(stages_of(w, 1), 3);
	free(w);
}

static void a_spare_computes_the_same_bits(void **state)
{
	struct world *w = WORLD(STAGES(3, 9, 3), 20, 3, 9, 20);

	(void)state;
	strcpy(w->profiles[2].bit_profile, "those");
	strcpy(w->profiles[4].bit_profile, "those");
	strcpy(w->profiles[6].bit_profile, SHERD_UNTESTED);
	assert_int_equal(stages_of(w, 0), 3);
	assert_int_equal(stages_of(w, 1), 4);
	assert_int_equal(stages_of(w, 2), 2);
	assert_int_equal(stages_of(w, 3), 0);
	/* not even those of the stage's own, which nobody knows */
	strcpy(w->profiles[0].bit_profile, SHERD_UNTESTED);
	assert_int_equal(stages_of(w, 3), 0);
	/* who has not measured the model can't be asked to */
	w->nodes[3].profile = NULL;
	w->profiles[5].n_widths = 0;
	assert_int_equal(stages_of(w, 0) | stages_of(w, 2), 0);
	assert_int_equal(stages_of(w, 1), 4);
	free(w);
}

static void check(struct world *w)
{
	uint64_t all = (UINT64_C(1) << w->pipe.n_stages) - 1;

	sherd_spares_choose(&w->p, &w->pipe, w->spares);
	for (int n = 0; n < w->cluster.n_nodes; n++) {
		const struct sherd_spare *s = &w->spares[n];

		assert_int_equal(s->memory, s->stages ? sum(w, n) : 0);
		assert_true(s->memory <= w->nodes[n].memory);
		assert_int_equal(s->stages & ~all, 0);
	}
	/* and no room is left in which one stage more would have fitted */
	for (int n = w->pipe.n_stages; n < w->cluster.n_nodes; n++)
		for (int k = 0; k < w->pipe.n_stages; k++)
			if (!(w->spares[n].stages >> k & 1)) {
				w->spares[n].stages |= UINT64_C(1) << k;
				assert_true(sum(w, n) > w->nodes[n].memory);
				w->spares[n].stages &= ~(UINT64_C(1) << k);
			}
}

static void no_spare_takes_more_than_it_has_and_none_has_room_to_spare(void **state)
{
	(void)state;
	for (int i = 0; i < 2000; i++) {
		int stages[MAX_STAGES + 1] = { 0 }, rooms[MAX_NODES - MAX_STAGES + 1] = { 0 };
		uint64_t rng = seed + (uint64_t)i;
		struct world *w;

		for (int k = 1 + tiny_below(&rng, MAX_STAGES); k--;)
			stages[k] = 1 + tiny_below(&rng, 12);
		for (int k = tiny_below(&rng, MAX_NODES - MAX_STAGES + 1); k--;)
			rooms[k] = 1 + tiny_below(&rng, 30);
		w = make_world(stages, rooms);
		check(w);
		free(w);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_spare_holds_all_that_it_stands_in_for_at_once),
		cmocka_unit_test(as_many_stages_as_possible_have_a_spare),
		cmocka_unit_test(what_room_is_left_makes_second_spares),
		cmocka_unit_test(a_spare_computes_the_same_bits),
		cmocka_unit_test(no_spare_takes_more_than_it_has_and_none_has_room_to_spare),
	};

	seed = tiny_seed() * 0x9e3779b97f4a7c15u;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
