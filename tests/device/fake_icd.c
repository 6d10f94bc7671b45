/* SPDX-License-Identifier: MIT */
/*
 * fake_icd: an OpenCL driver that misbehaves when it is told to. It is loaded as vendors' drivers
 * are - an .icd file names it, the loader asks it for its platform - and has PoCL compute. What it
 * shows is a platform and a device of its own; contexts, queues, programs and kernels are PoCL's,
 * with another table of functions, so that every call comes by here.
 *
 * It is no judge: whether extensions are used by their rules is what tests/region/fake_cl.c, which
 * stands before the loader, looks at.
 *
 * SHERD_FAKE_ICD is a list of rules "ACTION:WHERE[@N][=VALUE]", separated by blanks, each in effect
 * from the Nth time on (from the first):
 *
 *	crash:CALL abort:CALL hang:CALL  an OpenCL call, or KERNEL: the launch of such a kernel, or
 *	                      KERNEL/N: with work-groups whose first size is N
 *	error:CALL=CODE       it fails with that
 *	lose:KERNEL           the device is lost: from then on nothing works
 *	flip:KERNEL=ARG       a bit of that argument's buffer is wrong after the launch
 *	says:EXTENSION        it announces this
 *	info:LIE              units0 alloc0 unterminated huge empty control type_cpu
 *	log:LIE               fail: programs do not build; endless: nor does the log end
 *	binary:LIE            empty garbage: what kept binaries are
 *	platform:LIE          none zero null
 *	in:COMMAND            all this in `sherd COMMAND` alone; not:COMMAND: in all others
 *
 * SHERD_FAKE_ICD_SOURCE is OpenCL C that stands before every program.
 */
#undef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Functions of a driver have these names, and only the table shows them. */
#define HOOK static CL_API_ENTRY

struct _cl_platform_id {
	cl_icd_dispatch *dispatch;
};

/* What stands for a device of PoCL's; a part of one has its own. */
struct _cl_device_id {
	cl_icd_dispatch *dispatch;
	cl_device_id real;
	bool is_part;
};

static cl_icd_dispatch table, pocl;
static cl_platform_id pocl_platform;
static struct _cl_platform_id platform = { &table };
static struct _cl_device_id device = { &table, NULL, false };

/* ------------------------------------------------------------------- rules */

#define MAX_RULES 16

static struct rule {
	char action[16], where[96];
	long from, value, seen;
} rules[MAX_RULES];
static int n_rules;
static bool lost;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

/* The second word of this process's command line. */
static void command_name(char *name, size_t size)
{
	char line[4096] = "";
	FILE *f = fopen("/proc/self/cmdline", "r");
	size_t n = f ? fread(line, 1, sizeof(line) - 2, f) : 0, first = strlen(line);

	snprintf(name, size, "%s", first < n ? line + first + 1 : "");
	if (f)
		fclose(f);
}

static bool is_meant(const char *word)
{
	char name[64];

	command_name(name, sizeof(name));
	if (!strncmp(word, "in:", 3))
		return !strcmp(word + 3, name);
	return strncmp(word, "not:", 4) || strcmp(word + 4, name);
}

static void add_rule(const char *word)
{
	struct rule *r = &rules[n_rules];
	const char *at = strchr(word, '@'), *value = strchr(word, '=');

	if (n_rules == MAX_RULES ||
	    sscanf(word, "%15[^:]:%95[^@=]", r->action, r->where) != 2) {
		fprintf(stderr, "fake_icd: no rule: %s\n", word);
		abort();
	}
	r->from = at ? atol(at + 1) : 1;
	r->value = value ? atol(value + 1) : 0;
	n_rules++;
}

__attribute__((constructor)) static void read_rules(void)
{
	char *all = strdup(getenv("SHERD_FAKE_ICD") ?: ""), *save = NULL, *w;
	bool meant = true;

	for (w = strtok_r(all, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
		if (!strncmp(w, "in:", 3) || !strncmp(w, "not:", 4))
			meant &= is_meant(w);
		else
			add_rule(w);
	}
	if (!meant)
		n_rules = 0;
	free(all);
}

/* The rule of this action there, if it is in effect; counts. */
static const struct rule *rule_for(const char *action, const char *where)
{
	const struct rule *found = NULL;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < n_rules; i++)
		if (!strcmp(rules[i].action, action) && !strcmp(rules[i].where, where) &&
		    ++rules[i].seen >= rules[i].from)
			found = &rules[i];
	pthread_mutex_unlock(&lock);
	return found;
}

static bool told(const char *action, const char *where)
{
	return rule_for(action, where) != NULL;
}

static volatile int *nowhere; /* NULL */

/* What happens at a call: it may not return; else the error that it is to fail with, or 0. */
static cl_int at(const char *where)
{
	const struct rule *r;

	if (told("crash", where))
		*nowhere = 1;
	if (told("abort", where))
		abort();
	while (told("hang", where))
		pause();
	r = rule_for("error", where);
	return r ? (cl_int)r->value : CL_SUCCESS;
}

/* ------------------------------------------------------- platform, device */

static cl_int give(const void *value, size_t n, size_t size, void *to, size_t *size_ret)
{
	if (size_ret)
		*size_ret = n;
	if (!to)
		return CL_SUCCESS;
	if (size < n)
		return CL_INVALID_VALUE;
	memcpy(to, value, n);
	return CL_SUCCESS;
}

static cl_int give_text(const char *text, size_t size, void *to, size_t *size_ret)
{
	return give(text, strlen(text) + 1, size, to, size_ret);
}

HOOK cl_int CL_API_CALL get_platform_info(cl_platform_id p, cl_platform_info what, size_t size,
					  void *to, size_t *size_ret)
{
	cl_int code = at("clGetPlatformInfo");

	(void)p;
	if (code)
		return code;
	if (what == CL_PLATFORM_NAME)
		return give_text("Fake Platform", size, to, size_ret);
	if (what == CL_PLATFORM_VENDOR)
		return give_text("Fake", size, to, size_ret);
	if (what == CL_PLATFORM_ICD_SUFFIX_KHR)
		return give_text("FAKE", size, to, size_ret);
	return pocl.clGetPlatformInfo(pocl_platform, what, size, to, size_ret);
}

HOOK cl_int CL_API_CALL get_device_ids(cl_platform_id p, cl_device_type type, cl_uint n,
				       cl_device_id *ids, cl_uint *count)
{
	cl_int code = at("clGetDeviceIDs");

	(void)p, (void)type;
	if (!code && !device.real)
		code = pocl.clGetDeviceIDs(pocl_platform, CL_DEVICE_TYPE_ALL, 1, &device.real, NULL);
	if (code)
		return code;
	if (count)
		*count = told("platform", "zero") ? 0 : 1;
	if (ids && n)
		ids[0] = &device;
	return CL_SUCCESS;
}

/* A driver's bad days: sizes and strings that nobody should believe. */
static bool lies(cl_device_info what, size_t size, void *to, size_t *size_ret, cl_int *code)
{
	const cl_ulong nothing = 0;
	bool text = what == CL_DEVICE_NAME || what == CL_DEVICE_VENDOR ||
		    what == CL_DRIVER_VERSION || what == CL_DEVICE_EXTENSIONS;

	*code = CL_SUCCESS;
	if (what == CL_DEVICE_MAX_COMPUTE_UNITS && told("info", "units0"))
		*code = give(&nothing, sizeof(cl_uint), size, to, size_ret);
	else if ((what == CL_DEVICE_MAX_MEM_ALLOC_SIZE || what == CL_DEVICE_GLOBAL_MEM_SIZE) &&
		 told("info", "alloc0"))
		*code = give(&nothing, sizeof(cl_ulong), size, to, size_ret);
	else if (what == CL_DEVICE_MAX_WORK_GROUP_SIZE && told("info", "units0"))
		*code = give(&nothing, sizeof(size_t), size, to, size_ret);
	else if (text && told("info", "unterminated")) {
		if (to)
			memset(to, 'X', size);
		if (size_ret)
			*size_ret = to ? size : 300;
	} else if (text && told("info", "huge")) {
		if (size_ret)
			*size_ret = (size_t)1 << 40;
		*code = to ? CL_INVALID_VALUE : CL_SUCCESS;
	} else if (text && told("info", "empty"))
		*code = give("", 0, size, to, size_ret);
	else if (what == CL_DEVICE_NAME && told("info", "control"))
		*code = give_text("\033[31mred\nsherd: all is well\r\x7f", size, to, size_ret);
	else
		return false;
	return true;
}

static cl_int give_extensions(cl_device_id d, size_t size, void *to, size_t *size_ret)
{
	char all[8192] = "";
	cl_int code = pocl.clGetDeviceInfo(d->real, CL_DEVICE_EXTENSIONS, 4096, all, NULL);

	for (int i = 0; i < n_rules && !code; i++)
		if (!strcmp(rules[i].action, "says")) {
			strcat(all, " ");
			strcat(all, rules[i].where);
		}
	return code ? code : give_text(all, size, to, size_ret);
}

HOOK cl_int CL_API_CALL get_device_info(cl_device_id d, cl_device_info what, size_t size, void *to,
					size_t *size_ret)
{
	const cl_device_type gpu = CL_DEVICE_TYPE_GPU;
	const cl_platform_id mine = &platform;
	cl_int code = at("clGetDeviceInfo");

	if (code || lies(what, size, to, size_ret, &code))
		return code;
	if (what == CL_DEVICE_TYPE && !told("info", "type_cpu"))
		return give(&gpu, sizeof(gpu), size, to, size_ret);
	if (what == CL_DEVICE_NAME)
		return give_text("Fake GPU", size, to, size_ret);
	if (what == CL_DEVICE_PLATFORM)
		return give(&mine, sizeof(mine), size, to, size_ret);
	if (what == CL_DEVICE_EXTENSIONS)
		return give_extensions(d, size, to, size_ret);
	return pocl.clGetDeviceInfo(d->real, what, size, to, size_ret);
}

HOOK cl_int CL_API_CALL create_sub_devices(cl_device_id d, const cl_device_partition_property *props,
					   cl_uint n, cl_device_id *out, cl_uint *count)
{
	cl_device_id real[8];
	cl_int code = at("clCreateSubDevices");

	if (!code)
		code = pocl.clCreateSubDevices(d->real, props, n < 8 ? n : 8, real, count);
	for (cl_uint i = 0; !code && i < n && i < 8; i++) {
		out[i] = malloc(sizeof(*out[i]));
		*out[i] = (struct _cl_device_id){ &table, real[i], true };
	}
	return code;
}

HOOK cl_int CL_API_CALL release_device(cl_device_id d)
{
	if (d->is_part) {
		pocl.clReleaseDevice(d->real);
		free(d);
	}
	return CL_SUCCESS;
}

/* ------------------------------------- what PoCL makes gets another table */

#define MINE(object)                                           \
	do {                                                   \
		if (object)                                    \
			*(cl_icd_dispatch **)(object) = &table; \
	} while (0)

#define FAIL(code_ret, error)               \
	do {                                \
		if (code_ret)               \
			*(code_ret) = error; \
		return NULL;                \
	} while (0)

HOOK cl_context CL_API_CALL create_context(const cl_context_properties *props, cl_uint n,
					   const cl_device_id *ids,
					   void(CL_CALLBACK *notify)(const char *, const void *,
								     size_t, void *),
					   void *data, cl_int *code_ret)
{
	cl_context_properties real_props[] = { CL_CONTEXT_PLATFORM,
					       (cl_context_properties)pocl_platform, 0 };
	cl_int code = at("clCreateContext");
	cl_device_id real = ids[0]->real;
	cl_context c;

	(void)props, (void)n;
	if (code)
		FAIL(code_ret, code);
	c = pocl.clCreateContext(real_props, 1, &real, notify, data, code_ret);
	MINE(c);
	return c;
}

HOOK cl_command_queue CL_API_CALL create_queue(cl_context c, cl_device_id d,
					       cl_command_queue_properties props, cl_int *code_ret)
{
	cl_int code = at("clCreateCommandQueue");
	cl_command_queue q;

	if (code)
		FAIL(code_ret, code);
	q = pocl.clCreateCommandQueue(c, d->real, props, code_ret);
	MINE(q);
	return q;
}

HOOK cl_mem CL_API_CALL create_buffer(cl_context c, cl_mem_flags flags, size_t size, void *host,
				      cl_int *code_ret)
{
	cl_int code = at("clCreateBuffer");

	if (code)
		FAIL(code_ret, code);
	return pocl.clCreateBuffer(c, flags, size, host, code_ret);
}

/* ---------------------------------------------------------------- programs */

HOOK cl_program CL_API_CALL create_with_source(cl_context c, cl_uint n, const char **text,
					       const size_t *sizes, cl_int *code_ret)
{
	const char *before = getenv("SHERD_FAKE_ICD_SOURCE");
	cl_int code = at("clCreateProgramWithSource");
	char *both = NULL;
	cl_program p;

	if (code)
		FAIL(code_ret, code);
	if (before && n == 1 && n_rules && asprintf(&both, "%s\n%s", before, text[0]) > 0) {
		const char *one = both;

		p = pocl.clCreateProgramWithSource(c, 1, &one, NULL, code_ret);
	} else {
		p = pocl.clCreateProgramWithSource(c, n, text, sizes, code_ret);
	}
	free(both);
	MINE(p);
	return p;
}

HOOK cl_program CL_API_CALL create_with_binary(cl_context c, cl_uint n, const cl_device_id *ids,
					       const size_t *sizes, const unsigned char **bytes,
					       cl_int *status, cl_int *code_ret)
{
	cl_int code = at("clCreateProgramWithBinary");
	cl_device_id real = ids[0]->real;
	cl_program p;

	(void)n;
	if (code)
		FAIL(code_ret, code);
	p = pocl.clCreateProgramWithBinary(c, 1, &real, sizes, bytes, status, code_ret);
	MINE(p);
	return p;
}

HOOK cl_int CL_API_CALL build_program(cl_program p, cl_uint n, const cl_device_id *ids,
				      const char *options,
				      void(CL_CALLBACK *notify)(cl_program, void *), void *data)
{
	cl_int code = at("clBuildProgram");
	cl_device_id real = n ? ids[0]->real : NULL;

	if (told("log", "fail") || told("log", "endless"))
		code = CL_BUILD_PROGRAM_FAILURE;
	return code ? code : pocl.clBuildProgram(p, n, n ? &real : NULL, options, notify, data);
}

HOOK cl_int CL_API_CALL get_build_info(cl_program p, cl_device_id d, cl_program_build_info what,
				       size_t size, void *to, size_t *size_ret)
{
	if (what == CL_PROGRAM_BUILD_LOG && told("log", "fail"))
		return give_text("\n  error: the shader core is on strike\nmore\n", size, to,
				 size_ret);
	if (what == CL_PROGRAM_BUILD_LOG && told("log", "endless")) {
		if (size_ret)
			*size_ret = to ? size : (size_t)8 << 20;
		if (to)
			memset(to, 'e', size);
		return CL_SUCCESS;
	}
	return pocl.clGetProgramBuildInfo(p, d->real, what, size, to, size_ret);
}

HOOK cl_int CL_API_CALL get_program_info(cl_program p, cl_program_info what, size_t size, void *to,
					 size_t *size_ret)
{
	const size_t none = 0;
	cl_int code = at("clGetProgramInfo");

	if (code)
		return code;
	if (what == CL_PROGRAM_BINARY_SIZES && told("binary", "empty"))
		return give(&none, sizeof(none), size, to, size_ret);
	code = pocl.clGetProgramInfo(p, what, size, to, size_ret);
	if (what == CL_PROGRAM_BINARIES && to && !code && told("binary", "garbage"))
		memset(*(unsigned char **)to, 0x5a, 64);
	return code;
}

HOOK cl_kernel CL_API_CALL create_kernel(cl_program p, const char *name, cl_int *code_ret)
{
	cl_int code = at("clCreateKernel");
	cl_kernel k;

	if (code)
		FAIL(code_ret, code);
	k = pocl.clCreateKernel(p, name, code_ret);
	MINE(k);
	return k;
}

/* ---------------------------------------------------------------- launches */

#define MAX_ARGUMENTS 4096

static struct argument {
	cl_kernel kernel;
	cl_uint index;
	cl_mem value; /* it may be anything of that size */
} arguments[MAX_ARGUMENTS];
static int n_arguments;

static struct argument *argument(cl_kernel k, cl_uint index)
{
	int i = 0;

	while (i < n_arguments && (arguments[i].kernel != k || arguments[i].index != index))
		i++;
	if (i == MAX_ARGUMENTS)
		abort();
	n_arguments += i == n_arguments;
	arguments[i].kernel = k;
	arguments[i].index = index;
	return &arguments[i];
}

HOOK cl_int CL_API_CALL set_kernel_arg(cl_kernel k, cl_uint index, size_t size, const void *value)
{
	cl_int code = at("clSetKernelArg");

	if (code)
		return code;
	if (size == sizeof(cl_mem) && value) {
		pthread_mutex_lock(&lock);
		memcpy(&argument(k, index)->value, value, size);
		pthread_mutex_unlock(&lock);
	}
	return pocl.clSetKernelArg(k, index, size, value);
}

/* The bit is in the mantissa of a float, and no small one. */
static void flip(cl_command_queue q, cl_kernel k, const struct rule *r)
{
	cl_mem mem;
	cl_uint *word;

	pthread_mutex_lock(&lock);
	mem = argument(k, (cl_uint)r->value)->value;
	pthread_mutex_unlock(&lock);
	pocl.clFinish(q);
	word = pocl.clEnqueueMapBuffer(q, mem, CL_TRUE, CL_MAP_READ | CL_MAP_WRITE, 0, 4, 0, NULL,
				       NULL, NULL);
	if (!word)
		return;
	*word ^= 1u << 21;
	pocl.clEnqueueUnmapMemObject(q, mem, word, 0, NULL, NULL);
}

HOOK cl_int CL_API_CALL enqueue_kernel(cl_command_queue q, cl_kernel k, cl_uint dims,
				       const size_t *offset, const size_t *global,
				       const size_t *local, cl_uint n, const cl_event *events,
				       cl_event *event)
{
	cl_int code = at("clEnqueueNDRangeKernel");
	char name[96] = "", sized[128];
	const struct rule *r;

	pocl.clGetKernelInfo(k, CL_KERNEL_FUNCTION_NAME, sizeof(name) - 1, name, NULL);
	snprintf(sized, sizeof(sized), "%s/%zu", name, local ? local[0] : 0);
	if (!code)
		code = at(name);
	if (!code)
		code = at(sized);
	if (told("lose", name))
		lost = true;
	if (lost)
		return CL_DEVICE_NOT_AVAILABLE;
	if (!code)
		code = pocl.clEnqueueNDRangeKernel(q, k, dims, offset, global, local, n, events,
						   event);
	r = code ? NULL : rule_for("flip", name);
	if (!code && !r)
		r = rule_for("flip", sized);
	if (r)
		flip(q, k, r);
	return code;
}

HOOK cl_int CL_API_CALL enqueue_read(cl_command_queue q, cl_mem m, cl_bool wait, size_t from,
				     size_t size, void *to, cl_uint n, const cl_event *events,
				     cl_event *event)
{
	cl_int code = at("clEnqueueReadBuffer");

	if (lost)
		return CL_OUT_OF_RESOURCES;
	return code ? code :
		      pocl.clEnqueueReadBuffer(q, m, wait, from, size, to, n, events, event);
}

HOOK cl_int CL_API_CALL enqueue_write(cl_command_queue q, cl_mem m, cl_bool wait, size_t to,
				      size_t size, const void *from, cl_uint n,
				      const cl_event *events, cl_event *event)
{
	cl_int code = at("clEnqueueWriteBuffer");

	if (lost)
		return CL_OUT_OF_RESOURCES;
	return code ? code :
		      pocl.clEnqueueWriteBuffer(q, m, wait, to, size, from, n, events, event);
}

HOOK void *CL_API_CALL enqueue_map(cl_command_queue q, cl_mem m, cl_bool wait, cl_map_flags flags,
				   size_t from, size_t size, cl_uint n, const cl_event *events,
				   cl_event *event, cl_int *code_ret)
{
	cl_int code = at("clEnqueueMapBuffer");

	if (code || lost)
		FAIL(code_ret, lost ? CL_OUT_OF_RESOURCES : code);
	return pocl.clEnqueueMapBuffer(q, m, wait, flags, from, size, n, events, event, code_ret);
}

HOOK cl_int CL_API_CALL finish(cl_command_queue q)
{
	cl_int code = at("clFinish"), real = pocl.clFinish(q);

	return lost ? CL_OUT_OF_RESOURCES : code ? code : real;
}

/* ------------------------------------------------------------------ the way in */

typedef cl_int(CL_API_CALL *get_platforms_fn)(cl_uint, cl_platform_id *, cl_uint *);

static void make_table(void)
{
	table = pocl;
	table.clGetPlatformInfo = get_platform_info;
	table.clGetDeviceIDs = get_device_ids;
	table.clGetDeviceInfo = get_device_info;
	table.clCreateSubDevices = create_sub_devices;
	table.clReleaseDevice = release_device;
	table.clCreateContext = create_context;
	table.clCreateCommandQueue = create_queue;
	table.clCreateBuffer = create_buffer;
	table.clCreateProgramWithSource = create_with_source;
	table.clCreateProgramWithBinary = create_with_binary;
	table.clBuildProgram = build_program;
	table.clGetProgramBuildInfo = get_build_info;
	table.clGetProgramInfo = get_program_info;
	table.clCreateKernel = create_kernel;
	table.clSetKernelArg = set_kernel_arg;
	table.clEnqueueNDRangeKernel = enqueue_kernel;
	table.clEnqueueReadBuffer = enqueue_read;
	table.clEnqueueWriteBuffer = enqueue_write;
	table.clEnqueueMapBuffer = enqueue_map;
	table.clFinish = finish;
}

static bool find_pocl(void)
{
	static const char *const names[] = { "libpocl.so.2", "libpocl.so" };
	void *(*address)(const char *) = NULL;
	get_platforms_fn get_platforms = NULL;
	void *lib = NULL;

	for (size_t i = 0; i < 2 && !lib; i++)
		lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (lib)
		address = (void *(*)(const char *))dlsym(lib, "clGetExtensionFunctionAddress");
	if (address)
		get_platforms = (get_platforms_fn)address("clIcdGetPlatformIDsKHR");
	if (!get_platforms || get_platforms(1, &pocl_platform, NULL))
		return false;
	pocl = **(cl_icd_dispatch **)pocl_platform;
	make_table();
	return true;
}

CL_API_ENTRY cl_int CL_API_CALL clIcdGetPlatformIDsKHR(cl_uint n, cl_platform_id *to,
						       cl_uint *count)
{
	static bool tried, found;
	cl_int code = at("clGetPlatformIDs");

	if (!tried)
		found = find_pocl();
	tried = true;
	if (code || !found || told("platform", "none"))
		return code ? code : CL_PLATFORM_NOT_FOUND_KHR;
	if (count)
		*count = 1;
	if (to && n)
		to[0] = told("platform", "null") ? NULL : &platform;
	return CL_SUCCESS;
}

/* Loaders ask a platform's name before they take it. */
CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddress(const char *name)
{
	return !strcmp(name, "clIcdGetPlatformIDsKHR") ? (void *)clIcdGetPlatformIDsKHR :
	       !strcmp(name, "clGetPlatformInfo")      ? (void *)get_platform_info :
							 NULL;
}
