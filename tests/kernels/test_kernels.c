/* SPDX-License-Identifier: MIT */
/*
 * test_kernels: every kernel gives the C reference's bits on random odd shapes - on each path of
 * dot4.h that this machine runs, and in both shapes. SHERD_DOT=plain leaves only the plain path
 * (Oclgrind knows no inline assembly), SHERD_LONG=1 crosses every program with every path. For an
 * interpreter, SHERD_OCLGRIND=walks takes only walks, =steps only the rest, and both leave out the
 * largest shapes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <cmocka.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_weights.h"
#include "infer/ref/ref.h"

static const char *const programs[] = {
	"rows",		"attention.0.64", "attention.1.20.1", "attention.2.8.2", "int.4.32.0.0",
	"int.4.32.0.1", "int.4.32.1.2",	  "int.4.16.1.2",   "int.8.32.0.0",  "int.8.32.0.1",
	"int.8.32.1.2", "int.8.16.1.0",	  "float.2",	    "float.3",	     "float.4",
	"experts",	"int.4.32.0.0.experts", "int.8.16.1.0.experts", "float.4.experts",
};

/* What few files have: one of them each time. */
static const char *const rare[] = { "int.4.16.0.0", "int.4.16.0.1", "int.4.16.1.0", "int.8.32.1.0" };

/* Both widths and groups, minima, each cache; for CPUs, in the wide shape. */
static const char *const walks[] = {
	"walk.4.32.0.0.0.64", "walk.8.32.0.0.1.32.4", "walk.4.32.0.1.2.96.1", "walk.8.16.1.0.0.32",
	"walk.4.16.1.2.1.64.2", "walk.8.32.1.2.2.64", "walk.4.32.1.2.0.96",
	"walk.4.16.1.0.1.64", "walk.8.32.1.0.0.64",
};

/* What sherd tune varies, and a model's start combines: some of each shape each time. */
static const char *const wide_variants[] = {
	"attention.0.64.4:tile=1x4", "attention.1.20.1:tile=4x2", "attention.2.48.2:tile=2x1",
	"attention.0.64:tile=2x8",   "rows:pieces=4",
	"int.4.32.0.0.experts:kernel=16+blocks=2+tile=1x3", "int.4.32.0.1.experts:ahead=1024+kernel=8",
	"walk.4.32.0.0.0.64.4:ahead=1024+tile=1x2", "walk.8.32.0.0.1.32:tile=4x4",
};
static const char *const simt_variants[] = {
	"attention.0.64:local=32", "rows:local=128",		  "int.8.32.0.0.experts:local=16+kernel=4",
	"attention.1.20:local=16", "float.2.experts:local=128",
};

static uint64_t seed;

/* An interpreter sees one round with a long past, and none with a real model's widths. */
static int rounds(void)
{
	return getenv("SHERD_OCLGRIND") ? 4 : SHERD_ST_ROUNDS;
}

/* Is @spec of a kind that the environment leaves out? */
static bool left_out(const char *spec)
{
	const char *only = getenv("SHERD_OCLGRIND");

	return only && strcmp(only, strncmp(spec, "walk.", 5) ? "steps" : "walks");
}

static void check(const char *path, const char *shape, const char *specs)
{
	char device[64];
	struct sherd_error err = { "" };
	struct sherd_cl c;
	int rc;

	if (left_out(specs))
		return;
	snprintf(device, sizeof(device), "%s%s%s/%s", strncmp(specs, "walk.", 5) ? "auto" : "cpu",
		 path ? "/" : "", path ? path : "", shape);
	rc = sherd_cl_open(&c, device, 0, &err);
	if (rc == -ENODEV || (rc && path && !getenv("SHERD_DOT"))) {
		printf("skipped: %s: %s\n", device, err.msg);
		skip();
	}
	if (!rc)
		rc = sherd_cl_add_list(&c, specs, &err);
	if (!rc)
		rc = sherd_cl_build(&c, &err);
	if (!rc)
		rc = sherd_cl_selftest_programs(&c, seed, rounds(), &err);
	if (rc)
		fail_msg("%s, %s: %s", device, specs, err.msg);
	sherd_cl_close(&c);
}

static const char *forced(const char *path)
{
	return getenv("SHERD_DOT") ? getenv("SHERD_DOT") : path;
}

static void in_the_wide_shape_all_programs_have_the_reference_s_bits(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(programs); i++)
		check(forced(NULL), "wide", programs[i]);
}

static void rare_programs_have_the_reference_s_bits(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(rare); i++)
		if (getenv("SHERD_LONG") || i == seed % ARRAY_SIZE(rare)) {
			check(forced(NULL), "wide", rare[i]);
			check(forced("plain"), "simt", rare[i]);
		}
}

static void walks_have_the_reference_s_bits(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(walks); i++)
		if (getenv("SHERD_LONG") || getenv("SHERD_OCLGRIND") || i % 3 == 0)
			check(forced(NULL), "wide", walks[i]);
}

static void in_the_simt_shape_programs_have_the_reference_s_bits(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(programs); i++)
		if (getenv("SHERD_LONG") || i % 3 == 0)
			check(forced("plain"), "simt", programs[i]);
	check(forced(NULL), "simt", "int.4.32.0.0"); /* a path that is made for the other shape */
}

static void variants_have_the_reference_s_bits(void **state)
{
	size_t i;

	(void)state;
	if (getenv("SHERD_OCLGRIND")) {
		printf("skipped: the same code at other sizes, which an interpreter has no time for\n");
		skip();
	}
	for (i = 0; i < ARRAY_SIZE(wide_variants); i++)
		if (getenv("SHERD_LONG") || i % 5 == seed % 5)
			check(forced(NULL), "wide", wide_variants[i]);
	for (i = 0; i < ARRAY_SIZE(simt_variants); i++)
		if (getenv("SHERD_LONG") || i % 5 == seed % 5)
			check(forced("plain"), "simt", simt_variants[i]);
}

/* One after the other: what a path is for are integers, by themselves and in a walk. */
static void check_path(const char *path)
{
	size_t i;

	if (getenv("SHERD_DOT") && strcmp(getenv("SHERD_DOT"), path))
		skip();
	for (i = 0; i < ARRAY_SIZE(programs); i++)
		if (!strncmp(programs[i], "int.", 4) && (getenv("SHERD_LONG") || i % 4 == 0))
			check(path, "wide", programs[i]);
	for (i = 0; i < ARRAY_SIZE(walks); i++)
		if (getenv("SHERD_LONG") || i == 1)
			check(path, "wide", walks[i]);
}

static void the_plain_path_has_the_reference_s_bits(void **state)
{
	(void)state;
	check_path("plain");
}

static void the_vnni512_path_has_the_reference_s_bits(void **state)
{
	(void)state;
	check_path("vnni512");
}

static void the_amx_path_has_the_reference_s_bits(void **state)
{
	(void)state;
	check_path("amx");
}

static void the_sdot_path_has_the_reference_s_bits(void **state)
{
	(void)state;
	check_path("sdot");
}

/* The test tests itself: other bits must not pass. */
static void a_result_that_differs_in_one_bit_is_found(void **state)
{
	struct sherd_error err = { "" };
	struct sherd_cl c;
	struct sherd_st t = { .c = &c, .err = &err };
	float *x;
	cl_mem m;

	(void)state;
	if (sherd_cl_open(&c, forced(NULL) ? "auto/plain" : "auto", 0, &err)) {
		printf("skipped: %s\n", err.msg);
		skip();
	}
	x = sherd_st_floats(&t, 5);
	m = sherd_st_upload(&t, x, 20);
	sherd_st_expect(&t, m, x, 20, "copy", "equal");
	assert_int_equal(t.rc, 0);
	((uint8_t *)x)[17] ^= 1;
	sherd_st_expect(&t, m, x, 20, "copy", "one bit");
	assert_int_equal(t.rc, -EBADE);
	assert_non_null(
		strstr(err.msg, "copy (one bit) differs from the reference at byte 16 of 20"));
	sherd_st_reset(&t);
	sherd_cl_close(&c);
}

/* Opens c with the program, built; skips where there is no device. */
static void open_program(struct sherd_cl *c, const char *spec)
{
	struct sherd_error err = { "" };

	if (sherd_cl_open(c, forced(NULL) ? "auto/plain" : "auto", 0, &err)) {
		printf("skipped: %s\n", err.msg);
		skip();
	}
	if (sherd_cl_add(c, spec, &err) || sherd_cl_build(c, &err))
		fail_msg("%s", err.msg);
}

static void programs_that_give_the_reference_s_bits_have_its_profile(void **state)
{
	static const char *const specs[] = { "rows",	     "attention.0.64", "attention.1.20.1",
					     "int.4.32.0.0", "int.8.32.0.0",   "float.2" };
	char want[SHERD_SHA256_HEX], got[SHERD_SHA256_HEX];
	struct sherd_error err;
	struct sherd_cl c;
	size_t i;

	(void)state;
	sherd_ref_bit_profile(want);
	for (i = 0; i < ARRAY_SIZE(specs); i++) {
		open_program(&c, specs[i]);
		if (sherd_cl_bit_profile(&c, false, got, &err))
			fail_msg("%s: %s", specs[i], err.msg);
		assert_string_equal(got, want);
		sherd_cl_close(&c);
	}
}

/* Groups of 32 read as groups of 16: other scales. */
static void a_program_that_gives_other_bits_has_no_profile(void **state)
{
	char profile[SHERD_SHA256_HEX] = "";
	struct sherd_error err = { "" };
	struct sherd_cl c;

	(void)state;
	open_program(&c, "int.8.32.0.0");
	c.programs[0].arg[1] = 16;
	assert_int_equal(sherd_cl_bit_profile(&c, false, profile, &err), -EBADE);
	assert_non_null(strstr(err.msg, "differs from the reference"));
	assert_string_equal(profile, "");
	/* nor has it one if nobody looks */
	assert_int_equal(sherd_cl_bit_profile(&c, true, profile, &err), 0);
	assert_string_equal(profile, SHERD_UNTESTED);
	sherd_cl_close(&c);
}

/* Of programs that differ in their variant alone each is launched by its own test. */
static void a_variant_is_tested_itself_and_not_its_neighbour(void **state)
{
	struct sherd_error err = { "" };
	struct sherd_cl c;
	cl_kernel right;

	(void)state;
	open_program(&c, "float.2.experts");
	if (sherd_cl_add_list(&c, "float.2.experts:kernel=4,float.3.experts", &err) ||
	    sherd_cl_build(&c, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(sherd_cl_selftest_vector(&c, &err), 0);
	right = c.programs[1].kernel[SHERD_K_MATMUL_4];
	c.programs[1].kernel[SHERD_K_MATMUL_4] = c.programs[2].kernel[SHERD_K_MATMUL_4];
	assert_int_equal(sherd_cl_selftest_vector(&c, &err), -EBADE);
	c.programs[1].kernel[SHERD_K_MATMUL_4] = right;
	sherd_cl_close(&c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_result_that_differs_in_one_bit_is_found),
		cmocka_unit_test(programs_that_give_the_reference_s_bits_have_its_profile),
		cmocka_unit_test(a_program_that_gives_other_bits_has_no_profile),
		cmocka_unit_test(in_the_wide_shape_all_programs_have_the_reference_s_bits),
		cmocka_unit_test(rare_programs_have_the_reference_s_bits),
		cmocka_unit_test(walks_have_the_reference_s_bits),
		cmocka_unit_test(in_the_simt_shape_programs_have_the_reference_s_bits),
		cmocka_unit_test(variants_have_the_reference_s_bits),
		cmocka_unit_test(a_variant_is_tested_itself_and_not_its_neighbour),
		cmocka_unit_test(the_plain_path_has_the_reference_s_bits),
		cmocka_unit_test(the_vnni512_path_has_the_reference_s_bits),
		cmocka_unit_test(the_amx_path_has_the_reference_s_bits),
		cmocka_unit_test(the_sdot_path_has_the_reference_s_bits),
	};
	const char *s = getenv("SHERD_SEED");

	seed = s ? strtoull(s, NULL, 0) : (uint64_t)time(NULL);
	printf("seed %llu (SHERD_SEED repeats it)\n", (unsigned long long)seed);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
