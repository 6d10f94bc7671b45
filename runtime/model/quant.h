/* SPDX-License-Identifier: MIT */
/*
 * quant: the block formats of GGUF files, taken apart. Every format is brought to one shape:
 * groups of 16 or 32 weights with unsigned integers, a scale and perhaps a minimum,
 *
 *	w = scale * (q - zero)  - min       (zero = 2^(bits-1) and min = 0, or zero = 0)
 *
 * which is what the packed layout stores. For all formats this is exact: q is the file's integer
 * (in a wider container for 2, 3, 5 and 6 bits), or the level that it stands for where those are no
 * even steps; scale and min are exact in the element type named.
 */
#ifndef SHERD_QUANT_H
#define SHERD_QUANT_H

#include "model/format.h"
#include "model/gguf.h"

/*
 * The packed format for GGUF type @t; rows and cols are left 0. @bits 0: the one that holds it
 * without loss. 4 or 8: the least one of so many bits, if that is less: floats are rounded to
 * groups, and at 4 bits table levels are too, and float scales become halves.
 */
int sherd_quant_format(enum ggml_type t, int bits, struct sherd_format *fmt);
/* Whether @fmt holds other integers than @t has: a row comes by way of floats. */
bool sherd_quant_rounds(enum ggml_type t, const struct sherd_format *fmt);

/*
 * Takes apart one row of @cols weights (a multiple of the block size) of a quantized type:
 * q [cols], scale and min [cols / group]; min may be NULL for symmetric formats.
 */
void sherd_quant_unpack_row(enum ggml_type t, const void *row, size_t cols, uint8_t *q,
			    float *scale, float *min);
/* One row as floats, any known type: the definition that everything is checked against. */
void sherd_dequant_row(enum ggml_type t, const void *row, size_t cols, float *out);

/*
 * Round-to-nearest quantization of a row of floats to symmetric groups of 32 with a half scale:
 * 8 bits as Q8_0 does it (d = amax / 127), 4 bits as Q4_0 does it (d = extreme value / -8).
 * A short last group is padded with zeros. Non-finite input: -EINVAL.
 */
int sherd_quantize_row(int bits, const float *x, size_t cols, uint8_t *q, float *scale);

#endif
