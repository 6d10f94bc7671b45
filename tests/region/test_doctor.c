/* SPDX-License-Identifier: MIT */
/*
 * What `sherd doctor` says of machines that this one is not: the kernel and the OpenCL device are
 * pretended.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>
#include "fake_cl.h"
#include "fake_kernel.h"
#include "tool.h"
#include "unit/fake_sherd.h"

/* Its report as JSON, of which nothing was printed elsewhere; -m @model if that is not NULL. */
static json_t *examine(const char *model)
{
	char *argv[] = { "doctor", "--json", model ? "-m" : NULL, (char *)model, NULL };
	char *path = in_dir("report");
	int out = dup(1), fd = open(path, O_CREAT | O_TRUNC | O_RDWR, 0600), rc;
	json_t *report;

	fflush(stdout);
	dup2(fd, 1);
	rc = tool_doctor.main(model ? 4 : 2, argv);
	fflush(stdout);
	dup2(out, 1);
	close(out);
	close(fd);
	/* where no OpenCL device computes, that is a report too, and exit code 1 */
	report = rc > TOOL_FAILED ? NULL : json_load_file(path, 0, NULL);
	free(path);
	return report;
}

static const char *get(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	return text ? text : "";
}

/* The row of that name, of @of if that is not NULL; NULL: there is none. */
static const json_t *find(const json_t *report, const char *section, const char *of,
			  const char *name)
{
	const json_t *list = json_object_get(report, section);

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *row = json_array_get(list, i);

		if (!strcmp(get(row, "name"), name) && (!of || !strcmp(get(row, "of"), of)))
			return row;
	}
	return NULL;
}

static bool works(const json_t *row)
{
	return json_is_true(json_object_get(row, "works"));
}

static bool says(const json_t *row, const char *what)
{
	return strstr(get(row, "text"), what);
}

#define KHR "dma-buf (cl_khr_external_memory_dma_buf)"

/*
 * To be forked: as a user without capabilities, with the limit that most distributions set, and no
 * OpenCL.
 */
static int examine_limited(void)
{
	struct rlimit limit = { 8 << 20, 8 << 20 };
	const json_t *row;
	json_t *report;

	setenv("OCL_ICD_VENDORS", "/nonexistent", 1);
	if (setrlimit(RLIMIT_MEMLOCK, &limit) || chmod(dir, 0777) || (!getuid() && setuid(65534)))
		return 1;
	report = examine(NULL);
	row = find(report, "limits", NULL, "RLIMIT_MEMLOCK");
	if (!row || works(row) || !says(row, "8.0 MiB") ||
	    !strstr(get(row, "remedy"), "LimitMEMLOCK="))
		return 2;
	/* what the sample shows is no promise for a model, and with one it is none */
	if (!works(find(report, "weights", NULL, "locked")))
		return 3;
	report = examine("big");
	row = find(report, "weights", NULL, "locked");
	return row && !works(row) && says(row, "not this model: locked: ") &&
			       says(row, "allows 8192 KiB") ?
		       0 :
		       4;
}

static void a_limit_that_no_model_fits_in_is_a_no(void **state)
{
	char *path = in_dir("big");
	pid_t pid;
	int status, fd = open(path, O_CREAT | O_RDWR, 0644);

	(void)state;
	fake_kernel_reset(false, false);
	assert_int_equal(ftruncate(fd, 16 << 20), 0);
	close(fd);
	free(path);
	pid = fork();
	if (!pid)
		_exit(chdir(dir) ? 5 : examine_limited());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void a_machine_with_udmabuf_alone_has_dma_bufs_of_memory(void **state)
{
	const json_t *row;
	json_t *report;

	(void)state;
	fake_kernel_reset(false, true);
	fake_cl_reset(FAKE_KHR);
	fake_sherd("exit 0");
	report = examine(NULL);
	assert_non_null(report);
	row = find(report, "opencl", "weights", KHR);
	assert_false(works(row)); /* of a file there are none */
	assert_true(says(row, "there are no dma-bufs"));
	assert_true(works(find(report, "opencl", "weights", "copy")));
	row = find(report, "opencl", "weights packed into memory", KHR);
	assert_true(works(row));
	assert_string_equal(get(row, "device"), "Fake GPU");
	assert_true(works(find(report, "opencl", "ring", KHR)));
	assert_int_equal(fake_kernel.wrong, 0);
	assert_int_equal(fake_cl.wrong, 0);
	json_decref(report);
}

static void with_the_module_everything_is_of_the_file_and_of_the_ring(void **state)
{
	json_t *report;

	(void)state;
	fake_kernel_reset(true, true);
	fake_cl_reset(FAKE_KHR | FAKE_ARM_HOST);
	fake_sherd("exit 0");
	report = examine(NULL);
	assert_true(works(find(report, "opencl", "weights", KHR)));
	assert_true(works(find(report, "opencl", "ring", KHR)));
	assert_null(find(report, "opencl", "weights packed into memory", KHR));
	json_decref(report);
}

static void a_ring_that_nobody_can_share_is_said_to_be_none(void **state)
{
	json_t *report;

	(void)state;
	fake_kernel_reset(false, false);
	fake_cl_reset(0);
	fake_sherd("exit 0");
	report = examine(NULL);
	assert_true(works(find(report, "opencl", "weights", "copy")));
	assert_false(works(find(report, "opencl", "ring", "copy")));
	assert_true(says(find(report, "opencl", "ring", "in place"), "it is no CPU"));
	json_decref(report);
}

/*
 * The samples are locked while a device is tried; and a ring of the host's memory comes with a
 * warning.
 */
static void what_is_locked_stays_so_while_it_is_imported(void **state)
{
	char *path = in_dir("locked"),
	     *script = sherd_asprintf("grep VmLck: /proc/$PPID/status >>%s", path), *text;
	const json_t *row;
	json_t *report;
	uint64_t locked;
	size_t n;

	(void)state;
	fake_kernel_reset(false, false);
	fake_cl_reset(FAKE_ARM_HOST);
	fake_sherd(script);
	report = examine(NULL);
	if (!works(find(report, "weights", NULL, "locked"))) {
		print_message("skipped: %s\n",
			      get(find(report, "weights", NULL, "locked"), "text"));
		skip();
	}
	assert_int_equal(sherd_read_file(path, 4096, &text, &n, NULL), 0);
	assert_true(sherd_line_value(text, "VmLck", &locked));
	assert_int_equal(locked, 5 << 20); /* a sample of 1 MiB, a ring of 4 */
	row = find(report, "opencl", "ring", "host pointer (cl_arm_import_memory)");
	assert_true(works(row));
	assert_true(says(row, "caches are not coherent"));
	assert_false(says(find(report, "opencl", "weights", "host pointer (cl_arm_import_memory)"),
			  "caches"));
	json_decref(report);
	free(text);
	free(path);
	free(script);
}

static void a_model_too_large_to_stay_in_memory_is_held_by_a_mapping_only(void **state)
{
	char *path = in_dir("huge");
	int fd = open(path, O_CREAT | O_RDWR, 0600);
	const json_t *row;
	json_t *report;

	(void)state;
	fake_kernel_reset(true, false);
	fake_cl_reset(0);
	fake_sherd("exit 0");
	assert_int_equal(ftruncate(fd, (off_t)sherd_memory_available()), 0);
	close(fd);
	report = examine(path);
	row = find(report, "weights", NULL, "sherd");
	assert_false(works(row));
	assert_true(says(row, "not this model: ") && says(row, "three quarters"));
	assert_true(works(find(report, "weights", NULL, "plain")));
	json_decref(report);
	free(path);
}

static int set_up(void **state)
{
	int rc = fake_sherd_set_up(state);

	fake_cl_map = fake_kernel_attach;
	setenv("XDG_CACHE_HOME", dir, 1);
	return rc;
}

static int tear_down(void **state)
{
	free(real_path);
	return scratch_remove(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_limit_that_no_model_fits_in_is_a_no), /* first: it forks */
		cmocka_unit_test(a_machine_with_udmabuf_alone_has_dma_bufs_of_memory),
		cmocka_unit_test(with_the_module_everything_is_of_the_file_and_of_the_ring),
		cmocka_unit_test(a_ring_that_nobody_can_share_is_said_to_be_none),
		cmocka_unit_test(what_is_locked_stays_so_while_it_is_imported),
		cmocka_unit_test(a_model_too_large_to_stay_in_memory_is_held_by_a_mapping_only),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
