/* SPDX-License-Identifier: MIT */
/*
 * format: the only code that knows where an element of the packed layout lies on disk. Packing
 * writes through it, the plain-C reference reads through it, and the kernels are checked against
 * that.
 *
 * Because the tiles of a row block follow the columns, a row block is one run of words: word w of
 * row r stands at index w * 16 + r, whatever the element type. Tiles only matter for padding.
 */
#include "model/format.h"

#include <stdio.h>

#define MAX_DIM (1u << 24)

/* Columns that one word of a line holds: 8 nibbles, 4 bytes, or one float. */
static unsigned cols_per_word(enum sherd_elem e)
{
	switch (e) {
	case SHERD_ELEM_U4:
		return 8;
	case SHERD_ELEM_U8:
		return 4;
	default:
		return 1;
	}
}

static size_t padded_cols(const struct sherd_format *f)
{
	return ROUND_UP((size_t)f->cols, SHERD_TILE_COLS);
}

static size_t row_blocks(const struct sherd_format *f)
{
	return DIV_ROUND_UP((size_t)f->rows, SHERD_TILE_ROWS);
}

static size_t block_bytes(const struct sherd_format *f)
{
	return padded_cols(f) * SHERD_TILE_ROWS * sherd_elem_bits(f->elem) / 8;
}

static bool is_scale(enum sherd_elem e)
{
	return e == SHERD_ELEM_F16 || e == SHERD_ELEM_F32;
}

static int check_kind(const struct sherd_format *f, const char *name, struct sherd_error *err)
{
	if (!sherd_elem_bits(f->elem))
		return sherd_fail(err, -EINVAL, "%s: format record has unknown element type %u",
				  name, (unsigned)f->elem);
	if (!sherd_elem_is_int(f->elem)) {
		if (f->group || f->scale != SHERD_ELEM_NONE || f->min != SHERD_ELEM_NONE)
			return sherd_fail(err, -EINVAL,
					  "%s: format record gives scales to float elements", name);
		return 0;
	}
	if (f->group != 16 && f->group != 32)
		return sherd_fail(err, -EINVAL,
				  "%s: format record has groups of %u columns, not 16 or 32", name,
				  f->group);
	if (!is_scale(f->scale) || (f->min != SHERD_ELEM_NONE && !is_scale(f->min)))
		return sherd_fail(
			err, -EINVAL,
			"%s: format record has scale type %u and minimum type %u, which do "
			"not exist",
			name, (unsigned)f->scale, (unsigned)f->min);
	return 0;
}

int sherd_format_check(const struct sherd_format *f, const char *name, struct sherd_error *err)
{
	int ret = check_kind(f, name, err);
	size_t n;

	if (ret)
		return ret;
	if (!f->rows || f->rows > MAX_DIM || !f->cols || f->cols > MAX_DIM)
		return sherd_fail(err, -EINVAL,
				  "%s: format record says %u x %u; rows and columns must lie in "
				  "1..%u",
				  name, f->rows, f->cols, MAX_DIM);
	/* 32-bit machines: 8 bytes an element is more than any plane has */
	if (!sherd_mul_ok(row_blocks(f) * SHERD_TILE_ROWS, padded_cols(f), &n) ||
	    !sherd_mul_ok(n, 8, &n))
		return sherd_fail(err, -EFBIG, "%s: %u x %u is too large for this machine", name,
				  f->rows, f->cols);
	return 0;
}

void sherd_format_sizes(const struct sherd_format *f, size_t *values, size_t *scales, size_t *mins)
{
	size_t n = 0;

	*values = row_blocks(f) * block_bytes(f);
	if (sherd_elem_is_int(f->elem))
		n = row_blocks(f) * (padded_cols(f) / f->group) * SHERD_TILE_ROWS;
	*scales = n * sherd_elem_bits(f->scale) / 8;
	*mins = n * sherd_elem_bits(f->min) / 8;
}

static const char *float_name(enum sherd_elem e)
{
	switch (e) {
	case SHERD_ELEM_F16:
		return "f16";
	case SHERD_ELEM_BF16:
		return "bf16";
	case SHERD_ELEM_F32:
		return "f32";
	default:
		return "unknown";
	}
}

void sherd_format_name(const struct sherd_format *f, char *buf, size_t size)
{
	int n;

	if (!sherd_elem_is_int(f->elem)) {
		snprintf(buf, size, "%s", float_name(f->elem));
		return;
	}
	n = snprintf(buf, size, "int%u g%u %s", sherd_elem_bits(f->elem), f->group,
		     float_name(f->scale));
	if (f->min != SHERD_ELEM_NONE && n > 0 && (size_t)n < size)
		snprintf(buf + n, size - n, " min %s", float_name(f->min));
}

size_t sherd_value_offset(const struct sherd_format *f, uint32_t row, uint32_t col, unsigned *shift)
{
	size_t base = row / SHERD_TILE_ROWS * block_bytes(f), r = row % SHERD_TILE_ROWS;
	size_t word = col / cols_per_word(f->elem) * SHERD_TILE_ROWS + r;

	*shift = 0;
	switch (f->elem) {
	case SHERD_ELEM_U4:
		*shift = col % 8 / 4 * 4;
		return base + word * 4 + col % 4;
	case SHERD_ELEM_U8:
		return base + word * 4 + col % 4;
	default:
		return base + word * (sherd_elem_bits(f->elem) / 8);
	}
}

static float load_float(enum sherd_elem e, const void *p)
{
	uint16_t h;
	float x;

	if (e == SHERD_ELEM_F32) {
		memcpy(&x, p, sizeof(x));
		return x;
	}
	memcpy(&h, p, sizeof(h));
	return e == SHERD_ELEM_F16 ? sherd_f16_to_f32(h) : sherd_bf16_to_f32(h);
}

/* Rounds to nearest even; a NaN stays one. */
static uint16_t f32_to_bf16(float x)
{
	uint32_t u;

	memcpy(&u, &x, sizeof(u));
	if ((u & 0x7fffffff) > 0x7f800000)
		return u >> 16 | 0x40;
	return (u + 0x7fff + (u >> 16 & 1)) >> 16;
}

static void store_float(enum sherd_elem e, void *plane, size_t i, float x)
{
	switch (e) {
	case SHERD_ELEM_F16:
		((uint16_t *)plane)[i] = sherd_f32_to_f16(x);
		break;
	case SHERD_ELEM_BF16:
		((uint16_t *)plane)[i] = f32_to_bf16(x);
		break;
	case SHERD_ELEM_F32:
		((float *)plane)[i] = x;
		break;
	default:
		break;
	}
}

static float plane_get(enum sherd_elem e, const void *plane, size_t i)
{
	return load_float(e, (const uint8_t *)plane + i * (sherd_elem_bits(e) / 8));
}

float sherd_tensor_get(const struct sherd_tensor *t, uint32_t row, uint32_t col)
{
	const struct sherd_format *f = &t->fmt;
	unsigned shift;
	const uint8_t *p = (const uint8_t *)t->values + sherd_value_offset(f, row, col, &shift);
	size_t s;
	int q;

	if (!sherd_elem_is_int(f->elem))
		return load_float(f->elem, p);
	s = sherd_scale_index(f, row, col);
	q = f->elem == SHERD_ELEM_U4 ? *p >> shift & 15 : *p;
	if (f->min == SHERD_ELEM_NONE)
		return plane_get(f->scale, t->scales, s) *
		       (float)(q - (1 << (sherd_elem_bits(f->elem) - 1)));
	return plane_get(f->scale, t->scales, s) * (float)q - plane_get(f->min, t->mins, s);
}

struct sherd_tensor sherd_stack_expert(const struct sherd_tensor *stack, uint32_t rows, uint32_t e)
{
	struct sherd_tensor t = { .fmt = stack->fmt };
	size_t before_values, before_scales, before_mins;

	t.fmt.rows = sherd_stack_rows(e, rows);
	sherd_format_sizes(&t.fmt, &before_values, &before_scales, &before_mins);
	t.fmt.rows = rows;
	sherd_format_sizes(&t.fmt, &t.values_size, &t.scales_size, &t.mins_size);
	t.values = (const uint8_t *)stack->values + before_values;
	if (stack->scales)
		t.scales = (const uint8_t *)stack->scales + before_scales;
	if (stack->mins)
		t.mins = (const uint8_t *)stack->mins + before_mins;
	return t;
}

/* @n columns (at most all words that fit), @q readable to the last word's end. */
static void put_words(enum sherd_elem e, const uint8_t *q, size_t n, uint32_t *out)
{
	size_t i;

	if (e == SHERD_ELEM_U8) {
		for (i = 0; i < n; i += 4, out += SHERD_TILE_ROWS)
			memcpy(out, q + i, 4);
		return;
	}
	for (i = 0; i < n; i += 8, out += SHERD_TILE_ROWS) {
		uint32_t lo, hi;

		/* byte for byte, so this is the same on a big-endian machine */
		memcpy(&lo, q + i, 4);
		memcpy(&hi, q + i + 4, 4);
		*out = (lo & 0x0f0f0f0f) | (hi & 0x0f0f0f0f) << 4;
	}
}

/*
 * @values, @scales and @mins begin with the row block of row 0; a writer that streams passes one
 * row block's planes and rows 0..15. The planes start out as zeros: only columns that exist are
 * written. @q [cols] is unsigned; @scale and @min hold one float a column group.
 */
void sherd_pack_int_row(const struct sherd_format *f, uint32_t row, const uint8_t *q,
			const float *scale, const float *min, void *values, void *scales,
			void *mins)
{
	size_t whole = f->cols / SHERD_TILE_COLS * SHERD_TILE_COLS, tail = f->cols - whole;
	uint32_t *out = (uint32_t *)((uint8_t *)values + row / SHERD_TILE_ROWS * block_bytes(f)) +
			row % SHERD_TILE_ROWS;
	size_t groups = DIV_ROUND_UP((size_t)f->cols, f->group), i;
	size_t s = sherd_scale_index(f, row, 0);

	put_words(f->elem, q, whole, out);
	if (tail) {
		uint8_t last[SHERD_TILE_COLS] = { 0 };

		memcpy(last, q + whole, tail);
		out += whole / cols_per_word(f->elem) * SHERD_TILE_ROWS;
		put_words(f->elem, last, SHERD_TILE_COLS, out);
	}
	for (i = 0; i < groups; i++)
		store_float(f->scale, scales, s + i * SHERD_TILE_ROWS, scale[i]);
	for (i = 0; i < groups && f->min != SHERD_ELEM_NONE; i++)
		store_float(f->min, mins, s + i * SHERD_TILE_ROWS, min[i]);
}

static size_t first_of_row(const struct sherd_format *f, uint32_t row)
{
	return row / SHERD_TILE_ROWS * padded_cols(f) * SHERD_TILE_ROWS + row % SHERD_TILE_ROWS;
}

/* As above, for float elements: @x [cols]. */
void sherd_pack_float_row(const struct sherd_format *f, uint32_t row, const float *x, void *values)
{
	size_t first = first_of_row(f, row), c;

	for (c = 0; c < f->cols; c++)
		store_float(f->elem, values, first + c * SHERD_TILE_ROWS, x[c]);
}

void sherd_pack_same_row(const struct sherd_format *f, uint32_t row, const void *x, void *values)
{
	size_t first = first_of_row(f, row), c;
	uint16_t *half = (uint16_t *)values + first;
	uint32_t *full = (uint32_t *)values + first;

	if (f->elem == SHERD_ELEM_F32)
		for (c = 0; c < f->cols; c++)
			memcpy(&full[c * SHERD_TILE_ROWS], (const uint8_t *)x + 4 * c, 4);
	else
		for (c = 0; c < f->cols; c++)
			memcpy(&half[c * SHERD_TILE_ROWS], (const uint8_t *)x + 2 * c, 2);
}

/*
 * Eight bytes at a time: without its sign, a float is NaN or infinite if adding one to its exponent
 * carries into the sign's place. No lane carries into the next.
 */
bool sherd_all_finite(enum sherd_elem e, const void *data, size_t size)
{
	uint64_t sign = 0x8000800080008000, one, bad = 0, u;
	const uint8_t *p = data;

	switch (e) {
	case SHERD_ELEM_F16:
		one = 0x0400040004000400;
		break;
	case SHERD_ELEM_BF16:
		one = 0x0080008000800080;
		break;
	case SHERD_ELEM_F32:
		sign = 0x8000000080000000;
		one = 0x0080000000800000;
		break;
	default:
		return true;
	}
	for (; size >= sizeof(u); size -= sizeof(u), p += sizeof(u)) {
		memcpy(&u, p, sizeof(u));
		bad |= (u & ~sign) + one;
	}
	u = 0;
	memcpy(&u, p, size);
	bad |= (u & ~sign) + one;
	return !(bad & sign);
}
