/* SPDX-License-Identifier: MIT */
/*
 * limits: the roofs of a device, measured on the spot - what `sherd bench` holds its results
 * against. Medians; each takes some tenths of a second once the kernels are compiled.
 */
#ifndef SHERD_LIMITS_H
#define SHERD_LIMITS_H

#include "device/device.h"

struct sherd_limits {
	double read; /* bytes/s from memory, all compute units: the better of the next two */
	double read_small, read_huge; /* ordinary pages; with huge pages asked for (0: not a CPU) */
	double dot; /* int8 operations/s (a multiply-add is two) through dot4.h, the best path */
	double dot_lanes, dot_tile; /* dot4() itself; tiles, where there are any (else 0) */
	double fma;		    /* float operations/s, fused multiply-adds counted as two */
	double launch;		    /* seconds a kernel in a long queue */
	double launch_wait;	    /* seconds a kernel that is waited for */
};

int sherd_limits_measure(struct sherd_device *dev, struct sherd_limits *limits,
			 struct sherd_error *err);

/* "key value" lines, and back: so that a child can measure. Parse: -EINVAL if one is missing. */
int sherd_limits_print(const struct sherd_limits *limits, char *buf, size_t size);
int sherd_limits_parse(struct sherd_limits *limits, const char *text);

#endif
