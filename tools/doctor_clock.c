/* SPDX-License-Identifier: MIT */
/*
 * doctor_clock: how fast the machine is allowed to be. Boards come with governors that save power,
 * and with caps; a token takes as long as the slowest clock on its way, and a measurement says
 * nothing while it changes.
 */
#include <stdlib.h>
#include "doctor.h"

static bool file_line(const char *folder, const char *name, char *buf, size_t size)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return system_line(path, buf, size);
}

static bool file_number(const char *folder, const char *name, long long *n)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return system_number(path, n);
}

/* intel_pstate's and amd-pstate's "powersave" goes as high as is needed. */
static bool slow_governor(const char *governor, const char *driver)
{
	bool pstate = strstr(driver, "pstate") != NULL;

	return !strcmp(governor, "conservative") || (!strcmp(governor, "powersave") && !pstate) ||
	       !strcmp(governor, "userspace");
}

static void look_at_policy(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	char governor[64], driver[64] = "", cpus[128] = "", name[64];
	long long max = 0, allowed = 0;

	if (!file_line(path, "scaling_governor", governor, sizeof(governor)))
		return;
	file_line(path, "scaling_driver", driver, sizeof(driver));
	file_line(path, "affected_cpus", cpus, sizeof(cpus));
	file_number(path, "cpuinfo_max_freq", &max);
	file_number(path, "scaling_max_freq", &allowed);
	snprintf(name, sizeof(name), "CPU %.40s", cpus[0] ? cpus : strrchr(path, '/') + 1);
	if (slow_governor(governor, driver))
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, name,
					 "the governor \"%s\" does not go to the %lld MHz that it "
					 "can by itself",
					 governor, max / 1000),
			      "echo performance | sudo tee %s/scaling_governor", path);
	else if (allowed && max && allowed < max - max / 20)
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, name,
					 "is held at %lld MHz, and can do %lld", allowed / 1000,
					 max / 1000),
			      "echo %lld | sudo tee %s/scaling_max_freq", max, path);
	else
		doctor_add(d, "clocks", FINDING_FACT, name, "governor %s, up to %lld MHz", governor,
			   (allowed ? allowed : max) / 1000);
}

/* The GPU's clock, and the memory's: "fb000000.gpu", "dmc". */
static void look_at_devfreq(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	const char *name = strrchr(path, '/') + 1;
	char governor[64], frequencies[512] = "", *at, *end;
	long long now = 0, allowed = 0, max = 0;

	if (!file_line(path, "governor", governor, sizeof(governor)))
		return;
	file_number(path, "cur_freq", &now);
	file_number(path, "max_freq", &allowed);
	file_line(path, "available_frequencies", frequencies, sizeof(frequencies));
	for (at = frequencies; *at; at = end) {
		max = MAX(max, strtoll(at, &end, 10));
		if (end == at)
			break;
	}
	max = max ? max : allowed;
	if (!strcmp(governor, "powersave") || (!strcmp(governor, "userspace") && now < max))
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, name,
					 "the governor \"%s\" holds it at %lld MHz of %lld",
					 governor, now / 1000000, max / 1000000),
			      "echo performance | sudo tee %s/governor", path);
	else if (allowed && allowed < max - max / 20)
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, name,
					 "is held at %lld MHz, and can do %lld", allowed / 1000000,
					 max / 1000000),
			      "echo %lld | sudo tee %s/max_freq", max, path);
	else
		doctor_add(d, "clocks", FINDING_FACT, name, "governor %s, %lld of %lld MHz now",
			   governor, now / 1000000, max / 1000000);
}

/* A cooling device that is at work has taken speed away. */
static void look_at_cooling(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	char type[64];
	long long state = 0;

	if (!file_line(path, "type", type, sizeof(type)) || strstr(type, "fan") ||
	    strstr(type, "Fan") || !file_number(path, "cur_state", &state) || state <= 0)
		return;
	if (strstr(type, "cpufreq") || strstr(type, "devfreq") || strstr(type, "Processor"))
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, type,
					 "is slowed down now, by %lld steps: it is too hot", state),
			      "a heat sink or a fan; measure when it is cool");
}

/* A Raspberry Pi whose supply is too weak slows itself down. */
static void look_at_voltage(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	long long alarm = 0;
	char name[64];

	if (file_line(path, "name", name, sizeof(name)) && !strcmp(name, "rpi_volt") &&
	    file_number(path, "in0_lcrit_alarm", &alarm) && alarm)
		doctor_remedy(doctor_add(d, "clocks", FINDING_ADVICE, name,
					 "the supply's voltage is too low, and the clocks are held "
					 "down"),
			      "a power supply that is made for the board, and a short cable");
}

static void look_at_temperature(void *ctx, const char *path)
{
	struct doctor *d = ctx;
	char type[64];
	long long t = 0;

	if (file_line(path, "type", type, sizeof(type)) && file_number(path, "temp", &t) && t > 0)
		doctor_add(d, "clocks", FINDING_FACT, type, "%.1f degrees Celsius",
			   (double)t / 1000);
}

void doctor_look_at_clocks(struct doctor *d)
{
	int before = d->n_rows;

	system_each("/sys/devices/system/cpu/cpufreq/policy*", look_at_policy, d);
	system_each("/sys/class/devfreq/*", look_at_devfreq, d);
	system_each("/sys/class/thermal/cooling_device*", look_at_cooling, d);
	system_each("/sys/class/hwmon/hwmon*", look_at_voltage, d);
	system_each("/sys/class/thermal/thermal_zone*", look_at_temperature, d);
	if (d->n_rows == before)
		doctor_add(d, "clocks", FINDING_FACT, "none",
			   "this kernel shows no clocks (a virtual machine shows none)");
}
