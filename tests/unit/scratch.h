/* SPDX-License-Identifier: MIT */
/* scratch: a folder under /tmp that a test program writes to, and that goes away with it. */
#ifndef SHERD_TEST_SCRATCH_H
#define SHERD_TEST_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/base.h"

static char dir[64];

static inline char *in_dir(const char *name)
{
	char *path = sherd_asprintf("%s/%s", dir, name);

	assert_non_null(path);
	return path;
}

static inline void write_file(const char *name, const char *text)
{
	char *path = in_dir(name);
	FILE *f;

	for (char *slash = strchr(path + strlen(dir) + 1, '/'); slash;
	     slash = strchr(slash + 1, '/')) {
		*slash = 0;
		mkdir(path, 0700);
		*slash = '/';
	}
	f = fopen(path, "w");
	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
	free(path);
}

static inline int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static inline int scratch_make(void **state)
{
	(void)state;
	strcpy(dir, "/tmp/sherd-test-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static inline int scratch_remove(void **state)
{
	(void)state;
	return nftw(dir, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
}

#endif
