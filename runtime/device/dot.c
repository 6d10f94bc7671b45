/* SPDX-License-Identifier: MIT */
/*
 * dot: which of dot4.h's paths a device can run. For a CPU device the host's own instruction set
 * decides, not what the OpenCL compiler believes: PoCL takes a newer CPU for an older one, but its
 * assembler knows the instructions.
 */
#include <strings.h>
#include <unistd.h>
#include "device/device.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#include <sys/syscall.h>

#define ARCH_REQ_XCOMP_PERM 0x1023
#define XFEATURE_XTILEDATA  18

static bool cpuid7(unsigned *ebx, unsigned *ecx, unsigned *edx)
{
	unsigned eax;

	return __get_cpuid_count(7, 0, &eax, ebx, ecx, edx);
}

/*
 * The AVX-512 the operating system saves: XCR0's bits for SSE, AVX, masks and both register
 * halves.
 */
static bool os_saves_avx512(void)
{
	unsigned eax, ebx, ecx, edx;

	if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx) || !(ecx & bit_OSXSAVE))
		return false;
	__asm__ volatile("xgetbv" : "=a"(eax), "=d"(edx) : "c"(0));
	return (eax & 0xe6) == 0xe6;
}

static bool host_has_vnni512(void)
{
	unsigned ebx, ecx, edx;
	const unsigned want = 1u << 16 | 1u << 30 | 1u << 31; /* F, BW, VL */

	return cpuid7(&ebx, &ecx, &edx) && (ebx & want) == want && (ecx & 1u << 11) &&
	       os_saves_avx512();
}

/* The kernel gives a process AMX's 8 KiB of tile registers when it asks; threads inherit it. */
static bool host_has_amx(void)
{
	unsigned ebx, ecx, edx;

	return host_has_vnni512() && cpuid7(&ebx, &ecx, &edx) && (edx & 1u << 24) &&
	       (edx & 1u << 25) &&
	       !syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA);
}
#else
static bool host_has_vnni512(void)
{
	return false;
}

static bool host_has_amx(void)
{
	return false;
}
#endif

#if defined(__aarch64__)
#include <sys/auxv.h>

#define SHERD_HWCAP_ASIMDDP (1ul << 20)

static bool host_has_sdot(void)
{
	return getauxval(AT_HWCAP) & SHERD_HWCAP_ASIMDDP;
}
#else
static bool host_has_sdot(void)
{
	return false;
}
#endif

/* Oclgrind interprets SPIR: it is no place for a CPU's assembly. */
static bool runs_host_code(const struct sherd_device_info *info)
{
	return info->is_cpu && !strstr(info->platform, "Oclgrind");
}

static bool can_amx(const struct sherd_device_info *info)
{
	return runs_host_code(info) && host_has_amx();
}

static bool can_vnni512(const struct sherd_device_info *info)
{
	return runs_host_code(info) && host_has_vnni512();
}

static bool can_sdot(const struct sherd_device_info *info)
{
	return runs_host_code(info) && host_has_sdot();
}

static bool can_arm(const struct sherd_device_info *info)
{
	return sherd_device_has(info, "cl_arm_integer_dot_product_accumulate_int8");
}

static bool can_khr(const struct sherd_device_info *info)
{
	return info->is_gpu && sherd_device_has(info, "cl_khr_integer_dot_product");
}

/* dp4a: compute capability 6.1 and later, which is every board that is still sold. */
static bool can_ptx(const struct sherd_device_info *info)
{
	return info->is_gpu && strstr(info->vendor, "NVIDIA");
}

static bool can_plain(const struct sherd_device_info *info)
{
	(void)info;
	return true;
}

static const struct {
	const char *name, *option;
	bool (*can_run)(const struct sherd_device_info *info);
} paths[] = {
	{ "amx", "-DSHERD_DOT_AMX=1", can_amx },
	{ "vnni512", "-DSHERD_DOT_VNNI512=1", can_vnni512 },
	{ "sdot", "-DSHERD_DOT_SDOT=1", can_sdot },
	{ "arm", "-DSHERD_DOT_ARM=1", can_arm },
	{ "khr", "-DSHERD_DOT_KHR=1", can_khr },
	{ "ptx", "-DSHERD_DOT_PTX=1", can_ptx },
	{ "plain", "-DSHERD_DOT_PLAIN=1", can_plain },
};

const char *sherd_dot_name(int i)
{
	return i >= 0 && i < (int)ARRAY_SIZE(paths) ? paths[i].name : NULL;
}

static int find(const char *name)
{
	for (int i = 0; i < (int)ARRAY_SIZE(paths); i++)
		if (!strcasecmp(paths[i].name, name))
			return i;
	return -1;
}

const char *sherd_dot_option(const char *name)
{
	int i = find(name);

	return i < 0 ? NULL : paths[i].option;
}

bool sherd_dot_can_run(const struct sherd_device_info *info, const char *name)
{
	int i = find(name);

	return i >= 0 && paths[i].can_run(info);
}

const char *sherd_dot_choose(const struct sherd_device_info *info, const char *force,
			     struct sherd_error *err)
{
	int i = 0;

	if (force) {
		i = find(force);
		if (i >= 0 && paths[i].can_run(info))
			return paths[i].name;
		if (i < 0)
			sherd_fail(err, -EINVAL,
				   "dot product \"%s\": no such path; there are amx, vnni512, "
				   "sdot, arm, khr, ptx and plain", force);
		else
			sherd_fail(err, -EOPNOTSUPP, "dot product \"%s\": %s can't run it", force,
				   info->name);
		return NULL;
	}
	while (!paths[i].can_run(info)) /* plain ends it */
		i++;
	return paths[i].name;
}
