/* SPDX-License-Identifier: MIT */
/*
 * doctor_try: tries what sherd could use on this machine, one thing after the other. What it pins
 * or makes is let go at once; what trying out a device found is kept in the cache, as `run` keeps
 * it.
 */
#include <liburing.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "device/prime.h"
#include "model/shard.h"
#include "net/loop.h"
#include "doctor.h"

#define SAMPLE_BYTES ((size_t)1 << 20)
#define RING_SLOTS   4
/* less than this is hardly a limit to pin weights within */
#define SMALL_MODEL ((uint64_t)512 << 20)

/* What comes after "region \"sherd\": ", which the line says already. */
static const char *without_prefix(const char *sentence)
{
	const char *colon = strstr(sentence, ": ");

	return colon ? colon + 2 : sentence;
}

/* ----------------------------------------------------------------- regions */

static void try_weights(struct doctor *d)
{
	struct sherd_region *r;
	struct sherd_error err;

	for (int i = 0; i < SHERD_N_RUNGS; i++) {
		const char *name = sherd_rung_name(i);

		if (sherd_region_open(&r, &d->sample, name, &err)) {
			doctor_add(d, "weights", FINDING_NO, name, "%s", without_prefix(err.msg));
			continue;
		}
		if (d->model.data && sherd_region_foresee(&d->model, i, &err))
			doctor_add(d, "weights", FINDING_NO, name,
				   "a sample, but not this model: %s", err.msg);
		else
			doctor_add(d, "weights", FINDING_YES, name, "%s", r->how);
		sherd_region_close(r);
	}
}

/* Registers a ring's slots with io_uring, to see whether that goes. */
static void try_io_uring(struct doctor *d, const struct sherd_region *ring)
{
	struct sherd_error err;
	struct io_uring uring;
	int rc = io_uring_queue_init(8, &uring, 0);

	if (rc) {
		doctor_add(d, "ring", FINDING_NO, "io_uring", "there is none: %s%s", strerror(-rc),
			   rc == -EPERM ?
				   " (a container's seccomp profile, or kernel.io_uring_disabled)" :
				   "");
		return;
	}
	if (sherd_region_register(ring, &uring, &err))
		doctor_add(d, "ring", FINDING_NO, "io_uring", "%s", err.msg);
	else
		doctor_add(d, "ring", FINDING_YES, "io_uring", "slots are fixed buffers");
	io_uring_queue_exit(&uring);
}

static void try_ring(struct doctor *d)
{
	static const char *const pages[] = {
		[SHERD_PAGES_SMALL] =
			("small pages: no huge page is free (vm.nr_hugepages), and "
			 "/sys/kernel/mm/transparent_hugepage/shmem_enabled gives none"),
		[SHERD_PAGES_TRANSPARENT] = "transparent huge pages",
		[SHERD_PAGES_HUGETLB] = "reserved huge pages",
	};
	struct sherd_region *r;
	struct sherd_error err;

	for (int i = 0; i < SHERD_N_RUNGS; i++) {
		const char *name = sherd_rung_name(i);

		if (sherd_ring_create(&r, RING_SLOTS, SAMPLE_BYTES, name, &err)) {
			doctor_add(d, "ring", FINDING_NO, name, "%s", without_prefix(err.msg));
			continue;
		}
		doctor_add(d, "ring", FINDING_YES, name, "%s", r->how);
		sherd_region_close(r);
	}
	if (sherd_ring_create(&d->ring, RING_SLOTS, SAMPLE_BYTES, NULL, &err)) {
		doctor_add(d, "ring", FINDING_NO, "pages", "%s", err.msg);
		return;
	}
	doctor_add(d, "ring", FINDING_YES, "pages", "%s", pages[d->ring->pages]);
	try_io_uring(d, d->ring);
}

/* The loop's ladder, and whether it takes the ring's slots. */
static void try_network(struct doctor *d)
{
	struct sherd_loop *l;
	struct sherd_error err;

	for (int i = 0; i < SHERD_N_IOS; i++) {
		const char *name = sherd_io_name(i);
		const struct sherd_loop_params p = { .io = name, .ring = d->ring };

		if (sherd_loop_create(&l, &p, &err)) {
			doctor_add(d, "network", FINDING_NO, name, "%s", without_prefix(err.msg));
			continue;
		}
		doctor_add(d, "network", FINDING_YES, name, "%s",
			   l->note.msg[0] ?
				   l->note.msg :
			   i == SHERD_IO_URING_ZC ?
				   "large rows go without a copy, from the slots of a ring" :
				   "sends are copied");
		sherd_loop_free(l);
	}
}

static void add_limit(struct doctor *d, int which, const char *name, const char *what, bool bytes)
{
	struct rlimit l;

	if (getrlimit(which, &l))
		return;
	if (l.rlim_cur == RLIM_INFINITY)
		doctor_add(d, "limits", FINDING_FACT, name, "no limit on %s", what);
	else if (bytes)
		doctor_add(d, "limits", FINDING_FACT, name, "%s of %s", tool_bytes(l.rlim_cur),
			   what);
	else
		doctor_add(d, "limits", FINDING_FACT, name, "%llu %s",
			   (unsigned long long)l.rlim_cur, what);
}

/* Most distributions leave it so low that no model is within it; a sample of 1 MiB is. */
static void look_at_memlock(struct doctor *d)
{
	static const char what[] = "memory pinned by this user, or locked by a process";
	const uint64_t need = d->model.data ? d->model.size : SMALL_MODEL;
	struct rlimit l;

	if (getrlimit(RLIMIT_MEMLOCK, &l))
		return;
	if (l.rlim_cur != RLIM_INFINITY && !sherd_memlock_bounds())
		doctor_add(d, "limits", FINDING_FACT, "RLIMIT_MEMLOCK",
			   "%s, but this user may lock more (CAP_IPC_LOCK)",
			   tool_bytes(l.rlim_cur));
	else if (l.rlim_cur >= need)
		add_limit(d, RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", what, true);
	else
		doctor_remedy(doctor_add(d, "limits", FINDING_ADVICE, "RLIMIT_MEMLOCK",
					 "%s of %s, is less than %s", tool_bytes(l.rlim_cur), what,
					 d->model.data ? "this model takes" : "most models take"),
			      SHERD_RAISE_MEMLOCK);
}

static void look_at_limits(struct doctor *d)
{
	doctor_add(d, "limits", FINDING_FACT, "memory",
		   "%s can be had; what is pinned or locked without being asked for "
		   "takes three quarters of that at most",
		   tool_bytes(sherd_region_room()));
	look_at_memlock(d);
	add_limit(d, RLIMIT_NOFILE, "RLIMIT_NOFILE", "open files, of which each dma-buf is one",
		  false);
}

/* --------------------------------------------------------------------- DRM */

/* A dma-buf of whatever has one here. */
static void open_dma_buf(struct doctor *d, struct sherd_window *w)
{
	struct sherd_region *const all[] = { d->held, d->held_packed, d->ring };
	struct sherd_error err;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i] || !all[i]->max_window)
			continue;
		if (sherd_window_open(w, all[i], 0, MIN(all[i]->size, all[i]->max_window), &err))
			doctor_add(d, "drm", FINDING_NO, "dma-buf", "%s", err.msg);
		return;
	}
}

static void try_drm(struct doctor *d)
{
	struct sherd_window w = { .fd = -1 };
	struct sherd_prime *list;
	struct sherd_error err;
	char name[112];
	int n;

	open_dma_buf(d, &w);
	if (sherd_prime_list(&list, &n, w.fd, &err)) {
		doctor_add(d, "drm", FINDING_NO, "DRM", "%s", err.msg);
		n = 0;
	} else if (!n) {
		doctor_add(d, "drm", FINDING_NO, "none",
			   "there is no /dev/dri/renderD*: no GPU with a DRM driver");
	}
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s (%s)", list[i].node, list[i].driver);
		doctor_add(d, "drm", list[i].imports ? FINDING_YES : FINDING_NO, name, "%s",
			   list[i].imports ? "imports our dma-bufs" : list[i].why.msg);
	}
	free(list);
	sherd_window_close(&w);
}

static int open_model(struct doctor *d, struct sherd_error *err)
{
	char *path;
	int rc = d->model_name ? sherd_resolve_model(d->model_name, &path, err) : 0;

	if (rc || !d->model_name)
		return rc;
	rc = sherd_map_open(&d->model, path, err);
	free(path);
	return rc;
}

/*
 * By the best rung, once every rung was tried: what is locked twice is unlocked by the first that
 * ends.
 */
static int hold_samples(struct doctor *d, struct sherd_error *err)
{
	int rc = sherd_region_open(&d->held, &d->sample, NULL, err);

	if (rc || d->held->max_window)
		return rc;
	/* a machine with udmabuf alone has dma-bufs of memory, and of no file */
	if (sherd_sample_open(&d->packed, SAMPLE_BYTES, true, NULL) ||
	    sherd_region_open(&d->held_packed, &d->packed, NULL, NULL))
		return 0;
	if (!d->held_packed->max_window) {
		sherd_region_close(d->held_packed);
		d->held_packed = NULL;
	}
	return 0;
}

int doctor_try(struct doctor *d)
{
	struct sherd_error err;

	/* with a full disk there is still something to say about all the rest */
	if (sherd_sample_open(&d->sample, SAMPLE_BYTES, false, &err)) {
		doctor_add(d, "weights", FINDING_NO, "a file", "%s", err.msg);
		if (sherd_sample_open(&d->sample, SAMPLE_BYTES, true, &err))
			return tool_fail(&tool_doctor, &err);
	}
	if (open_model(d, &err))
		return tool_fail(&tool_doctor, &err);
	try_weights(d);
	try_ring(d);
	try_network(d);
	if (hold_samples(d, &err))
		return tool_fail(&tool_doctor, &err);
	look_at_limits(d);
	doctor_try_devices(d);
	try_drm(d);
	return TOOL_OK;
}

void doctor_try_end(struct doctor *d)
{
	sherd_region_close(d->held);
	sherd_region_close(d->held_packed);
	sherd_region_close(d->ring);
	sherd_map_close(&d->sample);
	sherd_map_close(&d->packed);
	sherd_map_close(&d->model);
}
