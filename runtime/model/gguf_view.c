/* SPDX-License-Identifier: MIT */
/*
 * gguf_view: tensors that lie elsewhere than in one GGUF file: the maps and the memory that they
 * need, and rows that are put together on their way out. A matrix is never copied as a whole, so
 * that what is larger than the memory can be packed all the same.
 */
#include <stdlib.h>
#include "model/gguf.h"

struct gguf_owned {
	struct gguf_owned *next;
	max_align_t data[];
};

void *gguf_own(struct gguf *g, size_t size)
{
	struct gguf_owned *o = NULL;

	if (sherd_add_ok(size, sizeof(*o), &size))
		o = sherd_calloc(1, size);
	if (!o)
		return NULL;
	o->next = g->owned;
	g->owned = o;
	return o->data;
}

void gguf_disown(struct gguf *g)
{
	struct gguf_owned *o, *next;

	for (o = g->owned; o; o = next) {
		next = o->next;
		free(o);
	}
	g->owned = NULL;
}

int gguf_add_map(struct gguf *g, struct sherd_map map, struct sherd_error *err)
{
	struct sherd_map *more = realloc(g->more, (g->n_more + 1) * sizeof(*more));

	if (!more) {
		sherd_map_close(&map);
		return sherd_fail_oom(err, (g->n_more + 1) * sizeof(*more), g->path);
	}
	g->more = more;
	g->more[g->n_more++] = map;
	return 0;
}

int gguf_set_tensors(struct gguf *g, struct gguf_tensor *tensors, size_t n, struct sherd_error *err)
{
	free(g->tensors);
	g->tensors = tensors;
	g->n_tensors = n;
	return gguf_index_tensors(g, err);
}

uint64_t gguf_file_bytes(const struct gguf *g)
{
	uint64_t bytes = g->map.size;
	size_t i;

	for (i = 0; i < g->n_more; i++)
		bytes += g->more[i].size;
	return bytes;
}

/* ------------------------------------------------------------------------- rows */

size_t gguf_row_bytes(const struct gguf_tensor *t)
{
	unsigned block = ggml_block_size(t->type);

	return block ? (size_t)t->dims[0] / block * ggml_block_bytes(t->type) : 0;
}

/*
 * Where in groups of q's heads, one of k and one of v a row is that comes out among all heads of q,
 * then of k, then of v.
 */
static uint64_t in_groups(const struct gguf_view *v, uint64_t i)
{
	uint64_t q = v->q_heads, head = i / v->head_dim, group, place;
	uint64_t n = v->part_rows / v->head_dim / (q + 2);

	if (head < n * q) {
		group = head / q;
		place = head % q;
	} else {
		group = (head - n * q) % n;
		place = q + (head - n * q) / n;
	}
	return (group * (q + 2) + place) * v->head_dim + i % v->head_dim;
}

/* Where the row (or element) that comes out as number @i of a part is stored. */
static uint64_t stored_at(const struct gguf_view *v, uint64_t i)
{
	uint64_t r;

	if (v->q_heads)
		return in_groups(v, i);
	if (!v->pairs)
		return i;
	r = i % v->pairs;
	return i - r + r % 2 * (v->pairs / 2) + r / 2;
}

static float load_float(enum ggml_type type, const uint8_t *p)
{
	uint16_t h;
	float f;

	if (type == GGML_F32) {
		memcpy(&f, p, sizeof(f));
		return f;
	}
	memcpy(&h, p, sizeof(h));
	return type == GGML_F16 ? sherd_f16_to_f32(h) : sherd_bf16_to_f32(h);
}

static void put_vector(const struct gguf_view *v, uint64_t n, float *out)
{
	size_t each = ggml_block_bytes(v->type);
	uint64_t i;

	for (i = 0; i < n; i++)
		out[i] = load_float(v->type, v->part[i / v->part_rows] +
						     stored_at(v, i % v->part_rows) * each) +
			 v->add;
}

static void put_column(const struct gguf_tensor *t, uint64_t column, uint8_t *out)
{
	size_t each = ggml_block_bytes(t->type), stride = (size_t)t->dims[1] * each;
	const uint8_t *from = t->view->part[0] + column * each;
	uint64_t i;

	/* sizes that the compiler knows: this is a load and a store */
	for (i = 0; i < t->dims[0]; i++, from += stride, out += each)
		if (each == 2)
			memcpy(out, from, 2);
		else
			memcpy(out, from, 4);
}

const void *gguf_row(const struct gguf_tensor *t, uint64_t row, void *buf)
{
	const struct gguf_view *v = t->view;
	size_t bytes = gguf_row_bytes(t);

	if (!v)
		return (const uint8_t *)t->data + row * bytes;
	if (t->n_dims == 1)
		put_vector(v, t->dims[0], buf);
	else if (v->transposed)
		put_column(t, row, buf);
	else
		memcpy(buf, v->part[row / v->part_rows] + stored_at(v, row % v->part_rows) * bytes,
		       bytes);
	return buf;
}
