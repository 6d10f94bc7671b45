/* SPDX-License-Identifier: MIT */
/*
 * partition: runs the search (search.c) for every chunk that is worth a look, first narrow and then
 * wider until nothing is cut: a narrow search finds a good pipeline soon, and the wider one after
 * it then drops at once whatever can't beat that. Where nothing fits, it says how far the nodes'
 * memory reaches.
 */
#include <math.h>
#include <stdlib.h>
#include "plan/search.h"

#define MANY_CHUNKS 32 /* prompts are cut evenly into 1 to that many */
#define FIRST_WIDTH ((size_t)64)
#define WIDER	    16 /* than the search before it */

int sherd_partition_chunks(const struct sherd_problem *p, int chunks[SHERD_MAX_CHUNK])
{
	/*
	 * What nodes measure, and 48, 96 and 192, where these are far apart. In between a kernel's
	 * steps may hide, so that few others are tried.
	 */
	static const int usual[] = { 1, 4, 8, 12, 16, 18, 24, 32, 48, 64, 96, 128, 192, 256 };
	bool wanted[SHERD_MAX_CHUNK + 1] = { false };
	int n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(usual); i++)
		if (usual[i] <= p->n_prompt)
			wanted[usual[i]] = true;
	for (int m = 1; m <= MANY_CHUNKS; m++) {
		int c = ROUND_UP(DIV_ROUND_UP(p->n_prompt, m), m > 1 ? 4 : 1);

		if (c <= MIN(p->n_prompt, SHERD_MAX_CHUNK))
			wanted[c] = true;
	}
	for (int c = 1; c <= SHERD_MAX_CHUNK; c++)
		if (wanted[c])
			chunks[n++] = c;
	return n;
}

int sherd_partition_groups(const struct sherd_problem *p, int groups[SHERD_CLUSTER_NODES + 1])
{
	int n = 0, most = MIN(p->n_sessions, p->cluster->n_nodes + 1);

	if (p->objective == SHERD_LATENCY)
		most = 0;
	/* As many groups as there are stages, and one on its way, keep all of them busy. */
	for (int m = most; m > 0; m--) {
		int g = DIV_ROUND_UP(p->n_sessions, m);

		if (!n || groups[n - 1] != g)
			groups[n++] = g;
	}
	if (!n)
		groups[n++] = 1;
	return n;
}

/* ------------------------------------------------------------ what is missing */

/* The furthest layer that the nodes of @mask reach in any order; memory is all that counts. */
static int reach(const struct sherd_search *s, int from, uint64_t mask)
{
	int best = from;

	for (int n = 0; n < s->n_nodes; n++) {
		int end = s->n_layers;

		if (!s->nodes[n].usable || (mask >> n & 1))
			continue;
		while (end > from &&
		       s->need[(size_t)from * (s->n_layers + 1) + end] > s->nodes[n].memory)
			end--;
		if (end > from)
			best = MAX(best, end == s->n_layers
						 ? end
						 : reach(s, end, mask | (uint64_t)1 << n));
		if (best == s->n_layers)
			break;
	}
	return best;
}

/*
 * All orders of a few nodes; of many, the largest first, which reaches as far or nearly so (a small
 * node may do better with the embedding or without the output matrix).
 */
static int furthest(const struct sherd_search *s)
{
	uint64_t mask = 0;
	int at = 0, n_usable = 0;

	for (int n = 0; n < s->n_nodes; n++)
		n_usable += s->nodes[n].usable;
	if (n_usable <= 8)
		return reach(s, 0, 0);
	for (int k = 0; k < n_usable && at < s->n_layers; k++) {
		int largest = -1, end = s->n_layers;

		for (int n = 0; n < s->n_nodes; n++)
			if (s->nodes[n].usable && !(mask >> n & 1) &&
			    (largest < 0 || s->nodes[n].memory > s->nodes[largest].memory))
				largest = n;
		while (end > at && s->need[(size_t)at * (s->n_layers + 1) + end] >
					   s->nodes[largest].memory)
			end--;
		mask |= (uint64_t)1 << largest;
		at = end;
	}
	return at;
}

static int nothing_fits(const struct sherd_search *s, struct sherd_error *err)
{
	int at = furthest(s), last = s->n_layers - 1;
	const struct sherd_problem *p = s->p;
	const double mib = 1 << 20;
	struct sherd_need n;
	char held[64] = "none of the layers";

	if (at == s->n_layers)
		return sherd_fail(err, -ENOSPC, "no pipeline was found%s",
				  s->must ? " that has these nodes in it" : "");
	if (at)
		snprintf(held, sizeof(held), "layers 0 to %d at most", at - 1);
	sherd_cost_need(p, at, s->n_layers, s->chunk, &n);
	return sherd_fail(
		err, -ENOSPC,
		"the nodes' memory holds %s: layers %d to %d take %.1f MiB more (weights %.1f, "
		"KV cache %.1f for %d x %d tokens, the rest %.1f); another node, a shorter "
		"context, fewer sessions or fewer bits would help",
		held, at, last, (double)n.total / mib, (double)n.weights / mib, (double)n.kv / mib,
		p->n_sessions, p->n_ctx, (double)(n.total - n.weights - n.kv) / mib);
}

/* --------------------------------------------------------------------- all */

static int check(const struct sherd_problem *p, struct sherd_error *err)
{
	int usable = 0;

	if (p->n_prompt < 1 || p->n_predict < 0 || p->n_ctx < 1 || p->n_sessions < 1)
		return sherd_fail(err, -EINVAL,
				  "a request of %d and %d tokens, a context of %d or %d "
				  "sessions: there is nothing to plan for",
				  p->n_prompt, p->n_predict, p->n_ctx, p->n_sessions);
	for (int n = 0; n < p->cluster->n_nodes; n++)
		usable += sherd_cost_usable(p, n);
	if (!usable)
		return sherd_fail(err, -ENODATA, "no node has measured this model yet");
	return 0;
}

static int search_all(struct sherd_search *s, size_t width)
{
	int chunks[SHERD_MAX_CHUNK], groups[SHERD_CLUSTER_NODES + 1];
	int n_chunks = sherd_partition_chunks(s->p, chunks);
	int n_groups = sherd_partition_groups(s->p, groups), rc = 0;
	int chunk = s->pipe.chunk, group = s->pipe.group;

	s->width = width;
	s->cut = false;
	if (chunk) /* where the best is by now, better things may be near */
		rc = sherd_search_run(s, chunk, group);
	for (int i = n_chunks - 1; i >= 0 && !rc; i--)
		for (int k = 0; k < n_groups && !rc; k++)
			if (chunks[i] != chunk || groups[k] != group)
				rc = sherd_search_run(s, chunks[i], groups[k]);
	return rc;
}

int sherd_partition(const struct sherd_problem *p, uint64_t must, size_t width,
		    struct sherd_pipeline *best, bool *exact, struct sherd_error *err)
{
	struct sherd_search s;
	int rc = check(p, err);

	if (rc)
		return rc;
	rc = sherd_search_init(&s, p, must, err);
	if (rc)
		goto destroy;
	for (size_t w = MIN(width, FIRST_WIDTH); !rc; w = MIN(width, w * WIDER)) {
		rc = search_all(&s, w);
		if (!s.cut || w == width)
			break;
	}
	if (rc)
		sherd_fail_oom(err, s.room * sizeof(*s.pool), "the search for a plan");
	else if (!isfinite(s.best))
		rc = nothing_fits(&s, err);
	*best = s.pipe;
	*exact = !s.cut;
destroy:
	sherd_search_destroy(&s);
	return rc;
}
