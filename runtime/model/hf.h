/* SPDX-License-Identifier: MIT */
/*
 * hf: presents a Hugging Face folder as the GGUF that a converter would have made of it: hyper-
 * parameters from config.json, tensors from safetensors under GGUF's names and in its order of
 * rows, the tokenizer from whichever files there are. Nothing is converted on disk, and no matrix
 * is copied: rows are put together when the packer asks for them (gguf_row()).
 *
 * hf.c is the way in; hf_family.c the table of families, hf_config.c and hf_rope.c read config.json,
 * hf_tensors.c maps tensors; hf_tok.c and the others of that name are the tokenizer. Nobody but source.c
 * includes this.
 */
#ifndef SHERD_HF_H
#define SHERD_HF_H

#include <jansson.h>
#include "model/safetensors.h"

int sherd_hf_open(struct gguf **g, const char *dir, struct sherd_error *err);

/* ------------------------------------------------------------- families (hf_family.c) */

enum hf_how {
	HF_ROTATED_Q = 1 << 0,	/* rows of query heads: halves that rotate together become pairs */
	HF_ROTATED_K = 1 << 1,	/* the same of key heads */
	HF_TRANSPOSED = 1 << 2, /* matrices are stored as [inputs][outputs] */
	HF_EXPERT = 1 << 3,	/* the second number is an expert's: they are stacked */
	HF_IGNORED = 1 << 4,	/* with all that it begins, where its name ends in a dot */
	HF_GROUPED = 1 << 5,	/* rows of q, k and v stand by groups of heads that share k and v */
	HF_HEAD_OF_Q = 1 << 6,	/* the second number is a head's: their vectors follow each other */
	HF_HEAD_OF_K = 1 << 7,
	HF_PARTS = HF_EXPERT | HF_HEAD_OF_Q | HF_HEAD_OF_K,
};

/* Names without their ".weight" or ".bias"; a * is a number. What has one is a layer's. */
struct hf_name {
	const char *hf, *gguf;
	unsigned how;
};

/* SHARE: of a head's width; RSQRT: one divided by the square root */
enum hf_kind { HF_INT, HF_FLOAT, HF_SHARE, HF_RSQRT, HF_BOOL };

struct hf_key {
	const char *hf, *gguf; /* config.json's, and GGUF's without the architecture */
	enum hf_kind kind;
	bool needed;
	double neutral; /* what a file means that does not have it; NAN: nothing is written */
};

#define HF_TABLES    3
#define HF_MAX_HEADS 4096
#define HF_POOLING "1_Pooling/config.json" /* what is read of a folder within the folder */

struct hf_family {
	const char *types;			/* model_type, separated by spaces */
	const char *arch;			/* general.architecture */
	const struct hf_name *names[HF_TABLES]; /* the first that has it; each ends with a NULL */
	const struct hf_key *keys[HF_TABLES];
	const char *acts;	   /* the activations that the architecture's row means */
	bool norms_from_one;	   /* what is added to 1 is stored */
	bool window;		   /* sliding_window holds as it is */
	/* keys: the row is for files where they are so */
	const char *only_if_false, *only_if_true;
	const char *flag;	   /* of GGUF, true for all of the row */
};

/* By its model_type; NULL: unknown. */
const struct hf_family *hf_family_find(const json_t *config);
bool hf_has_word(const char *words, const char *word); /* separated by spaces */
const char *hf_family_types(void);		       /* all, comma separated, for messages */

/* ---------------------------------------------------------------------- the folder */

struct hf {
	const char *dir;
	struct sherd_error *err;
	json_t *root, *config; /* config: root, or its text_config */
	const struct hf_family *family;
	struct safetensors *files;
	size_t n_files;
	struct gguf_writer *w; /* what the metadata goes to */
	int64_t n_rows;	       /* of the embedding */
	int n_layers, n_heads, n_kv_heads, head_dim, n_experts;
	json_t *stacks; /* of tensors that are parts of others: the numbers of these, by name */
	struct {
		const char *name;
		float *data; /* NULL: there is none */
	} rope[2];	     /* tensors [head_dim / 2] that RoPE's scaling needs: divisors */
	int rope_dim;
};

/*
 * A file of the folder as JSON, of at most @limit bytes. *j is NULL where there is no such file,
 * which is an error only if @needed.
 */
int hf_json(const struct hf *hf, const char *file, size_t limit, bool needed, json_t **j);
char *hf_path(const struct hf *hf, const char *file); /* NULL and a sentence: no memory */
bool hf_has(const struct hf *hf, const char *file);

/* A key that is null is one that is not there: NULL. */
const json_t *hf_get(const json_t *j, const char *key);
const char *hf_text(const json_t *j, const char *key); /* "" where there is none */
/* "<architecture>.@name", in @buf */
const char *hf_arch_key(const struct hf *hf, const char *name, char buf[96]);
/* What a key of the family's tables gives, by GGUF's name for it; 0 if there is none. */
double hf_value(const struct hf *hf, const char *gguf);
/* transformers 5 keeps everything about RoPE in an object of its own, or in one a kind of layers. */
const json_t *hf_rope_of(const struct hf *hf, const char *layers);

/* Reads config.json and finds the family. */
int hf_config_load(struct hf *hf);
/* Writes the hyper-parameters to hf->w. */
int hf_config_put(struct hf *hf);

/* Writes those of RoPE (hf_rope.c), and keeps divisors in hf->rope. */
int hf_rope_put(struct hf *hf);

/* Opens the safetensors files and finds the embedding. */
int hf_tensors_open(struct hf *hf);
/* Gives @g its tensors, and the files. */
int hf_tensors_map(struct hf *hf, struct gguf *g);

/* Writes tokenizer.* to hf->w, if the folder has one. */
int hf_tok_put(struct hf *hf);

#endif
