/* SPDX-License-Identifier: MIT */
/*
 * head: the side of the protocol that has the plan, the prompts and the tokens. It commands the
 * nodes, feeds the first stage token ids and hears from the last one the next token. When a node is
 * lost, it gives the stage to a spare, or to the same node when that is back, begins a new epoch,
 * and journals do the rest: the tokens are those of an undisturbed run. When nobody can take the
 * stage, sessions fail within the deadline, with a sentence.
 */
#ifndef SHERD_HEAD_H
#define SHERD_HEAD_H

#include "net/message.h"

struct sherd_head;

struct sherd_head_node {
	const char *name, *address;
};

struct sherd_head_stage {
	int first, end; /* layers */
	const int *nodes; /* [n_nodes]: who may serve it; the first one does as long as it can */
	int n_nodes;
};

struct sherd_head_params {
	struct sherd_net *net;
	/* drawn at random for each run: who knows it may command the run's stages */
	char run[SHERD_RUN_ID];
	char model[SHERD_SHA256_HEX];
	int bits;
	const struct sherd_head_node *nodes;
	const struct sherd_head_stage *stages;
	int n_nodes, n_stages;
	int n_ctx, n_sessions, n_batch; /* of every stage */
	enum sherd_kv_type kv;
	int chunk; /* rows of a prompt that go through a stage together */
	int window; /* rows that may wait at a stage; 0: four chunks */
	bool inexact; /* go on with a node of another bit profile: other tokens may come */
	/* microseconds; 0: as said */
	uint64_t ping_us; /* 200,000 */
	uint64_t lost_us; /* silence after which a node is lost: 1,000,000 */
	uint64_t deadline_us; /* without progress: 30,000,000 */
	/* so long nodes keep the sessions of a head that is gone: as the nodes like */
	uint64_t lease_us;
	uint64_t request_us; /* a session's whole time, from its first tokens on: no limit */
	uint64_t load_us; /* for loading weights: 600,000,000 */
	/* From the loop, never from within a call. */
	void (*ready)(void *ctx); /* all stages are there; called once */
	/*
	 * The token at @position (n: after n rows) is drawn: sherd_head_feed() or
	 * sherd_head_close()
	 */
	void (*token)(void *ctx, uint64_t session, uint32_t position, int32_t token);
	/* Session 0: all, and the head is of no use any more. */
	void (*failed)(void *ctx, uint64_t session, const struct sherd_error *why);
	sherd_note_fn note; /* nodes lost and found; may be NULL */
	void *ctx;
};

/* @p's strings and arrays must outlive the head. Dials at once. */
int sherd_head_new(struct sherd_head **h, const struct sherd_head_params *p,
		   struct sherd_error *err);
/* Ends all sessions; nodes are told. */
void sherd_head_free(struct sherd_head *h);

/*
 * A session: @s->max positions, @s->params with at least the cuts that the plan has. Its number is
 * in *id. Rows go as soon as the stages are ready.
 */
int sherd_head_open(struct sherd_head *h, const struct sherd_stage_session *s, uint64_t *id,
		    struct sherd_error *err);
/*
 * Tokens behind those so far; the one after the last of them is wanted. -ENOSPC beyond the
 * session's maximum, -ETIME after its time.
 */
int sherd_head_feed(struct sherd_head *h, uint64_t id, const int32_t *tokens, int n,
		    struct sherd_error *err);
void sherd_head_close(struct sherd_head *h, uint64_t id);

/* What is known of the stages, for tables: the last PONG's. */
struct sherd_head_status {
	const char *node; /* that serves it; NULL: none */
	struct sherd_progress progress;
	uint64_t at; /* when it came, by the net's clock */
};
void sherd_head_stage_status(const struct sherd_head *h, int stage, struct sherd_head_status *s);
/* Stages that were given to another node, or to the same anew. */
int sherd_head_recoveries(const struct sherd_head *h);
/* The stages' shape, once ready. */
void sherd_head_shape(const struct sherd_head *h, int *n_layers, int *hidden,
		      const char **bit_profile);

#endif
