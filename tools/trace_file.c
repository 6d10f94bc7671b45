/* SPDX-License-Identifier: MIT */
/*
 * trace_file: what the library tells (base/trace.h), as events of the Trace Event Format. Host phases lie
 * on the thread that they were on, kernels on a track of their own, counters on theirs: the speed of each
 * step, memory, the KV cache, and power where the machine has a sensor.
 *
 * Viewers want spans of one track one after the other, or one inside the other. Where two begin
 * together, the outer one is to come first in the file; and where they end together, a viewer that
 * cuts off fractions of nanoseconds takes the inner one for the longer.
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "device/energy.h"
#include "tool.h"
#include "trace_out.h"

#define N_THREADS    64
#define KERNEL_TRACK 1 /* no thread of ours has the number of init */
#define MEMORY_S     0.01
#define POWER_S	     0.1
#define PAUSE_S	     0.01 /* without a step: the speed is 0 then */
#define CLOCK_S	     0.001 /* what the device's clock can be off by */

struct trace_file {
	struct sherd_trace_sink sink;
	struct trace_out *out;
	/* between trace_out_enter() and _leave() */
	int threads[N_THREADS]; /* that have been named */
	int n_threads;
	double read, dot, fma; /* the roof */
	struct sherd_energy *energy;
	double step_end, memory_at, power_at, joules;
	double launch, launch_end; /* the last one */
};

struct span {
	const char *category, *name;
	int track; /* 0: the thread's */
	double begin, end;
	bool inner; /* may begin and end with what it lies in */
};

/* ----------------------------------------------------------------- events */

static void put_metadata(struct trace_file *t, const char *what, int track, const char *name)
{
	char event[TRACE_EVENT];
	size_t at = snprintf(event, sizeof(event),
			     "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %d, "
			     "\"args\": {\"name\": ", what, (int)getpid(), track);

	at = trace_out_quote(event, at, sizeof(event) - 8, name);
	strcpy(event + at, "}}");
	trace_out_put(t->out, event);
}

/* The first time that a track is seen it is given its name. */
static int name_track(struct trace_file *t, int track)
{
	int i, id = track ? track : (int)gettid();
	char name[32];

	for (i = 0; i < t->n_threads; i++)
		if (t->threads[i] == id)
			return id;
	if (t->n_threads < N_THREADS)
		t->threads[t->n_threads++] = id;
	snprintf(name, sizeof(name), "thread %d", id);
	put_metadata(t, "thread_name", id,
		     id == KERNEL_TRACK ? "kernels" : id == getpid() ? "host" : track ? "stage" : name);
	return id;
}

/* Borders are rounded, and lengths are what is between: what is inside stays inside. */
static void put_span(struct trace_file *t, const struct span *s, const char *args)
{
	int64_t from = llround(s->begin * 1e9), to = llround(s->end * 1e9);
	int64_t length = MAX(to - from - s->inner, 0);
	int id = name_track(t, s->track);
	char event[TRACE_EVENT];
	size_t at = snprintf(event, sizeof(event),
			     "{\"ph\": \"X\", \"cat\": \"%s\", \"pid\": %d, \"tid\": %d, "
			     "\"ts\": %" PRId64 ".%03d, \"dur\": %" PRId64 ".%03d, \"name\": ",
			     s->category, (int)getpid(), id, from / 1000, (int)(from % 1000),
			     length / 1000, (int)(length % 1000));

	at = trace_out_quote(event, at, at + 256, s->name);
	snprintf(event + at, sizeof(event) - at, ", \"args\": {%s}}", args);
	trace_out_put(t->out, event);
}

/* Viewers call its track by both: "memory resident bytes". */
static void put_counter(struct trace_file *t, const char *name, const char *unit, double when,
			double value)
{
	char event[256];

	snprintf(event, sizeof(event),
		 "{\"ph\": \"C\", \"pid\": %d, \"ts\": %.3f, \"name\": \"%s\", "
		 "\"args\": {\"%s\": %.17g}}",
		 (int)getpid(), when * 1e6, name, unit, isfinite(value) ? value : 0);
	trace_out_put(t->out, event);
}

/* --------------------------------------------------------------- counters */

/* A value is drawn from its time to the next one's: a step's speed lies over the step. */
static void put_speed(struct trace_file *t, const struct sherd_trace_step *step)
{
	if (t->step_end > 0 && step->begin - t->step_end > PAUSE_S)
		put_counter(t, "speed", "tokens/s", t->step_end, 0);
	put_counter(t, "speed", "tokens/s", step->begin,
		    step->rows / MAX(step->end - step->begin, 1e-9));
	t->step_end = step->end;
}

static double resident(void)
{
	unsigned long size, pages;
	FILE *f = fopen("/proc/self/statm", "re");
	int n = f ? fscanf(f, "%lu %lu", &size, &pages) : 0;

	if (f)
		fclose(f);
	return n == 2 ? (double)pages * (double)sysconf(_SC_PAGESIZE) : 0;
}

/* Now and then. */
static void sample(struct trace_file *t)
{
	double now = sherd_now(), joules;

	if (now - t->memory_at > MEMORY_S) {
		t->memory_at = now;
		put_counter(t, "memory", "resident bytes", now, resident());
	}
	if (t->energy && now - t->power_at > POWER_S) {
		joules = sherd_energy_so_far(t->energy);
		/* drawn over the time that it is the mean of */
		put_counter(t, "power", "watts", t->power_at,
			    (joules - t->joules) / (now - t->power_at));
		t->power_at = now;
		t->joules = joules;
	}
}

/* --------------------------------------------------------- what is told of */

static void on_phase(struct sherd_trace_sink *s, const char *name, const char *detail,
		     double begin, double end)
{
	trace_file_phase((struct trace_file *)s, name, detail, begin, end);
}

static void on_step(struct sherd_trace_sink *s, const struct sherd_trace_step *step)
{
	struct trace_file *t = (struct trace_file *)s;
	const struct span span = { "step", step->rows > step->items ? "prompt chunk" : "token", 0,
				   step->begin, step->end, false };
	char args[256];
	sigset_t old;

	snprintf(args, sizeof(args),
		 "\"step\": %" PRIu64 ", \"rows\": %d, \"items\": %d, \"position\": %d, "
		 "\"first_layer\": %d, \"end_layer\": %d, \"failed\": %s",
		 step->n, step->rows, step->items, step->position, step->first_layer,
		 step->end_layer, step->failed ? "true" : "false");
	trace_out_enter(t->out, &old);
	put_span(t, &span, args);
	put_speed(t, step);
	put_counter(t, "KV cache", "bytes", step->end, (double)step->kv_bytes);
	sample(t);
	trace_out_leave(t->out, &old);
}

/*
 * The device's clock is set by the host's in each step, some microseconds off: launches stay in a row all
 * the same.
 */
static void put_kernel(struct trace_file *t, const struct sherd_trace_kernel *k, const char *args)
{
	struct span s = { k->inner ? "kernel part" : "kernel", k->name, KERNEL_TRACK, k->begin,
			  k->end, k->inner };

	if (k->inner) {
		s.begin = MIN(MAX(s.begin, t->launch), t->launch_end);
		s.end = MIN(MAX(s.begin, s.end), t->launch_end);
	} else {
		if (t->launch_end - s.begin < CLOCK_S)
			s.begin = MAX(s.begin, t->launch_end);
		t->launch = s.begin;
		t->launch_end = s.end = MAX(s.begin, s.end);
	}
	put_span(t, &s, args);
}

static void on_kernel(struct sherd_trace_sink *s, const struct sherd_trace_kernel *k)
{
	struct trace_file *t = (struct trace_file *)s;
	double peak = k->floats ? t->fma : t->dot, seconds = MAX(k->end - k->begin, 1e-9), best;
	char args[512];
	sigset_t old;
	int n;

	/* names and shapes are the library's own: letters, digits, "x" and "/" */
	n = snprintf(args, sizeof(args),
		     "\"shape\": \"%s\", \"step\": %" PRIu64 ", \"layer\": %d, \"rows\": %d, "
		     "\"bytes\": %.0f, \"%s\": %.0f", k->shape, k->step, k->layer, k->rows,
		     k->bytes, k->floats ? "flops" : "int8_ops", k->ops);
	if (t->read > 0 && peak > 0 && (k->bytes > 0 || k->ops > 0)) {
		best = MAX(k->bytes / t->read, k->ops / peak);
		snprintf(args + n, sizeof(args) - n,
			 ", \"share_of_roof\": %.3f, \"roof\": \"%s\"", best / seconds,
			 k->bytes / t->read > k->ops / peak ? "read" : k->floats ? "float" : "int8");
	}
	trace_out_enter(t->out, &old);
	put_kernel(t, k, args);
	trace_out_leave(t->out, &old);
}

void trace_file_phase(struct trace_file *t, const char *name, const char *detail, double begin,
		      double end)
{
	const struct span span = { "phase", name, 0, begin, end, false };
	char args[640] = "";
	sigset_t old;

	if (detail)
		trace_out_quote(args, (size_t)sprintf(args, "\"what\": "), sizeof(args), detail);
	trace_out_enter(t->out, &old);
	put_span(t, &span, args);
	sample(t);
	trace_out_leave(t->out, &old);
}

void trace_file_event(struct trace_file *t, const char *category, const char *name, int track,
		      double begin, double end, const char *args)
{
	const struct span span = { category, name, track, begin, end, false };
	sigset_t old;

	trace_out_enter(t->out, &old);
	put_span(t, &span, args);
	trace_out_leave(t->out, &old);
}

/* ------------------------------------------------------------ from end to end */

void trace_file_note(struct trace_file *t, const char *key, const char *value)
{
	char *copy = strdup(value ? value : "");
	sigset_t old;

	trace_out_enter(t->out, &old);
	trace_out_note(t->out, key, copy);
	trace_out_leave(t->out, &old);
}

void trace_file_roof(struct trace_file *t, double read, double dot, double fma)
{
	char text[128];

	t->read = read;
	t->dot = dot;
	t->fma = fma;
	snprintf(text, sizeof(text), "%.3g bytes/s read, %.3g int8 operations/s, %.3g flops", read,
		 dot, fma);
	trace_file_note(t, "roof", text);
}

void trace_file_listen(struct trace_file *t, bool on, bool kernels)
{
	if (!t)
		return;
	t->sink.kernels = kernels;
	sherd_trace = on ? &t->sink : NULL;
}

void trace_file_flush(struct trace_file *t)
{
	sigset_t old;

	trace_out_enter(t->out, &old);
	trace_out_flush(t->out);
	trace_out_leave(t->out, &old);
}

/* What is known before anything happens. */
static void begin(struct trace_file *t, const char *tool)
{
	time_t now = time(NULL);
	char text[64];
	sigset_t old;

	snprintf(text, sizeof(text), "sherd %s", tool);
	trace_out_enter(t->out, &old);
	put_metadata(t, "process_name", (int)getpid(), text);
	trace_out_leave(t->out, &old);
	trace_file_note(t, "sherd", sherd_version());
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	trace_file_note(t, "date", text);
	trace_file_note(t, "clock", "ts is CLOCK_MONOTONIC in microseconds; kernels have OpenCL event "
			"times, moved by how far the host's clock was from an event's QUEUED time in "
			"the same step");
	trace_file_note(t, "walk", "one launch that goes through a token's steps; those lie inside it, "
			"by the clock that its work-items read, in proportion");
	trace_file_flush(t);
}

static void begin_power(struct trace_file *t)
{
	t->energy = sherd_energy_open("/sys");
	if (t->energy && sherd_energy_start(t->energy)) {
		sherd_energy_close(t->energy);
		t->energy = NULL;
	}
	if (t->energy)
		trace_file_note(t, "power", sherd_energy_name(t->energy));
	t->power_at = sherd_now();
}

int trace_file_open(struct trace_file **out, const char *path, const char *tool,
		    enum trace_file_mode mode, struct sherd_error *err)
{
	struct trace_file *t = sherd_calloc(1, sizeof(*t));
	int rc;

	*out = NULL;
	if (!t)
		return sherd_fail_oom(err, sizeof(*t), "a trace");
	t->sink = (struct sherd_trace_sink){ on_phase, on_step, on_kernel, false };
	rc = trace_out_open(&t->out, path, mode, err);
	if (rc) {
		free(t);
		return rc;
	}
	begin(t, tool);
	/* a thread that wakes up 20 times a second is too much for a node that waits for days */
	if (mode == TRACE_AT_END)
		begin_power(t);
	*out = t;
	return 0;
}

int trace_file_close(struct trace_file *t, struct sherd_error *err)
{
	sigset_t old;
	int rc;

	if (!t)
		return 0;
	if (sherd_trace == &t->sink)
		sherd_trace = NULL;
	if (t->energy) {
		sherd_energy_stop(t->energy);
		sherd_energy_close(t->energy);
	}
	trace_out_enter(t->out, &old);
	if (t->step_end > 0)
		put_counter(t, "speed", "tokens/s", t->step_end, 0);
	trace_out_leave(t->out, &old);
	rc = trace_out_close(t->out, err);
	free(t);
	return rc;
}
