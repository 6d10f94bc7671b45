/* SPDX-License-Identifier: MIT */
/*
 * pack: what the packer's four files share: pack_plan.c decides what a shard holds and checks the
 * source, pack_rows.c transcodes, pack.c writes what is around, pack_report.c says what was lost.
 * The way in is sherd_pack() in shard.h.
 */
#ifndef SHERD_PACK_H
#define SHERD_PACK_H

#include <pthread.h>
#include <stdatomic.h>
#include "model/quant.h"
#include "model/shard.h"

#define SHERD_PACK_PARTS 3

/* One matrix or vector of the shard, and the source tensors whose rows (or elements) it stacks. */
struct sherd_pack_item {
	char name[64];
	bool vector;
	int n_parts;
	/* NULL: zeros (a bias that is not there) */
	const struct gguf_tensor *part[SHERD_PACK_PARTS];
	uint32_t part_rows[SHERD_PACK_PARTS]; /* vectors: elements; of a stack: an expert's */
	/* 0: no stack; each expert has expert_rows of all parts, then padding to whole row blocks */
	uint32_t n_experts, expert_rows;
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

/* Where an item's planes begin in the file. */
struct sherd_pack_place {
	uint64_t values, scales, mins;
};

struct sherd_pack_error {
	double err2, ref2; /* sums of squares: of what was lost, of what there was */
};

struct sherd_packer {
	struct sherd_pack_plan plan;
	const struct sherd_pack_params *params;
	int fd;
	const char *name;
	struct sherd_pack_place *place; /* [n_items] */
	uint64_t size; /* of the file */
	char hash[SHERD_SHA256_HEX];

	pthread_mutex_t lock; /* what follows */
	size_t item; /* the next run of row blocks: of this item, */
	uint32_t block; /* from this one on */
	uint64_t done;
	struct sherd_pack_error *lost; /* [n_items] */
	int ret;
	struct sherd_error err;
	atomic_bool stop;
};

/* Writes every item to its place and takes the hash; what went wrong is in @p->ret and @p->err. */
void sherd_pack_rows(struct sherd_packer *p);
int sherd_pack_write(const struct sherd_packer *p, const void *data, size_t size, uint64_t offset,
		     struct sherd_error *err);

/* The hash of the whole of @g, all of which is read; *stop: it will not be wanted. */
int sherd_pack_hash(const struct gguf *g, const atomic_bool *stop, char hash[SHERD_SHA256_HEX],
		    struct sherd_error *err);

/* Fills @report from what was measured; its loss is malloc'd. */
int sherd_pack_report_make(const struct sherd_packer *p, struct sherd_pack_report *report,
			   struct sherd_error *err);

/* Whether matrices in @a and @b are stored alike, whatever their shapes. */
static inline bool sherd_format_alike(const struct sherd_format *a, const struct sherd_format *b)
{
	return a->elem == b->elem && a->group == b->group && a->scale == b->scale &&
	       a->min == b->min;
}

static inline bool sherd_type_is_float(enum ggml_type t)
{
	return t == GGML_F32 || t == GGML_F16 || t == GGML_BF16;
}

#endif
