/* SPDX-License-Identifier: MIT */
/*
 * icd_try: what is done to the drivers, in a child, to see whether they can be loaded: their devices
 * are listed, and each gets a first buffer.
 */
#include <stdlib.h>
#include "device/query.h"

/* A context, a queue and a buffer: what everybody who opens a device does with it. */
static void try_device(const struct sherd_found *f)
{
	cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)f->platform,
					  0 };
	cl_context context = clCreateContext(props, 1, &f->id, NULL, NULL, NULL);
	const cl_uint bytes[16] = { 0 };
	cl_command_queue queue = NULL;
	cl_mem mem = NULL;

	if (context)
		queue = clCreateCommandQueue(context, f->id, 0, NULL);
	if (queue)
		mem = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(bytes), NULL, NULL);
	if (mem) {
		clEnqueueWriteBuffer(queue, mem, CL_FALSE, 0, sizeof(bytes), bytes, 0, NULL, NULL);
		clFinish(queue);
		clReleaseMemObject(mem);
	}
	if (queue)
		clReleaseCommandQueue(queue);
	if (context)
		clReleaseContext(context);
}

void sherd_icd_try(const char *vendors, void (*say)(const char *what))
{
	struct sherd_found *found;
	int n;

	if (vendors)
		setenv("OCL_ICD_VENDORS", vendors, 1);
	say("asking what devices there are");
	if (sherd_devices_find(&found, &n, 1, NULL))
		return; /* none, which is no crash */
	for (int i = 0; i < n; i++) {
		char *what = sherd_asprintf("a first buffer on %s", found[i].info.name);

		if (what && found[i].info.usable) {
			say(what);
			try_device(&found[i]);
		}
		free(what);
	}
	sherd_devices_free(found, n);
}
