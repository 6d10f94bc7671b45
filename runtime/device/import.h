/* SPDX-License-Identifier: MIT */
/*
 * import: parts of a region as buffers of a device - the same memory where the device can share it,
 * a copy where not. In this order, and with the reason why an earlier way was not taken:
 *
 *   in place   a CPU device reads the mapping (CL_MEM_USE_HOST_PTR)
 *   dma-buf    windows of the region through cl_khr_external_memory_dma_buf or cl_arm_import_memory
 *   host       the same windows by their addresses, through cl_arm_import_memory
 *   copy
 *
 * A window holds as many parts as fit, so that a model needs some dozens and not hundreds of them.
 * A kernel looks at its first and last bytes, since a driver that takes a window is not yet one
 * that shows the right pages.
 *
 * Parts of a shard are read-only to the device, which owns them from the import on. Parts of a ring
 * may be written by both sides, in turn: the device has one between sherd_import_acquire() and
 * sherd_import_release(), the CPU, or a network card, outside. Each is a slot's, which it has to
 * itself, and an import of its own: one slot may be the device's while another is the CPU's. They
 * are never copies.
 *
 *	sherd_window_begin(slot, SHERD_ACCESS_WRITE, &err);
 *	fill(slot->data);
 *	sherd_window_end(slot, SHERD_ACCESS_WRITE, &err);
 *	sherd_import_acquire(&im, i, &err);
 *	enqueue_what_uses(parts[i].mem);
 *	sherd_import_release(&im, i, &err);
 *	sherd_window_begin(slot, SHERD_ACCESS_READ, &err);
 *	send(slot->data);
 *	sherd_window_end(slot, SHERD_ACCESS_READ, &err);
 */
#ifndef SHERD_IMPORT_H
#define SHERD_IMPORT_H

#include "device/device.h"
#include "region/region.h"

enum sherd_import_way {
	SHERD_IMPORT_IN_PLACE,
	SHERD_IMPORT_DMA_BUF_KHR,
	SHERD_IMPORT_DMA_BUF_ARM,
	SHERD_IMPORT_HOST_ARM,
	SHERD_IMPORT_COPY,
	SHERD_N_IMPORTS,
};

/* Bytes that a device shall read. @mem is the device's buffer of them, after the import. */
struct sherd_part {
	const void *data;
	size_t size;
	cl_mem mem;
};

struct sherd_import {
	enum sherd_import_way way;
	struct sherd_error refused[SHERD_N_IMPORTS]; /* "", or why an earlier way was not taken */
	struct sherd_device *dev;
	bool writable; /* parts of a ring */
	struct sherd_part *parts; /* the caller's, by rising address */
	int n_parts;
	struct sherd_import_window *windows; /* private */
	int n_windows;
};

/* "in place", "dma-buf (cl_khr_external_memory_dma_buf)", ... */
const char *sherd_import_name(enum sherd_import_way way);
/* "in-place", "khr", "arm-dma-buf", "arm-host", "copy", and back (-1: none). */
const char *sherd_import_word(enum sherd_import_way way);
int sherd_import_find(const char *word);
/* Whether @dev announces what @way needs; NULL, or what is missing. */
const char *sherd_import_lacks(const struct sherd_device *dev, enum sherd_import_way way);

/*
 * Makes a buffer of each of @parts, which are sorted, lie in @region, do not overlap, and stay
 * where they are as long as @im. @region may be NULL: then they are read-only, and only what needs
 * none is tried. @device: what `sherd device-test --device` knows the device by, for a first test
 * in a child process of ways that may crash a driver; NULL: no test. On failure (no room for a
 * copy, or a ring that can't be shared) nothing is left but @im->refused. End with
 * sherd_import_close(), which releases the buffers, before the region is closed.
 */
int sherd_import_open(struct sherd_import *im, struct sherd_device *dev, const char *device,
		      struct sherd_region *region, struct sherd_part *parts, int n_parts,
		      struct sherd_error *err);
/* The same by that way alone, and untested. */
int sherd_import_try(struct sherd_import *im, struct sherd_device *dev, struct sherd_region *region,
		     struct sherd_part *parts, int n_parts, enum sherd_import_way way,
		     struct sherd_error *err);
void sherd_import_close(struct sherd_import *im);
/*
 * The way to import slots of @ring one by one, by sherd_import_try(), as they come to be used: what
 * sherd_import_open() would try first, found without a look at the ring's bytes. -EOPNOTSUPP: none.
 */
int sherd_import_choose(struct sherd_device *dev, const char *device, struct sherd_region *ring,
			enum sherd_import_way *way, struct sherd_error *err);

/*
 * Around what a device does with a ring's part, by its number: what is enqueued after acquire may
 * use it, and when release returns, whichever way it came by, the device is done with it. Caches
 * are not told by these: sherd_window_begin() and sherd_window_end() of the slot do that, and stand
 * outside, as above.
 */
int sherd_import_acquire(struct sherd_import *im, int part, struct sherd_error *err);
int sherd_import_release(struct sherd_import *im, int part, struct sherd_error *err);
/* What must not be done with a ring that came this way; NULL: nothing that is not said above. */
const char *sherd_import_caveat(const struct sherd_import *im);
/*
 * What is enqueued after this does not use it: a later release waits for no more than what came
 * before.
 */
int sherd_import_give_back(struct sherd_import *im, int part, struct sherd_error *err);

/*
 * What a sample is held by and imported by, and whether it is a shard's or a ring's, which is
 * written, too.
 */
struct sherd_import_trial {
	const char *way, *rung;
	bool ring;
	size_t bytes; /* 0: 256 KiB */
};
/*
 * What an import of a sample takes: seconds to pin it, to import it, and memory of the process's
 * own.
 */
struct sherd_import_cost {
	double hold_s, import_s;
	uint64_t bytes, anon;
};
/*
 * 0: @dev imports a sample, sees its bytes, and where it is a ring's gives slots back with its own;
 * -EBADE and why: it does not. For that child, and for measuring.
 */
int sherd_import_selftest(struct sherd_device *dev, const struct sherd_import_trial *trial,
			  struct sherd_import_cost *cost, struct sherd_error *err);
/* 0: a child has done so, now or at an earlier start. */
int sherd_import_prove(struct sherd_device *dev, const char *device, enum sherd_import_way way,
		       const struct sherd_region *region, struct sherd_error *err);

#endif
