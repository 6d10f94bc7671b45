/* SPDX-License-Identifier: MIT */
/*
 * run_text: tokens in, text out, until the model, a stop string, a number, the context, or Ctrl-C
 * ends it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/trace.h"
#include "run.h"

volatile sig_atomic_t run_interrupted;
static struct pipeline *to_interrupt; /* what the handler knows */

static void on_signal(int sig)
{
	run_interrupted = sig;
	if (to_interrupt)
		pipeline_interrupt(to_interrupt);
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

/* What follows a token: false, if nothing does. */
static bool take(struct run *r, int32_t id)
{
	SHERD_TRACE_SCOPE("output", NULL);

	if (r->n_made++ == r->n_replay)
		r->first = sherd_now();
	if (!r->ignore_eos && sherd_tokenizer_is_end(r->tok, id))
		return false;
	if (!(r->n_made == 1 && (r->is_answer || !r->prompt_len) ? put_first(r, id) : put_token(r, id)))
		return false;
	if (r->n_made == r->n_predict)
		return false;
	if (r->n_ids + r->n_made > r->n_ctx) {
		r->why_stopped = r->pipe ?
			"the plan's context is full; sherd plan -c makes a plan with a larger one" :
			"the context is full; -c gives more";
		return false;
	}
	return true;
}

/* Tokens that a journal has are said again, and not computed one by one. */
static int begin(struct run *r, int32_t *id)
{
	int n = r->n_ids + r->n_replay, rc;
	int32_t *all = sherd_calloc((size_t)n, sizeof(*all));

	if (!all)
		return tool_failf(r->tool, "out of memory");
	memcpy(all, r->ids, (size_t)r->n_ids * sizeof(*all));
	if (r->n_replay)
		memcpy(all + r->n_ids, r->made, (size_t)r->n_replay * sizeof(*all));
	rc = run_session_restore(r, all, n);
	if (!rc)
		rc = r->source->next(r, all + r->n_restored, n - r->n_restored,
				     r->n_predict ? id : NULL);
	free(all);
	return rc;
}

static int generate(struct run *r)
{
	int32_t id = -1;
	int rc;

	for (int i = 0; i < r->n_replay; i++)
		if (!take(r, r->made[i]))
			return TOOL_OK;
	rc = begin(r, &id);
	if (!rc && !run_interrupted)
		r->prefilled = sherd_now();
	while (!rc && !run_interrupted && r->n_predict) {
		rc = run_log_token(r, id);
		if (rc || !take(r, id))
			break;
		rc = r->source->next(r, &id, 1, &id);
	}
	return rc;
}

static void say_speed(struct run *r)
{
	double in = r->prefilled - r->opened, out = r->ended - r->first;
	int n = r->n_ids + r->n_replay;

	if (r->why_stopped)
		fprintf(stderr, "sherd: stopped: %s (%d tokens)\n", r->why_stopped,
			r->n_ids + r->n_made - 1);
	if (run_interrupted)
		fprintf(stderr, "sherd: interrupted\n");
	if (!r->prefilled)
		return;
	fprintf(stderr, "sherd: prompt %d tokens", n);
	if (r->n_restored)
		fprintf(stderr, ", %d of them %s%s", r->n_restored,
			r->session_file ? "from " : "known",
			r->session_file ? r->session_file : "");
	fprintf(stderr, ", %.1f t/s", (n - r->n_restored) / in);
	/* The first token comes out of the prompt's last step; decoding is what follows it. */
	if (r->n_made - r->n_replay > 1 && out > 0)
		fprintf(stderr, "; generated %d tokens, %.1f t/s", r->n_made - r->n_replay,
			(r->n_made - r->n_replay - 1) / out);
	if (r->n_made && r->start_s > 0)
		fprintf(stderr, "; first token %.3f s after the start (loading %.3f s)",
			r->first - r->start_s, r->opened - r->start_s);
	fputc('\n', stderr);
	if (r->source->end)
		r->source->end(r);
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

/* The text is out: should its device have gone wrong, who reads it is told. */
static int check(struct run *r)
{
	struct sherd_error err;

	if (r->model && !run_interrupted && sherd_model_check(r->model, &err))
		return tool_fail(r->tool, &err);
	return TOOL_OK;
}

static int compute(struct run *r)
{
	const struct sigaction sa = { .sa_handler = on_signal,
				      .sa_flags = SA_RESETHAND | SA_RESTART };
	int rc;

	/* From here on Ctrl-C ends the text; pressed once more, it ends the process. */
	sigaction(SIGINT, &sa, NULL);
	sigaction(SIGTERM, &sa, NULL);
	if (!echo(r))
		return TOOL_OK;
	r->opened = sherd_now();
	rc = generate(r);
	r->ended = sherd_now();
	if (!rc)
		rc = check(r);
	return rc ? rc : run_session_keep(r);
}

/* The text's last bytes, and a line end on a terminal. */
static int end_text(struct run *r, int rc)
{
	bool terminal = isatty(STDOUT_FILENO);

	stream_end(&r->stream);
	if (r->stream.failed == EPIPE)
		return TOOL_FAILED;
	if (r->stream.failed)
		return tool_failf(r->tool, "the text could not be written: %s",
				  strerror(r->stream.failed));
	/* Answers stand one below the other, wherever they go. */
	if ((terminal || r->tool == &tool_chat) && r->stream.last && r->stream.last != '\n')
		putchar('\n');
	if (!tool_flush(r->tool))
		return TOOL_FAILED;
	if (rc)
		return rc;
	if (terminal)
		fputc('\n', stderr);
	return TOOL_OK;
}

int run_text(struct run *r)
{
	int rc;

	to_interrupt = r->pipe;
	rc = end_text(r, compute(r));
	if (rc)
		return rc;
	say_speed(r);
	return run_interrupted ? 128 + run_interrupted : TOOL_OK;
}

int run_answer(struct run *r)
{
	struct sigaction was_int, was_term;
	int rc;

	r->n_made = 0;
	r->prefilled = 0;
	r->n_restored = 0;
	r->why_stopped = NULL;
	r->stream.stopped = false;
	r->stream.failed = 0;
	r->stream.last = 0;
	run_interrupted = 0;
	sigaction(SIGINT, NULL, &was_int);
	sigaction(SIGTERM, NULL, &was_term);
	rc = compute(r);
	sigaction(SIGINT, &was_int, NULL);
	sigaction(SIGTERM, &was_term, NULL);
	rc = end_text(r, rc);
	if (!rc)
		say_speed(r);
	return rc;
}
