/* SPDX-License-Identifier: MIT */
/*
 * cl_prove: no kernel computes for a user that has not given the reference's bits on this very
 * device and driver. Drivers crash and hang when they compile: so this happens in a child process,
 * once; what passed and what failed is remembered in the user's cache.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "base/trace.h"
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_weights.h"
#include "infer/ref/ref.h"

#define MAX_CHILDREN 4
#define CHILD_BYTES  (200 << 20) /* what a compiler takes, and a little */
#define HUNG	     "hung "	 /* the last line that is kept of a hang: for how many seconds */

int sherd_cl_verdict_key(struct sherd_cl *c, const struct sherd_cl_program *p,
			 char key[SHERD_SHA256_HEX])
{
	const char *sources[2];
	char options[SHERD_CL_OPTIONS], *text, *both;
	/* with more workers a walk's is another test; the other kernels' work-items never meet */
	int workers = p->kind == SHERD_CL_WALK ? sherd_device_host_cpus() : 1, n;
	const char *variant = strchr(p->spec, ':'); /* of which the options tell a part */

	sherd_cl_build_args(p, options, sizeof(options), sources, &n);
	text = sherd_device_source(sources, n, NULL);
	both = text ? sherd_asprintf("self-test 3 of %d %s%s\n%s", workers, options,
				     variant ? variant : "", text) : NULL;
	if (both)
		sherd_device_key(c->dev, both, key);
	free(text);
	free(both);
	return both ? 0 : -ENOMEM;
}

/* What is known of a program, malloc'd; NULL: nothing. */
static char *verdict_of(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	char key[SHERD_SHA256_HEX];

	return sherd_cl_verdict_key(c, p, key) ? NULL : sherd_device_verdict_get(key);
}

/*
 * "failed: WHY", of what, and of a hang the seconds that it was waited for: 0 of anything else. False
 * for a file that says anything else, or nothing: it has seen a disk or a power failure.
 */
static bool parse_failure(const char *verdict, double *waited)
{
	const char *last = verdict ? strstr(verdict, "\n" HUNG) : NULL;
	size_t len = verdict ? strlen(verdict) : 0;

	*waited = last ? strtod(last + 1 + strlen(HUNG), NULL) : 0;
	return len && !strncmp(verdict, SHERD_FAILED, strlen(SHERD_FAILED)) &&
	       verdict[len - 1] == '\n';
}

/* Did the program fail at an earlier start? -EBADE, or -ETIMEDOUT: it hung for as long as it may now. */
static int fail_again(struct sherd_cl *c, const struct sherd_cl_program *p, const char *verdict,
		      double limit, struct sherd_error *err)
{
	double waited;
	const char *why;

	if (!parse_failure(verdict, &waited) ||
	    (waited > 0 && limit > waited))
		return 0;
	why = verdict + strlen(SHERD_FAILED);
	return sherd_fail(err, waited > 0 ? -ETIMEDOUT : -EBADE,
			  "%.*s" SHERD_CL_EARLIER "to try again: sherd device-test --device \"%s\" "
			  "--programs %s, or " SHERD_FORGET ")",
			  (int)strcspn(why, "\n"), why, c->device, p->spec);
}

/* Programs to be tested, in this order. */
struct list {
	struct sherd_cl_program *program[SHERD_CL_MAX_PROGRAMS];
	int n;
};

/*
 * What passed before a process ended that had the driver take a binary, is tested anew: it may be the
 * binary alone that was bad.
 */
static void forget_verdict(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	char key[SHERD_SHA256_HEX], *path;

	path = sherd_cl_verdict_key(c, p, key) ? NULL : sherd_device_verdict_path(key);
	if (path)
		unlink(path);
	free(path);
}

/* Then each start compiles, and is slow: who wonders is told. */
static void note_stumbles(struct sherd_cl *c, const struct sherd_exec_params *p)
{
	char note[256];

	snprintf(note, sizeof(note),
		 "%s: its driver did not survive its own binaries, so each start compiles; an update "
		 "may help",
		 c->dev->info.name);
	if (p->note && sherd_device_stumbles(c->dev) > 1)
		p->note(p->ctx, note);
}

/* Those without a verdict; -EBADE or -ETIMEDOUT and the sentence if one has failed before. */
static int list_unproven(struct sherd_cl *c, struct list *l, double limit, struct sherd_error *err)
{
	bool anew = sherd_device_stumbles(c->dev) == 1;
	int i, rc = 0;

	for (l->n = i = 0; i < c->n_programs && !rc; i++) {
		char *verdict = verdict_of(c, &c->programs[i]);

		rc = fail_again(c, &c->programs[i], verdict, limit, err);
		if (!rc && (!sherd_verdict_passed(verdict) || anew))
			l->program[l->n++] = &c->programs[i];
		if (anew && sherd_verdict_passed(verdict))
			forget_verdict(c, &c->programs[i]);
		free(verdict);
	}
	return rc;
}

/*
 * The first of the list that has not passed; NULL: all have. Children test in order: it is what
 * ended a child.
 */
static struct sherd_cl_program *first_unproven(struct sherd_cl *c, const struct list *l)
{
	int i;

	for (i = 0; i < l->n; i++) {
		char *verdict = verdict_of(c, l->program[i]);
		bool passed = sherd_verdict_passed(verdict);

		free(verdict);
		if (!passed)
			return l->program[i];
	}
	return NULL;
}

/*
 * Drivers that crash, hang or give other bits do so every time: then the next start need not try. A
 * test that was ended from outside has shown nothing.
 */
static void remember_failure(struct sherd_cl *c, const struct sherd_cl_program *p, double limit,
			     int rc, const struct sherd_error *why)
{
	char key[SHERD_SHA256_HEX], hung[32] = "", *text;

	if (!p || (rc != -EBADE && rc != -ETIMEDOUT))
		return;
	if (rc == -ETIMEDOUT)
		snprintf(hung, sizeof(hung), HUNG "%g\n", limit);
	text = sherd_asprintf("%s%s\nof %s (driver %s), %s\n%s", SHERD_FAILED, why->msg,
			      c->dev->info.name, c->dev->info.driver, p->spec, hung);
	if (text && !sherd_cl_verdict_key(c, p, key))
		sherd_device_verdict_put(key, text, NULL);
	free(text);
}

/* The device with the one program; NULL: there is no such, which its child will say. */
static struct sherd_cl_program *open_one(struct sherd_cl *c, const char *device, int n_threads,
					 const char *spec)
{
	if (sherd_cl_open(c, device, n_threads, NULL))
		return NULL;
	return sherd_cl_add(c, spec, NULL) ? NULL : &c->programs[0];
}

int sherd_cl_recall(const char *device, int n_threads, const char *spec, double limit,
		    struct sherd_error *err)
{
	struct sherd_cl c;
	struct sherd_cl_program *p = open_one(&c, device, n_threads, spec);
	char *verdict = p ? verdict_of(&c, p) : NULL;
	int rc = p ? fail_again(&c, p, verdict, limit, err) : 0;

	free(verdict);
	sherd_cl_close(&c);
	return rc;
}

void sherd_cl_remember(const char *device, int n_threads, const char *spec, double limit, int rc,
		       const struct sherd_error *why)
{
	struct sherd_cl c;
	struct sherd_cl_program *p = open_one(&c, device, n_threads, spec);
	char *verdict = p ? verdict_of(&c, p) : NULL;

	/* what passed its test has failed at something else, and may do its work */
	if (!sherd_verdict_passed(verdict))
		remember_failure(&c, p, limit, rc, why);
	free(verdict);
	sherd_cl_close(&c);
}

/* A child and its share of the programs: compilers run side by side. */
struct child {
	pthread_t thread;
	const char *device;
	int n_threads;
	double limit;
	struct list list;
	struct sherd_error err;
	int rc;
};

static void *run_child(void *arg)
{
	struct child *child = arg;
	char specs[SHERD_CL_MAX_PROGRAMS * sizeof(child->list.program[0]->spec)] = "", threads[16];
	const char *argv[] = { "--device", child->device, "--programs", specs,
			       "--threads", threads, NULL };
	int n_threads = child->n_threads, i;
	size_t len = 0;

	for (i = 0; i < child->list.n; i++) {
		const struct sherd_cl_program *p = child->list.program[i];

		len += snprintf(specs + len, sizeof(specs) - len, "%s%s", i ? "," : "", p->spec);
		/* its verdict will do for any number of workers */
		if (p->kind == SHERD_CL_WALK)
			n_threads = sherd_device_host_cpus();
	}
	snprintf(threads, sizeof(threads), "%d", n_threads);
	child->rc = sherd_device_child(argv, child->limit, &child->err);
	return NULL;
}

/* A hang counts more than another failure: it is what takes time. */
static int run_children(struct child *children, int n, struct sherd_error *err)
{
	bool started[MAX_CHILDREN];
	int i, rc = 0;

	for (i = 0; i < n; i++) {
		started[i] = !pthread_create(&children[i].thread, NULL, run_child, &children[i]);
		if (!started[i])
			run_child(&children[i]);
	}
	for (i = 0; i < n; i++) {
		if (started[i])
			pthread_join(children[i].thread, NULL);
		if (children[i].rc && (!rc || children[i].rc == -ETIMEDOUT)) {
			rc = children[i].rc;
			if (err)
				*err = children[i].err;
		}
	}
	return rc;
}

/* As many as there are CPUs, and memory, for. */
static int how_many_children(int n_programs)
{
	uint64_t room = sherd_memory_available() / CHILD_BYTES;
	int n = MIN(MIN(sherd_device_host_cpus(), MAX_CHILDREN), n_programs);

	return (int)MAX(MIN((uint64_t)n, room), 1);
}

static int prove_in_children(struct sherd_cl *c, const struct list *l, int n_threads, double limit,
			     struct sherd_error *err)
{
	int n = how_many_children(l->n), i, rc;
	struct child children[MAX_CHILDREN] = { 0 };

	for (i = 0; i < n; i++) {
		children[i].device = c->device;
		children[i].n_threads = n_threads;
		children[i].limit = limit;
	}
	for (i = 0; i < l->n; i++) {
		struct list *to = &children[i % n].list;

		to->program[to->n++] = l->program[i];
	}
	rc = run_children(children, n, err);
	for (i = 0; i < n; i++)
		remember_failure(c, first_unproven(c, &children[i].list), limit, children[i].rc,
				 &children[i].err);
	return rc;
}

/*
 * No sherd command beside this library: the test runs here, and a bad driver takes the process
 * along.
 */
static int prove_here(struct sherd_cl *c, const struct list *l, struct sherd_error *err)
{
	struct sherd_error why = { "" };
	int i, rc = 0;

	for (i = 0; i < l->n && !rc; i++) {
		rc = sherd_cl_selftest_program(c, l->program[i], 1, &why);
		if (!rc)
			sherd_cl_selftest_keep(c, l->program[i]);
		remember_failure(c, l->program[i], 0, rc, &why);
	}
	if (rc && err)
		*err = why;
	return rc;
}

/* It is the first and last one, if what comes of it can be kept. */
static void note_first_use(const struct sherd_cl *c, const struct list *l,
			   const struct sherd_exec_params *p)
{
	char note[320], *cache = sherd_cache_dir();
	const char *s = l->n > 1 ? "s" : "";

	if (cache && !access(cache, W_OK | X_OK))
		snprintf(note, sizeof(note),
			 "%s: first use: compiling and testing %d kernel program%s, once",
			 c->dev->info.name, l->n, s);
	else
		snprintf(
			note, sizeof(note),
			"%s: compiling and testing %d kernel program%s, at each start: there is no "
			"cache folder that can be written to (XDG_CACHE_HOME, or ~/.cache)",
			c->dev->info.name, l->n, s);
	if (p->note)
		p->note(p->ctx, note);
	free(cache);
}

int sherd_cl_prove(struct sherd_cl *c, const struct sherd_exec_params *p, double limit,
		   struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("self-test", NULL);
	struct list l;
	int rc;

	if (p->untested)
		return 0;
	rc = list_unproven(c, &l, limit, err);
	if (!rc && !l.n)
		note_stumbles(c, p);
	if (rc || !l.n)
		return rc;
	if (!limit)
		return sherd_fail(err, -ETIMEDOUT, "%s: %s has not been tested, and is not now",
				  c->dev->info.name, l.program[0]->spec);
	note_first_use(c, &l, p);
	rc = prove_in_children(c, &l, p->n_threads ? p->n_threads : sherd_device_host_cpus(),
			       limit, err);
	if (rc == -ENOENT)
		return prove_here(c, &l, err);
	/* what passed has said so, though a driver crashed on exit, or SIGCHLD is ignored */
	return rc && first_unproven(c, &l) ? rc : 0;
}

/*
 * What "all these programs gave the bits of @profile in one process" is kept under: what decides
 * the verdicts, and the reference, which a compiler may change.
 */
static int profile_key(struct sherd_cl *c, const char *profile, char key[SHERD_SHA256_HEX])
{
	struct sherd_sha256 *s = sherd_sha256_new();
	int i, rc = 0;

	sherd_sha256_add(s, profile, SHERD_SHA256_HEX);
	for (i = 0; i < c->n_programs && !rc; i++) {
		rc = sherd_cl_verdict_key(c, &c->programs[i], key);
		sherd_sha256_add(s, key, rc ? 0 : SHERD_SHA256_HEX);
	}
	sherd_sha256_end(s, key);
	return rc;
}

int sherd_cl_bit_profile(struct sherd_cl *c, bool untested, char profile[SHERD_SHA256_HEX],
			 struct sherd_error *err)
{
	SHERD_TRACE_SCOPE("bit profile", NULL);
	char ours[SHERD_SHA256_HEX], key[SHERD_SHA256_HEX], *known = NULL;
	int rc = 0;

	if (untested) {
		strcpy(profile, SHERD_UNTESTED);
		return 0;
	}
	sherd_ref_bit_profile(ours);
	if (profile_key(c, ours, key))
		return sherd_fail_oom(err, SHERD_SHA256_HEX, "the bit profile");
	known = sherd_device_verdict_get(key);
	if (!sherd_verdict_passed(known)) {
		rc = sherd_cl_selftest_vector(c, err);
		if (!rc)
			sherd_device_verdict_put(key, SHERD_PASSED, NULL);
	}
	free(known);
	if (!rc)
		strcpy(profile, ours);
	return rc;
}
