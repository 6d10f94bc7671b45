/* SPDX-License-Identifier: MIT */
/*
 * stage_work: what a stage does with its jobs (stage_work.c), apart from how it comes by them
 * (stage.c). All of it on the stage's thread.
 */
#ifndef SHERD_TOOL_STAGE_WORK_H
#define SHERD_TOOL_STAGE_WORK_H

#include "ends.h"
#include "stage.h"

struct stage_session {
	struct stage_session *next;
	struct sherd_session *s;
	uint64_t id;
	uint32_t max, reserved; /* positions that it may have; the same in whole pages */
	enum sherd_wire wire;
	bool ignore_eos;
	uint64_t in_job; /* the last job that it was in */
};

struct stage_work {
	const struct stage_params *p;
	struct sherd_stage_info *info;
	struct sherd_model *model; /* NULL: not loaded */
	uint32_t page; /* positions of a page of the KV cache */
	bool last;
	struct ends ends; /* the last stage's, if it has a tokenizer */
	struct stage_session *sessions;
	uint32_t taken; /* positions that sessions have reserved */
	int n_sessions;
	uint64_t n_jobs;
	/* a step's */
	float *rows; /* [n_batch][hidden]; NULL for the first stage */
	struct sherd_item *items; /* [n_batch] */
	struct sherd_job_item **from; /* [n_batch]: whose they are */
	struct stage_session **whose; /* [n_batch] */
};

void stage_work(struct stage_work *w, struct sherd_job *job);
void stage_work_end(struct stage_work *w);

#endif
