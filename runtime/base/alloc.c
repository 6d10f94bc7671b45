/* SPDX-License-Identifier: MIT */
/*
 * alloc: allocation with checked sizes, so that callers multiply nothing themselves; and the clock.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "base/base.h"

void *sherd_calloc(size_t n, size_t size)
{
	size_t bytes;

	if (!sherd_mul_ok(n, size, &bytes))
		return NULL;
	return calloc(1, bytes ? bytes : 1);
}

void *sherd_alloc_aligned(size_t align, size_t n, size_t size)
{
	size_t bytes;
	void *p;

	if (!sherd_mul_ok(n, size, &bytes))
		return NULL;
	if (posix_memalign(&p, MAX(align, sizeof(void *)), bytes ? bytes : 1))
		return NULL;
	return p;
}

char *sherd_asprintf(const char *fmt, ...)
{
	va_list ap;
	char *s;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

double sherd_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}
