/* SPDX-License-Identifier: MIT */
/*
 * spares: first as many stages as possible get one spare, then what room is left makes second ones.
 *
 * A spare loads all that it stands in for at once, or a loss would have to wait for that: each
 * stage from a shard of its own, with the KV cache and the scratch of its own. Nothing is shared
 * but the reserve, so it is their sum that has to fit.
 */
#include "plan/spares.h"

struct choice {
	const struct sherd_problem *p;
	const struct sherd_pipeline *pipe;
	uint64_t takes[SHERD_CLUSTER_NODES];  /* of stages: without the reserve */
	uint64_t room[SHERD_CLUSTER_NODES];   /* of nodes: 0 where it can be no spare */
	uint64_t stages[SHERD_CLUSTER_NODES]; /* of nodes */
};

static const char *bits_of(const struct choice *c, int node)
{
	return c->p->cluster->nodes[node].profile->bit_profile;
}

static const char *bits_due(const struct choice *c, int stage)
{
	return bits_of(c, c->pipe->stages[stage].node);
}

/* A spare computes the very same bits as the stage's node, and has room. */
static bool can_take(const struct choice *c, int node, int stage)
{
	return c->takes[stage] <= c->room[node] && !(c->stages[node] >> stage & 1) &&
	       strcmp(bits_of(c, node), SHERD_UNTESTED) &&
	       !strcmp(bits_of(c, node), bits_due(c, stage));
}

/* The stage gets one spare more: the one with the least room, as more is for larger stages. */
static bool place(struct choice *c, int stage)
{
	int best = -1;

	for (int n = 0; n < c->p->cluster->n_nodes; n++)
		if (can_take(c, n, stage) && (best < 0 || c->room[n] < c->room[best]))
			best = n;
	if (best < 0)
		return false;
	c->stages[best] |= (uint64_t)1 << stage;
	c->room[best] -= c->takes[stage];
	return true;
}

/* The stages whose spares must compute what those of @stage do, the smallest first. */
static int find_alike(const struct choice *c, int stage, int alike[SHERD_CLUSTER_NODES])
{
	int n = 0;

	for (int k = 0; k < c->pipe->n_stages; k++) {
		int at = n;

		if (strcmp(bits_due(c, k), bits_due(c, stage)))
			continue;
		for (; at && c->takes[alike[at - 1]] > c->takes[k]; at--)
			alike[at] = alike[at - 1];
		alike[at] = k;
		n++;
	}
	return n;
}

/*
 * If any n of them can have a spare each, the n smallest can; and where they are placed the largest
 * first, what is left between fits the small ones.
 */
static void cover(struct choice *c, const int *alike, int n)
{
	const struct choice before = *c;

	for (; n; n--) {
		int left = n;

		while (left && place(c, alike[left - 1]))
			left--;
		if (!left)
			return;
		*c = before;
	}
}

static void cover_all(struct choice *c)
{
	int alike[SHERD_CLUSTER_NODES];
	uint64_t seen = 0;

	for (int k = 0; k < c->pipe->n_stages; k++) {
		int n = find_alike(c, k, alike);

		if (seen >> k & 1)
			continue;
		cover(c, alike, n);
		for (int i = 0; i < n; i++)
			seen |= (uint64_t)1 << alike[i];
	}
}

/* One spare more for each stage in turn, as long as there is room for any. */
static void add_seconds(struct choice *c)
{
	bool more;

	do {
		more = false;
		for (int k = 0; k < c->pipe->n_stages; k++)
			more |= place(c, k);
	} while (more);
}

static void find_room(struct choice *c)
{
	const struct sherd_problem *p = c->p;
	struct sherd_need need;

	for (int n = 0; n < p->cluster->n_nodes; n++) {
		uint64_t memory = sherd_cluster_memory(&p->cluster->nodes[n]);

		if (sherd_cost_usable(p, n) && memory > p->reserve)
			c->room[n] = memory - p->reserve;
	}
	for (int k = 0; k < c->pipe->n_stages; k++) {
		const struct sherd_stage_span *s = &c->pipe->stages[k];

		sherd_cost_need(p, s->first, s->end, c->pipe->chunk, &need);
		c->takes[k] = need.total - need.reserve;
		c->room[s->node] = 0;
	}
}

void sherd_spares_choose(const struct sherd_problem *p, const struct sherd_pipeline *pipe,
			 struct sherd_spare spares[SHERD_CLUSTER_NODES])
{
	struct choice c = { .p = p, .pipe = pipe };

	find_room(&c);
	cover_all(&c);
	add_seconds(&c);
	for (int n = 0; n < p->cluster->n_nodes; n++) {
		spares[n] = (struct sherd_spare){ .stages = c.stages[n] };
		if (c.stages[n])
			spares[n].memory = sherd_cluster_memory(&p->cluster->nodes[n]) - c.room[n];
	}
}
