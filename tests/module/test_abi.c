// SPDX-License-Identifier: MIT
/* The requests' arguments: sizes, tails, flags, ranges, descriptors, memory that faults. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include "guest.h"

/* An argument that ends where its memory ends. */
static void *before_hole(size_t bytes)
{
	uint8_t *p = map(-1, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);

	munmap(p + page, page);
	return p + page - bytes;
}

static void expect_sizes(int fd, unsigned long request, const void *good, size_t size)
{
	uint8_t arg[128];
	uint32_t n;
	int ret;

	for (n = 0; n <= size + 8; n++) {
		memset(arg, 0, sizeof(arg));
		memcpy(arg, good, size);
		memcpy(arg, &n, 4);
		ret = ioctl(fd, request, arg) ? -errno : 0;
		CHECK_EQ(ret, n < size ? -EINVAL : 0);
		if (n > size) {
			arg[n - 1] = 1;
			memcpy(arg + 4, (uint8_t *)good + 4, size - 4);
			CHECK_EQ(ioctl(fd, request, arg) ? -errno : 0, -E2BIG);
		}
	}
}

static void sizes(void)
{
	int dev = sherd_open(), fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0);
	struct sherd_pin p = { .fd = fd, .length = page };
	struct sherd_export e = { .length = page };
	struct sherd_info i = { 0 };
	uint32_t huge = page + 8;

	CHECK(buffer >= 0);
	expect_sizes(dev, SHERD_PIN, &p, sizeof(p));
	expect_sizes(buffer, SHERD_EXPORT, &e, sizeof(e));
	expect_sizes(buffer, SHERD_INFO, &i, sizeof(i));
	p.size = huge;
	CHECK_EQ(ioctl(dev, SHERD_PIN, &p) ? -errno : 0, -E2BIG);
}

static void unknown_flags(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0), bit;

	CHECK(buffer >= 0);
	for (bit = 0; bit < 32; bit++) {
		struct sherd_export e = { sizeof(e), 1u << bit, 0, page, 0, 0 };
		struct sherd_info i = { .size = sizeof(i), .flags = 1u << bit };

		if (bit > 2)
			CHECK_EQ(pin(fd, 0, page, 1u << bit), -EOPNOTSUPP);
		CHECK_EQ(ioctl(buffer, SHERD_EXPORT, &e) ? -errno : 0, -EOPNOTSUPP);
		CHECK_EQ(ioctl(buffer, SHERD_INFO, &i) ? -errno : 0, -EOPNOTSUPP);
		e.flags = 0;
		e.__reserved = 1u << bit;
		CHECK_EQ(ioctl(buffer, SHERD_EXPORT, &e) ? -errno : 0, -EINVAL);
	}
	CHECK_EQ(ioctl(buffer, SHERD_PIN, NULL) ? -errno : 0, -ENOTTY);
	CHECK_EQ(ioctl(sherd_open(), SHERD_EXPORT, NULL) ? -errno : 0, -ENOTTY);
	CHECK_EQ(ioctl(sherd_open(), SHERD_INFO, NULL) ? -errno : 0, -ENOTTY);
}

static void ranges(void)
{
	static const uint64_t far = 1ull << 63;
	uint64_t p = page;
	const uint64_t bad[][2] = {
		{ 0, 0 },     { 0, 1 },	      { 1, p },	    { 0, p + 1 },     { p / 2, p },
		{ 0, 9 * p }, { 8 * p, p },   { p, 8 * p }, { -p, p },	      { -p, 2 * p },
		{ p, -p },    { 0, -p },      { far, far }, { far, p },	      { p, far - p },
		{ 0, far },   { far - p, p }, { -1ull, 1 }, { -1ull, -1ull },
	};
	int fd = memfd(0, 8 * page, F_SEAL_SHRINK), buffer = pin(fd, 0, 8 * page, 0);
	size_t i;

	CHECK(buffer >= 0);
	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int got = pin(fd, bad[i][0], bad[i][1], 0);

		/* A range far beyond any memory may be refused for that instead. */
		if (got != -EINVAL && !(got == -ENOMEM && bad[i][1] > 1ull << 40))
			test_fail(__FILE__, __LINE__, "pin of range %zu: %d", i, got);
		CHECK_EQ(window(buffer, bad[i][0], bad[i][1]), -EINVAL);
	}
	CHECK(pin(fd, 7 * page, page, 0) >= 0);
	CHECK(window(buffer, 7 * page, page) >= 0);
}

static void addresses(void)
{
	char path[64];
	int fd = file_in("/tmp", 4 * page, path);
	uint8_t *at = map(fd, 4 * page, PROT_READ, MAP_SHARED);
	const uintptr_t a = (uintptr_t)at;
	const uint64_t bad[][2] = {
		{ a, 0 }, { a, 1 }, { a + 1, page }, { a + page / 2, page }, { a, page + 1 },
		{ a, -page }, { -page, page }, { -page, 2 * page }, { 1ull << 63, page },
		{ 1ull << 63, 1ull << 63 }, { 1, page }, { a | 1ull << 63, page },
	};
	size_t i;

	for (i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int got = pin_at(fd, (void *)(uintptr_t)bad[i][0], bad[i][1], SHERD_PIN_READ_ONLY);

		if (got != -EINVAL)
			test_fail(__FILE__, __LINE__, "address range %zu: %d", i, got);
	}
	CHECK_EQ(pin_at(fd, (void *)page, page, SHERD_PIN_READ_ONLY), -EFAULT);
	CHECK(pin_at(fd, at + page, 2 * page, SHERD_PIN_READ_ONLY) >= 0);
}

#ifdef __x86_64__
/* The processor's answer where the kernel has no entry for them. */
static void no_entry(int sig)
{
	(void)sig;
	test_skip("no system calls of 32 bits on this kernel");
}
#endif

/* The structures are the same for 32 bits, so the requests are. */
static void compat(void)
{
#ifdef __x86_64__
	int dev = sherd_open(), fd = memfd(0, page, F_SEAL_SHRINK), ret;
	struct sherd_pin *p = mmap(NULL, page, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);

	CHECK(p != MAP_FAILED);
	*p = (struct sherd_pin){ .size = sizeof(*p), .fd = fd, .length = page };
	signal(SIGSEGV, no_entry);
	asm volatile("int $0x80" : "=a"(ret)
		     : "a"(54 /* ioctl */), "b"(dev), "c"(SHERD_PIN), "d"(p) : "memory");
	if (ret == -ENOSYS)
		test_skip("no system calls of 32 bits on this kernel");
	CHECK_EQ(ret, 0);
	CHECK_EQ(info(p->buffer).pages, 1);
	ret = p->buffer;
	memset(p, 0, sizeof(*p));
	p->size = sizeof(struct sherd_info);
	asm volatile("int $0x80" : "=a"(ret)
		     : "a"(54), "b"(ret), "c"(SHERD_INFO), "d"(p) : "memory");
	CHECK_EQ(ret, 0);
	CHECK_EQ(((struct sherd_info *)p)->pages, 1);
#else
	test_skip("for x86-64 only");
#endif
}

/* A descriptor's rights are not to be had anew through its name. */
static void reopened(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, SHERD_PIN_READ_ONLY);
	int fds[2] = { buffer, window(buffer, 0, page) }, i;
	char name[64];

	for (i = 0; i < 2; i++) {
		CHECK(fds[i] >= 0);
		snprintf(name, sizeof(name), "/proc/self/fd/%d", fds[i]);
		CHECK(open(name, O_RDWR) < 0 && errno == ENXIO);
		CHECK(open(name, O_RDONLY) < 0 && errno == ENXIO);
		CHECK_EQ(fcntl(fds[i], F_SETFL, O_RDWR), 0);
	}
	CHECK_EQ(fcntl(fds[1], F_GETFL) & O_ACCMODE, O_RDONLY);
}

static void wrong_descriptors(void)
{
	int good = memfd(0, page, F_SEAL_SHRINK), buffer = pin(good, 0, page, 0), fds[2], w;
	char path[64], name[64];
	void *at = map(good, page, PROT_READ, MAP_SHARED);
	int dmabuf = window(buffer, 0, page);

	CHECK(buffer >= 0 && dmabuf >= 0);
	CHECK_EQ(pin(-1, 0, page, 0), -EBADF);
	CHECK_EQ(pin(12345, 0, page, 0), -EBADF);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", good);
	CHECK_EQ(pin(open(name, O_PATH), 0, page, 0), -EBADF);
	CHECK_EQ(pin(open(name, O_WRONLY), 0, page, 0), -EACCES);
	CHECK_EQ(pin(open(name, O_RDONLY), 0, page, 0), -EACCES);
	CHECK(pin(open(name, O_RDONLY), 0, page, SHERD_PIN_READ_ONLY) >= 0);
	CHECK_EQ(pipe(fds), 0);
	CHECK_EQ(pin(fds[0], 0, page, 0), -EINVAL);
	CHECK_EQ(pin_at(fds[0], at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	CHECK_EQ(pin(fds[0], 0, page, 0), -EINVAL);
	CHECK_EQ(pin_at(fds[0], at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin(open("/tmp", O_RDONLY), 0, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin_at(open("/tmp", O_RDONLY), at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK(pin(dmabuf, 0, page, 0) < 0);
	CHECK_EQ(pin_at(dmabuf, at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin(buffer, 0, page, 0), -EINVAL);
	CHECK_EQ(pin_at(buffer, at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin(sherd_open(), 0, page, 0), -EINVAL);
	CHECK_EQ(pin(open("/proc/self/status", O_RDONLY), 0, page, SHERD_PIN_READ_ONLY), -EINVAL);
	/* a file without seals, by descriptor; a write-only file, by address */
	w = file_in("/tmp", page, path);
	CHECK_EQ(pin(w, 0, page, SHERD_PIN_READ_ONLY), -EPERM);
	CHECK_EQ(pin_at(open(path, O_WRONLY), at, page, SHERD_PIN_READ_ONLY), -EACCES);
	/* the mapping of another file */
	CHECK_EQ(pin_at(w, at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	/* both kinds of source at once */
	CHECK_EQ(pin_arg(&(struct sherd_pin){ .size = sizeof(struct sherd_pin), .flags = 1, .fd = w,
					      .addr = (uintptr_t)at, .offset = page,
					      .length = page }), -EINVAL);
}

static void faulting_arguments(void)
{
	int dev = sherd_open(), fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0);
	struct sherd_pin p = { .size = sizeof(p), .fd = fd, .length = page }, *pp;
	struct sherd_export e = { .size = sizeof(e), .length = page }, *pe;
	struct sherd_info i = { .size = sizeof(i) }, *pi;
	long pinned = vm_pin();
	int fds = count_fds();
	uint8_t *ro;

	CHECK(buffer >= 0);
	fds = count_fds();
	pinned = vm_pin();
	/* copy-in: nothing there, and all but the last byte there */
	CHECK_EQ(ioctl(dev, SHERD_PIN, NULL) ? -errno : 0, -EFAULT);
	CHECK_EQ(ioctl(dev, SHERD_PIN, (void *)-8ul) ? -errno : 0, -EFAULT);
	CHECK_EQ(ioctl(dev, SHERD_PIN, memcpy(before_hole(55), &p, 55)) ? -errno : 0, -EFAULT);
	CHECK_EQ(ioctl(buffer, SHERD_EXPORT, memcpy(before_hole(31), &e, 31)) ? -errno : 0,
		 -EFAULT);
	CHECK_EQ(ioctl(buffer, SHERD_INFO, memcpy(before_hole(47), &i, 47)) ? -errno : 0, -EFAULT);
	/* just there */
	pp = memcpy(before_hole(sizeof(p)), &p, sizeof(p));
	CHECK_EQ(ioctl(dev, SHERD_PIN, pp), 0);
	CHECK_EQ(close(pp->buffer), 0);
	/* copy-out: can be read, cannot be written */
	ro = map(-1, page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	pp = memcpy(ro, &p, sizeof(p));
	pe = memcpy(ro + 1024, &e, sizeof(e));
	pi = memcpy(ro + 2048, &i, sizeof(i));
	CHECK_EQ(mprotect(ro, page, PROT_READ), 0);
	CHECK_EQ(ioctl(dev, SHERD_PIN, pp) ? -errno : 0, -EFAULT);
	CHECK_EQ(ioctl(buffer, SHERD_EXPORT, pe) ? -errno : 0, -EFAULT);
	CHECK_EQ(ioctl(buffer, SHERD_INFO, pi) ? -errno : 0, -EFAULT);
	CHECK_EQ(count_fds(), fds);
	CHECK_EQ(vm_pin(), pinned);
	CHECK_EQ(info(buffer).exports, 0);
}

static void no_descriptor_left(void)
{
	int dev = sherd_open(), fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0);
	struct sherd_pin p = { .size = sizeof(p), .fd = fd, .length = page };
	struct rlimit old, now;
	long pinned = vm_pin();

	CHECK(buffer >= 0);
	CHECK_EQ(getrlimit(RLIMIT_NOFILE, &old), 0);
	now = old;
	now.rlim_cur = dup(0); /* the lowest that is free */
	close(now.rlim_cur);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &now), 0);
	CHECK_EQ(ioctl(dev, SHERD_PIN, &p) ? -errno : 0, -EMFILE);
	CHECK_EQ(window(buffer, 0, page), -EMFILE);
	CHECK_EQ(setrlimit(RLIMIT_NOFILE, &old), 0);
	CHECK_EQ(vm_pin(), pinned);
	CHECK_EQ(info(buffer).exports, 0);
	CHECK(window(buffer, 0, page) >= 0);
}

static void close_on_exec(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0);

	CHECK_EQ(fcntl(buffer, F_GETFD), FD_CLOEXEC);
	CHECK_EQ(fcntl(window(buffer, 0, page), F_GETFD), FD_CLOEXEC);
}

static void check_fdinfo(int buffer)
{
	const struct sherd_info i = info(buffer);
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", buffer);
	CHECK_EQ(number_in(path, "sherd-state:"), i.state);
	CHECK_EQ(number_in(path, "sherd-exports:"), i.exports);
	CHECK_EQ(number_in(path, "sherd-pages:"), i.pages);
	CHECK_EQ(number_in(path, "sherd-longest:"), i.longest);
	CHECK_EQ(number_in(path, "sherd-segments:"), i.segments);
	CHECK_EQ(number_in(path, "sherd-mappings:"), i.mappings);
	CHECK_EQ(number_in(path, "sherd-bounced:"), i.bounced);
}

static void numbers(void)
{
	int fd = memfd(0, 8 * page, F_SEAL_SHRINK), buffer, w, device;
	struct sherd_pin p = { .size = sizeof(p), .fd = fd, .length = 8 * page };
	struct sherd_info i;

	buffer = pin_arg(&p);
	CHECK(buffer >= 0);
	i = info(buffer);
	CHECK_EQ(p.pages, 8);
	CHECK_EQ(i.pages, 8);
	CHECK_EQ(i.segments, p.segments);
	CHECK(i.segments >= 1 && i.segments <= 8);
	CHECK(i.longest >= (uint64_t)page && i.longest <= (uint64_t)(9 - i.segments) * page);
	CHECK_EQ(i.exports + i.mappings + i.bounced + i.state + i.__reserved, 0);
	w = window(buffer, page, 2 * page);
	CHECK_EQ(info(buffer).exports, 1);
	device = attach(buffer, w);
	CHECK_EQ(info(buffer).mappings, 1);
	check_fdinfo(buffer);
	close(device);
	CHECK_EQ(info(buffer).mappings, 0);
	check_fdinfo(buffer);
	close(w);
	CHECK_EQ(info(buffer).exports, 0);
	buffer = pin(fd, 0, page, SHERD_PIN_READ_ONLY | SHERD_PIN_ALLOW_BOUNCE);
	CHECK_EQ(info(buffer).state, SHERD_STATE_READ_ONLY | SHERD_STATE_ALLOW_BOUNCE);
	check_fdinfo(buffer);
}

const struct test abi_tests[] = {
	{ "each request takes its own size and larger ones with zeros behind, and no other", sizes,
	  0 },
	{ "unknown flags, reserved bits and foreign requests are refused", unknown_flags, 0 },
	{ "ranges that are empty, unaligned, wrapping or beyond the end are refused", ranges, 0 },
	{ "addresses that are unaligned, wrapping or nobody's are refused", addresses, 0 },
	{ "what is neither a memfd nor a mapped regular file is refused", wrong_descriptors, 0 },
	{ "argument memory that faults, on the way in or out, changes nothing (invariant 4)",
	  faulting_arguments, 0 },
	{ "without a free descriptor nothing is pinned or exported (invariant 4)",
	  no_descriptor_left, 0 },
	{ "descriptors are made close-on-exec", close_on_exec, 0 },
	{ "a program of 32 bits makes the same requests", compat, 0 },
	{ "neither a buffer nor a window is opened again by its name (invariant 6)", reopened, 0 },
	{ "SHERD_INFO and fdinfo give the numbers that are", numbers, 0 },
	{ 0 }
};
