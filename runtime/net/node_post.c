/* SPDX-License-Identifier: MIT */
/*
 * node_post: a stage of a run. A route begins an epoch: both data links are dropped, whoever was
 * before or behind; the next stage is dialled until it answers, and the stage before is let in if
 * it greets with this epoch. Everything that was on its way is then sent again by journals
 * (journal.h).
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/node_post.h"

#define REDIAL_FIRST_US 10000u
#define REDIAL_LAST_US	500000u

struct post *sherd_post_find(struct run *r, uint32_t number)
{
	struct post *p;

	for (p = r->posts; p; p = p->next)
		if (p->number == number)
			return p;
	return NULL;
}

bool sherd_post_is_last(const struct post *p)
{
	return p->worker->stage->info.end == p->worker->stage->info.n_layers;
}

/* ------------------------------------------------------------ downstream */

static void beat_later(struct post *p)
{
	struct sherd_net *net = p->run->node->net;

	p->beat_due = sherd_net_now(net) + SHERD_BEAT_US;
	sherd_timer_after(net, &p->redial, SHERD_BEAT_US);
}

static void dial(struct post *p)
{
	struct sherd_node *n = p->run->node;
	struct sherd_link *l;
	struct peer *peer;
	struct sherd_error err;

	peer = sherd_node_peer(n, NULL, PEER_DOWN);
	if (!peer) {
		sherd_timer_after(n->net, &p->redial, REDIAL_LAST_US);
		return;
	}
	peer->post = p;
	p->down = peer;
	if (n->net->ops->dial(n->net, p->next_address, p->next_name, &sherd_node_links, peer, &l,
			      &err)) {
		sherd_post_down(peer, &err);
		sherd_node_forget(peer);
		return;
	}
	peer->link = l;
	beat_later(p);
}

/*
 * A link that is silent is as good as none: whatever was lost on it is sent again over the next.
 * Its end is not waited for, since the other side may not be there to hear of it; and the next stage
 * has not been reached since it said something last.
 */
static void give_up_link(struct peer *peer)
{
	struct post *p = peer->post;
	struct sherd_error why;

	sherd_fail(&why, -ETIMEDOUT, "nothing comes over the link");
	peer->link->user = &sherd_deaf;
	sherd_link_hang_up(peer->link, why.msg);
	if (!p->down_since)
		p->down_since = peer->heard;
	sherd_post_down(peer, &why);
	sherd_node_forget(peer);
}

static void beat(void *ctx)
{
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };
	struct post *p = ctx;
	struct sherd_net *net = p->run->node->net;
	struct peer *peer = p->down;
	uint64_t now = sherd_net_now(net), late = now > p->beat_due ? now - p->beat_due : 0;

	if (!peer) {
		dial(p);
		return;
	}
	/* Who was stopped himself has not listened, and what has come since is not read yet. */
	if (late > SHERD_BEAT_US)
		peer->heard += MIN(late, now - peer->heard);
	if (now - peer->heard > (peer->greeted ? SHERD_SILENCE_US : SHERD_GREETING_US)) {
		give_up_link(peer);
		return;
	}
	beat_later(p);
	if (!peer->greeted)
		return;
	sherd_link_send(peer->link, &ping, NULL, 0);
	peer->pinged = peer->pinged ? peer->pinged : now;
}

/* There and back, both loops and what was queued before it included; a mean that forgets. */
static void ponged(struct peer *peer)
{
	uint64_t us;

	if (!peer->pinged)
		return;
	us = sherd_net_now(peer->node->net) - peer->pinged;
	peer->rtt_us = peer->rtt_us ? (7 * peer->rtt_us + us) / 8 : us;
	peer->pinged = 0;
}

void sherd_post_hello(struct peer *peer)
{
	const struct post *p = peer->post;
	const struct sherd_stage_info *info = &p->worker->stage->info;
	struct sherd_hello h = { .role = SHERD_ROLE_DATA, .epoch = p->epoch, .stage = p->number + 1,
				 .layer = info->end };

	memcpy(h.run, p->run->id, sizeof(h.run));
	memcpy(h.model, info->model, sizeof(h.model));
	memcpy(h.bit_profile, info->bit_profile, sizeof(h.bit_profile));
	sherd_hello_send(peer->link, &h);
}

/*
 * Who is new here does not know yet which sessions there are: the next stage would let go of what it
 * has, and be asked for the same again at once.
 */
static void tell_all_open(const struct post *p)
{
	const struct sherd_frame all = { .type = SHERD_FRAME_ALL_OPEN, .epoch = p->epoch,
					 .stage = p->number };

	if (p->hop.link && p->all_here)
		sherd_link_send(p->hop.link, &all, NULL, 0);
}

void sherd_post_announce(struct flow *f)
{
	const struct sherd_hop *hop = &f->post->hop;

	if (!hop->link || f->told)
		return;
	f->told = true;
	sherd_journal_announce(&f->out, hop);
}

static void welcomed(struct peer *peer)
{
	struct post *p = peer->post;
	struct flow *f;

	peer->greeted = true;
	p->redial_us = REDIAL_FIRST_US;
	p->hop.link = peer->link;
	p->down_since = 0;
	for (f = p->flows; f; f = f->next) {
		f->told = false;
		if (!f->closing && f->state != FLOW_FAILED)
			sherd_post_announce(f);
	}
	tell_all_open(p);
}

/* The next stage will not have us. It may be that it has not heard of the epoch yet. */
static void refused(struct peer *peer, const struct sherd_frame *f, const uint8_t *payload)
{
	struct post *p = peer->post;
	const struct sherd_frame failed = { .type = SHERD_FRAME_FAILED, .epoch = p->epoch,
					    .stage = p->number };
	char said[SHERD_SENTENCE_MAX - 96], why[SHERD_SENTENCE_MAX];

	sherd_sentence_read(said, sizeof(said), payload, f->payload);
	snprintf(why, sizeof(why), "%s refuses: %s",
		 p->next_name[0] ? p->next_name : "the next stage", said);
	if (!(f->flags & SHERD_FRAME_AGAIN) && !p->complained && p->run->control) {
		p->complained = true;
		sherd_sentence_send(p->run->control->link, &failed, why);
	}
	sherd_link_hang_up(peer->link, why);
}

static void next_has(struct peer *peer, const struct sherd_frame *frame)
{
	struct post *p = peer->post;
	struct flow *f = sherd_flow_find(p, frame->session);
	struct sherd_error err;

	if (!f || f->closing)
		return; /* its CLOSE is on the way */
	if (sherd_journal_have(&f->out, frame->position, &err))
		sherd_link_hang_up(peer->link, err.msg);
	else
		sherd_journal_send(&f->out, &p->hop);
}

/* -------------------------------------------------------------- upstream */

static void refuse(struct peer *peer, unsigned flags, const char *why)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_REFUSE, .flags = (uint16_t)flags };

	sherd_sentence_send(peer->link, &f, why);
	sherd_node_dismiss(peer, why);
}

/* Why the stage before may not come in now, or NULL. */
static const char *objection(const struct post *p, const struct peer *peer,
			     const struct sherd_hello *h, unsigned *flags)
{
	const struct sherd_stage_info *info;
	const char *who = peer->link->identity, *due;

	*flags = SHERD_FRAME_AGAIN;
	if (!p || p->epoch < h->epoch)
		return "this epoch has not begun here yet";
	*flags = 0;
	if (p->epoch > h->epoch)
		return "a later epoch has begun: somebody else is in your place";
	info = &p->worker->stage->info;
	if (strcmp(h->model, info->model))
		return "its model is another one";
	if (h->layer != info->first)
		return "its layers do not end where these begin";
	if (p->exact && h->stage > 1 &&
	    (!info->bit_profile[0] || strcmp(h->bit_profile, info->bit_profile)))
		return "its bit profile is another one: the same tokens are not to be had from the two";
	due = p->previous[0] ? p->previous : sherd_node_head(p->run->node);
	if (who[0] && strcmp(who, due))
		return "its certificate is not that of the stage before";
	return NULL;
}

void sherd_post_greet(struct sherd_node *n, struct peer *peer, const struct sherd_hello *h)
{
	struct run *r = sherd_node_run(n, h->run);
	struct post *p = r ? sherd_post_find(r, h->stage) : NULL;
	unsigned flags = SHERD_FRAME_AGAIN;
	const char *why = objection(p, peer, h, &flags);
	struct flow *f;

	if (why) {
		refuse(peer, flags, why);
		return;
	}
	if (p->up)
		sherd_node_dismiss(p->up, "the stage before has dialled again");
	p->up = peer;
	peer->post = p;
	peer->kind = PEER_UP;
	peer->greeted = true;
	for (f = p->flows; f; f = f->next) {
		f->announced = false;
		sherd_flow_rewind(f);
	}
	sherd_welcome_send(peer->link, n->p.name);
}

/* The stage before has named all sessions that there are. */
static void all_open(struct post *p)
{
	struct flow *f, *next;

	for (f = p->flows; f; f = next) {
		next = f->next;
		if (!f->announced)
			sherd_flow_close(f);
		else if (f->state == FLOW_OPENING)
			sherd_post_announce(f);
	}
	p->all_here = true;
	tell_all_open(p);
}

static void close_session(struct post *p, uint64_t id)
{
	struct flow *f = sherd_flow_find(p, id);

	if (f)
		sherd_flow_close(f);
}

/* --------------------------------------------------------- what may come */

static int expect_rows(const struct post *p, const struct sherd_frame *frame,
		       struct sherd_error *err)
{
	const struct flow *f = sherd_flow_find((struct post *)p, frame->session);
	uint32_t n = frame->n_tokens;

	if (!f || f->closing || f->state == FLOW_OPENING)
		return sherd_fail(err, -EPROTO, "rows of session %llx, which is not open",
				  (unsigned long long)frame->session);
	if (frame->position != f->received)
		return sherd_fail(err, -EPROTO,
				  "rows from position %u on, where position %u is due",
				  frame->position, f->received);
	if (!n || n > p->hop.chunk || n > f->session.max - f->received)
		return sherd_fail(
			err, -EPROTO,
			"%u rows at once, from position %u on: a chunk has %u at most, and the "
			"session %u positions",
			n, f->received, p->hop.chunk, f->session.max);
	/*
	 * A chunk more: what was in a step when the link broke counts as had. Failed sessions
	 * compute nothing, so their window would never open: what comes is dropped.
	 */
	if (f->state == FLOW_OPEN && f->received + n - f->out.n > p->hop.window + p->hop.chunk)
		return sherd_fail(err, -EPROTO, "%u rows are under way, and the window is %u",
				  f->received + n - f->out.n, p->hop.window);
	if (frame->payload != sherd_rows_bytes(n, f->row_bytes))
		return sherd_fail(err, -EPROTO, "%u rows in %u bytes, which take %zu", n,
				  frame->payload, sherd_rows_bytes(n, f->row_bytes));
	return 0;
}

static bool fits_up(const struct post *p, const struct sherd_frame *f)
{
	uint32_t most = SHERD_OPEN_MAX((uint32_t)p->worker->stage->info.n_layers);

	return (f->type == SHERD_FRAME_OPEN && f->payload <= most && f->session) ||
	       ((f->type == SHERD_FRAME_ALL_OPEN || f->type == SHERD_FRAME_CLOSE) && !f->payload);
}

static bool fits_down(const struct peer *p, const struct sherd_frame *f)
{
	if (p->greeted)
		return f->type == SHERD_FRAME_HAVE && !f->payload;
	return (f->type == SHERD_FRAME_WELCOME && f->payload <= SHERD_HELLO_MAX) ||
	       (f->type == SHERD_FRAME_REFUSE && f->payload < SHERD_SENTENCE_MAX);
}

int sherd_post_expect(struct peer *peer, const struct sherd_frame *f, struct sherd_error *err)
{
	bool greeting = f->type == SHERD_FRAME_WELCOME || f->type == SHERD_FRAME_REFUSE;
	bool is_beat = f->type == (peer->kind == PEER_UP ? SHERD_FRAME_PING : SHERD_FRAME_PONG);

	if (is_beat && peer->greeted && !f->payload)
		return 0;
	if (!greeting && f->epoch != peer->post->epoch)
		return sherd_fail(err, -EPROTO, "a %s frame of epoch %u in epoch %u",
				  sherd_frame_name(f->type), f->epoch, peer->post->epoch);
	if (peer->kind == PEER_UP && f->type == SHERD_FRAME_ROWS)
		return expect_rows(peer->post, f, err);
	if (peer->kind == PEER_UP ? fits_up(peer->post, f) : fits_down(peer, f))
		return 0;
	return sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected now",
			  sherd_frame_name(f->type), f->payload);
}

static void frame_from_next(struct peer *peer, const struct sherd_frame *f, const uint8_t *payload)
{
	if (f->type == SHERD_FRAME_WELCOME)
		welcomed(peer);
	else if (f->type == SHERD_FRAME_REFUSE)
		refused(peer, f, payload);
	else if (f->type == SHERD_FRAME_HAVE)
		next_has(peer, f);
	else if (f->type == SHERD_FRAME_PONG)
		ponged(peer);
}

void sherd_post_frame(struct peer *peer, const struct sherd_frame *f, const uint8_t *payload)
{
	const struct sherd_frame pong = { .type = SHERD_FRAME_PONG };
	struct post *p = peer->post;
	struct sherd_error err;
	int rc = 0;

	if (peer->kind == PEER_DOWN) {
		frame_from_next(peer, f, payload);
		return;
	}
	switch (f->type) {
	case SHERD_FRAME_PING:
		sherd_link_send(peer->link, &pong, NULL, 0);
		break;
	case SHERD_FRAME_OPEN:
		rc = sherd_flow_open(p, f, payload, &err);
		break;
	case SHERD_FRAME_ROWS:
		rc = sherd_flow_rows(sherd_flow_find(p, f->session), f, payload, &err);
		break;
	case SHERD_FRAME_ALL_OPEN:
		all_open(p);
		break;
	default:
		close_session(p, f->session);
	}
	if (rc)
		sherd_link_hang_up(peer->link, err.msg);
}

/* A data link is lost. Whoever dialled it dials again. */
void sherd_post_down(struct peer *peer, const struct sherd_error *why)
{
	struct post *p = peer->post;

	(void)why;
	if (p->up == peer)
		p->up = NULL;
	if (p->down != peer)
		return;
	p->down = NULL;
	p->hop.link = NULL;
	if (!p->down_since)
		p->down_since = sherd_net_now(p->run->node->net);
	if (!p->epoch)
		return;
	sherd_timer_after(p->run->node->net, &p->redial, p->redial_us);
	p->redial_us = MIN(2 * p->redial_us, REDIAL_LAST_US);
}

/* --------------------------------------------------------------- routing */

static void drop_links(struct post *p, const char *why)
{
	sherd_timer_stop(p->run->node->net, &p->redial);
	if (p->up)
		sherd_node_dismiss(p->up, why);
	if (p->down)
		sherd_node_dismiss(p->down, why);
}

void sherd_post_route(struct post *p, const struct sherd_command *c)
{
	struct flow *f;

	drop_links(p, "a new epoch begins");
	p->epoch = c->epoch;
	memcpy(p->previous, c->previous, sizeof(p->previous));
	memcpy(p->next_name, c->next, sizeof(p->next_name));
	memcpy(p->next_address, c->next_address, sizeof(p->next_address));
	p->hop = (struct sherd_hop){ .epoch = c->epoch, .stage = p->number, .chunk = c->chunk,
				     .window = c->window, .slots = p->run->node->p.slots };
	p->redial = (struct sherd_timer){ .fire = beat, .ctx = p };
	p->redial_us = REDIAL_FIRST_US;
	p->exact = c->exact;
	p->complained = false;
	p->all_here = false;
	for (f = p->flows; f; f = f->next)
		sherd_post_repeat(f);
	p->down_since = c->next[0] ? sherd_net_now(p->run->node->net) : 0;
	if (c->next[0])
		sherd_timer_after(p->run->node->net, &p->redial, 0);
}

void sherd_post_drop(struct post *p)
{
	struct flow *f, *next;

	drop_links(p, "the stage is served by another node");
	p->epoch = 0;
	p->down_since = 0;
	for (f = p->flows; f; f = next) {
		next = f->next;
		sherd_flow_close(f);
	}
}

void sherd_post_free(struct post *p)
{
	struct post **at = &p->run->posts;

	drop_links(p, "the run has ended");
	while (p->flows)
		sherd_flow_orphan(p->flows);
	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	sherd_worker_put(p->worker);
	free(p);
}

/* ------------------------------------------------------- to the head ... */

void sherd_post_tell(struct flow *f)
{
	struct post *p = f->post;
	struct sherd_frame t = {
		.type = SHERD_FRAME_TOKEN,
		.session = f->session.id,
		.epoch = p->epoch,
		.stage = p->number,
		.position = f->token_position,
		.n_tokens = 1,
	};
	uint8_t id[4];

	if (!f->token_position || !p->run->control)
		return;
	for (int b = 0; b < 4; b++)
		id[b] = (uint8_t)((uint32_t)f->token >> (8 * b));
	sherd_link_send(p->run->control->link, &t, id, sizeof(id));
}

static void tell_why(const struct flow *f)
{
	const struct post *p = f->post;
	const struct sherd_frame failed = { .type = SHERD_FRAME_FAILED, .session = f->session.id,
					    .epoch = p->epoch, .stage = p->number };

	if (p->run->control)
		sherd_sentence_send(p->run->control->link, &failed, f->why);
}

void sherd_post_repeat(struct flow *f)
{
	if (f->state == FLOW_FAILED)
		tell_why(f);
	else
		sherd_post_tell(f);
}
