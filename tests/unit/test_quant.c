/* SPDX-License-Identifier: MIT */
/*
 * test_quant: the block formats against values from outside (tests/golden/quant_blocks.py), bit for
 * bit, and the three views of a row (floats, taken apart, rounded) against each other.
 */
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include "model/quant.h"
#include "../golden/quant_blocks.h"

#define GOLDEN(t)                                                                                \
	{                                                                                        \
		GGML_##t, golden_##t##_blocks, sizeof(golden_##t##_blocks), golden_##t##_floats, \
			ARRAY_SIZE(golden_##t##_floats)                                          \
	}

static const struct golden {
	enum ggml_type type;
	const uint8_t *blocks;
	size_t size;
	const uint32_t *floats;
	size_t n;
} goldens[] = {
	GOLDEN(Q4_0),	GOLDEN(Q4_1),	GOLDEN(Q5_0),  GOLDEN(Q5_1), GOLDEN(Q8_0),
	GOLDEN(Q4_K),	GOLDEN(Q5_K),	GOLDEN(Q6_K),  GOLDEN(Q2_K), GOLDEN(Q3_K),
	GOLDEN(IQ4_NL), GOLDEN(IQ4_XS), GOLDEN(MXFP4),
};

#define POISON 0xa5

static void *poisoned(size_t size)
{
	void *p = malloc(size);

	assert_non_null(p);
	memset(p, POISON, size);
	return p;
}

static void *copy_of(const void *data, size_t size)
{
	return memcpy(poisoned(size), data, size);
}

static uint32_t bits_of(float f)
{
	uint32_t u;

	memcpy(&u, &f, sizeof(u));
	return u;
}

static void dequantized_blocks_are_the_golden_floats_bit_for_bit(void **state)
{
	const struct golden *g;
	float *out;
	void *row;
	size_t i;

	(void)state;
	for (g = goldens; g < goldens + ARRAY_SIZE(goldens); g++) {
		assert_int_equal(g->size / ggml_block_bytes(g->type) * ggml_block_size(g->type),
				 g->n);
		out = poisoned(g->n * sizeof(*out));
		row = copy_of(g->blocks, g->size);
		sherd_dequant_row(g->type, row, g->n, out);
		for (i = 0; i < g->n; i++)
			if (bits_of(out[i]) != g->floats[i])
				fail_msg("%s element %zu is %08x, golden %08x",
					 ggml_type_name(g->type), i, bits_of(out[i]), g->floats[i]);
		free(row);
		free(out);
	}
}

/* Takes @blocks apart and puts them together by the one formula of the header. */
static void check_formula(enum ggml_type t, const void *row, size_t cols)
{
	size_t i, groups;
	struct sherd_format f;
	float *scale, *min, *want, w;
	uint8_t *q;
	int zero;

	assert_int_equal(sherd_quant_format(t, 0, &f), 0);
	groups = cols / f.group;
	q = poisoned(cols + 1);
	want = poisoned(cols * sizeof(float));
	scale = poisoned(groups * sizeof(float));
	min = f.min == SHERD_ELEM_NONE ? NULL : poisoned(groups * sizeof(float));
	zero = min ? 0 : 1 << (sherd_elem_bits(f.elem) - 1);
	sherd_quant_unpack_row(t, row, cols, q, scale, min);
	sherd_dequant_row(t, row, cols, want);
	for (i = 0; i < cols; i++) {
		assert_true(q[i] < 1 << sherd_elem_bits(f.elem));
		w = scale[i / f.group] * (float)(q[i] - zero);
		if (min)
			w -= min[i / f.group];
		if (bits_of(w) != bits_of(want[i]))
			fail_msg("%s element %zu: %a from its parts, %a", ggml_type_name(t), i,
				 (double)w, (double)want[i]);
	}
	for (i = 0; i < groups; i++) { /* nothing is lost in the format's element type */
		if (f.scale == SHERD_ELEM_F16)
			assert_int_equal(bits_of(sherd_f16_to_f32(sherd_f32_to_f16(scale[i]))),
					 bits_of(scale[i]));
		if (f.min == SHERD_ELEM_F16)
			assert_int_equal(bits_of(sherd_f16_to_f32(sherd_f32_to_f16(min[i]))),
					 bits_of(min[i]));
	}
	assert_int_equal(q[cols], POISON);
	free(q);
	free(want);
	free(scale);
	free(min);
}

static void the_parts_of_a_row_give_its_floats_bit_for_bit(void **state)
{
	const struct golden *g;
	void *row;

	(void)state;
	for (g = goldens; g < goldens + ARRAY_SIZE(goldens); g++) {
		row = copy_of(g->blocks, g->size);
		check_formula(g->type, row, g->n);
		free(row);
	}
}

/* The high bytes of a block's halves, in the file's order; 0: there is none. */
static void half_bytes(enum ggml_type t, unsigned at[2])
{
	unsigned bytes = ggml_block_bytes(t);

	at[0] = 1;
	at[1] = 0;
	if (t == GGML_Q4_1 || t == GGML_Q5_1 || t == GGML_Q4_K || t == GGML_Q5_K)
		at[1] = 3;
	else if (t == GGML_Q3_K || t == GGML_Q6_K)
		at[0] = bytes - 1;
	else if (t == GGML_Q2_K)
		at[0] = bytes - 3, at[1] = bytes - 1;
	else if (t == GGML_MXFP4)
		at[0] = 0;
}

/* Random bits, but no NaN or Inf among the halves, nor an exponent that is one. */
static void random_blocks(const struct golden *g, uint8_t *row, size_t n_blocks)
{
	unsigned bytes = ggml_block_bytes(g->type), at[2];
	size_t i, j;

	half_bytes(g->type, at);
	for (i = 0; i < n_blocks; i++) {
		for (j = 0; j < bytes; j++)
			row[i * bytes + j] = (uint8_t)(rand() >> 7);
		for (j = 0; j < 2; j++)
			if (at[j])
				row[i * bytes + at[j]] &= 0xbf;
		if (g->type == GGML_MXFP4)
			row[i * bytes] %= 253;
	}
}

static void random_rows_obey_the_formula_too(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	const struct golden *g;
	size_t n_blocks;
	uint8_t *row;

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (g = goldens; g < goldens + ARRAY_SIZE(goldens); g++)
		for (n_blocks = 1; n_blocks < 40; n_blocks = 2 * n_blocks + 1) {
			row = poisoned(n_blocks * ggml_block_bytes(g->type));
			random_blocks(g, row, n_blocks);
			check_formula(g->type, row, n_blocks * ggml_block_size(g->type));
			free(row);
		}
}

static void float_rows_come_back_as_they_are(void **state)
{
	static const uint16_t halves[] = { 0x0000, 0x8000, 0x3c00, 0xbc00, 0x0001, 0x7bff, 0x3555 };
	static const float floats[] = { 0.0f, -1.5f, 1e-40f, 3e38f };
	float out[ARRAY_SIZE(halves)];
	size_t i;

	(void)state;
	sherd_dequant_row(GGML_F32, floats, ARRAY_SIZE(floats), out);
	assert_memory_equal(out, floats, sizeof(floats));
	sherd_dequant_row(GGML_BF16, halves, ARRAY_SIZE(halves), out);
	for (i = 0; i < ARRAY_SIZE(halves); i++)
		assert_int_equal(bits_of(out[i]), (uint32_t)halves[i] << 16);
	sherd_dequant_row(GGML_F16, halves, ARRAY_SIZE(halves), out);
	assert_true(out[2] == 1.0f && out[3] == -1.0f && out[4] == 0x1p-24f && out[5] == 65504.0f);
	assert_int_equal(bits_of(out[1]), 0x80000000);
}

static void every_known_type_but_i8_has_a_packed_format(void **state)
{
	struct sherd_format f;
	unsigned t;

	(void)state;
	for (t = 0; t < GGML_TYPE_MAX + 3; t++) {
		bool wanted = ggml_type_known((enum ggml_type)t) && t != GGML_I8;

		assert_int_equal(sherd_quant_format((enum ggml_type)t, 0, &f),
				 wanted ? 0 : -ENOTSUP);
		if (!wanted)
			continue;
		assert_int_equal(f.group == 0, !sherd_elem_is_int(f.elem));
		assert_int_equal(f.scale == SHERD_ELEM_NONE, f.group == 0);
		assert_true(f.rows == 0 && f.cols == 0);
	}
}

static void mxfp4_scales_at_the_borders_are_zero_or_infinite(void **state)
{
	uint8_t block[17] = { 0, 0x71 }, q[32];
	float scale;
	int e;

	(void)state;
	for (e = 0; e < 256; e++) {
		block[0] = (uint8_t)e;
		sherd_quant_unpack_row(GGML_MXFP4, block, 32, q, &scale, NULL);
		assert_int_equal(q[0], 128 + 1);
		assert_int_equal(q[16], 128 + 12);
		assert_int_equal(q[1], 128);
		if (e < 28)
			assert_true(scale == 0);
		else if (e > 252) /* 12 times that is no float; 255 is the format's NaN */
			assert_true(isinf(scale));
		else
			assert_true(scale == ldexpf(1, e - 128) && isfinite(12 * scale));
	}
}

static void with_4_bits_a_type_takes_no_more_room_than_without(void **state)
{
	static const enum ggml_type rounded[] = { GGML_F32,    GGML_F16,    GGML_BF16,
						  GGML_IQ4_NL, GGML_IQ4_XS, GGML_MXFP4 };
	static const enum ggml_type halved[] = { GGML_Q2_K, GGML_Q3_K, GGML_Q4_K };
	struct sherd_format f, as_is;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rounded); i++) {
		assert_int_equal(sherd_quant_format(rounded[i], 4, &f), 0);
		assert_true(f.elem == SHERD_ELEM_U4 && f.group == 32 && f.scale == SHERD_ELEM_F16 &&
			    f.min == SHERD_ELEM_NONE);
		assert_true(sherd_quant_rounds(rounded[i], &f));
	}
	for (i = 0; i < ARRAY_SIZE(halved); i++) {
		assert_int_equal(sherd_quant_format(halved[i], 0, &as_is), 0);
		assert_int_equal(sherd_quant_format(halved[i], 4, &f), 0);
		assert_true(f.elem == as_is.elem && f.group == as_is.group);
		assert_true(as_is.scale == SHERD_ELEM_F32 && f.scale == SHERD_ELEM_F16);
		assert_int_equal(f.min == SHERD_ELEM_NONE, as_is.min == SHERD_ELEM_NONE);
		assert_true(f.min != SHERD_ELEM_F32 && !sherd_quant_rounds(halved[i], &f));
	}
	assert_int_equal(sherd_quant_format(GGML_IQ4_NL, 8, &f), 0);
	assert_false(sherd_quant_rounds(GGML_IQ4_NL, &f)); /* 8 bits hold it as it is */
}

static void check_rounding(enum ggml_type t, int bits, const uint8_t *golden)
{
	enum { N = ARRAY_SIZE(golden_source_floats) };
	float x[N], scale[N / 32 + 1], want_scale[N / 32];
	uint8_t q[N + 1], want_q[N];
	void *row = copy_of(golden, N / 32 * ggml_block_bytes(t));

	memcpy(x, golden_source_floats, sizeof(x));
	memset(q, POISON, sizeof(q));
	memset(scale, POISON, sizeof(scale));
	assert_int_equal(sherd_quantize_row(bits, x, N, q, scale), 0);
	sherd_quant_unpack_row(t, row, N, want_q, want_scale, NULL);
	assert_memory_equal(q, want_q, N);
	assert_memory_equal(scale, want_scale, sizeof(want_scale));
	assert_int_equal(q[N], POISON);
	free(row);
}

static void rounding_gives_the_golden_blocks(void **state)
{
	(void)state;
	check_rounding(GGML_Q4_0, 4, golden_Q4_0_rounded);
	check_rounding(GGML_Q8_0, 8, golden_Q8_0_rounded);
}

static void a_short_last_group_is_rounded_as_if_zeros_followed(void **state)
{
	float x[64] = { 0 }, scale[3], full_scale[2];
	uint8_t q[64], full_q[64];
	size_t cols, i;
	int bits;

	(void)state;
	for (bits = 4; bits <= 8; bits += 4)
		for (cols = 1; cols < 64; cols++) {
			memset(x, 0, sizeof(x));
			for (i = 0; i < cols; i++)
				x[i] = (float)(rand() % 2001 - 1000) * 0.01f;
			memset(q, POISON, sizeof(q));
			memset(scale, POISON, sizeof(scale));
			assert_int_equal(sherd_quantize_row(bits, x, cols, q, scale), 0);
			assert_int_equal(sherd_quantize_row(bits, x, 64, full_q, full_scale), 0);
			assert_memory_equal(q, full_q, cols);
			assert_memory_equal(scale, full_scale, (cols + 31) / 32 * sizeof(float));
			assert_int_equal(q[cols], POISON);
			assert_int_equal(bits_of(scale[(cols + 31) / 32]), 0xa5a5a5a5);
		}
}

static void numbers_that_have_no_scale_are_refused(void **state)
{
	static const float bad[] = { NAN, INFINITY, -INFINITY, 3e38f, -1e7f * 127 };
	float x[64] = { 1, 2, 3 }, scale[2];
	uint8_t q[64];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		x[40] = bad[i];
		assert_int_equal(sherd_quantize_row(4, x, 64, q, scale), -EINVAL);
		assert_int_equal(sherd_quantize_row(8, x, 64, q, scale), -EINVAL);
	}
	x[40] = 0;
	assert_int_equal(sherd_quantize_row(5, x, 64, q, scale), -EINVAL);
	assert_int_equal(sherd_quantize_row(8, x, 64, q, scale), 0);
}

static void next_to_nothing_rounds_to_zeros_and_not_to_nan(void **state)
{
	static const float tiny[] = { 0.0f, -0.0f, 1e-45f, -1e-39f, 1e-20f, 1e-9f };
	float x[32] = { 0 }, scale;
	uint8_t q[32];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tiny); i++) {
		x[5] = tiny[i];
		assert_int_equal(sherd_quantize_row(4, x, 32, q, &scale), 0);
		assert_true(scale == 0 && q[5] == 8 && q[0] == 8);
		assert_int_equal(sherd_quantize_row(8, x, 32, q, &scale), 0);
		assert_true(scale == 0 && q[5] == 128 && q[0] == 128);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dequantized_blocks_are_the_golden_floats_bit_for_bit),
		cmocka_unit_test(the_parts_of_a_row_give_its_floats_bit_for_bit),
		cmocka_unit_test(random_rows_obey_the_formula_too),
		cmocka_unit_test(float_rows_come_back_as_they_are),
		cmocka_unit_test(every_known_type_but_i8_has_a_packed_format),
		cmocka_unit_test(mxfp4_scales_at_the_borders_are_zero_or_infinite),
		cmocka_unit_test(with_4_bits_a_type_takes_no_more_room_than_without),
		cmocka_unit_test(rounding_gives_the_golden_blocks),
		cmocka_unit_test(a_short_last_group_is_rounded_as_if_zeros_followed),
		cmocka_unit_test(numbers_that_have_no_scale_are_refused),
		cmocka_unit_test(next_to_nothing_rounds_to_zeros_and_not_to_nan),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
