/* SPDX-License-Identifier: MIT */
/*
 * What /proc and the control groups say, as far as the runtime asks: trees of files stand for them.
 */
#include "scratch.h"

static uint64_t available_in(const char *name)
{
	uint64_t bytes;

	sherd_root = in_dir(name);
	bytes = sherd_memory_available();
	free((char *)sherd_root);
	sherd_root = "";
	return bytes;
}

#define MIB ((uint64_t)1 << 20)

/* What a group's files lie in gives way, as the page cache does. */
static void available_memory_is_no_more_than_the_control_groups_leave(void **state)
{
	(void)state;
	assert_int_equal(available_in("nowhere"), UINT64_MAX);
	write_file("m2/proc/meminfo", "MemTotal:  2048000 kB\nMemAvailable:    1024000 kB\n");
	assert_int_equal(available_in("m2"), 1000 * MIB);
	write_file("m2/proc/self/cgroup", "0::/a/b\n");
	write_file("m2/sys/fs/cgroup/a/b/memory.max", "max\n");
	write_file("m2/sys/fs/cgroup/a/b/memory.current", "104857600\n");
	assert_int_equal(available_in("m2"), 1000 * MIB);
	write_file("m2/sys/fs/cgroup/a/b/memory.max", "524288000\n");
	assert_int_equal(available_in("m2"), 400 * MIB);
	write_file("m2/sys/fs/cgroup/a/b/memory.stat",
		   "file 1\nactive_file 20971520\ninactive_file 31457280\n");
	assert_int_equal(available_in("m2"), 450 * MIB);
	write_file("m2/sys/fs/cgroup/a/memory.max", "209715200\n");
	write_file("m2/sys/fs/cgroup/a/memory.current", "199229440\n");
	assert_int_equal(available_in("m2"), 10 * MIB);
	write_file("m2/sys/fs/cgroup/a/memory.current", "299229440\n");
	assert_int_equal(available_in("m2"), 0);

	write_file("m1/proc/meminfo", "MemAvailable:    1024000 kB\n");
	write_file("m1/proc/self/cgroup", "9:name=systemd:/\n4:memory:/d/1\n0::/\n");
	write_file("m1/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
	write_file("m1/sys/fs/cgroup/memory/memory.usage_in_bytes", "104857600\n");
	assert_int_equal(available_in("m1"), 1000 * MIB);
	write_file("m1/sys/fs/cgroup/memory/d/1/memory.limit_in_bytes", "209715200\n");
	write_file("m1/sys/fs/cgroup/memory/d/1/memory.usage_in_bytes", "104857600\n");
	write_file("m1/sys/fs/cgroup/memory/d/1/memory.stat",
		   "active_file 99999999\ntotal_inactive_file 10485760\ntotal_active_file 0\n");
	assert_int_equal(available_in("m1"), 110 * MIB);
}

static void a_value_is_the_number_behind_its_key(void **state)
{
	uint64_t v = 7;

	(void)state;
	assert_true(sherd_line_value("VmLck:\t  12 kB\n", "VmLck", &v));
	assert_int_equal(v, 12 << 10);
	assert_true(sherd_line_value("nr_mlock 12\n", "nr_mlock", &v));
	assert_int_equal(v, 12);
	assert_false(sherd_line_value("VmLckx: 12 kB\n", "VmLck", &v));
	assert_false(sherd_line_value("VmLck", "VmLck", &v));
	assert_false(sherd_line_value("VmLck: none\n", "VmLck", &v));
	assert_int_equal(v, 12);
	assert_true(sherd_proc_value("/proc/self/status", "VmRSS", &v));
	assert_true(v > 1 << 16);
	assert_false(sherd_proc_value("/proc/self/status", "VmNothing", &v));
	assert_false(sherd_proc_value("/proc/nothing", "VmRSS", &v));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(available_memory_is_no_more_than_the_control_groups_leave),
		cmocka_unit_test(a_value_is_the_number_behind_its_key),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
