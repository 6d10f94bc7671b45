/* SPDX-License-Identifier: MIT */
/*
 * reader: header first; room for a payload is made when somebody expects one of that length; only
 * whole and undamaged frames are handed on.
 */
#include <stdlib.h>
#include "base/crc32c.h"
#include "base/probe.h"
#include "net/reader.h"

static int begin_payload(struct sherd_reader *r, struct sherd_link *l, struct sherd_error *err)
{
	int rc = sherd_frame_decode(&r->frame, r->header, err);

	if (rc)
		return rc;
	if (r->frame.sequence != r->sequence)
		return sherd_fail(err, -EPROTO,
				  "frame number %llu has come where number %llu is due",
				  (unsigned long long)r->frame.sequence,
				  (unsigned long long)r->sequence);
	r->sequence++;
	rc = l->user->expect(l->ctx, l, &r->frame, err);
	if (rc || r->stopped)
		return rc;
	r->size = sherd_frame_size(r->frame.payload);
	if (r->size - SHERD_FRAME_HEADER <= r->room)
		return 0;
	free(r->payload);
	r->room = r->size - SHERD_FRAME_HEADER;
	r->payload = sherd_alloc_aligned(SHERD_FRAME_ALIGN, r->room, 1);
	if (r->payload)
		return 0;
	r->room = 0;
	return sherd_fail_oom(err, r->size, "a frame");
}

static int end_frame(struct sherd_reader *r, struct sherd_link *l, struct sherd_error *err)
{
	int rc = sherd_frame_check_payload(&r->frame, r->payload, err);
	size_t i;

	for (i = r->frame.payload; !rc && i < r->size - SHERD_FRAME_HEADER; i++)
		if (r->payload[i])
			rc = sherd_fail(err, -EPROTO, "the padding of a %s frame is not zero",
					sherd_frame_name(r->frame.type));
	if (rc)
		return rc;
	SHERD_PROBE(frame__receive, sherd_frame_name(r->frame.type), r->frame.payload);
	l->frames_in++;
	l->bytes_in += r->size;
	r->got = r->size = 0;
	l->user->frame(l->ctx, l, &r->frame, r->payload);
	return 0;
}

/* Takes as much of @data as the header, or the payload, still lacks. */
static size_t take(struct sherd_reader *r, const uint8_t *data, size_t n)
{
	size_t end = r->size ? r->size : SHERD_FRAME_HEADER;
	uint8_t *to = r->size ? r->payload + (r->got - SHERD_FRAME_HEADER) : r->header + r->got;

	n = MIN(n, end - r->got);
	if (n)
		memcpy(to, data, n);
	r->got += n;
	return n;
}

int sherd_reader_feed(struct sherd_reader *r, struct sherd_link *l, const void *data, size_t n,
		      struct sherd_error *err)
{
	const uint8_t *p = data, *end = p + n;
	int rc = 0;

	while (!rc && !r->stopped && p < end) {
		p += take(r, p, end - p);
		if (!r->size && r->got == SHERD_FRAME_HEADER)
			rc = begin_payload(r, l, err);
		if (!rc && !r->stopped && r->size && r->got == r->size)
			rc = end_frame(r, l, err);
	}
	if (rc)
		r->stopped = true;
	return rc;
}

void sherd_reader_stop(struct sherd_reader *r)
{
	r->stopped = true;
}

void sherd_reader_destroy(struct sherd_reader *r)
{
	free(r->payload);
	r->payload = NULL;
	r->room = 0;
}

size_t sherd_frame_stamp(const struct sherd_frame *f, uint64_t sequence, const void *data,
			 uint32_t size, uint8_t out[SHERD_FRAME_HEADER])
{
	struct sherd_frame stamped = *f;

	stamped.sequence = sequence;
	stamped.payload = size;
	stamped.payload_crc = sherd_crc32c(0, data, size);
	sherd_frame_encode(&stamped, out);
	return sherd_frame_size(size) - SHERD_FRAME_HEADER - size;
}
