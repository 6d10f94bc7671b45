/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What older kernels lack: Kbuild looks for each in the kernel's headers, and where it is missing,
 * has the file that wants it include this, outside the kernel's tree only. The sources are written
 * for today's kernel.
 */
#ifndef _SHERD_COMPAT_H
#define _SHERD_COMPAT_H

#ifdef LACKS_file_permission
#include <linux/fs.h>

/* Linux 5.12's, and the last 5.10-stable ones'. Before, there were no mapped mounts to heed. */
static inline int file_permission(struct file *file, int mask)
{
	return inode_permission(file_inode(file), mask);
}
#endif

#ifdef LACKS_vm_flags_mod
#include <linux/mm.h>

/* Linux 6.3's, where vm_flags is not to be written otherwise. */
static inline void vm_flags_mod(struct vm_area_struct *vma, unsigned long set, unsigned long clear)
{
	vma->vm_flags |= set;
	vma->vm_flags &= ~clear;
}
#endif

#endif
