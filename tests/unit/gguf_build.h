/* SPDX-License-Identifier: MIT */
/*
 * gguf_build: GGUF files byte by byte, for tests that need what no honest writer writes. Every put
 * goes to the end of a buffer; finish with sherd's reader on exactly that many bytes, so that a
 * sanitizer sees the first one read too many.
 */
#ifndef SHERD_TEST_GGUF_BUILD_H
#define SHERD_TEST_GGUF_BUILD_H

#include <stdlib.h>
#include <string.h>
#include "model/gguf.h"

struct build {
	uint8_t *data;
	size_t size, room;
};

/* @n more bytes at the end, for the caller to fill. */
static inline uint8_t *build_grow(struct build *b, size_t n)
{
	if (b->room - b->size < n + 1) {
		b->room = 2 * (b->size + n + 1);
		b->data = realloc(b->data, b->room);
		if (!b->data)
			abort();
	}
	b->size += n;
	return b->data + b->size - n;
}

static inline void build_bytes(struct build *b, const void *data, size_t n)
{
	uint8_t *to = build_grow(b, n);

	if (n)
		memcpy(to, data, n);
}

static inline void build_u32(struct build *b, uint32_t v)
{
	build_bytes(b, &v, sizeof(v));
}

static inline void build_u64(struct build *b, uint64_t v)
{
	build_bytes(b, &v, sizeof(v));
}

static inline void build_str(struct build *b, const char *s)
{
	build_u64(b, strlen(s));
	build_bytes(b, s, strlen(s));
}

static inline struct build build_begin(uint32_t version, uint64_t n_tensors, uint64_t n_values)
{
	struct build b = { NULL, 0, 0 };

	build_bytes(&b, "GGUF", 4);
	build_u32(&b, version);
	build_u64(&b, n_tensors);
	build_u64(&b, n_values);
	return b;
}

static inline void build_key(struct build *b, const char *key, uint32_t kind)
{
	build_str(b, key);
	build_u32(b, kind);
}

static inline void build_value_u32(struct build *b, const char *key, uint32_t v)
{
	build_key(b, key, GGUF_U32);
	build_u32(b, v);
}

static inline void build_value_f32(struct build *b, const char *key, float v)
{
	build_key(b, key, GGUF_F32);
	build_bytes(b, &v, sizeof(v));
}

static inline void build_value_str(struct build *b, const char *key, const char *v)
{
	build_key(b, key, GGUF_STRING);
	build_str(b, v);
}

static inline void build_array(struct build *b, const char *key, uint32_t elem, uint64_t n)
{
	build_key(b, key, GGUF_ARRAY);
	build_u32(b, elem);
	build_u64(b, n);
}

static inline void build_tensor(struct build *b, const char *name, uint32_t n_dims,
				const uint64_t *dims, uint32_t type, uint64_t offset)
{
	build_str(b, name);
	build_u32(b, n_dims);
	build_bytes(b, dims, n_dims * sizeof(*dims));
	build_u32(b, type);
	build_u64(b, offset);
}

static inline void build_zeros(struct build *b, size_t n)
{
	memset(build_grow(b, n), 0, n);
}

static inline void build_align(struct build *b, size_t align)
{
	build_zeros(b, ROUND_UP(b->size, align) - b->size);
}

/*
 * Opens @size bytes of @data from an allocation of just that size, which *copy keeps; free it after
 * @g.
 */
static inline int build_open_bytes(const void *data, size_t size, struct gguf **g, void **copy,
				   struct sherd_error *err)
{
	*copy = malloc(size ? size : 1);
	if (!*copy)
		abort();
	if (size)
		memcpy(*copy, data, size);
	return gguf_open_memory(g, *copy, size, "test.gguf", err);
}

#endif
