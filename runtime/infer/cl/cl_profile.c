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
static int add_time(struct sherd_cl_time *rows, int n, const struct sherd_cl_time *t, double seconds)
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

int sherd_cl_exec_times(struct sherd_exec *e, struct sherd_cl_time **times, int *n)
{
	struct cl_exec *x = (struct cl_exec *)e;
	struct sherd_cl *c = &x->c;
	cl_ulong from, to;
	int i;

	*n = 0;
	*times = NULL;
	if (e->ops != &sherd_clx_ops)
		return -ENOTSUP;
	*times = sherd_calloc(c->n_events + 1, sizeof(**times));
	if (!*times)
		return -ENOMEM;
	for (i = 0; i < c->n_events; i++) {
		if (!clGetEventProfilingInfo(c->events[i], CL_PROFILING_COMMAND_START, sizeof(from), &from,
					     NULL) &&
		    !clGetEventProfilingInfo(c->events[i], CL_PROFILING_COMMAND_END, sizeof(to), &to,
					     NULL))
			*n = add_time(*times, *n, &c->times[i], 1e-9 * (to - from));
		clReleaseEvent(c->events[i]);
	}
	c->n_events = 0;
	return 0;
}
