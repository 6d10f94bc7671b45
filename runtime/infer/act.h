/* SPDX-License-Identifier: MIT */
/*
 * act: a quantized activation, as the quantizer leaves it and the matmuls read it, on the host and
 * on devices alike. The integers are [n_rows][cols padded to 32], the records beside them
 * [n_rows][padded cols / 32]. The sums are there because weights are stored unsigned: what their
 * offset adds to an integer dot product is the same for all rows of a group.
 */
#ifndef SHERD_ACT_H
#define SHERD_ACT_H

#include <stdint.h>

#define SHERD_ACT_GROUP 32
/* Rows that a matmul may read beyond the last: it takes up to 16 at a time. Any bytes will do. */
#define SHERD_ACT_PAD	15

struct sherd_act_group {
	float d; /* the scale: x is about d * q */
	float ds; /* d * (float)sum(q): what minima are multiplied with */
	int32_t n4; /* -8 * sum(q): added to a dot product with unsigned 4-bit weights */
	int32_t n8; /* -128 * sum(q) */
};

/* The same for columns 16h .. 16h + 15 of a group, for weights with a scale every 16 columns. */
struct sherd_act_half {
	float ds[2];
	int32_t n8[2];
};

_Static_assert(sizeof(struct sherd_act_group) == 16, "four words on every device");
_Static_assert(sizeof(struct sherd_act_half) == 16, "four words on every device");

#endif
