// SPDX-License-Identifier: MIT
/*
 * Random sequences of requests, closes, maps and file operations. Nothing is expected of any of
 * them but what the leak oracle and the kernel's log say afterwards. The seed is printed; check
 * --seed N repeats a run, or of several threads at least what each of them does.
 */
#include <linux/dma-buf.h>
#include <pthread.h>
#include <time.h>

#include "guest.h"
#include "importer.h"

#define SLOTS 16
#define N 8

static __thread uint64_t state;

static uint32_t rnd(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % below;
}

/* Mostly sensible, sometimes anything. */
static uint64_t rnd_range(void)
{
	if (rnd(8))
		return (uint64_t)rnd(N + 1) * page;
	return rnd(2) ? ((uint64_t)rnd(1u << 31) << rnd(40)) : (uint64_t)-rnd(1 << 20);
}

/* All threads': descriptors of every kind, and what each thread mapped: N pages each, or NULL. */
static int slots[SLOTS];
static __thread void *maps[SLOTS];

static int any_fd(void)
{
	return rnd(20) ? slots[rnd(SLOTS)] : (int)rnd(64) - 2;
}

static void put(int fd)
{
	int old = __atomic_exchange_n(&slots[rnd(SLOTS)], fd >= 0 ? fd : -1, __ATOMIC_RELAXED);

	if (old >= 0)
		close(old);
}

/* Other threads may seal and cut it at once: nothing here has to succeed. */
static int new_source(void)
{
	static const char zeros[1 << 17];
	char path[64];
	int fd;

	if (rnd(3)) {
		fd = memfd_create("fuzz", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		write(fd, zeros, N * page);
		fcntl(fd, F_ADD_SEALS, rnd(4) ? F_SEAL_SHRINK : rnd(16) & ~F_SEAL_SEAL);
		return fd;
	}
	snprintf(path, sizeof(path), "%s/fuzz-XXXXXX",
		 rnd(2) && mounted("/ext4") ? "/ext4" : "/tmp");
	fd = mkostemp(path, O_CLOEXEC);
	write(fd, zeros, N * page);
	if (rnd(4)) {
		close(fd);
		fd = open(path, O_RDONLY | O_CLOEXEC);
	}
	unlink(path);
	return fd;
}

/*
 * Attached to that for as long as it stays in its slot, if it is a window; sometimes it does DMA.
 */
static int new_device(int fd)
{
	struct importer_attach a = { .fd = fd, .dir = rnd(4), .bits = rnd(2) ? 64 : 32 };
	static __thread uint8_t data[2048];
	struct importer_copy c = { .offset = rnd_range(), .data = (uintptr_t)data };
	int device = open("/dev/importer", O_RDWR | O_CLOEXEC);

	if (!ioctl(device, IMPORTER_ATTACH, &a) && !rnd(256))
		ioctl(device, rnd(2) ? IMPORTER_READ : IMPORTER_WRITE, &c);
	return device;
}

static void step(int dev)
{
	struct sherd_pin p = { .size = rnd(16) ? sizeof(p) : rnd(80),
			       .flags = rnd(16) ? rnd(8) : 1u << rnd(32),
			       .fd = any_fd(),
			       .offset = rnd_range(),
			       .length = rnd_range() };
	struct sherd_export e = { .size = sizeof(e), .flags = rnd(16) == 0, .offset = rnd_range(),
				  .length = rnd_range() };
	struct sherd_info i = { .size = sizeof(i) };
	struct dma_buf_sync s = { .flags = rnd(8) };
	int m = rnd(SLOTS), fd = any_fd();

	switch (rnd(13)) {
	case 0:
		put(new_source());
		break;
	case 1:
	case 2:
		if (rnd(2)) {
			p.addr = (uintptr_t)maps[m] + (rnd(8) ? 0 : rnd_range());
			p.offset = 0;
		}
		if (!ioctl(dev, SHERD_PIN, rnd(32) ? &p : NULL))
			put(p.buffer);
		break;
	case 3:
	case 4:
		if (!ioctl(fd, SHERD_EXPORT, &e))
			put(e.fd);
		break;
	case 5:
		ioctl(fd, SHERD_INFO, &i);
		break;
	case 6:
		ioctl(fd, DMA_BUF_IOCTL_SYNC, &s);
		break;
	case 7:
		if (maps[m])
			munmap(maps[m], N * page);
		maps[m] = mmap(NULL, N * page, rnd(4), rnd(4) ? MAP_SHARED : MAP_PRIVATE, fd, 0);
		if (maps[m] == MAP_FAILED)
			maps[m] = NULL;
		break;
	case 8:
		put(dup(fd));
		break;
	case 9:
		if (fd > 2 && !ftruncate(fd, rnd(N + 2) * page))
			fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, rnd(N) * page);
		break;
	case 10:
		put(new_device(fd));
		break;
	case 11:
		fcntl(fd, F_ADD_SEALS, 1 << (1 + rnd(4)));
		break;
	default:
		put(-1);
	}
}

static time_t end;
static _Atomic long steps;

static void *steps_of(void *seed)
{
	int dev = sherd_open(), i;

	state = *(uint64_t *)seed;
	while (time(NULL) < end) {
		for (i = 0; i < 100; i++)
			step(dev);
		steps += 100;
	}
	return NULL;
}

static void fuzz(int seconds, int threads)
{
	uint64_t seeds[4] = { (uint64_t)time(NULL) << 20 ^ getpid() };
	pthread_t thread[4];
	int i;

	if (option("sherd.seed="))
		seeds[0] = strtoull(option("sherd.seed="), NULL, 10);
	printf("# seed %llu\n", (unsigned long long)seeds[0]);
	for (i = 0; i < SLOTS; i++)
		slots[i] = -1;
	end = time(NULL) + seconds;
	for (i = 0; i < threads; i++) {
		seeds[i] = seeds[0] + i;
		CHECK_EQ(pthread_create(&thread[i], NULL, steps_of, &seeds[i]), 0);
	}
	for (i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	printf("# %ld steps\n", steps);
}

static void fuzz_short(void)
{
	fuzz(3, 1);
}

static void fuzz_together(void)
{
	fuzz(3, 3);
}

static void fuzz_long(void)
{
	fuzz(60, 1);
}

static void fuzz_long_together(void)
{
	fuzz(60, 3);
}

const struct test fuzz_tests[] = {
	{ "random requests for 3 s leave nothing and alarm nobody", fuzz_short, 0 },
	{ "random requests of three threads for 3 s leave nothing and alarm nobody", fuzz_together,
	  0 },
	{ "random requests for 60 s leave nothing and alarm nobody", fuzz_long, 1 },
	{ "random requests of three threads for 60 s leave nothing and alarm nobody",
	  fuzz_long_together, 1 },
	{ 0 }
};
