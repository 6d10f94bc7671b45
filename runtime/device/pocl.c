/* SPDX-License-Identifier: MIT */
/*
 * pocl: what PoCL reads from the environment when its platform is created, put there first.
 * Whatever the user has set stays.
 *
 * POCL_MAX_PTHREAD_COUNT, because PoCL ignores the affinity mask. POCL_CACHE_DIR, because PoCL
 * has no device at all where it can't write, and its compiler aborts the process on a full disk:
 * the folder is in sherd's cache, or, where there is none or no room, a temporary one that goes
 * with the process.
 */
#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "device/query.h"

#define CACHE_ROOM (32u << 20) /* bytes that compiling all kernels may take, generously */

static char *temporary; /* this process made it */

static bool has_room(const char *dir)
{
	struct statvfs fs;

	return !access(dir, W_OK | X_OK) && !statvfs(dir, &fs) &&
	       (uint64_t)fs.f_bavail * fs.f_frsize >= CACHE_ROOM;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	remove(path);
	return 0;
}

__attribute__((destructor)) static void remove_temporary(void)
{
	if (temporary)
		nftw(temporary, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static char *make_temporary(void)
{
	const char *roots[] = { getenv("TMPDIR"), "/tmp", "/dev/shm" };

	for (size_t i = 0; i < ARRAY_SIZE(roots); i++) {
		char *dir;

		if (!roots[i] || !has_room(roots[i]))
			continue;
		dir = sherd_asprintf("%s/sherd-pocl-XXXXXX", roots[i]);
		if (dir && mkdtemp(dir)) {
			temporary = dir;
			return strdup(dir);
		}
		free(dir);
	}
	return NULL;
}

/* Every PoCL process tries out its cache with an empty file and leaves it there. */
static void sweep(const char *dir)
{
	time_t before = time(NULL) - 60;
	DIR *d = opendir(dir);
	struct dirent *e;
	struct stat st;

	while (d && (e = readdir(d)))
		if (!strncmp(e->d_name, "tempfile_", 9) &&
		    !fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) &&
		    S_ISREG(st.st_mode) && !st.st_size && st.st_mtime < before)
			unlinkat(dirfd(d), e->d_name, 0);
	if (d)
		closedir(d);
}

static char *choose_cache(void)
{
	char *cache = sherd_cache_dir();
	char *dir = NULL;

	if (cache && has_room(cache))
		dir = sherd_asprintf("%s/pocl", cache);
	free(cache);
	if (!dir)
		return make_temporary();
	sweep(dir);
	return dir;
}

#define COUNT "POCL_MAX_PTHREAD_COUNT"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool own_count; /* it is not the user's */

void sherd_pocl_prepare(int n_threads)
{
	static bool done;
	char count[16];
	char *dir;

	pthread_mutex_lock(&lock);
	if (!done) {
		done = true;
		snprintf(count, sizeof(count), "%d",
			 n_threads > 0 ? n_threads : sherd_device_host_cpus());
		own_count = !getenv(COUNT);
		setenv(COUNT, count, 0);
		dir = getenv("POCL_CACHE_DIR") ? NULL : choose_cache();
		if (dir)
			setenv("POCL_CACHE_DIR", dir, 0);
		free(dir);
	}
	pthread_mutex_unlock(&lock);
}

const char *sherd_pocl_temporary(void)
{
	return temporary;
}

char **sherd_pocl_child_environ(char *extra)
{
	size_t n = 0, i;
	char **env;

	while (environ[n])
		n++;
	env = sherd_calloc(n + 2, sizeof(*env));
	pthread_mutex_lock(&lock);
	for (n = i = 0; env && environ[i]; i++)
		if (!own_count || strncmp(environ[i], COUNT "=", strlen(COUNT "=")))
			env[n++] = environ[i];
	pthread_mutex_unlock(&lock);
	if (env)
		env[n] = extra;
	return env;
}
