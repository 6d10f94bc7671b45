/* SPDX-License-Identifier: MIT */
/*
 * profiler: a thread waits for the process that measures, so that the loop need not. A device that
 * hangs or crashes takes that process along and not the node, and what OpenCL's compiler took of
 * memory is given back.
 *
 * A profile is kept under a hash of all that it depends on: what was asked, this version of sherd,
 * the options of the node, and what of the machine can be seen, because cards are copied and boards
 * exchanged. Of memory a kept profile says what there is now.
 */
#include "profiler.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>
#include "device/device.h"
#include "profile.h"

#define EXTRA_S 600 /* for opening, and compiling kernels for the first time */

struct profiler {
	struct sherd_profiler base;
	struct profiler_params p;
	int stop; /* an eventfd, which the process's end is waited for with */
	bool closed;
	/* a job that is under way */
	struct sherd_profiler_job *job;
	pthread_t thread;
	bool threaded;
	char *ask, *profile; /* copies: a job is its owner's */
	int rc;
	struct sherd_error err;
};

/* -------------------------------------------------------------- what is kept */

/* The file of what was found before; NULL: no memory. */
static char *kept_path(const struct profiler *p, const struct probe *probe)
{
	const struct sherd_model_params *b = p->p.base;
	json_t *key = probe_to_json(probe, true);
	char *ask = key ? json_dumps(key, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
	char *all = NULL, *path = NULL, hex[SHERD_SHA256_HEX];

	if (ask)
		all = sherd_asprintf("%s|%s|%s|%d|%s|%g|%ld|%ld", SHERD_VERSION, ask,
				     b->device ? b->device : "auto", b->n_threads,
				     b->region ? b->region : "auto", (double)p->p.dilate,
				     sysconf(_SC_NPROCESSORS_CONF), sysconf(_SC_PHYS_PAGES));
	if (all) {
		sherd_sha256(all, strlen(all), hex);
		path = sherd_asprintf("%s/.profile-%.32s.json", p->p.shards, hex);
	}
	json_decref(key);
	free(ask);
	free(all);
	return path;
}

/* The text that is sent, of a profile that is freed. */
static char *finish(const struct profiler *p, struct sherd_profile *profile)
{
	json_t *j;
	char *text;

	if (sherd_node_name_ok(p->p.name))
		snprintf(profile->node, sizeof(profile->node), "%s", p->p.name);
	profile_set_memory(profile);
	j = sherd_profile_to_json(profile);
	text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
	json_decref(j);
	sherd_profile_free(profile);
	return text;
}

/* ----------------------------------------------------------------- measuring */

static int run_child(struct profiler *p, double seconds, char **text, struct sherd_error *err)
{
	const struct sherd_model_params *b = p->p.base;
	char threads[16], dilate[32];
	const char *argv[16];
	int n = 0;

	snprintf(threads, sizeof(threads), "%d", b->n_threads);
	snprintf(dilate, sizeof(dilate), "%g", (double)p->p.dilate);
	argv[n++] = "--profile", argv[n++] = p->ask;
	argv[n++] = "--shards", argv[n++] = p->p.shards;
	if (b->device)
		argv[n++] = "--device", argv[n++] = b->device;
	if (b->region)
		argv[n++] = "--region", argv[n++] = b->region;
	if (b->n_threads)
		argv[n++] = "--threads", argv[n++] = threads;
	if (p->p.dilate > 1)
		argv[n++] = "--dilate", argv[n++] = dilate;
	argv[n] = NULL;
	return sherd_device_child_text(argv, sherd_device_patience(3 * seconds + EXTRA_S),
				       p->stop, text, err);
}

static int measure(struct profiler *p, const struct probe *probe, struct sherd_profile **profile,
		   struct sherd_error *err)
{
	struct sherd_json_at root;
	struct sherd_json f;
	char *text;
	int rc = run_child(p, probe->seconds, &text, err);

	*profile = NULL;
	if (rc)
		return rc;
	rc = sherd_json_parse(&f, text, strlen(text), "the profile that was measured", err);
	free(text);
	if (rc)
		return rc;
	root = sherd_json_root(&f);
	*profile = sherd_profile_from_json(&root);
	return sherd_json_close(&f);
}

/* From what is kept, or measured and then kept. */
static int answer(struct profiler *p, struct sherd_error *err)
{
	struct sherd_profile *profile;
	struct probe probe;
	char *path;
	int rc = probe_parse(&probe, p->ask, err);

	if (rc)
		return rc;
	path = kept_path(p, &probe);
	if (!path)
		rc = sherd_fail_oom(err, strlen(p->ask), "a profile");
	else if (probe.again || sherd_profile_read(&profile, path, NULL)) {
		rc = measure(p, &probe, &profile, err);
		if (!rc) /* where it can't be kept, it is measured again */
			sherd_json_write(sherd_profile_to_json(profile), path, NULL);
	}
	if (!rc)
		p->profile = finish(p, profile);
	free(path);
	sherd_sizes_free(probe.sizes);
	return rc || p->profile ? rc : sherd_fail_oom(err, SHERD_JSON_LIMIT, "a profile");
}

static void destroy(struct profiler *p)
{
	free(p->ask);
	free(p->profile);
	close(p->stop);
	free(p);
}

/* On the loop's thread. */
static void deliver(void *arg)
{
	struct profiler *p = arg;
	struct sherd_profiler_job *job = p->job;

	if (p->closed) {
		destroy(p);
		return;
	}
	if (p->threaded)
		pthread_join(p->thread, NULL);
	p->job = NULL;
	job->profile = p->profile;
	job->rc = p->rc;
	job->err = p->err;
	p->profile = NULL;
	job->done(job->ctx, job);
}

static void *work(void *arg)
{
	struct profiler *p = arg;

	p->rc = answer(p, &p->err);
	/* without memory for that nobody can be told: who asked will lose patience */
	p->p.post(p->p.loop, deliver, p);
	return NULL;
}

/* -------------------------------------------------------- for the node's loop */

static void submit(struct sherd_profiler *base, struct sherd_profiler_job *job)
{
	struct profiler *p = (struct profiler *)base;
	uint64_t stops;

	p->job = job;
	while (read(p->stop, &stops, sizeof(stops)) > 0)
		; /* meant for the job before */
	free(p->ask);
	p->ask = strdup(job->ask);
	p->threaded = p->ask && !pthread_create(&p->thread, NULL, work, p);
	if (p->threaded)
		return;
	p->rc = sherd_fail(&p->err, -EAGAIN, "no thread can be had to measure with");
	p->p.post(p->p.loop, deliver, p);
}

static void cancel(struct sherd_profiler *base)
{
	const struct profiler *p = (const struct profiler *)base;
	const uint64_t one = 1;

	if (p->job && write(p->stop, &one, sizeof(one)) < 0)
		return; /* it has been told so often that the counter is full */
}

int profiler_new(struct profiler **profiler, const struct profiler_params *params,
		 struct sherd_error *err)
{
	struct profiler *p = sherd_calloc(1, sizeof(*p));

	*profiler = NULL;
	if (!p)
		return sherd_fail_oom(err, sizeof(*p), "a profiler");
	p->base = (struct sherd_profiler){ submit, cancel };
	p->p = *params;
	p->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (p->stop < 0) {
		free(p);
		return sherd_fail(err, -errno, "no descriptor can be had for measuring: %s",
				  strerror(errno));
	}
	*profiler = p;
	return 0;
}

void profiler_close(struct profiler *p)
{
	if (!p)
		return;
	p->closed = true;
	if (!p->job) {
		destroy(p);
		return;
	}
	cancel(&p->base);
	if (p->threaded)
		pthread_join(p->thread, NULL);
	/* Its last post is on its way to the loop, which frees it. */
}

struct sherd_profiler *profiler_of(struct profiler *p)
{
	return &p->base;
}
