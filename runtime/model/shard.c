/* SPDX-License-Identifier: MIT */
/*
 * shard: opens packed shards. A shard may come from anywhere, so everything that an executor will
 * rely on is checked here, once: layout version, formats against the architecture's shapes, planes'
 * sizes and alignment, finite scales. After that nobody checks again.
 */
#include "model/shard.h"

#include <stdio.h>
#include <stdlib.h>

#define ALIGNMENT 4096

struct loader {
	struct sherd_shard *s;
	const struct gguf *g;
	bool trusted;
};

bool sherd_is_shard(const struct gguf *g)
{
	struct gguf_str arch;

	return gguf_get_str(g, "general.architecture", &arch, NULL) == 1 &&
	       gguf_str_eq(arch, "sherd");
}

static union sherd_slot_data *slot_data(const struct sherd_shard *s, enum sherd_slot slot,
					int layer)
{
	if (slot < SHERD_FIRST_LAYER_SLOT)
		return (union sherd_slot_data *)&s->global[slot];
	if (layer < s->first_layer || layer >= s->end_layer)
		return NULL;
	return &s->layers[layer - s->first_layer][slot];
}

const struct sherd_tensor *sherd_shard_matrix(const struct sherd_shard *s, enum sherd_slot slot,
					      int layer)
{
	const union sherd_slot_data *d = slot_data(s, slot, layer);

	return d && !sherd_slot_is_vector(slot) && d->matrix.values ? &d->matrix : NULL;
}

const float *sherd_shard_vector(const struct sherd_shard *s, enum sherd_slot slot, int layer)
{
	const union sherd_slot_data *d = slot_data(s, slot, layer);

	return d && sherd_slot_is_vector(slot) ? d->vector.data : NULL;
}

/* --------------------------------------------------------------------- matrices */

static int load_plane(const struct loader *l, const char *matrix, const char *plane,
		      enum sherd_elem e, size_t size, const void **data, struct sherd_error *err)
{
	const struct gguf_tensor *t;
	char name[96];

	*data = NULL;
	if (!size)
		return 0;
	snprintf(name, sizeof(name), "%s.%s", matrix, plane);
	t = gguf_tensor(l->g, name);
	if (!t)
		return sherd_fail(err, -EINVAL, "%s: tensor %s is missing", l->g->path, name);
	if (t->type != GGML_I8 || t->size != size)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s has %llu bytes of %s; its format record calls for "
				  "%zu of I8",
				  l->g->path, name, (unsigned long long)t->size,
				  ggml_type_name(t->type), size);
	if (t->offset % ALIGNMENT || (uintptr_t)t->data % ALIGNMENT)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s begins at byte %llu, no multiple of %d",
				  l->g->path, name, (unsigned long long)t->offset, ALIGNMENT);
	if (!l->trusted && !sherd_all_finite(e, t->data, size))
		return sherd_fail(err, -EINVAL, "%s: tensor %s holds a NaN or an infinity",
				  l->g->path, name);
	*data = t->data;
	return 0;
}

static int read_record(const struct loader *l, const char *name, const struct gguf_value *v,
		       struct sherd_format *f, struct sherd_error *err)
{
	uint32_t u[6];
	size_t i;

	if (v->kind != GGUF_ARRAY || v->elem != GGUF_U32 || v->n != ARRAY_SIZE(u))
		return sherd_fail(err, -EINVAL, "%s: sherd.format.%s is not an array of 6 u32",
				  l->g->path, name);
	for (i = 0; i < ARRAY_SIZE(u); i++)
		u[i] = gguf_elem_int(v, i);
	*f = (struct sherd_format){
		.elem = u[0], .group = u[1], .scale = u[2], .min = u[3], .rows = u[4], .cols = u[5]
	};
	if (sherd_format_check(f, name, err))
		return sherd_fail_prefix(err, -EINVAL, "%s", l->g->path);
	return 0;
}

static bool is_embedding(enum sherd_slot slot)
{
	return slot == SHERD_TOKEN_EMBD || slot == SHERD_POS_EMBD;
}

/* A token reads no more of an embedding than its row, and of a stack the experts that it uses. */
static void count_matrix(struct sherd_shard *s, enum sherd_slot slot, const struct sherd_tensor *t)
{
	const struct sherd_hparams *hp = &s->hp;
	uint64_t bytes = (uint64_t)t->values_size + t->scales_size + t->mins_size;
	uint64_t rows = t->fmt.rows, read = bytes;

	if (sherd_slot_is_experts(slot)) {
		rows = (uint64_t)hp->n_experts * sherd_slot_expert_rows(hp, slot);
		read = bytes / hp->n_experts * hp->n_used;
	}
	s->weight_bytes += bytes;
	s->token_bytes += is_embedding(slot) ? 0 : read;
	s->n_params += rows * t->fmt.cols;
}

/* 1: there, 0: not there. */
static int load_matrix(const struct loader *l, enum sherd_slot slot, const char *name,
		       struct sherd_tensor *t, struct sherd_error *err)
{
	const struct gguf_value *v;
	uint32_t rows, cols;
	char key[96];
	int ret;

	snprintf(key, sizeof(key), "sherd.format.%s", name);
	v = gguf_find(l->g, key);
	if (!v)
		return 0;
	ret = read_record(l, name, v, &t->fmt, err);
	if (ret)
		return ret;
	sherd_slot_shape(&l->s->hp, slot, &rows, &cols);
	if (t->fmt.rows != rows || t->fmt.cols != cols)
		return sherd_fail(
			err, -EINVAL,
			"%s: %s is %u rows x %u columns; the hyper-parameters call for %u x %u",
			l->g->path, name, t->fmt.rows, t->fmt.cols, rows, cols);
	sherd_format_sizes(&t->fmt, &t->values_size, &t->scales_size, &t->mins_size);
	ret = load_plane(l, name, "values", t->fmt.elem, t->values_size, &t->values, err);
	if (!ret)
		ret = load_plane(l, name, "scales", t->fmt.scale, t->scales_size, &t->scales, err);
	if (!ret)
		ret = load_plane(l, name, "mins", t->fmt.min, t->mins_size, &t->mins, err);
	if (ret)
		return ret;
	count_matrix(l->s, slot, t);
	return 1;
}

static int load_vector(const struct loader *l, enum sherd_slot slot, const char *name,
		       struct sherd_vector *vec, struct sherd_error *err)
{
	const struct gguf_tensor *t = gguf_tensor(l->g, name);
	uint32_t rows, n;

	if (!t)
		return 0;
	sherd_slot_shape(&l->s->hp, slot, &rows, &n);
	if (t->type != GGML_F32 || t->size != (uint64_t)n * sizeof(float) || t->dims[0] != n)
		return sherd_fail(
			err, -EINVAL,
			"%s: tensor %s has %llu elements of %s; the hyper-parameters call for "
			"%u of F32",
			l->g->path, name, (unsigned long long)t->dims[0], ggml_type_name(t->type),
			n);
	if (t->offset % ALIGNMENT || (uintptr_t)t->data % ALIGNMENT)
		return sherd_fail(err, -EINVAL,
				  "%s: tensor %s begins at byte %llu, no multiple of %d",
				  l->g->path, name, (unsigned long long)t->offset, ALIGNMENT);
	if (!l->trusted && !sherd_all_finite(SHERD_ELEM_F32, t->data, t->size))
		return sherd_fail(err, -EINVAL, "%s: tensor %s holds a NaN or an infinity",
				  l->g->path, name);
	vec->data = t->data;
	vec->n = n;
	l->s->n_params += n;
	return 1;
}

static int load_slot(const struct loader *l, enum sherd_slot slot, int layer,
		     struct sherd_error *err)
{
	union sherd_slot_data *d = slot_data(l->s, slot, layer);
	enum sherd_slot_need need =
		sherd_slot_need(&l->s->hp, slot, l->s->first_layer, l->s->end_layer);
	char name[64];
	int ret;

	if (need == SHERD_SLOT_NEVER)
		return 0;
	sherd_slot_name(slot, layer, name, sizeof(name));
	if (sherd_slot_is_vector(slot))
		ret = load_vector(l, slot, name, &d->vector, err);
	else
		ret = load_matrix(l, slot, name, &d->matrix, err);
	if (!ret && need == SHERD_SLOT_REQUIRED)
		return sherd_fail(err, -EINVAL, "%s: %s is missing; a %s model can't do without it",
				  l->g->path, name, l->s->hp.arch->name);
	return MIN(ret, 0);
}

/* Either the whole or each of its parts, not both. */
static int check_stack(const struct loader *l, const struct sherd_stack *stack, int layer,
		       struct sherd_error *err)
{
	int slot, have = 0, want = stack->last - stack->first + 1;
	char name[64];

	if (sherd_slot_need(&l->s->hp, stack->whole, layer, layer + 1) == SHERD_SLOT_NEVER)
		return 0;
	for (slot = stack->first; slot <= (int)stack->last; slot++)
		have += !!sherd_shard_matrix(l->s, slot, layer);
	if (have == (sherd_shard_matrix(l->s, stack->whole, layer) ? 0 : want))
		return 0;
	sherd_slot_name(stack->whole, layer, name, sizeof(name));
	return sherd_fail(err, -EINVAL, "%s: has neither %s nor all its parts, or both", l->g->path,
			  name);
}

static int load_layer(const struct loader *l, int layer, struct sherd_error *err)
{
	int slot, i, ret = 0;

	for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS && !ret; slot++)
		ret = load_slot(l, slot, layer, err);
	for (i = 0; i < SHERD_N_STACKS && !ret; i++)
		ret = check_stack(l, &sherd_stacks[i], layer, err);
	return ret;
}

static int load_globals(const struct loader *l, struct sherd_error *err)
{
	struct sherd_shard *s = l->s;
	const struct sherd_tensor *embd = &s->global[SHERD_TOKEN_EMBD].matrix;
	int slot, ret = 0;

	for (slot = 0; slot < SHERD_FIRST_LAYER_SLOT && !ret; slot++)
		ret = load_slot(l, slot, -1, err);
	if (ret || s->end_layer != s->hp.n_layers || s->hp.arch->encoder ||
	    s->global[SHERD_OUTPUT].matrix.values)
		return ret;
	if (!embd->values)
		return sherd_fail(err, -EINVAL,
				  "%s: has neither output.weight nor token_embd.weight",
				  l->g->path);
	/* tied: the output projection reads the embedding */
	s->token_bytes += (uint64_t)embd->values_size + embd->scales_size + embd->mins_size;
	return 0;
}

/* ----------------------------------------------------------------------- header */

static int check_version(const struct gguf *g, struct sherd_error *err)
{
	int64_t version = -1;
	int ret;

	if (!sherd_is_shard(g))
		return sherd_fail(
			err, -EINVAL,
			"%s: is not a packed shard; make one of it: sherd pack MODEL -o SHARD",
			g->path);
	ret = gguf_get_int(g, "sherd.layout_version", 0, UINT32_MAX, &version, err);
	if (ret < 0)
		return ret;
	if (version != SHERD_LAYOUT_VERSION)
		return sherd_fail(err, -EPROTONOSUPPORT,
				  "%s: has layout version %lld, this program reads %d; repack it: "
				  "sherd pack MODEL -o SHARD",
				  g->path, (long long)version, SHERD_LAYOUT_VERSION);
	return 0;
}

/* Every layer has tensors of its own, so a range longer than their number is a lie. */
static int read_layers(struct sherd_shard *s, const struct gguf *g, struct sherd_error *err)
{
	const struct gguf_value *v = gguf_find(g, "sherd.layers");
	int64_t first, end;

	if (!v || v->kind != GGUF_ARRAY || v->elem != GGUF_U32 || v->n != 2)
		return sherd_fail(err, -EINVAL, "%s: sherd.layers is not an array of 2 u32",
				  g->path);
	first = gguf_elem_int(v, 0);
	end = gguf_elem_int(v, 1);
	if (first >= end || end > s->hp.n_layers || (uint64_t)(end - first) > g->n_tensors)
		return sherd_fail(err, -EINVAL,
				  "%s: says it holds layers [%lld, %lld) of a model of %d, in %zu "
				  "tensors",
				  g->path, (long long)first, (long long)end, s->hp.n_layers,
				  g->n_tensors);
	s->first_layer = first;
	s->end_layer = end;
	return 0;
}

static int read_header(struct sherd_shard *s, const struct gguf *g, struct sherd_error *err)
{
	struct gguf_str sha = { 0 };
	int64_t bits = 0;
	int ret = check_version(g, err);

	if (!ret)
		ret = sherd_hparams_read(&s->hp, g, err);
	if (!ret)
		ret = read_layers(s, g, err);
	if (ret)
		return ret;
	ret = gguf_get_str(g, "sherd.source.sha256", &sha, err);
	if (ret < 0)
		return ret;
	if (sha.len != SHERD_SHA256_HEX - 1)
		return sherd_fail(err, -EINVAL, "%s: sherd.source.sha256 is not 64 digits",
				  g->path);
	memcpy(s->source_sha256, sha.data, sha.len);
	ret = gguf_get_int(g, "sherd.bits", 0, 8, &bits, err); /* shards of before had none */
	s->bits = (int)bits;
	return MIN(ret, 0);
}

int sherd_shard_peek(const char *path, struct sherd_shard_name *n, struct sherd_error *err)
{
	struct sherd_shard s = { 0 };
	struct gguf *g;
	int ret = gguf_open(&g, path, err);

	if (ret)
		return ret;
	ret = sherd_is_shard(g) ? read_header(&s, g, err) :
				  sherd_fail(err, -EINVAL, "%s: is no shard", path);
	memcpy(n->source_sha256, s.source_sha256, sizeof(n->source_sha256));
	n->first_layer = s.first_layer;
	n->end_layer = s.end_layer;
	n->bits = s.bits;
	n->has_tokenizer = gguf_find(g, "tokenizer.ggml.model");
	gguf_close(g);
	return ret;
}

static int load(const struct loader *l, struct sherd_error *err)
{
	struct sherd_shard *s = l->s;
	int layer, n, ret = read_header(s, l->g, err);

	if (ret)
		return ret;
	n = s->end_layer - s->first_layer;
	s->layers = sherd_calloc(n, sizeof(*s->layers));
	if (!s->layers)
		return sherd_fail_oom(err, n * sizeof(*s->layers), "a shard's layers");
	ret = load_globals(l, err);
	for (layer = s->first_layer; layer < s->end_layer && !ret; layer++)
		ret = load_layer(l, layer, err);
	return ret;
}

int sherd_shard_from_gguf(struct sherd_shard **shard, struct gguf *g, bool trusted,
			  struct sherd_error *err)
{
	struct sherd_shard *s = sherd_calloc(1, sizeof(*s));
	struct loader l = { .s = s, .g = g, .trusted = trusted };
	int ret;

	if (!s) {
		gguf_close(g);
		return sherd_fail_oom(err, sizeof(*s), "a shard");
	}
	s->gguf = g;
	sherd_map_large_pages(&g->map);
	ret = load(&l, err);
	if (ret) {
		sherd_shard_close(s);
		return ret;
	}
	*shard = s;
	return 0;
}

int sherd_shard_open(struct sherd_shard **s, const char *path, struct sherd_error *err)
{
	struct gguf *g;
	int ret = gguf_open(&g, path, err);

	return ret ? ret : sherd_shard_from_gguf(s, g, false, err);
}

int sherd_shard_open_fd(struct sherd_shard **s, int fd, const char *name, struct sherd_error *err)
{
	struct gguf *g;
	int ret = gguf_open_fd(&g, fd, name, err);

	return ret ? ret : sherd_shard_from_gguf(s, g, false, err);
}

void sherd_shard_close(struct sherd_shard *s)
{
	if (!s)
		return;
	free(s->layers);
	gguf_close(s->gguf);
	free(s);
}
