/* SPDX-License-Identifier: MIT */
/* prime: see prime.h. Nodes are found by their numbers, whatever bus they are on. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <xf86drm.h>
#include "device/prime.h"

#define FIRST_NODE 128
#define END_NODE   192

static void name_driver(int fd, struct sherd_prime *p)
{
	drmVersionPtr v = drmGetVersion(fd);

	if (!v)
		return;
	snprintf(p->driver, sizeof(p->driver), "%.*s %d.%d.%d", v->name_len, v->name,
		 v->version_major, v->version_minor, v->version_patchlevel);
	drmFreeVersion(v);
}

static void try_import(int fd, int dmabuf, struct sherd_prime *p)
{
	uint32_t handle;

	if (dmabuf < 0) {
		sherd_fail(&p->why, -ENOENT, "not tried: there are no dma-bufs here");
		return;
	}
	p->imports = !drmPrimeFDToHandle(fd, dmabuf, &handle);
	if (p->imports) /* drmCloseBufferHandle() is newer than the boards' libdrm */
		drmIoctl(fd, DRM_IOCTL_GEM_CLOSE, &(struct drm_gem_close){ .handle = handle });
	else
		sherd_fail(&p->why, -errno, "it refuses our dma-buf: %s", strerror(errno));
}

/* False: there is no such node. */
static bool look_at(int number, int dmabuf, struct sherd_prime *p)
{
	int fd, code;

	*p = (struct sherd_prime){ .driver = "unknown" };
	snprintf(p->node, sizeof(p->node), "/dev/dri/renderD%d", number);
	fd = open(p->node, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		code = errno;
		sherd_fail(&p->why, -code, "it can't be opened: %s", strerror(code));
		return code != ENOENT && code != ENOTDIR;
	}
	name_driver(fd, p);
	try_import(fd, dmabuf, p);
	close(fd);
	return true;
}

int sherd_prime_list(struct sherd_prime **list, int *n, int dmabuf, struct sherd_error *err)
{
	*n = 0;
	*list = sherd_calloc(END_NODE - FIRST_NODE, sizeof(**list));
	if (!*list)
		return sherd_fail_oom(err, (END_NODE - FIRST_NODE) * sizeof(**list),
				      "DRM render nodes");
	for (int i = FIRST_NODE; i < END_NODE; i++)
		*n += look_at(i, dmabuf, &(*list)[*n]);
	return 0;
}
