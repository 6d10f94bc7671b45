/* SPDX-License-Identifier: MIT */
/*
 * tls: the filter. OpenSSL between a memory BIO, which feed() fills, and a queue, from which the
 * loop sends. Whatever goes wrong is said once and stays.
 */
#include <openssl/err.h>
#include <stdlib.h>
#include "net/tls_parts.h"

/*
 * A few dozen bytes that ask for new keys make us answer with as many. Who asks without end and
 * does not read the answers would have us hold them all.
 */
#define MAX_ANSWERS ((size_t)16 << 10)

#define RECORD_HANDSHAKE 22
#define RECORD_ALERT	 21

static int fail(struct sherd_tls *t, struct sherd_error *err)
{
	return sherd_fail(err, t->rc, "%s", t->why.msg);
}

/* OpenSSL has given up. */
static int give_up(struct sherd_tls *t, struct sherd_error *err)
{
	sherd_tls_explain(t);
	return fail(t, err);
}

static int shake_hands(struct sherd_tls *t, struct sherd_error *err)
{
	int rc;

	ERR_clear_error();
	rc = SSL_do_handshake(t->ssl);
	if (rc == 1) {
		t->done = true;
		return 0;
	}
	return SSL_get_error(t->ssl, rc) == SSL_ERROR_WANT_READ ? 0 : give_up(t, err);
}

int sherd_tls_new(struct sherd_tls **out, struct sherd_tls_ctx *ctx, bool server, const char *name,
		  struct sherd_error *err)
{
	struct sherd_tls *t;
	BIO *to;
	int rc;

	*out = NULL;
	if (name && !sherd_cert_name_ok(name))
		return sherd_fail(err, -EINVAL, "\"%s\" is no name of a node", name);
	t = sherd_calloc(1, sizeof(*t));
	if (!t)
		return sherd_fail_oom(err, sizeof(*t), "TLS");
	t->ctx = ctx;
	t->server = server;
	if (name)
		strcpy(t->wanted, name);
	t->ssl = SSL_new(ctx->ssl);
	t->in = BIO_new(BIO_s_mem());
	to = sherd_tls_queue_bio(&t->out, ctx->queue);
	if (!t->ssl || !t->in || !to || !SSL_set_app_data(t->ssl, t)) {
		rc = sherd_fail(err, -ENOMEM, "TLS: no memory for a connection");
		BIO_free(t->in);
		BIO_free(to);
		goto free_tls;
	}
	BIO_set_mem_eof_return(t->in, -1); /* empty is not over */
	SSL_set_bio(t->ssl, t->in, to);
	if (server)
		SSL_set_accept_state(t->ssl);
	else
		SSL_set_connect_state(t->ssl);
	rc = server ? 0 : shake_hands(t, err);
	if (rc)
		goto free_tls;
	*out = t;
	return 0;
free_tls:
	sherd_tls_free(t);
	return rc;
}

void sherd_tls_free(struct sherd_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl); /* and both BIOs */
	sherd_tls_queue_free(&t->out);
	free(t);
}

/* ---------------------------------------------------------------- receiving */

/* Does the stream begin with a record of TLS, as a handshake or a refusal does? */
static int check_head(struct sherd_tls *t)
{
	const uint8_t *h = t->head;

	if ((h[0] == RECORD_HANDSHAKE || h[0] == RECORD_ALERT) && h[1] == 3)
		return 0;
	if (!memcmp(h, "SHRD", 4))
		return sherd_fail(
			&t->why, -EPROTO,
			"the other side speaks without TLS, and here it is wanted: give both "
			"certificates, or start both with --insecure");
	return sherd_fail(&t->why, -EPROTO,
			  "this is no TLS: it begins with %02x %02x %02x %02x %02x", h[0], h[1],
			  h[2], h[3], h[4]);
}

/*
 * Holds the first bytes back until it is clear what they are; takes the rest of them away from *@p.
 */
static int begin(struct sherd_tls *t, const uint8_t **p, size_t *n)
{
	size_t part = MIN(*n, sizeof(t->head) - t->n_head);

	memcpy(t->head + t->n_head, *p, part);
	t->n_head += part;
	*p += part;
	*n -= part;
	if (t->n_head < sizeof(t->head))
		return 0;
	t->rc = check_head(t);
	if (!t->rc && BIO_write(t->in, t->head, sizeof(t->head)) != sizeof(t->head))
		t->rc = sherd_fail_oom(&t->why, sizeof(t->head), "TLS");
	return t->rc;
}

static int end(struct sherd_tls *t)
{
	if (SSL_get_shutdown(t->ssl) & SSL_RECEIVED_SHUTDOWN)
		return 0;
	if (t->done)
		return sherd_fail(&t->why, -ECONNRESET,
				  "the connection was cut off: the other side has said no goodbye");
	if (!t->server && !t->n_head)
		return sherd_fail(
			&t->why, -ECONNRESET,
			"the other side hung up without a word of TLS: perhaps it was started with "
			"--insecure");
	return sherd_fail(&t->why, -ECONNRESET,
			  "the other side hung up in the middle of TLS's greeting");
}

int sherd_tls_feed(struct sherd_tls *t, const void *cipher, size_t n, struct sherd_error *err)
{
	const uint8_t *p = cipher;
	size_t unread = BIO_ctrl_pending(t->in);

	if (t->rc)
		return fail(t, err);
	if (!n)
		t->rc = end(t);
	else if (n > SHERD_TLS_MAX_UNREAD - MIN(unread, SHERD_TLS_MAX_UNREAD))
		t->rc = sherd_fail(
			&t->why, -ENOBUFS,
			"TLS: %zu bytes have come that nobody has read, and %zu more are too many",
			unread, n);
	else if (t->n_head < sizeof(t->head))
		begin(t, &p, &n);
	if (!t->rc && n && BIO_write(t->in, p, (int)n) != (int)n)
		t->rc = sherd_fail_oom(&t->why, n, "TLS");
	if (t->rc)
		return fail(t, err);
	return t->done || !BIO_ctrl_pending(t->in) ? 0 : shake_hands(t, err);
}

ssize_t sherd_tls_read(struct sherd_tls *t, void *plain, size_t n, struct sherd_error *err)
{
	size_t before = t->out.size, got = 0;
	int ok;

	if (t->rc)
		return fail(t, err);
	if (!t->done || !n)
		return 0;
	ERR_clear_error();
	ok = SSL_read_ex(t->ssl, plain, n, &got);
	t->answers = (before ? t->answers : 0) + (t->out.size - before);
	if (t->answers > MAX_ANSWERS) {
		t->rc = sherd_fail(
			&t->why, -EPROTO,
			"TLS: the other side asks for new keys without end, and does not read our "
			"answers");
		return fail(t, err);
	}
	if (ok)
		return (ssize_t)got;
	switch (SSL_get_error(t->ssl, ok)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return sherd_fail(err, -EPIPE, "the other side has said goodbye");
	default:
		return give_up(t, err);
	}
}

/* ------------------------------------------------------------------ sending */

int sherd_tls_write(struct sherd_tls *t, const void *plain, size_t n, struct sherd_error *err)
{
	size_t written;

	if (t->rc)
		return fail(t, err);
	if (!t->done || t->closed)
		return sherd_fail(err, -ENOTCONN, "TLS: nothing can be written %s",
				  t->closed ? "after the goodbye" : "before the greeting is over");
	if (!n)
		return 0;
	ERR_clear_error();
	return SSL_write_ex(t->ssl, plain, n, &written) ? 0 : give_up(t, err);
}

size_t sherd_tls_pending(const struct sherd_tls *t, const uint8_t **cipher)
{
	return sherd_tls_queue_front(&t->out, cipher);
}

void sherd_tls_sent(struct sherd_tls *t, size_t n)
{
	sherd_tls_queue_drop(&t->out, n);
}

bool sherd_tls_done(const struct sherd_tls *t)
{
	return t->done && !t->rc;
}

const char *sherd_tls_identity(const struct sherd_tls *t)
{
	return t->done ? t->identity : "";
}

int sherd_tls_close(struct sherd_tls *t)
{
	if (t->rc || !t->done || t->closed)
		return t->rc;
	t->closed = true;
	ERR_clear_error();
	if (SSL_shutdown(t->ssl) < 0)
		return give_up(t, NULL);
	return 0;
}
