/* SPDX-License-Identifier: MIT */
/* bench_compare: --compare, with what was measured just now or with a second file. */
#include <jansson.h>
#include "bench.h"
#include "compare.h"

#define EXIT_SLOWER 3

/* With two files nothing is run: what would be run is a wrong command line. */
static int check_files(const struct bench *b)
{
	const struct sherd_model_params *p = &b->params;
	const struct tool_idle idle[] = {
		{ b->model_name, "-m" },  { b->pipe_params.plan, "--plan" }, { b->prompts.n, "-p" },
		{ b->gens.n, "-n" },	  { b->depths.n, "-d" },	     { p->n_ctx, "-c" },
		{ p->n_threads, "-t" },	  { p->device, "--device" },	     { p->n_batch, "-b" },
		{ b->kernels, "--kernels" }, { b->trace_at, "--trace" },
		{ b->roofline_at, "--roofline" },
		{ b->no_limits, "--no-limits" },
	};

	return tool_refuse_idle(&tool_bench, idle, ARRAY_SIZE(idle),
				"%s does nothing with --new: two files are compared");
}

/* What is not said otherwise is measured as the old results say: the same tests. */
static int read_old(struct bench *b)
{
	struct sherd_error err;

	if (compare_read(&b->old, b->compare_at, &err))
		return tool_fail(&tool_bench, &err);
	if (b->fail_if_slower && compare_fewest(b->old) < 2)
		return tool_failf(&tool_bench,
				  "%s: has a test of less than two repetitions, of which nothing can be "
				  "said beyond noise: measure it again with -r 2 or more",
				  b->compare_at);
	if (b->new_at)
		return TOOL_OK;
	if (!b->prompts.n && !b->gens.n &&
	    (compare_values(b->old, "n_prompt", &b->prompts) ||
	     compare_values(b->old, "n_gen", &b->gens)))
		return tool_failf(&tool_bench, "no memory for the list of tests");
	if (compare_values(b->old, "n_depth", &b->depths))
		return tool_failf(&tool_bench, "no memory for the list of tests");
	return TOOL_OK;
}

int bench_compare_check(struct bench *b)
{
	if (!b->compare_at && (b->new_at || b->fail_if_slower))
		return tool_usage(&tool_bench, "%s goes with --compare OLD",
				  b->new_at ? "--new" : "--fail-if-slower");
	if (!b->compare_at)
		return TOOL_OK;
	if (b->new_at && check_files(b))
		return TOOL_USAGE;
	if (b->fail_if_slower && !b->new_at && b->reps < 2)
		return tool_usage(&tool_bench,
				  "--fail-if-slower: a single repetition tells nothing of noise; give -r 2 "
				  "or more");
	return read_old(b);
}

/* What nobody knows has not passed. */
static int judge(const struct bench *b, const struct compare *c)
{
	const struct compare_test *t = compare_unknown(c);

	if (compare_any_slower(c))
		return EXIT_SLOWER;
	/* of what is measured here, -p and -n may have said that it is enough */
	if (b->new_at && c->missing[1])
		return tool_failf(&tool_bench,
				  "%s: lacks %d test%s of %s, and --fail-if-slower passes nothing that was not "
				  "measured",
				  b->new_at, c->missing[1], c->missing[1] > 1 ? "s" : "", b->compare_at);
	if (!t)
		return TOOL_OK;
	return tool_failf(&tool_bench,
			  "%s: --fail-if-slower needs two or more repetitions, the old result has %d that "
			  "count and the new one %d",
			  t->name, t->result.side[0].n, t->result.side[1].n);
}

int bench_compare_print(const struct bench *b, const json_t *new)
{
	struct compare c;
	struct sherd_error err;
	int rc = TOOL_OK;
	json_t *j;

	if (compare_make(&c, b->old, new, &err)) {
		rc = tool_fail(&tool_bench, &err);
	} else if (b->json) {
		j = compare_json(&c);
		if (!b->new_at)
			json_object_set(j, "results", (json_t *)new);
		bench_print_json(j);
		json_decref(j);
	} else {
		compare_print(&c, b->compare_at, b->new_at ? b->new_at : "just now");
	}
	if (!rc && b->fail_if_slower)
		rc = judge(b, &c);
	compare_free(&c);
	return rc;
}
