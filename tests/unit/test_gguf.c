/* SPDX-License-Identifier: MIT */
/* test_gguf: what is written is read back, and what is broken is refused in one sentence. */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>
#include "gguf_build.h"

/* Must be refused with a sentence that names the file and holds @words; takes over @b. */
static void refuse(struct build b, int code, const char *words)
{
	struct sherd_error err = { "" };
	struct gguf *g = (void *)&err;
	void *copy;
	int ret = build_open_bytes(b.data, b.size, &g, &copy, &err);

	if (ret != code)
		fail_msg("wanted %d, got %d: \"%s\"", code, ret, err.msg);
	assert_null(g);
	assert_int_equal(strncmp(err.msg, "test.gguf: ", 11), 0);
	if (!strstr(err.msg, words))
		fail_msg("\"%s\" should contain \"%s\"", err.msg, words);
	free(copy);
	free(b.data);
}

static struct gguf *accept(struct build b, void **copy)
{
	struct sherd_error err = { "" };
	struct gguf *g;

	if (build_open_bytes(b.data, b.size, &g, copy, &err))
		fail_msg("should open: %s", err.msg);
	free(b.data);
	return g;
}

static void dismiss(struct gguf *g, void *copy)
{
	gguf_close(g);
	free(copy);
}

/* Of everything something: all kinds of values, arrays, and tensors of several types. */
static struct build sample(void)
{
	static const uint64_t dims_a[] = { 64, 3 }, dims_b[] = { 5 }, dims_c[] = { 32, 2, 2 };
	struct build b = build_begin(3, 3, 9);

	build_value_str(&b, "general.architecture", "llama");
	build_value_u32(&b, "llama.block_count", 7);
	build_value_f32(&b, "llama.eps", 0.5f);
	build_key(&b, "flag", GGUF_BOOL);
	build_bytes(&b, "\1", 1);
	build_key(&b, "wide", GGUF_U64);
	build_u64(&b, 1ull << 40);
	build_array(&b, "tokens", GGUF_STRING, 3);
	build_str(&b, "");
	build_str(&b, "one");
	build_str(&b, "\xe2\x96\x81two");
	build_array(&b, "types", GGUF_I16, 3);
	build_bytes(&b, "\1\0\2\0\377\377", 6);
	build_array(&b, "nested", GGUF_ARRAY, 2);
	build_u32(&b, GGUF_U8);
	build_u64(&b, 3);
	build_bytes(&b, "abc", 3);
	build_u32(&b, GGUF_STRING);
	build_u64(&b, 1);
	build_str(&b, "deep");
	build_array(&b, "empty", GGUF_STRING, 0);
	build_tensor(&b, "a", 2, dims_a, GGML_Q4_0, 0);	  /* 108 bytes */
	build_tensor(&b, "b", 1, dims_b, GGML_F32, 128);  /* 20 */
	build_tensor(&b, "c", 3, dims_c, GGML_Q8_0, 160); /* 136 */
	build_align(&b, 32);
	build_zeros(&b, 160 + 136);
	return b;
}

/* ------------------------------------------------------------------ reading */

static void every_kind_of_value_is_read(void **state)
{
	const struct gguf_value *v;
	struct gguf_str s;
	struct gguf *g;
	int64_t i = -1;
	float f;
	bool flag = false;
	void *copy;

	(void)state;
	g = accept(sample(), &copy);
	assert_int_equal(gguf_get_str(g, "general.architecture", &s, NULL), 1);
	assert_true(gguf_str_eq(s, "llama") && !gguf_str_eq(s, "llam") &&
		    !gguf_str_eq(s, "llamas"));
	assert_int_equal(gguf_get_int(g, "llama.block_count", 0, 100, &i, NULL), 1);
	assert_int_equal(i, 7);
	assert_int_equal(gguf_get_int(g, "wide", 0, INT64_MAX, &i, NULL), 1);
	assert_int_equal(i, 1ll << 40);
	assert_int_equal(gguf_get_float(g, "llama.eps", &f, NULL), 1);
	assert_true(f == 0.5f);
	assert_int_equal(gguf_get_bool(g, "flag", &flag, NULL), 1);
	assert_true(flag);
	v = gguf_find(g, "tokens");
	assert_true(v && v->kind == GGUF_ARRAY && v->elem == GGUF_STRING && v->n == 3);
	assert_true(gguf_str_eq(v->strings[0], "") && gguf_str_eq(v->strings[1], "one") &&
		    gguf_str_eq(v->strings[2], "\xe2\x96\x81two"));
	v = gguf_find(g, "types");
	assert_true(v->n == 3 && !v->strings);
	assert_int_equal(gguf_elem_int(v, 1), 2);
	assert_int_equal(gguf_elem_int(v, 2), -1);
	assert_true(gguf_elem_float(v, 2) == -1.0);
	v = gguf_find(g, "nested");
	assert_true(v->elem == GGUF_ARRAY && v->n == 2);
	assert_int_equal(gguf_find(g, "empty")->n, 0);
	dismiss(g, copy);
}

static void tensors_lie_where_their_offsets_say(void **state)
{
	const struct gguf_tensor *t;
	struct gguf *g;
	void *copy;

	(void)state;
	g = accept(sample(), &copy);
	assert_int_equal(g->n_tensors, 3);
	t = gguf_tensor(g, "a");
	assert_true(t->type == GGML_Q4_0 && t->n_dims == 2 && t->size == 108);
	assert_true(t->dims[0] == 64 && t->dims[1] == 3 && t->dims[2] == 1 && t->dims[3] == 1);
	assert_int_equal(t->offset % 32, 0);
	assert_ptr_equal(t->data, (char *)copy + t->offset);
	assert_int_equal(gguf_tensor(g, "b")->size, 20);
	assert_int_equal(gguf_tensor(g, "c")->size, 136);
	assert_int_equal(gguf_tensor(g, "c")->offset, t->offset + 160);
	assert_null(gguf_tensor(g, "d"));
	assert_null(gguf_tensor(g, ""));
	dismiss(g, copy);
}

static void version_2_is_read_as_well(void **state)
{
	struct build b = build_begin(2, 0, 1);
	struct gguf *g;
	void *copy;

	(void)state;
	build_value_u32(&b, "x", 1);
	g = accept(b, &copy);
	assert_int_equal(g->version, 2);
	assert_int_equal(g->alignment, 32);
	dismiss(g, copy);
}

static void a_vocabulary_without_tensors_may_end_with_its_metadata(void **state)
{
	struct build b = build_begin(3, 0, 1);
	struct gguf *g;
	void *copy;

	(void)state;
	build_value_str(&b, "general.architecture", "llama");
	g = accept(b, &copy);
	assert_int_equal(g->n_tensors, 0);
	dismiss(g, copy);
}

static void integers_convert_where_they_fit_and_are_refused_where_not(void **state)
{
	struct build b = build_begin(3, 0, 5);
	struct sherd_error err;
	struct gguf_str s;
	struct gguf *g;
	int64_t i = 55;
	float f = 55;
	bool flag;
	void *copy;

	(void)state;
	build_key(&b, "i8", GGUF_I8);
	build_bytes(&b, "\376", 1);
	build_key(&b, "u64", GGUF_U64);
	build_u64(&b, UINT64_MAX);
	build_key(&b, "f64", GGUF_F64);
	build_bytes(&b, &(double){ 2.5 }, 8);
	build_value_str(&b, "str", "5");
	build_array(&b, "array", GGUF_U32, 1);
	build_u32(&b, 5);
	g = accept(b, &copy);
	assert_int_equal(gguf_get_int(g, "i8", -128, 127, &i, &err), 1);
	assert_int_equal(i, -2);
	assert_int_equal(gguf_get_int(g, "i8", -1, 127, &i, &err), -ERANGE);
	assert_non_null(strstr(err.msg, "i8 is -2"));
	assert_int_equal(gguf_get_int(g, "u64", 0, 1000, &i, &err), -ERANGE);
	assert_int_equal(gguf_get_int(g, "f64", 0, 1000, &i, &err), -EINVAL);
	assert_int_equal(gguf_get_int(g, "str", 0, 1000, &i, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "string"));
	assert_int_equal(gguf_get_int(g, "array", 0, 1000, &i, &err), -EINVAL);
	assert_int_equal(gguf_get_int(g, "none", 0, 1000, &i, &err), 0);
	assert_int_equal(i, -2);
	assert_int_equal(gguf_get_float(g, "f64", &f, &err), 1);
	assert_true(f == 2.5f);
	assert_int_equal(gguf_get_float(g, "i8", &f, &err), 1);
	assert_true(f == -2.0f);
	assert_int_equal(gguf_get_float(g, "str", &f, &err), -EINVAL);
	assert_int_equal(gguf_get_bool(g, "i8", &flag, &err), -EINVAL);
	assert_int_equal(gguf_get_str(g, "i8", &s, &err), -EINVAL);
	dismiss(g, copy);
}

static void names_are_found_among_thousands(void **state)
{
	enum { N = 5000 };
	struct build b = build_begin(3, 0, N);
	struct gguf *g;
	char key[32];
	int64_t x;
	void *copy;
	int i;

	(void)state;
	for (i = 0; i < N; i++) { /* "k1" is the beginning of many others */
		snprintf(key, sizeof(key), "k%d", (i * 7919) % N);
		build_value_u32(&b, key, (uint32_t)((i * 7919) % N));
	}
	g = accept(b, &copy);
	for (i = 0; i < N; i++) {
		snprintf(key, sizeof(key), "k%d", i);
		assert_int_equal(gguf_get_int(g, key, 0, N, &x, NULL), 1);
		assert_int_equal(x, i);
	}
	assert_null(gguf_find(g, "k"));
	assert_null(gguf_find(g, "k5000"));
	assert_null(gguf_find(g, ""));
	dismiss(g, copy);
}

static void a_vocabulary_of_a_quarter_million_opens_at_once(void **state)
{
	enum { N = 262144 };
	struct build b = build_begin(3, 0, 1);
	struct gguf *g;
	clock_t t; /* of this process: others may keep the machine busy */
	void *copy;
	int i;

	(void)state;
	build_array(&b, "tokens", GGUF_STRING, N);
	for (i = 0; i < N; i++)
		build_str(&b, "tokentok");
	t = clock();
	g = accept(b, &copy);
	t = clock() - t;
	print_message("%.1f ms\n", (double)t * 1e3 / CLOCKS_PER_SEC);
	assert_true(t < 5 * CLOCKS_PER_SEC); /* quadratic work would take minutes */
	assert_true(gguf_str_eq(gguf_find(g, "tokens")->strings[N - 1], "tokentok"));
	dismiss(g, copy);
}

/* --------------------------------------------------------------- refusing */

static void a_truncated_file_is_refused_with_one_sentence(void **state)
{
	struct build b = sample();
	size_t n;

	(void)state;
	for (n = 0; n < b.size; n++) {
		struct build part = { malloc(n + 1), n, n + 1 };

		memcpy(part.data, b.data, n);
		refuse(part, -EINVAL, n < 4 ? "not a GGUF file" : "");
	}
	free(b.data);
}

static void other_files_and_versions_are_refused_by_name(void **state)
{
	struct build b = { NULL, 0, 0 };

	(void)state;
	build_bytes(&b, "<html><body>404</body></html>", 29);
	refuse(b, -EINVAL, "not a GGUF file");
	refuse(build_begin(0, 0, 0), -ENOTSUP, "version 0");
	refuse(build_begin(1, 0, 0), -ENOTSUP, "version 1");
	refuse(build_begin(4, 0, 0), -ENOTSUP, "version 4");
	refuse(build_begin(0x03000000, 0, 0), -ENOTSUP, "big-endian");
}

static void counts_beyond_the_file_are_refused_before_memory_is_taken(void **state)
{
	static const uint64_t counts[] = { 1, 2, 1000, 1u << 31, 1ull << 40, UINT64_MAX };
	struct build b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		refuse(build_begin(3, counts[i], 0), -EINVAL, "tensors");
		refuse(build_begin(3, 0, counts[i]), -EINVAL, "metadata values");
		b = build_begin(3, 0, 1);
		build_array(&b, "tokens", GGUF_STRING, counts[i]);
		refuse(b, -EINVAL, "tokens claims");
		b = build_begin(3, 0, 1);
		build_array(&b, "scores", GGUF_F64, counts[i]);
		build_zeros(&b, 7);
		refuse(b, -EINVAL, "scores claims");
		b = build_begin(3, 0, 1);
		build_key(&b, "name", GGUF_STRING);
		build_u64(&b, counts[i]);
		refuse(b, -EINVAL, "name claims");
		b = build_begin(3, 0, 1);
		build_u64(&b, counts[i] + 100 < 100 ? counts[i] : counts[i] + 100);
		build_zeros(&b, 20);
		refuse(b, -EINVAL, "a metadata key claims");
	}
	b = build_begin(3, 0, 1u << 19); /* as many as the file could hold, but beyond reason */
	build_zeros(&b, 14u << 19);
	refuse(b, -EINVAL, "metadata values");
}

static void unknown_kinds_are_refused(void **state)
{
	struct build b = build_begin(3, 0, 1);

	(void)state;
	build_key(&b, "x", 13);
	build_zeros(&b, 16);
	refuse(b, -EINVAL, "x is of an unknown kind, 13");
	b = build_begin(3, 0, 1);
	build_array(&b, "y", 0xffffffff, 1);
	build_zeros(&b, 16);
	refuse(b, -EINVAL, "y is an array of an unknown kind");
}

static struct build nested(int depth)
{
	struct build b = build_begin(3, 0, 1);

	build_array(&b, "deep", GGUF_ARRAY, 1);
	while (--depth > 1) {
		build_u32(&b, GGUF_ARRAY);
		build_u64(&b, 1);
	}
	build_u32(&b, GGUF_U8);
	build_u64(&b, 2);
	build_bytes(&b, "ab", 2);
	return b;
}

static void arrays_nest_four_deep_and_no_deeper(void **state)
{
	struct gguf *g;
	void *copy;

	(void)state;
	g = accept(nested(2), &copy);
	dismiss(g, copy);
	g = accept(nested(4), &copy);
	dismiss(g, copy);
	refuse(nested(5), -EINVAL, "nested deeper");
	refuse(nested(100000), -EINVAL, "nested deeper");
}

static void names_are_neither_empty_nor_broken_nor_endless(void **state)
{
	struct build b = build_begin(3, 0, 1);
	uint64_t dim = 1;
	char *name = calloc(1, 70000);

	(void)state;
	build_value_u32(&b, "", 1);
	refuse(b, -EINVAL, "key is empty");
	b = build_begin(3, 0, 1);
	build_u64(&b, 3);
	build_bytes(&b, "a\0b", 3);
	build_u32(&b, GGUF_U32);
	build_u32(&b, 1);
	refuse(b, -EINVAL, "zero byte");
	b = build_begin(3, 1, 0);
	build_tensor(&b, "", 1, &dim, GGML_F32, 0);
	build_zeros(&b, 64);
	refuse(b, -EINVAL, "name is empty");
	memset(name, 'n', 69999);
	b = build_begin(3, 0, 1);
	build_value_u32(&b, name, 1);
	refuse(b, -EINVAL, "at most 65535");
	name[1025] = '\0';
	b = build_begin(3, 1, 0);
	build_tensor(&b, name, 1, &dim, GGML_F32, 0);
	refuse(b, -EINVAL, "at most 1024");
	free(name);
}

static void a_name_may_stand_only_once(void **state)
{
	static const uint64_t dim = 8;
	struct build b = build_begin(3, 0, 3);

	(void)state;
	build_value_u32(&b, "twin", 1);
	build_value_u32(&b, "other", 1);
	build_value_u32(&b, "twin", 2);
	refuse(b, -EINVAL, "the key twin is there twice");
	b = build_begin(3, 2, 0);
	build_tensor(&b, "w", 1, &dim, GGML_F32, 0);
	build_tensor(&b, "w", 1, &dim, GGML_F32, 32);
	build_zeros(&b, 128);
	refuse(b, -EINVAL, "the tensor w is there twice");
}

static void the_alignment_is_a_power_of_two_within_reason(void **state)
{
	static const uint32_t bad[] = { 0, 1, 4, 7, 24, 33, 1u << 21, UINT32_MAX };
	struct build b;
	struct gguf *g;
	size_t i;
	void *copy;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		b = build_begin(3, 0, 1);
		build_value_u32(&b, "general.alignment", bad[i]);
		refuse(b, bad[i] < 8 || bad[i] > 1u << 20 ? -ERANGE : -EINVAL, "general.alignment");
	}
	b = build_begin(3, 0, 1);
	build_value_str(&b, "general.alignment", "32");
	refuse(b, -EINVAL, "general.alignment");
	b = build_begin(3, 0, 1);
	build_value_u32(&b, "general.alignment", 4096);
	g = accept(b, &copy);
	assert_int_equal(g->alignment, 4096);
	dismiss(g, copy);
}

/* One tensor in a file that has @bytes for it. */
static struct build one_tensor(uint32_t n_dims, const uint64_t *dims, uint32_t type,
			       uint64_t offset, size_t bytes)
{
	struct build b = build_begin(3, 1, 0);

	build_tensor(&b, "blk.0.w", n_dims, dims, type, offset);
	build_align(&b, 32);
	build_zeros(&b, bytes);
	return b;
}

static void shapes_that_cannot_be_are_refused(void **state)
{
	static const struct {
		uint32_t n_dims;
		uint64_t dims[5];
		uint32_t type;
		const char *words;
	} bad[] = {
		{ 0, { 0 }, GGML_F32, "0 dimensions" },
		{ 5, { 1, 1, 1, 1, 1 }, GGML_F32, "5 dimensions" },
		{ 0xffffffff, { 1, 1, 1, 1, 1 }, GGML_F32, "dimensions" },
		{ 1, { 0 }, GGML_F32, "dimension 0 is 0" },
		{ 2, { 32, 0 }, GGML_Q4_0, "dimension 1 is 0" },
		{ 1, { UINT64_MAX }, GGML_F32, "dimension 0" },
		{ 2, { 1ull << 32, 1ull << 32 }, GGML_F32, "dimension 1" },
		{ 4, { 1u << 16, 1u << 16, 1u << 16, 1u << 16 }, GGML_F16, "dimension 3" },
		{ 2, { 1ull << 31, 1ull << 30 }, GGML_F32, "dimension 1" },
		{ 1, { 33 }, GGML_Q4_0, "no multiple of Q4_0's blocks of 32" },
		{ 2, { 128, 2 }, GGML_Q6_K, "no multiple of Q6_K's blocks of 256" },
	};
	struct build b;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		b = build_begin(3, 1, 0);
		build_str(&b, "blk.0.w");
		build_u32(&b, bad[i].n_dims);
		build_bytes(&b, bad[i].dims, MIN(bad[i].n_dims, 5u) * sizeof(uint64_t));
		build_u32(&b, bad[i].type);
		build_u64(&b, 0);
		build_zeros(&b, 512);
		refuse(b, -EINVAL, bad[i].words);
	}
}

static void tensors_outside_of_the_file_are_refused(void **state)
{
	static const uint64_t dims[] = { 32, 2 };
	struct gguf *g;
	void *copy;

	(void)state;
	g = accept(one_tensor(2, dims, GGML_F32, 64, 64 + 256), &copy);
	assert_int_equal(g->tensors[0].size, 256);
	dismiss(g, copy);
	refuse(one_tensor(2, dims, GGML_F32, 64, 64 + 255), -EINVAL, "blk.0.w needs 256 bytes");
	refuse(one_tensor(2, dims, GGML_F32, 96, 64 + 256), -EINVAL, "at offset 96");
	refuse(one_tensor(2, dims, GGML_F32, 1ull << 40, 512), -EINVAL, "truncated");
	refuse(one_tensor(2, dims, GGML_F32, UINT64_MAX - 31, 512), -EINVAL, "truncated");
	refuse(one_tensor(2, dims, GGML_F32, 16, 512), -EINVAL, "no multiple of the alignment");
}

static void a_tensor_of_unknown_type_is_listed_and_has_no_data(void **state)
{
	static const uint64_t dims[] = { 77, 2 };
	static const uint32_t unknown[] = { 16, 40, 63, 64, 77, UINT32_MAX };
	struct gguf *g;
	size_t i;
	void *copy;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(unknown); i++) {
		g = accept(one_tensor(2, dims, unknown[i], 0, 64), &copy);
		assert_int_equal((uint32_t)g->tensors[0].type, unknown[i]);
		assert_true(g->tensors[0].size == 0 && !g->tensors[0].data);
		assert_false(ggml_type_known(g->tensors[0].type));
		dismiss(g, copy);
	}
	refuse(one_tensor(2, dims, 77, 1u << 20, 64), -EINVAL, "blk.0.w");
}

/* What opens must be usable: every string and every tensor within the bytes. */
static void touch_all(const struct gguf *g)
{
	volatile uint8_t sink = 0;
	const uint8_t *p;
	size_t i, j;

	for (i = 0; i < g->n_values; i++) {
		const struct gguf_value *v = &g->values[i];

		for (j = 0; v->strings && j < v->n; j++)
			if (v->strings[j].len)
				sink ^= (uint8_t)v->strings[j].data[v->strings[j].len - 1];
		if (v->kind == GGUF_ARRAY && v->n && v->elem != GGUF_ARRAY && !v->strings)
			sink ^= (uint8_t)gguf_elem_int(v, v->n - 1);
		sink ^= (uint8_t)v->key.data[v->key.len - 1];
	}
	for (i = 0; i < g->n_tensors; i++) {
		p = g->tensors[i].data;
		if (p)
			sink ^= p[0] ^ p[g->tensors[i].size - 1];
	}
}

static void no_changed_byte_makes_the_reader_leave_the_file(void **state)
{
	unsigned seed = (unsigned)time(NULL);
	struct build b = sample();
	struct sherd_error err;
	size_t i, n, opened = 0;
	struct gguf *g;
	uint8_t *bytes = malloc(b.size);
	void *copy;

	(void)state;
	print_message("seed %u\n", seed);
	srand(seed);
	for (i = 0; i < 20 * b.size; i++) {
		memcpy(bytes, b.data, b.size);
		bytes[i % b.size] = (uint8_t)(i < 2 * b.size ? (i < b.size ? 0xff : 0) : rand());
		for (n = i < 4 * b.size ? 0 : (size_t)rand() % 4; n; n--)
			bytes[(size_t)rand() % b.size] = (uint8_t)rand();
		err.msg[0] = '\0';
		if (build_open_bytes(bytes, b.size, &g, &copy, &err)) {
			assert_null(g);
			assert_true(strlen(err.msg) > 20 && !strchr(err.msg, '\n'));
		} else {
			touch_all(g);
			opened++;
		}
		dismiss(g, copy);
	}
	assert_true(opened > 0);
	free(bytes);
	free(b.data);
}

/* ---------------------------------------------------------------- writing */

static int memory_file(void)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void what_is_written_is_read_back(void **state)
{
	static const uint32_t numbers[] = { 5, 6, 0xffffffff };
	static const uint64_t dims[2][2] = { { 70, 3 }, { 64, 5 } };
	static const uint32_t alignments[] = { 32, 4096 };
	static const char *copied[] = { "tokens", "types", "flag", "wide", "general.architecture",
					"empty" };
	struct gguf *src, *g;
	struct gguf_writer *w;
	uint8_t data[70 * 3 + 340];
	size_t i, done, part;
	struct gguf_str s;
	int64_t x;
	float f;
	bool flag;
	void *copy;
	int fd, a;

	(void)state;
	src = accept(sample(), &copy);
	for (i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)(i * 31 + 7);
	for (a = 0; a < 2; a++) {
		fd = memory_file();
		w = gguf_writer_new(dup(fd), "out", alignments[a]);
		gguf_put_u32(w, "u", 7);
		gguf_put_f32(w, "f", 1.5f);
		gguf_put_bool(w, "b", true);
		gguf_put_str(w, "s", "text");
		gguf_put_u32_array(w, "numbers", numbers, 3);
		for (i = 0; i < ARRAY_SIZE(copied); i++)
			gguf_put_value(w, copied[i], gguf_find(src, copied[i]));
		gguf_put_tensor(w, "first", GGML_I8, 2, dims[0]);
		gguf_put_tensor(w, "second", GGML_Q8_0, 2, dims[1]);
		assert_int_equal(gguf_writer_header(w, NULL), 0);
		for (done = 0; done < sizeof(data); done += part) { /* in odd pieces */
			part = (size_t)rand() % 97;
			part = MIN(part, sizeof(data) - done);
			assert_int_equal(gguf_writer_data(w, data + done, part, NULL), 0);
		}
		assert_int_equal(gguf_writer_finish(w, NULL), 0);
		gguf_writer_free(w);

		assert_int_equal(gguf_open_fd(&g, fd, "out", NULL), 0);
		assert_int_equal(g->alignment, alignments[a]);
		assert_int_equal(g->map.size % alignments[a], 0);
		assert_int_equal(gguf_get_int(g, "u", 0, 9, &x, NULL), 1);
		assert_int_equal(gguf_get_float(g, "f", &f, NULL), 1);
		assert_int_equal(gguf_get_bool(g, "b", &flag, NULL), 1);
		assert_int_equal(gguf_get_str(g, "s", &s, NULL), 1);
		assert_true(x == 7 && f == 1.5f && flag && gguf_str_eq(s, "text"));
		assert_int_equal(gguf_elem_int(gguf_find(g, "numbers"), 2), 0xffffffff);
		assert_int_equal(gguf_get_int(g, "wide", 0, INT64_MAX, &x, NULL), 1);
		assert_int_equal(x, 1ll << 40);
		assert_true(gguf_str_eq(gguf_find(g, "tokens")->strings[2], "\xe2\x96\x81two"));
		assert_int_equal(gguf_elem_int(gguf_find(g, "types"), 2), -1);
		assert_int_equal(gguf_find(g, "empty")->n, 0);
		assert_memory_equal(gguf_tensor(g, "first")->data, data, 210);
		assert_memory_equal(gguf_tensor(g, "second")->data, data + 210, 340);
		assert_int_equal(gguf_tensor(g, "second")->offset % alignments[a], 0);
		gguf_close(g);
	}
	dismiss(src, copy);
}

/* A writer with one tensor of 8 bytes whose header is out. */
static struct gguf_writer *small_writer(int fd)
{
	struct gguf_writer *w = gguf_writer_new(fd, "out", 32);
	uint64_t dim = 2;

	gguf_put_tensor(w, "t", GGML_F32, 1, &dim);
	assert_int_equal(gguf_writer_header(w, NULL), 0);
	return w;
}

static void a_tensor_gets_all_of_its_bytes_and_no_more(void **state)
{
	struct sherd_error err;
	struct gguf_writer *w;
	int fd = memory_file();

	(void)state;
	w = small_writer(fd);
	assert_int_equal(gguf_writer_data(w, "1234567", 7, &err), 0);
	assert_int_equal(gguf_writer_finish(w, &err), -EINVAL);
	assert_non_null(strstr(err.msg, "missing"));
	assert_int_equal(gguf_writer_data(w, "89", 2, &err), -EINVAL);
	gguf_writer_free(w);
	w = gguf_writer_new(fd, "out", 32);
	assert_int_equal(gguf_writer_data(w, "1", 1, &err), -EINVAL);
	assert_int_equal(gguf_writer_finish(w, &err), -EINVAL);
	gguf_writer_free(w);
	close(fd);
}

static void mistakes_in_between_are_told_by_the_header(void **state)
{
	static const uint64_t zero[] = { 0 }, odd[] = { 33 }, huge[] = { 1ull << 62, 1ull << 62 };
	static const struct {
		enum ggml_type type;
		int n_dims;
		const uint64_t *dims;
	} bad[] = { { GGML_F32, 1, zero },
		    { GGML_Q4_0, 1, odd },
		    { GGML_F32, 2, huge },
		    { (enum ggml_type)77, 1, odd },
		    { GGML_F32, 0, odd } };
	struct sherd_error err;
	struct gguf_writer *w;
	struct gguf *src;
	size_t i;
	void *copy;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		w = gguf_writer_new(-1, "out", 32);
		gguf_put_tensor(w, "odd.one", bad[i].type, bad[i].n_dims, bad[i].dims);
		assert_int_equal(gguf_writer_header(w, &err), -EINVAL);
		assert_non_null(strstr(err.msg, "odd.one"));
		gguf_writer_free(w);
	}
	w = gguf_writer_new(-1, "out", 48);
	assert_int_equal(gguf_writer_header(w, &err), -EINVAL);
	gguf_writer_free(w);
	src = accept(sample(), &copy);
	w = gguf_writer_new(-1, "out", 32);
	gguf_put_value(w, "n", gguf_find(src, "nested"));
	assert_int_equal(gguf_writer_header(w, &err), -ENOTSUP);
	gguf_writer_free(w);
	dismiss(src, copy);
	gguf_put_u32(NULL, "no writer", 1);
	assert_int_equal(gguf_writer_header(NULL, &err), -ENOMEM);
}

static void a_full_disk_is_told_at_once(void **state)
{
	struct sherd_error err;
	int fd = open("/dev/full", O_WRONLY);
	struct gguf_writer *w = gguf_writer_new(fd, "out", 32);

	(void)state;
	assert_int_equal(gguf_writer_header(w, &err), -ENOSPC);
	gguf_writer_free(w);
	close(fd);
}

/* ------------------------------------------------------------------- types */

static void types_have_names_and_blocks(void **state)
{
	unsigned t;

	(void)state;
	assert_string_equal(ggml_type_name(GGML_Q4_K), "Q4_K");
	assert_string_equal(ggml_type_name((enum ggml_type)77), "type 77");
	assert_string_equal(ggml_type_name((enum ggml_type)33), "type 33");
	assert_int_equal(ggml_block_size(GGML_Q6_K), 256);
	assert_int_equal(ggml_block_bytes(GGML_Q6_K), 210);
	assert_string_equal(ggml_types_read(),
			    "F32, F16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, "
			    "IQ4_NL, IQ4_XS, BF16, MXFP4");
	for (t = 0; t < 100; t++) {
		assert_non_null(ggml_type_name((enum ggml_type)t));
		assert_int_equal(ggml_type_known((enum ggml_type)t),
				 ggml_block_bytes((enum ggml_type)t) != 0);
	}
}

static void real_files_open(void **state)
{
	static const char *names[] = {
		"data/models/stories260K-f32.gguf",
		"data/tokenizers/ggml-vocab-gpt-2.gguf",
		"data/tokenizers/ggml-vocab-llama-spm.gguf",
		"data/tokenizers/ggml-vocab-phi-3.gguf",
	};
	const char *shared = getenv("SHERD_SHARED") ? getenv("SHERD_SHARED") : "../shared";
	struct sherd_error err;
	struct gguf *g;
	char path[512];
	size_t i;

	(void)state;
	if (access(shared, F_OK)) {
		print_message("skipped: no folder %s (SHERD_SHARED names another)\n", shared);
		skip();
	}
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", shared, names[i]);
		if (gguf_open(&g, path, &err))
			fail_msg("%s", err.msg);
		assert_non_null(gguf_find(g, "tokenizer.ggml.tokens"));
		touch_all(g);
		gguf_close(g);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_value_is_read),
		cmocka_unit_test(tensors_lie_where_their_offsets_say),
		cmocka_unit_test(version_2_is_read_as_well),
		cmocka_unit_test(a_vocabulary_without_tensors_may_end_with_its_metadata),
		cmocka_unit_test(integers_convert_where_they_fit_and_are_refused_where_not),
		cmocka_unit_test(names_are_found_among_thousands),
		cmocka_unit_test(a_vocabulary_of_a_quarter_million_opens_at_once),
		cmocka_unit_test(a_truncated_file_is_refused_with_one_sentence),
		cmocka_unit_test(other_files_and_versions_are_refused_by_name),
		cmocka_unit_test(counts_beyond_the_file_are_refused_before_memory_is_taken),
		cmocka_unit_test(unknown_kinds_are_refused),
		cmocka_unit_test(arrays_nest_four_deep_and_no_deeper),
		cmocka_unit_test(names_are_neither_empty_nor_broken_nor_endless),
		cmocka_unit_test(a_name_may_stand_only_once),
		cmocka_unit_test(the_alignment_is_a_power_of_two_within_reason),
		cmocka_unit_test(shapes_that_cannot_be_are_refused),
		cmocka_unit_test(tensors_outside_of_the_file_are_refused),
		cmocka_unit_test(a_tensor_of_unknown_type_is_listed_and_has_no_data),
		cmocka_unit_test(no_changed_byte_makes_the_reader_leave_the_file),
		cmocka_unit_test(what_is_written_is_read_back),
		cmocka_unit_test(a_tensor_gets_all_of_its_bytes_and_no_more),
		cmocka_unit_test(mistakes_in_between_are_told_by_the_header),
		cmocka_unit_test(a_full_disk_is_told_at_once),
		cmocka_unit_test(types_have_names_and_blocks),
		cmocka_unit_test(real_files_open),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
