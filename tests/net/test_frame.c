/* SPDX-License-Identifier: MIT */
/*
 * Frames: the checksum against its RFC, the header's codec against every bit that may be wrong, and
 * both against vectors that another implementation made (tests/net/frames/).
 */
#include <dirent.h>
#include "base/crc32c.h"
#include "ear.h"

#define VECTORS "tests/net/frames"

/* ----------------------------------------------------------------- checksum */

static void the_checksum_is_that_of_rfc_3720(void **state)
{
	static const uint8_t read_command[48] = {
		[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
		[27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02,
	};
	uint8_t zeros[32] = { 0 }, ones[32], up[32], down[32];
	const struct {
		const void *data;
		size_t size;
		uint32_t crc;
	} cases[] = {
		{ zeros, 32, 0x8a9136aa },
		{ ones, 32, 0x62a8ab43 },
		{ up, 32, 0x46dd794e },
		{ down, 32, 0x113fdb5c },
		{ read_command, 48, 0xd9963a56 },
		{ "123456789", 9, 0xe3069283 },
		{ NULL, 0, 0 },
	};

	(void)state;
	memset(ones, 0xff, sizeof(ones));
	for (int i = 0; i < 32; i++) {
		up[i] = (uint8_t)i;
		down[i] = (uint8_t)(31 - i);
	}
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(sherd_crc32c(0, cases[i].data, cases[i].size), cases[i].crc);
		assert_int_equal(sherd_crc32c_plain(0, cases[i].data, cases[i].size), cases[i].crc);
	}
}

static void instruction_and_tables_agree_at_any_length_and_place(void **state)
{
	static uint8_t data[5000];

	(void)state;
	for (int i = 0; i < 3000; i++) {
		size_t at = (size_t)tiny_below(&rng, 64);
		size_t n = (size_t)tiny_below(&rng, i % 2 ? 40 : 4900);
		size_t cut = (size_t)tiny_below(&rng, (int)n + 1);
		uint32_t whole, begun = tiny_random(&rng);

		fill(data + at, MIN(n, (size_t)100));
		whole = sherd_crc32c_plain(begun, data + at, n);
		assert_int_equal(sherd_crc32c(begun, data + at, n), whole);
		begun = sherd_crc32c(begun, data + at, cut); /* and in two pieces */
		assert_int_equal(sherd_crc32c(begun, data + at + cut, n - cut), whole);
	}
}

/* ------------------------------------------------------------------- header */

static void any_header_comes_back_as_it_was(void **state)
{
	uint8_t bytes[SHERD_FRAME_HEADER], again[SHERD_FRAME_HEADER];
	struct sherd_error err;

	(void)state;
	for (int i = 0; i < 10000; i++) {
		struct sherd_frame f = random_frame(), g;

		sherd_frame_encode(&f, bytes);
		assert_int_equal(sherd_frame_decode(&g, bytes, &err), 0);
		assert_same(&f, &g);
		sherd_frame_encode(&g, again);
		assert_memory_equal(bytes, again, sizeof(bytes));
	}
}

static void no_bit_of_a_header_can_be_flipped(void **state)
{
	uint8_t bytes[SHERD_FRAME_HEADER];
	struct sherd_frame f, g;
	struct sherd_error err;

	(void)state;
	for (int i = 0; i < 200; i++) {
		f = random_frame();
		sherd_frame_encode(&f, bytes);
		for (int bit = 0; bit < 8 * SHERD_FRAME_HEADER; bit++) {
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
			err.msg[0] = '\0';
			assert_int_equal(sherd_frame_decode(&g, bytes, &err), -EPROTO);
			assert_true(strlen(err.msg) > 20);
			bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		}
	}
}

/* With a sum that is right: an enemy can make one, too. */
static void what_no_header_may_say_is_refused_by_its_sentence(void **state)
{
	static const struct {
		int at;
		uint8_t byte;
		const char *says;
	} cases[] = {
		{ 0, 'T', "these are no frames: they begin with 54 48 52 44" },
		{ 4, 0, "version 0 of the protocol, this one version 1" },
		{ 4, 255, "version 255" },
		{ 5, 0, "unknown type 0" },
		{ 5, SHERD_N_FRAME_TYPES, "unknown type 16" },
		{ 5, 255, "unknown type 255" },
		{ 6, 4, "a PING frame has flags 0x0004" },
		{ 7, 0x80, "a PING frame has flags 0x8000" },
		{ 48, 1, "a PING frame has a field that must be zero" },
		{ 55, 0x80, "a PING frame has a field that must be zero" },
		{ 39, 5,
		  "a PING frame claims a payload of 83886080 bytes, and 67108864 are the most" },
		{ 39, 255, "claims a payload of 4278190080 bytes" },
	};
	const struct sherd_frame ping = { .type = SHERD_FRAME_PING };
	uint8_t bytes[SHERD_FRAME_HEADER];
	struct sherd_frame f;
	struct sherd_error err;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint32_t crc;

		sherd_frame_encode(&ping, bytes);
		bytes[cases[i].at] = cases[i].byte;
		crc = sherd_crc32c_plain(0, bytes, 60);
		for (int k = 0; k < 4; k++)
			bytes[60 + k] = (uint8_t)(crc >> (8 * k));
		assert_int_equal(sherd_frame_decode(&f, bytes, &err), -EPROTO);
		assert_says(&err, cases[i].says);
	}
}

static void every_type_has_a_name_of_its_own(void **state)
{
	(void)state;
	assert_string_equal(sherd_frame_name(0), "unknown");
	assert_string_equal(sherd_frame_name(SHERD_N_FRAME_TYPES), "unknown");
	assert_string_equal(sherd_frame_name(~0u), "unknown");
	for (unsigned i = 1; i < SHERD_N_FRAME_TYPES; i++)
		for (unsigned j = 0; j < i; j++)
			assert_string_not_equal(sherd_frame_name(i), sherd_frame_name(j));
}

/* ------------------------------------------------------------------ vectors */

/* A vector: what it should come to, a line each, and its bytes. */
struct vector {
	char lines[8][512];
	int n_lines;
	uint8_t bytes[4096];
	size_t n;
};

static void read_vector(const char *name, struct vector *v)
{
	char path[512], line[1024];
	FILE *f;

	*v = (struct vector){ 0 };
	snprintf(path, sizeof(path), "%s/%s", VECTORS, name);
	f = fopen(path, "r");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f)) {
		unsigned byte;

		line[strcspn(line, "\n")] = '\0';
		if (!strncmp(line, "is ", 3) || !strncmp(line, "refused ", 8)) {
			assert_true(v->n_lines < 8);
			snprintf(v->lines[v->n_lines++], sizeof(v->lines[0]), "%.500s", line);
			continue;
		}
		if (line[0] == '#')
			continue;
		for (char *p = line; sscanf(p, "%2x", &byte) == 1; p += 2) {
			assert_true(v->n < sizeof(v->bytes));
			v->bytes[v->n++] = (uint8_t)byte;
		}
	}
	fclose(f);
	assert_true(v->n_lines && v->n);
}

static void read_fields(const char *line, struct sherd_frame *f)
{
	unsigned long long v[11];
	int n = sscanf(
		line,
		"is type=%llu flags=%llu session=%llu sequence=%llu epoch=%llu position=%llu "
		"tokens=%llu payload=%llu deadline=%llu stage=%llu payload_crc=%llu",
		&v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7], &v[8], &v[9], &v[10]);

	assert_int_equal(n, 11);
	*f = (struct sherd_frame){ v[0], (uint16_t)v[1], v[2], v[3], (uint32_t)v[4], (uint32_t)v[5],
				   (uint32_t)v[6], (uint32_t)v[7], (uint32_t)v[8], (uint32_t)v[9],
				   (uint32_t)v[10] };
}

/* The reader makes of the bytes what the vector says, and the encoder the same bytes again. */
static void check_vector(const struct vector *v, bool seen[SHERD_N_FRAME_TYPES])
{
	struct sherd_frame want;
	struct stream s = { 0 };
	struct ear e;
	int rc;

	ear_open(&e);
	rc = feed(&e, v->bytes, v->n);
	if (!strncmp(v->lines[0], "refused ", 8)) {
		assert_true(rc < 0);
		assert_int_equal(e.n_heard, 0);
		assert_says(&e.err, v->lines[0] + 8);
		ear_close(&e);
		return;
	}
	assert_int_equal(rc, 0);
	assert_int_equal(e.n_heard, v->n_lines);
	for (int i = 0; i < v->n_lines; i++) {
		read_fields(v->lines[i], &want);
		assert_same(&e.heard[i], &want);
		seen[want.type] = true;
		stream_add(&s, want, e.payload[i], want.payload);
	}
	assert_int_equal(s.n, v->n);
	assert_memory_equal(s.bytes, v->bytes, s.n);
	free(s.bytes);
	ear_close(&e);
}

static void another_implementations_vectors_are_read_and_written(void **state)
{
	bool seen[SHERD_N_FRAME_TYPES] = { false };
	DIR *d = opendir(VECTORS);
	struct dirent *entry;
	static struct vector v;
	int n = 0;

	(void)state;
	assert_non_null(d);
	while ((entry = readdir(d))) {
		if (!strstr(entry->d_name, ".frame"))
			continue;
		print_message("%s\n", entry->d_name);
		read_vector(entry->d_name, &v);
		check_vector(&v, seen);
		n++;
	}
	closedir(d);
	assert_true(n >= 31);
	for (unsigned i = 1; i < SHERD_N_FRAME_TYPES; i++)
		if (!seen[i])
			fail_msg("there is no vector of a %s frame", sherd_frame_name(i));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_checksum_is_that_of_rfc_3720),
		cmocka_unit_test(instruction_and_tables_agree_at_any_length_and_place),
		cmocka_unit_test(any_header_comes_back_as_it_was),
		cmocka_unit_test(no_bit_of_a_header_can_be_flipped),
		cmocka_unit_test(what_no_header_may_say_is_refused_by_its_sentence),
		cmocka_unit_test(every_type_has_a_name_of_its_own),
		cmocka_unit_test(another_implementations_vectors_are_read_and_written),
	};

	return cmocka_run_group_tests(tests, seed, NULL);
}
