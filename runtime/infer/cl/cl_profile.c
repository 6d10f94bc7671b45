/* SPDX-License-Identifier: MIT */
/*
 * cl_profile: event times of the executor's launches, summed by kernel and shape for who asks, and
 * told one by one to who traces.
 *
 * Events have the device's clock. OpenCL 2.1 can read it beside the host's; here, from 1.2 on, the
 * host's is read before and after a launch is enqueued, and the event says when it was by the
 * device's (QUEUED). The launch of a run that was enqueued fastest decides: the two clocks are apart
 * by the difference, give or take half of the time between the two readings, some microseconds, and
 * do not drift apart from run to run. A driver whose QUEUED is none (0, or after START) gets the last
 * event's end held against the end of the wait for it.
 */
#include <stdio.h>
#include <stdlib.h>
#include "base/trace.h"
#include "infer/cl/cl_exec.h"

static int set_profiling(struct cl_exec *x, bool on, struct sherd_error *err)
{
	int rc;

	sherd_clx_unmap(x);
	rc = sherd_device_set_profiling(x->c.dev, on, err);
	if (!rc)
		x->c.profiling = on;
	return rc;
}

int sherd_cl_exec_profile(struct sherd_exec *e, bool on, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;

	if (e->ops != &sherd_clx_ops)
		return sherd_fail(err, -ENOTSUP, "the reference has no kernels to time");
	x->summing = on;
	return set_profiling(x, on || sherd_tracing_kernels(), err);
}

/* Adds a launch to the row of its name and shape. */
static int add_time(struct sherd_cl_time *rows, int n, const struct sherd_cl_time *t,
		    double seconds)
{
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(rows[i].name, t->name) && !strcmp(rows[i].shape, t->shape))
			break;
	if (i == n) {
		rows[i] = *t;
		rows[i].seconds = rows[i].squares = rows[i].bytes = rows[i].ops = 0;
		rows[i].calls = 0;
		n++;
	}
	rows[i].seconds += seconds;
	rows[i].squares += seconds * seconds;
	rows[i].bytes += t->bytes;
	rows[i].ops += t->ops;
	rows[i].calls++;
	return n;
}

/* In nanoseconds of the device's clock; 0: it says nothing. */
static cl_ulong event_time(cl_event e, cl_profiling_info what)
{
	cl_ulong t;

	return clGetEventProfilingInfo(e, what, sizeof(t), &t, NULL) ? 0 : t;
}

static double event_seconds(cl_event e)
{
	cl_ulong from = event_time(e, CL_PROFILING_COMMAND_START);
	cl_ulong to = event_time(e, CL_PROFILING_COMMAND_END);

	return from && to > from ? 1e-9 * (double)(to - from) : 0;
}

static void forget_events(struct cl_exec *x)
{
	for (int i = 0; i < x->c.n_events; i++)
		if (x->c.events[i])
			clReleaseEvent(x->c.events[i]);
	x->c.n_events = x->n_told = 0;
}

void sherd_clx_profile_begin(struct cl_exec *x)
{
	bool on = x->summing || sherd_tracing_kernels();
	char text[sizeof(struct sherd_error) + 64];
	struct sherd_error why;

	x->c.clock_event = -1;
	if (on == x->c.profiling || x->no_profile)
		return;
	x->no_profile = set_profiling(x, on, &why) != 0;
	if (!x->no_profile || !x->note)
		return;
	snprintf(text, sizeof(text), "kernels can't be timed, and are not traced: %s", why.msg);
	x->note(x->note_ctx, text);
}

/* What is added to the device's nanoseconds to have the host's seconds. */
static double clock_offset(const struct cl_exec *x, double ended)
{
	const struct sherd_cl *c = &x->c;
	cl_event e = c->clock_event >= 0 ? c->events[c->clock_event] : NULL;
	cl_ulong queued = e ? event_time(e, CL_PROFILING_COMMAND_QUEUED) : 0;
	int i;

	if (queued && queued <= event_time(e, CL_PROFILING_COMMAND_START))
		return c->clock_host - 1e-9 * (double)queued;
	for (i = c->n_events; i-- && !c->events[i];)
		;
	return i < 0 ? 0 : ended - 1e-9 * (double)event_time(c->events[i], CL_PROFILING_COMMAND_END);
}

static void tell(struct cl_exec *x, const struct sherd_cl_time *t, double begin, double end)
{
	const struct sherd_program *p = x->program;
	const struct sherd_trace_kernel k = {
		.begin = begin,
		.end = end,
		.name = t->name,
		.shape = t->shape,
		.step = x->w->n,
		.layer = t->op >= 0 && t->op < p->n_ops ? p->ops[t->op].layer : -1,
		.rows = t->rows,
		.bytes = t->bytes,
		.ops = t->ops,
		.floats = t->floats,
		.inner = t->share > 0,
	};

	SHERD_PROBE(kernel__done, k.name, k.shape, k.layer, k.rows,
		    (unsigned long)(1e9 * (end - begin)));
	if (sherd_tracing() && sherd_trace->kernels)
		sherd_trace->kernel(sherd_trace, &k);
}

/* Launch @i, and after it the steps that it is made of, in a row. Returns where the next is. */
static int tell_launch(struct cl_exec *x, int i, double offset)
{
	const struct sherd_cl *c = &x->c;
	double begin = 1e-9 * (double)event_time(c->events[i], CL_PROFILING_COMMAND_START) + offset;
	double length = event_seconds(c->events[i]), at = begin;
	int k;

	tell(x, &c->times[i], begin, begin + length);
	for (k = i + 1; k < c->n_events && c->times[k].share > 0; k++) {
		double end = MIN(at + c->times[k].share * length, begin + length);

		tell(x, &c->times[k], at, end);
		at = end;
	}
	return k;
}

void sherd_clx_profile_end(struct cl_exec *x)
{
	double offset;

	if (!x->c.profiling)
		return;
	if (sherd_tracing_kernels()) {
		offset = clock_offset(x, sherd_now());
		while (x->n_told < x->c.n_events)
			x->n_told = tell_launch(x, x->n_told, offset);
	}
	x->n_told = x->c.n_events;
	if (!x->summing)
		forget_events(x);
}

/* A walk has one event, and its steps' rows instead of one of its own. */
int sherd_cl_exec_times(struct sherd_exec *e, struct sherd_cl_time **times, int *n)
{
	struct cl_exec *x = (struct cl_exec *)e;
	struct sherd_cl *c = &x->c;
	double seconds = 0;
	int i;

	*n = 0;
	*times = NULL;
	if (e->ops != &sherd_clx_ops)
		return -ENOTSUP;
	*times = sherd_calloc(c->n_events + 1, sizeof(**times));
	if (!*times)
		return -ENOMEM;
	for (i = 0; i < c->n_events; i++) {
		const struct sherd_cl_time *t = &c->times[i];
		bool parted = i + 1 < c->n_events && c->times[i + 1].share > 0;

		if (!t->share)
			seconds = event_seconds(c->events[i]);
		if (t->share || !parted)
			*n = add_time(*times, *n, t, t->share ? t->share * seconds : seconds);
	}
	forget_events(x);
	return 0;
}
