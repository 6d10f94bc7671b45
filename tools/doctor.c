/* SPDX-License-Identifier: MIT */
/*
 * doctor: tries what sherd could use on this machine, one thing after the other, and says of each whether
 * it works, and if not, why and what helps. It changes nothing: what it pins or makes is let go at once.
 */
#include <jansson.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "base/base.h"
#include "device/import.h"
#include "device/prime.h"
#include "region/region.h"
#include "tool.h"

#define SAMPLE_BYTES ((size_t)1 << 20)
#define RING_SLOTS   4

static const char about[] =
	"Tries what sherd could use here, one thing after the other, and says of each whether it works, "
	"and if not, why and what helps: what can hold weights in memory and share them with a GPU "
	"or a network card, in what pages activations lie, how each OpenCL device reads weights, and "
	"which DRM render nodes take our dma-bufs. What it pins is let go at once.\n"
	"\n"
	"  sherd doctor\n"
	"  sherd doctor --json | jq '.opencl'";

/* A thing that was tried. */
struct row {
	const char *section;
	char name[160];
	bool works;
	char text[sizeof(((struct sherd_error *)0)->msg)];
};

struct doctor {
	bool json;
	struct row *rows;
	int n_rows;
	struct sherd_map sample; /* a file where shards are kept */
	struct sherd_region *held; /* the sample, by the best rung */
};

static const struct {
	const char *section, *title;
} sections[] = {
	{ "weights", "What can hold a shard's pages (the first that works is taken)" },
	{ "ring", "What can hold a ring of activations (the first that works is taken)" },
	{ "limits", "Limits" },
	{ "opencl", "How OpenCL devices read weights" },
	{ "drm", "DRM render nodes that import our dma-bufs" },
};

__attribute__((format(printf, 5, 6)))
static void add(struct doctor *d, const char *section, bool works, const char *name, const char *fmt, ...)
{
	struct row *more = realloc(d->rows, (d->n_rows + 1) * sizeof(*more)), *r;
	va_list ap;

	if (!more)
		return; /* a line less */
	d->rows = more;
	r = &more[d->n_rows++];
	r->section = section;
	r->works = works;
	snprintf(r->name, sizeof(r->name), "%s", name);
	va_start(ap, fmt);
	vsnprintf(r->text, sizeof(r->text), fmt, ap);
	va_end(ap);
}

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
			add(d, "weights", false, name, "%s", without_prefix(err.msg));
			continue;
		}
		add(d, "weights", true, name, "%s", r->how);
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
		add(d, "ring", false, "io_uring", "there is none: %s%s", strerror(-rc),
		    rc == -EPERM ? " (a container's seccomp profile, or kernel.io_uring_disabled)" : "");
		return;
	}
	if (sherd_region_register(ring, &uring, &err))
		add(d, "ring", false, "io_uring", "%s", err.msg);
	else
		add(d, "ring", true, "io_uring", "slots are fixed buffers");
	io_uring_queue_exit(&uring);
}

static void try_ring(struct doctor *d)
{
	static const char *const pages[] = {
		[SHERD_PAGES_SMALL] = "small pages: no huge page is free (vm.nr_hugepages), and "
				      "/sys/kernel/mm/transparent_hugepage/shmem_enabled gives none",
		[SHERD_PAGES_TRANSPARENT] = "transparent huge pages",
		[SHERD_PAGES_HUGETLB] = "reserved huge pages",
	};
	struct sherd_region *r;
	struct sherd_error err;

	for (int i = 0; i < SHERD_N_RUNGS; i++) {
		const char *name = sherd_rung_name(i);

		if (sherd_ring_create(&r, RING_SLOTS, SAMPLE_BYTES, name, &err)) {
			add(d, "ring", false, name, "%s", without_prefix(err.msg));
			continue;
		}
		add(d, "ring", true, name, "%s", r->how);
		sherd_region_close(r);
	}
	if (sherd_ring_create(&r, RING_SLOTS, SAMPLE_BYTES, NULL, &err)) {
		add(d, "ring", false, "pages", "%s", err.msg);
		return;
	}
	add(d, "ring", true, "pages", "%s", pages[r->pages]);
	try_io_uring(d, r);
	sherd_region_close(r);
}

static void add_limit(struct doctor *d, int which, const char *name, const char *what, bool bytes)
{
	struct rlimit l;

	if (getrlimit(which, &l))
		return;
	if (l.rlim_cur == RLIM_INFINITY)
		add(d, "limits", true, name, "no limit on %s", what);
	else if (bytes)
		add(d, "limits", true, name, "%s of %s", tool_bytes(l.rlim_cur), what);
	else
		add(d, "limits", true, name, "%llu %s", (unsigned long long)l.rlim_cur, what);
}

static void look_at_limits(struct doctor *d)
{
	add(d, "limits", true, "memory", "%s can be had; what is pinned or locked without being asked for "
	    "takes three quarters of that at most", tool_bytes(sherd_region_room()));
	add_limit(d, RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", "memory pinned by this user, or locked by a "
		  "process, without CAP_IPC_LOCK", true);
	add_limit(d, RLIMIT_NOFILE, "RLIMIT_NOFILE", "open files, of which each dma-buf is one", false);
}

/* ----------------------------------------------------------------- devices */

static void try_import(struct doctor *d, struct sherd_device *dev, const char *number, const char *name)
{
	struct sherd_part part = { .data = d->sample.data, .size = d->sample.size };
	struct sherd_import im;
	struct sherd_error err;

	if (sherd_import_open(&im, dev, number, d->held, &part, 1, &err)) {
		add(d, "opencl", false, name, "%s", err.msg);
		return;
	}
	for (int i = 0; i < (int)im.way; i++)
		add(d, "opencl", false, sherd_import_name((enum sherd_import_way)i), "%s",
		    im.refused[i].msg);
	add(d, "opencl", true, sherd_import_name(im.way), "%s takes this", name);
	sherd_import_close(&im);
}

static void try_devices(struct doctor *d)
{
	struct sherd_device_info *list;
	struct sherd_device *dev;
	struct sherd_error err;
	char number[16];
	int n;

	if (sherd_device_list(&list, &n, &err)) {
		add(d, "opencl", false, "OpenCL", "%s", err.msg);
		return;
	}
	for (int i = 0; i < n; i++) {
		snprintf(number, sizeof(number), "%d", i);
		if (sherd_device_open(&dev, number, 0, NULL, &err)) {
			add(d, "opencl", false, list[i].name, "%s", err.msg);
			continue;
		}
		try_import(d, dev, number, list[i].name);
		sherd_device_close(dev);
	}
	sherd_device_list_free(list, n);
}

static void try_drm(struct doctor *d)
{
	struct sherd_window w = { .fd = -1 };
	struct sherd_prime *list;
	struct sherd_error err;
	char name[112];
	int n;

	if (d->held && d->held->max_window && sherd_window_open(&w, d->held, 0, d->held->size, &err))
		add(d, "drm", false, "dma-buf", "%s", err.msg);
	if (sherd_prime_list(&list, &n, w.fd, &err)) {
		add(d, "drm", false, "DRM", "%s", err.msg);
		n = 0;
	} else if (!n) {
		add(d, "drm", false, "none", "there is no /dev/dri/renderD*: no GPU with a DRM driver");
	}
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "%s (%s)", list[i].node, list[i].driver);
		add(d, "drm", list[i].imports, name, "%s",
		    list[i].imports ? "imports our dma-bufs" : list[i].why.msg);
	}
	free(list);
	sherd_window_close(&w);
}

/* ------------------------------------------------------------------ report */

static void print_text(const struct doctor *d)
{
	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		printf("%s%s\n", s ? "\n" : "", sections[s].title);
		for (int i = 0; i < d->n_rows; i++) {
			const struct row *r = &d->rows[i];

			if (!strcmp(r->section, sections[s].section))
				printf("  %-3s  %-14s  %s\n", !strcmp(r->section, "limits") ? "" :
				       r->works ? "yes" : "no", r->name, r->text);
		}
	}
}

static int print_json(const struct doctor *d)
{
	json_t *all = json_object();
	char *text;

	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		json_t *list = json_array();

		for (int i = 0; i < d->n_rows; i++)
			if (!strcmp(d->rows[i].section, sections[s].section))
				json_array_append_new(list, json_pack("{s:s,s:b,s:s}", "name",
								      d->rows[i].name, "works",
								      d->rows[i].works, "text",
								      d->rows[i].text));
		json_object_set_new(all, sections[s].section, list);
	}
	text = json_dumps(all, JSON_INDENT(2));
	json_decref(all);
	if (!text)
		return tool_failf(&tool_doctor, "out of memory");
	puts(text);
	free(text);
	return TOOL_OK;
}

static int examine(struct doctor *d)
{
	struct sherd_error err;
	int rc = TOOL_OK;

	/* with a full disk there is still something to say about all the rest */
	if (sherd_sample_open(&d->sample, SAMPLE_BYTES, false, &err)) {
		add(d, "weights", false, "a file", "%s", err.msg);
		if (sherd_sample_open(&d->sample, SAMPLE_BYTES, true, &err))
			return tool_fail(&tool_doctor, &err);
	}
	if (sherd_region_open(&d->held, &d->sample, NULL, &err))
		return tool_fail(&tool_doctor, &err);
	try_weights(d);
	try_ring(d);
	look_at_limits(d);
	try_devices(d);
	try_drm(d);
	if (d->json)
		rc = print_json(d);
	else
		print_text(d);
	return tool_flush(&tool_doctor) ? rc : TOOL_FAILED;
}

static int doctor_main(int argc, char **argv)
{
	struct doctor d = { .sample = { .fd = -1 } };
	const struct opt opts[] = {
		{ 0, "json", OPT_FLAG, &d.json, 0, 0, NULL, "print JSON" },
		{ 0 },
	};
	int rc = opt_parse(&tool_doctor, opts, &argc, argv);

	if (rc)
		return rc > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc > 0)
		return tool_usage(&tool_doctor, "'%s' is one argument too many", argv[0]);
	rc = examine(&d);
	sherd_region_close(d.held);
	sherd_map_close(&d.sample);
	free(d.rows);
	return rc;
}

const struct tool tool_doctor = {
	.name = "doctor",
	.synopsis = "[--json]",
	.summary = "say what works on this machine, and what does not and why",
	.about = about,
	.main = doctor_main,
};
