/* SPDX-License-Identifier: MIT */
/* import: see import.h. What the extensions' functions are called with is theirs to say. */
#undef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include "device/import_look.h"
#include "device/import_window.h"

#define MAX_WINDOW ((size_t)256 << 20)
#define END_BYTES  64 /* of a part's two ends that are looked at */

typedef CL_API_ENTRY cl_mem(CL_API_CALL *import_arm_fn)(cl_context, cl_mem_flags,
							const cl_import_properties_arm *, void *,
							size_t, cl_int *);
typedef CL_API_ENTRY cl_mem(CL_API_CALL *create_fn)(cl_context, const cl_mem_properties *,
						    cl_mem_flags, size_t, void *, cl_int *);

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

const char *sherd_import_caveat(const struct sherd_import *im)
{
	if (im->way != SHERD_IMPORT_HOST_ARM || !im->writable)
		return NULL;
	return "Arm's extension does not answer for host memory that another device reads or writes, too, where "
	       "caches are not coherent: such slots are copied to and from a network card, not sent in place";
}

static bool is_dma_buf(enum sherd_import_way way)
{
	return way == SHERD_IMPORT_DMA_BUF_KHR || way == SHERD_IMPORT_DMA_BUF_ARM;
}

static void *extension_function(const struct sherd_device *dev, const char *name)
{
	return clGetExtensionFunctionAddressForPlatform(dev->platform, name);
}

static import_arm_fn import_arm(const struct sherd_device *dev)
{
	return (import_arm_fn)extension_function(dev, "clImportMemoryARM");
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
		return import_arm(dev) ? NULL : "no clImportMemoryARM()";
	if (!create_with_properties())
		return "no clCreateBufferWithProperties(): libOpenCL is older than 3.0";
	if (!extension_function(dev, "clEnqueueAcquireExternalMemObjectsKHR") ||
	    !extension_function(dev, "clEnqueueReleaseExternalMemObjectsKHR"))
		return "no clEnqueueAcquireExternalMemObjectsKHR()";
	return NULL;
}

static cl_mem_flags access_flags(const struct sherd_import *im)
{
	return im->writable ? CL_MEM_READ_WRITE : CL_MEM_READ_ONLY;
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

static int make_buffers(struct sherd_import *im, struct sherd_error *err)
{
	cl_mem_flags how = im->way == SHERD_IMPORT_IN_PLACE ? CL_MEM_USE_HOST_PTR :
							      CL_MEM_COPY_HOST_PTR;
	struct sherd_part *p;
	cl_int code;

	for (p = im->parts; p < im->parts + im->n_parts; p++) {
		p->mem = clCreateBuffer(im->dev->context, access_flags(im) | how, p->size,
					(void *)p->data, &code);
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

static cl_mem import_khr(const struct sherd_import *im, struct sherd_window *w, cl_int *code)
{
	const cl_mem_properties props[] = { CL_EXTERNAL_MEMORY_HANDLE_DMA_BUF_KHR,
					    (cl_mem_properties)w->fd, 0 };
	cl_mem mem = create_with_properties()(im->dev->context, props, access_flags(im), w->length,
					      NULL, code);

	if (!*code)
		w->fd = -1; /* the driver's from now on, which closes it */
	return mem;
}

static cl_mem import_pages(const struct sherd_import *im, struct sherd_window *w, cl_int *code)
{
	const cl_import_properties_arm dma_buf[] = { CL_IMPORT_TYPE_ARM, CL_IMPORT_TYPE_DMA_BUF_ARM,
						     0 };
	const cl_import_properties_arm host[] = { CL_IMPORT_TYPE_ARM, CL_IMPORT_TYPE_HOST_ARM, 0 };

	if (im->way == SHERD_IMPORT_DMA_BUF_KHR)
		return import_khr(im, w, code);
	if (im->way == SHERD_IMPORT_DMA_BUF_ARM)
		return import_arm(im->dev)(im->dev->context, access_flags(im), dma_buf, &w->fd,
					   w->length, code);
	return import_arm(im->dev)(im->dev->context, access_flags(im), host, w->data, w->length,
				   code);
}

/* The device's view of a part's two ends is the mapping's. */
static int check_part(struct sherd_import *im, struct sherd_look *look, const struct sherd_part *p,
		      struct sherd_error *err)
{
	size_t n = MIN(p->size, END_BYTES), at[] = { 0, p->size - n };
	uint8_t seen[END_BYTES];
	int rc = 0;

	for (size_t i = 0; i < ARRAY_SIZE(at) && !rc; i++) {
		memset(seen, ~((const uint8_t *)p->data)[at[i]], n);
		rc = sherd_look_at(look, p->mem, at[i], n, seen, err);
		if (!rc && memcmp(seen, (const uint8_t *)p->data + at[i], n))
			rc = sherd_fail(err, -EBADE, "%s shows other bytes than were imported",
					im->dev->info.name);
	}
	return rc;
}

static int cut_window(struct sherd_import *im, struct sherd_import_window *w,
		      struct sherd_error *err)
{
	cl_int code;

	for (int i = w->first; i < w->end; i++) {
		struct sherd_part *p = &im->parts[i];
		cl_buffer_region r = {
			(size_t)((const uint8_t *)p->data - (uint8_t *)w->window.data), p->size
		};

		p->mem = clCreateSubBuffer(w->mem, access_flags(im), CL_BUFFER_CREATE_TYPE_REGION,
					   &r, &code);
		if (code) {
			p->mem = NULL;
			return sherd_fail_cl(err, code, "%s does not cut an import at byte %zu",
					     im->dev->info.name, r.origin);
		}
	}
	return 0;
}

/* The device has it from now on. */
static int check_window(struct sherd_import *im, struct sherd_import_window *w,
			struct sherd_look *look, struct sherd_error *err)
{
	int rc = sherd_turn_take(im, w, err);

	if (!rc)
		rc = check_part(im, look, &im->parts[w->first], err);
	if (!rc && w->end - 1 > w->first)
		rc = check_part(im, look, &im->parts[w->end - 1], err);
	return rc;
}

/* The CPU changes what check_part() looks at; doing it twice undoes it. */
static int invert_ends(struct sherd_import_window *w, const struct sherd_part *p,
		       struct sherd_error *err)
{
	unsigned access = SHERD_ACCESS_READ | SHERD_ACCESS_WRITE;
	uint8_t *data = (uint8_t *)p->data;
	int rc = sherd_window_begin(w->slot, access, err);

	for (size_t i = 0; i < p->size && !rc; i++)
		if (i < END_BYTES || i >= p->size - MIN(p->size, END_BYTES))
			data[i] = (uint8_t)~data[i];
	return rc ? rc : sherd_window_end(w->slot, access, err);
}

/* A new ring is all zeros, which any other new memory is, too. */
static int check_slot(struct sherd_import *im, struct sherd_import_window *w,
		      struct sherd_look *look, struct sherd_error *err)
{
	const struct sherd_part *p = &im->parts[w->first];
	int rc = invert_ends(w, p, err), undone;

	if (rc)
		return rc;
	rc = check_window(im, w, look, err);
	if (!rc)
		rc = sherd_turn_give_back(im, w, err);
	if (!rc)
		rc = sherd_turn_wait(im, w, err);
	undone = invert_ends(w, p, rc ? NULL : err);
	return rc ? rc : undone;
}

static int import_window(struct sherd_import *im, struct sherd_import_window *w,
			 struct sherd_look *look, struct sherd_error *err)
{
	cl_int code;
	int rc;

	w->mem = import_pages(im, &w->window, &code);
	if (code) {
		w->mem = NULL;
		return sherd_fail_cl(err, code, "%s does not import %.1f MiB", im->dev->info.name,
				     w->window.length / 1048576.0);
	}
	rc = cut_window(im, w, err);
	if (rc)
		return rc;
	return im->writable ? check_slot(im, w, look, err) : check_window(im, w, look, err);
}

static size_t offset_of(const struct sherd_region *region, const struct sherd_part *p)
{
	return (size_t)((const uint8_t *)p->data - region->data);
}

/* The pages from part @first on that fit into one window; *end: the first part that does not. */
static void plan_window(const struct sherd_import *im, const struct sherd_region *region, int first,
			int *end, size_t *offset, size_t *length)
{
	size_t most = MIN(im->dev->info.max_alloc, MAX_WINDOW), page = sherd_page_size(), stop;
	int i = first;

	if (is_dma_buf(im->way))
		most = MIN(most, region->max_window);
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

/*
 * A slot has one dma-buf: what is said of it around the CPU's accesses (sherd_window_begin())
 * reaches who imported that, and nobody who imported another one of the same pages.
 */
static int open_slot(struct sherd_import *im, struct sherd_import_window *w,
		     struct sherd_region *region, int part, struct sherd_error *err)
{
	w->slot = sherd_ring_slot(region,
				  (int)(offset_of(region, &im->parts[part]) / region->slot_size));
	w->end = part + 1;
	w->window = *w->slot;
	w->window.fd = is_dma_buf(im->way) ? sherd_window_share(w->slot, err) : -1;
	return is_dma_buf(im->way) && w->window.fd < 0 ? w->window.fd : 0;
}

/* With a dma-buf, if that is the way. */
static int open_window(struct sherd_import *im, struct sherd_import_window *w,
		       struct sherd_region *region, int first, struct sherd_error *err)
{
	size_t offset, length;

	w->first = first;
	if (im->writable)
		return open_slot(im, w, region, first, err);
	plan_window(im, region, first, &w->end, &offset, &length);
	if (is_dma_buf(im->way))
		return sherd_window_open(&w->window, region, offset, length, err);
	w->window =
		(struct sherd_window){ .data = region->data + offset, .length = length, .fd = -1 };
	return 0;
}

static void release_windows(struct sherd_import *im)
{
	struct sherd_import_window *w;

	for (w = im->windows; w < im->windows + im->n_windows; w++)
		sherd_turn_give_back(im, w, NULL);
	for (w = im->windows; w < im->windows + im->n_windows; w++) {
		sherd_turn_wait(im, w, NULL);
		release_parts(im, w->first, w->end);
		if (w->mem)
			clReleaseMemObject(w->mem);
		sherd_window_close(&w->window);
	}
	free(im->windows);
	im->windows = NULL;
	im->n_windows = 0;
}

static int import_windows(struct sherd_import *im, struct sherd_region *region,
			  struct sherd_error *err)
{
	struct sherd_import_window *w;
	struct sherd_look look;
	int i = 0, rc = sherd_look_open(&look, im->dev, err);

	if (rc)
		return rc;
	im->windows = sherd_calloc(im->n_parts, sizeof(*im->windows));
	if (!im->windows)
		rc = sherd_fail_oom(err, im->n_parts * sizeof(*im->windows), "imports");
	while (i < im->n_parts && !rc) {
		w = &im->windows[im->n_windows++];
		w->window.fd = -1;
		rc = open_window(im, w, region, i, err);
		i = w->end;
		if (!rc)
			rc = import_window(im, w, &look, err);
	}
	if (rc)
		release_windows(im);
	sherd_look_close(&look);
	return rc;
}

/* A ring's parts, each a buffer by itself, have turns all the same. */
static int make_turns(struct sherd_import *im, struct sherd_region *region, struct sherd_error *err)
{
	im->windows = sherd_calloc(im->n_parts, sizeof(*im->windows));
	if (!im->windows) {
		release_parts(im, 0, im->n_parts);
		return sherd_fail_oom(err, im->n_parts * sizeof(*im->windows), "imports");
	}
	for (int i = 0; i < im->n_parts; i++) {
		im->windows[i].first = i;
		open_slot(im, &im->windows[i], region, i, err);
	}
	im->n_windows = im->n_parts;
	return 0;
}

/* --------------------------------------------------------------------- all */

/* Each part of a ring lies in a slot that it has to itself. */
static int check_slots(const struct sherd_import *im, const struct sherd_region *region,
		       struct sherd_error *err)
{
	size_t size = region->slot_size, at, next = 0;

	for (int i = 0; i < im->n_parts; i++) {
		at = offset_of(region, &im->parts[i]);
		if (!im->parts[i].size || at < next || at / size >= (size_t)region->n_slots ||
		    at % size + im->parts[i].size > size)
			return sherd_fail(err, -EINVAL,
					  "part %d of a ring is no slot, or not all that is "
					  "imported of it",
					  i);
		next = (at / size + 1) * size;
	}
	return 0;
}

/* What can be said without the driver. */
static int check_way(const struct sherd_import *im, enum sherd_import_way way,
		     const struct sherd_region *region, struct sherd_error *err)
{
	const char *lacks = sherd_import_lacks(im->dev, way);

	if (lacks)
		return sherd_fail(err, -EOPNOTSUPP, "%s: %s", im->dev->info.name, lacks);
	if (way == SHERD_IMPORT_COPY && im->writable)
		return sherd_fail(err, -EOPNOTSUPP, "a copy is nothing that two sides could write");
	if (im->writable && check_slots(im, region, err))
		return -EINVAL;
	if (!ways[way].extension)
		return 0;
	if (!region)
		return sherd_fail(err, -EOPNOTSUPP, "they lie in no region");
	if (is_dma_buf(way) && !region->max_window)
		return sherd_fail(err, -EOPNOTSUPP, "there are no dma-bufs: they are %s",
				  region->how);
	return 0;
}

static int take_way(struct sherd_import *im, enum sherd_import_way way, struct sherd_region *region,
		    struct sherd_error *err)
{
	int rc;

	im->way = way;
	if (ways[way].extension)
		return import_windows(im, region, err);
	rc = make_buffers(im, err);
	return !rc && im->writable ? make_turns(im, region, err) : rc;
}

static void start(struct sherd_import *im, struct sherd_device *dev,
		  const struct sherd_region *region, struct sherd_part *parts, int n_parts)
{
	*im = (struct sherd_import){ .dev = dev, .parts = parts, .n_parts = n_parts };
	im->writable = region && !region->read_only;
}

int sherd_import_try(struct sherd_import *im, struct sherd_device *dev, struct sherd_region *region,
		     struct sherd_part *parts, int n_parts, enum sherd_import_way way,
		     struct sherd_error *err)
{
	int rc;

	start(im, dev, region, parts, n_parts);
	rc = check_way(im, way, region, err);
	return rc ? rc : take_way(im, way, region, err);
}

static int prove_way(struct sherd_import *im, const char *device, enum sherd_import_way way,
		     const struct sherd_region *region, struct sherd_error *err)
{
	int rc = check_way(im, way, region, err);

	if (!rc && device && ways[way].extension)
		rc = sherd_import_prove(im->dev, device, way, region, err);
	return rc;
}

static int try_proven(struct sherd_import *im, const char *device, enum sherd_import_way way,
		      struct sherd_region *region, struct sherd_error *err)
{
	int rc = prove_way(im, device, way, region, err);

	return rc ? rc : take_way(im, way, region, err);
}

/* That a copy is no way says nothing about why the others aren't. */
static void fail_ring(const struct sherd_import *im, struct sherd_error *err)
{
	size_t len;

	sherd_fail(err, 0, "%s can't share a ring", im->dev->info.name);
	for (int i = 0; i < SHERD_IMPORT_COPY && err; i++) {
		len = strlen(err->msg);
		snprintf(err->msg + len, sizeof(err->msg) - len, "%s %s: %s", i ? ";" : ":",
			 ways[i].name, im->refused[i].msg);
	}
}

int sherd_import_open(struct sherd_import *im, struct sherd_device *dev, const char *device,
		      struct sherd_region *region, struct sherd_part *parts, int n_parts,
		      struct sherd_error *err)
{
	int way = 0, rc;

	start(im, dev, region, parts, n_parts);
	do
		rc = try_proven(im, device, (enum sherd_import_way)way, region, &im->refused[way]);
	while (rc && ++way < SHERD_N_IMPORTS);
	if (!rc)
		return 0;
	if (im->writable)
		fail_ring(im, err);
	else if (err)
		*err = im->refused[SHERD_IMPORT_COPY];
	im->parts = NULL;
	im->n_parts = 0;
	return rc;
}

int sherd_import_choose(struct sherd_device *dev, const char *device, struct sherd_region *ring,
			enum sherd_import_way *way, struct sherd_error *err)
{
	struct sherd_import im;
	const char *caveat;

	start(&im, dev, ring, NULL, 0);
	for (int i = 0; i < SHERD_IMPORT_COPY; i++) {
		im.way = *way = (enum sherd_import_way)i;
		if (prove_way(&im, device, *way, ring, &im.refused[i]))
			continue;
		caveat = sherd_import_caveat(&im);
		return caveat ? sherd_fail(err, -EOPNOTSUPP, "%s", caveat) : 0;
	}
	fail_ring(&im, err);
	return -EOPNOTSUPP;
}

void sherd_import_close(struct sherd_import *im)
{
	release_windows(im);
	release_parts(im, 0, im->n_parts);
	*im = (struct sherd_import){ .way = SHERD_IMPORT_COPY };
}
