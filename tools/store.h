/* SPDX-License-Identifier: MIT */
/*
 * store: a folder of shards, filled over the network (net/store.h) and looked through by a node for
 * what it is to serve. Files that are not whole yet have names that begin with a dot.
 */
#ifndef SHERD_TOOLS_STORE_H
#define SHERD_TOOLS_STORE_H

#include "net/stage.h"
#include "net/store.h"

struct store;

/* Jobs are done on a thread of the store's; done() is brought to the loop by @post. */
int store_open(struct store **s, const char *dir,
	       int (*post)(void *loop, void (*fn)(void *), void *arg), void *loop,
	       struct sherd_error *err);
/* Waits for what is being written; what is queued is dropped. */
void store_close(struct store *s);
struct sherd_store *store_of(struct store *s);

/*
 * The path of the shard with these layers of that model, to be freed; NULL and the sentence: there
 * is none.
 */
char *store_find(const char *dir, const struct sherd_stage_spec *spec, struct sherd_error *err);

/* "HASH-FIRST-END.gguf", as a pushed shard is called. */
void store_name(const struct sherd_stage_spec *spec, char name[SHERD_FILE_NAME]);

#endif
