/* SPDX-License-Identifier: MIT */
/*
 * world: see world.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "net/world.h"

static void note(void *ctx, const char *sentence)
{
	struct world *w = ctx;

	w->n_words += w->words && strstr(sentence, w->words);
	if (w->verbose)
		printf("# %.3f s: %s\n", (double)w->sim.now * 1e-6, sentence);
}

static void open_session(struct world *w, struct world_session *s)
{
	struct sherd_stage_session params = { .max = (uint32_t)s->n_max,
					      .params.cuts = w->first + 1,
					      .params.n_cuts = w->n_stages - 1,
					      .params.sampler = SHERD_SAMPLER_PARAMS_INIT };
	struct sherd_error err;

	if (sherd_head_open(w->head, &params, &s->id, &err) ||
	    sherd_head_feed(w->head, s->id, s->tokens, s->n, &err)) {
		s->failed = true;
		s->err = err;
	}
	s->open = true;
}

static void ready(void *ctx)
{
	struct world *w = ctx;

	w->ready = true;
	for (int i = 0; i < w->n_sessions; i++)
		open_session(w, &w->sessions[i]);
}

static struct world_session *find(struct world *w, uint64_t id)
{
	for (int i = 0; i < w->n_sessions; i++)
		if (w->sessions[i].open && w->sessions[i].id == id)
			return &w->sessions[i];
	return NULL;
}

static void token(void *ctx, uint64_t id, uint32_t position, int32_t token)
{
	struct world *w = ctx;
	struct world_session *s = find(w, id);
	struct sherd_error err;

	if (!s || s->done || (int)position != s->n ||
	    token != sim_next_token(w->first, w->n_stages, s->tokens, s->n)) {
		w->wrong = true;
		return;
	}
	s->tokens[s->n++] = token;
	if (w->on_token)
		w->on_token(w, s);
	if (s->n == s->n_max) {
		s->done = true;
		sherd_head_close(w->head, id);
	} else if (sherd_head_feed(w->head, id, &s->tokens[s->n - 1], 1, &err)) {
		s->failed = true;
		s->err = err;
	}
}

static void failed(void *ctx, uint64_t id, const struct sherd_error *why)
{
	struct world *w = ctx;
	struct world_session *s = find(w, id);

	note(w, why->msg);
	if (!id) {
		w->failed = true;
		w->err = *why;
	} else if (s) {
		s->failed = true;
		s->err = *why;
		sherd_head_close(w->head, id);
	}
}

static void hung(void *ctx, const char *sentence)
{
	struct world *w = ctx;

	note(w, sentence);
	w->n_hung++;
}

void world_start_node(struct world *w, int i)
{
	struct world_node *n = &w->nodes[i];
	struct sherd_node_params p = { .net = sim_start(&w->sim, n->host),
				       .name = w->names[i][0],
				       .source = sim_stages_source(&n->stages),
				       .slots = n->slots,
				       .note = note,
				       .hung_us = 60 * SECOND,
				       .hung = hung,
				       .ctx = w };
	struct sherd_error err;

	if (sherd_node_new(&n->node, &p, &err))
		abort();
}

static void clean_node(void *arg)
{
	struct world_node *n = arg;

	sherd_node_free(n->node);
	n->node = NULL;
	n->w->lost_slots += WORLD_SLOTS - sherd_slots_left(n->slots);
}

void world_kill_node(struct world *w, int i)
{
	if (!w->nodes[i].node)
		return;
	sim_kill(&w->sim, w->nodes[i].host, clean_node, &w->nodes[i]);
	sim_stages_destroy(&w->nodes[i].stages);
	w->nodes[i].stages.hangs = false;
}

/* So few that a step of several sessions has to do without, too. */
static void make_slots(struct world_node *n)
{
	struct sherd_error err;

	if (sherd_ring_create(&n->ring, WORLD_SLOTS, 4096, "plain", &err) ||
	    sherd_slots_new(&n->slots, n->ring, &err))
		abort();
}

void world_init(struct world *w, uint64_t seed, int n_stages, int n_nodes)
{
	memset(w, 0, sizeof(*w));
	sim_init(&w->sim, seed);
	w->verbose = getenv("SHERD_VERBOSE");
	w->sim.faults.latency_us = 200;
	w->sim.faults.jitter_us = 100;
	w->n_nodes = n_nodes;
	w->n_stages = n_stages;
	for (int i = 0; i < n_nodes; i++) {
		snprintf(w->names[i][0], sizeof(w->names[i][0]), "node%d", i);
		snprintf(w->names[i][1], sizeof(w->names[i][1]), "host:%d", i + 1);
		w->plan_nodes[i] = (struct sherd_head_node){ w->names[i][0], w->names[i][1] };
		w->nodes[i].w = w;
		w->nodes[i].host = i + 1;
		sim_stages_init(&w->nodes[i].stages, &w->sim, i + 1, WORLD_LAYERS);
		make_slots(&w->nodes[i]);
		world_start_node(w, i);
	}
	for (int k = 0; k < n_stages; k++) {
		struct sherd_head_stage *s = &w->plan_stages[k];

		w->first[k] = s->first = k * WORLD_LAYERS / n_stages;
		s->end = (k + 1) * WORLD_LAYERS / n_stages;
		s->nodes = w->seats[k];
		w->seats[k][s->n_nodes++] = k;
		for (int i = n_stages; i < n_nodes; i++)
			w->seats[k][s->n_nodes++] = i;
	}
}

void world_start_head(struct world *w)
{
	struct sherd_head_params *p = &w->params;
	struct sherd_error err;

	p->net = sim_start(&w->sim, 0);
	memset(p->run, '5', SHERD_RUN_ID - 1);
	memset(p->model, 'e', SHERD_SHA256_HEX - 1);
	p->nodes = w->plan_nodes;
	p->stages = w->plan_stages;
	p->n_nodes = w->n_nodes;
	p->n_stages = w->n_stages;
	p->n_ctx = 512;
	p->n_sessions = WORLD_SESSIONS;
	p->n_batch = 32;
	p->chunk = p->chunk ? p->chunk : 8;
	p->ready = ready;
	p->token = token;
	p->failed = failed;
	p->note = note;
	p->ctx = w;
	if (sherd_head_new(&w->head, p, &err))
		abort();
}

void world_begin(struct world *w)
{
	world_start_head(w);
	while (!w->ready && !w->failed)
		sim_step(&w->sim, UINT64_MAX);
}

static void clean_head(void *arg)
{
	struct world *w = arg;

	sherd_head_free(w->head);
	w->head = NULL;
	w->ready = false;
}

void world_kill_head(struct world *w)
{
	sim_kill(&w->sim, 0, clean_head, w);
}

struct world_session *world_add(struct world *w, int n_prompt, int n_tokens)
{
	struct world_session *s = &w->sessions[w->n_sessions++];

	for (int i = 0; i < n_prompt; i++)
		s->tokens[i] = (int32_t)sim_random(&w->sim, SIM_VOCAB);
	s->n = s->n_prompt = n_prompt;
	s->n_max = n_prompt + n_tokens;
	if (w->ready)
		open_session(w, s);
	return s;
}

static bool is_over(void *arg)
{
	const struct world *w = arg;
	int i;

	if (w->failed || w->wrong)
		return true;
	for (i = 0; i < w->n_sessions; i++)
		if (!w->sessions[i].done && !w->sessions[i].failed)
			return false;
	return true;
}

bool world_run(struct world *w, uint64_t us)
{
	return sim_run(&w->sim, w->sim.now + us, is_over, w);
}

static bool is_well(const struct world *w)
{
	int i;

	if (w->failed || w->wrong)
		return false;
	for (i = 0; i < w->n_sessions; i++)
		if (!w->sessions[i].done)
			return false;
	return true;
}

void world_expect_well(struct world *w, uint64_t us)
{
	bool over = world_run(w, us);

	if (!over || !is_well(w))
		printf("# %s; head: %s\n",
		       over ? w->wrong ? "wrong token" : "failed" : "out of time", w->err.msg);
	assert_true(over && is_well(w));
}

static int left(const char *what, int n)
{
	if (n)
		printf("# left: %d %s\n", n, what);
	return n;
}

void world_end(struct world *w)
{
	int bad = 0, i;

	sherd_head_free(w->head);
	w->head = NULL;
	sim_go(&w->sim, 120 * SECOND);
	for (i = 0; i < w->n_nodes; i++) {
		struct world_node *n = &w->nodes[i];

		if (!n->node)
			continue;
		if (!n->stages.hangs) {
			bad += left("sessions at a node", sherd_node_sessions(n->node));
			bad += left("sessions at a stage", sim_stages_sessions(&n->stages));
			bad += left("stages", n->stages.n_stages);
		}
		world_kill_node(w, i);
	}
	bad += left("slots that are lent", w->lost_slots);
	bad += left("links", w->sim.n_links);
	for (i = 0; i < w->n_nodes; i++) {
		sherd_slots_free(w->nodes[i].slots);
		sherd_region_close(w->nodes[i].ring);
	}
	sim_destroy(&w->sim);
	assert_int_equal(bad, 0);
}
