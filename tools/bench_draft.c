/* SPDX-License-Identifier: MIT */
/*
 * bench_draft: bench --draft. The same greedy text is generated without and with a draft, in pairs of
 * runs in both orders, and what counts are the medians. Should the two texts differ, that is a
 * failure, for it cannot be.
 */
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include "bench.h"

struct race {
	struct bench *b;
	struct sherd_model *draft_model; /* NULL: n-grams */
	struct sherd_session *session;
	int32_t *prompt;
	int n_prompt, n_gen;
	int32_t *text[2];		/* [n_gen] tokens, without and with */
	double *seconds[2], *ratio;	/* [reps] */
	struct sherd_draft_stats stats; /* of the last run */
};

int bench_draft_check(struct bench *b)
{
	const struct tool_idle idle[] = {
		{ b->prompts.n, "-p" },
		{ b->depths.n, "-d" },
		{ b->kernels, "--kernels" },
		{ b->compare_at, "--compare" },
		{ b->roofline_at, "--roofline" },
		{ b->trace_at, "--trace" },
		{ b->pipe_params.plan, "--plan" },
		{ b->gens.n > 1, "a second -n" },
	};

	if (!b->draft && (b->draft_max || b->draft_file))
		return tool_usage(&tool_bench, "%s does nothing without --draft",
				  b->draft_max ? "--draft-max" : "-f");
	return !b->draft ?
		       TOOL_OK :
		       tool_refuse_idle(&tool_bench, idle, ARRAY_SIZE(idle),
					"%s does nothing with --draft, which is a race of its own");
}

/* ----------------------------------------------------------------- the models */

static int read_prompt(struct race *r)
{
	struct sherd_error err;
	char *text = NULL;
	size_t len = 0;
	int rc = 0;

	if (r->b->draft_file)
		rc = tool_read_text(r->b->draft_file, &text, &len, &err);
	rc = rc ? rc :
		  sherd_tokenize(sherd_model_tokenizer(r->b->model), text ? text : "", len,
				 SHERD_TOK_SPECIAL | SHERD_TOK_PARSE, &r->prompt, &r->n_prompt,
				 &err);
	free(text);
	if (rc)
		return tool_fail(&tool_bench, &err);
	return r->n_prompt ?
		       TOOL_OK :
		       tool_failf(&tool_bench, "there is no text to continue: give one with -f");
}

/* As many tokens as were asked for, or as the context has room for. */
static int make_room(struct race *r)
{
	int room = r->b->info->n_ctx - r->n_prompt, want = r->b->gens.n ? r->b->gens.v[0] : 128;

	r->n_gen = MIN(want, room);
	if (r->n_gen < 2)
		return tool_failf(
			&tool_bench,
			"a prompt of %d tokens leaves no room in a context of %d; -c gives "
			"more",
			r->n_prompt, r->b->info->n_ctx);
	for (int i = 0; i < 2; i++) {
		r->text[i] = sherd_calloc(r->n_gen, sizeof(*r->text[i]));
		r->seconds[i] = sherd_calloc(r->b->reps, sizeof(*r->seconds[i]));
		if (!r->text[i] || !r->seconds[i])
			return tool_failf(&tool_bench, "no memory for %d tokens", r->n_gen);
	}
	r->ratio = sherd_calloc(r->b->reps, sizeof(*r->ratio));
	return r->ratio ? TOOL_OK : tool_failf(&tool_bench, "no memory for a race");
}

static int open_models(struct race *r)
{
	struct bench *b = r->b;
	struct sherd_model_params params;
	struct sherd_error err;
	int rc;

	b->params.progress = tool_progress;
	b->params.note = tool_note;
	if (sherd_model_open(&b->model, b->model_name, &b->params, &err))
		return tool_fail(&tool_bench, &err);
	b->info = sherd_model_info(b->model);
	if (b->info->first_layer || b->info->end_layer != b->info->n_layers ||
	    !sherd_model_tokenizer(b->model))
		return tool_failf(&tool_bench, "%s: is no whole model with a tokenizer",
				  b->info->path);
	params = b->params;
	params.n_ctx = b->info->n_ctx;
	params.bits = 0;
	if (strcmp(b->draft, "ngram") && sherd_model_open(&r->draft_model, b->draft, &params, &err))
		return tool_fail(&tool_bench, &err);
	rc = read_prompt(r);
	rc = rc ? rc : make_room(r);
	if (!rc && sherd_session_new(&r->session, b->model, NULL, &err))
		rc = tool_fail(&tool_bench, &err);
	return rc;
}

/* ------------------------------------------------------------------- the runs */

static int plain(struct race *r, int32_t *text, struct sherd_error *err)
{
	const float *logits;
	int rc = 0;

	for (int i = 1; i < r->n_gen && !rc; i++) {
		rc = sherd_prefill(r->session, &text[i - 1], 1, &logits, err);
		if (!rc)
			text[i] = sherd_session_sample(r->session, logits);
	}
	return rc;
}

static int drafted(struct race *r, struct sherd_draft *d, int32_t *text, struct sherd_error *err)
{
	int rc = 0;

	for (int i = 1; i < r->n_gen && !rc; i++)
		rc = sherd_draft_next(d, text[i - 1], &text[i], err);
	return rc;
}

/*
 * A text. The clock starts when the model has read the prompt; a draft model reads it while it runs, which
 * is a part of its price.
 */
static int run(struct race *r, bool with, double *seconds, struct sherd_error *err)
{
	const struct sherd_draft_params p = { .model = r->draft_model, .n_max = r->b->draft_max };
	struct sherd_draft *d = NULL;
	const float *logits;
	double start;
	int rc = sherd_session_truncate(r->session, 0, err);

	rc = rc ? rc : sherd_prefill(r->session, r->prompt, r->n_prompt, &logits, err);
	if (rc)
		return rc;
	r->text[with][0] = sherd_session_sample(r->session, logits);
	rc = with ? sherd_draft_new(&d, r->session, &p, err) : 0;
	start = sherd_now();
	if (!rc)
		rc = with ? drafted(r, d, r->text[1], err) : plain(r, r->text[0], err);
	*seconds = sherd_now() - start;
	if (!rc && with) {
		sherd_draft_stats(d, &r->stats);
		if (r->stats.stopped)
			rc = sherd_fail(err, -EIO, "the draft gave up: %s", r->stats.stopped);
	}
	sherd_draft_free(d);
	return rc;
}

static int run_pair(struct race *r, int i, struct sherd_error *err)
{
	bool first = i % 2;
	double a, b;
	int rc = run(r, first, &a, err);

	rc = rc ? rc : run(r, !first, &b, err);
	if (rc)
		return rc;
	r->seconds[first][i] = a;
	r->seconds[!first][i] = b;
	r->ratio[i] = r->seconds[0][i] / r->seconds[1][i];
	for (int k = 0; k < r->n_gen; k++)
		if (r->text[0][k] != r->text[1][k])
			return sherd_fail(
				err, -EBADE,
				"with the draft token %d of the text is %d, without it %d: "
				"please report this",
				k, r->text[1][k], r->text[0][k]);
	return 0;
}

static int race(struct race *r)
{
	struct sherd_error err;
	int rc = run_pair(r, 0, &err); /* warms up; done again */

	for (int i = 0; i < r->b->reps && !rc; i++) {
		rc = run_pair(r, i, &err);
		tool_progress(NULL, "measuring", i + 1, r->b->reps);
	}
	tool_progress_end();
	return rc ? tool_fail(&tool_bench, &err) : TOOL_OK;
}

/* ----------------------------------------------------------------- the result */

static int by_size(const void *a, const void *b)
{
	const double *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

/* Sorts. */
static double median(double *x, int n)
{
	qsort(x, n, sizeof(*x), by_size);
	return (x[(n - 1) / 2] + x[n / 2]) / 2;
}

static double share_right(const struct race *r)
{
	return r->stats.n_guessed ? (double)r->stats.n_accepted / (double)r->stats.n_guessed : 0;
}

static double tokens_a_step(const struct race *r)
{
	return r->stats.n_steps ? (double)r->stats.n_tokens / (double)r->stats.n_steps : 1;
}

static void print_text(const struct race *r, double without, double with, double ratio)
{
	const char *name = r->draft_model ? sherd_model_info(r->draft_model)->path :
					    "n-grams: what followed in the text before";

	printf("%s: %d tokens after a prompt of %d, greedy; %d pairs of runs in both orders, medians\n",
	       r->b->info->path, r->n_gen, r->n_prompt, r->b->reps);
	printf("  draft: %s\n", name);
	printf("  without            %9.2f t/s\n", without);
	printf("  with the draft     %9.2f t/s, %.2f times as fast (%.2f - %.2f)\n", with, ratio,
	       r->ratio[0], r->ratio[r->b->reps - 1]);
	if (r->stats.n_guessed)
		printf("  %llu tokens guessed in the last text, %.0f %% of them right; %.2f tokens a "
		       "step; the same text\n",
		       (unsigned long long)r->stats.n_guessed, 100 * share_right(r),
		       tokens_a_step(r));
	else
		printf("  nothing was guessed in the last text: %s; the same text\n",
		       r->draft_model ? "a guess costs more than it saves here" :
					"its end had not stood there before, or guesses do not pay here");
}

static int print_json(const struct race *r, double without, double with, double ratio)
{
	json_t *j = json_pack("{so ss si si si sf sf sf sf sf sI sf sf}", "model",
			      tool_json_path(r->b->info->path), "draft", r->b->draft, "n_prompt",
			      r->n_prompt, "n_gen", r->n_gen, "repetitions", r->b->reps, "plain_ts",
			      without, "draft_ts", with, "speedup", ratio, "speedup_min",
			      r->ratio[0], "speedup_max", r->ratio[r->b->reps - 1], "n_guessed",
			      (json_int_t)r->stats.n_guessed, "share_right", share_right(r),
			      "tokens_a_step", tokens_a_step(r));
	int bad = !j || json_dumpf(j, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));

	json_decref(j);
	if (bad)
		return tool_failf(&tool_bench, "the result could not be written");
	putchar('\n');
	return TOOL_OK;
}

static int report(const struct race *r)
{
	double without = (r->n_gen - 1) / median(r->seconds[0], r->b->reps);
	double with = (r->n_gen - 1) / median(r->seconds[1], r->b->reps);
	double ratio = median(r->ratio, r->b->reps);
	int rc = TOOL_OK;

	if (r->b->json)
		rc = print_json(r, without, with, ratio);
	else
		print_text(r, without, with, ratio);
	return tool_flush(&tool_bench) ? rc : TOOL_FAILED;
}

int bench_draft(struct bench *b)
{
	struct race r = { .b = b };
	int rc = open_models(&r);

	tool_progress_end();
	rc = rc ? rc : race(&r);
	rc = rc ? rc : report(&r);
	sherd_session_free(r.session);
	sherd_model_close(r.draft_model);
	for (int i = 0; i < 2; i++) {
		free(r.text[i]);
		free(r.seconds[i]);
	}
	free(r.ratio);
	free(r.prompt);
	return rc;
}
