/* SPDX-License-Identifier: MIT */
/*
 * prompt: see prompt.h. Lines come from an editor (prompt_edit.c), or as they are.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "prompt_line.h"

#define MESSAGE_MAX ((size_t)64 << 20)

struct prompt {
	const struct tool *tool;
	struct editor *editor; /* NULL: lines as they come */
	bool terminal;
};

static volatile sig_atomic_t interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	interrupted = 1;
}

struct prompt *prompt_open(const struct tool *tool)
{
	struct prompt *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->tool = tool;
	p->terminal = isatty(STDIN_FILENO) && isatty(STDERR_FILENO);
	p->editor = editor_open();
	return p;
}

void prompt_close(struct prompt *p)
{
	if (p)
		editor_close(p->editor);
	free(p);
}

bool prompt_is_terminal(const struct prompt *p)
{
	return p->terminal;
}

/* A line as it comes; Ctrl-C ends the reading of it, not the process. */
static enum prompt_got plain_line(struct prompt *p, const char *text, char **line)
{
	struct sigaction was, sa = { .sa_handler = on_interrupt };
	size_t room = 0;
	ssize_t n;

	if (p->terminal)
		fputs(text, stderr);
	interrupted = 0;
	*line = NULL;
	sigaction(SIGINT, p->terminal ? &sa : NULL, &was);
	n = getline(line, &room, stdin);
	sigaction(SIGINT, &was, NULL);
	if (n >= 0) {
		if (n && (*line)[n - 1] == '\n')
			(*line)[--n] = '\0';
		if (strlen(*line) == (size_t)n)
			return PROMPT_TEXT;
		tool_failf(p->tool, "a line has a zero byte, which is no text");
		free(*line);
		return PROMPT_FAILED;
	}
	free(*line);
	if (ferror(stdin) && !interrupted) {
		tool_failf(p->tool, "standard input: %s", strerror(errno));
		return PROMPT_FAILED;
	}
	clearerr(stdin);
	if (p->terminal)
		fputc('\n', stderr);
	return interrupted ? PROMPT_INTERRUPT : PROMPT_END;
}

static enum prompt_got read_line(struct prompt *p, const char *text, char **line)
{
	return p->editor ? editor_line(p->editor, text, line) : plain_line(p, text, line);
}

/* ------------------------------------------------------------ several lines */

#define FENCE "\"\"\""

struct message {
	char *text;
	size_t len;
};

static bool add(struct message *m, const char *text, size_t n)
{
	char *more = m->len + n < MESSAGE_MAX ? realloc(m->text, m->len + n + 1) : NULL;

	if (!more)
		return false;
	memcpy(more + m->len, text, n);
	m->text = more;
	m->len += n;
	more[m->len] = '\0';
	return true;
}

/* What one line does to the message: is it whole now? */
static bool add_line(struct message *m, const char *line, bool *fenced, bool *failed)
{
	size_t n = strlen(line), fence = strlen(FENCE);
	bool whole = !*fenced, ok;

	if (!*fenced && !m->len && n >= fence && !memcmp(line, FENCE, fence)) {
		/* """ opens; what stands behind it is the first line, and may close at once */
		line += fence;
		n -= fence;
		*fenced = true;
		whole = false;
	}
	if (*fenced && n >= fence && !memcmp(line + n - fence, FENCE, fence)) {
		n -= fence;
		whole = true;
		if (!n && m->len)
			m->len--; /* the line end before a lonely """ */
	} else if (!*fenced && n && line[n - 1] == '\\') {
		n--;
		whole = false;
	}
	ok = add(m, line, n);
	if (ok && !whole && (n || m->len || !*fenced))
		ok = add(m, "\n", 1);
	*failed = !ok;
	return whole || !ok;
}

static enum prompt_got check(struct prompt *p, struct message *m, bool failed)
{
	struct sherd_error err;

	if (failed)
		tool_failf(p->tool, "a message of more than %zu MiB, or no memory",
			   MESSAGE_MAX >> 20);
	else if (tool_check_text("the message", m->text, m->len, &err))
		tool_fail(p->tool, &err);
	else
		return PROMPT_TEXT;
	return PROMPT_FAILED;
}

enum prompt_got prompt_message(struct prompt *p, char **text)
{
	struct message m = { 0 };
	bool fenced = false, failed = false, whole = false, begun = false;
	enum prompt_got got;
	char *line;

	*text = NULL;
	while (!whole) {
		got = read_line(p, begun ? ". " : "> ", &line);
		/* an input that ends within a message ends the message */
		if (got == PROMPT_END && begun)
			break;
		if (got != PROMPT_TEXT) {
			free(m.text);
			return got == PROMPT_INTERRUPT && begun ? PROMPT_DROPPED : got;
		}
		whole = add_line(&m, line, &fenced, &failed);
		begun = true;
		free(line);
	}
	if (m.text)
		m.text[m.len] = '\0';
	got = check(p, &m, failed);
	if (got != PROMPT_TEXT) {
		free(m.text);
		return got;
	}
	if (p->editor)
		editor_remember(p->editor, m.text);
	*text = m.text;
	return PROMPT_TEXT;
}
