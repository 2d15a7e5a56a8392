/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver, and its own compat.h, use of 6.1 and 5.10 does not have.
 * Force-included before that, so that 5.10 looks like 6.1 where it can, and like a
 * 6.1 on which something always fails where it cannot: there is no eviction, no
 * exclusive access, no coherent memory, no memory failure of device pages and no
 * preference.
 */
#ifndef DMIRROR_COMPAT_5_10_H
#define DMIRROR_COMPAT_5_10_H

/* A notifier is told the owner under the name that it has got since. */
#define migrate_pgmap_owner	owner
#include <linux/mmu_notifier.h>

/* The last of a pagemap's callbacks gets one behind it that mm does not call. */
#define migrate_to_ram		migrate_to_ram)(struct vm_fault *vmf);	\
	int (*memory_failure)(struct dev_pagemap *pagemap,		\
			      unsigned long pfn, unsigned long nr,	\
			      int flags);				\
	vm_fault_t (*nothing
#include <linux/memremap.h>
#undef migrate_to_ram

#include <linux/device.h>
#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/memcontrol.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched/mm.h>
#include <linux/uaccess.h>

/*
 * The same of mm's structure with a member more behind its own. The compiler has mm
 * get the first part, with -fplan9-extensions.
 */
struct dmirror_migrate_vma {
	struct migrate_vma;
	struct page *fault_page;	/* mm does not hold it here, nor count it */
};

#define migrate_vma dmirror_migrate_vma

/* The patch changes how mm counts what it has collected: look at each time. */
static inline int dmirror_migrate_vma_setup(struct migrate_vma *args)
{
	int ret = migrate_vma_setup(args);
	unsigned long collected = 0, i;

	for (i = 0; !ret && i < args->npages; i++)
		collected += !!(args->src[i] & MIGRATE_PFN_MIGRATE);
	WARN(!ret && collected != args->cpages, "cpages is %lu, of %lu collected\n",
	     args->cpages, collected);
	return ret;
}

#define migrate_vma_setup dmirror_migrate_vma_setup

/* There are no folios: each is a page, and so is what the driver makes of them. */
struct folio {
	union {
		struct page page;
		struct {
			unsigned long flags;
			struct list_head lru;
			struct address_space *mapping;
		};
	};
};

static_assert(offsetof(struct folio, mapping) == offsetof(struct page, mapping));

#define page_folio(p)			((struct folio *)compound_head(p))
#define folio_page(folio, n)		(&(folio)->page + (n))
#define folio_pfn(folio)		page_to_pfn(&(folio)->page)
#define folio_zone(folio)		page_zone(&(folio)->page)
#define folio_order(folio)		compound_order(&(folio)->page)
#define folio_nr_pages(folio)		compound_nr(&(folio)->page)
#define folio_lock(folio)		lock_page(&(folio)->page)
#define folio_unlock(folio)		unlock_page(&(folio)->page)
#define folio_put(folio)		put_page(&(folio)->page)
#define folio_mark_dirty(folio)		set_page_dirty(&(folio)->page)
#define folio_test_anon(folio)		PageAnon(&(folio)->page)
#define folio_test_large(folio)		PageCompound(&(folio)->page)
#define folio_test_swapbacked(folio)	PageSwapBacked(&(folio)->page)
#define folio_test_mlocked(folio)	PageMlocked(&(folio)->page)
#define folio_test_reclaim(folio)	PageReclaim(&(folio)->page)
#define folio_test_referenced(folio)	PageReferenced(&(folio)->page)
#define folio_test_workingset(folio)	PageWorkingset(&(folio)->page)
#define folio_test_clear_mlocked(folio)	TestClearPageMlocked(&(folio)->page)
#define folio_clear_referenced(folio)	ClearPageReferenced(&(folio)->page)
#define folio_clear_reclaim(folio)	ClearPageReclaim(&(folio)->page)
#define folio_clear_workingset(folio)	ClearPageWorkingset(&(folio)->page)

#define dmirror_clear(bit, folio)	__clear_bit(bit, &(folio)->page.flags)
#define __folio_clear_active(folio)	dmirror_clear(PG_active, folio)
#define __folio_clear_dirty(folio)	dmirror_clear(PG_dirty, folio)
#define __folio_clear_swapbacked(folio)	dmirror_clear(PG_swapbacked, folio)
#define __folio_clear_unevictable(folio) dmirror_clear(PG_unevictable, folio)

static inline struct mem_cgroup *folio_memcg(struct folio *folio)
{
#ifdef CONFIG_MEMCG
	return folio->page.mem_cgroup;
#else
	return NULL;
#endif
}

/* The kernel's does this too, and has for interrupts what modules cannot reach. */
static inline struct mem_cgroup *dmirror_set_active_memcg(struct mem_cgroup *new)
{
	struct mem_cgroup *old = NULL;

#ifdef CONFIG_MEMCG
	old = current->active_memcg;
	current->active_memcg = new;
#endif
	return old;
}

#define set_active_memcg dmirror_set_active_memcg

static inline struct folio *folio_alloc(gfp_t gfp, unsigned int order)
{
	return (struct folio *)alloc_pages(gfp, order);
}

/* One by one; the caller takes what it gets. */
static inline unsigned long alloc_pages_bulk_array(gfp_t gfp,
						   unsigned long nr,
						   struct page **pages)
{
	unsigned long i;

	for (i = 0; i < nr; i++) {
		if (!pages[i])
			pages[i] = alloc_page(gfp);
		if (!pages[i])
			break;
	}
	return i;
}

static inline struct folio *vma_alloc_folio(gfp_t gfp, int order,
					    struct vm_area_struct *vma,
					    unsigned long addr, bool hugepage)
{
	return (struct folio *)alloc_pages_vma(gfp, order, vma, addr,
					       numa_node_id(), hugepage);
}

static inline struct vm_area_struct *vma_lookup(struct mm_struct *mm,
						unsigned long addr)
{
	struct vm_area_struct *vma = find_vma(mm, addr);

	return vma && vma->vm_start <= addr ? vma : NULL;
}

/* No kernel that has device memory has high memory. */
#define kmap_local_page(page)		page_address(page)
#define kunmap_local(addr)		((void)(addr))

/*
 * A page is enough of an answer. 5.10's own way to have one writable writes to it,
 * which the program would see if the device then does not.
 */
static inline size_t dmirror_fault_in(unsigned long addr, size_t size,
				      unsigned int flags)
{
	size_t part = min_t(size_t, size, PAGE_SIZE - offset_in_page(addr));
	struct mm_struct *mm = current->mm;
	bool unlocked = false;
	int ret;

	mmap_read_lock(mm);
	ret = fixup_user_fault(mm, addr, flags, &unlocked);
	mmap_read_unlock(mm);
	return ret ? size : size - part;
}

#define fault_in_readable(addr, size)					\
	dmirror_fault_in((unsigned long)(addr), size, 0)
#define fault_in_safe_writeable(addr, size)				\
	dmirror_fault_in((unsigned long)(addr), size, FAULT_FLAG_WRITE)

/*
 * hmm_range_fault() answers -EFAULT where a page is in the memory of another device,
 * instead of having it brought back, and does not say where that is. Look at each
 * page, have those that are not there faulted in as for the CPU, and ask for another
 * turn. What is an error afterwards is one.
 */
static inline int dmirror_fault_foreign(const struct hmm_range *range)
{
	unsigned int write = range->default_flags & HMM_PFN_REQ_WRITE ?
			     FAULT_FLAG_WRITE : 0;
	struct mm_struct *mm = range->notifier->mm;
	unsigned long addr, pfn;
	int ret = -EFAULT;

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE) {
		struct hmm_range page = {
			.notifier	   = range->notifier,
			.notifier_seq	   = range->notifier_seq,
			.start		   = addr,
			.end		   = addr + PAGE_SIZE,
			.hmm_pfns	   = &pfn,
			.dev_private_owner = range->dev_private_owner,
		};

		pfn = 0;
		ret = hmm_range_fault(&page);
		if (ret)
			return ret;
		ret = -EFAULT;
		if (pfn)
			continue;
		if (write && !(find_vma(mm, addr)->vm_flags & VM_WRITE))
			return -EPERM;
		return fixup_user_fault(mm, addr, write, NULL) ?: -EBUSY;
	}
	return ret;
}

static inline int dmirror_hmm_range_fault(struct hmm_range *range)
{
	int ret = hmm_range_fault(range);

	if (ret == -EFAULT && range->default_flags & HMM_PFN_REQ_FAULT)
		ret = dmirror_fault_foreign(range);
	return ret;
}

#define hmm_range_fault dmirror_hmm_range_fault

/* Nor are there files of that kind. */
#define SECRETMEM_MAGIC			0x5345434d

/* A page that is not in use has one reference here, not none. */
static inline void zone_device_page_init(struct page *page)
{
	get_page(page);
	lock_page(page);
}

/* No memory of a device is mapped by the CPU. */
#define MEMORY_DEVICE_COHERENT		(MEMORY_DEVICE_PRIVATE + 0x100)
#define MIGRATE_VMA_SELECT_DEVICE_COHERENT 0UL
#define is_device_coherent_page(page)	((void)(page), false)

/* mm finds no page by its pfn: none of them can be had, and so none is evicted. */
static inline int migrate_device_range(unsigned long *src, unsigned long start,
				       unsigned long npages)
{
	memset(src, 0, npages * sizeof(*src));
	return 0;
}

static inline void migrate_device_pages(unsigned long *src, unsigned long *dst,
					unsigned long npages)
{
}

static inline void migrate_device_finalize(unsigned long *src,
					   unsigned long *dst,
					   unsigned long npages)
{
}

/* The event is never sent. */
#define MMU_NOTIFY_EXCLUSIVE		((enum mmu_notifier_event)-1)

static inline int make_device_exclusive_range(struct mm_struct *mm,
					      unsigned long start,
					      unsigned long end,
					      struct page **pages, void *owner)
{
	return -EOPNOTSUPP;
}

#endif /* DMIRROR_COMPAT_5_10_H */
