/* SPDX-License-Identifier: MIT */
/*
 * frame: the codec. A reader of hostile bytes, so it knows the header's layout and nothing else:
 * what a type's payload may be is said by who expects one (net.h).
 */
#include <stdio.h>
#include "base/crc32c.h"
#include "net/frame.h"

#define MAGIC 0x44524853u /* "SHRD" */

static void put(uint8_t *to, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

static uint64_t get(const uint8_t *from, int bytes)
{
	uint64_t v = 0;

	for (int i = 0; i < bytes; i++)
		v |= (uint64_t)from[i] << (8 * i);
	return v;
}

const char *sherd_frame_name(unsigned type)
{
	static const char *const names[SHERD_N_FRAME_TYPES] = {
		[SHERD_FRAME_HELLO] = "HELLO",	     [SHERD_FRAME_WELCOME] = "WELCOME",
		[SHERD_FRAME_REFUSE] = "REFUSE",     [SHERD_FRAME_COMMAND] = "COMMAND",
		[SHERD_FRAME_REPLY] = "REPLY",	     [SHERD_FRAME_PING] = "PING",
		[SHERD_FRAME_PONG] = "PONG",	     [SHERD_FRAME_OPEN] = "OPEN",
		[SHERD_FRAME_ALL_OPEN] = "ALL_OPEN", [SHERD_FRAME_HAVE] = "HAVE",
		[SHERD_FRAME_ROWS] = "ROWS",	     [SHERD_FRAME_CLOSE] = "CLOSE",
		[SHERD_FRAME_TOKEN] = "TOKEN",	     [SHERD_FRAME_FAILED] = "FAILED",
		[SHERD_FRAME_FILE] = "FILE",
	};

	return type < SHERD_N_FRAME_TYPES && names[type] ? names[type] : "unknown";
}

void sherd_frame_encode(const struct sherd_frame *f, uint8_t out[SHERD_FRAME_HEADER])
{
	put(out, MAGIC, 4);
	put(out + 4, SHERD_FRAME_VERSION, 1);
	put(out + 5, f->type, 1);
	put(out + 6, f->flags, 2);
	put(out + 8, f->session, 8);
	put(out + 16, f->sequence, 8);
	put(out + 24, f->epoch, 4);
	put(out + 28, f->position, 4);
	put(out + 32, f->n_tokens, 4);
	put(out + 36, f->payload, 4);
	put(out + 40, f->deadline_ms, 4);
	put(out + 44, f->stage, 4);
	put(out + 48, 0, 8);
	put(out + 56, f->payload_crc, 4);
	put(out + 60, sherd_crc32c(0, out, 60), 4);
}

/* A record of TLS, perhaps: its type (a handshake or an alert), then version 3. */
static int fail_magic(const uint8_t *in, struct sherd_error *err)
{
	if ((in[0] == 22 || in[0] == 21) && in[1] == 3)
		return sherd_fail(err, -EPROTO,
				  "the other side speaks TLS, and here there is none: give both "
				  "certificates, or start both with --insecure");
	return sherd_fail(err, -EPROTO, "these are no frames: they begin with %02x %02x %02x %02x",
			  in[0], in[1], in[2], in[3]);
}

static int check_header(const uint8_t *in, struct sherd_error *err)
{
	if (get(in, 4) != MAGIC)
		return fail_magic(in, err);
	/* Before the checksum: another version may have it elsewhere. */
	if (in[4] != SHERD_FRAME_VERSION)
		return sherd_fail(
			err, -EPROTO,
			"the other side speaks version %u of the protocol, this one version %u: "
			"install the same release of sherd on both",
			in[4], SHERD_FRAME_VERSION);
	if (get(in + 60, 4) != sherd_crc32c(0, in, 60))
		return sherd_fail(err, -EPROTO, "a frame's header was damaged on its way");
	if (in[5] == 0 || in[5] >= SHERD_N_FRAME_TYPES)
		return sherd_fail(err, -EPROTO, "a frame has the unknown type %u", in[5]);
	if (get(in + 6, 2) & ~(uint64_t)SHERD_FRAME_ALL_FLAGS)
		return sherd_fail(err, -EPROTO,
				  "a %s frame has flags 0x%04x, of which some are unknown",
				  sherd_frame_name(in[5]), (unsigned)get(in + 6, 2));
	if (get(in + 48, 8))
		return sherd_fail(err, -EPROTO, "a %s frame has a field that must be zero",
				  sherd_frame_name(in[5]));
	return 0;
}

int sherd_frame_decode(struct sherd_frame *f, const uint8_t in[SHERD_FRAME_HEADER],
		       struct sherd_error *err)
{
	int rc = check_header(in, err);

	if (rc)
		return rc;
	*f = (struct sherd_frame){
		.type = in[5],
		.flags = (uint16_t)get(in + 6, 2),
		.session = get(in + 8, 8),
		.sequence = get(in + 16, 8),
		.epoch = (uint32_t)get(in + 24, 4),
		.position = (uint32_t)get(in + 28, 4),
		.n_tokens = (uint32_t)get(in + 32, 4),
		.payload = (uint32_t)get(in + 36, 4),
		.deadline_ms = (uint32_t)get(in + 40, 4),
		.stage = (uint32_t)get(in + 44, 4),
		.payload_crc = (uint32_t)get(in + 56, 4),
	};
	if (f->payload > SHERD_FRAME_MAX_PAYLOAD)
		return sherd_fail(err, -EPROTO,
				  "a %s frame claims a payload of %u bytes, and %u are the most",
				  sherd_frame_name(f->type), f->payload, SHERD_FRAME_MAX_PAYLOAD);
	return 0;
}

int sherd_frame_check_payload(const struct sherd_frame *f, const void *payload,
			      struct sherd_error *err)
{
	if (sherd_crc32c(0, payload, f->payload) == f->payload_crc)
		return 0;
	return sherd_fail(err, -EBADMSG, "the payload of a %s frame was damaged on its way",
			  sherd_frame_name(f->type));
}
