/* SPDX-License-Identifier: MIT */
/* gguf_edit: see gguf_edit.h. */
#include "gguf_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void must(int ret, const struct sherd_error *err)
{
	if (!ret)
		return;
	fprintf(stderr, "gguf_edit: %s\n", err->msg);
	abort();
}

static bool is(struct gguf_str s, const char *name)
{
	return name && gguf_str_eq(s, name);
}

static void put_values(struct gguf_writer *w, const struct gguf *g, const struct gguf_edit *e)
{
	char key[256];
	size_t i;

	for (i = 0; i < g->n_values; i++) {
		struct gguf_str k = g->values[i].key;

		if (is(k, e->drop_value) || is(k, e->set_u32) || is(k, e->set_array) ||
		    is(k, e->set_str) || is(k, "general.alignment"))
			continue;
		snprintf(key, sizeof(key), "%.*s", (int)k.len, k.data);
		gguf_put_value(w, key, &g->values[i]);
	}
	if (e->set_u32)
		gguf_put_u32(w, e->set_u32, e->u32);
	if (e->set_array)
		gguf_put_u32_array(w, e->set_array, e->array, (size_t)e->n_array);
	if (e->set_str)
		gguf_put_str(w, e->set_str, e->str);
}

static void put_tensor(struct gguf_writer *w, const struct gguf_tensor *t,
		       const struct gguf_edit *e)
{
	bool edit = is(t->name, e->tensor);
	enum ggml_type type =
		edit && e->type_plus_1 ? (enum ggml_type)(e->type_plus_1 - 1) : t->type;
	char name[128];

	if (is(t->name, e->drop_tensor))
		return;
	snprintf(name, sizeof(name), "%.*s", (int)t->name.len, t->name.data);
	if (edit && e->dims[0])
		gguf_put_tensor(w, e->name ? e->name : name, type, 2, e->dims);
	else
		gguf_put_tensor(w, edit && e->name ? e->name : name, type, t->n_dims, t->dims);
}

static void put_data(struct gguf_writer *w, const struct gguf_tensor *t, const struct gguf_edit *e)
{
	bool edit = is(t->name, e->tensor);
	enum ggml_type type =
		edit && e->type_plus_1 ? (enum ggml_type)(e->type_plus_1 - 1) : t->type;
	uint64_t elems = edit && e->dims[0] ? e->dims[0] * e->dims[1] : t->dims[0] * t->dims[1];
	size_t size = elems / ggml_block_size(type) * ggml_block_bytes(type);
	bool same = type == t->type && size == t->size;
	struct sherd_error err;
	uint8_t *data;

	if (is(t->name, e->drop_tensor))
		return;
	data = calloc(1, size);
	if (!data)
		abort();
	if (same)
		memcpy(data, t->data, size);
	if (edit && e->poke)
		memcpy(data + e->poke_at, e->poke, e->poke_size);
	must(gguf_writer_data(w, data, size, &err), &err);
	free(data);
}

char *gguf_edit_write(const char *path, const struct gguf_edit *e)
{
	static const float zeros[32];
	uint64_t n = ARRAY_SIZE(zeros);
	char *copy = sherd_asprintf("%s-edit-XXXXXX", path);
	int fd = copy ? mkstemp(copy) : -1;
	struct gguf_writer *w;
	struct sherd_error err;
	struct gguf *g;
	size_t i;

	if (fd < 0)
		abort();
	must(gguf_open(&g, path, &err), &err);
	w = gguf_writer_new(fd, copy, e->alignment ? e->alignment : g->alignment);
	put_values(w, g, e);
	for (i = 0; i < g->n_tensors; i++)
		put_tensor(w, &g->tensors[i], e);
	if (e->add_tensor)
		gguf_put_tensor(w, e->add_tensor, GGML_F32, 1, &n);
	must(gguf_writer_header(w, &err), &err);
	for (i = 0; i < g->n_tensors; i++)
		put_data(w, &g->tensors[i], e);
	if (e->add_tensor)
		must(gguf_writer_data(w, zeros, sizeof(zeros), &err), &err);
	must(gguf_writer_finish(w, &err), &err);
	gguf_writer_free(w);
	gguf_close(g);
	close(fd);
	return copy;
}
