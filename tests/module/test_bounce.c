// SPDX-License-Identifier: MIT
/*
 * A device that does not reach the memory, and gets copies of it instead: bounce buffers. It is the
 * one incoherent device that there is in QEMU, so what SYNC does, and in which direction, shows
 * here.
 */
#include <linux/dma-buf.h>
#include <pthread.h>

#include "guest.h"
#include "importer.h"

#define N 8
#define CHUNK 2048

/* Whether the pages lie where 32 bits do not reach. */
static bool is_far(int fd)
{
	uint8_t *at = map(fd, N * page, PROT_READ, MAP_SHARED);
	int pagemap = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC), i;
	bool far = true;
	uint64_t entry;

	for (i = 0; i < N; i++) {
		(void)*(const volatile uint8_t *)(at + i * page);
		CHECK_EQ(pread(pagemap, &entry, 8, ((uintptr_t)at / page + i) * 8), 8);
		far = far && (entry & ((1ull << 55) - 1)) * page >> 32;
	}
	close(pagemap);
	munmap(at, N * page);
	return far;
}

/* Those that lie nearer stay open, and away, until there is one that does not. */
static int far_memfd(void)
{
	int fd, i;

	if ((uint64_t)sysconf(_SC_PHYS_PAGES) * page < 4ull << 30)
		test_skip("this guest's memory is within reach of 32 bits");
	for (i = 0; i < 512; i++) {
		fd = memfd(0, N * page, F_SEAL_SHRINK);
		if (is_far(fd))
			return fd;
	}
	test_fail(__FILE__, __LINE__, "no memory beyond 32 bits is to be had");
}

/* A window of such memory, and the memory as its source has it. */
struct far {
	int buffer, w;
	uint8_t *seen;
};

static struct far far_window(uint32_t flags)
{
	int fd = far_memfd();
	struct far f = { .buffer = pin(fd, 0, N * page, flags) };

	CHECK(f.buffer >= 0);
	f.w = window(f.buffer, 0, N * page);
	CHECK(f.w >= 0);
	f.seen = map(fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	close(fd);
	return f;
}

static int attach_bounced(const struct far *f, uint32_t dir)
{
	int dev = importer(f->w, dir, 32);

	CHECK(dev >= 0);
	CHECK(info(f->buffer).bounced >= 1);
	return dev;
}

static void start(int w)
{
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
}

static void end(int w)
{
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
}

static void device_writes(int dev, size_t offset, int byte)
{
	uint8_t data[CHUNK];

	memset(data, byte, sizeof(data));
	device_copy(dev, IMPORTER_WRITE, offset, data);
}

static int device_sees(int dev, size_t offset)
{
	uint8_t data[CHUNK];

	device_copy(dev, IMPORTER_READ, offset, data);
	return data[0];
}

static void refused(void)
{
	struct far f = far_window(0);

	CHECK_EQ(importer(f.w, IMPORTER_BOTH, 32), -ENXIO);
	CHECK_EQ(importer(f.w, IMPORTER_TO_DEVICE, 32), -ENXIO);
	CHECK_EQ(info(f.buffer).mappings, 0);
	CHECK_EQ(info(f.buffer).bounced, 0);
}

static void both_directions(uint32_t dir)
{
	struct far f = far_window(SHERD_PIN_ALLOW_BOUNCE);
	int dev = attach_bounced(&f, dir);

	CHECK_EQ(info(f.buffer).bounced, info(f.buffer).segments);
	/* This is an incoherent device indeed: without SYNC it sees what was. */
	start(f.w);
	f.seen[0] = 200;
	CHECK_EQ(device_sees(dev, 0), pattern(0, 0));
	end(f.w);
	CHECK_EQ(device_sees(dev, 0), 200);
	/* What the CPU wrote stays, whatever the device is said to do. */
	start(f.w);
	CHECK_EQ(f.seen[0], 200);
	f.seen[page] = 202;
	end(f.w);
	device_writes(dev, 0, 201);
	CHECK_EQ(f.seen[0], 200);
	start(f.w);
	CHECK_EQ(f.seen[0], 201);
	CHECK_EQ(f.seen[page], 202);
	CHECK(is_pattern(f.seen + 2 * page, 2, (N - 2) * page));
	end(f.w);
	/* and what the device wrote last comes with its detaching */
	device_writes(dev, 3 * page, 203);
	close(dev);
	CHECK_EQ(f.seen[3 * page], 203);
}

static void bidirectional(void)
{
	both_directions(IMPORTER_BOTH);
}

static void from_device(void)
{
	both_directions(IMPORTER_FROM_DEVICE);
}

/* What such a device writes all the same is in its copy, and nowhere else. */
static void one_direction(const struct far *f, int dev)
{
	device_writes(dev, 0, 0x5a);
	CHECK_EQ(device_sees(dev, 0), 0x5a);
	start(f->w);
	CHECK(is_pattern(f->seen, 0, N * page));
	end(f->w);
	CHECK_EQ(device_sees(dev, 0), pattern(0, 0));
	device_writes(dev, page, 0x5a);
	close(dev);
	CHECK(is_pattern(f->seen, 0, N * page));
}

static void to_device(void)
{
	struct far f = far_window(SHERD_PIN_ALLOW_BOUNCE);

	one_direction(&f, attach_bounced(&f, IMPORTER_TO_DEVICE));
}

static void read_only(void)
{
	struct far f = far_window(SHERD_PIN_READ_ONLY | SHERD_PIN_ALLOW_BOUNCE);

	CHECK_EQ(importer(f.w, IMPORTER_FROM_DEVICE, 32), -EACCES);
	one_direction(&f, attach_bounced(&f, IMPORTER_BOTH));
	one_direction(&f, attach_bounced(&f, IMPORTER_TO_DEVICE));
}

/* ---------------------------------------------------------------- several devices */

static void two_writers(void)
{
	struct far f = far_window(SHERD_PIN_ALLOW_BOUNCE);
	int w = window(f.buffer, 2 * page, page), dev;

	dev = attach_bounced(&f, IMPORTER_BOTH);
	CHECK_EQ(importer(f.w, IMPORTER_BOTH, 64), -ENXIO);
	CHECK_EQ(importer(w, IMPORTER_BOTH, 64), -ENXIO);
	CHECK_EQ(importer(w, IMPORTER_FROM_DEVICE, 32), -ENXIO);
	CHECK_EQ(info(f.buffer).mappings, 1);
	close(dev);
	dev = importer(w, IMPORTER_BOTH, 64);
	CHECK(dev >= 0);
	CHECK_EQ(importer(f.w, IMPORTER_BOTH, 32), -ENXIO);
	CHECK_EQ(importer(w, IMPORTER_FROM_DEVICE, 32), -ENXIO);
	CHECK_EQ(info(f.buffer).bounced, 0);
	/* two that reach the memory itself are no trouble */
	CHECK(importer(f.w, IMPORTER_BOTH, 64) >= 0);
	CHECK_EQ(info(f.buffer).mappings, 2);
}

/*
 * Neither START nor detaching puts back what lay in a bounce buffer of another window, or a
 * reader's.
 */
static void writes_stay(void)
{
	struct far f = far_window(SHERD_PIN_ALLOW_BOUNCE);
	int left = window(f.buffer, 0, 4 * page), right = window(f.buffer, 4 * page, 4 * page);
	int far = importer(left, IMPORTER_BOTH, 32), near = importer(right, IMPORTER_BOTH, 64),
	    reader;

	CHECK(far >= 0 && near >= 0);
	reader = attach_bounced(&f, IMPORTER_TO_DEVICE);
	device_writes(near, 0, 7);
	device_writes(far, 0, 8);
	start(left);
	start(right);
	start(f.w);
	CHECK_EQ(f.seen[4 * page], 7);
	CHECK_EQ(f.seen[0], 8);
	f.seen[page] = 9;
	end(f.w);
	end(left);
	CHECK_EQ(device_sees(reader, 4 * page), 7);
	CHECK_EQ(device_sees(reader, 0), 8);
	CHECK_EQ(device_sees(far, page), 9);
	device_writes(near, page, 10);
	close(reader);
	close(far);
	CHECK_EQ(f.seen[5 * page], 10);
	CHECK_EQ(f.seen[page], 9);
	CHECK_EQ(f.seen[0], 8);
	CHECK(is_pattern(f.seen + 6 * page, 6, 2 * page));
}

static volatile bool stop;

static void *sync_all_the_time(void *arg)
{
	while (!stop) {
		start(*(int *)arg);
		end(*(int *)arg);
	}
	return NULL;
}

/* The DMA API has work to do for this device: detaching amid that leaves nobody behind. */
static void detached_during_sync(void)
{
	struct far f = far_window(SHERD_PIN_ALLOW_BOUNCE);
	pthread_t threads[4];
	int i;

	for (i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, sync_all_the_time, &f.w), 0);
	for (i = 0; i < 200; i++)
		close(attach_bounced(&f, IMPORTER_BOTH));
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(info(f.buffer).mappings, 0);
	CHECK_EQ(info(f.buffer).bounced, 0);
	CHECK(is_pattern(f.seen, 0, N * page));
}

const struct test bounce_tests[] = {
	{ "a device that needs bounce buffers is refused where they are not allowed (invariant 5)",
	  refused, 0 },
	{ "SYNC copies to and from a bounce buffer that is mapped in both directions (invariant 5)",
	  bidirectional, 0 },
	{ "SYNC copies both ways even for a device that says it only writes (invariant 5)",
	  from_device, 0 },
	{ "SYNC copies to a bounce buffer that is mapped to the device, and never back (invariant 5)",
	  to_device, 0 },
	{ "a device's write to read-only memory never reaches it through a bounce buffer (invariant 6)",
	  read_only, 0 },
	{ "who writes through a bounce buffer is the only device that writes there (invariant 5)",
	  two_writers, 0 },
	{ "what a device wrote is not overwritten by another's bounce buffer (invariant 5)",
	  writes_stay, 0 },
	{ "a device with bounce buffers detaches while four threads SYNC (invariant 7)",
	  detached_during_sync, 0 },
	{ 0 }
};
