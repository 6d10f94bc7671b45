/* SPDX-License-Identifier: MIT */
/*
 * device: choosing, building, caching, limits. What needs an OpenCL device is skipped where there
 * is none. What must happen before a process first touches OpenCL runs in forked children, so
 * those tests come first.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/time.h>
#include <sys/wait.h>
#include "device/limits.h"
#include "device/memory.h"
#include "device/query.h"
#include "scratch.h"

static const char *const limits_cl[] = { "limits.cl" };

static int set_up(void **state)
{
	if (scratch_make(state))
		return -1;
	setenv("XDG_CACHE_HOME", dir, 1);
	unsetenv("POCL_CACHE_DIR");
	return 0;
}

/* Runs @body in a process that has not used OpenCL; its exit code, or 128 + the signal. */
static int forked(int (*body)(void))
{
	int status;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid)
		exit(body());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int count_entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n - 2; /* . and .. */
}

enum { CHILD_OK = 0, CHILD_WRONG = 1, CHILD_NO_DEVICE = 77 };

static bool skip_child(int rc)
{
	if (rc == CHILD_NO_DEVICE)
		print_message("skipped: there is no OpenCL device here\n");
	return rc == CHILD_NO_DEVICE;
}

/* ---------------------------------------- before this process has used OpenCL */

static int without_platforms(void)
{
	struct sherd_device_info *list;
	struct sherd_error err = { "" };
	int n;

	setenv("OCL_ICD_VENDORS", dir, 1); /* a folder without .icd files */
	if (sherd_device_list(&list, &n, &err) != -ENODEV || list || n)
		return CHILD_WRONG;
	return strstr(err.msg, "pocl-opencl-icd") && strstr(err.msg, "/etc/OpenCL/vendors")
		       ? CHILD_OK
		       : CHILD_WRONG;
}

static void no_platform_is_one_sentence_that_says_what_to_install(void **state)
{
	(void)state;
	assert_int_equal(forked(without_platforms), CHILD_OK);
}

static int without_a_cache(void)
{
	struct sherd_device *dev;
	cl_program program;
	int rc = CHILD_OK;

	setenv("XDG_CACHE_HOME", "/proc/1/nothing", 1);
	setenv("HOME", "/proc/1/nothing", 1);
	if (sherd_device_open(&dev, NULL, 0, "plain", NULL))
		return CHILD_NO_DEVICE;
	if (sherd_device_build(dev, "-DGROUP=32 -DMIN=0", limits_cl, 1, &program, NULL))
		rc = CHILD_WRONG;
	else
		clReleaseProgram(program);
	sherd_device_close(dev);
	return rc;
}

static void a_device_works_without_a_cache_folder_and_leaves_nothing_behind(void **state)
{
	char *tmp = in_dir("tmp");
	int rc;

	(void)state;
	mkdir(tmp, 0700);
	setenv("TMPDIR", tmp, 1);
	rc = forked(without_a_cache);
	unsetenv("TMPDIR");
	assert_int_equal(count_entries(tmp), 0);
	free(tmp);
	if (skip_child(rc))
		skip();
	assert_int_equal(rc, CHILD_OK);
}

static int list_devices(void)
{
	struct sherd_device_info *list;
	int n;

	if (!sherd_device_list(&list, &n, NULL))
		sherd_device_list_free(list, n);
	return CHILD_OK;
}

static bool is_there(const char *name)
{
	char *path = in_dir(name);
	bool there = !access(path, F_OK);

	free(path);
	return there;
}

static void only_pocls_old_and_empty_files_are_swept(void **state)
{
	static const struct timeval long_ago[2] = { { 1000000000, 0 }, { 1000000000, 0 } };
	static const char *const old[] = { "sherd/pocl/tempfile_old", "sherd/pocl/tempfile_full",
					   "sherd/pocl/last_accessed" };
	size_t i;

	(void)state;
	write_file("sherd/pocl/tempfile_new", "");
	for (i = 0; i < ARRAY_SIZE(old); i++) {
		char *path = in_dir(old[i]);

		write_file(old[i], i == 1 ? "a program" : "");
		assert_int_equal(utimes(path, long_ago), 0);
		free(path);
	}
	assert_int_equal(forked(list_devices), CHILD_OK);
	assert_false(is_there("sherd/pocl/tempfile_old"));
	assert_true(is_there("sherd/pocl/tempfile_full"));
	assert_true(is_there("sherd/pocl/last_accessed"));
	assert_true(is_there("sherd/pocl/tempfile_new")); /* somebody may be at it */
}

static int run_empty_kernel(struct sherd_device *dev, cl_program program)
{
	size_t one = 1;
	cl_int code;
	cl_kernel k = clCreateKernel(program, "limit_empty", &code);
	cl_mem out = clCreateBuffer(dev->context, CL_MEM_READ_WRITE, 64, NULL, NULL);

	if (code || clSetKernelArg(k, 0, sizeof(out), &out) ||
	    clEnqueueNDRangeKernel(dev->queue, k, 1, NULL, &one, &one, 0, NULL, NULL) ||
	    clFinish(dev->queue))
		return CHILD_WRONG;
	clReleaseMemObject(out);
	clReleaseKernel(k);
	return CHILD_OK;
}

/* Exits with CHILD_OK if building and running took less than 12 MiB. */
static int build_and_run(void)
{
	struct sherd_memory before, after;
	struct sherd_device *dev;
	cl_program program;
	int rc;

	if (sherd_device_open(&dev, "cpu", 1, "plain", NULL) || !dev->info.is_pocl)
		return CHILD_NO_DEVICE;
	sherd_memory_read(&before, NULL, 0);
	if (sherd_device_build(dev, "-DMARK=1", limits_cl, 1, &program, NULL))
		return CHILD_WRONG;
	rc = run_empty_kernel(dev, program);
	sherd_memory_read(&after, NULL, 0);
	if (!rc && after.pss > before.pss + (12 << 20))
		rc = 2; /* the compiler was awake */
	if (rc == 2 && sherd_device_keep(dev, "-DMARK=1", limits_cl, 1, program, NULL))
		rc = CHILD_WRONG;
	clReleaseProgram(program);
	sherd_device_close(dev);
	return rc;
}

static void a_kept_program_runs_without_waking_the_compiler(void **state)
{
	int first = forked(build_and_run);

	(void)state;
	if (skip_child(first))
		skip();
	assert_int_equal(first, 2);
	assert_int_equal(forked(build_and_run), CHILD_OK);
}

/* ------------------------------------------------------------------- dot paths */

static void the_dot_path_follows_from_what_the_device_says(void **state)
{
	struct sherd_device_info gpu = { .is_gpu = true, .vendor = "Somebody", .platform = "Some" };
	struct sherd_device_info sim = { .is_cpu = true, .platform = "Oclgrind" };

	(void)state;
	gpu.extensions = "cl_khr_fp16 cl_khr_integer_dot_product_2";
	assert_string_equal(sherd_dot_choose(&gpu, NULL, NULL), "plain");
	gpu.extensions = "cl_khr_fp16 cl_khr_integer_dot_product";
	assert_string_equal(sherd_dot_choose(&gpu, NULL, NULL), "khr");
	gpu.extensions = "cl_khr_integer_dot_product cl_arm_integer_dot_product_accumulate_int8";
	assert_string_equal(sherd_dot_choose(&gpu, NULL, NULL), "arm");
	gpu.extensions = "";
	strcpy(gpu.vendor, "NVIDIA Corporation");
	assert_string_equal(sherd_dot_choose(&gpu, NULL, NULL), "ptx");
	assert_string_equal(sherd_dot_choose(&gpu, "plain", NULL), "plain");
	sim.extensions = "";
	assert_string_equal(sherd_dot_choose(&sim, NULL, NULL), "plain");
}

static void a_dot_path_that_cannot_run_is_refused(void **state)
{
	struct sherd_device_info gpu = { .is_gpu = true, .name = "Toaster", .extensions = "" };
	struct sherd_error err;

	(void)state;
	assert_null(sherd_dot_choose(&gpu, "vnni512", &err));
	assert_non_null(strstr(err.msg, "Toaster"));
	assert_null(sherd_dot_choose(&gpu, "fast", &err));
	assert_non_null(strstr(err.msg, "plain")); /* it says which there are */
	for (int i = 0; sherd_dot_name(i); i++)
		assert_non_null(strstr(sherd_dot_option(sherd_dot_name(i)), "-DSHERD_DOT_"));
}

static void extensions_match_whole_words_only(void **state)
{
	struct sherd_device_info info = { .extensions = "cl_khr_fp16x cl_khr_fp64  xcl_khr_spir" };

	(void)state;
	assert_false(sherd_device_has(&info, "cl_khr_fp16"));
	assert_true(sherd_device_has(&info, "cl_khr_fp64"));
	assert_false(sherd_device_has(&info, "cl_khr_spir"));
}

/* -------------------------------------------------------------------- programs */

static void a_source_contains_each_include_once(void **state)
{
	const char *twice[] = { "limits.cl", "limits.cl" };
	char *one = sherd_device_source(limits_cl, 1, NULL),
	     *two = sherd_device_source(twice, 2, NULL);
	const char *guard = "#ifndef SHERD_NUM_H";
	char *first;

	(void)state;
	assert_non_null(one);
	assert_non_null(two);
	assert_string_equal(one, two);
	first = strstr(one, guard);
	assert_non_null(first);
	assert_null(strstr(first + 1, guard));
	assert_null(strstr(one, "#include \"")); /* a device finds no files */
	assert_non_null(strstr(one, "#line 1 \"limits.cl\""));
	free(one);
	free(two);
}

static void an_unknown_source_is_refused_by_name(void **state)
{
	const char *missing[] = { "nothing.cl" };
	struct sherd_error err;

	(void)state;
	assert_null(sherd_device_source(missing, 1, &err));
	assert_non_null(strstr(err.msg, "nothing.cl"));
}

static struct sherd_device *open_device(const char *dot)
{
	struct sherd_device *dev;
	struct sherd_error err;

	if (!sherd_device_open(&dev, NULL, 0, dot, &err))
		return dev;
	print_message("skipped: %s\n", err.msg);
	return NULL;
}

static void a_compiler_error_becomes_one_sentence_with_file_and_line(void **state)
{
	struct sherd_device *dev = open_device("plain");
	struct sherd_error err;
	cl_program program;

	(void)state;
	if (!dev)
		skip();
	assert_int_equal(sherd_device_build(dev, "-Dlimit_fma=@", limits_cl, 1, &program, &err),
			 -ENOEXEC);
	assert_null(program);
	assert_non_null(strstr(err.msg, "error"));
	assert_non_null(strstr(err.msg, "limits.cl:"));
	assert_null(strchr(err.msg, '\n'));
	sherd_device_close(dev);
}

static char *only_binary(void)
{
	char *folder = in_dir("sherd/device");
	DIR *d = opendir(folder);
	struct dirent *e;
	char *path = NULL;

	while (d && (e = readdir(d)))
		if (strstr(e->d_name, ".bin")) {
			assert_null(path);
			path = sherd_asprintf("%s/%s", folder, e->d_name);
		}
	if (d)
		closedir(d);
	free(folder);
	return path;
}

static void clear_binaries(void)
{
	char *folder = in_dir("sherd/device");

	nftw(folder, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	free(folder);
}

static void check_build(struct sherd_device *dev, bool keep)
{
	struct sherd_error err = { "" };
	cl_program program;

	if (sherd_device_build(dev, NULL, limits_cl, 1, &program, &err))
		fail_msg("%s", err.msg);
	assert_int_equal(run_empty_kernel(dev, program), CHILD_OK);
	if (keep)
		assert_int_equal(sherd_device_keep(dev, NULL, limits_cl, 1, program, &err), 0);
	clReleaseProgram(program);
}

/* A damaged binary would crash some drivers: it never reaches them. */
static void a_damaged_binary_is_built_again(void **state)
{
	struct sherd_device *dev = open_device("plain");
	char *path;

	(void)state;
	if (!dev)
		skip();
	clear_binaries();
	check_build(dev, true);
	path = only_binary();
	assert_non_null(path);
	for (int kind = 0; kind < 3; kind++) {
		struct stat st;
		int fd = open(path, O_RDWR);

		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		if (kind == 0) /* one byte of the program differs */
			assert_int_equal(pwrite(fd, "!", 1, st.st_size / 2), 1);
		else /* cut off, then empty */
			assert_int_equal(ftruncate(fd, kind == 1 ? 1000 : 0), 0);
		close(fd);
		check_build(dev, true);
	}
	check_build(dev, false);
	free(path);
	sherd_device_close(dev);
}

/* Another process that keeps a binary of the same device, and is done in a moment. */
struct other {
	char *mark;
	int fd;
};

static void *be_done(void *arg)
{
	struct other *o = arg;

	usleep(200000);
	unlink(o->mark);
	close(o->fd);
	return NULL;
}

static void a_binary_is_kept_though_another_was_kept_at_the_same_time(void **state)
{
	struct sherd_device *dev = open_device("plain");
	char key[SHERD_SHA256_HEX], *path;
	cl_program program;
	pthread_t thread;
	struct other o;

	(void)state;
	if (!dev)
		skip();
	clear_binaries();
	assert_int_equal(sherd_device_build(dev, NULL, limits_cl, 1, &program, NULL), 0);
	sherd_device_key(dev, "binaries", key);
	o.mark = sherd_device_cache_path(key, ".try");
	o.fd = open(o.mark, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_true(o.fd >= 0);
	assert_int_equal(flock(o.fd, LOCK_EX), 0);
	assert_int_equal(write(o.fd, "2", 1), 1);
	assert_int_equal(pthread_create(&thread, NULL, be_done, &o), 0);
	assert_int_equal(sherd_device_keep(dev, NULL, limits_cl, 1, program, NULL), 0);
	pthread_join(thread, NULL);
	path = only_binary();
	assert_non_null(path);
	assert_int_equal(access(o.mark, F_OK), -1); /* ours is dropped, too */
	clReleaseProgram(program);
	free(path);
	free(o.mark);
	sherd_device_close(dev);
}

static void a_key_depends_on_the_dot_path_and_the_text(void **state)
{
	struct sherd_device a = { .dot = "plain" }, b = { .dot = "khr" };
	char x[SHERD_SHA256_HEX], y[SHERD_SHA256_HEX];

	(void)state;
	sherd_device_key(&a, "text", x);
	sherd_device_key(&b, "text", y);
	assert_string_not_equal(x, y);
	sherd_device_key(&a, "texu", y);
	assert_string_not_equal(x, y);
	sherd_device_key(&a, "text", y);
	assert_string_equal(x, y);
}

static void a_verdict_is_kept_under_its_key(void **state)
{
	char *text;

	(void)state;
	assert_null(sherd_device_verdict_get("some-key"));
	assert_int_equal(sherd_device_verdict_put("some-key", "bits equal\n", NULL), 0);
	text = sherd_device_verdict_get("some-key");
	assert_string_equal(text, "bits equal\n");
	free(text);
	assert_null(sherd_device_verdict_get("some-other-key"));
}

/* -------------------------------------------------------------------- choosing */

static void a_device_is_found_by_number_name_and_kind(void **state)
{
	struct sherd_device_info *list;
	struct sherd_error err;
	struct sherd_device *dev;
	int n;

	(void)state;
	if (sherd_device_list(&list, &n, &err)) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	for (int i = 0; i < n; i++) {
		char number[16];

		snprintf(number, sizeof(number), "%d", i);
		if (!list[i].usable)
			continue;
		assert_int_equal(sherd_device_open(&dev, number, 0, NULL, NULL), 0);
		assert_string_equal(dev->info.name, list[i].name);
		assert_non_null(strstr(dev->info.why, number));
		sherd_device_close(dev);
		assert_int_equal(sherd_device_open(&dev, list[i].name, 0, NULL, NULL), 0);
		sherd_device_close(dev);
	}
	sherd_device_list_free(list, n);
	assert_int_equal(sherd_device_open(&dev, "9999999999999999999999", 0, NULL, &err), -ENODEV);
	assert_int_equal(sherd_device_open(&dev, "no such device", 0, NULL, &err), -ENODEV);
	assert_null(dev);
	assert_non_null(strstr(err.msg, "no such device"));
}

/* PoCL's thread count is fixed for a process; a device opened with fewer is a part of it. */
static void a_cpu_device_has_as_many_threads_as_asked_for(void **state)
{
	struct sherd_device *many, *one;
	struct sherd_error err;

	(void)state;
	if (sherd_device_open(&many, "cpu", 0, "plain", &err)) {
		print_message("skipped: %s\n", err.msg);
		skip();
	}
	assert_int_equal(sherd_device_open(&one, "cpu", 1, "plain", &err), 0);
	assert_int_equal(one->info.compute_units, 1);
	assert_in_range(many->info.compute_units, 1, sherd_device_host_cpus());
	check_build(one, false);
	sherd_device_close(one);
	check_build(many, false);
	sherd_device_close(many);
}

static int quota_in(const char *name)
{
	char *root = in_dir(name);
	int cpus;

	sherd_root = root;
	cpus = sherd_cgroup_cpus();
	sherd_root = "";
	free(root);
	return cpus;
}

static void a_quota_is_the_least_of_a_groups_and_its_parents_rounded_up(void **state)
{
	(void)state;
	write_file("v2/proc/self/cgroup", "0::/a/b\n");
	assert_int_equal(quota_in("v2"), INT_MAX);
	write_file("v2/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	assert_int_equal(quota_in("v2"), INT_MAX);
	write_file("v2/sys/fs/cgroup/a/b/cpu.max", "400000 100000\n");
	assert_int_equal(quota_in("v2"), 4);
	write_file("v2/sys/fs/cgroup/a/cpu.max", "250000 100000\n");
	assert_int_equal(quota_in("v2"), 3);
	/* beside version 1 */
	write_file("v2/sys/fs/cgroup/unified/a/b/cpu.max", "150000 100000\n");
	assert_int_equal(quota_in("v2"), 2);
	write_file("v2/sys/fs/cgroup/cpu.max", "1000 100000\n");
	assert_int_equal(quota_in("v2"), 1);
	write_file("v2/sys/fs/cpu.max", "junk\n");
	write_file("v2/sys/fs/cgroup/cpu.max", "-5 0\n");
	assert_int_equal(quota_in("v2"), 2);
	write_file("v2/proc/self/cgroup", "0::/../c\n"); /* not of this namespace */
	write_file("v2/sys/fs/c/cpu.max", "100000 100000\n");
	assert_int_equal(quota_in("v2"), INT_MAX);
	assert_int_equal(quota_in("nowhere"), INT_MAX);
}

/* Beside version 2, and where a container's mount begins below what /proc names. */
static void a_quota_of_version_1_counts_too(void **state)
{
	(void)state;
	write_file("v1/proc/self/cgroup",
		   "9:name=systemd:/\n3:cpuset:/s\n2:cpu,cpuacct:/d/1\n0::/\n");
	write_file("v1/sys/fs/cgroup/cpuset/s/cpu.cfs_quota_us", "100000\n");
	write_file("v1/sys/fs/cgroup/cpuset/s/cpu.cfs_period_us", "100000\n");
	assert_int_equal(quota_in("v1"), INT_MAX); /* cpuset has none */
	write_file("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "50000\n");
	write_file("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
	assert_int_equal(quota_in("v1"), INT_MAX);
	write_file("v1/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "75000\n");
	assert_int_equal(quota_in("v1"), 2);
	write_file("v1/sys/fs/cgroup/cpu/d/1/cpu.cfs_period_us", "50000\n");
	write_file("v1/sys/fs/cgroup/cpu/d/1/cpu.cfs_quota_us", "50000\n");
	assert_int_equal(quota_in("v1"), 1);
	assert_in_range(sherd_device_host_cpus(), 1, sherd_cgroup_cpus());
}

static void profiling_can_be_switched_on_and_off(void **state)
{
	struct sherd_device *dev = open_device("plain");
	cl_command_queue_properties p;

	(void)state;
	if (!dev)
		skip();
	for (int on = 1; on >= 0; on--) {
		assert_int_equal(sherd_device_set_profiling(dev, on, NULL), 0);
		assert_int_equal(clGetCommandQueueInfo(dev->queue, CL_QUEUE_PROPERTIES, sizeof(p),
						       &p, NULL),
				 0);
		assert_int_equal(!!(p & CL_QUEUE_PROFILING_ENABLE), on);
	}
	sherd_device_close(dev);
}

static void limits_of_a_device_are_plausible(void **state)
{
	struct sherd_device *dev = open_device(NULL);
	struct sherd_error err = { "" };
	struct sherd_limits l;

	(void)state;
	if (!dev)
		skip();
	if (sherd_limits_measure(dev, &l, &err))
		fail_msg("%s", err.msg);
	print_message("%s (%s): %.1f GB/s, %.1f GOP/s, %.1f GFLOP/s, %.1f and %.1f us a launch\n",
		      dev->info.name, dev->dot, l.read / 1e9, l.dot / 1e9, l.fma / 1e9,
		      l.launch * 1e6, l.launch_wait * 1e6);
	assert_true(l.read > 1e8 && l.read < 1e14);
	assert_true(l.dot > 1e8 && l.dot < 1e16);
	assert_true(l.fma > 1e8 && l.fma < 1e15);
	assert_true(l.launch > 1e-8 && l.launch_wait >= l.launch / 2 && l.launch_wait < 1);
	sherd_device_close(dev);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_platform_is_one_sentence_that_says_what_to_install),
		cmocka_unit_test(a_device_works_without_a_cache_folder_and_leaves_nothing_behind),
		cmocka_unit_test(only_pocls_old_and_empty_files_are_swept),
		cmocka_unit_test(a_kept_program_runs_without_waking_the_compiler),
		cmocka_unit_test(the_dot_path_follows_from_what_the_device_says),
		cmocka_unit_test(a_dot_path_that_cannot_run_is_refused),
		cmocka_unit_test(extensions_match_whole_words_only),
		cmocka_unit_test(a_source_contains_each_include_once),
		cmocka_unit_test(an_unknown_source_is_refused_by_name),
		cmocka_unit_test(a_compiler_error_becomes_one_sentence_with_file_and_line),
		cmocka_unit_test(a_damaged_binary_is_built_again),
		cmocka_unit_test(a_binary_is_kept_though_another_was_kept_at_the_same_time),
		cmocka_unit_test(a_key_depends_on_the_dot_path_and_the_text),
		cmocka_unit_test(a_verdict_is_kept_under_its_key),
		cmocka_unit_test(a_device_is_found_by_number_name_and_kind),
		cmocka_unit_test(a_cpu_device_has_as_many_threads_as_asked_for),
		cmocka_unit_test(a_quota_is_the_least_of_a_groups_and_its_parents_rounded_up),
		cmocka_unit_test(a_quota_of_version_1_counts_too),
		cmocka_unit_test(profiling_can_be_switched_on_and_off),
		cmocka_unit_test(limits_of_a_device_are_plausible),
	};

	return cmocka_run_group_tests(tests, set_up, scratch_remove);
}
