/* SPDX-License-Identifier: MIT */
/* bench: what measuring (bench.c) hands to reporting (bench_report.c). */
#ifndef SHERD_TOOL_BENCH_H
#define SHERD_TOOL_BENCH_H

#include <time.h>
#include "device/energy.h"
#include "device/limits.h"
#include "device/memory.h"
#include "infer/cl/cl.h"
#include "tool.h"

/* One row: a prompt of n_prompt tokens, or n_gen single tokens, after n_depth positions. */
struct bench_test {
	int n_prompt, n_gen, n_depth;
	int n_reps;
	double *seconds; /* [n_reps] */
	time_t when;
	double cpu;    /* CPU seconds a wall second */
	double joules; /* a token; NAN: no sensor */
	/* from the limits: */
	double limit_ts;   /* tokens/s at best; NAN: not measured */
	const char *bound; /* "read" or "dot": what the best is bound by */
	/* from one more run, with --kernels: */
	struct sherd_cl_time *kernels;
	int n_kernels;
};

struct bench {
	const char *model_name;
	struct sherd_model_params params;
	struct opt_ints prompts, gens, depths;
	int reps;
	bool json, kernels, no_limits;

	struct sherd_model *model;
	struct sherd_session *session;
	const struct sherd_model_info *info;
	int32_t *tokens; /* [n_tokens]: random, the same in every run */
	int n_tokens;
	int n_threads; /* that compute */
	bool prepared; /* the model was packed or the device tested while opening */

	double load_s, first_token_s;
	struct bench_test *tests;
	int n_tests;
	struct sherd_energy *energy; /* NULL: no sensor */
	struct sherd_memory memory;
	bool has_limits;
	struct sherd_limits before, after;
	char dot_path[16];
	uint64_t empty_pss; /* of an OpenCL process that does nothing */
};

/* Mean and sample deviation of tokens/s over the repetitions. */
void bench_rate(const struct bench_test *t, double *mean, double *deviation);
double bench_mean(double a, double b);

void bench_print_table(const struct bench *b);
int bench_print_json(const struct bench *b);

#endif
