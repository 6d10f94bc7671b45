/* SPDX-License-Identifier: MIT */
/*
 * empty: an OpenCL program that does nothing - a context, a queue and one trivial kernel from the
 * driver's cache - and prints what it weighs (PSS, KiB): the yardstick for sherd's memory. Run it
 * twice: the first run compiles, and the compiler's memory stays.
 */
#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>
#include <stdio.h>

static int print_pss(void)
{
	FILE *f = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kib;

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "Pss: %ld kB", &kib) == 1) {
			printf("%ld\n", kib);
			fclose(f);
			return 0;
		}
	return 1;
}

int main(void)
{
	const char *source = "__kernel void nothing(__global int *p) { *p = 1; }";
	size_t one = 1;
	cl_platform_id platform;
	cl_command_queue queue;
	cl_context context;
	cl_program program;
	cl_device_id device;
	cl_kernel kernel;
	cl_mem mem;

	if (clGetPlatformIDs(1, &platform, NULL) ||
	    clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL))
		return 1;
	context = clCreateContext(NULL, 1, &device, NULL, NULL, NULL);
	queue = clCreateCommandQueue(context, device, 0, NULL);
	program = clCreateProgramWithSource(context, 1, &source, NULL, NULL);
	if (clBuildProgram(program, 1, &device, "", NULL, NULL))
		return 1;
	kernel = clCreateKernel(program, "nothing", NULL);
	mem = clCreateBuffer(context, CL_MEM_READ_WRITE, sizeof(cl_int), NULL, NULL);
	if (clSetKernelArg(kernel, 0, sizeof(mem), &mem) ||
	    clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &one, &one, 0, NULL, NULL) ||
	    clFinish(queue))
		return 1;
	return print_pss();
}
