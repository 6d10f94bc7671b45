/* SPDX-License-Identifier: MIT */
/*
 * cl_prove: no kernel computes for a user that has not given the reference's bits on this very device and
 * driver. Drivers crash and hang when they compile: so this happens in a child process, once; what passed
 * is remembered in the user's cache.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_weights.h"

#define TIME_LIMIT   300.0 /* seconds: a slow board compiles for minutes */
#define MAX_CHILDREN 4
#define CHILD_BYTES  (200 << 20) /* what a compiler takes, and a little */

int sherd_cl_verdict_key(struct sherd_cl *c, const struct sherd_cl_program *p,
			 char key[SHERD_SHA256_HEX])
{
	const char *sources[2];
	char options[128], *text, *both;
	int n;

	sherd_cl_build_args(p, options, sizeof(options), sources, &n);
	text = sherd_device_source(sources, n, NULL);
	both = text ? sherd_asprintf("self-test 1 %s\n%s", options, text) : NULL;
	if (both)
		sherd_device_key(c->dev, both, key);
	free(text);
	free(both);
	return both ? 0 : -ENOMEM;
}

/* A file that says anything else, or nothing, has seen a disk or a power failure. */
static bool proven(struct sherd_cl *c, const struct sherd_cl_program *p)
{
	char key[SHERD_SHA256_HEX], *verdict;
	bool passed;

	if (sherd_cl_verdict_key(c, p, key))
		return false;
	verdict = sherd_device_verdict_get(key);
	passed = verdict && !strcmp(verdict, SHERD_CL_PASSED);
	free(verdict);
	return passed;
}

static bool all_proven(struct sherd_cl *c)
{
	int i;

	for (i = 0; i < c->n_programs; i++)
		if (!proven(c, &c->programs[i]))
			return false;
	return true;
}

/* A child and its share of the programs: compilers run side by side. */
struct child {
	pthread_t thread;
	const char *device;
	char threads[16], list[SHERD_CL_MAX_PROGRAMS * 33];
	size_t len;
	struct sherd_error err;
	int rc;
};

/* Deals the specs without a verdict to @n_children; returns how many there are. */
static int deal_unproven(struct sherd_cl *c, struct child *children, int n_children)
{
	int i, n = 0;

	for (i = 0; i < c->n_programs; i++) {
		struct child *to = &children[n % n_children];

		if (!proven(c, &c->programs[i])) {
			to->len += snprintf(to->list + to->len, sizeof(to->list) - to->len, "%s%s",
					    to->len ? "," : "", c->programs[i].spec);
			n++;
		}
	}
	return n;
}

static void *run_child(void *arg)
{
	struct child *child = arg;
	const char *argv[] = { "--device", child->device, "--programs", child->list,
			       "--threads", child->threads, NULL };

	child->rc = sherd_device_child(argv, TIME_LIMIT, &child->err);
	return NULL;
}

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
		if (children[i].rc && !rc) {
			rc = children[i].rc;
			if (err)
				*err = children[i].err;
		}
	}
	return rc;
}

/* No sherd command beside this library: the test runs here, and a bad driver takes the process along. */
static int prove_here(struct sherd_cl *c, struct sherd_error *err)
{
	int rc = sherd_cl_build(c, err);

	if (!rc)
		rc = sherd_cl_selftest_programs(c, 1, err);
	if (!rc)
		sherd_cl_keep(c);
	return rc;
}

/* As many as there are CPUs, and free memory, for. */
static int how_many_children(const struct sherd_cl *c)
{
	long long room = (long long)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE) / CHILD_BYTES;
	int n = MIN(MIN(sherd_device_host_cpus(), MAX_CHILDREN), c->n_programs);

	return MAX(MIN(n, room), 1);
}

int sherd_cl_prove(struct sherd_cl *c, const struct sherd_exec_params *p, struct sherd_error *err)
{
	int cpus = sherd_device_host_cpus(), n_children = how_many_children(c);
	struct child children[MAX_CHILDREN] = { 0 };
	char note[256];
	int i, n, rc;

	if (p->untested)
		return 0;
	for (i = 0; i < n_children; i++) {
		children[i].device = c->device;
		snprintf(children[i].threads, sizeof(children[i].threads), "%d",
			 p->n_threads ? p->n_threads : cpus);
	}
	n = deal_unproven(c, children, n_children);
	if (!n)
		return 0;
	if (p->note) {
		snprintf(note, sizeof(note),
			 "%s: first use: compiling and testing %d kernel program%s, once",
			 c->dev->info.name, n, n > 1 ? "s" : "");
		p->note(p->ctx, note);
	}
	rc = run_children(children, MIN(n, n_children), err);
	if (rc == -ENOENT)
		return prove_here(c, err);
	/* what passed has said so, though a driver crashed on exit, or SIGCHLD is ignored */
	return rc && !all_proven(c) ? rc : 0;
}
