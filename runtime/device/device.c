/* SPDX-License-Identifier: MIT */
/* device: chooses a device, says why, and opens it with a context and an in-order queue. */
#include <stdio.h>
#include <stdlib.h>
#include "base/trace.h"
#include "device/query.h"

/* Larger is better: a GPU before a CPU before anything else, then by size. 0: can't be used. */
static double rank(const struct sherd_device_info *info)
{
	double size = (double)info->compute_units * MAX(info->clock_mhz, 1);

	if (!info->usable)
		return 0;
	return size + (info->is_gpu ? 2e12 : info->is_cpu ? 1e12 : 0);
}

static bool matches_all(const struct sherd_device_info *info, const char *which)
{
	(void)info;
	(void)which;
	return true;
}

static bool matches_cpu(const struct sherd_device_info *info, const char *which)
{
	(void)which;
	return info->is_cpu;
}

static bool matches_gpu(const struct sherd_device_info *info, const char *which)
{
	(void)which;
	return info->is_gpu;
}

static bool matches_name(const struct sherd_device_info *info, const char *which)
{
	return strcasestr(info->name, which) || strcasestr(info->platform, which);
}

static int fail_no_match(const struct sherd_found *found, int n, const char *which,
			 const struct sherd_found *unusable, struct sherd_error *err)
{
	char names[320] = "";
	size_t len = 0;

	if (unusable)
		return sherd_fail(err, -ENODEV, "device \"%s\": %s can't be used: %s", which,
				  unusable->info.name, unusable->info.why);
	for (int i = 0; i < n && len < sizeof(names); i++)
		len += snprintf(names + len, sizeof(names) - len, "%s%d: %s", i ? "; " : "", i,
				found[i].info.name);
	return sherd_fail(err, -ENODEV, "device \"%s\": none matches; there is %s", which, names);
}

static int choose_by_number(const struct sherd_found *found, int n, const char *which,
			    struct sherd_error *err)
{
	long i = strtol(which, NULL, 10); /* saturates */

	if (i >= n)
		return fail_no_match(found, n, which, NULL, err);
	if (!found[i].info.usable)
		return fail_no_match(found, n, which, &found[i], err);
	return (int)i;
}

static void explain(struct sherd_found *found, int n, int best, bool automatic, const char *which)
{
	struct sherd_device_info *info = &found[best].info;
	int gpus = 0;

	for (int i = 0; i < n; i++)
		gpus += found[i].info.is_gpu;
	if (!automatic)
		snprintf(info->why, sizeof(info->why), "asked for (\"%s\")", which);
	else if (n == 1)
		snprintf(info->why, sizeof(info->why), "the only OpenCL device");
	else if (info->is_gpu)
		snprintf(info->why, sizeof(info->why), "%s of %d OpenCL devices",
			 gpus == 1 ? "the GPU" : "the largest GPU", n);
	else
		snprintf(info->why, sizeof(info->why), "%s among %d OpenCL devices",
			 gpus ? "no GPU with a compiler" : "no GPU", n);
}

static int choose_best(const struct sherd_found *found, int n, const char *which,
		       bool (*match)(const struct sherd_device_info *, const char *),
		       struct sherd_error *err)
{
	const struct sherd_found *unusable = NULL;
	int best = -1;

	for (int i = 0; i < n; i++) {
		if (!match(&found[i].info, which))
			continue;
		if (!found[i].info.usable)
			unusable = &found[i];
		else if (best < 0 || rank(&found[i].info) > rank(&found[best].info))
			best = i;
	}
	return best >= 0 ? best : fail_no_match(found, n, which, unusable, err);
}

/* Index of the device that @which means, its info.why filled in, or a negative errno. */
static int choose(struct sherd_found *found, int n, const char *which, struct sherd_error *err)
{
	bool automatic = !which || !*which || !strcmp(which, "auto");
	int i;

	if (automatic)
		i = choose_best(found, n, "auto", matches_all, err);
	else if (!strcmp(which, "cpu"))
		i = choose_best(found, n, which, matches_cpu, err);
	else if (!strcmp(which, "gpu"))
		i = choose_best(found, n, which, matches_gpu, err);
	else if (which[strspn(which, "0123456789")])
		i = choose_best(found, n, which, matches_name, err);
	else
		i = choose_by_number(found, n, which, err);
	if (i >= 0)
		explain(found, n, i, automatic, which);
	return i;
}

/*
 * The thread count of PoCL's CPU device is fixed when the platform is created. A device opened
 * later in the process with fewer threads is a part of it.
 */
static int take_threads(struct sherd_device *dev, int n_threads, struct sherd_error *err)
{
	cl_device_partition_property by_count[] = { CL_DEVICE_PARTITION_BY_COUNTS, n_threads,
						    CL_DEVICE_PARTITION_BY_COUNTS_LIST_END, 0 };
	cl_device_id part;
	cl_int code;

	if (!dev->info.is_cpu || n_threads <= 0 || n_threads >= dev->info.compute_units)
		return 0;
	code = clCreateSubDevices(dev->id, by_count, 1, &part, NULL);
	if (code)
		return sherd_fail_cl(err, code, "%s: can't be limited to %d of its %d threads",
				     dev->info.name, n_threads, dev->info.compute_units);
	dev->id = part;
	dev->is_sub = true;
	dev->info.compute_units = n_threads;
	return 0;
}

static int create_queue(struct sherd_device *dev, bool profiling, struct sherd_error *err)
{
	cl_int code;

	dev->queue = clCreateCommandQueue(dev->context, dev->id,
					  profiling ? CL_QUEUE_PROFILING_ENABLE : 0, &code);
	if (code) {
		dev->queue = NULL;
		return sherd_fail_cl(err, code, "%s: no command queue", dev->info.name);
	}
	dev->profiling = profiling;
	return 0;
}

static int open_found(struct sherd_device *dev, int n_threads, const char *dot,
		      struct sherd_error *err)
{
	cl_context_properties props[] = { CL_CONTEXT_PLATFORM, (cl_context_properties)dev->platform,
					  0 };
	cl_int code;
	int ret;

	dev->dot = sherd_dot_choose(&dev->info, dot, err);
	if (!dev->dot)
		return -EOPNOTSUPP;
	dev->shape = dev->info.is_cpu ? SHERD_SHAPE_WIDE : SHERD_SHAPE_SIMT;
	ret = take_threads(dev, n_threads, err);
	if (ret)
		return ret;
	dev->context = clCreateContext(props, 1, &dev->id, NULL, NULL, &code);
	if (code) {
		dev->context = NULL;
		return sherd_fail_cl(err, code, "%s: no context", dev->info.name);
	}
	return create_queue(dev, false, err);
}

int sherd_device_open(struct sherd_device **out, const char *which, int n_threads, const char *dot,
		      struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("find the device", which);
	struct sherd_device *dev;
	struct sherd_found *found;
	int n, i, ret;

	*out = NULL;
	ret = sherd_devices_find(&found, &n, n_threads, err);
	if (ret)
		return ret;
	i = ret = choose(found, n, which, err);
	if (ret < 0)
		goto free_found;
	dev = sherd_calloc(1, sizeof(*dev));
	if (!dev) {
		ret = sherd_fail_oom(err, sizeof(*dev), "a device");
		goto free_found;
	}
	dev->platform = found[i].platform;
	dev->id = found[i].id;
	dev->info = found[i].info;
	found[i].info.extensions = NULL; /* moved */
	ret = open_found(dev, n_threads, dot, err);
	ret = ret == -ENODEV ? -EIO : ret; /* it is there, and does not work */
	if (ret)
		sherd_device_close(dev);
	else
		*out = dev;
free_found:
	sherd_devices_free(found, n);
	return ret;
}

void sherd_device_close(struct sherd_device *dev)
{
	if (!dev)
		return;
	if (dev->queue) {
		clFinish(dev->queue);
		clReleaseCommandQueue(dev->queue);
	}
	if (dev->context)
		clReleaseContext(dev->context);
	if (dev->is_sub)
		clReleaseDevice(dev->id);
	free(dev->info.extensions);
	free(dev);
}

int sherd_device_set_profiling(struct sherd_device *dev, bool on, struct sherd_error *err)
{
	cl_command_queue old = dev->queue;
	int ret;

	if (on == dev->profiling)
		return 0;
	clFinish(old);
	ret = create_queue(dev, on, err);
	if (ret)
		dev->queue = old;
	else
		clReleaseCommandQueue(old);
	return ret;
}
