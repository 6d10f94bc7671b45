/* SPDX-License-Identifier: MIT */
/* text: sentences in lines, one after the other, and how names end. */
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

bool sherd_ends_with(const char *s, const char *end)
{
	size_t n = strlen(s), m = strlen(end);

	return n >= m && !strcmp(s + n - m, end);
}
