/* SPDX-License-Identifier: MIT */
/*
 * kv: pages of the KV cache, counted. A session takes pages as it grows and drops them when it is
 * truncated or freed; a page with several holders is free when the last one lets go.
 */
#include <stdlib.h>
#include "infer/kv.h"

size_t sherd_kv_page_bytes(const struct sherd_hparams *hp, int n_layers, enum sherd_kv_type type)
{
	struct sherd_kv_shape s = { n_layers, hp->n_kv_heads, hp->head_dim, type };

	return sherd_kv_shape_page_bytes(&s);
}

void sherd_kv_page_clear(const struct sherd_kv_shape *s, void *page, int first)
{
	size_t elem = sherd_kv_elem_bytes(s->type), side = sherd_kv_side_bytes(s);
	size_t plane = s->head_dim * SHERD_PAGE * elem, rest;
	uint8_t *at = page, *end = at + sherd_kv_shape_page_bytes(s);
	int d;

	if (first >= SHERD_PAGE)
		return;
	rest = SHERD_PAGE - first;
	for (; at < end; at += 2 * side) {
		for (d = 0; d < s->head_dim; d++)
			memset(at + ((size_t)d * SHERD_PAGE + first) * elem, 0, rest * elem);
		memset(at + side + first * s->head_dim * elem, 0, rest * s->head_dim * elem);
		if (s->type != SHERD_KV_INT8)
			continue;
		memset(at + plane + first * sizeof(float), 0, rest * sizeof(float));
		memset(at + side + plane + first * sizeof(float), 0, rest * sizeof(float));
	}
}

int sherd_kv_pool_init(struct sherd_kv_pool *p, int n_pages, struct sherd_error *err)
{
	int i;

	p->free_pages = sherd_calloc(n_pages, sizeof(*p->free_pages));
	p->refs = sherd_calloc(n_pages, sizeof(*p->refs));
	if (!p->free_pages || !p->refs) {
		sherd_kv_pool_destroy(p);
		return sherd_fail_oom(err, n_pages * sizeof(*p->refs), "the KV cache's page list");
	}
	p->n_pages = p->n_free = n_pages;
	for (i = 0; i < n_pages; i++)
		p->free_pages[i] = n_pages - 1 - i; /* the lowest is taken first */
	return 0;
}

void sherd_kv_pool_destroy(struct sherd_kv_pool *p)
{
	free(p->free_pages);
	free(p->refs);
	memset(p, 0, sizeof(*p));
}

int32_t sherd_kv_page_take(struct sherd_kv_pool *p)
{
	int32_t page;

	if (!p->n_free)
		return -1;
	page = p->free_pages[--p->n_free];
	p->refs[page] = 1;
	return page;
}

void sherd_kv_page_hold(struct sherd_kv_pool *p, int32_t page)
{
	p->refs[page]++;
}

void sherd_kv_page_drop(struct sherd_kv_pool *p, int32_t page)
{
	if (--p->refs[page] == 0)
		p->free_pages[p->n_free++] = page;
}

int sherd_kv_table_init(struct sherd_kv_table *t, int cap, struct sherd_error *err)
{
	t->n = 0;
	t->cap = cap;
	t->pages = sherd_calloc(cap, sizeof(*t->pages));
	if (!t->pages)
		return sherd_fail_oom(err, cap * sizeof(*t->pages), "a session's page table");
	return 0;
}

void sherd_kv_table_destroy(struct sherd_kv_table *t, struct sherd_kv_pool *p)
{
	sherd_kv_table_shrink(t, p, 0);
	free(t->pages);
	memset(t, 0, sizeof(*t));
}

int sherd_kv_table_grow(struct sherd_kv_table *t, struct sherd_kv_pool *p, int n_pos)
{
	int want = DIV_ROUND_UP(n_pos, SHERD_PAGE);

	if (want > t->cap || want - t->n > p->n_free)
		return -ENOSPC;
	while (t->n < want)
		t->pages[t->n++] = sherd_kv_page_take(p);
	return 0;
}

void sherd_kv_table_shrink(struct sherd_kv_table *t, struct sherd_kv_pool *p, int n_pos)
{
	int keep = DIV_ROUND_UP(n_pos, SHERD_PAGE);

	while (t->n > keep)
		sherd_kv_page_drop(p, t->pages[--t->n]);
}
