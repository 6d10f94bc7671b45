/* SPDX-License-Identifier: MIT */
/*
 * chat_command: what a line that begins with "/" does to the talk. A table, which /help prints.
 */
#include <stdlib.h>
#include <string.h>
#include "base/base.h"
#include "chat.h"

static int help(struct chat *c, const char *arg);

static int quit(struct chat *c, const char *arg)
{
	(void)arg;
	c->quit = true;
	return TOOL_OK;
}

static int clear(struct chat *c, const char *arg)
{
	(void)arg;
	talk_clear(&c->talk);
	tool_line("everything said is forgotten, but the system prompt");
	return TOOL_OK;
}

static int undo(struct chat *c, const char *arg)
{
	(void)arg;
	tool_line(talk_undo(&c->talk) ? "the last question and its answer are forgotten" :
					"there is no question to forget");
	return TOOL_OK;
}

/* Another seed, for the same one would give the same answer. */
static int retry(struct chat *c, const char *arg)
{
	(void)arg;
	if (!talk_reopen(&c->talk)) {
		tool_line("there is no question to answer again");
		return TOOL_OK;
	}
	c->run.seed.v++;
	return chat_answer(c);
}

static int system_prompt(struct chat *c, const char *arg)
{
	if (!talk_system(&c->talk, arg))
		return tool_failf(c->run.tool, "out of memory");
	tool_line(*arg ? "this is the system prompt from now on" :
			 "there is no system prompt any more");
	return TOOL_OK;
}

static int save(struct chat *c, const char *arg)
{
	struct sherd_error err;

	if (!*arg)
		tool_line("/save needs a file's name");
	else if (talk_save(&c->talk, arg, &err))
		tool_line(err.msg);
	else
		tool_line("saved");
	return TOOL_OK;
}

static int load(struct chat *c, const char *arg)
{
	struct sherd_error err;
	char *said;

	if (!*arg) {
		tool_line("/load needs a file's name");
		return TOOL_OK;
	}
	if (talk_load(&c->talk, arg, &err)) {
		tool_line(err.msg);
		return TOOL_OK;
	}
	said = sherd_asprintf("%d messages are there", c->talk.n);
	tool_line(said ? said : "loaded");
	free(said);
	return TOOL_OK;
}

/* Line by line, for what a line says commands no terminal. */
static void show_message(const struct sherd_message *m)
{
	const char *at = m->content;

	fprintf(stderr, "%s:\n", m->role);
	for (;;) {
		size_t n = strcspn(at, "\n");
		char *line = strndup(at, n), *shown = line ? tool_harmless(line) : NULL;

		fprintf(stderr, "  %s\n", shown ? shown : "");
		free(line);
		free(shown);
		if (!at[n])
			break;
		at += n + 1;
	}
}

static int show(struct chat *c, const char *arg)
{
	(void)arg;
	for (int i = 0; i < c->talk.n; i++)
		show_message(&c->talk.v[i]);
	return TOOL_OK;
}

static const struct command {
	const char *name, *arg, *help;
	int (*run)(struct chat *c, const char *arg);
} commands[] = {
	{ "help", "", "this list", help },
	{ "clear", "", "forget everything but the system prompt", clear },
	{ "undo", "", "forget the last question and its answer", undo },
	{ "retry", "", "answer the last question again, with the next seed", retry },
	{ "system", " TEXT", "another system prompt; without TEXT none", system_prompt },
	{ "show", "", "what has been said, message by message", show },
	{ "save", " FILE", "write the talk to FILE", save },
	{ "load", " FILE", "go on with the talk in FILE", load },
	{ "quit", "", "leave, as Ctrl-D does", quit },
	{ "exit", "", NULL, quit },
};

static int help(struct chat *c, const char *arg)
{
	(void)c;
	(void)arg;
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		char left[32];

		if (!commands[i].help)
			continue;
		snprintf(left, sizeof(left), "/%s%s", commands[i].name, commands[i].arg);
		fprintf(stderr, "  %-14s %s\n", left, commands[i].help);
	}
	fputs("  //...          a message that begins with /\n"
	      "A line that ends in \\ goes on; \"\"\" begins and ends a message of several lines.\n"
	      "Ctrl-C ends an answer, or drops a line; twice, or Ctrl-D, leaves.\n",
	      stderr);
	return TOOL_OK;
}

int chat_command(struct chat *c, const char *line)
{
	size_t n = strcspn(line + 1, " \t\n");
	const char *arg = line + 1 + n + strspn(line + 1 + n, " \t\n");
	char *said;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		if (strlen(commands[i].name) == n && !memcmp(line + 1, commands[i].name, n))
			return commands[i].run(c, arg);
	said = sherd_asprintf("there is no /%.*s; /help lists what there is",
			      (int)MIN(n, (size_t)40), line + 1);
	tool_line(said ? said : "out of memory");
	free(said);
	return TOOL_OK;
}
