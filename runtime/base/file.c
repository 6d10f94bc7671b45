/* SPDX-License-Identifier: MIT */
/*
 * file: mapping files, reading small ones, writing all of a buffer, finding commands, and where the
 * cache is.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older headers */
#endif

/* Is @fd a file, and how long is it? */
static int look(int fd, const char *name, uint64_t *size, struct sherd_error *err)
{
	struct stat st;

	if (fstat(fd, &st))
		return sherd_fail(err, -errno, "%s: cannot look at it: %s", name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return sherd_fail(err, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
				  "%s: is %s, not a file", name,
				  S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
	*size = (uint64_t)st.st_size;
	return 0;
}

int sherd_file_open(const char *path, uint64_t *size, struct sherd_error *err)
{
	/* O_NONBLOCK: a FIFO must not hold us; it means nothing for regular files. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK), ret;

	if (fd < 0)
		return sherd_fail(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	ret = look(fd, path, size, err);
	if (!ret)
		return fd;
	close(fd);
	return ret;
}

int sherd_map_open(struct sherd_map *m, const char *path, struct sherd_error *err)
{
	uint64_t size;
	int fd = sherd_file_open(path, &size, err);

	*m = (struct sherd_map){ .fd = -1 };
	return fd < 0 ? fd : sherd_map_fd(m, fd, path, err);
}

int sherd_map_fd(struct sherd_map *m, int fd, const char *name, struct sherd_error *err)
{
	uint64_t size;
	void *p;
	int ret;

	*m = (struct sherd_map){ .fd = -1 };
	ret = look(fd, name, &size, err);
	if (ret)
		goto close_fd;
	if (size > SIZE_MAX / 2) {
		ret = sherd_fail(err, -EFBIG, "%s: %llu bytes do not fit into the address space",
				 name, (unsigned long long)size);
		goto close_fd;
	}
	m->fd = fd;
	if (!size)
		return 0;
	p = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		ret = sherd_fail(err, -errno, "%s: cannot map its %llu bytes: %s", name,
				 (unsigned long long)size, strerror(errno));
		goto close_fd;
	}
	m->data = p;
	m->size = (size_t)size;
	return 0;

close_fd:
	m->fd = -1;
	close(fd);
	return ret;
}

void sherd_map_close(struct sherd_map *m)
{
	if (m->data)
		munmap((void *)m->data, m->size);
	if (m->fd >= 0)
		close(m->fd);
	*m = (struct sherd_map){ .fd = -1 };
}

void sherd_map_large_pages(const struct sherd_map *m)
{
	if (m->data && m->fd >= 0) /* without a file it is somebody's memory */
		madvise((void *)m->data, m->size, MADV_HUGEPAGE);
}

void sherd_file_large_pages(int fd, size_t size)
{
	void *p;

	if (size > sherd_memory_available() / 2) /* it would push out itself, or others */
		return;
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return;
	if (!madvise(p, size, MADV_HUGEPAGE))
		madvise(p, size, MADV_POPULATE_READ);
	munmap(p, size);
}

int sherd_write_all(int fd, const void *data, size_t size, const char *name,
		    struct sherd_error *err)
{
	size_t done = 0;
	ssize_t n;

	while (done < size) {
		n = write(fd, (const char *)data + done, MIN(size - done, (size_t)1 << 30));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == ENOSPC)
			return sherd_fail(err, -ENOSPC,
					  "%s: the file system is full: %zu bytes more are needed",
					  name, size - done);
		if (n < 0)
			return sherd_fail(err, -errno, "%s: cannot write: %s", name,
					  strerror(errno));
		done += (size_t)n;
	}
	return 0;
}

/* Reads until the end or until *size > @limit. */
static int read_up_to(int fd, size_t limit, char **data, size_t *size)
{
	size_t room = 0, n = 0;
	ssize_t got;
	char *p;

	for (;;) {
		if (n + 1 >= room) {
			room = room ? 2 * room : 4096;
			p = realloc(*data, room);
			if (!p)
				return -ENOMEM;
			*data = p;
		}
		got = read(fd, *data + n, room - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -errno;
		n += (size_t)got;
		if (!got || n > limit)
			break;
	}
	(*data)[n] = '\0';
	*size = n;
	return 0;
}

int sherd_read_file(const char *path, size_t limit, char **data, size_t *size,
		    struct sherd_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	*data = NULL;
	*size = 0;
	if (fd < 0)
		return sherd_fail(err, -errno, "%s: cannot open it: %s", path, strerror(errno));
	ret = read_up_to(fd, limit, data, size);
	if (ret)
		sherd_fail(err, ret, "%s: cannot read it: %s", path, strerror(-ret));
	else if (*size > limit)
		ret = sherd_fail(err, -EFBIG, "%s: is larger than the %zu bytes that it may have",
				 path, limit);
	close(fd);
	if (ret) {
		free(*data);
		*data = NULL;
		*size = 0;
	}
	return ret;
}

/* Folders may be "executed", too, and a source tree called as its command is not rare. */
static bool is_command(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISREG(st.st_mode) && !access(path, X_OK);
}

char *sherd_find_command(const char *name)
{
	const char *path = getenv("PATH");

	while (path && *path) {
		int n = (int)strcspn(path, ":");
		char *found = n ? sherd_asprintf("%.*s/%s", n, path, name) : NULL;

		if (found && is_command(found))
			return found;
		free(found);
		path += n + (path[n] == ':');
	}
	return NULL;
}

int sherd_make_dirs(char *path)
{
	char *slash;

	for (slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(path, 0777) && errno != EEXIST) {
			*slash = '/';
			return -errno;
		}
		*slash = '/';
	}
	return mkdir(path, 0777) && errno != EEXIST ? -errno : 0;
}

char *sherd_cache_dir(void)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	struct stat st;
	char *dir = NULL;

	/* The base directory specification: a relative path is to be ignored. */
	if (xdg && xdg[0] == '/')
		dir = sherd_asprintf("%s/sherd", xdg);
	else if (home && home[0] == '/')
		dir = sherd_asprintf("%s/.cache/sherd", home);
	if (!dir)
		return NULL;
	if (sherd_make_dirs(dir) || stat(dir, &st) || !S_ISDIR(st.st_mode)) {
		free(dir);
		return NULL;
	}
	return dir;
}
