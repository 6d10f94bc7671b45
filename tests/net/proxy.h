/* SPDX-License-Identifier: MIT */
/*
 * proxy: a faulty network between two real sockets: a thread that takes connections, makes one of
 * its own for each, and hands bytes on, late, piecemeal, damaged, or not at all. What can only be
 * done to packets (losing or reordering them) looks to a socket like being late.
 */
#ifndef TEST_PROXY_H
#define TEST_PROXY_H

#include <stdbool.h>
#include <stdint.h>

/* One direction. Bytes are counted for each connection, from 1; 0 means never. */
struct proxy_way {
	unsigned delay_us;
	unsigned piece; /* bytes that are handed on together; 1: a trickle */
	unsigned pause_us; /* after each piece */
	uint64_t corrupt; /* this byte comes with a bit flipped */
	uint64_t stall; /* after so many nothing is handed on any more, nor read */
	uint64_t cut; /* after so many both sides see an end */
	uint64_t reset; /* after so many both sides see a reset */
};

enum proxy_break { PROXY_CUT, PROXY_RESET };

struct proxy_params {
	const char *from; /* "host:port" at which it listens; NULL: some port of 127.0.0.1 */
	const char *to;
	struct proxy_way there, back; /* from who connects; to who connects */
	bool blackhole; /* connections are taken, and nothing ever happens on them */
};

struct proxy;

/* NULL: *why says why. @address: where it listens. */
struct proxy *proxy_start(const struct proxy_params *params, char address[64], const char **why);
/* From now on, for present connections as well. from and to stay. */
void proxy_change(struct proxy *p, const struct proxy_params *params);
/* Ends the present connections. */
void proxy_break(struct proxy *p, enum proxy_break how);
void proxy_stop(struct proxy *p);

#endif
