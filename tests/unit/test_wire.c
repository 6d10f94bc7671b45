/* SPDX-License-Identifier: MIT */
/*
 * Activations on the wire, in sentences: what is decoded is what a cut leaves, bit for bit; what no
 * sender writes is refused and named; nothing is read or written beside the bytes that were asked
 * for.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/ref/ref.h"
#include "tiny_model.h"

#define MAX_HIDDEN 1300

static uint64_t rng;

/* Columns of every kind: of one size, of all sizes, denormal, zero, as large as the wire takes. */
static float value(int kind, float most)
{
	float x = tiny_normal(&rng);

	switch (kind) {
	case 0:
		return x;
	case 1:
		return ldexpf(x, tiny_below(&rng, 40) - 30);
	case 2:
		return ldexpf(x, -140 + tiny_below(&rng, 20));
	case 3:
		return tiny_below(&rng, 2) ? 0.0f : -0.0f;
	case 4:
		return x < 0 ? -most : most;
	default: /* where the scale is a denormal half */
		return ldexpf(x, -8 - tiny_below(&rng, 12));
	}
}

static void fill(float *x, int n, float most)
{
	int c, kind = 0;

	for (c = 0; c < n; c++) {
		if (c % 32 == 0)
			kind = tiny_below(&rng, 6);
		x[c] = value(kind, most);
	}
}

static void assert_bits(const char *what, enum sherd_wire wire, const float *got, const float *want,
			int n)
{
	int i;

	for (i = 0; i < n; i++)
		if (memcmp(&got[i], &want[i], sizeof(float)))
			fail_msg("%s, wire %d, %d columns: column %d is %a, not %a", what, wire, n,
				 i, (double)got[i], (double)want[i]);
}

/* At any address: a frame puts them behind token ids. */
static void what_is_decoded_is_what_a_cut_leaves(void **state)
{
	static const float most[] = { 8e6f, 65000.0f, 3e38f };
	enum sherd_wire wire;
	int round, i;

	(void)state;
	for (round = 0; round < 400; round++) {
		int hidden = 1 + tiny_below(&rng, MAX_HIDDEN), n = 1 + tiny_below(&rng, 4);
		float *x = calloc(n * hidden, sizeof(*x)), *y = calloc(n * hidden, sizeof(*y));
		int shift = tiny_below(&rng, 5);

		for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
			size_t size = sherd_wire_bytes(wire, n, hidden);
			uint8_t *bytes = malloc(size + shift);

			fill(x, n * hidden, most[wire]);
			assert_int_equal(sherd_wire_encode(wire, x, n, hidden, bytes + shift, NULL),
					 0);
			assert_int_equal(sherd_wire_decode(wire, bytes + shift, n, hidden, y, NULL),
					 0);
			for (i = 0; i < n; i++) {
				assert_int_equal(sherd_ref_cut(wire, x + i * hidden, hidden), 0);
				assert_bits("decoded", wire, y + i * hidden, x + i * hidden,
					    hidden);
			}
			free(bytes);
		}
		free(x);
		free(y);
	}
}

static void a_row_of_4096_takes_4352_bytes(void **state)
{
	(void)state;
	assert_int_equal(sherd_wire_bytes(SHERD_WIRE_INT8, 1, 4096), 4352);
	assert_int_equal(sherd_wire_bytes(SHERD_WIRE_INT8, 3, 33), 3 * (64 + 4));
	assert_int_equal(sherd_wire_bytes(SHERD_WIRE_F16, 3, 33), 3 * 66);
	assert_int_equal(sherd_wire_bytes(SHERD_WIRE_F32, 3, 33), 3 * 132);
	assert_int_equal(sherd_wire_bytes(SHERD_WIRE_F32, 0, 33), 0);
	assert_int_equal(sherd_wire_bytes((enum sherd_wire)7, 3, 33), 0);
}

/*
 * amax / 127 lies where halves are denormal and far apart: the scale is rounded up by a third, the
 * largest value is then 95 scales and not 127, and a second quantizer takes another scale.
 */
static void a_second_cut_changes_a_row_whose_scale_is_a_denormal_half(void **state)
{
	float x[32], once[32], twice[32];
	int i;

	(void)state;
	for (i = 0; i < 32; i++)
		x[i] = 1.5001f * 0x1p-24f * 127.0f * (float)(i + 1) / 32.0f;
	memcpy(once, x, sizeof(x));
	assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, once, 32), 0);
	memcpy(twice, once, sizeof(x));
	assert_int_equal(sherd_ref_cut(SHERD_WIRE_INT8, twice, 32), 0);
	assert_memory_not_equal(twice, once, sizeof(x));
}

static void what_is_no_number_or_too_large_is_not_sent(void **state)
{
	static const float bad[3][4] = { { NAN, INFINITY, -INFINITY, 1e8f },
					 { NAN, INFINITY, -INFINITY, -65520.0f },
					 { NAN, INFINITY, -INFINITY, -NAN } };
	uint8_t out[3 * 100 * 4];
	struct sherd_error err;
	enum sherd_wire wire;
	float x[3 * 100];
	int i;

	(void)state;
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
		for (i = 0; i < 4; i++) {
			fill(x, 300, 1.0f);
			x[100 + tiny_below(&rng, 100)] = bad[wire][i];
			assert_int_equal(sherd_wire_encode(wire, x, 3, 100, out, &err), -EDOM);
			assert_non_null(strstr(err.msg, "row 1"));
		}
	}
}

/* A journal keeps rows and sends them again in other chunks. */
static void any_run_of_rows_is_a_slice_of_the_bytes(void **state)
{
	enum sherd_wire wire;
	float x[5 * 70], y[5 * 70], part[2 * 70];
	uint8_t bytes[5 * 70 * 4];

	(void)state;
	for (wire = SHERD_WIRE_INT8; wire <= SHERD_WIRE_F32; wire++) {
		const uint8_t *third = bytes + sherd_wire_bytes(wire, 2, 70);

		fill(x, 350, 1.0f);
		assert_int_equal(sherd_wire_encode(wire, x, 5, 70, bytes, NULL), 0);
		assert_int_equal(sherd_wire_decode(wire, bytes, 5, 70, y, NULL), 0);
		assert_int_equal(sherd_wire_decode(wire, third, 2, 70, part, NULL), 0);
		assert_bits("a slice", wire, part, y + 2 * 70, 2 * 70);
	}
}

/* Hostile bytes, one place each: what the sentence says. */
static void refused(enum sherd_wire wire, uint8_t *bytes, size_t at, uint16_t value, int size,
		    const char *says)
{
	struct sherd_error err = { "" };
	uint16_t was;
	float y[300];

	memcpy(&was, bytes + at, size);
	memcpy(bytes + at, &value, size);
	assert_int_equal(sherd_wire_decode(wire, bytes, 3, 100, y, &err), -EPROTO);
	if (!strstr(err.msg, says))
		fail_msg("\"%s\" does not say \"%s\"", err.msg, says);
	memcpy(bytes + at, &was, size);
	assert_int_equal(sherd_wire_decode(wire, bytes, 3, 100, y, &err), 0);
}

static void what_no_sender_writes_is_refused_by_row_and_group(void **state)
{
	static const uint16_t scales[] = { 0x7c00, 0x7e01, 0x7fff, 0x8000,
					   0x8001, 0xbc00, 0xfc00, 0xffff };
	static const uint16_t halves[] = { 0x7c00, 0x7e00, 0xfc00, 0xffff };
	uint8_t bytes[3 * 100 * 4];
	float x[300];
	size_t i;

	(void)state;
	fill(x, 300, 1.0f);
	assert_int_equal(sherd_wire_encode(SHERD_WIRE_INT8, x, 3, 100, bytes, NULL), 0);
	for (i = 0; i < ARRAY_SIZE(scales); i++)
		refused(SHERD_WIRE_INT8, bytes, 2 * 136 + 128 + 2 * 3, scales[i], 2,
			"row 2, group 3");
	refused(SHERD_WIRE_INT8, bytes, 136 + 40, 0x80, 1, "row 1, group 1");
	assert_int_equal(sherd_wire_encode(SHERD_WIRE_F16, x, 3, 100, bytes, NULL), 0);
	for (i = 0; i < ARRAY_SIZE(halves); i++)
		refused(SHERD_WIRE_F16, bytes, 2 * 170, halves[i], 2, "row 1, group 2");
	assert_int_equal(sherd_wire_encode(SHERD_WIRE_F32, x, 3, 100, bytes, NULL), 0);
	refused(SHERD_WIRE_F32, bytes, 4 * 299 + 2, 0x7f80, 2, "row 2, group 3");
	refused(SHERD_WIRE_F32, bytes, 4 * 299 + 2, 0xffc0, 2, "column 99");
}

/* Whatever the bytes: refused, or numbers that all are finite. */
static void any_bytes_are_refused_or_finite(void **state)
{
	int round, i;

	(void)state;
	for (round = 0; round < 3000; round++) {
		enum sherd_wire wire = (enum sherd_wire)tiny_below(&rng, 3);
		int hidden = 1 + tiny_below(&rng, 70), n = 1 + tiny_below(&rng, 3), rc;
		size_t size = sherd_wire_bytes(wire, n, hidden), k;
		uint8_t *bytes = malloc(size);
		float *y = malloc(n * hidden * sizeof(*y));
		struct sherd_error err = { "" };

		for (k = 0; k < size; k++)
			bytes[k] = (uint8_t)tiny_random(&rng) & (tiny_below(&rng, 3) ? 0x3f : 0xff);
		rc = sherd_wire_decode(wire, bytes, n, hidden, y, &err);
		assert_true(!rc || (rc == -EPROTO && err.msg[0]));
		for (i = 0; !rc && i < n * hidden; i++)
			assert_true(isfinite(y[i]));
		free(bytes);
		free(y);
	}
}

static void shapes_and_types_that_are_none_are_refused(void **state)
{
	struct sherd_error err;
	uint8_t bytes[64];
	float x[1] = { 0 };

	(void)state;
	assert_int_equal(sherd_wire_encode((enum sherd_wire)3, x, 1, 1, bytes, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "3"));
	assert_int_equal(sherd_wire_decode((enum sherd_wire)-1, bytes, 1, 1, x, &err), -EINVAL);
	assert_int_equal(sherd_wire_encode(SHERD_WIRE_INT8, x, -1, 1, bytes, &err), -EINVAL);
	assert_int_equal(sherd_wire_decode(SHERD_WIRE_INT8, bytes, 1, 0, x, &err), -EINVAL);
	assert_int_equal(sherd_wire_decode(SHERD_WIRE_INT8, bytes, 0, 32, x, &err), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_decoded_is_what_a_cut_leaves),
		cmocka_unit_test(a_row_of_4096_takes_4352_bytes),
		cmocka_unit_test(a_second_cut_changes_a_row_whose_scale_is_a_denormal_half),
		cmocka_unit_test(what_is_no_number_or_too_large_is_not_sent),
		cmocka_unit_test(any_run_of_rows_is_a_slice_of_the_bytes),
		cmocka_unit_test(what_no_sender_writes_is_refused_by_row_and_group),
		cmocka_unit_test(any_bytes_are_refused_or_finite),
		cmocka_unit_test(shapes_and_types_that_are_none_are_refused),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
