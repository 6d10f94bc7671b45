/* SPDX-License-Identifier: MIT */
/*
 * cache: the folder of packed shards, private to cache.c and cache_dir.c. Each shard is a file
 * "<key>.shard"; whoever reads it holds a shared flock on it, so that nobody evicts it; whoever
 * packs it holds "<key>.lock", which is gone again afterwards. Both locks end with their process.
 */
#ifndef SHERD_CACHE_H
#define SHERD_CACHE_H

#include "model/shard.h"

#define SHERD_CACHE_KEY 32 /* hex digits */

/* The cache's folder of shards, created; NULL where there is none to be had. Free it. */
char *sherd_cache_shards(void);

/*
 * Takes the lock that goes with @key and returns its descriptor, or a negative errno. If somebody
 * else has it, @note (if any) is told @sentence before the wait.
 */
int sherd_cache_lock(const char *dir, const char *key, sherd_note_fn note, void *ctx,
		     const char *sentence);
void sherd_cache_unlock(const char *dir, const char *key, int fd);

/*
 * Makes room for @need bytes of @key, whose lock is held; false where that is more than the limit,
 * or others' use forbids it.
 */
bool sherd_cache_make_room(const char *dir, const char *key, uint64_t need, uint64_t *limit);

#endif
