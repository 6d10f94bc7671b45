/* SPDX-License-Identifier: MIT */
/*
 * survey: what the cluster's file does not say, the nodes themselves are asked for: their profiles,
 * and what the links between them are worth.
 */
#ifndef SHERD_TOOL_SURVEY_H
#define SHERD_TOOL_SURVEY_H

#include "netopt.h"
#include "plan/cluster.h"
#include "plan/sizes.h"

struct survey_params {
	const struct tool *tool;
	const struct net_opts *net;
	const char *model; /* the file */
	/* Of the whole model; bits, KV type, no_cache, progress and note are taken from @params. */
	struct sherd_sizes *sizes;
	const struct sherd_model_params *params;
	struct sherd_cluster *cluster;
	double seconds; /* that a node measures itself, about */
	bool again; /* though it has before */
};

/*
 * Asks every node without a profile: it must be running. Links between those, and from here to
 * them, are measured where the file says nothing of them. TOOL_OK, or an exit code, the sentence
 * being out.
 */
int survey(const struct survey_params *params);

#endif
