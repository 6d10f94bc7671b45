/* SPDX-License-Identifier: MIT */
/*
 * quant_table: see quant_table.h. IQ4_NL's table is ggml's; MXFP4 is a float of four bits (a sign, two
 * bits of exponent, one of mantissa), whose values doubled are integers, and a power of two as the
 * scale of 32 of them (OCP Microscaling Formats 1.0).
 */
#include <math.h>
#include "base/base.h"
#include "model/quant_table.h"

struct block_iq4_nl {
	uint16_t d;
	uint8_t q[16];
};
struct block_iq4_xs {
	uint16_t d;
	uint16_t scales_high;  /* bits 2g, 2g + 1: of group g */
	uint8_t scales_low[4]; /* nibbles */
	uint8_t q[8][16];
};
struct block_mxfp4 {
	uint8_t exponent;
	uint8_t q[16];
};

_Static_assert(sizeof(struct block_iq4_nl) == 18 && sizeof(struct block_iq4_xs) == 136 &&
		       sizeof(struct block_mxfp4) == 17,
	       "blocks have no padding");

#define ZERO 128

static const int8_t iq4_levels[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
				       1,    13,   25,	38,  53,  69,  89,  113 };
static const int8_t mxfp4_levels[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/* Low nibbles are elements 0..15, high ones 16..31. */
static void look_up(const int8_t levels[16], const uint8_t in[16], uint8_t q[32])
{
	int i;

	for (i = 0; i < 16; i++) {
		q[i] = (uint8_t)(levels[in[i] & 15] + ZERO);
		q[i + 16] = (uint8_t)(levels[in[i] >> 4] + ZERO);
	}
}

void sherd_iq4_nl_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_iq4_nl *b = block;

	(void)min;
	*scale = sherd_f16_to_f32(b->d);
	look_up(iq4_levels, b->q, q);
}

/* The scales of groups are integers of 6 bits around 32. */
void sherd_iq4_xs_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_iq4_xs *b = block;
	float d = sherd_f16_to_f32(b->d);
	int g, low, high;

	(void)min;
	for (g = 0; g < 8; g++) {
		low = b->scales_low[g / 2] >> (g % 2 * 4) & 15;
		high = b->scales_high >> (2 * g) & 3;
		scale[g] = d * (float)((low | high << 4) - 32);
		look_up(iq4_levels, b->q[g], q + 32 * g);
	}
}

/*
 * 2^(exponent - 127), halved because the levels are doubled. Below 2^-100, the border of the
 * arithmetic contract, a scale is zero: nothing may depend on denormals.
 */
void sherd_mxfp4_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_mxfp4 *b = block;
	int power = b->exponent - 128;

	(void)min;
	*scale = power > 124 ? INFINITY : power < -100 ? 0 : ldexpf(1, power);
	look_up(mxfp4_levels, b->q, q);
}
