/* SPDX-License-Identifier: MIT */
/*
 * Golden values from outside: the logits that transformers and torch give for tiny models of each
 * architecture. make.sh made the files beside this one; llama.cpp's logits for the same files were
 * compared when they were made.
 *
 * A .gold file: "SHGOLD1\n"; u32 n_tokens, n_rows, n_vocab, n_sections; i32 tokens [n_tokens];
 * i32 rows [n_rows], the positions whose logits follow; sections of char name[8] and float logits
 * [n_rows][n_vocab].
 */
#include <glob.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>
#include "base/base.h"

struct gold {
	uint32_t n_tokens, n_rows, n_vocab, n_sections;
	const int32_t *tokens, *rows;
	const char *sections;
	char *file;
};

/* Every .gold file that is there, by name: those of float models have a section "bits8". */
static glob_t files;

/*
 * How far sherd may be from torch, as a share of the distance between torch's two sections. Most
 * files come out within 3e-7 of torch's int8; where one activation lies so near the middle
 * between two integers that it rounds elsewhere, or (--bits) a weight, it is up to a fifth of
 * that distance.
 */
#define OF_INT8	 0.5 /* the same quantized activations */
#define OF_FLOAT 1.5 /* float activations */

static char *golden_path(const char *name, const char *suffix)
{
	const char *dir = getenv("SHERD_GOLDEN");
	char *path = sherd_asprintf("%s/%s%s", dir ? dir : "tests/golden", name, suffix);

	assert_non_null(path);
	return path;
}

static void gold_open(struct gold *g, const char *name)
{
	char *path = golden_path(name, ".gold");
	struct sherd_error err = { "" };
	size_t size;

	if (sherd_read_file(path, 1 << 20, &g->file, &size, &err))
		fail_msg("%s", err.msg);
	free(path);
	assert_true(size > 24 && !memcmp(g->file, "SHGOLD1\n", 8));
	memcpy(g, g->file + 8, 16);
	g->tokens = (const int32_t *)(g->file + 24);
	g->rows = g->tokens + g->n_tokens;
	g->sections = (const char *)(g->rows + g->n_rows);
	assert_int_equal(size, 24 + 4 * (g->n_tokens + g->n_rows) +
				       g->n_sections * (8 + 4 * g->n_rows * g->n_vocab));
}

/* NULL: there is none. */
static const float *find_section(const struct gold *g, const char *name)
{
	size_t stride = 8 + sizeof(float) * g->n_rows * g->n_vocab;

	for (uint32_t i = 0; i < g->n_sections; i++)
		if (!strncmp(g->sections + i * stride, name, 8))
			return (const float *)(g->sections + i * stride + 8);
	return NULL;
}

static const float *gold_section(const struct gold *g, const char *name)
{
	const float *section = find_section(g, name);

	if (!section)
		fail_msg("no section \"%s\"", name);
	return section;
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

	gold_open(&g, name);
	yes = find_section(&g, "bits8");
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

/* max |a - b| / max |b|; a NaN is infinitely far. */
static double worst(const float *a, const float *b, size_t n)
{
	double diff = 0, max = 0;

	for (size_t i = 0; i < n; i++) {
		if (!isfinite(a[i]))
			return INFINITY;
		diff = fmax(diff, fabs((double)a[i] - b[i]));
		max = fmax(max, fabs((double)b[i]));
	}
	return diff / max;
}

/* The wanted rows of one step after the other; steps are of uneven lengths on purpose. */
static void run_steps(struct sherd_model *model, struct sherd_session *session,
		      const struct gold *g, float *out)
{
	struct sherd_item item = { .session = session, .want = SHERD_WANT_ALL };
	struct sherd_error err = { "" };
	struct sherd_rows rows;
	uint32_t next = 0;

	for (int pos = 0, step = 0; pos < (int)g->n_tokens; pos += item.n, step++) {
		item.tokens = g->tokens + pos;
		item.n = MIN((int)g->n_tokens - pos, step % 3 ? 61 : 7);
		if (sherd_step(model, &item, 1, 0, 0, &rows, &err))
			fail_msg("%s", err.msg);
		assert_int_equal(rows.n_rows, item.n);
		assert_int_equal(rows.row_len, g->n_vocab);
		for (; next < g->n_rows && g->rows[next] < pos + item.n; next++)
			memcpy(out + (size_t)next * g->n_vocab,
			       rows.data + (size_t)(g->rows[next] - pos) * g->n_vocab,
			       g->n_vocab * sizeof(*out));
	}
	assert_int_equal(next, g->n_rows);
}

/* The model's logits at the golden positions; free() them. */
static float *run_model(const char *name, const char *device, int bits, const struct gold *g)
{
	struct sherd_model_params params = SHERD_MODEL_PARAMS_INIT;
	float *out = sherd_calloc((size_t)g->n_rows * g->n_vocab, sizeof(*out));
	char *path = golden_path(name, ".gguf");
	struct sherd_session *session;
	struct sherd_error err = { "" };
	struct sherd_model *model;

	params.device = device;
	params.bits = bits;
	params.kv_type = SHERD_KV_F32;
	params.no_cache = true;
	params.n_batch = 64;
	if (sherd_model_open(&model, path, &params, &err) ||
	    sherd_session_new(&session, model, NULL, &err))
		fail_msg("%s on %s: %s", name, device, err.msg);
	for (size_t i = 0; i < (size_t)g->n_rows * g->n_vocab; i++)
		out[i] = NAN;
	run_steps(model, session, g, out);
	sherd_session_free(session);
	sherd_model_close(model);
	free(path);
	return out;
}

/* True if @name's float logits are within 1e-4 of torch's on @device. */
static bool check_float(const char *name, const char *device)
{
	struct gold g;
	float *out;
	double w;

	gold_open(&g, name);
	out = run_model(name, device, 0, &g);
	w = worst(out, gold_section(&g, "float"), (size_t)g.n_rows * g.n_vocab);
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

	gold_open(&g, name);
	n = (size_t)g.n_rows * g.n_vocab;
	out = run_model(name, device, bits, &g);
	to_int = distance(out, gold_section(&g, section), n);
	to_float = distance(out, gold_section(&g, "float"), n);
	cost = distance(gold_section(&g, section), gold_section(&g, "float"), n);
	print_message("  %-16s %-10s %-5s to torch's int8 %.1e, to its floats %.1e (torch: %.1e)\n",
		      name, device, section, to_int, to_float, cost);
	free(out);
	free(g.file);
	return to_int <= OF_INT8 * cost && to_float <= OF_FLOAT * cost;
}

static void check_files(const char *device, bool floats)
{
	int bad = 0, n = 0;
	char name[64];

	for (size_t i = 0; i < files.gl_pathc; i++) {
		gold_name(i, name);
		if (is_float(name) != floats)
			continue;
		bad += floats ? !check_float(name, device) : !check_int(name, device, 0, "int8");
		n++;
	}
	assert_int_equal(bad, 0);
	assert_true(n > 4);
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

	return cmocka_run_group_tests(tests, find_files, forget_files);
}
