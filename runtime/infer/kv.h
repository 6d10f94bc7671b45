/* SPDX-License-Identifier: MIT */
/*
 * kv: the KV cache's bookkeeping - how a page is laid out, which pages are free, and how many hold
 * on to each. The pages' bytes belong to the executor; nothing here touches them.
 *
 * A page holds SHERD_PAGE positions of every loaded layer; for each layer and KV head in turn:
 *
 *	K         [head_dim][SHERD_PAGE]	half, int8 or float
 *	K scales  [SHERD_PAGE] floats		int8 only
 *	V         [SHERD_PAGE][head_dim]
 *	V scales  [SHERD_PAGE] floats		int8 only
 *
 * K has positions side by side: 16 scores at a time, and coalesced on a GPU.
 */
#ifndef SHERD_KV_H
#define SHERD_KV_H

#include "infer/exec.h"

struct sherd_kv_shape {
	int n_layers, n_kv_heads, head_dim; /* layers: loaded ones, counted from 0 */
	enum sherd_kv_type type;
};

/*
 * What a score is multiplied with by mixing q and k (num_mix), which int8 does since few dimensions of
 * K are larger than all others, and would take its 8 bits from these. A power of two.
 */
static inline int sherd_kv_mix(const struct sherd_kv_shape *s)
{
	return s->type == SHERD_KV_INT8 ? s->head_dim & -s->head_dim : 1;
}

static inline size_t sherd_kv_elem_bytes(enum sherd_kv_type type)
{
	return type == SHERD_KV_F32 ? 4 : type == SHERD_KV_F16 ? 2 : 1;
}

/* Bytes of K, or of V, of one head in a page, its scales included. */
static inline size_t sherd_kv_side_bytes(const struct sherd_kv_shape *s)
{
	size_t n = (size_t)s->head_dim * SHERD_PAGE * sherd_kv_elem_bytes(s->type);

	return s->type == SHERD_KV_INT8 ? n + SHERD_PAGE * sizeof(float) : n;
}

static inline size_t sherd_kv_shape_page_bytes(const struct sherd_kv_shape *s)
{
	return (size_t)s->n_layers * s->n_kv_heads * 2 * sherd_kv_side_bytes(s);
}

/* Offset in a page of head @head's K in loaded layer @layer; V is sherd_kv_side_bytes() further. */
static inline size_t sherd_kv_offset(const struct sherd_kv_shape *s, int layer, int head)
{
	return ((size_t)layer * s->n_kv_heads + head) * 2 * sherd_kv_side_bytes(s);
}

/* Zeroes what a page holds for positions from @first of it on; @first may be beyond its end. */
void sherd_kv_page_clear(const struct sherd_kv_shape *s, void *page, int first);

/*
 * The pool: page numbers [0, n), a stack of free ones and a count of holders for each. A page is
 * written only by a session that is its one holder.
 */
struct sherd_kv_pool {
	int n_pages, n_free;
	int32_t *free_pages; /* [n_pages]: the first n_free are free */
	uint32_t *refs; /* [n_pages] */
};

int sherd_kv_pool_init(struct sherd_kv_pool *p, int n_pages, struct sherd_error *err);
void sherd_kv_pool_destroy(struct sherd_kv_pool *p);
/* A page with one holder; -1: none is free. */
int32_t sherd_kv_page_take(struct sherd_kv_pool *p);
void sherd_kv_page_hold(struct sherd_kv_pool *p, int32_t page);
void sherd_kv_page_drop(struct sherd_kv_pool *p, int32_t page);

/* A session's page table. */
struct sherd_kv_table {
	int32_t *pages; /* [cap] */
	int n, cap;
};

/* Makes room for @cap pages in the table; takes none. */
int sherd_kv_table_init(struct sherd_kv_table *t, int cap, struct sherd_error *err);
void sherd_kv_table_destroy(struct sherd_kv_table *t, struct sherd_kv_pool *p);
/* Takes pages until positions [0, @n_pos) have one; -ENOSPC leaves the table as it was. */
int sherd_kv_table_grow(struct sherd_kv_table *t, struct sherd_kv_pool *p, int n_pos);
/* Gives back the pages that hold no position below @n_pos. */
void sherd_kv_table_shrink(struct sherd_kv_table *t, struct sherd_kv_pool *p, int n_pos);

/* The first position that a row sees whose last is @last; @window 0: there is none. */
static inline int sherd_first_seen(int last, int window)
{
	return window ? MAX(0, last + 1 - window) : 0;
}

#endif
