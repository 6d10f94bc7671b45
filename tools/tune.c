/* SPDX-License-Identifier: MIT */
/*
 * tune: measures which variant of each kernel is fastest on a device, for the matrices of a model,
 * and writes a file of it. All variants give the same bits: one that does not is refused.
 */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include "tune.h"

/* ---------------------------------------------------------- command line */

static int check_variants(const char *list)
{
	int count = 0;

	for (const char *v = list; *v; v += *v == ',') {
		char text[SHERD_VARIANT_TEXT + 1];
		struct sherd_variant variant;
		int n = (int)strcspn(v, ",");

		snprintf(text, sizeof(text), "%.*s", n, v);
		v += n;
		if (!sherd_variant_parse(&variant, text) || sherd_variant_is_default(&variant))
			return tool_usage(&tool_tune, "--variants: '%s' is none", text);
		if (++count > TUNE_CANDIDATES)
			return tool_usage(&tool_tune, "--variants: more than %d at once",
					  TUNE_CANDIDATES);
	}
	return TOOL_OK;
}

static int parse(struct tune *t, int argc, char **argv, bool *done)
{
	static const char *const kvs[] = { "f16", "int8", "f32" };
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &t->model, 0, 0, "MODEL",
		  "whose matrices are measured: a GGUF file, packed shard, Ollama model name or "
		  "Hugging Face cache folder" },
		{ 0, "shapes", OPT_STR, &t->shapes, 0, 0, "PROGRAM:ROWSxCOLS,...",
		  "these matrices instead of a model's: int.4.32.0.0:2048x2048 has 4 bits, groups "
		  "of 32, half scales and no minima; attention.0.64:32x8 is 32 heads of 64 and a cache of "
		  "8 KV heads in halves; rows:2048x5632 a norm and an activation function of these "
		  "widths" },
		{ 0, "variants", OPT_STR, &t->variants, 0, 0, "VARIANT,...",
		  "try these instead of the usual ones, wherever they make sense: "
		  "local=2x16+kernel=8,tile=2x4" },
		{ 0, "device", OPT_STR, &t->params.device, 0, 0, "NAME",
		  "auto, cpu, gpu, a number or part of a device's name" },
		{ 't', "threads", OPT_INT, &t->params.n_threads, 1, 1024, "N",
		  "threads of a CPU device (default: the CPUs that the process may use)" },
		{ 0, "time", OPT_FLOAT, &t->seconds, 1, 86400, "S",
		  "seconds of measuring, about; compiling comes on top (default: 30)" },
		{ 0, "limit", OPT_FLOAT, &t->limit, 1, 3600, "S",
		  "a variant that takes longer to compile and test has hung (default: 300)" },
		{ 'o', "output", OPT_STR, &t->out, 0, 0, "FILE",
		  "where to write; what it has of other matrices on this device stays (default: "
		  "~/.config/sherd/tune/DEVICE.tune, where run, bench and node look first)" },
		{ 0, "bits", OPT_INT, &t->params.bits, 4, 8, "4|8",
		  "of a model in F32/F16/BF16, as for run" },
		{ 0, "kv", OPT_STR, &t->kv, 0, 0, "TYPE",
		  "the KV cache's type that attention is measured with: f16 (default), int8, f32" },
		{ 0, "no-cache", OPT_FLAG, &t->params.no_cache, 0, 0, NULL,
		  "neither read nor write the cache of packed shards" },
		{ 0, "json", OPT_FLAG, &t->json, 0, 0, NULL, "print JSON" },
		{ 0 }
	};
	int rc = opt_parse(&tool_tune, opts, &argc, argv), kv = 0;

	*done = rc > 0;
	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (!t->model && !t->shapes && argc)
		t->model = argv[0], argc--, argv++;
	if (argc)
		return tool_usage(&tool_tune, "'%s' is one argument too many", argv[0]);
	if (!t->model == !t->shapes)
		return tool_usage(&tool_tune, t->model ? "-m or --shapes, not both" :
							 "which matrices? Give a model with -m, or "
							 "--shapes");
	if (t->params.bits && t->params.bits != 4 && t->params.bits != 8)
		return tool_usage(&tool_tune, "--bits: %d is neither 4 nor 8", t->params.bits);
	if (t->variants && check_variants(t->variants))
		return TOOL_USAGE;
	if (t->kv && tool_pick(&tool_tune, "--kv", t->kv, kvs, 3, &kv))
		return TOOL_USAGE;
	t->params.kv_type = (enum sherd_kv_type)kv;
	if (t->params.device && !strcmp(t->params.device, "reference"))
		return tool_usage(&tool_tune, "--device: the reference has no variants");
	return TOOL_OK;
}

/* ------------------------------------------------------------------ the file */

/* ~/.config/sherd/tune/pthread-skylake-avx512-amd-epyc.tune; NULL: nowhere. */
static char *default_path(const struct tune *t)
{
	char *dir = sherd_tune_user_dir(), name[sizeof(t->c.dev->info.name)], *path;
	size_t len = 0;

	if (!dir)
		return NULL;
	for (const char *p = t->c.dev->info.name; *p && len < sizeof(name) - 1; p++) {
		if (isalnum((unsigned char)*p))
			name[len++] = (char)tolower((unsigned char)*p);
		else if (len && name[len - 1] != '-')
			name[len++] = '-';
	}
	while (len && name[len - 1] == '-')
		len--;
	name[len] = 0;
	path = sherd_asprintf(
		"%s/%s%s.tune", dir, len ? name : "device",
		t->c.forced_shape ? (t->c.dev->shape == SHERD_SHAPE_SIMT ? "-simt" : "-wide") : "");
	sherd_make_dirs(dir); /* should that fail, the file can't be written either */
	free(dir);
	return path;
}

static bool has(const struct sherd_tune *t, const struct sherd_tune_use *u)
{
	for (int i = 0; i < t->n_uses; i++)
		if (!strcmp(t->uses[i].spec, u->spec) && t->uses[i].class == u->class &&
		    t->uses[i].rows == u->rows && t->uses[i].cols == u->cols)
			return true;
	return false;
}

/* What an older file says of other matrices, with the same kernels and the same path, holds. */
static int keep_old(const struct tune *t, struct sherd_tune *file, const char *path,
		    struct sherd_error *err)
{
	struct sherd_tune old;
	char *text;
	size_t size;
	int rc = 0;

	if (sherd_read_file(path, 256 << 10, &text, &size, NULL))
		return 0;
	if (!sherd_tune_parse(&old, text, size, path, NULL)) {
		if (sherd_tune_fits(&old, t->c.dev) && !strcmp(old.kernels, file->kernels) &&
		    !strcmp(old.dot, file->dot))
			for (int i = 0; i < old.n_uses && !rc; i++)
				if (!has(file, &old.uses[i]))
					rc = sherd_tune_add(file, &old.uses[i], err);
		sherd_tune_free(&old);
	}
	free(text);
	return rc;
}

/* What would fail at the end fails at the beginning. */
static int check_path(const char *path)
{
	struct sherd_outfile out;
	struct sherd_error err;

	if (sherd_outfile_open(&out, path, &err))
		return tool_fail(&tool_tune, &err);
	sherd_outfile_abort(&out);
	return TOOL_OK;
}

static int write_file(const struct tune *t, const char *path)
{
	struct sherd_tune file = { 0 };
	struct sherd_error err;
	int rc;

	sherd_tune_for(&file, t->c.dev);
	rc = tune_fill(t, &file, &err);
	if (!rc)
		rc = keep_old(t, &file, path, &err);
	if (!rc)
		rc = sherd_tune_write(&file, path, &err);
	sherd_tune_free(&file);
	return rc ? tool_fail(&tool_tune, &err) : TOOL_OK;
}

/* ------------------------------------------------------------ from end to end */

/* The table is there already: who has no file of it has that. */
static int report(const struct tune *t)
{
	if (t->json)
		return tune_print_json(t, t->out);
	printf("\nwrote %s\n", t->out);
	return TOOL_OK;
}

static int tune(struct tune *t)
{
	struct sherd_error err;
	char *path = NULL;
	int rc = t->shapes ? tune_shapes_of_list(t) : TOOL_OK;

	if (rc)
		return rc;
	if (sherd_cl_open(&t->c, t->params.device, t->params.n_threads, &err))
		return tool_fail(&tool_tune, &err);
	if (!t->out)
		t->out = path = default_path(t);
	rc = t->out ? check_path(t->out) :
		      tool_failf(&tool_tune,
				 "there is no home folder to write to: -o FILE says where");
	if (!rc && t->model)
		rc = tune_shapes_of_model(t);
	if (!rc)
		rc = tune_measure(t);
	if (!rc && !t->json)
		tune_print_table(t);
	if (!rc)
		rc = write_file(t, t->out);
	if (!rc)
		rc = report(t);
	sherd_cl_close(&t->c);
	free(path);
	return rc;
}

static int main_tune(int argc, char **argv)
{
	struct tune *t = sherd_calloc(1, sizeof(*t));
	bool done = false;
	int rc;

	if (!t)
		return tool_failf(&tool_tune, "no memory");
	t->params.progress = tool_progress;
	t->params.note = tool_note;
	t->seconds = 30;
	t->limit = SHERD_CL_TIME_LIMIT;
	rc = parse(t, argc, argv, &done);
	if (!rc && !done) {
		rc = tune(t);
		if (!tool_flush(&tool_tune))
			rc = TOOL_FAILED;
	}
	free(t);
	return rc;
}

const struct tool tool_tune = {
	.name = "tune",
	.synopsis =
		"-m MODEL | --shapes PROGRAM:ROWSxCOLS,... [--device NAME] [--time S] [-o FILE] "
		"[--json]",
	.summary = "measure which variants of the kernels are fastest here",
	.about =
		"Measures variants of the kernels that a model needs - matmuls, attention, norms; sizes "
		"of groups and tiles, prefetch distances, dot product paths - against the default, for "
		"one token, a few and a prompt, and writes what is faster to a file. All variants give the "
		"reference's bits: each is tested, in a process of its own, and one that fails is "
		"named and never chosen. run, bench and node use the file by themselves (--tune "
		"none: they do not); its format is made to be read and committed "
		"(Documentation/tuning.rst).\n\n"
		"  sherd tune -m model.gguf\n"
		"  sherd tune -m model.gguf --device gpu --time 300 -o mali-g52.tune\n",
	.main = main_tune,
};
