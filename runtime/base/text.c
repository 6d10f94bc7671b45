/* SPDX-License-Identifier: MIT */
/* text: sentences in lines, one after the other. */
#include <stdlib.h>
#include "base/base.h"

void sherd_each_line(const char *text, sherd_note_fn visit, void *ctx)
{
	while (visit && text && *text) {
		size_t n = strcspn(text, "\n");
		char *line = strndup(text, n);

		if (line && n)
			visit(ctx, line);
		free(line);
		text += n + (text[n] == '\n');
	}
}
