/* SPDX-License-Identifier: MIT */
/*
 * fuzz_frame: any bytes as a stream of frames, cut into pieces. What the reader takes for a header
 * encodes to the same bytes again, no payload is longer than was expected, and no room is made for
 * more. The first byte says how long the pieces are and, if it is odd, that magic, numbers and
 * checksums are made right first: a fuzzer cannot guess them, an enemy need not.
 */
#include <stdlib.h>
#include "base/crc32c.h"
#include "net/reader.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST ((uint32_t)64 << 10) /* bytes of payload that are expected */

static volatile uint8_t sink;

static int on_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     struct sherd_error *err)
{
	struct sherd_reader *r = ctx;
	uint8_t again[SHERD_FRAME_HEADER];

	(void)l;
	sherd_frame_encode(f, again);
	if (memcmp(again, r->header, sizeof(again)))
		abort();
	if (f->position == 0xdead)
		sherd_reader_stop(r);
	return f->payload <= MOST ? 0 : sherd_fail(err, -EMSGSIZE, "too long");
}

static void on_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	struct sherd_reader *r = ctx;

	(void)l;
	if (f->payload > MOST || r->room > MOST || (uintptr_t)payload % SHERD_FRAME_ALIGN)
		abort();
	for (uint32_t i = 0; i < f->payload; i++)
		sink ^= payload[i];
	if (f->position == 0xbeef)
		sherd_reader_stop(r);
}

static void put(uint8_t *to, uint64_t v, int bytes)
{
	for (int i = 0; i < bytes; i++)
		to[i] = (uint8_t)(v >> (8 * i));
}

/* Walks over the stream as a reader would, and makes right what a fuzzer cannot. */
static void make_right(uint8_t *p, size_t n)
{
	for (uint64_t sequence = 0; n >= SHERD_FRAME_HEADER; sequence++) {
		uint32_t payload = p[36] | p[37] << 8; /* 64 KiB at most, so that more frames fit */
		size_t frame = sherd_frame_size(payload);

		memcpy(p, "SHRD\1", 5);
		p[5] = (uint8_t)(1 + p[5] % (SHERD_N_FRAME_TYPES - 1));
		put(p + 6, p[6] & SHERD_FRAME_ALL_FLAGS, 2);
		put(p + 16, sequence, 8);
		put(p + 36, payload, 4);
		put(p + 48, 0, 8);
		if (frame <= n)
			put(p + 56, sherd_crc32c(0, p + SHERD_FRAME_HEADER, payload), 4);
		put(p + 60, sherd_crc32c(0, p, 60), 4);
		if (frame > n)
			return;
		memset(p + SHERD_FRAME_HEADER + payload, 0, frame - SHERD_FRAME_HEADER - payload);
		p += frame;
		n -= frame;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct sherd_link_user user = { .expect = on_expect, .frame = on_frame };
	struct sherd_reader r = { 0 };
	struct sherd_link l = { .user = &user, .ctx = &r };
	struct sherd_error err = { "" };
	size_t piece, n, at = 0;
	uint8_t *stream;
	int rc = 0;

	if (!size)
		return 0;
	n = size - 1;
	stream = malloc(n + 1);
	memcpy(stream, data + 1, n);
	if (data[0] & 1)
		make_right(stream, n);
	piece = 1 + data[0] / 2;
	for (; !rc && at < n; at += piece)
		rc = sherd_reader_feed(&r, &l, stream + at, MIN(piece, n - at), &err);
	if (rc && !err.msg[0])
		abort(); /* a refusal has a sentence */
	sherd_reader_destroy(&r);
	free(stream);
	return 0;
}
