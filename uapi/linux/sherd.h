/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * sherd: memory that CPU, GPU and network card share without a copy.
 *
 * Objects
 * =======
 *
 * There are two, and both are file descriptors, so that fork(), execve() and descriptor
 * passing mean what they always mean.
 *
 * A *buffer* is a run of pinned pages. SHERD_PIN on /dev/sherd makes one from a source
 * that already exists, and returns it as a descriptor. The descriptor is the pin: there is
 * no handle and no request to unpin. The pages are let go when the last descriptor of the
 * buffer and the last dma-buf made from it are closed, in whatever order.
 *
 * A *window* is a page-aligned part of a buffer. SHERD_EXPORT on a buffer's descriptor
 * makes one and returns it as an ordinary dma-buf for any driver that imports such.
 * Windows of a buffer may overlap. Those that do not are independent of each other; those that do
 * are the same memory, and what invariant 5 says of other devices holds across them.
 *
 * Sources
 * =======
 *
 * A memfd, hugetlb or not, is given by its descriptor alone (addr is 0; offset and length
 * are a range of the file). It must carry F_SEAL_SHRINK. Put seals on first and pin
 * afterwards: F_SEAL_WRITE fails with EBUSY while pages are pinned. Its descriptor must be
 * open for reading and, unless the buffer is read-only, for writing.
 *
 * A regular file is given by its descriptor and by the address of a MAP_SHARED mapping of
 * it (offset is 0; addr and length are the range). Such buffers are always read-only: pass
 * SHERD_PIN_READ_ONLY. The mapping is needed for the duration of the call only. Private
 * mappings are refused. A file of an overlay is the file that was beneath when it was
 * opened: after it was copied up, open and map it again. A memfd may be given this way, too;
 * what makes it immutable are its seals all the same.
 *
 * Invariants
 * ==========
 *
 * 1. The bytes of an IMMUTABLE buffer do not change while a descriptor of it, or a window,
 *    is open. What holds them still is said in &sherd_pin.state: the seals of a memfd
 *    (F_SEAL_WRITE and F_SEAL_SHRINK), fs-verity, or that nobody can open the file for
 *    writing until release; whoever tries gets ETXTBSY, or through an overlay a copy of a
 *    file that lay in a lower layer. Not covered is what goes around the file: writes to the
 *    block device beneath it, the server of a FUSE or network file system, and a device to
 *    which another driver gave pages of the file for writing before.
 * 2. The pages reachable through a window are the pages that the source had when it was
 *    pinned, never a copy of them. Punching or truncating the source later detaches them
 *    from it; the buffer keeps them. So does writing a file past its page cache (O_DIRECT):
 *    the file gets new pages with what was written, and the buffer keeps the old.
 * 3. Every page of a buffer is charged once, to the user who pinned it, from SHERD_PIN to
 *    release: to the counter that RLIMIT_MEMLOCK bounds and io_uring's fixed buffers
 *    share. CAP_IPC_LOCK lifts the bound, not the charge. The pages also show in VmPin of
 *    the process that pinned them.
 * 4. After an ioctl that failed nothing is different from before. A new descriptor appears
 *    last, when nothing can fail any more. What shows is that holes of a memfd may have become
 *    pages of zeros, for which pinning fills them one after the other.
 * 5. CPU access between DMA_BUF_IOCTL_SYNC's start and end on a window never sees stale
 *    data of a device to which that window is attached, nor does the device of the CPU's;
 *    or else attaching failed. A device that reaches pages through a bounce buffer is
 *    refused, unless the buffer allows it; and one that writes pages through a bounce buffer
 *    is refused beside another that writes them, whichever comes first. SYNC covers its own
 *    window, so: a window for each slot of a ring. START makes what devices wrote visible at
 *    the price of what the CPU writes meanwhile, and detaching a device includes a START:
 *    neither may fall into a bracket in which another thread or process writes.
 * 6. READ_ONLY never gives a writable CPU mapping, nor a DMA mapping that a device may
 *    write: windows are O_RDONLY dma-bufs, and DMA_BIDIRECTIONAL is mapped as
 *    DMA_TO_DEVICE.
 * 7. There is one mutex a buffer. It is taken below the reservation lock of a dma-buf, and
 *    nothing but the DMA API, and the IOMMU's for where an address leads, is called while it
 *    is held.
 * 8. The module can be unloaded exactly when no buffer and no window exists, and nobody has
 *    /dev/sherd open.
 *
 * A window can be mapped with mmap(). That mapping has no struct pages behind it, so
 * io_uring or another driver cannot pin it: register the source's own mapping instead, it
 * is the same memory.
 *
 * Arguments
 * =========
 *
 * Every structure begins with its size as the caller knows it, and flags. A larger
 * structure than the kernel's is accepted where the bytes it does not know are zero.
 * Reserved fields must be zero. Descriptors are made close-on-exec.
 *
 * Errors
 * ======
 *
 * E2BIG        the structure has bytes that this kernel does not know, and they are not zero
 * EACCES       the descriptor is not open for reading, or for writing where that is needed;
 *              IMMUTABLE would keep others from writing a file that the caller may not write
 *              either, though somebody may
 * EBADF        no such descriptor, or one made with O_PATH
 * EFAULT       the argument, or a page of the range, cannot be accessed or pinned
 * EINTR        a fatal signal came first
 * EINVAL       size too small; reserved field not zero; range empty, not page-aligned,
 *              wrapping or beyond the end; the source is neither a memfd nor a regular file; a
 *              private mapping, or one of another file; a file whose pages are a device's own
 *              (DAX); a regular file without READ_ONLY; pages that left the file in the meantime
 * EMFILE       no free descriptor (ENFILE: in the whole system)
 * ENOBUFS      RLIMIT_MEMLOCK
 * ENOMEM       memory; or pages lie where none may be pinned for long (CMA, ZONE_MOVABLE) and
 *              are too busy to be moved: try again
 * ENOTTY       no such request on this descriptor
 * ENXIO        while attaching: the device reaches these pages through a bounce buffer only; or
 *              one of two devices that write them would
 * EOPNOTSUPP   unknown flag
 * EPERM        a seal is missing (F_SEAL_SHRINK; F_SEAL_WRITE for IMMUTABLE), or is in the way
 *              (F_SEAL_WRITE and F_SEAL_FUTURE_WRITE for a buffer that is not read-only)
 * ETXTBSY      IMMUTABLE: the file is open for writing
 */
#ifndef _UAPI_LINUX_SHERD_H
#define _UAPI_LINUX_SHERD_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define SHERD_IOC_TYPE 0xBC

/* Requests carry no size: the structures say it themselves. */
#define SHERD_PIN	_IO(SHERD_IOC_TYPE, 0x00)
#define SHERD_EXPORT	_IO(SHERD_IOC_TYPE, 0x01)
#define SHERD_INFO	_IO(SHERD_IOC_TYPE, 0x02)

/**
 * enum sherd_pin_flags - what a buffer shall be
 * @SHERD_PIN_READ_ONLY: neither CPU nor devices write through it
 * @SHERD_PIN_IMMUTABLE: nobody writes its pages, see invariant 1; implies READ_ONLY
 * @SHERD_PIN_ALLOW_BOUNCE: let devices attach that need bounce buffers. Data is then copied by
 *	DMA_BUF_IOCTL_SYNC, and at attaching and detaching, instead of being shared.
 */
enum sherd_pin_flags {
	SHERD_PIN_READ_ONLY	= 1 << 0,
	SHERD_PIN_IMMUTABLE	= 1 << 1,
	SHERD_PIN_ALLOW_BOUNCE	= 1 << 2,
};

/**
 * enum sherd_state - what a buffer is
 * @SHERD_STATE_READ_ONLY: it is read-only
 * @SHERD_STATE_IMMUTABLE: it is immutable, for one of the three reasons that follow
 * @SHERD_STATE_ALLOW_BOUNCE: it lets devices attach that need bounce buffers
 * @SHERD_STATE_SEALED: immutable because the memfd's seals forbid writing
 * @SHERD_STATE_VERITY: immutable because the file has fs-verity
 * @SHERD_STATE_WRITE_DENIED: immutable because this buffer denies opening the file for writing
 */
enum sherd_state {
	SHERD_STATE_READ_ONLY		= 1 << 0,
	SHERD_STATE_IMMUTABLE		= 1 << 1,
	SHERD_STATE_ALLOW_BOUNCE	= 1 << 2,
	SHERD_STATE_SEALED		= 1 << 8,
	SHERD_STATE_VERITY		= 1 << 9,
	SHERD_STATE_WRITE_DENIED	= 1 << 10,
};

/**
 * struct sherd_pin - argument of SHERD_PIN on /dev/sherd
 * @size: in: sizeof(struct sherd_pin)
 * @flags: in: of enum sherd_pin_flags
 * @fd: in: the source, a memfd or a regular file
 * @buffer: out: the buffer's descriptor
 * @addr: in: 0 for a memfd; for a regular file where it is mapped, page-aligned
 * @offset: in: for a memfd where the range begins, page-aligned; 0 for a regular file
 * @length: in: bytes, a multiple of the page size
 * @pages: out: how many pages are pinned
 * @segments: out: in how many physically contiguous runs they lie
 * @state: out: of enum sherd_state
 */
struct sherd_pin {
	__u32 size;
	__u32 flags;
	__s32 fd;
	__s32 buffer;
	__u64 addr;
	__u64 offset;
	__u64 length;
	__u64 pages;
	__u32 segments;
	__u32 state;
};

/**
 * struct sherd_export - argument of SHERD_EXPORT on a buffer
 * @size: in: sizeof(struct sherd_export)
 * @flags: in: 0
 * @offset: in: where in the buffer the window begins, page-aligned
 * @length: in: bytes, a multiple of the page size
 * @fd: out: the dma-buf's descriptor
 * @__reserved: in: 0
 */
struct sherd_export {
	__u32 size;
	__u32 flags;
	__u64 offset;
	__u64 length;
	__s32 fd;
	__u32 __reserved;
};

/**
 * struct sherd_info - argument of SHERD_INFO on a buffer
 * @size: in: sizeof(struct sherd_info)
 * @flags: in: 0
 * @state: out: of enum sherd_state
 * @exports: out: windows that exist
 * @pages: out: pages pinned
 * @longest: out: bytes of the longest physically contiguous run
 * @segments: out: physically contiguous runs
 * @mappings: out: DMA mappings that devices hold at the moment
 * @bounced: out: segments of those mappings that are bounce buffers
 * @__reserved: out: 0
 */
struct sherd_info {
	__u32 size;
	__u32 flags;
	__u32 state;
	__u32 exports;
	__u64 pages;
	__u64 longest;
	__u32 segments;
	__u32 mappings;
	__u32 bounced;
	__u32 __reserved;
};

#endif
