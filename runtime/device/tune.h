/* SPDX-License-Identifier: MIT */
/*
 * tune: what was measured of a device, as a file that people read, review and ship. A file is for
 * one device, or a family of them, and has a line for each shape class:
 *
 *	sherd-tune 1
 *	name     Mali-G52*
 *	shape    simt
 *	kernels  any
 *	use      int.4.32.0.0 decode 2048x2048 local=32 us=410.2 default_us=503.9 share=0.71
 *
 * Documentation/tuning.rst has the whole format. A file never changes a result's bits: what it
 * names is tested against the reference like everything else before it computes.
 */
#ifndef SHERD_TUNE_H
#define SHERD_TUNE_H

#include "device/device.h"
#include "device/variant.h"

/* How many rows a launch has: one token's, a few, a piece of a prompt. */
enum sherd_tune_class {
	SHERD_TUNE_DECODE,
	SHERD_TUNE_FEW, /* 2 to 8 */
	SHERD_TUNE_PROMPT,
	SHERD_TUNE_CLASSES,
};
enum sherd_tune_class sherd_tune_class_of(int n);
const char *sherd_tune_class_name(enum sherd_tune_class class);

#define SHERD_TUNE_SPEC 32
/* A line "use". */
struct sherd_tune_use {
	char spec[SHERD_TUNE_SPEC]; /* of programs; a pattern */
	int class;		    /* enum sherd_tune_class; -1: any */
	/* of matrices, heads, widths (infer/cl/cl_time.h), as sherd_tune_bucket() has them; 0: any */
	int rows, cols;
	struct sherd_variant variant;
	double us, default_us, share; /* of a launch, and of the roof; 0: not measured */
};

struct sherd_tune {
	char *path; /* where it came from; NULL: nowhere */
	/* the device: patterns, "" fits all */
	char name[256], vendor[128], driver[128];
	enum sherd_shape shape;
	char dot[16];			/* a path of dot4.h; "": the device's own */
	char kernels[SHERD_SHA256_HEX]; /* sherd_tune_kernels() when it was measured; "any" */
	char measured[64];		/* when and by what */
	char untested[128];		/* why nobody should rely on it; "": it was measured */
	double read, dot_rate; /* the roofs beside it, bytes/s and operations/s; 0: unknown */
	struct sherd_tune_use *uses;
	int n_uses;
};

void sherd_tune_free(struct sherd_tune *t);
/* -ENOMEM; the use is copied. */
int sherd_tune_add(struct sherd_tune *t, const struct sherd_tune_use *use, struct sherd_error *err);

/* @name: of the file, for messages. -EINVAL and the line that is wrong. */
int sherd_tune_parse(struct sherd_tune *t, const char *text, size_t len, const char *name,
		     struct sherd_error *err);
/* What sherd_tune_parse() reads; malloc'd, NULL: no memory. */
char *sherd_tune_print(const struct sherd_tune *t);
/* Writes it, whole or not at all. */
int sherd_tune_write(const struct sherd_tune *t, const char *path, struct sherd_error *err);

/* Made for the open device: its names, its shape, today. */
void sherd_tune_for(struct sherd_tune *t, const struct sherd_device *dev);
bool sherd_tune_fits(const struct sherd_tune *t, const struct sherd_device *dev);
/* The hash of all kernel sources. */
void sherd_tune_kernels(char hex[SHERD_SHA256_HEX]);
bool sherd_tune_is_stale(const struct sherd_tune *t);

/* Sizes are alike up to the next power of two. */
int sherd_tune_bucket(int n);
/*
 * What holds for matrices of this size (0, 0: for the largest) in a class: a line that names the
 * spec before a pattern, the nearest bucket, at most two powers away, before "*"; NULL: nothing.
 */
const struct sherd_tune_use *sherd_tune_find(const struct sherd_tune *t, const char *spec,
					     enum sherd_tune_class class, int rows, int cols);

/*
 * Finds the file for @dev. @which: "none"; a path; NULL: $SHERD_TUNE (one of both), or the first
 * file that fits in the user's folder, in /etc/sherd/tune.d, in what sherd ships. There need be
 * none. A stale, foreign or broken file is said and passed over; one that was asked for and can't
 * be read fails.
 */
int sherd_tune_search(struct sherd_tune *t, const char *which, const struct sherd_device *dev,
		      sherd_note_fn note, void *ctx, struct sherd_error *err);
/* Whether the file that was asked for, if any, can be read: before a device is asked for. */
int sherd_tune_check(const char *which, struct sherd_error *err);
/* ~/.config/sherd/tune, malloc'd; NULL: there is none. */
char *sherd_tune_user_dir(void);
/* "FILE, 7 lines, of 2026-11-29"; "" for none. */
void sherd_tune_describe(const struct sherd_tune *t, char *text, size_t size);

/* --- choosing --- */

/* A variant beside the default, both timed in turns. */
struct sherd_tune_time {
	double seconds, default_seconds; /* medians */
	double noise;			 /* of their quotient, relative */
};
#define SHERD_TUNE_LEAST 0.03 /* a gain below is none, however sure */
/* How many times as fast: 1 for what is not faster beyond noise, and for nonsense. */
double sherd_tune_gain(const struct sherd_tune_time *t);
/* The best of @n; -1: none beats the default. */
int sherd_tune_choose(const struct sherd_tune_time *t, int n);

#endif
