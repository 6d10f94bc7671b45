/* SPDX-License-Identifier: MIT */
/* tls_parts: what the files of the filter (tls*.c) share among themselves, and nobody else sees. */
#ifndef SHERD_TLS_PARTS_H
#define SHERD_TLS_PARTS_H

#include <openssl/ssl.h>
#include "net/cert.h"
#include "net/tls.h"

/*
 * Bytes for the socket, in blocks that never move: the kernel may be reading from one while more is
 * written behind it. BIO_s_mem() would move them.
 */
struct sherd_tls_queue {
	struct sherd_tls_block *first, *last;
	size_t size; /* bytes in all */
};

BIO_METHOD *sherd_tls_queue_method(void); /* BIO_meth_free() it */
BIO *sherd_tls_queue_bio(struct sherd_tls_queue *q, BIO_METHOD *method);
size_t sherd_tls_queue_front(const struct sherd_tls_queue *q, const uint8_t **data);
void sherd_tls_queue_drop(struct sherd_tls_queue *q, size_t n);
void sherd_tls_queue_free(struct sherd_tls_queue *q);

struct sherd_tls_ctx {
	SSL_CTX *ssl;
	BIO_METHOD *queue;
	char authority[SHERD_CERT_NAME]; /* its name, for messages */
};

struct sherd_tls {
	const struct sherd_tls_ctx *ctx;
	SSL *ssl;
	BIO *in; /* the SSL's */
	struct sherd_tls_queue out;
	bool server, done, closed; /* closed: by us */
	uint8_t head[5]; /* the stream's first bytes, until they are known to be TLS */
	size_t n_head;
	size_t answers; /* bytes pending that nobody here wrote: what reading alone set off */
	char wanted[SHERD_CERT_NAME]; /* who the other side has to be; "": anybody */
	char identity[SHERD_CERT_NAME];
	int rc; /* of the failure that there has been */
	struct sherd_error why; /* its sentence */
};

/* For SSL_CTX_set_verify(): judges each certificate of the other side's chain; sets rc and why. */
int sherd_tls_judge(int ok, X509_STORE_CTX *store);
/* What is wrong with a certificate of the chain that @store looked at: -EACCES, or -EKEYEXPIRED. */
int sherd_tls_fail_cert(X509_STORE_CTX *store, const char *whose, const char *authority,
			struct sherd_error *err);
/*
 * Sets rc and why of @t from OpenSSL's queue of errors, where the verifier has not; empties the
 * queue.
 */
void sherd_tls_explain(struct sherd_tls *t);

#endif
