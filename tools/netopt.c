/* SPDX-License-Identifier: MIT */
/*
 * netopt: mutual TLS is what happens if nobody says anything.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/base.h"
#include "net/slots.h"
#include "net/tls.h"
#include "netopt.h"

/* "host:port" of this machine, and no other? A name that cannot be looked up is none. */
static bool is_loopback(const char *address)
{
	const struct addrinfo hints = { .ai_socktype = SOCK_STREAM };
	const char *colon = strrchr(address, ':');
	char host[256];
	struct addrinfo *found, *a;
	bool all = true;
	size_t n;

	if (!colon || colon == address)
		return false;
	n = (size_t)(colon - address);
	if (address[0] == '[' && colon[-1] == ']') {
		address++;
		n -= 2;
	}
	if (n >= sizeof(host))
		return false;
	memcpy(host, address, n);
	host[n] = '\0';
	if (getaddrinfo(host, NULL, &hints, &found))
		return false;
	for (a = found; a; a = a->ai_next) {
		const struct sockaddr_in *v4 = (const void *)a->ai_addr;
		const struct sockaddr_in6 *v6 = (const void *)a->ai_addr;

		all &= a->ai_family == AF_INET	? ntohl(v4->sin_addr.s_addr) >> 24 == 127 :
		       a->ai_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&v6->sin6_addr) :
						  false;
	}
	freeaddrinfo(found);
	return all;
}

static void warn(const char *const *addresses, int n)
{
	for (int i = 0; i < n; i++)
		if (!is_loopback(addresses[i])) {
			fprintf(stderr,
				"sherd: WARNING: --insecure with %s: whoever reaches that network can read the "
				"texts, command the nodes and forge their answers. `sherd cluster init` makes "
				"certificates.\n",
				addresses[i]);
			return;
		}
}

static int read_certificate(struct netopt *n, const struct tool *t, const struct net_opts *o,
			    const char *name)
{
	const char *dir = o->tls ? o->tls : NETOPT_TLS;
	char *ca = sherd_asprintf("%s/ca.pem", dir), *cert = sherd_asprintf("%s/%s.pem", dir, name);
	char *key = sherd_asprintf("%s/%s-key.pem", dir, name);
	struct sherd_error err;
	int rc = TOOL_OK;

	if (!ca || !cert || !key)
		rc = tool_failf(t, "out of memory");
	else if (access(ca, R_OK) && errno == ENOENT)
		rc = tool_failf(
			t,
			"%s is not there: `sherd cluster init` makes certificates (--tls DIR says where "
			"they are; --insecure does without, on this machine or a private network)",
			ca);
	else if (access(cert, R_OK) && errno == ENOENT && o->host_is_name)
		rc = tool_failf(t, "%s is not there: %s is this machine's name; --name gives another",
				cert, name);
	else if (sherd_tls_ctx_new(&n->tls, ca, cert, key, &err))
		rc = tool_fail(t, &err);
	free(ca);
	free(cert);
	free(key);
	return rc;
}

/* Rows can be sent without it, too. */
static void make_ring(struct netopt *n, const struct net_opts *o)
{
	struct sherd_error err;

	if (!o->n_slots)
		return;
	if (sherd_ring_create(&n->ring, o->n_slots, o->slot_bytes, NULL, &err)) {
		fprintf(stderr, "sherd: rows are sent from ordinary memory: %s\n", err.msg);
		return;
	}
	if (!sherd_slots_new(&n->slots, n->ring, &err))
		return;
	sherd_region_close(n->ring);
	n->ring = NULL;
}

int netopt_open(struct netopt *n, const struct tool *t, const struct net_opts *o, const char *name,
		const char *const *addresses, int n_addresses)
{
	struct sherd_loop_params p = { .io = o->io };
	struct sherd_error err;
	int rc;

	*n = (struct netopt){ 0 };
	if (!sherd_io_known(o->io))
		return tool_usage(
			t, "--io: '%s' is none of auto, uring-zc, uring-5.19, uring and epoll",
			o->io);
	if (o->insecure && o->tls)
		return tool_usage(t, "--tls and --insecure are opposites");
	if (o->insecure) {
		warn(addresses, n_addresses);
	} else {
		rc = read_certificate(n, t, o, name);
		if (rc)
			return rc;
		p.tls = n->tls;
	}
	make_ring(n, o);
	p.ring = n->ring;
	if (!sherd_loop_create(&n->loop, &p, &err))
		return TOOL_OK;
	netopt_close(n);
	return tool_fail(t, &err);
}

void netopt_close(struct netopt *n)
{
	sherd_loop_free(n->loop); /* gives back what is on its way */
	sherd_slots_free(n->slots);
	if (n->ring)
		sherd_region_close(n->ring);
	sherd_tls_ctx_free(n->tls);
	*n = (struct netopt){ 0 };
}

int netopt_post(void *loop, void (*fn)(void *), void *arg)
{
	return sherd_loop_post(loop, fn, arg);
}

int netopt_visit(void *loop, void (*fn)(void *), void *arg)
{
	return sherd_loop_visit(loop, fn, arg);
}
