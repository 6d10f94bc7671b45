/* SPDX-License-Identifier: MIT */
/*
 * doctor_gpu: the GPUs of a machine as their kernel drivers show them, whether this user may open
 * them, and whether a driver is registered that speaks OpenCL to them. A table knows the drivers: a
 * GPU more is a row more. What the rows advise is from vendors' documentation and has, but for x86,
 * not yet been run on hardware. NVIDIA's, which needs more looking at, is in doctor_nvidia.c.
 */
#include <stdlib.h>
#include "doctor.h"

struct gpu {
	const char *driver; /* the kernel's name for it */
	const char *what;
	const char *icds; /* parts of ICD names that serve it, separated by spaces; "": none does */
	const char *remedy; /* if none of these is there */
	const char *rusticl; /* what RUSTICL_ENABLE calls it; NULL: nothing */
	bool own_nodes; /* OpenCL goes by others than /dev/dri/renderD* */
};

#define NO_OPENCL "it has no OpenCL that is of use here: the CPU computes (pocl-opencl-icd)"

static const struct gpu gpus[] = {
	{ "mali", "a Mali, by Arm's kernel driver", "mali",
	  "install the libmali that fits this kernel driver, from the board's vendor, with its "
	  "mali.icd (Documentation/troubleshooting.rst)",
	  NULL, true },
	{ "panthor", "a Mali (CSF), by the open driver panthor", "rusticl mali",
	  "panthor serves Mesa; OpenCL is Mesa's rusticl (mesa-opencl-icd, RUSTICL_ENABLE=panfrost; "
	  "young on these GPUs), or the vendor's kernel with /dev/mali0 and libmali",
	  "panfrost", false },
	{ "panfrost", "a Mali, by the open driver panfrost", "rusticl mali",
	  "sudo apt-get install mesa-opencl-icd, and RUSTICL_ENABLE=panfrost in the environment: "
	  "Mesa's rusticl, young on these GPUs; or the vendor's kernel with /dev/mali0 and libmali",
	  "panfrost", false },
	{ "lima", "an old Mali (Utgard), by lima", "", "it has no OpenCL: the CPU computes", NULL,
	  false },
	{ "tegra", "a Jetson's GPU", "pocl",
	  "there is no OpenCL from NVIDIA for Jetsons: PoCL built with ENABLE_CUDA=ON runs on it "
	  "(Documentation/troubleshooting.rst)",
	  NULL, true },
	{ "nvidia", "an NVIDIA GPU", "nvidia", "sudo apt-get install nvidia-opencl-icd", NULL,
	  true },
	{ "nouveau", "an NVIDIA GPU, by nouveau", "rusticl",
	  "NVIDIA's own driver has OpenCL: sudo apt-get install nvidia-driver nvidia-opencl-icd",
	  "nouveau", false },
	{ "i915", "an Intel GPU", "intel rusticl", "sudo apt-get install intel-opencl-icd", "iris",
	  false },
	{ "xe", "an Intel GPU", "intel rusticl", "sudo apt-get install intel-opencl-icd", "iris",
	  false },
	{ "amdgpu", "an AMD GPU", "amdocl rusticl mesa",
	  "sudo apt-get install mesa-opencl-icd, and RUSTICL_ENABLE=radeonsi in the environment",
	  "radeonsi", false },
	{ "msm", "an Adreno", "adreno qcom rusticl",
	  "OpenCL comes with the vendor's driver (libOpenCL_adreno.so)", "freedreno", false },
	{ "v3d", "a Raspberry Pi's VideoCore", "", NO_OPENCL, NULL, false },
	{ "vc4", "a Raspberry Pi's VideoCore IV, or its display", "", NO_OPENCL, NULL, false },
	{ "etnaviv", "a Vivante", "vivante galcore rusticl",
	  "OpenCL comes with the vendor's driver (galcore)", "etnaviv", false },
	{ "vfio-pci", "a GPU that is reserved for a guest", "", "", NULL, false },
};

static const struct gpu *find_gpu(const char *driver)
{
	for (size_t i = 0; i < ARRAY_SIZE(gpus); i++)
		if (!strcmp(gpus[i].driver, driver))
			return &gpus[i];
	return NULL;
}

static bool is_registered(const char *word)
{
	char pattern[128];

	snprintf(pattern, sizeof(pattern), "/etc/OpenCL/vendors/*%s*.icd", word);
	return system_each(pattern, NULL, NULL) > 0;
}

/* Which of these words is part of a registered driver's name, copied to @found; false: none is. */
static bool find_icd(const char *words, char found[32])
{
	int n;

	for (; sscanf(words, " %31s%n", found, &n) == 1; words += n)
		if (is_registered(found))
			return true;
	return false;
}

bool doctor_look_at_access(struct doctor *d, const char *node, const char *if_root)
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
		return false;
	}
	r = doctor_add(d, "gpu", FINDING_ADVICE, node, "only root may open it");
	if (if_root)
		doctor_remedy(r, "%s", if_root);
	else
		doctor_remedy(r,
			      "echo 'KERNEL==\"%s\", MODE=\"0660\", GROUP=\"render\"' | sudo tee "
			      "/etc/udev/rules.d/70-gpu.rules; sudo udevadm trigger; sudo usermod "
			      "-aG render $USER",
			      strrchr(node, '/') + 1);
	return false;
}

/* Mesa's rusticl is registered for all its GPUs, and has none that it was not told to have. */
static void look_at_rusticl(struct doctor *d, const struct gpu *g, const char *node)
{
	char on[256];
	struct row *r;

	if (system_env("RUSTICL_ENABLE", on, sizeof(on)) && strstr(on, g->rusticl)) {
		doctor_add(d, "gpu", FINDING_YES, g->driver,
			   "%s (%s), and OpenCL for it is registered: rusticl, RUSTICL_ENABLE=%s",
			   g->what, node, on);
		return;
	}
	r = doctor_add(d, "gpu", FINDING_ADVICE, g->driver,
		       "%s (%s); rusticl is registered for it, and has no device as long as "
		       "RUSTICL_ENABLE does not name it",
		       g->what, node);
	doctor_remedy(r, "export RUSTICL_ENABLE=%s; for all users: echo RUSTICL_ENABLE=%s | sudo tee "
			 "-a /etc/environment",
		      g->rusticl, g->rusticl);
}

void doctor_look_at_driver(struct doctor *d, const char *driver, const char *node,
			   const char *version, const char *remedy)
{
	const struct gpu *g = find_gpu(driver);
	const char *comma = version[0] ? ", " : "";
	char icd[32];

	if (!g)
		doctor_add(d, "gpu", FINDING_FACT, driver,
			   "%s: a driver that sherd knows nothing of", node);
	else if (!g->icds[0])
		doctor_add(d, "gpu", FINDING_FACT, driver, "%s%s%s (%s)", g->what,
			   g->remedy[0] ? "; " : "", g->remedy, node);
	else if (!find_icd(g->icds, icd))
		doctor_remedy(doctor_add(d, "gpu", FINDING_ADVICE, driver,
					 "%s%s%s (%s), without OpenCL", g->what, comma, version,
					 node),
			      "%s", remedy ? remedy : g->remedy);
	else if (g->rusticl && !strcmp(icd, "rusticl"))
		look_at_rusticl(d, g, node);
	else if (!strcmp(icd, "pocl"))
		doctor_add(d, "gpu", FINDING_FACT, driver,
			   "%s%s%s (%s); PoCL is registered, and has it if it was built with CUDA: "
			   "sherd devices shows that",
			   g->what, comma, version, node);
	else
		doctor_add(d, "gpu", FINDING_YES, driver,
			   "%s%s%s (%s), and OpenCL for it is registered", g->what, comma, version,
			   node);
}

/* ------------------------------------------------------- where GPUs show up */

bool doctor_knows_gpu(const struct doctor *d, const char *driver)
{
	for (int i = 0; i < d->n_rows; i++)
		if (!strcmp(d->rows[i].section, "gpu") && !strcmp(d->rows[i].name, driver))
			return true;
	return false;
}

static void look_at_render_node(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	char driver[64], node[64], file[256];
	const struct gpu *g;

	snprintf(node, sizeof(node), "/dev/dri/%s", strrchr(path, '/') + 1);
	snprintf(file, sizeof(file), "%s/device/uevent", path);
	if (!system_value(file, "DRIVER", driver, sizeof(driver)))
		return;
	if (!strcmp(driver, "host1x-drm") || strstr(driver, "gk20a") || strstr(driver, "tegra"))
		snprintf(driver, sizeof(driver), "tegra");
	/* NVIDIA's drivers show up in several places */
	if (!doctor_knows_gpu(d, driver))
		doctor_look_at_driver(d, driver, node, "", NULL);
	g = find_gpu(driver);
	if (g && g->icds[0] && !g->own_nodes)
		doctor_look_at_access(d, node, NULL);
}

/* A graphics card that no kernel driver has. */
static void look_at_pci(void *ctx, const char *path)
{
	static const struct {
		const char *vendor, *what, *remedy;
	} vendors[] = {
		{ "10DE:", "an NVIDIA GPU",
		  "sudo apt-get install nvidia-driver nvidia-opencl-icd, and restart (with Secure Boot "
		  "its module has to be signed)" },
		{ "1002:", "an AMD GPU",
		  "sudo apt-get install firmware-amd-graphics mesa-opencl-icd, and restart" },
		{ "8086:", "an Intel GPU", "a newer kernel, which knows it (i915, xe)" },
	};
	char class[16], id[16], driver[64];

	if (!system_value(path, "PCI_CLASS", class, sizeof(class)) || class[0] != '3' ||
	    strlen(class) != 5 || !system_value(path, "PCI_ID", id, sizeof(id)) ||
	    system_value(path, "DRIVER", driver, sizeof(driver)))
		return;
	for (size_t i = 0; i < ARRAY_SIZE(vendors); i++)
		if (!strncmp(id, vendors[i].vendor, 5))
			doctor_remedy(doctor_add(ctx, "gpu", FINDING_ADVICE, id,
						 "%s, which no kernel driver has",
						 vendors[i].what),
				      "%s", vendors[i].remedy);
}

static void look_at_mali(struct doctor *d)
{
	char version[128] = "";

	if (!system_exists("/sys/class/misc/mali0") && !system_exists("/dev/mali0"))
		return;
	system_line("/sys/class/misc/mali0/device/gpuinfo", version, sizeof(version));
	doctor_look_at_driver(d, "mali", "/dev/mali0", version, NULL);
	doctor_look_at_access(d, "/dev/mali0", NULL);
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
	doctor_look_at_driver(d, "tegra", "/dev/nvmap", release, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(nodes); i++)
		doctor_look_at_access(d, nodes[i], NULL);
}

void doctor_look_at_gpus(struct doctor *d)
{
	int before = d->n_rows;

	look_at_mali(d);
	look_at_tegra(d);
	doctor_look_at_nvidia(d);
	system_each("/sys/class/drm/renderD*", look_at_render_node, d);
	system_each("/sys/bus/pci/devices/*/uevent", look_at_pci, d);
	if (d->n_rows == before)
		doctor_add(d, "gpu", FINDING_FACT, "none",
			   "no GPU that sherd knows of: the CPU computes");
}
