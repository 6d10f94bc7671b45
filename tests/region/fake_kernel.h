/* SPDX-License-Identifier: MIT */
/*
 * fake_kernel: /dev/sherd and /dev/udmabuf as far as the runtime sees them, for machines that have neither:
 * ioctl() is replaced, /dev/null stands for the nodes, and a memfd with a copy of the range for a dma-buf. It
 * checks the arguments, fails where a test wants that, and counts. The real module is tested in its guest.
 */
#ifndef FAKE_KERNEL_H
#define FAKE_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

struct fake_kernel {
	bool sherd, udmabuf; /* which of them are there */
	int pin_error; /* errno of SHERD_PIN */
	int immutable_error; /* errno of SHERD_PIN with IMMUTABLE */
	int export_error, export_after; /* errno of an export, after that many */
	int udmabuf_error; /* errno of UDMABUF_CREATE */
	bool no_copies; /* a dma-buf is the memfd itself, from its beginning on: right for the first slot */
	int wrong; /* argument checks that failed */
	int pins, exports, syncs; /* calls that went well */
	unsigned last_flags; /* of SHERD_PIN */
	uint64_t last_sync; /* flags of DMA_BUF_IOCTL_SYNC */
};

extern struct fake_kernel fake_kernel;

/* Nothing fails, everything counted is 0; which are there. */
void fake_kernel_reset(bool sherd, bool udmabuf);

#endif
