/* SPDX-License-Identifier: MIT */
/*
 * fuzz_tune: any bytes as a tune file. What is taken is written and read back the same, and the
 * programs that a model would ask for by it are there.
 */
#include <stdlib.h>
#include "infer/cl/cl.h"

#define CHECK(x) ((x) ? (void)0 : abort())

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A model's launches, whatever a file says of them. */
static void check_launches(const struct sherd_tune *t)
{
	static const struct sherd_format f = { SHERD_ELEM_U4,	32,  SHERD_ELEM_F16,
					       SHERD_ELEM_NONE, 512, 256 };
	static const struct sherd_kv_shape kv = { .n_kv_heads = 8, .head_dim = 64 };
	static struct sherd_cl c;
	struct sherd_device dev = { .info = { .is_cpu = true, .compute_units = 1 },
				    .shape = t->shape };

	memset(&c, 0, sizeof(c));
	c.dev = &dev;
	c.tune = *t;
	CHECK(!sherd_cl_add_rows(&c, 256, 512, NULL));
	CHECK(!sherd_cl_add_attention(&c, &kv, 32, NULL));
	CHECK(!sherd_cl_add_matrix(&c, &f, 0, NULL));
	CHECK(!sherd_cl_add_matrix(&c, &f, 128, NULL));
	CHECK(!sherd_cl_add_walk(&c, &f, &kv, 32, NULL));
	for (int n = 1; n <= 128; n *= 4)
		CHECK(sherd_cl_rows_program(&c, n) && sherd_cl_attention_program(&c, &kv, n) &&
		      sherd_cl_matmul_program(&c, &f, false, n) &&
		      sherd_cl_matmul_program(&c, &f, true, n));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sherd_error err = { "" };
	struct sherd_tune t, again;
	char *text, *twice;

	if (sherd_tune_parse(&t, (const char *)data, size, "fuzz", &err)) {
		CHECK(err.msg[0] && !t.uses);
		return 0;
	}
	text = sherd_tune_print(&t);
	CHECK(text && !sherd_tune_parse(&again, text, strlen(text), "again", &err));
	twice = sherd_tune_print(&again);
	CHECK(twice && !strcmp(text, twice));
	for (int n = 1; n <= 128; n *= 4)
		sherd_tune_find(&t, "int.4.32.0.0", sherd_tune_class_of(n), 16 * n, 1 << 20);
	check_launches(&t);
	free(text);
	free(twice);
	sherd_tune_free(&t);
	sherd_tune_free(&again);
	return 0;
}
