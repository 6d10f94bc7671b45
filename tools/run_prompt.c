/* SPDX-License-Identifier: MIT */
/*
 * run_prompt: from the command line to tokens. A prompt is a message of the model's chat template,
 * if it has one, and else the beginning of a text; --raw makes it that in any case.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "run.h"
#include "template.h"

/*
 * Who says nothing gets a text from its very beginning; who says "" has lost something on the way.
 */
static int check_prompt(const struct run *r, struct sherd_error *err)
{
	if (r->prompt_len)
		return 0;
	snprintf(err->msg, sizeof(err->msg),
		 "the prompt is empty; without -p, -f or - a text begins at its beginning");
	return -EINVAL;
}

static int read_it(struct run *r, struct sherd_error *err)
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

int run_read_prompt(struct run *r)
{
	struct sherd_error err = { "out of memory" };

	return read_it(r, &err) ? tool_fail(r->tool, &err) : TOOL_OK;
}

/* By @chat: a system prompt, the message, and the place where the answer begins. */
static int tokenize_message(struct run *r, const struct sherd_chat *chat)
{
	struct sherd_message m[2] = { { "system", r->system }, { "user", r->prompt } };
	int n = r->system ? 2 : 1;
	struct sherd_error err;

	if (sherd_chat_tokens(chat, m + 2 - n, n, true, &r->ids, &r->n_ids, &err))
		return tool_failf(r->tool, "%s" TEMPLATE_HINT, err.msg);
	fprintf(stderr, "sherd: the prompt is a message, by %s; --raw takes it as it is\n",
		r->template ? r->template : "the model's chat template");
	r->is_answer = true;
	return TOOL_OK;
}

/* Who gives no prompt, and no template either, wants a text from its beginning. */
static int tokenize(struct run *r)
{
	struct sherd_chat *chat = NULL;
	struct sherd_error err;
	int rc = TOOL_OK;

	if (!r->raw && (r->prompt_len || r->template || r->system))
		rc = template_open(r->tool, r->template, r->tok, &chat);
	if (!rc && chat)
		rc = tokenize_message(r, chat);
	else if (!rc && r->system)
		rc = tool_failf(r->tool, "the model has no chat template that would say where a "
					 "system prompt goes" TEMPLATE_HINT);
	else if (!rc &&
		 sherd_tokenize(r->tok, r->prompt, r->prompt_len,
				SHERD_TOK_SPECIAL | SHERD_TOK_PARSE, &r->ids, &r->n_ids, &err))
		rc = tool_fail(r->tool, &err);
	sherd_chat_close(chat);
	return rc;
}

int run_tokenize_prompt(struct run *r)
{
	int rc = tokenize(r);

	if (rc)
		return rc;
	if (!r->n_ids)
		return tool_failf(r->tool, "the prompt is empty, and this model has no token that "
					   "begins a text: give one with -p");
	if (r->n_ids > r->n_ctx && r->pipe_params.plan)
		return tool_failf(r->tool,
				  "the prompt has %d tokens and the plan's context "
				  "holds %d: shorten it, or make a plan with a larger "
				  "one (sherd plan -c)",
				  r->n_ids, r->n_ctx);
	if (r->n_ids > r->n_ctx)
		return tool_failf(r->tool,
				  "the prompt has %d tokens and the context holds %d: "
				  "shorten it, or give more with -c (the model was "
				  "trained for %d)",
				  r->n_ids, r->n_ctx, r->n_ctx_train);
	return TOOL_OK;
}
