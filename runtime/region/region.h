/* SPDX-License-Identifier: MIT */
/*
 * region: memory that CPU, GPU and network card share without a copy. A region is held by the best
 * *rung* of a ladder that this machine grants, tried from the top, and what uses it is the same
 * code above each of them:
 *
 *   sherd pinned by /dev/sherd (uapi/linux/sherd.h): a file's page cache or a memfd. Windows are
 *             dma-bufs, read-only ones of what is read-only, and cache maintenance is one slot's.
 *   udmabuf   a memfd, whose windows are dma-bufs of /dev/udmabuf: writable, charged to nobody.
 *   locked    stays in memory (mlock). No dma-bufs: a device takes the address, or a copy.
 *   plain     a mapping as any other; a device takes the address, or a copy.
 *
 * There are two kinds of regions: a *shard*, which is somebody's read-only mapping of a file, and a
 * *ring*, which is made here: slots that one side fills while the other sides read earlier ones.
 *
 *	struct sherd_region *ring;
 *	struct sherd_window *slot;
 *
 *	if (sherd_ring_create(&ring, 4, bytes, NULL, &err))
 *		...
 *	slot = sherd_ring_slot(ring, 0);
 *	sherd_window_begin(slot, SHERD_ACCESS_WRITE, &err);
 *	fill(slot->data);
 *	sherd_window_end(slot, SHERD_ACCESS_WRITE, &err);
 *	give_to_a_driver(slot->fd);
 *	...
 *	sherd_region_close(ring);
 *
 * Between begin and end a slot is the CPU's; outside it may be a GPU's that imported it
 * (device/import.h). What a network card does is the CPU's access: the kernel maps the ring's pages
 * for the card itself, and copies where it likes. So io_uring's requests stand between begin and
 * end, to their very end:
 *
 *   send begin(READ), send, end(READ) when the request is complete; one without a copy (SEND_ZC)
 *   is, when
 *             its notification has come (IORING_CQE_F_NOTIF), not when its result has
 *   receive   begin(WRITE), receive, end(WRITE) when the request is complete
 *
 * A ring takes descriptors: its memfd, the node's buffer, one a slot where slots are dma-bufs, and
 * one more for each slot that a device imports that way. RLIMIT_NOFILE is 1024 where nobody raised
 * it: 8 slots take 18 of them, 512 are too many.
 *
 * A region is used by one thread at a time, its windows each by one. Where two regions lock one
 * mapping ("locked"), the first that is closed unlocks it.
 */
#ifndef SHERD_REGION_H
#define SHERD_REGION_H

#include "base/base.h"

struct io_uring;

enum sherd_rung {
	SHERD_RUNG_SHERD,
	SHERD_RUNG_UDMABUF,
	SHERD_RUNG_LOCKED,
	SHERD_RUNG_PLAIN,
	SHERD_N_RUNGS,
};

/* In how large pages a ring lies: transparent, where all of it does that can. */
enum sherd_page_kind { SHERD_PAGES_SMALL, SHERD_PAGES_TRANSPARENT, SHERD_PAGES_HUGETLB };

enum sherd_access { SHERD_ACCESS_READ = 1, SHERD_ACCESS_WRITE = 2 };

/* A page-aligned part of a region. */
struct sherd_window {
	void *data;
	size_t length;
	int fd; /* a dma-buf; -1 where the rung has none */
};

struct sherd_region {
	uint8_t *data; /* page-aligned */
	size_t size; /* a multiple of the page size */
	int fd; /* the file or memfd that is mapped there */
	bool read_only;
	enum sherd_rung rung;
	const struct sherd_rung_ops *ops; /* the rung's (rung.h) */
	int held; /* the rung's descriptor, or -1 */
	size_t max_window; /* bytes of the longest window that is a dma-buf; 0: there are none */
	char how[160]; /* what holds it, in a few words: "pinned by /dev/sherd, ..." */
	sherd_progress_fn progress; /* while it is opened; may be NULL */
	void *ctx;
	struct sherd_error refused[SHERD_N_RUNGS]; /* "", or why a higher rung was not taken */
	/* rings */
	int n_slots;
	size_t slot_size; /* a multiple of the page size */
	struct sherd_window *slots; /* [n_slots] */
	enum sherd_page_kind pages;
};

size_t sherd_page_size(void);

/* Bytes of memory that can be had without swapping, less what is pinned. */
uint64_t sherd_region_room(void);

/* How RLIMIT_MEMLOCK is raised. */
#define SHERD_RAISE_MEMLOCK                                                     \
	"raise it with ulimit -l, LimitMEMLOCK= in a systemd unit, memlock in " \
	"/etc/security/limits.conf or docker run --ulimit memlock=-1, or give CAP_IPC_LOCK"
/* Whether RLIMIT_MEMLOCK bounds this process: there is a limit, and no CAP_IPC_LOCK that counts. */
bool sherd_memlock_bounds(void);

/* "sherd", "udmabuf", "locked", "plain"; NULL beyond. */
const char *sherd_rung_name(int rung);
/*
 * 0 if @name is "auto" or a rung's name, or NULL, which is "auto"; else the sentence that says
 * which there are.
 */
int sherd_rung_check(const char *name, struct sherd_error *err);

/*
 * The pages of @map, which must outlive the region: a file, or a memfd. @rung: NULL or "auto" takes
 * the first that works, a name that one or fails. Pinning and locking are not tried by "auto" where
 * they would take three quarters of the memory that can be had.
 */
int sherd_region_open(struct sherd_region **r, const struct sherd_map *map, const char *rung,
		      struct sherd_error *err);
/*
 * The same, which tells of what takes long: pinning reads all of a file, and a signal is taken
 * while it does. @progress may be NULL.
 */
int sherd_region_open_watched(struct sherd_region **r, const struct sherd_map *map,
			      const char *rung, sherd_progress_fn progress, void *ctx,
			      struct sherd_error *err);
/* What limits and memory say of that, beforehand and without reading it; @rung: enum sherd_rung. */
int sherd_region_foresee(const struct sherd_map *map, int rung, struct sherd_error *err);
/*
 * A ring of @n_slots (at least 3: one is filled, one on its way, one read) of @slot_bytes, rounded
 * up to pages; a memfd sealed against shrinking and growing, in huge pages where there are any
 * reserved and the ring fills half of one (1 MiB, mostly), else in transparent ones where the
 * kernel gives such, else in small ones. Each slot is a window. @rung: as above.
 */
int sherd_ring_create(struct sherd_region **r, int n_slots, size_t slot_bytes, const char *rung,
		      struct sherd_error *err);
struct sherd_window *sherd_ring_slot(struct sherd_region *r, int i);
/* Closes its slots; other windows must be closed before. */
void sherd_region_close(struct sherd_region *r);

/*
 * A part of a region: @offset and @length are multiples of the page size, @length at most
 * max_window.
 */
int sherd_window_open(struct sherd_window *w, struct sherd_region *r, size_t offset, size_t length,
		      struct sherd_error *err);
void sherd_window_close(struct sherd_window *w);
/* One more descriptor of a window's dma-buf, to be given away. */
int sherd_window_share(const struct sherd_window *w, struct sherd_error *err);
/*
 * The CPU's accesses to a window stand between begin and end, so that caches that are not coherent
 * are told. Costs nothing where there is no dma-buf. @access: enum sherd_access.
 */
int sherd_window_begin(struct sherd_window *w, unsigned access, struct sherd_error *err);
int sherd_window_end(struct sherd_window *w, unsigned access, struct sherd_error *err);

/*
 * A ring's slots as io_uring's fixed buffers, slot i being buffer i: its whole table, which must
 * not be there yet. They count against RLIMIT_MEMLOCK once more: -ENOMEM means go on without. A
 * shard can't be registered: io_uring pins for writing. The pages stay, and stay charged, until
 * they are unregistered or the io_uring ends, even if the ring is closed before.
 */
int sherd_region_register(const struct sherd_region *r, struct io_uring *uring,
			  struct sherd_error *err);
/* Several rings, the slots of each behind those of the one before; on any kernel. */
int sherd_region_register_all(struct sherd_region *const *rings, int n_rings,
			      struct io_uring *uring, struct sherd_error *err);
/* The whole table. */
int sherd_region_unregister(struct io_uring *uring, struct sherd_error *err);
/*
 * For rings that come and go: an empty table of @n entries (-EOPNOTSUPP before Linux 5.19), of
 * which a ring takes those from @first on, all or none, and leaves them empty again.
 */
int sherd_fixed_table(struct io_uring *uring, unsigned n, struct sherd_error *err);
int sherd_region_register_at(const struct sherd_region *r, struct io_uring *uring, unsigned first,
			     struct sherd_error *err);
int sherd_region_unregister_at(const struct sherd_region *r, struct io_uring *uring, unsigned first,
			       struct sherd_error *err);

/*
 * A mapped file of @size bytes where shards are kept, or a memfd as a model packed into memory is
 * one, to try things out with; sherd_map_close() ends it.
 */
int sherd_sample_open(struct sherd_map *map, size_t size, bool memfd, struct sherd_error *err);

#endif
