/* SPDX-License-Identifier: MIT */
/* common.h: the types that kernels share with the host (infer/act.h) and the lane rule. */
#ifndef SHERD_COMMON_H
#define SHERD_COMMON_H

#include "num.h"
#include "dot4.h"

#define CHUNK 256

/* A group of 32 quantized activations: scale, scale * sum, -8 * sum, -128 * sum. */
struct act_group {
	float d, ds;
	int n4, n8;
};

/* The same for its two halves of 16, for weights with groups of 16. */
struct act_half {
	float ds[2];
	int n8[2];
};

#endif
