/* SPDX-License-Identifier: MIT */
/*
 * search_node: what the search looks up, made once for a chunk size: prefix sums of layers' times,
 * bytes of all stages, and which nodes are equal.
 */
#include "plan/search.h"

#include <math.h>
#include <stdlib.h>

/* ------------------------------------------------------------------- equals */

static bool same_curve(const struct sherd_curve *a, const struct sherd_curve *b)
{
	return a->n == b->n && !memcmp(a->tokens, b->tokens, (size_t)a->n * sizeof(*a->tokens)) &&
	       !memcmp(a->us, b->us, (size_t)a->n * sizeof(*a->us));
}

static bool same_speed(const struct sherd_problem *p, int a, int b)
{
	const struct sherd_cluster_node *x = &p->cluster->nodes[a], *y = &p->cluster->nodes[b];
	const struct sherd_profile_width *v = sherd_profile_width(x->profile, p->sizes->bits);
	const struct sherd_profile_width *w = sherd_profile_width(y->profile, p->sizes->bits);

	if (x->slower != y->slower || !same_curve(&v->step, &w->step) ||
	    !same_curve(&v->embed, &w->embed) || !same_curve(&v->output, &w->output))
		return false;
	for (int l = 0; l < p->sizes->n_layers; l++)
		if (!same_curve(&v->kinds[v->kind_of[l]].us, &w->kinds[w->kind_of[l]].us))
			return false;
	return true;
}

static bool same_link(const struct sherd_cluster *c, int a, int b, int x, int y)
{
	const struct sherd_cluster_link *l = sherd_cluster_link(c, a, b),
					*m = sherd_cluster_link(c, x, y);

	return l->mbit == m->mbit && l->rtt_us == m->rtt_us;
}

static bool same_links_out(const struct sherd_cluster *c, int a, int b)
{
	for (int i = 0; i <= c->n_nodes; i++)
		if (i != a && i != b && !same_link(c, a, i, b, i))
			return false;
	return true;
}

static bool same_links_in(const struct sherd_cluster *c, int a, int b)
{
	for (int i = 0; i <= c->n_nodes; i++)
		if (i != a && i != b && !same_link(c, i, a, i, b))
			return false;
	return same_link(c, a, b, b, a);
}

/* Being alike in the links out of two nodes does not carry over to a third: all pairs must be. */
static bool fits_class(const struct sherd_search *s, int class, int node)
{
	for (int i = class; i < node; i++)
		if (s->nodes[i].usable && s->nodes[i].links == class &&
		    !same_links_out(s->p->cluster, i, node))
			return false;
	return true;
}

static void find_equals(struct sherd_search *s)
{
	const struct sherd_cluster *c = s->p->cluster;

	for (int n = 0; n < s->n_nodes; n++) {
		struct sherd_search_node *node = &s->nodes[n];

		node->twin = -1;
		node->links = n;
		for (int i = n - 1; i >= 0 && node->usable; i--) {
			if (!s->nodes[i].usable)
				continue;
			if (s->nodes[i].links == i && fits_class(s, i, n))
				node->links = i;
			if (node->twin < 0 && !(s->must >> n & 1) && !(s->must >> i & 1) &&
			    node->memory == s->nodes[i].memory && same_links_out(c, i, n) &&
			    same_links_in(c, i, n) && same_speed(s->p, i, n))
				node->twin = i;
		}
	}
}

/* -------------------------------------------------------------------- times */

static struct sherd_parts parts(const struct sherd_search *s, double full, double last,
				double token)
{
	double prompt = (s->chunks - 1) * full + last;
	const struct sherd_problem *p = s->p;

	if (p->objective == SHERD_LATENCY)
		return (struct sherd_parts){ { full, last, token } };
	return (struct sherd_parts){ { prompt + (double)p->n_predict / s->group * token,
				       prompt + p->n_predict * token, 0 } };
}

struct sherd_parts sherd_search_layer(const struct sherd_search *s, int node, int layer)
{
	return parts(s, sherd_cost_layer_us(s->p, node, layer, s->chunk),
		     sherd_cost_layer_us(s->p, node, layer, s->last),
		     sherd_cost_layer_us(s->p, node, layer, s->group));
}

static void prepare_node(struct sherd_search *s, int i)
{
	struct sherd_search_node *n = &s->nodes[i];
	const struct sherd_problem *p = s->p;

	n->step = parts(s, sherd_cost_step_us(p, i, s->chunk), sherd_cost_step_us(p, i, s->last),
			sherd_cost_step_us(p, i, s->group));
	n->embed = parts(s, sherd_cost_embed_us(p, i, s->chunk), sherd_cost_embed_us(p, i, s->last),
			 sherd_cost_embed_us(p, i, s->group));
	n->output =
		parts(s, 0, sherd_cost_output_us(p, i, 1), sherd_cost_output_us(p, i, s->group));
	for (int l = 0; l < s->n_layers; l++) {
		struct sherd_parts x = sherd_search_layer(s, i, l);

		for (int k = 0; k < SHERD_N_PARTS; k++)
			n->layers[l + 1].v[k] = n->layers[l].v[k] + x.v[k];
	}
}

static void prepare_links(struct sherd_search *s)
{
	int n = s->n_nodes + 1, head = s->n_nodes;

	for (int from = 0; from < n; from++)
		for (int to = 0; to < n; to++) {
			double full = to == head ? 0 : sherd_cost_link_us(s->p, from, to, s->chunk);
			double last = sherd_cost_link_us(s->p, from, to, to == head ? 1 : s->last);

			s->link[from * n + to] =
				parts(s, full, last, sherd_cost_link_us(s->p, from, to, s->group));
			/* what goes back to the head is no machine that anything waits for */
			if (to == head)
				s->link[from * n + to].v[SHERD_FULL] = 0;
		}
}

/* ------------------------------------------------------------------- memory */

static void prepare_memory(struct sherd_search *s)
{
	struct sherd_need need;

	for (int i = 0; i < s->n_nodes; i++)
		s->nodes[i].room = 0;
	for (int first = 0; first < s->n_layers; first++)
		for (int end = first + 1; end <= s->n_layers; end++) {
			sherd_cost_need(s->p, first, end, s->chunk, &need);
			s->need[(size_t)first * (s->n_layers + 1) + end] = need.total;
			for (int i = 0; i < s->n_nodes; i++)
				if (need.total <= s->nodes[i].memory)
					s->nodes[i].room = MAX(s->nodes[i].room, end - first);
		}
}

void sherd_search_prepare(struct sherd_search *s, int chunk, int group)
{
	s->chunk = chunk;
	s->group = group;
	s->chunks = sherd_cost_chunks(s->p, chunk, &s->last);
	for (int i = 0; i < s->n_nodes; i++)
		if (s->nodes[i].usable)
			prepare_node(s, i);
	prepare_links(s);
	prepare_memory(s);
	sherd_search_bound_prepare(s);
}

int sherd_search_init(struct sherd_search *s, const struct sherd_problem *p, uint64_t must,
		      struct sherd_error *err)
{
	size_t n = (size_t)p->cluster->n_nodes, layers = (size_t)p->sizes->n_layers;
	bool ok;

	*s = (struct sherd_search){ .p = p,
				    .n_nodes = (int)n,
				    .n_layers = (int)layers,
				    .must = must,
				    .best = INFINITY,
				    .room = 1024 };
	s->nodes = sherd_calloc(n, sizeof(*s->nodes));
	s->link = sherd_calloc((n + 1) * (n + 1), sizeof(*s->link));
	s->rest = sherd_calloc(layers + 1, sizeof(*s->rest));
	s->need = sherd_calloc(layers * (layers + 1), sizeof(*s->need));
	s->pool = sherd_calloc(s->room, sizeof(*s->pool));
	s->table = sherd_calloc(SHERD_SEARCH_BUCKETS, sizeof(*s->table));
	s->work = sherd_calloc(layers + 1, sizeof(*s->work));
	ok = s->nodes && s->link && s->rest && s->need && s->pool && s->table && s->work;
	for (int i = 0; i < SHERD_N_PARTS; i++) {
		s->order[i] = sherd_calloc(n, sizeof(*s->order[i]));
		ok = ok && s->order[i];
	}
	for (size_t i = 0; i < n && ok; i++) {
		s->nodes[i].usable = sherd_cost_usable(p, (int)i);
		s->nodes[i].memory = sherd_cluster_memory(&p->cluster->nodes[i]);
		s->nodes[i].layers = sherd_calloc(layers + 1, sizeof(*s->nodes[i].layers));
		ok = s->nodes[i].layers;
	}
	if (!ok)
		return sherd_fail_oom(err, layers * (layers + 1) * sizeof(*s->need),
				      "the search for a plan");
	find_equals(s);
	return 0;
}

void sherd_search_destroy(struct sherd_search *s)
{
	for (int i = 0; s->nodes && i < s->n_nodes; i++)
		free(s->nodes[i].layers);
	free(s->nodes);
	free(s->link);
	free(s->rest);
	free(s->work);
	for (int i = 0; i < SHERD_N_PARTS; i++)
		free(s->order[i]);
	free(s->need);
	free(s->pool);
	free(s->table);
}
