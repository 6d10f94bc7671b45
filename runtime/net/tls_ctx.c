/* SPDX-License-Identifier: MIT */
/*
 * tls_ctx: whom we trust, who we are, and what of TLS we speak. Whatever is wrong with the three
 * files is said here, at the start, and not by another node in the middle of the night.
 */
#include <openssl/err.h>
#include <stdlib.h>
#include "net/pem.h"
#include "net/tls_parts.h"
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#define MAX_CHAIN     4 /* certificates between a node's and the authority's, and some more */
#define MAX_CERT_LIST ((size_t)16 << 10) /* bytes of certificates that the other side may show */

/* ------------------------------------------------------------------ files */

static int load_authority(struct sherd_tls_ctx *c, const char *path, struct sherd_error *err)
{
	X509_STORE *store = SSL_CTX_get_cert_store(c->ssl);
	STACK_OF(X509) *certs;
	struct sherd_cert cert;
	int rc = sherd_pem_read_certs(path, true, &certs, err);

	for (int i = 0; !rc && i < sk_X509_num(certs); i++) {
		rc = sherd_cert_read(&cert, sk_X509_value(certs, i), err);
		if (!rc && !cert.authority)
			rc = sherd_fail(err, -EINVAL,
					"%s: certificate %d (\"%s\") is no authority's", path,
					i + 1, cert.name);
		else if (!rc && !X509_STORE_add_cert(store, sk_X509_value(certs, i)))
			rc = sherd_fail_oom(err, sizeof(cert), path);
		if (!i)
			memcpy(c->authority, cert.name, sizeof(c->authority));
	}
	sk_X509_pop_free(certs, X509_free);
	return rc;
}

/* Our own first, then those that lead to the authority, if any. */
static int load_cert(struct sherd_tls_ctx *c, const char *path, struct sherd_error *err)
{
	STACK_OF(X509) *certs;
	int rc = sherd_pem_read_certs(path, false, &certs, err);

	if (rc)
		return rc;
	if (!SSL_CTX_use_certificate(c->ssl, sk_X509_value(certs, 0)))
		rc = sherd_fail(err, -EINVAL, "%s: is no certificate for TLS: %s", path,
				ERR_reason_error_string(ERR_peek_error()));
	for (int i = 1; !rc && i < sk_X509_num(certs); i++)
		if (!SSL_CTX_add1_chain_cert(c->ssl, sk_X509_value(certs, i)))
			rc = sherd_fail(err, -EINVAL, "%s: certificate %d cannot be used", path,
					i + 1);
	sk_X509_pop_free(certs, X509_free);
	return rc;
}

static int load_key(struct sherd_tls_ctx *c, const char *path, const char *cert_path,
		    struct sherd_error *err)
{
	EVP_PKEY *key;
	int rc = sherd_pem_read_key(path, &key, err);

	if (rc)
		return rc;
	if (!SSL_CTX_use_PrivateKey(c->ssl, key) || !SSL_CTX_check_private_key(c->ssl))
		rc = sherd_fail(err, -EINVAL, "%s: is not the key of %s", path, cert_path);
	EVP_PKEY_free(key);
	return rc;
}

/* Would we accept ourselves? Then others may, too, whose clocks are right. */
static int check_own(struct sherd_tls_ctx *c, const char *path, struct sherd_error *err)
{
	X509 *own = SSL_CTX_get0_certificate(c->ssl);
	X509_STORE_CTX *store = X509_STORE_CTX_new();
	STACK_OF(X509) *chain = NULL;
	struct sherd_cert cert;
	int rc;

	SSL_CTX_get0_chain_certs(c->ssl, &chain);
	if (!store || !X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(c->ssl), own, chain)) {
		rc = sherd_fail(err, -ENOMEM, "%s: no memory to check it", path);
		goto free_store;
	}
	rc = sherd_cert_read(&cert, own, err);
	if (rc)
		sherd_fail_prefix(err, rc, "%s", path);
	else if (X509_verify_cert(store) != 1)
		rc = sherd_tls_fail_cert(store, path, c->authority, err);
	else if (!cert.name[0])
		rc = sherd_fail(err, -EINVAL, "%s: has no name that a node could have", path);
free_store:
	X509_STORE_CTX_free(store);
	return rc;
}

/* ---------------------------------------------------------------- settings */

static bool cpu_has_aes(void)
{
#if defined(__x86_64__)
	return __builtin_cpu_supports("aes");
#elif defined(__aarch64__) && defined(__linux__)
	return getauxval(AT_HWCAP) & 1 << 3; /* HWCAP_AES */
#else
	return false;
#endif
}

/*
 * Whoever lacks AES instructions names ChaCha20 first, and the server takes it then, whatever it
 * has itself. Without the option for middle boxes nothing in the stream looks like TLS 1.2.
 */
static bool configure(SSL_CTX *ssl)
{
	const char *aes = "TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256";
	const char *chacha = "TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

	SSL_CTX_set_options(ssl, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA |
					 SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_clear_options(ssl, SSL_OP_ENABLE_MIDDLEBOX_COMPAT);
	SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
			   sherd_tls_judge);
	SSL_CTX_set_verify_depth(ssl, MAX_CHAIN);
	SSL_CTX_set_max_cert_list(ssl, MAX_CERT_LIST);
	return SSL_CTX_set_min_proto_version(ssl, TLS1_3_VERSION) &&
	       SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) &&
	       SSL_CTX_set_num_tickets(ssl, 0) &&
	       SSL_CTX_set_ciphersuites(ssl, cpu_has_aes() ? aes : chacha) &&
	       SSL_CTX_set1_groups_list(ssl, "X25519:P-256");
}

int sherd_tls_ctx_new(struct sherd_tls_ctx **out, const char *ca_file, const char *cert_file,
		      const char *key_file, struct sherd_error *err)
{
	struct sherd_tls_ctx *c = sherd_calloc(1, sizeof(*c));
	int rc;

	*out = NULL;
	if (!c)
		return sherd_fail_oom(err, sizeof(*c), "TLS");
	c->ssl = SSL_CTX_new(TLS_method());
	c->queue = sherd_tls_queue_method();
	if (!c->ssl || !c->queue || !configure(c->ssl))
		rc = sherd_fail(err, -ENOTSUP, "OpenSSL cannot do TLS 1.3 here: %s",
				ERR_reason_error_string(ERR_peek_error()));
	else
		rc = load_authority(c, ca_file, err);
	if (!rc)
		rc = load_cert(c, cert_file, err);
	if (!rc)
		rc = load_key(c, key_file, cert_file, err);
	if (!rc)
		rc = check_own(c, cert_file, err);
	ERR_clear_error();
	if (!rc)
		*out = c;
	else
		sherd_tls_ctx_free(c);
	return rc;
}

void sherd_tls_ctx_free(struct sherd_tls_ctx *c)
{
	if (!c)
		return;
	SSL_CTX_free(c->ssl);
	BIO_meth_free(c->queue);
	free(c);
}
