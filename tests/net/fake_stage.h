/* SPDX-License-Identifier: MIT */
/*
 * fake_stage: a stage without a model, on the real queue with its real thread. What a row becomes
 * is a hash of it, of its token, of where it stands, of the stage's layers and of all rows of the
 * session before it: a row that is lost, doubled, swapped, damaged or given to another session
 * changes every token that follows. Rows look like a wire's, and sherd_wire_decode() takes them.
 */
#ifndef FAKE_STAGE_H
#define FAKE_STAGE_H

#include <stdatomic.h>
#include "stage_queue.h"

#define FAKE_HIDDEN 40
#define FAKE_VOCAB  1000

/* What a test may change at any time; it must outlive the stages. */
struct fake_control {
	atomic_bool hang; /* steps do not end before it is false again, or the stage is put */
	atomic_bool refuse; /* loads and sessions */
	atomic_bool fail; /* each step's items */
	atomic_uint row_us; /* that a row takes */
};

struct fake_params {
	struct sherd_stage_spec spec;
	int n_layers;
	uint32_t room; /* positions of all sessions */
	struct fake_control *control;
	stage_post_fn post, visit; /* visit may be NULL */
	void *loop;
};

int fake_stage_new(struct sherd_stage **stage, const struct fake_params *p,
		   struct sherd_error *err);

/* The token after @n tokens of a session with @seed, by stages that begin at those layers. */
int32_t fake_next_token(const int *first, int n_stages, enum sherd_wire wire, uint64_t seed,
			const int32_t *tokens, int n);

#endif
