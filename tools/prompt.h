/* SPDX-License-Identifier: MIT */
/*
 * prompt: lines from a person or a pipe. At a terminal a line can be edited, and earlier ones come
 * back with the arrow keys, where libedit was there when sherd was built; Ctrl-C drops the line.
 */
#ifndef SHERD_PROMPT_H
#define SHERD_PROMPT_H

#include "tool.h"

enum prompt_got {
	PROMPT_TEXT,
	PROMPT_END,	  /* of the input: Ctrl-D */
	PROMPT_DROPPED,	  /* Ctrl-C, and there was something to drop */
	PROMPT_INTERRUPT, /* Ctrl-C, and there was nothing */
	PROMPT_FAILED,	  /* and said why */
};

struct prompt;

/* NULL: no memory. @tool: who fails. */
struct prompt *prompt_open(const struct tool *tool);
void prompt_close(struct prompt *p);
bool prompt_is_terminal(const struct prompt *p);
/*
 * A message: a line, or several, where a line ends in a backslash, or between lines of """. *text is
 * malloc'd, without the last line end, and valid UTF-8.
 */
enum prompt_got prompt_message(struct prompt *p, char **text);

#endif
