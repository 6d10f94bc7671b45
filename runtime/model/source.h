/* SPDX-License-Identifier: MIT */
/*
 * source: whatever a model's weights come in, opened as one GGUF: a file of that kind, the parts of
 * a split one, or a Hugging Face folder (hf.h). Who packs, describes or tokenizes a model does not
 * see the difference.
 */
#ifndef SHERD_SOURCE_H
#define SHERD_SOURCE_H

#include "model/gguf.h"

/* @path: as sherd_resolve_model() gives it. */
int sherd_source_open(struct gguf **g, const char *path, struct sherd_error *err);
/*
 * Text that changes when the model does: names, sizes, times and inodes of all the files that
 * sherd_source_open() reads. Nothing is read. NULL and a sentence: one can't be looked at.
 */
char *sherd_source_identity(const char *path, struct sherd_error *err);
/* Whether @path is one of the files that @g was opened from. */
bool sherd_source_has(const struct gguf *g, const char *path);

#endif
