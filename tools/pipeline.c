/* SPDX-License-Identifier: MIT */
/*
 * pipeline: what the head reports is put into a queue, and whoever waits takes it out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include "base/base.h"
#include "pipeline.h"

#define LEASE_US 10000000u /* a head that is gone for longer does not come back */

struct event {
	struct event *next;
	uint64_t id;
	int32_t token;
	int rc;
	struct sherd_error err;
};

struct pipeline {
	struct pipeline_params p;
	struct sherd_plan *plan;
	struct netopt net;
	struct sherd_head *head;
	struct sherd_head_node nodes[SHERD_CLUSTER_NODES];
	struct sherd_head_stage stages[SHERD_CLUSTER_NODES];
	int seats[SHERD_CLUSTER_NODES][SHERD_CLUSTER_NODES];
	int cuts[SHERD_CLUSTER_NODES];
	struct event *first, *last;
	char run[SHERD_RUN_ID];
	bool ready, dead, idle;
	struct sherd_timer idling;
	struct sherd_error why; /* dead */
	volatile bool interrupted;
};

/* ------------------------------------------------------- the head's reports */

static void ready(void *ctx)
{
	struct pipeline *p = ctx;

	p->ready = true;
	sherd_loop_stop(p->net.loop);
}

static void put_event(struct pipeline *p, uint64_t id, int32_t token, int rc,
		      const struct sherd_error *err)
{
	struct event *e = calloc(1, sizeof(*e));

	sherd_loop_stop(p->net.loop);
	if (!e) {
		p->dead = true;
		sherd_fail_oom(&p->why, sizeof(*e), "a token");
		return;
	}
	e->id = id;
	e->token = token;
	e->rc = rc;
	if (err)
		e->err = *err;
	if (p->first)
		p->last->next = e;
	else
		p->first = e;
	p->last = e;
}

static void token(void *ctx, uint64_t id, uint32_t position, int32_t token)
{
	(void)position;
	put_event(ctx, id, token, 0, NULL);
}

static void failed(void *ctx, uint64_t id, const struct sherd_error *why)
{
	struct pipeline *p = ctx;

	if (id) {
		put_event(p, id, 0, -EIO, why);
		return;
	}
	p->dead = true;
	p->why = *why;
	sherd_loop_stop(p->net.loop);
}

/* -------------------------------------------------------------- opening */

/* Who may serve a stage: whom the plan says, then the spares that have its layers. */
static void fill_seats(struct pipeline *p)
{
	const struct sherd_plan *plan = p->plan;

	for (int i = 0; i < plan->n_nodes; i++)
		p->nodes[i] =
			(struct sherd_head_node){ plan->nodes[i].name, plan->nodes[i].address };
	for (int k = 0; k < plan->n_stages; k++) {
		struct sherd_head_stage *s = &p->stages[k];

		*s = (struct sherd_head_stage){ .first = plan->stages[k].first,
						.end = plan->stages[k].end,
						.nodes = p->seats[k] };
		p->seats[k][s->n_nodes++] = plan->stages[k].node;
		for (int i = 0; i < plan->n_spares; i++)
			if (plan->spares[i].stages >> k & 1)
				p->seats[k][s->n_nodes++] = plan->spares[i].node;
	}
	sherd_plan_cuts(plan, p->cuts);
}

static int draw_run(struct pipeline *p, struct sherd_error *err)
{
	uint8_t run[16];

	if (getrandom(run, sizeof(run), 0) != sizeof(run))
		return sherd_fail(err, -EIO, "no random numbers can be had");
	for (size_t i = 0; i < sizeof(run); i++)
		snprintf(p->run + 2 * i, 3, "%02x", run[i]);
	return 0;
}

static int new_head(struct pipeline *p, struct sherd_error *err)
{
	const struct sherd_plan *plan = p->plan;
	struct sherd_head_params h = {
		.net = &p->net.loop->net,
		.bits = plan->bits,
		.nodes = p->nodes,
		.stages = p->stages,
		.n_nodes = plan->n_nodes,
		.n_stages = plan->n_stages,
		.n_ctx = plan->n_ctx,
		.n_sessions = p->p.n_sessions ? p->p.n_sessions : plan->n_sessions,
		.kv = plan->kv,
		.chunk = p->p.chunk ? p->p.chunk : plan->chunk,
		.inexact = p->p.inexact,
		.request_us = (uint64_t)p->p.limit_s * 1000000,
		.lease_us = LEASE_US,
		.deadline_us = (uint64_t)p->p.deadline_s * 1000000,
		.ready = ready,
		.token = token,
		.failed = failed,
		.note = p->p.note,
		.ctx = p,
	};

	if (p->p.run)
		snprintf(p->run, sizeof(p->run), "%s", p->p.run);
	else if (draw_run(p, err))
		return -EIO;
	memcpy(h.run, p->run, sizeof(h.run));
	memcpy(h.model, plan->model_hash, sizeof(h.model));
	h.n_batch = sherd_cost_batch(h.chunk, h.n_sessions);
	return sherd_head_new(&p->head, &h, err);
}

/* Runs the loop until there is something to say. */
static int run_loop(struct pipeline *p, bool (*done)(const struct pipeline *),
		    struct sherd_error *err)
{
	int rc = 0;

	while (!rc && !done(p) && !p->dead && !p->interrupted)
		rc = sherd_loop_run(p->net.loop, err);
	if (rc || done(p))
		return rc;
	if (p->interrupted)
		return sherd_fail(err, -EINTR, "interrupted");
	*err = p->why;
	return -EIO;
}

static bool is_ready(const struct pipeline *p)
{
	return p->ready;
}

int pipeline_refuse_idle(const struct tool *t, const struct pipeline_params *p)
{
	const struct tool_idle idle[] = {
		{ p->deadline_s, "--deadline" },   { p->limit_s, "--time-limit" },
		{ p->inexact, "--inexact" },	   { p->net.tls, "--tls" },
		{ p->net.insecure, "--insecure" }, { p->net.io, "--io" },
		{ p->chunk, "--chunk" },	   { p->n_sessions, "--sessions" },
	};

	return tool_refuse_idle(t, idle, ARRAY_SIZE(idle), "%s does nothing without --plan");
}

int pipeline_open(struct pipeline **pipeline, const struct pipeline_params *params)
{
	struct pipeline *p = calloc(1, sizeof(*p));
	const char *addresses[SHERD_CLUSTER_NODES];
	struct sherd_error err;
	int rc = TOOL_OK;

	*pipeline = p;
	if (!p)
		return tool_failf(params->tool, "out of memory");
	p->p = *params;
	if (sherd_plan_read(&p->plan, params->plan, &err))
		return tool_fail(params->tool, &err);
	fill_seats(p);
	for (int i = 0; i < p->plan->n_nodes; i++)
		addresses[i] = p->nodes[i].address;
	rc = netopt_open(&p->net, params->tool, &params->net, "head", addresses, p->plan->n_nodes);
	if (rc)
		return rc;
	if (new_head(p, &err) || run_loop(p, is_ready, &err))
		return tool_fail(params->tool, &err);
	return TOOL_OK;
}

struct farewell {
	struct sherd_loop *loop;
	struct sherd_timer timer;
	uint64_t until;
};

static void look(void *arg)
{
	struct farewell *f = arg;

	if (!f->loop->n_links || sherd_net_now(&f->loop->net) > f->until)
		sherd_loop_stop(f->loop);
	else
		sherd_timer_after(&f->loop->net, &f->timer, 1000);
}

/*
 * The nodes hear that the run has ended: else they would keep its sessions until its lease is over.
 */
static void say_goodbye(struct sherd_loop *loop)
{
	struct farewell f = { .loop = loop, .timer = { .fire = look, .ctx = &f },
			      .until = sherd_net_now(&loop->net) + 1000000 };
	struct sherd_error err;

	sherd_timer_after(&loop->net, &f.timer, 0);
	sherd_loop_run(loop, &err);
	sherd_timer_stop(&loop->net, &f.timer);
}

void pipeline_close(struct pipeline *p)
{
	struct event *e;

	if (!p)
		return;
	sherd_head_free(p->head);
	if (p->net.loop)
		say_goodbye(p->net.loop);
	netopt_close(&p->net);
	while ((e = p->first)) {
		p->first = e->next;
		free(e);
	}
	free(p->plan);
	free(p);
}

void pipeline_interrupt(struct pipeline *p)
{
	p->interrupted = true;
	sherd_loop_stop(p->net.loop);
}

const struct sherd_plan *pipeline_plan(const struct pipeline *p)
{
	return p->plan;
}

const struct sherd_head *pipeline_head(const struct pipeline *p)
{
	return p->head;
}

const char *pipeline_run(const struct pipeline *p)
{
	return p->run;
}

const char *pipeline_io(const struct pipeline *p)
{
	return sherd_io_name((int)p->net.loop->io);
}

static void idle_over(void *ctx)
{
	struct pipeline *p = ctx;

	p->idle = false;
	sherd_loop_stop(p->net.loop);
}

static bool is_awake(const struct pipeline *p)
{
	return !p->idle;
}

int pipeline_idle(struct pipeline *p, uint64_t us, struct sherd_error *err)
{
	int rc;

	p->idle = true;
	p->idling = (struct sherd_timer){ .fire = idle_over, .ctx = p };
	sherd_timer_after(&p->net.loop->net, &p->idling, us);
	rc = run_loop(p, is_awake, err);
	sherd_timer_stop(&p->net.loop->net, &p->idling);
	return rc;
}

/* -------------------------------------------------------------- sessions */

int pipeline_session(struct pipeline *p, const struct sherd_sampler_params *sampler, int max,
		     bool ignore_eos, uint64_t *id, struct sherd_error *err)
{
	struct sherd_stage_session s = { .max = (uint32_t)max, .ignore_eos = ignore_eos };

	s.params.sampler =
		sampler ? *sampler : (struct sherd_sampler_params){ .repeat_penalty = 1 };
	s.params.cuts = p->cuts;
	s.params.n_cuts = p->plan->n_stages - 1;
	s.params.wire = p->plan->wire;
	return sherd_head_open(p->head, &s, id, err);
}

int pipeline_feed(struct pipeline *p, uint64_t id, const int32_t *tokens, int n,
		  struct sherd_error *err)
{
	return sherd_head_feed(p->head, id, tokens, n, err);
}

void pipeline_end(struct pipeline *p, uint64_t id)
{
	sherd_head_close(p->head, id);
}

static bool has_event(const struct pipeline *p)
{
	return p->first;
}

int pipeline_wait(struct pipeline *p, uint64_t *id, int32_t *token, struct sherd_error *err)
{
	struct event *e;
	int rc = run_loop(p, has_event, err);

	*id = 0;
	if (rc)
		return rc;
	e = p->first;
	p->first = e->next;
	*id = e->id;
	*token = e->token;
	rc = e->rc;
	*err = e->err;
	free(e);
	return rc;
}
