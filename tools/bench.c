/* SPDX-License-Identifier: MIT */
/*
 * bench: how fast a model runs here, held against what the machine can do. The limits are
 * measured by a child process just before and just after, since machines change by the minute; so
 * its buffers and its compiler are not in this process's memory.
 *
 * A prompt test is one sherd_prefill() of random tokens; a generation test is single steps with
 * random tokens, without sampling: the same work as llama-bench's tests of the same names.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "infer/infer.h"

#define LIMITS_TIMEOUT_S 120.0
#define WARM_UP_TOKENS	 8
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

/* Plain C: no OpenCL device, no limits, no kernels. */
static bool is_reference(const struct bench *b)
{
	return b->params.device && !strcmp(b->params.device, "reference");
}

static int check_options(struct bench *b, int argc, char **argv)
{
	long long need;

	if (!b->model_name && argc)
		b->model_name = argv[0], argc--, argv++;
	if (argc)
		return tool_usage(&tool_bench, "'%s' is one argument too many", argv[0]);
	if (!b->model_name)
		return tool_usage(&tool_bench, "which model? Give a file with -m MODEL");
	if (b->params.bits && b->params.bits != 4 && b->params.bits != 8)
		return tool_usage(&tool_bench, "--bits: %d is neither 4 nor 8", b->params.bits);
	if (b->kernels && is_reference(b))
		return tool_usage(&tool_bench, "--kernels: the reference has no kernels");
	if (add_default(&b->prompts, 512) || add_default(&b->gens, 128) ||
	    add_default(&b->depths, 0))
		return tool_failf(&tool_bench, "no memory for the list of tests");
	need = (long long)largest(&b->depths) + MAX(largest(&b->prompts), largest(&b->gens));
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
		{ 0, "kernels", OPT_FLAG, &b->kernels, 0, 0, NULL,
		  "a table of kernels too: shape, time, bytes, rates, share of the limit" },
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

/* ----------------------------------------------------------------- limits */

/* The rest of the line after "@key ". */
static void copy_value(const char *text, const char *key, char *buf, size_t size)
{
	const char *p = strstr(text, key);

	if (p) {
		p += strlen(key);
		snprintf(buf, size, "%.*s", (int)strcspn(p, "\n"), p);
	}
}

/* What can't be measured is left out, with a sentence: the speeds are worth having without it. */
static bool measure_limits(struct bench *b, struct sherd_limits *l)
{
	const char *argv[8] = { "--limits" };
	char threads[16], pss[32] = "";
	struct sherd_error err;
	char *text;
	int n = 1;

	if (b->no_limits || is_reference(b))
		return false;
	if (b->params.device) {
		argv[n++] = "--device";
		argv[n++] = b->params.device;
	}
	if (b->params.n_threads) {
		snprintf(threads, sizeof(threads), "%d", b->params.n_threads);
		argv[n++] = "--threads";
		argv[n++] = threads;
	}
	tool_progress(NULL, "measuring the machine", 0, 0);
	if (sherd_device_child_text(argv, LIMITS_TIMEOUT_S, &text, &err)) {
		tool_note(NULL, err.msg);
		return false;
	}
	if (sherd_limits_parse(l, text)) {
		tool_note(NULL, "the device's limits came back garbled and are left out");
		free(text);
		return false;
	}
	copy_value(text, "\nempty_pss ", pss, sizeof(pss));
	copy_value(text, "\ndot_path ", b->dot_path, sizeof(b->dot_path));
	/*
	 * The second time this process has the driver's libraries mapped too, and each counts
	 * half.
	 */
	if (!b->empty_pss)
		b->empty_pss = strtoull(pss, NULL, 10);
	free(text);
	return true;
}

/* Parameters of the layers' matrices: each is one multiply-add a token of a prompt. */
static double layer_params(const struct sherd_model_info *i)
{
	double q = (double)i->n_heads * i->head_dim, kv = (double)i->n_kv_heads * i->head_dim;
	double attention = (double)i->hidden * (2 * q + 2 * kv);
	double unit = (double)i->hidden * i->ffn, table = (double)i->n_vocab * i->hidden;
	double best = 0, least = INFINITY;

	/* Two or three matrices in the ffn, one table or two: what fits the total. */
	for (int matrices = 2; matrices <= 3; matrices++)
		for (int tables = 1; tables <= 2; tables++) {
			double layers = i->n_layers * (attention + matrices * unit);
			double off = fabs((double)i->n_params - layers - tables * table);

			if (off < least) {
				least = off;
				best = layers;
			}
		}
	return best;
}

double bench_mean(double a, double b)
{
	return (a + b) / 2;
}

/*
 * Weights are read once a batch, and each is multiplied once a token: the slower of the two
 * bounds.
 */
static void set_limit(const struct bench *b, struct bench_test *t)
{
	const struct sherd_model_info *i = b->info;
	double head = t->n_gen ? (double)i->n_vocab * i->hidden : 0;
	double batch = t->n_gen ? 1 : MIN(t->n_prompt, i->n_batch);
	double read, dot;

	t->limit_ts = NAN;
	t->bound = NULL;
	if (!b->has_limits)
		return;
	read = (double)i->token_bytes / batch / bench_mean(b->before.read, b->after.read);
	dot = 2 * (layer_params(i) + head) / bench_mean(b->before.dot, b->after.dot);
	t->limit_ts = 1 / MAX(read, dot);
	t->bound = read > dot ? "read" : "dot";
}

/* ---------------------------------------------------------------- running */

static void on_progress(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	/* what is done at every start is none that is done once */
	if (strcmp(what, "reading the weights"))
		((struct bench *)ctx)->prepared = true;
	tool_progress(NULL, what, done, total);
}

static void make_tokens(struct bench *b)
{
	const struct sherd_tokenizer *tok = sherd_model_tokenizer(b->model);
	uint64_t x = 0x9e3779b97f4a7c15u;

	for (int i = 0; i < b->n_tokens; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		b->tokens[i] = (int32_t)(x % (uint64_t)b->info->n_vocab);
	}
	if (tok && sherd_tokenizer_bos(tok) >= 0)
		b->tokens[0] = sherd_tokenizer_bos(tok);
}

/* Opens the model and computes one token; both times count from here. */
static int open_model(struct bench *b)
{
	double start = sherd_now();
	const float *logits;
	struct sherd_error err;

	b->params.progress = on_progress;
	b->params.note = tool_note;
	b->params.ctx = b;
	b->prepared = false;
	if (sherd_model_open(&b->model, b->model_name, &b->params, &err))
		return tool_fail(&tool_bench, &err);
	b->info = sherd_model_info(b->model);
	if (b->info->first_layer || b->info->end_layer != b->info->n_layers)
		return tool_failf(&tool_bench,
				  "%s: holds layers %d to %d of %d; bench runs whole models",
				  b->info->path, b->info->first_layer, b->info->end_layer - 1,
				  b->info->n_layers);
	b->load_s = sherd_now() - start;
	b->n_threads = b->info->n_threads;
	if (!b->n_threads)
		b->n_threads = is_reference(b) ? 1 : sherd_device_host_cpus();
	make_tokens(b);
	if (sherd_session_new(&b->session, b->model, NULL, &err) ||
	    sherd_prefill(b->session, b->tokens, 1, &logits, &err))
		return tool_fail(&tool_bench, &err);
	b->first_token_s = sherd_now() - start;
	return TOOL_OK;
}

static void close_model(struct bench *b)
{
	sherd_session_free(b->session);
	sherd_model_close(b->model);
	b->session = NULL;
	b->model = NULL;
	b->info = NULL;
}

/* The first use of a model packs it and tries the device: that is no load time. */
static int open_twice(struct bench *b)
{
	int rc;

	b->tokens = sherd_calloc(b->n_tokens, sizeof(*b->tokens));
	if (!b->tokens)
		return tool_failf(&tool_bench, "no memory for %d tokens", b->n_tokens);
	rc = open_model(b);
	if (rc || !b->prepared || b->info->packed_in_memory)
		return rc;
	close_model(b);
	return open_model(b);
}

static int run_tokens(struct bench *b, const struct bench_test *t, int n_gen,
		      struct sherd_error *err)
{
	const int32_t *tokens = b->tokens + t->n_depth;
	const float *logits;
	int ret = sherd_session_truncate(b->session, t->n_depth, err);

	if (!ret && t->n_prompt)
		ret = sherd_prefill(b->session, tokens, t->n_prompt, &logits, err);
	for (int i = 0; i < n_gen && !ret; i++)
		ret = sherd_prefill(b->session, tokens + i, 1, &logits, err);
	return ret;
}

static int fill_depth(struct bench *b, int depth, struct sherd_error *err)
{
	const float *logits;
	int ret = sherd_session_truncate(b->session, 0, err);

	return ret || !depth ? ret : sherd_prefill(b->session, b->tokens, depth, &logits, err);
}

static int run_test(struct bench *b, struct bench_test *t, int done, struct sherd_error *err)
{
	double cpu, start, wall = 0, joules = 0;
	bool warm = false;
	int n = t->n_prompt + t->n_gen;
	int ret = fill_depth(b, t->n_depth, err);

	start = sherd_now();
	while (!ret && (!warm || sherd_now() - start < WARM_UP_SECONDS)) {
		ret = run_tokens(b, t, MIN(t->n_gen, WARM_UP_TOKENS), err);
		warm = true;
	}
	t->when = time(NULL);
	cpu = sherd_cpu_seconds();
	for (int r = 0; r < b->reps && !ret; r++) {
		bool energy = b->energy && !sherd_energy_start(b->energy);

		start = sherd_now();
		ret = run_tokens(b, t, t->n_gen, err);
		t->seconds[t->n_reps++] = sherd_now() - start;
		joules += energy ? sherd_energy_stop(b->energy) : NAN;
		wall += t->seconds[r];
		tool_progress(NULL, "measuring", done * b->reps + r + 1, b->n_tests * b->reps);
	}
	t->cpu = (sherd_cpu_seconds() - cpu) / wall;
	t->joules = joules / b->reps / n;
	return ret;
}

/* Runs the test once more with an event a launch, which costs time: never in a run that counts. */
static int profile_test(struct bench *b, struct bench_test *t, struct sherd_error *err)
{
	struct sherd_exec *exec = b->model->exec;
	int ret = fill_depth(b, t->n_depth, err);

	if (!ret)
		ret = sherd_cl_exec_profile(exec, true, err);
	if (!ret)
		ret = run_tokens(b, t, t->n_gen, err);
	if (!ret)
		ret = sherd_cl_exec_times(exec, &t->kernels, &t->n_kernels);
	if (!ret)
		ret = sherd_cl_exec_profile(exec, false, err);
	return ret;
}

static int add_test(struct bench *b, int n_prompt, int n_gen, int n_depth)
{
	struct bench_test *t = &b->tests[b->n_tests];

	if (!n_prompt && !n_gen)
		return 0;
	*t = (struct bench_test){ .n_prompt = n_prompt, .n_gen = n_gen, .n_depth = n_depth };
	t->seconds = sherd_calloc(b->reps, sizeof(*t->seconds));
	if (!t->seconds)
		return tool_failf(&tool_bench, "no memory for %d repetitions", b->reps);
	b->n_tests++;
	return 0;
}

static int list_tests(struct bench *b)
{
	int rc = 0;

	b->tests =
		sherd_calloc((size_t)b->depths.n * (b->prompts.n + b->gens.n), sizeof(*b->tests));
	if (!b->tests)
		return tool_failf(&tool_bench, "no memory for the list of tests");
	for (int d = 0; d < b->depths.n && !rc; d++) {
		for (int i = 0; i < b->prompts.n && !rc; i++)
			rc = add_test(b, b->prompts.v[i], 0, b->depths.v[d]);
		for (int i = 0; i < b->gens.n && !rc; i++)
			rc = add_test(b, 0, b->gens.v[i], b->depths.v[d]);
	}
	return rc;
}

static void read_memory(struct bench *b)
{
	char *cache = sherd_cache_dir();
	char *shards = cache ? sherd_asprintf("%s/shards/", cache) : NULL;
	const char *weights[] = { "/memfd:", b->info->path, shards };

	sherd_memory_read(&b->memory, weights, ARRAY_SIZE(weights));
	free(shards);
	free(cache);
}

static int measure(struct bench *b)
{
	struct sherd_error err;
	int rc = list_tests(b);

	if (rc)
		return rc;
	b->has_limits = measure_limits(b, &b->before);
	rc = open_twice(b);
	if (rc)
		return rc;
	b->energy = sherd_energy_open("/sys");
	for (int i = 0; i < b->n_tests; i++)
		if (run_test(b, &b->tests[i], i, &err))
			return tool_fail(&tool_bench, &err);
	read_memory(b);
	for (int i = 0; i < b->n_tests && b->kernels; i++)
		if (profile_test(b, &b->tests[i], &err))
			return tool_fail(&tool_bench, &err);
	b->has_limits = b->has_limits && measure_limits(b, &b->after);
	for (int i = 0; i < b->n_tests; i++)
		set_limit(b, &b->tests[i]);
	tool_progress_end();
	return TOOL_OK;
}

static void free_test(struct bench_test *t)
{
	free(t->seconds);
	free(t->kernels);
}

static void free_bench(struct bench *b)
{
	close_model(b);
	for (int i = 0; i < b->n_tests; i++)
		free_test(&b->tests[i]);
	free(b->tests);
	free(b->tokens);
	sherd_energy_close(b->energy);
	opt_ints_free(&b->prompts);
	opt_ints_free(&b->gens);
	opt_ints_free(&b->depths);
}

static int main_bench(int argc, char **argv)
{
	struct bench b = { .params = SHERD_MODEL_PARAMS_INIT, .reps = 5 };
	bool done = false;
	int rc = parse(&b, argc, argv, &done);

	if (!rc && !done)
		rc = measure(&b);
	if (!rc && !done) {
		if (b.json)
			rc = bench_print_json(&b);
		else
			bench_print_table(&b);
		if (!tool_flush(&tool_bench))
			rc = TOOL_FAILED;
	}
	free_bench(&b);
	return rc;
}

const struct tool tool_bench = {
	.name = "bench",
	.synopsis = "-m MODEL [-p N,...] [-n N,...] [-d N,...] [-r N] [--json]",
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
		 "  sherd bench -m model.gguf -p 128,512 -n 64 -d 0,1024 -t 2 --json\n",
	.main = main_bench,
};
