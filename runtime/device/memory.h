/* SPDX-License-Identifier: MIT */
/* memory: what a process takes of it, from /proc/self, and how much of that is mapped weights. */
#ifndef SHERD_MEMORY_H
#define SHERD_MEMORY_H

#include "base/base.h"

struct sherd_memory {
	uint64_t peak;	  /* most that was resident: VmHWM */
	uint64_t pss;	  /* resident now, shared pages by share */
	uint64_t weights; /* of pss: mappings of files that the caller named */
	uint64_t anon; /* resident now, and nobody's file: RssAnon */
};

/*
 * @weights: beginnings of the paths of the mappings to count as weights, as /proc/self/smaps shows
 * them ("/memfd:" for memfds). What /proc doesn't tell is 0.
 */
void sherd_memory_read(struct sherd_memory *m, const char *const *weights, int n_weights);

/* Seconds of CPU time that this process and its threads have used. */
double sherd_cpu_seconds(void);

#endif
