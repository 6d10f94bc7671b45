/* SPDX-License-Identifier: MIT */
/*
 * walk: which steps are done in one launch and which by themselves, and that both give the
 * reference's bits. Odd step lists are made by hand: the same change to those of two models, one on
 * OpenCL, one on the reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/cl/cl_exec.h"
#include "infer/infer.h"
#include "tiny_model.h"

#define N_TOKENS 5

/* A model whose norms have biases; tiny_models[0] is one walk. */
static const struct tiny_model with_biases = {
	.arch = "gpt2",
	.n_layers = 2,
	.hidden = 64,
	.n_heads = 2,
	.n_kv_heads = 2,
	.head_dim = 32,
	.ffn = 96,
	.n_vocab = 40,
	.n_ctx = 64,
	.type = GGML_Q8_0,
	.embd_type = GGML_Q8_0,
	.tied = true,
	.seed = 6,
};

static struct sherd_model *open_reference(const struct tiny_model *t)
{
	struct sherd_model_params p = { .device = "reference", .n_ctx = 64, .n_batch = 8 };
	struct sherd_error err;
	struct sherd_model *m;

	if (tiny_model_open(&m, t, &p, &err))
		fail_msg("%s", err.msg);
	return m;
}

/* The model's step list, as it is by now, on OpenCL; skips where there is no such device. */
static void move_to_opencl(struct sherd_model *m, const char *device)
{
	struct sherd_exec_params p = { .program = m->program, .n_batch = 8, .n_pages = 1,
				       .device = device, .untested = true };
	struct sherd_error err = { "" };
	struct sherd_exec *e;
	int rc = sherd_exec_open(&e, &p, &err);

	if (rc == -ENODEV) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	if (rc)
		fail_msg("%s", err.msg);
	m->exec->ops->close(m->exec);
	m->exec = e;
}

/* Launches since profiling began: walks, or single steps. */
static unsigned count(struct sherd_model *m, bool walks)
{
	const struct sherd_cl *c = &((struct cl_exec *)m->exec)->c;
	unsigned n = 0;
	int i;

	for (i = 0; i < c->n_events; i++)
		n += !c->times[i].share && !strcmp(c->times[i].name, "walk") == walks;
	return n;
}

/*
 * One token after the other on both: equal bits, and a token is @walks walks and @steps other
 * launches.
 */
static void compare(struct sherd_model *cl, struct sherd_model *ref, unsigned walks, unsigned steps)
{
	struct sherd_model *m[] = { cl, ref };
	struct sherd_session *s[2];
	struct sherd_error err;
	const float *logits[2];
	int32_t i;
	int k;

	assert_int_equal(sherd_cl_exec_profile(cl->exec, true, &err), 0);
	for (k = 0; k < 2; k++)
		assert_int_equal(sherd_session_new(&s[k], m[k], NULL, &err), 0);
	for (i = 0; i < N_TOKENS; i++) {
		for (k = 0; k < 2; k++)
			if (sherd_prefill(s[k], &i, 1, &logits[k], &err))
				fail_msg("%s", err.msg);
		assert_memory_equal(logits[0], logits[1], cl->info.n_vocab * sizeof(float));
	}
	assert_int_equal(count(cl, true), N_TOKENS * walks);
	assert_int_equal(count(cl, false), N_TOKENS * steps);
	for (k = 0; k < 2; k++) {
		sherd_session_free(s[k]);
		sherd_model_close(m[k]);
	}
}

/* Op @i of layer @layer that has @kind. */
static struct sherd_op *find(struct sherd_model *m, int layer, enum sherd_op_kind kind, int i)
{
	struct sherd_op *op = m->program->ops;

	while (op->layer != layer || op->kind != kind || i--)
		op++;
	return op;
}

/* @change changes both models' step lists. */
static void check(const struct tiny_model *t, void (*change)(struct sherd_model *), unsigned walks,
		  unsigned steps)
{
	struct sherd_model *cl = open_reference(t), *ref = open_reference(t);

	if (change) {
		change(cl);
		change(ref);
	}
	move_to_opencl(cl, "cpu/wide");
	compare(cl, ref, walks, steps);
}

/* The other launch is the embedding's. */
static void a_token_is_one_walk(void **state)
{
	(void)state;
	check(&tiny_models[0], NULL, 1, 1);
	check(&with_biases, NULL, 1, 1);
}

/*
 * Experts are chosen by what is computed: they are launches of their own. Where an embedding is
 * projected, it is quantized first, and positions are looked up: two more.
 */
static void a_token_of_any_dense_family_is_one_walk(void **state)
{
	const struct tiny_model *t;

	(void)state;
	for (t = tiny_families; t->arch; t++) {
		if (t->more && strstr(t->more, "expert_count"))
			continue;
		print_message("%s %s\n", t->arch, t->more ? t->more : "");
		check(t, NULL, 1, t->more && strstr(t->more, "embedding_length_in") ? 3 : 1);
	}
}

static void drop_matmul_biases(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_MATMUL, 0)->bias = NULL;
	find(m, 1, SHERD_OP_MATMUL, 3)->bias = NULL;
}

static void each_matmul_may_have_a_bias_or_none(void **state)
{
	(void)state;
	check(&with_biases, drop_matmul_biases, 1, 1);
}

static void drop_bias(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 2)->bias = NULL;
}

static void drop_first_bias(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 0)->bias = NULL;
}

static void each_norm_may_have_a_bias_or_none(void **state)
{
	(void)state;
	check(&with_biases, drop_bias, 1, 1);
	check(&with_biases, drop_first_bias, 1, 1);
}

static void change_norm(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 2)->norm = SHERD_NORM_LAYER;
}

static void norms_may_be_of_two_kinds(void **state)
{
	(void)state;
	check(&tiny_models[0], change_norm, 1, 1);
}

static void replace_the_stream(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_MATMUL, 3)->residual = false;
}

static void a_matmul_may_replace_the_stream(void **state)
{
	(void)state;
	check(&tiny_models[0], replace_the_stream, 1, 1);
}

/* A walk ends where the format changes; what is left alone between two is a launch. */
static void a_walk_ends_at_another_format(void **state)
{
	static const struct {
		const char *name;
		enum ggml_type type; /* more bits, or minima */
		unsigned walks, steps;
	} odd[] = {
		{ "blk.1.attn_q.weight", GGML_Q8_0, 2, 2 },
		{ "blk.1.attn_output.weight", GGML_Q8_0, 3, 1 },
		{ "blk.1.attn_output.weight", GGML_Q4_1, 3, 1 },
		{ "blk.1.ffn_up.weight", GGML_Q4_1, 3, 1 },
		{ "blk.1.ffn_down.weight", GGML_Q4_1, 2, 2 },
		{ "output.weight", GGML_Q8_0, 1, 2 },
	};
	struct tiny_model t = tiny_models[0];
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		t.odd = odd[i].name;
		t.odd_type = odd[i].type;
		check(&t, NULL, odd[i].walks, odd[i].steps);
	}
}

static void without_the_wide_shape_nothing_walks(void **state)
{
	struct sherd_model *cl = open_reference(&tiny_models[0]);
	struct sherd_model *ref = open_reference(&tiny_models[0]);

	(void)state;
	move_to_opencl(cl, "cpu/simt");
	compare(cl, ref, 0, cl->program->n_ops - 2); /* no cut, no gather of one row */
}

static void only_cpus_in_the_wide_shape_walk_over_integers(void **state)
{
	struct sherd_device dev = { .info = { .is_cpu = true, .compute_units = 1 },
				    .shape = SHERD_SHAPE_WIDE };
	struct sherd_cl c = { .dev = &dev };
	struct sherd_format f = { SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 64, 64 };
	struct sherd_kv_shape kv = { .n_kv_heads = 1, .head_dim = 96, .type = SHERD_KV_INT8 };
	char spec[32] = "";

	(void)state;
	assert_true(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	assert_string_equal(spec, "walk.4.32.0.0.1.96");
	kv.n_kv_heads = 3;
	assert_true(sherd_cl_walk_spec(&c, &f, &kv, 9, spec, sizeof(spec)));
	assert_string_equal(spec, "walk.4.32.0.0.1.96.4");
	kv.head_dim = 80;
	assert_false(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	kv.head_dim = 64;
	dev.info.compute_units = sherd_device_host_cpus();
	assert_true(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	dev.info.compute_units++;
	assert_false(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	dev.info.compute_units = 1;
	dev.shape = SHERD_SHAPE_SIMT;
	assert_false(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	dev.shape = SHERD_SHAPE_WIDE;
	dev.info.is_cpu = false;
	assert_false(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
	dev.info.is_cpu = true;
	f = (struct sherd_format){ SHERD_ELEM_F16, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 64, 64 };
	assert_false(sherd_cl_walk_spec(&c, &f, &kv, 8, spec, sizeof(spec)));
}

/* A program made for another cache must not be taken because its weights fit. */
static void a_program_is_found_by_all_that_it_was_compiled_for(void **state)
{
	struct sherd_kv_shape kv = { .head_dim = 64, .type = SHERD_KV_INT8 };
	struct sherd_format f = { SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 64, 64 };
	static const char *const specs[] = { "rows", "attention.0.64", "attention.1.64",
					     "walk.4.32.0.0.0.64", "walk.4.32.0.0.1.32",
					     "walk.4.32.0.0.1.64", "int.4.32.0.0" };
	struct sherd_cl c = { 0 };
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(specs); i++)
		assert_int_equal(sherd_cl_add(&c, specs[i], &err), 0);
	assert_ptr_equal(sherd_cl_rows_program(&c, 1), &c.programs[0]);
	assert_ptr_equal(sherd_cl_attention_program(&c, &kv, 1), &c.programs[2]);
	assert_ptr_equal(sherd_cl_walk_program(&c, &f, &kv), &c.programs[5]);
	assert_ptr_equal(sherd_cl_matmul_program(&c, &f, false, 1), &c.programs[6]);
	kv.head_dim = 128;
	assert_null(sherd_cl_attention_program(&c, &kv, 1));
	assert_null(sherd_cl_walk_program(&c, &f, &kv));
	kv = (struct sherd_kv_shape){ .head_dim = 64, .type = SHERD_KV_F32 };
	assert_null(sherd_cl_walk_program(&c, &f, &kv));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_cpus_in_the_wide_shape_walk_over_integers),
		cmocka_unit_test(a_program_is_found_by_all_that_it_was_compiled_for),
		cmocka_unit_test(a_token_is_one_walk),
		cmocka_unit_test(a_token_of_any_dense_family_is_one_walk),
		cmocka_unit_test(each_matmul_may_have_a_bias_or_none),
		cmocka_unit_test(each_norm_may_have_a_bias_or_none),
		cmocka_unit_test(norms_may_be_of_two_kinds),
		cmocka_unit_test(a_matmul_may_replace_the_stream),
		cmocka_unit_test(a_walk_ends_at_another_format),
		cmocka_unit_test(without_the_wide_shape_nothing_walks),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
