// SPDX-License-Identifier: MIT
/* Windows: access rights, importers, syncing, and a device that really does DMA. */
#include <linux/dma-buf.h>
#include <pthread.h>

#include "guest.h"
#include "importer.h"
#include "trace.h"

#define N 8

static void read_only(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), w, buffer;
	uint8_t *seen;

	buffer = pin(fd, 0, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	w = window(buffer, 0, N * page);
	CHECK_EQ(fcntl(w, F_GETFL) & O_ACCMODE, O_RDONLY);
	CHECK(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, w, 0) == MAP_FAILED &&
	      errno == EACCES);
	CHECK(mmap(NULL, page, PROT_READ, MAP_PRIVATE, w, 0) == MAP_FAILED && errno == EINVAL);
	seen = map(w, page, PROT_READ, MAP_SHARED);
	CHECK(mprotect(seen, page, PROT_READ | PROT_WRITE) && errno == EACCES);
	CHECK(is_pattern(seen, 0, page));
}

/* Newer kernels refuse that themselves, with EPERM. */
static void not_executable(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), w = window(pin(fd, 0, page, 0), 0, page);
	void *p;

	CHECK(mmap(NULL, page, PROT_READ | PROT_EXEC, MAP_SHARED, w, 0) == MAP_FAILED &&
	      errno == EPERM);
	p = map(w, page, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(mprotect(p, page, PROT_READ | PROT_EXEC) && errno == EACCES);
}

/* A driver's own mmap reaches the dma-buf with the rights of the driver's file. */
static void read_only_through_driver(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), w, dev, ro;
	struct importer_attach arg = { .dir = IMPORTER_BOTH, .bits = 64 };
	uint8_t *p;

	w = window(pin(fd, 0, N * page, SHERD_PIN_READ_ONLY), 0, N * page);
	dev = importer(w, IMPORTER_BOTH, 64);
	CHECK(dev >= 0);
	CHECK(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED, dev, 0) == MAP_FAILED &&
	      errno == EACCES);
	CHECK(mmap(NULL, page, PROT_WRITE, MAP_SHARED, dev, 0) == MAP_FAILED && errno == EACCES);
	p = mmap(NULL, page, PROT_READ, MAP_SHARED, dev, 0);
	CHECK(p == MAP_FAILED || mprotect(p, page, PROT_READ | PROT_WRITE));
	CHECK(mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_PRIVATE, dev, 0) == MAP_FAILED);

	ro = open("/dev/importer", O_RDONLY | O_CLOEXEC);
	arg.fd = w;
	CHECK_EQ(ioctl(ro, IMPORTER_ATTACH, &arg), 0);
	p = map(ro, N * page, PROT_READ, MAP_SHARED);
	CHECK(is_pattern(p, 0, N * page));
	CHECK(mprotect(p, page, PROT_READ | PROT_WRITE) && errno == EACCES);

	/* where writing is allowed it is allowed this way, too */
	w = window(pin(fd, 0, N * page, 0), page, page);
	dev = importer(w, IMPORTER_BOTH, 64);
	CHECK(dev >= 0);
	p = map(dev, page, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, dev, 0) == MAP_FAILED && errno == EINVAL);
	close(dev);
	p[0] = 77;
	CHECK_EQ(pread(fd, p + 1, 1, page), 1);
	CHECK_EQ(p[1], 77);
}

static void window_parts(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 2 * page, 4 * page, 0), w;
	uint8_t *a, *b;

	CHECK(buffer >= 0);
	w = window(buffer, page, 2 * page);
	CHECK_EQ(lseek(w, 0, SEEK_END), 2 * page);
	a = map(w, 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK(is_pattern(a, 3, 2 * page));
	b = mmap(NULL, page, PROT_READ, MAP_SHARED, w, page);
	CHECK(b != MAP_FAILED && is_pattern(b, 4, page));
	CHECK(mmap(NULL, 2 * page, PROT_READ, MAP_SHARED, w, page) == MAP_FAILED);
	CHECK(mmap(NULL, 3 * page, PROT_READ, MAP_SHARED, w, 0) == MAP_FAILED);
	/* overlapping windows, and the file, are the same memory */
	b = map(window(buffer, 2 * page, 2 * page), page, PROT_READ, MAP_SHARED);
	a[page] = 1;
	CHECK_EQ(b[0], 1);
	pread(fd, a, 1, 0);
	CHECK_EQ(pread(fd, a, 1, 4 * page), 1);
	CHECK_EQ(a[0], 1);
}

/* By vgem and edu; by edu twice where vgem does not map what it imports (since 6.16). */
static void imported_twice(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), w, a, b;
	uint32_t one, two;
	int drm = vgem_open();

	w = window(buffer, 0, N * page);
	if (drm >= 0) {
		CHECK_EQ(vgem_import(drm, w, &one), 0);
		CHECK_EQ(vgem_import(drm, w, &two), 0);
		CHECK_EQ(one, two); /* the same object */
		CHECK(info(buffer).mappings <= 1);
		close(drm);
	}
	a = attach(buffer, w);
	b = importer(w, IMPORTER_BOTH, 64);
	CHECK(b >= 0);
	CHECK_EQ(info(buffer).mappings, 2);
	close(w);
	CHECK_EQ(info(buffer).exports, 1);
	close(a);
	CHECK_EQ(info(buffer).mappings, 1);
	close(b);
	CHECK_EQ(info(buffer).mappings, 0);
	CHECK_EQ(info(buffer).exports, 0);
}

/* There is no incoherent cache in QEMU: what can be seen is that every mapping got its sync. */
static void synced(void)
{
	static const char *const events[] = { "sherd", NULL };
	int fd = memfd(0, N * page, F_SEAL_SHRINK), a, b, buffer, w, i;

	if (!trace_start(events))
		test_skip("no tracing in this guest");
	buffer = pin(fd, 0, N * page, 0);
	w = window(buffer, page, 4 * page);
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
	a = attach(buffer, w);
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
	b = attach(buffer, w);
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
	CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
	close(a);
	close(b);
	close(w);
	close(buffer);
	for (i = 0; i < 40 && !trace_count("sherd_release", N * page); i++)
		usleep(50000);
	trace_stop(events);
	CHECK_EQ(trace_count("sherd_pin", N * page), 1);
	CHECK_EQ(trace_count("sherd_map", 4 * page), 2);
	CHECK_EQ(trace_count("sherd_sync", 0), 1); /* nobody attached yet */
	CHECK_EQ(trace_count("sherd_sync", 4 * page), 1); /* one device */
	CHECK_EQ(trace_count("sherd_sync", 8 * page), 2); /* two */
	CHECK_EQ(trace_count("sherd_release", N * page), 1);
}

static volatile bool stop;

static void *sync_all_the_time(void *arg)
{
	int w = *(int *)arg;

	while (!stop) {
		CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
		CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
	}
	return NULL;
}

static void sync_during_attach(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), w, i;
	pthread_t threads[4];
	int device;

	w = window(buffer, 0, N * page);
	close(attach(buffer, w));
	for (i = 0; i < 4; i++)
		CHECK_EQ(pthread_create(&threads[i], NULL, sync_all_the_time, &w), 0);
	for (i = 0; i < 200; i++) {
		device = attach(buffer, w);
		CHECK_EQ(info(buffer).mappings, 1);
		close(device);
	}
	stop = true;
	for (i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	CHECK_EQ(info(buffer).mappings, 0);
}

/* ---------------------------------------------------------------- a device */

static void device_reads(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, page, 6 * page, 0), w, dev;
	uint8_t *data = malloc(2048), *seen;

	w = window(buffer, page, 4 * page);
	dev = importer(w, IMPORTER_BOTH, 64);
	CHECK(dev >= 0);
	CHECK_EQ(info(buffer).mappings, 1);
	CHECK_EQ(info(buffer).bounced, 0);
	device_copy(dev, IMPORTER_READ, 2 * page, data);
	CHECK(is_pattern(data, 4, 2048));
	memset(data, 0x5a, 2048);
	device_copy(dev, IMPORTER_WRITE, page, data);
	seen = map(fd, N * page, PROT_READ, MAP_SHARED);
	CHECK(!memcmp(seen + 3 * page, data, 2048));
	CHECK(is_pattern(seen, 0, 3 * page));
	CHECK(is_pattern(seen + 4 * page, 4, 4 * page));
	/* It outlives everything but the attachment. */
	close(w);
	close(buffer);
	close(fd);
	device_copy(dev, IMPORTER_READ, 3 * page, data);
	CHECK(is_pattern(data, 5, 2048));
}

static void device_reads_file(void)
{
	char path[64];
	int fd, buffer, w, dev;
	uint8_t *data = malloc(2048);

	fd = file_in(mounted("/ext4") ? "/ext4" : "/tmp", N * page, path);
	buffer = pin_at(fd, map(fd, N * page, PROT_READ, MAP_SHARED), N * page,
			SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	w = window(buffer, 0, N * page);
	CHECK_EQ(importer(w, IMPORTER_FROM_DEVICE, 64), -EACCES);
	dev = importer(w, IMPORTER_BOTH, 64);
	CHECK(dev >= 0);
	device_copy(dev, IMPORTER_READ, 7 * page, data);
	CHECK(is_pattern(data, 7, 2048));
	unlink(path);
}

const struct test window_tests[] = {
	{ "a read-only window is never mapped for writing (invariant 6)", read_only, 0 },
	{ "a window is never mapped for execution", not_executable, 0 },
	{ "a read-only window is not mapped for writing through another driver (invariant 6)",
	  read_only_through_driver, 0 },
	{ "a window is its part of the buffer, and the same memory as all others (invariant 2)",
	  window_parts, 0 },
	{ "a window is imported by two drivers, and outlives its descriptor", imported_twice, 0 },
	{ "every attached mapping is synced, and tracepoints say so (invariant 5, no incoherent cache)",
	  synced, 0 },
	{ "SYNC from four threads while a driver attaches and detaches (invariant 7)",
	  sync_during_attach, 0 },
	{ "a device reads and writes the source's own pages by DMA (invariant 2)", device_reads,
	  0 },
	{ "a device reads a file's page cache by DMA, and may not ask to write it (invariant 6)",
	  device_reads_file, 0 },
	{ 0 }
};
