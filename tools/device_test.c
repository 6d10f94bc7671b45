/* SPDX-License-Identifier: MIT */
/*
 * device-test: tries out a device, in a process that may crash or hang: runtime/device/child.c
 * starts it and reads its exit code and its last word. It compiles every kernel, compares it with
 * the C reference bit for bit, and leaves the binaries in the cache. With --limits it measures
 * the device's roofs instead, for `sherd bench`; with --profile a model's layers, for a node that
 * is asked what it can do.
 */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>
#include "device/import.h"
#include "device/limits.h"
#include "device/memory.h"
#include "infer/cl/cl_time.h"
#include "profile.h"
#include "tool.h"

struct device_test {
	const char *device, *programs, *import, *region, *profile, *shards, *time, *sizes;
	uint64_t seed, bytes;
	int n_threads;
	float dilate, seconds;
	bool limits, ring, platforms;
	const char *vendors;
};

static void say(const char *what)
{
	fprintf(stderr, "%s\n", what);
}

/* What is said last is what a crash or a hang happened at. */
static int platforms(const struct device_test *t)
{
	sherd_icd_try(t->vendors, say);
	puts("the drivers can be loaded");
	return TOOL_OK;
}

static int selftest(const struct device_test *t)
{
	struct sherd_error err;
	int rc = sherd_cl_selftest(t->device, t->n_threads, t->programs, t->seed, &err);

	if (rc) {
		tool_fail(&tool_device_test, &err);
		return rc == -EBADE ? SHERD_DEVICE_TEST_FAILS : TOOL_FAILED;
	}
	puts("the kernels give the reference's bits");
	return TOOL_OK;
}

static int import(const struct device_test *t)
{
	const struct sherd_import_trial trial = { .way = t->import,
						  .rung = t->region,
						  .ring = t->ring,
						  .bytes = (size_t)t->bytes };
	struct sherd_import_cost cost;
	struct sherd_error err;
	struct sherd_cl cl;
	int rc = sherd_cl_open(&cl, t->device, t->n_threads, &err);

	if (rc)
		return tool_fail(&tool_device_test, &err);
	rc = sherd_import_selftest(cl.dev, &trial, &cost, &err);
	sherd_cl_close(&cl);
	if (rc) {
		tool_fail(&tool_device_test, &err);
		return rc == -EBADE ? SHERD_DEVICE_TEST_FAILS : TOOL_FAILED;
	}
	printf("the device %s: %s held in %.1f ms, imported in %.1f ms, %s of its own\n",
	       t->ring ? "sees what it imported, and writes to it" : "sees what it imported",
	       tool_bytes(cost.bytes), 1e3 * cost.hold_s, 1e3 * cost.import_s,
	       tool_bytes(cost.anon));
	return TOOL_OK;
}

/* "key value" lines; what an OpenCL process takes before it does anything comes last. */
static int limits(const struct device_test *t)
{
	struct sherd_limits l;
	struct sherd_memory empty;
	struct sherd_cl cl;
	struct sherd_error err;
	char text[1024];
	int ret;

	if (sherd_cl_open(&cl, t->device, t->n_threads, &err))
		return tool_fail(&tool_device_test, &err);
	sherd_memory_read(&empty, NULL, 0);
	ret = sherd_limits_measure(cl.dev, &l, &err);
	if (!ret && !sherd_limits_print(&l, text, sizeof(text)))
		printf("%sempty_pss %llu\ndot_path %s\ndevice %s\n", text,
		       (unsigned long long)empty.pss, cl.dev->dot, cl.dev->info.name);
	sherd_cl_close(&cl);
	return ret ? tool_fail(&tool_device_test, &err) : TOOL_OK;
}

/* JSON, as sherd plan --measure writes it. */
static int profile(const struct device_test *t)
{
	struct sherd_model_params params = SHERD_MODEL_PARAMS_INIT;
	struct sherd_profile *profile;
	struct sherd_error err;
	struct probe probe;
	json_t *j;
	int rc = probe_parse(&probe, t->profile, &err);

	if (rc)
		return tool_fail(&tool_device_test, &err);
	params.device = t->device;
	params.n_threads = t->n_threads;
	params.region = t->region;
	rc = profile_measure_probe(&profile, &probe, t->shards, &params, t->dilate, &err);
	sherd_sizes_free(probe.sizes);
	if (rc)
		return tool_fail(&tool_device_test, &err);
	j = sherd_profile_to_json(profile);
	rc = !j || json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
	json_decref(j);
	sherd_profile_free(profile);
	return rc ? TOOL_FAILED : TOOL_OK;
}

/* A line of seconds a size, for `sherd tune` and the first use of several devices. */
static int time_program(const struct device_test *t)
{
	struct sherd_time_job j = { .device = t->device, .n_threads = t->n_threads,
				    .spec = t->time, .seconds = t->seconds };
	struct sherd_timing timing;
	struct sherd_error err;
	char text[4096];
	int rc = sherd_time_parse_sizes(&j, t->sizes, &err);

	if (!rc)
		rc = sherd_time_here(&timing, &j, &err);
	if (rc) {
		tool_fail(&tool_device_test, &err);
		return rc == -EBADE ? SHERD_DEVICE_TEST_FAILS : TOOL_FAILED;
	}
	if (!sherd_timing_print(&timing, j.n_sizes, text, sizeof(text)))
		fputs(text, stdout);
	return TOOL_OK;
}

static int main_device_test(int argc, char **argv)
{
	struct device_test t = { .seed = 1, .seconds = 1 };
	const struct opt opts[] = {
		{ 't', "threads", OPT_INT, &t.n_threads, 1, 1024, "N", "threads of a CPU device" },
		{ 0, "device", OPT_STR, &t.device, 0, 0, "NAME",
		  "auto, cpu, gpu, a number or part of a device's name; \"/PATH\" behind it forces "
		  "a path of "
		  "dot4.h: amx, vnni512, sdot, arm, khr, ptx, plain" },
		{ 0, "programs", OPT_STR, &t.programs, 0, 0, "SPEC,...",
		  "kernels to test, for example int.4.32.0.0 (default: the usual ones)" },
		{ 's', "seed", OPT_U64, &t.seed, 0, 0, "SEED",
		  "of the random inputs (default: 1)" },
		{ 0, "limits", OPT_FLAG, &t.limits, 0, 0, NULL,
		  "measure what the device can do, print \"key value\" lines" },
		{ 0, "time", OPT_STR, &t.time, 0, 0, "SPEC",
		  "time a program that multiplies; with a variant (int.4.32.0.0:tile=2x4) in turns "
		  "with the default" },
		{ 0, "sizes", OPT_STR, &t.sizes, 0, 0, "ROWSxCOLSxN,...",
		  "matrices and numbers of tokens that are timed" },
		{ 0, "seconds", OPT_FLOAT, &t.seconds, 0.01, 3600, "S",
		  "how long that takes, about (default: 1)" },
		{ 0, "import", OPT_STR, &t.import, 0, 0, "WAY",
		  "have it import a sample: in-place, khr, arm-dma-buf, arm-host or copy" },
		{ 0, "region", OPT_STR, &t.region, 0, 0, "NAME",
		  "what holds the sample: auto, sherd, udmabuf, locked or plain" },
		{ 0, "profile", OPT_STR, &t.profile, 0, 0, "JSON",
		  "measure layers as a node is asked to, print their times" },
		{ 0, "shards", OPT_STR, &t.shards, 0, 0, "DIR", "where these layers are" },
		{ 0, "dilate", OPT_FLOAT, &t.dilate, 1, 1000, "K", "as sherd node has it" },
		{ 0, "bytes", OPT_U64, &t.bytes, 0, 0, "N",
		  "how large the sample is (default: 256 KiB)" },
		{ 0, "platforms", OPT_FLAG, &t.platforms, 0, 0, NULL,
		  "load the OpenCL drivers, and no more" },
		{ 0, "vendors", OPT_STR, &t.vendors, 0, 0, "DIR", "those of this folder alone" },
		{ 0, "ring", OPT_FLAG, &t.ring, 0, 0, NULL,
		  "the sample is a ring, whose slots the device writes, too" },
		{ 0 }
	};
	int ret = opt_parse(&tool_device_test, opts, &argc, argv);
	struct pollfd tell = { .fd = STDERR_FILENO }; /* a pipe to who reads it */

	if (ret)
		return ret > 0 ? TOOL_OK : TOOL_USAGE;
	if (argc)
		return tool_usage(&tool_device_test, "'%s' is one argument too many", argv[0]);
	/* Nobody waits for the result of a parent that died, or had died before this line. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (poll(&tell, 1, 0) > 0 && tell.revents & POLLERR)
		return TOOL_FAILED;
	if (t.profile && !t.shards)
		return tool_usage(&tool_device_test, "--shards DIR says where the layers are");
	if (t.time && !t.sizes)
		return tool_usage(&tool_device_test, "--sizes says what is to be timed");
	ret = t.platforms ? platforms(&t) :
	      t.limits	  ? limits(&t) :
	      t.time	  ? time_program(&t) :
	      t.import	  ? import(&t) :
	      t.profile	  ? profile(&t) :
			    selftest(&t);
	return tool_flush(&tool_device_test) ? ret : TOOL_FAILED;
}

const struct tool tool_device_test = {
	.name = "device-test",
	.synopsis = "[--device NAME] [--limits]",
	.summary = "try out a device in a process of its own",
	.about = "Compiles every kernel for a device and compares it with the C reference, bit for "
		 "bit.\n"
		 "`sherd run` does this by itself the first time it uses a device; this command is "
		 "for "
		 "looking at a device that fails.",
	.main = main_device_test,
};
