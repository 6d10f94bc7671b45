/* SPDX-License-Identifier: MIT */
/*
 * cost: what a pipeline costs - time of a stage for a chunk, time of a link for a frame, bytes of a
 * node's memory - and, from these, how long a given pipeline takes. Documentation/planner.rst is
 * the model in words. partition.h looks for the best pipeline; it takes its numbers from here.
 *
 * Times are microseconds. A prompt goes through in M chunks of equal size, but for the last, which
 * has what is left, and after which a token is wanted. Stages and links are machines that take one
 * chunk after the other; half a round trip is a delay, in which a link can take the next frame.
 */
#ifndef SHERD_COST_H
#define SHERD_COST_H

#include "plan/cluster.h"
#include "plan/sizes.h"

enum sherd_objective {
	SHERD_LATENCY, /* the first token soon, then n_predict more */
	SHERD_THROUGHPUT, /* as many requests as possible, n_sessions at a time */
};

struct sherd_problem {
	const struct sherd_sizes *sizes;
	const struct sherd_cluster *cluster;
	enum sherd_objective objective;
	enum sherd_wire wire;
	int n_ctx, n_sessions; /* that the KV cache must hold */
	int n_prompt, n_predict; /* tokens of a request: given and generated */
	uint64_t reserve; /* of each node's memory, for everything that is not counted */
};

struct sherd_stage_span {
	int node, first, end;
};

struct sherd_pipeline {
	struct sherd_stage_span stages[SHERD_CLUSTER_NODES];
	int n_stages;
	int chunk; /* tokens of a prompt's chunks */
	int group; /* sessions that decode together in one step */
};

/* What a stage takes of its node's memory. */
struct sherd_need {
	uint64_t weights, kv, scratch, journal, reserve, total;
};

struct sherd_stage_time {
	double chunk_us, token_us; /* a full chunk; a decoding step of @group sessions */
	/* Of the link to the next stage (or head): until it has arrived. */
	double link_chunk_us, link_token_us;
	double busy; /* share of first_us in which the stage computes */
};

struct sherd_prediction {
	double first_us; /* prompt in to first token out */
	double token_us; /* between two tokens of one session alone */
	double bound_us; /* the slowest machine's time for the prompt: nothing beats it */
	double bubble; /* share of the prompt's time in which stages wait, on average */
	double request_us; /* between two requests' ends, n_sessions at a time */
	double tokens_per_s; /* decoding: one session for latency, all of them for throughput */
	/* Machines whose work bounds prompt and request: stage n is 2n + 1, the link to it 2n. */
	int slowest, busiest;
	struct sherd_stage_time stage[SHERD_CLUSTER_NODES];
};

/* Whether the planner can use the node: it has measured this model at these bits. */
bool sherd_cost_usable(const struct sherd_problem *p, int node);

/* The two functions in which a layer's width enters: one for all layers of a plan today. */
double sherd_cost_layer_us(const struct sherd_problem *p, int node, int layer, int tokens);
uint64_t sherd_cost_layer_bytes(const struct sherd_problem *p, int layer);

/* Of a stage on @node besides its layers. @wanted: rows whose logits are wanted. */
double sherd_cost_step_us(const struct sherd_problem *p, int node, int tokens);
double sherd_cost_embed_us(const struct sherd_problem *p, int node, int tokens);
double sherd_cost_output_us(const struct sherd_problem *p, int node, int wanted);
double sherd_cost_stage_us(const struct sherd_problem *p, const struct sherd_stage_span *s,
			   int tokens, int wanted);

/* Bytes of a frame with @tokens rows; ids only where @ids. */
uint64_t sherd_cost_frame(const struct sherd_problem *p, int tokens, bool ids);
/* How long a frame keeps the link busy; n_nodes is the head, which sends ids and gets tokens. */
double sherd_cost_link_us(const struct sherd_problem *p, int from, int to, int tokens);
double sherd_cost_delay_us(const struct sherd_problem *p, int from, int to);

/*
 * The rows that stages are loaded with room for in one step: a prompt's chunk beside a token of
 * every session, and at least two chunks.
 */
int sherd_cost_batch(int chunk, int n_sessions);
void sherd_cost_need(const struct sherd_problem *p, int first, int end, int chunk,
		     struct sherd_need *need);

/* How many chunks the prompt has, and the tokens of the last. */
static inline int sherd_cost_chunks(const struct sherd_problem *p, int chunk, int *last)
{
	int m = DIV_ROUND_UP(p->n_prompt, chunk);

	*last = p->n_prompt - (m - 1) * chunk;
	return m;
}

/* How long the pipeline takes, chunk by chunk and machine by machine. */
void sherd_cost_predict(const struct sherd_problem *p, const struct sherd_pipeline *pipe,
			struct sherd_prediction *out);
/* What the objective minimizes: us. */
double sherd_cost_value(const struct sherd_problem *p, const struct sherd_prediction *out);

#endif
