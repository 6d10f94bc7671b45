/* SPDX-License-Identifier: MIT */
/*
 * ask: questions to a node, one at a time, over a link that stays: what it can do (`sherd plan`),
 * what its links are worth, how it is doing. A node that measures itself for a minute goes on
 * answering PINGs, so silence means that it is gone.
 *
 *	head				node
 *	HELLO measure	->
 *			<-		WELCOME
 *	COMMAND profile, probe-link or status ->
 *			<-		REPLY
 *	...
 */
#ifndef SHERD_ASK_H
#define SHERD_ASK_H

#include "net/message.h"

struct sherd_ask;

struct sherd_ask_params {
	struct sherd_net *net;
	const char *name, *address; /* of the node */
	/*
	 * The answer, a JSON object, which is the receiver's from now on; more may be asked from
	 * within.
	 */
	void (*answered)(void *ctx, struct json_t *answer);
	/* Once, and nothing comes after it. */
	void (*ended)(void *ctx, const struct sherd_error *why);
	void *ctx;
};

/* Dials at once. The strings must outlive it. */
int sherd_ask_new(struct sherd_ask **a, const struct sherd_ask_params *params,
		  struct sherd_error *err);
/* At any time, from within ended() and answered() too. */
void sherd_ask_free(struct sherd_ask *a);

/*
 * STATUS, PROFILE or PROBE_LINK, when nothing else waits for its answer; goes out when the node has
 * greeted. @with, the question's part, is taken over.
 */
void sherd_ask(struct sherd_ask *a, enum sherd_command_kind kind, struct json_t *with,
	       uint64_t patience_us);

/* Whether an answer is an error: its sentence, fit to be shown. */
bool sherd_answer_failed(const struct json_t *answer, struct sherd_error *why);
/* PROBE_LINK's part, and what its answer says. */
struct json_t *sherd_ask_link(const char *name, const char *address);
int sherd_answer_link(struct json_t *answer, double *mbit, double *rtt_us, struct sherd_error *err);

#endif
