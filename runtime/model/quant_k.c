/* SPDX-License-Identifier: MIT */
/*
 * quant_k: blocks of 256 weights whose groups have small integer scales under one half. The
 * products of the two do not fit a half but are exact in a float, which is what the packed layout
 * keeps.
 */
#include "base/base.h"
#include "model/quant_k.h"

struct block_q2_k {
	uint8_t scales[16]; /* low nibble: of the scale, high nibble: of the minimum */
	uint8_t q[64];
	uint16_t d, dmin;
};
struct block_q3_k {
	uint8_t high[32];
	uint8_t low[64];
	uint8_t scales[12];
	uint16_t d;
};
struct block_q4_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t q[128];
};
struct block_q5_k {
	uint16_t d, dmin;
	uint8_t scales[12];
	uint8_t high[32];
	uint8_t q[128];
};
struct block_q6_k {
	uint8_t low[128], high[64];
	int8_t scales[16];
	uint16_t d;
};

_Static_assert(sizeof(struct block_q2_k) == 84 && sizeof(struct block_q3_k) == 110 &&
		       sizeof(struct block_q4_k) == 144 && sizeof(struct block_q5_k) == 176 &&
		       sizeof(struct block_q6_k) == 210,
	       "blocks have no padding");

/*
 * Two bits of element i: each half of the block is four runs of 32, and run r's are bits 2r, 2r+1 of
 * one line of 32 bytes.
 */
static int two_bits(const uint8_t q[64], int i)
{
	return q[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3;
}

void sherd_q2_k_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q2_k *b = block;
	float d = sherd_f16_to_f32(b->d), dmin = sherd_f16_to_f32(b->dmin);
	int i;

	for (i = 0; i < 256; i++)
		q[i] = (uint8_t)two_bits(b->q, i);
	for (i = 0; i < 16; i++) {
		scale[i] = d * (float)(b->scales[i] & 15);
		min[i] = dmin * (float)(b->scales[i] >> 4);
	}
}

/*
 * Bit g of high[i] is the third bit of element i of run g; the integer is offset binary around 4,
 * and + 4 moves that to 8. 16 scales of 6 bits around 32: the low nibbles stand in bytes 0..7 as
 * elements do in Q4_0, the rest as two bits each of bytes 8..11.
 */
void sherd_q3_k_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q3_k *b = block;
	float d = sherd_f16_to_f32(b->d);
	int i, low, high;

	(void)min;
	for (i = 0; i < 256; i++)
		q[i] = (uint8_t)((two_bits(b->low, i) | (b->high[i % 32] >> i / 32 & 1) << 2) + 4);
	for (i = 0; i < 16; i++) {
		low = b->scales[i % 8] >> (i / 8 * 4) & 15;
		high = b->scales[8 + i % 4] >> (i / 4 * 2) & 3;
		scale[i] = d * (float)((low | high << 4) - 32);
	}
}

/*
 * Eight 6-bit scales and eight 6-bit minima in 12 bytes: of the first four of each the bytes 0..3
 * and 4..7 hold all six bits; of the last four the bytes 8..11 hold the low nibbles (scale low,
 * minimum high), and the two bits left over at the top of bytes 0..7 are their high bits.
 */
static void k_scales(const uint8_t s[12], uint16_t d, uint16_t dmin, float *scale, float *min)
{
	float fd = sherd_f16_to_f32(d), fm = sherd_f16_to_f32(dmin);
	int i;

	for (i = 0; i < 4; i++) {
		scale[i] = fd * (float)(s[i] & 63);
		min[i] = fm * (float)(s[i + 4] & 63);
		scale[i + 4] = fd * (float)((s[i + 8] & 15) | s[i] >> 6 << 4);
		min[i + 4] = fm * (float)(s[i + 8] >> 4 | s[i + 4] >> 6 << 4);
	}
}

/* 32 bytes hold two groups: low nibbles the first, high nibbles the second. */
static void k_nibbles(const uint8_t in[128], uint8_t q[256])
{
	int i, j;

	for (j = 0; j < 4; j++)
		for (i = 0; i < 32; i++) {
			q[64 * j + i] = in[32 * j + i] & 15;
			q[64 * j + 32 + i] = in[32 * j + i] >> 4;
		}
}

void sherd_q4_k_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q4_k *b = block;

	k_scales(b->scales, b->d, b->dmin, scale, min);
	k_nibbles(b->q, q);
}

/* Bit g of high[i] is the fifth bit of element i of group g. */
void sherd_q5_k_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q5_k *b = block;
	int i;

	k_scales(b->scales, b->d, b->dmin, scale, min);
	k_nibbles(b->q, q);
	for (i = 0; i < 256; i++)
		q[i] = (uint8_t)(q[i] | (b->high[i % 32] >> i / 32 & 1) << 4);
}

/*
 * Each half of the block is four runs of 32: the low nibbles of two lines of 32 bytes, then their
 * high nibbles; two more bits of run r are bits 2r, 2r+1 of one line of 32 bytes. Offset binary
 * around 32; + 96 moves that to 128.
 */
void sherd_q6_k_unpack(const void *block, uint8_t *q, float *scale, float *min)
{
	const struct block_q6_k *b = block;
	float d = sherd_f16_to_f32(b->d);
	int i, half, run, low, high;

	(void)min;
	for (i = 0; i < 256; i++) {
		half = i / 128;
		run = i % 128 / 32;
		low = b->low[64 * half + i % 64] >> (run / 2 * 4) & 15;
		high = b->high[32 * half + i % 32] >> (2 * run) & 3;
		q[i] = (uint8_t)((low | high << 4) + 96);
	}
	for (i = 0; i < 16; i++)
		scale[i] = d * (float)b->scales[i];
}
