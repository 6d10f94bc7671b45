/* SPDX-License-Identifier: MIT */
/*
 * probe: places that bpftrace, perf and SystemTap can look at in a running process (USDT, provider
 * "sherd"); scripts/bpftrace/ has examples. Each is a no-operation and a note in the ELF file, and
 * nothing at all where <sys/sdt.h> (Debian: systemtap-sdt-dev) was missing when sherd was built.
 *
 *	step__begin(rows, items, first_layer, end_layer)
 *	step__end(rows, failed)			failed: 0, or an errno
 *	kernel__enqueue(name, step, rows)	step: the number in the list of steps
 *	kernel__done(name, shape, layer, rows, nanoseconds)
 *	token(session, position, id)		a sampler has drawn it
 *	frame__send(type, bytes)		to another process of a pipeline: "rows", "token" ...
 *	frame__receive(type, bytes)		of the payload
 *
 * Kernels are timed (kernel__done) only while somebody looks at that probe: the counter beside each
 * probe, which the kernel raises when one is attached, says so.
 */
#ifndef SHERD_PROBE_H
#define SHERD_PROBE_H

#if !defined(__has_include)
#elif __has_include(<sys/sdt.h>) && !defined(SHERD_NO_PROBES)
#define SHERD_HAS_PROBES 1
#define _SDT_HAS_SEMAPHORES 1
#define SDT_USE_VARIADIC 1
#include <sys/sdt.h>

#define SHERD_EACH_PROBE(do) \
	do(step__begin); \
	do(step__end); \
	do(kernel__enqueue); \
	do(kernel__done); \
	do(token); \
	do(frame__send); \
	do(frame__receive)

#define SHERD_PROBE_COUNTER(name) extern unsigned short sherd_##name##_semaphore
SHERD_EACH_PROBE(SHERD_PROBE_COUNTER);

/* Does somebody look at it? */
#define SHERD_PROBED(name) __builtin_expect(*(volatile unsigned short *)&sherd_##name##_semaphore, 0)
#define SHERD_PROBE(name, ...)                                \
	do {                                                  \
		if (SHERD_PROBED(name))                       \
			STAP_PROBEV(sherd, name, __VA_ARGS__); \
	} while (0)
#endif

#ifndef SHERD_HAS_PROBES
#define SHERD_PROBED(name) 0
#define SHERD_PROBE(...) ((void)0)
#endif

#endif
