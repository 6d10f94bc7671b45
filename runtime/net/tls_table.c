/* SPDX-License-Identifier: MIT */
/*
 * tls_table: TLS, as the loop asks for it.
 */
#include "net/tls.h"
#include "net/tls_ops.h"

const struct sherd_tls_ops sherd_tls_ops = {
	.open = sherd_tls_new,
	.feed = sherd_tls_feed,
	.read = sherd_tls_read,
	.write = sherd_tls_write,
	.pending = sherd_tls_pending,
	.sent = sherd_tls_sent,
	.done = sherd_tls_done,
	.identity = sherd_tls_identity,
	.close = sherd_tls_close,
	.free = sherd_tls_free,
};
