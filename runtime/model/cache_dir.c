/* SPDX-License-Identifier: MIT */
/*
 * cache_dir: the cache's folder itself: locks, what is in it, how large it may grow, and what goes
 * first. A shard's modification time is when it was used last.
 */
#include "model/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define MAX_BYTES   (20ull << 30)
#define MAX_ENTRIES 100000

char *sherd_cache_shards(void)
{
	char *base = sherd_cache_dir();
	char *dir = base ? sherd_asprintf("%s/shards", base) : NULL;

	free(base);
	if (dir && mkdir(dir, 0700) && errno != EEXIST) {
		free(dir);
		return NULL;
	}
	return dir;
}

/* ------------------------------------------------------------------------- locks */

static bool same_file(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int lock_once(const char *path, sherd_note_fn note, void *ctx, const char *sentence)
{
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		if (errno == EWOULDBLOCK && note)
			note(ctx, sentence);
		ret = errno == EWOULDBLOCK && !flock(fd, LOCK_EX) ? 0 : -errno;
	}
	if (!ret && !same_file(fd, path))
		ret = -EAGAIN; /* its owner has removed it meanwhile: this lock guards nothing */
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int sherd_cache_lock(const char *dir, const char *key, sherd_note_fn note, void *ctx,
		     const char *sentence)
{
	char *path = sherd_asprintf("%s/%s.lock", dir, key);
	int fd = path ? -EAGAIN : -ENOMEM;

	while (fd == -EAGAIN) {
		fd = lock_once(path, note, ctx, sentence);
		note = NULL; /* once is enough */
	}
	if (fd >= 0)
		sherd_leftover_add(path);
	free(path);
	return fd;
}

void sherd_cache_unlock(const char *dir, const char *key, int fd)
{
	char *path = sherd_asprintf("%s/%s.lock", dir, key);

	if (path) {
		unlink(path);
		sherd_leftover_drop(path);
	}
	free(path);
	close(fd);
}

/* ------------------------------------------------------------------ what is there */

static bool is_key(const char *name)
{
	return strspn(name, "0123456789abcdef") == SHERD_CACHE_KEY;
}

/* Removes @name in @dirfd unless somebody has it locked; true if it is gone. */
static bool remove_unused(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	bool gone;

	if (fd < 0)
		return errno == ENOENT;
	gone = !flock(fd, LOCK_EX | LOCK_NB) && !unlinkat(dirfd, name, 0);
	close(fd);
	return gone;
}

/*
 * A temporary file belongs to whoever holds its key's lock; if nobody does, its process was killed.
 * The lock file that such a process left goes too. @own: the key whose lock the caller holds, and
 * who has no temporary file yet; or NULL.
 */
static void sweep_leftover(int dirfd, const char *name, const char *own)
{
	char lock[SHERD_CACHE_KEY + sizeof(".lock")];
	int fd;

	if (!is_key(name) || !(sherd_ends_with(name, ".tmp") || sherd_ends_with(name, ".lock")))
		return;
	if (own && !strncmp(name, own, SHERD_CACHE_KEY)) {
		if (sherd_ends_with(name, ".tmp"))
			unlinkat(dirfd, name, 0);
		return;
	}
	snprintf(lock, sizeof(lock), "%.*s.lock", SHERD_CACHE_KEY, name);
	fd = openat(dirfd, lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	if (!flock(fd, LOCK_EX | LOCK_NB)) {
		unlinkat(dirfd, name, 0);
		unlinkat(dirfd, lock, 0);
	}
	close(fd);
}

static int by_use(const void *a, const void *b)
{
	const struct sherd_cache_entry *x = a, *y = b;

	if (x->used_at != y->used_at)
		return x->used_at < y->used_at ? -1 : 1;
	return strcmp(x->file, y->file);
}

static int add_entry(struct sherd_cache_list *list, size_t *room, const char *name,
		     const struct stat *st)
{
	struct sherd_cache_entry *e;

	if (list->n_entries == *room) {
		*room = *room ? 2 * *room : 16;
		e = realloc(list->entries, *room * sizeof(*e));
		if (!e)
			return -ENOMEM;
		list->entries = e;
	}
	e = &list->entries[list->n_entries++];
	memset(e, 0, sizeof(*e));
	memcpy(e->file, name, strnlen(name, sizeof(e->file) - 1));
	e->bytes = (uint64_t)st->st_blocks * 512;
	e->used_at = st->st_mtime;
	list->bytes += e->bytes;
	return 0;
}

/* Lists the shards and removes what killed processes left. */
static int scan(struct sherd_cache_list *list, const char *own)
{
	DIR *d = opendir(list->dir);
	size_t room = 0;
	struct dirent *de;
	struct stat st;
	int ret = 0;

	if (!d)
		return -errno;
	while (!ret && list->n_entries < MAX_ENTRIES && (de = readdir(d))) {
		if (!is_key(de->d_name) || !sherd_ends_with(de->d_name, ".shard"))
			sweep_leftover(dirfd(d), de->d_name, own);
		else if (strlen(de->d_name) < sizeof(list->entries->file) &&
			 !fstatat(dirfd(d), de->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
			 S_ISREG(st.st_mode))
			ret = add_entry(list, &room, de->d_name, &st);
	}
	closedir(d);
	if (list->n_entries)
		qsort(list->entries, list->n_entries, sizeof(*list->entries), by_use);
	return ret;
}

/* Half of what would be free without the cache, and at most MAX_BYTES. */
static uint64_t cache_limit(const char *dir, uint64_t used)
{
	struct statvfs fs;

	if (statvfs(dir, &fs))
		return 0;
	return MIN(MAX_BYTES, ((uint64_t)fs.f_bavail * fs.f_frsize + used) / 2);
}

/* ----------------------------------------------------------------------- making room */

/* Removes the least recently used shards until @keep bytes at most are left. */
static uint64_t evict(const struct sherd_cache_list *list, uint64_t keep)
{
	int fd = open(list->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	uint64_t left = list->bytes;
	size_t i;

	for (i = 0; i < list->n_entries && left > keep && fd >= 0; i++)
		if (remove_unused(fd, list->entries[i].file))
			left -= list->entries[i].bytes;
	if (fd >= 0)
		close(fd);
	return left;
}

bool sherd_cache_make_room(const char *dir, const char *key, uint64_t need, uint64_t *limit)
{
	struct sherd_cache_list list = { .dir = (char *)dir };
	bool room = false;

	*limit = 0;
	if (scan(&list, key))
		goto out;
	*limit = cache_limit(dir, list.bytes);
	if (need <= *limit)
		room = evict(&list, *limit - need) + need <= *limit;
out:
	free(list.entries);
	return room;
}

int sherd_cache_clear(uint64_t *freed, struct sherd_error *err)
{
	struct sherd_cache_list list = { .dir = sherd_cache_shards() };
	int ret = list.dir ? scan(&list, NULL) : -ENOENT;

	*freed = 0;
	if (ret)
		sherd_fail(err, ret, "the cache of packed shards can't be read: %s",
			   list.dir ? strerror(-ret) : "there is no folder for it");
	else
		*freed = list.bytes - evict(&list, 0);
	sherd_cache_list_clear(&list);
	return ret;
}

/* ------------------------------------------------------------------------- listing */

static void describe(const char *dir, struct sherd_cache_entry *e)
{
	char *path = sherd_asprintf("%s/%s", dir, e->file);
	struct gguf_str name = { 0 };
	struct gguf *g;
	int fd;

	if (!path)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		e->in_use = flock(fd, LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK;
		close(fd);
	}
	if (!gguf_open(&g, path, NULL)) {
		if (gguf_get_str(g, "sherd.source.name", &name, NULL) == 1)
			snprintf(e->source, sizeof(e->source), "%.*s",
				 (int)MIN(name.len, sizeof(e->source) - 1), name.data);
		gguf_close(g);
	}
	free(path);
}

int sherd_cache_list(struct sherd_cache_list *list, struct sherd_error *err)
{
	size_t i;
	int ret;

	*list = (struct sherd_cache_list){ .dir = sherd_cache_shards() };
	if (!list->dir)
		return sherd_fail(
			err, -ENOENT,
			"there is no cache: neither XDG_CACHE_HOME nor HOME names a folder "
			"that can be written");
	ret = scan(list, NULL);
	if (ret) {
		sherd_fail(err, ret, "%s: can't be read: %s", list->dir, strerror(-ret));
		sherd_cache_list_clear(list);
		return ret;
	}
	list->limit = cache_limit(list->dir, list->bytes);
	for (i = 0; i < list->n_entries; i++)
		describe(list->dir, &list->entries[i]);
	return 0;
}

void sherd_cache_list_clear(struct sherd_cache_list *list)
{
	free(list->dir);
	free(list->entries);
	memset(list, 0, sizeof(*list));
}
