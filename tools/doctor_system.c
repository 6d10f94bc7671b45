/* SPDX-License-Identifier: MIT */
/*
 * doctor_system: what files say of the machine itself - board, kernel, CPU, container - of the
 * OpenCL drivers that are registered, and of who may use io_uring.
 */
#include <stdlib.h>
#include "device/device.h"
#include "doctor.h"

#define VENDORS "/etc/OpenCL/vendors"

/* ------------------------------------------------------------- the machine */

/* The first of /proc/cpuinfo's lines that begins with @key, behind its colon. */
static bool cpuinfo(const char *key, char *value, size_t size)
{
	char *path = sherd_asprintf("%s/proc/cpuinfo", sherd_root), *line = NULL;
	FILE *f = path ? fopen(path, "re") : NULL;
	bool found = false;
	size_t room = 0, n = strlen(key);

	while (f && !found && getline(&line, &room, f) > 0) {
		char *colon = strchr(line, ':');

		found = colon && !strncmp(line, key, n) &&
			strspn(line + n, " \t") == (size_t)(colon - line) - n;
		if (!found)
			continue;
		colon += 1 + strspn(colon + 1, " \t");
		found = *colon && *colon != '\n';
		if (found)
			snprintf(value, size, "%.*s", (int)strcspn(colon, "\n"), colon);
	}
	if (f)
		fclose(f);
	free(line);
	free(path);
	return found;
}

static bool has_word(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = words; (p = strstr(p, word)); p += n)
		if ((p == words || p[-1] == ' ') && (!p[n] || p[n] == ' '))
			return true;
	return false;
}

/* What int8 matrices are multiplied with, on the CPU. */
static void look_at_cpu(struct doctor *d)
{
	static const struct {
		const char *flag, *what;
	} dots[] = {
		{ "amx_int8", "AMX tiles" },	   { "avx512_vnni", "AVX-512 VNNI" },
		{ "avx_vnni", "AVX VNNI" },	   { "i8mm", "Arm int8 matrices" },
		{ "asimddp", "Arm dot products" },
	};
	char model[128] = "a CPU", flags[4096] = "";
	const char *what = "without int8 dot products: prompts take several times as long";
	bool has = false;

	if (!cpuinfo("model name", model, sizeof(model)) &&
	    !cpuinfo("Hardware", model, sizeof(model)))
		cpuinfo("CPU part", model, sizeof(model));
	if (!cpuinfo("flags", flags, sizeof(flags)))
		cpuinfo("Features", flags, sizeof(flags));
	for (size_t i = 0; i < ARRAY_SIZE(dots) && !has; i++) {
		has = has_word(flags, dots[i].flag);
		if (has)
			what = dots[i].what;
	}
	doctor_add(d, "machine", FINDING_FACT, "CPU", "%s, %s", model, what);
}

static void look_at_machine(struct doctor *d)
{
	char line[160], release[96];

	if (system_line("/proc/device-tree/model", line, sizeof(line)) ||
	    system_line("/sys/firmware/devicetree/base/model", line, sizeof(line)) ||
	    system_line("/sys/class/dmi/id/product_name", line, sizeof(line)))
		doctor_add(d, "machine", FINDING_FACT, "board", "%s", line);
	if (system_line("/proc/sys/kernel/osrelease", release, sizeof(release)))
		doctor_add(d, "machine", FINDING_FACT, "kernel", "Linux %s", release);
	look_at_cpu(d);
	if (system_exists("/.dockerenv") || system_exists("/run/.containerenv"))
		doctor_add(d, "machine", FINDING_FACT, "container",
			   "this runs in one: devices, limits and io_uring are what it was "
			   "started with");
}

/* ----------------------------------------------------------------- drivers */

struct icds {
	struct doctor *d;
	int n;
};

/* Where the dynamic linker looks, without its cache: enough to say that a file is nowhere. */
static bool library_exists(const char *name)
{
	static const char *const folders[] = {
		"/usr/lib/",
		"/lib/",
		"/usr/lib64/",
		"/usr/local/lib/",
		"/usr/lib/*-linux-gnu*/",
		"/usr/lib/*-linux-gnu*/*/",
		"/lib/*-linux-gnu*/",
		"/opt/*/lib/",
		"/vendor/lib64/",
		"/usr/lib/*/tegra/",
	};
	char pattern[512];

	if (strchr(name, '/'))
		return system_exists(name);
	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(pattern, sizeof(pattern), "%s%s", folders[i], name);
		if (system_each(pattern, NULL, NULL))
			return true;
	}
	return false;
}

static void look_at_icd(void *ctx, const char *path)
{
	struct icds *icds = ctx;
	char library[256];
	const char *name = strrchr(path, '/') + 1;

	icds->n++;
	if (!system_line(path, library, sizeof(library))) {
		doctor_remedy(doctor_add(icds->d, "drivers", FINDING_ADVICE, name,
					 "is empty, or can't be read"),
			      "install its package anew, or delete %s", path);
		return;
	}
	if (library_exists(library)) {
		doctor_add(icds->d, "drivers", FINDING_YES, name, "names %s", library);
		return;
	}
	doctor_remedy(doctor_add(icds->d, "drivers", FINDING_ADVICE, name,
				 "names %s, which is not there", library),
		      "install the package that has %s (apt-file search %s), or delete %s", library,
		      library, path);
}

static void look_at_icds(struct doctor *d)
{
	struct icds icds = { .d = d };
	const char *other = sherd_root[0] ? NULL : sherd_icd_vendors();

	if (other && *other)
		doctor_add(d, "drivers", FINDING_FACT, "OCL_ICD_VENDORS",
			   "is %s, so %s is not what counts", other, VENDORS);
	system_each(VENDORS "/*.icd", look_at_icd, &icds);
	if (!icds.n)
		doctor_remedy(doctor_add(d, "drivers",
					 sherd_root[0] ? FINDING_PROBLEM : FINDING_ADVICE, "none",
					 "no driver is registered there"),
			      "sudo apt-get install pocl-opencl-icd, which runs on any CPU; a GPU "
			      "wants its own beside it");
}

/* ---------------------------------------------------------------- io_uring */

/* Whether it works is tried elsewhere; why it may not is in these files. */
static void look_at_io_uring(struct doctor *d)
{
	uint64_t seccomp = 0;
	long long off = 0;
	char line[64];
	int major, minor;

	if (system_line("/proc/sys/kernel/osrelease", line, sizeof(line)) &&
	    sscanf(line, "%d.%d", &major, &minor) == 2 && (major < 5 || (major == 5 && minor < 1)))
		doctor_add(d, "network", FINDING_NO, "io_uring kernel",
			   "Linux %d.%d is older than io_uring: epoll is taken", major, minor);
	if (system_number("/proc/sys/kernel/io_uring_disabled", &off) && off)
		doctor_remedy(doctor_add(d, "network", FINDING_ADVICE, "io_uring_disabled",
					 "is %lld: %s", off,
					 off == 1 ? "only a group, or root, may use io_uring" :
						    "nobody may use io_uring"),
			      "sudo sysctl kernel.io_uring_disabled=0");
	if (sherd_proc_value("/proc/self/status", "Seccomp", &seccomp) && seccomp == 2)
		doctor_add(d, "network", FINDING_FACT, "seccomp",
			   "a filter is in force; Docker's and containerd's refuse io_uring "
			   "(docker run --security-opt seccomp=profile.json; "
			   "Documentation/troubleshooting.rst)");
}

void doctor_look_at_system(struct doctor *d)
{
	look_at_machine(d);
	look_at_icds(d);
	look_at_io_uring(d);
}
