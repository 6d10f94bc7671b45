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
/* The first question goes, and its answer. False: it is the only one. */
bool talk_forget(struct talk *t);
/* All questions and answers go. */
void talk_clear(struct talk *t);

int talk_save(const struct talk *t, const char *path, struct sherd_error *err);
/* What was there is kept if the file is none of ours. */
int talk_load(struct talk *t, const char *path, struct sherd_error *err);

#endif
