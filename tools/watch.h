/* SPDX-License-Identifier: MIT */
/*
 * watch: ends the process, with a sentence, when a step never ends: drivers hang, and a thread that
 * waits for one can't be called back. Time in which the process itself stood still does not count.
 */
#ifndef SHERD_TOOL_WATCH_H
#define SHERD_TOOL_WATCH_H

#include "sherd.h"

#define WATCH_DEFAULT_S 60

struct watch {
	const char *tool; /* "sherd run" */
	int limit_s;	  /* the least that a step may take; 0: for ever */
	double load_s;	  /* and the first one, which may read all weights from a slow card */
	bool option;	  /* the tool has --step-limit */
	double slowest;	  /* seconds a row, so far */
	double began;
	int rows;
};

/* What computes, and with how many bytes: plain C is slow, and never hangs. */
void watch_model(struct watch *w, const struct sherd_model_info *info);
/* A step of @rows rows, the first of them at @pos, begins; ends. */
void watch_begin(struct watch *w, int rows, int pos);
void watch_end(struct watch *w);

#endif
