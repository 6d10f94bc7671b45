/* SPDX-License-Identifier: MIT */
/*
 * gguf_split: models in several GGUF files, NAME-00001-of-00003.gguf and so on. The first has the
 * metadata, each has some of the tensors, and each says which part it is. Whichever is named, all
 * are opened and looked at before a tensor of theirs is believed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "model/gguf.h"

#define MAX_PARTS 65535
#define DIGITS	  5 /* of a number in a file's name */

struct split {
	int64_t no, count, tensors; /* tensors: -1 where the file does not say */
};

/* What a file says of itself; 0: it is no part of anything. */
static int read_split(const struct gguf *g, struct split *s, struct sherd_error *err)
{
	int ret;

	*s = (struct split){ .no = -1, .count = 0, .tensors = -1 };
	ret = gguf_get_int(g, "split.count", 0, MAX_PARTS, &s->count, err);
	if (ret < 0 || s->count < 2)
		return MIN(ret, 0);
	ret = gguf_get_int(g, "split.no", 0, MAX_PARTS, &s->no, err);
	if (ret >= 0)
		ret = gguf_get_int(g, "split.tensors.count", 0, INT32_MAX, &s->tensors, err);
	if (ret < 0)
		return ret;
	if (s->no < 0 || s->no >= s->count)
		return sherd_fail(err, -EINVAL,
				  "%s: says that it is part %" PRId64 " (from 0) of %" PRId64,
				  g->path, s->no, s->count);
	return 1;
}

/* "NAME-00002-of-00003.gguf": the length of NAME; 0: the file is not called so. */
static size_t stem_of(const char *path, const struct split *s)
{
	char tail[40];
	size_t n = strlen(path);
	int m = snprintf(tail, sizeof(tail), "-%05" PRId64 "-of-%05" PRId64 ".gguf", s->no + 1,
			 s->count);

	return n > (size_t)m && !strcmp(path + n - m, tail) ? n - m : 0;
}

static char *part_path(const char *path, size_t stem, int64_t no, int64_t count)
{
	return sherd_asprintf("%.*s-%05" PRId64 "-of-%05" PRId64 ".gguf", (int)stem, path, no + 1,
			      count);
}

/* Opens part @no and checks that it is one of those that @first began. */
static int open_part(struct gguf **part, const char *path, const struct split *first, int64_t no,
		     struct sherd_error *err)
{
	struct split s;
	int ret = gguf_open(part, path, err);

	if (ret == -ENOENT)
		return sherd_fail(err, ret,
				  "%s: is missing: the model is split into %" PRId64
				  " files, and all have to be in one folder",
				  path, first->count);
	if (!ret)
		ret = read_split(*part, &s, err);
	if (ret < 0)
		return ret;
	if (!ret || s.count != first->count || s.no != no)
		return sherd_fail(err, -EINVAL,
				  "%s: should be part %" PRId64 " of %" PRId64
				  ", but says that it is part %" PRId64 " of %" PRId64
				  ": it belongs to another model",
				  path, no + 1, first->count, ret ? s.no + 1 : 0, s.count);
	return 0;
}

/* Appends the tensors of @part to the @n that @all has; the map goes over to @g. */
static int join_part(struct gguf *g, struct gguf *part, struct gguf_tensor **all, size_t *n,
		     struct sherd_error *err)
{
	struct gguf_tensor *t = *all;
	int ret = 0;

	if (part->n_tensors) {
		t = reallocarray(*all, *n + part->n_tensors, sizeof(*t));
		if (!t)
			return sherd_fail_oom(err, part->n_tensors * sizeof(*t), part->path);
		*all = t;
		memcpy(t + *n, part->tensors, part->n_tensors * sizeof(*t));
		*n += part->n_tensors;
	}
	if (part != g) {
		ret = gguf_add_map(g, part->map, err);
		part->map.fd = -1;
	}
	return ret;
}

static int join_all(struct gguf *g, const struct split *s, size_t stem, struct sherd_error *err)
{
	struct gguf_tensor *all = NULL;
	struct gguf *part;
	size_t n = 0;
	int64_t no;
	int ret = join_part(g, g, &all, &n, err);

	for (no = 1; no < s->count && !ret; no++) {
		char *path = part_path(g->path, stem, no, s->count);

		part = NULL;
		ret = path ? open_part(&part, path, s, no, err) :
			     sherd_fail_oom(err, stem, g->path);
		if (!ret)
			ret = join_part(g, part, &all, &n, err);
		gguf_close(part);
		free(path);
	}
	if (!ret && s->tensors >= 0 && (uint64_t)s->tensors != n)
		ret = sherd_fail(err, -EINVAL,
				 "%s: says that its %" PRId64 " files have %" PRId64
				 " tensors, but they have %zu",
				 g->path, s->count, s->tensors, n);
	if (!ret)
		return gguf_set_tensors(g, all, n, err);
	free(all);
	return ret;
}

/* Opens the first part where @g is another; @g is closed then. */
static int go_to_first(struct gguf **g, struct split *s, size_t stem, struct sherd_error *err)
{
	char *path = part_path((*g)->path, stem, 0, s->count);
	struct gguf *first = NULL;
	int ret = path ? open_part(&first, path, s, 0, err) : sherd_fail_oom(err, stem, "a path");

	if (!ret)
		ret = MIN(read_split(first, s, err), 0);
	gguf_close(*g);
	*g = first;
	free(path);
	return ret;
}

int gguf_open_split(struct gguf **g, const char *path, struct sherd_error *err)
{
	struct split s;
	size_t stem;
	int ret = gguf_open(g, path, err);

	if (ret)
		return ret;
	ret = read_split(*g, &s, err);
	if (!ret)
		return 0;
	if (ret < 0)
		goto close;
	stem = stem_of(path, &s);
	ret = 0;
	if (!stem)
		ret = sherd_fail(err, -EINVAL,
				 "%s: is part %" PRId64 " of %" PRId64
				 ", and only by a name that ends in "
				 "-%05" PRId64 "-of-%05" PRId64 ".gguf can the others be found",
				 path, s.no + 1, s.count, s.no + 1, s.count);
	if (!ret && s.no)
		ret = go_to_first(g, &s, stem, err);
	if (!ret)
		ret = join_all(*g, &s, stem, err);
	if (!ret)
		return 0;
close:
	gguf_close(*g);
	*g = NULL;
	return ret;
}
