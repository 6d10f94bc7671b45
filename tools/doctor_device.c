/* SPDX-License-Identifier: MIT */
/*
 * doctor_device: tries each OpenCL device. Its kernels are compiled and compared with the reference, in
 * a child with a time limit, as `run` has it done at first use, and for the same cache: a device that
 * passes here computes there. Then how it reads weights, and shares a ring.
 */
#include <stdlib.h>
#include <unistd.h>
#include "device/import.h"
#include "infer/cl/cl.h"
#include "doctor.h"

#define MAX_EARLIER 8

/* ----------------------------------------------------------------- kernels */

/* -EBADE, -ETIMEDOUT, ...: by this path of dot4.h it does not compute. */
static int test_path(struct doctor *d, const struct sherd_device *dev, const char *number,
		     const char *dot, double share)
{
	char device[64], took[32] = "";
	const char *argv[] = { "--device", device, NULL };
	double start = sherd_now();
	struct sherd_error err;
	int rc;

	snprintf(device, sizeof(device), "%s/%s/%s", number, dot,
		 dev->shape == SHERD_SHAPE_WIDE ? "wide" : "simt");
	rc = sherd_device_child(argv, share * sherd_device_patience(SHERD_CL_TIME_LIMIT), &err);
	if (sherd_now() - start >= 1)
		snprintf(took, sizeof(took), ", in %.0f s", sherd_now() - start);
	if (!rc)
		doctor_add(d, "opencl", FINDING_YES, dot, "the kernels give the reference's bits%s",
			   took);
	else
		doctor_remedy(doctor_add(d, "opencl", FINDING_NO, dot, "%s", err.msg),
			      "an update of its driver may help, and sherd run does without it; to "
			      "look closer: sherd device-test --device %s",
			      device);
	return rc;
}

/* A path that fails gives way to plain code, as it does in `run`. */
static bool test_kernels(struct doctor *d, const struct sherd_device *dev, const char *number)
{
	char note[sizeof(dev->info.name) + 80];
	int first = d->n_rows, rc;

	if (isatty(STDERR_FILENO)) {
		snprintf(note, sizeof(note), "testing the kernels on %s, which takes long once",
			 dev->info.name);
		tool_note(NULL, note);
	}
	rc = test_path(d, dev, number, dev->dot, 1);
	if ((rc == -EBADE || rc == -ETIMEDOUT) && strcmp(dev->dot, "plain"))
		rc = test_path(d, dev, number, "plain",
			       rc == -ETIMEDOUT ? SHERD_CL_SECOND_CHANCE : 1);
	for (int i = first; i < d->n_rows; i++)
		doctor_of(&d->rows[i], dev->info.name, "kernels");
	return !rc;
}

/* ------------------------------------------------------------------ memory */

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
		doctor_add(d, "opencl", FINDING_NO, sherd_import_name((enum sherd_import_way)i),
			   "%s", im.refused[i].msg);
	if (works) {
		caveat = sherd_import_caveat(&im);
		doctor_add(d, "opencl", FINDING_YES, sherd_import_name(im.way), "%s takes this%s%s",
			   dev->info.name, caveat ? "; " : "", caveat ? caveat : "");
	}
	for (i = first; i < d->n_rows; i++)
		doctor_of(&d->rows[i], dev->info.name, of);
	sherd_import_close(&im);
}

/* False: it does not compute. */
static bool try_device(struct doctor *d, struct sherd_device *dev, const char *number)
{
	doctor_of(doctor_add(d, "opencl", FINDING_FACT, "driver", "%s, %s, %s", dev->info.platform,
			     dev->info.version, dev->info.driver),
		  dev->info.name, "kernels");
	if (!d->quick && !test_kernels(d, dev, number))
		return false;
	try_import(d, dev, number, "weights", d->held, d->sample.size);
	if (d->held_packed)
		try_import(d, dev, number, "weights packed into memory", d->held_packed,
			   d->packed.size);
	if (d->ring)
		try_import(d, dev, number, "ring", d->ring, d->ring->slot_size);
	return true;
}

/* ----------------------------------------------------------------- devices */

/* A driver that is left out, with the reason. */
static void add_skipped(void *ctx, const char *sentence)
{
	doctor_remedy(doctor_add(ctx, "opencl", FINDING_PROBLEM, "driver", "%s", sentence),
		      "update it, or remove its .icd file");
}

struct earlier {
	struct doctor *d;
	int n;
};

/* Why `run` may not use a device, though it has passed here. */
static void add_earlier(void *ctx, const char *sentence)
{
	struct earlier *e = ctx;
	struct row *r;

	if (e->n++ >= MAX_EARLIER)
		return;
	r = doctor_add(e->d, "opencl", FINDING_NO, "earlier", "%s", sentence);
	doctor_remedy(r, SHERD_FORGET ", and it is tried again");
}

void doctor_try_devices(struct doctor *d)
{
	struct earlier earlier = { .d = d };
	struct sherd_device_info *list;
	struct sherd_device *dev;
	struct sherd_error err;
	char number[16];
	int n;

	sherd_icd_forget(); /* drivers that failed get another chance */
	if (sherd_device_list(&list, &n, &err)) {
		doctor_remedy(doctor_add(d, "opencl", FINDING_PROBLEM, "OpenCL", "%s", err.msg),
			      "sudo apt-get install pocl-opencl-icd (until then: --device "
			      "reference, slowly)");
		return;
	}
	sherd_each_line(sherd_icd_skipped(), add_skipped, d);
	for (int i = 0; i < n; i++) {
		snprintf(number, sizeof(number), "%d", i);
		if (sherd_device_open(&dev, number, 0, NULL, &err)) {
			doctor_add(d, "opencl", FINDING_NO, list[i].name, "%s", err.msg);
			continue;
		}
		d->n_devices += try_device(d, dev, number);
		sherd_device_close(dev);
	}
	if (!d->n_devices)
		doctor_remedy(doctor_add(d, "opencl", FINDING_PROBLEM, "OpenCL",
					 "no device can compute"),
			      "sudo apt-get install pocl-opencl-icd, which runs on any CPU");
	sherd_device_each_failure(add_earlier, &earlier);
	sherd_device_list_free(list, n);
}
