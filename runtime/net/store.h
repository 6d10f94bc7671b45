/* SPDX-License-Identifier: MIT */
/*
 * store: where a node keeps the shards that are pushed to it, as the protocol sees it. Disks are
 * slow and may stand still for seconds, so every job is done elsewhere (tools/store.c: a thread)
 * and says so by done(), on the loop's thread, in the order of submission, and never from within
 * submit().
 */
#ifndef SHERD_STORE_H
#define SHERD_STORE_H

#include "base/base.h"

#define SHERD_FILE_NAME 128 /* with the final zero */

struct sherd_offer {
	char name[SHERD_FILE_NAME]; /* letters, digits, '.', '-', '_'; no dot first */
	char sha256[SHERD_SHA256_HEX];
	uint64_t size;
};

enum sherd_store_kind {
	/*
	 * Sets have and whole; takes the file for this offer until FINISH or DROP. -EBUSY: it is
	 * taken.
	 */
	SHERD_STORE_OFFER,
	/* @size bytes behind those that there are; fails where one before it has */
	SHERD_STORE_WRITE,
	/* all bytes are there: the hash is compared, and the file appears under its name */
	SHERD_STORE_FINISH,
	SHERD_STORE_DROP, /* what there is stays, to be gone on with */
};

struct sherd_store_job {
	enum sherd_store_kind kind;
	struct sherd_offer offer;
	const void *data;
	size_t size;
	void *file; /* the store's, set by OFFER; handed back in the others */
	uint64_t have; /* bytes that are there already */
	bool whole; /* the file is there, and is what is offered */
	int rc;
	struct sherd_error err;
	void (*done)(void *ctx, struct sherd_store_job *job);
	void *ctx;
	struct sherd_store_job *next; /* the store's */
};

struct sherd_store {
	void (*submit)(struct sherd_store *s, struct sherd_store_job *job);
};

#endif
