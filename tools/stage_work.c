/* SPDX-License-Identifier: MIT */
/*
 * stage_work: loads layers, admits sessions, computes steps.
 *
 * A session's pages of the KV cache are promised to it in full when it is opened, so that no session
 * finds the cache full in mid-sentence: what does not fit is refused, with the numbers.
 *
 * The rows of a step are somebody else's. What is wrong with an item is that item's failure: it is
 * looked at and decoded before anything is computed, and left out. Should the rest fail all the same
 * - a value overflows in some layer - no session has moved, and each is tried alone: alone or together,
 * the bits are equal.
 */
#include <stdio.h>
#include <stdlib.h>
#include "dilate.h"
#include "stage_work.h"

static uint64_t now_us(void)
{
	return (uint64_t)(sherd_now() * 1e6);
}

/* -------------------------------------------------------------------- load */

static int open_model(struct stage_work *w, struct sherd_error *err)
{
	const struct sherd_stage_spec *spec = &w->p->spec;
	struct sherd_model_params p = w->p->base;
	const struct sherd_model_info *i;
	int rc;

	p.first_layer = spec->first;
	p.end_layer = spec->end;
	p.n_ctx = spec->n_ctx;
	p.n_sessions = spec->n_sessions;
	p.n_batch = spec->n_batch;
	p.kv_type = spec->kv;
	p.bits = spec->bits;
	rc = sherd_model_open(&w->model, w->p->model, &p, err);
	if (rc)
		return rc;
	i = sherd_model_info(w->model);
	if (i->first_layer != spec->first || i->end_layer != spec->end)
		return sherd_fail(
			err, -EINVAL,
			"%s: holds layers %d to %d, and %d to %d are wanted: push the stage's "
			"own shard",
			i->path, i->first_layer, i->end_layer - 1, spec->first, spec->end - 1);
	if (spec->model[0] && strcmp(spec->model, i->source_sha256))
		return sherd_fail(
			err, -EINVAL,
			"%s: is not the model that the plan was made for: its layers' hash is "
			"%.12s..., and %.12s... is wanted",
			i->path, i->source_sha256, spec->model);
	return 0;
}

static int make_room(struct stage_work *w, struct sherd_error *err)
{
	const struct sherd_model_info *i = sherd_model_info(w->model);
	size_t n = i->n_batch, row = i->hidden * sizeof(float);

	w->items = sherd_calloc(n, sizeof(*w->items));
	w->from = sherd_calloc(n, sizeof(struct sherd_job_item *));
	w->whose = sherd_calloc(n, sizeof(struct stage_session *));
	w->rows = i->first_layer ? sherd_calloc(n, row) : NULL;
	if (!w->items || !w->from || !w->whose || (i->first_layer && !w->rows))
		return sherd_fail_oom(err, n * (row + sizeof(*w->items)), "a stage's rows");
	if (w->last && sherd_model_tokenizer(w->model))
		return ends_init(&w->ends, w->model, err);
	return 0;
}

static void fill_info(struct stage_work *w)
{
	const struct sherd_model_info *i = sherd_model_info(w->model);
	bool tested = strcmp(i->bit_profile, SHERD_UNTESTED) != 0;
	enum sherd_wire wire;

	*w->info = (struct sherd_stage_info){
		.first = i->first_layer,
		.end = i->end_layer,
		.n_layers = i->n_layers,
		.hidden = i->hidden,
		.n_batch = i->n_batch,
		.n_ctx = i->n_ctx,
		.room = (uint32_t)MIN((uint64_t)i->kv_pages * (uint64_t)i->kv_page, UINT32_MAX),
	};
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++)
		w->info->row_bytes[wire] = sherd_wire_bytes(wire, 1, i->hidden);
	snprintf(w->info->bit_profile, SHERD_SHA256_HEX, "%s", tested ? i->bit_profile : "");
	snprintf(w->info->model, SHERD_SHA256_HEX, "%s", i->source_sha256);
}

static int load(struct stage_work *w, struct sherd_error *err)
{
	const struct sherd_model_info *i;
	int rc;

	if (w->model)
		return sherd_fail(err, -EEXIST, "%s: is loaded already", w->p->model);
	rc = open_model(w, err);
	if (!rc) {
		i = sherd_model_info(w->model);
		w->page = (uint32_t)i->kv_page;
		w->last = i->end_layer == i->n_layers;
		rc = make_room(w, err);
	}
	if (rc)
		stage_work_end(w);
	else
		fill_info(w);
	return rc;
}

/* ---------------------------------------------------------------- sessions */

static struct stage_session **find(struct stage_work *w, uint64_t id)
{
	struct stage_session **at = &w->sessions;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static bool is_cut(const struct sherd_session_params *p, int layer)
{
	for (int i = 0; i < p->n_cuts; i++)
		if (p->cuts[i] == layer)
			return true;
	return false;
}

static int admit(struct stage_work *w, const struct sherd_stage_session *s, struct sherd_error *err)
{
	const struct sherd_stage_info *i = w->info;

	if (!w->model)
		return sherd_fail(err, -ENODEV, "the stage has not been loaded");
	if (*find(w, s->id))
		return sherd_fail(err, -EEXIST, "session %llx is open already",
				  (unsigned long long)s->id);
	if (s->max < 1 || s->max > (uint32_t)i->n_ctx)
		return sherd_fail(err, -EINVAL,
				  "a session of %u positions: the context holds 1 to %d", s->max,
				  i->n_ctx);
	if (ROUND_UP(s->max, w->page) > i->room - w->taken)
		return sherd_fail(
			err, -ENOSPC,
			"no room for a session of %u positions: of the KV cache's %u, %u are "
			"promised to %d sessions; wait for one to end, or plan for more",
			s->max, i->room, w->taken, w->n_sessions);
	if ((i->first && !is_cut(&s->params, i->first)) ||
	    (!w->last && !is_cut(&s->params, i->end)))
		return sherd_fail(
			err, -EINVAL,
			"the session is not cut where the stage of layers %d to %d begins and "
			"ends",
			i->first, i->end - 1);
	if (w->last && s->ignore_eos && !w->ends.ids)
		return sherd_fail(
			err, -ENOENT,
			"%s: has no tokenizer, which knows what ends a text and is to be left "
			"out",
			w->p->model);
	return 0;
}

static int open_session(struct stage_work *w, const struct sherd_stage_session *from,
			struct sherd_error *err)
{
	struct stage_session *s;
	int rc = admit(w, from, err);

	if (rc)
		return rc;
	s = sherd_calloc(1, sizeof(*s));
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a session");
	rc = sherd_session_new(&s->s, w->model, &from->params, err);
	if (rc) {
		free(s);
		return rc;
	}
	s->id = from->id;
	s->max = from->max;
	s->reserved = ROUND_UP(from->max, w->page);
	s->wire = from->params.wire;
	s->ignore_eos = from->ignore_eos;
	s->next = w->sessions;
	w->sessions = s;
	w->taken += s->reserved;
	w->n_sessions++;
	return 0;
}

static void close_session(struct stage_work *w, uint64_t id)
{
	struct stage_session **at = find(w, id), *s = *at;

	if (!s)
		return;
	*at = s->next;
	w->taken -= s->reserved;
	w->n_sessions--;
	sherd_session_free(s->s);
	free(s);
}

/* -------------------------------------------------------------------- step */

static int check_item(struct stage_work *w, const struct sherd_job_item *it,
		      const struct stage_session *s, int room, struct sherd_error *err)
{
	unsigned long long id = it->session;
	int pos;

	if (!s)
		return sherd_fail(err, -ENOENT, "session %llx is not open", id);
	if (s->in_job == w->n_jobs)
		return sherd_fail(err, -EINVAL, "session %llx stands in the step twice", id);
	if (it->n < 1 || it->n > room)
		return sherd_fail(
			err, -E2BIG,
			"session %llx: %d rows, where the step of %d rows has room for %d", id,
			it->n, w->info->n_batch, room);
	if (!it->tokens || !it->rows != !w->rows || !it->out != w->last)
		return sherd_fail(
			err, -EINVAL,
			"session %llx: layers %d to %d %s rows and %s them, and all need token "
			"ids",
			id, w->info->first, w->info->end - 1, w->rows ? "take" : "do not take",
			w->last ? "keep" : "give");
	pos = sherd_session_pos(s->s);
	if (it->position != (uint32_t)pos)
		return sherd_fail(
			err, -EPROTO,
			"session %llx: rows from position %u, but the stage has got to %d", id,
			it->position, pos);
	if ((uint32_t)it->n > s->max - (uint32_t)pos)
		return sherd_fail(
			err, -ENOSPC,
			"session %llx: position %d and %d more are beyond the %u that it asked "
			"for",
			id, pos, it->n, s->max);
	return 0;
}

/* The item is the step's @i-th, its rows begin at @row. */
static int take_item(struct stage_work *w, struct sherd_job_item *it, int i, int row)
{
	struct stage_session *s = *find(w, it->session);
	float *x = w->rows ? w->rows + (size_t)row * w->info->hidden : NULL;
	int rc = check_item(w, it, s, w->info->n_batch - row, &it->err);

	if (!rc && x)
		rc = sherd_wire_decode(s->wire, it->rows, it->n, w->info->hidden, x, &it->err);
	if (rc)
		return rc;
	s->in_job = w->n_jobs;
	w->from[i] = it;
	w->whose[i] = s;
	w->items[i] = (struct sherd_item){
		.session = s->s,
		.tokens = it->tokens,
		.hidden = x,
		.n = it->n,
		.want = !w->last   ? SHERD_WANT_ALL
			: it->want ? SHERD_WANT_LAST
				   : SHERD_WANT_NONE,
		.wired = x,
	};
	return 0;
}

static int draw(struct stage_work *w, struct stage_session *s, const float *logits,
		struct sherd_job_item *it)
{
	it->token = s->ignore_eos ? ends_sample(&w->ends, s->s, logits)
				  : sherd_session_sample(s->s, logits);
	if (it->token < 0)
		return sherd_fail(&it->err, -EDOM, "no logit after position %u is a number",
				  it->position + (uint32_t)it->n - 1);
	return 0;
}

/* Item @i has been computed, its results begin at @rows; returns how many there are. */
static int finish_item(struct stage_work *w, int i, const float *rows)
{
	struct sherd_job_item *it = w->from[i];
	struct stage_session *s = w->whose[i];
	int n = w->items[i].want == SHERD_WANT_ALL ? it->n : w->items[i].want == SHERD_WANT_LAST;

	if (it->out)
		it->rc =
			sherd_wire_encode(s->wire, rows, it->n, w->info->hidden, it->out, &it->err);
	else if (it->want)
		it->rc = draw(w, s, rows, it);
	if (it->rc) { /* as if it had failed before it was computed */
		sherd_fail_prefix(&it->err, it->rc, "session %llx, from position %u",
				  (unsigned long long)it->session, it->position);
		sherd_session_truncate(s->s, (int)it->position, NULL);
	}
	return n;
}

/* Items [first, first + n) in one step. */
static int compute(struct stage_work *w, struct sherd_job *job, int first, int n,
		   struct sherd_error *err)
{
	struct dilation slow = { .factor = w->p->dilate, .one_thread = w->p->base.n_threads == 1 };
	struct sherd_rows rows;
	const float *data;
	int rc, i;

	dilate_begin(&slow);
	rc = sherd_step(w->model, w->items + first, n, 0, 0, &rows, err);
	dilate_end(&slow);
	job->ended_us = now_us();
	data = rows.data;
	for (i = first; i < first + n && !rc; i++) {
		int n_rows = finish_item(w, i, data);

		if (n_rows)
			data += (size_t)n_rows * (size_t)rows.row_len;
	}
	return rc;
}

static void step(struct stage_work *w, struct sherd_job *job)
{
	struct sherd_error err;
	int n = 0, row = 0, rc, i;

	w->n_jobs++;
	for (i = 0; i < job->n_items; i++) {
		struct sherd_job_item *it = &job->items[i];

		it->token = -1;
		it->rc = take_item(w, it, n, row);
		if (it->rc)
			continue;
		row += it->n;
		n++;
	}
	job->started_us = job->ended_us = now_us();
	if (!n || !compute(w, job, 0, n, &err))
		return;
	for (i = 0; i < n; i++) {
		rc = compute(w, job, i, 1, &w->from[i]->err);
		if (rc)
			w->from[i]->rc = rc;
	}
}

/* -------------------------------------------------------------------- jobs */

void stage_work(struct stage_work *w, struct sherd_job *job)
{
	job->rc = 0;
	job->started_us = now_us();
	switch (job->kind) {
	case SHERD_JOB_LOAD:
		job->rc = load(w, &job->err);
		break;
	case SHERD_JOB_OPEN:
		job->rc = open_session(w, job->session, &job->err);
		break;
	case SHERD_JOB_CLOSE:
		close_session(w, job->id);
		break;
	case SHERD_JOB_STEP:
		step(w, job); /* knows better when it began and ended */
		return;
	}
	job->ended_us = now_us();
}

void stage_work_end(struct stage_work *w)
{
	while (w->sessions)
		close_session(w, w->sessions->id);
	ends_destroy(&w->ends);
	sherd_model_close(w->model);
	w->model = NULL;
	free(w->rows);
	free(w->items);
	free(w->from);
	free(w->whose);
	w->rows = NULL;
	w->items = NULL;
	w->from = NULL;
	w->whose = NULL;
}
