/* SPDX-License-Identifier: MIT */
/*
 * watch: see watch.h. An alarm, since it needs no thread and no look at the clock while all is well.
 * A step may take ten times as long, a row, as the slowest before it did, and what the limit says at
 * least; the first may take ten seconds a row, as a slow board that compiles does not.
 */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "watch.h"

#define PATIENCE  10
#define GUESS_S	  1.0
#define MORE_LOOKS 2 /* a second each: after Ctrl-Z the alarm comes first, and then the step goes on */

static char sentence[256];
static volatile sig_atomic_t looks;

static void on_alarm(int sig)
{
	ssize_t n;

	(void)sig;
	if (looks++ < MORE_LOOKS) {
		alarm(1);
		return;
	}
	n = write(STDERR_FILENO, sentence, strlen(sentence));
	(void)n;
	sherd_leftovers_remove();
	_exit(1);
}

void watch_begin(struct watch *w, int rows, int pos)
{
	double row = w->slowest > 0 ? w->slowest : GUESS_S;
	double due = MAX(PATIENCE * row * rows, (double)w->limit_s);
	unsigned seconds = (unsigned)MIN(due, 1e6);

	if (!w->limit_s)
		return;
	snprintf(sentence, sizeof(sentence),
		 "%s: the step at position %d has been running for %u s: the device seems to hang; "
		 "dmesg may say why, --device cpu does without it, and --step-limit waits longer\n",
		 w->tool, pos, seconds);
	w->began = sherd_now();
	w->rows = rows;
	looks = 0;
	signal(SIGALRM, on_alarm);
	alarm(MAX(seconds, 1 + MORE_LOOKS) - MORE_LOOKS);
}

void watch_end(struct watch *w)
{
	if (!w->limit_s)
		return;
	alarm(0);
	w->slowest = MAX(w->slowest, (sherd_now() - w->began) / w->rows);
}
