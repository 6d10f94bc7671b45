// SPDX-License-Identifier: MIT
/*
 * io_uring sends, without a copy where the kernel can, from the very memory that a window is made
 * of. The ring's own mapping is what io_uring pins: the window's mapping has no pages to it.
 */
#include <arpa/inet.h>
#include <linux/dma-buf.h>
#include <linux/io_uring.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "guest.h"

/* Newer than some machines' headers. */
#define OP_SEND_ZC 47
#define SEND_FIXED_BUF 4
#define CQE_HAS_MORE 2u
#define CQE_IS_NOTIF 8u

#define N 16 /* pages, in two slots */
#define SLOT (N / 2 * page)

static struct {
	int fd;
	struct io_uring_params p;
	uint8_t *sq, *cq;
	struct io_uring_sqe *sqes;
} ring;

static void ring_open(void)
{
	size_t sq, cq;

	memset(&ring, 0, sizeof(ring));
	ring.fd = syscall(SYS_io_uring_setup, 4, &ring.p);
	if (ring.fd < 0)
		test_skip("no io_uring on this kernel");
	sq = ring.p.sq_off.array + ring.p.sq_entries * 4;
	cq = ring.p.cq_off.cqes + ring.p.cq_entries * sizeof(struct io_uring_cqe);
	ring.sq = mmap(NULL, sq, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, cq, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	ring.sqes = mmap(NULL, ring.p.sq_entries * sizeof(*ring.sqes), PROT_READ | PROT_WRITE,
			 MAP_SHARED, ring.fd, IORING_OFF_SQES);
	CHECK(ring.sq != MAP_FAILED && ring.cq != MAP_FAILED && ring.sqes != MAP_FAILED);
}

static void submit(const struct io_uring_sqe *sqe)
{
	uint32_t *tail = (uint32_t *)(ring.sq + ring.p.sq_off.tail);
	uint32_t slot = *tail & (ring.p.sq_entries - 1);

	ring.sqes[slot] = *sqe;
	((uint32_t *)(ring.sq + ring.p.sq_off.array))[slot] = slot;
	__atomic_store_n(tail, *tail + 1, __ATOMIC_RELEASE);
	CHECK_EQ(syscall(SYS_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0), 1);
}

struct completion {
	int32_t res;
	uint32_t flags;
};

static struct completion complete(void)
{
	uint32_t *head = (uint32_t *)(ring.cq + ring.p.cq_off.head);
	uint32_t *tail = (uint32_t *)(ring.cq + ring.p.cq_off.tail);
	struct io_uring_cqe *cqes = (struct io_uring_cqe *)(ring.cq + ring.p.cq_off.cqes), *cqe;
	struct completion done;

	while (__atomic_load_n(tail, __ATOMIC_ACQUIRE) == *head)
		CHECK(syscall(SYS_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) >=
		      0);
	cqe = &cqes[*head & (ring.p.cq_entries - 1)];
	done = (struct completion){ cqe->res, cqe->flags };
	__atomic_store_n(head, *head + 1, __ATOMIC_RELEASE);
	return done;
}

/* Both ends of a TCP connection within the guest. */
static void connect_ends(int ends[2])
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int server = socket(AF_INET, SOCK_STREAM, 0), room = 4 * SLOT;
	socklen_t n = sizeof(at);

	CHECK_EQ(ioctl(server, SIOCSIFFLAGS, &lo), 0);
	CHECK_EQ(setsockopt(server, SOL_SOCKET, SO_RCVBUF, &room, sizeof(room)), 0);
	CHECK_EQ(bind(server, (struct sockaddr *)&at, n), 0);
	CHECK_EQ(listen(server, 1), 0);
	CHECK_EQ(getsockname(server, (struct sockaddr *)&at, &n), 0);
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	CHECK_EQ(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &room, sizeof(room)), 0);
	CHECK_EQ(connect(ends[0], (struct sockaddr *)&at, n), 0);
	ends[1] = accept(server, NULL, NULL);
	CHECK(ends[1] >= 0);
	close(server);
}

static void receive(int end, size_t first_page, size_t bytes)
{
	uint8_t *data = malloc(bytes);

	CHECK_EQ(recv(end, data, bytes, MSG_WAITALL), bytes);
	CHECK(is_pattern(data, first_page, bytes));
	free(data);
}

/* The buffer's bytes are the kernel's until the second completion. */
static void sent(size_t bytes)
{
	struct completion cqe = complete();

	if (cqe.res == -EINVAL && !(cqe.flags & CQE_HAS_MORE))
		test_skip("no SEND_ZC on this kernel");
	CHECK_EQ(cqe.res, bytes);
	CHECK(cqe.flags & CQE_HAS_MORE);
	cqe = complete();
	CHECK(cqe.flags & CQE_IS_NOTIF && !(cqe.flags & CQE_HAS_MORE));
}

static struct io_uring_sqe send_of(int end, const void *at, size_t bytes, bool fixed)
{
	return (struct io_uring_sqe){ .opcode = OP_SEND_ZC, .fd = end, .addr = (uintptr_t)at,
				      .len = (uint32_t)bytes, .ioprio = fixed ? SEND_FIXED_BUF : 0,
				      .msg_flags = MSG_WAITALL };
}

static void send_from_ring(bool fixed)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK | F_SEAL_GROW), ends[2], buffer, w[2], i;
	uint8_t *at = map(fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED), *seen;
	struct iovec iov = { at, N * page };
	struct io_uring_sqe sqe;

	ring_open();
	connect_ends(ends);
	buffer = pin(fd, 0, N * page, 0);
	CHECK(buffer >= 0);
	w[0] = window(buffer, 0, SLOT);
	w[1] = window(buffer, SLOT, SLOT);
	seen = map(w[1], SLOT, PROT_READ | PROT_WRITE, MAP_SHARED);
	if (fixed)
		CHECK_EQ(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1),
			 0);
	for (i = 0; i < 6; i++) {
		/* A device's turn, so to say, and then the network's. */
		CHECK_EQ(sync_window(w[i % 2], DMA_BUF_SYNC_START | DMA_BUF_SYNC_READ), 0);
		sqe = send_of(ends[0], at + i % 2 * SLOT, SLOT, fixed);
		submit(&sqe);
		sent(SLOT);
		CHECK_EQ(sync_window(w[i % 2], DMA_BUF_SYNC_END | DMA_BUF_SYNC_READ), 0);
		receive(ends[1], i % 2 * N / 2, SLOT);
	}
	/* The window is the memory that is sent; it goes before the data arrives. */
	seen[0] = 1;
	sqe = send_of(ends[0], at + SLOT, SLOT, fixed);
	submit(&sqe);
	seen[0] = pattern(N / 2, 0);
	munmap(seen, SLOT);
	close(w[0]);
	close(w[1]);
	close(buffer);
	munmap(at, N * page);
	close(fd);
	sent(SLOT);
	at = malloc(SLOT);
	CHECK_EQ(recv(ends[1], at, SLOT, MSG_WAITALL), SLOT);
	CHECK(at[0] == 1 || at[0] == pattern(N / 2, 0));
	CHECK(is_pattern(at + page, N / 2 + 1, SLOT - page));
	CHECK(fixed || !vm_pin()); /* what is registered io_uring may count, or not */
	close(ring.fd);
}

static void unregistered(void)
{
	send_from_ring(false);
}

static void registered(void)
{
	send_from_ring(true);
}

/* The window's own mapping is no memory that can be pinned, and io_uring says so. */
static void not_from_window(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0);
	struct iovec iov = { .iov_len = N * page };

	CHECK(buffer >= 0);
	iov.iov_base =
		map(window(buffer, 0, N * page), N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	ring_open();
	CHECK(syscall(SYS_io_uring_register, ring.fd, IORING_REGISTER_BUFFERS, &iov, 1) &&
	      errno == EFAULT);
}

const struct test net_tests[] = {
	{ "SEND_ZC from a ring's mapping while windows of it are exported leaves the pins even",
	  unregistered, 0 },
	{ "SEND_ZC from a ring that is registered as a fixed buffer leaves the pins even",
	  registered, 0 },
	{ "a window's own mapping cannot be registered with io_uring", not_from_window, 0 },
	{ 0 }
};
