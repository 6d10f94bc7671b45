/* SPDX-License-Identifier: MIT */
/*
 * chat_session: --session. A talk is kept in a session's file: its messages are the note there, and the
 * KV cache is what the model knows of them. After a turn only the messages are written, for the cache
 * may be large; it follows when the talk is left in good order. Who is hung up on, killed or out of power
 * loses the time to read the talk again, and no word of it.
 *
 * Two that keep their talks in one file would each take away the other's words: who finds the file another
 * than it was keeps nothing there any more.
 */
#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "chat.h"

/* The talk goes on, whatever became of its cache. */
static void say_loaded(const struct chat *c, int rc)
{
	const char *why = rc == -ENOSPC ? "; it is longer than the context, and its end is read again" :
			  rc == -ESTALE ? "; it is read again, for what was read of it is another "
					  "model's, KV cache's, device's or release's" :
			  rc ? "; it is read again, for what was read of it is damaged" :
			       "";
	char *said = sherd_asprintf("the talk in %s goes on, with %d messages%s; /show shows them",
				    c->session_file, c->talk.n, why);

	if (c->talk.n)
		tool_line(said ? said : "the talk goes on");
	free(said);
}

/* A file that can't be written is better heard of before the first answer. */
static bool may_be_written(const char *file)
{
	char *copy = strdup(file);
	bool may = !copy || !access(dirname(copy), W_OK);

	free(copy);
	return may;
}

static int load(struct chat *c)
{
	const struct tool *t = c->run.tool;
	struct sherd_error err, why;
	char *note;
	int rc;

	if (!may_be_written(c->session_file))
		return tool_failf(
			t, "%s: its folder cannot be written to, so the talk could not be kept",
			c->session_file);
	if (stat(c->session_file, &c->seen))
		c->seen.st_ino = 0;
	rc = sherd_session_load(c->run.session, c->session_file, &note, &err);
	if (rc && !note)
		return tool_fail(t, &err);
	if (!note)
		return tool_failf(t, "%s: is a session of sherd run, without a talk: name another file",
				  c->session_file);
	c->kept = note;
	if (talk_parse(&c->talk, note, strlen(note), c->session_file, &why))
		return tool_fail(t, &why);
	say_loaded(c, rc);
	return TOOL_OK;
}

/* Each writing makes a new file, so what was not written here has another number. */
static bool is_anothers(const struct chat *c)
{
	struct stat now;

	return c->seen.st_ino && !stat(c->session_file, &now) &&
	       (now.st_ino != c->seen.st_ino || now.st_dev != c->seen.st_dev ||
		now.st_mtim.tv_sec != c->seen.st_mtim.tv_sec ||
		now.st_mtim.tv_nsec != c->seen.st_mtim.tv_nsec);
}

/* The messages, @text, which is then kept or freed here, and what @s has of them. */
static int write_file(struct chat *c, char *text, const struct sherd_session *s,
		      struct sherd_error *err)
{
	int rc;

	if (is_anothers(c))
		rc = sherd_fail(
			err, -ESTALE,
			"%s: another program has written to it meanwhile, so this talk is not kept "
			"there; /save FILE writes its messages elsewhere",
			c->session_file);
	else
		rc = text ? sherd_session_save(s, c->session_file, text, err) :
			    sherd_fail_oom(err, 0, "a talk's file");
	if (rc) {
		free(text);
		return rc;
	}
	if (stat(c->session_file, &c->seen))
		c->seen.st_ino = 0;
	free(c->kept);
	c->kept = text;
	return 0;
}

int chat_session_open(struct chat *c)
{
	struct sherd_error err;

	if (!c->session_file)
		return TOOL_OK;
	if (sherd_session_new(&c->nothing, c->run.model, NULL, &err))
		return tool_fail(c->run.tool, &err);
	if (!access(c->session_file, F_OK))
		return load(c);
	return write_file(c, talk_text(&c->talk), c->nothing, &err) ? tool_fail(c->run.tool, &err) :
								      TOOL_OK;
}

void chat_session_keep(struct chat *c)
{
	struct sherd_error err;
	char *text;

	if (!c->session_file)
		return;
	text = talk_text(&c->talk);
	if (text && c->kept && !strcmp(text, c->kept)) {
		free(text);
		return;
	}
	c->behind = true;
	if (write_file(c, text, c->nothing, &err))
		tool_line(err.msg);
}

/* What was cleared, undone or never said stays in nobody's file. */
static void forget_the_rest(struct chat *c)
{
	struct run *r = &c->run;
	struct sherd_error err;
	const int32_t *had;
	int32_t *ids = NULL;
	int n_had, n = 0;

	if (c->talk.n)
		sherd_chat_tokens(c->template, c->talk.v, c->talk.n, false, &ids, &n, &err);
	had = sherd_session_tokens(r->session, &n_had);
	sherd_session_truncate(r->session, run_n_common(ids, n, had, n_had), NULL);
	free(ids);
}

int chat_session_close(struct chat *c)
{
	struct sherd_error err;

	if (!c->behind)
		return TOOL_OK;
	forget_the_rest(c);
	if (prompt_is_terminal(c->prompt))
		fprintf(stderr, "sherd: keeping the talk in %s\n", c->session_file);
	return write_file(c, talk_text(&c->talk), c->run.session, &err) ?
		       tool_fail(c->run.tool, &err) :
		       TOOL_OK;
}
