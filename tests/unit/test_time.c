/* SPDX-License-Identifier: MIT */
/*
 * time: a child that times a variant may crash, hang or talk nonsense. It is played by a script;
 * what it is asked is seen too.
 */
#include "fake_sherd.h"
#include "infer/cl/cl_time.h"

static struct sherd_time_job job = {
	.device = "cpu/plain",
	.spec = "int.4.32.0.0:tile=2x4",
	.n_threads = 2,
	.seconds = 0.5,
	.size = { { 64, 32, 1 }, { 128, 96, 8 } },
	.n_sizes = 2,
};

static int ask(const char *script, double limit, struct sherd_timing *t, struct sherd_error *err)
{
	fake_sherd(script);
	return sherd_time_in_child(t, &job, limit, -1, err);
}

static void what_the_child_says_comes_back(void **state)
{
	struct sherd_error err = { "" };
	struct sherd_timing t;

	(void)state;
	if (ask("test \"$*\" = \"device-test --time int.4.32.0.0:tile=2x4 --sizes 64x32x1,128x96x8 "
		"--seconds 0.500 --device cpu/plain --threads 2\" || exit 1\n"
		"echo 1e-3 2e-3 0.01; echo 5 6 0",
		10, &t, &err))
		fail_msg("%s", err.msg);
	assert_true(t.time[0].seconds == 1e-3 && t.time[0].default_seconds == 2e-3);
	assert_true(t.time[0].noise == 0.01 && t.time[1].default_seconds == 6);
}

static void a_child_that_fails_costs_one_sentence(void **state)
{
	static const struct {
		const char *script, *says;
		int rc;
	} cases[] = {
		{ "sleep 60", "hung", -ETIMEDOUT },
		{ "kill -SEGV $$", "crashed", -EBADE },
		{ "echo differs >&2; exit 3", "differs", -EBADE },
		{ "exit 1", "exit code 1", -EIO },
		{ "echo 1 2 3", "garbled", -EIO }, /* one size lacks */
		{ "echo driver: warning; echo 1 2 3; echo 1 2 3", "garbled", -EIO },
		{ "echo 1 nan 3; echo 1 2 3", "garbled", -EIO },
		{ "echo 1 -2 3; echo 1 2 3", "garbled", -EIO },
		{ "true", "garbled", -EIO },
	};
	struct sherd_error err;
	struct sherd_timing t;
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(ask(cases[i].script, i ? 10 : 0.5, &t, &err), cases[i].rc);
		if (!strstr(err.msg, cases[i].says))
			fail_msg("'%s' says nothing of '%s'", err.msg, cases[i].says);
	}
}

static void sizes_are_read_or_refused(void **state)
{
	static const char *const bad[] = { "",	       "1x2",	      "1x2x3,",	      "0x2x3",
					   "1x2x5000", "1x2x3;4x5x6", "99999999x2x3", "-1x2x3",
					   "1x2x3x4" };
	struct sherd_time_job j;
	char many[1024] = "1x1x1";
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(sherd_time_parse_sizes(&j, bad[i], NULL), -EINVAL);
	assert_int_equal(sherd_time_parse_sizes(&j, "4096x256x1,7x9x128", NULL), 0);
	assert_int_equal(j.n_sizes, 2);
	assert_int_equal(j.size[1].n, 128);
	for (i = 0; i < SHERD_TIME_SIZES; i++)
		strcat(many, ",1x1x1");
	assert_int_equal(sherd_time_parse_sizes(&j, many, NULL), -E2BIG);
}

static void only_what_is_launched_alone_is_timed(void **state)
{
	static const struct {
		const char *spec;
		struct sherd_time_size size;
		int rc;
	} cases[] = {
		{ "int.4.32.0.0", { 64, 64, 1 }, 0 },
		{ "float.2:local=32", { 64, 64, 1 }, 0 },
		{ "rows", { 2048, 5632, 4096 }, 0 },
		{ "attention.0.64.4", { 32, 8, 1024 }, 0 },
		{ "attention.0.64.4", { 32, 8, 1025 }, -EINVAL }, /* the past is not so long */
		{ "attention.0.64.4", { 32, 5, 1 }, -EINVAL },
		{ "attention.0.64.4", { 1 << 20, 1 << 20, 1 }, -EINVAL },
		{ "int.4.32.0.0.experts", { 64, 64, 1 }, -EINVAL },
		{ "walk.4.32.0.0.0.64", { 64, 64, 1 }, -EINVAL },
		{ "experts", { 64, 64, 1 }, -EINVAL },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct sherd_cl c = { 0 };

		assert_int_equal(sherd_cl_add(&c, cases[i].spec, NULL), 0);
		assert_int_equal(sherd_time_check(&c.programs[0], &cases[i].size, NULL), cases[i].rc);
	}
}

/* By hand: 1024 positions; K and V of 8 heads of 64 halves; two fma a position and dimension. */
static void what_is_read_and_computed_is_counted(void **state)
{
	const struct sherd_time_size one = { 32, 8, 1 }, two = { 32, 8, 2 };

	(void)state;
	assert_true(sherd_time_bytes("attention.0.64.4", &one) == 1024.0 * 8 * 2 * 64 * 2);
	assert_true(sherd_time_ops("attention.0.64.4", &one) == 1024.0 * 32 * 64 * 4);
	assert_true(sherd_time_ops("attention.0.64.4:parts=1", &two) == 2047.0 * 32 * 64 * 4);
	assert_true(sherd_time_bytes("int.8.32.0.0", &one) == 32 * 32 * (1 + 2.0 / 32));
	assert_true(sherd_time_ops("int.8.32.0.0", &two) == 2.0 * 32 * 8 * 2);
	assert_true(sherd_time_bytes("rows", &one) == 0 && sherd_time_ops("rows", &one) == 0);
}

static void candidates_are_variants_that_their_program_can_be(void **state)
{
	static const char *const specs[] = { "int.4.32.0.0", "int.8.16.1.0", "float.2", "rows",
					     "attention.0.64", "attention.1.80.2" };
	static const char *const dots[] = { "plain", "amx" };
	int shape, class, n = 0, i;
	size_t s, d;

	(void)state;
	for (shape = 0; shape < 2; shape++)
		for (class = 0; class < SHERD_TUNE_CLASSES; class++)
			for (s = 0; s < ARRAY_SIZE(specs); s++)
				for (d = 0; d < ARRAY_SIZE(dots); d++)
					for (i = 0;; i++, n++) {
						struct sherd_cl c = { 0 };
						char spec[SHERD_CL_SPEC];
						const char *v = sherd_time_candidate(
							shape, dots[d], specs[s], class, i);

						if (!v)
							break;
						snprintf(spec, sizeof(spec), "%s:%s", specs[s], v);
						assert_int_equal(sherd_cl_add(&c, spec, NULL), 0);
					}
	assert_true(n > 150);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_child_says_comes_back),
		cmocka_unit_test(a_child_that_fails_costs_one_sentence),
		cmocka_unit_test(sizes_are_read_or_refused),
		cmocka_unit_test(only_what_is_launched_alone_is_timed),
		cmocka_unit_test(what_is_read_and_computed_is_counted),
		cmocka_unit_test(candidates_are_variants_that_their_program_can_be),
	};

	return cmocka_run_group_tests(tests, fake_sherd_set_up, scratch_remove);
}
