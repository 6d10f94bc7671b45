/* SPDX-License-Identifier: MIT */
/*
 * doctor: tries what sherd could use on this machine, one thing after the other, and says of each
 * whether it works, and if not, why and what helps. What it pins or makes is let go at once; what
 * trying out a device found is kept in the cache, as `run` keeps it.
 */
#include <jansson.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/resource.h>
#include "base/base.h"
#include "device/import.h"
#include "device/prime.h"
#include "model/shard.h"
#include "net/loop.h"
#include "region/region.h"
#include "tool.h"

#define SAMPLE_BYTES ((size_t)1 << 20)
#define RING_SLOTS   4
/* less than this is hardly a limit to pin weights within */
#define SMALL_MODEL  ((uint64_t)512 << 20)

static const char about[] =
	"Tries what sherd could use here, one thing after the other, and says of each whether it works, "
	"and if not, why and what helps: what can hold weights in memory and share them with a GPU "
	"or a network card, in what pages activations lie, how each OpenCL device reads weights "
	"and shares activations, and which DRM render nodes take our dma-bufs. With a model it says what "
	"its size makes of limits and memory. What it pins is let go at once.\n"
	"\n"
	"  sherd doctor\n"
	"  sherd doctor -m model.gguf\n"
	"  sherd doctor --json | jq '.opencl'";

/* A thing that was tried. */
struct row {
	const char *section;
	const char *of; /* what of: "weights", "ring"; NULL in most sections */
	char device[128]; /* whose; "" in most sections */
	char name[160];
	bool works;
	char text[sizeof(((struct sherd_error *)0)->msg)];
};

struct doctor {
	bool json;
	const char *model_name;
	struct sherd_map model; /* with -m */
	struct row *rows;
	int n_rows;
	struct sherd_map sample, packed; /* a file where shards are kept; one that lies in memory */
	struct sherd_region *held, *held_packed; /* the samples, by the best rung */
	struct sherd_region *ring; /* by the best rung */
};

static const struct {
	const char *section, *title;
} sections[] = {
	{ "weights", "What can hold a shard's pages (the first that works is taken)" },
	{ "ring", "What can hold a ring of activations (the first that works is taken)" },
	{ "limits", "Limits" },
	{ "network", "How sockets are driven, for a pipeline of boards" },
	{ "opencl", "How OpenCL devices read weights, and share a ring" },
	{ "drm", "DRM render nodes that import our dma-bufs" },
};

__attribute__((format(printf, 5, 6))) static void
add(struct doctor *d, const char *section, bool works, const char *name, const char *fmt, ...)
{
	struct row *more = realloc(d->rows, (d->n_rows + 1) * sizeof(*more)), *r;
	va_list ap;

	if (!more)
		return; /* a line less */
	d->rows = more;
	r = &more[d->n_rows++];
	*r = (struct row){ .section = section, .works = works };
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
		if (d->model.data && sherd_region_foresee(&d->model, i, &err))
			add(d, "weights", false, name, "a sample, but not this model: %s", err.msg);
		else
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
		    rc == -EPERM ? " (a container's seccomp profile, or kernel.io_uring_disabled)" :
				   "");
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
			add(d, "ring", false, name, "%s", without_prefix(err.msg));
			continue;
		}
		add(d, "ring", true, name, "%s", r->how);
		sherd_region_close(r);
	}
	if (sherd_ring_create(&d->ring, RING_SLOTS, SAMPLE_BYTES, NULL, &err)) {
		add(d, "ring", false, "pages", "%s", err.msg);
		return;
	}
	add(d, "ring", true, "pages", "%s", pages[d->ring->pages]);
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
			add(d, "network", false, name, "%s", without_prefix(err.msg));
			continue;
		}
		add(d, "network", true, name, "%s",
		    l->note.msg[0] ? l->note.msg :
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
		add(d, "limits", true, name, "no limit on %s", what);
	else if (bytes)
		add(d, "limits", true, name, "%s of %s", tool_bytes(l.rlim_cur), what);
	else
		add(d, "limits", true, name, "%llu %s", (unsigned long long)l.rlim_cur, what);
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
		add(d, "limits", true, "RLIMIT_MEMLOCK",
		    "%s, but this user may lock more (CAP_IPC_LOCK)", tool_bytes(l.rlim_cur));
	else if (l.rlim_cur >= need)
		add_limit(d, RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", what, true);
	else
		add(d, "limits", false, "RLIMIT_MEMLOCK",
		    "%s of %s, is less than %s: " SHERD_RAISE_MEMLOCK, tool_bytes(l.rlim_cur), what,
		    d->model.data ? "this model takes" : "most models take");
}

static void look_at_limits(struct doctor *d)
{
	add(d, "limits", true, "memory",
	    "%s can be had; what is pinned or locked without being asked for "
	    "takes three quarters of that at most",
	    tool_bytes(sherd_region_room()));
	look_at_memlock(d);
	add_limit(d, RLIMIT_NOFILE, "RLIMIT_NOFILE", "open files, of which each dma-buf is one",
		  false);
}

/* ----------------------------------------------------------------- devices */

/* How a device reads, or shares, part of a region. */
static void try_import(struct doctor *d, struct sherd_device *dev, const char *number,
		       const char *of, struct sherd_region *r, size_t size)
{
	struct sherd_part part = { .data = r->data, .size = size };
	const char *caveat;
	struct sherd_import im;
	struct sherd_error err;
	int first = d->n_rows, i;
	bool works = !sherd_import_open(&im, dev, number, r, &part, 1, &err);

	for (i = 0; i < (works ? (int)im.way : SHERD_N_IMPORTS); i++)
		add(d, "opencl", false, sherd_import_name((enum sherd_import_way)i), "%s",
		    im.refused[i].msg);
	if (works) {
		caveat = sherd_import_caveat(&im);
		add(d, "opencl", true, sherd_import_name(im.way), "%s takes this%s%s",
		    dev->info.name, caveat ? "; " : "", caveat ? caveat : "");
	}
	for (i = first; i < d->n_rows; i++) {
		snprintf(d->rows[i].device, sizeof(d->rows[i].device), "%s", dev->info.name);
		d->rows[i].of = of;
	}
	sherd_import_close(&im);
}

static void try_device(struct doctor *d, struct sherd_device *dev, const char *number)
{
	try_import(d, dev, number, "weights", d->held, d->sample.size);
	if (d->held_packed)
		try_import(d, dev, number, "weights packed into memory", d->held_packed,
			   d->packed.size);
	if (d->ring)
		try_import(d, dev, number, "ring", d->ring, d->ring->slot_size);
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
		try_device(d, dev, number);
		sherd_device_close(dev);
	}
	sherd_device_list_free(list, n);
}

/* A dma-buf of whatever has one here. */
static void open_dma_buf(struct doctor *d, struct sherd_window *w)
{
	struct sherd_region *const all[] = { d->held, d->held_packed, d->ring };
	struct sherd_error err;

	for (size_t i = 0; i < ARRAY_SIZE(all); i++) {
		if (!all[i] || !all[i]->max_window)
			continue;
		if (sherd_window_open(w, all[i], 0, MIN(all[i]->size, all[i]->max_window), &err))
			add(d, "drm", false, "dma-buf", "%s", err.msg);
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
		add(d, "drm", false, "DRM", "%s", err.msg);
		n = 0;
	} else if (!n) {
		add(d, "drm", false, "none",
		    "there is no /dev/dri/renderD*: no GPU with a DRM driver");
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

/* Whose and what of, where that is new. */
static void print_heading(const struct row *r, const struct row **last)
{
	if (r->of && (!*last || (*last)->of != r->of || strcmp((*last)->device, r->device)))
		printf("  %s, %s:\n", r->device, r->of);
	*last = r;
}

static void print_section(const struct doctor *d, const char *section)
{
	const struct row *last = NULL;

	for (int i = 0; i < d->n_rows; i++) {
		const struct row *r = &d->rows[i];

		if (strcmp(r->section, section))
			continue;
		print_heading(r, &last);
		printf("  %-3s  %-14s  %s\n",
		       !r->works		 ? "no" :
		       strcmp(section, "limits") ? "yes" :
						   "",
		       r->name, r->text);
	}
}

static void print_text(const struct doctor *d)
{
	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		printf("%s%s\n", s ? "\n" : "", sections[s].title);
		print_section(d, sections[s].section);
	}
}

static json_t *row_json(const struct row *r)
{
	json_t *o = json_pack("{s:s,s:b,s:s}", "name", r->name, "works", r->works, "text", r->text);

	if (o && r->of) {
		json_object_set_new(o, "device", json_string(r->device));
		json_object_set_new(o, "of", json_string(r->of));
	}
	return o;
}

static int print_json(const struct doctor *d)
{
	json_t *all = json_object();
	char *text;

	for (size_t s = 0; s < ARRAY_SIZE(sections); s++) {
		json_t *list = json_array();

		for (int i = 0; i < d->n_rows; i++)
			if (!strcmp(d->rows[i].section, sections[s].section))
				json_array_append_new(list, row_json(&d->rows[i]));
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
	if (open_model(d, &err))
		return tool_fail(&tool_doctor, &err);
	try_weights(d);
	try_ring(d);
	try_network(d);
	if (hold_samples(d, &err))
		return tool_fail(&tool_doctor, &err);
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
	struct doctor d = { .sample = { .fd = -1 }, .packed = { .fd = -1 }, .model = { .fd = -1 } };
	const struct opt opts[] = {
		{ 'm', "model", OPT_STR, &d.model_name, 0, 0, "MODEL",
		  "say what this model's size makes of limits and memory" },
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
	sherd_region_close(d.held_packed);
	sherd_region_close(d.ring);
	sherd_map_close(&d.sample);
	sherd_map_close(&d.packed);
	sherd_map_close(&d.model);
	free(d.rows);
	return rc;
}

const struct tool tool_doctor = {
	.name = "doctor",
	.synopsis = "[-m MODEL] [--json]",
	.summary = "say what works on this machine, and what does not and why",
	.about = about,
	.main = doctor_main,
};
