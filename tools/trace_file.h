/* SPDX-License-Identifier: MIT */
/*
 * trace_file: what the library's trace says (base/trace.h), in a file that Perfetto and
 * chrome://tracing read. A line an event, in pieces of some tens of KiB, so that a trace takes no
 * memory; each piece ends the JSON and the next one is written over that end: what is on the disk is
 * always whole, whoever dies, and when.
 *
 * Times are of CLOCK_MONOTONIC: traces of several processes of one machine can be laid side by side,
 * those of several machines cannot.
 */
#ifndef SHERD_TOOL_TRACE_FILE_H
#define SHERD_TOOL_TRACE_FILE_H

#include "base/trace.h"

struct trace_file;

enum trace_file_mode {
	TRACE_AT_END, /* the file has its name when it is closed, or a signal ends the process */
	TRACE_LIVE, /* from the beginning, for processes that run for days */
};

/* For @tool ("run"). There is one file at a time; -EBUSY otherwise. */
int trace_file_open(struct trace_file **t, const char *path, const char *tool,
		    enum trace_file_mode mode, struct sherd_error *err);
/* Becomes the library's sink (base/trace.h), or ceases to be; @kernels: of each launch, too. */
void trace_file_listen(struct trace_file *t, bool on, bool kernels);
/* Writes out what is held back; for when there is time. */
void trace_file_flush(struct trace_file *t);
/* Ends it; NULL: nothing is done. The sentence of the first write that failed, if one did. */
int trace_file_close(struct trace_file *t, struct sherd_error *err);
/* From a signal's handler that ends the process: the file gets its name, with what it has. */
void trace_file_rescue(void);

/* Bytes and operations a second that kernels are held against; 0: unknown. */
void trace_file_roof(struct trace_file *t, double read, double dot, double fma);
/* What is known about the whole; again: the last one counts. Static @key. */
void trace_file_note(struct trace_file *t, const char *key, const char *value);
/* An event that the library does not know of: a phase, or a node's step, in @track or 0: the thread. */
void trace_file_phase(struct trace_file *t, const char *name, const char *detail, double begin,
		      double end);
/* @args: the inside of a JSON object, or "". */
void trace_file_event(struct trace_file *t, const char *category, const char *name, int track,
		      double begin, double end, const char *args);

#endif
