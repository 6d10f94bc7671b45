/* SPDX-License-Identifier: MIT */
/*
 * cache: small files under <cache>/device/, one a key. Keys are hashes of everything that the
 * content depends on, so nothing is ever updated; without a cache folder everything is simply not
 * there.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "device/query.h"

#define VERDICT_MAX (64 << 10)

char *sherd_device_cache_path(const char *key, const char *suffix)
{
	char *cache = sherd_cache_dir();
	char *path = NULL, *dir;

	if (!cache)
		return NULL;
	dir = sherd_asprintf("%s/device", cache);
	if (dir && (!mkdir(dir, 0700) || errno == EEXIST))
		path = sherd_asprintf("%s/%s%s", dir, key, suffix);
	free(dir);
	free(cache);
	return path;
}

char *sherd_device_verdict_path(const char *key)
{
	return sherd_device_cache_path(key, ".txt");
}

char *sherd_device_verdict_get(const char *key)
{
	char *path = sherd_device_verdict_path(key);
	char *text = NULL;
	size_t size;

	if (path && sherd_read_file(path, VERDICT_MAX, &text, &size, NULL))
		text = NULL;
	free(path);
	return text;
}

int sherd_device_verdict_put(const char *key, const char *text, struct sherd_error *err)
{
	char *path = sherd_device_verdict_path(key);
	struct sherd_outfile out;
	int ret;

	if (!path)
		return sherd_fail(err, -ENOENT,
				  "no cache folder: what was found out about the device "
				  "is not kept");
	ret = sherd_outfile_open(&out, path, err);
	if (!ret) {
		ret = sherd_write_all(out.fd, text, strlen(text), path, err);
		if (ret)
			sherd_outfile_abort(&out);
		else
			ret = sherd_outfile_commit(&out, err);
	}
	free(path);
	return ret;
}
