/* SPDX-License-Identifier: MIT */
/*
 * bench_plan: the stages of a plan, measured from where its head is. A prompt's time is that from
 * the session's beginning to its first token's arrival here; what boards and links take on the way
 * is in it.
 *
 * With --sessions there are requests instead of single tests: a session each, a new one as soon as
 * one ends. They go on from one repetition to the next, so that what is timed neither fills the
 * pipeline nor drains it.
 */
#include <stdlib.h>
#include "base/base.h"
#include "bench.h"

/*
 * The plan does not say how large the vocabulary is: these every model has, and speed is equal for
 * all.
 */
#define TOKENS_KNOWN 256
/* Nodes are asked every 200 ms how they are getting on. */
#define FRESH_US 450000u

struct bench_request {
	uint64_t id;
	int left; /* tokens still to come */
	int at; /* of the next one that is fed */
};

static int new_session(struct bench *b, uint64_t *id, struct sherd_error *err)
{
	return pipeline_session(b->pipe, NULL, b->n_tokens, false, id, err);
}

static void end_session(struct bench *b)
{
	if (b->pipe_session)
		pipeline_end(b->pipe, b->pipe_session);
	b->pipe_session = 0;
}

/* ------------------------------------------------------------ single tests */

static int feed(struct bench *b, int from, int n, struct sherd_error *err)
{
	uint64_t id;
	int32_t token;
	int rc = pipeline_feed(b->pipe, b->pipe_session, b->tokens + from, n, err);

	return rc ? rc : pipeline_wait(b->pipe, &id, &token, err);
}

static int ready(struct bench *b, const struct bench_test *t, struct sherd_error *err)
{
	int rc;

	end_session(b);
	if (!t->n_depth)
		return 0;
	rc = new_session(b, &b->pipe_session, err);
	return rc ? rc : feed(b, 0, t->n_depth, err);
}

static int run_single(struct bench *b, const struct bench_test *t, int n_gen,
		      struct sherd_error *err)
{
	int rc = b->pipe_session ? 0 : new_session(b, &b->pipe_session, err);

	if (!rc && t->n_prompt)
		rc = feed(b, t->n_depth, t->n_prompt, err);
	for (int i = 0; i < n_gen && !rc; i++)
		rc = feed(b, t->n_depth + i, 1, err);
	return rc;
}

/* ---------------------------------------------------------------- requests */

static int begin_request(struct bench *b, const struct bench_test *t, struct bench_request *r,
			 struct sherd_error *err)
{
	int rc = new_session(b, &r->id, err);

	r->at = t->n_prompt;
	r->left = MAX(t->n_gen, 1); /* the first token comes with the prompt */
	return rc ? rc : pipeline_feed(b->pipe, r->id, b->tokens, t->n_prompt, err);
}

static int begin_all(struct bench *b, const struct bench_test *t, struct sherd_error *err)
{
	int n = b->pipe_params.n_sessions, rc = 0;

	b->requests = sherd_calloc((size_t)n, sizeof(*b->requests));
	if (!b->requests)
		return sherd_fail_oom(err, (size_t)n * sizeof(*b->requests), "requests");
	for (int i = 0; i < n && !rc; i++)
		rc = begin_request(b, t, &b->requests[i], err);
	return rc;
}

static struct bench_request *find_request(struct bench *b, uint64_t id)
{
	for (int i = 0; i < b->pipe_params.n_sessions; i++)
		if (b->requests[i].id == id)
			return &b->requests[i];
	return NULL;
}

static int run_requests(struct bench *b, const struct bench_test *t, struct sherd_error *err)
{
	int rc = b->requests ? 0 : begin_all(b, t, err), done = 0;
	struct bench_request *r;
	int32_t token;
	uint64_t id;

	while (!rc && done < t->n_requests) {
		rc = pipeline_wait(b->pipe, &id, &token, err);
		r = rc ? NULL : find_request(b, id);
		if (!r)
			continue;
		if (--r->left) {
			rc = pipeline_feed(b->pipe, id, b->tokens + r->at++, 1, err);
			continue;
		}
		done++;
		pipeline_end(b->pipe, id);
		rc = begin_request(b, t, r, err);
	}
	return rc;
}

static void end_requests(struct bench *b)
{
	if (!b->requests)
		return;
	for (int i = 0; i < b->pipe_params.n_sessions; i++)
		pipeline_end(b->pipe, b->requests[i].id);
	free(b->requests);
	b->requests = NULL;
}

static int run(struct bench *b, const struct bench_test *t, int n_gen, struct sherd_error *err)
{
	return t->n_requests ? run_requests(b, t, err) : run_single(b, t, n_gen, err);
}

/* ------------------------------------------------------ what the stages did */

static void look(const struct bench *b, struct bench_stage *s, int k)
{
	const struct sherd_stage_span *span = &pipeline_plan(b->pipe)->stages[k];
	struct sherd_head_status now;

	sherd_head_stage_status(pipeline_head(b->pipe), k, &now);
	*s = (struct bench_stage){
		.node = now.node,
		.first = span->first,
		.end = span->end,
		.steps = now.progress.steps,
		.rows = now.progress.rows,
		.work_us = now.progress.work_us + now.progress.busy_us,
		.at = now.at,
		.step_s = (double)now.progress.step_us * 1e-6,
	};
}

/* Nothing is under way before and after a single test, and the nodes have the time to say so. */
static int before(struct bench *b, struct bench_test *t, struct sherd_error *err)
{
	int rc = t->n_requests ? 0 : pipeline_idle(b->pipe, FRESH_US, err);

	for (int k = 0; k < pipeline_plan(b->pipe)->n_stages; k++)
		look(b, &t->stages[k], k);
	return rc;
}

static int after(struct bench *b, struct bench_test *t, double wall, struct sherd_error *err)
{
	int rc = t->n_requests ? 0 : pipeline_idle(b->pipe, FRESH_US, err);

	for (int k = 0; k < pipeline_plan(b->pipe)->n_stages; k++) {
		struct bench_stage then = t->stages[k], *now = &t->stages[k];

		look(b, now, k);
		now->steps -= then.steps;
		now->rows -= then.rows;
		now->work_us -= then.work_us;
		now->busy = (double)now->work_us /
			    (t->n_requests ? (double)MAX(now->at - then.at, 1) : wall * 1e6);
	}
	end_requests(b);
	return rc;
}

/* ---------------------------------------------------------- from end to end */

static int open_it(struct bench *b)
{
	double start = sherd_now();
	struct sherd_error err;
	int rc;

	tool_progress(NULL, "waiting for the nodes", 0, 0);
	b->pipe_params.tool = &tool_bench;
	b->pipe_params.note = tool_note;
	rc = pipeline_open(&b->pipe, &b->pipe_params);
	if (!rc && b->n_tokens > pipeline_plan(b->pipe)->n_ctx)
		return tool_failf(&tool_bench,
				  "%s: these tests need a context of %d, and the plan's is %d",
				  b->pipe_params.plan, b->n_tokens, pipeline_plan(b->pipe)->n_ctx);
	rc = rc ? rc : bench_make_tokens(b, TOKENS_KNOWN, NULL);
	if (rc)
		return rc;
	b->load_s = sherd_now() - start;
	if (new_session(b, &b->pipe_session, &err) || feed(b, 0, 1, &err))
		return tool_fail(&tool_bench, &err);
	b->first_token_s = sherd_now() - start;
	return TOOL_OK;
}

static void close_it(struct bench *b)
{
	end_requests(b);
	pipeline_close(b->pipe);
}

const struct bench_source bench_source_plan = {
	.open = open_it,
	.ready = ready,
	.run = run,
	.before = before,
	.after = after,
	.close = close_it,
};
