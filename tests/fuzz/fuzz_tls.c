/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tls: any bytes to a TLS filter. The first byte says how: as what a server or a client gets
 * from the start, or laid (by exclusive or) over what one of two real sides sends to the other,
 * greeting and data. Nothing but what the other side wrote is ever read, and a refusal has a
 * sentence and is for good.
 */
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "net/ca.h"
#include "net/tls.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { TO_SERVER, TO_CLIENT, OVER_CLIENTS, OVER_SERVERS, N_WAYS };

static struct sherd_tls_ctx *open_ctx(const char *dir, const char *name)
{
	char ca[64], cert[64], key[64];
	struct sherd_tls_ctx *c;
	struct sherd_error err;

	snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
	snprintf(cert, sizeof(cert), "%s/%s.pem", dir, name);
	snprintf(key, sizeof(key), "%s/%s-key.pem", dir, name);
	if (sherd_tls_ctx_new(&c, ca, cert, key, &err)) {
		fprintf(stderr, "%s\n", err.msg);
		abort();
	}
	return c;
}

/* Made once: client's and server's. */
static struct sherd_tls_ctx *ctx[2];

static void make_cluster(void)
{
	static const char *const names[] = { "head", "kitchen" };
	static const char *const files[] = { "ca", "head", "kitchen" };
	char dir[32] = "/tmp/sherd-fuzz-XXXXXX", path[64];
	struct sherd_error err;

	if (!mkdtemp(dir) || sherd_ca_init(dir, names, 2, 30, &err))
		abort();
	ctx[0] = open_ctx(dir, "head");
	ctx[1] = open_ctx(dir, "kitchen");
	for (int i = 0; i < 6; i++) {
		snprintf(path, sizeof(path), "%s/%s%s.pem", dir, files[i / 2], i % 2 ? "-key" : "");
		unlink(path);
	}
	rmdir(dir);
}

static int feed(struct sherd_tls *t, const uint8_t *p, size_t n, bool may_read)
{
	struct sherd_error err = { "" }, again = { "" };
	char plain[64];
	ssize_t got = 0;
	int rc = sherd_tls_feed(t, p, n, &err);

	while (!rc && (got = sherd_tls_read(t, plain, sizeof(plain), &err)) > 0)
		if (!may_read || got != 4 || memcmp(plain, "word", 4))
			abort();
	if (got < 0)
		rc = (int)got;
	if (rc && !err.msg[0])
		abort();
	if (rc && rc != -EPIPE &&
	    (sherd_tls_feed(t, p, n, &again) != rc || strcmp(again.msg, err.msg) ||
	     sherd_tls_done(t)))
		abort();
	return rc;
}

static void feed_alone(bool server, const uint8_t *p, size_t n, size_t piece)
{
	struct sherd_error err;
	struct sherd_tls *t;

	if (sherd_tls_new(&t, ctx[server], server, server ? NULL : "kitchen", &err))
		abort();
	for (size_t at = 0; at < n; at += piece)
		if (feed(t, p + at, MIN(piece, n - at), false))
			break;
	sherd_tls_free(t);
}

/* Lays @n bytes at @p, which then is moved on, over what side @from sends. */
static bool move(struct sherd_tls *side[2], int from, const uint8_t **p, size_t *n)
{
	const uint8_t *front;
	size_t size = sherd_tls_pending(side[from], &front), i;
	uint8_t *bytes;
	int rc;

	if (!size)
		return false;
	bytes = malloc(size);
	memcpy(bytes, front, size);
	for (i = 0; i < size && i < *n; i++)
		bytes[i] ^= (*p)[i];
	*p += i;
	*n -= i;
	sherd_tls_sent(side[from], size);
	rc = feed(side[!from], bytes, size, true);
	free(bytes);
	return !rc;
}

static void lay_over(int from, const uint8_t *p, size_t n)
{
	struct sherd_tls *side[2];
	struct sherd_error err;
	const uint8_t *none = p;
	size_t zero = 0;

	for (int i = 0; i < 2; i++)
		if (sherd_tls_new(&side[i], ctx[i], i, i ? NULL : "kitchen", &err))
			abort();
	for (bool moved = true; moved;) {
		moved = move(side, from, &p, &n);
		moved |= move(side, !from, &none, &zero);
	}
	for (int i = 0; i < 2; i++)
		if (sherd_tls_done(side[i]) && sherd_tls_write(side[i], "word", 4, &err))
			abort();
	move(side, from, &p, &n);
	move(side, !from, &none, &zero);
	for (int i = 0; i < 2; i++)
		sherd_tls_free(side[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (!ctx[0])
		make_cluster();
	if (size < 2)
		return 0;
	switch (data[0] % N_WAYS) {
	case TO_SERVER:
	case TO_CLIENT:
		feed_alone(data[0] % N_WAYS == TO_SERVER, data + 2, size - 2,
			   1 + (size_t)data[1] * 8);
		break;
	default:
		lay_over(data[0] % N_WAYS == OVER_SERVERS, data + 1, size - 1);
	}
	if (ERR_peek_error())
		abort(); /* left behind for whoever asks next */
	return 0;
}
