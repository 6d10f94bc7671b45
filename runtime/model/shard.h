/* SPDX-License-Identifier: MIT */
/*
 * shard: a packed shard, opened: a GGUF container in which every matrix is planes in the packed
 * layout and every vector is F32. What is on disk is what a device reads: nothing is copied here.
 *
 *   general.architecture      "sherd"
 *   sherd.layout_version      u32, refused if unknown
 *   sherd.source.architecture, sherd.source.sha256, sherd.source.name
 *   sherd.layers              u32[2]: [first, end)
 *   sherd.bits                u32: that were asked for, 4 or 8; 0: none were, nothing was lost
 *   <arch>.*                  the source's hyper-parameters, under their own keys
 *   tokenizer.*               in the shards with the first and the last layer
 *   sherd.format.<tensor>     u32[6]: elem, group, scale, min, rows, cols
 *   tensors <tensor>.values, .scales, .mins   I8, one-dimensional, 4096-aligned
 */
#ifndef SHERD_SHARD_H
#define SHERD_SHARD_H

#include "model/arch.h"
#include "model/format.h"

struct sherd_vector {
	const float *data; /* NULL: not there */
	uint32_t n;
};

union sherd_slot_data {
	struct sherd_tensor matrix;
	struct sherd_vector vector;
};

struct sherd_shard {
	struct gguf *gguf;
	struct sherd_hparams hp;
	int first_layer, end_layer, bits;
	union sherd_slot_data global[SHERD_FIRST_LAYER_SLOT]; /* by slot */
	union sherd_slot_data (*layers)[SHERD_N_SLOTS]; /* [end - first], by slot; globals unused */
	uint64_t weight_bytes, token_bytes, n_params;
	char source_sha256[SHERD_SHA256_HEX]; /* of the whole model, whichever layers these are */
};

/* Which slots an architecture's layers [first, end) have, and their shapes (slot.c). */
enum sherd_slot_need { SHERD_SLOT_NEVER, SHERD_SLOT_OPTIONAL, SHERD_SLOT_REQUIRED };
enum sherd_slot_need sherd_slot_need(const struct sherd_hparams *hp, enum sherd_slot slot,
				     int first_layer, int end_layer);
/* Of an expert in a stack of them. */
uint32_t sherd_slot_expert_rows(const struct sherd_hparams *hp, enum sherd_slot slot);
/* Vectors are 1 x n; a stack's rows are all experts', with the padding of each. */
void sherd_slot_shape(const struct sherd_hparams *hp, enum sherd_slot slot, uint32_t *rows,
		      uint32_t *cols);

/*
 * Opens and checks a packed shard: every tensor that the architecture needs is there, in shape, and
 * every scale and vector is finite.
 */
int sherd_shard_open(struct sherd_shard **s, const char *path, struct sherd_error *err);
int sherd_shard_open_fd(struct sherd_shard **s, int fd, const char *name, struct sherd_error *err);
/*
 * From an open GGUF, which is taken over, on failure too. @trusted: this user's packer wrote it, so
 * the scales, which it has checked, are not read again.
 */
int sherd_shard_from_gguf(struct sherd_shard **s, struct gguf *g, bool trusted,
			  struct sherd_error *err);
void sherd_shard_close(struct sherd_shard *s);
/* What a shard says of itself first of all. */
struct sherd_shard_name {
	char source_sha256[SHERD_SHA256_HEX];
	int first_layer, end_layer, bits;
	bool has_tokenizer;
};
/* Reads no weights, and checks none. */
int sherd_shard_peek(const char *path, struct sherd_shard_name *n, struct sherd_error *err);
/* NULL where the slot is empty. @layer is the model's number, ignored for global slots. */
const struct sherd_tensor *sherd_shard_matrix(const struct sherd_shard *s, enum sherd_slot slot,
					      int layer);
const float *sherd_shard_vector(const struct sherd_shard *s, enum sherd_slot slot, int layer);

/* True if the mapped GGUF says it is a packed shard. */
bool sherd_is_shard(const struct gguf *g);

struct sherd_pack_params {
	int bits; /* 0: nothing is lost; 4, 8: as sherd_quant_format() has it */
	int first_layer, end_layer; /* 0, 0: all */
	sherd_progress_fn progress;
	sherd_note_fn note;
	void *ctx;
};

/* What packing one matrix lost: relative RMS error against the source's floats. */
struct sherd_pack_loss {
	char tensor[64];
	char from[16], to[32];
	double rel_rms;
};

struct sherd_pack_report {
	struct sherd_pack_loss *loss; /* one a matrix; free() it */
	size_t n_loss;
	uint64_t bytes_in, bytes_out;
	bool could_be_less; /* quantized matrices would take less room with 4 bits */
};

/* The matrices of one pair of types. */
struct sherd_pack_kind {
	const char *from, *to;
	size_t n;
	double mean; /* relative RMS error */
	const struct sherd_pack_loss *worst;
};

/* *n of them, malloc'd; they point into @r. NULL: no memory. */
struct sherd_pack_kind *sherd_pack_kinds(const struct sherd_pack_report *r, size_t *n);

/* Checks what can be checked without reading weights; *bytes: how large the shard will be. */
int sherd_pack_size(const struct gguf *g, const struct sherd_pack_params *p, uint64_t *bytes,
		    struct sherd_error *err);
/* Packs @g into the open file @fd (a temporary or a memfd). @report may be NULL. */
int sherd_pack(const struct gguf *g, int fd, const char *name, const struct sherd_pack_params *p,
	       struct sherd_pack_report *report, struct sherd_error *err);

/*
 * The shard of @path: itself, if it is one; else from the user's cache, packed there first if need
 * be; else (no_cache, or no room) packed into a memfd, with a note. *in_memory says which.
 */
int sherd_shard_get(struct sherd_shard **s, const char *path, const struct sherd_pack_params *p,
		    bool no_cache, bool *in_memory, struct sherd_error *err);

/*
 * By which model's weights @path is known, as a shard's source_sha256: a shard says it, and so does
 * what the cache has of it, packed as in @p; else all of a file of at most @limit bytes is read.
 * -ENOENT, without a sentence: it is larger.
 */
int sherd_model_hash(const char *path, const struct sherd_pack_params *p, uint64_t limit,
		     char hash[SHERD_SHA256_HEX], struct sherd_error *err);

/* A shard in the user's cache, least recently used first. */
struct sherd_cache_entry {
	char file[48]; /* its name in the cache's folder */
	char source[128]; /* the model's name, as far as it says */
	uint64_t bytes;
	int64_t used_at; /* seconds since 1970 */
	bool in_use;
};

struct sherd_cache_list {
	char *dir;
	uint64_t bytes, limit;
	struct sherd_cache_entry *entries;
	size_t n_entries;
};

/* -ENOENT where no cache can be had. Free with sherd_cache_list_clear(). */
int sherd_cache_list(struct sherd_cache_list *list, struct sherd_error *err);
void sherd_cache_list_clear(struct sherd_cache_list *list);
/* Removes every shard that nobody uses, and what killed processes left. */
int sherd_cache_clear(uint64_t *freed, struct sherd_error *err);

/*
 * A path, an Ollama model name ("llama3.2:1b"), or a Hugging Face cache folder or repo name, to the
 * GGUF file or the folder of safetensors that it means; malloc'd. The sentence on failure says where it looked.
 */
int sherd_resolve_model(const char *name, char **path, struct sherd_error *err);

#endif
