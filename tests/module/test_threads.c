// SPDX-License-Identifier: MIT
/*
 * One buffer and one window, and four threads that ask everything of them at once. What comes of it
 * is known at the end only; on the way it is for the kernel's instruments to see.
 */
#include <linux/dma-buf.h>
#include <pthread.h>
#include <time.h>

#include "guest.h"
#include "importer.h"

#define N 8
#define THREADS 4

static int buffer, shared;
static bool vgem_maps; /* what it imports: not since 6.16 */
static volatile bool stop;

static void export_and_attach(int drm)
{
	int w = window(buffer, page, 2 * page);
	uint32_t handle;

	CHECK(w >= 0);
	if (drm >= 0) {
		CHECK_EQ(vgem_import(drm, w, &handle), 0);
		CHECK_EQ(sync_window(w, DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
		CHECK_EQ(sync_window(w, DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
		CHECK_EQ(vgem_close(drm, handle), 0);
	}
	close(w);
}

static void attach_shared(int drm)
{
	uint32_t handle;

	if (drm < 0)
		return;
	CHECK_EQ(vgem_import(drm, shared, &handle), 0);
	CHECK(!vgem_maps || info(buffer).mappings >= 1);
	CHECK_EQ(vgem_close(drm, handle), 0);
}

/* edu's, which maps whatever the kernel; its requests come one after the other. */
static void attach_device(void)
{
	int dev = importer(shared, IMPORTER_BOTH, 64);

	CHECK(dev >= 0);
	CHECK(info(buffer).mappings >= 1);
	close(dev);
}

static void read_and_sync(void)
{
	char path[64];
	uint8_t *seen;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", buffer);
	CHECK_EQ(number_in(path, "sherd-pages:"), N);
	CHECK_EQ(sync_window(shared, DMA_BUF_SYNC_START | DMA_BUF_SYNC_RW), 0);
	seen = map(shared, N * page, PROT_READ, MAP_SHARED);
	CHECK_EQ(seen[page], pattern(1, 0));
	munmap(seen, N * page);
	CHECK_EQ(sync_window(shared, DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW), 0);
}

/* Each has a file of the driver's of its own: a handle is one to a file. */
static void *ask(void *arg)
{
	int drm = vgem_open();
	long i;

	for (i = (long)arg; !stop; i++) {
		switch (i % 4) {
		case 0:
			export_and_attach(drm);
			break;
		case 1:
			attach_shared(drm);
			break;
		case 2:
			attach_device();
			break;
		default:
			read_and_sync();
		}
	}
	close(drm);
	return NULL;
}

static void threads(void)
{
	pthread_t ids[THREADS];
	uint32_t handle;
	int drm;
	long i;

	buffer = pin(memfd(0, N * page, F_SEAL_SHRINK), 0, N * page, 0);
	CHECK(buffer >= 0);
	shared = window(buffer, 0, N * page);
	drm = vgem_open();
	if (drm >= 0) {
		CHECK_EQ(vgem_import(drm, shared, &handle), 0);
		vgem_maps = info(buffer).mappings;
		close(drm);
	}
	for (i = 0; i < THREADS; i++)
		CHECK_EQ(pthread_create(&ids[i], NULL, ask, (void *)i), 0);
	sleep(5);
	stop = true;
	for (i = 0; i < THREADS; i++)
		pthread_join(ids[i], NULL);
	CHECK_EQ(info(buffer).exports, 1);
	CHECK_EQ(info(buffer).mappings, 0);
	close(shared);
	CHECK_EQ(info(buffer).exports, 0);
}

const struct test thread_tests[] = {
	{ "four threads export, attach, sync, map and close a buffer's windows at once (invariant 7)",
	  threads, 0 },
	{ 0 }
};
