/* SPDX-License-Identifier: MIT */
/*
 * doctor: what the files of `sherd doctor` share: the report, a list of rows. doctor_try.c and
 * doctor_device.c try things out on the machine that it runs on; doctor_system.c, doctor_gpu.c and
 * doctor_clock.c only look at files, which may be a recorded system's (--system), through
 * doctor_files.c.
 */
#ifndef SHERD_TOOL_DOCTOR_H
#define SHERD_TOOL_DOCTOR_H

#include <sys/types.h>
#include "base/base.h"
#include "region/region.h"
#include "tool.h"

/* What a row says of its thing. */
enum finding {
	FINDING_FACT,	 /* neither good nor bad */
	FINDING_YES,	 /* it works */
	FINDING_NO,	 /* it does not, and something else does in its place */
	FINDING_ADVICE,	 /* it could be better; the row has a remedy */
	FINDING_PROBLEM, /* without it sherd computes on nothing but its plain C */
	N_FINDINGS,
};

struct row {
	const char *section;
	const char *of;	  /* what of: "weights", "ring"; NULL in most sections */
	char device[128]; /* whose; "" in most sections */
	char name[160];
	enum finding finding;
	char text[sizeof(((struct sherd_error *)0)->msg)];
	char remedy[384]; /* a command, or what to do; "" where there is nothing */
};

struct doctor {
	bool json, strict, quick;
	const char *model_name, *system;
	struct sherd_map model; /* with -m */
	struct row *rows;
	int n_rows;
	struct sherd_map sample, packed; /* a file where shards are kept; one that lies in memory */
	struct sherd_region *held, *held_packed; /* the samples, by the best rung */
	struct sherd_region *ring;		 /* by the best rung */
	int n_devices;				 /* OpenCL devices that can be used */
};

/* A row more; NULL: there is no memory, and a line less. */
struct row *doctor_add(struct doctor *d, const char *section, enum finding finding,
		       const char *name, const char *fmt, ...)
	__attribute__((format(printf, 5, 6)));
/* What helps; @r may be NULL. */
void doctor_remedy(struct row *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Whose row, and what of; @r may be NULL. */
void doctor_of(struct row *r, const char *device, const char *of);

/* TOOL_OK, or an exit code and its sentence. */
int doctor_try(struct doctor *d);
void doctor_try_end(struct doctor *d);
/* The OpenCL devices; the samples are held. */
void doctor_try_devices(struct doctor *d);
/* What files say: the machine, its OpenCL drivers, GPUs, io_uring, clocks. */
void doctor_look_at_system(struct doctor *d);
void doctor_look_at_gpus(struct doctor *d);
void doctor_look_at_clocks(struct doctor *d);
/* TOOL_OK or TOOL_FAILED, by what was found. */
int doctor_report(const struct doctor *d);

/* --- what doctor_look_at_gpus() is made of --- */

void doctor_look_at_nvidia(struct doctor *d);
/*
 * A row: may this user open @node? What helps where root alone may: @if_root; NULL: a udev rule. False:
 * no, or it is not there.
 */
bool doctor_look_at_access(struct doctor *d, const char *node, const char *if_root);
/*
 * A row: this kernel driver, and the OpenCL that goes with it. What helps where there is none: @remedy;
 * NULL: what the table of drivers has.
 */
void doctor_look_at_driver(struct doctor *d, const char *driver, const char *node,
			   const char *version, const char *remedy);
/* Is there such a row? */
bool doctor_knows_gpu(const struct doctor *d, const char *driver);

/* --- files of the system that is looked at (below sherd_root) --- */

/* The first line of a file, without blanks at its ends; false: there is none. */
bool system_line(const char *path, char *buf, size_t size);
/* "  3\n" */
bool system_number(const char *path, long long *n);
bool system_exists(const char *path);
/*
 * Calls @visit with each path that matches, without sherd_root before it, in order; returns how
 * many there are.
 */
typedef void (*system_visit_fn)(void *ctx, const char *path);
int system_each(const char *pattern, system_visit_fn visit, void *ctx);

/* VALUE of the first line NAME=VALUE of a file; false, and @buf as it was: there is none. */
bool system_value(const char *path, const char *name, char *buf, size_t size);
/*
 * A variable of the environment; a recorded system's are lines NAME=VALUE in its file env.txt. False:
 * there is none, or it is empty.
 */
bool system_env(const char *name, char *buf, size_t size);

/*
 * May this process's user open the device node @path for reading and writing? -ENOENT: there is
 * none; -EACCES: no, and *group is whose members may ("" where no group may). A recorded system's
 * nodes are lines "MODE UID GID PATH" in its file dev.txt.
 */
int system_node(const char *path, char group[64]);

#endif
