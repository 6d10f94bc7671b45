/* SPDX-License-Identifier: MIT */
/* cl_profile: event times of the executor's launches, summed by kernel and shape. */
#include <stdlib.h>
#include "infer/cl/cl_exec.h"

int sherd_cl_exec_profile(struct sherd_exec *e, bool on, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;

	if (e->ops != &sherd_clx_ops)
		return sherd_fail(err, -ENOTSUP, "the reference has no kernels to time");
	sherd_clx_unmap(x);
	x->c.profiling = on;
	return sherd_device_set_profiling(x->c.dev, on, err);
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
		rows[i].seconds = rows[i].bytes = rows[i].ops = 0;
		rows[i].calls = 0;
		n++;
	}
	rows[i].seconds += seconds;
	rows[i].bytes += t->bytes;
	rows[i].ops += t->ops;
	rows[i].calls++;
	return n;
}

static double event_seconds(cl_event e)
{
	cl_ulong from, to;

	if (clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_START, sizeof(from), &from, NULL) ||
	    clGetEventProfilingInfo(e, CL_PROFILING_COMMAND_END, sizeof(to), &to, NULL))
		return 0;
	return 1e-9 * (to - from);
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
		if (c->events[i])
			clReleaseEvent(c->events[i]);
	}
	c->n_events = 0;
	return 0;
}
