/* SPDX-License-Identifier: MIT */
/*
 * pack: what a shard holds is what its source says, for every type and architecture; and sources
 * that can't be packed are refused in a sentence that names the tensor.
 */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include "gguf_edit.h"
#include "model/quant.h"
#include "model/shard.h"
#include "tiny_model.h"

static const struct sherd_pack_params as_is;

/* -------------------------------------------------------------- the source's floats */

/* Row @row of the source tensors that @slot stacks, as floats; false where there are none. */
static bool source_row(const struct gguf *g, enum sherd_slot slot, int layer, uint32_t row,
		       float *out)
{
	static const char *const qkv[] = { "attn_q", "attn_k", "attn_v" };
	static const char *const gate_up[] = { "ffn_gate", "ffn_up" };
	const struct gguf_tensor *t;
	char name[64];
	int i;

	sherd_slot_name(slot, layer, name, sizeof(name));
	t = gguf_tensor(g, name);
	for (i = 0; !t && i < (slot == SHERD_ATTN_QKV	   ? 3
			       : slot == SHERD_FFN_GATE_UP ? 2
							   : 0);
	     i++) {
		snprintf(name, sizeof(name), "blk.%d.%s.weight", layer,
			 slot == SHERD_ATTN_QKV ? qkv[i] : gate_up[i]);
		t = gguf_tensor(g, name);
		if (t && row >= t->dims[1]) {
			row -= (uint32_t)t->dims[1];
			t = NULL;
		}
	}
	if (!t)
		return false;
	sherd_dequant_row(t->type,
			  (const uint8_t *)t->data + row * (t->dims[0] / ggml_block_size(t->type) *
							    ggml_block_bytes(t->type)),
			  t->dims[0], out);
	return true;
}

static bool row_was_float(const struct gguf *g, const char *name)
{
	const struct gguf_tensor *t = gguf_tensor(g, name);

	return t && (t->type == GGML_F32 || t->type == GGML_F16 || t->type == GGML_BF16);
}

/* ------------------------------------------------------------------------ helpers */

static struct sherd_shard *pack_open(const struct gguf *g, const struct sherd_pack_params *p,
				     struct sherd_pack_report *report)
{
	int fd = memfd_create("test", 0);
	struct sherd_error err = { "" };
	struct sherd_shard *s = NULL;

	assert_true(fd >= 0);
	if (sherd_pack(g, fd, "test", p, report, &err) || sherd_shard_open_fd(&s, fd, "test", &err))
		fail_msg("%s", err.msg);
	return s;
}

static struct gguf *open_tiny(const struct tiny_model *t)
{
	char *path = tiny_model_write(t);
	struct sherd_error err;
	struct gguf *g;

	if (gguf_open(&g, path, &err))
		fail_msg("%s", err.msg);
	unlink(path);
	free(path);
	return g;
}

/* The largest difference between @t and its source, and the largest weight. */
static double difference(const struct gguf *g, const struct sherd_tensor *t, enum sherd_slot slot,
			 int layer, double *largest)
{
	float *x = malloc((t->fmt.cols + 31) * sizeof(*x));
	double worst = 0;
	uint32_t r, c;

	*largest = 0;
	for (r = 0; r < t->fmt.rows; r++) {
		assert_true(source_row(g, slot, layer, r, x));
		for (c = 0; c < t->fmt.cols; c++) {
			worst = fmax(worst, fabs((double)sherd_tensor_get(t, r, c) - (double)x[c]));
			*largest = fmax(*largest, fabs((double)x[c]));
		}
	}
	free(x);
	return worst;
}

static void check_vector(const struct gguf *g, const struct sherd_shard *s, enum sherd_slot slot,
			 int layer)
{
	const float *v = sherd_shard_vector(s, slot, layer);
	const struct gguf_tensor *t;
	char name[64];

	sherd_slot_name(slot, layer, name, sizeof(name));
	t = gguf_tensor(g, name);
	if (slot == SHERD_ATTN_QKV_BIAS && !t)
		return; /* has its own test */
	assert_int_equal(!!v, !!t);
	if (t)
		assert_memory_equal(v, t->data, t->size);
}

static void check_slot(const struct gguf *g, const struct sherd_shard *s, enum sherd_slot slot,
		       int layer, double tolerance)
{
	const struct sherd_tensor *t = sherd_shard_matrix(s, slot, layer);
	double worst, largest;
	char name[64];

	if (sherd_slot_is_vector(slot)) {
		check_vector(g, s, slot, layer);
		return;
	}
	if (!t)
		return; /* the loader has seen to what must be there */
	worst = difference(g, t, slot, layer, &largest);
	sherd_slot_name(slot, layer, name, sizeof(name));
	if (worst > tolerance * largest)
		fail_msg("%s differs by %g of %g", name, worst, largest);
}

static void check_all(const struct gguf *g, const struct sherd_shard *s, double tolerance)
{
	int slot, layer;

	for (slot = 0; slot < SHERD_FIRST_LAYER_SLOT; slot++)
		check_slot(g, s, slot, -1, tolerance);
	for (layer = s->first_layer; layer < s->end_layer; layer++)
		for (slot = SHERD_FIRST_LAYER_SLOT; slot < SHERD_N_SLOTS; slot++)
			check_slot(g, s, slot, layer, tolerance);
}

/* ---------------------------------------------------------------------- what is packed */

static const enum ggml_type types[] = { GGML_F32,  GGML_F16,  GGML_BF16, GGML_Q4_0,
					GGML_Q4_1, GGML_Q5_0, GGML_Q5_1, GGML_Q8_0,
					GGML_Q4_K, GGML_Q5_K, GGML_Q6_K,  GGML_Q2_K,
					GGML_Q3_K, GGML_IQ4_NL, GGML_IQ4_XS, GGML_MXFP4 };

static void every_type_of_every_architecture_is_packed_without_loss(void **state)
{
	static const char *const archs[] = { "llama", "qwen2", "gpt2" };
	uint64_t rng = tiny_seed();
	struct sherd_pack_report report;
	size_t i, k, a;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types) * ARRAY_SIZE(archs); i++) {
		struct tiny_model t = { .n_layers = 1 + tiny_below(&rng, 3), .n_ctx = 40 };
		unsigned block = ggml_block_size(types[i / 3]);
		struct sherd_shard *s;
		struct gguf *g;

		a = i % 3;
		t.arch = archs[a];
		t.type = types[i / 3];
		t.embd_type = types[(i / 3 + 3) % ARRAY_SIZE(types)];
		block = MAX(block, ggml_block_size(t.embd_type));
		t.n_heads = 2;
		t.n_kv_heads = a == 2 ? 2 : 1;
		t.head_dim = block == 1 ? 2 * (1 + tiny_below(&rng, 30)) : (int)block / 2;
		t.hidden = t.n_heads * t.head_dim;
		t.ffn = (int)block * (1 + tiny_below(&rng, 3)) + (block == 1 ? 50 : 0);
		t.n_vocab = 5 + tiny_below(&rng, 40);
		t.tied = tiny_below(&rng, 2);
		t.rope_freqs = a < 2 && tiny_below(&rng, 2);
		t.seed = tiny_random(&rng);
		g = open_tiny(&t);
		s = pack_open(g, &as_is, &report);
		check_all(g, s, 0);
		for (k = 0; k < report.n_loss; k++)
			assert_true(report.loss[k].rel_rms == 0);
		free(report.loss);
		sherd_shard_close(s);
		gguf_close(g);
	}
}

static void bits_requantize_float_weights_and_the_loss_is_measured(void **state)
{
	static const struct tiny_model t = { .arch = "llama", .n_layers = 2, .hidden = 52,
					     .n_heads = 2, .n_kv_heads = 2, .head_dim = 26,
					     .ffn = 172, .n_vocab = 61, .n_ctx = 64,
					     .type = GGML_F16, .embd_type = GGML_F32, .seed = 3 };
	struct sherd_pack_params p = { 0 };
	struct sherd_pack_report report;
	struct gguf *g = open_tiny(&t);
	size_t k;

	(void)state;
	for (p.bits = 4; p.bits <= 8; p.bits += 4) {
		struct sherd_shard *s = pack_open(g, &p, &report);
		/*
		 * the whole distance between two steps of the grid, since the scale is rounded too
		 */
		check_all(g, s, p.bits == 4 ? 1. / 7.9 : 1. / 126);
		assert_int_equal(sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1)->fmt.elem,
				 p.bits == 4 ? SHERD_ELEM_U4 : SHERD_ELEM_U8);
		assert_true(report.n_loss > 0);
		for (k = 0; k < report.n_loss; k++) {
			assert_true(report.loss[k].rel_rms > (p.bits == 4 ? 0.03 : 0.002));
			assert_true(report.loss[k].rel_rms < (p.bits == 4 ? 0.15 : 0.01));
		}
		free(report.loss);
		sherd_shard_close(s);
	}
	gguf_close(g);
}

/* What the packed layout has no 4 bits for is rounded; what has, keeps its integers. */
static void four_bits_cost_what_the_report_says(void **state)
{
	static const struct {
		enum ggml_type type;
		double least, most;
		bool halves; /* scales are all that is rounded */
	} cases[] = {
		{ GGML_IQ4_NL, 0.04, 0.12, false }, { GGML_IQ4_XS, 0.04, 0.12, false },
		{ GGML_MXFP4, 0.04, 0.12, false },  { GGML_Q2_K, 1e-5, 2e-3, true },
		{ GGML_Q3_K, 1e-5, 5e-4, true },    { GGML_Q4_K, 1e-5, 2e-3, true },
	};
	const struct sherd_pack_params four = { .bits = 4 };
	struct sherd_pack_report report;
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct tiny_model t = { .arch = "llama", .n_layers = 1, .hidden = 256,
					      .n_heads = 2, .n_kv_heads = 2, .head_dim = 128,
					      .ffn = 256, .n_vocab = 61, .n_ctx = 64,
					      .type = cases[i].type, .embd_type = cases[i].type,
					      .tied = true, .seed = 5 };
		struct gguf *g = open_tiny(&t);
		struct sherd_shard *s = pack_open(g, &four, &report);
		const struct sherd_format *f = &sherd_shard_matrix(s, SHERD_FFN_DOWN, 0)->fmt;
		struct sherd_pack_kind *kinds;
		size_t n;

		assert_int_equal(f->elem, SHERD_ELEM_U4);
		assert_int_equal(f->scale, SHERD_ELEM_F16);
		for (k = 0; k < report.n_loss; k++) {
			assert_true(report.loss[k].rel_rms > cases[i].least);
			assert_true(report.loss[k].rel_rms < cases[i].most);
		}
		assert_false(report.could_be_less);
		kinds = sherd_pack_kinds(&report, &n);
		assert_int_equal(n, 1);
		assert_int_equal(kinds[0].n, report.n_loss);
		assert_true(kinds[0].mean > cases[i].least &&
			    kinds[0].mean <= kinds[0].worst->rel_rms);
		check_all(g, s, cases[i].halves ? 1e-3 : 0.13);
		free(kinds);
		free(report.loss);
		sherd_shard_close(s);
		s = pack_open(g, &as_is, &report);
		assert_true(report.could_be_less);
		free(report.loss);
		sherd_shard_close(s);
		gguf_close(g);
	}
}

static void bits_leave_quantized_weights_as_they_are(void **state)
{
	struct sherd_pack_params p = { .bits = 4 };
	struct gguf *g = open_tiny(&tiny_models[1]); /* Q8_0 with an F16 embedding */
	struct sherd_shard *s = pack_open(g, &p, NULL);

	(void)state;
	assert_true(row_was_float(g, "token_embd.weight"));
	assert_int_equal(sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1)->fmt.elem, SHERD_ELEM_U4);
	assert_int_equal(sherd_shard_matrix(s, SHERD_FFN_DOWN, 1)->fmt.elem, SHERD_ELEM_U8);
	check_slot(g, s, SHERD_FFN_DOWN, 1, 0);
	sherd_shard_close(s);
	gguf_close(g);
}

static void q_k_and_v_are_stacked_where_formats_and_row_blocks_allow(void **state)
{
	/* heads of 26: q has 52 rows, so k would begin within a row block */
	struct gguf *odd = open_tiny(&tiny_models[2]), *even = open_tiny(&tiny_models[0]), *mixed;
	struct gguf_edit e = { .tensor = "blk.1.attn_v.weight", .type_plus_1 = GGML_Q8_0 + 1 };
	char *path = tiny_model_write(&tiny_models[0]), *edited = gguf_edit_write(path, &e);
	struct sherd_shard *s;

	(void)state;
	s = pack_open(even, &as_is, NULL);
	assert_non_null(sherd_shard_matrix(s, SHERD_ATTN_QKV, 1));
	assert_null(sherd_shard_matrix(s, SHERD_ATTN_V, 1));
	assert_non_null(sherd_shard_matrix(s, SHERD_FFN_GATE_UP, 1));
	sherd_shard_close(s);
	s = pack_open(odd, &as_is, NULL);
	assert_null(sherd_shard_matrix(s, SHERD_ATTN_QKV, 1));
	assert_non_null(sherd_shard_matrix(s, SHERD_ATTN_K, 1));
	assert_null(sherd_shard_matrix(s, SHERD_FFN_GATE_UP, 1));
	assert_non_null(sherd_shard_matrix(s, SHERD_FFN_UP, 1));
	sherd_shard_close(s);
	assert_int_equal(gguf_open(&mixed, edited, NULL), 0);
	s = pack_open(mixed, &as_is, NULL);
	assert_non_null(sherd_shard_matrix(s, SHERD_ATTN_QKV, 0));
	assert_null(sherd_shard_matrix(s, SHERD_ATTN_QKV, 1));
	assert_int_equal(sherd_shard_matrix(s, SHERD_ATTN_V, 1)->fmt.elem, SHERD_ELEM_U8);
	assert_int_equal(sherd_shard_matrix(s, SHERD_ATTN_Q, 1)->fmt.elem, SHERD_ELEM_U4);
	sherd_shard_close(s);
	gguf_close(odd);
	gguf_close(even);
	gguf_close(mixed);
	unlink(path);
	unlink(edited);
	free(path);
	free(edited);
}

static void biases_of_q_k_and_v_become_one_vector(void **state)
{
	const struct tiny_model *t = &tiny_models[3]; /* qwen2 */
	const size_t q = t->n_heads * t->head_dim, kv = t->n_kv_heads * t->head_dim;
	struct gguf *g = open_tiny(t);
	struct sherd_shard *s = pack_open(g, &as_is, NULL);
	const float *v = sherd_shard_vector(s, SHERD_ATTN_QKV_BIAS, 1);

	(void)state;
	assert_non_null(v);
	assert_memory_equal(v, gguf_tensor(g, "blk.1.attn_q.bias")->data, q * 4);
	assert_memory_equal(v + q, gguf_tensor(g, "blk.1.attn_k.bias")->data, kv * 4);
	assert_memory_equal(v + q + kv, gguf_tensor(g, "blk.1.attn_v.bias")->data, kv * 4);
	sherd_shard_close(s);
	gguf_close(g);
}

static void ranges_of_layers_hold_what_their_place_needs(void **state)
{
	struct tiny_model t = tiny_models[1]; /* tied, with rope_freqs, 3 layers */
	struct gguf *g = open_tiny(&t);
	struct sherd_pack_params p = { .first_layer = 0, .end_layer = 1 };
	struct sherd_shard *s = pack_open(g, &p, NULL);
	uint64_t first, middle;

	(void)state;
	assert_non_null(sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1));
	assert_null(sherd_shard_vector(s, SHERD_OUT_NORM, -1));
	assert_non_null(sherd_shard_vector(s, SHERD_ROPE_FREQS, -1));
	assert_null(sherd_shard_matrix(s, SHERD_FFN_DOWN, 1));
	check_slot(g, s, SHERD_TOKEN_EMBD, -1, 0);
	check_slot(g, s, SHERD_FFN_DOWN, 0, 0);
	first = s->token_bytes;
	assert_true(s->weight_bytes > s->token_bytes);
	sherd_shard_close(s);

	p = (struct sherd_pack_params){ .first_layer = 1, .end_layer = 2 };
	s = pack_open(g, &p, NULL);
	assert_null(sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1));
	assert_non_null(sherd_shard_vector(s, SHERD_ROPE_FREQS, -1));
	assert_int_equal(s->hp.n_vocab, t.n_vocab);
	middle = s->token_bytes;
	assert_true(middle == first && middle == s->weight_bytes);
	sherd_shard_close(s);

	p = (struct sherd_pack_params){ .first_layer = 2, .end_layer = 3 };
	s = pack_open(g, &p, NULL);
	assert_non_null(sherd_shard_matrix(s, SHERD_TOKEN_EMBD, -1)); /* the output reads it */
	assert_non_null(sherd_shard_vector(s, SHERD_OUT_NORM, -1));
	assert_true(s->token_bytes == s->weight_bytes && s->token_bytes > middle);
	sherd_shard_close(s);
	gguf_close(g);
}

static void packing_twice_gives_the_same_bytes_and_the_hash_is_of_the_source(void **state)
{
	struct gguf *g = open_tiny(&tiny_models[4]);
	struct sherd_shard *a = pack_open(g, &as_is, NULL), *b = pack_open(g, &as_is, NULL);
	struct gguf_edit e = {
		.tensor = "blk.1.ffn_up.weight", .poke = "\3", .poke_size = 1, .poke_at = 100
	};
	char *path = tiny_model_write(&tiny_models[4]), *edited = gguf_edit_write(path, &e);
	const struct sherd_pack_params tail = { .first_layer = 1, .end_layer = 2 };
	struct sherd_shard *c, *part;
	struct gguf *other;

	(void)state;
	assert_int_equal(a->gguf->map.size, b->gguf->map.size);
	assert_memory_equal(a->gguf->map.data, b->gguf->map.data, a->gguf->map.size);
	assert_int_equal(strlen(a->source_sha256), 64);
	part = pack_open(g, &tail, NULL);
	assert_string_equal(a->source_sha256, part->source_sha256);
	sherd_shard_close(part);
	assert_int_equal(gguf_open(&other, edited, NULL), 0);
	c = pack_open(other, &as_is, NULL);
	assert_string_not_equal(a->source_sha256, c->source_sha256);
	sherd_shard_close(a);
	sherd_shard_close(b);
	sherd_shard_close(c);
	gguf_close(g);
	gguf_close(other);
	unlink(path);
	unlink(edited);
	free(path);
	free(edited);
}

static void check_sizes(const struct tiny_model *t)
{
	struct sherd_pack_params p = { .bits = 8 };
	struct sherd_pack_report report;

	for (; t->arch; t++) {
		struct gguf *g = open_tiny(t);
		uint64_t bytes;

		assert_int_equal(sherd_pack_size(g, &p, &bytes, NULL), 0);
		sherd_shard_close(pack_open(g, &p, &report));
		free(report.loss);
		assert_true(bytes + 16384 >= report.bytes_out);
		assert_true(bytes <= report.bytes_out + 65536);
		gguf_close(g);
	}
}

static void the_size_said_beforehand_is_enough_and_not_far_off(void **state)
{
	(void)state;
	check_sizes(tiny_models);
	check_sizes(tiny_families);
}

/* -------------------------------------------------------------------- what is refused */

static void refused(const struct tiny_model *t, const struct gguf_edit *e,
		    const struct sherd_pack_params *p, const char *named)
{
	char *path = tiny_model_write(t), *edited = gguf_edit_write(path, e);
	struct sherd_error err = { "" };
	int fd = memfd_create("test", 0);
	struct gguf *g;

	assert_int_equal(gguf_open(&g, edited, &err), 0);
	assert_true(sherd_pack(g, fd, "test", p, NULL, &err) < 0);
	if (!strstr(err.msg, named))
		fail_msg("'%s' does not name %s", err.msg, named);
	gguf_close(g);
	close(fd);
	unlink(path);
	unlink(edited);
	free(path);
	free(edited);
}

static void a_missing_tensor_is_refused_by_its_name(void **state)
{
	static const char *const llama[] = { "token_embd.weight",      "output_norm.weight",
					     "blk.1.attn_norm.weight", "blk.0.attn_q.weight",
					     "blk.1.attn_v.weight",    "blk.0.attn_output.weight",
					     "blk.1.ffn_gate.weight",  "blk.1.ffn_up.weight",
					     "blk.0.ffn_down.weight",  "blk.1.ffn_norm.weight" };
	static const char *const gpt2[] = { "position_embd.weight", "blk.1.attn_qkv.weight",
					    "blk.0.attn_qkv.bias",  "blk.0.attn_norm.bias",
					    "blk.1.ffn_up.weight",  "blk.1.ffn_down.bias" };
	struct gguf_edit e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(llama); i++) {
		e.drop_tensor = llama[i];
		refused(&tiny_models[0], &e, &as_is, llama[i]);
	}
	for (i = 0; i < ARRAY_SIZE(gpt2); i++) {
		e.drop_tensor = gpt2[i];
		refused(&tiny_models[5], &e, &as_is, gpt2[i]);
	}
	e.drop_tensor = "blk.1.attn_k.bias";
	refused(&tiny_models[3], &e, &as_is, "blk.1.attn_k.bias");
}

static void a_misshapen_tensor_is_refused_by_its_name(void **state)
{
	struct gguf_edit e = { .tensor = "blk.1.ffn_down.weight", .dims = { 160, 95 } };

	(void)state;
	refused(&tiny_models[0], &e, &as_is, "blk.1.ffn_down.weight");
	e = (struct gguf_edit){ .tensor = "blk.0.attn_k.weight", .dims = { 96, 64 } };
	refused(&tiny_models[0], &e, &as_is, "blk.0.attn_k.weight");
	e = (struct gguf_edit){ .tensor = "output_norm.weight", .dims = { 64, 1 } };
	refused(&tiny_models[0], &e, &as_is, "output_norm.weight");
	e = (struct gguf_edit){ .tensor = "blk.0.attn_k.weight", .dims = { 32, 96 } };
	refused(&tiny_models[0], &e, &as_is, "blk.0.attn_k.weight");
}

static void types_that_can_not_be_are_refused_by_the_tensors_name(void **state)
{
	struct gguf_edit e = { .tensor = "blk.0.ffn_norm.weight", .type_plus_1 = GGML_Q8_0 + 1 };

	(void)state;
	refused(&tiny_models[0], &e, &as_is, "blk.0.ffn_norm.weight");
	e = (struct gguf_edit){ .tensor = "blk.0.ffn_up.weight", .type_plus_1 = GGML_I8 + 1 };
	refused(&tiny_models[0], &e, &as_is, "blk.0.ffn_up.weight");
}

static void a_weight_that_the_architecture_does_not_know_is_refused(void **state)
{
	static const char *const extra[] = { "blk.0.attn_q_norm.weight",
					     "blk.0.ffn_gate.bias",
					     "blk.0.attn_q.scale",
					     "blk.7.attn_q.weight",
					     "blk.x.y",
					     "token_types.weight",
					     "position_embd.weight",
					     "blk.0.attn_norm.bias" };
	struct gguf_edit e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(extra); i++) {
		e.add_tensor = extra[i];
		refused(&tiny_models[0], &e, &as_is, extra[i]);
	}
}

static void tables_that_readers_compute_themselves_may_be_there(void **state)
{
	struct gguf_edit e = { .add_tensor = "blk.0.attn_rot_embd.weight" };
	char *path = tiny_model_write(&tiny_models[0]), *edited = gguf_edit_write(path, &e);
	struct gguf *g;

	(void)state;
	assert_int_equal(gguf_open(&g, edited, NULL), 0);
	sherd_shard_close(pack_open(g, &as_is, NULL));
	gguf_close(g);
	unlink(path);
	unlink(edited);
	free(path);
	free(edited);
}

static void nan_and_infinity_are_refused_by_the_tensors_name(void **state)
{
	static const uint16_t half_nan = 0x7e01, half_inf = 0xfc00;
	static const float nan_f = NAN;
	const struct sherd_pack_params four = { .bits = 4 };
	struct gguf_edit e = { .tensor = "blk.1.ffn_up.weight",
			       .poke = &half_nan,
			       .poke_size = 2,
			       .poke_at = 18 * 7 };

	(void)state;
	refused(&tiny_models[0], &e, &as_is, "blk.1.ffn_up.weight");
	e = (struct gguf_edit){ .tensor = "blk.0.attn_v.weight",
				.poke = &half_inf,
				.poke_size = 2,
				.poke_at = 20 * 3 + 2 }; /* the minimum of a Q4_1 block */
	refused(&tiny_models[3], &e, &as_is, "blk.0.attn_v.weight");
	e = (struct gguf_edit){ .tensor = "blk.0.ffn_down.weight",
				.poke = &nan_f,
				.poke_size = 4,
				.poke_at = 4 * 1000 };
	refused(&tiny_models[2], &e, &as_is, "blk.0.ffn_down.weight");
	refused(&tiny_models[2], &e, &four, "blk.0.ffn_down.weight");
	e = (struct gguf_edit){
		.tensor = "blk.0.attn_norm.weight", .poke = &nan_f, .poke_size = 4, .poke_at = 8
	};
	refused(&tiny_models[2], &e, &as_is, "blk.0.attn_norm.weight");
}

static void scales_that_no_float_or_no_half_holds_are_refused(void **state)
{
	static const uint8_t exponents[] = { 253, 254, 255 };
	static const uint16_t large = 0x7bff; /* 65504, times the scales of groups */
	const struct sherd_pack_params four = { .bits = 4 };
	struct gguf_edit e = { .tensor = "blk.0.ffn_up.weight", .poke_at = 17 * 5, .poke_size = 1 };
	struct tiny_model t = tiny_models[4]; /* Q4_K */
	size_t i;

	(void)state;
	e.poke = &large;
	e.poke_size = 2;
	e.poke_at = 144;
	refused(&t, &e, &four, "blk.0.ffn_up.weight");
	t.type = GGML_MXFP4;
	e.poke_at = 17 * 5;
	e.poke_size = 1;
	for (i = 0; i < ARRAY_SIZE(exponents); i++) {
		e.poke = &exponents[i];
		refused(&t, &e, &as_is, "blk.0.ffn_up.weight");
		refused(&t, &e, &four, "blk.0.ffn_up.weight");
	}
}

static void other_types_are_refused_by_name_with_those_that_are_read(void **state)
{
	static const struct {
		int type;
		const char *name;
	} types_not_read[] = {
		{ 16, "of type IQ2_XXS," }, { 21, "of type IQ3_S," }, { 29, "of type IQ1_M," },
		{ 34, "of type TQ1_0," },   { 35, "of type TQ2_0," }, { 40, "of type NVFP4," },
		{ 9, "of type Q8_1," },	    { 15, "of type Q8_K," },  { 99, "of type type 99," },
	};
	struct gguf *g = open_tiny(&tiny_models[0]);
	struct gguf_tensor *t = (struct gguf_tensor *)gguf_tensor(g, "blk.0.ffn_up.weight");
	struct sherd_error err;
	uint64_t bytes;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(types_not_read); i++) {
		t->type = (enum ggml_type)types_not_read[i].type;
		assert_int_equal(sherd_pack_size(g, &as_is, &bytes, &err), -EOPNOTSUPP);
		if (!strstr(err.msg, "blk.0.ffn_up.weight") ||
		    !strstr(err.msg, types_not_read[i].name) || !strstr(err.msg, ggml_types_read()))
			fail_msg("'%s' does not name %s", err.msg, types_not_read[i].name);
	}
	gguf_close(g);
}

static void ranges_and_bits_that_are_not_there_are_refused(void **state)
{
	const struct sherd_pack_params bad[] = { { .bits = 5 },
						 { .first_layer = 2, .end_layer = 2 },
						 { .first_layer = 0, .end_layer = 3 },
						 { .first_layer = -1, .end_layer = 1 },
						 { .first_layer = 1 } };
	struct gguf_edit e = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		refused(&tiny_models[0], &e, &bad[i], bad[i].bits ? "5 bits" : "layers 0-1");
}

static void a_full_disk_ends_packing_with_one_sentence(void **state)
{
	struct gguf *g = open_tiny(&tiny_models[4]);
	struct rlimit old, small = { 65536, 65536 };
	struct sherd_error err = { "" };
	char path[] = "/tmp/sherd-full-XXXXXX";
	int fd = mkstemp(path);

	(void)state;
	unlink(path);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
	assert_true(sherd_pack(g, fd, "full.shard", &as_is, NULL, &err) < 0);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_non_null(strstr(err.msg, "full.shard"));
	close(fd);
	gguf_close(g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_of_every_architecture_is_packed_without_loss),
		cmocka_unit_test(bits_requantize_float_weights_and_the_loss_is_measured),
		cmocka_unit_test(four_bits_cost_what_the_report_says),
		cmocka_unit_test(bits_leave_quantized_weights_as_they_are),
		cmocka_unit_test(q_k_and_v_are_stacked_where_formats_and_row_blocks_allow),
		cmocka_unit_test(biases_of_q_k_and_v_become_one_vector),
		cmocka_unit_test(ranges_of_layers_hold_what_their_place_needs),
		cmocka_unit_test(packing_twice_gives_the_same_bytes_and_the_hash_is_of_the_source),
		cmocka_unit_test(the_size_said_beforehand_is_enough_and_not_far_off),
		cmocka_unit_test(a_missing_tensor_is_refused_by_its_name),
		cmocka_unit_test(a_misshapen_tensor_is_refused_by_its_name),
		cmocka_unit_test(types_that_can_not_be_are_refused_by_the_tensors_name),
		cmocka_unit_test(a_weight_that_the_architecture_does_not_know_is_refused),
		cmocka_unit_test(tables_that_readers_compute_themselves_may_be_there),
		cmocka_unit_test(nan_and_infinity_are_refused_by_the_tensors_name),
		cmocka_unit_test(scales_that_no_float_or_no_half_holds_are_refused),
		cmocka_unit_test(other_types_are_refused_by_name_with_those_that_are_read),
		cmocka_unit_test(ranges_and_bits_that_are_not_there_are_refused),
		cmocka_unit_test(a_full_disk_ends_packing_with_one_sentence),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
