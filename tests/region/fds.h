/* SPDX-License-Identifier: MIT */
/* fds: how many descriptors are open, which a test wants to be as many as before. */
#ifndef FDS_H
#define FDS_H

#include <fcntl.h>

static inline int fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

#endif
