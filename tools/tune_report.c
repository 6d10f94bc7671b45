/* SPDX-License-Identifier: MIT */
/* tune_report: what was chosen, as a table, as JSON and as lines of the file. */
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tune.h"

/* Of the nearer of the two roofs; 0: unknown. */
static double share_of(const struct tune *t, const char *spec, const struct sherd_time_size *s,
		       double seconds)
{
	bool floats = strncmp(spec, "int.", 4);
	double read = t->limits.read, rate = floats ? t->limits.fma : t->limits.dot;

	if (!t->has_limits || !(seconds > 0) || !(read > 0) || !(rate > 0))
		return 0;
	return MAX(sherd_time_bytes(spec, s) / read, sherd_time_ops(spec, s) / rate) / seconds;
}

static struct sherd_tune_use use_of(const struct tune *t, const struct tune_program *p, int class,
				    int m)
{
	const struct tune_choice *c = &p->choice[class][m];
	const struct sherd_time_size s = { p->size[m].rows, p->size[m].cols, tune_tokens(class) };
	struct sherd_tune_use u = { .class = class,
				    .rows = sherd_tune_bucket(s.rows),
				    .cols = sherd_tune_bucket(s.cols),
				    .variant = c->variant,
				    .us = 1e6 * c->time.seconds,
				    .default_us = 1e6 * c->time.default_seconds,
				    .share = share_of(t, p->spec, &s, c->time.seconds) };

	memcpy(u.spec, p->spec, sizeof(u.spec));
	return u;
}

int tune_fill(const struct tune *t, struct sherd_tune *file, struct sherd_error *err)
{
	int rc = 0;

	if (t->has_limits) {
		file->read = t->limits.read;
		file->dot_rate = t->limits.dot;
	}
	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++)
			for (int m = 0; m < t->program[i].n && !rc; m++) {
				struct sherd_tune_use u = use_of(t, &t->program[i], c, m);

				if (u.us > 0)
					rc = sherd_tune_add(file, &u, err);
			}
	return rc;
}

static void print_row(const struct tune *t, const struct tune_program *p, int class, int m)
{
	struct sherd_tune_use u = use_of(t, p, class, m);
	char variant[SHERD_VARIANT_TEXT], size[32], share[32] = "-";

	snprintf(size, sizeof(size), "%d x %d", p->size[m].rows, p->size[m].cols);
	if (!(u.us > 0)) {
		printf("| %-16s | %-6s | %-14s | %10s | %-20s | %10s | %6s | %7s |\n", p->spec,
		       sherd_tune_class_name(class), size, "-", "not measured", "-", "-", "-");
		return;
	}
	sherd_variant_print(&u.variant, variant);
	if (u.share > 0)
		snprintf(share, sizeof(share), "%.0f %%", 100 * u.share);
	printf("| %-16s | %-6s | %-14s | %10.1f | %-20s | %10.1f | %6.2f | %7s |\n", p->spec,
	       sherd_tune_class_name(class), size, u.default_us, variant, u.us, u.default_us / u.us,
	       share);
}

void tune_print_table(const struct tune *t)
{
	printf("%s (%s), dot4.h's %s; %d variants measured, %d refused\n\n", t->c.dev->info.name,
	       t->c.dev->info.why, t->c.dev->dot, t->n_tried, t->n_refused);
	printf("| %-16s | %-6s | %-14s | %10s | %-20s | %10s | %6s | %7s |\n", "program", "class",
	       "size", "default us", "chosen", "us", "gain", "of roof");
	printf("| ---------------- | ------ | -------------- | ---------: | -------------------- | "
	       "---------: | -----: | ------: |\n");
	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++)
			for (int m = 0; m < t->program[i].n; m++)
				print_row(t, &t->program[i], c, m);
	if (t->has_limits)
		printf("\nroofs: %.1f GB/s of reads, %.1f GOP/s of dot products\n",
		       t->limits.read / 1e9, t->limits.dot / 1e9);
}

/* --------------------------------------------------------------------- JSON */

static json_t *row_json(const struct tune *t, const struct tune_program *p, int class, int m)
{
	struct sherd_tune_use u = use_of(t, p, class, m);
	char variant[SHERD_VARIANT_TEXT];
	json_t *o = json_pack("{s:s,s:s,s:i,s:i,s:i}", "program", p->spec, "class",
			      sherd_tune_class_name(class), "rows", p->size[m].rows, "cols",
			      p->size[m].cols, "tokens", tune_tokens(class));

	if (!(u.us > 0)) {
		json_object_set_new(o, "variant", json_null());
		return o;
	}
	sherd_variant_print(&u.variant, variant);
	json_object_set_new(o, "variant", json_string(variant));
	json_object_set_new(o, "us", json_real(u.us));
	json_object_set_new(o, "default_us", json_real(u.default_us));
	json_object_set_new(o, "gain", json_real(u.default_us / u.us));
	json_object_set_new(o, "of_roof", u.share > 0 ? json_real(u.share) : json_null());
	return o;
}

static json_t *rows_json(const struct tune *t)
{
	json_t *list = json_array();

	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++)
			for (int m = 0; m < t->program[i].n; m++)
				json_array_append_new(list, row_json(t, &t->program[i], c, m));
	return list;
}

/* What a driver said last may be anything. */
static json_t *refused_json(const struct tune *t)
{
	json_t *list = json_array();

	for (int i = 0; i < MIN(t->n_refused, TUNE_REFUSED); i++) {
		const char *spec = t->refused[i].spec;
		char *why = tool_harmless(t->refused[i].why);
		int n = (int)strcspn(spec, ":");

		json_array_append_new(list, json_pack("{s:s%,s:s,s:s*}", "program", spec, (size_t)n,
						      "variant", spec + n + (spec[n] == ':'), "why",
						      why));
		free(why);
	}
	return list;
}

static json_t *roofs_json(const struct tune *t)
{
	if (!t->has_limits)
		return json_null();
	return json_pack("{s:f,s:f,s:f}", "read", t->limits.read, "dot", t->limits.dot, "fma",
			 t->limits.fma);
}

int tune_print_json(const struct tune *t, const char *path)
{
	const struct sherd_device_info *info = &t->c.dev->info;
	char *name = tool_harmless(info->name), *driver = tool_harmless(info->driver);
	char kernels[SHERD_SHA256_HEX];
	json_t *all;
	int rc;

	sherd_tune_kernels(kernels);
	all = json_pack("{s:s*,s:s*,s:s,s:s,s:s,s:o,s:i,s:o,s:o,s:o}", "device", name, "driver",
			driver, "shape", t->c.dev->shape == SHERD_SHAPE_SIMT ? "simt" : "wide",
			"dot", t->c.dev->dot, "kernels", kernels, "file", tool_json_path(path),
			"variants_measured", t->n_tried, "refused", refused_json(t), "roofs",
			roofs_json(t), "uses", rows_json(t));
	free(name);
	free(driver);
	rc = !all || json_dumpf(all, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	putchar('\n');
	json_decref(all);
	return rc ? tool_failf(&tool_tune, "the results can't be written as JSON: memory is out") :
		    TOOL_OK;
}
