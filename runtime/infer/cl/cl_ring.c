/* SPDX-License-Identifier: MIT */
/*
 * cl_ring: wanted rows leave the device as they travel to another process. Where they are wanted in
 * a ring that the device can share, it writes them there, and nobody copies them before the network
 * card takes them; anywhere else they come through a buffer of the device's.
 *
 * A slot is imported when it is first written to: then it is lent to this step, and to nobody else
 * who could be reading what the import's trial does to its bytes.
 */
#include <stdlib.h>
#include "infer/cl/cl_exec.h"

#define ACCESS (SHERD_ACCESS_READ | SHERD_ACCESS_WRITE)

struct cl_ring_slot {
	struct sherd_part part;
	struct sherd_import import;
	bool tried, shared; /* shared: it is imported */
	bool taken;	    /* by the step in progress */
};

struct cl_ring {
	struct sherd_region *region;
	enum sherd_import_way way;
	bool told; /* that a slot could not be shared after all, and is copied to */
	struct cl_ring_slot slots[]; /* [region->n_slots] */
};

int sherd_clx_use_ring(struct sherd_exec *e, struct sherd_region *ring, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	bool untested = !strcmp(e->bit_profile, SHERD_UNTESTED);
	size_t size = sizeof(struct cl_ring) + (size_t)ring->n_slots * sizeof(struct cl_ring_slot);
	enum sherd_import_way way;
	int rc = sherd_import_choose(x->c.dev, untested ? NULL : x->c.device, ring, &way, err);

	if (rc)
		return rc;
	sherd_clx_close_ring(x);
	x->ring = sherd_calloc(1, size);
	if (!x->ring)
		return sherd_fail_oom(err, size, "a ring's imports");
	x->ring->region = ring;
	x->ring->way = way;
	return 0;
}

void sherd_clx_close_ring(struct cl_exec *x)
{
	for (int i = 0; x->ring && i < x->ring->region->n_slots; i++)
		if (x->ring->slots[i].shared)
			sherd_import_close(&x->ring->slots[i].import);
	free(x->ring);
	x->ring = NULL;
}

/* -------------------------------------------------------------------- turns */

static bool share(struct cl_exec *x, struct cl_ring_slot *s, struct sherd_window *w)
{
	struct sherd_error why;

	if (s->tried)
		return s->shared;
	s->tried = true;
	s->part = (struct sherd_part){ .data = w->data, .size = w->length };
	s->shared = !sherd_import_try(&s->import, x->c.dev, x->ring->region, &s->part, 1,
				      x->ring->way, &why);
	if (!s->shared && x->note && !x->ring->told)
		x->note(x->note_ctx, why.msg);
	x->ring->told |= !s->shared;
	return s->shared;
}

/* The slot with all of @out's @size bytes becomes the device's; NULL: there is none. */
static struct cl_ring_slot *take_slot(struct cl_exec *x, const uint8_t *out, size_t size,
				      size_t *at)
{
	struct sherd_region *r = x->ring ? x->ring->region : NULL;
	struct cl_ring_slot *s;
	struct sherd_window *w;
	size_t i, offset;

	if (!r || out < r->data || out >= r->data + r->slot_size * (size_t)r->n_slots)
		return NULL;
	i = (size_t)(out - r->data) / r->slot_size;
	offset = (size_t)(out - r->data) % r->slot_size;
	s = &x->ring->slots[i];
	w = sherd_ring_slot(r, (int)i);
	if (s->taken || offset % 4 || size > r->slot_size - offset || !share(x, s, w) ||
	    sherd_window_end(w, ACCESS, NULL))
		return NULL;
	if (sherd_import_acquire(&s->import, 0, NULL)) {
		sherd_window_begin(w, ACCESS, NULL);
		return NULL;
	}
	s->taken = true;
	*at = offset;
	return s;
}

int sherd_clx_sent(struct cl_exec *x, struct sherd_error *err)
{
	int rc = 0;

	for (int i = 0; x->ring && i < x->ring->region->n_slots; i++) {
		struct cl_ring_slot *s = &x->ring->slots[i];
		int code;

		if (!s->taken)
			continue;
		s->taken = false;
		code = sherd_import_release(&s->import, 0, rc ? NULL : err);
		if (!code)
			code = sherd_window_begin(sherd_ring_slot(x->ring->region, i), ACCESS,
						  rc ? NULL : err);
		rc = rc ? rc : code;
	}
	return rc;
}

/* --------------------------------------------------------------------- rows */

/* Room for all rows of a step in the largest format, which is int8 for a few columns: it pads. */
static cl_mem buffer(struct cl_exec *x, struct sherd_error *err)
{
	size_t row = 0;

	for (int w = SHERD_WIRE_INT8; w <= SHERD_WIRE_F32; w++)
		row = MAX(row, sherd_wire_bytes((enum sherd_wire)w, 1, x->hp->hidden));
	if (!x->sent) /* every item begins where 4 divides */
		x->sent = sherd_clx_buffer(x, (size_t)x->n_batch * (row + 4), "rows that travel",
					   err);
	return x->sent;
}

void sherd_clx_send_rows(struct cl_exec *x, struct sherd_error *err)
{
	const struct sherd_work *w = x->w;
	int hidden = x->hp->hidden, row = 0;
	size_t used = 0;

	x->c.step = w->end_op;
	for (int i = 0; i < w->n_items && !x->c.rc; i++) {
		int first = row, n = sherd_work_wanted(w, i, &row);
		size_t size = sherd_wire_bytes(w->wire[i], n, hidden), at = used;
		struct cl_ring_slot *s = n ? take_slot(x, w->out[i], size, &at) : NULL;
		cl_mem to = s ? s->part.mem : buffer(x, err);

		if (!n || x->c.rc)
			continue;
		sherd_cl_wire(&x->c, x->buf[SHERD_BUF_X], first, n, hidden, w->wire[i], to, at);
		if (s || x->c.rc)
			continue;
		used += ROUND_UP(size, 4);
		x->c.rc = clEnqueueReadBuffer(x->c.dev->queue, to, CL_FALSE, at, size, w->out[i], 0,
					      NULL, NULL);
	}
}
