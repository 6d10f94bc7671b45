/* SPDX-License-Identifier: MIT */
/*
 * cl_weights: the shard's planes and vectors as device buffers. The planes are the mapped file's
 * own pages wherever the device can read those (device/import.h); the vectors, which are small, are
 * copied.
 */
#ifndef SHERD_CL_WEIGHTS_H
#define SHERD_CL_WEIGHTS_H

#include "device/import.h"
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
	struct sherd_part *planes; /* [n_planes]: by rising address, each once */
	int n_planes;
	struct sherd_import import; /* how they came to the device */
	cl_mem rope[SHERD_MAX_ROPES]; /* the table of angles */
	cl_mem *vectors; /* [n_vectors]: the copies */
	int n_vectors;
};

int sherd_cl_weights_load(struct sherd_cl_weights *w, struct sherd_cl *c,
			  const struct sherd_program *p, struct sherd_region *region, bool untested,
			  struct sherd_error *err);
void sherd_cl_weights_release(struct sherd_cl_weights *w);

/*
 * Makes sure that each of c's programs has passed the self-test on this device and driver, once: by
 * a verdict in the cache, else in a child process that has @limit seconds; 0: what has no verdict fails.
 * What has failed once fails at once from then on. -ETIMEDOUT: a compiler hangs, or might.
 */
int sherd_cl_prove(struct sherd_cl *c, const struct sherd_exec_params *p, double limit,
		   struct sherd_error *err);
/*
 * The bit profile of c's built programs: the reference's, if each gives its bits for a small
 * vector, else an error; SHERD_UNTESTED for a device that has not passed the self-test. That they
 * do is found out once and kept in the cache beside the verdicts.
 */
int sherd_cl_bit_profile(struct sherd_cl *c, bool untested, char profile[SHERD_SHA256_HEX],
			 struct sherd_error *err);

#endif
