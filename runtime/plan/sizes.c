/* SPDX-License-Identifier: MIT */
/*
 * sizes: adds up what lies in a shard. Two layers are of one kind when their matrices have the same
 * formats and shapes, slot by slot: then they take the same time on any device. Files with mixed
 * formats (Q4_K_M and its like) have two or three kinds.
 */
#include "plan/sizes.h"

#include <stdio.h>
#include <stdlib.h>

#define FILE_ALIGN 4096 /* planes begin on pages, so that is what they take */

static uint64_t slot_bytes(const struct sherd_shard *s, enum sherd_slot slot, int layer)
{
	const struct sherd_tensor *t = sherd_shard_matrix(s, slot, layer);
	uint32_t rows, cols;

	if (t)
		return ROUND_UP((uint64_t)t->values_size, FILE_ALIGN) +
		       ROUND_UP((uint64_t)t->scales_size, FILE_ALIGN) +
		       ROUND_UP((uint64_t)t->mins_size, FILE_ALIGN);
	if (!sherd_shard_vector(s, slot, layer))
		return 0;
	sherd_slot_shape(&s->hp, slot, &rows, &cols);
	return ROUND_UP((uint64_t)cols * sizeof(float), FILE_ALIGN);
}

static void add_globals(struct sherd_sizes *z, const struct sherd_shard *s)
{
	uint64_t table = slot_bytes(s, SHERD_TOKEN_EMBD, -1);
	bool tied = !sherd_shard_matrix(s, SHERD_OUTPUT, -1);

	z->shared = tied ? table : 0;
	z->embed = table + slot_bytes(s, SHERD_POS_EMBD, -1) + slot_bytes(s, SHERD_ROPE_FREQS, -1);
	z->output = slot_bytes(s, SHERD_OUT_NORM, -1) + slot_bytes(s, SHERD_OUT_NORM_BIAS, -1) +
		    (tied ? table : slot_bytes(s, SHERD_OUTPUT, -1));
}

static bool alike(const struct sherd_shard *s, int a, int b)
{
	for (int slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++) {
		const struct sherd_tensor *x = sherd_shard_matrix(s, slot, a);
		const struct sherd_tensor *y = sherd_shard_matrix(s, slot, b);

		if (!x != !y || (x && memcmp(&x->fmt, &y->fmt, sizeof(x->fmt))) ||
		    !sherd_shard_vector(s, slot, a) != !sherd_shard_vector(s, slot, b))
			return false;
	}
	return true;
}

/* "int4 g32 f16", or what formats there are: "int4 g32 f32 min f32 + int8 g16 f32". */
static void describe(const struct sherd_shard *s, int layer, char *buf, size_t size)
{
	size_t n = 0;

	for (int slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++) {
		const struct sherd_tensor *t = sherd_shard_matrix(s, slot, layer);
		char name[48];

		if (!t)
			continue;
		sherd_format_name(&t->fmt, name, sizeof(name));
		if (!strstr(buf, name) && n < size)
			n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? " + " : "", name);
	}
}

/* The name comes from the file: whatever is not plain ASCII would disturb terminals and JSON. */
static void copy_name(struct sherd_sizes *z, const struct sherd_shard *s)
{
	struct gguf_str name = { "", 0 };
	size_t i;

	gguf_get_str(s->gguf, "sherd.source.name", &name, NULL);
	for (i = 0; i < MIN(name.len, sizeof(z->name) - 1); i++)
		z->name[i] = name.data[i] >= 0x20 && name.data[i] < 0x7f ? name.data[i] : '?';
}

static int add_layers(struct sherd_sizes *z, const struct sherd_shard *s, struct sherd_error *err)
{
	int first_of[SHERD_PROFILE_KINDS];

	for (int l = 0; l < z->n_layers; l++) {
		int k = 0;

		for (int slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++)
			z->layer[l] += slot_bytes(s, slot, l);
		while (k < z->n_kinds && !alike(s, first_of[k], l))
			k++;
		if (k == SHERD_PROFILE_KINDS)
			return sherd_fail(err, -E2BIG, "%s: has more than %d kinds of layers",
					  s->gguf->path, SHERD_PROFILE_KINDS);
		if (k == z->n_kinds) {
			first_of[z->n_kinds++] = l;
			describe(s, l, z->format[k], sizeof(z->format[k]));
		}
		z->kind_of[l] = (uint8_t)k;
	}
	return 0;
}

int sherd_sizes_of(struct sherd_sizes **sizes, const struct sherd_shard *s, int bits,
		   struct sherd_error *err)
{
	struct sherd_sizes *z = sherd_calloc(1, sizeof(*z));
	int n = s->hp.n_layers, rc;

	*sizes = NULL;
	if (!z)
		return sherd_fail_oom(err, sizeof(*z), "a model's sizes");
	z->layer = sherd_calloc((size_t)n, sizeof(*z->layer));
	z->kind_of = sherd_calloc((size_t)n, sizeof(*z->kind_of));
	z->format = sherd_calloc(SHERD_PROFILE_KINDS, sizeof(*z->format));
	if (!z->layer || !z->kind_of || !z->format)
		rc = sherd_fail_oom(err, (size_t)n * sizeof(*z->layer), "a model's sizes");
	else if (s->first_layer || s->end_layer != n || n > SHERD_PLAN_LAYERS)
		rc = sherd_fail(err, -EINVAL,
				"%s: holds layers %d to %d of %d; a plan is made from "
				"the whole model",
				s->gguf->path, s->first_layer, s->end_layer - 1, n);
	else
		rc = 0;
	if (rc)
		goto fail;
	copy_name(z, s);
	snprintf(z->arch, sizeof(z->arch), "%s", s->hp.arch->name);
	memcpy(z->hash, s->source_sha256, sizeof(z->hash));
	z->n_layers = n;
	z->hidden = s->hp.hidden;
	z->n_vocab = s->hp.n_vocab;
	z->n_ctx_train = s->hp.n_ctx_train;
	z->bits = bits;
	add_globals(z, s);
	rc = add_layers(z, s, err);
	if (rc)
		goto fail;
	*sizes = z;
	return 0;
fail:
	sherd_sizes_free(z);
	return rc;
}

void sherd_sizes_free(struct sherd_sizes *s)
{
	if (!s)
		return;
	free(s->layer);
	free(s->kind_of);
	free(s->format);
	free(s);
}
