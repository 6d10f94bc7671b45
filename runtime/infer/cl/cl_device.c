/* SPDX-License-Identifier: MIT */
/*
 * cl_device: opens a device for kernels, with what a tune file says of it as a whole, and closes it
 * with what was built. cl_program.c has the programs, cl_pick.c which of them is launched.
 */
#include <stdio.h>
#include <stdlib.h>
#include "infer/cl/cl.h"

/* Cuts "/@word" off @name's end, if it is there. */
static bool cut_suffix(char *name, const char *word)
{
	size_t len = strlen(name), n = strlen(word);

	if (len <= n || strcmp(name + len - n, word) || name[len - n - 1] != '/')
		return false;
	name[len - n - 1] = 0;
	return true;
}

/* "cpu/plain/simt": the device's name (which may have slashes of its own), then what is forced. */
static void split_device(const char *device, char *name, size_t size, const char **dot,
			 const char **shape)
{
	static const char *const shapes[] = { "wide", "simt" };
	int i;

	*dot = *shape = NULL;
	snprintf(name, size, "%s", device ? device : "auto");
	for (i = 0; i < 2 && !*shape; i++)
		if (cut_suffix(name, shapes[i]))
			*shape = shapes[i];
	for (i = 0; sherd_dot_name(i) && !*dot; i++)
		if (cut_suffix(name, sherd_dot_name(i)))
			*dot = sherd_dot_name(i);
}

void sherd_cl_plain_device(const char *device, char *plain, size_t size)
{
	char name[128];
	const char *dot, *shape;

	split_device(device, name, sizeof(name), &dot, &shape);
	snprintf(plain, size, "%s/plain%s%s", name, shape ? "/" : "", shape ? shape : "");
}

/* c->device: what a child is to open; @dot: the path of dot4.h, unless it is the device's. */
static void set_name(struct sherd_cl *c, const char *dot)
{
	snprintf(c->device, sizeof(c->device), "%s%s%s%s", c->name, dot ? "/" : "", dot ? dot : "",
		 !c->forced_shape			? "" :
		 c->dev->shape == SHERD_SHAPE_WIDE ? "/wide" :
						     "/simt");
}

int sherd_cl_tune(struct sherd_cl *c, const char *which, sherd_note_fn note, void *ctx,
		  struct sherd_error *err)
{
	const char *dot;
	int rc = sherd_tune_search(&c->tune, which, c->dev, note, ctx, err);

	if (rc)
		return rc;
	dot = c->tune.dot[0] && !c->forced ? sherd_dot_choose(&c->dev->info, c->tune.dot, NULL) :
					     NULL;
	if (!dot || !strcmp(dot, c->dev->dot))
		return 0;
	c->dev->dot = dot;
	c->tuned_dot = true;
	set_name(c, dot);
	return 0;
}

int sherd_cl_open(struct sherd_cl *c, const char *device, int n_threads, struct sherd_error *err)
{
	const char *dot, *shape;
	char name[sizeof(c->name)];
	cl_int rc;
	int ret;

	memset(c, 0, sizeof(*c));
	if (device && !*device)
		return sherd_fail(
			err, -EINVAL,
			"a device without a name: auto, cpu, gpu, reference, a number or part of a "
			"name");
	snprintf(c->device, sizeof(c->device), "%s", device ? device : "auto");
	split_device(device, name, sizeof(name), &dot, &shape);
	strcpy(c->name, name);
	ret = sherd_device_open(&c->dev, name, n_threads, dot, err);
	if (ret)
		return ret;
	c->few_threads = n_threads > 0 && n_threads < sherd_device_host_cpus();
	c->forced = dot != NULL;
	c->forced_shape = shape != NULL;
	if (shape)
		c->dev->shape = strcmp(shape, "simt") ? SHERD_SHAPE_WIDE : SHERD_SHAPE_SIMT;
	c->none = clCreateBuffer(c->dev->context, CL_MEM_READ_WRITE, 64, NULL, &rc);
	if (!rc)
		c->failed = clCreateBuffer(c->dev->context, CL_MEM_READ_WRITE, 64, NULL, &rc);
	if (!rc)
		return 0;
	ret = sherd_fail_cl(err, rc, "%s: no memory for 64 bytes", c->dev->info.name);
	sherd_cl_close(c);
	return ret;
}

static void release_program(struct sherd_cl_program *p)
{
	int k;

	for (k = 0; k < SHERD_N_KERNELS; k++)
		if (p->kernel[k])
			clReleaseKernel(p->kernel[k]);
	if (p->program)
		clReleaseProgram(p->program);
}

void sherd_cl_close(struct sherd_cl *c)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		release_program(&c->programs[i]);
	for (i = 0; i < c->n_events; i++)
		if (c->events[i])
			clReleaseEvent(c->events[i]);
	free(c->events);
	free(c->times);
	if (c->none)
		clReleaseMemObject(c->none);
	if (c->failed)
		clReleaseMemObject(c->failed);
	if (c->dev)
		sherd_device_close(c->dev);
	sherd_tune_free(&c->tune);
	memset(c, 0, sizeof(*c));
}

bool sherd_cl_is_tuned(const struct sherd_cl *c)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		if (!sherd_variant_is_default(&c->programs[i].variant))
			return true;
	return c->tuned_dot;
}
