// SPDX-License-Identifier: GPL-2.0
/*
 * Device-exclusive access: how a device does atomic operations on system
 * memory that its bus cannot do.
 *
 * make_device_exclusive() replaces the CPU's entry by one that faults, and
 * asking for it is itself an invalidation of this mirror. So the sequence
 * count, which would always say "retry", cannot tell whether somebody else
 * changed the page in between. A claim can: the notifier marks it as lost for
 * whatever this mirror did not cause.
 */
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/rmap.h>
#include <linux/sched.h>

#include "dmirror.h"

/* A page that somebody else holds locked just now is worth another try. */
#define EXCLUSIVE_TRIES	16

/*
 * Under mmap_lock until the folio is unlocked: fork fails where it finds that such a
 * page is locked.
 */
static int take_page(struct dmirror_svm *svm, struct dmirror_chunk *chunk,
		     const struct dmirror_claim *claim,
		     struct dmirror_pt_stash *stash)
{
	struct folio *folio;
	struct page *page;
	int ret = -EAGAIN;

	page = make_device_exclusive(svm->mm, claim->addr, svm, &folio);
	if (IS_ERR(page))
		return PTR_ERR(page);

	/* The CPU cannot take the page back before the folio is unlocked. */
	down_write(&svm->lock);
	if (dmirror_page_device(page)) {
		ret = -EOPNOTSUPP;
	} else if (!claim->lost && !dmirror_should_lose_race()) {
		dmirror_chunk_keep(chunk);
		/* Nothing tells of what the device writes from here on. */
		folio_mark_dirty(folio);
		ret = dmirror_pt_map(&svm->pt, claim->addr, 0,
				     PFN_PHYS(page_to_pfn(page)) |
				     DPTE_SYSTEM | DPTE_WRITE | DPTE_ATOMIC,
				     stash);
	}
	up_write(&svm->lock);
	folio_unlock(folio);
	folio_put(folio);
	/*
	 * A device's page is given back at once, which takes a fault: otherwise it could
	 * not be evicted until the program touches it.
	 */
	if (ret == -EOPNOTSUPP)
		fixup_user_fault(svm->mm, claim->addr,
				 FAULT_FLAG_WRITE | FAULT_FLAG_REMOTE, NULL);
	return ret;
}

/*
 * One attempt. Returns 0 with the page mapped, -EAGAIN if the range changed
 * meanwhile, -EOPNOTSUPP if it is coherent memory, or what make_device_exclusive()
 * answers.
 */
static int claim_page(struct dmirror_svm *svm, struct dmirror_chunk *chunk,
		      u64 addr, struct dmirror_pt_stash *stash)
{
	struct dmirror_claim claim = { .addr = addr };
	int ret;

	down_write(&svm->lock);
	list_add(&claim.link, &svm->claims);
	up_write(&svm->lock);
	/* Whoever told the mirror before that may still be at the page. */
	mmu_interval_read_begin(&chunk->notifier);

	ret = mmap_read_lock_killable(svm->mm);
	if (!ret) {
		ret = take_page(svm, chunk, &claim, stash);
		mmap_read_unlock(svm->mm);
	}

	down_write(&svm->lock);
	list_del(&claim.link);
	up_write(&svm->lock);
	return ret;
}

static int try_exclusive(struct dmirror_svm *svm, u64 addr,
			 struct dmirror_pt_stash *stash)
{
	struct dmirror_chunk *chunk = dmirror_chunk_get(svm, addr);
	int ret;

	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	ret = claim_page(svm, chunk, addr, stash);
	dmirror_chunk_put(chunk);
	return ret;
}

/*
 * Coherent memory of this device goes to system memory, to be had there. Returns 0 if
 * it did.
 */
static int bring_back(struct dmirror_svm *svm, u64 addr)
{
	struct dmirror_migrate_stats stats = {};
	int ret;

	ret = dmirror_migrate_range(svm, DMIRROR_TARGET_SYSTEM, addr,
				    addr + PAGE_SIZE, &stats);
	if (ret || stats.moved)
		return ret;
	return stats.busy ? -EBUSY : -EOPNOTSUPP;
}

/**
 * dmirror_exclusive_page() - give the device exclusive access to a page
 * @svm: the mirror
 * @addr: of the page, page aligned
 *
 * A page on the device comes back to system memory first. The access lasts
 * until the CPU touches the page.
 *
 * Context: may sleep and take mmap_lock; the caller holds a reference on the
 * users of svm->mm.
 * Return: 0; -EFAULT, -EPERM, -ENODATA or -EHWPOISON as dmirror_fault_range();
 * -EBUSY if the page cannot be had, as for a part of a huge page that is mapped by
 * PTEs on kernels before 6.15; -EBUSY, on newer kernels -EOPNOTSUPP, if it is not
 * anonymous; -EOPNOTSUPP if it is in the coherent memory of another device; -EIO if
 * it could not be copied back; -ENOMEM; -EINTR on a fatal signal or if the mirror was
 * stopped.
 */
int dmirror_exclusive_page(struct dmirror_svm *svm, u64 addr)
{
	struct dmirror_pt_stash stash = { .nr = 0 };
	unsigned int busy = 0, foreign = 0;
	u64 fault_addr;
	int ret;

	for (;; cond_resched()) {
		/*
		 * Have the page present and writable first, so that taking it
		 * does not fault, which would count as somebody else's change.
		 */
		ret = dmirror_fault_range(svm, addr, addr + PAGE_SIZE, true,
					  &fault_addr);
		if (ret)
			break;
		ret = dmirror_pt_stash_fill(&stash, 0, GFP_KERNEL_ACCOUNT);
		if (ret)
			break;
		ret = try_exclusive(svm, addr, &stash);
		if (ret == -EOPNOTSUPP) {
			ret = bring_back(svm, addr);
			/* Another one may have brought it back just before. */
			if (!ret || (ret == -EOPNOTSUPP && !foreign++))
				continue;
		}
		if (ret == -EBUSY && ++busy < EXCLUSIVE_TRIES)
			continue;
		if (ret != -EAGAIN)
			break;
	}
	dmirror_pt_stash_drain(&stash);
	if (!ret) {
		atomic64_inc(&svm->dev->counters.exclusive);
		WRITE_ONCE(svm->had_exclusive, true);
	}
	return ret;
}

/*
 * The device's last resort: an atomic operation that the bus carries out on
 * the page, pinned meanwhile, where the CPU may use it at the same time.
 */
static int bus_atomic(struct dmirror_hw_job *job)
{
	struct page *page;
	int ret;

	ret = pin_user_pages_fast(job->addr & PAGE_MASK, 1, FOLL_WRITE, &page);
	if (ret < 0)
		return ret;
	if (!ret)
		return -EFAULT;

	job->result = dmirror_hw_bus_atomic(page, job);
	unpin_user_pages_dirty_lock(&page, 1, true);
	return 0;
}

static bool maps_local(struct dmirror_svm *svm, u64 addr)
{
	u64 dpte;

	down_read(&svm->lock);
	dpte = dmirror_pt_lookup(&svm->pt, addr);
	up_read(&svm->lock);
	return dpte && !(dpte & (DPTE_SYSTEM | DPTE_PEER));
}

/**
 * dmirror_atomic() - have the device do an atomic operation
 * @svm: the mirror, of the caller's own address space
 * @job: the operation
 * @flags: set to one of enum dmirror_atomic_flag
 *
 * Context: may sleep and take mmap_lock; the caller holds a reference on the
 * users of svm->mm.
 * Return: 0, -EFAULT, -EPERM, -ENODATA, -EHWPOISON, -EIO, -ENOMEM or -EINTR as
 * dmirror_exclusive_page(), with job->fault_addr set.
 */
int dmirror_atomic(struct dmirror_svm *svm, struct dmirror_hw_job *job,
		   u32 *flags)
{
	u64 page = job->addr & PAGE_MASK;
	u64 fault_addr;
	int ret;

	job->fault_addr = job->addr;
	for (;; cond_resched()) {
		down_read(&svm->lock);
		ret = dmirror_hw_run(&svm->dev->hw, &svm->pt, job);
		up_read(&svm->lock);
		if (!ret) {
			*flags = job->local ? DMIRROR_ATOMIC_LOCAL :
					      DMIRROR_ATOMIC_EXCLUSIVE;
			return 0;
		}

		ret = dmirror_fault_range(svm, page, page + PAGE_SIZE, true,
					  &fault_addr);
		if (ret)
			return ret;
		if (maps_local(svm, page))
			continue;

		ret = dmirror_exclusive_page(svm, page);
		if (ret == -EBUSY || ret == -EOPNOTSUPP) {
			*flags = DMIRROR_ATOMIC_BUS;
			return bus_atomic(job);
		}
		if (ret)
			return ret;
	}
}
