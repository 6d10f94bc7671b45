/* SPDX-License-Identifier: MIT */
/*
 * The TLS filter, two of them wired to each other: what is written arrives however the stream is
 * cut, an end is told from a cut, and what is damaged is never read.
 */
#include "tls_peer.h"
#include "tls_rig.h"

/* --------------------------------------------------------------------- data */

static void two_nodes_of_one_cluster_know_each_other(void **state)
{
	struct pair p;

	(void)state;
	for (int i = 0; i < 20; i++) {
		pair_open(&p);
		assert_string_equal(sherd_tls_identity(p.side[0]), "");
		assert_string_equal(sherd_tls_identity(p.side[1]), "");
		pair_greet(&p, i < 10 ? 2000 : 1 + i - 10);
		assert_string_equal(sherd_tls_identity(p.side[0]), "kitchen");
		assert_string_equal(sherd_tls_identity(p.side[1]), "head");
		pair_close(&p);
	}
}

struct flow {
	uint8_t *data; /* [MIB], what one side sends */
	size_t written, got;
};

/* Writes a piece now and then, reads what there is; true while there is more to come. */
static bool flow_step(struct flow *f, struct sherd_tls *from, struct sherd_tls *to)
{
	static uint8_t piece[100000];
	size_t n = (size_t)tiny_below(&rng, 60000);
	struct sherd_error err;
	ssize_t got;

	n = MIN(n, MIB - f->written);

	if (n && !tiny_below(&rng, 3)) {
		write_all(from, f->data + f->written, n);
		f->written += n;
	}
	while ((got = sherd_tls_read(to, piece, 1 + (size_t)tiny_below(&rng, sizeof(piece)),
				     &err)) > 0) {
		assert_true(f->got + (size_t)got <= f->written);
		assert_memory_equal(piece, f->data + f->got, got);
		f->got += (size_t)got;
	}
	assert_int_equal(got, 0);
	return f->got < MIB;
}

static void a_mebibyte_each_way_arrives_however_it_is_cut(void **state)
{
	struct flow flow[2];
	struct pair p;

	(void)state;
	for (int i = 0; i < 2; i++) {
		flow[i] = (struct flow){ .data = malloc(MIB) };
		for (size_t k = 0; k < MIB; k++)
			flow[i].data[k] = (uint8_t)tiny_random(&rng);
	}
	pair_open(&p);
	pair_greet(&p, 5000);
	for (bool more = true; more;) {
		more = flow_step(&flow[0], p.side[0], p.side[1]);
		more |= flow_step(&flow[1], p.side[1], p.side[0]);
		pair_move(&p, 0, 90000);
		pair_move(&p, 1, 90000);
	}
	pair_close(&p);
	free(flow[0].data);
	free(flow[1].data);
}

/* As with a send that the kernel works on: the bytes must neither move nor change. */
static void pending_bytes_stay_while_more_is_written(void **state)
{
	uint8_t *copy, *data = calloc(1, MIB);
	const uint8_t *bytes, *again;
	struct pair p;
	size_t n;

	(void)state;
	pair_open(&p);
	pair_greet(&p, 5000);
	write_all(p.side[0], data, 5000);
	n = sherd_tls_pending(p.side[0], &bytes);
	assert_in_range(n, 5000, 6000);
	copy = malloc(n);
	memcpy(copy, bytes, n);
	for (int i = 0; i < 8; i++)
		write_all(p.side[0], data, (size_t)tiny_below(&rng, (int)MIB));
	assert_memory_equal(copy, bytes, n);
	assert_true(sherd_tls_pending(p.side[0], &again) > n);
	assert_ptr_equal(bytes, again);
	sherd_tls_sent(p.side[0], 1);
	assert_true(sherd_tls_pending(p.side[0], &again) >= n - 1);
	assert_ptr_equal(bytes + 1, again);
	assert_memory_equal(copy + 1, again, n - 1);
	pair_close(&p);
	free(copy);
	free(data);
}

static void nothing_is_written_before_the_other_side_is_known(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(sherd_tls_write(p.side[0], "x", 1, &p.err[0]), -ENOTCONN);
	SAYS(&p.err[0], "before the greeting is over");
	assert_int_equal(sherd_tls_read(p.side[0], (char[8]){ 0 }, 8, &p.err[0]), 0);
	pair_greet(&p, 5000); /* and that was no failure for good */
	write_all(p.side[0], "x", 1);
	pair_close(&p);
}

/* ------------------------------------------------------------------ the end */

static void a_goodbye_ends_one_direction_and_is_told_from_a_cut(void **state)
{
	struct pair p;
	char buf[8];

	(void)state;
	pair_open(&p);
	pair_greet(&p, 5000);
	write_all(p.side[0], "last", 4);
	assert_int_equal(sherd_tls_close(p.side[0]), 0);
	assert_int_equal(sherd_tls_close(p.side[0]), 0);
	assert_int_equal(sherd_tls_write(p.side[0], "x", 1, &p.err[0]), -ENOTCONN);
	SAYS(&p.err[0], "after the goodbye");
	while (pair_move(&p, 0, 5))
		;
	assert_int_equal(sherd_tls_read(p.side[1], buf, 8, &p.err[1]), 4);
	assert_int_equal(sherd_tls_read(p.side[1], buf, 8, &p.err[1]), -EPIPE);
	SAYS(&p.err[1], "goodbye");
	assert_int_equal(sherd_tls_read(p.side[1], buf, 8, &p.err[1]), -EPIPE);
	assert_int_equal(sherd_tls_feed(p.side[1], NULL, 0, &p.err[1]), 0);
	write_all(p.side[1], "too", 3); /* the other direction is still open */
	while (pair_move(&p, 1, 5))
		;
	assert_int_equal(sherd_tls_read(p.side[0], buf, 8, &p.err[0]), 3);
	assert_int_equal(sherd_tls_feed(p.side[0], NULL, 0, &p.err[0]), -ECONNRESET);
	SAYS(&p.err[0], "cut off", "no goodbye");
	assert_int_equal(sherd_tls_read(p.side[0], buf, 8, &p.err[0]), -ECONNRESET);
	assert_false(sherd_tls_done(p.side[0]));
	pair_close(&p);
}

static void a_cut_in_the_greeting_says_so(void **state)
{
	struct pair p;

	(void)state;
	pair_open(&p);
	assert_int_equal(sherd_tls_feed(p.side[0], NULL, 0, &p.err[0]), -ECONNRESET);
	SAYS(&p.err[0], "without a word of TLS", "--insecure");
	assert_int_equal(sherd_tls_feed(p.side[1], "\x16\x03\x01", 3, &p.err[1]), 0);
	assert_int_equal(sherd_tls_feed(p.side[1], NULL, 0, &p.err[1]), -ECONNRESET);
	SAYS(&p.err[1], "in the middle of TLS's greeting");
	pair_close(&p);
}

/* ------------------------------------------------------------ hostile bytes */

/* Where a bit is flipped in what @from sends, counted from its first byte. */
struct flip {
	int from;
	size_t at; /* in bits */
};

/*
 * The greeting with one bit flipped, then a word from each side that is ready to speak. True if
 * somebody read one.
 */
static bool greet_flipped(struct pair *p, const struct flip *f, size_t sent[2])
{
	static const char word[] = "word";
	uint8_t bytes[20000];
	const uint8_t *front;
	bool wrote[2] = { false, false }, read = false;
	struct sherd_error err;
	char buf[8];

	pair_connect(p);
	sent[0] = sent[1] = 0;
	for (int idle = 0, i = 0; idle < 2; i = !i) {
		size_t n = sherd_tls_pending(p->side[i], &front);

		idle = n ? 0 : idle + 1;
		assert_true(n <= sizeof(bytes));
		if (n)
			memcpy(bytes, front, n);
		if (f->from == i && f->at / 8 >= sent[i] && f->at / 8 < sent[i] + n)
			bytes[f->at / 8 - sent[i]] ^= (uint8_t)(1 << f->at % 8);
		if (n && !p->rc[!i])
			p->rc[!i] = sherd_tls_feed(p->side[!i], bytes, n, &p->err[!i]);
		sherd_tls_sent(p->side[i], n);
		sent[i] += n;
		if (sherd_tls_done(p->side[i]) && !wrote[i])
			wrote[i] = !sherd_tls_write(p->side[i], word, 4, &err), idle = 0;
		if (sherd_tls_read(p->side[!i], buf, 8, &err) > 0)
			read = true;
	}
	pair_disconnect(p);
	return read;
}

/* A version in the head of an open record is "to be ignored for all purposes" (RFC 8446, 5.1). */
static bool is_ignored(size_t at)
{
	return at / 8 == 2;
}

static void no_bit_of_the_greeting_can_be_flipped(void **state)
{
	struct pair p = { .ctx = { open_ctx(ours, "head"), open_ctx(ours, "kitchen") } };
	struct flip f = { .from = -1 };
	int n = getenv("SHERD_LONG") ? 20000 : 800;
	size_t sent[2], greeting[2];

	(void)state;
	assert_true(greet_flipped(&p, &f, greeting));
	for (int i = 0; i < 2; i++)
		greeting[i] -=
			26; /* the word's record; a signature's length varies by a byte or two */
	for (int i = 0; i < n; i++) {
		f.from = tiny_below(&rng, 2);
		f.at = (size_t)tiny_below(&rng, 8 * (int)(greeting[f.from] - 6));
		if (i < 40) /* the first record's head always */
			f = (struct flip){ .from = i / 20, .at = (size_t)(2 * (i % 20) + i / 20) };
		/*
		 * The side that got the flipped bit has read nothing; the other could not be done.
		 */
		if (greet_flipped(&p, &f, sent) && !is_ignored(f.at))
			fail_msg("bit %zu of side %d's bytes was flipped, and a word was read",
				 f.at, f.from);
	}
	sherd_tls_ctx_free(p.ctx[0]);
	sherd_tls_ctx_free(p.ctx[1]);
}

static void a_changed_bit_in_the_data_is_found(void **state)
{
	uint8_t data[1000] = { 0 }, bytes[1100];
	const uint8_t *front;
	struct pair p;
	size_t n;

	(void)state;
	pair_open(&p);
	for (int i = 0; i < 100; i++) {
		pair_disconnect(&p);
		pair_connect(&p);
		pair_greet(&p, 5000);
		write_all(p.side[0], data, sizeof(data));
		n = sherd_tls_pending(p.side[0], &front);
		memcpy(bytes, front, n);
		bytes[5 + tiny_below(&rng, (int)n - 5)] ^= (uint8_t)(1 << tiny_below(&rng, 8));
		assert_int_equal(sherd_tls_feed(p.side[1], bytes, n, &p.err[1]), 0);
		assert_int_equal(sherd_tls_read(p.side[1], data, sizeof(data), &p.err[1]),
				 -EBADMSG);
		SAYS(&p.err[1], "changed on its way");
	}
	pair_close(&p);
}

/* The stream of one connection is of no use in another. */
static void a_recorded_stream_cannot_be_replayed(void **state)
{
	struct pair p;
	uint8_t *tape = malloc(MIB);
	const uint8_t *front;
	size_t n = 0, part;
	struct sherd_error err;
	struct sherd_tls *t;
	char buf[8];

	(void)state;
	pair_open(&p);
	for (int i = 0; i < 10; i++) {
		part = sherd_tls_pending(p.side[0], &front);
		memcpy(tape + n, front, part);
		n += part;
		pair_move(&p, 0, 100000);
		while (pair_move(&p, 1, 100000))
			;
		if (i == 5)
			write_all(p.side[0], "word", 4);
	}
	assert_int_equal(sherd_tls_read(p.side[1], buf, 8, &err), 4);
	assert_int_equal(sherd_tls_new(&t, p.ctx[1], true, NULL, &err), 0);
	assert_int_equal(sherd_tls_feed(t, tape, n, &err), -EBADMSG);
	sherd_tls_free(t);
	pair_close(&p);
	free(tape);
}

static void who_asks_for_keys_without_end_is_refused(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	struct sherd_error err;
	struct sherd_tls *t;
	struct peer p;
	char buf[8];
	int i, rc = 0;

	(void)state;
	peer_open(&p, false, ours, "head");
	assert_int_equal(sherd_tls_new(&t, c, true, NULL, &err), 0);
	assert_int_equal(peer_meet(&p, t, &err), 0);
	for (i = 0; !rc && i < 10000; i++) {
		assert_true(SSL_key_update(p.ssl, SSL_KEY_UPDATE_REQUESTED));
		peer_shake(&p);
		assert_int_equal(peer_to_tls(&p, t, &err), 0);
		rc = (int)sherd_tls_read(t, buf, 8, &err);
		if (i < 2000) /* who reads the answers may ask as often as he likes */
			tls_to_peer(t, &p);
	}
	assert_int_equal(rc, -EPROTO);
	SAYS(&err, "new keys without end");
	assert_in_range(i, 2100, 9000);
	sherd_tls_free(t);
	peer_close(&p);
	sherd_tls_ctx_free(c);
}

static void what_nobody_reads_is_refused_at_last(void **state)
{
	uint8_t *data = calloc(1, MIB);
	struct pair p;
	int rc = 0;

	(void)state;
	pair_open(&p);
	pair_greet(&p, 5000);
	for (int i = 0; i < 8 && !p.rc[1]; i++) {
		write_all(p.side[0], data, MIB);
		while (pair_move(&p, 0, 65536))
			;
		rc = p.rc[1];
		assert_true(rc == 0 || i >= 3);
	}
	assert_int_equal(rc, -ENOBUFS);
	SAYS(&p.err[1], "nobody has read");
	pair_close(&p);
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_nodes_of_one_cluster_know_each_other),
		cmocka_unit_test(a_mebibyte_each_way_arrives_however_it_is_cut),
		cmocka_unit_test(pending_bytes_stay_while_more_is_written),
		cmocka_unit_test(nothing_is_written_before_the_other_side_is_known),
		cmocka_unit_test(a_goodbye_ends_one_direction_and_is_told_from_a_cut),
		cmocka_unit_test(a_cut_in_the_greeting_says_so),
		cmocka_unit_test(no_bit_of_the_greeting_can_be_flipped),
		cmocka_unit_test(a_changed_bit_in_the_data_is_found),
		cmocka_unit_test(a_recorded_stream_cannot_be_replayed),
		cmocka_unit_test(who_asks_for_keys_without_end_is_refused),
		cmocka_unit_test(what_nobody_reads_is_refused_at_last),
	};

	return cmocka_run_group_tests(tests, make_clusters, scratch_remove);
}
