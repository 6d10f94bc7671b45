/* SPDX-License-Identifier: MIT */
/* import: see import.h. What the extensions' functions are called with is theirs to say. */
#undef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <dlfcn.h>
#include <stdlib.h>
#include "device/import.h"

/* A window, its buffer, and the parts [first, end) that are sub-buffers of it. */
struct sherd_import_window {
	struct sherd_window window;
	cl_mem mem;
	int first, end;
	bool acquired;
};

#define MAX_WINDOW ((size_t)256 << 20)

typedef CL_API_ENTRY cl_mem(CL_API_CALL *import_arm_fn)(cl_context, cl_mem_flags,
							const cl_import_properties_arm *, void *, size_t,
							cl_int *);
typedef CL_API_ENTRY cl_mem(CL_API_CALL *create_fn)(cl_context, const cl_mem_properties *, cl_mem_flags,
						    size_t, void *, cl_int *);

static const struct {
	const char *word, *name, *extension;
} ways[SHERD_N_IMPORTS] = {
	[SHERD_IMPORT_IN_PLACE] = { "in-place", "in place", NULL },
	[SHERD_IMPORT_DMA_BUF_KHR] = { "khr", "dma-buf (cl_khr_external_memory_dma_buf)",
				       "cl_khr_external_memory_dma_buf" },
	[SHERD_IMPORT_DMA_BUF_ARM] = { "arm-dma-buf", "dma-buf (cl_arm_import_memory)",
				       "cl_arm_import_memory_dma_buf" },
	[SHERD_IMPORT_HOST_ARM] = { "arm-host", "host pointer (cl_arm_import_memory)",
				    "cl_arm_import_memory_host" },
	[SHERD_IMPORT_COPY] = { "copy", "copy", NULL },
};

const char *sherd_import_word(enum sherd_import_way way)
{
	return ways[way].word;
}

int sherd_import_find(const char *word)
{
	for (int i = 0; i < SHERD_N_IMPORTS; i++)
		if (!strcmp(ways[i].word, word))
			return i;
	return -1;
}

const char *sherd_import_name(enum sherd_import_way way)
{
	return ways[way].name;
}

static bool is_dma_buf(enum sherd_import_way way)
{
	return way == SHERD_IMPORT_DMA_BUF_KHR || way == SHERD_IMPORT_DMA_BUF_ARM;
}

static void *extension_function(const struct sherd_device *dev, const char *name)
{
	return clGetExtensionFunctionAddressForPlatform(dev->platform, name);
}

/* Not linked to: libOpenCL may be a vendor's, and older than OpenCL 3.0. */
static create_fn create_with_properties(void)
{
	return (create_fn)dlsym(RTLD_DEFAULT, "clCreateBufferWithProperties");
}

const char *sherd_import_lacks(const struct sherd_device *dev, enum sherd_import_way way)
{
	const char *extension = ways[way].extension;

	if (way == SHERD_IMPORT_IN_PLACE)
		return dev->info.is_cpu ? NULL : "it is no CPU";
	if (!extension)
		return NULL;
	if (!sherd_device_has(&dev->info, extension))
		return way == SHERD_IMPORT_DMA_BUF_KHR ? "no cl_khr_external_memory_dma_buf" :
		       way == SHERD_IMPORT_DMA_BUF_ARM ? "no cl_arm_import_memory_dma_buf" :
							 "no cl_arm_import_memory_host";
	if (way != SHERD_IMPORT_DMA_BUF_KHR)
		return extension_function(dev, "clImportMemoryARM") ? NULL : "no clImportMemoryARM()";
	if (!create_with_properties())
		return "no clCreateBufferWithProperties(): libOpenCL is older than 3.0";
	return extension_function(dev, "clEnqueueAcquireExternalMemObjectsKHR") ?
		       NULL : "no clEnqueueAcquireExternalMemObjectsKHR()";
}

/* ------------------------------------------------------- each part by itself */

static void release_parts(struct sherd_import *im, int first, int end)
{
	for (int i = first; i < end; i++) {
		if (im->parts[i].mem)
			clReleaseMemObject(im->parts[i].mem);
		im->parts[i].mem = NULL;
	}
}

static cl_mem import_host(const struct sherd_import *im, const struct sherd_part *p, cl_int *code)
{
	const cl_import_properties_arm props[] = { CL_IMPORT_TYPE_ARM, CL_IMPORT_TYPE_HOST_ARM, 0 };
	import_arm_fn import = (import_arm_fn)extension_function(im->dev, "clImportMemoryARM");

	return import(im->dev->context, CL_MEM_READ_ONLY, props, (void *)p->data, p->size, code);
}

static cl_mem make_buffer(const struct sherd_import *im, const struct sherd_part *p, cl_int *code)
{
	cl_mem_flags how = im->way == SHERD_IMPORT_IN_PLACE ? CL_MEM_USE_HOST_PTR : CL_MEM_COPY_HOST_PTR;

	if (im->way == SHERD_IMPORT_HOST_ARM)
		return import_host(im, p, code);
	return clCreateBuffer(im->dev->context, CL_MEM_READ_ONLY | how, p->size, (void *)p->data, code);
}

static int import_parts(struct sherd_import *im, struct sherd_error *err)
{
	struct sherd_part *p;
	cl_int code;

	for (p = im->parts; p < im->parts + im->n_parts; p++) {
		p->mem = make_buffer(im, p, &code);
		if (code) {
			p->mem = NULL;
			release_parts(im, 0, im->n_parts);
			return sherd_fail_cl(err, code, "%s: no room for %.1f MiB of weights",
					     im->dev->info.name, p->size / 1048576.0);
		}
	}
	return 0;
}

/* ------------------------------------------------------------- by windows */

static cl_mem import_fd(const struct sherd_import *im, const struct sherd_window *w, cl_int *code)
{
	const cl_import_properties_arm arm[] = { CL_IMPORT_TYPE_ARM, CL_IMPORT_TYPE_DMA_BUF_ARM, 0 };
	const cl_mem_properties khr[] = { CL_EXTERNAL_MEMORY_HANDLE_DMA_BUF_KHR,
					  (cl_mem_properties)w->fd, 0 };
	import_arm_fn import;
	int fd = w->fd;

	if (im->way == SHERD_IMPORT_DMA_BUF_KHR)
		return create_with_properties()(im->dev->context, khr, CL_MEM_READ_ONLY, w->length, NULL,
						code);
	import = (import_arm_fn)extension_function(im->dev, "clImportMemoryARM");
	return import(im->dev->context, CL_MEM_READ_ONLY, arm, &fd, w->length, code);
}

/* From here until release the device owns it; only the Khronos extension has this. */
static int acquire(struct sherd_import *im, struct sherd_import_window *w, struct sherd_error *err)
{
	clEnqueueAcquireExternalMemObjectsKHR_fn enqueue;
	cl_int code;

	if (im->way != SHERD_IMPORT_DMA_BUF_KHR)
		return 0;
	enqueue = (clEnqueueAcquireExternalMemObjectsKHR_fn)extension_function(
		im->dev, "clEnqueueAcquireExternalMemObjectsKHR");
	code = enqueue(im->dev->queue, 1, &w->mem, 0, NULL, NULL);
	if (code)
		return sherd_fail_cl(err, code, "%s does not acquire a dma-buf", im->dev->info.name);
	w->acquired = true;
	return 0;
}

static void release(struct sherd_import *im, struct sherd_import_window *w)
{
	clEnqueueReleaseExternalMemObjectsKHR_fn enqueue;

	if (!w->acquired)
		return;
	enqueue = (clEnqueueReleaseExternalMemObjectsKHR_fn)extension_function(
		im->dev, "clEnqueueReleaseExternalMemObjectsKHR");
	if (enqueue && !enqueue(im->dev->queue, 1, &w->mem, 0, NULL, NULL))
		clFinish(im->dev->queue);
	w->acquired = false;
}

/* The device's view of a part's two ends is the mapping's. */
static int check_part(struct sherd_import *im, const struct sherd_part *p, struct sherd_error *err)
{
	size_t n = MIN(p->size, 64), at[] = { 0, p->size - n };
	uint8_t seen[64];
	cl_int code;

	for (size_t i = 0; i < ARRAY_SIZE(at); i++) {
		memset(seen, ~((const uint8_t *)p->data)[at[i]], n);
		code = clEnqueueReadBuffer(im->dev->queue, p->mem, CL_TRUE, at[i], n, seen, 0, NULL, NULL);
		if (code)
			return sherd_fail_cl(err, code, "%s can't read an imported dma-buf",
					     im->dev->info.name);
		if (memcmp(seen, (const uint8_t *)p->data + at[i], n))
			return sherd_fail(err, -EBADE, "%s shows other bytes than the dma-buf has",
					  im->dev->info.name);
	}
	return 0;
}

static int cut_window(struct sherd_import *im, struct sherd_import_window *w, struct sherd_error *err)
{
	struct sherd_part *p;
	cl_int code;
	int i, rc = 0;

	for (i = w->first; i < w->end && !rc; i++) {
		p = &im->parts[i];
		cl_buffer_region r = { (size_t)((const uint8_t *)p->data - (uint8_t *)w->window.data),
				       p->size };

		p->mem = clCreateSubBuffer(w->mem, CL_MEM_READ_ONLY, CL_BUFFER_CREATE_TYPE_REGION, &r,
					   &code);
		if (code) {
			p->mem = NULL;
			return sherd_fail_cl(err, code, "%s does not cut an imported dma-buf at byte %zu",
					     im->dev->info.name, r.origin);
		}
		if (i == w->first || i == w->end - 1)
			rc = check_part(im, p, err);
	}
	return rc;
}

static int import_window(struct sherd_import *im, struct sherd_import_window *w,
			 struct sherd_region *region, size_t offset, size_t length, struct sherd_error *err)
{
	cl_int code;
	int rc = sherd_window_open(&w->window, region, offset, length, err);

	if (rc)
		return rc;
	w->mem = import_fd(im, &w->window, &code);
	if (code) {
		w->mem = NULL;
		return sherd_fail_cl(err, code, "%s does not import a dma-buf of %.1f MiB",
				     im->dev->info.name, length / 1048576.0);
	}
	rc = acquire(im, w, err);
	return rc ? rc : cut_window(im, w, err);
}

static size_t offset_of(const struct sherd_region *region, const struct sherd_part *p)
{
	return (size_t)((const uint8_t *)p->data - region->data);
}

/* The pages from part @first on that fit into one window; *end: the first part that does not. */
static void plan_window(const struct sherd_import *im, const struct sherd_region *region, int first,
			int *end, size_t *offset, size_t *length)
{
	size_t most = MIN(MIN(region->max_window, im->dev->info.max_alloc), MAX_WINDOW);
	size_t page = sherd_page_size(), stop;
	int i = first;

	*offset = offset_of(region, &im->parts[i]) / page * page;
	*length = ROUND_UP(offset_of(region, &im->parts[i]) + im->parts[i].size, page) - *offset;
	for (i++; i < im->n_parts; i++) {
		stop = ROUND_UP(offset_of(region, &im->parts[i]) + im->parts[i].size, page);
		if (stop - *offset > most)
			break;
		*length = stop - *offset;
	}
	*end = i;
}

static void release_windows(struct sherd_import *im)
{
	struct sherd_import_window *w;

	for (w = im->windows; w < im->windows + im->n_windows; w++) {
		release_parts(im, w->first, w->end);
		release(im, w);
		if (w->mem)
			clReleaseMemObject(w->mem);
		sherd_window_close(&w->window);
	}
	free(im->windows);
	im->windows = NULL;
	im->n_windows = 0;
}

static int import_windows(struct sherd_import *im, struct sherd_region *region, struct sherd_error *err)
{
	size_t offset, length;
	int i = 0, rc = 0;

	im->windows = sherd_calloc(im->n_parts, sizeof(*im->windows));
	if (!im->windows)
		return sherd_fail_oom(err, im->n_parts * sizeof(*im->windows), "dma-bufs");
	while (i < im->n_parts && !rc) {
		struct sherd_import_window *w = &im->windows[im->n_windows++];

		w->window.fd = -1;
		w->first = i;
		plan_window(im, region, i, &w->end, &offset, &length);
		i = w->end;
		rc = import_window(im, w, region, offset, length, err);
	}
	if (rc)
		release_windows(im);
	return rc;
}

/* --------------------------------------------------------------------- all */

/* What can be said without the driver. */
static int check_way(const struct sherd_import *im, enum sherd_import_way way,
		     const struct sherd_region *region, struct sherd_error *err)
{
	const char *lacks = sherd_import_lacks(im->dev, way);

	if (lacks)
		return sherd_fail(err, -EOPNOTSUPP, "%s: %s", im->dev->info.name, lacks);
	if (is_dma_buf(way) && (!region || !region->max_window))
		return sherd_fail(err, -EOPNOTSUPP, "there are no dma-bufs: the weights are %s",
				  region ? region->how : "in no region");
	return 0;
}

static int take_way(struct sherd_import *im, enum sherd_import_way way, struct sherd_region *region,
		    struct sherd_error *err)
{
	im->way = way;
	return is_dma_buf(way) ? import_windows(im, region, err) : import_parts(im, err);
}

int sherd_import_try(struct sherd_import *im, struct sherd_device *dev, struct sherd_region *region,
		     struct sherd_part *parts, int n_parts, enum sherd_import_way way,
		     struct sherd_error *err)
{
	int rc;

	*im = (struct sherd_import){ .dev = dev, .parts = parts, .n_parts = n_parts };
	rc = check_way(im, way, region, err);
	return rc ? rc : take_way(im, way, region, err);
}

static int try_proven(struct sherd_import *im, const char *device, enum sherd_import_way way,
		      struct sherd_region *region, struct sherd_error *err)
{
	int rc = check_way(im, way, region, err);

	if (!rc && device && region && ways[way].extension)
		rc = sherd_import_prove(im->dev, device, way, region, err);
	return rc ? rc : take_way(im, way, region, err);
}

int sherd_import_open(struct sherd_import *im, struct sherd_device *dev, const char *device,
		      struct sherd_region *region, struct sherd_part *parts, int n_parts,
		      struct sherd_error *err)
{
	int way = 0, rc;

	*im = (struct sherd_import){ .dev = dev, .parts = parts, .n_parts = n_parts };
	do
		rc = try_proven(im, device, (enum sherd_import_way)way, region, &im->refused[way]);
	while (rc && ++way < SHERD_N_IMPORTS);
	if (!rc)
		return 0;
	if (err)
		*err = im->refused[SHERD_IMPORT_COPY];
	*im = (struct sherd_import){ .way = SHERD_IMPORT_COPY };
	return rc;
}

void sherd_import_close(struct sherd_import *im)
{
	release_windows(im);
	release_parts(im, 0, im->n_parts);
	*im = (struct sherd_import){ .way = SHERD_IMPORT_COPY };
}
