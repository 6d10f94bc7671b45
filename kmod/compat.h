/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older kernels lack. Kbuild includes this where the kernel's headers do not have it, and only
 * outside the kernel's tree: the sources are written for today's kernel.
 */
#ifndef _SHERD_COMPAT_H
#define _SHERD_COMPAT_H

#include <linux/fs.h>

/* Linux 5.12's, and the last 5.10-stable ones'. Before, there were no mapped mounts to heed. */
static inline int file_permission(struct file *file, int mask)
{
	return inode_permission(file_inode(file), mask);
}

#endif
