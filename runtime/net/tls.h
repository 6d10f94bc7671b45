/* SPDX-License-Identifier: MIT */
/*
 * tls: mutual TLS 1.3 as a filter between bytes and bytes. It knows no sockets: what came from one
 * is fed in, what is to go out on one is taken out, so that any loop can drive it, and a test
 * without a network.
 *
 *	socket -> sherd_tls_feed()		sherd_tls_read() -> frames
 *	socket <- sherd_tls_pending(), _sent()	sherd_tls_write() <- frames
 *
 * Both sides show a certificate of one authority (`sherd cluster init` makes it); the name in it is
 * who a node is. AES-128-GCM where both processors have AES instructions, ChaCha20-Poly1305
 * elsewhere. No earlier version, no resumption, no early data.
 *
 * Whoever drives a filter does this, on one thread:
 *
 *	sherd_tls_new()
 *	always: send what is pending (a client has something at once), also after a failure: it
 *		is the alert that tells the other side why
 *	on bytes: sherd_tls_feed(), then sherd_tls_read() until it gives 0
 *	on the stream's end: sherd_tls_feed() with no bytes: was it to be expected?
 *	from sherd_tls_done() on: sherd_tls_write()
 *	at the end: sherd_tls_close(), send what is pending, sherd_tls_free()
 *
 * A failure is for good: every later call returns it again, with the same sentence.
 */
#ifndef SHERD_TLS_H
#define SHERD_TLS_H

#include <sys/types.h>
#include "base/base.h"

struct sherd_tls_ctx;
struct sherd_tls;

/* Bytes fed and not read yet may be so many; more says that nobody reads. */
#define SHERD_TLS_MAX_UNREAD ((size_t)4 << 20)

/*
 * Who we are and whom we trust, from files in PEM form; any number of filters share it, and it
 * outlives them. Refused with a sentence: a key that others can read, an authority that others
 * could replace, files that do not belong together, a certificate that is not valid now
 * (-EKEYEXPIRED; a board without a clock battery wakes up in 1970).
 */
int sherd_tls_ctx_new(struct sherd_tls_ctx **c, const char *ca_file, const char *cert_file,
		      const char *key_file, struct sherd_error *err);
void sherd_tls_ctx_free(struct sherd_tls_ctx *c);

/*
 * One connection's filter. @name: who the other side has to be; NULL: anybody of our authority,
 * which is then for the caller to judge (sherd_tls_identity()).
 */
int sherd_tls_new(struct sherd_tls **t, struct sherd_tls_ctx *ctx, bool server, const char *name,
		  struct sherd_error *err);
/*
 * Takes all @n bytes that came from the socket. @n = 0: the stream has ended; 0 if the other side
 * had said goodbye before, else -ECONNRESET.
 *
 * -EACCES: we do not accept who that is, or that side does not accept us; -EKEYEXPIRED: by our
 * clock its certificate is not valid. -EPROTO: this is no TLS, or none that we speak. -EBADMSG:
 * damaged. -ENOBUFS: too much of it is unread.
 */
int sherd_tls_feed(struct sherd_tls *t, const void *cipher, size_t n, struct sherd_error *err);
/*
 * Up to @n bytes of what the other side wrote; 0: nothing now; -EPIPE: it said goodbye and will
 * write no more; else as sherd_tls_feed(). A client is done before the server has looked at its
 * certificate: that it was refused is learnt here.
 */
ssize_t sherd_tls_read(struct sherd_tls *t, void *plain, size_t n, struct sherd_error *err);
/* All of @plain, or a failure. -ENOTCONN before sherd_tls_done(), and after sherd_tls_close(). */
int sherd_tls_write(struct sherd_tls *t, const void *plain, size_t n, struct sherd_error *err);

/*
 * How many bytes there are for the socket at *@cipher; 0: none. They stay where they are until
 * sherd_tls_sent() has taken them, whatever is fed, read or written meanwhile, and more may lie
 * elsewhere: ask again when these are sent.
 */
size_t sherd_tls_pending(const struct sherd_tls *t, const uint8_t **cipher);
/* The first @n of the pending bytes need not be kept any more. */
void sherd_tls_sent(struct sherd_tls *t, size_t n);

/* The other side is who it should be. */
bool sherd_tls_done(const struct sherd_tls *t);
/*
 * The name in the other side's certificate: the one that was asked for, else the first. "" before
 * sherd_tls_done().
 */
const char *sherd_tls_identity(const struct sherd_tls *t);
/*
 * Goodbye: nothing can be written any more, and what is pending then ends with a close_notify. 0 or
 * the failure that there has been.
 */
int sherd_tls_close(struct sherd_tls *t);
void sherd_tls_free(struct sherd_tls *t); /* NULL is fine */

#endif
