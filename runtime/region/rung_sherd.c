/* SPDX-License-Identifier: MIT */
/*
 * rung_sherd: the kernel module. A shard is pinned by the address of its mapping, read-only, and so
 * that nobody can open the file for writing meanwhile, where the module grants that; a ring by its
 * memfd. The descriptor that comes back is the pin.
 */
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>
#include <linux/sherd.h>
#include "region/rung.h"

const char *sherd_rung_sherd_path = "/dev/sherd";

static int fail_pin(const struct sherd_region *r, int code, struct sherd_error *err)
{
	switch (code) {
	case ENOBUFS:
		return sherd_fail_memlock(err, "/dev/sherd", r->size, SIZE_MAX);
	case ENOTTY:
		return sherd_fail(err, -ENODEV, "%s is another driver's", sherd_rung_sherd_path);
	case EFAULT:
		return sherd_fail(err, -code, "/dev/sherd: a page can't be pinned: the file lies where its "
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

static int pin_shard(int node, struct sherd_pin *arg)
{
	int code = pin(node, arg, SHERD_PIN_IMMUTABLE);

	/* Somebody writes to it, or may, and this user can't forbid that. It is read-only all the same. */
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
