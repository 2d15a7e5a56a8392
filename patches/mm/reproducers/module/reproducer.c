// SPDX-License-Identifier: GPL-2.0
/*
 * What no program can do with test_hmm: a driver with a device of its own, which
 * works on memory of the process that loads it. Parameter test says what; that it
 * does not load means that something was wrong.
 */
#include <linux/highmem.h>
#include <linux/hmm.h>
#include <linux/huge_mm.h>
#include <linux/kthread.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/mman.h>
#include <linux/mmu_notifier.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/uaccess.h>

#define VALUE	42
#define TAIL	8
#define ROUNDS	1000000

static char *test = "";
module_param(test, charp, 0);
MODULE_PARM_DESC(test, "unlocked, freed, huge, zapped, gone or resized");

static unsigned long src[HPAGE_PMD_NR], dst[HPAGE_PMD_NR];

static DECLARE_COMPLETION(freed);

static void device_folio_free(struct folio *folio)
{
	complete(&freed);
}

static vm_fault_t device_fault(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

static const struct dev_pagemap_ops device_ops = {
	.folio_free	= device_folio_free,
	.migrate_to_ram	= device_fault,
};

static struct dev_pagemap device = {
	.type		= MEMORY_DEVICE_PRIVATE,
	.ops		= &device_ops,
	.owner		= &device,
	.nr_range	= 1,
};

/* Migrates what is at @addr to @page, locked or not. mmap_lock is held. */
static int migrate_to(struct page *page, unsigned long addr, unsigned long len,
		      unsigned long flags, bool keep)
{
	struct migrate_vma args = {
		.vma		= vma_lookup(current->mm, addr),
		.src		= src,
		.dst		= dst,
		.start		= addr,
		.end		= addr + len,
		.pgmap_owner	= device.owner,
		.flags		= flags,
	};
	struct page *old;
	int ret = migrate_vma_setup(&args);

	if (ret)
		return ret;
	old = migrate_pfn_to_page(src[0]);
	if (src[0] & MIGRATE_PFN_MIGRATE) {
		if (old && !is_zone_device_page(old) && !is_zone_device_page(page))
			copy_highpage(page, old);
		get_page(page);
		dst[0] = migrate_pfn(page_to_pfn(page)) |
			 (src[0] & MIGRATE_PFN_COMPOUND);
	}
	migrate_vma_pages(&args);
	if (!old || !(src[0] & MIGRATE_PFN_MIGRATE))
		ret = -EBUSY;
	else if (keep)
		get_page(old);
	migrate_vma_finalize(&args);
	return ret;
}

/* The destination is not locked, as nobody should do. */
static int test_unlocked(unsigned long addr)
{
	struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);
	unsigned long value;
	int ret;

	if (!page)
		return -ENOMEM;
	mmap_read_lock(current->mm);
	ret = migrate_to(page, addr, PAGE_SIZE, MIGRATE_VMA_SELECT_SYSTEM, false);
	mmap_read_unlock(current->mm);
	if (!ret && PageLocked(page))
		ret = -EDEADLK;
	if (!ret && (get_user(value, (unsigned long __user *)addr) || value != VALUE))
		ret = -EIO;
	put_page(page);
	return ret;
}

/* A page of the device is to be evicted that has been evicted a moment ago. */
static int test_freed(unsigned long addr)
{
	struct page *page = pfn_to_page(PHYS_PFN(device.range.start));
	struct page *back = alloc_page(GFP_HIGHUSER_MOVABLE);
	int ret;

	if (!back)
		return -ENOMEM;
	mmap_read_lock(current->mm);
	zone_device_page_init(page, &device, 0);
	ret = migrate_to(page, addr, PAGE_SIZE, MIGRATE_VMA_SELECT_SYSTEM, false);
	put_page(page);
	if (!ret) {
		lock_page(back);
		ret = migrate_to(back, addr, PAGE_SIZE,
				 MIGRATE_VMA_SELECT_DEVICE_PRIVATE, true);
	}
	mmap_read_unlock(current->mm);
	put_page(back);
	if (ret)
		return ret;

	/* The reference that was kept is that of somebody else who evicts. */
	src[0] = page_to_pfn(page);
	dst[0] = 0;
	migrate_device_pfns(src, 1);
	put_page(page);
	if (src[0] & MIGRATE_PFN_MIGRATE) {
		pr_err("%#lx is to be evicted, and nobody maps it\n",
		       page_to_pfn(page));
		ret = -EIO;
		back = alloc_page(GFP_HIGHUSER_MOVABLE | __GFP_NOFAIL);
		lock_page(back);
		dst[0] = migrate_pfn(page_to_pfn(back));
	}
	migrate_device_pages(src, dst, 1);
	migrate_device_finalize(src, dst, 1);
	return ret;
}

static bool never_invalidated(struct mmu_interval_notifier *notifier,
			      const struct mmu_notifier_range *range,
			      unsigned long seq)
{
	mmu_interval_set_seq(notifier, seq);
	return true;
}

static const struct mmu_interval_notifier_ops notifier_ops = {
	.invalidate	= never_invalidated,
};

/* What hmm_range_fault() says of a page in the middle of a huge one */
static int test_huge(unsigned long addr)
{
	unsigned long pfn = PHYS_PFN(device.range.start), found = 0;
	struct mmu_interval_notifier notifier;
	struct hmm_range range = {
		.notifier		= &notifier,
		.start			= addr + 5 * PAGE_SIZE,
		.end			= addr + 6 * PAGE_SIZE,
		.hmm_pfns		= &found,
		.dev_private_owner	= device.owner,
	};
	int ret;

	ret = mmu_interval_notifier_insert(&notifier, current->mm, addr,
					   HPAGE_PMD_SIZE, &notifier_ops);
	if (ret)
		return ret;
	zone_device_page_init(pfn_to_page(pfn), &device, HPAGE_PMD_ORDER);
	mmap_read_lock(current->mm);
	ret = migrate_to(pfn_to_page(pfn), addr, HPAGE_PMD_SIZE,
			 MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND,
			 false);
	put_page(pfn_to_page(pfn));
	range.notifier_seq = mmu_interval_read_begin(&notifier);
	if (!ret)
		ret = hmm_range_fault(&range);
	mmap_read_unlock(current->mm);
	mmu_interval_notifier_remove(&notifier);
	found &= ~HMM_PFN_FLAGS;
	if (!ret && found != pfn + 5) {
		pr_err("page 5 of %#lx is said to be %#lx\n", pfn, found);
		ret = -EIO;
	}
	return ret;
}

/* A huge page is unmapped while it is on its way from the device. */
static int test_zapped(unsigned long addr)
{
	struct page *page = pfn_to_page(PHYS_PFN(device.range.start));
	int ret, count;

	zone_device_page_init(page, &device, HPAGE_PMD_ORDER);
	mmap_read_lock(current->mm);
	ret = migrate_to(page, addr, HPAGE_PMD_SIZE,
			 MIGRATE_VMA_SELECT_SYSTEM | MIGRATE_VMA_SELECT_COMPOUND,
			 false);
	mmap_read_unlock(current->mm);
	if (!ret) {
		memset(src, 0, sizeof(src));
		memset(dst, 0, sizeof(dst));
		src[0] = page_to_pfn(page);
		migrate_device_pfns(src, HPAGE_PMD_NR);
		if (!(src[0] & MIGRATE_PFN_MIGRATE))
			ret = -EBUSY;
		count = page_count(page);
		vm_munmap(addr, HPAGE_PMD_SIZE);
		if (page_count(page) != count) {
			pr_err("%d references, and then %d\n", count,
			       page_count(page));
			get_page(page);
			ret = -EIO;
		}
		migrate_device_pages(src, dst, HPAGE_PMD_NR);
		migrate_device_finalize(src, dst, HPAGE_PMD_NR);
	}
	put_page(page);
	return ret;
}

/* While a page is evicted, all of the memory that it is of is unmapped. */
static int test_gone(unsigned long addr)
{
	struct page *page = pfn_to_page(PHYS_PFN(device.range.start));
	struct vm_area_struct *vma;
	struct anon_vma *anon_vma;
	int ret;

	zone_device_page_init(page, &device, 0);
	mmap_read_lock(current->mm);
	ret = migrate_to(page, addr, PAGE_SIZE, MIGRATE_VMA_SELECT_SYSTEM, false);
	vma = vma_lookup(current->mm, addr);
	mmap_read_unlock(current->mm);
	put_page(page);
	if (ret)
		return ret;

	src[0] = page_to_pfn(page);
	dst[0] = 0;
	migrate_device_pfns(src, 1);
	anon_vma = (struct anon_vma *)((unsigned long)page->mapping &
				       ~FOLIO_MAPPING_FLAGS);
	vm_munmap(vma->vm_start, vma->vm_end - vma->vm_start);
	/* It is in a slab whose pages stay for an RCU grace period. */
	if (!(src[0] & MIGRATE_PFN_MIGRATE)) {
		ret = -EBUSY;
	} else if (!atomic_read(&anon_vma->refcount)) {
		pr_err("migrate_device_finalize() will look at a free anon_vma\n");
		ret = -EIO;
	}
	migrate_device_pages(src, dst, 1);
	migrate_device_finalize(src, dst, 1);
	return ret;
}

/* Makes a folio of the device's memory, as a driver does who allocates, and frees it. */
static void make_folio(struct page *page, unsigned int order)
{
	reinit_completion(&freed);
	zone_device_page_init(page, &device, order);
	unlock_page(page);
	put_page(page);
	wait_for_completion(&freed);
}

static int make_folios(void *first)
{
	while (!kthread_should_stop()) {
		make_folio(first, HPAGE_PMD_ORDER);
		make_folio((struct page *)first + TAIL, 0);
		cond_resched();
	}
	return 0;
}

/* A page is to be evicted that is free, and then the tail of a large folio. */
static int test_resized(void)
{
	unsigned long pfn = PHYS_PFN(device.range.start);
	struct task_struct *task = kthread_run(make_folios, pfn_to_page(pfn),
					       "reproducer");
	int i;

	if (IS_ERR(task))
		return PTR_ERR(task);
	for (i = 0; i < ROUNDS; i++) {
		src[0] = pfn + TAIL;
		dst[0] = 0;
		migrate_device_pfns(src, 1);
		migrate_device_pages(src, dst, 1);
		migrate_device_finalize(src, dst, 1);
		cond_resched();
	}
	return kthread_stop(task);
}

/* With a huge page at @addr */
static int run(unsigned long addr)
{
	if (put_user((unsigned long)VALUE, (unsigned long __user *)addr))
		return -EFAULT;
	if (!strcmp(test, "unlocked"))
		return test_unlocked(addr);
	if (!strcmp(test, "freed"))
		return test_freed(addr);
	if (!strcmp(test, "huge"))
		return test_huge(addr);
	if (!strcmp(test, "zapped"))
		return test_zapped(addr);
	if (!strcmp(test, "gone"))
		return test_gone(addr);
	if (!strcmp(test, "resized"))
		return test_resized();
	return -EINVAL;
}

static int __init reproducer_init(void)
{
	struct resource *res;
	unsigned long addr;
	void *p;
	int ret;

	res = request_free_mem_region(&iomem_resource, HPAGE_PMD_SIZE, "reproducer");
	if (IS_ERR(res))
		return PTR_ERR(res);
	device.range.start = res->start;
	device.range.end = res->end;
	p = memremap_pages(&device, NUMA_NO_NODE);
	ret = PTR_ERR_OR_ZERO(p);
	if (ret)
		goto out_region;

	addr = vm_mmap(NULL, 0, 2 * HPAGE_PMD_SIZE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, 0);
	ret = IS_ERR_VALUE(addr) ? (int)addr : run(ALIGN(addr, HPAGE_PMD_SIZE));
	if (!IS_ERR_VALUE(addr))
		vm_munmap(addr, 2 * HPAGE_PMD_SIZE);

	memunmap_pages(&device);
out_region:
	release_mem_region(device.range.start, range_len(&device.range));
	return ret;
}

static void __exit reproducer_exit(void)
{
}

module_init(reproducer_init);
module_exit(reproducer_exit);
MODULE_DESCRIPTION("Has mm do what no program can have it do with test_hmm");
MODULE_LICENSE("GPL");
