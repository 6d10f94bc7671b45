/* SPDX-License-Identifier: MIT */
/*
 * bench_report: the results of bench as a table for people (llama-bench's columns first) and as
 * JSON for scripts (llama-bench's keys, with the values that a CPU run of it would have where
 * sherd has no such thing, and sherd's own after them).
 */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

void bench_rate(const struct bench_test *t, double *mean, double *deviation)
{
	double n = bench_tokens(t), sum = 0, sq = 0;

	for (int i = 0; i < t->n_reps; i++)
		sum += n / t->seconds[i];
	*mean = sum / t->n_reps;
	for (int i = 0; i < t->n_reps; i++)
		sq += (n / t->seconds[i] - *mean) * (n / t->seconds[i] - *mean);
	*deviation = t->n_reps > 1 ? sqrt(sq / (t->n_reps - 1)) : 0;
}

/* "llama 1.10B 4.5bpw" */
static void model_type(const struct sherd_model_info *i, char *buf, size_t size)
{
	double n = (double)i->n_params;
	double unit = n >= 1e9 ? 1e9 : n >= 1e6 ? 1e6 : 1e3;

	snprintf(buf, size, "%s %.2f%c %.1fbpw", i->arch, n / unit,
		 unit == 1e9   ? 'B'
		 : unit == 1e6 ? 'M'
			       : 'K',
		 n > 0 ? 8.0 * (double)i->weight_bytes / n : 0);
}

static const char *backend(const struct bench *b)
{
	return bench_is_reference(b) ? "reference" : "OpenCL";
}

void bench_test_name(const struct bench *b, const struct bench_test *t, char *buf, size_t size)
{
	int n;

	if (t->n_requests) {
		snprintf(buf, size, "pp%d+tg%d x%d", t->n_prompt, t->n_gen,
			 b->pipe_params.n_sessions);
		return;
	}
	n = snprintf(buf, size, "%s%d", t->n_gen ? "tg" : "pp", t->n_gen ? t->n_gen : t->n_prompt);

	if (t->n_depth)
		snprintf(buf + n, size - n, " @ d%d", t->n_depth);
}

/* What is left of the process when weights and KV cache are taken away. */
static uint64_t beyond(const struct bench *b)
{
	uint64_t known = b->memory.weights + b->info->kv_bytes;

	return b->memory.pss > known ? b->memory.pss - known : 0;
}

/* ------------------------------------------------------------------- table */

/* The columns that are the same for all tests of a model, of which a plan says little. */
static void print_model(const struct bench *b)
{
	const struct sherd_plan *p = b->info ? NULL : pipeline_plan(b->pipe);
	char model[96];

	if (p) {
		snprintf(model, sizeof(model), "%s, %d layers", p->arch, p->n_layers);
		printf("| %-26s | %10s | %10s | %-9s | %7s ", model, "-", "-", "pipeline", "-");
		return;
	}
	model_type(b->info, model, sizeof(model));
	printf("| %-26s | %10s | %8.2f M | %-9s | %7d ", model, tool_bytes(b->info->weight_bytes),
	       (double)b->info->n_params / 1e6, backend(b), b->n_threads);
}

static void print_row(const struct bench *b, const struct bench_test *t)
{
	char test[48], rate[48], limit[32] = "-", share[32] = "-", joules[32] = "-";
	double mean, deviation;

	print_model(b);
	bench_test_name(b, t, test, sizeof(test));
	bench_rate(t, &mean, &deviation);
	snprintf(rate, sizeof(rate), "%.2f ± %.2f", mean, deviation);
	if (t->bound) {
		snprintf(limit, sizeof(limit), "%.1f", t->limit_ts);
		snprintf(share, sizeof(share), "%.0f %% of %s", 100 * mean / t->limit_ts, t->bound);
	}
	if (!isnan(t->joules))
		snprintf(joules, sizeof(joules), "%.4f", t->joules);
	/* "±" is two bytes and one column: hence 19 for 18. */
	printf("| %14s | %19s | %9s | %13s | %5.0f %% | %8s |\n", test, rate, limit, share,
	       100 * t->cpu, joules);
}

static void print_limits(const struct bench *b)
{
	const struct sherd_limits *x = &b->before, *y = &b->after;

	if (!b->has_limits)
		return;
	printf("\nlimits, before and after:\n");
	printf("  read    %8.1f %8.1f GB/s (%.1f in ordinary pages, %.1f in huge ones)\n",
	       x->read / 1e9, y->read / 1e9, x->read_small / 1e9, x->read_huge / 1e9);
	printf("  int8    %8.1f %8.1f GOP/s (%s)\n", x->dot / 1e9, y->dot / 1e9, b->dot_path);
	printf("  float   %8.1f %8.1f GFLOP/s\n", x->fma / 1e9, y->fma / 1e9);
	printf("  launch  %8.2f %8.2f us in a queue, %.1f us waited for\n", x->launch * 1e6,
	       y->launch * 1e6, bench_mean(x->launch_wait, y->launch_wait) * 1e6);
}

static void print_memory(const struct bench *b)
{
	printf("\nmemory: %s at most; now %s, of which weights %s and KV cache %s; beyond them %s",
	       tool_bytes(b->memory.peak), tool_bytes(b->memory.pss), tool_bytes(b->memory.weights),
	       tool_bytes(b->info->kv_bytes), tool_bytes(beyond(b)));
	if (b->empty_pss)
		printf(" (an OpenCL program that does nothing: %s)", tool_bytes(b->empty_pss));
	printf("\nload: %.3f s, first token after %.3f s%s\n", b->load_s, b->first_token_s,
	       b->info->packed_in_memory ? " (packed in memory: there is no room in the cache)"
					 : "");
	printf("weights: %s; the device reads them: %s\n", b->info->region, b->info->weights);
	printf("energy: %s\n", b->energy ? sherd_energy_name(b->energy)
					 : "no sensor (RAPL, INA3221, hwmon) that may be read");
}

/* "81 % of read": of the nearest limit. */
static void kernel_share(const struct bench *b, const struct sherd_cl_time *k, char *buf,
			 size_t size)
{
	double read, ops;

	snprintf(buf, size, "-");
	if (!b->has_limits)
		return;
	read = k->bytes / bench_mean(b->before.read, b->after.read);
	ops = k->ops / (k->floats ? bench_mean(b->before.fma, b->after.fma) :
				    bench_mean(b->before.dot, b->after.dot));
	snprintf(buf, size, "%.0f %% of %s", 100 * MAX(read, ops) / MAX(k->seconds, 1e-12),
		 read > ops ? "read" : k->floats ? "float" : "dot");
}

static void print_kernels(const struct bench *b, const struct bench_test *t)
{
	char name[32], share[32];
	double total = 0;

	if (!t->n_kernels)
		return;
	for (int i = 0; i < t->n_kernels; i++)
		total += t->kernels[i].seconds;
	bench_test_name(b, t, name, sizeof(name));
	printf("\nkernels of %s, %.3f s in one run:\n\n", name, total);
	printf("| %-16s | %-28s | %6s | %9s | %6s | %8s | %7s | %8s | %-13s | %s |\n", "kernel",
	       "shape", "calls", "us/call", "time", "MB/call", "GB/s", "GOP/s", "share", "variant");
	printf("| ---------------- | ---------------------------- | -----: | --------: | -----: | "
	       "-------: | ------: | -------: | ------------- | ------- |\n");
	for (int i = 0; i < t->n_kernels; i++) {
		const struct sherd_cl_time *k = &t->kernels[i];
		double s = MAX(k->seconds, 1e-12), calls = MAX(k->calls, 1u);

		kernel_share(b, k, share, sizeof(share));
		printf("| %-16s | %-28s | %6u | %9.1f | %4.1f %% | %8.3f | %7.2f | %8.1f | %-12s "
		       "| %s |\n",
		       k->name, k->shape, k->calls, 1e6 * s / calls, 100 * s / MAX(total, 1e-12),
		       k->bytes / calls / 1e6, k->bytes / s / 1e9, k->ops / s / 1e9, share,
		       k->variant[0] ? k->variant : "default");
	}
}

void bench_print_table(const struct bench *b)
{
	if (b->pipe)
		bench_plan_print_head(b);
	else
		printf("%s (%s)%s%s\n\n", b->info->device,
		       b->why[0] ? b->why : b->info->device_why,
		       b->info->tune[0] ? "; kernels: " : "", b->info->tune);
	printf("| %-26s | %10s | %10s | %-9s | %7s | %14s | %18s | %9s | %13s | %7s | %8s |\n",
	       "model", "size", "params", "backend", "threads", "test", "t/s", "limit t/s", "share",
	       "CPU", "J/token");
	printf("| -------------------------- | ---------: | ---------: | --------- | ------: | "
	       "-------------: | -----------------: | --------: | ------------: | ------: | "
	       "-------: "
	       "|\n");
	for (int i = 0; i < b->n_tests; i++)
		print_row(b, &b->tests[i]);
	if (b->pipe) {
		bench_plan_print_stages(b);
		return;
	}
	for (int i = 0; i < b->n_tests; i++)
		print_kernels(b, &b->tests[i]);
	print_limits(b);
	print_memory(b);
}

/* -------------------------------------------------------------------- JSON */

static json_t *number_or_null(double v)
{
	return isfinite(v) ? json_real(v) : json_null();
}

static void set(json_t *o, const char *key, double v)
{
	json_object_set_new(o, key, number_or_null(v));
}

static json_t *limits_json(const struct bench *b, const struct sherd_limits *l)
{
	json_t *o;

	if (!b->has_limits)
		return json_null();
	o = json_object();
	set(o, "read_bytes_per_s", l->read);
	set(o, "read_small_pages_bytes_per_s", l->read_small);
	set(o, "read_huge_pages_bytes_per_s", l->read_huge);
	set(o, "dot_ops_per_s", l->dot);
	set(o, "fma_flops", l->fma);
	set(o, "launch_s", l->launch);
	set(o, "launch_wait_s", l->launch_wait);
	json_object_set_new(o, "dot_path", json_string(b->dot_path));
	return o;
}

static json_t *memory_json(const struct bench *b)
{
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "peak", (json_int_t)b->memory.peak,
			 "pss", (json_int_t)b->memory.pss, "weights", (json_int_t)b->memory.weights,
			 "kv", (json_int_t)b->info->kv_bytes, "scratch",
			 (json_int_t)b->info->scratch_bytes, "beyond", (json_int_t)beyond(b),
			 "empty_program", (json_int_t)b->empty_pss);
}

/* llama-bench's keys for things that sherd does not have, as its CPU back end says them. */
static json_t *constants_json(void)
{
	return json_pack(
		"{s:i, s:s, s:b, s:i, s:i, s:i, s:s, s:i, s:b, s:i, s:s, s:s, s:s, s:s, s:b, "
		"s:i, s:b, s:b, s:i, s:i, s:b}",
		"build_number", 0, "cpu_mask", "0x0", "cpu_strict", 0, "poll", 0, "n_gpu_layers", 0,
		"n_cpu_moe", 0, "split_mode", "none", "main_gpu", 0, "no_kv_offload", 0,
		"flash_attn", 1, "tensor_split", "0.00", "tensor_buft_overrides", "none",
		"load_mode", "mmap", "lazy_mode", "none", "embeddings", 0, "no_op_offload", 0,
		"no_host", 0, "repack", 1, "fit_target", 0, "fit_min_ctx", 0, "use_mmap", 1);
}

static void add_samples(json_t *o, const struct bench_test *t)
{
	double n = bench_tokens(t), mean, deviation, sum = 0, sq = 0;
	json_t *ns = json_array(), *ts = json_array();

	for (int i = 0; i < t->n_reps; i++) {
		sum += t->seconds[i];
		json_array_append_new(ns, json_integer(llround(t->seconds[i] * 1e9)));
		json_array_append_new(ts, json_real(n / t->seconds[i]));
	}
	sum /= t->n_reps;
	for (int i = 0; i < t->n_reps; i++)
		sq += (t->seconds[i] - sum) * (t->seconds[i] - sum);
	bench_rate(t, &mean, &deviation);
	json_object_set_new(o, "avg_ns", json_integer(llround(sum * 1e9)));
	json_object_set_new(o, "stddev_ns",
			    json_integer(t->n_reps > 1 ? llround(sqrt(sq / (t->n_reps - 1)) * 1e9)
						       : 0));
	set(o, "avg_ts", mean);
	set(o, "stddev_ts", deviation);
	json_object_set_new(o, "samples_ns", ns);
	json_object_set_new(o, "samples_ts", ts);
	set(o, "limit_ts", t->limit_ts);
	set(o, "share", mean / t->limit_ts);
	json_object_set_new(o, "bound", t->bound ? json_string(t->bound) : json_null());
	set(o, "cpu", t->cpu);
	set(o, "joules_per_token", t->joules);
}

static const char *kv_name(enum sherd_kv_type t)
{
	return t == SHERD_KV_INT8 ? "int8" : t == SHERD_KV_F32 ? "f32" : "f16";
}

static json_t *model_json(const struct bench *b)
{
	const struct sherd_model_info *i = b->info;
	char type[96];

	model_type(i, type, sizeof(type));
	return json_pack(
		"{s:s, s:s, s:s, s:s, s:s, s:o, s:s, s:I, s:I, s:i, s:i, s:i, s:s, s:s}",
		"build_commit", sherd_version(), "cpu_info", i->device, "gpu_info", "", "devices",
		i->device, "backends", backend(b), "model_filename", tool_json_path(i->path),
		"model_type", type, "model_size", (json_int_t)i->weight_bytes, "model_n_params",
		(json_int_t)i->n_params, "n_batch", i->n_batch, "n_ubatch", i->n_batch, "n_threads",
		b->n_threads, "type_k", kv_name(b->params.kv_type), "type_v",
		kv_name(b->params.kv_type));
}

static void add_model_results(const struct bench *b, json_t *o)
{
	json_object_set_new(o, "region", json_string(b->info->region));
	json_object_set_new(o, "weights", json_string(b->info->weights));
	json_object_set_new(o, "token_bytes", json_integer((json_int_t)b->info->token_bytes));
	json_object_set_new(o, "energy_sensor",
			    b->energy ? json_string(sherd_energy_name(b->energy)) : json_null());
	json_object_set_new(o, "memory", memory_json(b));
	json_object_set_new(o, "limits_before", limits_json(b, &b->before));
	json_object_set_new(o, "limits_after", limits_json(b, &b->after));
}

static json_t *test_json(const struct bench *b, const struct bench_test *t)
{
	json_t *o = constants_json(), *own = b->pipe ? bench_plan_json(b, t) : model_json(b);
	char when[32];

	if (!o || !own) {
		json_decref(o);
		json_decref(own);
		return NULL;
	}
	json_object_update(o, own);
	json_decref(own);
	strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%SZ", gmtime(&t->when));
	json_object_set_new(o, "n_prompt", json_integer(t->n_prompt));
	json_object_set_new(o, "n_gen", json_integer(t->n_gen));
	json_object_set_new(o, "n_depth", json_integer(t->n_depth));
	json_object_set_new(o, "test_time", json_string(when));
	add_samples(o, t);
	set(o, "load_s", b->load_s);
	set(o, "first_token_s", b->first_token_s);
	if (b->info)
		add_model_results(b, o);
	return o;
}

/* Of a call. */
static double deviation(const struct sherd_cl_time *k)
{
	double n = MAX(k->calls, 1u), mean = k->seconds / n;
	double variance = n > 1 ? (k->squares - n * mean * mean) / (n - 1) : 0;

	return variance > 0 ? sqrt(variance) : 0;
}

static json_t *kernels_json(const struct bench_test *t)
{
	json_t *list = json_array();

	for (int i = 0; i < t->n_kernels; i++) {
		const struct sherd_cl_time *k = &t->kernels[i];

		json_array_append_new(
			list,
			json_pack("{s:s, s:s, s:s, s:I, s:f, s:f, s:f, s:f, s:s}", "name", k->name,
				  "shape", k->shape, "variant",
				  k->variant[0] ? k->variant : "default", "calls",
				  (json_int_t)k->calls, "seconds", k->seconds, "stddev_s",
				  deviation(k), "bytes", k->bytes, "ops", k->ops, "ops_are",
				  k->floats ? "float" : "int8"));
	}
	return list;
}

json_t *bench_json(const struct bench *b)
{
	json_t *list = json_array();

	for (int i = 0; i < b->n_tests; i++) {
		json_t *o = test_json(b, &b->tests[i]);

		if (o && b->kernels)
			json_object_set_new(o, "kernels", kernels_json(&b->tests[i]));
		if (!o || json_array_append_new(list, o)) {
			tool_failf(&tool_bench, "the results can't be written as JSON: a name in "
						"the model is not UTF-8, or memory is out");
			json_decref(list);
			return NULL;
		}
	}
	return list;
}

void bench_print_json(const json_t *j)
{
	json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
}
