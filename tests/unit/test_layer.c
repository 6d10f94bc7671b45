/* SPDX-License-Identifier: MIT */
/*
 * layer: which layers are done in one launch and which go step by step, and that both give the
 * reference's bits. Near misses are made by hand: the same change to the step lists of two models, one
 * on OpenCL, one on the reference.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>
#include <cmocka.h>
#include "infer/cl/cl_weights.h"
#include "infer/infer.h"
#include "tiny_model.h"

#define N_TOKENS 5

/* A Q4_0 model that is done layer by layer, and one whose norms have biases. */
static const struct tiny_model plain = {
	.arch = "llama",
	.n_layers = 2,
	.hidden = 96,
	.n_heads = 3,
	.n_kv_heads = 1,
	.head_dim = 32,
	.ffn = 160,
	.n_vocab = 77,
	.n_ctx = 64,
	.type = GGML_Q4_0,
	.embd_type = GGML_Q8_0,
	.seed = 1,
};
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
	struct sherd_model_params p = { .device = "reference", .no_cache = true, .n_ctx = 64,
					.n_batch = 8 };
	char *path = tiny_model_write(t);
	struct sherd_error err;
	struct sherd_model *m;

	if (sherd_model_open(&m, path, &p, &err))
		fail_msg("%s", err.msg);
	unlink(path);
	free(path);
	return m;
}

/* The model's step list, as it is by now, on OpenCL; skips where there is no such device. */
static void move_to_opencl(struct sherd_model *m, const char *device)
{
	struct sherd_exec_params p = { .program = m->program, .n_batch = 8, .n_pages = 1,
				       .device = device, .untested = true };
	struct sherd_error err = { "" };
	struct sherd_exec *e;
	int rc = sherd_exec_cl_open(&e, &p, &err);

	if (rc == -ENODEV) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	if (rc)
		fail_msg("%s", err.msg);
	m->exec->ops->close(m->exec);
	m->exec = e;
}

static unsigned count(const struct sherd_cl_time *times, int n, const char *name)
{
	unsigned calls = 0;
	int i;

	for (i = 0; i < n; i++)
		if (!strcmp(times[i].name, name))
			calls += times[i].calls;
	return calls;
}

/* One token after the other on both: equal bits, and @layers layers of each token at once. */
static void compare(struct sherd_model *cl, struct sherd_model *ref, unsigned layers)
{
	struct sherd_model *m[] = { cl, ref };
	struct sherd_session *s[2];
	struct sherd_cl_time *times;
	struct sherd_error err;
	const float *logits[2];
	int32_t i, n;
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
	assert_int_equal(sherd_cl_exec_times(cl->exec, &times, &n), 0);
	assert_int_equal(count(times, n, "layer"), N_TOKENS * layers);
	assert_int_equal(count(times, n, "rope"), N_TOKENS * (cl->info.n_layers - layers));
	free(times);
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

/* @change spoils layer 1 of both models; layer 0 is done at once then, and layer 1 if @still. */
static void check(const struct tiny_model *t, void (*change)(struct sherd_model *), bool still)
{
	struct sherd_model *cl = open_reference(t), *ref = open_reference(t);

	if (change) {
		change(cl);
		change(ref);
	}
	move_to_opencl(cl, "cpu/wide");
	compare(cl, ref, still ? 2 : 1);
}

static void layers_of_one_format_are_done_at_once(void **state)
{
	(void)state;
	check(&plain, NULL, true);
	check(&with_biases, NULL, true);
}

static void drop_matmul_biases(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_MATMUL, 0)->bias = NULL;
	find(m, 1, SHERD_OP_MATMUL, 3)->bias = NULL;
}

static void each_matmul_of_a_layer_may_have_a_bias_or_none(void **state)
{
	(void)state;
	check(&with_biases, drop_matmul_biases, true);
}

static void drop_bias(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 2)->bias = NULL;
}

static void drop_first_bias(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 0)->bias = NULL;
}

static void norms_of_which_one_has_a_bias_go_step_by_step(void **state)
{
	(void)state;
	check(&with_biases, drop_bias, false);
	check(&with_biases, drop_first_bias, false);
}

static void change_norm(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_NORM, 2)->norm = SHERD_NORM_LAYER;
}

static void norms_of_two_kinds_go_step_by_step(void **state)
{
	(void)state;
	check(&plain, change_norm, false);
}

static void replace_the_stream(struct sherd_model *m)
{
	find(m, 1, SHERD_OP_MATMUL, 3)->residual = false;
}

static void a_matmul_that_does_not_add_to_the_stream_goes_step_by_step(void **state)
{
	(void)state;
	check(&plain, replace_the_stream, false);
}

static void formats_that_are_mixed_go_step_by_step(void **state)
{
	static const struct {
		const char *name;
		enum ggml_type type; /* more bits, or minima */
	} odd[] = {
		{ "blk.1.attn_q.weight", GGML_Q8_0 },	   { "blk.1.attn_output.weight", GGML_Q8_0 },
		{ "blk.1.attn_output.weight", GGML_Q4_1 }, { "blk.1.ffn_up.weight", GGML_Q4_1 },
		{ "blk.1.ffn_down.weight", GGML_Q4_1 },	   { "blk.1.ffn_down.weight", GGML_Q8_0 },
	};
	struct tiny_model t = plain;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(odd); i++) {
		t.odd = odd[i].name;
		t.odd_type = odd[i].type;
		check(&t, NULL, false);
	}
}

static void without_the_wide_shape_all_layers_go_step_by_step(void **state)
{
	struct sherd_model *cl = open_reference(&plain), *ref = open_reference(&plain);

	(void)state;
	move_to_opencl(cl, "cpu/simt");
	compare(cl, ref, 0);
}

static void only_cpus_in_the_wide_shape_do_integer_layers_at_once(void **state)
{
	struct sherd_device dev = { .info = { .is_cpu = true, .compute_units = 1 },
				    .shape = SHERD_SHAPE_WIDE };
	struct sherd_cl c = { .dev = &dev };
	struct sherd_format f = { SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 64, 64 };
	struct sherd_kv_shape kv = { .head_dim = 96, .type = SHERD_KV_INT8 };
	char spec[32] = "";

	(void)state;
	assert_true(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	assert_string_equal(spec, "layer.4.32.0.0.1.96");
	kv.head_dim = 80;
	assert_false(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	kv.head_dim = 64;
	dev.info.compute_units = sherd_device_host_cpus();
	assert_true(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	dev.info.compute_units++;
	assert_false(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	dev.info.compute_units = 1;
	dev.shape = SHERD_SHAPE_SIMT;
	assert_false(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	dev.shape = SHERD_SHAPE_WIDE;
	dev.info.is_cpu = false;
	assert_false(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
	dev.info.is_cpu = true;
	f = (struct sherd_format){ SHERD_ELEM_F16, 0, SHERD_ELEM_NONE, SHERD_ELEM_NONE, 64, 64 };
	assert_false(sherd_cl_layer_spec(&c, &f, &kv, spec, sizeof(spec)));
}

/* A program made for another cache must not be taken because its weights fit. */
static void a_program_is_found_by_all_that_it_was_compiled_for(void **state)
{
	struct sherd_kv_shape kv = { .head_dim = 64, .type = SHERD_KV_INT8 };
	struct sherd_format f = { SHERD_ELEM_U4, 32, SHERD_ELEM_F16, SHERD_ELEM_NONE, 64, 64 };
	static const char *const specs[] = { "rows", "attention.0.64", "attention.1.64",
					     "layer.4.32.0.0.0.64", "layer.4.32.0.0.1.32",
					     "layer.4.32.0.0.1.64", "int.4.32.0.0" };
	struct sherd_cl c = { 0 };
	struct sherd_error err;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(specs); i++)
		assert_int_equal(sherd_cl_add(&c, specs[i], &err), 0);
	assert_ptr_equal(sherd_cl_rows_program(&c), &c.programs[0]);
	assert_ptr_equal(sherd_cl_attention_program(&c, &kv), &c.programs[2]);
	assert_ptr_equal(sherd_cl_layer_program(&c, &f, &kv), &c.programs[5]);
	assert_ptr_equal(sherd_cl_program_for(&c, &f), &c.programs[6]);
	kv.head_dim = 128;
	assert_null(sherd_cl_attention_program(&c, &kv));
	assert_null(sherd_cl_layer_program(&c, &f, &kv));
	kv = (struct sherd_kv_shape){ .head_dim = 64, .type = SHERD_KV_F32 };
	assert_null(sherd_cl_layer_program(&c, &f, &kv));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(only_cpus_in_the_wide_shape_do_integer_layers_at_once),
		cmocka_unit_test(a_program_is_found_by_all_that_it_was_compiled_for),
		cmocka_unit_test(layers_of_one_format_are_done_at_once),
		cmocka_unit_test(each_matmul_of_a_layer_may_have_a_bias_or_none),
		cmocka_unit_test(norms_of_which_one_has_a_bias_go_step_by_step),
		cmocka_unit_test(norms_of_two_kinds_go_step_by_step),
		cmocka_unit_test(a_matmul_that_does_not_add_to_the_stream_goes_step_by_step),
		cmocka_unit_test(formats_that_are_mixed_go_step_by_step),
		cmocka_unit_test(without_the_wide_shape_all_layers_go_step_by_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
