/* SPDX-License-Identifier: MIT */
/*
 * roofline: kernels as points under what the machine can do: operations a byte to the right, operations
 * a second upwards, both by powers. Below the slope a kernel waits for memory, below a ceiling for
 * arithmetic; the way up is what is left to be won.
 */
#ifndef SHERD_TOOL_ROOFLINE_H
#define SHERD_TOOL_ROOFLINE_H

#include <stdio.h>
#include "infer/cl/cl.h"

enum roofline_kind { ROOFLINE_SVG, ROOFLINE_GNUPLOT, ROOFLINE_CSV, ROOFLINE_JSON };

struct roofline_point {
	int test; /* index into tests */
	const struct sherd_cl_time *kernel;
	double intensity; /* operations a byte */
	double rate; /* operations a second */
	double share; /* of the roof above it; of more than 1 the bytes came from caches */
	double time; /* share of its test */
	/* its number's place, from the picture's lower left corner; whether a line leads there */
	double x, y;
	bool led;
};

#define ROOFLINE_TESTS 16

struct roofline {
	/* set by the caller */
	const char *model, *device, *dot_path;
	int threads;
	char date[24];
	double read, dot, fma; /* bytes, int8 operations and floating point ones a second */
	char tests[ROOFLINE_TESTS][48];
	int n_tests;
	/* made by roofline_add(): those of a test together, the longest first */
	struct roofline_point *points;
	int n_points;
	int n_moves; /* kernels that only move, or whose operations nobody counts: not drawn */
};

/* By the end of the name; -EINVAL, and which there are. */
int roofline_kind(const char *path, enum roofline_kind *kind, struct sherd_error *err);
/* The kernels of a test, which live as long as @r. More than ROOFLINE_TESTS are left out. */
int roofline_add(struct roofline *r, const char *test, const struct sherd_cl_time *kernels, int n);
/* Gives each point's number a place where it covers no other one. */
void roofline_place(struct roofline *r);
void roofline_free(struct roofline *r);

/* The place of a point in the picture, and its size there. */
void roofline_where(const struct roofline *r, const struct roofline_point *p, double *x, double *y,
		    double *radius);

/* For gnuplot, complete: it writes an SVG file to its standard output. */
void roofline_write_gnuplot(const struct roofline *r, FILE *f);
void roofline_write_csv(const struct roofline *r, FILE *f);
void roofline_write_json(const struct roofline *r, FILE *f);

#endif
