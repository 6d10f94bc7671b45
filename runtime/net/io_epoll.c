/* SPDX-License-Identifier: MIT */
/*
 * io_epoll: the lowest rung, which is always there. Sockets are told to be level-triggered, so
 * nothing need be remembered of what was not read. One buffer serves all: it is read into and
 * handed on at once.
 */
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>
#include "net/io.h"

#define N_EVENTS      64
#define N_ACCEPTS     16 /* at a time: others want their turn, too */
#define N_RECEIVE_MAX (256u << 10)

struct epoll {
	int fd;
	struct sherd_sock *connecting; /* connect() is to be called */
	struct epoll_event events[N_EVENTS];
	int n, at; /* of the present round */
	uint8_t room[N_RECEIVE_MAX];
};

/* What the kernel is to watch, for what is armed. */
static uint32_t watched(unsigned armed)
{
	return (armed & (SHERD_IO_RECV | SHERD_IO_ACCEPT) ? (uint32_t)EPOLLIN : 0) |
	       (armed & (SHERD_IO_WRITABLE | SHERD_IO_CONNECT) ? (uint32_t)EPOLLOUT : 0);
}

/* armed is what is watched for: 0 means that the kernel does not know the socket. */
static int watch(struct sherd_sock *s, unsigned armed)
{
	int op = !armed ? EPOLL_CTL_DEL : s->armed ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
	struct epoll_event ev = { .events = watched(armed), .data.ptr = s };
	struct epoll *e = s->loop->io;

	if (epoll_ctl(e->fd, op, s->fd, &ev))
		return -errno;
	s->armed = armed;
	return 0;
}

static void epoll_want(struct sherd_sock *s, unsigned what)
{
	struct epoll *e = s->loop->io;

	if (what == SHERD_IO_CONNECT) {
		s->wanted |= what;
		s->next = e->connecting;
		e->connecting = s;
	} else if (watch(s, s->armed | what) && !s->listens) {
		sherd_conn_failf(sherd_conn_of(s), "a socket can't be waited for: %s",
				 strerror(errno));
	}
}

static void epoll_cancel(struct sherd_sock *s)
{
	struct epoll *e = s->loop->io;
	struct sherd_sock **at = &e->connecting;

	while (*at && *at != s)
		at = &(*at)->next;
	if (*at)
		*at = s->next;
	s->wanted = 0;
	if (s->armed)
		watch(s, 0);
	s->armed = 0;
	/* What has happened to it in this round is not told any more: it may be gone then. */
	for (int i = e->at; i < e->n; i++)
		if (e->events[i].data.ptr == s)
			e->events[i].events = 0;
}

static void epoll_forget(struct sherd_sock *s)
{
	if (s->loop->io)
		epoll_cancel(s);
}

/* Begins connections; true: one has ended at once. */
static bool connect_all(struct sherd_io_loop *l)
{
	struct epoll *e = l->io;
	struct sherd_sock *s;
	bool any = false;

	while ((s = e->connecting)) {
		struct sherd_conn *c = sherd_conn_of(s);
		int rc;

		e->connecting = s->next;
		s->wanted = 0;
		rc = connect(s->fd, (struct sockaddr *)&c->to[c->at],
			     sherd_address_size(&c->to[c->at]))
			     ? -errno
			     : 0;
		if (rc == -EINPROGRESS)
			rc = watch(s, SHERD_IO_CONNECT);
		else
			any = true;
		if (rc || !s->armed) {
			sherd_dial_connected(c, rc);
			sherd_io_settle(l);
		}
	}
	return any;
}

static void accept_some(struct sherd_sock *s)
{
	struct sherd_io_loop *l = s->loop;
	int fd = 0;

	for (int i = 0; i < N_ACCEPTS && fd >= 0 && s->armed; i++) {
		fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd < 0)
			fd = -errno;
		sherd_listener_accepted((struct sherd_listener *)s, fd);
		sherd_io_settle(l);
	}
}

static void receive(struct sherd_sock *s)
{
	struct epoll *e = s->loop->io;
	ssize_t n = recv(s->fd, e->room, sizeof(e->room), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) /* an end stays readable */
		watch(s, s->armed & ~(unsigned)SHERD_IO_RECV);
	sherd_conn_received(sherd_conn_of(s), e->room, n < 0 ? -errno : n);
}

static void report(struct sherd_sock *s, uint32_t events)
{
	bool broken = events & (EPOLLERR | EPOLLHUP);
	socklen_t len = sizeof(int);
	int rc = 0;

	if (s->listens) {
		accept_some(s);
		return;
	}
	if (s->armed & SHERD_IO_CONNECT) {
		getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &rc, &len);
		epoll_cancel(s);
		sherd_dial_connected(sherd_conn_of(s), -rc);
		return;
	}
	if ((s->armed & SHERD_IO_WRITABLE) && (events & EPOLLOUT || broken)) {
		watch(s, s->armed & ~(unsigned)SHERD_IO_WRITABLE);
		sherd_conn_writable(sherd_conn_of(s));
	}
	if (s->armed & SHERD_IO_RECV && (events & EPOLLIN || broken))
		receive(s);
}

static int epoll_wait_(struct sherd_io_loop *l, int64_t us)
{
	struct epoll *e = l->io;
	uint64_t count;
	int ms = us < 0 ? -1 : (int)MIN(DIV_ROUND_UP(us, 1000), 1000000);

	if (connect_all(l))
		ms = 0;
	e->n = epoll_wait(e->fd, e->events, N_EVENTS, ms);
	if (e->n < 0) {
		e->n = 0;
		return -errno;
	}
	for (e->at = 0; e->at < e->n;) {
		struct epoll_event ev = e->events[e->at++];

		if (!ev.data.ptr) {
			if (read(l->wake, &count, sizeof(count)) < 0)
				continue;
		} else if (ev.events) {
			report(ev.data.ptr, ev.events);
		}
		sherd_io_settle(l);
	}
	return e->n;
}

static int epoll_open(struct sherd_io_loop *l, struct sherd_error *err)
{
	struct epoll_event ev = { .events = EPOLLIN };
	struct epoll *e = sherd_calloc(1, sizeof(*e));
	int rc;

	if (!e)
		return sherd_fail_oom(err, sizeof(*e), "receiving");
	e->fd = epoll_create1(EPOLL_CLOEXEC);
	if (e->fd >= 0 && !epoll_ctl(e->fd, EPOLL_CTL_ADD, l->wake, &ev)) {
		l->io = e;
		return 0;
	}
	rc = sherd_fail(err, -errno, "no epoll descriptor: %s", strerror(errno));
	if (e->fd >= 0)
		close(e->fd);
	free(e);
	return rc;
}

static void epoll_close(struct sherd_io_loop *l)
{
	struct epoll *e = l->io;

	close(e->fd);
	free(e);
	l->io = NULL;
}

const struct sherd_io_ops sherd_io_epoll = {
	.nonblock = true,
	.open = epoll_open,
	.close = epoll_close,
	.want = epoll_want,
	.cancel = epoll_cancel,
	.forget = epoll_forget,
	.wait = epoll_wait_,
};
