/* SPDX-License-Identifier: MIT */
/*
 * ring_memory: a ring's memory is a memfd in the largest pages that can be had, since a device, or
 * the network card, is told of each run of them: huge pages that the administrator reserved, then
 * transparent ones, then small ones. All are there when the ring is, so that none can be missing
 * later.
 */
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "region/rung.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23 /* Linux 5.14; older headers */
#endif

#define TRANSPARENT "/sys/kernel/mm/transparent_hugepage/hpage_pmd_size"

/* How large a transparent huge page is, which depends on the small ones; 0: there are none. */
static size_t transparent_size(void)
{
	char *path = sherd_asprintf("%s" TRANSPARENT, sherd_root), *text = NULL;
	size_t n, size = 0;

	if (path && !sherd_read_file(path, 64, &text, &n, NULL))
		size = strtoul(text, NULL, 10);
	free(text);
	free(path);
	return size & (size - 1) ? 0 : size; /* a power of two */
}

/*
 * Where a huge page can begin: not every kernel thinks of that by itself for transparent ones. The
 * place may be taken meanwhile by another thread, and is only wished for: to force the mapping
 * there would unmap that, and when it fails leave a hole that is anybody's.
 */
static void *map_aligned(int fd, size_t size, size_t huge)
{
	uint8_t *room, *at = NULL;

	if (huge && size >= huge) {
		room = mmap(NULL, size + huge, PROT_NONE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (room != MAP_FAILED) {
			at = (uint8_t *)ROUND_UP((uintptr_t)room, huge);
			munmap(room, size + huge);
		}
	}
	return mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

/*
 * @flags: what the memfd is beside sealable. A negative errno, and nothing is left, or all is there
 * and mapped.
 */
static int make_memory(struct sherd_region *r, size_t size, unsigned flags)
{
	int rc;

	r->size = size;
	r->fd = memfd_create("sherd-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | flags);
	if (r->fd < 0)
		return -errno;
	if (ftruncate(r->fd, (off_t)size))
		goto close_fd;
	r->data = map_aligned(r->fd, size, flags ? 0 : transparent_size());
	if (r->data == MAP_FAILED)
		goto close_fd;
	/*
	 * Through the mapping, whose wish for huge pages fallocate() doesn't know; that one fails
	 * cleanly.
	 */
	if (!flags && !madvise(r->data, size, MADV_HUGEPAGE))
		madvise(r->data, size, MADV_POPULATE_WRITE);
	do
		rc = fallocate(r->fd, 0, 0, (off_t)size);
	while (rc && errno == EINTR);
	if (rc || fcntl(r->fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW))
		goto unmap;
	return 0;

unmap:
	rc = -errno;
	munmap(r->data, size);
	close(r->fd);
	return rc;
close_fd:
	rc = -errno;
	close(r->fd);
	return rc;
}

/*
 * Bytes of the mapping at @at that are in transparent huge pages, which the kernel gives as it
 * likes.
 */
static uint64_t transparent_bytes(const void *at)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	unsigned long long start, end;
	uint64_t bytes = 0;
	bool here = false;
	char line[512];

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &start, &end) == 2)
			here = start == (uintptr_t)at;
		else if (here && sherd_line_value(line, "ShmemPmdMapped", &bytes))
			break;
	}
	if (f)
		fclose(f);
	return bytes;
}

static size_t small_size(const struct sherd_region *r)
{
	return r->n_slots * r->slot_size;
}

int sherd_ring_make_unreserved(struct sherd_region *r, struct sherd_error *err)
{
	size_t huge = transparent_size();
	int rc;

	r->size = small_size(r);
	rc = sherd_region_check_room(r, err);
	if (rc)
		return rc;
	rc = make_memory(r, r->size, 0);
	if (rc == -EMFILE || rc == -ENFILE)
		return sherd_fail_files(err, "a ring", -rc);
	if (rc)
		return sherd_fail(err, rc, "a ring: no memory for %.1f MiB: %s",
				  r->size / 1048576.0, strerror(-rc));
	memset(r->data, 0, r->size); /* maps it */
	r->pages = huge && r->size >= huge && transparent_bytes(r->data) >= r->size / huge * huge ?
			   SHERD_PAGES_TRANSPARENT : SHERD_PAGES_SMALL;
	return 0;
}

int sherd_ring_make_memory(struct sherd_region *r, struct sherd_error *err)
{
	uint64_t sizes[] = { (size_t)2 << 20, 0 };

	/*
	 * 2 MiB there are on x86 and on Arm whatever the small pages are; else the kernel's own
	 * kind
	 */
	sherd_proc_value("/proc/meminfo", "Hugepagesize", &sizes[1]);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		size_t huge = (size_t)sizes[i], size = huge ? ROUND_UP(small_size(r), huge) : 0;

		/* at most twice of what is needed */
		if (!huge || huge & (huge - 1) || small_size(r) < huge / 2)
			continue;
		if (make_memory(r, size,
				MFD_HUGETLB | (unsigned)__builtin_ctzl(huge) << MFD_HUGE_SHIFT))
			continue;
		r->pages = SHERD_PAGES_HUGETLB;
		return 0;
	}
	return sherd_ring_make_unreserved(r, err);
}

void sherd_ring_free_memory(struct sherd_region *r)
{
	munmap(r->data, r->size);
	close(r->fd);
}
