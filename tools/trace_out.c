/* SPDX-License-Identifier: MIT */
/* trace_out: events between "traceEvents": [ and an end that is written after each piece, and over. */
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>
#include "tool.h"
#include "trace_out.h"

#define HELD	(64 << 10)
#define TAIL	(4 << 10)
#define N_NOTES 16
#define FLUSH_S 0.25 /* a process that is killed has written all but the last; LIVE: on demand */

struct trace_out {
	struct sherd_outfile file; /* TRACE_AT_END */
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
};

/* For the handler of signals: fixed places, which the file's end does not take away. */
static struct {
	atomic_bool open, busy;
	char from[PATH_MAX], to[PATH_MAX];
} rescue;

/* ------------------------------------------------------------------- text */

size_t trace_out_quote(char *to, size_t at, size_t size, const char *text)
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
static size_t tail(const struct trace_out *o, char *to)
{
	size_t at = sprintf(to, "\n],\n\"displayTimeUnit\": \"ns\",\n\"otherData\": {");

	for (int i = 0; i < o->n_notes; i++) {
		at += sprintf(to + at, "%s\n", i ? "," : "");
		at = trace_out_quote(to, at, TAIL - 512, o->keys[i]);
		at += sprintf(to + at, ": ");
		at = trace_out_quote(to, at, TAIL - 512, o->values[i]);
	}
	return at + sprintf(to + at, "\n}}\n");
}

/* ---------------------------------------------------------------- writing */

/* In this thread there is no handler, others wait. */
void trace_out_enter(struct trace_out *o, sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, old);
	pthread_mutex_lock(&o->lock);
	rescue.busy = true;
}

void trace_out_leave(struct trace_out *o, const sigset_t *old)
{
	rescue.busy = false;
	pthread_mutex_unlock(&o->lock);
	pthread_sigmask(SIG_SETMASK, old, NULL);
}

void trace_out_flush(struct trace_out *o)
{
	size_t n = o->n_held + tail(o, o->held + o->n_held), done = 0;
	ssize_t got;

	for (; done < n && !o->failed; done += got) {
		got = pwrite(o->fd, o->held + done, n - done, o->at + (off_t)done);
		if (got < 0 && errno == EINTR)
			got = 0;
		else if (got <= 0)
			o->failed = got ? errno : EIO;
		got = MAX(got, 0);
	}
	o->at += (off_t)o->n_held;
	o->n_held = 0;
	o->flushed = sherd_now();
}

void trace_out_put(struct trace_out *o, const char *event)
{
	size_t n = strlen(event);

	if (o->n_held + n + 2 > HELD || (o->file.path && sherd_now() - o->flushed > FLUSH_S))
		trace_out_flush(o);
	o->n_held += sprintf(o->held + o->n_held, "%s%s", o->any ? ",\n" : "", event);
	o->any = true;
}

void trace_out_note(struct trace_out *o, const char *key, char *value)
{
	int i;

	for (i = 0; i < o->n_notes && strcmp(o->keys[i], key); i++)
		;
	if (!value || i == N_NOTES) {
		free(value);
		return;
	}
	if (i < o->n_notes)
		free(o->values[i]);
	else
		o->keys[o->n_notes++] = key;
	o->values[i] = value;
}

/* ------------------------------------------------------------ from end to end */

static int open_fd(struct trace_out *o, enum trace_file_mode mode, struct sherd_error *err)
{
	int rc;

	if (mode == TRACE_AT_END) {
		rc = sherd_outfile_open(&o->file, o->path, err);
		if (rc)
			return rc;
		o->fd = o->file.fd;
		snprintf(rescue.from, sizeof(rescue.from), "%s", o->file.tmp_path);
		snprintf(rescue.to, sizeof(rescue.to), "%s", o->file.path);
		rescue.open = true;
		return 0;
	}
	o->fd = open(o->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
	return o->fd < 0 ? sherd_fail(err, -errno, "%s: cannot be written: %s", o->path,
				      strerror(errno)) : 0;
}

static int failed(const struct trace_out *o, struct sherd_error *err)
{
	return sherd_fail(err, -o->failed, "%s: the trace cannot be written: %s", o->path,
			  strerror(o->failed));
}

int trace_out_open(struct trace_out **out, const char *path, enum trace_file_mode mode,
		   struct sherd_error *err)
{
	struct trace_out *o = sherd_calloc(1, sizeof(*o));
	int rc;

	*out = NULL;
	if (!o)
		return sherd_fail_oom(err, sizeof(*o), "a trace");
	o->file.fd = o->fd = -1;
	o->path = strdup(path);
	pthread_mutex_init(&o->lock, NULL);
	rc = rescue.open ? sherd_fail(err, -EBUSY, "%s: there is another trace", path) :
	     o->path	 ? open_fd(o, mode, err) :
			   sherd_fail_oom(err, strlen(path), "a trace");
	if (!rc) {
		o->n_held = sprintf(o->held, "{\"traceEvents\": [\n");
		trace_out_flush(o);
		rc = o->failed ? failed(o, err) : 0;
	}
	if (rc)
		trace_out_close(o, NULL);
	else
		*out = o;
	return rc;
}

/* The name is given, or taken back; what a signal would do is no longer to be done. */
static int end_file(struct trace_out *o, struct sherd_error *err)
{
	int rc;

	if (!o->file.path) {
		if (o->fd >= 0)
			close(o->fd);
		return o->failed ? failed(o, err) : 0;
	}
	if (o->failed) {
		rc = failed(o, err);
		rescue.open = false;
		sherd_outfile_abort(&o->file);
		return rc;
	}
	rc = sherd_outfile_commit(&o->file, err);
	rescue.open = false;
	return rc;
}

int trace_out_close(struct trace_out *o, struct sherd_error *err)
{
	sigset_t old;
	int rc;

	if (!o)
		return 0;
	if (o->fd >= 0) {
		trace_out_enter(o, &old);
		trace_out_flush(o);
		trace_out_leave(o, &old);
	}
	rc = end_file(o, err);
	for (int i = 0; i < o->n_notes; i++)
		free(o->values[i]);
	pthread_mutex_destroy(&o->lock);
	free(o->path);
	free(o);
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
