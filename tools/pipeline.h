/* SPDX-License-Identifier: MIT */
/*
 * pipeline: the stages of a plan as if they were one model, for tools that wait for their tokens: a head
 * (net/head.h) and its loop, which runs while somebody waits.
 */
#ifndef SHERD_PIPELINE_H
#define SHERD_PIPELINE_H

#include "net/head.h"
#include "netopt.h"
#include "plan/plan.h"

struct pipeline;

struct pipeline_params {
	const struct tool *tool;
	const char *plan; /* the file */
	struct net_opts net;
	int chunk; /* 0: the plan's */
	int n_sessions; /* 0: the plan's */
	int deadline_s; /* without progress; 0: 30 */
	int limit_s; /* of a session; 0: none */
	const char *run; /* of a head that has died, to take its place; NULL: a new one */
	bool inexact; /* go on with a node of another bit profile */
	sherd_note_fn note;
};

#define TOOL_PIPELINE_OPTS(p)                                                                       \
	{ 0, "plan", OPT_STR, &(p).plan, 0, 0, "FILE",                                             \
	  "run on the nodes of a plan that `sherd plan` made" },  \
	{ 0, "deadline", OPT_INT, &(p).deadline_s, 1, 86400, "SECONDS",                            \
	  "with --plan: how long to wait for lost nodes before giving up (default: 30)" },          \
	{ 0, "time-limit", OPT_INT, &(p).limit_s, 1, 1 << 24, "SECONDS",                               \
	  "with --plan: stop computing after so long a time (default: none)" },                     \
	{ 0, "inexact", OPT_FLAG, &(p).inexact, 0, 0, NULL,                                        \
	  "with --plan: let a node take over whose arithmetic may differ; other tokens may come" }, \
	TOOL_NET_OPTS((p).net)

/* Without a plan: what of these options was given is a wrong command line. TOOL_OK or TOOL_USAGE. */
int pipeline_refuse_idle(const struct tool *t, const struct pipeline_params *p);
/* Reads the plan, dials, and waits until all stages are loaded. TOOL_OK, or an exit code, the sentence being out. */
int pipeline_open(struct pipeline **p, const struct pipeline_params *params);
void pipeline_close(struct pipeline *p);
/* From a signal's handler: pipeline_wait() returns -EINTR, now and ever after. */
void pipeline_interrupt(struct pipeline *p);

const struct sherd_plan *pipeline_plan(const struct pipeline *p);
const struct sherd_head *pipeline_head(const struct pipeline *p);
const char *pipeline_run(const struct pipeline *p);
const char *pipeline_io(const struct pipeline *p);
/* Runs the loop for so long: what the nodes say of themselves is new then. */
int pipeline_idle(struct pipeline *p, uint64_t us, struct sherd_error *err);

/* A session of at most @max positions, with the plan's cuts and wire; @sampler: NULL is greedy. */
int pipeline_session(struct pipeline *p, const struct sherd_sampler_params *sampler, int max, bool ignore_eos,
		     uint64_t *id, struct sherd_error *err);
int pipeline_feed(struct pipeline *p, uint64_t id, const int32_t *tokens, int n, struct sherd_error *err);
void pipeline_end(struct pipeline *p, uint64_t id);
/* The next token of any session that has been fed. A session that fails is *id, too, with the sentence. */
int pipeline_wait(struct pipeline *p, uint64_t *id, int32_t *token, struct sherd_error *err);

#endif
