/* SPDX-License-Identifier: MIT */
/*
 * limits: measures the roofs with kernels-cl/limits.cl. Every number is the median of repetitions
 * that fill a fixed time, after a first one that pays for compilation and page faults.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>
#include "device/limits.h"

#define MEASURE_S 0.2 /* a number */
#define LAUNCH_S  0.02
#define MAX_REPS  64
#define HUGE_PAGE (2u << 20)

static const char *const sources[] = { "limits.cl" };
/* Tiles are only there with a group; 32 is the layout's. */
#define OPTIONS "-DGROUP=32 -DMIN=0"

struct bench {
	struct sherd_device *dev;
	cl_program program;
	cl_mem out;
	size_t global, local; /* work-items that fill the device */
	struct sherd_error *err;
};

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Median seconds of @batch launches with one wait, over @budget seconds but at least 3 times. */
static int time_kernel(struct bench *b, cl_kernel k, int batch, double budget, double *seconds)
{
	double t[MAX_REPS], end = 0;
	cl_command_queue q = b->dev->queue;
	cl_int code = 0;

	for (int n = -1;; n++) { /* -1: the first one does not count */
		double start = sherd_now();

		for (int i = 0; i < batch && !code; i++)
			code = clEnqueueNDRangeKernel(q, k, 1, NULL, &b->global, &b->local, 0, NULL,
						      NULL);
		if (!code)
			code = clFinish(q);
		if (code)
			return sherd_fail_cl(b->err, code, "%s: a limit can't be measured",
					     b->dev->info.name);
		if (n < 0) {
			end = sherd_now() + budget;
			continue;
		}
		t[n] = sherd_now() - start;
		if (n + 1 == MAX_REPS || (n >= 2 && sherd_now() > end)) {
			qsort(t, n + 1, sizeof(*t), by_value);
			*seconds = t[(n + 1) / 2];
			return 0;
		}
	}
}

static int set_arg(struct bench *b, cl_kernel k, cl_uint i, size_t size, const void *value)
{
	cl_int code = clSetKernelArg(k, i, size, value);

	return code ? sherd_fail_cl(b->err, code, "limits.cl: argument %u", i) : 0;
}

/* A kernel whose first argument is @first. */
static int get_kernel(struct bench *b, const char *name, cl_mem first, cl_kernel *k)
{
	cl_int code;
	int ret;

	*k = clCreateKernel(b->program, name, &code);
	if (code)
		return sherd_fail_cl(b->err, code, "limits.cl: kernel %s", name);
	ret = set_arg(b, *k, 0, sizeof(first), &first);
	if (ret)
		clReleaseKernel(*k);
	return ret;
}

/* A kernel (out, rounds, [float]) whose work-items do @ops operations a round each. */
static int measure_rate(struct bench *b, const char *name, double ops, bool with_float,
			double *rate)
{
	cl_uint rounds = 256;
	float m = 0.5f;
	double s = 0;
	cl_kernel k;
	int ret = get_kernel(b, name, b->out, &k);

	if (ret)
		return ret;
	ret = set_arg(b, k, 1, sizeof(rounds), &rounds);
	if (!ret && with_float)
		ret = set_arg(b, k, 2, sizeof(m), &m);
	if (!ret)
		ret = time_kernel(b, k, 1, 0, &s);
	if (ret)
		goto out;
	/* As many rounds as make a launch short beside the work, but no driver's watchdog bark. */
	rounds = (cl_uint)MIN(MAX(256 * LAUNCH_S / MAX(s, 1e-6), 64), 1e8);
	ret = set_arg(b, k, 1, sizeof(rounds), &rounds);
	if (!ret)
		ret = time_kernel(b, k, 1, MEASURE_S, &s);
	if (!ret)
		*rate = ops * rounds * b->global / s;
out:
	clReleaseKernel(k);
	return ret;
}

/* Larger than any cache, but no more than the machine can spare. */
static size_t read_size(const struct sherd_device *dev)
{
	size_t l3 = MAX(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
	size_t size = MAX((size_t)512 << 20, 4 * l3);

	size = MIN(size, (size_t)2 << 30);
	if (dev->info.is_cpu || dev->info.host_unified)
		size = MIN(size, sherd_memory_available() / 2);
	if (dev->info.max_alloc)
		size = MIN(size, dev->info.max_alloc);
	if (dev->info.global_mem)
		size = MIN(size, dev->info.global_mem / 4);
	return MAX(size / HUGE_PAGE, 1) * HUGE_PAGE;
}

static int time_reads(struct bench *b, cl_mem x, size_t size, double *rate)
{
	static const char *const forms[] = { "limit_read_1", "limit_read_4" };
	cl_uint lines = (cl_uint)(size / 64);
	double s;
	int ret = 0;

	for (size_t i = 0; i < ARRAY_SIZE(forms) && !ret; i++) {
		cl_kernel k;

		ret = get_kernel(b, forms[i], x, &k);
		if (ret)
			break;
		ret = set_arg(b, k, 1, sizeof(b->out), &b->out);
		if (!ret)
			ret = set_arg(b, k, 2, sizeof(lines), &lines);
		if (!ret)
			ret = time_kernel(b, k, 1, MEASURE_S / 2, &s);
		if (!ret && size / s > *rate)
			*rate = size / s;
		clReleaseKernel(k);
	}
	return ret;
}

/* Memory that the device reads in place, in ordinary or (if the kernel likes) huge pages. */
static int measure_host_reads(struct bench *b, bool huge, double *rate)
{
	size_t size = read_size(b->dev);
	cl_int code;
	cl_mem x;
	void *p;
	int ret;

	p = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		 0);
	if (p == MAP_FAILED)
		return sherd_fail_oom(b->err, size, "measuring the memory's speed");
	madvise(p, size + HUGE_PAGE, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	char *data = (char *)ROUND_UP((uintptr_t)p, HUGE_PAGE);

	memset(data, 1, size); /* the zero page would read from the cache */
	x = clCreateBuffer(b->dev->context, CL_MEM_READ_ONLY | CL_MEM_USE_HOST_PTR, size, data,
			   &code);
	if (code) {
		ret = sherd_fail_cl(b->err, code, "%s: no buffer of %zu bytes to measure with",
				    b->dev->info.name, size);
	} else {
		ret = time_reads(b, x, size, rate);
		clReleaseMemObject(x);
	}
	munmap(p, size + HUGE_PAGE);
	return ret;
}

static int measure_device_reads(struct bench *b, double *rate)
{
	size_t size = read_size(b->dev);
	cl_mem_flags where = b->dev->info.host_unified ? CL_MEM_ALLOC_HOST_PTR : 0;
	cl_uint one = 0x01010101;
	cl_int code;
	cl_mem x;
	int ret;

	x = clCreateBuffer(b->dev->context, CL_MEM_READ_WRITE | where, size, NULL, &code);
	if (code)
		return sherd_fail_cl(b->err, code, "%s: no buffer of %zu bytes to measure with",
				     b->dev->info.name, size);
	code = clEnqueueFillBuffer(b->dev->queue, x, &one, sizeof(one), 0, size, 0, NULL, NULL);
	if (code)
		ret = sherd_fail_cl(b->err, code, "%s: filling a buffer", b->dev->info.name);
	else
		ret = time_reads(b, x, size, rate);
	clReleaseMemObject(x);
	return ret;
}

static int measure_reads(struct bench *b, struct sherd_limits *l)
{
	int ret;

	if (b->dev->info.is_cpu) {
		ret = measure_host_reads(b, false, &l->read_small);
		if (!ret)
			ret = measure_host_reads(b, true, &l->read_huge);
	} else {
		ret = measure_device_reads(b, &l->read_small);
	}
	l->read = MAX(l->read_small, l->read_huge);
	return ret;
}

static int measure_launches(struct bench *b, struct sherd_limits *l)
{
	struct bench one = *b;
	double s;
	cl_kernel k;
	int ret = get_kernel(b, "limit_empty", b->out, &k);

	if (ret)
		return ret;
	one.global = one.local = 1;
	ret = time_kernel(&one, k, 256, MEASURE_S / 2, &s);
	l->launch = s / 256;
	if (!ret)
		ret = time_kernel(&one, k, 1, MEASURE_S / 2, &l->launch_wait);
	clReleaseKernel(k);
	return ret;
}

/* As many work-items as keep every compute unit busy, and some more where one is slower. */
static void fill_device(struct bench *b)
{
	const struct sherd_device_info *info = &b->dev->info;

	if (b->dev->shape == SHERD_SHAPE_WIDE) {
		b->local = 1;
		b->global = (size_t)info->compute_units * 8;
	} else {
		b->local = MIN(MAX(info->max_wg, 1), 128);
		b->global = (size_t)info->compute_units * 2048 / b->local * b->local;
		b->global = MAX(b->global, b->local);
	}
}

static int measure_all(struct bench *b, struct sherd_limits *l)
{
	double lanes = b->dev->shape == SHERD_SHAPE_WIDE ? 16 : 1;
	int ret = measure_reads(b, l);

	if (!ret)
		ret = measure_rate(b, "limit_dot", 12 * lanes * 4 * 2, false, &l->dot_lanes);
	if (!ret && !strcmp(b->dev->dot, "amx"))
		ret = measure_rate(b, "limit_tile", 16.0 * 16 * 32 * 2, false, &l->dot_tile);
	if (!ret)
		ret = measure_rate(b, "limit_fma", 12 * lanes * 2, true, &l->fma);
	if (!ret)
		ret = measure_launches(b, l);
	l->dot = MAX(l->dot_lanes, l->dot_tile);
	return ret;
}

int sherd_limits_measure(struct sherd_device *dev, struct sherd_limits *limits,
			 struct sherd_error *err)
{
	struct bench b = { .dev = dev, .err = err };
	cl_int code;
	int ret;

	memset(limits, 0, sizeof(*limits));
	ret = sherd_device_build(dev, OPTIONS, sources, ARRAY_SIZE(sources), &b.program, err);
	if (ret)
		return ret;
	fill_device(&b);
	b.out = clCreateBuffer(dev->context, CL_MEM_READ_WRITE, b.global * 64, NULL, &code);
	if (code) {
		ret = sherd_fail_cl(err, code, "%s: no buffer", dev->info.name);
	} else {
		ret = measure_all(&b, limits);
		clReleaseMemObject(b.out);
	}
	if (!ret)
		sherd_device_keep(dev, OPTIONS, sources, ARRAY_SIZE(sources), b.program, NULL);
	clReleaseProgram(b.program);
	return ret;
}

/* ------------------------------------------------------------------ as text */

static const struct {
	const char *key;
	size_t offset;
} fields[] = {
#define F(name) { #name, offsetof(struct sherd_limits, name) }
	F(read), F(read_small), F(read_huge), F(dot), F(dot_lanes),
	F(dot_tile), F(fma), F(launch), F(launch_wait),
#undef F
};

int sherd_limits_print(const struct sherd_limits *limits, char *buf, size_t size)
{
	size_t len = 0;

	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		double v;

		memcpy(&v, (const char *)limits + fields[i].offset, sizeof(v));
		len += snprintf(buf + len, size - len, "%s %.9g\n", fields[i].key, v);
		if (len >= size)
			return -ENOSPC;
	}
	return 0;
}

int sherd_limits_parse(struct sherd_limits *limits, const char *text)
{
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++) {
		char *end;
		size_t len = strlen(fields[i].key);
		double v;

		if (strncmp(text, fields[i].key, len) || text[len] != ' ')
			return -EINVAL;
		v = strtod(text + len + 1, &end);
		if (end == text + len + 1 || *end != '\n')
			return -EINVAL;
		memcpy((char *)limits + fields[i].offset, &v, sizeof(v));
		text = end + 1;
	}
	return 0;
}
