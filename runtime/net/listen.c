/* SPDX-License-Identifier: MIT */
/*
 * listen: who comes. Anybody can connect, so what a stranger costs is bounded: there are so many
 * links in all, so many that have not sent a frame yet, and those have some seconds. When strangers
 * are too many, the oldest of them goes: who means it greets at once, and is not kept out by those
 * who do not.
 */
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/io.h"

#define BACKLOG	 128
#define PAUSE_US 100000

static void go_on(void *ctx)
{
	struct sherd_listener *x = ctx;

	x->sock.loop->ops->want(&x->sock, SHERD_IO_ACCEPT);
}

/* A socket that listens at @a, or -errno. */
static int make_socket(const struct sockaddr_storage *a, bool nonblock)
{
	int one = 1, rc;
	int fd = socket(a->ss_family, SOCK_STREAM | SOCK_CLOEXEC | (nonblock ? SOCK_NONBLOCK : 0),
			0);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (!bind(fd, (const struct sockaddr *)a, sherd_address_size(a)) && !listen(fd, BACKLOG))
		return fd;
	rc = -errno;
	close(fd);
	return rc;
}

static int open_listener(struct sherd_io_loop *l, const struct sockaddr_storage *a)
{
	struct sherd_listener *x = sherd_calloc(1, sizeof(*x));
	int fd = x ? make_socket(a, l->ops->nonblock) : -ENOMEM;

	if (fd < 0) {
		free(x);
		return fd;
	}
	x->sock = (struct sherd_sock){ .loop = l, .fd = fd, .listens = true };
	x->pause = (struct sherd_timer){ .fire = go_on, .ctx = x };
	x->next = l->listeners;
	l->listeners = x;
	l->ops->want(&x->sock, SHERD_IO_ACCEPT);
	return 0;
}

int sherd_loop_listen(struct sherd_loop *pub, const char *address, char bound[64],
		      struct sherd_error *err)
{
	struct sherd_io_loop *l = (struct sherd_io_loop *)pub;
	struct sockaddr_storage to[SHERD_MAX_ADDRESSES] = { 0 };
	socklen_t len = sizeof(to[0]);
	char host[256], port[8];
	int rc = sherd_address_split(address, host, port, err), n;

	if (rc)
		return rc;
	n = sherd_address_find(host, port, AI_PASSIVE, to, err);
	if (n < 0)
		return n;
	/* The first that goes: a kernel without IPv6 has names with IPv6 addresses all the same. */
	for (int i = 0; i < n; i++) {
		rc = open_listener(l, &to[i]);
		if (!rc)
			break;
	}
	if (rc)
		return sherd_fail(err, rc, "%s: can't be listened at: %s", address, strerror(-rc));
	getsockname(l->listeners->sock.fd, (struct sockaddr *)&to[0], &len);
	if (bound)
		sherd_address_print(&to[0], bound);
	return 0;
}

void sherd_listener_close_all(struct sherd_io_loop *l)
{
	struct sherd_listener **at = &l->listeners, *x;

	while ((x = *at)) {
		sherd_timer_stop(&l->pub.net, &x->pause);
		if (l->io && (x->sock.armed || x->sock.wanted))
			l->ops->cancel(&x->sock);
		if (x->sock.armed && l->io) { /* when it is told */
			at = &x->next;
			continue;
		}
		*at = x->next;
		l->ops->forget(&x->sock);
		close(x->sock.fd);
		free(x);
	}
}

/* ------------------------------------------------------------------ who comes */

static void make_room(struct sherd_io_loop *l)
{
	struct sherd_conn *c;

	for (c = l->first; c && l->n_strangers >= l->p.max_strangers; c = c->next)
		if (c->stranger && c->state != SHERD_CONN_END) {
			l->pub.n_turned_away++;
			c->stranger = false;
			l->n_strangers--;
			sherd_conn_failf(
				c, "%s: made room for a newer link: %u had not sent a frame yet",
				c->link.address, l->p.max_strangers);
		}
}

static void take(struct sherd_io_loop *l, int fd)
{
	struct sherd_net *n = &l->pub.net;
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	struct sherd_conn *c;

	/* Gone again already, or one too many. */
	if (getpeername(fd, (struct sockaddr *)&from, &len) || l->pub.n_links >= l->p.max_links ||
	    l->ending) {
		l->pub.n_turned_away++;
		close(fd);
		return;
	}
	make_room(l);
	c = sherd_conn_new(l, fd, NULL);
	if (!c) {
		close(fd);
		return;
	}
	sherd_address_print(&from, c->link.address);
	sherd_conn_set_options(c);
	c->stranger = true;
	l->n_strangers++;
	c->state = SHERD_CONN_CONNECT;
	sherd_conn_after(c, l->p.stranger_ms);
	if (n->accepted)
		n->accepted(n->accepted_ctx, &c->link);
	if (!c->link.user)
		sherd_conn_failf(c, "%s: nobody wants it", c->link.address);
	if (c->state == SHERD_CONN_CONNECT)
		sherd_conn_begin(c, true);
}

void sherd_listener_accepted(struct sherd_listener *x, int fd)
{
	struct sherd_io_loop *l = x->sock.loop;

	if (fd >= 0) {
		take(l, fd);
		return;
	}
	if (l->ending || fd == -EAGAIN || fd == -EINTR || fd == -ECANCELED || fd == -ECONNABORTED)
		return;
	/* No descriptor is left for one more: it stays in the backlog until there is. */
	l->ops->cancel(&x->sock);
	sherd_timer_after(&l->pub.net, &x->pause, PAUSE_US);
}
