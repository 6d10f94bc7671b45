/* SPDX-License-Identifier: MIT */
/* cl_launch: how the functions of cl.h start a kernel. For cl_kernels.c and cl_experts.c alone. */
#ifndef SHERD_CL_LAUNCH_H
#define SHERD_CL_LAUNCH_H

#include "base/trace.h"
#include "infer/cl/cl.h"

#define SIMT_LOCAL 64 /* work-items of a group where kernels share local memory or rows */
#define ROW_PIECES 16 /* work-items that share a row of groups in the wide shape */
#define TILE_RB	   4 /* matmul.cl's, unless a variant has it otherwise */

struct arg {
	size_t size;
	const void *value;
};
#define ARG(x)                 \
	{                      \
		sizeof(x), &(x) \
	}

static inline bool wide(const struct sherd_cl *c)
{
	return c->dev->shape == SHERD_SHAPE_WIDE;
}

/* What a variant has, or the default. */
static inline size_t or_else(int value, size_t otherwise)
{
	return value > 0 ? (size_t)value : otherwise;
}

static inline cl_mem or_none(const struct sherd_cl *c, cl_mem m)
{
	return m ? m : c->none;
}

/* Where a kernel leaves A: QUANT_ARGS of group.h, with something in place of what A lacks. */
static inline struct sherd_cl_act all_of(const struct sherd_cl *c, const struct sherd_cl_act *a)
{
	static const struct sherd_cl_act nowhere;
	struct sherd_cl_act to = a ? *a : nowhere;

	to.a = or_none(c, to.a);
	to.q = or_none(c, to.q);
	to.groups = or_none(c, to.groups);
	to.halves = or_none(c, to.halves);
	return to;
}
#define ACT_ARGS(to)                                                                      \
	ARG((to).a), ARG((to).a_stride), ARG((to).q), ARG((to).groups), ARG((to).halves), \
		ARG((to).want)

static inline void launch(struct sherd_cl *c, struct sherd_cl_program *p, enum sherd_cl_kernel k,
			  int dims, const size_t *global, const size_t *local, int n_args,
			  const struct arg *args)
{
	cl_event *event;
	double before = 0;
	int i;

	for (i = 0; i < n_args && !c->rc; i++)
		c->rc = clSetKernelArg(p->kernel[k], i, args[i].size, args[i].value);
	if (c->rc)
		return;
	sherd_cl_note_variant(c, p);
	event = sherd_cl_next_event(c);
	if (event)
		before = sherd_now();
	SHERD_PROBE(kernel__enqueue, sherd_cl_kernel_name(k), c->step, c->what.rows);
	c->rc = clEnqueueNDRangeKernel(c->dev->queue, p->kernel[k], dims, NULL, global, local, 0,
				       NULL, event);
	if (!event)
		return;
	if (c->rc)
		c->n_events--;
	else
		sherd_cl_note_clock(c, before, sherd_now());
}
#define LAUNCH(c, program, k, dims, global, local, args) \
	launch(c, program, k, dims, global, local, ARRAY_SIZE(args), args)

/* Kernels that take groups of a row: a few work-items a row on CPUs, one a group on GPUs. */
static inline void launch_row_groups(struct sherd_cl *c, struct sherd_cl_program *p,
				     enum sherd_cl_kernel k, int width, int n, int n_args,
				     const struct arg *args)
{
	static const size_t one[2] = { 1, 1 };
	size_t groups = DIV_ROUND_UP(width, 32);
	size_t pieces = or_else(p->variant.pieces, ROW_PIECES);
	size_t global[2] = { groups, n };

	if (wide(c))
		global[0] = (size_t)n >= 2 * pieces ? 1 : MIN(groups, pieces);
	launch(c, p, k, 2, global, wide(c) ? one : NULL, n_args, args);
}

/* What the program has, and what pays for n rows; or what was measured to. */
enum sherd_cl_kernel sherd_cl_matmul_variant(const struct sherd_cl *c,
					     const struct sherd_cl_program *p, int n);
/* The grid of kernel @k; returns its dimensions. */
int sherd_cl_matmul_grid(const struct sherd_cl *c, const struct sherd_cl_program *p,
			 enum sherd_cl_kernel k, int rows, int n, size_t global[2], size_t local[2]);

#endif
