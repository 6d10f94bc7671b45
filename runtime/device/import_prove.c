/* SPDX-License-Identifier: MIT */
/*
 * import_prove: drivers crash and hang on memory that they import, as they do when they compile. So each
 * way of importing is tried in a child process first, with windows of the rung at hand, and what came of
 * it is remembered with the device.
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
#define PASSED	     "passed\n"

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

/* What will be so next time; not that memory or descriptors are short just now, or what the rung lacks. */
static bool is_the_devices(int rc)
{
	static const int passing[] = { -ENOMEM, -EMFILE, -ENFILE, -ENOBUFS, -EOPNOTSUPP, -ENOENT,
				       -EACCES, -ENODEV, -EINTR, -ENOSPC };

	for (size_t i = 0; i < ARRAY_SIZE(passing); i++)
		if (rc == passing[i])
			return false;
	return rc != 0;
}

static int import_sample(struct sherd_device *dev, enum sherd_import_way way, struct sherd_region *r,
			 struct sherd_import_cost *cost, struct sherd_error *err)
{
	struct sherd_part parts[SAMPLE_PARTS];
	struct sherd_memory before, after;
	struct sherd_import im;
	size_t each = r->size / SAMPLE_PARTS / sherd_page_size() * sherd_page_size();
	int i, rc;

	for (i = 0; i < SAMPLE_PARTS; i++)
		parts[i] = (struct sherd_part){ .data = r->data + i * each, .size = each - 100 };
	sherd_memory_read(&before, NULL, 0);
	cost->import_s = -sherd_now();
	rc = sherd_import_try(&im, dev, r, parts, SAMPLE_PARTS, way, err);
	clFinish(dev->queue);
	cost->import_s += sherd_now();
	sherd_memory_read(&after, NULL, 0);
	cost->anon = after.anon > before.anon ? after.anon - before.anon : 0;
	if (!rc)
		rc = check_parts(dev, parts, SAMPLE_PARTS, err);
	sherd_import_close(&im);
	return rc;
}

/* Which takes no files. */
static bool is_udmabuf(const char *rung)
{
	return rung && !strcmp(rung, sherd_rung_name(SHERD_RUNG_UDMABUF));
}

int sherd_import_selftest(struct sherd_device *dev, const char *word, const char *rung, size_t bytes,
			  struct sherd_import_cost *cost, struct sherd_error *err)
{
	int way = sherd_import_find(word), rc;
	struct sherd_region *r = NULL;
	struct sherd_map map;

	if (way < 0)
		return sherd_fail(err, -EINVAL, "no way of importing is called \"%s\"", word);
	bytes = ROUND_UP(bytes ? bytes : SAMPLE_BYTES, SAMPLE_PARTS * sherd_page_size());
	rc = sherd_sample_open(&map, bytes, is_udmabuf(rung), err);
	cost->bytes = bytes;
	cost->hold_s = -sherd_now();
	if (!rc)
		rc = sherd_region_open(&r, &map, rung, err);
	cost->hold_s += sherd_now();
	if (!rc) {
		rc = import_sample(dev, (enum sherd_import_way)way, r, cost, err);
		rc = is_the_devices(rc) ? -EBADE : rc;
	}
	sherd_region_close(r);
	sherd_map_close(&map);
	return rc;
}

static int ask_child(const char *device, const char *word, const char *rung, struct sherd_error *err)
{
	const char *argv[] = { "--device", device, "--import", word, "--region", rung, NULL };

	return sherd_device_child(argv, TIME_LIMIT, err);
}

/* What the verdict hangs on: device and driver, the way, whose dma-bufs they are, and the kernel. */
static int verdict_key(struct sherd_device *dev, const char *word, const char *rung,
		       char key[SHERD_SHA256_HEX])
{
	char *module = NULL, *text;
	struct utsname u = { .release = "" };
	size_t n;

	uname(&u);
	sherd_read_file("/sys/module/sherd/srcversion", 256, &module, &n, NULL);
	text = sherd_asprintf("import 2 %s %s %s %s", word, rung, u.release, module ? module : "");
	free(module);
	if (!text)
		return -ENOMEM;
	sherd_device_key(dev, text, key);
	free(text);
	return 0;
}

static int fail_again(const char *device, const char *word, const char *rung, const char *verdict,
		      struct sherd_error *err)
{
	return sherd_fail(err, -EBADE,
			  "%.*s (at an earlier start; to look closer: sherd device-test --device \"%s\" "
			  "--import %s --region %s; a new kernel or driver is tried anew)",
			  (int)strcspn(verdict, "\n"), verdict, device, word, rung);
}

int sherd_import_prove(struct sherd_device *dev, const char *device, enum sherd_import_way way,
		       const struct sherd_region *region, struct sherd_error *err)
{
	const char *word = sherd_import_word(way), *rung = sherd_rung_name(region->rung);
	char key[SHERD_SHA256_HEX], *verdict, *failure;
	int rc;

	if (verdict_key(dev, word, rung, key))
		return sherd_fail_oom(err, 1, "a verdict");
	verdict = sherd_device_verdict_get(key);
	if (verdict) {
		rc = !strcmp(verdict, PASSED) ? 0 : fail_again(device, word, rung, verdict, err);
		free(verdict);
		return rc;
	}
	rc = ask_child(device, word, rung, err);
	if (!rc)
		sherd_device_verdict_put(key, PASSED, NULL);
	if (rc != -EBADE && rc != -ETIMEDOUT)
		return rc;
	failure = sherd_asprintf("%s\n", err ? err->msg : "it failed");
	if (failure)
		sherd_device_verdict_put(key, failure, NULL);
	free(failure);
	return rc;
}
