/* SPDX-License-Identifier: MIT */
/*
 * dilate: with one thread it is the processor time that counts, not the time on the wall. Where two
 * boards' computing falls together on one core, each is held up by the other, as boards never are;
 * the sleep is shorter by that much, and the sum is right again.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include "dilate.h"

static double seconds(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

int dilate_open(int *turns, const char *path, struct sherd_error *err)
{
	*turns = path ? open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0666) : -1;
	if (path && *turns < 0)
		return sherd_fail(err, -errno, "%s: can't be opened to take turns: %s", path,
				  strerror(errno));
	return 0;
}

void dilate_begin(struct dilation *d)
{
	if (d->factor <= 1)
		return;
	d->start = sherd_now();
	while (d->turns >= 0 && flock(d->turns, LOCK_EX) && errno == EINTR)
		;
	d->begun = sherd_now();
	d->cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
}

void dilate_end(const struct dilation *d)
{
	struct timespec until;
	double took, end;

	if (d->factor <= 1)
		return;
	took = sherd_now() - d->begun;
	if (d->turns >= 0)
		flock(d->turns, LOCK_UN);
	if (d->one_thread)
		took = MIN(took, seconds(CLOCK_PROCESS_CPUTIME_ID) - d->cpu);
	end = d->start + (double)d->factor * took;
	until.tv_sec = (time_t)end;
	until.tv_nsec = (long)((end - (double)until.tv_sec) * 1e9);
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}
