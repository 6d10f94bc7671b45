/* SPDX-License-Identifier: MIT */
/*
 * search: the best pipeline for one chunk size, by dynamic programming over beginnings of
 * pipelines. A beginning is (nodes that it has, the last of them, layers that are placed), and of
 * two with the same three only one that is worse in nothing matters. What can be better or worse
 * about one:
 *
 *	latency		sum	one full chunk through all machines so far, alone
 *			max	the slowest machine's full chunk
 *			chain	when the last chunk has left the last machine
 *			token	a decoding step through all machines so far
 *	throughput	sum	a request through all machines so far, alone
 *			max	the slowest machine's work for a request
 *
 * For with M equal chunks before the last the k-th machine ends them at sum_k + (M - 1) max_k - the
 * flow shop's recurrence, where all jobs are alike - and the last chunk at chain_k = max(chain_k-1,
 * that) + its own time. Both grow with each of the three, so that what is worse stays worse: the
 * answer is exact.
 *
 * Beginnings of equal length are kept in one array, the most promising first; those that can't beat
 * the best pipeline known are dropped, by a lower bound of what the remaining layers take. Should
 * more than s->width remain, the least promising go too, and s->cut says so.
 */
#include "plan/search.h"

#include <math.h>
#include <stdlib.h>

static double value(const struct sherd_search *s, const struct sherd_label *l)
{
	if (s->p->objective == SHERD_THROUGHPUT)
		return MAX(l->max, l->sum / s->p->n_sessions) + SHERD_TIE_BREAK * l->sum;
	return l->chain + sherd_search_tokens(s) * l->token;
}

/* ------------------------------------------------------------------ labels */

/* Nothing but chunks that are behind each other, and then the wire's delay. */
static void pass(const struct sherd_search *s, struct sherd_label *l, const struct sherd_parts *x,
		 double delay)
{
	if (s->p->objective == SHERD_THROUGHPUT) {
		l->max = MAX(l->max, x->v[SHERD_FULL]);
		l->sum += x->v[SHERD_LAST] + (1 + s->p->n_predict) * delay;
		return;
	}
	l->sum += x->v[SHERD_FULL];
	l->max = MAX(l->max, x->v[SHERD_FULL]);
	if (s->chunks > 1)
		l->chain = MAX(l->chain, l->sum + (s->chunks - 2) * l->max);
	l->chain += x->v[SHERD_LAST] + delay;
	l->sum += delay;
	l->token += x->v[SHERD_TOKEN] + delay;
}

static void pass_link(const struct sherd_search *s, struct sherd_label *l, int to)
{
	pass(s, l, &s->link[l->node * (s->n_nodes + 1) + to],
	     sherd_cost_delay_us(s->p, l->node, to));
}

/* The label, once @node has taken the layers up to @end too. */
static void pass_stage(const struct sherd_search *s, struct sherd_label *l, int node, int end)
{
	const struct sherd_search_node *n = &s->nodes[node];
	struct sherd_parts x;

	for (int i = 0; i < SHERD_N_PARTS; i++)
		x.v[i] = n->step.v[i] + n->layers[end].v[i] - n->layers[l->end].v[i] +
			 (l->end ? 0 : n->embed.v[i]) + (end < s->n_layers ? 0 : n->output.v[i]);
	pass(s, l, &x, 0);
	l->node = (int16_t)node;
	l->end = (int16_t)end;
	l->mask |= (uint64_t)1 << node;
}

/* --------------------------------------------------------------- dominance */

static size_t bucket(const struct sherd_search *s, const struct sherd_label *l)
{
	uint64_t x = l->mask * 0x9e3779b97f4a7c15u;

	x ^= (uint64_t)l->end << 20 ^ (uint64_t)s->nodes[l->node].links;
	return (x * 0xff51afd7ed558ccdu >> 32) % SHERD_SEARCH_BUCKETS;
}

static bool same_state(const struct sherd_search *s, const struct sherd_label *a,
		       const struct sherd_label *b)
{
	return a->mask == b->mask && a->end == b->end &&
	       s->nodes[a->node].links == s->nodes[b->node].links;
}

static bool no_worse(const struct sherd_label *a, const struct sherd_label *b)
{
	return a->sum <= b->sum && a->max <= b->max && a->chain <= b->chain && a->token <= b->token;
}

/* Whether something as good is there; what is worse than @l dies. */
static bool dominated(struct sherd_search *s, const struct sherd_label *l)
{
	for (int32_t i = s->table[bucket(s, l)]; i >= 0; i = s->pool[i].next) {
		struct sherd_label *other = &s->pool[i];

		if (other->bound == INFINITY || !same_state(s, l, other))
			continue;
		if (no_worse(other, l))
			return true;
		if (no_worse(l, other))
			other->bound = INFINITY;
	}
	return false;
}

static void enter(struct sherd_search *s, size_t i)
{
	int32_t *head = &s->table[bucket(s, &s->pool[i])];

	s->pool[i].next = *head;
	*head = (int32_t)i;
}

static int by_bound(const void *a, const void *b)
{
	const struct sherd_label *x = a, *y = b;

	return (x->bound > y->bound) - (x->bound < y->bound);
}

/* The present level without the dead, sorted, and no longer than it may be. */
static void trim(struct sherd_search *s)
{
	size_t kept = s->level;

	for (size_t i = s->level; i < s->n_labels; i++)
		if (s->pool[i].bound < s->best)
			s->pool[kept++] = s->pool[i];
	qsort(s->pool + s->level, kept - s->level, sizeof(*s->pool), by_bound);
	if (kept - s->level > s->width) {
		kept = s->level + s->width;
		s->cut = true;
	}
	s->n_labels = kept;
	memset(s->table, 0xff, SHERD_SEARCH_BUCKETS * sizeof(*s->table));
	for (size_t i = s->level; i < kept; i++)
		enter(s, i);
}

static int add(struct sherd_search *s, struct sherd_label *l)
{
	struct sherd_label *more;

	l->bound = sherd_search_bound(s, l);
	if (l->bound >= s->best || dominated(s, l))
		return 0;
	if (s->n_labels - s->level >= 4 * s->width)
		trim(s);
	if (s->n_labels == s->room) {
		more = realloc(s->pool, 2 * s->room * sizeof(*more));
		if (!more)
			return -ENOMEM;
		s->pool = more;
		s->room *= 2;
	}
	s->pool[s->n_labels] = *l;
	enter(s, s->n_labels++);
	return 0;
}

/* --------------------------------------------------------------- expanding */

static void take_best(struct sherd_search *s, const struct sherd_label *last)
{
	const struct sherd_label *l = last;
	int n = 0;

	for (; l->end; l = &s->pool[l->parent])
		n++;
	s->pipe.n_stages = n;
	s->pipe.chunk = s->chunk;
	s->pipe.group = s->group;
	for (l = last; l->end; l = &s->pool[l->parent])
		s->pipe.stages[--n] =
			(struct sherd_stage_span){ l->node, s->pool[l->parent].end, l->end };
}

static void complete(struct sherd_search *s, const struct sherd_label *l)
{
	struct sherd_label whole = *l;
	double v;

	if ((l->mask & s->must) != s->must)
		return;
	pass_link(s, &whole, s->n_nodes);
	v = value(s, &whole);
	if (v < s->best * (1 - 1e-12)) {
		s->best = v;
		take_best(s, l);
	}
}

/* All stages that @node could be next, after the label in the pool. */
static int expand_to(struct sherd_search *s, int32_t parent, int node)
{
	struct sherd_label begin = s->pool[parent], l;
	const uint64_t *need = s->need + (size_t)begin.end * (s->n_layers + 1);
	int rc = 0;

	begin.parent = parent;
	pass_link(s, &begin, node);
	for (int end = begin.end + 1; end <= s->n_layers && !rc; end++) {
		l = begin;
		pass_stage(s, &l, node, end);
		if (l.max * (s->p->objective == SHERD_LATENCY ? s->chunks - 1 : 1) >= s->best)
			break; /* and more layers take longer still */
		if (need[end] > s->nodes[node].memory)
			continue; /* the last stage keeps no journal: it may fit again */
		if (end == s->n_layers)
			complete(s, &l);
		else
			rc = add(s, &l);
	}
	return rc;
}

static int expand(struct sherd_search *s, size_t i)
{
	int rc = 0;

	for (int n = 0; n < s->n_nodes && !rc; n++) {
		uint64_t mask = s->pool[i].mask;
		int twin = s->nodes[n].twin;

		/* of equal nodes the lowest comes first: the other orders are the same */
		if (s->nodes[n].usable && !(mask >> n & 1) && (twin < 0 || (mask >> twin & 1)))
			rc = expand_to(s, (int32_t)i, n);
	}
	return rc;
}

int sherd_search_run(struct sherd_search *s, int chunk, int group)
{
	size_t from = 0, to = 1;
	int rc = 0;

	sherd_search_prepare(s, chunk, group);
	s->pool[0] = (struct sherd_label){ .parent = -1, .next = -1, .node = (int16_t)s->n_nodes };
	s->n_labels = 1;
	while (from < to && !rc) {
		s->level = to;
		trim(s);
		for (size_t i = from; i < to && !rc; i++)
			if (s->pool[i].bound < s->best)
				rc = expand(s, i);
		trim(s);
		from = to;
		to = s->n_labels;
	}
	return rc;
}
