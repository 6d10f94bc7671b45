/* SPDX-License-Identifier: MIT */
/* tls_ops: the filter that a loop with a TLS context takes, unless it is given another. */
#include "net/tls.h"
#include "net/tls_ops.h"

const struct sherd_tls_ops sherd_tls_filter = {
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
