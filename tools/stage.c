/* SPDX-License-Identifier: MIT */
/*
 * stage: loads layers, admits sessions, computes steps; all on the queue's thread.
 *
 * A session's pages of the KV cache are promised to it in full when it is opened, so that no
 * session finds the cache full in mid-sentence: what does not fit is refused, with the numbers.
 *
 * The rows of a step are somebody else's. What is wrong with an item is that item's failure: it is
 * looked at and decoded before anything is computed, and left out. Should the rest fail all the
 * same - a value overflows in some layer - no session has moved, and each is tried alone: alone or
 * together, the bits are equal.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include "dilate.h"
#include "ends.h"
#include "infer/infer.h"
#include "stage.h"
#include "stage_trace.h"

struct session {
	struct session *next;
	struct sherd_session *s;
	uint64_t id;
	uint32_t max, reserved; /* positions that it may have; the same in whole pages */
	enum sherd_wire wire;
	bool ignore_eos;
	uint64_t in_step; /* the last that it was in */
};

struct stage {
	struct sherd_stage base;
	struct stage_params p;
	char *path;
	struct stage_queue *queue;
	struct sherd_model *model; /* NULL: not loaded */
	uint32_t page; /* positions of a page of the KV cache */
	bool last;
	struct ends ends; /* the last stage's, if it has a tokenizer */
	struct session *sessions;
	uint32_t taken; /* positions that sessions have reserved */
	int n_sessions;
	uint64_t n_steps;
	/* a step's */
	float *rows; /* [n_batch][hidden]; NULL for the first stage */
	struct sherd_item *items; /* [n_batch] */
	struct sherd_job_item **from; /* [n_batch]: whose they are */
	struct session **whose; /* [n_batch] */
	struct stage_trace_step traced;
};

static uint64_t now_us(void)
{
	return (uint64_t)(sherd_now() * 1e6);
}

/* -------------------------------------------------------------------- load */

/* What the device can't write itself is copied. */
static void use_ring(struct stage *st)
{
	char text[sizeof(struct sherd_error) + 64];
	struct sherd_error why;

	if (!st->p.ring || !sherd_model_use_ring(st->model, st->p.ring, &why) || !st->p.base.note)
		return;
	snprintf(text, sizeof(text), "rows are copied to the network's ring: %s", why.msg);
	st->p.base.note(st->p.base.ctx, text);
}

static int open_model(struct stage *st, struct sherd_error *err)
{
	const struct sherd_stage_spec *spec = &st->p.spec;
	struct sherd_model_params p = st->p.base;
	const struct sherd_model_info *i;
	int rc;

	p.first_layer = spec->first;
	p.end_layer = spec->end;
	p.n_ctx = spec->n_ctx;
	p.n_sessions = spec->n_sessions;
	p.n_batch = spec->n_batch;
	p.kv_type = spec->kv;
	p.hold_kv = true; /* other runs' stages are to find what is left, and no more */
	p.bits = spec->bits;
	rc = sherd_model_open(&st->model, st->path, &p, err);
	if (rc)
		return rc;
	i = sherd_model_info(st->model);
	if (i->encoder)
		return sherd_fail(err, -ENOTSUP,
				  "%s: is an encoder (%s): a stage is a part of what writes text",
				  i->path, i->arch);
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

static int make_room(struct stage *st, struct sherd_error *err)
{
	const struct sherd_model_info *i = sherd_model_info(st->model);
	size_t n = i->n_batch, row = i->hidden * sizeof(float);

	st->items = sherd_calloc(n, sizeof(*st->items));
	st->from = sherd_calloc(n, sizeof(struct sherd_job_item *));
	st->whose = sherd_calloc(n, sizeof(struct session *));
	st->rows = i->first_layer ? sherd_calloc(n, row) : NULL;
	if (!st->items || !st->from || !st->whose || (i->first_layer && !st->rows))
		return sherd_fail_oom(err, n * (row + sizeof(*st->items)), "a stage's rows");
	if (st->last && sherd_model_tokenizer(st->model))
		return ends_init(&st->ends, st->model, err);
	return 0;
}

static void fill_info(struct stage *st)
{
	const struct sherd_model_info *i = sherd_model_info(st->model);
	bool tested = strcmp(i->bit_profile, SHERD_UNTESTED) != 0;
	enum sherd_wire wire;

	st->base.info = (struct sherd_stage_info){
		.first = i->first_layer,
		.end = i->end_layer,
		.n_layers = i->n_layers,
		.hidden = i->hidden,
		.n_batch = i->n_batch,
		.n_ctx = i->n_ctx,
		.room = (uint32_t)MIN((uint64_t)i->kv_pages * (uint64_t)i->kv_page, UINT32_MAX),
	};
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++)
		st->base.info.row_bytes[wire] = sherd_wire_bytes(wire, 1, i->hidden);
	snprintf(st->base.info.bit_profile, SHERD_SHA256_HEX, "%s", tested ? i->bit_profile : "");
	snprintf(st->base.info.model, SHERD_SHA256_HEX, "%s", i->source_sha256);
}

static int load(struct stage *st, struct sherd_error *err)
{
	const struct sherd_model_info *i;
	int rc;

	if (st->model)
		return sherd_fail(err, -EEXIST, "%s: is loaded already", st->path);
	rc = open_model(st, err);
	if (!rc) {
		i = sherd_model_info(st->model);
		st->page = (uint32_t)i->kv_page;
		st->last = i->end_layer == i->n_layers;
		rc = make_room(st, err);
	}
	if (!rc) {
		use_ring(st);
		fill_info(st);
	}
	return rc;
}

/* ---------------------------------------------------------------- sessions */

static struct session **find(struct stage *st, uint64_t id)
{
	struct session **at = &st->sessions;

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

static int admit(struct stage *st, const struct sherd_stage_session *s, struct sherd_error *err)
{
	const struct sherd_stage_info *i = &st->base.info;

	if (!st->model)
		return sherd_fail(err, -ENODEV, "the stage has not been loaded");
	if (*find(st, s->id))
		return sherd_fail(err, -EEXIST, "session %llx is open already",
				  (unsigned long long)s->id);
	if (s->max < 1 || s->max > (uint32_t)i->n_ctx)
		return sherd_fail(err, -EINVAL,
				  "a session of %u positions: the context holds 1 to %d", s->max,
				  i->n_ctx);
	if (ROUND_UP(s->max, st->page) > i->room - st->taken)
		return sherd_fail(
			err, -ENOSPC,
			"no room for a session of %u positions: of the KV cache's %u, %u are "
			"promised to %d sessions; wait for one to end, or plan for more",
			s->max, i->room, st->taken, st->n_sessions);
	if ((i->first && !is_cut(&s->params, i->first)) ||
	    (!st->last && !is_cut(&s->params, i->end)))
		return sherd_fail(
			err, -EINVAL,
			"the session is not cut where the stage of layers %d to %d begins and "
			"ends",
			i->first, i->end - 1);
	if (st->last && s->ignore_eos && !st->ends.ids)
		return sherd_fail(
			err, -ENOENT,
			"%s: has no tokenizer, which knows what ends a text and is to be left "
			"out",
			st->path);
	return 0;
}

static int open_session(struct stage *st, const struct sherd_stage_session *from,
			struct sherd_error *err)
{
	struct session *s;
	int rc = admit(st, from, err);

	if (rc)
		return rc;
	s = sherd_calloc(1, sizeof(*s));
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a session");
	rc = sherd_session_new(&s->s, st->model, &from->params, err);
	if (rc) {
		free(s);
		return rc;
	}
	s->id = from->id;
	s->max = from->max;
	s->reserved = ROUND_UP(from->max, st->page);
	s->wire = from->params.wire;
	s->ignore_eos = from->ignore_eos;
	s->next = st->sessions;
	st->sessions = s;
	st->taken += s->reserved;
	st->n_sessions++;
	return 0;
}

static void close_session(struct stage *st, uint64_t id)
{
	struct session **at = find(st, id), *s = *at;

	if (!s)
		return;
	*at = s->next;
	st->taken -= s->reserved;
	st->n_sessions--;
	sherd_session_free(s->s);
	free(s);
}

/* -------------------------------------------------------------------- step */

static int check_item(struct stage *st, const struct sherd_job_item *it,
		      const struct session *s, int room, struct sherd_error *err)
{
	unsigned long long id = it->session;
	int pos;

	if (!s)
		return sherd_fail(err, -ENOENT, "session %llx is not open", id);
	if (s->in_step == st->n_steps)
		return sherd_fail(err, -EINVAL, "session %llx stands in the step twice", id);
	if (it->n < 1 || it->n > room)
		return sherd_fail(
			err, -E2BIG,
			"session %llx: %d rows, where the step of %d rows has room for %d", id,
			it->n, st->base.info.n_batch, room);
	if (!it->tokens || !it->rows != !st->rows || !it->out != st->last)
		return sherd_fail(
			err, -EINVAL,
			"session %llx: layers %d to %d %s rows and %s them, and all need token "
			"ids",
			id, st->base.info.first, st->base.info.end - 1,
			st->rows ? "take" : "do not take", st->last ? "keep" : "give");
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
static int take_item(struct stage *st, struct sherd_job_item *it, int i, int row)
{
	struct session *s = *find(st, it->session);
	float *x = st->rows ? st->rows + (size_t)row * st->base.info.hidden : NULL;
	int rc = check_item(st, it, s, st->base.info.n_batch - row, &it->err);

	if (!rc && x)
		rc = sherd_wire_decode(s->wire, it->rows, it->n, st->base.info.hidden, x, &it->err);
	if (rc)
		return rc;
	s->in_step = st->n_steps;
	st->from[i] = it;
	st->whose[i] = s;
	st->items[i] = (struct sherd_item){
		.session = s->s,
		.tokens = it->tokens,
		.hidden = x,
		.n = it->n,
		.out = it->out,
		.want = !st->last   ? SHERD_WANT_ALL
			: it->want ? SHERD_WANT_LAST
				   : SHERD_WANT_NONE,
		.wired = x,
	};
	return 0;
}

static int draw(struct stage *st, struct session *s, const float *logits,
		struct sherd_job_item *it)
{
	it->token = s->ignore_eos ? ends_sample(&st->ends, s->s, sherd_session_pos(s->s), logits)
				  : sherd_session_sample(s->s, logits);
	if (it->token < 0)
		return sherd_fail(&it->err, -EDOM, "no logit after position %u is a number",
				  it->position + (uint32_t)it->n - 1);
	return 0;
}

/* The last stage's item @i has been computed; @logits: of its last row, if a token is wanted. */
static void finish_item(struct stage *st, int i, const float *logits)
{
	struct sherd_job_item *it = st->from[i];
	struct session *s = st->whose[i];

	if (it->want)
		it->rc = draw(st, s, logits, it);
	if (!it->rc)
		return;
	/* as if it had failed before it was computed */
	sherd_fail_prefix(&it->err, it->rc, "session %llx, from position %u",
			  (unsigned long long)it->session, it->position);
	sherd_session_truncate(s->s, (int)it->position, NULL);
}

/* Items [first, first + n) in one step. */
static int compute(struct stage *st, struct sherd_job *job, int first, int n,
		   struct sherd_error *err)
{
	struct dilation slow = { .factor = st->p.dilate, .turns = st->p.turns,
				 .one_thread = st->p.base.n_threads == 1 };
	struct sherd_rows rows;
	const float *logits;
	int rc, i;

	dilate_begin(&slow);
	rc = sherd_step(st->model, st->items + first, n, 0, 0, &rows, err);
	dilate_end(&slow);
	job->ended_us = now_us();
	logits = rows.data;
	for (i = first; i < first + n && st->last && !rc; i++) {
		finish_item(st, i, logits);
		if (st->from[i]->want)
			logits += rows.row_len;
	}
	return rc;
}

static void step(struct stage *st, struct sherd_job *job)
{
	struct sherd_error err;
	int n = 0, row = 0, rc, i;

	st->n_steps++;
	for (i = 0; i < job->n_items; i++) {
		struct sherd_job_item *it = &job->items[i];

		it->token = -1;
		it->rc = take_item(st, it, n, row);
		if (it->rc)
			continue;
		row += it->n;
		n++;
	}
	job->started_us = job->ended_us = now_us();
	if (!n || !compute(st, job, 0, n, &err))
		return;
	for (i = 0; i < n; i++) {
		rc = compute(st, job, i, 1, &st->from[i]->err);
		if (rc)
			st->from[i]->rc = rc;
	}
}

/* -------------------------------------------------------------------- jobs */

static void unload(struct stage *st)
{
	while (st->sessions)
		close_session(st, st->sessions->id);
	ends_destroy(&st->ends);
	sherd_model_close(st->model);
	free(st->rows);
	free(st->items);
	free(st->from);
	free(st->whose);
	st->model = NULL;
	st->rows = NULL;
	st->items = NULL;
	st->from = NULL;
	st->whose = NULL;
}

static void load_or_refuse(struct stage *st, struct sherd_job *job)
{
	bool loaded = st->model;

	job->rc = load(st, &job->err);
	if (job->rc && !loaded)
		unload(st);
	if (st->p.dilate > 1) /* the thread's sleeps are to end when they should */
		prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}

static void work(void *arg, struct sherd_job *job)
{
	struct stage *st = arg;

	job->rc = 0;
	job->started_us = now_us();
	switch (job->kind) {
	case SHERD_JOB_LOAD:
		load_or_refuse(st, job);
		break;
	case SHERD_JOB_OPEN:
		job->rc = open_session(st, job->session, &job->err);
		break;
	case SHERD_JOB_CLOSE:
		close_session(st, job->id);
		break;
	case SHERD_JOB_STEP:
		step(st, job);
		break;
	}
	if (job->kind != SHERD_JOB_STEP) /* which knows better when it ended */
		job->ended_us = now_us();
	if (st->p.trace)
		stage_trace_take(&st->traced, job);
}

/* What is not the step's own waits until it is on its way. */
static void after(void *arg)
{
	struct stage *st = arg;

	if (st->traced.rows)
		stage_trace_write(st->p.trace, &st->base.info, &st->traced);
	st->traced.rows = 0;
}

/* A line that is written out disturbs who sends the rows: it waits until there is time. */
static void idle(void *arg)
{
	trace_file_flush(((struct stage *)arg)->p.trace);
}

static void end(void *arg)
{
	unload(arg);
}

static void submit(struct sherd_stage *base, struct sherd_job *job)
{
	stage_queue_add(((struct stage *)base)->queue, job);
}

static void put(struct sherd_stage *base)
{
	struct stage *st = (struct stage *)base;

	stage_queue_free(st->queue);
	free(st->path);
	free(st);
}

int stage_new(struct sherd_stage **stage, const struct stage_params *p, struct sherd_error *err)
{
	static const struct sherd_stage_ops ops = { .submit = submit, .put = put };
	struct stage *st = sherd_calloc(1, sizeof(*st));
	struct stage_queue_params q = { .work = work, .end = end, .after = p->trace ? after : NULL,
					.arg = st, .hang_after = p->hang_after,
					.idle = p->trace ? idle : NULL, .post = p->post, .visit = p->visit,
					.loop = p->loop };
	int rc;

	*stage = NULL;
	if (!st)
		return sherd_fail_oom(err, sizeof(*st), "a stage");
	st->base.ops = &ops;
	st->p = *p;
	st->path = strdup(p->model);
	rc = st->path ? stage_queue_new(&st->queue, &q, err) :
			sherd_fail_oom(err, strlen(p->model), "a stage");
	if (rc) {
		free(st->path);
		free(st);
		return rc;
	}
	*stage = &st->base;
	return 0;
}
