/* SPDX-License-Identifier: MIT */
/* plan: what planning (plan.c) hands to reporting (plan_report.c). */
#ifndef SHERD_TOOL_PLAN_H
#define SHERD_TOOL_PLAN_H

#include "netopt.h"
#include "plan/partition.h"
#include "plan/plan.h"

/* A node without a stage. */
struct plan_left_out {
	int node;
	char why[256];
	double adds_us; /* to what the objective minimizes, if it had to be there; 0: it can't be */
};

struct plan {
	const char *model, *cluster_file, *out, *verify;
	struct net_opts net;
	const char *objective_name, *wire_name, *kv_name;
	struct sherd_model_params params;
	struct sherd_problem problem;
	int reserve_mib;
	float seconds, dilate;
	int repetitions;
	bool json, no_spares, all, measure, again, offline;

	char *path; /* of the model */
	struct sherd_sizes *sizes;
	struct sherd_cluster *cluster;
	struct sherd_pipeline pipe;
	struct sherd_prediction predicted;
	struct sherd_need needs[SHERD_CLUSTER_NODES]; /* of stages */
	bool exact;
	struct plan_left_out left_out[SHERD_CLUSTER_NODES];
	int n_left_out;
	struct sherd_plan plan;
};

void plan_print_table(const struct plan *p);
int plan_print_json(const struct plan *p);

/* Runs the plan p->verify on its nodes, and compares with what it predicted (plan_verify.c). */
int plan_verify(const struct plan *p);

#endif
