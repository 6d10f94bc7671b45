/* SPDX-License-Identifier: MIT */
/* exec_cl: the OpenCL executor of the step list. */
#include "infer/exec.h"

int sherd_exec_cl_open(struct sherd_exec **e, const struct sherd_exec_params *p,
		       struct sherd_error *err)
{
	(void)e;
	(void)p;
	return sherd_fail(err, -ENOSYS, "the OpenCL executor is not there yet");
}
