/* SPDX-License-Identifier: MIT */
/*
 * tls_rig: what the tests of the TLS filter stand on - two clusters' certificates in a folder of
 * their own, two filters wired to each other by a stream that is cut anywhere, and sentences to
 * look into. A header alone, as scratch.h is.
 */
#ifndef SHERD_TEST_TLS_RIG_H
#define SHERD_TEST_TLS_RIG_H

#include "net/ca.h"
#include "net/tls.h"
#include "random.h"
#include "unit/scratch.h"

#define MIB ((size_t)1 << 20)

static uint64_t rng;

/* Two clusters, of kitchen and head each. */
static char ours[80], theirs[80];

static inline struct sherd_tls_ctx *open_ctx(const char *folder, const char *name)
{
	char ca[128], cert[128], key[160];
	struct sherd_tls_ctx *c;
	struct sherd_error err = { "" };

	snprintf(ca, sizeof(ca), "%s/ca.pem", folder);
	snprintf(cert, sizeof(cert), "%s/%s.pem", folder, name);
	snprintf(key, sizeof(key), "%s/%s-key.pem", folder, name);
	if (sherd_tls_ctx_new(&c, ca, cert, key, &err))
		fail_msg("%s", err.msg);
	return c;
}

/* The sentence holds each of these words, and is one line. */
static inline void assert_says(const struct sherd_error *err, const char *const *words)
{
	for (; *words; words++)
		if (!strstr(err->msg, *words))
			fail_msg("\"%s\" does not say \"%s\"", err->msg, *words);
	assert_null(strchr(err->msg, '\n'));
	assert_true(strlen(err->msg) < sizeof(err->msg) - 4);
}
#define SAYS(err, ...) assert_says(err, (const char *const[]){ __VA_ARGS__, NULL })

/* ------------------------------------------------------------------- a pair */

struct pair {
	struct sherd_tls_ctx *ctx[2];
	struct sherd_tls *side[2]; /* client, server */
	struct sherd_error err[2];
	int rc[2];
};

static inline void pair_connect(struct pair *p)
{
	assert_int_equal(sherd_tls_new(&p->side[0], p->ctx[0], false, "kitchen", &p->err[0]), 0);
	assert_int_equal(sherd_tls_new(&p->side[1], p->ctx[1], true, NULL, &p->err[1]), 0);
	p->rc[0] = p->rc[1] = 0;
}

static inline void pair_open(struct pair *p)
{
	p->ctx[0] = open_ctx(ours, "head");
	p->ctx[1] = open_ctx(ours, "kitchen");
	pair_connect(p);
}

static inline void pair_disconnect(struct pair *p)
{
	sherd_tls_free(p->side[0]);
	sherd_tls_free(p->side[1]);
}

static inline void pair_close(struct pair *p)
{
	pair_disconnect(p);
	sherd_tls_ctx_free(p->ctx[0]);
	sherd_tls_ctx_free(p->ctx[1]);
}

/* Moves up to @most bytes from side @from to the other; false where there were none. */
static inline bool pair_move(struct pair *p, int from, int most)
{
	const uint8_t *bytes;
	size_t n = sherd_tls_pending(p->side[from], &bytes), part = 1 + tiny_below(&rng, most);

	if (!n)
		return false;
	n = MIN(n, part);
	if (!p->rc[!from])
		p->rc[!from] = sherd_tls_feed(p->side[!from], bytes, n, &p->err[!from]);
	sherd_tls_sent(p->side[from], n);
	return true;
}

static inline void pair_greet(struct pair *p, int most)
{
	for (bool moved = true; moved;) {
		moved = pair_move(p, 0, most);
		moved |= pair_move(p, 1, most);
	}
	for (int i = 0; i < 2; i++)
		if (p->rc[i])
			fail_msg("side %d: %s", i, p->err[i].msg);
	assert_true(sherd_tls_done(p->side[0]) && sherd_tls_done(p->side[1]));
}

static inline void write_all(struct sherd_tls *t, const void *data, size_t n)
{
	struct sherd_error err;

	if (sherd_tls_write(t, data, n, &err))
		fail_msg("%s", err.msg);
}

static inline int make_clusters(void **state)
{
	static const char *const names[] = { "head", "kitchen" };
	struct sherd_error err;

	rng = tiny_seed();
	if (scratch_make(state))
		return -1;
	snprintf(ours, sizeof(ours), "%s/ours", dir);
	snprintf(theirs, sizeof(theirs), "%s/theirs", dir);
	return sherd_ca_init(ours, names, 2, 30, &err) || sherd_ca_init(theirs, names, 2, 30, &err);
}

#endif
