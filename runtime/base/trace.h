/* SPDX-License-Identifier: MIT */
/*
 * trace: where the time goes, told to who wants to know: what is done once (opening, packing,
 * compiling), each step and each kernel. The library writes nothing; a sink is somebody's who does
 * (tools/trace_file.c), or a debugger's, through probe.h. Without one a border costs a load and a
 * branch that is always predicted.
 *
 * There is one sink a process, as there is one clock: who sets it does so before there are threads
 * that compute. Its functions are called by the thread that did the work, when it is done, and
 * before what it is a part of is done: what began later and ended earlier comes first, but for parts of
 * a launch, which come after it. Names live for ever; everything else lives for the call. Times are
 * sherd_now()'s, in seconds.
 */
#ifndef SHERD_TRACE_H
#define SHERD_TRACE_H

#include "base/base.h"
#include "base/probe.h"

/* One call of sherd_step(). */
struct sherd_trace_step {
	double begin, end;
	uint64_t n; /* of this model: the first is 1 */
	int rows, items;
	int position; /* of the first item's first row */
	int first_layer, end_layer;
	uint64_t kv_bytes; /* of the pages that sessions have, after it */
	bool failed;
};

struct sherd_trace_kernel {
	double begin, end;
	const char *name;
	const char *shape; /* "3072 x 1024 x 1 q8_0/32" */
	uint64_t step; /* sherd_trace_step's n */
	int layer; /* -1: before the first or behind the last */
	int rows;
	double bytes, ops; /* that must be read, and computed */
	bool floats; /* ops are floating point ones, else int8 */
	bool inner; /* a part of the launch that was told of before */
};

struct sherd_trace_sink {
	/* @detail: of what, or NULL. */
	void (*phase)(struct sherd_trace_sink *s, const char *name, const char *detail,
		      double begin, double end);
	void (*step)(struct sherd_trace_sink *s, const struct sherd_trace_step *step);
	void (*kernel)(struct sherd_trace_sink *s, const struct sherd_trace_kernel *k);
	/* kernels are timed, which costs a few microseconds a launch; else kernel() is not called */
	bool kernels;
};

extern struct sherd_trace_sink *sherd_trace; /* NULL: nobody wants to know */

static inline bool sherd_tracing(void)
{
	return __builtin_expect(sherd_trace != NULL, 0);
}

/* Are launches to be timed? */
static inline bool sherd_tracing_kernels(void)
{
	return (sherd_tracing() && sherd_trace->kernels) || SHERD_PROBED(kernel__done);
}

static inline double sherd_trace_begin(void)
{
	return sherd_tracing() ? sherd_now() : 0;
}

/* A phase: from here to the end of the block. @detail, which may be NULL, lives as long. */
struct sherd_trace_scope {
	const char *name, *detail;
	double begin;
};

static inline void sherd_trace_scope_end(struct sherd_trace_scope *s)
{
	if (sherd_tracing() && s->begin > 0)
		sherd_trace->phase(sherd_trace, s->name, s->detail, s->begin, sherd_now());
}

#define SHERD_TRACE_SCOPE(name, detail)                                          \
	__attribute__((cleanup(sherd_trace_scope_end), unused))                  \
	struct sherd_trace_scope trace_scope = { name, detail, sherd_trace_begin() }

#endif
