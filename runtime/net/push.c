/* SPDX-License-Identifier: MIT */
/*
 * push: the sender's side; node_push.c is the other.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/message.h"
#include "net/push.h"

#define PATIENCE_US 30000000u
#define REDIAL_US   500000u
#define FIRST_US    8000000u /* where nobody has ever answered, nobody is waited for long */
#define DISK_RATE   5u /* bytes a microsecond, at least: what is there is hashed, what came is synced */
#define SILENCE_US  10000000u

struct sherd_push {
	struct sherd_push_params p;
	struct sherd_link *link;
	bool greeted, ever_up, ended;
	int file; /* the one that is under way */
	bool answered; /* the offer has been: bytes may go */
	uint64_t at, have; /* bytes of it: sent, written */
	uint64_t sent;
	uint64_t progress_at, heard;
	struct sherd_error why;
	struct sherd_timer timer;
};

bool sherd_file_name_ok(const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)name[i]) && !strchr("._-", name[i]))
			return false;
	return n && n < SHERD_FILE_NAME && name[0] != '.';
}

static void end(struct sherd_push *p, const struct sherd_error *why)
{
	if (p->ended)
		return;
	p->ended = true;
	sherd_timer_stop(p->p.net, &p->timer);
	if (p->link)
		sherd_link_hang_up(p->link, "the transfer has ended");
	p->p.ended(p->p.ctx, why, p->sent);
}

static void give_up(struct sherd_push *p, const char *why)
{
	struct sherd_error err;

	sherd_fail(&err, -EIO, "%s: %s", p->p.name, why);
	end(p, &err);
}

static void offer(struct sherd_push *p)
{
	p->answered = false;
	if (p->file < p->p.n_files)
		sherd_offer_send(p->link, (uint32_t)p->file + 1, &p->p.files[p->file].offer);
	else
		end(p, NULL);
}

static void send_pieces(struct sherd_push *p)
{
	const struct sherd_push_file *f = &p->p.files[p->file];

	while (p->at < f->offer.size && p->at - p->have < SHERD_PUSH_WINDOW * SHERD_PUSH_PIECE) {
		uint32_t n = (uint32_t)MIN(f->offer.size - p->at, SHERD_PUSH_PIECE);
		const struct sherd_frame piece = { .type = SHERD_FRAME_FILE, .session = p->at };

		sherd_link_send(p->link, &piece, f->data + p->at, n);
		p->at += n;
		p->sent += n;
	}
}

static void moved(struct sherd_push *p)
{
	p->progress_at = sherd_net_now(p->p.net);
	if (p->p.progress)
		p->p.progress(p->p.ctx, p->file, p->have, p->p.files[p->file].offer.size);
}

static void replied(struct sherd_push *p, const struct sherd_reply *r)
{
	const struct sherd_push_file *f = &p->p.files[p->file];

	if (r->id != (uint32_t)p->file + 1)
		return;
	if (r->error[0]) {
		give_up(p, r->error);
		return;
	}
	if (r->have > f->offer.size) {
		give_up(p, "says that it has more of a file than there is");
		return;
	}
	p->at = p->have = r->whole ? f->offer.size : r->have;
	moved(p);
	if (r->whole) {
		p->file++;
		offer(p);
	} else {
		p->answered = true;
		send_pieces(p);
	}
}

static void up(void *ctx, struct sherd_link *l)
{
	const struct sherd_hello h = { .role = SHERD_ROLE_PUSH };

	((struct sherd_push *)ctx)->ever_up = true;
	sherd_hello_send(l, &h);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct sherd_push *p = ctx;
	bool ok = false;

	(void)l;
	if (f->type == SHERD_FRAME_WELCOME)
		ok = !p->greeted && f->payload <= SHERD_HELLO_MAX;
	else if (f->type == SHERD_FRAME_REFUSE)
		ok = f->payload < SHERD_SENTENCE_MAX;
	else if (f->type == SHERD_FRAME_REPLY)
		ok = p->greeted && f->payload <= SHERD_MESSAGE_MAX;
	else if (f->type == SHERD_FRAME_PONG)
		ok = p->greeted && !f->payload;
	else if (f->type == SHERD_FRAME_HAVE)
		ok = p->answered && !f->payload && f->session > p->have && f->session <= p->at;
	return ok ? 0 : sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected",
				   sherd_frame_name(f->type), f->payload);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct sherd_push *p = ctx;
	struct sherd_reply r;
	struct sherd_error err;
	char said[400], why[SHERD_SENTENCE_MAX];

	if (p->ended)
		return;
	p->heard = sherd_net_now(p->p.net);
	if (f->type == SHERD_FRAME_PONG)
		return;
	if (f->type == SHERD_FRAME_WELCOME) {
		p->greeted = true;
		offer(p);
	} else if (f->type == SHERD_FRAME_REFUSE) {
		sherd_sentence_read(said, sizeof(said), payload, f->payload);
		snprintf(why, sizeof(why), "refuses: %s", said);
		give_up(p, why);
	} else if (f->type == SHERD_FRAME_HAVE) {
		p->have = f->session;
		moved(p);
		send_pieces(p);
	} else if (sherd_reply_read(&r, payload, f->payload, &err)) {
		sherd_link_hang_up(l, err.msg);
	} else {
		replied(p, &r);
	}
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct sherd_push *p = ctx;

	(void)l;
	p->link = NULL;
	p->greeted = p->answered = false;
	p->why = *why;
	if (!p->ended)
		sherd_timer_after(p->p.net, &p->timer, REDIAL_US);
}

/* Pieces take their time on a slow line, and a PONG waits behind them. */
static void beat(struct sherd_push *p)
{
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };

	if (sherd_net_now(p->p.net) - p->heard > (p->greeted ? SILENCE_US : SHERD_GREETING_US))
		sherd_link_hang_up(p->link, "nothing comes over the link");
	else if (p->greeted)
		sherd_link_send(p->link, &ping, NULL, 0);
}

/*
 * How long nothing may move. An offer's answer takes a node as long as it takes to read what it has
 * of the file, the last one as long as it takes to write out what it was sent.
 */
static uint64_t patience(const struct sherd_push *p)
{
	const struct sherd_push_file *f = &p->p.files[p->file];

	if (!p->ever_up)
		return FIRST_US;
	if (p->file >= p->p.n_files || (p->answered && p->have < f->offer.size))
		return p->p.patience_us;
	return p->p.patience_us + f->offer.size / DISK_RATE;
}

/* Dials if there is no link, and looks whether anything moves. */
static void tick(void *ctx)
{
	static const struct sherd_link_user user = { up, expect, frame, down };
	struct sherd_push *p = ctx;
	struct sherd_net *net = p->p.net;

	if (sherd_net_now(net) - p->progress_at > patience(p)) {
		if (p->link)
			sherd_fail(&p->why, -ETIMEDOUT, "nothing has moved for %.0f s",
				   (double)patience(p) * 1e-6);
		give_up(p, p->why.msg);
		return;
	}
	if (p->link) {
		beat(p);
	} else {
		p->heard = sherd_net_now(net);
		if (net->ops->dial(net, p->p.address, p->p.name, &user, p, &p->link, &p->why))
			p->link = NULL;
	}
	sherd_timer_after(net, &p->timer, REDIAL_US);
}

int sherd_push_new(struct sherd_push **push, const struct sherd_push_params *params,
		   struct sherd_error *err)
{
	struct sherd_push *p = sherd_calloc(1, sizeof(*p));

	*push = NULL;
	if (!p)
		return sherd_fail_oom(err, sizeof(*p), "a transfer");
	p->p = *params;
	if (!p->p.patience_us)
		p->p.patience_us = PATIENCE_US;
	p->progress_at = sherd_net_now(p->p.net);
	p->timer = (struct sherd_timer){ .fire = tick, .ctx = p };
	sherd_timer_after(p->p.net, &p->timer, 0);
	*push = p;
	return 0;
}

void sherd_push_free(struct sherd_push *p)
{
	if (!p)
		return;
	sherd_timer_stop(p->p.net, &p->timer);
	if (p->link) {
		p->link->user = &sherd_deaf;
		sherd_link_hang_up(p->link, "the transfer has ended");
	}
	free(p);
}
