/* SPDX-License-Identifier: MIT */
/*
 * ngram: guesses how a text goes on from how it went on before. Code, tables and answers that quote
 * their question repeat themselves, and looking costs next to nothing.
 */
#include "infer/draft.h"

#define MIN_MATCH 2
#define MAX_MATCH 32 /* a longer one is no better */

/* Tokens that the ends of tokens [n] and of tokens [at] have in common. */
static int common_end(const int32_t *tokens, int n, int at)
{
	int k = 0;

	while (k < at && k < MAX_MATCH && tokens[at - 1 - k] == tokens[n - 1 - k])
		k++;
	return k;
}

int sherd_ngram_guess(const int32_t *tokens, int n, int32_t *guess, int max)
{
	int best = MIN_MATCH - 1, from = 0, at, k, i;

	for (at = n - 1; at >= MIN_MATCH && best < MAX_MATCH; at--) {
		if (tokens[at - 1] != tokens[n - 1])
			continue;
		k = common_end(tokens, n, at);
		if (k > best) {
			best = k;
			from = at;
		}
	}
	if (!from)
		return 0;
	for (i = 0; i < max; i++) {
		guess[i] = from + i < n ? tokens[from + i] : guess[from + i - n];
		if (guess[i] < 0) /* a token that nobody knows */
			break;
	}
	return i;
}
