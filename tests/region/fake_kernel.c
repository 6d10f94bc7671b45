/* SPDX-License-Identifier: MIT */
/* fake_kernel: see fake_kernel.h. */
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-buf.h>
#include <linux/memfd.h>
#include <linux/sherd.h>
#include <linux/udmabuf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fake_kernel.h"
#include "region/rung.h"

struct fake_kernel fake_kernel;

static struct sherd_pin last_pin; /* a test holds one buffer at a time */
static void forget_dma_bufs(void);

void fake_kernel_reset(bool sherd, bool udmabuf)
{
	forget_dma_bufs();
	fake_kernel = (struct fake_kernel){ .sherd = sherd, .udmabuf = udmabuf };
	sherd_rung_sherd_path = sherd ? "/dev/null" : "/nowhere/sherd";
	sherd_rung_udmabuf_path = udmabuf ? "/dev/null" : "/nowhere/udmabuf";
}

static uint64_t page_size(void)
{
	return sherd_page_size();
}

static int fail(int code)
{
	errno = code;
	return -1;
}

static void want(bool right, const char *what)
{
	if (right)
		return;
	fprintf(stderr, "the fake kernel wants: %s\n", what);
	fake_kernel.wrong++;
}

/* -------------------------------------------------------------- huge pages */

static ino_t huge_memfd; /* the latest */

static bool is_huge(int fd)
{
	struct stat st;

	return huge_memfd && !fstat(fd, &st) && st.st_ino == huge_memfd;
}

int memfd_create(const char *name, unsigned int flags)
{
	bool huge = flags & MFD_HUGETLB && fake_kernel.huge_memfds;
	struct stat st;
	int fd;

	if (fake_kernel.memfd_error)
		return fail(fake_kernel.memfd_error);
	if (huge)
		flags &= ~(MFD_HUGETLB | (unsigned)MFD_HUGE_MASK << MFD_HUGE_SHIFT);
	fd = (int)syscall(SYS_memfd_create, name, flags);
	if (huge && fd >= 0 && !fstat(fd, &st))
		huge_memfd = st.st_ino;
	return fd;
}

/*
 * Without huge pages fails when the old mapping at that place is gone already; and another thread
 * is quick.
 */
void *mmap(void *addr, size_t length, int prot, int flags, int fd, off_t offset)
{
	if (fd < 0 || !fake_kernel.no_huge_pages || !is_huge(fd))
		return (void *)syscall(SYS_mmap, addr, length, prot, flags, fd, offset);
	if (flags & MAP_FIXED) {
		munmap(addr, length);
		fake_kernel.neighbour =
			(void *)syscall(SYS_mmap, addr, page_size(), PROT_READ | PROT_WRITE,
					MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	errno = ENOMEM;
	return MAP_FAILED;
}

/* ---------------------------------------------------------------- dma-bufs */

static struct dma_buf {
	ino_t ino; /* of the memfd that stands for it */
	void *data;
	size_t length;
	int prot;
	bool attached;
	int source; /* descriptor, as long as there is one, and where the pages lie in it */
	off_t offset;
} *dma_bufs;
static int n_dma_bufs;

static void forget_dma_bufs(void)
{
	for (int i = 0; i < n_dma_bufs; i++)
		munmap(dma_bufs[i].data, dma_bufs[i].length);
	free(dma_bufs);
	dma_bufs = NULL;
	n_dma_bufs = 0;
}

static struct dma_buf *find_dma_buf(int fd)
{
	struct stat st;

	for (int i = 0; i < n_dma_bufs && !fstat(fd, &st); i++)
		if (dma_bufs[i].ino == st.st_ino)
			return &dma_bufs[i];
	return NULL;
}

/* The pages of @fd from @offset on. */
static int make_dma_buf(int fd, uint64_t offset, uint64_t length, int prot)
{
	struct dma_buf *more = realloc(dma_bufs, (n_dma_bufs + 1) * sizeof(*more));
	int token = (int)syscall(SYS_memfd_create, "dma-buf", MFD_CLOEXEC);
	struct stat st;

	dma_bufs = more;
	if (token < 0 || fstat(token, &st))
		return -1;
	more += n_dma_bufs++;
	*more = (struct dma_buf){ .ino = st.st_ino, .length = length, .prot = prot };
	more->source = fd;
	more->offset = (off_t)offset;
	more->data = mmap(NULL, length, prot, MAP_SHARED, fd, (off_t)offset);
	want(more->data != MAP_FAILED, "pages that can be mapped");
	return token;
}

void *fake_kernel_attach(int fd, size_t size, int prot)
{
	struct dma_buf *d = find_dma_buf(fd);

	want(d && size && size <= d->length, "a dma-buf, and no more than it has");
	if (!d || size > d->length || prot & ~d->prot)
		return MAP_FAILED;
	d->attached = true;
	if (fake_kernel.drops_writes)
		return mmap(NULL, size, prot, MAP_PRIVATE, d->source, d->offset);
	return mremap(d->data, 0, size, MREMAP_MAYMOVE); /* the same pages once more */
}

static int fake_sync(int fd, const struct dma_buf_sync *arg)
{
	struct dma_buf *d = find_dma_buf(fd);

	want(d, "a dma-buf to sync");
	fake_kernel.syncs++;
	fake_kernel.reached += d && d->attached;
	fake_kernel.last_sync = arg->flags;
	return 0;
}

/* ------------------------------------------------------------------- nodes */

/* Of a mapping. */
static size_t missing_bytes(void *at, uint64_t length)
{
	size_t n = length / page_size(), missing = 0;
	unsigned char *in = malloc(n);

	if (!mincore(at, length, in))
		for (size_t i = 0; i < n; i++)
			missing += in[i] & 1 ? 0 : page_size();
	free(in);
	return missing;
}

static int fake_pin(struct sherd_pin *arg)
{
	bool immutable = arg->flags & SHERD_PIN_IMMUTABLE;

	want(arg->size == sizeof(*arg), "the structure's size");
	want(arg->length && (arg->length | arg->addr | arg->offset) % page_size() == 0, "pages");
	want(!arg->addr || arg->flags & (SHERD_PIN_READ_ONLY | SHERD_PIN_IMMUTABLE),
	     "read-only for what is given by address");
	want(arg->addr || fcntl(arg->fd, F_GET_SEALS) & F_SEAL_SHRINK, "a sealed memfd");
	if (fake_kernel.pin_error)
		return fail(fake_kernel.pin_error);
	if (immutable && fake_kernel.immutable_error)
		return fail(fake_kernel.immutable_error);
	fake_kernel.missing =
		arg->addr ? missing_bytes((void *)(uintptr_t)arg->addr, arg->length) : 0;
	fake_kernel.pins++;
	fake_kernel.last_flags = arg->flags;
	arg->buffer = dup(arg->fd);
	arg->pages = arg->length / page_size();
	arg->segments = 1;
	arg->state = !arg->addr ? 0 : immutable ? SHERD_STATE_READ_ONLY | SHERD_STATE_IMMUTABLE |
						  SHERD_STATE_WRITE_DENIED : SHERD_STATE_READ_ONLY;
	last_pin = *arg;
	return arg->buffer < 0 ? -1 : 0;
}

static int fake_export(int fd, struct sherd_export *arg)
{
	want(arg->size == sizeof(*arg) && !arg->flags && !arg->__reserved, "a clean structure");
	want(arg->length && arg->offset % page_size() == 0 && arg->length % page_size() == 0 &&
	     arg->offset + arg->length <= last_pin.length, "pages of the buffer");
	if (fake_kernel.export_error && fake_kernel.exports >= fake_kernel.export_after)
		return fail(fake_kernel.export_error);
	fake_kernel.exports++;
	arg->fd = make_dma_buf(fd, arg->offset, arg->length,
			       last_pin.addr ? PROT_READ : PROT_READ | PROT_WRITE);
	return arg->fd < 0 ? -1 : 0;
}

static int fake_udmabuf(const struct udmabuf_create *arg)
{
	want(arg->flags == UDMABUF_FLAGS_CLOEXEC, "close-on-exec");
	want(arg->size && arg->offset % page_size() == 0 && arg->size % page_size() == 0, "pages");
	if (fake_kernel.udmabuf_error)
		return fail(fake_kernel.udmabuf_error);
	if (fake_kernel.no_huge_udmabuf && is_huge((int)arg->memfd))
		return fail(EINVAL);
	fake_kernel.exports++;
	return make_dma_buf((int)arg->memfd, arg->offset, arg->size, PROT_READ | PROT_WRITE);
}

int ioctl(int fd, unsigned long request, ...)
{
	void *arg;
	va_list ap;

	va_start(ap, request);
	arg = va_arg(ap, void *);
	va_end(ap);
	switch (request) {
	case SHERD_PIN:
		return fake_kernel.sherd ? fake_pin(arg) : fail(ENOTTY);
	case SHERD_EXPORT:
		return fake_export(fd, arg);
	case UDMABUF_CREATE:
		return fake_kernel.udmabuf ? fake_udmabuf(arg) : fail(ENOTTY);
	case DMA_BUF_IOCTL_SYNC:
		return fake_sync(fd, arg);
	default:
		return (int)syscall(SYS_ioctl, fd, request, arg);
	}
}
