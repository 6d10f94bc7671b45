/* SPDX-License-Identifier: MIT */
/*
 * search_bound: the least that a beginning of a pipeline can come to, so that the search can drop
 * what has no chance. The remaining layers are a sum of work that may be cut anywhere, layers in
 * any order, and shared among the nodes that are left: a linear program whose optimum is seen at
 * once.
 *
 * A unit of work is what an average layer takes on an average node; a layer that takes everybody
 * twice as long has two. A node does at most per_us units in a microsecond, whichever layers it
 * gets, and a unit takes it at least its price. So the slowest stage takes at least what even
 * sharing gives; and since no stage may take longer than what would already be worse than the best
 * known pipeline, the cheapest node can't have everything either.
 */
#include <math.h>
#include "plan/search.h"

static bool has(const struct sherd_label *l, int node)
{
	return l->mask >> node & 1;
}

/*
 * The price of @work units, shared by nodes that each take @limit microseconds of a full chunk at
 * most.
 */
static double share(const struct sherd_search *s, const struct sherd_label *l, int part,
		    double work, double limit)
{
	double us = 0;

	for (int i = 0; i < s->n_usable && work > 0; i++) {
		const struct sherd_search_node *n = &s->nodes[s->order[part][i]];
		double units = MIN(work, n->per_us * limit);

		if (has(l, s->order[part][i]))
			continue;
		us += units * n->price.v[part];
		work -= units;
	}
	/* 1e-9: what rounding leaves over is no work */
	return work > 1e-9 * s->work[0] ? INFINITY : us;
}

/* The rest by the better of two bounds: each layer on its fastest node, or shared. */
static double rest(const struct sherd_search *s, const struct sherd_label *l, int part,
		   double limit)
{
	return MAX(s->rest[l->end].v[part], share(s, l, part, s->work[l->end], limit)) +
	       s->end.v[part];
}

static double throughput_bound(const struct sherd_search *s, const struct sherd_label *l,
			       double max)
{
	double limit = s->best;

	return MAX(max, (l->sum + rest(s, l, SHERD_LAST, limit)) / s->p->n_sessions);
}

static double latency_bound(const struct sherd_search *s, const struct sherd_label *l, double max)
{
	double limit = INFINITY, chain, full = l->sum + s->rest[l->end].v[SHERD_FULL];

	/* the first chunk's sum, and all others behind each other in the slowest stage */
	if (s->chunks > 2)
		limit = (s->best - full) / (s->chunks - 2);
	if (limit < max)
		return INFINITY;
	chain = l->chain + rest(s, l, SHERD_LAST, limit);
	if (s->chunks > 1)
		chain = MAX(chain, l->sum + rest(s, l, SHERD_FULL, limit) + (s->chunks - 2) * max +
					   s->tail);
	return chain + sherd_search_tokens(s) * (l->token + rest(s, l, SHERD_TOKEN, limit));
}

double sherd_search_bound(const struct sherd_search *s, const struct sherd_label *l)
{
	int left = s->n_layers - l->end, room = 0;
	double rate = 0, max;

	for (int i = 0; i < s->n_nodes; i++) {
		const struct sherd_search_node *n = &s->nodes[i];

		if (!n->usable || has(l, i))
			continue;
		room += n->room;
		rate += n->per_us;
	}
	if (room < left)
		return INFINITY;
	max = MAX(l->max, s->work[l->end] / rate);
	return s->p->objective == SHERD_THROUGHPUT ? throughput_bound(s, l, max) :
						     latency_bound(s, l, max);
}

/* --------------------------------------------------------------- preparing */

static struct sherd_parts least(struct sherd_parts a, struct sherd_parts b)
{
	for (int i = 0; i < SHERD_N_PARTS; i++)
		a.v[i] = MIN(a.v[i], b.v[i]);
	return a;
}

/* Units of work of each layer, summed from the end. */
static void measure_work(struct sherd_search *s)
{
	s->work[s->n_layers] = 0;
	for (int l = s->n_layers - 1; l >= 0; l--) {
		double units = 0;

		for (int i = 0; i < s->n_usable; i++) {
			const struct sherd_search_node *n = &s->nodes[s->order[0][i]];
			double all = n->layers[s->n_layers].v[SHERD_FULL];

			if (all > 0)
				units += (n->layers[l + 1].v[SHERD_FULL] -
					  n->layers[l].v[SHERD_FULL]) /
					 all * s->n_layers / s->n_usable;
		}
		s->work[l] = s->work[l + 1] + MAX(units, 1e-9);
	}
}

static void find_price(struct sherd_search *s, struct sherd_search_node *n)
{
	n->price = (struct sherd_parts){ { INFINITY, INFINITY, INFINITY } };
	n->least = INFINITY;
	for (int l = 0; l < s->n_layers; l++) {
		double units = s->work[l] - s->work[l + 1];

		for (int i = 0; i < SHERD_N_PARTS; i++)
			n->price.v[i] = MIN(n->price.v[i],
					    (n->layers[l + 1].v[i] - n->layers[l].v[i]) / units);
		n->least =
			MIN(n->least, n->layers[l + 1].v[SHERD_LAST] - n->layers[l].v[SHERD_LAST]);
	}
	for (int i = 0; i < SHERD_N_PARTS; i++)
		n->price.v[i] = MAX(n->price.v[i] * (1 - 1e-9), 0); /* sums' rounding */
	n->per_us = 1 / MAX(n->price.v[SHERD_FULL], 1e-12);
}

static void sort_prices(struct sherd_search *s, int part)
{
	int *o = s->order[part], n = 0;

	for (int i = 0; i < s->n_nodes; i++) {
		int k = n;

		if (!s->nodes[i].usable)
			continue;
		for (; k > 0 && s->nodes[o[k - 1]].price.v[part] > s->nodes[i].price.v[part]; k--)
			o[k] = o[k - 1];
		o[k] = i;
		n++;
	}
	s->n_usable = n;
}

/* The least that any node takes for each layer. */
static void find_rest(struct sherd_search *s)
{
	struct sherd_parts most = { { INFINITY, INFINITY, INFINITY } };

	s->end = most;
	s->tail = INFINITY;
	for (int k = 0; k < s->n_usable; k++) {
		const struct sherd_search_node *n = &s->nodes[s->order[0][k]];
		struct sherd_parts e;

		for (int i = 0; i < SHERD_N_PARTS; i++)
			e.v[i] = n->step.v[i] + n->output.v[i];
		s->end = least(s->end, e);
		s->tail = MIN(s->tail, n->least + e.v[SHERD_LAST]);
	}
	s->rest[s->n_layers] = (struct sherd_parts){ { 0, 0, 0 } };
	for (int l = s->n_layers - 1; l >= 0; l--) {
		struct sherd_parts x = most;

		for (int k = 0; k < s->n_usable; k++)
			x = least(x, sherd_search_layer(s, s->order[0][k], l));
		for (int i = 0; i < SHERD_N_PARTS; i++)
			s->rest[l].v[i] = s->rest[l + 1].v[i] + x.v[i];
	}
}

void sherd_search_bound_prepare(struct sherd_search *s)
{
	sort_prices(s, SHERD_FULL); /* whichever order: who is usable */
	measure_work(s);
	for (int i = 0; i < s->n_nodes; i++)
		if (s->nodes[i].usable)
			find_price(s, &s->nodes[i]);
	for (int i = 0; i < SHERD_N_PARTS; i++)
		sort_prices(s, i);
	find_rest(s);
}
