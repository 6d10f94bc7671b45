/* SPDX-License-Identifier: MIT */
/*
 * tls_ops: what the loop asks of whatever encrypts a link: a filter between bytes of the stream and
 * bytes of the socket, which itself knows no sockets. A table, so that the loop can be tested above
 * a filter that is seen through.
 */
#ifndef SHERD_TLS_OPS_H
#define SHERD_TLS_OPS_H

#include <sys/types.h>
#include "base/base.h"

struct sherd_tls;
struct sherd_tls_ctx;

struct sherd_tls_ops {
	/* @name: who the other side must be, to a client; NULL: anybody of our authority. */
	int (*open)(struct sherd_tls **t, struct sherd_tls_ctx *ctx, bool server, const char *name,
		    struct sherd_error *err);
	/*
	 * Bytes from the socket; the handshake goes on by itself. 0 bytes: their end; not 0, if
	 * that was not to be expected.
	 */
	int (*feed)(struct sherd_tls *t, const void *cipher, size_t n, struct sherd_error *err);
	/* Bytes of the stream; 0: none now; -EPIPE: the other side has closed it cleanly. */
	ssize_t (*read)(struct sherd_tls *t, void *plain, size_t n, struct sherd_error *err);
	/* All of @plain is taken; only when done. */
	int (*write)(struct sherd_tls *t, const void *plain, size_t n, struct sherd_error *err);
	/* Bytes for the socket; when they are sent there may be more. */
	size_t (*pending)(const struct sherd_tls *t, const uint8_t **cipher);
	void (*sent)(struct sherd_tls *t, size_t n);
	/* The handshake has ended, and the other side is who it should be. */
	bool (*done)(const struct sherd_tls *t);
	const char *(*identity)(const struct sherd_tls *t);
	/* Nothing more will be written: says so to the other side. */
	int (*close)(struct sherd_tls *t);
	void (*free)(struct sherd_tls *t);
};

/* tls.h's */
extern const struct sherd_tls_ops sherd_tls_filter;

#endif
