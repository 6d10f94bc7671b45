// SPDX-License-Identifier: MIT
/*
 * The drivers that import: vgem, a graphics driver without a device, and importer.ko with QEMU's
 * edu.
 */
#include <linux/dma-buf.h>

#include "guest.h"
#include "importer.h"

/* Of <drm/drm.h>, which not every machine has. */
struct drm_prime_handle {
	uint32_t handle, flags;
	int32_t fd;
};

struct drm_gem_close {
	uint32_t handle, pad;
};

#define DRM_IOCTL_GEM_CLOSE		_IOW('d', 0x09, struct drm_gem_close)
#define DRM_IOCTL_PRIME_FD_TO_HANDLE	_IOWR('d', 0x2e, struct drm_prime_handle)

int vgem_open(void)
{
	char path[32];
	int i, fd;

	for (i = 128; i < 132; i++) {
		snprintf(path, sizeof(path), "/dev/dri/renderD%d", i);
		fd = open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0)
			return fd;
	}
	return -1;
}

int vgem_import(int drm, int dmabuf, uint32_t *handle)
{
	struct drm_prime_handle arg = { .fd = dmabuf };

	if (ioctl(drm, DRM_IOCTL_PRIME_FD_TO_HANDLE, &arg))
		return -errno;
	*handle = arg.handle;
	return 0;
}

int vgem_close(int drm, uint32_t handle)
{
	struct drm_gem_close arg = { .handle = handle };

	return ioctl(drm, DRM_IOCTL_GEM_CLOSE, &arg) ? -errno : 0;
}

int importer(int w, uint32_t dir, uint32_t bits)
{
	struct importer_attach arg = { .fd = w, .dir = dir, .bits = bits };
	int fd = open("/dev/importer", O_RDWR | O_CLOEXEC), err;

	if (fd < 0)
		test_skip("no edu device or importer.ko in this guest");
	if (!ioctl(fd, IMPORTER_ATTACH, &arg))
		return fd;
	err = -errno;
	close(fd);
	return err;
}

void device_copy(int fd, unsigned long request, size_t offset, void *data)
{
	struct importer_copy arg = { .offset = offset, .data = (uintptr_t)data };

	CHECK_EQ(ioctl(fd, request, &arg), 0);
}

int attach(int buffer, int dmabuf)
{
	uint32_t mappings = info(buffer).mappings, handle;
	int drm = vgem_open(), edu;

	if (drm >= 0) {
		CHECK_EQ(vgem_import(drm, dmabuf, &handle), 0);
		if (info(buffer).mappings == mappings + 1)
			return drm;
		close(drm);
	}
	edu = importer(dmabuf, IMPORTER_BOTH, 64);
	CHECK(edu >= 0);
	CHECK_EQ(info(buffer).mappings, mappings + 1);
	return edu;
}

int sync_window(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync arg = { .flags = flags };

	return ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &arg) ? -errno : 0;
}
