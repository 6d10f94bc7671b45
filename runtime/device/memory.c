/* SPDX-License-Identifier: MIT */
/*
 * memory: reads /proc/self/status and smaps; the answer is a snapshot, and reading it takes
 * milliseconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "device/memory.h"

/* A line of /proc/self/status. */
static uint64_t status_value(const char *key)
{
	uint64_t v = 0;

	sherd_proc_value("/proc/self/status", key, &v);
	return v;
}

/*
 * The path at the end of a mapping's first line ("55d0-55e0 r--p 0000 08:01 123  /path"), or
 * NULL.
 */
static const char *mapping_path(const char *line)
{
	unsigned long long start, end;
	int at = -1;

	if (sscanf(line, "%llx-%llx %*s %*s %*s %*s %n", &start, &end, &at) < 2)
		return NULL;
	return at > 0 ? line + at : "";
}

static bool begins_with_any(const char *path, const char *const *names, int n)
{
	for (int i = 0; i < n; i++)
		if (names[i] && *names[i] && !strncmp(path, names[i], strlen(names[i])))
			return true;
	return false;
}

void sherd_memory_read(struct sherd_memory *m, const char *const *weights, int n_weights)
{
	FILE *f = fopen("/proc/self/smaps", "re");
	bool counts = false;
	char *line = NULL;
	size_t size = 0;
	uint64_t v;

	memset(m, 0, sizeof(*m));
	m->peak = status_value("VmHWM");
	m->anon = status_value("RssAnon");
	while (f && getline(&line, &size, f) > 0) {
		const char *path = mapping_path(line);

		if (path)
			counts = begins_with_any(path, weights, n_weights);
		else if (sherd_line_value(line, "Pss", &v)) {
			m->pss += v;
			m->weights += counts ? v : 0;
		}
	}
	free(line);
	if (f)
		fclose(f);
}

double sherd_cpu_seconds(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u))
		return 0;
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
	       1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}
