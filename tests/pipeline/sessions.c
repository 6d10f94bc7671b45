/* SPDX-License-Identifier: MIT */
/*
 * sessions: many sessions on the boards of a plan, some at once, some cancelled on their way, each
 * of its own length, prompt and sampler; every token must be the one that a process alone draws.
 *
 *	sessions PLAN MODEL COUNT AT_ONCE SEED
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"
#include "pipeline.h"

#define MAX_PROMPT 40
#define MAX_TOKENS 16
#define MAX_AT_ONCE 64

struct slot {
	uint64_t id; /* 0: free */
	int32_t due[MAX_TOKENS];
	int n, n_due; /* tokens so far, and in the end */
	bool cancelled; /* it ends without its last ones */
};

struct test {
	struct sherd_model *model;
	struct pipeline *pipe;
	uint64_t random;
	int cuts[SHERD_CLUSTER_NODES];
	struct slot slots[MAX_AT_ONCE];
	int n_begun, n_ended, n_cancelled, n_tokens, n_wrong;
};

static uint32_t draw(struct test *t, uint32_t below)
{
	t->random = t->random * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(t->random >> 33) % below;
}

/* What one process makes of it. */
static int alone(struct test *t, const struct sherd_sampler_params *sampler, const int32_t *prompt,
		 int n, struct slot *s, struct sherd_error *err)
{
	const struct sherd_plan *plan = pipeline_plan(t->pipe);
	struct sherd_session_params p = { .sampler = *sampler,
					  .cuts = t->cuts,
					  .n_cuts = plan->n_stages - 1,
					  .wire = plan->wire };
	struct sherd_session *session;
	const float *logits;
	int rc = sherd_session_new(&session, t->model, &p, err), i;

	if (rc)
		return rc;
	rc = sherd_prefill(session, prompt, n, &logits, err);
	for (i = 0; !rc && i < s->n_due; i++) {
		s->due[i] = sherd_session_sample(session, logits);
		if (i + 1 < s->n_due)
			rc = sherd_prefill(session, &s->due[i], 1, &logits, err);
	}
	sherd_session_free(session);
	return rc;
}

static int begin(struct test *t, struct slot *s, struct sherd_error *err)
{
	const int n_vocab = sherd_tokenizer_n_vocab(sherd_model_tokenizer(t->model));
	struct sherd_sampler_params sampler = { .temp = draw(t, 2) ? 0.9f : 0,
						.top_k = 40,
						.top_p = 1,
						.repeat_penalty = 1,
						.seed = draw(t, 1u << 31) };
	int32_t prompt[MAX_PROMPT];
	int n = 1 + (int)draw(t, MAX_PROMPT), i, rc;

	*s = (struct slot){ .n_due = 1 + (int)draw(t, MAX_TOKENS) };
	for (i = 0; i < n; i++)
		prompt[i] = (int32_t)draw(t, (uint32_t)n_vocab);
	rc = alone(t, &sampler, prompt, n, s, err);
	rc = rc ? rc : pipeline_session(t->pipe, &sampler, n + s->n_due, false, &s->id, err);
	rc = rc ? rc : pipeline_feed(t->pipe, s->id, prompt, n, err);
	t->n_begun++;
	/* Some end while their prompt is on its way, some at a token. */
	if (!rc && draw(t, 8) == 0) {
		pipeline_end(t->pipe, s->id);
		s->id = 0;
		t->n_cancelled++;
		t->n_ended++;
	} else if (draw(t, 8) == 0) {
		s->cancelled = true;
		s->n_due = 1 + (int)draw(t, (uint32_t)s->n_due);
	}
	return rc;
}

static int take(struct test *t, struct slot *s, int32_t token, struct sherd_error *err)
{
	t->n_tokens++;
	if (token != s->due[s->n]) {
		printf("# session %d: token %d is %d, and %d alone\n", (int)s->id, s->n, token,
		       s->due[s->n]);
		t->n_wrong++;
		s->n = s->n_due - 1;
	}
	if (++s->n < s->n_due)
		return pipeline_feed(t->pipe, s->id, &token, 1, err);
	pipeline_end(t->pipe, s->id);
	s->id = 0;
	t->n_ended++;
	t->n_cancelled += s->cancelled;
	return 0;
}

static int run(struct test *t, int count, int at_once, struct sherd_error *err)
{
	uint64_t id;
	int32_t token;
	int rc = 0, i;

	while (!rc && t->n_ended < count) {
		for (i = 0; !rc && i < at_once && t->n_begun < count; i++)
			if (!t->slots[i].id)
				rc = begin(t, &t->slots[i], err);
		if (rc || t->n_ended == t->n_begun)
			continue;
		rc = pipeline_wait(t->pipe, &id, &token, err);
		for (i = 0; !rc && i < at_once; i++)
			if (t->slots[i].id == id) /* else one that was cancelled meanwhile */
				rc = take(t, &t->slots[i], token, err);
	}
	return rc;
}

int main(int argc, char **argv)
{
	struct pipeline_params params = { .tool = &tool_run, .net = { .insecure = true } };
	struct sherd_model_params model = SHERD_MODEL_PARAMS_INIT;
	struct test *t = sherd_calloc(1, sizeof(*t));
	struct sherd_error err;
	int at_once, rc = 1;

	if (argc != 6 || !t) {
		fprintf(stderr, "usage: sessions PLAN MODEL COUNT AT_ONCE SEED\n");
		return 2;
	}
	at_once = MIN(MAX(atoi(argv[4]), 1), MAX_AT_ONCE);
	t->random = strtoull(argv[5], NULL, 10);
	params.plan = argv[1];
	params.n_sessions = at_once;
	model.device = "reference";
	model.n_ctx = MAX_PROMPT + MAX_TOKENS;
	if (sherd_model_open(&t->model, argv[2], &model, &err)) {
		fprintf(stderr, "sessions: %s\n", err.msg);
	} else if (!pipeline_open(&t->pipe, &params)) {
		sherd_plan_cuts(pipeline_plan(t->pipe), t->cuts);
		rc = run(t, atoi(argv[3]), at_once, &err);
		if (rc)
			fprintf(stderr, "sessions: %s\n", err.msg);
		printf("# %d sessions, %d of them cancelled, %d tokens, %d wrong\n", t->n_ended,
		       t->n_cancelled, t->n_tokens, t->n_wrong);
		rc = rc || t->n_wrong;
	}
	pipeline_close(t->pipe);
	sherd_model_close(t->model);
	free(t);
	return rc;
}
