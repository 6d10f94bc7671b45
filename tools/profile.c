/* SPDX-License-Identifier: MIT */
/*
 * profile: times the parts of a model on this machine. Each layer is run alone, one after the other
 * as a token meets them (a layer that is repeated would come from the caches), and then all of them
 * in one step. The difference is what a step costs by itself, for n layers alone pay it n times:
 *
 *	step = (sum of layers alone - all in one) / (n - 1)
 *
 * Layers of one kind are averaged, repetitions give their median, and nothing else is made of the
 * times.
 */
#include "profile.h"

#include <stdlib.h>
#include <unistd.h>
#include "dilate.h"
#include "infer/exec.h"

#define MAX_REPS   15
#define DEPTH	   64 /* positions that are in the context before what is timed */
#define MAX_OUTPUT 16 /* rows whose logits are wanted at once */
/* Of the memory that can be had, what a window of layers may take. */
#define MAX_SHARE  0.6

static const int chunks[] = { 1, 4, 8, 12, 16, 18, 24, 32, 64, 128, 256 };

struct measure {
	const struct sherd_sizes *z;
	struct sherd_profile *p;
	struct sherd_profile_width *w;
	struct sherd_model_params params;
	const char *name;
	bool *known; /* [n_kinds]: has been measured */
	double seconds, deadline;
	float dilate;

	/* a window of layers */
	struct sherd_model *model;
	struct sherd_session *session;
	int first, end, depth;
	int32_t *tokens; /* [n_ctx] */
	float *rows[2]; /* [largest chunk][hidden]: into a layer, out of it */
	/* times of one chunk, [repetition] each */
	double (*alone)[MAX_REPS]; /* [end - first] */
	double all[MAX_REPS], output[MAX_REPS];
};

/* ------------------------------------------------------------------- sizes */

static void fill_executor(struct sherd_sizes *z, const struct sherd_shard *s, enum sherd_kv_type kv,
			  int n_ctx)
{
	struct sherd_forms forms = { 0 };

	sherd_forms_of(&forms, s);
	z->kv_page = SHERD_PAGE;
	z->kv_page_layer = sherd_kv_page_bytes(&s->hp, 1, kv);
	z->scratch = sherd_scratch_bytes(&s->hp, &forms, 0, n_ctx);
	z->scratch_row = (sherd_scratch_bytes(&s->hp, &forms, 256, n_ctx) - z->scratch) / 256;
}

int model_sizes(struct sherd_sizes **sizes, const char *model,
		const struct sherd_model_params *params, int *n_ctx, char **path,
		struct sherd_error *err)
{
	struct sherd_pack_params pack = { .bits = params->bits, .progress = params->progress,
					  .note = params->note, .ctx = params->ctx };
	struct sherd_shard *s = NULL;
	char *file = NULL;
	bool in_memory;
	int rc = sherd_resolve_model(model, &file, err);

	*sizes = NULL;
	if (!rc)
		rc = sherd_shard_get(&s, file, &pack, params->no_cache, &in_memory, err);
	if (!rc)
		rc = sherd_sizes_of(sizes, s, params->bits, err);
	if (!rc) {
		*n_ctx = sherd_hparams_ctx(&s->hp, params->n_ctx, err);
		rc = MIN(*n_ctx, 0);
	}
	if (!rc)
		fill_executor(*sizes, s, params->kv_type, *n_ctx);
	sherd_shard_close(s);
	if (rc) {
		sherd_sizes_free(*sizes);
		*sizes = NULL;
	}
	if (path && !rc)
		*path = file;
	else
		free(file);
	return rc;
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
	struct dilation slow = { .factor = m->dilate, .one_thread = m->params.n_threads == 1 };
	double start = sherd_now();
	int rc;

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
 * Of layers of kind @kind in the window; the first layer of the model, which embeds too, only if
 * alone.
 */
static double kind_mean(const struct measure *m, const double *layer, int kind)
{
	double sum = 0;
	int n = 0;

	for (int l = m->first; l < m->end; l++)
		if (m->z->kind_of[l] == kind && l > 0) {
			sum += layer[l - m->first];
			n++;
		}
	return n ? sum / n : layer[0];
}

static bool in_window(const struct measure *m, int kind)
{
	for (int l = m->first; l < m->end; l++)
		if (m->z->kind_of[l] == kind)
			return true;
	return false;
}

static int add_times(struct measure *m, int n, int reps, struct sherd_error *err)
{
	int layers = m->end - m->first;
	double *layer = sherd_calloc((size_t)layers, sizeof(*layer)), sum = 0, step;

	if (!layer)
		return sherd_fail_oom(err, (size_t)layers * sizeof(*layer), "times");
	for (int i = 0; i < layers; i++)
		sum += layer[i] = median(m->alone[i], reps);
	step = layers > 1 ? MAX(0, (sum - median(m->all, reps)) / (layers - 1)) : 0;
	for (int i = 0; i < layers; i++)
		layer[i] = MAX(0, layer[i] - step);
	if (!m->first) {
		sherd_curve_add(&m->w->step, n, step);
		sherd_curve_add(&m->w->embed, n,
				MAX(0, layer[0] - kind_mean(m, layer, m->z->kind_of[0])));
	}
	if (m->end == m->z->n_layers && n <= MAX_OUTPUT)
		sherd_curve_add(&m->w->output, n, median(m->output, reps));
	for (int k = 0; k < m->z->n_kinds; k++)
		if (!m->known[k] && in_window(m, k))
			sherd_curve_add(&m->w->kinds[k].us, n, kind_mean(m, layer, k));
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

	for (size_t i = 0; i < ARRAY_SIZE(chunks) && !rc; i++) {
		double now = sherd_now(), left = start + m->seconds - now;

		if (chunks[i] > sherd_model_info(m->model)->n_ctx - m->depth)
			break;
		if (m->params.progress)
			m->params.progress(m->params.ctx, "measuring",
					   (uint64_t)((now - start) * 1e3),
					   (uint64_t)(m->seconds * 1e3));
		rc = measure_chunk(m, chunks[i], now + left / (double)(ARRAY_SIZE(chunks) - i),
				   err);
		took = sherd_now() - now;
		/*
		 * The next takes twice as long, less what it is not repeated: slow boards do
		 * without.
		 */
		if (chunks[i] >= 32 && now + 2 * took > start + 2 * m->seconds)
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
		m->tokens[i] = (int32_t)(x % (uint64_t)m->z->n_vocab);
	}
}

static int alloc_window(struct measure *m, struct sherd_error *err)
{
	size_t n_ctx = (size_t)sherd_model_info(m->model)->n_ctx, rows = 256 * (size_t)m->z->hidden;

	m->tokens = sherd_calloc(n_ctx, sizeof(*m->tokens));
	m->rows[0] = sherd_calloc(rows, sizeof(float));
	m->rows[1] = sherd_calloc(rows, sizeof(float));
	m->alone = sherd_calloc((size_t)(m->end - m->first), sizeof(*m->alone));
	if (!m->tokens || !m->rows[0] || !m->rows[1] || !m->alone)
		return sherd_fail_oom(err, 2 * rows * sizeof(float), "a measurement");
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
	sherd_session_free(m->session);
	sherd_model_close(m->model);
	m->tokens = NULL;
	m->rows[0] = m->rows[1] = NULL;
	m->alone = NULL;
	m->session = NULL;
	m->model = NULL;
}

static void note_device(struct measure *m)
{
	const struct sherd_model_info *i = sherd_model_info(m->model);

	snprintf(m->p->device, sizeof(m->p->device), "%s", i->device);
	snprintf(m->p->bit_profile, sizeof(m->p->bit_profile), "%s", i->bit_profile);
}

static int measure_window(struct measure *m, int first, int end, struct sherd_error *err)
{
	double us;
	int rc;

	m->first = first;
	m->end = end;
	m->params.first_layer = first;
	m->params.end_layer = end;
	rc = sherd_model_open(&m->model, m->name, &m->params, err);
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
		m->known[k] |= in_window(m, k);
close:
	close_window(m);
	return rc;
}

/* How many layers to open at a time, with the embedding or the output matrix. */
static int window_layers(const struct measure *m)
{
	const struct sherd_sizes *z = m->z;
	double room = (double)sherd_memory_available() * MAX_SHARE;
	double largest = 0, all = (double)(z->embed + z->output);

	for (int l = 0; l < z->n_layers; l++) {
		largest = MAX(largest, (double)z->layer[l]);
		all += (double)z->layer[l];
	}
	if (all <= room)
		return z->n_layers;
	room -= (double)MAX(z->embed, z->output);
	return MIN(MAX((int)(room / MAX(largest, 1)), 2), z->n_layers);
}

/* The first layers, the last ones, and what kinds are in neither. */
static int measure_windows(struct measure *m, struct sherd_error *err)
{
	int n = m->z->n_layers, k = window_layers(m);
	int rc = measure_window(m, 0, k, err);

	if (!rc && k < n)
		rc = measure_window(m, n - k, n, err);
	for (int l = 0; l < n && !rc; l++)
		if (!m->known[m->z->kind_of[l]])
			rc = measure_window(m, MIN(l, n - k), MIN(l, n - k) + k, err);
	return rc;
}

/* --------------------------------------------------------------------- all */

static int make_profile(struct measure *m, struct sherd_error *err)
{
	const struct sherd_sizes *z = m->z;
	struct sherd_profile *p = m->p = sherd_calloc(1, sizeof(*p));

	if (!p)
		return sherd_fail_oom(err, sizeof(*p), "a profile");
	memcpy(p->model_name, z->name, sizeof(p->model_name));
	memcpy(p->model_hash, z->hash, sizeof(p->model_hash));
	p->n_layers = z->n_layers;
	p->hidden = z->hidden;
	p->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	p->memory_available = MIN(sherd_memory_available(), p->memory_total);
	p->widths = m->w = sherd_calloc(1, sizeof(*p->widths));
	if (!m->w)
		return sherd_fail_oom(err, sizeof(*m->w), "a profile");
	p->n_widths = 1;
	m->w->bits = z->bits;
	m->w->n_kinds = z->n_kinds;
	m->w->kinds = sherd_calloc((size_t)z->n_kinds, sizeof(*m->w->kinds));
	m->w->kind_of = sherd_calloc((size_t)z->n_layers, sizeof(*m->w->kind_of));
	m->known = sherd_calloc((size_t)z->n_kinds, sizeof(*m->known));
	if (!m->w->kinds || !m->w->kind_of || !m->known)
		return sherd_fail_oom(err, (size_t)z->n_layers, "a profile");
	memcpy(m->w->kind_of, z->kind_of, (size_t)z->n_layers);
	for (int k = 0; k < z->n_kinds; k++)
		snprintf(m->w->kinds[k].format, sizeof(m->w->kinds[k].format), "%s", z->format[k]);
	return 0;
}

int profile_measure(struct sherd_profile **profile, const char *model,
		    const struct sherd_model_params *params, double seconds, float dilate,
		    struct sherd_error *err)
{
	struct measure m = { .name = model, .params = *params, .seconds = seconds,
			     .dilate = dilate };
	struct sherd_sizes *z = NULL;
	int n_ctx, rc;

	*profile = NULL;
	rc = model_sizes(&z, model, params, &n_ctx, NULL, err);
	if (rc)
		return rc;
	m.z = z;
	m.params.n_ctx = MIN(n_ctx, DEPTH + chunks[ARRAY_SIZE(chunks) - 1]);
	m.params.n_sessions = 1;
	m.params.n_batch = chunks[ARRAY_SIZE(chunks) - 1];
	rc = make_profile(&m, err);
	if (!rc)
		rc = measure_windows(&m, err);
	if (rc)
		sherd_profile_free(m.p);
	else
		*profile = m.p;
	free(m.known);
	sherd_sizes_free(z);
	return rc;
}
