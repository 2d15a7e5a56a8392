// SPDX-License-Identifier: GPL-2.0
/*
 * One mirrored address space: its lifetime and its invalidation.
 *
 * A notifier watches a chunk, which is a block of addresses that the device has
 * used: what happens to the rest of the process's memory is none of a mirror's
 * business, and costs nothing. A chunk is made when a fault looks at its block,
 * stays if the fault mapped something, and is collected when the program has
 * unmapped the memory. In between it stays, whatever else becomes of the memory:
 * what migrates, or is protected, will be used again.
 *
 * The notifiers filter nothing. In particular they do not skip the
 * invalidations that this device's own migrations cause: dropping the device's
 * entries there, and waiting for its engines by taking the lock, is what makes
 * it safe to copy the page, and other mirrors of the same memory, on the same
 * device too, need it just as much.
 *
 * What keeps a chunk alive:
 *
 * - Who looks at a block is a user of its chunk, and maps only while it is.
 * - "collect" is set where nothing of the block is mapped, and cleared before
 *   something is; both with svm->lock held for writing. So a chunk that has it
 *   set and has no users watches nothing.
 * - Such a chunk is taken out of svm->chunks by its last user, by the collector, by
 *   who makes another one, or by dmirror_svm_destroy(). Who took it out removes the
 *   notifier, which waits for callbacks that are under way, and then frees it.
 * - A fault that comes then makes a new chunk for the same block. For a moment
 *   there are two notifiers on one range, and an invalidation calls both: the
 *   second finds nothing left to unmap. It is the new one's sequence that the
 *   fault looks at, and the new one is in mm's tree before the fault gets past
 *   mmu_interval_read_begin().
 */
#include <linux/lockdep.h>
#include <linux/memcontrol.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

#include "dmirror.h"
#include "trace.h"

/* Protects the lists of mirrors of all devices; opening a file is rare. */
static DEFINE_MUTEX(mirrors_lock);

static u64 chunk_start(const struct dmirror_chunk *chunk)
{
	return chunk->notifier.interval_tree.start;
}

static u64 chunk_last(const struct dmirror_chunk *chunk)
{
	return chunk->notifier.interval_tree.last;
}

static unsigned long chunk_index(u64 addr)
{
	return addr / DMIRROR_BLOCK_SIZE;
}

/*
 * Tell those who are making a page exclusive that they have lost it, see
 * exclusive.c. Not if it is one of them who causes this: mm says who asks for
 * these two events. svm->lock is held for writing.
 */
static void lose_claims(struct dmirror_svm *svm,
			const struct mmu_notifier_range *range, u64 start,
			u64 last)
{
	struct dmirror_claim *claim;

	if ((range->event == MMU_NOTIFY_EXCLUSIVE ||
	     range->event == MMU_NOTIFY_MIGRATE) && range->owner == svm)
		return;
	list_for_each_entry(claim, &svm->claims, link)
		if (claim->addr >= start && claim->addr <= last)
			claim->lost = true;
}

/*
 * The program unmaps memory of a chunk of which the device has nothing mapped
 * any more. The notifier cannot be removed in its own callback. svm->lock is
 * held for writing.
 */
static void chunk_set_collect(struct dmirror_chunk *chunk)
{
	struct dmirror_svm *svm = chunk->svm;
	bool idle;

	xa_lock(&svm->chunks);
	/* Else it is on the list, or in the hands of who takes it away. */
	idle = !chunk->collect && !chunk->users;
	chunk->collect = true;
	if (idle)
		list_add_tail(&chunk->link, &svm->idle);
	xa_unlock(&svm->chunks);
	if (idle)
		schedule_work(&svm->collector);
}

/*
 * The CPU's page table is about to change between range->start and range->end.
 * May be called in reclaim and under any lock of mm; sleeps only where the
 * range is blockable. Called for each chunk that the range touches.
 */
static bool dmirror_svm_invalidate(struct mmu_interval_notifier *notifier,
				   const struct mmu_notifier_range *range,
				   unsigned long seq)
{
	struct dmirror_chunk *chunk = container_of(notifier,
						   struct dmirror_chunk,
						   notifier);
	u64 start = max_t(u64, range->start, chunk_start(chunk));
	u64 last = min_t(u64, range->end - 1, chunk_last(chunk));
	struct dmirror_svm *svm = chunk->svm;

	if (mmu_notifier_range_blockable(range))
		down_write(&svm->lock);
	else if (!down_write_trylock(&svm->lock))
		return false;

	mmu_interval_set_seq(notifier, seq);
	lose_claims(svm, range, start, last);
	dmirror_pt_unmap(&svm->pt, start, last);
	if ((range->event == MMU_NOTIFY_UNMAP ||
	     range->event == MMU_NOTIFY_RELEASE) &&
	    !dmirror_pt_block_used(&svm->pt, start))
		chunk_set_collect(chunk);
	up_write(&svm->lock);

	atomic64_inc(&svm->dev->counters.invalidations);
	atomic64_inc(&svm->invalidations);
	trace_dmirror_invalidate(svm->dev->id, range->event, start, last + 1);
	return true;
}

static const struct mmu_interval_notifier_ops dmirror_svm_ops = {
	.invalidate = dmirror_svm_invalidate,
};

/* Nobody finds the chunk any more, and it is in no list. No lock is held. */
static void chunk_free(struct dmirror_chunk *chunk)
{
	struct dmirror_svm *svm = chunk->svm;

	mmu_interval_notifier_remove(&chunk->notifier);
	atomic_dec(&svm->notifiers);
	kfree(chunk);
}

/* Remove up to a number of idle chunks. No lock is held. */
static void remove_idle_chunks(struct dmirror_svm *svm, unsigned long max)
{
	struct dmirror_chunk *chunk;

	for (; max; max--) {
		xa_lock(&svm->chunks);
		chunk = list_first_entry_or_null(&svm->idle,
						 struct dmirror_chunk, link);
		if (chunk) {
			list_del_init(&chunk->link);
			__xa_erase(&svm->chunks,
				   chunk_index(chunk_start(chunk)));
		}
		xa_unlock(&svm->chunks);
		if (!chunk)
			return;
		chunk_free(chunk);
		cond_resched();
	}
}

static void collector(struct work_struct *work)
{
	remove_idle_chunks(container_of(work, struct dmirror_svm, collector), ULONG_MAX);
}

/* svm->chunks is locked. The chunk may have been idle: it is not any more. */
static void chunk_use(struct dmirror_chunk *chunk)
{
	chunk->users++;
	list_del_init(&chunk->link);
}

static struct dmirror_chunk *chunk_find(struct dmirror_svm *svm, u64 addr)
{
	struct dmirror_chunk *chunk;

	xa_lock(&svm->chunks);
	chunk = xa_load(&svm->chunks, chunk_index(addr));
	if (chunk)
		chunk_use(chunk);
	xa_unlock(&svm->chunks);
	return chunk;
}

/* The chunk is being watched. Returns it, or the one that is there already. */
static struct dmirror_chunk *chunk_publish(struct dmirror_svm *svm,
					   struct dmirror_chunk *chunk)
{
	struct dmirror_chunk *old;

	xa_lock(&svm->chunks);
	old = __xa_cmpxchg(&svm->chunks, chunk_index(chunk_start(chunk)), NULL,
			   chunk, GFP_KERNEL_ACCOUNT);
	if (old && !xa_is_err(old))
		chunk_use(old);
	xa_unlock(&svm->chunks);
	if (!old)
		return chunk;
	chunk_free(chunk);
	return xa_is_err(old) ? ERR_PTR(xa_err(old)) : old;
}

static struct dmirror_chunk *chunk_create(struct dmirror_svm *svm, u64 addr)
{
	struct dmirror_chunk *chunk;
	int ret;

	chunk = kzalloc_obj(*chunk, GFP_KERNEL_ACCOUNT);
	if (!chunk)
		return ERR_PTR(-ENOMEM);
	chunk->svm = svm;
	INIT_LIST_HEAD(&chunk->link);
	chunk->users = 1;
	chunk->collect = true;

	/*
	 * While an invalidation runs, mm sets the new notifier aside until it
	 * has ended; mmu_interval_read_begin() waits for that.
	 */
	ret = mmu_interval_notifier_insert(&chunk->notifier, svm->mm,
					   addr & DMIRROR_BLOCK_MASK,
					   DMIRROR_BLOCK_SIZE,
					   &dmirror_svm_ops);
	if (ret) {
		kfree(chunk);
		return ERR_PTR(ret);
	}
	atomic_inc(&svm->notifiers);
	return chunk_publish(svm, chunk);
}

/**
 * dmirror_chunk_get() - have the block of an address watched
 * @svm: the mirror
 * @addr: any address in the block
 *
 * A new chunk goes again with its last user, unless dmirror_chunk_keep() says
 * that something was mapped. Who adds a chunk takes an idle one away, so that
 * there are never many more than were in use at one time, however late the
 * collector comes.
 *
 * Context: may sleep and take mmap_lock; waits for invalidations that are under
 * way. The caller holds a reference on the users of svm->mm.
 * Return: the chunk, of which the caller is a user; -ENOMEM; or what
 * mmu_interval_notifier_insert() answers.
 */
struct dmirror_chunk *dmirror_chunk_get(struct dmirror_svm *svm, u64 addr)
{
	struct dmirror_chunk *chunk = chunk_find(svm, addr);

	if (chunk)
		return chunk;
	remove_idle_chunks(svm, 1);
	return chunk_create(svm, addr);
}

/**
 * dmirror_chunk_keep() - something of the block is about to be mapped
 * @chunk: its chunk, of which the caller is a user
 *
 * Context: svm->lock held for writing. Does not sleep.
 */
void dmirror_chunk_keep(struct dmirror_chunk *chunk)
{
	struct dmirror_svm *svm = chunk->svm;

	lockdep_assert_held_write(&svm->lock);
	xa_lock(&svm->chunks);
	chunk->collect = false;
	xa_unlock(&svm->chunks);
}

/**
 * dmirror_chunk_put() - the caller is done with the block
 * @chunk: its chunk
 *
 * Context: may sleep; waits for invalidations that are under way if the chunk
 * goes. No lock of the mirror or of mm is held.
 */
void dmirror_chunk_put(struct dmirror_chunk *chunk)
{
	struct dmirror_svm *svm = chunk->svm;
	bool last;

	xa_lock(&svm->chunks);
	last = !--chunk->users && chunk->collect;
	if (last)
		__xa_erase(&svm->chunks, chunk_index(chunk_start(chunk)));
	xa_unlock(&svm->chunks);
	if (last)
		chunk_free(chunk);
}

static void svm_locks_init(struct dmirror_svm *svm)
{
	init_rwsem(&svm->lock);
	xa_init_flags(&svm->chunks, XA_FLAGS_ACCOUNT);
}

/* What is taken under mmap_lock and in reclaim, even if no test ever gets there. */
static void take_inner_locks(struct dmirror_svm *svm,
			     struct dmirror_devmem *devmem)
{
	/* There is no mm when the driver is built in. */
	if (current->mm)
		mmap_read_lock(current->mm);
	fs_reclaim_acquire(GFP_KERNEL);
	down_write(&svm->lock);
	xa_lock(&svm->chunks);
	xa_unlock(&svm->chunks);
	spin_lock_irq(&devmem->lock);
	spin_unlock_irq(&devmem->lock);
	up_write(&svm->lock);
	fs_reclaim_release(GFP_KERNEL);
	if (current->mm)
		mmap_read_unlock(current->mm);
}

/**
 * dmirror_svm_teach_lockdep() - have lockdep know the order before it is used
 * @dev: any device, not in use yet
 *
 * Context: module init; may sleep.
 */
void dmirror_svm_teach_lockdep(struct dmirror_device *dev)
{
	struct dmirror_svm *svm;

	if (!IS_ENABLED(CONFIG_LOCKDEP))
		return;

	svm = kzalloc_obj(*svm, GFP_KERNEL);
	if (!svm)
		return;
	svm_locks_init(svm);
	mutex_lock(&dev->plug_lock);
	mutex_lock(&mirrors_lock);
	take_inner_locks(svm, &dev->devmem);
	mutex_unlock(&mirrors_lock);
	mutex_lock(&dev->evict_lock);
	take_inner_locks(svm, &dev->devmem);
	mutex_unlock(&dev->evict_lock);
	mutex_unlock(&dev->plug_lock);
	kfree(svm);
}

/* From here on who unplugs the device knows of the mirror. */
static int attach(struct dmirror_svm *svm)
{
	int ret = -ENODEV;

	mutex_lock(&mirrors_lock);
	if (!dmirror_device_closed(svm->dev)) {
		list_add_tail(&svm->link, &svm->dev->mirrors);
		ret = 0;
	}
	mutex_unlock(&mirrors_lock);
	return ret;
}

static void detach(struct dmirror_svm *svm)
{
	mutex_lock(&mirrors_lock);
	list_del(&svm->link);
	mutex_unlock(&mirrors_lock);
}

/**
 * dmirror_svm_create() - mirror the caller's address space
 * @dev: the device that is to mirror it
 *
 * Nothing is watched before the device uses it.
 *
 * Context: may sleep; takes mmap_lock.
 * Return: the mirror; -EINVAL if the caller has no address space; -ENODEV if
 * the device is unplugged or the module still loads; -ENOMEM; -ERESTARTSYS on a
 * signal; or what else mmu_interval_notifier_insert() answers.
 */
struct dmirror_svm *dmirror_svm_create(struct dmirror_device *dev)
{
	struct dmirror_chunk *chunk;
	struct dmirror_svm *svm;
	int ret;

	if (!current->mm)
		return ERR_PTR(-EINVAL);
	if (!dmirror_ready())
		return ERR_PTR(-ENODEV);

	svm = kzalloc_obj(*svm, GFP_KERNEL_ACCOUNT);
	if (!svm)
		return ERR_PTR(-ENOMEM);
	svm->dev = dev;
	svm->mm = current->mm;
	svm_locks_init(svm);
	INIT_LIST_HEAD(&svm->idle);
	INIT_WORK(&svm->collector, collector);
	INIT_LIST_HEAD(&svm->claims);
	mutex_init(&svm->prefer_lock);
	mt_init(&svm->preferred);
	spin_lock_init(&svm->jobs_lock);
	INIT_LIST_HEAD(&svm->faults);
	INIT_WORK(&svm->fault_work, dmirror_serve_faults);
	INIT_LIST_HEAD(&svm->jobs);

	/*
	 * The first notifier of a process has mm take all of its locks, which
	 * any signal interrupts. Have that here, and not in a device fault.
	 */
	chunk = dmirror_chunk_get(svm, 0);
	ret = PTR_ERR_OR_ZERO(chunk);
	if (!ret) {
		dmirror_chunk_put(chunk);
		ret = attach(svm);
	}
	if (ret) {
		kfree(svm);
		return ERR_PTR(ret == -EINTR ? -ERESTARTSYS : ret);
	}
	mmgrab(svm->mm);
	return svm;
}

/**
 * dmirror_svm_enter() - begin to use the device for a mirror
 * @svm: the mirror
 *
 * Context: any.
 * Return: 0, and then dmirror_svm_exit() is to follow; -ENODEV if the device is
 * unplugged, or was since the mirror was made.
 */
int dmirror_svm_enter(struct dmirror_svm *svm)
{
	if (!dmirror_device_enter(svm->dev))
		return -ENODEV;
	if (!READ_ONCE(svm->stopped))
		return 0;
	dmirror_device_exit(svm->dev);
	return -ENODEV;
}

/**
 * dmirror_svm_exit() - stop using the device
 * @svm: the mirror
 * @ret: what is to be answered
 *
 * Context: any.
 * Return: @ret, but -ENODEV for what was interrupted as the device was unplugged.
 */
int dmirror_svm_exit(struct dmirror_svm *svm, int ret)
{
	if (ret == -EINTR && READ_ONCE(svm->stopped))
		ret = -ENODEV;
	dmirror_device_exit(svm->dev);
	return ret;
}

/**
 * dmirror_svm_memcg() - the cgroup that pays for what is done for a mirror
 * @svm: the mirror
 *
 * Context: may sleep.
 * Return: the cgroup, to be given to mem_cgroup_put(); NULL if the process has
 * exited, or there are no cgroups.
 */
struct mem_cgroup *dmirror_svm_memcg(struct dmirror_svm *svm)
{
	struct mem_cgroup *memcg;

	if (!mmget_not_zero(svm->mm))
		return NULL;
	memcg = get_mem_cgroup_from_mm(svm->mm);
	mmput(svm->mm);
	return memcg;
}

/**
 * dmirror_mirrors_stop() - have all that a device does for programs end soon
 * @dev: the device, which is closed; mirrors that there are never work again
 *
 * Context: may sleep; does not wait for what is under way.
 */
void dmirror_mirrors_stop(struct dmirror_device *dev)
{
	struct dmirror_svm *svm;

	mutex_lock(&mirrors_lock);
	list_for_each_entry(svm, &dev->mirrors, link)
		dmirror_jobs_stop(svm);
	mutex_unlock(&mirrors_lock);
}

/**
 * dmirror_mirrors_unmap() - drop all that a device has mapped
 * @dev: the device, which is closed and which everybody has left
 *
 * The notifiers stay until the memory is unmapped or the file is closed, and
 * find nothing to do.
 *
 * Context: may sleep.
 */
void dmirror_mirrors_unmap(struct dmirror_device *dev)
{
	struct dmirror_svm *svm;

	mutex_lock(&mirrors_lock);
	list_for_each_entry(svm, &dev->mirrors, link) {
		down_write(&svm->lock);
		dmirror_pt_unmap(&svm->pt, 0, U64_MAX);
		up_write(&svm->lock);
	}
	mutex_unlock(&mirrors_lock);
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
	struct dmirror_chunk *chunk;
	unsigned long index;

	dmirror_jobs_cancel(svm);
	detach(svm);

	/* The collector may be at it too; each takes what is still there. */
	xa_lock(&svm->chunks);
	xa_for_each(&svm->chunks, index, chunk) {
		WARN_ON_ONCE(chunk->users);
		list_del_init(&chunk->link);
		/* So that no callback gives it to the collector. */
		chunk->collect = true;
		__xa_erase(&svm->chunks, index);
		xa_unlock(&svm->chunks);
		chunk_free(chunk);
		cond_resched();
		xa_lock(&svm->chunks);
	}
	xa_unlock(&svm->chunks);
	/* No callback is left that could start it. */
	cancel_work_sync(&svm->collector);

	dmirror_pt_destroy(&svm->pt);
	mtree_destroy(&svm->preferred);
	mmdrop(svm->mm);
	kfree(svm);
}
