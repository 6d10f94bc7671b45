/* SPDX-License-Identifier: MIT */
/* query: walks platforms and devices, and asks each what it is. */
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "device/query.h"

#define MAX_PLATFORMS 32
#define MAX_DEVICES   64 /* of one platform */
#define LEAST_ALLOC   (1u << 20) /* bytes of a buffer; OpenCL grants 1 MiB even to embedded devices */

static int affinity_cpus(void)
{
	/*
	 * More than CPU_SETSIZE processors want a larger set: double it until the kernel is
	 * content.
	 */
	for (int cpus = CPU_SETSIZE; cpus <= 1 << 16; cpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(cpus);
		size_t size = CPU_ALLOC_SIZE(cpus);
		int n = 0;

		if (!set)
			break;
		if (!sched_getaffinity(0, size, set))
			n = CPU_COUNT_S(size, set);
		CPU_FREE(set);
		if (n > 0)
			return n;
		if (errno != EINVAL)
			break;
	}
	return MAX(1, (int)sysconf(_SC_NPROCESSORS_ONLN));
}

/* is asked for often, and changes no more than the threads, once they are there */
static int quota;

static void read_quota(void)
{
	quota = sherd_cgroup_cpus();
}

int sherd_device_host_cpus(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, read_quota);
	return MIN(affinity_cpus(), quota);
}

static void device_string(cl_device_id id, cl_device_info what, char *buf, size_t size)
{
	size_t len = 0;
	char *text;

	buf[0] = 0;
	if (clGetDeviceInfo(id, what, 0, NULL, &len) || !len || len > 1 << 20)
		return;
	text = sherd_calloc(len + 1, 1);
	if (!text)
		return;
	if (!clGetDeviceInfo(id, what, len, text, NULL)) {
		const char *p = text + strspn(text, " "); /* some drivers pad names */

		snprintf(buf, size, "%s", p);
	}
	for (char *p = buf; *p; p++) /* none commands a terminal */
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	free(text);
}

static char *device_extensions(cl_device_id id)
{
	size_t len = 0;
	char *text;

	if (clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, 0, NULL, &len) || len > 1 << 20)
		len = 0;
	text = sherd_calloc(len + 1, 1);
	if (text && len)
		clGetDeviceInfo(id, CL_DEVICE_EXTENSIONS, len, text, NULL);
	return text;
}

static bool device_flag(cl_device_id id, cl_device_info what)
{
	cl_bool v = CL_FALSE;

	return !clGetDeviceInfo(id, what, sizeof(v), &v, NULL) && v;
}

static void judge(struct sherd_device_info *info, cl_device_id id)
{
	const char *why = "";

	if (!device_flag(id, CL_DEVICE_AVAILABLE))
		why = "the driver says that it is not available";
	else if (!device_flag(id, CL_DEVICE_COMPILER_AVAILABLE))
		why = "its driver has no compiler";
	else if (!device_flag(id, CL_DEVICE_ENDIAN_LITTLE))
		why = "it is big-endian";
	else if (info->max_alloc < LEAST_ALLOC)
		why = "its driver has next to no memory for a buffer";
	info->usable = !*why;
	snprintf(info->why, sizeof(info->why), "%s", why);
}

static int query_device(struct sherd_found *f, cl_platform_id platform, cl_device_id id,
			const char *platform_name)
{
	struct sherd_device_info *info = &f->info;
	cl_device_type type = 0;
	cl_uint units = 0, mhz = 0;
	cl_ulong global = 0, alloc = 0;

	f->platform = platform;
	f->id = id;
	device_string(id, CL_DEVICE_NAME, info->name, sizeof(info->name));
	if (!info->name[0])
		snprintf(info->name, sizeof(info->name), "a device without a name");
	device_string(id, CL_DEVICE_VENDOR, info->vendor, sizeof(info->vendor));
	device_string(id, CL_DEVICE_VERSION, info->version, sizeof(info->version));
	device_string(id, CL_DRIVER_VERSION, info->driver, sizeof(info->driver));
	snprintf(info->platform, sizeof(info->platform), "%s", platform_name);
	info->extensions = device_extensions(id);
	if (!info->extensions)
		return -ENOMEM;
	clGetDeviceInfo(id, CL_DEVICE_TYPE, sizeof(type), &type, NULL);
	clGetDeviceInfo(id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof(units), &units, NULL);
	clGetDeviceInfo(id, CL_DEVICE_MAX_CLOCK_FREQUENCY, sizeof(mhz), &mhz, NULL);
	clGetDeviceInfo(id, CL_DEVICE_GLOBAL_MEM_SIZE, sizeof(global), &global, NULL);
	clGetDeviceInfo(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, sizeof(alloc), &alloc, NULL);
	clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof(info->max_wg), &info->max_wg,
			NULL);
	/* A simulator may call itself everything at once: it runs on the CPU. */
	info->is_cpu = type & CL_DEVICE_TYPE_CPU;
	info->is_gpu = !info->is_cpu && (type & CL_DEVICE_TYPE_GPU);
	info->is_pocl = strstr(platform_name, "Portable Computing Language") != NULL;
	info->host_unified = device_flag(id, CL_DEVICE_HOST_UNIFIED_MEMORY);
	info->compute_units = MAX((int)units, 1);
	info->clock_mhz = (int)mhz;
	info->global_mem = global;
	info->max_alloc = alloc;
	judge(info, id);
	return 0;
}

static int query_platform(struct sherd_found **found, int *n, cl_platform_id platform,
			  struct sherd_error *err)
{
	cl_device_id ids[MAX_DEVICES];
	cl_uint count = 0;
	char name[64] = "";
	struct sherd_found *more;

	clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof(name) - 1, name, NULL);
	if (clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, MAX_DEVICES, ids, &count))
		return 0; /* a platform whose hardware is not here is no error */
	count = MIN(count, MAX_DEVICES);
	more = realloc(*found, (*n + count + 1) * sizeof(**found));
	if (!more)
		return sherd_fail_oom(err, (*n + count + 1) * sizeof(**found), "OpenCL devices");
	*found = more;
	for (cl_uint i = 0; i < count; i++) {
		memset(&more[*n], 0, sizeof(*more));
		if (query_device(&more[*n], platform, ids[i], name))
			return sherd_fail_oom(err, 1, "an OpenCL device's extensions");
		++*n;
	}
	return 0;
}

static int find_devices(struct sherd_found **found, int *n, int n_threads, struct sherd_error *err)
{
	cl_platform_id platforms[MAX_PLATFORMS];
	cl_uint count = 0;
	cl_int code;
	int ret = 0;

	*found = NULL;
	*n = 0;
	sherd_pocl_prepare(n_threads);
	ret = sherd_icd_prepare(err);
	if (ret)
		return ret;
	code = clGetPlatformIDs(MAX_PLATFORMS, platforms, &count);
	if (code || !count)
		return sherd_fail(
			err, -ENODEV,
			"no OpenCL platform: install pocl-opencl-icd (runs on the CPU) or the "
			"GPU vendor's OpenCL driver; each has a file in /etc/OpenCL/vendors");
	count = MIN(count, MAX_PLATFORMS);
	for (cl_uint i = 0; i < count && !ret; i++)
		ret = query_platform(found, n, platforms[i], err);
	if (!ret && !*n)
		ret = sherd_fail(
			err, -ENODEV,
			"no OpenCL device: %u platform(s) in /etc/OpenCL/vendors, but none has "
			"a device here; pocl-opencl-icd runs on any CPU, if it has a folder to "
			"write to (POCL_CACHE_DIR)",
			count);
	if (ret) {
		sherd_devices_free(*found, *n);
		*found = NULL;
		*n = 0;
	}
	return ret;
}

/*
 * Drivers make their devices when they are first asked for them, and not all take care that only
 * one thread does (PoCL 3.1 shows the other one devices that are half made); nor does setenv().
 */
int sherd_devices_find(struct sherd_found **found, int *n, int n_threads, struct sherd_error *err)
{
	static pthread_mutex_t first = PTHREAD_MUTEX_INITIALIZER;
	int ret;

	pthread_mutex_lock(&first);
	ret = find_devices(found, n, n_threads, err);
	pthread_mutex_unlock(&first);
	return ret;
}

void sherd_devices_free(struct sherd_found *found, int n)
{
	for (int i = 0; i < n; i++)
		free(found[i].info.extensions);
	free(found);
}

int sherd_device_list(struct sherd_device_info **list, int *n, struct sherd_error *err)
{
	return sherd_device_list_for(list, n, 0, err);
}

int sherd_device_list_for(struct sherd_device_info **list, int *n, int n_threads,
			  struct sherd_error *err)
{
	struct sherd_found *found;
	int ret = sherd_devices_find(&found, n, n_threads, err);

	*list = NULL;
	if (ret)
		return ret;
	*list = sherd_calloc(*n, sizeof(**list));
	if (!*list) {
		sherd_devices_free(found, *n);
		return sherd_fail_oom(err, *n * sizeof(**list), "the list of devices");
	}
	for (int i = 0; i < *n; i++)
		(*list)[i] = found[i].info;
	free(found); /* the extensions' strings moved */
	return 0;
}

void sherd_device_list_free(struct sherd_device_info *list, int n)
{
	for (int i = 0; i < n; i++)
		free(list[i].extensions);
	free(list);
}

bool sherd_device_has(const struct sherd_device_info *info, const char *extension)
{
	size_t len = strlen(extension);
	const char *p = info->extensions;

	while (p && (p = strstr(p, extension))) {
		if ((p == info->extensions || p[-1] == ' ') && (!p[len] || p[len] == ' '))
			return true;
		p += len;
	}
	return false;
}
