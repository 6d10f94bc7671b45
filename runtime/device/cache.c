/* SPDX-License-Identifier: MIT */
/*
 * cache: small files under <cache>/device/, one a key. Keys are hashes of everything that the
 * content depends on, so nothing is ever updated; without a cache folder everything is simply not
 * there. A text is SHERD_PASSED, or says in lines what failed, and of several devices which is taken.
 */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
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

/* ------------------------------------------------- what speaks against a device */

/* Calls @visit with each file <cache>/device/<key><suffix>; -errno where they can't be listed. */
static int each_file(const char *suffix, void (*visit)(void *ctx, const char *path), void *ctx)
{
	char *folder = sherd_device_cache_path("", "");
	DIR *d = folder ? opendir(folder) : NULL;
	int rc = d || errno == ENOENT ? 0 : -errno;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *path = sherd_ends_with(e->d_name, suffix) ?
				     sherd_asprintf("%s%s", folder, e->d_name) :
				     NULL;

		if (path)
			visit(ctx, path);
		free(path);
	}
	if (d)
		closedir(d);
	free(folder);
	return rc;
}

static void forget_text(void *ctx, const char *path)
{
	char *text = NULL;
	size_t size;
	int *n = ctx;

	if (sherd_read_file(path, VERDICT_MAX, &text, &size, NULL) ||
	    !sherd_verdict_passed(text))
		*n += !unlink(path);
	free(text);
}

static void forget_mark(void *ctx, const char *path)
{
	int *n = ctx;

	*n += sherd_device_mark_forget(path);
}

int sherd_device_forget(int *n, struct sherd_error *err)
{
	char *cache = sherd_device_cache_path("", "");
	int rc;

	*n = 0;
	if (!cache)
		return sherd_fail(err, -ENOENT,
				  "there is no cache: neither XDG_CACHE_HOME nor HOME names a folder "
				  "that can be written");
	rc = each_file(".txt", forget_text, n);
	if (!rc)
		rc = each_file(".try", forget_mark, n);
	if (rc)
		sherd_fail(err, rc, "%s: can't be read: %s", cache, strerror(-rc));
	free(cache);
	return rc;
}

struct failures {
	sherd_note_fn visit;
	void *ctx;
};

/* "failed: " and a sentence; a line "of " behind it says of what. */
static void tell_failures(void *ctx, const char *path)
{
	const struct failures *f = ctx;
	char *text = NULL, *line, *end, *told;
	size_t size;

	if (sherd_read_file(path, VERDICT_MAX, &text, &size, NULL))
		return;
	for (line = text; (end = strchr(line, '\n')); line = end + 1) {
		const char *of = end + 1;
		int n = (int)strcspn(of, "\n");

		*end = 0;
		if (strncmp(line, SHERD_FAILED, strlen(SHERD_FAILED)))
			continue;
		line += strlen(SHERD_FAILED);
		told = strncmp(of, "of ", 3) ? strdup(line) :
					       sherd_asprintf("%.*s: %s", n - 3, of + 3, line);
		if (told)
			f->visit(f->ctx, told);
		free(told);
	}
	free(text);
}

void sherd_device_each_failure(sherd_note_fn visit, void *ctx)
{
	struct failures f = { visit, ctx };

	each_file(".txt", tell_failures, &f);
}
