/* SPDX-License-Identifier: MIT */
/*
 * journal: sends from `sent` on, never more than `window` rows beyond `have`. A link that comes up
 * begins with an OPEN; nothing is sent before the receiver has answered it with a HAVE.
 *
 * Rows that nothing stands before are computed right into the slot from which they are sent: they
 * are copied, since all are kept, but by nobody whom the next stage waits for.
 */
#include <stdlib.h>
#include "net/journal.h"

size_t sherd_rows_offset(uint32_t n)
{
	return ROUND_UP((size_t)n * sizeof(int32_t), SHERD_FRAME_ALIGN);
}

size_t sherd_rows_bytes(uint32_t n, size_t row_bytes)
{
	return row_bytes ? sherd_rows_offset(n) + n * row_bytes : n * sizeof(int32_t);
}

int sherd_journal_init(struct sherd_journal *j, uint64_t session, const void *open,
		       uint32_t open_size, uint32_t max, size_t row_bytes, struct sherd_error *err)
{
	*j = (struct sherd_journal){ .session = session, .open_size = open_size, .max = max,
				     .row_bytes = row_bytes };
	j->open = malloc(open_size + 1);
	j->ids = sherd_calloc(max, sizeof(*j->ids));
	if (row_bytes)
		j->rows = sherd_calloc(max, row_bytes);
	if (!j->open || !j->ids || (row_bytes && !j->rows)) {
		sherd_journal_destroy(j);
		return sherd_fail_oom(err, max * (row_bytes + sizeof(*j->ids)),
				      "a session's journal");
	}
	memcpy(j->open, open, open_size);
	j->open[open_size] = '\0';
	return 0;
}

void sherd_journal_empty(struct sherd_journal *j)
{
	sherd_journal_forget(j);
	free(j->ids);
	free(j->rows);
	j->ids = NULL;
	j->rows = NULL;
}

void sherd_journal_destroy(struct sherd_journal *j)
{
	sherd_journal_empty(j);
	free(j->open);
	memset(j, 0, sizeof(*j));
}

void sherd_journal_announce(struct sherd_journal *j, const struct sherd_hop *hop)
{
	const struct sherd_frame f = {
		.type = SHERD_FRAME_OPEN,
		.session = j->session,
		.epoch = hop->epoch,
		.stage = hop->stage,
	};

	j->known = false;
	sherd_link_send(hop->link, &f, j->open, j->open_size);
}

/*
 * Right after an OPEN the receiver may be ahead of us: we are new ourselves then, and what it has
 * got is not sent, but computed for the journal. Later it can't be.
 */
int sherd_journal_have(struct sherd_journal *j, uint32_t position, struct sherd_error *err)
{
	if (position > (j->known ? j->sent : j->max))
		return sherd_fail(err, -EPROTO,
				  "session %llx: the next stage says it has %u positions of %u",
				  (unsigned long long)j->session, position,
				  j->known ? j->sent : j->max);
	if (!j->known) {
		j->known = true;
		j->sent = j->have = position;
	} else if (position > j->have) {
		j->have = position;
	}
	return 0;
}

static bool is_next(const struct sherd_journal *j, const struct sherd_hop *hop, uint32_t n)
{
	return hop->link && j->known && j->sent == j->n && n <= hop->chunk &&
	       j->sent - j->have < hop->window && n <= hop->window - (j->sent - j->have);
}

uint8_t *sherd_journal_room(struct sherd_journal *j, const struct sherd_hop *hop, uint32_t n)
{
	if (!j->row_bytes)
		return NULL;
	sherd_journal_forget(j);
	if (hop->slots && is_next(j, hop, n))
		j->ahead = sherd_slot_take(hop->slots, sherd_rows_bytes(n, j->row_bytes));
	if (j->ahead && j->ahead->number < 0) /* memory like any other: there is some already */
		sherd_journal_forget(j);
	j->n_ahead = 0; /* not yet */
	return j->ahead ? j->ahead->data + sherd_rows_offset(n) :
			  j->rows + (size_t)j->n * j->row_bytes;
}

void sherd_journal_forget(struct sherd_journal *j)
{
	if (j->ahead)
		sherd_slot_give_back(j->ahead);
	j->ahead = NULL;
}

void sherd_journal_grow(struct sherd_journal *j, uint32_t n, bool want)
{
	if (j->ahead)
		memcpy(j->rows + (size_t)j->n * j->row_bytes,
		       j->ahead->data + sherd_rows_offset(n), n * j->row_bytes);
	j->n_ahead = n;
	j->n += n;
	j->want = want;
}

static void store_ids(uint8_t *to, const int32_t *ids, uint32_t n)
{
	for (uint32_t i = 0; i < n; i++)
		for (int b = 0; b < 4; b++)
			to[4 * i + b] = (uint8_t)((uint32_t)ids[i] >> (8 * b));
}

/* Milliseconds that are left; 0 would mean that there is no deadline. */
static uint32_t time_left(const struct sherd_journal *j, const struct sherd_hop *hop)
{
	uint64_t now = sherd_net_now(hop->link->net);

	if (!j->deadline)
		return 0;
	return j->deadline <= now ?
		       1 :
		       (uint32_t)MIN(DIV_ROUND_UP(j->deadline - now, 1000), UINT32_MAX);
}

/* With the next @n rows in it; NULL: no memory. */
static struct sherd_slot *take_rows(struct sherd_journal *j, const struct sherd_hop *hop, uint32_t n)
{
	struct sherd_slot *slot = j->ahead;

	if (slot && n == j->n_ahead && j->sent + n == j->n) {
		j->ahead = NULL;
		return slot;
	}
	slot = sherd_slot_take(hop->slots, sherd_rows_bytes(n, j->row_bytes));
	if (slot && j->row_bytes)
		memcpy(slot->data + sherd_rows_offset(n), j->rows + j->sent * j->row_bytes,
		       n * j->row_bytes);
	return slot;
}

static int send_rows(struct sherd_journal *j, const struct sherd_hop *hop, uint32_t n)
{
	const size_t size = sherd_rows_bytes(n, j->row_bytes), at = sherd_rows_offset(n);
	struct sherd_slot *slot = take_rows(j, hop, n);
	struct sherd_payload p = { .size = (uint32_t)size,
				   .done = sherd_slot_give_back,
				   .arg = slot };
	const struct sherd_frame f = {
		.type = SHERD_FRAME_ROWS,
		.flags = j->want && j->sent + n == j->n ? SHERD_FRAME_WANT : 0,
		.session = j->session,
		.epoch = hop->epoch,
		.stage = hop->stage,
		.position = j->sent,
		.n_tokens = n,
		.deadline_ms = time_left(j, hop),
	};

	if (!slot)
		return -ENOMEM;
	store_ids(slot->data, j->ids + j->sent, n);
	if (j->row_bytes)
		memset(slot->data + n * sizeof(int32_t), 0, at - n * sizeof(int32_t));
	p.data = slot->data;
	p.slot = slot->number;
	hop->link->net->ops->send(hop->link, &f, &p);
	return 0;
}

void sherd_journal_send(struct sherd_journal *j, const struct sherd_hop *hop)
{
	while (hop->link && j->ids && j->known && j->sent < j->n &&
	       j->sent - j->have < hop->window) {
		uint32_t n = MIN(j->n - j->sent, hop->chunk);

		n = MIN(n, hop->window - (j->sent - j->have));
		if (send_rows(j, hop, n)) {
			sherd_link_hang_up(hop->link, "no memory for a frame");
			return;
		}
		j->sent += n;
	}
}
