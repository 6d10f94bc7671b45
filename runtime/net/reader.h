/* SPDX-License-Identifier: MIT */
/*
 * reader: makes frames of a stream's bytes, however they are cut into reads. No sockets: loop and
 * simulator feed it. writer's half is a function: what stands before a payload on the stream.
 */
#ifndef SHERD_READER_H
#define SHERD_READER_H

#include "net/net.h"

struct sherd_reader {
	uint8_t header[SHERD_FRAME_HEADER];
	uint8_t *payload; /* [room], aligned to SHERD_FRAME_ALIGN */
	size_t room;
	size_t got; /* bytes of the present frame so far */
	size_t size; /* its bytes in all; 0: not known before the header is whole */
	struct sherd_frame frame;
	uint64_t sequence; /* that the next frame must have */
	bool stopped; /* by sherd_reader_stop(), from within a callback perhaps */
};

/*
 * @n more bytes have come for @l: calls l->user's expect() and frame(). Not 0: the stream is no
 * good any more, *err says why. What follows a stop is dropped without a word.
 */
int sherd_reader_feed(struct sherd_reader *r, struct sherd_link *l, const void *data, size_t n,
		      struct sherd_error *err);
/* The link is going down: no more callbacks. */
void sherd_reader_stop(struct sherd_reader *r);
void sherd_reader_destroy(struct sherd_reader *r);

/*
 * Header of the frame that comes @sequence-th, with @size bytes of payload at @data, into @out;
 * returns how many zeros follow the payload.
 */
size_t sherd_frame_stamp(const struct sherd_frame *f, uint64_t sequence, const void *data,
			 uint32_t size, uint8_t out[SHERD_FRAME_HEADER]);

#endif
