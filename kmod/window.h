/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _SHERD_WINDOW_H
#define _SHERD_WINDOW_H

struct dma_buf;
struct sherd_buffer;

struct dma_buf *sherd_window_export(struct sherd_buffer *buffer, unsigned long first,
				    unsigned long nr_pages);

#endif
