/* SPDX-License-Identifier: MIT */
/*
 * store_find: which file of a folder is the shard that a plan means. Names are for people: what
 * counts is what the file says of itself, so that shards may be copied there by any means.
 */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "model/gguf.h"
#include "model/shard.h"
#include "store.h"

void store_name(const struct sherd_stage_spec *spec, char name[SHERD_FILE_NAME])
{
	int n = snprintf(name, SHERD_FILE_NAME, "%.16s-%d-%d", spec->model, spec->first, spec->end);

	snprintf(name + n, (size_t)(SHERD_FILE_NAME - n), spec->bits ? "-int%d.gguf" : ".gguf",
		 spec->bits);
}

enum match { NO_SHARD, OTHER_MODEL, OTHER_LAYERS, SAME };

/* Reads the header alone. */
static enum match look(const char *path, const struct sherd_stage_spec *spec)
{
	struct sherd_shard_name n;

	if (sherd_shard_peek(path, &n, NULL))
		return NO_SHARD;
	if (strcmp(n.source_sha256, spec->model) || n.bits != spec->bits)
		return OTHER_MODEL;
	return n.first_layer == spec->first && n.end_layer == spec->end ? SAME : OTHER_LAYERS;
}

char *store_find(const char *dir, const struct sherd_stage_spec *spec, struct sherd_error *err)
{
	bool other_layers = false;
	DIR *d = opendir(dir);
	struct dirent *e;
	char *path = NULL;

	if (!d) {
		sherd_fail(err, -errno, "%s: can't be read: %s", dir, strerror(errno));
		return NULL;
	}
	while (!path && (e = readdir(d))) {
		enum match m;

		if (e->d_name[0] == '.')
			continue;
		path = sherd_asprintf("%s/%s", dir, e->d_name);
		m = path ? look(path, spec) : NO_SHARD;
		other_layers |= m == OTHER_LAYERS;
		if (m != SAME) {
			free(path);
			path = NULL;
		}
	}
	closedir(d);
	if (!path)
		sherd_fail(
			err, -ENOENT,
			"layers %d to %d of model %.16s... are not here%s; sherd push brings them",
			spec->first, spec->end - 1, spec->model,
			other_layers ? ", only others of its layers" : "");
	return path;
}
