// SPDX-License-Identifier: GPL-2.0
/*
 * Device faults: how the device's page table comes to say what the CPU's does.
 *
 * A job of the compute engine that finds something not mapped is put into the
 * device's fault buffer. dmirror_fault_work() empties that and hands each fault
 * to the mirror that it is of, so that one program's slow fault is not another
 * program's. dmirror_serve_faults() serves a mirror's, and replays or ends the
 * jobs.
 *
 * There is one loop around hmm_range_fault() in this driver, range_lock(), and
 * one place that writes entries of the device's page table for ordinary
 * memory, map_batch(). Migration does not map what it moved; the next access
 * faults it in here, where the notifier's sequence says whether the answer is
 * still true.
 */
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/list_sort.h>
#include <linux/magic.h>
#include <linux/memcontrol.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/sizes.h>
#include <linux/slab.h>

#include "dmirror.h"
#include "trace.h"

/*
 * How often the faults of a job that makes no progress may bring memory to the
 * device: after that it is used where it is, or two that want it would take it from
 * each other for ever.
 */
#define FAULT_MIGRATIONS_MAX	2

/* What a page needs before the device can use it. */
enum need {
	NEED_NOTHING,
	NEED_FAULT,
	NEED_CPU_FAULT,		/* to come back from the device */
};

/*
 * Memory of memfd_secret() has no mapping in the kernel, and its program does not
 * want others to see it. hmm_range_fault() reports it as any other. The mapping
 * stays while the sequence is valid.
 */
static bool is_secret(struct page *page)
{
	struct folio *folio = page_folio(page);
	const struct address_space *mapping = folio->mapping;

	return !folio_test_anon(folio) && mapping && mapping->host &&
	       mapping->host->i_sb->s_magic == SECRETMEM_MAGIC;
}

static unsigned long range_pages(const struct hmm_range *range)
{
	return (range->end - range->start) >> PAGE_SHIFT;
}

/*
 * What a page needs, or an error. Private pages of this device are reported as they
 * are, also where they are not writable, since fork has made them copy-on-write. Such
 * a page is to be faulted as the CPU would, and so is a placeholder for zeroes.
 */
static int examine_page(const struct hmm_range *range, unsigned long hmm_pfn)
{
	struct page *page;
	int ret;

	if (!(hmm_pfn & HMM_PFN_VALID))
		return NEED_FAULT;
	page = hmm_pfn_to_page(hmm_pfn);
	ret = dmirror_pages_check(page, 1);
	if (ret)
		return ret == -EAGAIN ? NEED_CPU_FAULT : ret;
	if (is_secret(page))
		return -EFAULT;
	if (range->default_flags & HMM_PFN_REQ_WRITE &&
	    !(hmm_pfn & HMM_PFN_WRITE))
		return is_device_private_page(page) ? NEED_CPU_FAULT : NEED_FAULT;
	return NEED_NOTHING;
}

/*
 * Whether the device can use the pages of a range that is current; svm->lock is
 * held. Returns 0, an error of a page, or -EAGAIN with what each page needs in
 * range->hmm_pfns.
 */
static int examine(const struct hmm_range *range)
{
	unsigned long npages = range_pages(range), i;
	int need = NEED_NOTHING;

	if (!(range->default_flags & HMM_PFN_REQ_FAULT))
		return 0;

	for (i = 0; i < npages && !need; i++)
		need = examine_page(range, range->hmm_pfns[i]);
	if (!need)
		return 0;
	for (i = 0; i < npages; i++) {
		need = examine_page(range, range->hmm_pfns[i]);
		if (need < 0)
			return need;
		range->hmm_pfns[i] = need;
	}
	return -EAGAIN;
}

/* Have pages faulted in that are next to each other and need the same. */
static int fault_pages(struct dmirror_svm *svm, const struct hmm_range *range,
		       unsigned long first, unsigned long end)
{
	bool as_cpu = range->hmm_pfns[first] == NEED_CPU_FAULT;
	struct hmm_range pages = {
		.notifier	   = range->notifier,
		.start		   = range->start + first * PAGE_SIZE,
		.end		   = range->start + end * PAGE_SIZE,
		.hmm_pfns	   = range->hmm_pfns + first,
		.default_flags	   = range->default_flags,
		/* A device that owns nothing is given nothing: mm brings it back. */
		.dev_private_owner = as_cpu ? NULL : range->dev_private_owner,
	};
	int ret;

	/* What each needs would be taken for a request. */
	memset(pages.hmm_pfns, 0, (end - first) * sizeof(*pages.hmm_pfns));
	pages.notifier_seq = mmu_interval_read_begin(pages.notifier);
	if (mmap_read_lock_killable(svm->mm))
		return -EINTR;
	ret = hmm_range_fault(&pages);
	mmap_read_unlock(svm->mm);
	return ret == -EBUSY ? 0 : ret;
}

/*
 * Have faulted in what the device cannot use yet, and that alone: from the first page
 * that needs it on, hmm_range_fault() faults all there is, and what is on the device
 * further on would come back for it. -EAGAIN: look again.
 */
static int fault_what_needs_it(struct dmirror_svm *svm,
			       const struct hmm_range *range, int *cpu_fault)
{
	unsigned long npages = range_pages(range);
	unsigned long *needs = range->hmm_pfns, first, end, need;
	int ret;

	for (first = 0; first < npages; first = end) {
		need = needs[first];
		for (end = first + 1; end < npages && needs[end] == need; end++)
			;
		if (need == NEED_NOTHING)
			continue;
		/* What could not be had before cannot now. */
		if (need == NEED_CPU_FAULT && *cpu_fault)
			return *cpu_fault;
		ret = fault_pages(svm, range, first, end);
		if (ret == -EFAULT && need == NEED_CPU_FAULT) {
			/* Why may be known, and said better, the next time. */
			*cpu_fault = ret;
			break;
		}
		if (ret)
			return ret;
	}
	return -EAGAIN;
}

/*
 * For private memory that one PMD maps, 7.2 reports the first page of the folio
 * for the first address of the range, also where that is in the middle. Such a
 * folio is aligned as the address is, so the address says which page it is.
 */
static void fix_first_block(struct hmm_range *range)
{
	u64 end = dmirror_block_end(range->start, range->end);
	unsigned long *pfn = range->hmm_pfns;
	unsigned long mask = DMIRROR_BLOCK_PAGES - 1;
	struct dmirror_device *dev;
	u64 addr;

	for (addr = range->start; addr < end; addr += PAGE_SIZE, pfn++) {
		if (!(*pfn & HMM_PFN_VALID) ||
		    hmm_pfn_to_map_order(*pfn) != DMIRROR_BLOCK_ORDER)
			continue;
		dev = dmirror_pfn_device(page_to_pfn(hmm_pfn_to_page(*pfn)));
		if (dev && dev->type == DMIRROR_MEMORY_PRIVATE)
			*pfn = (*pfn & ~mask) | (PHYS_PFN(addr) & mask);
	}
}

/*
 * One turn of range_lock(): 0 with svm->lock held; for another turn -EAGAIN, or -EBUSY
 * if there was an invalidation.
 */
static int range_try_lock(struct dmirror_svm *svm, struct hmm_range *range,
			  int *cpu_fault)
{
	unsigned long npages = range_pages(range);
	struct hmm_range look = *range;
	int ret;

	/*
	 * Only to see what there is; of one page, also to have it, see above. But not
	 * to write, for which mm would copy contents that a memory error has hit.
	 */
	if (npages > 1 || look.default_flags & HMM_PFN_REQ_WRITE)
		look.default_flags = 0;
	memset(look.hmm_pfns, 0, npages * sizeof(*look.hmm_pfns));
	look.notifier_seq = mmu_interval_read_begin(look.notifier);

	if (mmap_read_lock_killable(svm->mm))
		return -EINTR;
	ret = hmm_range_fault(&look);
	mmap_read_unlock(svm->mm);
	if (ret)
		return ret;
	fix_first_block(&look);

	down_write(&svm->lock);
	if (mmu_interval_read_retry(look.notifier, look.notifier_seq) ||
	    dmirror_should_lose_race()) {
		up_write(&svm->lock);
		return -EBUSY;
	}
	ret = examine(range);
	if (!ret)
		return 0;
	up_write(&svm->lock);
	if (ret != -EAGAIN)
		return ret;
	return fault_what_needs_it(svm, range, cpu_fault);
}

/* The loop of range_acquire(), for a range with a notifier. */
static int range_lock(struct dmirror_svm *svm, struct hmm_range *range)
{
	int cpu_fault = 0, ret;

	for (;; cond_resched()) {
		if (dmirror_svm_stopped(svm))
			return -EINTR;
		ret = range_try_lock(svm, range, &cpu_fault);
		if (ret == -EBUSY)
			atomic64_inc(&svm->dev->counters.retries);
		else if (ret != -EAGAIN)
			return ret;
	}
}

static struct dmirror_chunk *range_chunk(const struct hmm_range *range)
{
	return container_of(range->notifier, struct dmirror_chunk, notifier);
}

/*
 * Read the CPU's page table and, as range->default_flags say, fault pages in.
 * The range lies within one block. Returns 0 with svm->lock held for writing:
 * the answer is then current, and stays so until range_release(). Never gives
 * up for a lost race, only for a fatal signal or if the mirror is stopped.
 */
static int range_acquire(struct dmirror_svm *svm, struct hmm_range *range)
{
	struct dmirror_chunk *chunk = dmirror_chunk_get(svm, range->start);
	int ret;

	if (IS_ERR(chunk))
		return PTR_ERR(chunk);
	range->notifier = &chunk->notifier;
	ret = range_lock(svm, range);
	if (ret)
		dmirror_chunk_put(chunk);
	return ret;
}

static void range_release(struct dmirror_svm *svm, struct hmm_range *range)
{
	up_write(&svm->lock);
	dmirror_chunk_put(range_chunk(range));
}

/*
 * What the device writes goes past the CPU's page table, whose dirty bit says
 * nothing of it: to reclaim, the page would look clean, and it would be dropped.
 * File systems are told when the CPU's entry becomes writable, and are not to
 * be told here, where they could not allocate.
 */
static void mark_dirty(struct page *page)
{
	struct folio *folio = page_folio(page);

	if (folio_test_anon(folio) || folio_test_swapbacked(folio))
		folio_mark_dirty(folio);
}

/*
 * The device's entry for what the CPU maps. It may write only if it asked for
 * that, so that what it only reads does not become dirty.
 */
static u64 make_dpte(struct dmirror_svm *svm, unsigned long hmm_pfn, bool write)
{
	struct page *page = hmm_pfn_to_page(hmm_pfn);
	u64 bus = dmirror_bus_addr(svm->dev, page);
	u64 dpte = bus & ~(DMIRROR_HW_SYSTEM | DMIRROR_HW_PEER);

	if (bus & DMIRROR_HW_SYSTEM)
		dpte |= DPTE_SYSTEM;
	if (bus & DMIRROR_HW_PEER)
		dpte |= DPTE_PEER;
	if (write) {
		mark_dirty(page);
		dpte |= DPTE_WRITE;
	}
	return dpte;
}

/* Whether the CPU maps the block at addr as one, and the range has all of it. */
static bool is_block(const struct hmm_range *range, u64 addr)
{
	unsigned long i = (addr - range->start) >> PAGE_SHIFT;

	return IS_ALIGNED(addr, DMIRROR_BLOCK_SIZE) &&
	       addr + DMIRROR_BLOCK_SIZE <= range->end &&
	       hmm_pfn_to_map_order(range->hmm_pfns[i]) >= DMIRROR_BLOCK_ORDER;
}

/* svm->lock is held for writing and the range is current. */
static int map_batch(struct dmirror_svm *svm, const struct hmm_range *range,
		     struct dmirror_pt_stash *stash)
{
	bool write = range->default_flags & HMM_PFN_REQ_WRITE;
	u64 addr, touched = U64_MAX;
	unsigned int order;
	int ret;

	for (addr = range->start; addr < range->end; addr += PAGE_SIZE << order) {
		unsigned long i = (addr - range->start) >> PAGE_SHIFT;
		u64 dpte = make_dpte(svm, range->hmm_pfns[i], write);

		order = is_block(range, addr) ? DMIRROR_BLOCK_ORDER : 0;
		ret = dmirror_pt_map(&svm->pt, addr, order, dpte, stash);
		if (ret)
			return ret;

		dpte &= DMIRROR_BLOCK_MASK | DPTE_SYSTEM | DPTE_PEER;
		if (!(dpte & (DPTE_SYSTEM | DPTE_PEER)) && dpte != touched)
			dmirror_devmem_touch(&svm->dev->devmem, dpte);
		touched = dpte;
	}
	return 0;
}

/* One turn of fault_batch(): -EAGAIN if there are fewer tables than there were. */
static int try_fault(struct dmirror_svm *svm, struct hmm_range *range,
		     struct dmirror_pt_stash *stash, unsigned int spare)
{
	int ret = dmirror_pt_stash_fill(stash, spare, GFP_KERNEL_ACCOUNT);

	if (dmirror_should_fail_fault())
		ret = -ENOMEM;
	if (!ret)
		ret = range_acquire(svm, range);
	if (ret)
		return ret;
	dmirror_chunk_keep(range_chunk(range));
	ret = map_batch(svm, range, stash);
	range_release(svm, range);
	return ret;
}

static int fault_batch(struct dmirror_svm *svm, unsigned long *pfns,
		       struct dmirror_pt_stash *stash, u64 start, u64 end,
		       bool write)
{
	struct hmm_range range = {
		.start		   = start,
		.end		   = end,
		.hmm_pfns	   = pfns,
		.default_flags	   = HMM_PFN_REQ_FAULT |
				     (write ? HMM_PFN_REQ_WRITE : 0),
		.dev_private_owner = svm->dev->owner,
	};
	int ret;

	ret = try_fault(svm, &range, stash, dmirror_pt_spare(&svm->pt));
	/* Another fault of the mirror has used what it had to spare. */
	if (ret == -EAGAIN)
		ret = try_fault(svm, &range, stash, 0);
	atomic64_inc(&svm->dev->counters.device_faults);
	atomic64_inc(&svm->nr_faults);
	trace_dmirror_fault(svm->dev->id, start, (end - start) >> PAGE_SHIFT,
			    write, ret);
	return ret;
}

/**
 * dmirror_fault_range() - have the device's page table map a range
 * @svm: the mirror
 * @start: first address, page aligned
 * @end: first address after it, page aligned
 * @write: the device wants to write
 * @fault_addr: set to the address of the page that an error is about
 *
 * Works in batches of a block, each under mmap_lock for itself. What was
 * mapped before an error stays mapped.
 *
 * Context: may sleep and take mmap_lock; the caller holds a reference on the
 * users of svm->mm.
 * Return: 0; -EFAULT where nothing is mapped or nothing may be read; -EPERM
 * where nothing may be written; -ENODATA where the contents were dropped; -EHWPOISON
 * where a memory error has hit them; -ENOMEM; -EINTR on a fatal signal or if the
 * mirror was stopped. A page that mm cannot bring back from the device to break a
 * copy-on-write is -EFAULT.
 */
int dmirror_fault_range(struct dmirror_svm *svm, u64 start, u64 end, bool write,
			u64 *fault_addr)
{
	struct dmirror_pt_stash stash = { .nr = 0 };
	u64 addr = start, next, single_end = 0;
	unsigned long *pfns;
	int ret = 0;

	*fault_addr = start;
	pfns = kmalloc_array(min_t(u64, end - start, DMIRROR_BLOCK_SIZE) >>
			     PAGE_SHIFT, sizeof(*pfns), GFP_KERNEL_ACCOUNT);
	if (!pfns)
		return -ENOMEM;

	while (addr < end) {
		next = dmirror_block_end(addr, end);
		if (addr < single_end)
			next = addr + PAGE_SIZE;

		ret = fault_batch(svm, pfns, &stash, addr, next, write);
		if (dmirror_is_address_error(ret) && next > addr + PAGE_SIZE) {
			/* mm does not say where: find out page by page. */
			single_end = next;
			continue;
		}
		if (ret) {
			*fault_addr = addr;
			break;
		}
		addr = next;
		cond_resched();
	}

	dmirror_pt_stash_drain(&stash);
	kfree(pfns);
	return ret;
}

/**
 * dmirror_snapshot() - see where pages are without faulting any in
 * @svm: the mirror
 * @owner: the device whose private pages are to be told from holes
 * @start: first address, page aligned
 * @nr: number of pages, all in one block
 * @pfns: filled with what hmm_range_fault() says, @nr entries
 * @dptes: filled with the device's entries for the same pages; may be NULL
 *
 * Looking does not make the device a user of the memory: a chunk that was made
 * for this is gone when it returns.
 *
 * Context: may sleep and take mmap_lock; the caller holds a reference on the
 * users of svm->mm. The pages may be gone when it returns: look at their pfns
 * only, by dmirror_pfn_device(), and not at their struct pages.
 * Return: 0; -ENOMEM; -EINTR on a fatal signal or if the mirror was stopped.
 */
int dmirror_snapshot(struct dmirror_svm *svm, struct dmirror_device *owner,
		     u64 start, unsigned long nr, unsigned long *pfns,
		     u64 *dptes)
{
	struct hmm_range range = {
		.start		   = start,
		.end		   = start + nr * PAGE_SIZE,
		.hmm_pfns	   = pfns,
		.dev_private_owner = owner->owner,
	};
	unsigned long i;
	int ret;

	ret = range_acquire(svm, &range);
	if (ret)
		return ret;
	for (i = 0; dptes && i < nr; i++)
		dptes[i] = dmirror_pt_lookup(&svm->pt, start + i * PAGE_SIZE);
	range_release(svm, &range);
	return 0;
}

/**
 * dmirror_find_page() - have a page be where it can be looked at
 * @svm: the mirror
 * @addr: of the page, page aligned
 *
 * What is about to move is waited for. What is in neither the system's nor this
 * device's memory is brought in.
 *
 * Context: as dmirror_fault_range().
 * Return: as dmirror_fault_range().
 */
int dmirror_find_page(struct dmirror_svm *svm, u64 addr)
{
	unsigned long pfn;
	struct hmm_range range = {
		.start		   = addr,
		.end		   = addr + PAGE_SIZE,
		.hmm_pfns	   = &pfn,
		.default_flags	   = HMM_PFN_REQ_FAULT,
		.dev_private_owner = svm->dev->owner,
	};
	int ret = range_acquire(svm, &range);

	if (!ret)
		range_release(svm, &range);
	return ret;
}

/* Where the memory that a job still needs after its fault ends. */
static u64 fault_end(const struct dmirror_job *job)
{
	const struct dmirror_hw_job *hw = &job->hw;

	return PAGE_ALIGN(hw->fault_addr + job->end - hw->addr - hw->done);
}

/*
 * By policy, or where the program prefers it, have the memory around the fault
 * come to the device first: an aligned window of it. Then no more than that is
 * served, so that the next fault does the same; in any case no more than what is
 * preferred to be at one place.
 */
static u64 migrate_for(struct dmirror_svm *svm, struct dmirror_job *job, u64 end)
{
	u64 addr = job->hw.fault_addr, start = 0, stop = U64_MAX;
	u64 policy = dmirror_device_fault_window();
	u64 window = policy ?: DMIRROR_BLOCK_SIZE;
	enum dmirror_preference preferred;

	preferred = dmirror_preferred(svm, addr, &start, &stop);
	end = min(end, stop);
	if (preferred == DMIRROR_PREFER_SYSTEM ||
	    (preferred == DMIRROR_PREFER_NONE && !policy))
		return end;

	start = max(start, ALIGN_DOWN(addr, window));
	stop = min(stop, ALIGN_DOWN(addr, window) + window);
	/* Not by address: the two operands of a copy can take each other's place. */
	if (job->hw.done != job->last_done)
		job->migrations = 0;
	job->last_done = job->hw.done;
	if (job->migrations++ < FAULT_MIGRATIONS_MAX)
		dmirror_migrate_window(svm, addr, start, stop);
	return min(end, stop);
}

/*
 * Map a block that a job needs, if anybody still needs it. What holds the memory of a
 * process that exits holds it for a block.
 */
static int serve_block(struct dmirror_svm *svm, const struct dmirror_hw_job *hw,
		       u64 addr, u64 end, u64 *bad)
{
	int ret;

	*bad = addr;
	if (READ_ONCE(hw->cancelled))
		return -ECANCELED;
	if (!mmget_not_zero(svm->mm))
		return -ESRCH;
	ret = dmirror_fault_range(svm, addr, end, hw->fault_write, bad);
	mmput(svm->mm);
	return ret;
}

/*
 * Map what a job needs, a block at a time. An error further on than where it
 * faulted is for when it gets there.
 */
static int serve(struct dmirror_svm *svm, struct dmirror_job *job, u64 *end)
{
	struct dmirror_hw_job *hw = &job->hw;
	u64 start = hw->fault_addr & PAGE_MASK;
	u64 addr = start, next, bad;
	int ret = 0;

	if (READ_ONCE(hw->cancelled)) {
		*end = start;
		return -ECANCELED;
	}
	*end = migrate_for(svm, job, *end);
	for (; addr < *end && !ret; addr = next) {
		next = dmirror_block_end(addr, *end);
		ret = serve_block(svm, hw, addr, next, &bad);
	}
	if (!ret)
		return 0;
	*end = bad;
	if (bad != start && dmirror_is_address_error(ret))
		return 0;
	hw->fault_addr = max(bad, hw->fault_addr);
	return ret;
}

static int compare_faults(void *unused, const struct list_head *a,
			  const struct list_head *b)
{
	const struct dmirror_hw_job *left, *right;

	left = list_entry(a, struct dmirror_hw_job, fault_link);
	right = list_entry(b, struct dmirror_hw_job, fault_link);
	if (left->fault_addr != right->fault_addr)
		return left->fault_addr < right->fault_addr ? -1 : 1;
	/* A write serves a read of the same, but not the other way round. */
	return right->fault_write - left->fault_write;
}

/* What an earlier fault of the same batch has had mapped. */
struct served {
	u64 start;
	u64 end;
	bool write;
};

static void serve_or_skip(struct dmirror_svm *svm, struct dmirror_hw_job *hw,
			  struct served *served)
{
	struct dmirror_job *job = container_of(hw, struct dmirror_job, hw);
	u64 end = fault_end(job);
	int ret;

	job->faults++;
	/* If it needs more than was mapped, it faults again when it gets there. */
	if (hw->fault_addr >= served->start && hw->fault_addr < served->end &&
	    (served->write || !hw->fault_write)) {
		atomic64_inc(&svm->dev->counters.duplicate_faults);
		dmirror_hw_replay(hw);
		return;
	}

	served->start = hw->fault_addr & PAGE_MASK;
	served->write = hw->fault_write;
	ret = serve(svm, job, &end);
	served->end = end;
	if (ret)
		hw->complete(hw, ret);
	else
		dmirror_hw_replay(hw);
}

/**
 * dmirror_serve_faults() - serve all faults of a mirror that are waiting
 * @work: of the mirror
 *
 * Context: a work item, one at a time for each mirror; may sleep and take
 * mmap_lock.
 */
void dmirror_serve_faults(struct work_struct *work)
{
	struct dmirror_svm *svm = container_of(work, struct dmirror_svm,
					       fault_work);
	struct mem_cgroup *memcg, *old;
	struct served served = {};
	struct dmirror_hw_job *hw;
	LIST_HEAD(faults);

	spin_lock(&svm->jobs_lock);
	list_splice_init(&svm->faults, &faults);
	spin_unlock(&svm->jobs_lock);

	/* What serving takes is the program's, not the worker's. */
	memcg = dmirror_svm_memcg(svm);
	old = set_active_memcg(memcg);
	list_sort(NULL, &faults, compare_faults);
	while (!list_empty(&faults)) {
		hw = list_first_entry(&faults, struct dmirror_hw_job,
				      fault_link);
		list_del(&hw->fault_link);
		serve_or_skip(svm, hw, &served);
	}
	set_active_memcg(old);
	mem_cgroup_put(memcg);
}

static struct dmirror_svm *faulting_svm(struct dmirror_hw_job *hw)
{
	return container_of(hw, struct dmirror_job, hw)->svm;
}

/* As many faults as the buffer holds: it may fill up as fast as it is emptied. */
static bool take_faults(struct dmirror_device *dev, struct list_head *faults)
{
	unsigned int left = dev->hw.faults.size;
	struct dmirror_hw_job *hw;

	while (left-- && (hw = dmirror_hw_next_fault(&dev->hw)))
		list_add_tail(&hw->fault_link, faults);
	return !list_empty(faults);
}

/* Give the mirror that the first fault is of all of its faults at once. */
static void hand_over(struct dmirror_device *dev, struct list_head *faults)
{
	struct dmirror_hw_job *hw, *next;
	struct dmirror_svm *svm;

	hw = list_first_entry(faults, struct dmirror_hw_job, fault_link);
	svm = faulting_svm(hw);
	spin_lock(&svm->jobs_lock);
	list_for_each_entry_safe(hw, next, faults, fault_link)
		if (faulting_svm(hw) == svm)
			list_move_tail(&hw->fault_link, &svm->faults);
	/* Under the lock: with its jobs gone the mirror may go as well. */
	queue_work(dev->workers, &svm->fault_work);
	spin_unlock(&svm->jobs_lock);
}

/**
 * dmirror_fault_work() - empty a device's fault buffer
 * @work: of the device
 *
 * Context: a work item; may sleep.
 */
void dmirror_fault_work(struct work_struct *work)
{
	struct dmirror_device *dev = container_of(work, struct dmirror_device,
						  fault_work);
	LIST_HEAD(faults);

	while (take_faults(dev, &faults))
		while (!list_empty(&faults))
			hand_over(dev, &faults);
}

/**
 * dmirror_fault_interrupt() - the fault buffer has something in it
 * @hw: of a device
 *
 * Context: any.
 */
void dmirror_fault_interrupt(struct dmirror_hw *hw)
{
	struct dmirror_device *dev = container_of(hw, struct dmirror_device, hw);

	queue_work(dev->dispatcher, &dev->fault_work);
}
