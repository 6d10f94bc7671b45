/* SPDX-License-Identifier: MIT */
/*
 * leftover: files that must not outlive this process: unfinished ones, and locks. The library
 * catches no signals; a program that does calls sherd_leftovers_remove() from its handler. That may
 * happen at any moment and in any thread: so the paths lie in fixed places, which are never freed.
 */
#include <limits.h>
#include <stdatomic.h>
#include <unistd.h>
#include "base/base.h"

#define N_PLACES 16 /* a process writes a file or two at a time */

enum state { FREE, CHANGING, HELD };

static struct {
	_Atomic int state;
	char path[PATH_MAX];
} places[N_PLACES];

static bool take(int i, int from)
{
	return atomic_compare_exchange_strong(&places[i].state, &from, CHANGING);
}

void sherd_leftover_add(const char *path)
{
	int i;

	for (i = 0; i < N_PLACES && strlen(path) < PATH_MAX; i++) {
		if (!take(i, FREE))
			continue;
		strcpy(places[i].path, path);
		places[i].state = HELD;
		return;
	}
}

void sherd_leftover_drop(const char *path)
{
	int i;

	/* who added it is the only one to drop it: a path that is equal stays so */
	for (i = 0; i < N_PLACES; i++)
		if (places[i].state == HELD && !strcmp(places[i].path, path) && take(i, HELD))
			places[i].state = FREE;
}

void sherd_leftovers_remove(void)
{
	int i;

	for (i = 0; i < N_PLACES; i++)
		if (take(i, HELD))
			unlink(places[i].path);
}
