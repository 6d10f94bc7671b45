// SPDX-License-Identifier: GPL-2.0-only
/*
 * The three requests: copies arguments in, checks them, has the work done, and publishes the
 * result.
 */
#include <linux/anon_inodes.h>
#include <linux/compat.h>
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/overflow.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>
#include <linux/sherd.h>

#include "buffer.h"
#include "ioctl.h"
#include "source.h"
#include "window.h"

#define PIN_FLAGS (SHERD_PIN_READ_ONLY | SHERD_PIN_IMMUTABLE | SHERD_PIN_ALLOW_BOUNCE)

static_assert((int)SHERD_PIN_READ_ONLY == (int)SHERD_STATE_READ_ONLY);
static_assert((int)SHERD_PIN_IMMUTABLE == (int)SHERD_STATE_IMMUTABLE);
static_assert((int)SHERD_PIN_ALLOW_BOUNCE == (int)SHERD_STATE_ALLOW_BOUNCE);

static int copy_argument(void *arg, size_t size, const void __user *from)
{
	u32 their_size;

	if (get_user(their_size, (const u32 __user *)from))
		return -EFAULT;
	if (their_size < size)
		return -EINVAL;
	if (their_size > PAGE_SIZE)
		return -E2BIG;
	return copy_struct_from_user(arg, size, from, their_size);
}

/* On 32 bits it is what an unsigned long has, which is all that vm_mmap() reaches of a file. */
#define RANGE_END min_t(u64, MAX_LFS_FILESIZE, round_down(ULONG_MAX, PMD_SIZE))

/* Page-aligned, not empty, and does not wrap, not even when rounded up to huge pages. */
static bool is_range(u64 start, u64 length)
{
	u64 end;

	return length && PAGE_ALIGNED(start) && PAGE_ALIGNED(length) &&
	       !check_add_overflow(start, length, &end) && end <= RANGE_END;
}

/*
 * The last step: the argument with the new descriptor's number goes to the caller, and then the
 * descriptor is there. Takes over the reference to file.
 */
static int publish(struct file *file, void __user *to, void *arg, size_t size, __s32 *number)
{
	int fd, err = -EFAULT;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0) {
		err = fd;
		goto put_file;
	}
	*number = fd;
	if (copy_to_user(to, arg, size))
		goto put_fd;
	fd_install(fd, file);
	return 0;

put_fd:
	put_unused_fd(fd);
put_file:
	fput(file);
	return err;
}

static int buffer_export(struct sherd_buffer *buffer, void __user *user)
{
	u64 bytes = (u64)buffer->nr_pages << PAGE_SHIFT;
	struct dma_buf *dmabuf;
	struct sherd_export arg;
	int err;

	err = copy_argument(&arg, sizeof(arg), user);
	if (err)
		return err;
	if (arg.flags)
		return -EOPNOTSUPP;
	if (arg.__reserved || !is_range(arg.offset, arg.length) ||
	    arg.offset + arg.length > bytes)
		return -EINVAL;
	dmabuf = sherd_window_export(buffer, arg.offset >> PAGE_SHIFT, arg.length >> PAGE_SHIFT);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	return publish(dmabuf->file, user, &arg, sizeof(arg), &arg.fd);
}

static void fill_info(struct sherd_buffer *buffer, struct sherd_info *info)
{
	info->state = buffer->state;
	info->pages = buffer->nr_pages;
	info->longest = (u64)buffer->longest << PAGE_SHIFT;
	info->segments = buffer->segments;
	mutex_lock(&buffer->lock);
	info->exports = buffer->exports;
	info->mappings = buffer->mappings;
	info->bounced = buffer->bounced;
	mutex_unlock(&buffer->lock);
	info->__reserved = 0;
}

static int buffer_info(struct sherd_buffer *buffer, void __user *user)
{
	struct sherd_info arg;
	int err;

	err = copy_argument(&arg, sizeof(arg), user);
	if (err)
		return err;
	if (arg.flags)
		return -EOPNOTSUPP;
	fill_info(buffer, &arg);
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long buffer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case SHERD_EXPORT:
		return buffer_export(file->private_data, (void __user *)arg);
	case SHERD_INFO:
		return buffer_info(file->private_data, (void __user *)arg);
	default:
		return -ENOTTY;
	}
}

static void buffer_show_fdinfo(struct seq_file *seq, struct file *file)
{
	struct sherd_info info;

	fill_info(file->private_data, &info);
	seq_printf(seq, "sherd-state:\t0x%x\n", info.state);
	seq_printf(seq, "sherd-exports:\t%u\n", info.exports);
	seq_printf(seq, "sherd-pages:\t%llu\n", info.pages);
	seq_printf(seq, "sherd-longest:\t%llu\n", info.longest);
	seq_printf(seq, "sherd-segments:\t%u\n", info.segments);
	seq_printf(seq, "sherd-mappings:\t%u\n", info.mappings);
	seq_printf(seq, "sherd-bounced:\t%u\n", info.bounced);
}

static int buffer_release(struct inode *inode, struct file *file)
{
	sherd_buffer_put(file->private_data);
	return 0;
}

static const struct file_operations buffer_fops = {
	.owner		= THIS_MODULE,
	.release	= buffer_release,
	.unlocked_ioctl	= buffer_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= buffer_show_fdinfo,
};

static struct file *buffer_file(const struct sherd_pin *arg)
{
	struct sherd_buffer *buffer;
	struct file *file;
	int err;

	buffer = sherd_buffer_alloc(arg->length >> PAGE_SHIFT);
	if (IS_ERR(buffer))
		return ERR_CAST(buffer);
	buffer->state = arg->flags;
	if (buffer->state & SHERD_STATE_IMMUTABLE)
		buffer->state |= SHERD_STATE_READ_ONLY;
	err = sherd_source_pin(buffer, arg);
	if (err)
		goto put_buffer;
	file = anon_inode_getfile("[sherd]", &buffer_fops, buffer, O_RDWR);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto put_buffer;
	}
	return file;

put_buffer:
	sherd_buffer_put(buffer);
	return ERR_PTR(err);
}

static int device_pin(void __user *user)
{
	struct sherd_buffer *buffer;
	struct sherd_pin arg;
	struct file *file;
	int err;

	err = copy_argument(&arg, sizeof(arg), user);
	if (err)
		return err;
	if (arg.flags & ~PIN_FLAGS)
		return -EOPNOTSUPP;
	if (!is_range(arg.offset, arg.length))
		return -EINVAL;
	if (arg.addr && (arg.offset || !is_range(arg.addr, arg.length) ||
			 arg.addr + arg.length > TASK_SIZE))
		return -EINVAL;
	file = buffer_file(&arg);
	if (IS_ERR(file))
		return PTR_ERR(file);
	buffer = file->private_data;
	arg.pages = buffer->nr_pages;
	arg.segments = buffer->segments;
	arg.state = buffer->state;
	return publish(file, user, &arg, sizeof(arg), &arg.buffer);
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return cmd == SHERD_PIN ? device_pin((void __user *)arg) : -ENOTTY;
}

const struct file_operations sherd_ioctl_device_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= device_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
};
