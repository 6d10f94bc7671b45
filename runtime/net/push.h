/* SPDX-License-Identifier: MIT */
/*
 * push: files for a node, over a link of its own: what is offered is compared with what is there,
 * only what lacks goes over the wire, and a file appears when its hash is right. A link that breaks
 * is dialled again, and the file goes on where it stopped.
 *
 *	sender				node
 *	HELLO push	->
 *			<-		WELCOME
 *	COMMAND offer	->
 *			<-		REPLY have, whole
 *	FILE ...	->
 *			<-		HAVE ... (bytes in the session's field)
 *			<-		REPLY whole, or an error
 */
#ifndef SHERD_PUSH_H
#define SHERD_PUSH_H

#include "net/net.h"
#include "net/store.h"

#define SHERD_PUSH_PIECE  (64u << 10) /* bytes of a FILE frame: 5 s at 100 kbit/s */
#define SHERD_PUSH_WINDOW 16u /* such, sent and not written yet */

struct sherd_push;

struct sherd_push_file {
	struct sherd_offer offer;
	const uint8_t *data; /* [offer.size] */
};

struct sherd_push_params {
	struct sherd_net *net;
	const char *name, *address; /* of the node */
	const struct sherd_push_file *files;
	int n_files;
	uint64_t patience_us; /* without a byte's progress; 0: 30 s */
	/* @done of @total bytes of file @file are there; @sent: that went over the wire so far. */
	void (*progress)(void *ctx, int file, uint64_t done, uint64_t total);
	/* Once: NULL, or why not. */
	void (*ended)(void *ctx, const struct sherd_error *why, uint64_t sent);
	void *ctx;
};

/* The strings, files and their bytes must outlive it. */
int sherd_push_new(struct sherd_push **p, const struct sherd_push_params *params,
		   struct sherd_error *err);
void sherd_push_free(struct sherd_push *p);

/* What a name of a file must look like. */
bool sherd_file_name_ok(const char *name);

#endif
