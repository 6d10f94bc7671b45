/* SPDX-License-Identifier: MIT */
/*
 * netopt: what all sub-commands that speak to other boards have in common: who one is, whom one trusts, and the loop.
 */
#ifndef SHERD_NETOPT_H
#define SHERD_NETOPT_H

#include "net/loop.h"
#include "tool.h"

struct net_opts {
	const char *tls; /* folder of certificates; NULL: NETOPT_TLS */
	const char *io; /* the loop's rung */
	bool insecure;
	bool host_is_name; /* nobody gave a name: it is the machine's */
	int n_slots; /* of a ring to send rows from; 0: none */
	size_t slot_bytes;
};

#define NETOPT_TLS "/etc/sherd"

#define TOOL_NET_OPTS(o)                                                                            \
	{ 0, "tls", OPT_STR, &(o).tls, 0, 0, "DIR",                                                \
	  "folder with ca.pem and this machine's certificate and key, as `sherd cluster init` "     \
	  "makes them (default: " NETOPT_TLS ")" },                                                \
	{ 0, "insecure", OPT_FLAG, &(o).insecure, 0, 0, NULL,                                      \
	  "no TLS: whoever reaches the port can read, command and forge; for this machine alone, "  \
	  "or for a network that is private by other means (WireGuard)" },                         \
	{ 0, "io", OPT_STR, &(o).io, 0, 0, "NAME",                                                 \
	  "auto (the first that works), uring-zc, uring-5.19, uring or epoll" }

struct netopt {
	struct sherd_loop *loop;
	struct sherd_tls_ctx *tls; /* NULL: insecure */
	struct sherd_region *ring; /* NULL: none, or it could not be had */
	struct sherd_slots *slots; /* of the ring */
};

/*
 * Reads the certificate of @name and makes the loop. @addresses: whom it will listen at or dial, to be warned about
 * where --insecure is more than for this machine. TOOL_OK, or the tool's exit code, the sentence being out.
 */
int netopt_open(struct netopt *n, const struct tool *t, const struct net_opts *o, const char *name,
		const char *const *addresses, int n_addresses);
void netopt_close(struct netopt *n);

/* For stages, stores and metrics: @loop is the struct sherd_loop. */
int netopt_post(void *loop, void (*fn)(void *), void *arg);
int netopt_visit(void *loop, void (*fn)(void *), void *arg);

#endif
