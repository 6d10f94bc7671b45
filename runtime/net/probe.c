/* SPDX-License-Identifier: MIT */
/*
 * probe: the side that dials; node_probe.c answers. The beginning does not count for the bandwidth:
 * there both this window and TCP's open.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/message.h"
#include "net/probe.h"

#define PINGS	     16
#define SEND_US	     500000u
#define LIMIT_US     10000000u
#define WINDOW_FIRST 2u /* pieces */
#define WINDOW_LAST  32u
#define BEGIN_BYTES  (1u << 20) /* what does not count */
#define BEGIN_US     100000u

struct sherd_probe {
	struct sherd_probe_params p;
	struct sherd_link *link;
	bool greeted, ended;
	struct sherd_timer limit;
	int n_pings; /* answered */
	uint64_t ping_at;
	double trips[PINGS]; /* us */
	uint32_t window; /* pieces */
	uint64_t sent, had, began, mark, mark_at; /* bytes, us */
};

static void end(struct sherd_probe *p, const struct sherd_error *why,
		const struct sherd_probe_result *r)
{
	if (p->ended)
		return;
	p->ended = true;
	sherd_timer_stop(p->p.net, &p->limit);
	if (p->link)
		sherd_link_hang_up(p->link, "the link has been measured");
	p->p.ended(p->p.ctx, why, r);
}

static void give_up(struct sherd_probe *p, const char *why)
{
	struct sherd_error err;

	sherd_fail(&err, -EIO, "%s", why);
	end(p, &err, NULL);
}

/* ------------------------------------------------------------- measuring */

static void ping(struct sherd_probe *p)
{
	const struct sherd_frame f = { .type = SHERD_FRAME_PING };

	p->ping_at = sherd_net_now(p->p.net);
	sherd_link_send(p->link, &f, NULL, 0);
}

static void send_pieces(struct sherd_probe *p)
{
	static const uint8_t nothing[SHERD_PROBE_PIECE];
	bool late = sherd_net_now(p->p.net) - p->began > SEND_US;

	while (!late && p->sent < SHERD_PROBE_BYTES &&
	       p->sent - p->had < (uint64_t)p->window * SHERD_PROBE_PIECE) {
		const struct sherd_frame f = { .type = SHERD_FRAME_FILE, .session = p->sent };

		sherd_link_send(p->link, &f, nothing, sizeof(nothing));
		p->sent += sizeof(nothing);
	}
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void ponged(struct sherd_probe *p)
{
	p->trips[p->n_pings++] = (double)(sherd_net_now(p->p.net) - p->ping_at);
	if (p->n_pings < PINGS) {
		ping(p);
		return;
	}
	qsort(p->trips, PINGS, sizeof(*p->trips), by_value);
	p->began = sherd_net_now(p->p.net);
	p->window = WINDOW_FIRST;
	send_pieces(p);
}

/* Everything that was sent is there. On a slow link it was all beginning. */
static void finish(struct sherd_probe *p)
{
	uint64_t now = sherd_net_now(p->p.net);
	double rtt = p->trips[PINGS / 2], bytes = (double)p->had,
	       us = (double)(now - p->began) - rtt;
	struct sherd_probe_result r;

	if (p->mark && 2 * p->mark <= p->had) {
		bytes = (double)(p->had - p->mark);
		us = (double)(now - p->mark_at);
	}
	r = (struct sherd_probe_result){ .mbit = 8 * bytes / MAX(us, 1), .rtt_us = MAX(rtt, 1) };
	end(p, NULL, &r);
}

static void had(struct sherd_probe *p, uint64_t bytes)
{
	uint64_t now = sherd_net_now(p->p.net);

	p->had = bytes;
	p->window = MIN(p->window + 1, WINDOW_LAST);
	if (!p->mark && (bytes >= BEGIN_BYTES || now - p->began >= BEGIN_US)) {
		p->mark = bytes;
		p->mark_at = now;
	}
	send_pieces(p);
	if (p->had == p->sent)
		finish(p);
}

/* ------------------------------------------------------------- the link */

static void up(void *ctx, struct sherd_link *l)
{
	const struct sherd_hello h = { .role = SHERD_ROLE_PROBE };

	(void)ctx;
	sherd_hello_send(l, &h);
}

static int expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  struct sherd_error *err)
{
	const struct sherd_probe *p = ctx;
	bool ok = false;

	(void)l;
	if (f->type == SHERD_FRAME_WELCOME)
		ok = !p->greeted && f->payload <= SHERD_HELLO_MAX;
	else if (f->type == SHERD_FRAME_REFUSE)
		ok = f->payload < SHERD_SENTENCE_MAX;
	else if (f->type == SHERD_FRAME_PONG)
		ok = p->greeted && !f->payload && p->n_pings < PINGS;
	else if (f->type == SHERD_FRAME_HAVE)
		ok = !f->payload && f->session > p->had && f->session <= p->sent;
	return ok ? 0 : sherd_fail(err, -EPROTO, "a %s frame of %u bytes is not expected",
				   sherd_frame_name(f->type), f->payload);
}

static void frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		  const uint8_t *payload)
{
	struct sherd_probe *p = ctx;
	char said[400], why[SHERD_SENTENCE_MAX];

	(void)l;
	if (p->ended)
		return;
	if (f->type == SHERD_FRAME_WELCOME) {
		p->greeted = true;
		ping(p);
	} else if (f->type == SHERD_FRAME_REFUSE) {
		sherd_sentence_read(said, sizeof(said), payload, f->payload);
		snprintf(why, sizeof(why), "it refuses: %s", said);
		give_up(p, why);
	} else if (f->type == SHERD_FRAME_PONG) {
		ponged(p);
	} else {
		had(p, f->session);
	}
}

static void down(void *ctx, struct sherd_link *l, const struct sherd_error *why)
{
	struct sherd_probe *p = ctx;

	(void)l;
	p->link = NULL;
	end(p, why, NULL);
}

static void limit(void *ctx)
{
	give_up(ctx, "it does not answer in time");
}

int sherd_probe_new(struct sherd_probe **probe, const struct sherd_probe_params *params,
		    struct sherd_error *err)
{
	static const struct sherd_link_user user = { up, expect, frame, down };
	struct sherd_probe *p = sherd_calloc(1, sizeof(*p));
	struct sherd_net *net = params->net;
	int rc;

	*probe = NULL;
	if (!p)
		return sherd_fail_oom(err, sizeof(*p), "a link's measurement");
	p->p = *params;
	p->limit = (struct sherd_timer){ .fire = limit, .ctx = p };
	rc = net->ops->dial(net, params->address, params->name, &user, p, &p->link, err);
	if (rc) {
		free(p);
		return rc;
	}
	sherd_timer_after(net, &p->limit, LIMIT_US);
	*probe = p;
	return 0;
}

void sherd_probe_free(struct sherd_probe *p)
{
	if (!p)
		return;
	sherd_timer_stop(p->p.net, &p->limit);
	if (p->link) {
		p->link->user = &sherd_deaf;
		sherd_link_hang_up(p->link, "nobody waits for the link's measurement");
	}
	free(p);
}
