/* SPDX-License-Identifier: MIT */
/*
 * base: what every folder of the runtime leans on - the error sentence, checked arithmetic,
 * half floats, file mappings and files that appear whole or not at all. No models, no devices.
 */
#ifndef SHERD_BASE_H
#define SHERD_BASE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "sherd.h"

#define ARRAY_SIZE(a)	 (sizeof(a) / sizeof((a)[0]))
#define DIV_ROUND_UP(n, d) (((n) + (d)-1) / (d))
#define ROUND_UP(n, d)	 (DIV_ROUND_UP(n, d) * (d))
#define MIN(a, b)	 ((a) < (b) ? (a) : (b))
#define MAX(a, b)	 ((a) > (b) ? (a) : (b))

/*
 * Leaves one sentence in @err (may be NULL) and returns @code (a negative errno), so that a
 * failing function ends with `return sherd_fail(err, -EINVAL, "%s: ...", path)`.
 */
int sherd_fail(struct sherd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* Puts "<prefix>: " before the sentence that is already in @err; returns @code. */
int sherd_fail_prefix(struct sherd_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* The one sentence for an allocation of @bytes that failed; returns -ENOMEM. */
int sherd_fail_oom(struct sherd_error *err, size_t bytes, const char *what);

/* calloc of @n * @size bytes; NULL on overflow too. Free with free(). */
void *sherd_calloc(size_t n, size_t size);
/*
 * @n * @size bytes aligned to @align (a power of two), not zeroed; NULL on overflow. Free with
 * free().
 */
void *sherd_alloc_aligned(size_t align, size_t n, size_t size);
/* asprintf that returns the string, or NULL. Free with free(). */
char *sherd_asprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Calls @visit (which may be NULL) with each line of @text that is not empty; NULL has none. */
void sherd_each_line(const char *text, sherd_note_fn visit, void *ctx);
bool sherd_ends_with(const char *s, const char *end);

static inline bool sherd_mul_ok(size_t a, size_t b, size_t *out)
{
	return !__builtin_mul_overflow(a, b, out);
}

static inline bool sherd_add_ok(size_t a, size_t b, size_t *out)
{
	return !__builtin_add_overflow(a, b, out);
}

/* Where /proc and /sys are: "", but in tests. */
extern const char *sherd_root;
/* The number in a line "Key:  12 kB" or "key 12", in bytes where the line says kB. */
bool sherd_line_value(const char *line, const char *key, uint64_t *value);
/* The same of the first line in the file @path that has @key. */
bool sherd_proc_value(const char *path, const char *key, uint64_t *value);
/*
 * Bytes that can be had without swapping, as the kernel estimates them: with what the page cache
 * would give back, which free memory lacks. No more than the control groups leave. Unknown:
 * UINT64_MAX.
 */
uint64_t sherd_memory_available(void);

/*
 * Calls @visit with the folder of every control group that bounds this process, as far as
 * @controller goes ("cpu", "memory"), of version 2 or 1.
 */
typedef void (*sherd_cgroup_fn)(void *ctx, const char *group);
void sherd_cgroup_each(const char *controller, sherd_cgroup_fn visit, void *ctx);
/* How many numbers a group's file begins with, at most two; 0 where there is none, or "max". */
int sherd_cgroup_numbers(const char *group, const char *file, long long n[2]);

/* How many letters to change, add or drop between two words: for "did you mean". */
size_t sherd_distance(const char *a, const char *b);

/* Seconds on CLOCK_MONOTONIC. */
double sherd_now(void);

/* IEEE half <-> float; f32 -> f16 rounds to nearest even and overflows to infinity. */
float sherd_f16_to_f32(uint16_t h);
uint16_t sherd_f32_to_f16(float f);
static inline float sherd_bf16_to_f32(uint16_t b)
{
	uint32_t u = (uint32_t)b << 16;
	float f;

	memcpy(&f, &u, sizeof(f));
	return f;
}

/* Opens a regular file for reading, and says how long it is. The descriptor, or a negative errno. */
int sherd_file_open(const char *path, uint64_t *size, struct sherd_error *err);

/* A whole file mapped read-only and shared. @data is NULL for an empty file. */
struct sherd_map {
	const uint8_t *data;
	size_t size;
	int fd; /* open as long as the mapping is; -1 when unmapped */
};
int sherd_map_open(struct sherd_map *m, const char *path, struct sherd_error *err);
/* Takes over @fd (closed by sherd_map_close, and here on failure). @name is for messages. */
int sherd_map_fd(struct sherd_map *m, int fd, const char *name, struct sherd_error *err);
void sherd_map_close(struct sherd_map *m);
/* Asks for large pages for what is read through the mapping from now on. Best effort. */
void sherd_map_large_pages(const struct sherd_map *m);
/*
 * Asks the kernel to hold an empty file of @size bytes, with all its blocks, about to be written at
 * random places, in large pages. What small writes bring into the page cache stays in small pages
 * for as long as it is cached, and those read slower (int4 decoding by a fifth, AMD Zen 5). Best
 * effort: nothing is lost where it fails.
 */
void sherd_file_large_pages(int fd, size_t size);

/*
 * A file that appears whole or not at all: write to a temporary name beside @path, then
 * sherd_outfile_commit() fsyncs and renames; sherd_outfile_abort() unlinks. Either ends @o.
 */
struct sherd_outfile {
	int fd;
	char *path;
	char *tmp_path;
};
int sherd_outfile_open(struct sherd_outfile *o, const char *path, struct sherd_error *err);
int sherd_outfile_commit(struct sherd_outfile *o, struct sherd_error *err);
void sherd_outfile_abort(struct sherd_outfile *o);

/*
 * Files that go if a signal ends the process, should its handler call sherd_leftovers_remove(),
 * which is safe there: unfinished outfiles are among them. Best effort: adding has fixed room.
 */
void sherd_leftover_add(const char *path);
void sherd_leftover_drop(const char *path);
void sherd_leftovers_remove(void);

/*
 * write() until all @size bytes are out; the sentence names @name on failure (ENOSPC says how
 * much).
 */
int sherd_write_all(int fd, const void *data, size_t size, const char *name,
		    struct sherd_error *err);
/* The first file @name in PATH that may be executed, malloc'd; NULL: there is none. */
char *sherd_find_command(const char *name);
/*
 * Reads a small file whole, NUL-terminated (the NUL is not in *size); refuses more than @limit
 * bytes.
 */
int sherd_read_file(const char *path, size_t limit, char **data, size_t *size,
		    struct sherd_error *err);

/* SHA-256 as 64 lower-case hex digits and a NUL. */
#define SHERD_SHA256_HEX 65
/* "host:port" with its NUL, wherever one is kept: a name of DNS has up to 253 letters. */
#define SHERD_ADDRESS_MAX 272
/* Rows of a step, and so a chunk's, and sessions of a stage: what nodes take, and plans may say. */
#define SHERD_STEP_MAX 4096
struct sherd_sha256;
struct sherd_sha256 *sherd_sha256_new(void);
void sherd_sha256_add(struct sherd_sha256 *s, const void *data, size_t size);
void sherd_sha256_end(struct sherd_sha256 *s, char hex[SHERD_SHA256_HEX]); /* frees @s */
void sherd_sha256(const void *data, size_t size, char hex[SHERD_SHA256_HEX]);

/* Makes a folder and those above it, as far as they are not there. @path is the same afterwards. */
int sherd_make_dirs(char *path);
/* $XDG_CACHE_HOME/sherd or ~/.cache/sherd, created; NULL where there is none to be had. Free it. */
char *sherd_cache_dir(void);

#endif
