/* SPDX-License-Identifier: MIT */
/*
 * tokenizer: text to ids and back, from a GGUF's tokenizer.ggml.* metadata. The calls are
 * in sherd.h.
 */
#ifndef SHERD_TOKENIZER_H
#define SHERD_TOKENIZER_H

#include "model/gguf.h"

/* Copies what it needs: @g may be closed afterwards. -ENOENT where @g has no tokenizer. */
int sherd_tokenizer_from_gguf(struct sherd_tokenizer **tok, const struct gguf *g,
			      struct sherd_error *err);
/* "SPM (llama)", "BPE (qwen2)", "WordPiece": for sherd info. */
const char *sherd_tokenizer_describe(const struct sherd_tokenizer *tok);

#endif
