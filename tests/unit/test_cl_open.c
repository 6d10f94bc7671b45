/* SPDX-License-Identifier: MIT */
/* What the OpenCL executor allocates, and what it says where there is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>
#include "infer/cl/cl.h"
#include "infer/infer.h"
#include "tiny_model.h"

static int open_tiny(struct sherd_model **m, const struct tiny_model *t,
		     struct sherd_model_params *p, struct sherd_error *err)
{
	int rc;

	p->untested = true;
	rc = tiny_model_open(m, t, p, err);
	if (rc == -ENODEV) {
		print_message("skipped: %s\n", err ? err->msg : "no device");
		skip();
	}
	return rc;
}

static void check_scratch(const struct tiny_model *t)
{
	struct sherd_model_params p = { .n_ctx = 64, .n_batch = 20, .device = "cpu/wide" };
	struct sherd_forms forms;
	struct sherd_error err;
	struct sherd_model *m;

	for (; t->arch; t++) {
		if (open_tiny(&m, t, &p, &err))
			fail_msg("%s", err.msg);
		print_message("%s\n", tiny_model_describe(t));
		forms = (struct sherd_forms){ 0 };
		sherd_forms_of(&forms, m->shard);
		assert_memory_equal(&forms, &m->program->forms, sizeof(forms));
		assert_int_equal(sherd_model_info(m)->scratch_bytes,
				 sherd_scratch_bytes(&m->shard->hp, &forms, 20, 64));
		sherd_model_close(m);
	}
}

/* Float weights have no matmul that writes A while it reads A, gated or not: they need one A. */
static void scratch_is_what_its_formula_says(void **state)
{
	(void)state;
	check_scratch(tiny_models);
	check_scratch(tiny_families);
}

static void want_of_room_is_one_sentence_that_says_what_needs_less(void **state)
{
	struct sherd_model_params p = { .n_ctx = SHERD_PAGE,
					.kv_type = SHERD_KV_F32,
					.device = "cpu" };
	struct sherd_error err;
	struct sherd_model *m;
	struct sherd_cl c;
	size_t room;

	(void)state;
	if (sherd_cl_open(&c, "cpu", 0, &err)) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	room = c.dev->info.max_alloc;
	sherd_cl_close(&c);
	assert_int_equal(open_tiny(&m, &tiny_models[4], &p, &err), 0);
	p.n_sessions = (int)(room / sherd_model_info(m)->kv_bytes) + 1;
	sherd_model_close(m);
	assert_int_equal(open_tiny(&m, &tiny_models[4], &p, &err), -ENOMEM);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, ": no room for the KV cache, "));
	assert_non_null(strstr(err.msg, " MiB: a buffer may have "));
	assert_non_null(strstr(err.msg, " MiB; a smaller context (-c) needs less"));
	assert_int_equal(open_tiny(&m, &tiny_models[4], &p, NULL), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scratch_is_what_its_formula_says),
		cmocka_unit_test(want_of_room_is_one_sentence_that_says_what_needs_less),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
