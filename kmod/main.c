// SPDX-License-Identifier: GPL-2.0-only
/*
 * sherd: pins memory that exists already - a memfd, or the page cache of a file - and exports it
 * as dma-bufs. <linux/sherd.h> has the whole contract. The module allocates no memory for others,
 * knows nothing about what is in it, and keeps no list of buffers: they live by their descriptors.
 */
#include <linux/miscdevice.h>
#include <linux/module.h>

#include "ioctl.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static struct miscdevice sherd_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "sherd",
	.fops	= &sherd_ioctl_device_fops,
};
module_misc_device(sherd_device);

MODULE_DESCRIPTION("Pins memfds and files and exports them as dma-bufs");
MODULE_LICENSE("GPL");
/* MODULE_IMPORT_NS() wants a token up to Linux 6.12 and a string since; this is what both make. */
MODULE_INFO(import_ns, "DMA_BUF");
