// SPDX-License-Identifier: GPL-2.0
/*
 * Device memory as ZONE_DEVICE pages: where they come from, who gives them out,
 * and what mm calls when one is freed or a CPU touches it.
 *
 * Memory is handed out in blocks of the size of a huge page, so that a block
 * serves one large folio or many small ones, and small ones fill a block before
 * the next is begun. A page says which device it is of by its pagemap, and
 * where in the device's memory by its pfn. Nothing else hangs off it: not the
 * mirror that migrated it, which a page may outlive, so zone_device_data stays
 * unused, and a large folio can be split without asking the driver.
 */
#include <linux/bitmap.h>
#include <linux/export.h>
#include <linux/ioport.h>
#include <linux/jiffies.h>
#include <linux/lockdep.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/topology.h>
#include <linux/vmstat.h>
#include <kunit/visibility.h>

#include "dmirror.h"

/* first_pfn of a device without memory: higher than any pfn. */
#define NO_PFN	ULONG_MAX

/* Pages of a block that cannot be given out; they decide which list it is on. */
static unsigned int taken_pages(const struct dmirror_block *block)
{
	return block->used + block->withheld;
}

/* The list for a block with so many pages taken. */
static struct list_head *block_list(struct dmirror_devmem *devmem,
				    unsigned int taken)
{
	if (!taken)
		return &devmem->empty;
	return taken < DMIRROR_BLOCK_PAGES ? &devmem->partial : &devmem->full;
}

/*
 * Pages were given out, or came back if there are fewer; some of those that are
 * free may not be used again.
 */
static void block_account(struct dmirror_devmem *devmem,
			  struct dmirror_block *block, long pages,
			  unsigned int withheld)
{
	unsigned int before = taken_pages(block);
	struct list_head *list;

	lockdep_assert_held(&devmem->lock);
	block->used += pages;
	devmem->used += pages;
	block->withheld += withheld;
	devmem->withheld += withheld;
	list = block_list(devmem, taken_pages(block));
	if (!block->used)
		list_del_init(&block->lru);
	if (list != block_list(devmem, before) && !block->evicting)
		list_move(&block->link, list);
}

/* Pages of one block, which share words with others. */
static void mark_purgeable(struct dmirror_devmem *devmem,
			   struct dmirror_block *block, unsigned long first,
			   unsigned long nr, bool purgeable)
{
	unsigned long i;

	lockdep_assert_held(&devmem->lock);
	if (!purgeable && !devmem->purgeable)
		return;
	for (i = first; i < first + nr; i++) {
		if (test_bit(i, block->purgeable) == purgeable)
			continue;
		__assign_bit(i, block->purgeable, purgeable);
		devmem->purgeable += purgeable ? 1 : -1;
	}
}

/* Of a block of which not all pages are in use or withheld. */
static unsigned long first_free(const struct dmirror_block *block)
{
	unsigned long index;

	for_each_clear_bit(index, block->map, DMIRROR_BLOCK_PAGES)
		if (!test_bit(index, block->poisoned))
			break;
	return index;
}

/* How many pages are free from one that is, up to @max. */
static unsigned int free_run(const struct dmirror_block *block,
			     unsigned long index, unsigned int max)
{
	unsigned long end = min(index + max, DMIRROR_BLOCK_PAGES);

	end = find_next_bit(block->map, end, index);
	return find_next_bit(block->poisoned, end, index) - index;
}

/*
 * Take a whole block for a large folio, or for small ones up to *nr pages that
 * are next to each other, and set *nr to how many pages were taken. Returns the
 * number of the first in the device's memory, or -1.
 */
VISIBLE_IF_KUNIT long dmirror_pages_take(struct dmirror_devmem *devmem,
					 unsigned int order, unsigned int *nr)
{
	struct list_head *list = &devmem->empty;
	struct dmirror_block *block;
	unsigned long index, flags;
	long page = -1;

	spin_lock_irqsave(&devmem->lock, flags);
	if (devmem->closed)
		goto out;
	if (!order && !list_empty(&devmem->partial))
		list = &devmem->partial;
	block = list_first_entry_or_null(list, struct dmirror_block, link);
	if (!block)
		goto out;

	index = first_free(block);
	*nr = order ? 1U << order : free_run(block, index, *nr);
	block->unready = order;
	bitmap_set(block->map, index, *nr);
	block->since = jiffies;
	if (!list_is_last(&block->lru, &devmem->lru))
		list_move_tail(&block->lru, &devmem->lru);
	block_account(devmem, block, *nr, 0);
	page = (block - devmem->blocks) * DMIRROR_BLOCK_PAGES + index;
out:
	spin_unlock_irqrestore(&devmem->lock, flags);
	return page;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pages_take);

/*
 * Of pages that are no longer in use, how many never are again: what is poisoned,
 * unless there is nothing that could be bad about it.
 */
static unsigned int withhold(struct dmirror_devmem *devmem,
			     struct dmirror_block *block, unsigned long first,
			     unsigned long nr)
{
	unsigned int withheld = 0;
	unsigned long i;

	if (!devmem->poisoned && !devmem->no_memory)
		return 0;
	for (i = first; i < first + nr; i++) {
		if (devmem->no_memory)
			__clear_bit(i, block->poisoned);
		withheld += test_bit(i, block->poisoned);
	}
	return withheld;
}

VISIBLE_IF_KUNIT void dmirror_pages_return(struct dmirror_devmem *devmem,
					   unsigned long page,
					   unsigned int order)
{
	unsigned long index = page % DMIRROR_BLOCK_PAGES;
	unsigned int nr = 1U << order;
	struct dmirror_block *block;
	unsigned long flags;
	bool taken;

	block = &devmem->blocks[page / DMIRROR_BLOCK_PAGES];
	spin_lock_irqsave(&devmem->lock, flags);
	mark_purgeable(devmem, block, index, nr, false);
	block->unready = false;
	if (order) {
		taken = find_next_zero_bit(block->map, index + nr, index) ==
			index + nr;
		bitmap_clear(block->map, index, nr);
	} else {
		taken = __test_and_clear_bit(index, block->map);
	}
	WARN_ON_ONCE(!taken);
	block_account(devmem, block, -(long)nr,
		      withhold(devmem, block, index, nr));
	spin_unlock_irqrestore(&devmem->lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_pages_return);

/**
 * dmirror_devmem_poison() - a memory error has hit a page
 * @devmem: the device's memory
 * @page: number of the page in it
 *
 * It is not given out again. If it is in use it stays so for now, and its contents
 * are gone, see dmirror_pages_check().
 *
 * Context: any; the page need not be locked.
 * Return: false if one had hit the page before.
 */
bool dmirror_devmem_poison(struct dmirror_devmem *devmem, unsigned long page)
{
	unsigned long index = page % DMIRROR_BLOCK_PAGES;
	struct dmirror_block *block;
	unsigned long flags;
	bool new;

	block = &devmem->blocks[page / DMIRROR_BLOCK_PAGES];
	spin_lock_irqsave(&devmem->lock, flags);
	new = !__test_and_set_bit(index, block->poisoned);
	devmem->poisoned += new;
	if (new && !test_bit(index, block->map))
		block_account(devmem, block, 0,
			      withhold(devmem, block, index, 1));
	spin_unlock_irqrestore(&devmem->lock, flags);
	return new;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_poison);

/*
 * What the flags say of the memory that was here. mm clears them when a page of
 * the system is freed and leaves them on a device page, where they would pass to
 * the memory that comes next, and with it to the system. munlock() passes over
 * device memory, so a page may leave as one that is counted as locked.
 */
static void forget_flags(struct folio *folio)
{
	/* To look first is cheaper than an atomic operation for nothing. */
	if (folio_test_mlocked(folio) && folio_test_clear_mlocked(folio))
		mod_zone_page_state(folio_zone(folio), NR_MLOCK,
				    -(long)folio_nr_pages(folio));
	if (folio_test_large(folio))
		folio_clear_large_rmappable(folio);
	__folio_clear_unevictable(folio);
	__folio_clear_active(folio);
	if (folio_test_referenced(folio))
		folio_clear_referenced(folio);
	if (folio_test_reclaim(folio))
		folio_clear_reclaim(folio);
	__folio_clear_dirty(folio);
	__folio_clear_swapbacked(folio);
	if (folio_test_workingset(folio))
		folio_clear_workingset(folio);
}

/* A page of a pagemap of this driver. */
static struct dmirror_devmem *page_devmem(const struct page *page)
{
	return container_of(page_pgmap(page), struct dmirror_devmem, pagemap);
}

/*
 * The last reference is gone. Runs in atomic context, under a page table lock
 * when the program unmaps the page.
 */
static void dmirror_devmem_folio_free(struct folio *folio)
{
	struct page *page = folio_page(folio, 0);
	struct dmirror_devmem *devmem = page_devmem(page);

	forget_flags(folio);
	dmirror_pages_return(devmem, page_to_pfn(page) - devmem->first_pfn,
			     folio_order(folio));
}

/*
 * mm reports a memory error. Without this a kernel with FS_DAX takes a coherent page
 * for one of a DAX file, and stops. The range can be larger than the memory in it.
 */
static int dmirror_devmem_failure(struct dev_pagemap *pagemap,
				  unsigned long pfn, unsigned long nr,
				  int flags)
{
	struct dmirror_devmem *devmem =
		container_of(pagemap, struct dmirror_devmem, pagemap);
	struct dmirror_device *dev =
		container_of(devmem, struct dmirror_device, devmem);
	int ret = 0, error;

	if (devmem->no_memory)
		return -ENXIO;
	for (pfn -= devmem->first_pfn; nr; pfn++, nr--) {
		error = dmirror_poison(dev, PFN_PHYS(pfn));
		ret = ret ?: error;
	}
	return ret == -EINVAL ? -ENXIO : ret;
}

static const struct dev_pagemap_ops dmirror_pagemap_ops = {
	.folio_free	= dmirror_devmem_folio_free,
	.migrate_to_ram	= dmirror_migrate_to_ram,
	.memory_failure	= dmirror_devmem_failure,
};

/**
 * dmirror_zone_device() - dmirror_page_device() of a ZONE_DEVICE page
 * @page: the page
 *
 * Context: as for dmirror_page_device().
 * Return: as for dmirror_page_device().
 */
struct dmirror_device *dmirror_zone_device(const struct page *page)
{
	struct dmirror_devmem *devmem;

	if (page_pgmap(page)->ops != &dmirror_pagemap_ops)
		return NULL;
	devmem = page_devmem(page);
	if (devmem->no_memory)
		return container_of(devmem, struct dmirror_device,
				    placeholders);
	return container_of(devmem, struct dmirror_device, devmem);
}

static bool has_pfn(const struct dmirror_devmem *devmem, unsigned long pfn)
{
	unsigned long first = READ_ONCE(devmem->first_pfn);

	return pfn >= first &&
	       pfn - first < devmem->nr_blocks * DMIRROR_BLOCK_PAGES;
}

/**
 * dmirror_pfn_device() - whose memory a page was when its pfn was noted
 * @pfn: any pfn
 *
 * For pages that may be gone, split or somebody else's by now: goes by the
 * number alone. A device that is not plugged in has no memory.
 *
 * Context: a file is open, or none was yet.
 * Return: the device, also for its placeholders; NULL if the page is not memory of
 * this driver.
 */
struct dmirror_device *dmirror_pfn_device(unsigned long pfn)
{
	struct dmirror_device *dev;
	unsigned int nr;

	for (nr = 0; (dev = dmirror_device_nr(nr)); nr++) {
		if (has_pfn(&dev->devmem, pfn) ||
		    has_pfn(&dev->placeholders, pfn))
			return dev;
	}
	return NULL;
}

static struct dmirror_block *pfn_block(const struct dmirror_devmem *devmem,
				       unsigned long pfn, unsigned long *index)
{
	pfn -= devmem->first_pfn;
	*index = pfn % DMIRROR_BLOCK_PAGES;
	return &devmem->blocks[pfn / DMIRROR_BLOCK_PAGES];
}

static bool is_purgeable(const struct dmirror_devmem *devmem, unsigned long pfn)
{
	unsigned long index;
	struct dmirror_block *block = pfn_block(devmem, pfn, &index);

	return test_bit(index, block->purgeable);
}

/* What dmirror_pages_check() answers for pages of this driver, all of one folio. */
static int check_contents(const struct dmirror_devmem *devmem,
			  unsigned long pfn, unsigned long nr)
{
	unsigned long index, end;
	struct dmirror_block *block = pfn_block(devmem, pfn, &index);

	end = index + nr;
	if (find_next_bit(block->poisoned, end, index) < end)
		return -EHWPOISON;
	if (!devmem->no_memory)
		return 0;
	return find_next_bit(block->purgeable, end, index) < end ? -ENODATA :
								   -EAGAIN;
}

/**
 * dmirror_page_is_placeholder() - does a page stand for contents that are gone?
 * @page: any page
 *
 * Context: as for dmirror_page_device().
 * Return: true if so.
 */
bool dmirror_page_is_placeholder(const struct page *page)
{
	return dmirror_page_device(page) && page_devmem(page)->no_memory;
}

/**
 * dmirror_page_purgeable() - may the contents of a page be dropped?
 * @page: a page for which dmirror_page_device() names a device
 *
 * Context: the page is locked.
 * Return: true if so; for a placeholder, if they were dropped and the program has
 * not said since that it needs them.
 */
bool dmirror_page_purgeable(const struct page *page)
{
	return is_purgeable(page_devmem(page), page_to_pfn(page));
}

/**
 * dmirror_page_set_purgeable() - say whether the contents of pages may be dropped
 * @page: a page for which dmirror_page_device() names a device, the first of a
 *	large folio
 * @nr: number of pages of the folio
 * @purgeable: what to say
 *
 * The state is gone when the page is freed.
 *
 * Context: the folio is locked, and mapped nowhere, by the CPU or a device: whoever
 * maps it or moves it finds the old state or the new one.
 */
void dmirror_page_set_purgeable(const struct page *page, unsigned long nr,
				bool purgeable)
{
	struct dmirror_devmem *devmem = page_devmem(page);
	struct dmirror_block *block;
	unsigned long index, flags;

	block = pfn_block(devmem, page_to_pfn(page), &index);
	spin_lock_irqsave(&devmem->lock, flags);
	mark_purgeable(devmem, block, index, nr, purgeable);
	spin_unlock_irqrestore(&devmem->lock, flags);
}

/**
 * dmirror_pages_check() - do pages have the contents that were left in them?
 * @page: any page, the first of a folio if there are several
 * @nr: number of pages of the folio
 *
 * Context: the page is locked, or mapped, with the mirror's lock held and a valid
 * sequence.
 * Return: 0, also if the page is not of this driver; -EAGAIN for a placeholder
 * that is to become a page of zeroes; -ENODATA for one of which the program has not
 * yet said that it needs it; -EHWPOISON if a memory error has hit one of the pages,
 * or the one that a placeholder stands for.
 */
int dmirror_pages_check(const struct page *page, unsigned long nr)
{
	if (!dmirror_page_device(page))
		return 0;
	return check_contents(page_devmem(page), page_to_pfn(page), nr);
}

/**
 * dmirror_page_set_poisoned() - a placeholder is to stand for a poisoned page
 * @page: the placeholder, a folio of its own
 *
 * Context: the page is locked, and mapped nowhere.
 */
void dmirror_page_set_poisoned(const struct page *page)
{
	struct dmirror_devmem *devmem = page_devmem(page);
	struct dmirror_block *block;
	unsigned long index, flags;

	block = pfn_block(devmem, page_to_pfn(page), &index);
	spin_lock_irqsave(&devmem->lock, flags);
	__set_bit(index, block->poisoned);
	spin_unlock_irqrestore(&devmem->lock, flags);
}

/**
 * dmirror_pfn_check() - as dmirror_pages_check(), of a page that may be gone
 * @pfn: any pfn
 *
 * Context: as for dmirror_pfn_device(). The answer may be old when it arrives.
 * Return: as dmirror_pages_check().
 */
int dmirror_pfn_check(unsigned long pfn)
{
	struct dmirror_device *dev = dmirror_pfn_device(pfn);

	if (!dev)
		return 0;
	return check_contents(has_pfn(&dev->devmem, pfn) ? &dev->devmem :
			      &dev->placeholders, pfn, 1);
}

/**
 * dmirror_bus_addr() - how a device's engines reach a page
 * @dev: the device
 * @page: any page of memory, and no placeholder
 *
 * Context: as for dmirror_page_device().
 * Return: the address, as hw.h defines it. Memory of another device that the
 * CPU can address is system memory to this one.
 */
u64 dmirror_bus_addr(const struct dmirror_device *dev, const struct page *page)
{
	unsigned long pfn = page_to_pfn(page);
	struct dmirror_device *owner;
	u64 addr = PFN_PHYS(pfn);

	if (has_pfn(&dev->devmem, pfn))
		return addr - PFN_PHYS(dev->devmem.first_pfn);

	owner = dmirror_page_device(page);
	if (!owner || owner->type == DMIRROR_MEMORY_COHERENT)
		return addr | DMIRROR_HW_SYSTEM;

	addr -= PFN_PHYS(owner->devmem.first_pfn);
	return addr | DMIRROR_HW_PEER |
	       (u64)owner->id << DMIRROR_HW_PEER_SHIFT;
}

/* What was there before is no use of what is going to be. */
static void forget_access(struct dmirror_device *dev, unsigned long page)
{
	dmirror_hw_test_and_clear_accessed(&dev->hw, PFN_PHYS(page));
}

/* The next page of a run, after a new one was taken if that is used up; or -1. */
static long run_next(struct dmirror_device *dev, struct dmirror_run *run,
		     unsigned int want)
{
	struct dmirror_devmem *devmem = &dev->devmem;
	long page;

	if (!run->nr) {
		page = dmirror_pages_take(devmem, 0, &want);
		if (page < 0)
			return page;
		*run = (struct dmirror_run) { .next = page, .nr = want };
		forget_access(dev, page);
		/* It is all in one block, and that populates a block. */
		if (dmirror_hw_populate(&dev->hw, PFN_PHYS(page))) {
			dmirror_devmem_put_run(dev, run);
			return -1;
		}
	}
	run->nr--;
	return run->next++;
}

static long take_block(struct dmirror_device *dev)
{
	unsigned int nr;
	long page = dmirror_pages_take(&dev->devmem, DMIRROR_BLOCK_ORDER, &nr);

	if (page < 0)
		return page;
	forget_access(dev, page);
	if (dmirror_hw_populate(&dev->hw, PFN_PHYS(page))) {
		dmirror_pages_return(&dev->devmem, page, DMIRROR_BLOCK_ORDER);
		return -1;
	}
	return page;
}

/* Make a folio of pages that were taken, locked and with one reference. */
static struct folio *make_folio(struct dmirror_devmem *devmem,
				unsigned long page, unsigned int order)
{
	struct folio *folio;
	unsigned long flags;

	folio = (struct folio *)pfn_to_page(devmem->first_pfn + page);
	zone_device_folio_init(folio, &devmem->pagemap, order);
	if (!order)
		return folio;

	spin_lock_irqsave(&devmem->lock, flags);
	devmem->blocks[page / DMIRROR_BLOCK_PAGES].unready = false;
	spin_unlock_irqrestore(&devmem->lock, flags);
	return folio;
}

/**
 * dmirror_devmem_alloc() - allocate device memory as the target of a migration
 * @dev: the device
 * @order: 0, or DMIRROR_BLOCK_ORDER for a large folio
 * @run: pages that were taken together and are the next to be allocated;
 *	begins as {}, and what is left of it goes to dmirror_devmem_put_run()
 * @want: how many small pages the caller is going to allocate, at least 1
 *
 * Context: may sleep and reclaim.
 * Return: a folio, locked and with one reference, its contents undefined; NULL
 * if the device has no memory for it. Unlock and put it, or have
 * migrate_vma_finalize() do that.
 */
struct folio *dmirror_devmem_alloc(struct dmirror_device *dev,
				   unsigned int order, struct dmirror_run *run,
				   unsigned int want)
{
	long page = order ? take_block(dev) : run_next(dev, run, want);

	if (page < 0) {
		atomic64_inc(&dev->counters.full);
		return NULL;
	}
	return make_folio(&dev->devmem, page, order);
}

/**
 * dmirror_devmem_put_run() - give back what is left of a run
 * @dev: the device
 * @run: the run; empty afterwards
 *
 * Context: any.
 */
void dmirror_devmem_put_run(struct dmirror_device *dev, struct dmirror_run *run)
{
	for (; run->nr; run->nr--)
		dmirror_pages_return(&dev->devmem, run->next++, 0);
}

/**
 * dmirror_placeholder_alloc() - allocate a page that has no memory
 * @dev: the device
 * @order: 0, or DMIRROR_BLOCK_ORDER for a large folio
 *
 * To take the place of a page whose contents are not needed.
 *
 * Context: may sleep.
 * Return: a folio as of dmirror_devmem_alloc(), marked purgeable; NULL if there is
 * none left.
 */
struct folio *dmirror_placeholder_alloc(struct dmirror_device *dev,
					unsigned int order)
{
	struct dmirror_devmem *devmem = &dev->placeholders;
	unsigned int nr = 1;
	struct folio *folio;
	long page;

	page = dmirror_pages_take(devmem, order, &nr);
	if (page < 0)
		return NULL;
	folio = make_folio(devmem, page, order);
	dmirror_page_set_purgeable(folio_page(folio, 0), 1UL << order, true);
	return folio;
}

/**
 * dmirror_placeholders_left() - might there be a placeholder?
 * @dev: the device
 * @order: as for dmirror_placeholder_alloc()
 *
 * Context: any. The answer may be old when it arrives.
 * Return: true if there is one.
 */
bool dmirror_placeholders_left(struct dmirror_device *dev, unsigned int order)
{
	struct dmirror_devmem *devmem = &dev->placeholders;
	unsigned long flags;
	bool left;

	spin_lock_irqsave(&devmem->lock, flags);
	left = !list_empty(&devmem->empty) ||
	       (!order && !list_empty(&devmem->partial));
	spin_unlock_irqrestore(&devmem->lock, flags);
	return left;
}

/**
 * dmirror_devmem_used_pfns() - list what is allocated in a block
 * @devmem: the device's memory
 * @block: the number of the block
 * @purgeable: only what is marked as such
 * @pfns: room for DMIRROR_BLOCK_PAGES entries
 *
 * Context: any. The answer may be old when it arrives: try each page's
 * reference and lock, as migrate_device_pfns() does. That looks at the folio of a page
 * before it has it, so what is about to become a large one is left out.
 * Return: how many pfns were written.
 */
unsigned long dmirror_devmem_used_pfns(struct dmirror_devmem *devmem,
				       unsigned long block, bool purgeable,
				       unsigned long *pfns)
{
	struct dmirror_block *b = &devmem->blocks[block];
	unsigned long *map = purgeable ? b->purgeable : b->map;
	unsigned long index, flags, nr = 0;

	spin_lock_irqsave(&devmem->lock, flags);
	if (b->unready)
		goto unlock;
	for_each_set_bit(index, map, DMIRROR_BLOCK_PAGES)
		pfns[nr++] = devmem->first_pfn +
			     block * DMIRROR_BLOCK_PAGES + index;
unlock:
	spin_unlock_irqrestore(&devmem->lock, flags);
	return nr;
}

/**
 * dmirror_devmem_touch() - the device is about to use some of its memory
 * @devmem: the device's memory
 * @offset: an offset in the block that it will use
 *
 * Context: any.
 */
void dmirror_devmem_touch(struct dmirror_devmem *devmem, u64 offset)
{
	struct dmirror_block *block;
	unsigned long flags;

	block = &devmem->blocks[offset / DMIRROR_BLOCK_SIZE];
	spin_lock_irqsave(&devmem->lock, flags);
	if (block->used)
		list_move_tail(&block->lru, &devmem->lru);
	spin_unlock_irqrestore(&devmem->lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_touch);

/* Nothing of a block is given out until put_in(). devmem->lock is held. */
static void take_out(struct dmirror_block *block)
{
	block->evicting = true;
	list_del_init(&block->link);
}

static void put_in(struct dmirror_devmem *devmem, struct dmirror_block *block)
{
	block->evicting = false;
	list_add(&block->link, block_list(devmem, taken_pages(block)));
}

/**
 * dmirror_devmem_hold() - give nothing out of a block for a moment
 * @devmem: the device's memory
 * @block: the number of the block, which nobody else evicts or holds
 *
 * So that none of its pages becomes a part of a large folio.
 *
 * Context: any.
 * Return: true, and dmirror_devmem_release() is to follow; false if nothing of the
 * block is in use.
 */
bool dmirror_devmem_hold(struct dmirror_devmem *devmem, unsigned long block)
{
	struct dmirror_block *b = &devmem->blocks[block];
	unsigned long flags;
	bool used;

	spin_lock_irqsave(&devmem->lock, flags);
	used = b->used;
	if (used)
		take_out(b);
	spin_unlock_irqrestore(&devmem->lock, flags);
	return used;
}

/**
 * dmirror_devmem_release() - undo dmirror_devmem_hold()
 * @devmem: the device's memory
 * @block: the number of the block
 *
 * Context: any.
 */
void dmirror_devmem_release(struct dmirror_devmem *devmem, unsigned long block)
{
	unsigned long flags;

	spin_lock_irqsave(&devmem->lock, flags);
	put_in(devmem, &devmem->blocks[block]);
	spin_unlock_irqrestore(&devmem->lock, flags);
}

/**
 * dmirror_devmem_isolate() - choose a block to evict
 * @devmem: the device's memory
 * @residency: how long memory is to stay on the device, in jiffies
 * @young: set to the time until another block may be evicted, in jiffies; left
 *	alone if there is no other
 *
 * The least recently used block that has been there long enough. Nothing more of
 * it is taken until dmirror_devmem_putback(); of a run that was, pages may yet come
 * into use.
 *
 * Context: any.
 * Return: the number of the block, or -1 if there is none.
 */
long dmirror_devmem_isolate(struct dmirror_devmem *devmem,
			    unsigned long residency, unsigned long *young)
{
	unsigned long flags, until, now, wait = 0;
	struct dmirror_block *block;
	long found = -1;

	spin_lock_irqsave(&devmem->lock, flags);
	now = jiffies;
	list_for_each_entry(block, &devmem->lru, lru) {
		if (block->evicting)
			continue;
		until = block->since + residency;
		if (time_before(now, until)) {
			wait = wait ? min(wait, until - now) : until - now;
			continue;
		}
		take_out(block);
		found = block - devmem->blocks;
		break;
	}
	spin_unlock_irqrestore(&devmem->lock, flags);
	if (wait)
		*young = wait;
	return found;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_isolate);

/**
 * dmirror_devmem_putback() - give a block back to the allocator
 * @devmem: the device's memory
 * @block: the number that dmirror_devmem_isolate() answered
 *
 * What could not be evicted counts as used just now, so that the next search
 * begins elsewhere.
 *
 * Context: any.
 */
void dmirror_devmem_putback(struct dmirror_devmem *devmem, unsigned long block)
{
	struct dmirror_block *b = &devmem->blocks[block];
	unsigned long flags;

	spin_lock_irqsave(&devmem->lock, flags);
	if (b->used)
		list_move_tail(&b->lru, &devmem->lru);
	put_in(devmem, b);
	spin_unlock_irqrestore(&devmem->lock, flags);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_putback);

/*
 * Where evicted pages went, to tell how many come back: an estimate, as a pfn
 * may be somebody else's by then, and two may want one slot.
 */
static unsigned long *evicted_slot(struct dmirror_devmem *devmem,
				   unsigned long pfn)
{
	return &devmem->evicted[pfn % (devmem->nr_blocks *
				       DMIRROR_BLOCK_PAGES)];
}

/**
 * dmirror_devmem_note_evicted() - remember a page that was evicted
 * @devmem: the device's memory
 * @pfn: of the page in system memory, the first of a large folio
 *
 * Context: any.
 */
void dmirror_devmem_note_evicted(struct dmirror_devmem *devmem,
				 unsigned long pfn)
{
	WRITE_ONCE(*evicted_slot(devmem, pfn), pfn);
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_note_evicted);

/**
 * dmirror_devmem_refaulted() - does a page that was evicted come back?
 * @devmem: the device's memory
 * @pfn: of a page that migrates to the device, the first of a large folio
 *
 * Context: any.
 * Return: true, once for each dmirror_devmem_note_evicted().
 */
bool dmirror_devmem_refaulted(struct dmirror_devmem *devmem, unsigned long pfn)
{
	unsigned long *slot = evicted_slot(devmem, pfn);

	return READ_ONCE(*slot) == pfn && cmpxchg(slot, pfn, 0) == pfn;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_devmem_refaulted);

/**
 * dmirror_devmem_close() - let nothing be allocated until it is opened again
 * @dev: the device
 *
 * Calls nest. While closed, the device answers as one that is full.
 *
 * Context: any.
 */
void dmirror_devmem_close(struct dmirror_device *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->devmem.lock, flags);
	dev->devmem.closed++;
	spin_unlock_irqrestore(&dev->devmem.lock, flags);
}

/**
 * dmirror_devmem_open() - undo dmirror_devmem_close()
 * @dev: the device
 *
 * Context: any.
 */
void dmirror_devmem_open(struct dmirror_device *dev)
{
	unsigned long flags;

	spin_lock_irqsave(&dev->devmem.lock, flags);
	dev->devmem.closed--;
	spin_unlock_irqrestore(&dev->devmem.lock, flags);
}

/**
 * dmirror_devmem_fail_once() - is the next allocation to fail?
 * @devmem: the device's memory
 * @mm: whose memory migrates
 *
 * Context: any.
 * Return: true, once, after somebody set fail_next to @mm.
 */
bool dmirror_devmem_fail_once(struct dmirror_devmem *devmem,
			      const struct mm_struct *mm)
{
	return READ_ONCE(devmem->fail_next) == mm &&
	       cmpxchg(&devmem->fail_next, mm, NULL) == mm;
}

static int claim_private(struct dev_pagemap *pagemap, const char *name, u64 size)
{
	struct resource *res;

	res = request_free_mem_region(&iomem_resource, size, name);
	if (IS_ERR(res))
		return PTR_ERR(res);
	pagemap->type = MEMORY_DEVICE_PRIVATE;
	pagemap->range.start = res->start;
	pagemap->range.end = res->end;
	return 0;
}

static int claim_coherent(struct dev_pagemap *pagemap, const char *name,
			  u64 start, u64 size)
{
	/* memremap_pages() would warn about System RAM. */
	if (region_intersects(start, size, IORESOURCE_SYSTEM_RAM,
			      IORES_DESC_NONE) != REGION_DISJOINT)
		return -EADDRINUSE;
	if (!request_mem_region(start, size, name))
		return -EBUSY;
	pagemap->type = MEMORY_DEVICE_COHERENT;
	pagemap->range.start = start;
	pagemap->range.end = start + size - 1;
	return 0;
}

/* From here on the range may be another device's. */
static void release_range(struct dmirror_devmem *devmem)
{
	struct range *range = &devmem->pagemap.range;

	WRITE_ONCE(devmem->first_pfn, NO_PFN);
	release_mem_region(range->start, range_len(range));
}

VISIBLE_IF_KUNIT void dmirror_blocks_free(struct dmirror_devmem *devmem)
{
	kvfree(devmem->blocks);
	kvfree(devmem->evicted);
	devmem->blocks = NULL;
	devmem->evicted = NULL;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_blocks_free);

VISIBLE_IF_KUNIT int dmirror_blocks_init(struct dmirror_devmem *devmem,
					 u64 size)
{
	unsigned long i;

	spin_lock_init(&devmem->lock);
	INIT_LIST_HEAD(&devmem->empty);
	INIT_LIST_HEAD(&devmem->partial);
	INIT_LIST_HEAD(&devmem->full);
	INIT_LIST_HEAD(&devmem->lru);
	devmem->closed = 0;
	devmem->fail_next = NULL;
	devmem->poisoned = 0;
	devmem->withheld = 0;
	devmem->nr_blocks = size / DMIRROR_BLOCK_SIZE;
	devmem->blocks = kvcalloc(devmem->nr_blocks, sizeof(*devmem->blocks),
				  GFP_KERNEL);
	devmem->evicted = kvcalloc(devmem->nr_blocks,
				   DMIRROR_BLOCK_PAGES *
				   sizeof(*devmem->evicted), GFP_KERNEL);
	if (!devmem->blocks || !devmem->evicted) {
		dmirror_blocks_free(devmem);
		return -ENOMEM;
	}
	for (i = 0; i < devmem->nr_blocks; i++) {
		list_add_tail(&devmem->blocks[i].link, &devmem->empty);
		INIT_LIST_HEAD(&devmem->blocks[i].lru);
	}
	return 0;
}
EXPORT_SYMBOL_IF_KUNIT(dmirror_blocks_init);

/* Have mm know the pages of a range that was claimed; returns where they are. */
static void *map_pages(struct dmirror_device *dev, struct dmirror_devmem *devmem)
{
	struct dev_pagemap *pagemap = &devmem->pagemap;
	void *base;

	pagemap->nr_range = 1;
	pagemap->ops = &dmirror_pagemap_ops;
	pagemap->owner = dev->owner;
	WRITE_ONCE(devmem->first_pfn, PHYS_PFN(pagemap->range.start));
	base = memremap_pages(pagemap, numa_node_id());
	if (IS_ERR(base))
		release_range(devmem);
	return base;
}

static void unmap_pages(struct dmirror_devmem *devmem)
{
	memunmap_pages(&devmem->pagemap);
	release_range(devmem);
}

/* Whatever the kind of its memory, what has no memory the CPU cannot address. */
static int placeholders_init(struct dmirror_device *dev, u64 size)
{
	struct dmirror_devmem *devmem = &dev->placeholders;
	void *base;
	int ret;

	ret = dmirror_blocks_init(devmem, size);
	if (ret || !size)
		return ret;
	devmem->no_memory = true;
	ret = claim_private(&devmem->pagemap, "dmirror placeholders", size);
	if (ret)
		goto free_blocks;
	base = map_pages(dev, devmem);
	if (!IS_ERR(base))
		return 0;
	ret = PTR_ERR(base);

free_blocks:
	dmirror_blocks_free(devmem);
	return ret;
}

static void placeholders_fini(struct dmirror_device *dev)
{
	if (dev->placeholders.nr_blocks)
		unmap_pages(&dev->placeholders);
	dmirror_blocks_free(&dev->placeholders);
}

/**
 * dmirror_devmem_init() - give a device its memory and start its engines
 * @dev: the device; its id, type, name, the start and the size of its memory
 *	are set
 *
 * Context: may sleep.
 * Return: 0; -ENOMEM; -ERANGE where physical address space has no room;
 * -EADDRINUSE if coherent memory overlaps System RAM; -EBUSY if it is claimed
 * by somebody else; or what memremap_pages() answers.
 */
int dmirror_devmem_init(struct dmirror_device *dev)
{
	bool private = dev->type == DMIRROR_MEMORY_PRIVATE;
	struct dmirror_devmem *devmem = &dev->devmem;
	void *base;
	int ret;

	ret = placeholders_init(dev, dmirror_placeholder_size());
	if (ret) {
		pr_err("dmirror%u: no %llu MiB of addresses for placeholders: error %d\n",
		       dev->id, dmirror_placeholder_size() / SZ_1M, ret);
		return ret;
	}
	ret = dmirror_blocks_init(devmem, dev->hw.size);
	if (ret)
		goto free_placeholders;

	if (private)
		ret = claim_private(&devmem->pagemap, dev->name, dev->hw.size);
	else
		ret = claim_coherent(&devmem->pagemap, dev->name, dev->start,
				     dev->hw.size);
	if (ret)
		goto free_blocks;
	base = map_pages(dev, devmem);
	if (IS_ERR(base)) {
		ret = PTR_ERR(base);
		goto free_blocks;
	}

	ret = dmirror_hw_start(&dev->hw, private ? NULL : base);
	if (!ret)
		return 0;

	unmap_pages(devmem);
free_blocks:
	dmirror_blocks_free(devmem);
free_placeholders:
	pr_err("dmirror%u: no %llu MiB of device memory at %#llx: error %d\n",
	       dev->id, dev->hw.size / SZ_1M, dev->start, ret);
	placeholders_fini(dev);
	return ret;
}

/**
 * dmirror_devmem_fini() - take a device's memory away and stop its engines
 * @dev: the device; all of its memory was evicted and it is closed
 *
 * Context: may sleep; waits for the last references to its pages.
 */
void dmirror_devmem_fini(struct dmirror_device *dev)
{
	unmap_pages(&dev->devmem);
	dmirror_hw_stop(&dev->hw);
	dmirror_blocks_free(&dev->devmem);
	placeholders_fini(dev);
}
