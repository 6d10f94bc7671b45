/* SPDX-License-Identifier: MIT */
/*
 * rung: what the rungs share - opening a device node, the limit on locked memory - and the plain
 * one.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "region/rung.h"

size_t sherd_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

/* Whether the kernel has the device, as far as @sysfs shows. */
static bool is_known(const char *sysfs)
{
	char *path = sherd_asprintf("%s%s", sherd_root, sysfs);
	bool known = path && !access(path, F_OK);

	free(path);
	return known;
}

static int fail_open(const char *path, const char *sysfs, const char *missing, int code,
		     struct sherd_error *err)
{
	switch (code) {
	case ENOENT:
		if (!is_known(sysfs))
			return sherd_fail(err, -code, "there is no %s: %s", path, missing);
		return sherd_fail(err, -code, "there is no %s here, though the kernel has it: in a "
					      "container, start that with --device %s", path, path);
	case EACCES:
		return sherd_fail(
			err, -code,
			"%s may not be opened: join the group that it belongs to (usually "
			"usermod -aG render USER, and log in anew)",
			path);
	case EPERM:
		return sherd_fail(
			err, -code,
			"%s may not be opened in this container: start it with --device %s", path,
			path);
	case EMFILE:
	case ENFILE:
		return sherd_fail_files(err, path, code);
	default:
		return sherd_fail(err, -code, "%s can't be opened: %s", path, strerror(code));
	}
}

int sherd_rung_open_node(const char *path, const char *sysfs, const char *missing,
			 struct sherd_error *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0)
		return fail_open(path, sysfs, missing, errno, err);
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode)) {
		close(fd);
		return sherd_fail(err, -ENODEV, "%s is not a device", path);
	}
	return fd;
}

/* A container's root has the capability in its own namespace, where it does not count. */
static bool may_lock_all(void)
{
	unsigned long long caps = 0, in, out, n = 0;
	char *text, *at;
	size_t size;

	if (sherd_read_file("/proc/self/status", 1 << 16, &text, &size, NULL))
		return false;
	at = strstr(text, "CapEff:");
	if (at)
		caps = strtoull(at + strlen("CapEff:"), NULL, 16);
	free(text);
	if (!(caps >> CAP_IPC_LOCK & 1) ||
	    sherd_read_file("/proc/self/uid_map", 4096, &text, &size, NULL))
		return false;
	if (sscanf(text, "%llu %llu %llu", &in, &out, &n) != 3)
		n = 0;
	free(text);
	return n == UINT32_MAX;
}

bool sherd_memlock_bounds(void)
{
	struct rlimit limit;

	return !getrlimit(RLIMIT_MEMLOCK, &limit) && limit.rlim_cur != RLIM_INFINITY &&
	       !may_lock_all();
}

int sherd_fail_memlock(struct sherd_error *err, const char *what, size_t bytes, size_t taken)
{
	struct rlimit limit = { 0 };
	char used[64] = "";

	getrlimit(RLIMIT_MEMLOCK, &limit);
	if (taken == SIZE_MAX)
		snprintf(used, sizeof(used), " for all that this user has pinned");
	else if (taken)
		snprintf(used, sizeof(used), ", of which %zu KiB are taken", taken >> 10);
	return sherd_fail(
		err, -ENOBUFS,
		"%s: %zu KiB are needed, and RLIMIT_MEMLOCK allows %llu KiB%s; " SHERD_RAISE_MEMLOCK,
		what, bytes >> 10, (unsigned long long)limit.rlim_cur >> 10, used);
}

int sherd_fail_files(struct sherd_error *err, const char *what, int code)
{
	struct rlimit limit = { 0 };
	char *path = sherd_asprintf("%s/proc/sys/fs/file-max", sherd_root), *text = NULL;
	size_t size;

	if (code == ENFILE) {
		if (path)
			sherd_read_file(path, 64, &text, &size, NULL);
		sherd_fail(err, -code,
			   "%s: all %.*s files that this machine may open are open; root can "
			   "write more into /proc/sys/fs/file-max",
			   what, (int)strcspn(text ? text : "", "\n"), text ? text : "");
	} else {
		getrlimit(RLIMIT_NOFILE, &limit);
		sherd_fail(err, -code,
			   "%s: all %llu files that this process may open are open; raise "
			   "RLIMIT_NOFILE with ulimit -n or LimitNOFILE= in a systemd unit",
			   what, (unsigned long long)limit.rlim_cur);
	}
	free(text);
	free(path);
	return -code;
}

int sherd_fail_window(struct sherd_error *err, const char *node, size_t length, int code)
{
	if (code == EMFILE || code == ENFILE)
		return sherd_fail_files(err, node, code);
	return sherd_fail(err, -code, "%s: %zu KiB are refused: %s", node, length >> 10,
			  strerror(code));
}

static int plain_hold(struct sherd_region *r, struct sherd_error *err)
{
	(void)err;
	snprintf(r->how, sizeof(r->how), "mapped, neither locked nor shared as a dma-buf");
	return 0;
}

static void plain_release(struct sherd_region *r)
{
	(void)r;
}

const struct sherd_rung_ops sherd_rung_plain = {
	.name = "plain",
	.hold = plain_hold,
	.release = plain_release,
};
