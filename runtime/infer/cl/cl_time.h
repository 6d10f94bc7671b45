/* SPDX-License-Identifier: MIT */
/*
 * cl_time: how long a program takes on a device, in a variant and, in turns with it, by default: a
 * matrix of a given size, attention with so many heads, the steps between the matmuls of a layer.
 * `sherd tune` chooses by that, and so does the first use of a machine with several devices. In a
 * child process, as drivers crash and hang.
 */
#ifndef SHERD_CL_TIME_H
#define SHERD_CL_TIME_H

#include "infer/cl/cl.h"

/*
 * Rows x columns of the matrix, and how many tokens it meets; of attention query heads x KV heads, at
 * a depth of 1024; of rows the norm's width x the activation's.
 */
struct sherd_time_size {
	int rows, cols, n;
};

/* -EINVAL: a program that nobody times, or not at this size. */
int sherd_time_check(const struct sherd_cl_program *p, const struct sherd_time_size *z,
		     struct sherd_error *err);

#define SHERD_TIME_SIZES 24

struct sherd_time_job {
	const char *device; /* as sherd_cl_open() has it; "reference" */
	int n_threads;
	const char *spec; /* int, float, attention or rows; with the variant, if any */
	struct sherd_time_size size[SHERD_TIME_SIZES];
	int n_sizes;
	double seconds; /* for all of it, about, once it is compiled and tested */
};

/* Of each size, in order; with the default variant both times are the same. */
struct sherd_timing {
	struct sherd_tune_time time[SHERD_TIME_SIZES];
};

/*
 * Bytes that must be read, of weights or of the past, and operations: int8 ones of int, else floating
 * point ones. 0: nothing but what is in the caches, or no such program.
 */
double sherd_time_bytes(const char *spec, const struct sherd_time_size *s);
double sherd_time_ops(const char *spec, const struct sherd_time_size *s);

/*
 * Tests the variant against the reference, then times it, in this process. -EBADE: it has other
 * bits, and no time.
 */
int sherd_time_here(struct sherd_timing *t, const struct sherd_time_job *j,
		    struct sherd_error *err);
/*
 * The same in a child of its own that has @limit_s seconds, and ends as soon as @stop (-1: none)
 * can be read: -EBADE, -ETIMEDOUT, -ECANCELED ... as sherd_device_child() has them. Binaries and
 * verdicts are kept.
 */
int sherd_time_in_child(struct sherd_timing *t, const struct sherd_time_job *j, double limit_s,
			int stop, struct sherd_error *err);

/*
 * The i-th variant that is worth a try in this shape for a program (its spec without a variant) and
 * a class; NULL: no more.
 */
const char *sherd_time_candidate(enum sherd_shape shape, const char *dot, const char *spec,
				 enum sherd_tune_class class, int i);

/* Seconds a token takes a device. */
struct sherd_choice_time {
	double decode, prompt;
	bool measured;
};
/* The fastest of @n, which is @otherwise unless one is faster beyond noise; -1: none has times. */
int sherd_choice_best(const struct sherd_choice_time *t, int n, int otherwise);

/* How the two talk: "2048x512x1,..." there, lines of numbers back. */
int sherd_time_parse_sizes(struct sherd_time_job *j, const char *text, struct sherd_error *err);
int sherd_timing_print(const struct sherd_timing *t, int n, char *text, size_t size);

#endif
