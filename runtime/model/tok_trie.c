/* SPDX-License-Identifier: MIT */
/*
 * tok_trie: which tokens does a text begin with? All edges of the trie lie in one hash table,
 * keyed by the node that they leave and the byte on them: small, quick to build, and a step is
 * one look-up.
 */
#include <stdlib.h>
#include "model/tok.h"

#define EDGES_MAX (1u << 24) /* 256 MiB */

static uint32_t edge_hash(uint32_t from, uint8_t byte)
{
	uint64_t h = ((uint64_t)from << 8 | byte) * 0x9e3779b97f4a7c15ull;

	return (uint32_t)(h >> 32);
}

/* The edge, or the free place (to == 0) where it belongs. */
static struct tok_edge *edge_slot(const struct tok_trie *t, uint32_t from, uint8_t byte)
{
	uint32_t i = edge_hash(from, byte) & t->mask;

	while (t->edges[i].to && (t->edges[i].from != from || t->edges[i].byte != byte))
		i = (i + 1) & t->mask;
	return &t->edges[i];
}

const struct tok_edge *tok_trie_step(const struct tok_trie *t, uint32_t node, uint8_t byte)
{
	const struct tok_edge *e = edge_slot(t, node, byte);

	return e->to ? e : NULL;
}

static int make_room(struct tok_trie *t, struct sherd_error *err)
{
	struct tok_edge *old = t->edges;
	size_t n_old = old ? (size_t)t->mask + 1 : 0, n = n_old ? n_old * 2 : 256;

	if ((size_t)t->n * 2 < n_old)
		return 0;
	if (n > EDGES_MAX)
		return sherd_fail(err, -E2BIG,
				  "the tokens have more bytes than an index of them may take");
	t->edges = sherd_calloc(n, sizeof(*t->edges));
	if (!t->edges) {
		t->edges = old;
		return sherd_fail_oom(err, n * sizeof(*t->edges), "the tokens' index");
	}
	t->mask = (uint32_t)(n - 1);
	for (size_t i = 0; i < n_old; i++)
		if (old[i].to)
			*edge_slot(t, old[i].from, old[i].byte) = old[i];
	free(old);
	return 0;
}

static int add_text(struct tok_trie *t, const char *text, size_t len, int32_t id,
		    struct sherd_error *err)
{
	struct tok_edge *e = NULL;
	uint32_t node = 0;

	for (size_t i = 0; i < len; i++) {
		if (make_room(t, err))
			return -ENOMEM;
		e = edge_slot(t, node, (uint8_t)text[i]);
		if (!e->to)
			*e = (struct tok_edge){ node, ++t->n, -1, (uint8_t)text[i] };
		node = e->to;
	}
	if (e && e->id < 0)
		e->id = id;
	return 0;
}

int tok_trie_build(struct tok_trie *t, const struct tok_vocab *v, int32_t n, uint32_t attrs,
		   struct sherd_error *err)
{
	int ret = make_room(t, err);

	for (int32_t id = 0; id < n && !ret; id++)
		if (v->pieces[id].attr & attrs)
			ret = add_text(t, tok_text(v, id), v->pieces[id].len, id, err);
	return ret;
}

int32_t tok_trie_longest(const struct tok_trie *t, const struct tok_vocab *v, const char *text,
			 size_t len, uint32_t but)
{
	const struct tok_edge *e;
	uint32_t node = 0;
	int32_t best = -1;

	for (size_t i = 0; i < len && (e = tok_trie_step(t, node, (uint8_t)text[i])); i++) {
		node = e->to;
		if (e->id >= 0 && !(v->pieces[e->id].attr & but))
			best = e->id;
	}
	return best;
}
