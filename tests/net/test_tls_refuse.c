/* SPDX-License-Identifier: MIT */
/*
 * Whom the TLS filter refuses, by the sentence that says what to do: other clusters, other names,
 * other times, other protocols, and files that do not fit or that others could have read.
 */
#include <openssl/err.h>
#include "tls_peer.h"
#include "tls_rig.h"

/* --------------------------------------------------------------- who it is */

/* Our side against a peer with the certificate @name of @folder: how ours ends. */
static int meet(bool server, const char *folder, const char *name, const char *wanted, int *alert,
		struct sherd_error *err)
{
	struct sherd_tls_ctx *c = open_ctx(ours, server ? "kitchen" : "head");
	struct sherd_tls *t;
	struct peer p;
	int rc;

	*err = (struct sherd_error){ "" };
	peer_open(&p, !server, folder, name);
	assert_int_equal(sherd_tls_new(&t, c, server, wanted, err), 0);
	rc = peer_meet(&p, t, err);
	assert_int_equal(!rc, sherd_tls_done(t));
	*alert = p.alert;
	sherd_tls_free(t);
	sherd_tls_ctx_free(c);
	peer_close(&p);
	return rc;
}

static void a_side_without_a_certificate_is_refused(void **state)
{
	struct sherd_error err;
	int alert;

	(void)state;
	assert_int_equal(meet(true, ours, NULL, NULL, &alert, &err), -EACCES);
	SAYS(&err, "shows no certificate", "sherd cluster add");
	assert_int_equal(alert, SSL_AD_CERTIFICATE_REQUIRED);
	assert_int_equal(meet(true, ours, "head", NULL, &alert, &err), 0);
	assert_int_equal(meet(false, ours, "kitchen", "kitchen", &alert, &err), 0);
}

static void another_clusters_certificate_is_refused_by_either_side(void **state)
{
	struct sherd_error err;
	int alert;

	(void)state;
	for (int server = 0; server < 2; server++) {
		assert_int_equal(meet(server, theirs, "head", NULL, &alert, &err), -EACCES);
		SAYS(&err, "(\"head\")", "not issued by our authority (\"sherd-",
		     "sherd cluster init");
		assert_int_equal(alert, SSL_AD_UNKNOWN_CA);
	}
}

static int as_found(int ok, X509_STORE_CTX *store)
{
	(void)store;
	return ok;
}

/* It learns it after it was done: in TLS 1.3 a client's certificate goes last. */
static void a_refused_client_reads_why(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "head");
	struct sherd_error err;
	struct sherd_tls *t;
	struct peer peer;
	char buf[8];

	(void)state;
	assert_int_equal(sherd_tls_new(&t, c, false, "kitchen", &err), 0);
	peer_open(&peer, true, ours, "kitchen"); /* asks for a certificate, and trusts nobody */
	SSL_set_verify(peer.ssl, SSL_VERIFY_PEER, as_found);
	assert_int_equal(peer_meet(&peer, t, &err), 0);
	assert_true(sherd_tls_done(t));
	assert_int_equal(sherd_tls_read(t, buf, 8, &err), -EACCES);
	SAYS(&err, "does not accept us", "not of its authority");
	assert_false(sherd_tls_done(t));
	assert_int_equal(sherd_tls_write(t, buf, 8, &err), -EACCES);
	sherd_tls_free(t);
	sherd_tls_ctx_free(c);
	peer_close(&peer);
}

static void a_certificate_out_of_its_time_is_refused_with_times_and_remedy(void **state)
{
	const struct forged old = { "kitchen", "DNS:kitchen", NULL, -86400, -3600, 0 };
	const struct forged early = { "kitchen", "DNS:kitchen", NULL, 3600, 86400, 0 };
	struct sherd_error err;
	int alert;

	(void)state;
	forge(ours, "old", &old);
	forge(ours, "early", &early);
	for (int server = 0; server < 2; server++) {
		assert_int_equal(meet(server, ours, "old", NULL, &alert, &err), -EKEYEXPIRED);
		SAYS(&err, "(\"kitchen\")", "has expired on 20", "sherd cluster add");
		assert_int_equal(alert, SSL_AD_CERTIFICATE_EXPIRED);
		assert_int_equal(meet(server, ours, "early", NULL, &alert, &err), -EKEYEXPIRED);
		SAYS(&err, "(\"kitchen\")", "not valid before 20", "wakes up in 1970",
		     "set the clock");
	}
}

static void another_name_is_refused_and_both_are_said(void **state)
{
	struct sherd_error err;
	int alert;

	(void)state;
	assert_int_equal(meet(false, ours, "kitchen", "attic", &alert, &err), -EACCES);
	SAYS(&err, "is \"kitchen\"", "\"attic\" is wanted");
	assert_int_equal(meet(true, ours, "head", "attic", &alert, &err), -EACCES);
	SAYS(&err, "is \"head\"", "\"attic\" is wanted");
	assert_int_equal(meet(false, ours, "kitchen", "kitche", &alert, &err), -EACCES);
	assert_int_equal(meet(false, ours, "kitchen", "Kitchen", &alert, &err), -EACCES);
}

static void names_are_taken_literally(void **state)
{
	static const struct {
		struct forged f;
		const char *wanted;
		int rc;
	} cases[] = {
		{ { "attic", NULL, NULL, -60, 3600, 0 },
		  "attic",
		  0 }, /* a common name is enough ... */
		{ { "attic", "DNS:kitchen", NULL, -60, 3600, 0 },
		  "attic",
		  -EACCES }, /* ... alone */
		{ { NULL, "DNS:a,DNS:attic", NULL, -60, 3600, 0 }, "attic", 0 },
		{ { "*", "DNS:*", NULL, -60, 3600, 0 }, "attic", -EACCES },
		{ { "*", "DNS:*", NULL, -60, 3600, 0 }, NULL, -EACCES },
		{ { NULL, NULL, NULL, -60, 3600, 0 }, NULL, -EACCES },
		{ { "attic\0.evil", NULL, NULL, -60, 3600, 11 }, "attic", -EACCES },
		{ { "a b", NULL, NULL, -60, 3600, 0 }, NULL, -EACCES },
		{ { "attic", NULL, "codeSigning", -60, 3600, 0 }, "attic", -EACCES },
	};
	struct sherd_error err;
	int alert, rc;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		forge(ours, "forged", &cases[i].f);
		rc = meet(false, ours, "forged", cases[i].wanted, &alert, &err);
		if (rc != cases[i].rc)
			fail_msg("case %zu: %d, %s", i, rc, err.msg);
	}
	SAYS(&err, "\"attic\"", "purpose");
}

static void a_name_that_no_node_has_is_refused_at_once(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "head");
	struct sherd_error err;
	struct sherd_tls *t;

	(void)state;
	assert_int_equal(sherd_tls_new(&t, c, false, "a b", &err), -EINVAL);
	SAYS(&err, "\"a b\"");
	assert_null(t);
	sherd_tls_ctx_free(c);
}

/* --------------------------------------------------------------- what it is */

static void what_is_older_than_tls_1_3_is_refused(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	struct sherd_error err;
	struct sherd_tls *t;
	struct peer p;

	(void)state;
	for (int server = 0; server < 2; server++) {
		peer_open(&p, !server, ours, "head");
		SSL_set_max_proto_version(p.ssl, TLS1_2_VERSION);
		assert_int_equal(sherd_tls_new(&t, c, server, NULL, &err), 0);
		assert_int_equal(peer_meet(&p, t, &err), -EPROTO);
		SAYS(&err, "no TLS 1.3", "nothing older");
		assert_int_equal(p.alert, SSL_AD_PROTOCOL_VERSION);
		sherd_tls_free(t);
		peer_close(&p);
	}
	sherd_tls_ctx_free(c);
}

static void what_is_no_tls_is_said_to_be_none(void **state)
{
	static const struct {
		const char *bytes, *says;
	} cases[] = {
		{ "SHRD\1\1\0\0", "speaks without TLS" },
		{ "GET / HTTP/1.1\r\n", "begins with 47 45 54 20 2f" },
		{ "SSH-2.0-OpenSSH_9.2\r\n", "this is no TLS" },
		{ "\x16\x02\x01\x01\x01", "this is no TLS" },
		{ "\x17\x03\x03\x01\x01", "this is no TLS" },
	};
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	struct sherd_error err;
	struct sherd_tls *t;

	(void)state;
	for (size_t i = 0; i < 2 * ARRAY_SIZE(cases); i++) {
		const char *b = cases[i / 2].bytes;
		int rc = 0;

		assert_int_equal(sherd_tls_new(&t, c, i % 2, NULL, &err), 0);
		for (size_t k = 0; !rc && k < 8 && b[k]; k++)
			rc = sherd_tls_feed(t, &b[k], 1, &err);
		assert_int_equal(rc, -EPROTO);
		assert_non_null(strstr(err.msg, cases[i / 2].says));
		assert_int_equal(sherd_tls_feed(t, "x", 1, &err), -EPROTO); /* for good */
		assert_non_null(strstr(err.msg, cases[i / 2].says));
		sherd_tls_free(t);
	}
	sherd_tls_ctx_free(c);
}

/* ChaCha20 for whoever names it first, as a board without AES instructions does. */
static void the_slower_processor_chooses_the_cipher(void **state)
{
	static const char *const suites[] = {
		"TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256",
		"TLS_CHACHA20_POLY1305_SHA256",
		"TLS_AES_128_GCM_SHA256",
	};
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	struct sherd_error err;
	struct sherd_tls *t;
	struct peer p;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(suites); i++) {
		peer_open(&p, false, ours, "head");
		SSL_set_ciphersuites(p.ssl, suites[i]);
		assert_int_equal(sherd_tls_new(&t, c, true, NULL, &err), 0);
		assert_int_equal(peer_meet(&p, t, &err), 0);
		assert_string_equal(SSL_get_cipher_name(p.ssl),
				    i < 2 ? "TLS_CHACHA20_POLY1305_SHA256"
					  : "TLS_AES_128_GCM_SHA256");
		sherd_tls_free(t);
		peer_close(&p);
	}
	peer_open(&p, false, ours, "head");
	SSL_set_ciphersuites(p.ssl, "TLS_AES_256_GCM_SHA384");
	assert_int_equal(sherd_tls_new(&t, c, true, NULL, &err), 0);
	assert_int_equal(peer_meet(&p, t, &err), -EPROTO);
	SAYS(&err, "no shared cipher");
	sherd_tls_free(t);
	peer_close(&p);
	sherd_tls_ctx_free(c);
}

static void there_are_no_tickets_and_nothing_is_resumed(void **state)
{
	struct sherd_tls_ctx *c = open_ctx(ours, "kitchen");
	SSL_SESSION *session = NULL;
	struct sherd_error err;
	struct sherd_tls *t;
	struct peer p;
	char buf[8];

	(void)state;
	for (int i = 0; i < 2; i++) {
		peer_open(&p, false, ours, "head");
		if (session)
			SSL_set_session(p.ssl, session);
		assert_int_equal(sherd_tls_new(&t, c, true, NULL, &err), 0);
		assert_int_equal(peer_meet(&p, t, &err), 0);
		write_all(t, "data", 4);
		tls_to_peer(t, &p);
		assert_int_equal(SSL_read(p.ssl, buf, 8), 4);
		assert_int_equal(p.n_tickets, 0);
		assert_false(SSL_session_reused(p.ssl));
		SSL_SESSION_free(session);
		session = SSL_get1_session(p.ssl);
		sherd_tls_free(t);
		peer_close(&p);
	}
	SSL_SESSION_free(session);
	sherd_tls_ctx_free(c);
}

/* -------------------------------------------------------------------- files */

static int try_files(const char *ca, const char *cert, const char *key, struct sherd_error *err)
{
	char path[3][160];
	struct sherd_tls_ctx *c;
	int rc;

	snprintf(path[0], sizeof(path[0]), "%s/%s", dir, ca);
	snprintf(path[1], sizeof(path[1]), "%s/%s", dir, cert);
	snprintf(path[2], sizeof(path[2]), "%s/%s", dir, key);
	rc = sherd_tls_ctx_new(&c, path[0], path[1], path[2], err);
	assert_int_equal(!rc, c != NULL);
	sherd_tls_ctx_free(c);
	assert_int_equal(ERR_peek_error(), 0); /* nothing is left for whoever comes next */
	return rc;
}

static void files_that_others_can_read_or_write_are_refused(void **state)
{
	struct sherd_error err;
	char path[160];

	(void)state;
	snprintf(path, sizeof(path), "%s/head-key.pem", ours);
	for (int bit = 0; bit < 6; bit++) {
		chmod(path, 0600 | 1 << bit);
		assert_int_equal(try_files("ours/ca.pem", "ours/head.pem", "ours/head-key.pem",
					   &err),
				 -EPERM);
		SAYS(&err, path, "others can read", "chmod 600");
	}
	chmod(path, 0400);
	assert_int_equal(try_files("ours/ca.pem", "ours/head.pem", "ours/head-key.pem", &err), 0);
	if (!geteuid()) {
		assert_int_equal(chown(path, 1, 1), 0);
		assert_int_equal(try_files("ours/ca.pem", "ours/head.pem", "ours/head-key.pem",
					   &err),
				 -EPERM);
		SAYS(&err, "belongs to user 1");
		assert_int_equal(chown(path, 0, 0), 0);
	}
	snprintf(path, sizeof(path), "%s/ca.pem", ours);
	chmod(path, 0664);
	assert_int_equal(try_files("ours/ca.pem", "ours/head.pem", "ours/head-key.pem", &err),
			 -EPERM);
	SAYS(&err, path, "others can write", "chmod go-w");
	chmod(path, 0644);
	assert_int_equal(try_files("ours/ca.pem", "ours/head.pem", "ours/head-key.pem", &err), 0);
}

static void files_that_do_not_fit_are_refused_by_name(void **state)
{
	const struct forged old = { "o", NULL, NULL, -7200, -3600, 0 };
	struct sherd_error err;
	const struct {
		const char *ca, *cert, *key, *says;
	} cases[] = {
		{ "none.pem", "ours/head.pem", "ours/head-key.pem", "none.pem: cannot open" },
		{ "ours/ca.pem", "none.pem", "ours/head-key.pem", "none.pem: cannot open" },
		{ "ours/ca.pem", "ours/head.pem", "none.pem", "none.pem: cannot open" },
		{ "text", "ours/head.pem", "ours/head-key.pem", "text: holds no certificate" },
		{ "ours/ca.pem", "empty", "ours/head-key.pem", "empty: holds no certificate" },
		{ "ours/ca.pem", "damaged", "ours/head-key.pem",
		  "damaged: certificate 1 in it is damaged" },
		{ "ours/ca.pem", "ours/head.pem", "ours/head.pem", "head.pem: others can read" },
		{ "ours/ca.pem", "ours/head.pem", "secret", "secret: holds no private key" },
		{ "ours/ca.pem", "ours/head.pem", "locked", "locked: the key has a passphrase" },
		{ "ours/ca.pem", "ours/head.pem", "ours/kitchen-key.pem", "is not the key of" },
		{ "ours/kitchen.pem", "ours/head.pem", "ours/head-key.pem", "is no authority's" },
		{ "theirs/ca.pem", "ours/head.pem", "ours/head-key.pem",
		  "head.pem (\"head\") was not issued by our authority" },
		{ "ours/ca.pem", "ours/o.pem", "ours/o-key.pem", "o.pem (\"o\") has expired" },
		{ ".", "ours/head.pem", "ours/head-key.pem", "is a folder" },
	};

	(void)state;
	write_file("text", "This is no certificate.\n");
	write_file("empty", "");
	write_file("damaged", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
	write_file("secret", "hush\n");
	write_file("locked", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
			     "MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhw1kAsEMg2vQICCAAw\n"
			     "DAYIKoZIhvcNAgkFADAdBglghkgBZQMEAQIEEE01udp+/SH+KwotcUbz7qIEgZCd\n"
			     "sW0d87JOP0l4+vt20p+UZYlbgo233nkQwXcGZKYzzanJkQd0OX+baYxu86/XqbSG\n"
			     "2/3khcukcnn2MOFPJFu94jkv0PfwuWJv7vjdaqp1ZePR2GFdoVUHc8tgGcCft3Sk\n"
			     "i7UhL/gsXZWFidmfTINFeQ5MkI/58OsmKJTW9Q/MZI4ZSq2+SOh6PmO3NScRR3c=\n"
			     "-----END ENCRYPTED PRIVATE KEY-----\n");
	for (int i = 0; i < 2; i++) {
		char *path = in_dir(i ? "locked" : "secret");

		chmod(path, 0600);
		free(path);
	}
	forge(ours, "o", &old);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		if (!try_files(cases[i].ca, cases[i].cert, cases[i].key, &err))
			fail_msg("\"%s\" is not refused", cases[i].says);
		SAYS(&err, cases[i].says);
	}
}

static void a_clock_in_1970_is_seen_at_the_start(void **state)
{
	const struct forged early = { "e", NULL, NULL, 3600, 86400, 0 };
	struct sherd_error err;

	(void)state;
	forge(ours, "e", &early);
	assert_int_equal(try_files("ours/ca.pem", "ours/e.pem", "ours/e-key.pem", &err),
			 -EKEYEXPIRED);
	SAYS(&err, "e.pem", "not valid before", "the clock here says", "1970");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_side_without_a_certificate_is_refused),
		cmocka_unit_test(another_clusters_certificate_is_refused_by_either_side),
		cmocka_unit_test(a_refused_client_reads_why),
		cmocka_unit_test(a_certificate_out_of_its_time_is_refused_with_times_and_remedy),
		cmocka_unit_test(another_name_is_refused_and_both_are_said),
		cmocka_unit_test(names_are_taken_literally),
		cmocka_unit_test(a_name_that_no_node_has_is_refused_at_once),
		cmocka_unit_test(what_is_older_than_tls_1_3_is_refused),
		cmocka_unit_test(what_is_no_tls_is_said_to_be_none),
		cmocka_unit_test(the_slower_processor_chooses_the_cipher),
		cmocka_unit_test(there_are_no_tickets_and_nothing_is_resumed),
		cmocka_unit_test(files_that_others_can_read_or_write_are_refused),
		cmocka_unit_test(files_that_do_not_fit_are_refused_by_name),
		cmocka_unit_test(a_clock_in_1970_is_seen_at_the_start),
	};

	return cmocka_run_group_tests(tests, make_clusters, scratch_remove);
}
