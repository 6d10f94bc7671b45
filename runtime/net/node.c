/* SPDX-License-Identifier: MIT */
/*
 * node: who is at the door. A stranger's first frame is a greeting, and says what the link is for;
 * commands come from heads alone. What a run's stages do with rows is node_post.c.
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/node_post.h"

#define LEASE_US 60000000u
#define MAX_RUNS 16
#define REFUSAL_NOTE_US 1000000u
/* Answers that somebody has not read yet: more are queued for nobody. */
#define MAX_UNREAD (1u << 20)
/*
 * Links of no run, of the 256 that a loop takes; so long one of them may be silent when another
 * wants its place.
 */
#define MAX_GUESTS	 64
#define GUEST_SILENCE_US 10000000u

/* ---------------------------------------------------------------- peers */

struct peer *sherd_node_peer(struct sherd_node *n, struct sherd_link *l, enum peer_kind kind)
{
	struct peer *p = sherd_calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	*p = (struct peer){ .next = n->peers, .node = n, .link = l, .kind = kind,
			    .heard = sherd_net_now(n->net) };
	n->peers = p;
	return p;
}

void sherd_node_forget(struct peer *p)
{
	struct peer **at = &p->node->peers;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	free(p);
}

/* Takes the peer out of whatever it had a part in; the link is still there. */
static void detach(struct peer *p)
{
	if (p->run && p->run->control == p)
		p->run->control = NULL;
	if (p->push)
		sherd_node_push_down(p);
	if (p->kind == PEER_MEASURE)
		sherd_node_measure_down(p);
	if (p->post && p->post->up == p)
		p->post->up = NULL;
	if (p->post && p->post->down == p) {
		p->post->down = NULL;
		p->post->hop.link = NULL;
	}
	p->run = NULL;
	p->post = NULL;
	p->kind = PEER_STRANGER;
	p->greeted = true; /* a second greeting is none */
}

void sherd_node_dismiss(struct peer *p, const char *why)
{
	detach(p);
	sherd_link_hang_up(p->link, why);
}

static void note(const struct sherd_node *n, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(const struct sherd_node *n, const char *fmt, ...)
{
	char text[SHERD_SENTENCE_MAX + SHERD_ADDRESS_MAX];
	va_list ap;

	if (!n->p.note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	n->p.note(n->p.ctx, text);
}

/* Strangers may come as often as they like, and the log is not theirs. */
static bool may_note_refusal(struct sherd_node *n)
{
	uint64_t now = sherd_net_now(n->net);

	if (n->refusal_noted && now - n->refusal_noted < REFUSAL_NOTE_US)
		return false;
	n->refusal_noted = now;
	return true;
}

void sherd_node_refuse(struct peer *p, const char *why)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_REFUSE };

	if (may_note_refusal(p->node))
		note(p->node, "a link is refused: %s: %s", p->link->address, why);
	sherd_sentence_send(p->link, &f, why);
	sherd_node_dismiss(p, why);
}

/* ----------------------------------------------------------------- runs */

struct run *sherd_node_run(struct sherd_node *n, const char *id)
{
	struct run *r;

	for (r = n->runs; r; r = r->next)
		if (!strcmp(r->id, id))
			return r;
	return NULL;
}

static void free_run(struct run *r)
{
	struct run **at = &r->node->runs;

	note(r->node, "a run has ended, after %.0f s",
	     (double)(sherd_net_now(r->node->net) - r->began) * 1e-6);
	while (r->posts)
		sherd_post_free(r->posts);
	if (r->control)
		sherd_node_dismiss(r->control, "the run has ended");
	sherd_timer_stop(r->node->net, &r->lease);
	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
	free(r);
}

static void lease_over(void *ctx)
{
	struct run *r = ctx;

	note(r->node, "a run's head has not come back: its sessions are dropped");
	free_run(r);
}

static struct run *new_run(struct sherd_node *n, const char *id)
{
	int max = n->p.max_runs ? n->p.max_runs : MAX_RUNS, count = 0;
	struct run *r;

	for (r = n->runs; r; r = r->next)
		count++;
	r = count < max ? sherd_calloc(1, sizeof(*r)) : NULL;
	if (!r)
		return NULL;
	*r = (struct run){ .next = n->runs, .node = n, .began = sherd_net_now(n->net),
			   .lease = { .fire = lease_over, .ctx = r } };
	memcpy(r->id, id, sizeof(r->id));
	n->runs = r;
	return r;
}

const char *sherd_node_head(const struct sherd_node *n)
{
	return n->p.head ? n->p.head : "head";
}

/* With TLS a name decides who may command, bring shards, and have others measured. */
static bool is_head(struct peer *p)
{
	const struct sherd_node *n = p->node;
	const char *head = sherd_node_head(n), *who = p->link->identity;
	char why[160];

	if (!who[0] || !strcmp(who, head))
		return true;
	snprintf(why, sizeof(why), "the certificate is that of '%s', and only '%s' may command %s",
		 who, head, n->p.name);
	sherd_node_refuse(p, why);
	return false;
}

static void greet_head(struct peer *p, const struct sherd_hello *h)
{
	struct sherd_node *n = p->node;
	struct run *r = sherd_node_run(n, h->run);

	if (!r) {
		r = new_run(n, h->run);
		if (r)
			note(n, "a run begins, of %s", p->link->address);
	}
	if (!r) {
		sherd_node_refuse(p,
				  "as many runs as this node takes are under way; try again later");
		return;
	}
	if (r->control)
		sherd_node_dismiss(r->control, "the head has dialled again");
	r->control = p;
	r->lease_us = h->lease_ms ? MIN(h->lease_ms * 1000ull, n->p.lease_us) : n->p.lease_us;
	p->run = r;
	p->kind = PEER_CONTROL;
	p->greeted = true;
	sherd_timer_after(n->net, &r->lease, r->lease_us);
	sherd_welcome_send(p->link, n->p.name);
}

/*
 * Anybody may ask how things are, and then say nothing for ever: runs find room all the same, and
 * who is silent makes room for who is not.
 */
static bool has_room_for_guest(struct sherd_node *n)
{
	struct peer *p, *silent = NULL;
	int count = 0;

	for (p = n->peers; p; p = p->next) {
		if (p->kind < PEER_STATUS)
			continue;
		count++;
		if (!silent || p->heard < silent->heard)
			silent = p;
	}
	if (count < MAX_GUESTS)
		return true;
	if (sherd_net_now(n->net) - silent->heard < GUEST_SILENCE_US)
		return false;
	sherd_node_dismiss(silent, "it says nothing, and others want its place");
	return true;
}

static void greet(struct peer *p, const struct sherd_frame *f, const uint8_t *payload)
{
	struct sherd_hello h;
	struct sherd_error err;

	if (sherd_hello_read(&h, payload, f->payload, &err)) {
		sherd_node_refuse(p, err.msg);
	} else if (h.role == SHERD_ROLE_HEAD) {
		if (is_head(p))
			greet_head(p, &h);
	} else if (h.role == SHERD_ROLE_DATA) {
		sherd_post_greet(p->node, p, &h);
	} else if (!has_room_for_guest(p->node)) {
		sherd_node_refuse(p, "as many ask and bring things as this node has links for; try "
				     "again later");
	} else if (h.role == SHERD_ROLE_STATUS) {
		p->kind = PEER_STATUS;
		p->greeted = true;
		sherd_welcome_send(p->link, p->node->p.name);
	} else if (h.role == SHERD_ROLE_PROBE) {
		sherd_node_probe_greet(p);
	} else if (is_head(p)) {
		if (h.role == SHERD_ROLE_PUSH)
			sherd_node_push_greet(p);
		else
			sherd_node_measure_greet(p);
	}
}

/* ------------------------------------------------------------- commands */

static void reply_error(struct peer *p, uint32_t id, const char *why)
{
	struct sherd_reply r = { .id = id };

	snprintf(r.error, sizeof(r.error), "%s", why);
	sherd_reply_send(p->link, &r);
}

/* LOAD has been carried out, or not; whoever waits is told. */
static void reply_loaded(struct post *p)
{
	const struct worker *w = p->worker;
	const struct sherd_stage_info *info = &w->stage->info;
	struct sherd_reply r = { .id = p->load_id };

	p->load_waits = false;
	if (!p->run->control)
		return;
	if (w->state == WORKER_BROKEN) {
		reply_error(p->run->control, p->load_id, w->err.msg);
		return;
	}
	memcpy(r.bit_profile, info->bit_profile, sizeof(r.bit_profile));
	r.room = info->room;
	r.epoch = p->epoch;
	r.n_batch = (uint32_t)info->n_batch;
	r.hidden = info->hidden;
	r.n_layers = info->n_layers;
	sherd_reply_send(p->run->control->link, &r);
}

void sherd_node_loaded(struct worker *w)
{
	struct run *r;
	struct post *p;

	for (r = w->node->runs; r; r = r->next)
		for (p = r->posts; p; p = p->next)
			if (p->worker == w && p->load_waits)
				reply_loaded(p);
}

static struct post *new_post(struct run *r, const struct sherd_command *c, struct sherd_error *err)
{
	struct post *p;
	unsigned count = 0;

	for (p = r->posts; p; p = p->next)
		count++;
	if (count >= SHERD_MAX_POSTS) {
		sherd_fail(err, -EMFILE, "%s serves %u stages of this run already", r->node->p.name,
			   count);
		return NULL;
	}
	p = sherd_calloc(1, sizeof(*p));
	if (!p) {
		sherd_fail_oom(err, sizeof(*p), "a stage");
		return NULL;
	}
	p->run = r;
	p->number = c->stage;
	if (sherd_worker_get(r->node, &c->spec, &p->worker, err)) {
		free(p);
		return NULL;
	}
	p->next = r->posts;
	r->posts = p;
	return p;
}

static void do_load(struct peer *peer, const struct sherd_command *c)
{
	struct post *p = sherd_post_find(peer->run, c->stage);
	struct sherd_error err;

	/* A stage with other layers is another stage, whatever its number. */
	if (p &&
	    (!sherd_spec_equal(&p->worker->spec, &c->spec) || p->worker->state == WORKER_BROKEN)) {
		sherd_post_free(p);
		p = NULL;
	}
	sherd_node_measure_yield(peer->run->node);
	if (!p)
		p = new_post(peer->run, c, &err);
	if (!p) {
		reply_error(peer, c->id, err.msg);
		return;
	}
	p->load_id = c->id;
	p->load_waits = true;
	if (p->worker->state == WORKER_READY || p->worker->state == WORKER_BROKEN)
		reply_loaded(p);
}

static void do_route(struct peer *peer, const struct sherd_command *c)
{
	struct post *p = sherd_post_find(peer->run, c->stage);
	const struct sherd_reply done = { .id = c->id };

	if (!p || p->worker->state != WORKER_READY) {
		reply_error(peer, c->id, "the stage is not loaded here");
		return;
	}
	if (c->epoch < p->epoch) {
		reply_error(peer, c->id, "a later epoch has begun");
		return;
	}
	if (sherd_post_is_last(p) != !c->next[0]) {
		reply_error(peer, c->id,
			    "the last layers have no next stage, and the others have one");
		return;
	}
	sherd_post_route(p, c);
	sherd_reply_send(peer->link, &done);
}

static void do_status(struct peer *peer)
{
	json_t *j = sherd_node_status(peer->node);

	sherd_message_send(peer->link, SHERD_FRAME_REPLY, j);
}

static void command(struct peer *peer, const struct sherd_frame *f, const uint8_t *payload)
{
	struct sherd_reply r = { 0 };
	struct sherd_command c;
	struct sherd_error err;
	struct post *p;

	if (sherd_command_read(&c, payload, f->payload, &err)) {
		sherd_node_refuse(peer, err.msg);
		return;
	}
	if (c.kind == SHERD_COMMAND_STATUS) {
		do_status(peer);
		return;
	}
	if (peer->kind == PEER_MEASURE && c.kind >= SHERD_COMMAND_PROFILE) {
		sherd_node_measure(peer, &c);
		json_decref(c.with);
		return;
	}
	json_decref(c.with);
	if (peer->kind != PEER_CONTROL || c.kind >= SHERD_COMMAND_OFFER) {
		sherd_node_refuse(peer, "over this link nobody may command that");
		return;
	}
	switch (c.kind) {
	case SHERD_COMMAND_LOAD:
		do_load(peer, &c);
		break;
	case SHERD_COMMAND_END:
		free_run(peer->run);
		break;
	case SHERD_COMMAND_ROUTE:
		do_route(peer, &c);
		break;
	default:
		p = sherd_post_find(peer->run, c.stage);
		if (p)
			sherd_post_drop(p);
		r.id = c.id;
		sherd_reply_send(peer->link, &r);
	}
}

/* ------------------------------------------------------------- progress */

void sherd_node_pong(struct run *r)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_PONG };
	uint8_t out[SHERD_MAX_POSTS * SHERD_PROGRESS_BYTES];
	struct sherd_progress progress;
	struct flow *flow;
	struct post *p;
	uint32_t n = 0;

	if (!r->control)
		return;
	for (p = r->posts; p && n < SHERD_MAX_POSTS; p = p->next) {
		sherd_worker_progress(p->worker, &progress);
		progress.stage = p->number;
		if (p->down_since)
			progress.cut_off_us = MAX(sherd_net_now(r->node->net) - p->down_since, 1);
		for (flow = p->flows; flow; flow = flow->next)
			progress.sessions++;
		sherd_progress_write(&progress, out + n++ * SHERD_PROGRESS_BYTES);
	}
	sherd_link_send(r->control->link, &f, out, n * SHERD_PROGRESS_BYTES);
}

/*
 * A head that has taken the place of another one may not have heard the last token of a session.
 * Of a failure none may have heard: it was told over a link that broke, in an epoch that was over,
 * or before the head asked for anything. So it is told until the session is closed.
 */
static void pinged(struct run *r)
{
	struct flow *f;
	struct post *p;

	sherd_node_pong(r);
	for (p = r->posts; p; p = p->next)
		for (f = p->flows; f; f = f->next)
			if (f->state == FLOW_FAILED || f->token_position == f->received)
				sherd_post_repeat(f);
}

/* ------------------------------------------------------ links' callbacks */

static int unexpected(const struct sherd_frame *f, struct sherd_error *err)
{
	return sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected now",
			  sherd_frame_name(f->type), f->payload);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	struct peer *p = ctx;

	(void)l;
	if (p->kind == PEER_STRANGER) {
		if (p->greeted || f->type != SHERD_FRAME_HELLO || f->payload > SHERD_HELLO_MAX)
			return unexpected(f, err);
		return 0;
	}
	if (p->kind == PEER_UP || p->kind == PEER_DOWN)
		return sherd_post_expect(p, f, err);
	if (p->kind == PEER_PUSH)
		return sherd_node_push_expect(p, f, err);
	if (p->kind == PEER_MEASURE || p->kind == PEER_PROBE)
		return sherd_node_probe_expect(p, f, err);
	if (f->type == SHERD_FRAME_COMMAND && f->payload <= SHERD_MESSAGE_MAX)
		return 0;
	if (f->type == SHERD_FRAME_PING && !f->payload && p->kind == PEER_CONTROL)
		return 0;
	return unexpected(f, err);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct peer *p = ctx;

	/* The rows that the next stage has not read are bounded by the window. */
	if (p->kind != PEER_DOWN && l->net->ops->queued(l) > MAX_UNREAD) {
		sherd_node_dismiss(p, "it does not read its answers");
		return;
	}
	p->heard = sherd_net_now(p->node->net);
	if (p->kind == PEER_CONTROL) /* silence ends a run as a lost link does */
		sherd_timer_after(p->node->net, &p->run->lease, p->run->lease_us);
	if (p->kind == PEER_STRANGER)
		greet(p, f, payload);
	else if (p->kind == PEER_UP || p->kind == PEER_DOWN)
		sherd_post_frame(p, f, payload);
	else if (p->kind == PEER_PUSH)
		sherd_node_push_frame(p, f, payload);
	else if (f->type == SHERD_FRAME_COMMAND)
		command(p, f, payload);
	else if (p->kind == PEER_MEASURE || p->kind == PEER_PROBE)
		sherd_node_probe_frame(p, f, payload);
	else
		pinged(p->run);
}

static void up(void *ctx, struct sherd_link *l)
{
	struct peer *p = ctx;

	(void)l;
	/* Who was dialled is the next stage: it is told who we are. */
	if (p->kind == PEER_DOWN)
		sherd_post_hello(p);
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct peer *p = ctx;

	if (p->kind == PEER_STRANGER && l->tls_fault && may_note_refusal(p->node))
		note(p->node, "a link is refused: %s", why->msg);
	if (p->kind == PEER_CONTROL)
		p->run->control = NULL; /* the lease runs on */
	else if (p->post)
		sherd_post_down(p, why);
	else if (p->push)
		sherd_node_push_down(p);
	else if (p->kind == PEER_MEASURE)
		sherd_node_measure_down(p);
	sherd_node_forget(p);
}

const struct sherd_link_user sherd_node_links = { up, expect, frame, down };

static void accepted(void *ctx, struct sherd_link *l)
{
	struct sherd_node *n = ctx;
	struct peer *p = sherd_node_peer(n, l, PEER_STRANGER);

	if (!p) {
		sherd_link_hang_up(l, "no memory");
		return;
	}
	l->user = &sherd_node_links;
	l->ctx = p;
}

/* ------------------------------------------------------------- the node */

int sherd_node_new(struct sherd_node **node, const struct sherd_node_params *p,
		   struct sherd_error *err)
{
	struct sherd_node *n = sherd_calloc(1, sizeof(*n));

	*node = NULL;
	if (!n)
		return sherd_fail_oom(err, sizeof(*n), "a node");
	n->p = *p;
	n->net = p->net;
	if (!n->p.lease_us)
		n->p.lease_us = LEASE_US;
	n->net->accepted = accepted;
	n->net->accepted_ctx = n;
	*node = n;
	return 0;
}

void sherd_node_free(struct sherd_node *n)
{
	struct peer *p;

	if (!n)
		return;
	while (n->runs)
		free_run(n->runs);
	while (n->workers)
		sherd_worker_destroy(n->workers);
	n->profiling.peer = NULL; /* its profiler is gone */
	/* Links may outlive the node by a second; what they say is heard by nobody. */
	while ((p = n->peers)) {
		detach(p);
		p->link->user = &sherd_deaf;
		sherd_link_hang_up(p->link, "the node stops");
		sherd_node_forget(p);
	}
	n->net->accepted = NULL;
	free(n->profiling.ask);
	free(n);
}
