// SPDX-License-Identifier: MIT
/* Lives of devices, sources, buffers and windows: orders of closing, fork, exec, unloading. */
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "guest.h"

#define N 8

/* The i-th of n! orders. */
static void order_of(int i, int n, int order[])
{
	int left[8], k, at;

	for (k = 0; k < n; k++)
		left[k] = k;
	for (; n; i /= n, n--) {
		at = i % n;
		*order++ = left[at];
		memmove(left + at, left + at + 1, (n - at - 1) * sizeof(int));
	}
}

/* /dev/sherd, the source, the buffer, its window, and a driver that has the window attached. */
static void close_orders(void)
{
	struct sherd_pin p = { .size = sizeof(p), .length = N * page };
	int fds[5], order[5], i, k;
	uint8_t *seen;

	for (i = 0; i < 120; i++) {
		order_of(i, 5, order);
		fds[0] = sherd_open();
		fds[1] = p.fd = memfd(0, N * page, F_SEAL_SHRINK);
		CHECK_EQ(ioctl(fds[0], SHERD_PIN, &p), 0);
		fds[2] = p.buffer;
		fds[3] = window(fds[2], 0, N * page);
		fds[4] = attach(fds[2], fds[3]);
		seen = map(fds[3], N * page, PROT_READ, MAP_SHARED);
		for (k = 0; k < 5; k++) {
			CHECK_EQ(vm_pin(), N);
			close(fds[order[k]]);
			CHECK_EQ(seen[k * page], pattern(k, 0));
		}
		/* the mapping is the last that holds the window */
		CHECK(is_pattern(seen, 0, N * page));
		CHECK_EQ(vm_pin(), N);
		munmap(seen, N * page);
		CHECK_EQ(vm_pin(), 0);
	}
}

/* Of a window's mapping: what is left of it stays, wherever it goes, and it cannot grow. */
static void window_mapping_moved(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), status;
	uint8_t *seen = map(window(buffer, 0, N * page), N * page, PROT_READ | PROT_WRITE,
			    MAP_SHARED), *to;
	pid_t pid;

	munmap(seen + 3 * page, page);
	CHECK(is_pattern(seen, 0, 3 * page));
	CHECK(is_pattern(seen + 4 * page, 4, 4 * page));
	to = map(-1, 4 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS);
	to = mremap(seen + 4 * page, 4 * page, 4 * page, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	CHECK(to != MAP_FAILED && is_pattern(to, 4, 4 * page));
	CHECK(mremap(to, 4 * page, 8 * page, MREMAP_MAYMOVE) == MAP_FAILED);
	CHECK(mremap(to, 0, 4 * page, MREMAP_MAYMOVE) == MAP_FAILED);
	to = mremap(to, 4 * page, 2 * page, 0);
	CHECK(to != MAP_FAILED);
	CHECK(madvise(to, page, MADV_DONTNEED) && errno == EINVAL);
	CHECK_EQ(mprotect(to, page, PROT_NONE), 0);
	pid = fork();
	if (!pid) {
		to[page] = 5;
		_exit(mprotect(to, page, PROT_READ) || !is_pattern(to, 4, page));
	}
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(to[page], 5);
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
		/*
		 * shared, not copied; the child is charged nothing, and its exit takes nothing away
		 */
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

/*
 * /init OUT IN [BUFFER]: uses the buffer, says that it is there, and waits until nobody holds IN.
 */
int executed(int argc, char **argv)
{
	int out = atoi(argv[1]), in = argc > 2 ? atoi(argv[2]) : -1;
	uint8_t *seen, byte = 1;
	int buffer, w;

	if (argc > 3) {
		buffer = atoi(argv[3]);
		w = window(buffer, 0, N * page);
		seen = map(w, N * page, PROT_READ, MAP_SHARED);
		CHECK(is_pattern(seen, 0, N * page));
		CHECK_EQ(info(buffer).exports, 1);
		/* The charge stays with its user; the process that shows it in VmPin is no more. */
		CHECK_EQ(vm_pin(), 0);
		munmap(seen, N * page);
		close(w);
	}
	return write(out, &byte, 1) != 1 || read(in, &byte, 1) != 0;
}

static int can_pin_n(void)
{
	return pin(memfd(0, N * page, F_SEAL_SHRINK), 0, N * page, 0) < 0;
}

static int can_pin_one(void)
{
	return pin(memfd(0, page, F_SEAL_SHRINK), 0, page, 0) < 0;
}

/*
 * A child that pins, and becomes another program that is there when this returns, until *end is
 * closed.
 */
static pid_t execute(bool inherit, int *end)
{
	int up[2], down[2], buffer, w;
	char args[3][16], byte;
	pid_t pid;

	CHECK(!pipe(up) && !pipe(down));
	pid = fork();
	if (!pid) {
		buffer = pin(memfd(0, N * page, F_SEAL_SHRINK), 0, N * page, 0);
		w = window(buffer, 0, page);
		CHECK(buffer >= 0 && w >= 0);
		close(down[1]);
		if (inherit)
			CHECK_EQ(fcntl(buffer, F_SETFD, 0), 0);
		snprintf(args[0], 16, "%d", up[1]);
		snprintf(args[1], 16, "%d", down[0]);
		snprintf(args[2], 16, "%d", buffer);
		execl("/init", "/init", args[0], args[1], inherit ? args[2] : NULL, NULL);
		_exit(2);
	}
	close(up[1]);
	close(down[0]);
	CHECK_EQ(read(up[0], &byte, 1), 1);
	close(up[0]);
	*end = down[1];
	return pid;
}

static void after_exec(void)
{
	int end, status;
	pid_t pid = execute(false, &end);

	/* The process lives, and holds nothing. */
	CHECK_EQ(number_in("/sys/module/sherd/refcnt", ""), 0);
	CHECK_EQ(as_user(0, N * page, can_pin_n), 0);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	close(end);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
}

static void inherited_over_exec(void)
{
	int end, status;
	pid_t pid = execute(true, &end);

	CHECK_EQ(number_in("/sys/module/sherd/refcnt", ""), 1);
	CHECK_EQ(as_user(0, N * page, can_pin_one), 1);
	CHECK_EQ(as_user(0, (N + 1) * page, can_pin_one), 0);
	CHECK_EQ(waitpid(pid, &status, WNOHANG), 0);
	close(end);
	waitpid(pid, &status, 0);
	CHECK_EQ(status, 0);
	CHECK_EQ(number_in("/sys/module/sherd/refcnt", ""), 0);
	CHECK_EQ(as_user(0, N * page, can_pin_n), 0);
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

/* A driver that has a window attached needs the module, whatever else is closed. */
static void unload_while_attached(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), w, device;

	CHECK(buffer >= 0);
	w = window(buffer, 0, N * page);
	device = attach(buffer, w);
	close(buffer);
	close(w);
	close(fd);
	CHECK_EQ(vm_pin(), N);
	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	close(device);
}

/* A buffer in a message that nobody has read yet, and that nobody will. */
static void unload_while_sent(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), ends[2];
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	CHECK(buffer >= 0);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, ends), 0);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &buffer, sizeof(buffer));
	CHECK_EQ(sendmsg(ends[0], &m, 0), 1);
	close(buffer);
	CHECK_EQ(vm_pin(), N);
	CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
	close(ends[0]);
	close(ends[1]);
	CHECK_EQ(vm_pin(), 0);
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

/* Somebody else who pins, maps and syncs whenever the module is there. */
static void use_for_ever(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), dev, w;
	uint8_t *seen;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;) {
		struct sherd_pin p = { .size = sizeof(p), .fd = fd, .length = N * page };

		dev = open("/dev/sherd", O_RDWR | O_CLOEXEC);
		if (dev < 0) {
			usleep(500);
			continue;
		}
		if (ioctl(dev, SHERD_PIN, &p))
			_exit(1);
		close(dev);
		w = window(p.buffer, 0, N * page);
		seen = mmap(NULL, N * page, PROT_READ, MAP_SHARED, w, 0);
		close(p.buffer);
		if (w < 0 || seen == MAP_FAILED || !is_pattern(seen, 0, page))
			_exit(2);
		close(w);
		munmap(seen, N * page);
		usleep(1000); /* or there is never a moment to unload in */
	}
}

static void reload(int cycles)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer, i, j, status;
	pid_t user = fork();

	if (!user)
		use_for_ever();

	for (i = 0; i < cycles; i++) {
		buffer = pin(fd, 0, page, 0);
		CHECK(buffer >= 0);
		CHECK(syscall(SYS_delete_module, "sherd", O_NONBLOCK) && errno == EWOULDBLOCK);
		close(buffer);
		/*
		 * The last reference is dropped a moment after the close, and there is the other.
		 */
		for (j = 0; j < 10000 && syscall(SYS_delete_module, "sherd", O_NONBLOCK); j++)
			usleep(500);
		CHECK(j < 10000);
		CHECK(open("/dev/sherd", O_RDWR) < 0);
		load();
	}
	CHECK_EQ(waitpid(user, &status, WNOHANG), 0);
	kill(user, SIGKILL);
	waitpid(user, &status, 0);
}

static void reload_short(void)
{
	reload(20);
}

static void reload_long(void)
{
	reload(1000);
}

const struct test life_tests[] = {
	{ "device, source, buffer, window and importer are closed in any of 120 orders (invariant 3)",
	  close_orders, 0 },
	{ "a window's mapping is moved, cut and inherited, and does not grow (invariant 2)",
	  window_mapping_moved, 0 },
	{ "a buffer does not need its source's mapping, name or descriptor (invariant 2)",
	  source_mapping_gone, 0 },
	{ "a forked child shares buffer and window, and neither takes them from the other",
	  after_fork, 0 },
	{ "exec lets go of what was pinned, while the process lives on (invariant 3)", after_exec,
	  0 },
	{ "a buffer that exec keeps open works there, charged as before, until it is closed (invariant 3)",
	  inherited_over_exec, 0 },
	{ "the module stays while a device, buffer, window or mapping is open (invariant 8)",
	  unload_while_alive, 0 },
	{ "the module stays while a driver has a window attached (invariant 8)",
	  unload_while_attached, 0 },
	{ "the module stays while a buffer is in a message (invariant 8)", unload_while_sent, 0 },
	{ "the module is unloaded between another's uses of it, 20 times (invariant 8)",
	  reload_short, 0 },
	{ "the module is unloaded between another's uses of it, 1,000 times (invariant 8)",
	  reload_long, 1 },
	{ 0 }
};
