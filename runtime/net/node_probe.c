/* SPDX-License-Identifier: MIT */
/*
 * node_probe: a node says what it and its links can do, when no run is served: what is measured
 * beside other work is worth nothing, and would slow that down. It measures one thing at a time;
 * who asks while it does, or while a run is served, is told so. When a run begins meanwhile, the
 * run comes first.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/node_post.h"
#include "net/probe.h"

/* A link of this node's that is being measured for somebody. */
struct probe {
	struct peer *peer;
	struct sherd_probe *p;
	char name[SHERD_NAME_MAX], address[SHERD_ADDRESS_MAX];
};

/* Why nothing can be measured now, into @why; false: it can be. */
static bool busy(const struct sherd_node *n, char *why, size_t size)
{
	const struct run *r;
	const struct peer *p;

	for (r = n->runs; r; r = r->next)
		if (r->posts) {
			snprintf(why, size, "%s serves a run; measure when it has ended",
				 n->p.name);
			return true;
		}
	if (n->profiling.under_way) {
		snprintf(
			why, size,
			"%s has been measuring itself for %.0f s already; ask again when it is done",
			n->p.name, (double)(sherd_net_now(n->net) - n->profiling.since) * 1e-6);
		return true;
	}
	for (p = n->peers; p; p = p->next)
		if (p->probe) {
			snprintf(why, size, "%s is measuring another link; ask again", n->p.name);
			return true;
		}
	return false;
}

/* @j: what is to be beside the question's number; taken over. */
static void answer(struct peer *p, json_t *j)
{
	if (j && json_object_set_new(j, "id", json_integer(p->ask_id))) {
		json_decref(j);
		j = NULL;
	}
	p->asked = false;
	sherd_message_send(p->link, SHERD_FRAME_REPLY, j);
}

static void answer_error(struct peer *p, const char *why)
{
	char said[SHERD_SENTENCE_MAX];

	/* A file's name may be in it, which JSON need not take. */
	sherd_sentence_read(said, sizeof(said), why, strlen(why));
	answer(p, json_pack("{s:s}", "error", said));
}

/* -------------------------------------------------------------- profiles */

static void send_profile(struct peer *p, const char *text)
{
	json_error_t e;
	json_t *profile = json_loads(text, JSON_REJECT_DUPLICATES, &e);

	if (!profile)
		answer_error(p, "the profile is no JSON");
	else if (json_dumpb(profile, NULL, 0, JSON_COMPACT) > SHERD_MESSAGE_MAX - 64)
		answer_error(p, "the profile is larger than a message may be");
	else
		answer(p, json_pack("{s:O}", "profile", profile));
	json_decref(profile);
}

static void profiled(void *ctx, struct sherd_profiler_job *job)
{
	struct sherd_node *n = ctx;
	struct profiling *m = &n->profiling;
	struct peer *p = m->peer;

	m->under_way = false;
	m->peer = NULL;
	free(m->ask);
	m->ask = NULL;
	if (p && job->profile)
		send_profile(p, job->profile);
	else if (p)
		answer_error(p, job->rc == -ECANCELED ? "a run has begun, which comes first" :
							job->err.msg);
	free(job->profile);
}

static void profile(struct peer *p, json_t *with)
{
	struct sherd_node *n = p->node;
	struct profiling *m = &n->profiling;

	if (!n->p.profiler) {
		answer_error(p, "this node does not measure itself");
		return;
	}
	m->ask = json_dumps(with, JSON_COMPACT);
	if (!m->ask) {
		answer_error(p, "no memory for a profile");
		return;
	}
	m->under_way = true;
	m->peer = p;
	m->since = sherd_net_now(n->net);
	m->job = (struct sherd_profiler_job){ .ask = m->ask, .done = profiled, .ctx = n };
	n->p.profiler->submit(n->p.profiler, &m->job);
}

void sherd_node_measure_yield(struct sherd_node *n)
{
	if (n->profiling.under_way)
		n->p.profiler->cancel(n->p.profiler);
}

/* ----------------------------------------------------------------- links */

static void free_probe(struct probe *b)
{
	if (b->peer)
		b->peer->probe = NULL;
	sherd_probe_free(b->p);
	free(b);
}

static void probed(void *ctx, const struct sherd_error *why, const struct sherd_probe_result *r)
{
	struct probe *b = ctx;
	struct peer *p = b->peer;
	struct sherd_error err;

	if (why) {
		err = *why;
		sherd_fail_prefix(&err, -EIO, "%s", b->name);
	}
	free_probe(b);
	if (why)
		answer_error(p, err.msg);
	else
		answer(p, json_pack("{s:f, s:f}", "mbit", r->mbit, "rtt_us", r->rtt_us));
}

/* A string that a name or an address can be. */
static bool take(char *to, size_t room, const char *from)
{
	size_t n = strlen(from);

	if (!n || n >= room ||
	    strspn(from, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
			 "0123456789._-:[]%") != n)
		return false;
	memcpy(to, from, n + 1);
	return true;
}

static void probe_link(struct peer *p, json_t *with)
{
	const char *name = "", *address = "";
	struct probe *b = sherd_calloc(1, sizeof(*b));
	struct sherd_probe_params params = { .net = p->node->net, .ended = probed, .ctx = b };
	struct sherd_error err;
	json_error_t e;
	int rc;

	if (!b) {
		answer_error(p, "no memory for a link's measurement");
		return;
	}
	if (json_unpack_ex(with, &e, 0, "{s:s, s:s !}", "name", &name, "address", &address) ||
	    !take(b->name, sizeof(b->name), name) ||
	    !take(b->address, sizeof(b->address), address)) {
		free(b);
		answer_error(p, "a link's other end wants a name and an address");
		return;
	}
	params.name = b->name;
	params.address = b->address;
	b->peer = p;
	p->probe = b;
	rc = sherd_probe_new(&b->p, &params, &err);
	if (!rc)
		return;
	free_probe(b);
	answer_error(p, err.msg);
}

/* ------------------------------------------------------------- the links */

void sherd_node_measure_greet(struct peer *p)
{
	p->kind = PEER_MEASURE;
	p->greeted = true;
	sherd_welcome_send(p->link, p->node->p.name);
}

void sherd_node_probe_greet(struct peer *p)
{
	char why[160];

	if (busy(p->node, why, sizeof(why))) {
		sherd_node_refuse(p, why);
		return;
	}
	p->kind = PEER_PROBE;
	p->greeted = true;
	sherd_welcome_send(p->link, p->node->p.name);
}

int sherd_node_probe_expect(const struct peer *p, const struct sherd_frame *f,
			    struct sherd_error *err)
{
	if (f->type == SHERD_FRAME_PING && !f->payload)
		return 0;
	if (p->kind == PEER_MEASURE && f->type == SHERD_FRAME_COMMAND &&
	    f->payload <= SHERD_MESSAGE_MAX && !p->asked)
		return 0;
	if (p->kind == PEER_PROBE && f->type == SHERD_FRAME_FILE && f->session == p->probed &&
	    f->payload && f->payload <= SHERD_PROBE_PIECE &&
	    f->payload <= SHERD_PROBE_BYTES - p->probed)
		return 0;
	return sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected now",
			  sherd_frame_name(f->type), f->payload);
}

/* Whatever comes over a link that is measured is answered at once. */
void sherd_node_probe_frame(struct peer *p, const struct sherd_frame *f, const uint8_t *payload)
{
	struct sherd_frame reply = { .type = SHERD_FRAME_PONG };

	(void)payload;
	if (f->type == SHERD_FRAME_FILE) {
		p->probed += f->payload;
		reply.type = SHERD_FRAME_HAVE;
		reply.session = p->probed;
	}
	sherd_link_send(p->link, &reply, NULL, 0);
}

void sherd_node_measure(struct peer *p, const struct sherd_command *c)
{
	char why[160];

	p->ask_id = c->id;
	p->asked = true;
	if (busy(p->node, why, sizeof(why)))
		answer_error(p, why);
	else if (c->kind == SHERD_COMMAND_PROFILE)
		profile(p, c->with);
	else
		probe_link(p, c->with);
}

void sherd_node_measure_down(struct peer *p)
{
	struct profiling *m = &p->node->profiling;

	if (p->probe)
		free_probe(p->probe);
	if (m->peer != p)
		return;
	m->peer = NULL;
	if (m->under_way)
		p->node->p.profiler->cancel(p->node->p.profiler);
}
