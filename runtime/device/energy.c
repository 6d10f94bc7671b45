/* SPDX-License-Identifier: MIT */
/*
 * energy: counters are read at both ends (and in between, as they wrap around), power is sampled
 * and summed up. Sensors differ in what they see - a package, a rail, a board - so their name
 * goes along with every number.
 */
#include <glob.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include "device/energy.h"

#define MAX_FEEDS 8
#define TICK_NS	  50000000l

/* One counter (energy, wrapping at range) or one power reading (power, or volt * current). */
struct feed {
	char *energy, *power, *volt, *current; /* paths */
	double range, last; /* microjoules; @last also of power: watts at the last tick */
};

struct sherd_energy {
	struct feed feed[MAX_FEEDS];
	int n;
	char name[128];
	double joules, time; /* up to the last tick */
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	bool stop;
};

static bool read_number(const char *path, double *v)
{
	FILE *f = path ? fopen(path, "re") : NULL;
	bool ok = f && fscanf(f, "%lf", v) == 1;

	if (f)
		fclose(f);
	return ok;
}

static bool read_word(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "re");
	bool ok = f && fgets(buf, (int)size, f);

	if (ok)
		buf[strcspn(buf, "\n")] = 0;
	if (f)
		fclose(f);
	return ok;
}

static char *join(const char *dir, const char *name)
{
	return sherd_asprintf("%s/%s", dir, name);
}

static void free_feed(struct feed *f)
{
	free(f->energy);
	free(f->power);
	free(f->volt);
	free(f->current);
	memset(f, 0, sizeof(*f));
}

/* Watts now, or for a counter the joules since the last call as if spent evenly over @dt. */
static double read_feed(struct feed *f, double dt)
{
	double v, a, used;

	if (!f->energy) {
		if (f->power)
			return read_number(f->power, &v) ? v * 1e-6 : f->last;
		return read_number(f->volt, &v) && read_number(f->current, &a) ? v * a * 1e-6
									       : f->last;
	}
	if (!read_number(f->energy, &v))
		return 0;
	used = v - f->last;
	if (used < 0)
		used += f->range;
	f->last = v;
	return dt > 0 ? used * 1e-6 / dt : 0;
}

/*
 * Adds what was spent since the last tick: a counter's difference, or the mean of two power
 * readings.
 */
static void tick(struct sherd_energy *e)
{
	double now = sherd_now(), dt = now - e->time;

	for (int i = 0; i < e->n; i++) {
		struct feed *f = &e->feed[i];
		double before = f->last;
		double watts = read_feed(f, dt);

		if (!f->energy)
			f->last = watts;
		e->joules += dt * (f->energy ? watts : (before + watts) / 2);
	}
	e->time = now;
}

/* ----------------------------------------------------------------- finding */

/* True if the feed can be read now; it is dropped otherwise. */
static bool keep_feed(struct sherd_energy *e, struct feed *f)
{
	double v;
	bool ok = f->energy  ? read_number(f->energy, &v)
		  : f->power ? read_number(f->power, &v)
			     : read_number(f->volt, &v) && read_number(f->current, &v);

	if (!ok || e->n == MAX_FEEDS) {
		free_feed(f);
		return false;
	}
	e->feed[e->n++] = *f;
	return true;
}

static void add_name(struct sherd_energy *e, const char *first, const char *second)
{
	size_t len = strlen(e->name);

	if (len)
		snprintf(e->name + len, sizeof(e->name) - len, " + %s", second);
	else
		snprintf(e->name, sizeof(e->name), "%s %s", first, second);
}

/* A package and what is in it have a counter each: only the packages count. */
static void find_rapl(struct sherd_energy *e, const char *dir)
{
	char *label = join(dir, "name");
	char *range = join(dir, "max_energy_range_uj");
	struct feed f = { .energy = join(dir, "energy_uj") };
	char name[32];

	if (label && range && f.energy && read_word(label, name, sizeof(name)) &&
	    !strncmp(name, "package", 7) && read_number(range, &f.range)) {
		if (keep_feed(e, &f))
			add_name(e, "RAPL", name);
	} else {
		free_feed(&f);
	}
	free(label);
	free(range);
}

/* The rail that feeds the board, if one is named so, else all three. */
static void find_ina3221(struct sherd_energy *e, const char *dir)
{
	char file[32], label[3][32] = { "", "", "" };
	int only = 0;

	for (int i = 1; i <= 3; i++) {
		char *path;

		snprintf(file, sizeof(file), "in%d_label", i);
		path = join(dir, file);
		if (path && read_word(path, label[i - 1], sizeof(*label)) &&
		    (!strcmp(label[i - 1], "VDD_IN") || !strcmp(label[i - 1], "POM_5V_IN")))
			only = i;
		free(path);
	}
	for (int i = 1; i <= 3; i++) {
		struct feed f = { 0 };

		if (only && i != only)
			continue;
		snprintf(file, sizeof(file), "in%d_input", i);
		f.volt = join(dir, file);
		snprintf(file, sizeof(file), "curr%d_input", i);
		f.current = join(dir, file);
		if (keep_feed(e, &f))
			add_name(e, "ina3221", label[i - 1][0] ? label[i - 1] : file);
	}
}

static void find_power(struct sherd_energy *e, const char *dir, const char *device)
{
	static const char *const files[] = { "power1_input", "power1_average" };

	for (size_t i = 0; i < ARRAY_SIZE(files) && !e->n; i++) {
		struct feed f = { .power = join(dir, files[i]) };

		if (keep_feed(e, &f))
			add_name(e, device, files[i]);
	}
}

static void find_hwmon(struct sherd_energy *e, const char *dir, bool ina)
{
	char *label = join(dir, "name");
	char name[32] = "";

	if (label && read_word(label, name, sizeof(name))) {
		if (ina && !strcmp(name, "ina3221"))
			find_ina3221(e, dir);
		else if (!ina)
			find_power(e, dir, name);
	}
	free(label);
}

static void find_all(struct sherd_energy *e, const char *sysfs, const char *pattern, int kind)
{
	char *full = sherd_asprintf("%s/%s", sysfs, pattern);
	glob_t g;

	if (!full)
		return;
	if (!glob(full, 0, NULL, &g)) {
		for (size_t i = 0; i < g.gl_pathc && (!kind || !e->n); i++)
			if (!kind)
				find_rapl(e, g.gl_pathv[i]);
			else
				find_hwmon(e, g.gl_pathv[i], kind == 1);
		globfree(&g);
	}
	free(full);
}

struct sherd_energy *sherd_energy_open(const char *sysfs)
{
	static const char *const patterns[] = { "class/powercap/intel-rapl:[0-9]*",
						"class/hwmon/hwmon*", "class/hwmon/hwmon*" };
	struct sherd_energy *e = sherd_calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->wake, NULL);
	for (size_t i = 0; i < ARRAY_SIZE(patterns) && !e->n; i++)
		find_all(e, sysfs, patterns[i], (int)i);
	if (e->n)
		return e;
	sherd_energy_close(e);
	return NULL;
}

void sherd_energy_close(struct sherd_energy *e)
{
	if (!e)
		return;
	for (int i = 0; i < e->n; i++)
		free_feed(&e->feed[i]);
	pthread_cond_destroy(&e->wake);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

const char *sherd_energy_name(const struct sherd_energy *e)
{
	return e->name;
}

/* ---------------------------------------------------------------- sampling */

static void *sample(void *arg)
{
	struct sherd_energy *e = arg;

	pthread_mutex_lock(&e->lock);
	while (!e->stop) {
		struct timespec until;

		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += TICK_NS;
		if (until.tv_nsec >= 1000000000l) {
			until.tv_nsec -= 1000000000l;
			until.tv_sec++;
		}
		if (pthread_cond_timedwait(&e->wake, &e->lock, &until) == ETIMEDOUT)
			tick(e);
	}
	pthread_mutex_unlock(&e->lock);
	return NULL;
}

int sherd_energy_start(struct sherd_energy *e)
{
	e->stop = false;
	e->time = sherd_now();
	tick(e); /* where counters and power stand now */
	e->joules = 0;
	return -pthread_create(&e->thread, NULL, sample, e);
}

double sherd_energy_so_far(struct sherd_energy *e)
{
	double joules;

	pthread_mutex_lock(&e->lock);
	joules = e->joules;
	pthread_mutex_unlock(&e->lock);
	return joules;
}

double sherd_energy_stop(struct sherd_energy *e)
{
	pthread_mutex_lock(&e->lock);
	e->stop = true;
	pthread_cond_signal(&e->wake);
	pthread_mutex_unlock(&e->lock);
	pthread_join(e->thread, NULL);
	tick(e);
	return e->joules;
}
