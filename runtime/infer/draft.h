/* SPDX-License-Identifier: MIT */
/*
 * draft: what the files of speculative decoding share. draft.c guesses tokens and has the model check
 * them; ngram.c guesses from a text itself; pace.c decides how many guesses pay, from measured
 * times. The way in is sherd_draft_new() in sherd.h.
 */
#ifndef SHERD_DRAFT_H
#define SHERD_DRAFT_H

#include "base/base.h"

#define SHERD_DRAFT_MAX 64 /* guesses that a step checks */

/*
 * The end of tokens [n] stood before: what followed there, the longest such end and of these the
 * latest. As long as @max: what runs out of the text goes on as it began. 0: nothing like it.
 */
int sherd_ngram_guess(const int32_t *tokens, int n, int32_t *guess, int max);

/* How many guesses pay. What this decides changes the speed and never a token. */
struct sherd_pace {
	int n_max;
	int most;    /* for now: begins small, and doubles where all guesses are right */
	bool always; /* n_max each time, whatever it costs */
	double step_s[SHERD_DRAFT_MAX + 2]; /* of so many rows; 0: not known */
	/* so many rows have been computed before; [0]: a token has been guessed */
	bool warm[SHERD_DRAFT_MAX + 2];
	double guess_s;		/* of one guessed token */
	double accepted, tried; /* guesses of late; what is older counts for less */
	int since_plain;	/* steps since one without guesses */
	int wait, waited; /* plain steps until guesses are tried again, while they do not pay */
};

void sherd_pace_init(struct sherd_pace *p, int n_max, bool always);
/* For the next step. */
int sherd_pace_length(struct sherd_pace *p);
/* @n tokens were guessed in so many seconds. */
void sherd_pace_guessed(struct sherd_pace *p, int n, double seconds);
/*
 * A step with @n guesses took so many seconds, and the first @accepted were right. False: it was the
 * first with so many rows, whose time says nothing.
 */
bool sherd_pace_checked(struct sherd_pace *p, int n, int accepted, double seconds);

#endif
