/* SPDX-License-Identifier: MIT */
/*
 * infer: what model.c, session.c and step.c share: the two objects behind sherd.h, and the sampler.
 */
#ifndef SHERD_INFER_H
#define SHERD_INFER_H

#include "infer/kv.h"
#include "infer/sampler.h"

/* The arrays of struct sherd_work, sized for n_batch rows once. */
struct sherd_step_scratch {
	int32_t *tokens, *pos, *last, *item, *item_row, *wanted; /* [n_batch (+ 1)] */
	const uint64_t **cut_layers; /* [n_batch] */
	uint8_t *wire; /* [n_batch] */
	bool *wired; /* [n_batch] */
	void **out; /* [n_batch] */
	float *hidden; /* [n_batch][hidden], made when first needed */
	int32_t *pages; /* [pages_cap], grown when needed */
	size_t pages_cap;
};

struct sherd_model {
	struct sherd_model_info info;
	struct sherd_shard *shard;
	struct sherd_program *program;
	struct sherd_exec *exec;
	struct sherd_kv_pool pool;
	struct sherd_kv_shape kv; /* of the pool's pages */
	struct sherd_tokenizer *tokenizer;
	struct sherd_step_scratch scratch;
	struct sherd_candidate *candidates; /* [n_vocab], the sampler's */
	uint64_t n_steps; /* marks the sessions of a batch */
	struct sherd_region *region; /* that the shard's pages are */
	char *path, *name, *refused;
	bool in_memory;
};

struct sherd_session {
	struct sherd_model *model;
	struct sherd_sampler_params sampler;
	struct sherd_kv_table table;
	/*
	 * Positions that each loaded layer has seen. They differ only while a caller takes rows
	 * through the layers in several ranges.
	 */
	int *layer_pos;
	int32_t *tokens; /* [n_ctx]: the history, -1 where only hidden rows were given */
	int n_tokens;
	uint64_t *cuts; /* bitmap of layers; NULL: no cuts */
	enum sherd_wire wire;
	uint64_t in_step;
};

int sherd_step_scratch_init(struct sherd_step_scratch *s, int n_batch, struct sherd_error *err);
void sherd_step_scratch_destroy(struct sherd_step_scratch *s);

/*
 * A step's out may lie in @ring, which must outlive the model: a device that can share it writes
 * there itself. Failing is no harm: it is copied to, then.
 */
int sherd_model_use_ring(struct sherd_model *m, struct sherd_region *ring, struct sherd_error *err);

/* The furthest position of any layer: pages up to here hold something. */
int sherd_session_reach(const struct sherd_session *s);

#endif
