/* SPDX-License-Identifier: MIT */
/* distance: how far two words are apart, for "did you mean". */
#include "base/base.h"

#define MAX_WORD 31

size_t sherd_distance(const char *a, const char *b)
{
	size_t la = strlen(a), lb = strlen(b), row[MAX_WORD + 1], i, j;

	if (lb >= MAX_WORD || la >= MAX_WORD)
		return la + lb;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (j = 1; j <= lb; j++) {
			size_t above = row[j], best = corner + (a[i - 1] != b[j - 1]);

			if (above + 1 < best)
				best = above + 1;
			if (row[j - 1] + 1 < best)
				best = row[j - 1] + 1;
			row[j] = best;
			corner = above;
		}
	}
	return row[lb];
}
