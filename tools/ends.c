/* SPDX-License-Identifier: MIT */
/* ends: see ends.h. The ends' logits become -Inf in a copy, for the logits are the model's. */
#include <math.h>
#include <stdlib.h>
#include "base/base.h"
#include "ends.h"

int ends_init(struct ends *e, const struct sherd_model *m, struct sherd_error *err)
{
	const struct sherd_tokenizer *tok = sherd_model_tokenizer(m);
	int n = sherd_model_info(m)->n_vocab;

	*e = (struct ends){ .n_vocab = n };
	if (!tok)
		return sherd_fail(
			err, -ENOENT,
			"%s: has no tokenizer, so that nobody knows which tokens end a text",
			sherd_model_info(m)->path);
	e->masked = sherd_calloc(n, sizeof(*e->masked));
	e->ids = sherd_calloc(n, sizeof(*e->ids));
	if (!e->masked || !e->ids) {
		ends_destroy(e);
		return sherd_fail_oom(err, n * sizeof(*e->masked), "the ends of a text");
	}
	for (int32_t i = 0; i < n; i++)
		if (sherd_tokenizer_is_end(tok, i))
			e->ids[e->n++] = i;
	return 0;
}

void ends_destroy(struct ends *e)
{
	free(e->masked);
	free(e->ids);
	*e = (struct ends){ 0 };
}

int32_t ends_sample(struct ends *e, struct sherd_session *s, int pos, const float *logits)
{
	memcpy(e->masked, logits, e->n_vocab * sizeof(*logits));
	for (int i = 0; i < e->n; i++)
		e->masked[e->ids[i]] = -INFINITY;
	return sherd_session_sample_at(s, pos, e->masked);
}
