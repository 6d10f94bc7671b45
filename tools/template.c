/* SPDX-License-Identifier: MIT */
/* template: see template.h. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "template.h"

bool template_list(const char *name)
{
	char builtin[32], about[128];

	if (!name || strcmp(name, "list"))
		return false;
	for (int i = 0; sherd_chat_builtin(i, builtin, about); i++)
		printf("%-10s %s\n", builtin, about);
	return true;
}

static int unknown(const struct tool *t, const char *name)
{
	char list[512] = "", builtin[32], about[128];
	size_t n = 0;

	for (int i = 0; sherd_chat_builtin(i, builtin, about) && n < sizeof(list); i++)
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s", i ? ", " : "", builtin);
	return tool_usage(t, "--template: '%s' is neither a file nor one of %s", name, list);
}

int template_open(const struct tool *t, const char *name, const struct sherd_tokenizer *tok,
		  struct sherd_chat **chat)
{
	const char *text = name ? sherd_chat_builtin_text(name) : NULL;
	char *own = NULL;
	struct sherd_error err;
	size_t len;
	int rc;

	*chat = NULL;
	if (!name && !sherd_tokenizer_chat_template(tok))
		return TOOL_OK;
	if (name && !text) {
		if (access(name, F_OK))
			return unknown(t, name);
		if (tool_read_text(name, &own, &len, &err))
			return tool_fail(t, &err);
		text = own;
	}
	rc = sherd_chat_open(chat, tok, text, &err);
	free(own);
	if (!rc)
		return TOOL_OK;
	return tool_failf(t, "%s%s%s" TEMPLATE_HINT, own ? name : "", own ? ": " : "", err.msg);
}
