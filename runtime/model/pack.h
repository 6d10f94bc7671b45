/* SPDX-License-Identifier: MIT */
/*
 * pack: what stands between deciding what a shard holds (pack_plan.c, every check of the source) and
 * writing it (pack.c). Private to these two; the way in is sherd_pack() in shard.h.
 */
#ifndef SHERD_PACK_H
#define SHERD_PACK_H

#include "model/quant.h"
#include "model/shard.h"

#define SHERD_PACK_PARTS 3

/* One matrix or vector of the shard, and the source tensors whose rows (or elements) it stacks. */
struct sherd_pack_item {
	char name[64];
	bool vector;
	int n_parts;
	const struct gguf_tensor *part[SHERD_PACK_PARTS]; /* NULL: zeros (a bias that is not there) */
	uint32_t part_rows[SHERD_PACK_PARTS]; /* vectors: elements */
	struct sherd_format fmt; /* vectors: F32, 1 x n */
};

struct sherd_pack_plan {
	const struct gguf *g;
	struct sherd_hparams hp;
	int bits, first_layer, end_layer;
	struct sherd_pack_item *items;
	size_t n_items, room;
	uint64_t bytes_in;
};

/* Free with sherd_pack_plan_clear(), after a failure too. */
int sherd_pack_plan_make(struct sherd_pack_plan *plan, const struct gguf *g,
			 const struct sherd_pack_params *p, struct sherd_error *err);
void sherd_pack_plan_clear(struct sherd_pack_plan *plan);

static inline bool sherd_type_is_float(enum ggml_type t)
{
	return t == GGML_F32 || t == GGML_F16 || t == GGML_BF16;
}

#endif
