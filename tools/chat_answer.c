/* SPDX-License-Identifier: MIT */
/*
 * chat_answer: the talk to tokens, and an answer to it. A prompt is the whole talk, made by the
 * template each time; what of it the session knows already is not computed again (run_session.c).
 * So an answer is a function of the talk, the seed and the options, however one came to it.
 */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "chat.h"

/* Room that an answer should have: else the oldest turns go. */
static int answer_room(const struct run *r)
{
	return r->n_predict > 0 && r->n_predict < r->n_ctx / 8 ? r->n_predict : r->n_ctx / 8;
}

/* The prompt's tokens, in r->ids. */
static int tokenize(struct chat *c, const struct sherd_message *v, int n)
{
	struct run *r = &c->run;
	struct sherd_error err;

	free(r->ids);
	r->ids = NULL;
	if (!sherd_chat_tokens(c->template, v, n, true, &r->ids, &r->n_ids, &err))
		return TOOL_OK;
	return tool_fail(r->tool, &err);
}

static int length(void *chat, const struct sherd_message *v, int n)
{
	struct chat *c = chat;

	return tokenize(c, v, n) ? -1 : c->run.n_ids;
}

/*
 * The prompt without the oldest turns, half the context at most: one that begins differently is computed
 * anew, which should not happen at every turn. The talk forgets them only if that helps.
 */
static int forget(struct chat *c, int most)
{
	struct run *r = &c->run;
	int k = talk_surplus(&c->talk, r->n_ctx / 2, length, c), n, rc;
	struct sherd_message *v;

	if (k < 0)
		return TOOL_FAILED;
	n = talk_rest(&c->talk, k, &v);
	rc = n < 0 ? tool_failf(r->tool, "out of memory") : tokenize(c, v, n);
	free(v);
	if (!rc && r->n_ids > most)
		rc = tool_failf(r->tool,
				"the message makes a prompt of %d tokens and the context holds %d, "
				"with room for an answer %d: -c gives more (the model was trained "
				"for %d)",
				r->n_ids, r->n_ctx, most, r->n_ctx_train);
	if (rc || !k)
		return rc;
	talk_forget(&c->talk, k);
	fprintf(stderr, "sherd: the context of %d tokens is full: the %d oldest %s forgotten\n",
		r->n_ctx, k, k == 1 ? "turn is" : "turns are");
	return TOOL_OK;
}

/* The talk's tokens in r->ids, with room for an answer. */
static int make_prompt(struct chat *c)
{
	int most = c->run.n_ctx - answer_room(&c->run);
	int rc = tokenize(c, c->talk.v, c->talk.n);

	return rc || c->run.n_ids <= most ? rc : forget(c, most);
}

/* What was said becomes a message; a question that nothing was said to is taken back. */
static int keep_answer(struct chat *c)
{
	struct stream *s = &c->run.stream;
	char *text = strndup(s->kept ? s->kept : "", s->n_kept);
	bool ok = true;

	if (!text)
		return tool_failf(c->run.tool, "out of memory");
	if (run_interrupted && !*text) {
		talk_undo(&c->talk);
		tool_line("nothing was said, so the question is forgotten");
	} else {
		ok = talk_add(&c->talk, "assistant", text);
	}
	free(text);
	return ok ? TOOL_OK : tool_failf(c->run.tool, "out of memory");
}

int chat_answer(struct chat *c)
{
	struct sherd_sampler_params sampler = c->run.sampler;
	int rc = make_prompt(c);

	if (rc) {
		/* the talk is as it was before the question */
		talk_undo(&c->talk);
		return prompt_is_terminal(c->prompt) ? TOOL_OK : rc;
	}
	sampler.seed = c->run.seed.v;
	sherd_session_set_sampler(c->run.session, &sampler);
	c->run.stream.n_kept = 0;
	rc = run_answer(&c->run);
	if (!rc)
		rc = keep_answer(c);
	if (!rc && run_interrupted && (run_interrupted != SIGINT || !prompt_is_terminal(c->prompt)))
		rc = 128 + run_interrupted;
	return rc;
}
