/* SPDX-License-Identifier: MIT */
/*
 * io_uring: what the three rungs share. They differ in what they may use (struct uring): a rung is
 * opened by trying it out on a ring of its own (io_uring_open.c), and then runs the same code
 * (io_uring.c).
 */
#ifndef SHERD_IO_URING_H
#define SHERD_IO_URING_H

#include <liburing.h>
#include "net/io.h"

/* Newer than Debian 12's liburing. */
#ifndef IORING_SEND_ZC_REPORT_USAGE
#define IORING_SEND_ZC_REPORT_USAGE (1U << 3)
#define IORING_NOTIF_USAGE_ZC_COPIED (1U << 31)
#endif

#define SHERD_URING_GROUP 7 /* our buffers' number, any */

struct uring {
	struct io_uring ring;
	bool buffers; /* a ring of buffers for all links */
	bool multi_accept, multi_recv; /* one request, many results */
	bool zc;
	bool report; /* the kernel says whether it copied */
	bool enabled; /* the first wait() does it, on the thread that is to own the ring */
	bool waking; /* the wake-up is being read */
	uint64_t wakes;
	struct sherd_sock *listed, **end; /* sockets that want something */
	/* the buffers */
	struct io_uring_buf_ring *shared;
	uint8_t *room;
	unsigned n_buffers, buffer_size;
};

/* Buffer number @i is the kernel's (again). */
void sherd_uring_give(struct uring *u, unsigned i);
int sherd_uring_open(struct sherd_io_loop *l, const struct uring *wish, struct sherd_error *err);
void sherd_uring_close(struct sherd_io_loop *l);
void sherd_uring_want(struct sherd_sock *s, unsigned what);
void sherd_uring_cancel(struct sherd_sock *s);
void sherd_uring_forget(struct sherd_sock *s);
int sherd_uring_wait(struct sherd_io_loop *l, int64_t us);

#endif
