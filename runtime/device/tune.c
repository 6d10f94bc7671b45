/* SPDX-License-Identifier: MIT */
/* tune: what a tune file says to whom. tune_file.c reads and writes one, tune_find.c finds it. */
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "device/kernels.h"
#include "device/tune.h"

#define MAX_USES 1024
#define NEAR	 2  /* powers of two */
#define ANY	 64 /* further away than any bucket */

static const char *const class_names[SHERD_TUNE_CLASSES] = { "decode", "few", "prompt" };

enum sherd_tune_class sherd_tune_class_of(int n)
{
	return n == 1 ? SHERD_TUNE_DECODE : n <= 8 ? SHERD_TUNE_FEW : SHERD_TUNE_PROMPT;
}

const char *sherd_tune_class_name(enum sherd_tune_class class)
{
	return class_names[class];
}

void sherd_tune_free(struct sherd_tune *t)
{
	free(t->path);
	free(t->uses);
	memset(t, 0, sizeof(*t));
}

int sherd_tune_add(struct sherd_tune *t, const struct sherd_tune_use *use, struct sherd_error *err)
{
	struct sherd_tune_use *more;

	if (t->n_uses == MAX_USES)
		return sherd_fail(err, -E2BIG, "has more than %d lines \"use\"", MAX_USES);
	more = realloc(t->uses, (t->n_uses + 1) * sizeof(*more));
	if (!more)
		return sherd_fail_oom(err, (t->n_uses + 1) * sizeof(*more), "a tune file");
	t->uses = more;
	t->uses[t->n_uses++] = *use;
	return 0;
}

/* ------------------------------------------------------------------ devices */

/* As a pattern that fits itself alone, and that a line keeps: no comment, no blank at its end. */
static void quote(char *to, size_t size, const char *name)
{
	size_t len = 0;

	for (; *name && len + 3 < size; name++) {
		if (strchr("*?[]\\#", *name))
			to[len++] = '\\';
		to[len++] = *name == ' ' && !name[1] ? '?' : *name;
	}
	to[len] = 0;
}

void sherd_tune_for(struct sherd_tune *t, const struct sherd_device *dev)
{
	time_t now = time(NULL);
	struct tm tm;
	char day[16] = "";

	quote(t->name, sizeof(t->name), dev->info.name);
	quote(t->vendor, sizeof(t->vendor), dev->info.vendor);
	quote(t->driver, sizeof(t->driver), dev->info.driver);
	t->shape = dev->shape;
	snprintf(t->dot, sizeof(t->dot), "%s", dev->dot);
	sherd_tune_kernels(t->kernels);
	if (gmtime_r(&now, &tm))
		strftime(day, sizeof(day), "%Y-%m-%d", &tm);
	snprintf(t->measured, sizeof(t->measured), "%s by sherd %s", day, sherd_version());
}

static bool fits(const char *pattern, const char *text)
{
	return !*pattern || !fnmatch(pattern, text, FNM_CASEFOLD);
}

bool sherd_tune_fits(const struct sherd_tune *t, const struct sherd_device *dev)
{
	return t->shape == dev->shape && fits(t->name, dev->info.name) &&
	       fits(t->vendor, dev->info.vendor) && fits(t->driver, dev->info.driver);
}

void sherd_tune_kernels(char hex[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	int i;

	for (i = 0; i < sherd_n_kernel_sources; i++) {
		const struct sherd_kernel_source *k = &sherd_kernel_sources[i];

		sherd_sha256_add(s, k->name, strlen(k->name) + 1);
		sherd_sha256_add(s, k->text, k->len);
	}
	sherd_sha256_end(s, hex);
}

bool sherd_tune_is_stale(const struct sherd_tune *t)
{
	char now[SHERD_SHA256_HEX];

	if (!strcmp(t->kernels, "any"))
		return false;
	sherd_tune_kernels(now);
	return strcmp(t->kernels, now);
}

/* -------------------------------------------------------------------- lines */

static int power(int n)
{
	int p = 0;

	while (p < 30 && 1 << p < n)
		p++;
	return p;
}

int sherd_tune_bucket(int n)
{
	return 1 << power(n);
}

/* How far a line is from what is asked; -1: it is about something else. */
static int distance(const struct sherd_tune_use *u, int rows, int cols)
{
	int dr, dc;

	if (!u->rows)
		return ANY;
	if (!rows) /* the largest, then, are nearest */
		return MAX(ANY - 1 - power(u->rows) - power(u->cols), 0);
	dr = abs(power(u->rows) - power(rows));
	dc = abs(power(u->cols) - power(cols));
	return dr <= NEAR && dc <= NEAR ? dr + dc : -1;
}

const struct sherd_tune_use *sherd_tune_find(const struct sherd_tune *t, const char *spec,
					     enum sherd_tune_class class, int rows, int cols)
{
	const struct sherd_tune_use *best = NULL;
	int least = 0, i;

	for (i = 0; i < t->n_uses; i++) {
		const struct sherd_tune_use *u = &t->uses[i];
		bool same = !strcmp(u->spec, spec);
		int d = distance(u, rows, cols);

		if (d < 0 || (u->class >= 0 && u->class != (int)class) ||
		    (!same && fnmatch(u->spec, spec, 0)))
			continue;
		d += (same ? 0 : 4 * ANY) + (u->class < 0 ? 2 * ANY : 0);
		if (!best || d < least) {
			best = u;
			least = d;
		}
	}
	return best;
}

void sherd_tune_describe(const struct sherd_tune *t, char *text, size_t size)
{
	*text = 0;
	if (t->path)
		snprintf(text, size, "%s, %d line%s, %s%s", t->path, t->n_uses,
			 t->n_uses == 1 ? "" : "s", t->untested[0] ? "untested: " : "measured ",
			 t->untested[0] ? t->untested :
			 t->measured[0] ? t->measured :
					  "nobody says when");
}

/* ----------------------------------------------------------------- choosing */

double sherd_tune_gain(const struct sherd_tune_time *t)
{
	double gain = t->default_seconds / t->seconds;

	if (!(t->seconds > 0) || !(t->default_seconds > 0) || !isfinite(gain) || !(t->noise >= 0))
		return 1;
	return gain > 1 + MAX(SHERD_TUNE_LEAST, 2 * t->noise) ? gain : 1;
}

int sherd_tune_choose(const struct sherd_tune_time *t, int n)
{
	double most = 1;
	int best = -1, i;

	for (i = 0; i < n; i++) {
		double gain = sherd_tune_gain(&t[i]);

		if (gain > most) {
			most = gain;
			best = i;
		}
	}
	return best;
}
