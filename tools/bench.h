/* SPDX-License-Identifier: MIT */
/*
 * bench: what its files share. A model in this process (bench.c) or the stages of a plan
 * (bench_plan.c) is measured by the same tests, and what comes out is reported alike
 * (bench_report.c); what a plan has besides, bench_plan_report.c adds.
 */
#ifndef SHERD_TOOL_BENCH_H
#define SHERD_TOOL_BENCH_H

#include <time.h>
#include "device/energy.h"
#include "device/limits.h"
#include "device/memory.h"
#include "infer/cl/cl.h"
#include "pipeline.h"
#include "tool.h"
#include "watch.h"
#include "trace_file.h"

struct json_t;

/* What a stage of a plan did in a test. */
struct bench_stage {
	const char *node; /* the plan's */
	int first, end; /* layers */
	uint64_t steps, rows;
	uint64_t work_us; /* in steps */
	uint64_t at; /* when the node said so; us */
	double busy; /* share of the time that was work */
	double step_s; /* median of the last steps of a single row; 0: there were none */
};

/*
 * One row: a prompt of n_prompt tokens, or n_gen single tokens, after n_depth positions. Or
 * n_requests, each a prompt and the tokens after it, as many of them under way at any time as there
 * are sessions.
 */
struct bench_test {
	int n_prompt, n_gen, n_depth;
	int n_requests; /* of a repetition; 0: the test is none of requests */
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
	/* a plan's: */
	struct bench_stage stages[SHERD_CLUSTER_NODES];
};

struct bench;

/* What is measured. open and finish return a tool's exit code, the others 0 or -errno. */
struct bench_source {
	int (*open)(struct bench *b); /* makes tokens, too */
	/* Before each run of a test, untimed: the context has t->n_depth positions. */
	int (*ready)(struct bench *b, const struct bench_test *t, struct sherd_error *err);
	/* What is timed: @t's prompt, and @n_gen tokens; or its requests. */
	int (*run)(struct bench *b, const struct bench_test *t, int n_gen, struct sherd_error *err);
	/* Around a test's repetitions, which took @wall seconds; may be NULL. */
	int (*before)(struct bench *b, struct bench_test *t, struct sherd_error *err);
	int (*after)(struct bench *b, struct bench_test *t, double wall, struct sherd_error *err);
	int (*finish)(struct bench *b); /* after all tests; may be NULL */
	void (*close)(struct bench *b);
};

extern const struct bench_source bench_source_model, bench_source_plan;

struct bench {
	const char *model_name;
	struct sherd_model_params params;
	struct pipeline_params pipe_params;
	const struct bench_source *source;
	struct opt_ints prompts, gens, depths;
	int reps;
	bool json, kernels, no_limits;
	const char *roofline_at; /* NULL: none */
	const char *draft, *draft_file; /* --draft, and its -f; NULL: none */
	int draft_max; /* 0: as it comes */
	const char *compare_at, *new_at; /* files; NULL: none */
	bool fail_if_slower;
	struct json_t *old; /* what compare_at has */
	const char *trace_at;
	struct trace_file *trace; /* NULL: none */

	struct sherd_model *model;
	struct sherd_session *session;
	struct watch watch;
	const struct sherd_model_info *info;
	int32_t *tokens; /* [n_tokens]: random, the same in every run */
	int n_tokens;
	int n_threads; /* that compute */
	bool prepared; /* the model was packed or the device tested while opening */
	struct pipeline *pipe; /* a plan's; info is NULL then */
	uint64_t pipe_session; /* 0: none is open */
	struct bench_request *requests; /* that are under way; NULL: none are */

	double load_s, first_token_s;
	struct bench_test *tests;
	int n_tests;
	struct sherd_energy *energy; /* NULL: no sensor */
	struct sherd_memory memory;
	bool has_limits;
	struct sherd_limits before, after;
	char device[16], why[256]; /* that was chosen among several, and why; or "" */
	char dot_path[16];
	uint64_t empty_pss; /* of an OpenCL process that does nothing */
};

/* Mean and sample deviation of tokens/s over the repetitions. */
void bench_rate(const struct bench_test *t, double *mean, double *deviation);
double bench_mean(double a, double b);

/* Of one repetition. */
double bench_tokens(const struct bench_test *t);
/*
 * Random tokens below @n_vocab into b->tokens; the first one begins a text, if @tok (may be NULL)
 * knows how.
 */
int bench_make_tokens(struct bench *b, int n_vocab, const struct sherd_tokenizer *tok);
/* Plain C: no OpenCL device, no limits, no kernels. */
bool bench_is_reference(const struct bench *b);

void bench_print_table(const struct bench *b);
/* NULL: a sentence is out. */
struct json_t *bench_json(const struct bench *b);
void bench_print_json(const struct json_t *j);
void bench_test_name(const struct bench *b, const struct bench_test *t, char *buf, size_t size);

/* bench_draft.c: --draft. The first is TOOL_OK too where there is none. */
int bench_draft_check(struct bench *b);
int bench_draft(struct bench *b);

/* bench_compare.c: reads the old results, which say what is measured where nothing else does. */
int bench_compare_check(struct bench *b);
int bench_compare_print(const struct bench *b, const struct json_t *new);

/* bench_roofline.c */
int bench_roofline_check(struct bench *b);
int bench_roofline_write(const struct bench *b);

/* bench_plan_report.c: what a plan's report has besides. */
void bench_plan_print_head(const struct bench *b);
void bench_plan_print_stages(const struct bench *b);
struct json_t *bench_plan_json(const struct bench *b, const struct bench_test *t);

#endif
