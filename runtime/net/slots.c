/* SPDX-License-Identifier: MIT */
/*
 * slots: a stack of those that are free. The CPU has access to a slot from when it is taken until
 * it is given back, which is when the network card has let go of it, too.
 */
#include <stdlib.h>
#include "net/frame.h"
#include "net/slots.h"

struct sherd_slots {
	struct sherd_region *ring;
	int n_free;
	int *free; /* [n_slots] */
	struct sherd_slot *slots; /* [n_slots] */
};

int sherd_slots_new(struct sherd_slots **slots, struct sherd_region *ring, struct sherd_error *err)
{
	struct sherd_slots *s = sherd_calloc(1, sizeof(*s));
	int n = ring->n_slots;

	*slots = NULL;
	if (s) {
		s->free = sherd_calloc((size_t)n, sizeof(*s->free));
		s->slots = sherd_calloc((size_t)n, sizeof(*s->slots));
	}
	if (!s || !s->free || !s->slots) {
		sherd_slots_free(s);
		return sherd_fail_oom(err, (size_t)n * sizeof(*s->slots), "a ring's slots");
	}
	s->ring = ring;
	for (; s->n_free < n; s->n_free++) {
		s->free[s->n_free] = s->n_free;
		s->slots[s->n_free] = (struct sherd_slot){ s, s->n_free,
							   sherd_ring_slot(ring, s->n_free)->data };
	}
	*slots = s;
	return 0;
}

void sherd_slots_free(struct sherd_slots *s)
{
	if (!s)
		return;
	free(s->free);
	free(s->slots);
	free(s);
}

size_t sherd_slots_size(const struct sherd_slots *s)
{
	return s->ring->slot_size;
}

int sherd_slots_left(const struct sherd_slots *s)
{
	return s->n_free;
}

static struct sherd_slot *take_memory(size_t size)
{
	const size_t head = ROUND_UP(sizeof(struct sherd_slot), SHERD_FRAME_ALIGN);
	uint8_t *memory =
		sherd_alloc_aligned(SHERD_FRAME_ALIGN, head + ROUND_UP(size, SHERD_FRAME_ALIGN), 1);
	struct sherd_slot *slot = (struct sherd_slot *)memory;

	if (slot)
		*slot = (struct sherd_slot){ .number = -1, .data = memory + head };
	return slot;
}

struct sherd_slot *sherd_slot_take(struct sherd_slots *s, size_t size)
{
	struct sherd_slot *slot;
	struct sherd_error err;

	if (!s || !s->n_free || size > s->ring->slot_size)
		return take_memory(size);
	slot = &s->slots[s->free[s->n_free - 1]];
	if (sherd_window_begin(sherd_ring_slot(s->ring, slot->number),
			       SHERD_ACCESS_READ | SHERD_ACCESS_WRITE, &err))
		return take_memory(size);
	s->n_free--;
	return slot;
}

void sherd_slot_give_back(void *arg)
{
	struct sherd_slot *slot = arg;
	struct sherd_slots *s = slot->slots;
	struct sherd_error err;

	if (!s) {
		free(slot);
		return;
	}
	/*
	 * A device that cannot be told will be told when the slot is taken next, or it is not
	 * taken.
	 */
	sherd_window_end(sherd_ring_slot(s->ring, slot->number),
			 SHERD_ACCESS_READ | SHERD_ACCESS_WRITE, &err);
	s->free[s->n_free++] = slot->number;
}
