// SPDX-License-Identifier: MIT
/*
 * Memory that the kernel keeps for drivers that need much of it in one piece, and lends to page
 * cache meanwhile: on boards like Jetson and RK3588 a model's file lies there. What is pinned for
 * long must leave it, or the drivers' turn never comes. The guest that has some is booted by check
 * --cma.
 */
#include "guest.h"
#include "importer.h"

#define FILE_BYTES (160ul << 20)
#define DRIVER_BYTES (384u << 20)

static uint64_t cma_start, cma_end; /* page frames */

/* The kernel says where it is when it boots, and only then. */
static void find_cma(void)
{
	int log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	unsigned long long mib, at;
	char line[2048], *p;
	ssize_t n;

	if (number_in("/proc/meminfo", "CmaTotal:") < (long)(DRIVER_BYTES >> 10))
		test_skip("no memory kept for drivers in this guest (check --cma)");
	while (!cma_end && (n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = '\0';
		p = strstr(line, "cma: Reserved ");
		if (p && sscanf(p, "cma: Reserved %llu MiB at %llx", &mib, &at) == 2) {
			cma_start = at / page;
			cma_end = cma_start + (mib << 20) / page;
		}
	}
	close(log);
	CHECK(cma_end);
}

/* How many of the pages mapped there lie in it. */
static long in_cma(const uint8_t *at, size_t bytes)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t entry, frame;
	long n = 0;
	size_t i;

	for (i = 0; i < bytes; i += page) {
		(void)*(const volatile uint8_t *)(at + i);
		CHECK_EQ(pread(fd, &entry, 8, ((uintptr_t)at + i) / page * 8), 8);
		frame = entry & ((1ull << 55) - 1);
		CHECK(entry >> 63 && frame);
		n += frame >= cma_start && frame < cma_end;
	}
	close(fd);
	return n;
}

static void fill_file(const char *path, size_t bytes)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	uint8_t *data = malloc(64 * page);
	size_t done, i;

	CHECK(fd >= 0);
	for (done = 0; done < bytes; done += 64 * page) {
		for (i = 0; i < (size_t)(64 * page); i++)
			data[i] = pattern((done + i) / page, i % page);
		CHECK_EQ(write(fd, data, 64 * page), 64 * page);
	}
	CHECK_EQ(fsync(fd), 0);
	CHECK_EQ(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	free(data);
	close(fd);
}

/* A driver's turn: a buffer in one piece, of most of what is kept. */
static void driver_allocates(void)
{
	struct importer_allocate arg = { .bytes = DRIVER_BYTES };
	int dev = open("/dev/importer", O_RDWR | O_CLOEXEC);

	if (dev < 0)
		test_skip("no importer.ko in this guest");
	CHECK_EQ(ioctl(dev, IMPORTER_ALLOCATE, &arg), 0);
	CHECK(arg.address / page >= cma_start && arg.address / page < cma_end);
	close(dev);
}

static void moves_out(int fd, size_t bytes, bool by_address)
{
	uint8_t *at = map(fd, bytes, PROT_READ, MAP_SHARED), *seen;
	long before = in_cma(at, bytes);
	int buffer;

	buffer = by_address ? pin_at(fd, at, bytes, SHERD_PIN_READ_ONLY) :
			      pin(fd, 0, bytes, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	printf("# %ld of %zu pages were kept for drivers, %ld are when pinned\n", before,
	       bytes / page, in_cma(at, bytes));
	CHECK(before > (long)(bytes / page / 4));
	CHECK_EQ(in_cma(at, bytes), 0);
	seen = map(window(buffer, 0, bytes), bytes, PROT_READ, MAP_SHARED);
	CHECK(is_pattern(seen, 0, bytes));
	/* and still the file's own */
	CHECK(is_pattern(at, 0, bytes));
	driver_allocates();
	CHECK(is_pattern(seen, 0, bytes));
}

static void file(void)
{
	char path[] = "/ext4/large";
	int fd;

	find_cma();
	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	fill_file(path, FILE_BYTES);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	unlink(path);
	moves_out(fd, FILE_BYTES, true);
}

static void shared_memory(void)
{
	int fd;

	find_cma();
	fd = memfd(0, FILE_BYTES, F_SEAL_SHRINK);
	fill(fd, FILE_BYTES);
	moves_out(fd, FILE_BYTES, false);
}

const struct test cma_tests[] = {
	{ "page cache leaves the memory kept for drivers when it is pinned, and they can have it",
	  file, 0 },
	{ "a memfd leaves the memory kept for drivers when it is pinned, and they can have it",
	  shared_memory, 0 },
	{ 0 }
};
