/* SPDX-License-Identifier: MIT */
/*
 * gguf: reads and writes the GGUF container (v2 and v3, little endian), nothing about what is in
 * it. The file is mapped; strings, arrays and tensors are pointers into the mapping, and everything
 * that a file claims is checked against its size before use. Format:
 * https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef SHERD_GGUF_H
#define SHERD_GGUF_H

#include "base/base.h"

/* The container's numbers for element types. */
enum ggml_type {
	GGML_F32 = 0,
	GGML_F16 = 1,
	GGML_Q4_0 = 2,
	GGML_Q4_1 = 3,
	GGML_Q5_0 = 6,
	GGML_Q5_1 = 7,
	GGML_Q8_0 = 8,
	GGML_Q2_K = 10,
	GGML_Q3_K = 11,
	GGML_Q4_K = 12,
	GGML_Q5_K = 13,
	GGML_Q6_K = 14,
	GGML_IQ4_NL = 20,
	GGML_IQ4_XS = 23,
	GGML_I8 = 24,
	GGML_BF16 = 30,
	GGML_MXFP4 = 39,
	GGML_TYPE_MAX = 64,
};

enum gguf_kind {
	GGUF_U8,
	GGUF_I8,
	GGUF_U16,
	GGUF_I16,
	GGUF_U32,
	GGUF_I32,
	GGUF_F32,
	GGUF_BOOL,
	GGUF_STRING,
	GGUF_ARRAY,
	GGUF_U64,
	GGUF_I64,
	GGUF_F64,
};

#define GGUF_MAX_DIMS 4

struct gguf_str {
	const char *data; /* not NUL-terminated */
	size_t len;
};

/* A metadata value: a scalar, a string, or an array of @n of @elem kind. */
struct gguf_value {
	struct gguf_str key;
	enum gguf_kind kind; /* GGUF_ARRAY: elem and n hold */
	enum gguf_kind elem;
	uint64_t n;
	const uint8_t *data; /* the bytes in the file, unaligned */
	struct gguf_str *strings; /* [n], for an array of strings; else NULL */
};

/*
 * What a tensor's rows are made of, where they do not simply stand one after the other: tensors of
 * other files, put together in GGUF's order. Read them through gguf_row().
 */
struct gguf_view {
	enum ggml_type type; /* of what is stored; vectors are delivered as F32 */
	bool transposed;     /* stored as [columns][rows]; one part */
	unsigned pairs;	     /* of each so many rows, i and i + pairs / 2 become neighbours; 0: none */
	/* groups of heads follow each other: so many of q, one of k, one of v; 0: they do not */
	unsigned q_heads, head_dim;
	float add;	     /* to each element of a vector */
	uint64_t part_rows;  /* of each part (or elements); the parts follow each other */
	size_t n_parts;
	const uint8_t *part[];
};

struct gguf_tensor {
	struct gguf_str name;
	enum ggml_type type;
	int n_dims;
	/* dims[0] is the contiguous one (columns); unused ones are 1 */
	uint64_t dims[GGUF_MAX_DIMS];
	uint64_t offset; /* in the file */
	uint64_t size; /* bytes */
	const void *data;
	const struct gguf_view *view; /* NULL: @data has the rows in order */
};

struct gguf {
	struct sherd_map map;
	struct sherd_map *more; /* further files that tensors lie in */
	size_t n_more;
	uint64_t header_bytes; /* metadata and tensor entries */
	const char *container; /* "GGUF", "safetensors" */
	struct gguf_owned *owned; /* what gguf_own() gave */
	char *path;
	uint32_t version;
	uint32_t alignment;
	struct gguf_value *values;
	size_t n_values;
	struct gguf_tensor *tensors;
	size_t n_tensors;
	void *index; /* name look-ups, private */
};

int gguf_open(struct gguf **g, const char *path, struct sherd_error *err);
/* Takes over @fd. */
int gguf_open_fd(struct gguf **g, int fd, const char *name, struct sherd_error *err);
/* From memory that outlives @g (fuzzing, tests). */
int gguf_open_memory(struct gguf **g, const void *data, size_t size, const char *name,
		     struct sherd_error *err);
void gguf_close(struct gguf *g);
/*
 * Opens the other files too where a model is split into NAME-00001-of-00003.gguf and so on, and
 * whichever of them is named: @g has the tensors of all (gguf_split.c).
 */
int gguf_open_split(struct gguf **g, const char *path, struct sherd_error *err);
/* Of all the files that the tensors lie in. */
uint64_t gguf_file_bytes(const struct gguf *g);

/* Zeroed memory that lives as long as @g; NULL: no memory. */
void *gguf_own(struct gguf *g, size_t size);
/* @map is closed with @g from now on, or at once where there is no memory. */
int gguf_add_map(struct gguf *g, struct sherd_map map, struct sherd_error *err);
/* Puts @tensors [n], malloc'd and taken over, in the place of those that @g has. */
int gguf_set_tensors(struct gguf *g, struct gguf_tensor *tensors, size_t n,
		     struct sherd_error *err);

const struct gguf_value *gguf_find(const struct gguf *g, const char *key); /* NULL: none */
const struct gguf_tensor *gguf_tensor(const struct gguf *g, const char *name); /* NULL: none */

/*
 * Typed getters. Integers of any width convert if they fit. 1: there, 0: not there (*out is left
 * alone), negative errno and a sentence: there, but of another kind or out of [lo, hi].
 */
int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
		 struct sherd_error *err);
int gguf_get_float(const struct gguf *g, const char *key, float *out, struct sherd_error *err);
int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct sherd_error *err);
int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
		 struct sherd_error *err);
/* Element @i of an array value, converted. */
int64_t gguf_elem_int(const struct gguf_value *v, uint64_t i);
double gguf_elem_float(const struct gguf_value *v, uint64_t i);

size_t gguf_row_bytes(const struct gguf_tensor *t);
/* The bytes of a row of @t; @buf has room for them, and is used where they are put together. */
const void *gguf_row(const struct gguf_tensor *t, uint64_t row, void *buf);

static inline bool gguf_str_eq(struct gguf_str s, const char *c)
{
	return s.len == strlen(c) && !memcmp(s.data, c, s.len);
}

const char *ggml_type_name(enum ggml_type t); /* "Q4_0"; "type 77" style names for unknown ones */
/* False for types that the container knows but sherd does not read. */
bool ggml_type_known(enum ggml_type t);
/* "F32, F16, ...": the types of weights that sherd reads. */
const char *ggml_types_read(void);
/* Elements and bytes of a block; 0 for unknown types. */
unsigned ggml_block_size(enum ggml_type t);
unsigned ggml_block_bytes(enum ggml_type t);

/*
 * Writer: metadata and tensor headers first, then the tensors' bytes in the same order.
 * All calls but _end return 0 or an error that sticks; _finish writes header and placeholder,
 * gguf_writer_tensor_data() then streams each tensor (in any pieces, in order).
 */
struct gguf_writer;
struct gguf_writer *gguf_writer_new(int fd, const char *name, uint32_t alignment);
void gguf_writer_free(struct gguf_writer *w);
void gguf_put_u32(struct gguf_writer *w, const char *key, uint32_t v);
void gguf_put_f32(struct gguf_writer *w, const char *key, float v);
void gguf_put_bool(struct gguf_writer *w, const char *key, bool v);
void gguf_put_str(struct gguf_writer *w, const char *key, const char *v);
void gguf_put_strn(struct gguf_writer *w, const char *key, const char *v, size_t len);
void gguf_put_u32_array(struct gguf_writer *w, const char *key, const uint32_t *v, size_t n);
/* An array of @n elements of a number's kind. */
void gguf_put_array(struct gguf_writer *w, const char *key, enum gguf_kind elem, const void *v,
		    size_t n);
void gguf_put_strings(struct gguf_writer *w, const char *key, const struct gguf_str *v, size_t n);
/* A value of another file, as it is (tokenizer arrays), under @key. */
void gguf_put_value(struct gguf_writer *w, const char *key, const struct gguf_value *v);
void gguf_put_tensor(struct gguf_writer *w, const char *name, enum ggml_type type, int n_dims,
		     const uint64_t *dims);
/* Writes the header (checks that everything so far went well). */
int gguf_writer_header(struct gguf_writer *w, struct sherd_error *err);
int gguf_writer_data(struct gguf_writer *w, const void *data, size_t size, struct sherd_error *err);
/* All tensors' bytes are there? Pads the end. */
int gguf_writer_finish(struct gguf_writer *w, struct sherd_error *err);

/* What the gguf files share. */
int gguf_index_values(struct gguf *g, struct sherd_error *err);
int gguf_index_tensors(struct gguf *g, struct sherd_error *err);
void gguf_index_free(struct gguf *g);
void gguf_disown(struct gguf *g);

#endif
