/* SPDX-License-Identifier: MIT */
/*
 * partition: the best pipeline for a problem - which nodes, in which order, which layers on each,
 * and how large a prompt's chunks are.
 */
#ifndef SHERD_PARTITION_H
#define SHERD_PARTITION_H

#include "plan/cost.h"

#define SHERD_MAX_CHUNK 256 /* rows of a step, as nodes take them by default */

/*
 * How many partial pipelines are kept at most of each length. With the first the answer is exact in
 * all but odd cases of many uneven nodes; the second is a quick first look.
 */
#define SHERD_SEARCH_WIDE   ((size_t)1 << 17)
#define SHERD_SEARCH_NARROW ((size_t)64)

/*
 * The chunks that are considered, rising; returns how many. Measured sizes and some between them,
 * and prompts cut evenly.
 */
int sherd_partition_chunks(const struct sherd_problem *p, int chunks[SHERD_MAX_CHUNK]);
/* The same for how many sessions decode together. */
int sherd_partition_groups(const struct sherd_problem *p, int groups[SHERD_CLUSTER_NODES + 1]);

/*
 * *exact: nothing was left out of the search. @must: a bit for each node that has to have a stage.
 * -ENOSPC: the nodes have too little memory; the sentence says for which layers.
 */
int sherd_partition(const struct sherd_problem *p, uint64_t must, size_t width,
		    struct sherd_pipeline *best, bool *exact, struct sherd_error *err);

#endif
