/* SPDX-License-Identifier: MIT */
/*
 * quant_k: the K types' blocks of 256, for quant.c. q [256], scale and min [8]; Q2_K, Q3_K, Q6_K: [16].
 */
#ifndef SHERD_QUANT_K_H
#define SHERD_QUANT_K_H

#include <stdint.h>

void sherd_q2_k_unpack(const void *block, uint8_t *q, float *scale, float *min);
void sherd_q3_k_unpack(const void *block, uint8_t *q, float *scale, float *min);
void sherd_q4_k_unpack(const void *block, uint8_t *q, float *scale, float *min);
void sherd_q5_k_unpack(const void *block, uint8_t *q, float *scale, float *min);
void sherd_q6_k_unpack(const void *block, uint8_t *q, float *scale, float *min);

#endif
