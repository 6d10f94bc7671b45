/* SPDX-License-Identifier: MIT */
/*
 * run: continues a text. stdout carries the text and nothing else; stderr says which device computes
 * and why, and at the end how fast it was.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>
#include "ends.h"
#include "stream.h"

struct run {
	/* the command line */
	const char *model_name, *prompt_arg, *file, *wire, *kv;
	struct sherd_model_params params;
	struct sherd_sampler_params sampler;
	struct opt_strs stops;
	struct opt_ints cuts;
	struct opt_seed seed;
	int n_predict;
	bool ignore_eos, echo, verbose, from_stdin;
	enum sherd_wire wire_type;

	char *prompt;
	size_t prompt_len;
	struct sherd_model *model;
	struct sherd_session *session;
	const struct sherd_tokenizer *tok;
	int32_t *ids; /* of the prompt */
	int n_ids;
	struct ends ends; /* for --ignore-eos */
	struct stream stream;

	int n_made;
	double start, opened, prefilled, first, ended; /* seconds */
	const char *why_stopped; /* a sentence, or NULL */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int sig)
{
	interrupted = sig;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec * 1e-9;
}

/* -------------------------------------------------------- command line */

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
	if (!r->model_name)
		return tool_usage(&tool_run, "which model? Give a file with -m MODEL");
	if (!!r->prompt_arg + !!r->file + r->from_stdin > 1)
		return tool_usage(&tool_run, "one prompt, please: -p, -f or -");
	return 0;
}

static int check_options(struct run *r)
{
	static const char *const kvs[] = { "f16", "int8", "f32" };
	int kv = 0, rc;

	if (r->params.bits && r->params.bits != 4 && r->params.bits != 8)
		return tool_usage(&tool_run, "--bits: %d is neither 4 nor 8", r->params.bits);
	rc = tool_pick_wire(&tool_run, r->wire, &r->wire_type);
	if (!rc && r->kv)
		rc = tool_pick(&tool_run, "--kv", r->kv, kvs, 3, &kv);
	if (rc)
		return rc;
	r->params.kv_type = (enum sherd_kv_type)kv;
	for (int i = 0; i < r->stops.n; i++)
		if (!r->stops.v[i][0])
			return tool_usage(&tool_run, "--stop: an empty string would stop at once");
	return 0;
}

/* TOOL_OK: go on; *done: help was printed. */
static int parse(struct run *r, int argc, char **argv, bool *done)
{
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(r->model_name, r->params),
		{ 'p', "prompt", OPT_STR, &r->prompt_arg, 0, 0, "PROMPT", "the text to continue" },
		{ 'f', "file", OPT_STR, &r->file, 0, 0, "FILE",
		  "read the prompt from FILE; a final newline is dropped (- : standard input)" },
		{ 'n', "n-predict", OPT_INT, &r->n_predict, -1, 1 << 24, "N",
		  "tokens to generate (default: -1, until the model ends or the context is full)" },
		{ 's', "seed", OPT_SEED, &r->seed, 0, 0, "SEED",
		  "same seed, same text, on every device (default: -1, a fresh one, which is "
		  "printed)" },
		{ 0, "temp", OPT_FLOAT, &r->sampler.temp, 0, 100, "T",
		  "temperature; 0 always takes the likeliest token (default: 0.8)" },
		{ 0, "top-k", OPT_INT, &r->sampler.top_k, 0, 1 << 24, "N",
		  "draw among the N likeliest tokens; 0: all (default: 40)" },
		{ 0, "top-p", OPT_FLOAT, &r->sampler.top_p, 0, 1, "P",
		  "draw among the likeliest that make up P together; 1: all (default: 0.95)" },
		{ 0, "min-p", OPT_FLOAT, &r->sampler.min_p, 0, 1, "P",
		  "leave out what is less likely than P times the best; 0: nothing (default: 0.05)" },
		{ 0, "repeat-penalty", OPT_FLOAT, &r->sampler.repeat_penalty, 0.01, 100, "X",
		  "make the last 64 tokens less likely; 1: no (default: 1)" },
		{ 0, "stop", OPT_STRS, &r->stops, 0, 0, "STRING",
		  "end before this text; may be given several times" },
		{ 0, "ignore-eos", OPT_FLAG, &r->ignore_eos, 0, 0, NULL,
		  "never let the model end the text" },
		{ 'e', "echo", OPT_FLAG, &r->echo, 0, 0, NULL, "print the prompt too" },
		{ 'b', "batch-size", OPT_INT, &r->params.n_batch, 1, 4096, "N",
		  "tokens of the prompt that are computed together (default: 256); changes speed "
		  "and memory, never the text" },
		{ 0, "kv", OPT_STR, &r->kv, 0, 0, "TYPE",
		  "the KV cache's type: f16 (default), int8, f32" },
		TOOL_CUT_OPTS(r->cuts, r->wire),
		{ 'v', "verbose", OPT_FLAG, &r->verbose, 0, 0, NULL, "say more about the model" },
		{ 0 }
	};
	int rc = opt_parse(&tool_run, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	rc = take_positionals(r, argc, argv);
	return rc ? rc : check_options(r);
}

/* Who says nothing gets a text from its very beginning; who says "" has lost something on the way. */
static int check_prompt(const struct run *r, struct sherd_error *err)
{
	if (r->prompt_len)
		return 0;
	snprintf(err->msg, sizeof(err->msg),
		 "the prompt is empty; without -p, -f or - a text begins at its beginning");
	return -EINVAL;
}

static int read_prompt(struct run *r, struct sherd_error *err)
{
	int rc;

	if (!r->file && !r->from_stdin) {
		r->prompt = strdup(r->prompt_arg ? r->prompt_arg : "");
		if (!r->prompt)
			return -ENOMEM;
		r->prompt_len = strlen(r->prompt);
		rc = tool_check_text("the prompt", r->prompt, r->prompt_len, err);
		return rc || !r->prompt_arg ? rc : check_prompt(r, err);
	}
	rc = tool_read_text(r->file ? r->file : "-", &r->prompt, &r->prompt_len, err);
	/* Editors end a file with a newline that its author did not mean. */
	if (!rc && r->prompt_len && r->prompt[r->prompt_len - 1] == '\n')
		r->prompt[--r->prompt_len] = '\0';
	return rc ? rc : check_prompt(r, err);
}

/* --------------------------------------------------------------- set-up */

/* Each line as a sentence of its own. */
static void say_lines(const char *text)
{
	while (*text) {
		int n = (int)strcspn(text, "\n");

		fprintf(stderr, "sherd: not taken: %.*s\n", n, text);
		text += n + (text[n] == '\n');
	}
}

static void say_device(const struct run *r)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);

	tool_progress_end();
	fprintf(stderr, "sherd: %s: %s\n", info->device, info->device_why);
	if (!r->verbose)
		return;
	fprintf(stderr, "sherd: %s: %s%s%s, %d layers, hidden %d, %d/%d heads, ffn %d, vocabulary %d\n",
		info->path, info->arch, info->name[0] ? " " : "", info->name, info->n_layers,
		info->hidden, info->n_heads, info->n_kv_heads, info->ffn, info->n_vocab);
	fprintf(stderr, "sherd: weights %s (%s a token)%s, KV cache %s for %d positions, scratch %s\n",
		tool_bytes(info->weight_bytes), tool_bytes(info->token_bytes),
		info->packed_in_memory ? ", packed in memory" : "", tool_bytes(info->kv_bytes),
		info->n_ctx, tool_bytes(info->scratch_bytes));
	fprintf(stderr, "sherd: weights are %s; the device reads them: %s\n", info->region, info->weights);
	say_lines(info->refused);
	fprintf(stderr, "sherd: %d rows a step, bit profile %s\n", info->n_batch, info->bit_profile);
}

static int open_model(struct run *r)
{
	const struct sherd_model_info *info;
	struct sherd_error err;

	r->params.progress = tool_progress;
	r->params.note = tool_note;
	if (sherd_model_open(&r->model, r->model_name, &r->params, &err))
		return tool_fail(&tool_run, &err);
	info = sherd_model_info(r->model);
	r->tok = sherd_model_tokenizer(r->model);
	if (info->first_layer || info->end_layer != info->n_layers || !r->tok)
		return tool_failf(&tool_run, "%s: holds layers %d to %d of %d%s, and text needs all "
					     "of them", info->path, info->first_layer,
				  info->end_layer - 1, info->n_layers,
				  r->tok ? "" : " and no tokenizer");
	return TOOL_OK;
}

static int tokenize_prompt(struct run *r)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);
	struct sherd_error err;

	if (sherd_tokenize(r->tok, r->prompt, r->prompt_len, SHERD_TOK_SPECIAL | SHERD_TOK_PARSE,
			   &r->ids, &r->n_ids, &err))
		return tool_fail(&tool_run, &err);
	if (!r->n_ids)
		return tool_failf(&tool_run, "the prompt is empty, and this model has no token that "
					     "begins a text: give one with -p");
	if (r->n_ids > info->n_ctx)
		return tool_failf(&tool_run, "the prompt has %d tokens and the context holds %d: "
					     "shorten it, or give more with -c (the model was "
					     "trained for %d)", r->n_ids, info->n_ctx,
				  info->n_ctx_train);
	return TOOL_OK;
}

/* 32 bits are enough to be fresh, and short enough to type again. */
static void draw_seed(struct run *r)
{
	uint32_t seed;

	if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
		seed = (uint32_t)time(NULL);
	r->seed.v = seed;
	if (r->sampler.temp > 0)
		fprintf(stderr, "sherd: seed %u\n", seed);
}

static int new_session(struct run *r)
{
	struct sherd_session_params p = { .sampler = r->sampler };
	struct sherd_error err;

	if (!r->seed.given)
		draw_seed(r);
	p.sampler.seed = r->seed.v;
	p.cuts = r->cuts.v;
	p.n_cuts = r->cuts.n;
	p.wire = r->wire_type;
	if (sherd_session_new(&r->session, r->model, &p, &err))
		return tool_fail(&tool_run, &err);
	if (r->ignore_eos && ends_init(&r->ends, r->model, &err))
		return tool_fail(&tool_run, &err);
	return TOOL_OK;
}

/* ----------------------------------------------------------- generation */

/* The prompt, in pieces, so that Ctrl-C is heard and the bar moves. */
static int prefill(struct run *r, const float **logits)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);
	struct sherd_rows rows = { 0 };
	struct sherd_error err;

	for (int done = 0; done < r->n_ids && !interrupted;) {
		int n = r->n_ids - done < info->n_batch ? r->n_ids - done : info->n_batch;
		struct sherd_item item = {
			.session = r->session,
			.tokens = r->ids + done,
			.n = n,
			.want = done + n == r->n_ids ? SHERD_WANT_LAST : SHERD_WANT_NONE,
		};

		if (sherd_step(r->model, &item, 1, 0, 0, &rows, &err))
			return tool_fail(&tool_run, &err);
		done += n;
		tool_progress(NULL, "reading the prompt", done, r->n_ids);
	}
	tool_progress_end();
	*logits = rows.data;
	return TOOL_OK;
}

static int32_t sample(struct run *r, const float *logits)
{
	return r->ignore_eos ? ends_sample(&r->ends, r->session, logits) :
			       sherd_session_sample(r->session, logits);
}

/* A text that begins with this token has no leading space; one that goes on may have. */
static bool put_first(struct run *r, int32_t id)
{
	struct sherd_error err;
	char *text;
	size_t len;
	bool more;

	if (sherd_detokenize(r->tok, &id, 1, false, &text, &len, &err)) {
		r->stream.failed = ENOMEM;
		return false;
	}
	more = stream_put(&r->stream, text, len);
	free(text);
	return more;
}

static bool put_token(struct run *r, int32_t id)
{
	char small[256], *big;
	int n = sherd_token_text(r->tok, id, false, small, sizeof(small));
	bool more;

	if (n <= (int)sizeof(small))
		return stream_put(&r->stream, small, n > 0 ? n : 0);
	big = malloc(n);
	if (!big) {
		r->stream.failed = ENOMEM;
		return false;
	}
	sherd_token_text(r->tok, id, false, big, n);
	more = stream_put(&r->stream, big, n);
	free(big);
	return more;
}

static int generate(struct run *r, const float *logits)
{
	const struct sherd_model_info *info = sherd_model_info(r->model);
	struct sherd_error err;
	int32_t id;

	while (!interrupted && (r->n_predict < 0 || r->n_made < r->n_predict)) {
		id = sample(r, logits);
		if (!r->n_made++)
			r->first = now();
		if (!r->ignore_eos && sherd_tokenizer_is_end(r->tok, id))
			return TOOL_OK;
		if (!(r->n_made == 1 && !r->prompt_len ? put_first(r, id) : put_token(r, id)))
			return TOOL_OK;
		if (r->n_made == r->n_predict)
			return TOOL_OK;
		if (sherd_session_pos(r->session) >= info->n_ctx) {
			r->why_stopped = "the context is full; -c gives more";
			return TOOL_OK;
		}
		if (sherd_prefill(r->session, &id, 1, &logits, &err))
			return tool_fail(&tool_run, &err);
	}
	return TOOL_OK;
}

static void say_speed(const struct run *r)
{
	double in = r->prefilled - r->opened, out = r->ended - r->first;

	if (r->why_stopped)
		fprintf(stderr, "sherd: stopped: %s (%d tokens)\n", r->why_stopped,
			sherd_session_pos(r->session));
	if (interrupted)
		fprintf(stderr, "sherd: interrupted\n");
	if (!r->prefilled)
		return;
	fprintf(stderr, "sherd: prompt %d tokens, %.1f t/s", r->n_ids, r->n_ids / in);
	/* The first token comes out of the prompt's last step; decoding is what follows it. */
	if (r->n_made > 1 && out > 0)
		fprintf(stderr, "; generated %d tokens, %.1f t/s", r->n_made,
			(r->n_made - 1) / out);
	if (r->n_made)
		fprintf(stderr, "; first token %.3f s after the start (loading %.3f s)",
			r->first - r->start, r->opened - r->start);
	fputc('\n', stderr);
}

/* The prompt as it came, past the stream: stop strings are looked for in what the model says. */
static bool echo(struct run *r)
{
	if (!r->echo || !r->prompt_len)
		return true;
	errno = 0;
	if (fwrite(r->prompt, 1, r->prompt_len, stdout) != r->prompt_len || fflush(stdout))
		r->stream.failed = errno ? errno : EIO;
	r->stream.last = r->prompt[r->prompt_len - 1];
	return !r->stream.failed;
}

static int compute(struct run *r)
{
	const struct sigaction sa = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND | SA_RESTART };
	const float *logits = NULL;
	int rc;

	/* From here on Ctrl-C ends the text; pressed once more, it ends the process. */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!echo(r))
		return TOOL_OK;
	r->opened = now();
	rc = prefill(r, &logits);
	if (rc)
		return rc;
	if (!interrupted) {
		r->prefilled = now();
		rc = generate(r, logits);
	}
	r->ended = now();
	return rc;
}

static int finish(struct run *r, int rc)
{
	bool terminal = isatty(STDOUT_FILENO);

	stream_end(&r->stream);
	if (r->stream.failed == EPIPE)
		return TOOL_FAILED;
	if (r->stream.failed)
		return tool_failf(&tool_run, "the text could not be written: %s",
				  strerror(r->stream.failed));
	if (terminal && r->stream.last && r->stream.last != '\n')
		putchar('\n');
	if (!tool_flush(&tool_run))
		return TOOL_FAILED;
	if (rc)
		return rc;
	if (terminal)
		fputc('\n', stderr);
	say_speed(r);
	return interrupted ? 128 + interrupted : TOOL_OK;
}

static int run_main(int argc, char **argv)
{
	struct run r = {
		.params = SHERD_MODEL_PARAMS_INIT,
		.sampler = SHERD_SAMPLER_PARAMS_INIT,
		.n_predict = -1,
		.stream = { .out = stdout, .stops = &r.stops },
	};
	struct sherd_error err = { "out of memory" };
	bool done;
	int rc;

	rc = parse(&r, argc, argv, &done);
	if (rc || done)
		goto out;
	r.start = now();
	rc = read_prompt(&r, &err) ? tool_fail(&tool_run, &err) : TOOL_OK;
	if (!rc)
		rc = open_model(&r);
	if (!rc)
		rc = tokenize_prompt(&r);
	if (rc)
		goto out;
	say_device(&r);
	rc = new_session(&r);
	if (!rc)
		rc = finish(&r, compute(&r));
out:
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
	.synopsis = "-m MODEL [-p PROMPT | -f FILE | -] [options]",
	.summary = "continue a text",
	.about =
		"Continues a text with a model: a GGUF file, or a shard made by `sherd pack`. The text "
		"goes to standard output as it is made; device and speed go to standard error.\n\n"
		"  sherd run -m model.gguf -p \"Once upon a time\"\n"
		"  sherd run model.gguf -p \"Once upon a time\" -n 64 --temp 0\n"
		"  sherd run llama3.2:1b -f question.txt --stop \"User:\"   (pulled by Ollama before)\n"
		"  fortune | sherd run model.gguf - --echo",
	.main = run_main,
};
