/* SPDX-License-Identifier: MIT */
/* sensors: energy from copies of sysfs, memory from /proc, limits as text. No OpenCL is used. */
#include <fcntl.h>
#include <math.h>
#include <sys/mman.h>
#include "device/energy.h"
#include "device/limits.h"
#include "device/memory.h"
#include "scratch.h"

/* Like the kernel's files, a reader sees the old text or the new one. */
static void replace_file(const char *name, const char *text)
{
	char *tmp = in_dir("replacement"), *path = in_dir(name);

	write_file("replacement", text);
	assert_int_equal(rename(tmp, path), 0);
	free(tmp);
	free(path);
}

static void limits_survive_being_written_and_read(void **state)
{
	struct sherd_limits in, out = { 0 };
	double *v = (double *)&in;
	char text[1024];

	(void)state;
	for (size_t i = 0; i < sizeof(in) / sizeof(*v); i++)
		v[i] = 1.5 * (double)(i + 1);
	assert_int_equal(sherd_limits_print(&in, text, sizeof(text)), 0);
	assert_int_equal(sherd_limits_parse(&out, text), 0);
	assert_memory_equal(&in, &out, sizeof(in));
	assert_int_equal(sherd_limits_print(&in, text, 20), -ENOSPC);
	for (size_t cut = 0; cut + 1 < strlen(text); cut++) {
		char part[1024];

		snprintf(part, sizeof(part), "%.*s", (int)cut, text);
		assert_int_equal(sherd_limits_parse(&out, part), -EINVAL);
	}
}

static void a_machine_without_sensors_has_no_energy(void **state)
{
	char *empty = in_dir("no-sensors");

	(void)state;
	assert_null(sherd_energy_open(empty));
	free(empty);
}

static void a_rapl_counter_that_wraps_is_followed(void **state)
{
	char *sys = in_dir("rapl");
	struct sherd_energy *e;

	(void)state;
	write_file("rapl/class/powercap/intel-rapl:0/name", "package-0\n");
	write_file("rapl/class/powercap/intel-rapl:0/max_energy_range_uj", "10000000\n");
	write_file("rapl/class/powercap/intel-rapl:0/energy_uj", "9000000\n");
	/* A core's counter is part of its package's. */
	write_file("rapl/class/powercap/intel-rapl:0:0/name", "core\n");
	write_file("rapl/class/powercap/intel-rapl:0:0/max_energy_range_uj", "10000000\n");
	write_file("rapl/class/powercap/intel-rapl:0:0/energy_uj", "5\n");
	e = sherd_energy_open(sys);
	assert_non_null(e);
	assert_string_equal(sherd_energy_name(e), "RAPL package-0");
	assert_int_equal(sherd_energy_start(e), 0);
	replace_file("rapl/class/powercap/intel-rapl:0/energy_uj", "500000\n");
	assert_true(fabs(sherd_energy_stop(e) - 1.5) < 1e-6);
	sherd_energy_close(e);
	free(sys);
}

static void power_is_summed_over_time(void **state)
{
	char *sys = in_dir("ina");
	struct sherd_energy *e;
	double start, joules, s;

	(void)state;
	write_file("ina/class/hwmon/hwmon0/name", "coretemp\n");
	write_file("ina/class/hwmon/hwmon1/name", "ina3221\n");
	write_file("ina/class/hwmon/hwmon1/in1_label", "VDD_IN\n");
	write_file("ina/class/hwmon/hwmon1/in1_input", "5000\n");   /* mV */
	write_file("ina/class/hwmon/hwmon1/curr1_input", "2000\n"); /* mA: 10 W */
	write_file("ina/class/hwmon/hwmon1/in2_label", "VDD_CPU\n");
	write_file("ina/class/hwmon/hwmon1/in2_input", "5000\n");
	write_file("ina/class/hwmon/hwmon1/curr2_input", "1000\n");
	e = sherd_energy_open(sys);
	assert_non_null(e);
	assert_string_equal(sherd_energy_name(e), "ina3221 VDD_IN");
	start = sherd_now();
	assert_int_equal(sherd_energy_start(e), 0);
	usleep(200000);
	joules = sherd_energy_stop(e);
	s = sherd_now() - start;
	assert_true(joules <= 10 * s && joules >= 10 * 0.199);
	sherd_energy_close(e);
	free(sys);
}

static void mapped_weights_are_told_from_other_memory(void **state)
{
	char *path = in_dir("weights");
	const char *names[] = { NULL, path };
	size_t size = 4 << 20;
	struct sherd_memory m;
	char *text = sherd_calloc(size + 1, 1);
	volatile const char *p;
	int fd;

	(void)state;
	memset(text, 'w', size);
	write_file("weights", text);
	fd = open(path, O_RDONLY);
	p = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (size_t i = 0; i < size; i += 4096)
		(void)p[i];
	sherd_memory_read(&m, names, ARRAY_SIZE(names));
	assert_int_equal(m.weights, size);
	assert_true(m.pss > 2 * size && m.peak >= 2 * size);
	sherd_memory_read(&m, NULL, 0);
	assert_int_equal(m.weights, 0);
	munmap((void *)p, size);
	close(fd);
	free(text);
	free(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(limits_survive_being_written_and_read),
		cmocka_unit_test(a_machine_without_sensors_has_no_energy),
		cmocka_unit_test(a_rapl_counter_that_wraps_is_followed),
		cmocka_unit_test(power_is_summed_over_time),
		cmocka_unit_test(mapped_weights_are_told_from_other_memory),
	};

	return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
