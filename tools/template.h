/* SPDX-License-Identifier: MIT */
/*
 * template: --template of run and chat: one that comes along, a file, or, if nothing is said, what
 * the model's own file has.
 */
#ifndef SHERD_TOOL_TEMPLATE_H
#define SHERD_TOOL_TEMPLATE_H

#include "tool.h"

/* What a sentence about templates ends with. */
#define TEMPLATE_HINT "; --template NAME takes another, --template list lists those that come along"

/* Prints the list, if @name is "list". */
bool template_list(const char *name);
/* TOOL_OK, or an exit code. *chat NULL: nothing was said, and the model has none. */
int template_open(const struct tool *t, const char *name, const struct sherd_tokenizer *tok,
		  struct sherd_chat **chat);

#endif
