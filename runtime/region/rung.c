/* SPDX-License-Identifier: MIT */
/* rung: what the rungs share - opening a device node, the limit on locked memory - and the plain one. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "region/rung.h"

size_t sherd_page_size(void)
{
	return (size_t)sysconf(_SC_PAGESIZE);
}

int sherd_rung_open_node(const char *path, const char *missing, struct sherd_error *err)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && errno == ENOENT)
		return sherd_fail(err, -ENOENT, "there is no %s: %s", path, missing);
	if (fd < 0 && errno == EACCES)
		return sherd_fail(err, -EACCES,
				  "%s may not be opened: join the group that it belongs to (usually "
				  "usermod -aG render USER, and log in anew)", path);
	if (fd < 0 && errno == EPERM)
		return sherd_fail(err, -EPERM,
				  "%s may not be opened in this container: start it with --device %s", path,
				  path);
	if (fd < 0)
		return sherd_fail(err, -errno, "%s can't be opened: %s", path, strerror(errno));
	if (fstat(fd, &st) || !S_ISCHR(st.st_mode)) {
		close(fd);
		return sherd_fail(err, -ENODEV, "%s is not a device", path);
	}
	return fd;
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
	return sherd_fail(err, -ENOBUFS,
			  "%s: %zu KiB are needed, and RLIMIT_MEMLOCK allows %llu KiB%s; raise it with ulimit "
			  "-l, LimitMEMLOCK= in a systemd unit, memlock in /etc/security/limits.conf or docker "
			  "run --ulimit memlock=-1, or give CAP_IPC_LOCK",
			  what, bytes >> 10, (unsigned long long)limit.rlim_cur >> 10, used);
}

int sherd_fail_window(struct sherd_error *err, const char *node, size_t length, int code)
{
	struct rlimit limit = { 0 };

	if (code != EMFILE)
		return sherd_fail(err, -code, "%s: %zu KiB are refused: %s", node, length >> 10,
				  strerror(code));
	getrlimit(RLIMIT_NOFILE, &limit);
	return sherd_fail(err, -code, "%s: all %llu files that this process may open are open; raise "
				      "RLIMIT_NOFILE with ulimit -n or LimitNOFILE= in a systemd unit", node,
			  (unsigned long long)limit.rlim_cur);
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
