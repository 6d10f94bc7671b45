/* SPDX-License-Identifier: MIT */
/*
 * stage_queue: jobs, and a thread that does them in order. What it is that they ask for, the queue
 * does not know: a model (stage.c), or what the tests have instead.
 */
#ifndef SHERD_TOOL_STAGE_QUEUE_H
#define SHERD_TOOL_STAGE_QUEUE_H

#include "net/stage.h"

/* How the queue's thread reaches the loop's: @fn(@arg) is called there; not 0: it will not be. */
typedef int (*stage_post_fn)(void *loop, void (*fn)(void *arg), void *arg);

struct stage_queue_params {
	/* On the queue's thread. @end is the last call. */
	void (*work)(void *arg, struct sherd_job *job);
	void (*end)(void *arg);
	/* NULL: nothing is to be done when a job has been handed back; when no other came for 2 ms */
	void (*after)(void *arg);
	void (*idle)(void *arg);
	void *arg;
	int hang_after; /* steps, after which it hangs as a device may; 0: it does not */
	stage_post_fn post;
	stage_post_fn visit; /* the same, where a step's end should not wait; NULL: it may */
	void *loop;
};

struct stage_queue;

int stage_queue_new(struct stage_queue **q, const struct stage_queue_params *p,
		    struct sherd_error *err);
/* On the loop's thread. job->done() is called there, too, and never from within. */
void stage_queue_add(struct stage_queue *q, struct sherd_job *job);
/* On the loop's thread: waits for the job at hand. Of the others no done() is called any more. */
void stage_queue_free(struct stage_queue *q);

#endif
