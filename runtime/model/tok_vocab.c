/* SPDX-License-Identifier: MIT */
/*
 * tok_vocab: pieces of text and their ids. All texts lie in one arena and the hash table holds no
 * pointers, so that a quarter of a million tokens load in a few allocations.
 */
#include <stdlib.h>
#include "model/tok.h"

#define ARENA_MAX  (UINT32_MAX / 2)
#define PIECES_MAX (INT32_MAX / 4)

static uint32_t hash_bytes(const char *text, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (uint8_t)text[i]) * 0x100000001b3ull;
	return (uint32_t)(h ^ (h >> 32));
}

/* The slot of this text, or the free one where it belongs. */
static uint32_t slot_of(const struct tok_vocab *v, uint32_t hash, const char *text, size_t len)
{
	uint32_t i = hash & v->mask;

	for (; v->slots[i].id >= 0; i = (i + 1) & v->mask) {
		const struct tok_piece *p;

		if (v->slots[i].hash != hash)
			continue;
		p = &v->pieces[v->slots[i].id];
		if (p->len == len && !memcmp(v->arena + p->off, text, len))
			break;
	}
	return i;
}

static int make_slots(struct tok_vocab *v, size_t n_slots, struct sherd_error *err)
{
	struct tok_slot *old = v->slots;
	size_t n_old = old ? (size_t)v->mask + 1 : 0;

	v->slots = sherd_calloc(n_slots, sizeof(*v->slots));
	if (!v->slots) {
		v->slots = old;
		return sherd_fail_oom(err, n_slots * sizeof(*v->slots), "the vocabulary's index");
	}
	v->mask = (uint32_t)(n_slots - 1);
	memset(v->slots, 0xff, n_slots * sizeof(*v->slots));
	for (size_t i = 0; i < n_old; i++) {
		uint32_t j = old[i].hash & v->mask;

		if (old[i].id < 0)
			continue;
		while (v->slots[j].id >= 0)
			j = (j + 1) & v->mask;
		v->slots[j] = old[i];
	}
	free(old);
	return 0;
}

int tok_vocab_init(struct tok_vocab *v, size_t n_hint, struct sherd_error *err)
{
	size_t n_slots = 256;

	while (n_slots / 2 < n_hint && n_slots < (1u << 28))
		n_slots *= 2;
	return make_slots(v, n_slots, err);
}

void tok_vocab_free(struct tok_vocab *v)
{
	free(v->arena);
	free(v->pieces);
	free(v->slots);
	memset(v, 0, sizeof(*v));
}

int32_t tok_vocab_find(const struct tok_vocab *v, const char *text, size_t len)
{
	if (!len || len > v->max_len)
		return -1;
	return v->slots[slot_of(v, hash_bytes(text, len), text, len)].id;
}

static int make_room(struct tok_vocab *v, size_t len, struct sherd_error *err)
{
	if (v->n >= PIECES_MAX || len > ARENA_MAX - v->arena_len)
		return sherd_fail(err, -E2BIG, "the vocabulary is too big: %u tokens, %zu bytes",
				  v->n, v->arena_len);
	if (v->arena_len + len > v->arena_cap) {
		size_t cap = MAX(v->arena_cap * 2, v->arena_len + len + 4096);
		char *arena = realloc(v->arena, cap);

		if (!arena)
			return sherd_fail_oom(err, cap, "the vocabulary");
		v->arena = arena;
		v->arena_cap = cap;
	}
	if (v->n == v->cap) {
		uint32_t cap = MAX(v->cap * 2, 1024u);
		struct tok_piece *pieces = realloc(v->pieces, cap * sizeof(*pieces));

		if (!pieces)
			return sherd_fail_oom(err, cap * sizeof(*pieces), "the vocabulary");
		v->pieces = pieces;
		v->cap = cap;
	}
	if ((size_t)v->used * 2 > v->mask)
		return make_slots(v, ((size_t)v->mask + 1) * 2, err);
	return 0;
}

int32_t tok_vocab_add(struct tok_vocab *v, const char *text, size_t len, struct sherd_error *err)
{
	uint32_t hash = hash_bytes(text, len), slot;
	int32_t id = (int32_t)v->n;
	int ret = make_room(v, len, err);

	if (ret)
		return ret;
	slot = slot_of(v, hash, text, len);
	if (len && v->slots[slot].id < 0) {
		v->slots[slot] = (struct tok_slot){ hash, id };
		v->used++;
	}
	if (len)
		memcpy(v->arena + v->arena_len, text, len);
	v->pieces[v->n++] = (struct tok_piece){ (uint32_t)v->arena_len, (uint32_t)len, 0, 0 };
	v->arena_len += len;
	v->max_len = MAX(v->max_len, (uint32_t)len);
	return id;
}

int32_t tok_vocab_intern(struct tok_vocab *v, const char *text, size_t len, struct sherd_error *err)
{
	int32_t id = tok_vocab_find(v, text, len);

	return id >= 0 ? id : tok_vocab_add(v, text, len, err);
}
