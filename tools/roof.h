/* SPDX-License-Identifier: MIT */
/*
 * roof: what the machine can do at best, measured by a child process on the spot, since machines
 * change by the minute; so its buffers and its compiler are not in this process's memory.
 */
#ifndef SHERD_TOOL_ROOF_H
#define SHERD_TOOL_ROOF_H

#include "device/limits.h"

/*
 * The limits of the device that @p names. What can't be measured is left out, with a sentence, and
 * false returned: what is held against it is worth having without it. @dot_path: the name of dot4.h's
 * path; *empty_pss (may be NULL): memory of an OpenCL process that does nothing, or 0.
 */
bool roof_measure(const struct sherd_model_params *p, struct sherd_limits *l, char *dot_path,
		  size_t size, uint64_t *empty_pss);

#endif
