/* SPDX-License-Identifier: MIT */
/*
 * outfile: a file that appears whole or not at all. The bytes go to a temporary name in the same
 * folder (rename works only within a file system); only when they are on the disk does the name
 * change.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"

/*
 * rename() would put a file in the place of /dev/null or a folder's name: refuse what is there and
 * no regular file.
 */
static int check_target(const char *path, struct sherd_error *err)
{
	struct stat st;

	if (stat(path, &st))
		return 0;
	if (S_ISDIR(st.st_mode))
		return sherd_fail(err, -EISDIR, "%s: is a folder, not a file", path);
	if (!S_ISREG(st.st_mode))
		return sherd_fail(err, -EINVAL, "%s: is no regular file, and is not overwritten",
				  path);
	return 0;
}

/* A symbolic link stays what it is, and the file that it names is replaced. */
static char *follow(const char *path)
{
	char *real = realpath(path, NULL);

	return real ? real : strdup(path);
}

int sherd_outfile_open(struct sherd_outfile *o, const char *path, struct sherd_error *err)
{
	uint32_t random;
	int i, ret;

	*o = (struct sherd_outfile){ .fd = -1 };
	ret = check_target(path, err);
	if (ret)
		return ret;
	o->path = follow(path);
	for (i = 0; o->path && i < 100; i++) {
		if (getrandom(&random, sizeof(random), GRND_NONBLOCK) != sizeof(random))
			random = (uint32_t)getpid() * 100 + (uint32_t)i;
		free(o->tmp_path);
		o->tmp_path = sherd_asprintf("%s.%08x.tmp", o->path, random);
		if (!o->tmp_path)
			break;
		sherd_leftover_add(o->tmp_path); /* first: a signal may come between the two */
		o->fd = open(o->tmp_path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
		if (o->fd >= 0)
			return 0;
		sherd_leftover_drop(o->tmp_path);
		if (errno != EEXIST)
			break;
	}
	ret = o->path && o->tmp_path ? -errno : -ENOMEM;
	sherd_fail(err, ret, "%s: cannot create it: %s", path, strerror(-ret));
	free(o->path);
	free(o->tmp_path);
	*o = (struct sherd_outfile){ .fd = -1 };
	return ret;
}

/* The new name is on the disk only once the folder is. */
static int sync_folder(const char *path)
{
	char *dir = strdup(path), *slash;
	int fd, ret;

	if (!dir)
		return -ENOMEM;
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir] = '\0';
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* Some file systems cannot sync a folder; then the rename is as durable as they make it. */
	ret = fd < 0 || (fsync(fd) && errno != EINVAL) ? -errno : 0;
	if (fd >= 0)
		close(fd);
	free(dir);
	return ret;
}

int sherd_outfile_commit(struct sherd_outfile *o, struct sherd_error *err)
{
	int ret;

	if (fsync(o->fd)) {
		ret = sherd_fail(err, -errno, "%s: cannot write it to the disk: %s", o->path,
				 strerror(errno));
		sherd_outfile_abort(o);
		return ret;
	}
	if (rename(o->tmp_path, o->path)) {
		ret = sherd_fail(err, -errno, "%s: cannot give it its name: %s", o->path,
				 strerror(errno));
		sherd_outfile_abort(o);
		return ret;
	}
	sherd_leftover_drop(o->tmp_path);
	ret = sync_folder(o->path);
	if (ret)
		sherd_fail(err, ret, "%s: cannot write its folder to the disk: %s", o->path,
			   strerror(-ret));
	close(o->fd);
	free(o->path);
	free(o->tmp_path);
	*o = (struct sherd_outfile){ .fd = -1 };
	return ret;
}

void sherd_outfile_abort(struct sherd_outfile *o)
{
	if (!o->path) /* already ended, or never begun */
		return;
	unlink(o->tmp_path);
	sherd_leftover_drop(o->tmp_path);
	close(o->fd);
	free(o->path);
	free(o->tmp_path);
	*o = (struct sherd_outfile){ .fd = -1 };
}
