/* SPDX-License-Identifier: MIT */
/*
 * run_session: --session, and what a talk has said so far. What was read, and said, is not computed
 * again: as far as its tokens are this prompt's too, its KV cache is taken as it is. The bits are
 * the same, so the text is.
 */
#include <string.h>
#include <unistd.h>
#include "run.h"

static int n_common(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
	int n = 0;

	while (n < n_a && n < n_b && a[n] == b[n])
		n++;
	return n;
}

int run_session_restore(struct run *r, const int32_t *ids, int n)
{
	struct sherd_error err;
	const int32_t *had;
	int n_had, keep;

	if (!r->session)
		return TOOL_OK;
	if (r->session_file && !access(r->session_file, F_OK) &&
	    sherd_session_load(r->session, r->session_file, &err))
		return tool_fail(r->tool, &err);
	had = sherd_session_tokens(r->session, &n_had);
	keep = n_common(had, n_had, ids, n);
	/* The last token is computed in any case: what follows it is not in the file. */
	r->n_restored = keep < n ? keep : n - 1;
	sherd_session_truncate(r->session, r->n_restored, NULL);
	return TOOL_OK;
}

int run_session_keep(struct run *r)
{
	struct sherd_error err;

	if (!r->session_file || !sherd_session_pos(r->session))
		return TOOL_OK;
	if (r->draft)
		sherd_draft_settle(r->draft);
	return sherd_session_save(r->session, r->session_file, &err) ? tool_fail(r->tool, &err) :
								       TOOL_OK;
}
