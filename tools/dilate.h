/* SPDX-License-Identifier: MIT */
/*
 * dilate: a slower board, imitated for benchmarks. What is computed takes @factor times as long,
 * and the machine is idle for the rest: so several boards fit on one machine, each with its cores
 * to itself for its share of the time, and what the network takes keeps its proportion.
 */
#ifndef SHERD_TOOL_DILATE_H
#define SHERD_TOOL_DILATE_H

#include <stdbool.h>

struct dilation {
	float factor; /* <= 1: nothing is done */
	/* of the device, and it is the CPU: processor time tells what the work took */
	bool one_thread;
	double start, cpu;
};

void dilate_begin(struct dilation *d);
/* Sleeps until @factor times what the work took has passed since dilate_begin(). */
void dilate_end(const struct dilation *d);

#endif
