/* SPDX-License-Identifier: MIT */
/*
 * probe: what a link between two boards is worth, measured over a link of its own, with frames of
 * the protocol, TLS included where there is TLS: that is how rows will travel, too. The round trip
 * is the median of some PINGs. For the bandwidth pieces of nothing are sent, as many at a time as
 * are acknowledged quickly, for half a second or 8 MiB, whichever comes first.
 *
 *	who dials			node
 *	HELLO probe	->
 *			<-		WELCOME
 *	PING ...	->
 *			<-		PONG ...
 *	FILE ...	->
 *			<-		HAVE ... (bytes in the session's field)
 */
#ifndef SHERD_NET_PROBE_H
#define SHERD_NET_PROBE_H

#include "net/net.h"

#define SHERD_PROBE_PIECE (16u << 10) /* 1.3 s at 100 kbit/s */
#define SHERD_PROBE_BYTES (8u << 20) /* more is refused */

struct sherd_probe;

struct sherd_probe_result {
	double mbit, rtt_us;
};

struct sherd_probe_params {
	struct sherd_net *net;
	const char *name, *address; /* of the node */
	/* Once: @why is NULL, or says why there is no result. */
	void (*ended)(void *ctx, const struct sherd_error *why, const struct sherd_probe_result *r);
	void *ctx;
};

/* Dials at once; ends within some 10 s, whatever happens. The strings must outlive it. */
int sherd_probe_new(struct sherd_probe **p, const struct sherd_probe_params *params,
		    struct sherd_error *err);
/* At any time, from within ended() too. */
void sherd_probe_free(struct sherd_probe *p);

#endif
