/* SPDX-License-Identifier: MIT */
/*
 * predict: how long a given pipeline takes. The prompt's time is the flow shop's recurrence itself,
 * chunk by chunk: a machine begins a chunk when it has ended the one before it and the machine
 * before it has ended this one. A request's time under load is the nearer of a closed system's two
 * bounds: the slowest machine, and that each of the sessions has to go all the way round.
 */
#include "plan/cost.h"

#include <math.h>

/*
 * What the i-th machine's times are: stages are the odd ones, the links before them the even ones.
 */
struct machine {
	double full, last, token; /* a full chunk, the last one, a decoding step */
	double delay; /* after it, before the next machine may begin */
};

#define MAX_MACHINES (2 * SHERD_CLUSTER_NODES + 1)

static struct machine link_machine(const struct sherd_problem *p, int from, int to, int chunk,
				   int last, int group)
{
	return (struct machine){ .full = sherd_cost_link_us(p, from, to, chunk),
				 .last = sherd_cost_link_us(p, from, to, last),
				 .token = sherd_cost_link_us(p, from, to, group),
				 .delay = sherd_cost_delay_us(p, from, to) };
}

/*
 * The head's link, then a stage and the link to it in turn; the last is the link back to the head.
 */
static int make_machines(const struct sherd_problem *p, const struct sherd_pipeline *pipe,
			 int group, struct machine *m)
{
	int head = p->cluster->n_nodes, from = head, n = 0, last;

	sherd_cost_chunks(p, pipe->chunk, &last);
	for (int i = 0; i < pipe->n_stages; i++) {
		const struct sherd_stage_span *s = &pipe->stages[i];

		m[n++] = link_machine(p, from, s->node, pipe->chunk, last, group);
		m[n++] = (struct machine){ .full = sherd_cost_stage_us(p, s, pipe->chunk, 0),
					   .last = sherd_cost_stage_us(p, s, last, 1),
					   .token = sherd_cost_stage_us(p, s, group, group) };
		from = s->node;
	}
	m[n] = link_machine(p, from, head, 1, 1, group);
	m[n].full = 0; /* nothing comes back before the first token */
	return n + 1;
}

/* The recurrence. */
static double makespan(const struct machine *m, int n, int chunks)
{
	double free_at[MAX_MACHINES] = { 0 }, t = 0;

	for (int k = 0; k < chunks; k++) {
		t = 0;
		for (int i = 0; i < n; i++) {
			t = MAX(t, free_at[i]) + (k == chunks - 1 ? m[i].last : m[i].full);
			free_at[i] = t;
			t += m[i].delay;
		}
	}
	return t;
}

static double round_trip(const struct machine *m, int n)
{
	double us = 0;

	for (int i = 0; i < n; i++)
		us += m[i].token + m[i].delay;
	return us;
}

static double prompt_work(const struct machine *m, int chunks)
{
	return (chunks - 1) * m->full + m->last;
}

/* A machine's work for one request, when decoding steps are shared by a group. */
static double request_work(const struct sherd_problem *p, const struct machine *m, int chunks,
			   int group)
{
	return prompt_work(m, chunks) + (double)p->n_predict / group * m->token;
}

static void predict_request(const struct sherd_problem *p, const struct machine *m, int n,
			    int chunks, int group, struct sherd_prediction *out)
{
	double alone = 0, slowest = 0, step = 0;

	for (int i = 0; i < n; i++) {
		double work = request_work(p, &m[i], chunks, group);

		alone += prompt_work(&m[i], chunks) + p->n_predict * m[i].token +
			 (1 + p->n_predict) * m[i].delay;
		if (work > slowest && i < n - 1) {
			slowest = work;
			out->busiest = i;
		}
		step = MAX(step, i < n - 1 ? m[i].token : 0);
	}
	out->request_us = MAX(slowest, alone / p->n_sessions);
	out->tokens_per_s = 1e6 / MAX(step / group, round_trip(m, n) / p->n_sessions);
}

static void predict_stages(const struct machine *m, int n_stages, int chunks,
			   struct sherd_prediction *out)
{
	double busy = 0;

	for (int i = 0; i < n_stages; i++) {
		const struct machine *stage = &m[2 * i + 1], *next = &m[2 * i + 2];

		out->stage[i] = (struct sherd_stage_time){
			.chunk_us = chunks > 1 ? stage->full : stage->last,
			.token_us = stage->token,
			.link_chunk_us =
				(chunks > 1 && i < n_stages - 1 ? next->full : next->last) +
				next->delay,
			.link_token_us = next->token + next->delay,
			.busy = prompt_work(stage, chunks) / out->first_us,
		};
		busy += out->stage[i].busy;
	}
	out->bubble = 1 - busy / n_stages;
}

void sherd_cost_predict(const struct sherd_problem *p, const struct sherd_pipeline *pipe,
			struct sherd_prediction *out)
{
	struct machine m[MAX_MACHINES];
	int last, chunks = sherd_cost_chunks(p, pipe->chunk, &last);
	int n = make_machines(p, pipe, 1, m);

	*out = (struct sherd_prediction){ .first_us = makespan(m, n, chunks),
					  .token_us = round_trip(m, n) };
	out->tokens_per_s = 1e6 / out->token_us;
	for (int i = 0; i < n - 1; i++) {
		double work = prompt_work(&m[i], chunks);

		if (work > out->bound_us) {
			out->bound_us = work;
			out->slowest = i;
		}
	}
	if (p->objective == SHERD_THROUGHPUT) {
		make_machines(p, pipe, pipe->group, m);
		predict_request(p, m, n, chunks, pipe->group, out);
	}
	predict_stages(m, pipe->n_stages, chunks, out);
}

double sherd_cost_value(const struct sherd_problem *p, const struct sherd_prediction *out)
{
	if (p->objective == SHERD_THROUGHPUT)
		return out->request_us;
	return out->first_us + p->n_predict * out->token_us;
}
