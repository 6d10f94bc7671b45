/* SPDX-License-Identifier: MIT */
/*
 * import_prove: drivers crash and hang on memory that they import, as they do when they compile. So each
 * way of importing is tried in a child process first, with windows of the rung at hand, and what came of
 * it is remembered with the device.
 */
#include <stdio.h>
#include <stdlib.h>
#include "device/import.h"
#include "device/memory.h"

#define TIME_LIMIT   60.0
#define SAMPLE_BYTES ((size_t)4 << 20)
#define SAMPLE_PARTS 4
#define PASSED	     "passed\n"

/* The device copies a part into a buffer of its own, which is then read: its view, whoever reads imports. */
static int check_copy(struct sherd_device *dev, const struct sherd_part *p, struct sherd_error *err)
{
	uint8_t *seen = malloc(p->size);
	cl_mem copy = NULL;
	cl_int code;
	int rc = 0;

	if (!seen)
		return sherd_fail_oom(err, p->size, "a sample");
	copy = clCreateBuffer(dev->context, CL_MEM_READ_WRITE, p->size, NULL, &code);
	if (!code)
		code = clEnqueueCopyBuffer(dev->queue, p->mem, copy, 0, 0, p->size, 0, NULL, NULL);
	if (!code)
		code = clEnqueueReadBuffer(dev->queue, copy, CL_TRUE, 0, p->size, seen, 0, NULL, NULL);
	if (code)
		rc = sherd_fail_cl(err, code, "%s can't copy what it imported", dev->info.name);
	else if (memcmp(seen, p->data, p->size))
		rc = sherd_fail(err, -EBADE, "%s sees other bytes than it imported", dev->info.name);
	if (copy)
		clReleaseMemObject(copy);
	free(seen);
	return rc;
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
	for (i = 0; i < SAMPLE_PARTS && !rc; i++)
		rc = check_copy(dev, &parts[i], err);
	sherd_import_close(&im);
	return rc;
}

int sherd_import_selftest(struct sherd_device *dev, const char *word, const char *rung, size_t bytes,
			  struct sherd_import_cost *cost, struct sherd_error *err)
{
	int way = sherd_import_find(word), rc;
	struct sherd_region *r = NULL;
	struct sherd_map map;

	if (way < 0)
		return sherd_fail(err, -EINVAL, "no way of importing is called \"%s\"", word);
	bytes = MAX(bytes, SAMPLE_BYTES);
	rc = sherd_sample_open(&map, bytes, err);
	cost->bytes = bytes;
	cost->hold_s = -sherd_now();
	if (!rc)
		rc = sherd_region_open(&r, &map, rung, err);
	cost->hold_s += sherd_now();
	if (!rc) {
		rc = import_sample(dev, (enum sherd_import_way)way, r, cost, err);
		rc = rc ? -EBADE : 0;
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

/* What the verdict hangs on: device and driver, the way, and whose dma-bufs they are. */
static int verdict_key(struct sherd_device *dev, const char *word, const char *rung,
		       char key[SHERD_SHA256_HEX])
{
	char *text = sherd_asprintf("import 1 %s %s", word, rung);

	if (!text)
		return -ENOMEM;
	sherd_device_key(dev, text, key);
	free(text);
	return 0;
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
		rc = !strcmp(verdict, PASSED) ? 0 : sherd_fail(err, -EBADE, "%.*s (at an earlier start)",
							       (int)strcspn(verdict, "\n"), verdict);
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
