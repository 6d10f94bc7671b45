/* SPDX-License-Identifier: MIT */
/*
 * node: a board's side of the protocol (Documentation/protocol.rst). It serves stages to any number
 * of runs; each run is commanded by its head over one link, and has the links to the stages before
 * and behind. It decides nothing: which layers, who is next, when somebody is lost - the head says.
 */
#ifndef SHERD_NODE_H
#define SHERD_NODE_H

#include "net/net.h"
#include "net/profiler.h"
#include "net/slots.h"
#include "net/stage.h"
#include "net/store.h"

struct sherd_node;
struct json_t;

struct sherd_node_params {
	struct sherd_net *net;
	const char *name;
	const char *head; /* with TLS: whose certificate may command; NULL: "head" */
	struct sherd_stage_source source;
	struct sherd_store *store; /* takes shards; NULL: none are taken */
	/* to send rows from; NULL: ordinary memory. The ring is the loop's, too. */
	struct sherd_slots *slots;
	struct sherd_profiler *profiler; /* measures the node; NULL: it is not measured */
	uint64_t lease_us; /* so long a run outlives its head; 0: 60 s */
	int max_runs; /* 0: 16 */
	/*
	 * A step that takes so long, and ten times what is due, is one that never ends: @hung is
	 * told, of each stage once, and may well end the process. NULL: it is waited for.
	 */
	uint64_t hung_us;
	void (*hung)(void *ctx, const char *sentence);
	/* Remarks for a log; may be NULL. */
	sherd_note_fn note;
	void *ctx;
};

/* @p's strings must outlive the node. net->accepted becomes the node's. */
int sherd_node_new(struct sherd_node **n, const struct sherd_node_params *p,
		   struct sherd_error *err);
/* A step takes longer than it should: who waits for its stage may wait for ever. */
bool sherd_node_overdue(const struct sherd_node *n);
/*
 * Hangs up on everybody, and waits for the stages' jobs at hand. Stages and profiler must not call
 * back any more.
 */
void sherd_node_free(struct sherd_node *n);
/* Sessions that are open, of all runs. */
int sherd_node_sessions(const struct sherd_node *n);
/*
 * How things are, for `sherd status`: runs, stages, sessions, queues, links. A new reference; NULL:
 * no memory.
 */
struct json_t *sherd_node_status(const struct sherd_node *n);

#endif
