/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHERD_IOCTL_H
#define _SHERD_IOCTL_H

#include <linux/fs.h>

extern const struct file_operations sherd_ioctl_device_fops;

#endif
