/* SPDX-License-Identifier: MIT */
/*
 * rung: what region.c wants of a rung, and what the rungs share. For runtime/region/ and its tests.
 */
#ifndef SHERD_RUNG_H
#define SHERD_RUNG_H

#include "region/region.h"

struct sherd_rung_ops {
	const char *name;
	bool pins; /* keeps the pages in memory */
	/* Takes hold of r's pages, and fills in held, max_window and how; or says why it can't. */
	int (*hold)(struct sherd_region *r, struct sherd_error *err);
	/* A dma-buf; where max_window is not 0. */
	int (*window)(struct sherd_region *r, size_t offset, size_t length,
		      struct sherd_error *err);
	void (*release)(struct sherd_region *r);
	const char *more; /* how to get longer windows than max_window */
};

extern const struct sherd_rung_ops sherd_rung_sherd, sherd_rung_udmabuf, sherd_rung_locked,
	sherd_rung_plain;

/* The two device nodes; tests put something else there. */
extern const char *sherd_rung_sherd_path, *sherd_rung_udmabuf_path;

/*
 * Opens a rung's device node. @missing: what its absence means, and what helps; @sysfs: what is
 * there all the same in a container that was not given the node.
 */
int sherd_rung_open_node(const char *path, const char *sysfs, const char *missing,
			 struct sherd_error *err);
/*
 * The sentence for RLIMIT_MEMLOCK: @bytes are needed, @taken of the same limit are in use
 * (SIZE_MAX: nobody knows), what is allowed, how to raise it; returns -ENOBUFS.
 */
int sherd_fail_memlock(struct sherd_error *err, const char *what, size_t bytes, size_t taken);
/*
 * The sentence for a limit on open files, the process's (EMFILE) or the machine's (ENFILE); returns
 * -code.
 */
int sherd_fail_files(struct sherd_error *err, const char *what, int code);
/*
 * The sentence for a dma-buf or buffer that can't be had, @code being the kernel's errno; returns
 * -code.
 */
int sherd_fail_window(struct sherd_error *err, const char *node, size_t length, int code);
/* 0 if a region, kept in memory, leaves a quarter of what can be had. */
int sherd_region_check_room(const struct sherd_region *r, struct sherd_error *err);

/*
 * Tries the rungs for a region whose data, size, fd and read_only are there, and the slots' shape
 * and array if it is a ring, whose slots are opened.
 */
int sherd_region_hold(struct sherd_region *r, const char *rung, struct sherd_error *err);

/*
 * The memory of a ring of which n_slots and slot_size are there; the second never of reserved huge
 * pages.
 */
int sherd_ring_make_memory(struct sherd_region *r, struct sherd_error *err);
int sherd_ring_make_unreserved(struct sherd_region *r, struct sherd_error *err);
void sherd_ring_free_memory(struct sherd_region *r);

#endif
