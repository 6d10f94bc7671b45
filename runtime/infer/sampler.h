/* SPDX-License-Identifier: MIT */
/* sampler: logits to a token, by the session's parameters and a counter-based generator. */
#ifndef SHERD_SAMPLER_H
#define SHERD_SAMPLER_H

#include "base/base.h"

struct sherd_candidate {
	float logit;
	int32_t id;
};

/*
 * Draws a token: a function of the arguments alone. @history: the tokens so far, -1 for unknown
 * ones; @scratch [n_vocab]. Returns -1 if no logit is a number that can be chosen.
 */
int32_t sherd_sampler_draw(const struct sherd_sampler_params *p, uint64_t pos, const float *logits,
			   int n_vocab, const int32_t *history, int n_history,
			   struct sherd_candidate *scratch);

/* Philox4x32-10: 128 random bits for a counter and a key. */
void sherd_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4]);

#endif
