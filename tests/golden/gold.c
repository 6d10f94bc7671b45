/* SPDX-License-Identifier: MIT */
/* gold: see gold.h. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "gold.h"

char *golden_path(const char *name, const char *suffix)
{
	const char *dir = getenv("SHERD_GOLDEN");
	char *path = sherd_asprintf("%s/%s%s", dir ? dir : "tests/golden", name, suffix);

	assert_non_null(path);
	return path;
}

void gold_open(struct gold *g, const char *path)
{
	struct sherd_error err = { "" };
	size_t size;

	if (sherd_read_file(path, 1 << 20, &g->file, &size, &err))
		fail_msg("%s", err.msg);
	assert_true(size > 24 && !memcmp(g->file, "SHGOLD1\n", 8));
	memcpy(g, g->file + 8, 16);
	g->tokens = (const int32_t *)(g->file + 24);
	g->rows = g->tokens + g->n_tokens;
	g->sections = (const char *)(g->rows + g->n_rows);
	assert_int_equal(size, 24 + 4 * (g->n_tokens + g->n_rows) +
				       g->n_sections * (8 + 4 * g->n_rows * g->n_vocab));
}

const float *gold_find(const struct gold *g, const char *name)
{
	size_t stride = 8 + sizeof(float) * g->n_rows * g->n_vocab;

	for (uint32_t i = 0; i < g->n_sections; i++)
		if (!strncmp(g->sections + i * stride, name, 8))
			return (const float *)(g->sections + i * stride + 8);
	return NULL;
}

const float *gold_section(const struct gold *g, const char *name)
{
	const float *section = gold_find(g, name);

	if (!section)
		fail_msg("no section \"%s\"", name);
	return section;
}

double gold_worst(const float *a, const float *b, size_t n)
{
	double diff = 0, max = 0;

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(a[i]))
			return INFINITY;
		diff = fmax(diff, fabs((double)a[i] - b[i]));
		max = fmax(max, fabs((double)b[i]));
	}
	return diff / max;
}

/* The wanted rows of one step after the other; steps are of uneven lengths on purpose. */
static void run_steps(struct sherd_model *model, struct sherd_session *session,
		      const struct gold *g, float *out)
{
	struct sherd_item item = { .session = session, .want = SHERD_WANT_ALL };
	struct sherd_error err = { "" };
	struct sherd_rows rows;
	uint32_t next = 0;

	for (int pos = 0, step = 0; pos < (int)g->n_tokens; pos += item.n, step++) {
		item.tokens = g->tokens + pos;
		item.n = MIN((int)g->n_tokens - pos, step % 3 ? 61 : 7);
		if (sherd_model_info(model)->encoder) /* a text is one step */
			item.n = (int)g->n_tokens;
		if (sherd_step(model, &item, 1, 0, 0, &rows, &err))
			fail_msg("%s", err.msg);
		assert_int_equal(rows.n_rows, item.n);
		assert_int_equal(rows.row_len, g->n_vocab);
		for (; next < g->n_rows && g->rows[next] < pos + item.n; next++)
			memcpy(out + (size_t)next * g->n_vocab,
			       rows.data + (size_t)(g->rows[next] - pos) * g->n_vocab,
			       g->n_vocab * sizeof(*out));
	}
	assert_int_equal(next, g->n_rows);
}

float *gold_run(const struct gold *g, const char *path, const char *device, int bits)
{
	struct sherd_model_params params = SHERD_MODEL_PARAMS_INIT;
	float *out = sherd_calloc((size_t)g->n_rows * g->n_vocab, sizeof(*out));
	struct sherd_session *session;
	struct sherd_error err = { "" };
	struct sherd_model *model;

	params.device = device;
	params.bits = bits;
	params.kv_type = SHERD_KV_F32;
	params.no_cache = true;
	params.n_batch = 320;
	if (sherd_model_open(&model, path, &params, &err) ||
	    sherd_session_new(&session, model, NULL, &err))
		fail_msg("%s on %s: %s", path, device, err.msg);
	for (size_t i = 0; i < (size_t)g->n_rows * g->n_vocab; i++)
		out[i] = NAN;
	run_steps(model, session, g, out);
	sherd_session_free(session);
	sherd_model_close(model);
	return out;
}
