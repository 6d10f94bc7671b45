// SPDX-License-Identifier: MIT
/* Invariant 3: every page is charged once, to one user, for exactly the buffer's life. */
#include <linux/io_uring.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>

#include "guest.h"

#define N 16

static int tries(size_t pages)
{
	int fd = memfd(0, pages * page, F_SEAL_SHRINK), buffer = pin(fd, 0, pages * page, 0);

	close(fd);
	return buffer;
}

static int with_n(void)
{
	int buffer;

	if (tries(N + 1) != -ENOBUFS)
		return 1;
	buffer = tries(N);
	if (buffer < 0)
		return 2;
	if (vm_pin() != N)
		return 3;
	if (tries(1) != -ENOBUFS)
		return 4;
	close(buffer);
	if (vm_pin())
		return 5;
	return tries(N) < 0 ? 6 : 0;
}

static int with_nothing(void)
{
	return tries(1) != -ENOBUFS;
}

static void limits(void)
{
	CHECK_EQ(as_user(1000, 0, with_nothing), 0);
	CHECK_EQ(as_user(1000, page - 1, with_nothing), 0);
	CHECK_EQ(as_user(1000, N * page, with_n), 0);
	CHECK_EQ(as_user(1000, N * page + page - 1, with_n), 0);
}

static void capable_is_unbounded(void)
{
	struct rlimit none = { 0, 0 };

	CHECK_EQ(setrlimit(RLIMIT_MEMLOCK, &none), 0);
	CHECK(tries(N) >= 0);
	CHECK_EQ(vm_pin(), N);
}

static int windows_and_twins(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), w;

	if (buffer < 0)
		return 1;
	w = window(buffer, 0, N * page);
	if (w < 0 || window(buffer, 0, page) < 0)
		return 2; /* windows cost nothing */
	if (dup(buffer) < 0 || vm_pin() != N)
		return 3;
	if (tries(N + 1) != -ENOBUFS)
		return 4;
	return tries(N) < 0 ? 5 : 0;
}

static void charged_once(void)
{
	CHECK_EQ(as_user(1000, 2 * N * page, windows_and_twins), 0);
}

static int ring(void)
{
	struct io_uring_params p = { 0 };

	return syscall(SYS_io_uring_setup, 4, &p);
}

static int shared_with_io_uring(void)
{
	struct iovec iov = { .iov_len = N * page };
	int uring = ring(), buffer;

	if (uring < 0)
		return 77;
	iov.iov_base = map(-1, N * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	/* io_uring charges its rings as well on some kernels: room for these */
	if (syscall(SYS_io_uring_register, uring, IORING_REGISTER_BUFFERS, &iov, 1))
		return 1;
	if (tries(N + 4) != -ENOBUFS)
		return 2;
	if (syscall(SYS_io_uring_register, uring, IORING_UNREGISTER_BUFFERS, NULL, 0))
		return 3;
	buffer = tries(N + 4);
	if (buffer < 0)
		return 4;
	return !syscall(SYS_io_uring_register, uring, IORING_REGISTER_BUFFERS, &iov, 1) ? 5 : 0;
}

static void io_uring(void)
{
	int rc = as_user(1000, (2 * N + 3) * page, shared_with_io_uring);

	if (rc == 77)
		test_skip("no io_uring on this kernel");
	CHECK_EQ(rc, 0);
}

/* ---------------------------------------------------------------- passing on */

static void send_fd(int sock, int fd)
{
	char control[CMSG_SPACE(sizeof(int))] = { 0 }, byte = 0;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	CHECK_EQ(sendmsg(sock, &m, 0), 1);
}

static int receive_fd(int sock)
{
	char control[CMSG_SPACE(sizeof(int))], byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control,
			    .msg_controllen = sizeof(control) };
	int fd = -1;

	if (recvmsg(sock, &m, 0) == 1 && CMSG_FIRSTHDR(&m))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(fd));
	return fd;
}

static int sock[2];

static int pin_and_send(void)
{
	int buffer = tries(N);

	if (buffer < 0)
		return 1;
	send_fd(sock[0], buffer);
	return 0;
}

static int can_pin_one(void)
{
	return tries(1) < 0;
}

/* Who has the descriptor may do with it what its maker could, at its maker's charge. */
static int receive_and_use(void)
{
	int buffer = receive_fd(sock[1]), w;
	uint8_t *seen;

	if (buffer < 0 || info(buffer).pages != N)
		return 1;
	w = window(buffer, 0, N * page);
	if (w < 0)
		return 2;
	seen = mmap(NULL, N * page, PROT_READ | PROT_WRITE, MAP_SHARED, w, 0);
	if (seen == MAP_FAILED || !is_pattern(seen, 0, N * page))
		return 3;
	if (vm_pin() || tries(1) < 0)
		return 4;
	return tries(2) != -ENOBUFS ? 5 : 0;
}

static void passed_to_another(void)
{
	int buffer, i;

	CHECK_EQ(socketpair(AF_UNIX, SOCK_STREAM, 0, sock), 0);
	CHECK_EQ(as_user(1000, N * page, pin_and_send), 0);
	/* On its way, and here: still charged to who pinned it. */
	CHECK_EQ(as_user(1000, N * page, can_pin_one), 1);
	CHECK_EQ(as_user(1001, page, receive_and_use), 0);
	CHECK_EQ(as_user(1000, N * page, pin_and_send), 0);
	buffer = receive_fd(sock[1]);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).pages, N);
	CHECK_EQ(vm_pin(), 0);
	CHECK_EQ(as_user(1000, N * page, can_pin_one), 1);
	CHECK_EQ(as_user(1001, page, can_pin_one), 0);
	close(buffer);
	for (i = 0; i < 40 && as_user(1000, N * page, can_pin_one); i++)
		usleep(50000);
	CHECK(i < 40);
}

/* All that such a process maps is locked, and what the request maps on the way is not spared. */
static int with_all_locked(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK);

	if (mlockall(MCL_FUTURE))
		return 1;
	map(-1, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS);
	if (pin(fd, 0, N * page, 0) != -ENOBUFS)
		return 2;
	if (munlockall() || vm_pin())
		return 3;
	return pin(fd, 0, N * page, 0) < 0 ? 4 : 0;
}

static void locked(void)
{
	CHECK_EQ(mlockall(MCL_FUTURE), 0);
	CHECK(tries(N) >= 0);
	CHECK_EQ(vm_pin(), N);
	CHECK_EQ(munlockall(), 0);
	CHECK_EQ(as_user(1000, N * page, with_all_locked), 0);
}

const struct test charge_tests[] = {
	{ "MEMLOCK of nothing, exactly enough and a page too little are told apart (invariant 3)",
	  limits, 0 },
	{ "CAP_IPC_LOCK lifts the limit, and pages still show in VmPin (invariant 3)",
	  capable_is_unbounded, 0 },
	{ "a buffer is charged once whatever is made of it, and two buffers twice (invariant 3)",
	  charged_once, 0 },
	{ "the limit is shared with io_uring's fixed buffers (invariant 3)", io_uring, 0 },
	{ "after mlockall() the limit still says what it is", locked, 0 },
	{ "a buffer passed to another user stays charged to its first until the last close (invariant 3)",
	  passed_to_another, 0 },
	{ 0 }
};
