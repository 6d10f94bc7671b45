/* SPDX-License-Identifier: MIT */
/*
 * watch: see watch.h. An alarm, since it needs no thread and no look at the clock while all is well.
 * A step may take ten times as long, a row, as the slowest before it did, and what the limit says at
 * least; the first may take ten seconds a row, and what it takes to read the weights.
 */
#include <signal.h>
#include <string.h>
#include <unistd.h>
#include "base/base.h"
#include "watch.h"

#define PATIENCE  10
#define GUESS_S	  1.0
#define SLOW_CARD 4e6 /* bytes a second */
#define MORE_LOOKS \
	2 /* a second each: after Ctrl-Z the alarm comes first, and then the step goes on */

static const struct watch *watched; /* what the handler knows of the step */
static volatile sig_atomic_t looks, position, limit;

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n;
}

/* Nothing that formats numbers may be called where a signal came. */
static void say_number(unsigned v)
{
	char text[12], *at = text + sizeof(text) - 1;

	*at = '\0';
	do {
		*--at = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	say(at);
}

static void on_alarm(int sig)
{
	(void)sig;
	if (looks++ < MORE_LOOKS) {
		alarm(1);
		return;
	}
	say(watched->tool);
	say(": the step at position ");
	say_number((unsigned)position);
	say(" has been running for ");
	say_number((unsigned)limit);
	say(" s: the device seems to hang; dmesg may say why, --device cpu does without it");
	say(watched->option ? ", and --step-limit waits longer\n" : "\n");
	sherd_leftovers_remove();
	_exit(1);
}

void watch_model(struct watch *w, const struct sherd_model_info *info)
{
	if (!strncmp(info->device, "reference", strlen("reference")))
		w->limit_s = 0;
	w->load_s = (double)info->weight_bytes / SLOW_CARD;
}

void watch_begin(struct watch *w, int rows, int pos)
{
	double row = w->slowest > 0 ? w->slowest : GUESS_S;
	double least = w->slowest > 0 ? w->limit_s : w->limit_s + w->load_s;
	double due = MAX(PATIENCE * row * rows, least);
	unsigned seconds = (unsigned)MIN(due, 1e6);

	if (!w->limit_s)
		return;
	w->began = sherd_now();
	w->rows = rows;
	looks = 0;
	position = pos;
	limit = (int)seconds;
	if (!watched)
		signal(SIGALRM, on_alarm);
	watched = w;
	alarm(MAX(seconds, 1 + MORE_LOOKS) - MORE_LOOKS);
}

void watch_end(struct watch *w)
{
	if (!w->limit_s)
		return;
	alarm(0);
	w->slowest = MAX(w->slowest, (sherd_now() - w->began) / w->rows);
}
