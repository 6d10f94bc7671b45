/* SPDX-License-Identifier: MIT */
/*
 * rung_sherd: the kernel module. A shard is pinned by the address of its mapping, read-only, and so
 * that nobody can open the file for writing meanwhile, where the module grants that; a ring by its
 * memfd. The descriptor that comes back is the pin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/sherd.h>
#include "region/rung.h"

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14; older headers */
#endif

#define PIECE ((size_t)1 << 20) /* a twentieth of a second from a card that reads 20 MB a second */

const char *sherd_rung_sherd_path = "/dev/sherd";

static int fail_pin(const struct sherd_region *r, int code, struct sherd_error *err)
{
	switch (code) {
	case ENOBUFS:
		return sherd_fail_memlock(err, "/dev/sherd", r->size, SIZE_MAX);
	case ENOTTY:
		return sherd_fail(err, -ENODEV, "%s is another driver's", sherd_rung_sherd_path);
	case EFAULT:
		return sherd_fail(err, -code,
				  "/dev/sherd: a page can't be pinned: the file lies where its "
				  "pages can't be (DAX, or it was cut short)");
	default:
		return sherd_fail_window(err, "/dev/sherd", r->size, code);
	}
}

/* On success the buffer's descriptor is in arg->buffer. Returns an errno. */
static int pin(int node, struct sherd_pin *arg, unsigned flags)
{
	arg->flags = flags;
	while (ioctl(node, SHERD_PIN, arg))
		if (errno != EINTR)
			return errno;
	return 0;
}

/* A kernel before 5.14 has no such advice; reading copies what it brings. */
static int bring_piece(const struct sherd_region *r, size_t at, size_t n)
{
	char *copy;
	ssize_t got;

	if (!madvise(r->data + at, n, MADV_POPULATE_READ))
		return 0;
	if (errno != EINVAL)
		return -errno;
	copy = malloc(n);
	got = copy ? pread(r->fd, copy, n, (off_t)at) : -1;
	free(copy);
	return got < 0 ? -EIO : 0;
}

/*
 * The pin reads what is not in memory yet, which takes minutes from a slow card, and heeds no
 * signal on the way but one that kills: a handler, as of Ctrl-C, would wait for it. So all is
 * brought in before, piece by piece. The pages are mapped, too, which the pin would have to do
 * otherwise: nothing is done twice. What fails, fails there again.
 */
static void bring(const struct sherd_region *r)
{
	const struct sherd_map map = { .data = r->data, .size = r->size };
	size_t at, n;

	if (sherd_region_foresee(&map, SHERD_RUNG_SHERD, NULL) == -ENOBUFS)
		return; /* the pin will be refused */
	for (at = 0; at < r->size; at += n) {
		n = MIN(r->size - at, PIECE);
		if (bring_piece(r, at, n))
			return;
		if (r->progress)
			r->progress(r->ctx, "reading the weights", at + n, r->size);
	}
}

static int pin_shard(int node, struct sherd_pin *arg)
{
	int code = pin(node, arg, SHERD_PIN_IMMUTABLE);

	/*
	 * Somebody writes to it, or may, and this user can't forbid that. It is read-only all the
	 * same.
	 */
	if (code == ETXTBSY || code == EACCES || code == EPERM)
		code = pin(node, arg, SHERD_PIN_READ_ONLY);
	return code;
}

static const char *state_text(unsigned state)
{
	if (state & SHERD_STATE_VERITY)
		return ", immutable (fs-verity)";
	if (state & SHERD_STATE_SEALED)
		return ", immutable (sealed)";
	if (state & SHERD_STATE_WRITE_DENIED)
		return ", immutable (nobody can open it for writing)";
	return state & SHERD_STATE_READ_ONLY ? ", read-only" : "";
}

static int hold(struct sherd_region *r, struct sherd_error *err)
{
	struct sherd_pin arg = { .size = sizeof(arg), .fd = r->fd, .length = r->size };
	int node = sherd_rung_open_node(sherd_rung_sherd_path, "/sys/module/sherd",
					"its kernel module is not loaded (modprobe sherd)", err);
	int code;

	if (node < 0)
		return node;
	if (r->read_only) {
		bring(r);
		arg.addr = (uintptr_t)r->data;
		code = pin_shard(node, &arg);
	} else {
		code = pin(node, &arg, 0);
	}
	close(node);
	if (code)
		return fail_pin(r, code, err);
	r->held = arg.buffer;
	r->max_window = r->size;
	snprintf(r->how, sizeof(r->how), "pinned by /dev/sherd: %llu pages in %u runs%s",
		 (unsigned long long)arg.pages, arg.segments, state_text(arg.state));
	return 0;
}

static int window(struct sherd_region *r, size_t offset, size_t length, struct sherd_error *err)
{
	struct sherd_export arg = { .size = sizeof(arg), .offset = offset, .length = length };

	if (ioctl(r->held, SHERD_EXPORT, &arg))
		return sherd_fail_window(err, "/dev/sherd", length, errno);
	return arg.fd;
}

static void release(struct sherd_region *r)
{
	close(r->held);
}

const struct sherd_rung_ops sherd_rung_sherd = {
	.name = "sherd",
	.pins = true,
	.hold = hold,
	.window = window,
	.release = release,
};
