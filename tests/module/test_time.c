// SPDX-License-Identifier: MIT
/*
 * How long pinning, exporting, mapping for a device, syncing and letting go take, per GiB. The
 * machine is emulated, so what these numbers say is which kind of memory is dearer, and not what a
 * board needs.
 */
#include <linux/dma-buf.h>

#include "guest.h"

#define MIB (1ul << 20)

struct times {
	double pin, export, attach, sync, close;
};

static struct times once(int fd, const void *at, size_t bytes)
{
	double t[7] = { now() };
	int device, buffer, w;
	struct sherd_info i;
	struct times r;

	t[0] = now();
	buffer = at ? pin_at(fd, at, bytes, SHERD_PIN_READ_ONLY) : pin(fd, 0, bytes, 0);
	CHECK(buffer >= 0);
	t[1] = now();
	w = window(buffer, 0, bytes);
	CHECK(w >= 0);
	t[2] = now();
	device = attach(buffer, w);
	t[3] = now();
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
	t[4] = now();
	i = info(buffer);
	CHECK_EQ(i.pages, bytes / page);
	close(device);
	close(w);
	t[5] = now();
	close(buffer);
	t[6] = now();
	r = (struct times){ t[1] - t[0], t[2] - t[1], t[3] - t[2], t[4] - t[3], t[6] - t[5] };
	return r;
}

/* The first time pages are faulted in, or found in the page cache; then the best of three. */
static void measure(const char *what, int fd, const void *at, size_t bytes)
{
	struct times first = once(fd, at, bytes), best, r;
	double gib = (double)bytes / (1024 * MIB);
	int i;

	best = once(fd, at, bytes);
	for (i = 0; i < 2; i++) {
		r = once(fd, at, bytes);
		if (r.pin < best.pin)
			best = r;
	}
	printf("# emulated, per GiB of %s: first pin %.0f ms, pin %.0f ms, export %.2f ms, map for a device %.1f ms, SYNC %.1f ms, let go %.0f ms\n",
	       what, first.pin * 1e3 / gib, best.pin * 1e3 / gib, best.export * 1e3,
	       best.attach * 1e3 / gib, best.sync * 1e3 / gib, best.close * 1e3 / gib);
}

static void small_pages(void)
{
	measure("memfd of small pages", memfd(0, 1024 * MIB, F_SEAL_SHRINK), NULL, 1024 * MIB);
}

static bool huge_shmem(const char *word)
{
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");

	return f && fputs(word, f) >= 0 && !fclose(f);
}

static void huge_pages(void)
{
	int fd;

	if (!huge_shmem("force"))
		test_skip("no huge pages in shared memory on this kernel");
	fd = memfd(0, 1024 * MIB, F_SEAL_SHRINK);
	measure("memfd of transparent huge pages", fd, NULL, 1024 * MIB);
	CHECK(huge_shmem("never"));
}

static void set_huge_pages(long n)
{
	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");

	CHECK(f && fprintf(f, "%ld", n) > 0 && !fclose(f));
}

static void hugetlb(void)
{
	size_t huge = number_in("/proc/meminfo", "Hugepagesize:") * 1024, bytes;
	long had = number_in("/proc/meminfo", "HugePages_Total:"), n;

	set_huge_pages(1024 * MIB / huge);
	n = number_in("/proc/meminfo", "HugePages_Free:");
	bytes = n * huge;
	if (n > 0)
		measure("hugetlb memfd", memfd(MFD_HUGETLB, bytes, F_SEAL_SHRINK), NULL, bytes);
	set_huge_pages(had);
	if (n <= 0)
		test_skip("no huge pages in this guest");
}

static void page_cache(void)
{
	const size_t bytes = 256 * MIB;
	char path[] = "/ext4/large";
	uint8_t *data = malloc(MIB);
	size_t i;
	int fd;

	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	memset(data, 7, MIB);
	for (i = 0; i < bytes; i += MIB)
		CHECK_EQ(write(fd, data, MIB), MIB);
	CHECK_EQ(fsync(fd), 0);
	measure("page cache of ext4", fd, map(fd, bytes, PROT_READ, MAP_SHARED), bytes);
	unlink(path);
}

const struct test time_tests[] = {
	{ "a memfd of small pages is pinned, exported and let go; the times", small_pages, 1 },
	{ "a memfd of transparent huge pages is pinned, exported and let go; the times", huge_pages,
	  1 },
	{ "a hugetlb memfd is pinned, exported and let go; the times", hugetlb, 1 },
	{ "page cache of ext4 is pinned, exported and let go; the times", page_cache, 1 },
	{ 0 }
};
