/* SPDX-License-Identifier: MIT */
/*
 * out: a link's frames on their way to the kernel. What fits into the socket goes by one sendmsg()
 * for all that is queued; when the socket is full, the rung says when it is not. That costs one
 * system call, and no event to be waited for: through io_uring a send is an event more. A large
 * payload is left to the rung, if it can send without a copy; nothing overtakes it.
 */
#include <stdlib.h>
#include <sys/uio.h>
#include "base/probe.h"
#include "net/io.h"
#include "region/region.h"

#define MAX_IOV 64
/* A link's zero-copy sends that must have been copied all the same before it does without. */
#define MIN_COPIES 4

static const uint8_t zeros[SHERD_FRAME_ALIGN];

static void append(struct sherd_outs *q, struct sherd_out *o)
{
	o->next = NULL;
	*q->end = o;
	q->end = &o->next;
}

static struct sherd_out *take_first(struct sherd_outs *q)
{
	struct sherd_out *o = q->first;

	if (!o)
		return NULL;
	q->first = o->next;
	if (!q->first)
		q->end = &q->first;
	return o;
}

static void remove_from(struct sherd_outs *q, struct sherd_out *o)
{
	struct sherd_out **at = &q->first;

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	if (!*at)
		q->end = at;
}

/* It has left the queue: nobody reads the payload any more, or the kernel alone does. */
static void leave(struct sherd_io_loop *l, struct sherd_out *o)
{
	o->queued = false;
	append(o->readers ? &l->kernels : &l->released, o);
}

bool sherd_out_release(struct sherd_io_loop *l)
{
	struct sherd_out *o;
	bool any = false;

	while ((o = take_first(&l->released))) {
		any = true;
		if (o->done)
			o->done(o->arg);
		free(o);
	}
	return any;
}

/* ----------------------------------------------------------------- queueing */

/* Where in the ring's slot it lies that it says; -1: nowhere there. */
static int find_slot(const struct sherd_io_loop *l, const struct sherd_payload *p)
{
	const struct sherd_region *r = l->p.ring;
	const uint8_t *slot, *data = p->data;

	if (!l->fixed || p->slot < 0 || p->slot >= r->n_slots)
		return -1;
	slot = r->slots[p->slot].data;
	if (data < slot || data > slot + r->slot_size || p->size > slot + r->slot_size - data)
		return -1;
	return p->slot;
}

static struct sherd_out *make(struct sherd_conn *c, const struct sherd_frame *f,
			      const struct sherd_payload *p)
{
	size_t padded = sherd_frame_size(p->size) - SHERD_FRAME_HEADER;
	struct sherd_out *o = malloc(sizeof(*o) + (p->done ? 0 : padded));

	if (!o)
		return NULL;
	*o = (struct sherd_out){
		.loop = c->sock.loop,
		.conn = c,
		.size = SHERD_FRAME_HEADER + padded,
		.data = p->data,
		.payload = p->size,
		.slot = find_slot(c->sock.loop, p),
		.done = p->done,
		.arg = p->arg,
	};
	if (!p->done && p->size) {
		memcpy(o->copy, p->data, p->size);
		memset(o->copy + p->size, 0, padded - p->size);
		o->data = o->copy;
	}
	sherd_frame_stamp(f, c->sequence++, o->data, p->size, o->header);
	return o;
}

/* There is nothing to remember it in: the one callback that comes from within a call. */
static void fail_send(struct sherd_conn *c, const struct sherd_payload *p)
{
	sherd_conn_failf(c, "%s: no memory to send a frame of %u bytes", c->link.address, p->size);
	if (p->done)
		p->done(p->arg);
}

void sherd_out_send(struct sherd_link *link, const struct sherd_frame *f,
		    const struct sherd_payload *p)
{
	struct sherd_conn *c = (struct sherd_conn *)link;
	struct sherd_out *o;

	if (p->size > SHERD_FRAME_MAX_PAYLOAD)
		sherd_conn_failf(
			c, "%s: a frame's payload of %u bytes was to be sent, and %u are the most",
			link->address, p->size, SHERD_FRAME_MAX_PAYLOAD);
	if (c->state >= SHERD_CONN_FLUSH && !p->done)
		return;
	o = make(c, f, p);
	if (!o) {
		fail_send(c, p);
		return;
	}
	if (c->state >= SHERD_CONN_FLUSH) {
		leave(c->sock.loop, o);
		return;
	}
	SHERD_PROBE(frame__send, sherd_frame_name(f->type), p->size);
	o->queued = true;
	append(&c->queue, o);
	c->queued += o->size;
	sherd_conn_mark(c);
}

size_t sherd_out_queued(const struct sherd_link *link)
{
	const struct sherd_conn *c = (const struct sherd_conn *)link;
	const uint8_t *cipher;

	return c->queued + (c->tls ? c->sock.loop->p.tls_ops->pending(c->tls, &cipher) : 0);
}

/* ------------------------------------------------------------------ sending */

/* What comes next of @o from byte @at on, as far as it lies together. */
static size_t segment(const struct sherd_out *o, size_t at, const uint8_t **from)
{
	if (at < SHERD_FRAME_HEADER) {
		*from = o->header + at;
		return SHERD_FRAME_HEADER - at;
	}
	at -= SHERD_FRAME_HEADER;
	if (at < o->payload) {
		*from = o->data + at;
		return o->payload - at;
	}
	*from = o->data == o->copy ? o->copy + at : zeros;
	return o->size - SHERD_FRAME_HEADER - at;
}

/* Byte @at of @o begins, or goes on with, a payload that goes without a copy. */
static bool is_zc(const struct sherd_conn *c, const struct sherd_out *o, size_t at)
{
	return c->sock.loop->zc && !c->zc_off && !c->tls &&
	       o->payload >= c->sock.loop->p.zc_bytes && at >= SHERD_FRAME_HEADER &&
	       at < SHERD_FRAME_HEADER + o->payload;
}

/* Counts what the kernel has taken. */
static void advance(struct sherd_conn *c, size_t n)
{
	struct sherd_out *o;
	size_t part;

	c->queued -= n;
	while (n) {
		o = c->queue.first;
		part = MIN(n, o->size - o->sent);
		o->sent += part;
		n -= part;
		if (o->sent < o->size)
			return;
		take_first(&c->queue);
		c->link.frames_out++;
		c->link.bytes_out += o->size;
		leave(c->sock.loop, o);
	}
}

/* All that can go at once, up to a payload that goes without a copy: *@more is set then. */
static int gather(const struct sherd_conn *c, struct iovec io[MAX_IOV], bool *more)
{
	const struct sherd_out *o;
	const uint8_t *from;
	size_t at, len;
	int n = 0;

	*more = false;
	for (o = c->queue.first; o; o = o->next)
		for (at = o->sent; at < o->size; at += len) {
			*more = is_zc(c, o, at);
			if (*more)
				return n;
			len = segment(o, at, &from);
			if (n && (uint8_t *)io[n - 1].iov_base + io[n - 1].iov_len == from) {
				io[n - 1].iov_len += len;
			} else if (n < MAX_IOV) {
				io[n++] = (struct iovec){ (void *)from, len };
			} else {
				*more = true;
				return n;
			}
		}
	return n;
}

/* Bytes that the socket took; 0: none, c->blocked or at its end. */
static size_t push(struct sherd_conn *c, struct iovec *io, int n, bool more)
{
	struct msghdr m = { .msg_iov = io, .msg_iovlen = n };
	ssize_t sent;

	do
		sent = sendmsg(c->sock.fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
	while (sent < 0 && errno == EINTR);
	if (sent >= 0)
		return sent;
	/* ENOBUFS: there is no room further down, and it comes without being asked for. */
	if (errno == EAGAIN || errno == ENOBUFS) {
		c->blocked = true;
		c->sock.loop->ops->want(&c->sock, SHERD_IO_WRITABLE);
	} else {
		sherd_conn_failf(c, "%s: the connection is lost: %s", c->link.address,
				 strerror(errno));
	}
	return 0;
}

static void flush_plain(struct sherd_conn *c)
{
	struct iovec io[MAX_IOV];
	size_t sent;
	bool more;
	int n;

	while (c->queue.first) {
		n = gather(c, io, &more);
		if (!n) {
			c->sock.loop->ops->want(&c->sock, SHERD_IO_ZC);
			return;
		}
		sent = push(c, io, n, more);
		if (!sent)
			return;
		advance(c, sent);
	}
}

/* Fills a TLS record with what is queued. */
static bool encrypt(struct sherd_conn *c)
{
	struct sherd_io_loop *l = c->sock.loop;
	struct sherd_error err;
	const uint8_t *from;
	size_t n = 0, len;

	while (c->queue.first && n < sizeof(l->plain)) {
		len = MIN(segment(c->queue.first, c->queue.first->sent, &from),
			  sizeof(l->plain) - n);
		memcpy(l->plain + n, from, len);
		n += len;
		advance(c, len);
	}
	if (!n || !l->p.tls_ops->write(c->tls, l->plain, n, &err))
		return n > 0;
	sherd_conn_failf(c, "%s: %s", c->link.address, err.msg);
	return false;
}

/* Whether all that is encrypted has gone. */
static bool push_cipher(struct sherd_conn *c)
{
	const struct sherd_tls_ops *tls = c->sock.loop->p.tls_ops;
	const uint8_t *cipher;
	struct iovec io;
	size_t sent;

	while ((io.iov_len = tls->pending(c->tls, &cipher))) {
		io.iov_base = (void *)cipher;
		sent = push(c, &io, 1, false);
		if (!sent)
			return false;
		tls->sent(c->tls, sent);
	}
	return true;
}

/* No more is encrypted than the socket may take: what is cipher can't be counted by frames. */
static void flush_tls(struct sherd_conn *c)
{
	while (push_cipher(c) && c->state != SHERD_CONN_SHAKE && c->state != SHERD_CONN_END) {
		if (!c->queued && c->state == SHERD_CONN_FLUSH && !c->tls_closed) {
			c->tls_closed = true;
			c->sock.loop->p.tls_ops->close(c->tls);
		} else if (!encrypt(c)) {
			return;
		}
	}
}

void sherd_out_flush(struct sherd_conn *c)
{
	if (c->blocked || (c->sock.armed | c->sock.wanted) & SHERD_IO_ZC)
		return;
	if (c->tls)
		flush_tls(c);
	else
		flush_plain(c);
}

void sherd_out_drop_all(struct sherd_conn *c)
{
	struct sherd_out *o;

	while ((o = take_first(&c->queue)))
		leave(c->sock.loop, o);
	c->queued = 0;
}

/* ---------------------------------------------------------- without a copy */

struct sherd_out *sherd_out_zc_begin(struct sherd_conn *c, const uint8_t **data, size_t *n)
{
	struct sherd_out *o = c->queue.first;

	o->readers++;
	c->zc = o;
	*n = segment(o, o->sent, data);
	return o;
}

static void no_reader(struct sherd_out *o)
{
	if (--o->readers || o->queued)
		return;
	remove_from(&o->loop->kernels, o);
	append(&o->loop->released, o);
}

void sherd_out_zc_sent(struct sherd_out *o, int res, bool more)
{
	struct sherd_conn *c = o->conn;

	if (o->queued) {
		if (res > 0)
			advance(c, res);
		else if (res == -EINVAL || res == -EOPNOTSUPP || res == -ENOMEM || res == -ENOBUFS)
			c->zc_off =
				true; /* this socket can't, or too much is pinned: copies, then */
		else if (res != -EINTR && res != -EAGAIN)
			sherd_conn_failf(c, "%s: the connection is lost: %s", c->link.address,
					 strerror(-res));
	}
	if (!more)
		no_reader(o);
	sherd_conn_mark(c);
}

void sherd_out_let_go(struct sherd_out *o, bool copied)
{
	struct sherd_conn *c = o->conn;

	if (c) {
		c->link.zero_copies += !copied;
		c->link.copies += copied;
		if (c->link.copies >= MIN_COPIES && c->link.copies > c->link.zero_copies)
			c->zc_off = true;
	}
	no_reader(o);
}
