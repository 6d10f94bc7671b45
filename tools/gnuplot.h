/* SPDX-License-Identifier: MIT */
/* gnuplot: draws what a script says, as a child process. */
#ifndef SHERD_TOOL_GNUPLOT_H
#define SHERD_TOOL_GNUPLOT_H

#include "base/base.h"

/* 0; -ENOENT and which package has it, where there is none. */
int gnuplot_find(struct sherd_error *err);
/* Runs @script; what it writes to its standard output goes to @fd. */
int gnuplot_run(const char *script, int fd, struct sherd_error *err);

#endif
