/* SPDX-License-Identifier: MIT */
/*
 * net: links and timers, as what uses them sees them. A link carries frames both ways, in order and
 * each once, until it is down, and then never again: whoever needs more dials anew and says how far
 * it had got. Two things implement this: the loop (loop.h: sockets, io_uring or epoll, TLS), and
 * the tests' simulator, in which time is virtual and the network bad. What runs above, the
 * protocol, cannot tell.
 *
 * All of it happens on one thread. Callbacks are made from the loop, never from within a call of
 * the user's: what a call sets off is reported later.
 */
#ifndef SHERD_NET_H
#define SHERD_NET_H

#include "net/frame.h"

/* Whoever dialled a link says something this often, and hangs up after so long a silence. */
#define SHERD_BEAT_US	 250000u
#define SHERD_SILENCE_US 1000000u
/* From dialling to being greeted. */
#define SHERD_GREETING_US 4000000u

struct sherd_net;
struct sherd_link;

/* What the user of a link is told. */
struct sherd_link_user {
	/* Connected, and with TLS the other side is who it should be: greetings may go. */
	void (*up)(void *ctx, struct sherd_link *l);
	/*
	 * A header has come: may such a frame come now, with so long a payload? Asked before room
	 * for the payload is made. Not 0: the link goes down with that sentence.
	 */
	int (*expect)(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		      struct sherd_error *err);
	/*
	 * A whole frame; @payload (aligned to 64; checked against its sum) is valid during the
	 * call.
	 */
	void (*frame)(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		      const uint8_t *payload);
	/*
	 * The last that is heard of @l, which is freed afterwards: lost, refused, or hung up by
	 * either side.
	 */
	void (*down)(void *ctx, struct sherd_link *l, const struct sherd_error *why);
};

/* For links whose user is gone: expects nothing, and does not care. */
extern const struct sherd_link_user sherd_deaf;

struct sherd_link {
	struct sherd_net *net;
	/* an accepted link's may be changed at any time, with ctx */
	const struct sherd_link_user *user;
	void *ctx;
	char address[SHERD_ADDRESS_MAX]; /* the other side's, for messages */
	char identity[64]; /* the name in the other side's certificate; "" without TLS */
	uint64_t frames_in, frames_out, bytes_in, bytes_out;
	/* sends that the kernel made without a copy; that it copied all the same */
	uint64_t zero_copies, copies;
};

/* A frame's payload: one run of bytes. */
struct sherd_payload {
	const void *data; /* NULL: none */
	uint32_t size;
	int slot; /* of the ring that the loop knows, in which data lies; -1: anywhere */
	/*
	 * Called once, when nobody reads data any more: sent, or the link is down. NULL: the caller
	 * keeps nothing, data is copied before send returns.
	 */
	void (*done)(void *arg);
	void *arg;
};

struct sherd_timer {
	uint64_t when; /* us; 0: not set */
	void (*fire)(void *ctx);
	void *ctx;
	struct sherd_timer *next; /* the implementation's */
};

struct sherd_net_ops {
	/* Microseconds on a clock that only goes forward. */
	uint64_t (*now)(struct sherd_net *n);
	/*
	 * Connects to "host:port" ("[v6]:port"); with TLS to who has a certificate for @name (NULL:
	 * anybody of our authority). Failure later is down()'s to tell.
	 */
	int (*dial)(struct sherd_net *n, const char *address, const char *name,
		    const struct sherd_link_user *user, void *ctx, struct sherd_link **l,
		    struct sherd_error *err);
	/*
	 * Queues a frame, whatever the other side does: who must not queue without end looks at
	 * queued(). Sequence, payload's length and checksums are filled in. On a link that is going
	 * down: nothing is sent, and done() is called all the same.
	 */
	void (*send)(struct sherd_link *l, const struct sherd_frame *f,
		     const struct sherd_payload *p);
	/* Bytes queued and not yet given to the kernel. */
	size_t (*queued)(const struct sherd_link *l);
	/* What is queued still goes out, for a second at most; then down(), with @why. */
	void (*hang_up)(struct sherd_link *l, const char *why);
	/* @t->when has been set: (re)arms; 0: disarms. fire() is called once, with when 0 again. */
	void (*timer)(struct sherd_net *n, struct sherd_timer *t);
};

struct sherd_net {
	const struct sherd_net_ops *ops;
	/* An accepted link, not greeted yet; sets l->user and ctx. */
	void (*accepted)(void *ctx, struct sherd_link *l);
	void *accepted_ctx;
};

static inline uint64_t sherd_net_now(struct sherd_net *n)
{
	return n->ops->now(n);
}

/* @when: us from now. */
static inline void sherd_timer_after(struct sherd_net *n, struct sherd_timer *t, uint64_t us)
{
	t->when = n->ops->now(n) + us;
	n->ops->timer(n, t);
}

static inline void sherd_timer_stop(struct sherd_net *n, struct sherd_timer *t)
{
	t->when = 0;
	n->ops->timer(n, t);
}

static inline void sherd_link_hang_up(struct sherd_link *l, const char *why)
{
	l->net->ops->hang_up(l, why);
}

/* A frame whose payload is copied. */
static inline void sherd_link_send(struct sherd_link *l, const struct sherd_frame *f,
				   const void *data, uint32_t size)
{
	const struct sherd_payload p = { .data = data, .size = size, .slot = -1 };

	l->net->ops->send(l, f, &p);
}

#endif
