/* SPDX-License-Identifier: MIT */
/*
 * doctor_nvidia: NVIDIA's own driver, which is a kernel module and libraries of the same version, and
 * nodes of its own: OpenCL finds no device if one of them is missing or does not fit. From its
 * documentation; not yet run on hardware.
 */
#include <ctype.h>
#include <stdlib.h>
#include "doctor.h"

/* "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May ...": 535.183.01. */
static bool read_version(char *version, size_t size)
{
	char line[256], *word, *save = NULL;

	if (!system_line("/proc/driver/nvidia/version", line, sizeof(line)))
		return false;
	snprintf(version, size, "of an unknown version");
	for (word = strtok_r(line, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		if (!isdigit((unsigned char)*word) || !strchr(word, '.') ||
		    word[strspn(word, "0123456789.")])
			continue;
		snprintf(version, size, "%s", word);
		break;
	}
	return true;
}

struct libraries {
	const char *version; /* the kernel module's */
	char other[64]; /* of a library that does not fit */
	int n, n_fit;
};

static void look_at_library(void *ctx, const char *path)
{
	const char *at = strstr(path, ".so.");
	struct libraries *l = ctx;

	if (!at || !strchr(at + 4, '.')) /* libnvidia-opencl.so.1 leads to one of these */
		return;
	l->n++;
	if (!strcmp(at + 4, l->version))
		l->n_fit++;
	else
		snprintf(l->other, sizeof(l->other), "%s", at + 4);
}

/* An update replaces the libraries at once, and the module at the next boot. */
static void look_at_libraries(struct doctor *d, const char *version, bool *there)
{
	static const char *const folders[] = {
		"/usr/lib/*/", "/usr/lib/*/nvidia/", "/usr/lib/*/nvidia/current/",
		"/usr/lib/",   "/usr/lib64/",
	};
	struct libraries l = { .version = version };
	char pattern[128];

	for (size_t i = 0; i < ARRAY_SIZE(folders); i++) {
		snprintf(pattern, sizeof(pattern), "%slibnvidia-opencl.so.*", folders[i]);
		*there |= system_each(pattern, look_at_library, &l) > 0;
	}
	if (l.n && !l.n_fit)
		doctor_remedy(doctor_add(d, "gpu", FINDING_ADVICE, "libnvidia-opencl",
					 "is %s, and the kernel module %s: OpenCL finds no device",
					 l.other, version),
			      "sudo reboot, which loads the module that fits");
}

static bool is_container(void)
{
	return system_exists("/.dockerenv") || system_exists("/run/.containerenv");
}

static void look_at_node(struct doctor *d, const char *node, const char *make)
{
	char group[64];
	struct row *r;

	if (system_node(node, group) != -ENOENT) {
		doctor_look_at_access(d, node,
				      "echo 'options nvidia NVreg_DeviceFileMode=0666' | sudo tee "
				      "/etc/modprobe.d/nvidia-nodes.conf, and restart");
		return;
	}
	r = doctor_add(d, "gpu", FINDING_ADVICE, node, "is not there, and OpenCL wants it");
	doctor_remedy(r, "%s", is_container() ? "docker run --gpus all ..." : make);
}

void doctor_look_at_nvidia(struct doctor *d)
{
	const char *remedy = NULL;
	char version[64];
	bool there = false;

	/* Jetsons have this file too */
	if (!read_version(version, sizeof(version)) || doctor_knows_gpu(d, "tegra"))
		return;
	look_at_libraries(d, version, &there);
	if (there)
		remedy = "echo libnvidia-opencl.so.1 | sudo tee /etc/OpenCL/vendors/nvidia.icd";
	doctor_look_at_driver(d, "nvidia", "/dev/nvidia0", version, remedy);
	look_at_node(d, "/dev/nvidia0", "sudo nvidia-modprobe -c 0 (package nvidia-modprobe)");
	look_at_node(d, "/dev/nvidiactl", "sudo nvidia-modprobe -c 0 (package nvidia-modprobe)");
	look_at_node(d, "/dev/nvidia-uvm",
		     "sudo nvidia-modprobe -u -c 0 (package nvidia-modprobe)");
}
