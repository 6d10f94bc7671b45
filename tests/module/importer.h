/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/* importer.ko: a driver for QEMU's edu device that attaches to a dma-buf and copies 2 KiB of it. */
#ifndef IMPORTER_H
#define IMPORTER_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define IMPORTER_BOTH		0
#define IMPORTER_TO_DEVICE	1
#define IMPORTER_FROM_DEVICE	2

/* One attachment an open file; closing it detaches. bits: the device's DMA mask. */
struct importer_attach {
	__s32 fd;
	__u32 dir;
	__u32 bits;
	__u32 segments; /* out */
};

/* 2048 bytes at offset of the dma-buf, from or to data, by DMA. */
struct importer_copy {
	__u64 offset;
	__u64 data;
};

/* Memory in one piece, kept until the file is closed. */
struct importer_allocate {
	__u64 bytes;
	__u64 address; /* out: as the device sees it */
};

#define IMPORTER_ATTACH	_IOWR(0xBD, 0, struct importer_attach)
#define IMPORTER_READ	_IOW(0xBD, 1, struct importer_copy)
#define IMPORTER_WRITE	_IOW(0xBD, 2, struct importer_copy)
#define IMPORTER_ALLOCATE _IOWR(0xBD, 3, struct importer_allocate)

#endif
