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

static int open_file(struct sherd_map *map, size_t size, struct sherd_error *err)
{
	char *dir = sherd_cache_dir(), *path = sherd_asprintf("%s/sample-XXXXXX", dir ? dir : "/tmp");
	int fd, rc;

	free(dir);
	if (!path)
		return sherd_fail_oom(err, 1, "a sample");
	fd = mkostemp(path, O_CLOEXEC);
	if (fd < 0) {
		rc = sherd_fail(err, -errno, "%s: no file can be made: %s", path, strerror(errno));
		goto out;
	}
	rc = write_sample(fd, size, path, err);
	close(fd); /* nobody has it open for writing, as with a shard */
	if (!rc)
		rc = sherd_map_open(map, path, err);
	unlink(path);
out:
	free(path);
	return rc;
}

int sherd_sample_open(struct sherd_map *map, size_t size, bool memfd, struct sherd_error *err)
{
	*map = (struct sherd_map){ .fd = -1 };
	return memfd ? open_memfd(map, size, err) : open_file(map, size, err);
}
