/* SPDX-License-Identifier: MIT */
/*
 * world: a head, nodes and sessions on a simulated network, and the oracle: every token must be the
 * one that the undisturbed chain of stages gives.
 */
#ifndef WORLD_H
#define WORLD_H

#include "net/head.h"
#include "net/node.h"
#include "net/sim_stage.h"

#define WORLD_LAYERS   12
#define WORLD_SESSIONS 32
#define WORLD_SLOTS    3

struct world_session {
	uint64_t id;
	int32_t tokens[512];
	int n_prompt, n, n_max; /* tokens: of the prompt, so far, in the end */
	bool open, done, failed;
	struct sherd_error err;
};

struct world_node {
	struct world *w;
	int host;
	struct sherd_node *node; /* NULL: dead */
	struct sim_stages stages;
	struct sherd_region *ring;
	struct sherd_slots *slots; /* outlive the process */
};

struct world {
	struct sim sim;
	struct sherd_head *head;
	struct sherd_head_params params;
	struct sherd_head_node plan_nodes[SIM_HOSTS];
	struct sherd_head_stage plan_stages[8];
	int seats[8][SIM_HOSTS], first[8];
	char names[SIM_HOSTS][2][16];
	struct world_node nodes[SIM_HOSTS]; /* [n_nodes]; node i is on host i + 1 */
	int n_nodes, n_stages;
	struct world_session sessions[WORLD_SESSIONS];
	int n_sessions;
	bool ready, failed, wrong;
	/* how many remarks have had these words; NULL: none were listened for */
	const char *words;
	int n_words;
	int n_hung; /* stages that a node has given up */
	int lost_slots; /* that a node which is gone has not given back */
	struct sherd_error err;
	bool verbose;
	/* for mischief at a certain token */
	void (*on_token)(struct world *w, struct world_session *s);
};

/* @n_stages of @n_nodes; the nodes beyond are spares of every stage. SHERD_VERBOSE: it says more. */
void world_init(struct world *w, uint64_t seed, int n_stages, int n_nodes);
void world_start_node(struct world *w, int node);
void world_kill_node(struct world *w, int node);
/* Dials; sessions that were added are opened when all is ready. */
void world_start_head(struct world *w);
/* The same, and waits for that, or for its failure. */
void world_begin(struct world *w);
/* Its sessions go on where they were when the next head is ready. */
void world_kill_head(struct world *w);
struct world_session *world_add(struct world *w, int n_prompt, int n_tokens);
/* Until all sessions are done or failed, or @us have passed: true if they have. */
bool world_run(struct world *w, uint64_t us);
/* Asserts that all sessions are done within @us, with the right tokens, and that none failed. */
void world_expect_well(struct world *w, uint64_t us);
/* Closes everything, and asserts that nothing is left that should not be. */
void world_end(struct world *w);

#endif
