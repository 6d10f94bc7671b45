/* SPDX-License-Identifier: MIT */
/*
 * run: continues a text. stdout carries the text and nothing else; stderr says which device
 * computes and why, and at the end how fast it was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include "base/base.h"
#include "roof.h"
#include "run.h"
#include "template.h"
#include "trace_file.h"

/* -------------------------------------------------------- command line */

static int check_with_plan(const struct run *r)
{
	const struct sherd_model_params *p = &r->params;
	const struct tool_idle idle[] = {
		{ r->cuts.n, "--cuts" },   { r->wire, "--wire" },     { p->n_ctx, "-c" },
		{ r->kv, "--kv" },	   { p->bits, "--bits" },     { p->n_threads, "-t" },
		{ p->device, "--device" }, { p->region, "--region" }, { p->n_batch, "-b" },
		{ p->no_cache, "--no-cache" }, { r->session_file, "--session" },
		{ r->draft_name, "--draft" },
	};

	return tool_refuse_idle(&tool_run, idle, ARRAY_SIZE(idle),
			   "%s does nothing with --plan: the plan and its nodes have their own");
}

/* What decides the text is the journal's. */
static int check_with_resume(const struct run *r)
{
	static const struct sherd_sampler_params init = SHERD_SAMPLER_PARAMS_INIT;
	const struct sherd_sampler_params *s = &r->sampler;
	const struct tool_idle idle[] = {
		{ r->n_predict != -1, "-n" },
		{ r->seed.given, "-s" },
		{ r->stops.n, "--stop" },
		{ s->temp != init.temp, "--temp" },
		{ s->top_k != init.top_k, "--top-k" },
		{ s->top_p != init.top_p, "--top-p" },
		{ s->min_p != init.min_p, "--min-p" },
		{ s->repeat_penalty != init.repeat_penalty, "--repeat-penalty" },
		{ r->system, "--system" },
		{ r->template, "--template" },
		{ r->raw, "--raw" },
	};

	if (r->journal || r->prompt_arg || r->file || r->from_stdin)
		return tool_usage(&tool_run, "--resume has its prompt, and goes on writing there");
	return tool_refuse_idle(&tool_run, idle, ARRAY_SIZE(idle),
			   "%s does nothing with --resume: the journal has it");
}

/* MODEL and "-" may stand without an option. */
static int take_positionals(struct run *r, int argc, char **argv)
{
	for (int i = 0; i < argc; i++) {
		if (!strcmp(argv[i], "-"))
			r->from_stdin = true;
		else if (!r->model_name)
			r->model_name = argv[i];
		else
			return tool_usage(&tool_run, "'%s' is one argument too many; a prompt goes "
						     "after -p", argv[i]);
	}
	r->source = r->pipe_params.plan ? &run_source_plan : &run_source_model;
	if (!r->model_name && !r->pipe_params.plan)
		return tool_usage(&tool_run, "which model? Give a file with -m MODEL");
	if (!!r->prompt_arg + !!r->file + r->from_stdin > 1)
		return tool_usage(&tool_run, "one prompt, please: -p, -f or -");
	return 0;
}

int run_check_options(struct run *r)
{
	static const char *const kvs[] = { "f16", "int8", "f32" };
	struct sherd_error err;
	int kv = 0, rc = TOOL_OK;

	if (r->system && tool_check_text("--system", r->system, strlen(r->system), &err))
		return tool_fail(r->tool, &err);
	if (r->draft_max && !r->draft_name)
		return tool_usage(r->tool, "--draft-max does nothing without --draft");
	if (r->params.bits && r->params.bits != 4 && r->params.bits != 8)
		return tool_usage(r->tool, "--bits: %d is neither 4 nor 8", r->params.bits);
	if (r->kv)
		rc = tool_pick(r->tool, "--kv", r->kv, kvs, 3, &kv);
	if (rc)
		return rc;
	r->params.kv_type = (enum sherd_kv_type)kv;
	for (int i = 0; i < r->stops.n; i++)
		if (!r->stops.v[i][0])
			return tool_usage(r->tool, "--stop: an empty string would stop at once");
	return TOOL_OK;
}

static int check_options(struct run *r)
{
	int rc = r->pipe_params.plan ? check_with_plan(r) :
				       pipeline_refuse_idle(&tool_run, &r->pipe_params);

	if (!rc && r->resume)
		rc = check_with_resume(r);
	if (!rc && r->raw && (r->system || r->template))
		rc = tool_usage(&tool_run, "--raw is without a template, so without %s too",
				r->system ? "--system" : "--template");
	rc = rc ? rc : tool_pick_wire(&tool_run, r->wire, &r->wire_type);
	return rc ? rc : run_check_options(r);
}

/* TOOL_OK: go on; *done: help was printed. */
static int parse(struct run *r, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(r->model_name, r->params),
		{ 'p', "prompt", OPT_STR, &r->prompt_arg, 0, 0, "PROMPT", "the text to continue" },
		{ 'f', "file", OPT_STR, &r->file, 0, 0, "FILE",
		  "read the prompt from FILE; a final newline is dropped (- : standard input)" },
		{ 0, "system", OPT_STR, &r->system, 0, 0, "TEXT",
		  "with a chat template: the system prompt" },
		{ 0, "template", OPT_STR, &r->template, 0, 0, "NAME|FILE",
		  "a chat template in place of the model's own; list: those that come along" },
		{ 0, "raw", OPT_FLAG, &r->raw, 0, 0, NULL,
		  "the prompt as it is, though the model has a chat template" },
		{ 'n', "n-predict", OPT_INT, &r->n_predict, -1, 1 << 24, "N",
		  "tokens to generate (default: -1, until the model ends or the context is full)" },
		RUN_SAMPLER_OPTS(r),
		{ 0, "ignore-eos", OPT_FLAG, &r->ignore_eos, 0, 0, NULL,
		  "never let the model end the text" },
		{ 'e', "echo", OPT_FLAG, &r->echo, 0, 0, NULL, "print the prompt too" },
		RUN_DRAFT_OPTS(r),
		TOOL_CUT_OPTS(r->cuts, r->wire),
		TOOL_PIPELINE_OPTS(r->pipe_params),
		{ 0, "session", OPT_STR, &r->session_file, 0, 0, "FILE",
		  "keep there what was read and said (the KV cache), and take from there what an "
		  "earlier run had in common with this one; changes the time to the first token, "
		  "never the text" },
		{ 0, "journal", OPT_STR, &r->journal, 0, 0, "FILE",
		  "keep prompt, options and tokens there, to be gone on with if this process dies" },
		{ 0, "resume", OPT_STR, &r->resume, 0, 0, "FILE",
		  "go on with the text of a journal: its prompt, options and tokens so far" },
		TOOL_TRACE_OPT(r->trace_at),
		{ 0, "no-limits", OPT_FLAG, &r->no_limits, 0, 0, NULL,
		  "with --trace: don't measure the machine's limits first; kernels' shares of them "
		  "are left out" },
		{ 0, "step-limit", OPT_INT, &r->watch.limit_s, 0, 86400, "S",
		  "fail when a step takes S seconds, and ten times what is due: its device hangs "
		  "(default: 60; 0: wait)" },
		{ 'v', "verbose", OPT_FLAG, &r->verbose, 0, 0, NULL, "say more about the model" },
		{ 0 }
	};
	int rc = opt_parse(&tool_run, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (template_list(r->template)) {
		*done = true;
		return tool_flush(&tool_run) ? TOOL_OK : TOOL_FAILED;
	}
	rc = take_positionals(r, argc, argv);
	return rc ? rc : check_options(r);
}

/* 32 bits are enough to be fresh, and short enough to type again. */
void run_draw_seed(struct run *r)
{
	uint32_t seed;

	if (r->seed.given)
		return;
	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint32_t)time(NULL);
	r->seed.v = seed;
	if (r->sampler.temp > 0)
		fprintf(stderr, "sherd: seed %u\n", seed);
}

/* The file is there, or refused, before anybody waits for a model. */
static int begin_trace(struct run *r)
{
	struct sherd_limits l;
	struct sherd_error err;
	char dot_path[16] = "";
	bool here = !r->pipe_params.plan;

	if (!r->trace_at)
		return TOOL_OK;
	if (trace_file_open(&r->trace, r->trace_at, "run", TRACE_AT_END, &err))
		return tool_fail(&tool_run, &err);
	if (here && !r->no_limits && (!r->params.device || strcmp(r->params.device, "reference")) &&
	    roof_measure(&r->params, &l, dot_path, sizeof(dot_path), NULL))
		trace_file_roof(r->trace, l.read, l.dot, l.fma);
	trace_file_listen(r->trace, true, true);
	return TOOL_OK;
}

static int end_trace(struct run *r, int rc)
{
	struct sherd_error err;

	if (!r->trace)
		return rc;
	if (r->model) {
		trace_file_note(r->trace, "model", sherd_model_info(r->model)->path);
		trace_file_note(r->trace, "device", sherd_model_info(r->model)->device);
	}
	if (trace_file_close(r->trace, &err) && (rc == TOOL_OK || rc > 128))
		rc = tool_fail(&tool_run, &err);
	return rc;
}

static int run_main(int argc, char **argv)
{
	struct run r = {
		.tool = &tool_run,
		.params = SHERD_MODEL_PARAMS_INIT,
		.sampler = SHERD_SAMPLER_PARAMS_INIT,
		.n_predict = -1,
		.log_fd = -1,
		.watch = { .tool = "sherd run", .limit_s = WATCH_DEFAULT_S, .option = true },
		.stream = { .out = stdout, .stops = &r.stops },
	};
	bool done;
	int rc;

	rc = parse(&r, argc, argv, &done);
	if (rc || done)
		goto out;
	rc = begin_trace(&r);
	if (rc)
		goto out;
	r.start_s = sherd_now();
	if (r.resume)
		rc = run_log_resume(&r);
	else
		rc = run_read_prompt(&r);
	rc = rc ? rc : run_log_check(&r);
	if (!rc)
		rc = r.source->open(&r);
	if (!rc && !r.resume)
		rc = run_tokenize_prompt(&r);
	if (!rc && r.n_ids + r.n_replay > r.n_ctx)
		rc = tool_failf(&tool_run, "the text has %d tokens and the context holds %d",
				r.n_ids + r.n_replay, r.n_ctx);
	if (rc)
		goto out;
	r.source->say(&r);
	run_draw_seed(&r);
	rc = r.source->start(&r);
	if (!rc)
		rc = run_log_start(&r);
	if (!rc)
		rc = run_text(&r);
out:
	rc = end_trace(&r, rc);
	run_log_close(&r);
	pipeline_close(r.pipe);
	sherd_tokenizer_free(r.own_tok);
	run_draft_close(&r);
	sherd_session_free(r.session);
	sherd_model_close(r.model);
	free(r.stream.held);
	ends_destroy(&r.ends);
	free(r.ids);
	free(r.prompt);
	opt_strs_free(&r.stops);
	opt_ints_free(&r.cuts);
	return rc;
}

const struct tool tool_run = {
	.name = "run",
	.synopsis = "-m MODEL | --plan PLAN [-p PROMPT | -f FILE | -] [options]",
	.summary = "continue a text",
	.about =
		"Continues a text with a model: a GGUF file, a Hugging Face folder, or a shard made by "
		"`sherd pack`. The text goes to standard output as it is made; device and speed go to standard error. If the "
		"model's file has a chat template, the prompt is a message, and what comes is the answer; "
		"--raw continues the prompt itself. With --plan, -m only names the tokenizer.\n\n"
		"  sherd run -m model.gguf -p \"Once upon a time\"\n"
		"  sherd run model.gguf -p \"Once upon a time\" -n 64 --temp 0\n"
		"  sherd run llama3.2:1b -f question.txt --system \"Be brief.\"   (pulled by Ollama before)\n"
		"  fortune | sherd run model.gguf - --echo\n"
		"  sherd run model.gguf -f long.txt --session long.kv   (the second time, it is there at once)\n"
		"  sherd run --plan plan.json -p \"Once upon a time\"   (several boards: sherd node --help)",
	.main = run_main,
};
