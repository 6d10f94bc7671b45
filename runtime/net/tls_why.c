/* SPDX-License-Identifier: MIT */
/*
 * tls_why: why TLS failed, in a sentence for who runs the cluster. OpenSSL says "certificate verify
 * failed" for a clock that is wrong as for a board of another cluster; what helps is not the same.
 */
#include <openssl/err.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <time.h>
#include "net/tls_parts.h"

#define TOO_OLD                                                                                \
	"the other side has no TLS 1.3, and sherd speaks nothing older: this is no sherd, or " \
	"something "                                                                           \
	"between the two that takes TLS apart"

/* ------------------------------------------------------------ certificates */

static int fail_time(const char *whose, const struct sherd_cert *c, bool early,
		     struct sherd_error *err)
{
	char limit[SHERD_CERT_TIME], now[SHERD_CERT_TIME];

	sherd_cert_time(early ? c->from : c->until, limit);
	sherd_cert_time(time(NULL), now);
	if (early)
		return sherd_fail(
			err, -EKEYEXPIRED,
			"%s is not valid before %s, and the clock here says %s: a board without a "
			"clock battery wakes up in 1970; set the clock first (chrony, "
			"systemd-timesyncd or date -s), at boot before sherd is started",
			whose, limit, now);
	return sherd_fail(err, -EKEYEXPIRED,
			  "%s has expired on %s (the clock here says %s): make a new one where the "
			  "authority's key is, with sherd cluster add",
			  whose, limit, now);
}

int sherd_tls_fail_cert(X509_STORE_CTX *store, const char *whose, const char *authority,
			struct sherd_error *err)
{
	const X509 *x = X509_STORE_CTX_get_current_cert(store);
	int code = X509_STORE_CTX_get_error(store);
	struct sherd_cert c = { 0 };
	char name[320]; /* of a file, perhaps */

	if (!x || sherd_cert_read(&c, x, err))
		return sherd_fail(err, -EACCES, "%s cannot be read", whose);
	if (X509_STORE_CTX_get_error_depth(store) > 0 && c.authority)
		snprintf(name, sizeof(name), "the authority \"%s\"", c.name);
	else
		snprintf(name, sizeof(name), "%s (\"%s\")", whose, c.name);
	switch (code) {
	case X509_V_ERR_CERT_NOT_YET_VALID:
	case X509_V_ERR_CERT_HAS_EXPIRED:
		return fail_time(name, &c, code == X509_V_ERR_CERT_NOT_YET_VALID, err);
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_CERT_SIGNATURE_FAILURE:
		return sherd_fail(err, -EACCES,
				  "%s was not issued by our authority (\"%s\"): both sides need "
				  "certificates of one sherd cluster init",
				  name, authority);
	default:
		return sherd_fail(err, -EACCES, "%s is not accepted: %s", name,
				  X509_verify_cert_error_string(code));
	}
}

static int judge_name(struct sherd_tls *t, const X509 *x)
{
	struct sherd_cert c;
	int rc = sherd_cert_read(&c, x, &t->why);

	if (rc)
		return rc;
	if (!c.name[0])
		return sherd_fail(
			&t->why, -EACCES,
			"the other side's certificate has no name that a node could have");
	if (t->wanted[0] && !sherd_cert_has_name(x, t->wanted))
		return sherd_fail(
			&t->why, -EACCES,
			"the other side is \"%s\", and \"%s\" is wanted here: the address is "
			"another node's, or the certificates have been mixed up",
			c.name, t->wanted);
	memcpy(t->identity, t->wanted[0] ? t->wanted : c.name, sizeof(t->identity));
	return 0;
}

int sherd_tls_judge(int ok, X509_STORE_CTX *store)
{
	SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct sherd_tls *t = SSL_get_app_data(ssl);

	if (!ok)
		t->rc = sherd_tls_fail_cert(store, "the other side's certificate",
					    t->ctx->authority, &t->why);
	else if (X509_STORE_CTX_get_error_depth(store) == 0)
		t->rc = judge_name(t, X509_STORE_CTX_get_current_cert(store));
	if (ok && t->rc)
		X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
	return !t->rc;
}

/* ------------------------------------------------------------------- errors */

/* The other side has refused: an alert is all that it says. */
static int fail_alert(int alert, struct sherd_error *err)
{
	switch (alert) {
	case SSL_AD_PROTOCOL_VERSION:
		return sherd_fail(err, -EPROTO, TOO_OLD);
	case SSL_AD_CERTIFICATE_REQUIRED:
		return sherd_fail(err, -EACCES,
				  "the other side wants a certificate and has got none");
	case SSL_AD_UNKNOWN_CA:
		return sherd_fail(err, -EACCES,
				  "the other side does not accept us: our certificate is not of "
				  "its authority; both sides need certificates of one sherd "
				  "cluster init");
	case SSL_AD_CERTIFICATE_EXPIRED:
		return sherd_fail(err, -EACCES,
				  "the other side does not accept us: by its clock our certificate "
				  "has expired");
	case SSL_AD_BAD_CERTIFICATE:
		return sherd_fail(
			err, -EACCES,
			"the other side does not accept our certificate: it expected another name, "
			"or its clock is wrong (a board without a clock battery wakes up in 1970); "
			"what it says there tells which");
	default:
		return sherd_fail(err, -EPROTO, "the other side ended TLS: %s (alert %d)",
				  SSL_alert_desc_string_long(alert), alert);
	}
}

static int fail_reason(unsigned long code, struct sherd_error *err)
{
	int reason = ERR_GET_REASON(code);
	const char *text = ERR_reason_error_string(code);

	if (reason == ERR_R_MALLOC_FAILURE)
		return sherd_fail(err, -ENOMEM, "TLS: no memory");
	if (ERR_GET_LIB(code) == ERR_LIB_SSL && reason > SSL_AD_REASON_OFFSET)
		return fail_alert(reason - SSL_AD_REASON_OFFSET, err);
	switch (ERR_GET_LIB(code) == ERR_LIB_SSL ? reason : 0) {
	case SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE:
		return sherd_fail(err, -EACCES,
				  "the other side shows no certificate; every node needs one of "
				  "our authority (sherd cluster add)");
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_VERSION_TOO_LOW:
		return sherd_fail(err, -EPROTO, TOO_OLD);
	case SSL_R_DECRYPTION_FAILED_OR_BAD_RECORD_MAC:
		return sherd_fail(
			err, -EBADMSG,
			"TLS: what came was changed on its way, by a fault or by somebody");
	default:
		return sherd_fail(err, -EPROTO, "TLS: the other side breaks the protocol: %s",
				  text ? text : "no reason is known");
	}
}

void sherd_tls_explain(struct sherd_tls *t)
{
	if (!t->rc) /* the verifier has not said it already */
		t->rc = fail_reason(ERR_peek_error(), &t->why);
	ERR_clear_error();
}
