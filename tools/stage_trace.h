/* SPDX-License-Identifier: MIT */
/*
 * stage_trace: a stage's steps in a trace, from when a job was begun to when its rows were on their
 * way: what the library calls a step is inside of that.
 */
#ifndef SHERD_TOOL_STAGE_TRACE_H
#define SHERD_TOOL_STAGE_TRACE_H

#include "net/stage.h"
#include "trace_file.h"

/* What of a job is written when the job itself may be gone. */
struct stage_trace_step {
	uint64_t started_us, ended_us;
	uint32_t position; /* of the first item */
	int items, rows; /* rows 0: it was no step */
};

void stage_trace_take(struct stage_trace_step *s, const struct sherd_job *job);
void stage_trace_write(struct trace_file *f, const struct sherd_stage_info *info,
		       const struct stage_trace_step *s);

#endif
