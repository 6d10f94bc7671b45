/* SPDX-License-Identifier: MIT */
/*
 * xor_tls: "@name\n", then bytes ^ 0x5a; 0xff ^ 0x5a is the goodbye, so 0xff is sent as 0xfe 0x01,
 * 0xfe as 0xfe 0x00.
 */
#include <stdio.h>
#include <stdlib.h>
#include "xor_tls.h"

#define MASK 0x5a

struct queue {
	uint8_t *data;
	size_t size, room;
};

struct sherd_tls {
	struct queue out, in;
	char want[64], line[64];
	size_t n;
	bool done, bye, escaped, failed;
};

static void put(struct queue *q, uint8_t byte)
{
	if (q->size == q->room) {
		q->room = q->room ? 2 * q->room : 64;
		q->data = realloc(q->data, q->room);
		if (!q->data)
			abort();
	}
	q->data[q->size++] = byte;
}

static void drop(struct queue *q, size_t n)
{
	memmove(q->data, q->data + n, q->size - n);
	q->size -= n;
}

static int xor_open(struct sherd_tls **out, struct sherd_tls_ctx *ctx, bool server,
		    const char *name, struct sherd_error *err)
{
	struct sherd_tls *t = calloc(1, sizeof(*t));

	(void)server, (void)err;
	snprintf(t->want, sizeof(t->want), "%s", name ? name : "");
	put(&t->out, '@');
	for (const char *p = (const char *)ctx; *p; p++)
		put(&t->out, *p);
	put(&t->out, '\n');
	*out = t;
	return 0;
}

static int take_line(struct sherd_tls *t, char c, struct sherd_error *err)
{
	if (t->n == sizeof(t->line) - 1 || (!t->n && c != '@')) {
		t->failed = true;
		put(&t->out, '!'); /* the alert */
		return sherd_fail(err, -EPROTO, "this is no filter's name");
	}
	if (c != '\n') {
		t->line[t->n++] = c;
		return 0;
	}
	memmove(t->line, t->line + 1, sizeof(t->line) - 1);
	t->done = true;
	if (!*t->want || !strcmp(t->want, t->line))
		return 0;
	t->failed = true;
	t->done = false;
	return sherd_fail(err, -EACCES, "this is %s, and %s was called", t->line, t->want);
}

static int xor_feed(struct sherd_tls *t, const void *cipher, size_t n, struct sherd_error *err)
{
	const uint8_t *p = cipher;
	int rc = 0;

	if (!n)
		return t->bye ? 0 : sherd_fail(err, -ECONNRESET, "it ended without a goodbye");
	for (; !rc && n; n--, p++) {
		uint8_t byte = *p ^ MASK;

		if (!t->done) {
			rc = take_line(t, (char)*p, err);
		} else if (t->escaped) {
			put(&t->in, 0xfe + byte);
			t->escaped = false;
		} else if (byte == 0xff) {
			t->bye = true;
		} else if (byte == 0xfe) {
			t->escaped = true;
		} else {
			put(&t->in, byte);
		}
	}
	return rc;
}

static ssize_t xor_read(struct sherd_tls *t, void *plain, size_t n, struct sherd_error *err)
{
	(void)err;
	n = n < t->in.size ? n : t->in.size;
	if (!n)
		return t->bye ? -EPIPE : 0;
	memcpy(plain, t->in.data, n);
	drop(&t->in, n);
	return (ssize_t)n;
}

static int xor_write(struct sherd_tls *t, const void *plain, size_t n, struct sherd_error *err)
{
	const uint8_t *p = plain;

	if (!t->done)
		return sherd_fail(err, -ENOTCONN, "not done yet");
	for (; n; n--, p++) {
		if (*p >= 0xfe)
			put(&t->out, 0xfe ^ MASK);
		put(&t->out, (*p >= 0xfe ? *p - 0xfe : *p) ^ MASK);
	}
	return 0;
}

static size_t xor_pending(const struct sherd_tls *t, const uint8_t **cipher)
{
	*cipher = t->out.data;
	return t->out.size;
}

static void xor_sent(struct sherd_tls *t, size_t n)
{
	drop(&t->out, n);
}

static bool xor_done(const struct sherd_tls *t)
{
	return t->done;
}

static const char *xor_identity(const struct sherd_tls *t)
{
	return t->line;
}

static int xor_close(struct sherd_tls *t)
{
	put(&t->out, 0xff ^ MASK);
	return 0;
}

static void xor_free(struct sherd_tls *t)
{
	free(t->in.data);
	free(t->out.data);
	free(t);
}

const struct sherd_tls_ops xor_tls = {
	.open = xor_open,
	.feed = xor_feed,
	.read = xor_read,
	.write = xor_write,
	.pending = xor_pending,
	.sent = xor_sent,
	.done = xor_done,
	.identity = xor_identity,
	.close = xor_close,
	.free = xor_free,
};
