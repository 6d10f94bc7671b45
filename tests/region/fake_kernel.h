/* SPDX-License-Identifier: MIT */
/*
 * fake_kernel: /dev/sherd and /dev/udmabuf as far as the runtime sees them, for machines that have
 * neither: ioctl(), memfd_create() and mmap() are replaced, /dev/null stands for the nodes, and an
 * empty memfd for a dma-buf, whose pages a device gets from fake_kernel_attach(). It checks the
 * arguments, fails where a test wants that, counts, and knows which dma-buf a sync is about, and
 * whether a device has it. The real module is tested in its guest.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct fake_kernel {
	bool sherd, udmabuf; /* which of them are there */
	int pin_error; /* errno of SHERD_PIN */
	int immutable_error; /* errno of SHERD_PIN with IMMUTABLE */
	int export_error, export_after; /* errno of an export, after that many */
	int udmabuf_error; /* errno of UDMABUF_CREATE */
	bool huge_memfds; /* a memfd can be of reserved huge pages: an ordinary one is, then */
	bool no_huge_pages; /* of which none is left */
	bool no_huge_udmabuf; /* and which UDMABUF_CREATE refuses */
	bool drops_writes; /* what a device writes to a dma-buf stays with the device */
	int memfd_error; /* errno of memfd_create() */
	int wrong; /* argument checks that failed */
	size_t missing; /* of SHERD_PIN: bytes that it would have to read */
	int pins, exports, syncs; /* calls that went well */
	/* a page of another thread's, that came to lie in a hole which a failed mmap() left */
	void *neighbour;
	int reached; /* of syncs: those of a dma-buf that a device has */
	unsigned last_flags; /* of SHERD_PIN */
	uint64_t last_sync; /* flags of DMA_BUF_IOCTL_SYNC */
};

extern struct fake_kernel fake_kernel;

/* Nothing fails, everything counted is 0; which are there. */
void fake_kernel_reset(bool sherd, bool udmabuf);
/*
 * What a device that imports the dma-buf @fd sees: its first @size bytes, until munmap().
 * MAP_FAILED: it can't.
 */
void *fake_kernel_attach(int fd, size_t size, int prot);

#endif
