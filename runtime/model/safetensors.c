/* SPDX-License-Identifier: MIT */
/* safetensors: see safetensors.h. */
#include "model/safetensors.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>

#define MAX_HEADER  (64u << 20)
#define MAX_TENSORS (1u << 18)
#define MAX_NAME    1024u

static enum ggml_type type_of(const char *dtype)
{
	static const struct {
		const char *name;
		enum ggml_type type;
	} types[] = { { "F32", GGML_F32 }, { "F16", GGML_F16 }, { "BF16", GGML_BF16 } };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(dtype, types[i].name))
			return types[i].type;
	return GGML_TYPE_MAX;
}

static int take_uint(const json_t *j, uint64_t *v)
{
	if (!json_is_integer(j) || json_integer_value(j) < 0)
		return -EINVAL;
	*v = (uint64_t)json_integer_value(j);
	return 0;
}

/* The elements' number; a scalar has no dimensions and one element. */
static int take_shape(struct st_tensor *t, const json_t *shape, size_t *elems)
{
	size_t i, n = json_array_size(shape);

	if (!json_is_array(shape) || n > 8)
		return -EINVAL;
	*elems = 1;
	t->n_dims = (int)n;
	for (i = 0; i < GGUF_MAX_DIMS; i++)
		t->dims[i] = 1;
	for (i = 0; i < n; i++) {
		uint64_t d;

		if (take_uint(json_array_get(shape, i), &d) || d > SIZE_MAX / 8 ||
		    !sherd_mul_ok(*elems, (size_t)d, elems))
			return -EINVAL;
		if (i < GGUF_MAX_DIMS)
			t->dims[i] = d;
	}
	return *elems > SIZE_MAX / 8 ? -EINVAL : 0;
}

static int take_place(struct st_tensor *t, const json_t *offsets, const uint8_t *data, size_t size,
		      const char *path, struct sherd_error *err)
{
	uint64_t begin, end;

	if (json_array_size(offsets) != 2 || take_uint(json_array_get(offsets, 0), &begin) ||
	    take_uint(json_array_get(offsets, 1), &end) || begin > end)
		return sherd_fail(err, -EINVAL, "%s: tensor %s: its data_offsets are no range",
				  path, t->name);
	if (end > size)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s ends at byte %" PRIu64
				  " of the data, but the file has %zu: is it truncated?",
				  path, t->name, end, size);
	t->data = data + begin;
	t->size = (size_t)(end - begin);
	return 0;
}

static int take_tensor(struct st_tensor *t, const char *name, const json_t *j, const uint8_t *data,
		       size_t size, const char *path, struct sherd_error *err)
{
	const char *dtype = json_string_value(json_object_get(j, "dtype"));
	size_t elems;

	if (!*name || strlen(name) > MAX_NAME)
		return sherd_fail(err, -EINVAL, "%s: a tensor's name has %zu bytes: 1 to %u may be",
				  path, strlen(name), MAX_NAME);
	t->name = strdup(name);
	if (!t->name)
		return sherd_fail_oom(err, strlen(name), path);
	if (!dtype || strlen(dtype) >= sizeof(t->dtype))
		return sherd_fail(err, -EINVAL, "%s: tensor %s has no dtype", path, name);
	strcpy(t->dtype, dtype);
	t->type = type_of(dtype);
	if (take_shape(t, json_object_get(j, "shape"), &elems))
		return sherd_fail(err, -EINVAL, "%s: tensor %s has a shape that cannot be", path,
				  name);
	if (take_place(t, json_object_get(j, "data_offsets"), data, size, path, err))
		return -EINVAL;
	if (t->type != GGML_TYPE_MAX && elems * ggml_block_bytes(t->type) != t->size)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s has %zu bytes where its shape calls for %zu of %s",
				  path, name, t->size, elems * ggml_block_bytes(t->type), dtype);
	return 0;
}

static int by_place(const void *a, const void *b)
{
	const struct st_tensor *x = a, *y = b;

	if (x->data != y->data)
		return x->data < y->data ? -1 : 1;
	return (x->size > y->size) - (x->size < y->size);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct st_tensor *)a)->name, ((const struct st_tensor *)b)->name);
}

static int check_overlaps(struct safetensors *s, const char *path, struct sherd_error *err)
{
	size_t i;

	qsort(s->tensors, s->n, sizeof(*s->tensors), by_place);
	for (i = 1; i < s->n; i++)
		if (s->tensors[i - 1].data + s->tensors[i - 1].size > s->tensors[i].data)
			return sherd_fail(err, -EINVAL, "%s: tensors %s and %s overlap", path,
					  s->tensors[i - 1].name, s->tensors[i].name);
	qsort(s->tensors, s->n, sizeof(*s->tensors), by_name);
	return 0;
}

static int take_all(struct safetensors *s, json_t *root, const uint8_t *data, size_t size,
		    const char *path, struct sherd_error *err)
{
	const char *name;
	json_t *j;
	int ret;

	if (!json_is_object(root) || json_object_size(root) > MAX_TENSORS)
		return sherd_fail(err, -EINVAL, "%s: its header lists no tensors, or more than %u",
				  path, MAX_TENSORS);
	s->tensors = sherd_calloc(json_object_size(root), sizeof(*s->tensors));
	if (!s->tensors)
		return sherd_fail_oom(err, json_object_size(root) * sizeof(*s->tensors), path);
	json_object_foreach(root, name, j) {
		if (!strcmp(name, "__metadata__"))
			continue;
		ret = take_tensor(&s->tensors[s->n++], name, j, data, size, path, err);
		if (ret)
			return ret;
	}
	return check_overlaps(s, path, err);
}

int safetensors_parse(struct safetensors *s, const void *data, size_t size, const char *name,
		      struct sherd_error *err)
{
	const uint8_t *bytes = data;
	json_error_t why;
	uint64_t header;
	json_t *root;
	int ret;

	*s = (struct safetensors){ .map.fd = -1 };
	if (size < sizeof(header))
		return sherd_fail(err, -EINVAL, "%s: %zu bytes are no safetensors file", name,
				  size);
	memcpy(&header, bytes, sizeof(header));
	if (header > size - sizeof(header))
		return sherd_fail(err, -EINVAL,
				  "%s: claims a header of %" PRIu64
				  " bytes and has %zu: it is no safetensors file, or truncated "
				  "(a Git LFS pointer?)",
				  name, header, size - sizeof(header));
	if (header > MAX_HEADER)
		return sherd_fail(err, -EINVAL,
				  "%s: its header has %" PRIu64 " bytes, at most %u are allowed",
				  name, header, MAX_HEADER);
	root = json_loadb((const char *)bytes + sizeof(header), (size_t)header,
			  JSON_REJECT_DUPLICATES, &why);
	if (!root)
		return sherd_fail(err, -EINVAL, "%s: its header is no JSON (byte %d: %s)", name,
				  why.position, why.text);
	ret = take_all(s, root, bytes + sizeof(header) + header, size - sizeof(header) - header,
		       name, err);
	json_decref(root);
	return ret;
}

int safetensors_open(struct safetensors *s, const char *path, struct sherd_error *err)
{
	struct sherd_map map;
	int ret;

	*s = (struct safetensors){ .map.fd = -1 };
	ret = sherd_map_open(&map, path, err);
	if (ret)
		return ret;
	ret = safetensors_parse(s, map.data, map.size, path, err);
	s->map = map;
	return ret;
}

void safetensors_close(struct safetensors *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		free(s->tensors[i].name);
	free(s->tensors);
	if (s->map.fd >= 0)
		sherd_map_close(&s->map);
	*s = (struct safetensors){ .map.fd = -1 };
}
