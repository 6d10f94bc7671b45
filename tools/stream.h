/* SPDX-License-Identifier: MIT */
/*
 * stream: bytes of tokens in, complete UTF-8 characters out. A token may end in the middle of a
 * character, or of a stop string: what could still become either is held back.
 */
#ifndef SHERD_STREAM_H
#define SHERD_STREAM_H

#include "tool.h"

struct stream {
	FILE *out;
	const struct opt_strs *stops;
	char *held;
	size_t n_held, room;
	char last; /* the last byte that was written */
	bool stopped; /* a stop string came: nothing is written any more */
	int failed; /* errno of a write, or ENOMEM */
	bool keep; /* what is written is kept, too */
	char *kept; /* [n_kept], whoever set keep frees it */
	size_t n_kept, room_kept;
};

/* False when there is no use in going on: @s->stopped or @s->failed says why. */
bool stream_put(struct stream *s, const char *bytes, size_t n);
/* Writes what is still held back, and frees it. */
bool stream_end(struct stream *s);

#endif
