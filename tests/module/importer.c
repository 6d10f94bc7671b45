// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver for QEMU's edu device, as an importer of dma-bufs that really does DMA. The device has a
 * buffer of 4 KiB that only its DMA engine reaches, so a copy takes two transfers: one with the
 * dma-buf, one with a page of the driver's.
 */
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/io-64-nonatomic-lo-hi.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "importer.h"

#define EDU_DMA_SRC	0x80
#define EDU_DMA_DST	0x88
#define EDU_DMA_COUNT	0x90
#define EDU_DMA_CMD	0x98
#define EDU_DMA_RUN	BIT(0)
#define EDU_DMA_TO_RAM	BIT(1)
#define EDU_BUFFER	0x40000
#define CHUNK		2048 /* the device takes less than its whole buffer */

static struct pci_dev *edu;
static void __iomem *regs;
static void *bounce;
static dma_addr_t bounce_addr;
static DEFINE_MUTEX(lock);

struct attached {
	struct dma_buf *dmabuf;
	struct dma_buf_attachment *attachment;
	struct sg_table *sgt;
	enum dma_data_direction dir;
	void *memory;
	dma_addr_t memory_addr;
	size_t memory_bytes;
};

static int transfer(dma_addr_t src, dma_addr_t dst, u64 cmd)
{
	int i;

	writeq(src, regs + EDU_DMA_SRC);
	writeq(dst, regs + EDU_DMA_DST);
	writeq(CHUNK, regs + EDU_DMA_COUNT);
	writeq(cmd | EDU_DMA_RUN, regs + EDU_DMA_CMD);
	for (i = 0; i < 3000; i++) {
		if (!(readq(regs + EDU_DMA_CMD) & EDU_DMA_RUN))
			return 0;
		usleep_range(1000, 2000);
	}
	return -ETIMEDOUT;
}

/* These take the reservation lock where dma_buf_map_attachment() wants it held. */
#ifndef HAVE_UNLOCKED
#define dma_buf_map_attachment_unlocked dma_buf_map_attachment
#define dma_buf_unmap_attachment_unlocked dma_buf_unmap_attachment
#endif

static void detach(struct attached *a)
{
	if (!a->sgt)
		return;
	dma_buf_unmap_attachment_unlocked(a->attachment, a->sgt, a->dir);
	dma_buf_detach(a->dmabuf, a->attachment);
	dma_buf_put(a->dmabuf);
	a->sgt = NULL;
}

static int attach(struct attached *a, void __user *user)
{
	static const enum dma_data_direction dirs[] = { DMA_BIDIRECTIONAL, DMA_TO_DEVICE,
							DMA_FROM_DEVICE };
	struct importer_attach arg;
	int err;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (a->sgt || arg.dir >= ARRAY_SIZE(dirs) || arg.bits < 28 || arg.bits > 64)
		return -EINVAL;
	a->dir = dirs[arg.dir];
	err = dma_set_mask(&edu->dev, DMA_BIT_MASK(arg.bits));
	if (err)
		return err;
	a->dmabuf = dma_buf_get(arg.fd);
	if (IS_ERR(a->dmabuf))
		return PTR_ERR(a->dmabuf);
	a->attachment = dma_buf_attach(a->dmabuf, &edu->dev);
	if (IS_ERR(a->attachment)) {
		err = PTR_ERR(a->attachment);
		goto put;
	}
	a->sgt = dma_buf_map_attachment_unlocked(a->attachment, a->dir);
	if (IS_ERR(a->sgt)) {
		err = PTR_ERR(a->sgt);
		a->sgt = NULL;
		goto detach;
	}
	arg.segments = a->sgt->nents;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;

detach:
	dma_buf_detach(a->dmabuf, a->attachment);
put:
	dma_buf_put(a->dmabuf);
	return err;
}

static dma_addr_t address_of(struct sg_table *sgt, u64 offset)
{
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i) {
		if (offset + CHUNK <= sg_dma_len(sg))
			return sg_dma_address(sg) + offset;
		if (offset < sg_dma_len(sg))
			break;
		offset -= sg_dma_len(sg);
	}
	return 0;
}

static int copy(struct attached *a, void __user *user, bool to_dmabuf)
{
	struct importer_copy arg;
	dma_addr_t addr;
	int err;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	addr = a->sgt ? address_of(a->sgt, arg.offset) : 0;
	if (!addr)
		return -EINVAL;
	if (to_dmabuf && copy_from_user(bounce, u64_to_user_ptr(arg.data), CHUNK))
		return -EFAULT;
	err = transfer(to_dmabuf ? bounce_addr : addr, EDU_BUFFER, 0);
	if (!err)
		err = transfer(EDU_BUFFER, to_dmabuf ? addr : bounce_addr, EDU_DMA_TO_RAM);
	if (!err && !to_dmabuf && copy_to_user(u64_to_user_ptr(arg.data), bounce, CHUNK))
		err = -EFAULT;
	return err;
}

static int allocate(struct attached *a, void __user *user)
{
	struct importer_allocate arg;

	if (copy_from_user(&arg, user, sizeof(arg)))
		return -EFAULT;
	if (a->memory)
		return -EINVAL;
	a->memory = dma_alloc_coherent(&edu->dev, arg.bytes, &a->memory_addr,
				       GFP_KERNEL | __GFP_NOWARN);
	if (!a->memory)
		return -ENOMEM;
	a->memory_bytes = arg.bytes;
	arg.address = a->memory_addr;
	return copy_to_user(user, &arg, sizeof(arg)) ? -EFAULT : 0;
}

static long importer_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct attached *a = file->private_data;
	void __user *user = (void __user *)arg;
	int err = -ENOTTY;

	mutex_lock(&lock);
	if (cmd == IMPORTER_ATTACH)
		err = attach(a, user);
	else if (cmd == IMPORTER_ALLOCATE)
		err = allocate(a, user);
	else if (cmd == IMPORTER_READ || cmd == IMPORTER_WRITE)
		err = copy(a, user, cmd == IMPORTER_WRITE);
	mutex_unlock(&lock);
	return err;
}

/* As graphics drivers do it: what is mapped through the driver's file is the dma-buf. */
static int importer_mmap(struct file *file, struct vm_area_struct *vma)
{
	struct attached *a = file->private_data;

	return a->sgt ? dma_buf_mmap(a->dmabuf, vma, vma->vm_pgoff) : -EINVAL;
}

static int importer_open(struct inode *inode, struct file *file)
{
	struct attached *a = kzalloc(sizeof(*a), GFP_KERNEL);

	file->private_data = a;
	return a ? 0 : -ENOMEM;
}

static int importer_release(struct inode *inode, struct file *file)
{
	struct attached *a = file->private_data;

	detach(a);
	if (a->memory)
		dma_free_coherent(&edu->dev, a->memory_bytes, a->memory, a->memory_addr);
	kfree(a);
	return 0;
}

static const struct file_operations importer_fops = {
	.owner		= THIS_MODULE,
	.open		= importer_open,
	.release	= importer_release,
	.unlocked_ioctl	= importer_ioctl,
	.mmap		= importer_mmap,
};

static struct miscdevice importer_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "importer",
	.fops	= &importer_fops,
};

static int importer_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	int err;

	err = pcim_enable_device(pdev);
	if (err)
		return err;
	pci_set_master(pdev);
	err = dma_set_mask_and_coherent(&pdev->dev, DMA_BIT_MASK(32));
	if (err)
		return err;
	regs = pcim_iomap(pdev, 0, 0);
	bounce = dmam_alloc_coherent(&pdev->dev, CHUNK, &bounce_addr, GFP_KERNEL);
	if (!regs || !bounce)
		return -ENOMEM;
	edu = pdev;
	return misc_register(&importer_device);
}

static void importer_remove(struct pci_dev *pdev)
{
	misc_deregister(&importer_device);
}

static const struct pci_device_id importer_ids[] = {
	{ PCI_DEVICE(0x1234, 0x11e8) },
	{ }
};
MODULE_DEVICE_TABLE(pci, importer_ids);

static struct pci_driver importer_driver = {
	.name		= "importer",
	.id_table	= importer_ids,
	.probe		= importer_probe,
	.remove		= importer_remove,
};
module_pci_driver(importer_driver);

MODULE_DESCRIPTION("Reads dma-bufs with QEMU's edu device");
MODULE_LICENSE("GPL");
/* What MODULE_IMPORT_NS() makes, on every kernel. */
MODULE_INFO(import_ns, "DMA_BUF");
