/* SPDX-License-Identifier: MIT */
/* ends: draws tokens as a session does, but never one that ends a text. */
#ifndef SHERD_TOOL_ENDS_H
#define SHERD_TOOL_ENDS_H

#include "sherd.h"

struct ends {
	float *masked; /* [n_vocab] */
	int32_t *ids;
	int n, n_vocab;
};

/* -ENOENT: the model has no tokenizer, which knows what ends a text. */
int ends_init(struct ends *e, const struct sherd_model *m, struct sherd_error *err);
void ends_destroy(struct ends *e);
/* The token of position @pos, as sherd_session_sample_at() has it. */
int32_t ends_sample(struct ends *e, struct sherd_session *s, int pos, const float *logits);

#endif
