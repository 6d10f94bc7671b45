/* SPDX-License-Identifier: MIT */
/* The kernel's trace events: what happened, when, and how long it took. */
#ifndef TRACE_H
#define TRACE_H

#include <stdbool.h>
#include <stdint.h>

/* Events by their names below events/, as in "sherd/sherd_pin"; the buffer is emptied before. */
bool trace_start(const char *const *events);
void trace_stop(const char *const *events);

struct traced {
	double at; /* seconds */
	int pid; /* who did it */
	/* the event's name and what it says: "sherd_pin: bytes=4096 segments=1 ns=9" */
	char what[256];
};

/* Calls fn with all that was traced, oldest first. */
void trace_each(void (*fn)(const struct traced *event, void *arg), void *arg);
uint64_t traced_number(const struct traced *event, const char *key);
int trace_count(const char *event, uint64_t bytes);

#endif
