/* SPDX-License-Identifier: MIT */
/*
 * sim_stage: a session's state is one number, which takes in every row.
 */
#include <stdio.h>
#include <stdlib.h>
#include "net/sim_stage.h"

#define ROW_BYTES 40

struct session {
	struct session *next;
	uint64_t id, state;
	uint32_t n, max;
};

struct sim_stage {
	struct sherd_stage base;
	struct sim_stage *next;
	struct sim_stages *all;
	struct sherd_stage_spec spec;
	struct session *sessions;
	struct sherd_job *first, *last; /* the first one is being done */
	bool put;
	bool busy; /* an event will come */
};

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

static uint64_t mix_row(uint64_t state, int first, uint32_t position, int32_t token,
			const uint8_t *row)
{
	state = mix(mix(mix(state, (uint64_t)first), position), (uint32_t)token);
	for (int i = 0; row && i < ROW_BYTES; i++)
		state = mix(state, row[i]);
	return state;
}

static void write_row(uint8_t *row, uint64_t state)
{
	for (int i = 0; i < ROW_BYTES; i++)
		row[i] = (uint8_t)mix(state, (uint64_t)i);
}

int32_t sim_next_token(const int *first, int n_stages, const int32_t *tokens, int n)
{
	uint8_t row[ROW_BYTES];
	uint64_t state[16] = { 0 };

	for (int p = 0; p < n; p++)
		for (int k = 0; k < n_stages; k++) {
			state[k] =
				mix_row(state[k], first[k], (uint32_t)p, tokens[p], k ? row : NULL);
			write_row(row, state[k]);
		}
	return (int32_t)(state[n_stages - 1] % SIM_VOCAB);
}

static struct session **find(struct sim_stage *s, uint64_t id)
{
	struct session **at = &s->sessions;

	while (*at && (*at)->id != id)
		at = &(*at)->next;
	return at;
}

static void load(struct sim_stage *s, struct sherd_job *job)
{
	struct sherd_stage_info *info = &s->base.info;

	if (s->all->no_shard) {
		job->rc = sherd_fail(&job->err, -ENOENT, "the shard is not here");
		return;
	}
	*info = (struct sherd_stage_info){
		.first = s->spec.first, .end = s->spec.end, .n_layers = s->all->n_layers,
		.hidden = SIM_HIDDEN, .n_batch = s->all->n_batch, .n_ctx = s->spec.n_ctx,
		.room = s->all->room, .row_bytes = { ROW_BYTES, ROW_BYTES, ROW_BYTES },
	};
	memset(info->bit_profile, s->all->bit_profile, SHERD_SHA256_HEX - 1);
	memcpy(info->model, s->spec.model, sizeof(info->model));
}

static void open_session(struct sim_stage *s, struct sherd_job *job)
{
	uint32_t taken = 0;
	struct session *x;

	for (x = s->sessions; x; x = x->next)
		taken += x->max;
	if (s->all->room && job->session->max > s->all->room - taken) {
		job->rc = sherd_fail(&job->err, -ENOSPC, "no room for %u positions beside %u of %u",
				     job->session->max, taken, s->all->room);
		return;
	}
	x = calloc(1, sizeof(*x));
	if (!x || *find(s, job->session->id))
		abort();
	x->id = job->session->id;
	x->max = job->session->max;
	x->next = s->sessions;
	s->sessions = x;
}

static void close_session(struct sim_stage *s, uint64_t id)
{
	struct session **at = find(s, id), *x = *at;

	if (!x)
		return;
	*at = x->next;
	free(x);
}

/* The promises of stage.h are what aborts here. */
static void step(struct sim_stage *s, struct sherd_job_item *item)
{
	struct session *x = *find(s, item->session);

	if (!x || item->position != x->n || x->n + (uint32_t)item->n > x->max ||
	    !item->rows != !s->spec.first || !item->out != (s->spec.end == s->all->n_layers))
		abort();
	s->all->n_rows += (uint64_t)item->n;
	for (int i = 0; i < item->n; i++) {
		const uint8_t *row = item->rows;

		x->state = mix_row(x->state, s->spec.first, x->n++, item->tokens[i],
				   row ? row + i * ROW_BYTES : NULL);
		if (item->out)
			write_row((uint8_t *)item->out + i * ROW_BYTES, x->state);
	}
	if (item->want)
		item->token = (int32_t)(x->state % SIM_VOCAB);
}

static void do_job(struct sim_stage *s, struct sherd_job *job)
{
	if (job->kind == SHERD_JOB_LOAD)
		load(s, job);
	else if (job->kind == SHERD_JOB_OPEN)
		open_session(s, job);
	else if (job->kind == SHERD_JOB_CLOSE)
		close_session(s, job->id);
	for (int i = 0; job->kind == SHERD_JOB_STEP && i < job->n_items; i++)
		step(s, &job->items[i]);
}

static uint64_t cost(const struct sim_stage *s, const struct sherd_job *job)
{
	uint64_t us = s->all->step_us;

	if (job->kind == SHERD_JOB_LOAD)
		return s->all->load_us;
	if (job->kind != SHERD_JOB_STEP)
		return 1;
	for (int i = 0; i < job->n_items; i++)
		us += (uint64_t)job->items[i].n * s->all->row_us;
	return us;
}

static void free_stage(struct sim_stage *s)
{
	struct sim_stage **at = &s->all->list;

	while (s->sessions)
		close_session(s, s->sessions->id);
	while (*at != s)
		at = &(*at)->next;
	*at = s->next;
	s->all->n_stages--;
	free(s);
}

static void begin(struct sim_stage *s);

static void end(void *arg)
{
	struct sim_stage *s = arg;
	struct sherd_job *job = s->first;

	s->busy = false;
	if (s->put) {
		free_stage(s);
		return;
	}
	s->first = job->next;
	do_job(s, job);
	begin(s);
	job->done(job->ctx, job);
}

static void begin(struct sim_stage *s)
{
	if (s->busy || !s->first || !s->all->sim->hosts[s->all->host].alive)
		return;
	if (s->first->kind == SHERD_JOB_STEP && s->all->hangs)
		return;
	s->busy = true;
	sim_at(s->all->sim, s->all->sim->now + cost(s, s->first), s->all->host, end, s);
}

static void submit(struct sherd_stage *base, struct sherd_job *job)
{
	struct sim_stage *s = (struct sim_stage *)base;

	job->next = NULL;
	if (s->first)
		s->last->next = job;
	else
		s->first = job;
	s->last = job;
	begin(s);
}

static void put(struct sherd_stage *base)
{
	struct sim_stage *s = (struct sim_stage *)base;

	s->put = true;
	if (!s->busy)
		free_stage(s);
}

static int get(void *ctx, const struct sherd_stage_spec *spec, struct sherd_stage **stage,
	       struct sherd_error *err)
{
	static const struct sherd_stage_ops ops = { submit, put };
	struct sim_stages *all = ctx;
	struct sim_stage *s = calloc(1, sizeof(*s));

	if (!s)
		return sherd_fail_oom(err, sizeof(*s), "a stage");
	s->base.ops = &ops;
	s->all = all;
	s->spec = *spec;
	s->next = all->list;
	all->list = s;
	all->n_stages++;
	*stage = &s->base;
	return 0;
}

void sim_stages_init(struct sim_stages *s, struct sim *sim, int host, int n_layers)
{
	*s = (struct sim_stages){ .sim = sim,
				  .host = host,
				  .n_layers = n_layers,
				  .n_batch = 32,
				  .step_us = 1000,
				  .row_us = 300,
				  .load_us = 20000,
				  .bit_profile = 'a' };
}

struct sherd_stage_source sim_stages_source(struct sim_stages *s)
{
	return (struct sherd_stage_source){ get, s };
}

int sim_stages_sessions(const struct sim_stages *s)
{
	const struct sim_stage *stage;
	const struct session *x;
	int n = 0;

	for (stage = s->list; stage; stage = stage->next)
		for (x = stage->sessions; x; x = x->next)
			n++;
	return n;
}

void sim_stages_wake(struct sim_stages *s)
{
	s->hangs = false;
	for (struct sim_stage *stage = s->list; stage; stage = stage->next)
		begin(stage);
}

void sim_stages_destroy(struct sim_stages *s)
{
	while (s->list)
		free_stage(s->list);
}
