/* SPDX-License-Identifier: MIT */
/*
 * format: the packed layout (Documentation/layout.rst), one for all devices.
 *
 * A matrix is rows (outputs) x columns (inputs), cut into tiles of 16 rows x 32 columns; row blocks
 * come one after the other, and in each the tiles follow the columns.
 *
 *   U8   8 lines of 64 bytes a tile; line l holds columns 4l..4l+3 of 16 rows, 4 bytes a row
 *   U4   4 lines of 64 bytes a tile; byte i of row r's word in line l holds column 8l+i in its low
 *        nibble and column 8l+4+i in its high one
 *   F16, BF16, F32   32 lines a tile; line c holds column c of 16 rows side by side
 *
 * Integers are unsigned: q - 2^(bits-1) where there are no minima. Scales (and minima) are planes
 * [row block][column group][16 rows]. Rows are padded to 16 and columns to 32 with zero bytes (and
 * zero scales), never read back.
 */
#ifndef SHERD_FORMAT_H
#define SHERD_FORMAT_H

#include "base/base.h"

#define SHERD_LAYOUT_VERSION 1
#define SHERD_TILE_ROWS	     16
#define SHERD_TILE_COLS	     32
#define SHERD_CHUNK	     256 /* columns, or positions, whose sum is a unit of the contract */

enum sherd_elem {
	SHERD_ELEM_U4 = 0,
	SHERD_ELEM_U8 = 1,
	SHERD_ELEM_F16 = 2,
	SHERD_ELEM_BF16 = 3,
	SHERD_ELEM_F32 = 4,
	SHERD_ELEM_NONE = 255, /* a plane that is not there */
};

/* The format record of a tensor; in the file an array of u32 in this order, after the version. */
struct sherd_format {
	enum sherd_elem elem;
	uint32_t group; /* columns that share a scale: 16 or 32; 0 for float elements */
	enum sherd_elem scale; /* F16, F32; NONE for float elements */
	enum sherd_elem min; /* NONE, F16, F32 */
	uint32_t rows, cols; /* without padding */
};

struct sherd_tensor {
	struct sherd_format fmt;
	const void *values, *scales, *mins; /* planes, 4096-aligned; NULL where there are none */
	size_t values_size, scales_size, mins_size;
};

static inline bool sherd_elem_is_int(enum sherd_elem e)
{
	return e == SHERD_ELEM_U4 || e == SHERD_ELEM_U8;
}

static inline unsigned sherd_elem_bits(enum sherd_elem e)
{
	static const uint8_t bits[] = { 4, 8, 16, 16, 32 };

	return e <= SHERD_ELEM_F32 ? bits[e] : 0;
}

static inline bool sherd_format_same(const struct sherd_format *a, const struct sherd_format *b)
{
	return a->elem == b->elem && a->group == b->group && a->scale == b->scale &&
	       a->min == b->min && a->rows == b->rows && a->cols == b->cols;
}

/* Checks a record that came from a file: known elements, group, rows and cols in [1, 2^24]. */
int sherd_format_check(const struct sherd_format *f, const char *name, struct sherd_error *err);
/* Bytes of the planes, padding included; scales and mins are 0 where there are none. */
void sherd_format_sizes(const struct sherd_format *f, size_t *values, size_t *scales,
			size_t *mins);
/* "int4 g32 f16", "int8 g16 f32 min f32", "f16" */
void sherd_format_name(const struct sherd_format *f, char *buf, size_t size);

/* Where (row, col) lies: byte offset in the values plane (U4: *shift is 0 or 4 within the byte). */
size_t sherd_value_offset(const struct sherd_format *f, uint32_t row, uint32_t col,
			  unsigned *shift);
/* Index (not bytes) in the scale or min plane. */
static inline size_t sherd_scale_index(const struct sherd_format *f, uint32_t row, uint32_t col)
{
	size_t groups = ROUND_UP((size_t)f->cols, SHERD_TILE_COLS) / f->group;

	return ((row / SHERD_TILE_ROWS) * groups + col / f->group) * SHERD_TILE_ROWS +
	       row % SHERD_TILE_ROWS;
}

/*
 * A stack of experts is one matrix: the rows of each, padded to whole row blocks, one after the
 * other. Rows of a stack of @n with @rows each; and expert @e of @stack, a matrix by itself.
 */
static inline uint64_t sherd_stack_rows(uint32_t n, uint32_t rows)
{
	return (uint64_t)n * ROUND_UP((uint64_t)rows, SHERD_TILE_ROWS);
}
struct sherd_tensor sherd_stack_expert(const struct sherd_tensor *stack, uint32_t rows, uint32_t e);

/* The float that (row, col) stands for; slow, for references and gathers. */
float sherd_tensor_get(const struct sherd_tensor *t, uint32_t row, uint32_t col);

/* Writes one row block's planes from plain rows: the only writer of the layout (see format.c). */
void sherd_pack_int_row(const struct sherd_format *f, uint32_t row, const uint8_t *q,
			const float *scale, const float *min, void *values, void *scales,
			void *mins);
void sherd_pack_float_row(const struct sherd_format *f, uint32_t row, const float *x,
			  void *values);
/* A row that has the format's float element already, at any alignment. */
void sherd_pack_same_row(const struct sherd_format *f, uint32_t row, const void *x, void *values);

/* Whether @size bytes of @e hold neither NaN nor infinity; integers never do. */
bool sherd_all_finite(enum sherd_elem e, const void *data, size_t size);

#endif
