/* SPDX-License-Identifier: MIT */
/*
 * measure: times the parts of a model on this machine. Each layer is run alone, one after the other
 * as a token meets them (a layer that is repeated would come from the caches), and then all of them
 * in one step. The difference is what a step costs by itself, for n layers alone pay it n times:
 *
 *	step = (sum of layers alone - all in one) / (n - 1)
 *
 * less what of it may be noise. Layers of one kind are averaged, repetitions give their median, and
 * nothing else is made of the times.
 */
#include "measure.h"

#include <math.h>
#include <stdlib.h>
#include "dilate.h"

#define DEPTH	   64 /* positions that are in the context before what is timed */
#define MAX_OUTPUT 16 /* rows whose logits are wanted at once */
#define FEW_LAYERS 4
#define FEW_SHARE  0.25

const int measure_sizes[MEASURE_CHUNKS] = { 1, 4, 8, 12, 16, 18, 24, 32, 64, 128, 256 };

/*
 * What a token meets in between where not all layers are here: the others' weights go through the
 * caches, and what comes next must be read from memory again. More than this no cache holds.
 */
static void read_others(const struct measure *m)
{
	volatile uint8_t sink = 0;

	for (size_t i = 0; i < m->n_others; i += 64)
		sink = (uint8_t)(sink + m->others[i]);
}

/* ------------------------------------------------------------------ timing */

/*
 * One step of @n new positions through [first, end), from rows[0]; its rows are copied to rows[1].
 */
static int run_step(struct measure *m, int n, int first, int end, enum sherd_want want, double *us,
		    struct sherd_error *err)
{
	struct sherd_item item = { .session = m->session, .tokens = m->tokens,
				   .hidden = first ? m->rows[0] : NULL, .n = n, .want = want };
	struct sherd_rows rows;
	struct dilation slow = { .factor = m->dilate, .turns = -1,
				 .one_thread = m->params.n_threads == 1 };
	double start;
	int rc;

	read_others(m);
	start = sherd_now();
	dilate_begin(&slow);
	rc = sherd_step(m->model, &item, 1, first, end, &rows, err);
	dilate_end(&slow);
	*us = (sherd_now() - start) * 1e6;
	if (!rc && rows.row_len == m->z->hidden && end < m->z->n_layers)
		memcpy(m->rows[1], rows.data,
		       sizeof(float) * (size_t)rows.n_rows * (size_t)rows.row_len);
	return rc;
}

static enum sherd_want rows_of(const struct measure *m, int end)
{
	return end < m->z->n_layers ? SHERD_WANT_ALL : SHERD_WANT_NONE;
}

static void swap_rows(struct measure *m)
{
	float *t = m->rows[0];

	m->rows[0] = m->rows[1];
	m->rows[1] = t;
}

/*
 * What a window that does not begin the model is fed: anything that a residual stream could hold.
 */
static void make_rows(struct measure *m, int n)
{
	for (size_t i = 0; i < (size_t)n * (size_t)m->z->hidden; i++)
		m->rows[0][i] = (float)(i * 2654435761u % 2000) / 1000 - 1;
}

/* All layers one by one, then the last once more with logits, then all in one step. */
static int run_rep(struct measure *m, int n, int rep, struct sherd_error *err)
{
	double none;
	int rc = sherd_session_truncate(m->session, m->depth, err);

	make_rows(m, n);
	for (int l = m->first; l < m->end && !rc; l++) {
		rc = run_step(m, n, l, l + 1, rows_of(m, l + 1), &m->alone[l - m->first][rep], err);
		if (l + 1 < m->end)
			swap_rows(m);
	}
	none = m->alone[m->end - 1 - m->first][rep];
	if (!rc)
		rc = sherd_session_truncate(m->session, m->depth, err);
	if (!rc && m->end == m->z->n_layers && n <= MAX_OUTPUT) {
		rc = run_step(m, n, m->end - 1, m->end, SHERD_WANT_ALL, &m->output[rep], err);
		m->output[rep] = MAX(m->output[rep] - none, 0);
		if (!rc)
			rc = sherd_session_truncate(m->session, m->depth, err);
	}
	if (!rc)
		rc = run_step(m, n, m->first, m->end, rows_of(m, m->end), &m->all[rep], err);
	return rc;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static double median(double *v, int n)
{
	qsort(v, (size_t)n, sizeof(*v), by_value);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

/* ------------------------------------------------------- times into curves */

/*
 * What a step costs by itself. The error of it is multiplied by all layers of a stage, so of what
 * is found only that is taken which is no noise; and a few layers, which are large (probe.c), tell
 * it so badly that it is held to the small part of their time that it is.
 */
static double step_time(const struct measure *m, int reps, double mean)
{
	double d[MAX_REPS], off[MAX_REPS], us;
	int n = m->end - m->first;

	if (n < 2)
		return 0;
	for (int r = 0; r < reps; r++) {
		d[r] = -m->all[r];
		for (int i = 0; i < n; i++)
			d[r] += m->alone[i][r];
		d[r] /= n - 1;
	}
	us = median(d, reps);
	for (int r = 0; r < reps; r++)
		off[r] = fabs(d[r] - us);
	us = MAX(0, us - 1.5 * median(off, reps) / sqrt(reps));
	return n < FEW_LAYERS ? MIN(us, mean * FEW_SHARE) : us;
}

/*
 * Of the window, how many layers of kind @kind there are; the first of the model, which embeds too,
 * is none.
 */
static int count_kind(const struct measure *m, int kind)
{
	int n = 0;

	for (int l = MAX(m->first, 1); l < m->end; l++)
		n += m->z->kind_of[l] == kind;
	return n;
}

/* What they take on average; *n of them. Where there is only the first, that. */
static double kind_mean(const struct measure *m, const double *layer, int kind, int *n)
{
	double sum = 0;

	*n = count_kind(m, kind);
	for (int l = MAX(m->first, 1); l < m->end; l++)
		if (m->z->kind_of[l] == kind)
			sum += layer[l - m->first];
	return *n ? sum / *n : layer[0];
}

/* Layers of a kind that other windows have shown, too, are averaged with those. */
static void add_kind(struct measure *m, int kind, int tokens, const double *layer)
{
	struct sherd_curve *c = &m->w->kinds[kind].us;
	int n, before = m->seen[kind], i = 0;
	double us = kind_mean(m, layer, kind, &n);

	while (i < c->n && c->tokens[i] < tokens)
		i++;
	if (i == c->n)
		sherd_curve_add(c, tokens, us);
	else if (c->tokens[i] == tokens && n)
		c->us[i] = (c->us[i] * before + us * n) / (before + n);
}

static bool in_window(const struct measure *m, int kind)
{
	return count_kind(m, kind) || (!m->first && m->z->kind_of[0] == kind);
}

static int add_times(struct measure *m, int tokens, int reps, struct sherd_error *err)
{
	int layers = m->end - m->first, n;
	double *layer = sherd_calloc((size_t)layers, sizeof(*layer)), sum = 0, step;

	if (!layer)
		return sherd_fail_oom(err, (size_t)layers * sizeof(*layer), "times");
	for (int i = 0; i < layers; i++) {
		double sorted[MAX_REPS];

		memcpy(sorted, m->alone[i], sizeof(sorted));
		sum += layer[i] = median(sorted, reps);
	}
	step = step_time(m, reps, sum / layers);
	for (int i = 0; i < layers; i++)
		layer[i] = MAX(0, layer[i] - step);
	if (!m->first) {
		double mean = kind_mean(m, layer, m->z->kind_of[0], &n);

		sherd_curve_add(&m->w->step, tokens, step);
		sherd_curve_add(&m->w->embed, tokens, MAX(0, layer[0] - mean));
	}
	if (m->end == m->z->n_layers && tokens <= MAX_OUTPUT)
		sherd_curve_add(&m->w->output, tokens, median(m->output, reps));
	for (int k = 0; k < m->z->n_kinds; k++)
		if (in_window(m, k))
			add_kind(m, k, tokens, layer);
	free(layer);
	return 0;
}

/* At least three times, and as often as the time allows. */
static int measure_chunk(struct measure *m, int n, double until, struct sherd_error *err)
{
	int rc = run_rep(m, n, 0, err), reps = 0; /* warms up */

	while (!rc && reps < MAX_REPS && (reps < 3 || sherd_now() < until))
		rc = run_rep(m, n, reps++, err);
	return rc ? rc : add_times(m, n, reps, err);
}

static int measure_chunks(struct measure *m, struct sherd_error *err)
{
	double start = sherd_now(), took;
	int rc = 0;

	for (size_t i = 0; i < MEASURE_CHUNKS && !rc; i++) {
		double now = sherd_now(), left = start + m->seconds - now;

		if (measure_sizes[i] > sherd_model_info(m->model)->n_ctx - m->depth)
			break;
		if (m->params.progress)
			m->params.progress(m->params.ctx, "measuring",
					   (uint64_t)((now - start) * 1e3),
					   (uint64_t)(m->seconds * 1e3));
		rc = measure_chunk(m, measure_sizes[i], now + left / (double)(MEASURE_CHUNKS - i),
				   err);
		took = sherd_now() - now;
		/*
		 * The next takes twice as long, less what it is not repeated: slow boards do
		 * without.
		 */
		if (measure_sizes[i] >= 32 && now + 2 * took > start + 2 * m->seconds)
			break;
	}
	return rc;
}

/* ----------------------------------------------------------------- windows */

static void make_tokens(struct measure *m, int n_ctx)
{
	uint64_t x = 0x9e3779b97f4a7c15u;

	for (int i = 0; i < n_ctx; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		m->tokens[i] = (int32_t)(x % (uint64_t)sherd_model_info(m->model)->n_vocab);
	}
}

static int alloc_window(struct measure *m, struct sherd_error *err)
{
	size_t n_ctx = (size_t)sherd_model_info(m->model)->n_ctx, rows = 256 * (size_t)m->z->hidden;

	m->tokens = sherd_calloc(n_ctx, sizeof(*m->tokens));
	m->rows[0] = sherd_calloc(rows, sizeof(float));
	m->rows[1] = sherd_calloc(rows, sizeof(float));
	m->alone = sherd_calloc((size_t)(m->end - m->first), sizeof(*m->alone));
	m->others = m->n_others ? malloc(m->n_others) : NULL;
	if (!m->tokens || !m->rows[0] || !m->rows[1] || !m->alone || (m->n_others && !m->others))
		return sherd_fail_oom(err, 2 * rows * sizeof(float) + m->n_others, "a measurement");
	if (m->others)
		memset(m->others, 1, m->n_others);
	make_tokens(m, (int)n_ctx);
	make_rows(m, DEPTH);
	return 0;
}

static void close_window(struct measure *m)
{
	free(m->tokens);
	free(m->rows[0]);
	free(m->rows[1]);
	free(m->alone);
	free(m->others);
	sherd_session_free(m->session);
	sherd_model_close(m->model);
	m->tokens = NULL;
	m->rows[0] = m->rows[1] = NULL;
	m->alone = NULL;
	m->others = NULL;
	m->session = NULL;
	m->model = NULL;
}

static void note_device(struct measure *m)
{
	const struct sherd_model_info *i = sherd_model_info(m->model);

	snprintf(m->p->device, sizeof(m->p->device), "%s", i->device);
	snprintf(m->p->bit_profile, sizeof(m->p->bit_profile), "%s", i->bit_profile);
}

/* A probe's window is a file that somebody else has chosen. */
static int check_model(const struct measure *m, struct sherd_error *err)
{
	const struct sherd_model_info *i = sherd_model_info(m->model);

	if (i->encoder)
		return sherd_fail(err, -ENOTSUP,
				  "%s: is an encoder (%s): plans are made for what writes text",
				  i->path, i->arch);
	if (i->hidden == m->z->hidden && i->n_layers == m->z->n_layers &&
	    i->first_layer == m->first && i->end_layer == m->end &&
	    !strcmp(i->source_sha256, m->z->hash))
		return 0;
	return sherd_fail(err, -EINVAL,
			  "%s: holds layers %d to %d of %d, %d wide, of model %.8s; %d to %d of "
			  "%d, %d wide, of %.8s are to be measured",
			  i->path, i->first_layer, i->end_layer - 1, i->n_layers, i->hidden,
			  i->source_sha256, m->first, m->end - 1, m->z->n_layers, m->z->hidden,
			  m->z->hash);
}

int measure_window(struct measure *m, const char *path, int first, int end, struct sherd_error *err)
{
	double us;
	int rc;

	m->first = first;
	m->end = end;
	m->params.first_layer = first;
	m->params.end_layer = end;
	rc = sherd_model_open(&m->model, path, &m->params, err);
	if (!rc)
		rc = check_model(m, err);
	if (!rc)
		rc = sherd_session_new(&m->session, m->model, NULL, err);
	if (!rc)
		rc = alloc_window(m, err);
	if (rc)
		goto close;
	note_device(m);
	m->depth = sherd_model_info(m->model)->n_ctx >= 2 * DEPTH ? DEPTH : 0;
	if (m->depth)
		rc = run_step(m, m->depth, first, end, SHERD_WANT_NONE, &us, err);
	if (!rc)
		rc = measure_chunks(m, err);
	for (int k = 0; k < m->z->n_kinds && !rc; k++)
		m->seen[k] += count_kind(m, k);
close:
	close_window(m);
	return rc;
}
