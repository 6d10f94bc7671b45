/* SPDX-License-Identifier: MIT */
/*
 * gguf_write: metadata and tensor entries are gathered in memory, because the header's counts and
 * the tensors' offsets have to be known before the first byte is written; the tensors' bytes then
 * stream through. The file ends with a padded tensor, as readers that check against the alignment
 * expect.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include "model/gguf.h"

struct section {
	FILE *f; /* on the memory below */
	char *data;
	size_t size;
	uint64_t n;
};

struct gguf_writer {
	int fd;
	char *name;
	uint32_t alignment;
	struct section values, tensors;
	uint64_t *sizes;	/* [tensors.n], bytes of each */
	uint64_t next_offset;	/* in the data section */
	uint64_t current, done; /* tensor that is being streamed, bytes of it that are out */
	bool header_written;
	int failed; /* the first error of the calls that return none */
	char why[128];
};

static void fail_put(struct gguf_writer *w, int code, const char *what, const char *key)
{
	if (w->failed)
		return;
	w->failed = code;
	snprintf(w->why, sizeof(w->why), "%.60s: %s", key, what);
}

static void put(struct section *s, const void *data, size_t size)
{
	if (size)
		fwrite(data, 1, size, s->f); /* ferror() is looked at in the end */
}

static void put_u32(struct section *s, uint32_t v)
{
	put(s, &v, sizeof(v));
}

static void put_u64(struct section *s, uint64_t v)
{
	put(s, &v, sizeof(v));
}

static void put_str(struct section *s, const char *data, size_t len)
{
	put_u64(s, len);
	put(s, data, len);
}

/* NULL: nothing can be put (no writer, or it is too late). */
static struct section *begin_value(struct gguf_writer *w, const char *key, enum gguf_kind kind)
{
	if (!w)
		return NULL;
	if (w->header_written) {
		fail_put(w, -EINVAL, "metadata after the header", key);
		return NULL;
	}
	w->values.n++;
	put_str(&w->values, key, strlen(key));
	put_u32(&w->values, kind);
	return &w->values;
}

static void put_scalar(struct gguf_writer *w, const char *key, enum gguf_kind kind, const void *v,
		       size_t size)
{
	struct section *s = begin_value(w, key, kind);

	if (s)
		put(s, v, size);
}

void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v)
{
	put_scalar(w, key, GGUF_U32, &v, sizeof(v));
}

void gguf_put_f32(struct gguf_writer *w, const char *key, float v)
{
	put_scalar(w, key, GGUF_F32, &v, sizeof(v));
}

void gguf_put_bool(struct gguf_writer *w, const char *key, bool v)
{
	uint8_t b = v;

	put_scalar(w, key, GGUF_BOOL, &b, sizeof(b));
}

void gguf_put_strn(struct gguf_writer *w, const char *key, const char *v, size_t len)
{
	struct section *s = begin_value(w, key, GGUF_STRING);

	if (s)
		put_str(s, v, len);
}

void gguf_put_str(struct gguf_writer *w, const char *key, const char *v)
{
	gguf_put_strn(w, key, v, strlen(v));
}

static struct section *begin_array(struct gguf_writer *w, const char *key, enum gguf_kind elem,
				   size_t n)
{
	struct section *s = begin_value(w, key, GGUF_ARRAY);

	if (s) {
		put_u32(s, elem);
		put_u64(s, n);
	}
	return s;
}

void gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t n)
{
	struct section *s = begin_array(w, key, GGUF_STRING, n);
	size_t i;

	for (i = 0; s && i < n; i++)
		put_str(s, v[i].data, v[i].len);
}

void gguf_put_u32_array(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n)
{
	gguf_put_array(w, key, GGUF_U32, v, n);
}

static size_t elem_bytes(enum gguf_kind kind)
{
	switch (kind) {
	case GGUF_U8:
	case GGUF_I8:
	case GGUF_BOOL:
		return 1;
	case GGUF_U16:
	case GGUF_I16:
		return 2;
	case GGUF_U64:
	case GGUF_I64:
	case GGUF_F64:
		return 8;
	default:
		return 4;
	}
}

void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_kind elem, const void *v,
		    size_t n)
{
	struct section *s = begin_array(w, key, elem, n);

	if (s)
		put(s, v, n * elem_bytes(elem));
}

void gguf_put_value(struct gguf_writer *w, const char *key, const struct gguf_value *v)
{
	struct section *s = begin_value(w, key, v->kind);
	uint64_t i;

	if (!s)
		return;
	if (v->kind == GGUF_STRING) {
		memcpy(&i, v->data, sizeof(i));
		put(s, v->data, sizeof(i) + (size_t)i);
		return;
	}
	if (v->kind == GGUF_ARRAY) {
		put_u32(s, v->elem);
		put_u64(s, v->n);
	}
	if (v->elem == GGUF_ARRAY)
		fail_put(w, -ENOTSUP, "arrays of arrays cannot be copied", key);
	else if (v->elem == GGUF_STRING)
		for (i = 0; i < v->n; i++)
			put_str(s, v->strings[i].data, v->strings[i].len);
	else
		put(s, v->data, (size_t)v->n * elem_bytes(v->elem));
}

void gguf_put_tensor(struct gguf_writer *w, const char *name, enum ggml_type type, int n_dims,
		     const uint64_t *dims)
{
	unsigned block = ggml_block_size(type);
	uint64_t *sizes, elems = 1;
	bool bad;
	int i;

	if (!w)
		return;
	bad = w->header_written || !block || n_dims < 1 || n_dims > GGUF_MAX_DIMS ||
	      dims[0] % block;
	for (i = 0; i < n_dims && !bad; i++)
		bad = !dims[i] || __builtin_mul_overflow(elems, dims[i], &elems) ||
		      elems > INT64_MAX / 8;
	if (bad) {
		fail_put(w, -EINVAL, "a tensor of this shape cannot be written", name);
		return;
	}
	sizes = realloc(w->sizes, (size_t)(w->tensors.n + 1) * sizeof(*sizes));
	if (!sizes) {
		fail_put(w, -ENOMEM, "no memory", name);
		return;
	}
	w->sizes = sizes;
	sizes[w->tensors.n++] = elems / block * ggml_block_bytes(type);
	put_str(&w->tensors, name, strlen(name));
	put_u32(&w->tensors, (uint32_t)n_dims);
	put(&w->tensors, dims, (size_t)n_dims * sizeof(*dims));
	put_u32(&w->tensors, type);
	put_u64(&w->tensors, w->next_offset);
	w->next_offset += ROUND_UP(sizes[w->tensors.n - 1], w->alignment);
}

struct gguf_writer *gguf_writer_new(int fd, const char *name, uint32_t alignment)
{
	struct gguf_writer *w = sherd_calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->fd = fd;
	w->alignment = alignment;
	w->name = strdup(name);
	w->values.f = open_memstream(&w->values.data, &w->values.size);
	w->tensors.f = open_memstream(&w->tensors.data, &w->tensors.size);
	if (!w->name || !w->values.f || !w->tensors.f) {
		gguf_writer_free(w);
		return NULL;
	}
	if (alignment < 8 || alignment & (alignment - 1))
		fail_put(w, -EINVAL, "must be a power of two, 8 or more", "the alignment");
	else
		gguf_put_u32(w, "general.alignment", alignment);
	return w;
}

void gguf_writer_free(struct gguf_writer *w)
{
	if (!w)
		return;
	if (w->values.f)
		fclose(w->values.f);
	if (w->tensors.f)
		fclose(w->tensors.f);
	free(w->values.data);
	free(w->tensors.data);
	free(w->sizes);
	free(w->name);
	free(w);
}

static int pad(struct gguf_writer *w, uint64_t written, struct sherd_error *err)
{
	static const uint8_t zeros[4096];
	uint64_t n = ROUND_UP(written, (uint64_t)w->alignment) - written;
	size_t part;
	int ret = 0;

	for (; n && !ret; n -= part) {
		part = MIN((size_t)n, sizeof(zeros));
		ret = sherd_write_all(w->fd, zeros, part, w->name, err);
	}
	return ret;
}

int gguf_writer_header(struct gguf_writer *w, struct sherd_error *err)
{
	struct {
		char magic[4];
		uint32_t version;
		uint64_t n_tensors, n_values;
	} head = { { 'G', 'G', 'U', 'F' }, 3, 0, 0 };
	int ret;

	if (!w)
		return sherd_fail_oom(err, sizeof(*w), "a GGUF writer");
	if (!w->failed && (fflush(w->values.f) || fflush(w->tensors.f) || ferror(w->values.f) ||
			   ferror(w->tensors.f)))
		fail_put(w, -ENOMEM, "no memory", "the header");
	if (w->failed)
		return sherd_fail(err, w->failed, "%s: cannot write it as GGUF: %s", w->name,
				  w->why);
	head.n_tensors = w->tensors.n;
	head.n_values = w->values.n;
	w->header_written = true;
	ret = sherd_write_all(w->fd, &head, sizeof(head), w->name, err);
	if (!ret)
		ret = sherd_write_all(w->fd, w->values.data, w->values.size, w->name, err);
	if (!ret)
		ret = sherd_write_all(w->fd, w->tensors.data, w->tensors.size, w->name, err);
	return ret ? ret : pad(w, sizeof(head) + w->values.size + w->tensors.size, err);
}

int gguf_writer_data(struct gguf_writer *w, const void *data, size_t size, struct sherd_error *err)
{
	const uint8_t *p = data;
	size_t part;
	int ret;

	if (!w->header_written)
		return sherd_fail(err, -EINVAL, "%s: a tensor's bytes before the header", w->name);
	while (size) {
		if (w->current == w->tensors.n)
			return sherd_fail(err, -EINVAL, "%s: %zu bytes more than its tensors have",
					  w->name, size);
		part = (size_t)MIN((uint64_t)size, w->sizes[w->current] - w->done);
		ret = sherd_write_all(w->fd, p, part, w->name, err);
		if (ret)
			return ret;
		p += part;
		size -= part;
		w->done += part;
		if (w->done < w->sizes[w->current])
			continue;
		ret = pad(w, w->done, err);
		if (ret)
			return ret;
		w->current++;
		w->done = 0;
	}
	return 0;
}

int gguf_writer_finish(struct gguf_writer *w, struct sherd_error *err)
{
	if (w->failed)
		return sherd_fail(err, w->failed, "%s: cannot write it as GGUF: %s", w->name,
				  w->why);
	if (!w->header_written || w->current != w->tensors.n)
		return sherd_fail(err, -EINVAL,
				  "%s: the bytes of %" PRIu64 " of its %" PRIu64
				  " tensors are missing",
				  w->name, w->tensors.n - w->current, w->tensors.n);
	return 0;
}
