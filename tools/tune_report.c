/* SPDX-License-Identifier: MIT */
/* tune_report: what was chosen, as a table and as lines of the file. */
#include <math.h>
#include <string.h>
#include "tune.h"

/* Of the nearer of the two roofs; 0: unknown. */
static double share_of(const struct tune *t, const char *spec, const struct sherd_time_size *s,
		       double seconds)
{
	double least;

	if (!t->has_limits || !(seconds > 0) || !(t->limits.read > 0) || !(t->limits.dot > 0))
		return 0;
	least = MAX(sherd_time_bytes(spec, s) / t->limits.read, sherd_time_ops(s) / t->limits.dot);
	return least / seconds;
}

static struct sherd_tune_use use_of(const struct tune *t, const struct tune_program *p, int class,
				    int m)
{
	const struct tune_choice *c = &p->choice[class][m];
	const struct sherd_time_size s = { p->matrix[m].rows, p->matrix[m].cols,
					   tune_tokens(class) };
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

	snprintf(size, sizeof(size), "%d x %d", p->matrix[m].rows, p->matrix[m].cols);
	if (!(u.us > 0)) {
		printf("| %-14s | %-6s | %-14s | %10s | %-20s | %10s | %6s | %7s |\n", p->spec,
		       sherd_tune_class_name(class), size, "-", "not measured", "-", "-", "-");
		return;
	}
	sherd_variant_print(&u.variant, variant);
	if (u.share > 0)
		snprintf(share, sizeof(share), "%.0f %%", 100 * u.share);
	printf("| %-14s | %-6s | %-14s | %10.1f | %-20s | %10.1f | %6.2f | %7s |\n", p->spec,
	       sherd_tune_class_name(class), size, u.default_us, variant, u.us, u.default_us / u.us,
	       share);
}

void tune_print_table(const struct tune *t)
{
	printf("%s (%s), dot4.h's %s; %d variants measured, %d refused\n\n", t->c.dev->info.name,
	       t->c.dev->info.why, t->c.dev->dot, t->n_tried, t->n_refused);
	printf("| %-14s | %-6s | %-14s | %10s | %-20s | %10s | %6s | %7s |\n", "program", "class",
	       "rows x columns", "default us", "chosen", "us", "gain", "of roof");
	printf("| -------------- | ------ | -------------- | ---------: | -------------------- | "
	       "---------: | -----: | ------: |\n");
	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++)
			for (int m = 0; m < t->program[i].n; m++)
				print_row(t, &t->program[i], c, m);
	if (t->has_limits)
		printf("\nroofs: %.1f GB/s of reads, %.1f GOP/s of dot products\n",
		       t->limits.read / 1e9, t->limits.dot / 1e9);
}
