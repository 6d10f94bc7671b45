/* SPDX-License-Identifier: MIT */
/*
 * test_base: sentences, checked sizes, halves, mappings, files that appear whole or not at all,
 * SHA-256.
 */
#include <fcntl.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <dirent.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include "base/base.h"

static char dir[200];

static int make_dir(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "%s/sherd-base-XXXXXX",
		 getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	char cmd[256];

	(void)state;
	snprintf(cmd, sizeof(cmd), "rm -rf '%s'", dir);
	return system(cmd);
}

/* A ring, so that two of them fit into one call. */
static const char *in_dir(const char *name)
{
	static char paths[4][512];
	static int next;
	char *p = paths[next++ % 4];

	snprintf(p, sizeof(paths[0]), "%s/%s", dir, name);
	return p;
}

static int entries_in(const char *path)
{
	DIR *d = opendir(path);
	int n = -2; /* . and .. */

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static void put_file(const char *path, const void *data, size_t size)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, size, f), size);
	assert_int_equal(fclose(f), 0);
}

/* --------------------------------------------------------------- sentences */

static void a_failure_leaves_its_sentence_and_gives_its_code(void **state)
{
	struct sherd_error err;

	(void)state;
	assert_int_equal(sherd_fail(&err, -EINVAL, "%s: %d", "x", 5), -EINVAL);
	assert_string_equal(err.msg, "x: 5");
	assert_int_equal(sherd_fail(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(sherd_fail_prefix(NULL, -EIO, "nobody listens"), -EIO);
	assert_int_equal(sherd_fail_prefix(&err, -EIO, "layer %d", 3), -EIO);
	assert_string_equal(err.msg, "layer 3: x: 5");
	assert_int_equal(sherd_fail(&err, -EIO, "again %s", err.msg), -EIO);
	assert_string_equal(err.msg, "again layer 3: x: 5");
	assert_int_equal(sherd_fail_oom(&err, 77, "the cache"), -ENOMEM);
	assert_string_equal(err.msg, "the cache: no memory for 77 bytes");
	sherd_fail_oom(&err, (size_t)5 << 29, "the cache");
	assert_string_equal(err.msg, "the cache: no memory for 2560.0 MiB");
}

static void a_sentence_is_cut_where_it_would_overflow(void **state)
{
	struct sherd_error err;
	char name[2000];

	(void)state;
	memset(name, 'n', sizeof(name));
	name[sizeof(name) - 1] = '\0';
	sherd_fail(&err, -EINVAL, "%s is too long", name);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
	assert_string_equal(err.msg + sizeof(err.msg) - 4, "...");
	sherd_fail_prefix(&err, -EINVAL, "%s", name);
	assert_int_equal(strlen(err.msg), sizeof(err.msg) - 1);
}

static void a_files_names_cannot_steer_the_terminal(void **state)
{
	struct sherd_error err;

	(void)state;
	sherd_fail(&err, -EINVAL, "tensor %s", "a\033[2Jb\nc\177");
	assert_string_equal(err.msg, "tensor a?[2Jb?c?");
	sherd_fail(&err, -EINVAL, "%s", "größer"); /* UTF-8 stays */
	assert_string_equal(err.msg, "größer");
}

/* -------------------------------------------------------------- arithmetic */

static void products_that_overflow_are_not_allocated(void **state)
{
	size_t out;
	void *p;

	(void)state;
	assert_null(sherd_calloc(SIZE_MAX / 2, 3));
	assert_null(sherd_alloc_aligned(4096, SIZE_MAX / 4, 8));
	assert_false(sherd_mul_ok(SIZE_MAX, 2, &out));
	assert_false(sherd_add_ok(SIZE_MAX, 1, &out));
	assert_true(sherd_mul_ok(SIZE_MAX, 1, &out) && out == SIZE_MAX);
	p = sherd_calloc(0, 8);
	assert_non_null(p); /* nothing is something, or callers mistake it for a failure */
	free(p);
	p = sherd_alloc_aligned(4096, 3, 5);
	assert_int_equal((uintptr_t)p % 4096, 0);
	free(p);
	p = sherd_alloc_aligned(1, 0, 5);
	assert_non_null(p);
	free(p);
}

static void every_half_survives_the_way_to_float_and_back(void **state)
{
	unsigned h;
	float f, by_libm;

	(void)state;
	for (h = 0; h < 0x10000; h++) {
		f = sherd_f16_to_f32((uint16_t)h);
		if ((h & 0x7c00) == 0x7c00 && h & 0x3ff) {
			assert_true(isnan(f));
			assert_int_equal(sherd_f32_to_f16(f), h | 0x200);
			continue;
		}
		by_libm = (h & 0x7c00) == 0x7c00 ? INFINITY
			  : h & 0x7c00
				  ? ldexpf((float)(1024 + (h & 0x3ff)), (int)(h >> 10 & 31) - 25)
				  : ldexpf((float)(h & 0x3ff), -24);
		assert_true(f == (h & 0x8000 ? -by_libm : by_libm));
		assert_int_equal(sherd_f32_to_f16(f), h);
	}
}

/* Between two neighbouring halves the nearer wins, and the even one when neither is. */
static void floats_round_to_the_nearest_half_and_ties_to_even(void **state)
{
	float lo, hi, mid;
	unsigned h;

	(void)state;
	for (h = 0; h < 0x7c00; h++) {
		lo = sherd_f16_to_f32((uint16_t)h);
		hi = h == 0x7bff ? 65536.0f : sherd_f16_to_f32((uint16_t)(h + 1));
		mid = (float)(((double)lo + (double)hi) / 2);
		assert_int_equal(sherd_f32_to_f16(mid), h + (h & 1));
		assert_int_equal(sherd_f32_to_f16(nextafterf(mid, 0)), h);
		assert_int_equal(sherd_f32_to_f16(nextafterf(mid, INFINITY)), h + 1);
		assert_int_equal(sherd_f32_to_f16(-mid), 0x8000 | (h + (h & 1)));
	}
	assert_int_equal(sherd_f32_to_f16(1e30f), 0x7c00);
	assert_int_equal(sherd_f32_to_f16(-INFINITY), 0xfc00);
	assert_int_equal(sherd_f32_to_f16(1e-44f), 0);
	assert_int_equal(sherd_f32_to_f16(-1e-44f), 0x8000);
}

static void the_clock_does_not_run_backwards(void **state)
{
	double a = sherd_now(), b = sherd_now();

	(void)state;
	assert_true(a > 0 && b >= a);
}

static void available_memory_is_some_and_no_more_than_there_is(void **state)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE);

	(void)state;
	assert_in_range(sherd_memory_available(), 1 << 20, all);
}

/* ------------------------------------------------------------------- files */

static void a_mapping_is_the_files_bytes(void **state)
{
	struct sherd_map m;
	struct sherd_error err;
	int fd;

	(void)state;
	put_file(in_dir("m"), "hello", 5);
	assert_int_equal(sherd_map_open(&m, in_dir("m"), &err), 0);
	assert_int_equal(m.size, 5);
	assert_memory_equal(m.data, "hello", 5);
	fd = m.fd;
	assert_true(fcntl(fd, F_GETFD) >= 0);
	sherd_map_close(&m);
	assert_int_equal(fcntl(fd, F_GETFD), -1);
	assert_true(m.fd == -1 && !m.data);
	sherd_map_close(&m); /* twice does no harm */

	put_file(in_dir("empty"), "", 0);
	assert_int_equal(sherd_map_open(&m, in_dir("empty"), &err), 0);
	assert_true(m.size == 0 && !m.data && m.fd >= 0);
	sherd_map_close(&m);
}

static void what_is_no_file_is_not_mapped(void **state)
{
	struct sherd_map m;
	struct sherd_error err;

	(void)state;
	assert_int_equal(sherd_map_open(&m, in_dir("nowhere"), &err), -ENOENT);
	assert_non_null(strstr(err.msg, "nowhere"));
	assert_int_equal(sherd_map_open(&m, dir, &err), -EISDIR);
	assert_int_equal(sherd_map_open(&m, "/dev/zero", &err), -EINVAL);
	assert_int_equal(mkfifo(in_dir("fifo"), 0600), 0);
	alarm(60); /* opening a FIFO without a writer must not wait */
	assert_int_equal(sherd_map_open(&m, in_dir("fifo"), &err), -EINVAL);
	alarm(0);
	assert_int_equal(m.fd, -1);
}

static void a_file_is_read_whole_or_refused(void **state)
{
	struct sherd_error err;
	char big[10000], *data;
	size_t size;

	(void)state;
	memset(big, 'b', sizeof(big));
	put_file(in_dir("big"), big, sizeof(big));
	assert_int_equal(sherd_read_file(in_dir("big"), sizeof(big), &data, &size, &err), 0);
	assert_int_equal(size, sizeof(big));
	assert_memory_equal(data, big, size);
	assert_int_equal(data[size], '\0');
	free(data);
	assert_int_equal(sherd_read_file(in_dir("big"), sizeof(big) - 1, &data, &size, &err),
			 -EFBIG);
	assert_null(data);
	assert_int_equal(sherd_read_file("/dev/zero", 5000, &data, &size, &err), -EFBIG);
	assert_int_equal(sherd_read_file(in_dir("none"), 10, &data, &size, &err), -ENOENT);
	assert_int_equal(sherd_read_file(dir, 10, &data, &size, &err), -EISDIR);
	put_file(in_dir("empty2"), "", 0);
	assert_int_equal(sherd_read_file(in_dir("empty2"), 10, &data, &size, &err), 0);
	assert_true(size == 0 && data && data[0] == '\0');
	free(data);
}

static void a_committed_file_is_there_and_an_aborted_one_is_not(void **state)
{
	struct sherd_outfile o;
	struct sherd_error err;
	char *data;
	size_t size;

	(void)state;
	assert_int_equal(mkdir(in_dir("out"), 0700), 0);
	assert_int_equal(sherd_outfile_open(&o, in_dir("out/f"), &err), 0);
	assert_int_equal(sherd_write_all(o.fd, "one", 3, "f", &err), 0);
	assert_int_equal(access(in_dir("out/f"), F_OK), -1); /* not before it is whole */
	assert_int_equal(sherd_outfile_commit(&o, &err), 0);
	assert_int_equal(o.fd, -1);
	sherd_outfile_abort(&o); /* after its end it does nothing */

	assert_int_equal(sherd_outfile_open(&o, in_dir("out/f"), &err), 0);
	assert_int_equal(sherd_write_all(o.fd, "two", 3, "f", &err), 0);
	sherd_outfile_abort(&o);
	assert_int_equal(sherd_read_file(in_dir("out/f"), 100, &data, &size, &err), 0);
	assert_string_equal(data, "one");
	free(data);
	assert_int_equal(entries_in(in_dir("out")), 1);
}

/*
 * More than there is room for, some ended before: what is removed is unfinished, and nothing else
 * is.
 */
static void leftovers_are_what_is_unfinished(void **state)
{
	struct sherd_outfile o[40];
	char name[16];
	size_t i;

	(void)state;
	assert_int_equal(mkdir(in_dir("left"), 0700), 0);
	for (i = 0; i < 3 * ARRAY_SIZE(o); i++) {
		struct sherd_outfile *f = &o[i % ARRAY_SIZE(o)];

		snprintf(name, sizeof(name), "left/%zu", i % 5);
		assert_int_equal(sherd_outfile_open(f, in_dir(name), NULL), 0);
		if (i % 2)
			assert_int_equal(sherd_outfile_commit(f, NULL), 0);
		else
			sherd_outfile_abort(f);
	}
	assert_int_equal(entries_in(in_dir("left")), 5);
	for (i = 0; i < ARRAY_SIZE(o); i++)
		assert_int_equal(sherd_outfile_open(&o[i], in_dir("left/0"), NULL), 0);
	sherd_outfile_abort(&o[7]);
	assert_int_equal(sherd_outfile_open(&o[7], in_dir("left/1"), NULL), 0);
	sherd_leftovers_remove();
	assert_int_equal(entries_in(in_dir("left")), 5 + (int)ARRAY_SIZE(o) - 16);
	assert_int_equal(access(o[7].tmp_path, F_OK), -1);
	for (i = 0; i < ARRAY_SIZE(o); i++)
		sherd_outfile_abort(&o[i]);
	assert_int_equal(entries_in(in_dir("left")), 5);
}

static void a_new_file_has_the_permissions_of_the_umask(void **state)
{
	struct sherd_outfile o;
	struct stat st;
	mode_t old = umask(027);

	(void)state;
	assert_int_equal(sherd_outfile_open(&o, in_dir("perm"), NULL), 0);
	assert_int_equal(sherd_outfile_commit(&o, NULL), 0);
	umask(old);
	assert_int_equal(stat(in_dir("perm"), &st), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
}

static void only_regular_files_are_replaced(void **state)
{
	struct sherd_outfile o;
	struct sherd_error err;
	struct stat st;

	(void)state;
	assert_int_equal(sherd_outfile_open(&o, "/dev/null", &err), -EINVAL);
	assert_int_equal(sherd_outfile_open(&o, dir, &err), -EISDIR);
	assert_int_equal(sherd_outfile_open(&o, in_dir("no/such/folder"), &err), -ENOENT);
	assert_non_null(strstr(err.msg, "no/such/folder"));
	assert_int_equal(o.fd, -1);
	sherd_outfile_abort(&o);

	/* a symbolic link stays one, and what it names is replaced */
	put_file(in_dir("target"), "old", 3);
	assert_int_equal(symlink("target", in_dir("link")), 0);
	assert_int_equal(sherd_outfile_open(&o, in_dir("link"), &err), 0);
	assert_int_equal(sherd_outfile_commit(&o, &err), 0);
	assert_int_equal(lstat(in_dir("link"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	assert_int_equal(stat(in_dir("target"), &st), 0);
	assert_int_equal(st.st_size, 0);
}

static void a_full_file_system_is_said_with_the_bytes_that_lack(void **state)
{
	struct sherd_error err;
	int fd = open("/dev/full", O_WRONLY);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(sherd_write_all(fd, "12345", 5, "shard.gguf", &err), -ENOSPC);
	assert_non_null(strstr(err.msg, "shard.gguf"));
	assert_non_null(strstr(err.msg, "5 bytes"));
	close(fd);
}

/* A limit on a file's size cuts a write short first and fails the next one. */
static void a_short_write_goes_on_where_it_stopped(void **state)
{
	struct rlimit old, small = { 1000, RLIM_INFINITY };
	struct sherd_error err;
	char data[3000] = { 0 };
	struct stat st;
	int fd = open(in_dir("short"), O_WRONLY | O_CREAT, 0600), ret;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &old);
	small.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_FSIZE, &small);
	ret = sherd_write_all(fd, data, sizeof(data), "short", &err);
	setrlimit(RLIMIT_FSIZE, &old);
	assert_int_equal(ret, -EFBIG);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 1000);
	close(fd);
}

static void sha256_gives_the_standards_own_example(void **state)
{
	struct sherd_sha256 *s;
	char hex[SHERD_SHA256_HEX];

	(void)state;
	sherd_sha256("abc", 3, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sherd_sha256(NULL, 0, hex);
	assert_string_equal(hex,
			    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
	s = sherd_sha256_new();
	sherd_sha256_add(s, "a", 1);
	sherd_sha256_add(s, "bc", 2);
	sherd_sha256_end(s, hex);
	assert_string_equal(hex,
			    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	sherd_sha256_end(NULL, hex); /* no memory for it: no sum, and none that could be equal */
	assert_string_equal(hex, "");
}

static void the_cache_is_where_the_environment_says(void **state)
{
	char *cache;

	(void)state;
	setenv("HOME", dir, 1);
	setenv("XDG_CACHE_HOME", in_dir("xdg/deep"), 1);
	cache = sherd_cache_dir();
	assert_non_null(cache);
	assert_string_equal(cache, in_dir("xdg/deep/sherd"));
	assert_int_equal(access(cache, W_OK), 0);
	free(cache);
	setenv("XDG_CACHE_HOME", "relative", 1); /* to be ignored, says its specification */
	cache = sherd_cache_dir();
	assert_string_equal(cache, in_dir(".cache/sherd"));
	free(cache);
	unsetenv("XDG_CACHE_HOME");
	put_file(in_dir("file"), "", 0);
	setenv("HOME", in_dir("file"), 1);
	assert_null(sherd_cache_dir());
	unsetenv("HOME");
	assert_null(sherd_cache_dir());
}

static void join_line(void *ctx, const char *line)
{
	strcat(ctx, "<");
	strcat(ctx, line);
	strcat(ctx, ">");
}

static void each_line_that_is_not_empty_is_visited(void **state)
{
	char seen[64] = "";

	(void)state;
	sherd_each_line("one\n\ntwo\nand the end", join_line, seen);
	assert_string_equal(seen, "<one><two><and the end>");
	sherd_each_line(NULL, join_line, seen);
	sherd_each_line("\n", join_line, seen);
	sherd_each_line("nobody looks", NULL, seen);
	assert_string_equal(seen, "<one><two><and the end>");
}

static void a_name_ends_with_what_stands_at_its_end(void **state)
{
	(void)state;
	assert_true(sherd_ends_with("pocl.icd", ".icd") && sherd_ends_with(".icd", ".icd"));
	assert_true(sherd_ends_with("", "") && sherd_ends_with("x", ""));
	assert_false(sherd_ends_with("pocl.icd.old", ".icd") || sherd_ends_with("icd", ".icd"));
}

static void a_command_is_found_where_path_has_it_first(void **state)
{
	char *path = strdup(getenv("PATH")), *found;
	char search[2048];
	int i;

	(void)state;
	for (i = 0; i < 2; i++) {
		FILE *f;

		mkdir(in_dir(i ? "bin2" : "bin1"), 0700);
		f = fopen(in_dir(i ? "bin2/tool" : "bin1/tool"), "w");
		assert_non_null(f);
		fclose(f);
	}
	snprintf(search, sizeof(search), ":%s:%s:/nowhere", in_dir("bin1"), in_dir("bin2"));
	setenv("PATH", search, 1);
	assert_null(sherd_find_command("tool")); /* nobody may execute it */
	unlink(in_dir("bin1/tool"));
	assert_int_equal(mkdir(in_dir("bin1/tool"), 0700), 0); /* nor is a folder one */
	assert_int_equal(chmod(in_dir("bin2/tool"), 0700), 0);
	found = sherd_find_command("tool");
	assert_string_equal(found, in_dir("bin2/tool"));
	free(found);
	unsetenv("PATH");
	assert_null(sherd_find_command("tool"));
	setenv("PATH", path, 1);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_line_that_is_not_empty_is_visited),
		cmocka_unit_test(a_name_ends_with_what_stands_at_its_end),
		cmocka_unit_test(a_command_is_found_where_path_has_it_first),
		cmocka_unit_test(a_failure_leaves_its_sentence_and_gives_its_code),
		cmocka_unit_test(a_sentence_is_cut_where_it_would_overflow),
		cmocka_unit_test(a_files_names_cannot_steer_the_terminal),
		cmocka_unit_test(products_that_overflow_are_not_allocated),
		cmocka_unit_test(every_half_survives_the_way_to_float_and_back),
		cmocka_unit_test(floats_round_to_the_nearest_half_and_ties_to_even),
		cmocka_unit_test(the_clock_does_not_run_backwards),
		cmocka_unit_test(available_memory_is_some_and_no_more_than_there_is),
		cmocka_unit_test(a_mapping_is_the_files_bytes),
		cmocka_unit_test(what_is_no_file_is_not_mapped),
		cmocka_unit_test(a_file_is_read_whole_or_refused),
		cmocka_unit_test(a_committed_file_is_there_and_an_aborted_one_is_not),
		cmocka_unit_test(leftovers_are_what_is_unfinished),
		cmocka_unit_test(a_new_file_has_the_permissions_of_the_umask),
		cmocka_unit_test(only_regular_files_are_replaced),
		cmocka_unit_test(a_full_file_system_is_said_with_the_bytes_that_lack),
		cmocka_unit_test(a_short_write_goes_on_where_it_stopped),
		cmocka_unit_test(sha256_gives_the_standards_own_example),
		cmocka_unit_test(the_cache_is_where_the_environment_says),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
