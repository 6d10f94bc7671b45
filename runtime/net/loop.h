/* SPDX-License-Identifier: MIT */
/*
 * loop: links over TCP, as net.h promises them. One thread runs it; every callback is made there.
 * Sockets are driven by the best *rung* of a ladder that this machine grants, tried from the top,
 * and what uses the loop cannot tell which:
 *
 *   uring-zc     Linux 6.0: recv and accept once for many results; large payloads are sent without
 *                a copy, from fixed buffers where they lie in a slot of the ring.
 *   uring-5.19   buffers that all links share; sends are copied.
 *   uring        what Linux 5.10 has: a recv and a buffer for each link.
 *   epoll        where io_uring is forbidden (containers) or missing.
 *
 * On all of them what fits into the socket is sent by a system call at once, because that is the
 * shortest way to the wire; the rung is about waiting, receiving, and large payloads.
 *
 *	struct sherd_loop_params params = { .io = "auto" };
 *	struct sherd_loop *loop;
 *
 *	if (sherd_loop_create(&loop, &params, &err))
 *		...
 *	loop->net.accepted = on_accepted;
 *	sherd_loop_listen(loop, "0.0.0.0:7433", NULL, &err);
 *	loop->net.ops->dial(&loop->net, "10.0.0.2:7433", NULL, &user, ctx, &link, &err);
 *	sherd_loop_run(loop, &err);
 *	sherd_loop_free(loop);
 *
 * done() of a payload that was sent without a copy comes when the network card has let go of it,
 * which can be after the link's down(); every other done() comes before.
 */
#ifndef SHERD_LOOP_H
#define SHERD_LOOP_H

#include "net/net.h"
#include "net/tls_ops.h"

struct sherd_region;

enum sherd_io {
	SHERD_IO_URING_ZC,
	SHERD_IO_URING_519,
	SHERD_IO_URING,
	SHERD_IO_EPOLL,
	SHERD_N_IOS,
};

/* 0 and NULL mean what is said in brackets. */
struct sherd_loop_params {
	const char *io; /* a rung's name; ["auto"] */
	/*
	 * Its slots are fixed buffers, and sherd_payload.slot is their number. It must outlive the
	 * loop.
	 */
	const struct sherd_region *ring;
	struct sherd_tls_ctx *tls; /* [no TLS] */
	const struct sherd_tls_ops *tls_ops; /* [sherd_tls_filter] */
	uint32_t zc_bytes; /* payloads from this size on go without a copy [32 KiB] */
	uint32_t max_links; /* [256] */
	uint32_t max_strangers; /* accepted links that have not sent a frame yet [32] */
	uint32_t connect_ms; /* for name, connection and TLS [3000] */
	uint32_t stranger_ms; /* for an accepted link's first whole frame [5000] */
	uint32_t hang_up_ms; /* for what is still queued [1000] */
	/* For tests, which want them small. */
	uint32_t entries; /* of io_uring's queue [256] */
	uint32_t n_buffers, buffer_size; /* shared by all links, a power of two; [64] of [32 KiB] */
	int socket_buffer; /* SO_SNDBUF and SO_RCVBUF [the kernel's] */
};

struct sherd_loop {
	struct sherd_net net; /* accepted and accepted_ctx are yours */
	enum sherd_io io;
	struct sherd_error refused[SHERD_N_IOS]; /* "", or why a higher rung was not taken */
	struct sherd_error note; /* "", or why slots are no fixed buffers */
	uint32_t n_links; /* present ones */
	uint64_t n_turned_away; /* accepted and closed at once, for max_links or max_strangers */
};

/* "uring-zc", "uring-5.19", "uring", "epoll"; NULL beyond. */
const char *sherd_io_name(int io);
/* Whether @name is "auto" or a rung's name; NULL is "auto". */
bool sherd_io_known(const char *name);

int sherd_loop_create(struct sherd_loop **l, const struct sherd_loop_params *params,
		      struct sherd_error *err);
/*
 * Ends all links (down() and done() are called; a second at most is waited for the kernel), runs
 * what was posted. On the thread that called sherd_loop_run().
 */
void sherd_loop_free(struct sherd_loop *l);

/* Until stopped. All calls are made by one thread. */
int sherd_loop_run(struct sherd_loop *l, struct sherd_error *err);
/* From any thread, a callback, or a signal's handler: run() returns soon, or the next one does. */
void sherd_loop_stop(struct sherd_loop *l);
/* From any thread: @fn is called by the loop, in the order of posting. -ENOMEM: it will not be. */
int sherd_loop_post(struct sherd_loop *l, void (*fn)(void *arg), void *arg);
/*
 * The same, for what should not wait until a thread has woken up: while the loop sleeps, @fn is
 * called at once by this thread, which has the loop for so long, before what has been posted. It
 * must not wait for anybody who might want the loop as well.
 */
int sherd_loop_visit(struct sherd_loop *l, void (*fn)(void *arg), void *arg);

/*
 * Accepts links at "host:port", "[v6]:port" or ":port" (any address); port 0: one that is free.
 * Says in @bound (may be NULL) what it has got. A host name is looked up here and now.
 */
int sherd_loop_listen(struct sherd_loop *l, const char *address, char bound[64],
		      struct sherd_error *err);

#endif
