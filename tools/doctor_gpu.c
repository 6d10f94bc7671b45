/* SPDX-License-Identifier: MIT */
/*
 * doctor_gpu: the GPUs of a machine as their kernel drivers show them, whether this user may open
 * them, and whether a driver is registered that speaks OpenCL to them. A table knows the drivers: a
 * GPU more is a row more. What the rows advise is from vendors' documentation and has, but for x86,
 * not yet been run on hardware.
 */
#include <stdlib.h>
#include "doctor.h"

struct gpu {
	const char *driver; /* the kernel's name for it */
	const char *what;
	const char *icds; /* parts of ICD names that serve it, separated by spaces; "": none does */
	const char *remedy; /* if none of these is there */
};

static const struct gpu gpus[] = {
	{ "mali", "a Mali, by Arm's kernel driver", "mali",
	  "install the libmali that fits this kernel driver, from the board's vendor, with its "
	  "mali.icd (Documentation/troubleshooting.rst)" },
	{ "panthor", "a Mali (CSF), by the open driver panthor", "rusticl mali",
	  "panthor serves Mesa; OpenCL is Mesa's rusticl (mesa-opencl-icd, RUSTICL_ENABLE=panfrost; "
	  "young on these GPUs), or the vendor's kernel with /dev/mali0 and libmali" },
	{ "panfrost", "a Mali, by the open driver panfrost", "rusticl mali",
	  "OpenCL is Mesa's rusticl (mesa-opencl-icd, RUSTICL_ENABLE=panfrost), or the vendor's "
	  "kernel with /dev/mali0 and libmali" },
	{ "lima", "an old Mali (Utgard), by lima", "", "it has no OpenCL: the CPU computes" },
	{ "tegra", "a Jetson's GPU", "pocl",
	  "there is no OpenCL from NVIDIA for Jetsons: PoCL built with ENABLE_CUDA=ON runs on it "
	  "(Documentation/troubleshooting.rst)" },
	{ "nvidia", "an NVIDIA GPU", "nvidia pocl", "sudo apt-get install nvidia-opencl-icd" },
	{ "nouveau", "an NVIDIA GPU, by nouveau", "rusticl",
	  "NVIDIA's own driver has OpenCL: sudo apt-get install nvidia-driver nvidia-opencl-icd" },
	{ "i915", "an Intel GPU", "intel rusticl", "sudo apt-get install intel-opencl-icd" },
	{ "xe", "an Intel GPU", "intel rusticl", "sudo apt-get install intel-opencl-icd" },
	{ "amdgpu", "an AMD GPU", "amdocl rusticl mesa", "sudo apt-get install mesa-opencl-icd" },
	{ "msm", "an Adreno", "adreno qcom rusticl",
	  "OpenCL comes with the vendor's driver (libOpenCL_adreno.so)" },
	{ "v3d", "a Raspberry Pi's VideoCore", "",
	  "it has no OpenCL that is of use here: the CPU computes (pocl-opencl-icd)" },
	{ "vc4", "a Raspberry Pi's display", "", "" },
	{ "etnaviv", "a Vivante", "vivante galcore rusticl",
	  "OpenCL comes with the vendor's driver (galcore)" },
};

static const struct gpu *find_gpu(const char *driver)
{
	for (size_t i = 0; i < ARRAY_SIZE(gpus); i++)
		if (!strcmp(gpus[i].driver, driver))
			return &gpus[i];
	return NULL;
}

static bool has_icd(const char *parts)
{
	char word[32], pattern[128];
	int n;

	for (; sscanf(parts, " %31s%n", word, &n) == 1; parts += n) {
		snprintf(pattern, sizeof(pattern), "/etc/OpenCL/vendors/*%s*.icd", word);
		if (system_each(pattern, NULL, NULL))
			return true;
	}
	return false;
}

/* Who may open @node; true: this user may. */
static bool look_at_access(struct doctor *d, const char *node)
{
	char group[64];
	int rc = system_node(node, group);
	struct row *r;

	if (rc == -ENOENT)
		return false;
	if (!rc) {
		doctor_add(d, "gpu", FINDING_YES, node, "this user may open it");
		return true;
	}
	if (group[0]) {
		r = doctor_add(d, "gpu", FINDING_ADVICE, node,
			       "only root and the group %s may open it", group);
		doctor_remedy(r, "sudo usermod -aG %s $USER, and log in again", group);
	} else {
		r = doctor_add(d, "gpu", FINDING_ADVICE, node, "only root may open it");
		doctor_remedy(r,
			      "echo 'KERNEL==\"%s\", MODE=\"0660\", GROUP=\"render\"' | sudo tee "
			      "/etc/udev/rules.d/70-gpu.rules; sudo udevadm trigger; sudo usermod "
			      "-aG render $USER",
			      strrchr(node, '/') + 1);
	}
	return false;
}

static void look_at_driver(struct doctor *d, const char *driver, const char *node,
			   const char *version)
{
	const struct gpu *g = find_gpu(driver);
	struct row *r;

	if (!g) {
		doctor_add(d, "gpu", FINDING_FACT, driver,
			   "%s: a driver that sherd knows nothing of", node);
	} else if (!g->icds[0]) {
		r = doctor_add(d, "gpu", FINDING_FACT, driver, "%s%s%s (%s)", g->what,
			       g->remedy[0] ? "; " : "", g->remedy, node);
	} else if (has_icd(g->icds)) {
		doctor_add(d, "gpu", FINDING_YES, driver,
			   "%s%s%s (%s), and OpenCL for it is "
			   "registered",
			   g->what, version[0] ? ", " : "", version, node);
	} else {
		r = doctor_add(d, "gpu", FINDING_ADVICE, driver, "%s%s%s (%s), without OpenCL",
			       g->what, version[0] ? ", " : "", version, node);
		doctor_remedy(r, "%s", g->remedy);
	}
}

/* ------------------------------------------------------- where GPUs show up */

/* DRIVER=panthor, in a device's uevent. */
static bool driver_of(const char *path, char *driver, size_t size)
{
	char *whole = sherd_asprintf("%s%s/device/uevent", sherd_root, path), *line = NULL;
	FILE *f = whole ? fopen(whole, "re") : NULL;
	size_t room = 0;
	bool found = false;

	while (f && !found && getline(&line, &room, f) > 0) {
		found = !strncmp(line, "DRIVER=", 7);
		if (found)
			snprintf(driver, size, "%.*s", (int)strcspn(line + 7, "\n"), line + 7);
	}
	if (f)
		fclose(f);
	free(line);
	free(whole);
	return found;
}

/* NVIDIA's drivers show up in several places. */
static bool is_known(const struct doctor *d, const char *driver)
{
	for (int i = 0; i < d->n_rows; i++)
		if (!strcmp(d->rows[i].section, "gpu") && !strcmp(d->rows[i].name, driver))
			return true;
	return false;
}

static void look_at_render_node(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	char driver[64], node[64];

	snprintf(node, sizeof(node), "/dev/dri/%s", strrchr(path, '/') + 1);
	if (!driver_of(path, driver, sizeof(driver)))
		return;
	if (!strcmp(driver, "host1x-drm") || strstr(driver, "gk20a") || strstr(driver, "tegra"))
		snprintf(driver, sizeof(driver), "tegra");
	if (is_known(d, driver)) {
		look_at_access(d, node);
		return;
	}
	look_at_driver(d, driver, node, "");
	look_at_access(d, node);
}

static void look_at_mali(struct doctor *d)
{
	char version[128] = "";

	if (!system_exists("/sys/class/misc/mali0") && !system_exists("/dev/mali0"))
		return;
	system_line("/sys/class/misc/mali0/device/gpuinfo", version, sizeof(version));
	look_at_driver(d, "mali", "/dev/mali0", version);
	look_at_access(d, "/dev/mali0");
}

static void look_at_tegra(struct doctor *d)
{
	static const char *const nodes[] = { "/dev/nvmap", "/dev/nvhost-gpu",
					     "/dev/nvgpu/igpu0/ctrl" };
	char group[64], release[128] = "";
	int n = 0;

	system_line("/etc/nv_tegra_release", release, sizeof(release));
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		n += system_node(nodes[i], group) != -ENOENT;
	if (!n && !release[0])
		return;
	release[strcspn(release, ",")] = '\0';
	look_at_driver(d, "tegra", "/dev/nvmap", release);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		look_at_access(d, nodes[i]);
}

static void look_at_nvidia(struct doctor *d)
{
	char version[160];

	if (!system_line("/proc/driver/nvidia/version", version, sizeof(version)))
		return;
	look_at_driver(d, "nvidia", "/dev/nvidia0", version);
	look_at_access(d, "/dev/nvidia0");
	look_at_access(d, "/dev/nvidiactl");
}

void doctor_look_at_gpus(struct doctor *d)
{
	int before = d->n_rows;

	look_at_mali(d);
	look_at_tegra(d);
	look_at_nvidia(d);
	system_each("/sys/class/drm/renderD*", look_at_render_node, d);
	if (d->n_rows == before)
		doctor_add(d, "gpu", FINDING_FACT, "none",
			   "no GPU that sherd knows of: the CPU computes");
}
