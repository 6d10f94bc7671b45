/* SPDX-License-Identifier: MIT */
/*
 * run_plan: tokens from the stages of a plan. Of the model only the tokenizer is needed here.
 */
#include <stdlib.h>
#include <string.h>
#include "base/trace.h"
#include "model/shard.h"
#include "run.h"
#include "same_model.h"

/* So much is hashed in a moment; of a larger file the shape alone is compared. */
#define HASH_AT_ONCE ((uint64_t)256 << 20)

/* Another model's numbers would be nonsense to this one's, and its text none. */
static int open_checked(struct run *r, const char *name, struct sherd_error *err)
{
	char *path;
	int rc = sherd_resolve_model(name, &path, err);

	if (rc)
		return rc;
	rc = same_model(pipeline_plan(r->pipe), path, HASH_AT_ONCE, err);
	rc = rc ? rc : sherd_tokenizer_open(&r->own_tok, path, err);
	free(path);
	return rc;
}

static int open_tokenizer(struct run *r)
{
	const struct sherd_plan *plan = pipeline_plan(r->pipe);
	const char *name = r->model_name ? r->model_name : plan->model_path;
	struct sherd_error err;

	if (open_checked(r, name, &err)) {
		if (r->model_name)
			return tool_fail(&tool_run, &err);
		return tool_failf(
			&tool_run,
			"%s; -m names a file of that model on this machine, for its tokenizer",
			err.msg);
	}
	r->tok = r->own_tok;
	return TOOL_OK;
}

static int open_it(struct run *r)
{
	SHERD_TRACE_SCOPE("wait for the nodes", NULL);
	int rc;

	tool_progress(NULL, "waiting for the nodes", 0, 0);
	r->pipe_params.tool = &tool_run;
	r->pipe_params.note = tool_note;
	rc = pipeline_open(&r->pipe, &r->pipe_params);
	tool_progress_end();
	if (rc)
		return rc;
	r->n_ctx = r->n_ctx_train = pipeline_plan(r->pipe)->n_ctx;
	return open_tokenizer(r);
}

/* Who serves which layers now, which need not be whom the plan has. */
static void say(const struct run *r)
{
	const struct sherd_plan *plan = pipeline_plan(r->pipe);
	struct sherd_head_status s;

	fprintf(stderr, "sherd: %d %s", plan->n_stages, plan->n_stages == 1 ? "stage" : "stages");
	for (int k = 0; k < plan->n_stages; k++) {
		const struct sherd_stage_span *span = &plan->stages[k];

		sherd_head_stage_status(pipeline_head(r->pipe), k, &s);
		fprintf(stderr, "%s%s %d-%d", k ? ", " : " (",
			s.node ? s.node : plan->nodes[span->node].name, span->first, span->end - 1);
	}
	fprintf(stderr, "), %s TLS, over %s, chunks of %d tokens\n",
		r->pipe_params.net.insecure ? "without" : "with", pipeline_io(r->pipe),
		plan->chunk);
}

/* The cuts of a text are those that it began with. */
static int check_cuts(const struct run *r)
{
	const struct sherd_plan *plan = pipeline_plan(r->pipe);
	bool same = r->cuts.n == plan->n_stages - 1 && (r->wire_type == plan->wire || !r->cuts.n);

	for (int k = 0; same && k < r->cuts.n; k++)
		same = r->cuts.v[k] == plan->stages[k + 1].first;
	return same ? TOOL_OK :
		      tool_failf(
			      &tool_run,
			      "%s: its text was begun with other cuts, or another wire format, than "
			      "this plan has; other tokens would follow",
			      r->resume);
}

/* What a journal has to know. */
static int take_cuts(struct run *r)
{
	const struct sherd_plan *plan = pipeline_plan(r->pipe);

	r->wire_type = plan->wire;
	r->cuts.v = calloc((size_t)plan->n_stages, sizeof(*r->cuts.v));
	if (!r->cuts.v)
		return tool_failf(&tool_run, "out of memory");
	for (int k = 1; k < plan->n_stages; k++)
		r->cuts.v[r->cuts.n++] = plan->stages[k].first;
	return TOOL_OK;
}

static int start(struct run *r)
{
	int max = r->n_predict < 0 || r->n_predict > r->n_ctx - r->n_ids ? r->n_ctx :
									   r->n_ids + r->n_predict;
	struct sherd_sampler_params sampler = r->sampler;
	struct sherd_error err;
	int rc = r->resume ? check_cuts(r) : take_cuts(r);

	if (rc)
		return rc;
	sampler.seed = r->seed.v;
	if (pipeline_session(r->pipe, &sampler, max, r->ignore_eos, &r->pipe_session, &err))
		return tool_fail(&tool_run, &err);
	return TOOL_OK;
}

static int next(struct run *r, const int32_t *ids, int n, int32_t *token)
{
	SHERD_TRACE_SCOPE(n > 1 ? "prompt" : "token", NULL);
	struct sherd_error err;
	uint64_t id;
	int32_t ignored;
	int rc;

	if (pipeline_feed(r->pipe, r->pipe_session, ids, n, &err))
		return tool_fail(&tool_run, &err);
	rc = pipeline_wait(r->pipe, &id, token ? token : &ignored, &err);
	if (rc && !run_interrupted)
		return tool_fail(&tool_run, &err);
	return TOOL_OK;
}

const struct run_source run_source_plan = { open_it, say, start, next, NULL };
