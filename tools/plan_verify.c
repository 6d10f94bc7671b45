/* SPDX-License-Identifier: MIT */
/*
 * plan_verify: runs a plan on its nodes and compares with what it predicts. A repetition is a
 * session of its own, whose prompt has as many tokens as the plan was made for; a first one warms
 * up and does not count. How long the stages take is what the nodes themselves have noted of their
 * steps.
 */
#include <stdlib.h>
#include "base/base.h"
#include "net/ask.h"
#include "pipeline.h"
#include "plan.h"

#define DECODE	  32 /* tokens after a prompt's first */
#define STATUS_US 5000000u

/*
 * A number that was predicted, and what came of it: the median, and what nine of ten are below or
 * above.
 */
struct checked {
	double predicted, low, measured, high; /* measured 0: not */
};

struct stage_check {
	char node[SHERD_NAME_MAX]; /* that served it */
	struct checked chunk_ms, token_ms;
};

struct session {
	uint64_t id;
	int32_t token; /* the one drawn last */
	int n; /* decoded */
};

struct verify {
	const struct plan *p;
	struct pipeline *pipe;
	const struct sherd_plan *plan;
	int n_decode, n_sessions, reps;
	double *first_ms, *per_s; /* [reps] */
	struct checked first, tokens;
	double links_ms, links_predicted_ms; /* of a token: all but computing; 0: not known */
	struct stage_check stages[SHERD_CLUSTER_NODES];
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static struct checked check(double predicted, double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return (struct checked){ predicted, v[n / 10], v[n / 2], v[9 * n / 10] };
}

/* ----------------------------------------------------------------- running */

/* Small numbers are tokens of every model; not always the same, for mixtures of experts. */
static void make_prompt(int32_t *ids, int n, int rep)
{
	for (int i = 0; i < n; i++)
		ids[i] = 1 + (i * 31 + rep * 17) % 61;
}

/* A session's prompt goes in. */
static int begin(struct verify *v, int rep, uint64_t *id, struct sherd_error *err)
{
	int n = v->plan->predicted.n_prompt, rc;
	int32_t *ids = sherd_calloc((size_t)n, sizeof(*ids));

	if (!ids)
		return sherd_fail_oom(err, (size_t)n * sizeof(*ids), "a prompt");
	make_prompt(ids, n, rep);
	rc = pipeline_session(v->pipe, NULL, n + v->n_decode, false, id, err);
	if (!rc)
		rc = pipeline_feed(v->pipe, *id, ids, n, err);
	free(ids);
	return rc;
}

/*
 * Of all sessions the next token, until each has had @n_decode more; how long one takes, in
 * seconds.
 */
static int decode(struct verify *v, struct session *sessions, double *seconds,
		  struct sherd_error *err)
{
	int left = v->n_sessions * v->n_decode, rc = 0;
	double start = sherd_now();
	struct session *s;
	int32_t token;
	uint64_t id;

	for (int i = 0; !rc && i < v->n_sessions; i++)
		rc = pipeline_feed(v->pipe, sessions[i].id, &sessions[i].token, 1, err);
	for (int i = 0; !rc && i < left; i++) {
		rc = pipeline_wait(v->pipe, &id, &token, err);
		for (s = sessions; s->id != id && s < sessions + v->n_sessions - 1; s++)
			;
		if (!rc && ++s->n < v->n_decode)
			rc = pipeline_feed(v->pipe, id, &token, 1, err);
	}
	*seconds = (sherd_now() - start) / left;
	return rc;
}

/* Prompts one after the other, then all sessions together. */
static int run_sessions(struct verify *v, int rep, double *first_ms, double *per_s,
			struct sherd_error *err)
{
	struct session *sessions = sherd_calloc((size_t)v->n_sessions, sizeof(*sessions));
	double start = sherd_now(), seconds = 0;
	int rc = 0, n = 0;
	uint64_t id;

	if (!sessions)
		return sherd_fail_oom(err, (size_t)v->n_sessions * sizeof(*sessions), "sessions");
	for (; !rc && n < v->n_sessions; n++) {
		rc = begin(v, rep, &sessions[n].id, err);
		if (!rc)
			rc = pipeline_wait(v->pipe, &id, &sessions[n].token, err);
	}
	*first_ms = (sherd_now() - start) * 1e3 / v->n_sessions;
	if (!rc && v->n_decode)
		rc = decode(v, sessions, &seconds, err);
	*per_s = seconds > 0 ? 1 / seconds : 0;
	for (int i = 0; i < n; i++)
		if (sessions[i].id)
			pipeline_end(v->pipe, sessions[i].id);
	free(sessions);
	return rc;
}

static int run_all(struct verify *v, struct sherd_error *err)
{
	double first, per_s;
	int rc = run_sessions(v, 0, &first, &per_s, err); /* warms up */

	for (int i = 0; i < v->reps && !rc; i++) {
		tool_progress(NULL, "running the plan", (uint64_t)i, (uint64_t)v->reps);
		rc = run_sessions(v, i + 1, &v->first_ms[i], &v->per_s[i], err);
	}
	tool_progress_end();
	if (rc)
		return rc;
	v->first = check(v->plan->predicted.first_token_ms, v->first_ms, v->reps);
	v->tokens = check(v->plan->predicted.tokens_per_s, v->per_s, v->reps);
	return 0;
}

/* ------------------------------------------------------------------ stages */

struct question {
	struct sherd_loop *loop;
	json_t *answer;
	struct sherd_error err;
};

static void answered(void *ctx, json_t *answer)
{
	struct question *q = ctx;

	q->answer = answer;
	sherd_loop_stop(q->loop);
}

static void ended(void *ctx, const struct sherd_error *why)
{
	struct question *q = ctx;

	q->err = *why;
	sherd_loop_stop(q->loop);
}

/* Of steps with about @rows rows. */
static void take_times(json_t *took, int rows, struct checked *c)
{
	json_t *t;
	size_t i;

	json_array_foreach(took, i, t) {
		json_int_t size = json_integer_value(json_object_get(t, "rows"));

		if (rows > size || 2 * rows <= size)
			continue;
		c->low = 1e-3 * (double)json_integer_value(json_object_get(t, "low_us"));
		c->measured = 1e-3 * (double)json_integer_value(json_object_get(t, "us"));
		c->high = 1e-3 * (double)json_integer_value(json_object_get(t, "high_us"));
	}
}

/* The stage among all that a node serves. */
static void take_stage(struct verify *v, int k, json_t *status)
{
	json_t *runs = json_object_get(status, "runs"), *run, *stage;
	struct stage_check *s = &v->stages[k];
	size_t i, j;

	json_array_foreach(runs, i, run)
		json_array_foreach(json_object_get(run, "stages"), j, stage) {
			json_t *took = json_object_get(stage, "took");

			if (json_integer_value(json_object_get(stage, "stage")) != k + 1 ||
			    json_integer_value(json_object_get(stage, "first")) !=
				    v->plan->stages[k].first ||
			    !json_integer_value(json_object_get(stage, "epoch")))
				continue;
			take_times(took, MIN(v->plan->chunk, v->plan->predicted.n_prompt),
				   &s->chunk_ms);
			if (v->n_sessions == 1) /* with more, steps have any number of them */
				take_times(took, 1, &s->token_ms);
		}
}

static int ask_stage(struct verify *v, struct sherd_loop *loop, int k, struct sherd_error *err)
{
	const struct sherd_plan *plan = v->plan;
	struct stage_check *s = &v->stages[k];
	struct question q = { .loop = loop };
	struct sherd_ask_params p = {
		.net = &loop->net, .answered = answered, .ended = ended, .ctx = &q
	};
	struct sherd_head_status status;
	struct sherd_ask *ask;
	int rc;

	s->chunk_ms.predicted = plan->predicted.stage[k].chunk_ms;
	s->token_ms.predicted = plan->predicted.stage[k].token_ms;
	sherd_head_stage_status(pipeline_head(v->pipe), k, &status);
	snprintf(s->node, sizeof(s->node), "%s", status.node ? status.node : "nobody");
	for (int i = 0; i < plan->n_nodes; i++)
		if (!strcmp(plan->nodes[i].name, s->node)) {
			p.name = plan->nodes[i].name;
			p.address = plan->nodes[i].address;
		}
	if (!p.name)
		return 0;
	rc = sherd_ask_new(&ask, &p, err);
	if (rc)
		return rc;
	sherd_ask(ask, SHERD_COMMAND_STATUS, NULL, STATUS_US);
	rc = sherd_loop_run(loop, err);
	if (!rc && !q.answer)
		rc = sherd_fail(err, -EIO, "%s: %s", s->node, q.err.msg);
	if (!rc)
		take_stage(v, k, q.answer);
	json_decref(q.answer);
	sherd_ask_free(ask);
	return rc;
}

static int ask_stages(struct verify *v)
{
	struct sherd_error err;
	struct netopt net;
	int rc = netopt_open(&net, &tool_plan, &v->p->net, "head", NULL, 0), bad = 0;

	if (rc)
		return rc;
	for (int k = 0; k < v->plan->n_stages && !bad; k++)
		bad = ask_stage(v, net.loop, k, &err);
	netopt_close(&net);
	return bad ? tool_fail(&tool_plan, &err) : TOOL_OK;
}

/* What of a token's time nobody computes in: only where one session has the pipeline for itself. */
static void find_links(struct verify *v)
{
	if (v->n_sessions > 1 || !(v->tokens.measured > 0))
		return;
	v->links_ms = 1e3 / v->tokens.measured;
	v->links_predicted_ms = 1e3 / v->tokens.predicted;
	for (int k = 0; k < v->plan->n_stages; k++) {
		v->links_ms -= v->stages[k].token_ms.measured;
		v->links_predicted_ms -= v->stages[k].token_ms.predicted;
	}
}

/* ----------------------------------------------------------------- reporting */

static void print_line(const char *what, const char *part, const struct checked *c)
{
	printf("%-12s %-14s %10.2f ", what, part, c->predicted);
	if (c->measured > 0)
		printf("%10.2f %9.2f - %-9.2f %+6.1f %%\n", c->measured, c->low, c->high,
		       100 * (c->predicted / c->measured - 1));
	else
		printf("%10s\n", "not seen");
}

static void print_table(const struct verify *v)
{
	const struct sherd_plan *plan = v->plan;
	const struct sherd_plan_predicted *d = &plan->predicted;

	printf("%s: prompt of %d tokens in chunks of %d, %d %s, %d tokens each; %d repetitions, %s, %s\n\n",
	       sherd_objective_names[d->objective], d->n_prompt, plan->chunk, v->n_sessions,
	       v->n_sessions == 1 ? "session" : "sessions", v->n_decode + 1, v->reps,
	       v->p->net.insecure ? "without TLS" : "with TLS", pipeline_io(v->pipe));
	printf("%-12s %-14s %10s %10s %9s   %-9s %6s\n", "", "", "predicted", "measured", "nine of",
	       "ten", "error");
	print_line("in all", "first token ms", &v->first);
	if (v->n_decode)
		print_line("", "tokens/s", &v->tokens);
	for (int k = 0; k < plan->n_stages; k++) {
		print_line(v->stages[k].node, "chunk ms", &v->stages[k].chunk_ms);
		if (v->n_sessions == 1)
			print_line("", "token ms", &v->stages[k].token_ms);
	}
	if (v->links_ms > 0)
		printf("%-12s %-14s %10.2f %10.2f\n", "links etc.", "token ms",
		       v->links_predicted_ms, v->links_ms);
	if (sherd_head_recoveries(pipeline_head(v->pipe)))
		printf("\nnodes were lost meanwhile, and what was measured is of little worth\n");
}

static json_t *checked_json(const struct checked *c)
{
	if (!(c->measured > 0))
		return json_pack("{sf sn}", "predicted", c->predicted, "measured");
	return json_pack("{sf sf sf sf sf}", "predicted", c->predicted, "measured", c->measured,
			 "low", c->low, "high", c->high, "error", c->predicted / c->measured - 1);
}

static int print_json(const struct verify *v)
{
	const struct sherd_plan_predicted *d = &v->plan->predicted;
	json_t *stages = json_array(), *j;
	int bad;

	for (int k = 0; k < v->plan->n_stages; k++)
		json_array_append_new(
			stages, json_pack("{ss si si so so}", "node", v->stages[k].node, "first",
					  v->plan->stages[k].first, "end", v->plan->stages[k].end,
					  "chunk_ms", checked_json(&v->stages[k].chunk_ms),
					  "token_ms", checked_json(&v->stages[k].token_ms)));
	j = json_pack("{ss si si si si si sb si so so so s{sf sf}}", "objective",
		      sherd_objective_names[d->objective], "prompt_tokens", d->n_prompt, "chunk",
		      v->plan->chunk, "sessions", v->n_sessions, "tokens", v->n_decode + 1,
		      "repetitions", v->reps, "tls", !v->p->net.insecure, "recoveries",
		      sherd_head_recoveries(pipeline_head(v->pipe)), "first_token_ms",
		      checked_json(&v->first), "tokens_per_s", checked_json(&v->tokens), "stages",
		      stages, "links_token_ms", "predicted", v->links_predicted_ms, "measured",
		      v->links_ms);
	bad = !j || json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(j);
	if (bad)
		return tool_failf(&tool_plan, "the result could not be written");
	putchar('\n');
	return TOOL_OK;
}

/* --------------------------------------------------------------------- all */

static int prepare(struct verify *v)
{
	const struct sherd_plan_predicted *d = &v->plan->predicted;

	if (!d->known)
		return tool_failf(
			&tool_plan,
			"%s does not say what it predicts: sherd plan -o makes plans that do",
			v->p->verify);
	if (d->n_prompt > v->plan->n_ctx)
		return tool_failf(&tool_plan,
				  "%s: a prompt of %d tokens is more than its context of %d",
				  v->p->verify, d->n_prompt, v->plan->n_ctx);
	v->reps = v->p->repetitions;
	v->n_sessions = d->objective == SHERD_THROUGHPUT ? v->plan->n_sessions : 1;
	v->n_decode = MIN(DECODE, v->plan->n_ctx - d->n_prompt);
	v->first_ms = sherd_calloc((size_t)v->reps, sizeof(*v->first_ms));
	v->per_s = sherd_calloc((size_t)v->reps, sizeof(*v->per_s));
	if (!v->first_ms || !v->per_s)
		return tool_failf(&tool_plan, "out of memory");
	return TOOL_OK;
}

static int verify(struct verify *v)
{
	struct sherd_error err;
	int rc = prepare(v);

	if (!rc && run_all(v, &err))
		rc = tool_fail(&tool_plan, &err);
	if (!rc)
		rc = ask_stages(v);
	if (rc)
		return rc;
	find_links(v);
	if (v->p->json)
		rc = print_json(v);
	else
		print_table(v);
	return tool_flush(&tool_plan) ? rc : TOOL_FAILED;
}

int plan_verify(const struct plan *p)
{
	const struct pipeline_params params = {
		.tool = &tool_plan, .plan = p->verify, .net = p->net, .note = tool_note
	};
	struct verify v = { .p = p };
	int rc;

	tool_progress(NULL, "waiting for the nodes", 0, 0);
	rc = pipeline_open(&v.pipe, &params);
	tool_progress_end();
	if (!rc) {
		v.plan = pipeline_plan(v.pipe);
		rc = verify(&v);
	}
	pipeline_close(v.pipe);
	free(v.first_ms);
	free(v.per_s);
	return rc;
}
