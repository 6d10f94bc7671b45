/* SPDX-License-Identifier: MIT */
/*
 * bench_plan_report: what is to be said of a plan that a model in one process does not have: who
 * serves it, how the stages shared the work, requests a second.
 */
#include <jansson.h>
#include <math.h>
#include "base/base.h"
#include "bench.h"

static const char *tls_name(const struct bench *b)
{
	return b->pipe_params.net.insecure ? "no TLS" : "TLS";
}

static int chunk(const struct bench *b)
{
	return b->pipe_params.chunk ? b->pipe_params.chunk : pipeline_plan(b->pipe)->chunk;
}

void bench_plan_print_head(const struct bench *b)
{
	const struct sherd_plan *p = pipeline_plan(b->pipe);

	printf("%s: %d %s, chunks of %d tokens, %s on the wire, %s, %s\n\n", b->pipe_params.plan,
	       p->n_stages, p->n_stages == 1 ? "stage" : "stages", chunk(b),
	       tool_wire_name(p->wire), tls_name(b), pipeline_io(b->pipe));
}

static void print_test(const struct bench *b, const struct bench_test *t)
{
	char name[48];

	bench_test_name(b, t, name, sizeof(name));
	for (int k = 0; k < pipeline_plan(b->pipe)->n_stages; k++) {
		const struct bench_stage *s = &t->stages[k];
		char step[32] = "-";

		if (s->step_s > 0)
			snprintf(step, sizeof(step), "%.2f", 1e3 * s->step_s);
		printf("| %-18s | %5d | %-16s | %3d to %-3d | %7llu | %8.1f | %9.2f | %4.1f %% | %9s |\n",
		       name, k + 1, s->node, s->first, s->end - 1, (unsigned long long)s->steps,
		       s->steps ? (double)s->rows / (double)s->steps : 0,
		       s->steps ? 1e-3 * (double)s->work_us / (double)s->steps : 0, 100 * s->busy,
		       step);
	}
}

static double requests_per_s(const struct bench_test *t)
{
	double mean, deviation;

	bench_rate(t, &mean, &deviation);
	return mean / (t->n_prompt + t->n_gen);
}

void bench_plan_print_stages(const struct bench *b)
{
	char name[48];

	printf("\n| %-18s | stage | %-16s | layers     | steps   | rows/step | ms/step | busy   | ms/token |\n",
	       "test", "node");
	printf("| ------------------ | ----: | ---------------- | ---------- | ------: | --------: | ------: | "
	       "-----: | -------: |\n");
	for (int i = 0; i < b->n_tests; i++)
		print_test(b, &b->tests[i]);
	for (int i = 0; i < b->n_tests; i++) {
		if (!b->tests[i].n_requests)
			continue;
		bench_test_name(b, &b->tests[i], name, sizeof(name));
		printf("\n%s: %.3f requests a second\n", name, requests_per_s(&b->tests[i]));
	}
	printf("\nload: %.3f s, first token after %.3f s\n", b->load_s, b->first_token_s);
}

/* -------------------------------------------------------------------- JSON */

static json_t *stages_json(const struct bench *b, const struct bench_test *t)
{
	json_t *list = json_array();

	for (int k = 0; k < pipeline_plan(b->pipe)->n_stages; k++) {
		const struct bench_stage *s = &t->stages[k];

		json_array_append_new(list,
				      json_pack("{s:s, s:i, s:i, s:I, s:I, s:f, s:f, s:f}", "node",
						s->node, "first", s->first, "end", s->end, "steps",
						(json_int_t)s->steps, "rows", (json_int_t)s->rows,
						"work_s", 1e-6 * (double)s->work_us, "busy",
						s->busy, "token_step_s", s->step_s));
	}
	return list;
}

json_t *bench_plan_json(const struct bench *b, const struct bench_test *t)
{
	const struct sherd_plan *p = pipeline_plan(b->pipe);
	const char *kv = sherd_kv_names[p->kv];

	return json_pack(
		"{s:s, s:s, s:s, s:s, s:o, s:s, s:i, s:i, s:s, s:s, s:s, s:s, s:b, s:i, s:i, s:o, "
		"s:o}",
		"build_commit", sherd_version(), "backends", "pipeline", "plan",
		b->pipe_params.plan, "model_type", p->arch, "model_filename",
		tool_json_path(p->model_path), "model_name", p->model_name, "n_batch", chunk(b),
		"n_ubatch", chunk(b), "type_k", kv, "type_v", kv, "wire", tool_wire_name(p->wire),
		"io", pipeline_io(b->pipe), "tls", !b->pipe_params.net.insecure, "n_requests",
		t->n_requests, "n_sessions", b->pipe_params.n_sessions, "requests_per_s",
		t->n_requests ? json_real(requests_per_s(t)) : json_null(), "stages",
		stages_json(b, t));
}
