/* SPDX-License-Identifier: MIT */
/* fake_stage: a session's state is one number, which takes in every row; see fake_stage.h. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "fake_stage.h"

#define MAX_STAGES 16

struct session {
	struct session *next;
	uint64_t id, state;
	uint32_t n, max;
	enum sherd_wire wire;
};

struct fake {
	struct sherd_stage base;
	struct fake_params p;
	struct stage_queue *queue;
	struct session *sessions;
	uint32_t taken;
	atomic_bool over;
};

/* -------------------------------------------------------------------- hash */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

static uint64_t take_row(uint64_t state, int first, uint32_t position, int32_t token,
			 const uint8_t *row, size_t size)
{
	state = mix(mix(mix(state, (uint64_t)first), position), (uint32_t)token);
	for (size_t i = 0; row && i < size; i++)
		state = mix(state, row[i]);
	return state;
}

/* Bytes below 0x40: no wire type has a number among them that is none, or a -128. */
static void give_row(uint8_t *row, size_t size, uint64_t state)
{
	for (size_t i = 0; i < size; i++)
		row[i] = mix(state, i) & 0x3f;
}

int32_t fake_next_token(const int *first, int n_stages, enum sherd_wire wire, uint64_t seed,
			const int32_t *tokens, int n)
{
	size_t size = sherd_wire_bytes(wire, 1, FAKE_HIDDEN);
	uint8_t row[sizeof(float) * FAKE_HIDDEN];
	uint64_t state[MAX_STAGES];

	for (int k = 0; k < n_stages; k++)
		state[k] = seed;
	for (int p = 0; p < n; p++) {
		for (int k = 0; k < n_stages; k++) {
			state[k] = take_row(state[k], first[k], (uint32_t)p, tokens[p],
					    k ? row : NULL, size);
			give_row(row, size, state[k]);
		}
	}
	return (int32_t)(state[n_stages - 1] % FAKE_VOCAB);
}

/* -------------------------------------------------------------------- jobs */

static struct session **find(struct fake *f, uint64_t id)
{
	struct session **at = &f->sessions;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static int load(struct fake *f, struct sherd_error *err)
{
	struct sherd_stage_info *i = &f->base.info;
	const struct sherd_stage_spec *spec = &f->p.spec;

	if (f->p.control->refuse)
		return sherd_fail(err, -ENOENT, "the shard is not here");
	*i = (struct sherd_stage_info){ .first = spec->first, .end = spec->end,
					.n_layers = f->p.n_layers, .hidden = FAKE_HIDDEN,
					.n_batch = spec->n_batch, .n_ctx = spec->n_ctx,
					.room = f->p.room };
	for (int w = SHERD_WIRE_INT8; w <= SHERD_WIRE_F32; w++)
		i->row_bytes[w] = sherd_wire_bytes((enum sherd_wire)w, 1, FAKE_HIDDEN);
	memset(i->bit_profile, 'a', SHERD_SHA256_HEX - 1);
	snprintf(i->model, sizeof(i->model), "%s", spec->model);
	return 0;
}

static int open_session(struct fake *f, const struct sherd_stage_session *from,
			struct sherd_error *err)
{
	struct session *s;

	if (f->p.control->refuse || *find(f, from->id) || from->max > f->p.room - f->taken)
		return sherd_fail(err, -ENOSPC, "no room for %u positions beside %u of %u",
				  from->max, f->taken, f->p.room);
	s = sherd_calloc(1, sizeof(*s));
	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a session");
	*s = (struct session){ .next = f->sessions, .id = from->id,
			       .state = from->params.sampler.seed, .max = from->max,
			       .wire = from->params.wire };
	f->sessions = s;
	f->taken += s->max;
	return 0;
}

static void close_session(struct fake *f, uint64_t id)
{
	struct session **at = find(f, id), *s = *at;

	if (!s)
		return;
	*at = s->next;
	f->taken -= s->max;
	free(s);
}

static int step_item(struct fake *f, struct sherd_job_item *it)
{
	struct session *s = *find(f, it->session);
	size_t size;

	if (!s || it->position != s->n || (uint32_t)it->n > s->max - s->n || !it->tokens ||
	    !it->rows != !f->p.spec.first || !it->out != (f->p.spec.end == f->p.n_layers))
		return sherd_fail(&it->err, -EPROTO, "session %llx: %d rows from %u do not fit",
				  (unsigned long long)it->session, it->n, it->position);
	if (f->p.control->fail)
		return sherd_fail(&it->err, -EDOM, "session %llx: failed as it was told to",
				  (unsigned long long)it->session);
	size = f->base.info.row_bytes[s->wire];
	for (int i = 0; i < it->n; i++) {
		const uint8_t *row = it->rows ? (const uint8_t *)it->rows + i * size : NULL;

		s->state = take_row(s->state, f->p.spec.first, s->n++, it->tokens[i], row, size);
		if (it->out)
			give_row((uint8_t *)it->out + i * size, size, s->state);
	}
	if (it->want)
		it->token = (int32_t)(s->state % FAKE_VOCAB);
	return 0;
}

static void step(struct fake *f, struct sherd_job *job)
{
	unsigned us = 0;

	for (int i = 0; i < job->n_items; i++) {
		job->items[i].token = -1;
		us += (unsigned)job->items[i].n * f->p.control->row_us;
	}
	if (us)
		usleep(us);
	while (f->p.control->hang && !f->over)
		usleep(500);
	for (int i = 0; i < job->n_items; i++)
		job->items[i].rc = step_item(f, &job->items[i]);
}

static void work(void *arg, struct sherd_job *job)
{
	struct fake *f = arg;

	job->rc = 0;
	job->started_us = (uint64_t)(sherd_now() * 1e6);
	if (job->kind == SHERD_JOB_LOAD)
		job->rc = load(f, &job->err);
	else if (job->kind == SHERD_JOB_OPEN)
		job->rc = open_session(f, job->session, &job->err);
	else if (job->kind == SHERD_JOB_CLOSE)
		close_session(f, job->id);
	else
		step(f, job);
	job->ended_us = (uint64_t)(sherd_now() * 1e6);
}

static void end(void *arg)
{
	struct fake *f = arg;

	while (f->sessions)
		close_session(f, f->sessions->id);
}

static void submit(struct sherd_stage *base, struct sherd_job *job)
{
	stage_queue_add(((struct fake *)base)->queue, job);
}

static void put(struct sherd_stage *base)
{
	struct fake *f = (struct fake *)base;

	f->over = true;
	stage_queue_free(f->queue);
	free(f);
}

int fake_stage_new(struct sherd_stage **stage, const struct fake_params *p, struct sherd_error *err)
{
	static const struct sherd_stage_ops ops = { .submit = submit, .put = put };
	struct fake *f = sherd_calloc(1, sizeof(*f));
	struct stage_queue_params q = { .work = work, .end = end, .arg = f,
					.post = p->post, .visit = p->visit, .loop = p->loop };
	int rc;

	if (!f)
		return sherd_fail_oom(err, sizeof(*f), "a stage");
	f->base.ops = &ops;
	f->p = *p;
	rc = stage_queue_new(&f->queue, &q, err);
	if (rc)
		free(f);
	else
		*stage = &f->base;
	return rc;
}
