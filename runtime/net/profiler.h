/* SPDX-License-Identifier: MIT */
/*
 * profiler: what measures a node for the planner, as the protocol sees it. net/ knows no models:
 * question and answer are JSON that it carries and does not look into. Measuring takes many seconds
 * and is done elsewhere (tools/profiler.c: a child process); links go on beating meanwhile.
 */
#ifndef SHERD_PROFILER_H
#define SHERD_PROFILER_H

#include "base/base.h"

struct sherd_profiler_job {
	const char *ask; /* what to measure, as it came; valid until done() */
	char *profile; /* the answer, malloc'd, whoever takes it frees it; NULL: there is none */
	int rc;
	struct sherd_error err;
	/* On the loop's thread, once, never from within submit() or cancel(). */
	void (*done)(void *ctx, struct sherd_profiler_job *job);
	void *ctx;
};

struct sherd_profiler {
	/* The next one only when this one is done. */
	void (*submit)(struct sherd_profiler *p, struct sherd_profiler_job *job);
	/* Nobody waits for it any more: done() comes soon, with an answer or without. */
	void (*cancel)(struct sherd_profiler *p);
};

#endif
