// SPDX-License-Identifier: MIT
/* Every kind of file system and mapping that pages may come from (invariant 2). */
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "guest.h"

#define N 16

/* Pins a file of a folder through a shared mapping, and finds its bytes in the window. */
static void pins_file_of(const char *dir)
{
	char path[64];
	int fd, buffer, w;
	uint8_t *at, *seen;

	if (!mounted(dir))
		test_skip("no file system at %s in this guest", dir);
	fd = file_in(dir, N * page, path);
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).state, SHERD_STATE_READ_ONLY);
	munmap(at, N * page);
	close(fd);
	w = window(buffer, 0, N * page);
	seen = map(w, N * page, PROT_READ, MAP_SHARED);
	CHECK(is_pattern(seen, 0, N * page));
	/* The same pages: what is written to the file later is seen. */
	fd = open(path, O_RDWR);
	CHECK_EQ(pwrite(fd, "new", 3, 3 * page), 3);
	CHECK(!memcmp(seen + 3 * page, "new", 3));
	unlink(path);
}

static void ext4(void)
{
	pins_file_of("/ext4");
}

static void tmpfs(void)
{
	pins_file_of("/tmp");
}

static void squashfs(void)
{
	int fd = open("/squash/file", O_RDONLY), buffer, w;
	uint8_t *at, *seen;

	if (fd < 0)
		test_skip("no squashfs in this guest");
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).state,
		 SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE | SHERD_STATE_WRITE_DENIED);
	w = window(buffer, 0, N * page);
	seen = map(w, N * page, PROT_READ, MAP_SHARED);
	CHECK(!memcmp(seen, at, N * page));
}

/* The file beneath is what is mapped, and what writers must be kept from. */
static void overlayfs(void)
{
	char path[64];
	int fd, buffer, w;
	uint8_t *at, *seen;

	if (!mounted("/overlay"))
		test_skip("no overlayfs in this guest");
	fd = open("/overlay/file", O_RDONLY);
	CHECK(fd >= 0);
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	w = window(buffer, 0, N * page);
	seen = map(w, N * page, PROT_READ, MAP_SHARED);
	CHECK(!memcmp(seen, at, N * page));
	close(fd);
	fd = file_in("/overlay", page, path);
	at = map(fd, page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	CHECK(open(path, O_RDWR) < 0 && errno == ETXTBSY);
	CHECK(truncate(path, 0) && errno == ETXTBSY);
	close(buffer);
	w = open(path, O_RDWR);
	CHECK(w >= 0);
}

/*
 * Whoever opens a file of the lower layer for writing makes a copy of it in the upper one. What was
 * pinned is what lies beneath, which nobody writes; a descriptor from before is no way to the copy.
 */
static void copied_up(void)
{
	int fd = open("/overlay/other", O_RDONLY), buffer, rw;
	uint8_t *at, *seen, *again, *lower;

	if (fd < 0)
		test_skip("no overlayfs in this guest");
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	lower = map(open("/squash/other", O_RDONLY), N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	rw = open("/overlay/other", O_RDWR);
	CHECK(rw >= 0);
	CHECK_EQ(pwrite(rw, "new", 3, 3 * page), 3);
	CHECK(!memcmp(seen, lower, N * page));

	/* The old mapping is still the old file, the name is the new one: refused. */
	CHECK_EQ(pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY), -EINVAL);
	again = map(fd, N * page, PROT_READ, MAP_SHARED);
	if (memcmp(again + 3 * page, "new", 3))
		CHECK_EQ(pin_at(fd, again, N * page, SHERD_PIN_READ_ONLY), -EINVAL);
	close(buffer);
	fd = open("/overlay/other", O_RDONLY);
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	CHECK_EQ(pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE), -ETXTBSY);
	close(rw);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
	CHECK(buffer >= 0);
	CHECK(open("/overlay/other", O_RDWR) < 0 && errno == ETXTBSY);
	seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	CHECK(!memcmp(seen + 3 * page, "new", 3));
	CHECK(!memcmp(seen + 4 * page, lower + 4 * page, page));
}

/* A hole becomes a page when it is pinned, for whoever reads as well as for whoever writes. */
static void memfd_holes(void)
{
	uint8_t *at, *seen, *zero = calloc(N, page);
	int fd, buffer, flags;

	for (flags = 0; flags <= SHERD_PIN_READ_ONLY; flags++) {
		fd = memfd_create("holes", MFD_CLOEXEC | MFD_ALLOW_SEALING);
		CHECK_EQ(ftruncate(fd, N * page), 0);
		CHECK_EQ(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK), 0);
		buffer = pin(fd, 0, N * page, flags);
		CHECK(buffer >= 0);
		seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
		CHECK(!memcmp(seen, zero, N * page));
		at = map(fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
		at[7 * page] = 1;
		CHECK_EQ(seen[7 * page], 1);
	}
	free(zero);
}

/* A buffer keeps pages; only one that keeps writers away keeps the file as well. */
static void unmounted(void)
{
	uint8_t *at, *seen;
	int fd, buffer, w;
	char path[64];

	mkdir("/tmp/fs", 0755);
	CHECK_EQ(mount("fs", "/tmp/fs", "tmpfs", 0, NULL), 0);
	fd = file_in("/tmp/fs", N * page, path);
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_IMMUTABLE);
	w = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0 && w >= 0);
	seen = map(window(w, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	close(fd);
	munmap(at, N * page);
	CHECK(umount("/tmp/fs") && errno == EBUSY);
	close(buffer);
	CHECK_EQ(umount("/tmp/fs"), 0);
	CHECK(is_pattern(seen, 0, N * page));
}

static void hugetlb(void)
{
	size_t huge = number_in("/proc/meminfo", "Hugepagesize:") * 1024, i;
	uint8_t *at, *seen;
	int fd, buffer, w;

	if (number_in("/proc/meminfo", "HugePages_Free:") < 2)
		test_skip("no free huge pages in this guest");
	fd = memfd(MFD_HUGETLB, 2 * huge, F_SEAL_SHRINK | F_SEAL_GROW);
	at = map(fd, 2 * huge, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (i = 0; i < 2 * huge; i += page)
		at[i] = pattern(i / page, 0);
	/* any run of small pages within huge ones */
	buffer = pin(fd, huge - 3 * page, 7 * page, 0);
	CHECK(buffer >= 0);
	CHECK_EQ(info(buffer).pages, 7);
	CHECK(info(buffer).segments <= 2);
	w = window(buffer, page, 4 * page);
	seen = map(w, 4 * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	for (i = 0; i < 4; i++)
		CHECK_EQ(seen[i * page], pattern(huge / page - 2 + i, 0));
	seen[0] = 99;
	CHECK_EQ(at[huge - 2 * page], 99);
	munmap(seen, 4 * page);
	close(buffer);
	close(w);
	buffer = pin(fd, 0, 2 * huge, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	CHECK(info(buffer).longest >= huge);
}

static void huge_shmem(void)
{
	size_t huge = number_in("/proc/meminfo", "Hugepagesize:") * 1024;
	FILE *f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");
	uint8_t *seen;
	int fd, buffer, w;

	if (!f || fputs("force", f) < 0 || fclose(f))
		test_skip("no huge pages in shared memory on this kernel");
	fd = memfd(0, 2 * huge, F_SEAL_SHRINK);
	fill(fd, 32 * page);
	buffer = pin(fd, 0, 2 * huge, 0);
	CHECK(buffer >= 0);
	f = fopen("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "w");
	fputs("never", f);
	fclose(f);
	if (number_in("/proc/meminfo", "ShmemHugePages:") * 1024ul < huge)
		test_skip("no huge page is to be had in this guest");
	CHECK(info(buffer).longest >= huge);
	w = window(buffer, 5 * page, 20 * page);
	seen = map(w, 20 * page, PROT_READ, MAP_SHARED);
	CHECK(is_pattern(seen, 5, 20 * page));
	close(fd);
	close(buffer);
	close(w);
	CHECK(is_pattern(seen, 5, 20 * page));
}

static void secret(void)
{
	int fd = syscall(SYS_memfd_secret, 0);
	void *at;

	if (fd < 0)
		test_skip("no memfd_secret on this kernel");
	CHECK_EQ(ftruncate(fd, page), 0);
	at = map(fd, page, PROT_READ | PROT_WRITE, MAP_SHARED);
	memset(at, 1, page);
	CHECK_EQ(pin(fd, 0, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin_at(fd, at, page, SHERD_PIN_READ_ONLY), -EFAULT);
}

static void pfn_mapping(void)
{
	int fd = memfd(0, page, F_SEAL_SHRINK), buffer = pin(fd, 0, page, 0), mem;
	char path[64];
	void *at;
	int file = file_in("/tmp", page, path);

	CHECK(buffer >= 0);
	at = map(window(buffer, 0, page), page, PROT_READ | PROT_WRITE, MAP_SHARED);
	/* Not even looked at: by its pages it would be another file's mapping, EINVAL. */
	CHECK_EQ(pin_at(file, at, page, SHERD_PIN_READ_ONLY), -EFAULT);
	mem = open("/dev/mem", O_RDONLY);
	if (mem >= 0) {
		at = mmap(NULL, page, PROT_READ, MAP_SHARED, mem, 0xfee00000);
		if (at != MAP_FAILED)
			CHECK_EQ(pin_at(file, at, page, SHERD_PIN_READ_ONLY), -EFAULT);
	}
}

static void private_mapping(void)
{
	char path[64];
	int fd = file_in("/tmp", 2 * page, path), end;
	uint8_t *at = map(fd, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE);

	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_READ_ONLY), -EINVAL);
	at[0]++; /* a copy now */
	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_READ_ONLY), -EINVAL);
	/* the second half private */
	map(fd, page, PROT_READ, MAP_SHARED);
	CHECK(mmap(at, page, PROT_READ, MAP_SHARED | MAP_FIXED, fd, 0) == at);
	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_READ_ONLY), -EINVAL);
	end = pin_at(fd, at, page, SHERD_PIN_READ_ONLY);
	CHECK(end >= 0);
	/* a hole in the address space, and memory of nobody's */
	munmap(at + page, page);
	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_READ_ONLY), -EFAULT);
	at = map(-1, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
	CHECK_EQ(pin_at(fd, at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	/* and a writable buffer of a regular file */
	at = map(fd, page, PROT_READ, MAP_SHARED);
	CHECK_EQ(pin_at(fd, at, page, 0), -EINVAL);
}

static void beyond_end(void)
{
	char path[64];
	int fd = file_in("/tmp", page, path);
	void *at = map(fd, 2 * page, PROT_READ, MAP_SHARED);

	CHECK_EQ(pin_at(fd, at, 2 * page, SHERD_PIN_READ_ONLY), -EFAULT);
	CHECK_EQ(vm_pin(), 0);
}

static void holes(void)
{
	const char *const dirs[] = { "/ext4", "/tmp" };
	char path[64];
	uint8_t *at, *seen, *zero = calloc(N, page);
	int fd, buffer, rw;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (!mounted(dirs[i]))
			continue;
		fd = file_in(dirs[i], page, path);
		CHECK_EQ(truncate(path, N * page), 0);
		at = map(fd, N * page, PROT_READ, MAP_SHARED);
		buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
		CHECK(buffer >= 0);
		seen = map(window(buffer, page, (N - 1) * page), (N - 1) * page, PROT_READ,
			   MAP_SHARED);
		CHECK(!memcmp(seen, zero, (N - 1) * page));
		/* A hole that is filled later is filled in the buffer. */
		rw = open(path, O_RDWR);
		CHECK_EQ(pwrite(rw, "x", 1, 5 * page), 1);
		CHECK_EQ(fsync(rw), 0);
		CHECK_EQ(seen[4 * page], 'x');
		unlink(path);
	}
}

/* Two buffers of a file, as two processes that run one model have them, are one set of pages. */
static void one_set_of_pages(void)
{
	char path[64];
	int fd = file_in("/ext4", 256 * page, path), first, second;
	void *at = map(fd, 256 * page, PROT_READ, MAP_SHARED);
	long before, cached;

	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	first = pin_at(fd, at, 256 * page, SHERD_PIN_READ_ONLY);
	CHECK(first >= 0);
	cached = number_in("/proc/meminfo", "Cached:");
	before = vm_pin();
	second = pin_at(fd, at, 256 * page, SHERD_PIN_READ_ONLY);
	CHECK(second >= 0);
	CHECK_EQ(info(second).segments, info(first).segments);
	CHECK_EQ(vm_pin(), before + 256);
	CHECK(labs(number_in("/proc/meminfo", "Cached:") - cached) < 256 * page / 1024 / 2);
	unlink(path);
}

/* Pages of a file that shrinks leave the file; the kernel's page cache must not mind the window. */
static void truncated_under_window(void)
{
	const char *const dirs[] = { "/ext4", "/tmp" };
	char path[64];
	uint8_t *at, *seen;
	int fd, buffer, w;
	size_t i;

	for (i = 0; i < 2; i++) {
		if (!mounted(dirs[i]))
			continue;
		fd = file_in(dirs[i], N * page, path);
		at = map(fd, N * page, PROT_READ, MAP_SHARED);
		buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
		CHECK(buffer >= 0);
		w = window(buffer, 0, N * page);
		seen = map(w, N * page, PROT_READ, MAP_SHARED);
		CHECK(is_pattern(seen, 0, N * page));
		CHECK_EQ(truncate(path, 0), 0);
		CHECK(is_pattern(seen, 0, N * page));
		unlink(path);
		close(fd);
		munmap(at, N * page);
		close(buffer);
		close(w);
		CHECK(is_pattern(seen, 0, N * page));
	}
}

/*
 * What is written past the page cache drops its pages, unless they are dirty: as if it were
 * truncated.
 */
static void written_past_cache(void)
{
	char path[64];
	uint8_t *at, *seen,
		*data = map(-1, N * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
	int fd, buffer, rw;

	if (!mounted("/ext4"))
		test_skip("no ext4 in this guest");
	fd = file_in("/ext4", N * page, path);
	at = map(fd, N * page, PROT_READ, MAP_SHARED);
	buffer = pin_at(fd, at, N * page, SHERD_PIN_READ_ONLY);
	CHECK(buffer >= 0);
	seen = map(window(buffer, 0, N * page), N * page, PROT_READ, MAP_SHARED);
	rw = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
	CHECK(rw >= 0);
	memset(data, 0x5a, N * page);
	CHECK_EQ(pwrite(rw, data, N * page, 0), N * page);
	CHECK(is_pattern(seen, 0, N * page));
	memset(data, 0, N * page);
	CHECK_EQ(pread(rw, data, N * page, 0), N * page);
	CHECK_EQ(data[3 * page], 0x5a);
	unlink(path);
}

/* The pages of such a file are the device's memory, which has no business being pinned for long. */
static void dax(void)
{
	char path[64];
	void *at;
	int fd;

	if (!mounted("/dax"))
		test_skip("no file system with DAX in this guest");
	fd = file_in("/dax", page, path);
	at = map(fd, page, PROT_READ, MAP_SHARED);
	CHECK_EQ(pin_at(fd, at, page, SHERD_PIN_READ_ONLY), -EINVAL);
	CHECK_EQ(pin_at(fd, at, page, SHERD_PIN_IMMUTABLE), -EINVAL);
	CHECK(open(path, O_RDWR) >= 0);
}

static void punched(void)
{
	int fd = memfd(0, N * page, F_SEAL_SHRINK), buffer = pin(fd, 0, N * page, 0), w;
	uint8_t *seen, *at = map(fd, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);

	CHECK(buffer >= 0);
	w = window(buffer, 0, N * page);
	seen = map(w, N * page, PROT_READ | PROT_WRITE, MAP_SHARED);
	CHECK_EQ(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4 * page), 0);
	CHECK_EQ(madvise(at + 4 * page, 4 * page, MADV_REMOVE), 0);
	CHECK(is_pattern(seen, 0, N * page));
	CHECK_EQ(at[0], 0);
	at[0] = 77;
	CHECK_EQ(seen[0], pattern(0, 0));
}

const struct test source_tests[] = {
	{ "a file on ext4 is pinned as its page cache (invariant 2)", ext4, 0 },
	{ "a file on tmpfs is pinned as its pages (invariant 2)", tmpfs, 0 },
	{ "a file on squashfs is pinned, and immutable", squashfs, 0 },
	{ "a file on overlayfs is pinned as the page cache beneath, and kept from writers there",
	  overlayfs, 0 },
	{ "a file that an overlay copies up is pinned as what it was, or as the copy (invariant 1)",
	  copied_up, 0 },
	{ "a hugetlb memfd is pinned in any run of small pages", hugetlb, 0 },
	{ "a memfd of transparent huge pages is pinned, and its window outlives it", huge_shmem,
	  0 },
	{ "secret memory is refused", secret, 0 },
	{ "mappings without struct pages are refused", pfn_mapping, 0 },
	{ "private and foreign mappings are refused, wholly or in part (invariant 2)",
	  private_mapping, 0 },
	{ "a mapping beyond the file's end is refused, and nothing stays pinned (invariant 4)",
	  beyond_end, 0 },
	{ "holes are zeros, and filled in place (invariant 2)", holes, 0 },
	{ "holes of a memfd become its pages (invariant 2)", memfd_holes, 0 },
	{ "a file system is unmounted under a window, but not under an immutable one", unmounted,
	  0 },
	{ "two buffers of a file are one set of pages (invariant 2)", one_set_of_pages, 0 },
	{ "a window survives the truncation and the end of its file (invariant 2)",
	  truncated_under_window, 0 },
	{ "a window keeps pages of a file that is written past its page cache (invariant 2)",
	  written_past_cache, 0 },
	{ "a file whose pages are a device's own (DAX) is refused", dax, 0 },
	{ "a window keeps pages that were punched out of a memfd (invariant 2)", punched, 0 },
	{ 0 }
};
