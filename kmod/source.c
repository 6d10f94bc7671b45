// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a buffer's pages come from: a memfd, or the page cache of a regular file.
 *
 * Seals are only ever added, so that one seen before pinning holds for good, without a lock. The
 * one that must be absent (F_SEAL_WRITE under a writable buffer) cannot come in between either:
 * pages are pinned for writing through a shared writable mapping only, and while such a mapping
 * exists, or a page is pinned, the kernel refuses F_SEAL_WRITE.
 */
#include <linux/cred.h>
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/magic.h>
#include <linux/mm.h>
#include <linux/mman.h>
#include <linux/shmem_fs.h>
#include <linux/sherd.h>

#include "buffer.h"
#include "source.h"

static int memfd_seals(struct file *file, unsigned int *seals)
{
	struct inode *inode = file_inode(file);

	/* Devices may lie on such file systems, too. */
	if (!S_ISREG(inode->i_mode))
		return -EINVAL;
	switch (inode->i_sb->s_magic) {
	case TMPFS_MAGIC:
		*seals = READ_ONCE(SHMEM_I(inode)->seals);
		return 0;
#ifdef CONFIG_HUGETLBFS
	case HUGETLBFS_MAGIC:
		*seals = READ_ONCE(HUGETLBFS_I(inode)->seals);
		return 0;
#endif
	default:
		return -EINVAL;
	}
}

static int check_seals(struct sherd_buffer *buffer, struct file *file)
{
	unsigned int seals;
	int err;

	err = memfd_seals(file, &seals);
	if (err)
		return err;
	if (!(seals & F_SEAL_SHRINK))
		return -EPERM;
	if (!(buffer->state & SHERD_STATE_READ_ONLY))
		return seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE) ? -EPERM : 0;
	if (buffer->state & SHERD_STATE_IMMUTABLE) {
		if (!(seals & F_SEAL_WRITE))
			return -EPERM;
		buffer->state |= SHERD_STATE_SEALED;
	}
	return 0;
}

/*
 * A read-only buffer is pinned through a read-only description of the same file: a shared mapping
 * of that counts as no writer, which a write seal would refuse.
 */
static struct file *open_again(struct sherd_buffer *buffer, struct file *file)
{
	if (buffer->state & SHERD_STATE_READ_ONLY)
		return dentry_open(&file->f_path, O_RDONLY | O_LARGEFILE, current_cred());
	return get_file(file);
}

static int pin_memfd(struct sherd_buffer *buffer, struct file *file, const struct sherd_pin *arg)
{
	bool writable = !(buffer->state & SHERD_STATE_READ_ONLY);
	struct inode *inode = file_inode(file);
	/* hugetlbfs maps whole huge pages only */
	u64 unit = max_t(u64, PAGE_SIZE, i_blocksize(inode));
	u64 start = round_down(arg->offset, unit);
	u64 end = round_up(arg->offset + arg->length, unit);
	unsigned long at;
	int err;

	err = check_seals(buffer, file);
	if (err)
		return err;
	if (arg->offset + arg->length > i_size_read(inode))
		return -EINVAL;
	if (writable && !(file->f_mode & FMODE_WRITE))
		return -EACCES;

	file = open_again(buffer, file);
	if (IS_ERR(file))
		return PTR_ERR(file);
	at = vm_mmap(file, 0, end - start, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED,
		     start);
	if (IS_ERR_VALUE(at)) {
		err = at;
	} else {
		err = sherd_buffer_pin(buffer, at + (arg->offset - start), inode->i_mapping);
		vm_munmap(at, end - start);
	}
	fput(file);
	return err;
}

/*
 * For the caller's benefit, not for safety: what is mapped may change the moment after. A private
 * mapping is refused even where the kernel would pin the file's page through it.
 */
static int check_mapped_shared(unsigned long addr, unsigned long end)
{
	struct vm_area_struct *vma;
	int err = 0;

	if (mmap_read_lock_killable(current->mm))
		return -EINTR;
	while (!err && addr < end) {
		vma = find_vma(current->mm, addr);
		if (!vma || vma->vm_start > addr)
			err = -EFAULT;
		else if (!(vma->vm_flags & VM_MAYSHARE))
			err = -EINVAL;
		else
			addr = vma->vm_end;
	}
	mmap_read_unlock(current->mm);
	return err;
}

/* Files of tmpfs and hugetlbfs have seals as well: the one that forbids others, for good. */
static bool is_sealable(struct file *file)
{
	unsigned int seals;

	return !memfd_seals(file, &seals) && seals != F_SEAL_SEAL;
}

/*
 * What deny_write_access() does, but to the inode beneath an overlay. It is a way to get at other
 * people's writers, so it is for those who could write the file themselves, or where nobody can.
 */
static int deny_writers(struct sherd_buffer *buffer, struct file *file, struct inode *inode)
{
	int err;

	/* A memfd's pages can be in writable buffers, which are no writers of the file. */
	if (is_sealable(file))
		return check_seals(buffer, file);

	if (IS_VERITY(inode)) {
		buffer->state |= SHERD_STATE_VERITY;
		return 0;
	}
	err = file_permission(file, MAY_WRITE);
	if (err && err != -EROFS)
		return -EACCES;
	if (!atomic_dec_unless_positive(&inode->i_writecount))
		return -ETXTBSY;
	buffer->source = get_file(file);
	ihold(inode);
	buffer->source_inode = inode;
	buffer->state |= SHERD_STATE_WRITE_DENIED;
	return 0;
}

static int pin_regular(struct sherd_buffer *buffer, struct file *file, const struct sherd_pin *arg)
{
	/* An overlay maps the page cache of the file beneath. */
	struct inode *inode = d_real_inode(file->f_path.dentry);
	int err;

	if (!S_ISREG(inode->i_mode) || !(buffer->state & SHERD_STATE_READ_ONLY))
		return -EINVAL;
	err = check_mapped_shared(arg->addr, arg->addr + arg->length);
	if (err)
		return err;
	if (buffer->state & SHERD_STATE_IMMUTABLE) {
		err = deny_writers(buffer, file, inode);
		if (err)
			return err;
	}
	return sherd_buffer_pin(buffer, arg->addr, inode->i_mapping);
}

/* Arguments are aligned and do not wrap; buffer->state says what is wanted. */
int sherd_source_pin(struct sherd_buffer *buffer, const struct sherd_pin *arg)
{
	struct file *file;
	int err;

	file = fget(arg->fd);
	if (!file)
		return -EBADF;
	if (!(file->f_mode & FMODE_READ))
		err = -EACCES;
	else if (arg->addr)
		err = pin_regular(buffer, file, arg);
	else
		err = pin_memfd(buffer, file, arg);
	fput(file);
	return err;
}

void sherd_source_release(struct sherd_buffer *buffer)
{
	if (!buffer->source)
		return;
	atomic_inc(&buffer->source_inode->i_writecount);
	iput(buffer->source_inode);
	fput(buffer->source);
}
