/* SPDX-License-Identifier: MIT */
/*
 * talk: the messages of a conversation: the system prompt, if there is one, and then questions and
 * answers in turn. As a file it is JSON.
 */
#ifndef SHERD_TALK_H
#define SHERD_TALK_H

#include "tool.h"

struct talk {
	struct sherd_message *v; /* [n], malloc'd texts */
	int n, room;
};

void talk_free(struct talk *t);
/* 1 with a system prompt, else 0: the first question is there. */
int talk_first(const struct talk *t);
/* All take copies; false: no memory. */
bool talk_add(struct talk *t, const char *role, const char *content);
bool talk_system(struct talk *t, const char *content); /* "": none any more */
/* The last question goes, and its answer. False: there is none. */
bool talk_undo(struct talk *t);
/* The last answer goes, so that there is another one to the question. False: there is no question. */
bool talk_reopen(struct talk *t);
/* How many tokens the prompt of messages [n] has; negative: nobody can say. */
typedef int (*talk_length_fn)(void *ctx, const struct sherd_message *v, int n);
/*
 * How many of the oldest turns, which are a question and its answer, are too many: without them a prompt
 * has at most @most tokens, and with one of them it has more. The last question is never one of them.
 * Asks @length a few times, for many turns as for few; negative: what @length said.
 */
int talk_surplus(const struct talk *t, int most, talk_length_fn length, void *ctx);
/* The talk without its @k oldest turns: *v is malloc'd, the texts are the talk's. -1: no memory. */
int talk_rest(const struct talk *t, int k, struct sherd_message **v);
/* The @k oldest turns go. */
void talk_forget(struct talk *t, int k);
/* All questions and answers go. */
void talk_clear(struct talk *t);

/* The talk as JSON, malloc'd; NULL: no memory, or a message that is no UTF-8. */
char *talk_text(const struct talk *t);
/* And back. What was there is kept if the text, or file, is none of ours; @name is for messages. */
int talk_parse(struct talk *t, const char *text, size_t size, const char *name,
	       struct sherd_error *err);
int talk_save(const struct talk *t, const char *path, struct sherd_error *err);
int talk_load(struct talk *t, const char *path, struct sherd_error *err);

#endif
