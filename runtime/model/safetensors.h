/* SPDX-License-Identifier: MIT */
/*
 * safetensors: reads the header of a safetensors file: eight bytes of length, JSON that says each
 * tensor's type, shape and place, then the bytes. The file is mapped; nothing that it claims is
 * used before it is checked. Format: https://github.com/huggingface/safetensors
 */
#ifndef SHERD_SAFETENSORS_H
#define SHERD_SAFETENSORS_H

#include "model/gguf.h"

struct st_tensor {
	char *name;
	char dtype[16];	     /* as the file has it */
	enum ggml_type type; /* GGML_TYPE_MAX: none that sherd reads */
	int n_dims;
	uint64_t dims[GGUF_MAX_DIMS]; /* the contiguous one last, as the file has them; then 1 */
	const uint8_t *data;
	size_t size;
	bool used; /* for whoever goes through them */
};

struct safetensors {
	struct sherd_map map;	   /* fd -1: none, or somebody has taken it over */
	struct st_tensor *tensors; /* by name */
	size_t n;
};

#define SAFETENSORS_TYPES "F32, F16 and BF16"

/* Free with safetensors_close(), after a failure too. */
int safetensors_open(struct safetensors *s, const char *path, struct sherd_error *err);
/* From memory that outlives @s (fuzzing, tests). */
int safetensors_parse(struct safetensors *s, const void *data, size_t size, const char *name,
		      struct sherd_error *err);
void safetensors_close(struct safetensors *s);

#endif
