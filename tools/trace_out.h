/* SPDX-License-Identifier: MIT */
/*
 * trace_out: a file of JSON events, one a line, that is whole whoever dies, and when. Events are held
 * back and written in pieces of some tens of KiB, so that a trace takes no memory; each piece ends the
 * JSON, and the next one is written over that end. What events mean is trace_file.c's business.
 */
#ifndef SHERD_TOOL_TRACE_OUT_H
#define SHERD_TOOL_TRACE_OUT_H

#include <signal.h>
#include <stddef.h>
#include "trace_file.h"

#define TRACE_EVENT 2048 /* an event's text, at most */

struct trace_out;

/* There is one with TRACE_AT_END at a time; -EBUSY otherwise. */
int trace_out_open(struct trace_out **out, const char *path, enum trace_file_mode mode,
		   struct sherd_error *err);
/*
 * The file gets its name; or it is taken back, with the sentence of the first write that failed.
 * NULL: nothing is done.
 */
int trace_out_close(struct trace_out *o, struct sherd_error *err);

/* Around what follows: no other thread, and no handler of a signal, finds the file in the middle. */
void trace_out_enter(struct trace_out *o, sigset_t *old);
void trace_out_leave(struct trace_out *o, const sigset_t *old);
/* @event: a JSON object, shorter than TRACE_EVENT. */
void trace_out_put(struct trace_out *o, const char *event);
void trace_out_flush(struct trace_out *o);
/* Behind the events: static @key, and @value, malloc'd, which is the file's; again: the last one counts. */
void trace_out_note(struct trace_out *o, const char *key, char *value);

/* @text between quotes, as much as fits; bytes that are no UTF-8 are replaced. Returns @at's next. */
size_t trace_out_quote(char *to, size_t at, size_t size, const char *text);

#endif
