/* SPDX-License-Identifier: MIT */
/*
 * dilate: a slower board, imitated for benchmarks. What is computed takes @factor times as long,
 * and the machine is idle for the rest: so several boards fit on one machine, each with its cores
 * to itself for its share of the time, and what the network takes keeps its proportion.
 *
 * Boards of a pipeline begin together: one's end is the other's beginning. Real ones do not compete for
 * memory and caches then. Those that share a file take turns: who waits sleeps the less afterwards,
 * and loses nothing as long as there are no more boards than @factor.
 */
#ifndef SHERD_TOOL_DILATE_H
#define SHERD_TOOL_DILATE_H

#include <stdbool.h>
#include "base/base.h"

struct dilation {
	float factor; /* <= 1: nothing is done */
	/* of the device, and it is the CPU: processor time tells what the work took */
	bool one_thread;
	int turns; /* what dilate_open() gave, or -1: no turns are taken */
	double start, begun, cpu;
};

/* The file for turns at @path, made if it is not there; @path NULL: -1. Closed with close(). */
int dilate_open(int *turns, const char *path, struct sherd_error *err);

void dilate_begin(struct dilation *d);
/* Sleeps until @factor times what the work took has passed since dilate_begin(). */
void dilate_end(const struct dilation *d);

#endif
