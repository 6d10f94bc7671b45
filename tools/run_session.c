/* SPDX-License-Identifier: MIT */
/*
 * run_session: --session, and what a talk has said so far. What was read, and said, is not computed
 * again: as far as its tokens are this prompt's too, its KV cache is taken as it is. The bits are
 * the same, so the text is.
 */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "run.h"

int run_n_common(const int32_t *a, int n_a, const int32_t *b, int n_b)
{
	int n = 0;

	while (n < n_a && n < n_b && a[n] == b[n])
		n++;
	return n;
}

/* What an earlier run has left, if one has. */
static int load(struct run *r)
{
	struct sherd_error err;
	bool is_talk;
	char *note;
	int rc;

	if (!r->session_file || access(r->session_file, F_OK))
		return TOOL_OK;
	rc = sherd_session_load(r->session, r->session_file, &note, &err);
	is_talk = note;
	free(note);
	if (rc)
		return tool_fail(r->tool, &err);
	if (is_talk)
		return tool_failf(r->tool,
				  "%s: is a talk, which sherd chat --session goes on with: name "
				  "another file",
				  r->session_file);
	return TOOL_OK;
}

int run_session_restore(struct run *r, const int32_t *ids, int n)
{
	const int32_t *had;
	int n_had, keep, rc;

	if (!r->session)
		return TOOL_OK;
	rc = load(r);
	if (rc)
		return rc;
	had = sherd_session_tokens(r->session, &n_had);
	keep = run_n_common(had, n_had, ids, n);
	/* The last token is computed in any case: what follows it is not in the file. */
	r->n_restored = keep < n ? keep : n - 1;
	sherd_session_truncate(r->session, r->n_restored, NULL);
	return TOOL_OK;
}

int run_session_keep(struct run *r)
{
	struct sherd_error err;

	/* what was drawn and not said is no part of it */
	if (r->draft)
		sherd_draft_settle(r->draft);
	if (!r->session_file || !sherd_session_pos(r->session))
		return TOOL_OK;
	if (sherd_session_save(r->session, r->session_file, NULL, &err))
		return tool_fail(r->tool, &err);
	return TOOL_OK;
}
