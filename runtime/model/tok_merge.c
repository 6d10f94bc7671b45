/* SPDX-License-Identifier: MIT */
/*
 * tok_merge: neighbours become one, the best pair first, until no pair is left. SPM and BPE differ
 * only in what "best" is. A heap of candidates makes it n log n; candidates whose parts have been
 * merged meanwhile are recognized by their length and dropped.
 */
#include "model/tok.h"

static bool goes_first(const struct tok_cand *a, const struct tok_cand *b)
{
	return a->key < b->key || (a->key == b->key && a->left < b->left);
}

static int heap_push(struct tok_work *w, struct tok_cand c)
{
	struct tok_cand *h = tok_buf_reserve(&w->heap, w->n_heap + 1, sizeof(*h), w->err);
	size_t i = w->n_heap;

	if (!h)
		return -ENOMEM;
	for (w->n_heap++; i && goes_first(&c, &h[(i - 1) / 2]); i = (i - 1) / 2)
		h[i] = h[(i - 1) / 2];
	h[i] = c;
	return 0;
}

static struct tok_cand heap_pop(struct tok_work *w)
{
	struct tok_cand *h = w->heap.data, top = h[0], last = h[--w->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < w->n_heap) {
		if (child + 1 < w->n_heap && goes_first(&h[child + 1], &h[child]))
			child++;
		if (!goes_first(&h[child], &last))
			break;
		h[i] = h[child];
		i = child;
	}
	h[i] = last;
	return top;
}

static int consider(struct tok_work *w, int32_t left, tok_pair_fn pair)
{
	const struct tok_sym *syms = w->syms.data, *l, *r;
	struct tok_cand c = { .left = left };

	if (left < 0 || syms[left].next < 0)
		return 0;
	l = &syms[left];
	r = &syms[l->next];
	c.piece = pair(w, l, r, &c.key);
	c.len = l->len + r->len;
	return c.piece < 0 ? 0 : heap_push(w, c);
}

int tok_merge(struct tok_work *w, size_t n, tok_pair_fn pair)
{
	struct tok_sym *syms = w->syms.data;

	w->n_heap = 0;
	for (size_t i = 0; i + 1 < n; i++)
		if (consider(w, (int32_t)i, pair))
			return -ENOMEM;
	while (w->n_heap) {
		struct tok_cand c = heap_pop(w);
		struct tok_sym *l = &syms[c.left], *r;

		if (!l->len || l->next < 0)
			continue;
		r = &syms[l->next];
		if (l->len + r->len != c.len)
			continue;
		l->len += r->len;
		l->piece = c.piece;
		r->len = 0;
		l->next = r->next;
		if (r->next >= 0)
			syms[r->next].prev = c.left;
		if (consider(w, l->prev, pair) || consider(w, c.left, pair))
			return -ENOMEM;
	}
	return 0;
}
