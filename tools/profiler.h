/* SPDX-License-Identifier: MIT */
/*
 * profiler: a node's source of profiles (net/profiler.h): measures in a process of its own, and
 * keeps what it has found in the folder of shards, so that the same question is answered at once
 * the next time.
 */
#ifndef SHERD_TOOL_PROFILER_H
#define SHERD_TOOL_PROFILER_H

#include "net/profiler.h"

struct profiler;

struct profiler_params {
	const char *name; /* of the node */
	const char *shards; /* the folder */
	const struct sherd_model_params *base; /* device, threads, region */
	float dilate;
	/* Has @fn(@arg) called on the loop's thread; may be called from any. */
	int (*post)(void *loop, void (*fn)(void *), void *arg);
	void *loop;
};

/* What @params points to must outlive it. */
int profiler_new(struct profiler **p, const struct profiler_params *params,
		 struct sherd_error *err);
/* Ends what is being measured; its done() is not called. Before the loop's end. */
void profiler_close(struct profiler *p);
struct sherd_profiler *profiler_of(struct profiler *p);

#endif
