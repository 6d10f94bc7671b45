/* SPDX-License-Identifier: MIT */
/*
 * shard: whatever is wrong with a packed file is said in one sentence, and nothing is read that
 * isn't there.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "gguf_edit.h"
#include "model/shard.h"
#include "tiny_model.h"

/* Packs tiny model @i into a new temporary file, whose path is malloc'd. */
static char *pack_tiny(size_t i)
{
	char *source = tiny_model_write(&tiny_models[i]);
	char *path = sherd_asprintf("%s.shard", source);
	struct sherd_pack_params p = { 0 };
	struct sherd_error err = { "" };
	struct gguf *g;
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	if (gguf_open(&g, source, &err) || sherd_pack(g, fd, path, &p, NULL, &err))
		fail_msg("%s", err.msg);
	gguf_close(g);
	close(fd);
	unlink(source);
	free(source);
	return path;
}

static void done(char *path)
{
	unlink(path);
	free(path);
}

static void refused_file(const char *path, const char *named)
{
	struct sherd_error err = { "" };
	struct sherd_shard *s;

	if (!sherd_shard_open(&s, path, &err))
		fail_msg("opened, although %s", named);
	if (!strstr(err.msg, named))
		fail_msg("'%s' does not name %s", err.msg, named);
	assert_null(strchr(err.msg, '\n'));
}

static void refused(const char *path, const struct gguf_edit *e, const char *named)
{
	char *edited = gguf_edit_write(path, e);

	refused_file(edited, named);
	done(edited);
}

static void a_shard_opens_with_its_numbers(void **state)
{
	char *path = pack_tiny(1); /* llama, tied, 3 layers of 64, Q8_0, F16 embedding of 130 */
	struct sherd_shard *s;
	const struct sherd_tensor *t;
	uint64_t embd = 144 * 64 * 2;

	(void)state;
	assert_int_equal(sherd_shard_open(&s, path, NULL), 0);
	assert_int_equal(s->first_layer, 0);
	assert_int_equal(s->end_layer, 3);
	assert_string_equal(s->hp.arch->name, "llama");
	t = sherd_shard_matrix(s, SHERD_TOKEN_EMBD, 99);
	assert_int_equal(t->values_size, embd);
	assert_null(sherd_shard_matrix(s, SHERD_OUTPUT, -1));
	assert_null(sherd_shard_matrix(s, SHERD_FFN_DOWN, 3));
	assert_null(sherd_shard_matrix(s, SHERD_FFN_DOWN, -1));
	assert_null(sherd_shard_matrix(s, SHERD_FFN_NORM, 0));
	assert_null(sherd_shard_vector(s, SHERD_FFN_DOWN, 0));
	assert_true(s->token_bytes == s->weight_bytes); /* tied: the output reads the embedding */
	/* q+k+v, out, gate+up, down; 34 bytes for 32 weights */
	assert_true(s->weight_bytes ==
		    embd + 3ull * (128 * 64 + 64 * 64 + 192 * 64 + 64 * 96) / 32 * 34);
	assert_true(s->n_params ==
		    130 * 64 + 8 + 64 + 3ull * (128 * 64 + 64 * 64 + 192 * 64 + 64 * 96 + 128));
	sherd_shard_close(s);
	done(path);
}

/* -1: this kernel does not say. */
static int asks_for_large_pages(const void *data)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	unsigned long long from, to;
	char line[512];
	bool here = false;
	int asks = -1;

	while (f && asks < 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			here = (uintptr_t)data >= from && (uintptr_t)data < to;
		else if (here && !strncmp(line, "VmFlags:", 8))
			asks = strstr(line, " hg") != NULL;
	}
	if (f)
		fclose(f);
	return asks;
}

static void only_a_shards_mapping_asks_for_large_pages(void **state)
{
	struct sherd_shard *s;
	char *source, *path;
	struct gguf *g;

	(void)state;
	if (access("/sys/kernel/mm/transparent_hugepage", F_OK)) {
		print_message("skipped: a kernel without transparent huge pages\n");
		skip();
	}
	source = tiny_model_write(&tiny_models[0]);
	path = pack_tiny(0);
	assert_int_equal(gguf_open(&g, source, NULL), 0);
	assert_int_equal(sherd_shard_open(&s, path, NULL), 0);
	assert_int_equal(asks_for_large_pages(g->map.data), 0);
	assert_int_equal(asks_for_large_pages(s->gguf->map.data), 1);
	gguf_close(g);
	sherd_shard_close(s);
	done(source);
	done(path);
}

static void planes_begin_at_pages(void **state)
{
	char *path = pack_tiny(4);
	struct sherd_shard *s;
	int slot;

	(void)state;
	assert_int_equal(sherd_shard_open(&s, path, NULL), 0);
	for (slot = 0; slot < SHERD_N_SLOTS; slot++) {
		const struct sherd_tensor *t = sherd_shard_matrix(s, slot, 1);

		if (!t)
			continue;
		assert_int_equal((uintptr_t)t->values % 4096, 0);
		assert_int_equal((uintptr_t)t->scales % 4096, 0);
		assert_int_equal((uintptr_t)t->mins % 4096, 0);
	}
	sherd_shard_close(s);
	done(path);
}

static void an_unknown_layout_version_is_refused_with_what_to_do(void **state)
{
	char *path = pack_tiny(0);
	struct gguf_edit e = { .set_u32 = "sherd.layout_version", .u32 = 2 };

	(void)state;
	refused(path, &e, "repack it: sherd pack");
	e = (struct gguf_edit){ .drop_value = "sherd.layout_version" };
	refused(path, &e, "repack it: sherd pack");
	done(path);
}

static void a_plain_gguf_is_no_shard(void **state)
{
	char *path = tiny_model_write(&tiny_models[0]);

	(void)state;
	refused_file(path, "is not a packed shard");
	done(path);
}

static void a_missing_plane_record_or_vector_is_refused_by_its_name(void **state)
{
	static const char *const tensors[] = { "token_embd.weight.values",
					       "blk.1.ffn_down.weight.scales",
					       "blk.0.attn_qkv.weight.mins", "output_norm.weight",
					       "blk.1.attn_qkv.bias" };
	static const char *const records[] = { "token_embd.weight", "blk.1.attn_output.weight",
					       "blk.0.attn_qkv.weight",
					       "blk.1.ffn_gate_up.weight" };
	char *path = pack_tiny(3); /* qwen2, Q4_1 */
	struct gguf_edit e = { 0 };
	char key[96];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(tensors); i++) {
		e.drop_tensor = tensors[i];
		refused(path, &e, tensors[i]);
	}
	e.drop_tensor = NULL;
	for (i = 0; i < ARRAY_SIZE(records); i++) {
		snprintf(key, sizeof(key), "sherd.format.%s", records[i]);
		e.drop_value = key;
		refused(path, &e, records[i]);
	}
	done(path);
}

static void records_that_contradict_planes_or_model_are_refused(void **state)
{
	/* of blk.0.ffn_down.weight: int4 g32 f16, 96 x 160 */
	static const uint32_t bad[][6] = {
		{ 7, 32, 2, 255, 96, 160 },
		{ 0, 8, 2, 255, 96, 160 },
		{ 1, 32, 2, 255, 96, 160 },
		{ 0, 16, 2, 255, 96, 160 },
		{ 0, 32, 4, 255, 96, 160 },
		{ 0, 32, 2, 2, 96, 160 },
		{ 0, 32, 2, 255, 112, 160 },
		{ 0, 32, 2, 255, 95, 160 },
		{ 0, 32, 2, 255, 96, 159 },
		{ 0, 32, 2, 255, 0, 160 },
		{ 0, 32, 2, 255, 1u << 31, 1u << 31 },
	};
	char *path = pack_tiny(0);
	struct gguf_edit e = { .set_array = "sherd.format.blk.0.ffn_down.weight", .n_array = 6 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(e.array, bad[i], sizeof(e.array));
		refused(path, &e, "blk.0.ffn_down.weight");
	}
	e.n_array = 5;
	refused(path, &e, "blk.0.ffn_down.weight");
	e = (struct gguf_edit){ .set_str = "sherd.format.blk.0.ffn_down.weight", .str = "int4" };
	refused(path, &e, "blk.0.ffn_down.weight");
	done(path);
}

static void a_layer_has_the_stack_or_its_parts_but_not_both(void **state)
{
	char *path = pack_tiny(0);
	/* q of 96 x 96 halves beside qkv; the bytes are another layer's */
	struct gguf_edit e = { .tensor = "blk.1.attn_output.weight.values",
			       .name = "blk.0.attn_q.weight.values",
			       .dims = { 96 * 96 * 2, 1 },
			       .set_array = "sherd.format.blk.0.attn_q.weight",
			       .n_array = 6,
			       .array = { SHERD_ELEM_F16, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 96,
					  96 } };

	(void)state;
	refused(path, &e, "neither blk.0.attn_qkv.weight nor all its parts, or both");
	done(path);
}

static void layers_that_are_not_there_are_refused(void **state)
{
	static const uint32_t bad[][2] = { { 0, 3 }, { 0, 0 }, { 2, 1 }, { 0, UINT32_MAX } };
	char *path = pack_tiny(0);
	struct gguf_edit e = { .set_array = "sherd.layers", .n_array = 2 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		memcpy(e.array, bad[i], sizeof(bad[i]));
		refused(path, &e, "layers");
	}
	/* a model of a thousand layers, all of which it claims to hold */
	e.set_u32 = "llama.block_count";
	e.u32 = 1000;
	memcpy(e.array, (uint32_t[]){ 0, 1000 }, 8);
	refused(path, &e, "layers [0, 1000)");
	e = (struct gguf_edit){ .drop_value = "sherd.layers" };
	refused(path, &e, "sherd.layers");
	done(path);
}

static void nan_in_a_scale_or_vector_is_refused_by_its_name(void **state)
{
	static const uint16_t nan_h = 0x7c01;
	static const uint32_t inf_f = 0x7f800000;
	char *path = pack_tiny(0);
	struct gguf_edit e = { .tensor = "blk.1.ffn_gate_up.weight.scales",
			       .poke = &nan_h,
			       .poke_size = 2,
			       .poke_at = 42 };

	(void)state;
	refused(path, &e, "blk.1.ffn_gate_up.weight.scales");
	e = (struct gguf_edit){
		.tensor = "blk.0.ffn_norm.weight", .poke = &inf_f, .poke_size = 4, .poke_at = 12
	};
	refused(path, &e, "blk.0.ffn_norm.weight");
	done(path);
	path = pack_tiny(2); /* floats: the values themselves */
	e = (struct gguf_edit){
		.tensor = "output.weight.values", .poke = &inf_f, .poke_size = 4, .poke_at = 64
	};
	refused(path, &e, "output.weight.values");
	done(path);
}

static void another_alignment_is_refused(void **state)
{
	char *path = pack_tiny(0);
	struct gguf_edit e = { .alignment = 32 };

	(void)state;
	refused(path, &e, "no multiple of 4096");
	done(path);
}

static void a_shard_cut_short_anywhere_is_refused(void **state)
{
	char *path = pack_tiny(6), *cut;
	size_t size, n, step;
	char *data;

	(void)state;
	assert_int_equal(sherd_read_file(path, 64 << 20, &data, &size, NULL), 0);
	cut = sherd_asprintf("%s.cut", path);
	for (n = 0; n < size; n += step) {
		int fd = open(cut, O_RDWR | O_CREAT | O_TRUNC, 0600);

		assert_int_equal(write(fd, data, n), (ssize_t)n);
		close(fd);
		/* the last page's padding may be cut: it holds nothing */
		if (n + 4096 < size)
			refused_file(cut, cut);
		step = n < 4096 ? 97 : 4096;
	}
	free(data);
	done(cut);
	done(path);
}

static void read_corners(const struct sherd_shard *s)
{
	int slot, layer;

	for (layer = s->first_layer; layer < s->end_layer; layer++)
		for (slot = 0; slot < SHERD_N_SLOTS; slot++) {
			const struct sherd_tensor *t = sherd_shard_matrix(s, slot, layer);

			if (!t)
				continue;
			sherd_tensor_get(t, 0, 0);
			sherd_tensor_get(t, t->fmt.rows - 1, t->fmt.cols - 1);
		}
}

/* Whatever happens to the header, opening ends, and what opens can be read to its end. */
static void damaged_headers_never_crash(void **state)
{
	uint64_t rng = tiny_seed();
	char *path = pack_tiny(0);
	size_t size, i, k, opened = 0;
	char *file, *data;

	(void)state;
	assert_int_equal(sherd_read_file(path, 64 << 20, &file, &size, NULL), 0);
	data = sherd_alloc_aligned(4096, size, 1); /* as a mapping is */
	memcpy(data, file, size);
	free(file);
	for (i = 0; i < 3000; i++) {
		char saved[8192];
		struct sherd_shard *s;
		struct gguf *g;

		memcpy(saved, data, sizeof(saved));
		for (k = 0; k < 1 + i % 4; k++)
			data[tiny_below(&rng, 6000)] ^= (char)(1 << tiny_below(&rng, 8));
		if (!gguf_open_memory(&g, data, size, "damaged", NULL) &&
		    !sherd_shard_from_gguf(&s, g, false, NULL)) {
			read_corners(s);
			sherd_shard_close(s);
			opened++;
		}
		memcpy(data, saved, sizeof(saved));
	}
	assert_true(opened > 0); /* the unharmed kind of damage: a name, a hash */
	free(data);
	done(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_shard_opens_with_its_numbers),
		cmocka_unit_test(only_a_shards_mapping_asks_for_large_pages),
		cmocka_unit_test(planes_begin_at_pages),
		cmocka_unit_test(an_unknown_layout_version_is_refused_with_what_to_do),
		cmocka_unit_test(a_plain_gguf_is_no_shard),
		cmocka_unit_test(a_missing_plane_record_or_vector_is_refused_by_its_name),
		cmocka_unit_test(records_that_contradict_planes_or_model_are_refused),
		cmocka_unit_test(a_layer_has_the_stack_or_its_parts_but_not_both),
		cmocka_unit_test(layers_that_are_not_there_are_refused),
		cmocka_unit_test(nan_in_a_scale_or_vector_is_refused_by_its_name),
		cmocka_unit_test(another_alignment_is_refused),
		cmocka_unit_test(a_shard_cut_short_anywhere_is_refused),
		cmocka_unit_test(damaged_headers_never_crash),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
