// SPDX-License-Identifier: GPL-2.0
/*
 * Advice: which memory on the device the program could do without.
 *
 * What is not needed may be dropped when room is wanted, migrate.c; what is needed
 * again may have been. The state is the page's and not the mirror's: it is in
 * devmem.c, goes where the page goes and ends with it. It changes under the page's
 * lock, and while nothing maps the page, so that no access can see it change. The
 * one way to have pages like that by their addresses is to begin a migration, and to
 * leave it at that.
 */
#include <linux/bitmap.h>
#include <linux/hmm.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "dmirror.h"

/* How often pages are asked for, a tick apart, that others hold for long. */
#define ADVISE_TRIES	50

/**
 * struct advice - an advice on up to a block
 * @svm: the mirror
 * @needed: what it says
 * @stats: what it came to
 * @start: first address
 * @npages: how many
 * @done: pages that have been seen to
 * @pfns: what hmm_range_fault() says of each page
 * @src: what mm says
 * @dst: nothing
 */
struct advice {
	struct dmirror_svm *svm;
	bool needed;
	struct dmirror_advice_stats *stats;
	u64 start;
	unsigned long npages;
	DECLARE_BITMAP(done, DMIRROR_BLOCK_PAGES);
	unsigned long pfns[DMIRROR_BLOCK_PAGES];
	unsigned long src[DMIRROR_BLOCK_PAGES];
	unsigned long dst[DMIRROR_BLOCK_PAGES];
};

/* Pages that have been seen to count as this, in bytes. Once: folios can grow. */
static void settle(struct advice *a, unsigned long first, unsigned long nr,
		   u64 *counter)
{
	unsigned long i;

	for (i = first; i < first + nr; i++)
		if (!__test_and_set_bit(i, a->done))
			*counter += PAGE_SIZE;
}

/*
 * The folio is locked and mapped nowhere. Fork shares memory with another process,
 * and mm cannot say that it is no longer shared: what the program cannot write to
 * without a fault may be somebody else's.
 */
static void apply(struct advice *a, struct page *page, unsigned long first,
		  unsigned long nr)
{
	struct dmirror_advice_stats *stats = a->stats;
	int error = dmirror_pages_check(page, nr);

	/* Of a large folio the others count; to mark the bad one does no harm. */
	if (!dmirror_page_device(page) || (error == -EHWPOISON && nr == 1)) {
		settle(a, first, nr, &stats->untouched);
		return;
	}
	if (!a->needed && !(a->src[first] & MIGRATE_PFN_WRITE)) {
		settle(a, first, nr, &stats->shared);
		return;
	}
	if (a->needed && error == -ENODATA)
		stats->dropped += nr * PAGE_SIZE;
	dmirror_page_set_purgeable(page, nr, !a->needed);
	settle(a, first, nr, &stats->applied);
}

/* What mm has collected, where the batch begins with page @first. */
static void apply_all(struct advice *a, unsigned long first, unsigned long npages)
{
	unsigned long i, nr;

	for (i = first; i < first + npages; i += nr) {
		struct page *page = migrate_pfn_to_page(a->src[i]);

		nr = a->src[i] & MIGRATE_PFN_COMPOUND ? DMIRROR_BLOCK_PAGES : 1;
		if (!(a->src[i] & MIGRATE_PFN_MIGRATE) || test_bit(i, a->done))
			continue;
		if (page)
			apply(a, page, i, nr);
		else
			settle(a, i, nr, &a->stats->untouched);
	}
}

static unsigned long select_pages(const struct dmirror_device *dev)
{
	unsigned long select = MIGRATE_VMA_SELECT_DEVICE_PRIVATE;

	/* On an interconnect mm shows the memory of all devices. */
	if (dev->type == DMIRROR_MEMORY_COHERENT || dev->hw.link)
		select |= MIGRATE_VMA_SELECT_DEVICE_COHERENT;
	if (dmirror_has_large_folios(dev))
		select |= MIGRATE_VMA_SELECT_COMPOUND;
	return select;
}

/* Have pages first to last, apply the advice, and give them back. */
static int visit(struct advice *a, unsigned long first, unsigned long last)
{
	struct dmirror_svm *svm = a->svm;
	struct migrate_vma args = {
		.start		= a->start + first * PAGE_SIZE,
		.end		= a->start + (last + 1) * PAGE_SIZE,
		.src		= a->src + first,
		.dst		= a->dst + first,
		.pgmap_owner	= svm->dev->owner,
		.flags		= select_pages(svm->dev),
	};
	int ret = -EFAULT;

	if (mmap_read_lock_killable(svm->mm))
		return -EINTR;
	args.vma = vma_lookup(svm->mm, args.start);
	if (args.vma) {
		/* Split meanwhile? The rest is for the next time. */
		args.end = min_t(u64, args.end, args.vma->vm_end);
		ret = migrate_vma_setup(&args);
	}
	if (!ret) {
		apply_all(a, first, args.npages);
		migrate_vma_pages(&args);
		migrate_vma_finalize(&args);
	}
	mmap_read_unlock(svm->mm);
	return ret;
}

/* The device that has, or just had, a page; NULL if none has. */
static struct dmirror_device *device_of(unsigned long hmm_pfn)
{
	if (!(hmm_pfn & HMM_PFN_VALID))
		return NULL;
	return dmirror_pfn_device(page_to_pfn(hmm_pfn_to_page(hmm_pfn)));
}

/* Whether a page is, or just was, where a visit of this device may find it. */
static bool may_be_found(const struct advice *a, unsigned long i)
{
	struct dmirror_device *dev = device_of(a->pfns[i]);

	return dev && dev->owner == a->svm->dev->owner;
}

/*
 * Whether a page can only be on the way to where it is found. Memory that is
 * needed must not be dropped: of that, a page is looked for until it is found, also
 * if another device has it, where it may be purgeable. Of other memory, who misses
 * it has lost nothing.
 */
static bool is_missing(const struct advice *a, unsigned long i)
{
	struct dmirror_device *dev = device_of(a->pfns[i]);

	if (!a->needed)
		return false;
	return !(a->pfns[i] & HMM_PFN_VALID) ||
	       (dev && dev->owner != a->svm->dev->owner);
}

/*
 * Whether another device has a page that does not come in: its contents were dropped
 * there, or are lost. To the owner mm shows it as it is.
 */
static bool other_device_has(const struct advice *a, unsigned long i)
{
	struct dmirror_svm *svm = a->svm;
	struct dmirror_device *dev;
	unsigned int nr;

	for (nr = 0; (dev = dmirror_device_nr(nr)); nr++) {
		unsigned long pfn;

		if (dev->owner != svm->dev->owner &&
		    !dmirror_snapshot(svm, dev, a->start + i * PAGE_SIZE, 1,
				      &pfn, NULL) &&
		    device_of(pfn) == dev)
			return true;
	}
	return false;
}

/* What there is to visit: the first and the last page. False if nothing is. */
static bool look(struct advice *a, unsigned long *first, unsigned long *last)
{
	bool found = false;
	unsigned long i;

	for_each_clear_bit(i, a->done, a->npages) {
		if (may_be_found(a, i) || is_missing(a, i)) {
			if (!found)
				*first = i;
			*last = i;
			found = true;
		} else {
			settle(a, i, 1, &a->stats->untouched);
		}
	}
	return found;
}

/* After the visit: bring in what is still missing, to be found the next time. */
static int bring_in(struct advice *a)
{
	unsigned long i;
	int ret;

	for_each_clear_bit(i, a->done, a->npages) {
		if (!is_missing(a, i))
			continue;
		ret = dmirror_find_page(a->svm, a->start + i * PAGE_SIZE);
		if (ret == -EFAULT)
			settle(a, i, 1, other_device_has(a, i) ?
			       &a->stats->busy : &a->stats->untouched);
		else if (ret && !dmirror_is_address_error(ret))
			return ret;
		else if (!ret && a->pfns[i] & HMM_PFN_VALID)
			/* Coherent memory, which did not have to come. */
			settle(a, i, 1, &a->stats->busy);
	}
	return 0;
}

static int advise_once(struct advice *a)
{
	unsigned long first, last;
	int ret;

	ret = dmirror_snapshot(a->svm, a->svm->dev, a->start, a->npages,
			       a->pfns, NULL);
	if (ret || !look(a, &first, &last))
		return ret;
	ret = visit(a, first, last);
	if (ret)
		return ret;
	return bring_in(a);
}

static int advise_batch(struct advice *a)
{
	unsigned int tries;
	int ret;

	bitmap_zero(a->done, DMIRROR_BLOCK_PAGES);
	for (tries = 0; tries < ADVISE_TRIES; tries++) {
		if (dmirror_svm_stopped(a->svm))
			return -EINTR;
		ret = advise_once(a);
		if (ret || bitmap_full(a->done, a->npages))
			return ret;
		/* Somebody has the pages; most often not for long. */
		schedule_timeout_killable(1);
	}
	a->stats->busy += PAGE_SIZE * (a->npages -
				       bitmap_weight(a->done, a->npages));
	return 0;
}

/* The part from addr on that is in one block and one mapping; 0 if none is. */
static int next_part(struct dmirror_svm *svm, u64 addr, u64 *end)
{
	struct vm_area_struct *vma;
	int ret = -EFAULT;

	if (mmap_read_lock_killable(svm->mm))
		return -EINTR;
	vma = vma_lookup(svm->mm, addr);
	if (vma && vma->vm_flags & VM_READ) {
		*end = dmirror_block_end(addr, min_t(u64, *end, vma->vm_end));
		ret = 0;
	}
	mmap_read_unlock(svm->mm);
	return ret;
}

static int advise_part(struct advice *a, u64 *addr, u64 range_end)
{
	u64 end = range_end;
	int ret = next_part(a->svm, *addr, &end);

	if (ret)
		return ret;
	a->start = *addr;
	a->npages = (end - *addr) >> PAGE_SHIFT;
	ret = advise_batch(a);
	/* mm has no business with the mapping, and nor has a device. */
	if (ret == -EINVAL) {
		a->stats->untouched += PAGE_SIZE * (a->npages -
				bitmap_weight(a->done, a->npages));
		ret = 0;
	}
	if (!ret)
		*addr = end;
	return ret;
}

/**
 * dmirror_advise_range() - say whether memory on the device is needed
 * @svm: the mirror
 * @needed: what to say; if not, what is on the device may be dropped
 * @start: first address, page aligned
 * @end: first address after it, page aligned
 * @stats: what came of it, added to what is there
 *
 * Context: may sleep and take mmap_lock, for a block at a time; the caller holds a
 * reference on the users of svm->mm.
 * Return: 0; -EFAULT where nothing is mapped or nothing may be read; -EBUSY if pages
 * could not be had; -ENOMEM; -EINTR on a fatal signal or if the mirror was stopped.
 */
int dmirror_advise_range(struct dmirror_svm *svm, bool needed, u64 start,
			 u64 end, struct dmirror_advice_stats *stats)
{
	struct advice *a;
	u64 addr = start;
	int ret = 0;

	a = kvmalloc_obj(*a, GFP_KERNEL_ACCOUNT);
	if (!a)
		return -ENOMEM;
	a->svm = svm;
	a->needed = needed;
	a->stats = stats;
	while (addr < end && !ret) {
		cond_resched();
		ret = advise_part(a, &addr, end);
	}
	kvfree(a);

	if (ret)
		stats->fault_addr = addr;
	else if (stats->busy)
		ret = -EBUSY;
	return ret;
}
