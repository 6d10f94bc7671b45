/* SPDX-License-Identifier: MIT */
/*
 * What the TLS filter holds: no more than it should, whatever comes; nothing, once it is gone; and
 * where an allocation fails, a sentence. OpenSSL's own allocations are counted, and made to fail.
 */
#include <openssl/crypto.h>
#include "tls_rig.h"

static size_t heap, heap_peak; /* bytes that OpenSSL holds */
static long fail_in = -1; /* this allocation fails, counted from now; -1: none */

static void *count_malloc(size_t n, const char *file, int line)
{
	size_t *p = fail_in >= 0 && fail_in-- == 0 ? NULL : malloc(n + 16);

	(void)file;
	(void)line;
	if (!p)
		return NULL;
	*p = n;
	heap += n;
	heap_peak = MAX(heap_peak, heap);
	return (char *)p + 16;
}

static void count_free(void *p, const char *file, int line)
{
	(void)file;
	(void)line;
	if (!p)
		return;
	heap -= *(size_t *)((char *)p - 16);
	free((char *)p - 16);
}

static void *count_realloc(void *p, size_t n, const char *file, int line)
{
	size_t old = p ? *(size_t *)((char *)p - 16) : 0;
	void *more;

	if (!n) {
		count_free(p, file, line);
		return NULL;
	}
	more = count_malloc(n, file, line);
	if (more && p) {
		memcpy(more, p, MIN(n, old));
		count_free(p, file, line);
	}
	return more;
}

/* Records that look right at first; and what they claim is not allocated. */
static void garbage_is_refused_and_takes_no_room(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	uint8_t bytes[4096];
	struct sherd_error err;
	struct sherd_tls *t;

	(void)state;
	for (int i = 0; i < 300; i++) {
		size_t before;
		int rc = 0;

		for (size_t k = 0; k < sizeof(bytes); k++)
			bytes[k] = (uint8_t)tiny_random(&rng);
		memcpy(bytes, "\x16\x03\x01\x3f\xff\x01\xff\xff\xff", tiny_below(&rng, 2) ? 9 : 3);
		assert_int_equal(sherd_tls_new(&t, c, i % 2, NULL, &err), 0);
		before = heap_peak = heap;
		for (int k = 0; !rc && k < 100; k++)
			rc = sherd_tls_feed(t, bytes, sizeof(bytes), &err);
		assert_true(rc == -EPROTO || rc == -EACCES);
		assert_true(heap_peak - before < 256 << 10);
		sherd_tls_free(t);
	}
	sherd_tls_ctx_free(c);
}

/* Contexts, greeting and a word, as far as it goes; the first failure. */
static int try_it_all(struct sherd_error *err)
{
	char ca[128], cert[2][128], key[2][128];
	struct pair p = { 0 };
	char buf[8];
	int rc = 0;

	snprintf(ca, sizeof(ca), "%s/ca.pem", ours);
	for (int i = 0; !rc && i < 2; i++) {
		snprintf(cert[i], sizeof(cert[i]), "%s/%s.pem", ours, i ? "kitchen" : "head");
		snprintf(key[i], sizeof(key[i]), "%s/%s-key.pem", ours, i ? "kitchen" : "head");
		rc = sherd_tls_ctx_new(&p.ctx[i], ca, cert[i], key[i], err);
		if (!rc)
			rc = sherd_tls_new(&p.side[i], p.ctx[i], i, NULL, err);
	}
	while (!rc && pair_move(&p, 0, 5000) + pair_move(&p, 1, 5000) > 0)
		for (int i = 0; !rc && i < 2; i++) {
			rc = p.rc[i];
			*err = p.err[i];
		}
	if (!rc)
		rc = sherd_tls_write(p.side[0], "word", 4, err);
	while (!rc && pair_move(&p, 0, 5000))
		rc = p.rc[1];
	if (!rc)
		rc = MIN(0, (int)sherd_tls_read(p.side[1], buf, 8, err));
	pair_close(&p);
	return rc;
}

static void every_allocation_may_fail(void **state)
{
	int n_failed = 0, step = getenv("SHERD_LONG") ? 7 : 97;
	struct sherd_error err;

	(void)state;
	for (long n = tiny_below(&rng, step);; n += step) {
		err.msg[0] = '\0';
		fail_in = n;
		if (try_it_all(&err)) {
			n_failed++;
			assert_true(strlen(err.msg) > 10);
		}
		if (fail_in >= 0) /* there were not so many */
			break;
		fail_in = -1;
	}
	fail_in = -1;
	assert_true(n_failed > 10);
	assert_int_equal(try_it_all(&err), 0);
}

static void memory_returns_to_its_start(void **state)
{
	struct pair p;
	size_t start = 0;

	(void)state;
	for (int i = 0; i < 30; i++) {
		pair_open(&p);
		if (i % 3)
			pair_greet(&p, 1000);
		if (i % 3 == 2)
			write_all(p.side[0], "never read", 10);
		for (int k = tiny_below(&rng, 4); k; k--) /* the greeting's beginning, perhaps */
			pair_move(&p, k % 2, 1000);
		pair_close(&p);
		if (i == 5) /* OpenSSL has fetched all that it keeps */
			start = heap;
	}
	/* OpenSSL keeps the buffers of its last errors' texts; a leak is larger, 24 times over. */
	assert_in_range(heap, start - 1024, start + 1024);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(garbage_is_refused_and_takes_no_room),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(memory_returns_to_its_start),
	};

	CRYPTO_set_mem_functions(count_malloc, count_realloc, count_free);
	return cmocka_run_group_tests(tests, make_clusters, scratch_remove);
}
