/* SPDX-License-Identifier: MIT */
/*
 * frame: one message on a link. A header of 64 bytes, little-endian, then the payload, padded with
 * zeros to a multiple of 64, so that on a stream that began aligned every payload is. Fields are
 * encoded and decoded one by one: no struct is ever laid over bytes. Documentation/protocol.rst is
 * the specification, tests/net/frames/ has vectors.
 *
 *	offset	size
 *	0	4	magic "SHRD"
 *	4	1	version, 1
 *	5	1	type
 *	6	2	flags
 *	8	8	session; 0: none
 *	16	8	sequence: the link's frames are numbered from 0 in each direction
 *	24	4	epoch
 *	28	4	position of the first token
 *	32	4	tokens
 *	36	4	payload's bytes, without the padding
 *	40	4	milliseconds left until the deadline; 0: none
 *	44	4	stage: the sender's number in the plan, head 0
 *	48	8	zero
 *	56	4	CRC32C of the payload, without the padding
 *	60	4	CRC32C of bytes 0 to 59
 */
#ifndef SHERD_FRAME_H
#define SHERD_FRAME_H

#include "base/base.h"

#define SHERD_FRAME_HEADER  64
#define SHERD_FRAME_ALIGN   64
#define SHERD_FRAME_VERSION 1
/* No frame of any type has a longer payload; what is expected at the moment is less. */
#define SHERD_FRAME_MAX_PAYLOAD (64u << 20)

enum sherd_frame_type {
	/*
	 * Greeting: JSON. The dialling side says hello; the other welcomes, or refuses and hangs
	 * up.
	 */
	SHERD_FRAME_HELLO = 1,
	SHERD_FRAME_WELCOME,
	SHERD_FRAME_REFUSE, /* a sentence */
	/* From head to node and back: JSON. */
	SHERD_FRAME_COMMAND,
	SHERD_FRAME_REPLY,
	SHERD_FRAME_PING,
	SHERD_FRAME_PONG, /* progress (struct sherd_progress, fields in order) */
	/* Between neighbours in the pipeline. */
	SHERD_FRAME_OPEN, /* a session begins, or is still there: JSON */
	SHERD_FRAME_ALL_OPEN, /* these were all: the receiver drops the others */
	/*
	 * Of this session everything before position has been computed; of a file, session bytes
	 * are written.
	 */
	SHERD_FRAME_HAVE,
	/* token ids, then rows in the session's wire type; ids only to the first stage */
	SHERD_FRAME_ROWS,
	SHERD_FRAME_CLOSE, /* a session ends */
	/* From the last stage to the head. */
	SHERD_FRAME_TOKEN, /* the token at position, an id */
	SHERD_FRAME_FAILED, /* a session can't go on: a sentence */
	/* Files */
	SHERD_FRAME_FILE, /* part of a file being pushed, from the byte on that session says */
	SHERD_N_FRAME_TYPES,
};

enum sherd_frame_flags {
	SHERD_FRAME_WANT = 1 << 0, /* ROWS: the token after the last row is wanted */
	SHERD_FRAME_AGAIN = 1 << 1, /* REFUSE: not yet; dial again soon */
	/* of this version; others are refused */
	SHERD_FRAME_ALL_FLAGS = SHERD_FRAME_WANT | SHERD_FRAME_AGAIN,
};

/* A header, decoded. Neither magic, version nor padding are in it. */
struct sherd_frame {
	enum sherd_frame_type type;
	uint16_t flags;
	uint64_t session, sequence;
	uint32_t epoch, position, n_tokens, payload, deadline_ms, stage;
	uint32_t payload_crc;
};

/* Bytes on the stream: header, payload and padding. */
static inline size_t sherd_frame_size(uint32_t payload)
{
	return SHERD_FRAME_HEADER + ROUND_UP((size_t)payload, SHERD_FRAME_ALIGN);
}

/* "ROWS"; "unknown" of what is none. */
const char *sherd_frame_name(unsigned type);
/* @f->payload_crc is given by the caller: sherd_crc32c() of the payload. */
void sherd_frame_encode(const struct sherd_frame *f, uint8_t out[SHERD_FRAME_HEADER]);
/* -EPROTO and a sentence for bytes that are no header, or one of another version. */
int sherd_frame_decode(struct sherd_frame *f, const uint8_t in[SHERD_FRAME_HEADER],
		       struct sherd_error *err);
/* -EBADMSG where the payload is not what was sent. */
int sherd_frame_check_payload(const struct sherd_frame *f, const void *payload,
			      struct sherd_error *err);

#endif
