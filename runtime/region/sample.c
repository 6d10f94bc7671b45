/* SPDX-License-Identifier: MIT */
/* sample: a file for trying things out, where shards are kept, gone when it is closed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "region/region.h"

static int write_sample(int fd, size_t size, const char *path, struct sherd_error *err)
{
	uint8_t *data = malloc(size);
	size_t i;
	int rc;

	if (!data)
		return sherd_fail_oom(err, size, "a sample");
	for (i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 24);
	rc = sherd_write_all(fd, data, size, path, err);
	free(data);
	return rc;
}

static int open_memfd(struct sherd_map *map, size_t size, struct sherd_error *err)
{
	int fd = memfd_create("sherd-sample", MFD_CLOEXEC | MFD_ALLOW_SEALING), rc;

	if (fd < 0)
		return sherd_fail(err, -errno, "no memory file can be had: %s", strerror(errno));
	rc = write_sample(fd, size, "a sample", err);
	if (rc) {
		close(fd);
		return rc;
	}
	fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW);
	return sherd_map_fd(map, fd, "a sample", err);
}

/*
 * Opened a second time and nameless before anything is written: a signal leaves nothing, whenever
 * it comes.
 */
static int make_file(char *path, int *reader, struct sherd_error *err)
{
	int fd = mkostemp(path, O_CLOEXEC), rc;

	if (fd < 0)
		return sherd_fail(err, -errno, "%s: no file can be made: %s", path,
				  strerror(errno));
	sherd_leftover_add(path);
	*reader = open(path, O_RDONLY | O_CLOEXEC);
	rc = *reader < 0 ?
		     sherd_fail(err, -errno, "%s: cannot open it: %s", path, strerror(errno)) :
		     0;
	unlink(path);
	sherd_leftover_drop(path);
	if (!rc)
		return fd;
	close(fd);
	return rc;
}

static int open_file(struct sherd_map *map, size_t size, struct sherd_error *err)
{
	char *dir = sherd_cache_dir(),
	     *path = sherd_asprintf("%s/sample-XXXXXX", dir ? dir : "/tmp");
	int fd, reader = -1, rc;

	free(dir);
	if (!path)
		return sherd_fail_oom(err, 1, "a sample");
	fd = make_file(path, &reader, err);
	rc = fd < 0 ? fd : write_sample(fd, size, path, err);
	if (fd >= 0) {
		close(fd); /* nobody has it open for writing, as with a shard */
		if (rc)
			close(reader);
		else
			rc = sherd_map_fd(map, reader, path, err);
	}
	free(path);
	return rc;
}

int sherd_sample_open(struct sherd_map *map, size_t size, bool memfd, struct sherd_error *err)
{
	*map = (struct sherd_map){ .fd = -1 };
	return memfd ? open_memfd(map, size, err) : open_file(map, size, err);
}
