/* SPDX-License-Identifier: MIT */
/*
 * alloc: allocation with checked sizes, so that callers multiply nothing themselves; how much memory
 * is left; and the clock.
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

uint64_t sherd_memory_available(void)
{
	static const char field[] = "MemAvailable:";
	uint64_t kib = UINT64_MAX >> 10;
	char *text, *at;
	size_t size;

	if (sherd_read_file("/proc/meminfo", 1 << 16, &text, &size, NULL))
		return UINT64_MAX;
	at = strstr(text, field);
	if (at)
		kib = strtoull(at + strlen(field), NULL, 10);
	free(text);
	return kib << 10;
}

double sherd_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec * 1e-9;
}
