/* SPDX-License-Identifier: MIT */
/*
 * ring: memory for activations on their way, as slots in a memfd (ring_memory.c), each a window of
 * its own.
 */
#include <stdlib.h>
#include "region/rung.h"

#define MIN_SLOTS 3
#define MAX_SLOTS 1024 /* as many fixed buffers as old kernels register */

static int check_shape(struct sherd_region *r, int n_slots, size_t slot_bytes,
		       struct sherd_error *err)
{
	size_t page = sherd_page_size();

	if (n_slots < MIN_SLOTS || n_slots > MAX_SLOTS)
		return sherd_fail(err, -EINVAL, "a ring of %d slots: there are %d to %d", n_slots,
				  MIN_SLOTS, MAX_SLOTS);
	if (!slot_bytes || slot_bytes > SIZE_MAX / 2 / MAX_SLOTS)
		return sherd_fail(err, -EINVAL, "a ring's slots can't have %zu bytes", slot_bytes);
	r->n_slots = n_slots;
	r->slot_size = ROUND_UP(slot_bytes, page);
	r->slots = sherd_calloc(n_slots, sizeof(*r->slots));
	return r->slots ? 0 : sherd_fail_oom(err, n_slots * sizeof(*r->slots), "a ring's slots");
}

int sherd_ring_create(struct sherd_region **out, int n_slots, size_t slot_bytes, const char *rung,
		      struct sherd_error *err)
{
	struct sherd_region *r = sherd_calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return sherd_fail_oom(err, sizeof(*r), "a ring");
	rc = check_shape(r, n_slots, slot_bytes, err);
	if (!rc)
		rc = sherd_ring_make_memory(r, err);
	if (rc) {
		free(r->slots);
		free(r);
		return rc;
	}
	rc = sherd_region_hold(r, rung, err);
	if (rc) {
		sherd_region_close(r);
		return rc;
	}
	*out = r;
	return 0;
}

struct sherd_window *sherd_ring_slot(struct sherd_region *r, int i)
{
	return &r->slots[i];
}

void sherd_region_close(struct sherd_region *r)
{
	int i;

	if (!r)
		return;
	for (i = 0; r->slots && i < r->n_slots; i++)
		sherd_window_close(&r->slots[i]);
	if (r->ops)
		r->ops->release(r);
	if (r->n_slots) /* a shard's mapping is its opener's */
		sherd_ring_free_memory(r);
	free(r->slots);
	free(r);
}
