/* SPDX-License-Identifier: MIT */
/*
 * run_draft: --draft. Opens what guesses, and says at the end what that was worth.
 */
#include <string.h>
#include "run.h"

static bool by_model(const struct run *r)
{
	return strcmp(r->draft_name, "ngram") != 0;
}

int run_draft_open(struct run *r)
{
	struct sherd_model_params params = r->params;
	struct sherd_error err;

	if (!r->draft_name || !by_model(r))
		return TOOL_OK;
	params.n_ctx = r->n_ctx;
	params.bits = 0;
	if (sherd_model_open(&r->draft_model, r->draft_name, &params, &err))
		return tool_fail(r->tool, &err);
	return TOOL_OK;
}

static int32_t draw(void *ctx, struct sherd_session *s, int pos, const float *logits)
{
	return run_draw(ctx, s, pos, logits);
}

int run_draft_start(struct run *r)
{
	const struct sherd_draft_params p = {
		.model = r->draft_model, .n_max = r->draft_max, .draw = draw, .ctx = r
	};
	struct sherd_error err;

	if (!r->draft_name)
		return TOOL_OK;
	if (sherd_draft_new(&r->draft, r->session, &p, &err))
		return tool_fail(r->tool, &err);
	return TOOL_OK;
}

/* Of this answer alone, where there were others before it. */
static struct sherd_draft_stats since(const struct sherd_draft_stats *now,
				      const struct sherd_draft_stats *then)
{
	struct sherd_draft_stats s = *now;

	s.n_guessed -= then->n_guessed;
	s.n_accepted -= then->n_accepted;
	s.n_steps -= then->n_steps;
	s.n_tokens -= then->n_tokens;
	s.seconds -= then->seconds;
	s.plain_s -= then->plain_s;
	if (then->stopped)
		s.stopped = NULL;
	return s;
}

void run_draft_say(struct run *r)
{
	struct sherd_draft_stats now, s;

	if (!r->draft)
		return;
	sherd_draft_stats(r->draft, &now);
	s = since(&now, &r->draft_said);
	r->draft_said = now;
	if (s.stopped)
		fprintf(stderr, "sherd: the draft gave up, and the text went on without: %s\n",
			s.stopped);
	/* who gave up in an earlier answer has nothing to tell any more */
	if (!s.n_steps || now.stopped != s.stopped)
		return;
	if (!s.n_guessed) {
		if (!s.stopped)
			fputs("sherd: draft: nothing was guessed: no guess seemed worth its time\n",
			      stderr);
		return;
	}
	fprintf(stderr,
		"sherd: draft: %llu tokens guessed, %.0f %% of them right; %.2f tokens a step",
		(unsigned long long)s.n_guessed,
		100.0 * (double)s.n_accepted / (double)s.n_guessed,
		(double)s.n_tokens / (double)s.n_steps);
	if (s.plain_s > 0 && s.seconds > 0)
		fprintf(stderr, "; about %.2f times the speed without", s.plain_s / s.seconds);
	fputc('\n', stderr);
}

void run_draft_close(struct run *r)
{
	sherd_draft_free(r->draft);
	sherd_model_close(r->draft_model);
}
