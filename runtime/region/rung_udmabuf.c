/* SPDX-License-Identifier: MIT */
/*
 * rung_udmabuf: /dev/udmabuf makes dma-bufs of a memfd's pages, in the kernel since 4.20 but not
 * built by every distribution. It takes memfds that can't shrink and are not sealed against
 * writing, 64 MiB each unless its parameter says more, and holds their pages for as long as such a
 * dma-buf is open.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/udmabuf.h>
#include "region/rung.h"

const char *sherd_rung_udmabuf_path = "/dev/udmabuf";

#define LIMIT "/sys/module/udmabuf/parameters/size_limit_mb"
#define MORE  "root can write more into " LIMIT

/* Its default, where the parameter can't be read. */
static size_t size_limit(void)
{
	char *text;
	size_t n, mib = 0;

	if (!sherd_read_file(LIMIT, 64, &text, &n, NULL)) {
		mib = strtoul(text, NULL, 10);
		free(text);
	}
	return (mib ? mib : 64) << 20;
}

static int create(struct sherd_region *r, size_t offset, size_t length)
{
	struct udmabuf_create arg = { .memfd = (uint32_t)r->fd,
				      .flags = UDMABUF_FLAGS_CLOEXEC,
				      .offset = offset,
				      .size = length };
	int fd = ioctl(r->held, UDMABUF_CREATE, &arg);

	return fd < 0 ? -errno : fd;
}

/* A window of one page shows whether it works at all. */
static int probe(struct sherd_region *r, struct sherd_error *err)
{
	int fd = create(r, 0, sherd_page_size());

	if (fd == -ENOTTY)
		return sherd_fail(err, -ENODEV, "%s is another driver's", sherd_rung_udmabuf_path);
	if (fd < 0)
		return sherd_fail(err, fd, "/dev/udmabuf refuses the memfd: %s", strerror(-fd));
	close(fd);
	return 0;
}

/*
 * Many kernels' udmabuf takes no reserved huge pages. That a slot is a dma-buf is worth more than
 * how large its pages are: the ring gets other memory, if that is taken.
 */
static int probe_unreserved(struct sherd_region *r, struct sherd_error *err)
{
	struct sherd_region old = *r;
	int rc = sherd_ring_make_unreserved(r, err);

	if (!rc) {
		rc = probe(r, err);
		sherd_ring_free_memory(rc ? r : &old);
	}
	if (rc) {
		r->data = old.data;
		r->size = old.size;
		r->fd = old.fd;
		r->pages = old.pages;
	}
	return rc;
}

static int hold(struct sherd_region *r, struct sherd_error *err)
{
	int seals = fcntl(r->fd, F_GET_SEALS), rc;
	bool refused;

	if (seals < 0 || seals == F_SEAL_SEAL) /* tmpfs, too, knows seals */
		return sherd_fail(err, -EINVAL,
				  "/dev/udmabuf takes memfds only, and this is a file");
	if (!(seals & F_SEAL_SHRINK))
		return sherd_fail(err, -EINVAL, "/dev/udmabuf takes memfds that can't shrink only");
	if (r->slot_size > size_limit())
		return sherd_fail(err, -EFBIG,
				  "/dev/udmabuf: a slot of %zu KiB is more than the %zu MiB "
				  "that it allows; " MORE,
				  r->slot_size >> 10, size_limit() >> 20);
	r->held = sherd_rung_open_node(sherd_rung_udmabuf_path, "/sys/class/misc/udmabuf",
				       "the kernel is built without CONFIG_UDMABUF", err);
	if (r->held < 0)
		return r->held;
	rc = probe(r, err);
	refused = rc && rc != -ENODEV && r->n_slots && r->pages == SHERD_PAGES_HUGETLB;
	if (refused)
		rc = probe_unreserved(r, err);
	if (rc) {
		close(r->held);
		return rc;
	}
	r->max_window = MIN(size_limit(), r->size);
	snprintf(r->how, sizeof(r->how), "shared by /dev/udmabuf, dma-bufs of %zu MiB at most%s",
		 size_limit() >> 20, refused ? "; it takes no reserved huge pages" : "");
	return 0;
}

static int window(struct sherd_region *r, size_t offset, size_t length, struct sherd_error *err)
{
	int fd = create(r, offset, length);

	if (fd < 0)
		return sherd_fail_window(err, "/dev/udmabuf", length, -fd);
	return fd;
}

static void release(struct sherd_region *r)
{
	close(r->held);
}

const struct sherd_rung_ops sherd_rung_udmabuf = {
	.name = "udmabuf",
	.hold = hold,
	.window = window,
	.release = release,
	.more = MORE,
};
