/* SPDX-License-Identifier: MIT */
/* prime: which DRM render nodes take a dma-buf of ours - what a GPU's open driver does with it. */
#ifndef SHERD_PRIME_H
#define SHERD_PRIME_H

#include "base/base.h"

struct sherd_prime {
	char node[32]; /* "/dev/dri/renderD128" */
	char driver[64]; /* "panfrost 1.2.0" */
	bool imports;
	struct sherd_error why; /* if it does not */
};

/*
 * Every render node of this machine; imports @dmabuf into each, for a moment. -1: no dma-buf can be
 * had, and none is tried. *list is malloc'd.
 */
int sherd_prime_list(struct sherd_prime **list, int *n, int dmabuf, struct sherd_error *err);

#endif
