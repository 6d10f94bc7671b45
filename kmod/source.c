// SPDX-License-Identifier: GPL-2.0-only
/*
 * Where a buffer's pages come from: a memfd, or the page cache of a regular file.
 *
 * Seals are only ever added, so that one seen before pinning holds for good, without a lock. The
 * one that must be absent (F_SEAL_WRITE under a writable buffer) cannot come in between either:
 * pages are pinned for writing through a shared writable mapping only, and while such a mapping
 * exists, or a page is pinned, the kernel refuses F_SEAL_WRITE; while it looks for such, no new
 * mapping is made.
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
#include <linux/sizes.h>
#include <linux/sherd.h>

#include "buffer.h"
#include "source.h"

/* What is mapped at once: any huge page of shared memory fits, and it is unmapped in no time. */
#define PIECE max_t(u64, SZ_16M, PMD_SIZE)

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

/* hugetlbfs maps whole huge pages only, which may have more than 32 bits. */
static u64 mapping_unit(const struct inode *inode)
{
	return max_t(u64, PAGE_SIZE, 1ull << inode->i_blkbits);
}

/* Maps a piece of a memfd for as long as it takes to pin it. */
static int pin_piece(struct sherd_buffer *buffer, struct file *file, u64 start, u64 end)
{
	bool writable = !(buffer->state & SHERD_STATE_READ_ONLY);
	struct inode *inode = file_inode(file);
	u64 unit = mapping_unit(inode);
	u64 first = round_down(start, unit);
	unsigned long bytes = round_up(end, unit) - first;
	unsigned long at;
	int err;

	at = vm_mmap(file, 0, bytes, PROT_READ | (writable ? PROT_WRITE : 0), MAP_SHARED, first);
	/* After mlockall() a mapping is locked, and RLIMIT_MEMLOCK says EAGAIN. */
	if (IS_ERR_VALUE(at))
		return (long)at == -EAGAIN ? -ENOBUFS : (long)at;
	err = sherd_buffer_pin(buffer, at + (start - first), (end - start) >> PAGE_SHIFT,
			       inode->i_mapping);
	vm_munmap(at, bytes);
	return err;
}

/*
 * In pieces, since unmapping takes its time, too: a signal would wait for the whole range to be
 * unmapped. Besides, addresses may be scarcer than memory.
 */
static int pin_memfd(struct sherd_buffer *buffer, struct file *file, const struct sherd_pin *arg)
{
	u64 step = max_t(u64, PIECE, mapping_unit(file_inode(file)));
	u64 end = arg->offset + arg->length;
	u64 at, next;
	int err;

	err = check_seals(buffer, file);
	if (err)
		return err;
	if (end > i_size_read(file_inode(file)))
		return -EINVAL;
	if (!(buffer->state & SHERD_STATE_READ_ONLY) && !(file->f_mode & FMODE_WRITE))
		return -EACCES;

	file = open_again(buffer, file);
	if (IS_ERR(file))
		return PTR_ERR(file);
	for (at = arg->offset; !err && at < end; at = next) {
		next = min(end, round_down(at, step) + step);
		err = pin_piece(buffer, file, at, next);
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
 * people's writers, so it is for those who could write the file themselves, or where nobody can: on
 * a read-only file system, or by chattr +i. Should that end, writers are denied all the same.
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
	if (err && err != -EROFS && !IS_IMMUTABLE(inode))
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
	return sherd_buffer_pin(buffer, arg->addr, buffer->nr_pages, inode->i_mapping);
}

/* Arguments are aligned and do not wrap; buffer->state says what is wanted. */
int sherd_source_pin(struct sherd_buffer *buffer, const struct sherd_pin *arg)
{
	ktime_t start = ktime_get();
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
	if (!err)
		sherd_buffer_pinned(buffer, start);
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
