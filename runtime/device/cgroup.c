/* SPDX-License-Identifier: MIT */
/*
 * cgroup: how many CPUs' time a container leaves this process. A quota does not show in the affinity
 * mask: where there are more threads than it pays for, all are stopped for the rest of each period.
 *
 * Every group from the process's own up to the mount's root may have a quota; the least one counts. In a
 * container /proc may name groups that are not there, because its mount begins further down: the
 * mount's root is then the process's own group.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "device/query.h"

/* How many numbers a group's file begins with, at most two; 0 where there is none, or "max". */
static int read_numbers(const char *group, const char *file, long long n[2])
{
	char *path = sherd_asprintf("%s/%s", group, file), *text = NULL;
	size_t size;
	int found = 0;

	if (path && !sherd_read_file(path, 4096, &text, &size, NULL))
		found = sscanf(text, "%lld %lld", &n[0], &n[1]);
	free(text);
	free(path);
	return MAX(found, 0);
}

/* CPUs that a group's quota pays for, be it of version 2 or 1; INFINITY: it has none. */
static double group_cpus(const char *group)
{
	long long quota[2], period[2];

	if (read_numbers(group, "cpu.max", quota) == 2)
		period[0] = quota[1];
	else if (!read_numbers(group, "cpu.cfs_quota_us", quota) ||
		 !read_numbers(group, "cpu.cfs_period_us", period))
		return INFINITY;
	return quota[0] > 0 && period[0] > 0 ? (double)quota[0] / period[0] : INFINITY;
}

/* The least of the groups from @path up to the root of @mount. */
static double least_cpus(const char *root, const char *mount, const char *path)
{
	char *group = sherd_asprintf("%s/sys/fs/cgroup%s%s", root, mount, path), *slash;
	size_t mount_len = strlen(root) + strlen("/sys/fs/cgroup") + strlen(mount);
	double cpus = INFINITY;

	while (group) {
		cpus = fmin(cpus, group_cpus(group));
		slash = strrchr(group, '/');
		if (slash < group + mount_len)
			break;
		*slash = '\0';
	}
	free(group);
	return cpus;
}

/* Whether "cpu" is among @list, separated by commas. */
static bool has_cpu(const char *list)
{
	const char *at;

	for (at = list; (at = strstr(at, "cpu")); at++)
		if ((at == list || at[-1] == ',') && (!at[3] || at[3] == ','))
			return true;
	return false;
}

/* A line of /proc/self/cgroup: "4:cpu,cpuacct:/a/b" (version 1) or "0::/a/b" (2). */
static double line_cpus(const char *root, char *line)
{
	char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;
	double cpus;

	if (!path)
		return INFINITY;
	*path++ = '\0';
	list++;
	if (strstr(path, "/..")) /* outside of this process's namespace */
		path = "";
	if (*list && !has_cpu(list))
		return INFINITY;
	cpus = least_cpus(root, *list ? "/cpu" : "", path);
	return fmin(cpus, least_cpus(root, *list ? "/cpu,cpuacct" : "/unified", path));
}

int sherd_cgroup_cpus(const char *root)
{
	char *file = sherd_asprintf("%s/proc/self/cgroup", root), *text = NULL, *save = NULL, *line;
	double cpus = INFINITY;
	size_t size;

	if (file && !sherd_read_file(file, 1 << 16, &text, &size, NULL))
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			cpus = fmin(cpus, line_cpus(root, line));
	free(text);
	free(file);
	return cpus < INT_MAX ? MAX((int)ceil(cpus), 1) : INT_MAX;
}
