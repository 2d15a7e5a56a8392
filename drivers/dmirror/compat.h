/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the driver uses of the newest kernel and 6.1 or 6.12 do not have.
 * Force-included where there is this file, so that no other one knows about
 * versions: in builds outside of a kernel tree, and in trees of those kernels.
 */
#ifndef DMIRROR_COMPAT_H
#define DMIRROR_COMPAT_H

#include <linux/migrate.h>

#include <linux/eventfd.h>
#include <linux/mmzone.h>

#ifndef MAX_PAGE_ORDER		/* came with 6.8, as did signals without a count */
#define eventfd_signal(ctx)		eventfd_signal(ctx, 1)
#define folio_memcg_charged(folio)	(!!folio_memcg(folio))

static inline void folio_clear_large_rmappable(struct folio *folio)
{
}
#endif

#ifndef MIGRATE_PFN_COMPOUND	/* came with large device-private folios */

#include <linux/err.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/huge_mm.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>

/* The namespace is a string since 6.13. */
#undef MODULE_IMPORT_NS
#define MODULE_IMPORT_NS(ns)		MODULE_INFO(import_ns, ns)

/* Nothing is ever collected, and so nothing is ever migrated, as one folio. */
#define MIGRATE_PFN_COMPOUND		0UL
#define MIGRATE_VMA_SELECT_COMPOUND	0UL

/* Asked only of holes that would become large folios. */
static inline bool dmirror_vma_thp_disabled(struct vm_area_struct *vma,
					    unsigned long flags, bool forced)
{
	return true;
}

#undef vma_thp_disabled
#define vma_thp_disabled dmirror_vma_thp_disabled

#define alloc_pages_bulk(gfp, nr, pages) alloc_pages_bulk_array(gfp, nr, pages)

static inline struct folio *dmirror_vma_alloc_folio(gfp_t gfp, int order,
						    struct vm_area_struct *vma,
						    unsigned long addr)
{
	return vma_alloc_folio(gfp, order, vma, addr, false);
}

#undef vma_alloc_folio
#define vma_alloc_folio dmirror_vma_alloc_folio

#ifndef kzalloc_obj	/* 6.12 got them in a stable release */
#define kzalloc_obj(obj, gfp)		kzalloc(sizeof(obj), gfp)
#define kvmalloc_obj(obj, gfp)		kvmalloc(sizeof(obj), gfp)
#endif

static inline struct dev_pagemap *page_pgmap(const struct page *page)
{
	return page->pgmap;
}

static inline void zone_device_folio_init(struct folio *folio,
					  struct dev_pagemap *pgmap,
					  unsigned int order)
{
	zone_device_page_init(folio_page(folio, 0));
}

/* The callback takes a page here: define one that calls the driver's. */
void __dmirror_devmem_folio_free(struct folio *folio);
#define folio_free	page_free
#define dmirror_devmem_folio_free(arg)					\
	dmirror_devmem_folio_free(struct page *page)			\
	{								\
		__dmirror_devmem_folio_free(page_folio(page));		\
	}								\
	void __dmirror_devmem_folio_free(arg)

static inline int migrate_device_pfns(unsigned long *pfns, unsigned long npages)
{
	unsigned long i, nr;
	int ret = 0;

	/* migrate_device_range() takes runs; the array serves as its output. */
	for (i = 0; i < npages && !ret; i += nr) {
		for (nr = 1; i + nr < npages && pfns[i + nr] == pfns[i] + nr;)
			nr++;
		ret = migrate_device_range(pfns + i, pfns[i], nr);
	}
	return ret;
}

/*
 * An empty migration splits a huge page that one PMD maps. It is to come first:
 * getting the page, below, would leave it whole and mapped by PTEs, and then
 * nothing that a module can call splits it.
 */
static inline void dmirror_split_huge_page(struct mm_struct *mm,
					   unsigned long addr, void *owner)
{
	unsigned long src = 0, dst = 0;
	struct migrate_vma args = {
		.vma		= vma_lookup(mm, addr),
		.start		= addr,
		.end		= addr + PAGE_SIZE,
		.src		= &src,
		.dst		= &dst,
		.pgmap_owner	= owner,
		.flags		= MIGRATE_VMA_SELECT_SYSTEM,
	};

	/* These leave migration entries behind where ksmd is at work. */
	if (!args.vma || args.vma->vm_flags & VM_MERGEABLE ||
	    migrate_vma_setup(&args))
		return;
	migrate_vma_pages(&args);
	migrate_vma_finalize(&args);
}

static inline struct page *make_device_exclusive(struct mm_struct *mm,
						 unsigned long addr,
						 void *owner,
						 struct folio **foliop)
{
	struct page *page = NULL;
	int ret;

	dmirror_split_huge_page(mm, addr, owner);
	ret = make_device_exclusive_range(mm, addr, addr + PAGE_SIZE, &page,
					  owner);
	if (ret < 0)
		return ERR_PTR(ret);
	if (!page)
		return ERR_PTR(-EBUSY);
	*foliop = page_folio(page);
	return page;
}

#endif /* MIGRATE_PFN_COMPOUND */
#endif /* DMIRROR_COMPAT_H */
