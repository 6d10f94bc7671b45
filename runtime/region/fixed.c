/* SPDX-License-Identifier: MIT */
/*
 * fixed: a ring's slots as io_uring's fixed buffers. What is registered is the ring's own mapping,
 * not a dma-buf's, which has no pages that io_uring could pin. An io_uring has one table of them:
 * it is filled whole, by one ring or several, or made empty (Linux 5.19) for rings that come and
 * go.
 */
#include <liburing.h>
#include <stdlib.h>
#include "region/rung.h"

static int fail_register(struct sherd_error *err, int n, size_t bytes, int rc)
{
	switch (rc) {
	case -ENOMEM:
		if (!sherd_memlock_bounds())
			break;
		sherd_fail_memlock(err, "io_uring's fixed buffers", bytes, SIZE_MAX);
		return rc;
	case -EBUSY:
		return sherd_fail(
			err, rc,
			"this io_uring has a table of fixed buffers already: %d more need one "
			"that was made empty, or are registered with those there are",
			n);
	}
	return sherd_fail(err, rc, "io_uring does not take %d fixed buffers of %zu KiB in all: %s",
			  n, bytes >> 10, strerror(-rc));
}

/* Appends @r's slots. */
static void list_slots(const struct sherd_region *r, struct iovec *io)
{
	for (int i = 0; i < r->n_slots; i++)
		io[i] = (struct iovec){ r->slots[i].data, r->slot_size };
}

int sherd_region_register_all(struct sherd_region *const *rings, int n_rings,
			      struct io_uring *uring, struct sherd_error *err)
{
	size_t bytes = 0;
	struct iovec *io;
	int i, n = 0, rc;

	for (i = 0; i < n_rings; i++) {
		if (!rings[i]->n_slots)
			return sherd_fail(err, -EINVAL,
					  "a shard is read-only, and no fixed buffer");
		n += rings[i]->n_slots;
		bytes += rings[i]->n_slots * rings[i]->slot_size;
	}
	io = sherd_calloc(n, sizeof(*io));
	if (!io)
		return sherd_fail_oom(err, n * sizeof(*io), "fixed buffers");
	for (i = 0, n = 0; i < n_rings; n += rings[i++]->n_slots)
		list_slots(rings[i], io + n);
	rc = io_uring_register_buffers(uring, io, n);
	free(io);
	return rc ? fail_register(err, n, bytes, rc) : 0;
}

int sherd_region_register(const struct sherd_region *r, struct io_uring *uring,
			  struct sherd_error *err)
{
	struct sherd_region *const one = (struct sherd_region *)r;

	return sherd_region_register_all(&one, 1, uring, err);
}

int sherd_region_unregister(struct io_uring *uring, struct sherd_error *err)
{
	int rc = io_uring_unregister_buffers(uring);

	return rc ? sherd_fail(err, rc, "io_uring does not let its fixed buffers go: %s",
			       strerror(-rc)) :
		    0;
}

int sherd_fixed_table(struct io_uring *uring, unsigned n, struct sherd_error *err)
{
	int rc = io_uring_register_buffers_sparse(uring, n);

	if (rc == -EINVAL)
		return sherd_fail(err, -EOPNOTSUPP,
				  "an empty table of %u fixed buffers needs Linux 5.19: register "
				  "all rings at once",
				  n);
	return rc ? fail_register(err, (int)n, 0, rc) : 0;
}

/* Entries [first, first + n) of the table; all, or none. */
static int update(struct io_uring *uring, unsigned first, const struct iovec *io, unsigned n)
{
	const struct iovec nothing = { NULL, 0 };
	int done = io_uring_register_buffers_update_tag(uring, first, io, NULL, n);

	if (done < 0 || done == (int)n)
		return MIN(done, 0);
	while (done-- > 0)
		io_uring_register_buffers_update_tag(uring, first + (unsigned)done, &nothing, NULL,
						     1);
	return -ENOMEM; /* pages are what may fail on the way */
}

int sherd_region_register_at(const struct sherd_region *r, struct io_uring *uring, unsigned first,
			     struct sherd_error *err)
{
	struct iovec *io = sherd_calloc(r->n_slots, sizeof(*io));
	int rc;

	if (!io)
		return sherd_fail_oom(err, r->n_slots * sizeof(*io), "fixed buffers");
	if (!r->n_slots) {
		free(io);
		return sherd_fail(err, -EINVAL, "a shard is read-only, and no fixed buffer");
	}
	list_slots(r, io);
	rc = update(uring, first, io, (unsigned)r->n_slots);
	free(io);
	if (rc == -EINVAL || rc == -ENXIO)
		return sherd_fail(err, -EINVAL, "io_uring's table has no %d entries from %u on",
				  r->n_slots, first);
	return rc ? fail_register(err, r->n_slots, r->n_slots * r->slot_size, rc) : 0;
}

int sherd_region_unregister_at(const struct sherd_region *r, struct io_uring *uring, unsigned first,
			       struct sherd_error *err)
{
	struct iovec *nothing = sherd_calloc(r->n_slots, sizeof(*nothing));
	int rc;

	if (!nothing)
		return sherd_fail_oom(err, r->n_slots * sizeof(*nothing), "fixed buffers");
	rc = update(uring, first, nothing, (unsigned)r->n_slots);
	free(nothing);
	return rc ? sherd_fail(err, rc, "io_uring does not let %d fixed buffers go: %s", r->n_slots,
			       strerror(-rc)) : 0;
}
