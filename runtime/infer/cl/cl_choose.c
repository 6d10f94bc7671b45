/* SPDX-License-Identifier: MIT */
/*
 * cl_choose: which device computes a model, where there are several and none was asked for. A GPU
 * is not always faster than the CPU beside it, and drivers are worse than data sheets: so each
 * multiplies the model's largest matrices for a moment, in a child of its own, and the fastest is
 * taken; what came out is kept, and what failed: each start says that again. Plain C on the CPU takes
 * part where a device is no CPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include "base/trace.h"
#include "infer/cl/cl_time.h"
#include "infer/exec.h"

#define PROBE_S	     3.0   /* of measuring, all devices together */
#define MAX_DEVICES  8
#define MAX_MATRICES 2
#define PROMPT	     128 /* tokens */
#define BEATS	     1.05
#define FOR_NOW	     "for now\n" /* a device failed in a way that may pass: for so long */
#define FOR_NOW_S    3600

/* A device, and how long a token takes it. */
struct candidate {
	char device[16]; /* its number; "reference" */
	char name[128];
	bool is_cpu, plain, measured; /* plain: it has no other path of dot4.h */
	double decode, prompt; /* seconds a token, of these matrices */
};

struct choice {
	const struct sherd_exec_params *p;
	struct candidate c[MAX_DEVICES + 1];
	int n;
	struct sherd_time_job job;
	char spec[SHERD_CL_SPEC];
	int count[MAX_MATRICES], n_matrices; /* how often a model has each */
	char failures[(MAX_DEVICES + 1) * 768]; /* lines: SHERD_FAILED and a sentence */
	bool final; /* what failed would do so again */
};

static void note(const struct choice *x, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

static void note(const struct choice *x, const char *fmt, ...)
{
	char text[768];
	va_list ap;

	if (!x->p->note)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	x->p->note(x->p->ctx, text);
}

/* ------------------------------------------------------------------ matrices */

/* Matrices of one kind. */
struct heap {
	const struct sherd_format *fmt;
	double bytes;
	int count;
};

static double bytes_of(const struct sherd_format *f)
{
	size_t v, s, m;

	sherd_format_sizes(f, &v, &s, &m);
	return (double)v + (double)s + (double)m;
}

static int by_bytes(const void *a, const void *b)
{
	double x = ((const struct heap *)a)->bytes, y = ((const struct heap *)b)->bytes;

	return (x < y) - (x > y);
}

/* The matrices of layers that have most of the weights, in the format of the first. */
static void find_matrices(struct choice *x)
{
	const struct sherd_program *program = x->p->program;
	struct heap heaps[32];
	int n = 0, i, k;

	for (i = 0; i < program->n_ops; i++) {
		const struct sherd_op *op = &program->ops[i];

		if (op->kind != SHERD_OP_MATMUL || op->layer < 0)
			continue;
		for (k = 0; k < n && !sherd_format_same(heaps[k].fmt, &op->w->fmt); k++)
			;
		if (k == (int)ARRAY_SIZE(heaps))
			continue;
		if (k == n)
			heaps[n++] = (struct heap){ .fmt = &op->w->fmt };
		heaps[k].bytes += bytes_of(&op->w->fmt);
		heaps[k].count++;
	}
	qsort(heaps, n, sizeof(*heaps), by_bytes);
	for (i = 0; i < n && x->n_matrices < MAX_MATRICES; i++) {
		char spec[SHERD_CL_SPEC];

		sherd_cl_spec_of(heaps[i].fmt, false, spec, sizeof(spec));
		if (!i)
			strcpy(x->spec, spec);
		if (strcmp(x->spec, spec))
			continue;
		for (k = 0; k < 2; k++)
			x->job.size[x->job.n_sizes++] =
				(struct sherd_time_size){ heaps[i].fmt->rows, heaps[i].fmt->cols,
							  k ? PROMPT : 1 };
		x->count[x->n_matrices++] = heaps[i].count;
	}
	x->job.spec = x->spec;
}

/* ------------------------------------------------------------------- devices */

static bool is_plain(const struct sherd_device_info *info)
{
	const char *dot = sherd_dot_choose(info, NULL, NULL);

	return !dot || !strcmp(dot, "plain");
}

static void list_devices(struct choice *x, const struct sherd_device_info *list, int n)
{
	bool other = false;
	int i;

	for (i = 0; i < n && x->n < MAX_DEVICES; i++) {
		struct candidate *c = &x->c[x->n];

		if (!list[i].usable)
			continue;
		snprintf(c->device, sizeof(c->device), "%d", i);
		snprintf(c->name, sizeof(c->name), "%s", list[i].name);
		c->is_cpu = list[i].is_cpu;
		c->plain = is_plain(&list[i]);
		other |= !c->is_cpu;
		x->n++;
	}
	if (!other)
		return;
	strcpy(x->c[x->n].device, "reference");
	strcpy(x->c[x->n].name, "plain C");
	x->c[x->n].plain = true;
	x->c[x->n++].is_cpu = true;
}

/* What the answer depends on. */
static void make_key(const struct choice *x, const struct sherd_device_info *list, int n,
		     char key[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	char kernels[SHERD_SHA256_HEX], text[64];
	int i;

	sherd_tune_kernels(kernels);
	sherd_sha256_add(s, "choice 2", 9);
	sherd_sha256_add(s, sherd_version(), strlen(sherd_version()) + 1);
	sherd_sha256_add(s, kernels, sizeof(kernels));
	for (i = 0; i < n; i++) {
		const char *parts[] = { list[i].name, list[i].version, list[i].driver,
					list[i].platform };

		for (size_t k = 0; k < ARRAY_SIZE(parts); k++)
			sherd_sha256_add(s, parts[k], strlen(parts[k]) + 1);
	}
	sherd_sha256_add(s, x->spec, strlen(x->spec) + 1);
	for (i = 0; i < x->job.n_sizes; i++) {
		int len = snprintf(text, sizeof(text), "%dx%d ",
				   sherd_tune_bucket(x->job.size[i].rows),
				   sherd_tune_bucket(x->job.size[i].cols));

		sherd_sha256_add(s, text, len);
	}
	/* who is more patient gives a device another chance */
	snprintf(text, sizeof(text), "%d threads, %g s",
		 x->p->n_threads ? x->p->n_threads : sherd_device_host_cpus(),
		 sherd_device_patience(SHERD_CL_TIME_LIMIT));
	sherd_sha256_add(s, text, strlen(text) + 1);
	sherd_sha256_end(s, key);
}

/* What has failed before does so without a child; what fails now will be known. */
static int measure_as(struct choice *x, const char *device, double share, struct sherd_timing *t,
		      struct sherd_error *err)
{
	double limit = share * sherd_device_patience(SHERD_CL_TIME_LIMIT);
	bool reference = !strcmp(device, "reference");
	int rc = reference ? 0 : sherd_cl_recall(device, x->p->n_threads, x->spec, limit, err);

	if (rc)
		return rc;
	x->job.device = device;
	rc = sherd_time_in_child(t, &x->job, limit, -1, err);
	if (!reference && (rc == -EBADE || rc == -ETIMEDOUT))
		sherd_cl_remember(device, x->p->n_threads, x->spec, limit, rc, err);
	return rc;
}

/*
 * A path of dot4.h that fails gives way to the plain one, as it will when the device is opened. A
 * hang took the time, and leaves little of it for a second one.
 */
static int measure_somehow(struct choice *x, struct candidate *c, struct sherd_timing *t,
			   struct sherd_error *err)
{
	char plain[sizeof(c->device) + 8];
	int rc = measure_as(x, c->device, 1, t, err);

	if ((rc != -EBADE && rc != -ETIMEDOUT) || c->plain)
		return rc;
	sherd_cl_plain_device(c->device, plain, sizeof(plain));
	return measure_as(x, plain, rc == -ETIMEDOUT ? SHERD_CL_SECOND_CHANCE : 1, t, err);
}

/* Says why c is not used, and keeps it, for later starts, without what is true of this one alone. */
static void leave(struct choice *x, const struct candidate *c, const struct sherd_error *why)
{
	const char *earlier = strstr(why->msg, SHERD_CL_EARLIER);
	int n = earlier ? (int)(earlier - why->msg) : (int)strcspn(why->msg, "\n");
	size_t len = strlen(x->failures);

	note(x, "%s is not used: %s", c->name, why->msg);
	snprintf(x->failures + len, sizeof(x->failures) - len,
		 SHERD_FAILED "%s is not used: %.*s\n", c->name, n, why->msg);
}

/* -ENOENT: there is no command that could do it. */
static int measure(struct choice *x)
{
	struct sherd_timing t;
	struct sherd_error err;
	int i, k, rc;

	x->job.n_threads = x->p->n_threads;
	x->job.seconds = PROBE_S / x->n;
	x->final = true;
	for (i = 0; i < x->n; i++) {
		struct candidate *c = &x->c[i];

		rc = measure_somehow(x, c, &t, &err);
		if (rc == -ENOENT)
			return rc;
		if (rc) {
			leave(x, c, &err);
			x->final &= rc == -EBADE || rc == -ETIMEDOUT;
			continue;
		}
		c->measured = true;
		for (k = 0; k < x->n_matrices; k++) {
			c->decode += x->count[k] * t.time[2 * k].seconds;
			c->prompt += x->count[k] * t.time[2 * k + 1].seconds / PROMPT;
		}
	}
	return 0;
}

/* ------------------------------------------------------------------ the choice */

/* As many tokens are read as are written. */
static double cost(const struct candidate *c)
{
	return c->decode + c->prompt;
}

int sherd_choice_best(const struct sherd_choice_time *t, int n, int otherwise)
{
	int best = otherwise >= 0 && otherwise < n && t[otherwise].measured ? otherwise : -1, i;

	for (i = 0; i < n; i++) {
		double gain;

		if (!t[i].measured || i == best)
			continue;
		gain = best < 0 ? 2 * BEATS :
				  (t[best].decode + t[best].prompt) / (t[i].decode + t[i].prompt);
		if (gain > (best == otherwise ? BEATS : 1))
			best = i;
	}
	return best;
}

/* The best of the others; -1: there is none. */
static int second(const struct choice *x, int best)
{
	int other = -1, i;

	for (i = 0; i < x->n; i++)
		if (i != best && x->c[i].measured &&
		    (other < 0 || cost(&x->c[i]) < cost(&x->c[other])))
			other = i;
	return other;
}

static void say_times(char *text, size_t size, double a, double b, const char *what)
{
	if (a <= b)
		snprintf(text, size, "%.1f times as fast at %s", b / a, what);
	else
		snprintf(text, size, "%.1f times as slow at %s", a / b, what);
}

/* "41 GB/s against 9 on Mali-G52: 4.5 times as fast at decode, 2.0 times as fast at prompts" */
static void explain(const struct choice *x, int best, int other, char *why, size_t size)
{
	const struct candidate *a = &x->c[best], *b;
	char decode[64], prompt[64];
	double bytes = 0;
	int k;

	if (other < 0) {
		snprintf(why, size, "the only one of %d devices that computes right", x->n);
		return;
	}
	b = &x->c[other];
	for (k = 0; k < x->n_matrices; k++)
		bytes += x->count[k] * sherd_time_bytes(x->spec, &x->job.size[2 * k]);
	say_times(decode, sizeof(decode), a->decode, b->decode, "decode");
	say_times(prompt, sizeof(prompt), a->prompt, b->prompt, "prompts");
	snprintf(why, size, "%.3g GB/s against %.3g on %s: %s, %s", bytes / a->decode / 1e9,
		 bytes / b->decode / 1e9, b->name, decode, prompt);
}

/* Which would be taken unmeasured; -1: unknown. */
static int by_rank(const struct choice *x)
{
	struct sherd_device *dev;
	int i, found = -1;

	if (sherd_device_open(&dev, NULL, x->p->n_threads, NULL, NULL))
		return -1;
	for (i = x->n - 1; i >= 0; i--)
		if (strcmp(x->c[i].device, "reference") && !strcmp(x->c[i].name, dev->info.name))
			found = i;
	sherd_device_close(dev);
	return found;
}

/* Is what is kept under @key so old that it counts no longer, if it was for now? */
static bool is_old(const char *key)
{
	char *path = sherd_device_verdict_path(key);
	struct stat st;
	bool old = !path || stat(path, &st) || st.st_mtime < time(NULL) - FOR_NOW_S ||
		   st.st_mtime > time(NULL) + FOR_NOW_S;

	free(path);
	return old;
}

/* A line of what is kept. */
static void note_failure(void *ctx, const char *line)
{
	if (!strncmp(line, SHERD_FAILED, strlen(SHERD_FAILED)))
		note(ctx, "%s" SHERD_CL_EARLIER "to try again: " SHERD_FORGET ")",
		     line + strlen(SHERD_FAILED));
}

/*
 * The file is lines: the device, why, what failed, FOR_NOW. False: there is none, or none that is any
 * good any more.
 */
static bool recall(const char *key, const struct choice *x, struct sherd_exec_choice *out)
{
	char *text = sherd_device_verdict_get(key), *why = text ? strchr(text, '\n') : NULL;
	char *rest = why ? strchr(why + 1, '\n') : NULL;
	bool known = false;
	int i;

	if (rest && !(strstr(rest, "\n" FOR_NOW) && is_old(key))) {
		*why++ = *rest++ = 0;
		for (i = 0; i < x->n && *why; i++)
			known |= !strcmp(text, x->c[i].device);
	}
	if (known) {
		snprintf(out->device, sizeof(out->device), "%s", text);
		snprintf(out->why, sizeof(out->why), "%s", why);
		sherd_each_line(rest, note_failure, (void *)x);
	}
	free(text);
	return known;
}

static void decide(struct choice *x, const char *key, struct sherd_exec_choice *out)
{
	struct sherd_choice_time t[MAX_DEVICES + 1];
	char *text;
	int best, i;

	note(x, "%d devices could compute this: measuring which is fastest, once", x->n);
	if (measure(x))
		return;
	for (i = 0; i < x->n; i++)
		t[i] = (struct sherd_choice_time){ x->c[i].decode, x->c[i].prompt,
						   x->c[i].measured };
	best = sherd_choice_best(t, x->n, by_rank(x));
	if (best < 0)
		return;
	strcpy(out->device, x->c[best].device);
	explain(x, best, second(x, best), out->why, sizeof(out->why));
	text = sherd_asprintf("%s\n%s\n%s%s", out->device, out->why, x->failures,
			      x->final ? "" : FOR_NOW);
	if (text)
		sherd_device_verdict_put(key, text, NULL);
	free(text);
}

void sherd_exec_choose(const struct sherd_exec_params *p, struct sherd_exec_choice *out)
{
	SHERD_TRACE_SCOPE("choose the device", NULL);
	struct sherd_device_info *list;
	char key[SHERD_SHA256_HEX];
	struct choice *x;
	int n;

	out->device[0] = out->why[0] = 0;
	if (sherd_device_list_for(&list, &n, p->n_threads, NULL))
		return; /* opening will say why */
	x = n > 1 || !list[0].is_cpu ? sherd_calloc(1, sizeof(*x)) : NULL;
	if (x) {
		x->p = p;
		list_devices(x, list, n);
		find_matrices(x);
		if (x->n > 1 && x->n_matrices) {
			make_key(x, list, n, key);
			if (!recall(key, x, out))
				decide(x, key, out);
		}
	}
	free(x);
	sherd_device_list_free(list, n);
}
