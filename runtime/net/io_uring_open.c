/* SPDX-License-Identifier: MIT */
/*
 * io_uring_open: whether a rung can be had is found out by trying: on a ring of its own something
 * is received over a pair of sockets in the way that the rung would, and a send without a copy is
 * asked for. Kernels' versions say nothing: vendors port features back, containers forbid others.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/io_uring.h"
#include "region/region.h"

#define TRY_ENTRIES 8
#define N_TIMES     20
#define TRY_AGAIN_US 1000
#define TRY_BUFFERS 2
#define TRY_SIZE    64

void sherd_uring_give(struct uring *u, unsigned i)
{
	io_uring_buf_ring_add(u->shared, u->room + (size_t)i * u->buffer_size, u->buffer_size, i,
			      io_uring_buf_ring_mask(u->n_buffers), 0);
	io_uring_buf_ring_advance(u->shared, 1);
}

static void close_ring(struct uring *u)
{
	io_uring_queue_exit(&u->ring);
	free(u->shared);
	free(u->room);
}

static int open_buffers(struct uring *u, struct sherd_error *err)
{
	struct io_uring_buf_reg reg = { .ring_entries = u->n_buffers, .bgid = SHERD_URING_GROUP };
	size_t bytes = u->n_buffers * sizeof(struct io_uring_buf);
	int rc;

	u->room = sherd_alloc_aligned(64, u->n_buffers, u->buffer_size);
	u->shared = sherd_alloc_aligned(sherd_page_size(), ROUND_UP(bytes, sherd_page_size()), 1);
	if (!u->room || !u->shared)
		return sherd_fail_oom(err, (size_t)u->n_buffers * u->buffer_size, "receiving");
	memset(u->shared, 0, bytes);
	io_uring_buf_ring_init(u->shared);
	reg.ring_addr = (uintptr_t)u->shared;
	rc = io_uring_register_buf_ring(&u->ring, &reg, 0);
	if (rc)
		return sherd_fail(err, rc, "a ring of %u buffers is not taken: %s", u->n_buffers,
				  strerror(-rc));
	for (unsigned i = 0; i < u->n_buffers; i++)
		sherd_uring_give(u, i);
	return 0;
}

static int fail_setup(int rc, struct sherd_error *err)
{
	const char *why = "";

	if (rc == -EPERM || rc == -EACCES)
		why = " (a container's seccomp profile, or kernel.io_uring_disabled)";
	else if (rc == -ENOMEM)
		why = " (RLIMIT_MEMLOCK, perhaps: ulimit -l)";
	else if (rc == -EINVAL)
		why = " (the kernel is older than this rung)";
	return sherd_fail(err, rc, "no io_uring of this kind: %s%s", strerror(-rc), why);
}

/* With the first of the rung's ways of running its tasks that the kernel has. */
static int open_ring(struct uring *u, unsigned entries, bool disabled, struct sherd_error *err)
{
	static const unsigned newest[] = { IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN,
					   IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_COOP_TASKRUN,
					   IORING_SETUP_COOP_TASKRUN };
	static const unsigned newer[] = { IORING_SETUP_COOP_TASKRUN };
	static const unsigned plain[] = { 0 };
	const unsigned *ways = u->zc ? newest : u->buffers ? newer : plain;
	int n = u->zc ? ARRAY_SIZE(newest) : 1, rc = -EINVAL;
	struct io_uring_params p;

	for (int i = 0; i < n && rc == -EINVAL; i++) {
		p = (struct io_uring_params){ .flags = ways[i] | IORING_SETUP_CLAMP |
						       IORING_SETUP_CQSIZE,
					      .cq_entries = 2 * entries };
		if (disabled)
			p.flags |= IORING_SETUP_R_DISABLED;
		rc = io_uring_queue_init_params(entries, &u->ring, &p);
	}
	if (rc)
		return fail_setup(rc, err);
	if (!(p.features & IORING_FEAT_NODROP) || !(p.features & IORING_FEAT_FAST_POLL)) {
		io_uring_queue_exit(&u->ring);
		return sherd_fail(err, -EOPNOTSUPP,
				  "io_uring is too old: it loses results, or uses threads "
				  "for sockets");
	}
	rc = u->buffers ? open_buffers(u, err) : 0;
	if (rc)
		close_ring(u);
	return rc;
}

/* The first result of what has been prepared; waits a second for it. */
static int first_result(struct uring *u, unsigned *flags)
{
	struct __kernel_timespec second = { .tv_sec = 1 };
	struct io_uring_cqe *cqe;
	int rc = io_uring_submit(&u->ring);

	rc = rc < 0 ? rc : io_uring_wait_cqe_timeout(&u->ring, &cqe, &second);
	if (rc)
		return rc;
	*flags = cqe->flags;
	rc = cqe->res;
	io_uring_cqe_seen(&u->ring, cqe);
	return rc;
}

static int try_recv(struct uring *u, const int pair[2], struct sherd_error *err)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	unsigned flags;
	char room[TRY_SIZE];
	int rc;

	if (u->multi_recv)
		io_uring_prep_recv_multishot(sqe, pair[0], NULL, 0, 0);
	else
		io_uring_prep_recv(sqe, pair[0], u->buffers ? NULL : room, TRY_SIZE, 0);
	if (u->buffers) {
		sqe->flags |= IOSQE_BUFFER_SELECT;
		sqe->buf_group = SHERD_URING_GROUP;
	}
	rc = send(pair[1], "x", 1, MSG_NOSIGNAL) == 1 ? first_result(u, &flags) : -errno;
	if (rc == 1 && (!u->multi_recv || flags & IORING_CQE_F_MORE))
		return 0;
	return sherd_fail(err, rc < 0 ? rc : -EOPNOTSUPP,
			  "%s over a pair of sockets does not work: %s",
			  u->multi_recv ? "a multishot receive"
			  : u->buffers	? "a receive into shared buffers"
					: "a receive",
			  rc < 0 ? strerror(-rc) : "it ended");
}

/* These sockets can't: what counts is that the kernel knows what is asked for. */
static int try_zc(struct uring *u, const int pair[2], struct sherd_error *err)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
	unsigned flags;
	int rc;

	io_uring_prep_send_zc(sqe, pair[0], "x", 1, MSG_NOSIGNAL, 0);
	rc = first_result(u, &flags);
	if ((rc >= 0 || rc == -EOPNOTSUPP) && flags & IORING_CQE_F_MORE)
		rc = MIN(first_result(u, &flags), 0);
	if (rc >= 0 || rc == -EOPNOTSUPP)
		return 0;
	return sherd_fail(err, rc, "the kernel does not send without a copy: %s", strerror(-rc));
}

static int try_out(const struct uring *wish, struct sherd_error *err)
{
	struct uring u = *wish;
	int pair[2], rc;

	u.n_buffers = TRY_BUFFERS;
	u.buffer_size = TRY_SIZE;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
		return sherd_fail(err, -errno, "no pair of sockets: %s", strerror(errno));
	rc = open_ring(&u, TRY_ENTRIES, false, err);
	if (rc)
		goto close_pair;
	/* Before anything is received: that may go on giving results. */
	rc = u.zc ? try_zc(&u, pair, err) : 0;
	if (!rc)
		rc = try_recv(&u, pair, err);
	close_ring(&u);
close_pair:
	close(pair[0]);
	close(pair[1]);
	return rc;
}

int sherd_uring_open(struct sherd_io_loop *l, const struct uring *wish, struct sherd_error *err)
{
	struct uring *u;
	int rc = try_out(wish, err);

	if (rc)
		return rc;
	u = sherd_calloc(1, sizeof(*u));
	if (!u)
		return sherd_fail_oom(err, sizeof(*u), "io_uring");
	*u = *wish;
	u->end = &u->listed;
	u->n_buffers = l->p.n_buffers;
	u->buffer_size = l->p.buffer_size;
	/* What was tried out gives its memory back a little later, and the limit may be low. */
	for (int i = 0; i < N_TIMES; i++) {
		rc = open_ring(u, l->p.entries, true, err);
		if (rc != -ENOMEM)
			break;
		usleep(TRY_AGAIN_US);
	}
	if (rc) {
		free(u);
		return rc;
	}
	l->io = u;
	l->zc = u->zc;
	/*
	 * Fixed buffers are for sends without a copy. The limit on pinned memory is no reason to do
	 * without those.
	 */
	if (u->zc && l->p.ring)
		l->fixed = !sherd_region_register(l->p.ring, &u->ring, &l->pub.note);
	return 0;
}

void sherd_uring_close(struct sherd_io_loop *l)
{
	close_ring(l->io);
	free(l->io);
	l->io = NULL;
}

static int open_zc(struct sherd_io_loop *l, struct sherd_error *err)
{
	static const struct uring wish = {
		.buffers = true,
		.multi_accept = true,
		.multi_recv = true,
		.zc = true,
		.report = true,
	};

	return sherd_uring_open(l, &wish, err);
}

static int open_519(struct sherd_io_loop *l, struct sherd_error *err)
{
	static const struct uring wish = { .buffers = true, .multi_accept = true };

	return sherd_uring_open(l, &wish, err);
}

static int open_plain(struct sherd_io_loop *l, struct sherd_error *err)
{
	static const struct uring wish = { .buffers = false };

	return sherd_uring_open(l, &wish, err);
}

#define RUNG(opener)                                                                    \
	{                                                                               \
		.visits = true, .open = (opener), .close = sherd_uring_close, .want = sherd_uring_want, \
		.cancel = sherd_uring_cancel, .forget = sherd_uring_forget,             \
		.wait = sherd_uring_wait                                                \
	}

const struct sherd_io_ops sherd_io_uring_zc = RUNG(open_zc);
const struct sherd_io_ops sherd_io_uring_519 = RUNG(open_519);
const struct sherd_io_ops sherd_io_uring = RUNG(open_plain);
