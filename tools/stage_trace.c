/* SPDX-License-Identifier: MIT */
/*
 * stage_trace: one event a step. The stage has them written out when it has nothing to do (stage.c), so
 * that there is something to see of a node that was killed, too.
 */
#include <stdio.h>
#include "stage_trace.h"

#define FIRST_TRACK 2 /* of the stage with layer 0 */

void stage_trace_take(struct stage_trace_step *s, const struct sherd_job *job)
{
	if (job->kind != SHERD_JOB_STEP || !job->n_items)
		return;
	*s = (struct stage_trace_step){ .started_us = job->started_us, .ended_us = job->ended_us,
					.position = job->items[0].position, .items = job->n_items };
	for (int i = 0; i < job->n_items; i++)
		s->rows += job->items[i].n;
}

void stage_trace_write(struct trace_file *f, const struct sherd_stage_info *info,
		       const struct stage_trace_step *s)
{
	char name[32], args[96];

	snprintf(name, sizeof(name), "%d rows", s->rows);
	snprintf(args, sizeof(args), "\"rows\": %d, \"items\": %d, \"position\": %u", s->rows,
		 s->items, s->position);
	trace_file_event(f, "step", name, FIRST_TRACK + info->first, 1e-6 * (double)s->started_us,
			 1e-6 * (double)s->ended_us, args);
}
