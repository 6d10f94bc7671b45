/* SPDX-License-Identifier: MIT */
/* format: the packed layout, against the sentences of format.h said once more in other words. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "model/format.h"
#include "tiny_model.h"

#define NONE SHERD_ELEM_NONE

static const struct sherd_format kinds[] = {
	{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, NONE, 0, 0 },
	{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_F16, 0, 0 },
	{ SHERD_ELEM_U4, 16, SHERD_ELEM_F32, SHERD_ELEM_F32, 0, 0 },
	{ SHERD_ELEM_U8, 32, SHERD_ELEM_F16, NONE, 0, 0 },
	{ SHERD_ELEM_U8, 16, SHERD_ELEM_F32, NONE, 0, 0 },
	{ SHERD_ELEM_U8, 32, SHERD_ELEM_F32, SHERD_ELEM_F16, 0, 0 },
	{ SHERD_ELEM_F16, 0, NONE, NONE, 0, 0 },
	{ SHERD_ELEM_BF16, 0, NONE, NONE, 0, 0 },
	{ SHERD_ELEM_F32, 0, NONE, NONE, 0, 0 },
};

/* A packed random matrix and the plain one that it was made of. */
struct sample {
	struct sherd_format f;
	uint8_t *q;		/* [rows][cols] */
	float *x, *scale, *min; /* [rows][cols], [rows][groups] */
	size_t groups;
	uint8_t *values, *scales, *mins;
	size_t nv, ns, nm;
};

static uint64_t rng;

/* Small integers times powers of two: exact in every float type. */
static float round_number(void)
{
	return ldexpf((float)(tiny_below(&rng, 255) - 127), tiny_below(&rng, 8) - 9);
}

static void fill(struct sample *s)
{
	size_t n = (size_t)s->f.rows * s->f.cols, i;

	for (i = 0; i < n; i++) {
		s->q[i] = tiny_random(&rng) & (s->f.elem == SHERD_ELEM_U4 ? 15 : 255);
		s->x[i] = round_number();
	}
	for (i = 0; i < s->f.rows * s->groups; i++) {
		s->scale[i] = round_number();
		s->min[i] = round_number();
	}
}

static struct sample make(const struct sherd_format *kind, uint32_t rows, uint32_t cols)
{
	struct sample s = { .f = *kind };
	uint32_t r;

	s.f.rows = rows;
	s.f.cols = cols;
	s.groups = s.f.group ? DIV_ROUND_UP(cols, s.f.group) : 0;
	s.q = malloc((size_t)rows * cols);
	s.x = malloc((size_t)rows * cols * sizeof(float));
	s.scale = malloc((rows * s.groups + 1) * sizeof(float));
	s.min = malloc((rows * s.groups + 1) * sizeof(float));
	fill(&s);
	sherd_format_sizes(&s.f, &s.nv, &s.ns, &s.nm);
	s.values = calloc(1, s.nv);
	s.scales = calloc(1, s.ns + 1);
	s.mins = calloc(1, s.nm + 1);
	for (r = rows; r-- > 0;) { /* any order will do */
		if (sherd_elem_is_int(s.f.elem))
			sherd_pack_int_row(&s.f, r, s.q + (size_t)r * cols, s.scale + r * s.groups,
					   s.min + r * s.groups, s.values, s.scales, s.mins);
		else
			sherd_pack_float_row(&s.f, r, s.x + (size_t)r * cols, s.values);
	}
	return s;
}

static void drop(struct sample *s)
{
	free(s->q);
	free(s->x);
	free(s->scale);
	free(s->min);
	free(s->values);
	free(s->scales);
	free(s->mins);
}

static struct sample random_sample(size_t i)
{
	return make(&kinds[i % ARRAY_SIZE(kinds)], 1 + (uint32_t)tiny_below(&rng, 50),
		    1 + (uint32_t)tiny_below(&rng, 200));
}

/* The byte (and nibble) as the header's picture has it: row block, tile, line, word, byte. */
static unsigned byte_of_picture(const struct sample *s, uint32_t row, uint32_t col)
{
	size_t tiles = DIV_ROUND_UP(s->f.cols, 32), lines = s->f.elem == SHERD_ELEM_U4 ? 4 : 8;
	size_t tile = (row / 16) * tiles + col / 32;
	unsigned c = col % 32;
	size_t line = s->f.elem == SHERD_ELEM_U4 ? c / 8 : c / 4;
	uint8_t b = s->values[((tile * lines + line) * 16 + row % 16) * 4 + c % 4];

	if (s->f.elem == SHERD_ELEM_U8)
		return b;
	return c % 8 < 4 ? b & 15 : b >> 4;
}

static void integers_lie_where_the_picture_shows_them(void **state)
{
	uint32_t r, c;
	size_t i;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct sample s = random_sample(i);

		for (r = 0; r < s.f.rows && sherd_elem_is_int(s.f.elem); r++)
			for (c = 0; c < s.f.cols; c++)
				assert_int_equal(byte_of_picture(&s, r, c), s.q[r * s.f.cols + c]);
		drop(&s);
	}
}

static void floats_stand_sixteen_rows_side_by_side(void **state)
{
	struct sample s = make(&kinds[8], 37, 45);
	const float *v = (const float *)s.values;
	uint32_t r, c;

	(void)state;
	for (r = 0; r < 37; r++)
		for (c = 0; c < 45; c++)
			assert_true(v[((r / 16 * 2 + c / 32) * 32 + c % 32) * 16 + r % 16] ==
				    s.x[r * 45 + c]);
	drop(&s);
}

static float expected(const struct sample *s, uint32_t r, uint32_t c)
{
	size_t at = (size_t)r * s->f.cols + c, g;
	int zero = s->f.elem == SHERD_ELEM_U4 ? 8 : 128;

	if (!sherd_elem_is_int(s->f.elem))
		return s->x[at];
	g = r * s->groups + c / s->f.group;
	if (s->f.min == NONE)
		return s->scale[g] * (float)(s->q[at] - zero);
	return s->scale[g] * (float)s->q[at] - s->min[g];
}

static void reading_gives_scale_times_integer_less_minimum(void **state)
{
	uint32_t r, c;
	size_t i;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct sample s = random_sample(i);
		struct sherd_tensor t = { s.f, s.values, s.scales, s.mins, s.nv, s.ns, s.nm };

		for (r = 0; r < s.f.rows; r++)
			for (c = 0; c < s.f.cols; c++)
				assert_true(sherd_tensor_get(&t, r, c) == expected(&s, r, c));
		drop(&s);
	}
}

/* Wipes what belongs to (row, col); what is left over of the planes is padding. */
static void wipe(struct sample *s, uint32_t row, uint32_t col)
{
	unsigned shift, bytes = sherd_elem_bits(s->f.elem) / 8;
	size_t at = sherd_value_offset(&s->f, row, col, &shift), i;

	if (s->f.elem == SHERD_ELEM_U4)
		s->values[at] &= (uint8_t) ~(15u << shift);
	else
		memset(s->values + at, 0, bytes);
	if (!sherd_elem_is_int(s->f.elem))
		return;
	i = sherd_scale_index(&s->f, row, col);
	bytes = sherd_elem_bits(s->f.scale) / 8;
	memset(s->scales + i * bytes, 0, bytes);
	bytes = sherd_elem_bits(s->f.min) / 8;
	memset(s->mins + i * bytes, 0, bytes);
}

static size_t count_nonzero(const uint8_t *p, size_t n)
{
	size_t bad = 0;

	while (n--)
		bad += *p++ != 0;
	return bad;
}

static void padding_is_zero_and_no_two_elements_share_a_place(void **state)
{
	size_t i, n;
	uint32_t r, c;

	(void)state;
	for (i = 0; i < 60; i++) {
		struct sample s = random_sample(i);

		for (r = 0; r < s.f.rows; r++)
			for (c = 0; c < s.f.cols; c++)
				wipe(&s, r, c);
		n = count_nonzero(s.values, s.nv) + count_nonzero(s.scales, s.ns) +
		    count_nonzero(s.mins, s.nm);
		assert_int_equal(n, 0);
		drop(&s);
	}
}

static void a_row_block_alone_is_packed_as_within_its_matrix(void **state)
{
	struct sample s = make(&kinds[1], 48, 70), block;
	struct sherd_format f = s.f;
	uint32_t r;

	(void)state;
	f.rows = 16;
	block = make(&f, 16, 70);
	memset(block.values, 0, block.nv);
	for (r = 0; r < 16; r++)
		sherd_pack_int_row(&f, r, s.q + (r + 32) * 70, s.scale + (r + 32) * s.groups,
				   s.min + (r + 32) * s.groups, block.values, block.scales,
				   block.mins);
	assert_memory_equal(block.values, s.values + 2 * block.nv, block.nv);
	assert_memory_equal(block.scales, s.scales + 2 * block.ns, block.ns);
	assert_memory_equal(block.mins, s.mins + 2 * block.nm, block.nm);
	drop(&s);
	drop(&block);
}

static void sizes_count_the_padding(void **state)
{
	struct sherd_format f = { SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_F32, 17, 33 };
	size_t v, s, m;

	(void)state;
	sherd_format_sizes(&f, &v, &s, &m);
	assert_int_equal(v, 32 * 64 / 2);
	assert_int_equal(s, 32 * 2 * 2);
	assert_int_equal(m, 32 * 2 * 4);
	f = (struct sherd_format){ SHERD_ELEM_BF16, 0, NONE, NONE, 1, 1 };
	sherd_format_sizes(&f, &v, &s, &m);
	assert_int_equal(v, 16 * 32 * 2);
	assert_int_equal(s + m, 0);
	f = (struct sherd_format){ SHERD_ELEM_F32, 0, NONE, NONE, 1 << 20, 1 << 20 };
	sherd_format_sizes(&f, &v, &s, &m);
	assert_true(v == 1ull << 42);
}

static void records_that_mean_nothing_are_refused_with_the_tensors_name(void **state)
{
	const struct sherd_format bad[] = {
		{ 5, 32, SHERD_ELEM_F16, NONE, 16, 32 },
		{ NONE, 32, SHERD_ELEM_F16, NONE, 16, 32 },
		{ SHERD_ELEM_U4, 0, SHERD_ELEM_F16, NONE, 16, 32 },
		{ SHERD_ELEM_U4, 64, SHERD_ELEM_F16, NONE, 16, 32 },
		{ SHERD_ELEM_U4, 32, NONE, NONE, 16, 32 },
		{ SHERD_ELEM_U8, 32, SHERD_ELEM_BF16, NONE, 16, 32 },
		{ SHERD_ELEM_U8, 32, SHERD_ELEM_F16, SHERD_ELEM_U8, 16, 32 },
		{ SHERD_ELEM_F32, 32, NONE, NONE, 16, 32 },
		{ SHERD_ELEM_F16, 0, SHERD_ELEM_F16, NONE, 16, 32 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, NONE, 0, 32 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, NONE, 16, 0 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, NONE, (1 << 24) + 1, 32 },
		{ SHERD_ELEM_U4, 32, SHERD_ELEM_F16, NONE, 16, UINT32_MAX },
	};
	struct sherd_error err;
	struct sherd_format f;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memset(&err, 0, sizeof(err));
		assert_true(sherd_format_check(&bad[i], "blk.7.x", &err) < 0);
		assert_non_null(strstr(err.msg, "blk.7.x"));
	}
	for (i = 0; i < ARRAY_SIZE(kinds); i++) {
		f = kinds[i];
		f.rows = f.cols = 1 << 24;
		assert_int_equal(sherd_format_check(&f, "x", &err), 0);
	}
}

static void formats_have_readable_names(void **state)
{
	char name[32];

	(void)state;
	sherd_format_name(&kinds[0], name, sizeof(name));
	assert_string_equal(name, "int4 g32 f16");
	sherd_format_name(&kinds[5], name, sizeof(name));
	assert_string_equal(name, "int8 g32 f32 min f16");
	sherd_format_name(&kinds[7], name, sizeof(name));
	assert_string_equal(name, "bf16");
	sherd_format_name(&kinds[5], name, 6);
	assert_string_equal(name, "int8 ");
}

static void a_row_of_the_same_floats_is_copied_bit_for_bit(void **state)
{
	size_t i, k;
	uint32_t r;

	(void)state;
	for (i = 6; i < 9; i++) {
		struct sample s = make(&kinds[i], 21, 45), t = make(&kinds[i], 21, 45);
		size_t bytes = sherd_elem_bits(s.f.elem) / 8;
		uint8_t row[45 * 4 + 1];

		memset(t.values, 0, t.nv);
		for (r = 0; r < 21; r++) {
			for (k = 0; k < 45; k++) {
				unsigned shift;

				memcpy(row + 1 + k * bytes,
				       s.values + sherd_value_offset(&s.f, r, (uint32_t)k, &shift),
				       bytes);
			}
			sherd_pack_same_row(&s.f, r, row + 1, t.values);
		}
		assert_memory_equal(s.values, t.values, s.nv);
		drop(&s);
		drop(&t);
	}
}

static void nan_and_infinity_are_found_wherever_they_stand(void **state)
{
	static const struct {
		enum sherd_elem e;
		uint32_t inf, max; /* the largest finite number's bits */
	} elems[] = { { SHERD_ELEM_F16, 0x7c00, 0x7bff },
		      { SHERD_ELEM_BF16, 0x7f80, 0x7f7f },
		      { SHERD_ELEM_F32, 0x7f800000, 0x7f7fffff } };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(elems); i++) {
		size_t bytes = sherd_elem_bits(elems[i].e) / 8;

		for (k = 0; k < 37; k++) {
			uint8_t data[37 * 4] = { 0 };
			uint32_t sign = 1u << (bytes * 8 - 1), u = elems[i].max | sign;

			memcpy(data + k * bytes, &u, bytes);
			assert_true(sherd_all_finite(elems[i].e, data, 37 * bytes));
			u = elems[i].inf | (k & 1 ? sign : 0) | k / 2;
			memcpy(data + k * bytes, &u, bytes);
			assert_false(sherd_all_finite(elems[i].e, data, 37 * bytes));
			assert_true(sherd_all_finite(SHERD_ELEM_U8, data, 37 * bytes));
		}
	}
}

static void bf16_rounds_to_nearest_even_and_keeps_nan(void **state)
{
	struct sherd_format f = { SHERD_ELEM_BF16, 0, NONE, NONE, 1, 4 };
	float x[] = { 1.00390625f, 1.01171875f, 3.4e38f, NAN };
	uint16_t v[16 * 32] = { 0 };

	(void)state;
	sherd_pack_float_row(&f, 0, x, v);
	assert_int_equal(v[0], 0x3f80);
	assert_int_equal(v[16], 0x3f82);
	assert_int_equal(v[32], 0x7f80);
	assert_true((v[48] & 0x7fff) > 0x7f80);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(integers_lie_where_the_picture_shows_them),
		cmocka_unit_test(floats_stand_sixteen_rows_side_by_side),
		cmocka_unit_test(reading_gives_scale_times_integer_less_minimum),
		cmocka_unit_test(padding_is_zero_and_no_two_elements_share_a_place),
		cmocka_unit_test(a_row_block_alone_is_packed_as_within_its_matrix),
		cmocka_unit_test(sizes_count_the_padding),
		cmocka_unit_test(records_that_mean_nothing_are_refused_with_the_tensors_name),
		cmocka_unit_test(formats_have_readable_names),
		cmocka_unit_test(a_row_of_the_same_floats_is_copied_bit_for_bit),
		cmocka_unit_test(nan_and_infinity_are_found_wherever_they_stand),
		cmocka_unit_test(bf16_rounds_to_nearest_even_and_keeps_nan),
	};

	rng = tiny_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
