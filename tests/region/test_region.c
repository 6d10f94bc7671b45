/* SPDX-License-Identifier: MIT */
/* The ladder of rungs, windows and rings, above a kernel that does what each test wants of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <fcntl.h>
#include <liburing.h>
#include <linux/dma-buf.h>
#include <linux/sherd.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "fake_kernel.h"
#include "fds.h"
#include "region/rung.h"
#include "unit/scratch.h"

#define PAGES 6

static size_t page;
static struct sherd_error err;

/* A file of PAGES pages and a bit, mapped as a shard is. */
static struct sherd_map make_map(void)
{
	char path[] = "/tmp/sherd-region-XXXXXX";
	int fd = mkstemp(path);
	size_t i, bytes = (PAGES - 1) * page + 100;
	struct sherd_map map;

	for (i = 0; i < bytes; i++)
		assert_int_equal(write(fd, &(char){ (char)(i * 7 + i / page) }, 1), 1);
	close(fd);
	assert_int_equal(sherd_map_open(&map, path, &err), 0);
	unlink(path);
	return map;
}

static void the_first_rung_that_works_is_taken(void **state)
{
	static const struct {
		bool sherd, udmabuf;
		enum sherd_rung shard, ring;
	} cases[] = {
		{ true, true, SHERD_RUNG_SHERD, SHERD_RUNG_SHERD },
		{ true, false, SHERD_RUNG_SHERD, SHERD_RUNG_SHERD },
		{ false, true, SHERD_RUNG_LOCKED, SHERD_RUNG_UDMABUF },
		{ false, false, SHERD_RUNG_LOCKED, SHERD_RUNG_LOCKED },
	};
	struct sherd_map map = make_map();
	struct sherd_region *r;
	int before = fds();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_kernel_reset(cases[i].sherd, cases[i].udmabuf);
		assert_int_equal(sherd_region_open(&r, &map, i % 2 ? NULL : "auto", &err), 0);
		assert_int_equal(r->rung, cases[i].shard);
		assert_true(r->how[0]);
		for (int k = 0; k < SHERD_N_RUNGS; k++)
			assert_int_equal(!!r->refused[k].msg[0], k < (int)r->rung);
		sherd_region_close(r);
		assert_int_equal(sherd_ring_create(&r, 3, 1000, NULL, &err), 0);
		assert_int_equal(r->rung, cases[i].ring);
		sherd_region_close(r);
		assert_int_equal(fake_kernel.wrong, 0);
	}
	assert_int_equal(fds(), before);
	sherd_map_close(&map);
}

static void a_rung_asked_for_by_name_is_taken_or_its_refusal_is_the_error(void **state)
{
	struct sherd_map map = make_map();
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(true, true);
	for (int i = 0; i < SHERD_N_RUNGS; i++) {
		if (i == SHERD_RUNG_UDMABUF)
			continue;
		assert_int_equal(sherd_region_open(&r, &map, sherd_rung_name(i), &err), 0);
		assert_int_equal(r->rung, i);
		sherd_region_close(r);
	}
	assert_null(sherd_rung_name(SHERD_N_RUNGS));
	assert_null(sherd_rung_name(-1));
	assert_int_not_equal(sherd_region_open(&r, &map, "udmabuf", &err), 0);
	assert_string_equal(
		err.msg, "region \"udmabuf\": /dev/udmabuf takes memfds only, and this is a file");
	assert_null(r);
	assert_int_equal(sherd_region_open(&r, &map, "shred", &err), -EINVAL);
	assert_non_null(strstr(err.msg, "shred"));
	fake_kernel_reset(false, false);
	assert_int_equal(sherd_region_open(&r, &map, "sherd", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "modprobe sherd"));
	assert_int_equal(sherd_ring_create(&r, 3, 1, "udmabuf", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "CONFIG_UDMABUF"));
	sherd_map_close(&map);
}

static void a_shard_is_pinned_immutable_or_else_read_only(void **state)
{
	static const int may_not[] = { 0, ETXTBSY, EACCES, EPERM };
	struct sherd_map map = make_map();
	struct sherd_region *r;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(may_not); i++) {
		fake_kernel_reset(true, false);
		fake_kernel.immutable_error = may_not[i];
		assert_int_equal(sherd_region_open(&r, &map, "sherd", &err), 0);
		assert_int_equal(fake_kernel.last_flags,
				 may_not[i] ? SHERD_PIN_READ_ONLY : SHERD_PIN_IMMUTABLE);
		print_message("%s\n", r->how);
		assert_non_null(
			strstr(r->how, may_not[i] ? "6 pages in 1 runs, read-only" : "immutable"));
		assert_int_equal(r->size, PAGES * page);
		sherd_region_close(r);
	}
	sherd_map_close(&map);
}

/* What a progress bar is told. */
struct told {
	int times;
	uint64_t done, total, longest;
};

static void tell(void *ctx, const char *what, uint64_t done, uint64_t total)
{
	struct told *t = ctx;

	assert_string_equal(what, "reading the weights");
	assert_true(done > t->done && done <= total);
	t->longest = MAX(t->longest, done - t->done);
	t->done = done;
	t->total = total;
	t->times++;
}

/*
 * The pin itself heeds no handler of a signal: it finds all in memory, brought there in pieces that
 * take no time worth speaking of.
 */
static void what_is_pinned_was_read_before_in_pieces_between_which_a_signal_is_taken(void **state)
{
	size_t size = ((size_t)20 << 20) + 5000;
	char *path = in_dir("cold"), *bytes = calloc(1, size);
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	struct told told = { 0 };
	struct sherd_region *r;
	struct sherd_map map;

	(void)state;
	fake_kernel_reset(true, false);
	assert_int_equal(sherd_write_all(fd, bytes, size, path, &err), 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	close(fd);
	assert_int_equal(sherd_map_open(&map, path, &err), 0);
	assert_int_equal(sherd_region_open_watched(&r, &map, "sherd", tell, &told, &err), 0);
	assert_int_equal(fake_kernel.missing, 0);
	assert_int_equal(told.done, r->size);
	assert_int_equal(told.total, r->size);
	assert_true(told.times > 1 && told.longest <= 1 << 20);
	sherd_region_close(r);
	/* other rungs read nothing */
	told = (struct told){ 0 };
	assert_int_equal(sherd_region_open_watched(&r, &map, "plain", tell, &told, &err), 0);
	assert_int_equal(told.times, 0);
	sherd_region_close(r);
	sherd_map_close(&map);
	free(bytes);
	free(path);
}

static void each_refusal_of_the_module_is_a_sentence_and_leaves_nothing(void **state)
{
	static const struct {
		int code;
		const char *says;
	} cases[] = {
		{ ENOBUFS, "RLIMIT_MEMLOCK allows" },
		{ ENOTTY, "another driver" },
		{ EMFILE, "files that this process may open are open" },
		{ EFAULT, "can't be pinned" },
		{ ENOMEM, "Cannot allocate memory" },
	};
	struct sherd_map map = make_map();
	struct sherd_region *r;
	int before = fds();

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_kernel_reset(true, false);
		fake_kernel.pin_error = cases[i].code;
		assert_int_not_equal(sherd_region_open(&r, &map, "sherd", &err), 0);
		print_message("%s\n", err.msg);
		assert_non_null(strstr(err.msg, cases[i].says));
		assert_int_equal(fds(), before);
		/* and "auto" goes on with that sentence kept */
		assert_int_equal(sherd_region_open(&r, &map, NULL, &err), 0);
		assert_int_equal(r->rung, SHERD_RUNG_LOCKED);
		assert_non_null(strstr(r->refused[SHERD_RUNG_SHERD].msg, cases[i].says));
		sherd_region_close(r);
		assert_int_equal(fds(), before);
	}
	sherd_map_close(&map);
}

/* As a user without capabilities and with a limit of one page. */
static int limited(void)
{
	struct rlimit limit = { page, page };
	struct sherd_map map = make_map();
	struct sherd_region *r;
	char numbers[128];

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || (!getuid() && setuid(65534)))
		return 1;
	if (sherd_region_open(&r, &map, "locked", &err) != -ENOBUFS)
		return 2;
	print_message("%s\n", err.msg);
	snprintf(numbers, sizeof(numbers), "%zu KiB are needed, and RLIMIT_MEMLOCK allows %zu KiB;",
		 PAGES * page >> 10, page >> 10);
	if (!strstr(err.msg, numbers) || !strstr(err.msg, "LimitMEMLOCK="))
		return 3;
	return sherd_region_open(&r, &map, NULL, &err) || r->rung != SHERD_RUNG_PLAIN ? 4 : 0;
}

static void
beyond_memlock_the_sentence_says_what_is_needed_allowed_and_how_to_raise_it(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	fake_kernel_reset(false, false);
	pid = fork();
	if (!pid)
		_exit(limited());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void what_would_take_most_of_the_memory_is_held_only_when_asked(void **state)
{
	uint64_t have = sherd_memory_available();
	struct sherd_map map = { .fd = -1 };
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(true, false);
	if (have > SIZE_MAX / 2)
		skip();
	map.size = have / 5 * 4;
	map.data =
		mmap(NULL, map.size, PROT_READ, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	assert_true(map.data != MAP_FAILED);
	assert_int_equal(sherd_region_open(&r, &map, NULL, &err), 0);
	assert_int_equal(r->rung, SHERD_RUNG_PLAIN);
	assert_non_null(strstr(r->refused[SHERD_RUNG_SHERD].msg, "three quarters"));
	assert_non_null(strstr(r->refused[SHERD_RUNG_LOCKED].msg, "three quarters"));
	assert_int_equal(fake_kernel.pins, 0);
	sherd_region_close(r);
	munmap((void *)map.data, map.size);
}

/* A tree of files that stands for /proc, of a machine with so many pages to be had. */
static void pretend(int available, int pinned, int locked)
{
	char *text = sherd_asprintf("MemAvailable: %zu kB\nHugepagesize: 2048 kB\n",
				    available * page >> 10);
	char *counters =
		sherd_asprintf("nr_mlock %d\nnr_foll_pin_acquired %d\nnr_foll_pin_released 1000\n",
			       locked, 1000 + pinned);

	write_file("root/proc/meminfo", text);
	write_file("root/proc/vmstat", counters);
	free(text);
	free(counters);
	sherd_root = in_dir("root");
}

static void end_pretence(void)
{
	free((char *)sherd_root);
	sherd_root = "";
}

/* What another process holds is no more memory to this one; what is another file's is. */
static void what_is_held_already_costs_nothing_to_hold_once_more(void **state)
{
	static const struct {
		int available, pinned, locked;
		enum sherd_rung rung;
	} cases[] = {
		{ 8, 0, 0, SHERD_RUNG_SHERD },
		{ 7, 0, 0, SHERD_RUNG_PLAIN }, /* six of them would be more than three quarters */
		{ 7, PAGES, 0, SHERD_RUNG_SHERD }, /* pinned by the first process */
		{ 7, 2 * PAGES, 0, SHERD_RUNG_SHERD }, /* and a second one */
		{ 7, 0, PAGES, SHERD_RUNG_SHERD },
		{ 7, 1, 0, SHERD_RUNG_PLAIN },
	};
	struct sherd_map map = make_map();
	struct sherd_region *r;
	volatile uint8_t sum = 0;

	(void)state;
	for (size_t i = 0; i < map.size; i++)
		sum += map.data[i];
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		fake_kernel_reset(true, false);
		pretend(cases[i].available, cases[i].pinned, cases[i].locked);
		assert_int_equal(sherd_region_open(&r, &map, NULL, &err), 0);
		end_pretence();
		print_message("%s\n", r->refused[SHERD_RUNG_SHERD].msg);
		assert_int_equal(r->rung, cases[i].rung);
		if (r->rung != SHERD_RUNG_SHERD)
			assert_non_null(strstr(r->refused[SHERD_RUNG_SHERD].msg, "--region NAME"));
		sherd_region_close(r);
	}
	sherd_map_close(&map);
}

static void a_window_is_a_run_of_pages_within_its_region(void **state)
{
	struct sherd_map map = make_map();
	struct sherd_region *r;
	struct sherd_window w;
	size_t first, n;

	(void)state;
	fake_kernel_reset(true, false);
	assert_int_equal(sherd_region_open(&r, &map, NULL, &err), 0);
	for (first = 0; first < PAGES; first++) {
		for (n = 1; first + n <= PAGES; n++) {
			assert_int_equal(sherd_window_open(&w, r, first * page, n * page, &err), 0);
			assert_ptr_equal(w.data, map.data + first * page);
			assert_true(w.fd >= 0);
			sherd_window_close(&w);
		}
		assert_int_equal(sherd_window_open(&w, r, first * page, n * page, &err), -EINVAL);
	}
	assert_int_equal(sherd_window_open(&w, r, 0, 0, &err), -EINVAL);
	assert_int_equal(sherd_window_open(&w, r, 1, page, &err), -EINVAL);
	assert_int_equal(sherd_window_open(&w, r, 0, page + 1, &err), -EINVAL);
	assert_int_equal(sherd_window_open(&w, r, -page, page, &err), -EINVAL);
	assert_int_equal(sherd_window_open(&w, r, page, -page, &err), -EINVAL);
	r->max_window = 2 * page;
	assert_int_equal(sherd_window_open(&w, r, 0, 3 * page, &err), -EFBIG);
	assert_int_equal(fake_kernel.wrong, 0);
	sherd_region_close(r);
	sherd_map_close(&map);
}

static void
sync_tells_the_kernel_what_the_cpu_does_and_costs_nothing_without_a_dma_buf(void **state)
{
	struct sherd_region *r;

	(void)state;
	for (int dma_buf = 0; dma_buf < 2; dma_buf++) {
		fake_kernel_reset(dma_buf, false);
		assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), 0);
		assert_int_equal(sherd_ring_slot(r, 1)->fd >= 0, dma_buf);
		assert_int_equal(
			sherd_window_begin(sherd_ring_slot(r, 1), SHERD_ACCESS_WRITE, &err), 0);
		assert_int_equal(fake_kernel.last_sync,
				 dma_buf ? DMA_BUF_SYNC_START | DMA_BUF_SYNC_WRITE : 0);
		assert_int_equal(sherd_window_end(sherd_ring_slot(r, 1),
						  SHERD_ACCESS_WRITE | SHERD_ACCESS_READ, &err), 0);
		assert_int_equal(fake_kernel.last_sync,
				 dma_buf ? DMA_BUF_SYNC_END | DMA_BUF_SYNC_RW : 0);
		assert_int_equal(fake_kernel.syncs, 2 * dma_buf);
		sherd_region_close(r);
	}
}

static void a_ring_is_sealed_slots_of_its_own(void **state)
{
	struct sherd_region *r;
	size_t sizes[] = { 1, page - 1, page, page + 1, 300000, (size_t)1 << 20 };
	int before = fds(), i, n;

	(void)state;
	fake_kernel_reset(true, true);
	for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
		n = 3 + (int)s;
		assert_int_equal(sherd_ring_create(&r, n, sizes[s], NULL, &err), 0);
		assert_int_equal(r->slot_size, ROUND_UP(sizes[s], page));
		assert_true(r->size >= n * r->slot_size);
		assert_int_equal(fcntl(r->fd, F_GET_SEALS) & (F_SEAL_SHRINK | F_SEAL_GROW),
				 F_SEAL_SHRINK | F_SEAL_GROW);
		for (i = 0; i < n; i++)
			memset(sherd_ring_slot(r, i)->data, i + 1, r->slot_size);
		for (i = 0; i < n; i++) {
			const uint8_t *at = sherd_ring_slot(r, i)->data;

			assert_int_equal(at[0], i + 1);
			assert_int_equal(at[r->slot_size - 1], i + 1);
			assert_int_equal(sherd_ring_slot(r, i)->length, r->slot_size);
		}
		sherd_region_close(r);
		assert_int_equal(fds(), before);
	}
	assert_int_equal(sherd_ring_create(&r, 2, page, NULL, &err), -EINVAL);
	assert_int_equal(sherd_ring_create(&r, 1 << 20, page, NULL, &err), -EINVAL);
	assert_int_equal(sherd_ring_create(&r, 3, 0, NULL, &err), -EINVAL);
	assert_int_equal(sherd_ring_create(&r, 3, SIZE_MAX, NULL, &err), -EINVAL);
	assert_int_equal(sherd_ring_create(&r, 3, SIZE_MAX / 4096, NULL, &err), -ENOMEM);
	print_message("%s\n", err.msg);
	assert_int_equal(fds(), before);
}

/* Nobody else's memory is touched, and the ring lies in other pages. */
static void a_ring_for_which_no_huge_page_is_left_leaves_its_neighbours_alone(void **state)
{
	struct sherd_region *r;
	unsigned char in;
	int before = fds();

	(void)state;
	fake_kernel_reset(true, false);
	fake_kernel.huge_memfds = fake_kernel.no_huge_pages = true;
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), 0);
	assert_int_not_equal(r->pages, SHERD_PAGES_HUGETLB);
	if (fake_kernel.neighbour)
		assert_int_equal(mincore(fake_kernel.neighbour, page, &in), 0);
	sherd_region_close(r);
	assert_int_equal(fds(), before);
}

/* They are not among what can be had, since they are set aside. */
static void a_ring_that_fits_into_reserved_huge_pages_asks_for_no_other_memory(void **state)
{
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(true, false);
	pretend(16, 0, 0);
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), -ENOMEM);
	assert_non_null(strstr(err.msg, "smaller slots"));
	fake_kernel.huge_memfds = true;
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), 0);
	assert_int_equal(r->pages, SHERD_PAGES_HUGETLB);
	assert_int_equal(r->size, (size_t)4 << 20);
	sherd_region_close(r);
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), 0); /* too small for one */
	assert_int_not_equal(r->pages, SHERD_PAGES_HUGETLB);
	sherd_region_close(r);
	end_pretence();
}

static void udmabuf_that_refuses_huge_pages_gets_small_ones_before_the_next_rung(void **state)
{
	struct sherd_region *r;
	int before = fds();

	(void)state;
	fake_kernel_reset(false, true);
	fake_kernel.huge_memfds = true;
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), 0);
	assert_int_equal(r->rung, SHERD_RUNG_UDMABUF);
	assert_int_equal(r->pages, SHERD_PAGES_HUGETLB);
	sherd_region_close(r);
	fake_kernel.no_huge_udmabuf = true;
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), 0);
	assert_int_equal(r->rung, SHERD_RUNG_UDMABUF);
	assert_int_not_equal(r->pages, SHERD_PAGES_HUGETLB);
	assert_int_equal(r->size, (size_t)3 << 20);
	assert_non_null(strstr(r->how, "takes no reserved huge pages"));
	memset(r->data, 1, r->size);
	assert_true(sherd_ring_slot(r, 2)->fd >= 0);
	assert_ptr_equal(sherd_ring_slot(r, 2)->data, r->data + ((size_t)2 << 20));
	sherd_region_close(r);
	fake_kernel.udmabuf_error = EPERM; /* nor small ones: then they stay as they were */
	assert_int_equal(sherd_ring_create(&r, 3, (size_t)1 << 20, NULL, &err), 0);
	assert_int_equal(r->rung, SHERD_RUNG_LOCKED);
	assert_int_equal(r->pages, SHERD_PAGES_HUGETLB);
	assert_non_null(strstr(r->refused[SHERD_RUNG_UDMABUF].msg, "refuses the memfd"));
	sherd_region_close(r);
	assert_int_equal(fds(), before);
}

static void a_ring_begins_where_a_huge_page_of_this_kernel_can(void **state)
{
	static const size_t sizes[] = { (size_t)2 << 20, (size_t)8 << 20, (size_t)32 << 20 };
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(true, false);
	pretend(1 << 20, 0, 0);
	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		char *text = sherd_asprintf("%zu\n", sizes[i]);

		write_file("root/sys/kernel/mm/transparent_hugepage/hpage_pmd_size", text);
		assert_int_equal(sherd_ring_create(&r, 3, sizes[i], NULL, &err), 0);
		assert_int_equal((uintptr_t)r->data % sizes[i], 0);
		sherd_region_close(r);
		free(text);
	}
	end_pretence();
}

static void a_slot_larger_than_udmabuf_allows_goes_a_rung_down(void **state)
{
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(false, true);
	assert_int_equal(sherd_ring_create(&r, 3, ((size_t)64 << 20) + 1, NULL, &err), 0);
	print_message("%s\n", r->refused[SHERD_RUNG_UDMABUF].msg);
	assert_int_equal(r->rung, SHERD_RUNG_LOCKED);
	assert_non_null(strstr(r->refused[SHERD_RUNG_UDMABUF].msg, "64 MiB"));
	sherd_region_close(r);
	fake_kernel.udmabuf_error = EPERM;
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), 0);
	assert_int_equal(r->rung, SHERD_RUNG_LOCKED);
	sherd_region_close(r);
}

static void a_ring_of_which_a_window_fails_goes_a_rung_down_and_leaves_nothing_there(void **state)
{
	struct sherd_region *r;
	int before = fds();

	(void)state;
	for (int i = 0; i < 5; i++) {
		fake_kernel_reset(true, false);
		fake_kernel.export_error = EMFILE;
		fake_kernel.export_after = i;
		assert_int_equal(sherd_ring_create(&r, 5, page, "sherd", &err), -EMFILE);
		assert_int_equal(fake_kernel.exports, i);
		assert_int_equal(fds(), before);
		fake_kernel.exports = 0;
		assert_int_equal(sherd_ring_create(&r, 5, page, NULL, &err), 0);
		assert_int_equal(r->rung, SHERD_RUNG_LOCKED);
		assert_non_null(strstr(r->refused[SHERD_RUNG_SHERD].msg, "RLIMIT_NOFILE"));
		assert_int_equal(fds(), before + 1); /* the memfd */
		sherd_region_close(r);
		assert_int_equal(fds(), before);
	}
}

static uint64_t status_value(const char *key)
{
	uint64_t value = 0;

	assert_true(sherd_proc_value("/proc/self/status", key, &value));
	return value;
}

/* A node that the kernel has and this place has not is a container's to be given. */
static void a_limit_that_is_hit_is_named_with_its_number_and_what_helps(void **state)
{
	struct sherd_map map = make_map();
	struct sherd_region *r;
	struct sherd_window w;

	(void)state;
	fake_kernel_reset(false, false);
	pretend(1 << 20, 0, 0);
	write_file("root/sys/module/sherd/refcnt", "0\n");
	write_file("root/sys/class/misc/udmabuf/dev", "10:125\n");
	write_file("root/proc/sys/fs/file-max", "4711\n");
	assert_int_equal(sherd_region_open(&r, &map, "sherd", &err), -ENOENT);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "--device /nowhere/sherd"));
	assert_int_equal(sherd_ring_create(&r, 3, page, "udmabuf", &err), -ENOENT);
	assert_non_null(strstr(err.msg, "--device /nowhere/udmabuf"));

	fake_kernel.memfd_error = EMFILE;
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), -EMFILE);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "RLIMIT_NOFILE"));
	fake_kernel.memfd_error = ENFILE;
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), -ENFILE);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "all 4711 files that this machine may open are open"));

	fake_kernel_reset(false, true);
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), 0);
	r->max_window = page;
	assert_int_equal(sherd_window_open(&w, r, 0, 2 * page, &err), -EFBIG);
	print_message("%s\n", err.msg);
	assert_non_null(strstr(err.msg, "size_limit_mb"));
	sherd_region_close(r);
	sherd_map_close(&map);
	end_pretence();
}

/* Locked is what has been read, and no longer than the region lives. */
static void a_locked_shard_is_not_read_before_its_time(void **state)
{
	int fd = memfd_create("shard", MFD_CLOEXEC);
	size_t size = (size_t)64 << 20;
	struct sherd_map map;
	struct sherd_region *r;
	uint64_t shmem;

	(void)state;
	fake_kernel_reset(false, false);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(sherd_map_fd(&map, fd, "shard", &err), 0);
	shmem = status_value("RssShmem");
	if (sherd_region_open(&r, &map, "locked", &err)) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	assert_int_equal(status_value("VmLck"), size);
	assert_true(status_value("RssShmem") - shmem < size / 8);
	sherd_region_close(r);
	assert_int_equal(status_value("VmLck"), 0);
	sherd_map_close(&map);
}

/*
 * A ring's memfd is not handed to programs that are started, nor is anything of it left afterwards.
 */
static void a_ring_is_nobody_elses_and_ends_with_its_region(void **state)
{
	struct sherd_region *r;
	size_t n;
	char *maps;

	(void)state;
	fake_kernel_reset(true, true);
	assert_int_equal(sherd_ring_create(&r, 3, page, NULL, &err), 0);
	assert_int_equal(fcntl(r->fd, F_GETFD), FD_CLOEXEC);
	sherd_region_close(r);
	fake_kernel_reset(true, true); /* which had mapped it, too */
	assert_int_equal(sherd_read_file("/proc/self/maps", 1 << 22, &maps, &n, &err), 0);
	assert_null(strstr(maps, "sherd-ring"));
	free(maps);
}

static void a_shard_is_no_fixed_buffer(void **state)
{
	struct sherd_map map = make_map();
	struct sherd_region *r;

	(void)state;
	fake_kernel_reset(true, false);
	assert_int_equal(sherd_region_open(&r, &map, NULL, &err), 0);
	assert_int_equal(sherd_region_register(r, NULL, &err), -EINVAL);
	sherd_region_close(r);
	sherd_map_close(&map);
}

static int names_amid; /* in the cache, in the middle of a sample's being written */

static void look_amid(int sig)
{
	char *path = sherd_cache_dir();
	DIR *d = opendir(path);
	struct dirent *e;

	(void)sig;
	while ((e = readdir(d)))
		names_amid += e->d_name[0] != '.';
	closedir(d);
	free(path);
}

/* A write that hits the limit on files' sizes is a signal at a moment that a test can choose. */
static void a_signal_amid_a_sample_leaves_no_file(void **state)
{
	char *cache = in_dir("cache");
	struct rlimit old, limit;
	struct sherd_map map;
	int before = fds();

	(void)state;
	setenv("XDG_CACHE_HOME", cache, 1);
	signal(SIGXFSZ, look_amid);
	getrlimit(RLIMIT_FSIZE, &old);
	limit = (struct rlimit){ 65536, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
	names_amid = 0;
	assert_int_equal(sherd_sample_open(&map, 1 << 20, false, &err), -EFBIG);
	setrlimit(RLIMIT_FSIZE, &old);
	signal(SIGXFSZ, SIG_DFL);
	assert_int_equal(names_amid, 0);
	assert_int_equal(fds(), before);
	assert_int_equal(sherd_sample_open(&map, 1 << 20, false, &err), 0);
	assert_int_equal(map.size, 1 << 20);
	assert_int_equal(fcntl(map.fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	sherd_map_close(&map);
	assert_int_equal(fds(), before);
	free(cache);
}

static bool start_uring(struct io_uring *uring)
{
	int rc = io_uring_queue_init(8, uring, 0);

	if (rc)
		print_message("skipped: there is no io_uring: %s\n", strerror(-rc));
	return !rc;
}

/* Whether that could be done; not where RLIMIT_MEMLOCK is too small for it. */
static bool registered(int rc)
{
	if (rc == -ENOMEM)
		print_message("skipped: %s\n", err.msg);
	else if (rc)
		fail_msg("%s", err.msg);
	return !rc;
}

/* A page, as fixed buffer @index, to or from a pipe; the number of bytes, or a negative errno. */
static int move_page(struct io_uring *uring, const struct sherd_window *slot, int index, int fd,
		     bool out)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(uring);
	struct io_uring_cqe *cqe;
	int rc;

	if (out)
		io_uring_prep_write_fixed(sqe, fd, slot->data, (unsigned)page, 0, index);
	else
		io_uring_prep_read_fixed(sqe, fd, slot->data, (unsigned)page, 0, index);
	assert_int_equal(io_uring_submit(uring), 1);
	assert_int_equal(io_uring_wait_cqe(uring, &cqe), 0);
	rc = cqe->res;
	io_uring_cqe_seen(uring, cqe);
	return rc;
}

/* What leaves as slot @from of @a, fixed buffer @i, arrives in slot @to of @b, fixed buffer @j. */
static void send_slot(struct io_uring *uring, struct sherd_region *a, int from, int i,
		      struct sherd_region *b, int to, int j)
{
	static int value;
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	memset(sherd_ring_slot(a, from)->data, ++value, page);
	assert_int_equal(move_page(uring, sherd_ring_slot(a, from), i, ends[1], true), page);
	assert_int_equal(move_page(uring, sherd_ring_slot(b, to), j, ends[0], false), page);
	assert_memory_equal(sherd_ring_slot(a, from)->data, sherd_ring_slot(b, to)->data, page);
	close(ends[0]);
	close(ends[1]);
}

static void slots_are_io_urings_fixed_buffers(void **state)
{
	struct sherd_region *r;
	struct io_uring uring;

	(void)state;
	fake_kernel_reset(true, false);
	if (!start_uring(&uring))
		skip();
	assert_int_equal(sherd_ring_create(&r, 4, 2 * page, NULL, &err), 0);
	if (!registered(sherd_region_register(r, &uring, &err)))
		skip();
	send_slot(&uring, r, 2, 2, r, 3, 3);
	assert_int_equal(sherd_region_register(r, &uring, &err), -EBUSY);
	print_message("%s\n", err.msg);
	assert_int_equal(sherd_region_unregister(&uring, &err), 0);
	assert_int_not_equal(sherd_region_unregister(&uring, &err), 0);
	assert_int_equal(sherd_region_register(r, &uring, &err), 0);
	io_uring_queue_exit(&uring);
	sherd_region_close(r);
}

static void two_rings_are_one_io_urings_fixed_buffers(void **state)
{
	struct sherd_region *r[2];
	struct io_uring uring;

	(void)state;
	fake_kernel_reset(true, false);
	if (!start_uring(&uring))
		skip();
	assert_int_equal(sherd_ring_create(&r[0], 4, page, NULL, &err), 0);
	assert_int_equal(sherd_ring_create(&r[1], 3, 2 * page, NULL, &err), 0);
	if (!registered(sherd_region_register_all(r, 2, &uring, &err)))
		skip();
	send_slot(&uring, r[0], 3, 3, r[1], 2, 4 + 2);
	io_uring_queue_exit(&uring);
	sherd_region_close(r[0]);
	sherd_region_close(r[1]);
}

static void rings_come_and_go_in_a_table_of_fixed_buffers(void **state)
{
	struct sherd_region *r[2];
	struct io_uring uring;
	int rc;

	(void)state;
	fake_kernel_reset(true, false);
	if (!start_uring(&uring))
		skip();
	rc = sherd_fixed_table(&uring, 16, &err);
	if (rc == -EOPNOTSUPP) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	assert_int_equal(rc, 0);
	assert_int_equal(sherd_ring_create(&r[0], 4, page, NULL, &err), 0);
	assert_int_equal(sherd_ring_create(&r[1], 5, page, NULL, &err), 0);
	if (!registered(sherd_region_register_at(r[0], &uring, 0, &err)) ||
	    !registered(sherd_region_register_at(r[1], &uring, 11, &err)))
		skip();
	send_slot(&uring, r[0], 1, 1, r[1], 4, 15);
	send_slot(&uring, r[1], 0, 11, r[0], 3, 3);
	/* beyond the end */
	assert_int_equal(sherd_region_register_at(r[1], &uring, 12, &err), -EINVAL);
	print_message("%s\n", err.msg);
	assert_int_equal(sherd_region_unregister_at(r[1], &uring, 11, &err), 0);
	/* it is no buffer */
	assert_int_equal(move_page(&uring, sherd_ring_slot(r[1], 0), 11, 1, true), -EFAULT);
	send_slot(&uring, r[0], 0, 0, r[0], 2, 2);
	assert_int_equal(sherd_region_register_at(r[1], &uring, 4, &err), 0);
	send_slot(&uring, r[1], 0, 4, r[1], 1, 5);
	io_uring_queue_exit(&uring);
	sherd_region_close(r[0]);
	sherd_region_close(r[1]);
}

/* As a user without capabilities, whose limit does for an io_uring and no more. */
static int registers_nothing(void)
{
	struct rlimit limit = { 16 * page, 16 * page };
	struct io_uring uring;
	struct sherd_region *r;
	char numbers[96];

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || (!getuid() && setuid(65534)))
		return 1;
	if (io_uring_queue_init(8, &uring, 0))
		return 77;
	if (sherd_ring_create(&r, 4, 64 * page, "plain", &err))
		return 2;
	if (sherd_region_register(r, &uring, &err) != -ENOMEM)
		return 3;
	print_message("%s\n", err.msg);
	snprintf(numbers, sizeof(numbers), "%zu KiB are needed, and RLIMIT_MEMLOCK allows %zu KiB",
		 256 * page >> 10, 16 * page >> 10);
	return strstr(err.msg, numbers) ? 0 : 4;
}

static void fixed_buffers_beyond_memlock_say_what_is_needed_and_allowed(void **state)
{
	pid_t pid;
	int status;

	(void)state;
	fake_kernel_reset(false, false);
	pid = fork();
	if (!pid)
		_exit(registers_nothing());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

static int set_up(void **state)
{
	page = sherd_page_size();
	return scratch_make(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_rung_that_works_is_taken),
		cmocka_unit_test(a_rung_asked_for_by_name_is_taken_or_its_refusal_is_the_error),
		cmocka_unit_test(a_shard_is_pinned_immutable_or_else_read_only),
		cmocka_unit_test(
			what_is_pinned_was_read_before_in_pieces_between_which_a_signal_is_taken),
		cmocka_unit_test(each_refusal_of_the_module_is_a_sentence_and_leaves_nothing),
		cmocka_unit_test(
			beyond_memlock_the_sentence_says_what_is_needed_allowed_and_how_to_raise_it),
		cmocka_unit_test(what_would_take_most_of_the_memory_is_held_only_when_asked),
		cmocka_unit_test(what_is_held_already_costs_nothing_to_hold_once_more),
		cmocka_unit_test(a_window_is_a_run_of_pages_within_its_region),
		cmocka_unit_test(
			sync_tells_the_kernel_what_the_cpu_does_and_costs_nothing_without_a_dma_buf),
		cmocka_unit_test(a_ring_is_sealed_slots_of_its_own),
		cmocka_unit_test(a_ring_for_which_no_huge_page_is_left_leaves_its_neighbours_alone),
		cmocka_unit_test(
			a_ring_that_fits_into_reserved_huge_pages_asks_for_no_other_memory),
		cmocka_unit_test(
			udmabuf_that_refuses_huge_pages_gets_small_ones_before_the_next_rung),
		cmocka_unit_test(a_ring_begins_where_a_huge_page_of_this_kernel_can),
		cmocka_unit_test(a_limit_that_is_hit_is_named_with_its_number_and_what_helps),
		cmocka_unit_test(a_slot_larger_than_udmabuf_allows_goes_a_rung_down),
		cmocka_unit_test(
			a_ring_of_which_a_window_fails_goes_a_rung_down_and_leaves_nothing_there),
		cmocka_unit_test(a_locked_shard_is_not_read_before_its_time),
		cmocka_unit_test(a_ring_is_nobody_elses_and_ends_with_its_region),
		cmocka_unit_test(a_shard_is_no_fixed_buffer),
		cmocka_unit_test(a_signal_amid_a_sample_leaves_no_file),
		cmocka_unit_test(slots_are_io_urings_fixed_buffers),
		cmocka_unit_test(two_rings_are_one_io_urings_fixed_buffers),
		cmocka_unit_test(rings_come_and_go_in_a_table_of_fixed_buffers),
		cmocka_unit_test(fixed_buffers_beyond_memlock_say_what_is_needed_and_allowed),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
