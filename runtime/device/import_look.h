/* SPDX-License-Identifier: MIT */
/* import_look: a device's view of its buffers. For import*.c. */
#ifndef SHERD_IMPORT_LOOK_H
#define SHERD_IMPORT_LOOK_H

#include "device/device.h"

struct sherd_look {
	struct sherd_device *dev;
	cl_program program;
	cl_kernel kernel;
	bool kept;
};

int sherd_look_open(struct sherd_look *l, struct sherd_device *dev, struct sherd_error *err);
void sherd_look_close(struct sherd_look *l);
/* Enqueues a copy of @n bytes of @from, from @at on, to the beginning of @to. */
cl_int sherd_look_copy(struct sherd_look *l, cl_mem from, cl_ulong at, cl_mem to, cl_ulong n);
/* Bytes [at, at + n) of @mem, as a kernel reads them, to @seen. */
int sherd_look_at(struct sherd_look *l, cl_mem mem, size_t at, size_t n, void *seen,
		  struct sherd_error *err);

#endif
