/* SPDX-License-Identifier: MIT */
/*
 * device: OpenCL devices - which are there, which one to take and why, programs built from the
 * embedded kernel sources and kept in the user's cache, and a child process that tries a device out
 * before this process trusts its driver. Knows nothing about models.
 *
 *	struct sherd_device *dev;
 *	const char *sources[] = { "norm.cl", "matmul.cl" };
 *
 *	if (sherd_device_open(&dev, NULL, 0, NULL, &err))
 *		...
 *	if (sherd_device_build(dev, "-DGROUP=32", sources, 2, &program, &err))
 *		...
 *	clReleaseProgram(program);
 *	sherd_device_close(dev);
 */
#ifndef SHERD_DEVICE_H
#define SHERD_DEVICE_H

#ifndef CL_TARGET_OPENCL_VERSION
#define CL_TARGET_OPENCL_VERSION 120
#endif
#include <CL/cl.h>
#include "base/base.h"

/* How kernels are cut: one work-item a 16-row block, or one a row. */
enum sherd_shape { SHERD_SHAPE_WIDE, SHERD_SHAPE_SIMT };

struct sherd_device_info {
	char name[128], vendor[64], version[128], driver[64], platform[64];
	char *extensions; /* space separated; the info's owner frees it */
	bool is_cpu, is_gpu, host_unified;
	bool is_pocl; /* compiles a kernel for each local size, when it is first enqueued */
	bool usable; /* little endian, available, and with a compiler */
	int compute_units, clock_mhz;
	size_t global_mem, max_alloc, max_wg;
	char why[256]; /* why it was chosen; for a list: why it can't be, or "" */
};

struct sherd_device {
	cl_platform_id platform;
	cl_device_id id;
	cl_context context;
	cl_command_queue queue; /* in order */
	struct sherd_device_info info;
	enum sherd_shape shape;
	const char *dot; /* the path of dot4.h: "vnni512", "plain", ... */
	bool profiling;	 /* the queue's events carry times */
	bool is_sub;	 /* @id is a part of a CPU device, released with it */
};

/*
 * All devices of all platforms, in a stable order: the numbers that sherd_device_open() takes.
 * -ENODEV, and what to install, where there is none. Free with sherd_device_list_free().
 */
int sherd_device_list(struct sherd_device_info **list, int *n, struct sherd_error *err);
/* The same, but that the first such call of a process fixes PoCL's threads: as sherd_device_open(). */
int sherd_device_list_for(struct sherd_device_info **list, int *n, int n_threads,
			  struct sherd_error *err);
void sherd_device_list_free(struct sherd_device_info *list, int n);

/*
 * Drivers that crash or hang when they are loaded are left out (icd.c): a line for each, or NULL.
 * sherd_icd_forget(): they get another chance. sherd_icd_try() gives them one in this process,
 * those of the folder @vendors if there is one, and says beforehand what it does.
 */
const char *sherd_icd_skipped(void);
const char *sherd_icd_vendors(void); /* the user's OCL_ICD_VENDORS, or NULL */
void sherd_icd_forget(void);
void sherd_icd_try(const char *vendors, void (*say)(const char *what));

/*
 * @which: NULL or "auto" (a GPU with a compiler before a CPU), "cpu", "gpu", a number of the
 * list, or part of a name. @n_threads: of a CPU device; 0: sherd_device_host_cpus().
 * @dot: NULL, or the name of a dot4.h path to force; one that the device can't run is refused.
 */
int sherd_device_open(struct sherd_device **dev, const char *which, int n_threads, const char *dot,
		      struct sherd_error *err);
void sherd_device_close(struct sherd_device *dev);
/* Replaces the queue (waits for it first) by one whose events do, or don't, carry times. */
int sherd_device_set_profiling(struct sherd_device *dev, bool on, struct sherd_error *err);

/* True if @extension is in the list, as a whole word. */
bool sherd_device_has(const struct sherd_device_info *info, const char *extension);
/*
 * CPUs that this process may use: those of its affinity mask, but no more than its control groups'
 * quota pays for, rounded up.
 */
int sherd_device_host_cpus(void);

/*
 * The paths of dot4.h, best first: name, and whether this device can run it. sherd_dot_choose()
 * takes the first that can, or @force; NULL and a sentence where @force is unknown or can't.
 */
const char *sherd_dot_choose(const struct sherd_device_info *info, const char *force,
			     struct sherd_error *err);
const char *sherd_dot_name(int i); /* NULL: no more */
bool sherd_dot_can_run(const struct sherd_device_info *info, const char *name);
/* "-DSHERD_DOT_VNNI512=1" */
const char *sherd_dot_option(const char *name);

/*
 * A program from embedded sources (kernels.h), one after the other, #include "x.h" expanded from
 * the embedded set, each file once. @options come after the common ones: -cl-std, the shape
 * (SHERD_SHAPE_WIDE or SHERD_SHAPE_SIMT) and the dot path. Taken from the cache where it is
 * there.
 */
int sherd_device_build(struct sherd_device *dev, const char *options, const char *const *sources,
		       int n_sources, cl_program *program, struct sherd_error *err);
/*
 * Keeps @program, made by sherd_device_build() from the same arguments, for the next build, if the
 * driver takes the binary back. On PoCL the kernels should have been enqueued first, each with the
 * local sizes that will be used. A program from a kept binary never wakes the compiler (whose
 * memory stays).
 */
int sherd_device_keep(struct sherd_device *dev, const char *options, const char *const *sources,
		      int n_sources, cl_program program, struct sherd_error *err);
/*
 * 0; 1: a process did not survive having the driver take one of this device's binaries, which are
 * used no more, but new ones may do; 2: none do.
 */
int sherd_device_stumbles(const struct sherd_device *dev);
/* The text that the build compiles, malloc'd: for offline compilers and for hashing. */
char *sherd_device_source(const char *const *sources, int n_sources, struct sherd_error *err);
/*
 * Hash of @text and of what else decides a binary: device, driver, shape, dot path, sherd's
 * version.
 */
void sherd_device_key(const struct sherd_device *dev, const char *text, char hex[SHERD_SHA256_HEX]);

/* Small texts under a key in <cache>/device/: what was found out about a device. */
char *sherd_device_verdict_get(const char *key); /* malloc'd; NULL: none */
int sherd_device_verdict_put(const char *key, const char *text, struct sherd_error *err);
char *sherd_device_verdict_path(const char *key); /* the file, malloc'd; NULL: there is no cache */

/*
 * Forgets what was found out and does not speak for a device: what failed, which of several was the
 * fastest, and that binaries are not to be touched. *n: of how many things. What passed stays.
 * sherd_device_each_failure() has a sentence for what a device is not used for.
 */
int sherd_device_forget(int *n, struct sherd_error *err);
void sherd_device_each_failure(sherd_note_fn visit, void *ctx);
#define SHERD_FORGET "sherd devices --forget" /* the command that does it */
/*
 * What is kept of a test that passed; how a line begins that says what failed, and why. The next
 * line may say of what: "of Mali-G52 (driver 2.1), int.4.32.0.0".
 */
#define SHERD_PASSED "passed\n"
#define SHERD_FAILED "failed: "
static inline bool sherd_verdict_passed(const char *text)
{
	return text && !strcmp(text, SHERD_PASSED);
}

/* A time limit of @seconds, unless SHERD_DEVICE_TIMEOUT says another one for all: for those below. */
double sherd_device_patience(double seconds);
/*
 * Runs `sherd device-test <argv_tail ...>` (NULL ends the list) in a child and waits
 * @timeout_s seconds at most. 0: it exited with 0. -ENOENT: there is no sherd
 * command to be found. -EBADE: the device fails its test (the exit code below, or a crash),
 * -ETIMEDOUT: it hangs; both will be so next time. -EIO: the test could not be done, or somebody
 * has ended it. Each with one sentence.
 */
#define SHERD_DEVICE_TEST_FAILS 3 /* exit code */
int sherd_device_child(const char *const *argv_tail, double timeout_s, struct sherd_error *err);
/*
 * The same; *text: what it printed on stdout, malloc'd. As soon as the descriptor @stop (-1: none)
 * has something to read, the child is ended: -ECANCELED.
 */
int sherd_device_child_text(const char *const *argv_tail, double timeout_s, int stop, char **text,
			    struct sherd_error *err);

/* CL_OUT_OF_RESOURCES as "CL_OUT_OF_RESOURCES", and as an errno. */
const char *sherd_cl_error_name(cl_int code);
int sherd_cl_errno(cl_int code);
/* sherd_fail() with the OpenCL error's name at the end. */
int sherd_fail_cl(struct sherd_error *err, cl_int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
