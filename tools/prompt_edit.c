/* SPDX-License-Identifier: MIT */
/*
 * prompt_edit: lines by libedit, on standard error, for standard output is the answers'. Ctrl-C is a
 * key here and no signal, so that it reaches the editor between two keys and not in the middle of
 * something. Pasted text comes in brackets (ESC [ 200 ~), within which a line end sends nothing.
 */
#include "prompt_line.h"

#ifdef SHERD_LIBEDIT

#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PASTE_MAX ((size_t)1 << 20)

struct editor {
	EditLine *el;
	History *history;
	const char *prompt;
	enum prompt_got got; /* what the line's end was */
};

static char *show_prompt(EditLine *el)
{
	struct editor *e;

	el_get(el, EL_CLIENTDATA, &e);
	return (char *)e->prompt;
}

static unsigned char on_interrupt(EditLine *el, int ch)
{
	const LineInfo *line = el_line(el);
	struct editor *e;

	(void)ch;
	el_get(el, EL_CLIENTDATA, &e);
	e->got = line->lastchar > line->buffer ? PROMPT_DROPPED : PROMPT_INTERRUPT;
	return CC_EOF;
}

/* Everything up to ESC [ 201 ~ goes into the line. */
static unsigned char on_paste(EditLine *el, int ch)
{
	static const char end[] = "\033[201~";
	char *text = malloc(PASTE_MAX + 1), c;
	size_t n = 0;
	bool ended = false;

	(void)ch;
	while (text && !ended && n < PASTE_MAX && el_getc(el, &c) == 1) {
		text[n++] = c == '\r' ? '\n' : c;
		ended = n >= strlen(end) && !memcmp(text + n - strlen(end), end, strlen(end));
	}
	if (ended)
		n -= strlen(end);
	if (text)
		text[n] = '\0';
	if (n)
		el_insertstr(el, text);
	free(text);
	return CC_REFRESH;
}

struct editor *editor_open(void)
{
	const char *term = getenv("TERM");
	struct editor *e;
	HistEvent ev;

	if (!isatty(STDIN_FILENO) || !isatty(STDERR_FILENO) || !term || !strcmp(term, "dumb"))
		return NULL;
	/* characters of more than a byte are one to the editor, if the locale says so */
	setlocale(LC_CTYPE, "");
	if (MB_CUR_MAX == 1)
		setlocale(LC_CTYPE, "C.UTF-8");
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->prompt = "";
	e->history = history_init();
	e->el = el_init("sherd", stdin, stderr, stderr);
	if (!e->el || !e->history) {
		editor_close(e);
		return NULL;
	}
	history(e->history, &ev, H_SETSIZE, 1000);
	history(e->history, &ev, H_SETUNIQUE, 1);
	el_set(e->el, EL_CLIENTDATA, e);
	el_set(e->el, EL_PROMPT, show_prompt);
	el_set(e->el, EL_EDITOR, "emacs");
	el_set(e->el, EL_HIST, history, e->history);
	el_set(e->el, EL_ADDFN, "sherd-interrupt", "Drop the line", on_interrupt);
	el_set(e->el, EL_ADDFN, "sherd-paste", "Insert pasted text", on_paste);
	el_set(e->el, EL_BIND, "^C", "sherd-interrupt", NULL);
	el_set(e->el, EL_BIND, "\033[200~", "sherd-paste", NULL);
	el_set(e->el, EL_BIND, "^R", "em-inc-search-prev", NULL);
	el_set(e->el, EL_SETTY, "-d", "-isig", NULL);
	return e;
}

void editor_close(struct editor *e)
{
	if (!e)
		return;
	if (e->el)
		el_end(e->el);
	if (e->history)
		history_end(e->history);
	free(e);
}

enum prompt_got editor_line(struct editor *e, const char *prompt, char **line)
{
	const char *text;
	int n;

	e->prompt = prompt;
	e->got = PROMPT_END;
	fputs("\033[?2004h", stderr); /* paste in brackets, please */
	/* before the prompt and not after it, so that who sees it can type */
	el_set(e->el, EL_PREP_TERM, 1);
	text = el_gets(e->el, &n);
	fputs("\033[?2004l", stderr);
	if (!text || n < 1) {
		fputs(e->got == PROMPT_END ? "\n" : "^C\n", stderr);
		return e->got;
	}
	*line = strndup(text, text[n - 1] == '\n' ? (size_t)n - 1 : (size_t)n);
	return *line ? PROMPT_TEXT : PROMPT_FAILED;
}

void editor_remember(struct editor *e, const char *text)
{
	HistEvent ev;

	if (e && *text)
		history(e->history, &ev, H_ENTER, text);
}

#else

#include <stddef.h>

struct editor *editor_open(void)
{
	return NULL;
}

void editor_close(struct editor *e)
{
	(void)e;
}

enum prompt_got editor_line(struct editor *e, const char *prompt, char **line)
{
	(void)e;
	(void)prompt;
	(void)line;
	return PROMPT_END;
}

void editor_remember(struct editor *e, const char *text)
{
	(void)e;
	(void)text;
}

#endif
