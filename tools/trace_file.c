/* SPDX-License-Identifier: MIT */
/*
 * trace_file: events as JSON, one a line. Host phases lie on the thread that they were on, kernels on
 * a track of their own, counters on theirs: tokens/s of each step, memory, the KV cache, and power
 * where the machine has a sensor.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>
#include "device/energy.h"
#include "tool.h"
#include "trace_file.h"

#define HELD	     (64 << 10)
#define TAIL	     (4 << 10)
#define EVENT	     2048
#define N_NOTES	     16
#define N_THREADS    64
#define KERNEL_TRACK 1 /* no thread of ours has the number of init */
#define FLUSH_S	     0.25 /* a process that is killed has written all but the last; LIVE: on demand */
#define MEMORY_S     0.01
#define POWER_S	     0.1

struct trace_file {
	struct sherd_trace_sink sink;
	struct sherd_outfile out; /* TRACE_AT_END */
	char *path;
	int fd;
	pthread_mutex_t lock; /* what follows */
	char held[HELD + TAIL];
	size_t n_held;
	off_t at; /* where they go */
	bool any; /* events */
	int failed; /* errno of the first write that failed */
	double flushed;
	const char *keys[N_NOTES];
	char *values[N_NOTES];
	int n_notes;
	int threads[N_THREADS]; /* that have been named */
	int n_threads;
	double read, dot, fma; /* the roof */
	struct sherd_energy *energy;
	double memory_at, power_at, joules;
};

/* For the handler of signals: fixed places, which the file's end does not take away. */
static struct {
	atomic_bool open, busy;
	char from[PATH_MAX], to[PATH_MAX];
} rescue;

/* ------------------------------------------------------------------- text */

/* @text between quotes, as much as fits; bytes that are no UTF-8 are replaced. Returns @at's next. */
static size_t quote(char *to, size_t at, size_t size, const char *text)
{
	const uint8_t *p = (const uint8_t *)text;
	utf8proc_int32_t code;
	char one[8];

	to[at++] = '"';
	while (*p && at + sizeof(one) + 2 < size) {
		utf8proc_ssize_t n = utf8proc_iterate(p, -1, &code);

		if (n <= 0)
			at += sprintf(to + at, "\\ufffd");
		else if (code < 32 || code == '"' || code == '\\' || code == 127)
			at += sprintf(to + at, "\\u%04x", (unsigned)code);
		else
			memcpy(to + at, p, n), at += n;
		p += n > 0 ? n : 1;
	}
	to[at++] = '"';
	to[at] = 0;
	return at;
}

/* What comes after the last event. */
static size_t tail(const struct trace_file *t, char *to)
{
	size_t at = sprintf(to, "\n],\n\"displayTimeUnit\": \"ns\",\n\"otherData\": {");

	for (int i = 0; i < t->n_notes; i++) {
		at += sprintf(to + at, "%s\n", i ? "," : "");
		at = quote(to, at, TAIL - 512, t->keys[i]);
		at += sprintf(to + at, ": ");
		at = quote(to, at, TAIL - 512, t->values[i]);
	}
	return at + sprintf(to + at, "\n}}\n");
}

/* ---------------------------------------------------------------- writing */

/* No handler of a signal finds us in the middle: in this thread there is none, others wait. */
static void enter(struct trace_file *t, sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, old);
	pthread_mutex_lock(&t->lock);
	rescue.busy = true;
}

static void leave(struct trace_file *t, const sigset_t *old)
{
	rescue.busy = false;
	pthread_mutex_unlock(&t->lock);
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

static void flush(struct trace_file *t)
{
	size_t n = t->n_held + tail(t, t->held + t->n_held), done = 0;
	ssize_t got;

	for (; done < n && !t->failed; done += got) {
		got = pwrite(t->fd, t->held + done, n - done, t->at + (off_t)done);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			t->failed = got ? errno : EIO;
		got = MAX(got, 0);
	}
	t->at += (off_t)t->n_held;
	t->n_held = 0;
	t->flushed = sherd_now();
}

static void put(struct trace_file *t, const char *event)
{
	size_t n = strlen(event);

	if (t->n_held + n + 2 > HELD || (t->out.path && sherd_now() - t->flushed > FLUSH_S))
		flush(t);
	t->n_held += sprintf(t->held + t->n_held, "%s%s", t->any ? ",\n" : "", event);
	t->any = true;
}

static void put_metadata(struct trace_file *t, const char *what, int track, const char *name)
{
	char event[EVENT];
	size_t at = snprintf(event, sizeof(event),
			     "{\"ph\": \"M\", \"name\": \"%s\", \"pid\": %d, \"tid\": %d, "
			     "\"args\": {\"name\": ", what, (int)getpid(), track);

	at = quote(event, at, sizeof(event) - 8, name);
	strcpy(event + at, "}}");
	put(t, event);
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
static void put_event(struct trace_file *t, const char *category, const char *name, int track,
		      double begin, double end, const char *args)
{
	int64_t from = llround(begin * 1e9), to = llround(MAX(begin, end) * 1e9);
	int id = name_track(t, track);
	char event[EVENT];
	size_t at = snprintf(event, sizeof(event),
			     "{\"ph\": \"X\", \"cat\": \"%s\", \"pid\": %d, \"tid\": %d, "
			     "\"ts\": %" PRId64 ".%03d, \"dur\": %" PRId64 ".%03d, \"name\": ",
			     category, (int)getpid(), id, from / 1000, (int)(from % 1000),
			     (to - from) / 1000, (int)((to - from) % 1000));

	at = quote(event, at, at + 256, name);
	snprintf(event + at, sizeof(event) - at, ", \"args\": {%s}}", args);
	put(t, event);
}

static void put_counter(struct trace_file *t, const char *name, double when, double value)
{
	char event[256];

	snprintf(event, sizeof(event),
		 "{\"ph\": \"C\", \"pid\": %d, \"ts\": %.3f, \"name\": \"%s\", "
		 "\"args\": {\"%s\": %.17g}}",
		 (int)getpid(), when * 1e6, name, name, isfinite(value) ? value : 0);
	put(t, event);
}

/* --------------------------------------------------------------- counters */

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
		put_counter(t, "resident bytes", now, resident());
	}
	if (t->energy && now - t->power_at > POWER_S) {
		joules = sherd_energy_so_far(t->energy);
		put_counter(t, "watts", now, (joules - t->joules) / (now - t->power_at));
		t->power_at = now;
		t->joules = joules;
	}
}

/* ----------------------------------------------------------------- events */

static void on_phase(struct sherd_trace_sink *s, const char *name, const char *detail,
		     double begin, double end)
{
	trace_file_phase((struct trace_file *)s, name, detail, begin, end);
}

static void on_step(struct sherd_trace_sink *s, const struct sherd_trace_step *step)
{
	struct trace_file *t = (struct trace_file *)s;
	char args[256];
	sigset_t old;

	snprintf(args, sizeof(args),
		 "\"step\": %" PRIu64 ", \"rows\": %d, \"items\": %d, \"position\": %d, "
		 "\"first_layer\": %d, \"end_layer\": %d, \"failed\": %s",
		 step->n, step->rows, step->items, step->position, step->first_layer,
		 step->end_layer, step->failed ? "true" : "false");
	enter(t, &old);
	put_event(t, "step", step->rows > step->items ? "prompt chunk" : "token", 0, step->begin,
		  step->end, args);
	put_counter(t, "tokens/s", step->end, step->rows / MAX(step->end - step->begin, 1e-9));
	put_counter(t, "KV bytes", step->end, (double)step->kv_bytes);
	sample(t);
	leave(t, &old);
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
	enter(t, &old);
	put_event(t, k->inner ? "kernel part" : "kernel", k->name, KERNEL_TRACK, k->begin, k->end,
		  args);
	leave(t, &old);
}

void trace_file_phase(struct trace_file *t, const char *name, const char *detail, double begin,
		      double end)
{
	char args[640] = "";
	sigset_t old;

	if (detail)
		quote(args, (size_t)sprintf(args, "\"what\": "), sizeof(args), detail);
	enter(t, &old);
	put_event(t, "phase", name, 0, begin, end, args);
	sample(t);
	leave(t, &old);
}

void trace_file_event(struct trace_file *t, const char *category, const char *name, int track,
		      double begin, double end, const char *args)
{
	sigset_t old;

	enter(t, &old);
	put_event(t, category, name, track, begin, end, args);
	leave(t, &old);
}

/* ------------------------------------------------------------ from end to end */

void trace_file_note(struct trace_file *t, const char *key, const char *value)
{
	char *copy = strdup(value ? value : "");
	sigset_t old;
	int i;

	enter(t, &old);
	for (i = 0; i < t->n_notes && strcmp(t->keys[i], key); i++)
		;
	if (copy && i < N_NOTES) {
		if (i < t->n_notes)
			free(t->values[i]);
		else
			t->keys[t->n_notes++] = key;
		t->values[i] = copy;
		copy = NULL;
	}
	leave(t, &old);
	free(copy);
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

	enter(t, &old);
	flush(t);
	leave(t, &old);
}

static int open_fd(struct trace_file *t, const char *path, enum trace_file_mode mode,
		   struct sherd_error *err)
{
	int rc;

	if (mode == TRACE_AT_END) {
		rc = sherd_outfile_open(&t->out, path, err);
		if (rc)
			return rc;
		t->fd = t->out.fd;
		snprintf(rescue.from, sizeof(rescue.from), "%s", t->out.tmp_path);
		snprintf(rescue.to, sizeof(rescue.to), "%s", t->out.path);
		rescue.open = true;
		return 0;
	}
	t->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return t->fd < 0 ? sherd_fail(err, -errno, "%s: cannot be written: %s", path,
				      strerror(errno)) : 0;
}

static int failed(const struct trace_file *t, struct sherd_error *err)
{
	return sherd_fail(err, -t->failed, "%s: the trace cannot be written: %s", t->path,
			  strerror(t->failed));
}

static void begin(struct trace_file *t, const char *tool)
{
	time_t now = time(NULL);
	char name[64];
	sigset_t old;

	t->n_held = sprintf(t->held, "{\"traceEvents\": [\n");
	snprintf(name, sizeof(name), "sherd %s", tool);
	trace_file_note(t, "sherd", sherd_version());
	enter(t, &old);
	put_metadata(t, "process_name", (int)getpid(), name);
	flush(t);
	leave(t, &old);
	strftime(name, sizeof(name), "%Y-%m-%dT%H:%M:%SZ", gmtime(&now));
	trace_file_note(t, "date", name);
	trace_file_note(t, "clock", "ts is CLOCK_MONOTONIC in microseconds; kernels have OpenCL event "
			"times, moved by how far the host's clock was from an event's QUEUED time in "
			"the same step");
	trace_file_note(t, "walk", "one launch that goes through a token's steps; those lie inside it, "
			"by the clock that its work-items read, in proportion");
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
	t->out.fd = t->fd = -1;
	t->path = strdup(path);
	pthread_mutex_init(&t->lock, NULL);
	rc = rescue.open ? sherd_fail(err, -EBUSY, "%s: there is another trace", path) :
	     t->path	 ? open_fd(t, path, mode, err) :
			   sherd_fail_oom(err, strlen(path), "a trace");
	if (!rc) {
		begin(t, tool);
		rc = t->failed ? failed(t, err) : 0;
	}
	if (rc) {
		trace_file_close(t, NULL);
		return rc;
	}
	/* a thread that wakes up 20 times a second is too much for a node that waits for days */
	t->energy = mode == TRACE_AT_END ? sherd_energy_open("/sys") : NULL;
	if (t->energy && sherd_energy_start(t->energy)) {
		sherd_energy_close(t->energy);
		t->energy = NULL;
	}
	if (t->energy)
		trace_file_note(t, "power", sherd_energy_name(t->energy));
	t->power_at = sherd_now();
	*out = t;
	return 0;
}

/* The name is given, or taken back; what a signal would do is no longer to be done. */
static int end_file(struct trace_file *t, struct sherd_error *err)
{
	int rc;

	if (!t->out.path) {
		if (t->fd >= 0)
			close(t->fd);
		return t->failed ? failed(t, err) : 0;
	}
	if (t->failed) {
		rc = failed(t, err);
		rescue.open = false;
		sherd_outfile_abort(&t->out);
		return rc;
	}
	rc = sherd_outfile_commit(&t->out, err);
	rescue.open = false;
	return rc;
}

int trace_file_close(struct trace_file *t, struct sherd_error *err)
{
	int rc;

	if (!t)
		return 0;
	if (sherd_trace == &t->sink)
		sherd_trace = NULL;
	if (t->energy) {
		sherd_energy_stop(t->energy);
		sherd_energy_close(t->energy);
	}
	if (t->fd >= 0)
		trace_file_flush(t);
	rc = end_file(t, err);
	for (int i = 0; i < t->n_notes; i++)
		free(t->values[i]);
	pthread_mutex_destroy(&t->lock);
	free(t->path);
	free(t);
	return rc;
}

void trace_file_rescue(void)
{
	const struct timespec moment = { .tv_nsec = 1000000 };

	if (!rescue.open)
		return;
	for (int i = 0; i < 100 && rescue.busy; i++)
		nanosleep(&moment, NULL);
	rename(rescue.from, rescue.to);
}
