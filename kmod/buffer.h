/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHERD_BUFFER_H
#define _SHERD_BUFFER_H

#include <linux/kref.h>
#include <linux/ktime.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/skbuff.h>

struct address_space;
struct file;
struct inode;
struct mm_struct;
struct page;
struct seq_file;

/**
 * struct sherd_buffer - a run of pinned pages
 * @refs: one for the descriptor's file, one for each window
 * @pages: the pages; like all up to @source_inode, fixed once the buffer is published
 * @nr_pages: how many
 * @nr_pinned: how many of them are pinned: fewer while pinning, and after it failed
 * @state: of enum sherd_state
 * @segments: physically contiguous runs
 * @longest: pages of the longest one
 * @charged: the user whose locked_vm has @nr_pages
 * @charged_mm: whose pinned_vm has @nr_pages
 * @source: file that is kept from being written while the buffer lives, or NULL
 * @source_inode: its inode, beneath any overlay
 * @lock: guards what follows, and the order of mapping and syncing
 * @mapped: windows' mappings, whichever window they are of
 * @exports: windows that exist
 * @mappings: DMA mappings that exist
 * @bounced: their segments that are bounce buffers
 */
struct sherd_buffer {
	struct kref refs;
	struct page **pages;
	unsigned long nr_pages;
	unsigned long nr_pinned;
	u32 state;
	u32 segments;
	unsigned long longest;
	struct mmpin charged;
	struct mm_struct *charged_mm;
	struct file *source;
	struct inode *source_inode;

	/* Below dma_resv; nothing but the DMA API is called under it. */
	struct mutex lock;
	struct list_head mapped;
	u32 exports;
	u32 mappings;
	u32 bounced;
};

struct sherd_buffer *sherd_buffer_alloc(unsigned long nr_pages);
int sherd_buffer_pin(struct sherd_buffer *buffer, unsigned long addr, unsigned long nr,
		     struct address_space *mapping);
void sherd_buffer_pinned(struct sherd_buffer *buffer, ktime_t start);
unsigned long sherd_buffer_run(const struct sherd_buffer *buffer, unsigned long first,
			       unsigned long max);
struct sherd_buffer *sherd_buffer_get(struct sherd_buffer *buffer);
void sherd_buffer_put(struct sherd_buffer *buffer);

#endif
