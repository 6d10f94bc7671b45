/* SPDX-License-Identifier: MIT */
/*
 * sim_stage: a stage without a model. What a row becomes is a hash of it, of the session, of where
 * it stands and of all rows before it, so that any row lost, doubled, swapped, damaged or given to
 * another session changes all tokens that follow. It computes in virtual time, and can be told to
 * hang, or to refuse.
 */
#ifndef SIM_STAGE_H
#define SIM_STAGE_H

#include "net/sim.h"
#include "net/stage.h"

#define SIM_HIDDEN 24
#define SIM_VOCAB  1000

struct sim_stages {
	struct sim *sim;
	int host, n_layers, n_batch;
	uint32_t room; /* positions; 0: any number */
	uint64_t step_us, row_us, load_us;
	bool hangs; /* steps do not begin */
	bool no_shard; /* loads are refused */
	char bit_profile; /* a digit, repeated */
	struct sim_stage *list;
	int n_stages; /* that exist */
	uint64_t n_rows; /* that were computed, since the beginning */
};

void sim_stages_init(struct sim_stages *s, struct sim *sim, int host, int n_layers);
/* No longer: what should have begun begins. */
void sim_stages_wake(struct sim_stages *s);
/* All that are left, whatever they are doing: their host has died, or the simulation is over. */
void sim_stages_destroy(struct sim_stages *s);
struct sherd_stage_source sim_stages_source(struct sim_stages *s);
int sim_stages_sessions(const struct sim_stages *s);

/* What a run of stages cut at those layers makes of @n tokens: the one that follows. */
int32_t sim_next_token(const int *first, int n_stages, const int32_t *tokens, int n);

#endif
