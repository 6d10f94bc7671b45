/* SPDX-License-Identifier: MIT */
/*
 * conn: a link's life, from its first connection to its end. A link that hangs up sends what is
 * queued, then its end of stream, and listens (to nothing) until the other side has ended too:
 * closing a socket with unread bytes resets it, and the reset overtakes the last words, which say
 * why.
 */
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/io.h"

/*
 * A board that vanished is noticed by what runs above, which asks for signs of life; these are for
 * sockets that nobody asks about. Sent and not acknowledged, or nothing heard, for about twenty
 * seconds.
 */
#define DEAD_AFTER_S	 20
#define KEEPALIVE_IDLE_S 8
#define KEEPALIVE_EACH_S 4
#define KEEPALIVE_COUNT	 3

static void on_timer(void *ctx);

struct sherd_conn *sherd_conn_new(struct sherd_io_loop *l, int fd, struct sherd_error *err)
{
	struct sherd_conn *c = sherd_calloc(1, sizeof(*c));

	if (!c) {
		sherd_fail_oom(err, sizeof(*c), "a link");
		return NULL;
	}
	c->link.net = &l->pub.net;
	c->sock.loop = l;
	c->sock.fd = fd;
	c->timer = (struct sherd_timer){ .fire = on_timer, .ctx = c };
	sherd_outs_init(&c->queue);
	c->prev = l->last;
	if (l->last)
		l->last->next = c;
	else
		l->first = c;
	l->last = c;
	l->pub.n_links++;
	return c;
}

void sherd_conn_set_options(struct sherd_conn *c)
{
	static const struct {
		int level, name, value;
	} options[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ IPPROTO_TCP, TCP_USER_TIMEOUT, DEAD_AFTER_S * 1000 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_EACH_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
	};
	int bytes = c->sock.loop->p.socket_buffer;

	/* None is needed for being right. */
	for (size_t i = 0; i < ARRAY_SIZE(options); i++)
		setsockopt(c->sock.fd, options[i].level, options[i].name, &options[i].value,
			   sizeof(int));
	if (!bytes)
		return;
	setsockopt(c->sock.fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof(bytes));
	setsockopt(c->sock.fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof(bytes));
}

void sherd_conn_mark(struct sherd_conn *c)
{
	struct sherd_io_loop *l = c->sock.loop;

	if (c->dirty)
		return;
	c->dirty = true;
	c->dirty_next = NULL;
	*l->dirty_end = c;
	l->dirty_end = &c->dirty_next;
}

void sherd_conn_after(struct sherd_conn *c, uint32_t ms)
{
	sherd_timer_after(c->link.net, &c->timer, ms * (uint64_t)1000);
}

/* ------------------------------------------------------------------ its end */

void sherd_conn_end(struct sherd_conn *c)
{
	if (c->state == SHERD_CONN_END)
		return;
	c->state = SHERD_CONN_END;
	sherd_reader_stop(&c->reader);
	sherd_timer_stop(c->link.net, &c->timer);
	sherd_conn_mark(c);
}

/* The first reason counts: of a link that was hung up the user's, whatever came later. */
void sherd_conn_fail(struct sherd_conn *c, const struct sherd_error *why)
{
	if (!c->why.msg[0])
		c->why = *why;
	sherd_conn_end(c);
}

void sherd_conn_failf(struct sherd_conn *c, const char *fmt, ...)
{
	struct sherd_error err;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err.msg, sizeof(err.msg), fmt, ap);
	va_end(ap);
	sherd_conn_fail(c, &err);
}

static void say_farewell(struct sherd_conn *c)
{
	sherd_reader_stop(&c->reader);
	c->state = SHERD_CONN_FLUSH;
	sherd_conn_after(c, c->sock.loop->p.hang_up_ms);
	sherd_conn_mark(c);
}

void sherd_conn_hang_up(struct sherd_link *link, const char *why)
{
	struct sherd_conn *c = (struct sherd_conn *)link;

	if (c->state >= SHERD_CONN_FLUSH)
		return;
	snprintf(c->why.msg, sizeof(c->why.msg), "%s", why && *why ? why : "hung up");
	if (c->state < SHERD_CONN_UP)
		sherd_conn_end(c);
	else
		say_farewell(c);
}

static void on_timer(void *ctx)
{
	struct sherd_conn *c = ctx;
	const struct sherd_loop_params *p = &c->sock.loop->p;

	if (c->state <= SHERD_CONN_CONNECT)
		sherd_conn_failf(c, "%s: no connection within %.1f s", c->link.address,
				 p->connect_ms / 1e3);
	else if (c->state == SHERD_CONN_SHAKE)
		sherd_conn_failf(c, "%s: its TLS handshake was not done within %.1f s",
				 c->link.address,
				 (c->stranger ? p->stranger_ms : p->connect_ms) / 1e3);
	else if (c->state == SHERD_CONN_UP)
		sherd_conn_failf(c, "%s: sent no whole frame within %.1f s", c->link.address,
				 p->stranger_ms / 1e3);
	else
		sherd_conn_end(c);
}

static void no_stranger(struct sherd_conn *c)
{
	if (c->stranger)
		c->sock.loop->n_strangers--;
	c->stranger = false;
}

/* Calls off whatever is done for it. What is not sent yet will not be. */
static void call_off(struct sherd_conn *c)
{
	const struct linger now = { .l_onoff = 1 };

	c->ended = true;
	/*
	 * Unless both sides have said their last, a reset: the kernel keeps nothing of it, and lets
	 * go of payloads that it reads.
	 */
	if (c->sock.fd >= 0 && !(c->finished && !c->queued))
		setsockopt(c->sock.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	no_stranger(c);
	sherd_dial_forget(c);
	sherd_out_drop_all(c);
	if (c->sock.armed || c->sock.wanted)
		c->sock.loop->ops->cancel(&c->sock);
}

static void unlist(struct sherd_conn *c)
{
	struct sherd_io_loop *l = c->sock.loop;

	if (c->prev)
		c->prev->next = c->next;
	else
		l->first = c->next;
	if (c->next)
		c->next->prev = c->prev;
	else
		l->last = c->prev;
	l->pub.n_links--;
}

static void bury(struct sherd_conn *c)
{
	struct sherd_io_loop *l = c->sock.loop;
	struct sherd_out *o;

	l->ops->forget(&c->sock);
	if (c->sock.fd >= 0)
		close(c->sock.fd);
	sherd_out_release(l);
	if (c->link.user)
		c->link.user->down(c->link.ctx, &c->link, &c->why);
	sherd_out_drop_all(c); /* what down() has sent */
	for (o = l->kernels.first; o; o = o->next)
		if (o->conn == c)
			o->conn = NULL;
	unlist(c);
	if (c->tls)
		l->p.tls_ops->free(c->tls);
	sherd_reader_destroy(&c->reader);
	free(c->name);
	free(c);
}

void sherd_conn_settle(struct sherd_conn *c)
{
	if (c->state == SHERD_CONN_CONNECT && c->sock.fd < 0)
		sherd_dial_next(c);
	if (c->state >= SHERD_CONN_SHAKE && c->state < SHERD_CONN_DRAIN)
		sherd_out_flush(c);
	if (c->state == SHERD_CONN_FLUSH && !sherd_out_queued(&c->link)) {
		c->state = SHERD_CONN_DRAIN;
		if (c->finished || shutdown(c->sock.fd, SHUT_WR))
			sherd_conn_end(c);
	}
	if (c->state != SHERD_CONN_END || c->dirty) /* it has its turn again */
		return;
	if (!c->ended)
		call_off(c);
	if (!c->sock.armed)
		bury(c);
}

/* ------------------------------------------------------------- its beginning */

static void come_up(struct sherd_conn *c)
{
	c->state = SHERD_CONN_UP;
	if (!c->stranger) /* who has until it greets */
		sherd_timer_stop(c->link.net, &c->timer);
	if (c->tls)
		snprintf(c->link.identity, sizeof(c->link.identity), "%s",
			 c->sock.loop->p.tls_ops->identity(c->tls));
	if (c->link.user)
		c->link.user->up(c->link.ctx, &c->link);
}

void sherd_conn_begin(struct sherd_conn *c, bool server)
{
	const struct sherd_loop_params *p = &c->sock.loop->p;
	struct sherd_error err;

	if (p->tls) {
		c->state = SHERD_CONN_SHAKE;
		if (p->tls_ops->open(&c->tls, p->tls, server, c->name, &err)) {
			c->tls = NULL;
			sherd_conn_failf(c, "%s: %s", c->link.address, err.msg);
			return;
		}
		sherd_conn_mark(c);
	} else {
		come_up(c);
	}
	if (c->state != SHERD_CONN_END)
		c->sock.loop->ops->want(&c->sock, SHERD_IO_RECV);
}

/* ------------------------------------------------------------- what it hears */

static void take_plain(struct sherd_conn *c, const void *data, size_t n)
{
	struct sherd_error err;

	if (sherd_reader_feed(&c->reader, &c->link, data, n, &err))
		sherd_conn_failf(c, "%s: %s", c->link.address, err.msg);
	if (c->stranger && c->link.frames_in) {
		no_stranger(c);
		if (c->state == SHERD_CONN_UP)
			sherd_timer_stop(c->link.net, &c->timer);
	}
}

static void has_finished(struct sherd_conn *c)
{
	struct sherd_error err;

	c->finished = true;
	if (c->state == SHERD_CONN_FLUSH)
		return; /* it may be reading still */
	if (c->tls && c->sock.loop->p.tls_ops->feed(c->tls, NULL, 0, &err))
		sherd_conn_failf(c, "%s: %s", c->link.address, err.msg);
	else if (c->state == SHERD_CONN_UP && c->reader.got)
		sherd_conn_failf(c,
				 "%s: the other side hung up in the middle of a frame (after %zu "
				 "bytes of %zu)",
				 c->link.address, c->reader.got,
				 c->reader.size ? c->reader.size : SHERD_FRAME_HEADER);
	else if (!c->tls && c->link.frames_out && !c->link.frames_in)
		sherd_conn_failf(
			c,
			"%s: the other side hung up without a word: perhaps it takes nobody "
			"without TLS",
			c->link.address);
	else
		sherd_conn_failf(c, "%s: the other side hung up", c->link.address);
}

/* TLS's last words, which tell the other side what is wrong, still go out. */
static void fail_tls(struct sherd_conn *c, int rc, const struct sherd_error *why)
{
	if (c->state >= SHERD_CONN_FLUSH)
		return;
	sherd_fail(&c->why, rc, "%s: %s", c->link.address, why->msg);
	c->link.tls_fault = rc;
	sherd_out_drop_all(c);
	c->tls_closed = true;
	say_farewell(c);
}

static void take_cipher(struct sherd_conn *c, const void *data, size_t n)
{
	struct sherd_io_loop *l = c->sock.loop;
	const struct sherd_tls_ops *tls = l->p.tls_ops;
	struct sherd_error err = { "" };
	ssize_t got = tls->feed(c->tls, data, n, &err);

	if (!got && c->state == SHERD_CONN_SHAKE && tls->done(c->tls))
		come_up(c);
	while (!got && c->state == SHERD_CONN_UP) {
		got = tls->read(c->tls, l->plain, sizeof(l->plain), &err);
		if (!got)
			break;
		if (got > 0) {
			take_plain(c, l->plain, got);
			got = 0;
		}
	}
	if (got == -EPIPE)
		has_finished(c);
	else if (got < 0)
		fail_tls(c, (int)got, &err);
}

void sherd_conn_received(struct sherd_conn *c, const void *data, ssize_t n)
{
	if (c->state == SHERD_CONN_END)
		return;
	if (n == 0)
		has_finished(c);
	else if (n < 0)
		sherd_conn_failf(c, "%s: the connection is lost: %s", c->link.address,
				 strerror((int)-n));
	else if (c->state == SHERD_CONN_UP && !c->tls)
		take_plain(c, data, n);
	else if (c->state == SHERD_CONN_UP || c->state == SHERD_CONN_SHAKE)
		take_cipher(c, data, n);
	sherd_conn_mark(c);
}

void sherd_conn_writable(struct sherd_conn *c)
{
	c->blocked = false;
	sherd_conn_mark(c);
}
