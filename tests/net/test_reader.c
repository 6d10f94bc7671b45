/* SPDX-License-Identifier: MIT */
/*
 * The reader: frames come out of a stream however it was cut, and nothing else does, whatever a
 * network or an enemy has done to it.
 */
#include <malloc.h>
#include "ear.h"

static void frames_arrive_wherever_the_stream_is_split(void **state)
{
	struct stream s = random_stream(3, 200);
	struct ear e;

	(void)state;
	for (size_t a = 0; a <= s.n; a++) {
		ear_open(&e);
		assert_int_equal(feed(&e, s.bytes, a), 0);
		assert_int_equal(feed(&e, s.bytes + a, s.n - a), 0);
		assert_heard(&e, &s);
		ear_close(&e);
	}
	ear_open(&e);
	for (size_t a = 0; a < s.n;
	     a++) /* a byte at a time: each frame is heard with its last byte */
		for (int i = 0; i < s.n_frames; i++) {
			if (!i)
				assert_int_equal(feed(&e, s.bytes + a, 1), 0);
			assert_int_equal(e.n_heard > i, a + 1 >= s.begin[i + 1]);
		}
	assert_heard(&e, &s);
	ear_close(&e);
	free(s.bytes);
}

static void many_frames_arrive_in_random_pieces(void **state)
{
	(void)state;
	for (int i = 0; i < 30; i++) {
		struct stream s =
			random_stream(1 + tiny_below(&rng, MAX_HEARD), 1 << tiny_below(&rng, 15));
		int most = (int)(s.n / 2000) + (1 << tiny_below(&rng, 18));
		struct ear e;
		size_t n;

		ear_open(&e);
		for (size_t at = 0; at < s.n; at += n) {
			uint8_t *piece;

			n = (size_t)tiny_below(&rng, most + 1); /* perhaps none */
			n = MIN(n, s.n - at);
			piece = malloc(n ? n : 1); /* as long as it is: reading more is seen */
			memcpy(piece, s.bytes + at, n);
			assert_int_equal(feed(&e, piece, n), 0);
			free(piece);
		}
		assert_heard(&e, &s);
		ear_close(&e);
		free(s.bytes);
	}
}

static void a_gap_and_a_duplicate_are_refused(void **state)
{
	struct stream s = random_stream(4, 100);
	struct ear e;

	(void)state;
	ear_open(&e);
	assert_int_equal(feed(&e, s.bytes, s.begin[2]), 0);
	assert_int_equal(feed(&e, s.bytes + s.begin[1], s.n - s.begin[1]), -EPROTO);
	assert_says(&e.err, "frame number 1 has come where number 2 is due");
	assert_int_equal(e.n_heard, 2);
	assert_int_equal(e.n_expected, 2);
	ear_close(&e);
	ear_open(&e);
	assert_int_equal(feed(&e, s.bytes, s.begin[1]), 0);
	assert_int_equal(feed(&e, s.bytes + s.begin[2], s.n - s.begin[2]), -EPROTO);
	assert_says(&e.err, "frame number 2 has come where number 1 is due");
	assert_int_equal(e.n_heard, 1);
	ear_close(&e);
	free(s.bytes);
}

/* No bit of the whole stream, padding included; what came before is heard. */
static void no_bit_of_a_stream_can_be_flipped(void **state)
{
	struct stream s = random_stream(2, 90);
	struct ear e;

	(void)state;
	for (size_t bit = 0; bit < 8 * s.n; bit++) {
		int before = bit / 8 >= s.begin[1], rc;

		s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		ear_open(&e);
		rc = feed(&e, s.bytes, s.n);
		assert_true(rc == -EPROTO || rc == -EBADMSG);
		assert_true(strlen(e.err.msg) > 20);
		assert_int_equal(e.n_heard, before);
		ear_close(&e);
		s.bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
	free(s.bytes);
}

static void padding_and_payload_have_sentences_of_their_own(void **state)
{
	struct stream s = { 0 };
	struct ear e;

	(void)state;
	stream_add(&s, (struct sherd_frame){ .type = SHERD_FRAME_ROWS }, "rows", 4);
	s.bytes[SHERD_FRAME_HEADER + 4] = 1;
	ear_open(&e);
	assert_int_equal(feed(&e, s.bytes, s.n), -EPROTO);
	assert_says(&e.err, "the padding of a ROWS frame is not zero");
	ear_close(&e);
	s.bytes[SHERD_FRAME_HEADER + 4] = 0;
	s.bytes[SHERD_FRAME_HEADER + 3] ^= 1;
	ear_open(&e);
	assert_int_equal(feed(&e, s.bytes, s.n), -EBADMSG);
	assert_says(&e.err, "the payload of a ROWS frame was damaged on its way");
	ear_close(&e);
	free(s.bytes);
}

/* Bytes in use, as the sanitizer's allocator counts them, or the C library's. */
size_t __sanitizer_get_current_allocated_bytes(void) __attribute__((weak));

static size_t allocated(void)
{
	struct mallinfo2 m;

	if (__sanitizer_get_current_allocated_bytes)
		return __sanitizer_get_current_allocated_bytes();
	m = mallinfo2();
	return m.uordblks + m.hblkhd;
}

static void what_is_not_expected_gets_no_room(void **state)
{
	struct sherd_frame f = { .type = SHERD_FRAME_FILE, .payload = SHERD_FRAME_MAX_PAYLOAD };
	uint8_t bytes[SHERD_FRAME_HEADER];
	size_t before;
	struct ear e;

	(void)state;
	sherd_frame_encode(&f, bytes);
	ear_open(&e);
	e.most = 1000;
	before = allocated();
	assert_int_equal(feed(&e, bytes, sizeof(bytes)), -EMSGSIZE);
	assert_true(allocated() <= before);
	assert_null(e.reader.payload);
	assert_int_equal(e.reader.room, 0);
	assert_string_equal(e.err.msg,
			    "67108864 bytes are not expected"); /* the user's own sentence */
	ear_close(&e);
	ear_open(&e); /* and where it is, there is room for it and no more */
	before = allocated();
	assert_int_equal(feed(&e, bytes, sizeof(bytes)), 0);
	assert_in_range(allocated() - before, SHERD_FRAME_MAX_PAYLOAD,
			SHERD_FRAME_MAX_PAYLOAD + 4096);
	ear_close(&e);
	assert_true(allocated() <= before);
}

static void room_is_made_once(void **state)
{
	struct stream s = { 0 };
	uint8_t data[1000];
	struct ear e;

	(void)state;
	fill(data, sizeof(data));
	stream_add(&s, random_frame(), data, 1000);
	stream_add(&s, random_frame(), data, 10);
	stream_add(&s, random_frame(), data, 0);
	stream_add(&s, random_frame(), data, 1000);
	ear_open(&e);
	for (int i = 0; i < s.n_frames; i++) {
		const uint8_t *room = e.reader.payload;

		assert_int_equal(feed(&e, s.bytes + s.begin[i], s.begin[i + 1] - s.begin[i]), 0);
		if (i)
			assert_ptr_equal(e.reader.payload, room);
	}
	assert_heard(&e, &s);
	ear_close(&e);
	free(s.bytes);
}

static void after_a_stop_nothing_more_is_heard(void **state)
{
	struct stream s = random_stream(4, 100);
	struct ear e;

	(void)state;
	for (int at = 1; at <= 4; at++)
		for (int in_expect = 0; in_expect < 2; in_expect++) {
			ear_open(&e);
			if (in_expect)
				e.stop_at_expect = at;
			else
				e.stop_at_frame = at;
			assert_int_equal(feed(&e, s.bytes, s.n), 0);
			assert_int_equal(feed(&e, s.bytes, s.n), 0);
			assert_int_equal(e.n_heard, at - in_expect);
			assert_int_equal(e.n_expected, at);
			if (in_expect && at == 1) /* nor is there room made for it */
				assert_int_equal(e.reader.room, 0);
			ear_close(&e);
		}
	free(s.bytes);
}

static void after_a_failure_nothing_more_is_heard(void **state)
{
	struct stream s = random_stream(1, 100);
	struct ear e;

	(void)state;
	ear_open(&e);
	assert_int_equal(feed(&e, (char[SHERD_FRAME_HEADER]){ 0 }, SHERD_FRAME_HEADER), -EPROTO);
	assert_int_equal(feed(&e, s.bytes, s.n), 0);
	assert_int_equal(e.n_heard, 0);
	ear_close(&e);
	free(s.bytes);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_arrive_wherever_the_stream_is_split),
		cmocka_unit_test(many_frames_arrive_in_random_pieces),
		cmocka_unit_test(a_gap_and_a_duplicate_are_refused),
		cmocka_unit_test(no_bit_of_a_stream_can_be_flipped),
		cmocka_unit_test(padding_and_payload_have_sentences_of_their_own),
		cmocka_unit_test(what_is_not_expected_gets_no_room),
		cmocka_unit_test(room_is_made_once),
		cmocka_unit_test(after_a_stop_nothing_more_is_heard),
		cmocka_unit_test(after_a_failure_nothing_more_is_heard),
	};

	return cmocka_run_group_tests(tests, seed, NULL);
}
