/* SPDX-License-Identifier: MIT */
/* fake_sherd: a shell script stands for the command that a device is tried out with. */
#ifndef SHERD_TEST_FAKE_SHERD_H
#define SHERD_TEST_FAKE_SHERD_H

#include "scratch.h"

static char *real_path; /* PATH as it was */

static inline int fake_sherd_set_up(void **state)
{
	/* what the script says is about a device, not about the drivers that are here */
	setenv("SHERD_DEVICE_TEST", "1", 1);
	real_path = getenv("PATH") ? strdup(getenv("PATH")) : NULL;
	return real_path ? scratch_make(state) : -1;
}

/* A `sherd` of our own at the head of PATH. */
static inline void fake_sherd(const char *script)
{
	char *path = in_dir("bin/sherd"), *folder = in_dir("bin");
	char *search = sherd_asprintf("%s:%s", folder, real_path);
	char *text = sherd_asprintf("#!/bin/sh\n%s\n", script);

	write_file("bin/sherd", text);
	assert_int_equal(chmod(path, 0700), 0);
	setenv("PATH", search, 1);
	free(path);
	free(folder);
	free(search);
	free(text);
}

/* How often the script ran since fake_sherd_forget(), where it adds a line each time to $XDG_CACHE_HOME/log. */
static inline int fake_sherd_runs(void)
{
	char *path = in_dir("log");
	FILE *f = fopen(path, "r");
	int c, n = 0;

	while (f && (c = getc(f)) != EOF)
		n += c == '\n';
	if (f)
		fclose(f);
	free(path);
	return n;
}

/* Nothing is known of any device. */
static inline void fake_sherd_forget(void)
{
	char *verdicts = in_dir("sherd/device"), *log = in_dir("log");

	nftw(verdicts, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	remove(log);
	free(verdicts);
	free(log);
}

#endif
