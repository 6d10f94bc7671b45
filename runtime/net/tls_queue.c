/* SPDX-License-Identifier: MIT */
/* tls_queue: what OpenSSL writes, as a list of blocks; a sink to write to and nothing more. */
#include <openssl/bio.h>
#include <stdlib.h>
#include "net/tls_parts.h"

#define BLOCK_BYTES (((size_t)64 << 10) - 3 * sizeof(size_t)) /* nearly four full records */

struct sherd_tls_block {
	struct sherd_tls_block *next;
	size_t from, to;
	uint8_t data[BLOCK_BYTES];
};

static struct sherd_tls_block *append_block(struct sherd_tls_queue *q)
{
	struct sherd_tls_block *b =
		malloc(sizeof(*b)); /* its bytes are written before they are read */

	if (!b)
		return NULL;
	b->next = NULL;
	b->from = b->to = 0;
	if (q->last)
		q->last->next = b;
	else
		q->first = b;
	q->last = b;
	return b;
}

static int queue_write(BIO *bio, const char *data, size_t n, size_t *written)
{
	struct sherd_tls_queue *q = BIO_get_data(bio);
	size_t part;

	BIO_clear_retry_flags(bio);
	for (*written = 0; *written < n; *written += part) {
		struct sherd_tls_block *b = q->last;

		if (!b || b->to == BLOCK_BYTES)
			b = append_block(q);
		if (!b)
			return 0;
		part = MIN(n - *written, BLOCK_BYTES - b->to);
		memcpy(b->data + b->to, data + *written, part);
		b->to += part;
		q->size += part;
	}
	return 1;
}

static long queue_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

BIO_METHOD *sherd_tls_queue_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "sherd queue");

	if (m && BIO_meth_set_write_ex(m, queue_write) && BIO_meth_set_ctrl(m, queue_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

BIO *sherd_tls_queue_bio(struct sherd_tls_queue *q, BIO_METHOD *method)
{
	BIO *bio = BIO_new(method);

	if (!bio)
		return NULL;
	BIO_set_data(bio, q);
	BIO_set_init(bio, 1);
	return bio;
}

size_t sherd_tls_queue_front(const struct sherd_tls_queue *q, const uint8_t **data)
{
	if (!q->first)
		return 0;
	*data = q->first->data + q->first->from;
	return q->first->to - q->first->from;
}

void sherd_tls_queue_drop(struct sherd_tls_queue *q, size_t n)
{
	while (q->first && n) {
		struct sherd_tls_block *b = q->first;
		size_t part = MIN(n, b->to - b->from);

		b->from += part;
		q->size -= part;
		n -= part;
		if (b->from < b->to)
			return;
		q->first = b->next;
		if (!q->first)
			q->last = NULL;
		free(b);
	}
}

void sherd_tls_queue_free(struct sherd_tls_queue *q)
{
	sherd_tls_queue_drop(q, q->size);
}
