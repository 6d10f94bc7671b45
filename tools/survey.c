/* SPDX-License-Identifier: MIT */
/*
 * survey: brings each node the layers that it is to measure, asks it for its profile, and then has
 * links measured, one after the other. Boards measure at the same time; nodes at one host, one
 * after the other, or each would measure what the others do.
 */
#include "survey.h"

#include <stdlib.h>
#include "model/shard.h"
#include "net/ask.h"
#include "net/probe.h"
#include "net/push.h"
#include "probe.h"

/* beside the measuring itself: opening, and compiling kernels for the first time */
#define PROFILE_US 1000000000u
#define LINK_US	   20000000u
#define STATUS_US  10000000u

enum state { SKIPPED, WAITING, GREETING, PUSHING, ASKING, DONE };

struct surveyed {
	struct survey *survey;
	struct sherd_cluster_node *node;
	enum state state;
	struct sherd_push *push;
	struct sherd_ask *ask;
};

struct survey {
	const struct survey_params *p;
	struct netopt net;
	struct probe probe;
	struct sherd_shard *shards[PROBE_WINDOWS];
	struct sherd_push_file files[PROBE_WINDOWS];
	struct surveyed nodes[SHERD_CLUSTER_NODES];
	int n_nodes, n_asked, n_done;
	/* links */
	struct sherd_probe *link;
	int from, to, n_links, n_links_done; /* from n_nodes: here */
	bool over, failed;
	struct sherd_error err;
};

static void next_link(struct survey *s);

/* The first thing that goes wrong ends it all. */
static void fail(struct survey *s, int node, const struct sherd_error *why, const char *hint)
{
	const struct sherd_cluster_node *n = s->nodes[node].node;

	if (s->over)
		return;
	s->over = s->failed = true;
	sherd_loop_stop(s->net.loop);
	sherd_fail(&s->err, -EIO, "node \"%s\": %s%s", n->name, why->msg, hint);
}

/* -------------------------------------------------------------- profiles */

/* Nodes at one host share its processor. */
static bool same_host(const char *a, const char *b)
{
	size_t n = (size_t)(strrchr(a, ':') - a), m = (size_t)(strrchr(b, ':') - b);

	return n == m && !memcmp(a, b, n);
}

static bool host_is_busy(const struct survey *s, const struct surveyed *x)
{
	for (int i = 0; i < s->n_nodes; i++) {
		const struct surveyed *o = &s->nodes[i];

		if (o->state > WAITING && o->state < DONE &&
		    same_host(o->node->address, x->node->address))
			return true;
	}
	return false;
}

static void show(const struct survey *s)
{
	tool_progress(NULL, "the nodes measure", (uint64_t)(s->n_done + s->n_links_done),
		      (uint64_t)(s->n_asked + s->n_links));
}

static int number(const struct surveyed *x)
{
	return (int)(x - x->survey->nodes);
}

static void start_next(struct survey *s);

static void take_profile(struct surveyed *x, json_t *answer)
{
	char *text = json_dumps(json_object_get(answer, "profile"), JSON_COMPACT);
	struct survey *s = x->survey;
	struct sherd_error err;
	struct sherd_json_at root;
	struct sherd_json f;
	int rc;

	if (!text) {
		sherd_fail(&err, -EPROTO, "its answer has no profile");
		fail(s, number(x), &err, "");
		return;
	}
	rc = sherd_json_parse(&f, text, strlen(text), "its profile", &err);
	free(text);
	if (!rc) {
		root = sherd_json_root(&f);
		x->node->profile = sherd_profile_from_json(&root);
		rc = sherd_json_close(&f);
	}
	if (rc) {
		fail(s, number(x), &err, "");
		return;
	}
	x->state = DONE;
	s->n_done++;
	show(s);
	start_next(s);
}

static void take_link(struct survey *s, json_t *answer)
{
	struct sherd_cluster *c = s->p->cluster;
	struct sherd_cluster_link *l = &c->links[s->from * (c->n_nodes + 1) + s->to];
	struct sherd_error err;

	if (sherd_answer_link(answer, &l->mbit, &l->rtt_us, &err)) {
		fail(s, s->from, &err, "");
		return;
	}
	next_link(s);
}

static void pushed(void *ctx, const struct sherd_error *why, uint64_t sent)
{
	struct surveyed *x = ctx;
	struct survey *s = x->survey;

	(void)sent;
	if (why) {
		fail(s, number(x), why, "");
		return;
	}
	x->state = ASKING;
	sherd_ask(x->ask, SHERD_COMMAND_PROFILE, probe_to_json(&s->probe, false),
		  PROFILE_US + (uint64_t)(4e6 * s->p->seconds));
}

static void push(struct surveyed *x)
{
	struct survey *s = x->survey;
	const struct sherd_push_params p = { .net = &s->net.loop->net,
					     .name = x->node->name,
					     .address = x->node->address,
					     .files = s->files,
					     .n_files = s->probe.n_windows,
					     .ended = pushed,
					     .ctx = x };
	struct sherd_error err;

	x->state = PUSHING;
	if (sherd_push_new(&x->push, &p, &err))
		fail(s, number(x), &err, "");
}

static void answered(void *ctx, json_t *answer)
{
	struct surveyed *x = ctx;
	struct sherd_error err;

	if (sherd_answer_failed(answer, &err)) {
		fail(x->survey, number(x), &err, "");
	} else if (x->state == GREETING) {
		push(x);
	} else if (x->state == ASKING) {
		take_profile(x, answer);
	} else if (x->survey->from == number(x)) {
		take_link(x->survey, answer);
	}
	json_decref(answer);
}

static void ask_ended(void *ctx, const struct sherd_error *why)
{
	struct surveyed *x = ctx;

	fail(x->survey, number(x), why,
	     x->state != GREETING ? "" :
				    "; is `sherd node` running there? Or name a profile of it in "
				    "the cluster's file");
}

/* Whether it is there at all comes first: a transfer would wait for it. */
static void start(struct surveyed *x)
{
	struct survey *s = x->survey;
	const struct sherd_ask_params p = { .net = &s->net.loop->net, .name = x->node->name,
					    .address = x->node->address, .answered = answered,
					    .ended = ask_ended, .ctx = x };
	struct sherd_error err;

	x->state = GREETING;
	if (sherd_ask_new(&x->ask, &p, &err))
		fail(s, number(x), &err, "");
	else
		sherd_ask(x->ask, SHERD_COMMAND_STATUS, NULL, STATUS_US);
}

static void start_next(struct survey *s)
{
	for (int i = 0; i < s->n_nodes && !s->over; i++)
		if (s->nodes[i].state == WAITING && !host_is_busy(s, &s->nodes[i]))
			start(&s->nodes[i]);
	if (s->n_done == s->n_asked && !s->over)
		next_link(s);
}

/* ----------------------------------------------------------------- links */

/* Pairs once, here last: what is found holds both ways. */
static bool is_wanted(const struct survey *s, int from, int to)
{
	return (from > to) && s->nodes[to].state != SKIPPED &&
	       (from == s->n_nodes || s->nodes[from].state != SKIPPED) &&
	       sherd_cluster_link(s->p->cluster, from, to)->assumed;
}

static void settle_link(struct survey *s)
{
	struct sherd_cluster *c = s->p->cluster;
	struct sherd_cluster_link *there = &c->links[s->from * (c->n_nodes + 1) + s->to];
	struct sherd_cluster_link *back = &c->links[s->to * (c->n_nodes + 1) + s->from];

	there->assumed = false;
	there->measured = true;
	if (back->assumed)
		*back = *there;
	s->n_links_done++;
	show(s);
}

static void link_ended(void *ctx, const struct sherd_error *why, const struct sherd_probe_result *r)
{
	struct survey *s = ctx;
	struct sherd_cluster *c = s->p->cluster;
	struct sherd_cluster_link *l = &c->links[s->from * (c->n_nodes + 1) + s->to];

	if (why) {
		fail(s, s->to, why, "");
		return;
	}
	l->mbit = r->mbit;
	l->rtt_us = r->rtt_us;
	next_link(s);
}

static void start_link(struct survey *s)
{
	const struct sherd_cluster_node *to = s->nodes[s->to].node;
	const struct sherd_probe_params p = { .net = &s->net.loop->net,
					      .name = to->name,
					      .address = to->address,
					      .ended = link_ended,
					      .ctx = s };
	struct sherd_error err;

	if (s->from < s->n_nodes) {
		sherd_ask(s->nodes[s->from].ask, SHERD_COMMAND_PROBE_LINK,
			  sherd_ask_link(to->name, to->address), LINK_US);
		return;
	}
	sherd_probe_free(s->link);
	if (sherd_probe_new(&s->link, &p, &err))
		fail(s, s->to, &err, "");
}

/* The one before has been measured, if there was one. */
static void next_link(struct survey *s)
{
	if (s->from >= 0)
		settle_link(s);
	else
		s->from = 0;
	do {
		if (++s->to >= s->from) {
			s->from++;
			s->to = 0;
		}
	} while (s->from <= s->n_nodes && !is_wanted(s, s->from, s->to));
	if (s->from <= s->n_nodes) {
		start_link(s);
		return;
	}
	s->over = true;
	sherd_loop_stop(s->net.loop);
}

/* --------------------------------------------------------------------- all */

static int pack(struct survey *s, struct sherd_error *err)
{
	const struct survey_params *p = s->p;
	bool in_memory;
	int rc = 0;

	probe_choose(&s->probe, p->sizes);
	s->probe.kv = p->params->kv_type;
	s->probe.seconds = p->seconds;
	s->probe.again = p->again;
	for (int i = 0; i < s->probe.n_windows && !rc; i++) {
		const struct sherd_pack_params pp = { .bits = p->params->bits,
						      .first_layer = s->probe.windows[i].first,
						      .end_layer = s->probe.windows[i].end,
						      .progress = p->params->progress,
						      .note = p->params->note,
						      .ctx = p->params->ctx };
		struct sherd_push_file *f = &s->files[i];

		rc = sherd_shard_get(&s->shards[i], p->model, &pp, p->params->no_cache, &in_memory,
				     err);
		if (rc)
			break;
		f->data = s->shards[i]->gguf->map.data;
		f->offer.size = s->shards[i]->gguf->map.size;
		probe_name(&s->probe, i, f->offer.name);
		sherd_sha256(f->data, f->offer.size, f->offer.sha256);
	}
	return rc;
}

static void choose(struct survey *s)
{
	struct sherd_cluster *c = s->p->cluster;

	s->n_nodes = c->n_nodes;
	for (int i = 0; i < c->n_nodes; i++) {
		s->nodes[i] = (struct surveyed){ .survey = s, .node = &c->nodes[i],
						 .state = c->nodes[i].profile ? SKIPPED : WAITING };
		s->n_asked += !c->nodes[i].profile;
	}
	for (int from = 0; from <= c->n_nodes; from++)
		for (int to = 0; to < from; to++)
			s->n_links += is_wanted(s, from, to);
}

static int run(struct survey *s, struct sherd_error *err)
{
	int rc = pack(s, err);

	tool_progress_end();
	if (rc)
		return rc;
	show(s);
	start_next(s);
	while (!rc && !s->over)
		rc = sherd_loop_run(s->net.loop, err);
	tool_progress_end();
	if (rc || !s->failed)
		return rc;
	*err = s->err;
	return -EIO;
}

int survey(const struct survey_params *params)
{
	struct survey *s = sherd_calloc(1, sizeof(*s));
	const char *addresses[SHERD_CLUSTER_NODES];
	struct sherd_error err;
	int rc, n = 0;

	if (!s)
		return tool_failf(params->tool, "out of memory");
	s->p = params;
	s->from = s->to = -1;
	choose(s);
	for (int i = 0; i < s->n_nodes; i++)
		if (s->nodes[i].state == WAITING)
			addresses[n++] = s->nodes[i].node->address;
	rc = netopt_open(&s->net, params->tool, params->net, "head", addresses, n);
	if (!rc && run(s, &err))
		rc = tool_fail(params->tool, &err);
	sherd_probe_free(s->link);
	for (int i = 0; i < s->n_nodes; i++) {
		sherd_push_free(s->nodes[i].push);
		sherd_ask_free(s->nodes[i].ask);
	}
	netopt_close(&s->net);
	for (int i = 0; i < s->probe.n_windows; i++)
		sherd_shard_close(s->shards[i]);
	free(s);
	return rc;
}
