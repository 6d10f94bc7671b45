/* SPDX-License-Identifier: MIT */
/*
 * bench: how fast a model runs, in this process (bench_model.c) or on the nodes of a plan
 * (bench_plan.c).
 *
 * A prompt test is one prompt of random tokens; a generation test is single steps with random
 * tokens: the same work as llama-bench's tests of the same names.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "bench.h"
#include "compare.h"

#define WARM_UP_TOKENS	 8
#define REQUESTS	 2 /* of each session, in a repetition */
#define WARM_UP_SECONDS	 0.05 /* small models: clocks and caches take that long */

/* ---------------------------------------------------------- command line */

static int add_default(struct opt_ints *list, int value)
{
	if (list->n)
		return 0;
	list->v = malloc(sizeof(*list->v));
	if (!list->v)
		return -ENOMEM;
	list->v[0] = value;
	list->n = 1;
	return 0;
}

static int largest(const struct opt_ints *list)
{
	int max = 0;

	for (int i = 0; i < list->n; i++)
		max = MAX(max, list->v[i]);
	return max;
}

static int least(const struct opt_ints *list)
{
	int min = list->v[0];

	for (int i = 1; i < list->n; i++)
		min = MIN(min, list->v[i]);
	return min;
}

static int check_with_plan(const struct bench *b)
{
	const struct sherd_model_params *p = &b->params;
	const struct tool_idle idle[] = {
		{ p->n_ctx, "-c" },	   { p->bits, "--bits" },     { p->n_threads, "-t" },
		{ p->device, "--device" }, { p->region, "--region" }, { p->n_batch, "-b" },
		{ p->no_cache, "--no-cache" }, { b->no_limits, "--no-limits" },
	};

	return tool_refuse_idle(&tool_bench, idle, ARRAY_SIZE(idle),
				"%s does nothing with --plan: the plan and its nodes have their own");
}

static int check_options(struct bench *b, int argc, char **argv)
{
	long long need;
	int rc;

	if (!b->model_name && argc)
		b->model_name = argv[0], argc--, argv++;
	if (argc)
		return tool_usage(&tool_bench, "'%s' is one argument too many", argv[0]);
	rc = bench_draft_check(b);
	rc = rc ? rc : bench_compare_check(b);
	if (rc || b->new_at)
		return rc;
	b->source = b->pipe_params.plan ? &bench_source_plan : &bench_source_model;
	if (!b->model_name && !b->pipe_params.plan)
		return tool_usage(&tool_bench, "which model? Give a file with -m MODEL");
	if (b->model_name && b->pipe_params.plan)
		return tool_usage(&tool_bench, "-m or --plan: a plan names its model");
	rc = b->pipe_params.plan ? check_with_plan(b) :
				   pipeline_refuse_idle(&tool_bench, &b->pipe_params);
	if (rc)
		return rc;
	if (b->params.bits && b->params.bits != 4 && b->params.bits != 8)
		return tool_usage(&tool_bench, "--bits: %d is neither 4 nor 8", b->params.bits);
	if (b->draft)
		return TOOL_OK;
	if (b->trace_at && b->pipe_params.plan)
		return tool_usage(&tool_bench,
				  "--trace: a plan's steps are its nodes' to trace: sherd node --trace");
	if (b->kernels && (bench_is_reference(b) || b->pipe_params.plan))
		return tool_usage(&tool_bench, "--kernels: %s no kernels to be seen from here",
				  b->pipe_params.plan ? "a plan's nodes have" :
							"the reference has");
	rc = bench_roofline_check(b);
	if (rc)
		return rc;
	if (add_default(&b->prompts, 512) || add_default(&b->gens, 128) ||
	    add_default(&b->depths, 0))
		return tool_failf(&tool_bench, "no memory for the list of tests");
	need = (long long)largest(&b->depths) + MAX(largest(&b->prompts), largest(&b->gens));
	if (b->pipe_params.n_sessions)
		need = (long long)largest(&b->prompts) + largest(&b->gens);
	if (b->pipe_params.n_sessions && (largest(&b->depths) || !least(&b->prompts)))
		return tool_usage(
			&tool_bench,
			"--sessions: a request has a prompt (-p), and nothing before it (-d)");
	if (!largest(&b->prompts) && !largest(&b->gens))
		return tool_usage(&tool_bench, "nothing to measure: -p and -n are 0");
	if (need > 1 << 24)
		return tool_usage(&tool_bench, "%lld positions are more than any context", need);
	if (!b->params.n_ctx)
		b->params.n_ctx = (int)need;
	if (b->params.n_ctx < need)
		return tool_usage(&tool_bench, "these tests need a context of %lld, -c gives %d",
				  need, b->params.n_ctx);
	b->n_tokens = (int)need;
	return TOOL_OK;
}

static int parse(struct bench *b, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(b->model_name, b->params),
		{ 'p', "n-prompt", OPT_INTS, &b->prompts, 0, 1 << 24, "N,...",
		  "prompt lengths to measure; 0: none (default: 512)" },
		{ 'n', "n-gen", OPT_INTS, &b->gens, 0, 1 << 24, "N,...",
		  "numbers of tokens to generate; 0: none (default: 128)" },
		{ 'd', "n-depth", OPT_INTS, &b->depths, 0, 1 << 24, "N,...",
		  "positions that are already in the context (default: 0)" },
		{ 'r', "repetitions", OPT_INT, &b->reps, 1, 1000, "N",
		  "repetitions of each test (default: 5)" },
		{ 'b', "batch-size", OPT_INT, &b->params.n_batch, 1, 4096, "N",
		  "tokens of a prompt that are computed together (default: 256)" },
		TOOL_PIPELINE_OPTS(b->pipe_params),
		{ 0, "chunk", OPT_INT, &b->pipe_params.chunk, 1, 2048, "N",
		  "with --plan: tokens of a prompt that go through a stage together (default: the plan's)" },
		{ 0, "sessions", OPT_INT, &b->pipe_params.n_sessions, 1, 1024, "N",
		  "with --plan: requests, N of them under way at any time: each is a prompt and the tokens after it" },
		{ 0, "draft", OPT_STR, &b->draft, 0, 0, "MODEL",
		  "instead of all else, the speed of generating with this draft (a model or "
		  "\"ngram\", see sherd run) against without" },
		{ 0, "draft-max", OPT_INT, &b->draft_max, 1, 64, "N",
		  "with --draft: tokens to guess at a time, at most (default: 8)" },
		{ 'f', "file", OPT_STR, &b->draft_file, 0, 0, "FILE",
		  "with --draft: the text to continue (default: from a text's beginning)" },
		{ 0, "kernels", OPT_FLAG, &b->kernels, 0, 0, NULL,
		  "a table of kernels too: shape, time, bytes, rates, share of the limit" },
		{ 0, "roofline", OPT_STR, &b->roofline_at, 0, 0, "FILE",
		  "draw the machine's roof and every kernel below it: FILE.svg (by gnuplot), FILE.gp "
		  "(its script), FILE.csv, FILE.json; implies --kernels" },
		TOOL_TRACE_OPT(b->trace_at),
		{ 0, "compare", OPT_STR, &b->compare_at, 0, 0, "OLD",
		  "say what changed beyond noise since OLD, a file that --json wrote; its tests are "
		  "measured where no others are given" },
		{ 0, "new", OPT_STR, &b->new_at, 0, 0, "FILE",
		  "with --compare: the new results are this file's; nothing is measured" },
		{ 0, "fail-if-slower", OPT_FLAG, &b->fail_if_slower, 0, 0, NULL,
		  "with --compare: exit with 3 if a test is slower beyond noise, which takes two or "
		  "more repetitions" },
		{ 0, "no-limits", OPT_FLAG, &b->no_limits, 0, 0, NULL,
		  "don't measure the machine's limits before and after" },
		{ 0, "json", OPT_FLAG, &b->json, 0, 0, NULL,
		  "JSON, with llama-bench's keys and more, instead of a table" },
		{ 0 }
	};
	int rc = opt_parse(&tool_bench, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	return check_options(b, argc, argv);
}

/* ---------------------------------------------------------------- running */

double bench_mean(double a, double b)
{
	return (a + b) / 2;
}

int bench_make_tokens(struct bench *b, int n_vocab, const struct sherd_tokenizer *tok)
{
	uint64_t x = 0x9e3779b97f4a7c15u;

	if (!b->tokens)
		b->tokens = sherd_calloc(b->n_tokens, sizeof(*b->tokens));
	if (!b->tokens)
		return tool_failf(&tool_bench, "no memory for %d tokens", b->n_tokens);
	for (int i = 0; i < b->n_tokens; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		b->tokens[i] = (int32_t)(x % (uint64_t)n_vocab);
	}
	if (tok && sherd_tokenizer_bos(tok) >= 0)
		b->tokens[0] = sherd_tokenizer_bos(tok);
	return TOOL_OK;
}

static int warm_up(struct bench *b, const struct bench_test *t, struct sherd_error *err)
{
	double start = sherd_now();
	int ret;

	do {
		ret = b->source->ready(b, t, err);
		ret = ret ? ret : b->source->run(b, t, MIN(t->n_gen, WARM_UP_TOKENS), err);
	} while (!ret && sherd_now() - start < WARM_UP_SECONDS);
	return ret;
}

static int repeat(struct bench *b, struct bench_test *t, int r, double *joules,
		  struct sherd_error *err)
{
	bool energy;
	double start;
	int ret = b->source->ready(b, t, err);

	if (ret)
		return ret;
	energy = b->energy && !sherd_energy_start(b->energy);
	start = sherd_now();
	ret = b->source->run(b, t, t->n_gen, err);
	t->seconds[r] = sherd_now() - start;
	*joules += energy ? sherd_energy_stop(b->energy) : NAN;
	return ret;
}

/* What counts is not watched: the trace has it as one event, and what is inside of one run more. */
static int run_test(struct bench *b, struct bench_test *t, int done, struct sherd_error *err)
{
	double begin = sherd_now();
	char name[48];
	double cpu, wall = 0, joules = 0;
	int ret;

	trace_file_listen(b->trace, false, false);
	ret = warm_up(b, t, err);
	if (!ret && b->source->before)
		ret = b->source->before(b, t, err);
	t->when = time(NULL);
	cpu = sherd_cpu_seconds();
	for (int r = 0; r < b->reps && !ret; r++) {
		ret = repeat(b, t, r, &joules, err);
		wall += t->seconds[t->n_reps++];
		tool_progress(NULL, "measuring", done * b->reps + r + 1, b->n_tests * b->reps);
	}
	t->cpu = (sherd_cpu_seconds() - cpu) / wall;
	t->joules = joules / b->reps / bench_tokens(t);
	t->limit_ts = NAN;
	if (!ret && b->source->after)
		ret = b->source->after(b, t, wall, err);
	if (b->trace) {
		bench_test_name(b, t, name, sizeof(name));
		trace_file_phase(b->trace, "measure", name, begin, sherd_now());
	}
	return ret;
}

double bench_tokens(const struct bench_test *t)
{
	return (double)(t->n_prompt + t->n_gen) * MAX(t->n_requests, 1);
}

static int add_test(struct bench *b, int n_prompt, int n_gen, int n_depth)
{
	struct bench_test *t = &b->tests[b->n_tests];

	if (!n_prompt && !n_gen)
		return 0;
	*t = (struct bench_test){ .n_prompt = n_prompt, .n_gen = n_gen, .n_depth = n_depth,
				  .n_requests = REQUESTS * b->pipe_params.n_sessions };
	t->seconds = sherd_calloc(b->reps, sizeof(*t->seconds));
	if (!t->seconds)
		return tool_failf(&tool_bench, "no memory for %d repetitions", b->reps);
	b->n_tests++;
	return 0;
}

static int list_single(struct bench *b, int depth)
{
	int rc = 0;

	for (int i = 0; i < b->prompts.n && !rc; i++)
		rc = add_test(b, b->prompts.v[i], 0, depth);
	for (int i = 0; i < b->gens.n && !rc; i++)
		rc = add_test(b, 0, b->gens.v[i], depth);
	return rc;
}

static int list_requests(struct bench *b)
{
	int rc = 0;

	for (int i = 0; i < b->prompts.n && !rc; i++)
		for (int k = 0; k < b->gens.n && !rc; k++)
			rc = add_test(b, b->prompts.v[i], b->gens.v[k], 0);
	return rc;
}

static int list_tests(struct bench *b)
{
	int rc = 0;

	size_t singles = (size_t)b->depths.n * (b->prompts.n + b->gens.n);
	size_t requests = (size_t)b->prompts.n * b->gens.n;

	b->tests = sherd_calloc(MAX(singles, requests), sizeof(*b->tests));
	if (!b->tests)
		return tool_failf(&tool_bench, "no memory for the list of tests");
	if (b->pipe_params.n_sessions)
		return list_requests(b);
	for (int d = 0; d < b->depths.n && !rc; d++)
		rc = list_single(b, b->depths.v[d]);
	return rc;
}

static int measure(struct bench *b)
{
	struct sherd_error err;
	int rc = list_tests(b);

	rc = rc ? rc : b->source->open(b);
	for (int i = 0; i < b->n_tests && !rc; i++)
		if (run_test(b, &b->tests[i], i, &err))
			rc = tool_fail(&tool_bench, &err);
	if (!rc && b->source->finish)
		rc = b->source->finish(b);
	tool_progress_end();
	return rc;
}

static void free_test(struct bench_test *t)
{
	free(t->seconds);
	free(t->kernels);
}

static void free_bench(struct bench *b)
{
	if (b->source)
		b->source->close(b);
	for (int i = 0; i < b->n_tests; i++)
		free_test(&b->tests[i]);
	free(b->tests);
	free(b->tokens);
	opt_ints_free(&b->prompts);
	opt_ints_free(&b->gens);
	opt_ints_free(&b->depths);
	json_decref(b->old);
}

/* The file is there, or refused, before anything is measured. */
static int begin_trace(struct bench *b)
{
	struct sherd_error err;

	if (!b->trace_at)
		return TOOL_OK;
	if (trace_file_open(&b->trace, b->trace_at, "bench", TRACE_AT_END, &err))
		return tool_fail(&tool_bench, &err);
	trace_file_listen(b->trace, true, false);
	return TOOL_OK;
}

static int end_trace(struct bench *b, int rc)
{
	struct sherd_error err;

	if (b->trace && b->info) {
		trace_file_note(b->trace, "model", b->info->path);
		trace_file_note(b->trace, "device", b->info->device);
	}
	if (trace_file_close(b->trace, &err) && !rc)
		rc = tool_fail(&tool_bench, &err);
	return rc;
}

/* What was measured, or the two files. */
static int print(const struct bench *b)
{
	struct sherd_error err;
	json_t *new = NULL;
	int rc = TOOL_OK;

	if (!b->new_at && !b->json)
		bench_print_table(b);
	if (b->new_at && compare_read(&new, b->new_at, &err))
		return tool_fail(&tool_bench, &err);
	if (!b->new_at && (b->json || b->old)) {
		new = bench_json(b);
		if (!new)
			return TOOL_FAILED;
	}
	if (b->old)
		rc = bench_compare_print(b, new);
	else if (b->json)
		bench_print_json(new);
	json_decref(new);
	if (!tool_flush(&tool_bench))
		return TOOL_FAILED;
	return rc ? rc : bench_roofline_write(b);
}

static int main_bench(int argc, char **argv)
{
	struct bench b = { .params = SHERD_MODEL_PARAMS_INIT, .reps = 5 };
	bool done = false;
	int rc = parse(&b, argc, argv, &done);

	if (!rc && !done && b.draft) {
		rc = bench_draft(&b);
		done = true;
	}
	if (!rc && !done)
		rc = begin_trace(&b);
	if (!rc && !done && !b.new_at)
		rc = measure(&b);
	rc = end_trace(&b, rc);
	if (!rc && !done)
		rc = print(&b);
	free_bench(&b);
	return rc;
}

const struct tool tool_bench = {
	.name = "bench",
	.synopsis = "-m MODEL | --plan PLAN | --compare OLD [options] [--json]",
	.summary = "measure speed, against what the machine can do",
	.about = "Measures prompts (pp) and generation (tg) in tokens/s, mean and deviation, and "
		 "the "
		 "machine's limits before and after: memory reads, int8 dot products, float "
		 "operations, "
		 "launches. Generation can't be faster than reading every weight once a token, a "
		 "prompt "
		 "not faster than its multiplications: 'share' is of the nearer of the two "
		 "limits.\n\n"
		 "  sherd bench -m model.gguf\n"
		 "  sherd bench -m model.gguf -p 128,512 -n 64 -d 0,1024 -t 2 --json\n"
		 "  sherd bench -m model.gguf --json > old.json; ...; sherd bench -m model.gguf "
		 "--compare old.json\n"
		 "  sherd bench -m large.gguf --draft small.gguf -f prompt.txt\n"
		 "  sherd bench --plan plan.json -p 128 -n 16 --sessions 6   (several boards)\n",
	.main = main_bench,
};
