/* SPDX-License-Identifier: MIT */
/*
 * cost: the sums of cost.h. Everything is looked up in what nodes measured or follows from a
 * frame's and a page's layout; there are no constants of a device here.
 */
#include "plan/cost.h"

#define FRAME_HEADER 64
#define FRAME_ALIGN  64
#define QUEUE_FRAMES 8 /* on their way into a stage and out of it */
#define TOKEN_BYTES  sizeof(int32_t)

static const struct sherd_profile_width *width(const struct sherd_problem *p, int node)
{
	return sherd_profile_width(p->cluster->nodes[node].profile, p->sizes->bits);
}

bool sherd_cost_usable(const struct sherd_problem *p, int node)
{
	const struct sherd_profile *profile = p->cluster->nodes[node].profile;

	return profile && !strcmp(profile->model_hash, p->sizes->hash) &&
	       profile->n_layers == p->sizes->n_layers && width(p, node);
}

/* -------------------------------------------------------------------- time */

static double slower(const struct sherd_problem *p, int node)
{
	return p->cluster->nodes[node].slower;
}

double sherd_cost_layer_us(const struct sherd_problem *p, int node, int layer, int tokens)
{
	const struct sherd_profile_width *w = width(p, node);

	return slower(p, node) * sherd_curve_at(&w->kinds[w->kind_of[layer]].us, tokens);
}

double sherd_cost_step_us(const struct sherd_problem *p, int node, int tokens)
{
	return slower(p, node) * sherd_curve_at(&width(p, node)->step, tokens);
}

double sherd_cost_embed_us(const struct sherd_problem *p, int node, int tokens)
{
	return slower(p, node) * sherd_curve_at(&width(p, node)->embed, tokens);
}

double sherd_cost_output_us(const struct sherd_problem *p, int node, int wanted)
{
	return wanted ? slower(p, node) * sherd_curve_at(&width(p, node)->output, wanted) : 0;
}

double sherd_cost_stage_us(const struct sherd_problem *p, const struct sherd_stage_span *s,
			   int tokens, int wanted)
{
	double us = sherd_cost_step_us(p, s->node, tokens);

	for (int l = s->first; l < s->end; l++)
		us += sherd_cost_layer_us(p, s->node, l, tokens);
	if (!s->first)
		us += sherd_cost_embed_us(p, s->node, tokens);
	if (s->end == p->sizes->n_layers)
		us += sherd_cost_output_us(p, s->node, wanted);
	return us;
}

/* ------------------------------------------------------------------- links */

static uint64_t row_bytes(const struct sherd_problem *p)
{
	uint64_t hidden = (uint64_t)p->sizes->hidden, groups = DIV_ROUND_UP(hidden, 32);

	switch (p->wire) {
	case SHERD_WIRE_F32:
		return 4 * hidden;
	case SHERD_WIRE_F16:
		return 2 * hidden;
	default:
		return groups * (32 + 2);
	}
}

uint64_t sherd_cost_frame(const struct sherd_problem *p, int tokens, bool ids)
{
	uint64_t n = (uint64_t)tokens, head = ROUND_UP(n * TOKEN_BYTES, FRAME_ALIGN);

	return FRAME_HEADER +
	       ROUND_UP(ids ? n * TOKEN_BYTES : head + n * row_bytes(p), FRAME_ALIGN);
}

double sherd_cost_link_us(const struct sherd_problem *p, int from, int to, int tokens)
{
	int head = p->cluster->n_nodes;
	uint64_t bytes = sherd_cost_frame(p, tokens, from == head || to == head);

	return (double)bytes * 8 / sherd_cluster_link(p->cluster, from, to)->mbit;
}

double sherd_cost_delay_us(const struct sherd_problem *p, int from, int to)
{
	return sherd_cluster_link(p->cluster, from, to)->rtt_us / 2;
}

/* ------------------------------------------------------------------ memory */

uint64_t sherd_cost_layer_bytes(const struct sherd_problem *p, int layer)
{
	return p->sizes->layer[layer];
}

static uint64_t layers_bytes(const struct sherd_problem *p, int first, int end)
{
	const struct sherd_sizes *z = p->sizes;
	uint64_t bytes = first ? 0 : z->embed;

	for (int l = first; l < end; l++)
		bytes += sherd_cost_layer_bytes(p, l);
	if (end < z->n_layers)
		return bytes;
	return bytes + z->output - (first ? 0 : z->shared);
}

int sherd_cost_batch(int chunk, int n_sessions)
{
	return MIN(MAX(chunk + n_sessions, 2 * chunk), SHERD_STEP_MAX);
}

void sherd_cost_need(const struct sherd_problem *p, int first, int end, int chunk,
		     struct sherd_need *n)
{
	const struct sherd_sizes *z = p->sizes;
	uint64_t sessions = (uint64_t)p->n_sessions;
	uint64_t rows = (uint64_t)sherd_cost_batch(chunk, p->n_sessions);
	bool last = end == z->n_layers;

	n->weights = layers_bytes(p, first, end);
	n->kv = sessions * DIV_ROUND_UP((uint64_t)p->n_ctx, z->kv_page) * z->kv_page_layer *
		(uint64_t)(end - first);
	n->scratch = z->scratch + rows * z->scratch_row +
		     QUEUE_FRAMES * sherd_cost_frame(p, MAX(chunk, p->n_sessions), false) +
		     (last ? sessions * (uint64_t)z->n_vocab * sizeof(float) : 0);
	/* What was sent is kept until the session ends; at worst it went token by token. */
	n->journal = last ? 0 : sessions * (uint64_t)p->n_ctx * sherd_cost_frame(p, 1, false);
	n->reserve = p->reserve;
	n->total = n->weights + n->kv + n->scratch + n->journal + n->reserve;
}
