/* SPDX-License-Identifier: MIT */
/*
 * head_node: the links over which nodes are commanded. One that is lost is dialled again until the
 * head ends; what it says in the meantime over an old link is heard by nobody.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/head_plan.h"

#define REDIAL_FIRST_US 50000u
#define REDIAL_LAST_US	1000000u
#define SAY_WAITING_US	2000000u
#define EPOCH_MOST	(1u << 31) /* that an earlier head may have come to */

static const struct sherd_link_user links;

static void redial_later(struct head_node *n)
{
	sherd_timer_after(n->head->net, &n->redial, n->redial_us);
	n->redial_us = MIN(2 * n->redial_us, REDIAL_LAST_US);
}

static void dial(void *ctx)
{
	struct head_node *n = ctx;
	struct sherd_net *net = n->head->net;

	n->heard = sherd_net_now(net);
	if (!net->ops->dial(net, n->plan->address, n->plan->name, &links, n, &n->link, &n->why))
		return;
	n->link = NULL;
	n->failed_dials++;
	redial_later(n);
}

static void up(void *ctx, struct sherd_link *l)
{
	const struct head_node *n = ctx;
	struct sherd_hello h = { .role = SHERD_ROLE_HEAD,
				 .lease_ms = (uint32_t)(n->head->p.lease_us / 1000) };

	memcpy(h.run, n->head->p.run, sizeof(h.run));
	sherd_hello_send(l, &h);
}

/*
 * The node is there. What it had loaded for us it has still, if it is the same process; it will
 * say.
 */
static void welcomed(struct head_node *n)
{
	struct sherd_head *h = n->head;
	int k;

	if (n->gone)
		sherd_head_note(h, "%s is back", n->plan->name);
	n->up = true;
	n->failed_dials = 0;
	n->refuses = false;
	n->redial_us = REDIAL_FIRST_US;
	for (k = 0; k < h->p.n_stages; k++) {
		n->seats[k].load = LOAD_NONE;
		n->seats[k].taken = false; /* it will say */
		n->seats[k].cut_off_at = 0;
		n->seats[k].route_id = 0;
		n->seats[k].progress = (struct sherd_progress){ 0 };
		if (h->stages[k].node == n)
			h->stages[k].routed = false;
	}
}

/* It has said of all that it serves that it is loaded. */
static bool is_whole(const struct head_node *n)
{
	const struct sherd_head *h = n->head;
	int k;

	for (k = 0; k < h->p.n_stages; k++)
		if (h->stages[k].node == n && n->seats[k].load != LOAD_READY)
			return false;
	return true;
}

/* The next epoch is beyond all that nodes know, and one word must not leave it no number. */
static void check_epoch(const struct sherd_head *h, struct sherd_reply *r)
{
	if (r->epoch <= MAX(h->epoch, EPOCH_MOST))
		return;
	snprintf(r->error, sizeof(r->error),
		 "it says that epoch %u of this run had begun, and no head has come so far",
		 r->epoch);
	r->epoch = 0;
}

static void loaded(struct head_node *n, int k, struct sherd_reply *r)
{
	struct seat *seat = &n->seats[k];

	check_epoch(n->head, r);
	seat->reply = *r;
	seat->load = r->error[0] ? LOAD_REFUSED : LOAD_READY;
	seat->taken = r->epoch != 0;
	n->head->known_epoch = MAX(n->head->known_epoch, r->epoch);
	memcpy(seat->bit_profile, r->bit_profile, sizeof(seat->bit_profile));
	if (is_whole(n))
		n->gone = 0;
}

static void replied(struct head_node *n, const struct sherd_frame *f, const uint8_t *payload)
{
	struct sherd_head *h = n->head;
	struct sherd_reply r;
	struct sherd_error err;
	int k;

	if (sherd_reply_read(&r, payload, f->payload, &err)) {
		sherd_link_hang_up(n->link, err.msg);
		return;
	}
	for (k = 0; k < h->p.n_stages; k++) {
		struct seat *seat = &n->seats[k];

		if (seat->load == LOAD_ASKED && seat->load_id == r.id)
			loaded(n, k, &r);
		if (seat->route_id == r.id && r.id && h->stages[k].node == n) {
			h->stages[k].routed = !r.error[0];
			seat->progress.cut_off_us = 0; /* that was in another epoch */
			if (!r.error[0])
				continue;
			seat->load = LOAD_NONE; /* it has not what we thought: ask anew */
			seat->route_id = 0;
		}
	}
}

static void ponged(struct head_node *n, const struct sherd_frame *f, const uint8_t *payload)
{
	struct sherd_head *h = n->head;
	struct sherd_progress p;
	struct seat *seat;
	uint32_t at;

	for (at = 0; at < f->payload; at += SHERD_PROGRESS_BYTES) {
		sherd_progress_read(&p, payload + at);
		if (p.stage < 1 || p.stage > (uint64_t)h->p.n_stages)
			continue;
		seat = &n->seats[p.stage - 1];
		/* A node's first count is no progress, nor is another node's. */
		if (seat == seat_of(h, (int)p.stage - 1) && seat->progress.stage &&
		    seat->progress.rows != p.rows)
			h->progress_at = sherd_net_now(h->net);
		seat->progress = p;
		seat->progress_at = sherd_net_now(h->net);
	}
}

/* A node that is nobody in this epoch has nothing to say about sessions. */
static bool is_current(const struct head_node *n, const struct sherd_frame *f)
{
	const struct sherd_head *h = n->head;

	return f->epoch == h->epoch && f->stage >= 1 && f->stage <= (uint32_t)h->p.n_stages &&
	       h->stages[f->stage - 1].node == n;
}

static void failed(struct head_node *n, const struct sherd_frame *f, const uint8_t *payload)
{
	char why[SHERD_SENTENCE_MAX];

	sherd_sentence_read(why, sizeof(why), payload, f->payload);
	if (is_current(n, f))
		sherd_head_session_failed(n->head, f->session, n->plan->name, why);
}

static void lost(struct head_node *n, const char *why)
{
	struct sherd_head *h = n->head;

	if (n->up)
		sherd_head_note(h, "%s is lost: %s", n->plan->name, why);
	if (!n->gone)
		n->gone = sherd_net_now(h->net);
	n->up = false;
	n->refuses = false;
	n->link = NULL;
	sherd_fail(&n->why, -EIO, "%s", why);
	redial_later(n);
}

/* Nobody waits for the link's end, which may take a second. */
static void give_up_link(struct head_node *n, const char *why)
{
	n->link->user = &sherd_deaf;
	sherd_link_hang_up(n->link, why);
	n->failed_dials = 1; /* no use to wait for it */
	lost(n, why);
}

/* Others may serve what it does not want to, and it is asked again: it may not always say so. */
static void refused(struct head_node *n, const struct sherd_frame *f, const uint8_t *payload)
{
	char said[384], why[SHERD_SENTENCE_MAX];

	sherd_sentence_read(said, sizeof(said), payload, f->payload);
	snprintf(why, sizeof(why), "it refuses: %s", said);
	if (!n->up && strcmp(why, n->why.msg))
		sherd_head_note(n->head, "%s: %s", n->plan->name, why);
	n->redial_us = REDIAL_LAST_US;
	give_up_link(n, why);
	n->refuses = !(f->flags & SHERD_FRAME_AGAIN);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct head_node *n = ctx;
	bool ok = false;

	(void)l;
	switch (f->type) {
	case SHERD_FRAME_WELCOME:
		ok = !n->up && f->payload <= SHERD_HELLO_MAX;
		break;
	case SHERD_FRAME_REFUSE:
		ok = f->payload < SHERD_SENTENCE_MAX;
		break;
	case SHERD_FRAME_REPLY:
		ok = n->up && f->payload <= SHERD_MESSAGE_MAX;
		break;
	case SHERD_FRAME_PONG:
		ok = n->up && f->payload <= SHERD_MAX_POSTS * SHERD_PROGRESS_BYTES &&
		     f->payload % SHERD_PROGRESS_BYTES == 0;
		break;
	case SHERD_FRAME_TOKEN:
		ok = n->up && f->payload == 4;
		break;
	case SHERD_FRAME_FAILED:
		ok = n->up && f->payload < SHERD_SENTENCE_MAX;
		break;
	default:
		break;
	}
	return ok ? 0 :
		    sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected from a node",
			       sherd_frame_name(f->type), f->payload);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct head_node *n = ctx;

	(void)l;
	n->heard = sherd_net_now(n->head->net);
	if (f->type == SHERD_FRAME_WELCOME)
		welcomed(n);
	else if (f->type == SHERD_FRAME_REFUSE)
		refused(n, f, payload);
	else if (f->type == SHERD_FRAME_REPLY)
		replied(n, f, payload);
	else if (f->type == SHERD_FRAME_PONG)
		ponged(n, f, payload);
	else if (f->type == SHERD_FRAME_FAILED)
		failed(n, f, payload);
	else if (is_current(n, f))
		sherd_head_token(n->head, f, payload);
	sherd_head_think(n->head);
}

/*
 * Certificates do not change while we wait: a stage that nobody else may serve will not be served.
 */
static void distrusted(struct head_node *n)
{
	struct sherd_head *h = n->head;
	char why[SHERD_SENTENCE_MAX];
	int k;

	for (k = 0; !h->was_ready && k < h->p.n_stages; k++) {
		if (h->p.stages[k].n_nodes > 1 || &h->nodes[h->p.stages[k].nodes[0]] != n)
			continue;
		snprintf(why, sizeof(why), "%s: %.400s", n->plan->name, n->why.msg);
		sherd_head_fail(h, why);
	}
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct head_node *n = ctx;

	if (!n->up)
		n->failed_dials++;
	lost(n, why->msg);
	if (l->tls_fault == -EACCES || l->tls_fault == -EKEYEXPIRED)
		distrusted(n);
	sherd_head_think(n->head);
}

static const struct sherd_link_user links = { up, expect, frame, down };

/* Once, in the beginning: later its loss was said. */
static void say_waiting(struct head_node *n)
{
	struct sherd_head *h = n->head;

	if (n->up || n->said || h->was_ready ||
	    sherd_net_now(h->net) - h->progress_at < SAY_WAITING_US)
		return;
	n->said = true;
	sherd_head_note(h, "waiting for %s: %s", n->plan->name,
			n->why.msg[0] ? n->why.msg : "it has not answered yet");
}

void sherd_head_ping(struct head_node *n)
{
	const struct sherd_head *h = n->head;
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING, .epoch = h->epoch };
	uint64_t silence = sherd_net_now(h->net) - n->heard;
	char why[96];

	say_waiting(n);
	if (!n->link || (!n->up && silence <= SHERD_GREETING_US))
		return;
	if (n->up && silence <= h->p.lost_us) {
		sherd_link_send(n->link, &ping, NULL, 0);
		return;
	}
	snprintf(why, sizeof(why), "nothing has been heard of it for %.1f s",
		 (double)silence * 1e-6);
	give_up_link(n, why);
}

static uint32_t next_command(struct sherd_head *h)
{
	if (!++h->last_command)
		h->last_command = 1;
	return h->last_command;
}

void sherd_head_load(struct head_node *n, int k)
{
	struct sherd_head *h = n->head;
	struct seat *seat = &n->seats[k];
	struct sherd_command c = {
		.kind = SHERD_COMMAND_LOAD,
		.stage = (uint32_t)k + 1,
		.spec = { .bits = h->p.bits,
			  .first = h->p.stages[k].first,
			  .end = h->p.stages[k].end,
			  .n_ctx = h->p.n_ctx,
			  .n_sessions = h->p.n_sessions,
			  .n_batch = h->p.n_batch,
			  .kv = h->p.kv },
	};

	memcpy(c.spec.model, h->p.model, sizeof(c.spec.model));
	c.id = seat->load_id = next_command(h);
	seat->load = LOAD_ASKED;
	sherd_command_send(n->link, &c);
}

void sherd_head_route(struct sherd_head *h, int k)
{
	struct head_node *n = h->stages[k].node;
	struct sherd_command c = {
		.kind = SHERD_COMMAND_ROUTE,
		.stage = (uint32_t)k + 1,
		.epoch = h->epoch,
		.chunk = (uint32_t)h->p.chunk,
		.window = (uint32_t)h->p.window,
		.exact = !h->p.inexact,
	};

	c.id = n->seats[k].route_id = next_command(h);
	n->seats[k].taken = true;
	h->stages[k].routed = false;
	if (k)
		snprintf(c.previous, sizeof(c.previous), "%s", h->stages[k - 1].node->plan->name);
	if (k + 1 < h->p.n_stages) {
		const struct sherd_head_node *next = h->stages[k + 1].node->plan;

		snprintf(c.next, sizeof(c.next), "%s", next->name);
		snprintf(c.next_address, sizeof(c.next_address), "%s", next->address);
	}
	sherd_command_send(n->link, &c);
}

void sherd_head_drop(struct head_node *n, int k)
{
	struct sherd_command c = { .kind = SHERD_COMMAND_DROP, .stage = (uint32_t)k + 1 };

	n->seats[k].taken = false;
	c.id = next_command(n->head);
	sherd_command_send(n->link, &c);
}

int sherd_head_nodes_init(struct sherd_head *h, struct sherd_error *err)
{
	int i;

	h->nodes = sherd_calloc((size_t)h->p.n_nodes, sizeof(*h->nodes));
	if (!h->nodes)
		return sherd_fail_oom(err, (size_t)h->p.n_nodes * sizeof(*h->nodes),
				      "a plan's nodes");
	for (i = 0; i < h->p.n_nodes; i++) {
		struct head_node *n = &h->nodes[i];

		*n = (struct head_node){ .head = h,
					 .plan = &h->p.nodes[i],
					 .redial_us = REDIAL_FIRST_US,
					 .redial = { .fire = dial, .ctx = n } };
		n->seats = sherd_calloc((size_t)h->p.n_stages, sizeof(*n->seats));
		if (!n->seats)
			return sherd_fail_oom(err, (size_t)h->p.n_stages * sizeof(*n->seats),
					      "a plan's stages");
		sherd_timer_after(h->net, &n->redial, 0);
	}
	return 0;
}

/* The run is over; the node need not wait for us to come back. */
static void end_run(struct head_node *n)
{
	const struct sherd_command end = { .kind = SHERD_COMMAND_END };

	sherd_timer_stop(n->head->net, &n->redial);
	if (!n->link)
		return;
	if (n->up)
		sherd_command_send(n->link, &end);
	n->link->user = &sherd_deaf;
	sherd_link_hang_up(n->link, "the run has ended");
}

void sherd_head_nodes_free(struct sherd_head *h)
{
	int i;

	for (i = 0; h->nodes && i < h->p.n_nodes; i++) {
		end_run(&h->nodes[i]);
		free(h->nodes[i].seats);
	}
	free(h->nodes);
}
