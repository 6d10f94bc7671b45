/* SPDX-License-Identifier: MIT */
/*
 * sizes: how many bytes each part of a model takes, and which of its layers are alike, from a
 * packed shard of the whole model.
 */
#ifndef SHERD_SIZES_H
#define SHERD_SIZES_H

#include "model/shard.h"
#include "plan/profile.h"

struct sherd_sizes {
	char name[128], arch[32], hash[SHERD_SHA256_HEX];
	int n_layers, hidden, n_vocab, n_ctx_train, bits;
	uint64_t *layer; /* [n_layers]: weights, as they lie in the file */
	uint64_t embed; /* the first stage's besides its layers */
	uint64_t output; /* the last stage's; the embedding too where they are tied */
	uint64_t shared; /* of these two, which a stage that is first and last has once */
	uint8_t *kind_of; /* [n_layers] */
	char (*format)[128]; /* [n_kinds]: of their matrices, for people */
	int n_kinds;
	/*
	 * What an executor takes besides weights, which only infer/ knows: of the KV cache one page
	 * of a layer; of scratch what is always there, and what a row of a step takes. The caller
	 * fills these in.
	 */
	uint64_t kv_page_layer, scratch, scratch_row;
	int kv_page; /* positions */
};

/* @shard holds the whole model; @bits: what it was packed with. Free with sherd_sizes_free(). */
int sherd_sizes_of(struct sherd_sizes **sizes, const struct sherd_shard *shard, int bits,
		   struct sherd_error *err);
void sherd_sizes_free(struct sherd_sizes *s);

#endif
