/* SPDX-License-Identifier: MIT */
/*
 * quant_table: blocks whose 4 bits number the levels of a table, for quant.c. The levels are no even
 * steps, so that q [block] are the levels themselves, around 128. scale [block / 32]; no minima.
 */
#ifndef SHERD_QUANT_TABLE_H
#define SHERD_QUANT_TABLE_H

#include <stdint.h>

void sherd_iq4_nl_unpack(const void *block, uint8_t *q, float *scale, float *min);
void sherd_iq4_xs_unpack(const void *block, uint8_t *q, float *scale, float *min);
/* Scales from 2^125 on, whose largest weight is infinite, and the format's NaN are infinite. */
void sherd_mxfp4_unpack(const void *block, uint8_t *q, float *scale, float *min);

#endif
