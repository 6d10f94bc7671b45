/* SPDX-License-Identifier: MIT */
/*
 * info: what `sherd info` found out about a file (info.c), and how that is shown (info_report.c).
 */
#ifndef SHERD_TOOL_INFO_H
#define SHERD_TOOL_INFO_H

#include "infer/ops.h"
#include "tool.h"

/* A tensor of the file; in a packed shard a matrix, whose planes are several tensors there. */
struct info_tensor {
	char name[96];	 /* fit for a terminal and for JSON */
	char format[48]; /* "Q4_K", "int4 g32 f16" */
	int n_dims;
	uint64_t dims[GGUF_MAX_DIMS];
	uint64_t params, bytes;
};

#define INFO_FORMATS 32 /* more than there are; a file may claim any number */

/* All tensors of one format; the last one takes what is left over. */
struct info_format {
	const char *name;
	size_t n_tensors;
	uint64_t params, bytes;
};

struct info {
	const char *model; /* as it was asked for */
	int n_ctx, bits;   /* options; n_ctx 0: the default */
	bool list_tensors, json;

	char *path;
	struct gguf *g;
	struct sherd_shard *shard; /* NULL: a plain GGUF file */
	char arch[64], name[128];
	bool known; /* hp holds: the architecture is supported */
	struct sherd_hparams hp;
	int first_layer, end_layer;
	struct sherd_error why_not; /* the sentence with which it is refused; "": it can be run */

	struct info_tensor *tensors;
	size_t n_tensors;
	struct info_format formats[INFO_FORMATS]; /* by bytes, falling */
	size_t n_formats;
	uint64_t n_params, weight_bytes;

	/* if it can be run: memory at n_ctx */
	struct sherd_forms forms; /* of activations, that its matmuls read */
	uint64_t packed_bytes, token_bytes, kv_f16, kv_int8, scratch;

	struct sherd_tokenizer *tok; /* NULL: none, or none that sherd reads: tok_why says which */
	struct sherd_error tok_why;
};

void info_print(const struct info *in);
/* TOOL_OK or TOOL_FAILED. */
int info_print_json(const struct info *in);

#endif
