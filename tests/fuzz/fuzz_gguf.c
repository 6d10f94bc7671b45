/* SPDX-License-Identifier: MIT */
/*
 * fuzz_gguf: any bytes as a GGUF file. What opens is used as the packer would use it: all values
 * are looked at, the hyper-parameters read, rows of all tensors taken apart. Nothing may crash,
 * leak or read beyond the bytes; how much memory is taken is bounded by the file's size.
 */
#include <stdlib.h>
#include "model/arch.h"
#include "model/quant.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_COLS 4096

static volatile uint8_t sink;

static void use_value(const struct gguf *g, const struct gguf_value *v)
{
	struct gguf_str s;
	char key[64];
	uint64_t i;

	for (i = 0; v->strings && i < v->n; i++)
		if (v->strings[i].len)
			sink ^= (uint8_t)v->strings[i].data[v->strings[i].len - 1];
	for (i = 0; v->kind == GGUF_ARRAY && v->elem != GGUF_ARRAY && !v->strings && i < v->n; i++)
		sink ^= (uint8_t)gguf_elem_int(v, i) ^ (gguf_elem_float(v, i) > 1);
	if (v->key.len >= sizeof(key))
		return;
	memcpy(key, v->key.data, v->key.len);
	key[v->key.len] = '\0';
	if (gguf_find(g, key) != v)
		abort(); /* keys are unique and found */
	if (gguf_get_str(g, key, &s, NULL) == 1 && s.len)
		sink ^= (uint8_t)s.data[s.len - 1];
}

static void use_tensor(const struct gguf_tensor *t)
{
	static float out[MAX_COLS], scale[MAX_COLS / 16], min[MAX_COLS / 16];
	static uint8_t q[MAX_COLS];
	struct sherd_format f;
	size_t bytes;

	if (sherd_quant_format(t->type, 0, &f) || t->dims[0] > MAX_COLS)
		return;
	bytes = t->dims[0] / ggml_block_size(t->type) * ggml_block_bytes(t->type);
	if (!t->data || t->size % bytes)
		abort();
	/* the last row: it ends where the tensor does */
	sherd_dequant_row(t->type, (const char *)t->data + t->size - bytes, t->dims[0], out);
	if (f.group)
		sherd_quant_unpack_row(t->type, t->data, t->dims[0], q, scale,
				       f.min == SHERD_ELEM_NONE ? NULL : min);
	sink ^= out[0] > 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	struct sherd_hparams hp;
	struct gguf *g;
	size_t i;

	if (gguf_open_memory(&g, data, size, "fuzz", &err)) {
		if (!err.msg[0] || g)
			abort(); /* a refusal has a sentence */
		return 0;
	}
	for (i = 0; i < g->n_values; i++)
		use_value(g, &g->values[i]);
	for (i = 0; i < g->n_tensors; i++)
		use_tensor(&g->tensors[i]);
	err.msg[0] = '\0';
	if (sherd_hparams_read(&hp, g, &err) && !err.msg[0])
		abort();
	gguf_close(g);
	return 0;
}
