// SPDX-License-Identifier: GPL-2.0-only
/*
 * A window: a page-aligned part of a buffer as a dma-buf. It remembers who has it mapped, for two
 * reasons: DMA_BUF_IOCTL_SYNC has to reach every one of them, and SHERD_INFO counts them.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>
#include <linux/sherd.h>

#include "buffer.h"
#include "trace.h"
#include "window.h"

/**
 * struct window - what a dma-buf's priv is
 * @buffer: whose pages these are
 * @first: its first page
 * @nr_pages: how many
 */
struct window {
	struct sherd_buffer *buffer;
	unsigned long first;
	unsigned long nr_pages;
};

/**
 * struct mapping - a window as one device sees it
 * @shown: what the importer gets
 * @sgt: the same for syncing: DMABUF_DEBUG scrambles the importer's, and IOMMUs sync by its pages
 * @node: in buffer->mapped
 * @window: what it is a mapping of
 * @dev: the device
 * @dir: how it is mapped, whatever the importer asked for
 * @bounced: segments that are bounce buffers
 */
struct mapping {
	struct sg_table shown;
	struct sg_table sgt;
	struct list_head node;
	struct window *window;
	struct device *dev;
	enum dma_data_direction dir;
	u32 bounced;
};

static u64 window_bytes(const struct window *window)
{
	return (u64)window->nr_pages << PAGE_SHIFT;
}

/* As many pages in a segment as the device, or its bounce buffer, takes. */
static unsigned long segment_limit(struct device *dev)
{
	size_t bytes = min_t(size_t, dma_get_max_seg_size(dev), dma_max_mapping_size(dev));

	return max_t(unsigned long, 1, bytes >> PAGE_SHIFT);
}

static int fill_table(struct sg_table *sgt, const struct window *window, unsigned long limit)
{
	const struct sherd_buffer *buffer = window->buffer;
	unsigned long end = window->first + window->nr_pages;
	unsigned long at, run;
	struct scatterlist *sg;
	unsigned int nr = 0;
	int err;

	for (at = window->first; at < end; at += run, nr++)
		run = sherd_buffer_run(buffer, at, min(end - at, limit));
	err = sg_alloc_table(sgt, nr, GFP_KERNEL);
	if (err)
		return err;
	sg = sgt->sgl;
	for (at = window->first; at < end; at += run, sg = sg_next(sg)) {
		run = sherd_buffer_run(buffer, at, min(end - at, limit));
		sg_set_page(sg, buffer->pages[at], run << PAGE_SHIFT, 0);
		cond_resched();
	}
	return 0;
}

/*
 * Whether DMA to this address ends up elsewhere than in that memory. An address means physical
 * memory either directly or through an IOMMU; a bounce buffer is at neither. There is no question
 * to the DMA API that has this answer: <linux/dma-direct.h> is meant for those who implement it,
 * and where DMA goes a third way (Xen's grants, an IOMMU without a domain), all looks bounced.
 */
static bool is_bounced(struct device *dev, dma_addr_t addr, phys_addr_t phys)
{
	struct iommu_domain *domain;

	if (dma_to_phys(dev, addr) == phys)
		return false;
	domain = iommu_get_domain_for_dev(dev);
	return !domain || iommu_iova_to_phys(domain, addr) != phys;
}

/* An IOMMU may have merged segments, never split one: walk both kinds side by side. */
static u32 count_bounced(struct device *dev, struct sg_table *sgt)
{
	struct scatterlist *dma = sgt->sgl, *sg;
	unsigned int done = 0, i;
	u32 bounced = 0;

	for_each_sgtable_sg(sgt, sg, i) {
		bounced += is_bounced(dev, sg_dma_address(dma) + done, sg_phys(sg));
		done += sg->length;
		if (done >= sg_dma_len(dma)) {
			dma = sg_next(dma);
			done = 0;
		}
	}
	return bounced;
}

static bool overlap(const struct window *a, const struct window *b)
{
	return a->first < b->first + b->nr_pages && b->first < a->first + a->nr_pages;
}

/*
 * A bounce buffer that its device may write is copied over the pages whenever the CPU is to see
 * them, whether the device has written it or not. What another device wrote there would be lost, so
 * there is none: who writes through a bounce buffer is the only device that writes those pages.
 */
static bool loses_writes(const struct mapping *mapping)
{
	const struct mapping *other;

	if (mapping->dir == DMA_TO_DEVICE)
		return false;
	list_for_each_entry(other, &mapping->window->buffer->mapped, node) {
		if (other->dir != DMA_TO_DEVICE && (mapping->bounced || other->bounced) &&
		    overlap(mapping->window, other->window))
			return true;
	}
	return false;
}

/*
 * Mapping does not sync, that is done here: a page may be mapped several times, by importers of a
 * window and of others that overlap it, which the DMA API lets those do who sync for themselves.
 */
static int map_table(struct mapping *mapping)
{
	bool allow_bounce = mapping->window->buffer->state & SHERD_STATE_ALLOW_BOUNCE;
	struct sg_table *sgt = &mapping->sgt;
	int err;

	err = dma_map_sgtable(mapping->dev, sgt, mapping->dir, DMA_ATTR_SKIP_CPU_SYNC);
	if (err)
		return err;
	mapping->bounced = count_bounced(mapping->dev, sgt);
	if ((mapping->bounced && !allow_bounce) || loses_writes(mapping)) {
		dma_unmap_sgtable(mapping->dev, sgt, mapping->dir, DMA_ATTR_SKIP_CPU_SYNC);
		return -ENXIO;
	}
	dma_sync_sgtable_for_device(mapping->dev, sgt, mapping->dir);
	return 0;
}

static void unmap_table(struct mapping *mapping)
{
	struct sg_table *sgt = &mapping->sgt;

	dma_sync_sgtable_for_cpu(mapping->dev, sgt, mapping->dir);
	dma_unmap_sgtable(mapping->dev, sgt, mapping->dir, DMA_ATTR_SKIP_CPU_SYNC);
}

/* The importer's table: the same pages at the same addresses. */
static void show_table(struct mapping *mapping)
{
	struct scatterlist *to = mapping->shown.sgl, *from;
	unsigned int i;

	for_each_sgtable_sg(&mapping->sgt, from, i) {
		sg_set_page(to, sg_page(from), from->length, 0);
		sg_dma_address(to) = sg_dma_address(from);
		sg_dma_len(to) = sg_dma_len(from);
		to = sg_next(to);
		cond_resched();
	}
	mapping->shown.nents = mapping->sgt.nents;
}

static struct mapping *alloc_mapping(struct window *window, struct device *dev,
				     enum dma_data_direction dir)
{
	struct mapping *mapping;
	int err;

	mapping = kzalloc(sizeof(*mapping), GFP_KERNEL);
	if (!mapping)
		return ERR_PTR(-ENOMEM);
	mapping->window = window;
	mapping->dev = dev;
	mapping->dir = dir;
	err = fill_table(&mapping->sgt, window, segment_limit(dev));
	if (err)
		goto free_mapping;
	err = sg_alloc_table(&mapping->shown, mapping->sgt.orig_nents, GFP_KERNEL);
	if (err)
		goto free_table;
	return mapping;

free_table:
	sg_free_table(&mapping->sgt);
free_mapping:
	kfree(mapping);
	return ERR_PTR(err);
}

static void free_mapping(struct mapping *mapping)
{
	sg_free_table(&mapping->shown);
	sg_free_table(&mapping->sgt);
	kfree(mapping);
}

static struct sg_table *window_map(struct dma_buf_attachment *attachment,
				   enum dma_data_direction dir)
{
	struct window *window = attachment->dmabuf->priv;
	struct sherd_buffer *buffer = window->buffer;
	ktime_t start = ktime_get();
	struct mapping *mapping;
	int err;

	if (buffer->state & SHERD_STATE_READ_ONLY) {
		/* Graphics drivers ask for both directions even where they only read. */
		if (dir == DMA_FROM_DEVICE)
			return ERR_PTR(-EACCES);
		dir = DMA_TO_DEVICE;
	} else if (dir == DMA_FROM_DEVICE) {
		/* The CPU writes, too: END would not hand that to such a mapping, START undo it. */
		dir = DMA_BIDIRECTIONAL;
	}
	mapping = alloc_mapping(window, attachment->dev, dir);
	if (IS_ERR(mapping))
		return ERR_CAST(mapping);

	/* Mapped and listed in one step, lest a sync on its way misses what it wrote. */
	mutex_lock(&buffer->lock);
	err = map_table(mapping);
	if (!err) {
		list_add(&mapping->node, &buffer->mapped);
		buffer->mappings++;
		buffer->bounced += mapping->bounced;
	}
	mutex_unlock(&buffer->lock);
	if (err) {
		free_mapping(mapping);
		return ERR_PTR(err);
	}
	show_table(mapping);
	trace_sherd_map(window_bytes(window), mapping->sgt.orig_nents, start);
	return &mapping->shown;
}

static void window_unmap(struct dma_buf_attachment *attachment, struct sg_table *shown,
			 enum dma_data_direction dir)
{
	struct mapping *mapping = container_of(shown, struct mapping, shown);
	struct sherd_buffer *buffer = mapping->window->buffer;

	mutex_lock(&buffer->lock);
	list_del(&mapping->node);
	buffer->mappings--;
	buffer->bounced -= mapping->bounced;
	unmap_table(mapping);
	mutex_unlock(&buffer->lock);
	free_mapping(mapping);
}

/*
 * Every mapping is synced in the direction that it was mapped with: that is the DMA API's rule, and
 * it does whatever the CPU's access needs.
 */
static void sync(const struct window *window,
		 void (*sync_table)(struct device *dev, struct sg_table *sgt,
				    enum dma_data_direction dir))
{
	ktime_t start = ktime_get();
	struct mapping *mapping;
	u32 segments = 0;
	u64 bytes = 0;

	mutex_lock(&window->buffer->lock);
	list_for_each_entry(mapping, &window->buffer->mapped, node) {
		if (mapping->window != window)
			continue;
		sync_table(mapping->dev, &mapping->sgt, mapping->dir);
		segments += mapping->sgt.orig_nents;
		bytes += window_bytes(window);
		cond_resched();
	}
	mutex_unlock(&window->buffer->lock);
	trace_sherd_sync(bytes, segments, start);
}

static int window_begin_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	sync(dmabuf->priv, dma_sync_sgtable_for_cpu);
	return 0;
}

static int window_end_cpu_access(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	sync(dmabuf->priv, dma_sync_sgtable_for_device);
	return 0;
}

/*
 * By page frame, not by struct page: a page in page tables that its file does not know of would be
 * found mapped when the file is truncated or goes away, which the kernel takes for a bug; and huge
 * pages cannot be mapped in pieces otherwise.
 */
static vm_fault_t window_fault(struct vm_fault *vmf)
{
	struct window *window = vmf->vma->vm_private_data;
	struct page *page;

	if (vmf->pgoff >= window->nr_pages)
		return VM_FAULT_SIGBUS;
	page = window->buffer->pages[window->first + vmf->pgoff];
	return vmf_insert_pfn(vmf->vma, vmf->address, page_to_pfn(page));
}

static const struct vm_operations_struct window_vm_ops = {
	.fault = window_fault,
};

static int window_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct window *window = dmabuf->priv;

	if (!(vma->vm_flags & VM_MAYSHARE))
		return -EINVAL;
	/* A mapping through another driver's writable file comes here too. */
	if (window->buffer->state & SHERD_STATE_READ_ONLY &&
	    vma->vm_flags & (VM_WRITE | VM_MAYWRITE))
		return -EACCES;
	if (vma->vm_flags & VM_EXEC)
		return -EPERM;
	vm_flags_mod(vma, VM_PFNMAP | VM_DONTEXPAND | VM_DONTDUMP, VM_MAYEXEC);
	vma->vm_ops = &window_vm_ops;
	vma->vm_private_data = window;
	return 0;
}

static void window_release(struct dma_buf *dmabuf)
{
	struct window *window = dmabuf->priv;
	struct sherd_buffer *buffer = window->buffer;

	mutex_lock(&buffer->lock);
	buffer->exports--;
	mutex_unlock(&buffer->lock);
	sherd_buffer_put(buffer);
	kfree(window);
}

static const struct dma_buf_ops window_ops = {
	.map_dma_buf		= window_map,
	.unmap_dma_buf		= window_unmap,
	.begin_cpu_access	= window_begin_cpu_access,
	.end_cpu_access		= window_end_cpu_access,
	.mmap			= window_mmap,
	.release		= window_release,
};

/* The pages from first on, which are the buffer's; dma_buf_put() undoes it. */
struct dma_buf *sherd_window_export(struct sherd_buffer *buffer, unsigned long first,
				    unsigned long nr_pages)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	struct window *window;

	window = kzalloc(sizeof(*window), GFP_KERNEL_ACCOUNT);
	if (!window)
		return ERR_PTR(-ENOMEM);
	window->buffer = buffer;
	window->first = first;
	window->nr_pages = nr_pages;

	info.ops = &window_ops;
	info.size = nr_pages << PAGE_SHIFT;
	info.flags = buffer->state & SHERD_STATE_READ_ONLY ? O_RDONLY : O_RDWR;
	info.priv = window;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		kfree(window);
		return dmabuf;
	}
	/* Nobody else knows of the dma-buf yet, so it is early enough for release. */
	sherd_buffer_get(buffer);
	mutex_lock(&buffer->lock);
	buffer->exports++;
	mutex_unlock(&buffer->lock);
	return dmabuf;
}
