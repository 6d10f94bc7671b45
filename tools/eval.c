/* SPDX-License-Identifier: MIT */
/*
 * eval: how good a model is, as numbers that can be compared with other people's. A perplexity
 * means nothing without its protocol, context and text, so all three are part of the result.
 *
 * A protocol cuts the text's tokens into windows, and says which tokens of a window are scored:
 *
 *	llamacpp  windows of ctx tokens, the rest of the text dropped; BOS in place of each
 *	          window's first token if the model adds one; the second half is scored. The
 *	          text's last newline is dropped, as llama-perplexity -f drops it.
 *	gptq      windows of ctx tokens, the rest dropped; everything but a window's first token is
 *	          scored. Joining documents (WikiText: with "\n\n") is the corpus's business.
 *	full      windows overlap by one token and the last may be short: each token but the text's
 *	          first is scored exactly once.
 */
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include "base/base.h"
#include "tool.h"
#include "watch.h"

struct window {
	int first; /* token of the text */
	int n;
	int scored; /* tokens [scored, n) of the window are predicted from those before them */
};

struct protocol {
	const char *name;
	int ctx; /* usual one */
	int stride_less; /* windows begin every ctx - stride_less tokens */
	bool half; /* only the second half is scored */
	bool keep_rest; /* a last, short window counts */
	bool bos; /* BOS in place of a window's first token */
	bool drop_newline;
};

static const struct protocol protocols[] = {
	{ "llamacpp", 512, 0, true, false, true, true },
	{ "gptq", 2048, 0, false, false, false, false },
	{ "full", 2048, 1, false, true, false, false },
};

struct eval {
	/* the command line */
	const char *model_name, *file, *protocol_name, *kv, *wire;
	struct opt_ints cuts;
	enum sherd_wire wire_type;
	struct sherd_model_params params;
	int ctx, max_windows;
	bool json;

	const struct protocol *protocol;
	char *text;
	size_t len;
	char sha256[SHERD_SHA256_HEX]; /* of the file, as it is */
	size_t file_bytes;
	struct sherd_model *model;
	const struct sherd_model_info *info;
	struct sherd_session *session;
	struct watch watch;
	int32_t *ids, *window; /* the text's; one window's */
	int n_ids, n_windows;
	int32_t bos; /* -1: the model adds none */

	double nll, nll2; /* sums over what was scored, of -log p and its square */
	int64_t n_scored;
	double seconds;
};

/* -------------------------------------------------------- command line */

static int check_options(struct eval *e, int argc, char **argv)
{
	static const char *const kvs[] = { "f16", "int8", "f32" };
	const char *names[ARRAY_SIZE(protocols)];
	int protocol = 0, kv = 0, rc, i;

	for (i = 0; i < (int)ARRAY_SIZE(protocols); i++)
		names[i] = protocols[i].name;
	if (argc != 1 || strcmp(argv[0], "perplexity"))
		return tool_usage(&tool_eval,
				  "what is to be measured? \"perplexity\" is what there is");
	if (!e->model_name)
		return tool_usage(&tool_eval, "which model? Give a file with -m MODEL");
	if (!e->file)
		return tool_usage(&tool_eval, "which text? Give a file with -f TEXT");
	rc = tool_pick(&tool_eval, "--protocol", e->protocol_name, names, ARRAY_SIZE(names),
		       &protocol);
	if (!rc && e->kv)
		rc = tool_pick(&tool_eval, "--kv", e->kv, kvs, ARRAY_SIZE(kvs), &kv);
	if (!rc)
		rc = tool_pick_wire(&tool_eval, e->wire, &e->wire_type);
	if (rc)
		return rc;
	e->protocol = &protocols[protocol];
	e->params.kv_type = (enum sherd_kv_type)kv;
	if (e->params.n_ctx && e->params.n_ctx < 4)
		return tool_usage(&tool_eval,
				  "--ctx: windows of %d tokens are too short: 4 or more",
				  e->params.n_ctx);
	return TOOL_OK;
}

static int parse(struct eval *e, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(e->model_name, e->params),
		{ 'f', "file", OPT_STR, &e->file, 0, 0, "TEXT", "the text (- : standard input)" },
		{ 0, "protocol", OPT_STR, &e->protocol_name, 0, 0, "NAME",
		  "llamacpp (default): windows of 512, BOS first, the second half is scored\n"
		  "gptq: windows of 2048, all targets, no overlap, the rest is dropped\n"
		  "full: every token but the first is scored once" },
		{ 0, "ctx", OPT_INT, &e->params.n_ctx, 0, 1 << 24, "N",
		  "tokens of a window, the same as -c (default: the protocol's, or what the model "
		  "was trained for, if that is less)" },
		{ 0, "chunks", OPT_INT, &e->max_windows, 1, INT_MAX, "N",
		  "only the first N windows" },
		{ 'b', "batch-size", OPT_INT, &e->params.n_batch, 1, 4096, "N",
		  "tokens that are computed together (default: 256)" },
		{ 0, "kv", OPT_STR, &e->kv, 0, 0, "TYPE",
		  "the KV cache's type: f16 (default), int8, f32" },
		TOOL_CUT_OPTS(e->cuts, e->wire),
		{ 0, "json", OPT_FLAG, &e->json, 0, 0, NULL, "print JSON" },
		{ 0 }
	};
	int rc;

	e->protocol_name = protocols[0].name;
	rc = opt_parse(&tool_eval, opts, &argc, argv);
	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	return check_options(e, argc, argv);
}

/* --------------------------------------------------------------- set-up */

static int open_model(struct eval *e)
{
	struct sherd_session_params session = { .cuts = e->cuts.v,
						.n_cuts = e->cuts.n,
						.wire = e->wire_type };
	struct sherd_error err;

	e->params.progress = tool_progress;
	e->params.note = tool_note;
	if (sherd_model_open(&e->model, e->model_name, &e->params, &err))
		return tool_fail(&tool_eval, &err);
	e->info = sherd_model_info(e->model);
	e->watch = (struct watch){ .tool = "sherd eval", .limit_s = WATCH_DEFAULT_S };
	watch_model(&e->watch, e->info);
	if (tool_refuse_encoder(&tool_eval, e->info))
		return TOOL_FAILED;
	if (e->info->first_layer || e->info->end_layer != e->info->n_layers)
		return tool_failf(&tool_eval, "%s: holds layers %d to %d of %d, and a perplexity "
					      "needs all of them",
				  e->info->path, e->info->first_layer, e->info->end_layer - 1,
				  e->info->n_layers);
	if (tool_want_tokenizer(&tool_eval, e->model))
		return TOOL_FAILED;
	if (sherd_session_new(&e->session, e->model, &session, &err))
		return tool_fail(&tool_eval, &err);
	e->ctx = e->params.n_ctx ? e->info->n_ctx : MIN(e->protocol->ctx, e->info->n_ctx);
	return TOOL_OK;
}

static int read_tokens(struct eval *e)
{
	const struct sherd_tokenizer *tok = sherd_model_tokenizer(e->model);
	struct sherd_error err;

	if (tool_read_text(e->file, &e->text, &e->len, &err))
		return tool_fail(&tool_eval, &err);
	e->file_bytes = e->len;
	sherd_sha256(e->text, e->len, e->sha256);
	if (e->protocol->drop_newline && e->len && e->text[e->len - 1] == '\n')
		e->len--;
	if (sherd_tokenize(tok, e->text, e->len, SHERD_TOK_SPECIAL, &e->ids, &e->n_ids, &err))
		return tool_fail(&tool_eval, &err);
	/* The text itself cannot give a control token here: a BOS in front was added. */
	e->bos = e->n_ids && e->ids[0] == sherd_tokenizer_bos(tok) ? e->ids[0] : -1;
	e->window = sherd_calloc(e->ctx, sizeof(*e->window));
	return e->window ? TOOL_OK : tool_failf(&tool_eval, "out of memory");
}

/* Window @i of the text; false behind the last one. */
static bool window_at(const struct eval *e, int i, struct window *w)
{
	const struct protocol *p = e->protocol;
	int64_t first = (int64_t)i * (e->ctx - p->stride_less);

	if (first + (p->keep_rest ? 2 : e->ctx) > e->n_ids)
		return false;
	w->first = (int)first;
	w->n = MIN(e->ctx, e->n_ids - w->first);
	w->scored = p->half ? e->ctx / 2 + 1 : 1;
	return true;
}

static int count_windows(struct eval *e)
{
	struct window w;

	while (window_at(e, e->n_windows, &w) &&
	       (!e->max_windows || e->n_windows < e->max_windows))
		e->n_windows++;
	if (!e->n_windows)
		return tool_failf(&tool_eval,
				  "%s: its %d tokens do not fill one window of %d: take a "
				  "longer text, or a smaller --ctx",
				  e->file, e->n_ids, e->ctx);
	return TOOL_OK;
}

/* -------------------------------------------------------------- scoring */

/* -log of the probability that @logits give to @token. */
static double surprise(const float *logits, int n, int32_t token)
{
	float max = logits[0];
	double sum = 0;

	for (int i = 1; i < n; i++)
		max = fmaxf(max, logits[i]);
	for (int i = 0; i < n; i++)
		sum += expf(logits[i] - max);
	return (double)(max - logits[token]) + log(sum);
}

static int score_rows(struct eval *e, const struct sherd_rows *rows, const int32_t *targets)
{
	for (int i = 0; i < rows->n_rows; i++) {
		double v =
			surprise(rows->data + (size_t)i * rows->row_len, rows->row_len, targets[i]);

		if (!isfinite(v))
			return tool_failf(&tool_eval,
					  "%s: a logit is NaN or infinite: the model is "
					  "damaged, or too much was quantized",
					  e->info->path);
		e->nll += v;
		e->nll2 += v * v;
		e->n_scored++;
	}
	return TOOL_OK;
}

/* Rows before scored - 1 only fill the cache; the window's last token is only ever a target. */
static int score_window(struct eval *e, const struct window *w)
{
	struct sherd_item item = { .session = e->session };
	struct sherd_rows rows;
	struct sherd_error err;

	memcpy(e->window, e->ids + w->first, w->n * sizeof(*e->window));
	if (e->protocol->bos && e->bos >= 0)
		e->window[0] = e->bos;
	if (sherd_session_truncate(e->session, 0, &err))
		return tool_fail(&tool_eval, &err);
	for (int pos = 0; pos < w->n - 1; pos += item.n) {
		int end = pos < w->scored - 1 ? w->scored - 1 : w->n - 1;

		item.tokens = e->window + pos;
		item.n = MIN(end - pos, e->info->n_batch);
		item.want = pos < w->scored - 1 ? SHERD_WANT_NONE : SHERD_WANT_ALL;
		watch_begin(&e->watch, item.n, pos);
		if (sherd_step(e->model, &item, 1, 0, 0, &rows, &err))
			return tool_fail(&tool_eval, &err);
		watch_end(&e->watch);
		if (score_rows(e, &rows, e->window + pos + 1))
			return TOOL_FAILED;
	}
	return TOOL_OK;
}

static int score(struct eval *e)
{
	double start = sherd_now();
	struct window w = { 0 };

	for (int i = 0; i < e->n_windows; i++) {
		window_at(e, i, &w);
		if (score_window(e, &w))
			return TOOL_FAILED;
		tool_progress(NULL, "windows", i + 1, e->n_windows);
	}
	tool_progress_end();
	e->seconds = sherd_now() - start;
	return TOOL_OK;
}

/* --------------------------------------------------------------- result */

/* The perplexity, and the standard error that the spread of the scores gives it. */
static double perplexity(const struct eval *e, double *error)
{
	double mean = e->nll / e->n_scored;
	double var = e->nll2 / e->n_scored - mean * mean;

	*error = e->n_scored > 1 && var > 0 ? exp(mean) * sqrt(var / (e->n_scored - 1)) : 0;
	return exp(mean);
}

static void print_text(const struct eval *e)
{
	double error, ppl = perplexity(e, &error);

	printf("perplexity  %.4f ± %.4f\n", ppl, error);
	printf("protocol    %s, windows of %d tokens\n", e->protocol->name, e->ctx);
	printf("scored      %lld tokens in %d windows, of %d tokens\n", (long long)e->n_scored,
	       e->n_windows, e->n_ids);
	printf("corpus      %s, %zu bytes, sha256 %s\n", e->file, e->file_bytes, e->sha256);
	printf("model       %s\n", e->info->path);
	for (int i = 0; i < e->cuts.n; i++)
		printf("%s%d", i ? "," : "cuts        ", e->cuts.v[i]);
	if (e->cuts.n)
		printf(", wire %s\n", tool_wire_name(e->wire_type));
	printf("device      %s, %.1f s\n", e->info->device, e->seconds);
}

/* The layers that the session was cut at; no key where it was not. */
static json_t *json_cuts(const struct eval *e)
{
	json_t *j = e->cuts.n ? json_array() : NULL;

	for (int i = 0; j && i < e->cuts.n; i++)
		json_array_append_new(j, json_integer(e->cuts.v[i]));
	return j;
}

static int print_json(const struct eval *e)
{
	double error, ppl = perplexity(e, &error);
	json_t *j = json_pack(
		"{s:f, s:f, s:s, s:i, s:I, s:i, s:i, s:{s:o, s:I, s:s}, s:o, s:s, s:s, s:f, s:o*, "
		"s:s*}",
		"perplexity", ppl, "error", error, "protocol", e->protocol->name, "context", e->ctx,
		"scored", (json_int_t)e->n_scored, "windows", e->n_windows, "tokens", e->n_ids,
		"corpus", "path", tool_json_path(e->file), "bytes", (json_int_t)e->file_bytes,
		"sha256", e->sha256, "model", tool_json_path(e->info->path), "device",
		e->info->device, "bit_profile", e->info->bit_profile, "seconds", e->seconds, "cuts",
		json_cuts(e), "wire", e->cuts.n ? tool_wire_name(e->wire_type) : NULL);
	int rc = j ? json_dumpf(j, stdout, JSON_INDENT(2)) : -1;

	json_decref(j);
	if (rc)
		return tool_failf(&tool_eval, "the result cannot be written as JSON");
	putchar('\n');
	return TOOL_OK;
}

static void clean_up(struct eval *e)
{
	sherd_session_free(e->session);
	sherd_model_close(e->model);
	free(e->text);
	free(e->ids);
	free(e->window);
	opt_ints_free(&e->cuts);
}

static int eval_main(int argc, char **argv)
{
	struct eval e = { .params = SHERD_MODEL_PARAMS_INIT };
	bool done;
	int rc = parse(&e, argc, argv, &done);

	if (rc || done)
		goto out;
	rc = open_model(&e);
	if (!rc)
		rc = read_tokens(&e);
	if (!rc)
		rc = count_windows(&e);
	if (!rc)
		rc = score(&e);
	if (!rc && e.json)
		rc = print_json(&e);
	else if (!rc)
		print_text(&e);
	if (!tool_flush(&tool_eval))
		rc = TOOL_FAILED;
out:
	clean_up(&e);
	return rc;
}

const struct tool tool_eval = {
	.name = "eval",
	.synopsis = "perplexity -m MODEL -f TEXT [--protocol NAME] [--ctx N] [options]",
	.summary = "measure a model: perplexity",
	.about = "Measures how well a model predicts a text. Perplexities compare only if "
		 "protocol,\n"
		 "context and text are the same, so they are printed with the value.\n\n"
		 "  sherd eval perplexity -m model.gguf -f wiki.test.raw\n"
		 "  sherd eval perplexity -m model.gguf -f wiki.test.raw --protocol gptq --json",
	.main = eval_main,
};
