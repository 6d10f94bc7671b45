/* SPDX-License-Identifier: MIT */
/* query: what device/ keeps to itself - the walk over platforms, and files of the device cache. */
#ifndef SHERD_DEVICE_QUERY_H
#define SHERD_DEVICE_QUERY_H

#include "device/device.h"

struct sherd_found {
	cl_platform_id platform;
	cl_device_id id;
	struct sherd_device_info info;
};

/*
 * All devices of all platforms. The first call creates the platforms, and fixes with @n_threads (0:
 * sherd_device_host_cpus()) how many threads PoCL's CPU device has in this process.
 */
int sherd_devices_find(struct sherd_found **found, int *n, int n_threads, struct sherd_error *err);
void sherd_devices_free(struct sherd_found *found, int n);

/* Sets PoCL's environment, once a process: before any platform is created. */
void sherd_pocl_prepare(int n_threads);
/*
 * The environment without the thread count that sherd_pocl_prepare() put there, as a child counts
 * for itself, and with @extra. free() it, and not what it points to; NULL: no memory.
 */
char **sherd_pocl_child_environ(char *extra);
/* A folder that goes with the process, where PoCL was given one; or NULL. */
const char *sherd_pocl_temporary(void);

/*
 * Takes drivers that are not safe to load out of what the loader loads; once a process, before it
 * loads any. -ENODEV: there is no other.
 */
int sherd_icd_prepare(struct sherd_error *err);
/* A hash of the drivers that may be loaded, as they are now. */
const char *sherd_icd_identity(void);

/* This process was started by sherd_device_child(): what happens here happens to nobody else. */
bool sherd_device_is_child(void);

/*
 * The mark at @path (program.c), unless a living process holds it, says from now on that new binaries
 * are worth a try; false: it said so before.
 */
bool sherd_device_mark_forget(const char *path);

/* <cache>/device/<key><suffix>, its folder made; NULL where there is no cache. Free it. */
char *sherd_device_cache_path(const char *key, const char *suffix);

/*
 * CPUs that the quota of this process's control groups pays for (cgroup v2's cpu.max, v1's
 * cpu.cfs_quota_us), rounded up; INT_MAX: there is none.
 */
int sherd_cgroup_cpus(void);

#endif
