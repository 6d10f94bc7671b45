/* SPDX-License-Identifier: MIT */
/*
 * tls_peer: for tests of the TLS filter, another side that does what ours never would - no
 * certificate, an old version, keys renewed for ever - and certificates that no honest authority
 * gives out. Plain OpenSSL over memory, so that it also is a second opinion.
 */
#ifndef SHERD_TEST_TLS_PEER_H
#define SHERD_TEST_TLS_PEER_H

#include <openssl/ssl.h>
#include "net/tls.h"

/* What a certificate is to say; times in seconds from now. */
struct forged {
	const char *common_name,
		*alt_name; /* NULL: none; alt_name is OpenSSL's text ("DNS:kitchen") */
	const char *uses; /* NULL: serverAuth,clientAuth */
	long from, until;
	size_t name_len; /* of common_name, where it has a NUL; 0: as strlen() has it */
};

/*
 * Writes NAME.pem and NAME-key.pem into @dir, signed by the authority that is there
 * (sherd_ca_init()). Ends the test on failure.
 */
void forge(const char *dir, const char *name, const struct forged *f);
/* The same for ca.pem and ca-key.pem themselves. */
void forge_authority(const char *dir, const struct forged *f);

struct peer {
	SSL_CTX *ctx;
	SSL *ssl;
	BIO *in, *out;
	int alert; /* that it has sent or received; 0: none */
	int n_tickets;
};

/* @cert: NAME in @dir; NULL: it has none. It accepts any certificate of the other side. */
void peer_open(struct peer *p, bool server, const char *dir, const char *cert);
void peer_close(struct peer *p);
/* Shakes hands as far as that goes; true once it is over. */
bool peer_shake(struct peer *p);
/* Moves what there is, both ways, until nothing moves; the first failure of @t's. */
int peer_meet(struct peer *p, struct sherd_tls *t, struct sherd_error *err);
/* What the peer has to say, to @t. */
int peer_to_tls(struct peer *p, struct sherd_tls *t, struct sherd_error *err);
void tls_to_peer(struct sherd_tls *t, struct peer *p);

#endif
