/* SPDX-License-Identifier: MIT */
/*
 * fake_cl: makes the CPU's OpenCL device look like a GPU that imports memory - by the Khronos
 * extension, by Arm's, or not at all - by standing before libOpenCL. A dma-buf is mapped and given
 * to the real device, so that kernels compute on what was imported. Rules of the extensions are
 * checked: nothing is used that was not acquired, nothing is imported that is not announced, no
 * command reads or copies what came by Arm's extension (before 1.1), and a descriptor that came by
 * Khronos' is the driver's, which closes it. Linked into tests, or preloaded:
 *
 *	LD_PRELOAD=libfakecl.so SHERD_FAKE_CL=khr,arm-dma-buf,arm-host sherd doctor
 */
#ifndef FAKE_CL_H
#define FAKE_CL_H

#include <stdbool.h>
#include <stddef.h>

enum fake_cl_announce { FAKE_KHR = 1, FAKE_ARM_DMA_BUF = 2, FAKE_ARM_HOST = 4 };

struct fake_cl {
	unsigned announce; /* enum fake_cl_announce */
	int refuse_after; /* imports that go well; then they fail; -1: all go well */
	bool wrong_bytes; /* what is imported is something else */
	bool no_sub_buffers; /* of imports */
	bool no_copies; /* clCreateBuffer() with a host's bytes fails */
	int release_error; /* the OpenCL error of handing an import back */
	bool cpu; /* the device says that it is a CPU */
	int imports, live, acquired; /* imports made; not yet released; acquired and not released */
	int host_imports, copies;
	size_t copied; /* bytes */
	int wrong; /* rules that were broken */
};

extern struct fake_cl fake_cl;

/* How a dma-buf's pages are had; NULL: by mmap(). */
extern void *(*fake_cl_map)(int fd, size_t size, int prot);

/* What was released is gone: the platform beneath may say so later, from a thread of its own. */
void fake_cl_settle(void);
/* Nothing fails, everything counted is 0. */
void fake_cl_reset(unsigned announce);

#endif
