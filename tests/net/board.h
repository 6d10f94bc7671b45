/* SPDX-License-Identifier: MIT */
/*
 * board: a node with all that is real but the model: sockets of a loop and a thread of its own, stages with
 * theirs (fake_stage.h). For tests of what others do to it over a network.
 */
#ifndef SHERD_TEST_BOARD_H
#define SHERD_TEST_BOARD_H

#include <pthread.h>
#include <semaphore.h>
#include "net/fake_stage.h"
#include "net/loop.h"
#include "net/node.h"

#define BOARD_LAYERS 12 /* of the model that its stages are of */

/* Zeros, but for what a test wants of it. */
struct board {
	/* before board_begin() */
	const char *io; /* the loop's rung; NULL: auto */
	struct sherd_tls_ctx *tls; /* the board's own; NULL: no TLS */
	char name[24];
	char address[64]; /* "": any; then where it listens, in its next life, too */
	struct fake_control control;
	/* the board's */
	bool lives;
	pthread_t thread;
	sem_t there, leave;
	struct sherd_loop *loop;
	struct sherd_error err;
};

/* It listens at its address afterwards; ends the test if it does not. */
void board_begin(struct board *b);
/* Closes its sockets and ends; may begin again. Nothing happens to one that does not live. */
void board_end(struct board *b);

#endif
