/* SPDX-License-Identifier: MIT */
/* source: a folder is Hugging Face's, a file is GGUF; see source.h. */
#include "model/source.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include "model/hf.h"

int sherd_source_open(struct gguf **g, const char *path, struct sherd_error *err)
{
	struct stat st;

	if (!stat(path, &st) && S_ISDIR(st.st_mode))
		return sherd_hf_open(g, path, err);
	return gguf_open_split(g, path, err);
}

/* --------------------------------------------------------------------- identity */

static void put_file(FILE *f, const char *name, const struct stat *st)
{
	fprintf(f, "%s\n%lld %lld.%09ld %llu:%llu\n", name, (long long)st->st_size,
		(long long)st->st_mtim.tv_sec, (long)st->st_mtim.tv_nsec,
		(unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
}

/* How much of "NAME-00001-of-00003.gguf" is NAME; 0: it is not called so. */
static size_t split_stem(const char *name)
{
	size_t n = strlen(name);

	return n > 20 && name[n - 20] == '-' && !strncmp(name + n - 14, "-of-", 4) ? n - 20 : 0;
}

/* Whether @name is another part of what @of is a part of, or @of is NULL: anything in the folder. */
static bool belongs(const char *name, const char *of)
{
	size_t stem = of ? split_stem(of) : 0;

	if (!of)
		return name[0] != '.';
	return strlen(name) == strlen(of) && split_stem(name) == stem && !strncmp(name, of, stem) &&
	       !strcmp(name + stem + 6, of + stem + 6);
}

/* Of the files in @dir, in the order of their names, those that belong to @of. */
static int put_folder(FILE *f, const char *dir, const char *of, struct sherd_error *err)
{
	struct dirent **entries;
	int n = scandir(dir, &entries, NULL, alphasort), i, ret = 0;
	struct stat st;

	if (n < 0)
		return sherd_fail(err, -errno, "%s: cannot list the folder: %s", dir,
				  strerror(errno));
	for (i = 0; i < n; i++) {
		char *path = sherd_asprintf("%s/%s", dir, entries[i]->d_name);

		if (!path)
			ret = sherd_fail_oom(err, strlen(dir), "a path");
		else if (belongs(entries[i]->d_name, of) && !stat(path, &st) && S_ISREG(st.st_mode))
			put_file(f, entries[i]->d_name, &st);
		free(path);
		free(entries[i]);
	}
	free(entries);
	return ret;
}

/* Of a folder within a Hugging Face folder, one file is read. */
static int put_pooling(FILE *f, const char *dir, struct sherd_error *err)
{
	char *path = sherd_asprintf("%s/" HF_POOLING, dir);
	struct stat st;

	if (!path)
		return sherd_fail_oom(err, strlen(dir), "a path");
	if (!stat(path, &st))
		put_file(f, HF_POOLING, &st);
	free(path);
	return 0;
}

static int put_identity(FILE *f, const char *path, struct sherd_error *err)
{
	char *slash = strrchr(path, '/'), *dir;
	struct stat st;
	int ret;

	if (stat(path, &st))
		return sherd_fail(err, -errno, "%s: can't be opened: %s", path, strerror(errno));
	if (S_ISDIR(st.st_mode)) {
		fprintf(f, "%s\n", path);
		ret = put_folder(f, path, NULL, err);
		return ret ? ret : put_pooling(f, path, err);
	}
	put_file(f, path, &st);
	if (!slash || !split_stem(slash + 1))
		return 0;
	dir = strndup(path, (size_t)(slash - path));
	ret = dir ? put_folder(f, dir, slash + 1, err) : sherd_fail_oom(err, 1, "a path");
	free(dir);
	return ret;
}

char *sherd_source_identity(const char *path, struct sherd_error *err)
{
	char *real = realpath(path, NULL), *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);
	int ret;

	if (!real)
		ret = sherd_fail(err, -errno, "%s: can't be opened: %s", path, strerror(errno));
	else
		ret = f ? put_identity(f, real, err) : -ENOMEM;
	free(real);
	if (f && fclose(f))
		ret = -ENOMEM;
	if (ret == -ENOMEM)
		sherd_fail_oom(err, 4096, "a cache key");
	if (!ret)
		return text;
	free(text);
	return NULL;
}

bool sherd_source_has(const struct gguf *g, const char *path)
{
	struct stat st, own;
	size_t i;

	if (stat(path, &st))
		return false;
	for (i = 0; i <= g->n_more; i++) {
		int fd = i ? g->more[i - 1].fd : g->map.fd;

		if (fd >= 0 && !fstat(fd, &own) && own.st_dev == st.st_dev &&
		    own.st_ino == st.st_ino)
			return true;
	}
	return false;
}
