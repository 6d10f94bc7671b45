/* SPDX-License-Identifier: MIT */
/*
 * What the tests of the kernel module share. They are one static program, which is init of a small
 * guest. Each test is a function that runs in a process of its own; its name is a sentence. After
 * each the leak oracle in guest.c compares what the kernel counts with what it counted before.
 */
#ifndef GUEST_H
#define GUEST_H

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/sherd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct test {
	const char *name;
	void (*run)(void);
	bool is_long;
};

extern const struct test abi_tests[], source_tests[], seal_tests[], life_tests[], charge_tests[],
	window_tests[], bounce_tests[], fuzz_tests[];
extern const struct test kill_tests[], net_tests[], race_tests[], cma_tests[], time_tests[];
extern const struct test thread_tests[], nth_tests[], dma_instrument_tests[], nth_dma_tests[],
	instrument_tests[];

/* A test ends at the first thing that does not hold. */
__attribute__((noreturn, format(printf, 3, 4)))
void test_fail(const char *file, int line, const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *fmt, ...);

#define CHECK(cond)                                                                                \
	do {                                                                                       \
		if (!(cond))                                                                       \
			test_fail(__FILE__, __LINE__, "%s (errno %d)", #cond, errno);              \
	} while (0)
#define CHECK_EQ(a, b)                                                                             \
	do {                                                                                       \
		long long va = (long long)(a), vb = (long long)(b);                                \
		if (va != vb)                                                                      \
			test_fail(__FILE__, __LINE__, "%s is %lld, not %lld", #a, va, vb);         \
	} while (0)

extern long page;

/* Requests: a descriptor or 0, or -errno. */
int sherd_open(void);
int pin(int fd, uint64_t offset, uint64_t length, uint32_t flags);
int pin_at(int fd, const void *addr, uint64_t length, uint32_t flags);
int pin_arg(struct sherd_pin *arg);
int window(int buffer, uint64_t offset, uint64_t length);
struct sherd_info info(int buffer);
int sync_window(int dmabuf, uint64_t flags);

/* A memfd of that many pages; byte i of page p is pattern(p, i). flags: MFD_HUGETLB and so on. */
int memfd(unsigned int flags, size_t bytes, unsigned int seals);
uint8_t pattern(size_t p, size_t i);
void fill(int fd, size_t bytes);
bool is_pattern(const uint8_t *data, size_t first_page, size_t bytes);

/* A file of that many bytes of pattern in a folder, open for reading only; its name in path. */
int file_in(const char *dir, size_t bytes, char path[64]);
void *map(int fd, size_t bytes, int prot, int flags);
bool mounted(const char *dir);

long vm_pin(void); /* pages, of this process */
int count_fds(void);
double now(void); /* seconds */
long number_in(const char *path, const char *key);
const char *option(const char *word); /* what follows it on the kernel's command line, or NULL */

/* vgem: imports a dma-buf (attaches and maps it), and lets it go. */
int vgem_open(void);
int vgem_import(int drm, int dmabuf, uint32_t *handle);
int vgem_close(int drm, uint32_t handle);

/*
 * edu's attachment to a window, which lasts until the descriptor is closed, or -errno: dir is
 * IMPORTER_BOTH or another, bits how far the device reaches. Then 2 KiB at offset by DMA:
 * IMPORTER_READ or IMPORTER_WRITE.
 */
int importer(int dmabuf, uint32_t dir, uint32_t bits);
void device_copy(int device, unsigned long request, size_t offset, void *data);

/*
 * A device that has the buffer's window mapped until the descriptor is closed: vgem's or, where
 * vgem does not map what it imports (since 6.16), edu's. Where there is neither the test is
 * skipped.
 */
int attach(int buffer, int dmabuf);

/* The log and kmemleak: whether they have nothing of alarm since the last time. */
void instruments_start(void);
bool instruments_are_quiet(void);

/*
 * In another process, as that user without capabilities and with that MEMLOCK: fn's value, 0..255.
 */
int as_user(uid_t uid, uint64_t memlock, int (*fn)(void));

/* What /init does when a test executes it. */
int executed(int argc, char **argv);

/*
 * Instead of the tests: the script that the kernel's command line names, on the host's file system.
 */
int run_on_host(void);

#endif
