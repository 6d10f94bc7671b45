/* SPDX-License-Identifier: MIT */
/*
 * slots: a ring's slots (region.h), lent to frames that are on their way. Rows that are sent from a
 * slot go from pages that the loop has registered and that a device may have written; where no slot
 * is free, or none is large enough, ordinary memory does.
 */
#ifndef SHERD_SLOTS_H
#define SHERD_SLOTS_H

#include "region/region.h"

struct sherd_slots;

struct sherd_slot {
	struct sherd_slots *slots; /* NULL: ordinary memory */
	int number; /* in the ring; -1 */
	uint8_t *data; /* aligned to 64 */
};

/* @ring must outlive it. */
int sherd_slots_new(struct sherd_slots **s, struct sherd_region *ring, struct sherd_error *err);
/* All must be back. */
void sherd_slots_free(struct sherd_slots *s);
/* The largest size that there is a slot for. */
size_t sherd_slots_size(const struct sherd_slots *s);
/* How many are not lent. */
int sherd_slots_left(const struct sherd_slots *s);

/* Room for @size bytes; @s may be NULL: ordinary memory. NULL: there is none. */
struct sherd_slot *sherd_slot_take(struct sherd_slots *s, size_t size);
/* Nobody reads it any more: fits sherd_payload's done(). */
void sherd_slot_give_back(void *slot);

#endif
