// SPDX-License-Identifier: GPL-2.0
/*
 * One mirrored address space: its lifetime and its invalidation.
 *
 * The notifier covers the whole address space and filters nothing. In
 * particular it does not skip the invalidations that this device's own
 * migrations cause: dropping the device's entries there, and waiting for its
 * engines by taking the lock, is what makes it safe to copy the page, and other
 * mirrors of the same memory, on the same device too, need it just as much.
 */
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dmirror.h"
#include "trace.h"

/*
 * Tell those who are making a page exclusive that they have lost it, see
 * exclusive.c. Not if it is one of them who causes this: mm says who asks for
 * these two events. svm->lock is held for writing.
 */
static void lose_claims(struct dmirror_svm *svm,
			const struct mmu_notifier_range *range)
{
	struct dmirror_claim *claim;

	if ((range->event == MMU_NOTIFY_EXCLUSIVE ||
	     range->event == MMU_NOTIFY_MIGRATE) && range->owner == svm)
		return;
	list_for_each_entry(claim, &svm->claims, link)
		if (claim->addr >= range->start && claim->addr < range->end)
			claim->lost = true;
}

/*
 * The CPU's page table is about to change between range->start and range->end.
 * May be called in reclaim and under any lock of mm; sleeps only where the
 * range is blockable.
 */
static bool dmirror_svm_invalidate(struct mmu_interval_notifier *notifier,
				   const struct mmu_notifier_range *range,
				   unsigned long seq)
{
	struct dmirror_svm *svm = container_of(notifier, struct dmirror_svm,
					       notifier);

	if (mmu_notifier_range_blockable(range))
		down_write(&svm->lock);
	else if (!down_write_trylock(&svm->lock))
		return false;

	mmu_interval_set_seq(notifier, seq);
	lose_claims(svm, range);
	dmirror_pt_unmap(&svm->pt, range->start, range->end - 1);
	up_write(&svm->lock);

	atomic64_inc(&svm->dev->counters.invalidations);
	atomic64_inc(&svm->invalidations);
	trace_dmirror_invalidate(svm->dev->id, range->event, range->start,
				 range->end);
	return true;
}

static const struct mmu_interval_notifier_ops dmirror_svm_ops = {
	.invalidate = dmirror_svm_invalidate,
};

static void svm_lock_init(struct dmirror_svm *svm)
{
	static struct lock_class_key key;

	__init_rwsem(&svm->lock, "dmirror_svm", &key);
}

/**
 * dmirror_svm_teach_lockdep() - have lockdep know the order before it is used
 *
 * The lock is taken under mmap_lock and in reclaim, even if no test ever gets
 * there.
 *
 * Context: module init; may sleep.
 */
void dmirror_svm_teach_lockdep(void)
{
	struct dmirror_svm *svm;

	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	svm = kzalloc_obj(*svm, GFP_KERNEL);
	if (!svm)
		return;
	svm_lock_init(svm);
	/* There is no mm when the driver is built in. */
	if (current->mm)
		mmap_read_lock(current->mm);
	fs_reclaim_acquire(GFP_KERNEL);
	down_write(&svm->lock);
	up_write(&svm->lock);
	fs_reclaim_release(GFP_KERNEL);
	if (current->mm)
		mmap_read_unlock(current->mm);
	kfree(svm);
}

/**
 * dmirror_svm_create() - mirror the caller's address space
 * @dev: the device that is to mirror it
 *
 * Context: may sleep; takes mmap_lock.
 * Return: the mirror; -EINVAL if the caller has no address space; -ENOMEM; or
 * what mmu_interval_notifier_insert() answers.
 */
struct dmirror_svm *dmirror_svm_create(struct dmirror_device *dev)
{
	struct dmirror_svm *svm;
	int ret;

	if (!current->mm)
		return ERR_PTR(-EINVAL);

	svm = kzalloc_obj(*svm, GFP_KERNEL_ACCOUNT);
	if (!svm)
		return ERR_PTR(-ENOMEM);
	svm->dev = dev;
	svm->mm = current->mm;
	svm_lock_init(svm);
	INIT_LIST_HEAD(&svm->claims);
	spin_lock_init(&svm->jobs_lock);
	INIT_LIST_HEAD(&svm->faults);
	INIT_WORK(&svm->fault_work, dmirror_serve_faults);
	INIT_LIST_HEAD(&svm->jobs);

	ret = mmu_interval_notifier_insert(&svm->notifier, svm->mm, 0,
					   ULONG_MAX & PAGE_MASK,
					   &dmirror_svm_ops);
	if (ret) {
		kfree(svm);
		return ERR_PTR(ret);
	}
	mmgrab(svm->mm);
	return svm;
}

/**
 * dmirror_svm_destroy() - end a mirror
 * @svm: the mirror; nobody submits jobs to it any more
 *
 * What the mirror migrated stays on the device. It is the program's memory,
 * not the mirror's.
 *
 * Context: may sleep; waits for invalidations that are under way.
 */
void dmirror_svm_destroy(struct dmirror_svm *svm)
{
	dmirror_jobs_cancel(svm);
	mmu_interval_notifier_remove(&svm->notifier);
	dmirror_pt_unmap(&svm->pt, 0, U64_MAX);
	mmdrop(svm->mm);
	kfree(svm);
}
