/* SPDX-License-Identifier: MIT */
/*
 * ring: memory for activations on their way, as slots in a memfd. Its pages are the largest that can be
 * had, since a device, or the network card, is told of each run of them: huge pages that the administrator
 * reserved, then transparent ones, then small ones. All are there when the ring is, so that none can be
 * missing later.
 */
#include <fcntl.h>
#include <liburing.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "region/rung.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers */
#endif

#define HUGE_PAGE ((size_t)2 << 20) /* with pages of 4 KiB, on x86 and Arm */
#define MIN_SLOTS 3
#define MAX_SLOTS 1024 /* as many fixed buffers as old kernels register */

/* Where a huge page can begin: not every kernel thinks of that by itself. */
static void *map_aligned(int fd, size_t size)
{
	uint8_t *room = mmap(NULL, size + HUGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			     -1, 0);
	uint8_t *at = (uint8_t *)ROUND_UP((uintptr_t)room, HUGE_PAGE), *data;

	if (room == MAP_FAILED)
		return MAP_FAILED;
	data = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0);
	if (data == MAP_FAILED) {
		munmap(room, size + HUGE_PAGE);
		return MAP_FAILED;
	}
	if (at > room)
		munmap(room, at - room);
	munmap(at + size, room + HUGE_PAGE - at);
	return data;
}

/* A memfd that has all its memory and is mapped, or a negative errno. */
static int make_memory(struct sherd_region *r, unsigned flags)
{
	int rc;

	r->fd = memfd_create("sherd-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (r->fd < 0)
		return -errno;
	if (ftruncate(r->fd, (off_t)r->size))
		goto close_fd;
	r->data = map_aligned(r->fd, r->size);
	if (r->data == MAP_FAILED)
		goto close_fd;
	/* Through the mapping, whose wish for huge pages fallocate() doesn't know; that one fails cleanly. */
	if (!flags && !madvise(r->data, r->size, MADV_HUGEPAGE))
		madvise(r->data, r->size, MADV_POPULATE_WRITE);
	do
		rc = fallocate(r->fd, 0, 0, (off_t)r->size);
	while (rc && errno == EINTR);
	if (rc || fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		goto unmap;
	return 0;

unmap:
	rc = -errno;
	munmap(r->data, r->size);
	close(r->fd);
	return rc;
close_fd:
	rc = -errno;
	close(r->fd);
	return rc;
}

/* Whether the mapping at @at has huge pages, which the kernel gives as it likes. */
static bool is_huge(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long long start, end, kib = 0;
	bool here = false;
	char line[512];

	while (f && !kib && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			here = start == (uintptr_t)at;
		else if (here)
			sscanf(line, "ShmemPmdMapped: %llu", &kib);
	}
	if (f)
		fclose(f);
	return kib > 0;
}

static int make_cascade(struct sherd_region *r, struct sherd_error *err)
{
	size_t small = r->size;
	int rc;

	if (small >= HUGE_PAGE / 2) { /* at most twice of what is needed */
		r->size = ROUND_UP(small, HUGE_PAGE);
		r->pages = SHERD_PAGES_HUGETLB;
		if (!make_memory(r, MFD_HUGETLB | MFD_HUGE_2MB))
			return 0;
	}
	r->size = small;
	rc = make_memory(r, 0);
	if (rc)
		return sherd_fail(err, rc, "a ring: no memory for %.1f MiB: %s", r->size / 1048576.0,
				  strerror(-rc));
	memset(r->data, 0, r->size); /* maps it */
	r->pages = is_huge(r->data) ? SHERD_PAGES_TRANSPARENT : SHERD_PAGES_SMALL;
	return 0;
}

static int check_shape(struct sherd_region *r, int n_slots, size_t slot_bytes, struct sherd_error *err)
{
	size_t page = sherd_page_size();

	if (n_slots < MIN_SLOTS || n_slots > MAX_SLOTS)
		return sherd_fail(err, -EINVAL, "a ring of %d slots: there are %d to %d", n_slots,
				  MIN_SLOTS, MAX_SLOTS);
	if (!slot_bytes || slot_bytes > SIZE_MAX / 2 / MAX_SLOTS)
		return sherd_fail(err, -EINVAL, "a ring's slots can't have %zu bytes", slot_bytes);
	r->n_slots = n_slots;
	r->slot_size = ROUND_UP(slot_bytes, page);
	r->size = n_slots * r->slot_size;
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
		rc = sherd_region_check_room(r, err);
	if (!rc)
		rc = make_cascade(r, err);
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
	if (r->n_slots) { /* a shard's mapping is its opener's */
		munmap(r->data, r->size);
		close(r->fd);
	}
	free(r->slots);
	free(r);
}

int sherd_region_register(const struct sherd_region *r, struct io_uring *ring, struct sherd_error *err)
{
	int n = r->n_slots, i, rc;
	struct iovec *io = sherd_calloc(n, sizeof(*io));

	if (!n || !io) {
		free(io);
		return n ? sherd_fail_oom(err, n * sizeof(*io), "fixed buffers") :
			   sherd_fail(err, -EINVAL, "a shard is read-only, and no fixed buffer");
	}
	for (i = 0; i < n; i++)
		io[i] = (struct iovec){ r->slots[i].data, r->slot_size };
	rc = io_uring_register_buffers(ring, io, n);
	free(io);
	if (rc == -ENOMEM)
		sherd_fail_memlock(err, "io_uring's fixed buffers", r->size, SIZE_MAX);
	else if (rc)
		sherd_fail(err, rc, "io_uring does not take %d fixed buffers: %s", n, strerror(-rc));
	return rc;
}
