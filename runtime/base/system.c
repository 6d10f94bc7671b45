/* SPDX-License-Identifier: MIT */
/*
 * system: what the kernel says of this process and this machine, in the lines of /proc and in the
 * control groups that bound the process; and from both, how much memory is left.
 *
 * Every group from the process's own up to the mount's root may bound it. In a container /proc may
 * name groups that are not there, because its mount begins further down: the mount's root is then
 * the process's own group.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"

const char *sherd_root = "";

bool sherd_line_value(const char *line, const char *key, uint64_t *value)
{
	size_t len = strlen(key);
	unsigned long long n;
	char unit[3] = "";

	if (strncmp(line, key, len) || (line[len] != ':' && line[len] != ' '))
		return false;
	if (sscanf(line + len + (line[len] == ':'), "%llu %2s", &n, unit) < 1)
		return false;
	*value = !strcmp(unit, "kB") ? n << 10 : n;
	return true;
}

static bool file_value(const char *path, const char *key, uint64_t *value)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	char *line = NULL;
	bool found = false;
	size_t size = 0;

	while (f && !found && getline(&line, &size, f) > 0)
		found = sherd_line_value(line, key, value);
	if (f)
		fclose(f);
	free(line);
	return found;
}

bool sherd_proc_value(const char *path, const char *key, uint64_t *value)
{
	char *whole = sherd_asprintf("%s%s", sherd_root, path);
	bool found = file_value(whole, key, value);

	free(whole);
	return found;
}

/* ---------------------------------------------------------- control groups */

int sherd_cgroup_numbers(const char *group, const char *file, long long n[2])
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

/* The groups from @path up to the root of @mount. */
static void visit_groups(const char *mount, const char *path, sherd_cgroup_fn visit, void *ctx)
{
	char *group = sherd_asprintf("%s/sys/fs/cgroup%s%s%s", sherd_root, *mount ? "/" : "", mount,
				     path);
	size_t mount_len =
		strlen(sherd_root) + strlen("/sys/fs/cgroup") + (*mount ? 1 : 0) + strlen(mount);
	char *slash;

	while (group) {
		visit(ctx, group);
		slash = strrchr(group, '/');
		if (slash < group + mount_len)
			break;
		*slash = '\0';
	}
	free(group);
}

/* Whether @word is among @list, separated by commas. */
static bool is_among(const char *list, const char *word)
{
	size_t len = strlen(word);
	const char *at;

	for (at = list; (at = strstr(at, word)); at++)
		if ((at == list || at[-1] == ',') && (!at[len] || at[len] == ','))
			return true;
	return false;
}

/* A line of /proc/self/cgroup: "4:cpu,cpuacct:/a/b" (version 1) or "0::/a/b" (2). */
static void visit_line(const char *controller, char *line, sherd_cgroup_fn visit, void *ctx)
{
	char *list = strchr(line, ':'), *path = list ? strchr(list + 1, ':') : NULL;

	if (!path)
		return;
	*path++ = '\0';
	list++;
	if (strstr(path, "/..")) /* outside of this process's namespace */
		path = "";
	if (*list && !is_among(list, controller))
		return;
	visit_groups(*list ? controller : "", path, visit, ctx);
	if (strcmp(list, controller))
		visit_groups(*list ? list : "unified", path, visit, ctx);
}

void sherd_cgroup_each(const char *controller, sherd_cgroup_fn visit, void *ctx)
{
	char *file = sherd_asprintf("%s/proc/self/cgroup", sherd_root), *text = NULL, *save = NULL,
	     *line;
	size_t size;

	if (file && !sherd_read_file(file, 1 << 16, &text, &size, NULL))
		for (line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
			visit_line(controller, line, visit, ctx);
	free(text);
	free(file);
}

/* ------------------------------------------------------------------ memory */

/*
 * What of a group's memory is files' pages, which give way to others; version 1 says "total_" of
 * all below.
 */
static uint64_t file_bytes(const char *group, const char *prefix)
{
	static const char *const keys[] = { "inactive_file", "active_file" };
	char *path = sherd_asprintf("%s/memory.stat", group), *key;
	uint64_t sum = 0, n;

	for (size_t i = 0; i < ARRAY_SIZE(keys) && path; i++) {
		key = sherd_asprintf("%s%s", prefix, keys[i]);
		if (key && file_value(path, key, &n))
			sum += n;
		free(key);
	}
	free(path);
	return sum;
}

/* Takes the least of *ctx and what a group has left. */
static void least_memory(void *ctx, const char *group)
{
	uint64_t *least = ctx, used, room;
	long long most[2], now[2];
	bool v2 = sherd_cgroup_numbers(group, "memory.max", most) && /* "max" is no number */
		  sherd_cgroup_numbers(group, "memory.current", now);

	if (!v2 && (!sherd_cgroup_numbers(group, "memory.limit_in_bytes", most) ||
		    !sherd_cgroup_numbers(group, "memory.usage_in_bytes", now)))
		return;
	if (most[0] < 0 || now[0] < 0)
		return;
	used = file_bytes(group, v2 ? "" : "total_");
	used = (uint64_t)now[0] > used ? (uint64_t)now[0] - used : 0;
	room = (uint64_t)most[0] > used ? (uint64_t)most[0] - used : 0;
	*least = MIN(*least, room);
}

uint64_t sherd_memory_available(void)
{
	uint64_t bytes = UINT64_MAX;

	sherd_proc_value("/proc/meminfo", "MemAvailable", &bytes);
	sherd_cgroup_each("memory", least_memory, &bytes);
	return bytes;
}
