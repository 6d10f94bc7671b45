/* SPDX-License-Identifier: MIT */
/*
 * stage_trace: a stage's steps in a file, in the format that chrome://tracing and Perfetto read.
 * Times are of CLOCK_MONOTONIC: traces of several nodes of one machine can be laid side by side,
 * those of several machines cannot.
 */
#ifndef SHERD_TOOL_STAGE_TRACE_H
#define SHERD_TOOL_STAGE_TRACE_H

#include <stdio.h>
#include "net/stage.h"

/* What of a job is written when the job itself may be gone. */
struct stage_trace_step {
	uint64_t started_us, ended_us;
	uint32_t position; /* of the first item */
	int items, rows; /* rows 0: it was no step */
};

int stage_trace_open(FILE **f, const char *path, struct sherd_error *err);
void stage_trace_take(struct stage_trace_step *s, const struct sherd_job *job);
void stage_trace_write(FILE *f, const struct sherd_stage_info *info,
		       const struct stage_trace_step *s);

#endif
