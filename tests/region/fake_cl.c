/* SPDX-License-Identifier: MIT */
/* fake_cl: see fake_cl.h. */
#undef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include "fake_cl.h"

struct fake_cl fake_cl = { .refuse_after = -1 };
void *(*fake_cl_map)(int fd, size_t size, int prot);

/* An import: what to unmap when its buffer is gone. */
struct imported {
	void *data;
	size_t size;
	cl_mem mem;
	int fd; /* the driver's; -1: none */
	bool khr, acquired;
	struct imported *next;
};

static struct imported *imports;

/* Parts of imports, and arguments of kernels that are imports or parts of such. */
static struct sub_buffer {
	cl_mem mem, whole;
	struct sub_buffer *next;
} *sub_buffers;
static struct argument {
	cl_kernel kernel;
	cl_uint index;
	cl_mem mem;
} *arguments;
static int n_arguments;

#define REAL(name) ((__typeof__(&name))real(#name))

static void *real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f) {
		fprintf(stderr, "fake_cl: no %s to stand before\n", name);
		abort();
	}
	return f;
}

static void broken(const char *rule)
{
	fprintf(stderr, "fake_cl: broken: %s\n", rule);
	fake_cl.wrong++;
}

void fake_cl_reset(unsigned announce)
{
	fake_cl = (struct fake_cl){ .announce = announce, .refuse_after = -1 };
}

__attribute__((constructor)) static void from_environment(void)
{
	const char *wish = getenv("SHERD_FAKE_CL");

	if (!wish)
		return;
	fake_cl.announce |= strstr(wish, "khr") ? FAKE_KHR : 0;
	fake_cl.announce |= strstr(wish, "arm-dma-buf") ? FAKE_ARM_DMA_BUF : 0;
	fake_cl.announce |= strstr(wish, "arm-host") ? FAKE_ARM_HOST : 0;
}

/* ------------------------------------------------------------- what it says */

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

static cl_int give_extensions(cl_device_id id, size_t size, void *to, size_t *size_ret)
{
	char all[8192] = "";
	cl_int code = REAL(clGetDeviceInfo)(id, CL_DEVICE_EXTENSIONS, 4096, all, NULL);

	if (code)
		return code;
	if (fake_cl.announce & FAKE_KHR)
		strcat(all, " cl_khr_external_memory cl_khr_external_memory_dma_buf");
	if (fake_cl.announce & (FAKE_ARM_DMA_BUF | FAKE_ARM_HOST))
		strcat(all, " cl_arm_import_memory");
	if (fake_cl.announce & FAKE_ARM_DMA_BUF)
		strcat(all, " cl_arm_import_memory_dma_buf");
	if (fake_cl.announce & FAKE_ARM_HOST)
		strcat(all, " cl_arm_import_memory_host");
	return give(all, strlen(all) + 1, size, to, size_ret);
}

CL_API_ENTRY cl_int CL_API_CALL clGetDeviceInfo(cl_device_id id, cl_device_info what, size_t size,
						void *to, size_t *size_ret)
{
	const cl_device_type gpu = CL_DEVICE_TYPE_GPU;

	if (what == CL_DEVICE_TYPE && !fake_cl.cpu)
		return give(&gpu, sizeof(gpu), size, to, size_ret);
	if (what == CL_DEVICE_NAME)
		return give("Fake GPU", sizeof("Fake GPU"), size, to, size_ret);
	if (what == CL_DEVICE_EXTENSIONS)
		return give_extensions(id, size, to, size_ret);
	return REAL(clGetDeviceInfo)(id, what, size, to, size_ret);
}

/* ------------------------------------------------------------------ imports */

static void CL_CALLBACK forget(cl_mem mem, void *data)
{
	struct imported **at = &imports, *gone;

	(void)mem;
	while (*at && *at != data)
		at = &(*at)->next;
	gone = *at;
	if (!gone)
		return broken("a buffer is released once");
	*at = gone->next;
	if (gone->acquired)
		broken("what was acquired is released before it goes");
	if (gone->size)
		munmap(gone->data, gone->size);
	if (gone->fd >= 0 && close(gone->fd))
		broken("a descriptor that was taken over is nobody else's to close");
	free(gone);
	__atomic_sub_fetch(&fake_cl.live, 1, __ATOMIC_RELEASE);
}

static bool refuses(void)
{
	return fake_cl.refuse_after >= 0 && fake_cl.imports >= fake_cl.refuse_after;
}

static struct imported *keep(cl_context context, cl_mem_flags flags, void *data, size_t size,
			     bool ours, cl_int *code)
{
	struct imported *i = calloc(1, sizeof(*i));

	i->mem = REAL(clCreateBuffer)(context, flags | CL_MEM_USE_HOST_PTR, size, data, code);
	if (*code) {
		free(i);
		return NULL;
	}
	i->data = data;
	i->size = ours ? size : 0;
	i->fd = -1;
	i->next = imports;
	imports = i;
	clSetMemObjectDestructorCallback(i->mem, forget, i);
	fake_cl.imports++;
	__atomic_add_fetch(&fake_cl.live, 1, __ATOMIC_RELEASE);
	return i;
}

static struct imported *import_fd(cl_context context, cl_mem_flags flags, int fd, size_t size,
				  cl_int *code)
{
	void *data;
	int prot;

	*code = CL_OUT_OF_RESOURCES;
	if (refuses())
		return NULL;
	prot = flags & CL_MEM_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
	data = fake_cl.wrong_bytes ? mmap(NULL, size, prot, MAP_SHARED | MAP_ANONYMOUS, -1, 0) :
	       fake_cl_map	   ? fake_cl_map(fd, size, prot) :
				     mmap(NULL, size, prot, MAP_SHARED, fd, 0);
	*code = CL_INVALID_VALUE;
	return data == MAP_FAILED ? NULL : keep(context, flags, data, size, true, code);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateBufferWithProperties(cl_context context,
							     const cl_mem_properties *props,
							     cl_mem_flags flags, size_t size,
							     void *host, cl_int *code)
{
	struct imported *i;

	if (!(fake_cl.announce & FAKE_KHR) || host || !props || props[2] ||
	    props[0] != CL_EXTERNAL_MEMORY_HANDLE_DMA_BUF_KHR) {
		broken("a dma-buf is imported by its property, if that is announced");
		*code = CL_INVALID_PROPERTY;
		return NULL;
	}
	i = import_fd(context, flags, (int)props[1], size, code);
	if (!i)
		return NULL;
	i->khr = true;
	i->fd = (int)props[1];
	return i->mem;
}

static cl_mem CL_API_CALL import_arm(cl_context context, cl_mem_flags flags,
				     const cl_import_properties_arm *props, void *memory,
				     size_t size, cl_int *code)
{
	struct imported *i;

	if (props[0] != CL_IMPORT_TYPE_ARM || props[2])
		broken("an import has a type");
	if (props[1] == CL_IMPORT_TYPE_DMA_BUF_ARM && fake_cl.announce & FAKE_ARM_DMA_BUF) {
		i = import_fd(context, flags, *(int *)memory, size, code);
		return i ? i->mem : NULL;
	}
	if (props[1] != CL_IMPORT_TYPE_HOST_ARM || !(fake_cl.announce & FAKE_ARM_HOST))
		broken("an import is of a type that is announced");
	if ((size_t)memory % (size_t)sysconf(_SC_PAGESIZE) || size % (size_t)sysconf(_SC_PAGESIZE))
		broken("memory of the host is whole pages");
	*code = CL_INVALID_VALUE;
	if (refuses())
		return NULL;
	fake_cl.host_imports++;
	i = keep(context, flags, memory, size, false, code);
	return i ? i->mem : NULL;
}

static void set_acquired(cl_uint n, const cl_mem *mems, bool acquired)
{
	struct imported *i;

	for (cl_uint k = 0; k < n; k++) {
		for (i = imports; i && i->mem != mems[k]; i = i->next)
			;
		if (!i || i->acquired == acquired)
			broken("an import is acquired, then released");
		else
			i->acquired = acquired;
		fake_cl.acquired += acquired ? 1 : -1;
	}
}

static cl_int mark(cl_command_queue q, cl_event *event)
{
	return event ? clEnqueueMarkerWithWaitList(q, 0, NULL, event) : CL_SUCCESS;
}

static cl_int CL_API_CALL acquire(cl_command_queue q, cl_uint n, const cl_mem *mems,
				  cl_uint n_events, const cl_event *events, cl_event *event)
{
	(void)n_events, (void)events;
	set_acquired(n, mems, true);
	return mark(q, event);
}

static cl_int CL_API_CALL release(cl_command_queue q, cl_uint n, const cl_mem *mems,
				  cl_uint n_events, const cl_event *events, cl_event *event)
{
	(void)n_events, (void)events;
	if (fake_cl.release_error)
		return fake_cl.release_error;
	set_acquired(n, mems, false);
	return mark(q, event);
}

CL_API_ENTRY void *CL_API_CALL clGetExtensionFunctionAddressForPlatform(cl_platform_id platform,
									const char *name)
{
	if (!strcmp(name, "clImportMemoryARM") &&
	    fake_cl.announce & (FAKE_ARM_DMA_BUF | FAKE_ARM_HOST))
		return (void *)import_arm;
	if (!strcmp(name, "clEnqueueAcquireExternalMemObjectsKHR") && fake_cl.announce & FAKE_KHR)
		return (void *)acquire;
	if (!strcmp(name, "clEnqueueReleaseExternalMemObjectsKHR") && fake_cl.announce & FAKE_KHR)
		return (void *)release;
	return REAL(clGetExtensionFunctionAddressForPlatform)(platform, name);
}

/* ------------------------------------------------------------- its buffers */

CL_API_ENTRY cl_mem CL_API_CALL clCreateBuffer(cl_context context, cl_mem_flags flags, size_t size,
					       void *host, cl_int *code)
{
	if (flags & CL_MEM_USE_HOST_PTR && !fake_cl.cpu)
		broken("a GPU's buffers are not the host's memory");
	if (flags & CL_MEM_COPY_HOST_PTR) {
		if (fake_cl.no_copies) {
			*code = CL_MEM_OBJECT_ALLOCATION_FAILURE;
			return NULL;
		}
		fake_cl.copies++;
		fake_cl.copied += size;
	}
	return REAL(clCreateBuffer)(context, flags, size, host, code);
}

/* The import that a buffer is, or is a part of. */
static const struct imported *find(cl_mem mem)
{
	const struct imported *i;
	cl_mem whole = NULL;

	clGetMemObjectInfo(mem, CL_MEM_ASSOCIATED_MEMOBJECT, sizeof(whole), &whole, NULL);
	mem = whole ? whole : mem;
	for (i = imports; i && i->mem != mem; i = i->next)
		;
	return i;
}

static void CL_CALLBACK forget_sub_buffer(cl_mem mem, void *data)
{
	struct sub_buffer **at = &sub_buffers;

	(void)mem;
	while (*at && *at != data)
		at = &(*at)->next;
	if (*at)
		*at = (*at)->next;
	free(data);
}

CL_API_ENTRY cl_mem CL_API_CALL clCreateSubBuffer(cl_mem mem, cl_mem_flags flags,
						  cl_buffer_create_type type, const void *info,
						  cl_int *code)
{
	struct sub_buffer *s;
	cl_mem sub;

	if (fake_cl.no_sub_buffers && find(mem)) {
		*code = CL_INVALID_OPERATION;
		return NULL;
	}
	sub = REAL(clCreateSubBuffer)(mem, flags, type, info, code);
	if (*code || !find(mem))
		return sub;
	s = calloc(1, sizeof(*s));
	*s = (struct sub_buffer){ .mem = sub, .whole = mem, .next = sub_buffers };
	sub_buffers = s;
	clSetMemObjectDestructorCallback(sub, forget_sub_buffer, s);
	return sub;
}

/* The import that a value is, or is a part of: it may be anything, and is not looked into. */
static cl_mem import_of(cl_mem value)
{
	for (const struct imported *i = imports; i; i = i->next)
		if (i->mem == value)
			return value;
	for (const struct sub_buffer *s = sub_buffers; s; s = s->next)
		if (s->mem == value)
			return s->whole;
	return NULL;
}

CL_API_ENTRY cl_int CL_API_CALL clSetKernelArg(cl_kernel kernel, cl_uint index, size_t size,
					       const void *value)
{
	cl_mem mem = NULL;
	int i = 0;

	if (size == sizeof(mem) && value)
		memcpy(&mem, value, size);
	while (i < n_arguments && (arguments[i].kernel != kernel || arguments[i].index != index))
		i++;
	if (i == n_arguments)
		arguments = realloc(arguments, ++n_arguments * sizeof(*arguments));
	arguments[i] = (struct argument){ kernel, index, import_of(mem) };
	return REAL(clSetKernelArg)(kernel, index, size, value);
}

/*
 * What a kernel is given is acquired, where that is needed; all else may be the host's meanwhile.
 */
static void check_arguments(cl_kernel kernel)
{
	cl_uint n = 0;

	clGetKernelInfo(kernel, CL_KERNEL_NUM_ARGS, sizeof(n), &n, NULL);
	for (int a = 0; a < n_arguments; a++)
		for (const struct imported *i = imports; i; i = i->next)
			if (arguments[a].kernel == kernel && arguments[a].index < n &&
			    i->mem == arguments[a].mem && i->khr && !i->acquired)
				broken("no kernel is given an import that is not acquired");
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueNDRangeKernel(cl_command_queue queue, cl_kernel kernel,
						       cl_uint dims, const size_t *offset,
						       const size_t *global, const size_t *local,
						       cl_uint n_events, const cl_event *events,
						       cl_event *event)
{
	check_arguments(kernel);
	return REAL(clEnqueueNDRangeKernel)(queue, kernel, dims, offset, global, local, n_events,
					    events, event);
}

/*
 * Commands may read what came by Khronos' extension and is acquired, and nothing that came by
 * Arm's.
 */
static bool may_read(cl_mem mem)
{
	const struct imported *i = find(mem);

	if (!i || (i->khr && i->acquired))
		return true;
	if (i->khr)
		broken("no command reads an import that is not acquired");
	return false;
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueReadBuffer(cl_command_queue queue, cl_mem mem,
						    cl_bool blocking, size_t at, size_t n, void *to,
						    cl_uint n_events, const cl_event *events,
						    cl_event *event)
{
	if (!may_read(mem))
		return CL_INVALID_OPERATION;
	return REAL(clEnqueueReadBuffer)(queue, mem, blocking, at, n, to, n_events, events, event);
}

CL_API_ENTRY cl_int CL_API_CALL clEnqueueCopyBuffer(cl_command_queue queue, cl_mem from, cl_mem to,
						    size_t at, size_t to_at, size_t n,
						    cl_uint n_events, const cl_event *events,
						    cl_event *event)
{
	if (!may_read(from) || !may_read(to))
		return CL_INVALID_OPERATION;
	return REAL(clEnqueueCopyBuffer)(queue, from, to, at, to_at, n, n_events, events, event);
}

CL_API_ENTRY void *CL_API_CALL clEnqueueMapBuffer(cl_command_queue queue, cl_mem mem,
						  cl_bool blocking, cl_map_flags flags, size_t at,
						  size_t n, cl_uint n_events,
						  const cl_event *events, cl_event *event,
						  cl_int *code)
{
	if (!may_read(mem)) {
		*code = CL_INVALID_OPERATION;
		return NULL;
	}
	return REAL(clEnqueueMapBuffer)(queue, mem, blocking, flags, at, n, n_events, events, event,
					code);
}

void fake_cl_settle(void)
{
	for (int i = 0; i < 200 && __atomic_load_n(&fake_cl.live, __ATOMIC_ACQUIRE); i++)
		usleep(10000);
}
