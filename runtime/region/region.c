/* SPDX-License-Identifier: MIT */
/* region: climbs down the ladder until a rung holds, and opens windows. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>
#include <linux/dma-buf.h>
#include "region/rung.h"

static const struct sherd_rung_ops *const rungs[SHERD_N_RUNGS] = {
	[SHERD_RUNG_SHERD] = &sherd_rung_sherd,
	[SHERD_RUNG_UDMABUF] = &sherd_rung_udmabuf,
	[SHERD_RUNG_LOCKED] = &sherd_rung_locked,
	[SHERD_RUNG_PLAIN] = &sherd_rung_plain,
};

const char *sherd_rung_name(int rung)
{
	return rung >= 0 && rung < SHERD_N_RUNGS ? rungs[rung]->name : NULL;
}

static bool is_auto(const char *name)
{
	return !name || !strcmp(name, "auto");
}

static int find_rung(const char *name)
{
	for (int i = 0; i < SHERD_N_RUNGS; i++)
		if (!strcmp(name, rungs[i]->name))
			return i;
	return -1;
}

int sherd_rung_check(const char *name, struct sherd_error *err)
{
	if (is_auto(name) || find_rung(name) >= 0)
		return 0;
	return sherd_fail(err, -EINVAL,
			  "region \"%s\" is none of auto, sherd, udmabuf, locked and plain", name);
}

/*
 * Bytes that somebody has pinned, which the kernel still counts among what can be had; twice, what
 * is pinned twice.
 */
static uint64_t pinned_bytes(void)
{
	uint64_t acquired = 0, released = 0;

	sherd_proc_value("/proc/vmstat", "nr_foll_pin_acquired", &acquired);
	sherd_proc_value("/proc/vmstat", "nr_foll_pin_released", &released);
	return acquired > released ? (acquired - released) * sherd_page_size() : 0;
}

uint64_t sherd_region_room(void)
{
	uint64_t have = sherd_memory_available(), pinned = pinned_bytes();

	return have > pinned ? have - pinned : 0;
}

/* Of a mapping; all of it where the kernel doesn't say: it tells only who may write the file. */
static size_t resident_bytes(const struct sherd_region *r)
{
	static const size_t some = 4096; /* pages */
	size_t page = sherd_page_size(), at, n, i, sum = 0;
	unsigned char in[4096];

	for (at = 0; at < r->size; at += n) {
		n = MIN(r->size - at, some * page);
		if (mincore(r->data + at, n, in))
			return sum;
		for (i = 0; i < n / page; i++)
			sum += in[i] & 1 ? page : 0;
	}
	return sum;
}

/*
 * What stays in memory already takes no more of it: another process may hold this very file. Nobody
 * says whether what is held are these pages, but they are not unless they are here.
 */
static size_t more_bytes(const struct sherd_region *r)
{
	uint64_t held = pinned_bytes(), locked = 0;

	sherd_proc_value("/proc/vmstat", "nr_mlock", &locked);
	held += locked * sherd_page_size();
	if (r->n_slots || !held)
		return r->size;
	held = MIN(held, resident_bytes(r));
	return r->size > held ? r->size - (size_t)held : 0;
}

int sherd_region_check_room(const struct sherd_region *r, struct sherd_error *err)
{
	uint64_t have = sherd_region_room();
	size_t size = more_bytes(r);

	if (size / 3 <= have / 4)
		return 0;
	return sherd_fail(
		err, -ENOMEM,
		"%.1f MiB that must stay in memory would be more than three quarters of the "
		"%.1f MiB that can be had%s",
		size / 1048576.0, have / 1048576.0,
		r->n_slots ? "; take fewer or smaller slots, or end what uses memory" :
			     "; what is asked for by name (--region NAME) is held all the same");
}

static int open_slots(struct sherd_region *r, struct sherd_error *err)
{
	int i, rc = 0;

	for (i = 0; i < r->n_slots && !rc; i++)
		rc = sherd_window_open(&r->slots[i], r, i * r->slot_size, r->slot_size, err);
	while (rc && i-- > 0)
		sherd_window_close(&r->slots[i]);
	return rc;
}

/* A ring's memory is there already, and was asked after. */
static int try_rung(struct sherd_region *r, int i, bool asked, struct sherd_error *err)
{
	int rc = 0;

	r->held = -1;
	r->max_window = 0;
	if (rungs[i]->pins && !asked && !r->n_slots)
		rc = sherd_region_check_room(r, err);
	if (!rc)
		rc = rungs[i]->hold(r, err);
	if (rc)
		return rc;
	r->ops = rungs[i];
	r->rung = (enum sherd_rung)i;
	rc = open_slots(r, err);
	if (rc) {
		r->ops->release(r);
		r->ops = NULL;
	}
	return rc;
}

int sherd_region_hold(struct sherd_region *r, const char *name, struct sherd_error *err)
{
	int i = 0, rc = sherd_rung_check(name, err);

	if (rc)
		return rc;
	if (!is_auto(name)) {
		i = find_rung(name);
		rc = try_rung(r, i, true, err);
		return rc ? sherd_fail_prefix(err, rc, "region \"%s\"", name) : 0;
	}
	do
		rc = try_rung(r, i, false, &r->refused[i]);
	while (rc && ++i < SHERD_N_RUNGS);
	return rc; /* 0: the plain rung refuses nothing */
}

int sherd_region_open_watched(struct sherd_region **out, const struct sherd_map *map,
			      const char *rung, sherd_progress_fn progress, void *ctx,
			      struct sherd_error *err)
{
	struct sherd_region *r = sherd_calloc(1, sizeof(*r));
	int rc;

	*out = NULL;
	if (!r)
		return sherd_fail_oom(err, sizeof(*r), "a region");
	r->data = (uint8_t *)map->data;
	r->size = ROUND_UP(map->size, sherd_page_size());
	r->fd = map->fd;
	r->read_only = true;
	r->progress = progress;
	r->ctx = ctx;
	rc = sherd_region_hold(r, rung, err);
	r->progress = NULL;
	if (rc) {
		free(r);
		return rc;
	}
	*out = r;
	return 0;
}

int sherd_region_open(struct sherd_region **r, const struct sherd_map *map, const char *rung,
		      struct sherd_error *err)
{
	return sherd_region_open_watched(r, map, rung, NULL, NULL, err);
}

int sherd_region_foresee(const struct sherd_map *map, int rung, struct sherd_error *err)
{
	const struct sherd_region r = { .data = (uint8_t *)map->data,
					.size = ROUND_UP(map->size, sherd_page_size()) };
	struct rlimit limit;

	if (!rungs[rung]->pins)
		return 0;
	if (sherd_memlock_bounds() && !getrlimit(RLIMIT_MEMLOCK, &limit) && r.size > limit.rlim_cur)
		return sherd_fail_memlock(err, rungs[rung]->name, r.size, 0);
	return sherd_region_check_room(&r, err);
}

int sherd_window_open(struct sherd_window *w, struct sherd_region *r, size_t offset, size_t length,
		      struct sherd_error *err)
{
	size_t page = sherd_page_size();
	int fd;

	*w = (struct sherd_window){ .fd = -1 };
	if (!length || offset % page || length % page || offset > r->size ||
	    length > r->size - offset)
		return sherd_fail(
			err, -EINVAL,
			"a window of %zu bytes at %zu is not a run of pages of a region of %zu",
			length, offset, r->size);
	if (r->max_window && length > r->max_window)
		return sherd_fail(err, -EFBIG,
				  "a window of %zu KiB is more than the %zu KiB that %s "
				  "allows%s%s",
				  length >> 10, r->max_window >> 10, r->ops->name,
				  r->ops->more ? "; " : "", r->ops->more ? r->ops->more : "");
	fd = r->max_window ? r->ops->window(r, offset, length, err) : -1;
	if (r->max_window && fd < 0)
		return fd;
	*w = (struct sherd_window){ .data = r->data + offset, .length = length, .fd = fd };
	return 0;
}

int sherd_window_share(const struct sherd_window *w, struct sherd_error *err)
{
	int fd = fcntl(w->fd, F_DUPFD_CLOEXEC, 0);

	return fd < 0 ? sherd_fail_window(err, "a window's dma-buf", w->length, errno) : fd;
}

void sherd_window_close(struct sherd_window *w)
{
	if (w->data && w->fd >= 0)
		close(w->fd);
	*w = (struct sherd_window){ .fd = -1 };
}

static int sync_window(struct sherd_window *w, uint64_t when, unsigned access,
		       struct sherd_error *err)
{
	struct dma_buf_sync arg = { .flags = when };

	if (w->fd < 0)
		return 0;
	if (access & SHERD_ACCESS_READ)
		arg.flags |= DMA_BUF_SYNC_READ;
	if (access & SHERD_ACCESS_WRITE)
		arg.flags |= DMA_BUF_SYNC_WRITE;
	while (ioctl(w->fd, DMA_BUF_IOCTL_SYNC, &arg))
		if (errno != EINTR && errno != EAGAIN)
			return sherd_fail(err, -errno, "a dma-buf can't be synced: %s",
					  strerror(errno));
	return 0;
}

int sherd_window_begin(struct sherd_window *w, unsigned access, struct sherd_error *err)
{
	return sync_window(w, DMA_BUF_SYNC_START, access, err);
}

int sherd_window_end(struct sherd_window *w, unsigned access, struct sherd_error *err)
{
	return sync_window(w, DMA_BUF_SYNC_END, access, err);
}
