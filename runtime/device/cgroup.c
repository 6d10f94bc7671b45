/* SPDX-License-Identifier: MIT */
/*
 * cgroup: how many CPUs' time a container leaves this process. A quota does not show in the
 * affinity mask: where there are more threads than it pays for, all are stopped for the rest of
 * each period.
 */
#include <limits.h>
#include <math.h>
#include "device/query.h"

/* CPUs that a group's quota pays for, be it of version 2 or 1; INFINITY: it has none. */
static double group_cpus(const char *group)
{
	long long quota[2], period[2];

	if (sherd_cgroup_numbers(group, "cpu.max", quota) == 2)
		period[0] = quota[1];
	else if (!sherd_cgroup_numbers(group, "cpu.cfs_quota_us", quota) ||
		 !sherd_cgroup_numbers(group, "cpu.cfs_period_us", period))
		return INFINITY;
	return quota[0] > 0 && period[0] > 0 ? (double)quota[0] / period[0] : INFINITY;
}

static void least_cpus(void *ctx, const char *group)
{
	double *least = ctx;

	*least = fmin(*least, group_cpus(group));
}

int sherd_cgroup_cpus(void)
{
	double cpus = INFINITY;

	sherd_cgroup_each("cpu", least_cpus, &cpus);
	return cpus < INT_MAX ? MAX((int)ceil(cpus), 1) : INT_MAX;
}
