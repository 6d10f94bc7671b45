/* SPDX-License-Identifier: MIT */
/*
 * gguf: parses the container's header. A cursor walks the mapping and never past its end; every
 * count is compared with the bytes that are left before anything is allocated for it.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "model/gguf.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "GGUF files are used in place: a little-endian machine is needed"
#endif

#define MAX_VALUES    (1u << 18)
#define MAX_TENSORS   (1u << 18)
#define MAX_KEY	      65535u
#define MAX_NAME      1024u
#define MAX_DEPTH     4 /* arrays of arrays */
#define MAX_ALIGNMENT (1u << 20)
/*
 * The fewest bytes that a value (key length, one letter, kind, a byte) and a tensor's entry take.
 */
#define MIN_VALUE_BYTES	 (8 + 1 + 4 + 1)
#define MIN_TENSOR_BYTES (8 + 1 + 4 + 8 + 4 + 8)

struct cursor {
	const uint8_t *data;
	size_t size, pos;
	const char *path;
	struct sherd_error *err;
};

static size_t left(const struct cursor *c)
{
	return c->size - c->pos;
}

static int take(struct cursor *c, void *out, size_t n, const char *what)
{
	if (left(c) < n)
		return sherd_fail(c->err, -EINVAL,
				  "%s: the file ends after %zu bytes, in %s: is it truncated?",
				  c->path, c->size, what);
	memcpy(out, c->data + c->pos, n);
	c->pos += n;
	return 0;
}

static int take_str(struct cursor *c, struct gguf_str *s, uint64_t limit, const char *what)
{
	uint64_t len = 0;
	int ret = take(c, &len, sizeof(len), what);

	if (ret)
		return ret;
	if (len > left(c))
		return sherd_fail(c->err, -EINVAL,
				  "%s: %s claims %" PRIu64 " bytes where the file has %zu left",
				  c->path, what, len, left(c));
	if (len > limit)
		return sherd_fail(c->err, -EINVAL,
				  "%s: %s has %" PRIu64 " bytes, at most %" PRIu64 " are allowed",
				  c->path, what, len, limit);
	*s = (struct gguf_str){ (const char *)c->data + c->pos, (size_t)len };
	c->pos += (size_t)len;
	return 0;
}

/* Bytes of a scalar; 0 for strings, arrays and unknown kinds. */
static size_t kind_bytes(uint32_t kind)
{
	static const uint8_t bytes[] = {
		[GGUF_U8] = 1,	[GGUF_I8] = 1,	[GGUF_U16] = 2, [GGUF_I16] = 2,
		[GGUF_U32] = 4, [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1,
		[GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8,
	};

	return kind < ARRAY_SIZE(bytes) ? bytes[kind] : 0;
}

static int skip(struct cursor *c, size_t n, size_t each, const char *what)
{
	size_t bytes;

	if (!sherd_mul_ok(n, each, &bytes) || bytes > left(c))
		return sherd_fail(
			c->err, -EINVAL,
			"%s: %s claims %zu elements of %zu bytes where the file has %zu left",
			c->path, what, n, each, left(c));
	c->pos += bytes;
	return 0;
}

/* The head of an array: at least as many bytes as elements must follow, whatever they are. */
static int take_array_head(struct cursor *c, uint32_t *elem, uint64_t *n, const char *what)
{
	int ret = take(c, elem, sizeof(*elem), what);

	if (!ret)
		ret = take(c, n, sizeof(*n), what);
	if (ret)
		return ret;
	if (*elem > GGUF_F64)
		return sherd_fail(c->err, -EINVAL,
				  "%s: %s is an array of an unknown kind, %" PRIu32, c->path, what,
				  *elem);
	if (*n > left(c))
		return sherd_fail(c->err, -EINVAL,
				  "%s: %s claims %" PRIu64
				  " elements where the file has %zu bytes left",
				  c->path, what, *n, left(c));
	return 0;
}

static int skip_strings(struct cursor *c, struct gguf_str *out, uint64_t n, const char *what)
{
	struct gguf_str s;
	uint64_t i;
	int ret;

	for (i = 0; i < n; i++) {
		ret = take_str(c, &s, SIZE_MAX, what);
		if (ret)
			return ret;
		if (out)
			out[i] = s;
	}
	return 0;
}

/* Walks over the elements of an array that nobody looks at, or of arrays within it. */
static int skip_elems(struct cursor *c, uint32_t elem, uint64_t n, int depth, const char *what)
{
	uint32_t inner;
	uint64_t i, m;
	int ret = 0;

	if (elem == GGUF_STRING)
		return skip_strings(c, NULL, n, what);
	if (elem != GGUF_ARRAY)
		return skip(c, (size_t)n, kind_bytes(elem), what);
	if (depth >= MAX_DEPTH)
		return sherd_fail(c->err, -EINVAL, "%s: %s has arrays nested deeper than %d",
				  c->path, what, MAX_DEPTH);
	for (i = 0; i < n && !ret; i++) {
		ret = take_array_head(c, &inner, &m, what);
		if (!ret)
			ret = skip_elems(c, inner, m, depth + 1, what);
	}
	return ret;
}

static int take_array(struct cursor *c, struct gguf_value *v, const char *what)
{
	uint32_t elem;
	int ret = take_array_head(c, &elem, &v->n, what);

	if (ret)
		return ret;
	v->elem = (enum gguf_kind)elem;
	v->data = c->data + c->pos;
	if (elem != GGUF_STRING)
		return skip_elems(c, elem, v->n, 1, what);
	if (v->n > left(c) / sizeof(uint64_t))
		return sherd_fail(c->err, -EINVAL,
				  "%s: %s claims %" PRIu64
				  " strings where the file has %zu bytes left",
				  c->path, what, v->n, left(c));
	v->strings = sherd_calloc((size_t)v->n, sizeof(*v->strings));
	if (!v->strings)
		return sherd_fail_oom(c->err, (size_t)v->n * sizeof(*v->strings), what);
	return skip_strings(c, v->strings, v->n, what);
}

/* A scalar is kept as an array of one of its own kind: getters need not tell them apart. */
static int take_value(struct cursor *c, struct gguf_value *v)
{
	struct gguf_str s;
	char what[96];
	uint32_t kind;
	int ret = take_str(c, &v->key, MAX_KEY, "a metadata key");

	if (ret)
		return ret;
	if (!v->key.len || memchr(v->key.data, '\0', v->key.len))
		return sherd_fail(c->err, -EINVAL, "%s: a metadata key is %s", c->path,
				  v->key.len ? "broken by a zero byte" : "empty");
	snprintf(what, sizeof(what), "%.*s", (int)v->key.len, v->key.data);
	ret = take(c, &kind, sizeof(kind), what);
	if (ret)
		return ret;
	v->kind = v->elem = (enum gguf_kind)kind;
	v->n = 1;
	v->data = c->data + c->pos;
	if (kind == GGUF_ARRAY)
		return take_array(c, v, what);
	if (kind == GGUF_STRING)
		return take_str(c, &s, SIZE_MAX, what);
	if (kind > GGUF_F64)
		return sherd_fail(c->err, -EINVAL, "%s: %s is of an unknown kind, %" PRIu32,
				  c->path, what, kind);
	return skip(c, 1, kind_bytes(kind), what);
}

/*
 * rows x row bytes; types that are not known have no size, and are refused where they are needed.
 */
static int size_tensor(struct cursor *c, struct gguf_tensor *t, const char *name)
{
	unsigned block = ggml_block_size(t->type);
	size_t elems = 1, bytes;
	int i;

	for (i = 0; i < t->n_dims; i++)
		if (!t->dims[i] || t->dims[i] > SIZE_MAX / 8 ||
		    !sherd_mul_ok(elems, (size_t)t->dims[i], &elems) || elems > SIZE_MAX / 8)
			return sherd_fail(c->err, -EINVAL,
					  "%s: tensor %s: dimension %d is %" PRIu64
					  ", which cannot be",
					  c->path, name, i, t->dims[i]);
	t->size = 0;
	if (!block)
		return 0;
	if (t->dims[0] % block)
		return sherd_fail(c->err, -EINVAL,
				  "%s: tensor %s: its rows of %" PRIu64
				  " are no multiple of %s's blocks of %u",
				  c->path, name, t->dims[0], ggml_type_name(t->type), block);
	if (!sherd_mul_ok(elems / block, ggml_block_bytes(t->type), &bytes))
		return sherd_fail(c->err, -EOVERFLOW, "%s: tensor %s is too large", c->path, name);
	t->size = bytes;
	return 0;
}

static int take_tensor(struct cursor *c, struct gguf_tensor *t)
{
	uint32_t n_dims, type;
	char name[96];
	int i, ret = take_str(c, &t->name, MAX_NAME, "a tensor's name");

	if (ret)
		return ret;
	if (!t->name.len || memchr(t->name.data, '\0', t->name.len))
		return sherd_fail(c->err, -EINVAL, "%s: a tensor's name is %s", c->path,
				  t->name.len ? "broken by a zero byte" : "empty");
	snprintf(name, sizeof(name), "%.*s", (int)t->name.len, t->name.data);
	ret = take(c, &n_dims, sizeof(n_dims), name);
	if (ret)
		return ret;
	if (!n_dims || n_dims > GGUF_MAX_DIMS)
		return sherd_fail(c->err, -EINVAL,
				  "%s: tensor %s has %" PRIu32 " dimensions, 1 to %d are allowed",
				  c->path, name, n_dims, GGUF_MAX_DIMS);
	t->n_dims = (int)n_dims;
	for (i = 0; i < GGUF_MAX_DIMS; i++)
		t->dims[i] = 1;
	ret = take(c, t->dims, n_dims * sizeof(t->dims[0]), name);
	if (!ret)
		ret = take(c, &type, sizeof(type), name);
	if (!ret)
		ret = take(c, &t->offset, sizeof(t->offset), name);
	if (ret)
		return ret;
	t->type = (enum ggml_type)type;
	return size_tensor(c, t, name);
}

/* Offsets count from the data section; from here on they are the file's. */
static int place_tensor(struct cursor *c, const struct gguf *g, struct gguf_tensor *t)
{
	size_t start = ROUND_UP(c->pos, (size_t)g->alignment);
	size_t room = start < c->size ? c->size - start : 0;

	if (t->offset % g->alignment)
		return sherd_fail(c->err, -EINVAL,
				  "%s: tensor %.*s: offset %" PRIu64
				  " is no multiple of the alignment, %" PRIu32,
				  c->path, (int)t->name.len, t->name.data, t->offset, g->alignment);
	if (t->offset > room || t->size > room - t->offset)
		return sherd_fail(c->err, -EINVAL,
				  "%s: tensor %.*s needs %" PRIu64 " bytes at offset %" PRIu64
				  ", but the file has %zu bytes of tensors: is it truncated?",
				  c->path, (int)t->name.len, t->name.data, t->size, t->offset,
				  room);
	t->offset += start;
	t->data = t->size ? c->data + t->offset : NULL;
	return 0;
}

static int take_alignment(struct gguf *g, struct sherd_error *err)
{
	int64_t a = 32;
	int ret = gguf_get_int(g, "general.alignment", 8, MAX_ALIGNMENT, &a, err);

	if (ret < 0)
		return ret;
	if (a & (a - 1))
		return sherd_fail(err, -EINVAL,
				  "%s: general.alignment is %" PRId64 ", not a power of two",
				  g->path, a);
	g->alignment = (uint32_t)a;
	return 0;
}

/* Magic, version and the two counts. */
static int take_head(struct cursor *c, struct gguf *g)
{
	uint64_t n_tensors, n_values;
	char magic[4];

	if (c->size < sizeof(magic) || memcmp(c->data, "GGUF", 4))
		return sherd_fail(c->err, -EINVAL,
				  "%s: is not a GGUF file (it does not begin with \"GGUF\")",
				  c->path);
	if (take(c, magic, 4, "its header") || take(c, &g->version, 4, "its header"))
		return -EINVAL;
	if (g->version && !(g->version & 0xffff))
		return sherd_fail(c->err, -ENOTSUP,
				  "%s: is a big-endian GGUF file; only little-endian ones are read",
				  c->path);
	if (g->version != 2 && g->version != 3)
		return sherd_fail(c->err, -ENOTSUP,
				  "%s: is GGUF version %" PRIu32 "; versions 2 and 3 are read",
				  c->path, g->version);
	if (take(c, &n_tensors, 8, "its header") || take(c, &n_values, 8, "its header"))
		return -EINVAL;
	if (n_values > MAX_VALUES || n_values > left(c) / MIN_VALUE_BYTES)
		return sherd_fail(c->err, -EINVAL,
				  "%s: claims %" PRIu64 " metadata values in %zu bytes", c->path,
				  n_values, left(c));
	if (n_tensors > MAX_TENSORS || n_tensors > left(c) / MIN_TENSOR_BYTES)
		return sherd_fail(c->err, -EINVAL, "%s: claims %" PRIu64 " tensors in %zu bytes",
				  c->path, n_tensors, left(c));
	g->n_values = (size_t)n_values;
	g->n_tensors = (size_t)n_tensors;
	g->values = sherd_calloc(g->n_values, sizeof(*g->values));
	g->tensors = sherd_calloc(g->n_tensors, sizeof(*g->tensors));
	if (!g->values || !g->tensors)
		return sherd_fail_oom(c->err,
				      g->n_values * sizeof(*g->values) +
					      g->n_tensors * sizeof(*g->tensors),
				      c->path);
	return 0;
}

static int parse(struct gguf *g, struct sherd_error *err)
{
	struct cursor c = { g->map.data, g->map.size, 0, g->path, err };
	size_t i;
	int ret = take_head(&c, g);

	for (i = 0; i < g->n_values && !ret; i++)
		ret = take_value(&c, &g->values[i]);
	if (!ret)
		ret = gguf_index_values(g, err);
	if (!ret)
		ret = take_alignment(g, err);
	for (i = 0; i < g->n_tensors && !ret; i++)
		ret = take_tensor(&c, &g->tensors[i]);
	if (!ret)
		ret = gguf_index_tensors(g, err);
	g->header_bytes = c.pos;
	for (i = 0; i < g->n_tensors && !ret; i++)
		ret = place_tensor(&c, g, &g->tensors[i]);
	return ret;
}

/* Takes over @map, which is closed by gguf_close() if it has a file. */
static int open_map(struct gguf **out, struct sherd_map map, const char *name,
		    struct sherd_error *err)
{
	struct gguf *g = sherd_calloc(1, sizeof(*g));
	int ret;

	*out = NULL;
	if (!g) {
		if (map.fd >= 0)
			sherd_map_close(&map);
		return sherd_fail_oom(err, sizeof(*g), name);
	}
	g->map = map;
	g->container = "GGUF";
	g->path = strdup(name);
	ret = g->path ? parse(g, err) : sherd_fail_oom(err, strlen(name), name);
	if (ret) {
		gguf_close(g);
		return ret;
	}
	*out = g;
	return 0;
}

int gguf_open(struct gguf **g, const char *path, struct sherd_error *err)
{
	struct sherd_map map;
	int ret = sherd_map_open(&map, path, err);

	*g = NULL;
	return ret ? ret : open_map(g, map, path, err);
}

int gguf_open_fd(struct gguf **g, int fd, const char *name, struct sherd_error *err)
{
	struct sherd_map map;
	int ret = sherd_map_fd(&map, fd, name, err);

	*g = NULL;
	return ret ? ret : open_map(g, map, name, err);
}

int gguf_open_memory(struct gguf **g, const void *data, size_t size, const char *name,
		     struct sherd_error *err)
{
	struct sherd_map map = { data, size, -1 };

	return open_map(g, map, name, err);
}

void gguf_close(struct gguf *g)
{
	size_t i;

	if (!g)
		return;
	for (i = 0; g->values && i < g->n_values; i++)
		free(g->values[i].strings);
	gguf_index_free(g);
	free(g->values);
	free(g->tensors);
	free(g->path);
	if (g->map.fd >= 0)
		sherd_map_close(&g->map);
	for (i = 0; i < g->n_more; i++)
		sherd_map_close(&g->more[i]);
	free(g->more);
	gguf_disown(g);
	free(g);
}
