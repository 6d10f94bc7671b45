/* SPDX-License-Identifier: MIT */
/*
 * cl_prove: no kernel computes for a user that has not given the reference's bits on this very device and
 * driver. Drivers crash and hang when they compile: so this happens in a child process, once; what passed
 * is remembered in the user's cache.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "infer/cl/cl_selftest.h"
#include "infer/cl/cl_weights.h"

#define TIME_LIMIT 300.0 /* seconds: a slow board compiles for minutes */

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

/* The specs without a verdict, comma separated; *n: how many. */
static void unproven(struct sherd_cl *c, char *list, size_t size, int *n)
{
	char key[SHERD_SHA256_HEX], *verdict;
	size_t len = 0;
	int i;

	*n = 0;
	list[0] = 0;
	for (i = 0; i < c->n_programs; i++) {
		verdict = sherd_cl_verdict_key(c, &c->programs[i], key) ? NULL :
									   sherd_device_verdict_get(key);
		if (!verdict)
			len += snprintf(list + len, size - len, "%s%s", (*n)++ ? "," : "",
					c->programs[i].spec);
		free(verdict);
	}
}

/* No sherd command beside this library: the test runs here, and a bad driver takes the process along. */
static int prove_here(struct sherd_cl *c, struct sherd_error *err)
{
	int rc = sherd_cl_build(c, err);

	return rc ? rc : sherd_cl_selftest_programs(c, 1, err);
}

int sherd_cl_prove(struct sherd_cl *c, const struct sherd_exec_params *p, struct sherd_error *err)
{
	char list[SHERD_CL_MAX_PROGRAMS * 33], threads[16], note[256];
	const char *argv[] = { "--device", p->device ? p->device : "auto", "--programs", list,
			       "--threads", threads, NULL };
	int n, rc;

	if (p->untested)
		return 0;
	unproven(c, list, sizeof(list), &n);
	if (!n)
		return 0;
	if (p->note) {
		snprintf(note, sizeof(note),
			 "%s: first use of %d kernel programs: compiling and testing them (once)",
			 c->dev->info.name, n);
		p->note(p->ctx, note);
	}
	snprintf(threads, sizeof(threads), "%d",
		 p->n_threads ? p->n_threads : sherd_device_host_cpus());
	rc = sherd_device_child(argv, TIME_LIMIT, err);
	return rc == -ENOENT ? prove_here(c, err) : rc;
}
