/* SPDX-License-Identifier: MIT */
/*
 * import_look: what a device sees of a buffer, through a kernel: cl_arm_import_memory before 1.1
 * lets no command read, copy or map what was imported.
 */
#include "device/import_look.h"

static const char *const sources[] = { "copy.cl" };

int sherd_look_open(struct sherd_look *l, struct sherd_device *dev, struct sherd_error *err)
{
	cl_int code;
	int rc;

	*l = (struct sherd_look){ .dev = dev };
	rc = sherd_device_build(dev, "", sources, ARRAY_SIZE(sources), &l->program, err);
	if (rc)
		return rc;
	l->kernel = clCreateKernel(l->program, "copy", &code);
	if (code) {
		l->kernel = NULL;
		sherd_look_close(l);
		return sherd_fail_cl(err, code, "%s has no kernel that copies", dev->info.name);
	}
	return 0;
}

void sherd_look_close(struct sherd_look *l)
{
	if (l->kernel)
		clReleaseKernel(l->kernel);
	if (l->program)
		clReleaseProgram(l->program);
	*l = (struct sherd_look){ .kernel = NULL };
}

cl_int sherd_look_copy(struct sherd_look *l, cl_mem from, cl_ulong at, cl_mem to, cl_ulong n)
{
	/* one local size: PoCL compiles the kernel for each anew */
	size_t local = MIN(MAX(l->dev->info.max_wg, 1), 64), global = ROUND_UP(n, local);
	cl_int code = clSetKernelArg(l->kernel, 0, sizeof(from), &from);

	if (!code)
		code = clSetKernelArg(l->kernel, 1, sizeof(at), &at);
	if (!code)
		code = clSetKernelArg(l->kernel, 2, sizeof(to), &to);
	if (!code)
		code = clSetKernelArg(l->kernel, 3, sizeof(n), &n);
	return code ? code :
		      clEnqueueNDRangeKernel(l->dev->queue, l->kernel, 1, NULL, &global, &local, 0,
					     NULL, NULL);
}

int sherd_look_at(struct sherd_look *l, cl_mem mem, size_t at, size_t n, void *seen,
		  struct sherd_error *err)
{
	cl_int code;
	cl_mem to = clCreateBuffer(l->dev->context, CL_MEM_READ_WRITE, n, NULL, &code);

	if (code)
		return sherd_fail_cl(err, code, "%s: no room for %zu bytes", l->dev->info.name, n);
	code = sherd_look_copy(l, mem, at, to, n);
	if (!code)
		code = clEnqueueReadBuffer(l->dev->queue, to, CL_TRUE, 0, n, seen, 0, NULL, NULL);
	clReleaseMemObject(to);
	if (code)
		return sherd_fail_cl(err, code, "%s can't read what it imported",
				     l->dev->info.name);
	/*
	 * PoCL compiles when it runs: now there is a binary to keep, and the next start has no need
	 * to
	 */
	if (!l->kept)
		sherd_device_keep(l->dev, "", sources, ARRAY_SIZE(sources), l->program, NULL);
	l->kept = true;
	return 0;
}
