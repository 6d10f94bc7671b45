/* SPDX-License-Identifier: MIT */
/*
 * json: files that people write by hand or other machines send, read with checks. A value is known
 * by its place, "nodes[2].memory", which every complaint begins with. The first fault is kept and
 * makes all that follows do nothing, so that a reader is a list of what it reads and looks once at
 * the end.
 *
 *	struct sherd_json f;
 *	struct sherd_json_at root, node;
 *
 *	if (sherd_json_open(&f, path, &err))
 *		...
 *	root = sherd_json_root(&f);
 *	sherd_json_keys(&root, keys);
 *	node = sherd_json_key(&root, "node");
 *	sherd_json_str(&node, name, sizeof(name));
 *	rc = sherd_json_close(&f);
 */
#ifndef SHERD_PLAN_JSON_H
#define SHERD_PLAN_JSON_H

#include <jansson.h>
#include "base/base.h"

#define SHERD_JSON_LIMIT ((size_t)16 << 20) /* bytes of a file */

struct sherd_json {
	json_t *root;
	char name[256]; /* the file's, for messages */
	int rc; /* of the first fault */
	struct sherd_error *err; /* its sentence */
};

/* A value, or NULL where there is none. */
struct sherd_json_at {
	struct sherd_json *file;
	const json_t *j;
	char where[128];
};

/* Not JSON, or a key twice in an object: line and column are in the sentence. */
int sherd_json_open(struct sherd_json *f, const char *path, struct sherd_error *err);
int sherd_json_parse(struct sherd_json *f, const char *text, size_t size, const char *name,
		     struct sherd_error *err);
/* Returns the first fault. */
int sherd_json_close(struct sherd_json *f);

struct sherd_json_at sherd_json_root(struct sherd_json *f);
/* Of an object; nothing, if @at is none, or has no such key. */
struct sherd_json_at sherd_json_key(const struct sherd_json_at *at, const char *key);
struct sherd_json_at sherd_json_elem(const struct sherd_json_at *at, size_t i);

/* "FILE: PLACE: <sentence>", if it is the first. */
void sherd_json_fail(const struct sherd_json_at *at, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* An object without other keys than @keys (ends with NULL); a near one is suggested. */
bool sherd_json_keys(const struct sherd_json_at *at, const char *const *keys);
/* How long an array is: [@least, @most]; 0 where it is none. */
size_t sherd_json_array(const struct sherd_json_at *at, size_t least, size_t most);
/* A string that fits, is not empty and holds no control characters. */
void sherd_json_str(const struct sherd_json_at *at, char *buf, size_t size);
int64_t sherd_json_int(const struct sherd_json_at *at, int64_t lo, int64_t hi);
double sherd_json_num(const struct sherd_json_at *at, double lo, double hi);
/* Which of the @n names a string is; 0 after a fault. */
int sherd_json_pick(const struct sherd_json_at *at, const char *const *names, int n);
/* 64 lower-case hexadecimal digits. */
void sherd_json_hash(const struct sherd_json_at *at, char hex[SHERD_SHA256_HEX]);

/* Writes @j, which it takes over, as a whole file that appears at once. */
int sherd_json_write(json_t *j, const char *path, struct sherd_error *err);

#endif
