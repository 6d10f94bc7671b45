/* SPDX-License-Identifier: MIT */
/*
 * gguf_edit: a copy of a GGUF file with one thing changed, for tests of what readers refuse. A
 * tensor whose type or shape changes is zeros; everything else stays as it was.
 */
#ifndef GGUF_EDIT_H
#define GGUF_EDIT_H

#include "model/gguf.h"

struct gguf_edit {
	const char *drop_tensor, *drop_value;	   /* left out */
	const char *tensor;			   /* the one that changes: */
	const char *name;			   /* its new name */
	int type_plus_1;			   /* its new type */
	uint64_t dims[2];			   /* its new shape */
	const void *poke;			   /* bytes that replace some of its own, */
	size_t poke_size, poke_at;		   /* how many and where */
	const char *add_tensor;			   /* F32, 32 zeros */
	const char *set_u32, *set_array, *set_str; /* keys that get a new value: */
	uint32_t u32, array[6];
	int n_array;
	const char *str;
	uint32_t alignment; /* 0: as it was */
};

/* The path of a new temporary file, malloc'd: unlink() and free() it. */
char *gguf_edit_write(const char *path, const struct gguf_edit *e);

#endif
