/* SPDX-License-Identifier: MIT */
/*
 * chat: messages to text to tokens, by a template. The calls are in sherd.h; this is the list of
 * the templates that come along, runtime/chat/templates/, made by scripts/embed.
 */
#ifndef SHERD_CHAT_H
#define SHERD_CHAT_H

#include <stddef.h>

/* @text's first comment is the licence, its second says what it is for. */
struct sherd_chat_builtin {
	const char *name; /* "chatml.jinja" */
	const char *text; /* NUL-terminated */
	size_t len;
};

extern const struct sherd_chat_builtin sherd_chat_builtins[];
extern const int sherd_n_chat_builtins;

#endif
