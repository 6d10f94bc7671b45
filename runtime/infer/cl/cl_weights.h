/* SPDX-License-Identifier: MIT */
/*
 * cl_weights: the shard's planes and vectors as device buffers. A CPU device reads the mapped file in
 * place; a GPU gets copies (imports of pinned regions come with runtime/region/).
 */
#ifndef SHERD_CL_WEIGHTS_H
#define SHERD_CL_WEIGHTS_H

#include "infer/cl/cl.h"

/* What a step refers to; NULL where it refers to nothing. Buffers may be shared between steps. */
struct sherd_cl_op_mem {
	struct sherd_cl_matrix w; /* matmul, embed */
	struct sherd_cl_matrix positions; /* embed */
	cl_mem weight, bias; /* norm; matmul's bias */
};

struct sherd_cl_weights {
	struct sherd_cl_op_mem *op; /* [n_ops] */
	int n_ops;
	cl_mem rope; /* the table of angles */
	cl_mem *owned; /* every buffer once */
	const void **host; /* [n_owned]: what each was made from */
	int n_owned;
};

int sherd_cl_weights_load(struct sherd_cl_weights *w, struct sherd_cl *c,
			  const struct sherd_program *p, struct sherd_error *err);
void sherd_cl_weights_release(struct sherd_cl_weights *w);

/*
 * Makes sure that each of c's programs has passed the self-test on this device and driver, once: by a
 * verdict in the cache, else in a child process. What has failed once fails at once from then on.
 */
int sherd_cl_prove(struct sherd_cl *c, const struct sherd_exec_params *p, struct sherd_error *err);
/*
 * The bit profile of c's built programs: the reference's, if each gives its bits for a small vector, else
 * an error; SHERD_UNTESTED for a device that has not passed the self-test. That they do is found out once
 * and kept in the cache beside the verdicts.
 */
int sherd_cl_bit_profile(struct sherd_cl *c, bool untested, char profile[SHERD_SHA256_HEX],
			 struct sherd_error *err);

#endif
