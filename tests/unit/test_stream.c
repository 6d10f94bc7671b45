/* SPDX-License-Identifier: MIT */
/* stream: whatever pieces a text comes in, the same complete characters go out. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "stream.h"

struct sink {
	struct stream s;
	char *text;
	size_t len;
};

static void sink_open(struct sink *k, const struct opt_strs *stops)
{
	memset(k, 0, sizeof(*k));
	k->s.stops = stops;
	k->s.out = open_memstream(&k->text, &k->len);
	assert_non_null(k->s.out);
}

static void sink_close(struct sink *k)
{
	stream_end(&k->s);
	fclose(k->s.out);
}

static void expect(struct sink *k, const char *text)
{
	fflush(k->s.out);
	assert_int_equal(k->len, strlen(text));
	assert_memory_equal(k->text, text, k->len);
}

#define PUT(k, lit) stream_put(&(k)->s, lit, sizeof(lit) - 1)

static const struct opt_strs none;

static void a_character_in_two_tokens_is_written_when_it_is_whole(void **state)
{
	struct sink k;

	(void)state;
	sink_open(&k, &none);
	assert_true(PUT(&k, "caf\xC3"));
	expect(&k, "caf");
	assert_true(PUT(&k, "\xA9!"));
	expect(&k, "caf\xC3\xA9!");
	sink_close(&k);
	free(k.text);
}

static void bytes_that_are_no_character_become_the_replacement(void **state)
{
	/* a stray continuation, an overlong form, a surrogate's first bytes, beyond U+10FFFF */
	static const char *const bad[] = { "\x80", "\xC0\xAF", "\xED\xA0", "\xF4\x90", "\xFF" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		char want[32] = "a";
		struct sink k;

		for (size_t n = 0; n < strlen(bad[i]); n++)
			strcat(want, "\xEF\xBF\xBD");
		strcat(want, "b");
		sink_open(&k, &none);
		assert_true(stream_put(&k.s, "a", 1));
		assert_true(stream_put(&k.s, bad[i], strlen(bad[i])));
		assert_true(stream_put(&k.s, "b", 1));
		sink_close(&k);
		assert_string_equal(k.text, want);
		free(k.text);
	}
}

static void a_character_that_never_became_whole_ends_as_one_replacement(void **state)
{
	struct sink k;

	(void)state;
	sink_open(&k, &none);
	assert_true(PUT(&k, "x\xF0\x9F\x98"));
	sink_close(&k);
	assert_string_equal(k.text, "x\xEF\xBF\xBD");
	free(k.text);
}

static void a_stop_string_over_three_tokens_is_never_seen(void **state)
{
	const char *stop = "User:";
	const struct opt_strs stops = { &stop, 1 };
	struct sink k;

	(void)state;
	sink_open(&k, &stops);
	assert_true(PUT(&k, "Hello.\nUs"));
	expect(&k, "Hello.\n");
	assert_true(PUT(&k, "er"));
	expect(&k, "Hello.\n");
	assert_false(PUT(&k, ": what"));
	assert_true(k.s.stopped);
	assert_false(PUT(&k, "more"));
	sink_close(&k);
	assert_string_equal(k.text, "Hello.\n");
	free(k.text);
}

static void what_only_began_like_a_stop_string_is_written_after_all(void **state)
{
	const char *stop = "aab";
	const struct opt_strs stops = { &stop, 1 };
	struct sink k;

	(void)state;
	sink_open(&k, &stops);
	assert_true(PUT(&k, "xaa"));
	expect(&k, "x");
	assert_true(PUT(&k, "ac"));
	expect(&k, "xaaac");
	assert_true(PUT(&k, "a"));
	expect(&k, "xaaac");
	sink_close(&k);
	assert_string_equal(k.text, "xaaaca");
	free(k.text);
}

static void the_pieces_do_not_change_the_text(void **state)
{
	static const char *const atoms[] = { "a", "b", "ab", "\xC3\xA9", "\xF0\x9F\x98\x80", "\x80",
					     "\xE2\x82", "c" };
	const char *stop_v[] = { "abca", "bc", "\xC3\xA9" "ab" };
	unsigned seed = (unsigned)time(NULL);

	(void)state;
	print_message("# seed %u\n", seed);
	for (int round = 0; round < 2000; round++) {
		struct opt_strs stops = { stop_v, (int)(rand_r(&seed) % 4) };
		struct sink whole, pieces;
		char text[256];
		size_t len = 0;

		for (int i = rand_r(&seed) % 30; i > 0; i--) {
			const char *a = atoms[rand_r(&seed) % 8];

			memcpy(text + len, a, strlen(a));
			len += strlen(a);
		}
		sink_open(&whole, &stops);
		stream_put(&whole.s, text, len);
		sink_close(&whole);
		sink_open(&pieces, &stops);
		for (size_t at = 0; at < len;) {
			size_t n = 1 + rand_r(&seed) % 4;

			n = n < len - at ? n : len - at;
			if (!stream_put(&pieces.s, text + at, n))
				break;
			at += n;
		}
		sink_close(&pieces);
		assert_int_equal(whole.s.stopped, pieces.s.stopped);
		assert_string_equal(whole.text, pieces.text);
		free(whole.text);
		free(pieces.text);
	}
}

static void a_full_disk_is_noticed_at_once(void **state)
{
	struct stream s = { .out = fopen("/dev/full", "w"), .stops = &none };

	(void)state;
	if (!s.out) {
		print_message("skipped: no /dev/full here\n");
		skip();
	}
	assert_false(stream_put(&s, "text", 4));
	assert_int_equal(s.failed, ENOSPC);
	assert_false(stream_end(&s));
	fclose(s.out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_character_in_two_tokens_is_written_when_it_is_whole),
		cmocka_unit_test(bytes_that_are_no_character_become_the_replacement),
		cmocka_unit_test(a_character_that_never_became_whole_ends_as_one_replacement),
		cmocka_unit_test(a_stop_string_over_three_tokens_is_never_seen),
		cmocka_unit_test(what_only_began_like_a_stop_string_is_written_after_all),
		cmocka_unit_test(the_pieces_do_not_change_the_text),
		cmocka_unit_test(a_full_disk_is_noticed_at_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
