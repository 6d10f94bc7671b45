/* SPDX-License-Identifier: MIT */
/*
 * gguf_index: finds values and tensors by name, and keeps what an open file brings along. Names are
 * looked up by binary search in sorted lists, which also show duplicates, and which no chosen names
 * can make slow.
 */
#include <stdlib.h>
#include "model/gguf.h"

struct index {
	const struct gguf_value **values;   /* [n_values], by key */
	const struct gguf_tensor **tensors; /* [n_tensors], by name */
};

static struct index *get_index(struct gguf *g, struct sherd_error *err)
{
	if (!g->index)
		g->index = sherd_calloc(1, sizeof(struct index));
	if (!g->index)
		sherd_fail_oom(err, sizeof(struct index), g->path);
	return g->index;
}

static int compare(struct gguf_str a, struct gguf_str b)
{
	size_t n = MIN(a.len, b.len);
	int d = n ? memcmp(a.data, b.data, n) : 0;

	return d ? d : (a.len > b.len) - (a.len < b.len);
}

static int by_key(const void *a, const void *b)
{
	return compare((*(const struct gguf_value *const *)a)->key,
		       (*(const struct gguf_value *const *)b)->key);
}

static int by_name(const void *a, const void *b)
{
	return compare((*(const struct gguf_tensor *const *)a)->name,
		       (*(const struct gguf_tensor *const *)b)->name);
}

int gguf_index_values(struct gguf *g, struct sherd_error *err)
{
	struct index *x = get_index(g, err);
	size_t i;

	if (!x)
		return -ENOMEM;
	x->values = sherd_calloc(g->n_values, sizeof(*x->values));
	if (!x->values)
		return sherd_fail_oom(err, g->n_values * sizeof(*x->values), g->path);
	for (i = 0; i < g->n_values; i++)
		x->values[i] = &g->values[i];
	qsort(x->values, g->n_values, sizeof(*x->values), by_key);
	for (i = 1; i < g->n_values; i++)
		if (!by_key(&x->values[i - 1], &x->values[i]))
			return sherd_fail(err, -EINVAL, "%s: the key %.*s is there twice", g->path,
					  (int)x->values[i]->key.len, x->values[i]->key.data);
	return 0;
}

int gguf_index_tensors(struct gguf *g, struct sherd_error *err)
{
	struct index *x = get_index(g, err);
	size_t i;

	if (!x)
		return -ENOMEM;
	free(x->tensors);
	x->tensors = sherd_calloc(g->n_tensors, sizeof(*x->tensors));
	if (!x->tensors)
		return sherd_fail_oom(err, g->n_tensors * sizeof(*x->tensors), g->path);
	for (i = 0; i < g->n_tensors; i++)
		x->tensors[i] = &g->tensors[i];
	qsort(x->tensors, g->n_tensors, sizeof(*x->tensors), by_name);
	for (i = 1; i < g->n_tensors; i++)
		if (!by_name(&x->tensors[i - 1], &x->tensors[i]))
			return sherd_fail(err, -EINVAL, "%s: the tensor %.*s is there twice",
					  g->path, (int)x->tensors[i]->name.len,
					  x->tensors[i]->name.data);
	return 0;
}

const struct gguf_value *gguf_find(const struct gguf *g, const char *key)
{
	const struct index *x = g->index;
	struct gguf_value wanted = { .key = { key, strlen(key) } }, *p = &wanted;
	const struct gguf_value **hit =
		bsearch(&p, x->values, g->n_values, sizeof(*x->values), by_key);

	return hit ? *hit : NULL;
}

const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name)
{
	const struct index *x = g->index;
	struct gguf_tensor wanted = { .name = { name, strlen(name) } }, *p = &wanted;
	const struct gguf_tensor **hit =
		bsearch(&p, x->tensors, g->n_tensors, sizeof(*x->tensors), by_name);

	return hit ? *hit : NULL;
}

void gguf_index_free(struct gguf *g)
{
	struct index *x = g->index;

	if (!x)
		return;
	free(x->values);
	free(x->tensors);
	free(x);
}
