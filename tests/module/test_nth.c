// SPDX-License-Identifier: MIT
/* Invariant 4 where memory is out: every allocation of every request fails once (nth.c). */
#include "guest.h"
#include "importer.h"
#include "nth.h"

#define N 4

/* ---------------------------------------------------------------- SHERD_PIN */

static int dev, source;
static void *at;
static char path[64];
static uint32_t flags;

/* A memfd without pages: these are made while it is pinned. */
static void make_memfd(void)
{
	source = memfd_create("nth", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	CHECK(source >= 0);
	CHECK_EQ(ftruncate(source, N * page), 0);
	CHECK_EQ(fcntl(source, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

static void make_hugetlb(void)
{
	source = memfd_create("nth", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
	CHECK(source >= 0);
	CHECK_EQ(ftruncate(source, number_in("/proc/meminfo", "Hugepagesize:") * 1024), 0);
	CHECK_EQ(fcntl(source, F_ADD_SEALS, F_SEAL_SHRINK), 0);
}

/* A file whose pages are on the disk only. */
static void make_file(void)
{
	source = file_in("/ext4", N * page, path);
	posix_fadvise(source, 0, 0, POSIX_FADV_DONTNEED);
	at = map(source, N * page, PROT_READ, MAP_SHARED);
}

static void close_source(void)
{
	if (at) {
		CHECK_EQ(munmap(at, N * page), 0);
		CHECK_EQ(unlink(path), 0);
		at = NULL;
	}
	close_it(source);
}

/* Nothing but the request: whatever fails in here is SHERD_PIN's. */
static int pin_source(void)
{
	struct sherd_pin arg = { .size = sizeof(arg), .flags = flags, .fd = source,
				 .addr = (uintptr_t)at, .length = N * page }, before = arg;

	if (!ioctl(dev, SHERD_PIN, &arg))
		return arg.buffer;
	return memcmp(&arg, &before, sizeof(arg)) ? -EBADMSG : -errno;
}

static void check_pinned(int buffer)
{
	int w = window(buffer, 0, N * page);
	uint8_t *seen = map(w, N * page, PROT_READ, MAP_SHARED);

	CHECK_EQ(info(buffer).pages, N);
	if (at)
		CHECK(is_pattern(seen, 0, N * page));
	else
		CHECK(!memcmp(seen, (uint8_t[N * 4096]){ 0 }, N * 4096));
	munmap(seen, N * page);
	close_it(w);
}

/* Who was kept from writing the file may write it. */
static void check_writable(void)
{
	close_it(open(path, O_RDWR | O_CLOEXEC));
}

/* The limit allows one buffer: one that stays charged is noticed by the next. */
static int fail_each_pin(void (*make)(void), uint32_t with, const char *name)
{
	const struct request r = {
		name, make, pin_source, check_pinned, close_it,
		with & SHERD_PIN_IMMUTABLE ? check_writable : NULL, close_source,
	};

	flags = with;
	dev = sherd_open();
	fail_each(&r);
	close(dev);
	return 0;
}

static int pin_memfd(void)
{
	return fail_each_pin(make_memfd, 0, "SHERD_PIN of a memfd");
}

static int pin_memfd_read_only(void)
{
	return fail_each_pin(make_memfd, SHERD_PIN_READ_ONLY, "read-only SHERD_PIN of a memfd");
}

static int pin_hugetlb(void)
{
	return fail_each_pin(make_hugetlb, 0, "SHERD_PIN of a hugetlb memfd");
}

static int pin_file(void)
{
	return fail_each_pin(make_file, SHERD_PIN_READ_ONLY, "SHERD_PIN of a file");
}

static int pin_immutable_file(void)
{
	return fail_each_pin(make_file, SHERD_PIN_IMMUTABLE, "immutable SHERD_PIN of a file");
}

static void nth_memfd(void)
{
	need_fault_injection();
	CHECK_EQ(as_user(1000, N * page, pin_memfd), 0);
	CHECK_EQ(as_user(1000, N * page, pin_memfd_read_only), 0);
}

static void nth_hugetlb(void)
{
	need_fault_injection();
	if (number_in("/proc/meminfo", "HugePages_Free:") < 1)
		test_skip("no free huge pages in this guest");
	CHECK_EQ(as_user(1000, N * page, pin_hugetlb), 0);
}

static void nth_file(void)
{
	need_fault_injection();
	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	CHECK_EQ(as_user(1000, N * page, pin_file), 0);
	CHECK_EQ(as_user(1000, N * page, pin_immutable_file), 0);
}

/* ---------------------------------------------------------------- on a buffer */

static int buffer, whole;

static void make_buffer(uint32_t with)
{
	need_fault_injection();
	buffer = pin(memfd(0, N * page, F_SEAL_SHRINK), 0, N * page, with);
	CHECK(buffer >= 0);
}

static void no_exports(void)
{
	CHECK_EQ(info(buffer).exports, 0);
}

static int export_it(void)
{
	struct sherd_export arg = { .size = sizeof(arg), .length = N * page }, before = arg;

	if (!ioctl(buffer, SHERD_EXPORT, &arg))
		return arg.fd;
	return memcmp(&arg, &before, sizeof(arg)) ? -EBADMSG : -errno;
}

static void check_window(int w)
{
	uint8_t *seen = map(w, N * page, PROT_READ, MAP_SHARED);

	CHECK(is_pattern(seen, 0, N * page));
	munmap(seen, N * page);
}

static void nth_export(void)
{
	const struct request r = { "SHERD_EXPORT", NULL, export_it, check_window, close_it,
				   no_exports, NULL };

	make_buffer(0);
	fail_each(&r);
}

static int get_info(void)
{
	struct sherd_info arg = { .size = sizeof(arg) }, before = arg;

	if (!ioctl(buffer, SHERD_INFO, &arg))
		return arg.pages == N ? 0 : -EBADMSG;
	return memcmp(&arg, &before, sizeof(arg)) ? -EBADMSG : -errno;
}

static void nothing(int made)
{
	(void)made;
}

static void nth_info(void)
{
	const struct request r = { "SHERD_INFO", NULL, get_info, nothing, nothing, no_exports,
				   NULL };

	make_buffer(0);
	fail_each(&r);
}

/* ---------------------------------------------------------------- on a window */

static void make_window(void)
{
	whole = window(buffer, 0, N * page);
	CHECK(whole >= 0);
}

/* Who failed to attach or to map does not hold on to the window either. */
static void close_window(void)
{
	close_it(whole);
	no_exports();
}

static int map_window(void)
{
	at = mmap(NULL, N * page, PROT_READ | PROT_WRITE, MAP_SHARED, whole, 0);
	return at == MAP_FAILED ? -errno : 0;
}

static void check_mapped(int made)
{
	(void)made;
	CHECK(is_pattern(at, 0, N * page));
}

static void unmap_window(int made)
{
	(void)made;
	CHECK_EQ(munmap(at, N * page), 0);
}

static void nth_mmap(void)
{
	const struct request r = { "mmap() of a window", make_window, map_window, check_mapped,
				   unmap_window, NULL, close_window };

	make_buffer(0);
	fail_each(&r);
}

static int drm, imported;
static uint32_t handle;

static void no_mappings(void)
{
	CHECK_EQ(info(buffer).mappings, 0);
	CHECK_EQ(info(buffer).bounced, 0);
	CHECK_EQ(info(buffer).exports, 1);
}

static void open_drm(void)
{
	make_window();
	drm = vgem_open();
	CHECK(drm >= 0);
}

static int import(void)
{
	imported = vgem_import(drm, whole, &handle);
	return imported;
}

static void check_attached(int made)
{
	(void)made;
	CHECK_EQ(info(buffer).mappings, 1);
}

static void close_handle(int made)
{
	(void)made;
	CHECK_EQ(vgem_close(drm, handle), 0);
}

/* When the handle cannot be copied out, DRM keeps it until its file is closed. */
static void not_imported(void)
{
	if (imported != -EFAULT)
		no_mappings();
}

static void close_drm(void)
{
	close_it(drm);
	no_mappings();
	close_window();
}

static void nth_import(void)
{
	const struct request r = { "import by vgem", open_drm, import, check_attached, close_handle,
				   not_imported, close_drm };

	make_buffer(0);
	if (access("/dev/dri/renderD128", F_OK))
		test_skip("no vgem in this guest");
	fail_each(&r);
}

static int edu;
static uint32_t bits;

static void open_edu(void)
{
	make_window();
	edu = open("/dev/importer", O_RDWR | O_CLOEXEC);
	CHECK(edu >= 0);
}

static int attach_once(void)
{
	struct importer_attach arg = { .fd = whole, .bits = bits };

	return ioctl(edu, IMPORTER_ATTACH, &arg) ? -errno : 0;
}

/* Its one attachment goes with the device's descriptor. */
static void close_edu(void)
{
	close_it(edu);
	no_mappings();
	close_window();
}

static void nth_attach(void)
{
	struct request r = { "attaching a device",
			     open_edu,
			     attach_once,
			     check_attached,
			     nothing,
			     NULL,
			     close_edu };

	if (access("/dev/importer", F_OK))
		test_skip("no importer in this guest");
	make_buffer(SHERD_PIN_ALLOW_BOUNCE);
	bits = 64;
	fail_each(&r);
	r.name = "attaching a device that needs bounce buffers";
	bits = 32;
	fail_each(&r);
}

const struct test nth_tests[] = {
	{ "when any allocation fails, pinning a memfd changes nothing (invariant 4)", nth_memfd,
	  0 },
	{ "when any allocation fails, pinning a hugetlb memfd changes nothing (invariant 4)",
	  nth_hugetlb, 0 },
	{ "when any allocation fails, pinning a file changes nothing (invariant 4)", nth_file, 0 },
	{ "when any allocation fails, exporting a window changes nothing (invariant 4)",
	  nth_export, 0 },
	{ "when any copy fails, SHERD_INFO changes nothing (invariant 4)", nth_info, 0 },
	{ "when any allocation fails, mapping a window leaves nothing behind", nth_mmap, 0 },
	{ 0 }
};

const struct test nth_dma_tests[] = {
	{ "when any allocation fails, importing a window into vgem leaves nothing behind",
	  nth_import, 0 },
	{ "when any allocation fails, attaching a device leaves nothing behind", nth_attach, 0 },
	{ 0 }
};
