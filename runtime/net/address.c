/* SPDX-License-Identifier: MIT */
/* address: "host:port" and what the kernel wants instead of it. */
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include "net/io.h"

/* Longer names than DNS has are no names. */
#define MAX_HOST 255

static int check_port(const char *port, const char *address, struct sherd_error *err)
{
	size_t n = strspn(port, "0123456789");

	if (n && n < 6 && !port[n] && atoi(port) < 65536)
		return 0;
	return sherd_fail(err, -EINVAL, "\"%s\": the port, \"%s\", is no number up to 65535",
			  address, port);
}

int sherd_address_split(const char *address, char *host, char port[8], struct sherd_error *err)
{
	const char *colon = strrchr(address, ':'), *end;
	int rc;

	if (!colon || strlen(address) >= SHERD_ADDRESS_MAX || colon - address > MAX_HOST)
		return sherd_fail(err, -EINVAL,
				  "\"%.80s\" is no address: host:port, or [v6]:port, is one",
				  address);
	rc = check_port(colon + 1, address, err);
	if (rc)
		return rc;
	snprintf(port, 8, "%s", colon + 1);
	end = colon;
	if (*address == '[' && colon - address >= 2 && colon[-1] == ']') {
		address++;
		end--;
	} else if (memchr(address, ':', colon - address)) {
		return sherd_fail(err, -EINVAL,
				  "\"%s\": an address of IPv6 goes in brackets: [v6]:port",
				  address);
	}
	memcpy(host, address, end - address);
	host[end - address] = 0;
	return 0;
}

int sherd_address_find(const char *host, const char *port, int flags,
		       struct sockaddr_storage to[SHERD_MAX_ADDRESSES], struct sherd_error *err)
{
	const struct addrinfo hints = {
		.ai_flags = flags | AI_NUMERICSERV,
		.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,
	};
	struct addrinfo *list, *a;
	int rc = getaddrinfo(*host ? host : NULL, port, &hints, &list), n = 0;

	if (rc)
		return sherd_fail(err, -EHOSTUNREACH, "%s is no known host: %s", host,
				  rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	for (a = list; a && n < SHERD_MAX_ADDRESSES; a = a->ai_next)
		if (a->ai_family == AF_INET || a->ai_family == AF_INET6)
			memcpy(&to[n++], a->ai_addr, a->ai_addrlen);
	freeaddrinfo(list);
	return n ? n : sherd_fail(err, -EHOSTUNREACH, "%s has no IP address", host);
}

void sherd_address_print(const struct sockaddr_storage *a, char text[64])
{
	const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)a;
	const struct sockaddr_in *four = (const struct sockaddr_in *)a;
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->ss_family == AF_INET6) {
		inet_ntop(AF_INET6, &six->sin6_addr, host, sizeof(host));
		snprintf(text, 64, "[%s]:%u", host, ntohs(six->sin6_port));
	} else {
		inet_ntop(AF_INET, &four->sin_addr, host, sizeof(host));
		snprintf(text, 64, "%s:%u", host, ntohs(four->sin_port));
	}
}
