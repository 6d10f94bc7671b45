/* SPDX-License-Identifier: MIT */
/* prompt_line: one line from an editor; prompt.c makes messages of them. */
#ifndef SHERD_PROMPT_LINE_H
#define SHERD_PROMPT_LINE_H

#include "prompt.h"

struct editor;

/* NULL: there is no terminal that could edit, or no libedit: lines are read as they come. */
struct editor *editor_open(void);
void editor_close(struct editor *e);
/* A line, malloc'd, without its end; pasted text may have more within it. */
enum prompt_got editor_line(struct editor *e, const char *prompt, char **line);
/* To be found with the arrow keys. */
void editor_remember(struct editor *e, const char *text);

#endif
