/* SPDX-License-Identifier: MIT */
/*
 * stage: a model's layers behind a queue, with a thread of their own: what runtime/net/stage.h asks
 * for. The model is opened, used and closed on that thread alone.
 */
#ifndef SHERD_TOOL_STAGE_H
#define SHERD_TOOL_STAGE_H

#include <stdio.h>
#include "stage_queue.h"

struct stage_params {
	const char *model; /* a file, as sherd_model_open() takes it; copied */
	/*
	 * spec.model: the hash of what the source has of these layers; "": any. A file with other
	 * layers or another hash is refused when it is loaded.
	 */
	struct sherd_stage_spec spec;
	/*
	 * Device, threads, region, remarks ...; what spec says is not read. Strings are not copied.
	 */
	struct sherd_model_params base;
	struct sherd_region *ring; /* that rows may go to; NULL: none */
	/* for benchmarks: a step takes so many times as long; <= 1: as long as it takes */
	float dilate;
	int turns; /* of those that take them in computing (dilate.h); -1: none */
	/* for benchmarks: after so many steps it never comes back, as devices do; 0: no */
	int hang_after;
	struct trace_file *trace; /* an event for each step; NULL: none */
	stage_post_fn post, visit; /* as struct stage_queue_params has them */
	void *loop;
};

/*
 * Starts the thread; loads nothing yet. put(), on the loop's thread, waits for the job at hand:
 * what a job points to must be there until then.
 */
int stage_new(struct sherd_stage **stage, const struct stage_params *p, struct sherd_error *err);

#endif
