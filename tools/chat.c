/* SPDX-License-Identifier: MIT */
/*
 * chat: a conversation with a model, by its chat template. stdout carries the answers and nothing
 * else; what is asked, and all that is said about it, is standard error's. Works from a pipe too: a
 * line is a turn.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "chat.h"
#include "template.h"

static int check(struct chat *c, int argc, char **argv)
{
	struct run *r = &c->run;

	if (argc > 1)
		return tool_usage(&tool_chat, "'%s' is one argument too many", argv[1]);
	if (argc && r->model_name)
		return tool_usage(&tool_chat, "two models: %s and %s", r->model_name, argv[0]);
	if (argc)
		r->model_name = argv[0];
	if (!r->model_name)
		return tool_usage(&tool_chat, "which model? Give a file with -m MODEL");
	return run_check_options(r);
}

/* TOOL_OK: go on; *done: help, or a list, was printed. */
static int parse(struct chat *c, int argc, char **argv, bool *done)
{
	struct run *r = &c->run;
	const struct opt opts[] = {
		TOOL_MODEL_OPTS(r->model_name, r->params),
		{ 0, "system", OPT_STR, &r->system, 0, 0, "TEXT", "the system prompt" },
		{ 0, "template", OPT_STR, &r->template, 0, 0, "NAME|FILE",
		  "a chat template in place of the model's own; list: those that come along" },
		{ 'n', "n-predict", OPT_INT, &r->n_predict, -1, 1 << 24, "N",
		  "tokens of an answer at most (default: -1, until the model ends it or the context "
		  "is full)" },
		RUN_SAMPLER_OPTS(r),
		RUN_DRAFT_OPTS(r),
		{ 0, "session", OPT_STR, &c->session_file, 0, 0, "FILE",
		  "keep the talk there, and go on with the one that is there: its messages, and what the "
		  "model has read of them (the KV cache)" },
		{ 'v', "verbose", OPT_FLAG, &r->verbose, 0, 0, NULL, "say more about the model" },
		{ 0 }
	};
	int rc = opt_parse(&tool_chat, opts, &argc, argv);

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (template_list(r->template)) {
		*done = true;
		return tool_flush(&tool_chat) ? TOOL_OK : TOOL_FAILED;
	}
	return check(c, argc, argv);
}

static int open_it(struct chat *c)
{
	struct run *r = &c->run;
	int rc = r->source->open(r);

	if (!rc)
		rc = template_open(&tool_chat, r->template, r->tok, &c->template);
	if (!rc && !c->template)
		rc = tool_failf(&tool_chat, "%s: has no chat template" TEMPLATE_HINT,
				sherd_model_info(r->model)->path);
	if (rc)
		return rc;
	r->source->say(r);
	run_draw_seed(r);
	c->seed = r->seed.v;
	rc = r->source->start(r);
	if (!rc)
		rc = chat_session_open(c);
	c->prompt = prompt_open(&tool_chat);
	if (!rc && (!c->prompt || (r->system && !talk_system(&c->talk, r->system))))
		rc = tool_failf(&tool_chat, "out of memory");
	return rc;
}

static int turn(struct chat *c, const char *text)
{
	if (text[0] == '/' && text[1] != '/')
		return chat_command(c, text);
	if (!text[strspn(text, " \t\n")])
		return TOOL_OK;
	if (!talk_add(&c->talk, "user", text[0] == '/' ? text + 1 : text))
		return tool_failf(&tool_chat, "out of memory");
	c->run.seed.v = c->seed;
	return chat_answer(c);
}

static int talk_on(struct chat *c)
{
	bool terminal = prompt_is_terminal(c->prompt), leaving = false;
	char *text;
	int rc = TOOL_OK;

	/* From here on Ctrl-C is for answers and lines; between the two it is for nobody. */
	if (terminal)
		signal(SIGINT, SIG_IGN);
	if (terminal)
		fputs("sherd: /help says what there is beside talking; Ctrl-D leaves\n", stderr);
	while (!rc && !c->quit) {
		enum prompt_got got = prompt_message(c->prompt, &text);

		if (got == PROMPT_END)
			break;
		if (got == PROMPT_INTERRUPT && leaving)
			return 128 + SIGINT;
		if (got == PROMPT_FAILED && !terminal)
			return TOOL_FAILED;
		leaving = got == PROMPT_INTERRUPT;
		if (leaving)
			fputs("sherd: Ctrl-C once more, or Ctrl-D, leaves\n", stderr);
		if (got == PROMPT_TEXT) {
			rc = turn(c, text);
			chat_session_keep(c);
			free(text);
		}
	}
	return rc;
}

/* From the first line to the last; what failed on the way leaves no KV cache behind. */
static int talk(struct chat *c)
{
	int rc = open_it(c), kept;

	if (!rc)
		rc = talk_on(c);
	if (rc && rc < 128)
		return rc;
	kept = chat_session_close(c);
	return rc ? rc : kept;
}

static int chat_main(int argc, char **argv)
{
	struct chat c = {
		.run = {
			.tool = &tool_chat,
			.params = SHERD_MODEL_PARAMS_INIT,
			.sampler = SHERD_SAMPLER_PARAMS_INIT,
			.n_predict = -1,
			.log_fd = -1,
			.is_answer = true,
			.source = &run_source_model,
			.watch = { .tool = "sherd chat", .limit_s = WATCH_DEFAULT_S },
			.stream = { .out = stdout, .stops = &c.run.stops, .keep = true },
		},
	};
	bool done;
	int rc = parse(&c, argc, argv, &done);

	if (!rc && !done)
		rc = talk(&c);
	prompt_close(c.prompt);
	talk_free(&c.talk);
	sherd_chat_close(c.template);
	run_draft_close(&c.run);
	sherd_session_free(c.nothing);
	sherd_session_free(c.run.session);
	sherd_model_close(c.run.model);
	free(c.run.stream.held);
	free(c.run.stream.kept);
	free(c.run.ids);
	free(c.kept);
	opt_strs_free(&c.run.stops);
	return rc;
}

const struct tool tool_chat = {
	.name = "chat",
	.synopsis = "-m MODEL [--system TEXT] [options]",
	.summary = "talk with a model",
	.about =
		"Talks with a model, by the chat template of its file. Answers go to standard output as "
		"they are made, all else to standard error; from a pipe, a line is a turn. Of a prompt, "
		"which is the whole talk, only what is new is computed. Ctrl-C ends an answer and not the "
		"program; /help lists commands.\n\n"
		"  sherd chat -m model.gguf\n"
		"  sherd chat qwen2.5:0.5b --system \"Answer in one sentence.\"   (pulled by Ollama before)\n"
		"  sherd chat model.gguf --template chatml --temp 0\n"
		"  sherd chat model.gguf --session plans.talk   (another day it goes on)\n"
		"  printf 'Hello\\nAnd then?\\n' | sherd chat model.gguf -s 7 > answers.txt\n"
		"  sherd chat --template list",
	.main = chat_main,
};
