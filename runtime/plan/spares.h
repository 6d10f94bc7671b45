/* SPDX-License-Identifier: MIT */
/* spares: which stages of a pipeline the nodes without one can take the place of. */
#ifndef SHERD_SPARES_H
#define SHERD_SPARES_H

#include "plan/cost.h"

struct sherd_spare {
	uint64_t stages; /* a bit for each; 0: it is no spare */
	uint64_t memory; /* that all of them take together */
};

/* For every node of the cluster; those that have a stage are no spares. */
void sherd_spares_choose(const struct sherd_problem *p, const struct sherd_pipeline *pipe,
			 struct sherd_spare spares[SHERD_CLUSTER_NODES]);

#endif
