/* SPDX-License-Identifier: MIT */
/*
 * import_turn: who has a window, device or CPU. Each slot of a ring has its own turn, and an event
 * of its own that says when the device is done with it, so that one slot's end waits for nothing
 * that came after it. Only the Khronos extension has commands for it; the other ways need to know
 * no more than that commands have ended.
 */
#undef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 300
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include "device/import_window.h"

static bool is_khr(const struct sherd_import *im, const struct sherd_import_window *w)
{
	return im->way == SHERD_IMPORT_DMA_BUF_KHR && w->mem;
}

/* Acquires or releases; the two functions have one type. */
static cl_int enqueue_khr(struct sherd_import *im, struct sherd_import_window *w, const char *name,
			  cl_event *done)
{
	clEnqueueAcquireExternalMemObjectsKHR_fn enqueue =
		(clEnqueueAcquireExternalMemObjectsKHR_fn)clGetExtensionFunctionAddressForPlatform(
			im->dev->platform, name);

	return enqueue(im->dev->queue, 1, &w->mem, 0, NULL, done);
}

int sherd_turn_take(struct sherd_import *im, struct sherd_import_window *w, struct sherd_error *err)
{
	cl_int code = 0;

	if (w->acquired)
		return 0;
	if (is_khr(im, w))
		code = enqueue_khr(im, w, "clEnqueueAcquireExternalMemObjectsKHR", NULL);
	if (code)
		return sherd_fail_cl(err, code, "%s does not acquire a dma-buf",
				     im->dev->info.name);
	w->acquired = true;
	return 0;
}

int sherd_turn_give_back(struct sherd_import *im, struct sherd_import_window *w,
			 struct sherd_error *err)
{
	cl_int code;

	if (!w->acquired)
		return 0;
	/* The queue is in order: either ends after all that was enqueued before. */
	if (is_khr(im, w))
		code = enqueue_khr(im, w, "clEnqueueReleaseExternalMemObjectsKHR", &w->done);
	else
		code = clEnqueueMarkerWithWaitList(im->dev->queue, 0, NULL, &w->done);
	if (!code) {
		w->acquired = false;
		code = clFlush(im->dev->queue);
	} else {
		w->done = NULL;
		/* it may be the device's still, but nothing writes to it */
		clFinish(im->dev->queue);
	}
	return code ? sherd_fail_cl(err, code, "%s does not release an import",
				    im->dev->info.name) :
		      0;
}

int sherd_turn_wait(struct sherd_import *im, struct sherd_import_window *w, struct sherd_error *err)
{
	cl_int code = w->done ? clWaitForEvents(1, &w->done) : 0;

	if (w->done)
		clReleaseEvent(w->done);
	w->done = NULL;
	return code ? sherd_fail_cl(err, code, "%s: what it did with an import failed",
				    im->dev->info.name) :
		      0;
}

static struct sherd_import_window *find(struct sherd_import *im, int part, struct sherd_error *err)
{
	if (im->writable && part >= 0 && part < im->n_windows)
		return &im->windows[part];
	sherd_fail(err, -EINVAL, "part %d is no slot that is imported", part);
	return NULL;
}

int sherd_import_acquire(struct sherd_import *im, int part, struct sherd_error *err)
{
	struct sherd_import_window *w = find(im, part, err);
	int rc = w ? sherd_turn_wait(im, w, err) : -EINVAL; /* one that nobody waited for */

	return rc ? rc : sherd_turn_take(im, w, err);
}

int sherd_import_give_back(struct sherd_import *im, int part, struct sherd_error *err)
{
	struct sherd_import_window *w = find(im, part, err);

	return w ? sherd_turn_give_back(im, w, err) : -EINVAL;
}

int sherd_import_release(struct sherd_import *im, int part, struct sherd_error *err)
{
	struct sherd_import_window *w = find(im, part, err);
	int rc = w ? sherd_turn_give_back(im, w, err) : -EINVAL;

	return rc ? rc : sherd_turn_wait(im, w, err);
}
