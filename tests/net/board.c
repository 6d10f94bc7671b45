/* SPDX-License-Identifier: MIT */
/* board: see board.h. The thread makes the loop that it runs, as loops want it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "net/board.h"

static int get_stage(void *ctx, const struct sherd_stage_spec *spec, struct sherd_stage **stage,
		     struct sherd_error *err)
{
	struct board *b = ctx;
	struct fake_params p = { .spec = *spec,
				 .n_layers = BOARD_LAYERS,
				 .room = (uint32_t)(spec->n_ctx * spec->n_sessions),
				 .control = &b->control,
				 .post = (stage_post_fn)sherd_loop_post,
				 .visit = (stage_post_fn)sherd_loop_visit,
				 .loop = b->loop };

	return fake_stage_new(stage, &p, err);
}

static int open_board(struct board *b, struct sherd_node **node)
{
	const struct sherd_loop_params lp = { .io = b->io, .tls = b->tls };
	struct sherd_node_params np = { .name = b->name, .source = { get_stage, b } };
	char at[64];
	int rc = sherd_loop_create(&b->loop, &lp, &b->err);

	if (rc)
		return rc;
	np.net = &b->loop->net;
	rc = sherd_node_new(node, &np, &b->err);
	snprintf(at, sizeof(at), "%s", b->address[0] ? b->address : "127.0.0.1:0");
	return rc ? rc : sherd_loop_listen(b->loop, at, b->address, &b->err);
}

static void *live(void *arg)
{
	struct sherd_node *node = NULL;
	struct sherd_error err;
	struct board *b = arg;

	b->lives = !open_board(b, &node);
	sem_post(&b->there);
	if (b->lives)
		sherd_loop_run(b->loop, &err);
	sem_wait(&b->leave); /* whoever stops a loop has to have done so before it is freed */
	sherd_node_free(node);
	sherd_loop_free(b->loop);
	return NULL;
}

void board_begin(struct board *b)
{
	sem_init(&b->there, 0, 0);
	sem_init(&b->leave, 0, 0);
	assert_int_equal(pthread_create(&b->thread, NULL, live, b), 0);
	sem_wait(&b->there);
	if (!b->lives)
		fail_msg("%s: %s", b->name, b->err.msg);
}

void board_end(struct board *b)
{
	if (!b->lives)
		return;
	b->control.hang = false;
	sherd_loop_stop(b->loop);
	sem_post(&b->leave);
	pthread_join(b->thread, NULL);
	sem_destroy(&b->there);
	sem_destroy(&b->leave);
	b->lives = false;
}
