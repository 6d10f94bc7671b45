/* SPDX-License-Identifier: MIT */
/*
 * wire: activations as one stage hands them to the next. Encoding and decoding a row is what a cut
 * at that layer does to it within one process, bit for bit: the quantizer is the contract's
 * (infer/ref/ref.h), and nothing else happens here but layout and suspicion, for what is decoded
 * has come from somebody else.
 *
 *	int8	[hidden padded to 32] integers, the padding 0; [padded / 32] scales: halves
 *	f16	[hidden] halves
 *	f32	[hidden] floats
 *
 * That is a row, little-endian; rows follow each other without gaps, aligned to nothing. Each is
 * complete in itself, so that any run of rows is a slice of the bytes: what was sent in one chunk
 * can be sent again in others.
 */
#include <math.h>
#include "infer/ref/ref.h"

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "activations on the wire are little-endian, and are moved as they are"
#endif

/* A row goes through the quantizer in blocks of so many columns. */
#define BLOCK	     512
#define BLOCK_GROUPS (BLOCK / SHERD_ACT_GROUP)

size_t sherd_wire_bytes(enum sherd_wire wire, int n_rows, int hidden)
{
	size_t n = n_rows, groups = DIV_ROUND_UP((size_t)hidden, SHERD_ACT_GROUP);

	switch (wire) {
	case SHERD_WIRE_INT8:
		return n * groups * (SHERD_ACT_GROUP + sizeof(uint16_t));
	case SHERD_WIRE_F16:
		return n * hidden * sizeof(uint16_t);
	case SHERD_WIRE_F32:
		return n * hidden * sizeof(float);
	}
	return 0;
}

static int check_shape(enum sherd_wire wire, int n_rows, int hidden, struct sherd_error *err)
{
	if ((unsigned)wire > SHERD_WIRE_F32)
		return sherd_fail(err, -EINVAL, "wire type %d is unknown", wire);
	if (n_rows < 0 || hidden < 1)
		return sherd_fail(err, -EINVAL, "%d rows of %d columns are none", n_rows, hidden);
	return 0;
}

/* ------------------------------------------------------------------ encode */

static int encode_int8(const float *x, int hidden, uint8_t *q)
{
	uint8_t *scales = q + ROUND_UP(hidden, SHERD_ACT_GROUP);
	int8_t block[BLOCK];
	uint16_t d[BLOCK_GROUPS];
	int c;

	for (c = 0; c < hidden; c += BLOCK) {
		int n = MIN(BLOCK, hidden - c), groups = DIV_ROUND_UP(n, SHERD_ACT_GROUP);

		if (sherd_ref_wire_quantize(x + c, n, block, d))
			return -EDOM;
		memcpy(q + c, block, groups * SHERD_ACT_GROUP);
		memcpy(scales + c / SHERD_ACT_GROUP * sizeof(*d), d, groups * sizeof(*d));
	}
	return 0;
}

static int encode_f16(const float *x, int hidden, uint8_t *out)
{
	int c;

	for (c = 0; c < hidden; c++) {
		uint16_t h = sherd_f32_to_f16(x[c]);

		if ((h & 0x7c00) == 0x7c00)
			return -EDOM;
		memcpy(out + c * sizeof(h), &h, sizeof(h));
	}
	return 0;
}

static int encode_f32(const float *x, int hidden, uint8_t *out)
{
	memcpy(out, x, hidden * sizeof(float));
	return sherd_ref_below(x, hidden, INFINITY) ? 0 : -EDOM;
}

int sherd_wire_encode(enum sherd_wire wire, const float *rows, int n_rows, int hidden, void *out,
		      struct sherd_error *err)
{
	size_t row_bytes = sherd_wire_bytes(wire, 1, hidden);
	int rc = check_shape(wire, n_rows, hidden, err), i;

	for (i = 0; i < n_rows && !rc; i++) {
		const float *x = rows + (size_t)i * hidden;
		uint8_t *to = (uint8_t *)out + i * row_bytes;

		if (wire == SHERD_WIRE_INT8)
			rc = encode_int8(x, hidden, to);
		else if (wire == SHERD_WIRE_F16)
			rc = encode_f16(x, hidden, to);
		else
			rc = encode_f32(x, hidden, to);
		if (rc)
			sherd_fail(
				err, rc,
				"row %d of an activation is NaN, infinite or too large for the wire",
				i);
	}
	return rc;
}

/* ------------------------------------------------------------------ decode */

/* What the encoder never writes: a negative scale, one that is no number, and -128. */
static int refuse_int8(const uint8_t *q, const uint16_t *d, int n, int row, int first_group,
		       struct sherd_error *err)
{
	int g, n_groups = DIV_ROUND_UP(n, SHERD_ACT_GROUP);
	const uint8_t *low;

	for (g = 0; g < n_groups; g++)
		if (d[g] >= 0x7c00)
			return sherd_fail(
				err, -EPROTO,
				"row %d, group %d of an activation: its scale (0x%04x) is "
				"NaN, infinite or negative, which no sender writes",
				row, first_group + g, d[g]);
	low = memchr(q, 0x80, n_groups * SHERD_ACT_GROUP);
	if (!low)
		return 0;
	return sherd_fail(err, -EPROTO,
			  "row %d, group %d of an activation has a -128, which no sender writes",
			  row, first_group + (int)(low - q) / SHERD_ACT_GROUP);
}

static int decode_int8(const uint8_t *q, int hidden, int row, float *x, struct sherd_error *err)
{
	const uint8_t *scales = q + ROUND_UP(hidden, SHERD_ACT_GROUP);
	uint16_t d[BLOCK_GROUPS];
	int c, rc = 0;

	for (c = 0; c < hidden && !rc; c += BLOCK) {
		int n = MIN(BLOCK, hidden - c), g = c / SHERD_ACT_GROUP;

		memcpy(d, scales + g * sizeof(*d), DIV_ROUND_UP(n, SHERD_ACT_GROUP) * sizeof(*d));
		rc = refuse_int8(q + c, d, n, row, g, err);
		if (!rc)
			sherd_ref_wire_restore((const int8_t *)q + c, d, n, x + c);
	}
	return rc;
}

static void decode_f16(const uint8_t *from, int hidden, float *x)
{
	uint16_t h[BLOCK];
	int c;

	for (c = 0; c < hidden; c += BLOCK) {
		int n = MIN(BLOCK, hidden - c);

		memcpy(h, from + c * sizeof(*h), n * sizeof(*h));
		sherd_ref_halves(h, n, x + c);
	}
}

/* Floats that came as such, or as halves. */
static int refuse_floats(const float *x, int hidden, int row, struct sherd_error *err)
{
	int c = 0;

	if (sherd_ref_below(x, hidden, INFINITY))
		return 0;
	while (sherd_ref_below(x + c, 1, INFINITY))
		c++;
	return sherd_fail(err, -EPROTO,
			  "row %d, group %d of an activation: column %d is NaN or infinite, which "
			  "no sender writes",
			  row, c / SHERD_ACT_GROUP, c);
}

int sherd_wire_decode(enum sherd_wire wire, const void *in, int n_rows, int hidden, float *rows,
		      struct sherd_error *err)
{
	size_t row_bytes = sherd_wire_bytes(wire, 1, hidden);
	int rc = check_shape(wire, n_rows, hidden, err), i;

	for (i = 0; i < n_rows && !rc; i++) {
		const uint8_t *from = (const uint8_t *)in + i * row_bytes;
		float *x = rows + (size_t)i * hidden;

		if (wire == SHERD_WIRE_INT8) {
			rc = decode_int8(from, hidden, i, x, err);
			continue;
		}
		if (wire == SHERD_WIRE_F16)
			decode_f16(from, hidden, x);
		else
			memcpy(x, from, row_bytes);
		rc = refuse_floats(x, hidden, i, err);
	}
	return rc;
}
