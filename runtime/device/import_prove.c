/* SPDX-License-Identifier: MIT */
/*
 * import_prove: drivers crash and hang on memory that they import, as they do when they compile. So
 * each way of importing is tried in a child process first, with windows of the rung at hand, of a
 * shard or of a ring as the case is, and what came of it is remembered with the device.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>
#include "device/import.h"
#include "device/import_look.h"
#include "device/memory.h"

#define TIME_LIMIT   60.0
#define SAMPLE_BYTES ((size_t)256 << 10)
#define SAMPLE_PARTS 4
#define FAILED	     "not imported: " /* and the reason */

/* All of a part, as a kernel reads it. */
static int check_whole(struct sherd_look *look, const struct sherd_part *p, struct sherd_error *err)
{
	uint8_t *seen = malloc(p->size);
	int rc;

	if (!seen)
		return sherd_fail_oom(err, p->size, "a sample");
	memset(seen, 0x5a, p->size);
	rc = sherd_look_at(look, p->mem, 0, p->size, seen, err);
	if (!rc && memcmp(seen, p->data, p->size))
		rc = sherd_fail(err, -EBADE, "%s sees other bytes than it imported",
				look->dev->info.name);
	free(seen);
	return rc;
}

static int check_parts(struct sherd_device *dev, const struct sherd_part *parts, int n,
		       struct sherd_error *err)
{
	struct sherd_look look;
	int i, rc = sherd_look_open(&look, dev, err);

	if (rc)
		return rc;
	for (i = 0; i < n && !rc; i++)
		rc = check_whole(&look, &parts[i], err);
	sherd_look_close(&look);
	return rc;
}

/* The device stores @bytes, by its own stores, and the CPU finds them there afterwards. */
static int check_stores(struct sherd_import *im, struct sherd_look *look, struct sherd_window *slot,
			int i, uint8_t *bytes, struct sherd_error *err)
{
	const struct sherd_part *p = &im->parts[i];
	const cl_mem_flags flags = CL_MEM_READ_ONLY | CL_MEM_COPY_HOST_PTR;
	cl_int code;
	cl_mem from = clCreateBuffer(im->dev->context, flags, p->size, bytes, &code);
	int rc;

	if (code)
		return sherd_fail_cl(err, code, "%s: no room for a sample", im->dev->info.name);
	code = sherd_look_copy(look, from, 0, p->mem, p->size);
	rc = sherd_import_release(im, i, err);
	clReleaseMemObject(from);
	if (code)
		return sherd_fail_cl(err, code, "%s can't write to what it imported",
				     im->dev->info.name);
	if (!rc)
		rc = sherd_window_begin(slot, SHERD_ACCESS_READ, err);
	if (rc)
		return rc;
	if (memcmp(bytes, p->data, p->size))
		rc = sherd_fail(err, -EBADE, "what %s writes to an import is not there",
				im->dev->info.name);
	return sherd_window_end(slot, SHERD_ACCESS_READ, rc ? NULL : err) && !rc ? -EIO : rc;
}

/* A slot goes to the device and back, with other bytes. */
static int check_turn(struct sherd_import *im, struct sherd_look *look, struct sherd_window *slot,
		      int i, struct sherd_error *err)
{
	const struct sherd_part *p = &im->parts[i];
	uint8_t *bytes = malloc(p->size);
	int rc =
		bytes ? sherd_import_acquire(im, i, err) : sherd_fail_oom(err, p->size, "a sample");

	if (!rc)
		rc = check_whole(look, p, err);
	for (size_t k = 0; k < p->size && !rc; k++)
		bytes[k] = (uint8_t)~((const uint8_t *)p->data)[k];
	if (!rc)
		rc = check_stores(im, look, slot, i, bytes, err);
	free(bytes);
	return rc;
}

static int check_turns(struct sherd_import *im, struct sherd_region *ring, struct sherd_error *err)
{
	struct sherd_look look;
	int i, rc = sherd_look_open(&look, im->dev, err);

	if (rc)
		return rc;
	for (i = 0; i < im->n_parts && !rc; i++)
		rc = check_turn(im, &look, sherd_ring_slot(ring, i), i, err);
	sherd_look_close(&look);
	return rc;
}

/*
 * What will be so next time; not that memory or descriptors are short just now, or what the rung
 * lacks.
 */
static bool is_the_devices(int rc)
{
	static const int passing[] = { -ENOMEM, -EMFILE, -ENFILE, -ENOBUFS, -EOPNOTSUPP, -ENOENT,
				       -EACCES, -ENODEV, -EINTR, -ENOSPC };

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		if (rc == passing[i])
			return false;
	return rc != 0;
}

/*
 * Imports @r's parts, and sees whether the device has them; slots of a ring it gives back with
 * bytes of its own.
 */
static int import_parts(struct sherd_device *dev, enum sherd_import_way way, struct sherd_region *r,
			struct sherd_part *parts, struct sherd_import_cost *cost,
			struct sherd_error *err)
{
	struct sherd_memory before, after;
	struct sherd_import im;
	int rc;

	sherd_memory_read(&before, NULL, 0);
	cost->import_s = -sherd_now();
	rc = sherd_import_try(&im, dev, r, parts, SAMPLE_PARTS, way, err);
	clFinish(dev->queue);
	cost->import_s += sherd_now();
	sherd_memory_read(&after, NULL, 0);
	cost->anon = after.anon > before.anon ? after.anon - before.anon : 0;
	if (!rc)
		rc = r->read_only ? check_parts(dev, parts, SAMPLE_PARTS, err) :
				    check_turns(&im, r, err);
	sherd_import_close(&im);
	return rc;
}

/* Which takes no files. */
static bool is_udmabuf(const char *rung)
{
	return rung && !strcmp(rung, sherd_rung_name(SHERD_RUNG_UDMABUF));
}

static int hold_shard(struct sherd_region **r, struct sherd_map *map, struct sherd_part *parts,
		      const struct sherd_import_trial *t, struct sherd_import_cost *cost,
		      struct sherd_error *err)
{
	size_t each = cost->bytes / SAMPLE_PARTS;
	int i, rc = sherd_sample_open(map, cost->bytes, is_udmabuf(t->rung), err);

	cost->hold_s = -sherd_now(); /* without what writing the sample takes */
	if (!rc)
		rc = sherd_region_open(r, map, t->rung, err);
	cost->hold_s += sherd_now();
	for (i = 0; i < SAMPLE_PARTS && !rc; i++)
		parts[i] = (struct sherd_part){ .data = (*r)->data + i * each, .size = each - 100 };
	return rc;
}

static int hold_ring(struct sherd_region **r, struct sherd_part *parts,
		     const struct sherd_import_trial *t, struct sherd_import_cost *cost,
		     struct sherd_error *err)
{
	struct sherd_window *slot;
	int i, rc;
	size_t k;

	cost->hold_s = -sherd_now();
	rc = sherd_ring_create(r, SAMPLE_PARTS, cost->bytes / SAMPLE_PARTS, t->rung, err);
	cost->hold_s += sherd_now();
	for (i = 0; i < SAMPLE_PARTS && !rc; i++) {
		slot = sherd_ring_slot(*r, i);
		parts[i] = (struct sherd_part){ .data = slot->data, .size = slot->length - 100 };
		rc = sherd_window_begin(slot, SHERD_ACCESS_WRITE, err);
		for (k = 0; k < slot->length && !rc; k++)
			((uint8_t *)slot->data)[k] = (uint8_t)((k + i) * 2654435761u >> 24);
		if (!rc)
			rc = sherd_window_end(slot, SHERD_ACCESS_WRITE, err);
	}
	return rc;
}

int sherd_import_selftest(struct sherd_device *dev, const struct sherd_import_trial *t,
			  struct sherd_import_cost *cost, struct sherd_error *err)
{
	struct sherd_part parts[SAMPLE_PARTS] = { 0 };
	int way = sherd_import_find(t->way), rc;
	struct sherd_map map = { .fd = -1 };
	struct sherd_region *r = NULL;

	if (way < 0)
		return sherd_fail(err, -EINVAL, "no way of importing is called \"%s\"", t->way);
	cost->bytes =
		ROUND_UP(t->bytes ? t->bytes : SAMPLE_BYTES, SAMPLE_PARTS * sherd_page_size());
	rc = t->ring ? hold_ring(&r, parts, t, cost, err) :
		       hold_shard(&r, &map, parts, t, cost, err);
	if (!rc) {
		rc = import_parts(dev, (enum sherd_import_way)way, r, parts, cost, err);
		rc = is_the_devices(rc) ? -EBADE : rc;
	}
	sherd_region_close(r);
	sherd_map_close(&map);
	return rc;
}

static int ask_child(const char *device, const struct sherd_import_trial *t,
		     struct sherd_error *err)
{
	const char *argv[] = { "--device", device, "--import", t->way, "--region", t->rung,
			       t->ring ? "--ring" : NULL, NULL };

	return sherd_device_child(argv, sherd_device_patience(TIME_LIMIT), err);
}

/*
 * What the verdict hangs on: device and driver, the way, whose memory it is and what of it, and the
 * kernel.
 */
static int verdict_key(struct sherd_device *dev, const struct sherd_import_trial *t,
		       char key[SHERD_SHA256_HEX])
{
	char *module = NULL, *text;
	struct utsname u = { .release = "" };
	size_t n;

	uname(&u);
	sherd_read_file("/sys/module/sherd/srcversion", 256, &module, &n, NULL);
	text = sherd_asprintf("import 4 %s %s %s %s %s", t->way, t->rung,
			      t->ring ? "ring" : "shard", u.release, module ? module : "");
	free(module);
	if (!text)
		return -ENOMEM;
	sherd_device_key(dev, text, key);
	free(text);
	return 0;
}

/* A hang may have had another reason, a busy machine say: how to have it tried again is said, too. */
static int fail_again(const char *device, const struct sherd_import_trial *t, const char *verdict,
		      struct sherd_error *err)
{
	verdict += strlen(FAILED);
	return sherd_fail(err, -EBADE,
			  "%.*s (at an earlier start; to have it tried anew: " SHERD_FORGET
			  "; to look closer: sherd device-test --device \"%s\" --import %s --region "
			  "%s%s)",
			  (int)strcspn(verdict, "\n"), verdict, device, t->way, t->rung,
			  t->ring ? " --ring" : "");
}

/* A file that says anything else has seen a disk or a power failure. */
static bool is_failure(const char *verdict)
{
	return verdict && !strncmp(verdict, FAILED, strlen(FAILED)) && strchr(verdict, '\n');
}

int sherd_import_prove(struct sherd_device *dev, const char *device, enum sherd_import_way way,
		       const struct sherd_region *region, struct sherd_error *err)
{
	const struct sherd_import_trial t = { .way = sherd_import_word(way),
					      .rung = sherd_rung_name(region->rung),
					      .ring = !region->read_only };
	char key[SHERD_SHA256_HEX], *verdict, *failure;
	bool known;
	int rc = 0;

	if (verdict_key(dev, &t, key))
		return sherd_fail_oom(err, 1, "a verdict");
	verdict = sherd_device_verdict_get(key);
	known = sherd_verdict_passed(verdict) || is_failure(verdict);
	if (known)
		rc = sherd_verdict_passed(verdict) ? 0 : fail_again(device, &t, verdict, err);
	free(verdict);
	if (known)
		return rc;
	rc = ask_child(device, &t, err);
	if (!rc)
		sherd_device_verdict_put(key, SHERD_PASSED, NULL);
	if (rc != -EBADE && rc != -ETIMEDOUT)
		return rc;
	failure = sherd_asprintf("%s%s\n", FAILED, err ? err->msg : "it failed");
	if (failure)
		sherd_device_verdict_put(key, failure, NULL);
	free(failure);
	return rc;
}
