/* SPDX-License-Identifier: MIT */
/*
 * quant: takes the blocks of GGUF's quantized types apart (quant_k.c: the K types, quant_table.c:
 * those with levels of a table), gives rows as floats, and rounds rows of floats to groups.
 *
 * How exact w = scale * (q - zero) - min is against sherd_dequant_row(), in float arithmetic: all
 * types give the same bits. Products scale * (q - zero) have at most 22 significant bits and are
 * exact, except for Q6_K (11-bit half x 8-bit scale x 6-bit q), where both round the same product
 * once (IQ4_XS: 11-bit half x 5-bit scale, but for a power of two, x 7-bit level); types with minima round the same difference once.
 */
#include <math.h>
#include "model/quant.h"
#include "model/quant_k.h"
#include "model/quant_table.h"

/* Layout of a block: halves in front, low nibbles are elements 0..15, high ones 16..31. */
struct block_q4_0 {
	uint16_t d;
	uint8_t q[16];
};
struct block_q4_1 {
	uint16_t d, m;
	uint8_t q[16];
};
struct block_q5_0 {
	uint16_t d;
	uint8_t high[4]; /* bit i: the fifth bit of element i */
	uint8_t q[16];
};
struct block_q5_1 {
	uint16_t d, m;
	uint8_t high[4];
	uint8_t q[16];
};
struct block_q8_0 {
	uint16_t d;
	int8_t q[32];
};

_Static_assert(sizeof(struct block_q4_0) == 18 && sizeof(struct block_q4_1) == 20 &&
		       sizeof(struct block_q5_0) == 22 && sizeof(struct block_q5_1) == 24 &&
		       sizeof(struct block_q8_0) == 34,
	       "blocks have no padding");

/* What unpacking a type needs to know, and the packed format that holds it. */
static const struct {
	enum sherd_elem elem, scale, min;
	uint8_t group;
	uint8_t add; /* file's integer + add = q */
} layouts[GGML_TYPE_MAX] = {
	[GGML_F32] = { SHERD_ELEM_F32, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
	[GGML_F16] = { SHERD_ELEM_F16, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
	[GGML_BF16] = { SHERD_ELEM_BF16, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 0, 0 },
	[GGML_Q4_0] = { SHERD_ELEM_U4, SHERD_ELEM_F16, SHERD_ELEM_NONE, 32, 0 },
	[GGML_Q4_1] = { SHERD_ELEM_U4, SHERD_ELEM_F16, SHERD_ELEM_F16, 32, 0 },
	[GGML_Q5_0] = { SHERD_ELEM_U8, SHERD_ELEM_F16, SHERD_ELEM_NONE, 32, 128 - 16 },
	[GGML_Q5_1] = { SHERD_ELEM_U8, SHERD_ELEM_F16, SHERD_ELEM_F16, 32, 0 },
	[GGML_Q8_0] = { SHERD_ELEM_U8, SHERD_ELEM_F16, SHERD_ELEM_NONE, 32, 128 },
	[GGML_Q2_K] = { SHERD_ELEM_U4, SHERD_ELEM_F32, SHERD_ELEM_F32, 16, 0 },
	[GGML_Q3_K] = { SHERD_ELEM_U4, SHERD_ELEM_F32, SHERD_ELEM_NONE, 16, 8 - 4 },
	[GGML_Q4_K] = { SHERD_ELEM_U4, SHERD_ELEM_F32, SHERD_ELEM_F32, 32, 0 },
	[GGML_Q5_K] = { SHERD_ELEM_U8, SHERD_ELEM_F32, SHERD_ELEM_F32, 32, 0 },
	[GGML_Q6_K] = { SHERD_ELEM_U8, SHERD_ELEM_F32, SHERD_ELEM_NONE, 16, 128 - 32 },
	[GGML_IQ4_NL] = { SHERD_ELEM_U8, SHERD_ELEM_F16, SHERD_ELEM_NONE, 32, 128 },
	[GGML_IQ4_XS] = { SHERD_ELEM_U8, SHERD_ELEM_F32, SHERD_ELEM_NONE, 32, 128 },
	[GGML_MXFP4] = { SHERD_ELEM_U8, SHERD_ELEM_F32, SHERD_ELEM_NONE, 32, 128 },
};

/* Four bits in the file, which number levels that are no even steps. */
static bool has_table(enum ggml_type t)
{
	return t == GGML_IQ4_NL || t == GGML_IQ4_XS || t == GGML_MXFP4;
}

int sherd_quant_format(enum ggml_type t, int bits, struct sherd_format *fmt)
{
	bool rounded;

	if (!ggml_type_known(t) || t == GGML_I8)
		return -ENOTSUP;
	rounded = bits && (!sherd_elem_is_int(layouts[t].elem) || (bits == 4 && has_table(t)));
	*fmt = (struct sherd_format){ .elem = layouts[t].elem,
				      .group = layouts[t].group,
				      .scale = layouts[t].scale,
				      .min = layouts[t].min };
	if (rounded) {
		fmt->elem = bits == 4 ? SHERD_ELEM_U4 : SHERD_ELEM_U8;
		fmt->group = 32;
		fmt->scale = SHERD_ELEM_F16;
	} else if (bits == 4 && fmt->elem == SHERD_ELEM_U4) {
		fmt->scale = SHERD_ELEM_F16;
		if (fmt->min != SHERD_ELEM_NONE)
			fmt->min = SHERD_ELEM_F16;
	}
	return 0;
}

bool sherd_quant_rounds(enum ggml_type t, const struct sherd_format *fmt)
{
	return fmt->elem != layouts[t].elem;
}

static void nibbles(const uint8_t in[16], uint8_t q[32])
{
	int i;

	for (i = 0; i < 16; i++) {
		q[i] = in[i] & 15;
		q[i + 16] = in[i] >> 4;
	}
}

static void fifth_bits(const uint8_t high[4], uint8_t add, uint8_t q[32])
{
	int i;

	for (i = 0; i < 32; i++)
		q[i] = (uint8_t)((q[i] | (high[i / 8] >> i % 8 & 1) << 4) + add);
}

static void unpack_q4_0(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q4_0 *b = block;

	(void)min;
	*scale = sherd_f16_to_f32(b->d);
	nibbles(b->q, q);
}

/* The file's formula is d * q + m: min is -m. */
static void unpack_q4_1(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q4_1 *b = block;

	*scale = sherd_f16_to_f32(b->d);
	*min = -sherd_f16_to_f32(b->m);
	nibbles(b->q, q);
}

static void unpack_q5_0(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q5_0 *b = block;

	(void)min;
	*scale = sherd_f16_to_f32(b->d);
	nibbles(b->q, q);
	fifth_bits(b->high, layouts[GGML_Q5_0].add, q);
}

static void unpack_q5_1(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q5_1 *b = block;

	*scale = sherd_f16_to_f32(b->d);
	*min = -sherd_f16_to_f32(b->m);
	nibbles(b->q, q);
	fifth_bits(b->high, layouts[GGML_Q5_1].add, q);
}

static void unpack_q8_0(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q8_0 *b = block;
	int i;

	(void)min;
	*scale = sherd_f16_to_f32(b->d);
	for (i = 0; i < 32; i++)
		q[i] = (uint8_t)(b->q[i] + layouts[GGML_Q8_0].add);
}

typedef void (*unpack_fn)(const void *block, uint8_t *q, float *scale, float *min);

static const unpack_fn unpackers[GGML_TYPE_MAX] = {
	[GGML_Q4_0] = unpack_q4_0,	     [GGML_Q4_1] = unpack_q4_1,
	[GGML_Q5_0] = unpack_q5_0,	     [GGML_Q5_1] = unpack_q5_1,
	[GGML_Q8_0] = unpack_q8_0,	     [GGML_Q2_K] = sherd_q2_k_unpack,
	[GGML_Q3_K] = sherd_q3_k_unpack,     [GGML_Q4_K] = sherd_q4_k_unpack,
	[GGML_Q5_K] = sherd_q5_k_unpack,     [GGML_Q6_K] = sherd_q6_k_unpack,
	[GGML_IQ4_NL] = sherd_iq4_nl_unpack, [GGML_IQ4_XS] = sherd_iq4_xs_unpack,
	[GGML_MXFP4] = sherd_mxfp4_unpack,
};

void sherd_quant_unpack_row(enum ggml_type t, const void *row, size_t cols, uint8_t *q,
			    float *scale, float *min)
{
	unsigned block = ggml_block_size(t), bytes = ggml_block_bytes(t);
	unsigned groups = block / layouts[t].group;
	const uint8_t *p = row;
	size_t i;

	for (i = 0; i < cols / block; i++) {
		unpackers[t](p, q, scale, min);
		p += bytes;
		q += block;
		scale += groups;
		if (min)
			min += groups;
	}
}

#define MAX_BLOCK 256

static void dequant_block(enum ggml_type t, const void *block, float *out)
{
	unsigned n = ggml_block_size(t), group = layouts[t].group, i;
	bool has_min = layouts[t].min != SHERD_ELEM_NONE;
	int zero = has_min ? 0 : layouts[t].elem == SHERD_ELEM_U4 ? 8 : 128;
	float scale[MAX_BLOCK / 16], min[MAX_BLOCK / 16] = { 0 };
	uint8_t q[MAX_BLOCK];

	unpackers[t](block, q, scale, min);
	for (i = 0; i < n; i++) {
		out[i] = scale[i / group] * (float)(q[i] - zero);
		if (has_min)
			out[i] -= min[i / group];
	}
}

void sherd_dequant_row(enum ggml_type t, const void *row, size_t cols, float *out)
{
	unsigned block = ggml_block_size(t), bytes = ggml_block_bytes(t);
	const uint8_t *p = row;
	uint16_t h;
	size_t i;

	if (t == GGML_F32) {
		memcpy(out, row, cols * sizeof(*out));
	} else if (t == GGML_F16 || t == GGML_BF16) {
		for (i = 0; i < cols; i++) {
			memcpy(&h, p + i * sizeof(h), sizeof(h));
			out[i] = t == GGML_F16 ? sherd_f16_to_f32(h) : sherd_bf16_to_f32(h);
		}
	} else {
		for (i = 0; i < cols / block; i++)
			dequant_block(t, p + i * bytes, out + i * block);
	}
}

/* The value whose magnitude is largest, the first of equals; NaN or Inf if there is one. */
static float extreme(const float *x, size_t n)
{
	float best = 0;
	size_t i;

	for (i = 0; i < n; i++) {
		if (!isfinite(x[i]))
			return x[i];
		if (fabsf(x[i]) > fabsf(best))
			best = x[i];
	}
	return best;
}

/*
 * The reciprocal is of the unrounded scale, as in llama.cpp, so that its files come out the same.
 * Where the half scale is zero, all weights are: q is the zero point.
 */
static int quantize_group(int bits, const float *x, size_t n, uint8_t *q, float *scale)
{
	float top = extreme(x, n);
	float d = bits == 4 ? top / -8 : fabsf(top) / 127;
	float inv = 1 / d, r;
	size_t i;

	*scale = sherd_f16_to_f32(sherd_f32_to_f16(d));
	if (!isfinite(top) || !isfinite(*scale))
		return -EINVAL;
	for (i = 0; i < n; i++) {
		if (*scale == 0) {
			q[i] = bits == 4 ? 8 : 128;
		} else if (bits == 4) { /* in double: the product is exact, one rounding is left */
			r = (float)trunc((double)x[i] * (double)inv + 8.5);
			q[i] = (uint8_t)(r > 15 ? 15 : r);
		} else {
			q[i] = (uint8_t)((int)roundf(x[i] * inv) + 128);
		}
	}
	return 0;
}

int sherd_quantize_row(int bits, const float *x, size_t cols, uint8_t *q, float *scale)
{
	size_t i;
	int ret;

	if (bits != 4 && bits != 8)
		return -EINVAL;
	for (i = 0; i < cols; i += 32) {
		ret = quantize_group(bits, x + i, MIN(cols - i, (size_t)32), q + i, scale + i / 32);
		if (ret)
			return ret;
	}
	return 0;
}
