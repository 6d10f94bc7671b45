/* SPDX-License-Identifier: MIT */
/*
 * embed: a text as one vector. An encoder's rows come from sherd_step(), as all rows do; here they
 * are pooled, in double and row after row, so that a vector's bits are as much its text's own as the
 * rows' are.
 */
#include <math.h>
#include <stdlib.h>
#include "infer/infer.h"

static int check(const struct sherd_model *m, int n, enum sherd_pooling pooling,
		 struct sherd_error *err)
{
	int most = MIN(m->info.n_ctx, m->info.n_batch);

	if (!m->info.encoder)
		return sherd_fail(
			err, -ENOTSUP,
			"%s: is a %s model, which writes text: vectors come from encoders "
			"(bert)",
			m->path, m->info.arch);
	if (m->info.first_layer || m->info.end_layer != m->info.n_layers)
		return sherd_fail(err, -EINVAL,
				  "%s: holds layers %d to %d of %d, and a vector needs all of them",
				  m->path, m->info.first_layer, m->info.end_layer - 1,
				  m->info.n_layers);
	if ((unsigned)pooling > SHERD_POOL_LAST)
		return sherd_fail(err, -EINVAL, "pooling %d is unknown", pooling);
	if (n > most)
		return sherd_fail(
			err, -E2BIG,
			"the text has %d tokens, and %s reads at most %d at once: shorten "
			"or split it",
			n, m->path, most);
	return 0;
}

/* out [width] = one vector of rows [n][width]. */
static void pool(enum sherd_pooling pooling, const float *rows, int n, int width, float *out)
{
	int first = pooling == SHERD_POOL_LAST ? n - 1 : 0;
	int end = pooling == SHERD_POOL_CLS ? 1 : n, c, i;

	for (c = 0; c < width; c++) {
		double sum = 0;

		for (i = first; i < end; i++)
			sum += (double)rows[(size_t)i * width + c];
		out[c] = (float)(sum / (end - first));
	}
}

static void scale_to_one(float *x, int width)
{
	double sum = 0;
	int c;

	for (c = 0; c < width; c++)
		sum += (double)x[c] * (double)x[c];
	for (c = 0; c < width && sum > 0; c++)
		x[c] = (float)((double)x[c] / sqrt(sum));
}

static int embed(struct sherd_session *s, const int32_t *tokens, int n, enum sherd_pooling pooling,
		 bool normalize, float *out, struct sherd_error *err)
{
	struct sherd_item item = { .session = s, .tokens = tokens, .n = n, .want = SHERD_WANT_ALL };
	int width = s->model->info.hidden, i;
	struct sherd_rows rows;
	int rc = sherd_step(s->model, &item, 1, 0, 0, &rows, err);

	if (rc)
		return rc;
	if (pooling == SHERD_POOL_NONE)
		memcpy(out, rows.data, (size_t)n * width * sizeof(*out));
	else
		pool(pooling, rows.data, n, width, out);
	for (i = 0; normalize && i < (pooling == SHERD_POOL_NONE ? n : 1); i++)
		scale_to_one(out + (size_t)i * width, width);
	return 0;
}

int sherd_embed(struct sherd_session *s, const int32_t *tokens, int n, enum sherd_pooling pooling,
		bool normalize, float *out, struct sherd_error *err)
{
	int rc = check(s->model, n, pooling, err);

	if (rc)
		return rc;
	if (pooling == SHERD_POOL_MODEL)
		pooling = s->model->info.pooling;
	sherd_session_truncate(s, 0, NULL);
	rc = embed(s, tokens, n, pooling, normalize, out, err);
	sherd_session_truncate(s, 0, NULL);
	return rc;
}
