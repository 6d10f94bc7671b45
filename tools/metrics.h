/* SPDX-License-Identifier: MIT */
/*
 * metrics: a node's numbers for Prometheus, as text over HTTP on a port of its own. One connection
 * at a time, on a thread of its own, each for two seconds at most: who scrapes slowly, or sends
 * nonsense, keeps the next one waiting so long, and the node not at all.
 */
#ifndef SHERD_METRICS_H
#define SHERD_METRICS_H

#include "sherd.h"

struct json_t;
struct metrics;

/*
 * Listens at "host:port". @status is called on the loop's thread, where @post brings it, and gives
 * a new reference to what sherd_node_status() says.
 */
int metrics_open(struct metrics **m, const char *address, struct json_t *(*status)(void *ctx),
		 void *ctx, int (*post)(void *loop, void (*fn)(void *), void *arg), void *loop,
		 struct sherd_error *err);
/* Call when the loop runs no more. */
void metrics_close(struct metrics *m);

/* The text of a status: malloc'd; NULL: no memory. */
char *metrics_text(const struct json_t *status);

#endif
