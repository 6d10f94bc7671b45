/* SPDX-License-Identifier: MIT */
/* error: OpenCL's error codes as names and as errnos. */
#include <stdio.h>
#include "device/device.h"

static const struct {
	cl_int code;
	const char *name;
} names[] = {
#define N(c) { c, #c }
	N(CL_DEVICE_NOT_FOUND), N(CL_DEVICE_NOT_AVAILABLE), N(CL_COMPILER_NOT_AVAILABLE),
	N(CL_MEM_OBJECT_ALLOCATION_FAILURE), N(CL_OUT_OF_RESOURCES), N(CL_OUT_OF_HOST_MEMORY),
	N(CL_PROFILING_INFO_NOT_AVAILABLE), N(CL_MEM_COPY_OVERLAP), N(CL_BUILD_PROGRAM_FAILURE),
	N(CL_MAP_FAILURE), N(CL_MISALIGNED_SUB_BUFFER_OFFSET),
	N(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST), N(CL_COMPILE_PROGRAM_FAILURE),
	N(CL_LINKER_NOT_AVAILABLE), N(CL_LINK_PROGRAM_FAILURE), N(CL_DEVICE_PARTITION_FAILED),
	N(CL_KERNEL_ARG_INFO_NOT_AVAILABLE), N(CL_INVALID_VALUE), N(CL_INVALID_DEVICE_TYPE),
	N(CL_INVALID_PLATFORM), N(CL_INVALID_DEVICE), N(CL_INVALID_CONTEXT),
	N(CL_INVALID_QUEUE_PROPERTIES), N(CL_INVALID_COMMAND_QUEUE), N(CL_INVALID_HOST_PTR),
	N(CL_INVALID_MEM_OBJECT), N(CL_INVALID_BINARY), N(CL_INVALID_BUILD_OPTIONS),
	N(CL_INVALID_PROGRAM), N(CL_INVALID_PROGRAM_EXECUTABLE), N(CL_INVALID_KERNEL_NAME),
	N(CL_INVALID_KERNEL_DEFINITION), N(CL_INVALID_KERNEL), N(CL_INVALID_ARG_INDEX),
	N(CL_INVALID_ARG_VALUE), N(CL_INVALID_ARG_SIZE), N(CL_INVALID_KERNEL_ARGS),
	N(CL_INVALID_WORK_DIMENSION), N(CL_INVALID_WORK_GROUP_SIZE), N(CL_INVALID_WORK_ITEM_SIZE),
	N(CL_INVALID_GLOBAL_OFFSET), N(CL_INVALID_EVENT_WAIT_LIST), N(CL_INVALID_EVENT),
	N(CL_INVALID_OPERATION), N(CL_INVALID_BUFFER_SIZE), N(CL_INVALID_GLOBAL_WORK_SIZE),
	N(CL_INVALID_PROPERTY), N(CL_INVALID_COMPILER_OPTIONS), N(CL_INVALID_LINKER_OPTIONS),
	N(CL_INVALID_DEVICE_PARTITION_COUNT),
#undef N
	{ -1001, "CL_PLATFORM_NOT_FOUND_KHR" },
};

const char *sherd_cl_error_name(cl_int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].code == code)
			return names[i].name;
	return "an unknown OpenCL error";
}

int sherd_cl_errno(cl_int code)
{
	switch (code) {
	case CL_SUCCESS:
		return 0;
	case CL_MEM_OBJECT_ALLOCATION_FAILURE:
	case CL_OUT_OF_HOST_MEMORY:
	case CL_INVALID_BUFFER_SIZE:
		return -ENOMEM;
	case CL_DEVICE_NOT_FOUND:
	case CL_DEVICE_NOT_AVAILABLE:
	case -1001:
		return -ENODEV;
	case CL_COMPILER_NOT_AVAILABLE:
	case CL_LINKER_NOT_AVAILABLE:
		return -EOPNOTSUPP;
	case CL_OUT_OF_RESOURCES:
		return -EIO;
	default:
		return code <= CL_INVALID_VALUE ? -EINVAL : -EIO;
	}
}

int sherd_fail_cl(struct sherd_error *err, cl_int code, const char *fmt, ...)
{
	char msg[384];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	return sherd_fail(err, sherd_cl_errno(code), "%s: %s (%d)", msg, sherd_cl_error_name(code),
			  code);
}
