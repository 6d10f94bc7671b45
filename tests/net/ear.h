/* SPDX-License-Identifier: MIT */
/*
 * ear: random frames, streams of them, and a link's user that remembers what it was told. For tests
 * of frames and their reader; a header alone.
 */
#ifndef SHERD_TEST_EAR_H
#define SHERD_TEST_EAR_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "net/reader.h"
#include "random.h"

#define MAX_HEARD 64

static uint64_t rng;

static inline uint64_t random_64(void)
{
	return (uint64_t)tiny_random(&rng) << 32 | tiny_random(&rng);
}

static inline void fill(void *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)data)[i] = (uint8_t)tiny_random(&rng);
}

static inline void assert_says(const struct sherd_error *err, const char *words)
{
	if (!strstr(err->msg, words))
		fail_msg("\"%s\" does not say \"%s\"", err->msg, words);
	assert_null(strchr(err->msg, '\n'));
}

static inline struct sherd_frame random_frame(void)
{
	return (struct sherd_frame){
		.type = 1 + tiny_below(&rng, SHERD_N_FRAME_TYPES - 1),
		.flags = (uint16_t)tiny_random(&rng) & SHERD_FRAME_ALL_FLAGS,
		.session = random_64(),
		.sequence = random_64(),
		.epoch = tiny_random(&rng),
		.position = tiny_random(&rng),
		.n_tokens = tiny_random(&rng),
		.payload = tiny_random(&rng) % (SHERD_FRAME_MAX_PAYLOAD + 1),
		.deadline_ms = tiny_random(&rng),
		.stage = tiny_random(&rng),
		.payload_crc = tiny_random(&rng),
	};
}

static inline void assert_same(const struct sherd_frame *a, const struct sherd_frame *b)
{
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->session, b->session);
	assert_int_equal(a->sequence, b->sequence);
	assert_int_equal(a->epoch, b->epoch);
	assert_int_equal(a->position, b->position);
	assert_int_equal(a->n_tokens, b->n_tokens);
	assert_int_equal(a->payload, b->payload);
	assert_int_equal(a->deadline_ms, b->deadline_ms);
	assert_int_equal(a->stage, b->stage);
	assert_int_equal(a->payload_crc, b->payload_crc);
}

/* What a link's user was told. */
struct ear {
	struct sherd_link link;
	struct sherd_reader reader;
	struct sherd_error err;
	struct sherd_frame heard[MAX_HEARD];
	uint8_t *payload[MAX_HEARD];
	int n_expected, n_heard;
	uint32_t most; /* bytes of payload that are expected */
	int stop_at_expect,
		stop_at_frame; /* stops the reader at this call, counted from 1; 0: never */
};

static inline int on_expect(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     struct sherd_error *err)
{
	struct ear *e = ctx;

	assert_ptr_equal(l, &e->link);
	if (++e->n_expected == e->stop_at_expect)
		sherd_reader_stop(&e->reader);
	if (f->payload <= e->most)
		return 0;
	return sherd_fail(err, -EMSGSIZE, "%u bytes are not expected", f->payload);
}

static inline void on_frame(void *ctx, struct sherd_link *l, const struct sherd_frame *f,
		     const uint8_t *payload)
{
	struct ear *e = ctx;

	assert_ptr_equal(l, &e->link);
	assert_true(e->n_heard < MAX_HEARD);
	assert_int_equal(e->n_expected, e->n_heard + 1); /* each was asked for, once */
	e->heard[e->n_heard] = *f;
	if (f->payload) {
		assert_int_equal((uintptr_t)payload % SHERD_FRAME_ALIGN, 0);
		e->payload[e->n_heard] = malloc(f->payload);
		memcpy(e->payload[e->n_heard], payload, f->payload);
	}
	if (++e->n_heard == e->stop_at_frame)
		sherd_reader_stop(&e->reader);
}

static const struct sherd_link_user user = { .expect = on_expect, .frame = on_frame };

static inline void ear_open(struct ear *e)
{
	*e = (struct ear){ .most = SHERD_FRAME_MAX_PAYLOAD };
	e->link.user = &user;
	e->link.ctx = e;
}

static inline void ear_close(struct ear *e)
{
	for (int i = 0; i < e->n_heard; i++)
		free(e->payload[i]);
	sherd_reader_destroy(&e->reader);
	sherd_reader_destroy(&e->reader); /* a second time does no harm */
}

static inline int feed(struct ear *e, const void *data, size_t n)
{
	return sherd_reader_feed(&e->reader, &e->link, data, n, &e->err);
}

/* Some frames on one stream. */
struct stream {
	uint8_t *bytes;
	size_t n, begin[MAX_HEARD + 1]; /* of each frame */
	struct sherd_frame frame[MAX_HEARD];
	int n_frames;
};

static inline void stream_add(struct stream *s, struct sherd_frame f, const void *payload,
			      uint32_t size)
{
	size_t padding, n = sherd_frame_size(size);

	s->bytes = realloc(s->bytes, s->n + n);
	padding = sherd_frame_stamp(&f, (uint64_t)s->n_frames, payload, size, s->bytes + s->n);
	assert_int_equal(SHERD_FRAME_HEADER + size + padding, n);
	assert_true(padding < SHERD_FRAME_ALIGN);
	if (size)
		memcpy(s->bytes + s->n + SHERD_FRAME_HEADER, payload, size);
	memset(s->bytes + s->n + SHERD_FRAME_HEADER + size, 0, padding);
	assert_int_equal(sherd_frame_decode(&s->frame[s->n_frames], s->bytes + s->n, NULL), 0);
	s->begin[s->n_frames++] = s->n;
	s->n += n;
	s->begin[s->n_frames] = s->n;
}

static inline struct stream random_stream(int n_frames, int most)
{
	struct stream s = { 0 };

	for (int i = 0; i < n_frames; i++) {
		uint32_t size = (uint32_t)tiny_below(&rng, most);
		uint8_t *payload = malloc(size + 1);

		fill(payload, size);
		stream_add(&s, random_frame(), payload, tiny_below(&rng, 5) ? size : 0);
		free(payload);
	}
	return s;
}

static inline void assert_heard(const struct ear *e, const struct stream *s)
{
	assert_int_equal(e->n_heard, s->n_frames);
	for (int i = 0; i < s->n_frames; i++) {
		assert_same(&e->heard[i], &s->frame[i]);
		if (s->frame[i].payload)
			assert_memory_equal(e->payload[i],
					    s->bytes + s->begin[i] + SHERD_FRAME_HEADER,
					    s->frame[i].payload);
	}
	assert_int_equal(e->link.frames_in, s->n_frames);
	assert_int_equal(e->link.bytes_in, s->n);
}

static inline int seed(void **state)
{
	(void)state;
	rng = tiny_seed();
	return 0;
}

#endif
