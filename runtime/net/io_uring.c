/* SPDX-License-Identifier: MIT */
/*
 * io_uring: what sockets want is put on a list, becomes requests just before waiting, and one
 * system call submits them and waits. A full submission queue, or a kernel that takes nothing
 * before its overflowing results have been fetched (-EBUSY, before 5.19), leaves the rest on the
 * list for the next time.
 *
 * A request's user_data is the address of whom it is for, and in the lowest bits what it is.
 */
#include <poll.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "net/io_uring.h"

enum tag { TAG_NONE, TAG_WAKE, TAG_CONNECT, TAG_RECV, TAG_WRITABLE, TAG_ACCEPT, TAG_ZC };
#define TAG_MASK 7

/* At a time: timers want their turn, too. */
#define MAX_RESULTS 256

static uint64_t mark(const void *p, enum tag tag)
{
	return (uintptr_t)p | tag;
}

/* -------------------------------------------------------------- requesting */

static struct io_uring_sqe *get_sqe(struct uring *u)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);

	if (sqe)
		return sqe;
	io_uring_submit(&u->ring);
	return io_uring_get_sqe(&u->ring);
}

static void list(struct sherd_sock *s)
{
	struct uring *u = s->loop->io;

	if (s->listed)
		return;
	s->listed = true;
	s->next = NULL;
	*u->end = s;
	u->end = &s->next;
}

void sherd_uring_want(struct sherd_sock *s, unsigned what)
{
	s->wanted |= what;
	list(s);
}

void sherd_uring_cancel(struct sherd_sock *s)
{
	s->wanted = 0;
	s->cancelled |= s->armed;
	list(s);
}

void sherd_uring_forget(struct sherd_sock *s)
{
	struct uring *u = s->loop->io;
	struct sherd_sock **at;

	free(s->room);
	s->room = NULL;
	s->wanted = s->cancelled = 0;
	if (!u || !s->listed)
		return;
	s->listed = false;
	for (at = &u->listed; *at != s; at = &(*at)->next)
		;
	*at = s->next;
	if (!*at)
		u->end = at;
}

static void prepare_recv(struct uring *u, struct io_uring_sqe *sqe, struct sherd_sock *s)
{
	if (!u->buffers) {
		io_uring_prep_recv(sqe, s->fd, s->room, u->buffer_size, 0);
		return;
	}
	if (u->multi_recv)
		io_uring_prep_recv_multishot(sqe, s->fd, NULL, 0, 0);
	else
		io_uring_prep_recv(sqe, s->fd, NULL, u->buffer_size, 0);
	sqe->flags |= IOSQE_BUFFER_SELECT;
	sqe->buf_group = SHERD_URING_GROUP;
}

static void prepare_zc(struct uring *u, struct io_uring_sqe *sqe, struct sherd_sock *s)
{
	unsigned flags = u->report ? IORING_SEND_ZC_REPORT_USAGE : 0;
	const int msg = MSG_NOSIGNAL | MSG_WAITALL;
	struct sherd_out *o;
	const uint8_t *data;
	size_t n;

	o = sherd_out_zc_begin(sherd_conn_of(s), &data, &n);
	if (o->slot >= 0)
		io_uring_prep_send_zc_fixed(sqe, s->fd, data, n, msg, flags, o->slot);
	else
		io_uring_prep_send_zc(sqe, s->fd, data, n, msg, flags);
	sqe->user_data = mark(o, TAG_ZC);
}

static void prepare(struct uring *u, struct io_uring_sqe *sqe, struct sherd_sock *s, unsigned what)
{
	struct sherd_conn *c;

	switch (what) {
	case SHERD_IO_CONNECT:
		c = sherd_conn_of(s);
		io_uring_prep_connect(sqe, s->fd, (struct sockaddr *)&c->to[c->at],
				      sherd_address_size(&c->to[c->at]));
		sqe->user_data = mark(s, TAG_CONNECT);
		break;
	case SHERD_IO_RECV:
		prepare_recv(u, sqe, s);
		sqe->user_data = mark(s, TAG_RECV);
		break;
	case SHERD_IO_WRITABLE:
		io_uring_prep_poll_add(sqe, s->fd, POLLOUT);
		sqe->user_data = mark(s, TAG_WRITABLE);
		break;
	case SHERD_IO_ACCEPT:
		if (u->multi_accept)
			io_uring_prep_multishot_accept(sqe, s->fd, NULL, NULL, SOCK_CLOEXEC);
		else
			io_uring_prep_accept(sqe, s->fd, NULL, NULL, SOCK_CLOEXEC);
		sqe->user_data = mark(s, TAG_ACCEPT);
		break;
	case SHERD_IO_ZC:
		prepare_zc(u, sqe, s);
		break;
	}
}

/* A request is known by its user_data, and so is what is to be called off. */
static void prepare_cancel(struct io_uring_sqe *sqe, struct sherd_sock *s, unsigned what)
{
	uint64_t which = mark(s, TAG_RECV);

	if (what == SHERD_IO_CONNECT)
		which = mark(s, TAG_CONNECT);
	else if (what == SHERD_IO_WRITABLE)
		which = mark(s, TAG_WRITABLE);
	else if (what == SHERD_IO_ACCEPT)
		which = mark(s, TAG_ACCEPT);
	else if (what == SHERD_IO_ZC)
		which = mark(sherd_conn_of(s)->zc, TAG_ZC);
	io_uring_prep_cancel64(sqe, which, 0);
	sqe->user_data = TAG_NONE;
}

/*
 * Whether all that @s wants has become a request. What is in flight is not asked for once more
 * before it has come.
 */
static bool request(struct uring *u, struct sherd_sock *s)
{
	unsigned todo, bit;
	struct io_uring_sqe *sqe;

	while ((todo = s->cancelled | (s->wanted & ~s->armed))) {
		bit = todo & -todo;
		if (bit == SHERD_IO_RECV && !u->buffers && !s->room && !(s->cancelled & bit)) {
			s->room = sherd_alloc_aligned(64, u->buffer_size, 1);
			if (!s->room) {
				s->wanted &= ~bit;
				sherd_conn_failf(sherd_conn_of(s), "no memory to receive anything");
				continue;
			}
		}
		sqe = get_sqe(u);
		if (!sqe)
			return false;
		if (s->cancelled & bit) {
			s->cancelled &= ~bit;
			prepare_cancel(sqe, s, bit);
		} else {
			s->wanted &= ~bit;
			s->armed |= bit;
			prepare(u, sqe, s, bit);
		}
	}
	return true;
}

static void request_all(struct sherd_io_loop *l)
{
	struct uring *u = l->io;
	struct io_uring_sqe *sqe;
	struct sherd_sock *s;

	if (!u->waking && (sqe = get_sqe(u))) {
		io_uring_prep_read(sqe, l->wake, &u->wakes, sizeof(u->wakes), 0);
		sqe->user_data = TAG_WAKE;
		u->waking = true;
	}
	while ((s = u->listed) && request(u, s)) {
		u->listed = s->next;
		if (!u->listed)
			u->end = &u->listed;
		s->listed = false;
	}
}

/* --------------------------------------------------------------- reporting */

/*
 * A socket's request has ended, unless more results are to come; what waited for that has its turn.
 */
static void disarm(struct sherd_sock *s, unsigned what, unsigned cqe_flags)
{
	if (cqe_flags & IORING_CQE_F_MORE)
		return;
	s->armed &= ~what;
	s->cancelled &= ~what;
	if (s->wanted & what)
		list(s);
}

static void received(struct uring *u, struct sherd_sock *s, int res, unsigned flags)
{
	struct sherd_conn *c = sherd_conn_of(s);
	unsigned i = flags >> IORING_CQE_BUFFER_SHIFT;
	bool shared = flags & IORING_CQE_F_BUFFER;

	disarm(s, SHERD_IO_RECV, flags);
	/*
	 * No buffers: they are back by now. A ring's overflow ends a multishot receive, too,
	 * without an error.
	 */
	if (res != -ENOBUFS && res != -EINTR && res != -EAGAIN && res != -ECANCELED)
		sherd_conn_received(c, shared ? u->room + (size_t)i * u->buffer_size : s->room,
				    res);
	if (shared)
		sherd_uring_give(u, i);
	if (res && !(s->armed & SHERD_IO_RECV) && !c->ended)
		sherd_uring_want(s, SHERD_IO_RECV);
	sherd_conn_mark(c);
}

static void zc_sent(struct uring *u, struct sherd_out *o, int res, unsigned flags)
{
	if (flags & IORING_CQE_F_NOTIF) {
		sherd_out_let_go(o, u->report && (unsigned)res & IORING_NOTIF_USAGE_ZC_COPIED);
		return;
	}
	disarm(&o->conn->sock, SHERD_IO_ZC, 0);
	if (res == -EINVAL && u->report) { /* 6.0 and 6.1 don't say: once more without */
		u->report = false;
		res = -EAGAIN;
	}
	sherd_out_zc_sent(o, res, flags & IORING_CQE_F_MORE);
}

static void report(struct sherd_io_loop *l, const struct io_uring_cqe *cqe)
{
	void *p = (void *)(uintptr_t)(cqe->user_data & ~(uint64_t)TAG_MASK);
	struct uring *u = l->io;
	struct sherd_sock *s = p;

	switch ((enum tag)(cqe->user_data & TAG_MASK)) {
	case TAG_NONE:
		break;
	case TAG_WAKE:
		u->waking = false;
		break;
	case TAG_CONNECT:
		disarm(s, SHERD_IO_CONNECT, 0);
		sherd_dial_connected(sherd_conn_of(s), cqe->res);
		break;
	case TAG_RECV:
		received(u, s, cqe->res, cqe->flags);
		break;
	case TAG_WRITABLE:
		disarm(s, SHERD_IO_WRITABLE, 0);
		sherd_conn_writable(sherd_conn_of(s));
		break;
	case TAG_ACCEPT:
		disarm(s, SHERD_IO_ACCEPT, cqe->flags);
		if (!s->armed && !l->ending)
			sherd_uring_want(s, SHERD_IO_ACCEPT);
		sherd_listener_accepted((struct sherd_listener *)s, cqe->res);
		break;
	case TAG_ZC:
		zc_sent(u, p, cqe->res, cqe->flags);
		break;
	}
}

static int submit_and_wait(struct sherd_io_loop *l, int64_t us)
{
	struct uring *u = l->io;
	struct __kernel_timespec ts = { .tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000 };
	struct io_uring_cqe *cqe;

	int rc;

	if (!us || io_uring_cq_ready(&u->ring))
		return io_uring_submit_and_get_events(&u->ring);
	sherd_io_sleep(l);
	if (us < 0)
		rc = io_uring_submit_and_wait(&u->ring, 1);
	else
		rc = io_uring_submit_and_wait_timeout(&u->ring, &cqe, 1, &ts, NULL);
	sherd_io_awake(l);
	return rc;
}

int sherd_uring_wait(struct sherd_io_loop *l, int64_t us)
{
	struct uring *u = l->io;
	struct io_uring_cqe *cqe, copy;
	int rc, n = 0;

	if (!u->enabled) {
		/* By hand: Debian 12's liburing has a function for it and does not export it. */
		if (syscall(__NR_io_uring_register, u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS,
			    NULL, 0))
			return -errno;
		u->enabled = true;
	}
	request_all(l);
	rc = submit_and_wait(l, us);
	if (rc < 0 && rc != -ETIME && rc != -EINTR && rc != -EBUSY && rc != -EAGAIN)
		return rc;
	while (n < MAX_RESULTS && !io_uring_peek_cqe(&u->ring, &cqe)) {
		copy = *cqe;
		io_uring_cqe_seen(&u->ring, cqe);
		report(l, &copy);
		sherd_io_settle(l);
		n++;
	}
	return n;
}
