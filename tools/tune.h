/* SPDX-License-Identifier: MIT */
/*
 * tune: what its files share. tune.c has the command, tune_shapes.c what is to be measured,
 * tune_measure.c measures it, tune_report.c says what came out.
 */
#ifndef SHERD_TOOL_TUNE_H
#define SHERD_TOOL_TUNE_H

#include "device/limits.h"
#include "infer/cl/cl_time.h"
#include "tool.h"

#define TUNE_PROGRAMS	48
#define TUNE_CANDIDATES 64 /* of a program and class */
#define TUNE_REFUSED	64

/* Matrices of one format; attention to one kind of cache; the steps between matmuls. */
struct tune_program {
	char spec[SHERD_TUNE_SPEC];
	struct {
		int rows, cols;
	} size[SHERD_TIME_SIZES]; /* the largest of each bucket; see struct sherd_time_size */
	int n;
	/* of each class and size: what was chosen, and its time beside the default's */
	struct tune_choice {
		struct sherd_variant variant;
		struct sherd_tune_time time; /* both 0: could not be measured */
	} choice[SHERD_TUNE_CLASSES][SHERD_TIME_SIZES];
};

struct tune {
	const char *model, *shapes, *variants, *kv, *out;
	bool json;
	struct sherd_model_params params;
	float seconds, limit;

	struct sherd_cl c; /* the device, open for its name alone */
	char device[160];  /* what children are to open */
	struct tune_program program[TUNE_PROGRAMS];
	int n_programs;
	bool has_limits;
	struct sherd_limits limits;
	int n_tried, n_refused; /* variants, and those whose child failed */
	struct {
		char spec[SHERD_CL_SPEC], why[512];
	} refused[TUNE_REFUSED];
	char why[512]; /* the last child that failed did so */
	uint64_t done, total; /* children, for the bar */
};

/* How many tokens stand for a class. */
int tune_tokens(enum sherd_tune_class class);

/* What --shapes lists; what the model has, once the device is open. TOOL_OK, or it is said. */
int tune_shapes_of_list(struct tune *t);
int tune_shapes_of_model(struct tune *t);
int tune_measure(struct tune *t);
/* Into @file, which is made for the device. */
int tune_fill(const struct tune *t, struct sherd_tune *file, struct sherd_error *err);
void tune_print_table(const struct tune *t);
/* : of the file that was written. */
int tune_print_json(const struct tune *t, const char *path);

#endif
