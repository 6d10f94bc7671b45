/* SPDX-License-Identifier: MIT */
/*
 * bad_variant: a driver that fails where a matmul has certain work-groups, to be preloaded.
 * SHERD_BAD_VARIANT says which, by their first size, and how: "32:wrong 128:crash". A wrong one is
 * not run at all, and its result stays what it was.
 */
#include <CL/cl.h>
#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

/* The letter after "<size>:" in the environment; 0: nothing is wrong with this size. */
static char how(size_t size)
{
	const char *bad = getenv("SHERD_BAD_VARIANT");

	while (bad && *bad) {
		char *end;
		unsigned long n = strtoul(bad, &end, 10);

		if (*end != ':')
			return 0;
		if (n == size)
			return end[1];
		bad = strchr(end, ' ');
		bad += bad != NULL;
	}
	return 0;
}

cl_int clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
			      const size_t *offset, const size_t *global, const size_t *local,
			      cl_uint n_wait, const cl_event *wait, cl_event *event)
{
	__typeof__(&clEnqueueNDRangeKernel) real = dlsym(RTLD_NEXT, "clEnqueueNDRangeKernel");
	char name[64] = "", bad = local ? how(local[0]) : 0;

	clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof(name), name, NULL);
	if (!strncmp(name, "matmul", 6) && bad == 'c')
		abort();
	if (!strncmp(name, "matmul", 6) && bad == 'w' && !event)
		return CL_SUCCESS;
	return real(queue, kernel, dims, offset, global, local, n_wait, wait, event);
}
