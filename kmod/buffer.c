// SPDX-License-Identifier: GPL-2.0-only
/*
 * A buffer: pages pinned for as long as a descriptor or a window refers to it, and charged to the
 * user who pinned them for exactly as long.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include <linux/sherd.h>

#include "buffer.h"
#include "source.h"
#include "trace.h"

/* So many at once: a signal is noticed between two batches, and none of them takes long. */
#define BATCH (PAGE_SIZE / sizeof(struct page *))

/*
 * RLIMIT_MEMLOCK bounds user->locked_vm, whichever of a user's processes asks, as for io_uring
 * and for zero-copy sends. The latter's mm_account_pinned_pages() rounds up; its counterpart is
 * used for what a module cannot do itself on older kernels: to drop a reference to a user.
 */
static int charge(struct sherd_buffer *buffer)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	struct user_struct *user = current_user();
	unsigned long old, new;

	do {
		old = atomic_long_read(&user->locked_vm);
		new = old + buffer->nr_pages;
		if (new > limit && !capable(CAP_IPC_LOCK))
			return -ENOBUFS;
	} while (atomic_long_cmpxchg(&user->locked_vm, old, new) != old);

	buffer->charged.user = get_uid(user);
	buffer->charged.num_pg = buffer->nr_pages;
	buffer->charged_mm = current->mm;
	mmgrab(buffer->charged_mm);
	atomic64_add(buffer->nr_pages, &buffer->charged_mm->pinned_vm);
	return 0;
}

static void uncharge(struct sherd_buffer *buffer)
{
	mm_unaccount_pinned_pages(&buffer->charged);
	atomic64_sub(buffer->nr_pages, &buffer->charged_mm->pinned_vm);
	mmdrop(buffer->charged_mm);
}

static void unpin(struct sherd_buffer *buffer)
{
	bool dirty = !(buffer->state & SHERD_STATE_READ_ONLY);
	unsigned long done, nr;

	for (done = 0; done < buffer->nr_pinned; done += nr) {
		nr = min_t(unsigned long, buffer->nr_pinned - done, BATCH);
		unpin_user_pages_dirty_lock(buffer->pages + done, nr, dirty);
		cond_resched();
	}
}

/*
 * Whatever happens to the address space meanwhile, the pages are the source's, or pinning fails: an
 * anonymous page (a copy, that is) and a page of another file have another mapping.
 */
static bool pages_belong(struct page **pages, unsigned long nr, struct address_space *mapping)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (READ_ONCE(compound_head(pages[i])->mapping) != mapping)
			return false;
	}
	return true;
}

/* Pins the buffer's next nr pages, which are mapped at addr, if they are pages of that mapping. */
int sherd_buffer_pin(struct sherd_buffer *buffer, unsigned long addr, unsigned long nr,
		     struct address_space *mapping)
{
	unsigned int gup = FOLL_LONGTERM;
	struct page **pages;
	int got;

	if (!(buffer->state & SHERD_STATE_READ_ONLY))
		gup |= FOLL_WRITE;
	for (; nr; nr -= got, addr += (unsigned long)got << PAGE_SHIFT) {
		if (fatal_signal_pending(current))
			return -EINTR;
		pages = buffer->pages + buffer->nr_pinned;
		got = pin_user_pages_fast(addr, min_t(unsigned long, BATCH, nr), gup, pages);
		/* A file whose pages are the device's own (DAX) is no source. */
		if (got == -EOPNOTSUPP)
			return -EINVAL;
		if (got <= 0)
			return got ?: -EFAULT;
		buffer->nr_pinned += got;
		if (!pages_belong(pages, got, mapping))
			return -EINVAL;
		cond_resched();
	}
	return 0;
}

/* Physically contiguous pages from the first one on, at most max. */
unsigned long sherd_buffer_run(const struct sherd_buffer *buffer, unsigned long first,
			       unsigned long max)
{
	unsigned long pfn = page_to_pfn(buffer->pages[first]);
	unsigned long n = 1;

	while (n < max && page_to_pfn(buffer->pages[first + n]) == pfn + n)
		n++;
	return n;
}

/* All are pinned, since start: counts the physically contiguous runs. */
void sherd_buffer_pinned(struct sherd_buffer *buffer, ktime_t start)
{
	unsigned long at, run;

	for (at = 0; at < buffer->nr_pages; at += run) {
		run = sherd_buffer_run(buffer, at, buffer->nr_pages - at);
		buffer->longest = max(buffer->longest, run);
		buffer->segments++;
		cond_resched();
	}
	trace_sherd_pin((u64)buffer->nr_pages << PAGE_SHIFT, buffer->segments, start);
}

/*
 * An empty buffer, charged already: who may not pin so much shall not have room made for it either.
 * On failure of what follows sherd_buffer_put() undoes as much as was done.
 */
struct sherd_buffer *sherd_buffer_alloc(unsigned long nr_pages)
{
	struct sherd_buffer *buffer;
	int err;

	/* More memory than there is cannot be pinned, and needs no memory to be refused. */
	if (nr_pages > totalram_pages() || nr_pages > INT_MAX)
		return ERR_PTR(-ENOMEM);
	buffer = kzalloc(sizeof(*buffer), GFP_KERNEL_ACCOUNT);
	if (!buffer)
		return ERR_PTR(-ENOMEM);
	buffer->nr_pages = nr_pages;
	err = charge(buffer);
	if (err)
		goto free_buffer;
	err = -ENOMEM;
	buffer->pages = kvmalloc_array(nr_pages, sizeof(*buffer->pages),
				       GFP_KERNEL_ACCOUNT | __GFP_NOWARN);
	if (!buffer->pages)
		goto uncharge;
	kref_init(&buffer->refs);
	mutex_init(&buffer->lock);
	INIT_LIST_HEAD(&buffer->mapped);
	return buffer;

uncharge:
	uncharge(buffer);
free_buffer:
	kfree(buffer);
	return ERR_PTR(err);
}

struct sherd_buffer *sherd_buffer_get(struct sherd_buffer *buffer)
{
	kref_get(&buffer->refs);
	return buffer;
}

static void release(struct kref *refs)
{
	struct sherd_buffer *buffer = container_of(refs, struct sherd_buffer, refs);
	ktime_t start = ktime_get();

	unpin(buffer);
	uncharge(buffer);
	sherd_source_release(buffer);
	trace_sherd_release((u64)buffer->nr_pinned << PAGE_SHIFT, buffer->segments, start);
	mutex_destroy(&buffer->lock);
	kvfree(buffer->pages);
	kfree(buffer);
}

void sherd_buffer_put(struct sherd_buffer *buffer)
{
	kref_put(&buffer->refs, release);
}
