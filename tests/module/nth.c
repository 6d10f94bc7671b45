// SPDX-License-Identifier: MIT
/*
 * Everything that can fail inside a request fails once: the first, the second, the third allocation
 * or copy from and to user memory, until the request meets no more of them. A kernel with fault
 * injection does that for one task (/proc/self/fail-nth). After each such failure the error is one
 * that the header knows, and nothing is different from before (invariant 4).
 */
#include <sys/prctl.h>

#include "guest.h"
#include "nth.h"

#define KNOBS "/sys/kernel/debug/"

static int nth_fd;

static void set_knob(const char *name, const char *value)
{
	char path[96];
	int fd;

	snprintf(path, sizeof(path), KNOBS "%s", name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return; /* not every kind of failure has each of them */
	CHECK_EQ(write(fd, value, strlen(value)), strlen(value));
	close(fd);
}

/* Allocations of every size and urgency fail, and without a word in the log. */
void need_fault_injection(void)
{
	static const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };
	char name[64];
	size_t i;

	if (access("/proc/self/fail-nth", F_OK))
		test_skip("this kernel has no fault injection");
	CHECK(!access(KNOBS "failslab/ignore-gfp-wait", W_OK));
	for (i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		snprintf(name, sizeof(name), "%s/verbose", kinds[i]);
		set_knob(name, "0");
		snprintf(name, sizeof(name), "%s/ignore-gfp-wait", kinds[i]);
		set_knob(name, "N");
		snprintf(name, sizeof(name), "%s/ignore-gfp-highmem", kinds[i]);
		set_knob(name, "N");
		snprintf(name, sizeof(name), "%s/min-order", kinds[i]);
		set_knob(name, "0");
	}
}

static void open_nth(void)
{
	/* After a change of user /proc/self is root's, unless one asks. */
	CHECK_EQ(prctl(PR_SET_DUMPABLE, 1), 0);
	nth_fd = open("/proc/self/fail-nth", O_RDWR | O_CLOEXEC);
	CHECK(nth_fd >= 0);
}

static void arm(int n)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d", n);

	CHECK_EQ(write(nth_fd, text, len), len);
}

/* Whether the failure that was asked for has happened. */
static bool disarm(void)
{
	char text[16] = "";
	ssize_t got = pread(nth_fd, text, sizeof(text) - 1, 0);

	/* Reading this, and switching it off, can fail, too; but only one thing does. */
	while (write(nth_fd, "0", 1) != 1)
		;
	return got > 0 && text[0] == '0';
}

/* ---------------------------------------------------------------- the loop */

static bool is_sensible(int err)
{
	return err == -ENOMEM || err == -EFAULT;
}

void close_it(int fd)
{
	CHECK_EQ(close(fd), 0);
}

/* One round; whether a failure was injected into it. *failed: whether the request failed for it. */
static bool fail_nth(const struct request *r, int n, bool *failed)
{
	int fds, made;
	bool injected;
	long pinned;

	if (r->prepare)
		r->prepare();
	pinned = vm_pin();
	fds = count_fds();
	arm(n);
	made = r->make();
	injected = disarm();
	*failed = made < 0;
	if (made < 0) {
		if (!injected || !is_sensible(made))
			test_fail(__FILE__, __LINE__, "%s, failure %d%s: errno %d", r->name, n,
				  injected ? "" : " did not come", -made);
	} else {
		r->check(made);
		r->undo(made);
	}
	if (count_fds() != fds || vm_pin() != pinned)
		test_fail(__FILE__, __LINE__, "%s, failure %d: %d descriptors, %ld pages stay",
			  r->name, n, count_fds() - fds, vm_pin() - pinned);
	if (r->unchanged)
		r->unchanged();
	if (r->clean_up)
		r->clean_up();
	return injected;
}

void fail_each(const struct request *r)
{
	int n = 1, failures = 0;
	bool failed;

	open_nth();
	/* Code and stack are in memory, and tables of descriptors have grown, before it counts. */
	fail_nth(r, 1 << 30, &failed);
	while (fail_nth(r, n, &failed)) {
		failures += failed;
		n++;
	}
	printf("# %s: %d things can fail, %d of them for the caller\n", r->name, n - 1, failures);
	if (failures < 2)
		test_fail(__FILE__, __LINE__, "%s: nothing failed", r->name);
	close(nth_fd);
}
