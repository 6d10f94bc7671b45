/* SPDX-License-Identifier: MIT */
/*
 * cl_time_work: what a program is made to do while it is timed, for cl_time.c alone: a matmul over
 * copies of its matrix, attention over a past of many layers, a layer's norm and activation.
 */
#ifndef SHERD_CL_TIME_WORK_H
#define SHERD_CL_TIME_WORK_H

#include "infer/cl/cl_time.h"

#define SHERD_TIME_COPIES 64
/* What buffers are full of: as a half and as a float it is small, and no denormal. */
#define SHERD_TIME_PATTERN 0x2c2c2c2cu

/* A device with a program, and what that works on. */
struct sherd_time_side {
	struct sherd_cl c;
	struct sherd_cl_program *p;
	struct sherd_time_size size;
	/* what caches would hold of one copy: launches take turns with them */
	cl_mem pool;
	int n_copies, next;
	cl_mem mem[3 * SHERD_TIME_COPIES + 32]; /* all other buffers */
	int n_mem;
	struct sherd_cl_act a, to;
	struct sherd_cl_rows src, dst;
	struct sherd_cl_matrix w[SHERD_TIME_COPIES];
	struct sherd_cl_cache cache; /* a copy is a layer */
	cl_mem tiles, parts, weight; /* weight: of the norm */
	int n_tiles, n_parts;
};

/* Bytes of a copy; 0: there is none, what it reads is in the caches as a rule. */
size_t sherd_time_copy_size(const struct sherd_cl_program *p, const struct sherd_time_size *z);
/* Makes the buffers for s->size but for s->pool, which is there; a failure is left in s->c.rc. */
void sherd_time_prepare(struct sherd_time_side *s);
/* What a model launches; the failure, too. */
void sherd_time_launch(struct sherd_time_side *s);

#endif
