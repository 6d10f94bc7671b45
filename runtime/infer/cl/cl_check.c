/* SPDX-License-Identifier: MIT */
/*
 * cl_check: looks again, while a model runs, whether the device gives the reference's bits. Devices
 * that passed their test have been seen to go wrong later - too hot, too little voltage, a driver
 * that lost its place - and a text does not show it. The kernels in use compute a small known vector;
 * after that they compute for the user 200 times as long as this took, so that it costs half a
 * percent at most, and runs of less than a second nothing until they end.
 *
 * It finds what stays wrong, in any kernel. It does not find a bit that was wrong once, nor weights
 * that something has written over.
 */
#include "infer/cl/cl_exec.h"
#include "infer/cl/cl_selftest.h"

#define SHARE	200 /* seconds of steps for a second of checks */
#define LEAST_S 1.0

int sherd_clx_check(struct sherd_exec *e, struct sherd_error *err)
{
	struct cl_exec *x = (struct cl_exec *)e;
	struct sherd_error why = { "" };
	double began = sherd_now();
	bool profiling = x->c.profiling;
	int rc;

	if (!strcmp(e->bit_profile, SHERD_UNTESTED))
		return 0;
	x->c.profiling = false;
	x->c.rc = 0;
	rc = sherd_cl_selftest_vector(&x->c, &why);
	x->c.profiling = profiling;
	x->check_s = sherd_now() - began;
	x->unchecked_s = 0;
	if (rc == -EBADE)
		return sherd_fail(err, rc,
				  "%s gives wrong numbers, which it did not before, and what it has "
				  "computed since is not to be trusted; is it too hot? (%s)",
				  x->c.dev->info.name, why.msg);
	/* without memory for it nothing was found out; the next look may have some */
	return rc && rc != -ENOMEM ? sherd_fail(err, rc, "%s", why.msg) : 0;
}

int sherd_clx_check_sometimes(struct cl_exec *x, double step_s, struct sherd_error *err)
{
	x->unchecked_s += step_s;
	if (x->unchecked_s < LEAST_S || x->unchecked_s < SHARE * x->check_s)
		return 0;
	return sherd_clx_check(&x->exec, err);
}
