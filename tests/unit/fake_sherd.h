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

#endif
