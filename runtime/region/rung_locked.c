/* SPDX-License-Identifier: MIT */
/*
 * rung_locked: mlock() keeps in memory what has come there. A shard's pages are locked as they are read
 * (MLOCK_ONFAULT), so that the start does not wait for those that are not needed yet; a ring's are there
 * already.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "region/rung.h"

#ifndef MLOCK_ONFAULT
#define MLOCK_ONFAULT 1
#endif

static int hold(struct sherd_region *r, struct sherd_error *err)
{
	/* by number: the function is missing in older C libraries, and replaced by sanitizers */
	if (syscall(SYS_mlock2, r->data, r->size, r->read_only ? MLOCK_ONFAULT : 0)) {
		if (errno == ENOMEM || errno == EPERM || errno == EAGAIN)
			return sherd_fail_memlock(err, "mlock", r->size);
		return sherd_fail(err, -errno, "mlock: %s", strerror(errno));
	}
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
