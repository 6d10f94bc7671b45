/* SPDX-License-Identifier: MIT */
/*
 * profile: which layers of a model are measured (measure.c), and what becomes of the times. Of a
 * model that does not fit, some layers at a time are opened; of one that is not here at all, those
 * that were sent.
 */
#include "profile.h"

#include <stdlib.h>
#include <unistd.h>
#include "infer/exec.h"
#include "measure.h"
#include "store.h"

/* Of the memory that can be had, what a window of layers may take. */
#define MAX_SHARE  0.6
/* No cache is larger. */
#define MAX_OTHERS ((uint64_t)64 << 20)

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
		*n_ctx = sherd_hparams_ctx(&s->hp, params->n_ctx);
		fill_executor(*sizes, s, params->kv_type, *n_ctx);
	}
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
static int measure_windows(struct measure *m, const char *name, struct sherd_error *err)
{
	int n = m->z->n_layers, k = window_layers(m);
	int rc = measure_window(m, name, 0, k, err);

	if (!rc && k < n)
		rc = measure_window(m, name, n - k, n, err);
	for (int l = 0; l < n && !rc; l++)
		if (l && !m->seen[m->z->kind_of[l]])
			rc = measure_window(m, name, MIN(l, n - k), MIN(l, n - k) + k, err);
	return rc;
}

/* --------------------------------------------------------------------- all */

void profile_set_memory(struct sherd_profile *p)
{
	p->memory_total = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	p->memory_available = MIN(sherd_memory_available(), p->memory_total);
}

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
	profile_set_memory(p);
	p->widths = m->w = sherd_calloc(1, sizeof(*p->widths));
	if (!m->w)
		return sherd_fail_oom(err, sizeof(*m->w), "a profile");
	p->n_widths = 1;
	m->w->bits = z->bits;
	m->w->n_kinds = z->n_kinds;
	m->w->kinds = sherd_calloc((size_t)z->n_kinds, sizeof(*m->w->kinds));
	m->w->kind_of = sherd_calloc((size_t)z->n_layers, sizeof(*m->w->kind_of));
	m->seen = sherd_calloc((size_t)z->n_kinds, sizeof(*m->seen));
	if (!m->w->kinds || !m->w->kind_of || !m->seen)
		return sherd_fail_oom(err, (size_t)z->n_layers, "a profile");
	memcpy(m->w->kind_of, z->kind_of, (size_t)z->n_layers);
	for (int k = 0; k < z->n_kinds; k++)
		snprintf(m->w->kinds[k].format, sizeof(m->w->kinds[k].format), "%s", z->format[k]);
	return 0;
}

/* @rc: of the measuring. */
static int end_profile(struct measure *m, int rc, struct sherd_profile **profile)
{
	if (rc)
		sherd_profile_free(m->p);
	else
		*profile = m->p;
	free(m->seen);
	return rc;
}

int profile_measure(struct sherd_profile **profile, const char *model,
		    const struct sherd_model_params *params, double seconds, float dilate,
		    struct sherd_error *err)
{
	struct measure m = { .params = *params, .seconds = seconds, .dilate = dilate };
	struct sherd_sizes *z = NULL;
	int n_ctx, rc;

	*profile = NULL;
	rc = model_sizes(&z, model, params, &n_ctx, NULL, err);
	if (rc)
		return rc;
	m.z = z;
	m.params.n_ctx = MIN(n_ctx, PROFILE_CTX);
	m.params.n_sessions = 1;
	m.params.n_batch = measure_sizes[MEASURE_CHUNKS - 1];
	rc = make_profile(&m, err);
	if (!rc)
		rc = measure_windows(&m, model, err);
	rc = end_profile(&m, rc, profile);
	sherd_sizes_free(z);
	return rc;
}

static int measure_shard(struct measure *m, const struct probe *p, int window, const char *dir,
			 struct sherd_error *err)
{
	const struct sherd_stage_spec spec = probe_spec(p, window);
	char *path = store_find(dir, &spec, err);
	int rc = path ? measure_window(m, path, spec.first, spec.end, err) : -ENOENT;

	free(path);
	return rc;
}

int profile_measure_probe(struct sherd_profile **profile, const struct probe *p, const char *dir,
			  const struct sherd_model_params *params, float dilate,
			  struct sherd_error *err)
{
	struct measure m = { .z = p->sizes,
			     .params = *params,
			     .dilate = dilate,
			     .seconds = p->seconds / p->n_windows,
			     .n_others = MIN(p->others, MAX_OTHERS) };
	int rc;

	*profile = NULL;
	m.params.bits = p->sizes->bits;
	m.params.kv_type = p->kv;
	m.params.n_ctx = p->n_ctx;
	m.params.n_sessions = 1;
	m.params.n_batch = measure_sizes[MEASURE_CHUNKS - 1];
	rc = make_profile(&m, err);
	for (int i = 0; i < p->n_windows && !rc; i++)
		rc = measure_shard(&m, p, i, dir, err);
	return end_profile(&m, rc, profile);
}
