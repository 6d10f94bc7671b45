/* SPDX-License-Identifier: MIT */
/*
 * rung_locked: mlock() keeps in memory what has come there. A shard's pages are locked as they are
 * read (MLOCK_ONFAULT), so that the start does not wait for those that are not needed yet; a ring's
 * are there already.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "region/rung.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

/* What this process has locked; the limit is each process's own. */
static size_t locked_bytes(void)
{
	uint64_t n = 0;

	sherd_proc_value("/proc/self/status", "VmLck", &n);
	return (size_t)n;
}

/* mlock's ENOMEM may also mean that there is no memory, or too many mappings. */
static int fail_lock(const struct sherd_region *r, int code, struct sherd_error *err)
{
	size_t taken = locked_bytes();
	struct rlimit limit;

	if (sherd_memlock_bounds() && !getrlimit(RLIMIT_MEMLOCK, &limit) &&
	    r->size + taken > limit.rlim_cur)
		return sherd_fail_memlock(err, "mlock", r->size, taken);
	return sherd_fail(err, -code, "mlock: %zu KiB can't be locked: %s", r->size >> 10,
			  strerror(code));
}

static int hold(struct sherd_region *r, struct sherd_error *err)
{
	/* by number: the function is missing in older C libraries, and replaced by sanitizers */
	if (syscall(SYS_mlock2, r->data, r->size, r->read_only ? MLOCK_ONFAULT : 0))
		return fail_lock(r, errno, err);
	snprintf(r->how, sizeof(r->how), "locked in memory (mlock)");
	return 0;
}

static void release(struct sherd_region *r)
{
	syscall(SYS_munlock, r->data, r->size);
}

const struct sherd_rung_ops sherd_rung_locked = {
	.name = "locked",
	.pins = true,
	.hold = hold,
	.release = release,
};
