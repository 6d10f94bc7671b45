// SPDX-License-Identifier: MIT
/* Lives of devices, sources, buffers and windows: orders of closing, fork, exec, signals, unloading. */
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

#include "guest.h"

#define N 8

static void close_orders(void)
{
	static const int orders[6][3] = { { 0, 1, 2 }, { 0, 2, 1 }, { 1, 0, 2 },
					  { 1, 2, 0 }, { 2, 0, 1 }, { 2, 1, 0 } };
	int fds[3], order, i; /* source, buffer, window */
	uint8_t *seen;

	for (order = 0; order < 6; order++) {
		fds[0] = memfd(0, N * page, F_SEAL_SHRINK);
		fds[1] = pin(fds[0], 0, N * page, 0);
		CHECK(fds[1] >= 0);
		fds[2] = window(fds[1], 0, N * page);
		seen = map(fds[2], N * page, PROT_READ, MAP_SHARED);
		for (i = 0; i < 3; i++) {
			CHECK_EQ(vm_pin(), N);
			close(fds[orders[order][i]]);
			CHECK(is_pattern(seen, 0, N * page));
		}
		/* the mapping is the last that holds the window */
		CHECK_EQ(vm_pin(), N);
		munmap(seen, N * page);
		CHECK_EQ(vm_pin(), 0);
	}
}

static void source_mapping_gone(void)
{
	char path[64];
	int fd = file_in("/tmp", N * page, path), buffer;
	uint8_t *at = map(fd, N * page, PROT_READ, MAP_SHARED), *seen;

	buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	munmap(at + page, 2 * page);
	at = mremap(at + 3 * page, 2 * page, 64 * page, MREMAP_MAYMOVE);
	CHECK(at != MAP_FAILED);
	munmap(at, 64 * page);
	unlink(path);
	close(fd);
	seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	CHECK(is_pattern(seen, 0, N * page));
}

static void after_fork(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), status;
	uint8_t *seen = map(window(buffer, 0, N * page), N * page, PROT_READ | PROT_WRITE,
			    MAP_SHARED);
	pid_t pid;

	CHECK(buffer >= 0);
	pid = fork();
	if (!pid) {
		/* shared, not copied; the child is charged nothing, and its exit takes nothing away */
		seen[0] = 42;
		_exit(vm_pin() || info(buffer).pages != N || window(buffer, 0, page) < 0);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(seen[0], 42);
	CHECK_EQ(vm_pin(), N);
	pid = fork();
	if (!pid) {
		close(buffer);
		usleep(100000);
		_exit(seen[1] != pattern(0, 1));
	}
	close(buffer);
	munmap(seen, N * page);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void after_exec(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer, status;
	pid_t pid = fork();

	if (!pid) {
		buffer = pin(fd, 0, N * page, 0);
		if (buffer < 0 || window(buffer, 0, page) < 0)
			_exit(1);
		/* a program that ends at once; the buffer ends with exec */
		execl("/init", "/init", "--true", NULL);
		_exit(2);
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void unload_while_alive(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), dev = sherd_open(), buffer, w;
	uint8_t *seen;

	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	buffer = pin(fd, 0, N * page, 0);
	close(dev);
	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	w = window(buffer, 0, N * page);
	close(buffer);
	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	seen = map(w, page, PROT_READ, MAP_SHARED);
	close(w);
	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	CHECK(is_pattern(seen, 0, page));
}

static void load(void)
{
	int fd = open("/sherd.ko", O_RDONLY | O_CLOEXEC), i;

	CHECK(fd >= 0);
	CHECK_EQ(syscall(SYS_finit_module, fd, "", 0), 0);
	close(fd);
	for (i = 0; i < 100 && access("/dev/sherd", F_OK); i++)
		usleep(10000);
	chmod("/dev/sherd", 0666);
}

static void reload(int cycles)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer, i, j;

	for (i = 0; i < cycles; i++) {
		buffer = pin(fd, 0, page, 0);
		CHECK(buffer >= 0);
		CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
		close(buffer);
		/* The last reference is dropped a moment after the close. */
		for (j = 0; j < 100 && syscall(SYS_delete_module, "sherd", O_NONBLOCK); j++)
			usleep(1000);
		CHECK(j < 100);
		CHECK(open("/dev/sherd", O_RDWR) < 0);
		load();
	}
}

static void reload_short(void)
{
	reload(20);
}

static void reload_long(void)
{
	reload(1000);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec + t.tv_nsec * 1e-9;
}

/* Kills a process in the middle of a large pin, several times at different moments. */
static void killed(size_t bytes, int times)
{
	int fd = memfd(0, bytes, F_SEAL_SHRINK), buffer, status, i;
	double start, whole, worst = 0;
	pid_t pid;

	/* Once to the end: the memory is there from now on, and the time is known. */
	start = now();
	buffer = pin(fd, 0, bytes, 0);
	CHECK(buffer >= 0);
	close(buffer);
	start = now();
	buffer = pin(fd, 0, bytes, 0);
	whole = now() - start;
	close(buffer);
	printf("# pinning %zu MiB takes %.0f ms\n", bytes >> 20, whole * 1e3);
	for (i = 1; i <= times; i++) {
		pid = fork();
		if (!pid)
			for (;;)
				close(pin(fd, 0, bytes, 0));
		usleep(whole * 1e6 * i / (times + 1) + 20000);
		start = now();
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		if (now() - start > worst)
			worst = now() - start;
	}
	printf("# a process in it dies within %.0f ms\n", worst * 1e3);
	CHECK_EQ(vm_pin(), 0);
}

static void killed_short(void)
{
	killed(256 << 20, 5);
}

static void killed_long(void)
{
	killed(3ul << 30, 20);
}

const struct test life_tests[] = {
	{ "source, buffer and window are closed in any order, and the last lets go (invariant 3)",
	  close_orders, 0 },
	{ "a buffer does not need its source's mapping, name or descriptor (invariant 2)",
	  source_mapping_gone, 0 },
	{ "a forked child shares buffer and window, and neither takes them from the other", after_fork,
	  0 },
	{ "exec lets go of what was pinned", after_exec, 0 },
	{ "the module stays while a device, buffer, window or mapping is open (invariant 8)",
	  unload_while_alive, 0 },
	{ "the module is unloaded as soon as nothing is left, 20 times (invariant 8)", reload_short, 0 },
	{ "the module is unloaded as soon as nothing is left, 1,000 times (invariant 8)", reload_long,
	  1 },
	{ "a process that is killed in a pin of 256 MiB leaves nothing", killed_short, 0 },
	{ "a process that is killed in a pin of 3 GiB leaves nothing", killed_long, 1 },
	{ 0 }
};
