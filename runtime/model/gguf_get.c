/* SPDX-License-Identifier: MIT */
/*
 * gguf_get: values of a parsed file, by key and as the type that the caller needs; and the table of
 * element types. Writers of GGUF files are not of one mind about integer widths, so all convert.
 */
#include <inttypes.h>
#include <stdio.h>
#include "model/gguf.h"

static const char *const kind_names[] = {
	[GGUF_U8] = "u8",	  [GGUF_I8] = "i8",	  [GGUF_U16] = "u16", [GGUF_I16] = "i16",
	[GGUF_U32] = "u32",	  [GGUF_I32] = "i32",	  [GGUF_F32] = "f32", [GGUF_BOOL] = "bool",
	[GGUF_STRING] = "string", [GGUF_ARRAY] = "array", [GGUF_U64] = "u64", [GGUF_I64] = "i64",
	[GGUF_F64] = "f64",
};

#define LOAD(type, v, i)                                                       \
	({                                                                     \
		type x_;                                                       \
		memcpy(&x_, (v)->data + (size_t)(i) * sizeof(x_), sizeof(x_)); \
		x_;                                                            \
	})

static bool is_int(enum gguf_kind k)
{
	return k <= GGUF_I32 || k == GGUF_U64 || k == GGUF_I64;
}

static bool is_float(enum gguf_kind k)
{
	return k == GGUF_F32 || k == GGUF_F64;
}

int64_t gguf_elem_int(const struct gguf_value *v, uint64_t i)
{
	double d;

	switch (v->elem) {
	case GGUF_U8:
	case GGUF_BOOL:
		return LOAD(uint8_t, v, i);
	case GGUF_I8:
		return LOAD(int8_t, v, i);
	case GGUF_U16:
		return LOAD(uint16_t, v, i);
	case GGUF_I16:
		return LOAD(int16_t, v, i);
	case GGUF_U32:
		return LOAD(uint32_t, v, i);
	case GGUF_I32:
		return LOAD(int32_t, v, i);
	case GGUF_U64: /* beyond int64_t: the largest, which every range check refuses */
		return (int64_t)MIN(LOAD(uint64_t, v, i), (uint64_t)INT64_MAX);
	case GGUF_I64:
		return LOAD(int64_t, v, i);
	default:
		d = gguf_elem_float(v, i);
		return d > -9e18 && d < 9e18 ? (int64_t)d : 0;
	}
}

double gguf_elem_float(const struct gguf_value *v, uint64_t i)
{
	switch (v->elem) {
	case GGUF_F32:
		return LOAD(float, v, i);
	case GGUF_F64:
		return LOAD(double, v, i);
	case GGUF_STRING:
	case GGUF_ARRAY:
		return 0;
	default:
		return (double)gguf_elem_int(v, i);
	}
}

static int wrong_kind(const struct gguf *g, const struct gguf_value *v, const char *wanted,
		      struct sherd_error *err)
{
	return sherd_fail(err, -EINVAL, "%s: %.*s is of kind %s, %s was expected", g->path,
			  (int)v->key.len, v->key.data, kind_names[v->kind], wanted);
}

int gguf_get_int(const struct gguf *g, const char *key, int64_t lo, int64_t hi, int64_t *out,
		 struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);
	int64_t x;

	if (!v)
		return 0;
	if (!is_int(v->kind))
		return wrong_kind(g, v, "an integer", err);
	x = gguf_elem_int(v, 0);
	if (x < lo || x > hi)
		return sherd_fail(err, -ERANGE,
				  "%s: %s is %" PRId64 ", which is not within %" PRId64
				  " to %" PRId64,
				  g->path, key, x, lo, hi);
	*out = x;
	return 1;
}

int gguf_get_float(const struct gguf *g, const char *key, float *out, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (!is_float(v->kind) && !is_int(v->kind))
		return wrong_kind(g, v, "a number", err);
	*out = (float)gguf_elem_float(v, 0);
	return 1;
}

int gguf_get_bool(const struct gguf *g, const char *key, bool *out, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (v->kind != GGUF_BOOL)
		return wrong_kind(g, v, "a bool", err);
	*out = v->data[0] != 0;
	return 1;
}

int gguf_get_str(const struct gguf *g, const char *key, struct gguf_str *out,
		 struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, key);

	if (!v)
		return 0;
	if (v->kind != GGUF_STRING)
		return wrong_kind(g, v, "a string", err);
	*out = (struct gguf_str){ (const char *)v->data + sizeof(uint64_t),
				  (size_t)LOAD(uint64_t, v, 0) };
	return 1;
}

/* What sherd does not read has a name alone, for the sentence that refuses it. */
/* clang-format off */
static const struct {
	const char *name;
	uint16_t size, bytes; /* of a block */
} types[GGML_TYPE_MAX] = {
	[GGML_F32] = { "F32", 1, 4 },
	[GGML_F16] = { "F16", 1, 2 },
	[GGML_BF16] = { "BF16", 1, 2 },
	[GGML_I8] = { "I8", 1, 1 },
	[GGML_Q4_0] = { "Q4_0", 32, 2 + 16 },
	[GGML_Q4_1] = { "Q4_1", 32, 2 + 2 + 16 },
	[GGML_Q5_0] = { "Q5_0", 32, 2 + 4 + 16 },
	[GGML_Q5_1] = { "Q5_1", 32, 2 + 2 + 4 + 16 },
	[GGML_Q8_0] = { "Q8_0", 32, 2 + 32 },
	[GGML_Q2_K] = { "Q2_K", 256, 16 + 64 + 2 + 2 },
	[GGML_Q3_K] = { "Q3_K", 256, 32 + 64 + 12 + 2 },
	[GGML_Q4_K] = { "Q4_K", 256, 2 + 2 + 12 + 128 },
	[GGML_Q5_K] = { "Q5_K", 256, 2 + 2 + 12 + 32 + 128 },
	[GGML_Q6_K] = { "Q6_K", 256, 128 + 64 + 16 + 2 },
	[GGML_IQ4_NL] = { "IQ4_NL", 32, 2 + 16 },
	[GGML_IQ4_XS] = { "IQ4_XS", 256, 2 + 2 + 4 + 128 },
	[GGML_MXFP4] = { "MXFP4", 32, 1 + 16 },
	[9] = { "Q8_1", 0, 0 },      [15] = { "Q8_K", 0, 0 },     [16] = { "IQ2_XXS", 0, 0 },
	[17] = { "IQ2_XS", 0, 0 },   [18] = { "IQ3_XXS", 0, 0 },  [19] = { "IQ1_S", 0, 0 },
	[21] = { "IQ3_S", 0, 0 },    [22] = { "IQ2_S", 0, 0 },    [25] = { "I16", 0, 0 },
	[26] = { "I32", 0, 0 },      [27] = { "I64", 0, 0 },      [28] = { "F64", 0, 0 },
	[29] = { "IQ1_M", 0, 0 },    [34] = { "TQ1_0", 0, 0 },    [35] = { "TQ2_0", 0, 0 },
	[40] = { "NVFP4", 0, 0 },    [41] = { "Q1_0", 0, 0 },     [42] = { "Q2_0", 0, 0 },
};
/* clang-format on */

static bool in_table(enum ggml_type t)
{
	return (uint32_t)t < GGML_TYPE_MAX;
}

const char *ggml_type_name(enum ggml_type t)
{
	static _Thread_local char unknown[24];

	if (in_table(t) && types[t].name)
		return types[t].name;
	snprintf(unknown, sizeof(unknown), "type %" PRIu32, (uint32_t)t);
	return unknown;
}

const char *ggml_types_read(void)
{
	static _Thread_local char list[32 * 8];
	size_t n = 0, t;

	for (t = 0; t < GGML_TYPE_MAX; t++)
		if (types[t].size && t != GGML_I8)
			n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", n ? ", " : "",
					      types[t].name);
	return list;
}

bool ggml_type_known(enum ggml_type t)
{
	return ggml_block_size(t) != 0;
}

unsigned ggml_block_size(enum ggml_type t)
{
	return in_table(t) ? types[t].size : 0;
}

unsigned ggml_block_bytes(enum ggml_type t)
{
	return in_table(t) ? types[t].bytes : 0;
}
