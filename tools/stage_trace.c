/* SPDX-License-Identifier: MIT */
/*
 * stage_trace: one event a line. The stage writes them out when it has nothing to do (stage.c), so
 * that there is something to see of a node that was killed, too. The format wants no end of its list.
 */
#include <inttypes.h>
#include <unistd.h>
#include "base/base.h"
#include "stage_trace.h"

int stage_trace_open(FILE **f, const char *path, struct sherd_error *err)
{
	*f = fopen(path, "we");
	if (!*f)
		return sherd_fail(err, -errno, "%s: cannot be written: %s", path, strerror(errno));
	fputs("[\n", *f);
	return 0;
}

void stage_trace_take(struct stage_trace_step *s, const struct sherd_job *job)
{
	if (job->kind != SHERD_JOB_STEP || !job->n_items)
		return;
	*s = (struct stage_trace_step){ .started_us = job->started_us, .ended_us = job->ended_us,
					.position = job->items[0].position, .items = job->n_items };
	for (int i = 0; i < job->n_items; i++)
		s->rows += job->items[i].n;
}

void stage_trace_write(FILE *f, const struct sherd_stage_info *info,
		       const struct stage_trace_step *s)
{
	fprintf(f,
		"{\"name\": \"%d rows\", \"ph\": \"X\", \"pid\": %d, \"tid\": %d, \"ts\": %" PRIu64
		", \"dur\": %" PRIu64
		", \"args\": {\"rows\": %d, \"items\": %d, \"position\": %u}},\n",
		s->rows, (int)getpid(), info->first, s->started_us, s->ended_us - s->started_us,
		s->rows, s->items, s->position);
}
