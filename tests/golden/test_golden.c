/* SPDX-License-Identifier: MIT */
/*
 * Golden values from outside: the logits that transformers and torch give for tiny models of each
 * architecture. make.sh made the files beside this one; llama.cpp's logits for the same files were
 * compared when they were made.
 */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "gold.h"
#include "random.h"

/* Every .gold file that is there, by name: those of float models have a section "bits8". */
static glob_t files;
static uint64_t seed;

/*
 * How far sherd may be from torch, as a share of the distance between torch's two sections. Most
 * files come out within 3e-7 of torch's int8; where one activation lies so near the middle
 * between two integers that it rounds elsewhere, or (--bits) a weight, it is up to a fifth of
 * that distance.
 */
#define OF_INT8	 0.5 /* the same quantized activations */
#define OF_FLOAT 1.5 /* float activations */

static void open_gold(struct gold *g, const char *name)
{
	char *path = golden_path(name, ".gold");

	gold_open(g, path);
	free(path);
}

static void gold_name(size_t i, char name[64])
{
	const char *slash = strrchr(files.gl_pathv[i], '/');

	snprintf(name, 64, "%.*s", (int)strlen(slash + 1) - 5, slash + 1);
}

static bool is_float(const char *name)
{
	struct gold g;
	bool yes;

	open_gold(&g, name);
	yes = gold_find(&g, "bits8");
	free(g.file);
	return yes;
}

static int find_files(void **state)
{
	char *path = golden_path("*", ".gold");
	int rc = glob(path, 0, NULL, &files);

	(void)state;
	free(path);
	return rc;
}

static int forget_files(void **state)
{
	(void)state;
	globfree(&files);
	return 0;
}

/* |a - b| / |b| */
static double distance(const float *a, const float *b, size_t n)
{
	double diff = 0, norm = 0;

	for (size_t i = 0; i < n; i++) {
		diff += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
		norm += (double)b[i] * b[i];
	}
	return sqrt(diff / norm);
}

static float *run_gguf(const char *name, const char *device, int bits, const struct gold *g)
{
	char *path = golden_path(name, ".gguf");
	float *out = gold_run(g, path, device, bits);

	free(path);
	return out;
}

/* True if @name's float logits are within 1e-4 of torch's on @device. */
static bool check_float(const char *name, const char *device)
{
	struct gold g;
	float *out;
	double w;

	open_gold(&g, name);
	out = run_gguf(name, device, 0, &g);
	w = gold_worst(out, gold_section(&g, "float"), (size_t)g.n_rows * g.n_vocab);
	print_message("  %-16s %-10s max error %.1e of the largest logit\n", name, device, w);
	free(out);
	free(g.file);
	return w <= 1e-4;
}

/* True if @name is as far from torch's logits as quantized activations explain. */
static bool check_int(const char *name, const char *device, int bits, const char *section)
{
	double to_int, to_float, cost;
	struct gold g;
	float *out;
	size_t n;

	open_gold(&g, name);
	n = (size_t)g.n_rows * g.n_vocab;
	out = run_gguf(name, device, bits, &g);
	to_int = distance(out, gold_section(&g, section), n);
	to_float = distance(out, gold_section(&g, "float"), n);
	cost = distance(gold_section(&g, section), gold_section(&g, "float"), n);
	print_message("  %-16s %-10s %-5s to torch's int8 %.1e, to its floats %.1e (torch: %.1e)\n",
		      name, device, section, to_int, to_float, cost);
	free(out);
	free(g.file);
	return to_int <= OF_INT8 * cost && to_float <= OF_FLOAT * cost;
}

/*
 * On OpenCL each model compiles kernels of its own, for seconds: a fifth of them a run, another one
 * each time, and all where time is no matter. The reference always has all.
 */
static bool is_in_turn(size_t i, const char *device)
{
	return getenv("SHERD_LONG") || !strcmp(device, "reference") || i % 5 == seed % 5;
}

static void check_files(const char *device, bool floats)
{
	int bad = 0, n = 0, left_out = 0;
	char name[64];

	for (size_t i = 0; i < files.gl_pathc; i++) {
		gold_name(i, name);
		if (is_float(name) != floats)
			continue;
		if (!is_in_turn(i, device)) {
			left_out++;
			continue;
		}
		bad += floats ? !check_float(name, device) : !check_int(name, device, 0, "int8");
		n++;
	}
	assert_int_equal(bad, 0);
	assert_true(n > 0 && n + left_out > 4);
}

static void check_requantized_files(const char *device)
{
	int bad = 0, n = 0;
	char name[64];

	for (size_t i = 0; i < files.gl_pathc; i++) {
		gold_name(i, name);
		if (!is_float(name))
			continue;
		bad += !check_int(name, device, 8, "bits8");
		bad += !check_int(name, device, 4, "bits4");
		n++;
	}
	assert_int_equal(bad, 0);
	assert_true(n > 4);
}

static void float_models_give_torchs_logits_on_the_reference(void **state)
{
	(void)state;
	check_files("reference", true);
}

static void float_models_give_torchs_logits_on_opencl(void **state)
{
	(void)state;
	check_files("auto", true);
}

static void
quantized_models_are_as_far_from_torch_as_int8_activations_on_the_reference(void **state)
{
	(void)state;
	check_files("reference", false);
}

static void quantized_models_are_as_far_from_torch_as_int8_activations_on_opencl(void **state)
{
	(void)state;
	check_files("auto", false);
}

static void requantized_models_give_what_torch_gives_with_the_same_rounding(void **state)
{
	(void)state;
	check_requantized_files("reference");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(float_models_give_torchs_logits_on_the_reference),
		cmocka_unit_test(
			quantized_models_are_as_far_from_torch_as_int8_activations_on_the_reference),
		cmocka_unit_test(requantized_models_give_what_torch_gives_with_the_same_rounding),
		cmocka_unit_test(float_models_give_torchs_logits_on_opencl),
		cmocka_unit_test(
			quantized_models_are_as_far_from_torch_as_int8_activations_on_opencl),
	};

	seed = tiny_seed();
	return cmocka_run_group_tests(tests, find_files, forget_files);
}
