/* SPDX-License-Identifier: MIT */
/*
 * search: what partition.c (which chunks to try, what to say when nothing fits) and search.c (the
 * dynamic program for one chunk) share.
 */
#ifndef SHERD_PLAN_SEARCH_H
#define SHERD_PLAN_SEARCH_H

#include "plan/partition.h"

#define SHERD_SEARCH_BUCKETS ((size_t)1 << 16)

/*
 * Of a stage or a link, what the sums are made of. Latency: its time for a full chunk, for the last
 * one, and for a token. Throughput: its work for a request, and the time that a request spends in
 * it alone. All are linear in a stage's layers, so that prefix sums do.
 */
enum { SHERD_FULL, SHERD_LAST, SHERD_TOKEN, SHERD_N_PARTS };
struct sherd_parts {
	double v[SHERD_N_PARTS];
};

/* What is known of a node for one chunk size. */
struct sherd_search_node {
	bool usable;
	struct sherd_parts *layers; /* [n_layers + 1]: prefix sums */
	struct sherd_parts step, embed, output;
	struct sherd_parts price; /* of a unit of work (see search_bound.c), at least */
	double per_us; /* units of work that it does in a microsecond of a full chunk, at most */
	double least; /* the last chunk in any one layer, at least */
	int room; /* as many layers fit at most */
	int twin; /* a lower node that is its equal in everything; -1: none */
	int links; /* the lowest node whose links to all others are the same */
	uint64_t memory;
};

/* A pipeline's beginning: its stages so far end before layer @end on @node. */
struct sherd_label {
	double sum, max, chain, token; /* see search.c */
	double bound; /* no completion is better; infinite: dead */
	uint64_t mask; /* nodes that it has */
	int32_t parent; /* in the pool; -1: none */
	int32_t next; /* of the same hash */
	int16_t node, end;
};

struct sherd_search {
	const struct sherd_problem *p;
	int n_nodes, n_layers, chunk, group, chunks, last;
	uint64_t must; /* nodes that the answer has to have */
	size_t width;
	bool cut; /* labels were dropped for no other reason than their number */

	struct sherd_search_node *nodes; /* [n_nodes] */
	struct sherd_parts *link; /* [n_nodes + 1][n_nodes + 1]: from, to */
	int *order[SHERD_N_PARTS]; /* [n_nodes]: the usable ones, by price */
	int n_usable;
	double *work; /* [n_layers + 1]: units of work from this layer on */
	struct sherd_parts *rest; /* [n_layers + 1]: what layers from here on take at least */
	struct sherd_parts end; /* one more stage and the output matrix, at least */
	double tail; /* the last chunk in the last stage, at least */
	uint64_t *need; /* [n_layers][n_layers + 1]: bytes of a stage */

	struct sherd_label *pool;
	size_t n_labels, room, level; /* level: where the present one begins */
	int32_t *table; /* hash to label */

	double best; /* value of the best pipeline so far, of any chunk */
	struct sherd_pipeline pipe; /* it */
};

/* @must: nodes that the answer has to have. sherd_search_destroy() after a failure too. */
int sherd_search_init(struct sherd_search *s, const struct sherd_problem *p, uint64_t must,
		      struct sherd_error *err);
void sherd_search_destroy(struct sherd_search *s);
/* Fills in what is looked up for this chunk and group. */
void sherd_search_prepare(struct sherd_search *s, int chunk, int group);
/* The least that any completion of the label can be worth. */
double sherd_search_bound(const struct sherd_search *s, const struct sherd_label *l);
void sherd_search_bound_prepare(struct sherd_search *s);
/* Of one layer on one node. */
struct sherd_parts sherd_search_layer(const struct sherd_search *s, int node, int layer);
/* What counts for nothing but among equals has this weight. */
#define SHERD_TIE_BREAK 1e-6
static inline double sherd_search_tokens(const struct sherd_search *s)
{
	return s->p->n_predict ? s->p->n_predict : SHERD_TIE_BREAK;
}
/* Looks for something better than s->best; -ENOMEM is the only failure. */
int sherd_search_run(struct sherd_search *s, int chunk, int group);

#endif
