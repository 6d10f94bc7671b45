/* SPDX-License-Identifier: MIT */
/*
 * tune_measure: every variant in a child of its own, in turns with the default, so that a machine
 * that gets slower meanwhile is slower for both. What seems faster has to be so a second time: of
 * many tries one is lucky.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include "tune.h"

#define LEAST_S	 0.05 /* a size */
#define DOT_GAIN 1.05 /* a path of dot4.h is for everything: not for a little */

static struct sherd_time_job job_of(const struct tune *t, const struct tune_program *p,
				    enum sherd_tune_class class, const char *device,
				    const char *spec)
{
	struct sherd_time_job j = {
		.device = device, .n_threads = t->params.n_threads, .spec = spec, .n_sizes = p->n
	};

	for (int i = 0; i < p->n; i++)
		j.size[i] = (struct sherd_time_size){ p->size[i].rows, p->size[i].cols,
						      tune_tokens(class) };
	j.seconds = MAX(t->seconds / (double)MAX(t->total, 1u), LEAST_S * p->n);
	return j;
}

static void with_variant(char *to, const struct tune_program *p, const char *variant)
{
	bool varied = strcmp(variant, "default");

	/* as long as a variant's text may be, for compilers that count */
	snprintf(to, SHERD_CL_SPEC, "%s%s%.*s", p->spec, varied ? ":" : "",
		 varied ? SHERD_VARIANT_TEXT - 1 : 0, variant);
}

/* False, after one line, where the child has failed: nothing is known of the variant but why. */
static bool measure(struct tune *t, const struct tune_program *p, enum sherd_tune_class class,
		    const char *device, const char *variant, struct sherd_timing *timing)
{
	char spec[SHERD_CL_SPEC], line[768];
	struct sherd_time_job j;
	struct sherd_error err;
	int rc;

	with_variant(spec, p, variant);
	j = job_of(t, p, class, device, spec);
	tool_progress(NULL, "measuring variants", t->done, MAX(t->total, t->done + 1));
	t->done++;
	rc = sherd_time_in_child(timing, &j, sherd_device_patience(t->limit + j.seconds), -1,
				 &err);
	if (!rc)
		return true;
	snprintf(t->why, sizeof(t->why), "%s", err.msg);
	snprintf(line, sizeof(line), "%s is not chosen: %s", spec, t->why);
	tool_note(NULL, line);
	return false;
}

/* ------------------------------------------------------------ paths of dot4.h */

static bool has_dots(const struct tune_program *p)
{
	return !strncmp(p->spec, "int.", 4);
}

/* How many times as fast as @base, over all sizes; 0: a child has failed. */
static double compare_dot(struct tune *t, const char *base, const char *other)
{
	double sum = 0;
	int n = 0;

	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c += SHERD_TUNE_PROMPT) {
			struct sherd_timing a, b;

			if (!has_dots(&t->program[i]))
				continue; /* all paths are the same */
			if (!measure(t, &t->program[i], c, base, "default", &a) ||
			    !measure(t, &t->program[i], c, other, "default", &b))
				return 0;
			for (int k = 0; k < t->program[i].n; k++, n++)
				sum += log(a.time[k].seconds / b.time[k].seconds);
		}
	return n ? exp(sum / n) : 0;
}

static void name_path(const struct tune *t, const char *dot, char name[160])
{
	snprintf(name, 160, "%s/%s%s", t->c.name, dot,
		 !t->c.forced_shape		     ? "" :
		 t->c.dev->shape == SHERD_SHAPE_SIMT ? "/simt" :
						       "/wide");
}

static void choose_dot(struct tune *t)
{
	const char *best = t->c.dev->dot, *dot;
	char name[160];
	double most = DOT_GAIN;

	name_path(t, best, t->device);
	for (int i = 0; !t->c.forced && (dot = sherd_dot_name(i)); i++) {
		double gain;

		if (!strcmp(dot, t->c.dev->dot) || !sherd_dot_can_run(&t->c.dev->info, dot))
			continue;
		name_path(t, dot, name);
		gain = compare_dot(t, t->device, name);
		if (gain > most)
			gain = MIN(gain, compare_dot(t, t->device, name));
		if (gain > most) {
			most = gain;
			best = dot;
		}
	}
	name_path(t, best, t->device);
	t->c.dev->dot = best;
}

/* ----------------------------------------------------------------- variants */

/* The i-th of --variants that the program can be: into @text. */
static const char *wanted(const struct tune *t, const struct tune_program *p, int i, char *text)
{
	for (const char *v = t->variants; *v; v += v[strcspn(v, ",")] == ',') {
		char spec[SHERD_CL_SPEC + SHERD_VARIANT_TEXT];
		struct sherd_cl none = { 0 };
		int n = (int)strcspn(v, ",");

		snprintf(text, SHERD_VARIANT_TEXT, "%.*s", n, v);
		v += n;
		with_variant(spec, p, text);
		if (!sherd_cl_add(&none, spec, NULL) && !i--)
			return text;
	}
	return NULL;
}

/* Groups larger than the device has are no news. */
static bool has_room(const struct tune *t, const char *variant)
{
	size_t most = t->c.dev->info.max_wg;
	struct sherd_variant v;

	return !sherd_variant_parse(&v, variant) || !most ||
	       (size_t)v.local[0] * MAX(v.local[1], 1) <= most;
}

/* What is to be tried: into @text; NULL: no more. */
static const char *candidate(const struct tune *t, const struct tune_program *p,
			     enum sherd_tune_class class, int i, char text[SHERD_VARIANT_TEXT])
{
	const char *name;

	if (t->variants)
		return wanted(t, p, i, text);
	for (int k = 0;; k++) {
		name = sherd_time_candidate(t->c.dev->shape, t->c.dev->dot, p->spec, class, k);
		if (!name)
			return NULL;
		snprintf(text, SHERD_VARIANT_TEXT, "%s", name);
		if (has_room(t, text) && !i--)
			return text;
	}
}

/* Of size @m: what has won, and has to win again. */
static void choose(struct tune_choice *choice, const struct sherd_timing *timings,
		   const bool *known, char names[][SHERD_VARIANT_TEXT], int n, int m)
{
	struct sherd_tune_time time[TUNE_CANDIDATES];
	int best, i;

	for (i = 0; i < n; i++) {
		time[i] = known[i] ? timings[i].time[m] : (struct sherd_tune_time){ 0 };
		if (known[i] && !choice->time.seconds) {
			choice->time.default_seconds = time[i].default_seconds;
			choice->time.seconds = time[i].default_seconds;
		}
	}
	best = sherd_tune_choose(time, n);
	if (best < 0)
		return;
	sherd_variant_parse(&choice->variant, names[best]);
	choice->time = time[best];
}

/* The variants that were chosen once more; one that is no faster now is the default again. */
static void confirm(struct tune *t, struct tune_program *p, enum sherd_tune_class class)
{
	struct sherd_timing timing;
	char name[SHERD_VARIANT_TEXT], other[SHERD_VARIANT_TEXT];

	for (int m = 0; m < p->n; m++) {
		struct tune_choice *c = &p->choice[class][m];
		bool known, seen = false;

		if (sherd_variant_is_default(&c->variant))
			continue;
		sherd_variant_print(&c->variant, name);
		for (int k = 0; k < m; k++) {
			sherd_variant_print(&p->choice[class][k].variant, other);
			seen |= !strcmp(name, other);
		}
		if (seen)
			continue; /* was confirmed, or not, with the first that has it */
		known = measure(t, p, class, t->device, name, &timing);
		for (int k = m; k < p->n; k++) {
			struct tune_choice *o = &p->choice[class][k];

			sherd_variant_print(&o->variant, other);
			if (strcmp(name, other))
				continue;
			if (known)
				o->time = timing.time[k];
			if (!known || sherd_tune_gain(&o->time) <= 1) {
				memset(&o->variant, 0, sizeof(o->variant));
				o->time.seconds = o->time.default_seconds;
			}
		}
	}
}

/* What has failed in one class is not tried in the next: it costs one line, and one wait. */
static void refuse(struct tune *t, const struct tune_program *p, const char *variant)
{
	if (t->n_refused < TUNE_REFUSED) {
		with_variant(t->refused[t->n_refused].spec, p, variant);
		strcpy(t->refused[t->n_refused].why, t->why);
	}
	t->n_refused++;
}

static bool is_refused(const struct tune *t, const struct tune_program *p, const char *variant)
{
	char spec[SHERD_CL_SPEC];

	with_variant(spec, p, variant);
	for (int i = 0; i < MIN(t->n_refused, TUNE_REFUSED); i++)
		if (!strcmp(t->refused[i].spec, spec))
			return true;
	return false;
}

static void measure_class(struct tune *t, struct tune_program *p, enum sherd_tune_class class)
{
	struct sherd_timing timings[TUNE_CANDIDATES];
	char names[TUNE_CANDIDATES][SHERD_VARIANT_TEXT];
	bool known[TUNE_CANDIDATES], any = false;
	int n = 0;

	for (; n < TUNE_CANDIDATES && candidate(t, p, class, n, names[n]); n++) {
		if (is_refused(t, p, names[n])) {
			known[n] = false;
			continue;
		}
		known[n] = measure(t, p, class, t->device, names[n], &timings[n]);
		t->n_tried++;
		any |= known[n];
		if (!known[n])
			refuse(t, p, names[n]);
	}
	if (!any) { /* nothing varies, or nothing that runs: the time is worth having */
		strcpy(names[0], "default");
		known[0] = measure(t, p, class, t->device, "default", &timings[0]);
		n = 1;
	}
	for (int m = 0; m < p->n; m++)
		choose(&p->choice[class][m], timings, known, names, n, m);
	confirm(t, p, class);
}

static void count(struct tune *t)
{
	int dots = 0;

	t->total = 0;
	for (int i = 0; sherd_dot_name(i) && !t->c.forced; i++)
		dots += strcmp(sherd_dot_name(i), t->c.dev->dot) &&
			sherd_dot_can_run(&t->c.dev->info, sherd_dot_name(i));
	for (int i = 0; i < t->n_programs; i++) {
		t->total += 1 + (has_dots(&t->program[i]) ? 4u * dots : 0);
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++) {
			char name[SHERD_VARIANT_TEXT];
			int n = 0;

			while (n < TUNE_CANDIDATES && candidate(t, &t->program[i], c, n, name))
				n++;
			t->total += MAX(n, 1) + 1;
		}
	}
}

static void measure_limits(struct tune *t)
{
	char threads[16];
	const char *argv[] = { "--limits", "--device", t->device, "--threads", threads, NULL };
	struct sherd_error err;
	char *text;

	if (!t->params.n_threads)
		argv[3] = NULL;
	snprintf(threads, sizeof(threads), "%d", t->params.n_threads);
	tool_progress(NULL, "measuring the machine", 0, 0);
	if (sherd_device_child_text(argv, sherd_device_patience(t->limit), -1, &text, &err)) {
		tool_note(NULL, err.msg);
		return;
	}
	t->has_limits = !sherd_limits_parse(&t->limits, text);
	free(text);
}

int tune_measure(struct tune *t)
{
	struct sherd_timing first;

	count(t);
	name_path(t, t->c.dev->dot, t->device);
	/* The default has to run: without it there is nothing to compare with. */
	for (int i = 0; i < t->n_programs; i++)
		if (!measure(t, &t->program[i], SHERD_TUNE_DECODE, t->device, "default", &first))
			return tool_failf(&tool_tune,
					  "%s: the default kernels don't run, and nothing can be "
					  "compared with them",
					  t->c.dev->info.name);
	choose_dot(t);
	for (int i = 0; i < t->n_programs; i++)
		for (int c = 0; c < SHERD_TUNE_CLASSES; c++)
			measure_class(t, &t->program[i], c);
	if (t->seconds >= 5)
		measure_limits(t);
	tool_progress_end();
	return TOOL_OK;
}
