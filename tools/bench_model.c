/* SPDX-License-Identifier: MIT */
/*
 * bench_model: a model in this process, held against what the machine can do. The limits are
 * measured by a child process just before and just after, since machines change by the minute; so
 * its buffers and its compiler are not in this process's memory.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"
#include "infer/infer.h"
#include "roof.h"

/* Plain C: no OpenCL device, no limits, no kernels. */
bool bench_is_reference(const struct bench *b)
{
	return b->params.device && !strcmp(b->params.device, "reference");
}

/* ----------------------------------------------------------------- limits */

static bool measure_limits(struct bench *b, struct sherd_limits *l)
{
	uint64_t empty_pss = 0;

	if (b->no_limits || bench_is_reference(b) ||
	    !roof_measure(&b->params, l, b->dot_path, sizeof(b->dot_path), &empty_pss))
		return false;
	/*
	 * The second time this process has the driver's libraries mapped too, and each counts
	 * half.
	 */
	if (!b->empty_pss)
		b->empty_pss = empty_pss;
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

/* Limits are of the device that was measured to be the fastest, which the first ones may not be. */
static void take_chosen(struct bench *b)
{
	snprintf(b->device, sizeof(b->device), "%s", b->info->device_chosen);
	snprintf(b->why, sizeof(b->why), "%s", b->info->device_why);
	b->params.device = b->device;
	b->has_limits = measure_limits(b, &b->before);
}

/* Opens the model and computes one token; both times count from here. */
static int open_model(struct bench *b)
{
	double start = sherd_now();
	const float *logits;
	struct sherd_error err;
	int rc;

	b->params.progress = on_progress;
	b->params.note = tool_note;
	b->params.ctx = b;
	b->prepared = false;
	if (sherd_model_open(&b->model, b->model_name, &b->params, &err))
		return tool_fail(&tool_bench, &err);
	b->info = sherd_model_info(b->model);
	if (tool_refuse_encoder(&tool_bench, b->info))
		return TOOL_FAILED;
	b->watch = (struct watch){ .tool = "sherd bench", .limit_s = WATCH_DEFAULT_S };
	watch_model(&b->watch, b->info);
	if (b->info->device_chosen[0])
		take_chosen(b);
	if (b->info->first_layer || b->info->end_layer != b->info->n_layers)
		return tool_failf(&tool_bench,
				  "%s: holds layers %d to %d of %d; bench runs whole models",
				  b->info->path, b->info->first_layer, b->info->end_layer - 1,
				  b->info->n_layers);
	b->load_s = sherd_now() - start;
	b->n_threads = b->info->n_threads;
	if (!b->n_threads)
		b->n_threads = bench_is_reference(b) ? 1 : sherd_device_host_cpus();
	rc = bench_make_tokens(b, b->info->n_vocab, sherd_model_tokenizer(b->model));
	if (rc)
		return rc;
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
	int rc = open_model(b);

	if (rc || !b->prepared || b->info->packed_in_memory)
		return rc;
	close_model(b);
	return open_model(b);
}

static int feed(struct bench *b, const int32_t *tokens, int n, const float **logits,
		struct sherd_error *err)
{
	int rc;

	watch_begin(&b->watch, n, sherd_session_pos(b->session));
	rc = sherd_prefill(b->session, tokens, n, logits, err);
	watch_end(&b->watch);
	return rc;
}

/* Before any position stand the same tokens, whatever the test. */
static int ready(struct bench *b, const struct bench_test *t, struct sherd_error *err)
{
	int pos = sherd_session_pos(b->session);
	const float *logits;

	if (pos >= t->n_depth)
		return sherd_session_truncate(b->session, t->n_depth, err);
	return feed(b, b->tokens + pos, t->n_depth - pos, &logits, err);
}

static int run(struct bench *b, const struct bench_test *t, int n_gen,
		      struct sherd_error *err)
{
	const int32_t *tokens = b->tokens + t->n_depth;
	const float *logits;
	int ret = 0;

	if (t->n_prompt)
		ret = feed(b, tokens, t->n_prompt, &logits, err);
	for (int i = 0; i < n_gen && !ret; i++)
		ret = feed(b, tokens + i, 1, &logits, err);
	return ret;
}

/* Runs the test once more with an event a launch, which costs time: never in a run that counts. */
static int profile_test(struct bench *b, struct bench_test *t, struct sherd_error *err)
{
	struct sherd_exec *exec = b->model->exec;
	int ret = ready(b, t, err);
	double begin = sherd_now();
	char name[48];

	trace_file_listen(b->trace, true, true);
	if (!ret && b->kernels)
		ret = sherd_cl_exec_profile(exec, true, err);
	if (!ret)
		ret = run(b, t, t->n_gen, err);
	if (!ret && b->kernels)
		ret = sherd_cl_exec_times(exec, &t->kernels, &t->n_kernels);
	if (!ret && b->kernels)
		ret = sherd_cl_exec_profile(exec, false, err);
	trace_file_listen(b->trace, false, false);
	if (!b->trace)
		return ret;
	bench_test_name(b, t, name, sizeof(name));
	trace_file_phase(b->trace, "one run more", name, begin, sherd_now());
	return ret;
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

/* ------------------------------------------------------------ from end to end */

static int open_it(struct bench *b)
{
	int rc;

	b->has_limits = measure_limits(b, &b->before);
	if (b->trace && b->has_limits)
		trace_file_roof(b->trace, b->before.read, b->before.dot, b->before.fma);
	rc = open_twice(b);
	if (!rc)
		b->energy = sherd_energy_open("/sys");
	return rc;
}

static int finish(struct bench *b)
{
	struct sherd_error err;

	read_memory(b);
	for (int i = 0; i < b->n_tests && (b->kernels || b->trace); i++)
		if (profile_test(b, &b->tests[i], &err))
			return tool_fail(&tool_bench, &err);
	b->has_limits = b->has_limits && measure_limits(b, &b->after);
	for (int i = 0; i < b->n_tests; i++)
		set_limit(b, &b->tests[i]);
	return TOOL_OK;
}

static void close_it(struct bench *b)
{
	close_model(b);
	sherd_energy_close(b->energy);
}

const struct bench_source bench_source_model = {
	.open = open_it,
	.ready = ready,
	.run = run,
	.finish = finish,
	.close = close_it,
};
