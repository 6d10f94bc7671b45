// SPDX-License-Identifier: MIT
/* vgem, a graphics driver without a device, as a driver that imports dma-bufs. */
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

int attach(int buffer, int dmabuf)
{
	struct importer_attach arg = { .fd = dmabuf, .dir = IMPORTER_BOTH, .bits = 64 };
	uint32_t mappings = info(buffer).mappings, handle;
	int drm = vgem_open(), edu;

	if (drm >= 0) {
		CHECK_EQ(vgem_import(drm, dmabuf, &handle), 0);
		if (info(buffer).mappings == mappings + 1)
			return drm;
		close(drm);
	}
	edu = open("/dev/importer", O_RDWR | O_CLOEXEC);
	if (edu < 0)
		test_skip("no device in this guest that maps windows");
	CHECK_EQ(ioctl(edu, IMPORTER_ATTACH, &arg), 0);
	CHECK_EQ(info(buffer).mappings, mappings + 1);
	return edu;
}

int sync_window(int dmabuf, uint64_t flags)
{
	struct dma_buf_sync arg = { .flags = flags };

	return ioctl(dmabuf, DMA_BUF_IOCTL_SYNC, &arg) ? -errno : 0;
}
