/* SPDX-License-Identifier: MIT */
/*
 * tune: files of it may come from anywhere, one of several counts, and a variant has to earn its
 * place. No device is asked: the numbers are made up.
 */
#include <math.h>
#include "device/tune.h"
#include "infer/cl/cl_time.h"
#include "scratch.h"

#define HEAD  "sherd-tune 1\n"
#define LEAST HEAD "shape simt\nkernels any\n"

static char notes[4096];

static void on_note(void *ctx, const char *sentence)
{
	(void)ctx;
	strncat(notes, sentence, sizeof(notes) - strlen(notes) - 2);
	strcat(notes, "\n");
}

static struct sherd_device mali = {
	.info = { .name = "Mali-G52 r1p0", .vendor = "ARM", .driver = "3.0 v1.r32p1" },
	.shape = SHERD_SHAPE_SIMT,
	.dot = "arm",
};

static int parse(struct sherd_tune *t, const char *text, struct sherd_error *err)
{
	return sherd_tune_parse(t, text, strlen(text), "x.tune", err);
}

static void refused(const char *text, const char *pattern)
{
	struct sherd_error err = { "" };
	struct sherd_tune t;

	assert_int_equal(parse(&t, text, &err), -EINVAL);
	if (!strstr(err.msg, pattern))
		fail_msg("'%s' says nothing of '%s'", err.msg, pattern);
	assert_null(t.uses);
	assert_null(strchr(err.msg, '\n'));
}

static void what_is_printed_reads_back_the_same(void **state)
{
	struct sherd_tune a = { 0 }, b;
	struct sherd_tune_use u = { .spec = "int.4.32.0.0",
				    .class = SHERD_TUNE_PROMPT,
				    .rows = 2048,
				    .cols = 512,
				    .us = 12.5,
				    .default_us = 25,
				    .share = 0.5 };
	struct sherd_device odd = mali;
	struct sherd_error err;
	char *text, *again;

	(void)state;
	strcpy(odd.info.name, "a [name] with * and ? and # and \\ ");
	assert_true(sherd_variant_parse(&u.variant, "local=2x16+kernel=8"));
	sherd_tune_for(&a, &odd);
	a.read = 1e10;
	a.dot_rate = 1e12;
	assert_int_equal(sherd_tune_add(&a, &u, &err), 0);
	u.class = -1;
	u.rows = u.cols = 0;
	u.us = u.default_us = u.share = 0;
	strcpy(u.spec, "int.*");
	assert_int_equal(sherd_tune_add(&a, &u, &err), 0);
	text = sherd_tune_print(&a);
	assert_non_null(text);
	if (parse(&b, text, &err))
		fail_msg("%s", err.msg);
	again = sherd_tune_print(&b);
	assert_string_equal(text, again);
	assert_true(sherd_tune_fits(&b, &odd));
	assert_false(sherd_tune_fits(&b, &mali));
	assert_false(sherd_tune_is_stale(&b));
	assert_int_equal(b.uses[0].variant.local[1], 16);
	free(text);
	free(again);
	sherd_tune_free(&a);
	sherd_tune_free(&b);
}

static void a_file_that_is_wrong_is_refused_with_its_line(void **state)
{
	static const char *const cases[][2] = {
		{ "", "empty" },
		{ "{}", "sherd-tune 1" },
		{ "sherd-tune 2\n", "line 1" },
		{ HEAD "shape simt\n", "no line \"kernels\"" },
		{ HEAD "kernels any\n", "no line \"shape\"" },
		{ LEAST "shape wide\n", "line 4: says again" },
		{ LEAST "name a\nname b\n", "line 5: says again" },
		{ LEAST "name\n", "has no value" },
		{ HEAD "shape round\n", "shape" },
		{ HEAD "kernels 12ab\n", "64 hex digits" },
		{ LEAST "dot warp\n", "no path of dot4.h" },
		{ LEAST "rm -rf\n", "unknown word: 'rm'" },
		{ LEAST "use int.4.32.0.0\n", "line 4" },
		{ LEAST "use int.4;ls decode * local=32\n", "no program" },
		{ LEAST "use int.4.32.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0 * * local=32\n",
		  "no program" },
		{ LEAST "use int.4.32.0.0 often * local=32\n", "decode, few, prompt" },
		{ LEAST "use int.4.32.0.0 decode 0x5 local=32\n", "ROWSxCOLUMNS" },
		{ LEAST "use int.4.32.0.0 decode 5x local=32\n", "ROWSxCOLUMNS" },
		{ LEAST "use int.4.32.0.0 decode 99999999999x5 local=32\n", "ROWSxCOLUMNS" },
		{ LEAST "use int.4.32.0.0 decode * global=32\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * local=33\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * local=1024x1024\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * local=32+local=32\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * tile=4x4+blocks=2\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * ahead=-64\n", "no variant" },
		{ LEAST "use int.4.32.0.0 decode * local=32 us=nan\n", "no such number" },
		{ LEAST "use int.4.32.0.0 decode * local=32 us=-1\n", "no such number" },
		{ LEAST "use int.4.32.0.0 decode * local=32 w=1\n", "not understood" },
		{ LEAST "use a b c d e f g h i j k l m n o p q r\n", "too many words" },
		{ LEAST "roof read=fast\n", "no such number" },
		{ HEAD "shape\x1b[2J simt\n", "no text" },
	};
	char *wide = malloc(2000);
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		refused(cases[i][0], cases[i][1]);
	strcpy(wide, LEAST);
	memset(wide + strlen(LEAST), 'n', 1500);
	wide[strlen(LEAST) + 1500] = 0;
	refused(wide, "too long");
	free(wide);
}

static void a_file_with_more_lines_than_any_device_needs_is_refused(void **state)
{
	const char *line = "use int.4.32.0.0 decode * local=32\n";
	char *text = malloc(strlen(LEAST) + 2000 * strlen(line) + 1), *p;
	struct sherd_error err;
	struct sherd_tune t;
	int i;

	(void)state;
	p = stpcpy(text, LEAST);
	for (i = 0; i < 2000; i++)
		p = stpcpy(p, line);
	assert_int_equal(parse(&t, text, &err), -E2BIG);
	assert_null(t.uses);
	free(text);
}

static void cut_anywhere_and_with_any_byte_changed_a_file_is_read_or_refused(void **state)
{
	const char text[] = LEAST "name Mali-G5*  # all\ndot arm\nroof read=1e9 dot=2e9\n"
				  "use int.4.32.0.0 decode 64x64 local=32 us=1 default_us=2\n";
	struct sherd_error err;
	struct sherd_tune t;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(text); i++) {
		char *copy = malloc(i ? i : 1); /* so that a byte too far is seen */
		int flip;

		memcpy(copy, text, i);
		if (!sherd_tune_parse(&t, copy, i, "cut", &err))
			sherd_tune_free(&t);
		for (flip = 1; flip < 256 && i; flip <<= 1) {
			copy[i - 1] ^= (char)flip;
			if (!sherd_tune_parse(&t, copy, i, "changed", &err))
				sherd_tune_free(&t);
			copy[i - 1] ^= (char)flip;
		}
		free(copy);
	}
}

static const char *found(const struct sherd_tune *t, const char *spec, enum sherd_tune_class class,
			 int rows, int cols)
{
	static char text[SHERD_VARIANT_TEXT];
	const struct sherd_tune_use *u = sherd_tune_find(t, spec, class, rows, cols);

	if (!u)
		return "nothing";
	sherd_variant_print(&u->variant, text);
	return text;
}

static void the_nearest_line_holds(void **state)
{
	static const char text[] = LEAST "use * * * local=256\n"
					 "use int.* prompt * local=2x16\n"
					 "use int.4.32.0.0 decode 1024x1024 local=32\n"
					 "use int.4.32.0.0 decode 4096x1024 local=64\n"
					 "use int.8.32.0.0 decode 64x64 local=16\n";
	struct sherd_error err;
	struct sherd_tune t;

	(void)state;
	assert_int_equal(parse(&t, text, &err), 0);
	assert_string_equal(found(&t, "int.4.32.0.0", SHERD_TUNE_DECODE, 1000, 1024), "local=32");
	assert_string_equal(found(&t, "int.4.32.0.0", SHERD_TUNE_DECODE, 3000, 800), "local=64");
	assert_string_equal(found(&t, "int.4.32.0.0", SHERD_TUNE_DECODE, 16384, 4096), "local=64");
	/* no measurement is near */
	assert_string_equal(found(&t, "int.8.32.0.0", SHERD_TUNE_DECODE, 4096, 64), "local=256");
	/* the largest */
	assert_string_equal(found(&t, "int.4.32.0.0", SHERD_TUNE_DECODE, 0, 0), "local=64");
	assert_string_equal(found(&t, "int.4.32.0.0", SHERD_TUNE_PROMPT, 64, 64), "local=2x16");
	assert_string_equal(found(&t, "float.2", SHERD_TUNE_PROMPT, 64, 64), "local=256");
	sherd_tune_free(&t);
	assert_string_equal(found(&t, "float.2", SHERD_TUNE_PROMPT, 64, 64), "nothing");
}

static void only_what_is_faster_beyond_noise_is_chosen(void **state)
{
	static const struct {
		struct sherd_tune_time t[4];
		int best;
	} cases[] = {
		{ { { 1, 1, 0 }, { 1.1, 1, 0 } }, -1 },
		{ { { 0.9, 1, 0.01 }, { 0.8, 1, 0.01 } }, 1 },
		{ { { 0.99, 1, 0 }, { 0.98, 1, 0 } }, -1 },    /* a gain of no use */
		{ { { 0.8, 1, 0.2 }, { 0.9, 1, 0.001 } }, 1 }, /* the larger is noise */
		{ { { 0, 1, 0 }, { 0.5, 0, 0 }, { NAN, 1, 0 }, { 0.5, 1, NAN } }, -1 },
		{ { { 0.5, INFINITY, 0 }, { 0.7, 1, 0 } }, 1 },
		{ { { -0.5, -1, 0 } }, -1 },
		{ { { 0.5, 1, 0 }, { 0.5, 1, 0 } }, 0 }, /* the first of equals */
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(sherd_tune_choose(cases[i].t, ARRAY_SIZE(cases[i].t)),
				 cases[i].best);
	assert_int_equal(sherd_tune_choose(NULL, 0), -1);
}

/* ------------------------------------------------------------------ search */

static int search(struct sherd_tune *t, const char *which)
{
	struct sherd_error err;
	int rc;

	notes[0] = 0;
	rc = sherd_tune_search(t, which, &mali, on_note, NULL, &err);
	if (rc)
		strcpy(notes, err.msg);
	return rc;
}

static void tune_file(const char *name, const char *local, const char *more)
{
	char *text = sherd_asprintf(HEAD "shape simt\nuse * decode * local=%s\n%s\n", local, more);

	write_file(name, text);
	free(text);
}

static void expect_local(const char *which, int local)
{
	struct sherd_tune t;

	assert_int_equal(search(&t, which), 0);
	assert_int_equal(t.n_uses ? t.uses[0].variant.local[0] : 0, local);
	sherd_tune_free(&t);
}

static void the_nearer_to_the_user_a_file_is_the_sooner_it_counts(void **state)
{
	char *path, now[128], kernels[SHERD_SHA256_HEX];

	(void)state;
	sherd_tune_kernels(kernels);
	snprintf(now, sizeof(now), "kernels %s", kernels);
	expect_local(NULL, 0);
	assert_string_equal(notes, "");
	tune_file("usr/share/sherd/tune/a.tune", "16", "kernels any\nuntested not here");
	expect_local(NULL, 16);
	tune_file("usr/share/sherd/tune/b.tune", "32", now); /* measured before untested */
	expect_local(NULL, 32);
	tune_file("etc/sherd/tune.d/z.tune", "64", now);
	expect_local(NULL, 64);
	tune_file("config/sherd/tune/x.tune", "128", now);
	expect_local(NULL, 128);
	tune_file("config/sherd/tune/a.tune", "1", "kernels any\nname Adreno*"); /* another's */
	tune_file("config/sherd/tune/b.txt", "2", now);				 /* no .tune */
	expect_local(NULL, 128);
	assert_string_equal(notes, "");
	tune_file("mine", "256", now);
	path = in_dir("mine");
	setenv("SHERD_TUNE", path, 1);
	expect_local(NULL, 256);
	expect_local("none", 0);
	tune_file("other", "512", now);
	free(path);
	path = in_dir("other");
	expect_local(path, 512); /* an option before the environment */
	setenv("SHERD_TUNE", "none", 1);
	expect_local(NULL, 0);
	unsetenv("SHERD_TUNE");
	free(path);
}

static void what_does_not_fit_is_passed_over_with_a_word(void **state)
{
	static const char old[] =
		"kernels 0123456789012345678901234567890123456789012345678901234567890123";
	char *path = in_dir("asked");
	struct sherd_tune t;

	(void)state;
	tune_file("config/sherd/tune/c.tune", "4", old);
	write_file("config/sherd/tune/d.tune", "no tune file");
	expect_local(NULL, 128);
	assert_non_null(strstr(notes, "c.tune: was measured with other kernels"));
	assert_non_null(strstr(notes, "sherd tune measures anew"));
	assert_non_null(strstr(notes, "d.tune: line 1"));
	tune_file("asked", "4", old);
	expect_local(path, 0);
	assert_non_null(strstr(notes, "measured with other kernels"));
	tune_file("asked", "4", "kernels any\nname Adreno*");
	expect_local(path, 0);
	assert_non_null(strstr(notes, "for other devices (Adreno*) than Mali-G52"));
	write_file("asked", "x");
	assert_int_equal(search(&t, path), -EINVAL);
	assert_int_equal(search(&t, "/nosuch/file"), -ENOENT);
	assert_non_null(strstr(notes, "/nosuch/file"));
	free(path);
}

/* What sherd ships: read, for the right family, and never said to be measured. */
static void shipped_files_fit_their_families(void **state)
{
	static const struct {
		const char *file, *name, *vendor, *driver;
		enum sherd_shape shape;
	} cases[] = {
		{ "arm-mali-g7", "Mali-G78AE r0p1", "ARM", "", SHERD_SHAPE_SIMT },
		{ "arm-mali-g7", "Immortalis-G715", "ARM", "", SHERD_SHAPE_SIMT },
		{ "arm-mali-g6", "Mali-G610 r0p0", "ARM", "", SHERD_SHAPE_SIMT },
		{ "arm-mali-g5", "Mali-G52 r1p0", "ARM", "", SHERD_SHAPE_SIMT },
		{ "arm-mali-g3", "Mali-G31", "ARM", "", SHERD_SHAPE_SIMT },
		{ "arm-mali-midgard", "Mali-T860", "ARM", "", SHERD_SHAPE_SIMT },
		{ "qualcomm-adreno", "QUALCOMM Adreno(TM) 640", "QUALCOMM", "", SHERD_SHAPE_SIMT },
		{ "nvidia", "NVIDIA GeForce RTX 3060", "NVIDIA Corporation", "535.129.03",
		  SHERD_SHAPE_SIMT },
		{ "nvidia-pocl-cuda", "Orin", "NVIDIA Corporation", "3.1", SHERD_SHAPE_SIMT },
		{ "arm-cortex-a", "pthread-cortex-a76", "ARM", "3.1", SHERD_SHAPE_WIDE },
		{ "arm-cortex-a", "cpu-cortex-a53", "0x41", "6.0", SHERD_SHAPE_WIDE },
	};
	struct sherd_cl c = { 0 };
	size_t i, k;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		char *path = sherd_asprintf("tune/%s.tune", cases[i].file);
		struct sherd_device dev = { .shape = SHERD_SHAPE_SIMT };
		struct sherd_error err;
		struct sherd_tune t;
		int u;

		for (k = 0; k < ARRAY_SIZE(cases); k++) {
			bool same = !strcmp(cases[i].file, cases[k].file);

			strcpy(dev.info.name, cases[k].name);
			strcpy(dev.info.vendor, cases[k].vendor);
			strcpy(dev.info.driver, cases[k].driver);
			dev.shape = cases[k].shape;
			notes[0] = 0;
			if (sherd_tune_search(&t, path, &dev, on_note, NULL, &err))
				fail_msg("%s", err.msg);
			assert_int_equal(t.n_uses > 0, same);
			if (same)
				assert_non_null(strstr(t.untested, "not yet run on hardware"));
			for (u = 0; u < t.n_uses; u++) {
				char spec[SHERD_CL_SPEC], variant[SHERD_VARIANT_TEXT];

				sherd_variant_print(&t.uses[u].variant, variant);
				snprintf(spec, sizeof(spec), "%s:%s",
					 t.uses[u].spec[0] == 'i' ? "int.4.32.0.0" :
								      "attention.0.64.4",
					 variant);
				c.n_programs = 0;
				assert_int_equal(sherd_cl_add(&c, spec, NULL), 0);
			}
			sherd_tune_free(&t);
		}
		free(path);
	}
}

/* A device that is as fast within noise does not take the place of the one that ranks first. */
static void the_fastest_device_is_chosen_and_a_tie_changes_nothing(void **state)
{
	static const struct {
		struct sherd_choice_time t[3];
		int otherwise, best;
	} cases[] = {
		{ { { 4, 1, true }, { 2, 1, true }, { 9, 9, true } }, 0, 1 },
		{ { { 2, 1, true }, { 1.95, 1, true }, { 0, 0, false } }, 0, 0 },
		{ { { 2, 1, true }, { 1.95, 1, true }, { 0, 0, false } }, 1, 1 },
		{ { { 0, 0, false }, { 5, 5, true }, { 6, 6, true } }, 0, 1 },
		{ { { 0, 0, false }, { 0, 0, false }, { 6, 6, true } }, -1, 2 },
		{ { { 0, 0, false }, { 0, 0, false }, { 0, 0, false } }, 0, -1 },
		{ { { 3, 3, true }, { 2, 2, true }, { 1, 1, true } }, 0, 2 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(cases); i++)
		assert_int_equal(sherd_choice_best(cases[i].t, 3, cases[i].otherwise),
				 cases[i].best);
}

static void a_program_takes_only_what_it_can_vary(void **state)
{
	static const char *const good[] = { "int.4.32.0.0:local=2x16+kernel=8", "rows:pieces=4",
					    "attention.0.64:parts=8+local=32", "float.2:kernel=4",
					    "walk.4.32.0.0.0.64:ahead=256+tile=4x8",
					    "attention.0.64.4:tile=1x4+parts=64",
					    "int.4.32.0.0.experts:tile=1x3+blocks=2+local=4",
					    "float.3.experts:kernel=8+local=32" };
	static const char *const bad[] = { "int.4.32.0.0:parts=4",   "int.4.32.0.0:",
					   "rows:local=8",	     "float.2:local=4x4",
					   "float.2:kernel=16",	     "walk.4.32.0.0.0.64:local=64",
					   "rows:pieces=4:pieces=4", "int.4.32.0.0:kernel=2",
					   "attention.0.64:tile=2x6", "attention.0.64:tile=1x16",
					   "attention.0.64:local=2x16", "rows:tile=1x4",
					   "int.4.32.0.0.experts:local=4x4", "experts:pieces=4",
					   "walk.4.32.0.0.0.64:parts=4" };
	struct sherd_cl c = { 0 };
	size_t i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(good); i++)
		assert_int_equal(sherd_cl_add(&c, good[i], NULL), 0);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(sherd_cl_add(&c, bad[i], NULL), -EINVAL);
}

/* ------------------------------------------------------------------ launches */

/* A CPU that a file with these lines was made for. */
static void tuned_cpu(struct sherd_cl *c, const char *uses)
{
	static struct sherd_device cpu = { .info = { .is_cpu = true, .compute_units = 1 },
					   .shape = SHERD_SHAPE_WIDE };
	char *text = sherd_asprintf(HEAD "shape wide\nkernels any\n%s", uses);
	struct sherd_error err;

	memset(c, 0, sizeof(*c));
	c->dev = &cpu;
	if (parse(&c->tune, text, &err))
		fail_msg("%s", err.msg);
	free(text);
}

static const struct sherd_format small = { SHERD_ELEM_U4,   32,	  SHERD_ELEM_F16,
					   SHERD_ELEM_NONE, 1024, 2048 };
static const struct sherd_kv_shape past = { .n_kv_heads = 8, .head_dim = 64 };

static void a_launch_takes_what_was_tuned_for_its_number_of_rows(void **state)
{
	struct sherd_cl c;

	(void)state;
	tuned_cpu(&c, "use rows decode 2048x4096 pieces=4\n"
		      "use rows prompt 2048x4096 pieces=128\n"
		      "use rows prompt 64x64 pieces=64\n"
		      "use attention.0.64.4 decode 32x8 parts=1\n"
		      "use attention.0.64.4 prompt 32x8 tile=1x4\n"
		      "use int.4.32.0.0 prompt 1024x2048 tile=1x4\n"
		      "use int.4.32.0.0 decode 1024x2048 ahead=1024\n");
	assert_int_equal(sherd_cl_add_rows(&c, 2000, 4000, NULL), 0);
	assert_int_equal(sherd_cl_add_attention(&c, &past, 32, NULL), 0);
	assert_int_equal(sherd_cl_add_matrix(&c, &small, 0, NULL), 0);
	assert_string_equal(sherd_cl_rows_program(&c, 1)->spec, "rows:pieces=4");
	assert_string_equal(sherd_cl_rows_program(&c, 8)->spec, "rows");
	assert_string_equal(sherd_cl_rows_program(&c, 9)->spec, "rows:pieces=128");
	assert_string_equal(sherd_cl_attention_program(&c, &past, 1)->spec,
			    "attention.0.64.4:parts=1");
	assert_string_equal(sherd_cl_attention_program(&c, &past, 2)->spec, "attention.0.64.4");
	assert_string_equal(sherd_cl_attention_program(&c, &past, 500)->spec,
			    "attention.0.64.4:tile=1x4");
	assert_string_equal(sherd_cl_matmul_program(&c, &small, false, 1)->spec,
			    "int.4.32.0.0:ahead=1024");
	assert_string_equal(sherd_cl_matmul_program(&c, &small, false, 5)->spec, "int.4.32.0.0");
	assert_int_equal(c.n_programs, 9);
	/* the self-test has each of them for itself */
	c.tested = &c.programs[c.n_programs - 1];
	assert_ptr_equal(sherd_cl_matmul_program(&c, &small, false, 1), c.tested);
	c.tested = &c.programs[1];
	assert_ptr_equal(sherd_cl_rows_program(&c, 9), c.tested);
	sherd_tune_free(&c.tune);
}

/* However many layers a model has, there is room for what its last matrix wants. */
static void equal_matrices_are_picked_for_once(void **state)
{
	struct sherd_format head = small;
	struct sherd_cl c;
	int i;

	(void)state;
	tuned_cpu(&c, "use int.* * * kernel=8\n");
	for (i = 0; i < 200; i++)
		assert_int_equal(sherd_cl_add_matrix(&c, &small, 0, NULL), 0);
	head.rows = 32000;
	assert_int_equal(sherd_cl_add_matrix(&c, &head, 0, NULL), 0);
	assert_int_equal(c.n_picks, 6);
	assert_string_equal(sherd_cl_matmul_program(&c, &head, false, 1)->spec,
			    "int.4.32.0.0:kernel=8");
	sherd_tune_free(&c.tune);
}

static void experts_take_what_was_measured_of_a_matrix_of_their_size(void **state)
{
	struct sherd_format stack = small;
	struct sherd_cl c;

	(void)state;
	stack.rows = 8 * 1024;
	tuned_cpu(&c, "use int.4.32.0.0 decode 1024x2048 ahead=1024\n"
		      "use int.4.32.0.0 decode 8192x2048 ahead=16384\n"
		      "use int.4.32.0.0 few 1024x2048 local=2x16+kernel=8\n"
		      "use int.4.32.0.0 prompt 1024x2048 tile=1x4+blocks=2\n");
	assert_int_equal(sherd_cl_add_matrix(&c, &stack, 1024, NULL), 0);
	assert_string_equal(sherd_cl_matmul_program(&c, &stack, true, 1)->spec,
			    "int.4.32.0.0.experts:ahead=1024");
	/* a run has no room for shares of the tokens */
	assert_string_equal(sherd_cl_matmul_program(&c, &stack, true, 2)->spec,
			    "int.4.32.0.0.experts:kernel=8");
	assert_string_equal(sherd_cl_matmul_program(&c, &stack, true, 16)->spec,
			    "int.4.32.0.0.experts:blocks=2+tile=1x4");
	assert_null(sherd_cl_matmul_program(&c, &stack, false, 1));
	assert_int_equal(sherd_cl_add_matrix(&c, &stack, 0, NULL), 0);
	assert_string_equal(sherd_cl_matmul_program(&c, &stack, false, 1)->spec,
			    "int.4.32.0.0:ahead=16384");
	sherd_tune_free(&c.tune);
}

static void a_walk_takes_what_was_measured_of_its_parts(void **state)
{
	struct sherd_cl c;

	(void)state;
	tuned_cpu(&c, "use int.4.32.0.0 decode 1024x2048 ahead=1024\n"
		      "use attention.* decode * parts=1+tile=1x4\n");
	assert_int_equal(sherd_cl_add_walk(&c, &small, &past, 32, NULL), 0);
	assert_string_equal(c.programs[0].spec, "walk.4.32.0.0.0.64.4:ahead=1024+tile=1x4");
	sherd_tune_free(&c.tune);
	/* one that attention cannot have */
	tuned_cpu(&c, "use * decode * tile=2x6\n");
	assert_int_equal(sherd_cl_add_walk(&c, &small, &past, 32, NULL), 0);
	assert_string_equal(c.programs[0].spec, "walk.4.32.0.0.0.64.4");
	sherd_tune_free(&c.tune);
}

static int set_up(void **state)
{
	char *config;

	if (scratch_make(state))
		return -1;
	sherd_root = dir;
	config = in_dir("config");
	setenv("XDG_CONFIG_HOME", config, 1);
	unsetenv("SHERD_TUNE");
	free(config);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_printed_reads_back_the_same),
		cmocka_unit_test(a_file_that_is_wrong_is_refused_with_its_line),
		cmocka_unit_test(a_file_with_more_lines_than_any_device_needs_is_refused),
		cmocka_unit_test(cut_anywhere_and_with_any_byte_changed_a_file_is_read_or_refused),
		cmocka_unit_test(the_nearest_line_holds),
		cmocka_unit_test(only_what_is_faster_beyond_noise_is_chosen),
		cmocka_unit_test(the_nearer_to_the_user_a_file_is_the_sooner_it_counts),
		cmocka_unit_test(what_does_not_fit_is_passed_over_with_a_word),
		cmocka_unit_test(shipped_files_fit_their_families),
		cmocka_unit_test(the_fastest_device_is_chosen_and_a_tie_changes_nothing),
		cmocka_unit_test(a_program_takes_only_what_it_can_vary),
		cmocka_unit_test(a_launch_takes_what_was_tuned_for_its_number_of_rows),
		cmocka_unit_test(equal_matrices_are_picked_for_once),
		cmocka_unit_test(experts_take_what_was_measured_of_a_matrix_of_their_size),
		cmocka_unit_test(a_walk_takes_what_was_measured_of_its_parts),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
