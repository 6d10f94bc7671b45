/* SPDX-License-Identifier: MIT */
/* tls_peer: see tls_peer.h. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include "net/pem.h"
#include "tls_peer.h"

static void in_folder(const char *dir, const char *name, const char *suffix, char path[256])
{
	assert_true(snprintf(path, 256, "%s/%s%s", dir, name, suffix) < 256);
}

static void add_extension(X509 *x, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *e;

	X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
	assert_non_null(e);
	assert_true(X509_add_ext(x, e, -1));
	X509_EXTENSION_free(e);
}

static X509 *begin_cert(const struct forged *f, EVP_PKEY *key)
{
	X509 *x = X509_new();
	time_t now = time(NULL);

	assert_non_null(x);
	X509_set_version(x, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(x), random());
	X509_time_adj_ex(X509_getm_notBefore(x), 0, f->from, &now);
	X509_time_adj_ex(X509_getm_notAfter(x), 0, f->until, &now);
	if (f->common_name)
		X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
					   (const uint8_t *)f->common_name,
					   f->name_len ? (int)f->name_len : -1, -1, 0);
	X509_set_pubkey(x, key);
	return x;
}

static void write_pair(const char *dir, const char *name, X509 *x, EVP_PKEY *key)
{
	char path[256];
	FILE *f;

	in_folder(dir, name, ".pem", path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(PEM_write_X509(f, x));
	fclose(f);
	in_folder(dir, name, "-key.pem", path);
	f = fopen(path, "w");
	assert_non_null(f);
	assert_true(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL));
	fclose(f);
	chmod(path, 0600);
}

void forge(const char *dir, const char *name, const struct forged *f)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *ca_key;
	X509 *x = begin_cert(f, key);
	STACK_OF(X509) *ca;
	struct sherd_error err;
	char path[256];

	in_folder(dir, "ca", ".pem", path);
	assert_int_equal(sherd_pem_read_certs(path, true, &ca, &err), 0);
	in_folder(dir, "ca", "-key.pem", path);
	assert_int_equal(sherd_pem_read_key(path, &ca_key, &err), 0);
	X509_set_issuer_name(x, X509_get_subject_name(sk_X509_value(ca, 0)));
	if (f->alt_name)
		add_extension(x, sk_X509_value(ca, 0), NID_subject_alt_name, f->alt_name);
	add_extension(x, sk_X509_value(ca, 0), NID_ext_key_usage,
		      f->uses ? f->uses : "serverAuth,clientAuth");
	assert_true(X509_sign(x, ca_key, EVP_sha256()));
	write_pair(dir, name, x, key);
	X509_free(x);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
	sk_X509_pop_free(ca, X509_free);
}

void forge_authority(const char *dir, const struct forged *f)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *x = begin_cert(f, key);

	X509_set_issuer_name(x, X509_get_subject_name(x));
	add_extension(x, x, NID_basic_constraints, "critical,CA:TRUE");
	assert_true(X509_sign(x, key, EVP_sha256()));
	write_pair(dir, "ca", x, key);
	X509_free(x);
	EVP_PKEY_free(key);
}

/* --------------------------------------------------------------------- peer */

static void on_info(const SSL *ssl, int where, int value)
{
	struct peer *p = SSL_get_app_data(ssl);

	if (where & SSL_CB_ALERT)
		p->alert = value & 0xff;
}

static int on_ticket(SSL *ssl, SSL_SESSION *session)
{
	struct peer *p = SSL_get_app_data(ssl);

	(void)session;
	p->n_tickets++;
	return 0;
}

static int accept_all(int ok, X509_STORE_CTX *store)
{
	(void)ok;
	(void)store;
	return 1;
}

void peer_open(struct peer *p, bool server, const char *dir, const char *cert)
{
	char path[256];

	*p = (struct peer){ .ctx = SSL_CTX_new(TLS_method()) };
	assert_non_null(p->ctx);
	SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER, accept_all);
	SSL_CTX_set_info_callback(p->ctx, on_info);
	SSL_CTX_set_session_cache_mode(p->ctx, SSL_SESS_CACHE_CLIENT);
	SSL_CTX_sess_set_new_cb(p->ctx, on_ticket);
	if (cert) {
		in_folder(dir, cert, ".pem", path);
		assert_true(SSL_CTX_use_certificate_chain_file(p->ctx, path));
		in_folder(dir, cert, "-key.pem", path);
		assert_true(SSL_CTX_use_PrivateKey_file(p->ctx, path, SSL_FILETYPE_PEM));
	}
	p->ssl = SSL_new(p->ctx);
	p->in = BIO_new(BIO_s_mem());
	p->out = BIO_new(BIO_s_mem());
	BIO_set_mem_eof_return(p->in, -1);
	SSL_set_bio(p->ssl, p->in, p->out);
	SSL_set_app_data(p->ssl, p);
	if (server)
		SSL_set_accept_state(p->ssl);
	else
		SSL_set_connect_state(p->ssl);
}

void peer_close(struct peer *p)
{
	SSL_free(p->ssl);
	SSL_CTX_free(p->ctx);
	ERR_clear_error();
}

bool peer_shake(struct peer *p)
{
	bool over = SSL_do_handshake(p->ssl) == 1;
	char c;

	if (over) /* an alert may have come */
		SSL_peek(p->ssl, &c, 1);
	ERR_clear_error();
	return over;
}

int peer_to_tls(struct peer *p, struct sherd_tls *t, struct sherd_error *err)
{
	char *bytes;
	long n = BIO_get_mem_data(p->out, &bytes);
	int rc = n ? sherd_tls_feed(t, bytes, (size_t)n, err) : 0;

	(void)BIO_reset(p->out);
	return rc;
}

void tls_to_peer(struct sherd_tls *t, struct peer *p)
{
	const uint8_t *bytes;
	size_t n;

	while ((n = sherd_tls_pending(t, &bytes))) {
		assert_int_equal(BIO_write(p->in, bytes, (int)n), n);
		sherd_tls_sent(t, n);
	}
}

int peer_meet(struct peer *p, struct sherd_tls *t, struct sherd_error *err)
{
	const uint8_t *bytes;
	bool moved = true;
	int rc = 0;

	while (moved) {
		moved = sherd_tls_pending(t, &bytes) > 0;
		tls_to_peer(t, p);
		peer_shake(p);
		moved |= BIO_ctrl_pending(p->out) > 0;
		if (!rc)
			rc = peer_to_tls(p, t, err);
		(void)BIO_reset(p->out);
	}
	return rc;
}
