/* SPDX-License-Identifier: MIT */
/*
 * journal: what one side of a hop has to send of one session, and how far it has got. All rows are
 * kept until the session ends, in the bytes in which they went over the wire, so that a new
 * receiver can be brought to where the lost one was: it says how far it has got itself (HAVE), and
 * the rest is sent. One mechanism for the beginning, for a link that broke, and for a board that
 * died.
 *
 * The head's journal has token ids alone; a stage's has the rows that it computed, too.
 */
#ifndef SHERD_JOURNAL_H
#define SHERD_JOURNAL_H

#include "net/net.h"
#include "net/slots.h"

struct sherd_journal {
	uint64_t session;
	char *open; /* the OPEN frame's payload */
	uint32_t open_size;
	uint32_t max; /* positions */
	size_t row_bytes; /* 0: ids alone */
	int32_t *ids; /* [max]; NULL: emptied */
	uint8_t *rows; /* [max][row_bytes] */
	uint32_t n; /* positions so far */
	bool want; /* the token after the last of them is wanted */
	uint64_t deadline; /* us on the net's clock, after which nobody wants it; 0: none */
	/* where the next rows are being computed, to be sent from there; NULL: in rows */
	struct sherd_slot *ahead;
	uint32_t n_ahead; /* the last rows, which are in it; 0: they are being computed */
	/* on the present link */
	bool known; /* the receiver has said how far it has got */
	uint32_t sent, have; /* positions */
};

/* How to send: what all journals of a hop have in common. */
struct sherd_hop {
	struct sherd_link *link; /* NULL: down, or not greeted yet */
	uint32_t epoch, stage; /* what frames say */
	uint32_t chunk; /* rows of a frame, at most */
	uint32_t window; /* rows that are sent and not computed yet, at most */
	struct sherd_slots *slots; /* to send from; NULL: ordinary memory */
};

/*
 * Takes a copy of @open. Room is made for @max positions, but no memory is touched before it is
 * needed.
 */
int sherd_journal_init(struct sherd_journal *j, uint64_t session, const void *open,
		       uint32_t open_size, uint32_t max, size_t row_bytes, struct sherd_error *err);
void sherd_journal_destroy(struct sherd_journal *j);
/* Of a session that cannot go on: nothing more is sent, and only what OPEN said is kept. */
void sherd_journal_empty(struct sherd_journal *j);

/* The next link: tells the receiver of the session. */
void sherd_journal_announce(struct sherd_journal *j, const struct sherd_hop *hop);
/* The receiver has everything before @position; -EPROTO where that can't be. */
int sherd_journal_have(struct sherd_journal *j, uint32_t position, struct sherd_error *err);
/*
 * Where the next @n rows shall be put: NULL for ids alone. Rows that could be sent at once have a
 * slot, which a device may write to and from which they go; it is theirs until sherd_journal_grow()
 * and sherd_journal_send() have had it, or sherd_journal_forget().
 */
uint8_t *sherd_journal_room(struct sherd_journal *j, const struct sherd_hop *hop, uint32_t n);
/* Nothing came of them, or they were not the next to be sent after all. */
void sherd_journal_forget(struct sherd_journal *j);
/* @n rows have been put behind the last one: they are sent when it is their turn. */
void sherd_journal_grow(struct sherd_journal *j, uint32_t n, bool want);
/* Sends what the window allows. */
void sherd_journal_send(struct sherd_journal *j, const struct sherd_hop *hop);

static inline int32_t *sherd_journal_ids(const struct sherd_journal *j)
{
	return j->ids + j->n;
}

/* Bytes of a ROWS frame's payload: ids, zeros up to a multiple of 64, rows. */
size_t sherd_rows_bytes(uint32_t n, size_t row_bytes);
/* Where the rows begin in it. */
size_t sherd_rows_offset(uint32_t n);

#endif
