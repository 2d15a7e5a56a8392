// SPDX-License-Identifier: GPL-2.0
/*
 * The simulated hardware: the device's memory, its copy engines and its compute
 * engine.
 *
 * This is the only file that touches the contents of device memory. Everything
 * here is what silicon would do; replace it with the code that programs yours.
 * The engines see addresses, and know neither pages nor processes. What real ones
 * do without is the lock that a job takes to walk the page table, and the buffer
 * of a program, which a bus would reach.
 */
#include <linux/atomic.h>
#include <linux/bitmap.h>
#include <linux/dma-fence.h>
#include <linux/highmem.h>
#include <linux/lockdep.h>
#include <linux/mempool.h>
#include <linux/minmax.h>
#include <linux/sched/clock.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/string.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <linux/workqueue.h>

#include "dmirror.h"
#include "trace.h"

/* The compute engine gives the page table's lock up after this many bytes. */
#define RUN_QUANTUM	SZ_64K

/* How many compute jobs run at a time. */
#define COMPUTE_JOBS	4

/* A copy job; its fence signals when the engine is done with it. */
struct copy_job {
	struct dma_fence fence;
	struct work_struct work;
	struct dmirror_hw_engine *engine;
	const struct dmirror_hw_segment *segments;
	unsigned int nr;
	u64 bytes;
};

static void engines_stop(struct dmirror_hw *hw)
{
	unsigned int i;

	for (i = 0; i < hw->nr_engines && hw->engines[i].queue; i++) {
		destroy_workqueue(hw->engines[i].queue);
		hw->engines[i].queue = NULL;
	}
	/* A job goes back to the pool when nobody can look at its fence. */
	rcu_barrier();
	mempool_destroy(hw->jobs);
}

static int engines_start(struct dmirror_hw *hw)
{
	struct dmirror_hw_engine *engine;
	unsigned int i;

	hw->jobs = mempool_create_kmalloc_pool(hw->nr_engines,
					       sizeof(struct copy_job));
	if (!hw->jobs)
		return -ENOMEM;
	for (i = 0; i < hw->nr_engines; i++) {
		engine = &hw->engines[i];
		/* Reclaim may wait for a migration to end. */
		engine->queue = alloc_ordered_workqueue("dmirror%u-copy%u",
							WQ_MEM_RECLAIM, hw->id,
							i);
		if (!engine->queue) {
			engines_stop(hw);
			return -ENOMEM;
		}
	}
	return 0;
}

static void engines_init(struct dmirror_hw *hw, unsigned int nr)
{
	struct dmirror_hw_engine *engine;

	for (hw->nr_engines = 0; hw->nr_engines < nr; hw->nr_engines++) {
		engine = &hw->engines[hw->nr_engines];
		engine->hw = hw;
		mutex_init(&engine->busy);
		spin_lock_init(&engine->lock);
		engine->context = dma_fence_context_alloc(1);
	}
}

static void faults_init(struct dmirror_hw_faults *faults, unsigned int size)
{
	spin_lock_init(&faults->lock);
	INIT_LIST_HEAD(&faults->list);
	init_waitqueue_head(&faults->space);
	faults->size = size;
}

/**
 * dmirror_hw_init() - what there is of a device before it is plugged in
 * @hw: the hardware; its id and its fault interrupt are set
 * @size: of its memory in bytes, a multiple of the block size
 * @engines: number of copy engines, 1 to DMIRROR_HW_ENGINES_MAX
 * @fault_entries: size of the fault buffer, at least 1
 *
 * The locks are made here, once: who looks at a device that is not plugged in,
 * or still has to do with a job that is complete, finds them as they are to be.
 *
 * Context: process context.
 */
void dmirror_hw_init(struct dmirror_hw *hw, u64 size, unsigned int engines,
		     unsigned int fault_entries)
{
	hw->size = size;
	hw->share = PAGE_ALIGN(DIV_ROUND_UP(DMIRROR_BLOCK_SIZE, engines));
	faults_init(&hw->faults, fault_entries);
	engines_init(hw, engines);
}

/**
 * dmirror_hw_start() - bring up a device's memory and engines
 * @hw: the hardware
 * @base: where the CPU sees its memory, NULL if it does not
 *
 * Context: may sleep.
 * Return: 0, or -ENOMEM.
 */
int dmirror_hw_start(struct dmirror_hw *hw, void *base)
{
	hw->base = base;
	hw->accessed = bitmap_zalloc(hw->size / DMIRROR_BLOCK_SIZE, GFP_KERNEL);
	if (!hw->accessed)
		return -ENOMEM;
	hw->compute = alloc_workqueue("dmirror%u-compute", WQ_UNBOUND,
				      COMPUTE_JOBS, hw->id);
	if (!hw->compute)
		goto free_accessed;
	if (engines_start(hw))
		goto destroy_compute;
	if (base)
		return 0;

	hw->cells = kvcalloc(hw->size / DMIRROR_BLOCK_SIZE, sizeof(*hw->cells),
			     GFP_KERNEL);
	if (hw->cells)
		return 0;

	engines_stop(hw);
destroy_compute:
	destroy_workqueue(hw->compute);
free_accessed:
	bitmap_free(hw->accessed);
	return -ENOMEM;
}

/**
 * dmirror_hw_stop() - shut a device down
 * @hw: the hardware; nothing of its memory is in use, and no job runs
 *
 * Context: may sleep.
 */
void dmirror_hw_stop(struct dmirror_hw *hw)
{
	destroy_workqueue(hw->compute);
	engines_stop(hw);
	dmirror_hw_trim_all(hw);
	kvfree(hw->cells);
	hw->cells = NULL;
	bitmap_free(hw->accessed);
}

/**
 * dmirror_hw_populate() - make a block of simulated memory exist
 * @hw: the hardware
 * @offset: an offset in the block
 *
 * Real memory is always there; delete this with the simulation.
 *
 * Context: may sleep and reclaim.
 * Return: 0, or -ENOMEM.
 */
int dmirror_hw_populate(struct dmirror_hw *hw, u64 offset)
{
	void **cell, *mem;

	if (hw->base)
		return 0;

	cell = &hw->cells[offset / DMIRROR_BLOCK_SIZE];
	if (READ_ONCE(*cell))
		return 0;

	mem = vmalloc(DMIRROR_BLOCK_SIZE);
	if (!mem)
		return -ENOMEM;
	if (cmpxchg(cell, NULL, mem))
		vfree(mem);
	return 0;
}

/**
 * dmirror_hw_trim_all() - give all simulated memory back
 * @hw: the hardware, of whose memory nothing is in use
 *
 * Context: may sleep. The caller keeps others from using the memory.
 */
void dmirror_hw_trim_all(struct dmirror_hw *hw)
{
	u64 i;

	for (i = 0; hw->cells && i < hw->size / DMIRROR_BLOCK_SIZE; i++) {
		vfree(hw->cells[i]);
		hw->cells[i] = NULL;
		cond_resched();
	}
}

/**
 * dmirror_hw_test_and_clear_accessed() - has a compute engine used a block?
 * @hw: the hardware
 * @offset: an offset in the block
 *
 * What an engine does through an entry that it finds in the page table is no fault,
 * so nobody else knows of it. Here are the access counters of your device, or the
 * accessed bits of its page table. Its copy engines are not asked: what is evicted is
 * not used.
 *
 * Context: any.
 * Return: true if so, since this was last asked; by this device, or by another that
 * reaches it over the interconnect. What others do to coherent memory is not seen.
 */
bool dmirror_hw_test_and_clear_accessed(struct dmirror_hw *hw, u64 offset)
{
	unsigned long block = offset / DMIRROR_BLOCK_SIZE;

	return test_bit(block, hw->accessed) &&
	       test_and_clear_bit(block, hw->accessed);
}

static void *local_memory(struct dmirror_hw *hw, u64 offset)
{
	if (WARN_ON_ONCE(offset >= hw->size))
		return NULL;
	if (hw->base)
		return hw->base + offset;
	return hw->cells[offset / DMIRROR_BLOCK_SIZE] +
	       offset % DMIRROR_BLOCK_SIZE;
}

/* Whose memory an address of device memory is in, and where there. */
static struct dmirror_hw *bus_owner(struct dmirror_hw *hw, u64 *addr)
{
	if (*addr & DMIRROR_HW_PEER) {
		*addr &= ~DMIRROR_HW_PEER;
		hw = hw->link->members[*addr >> DMIRROR_HW_PEER_SHIFT];
		*addr &= BIT_ULL(DMIRROR_HW_PEER_SHIFT) - 1;
	}
	return hw;
}

/* What the simulation needs to reach an address, see bus_reach(). */
static void *bus_map(struct dmirror_hw *hw, u64 addr)
{
	if (addr & DMIRROR_HW_SYSTEM) {
		addr &= ~DMIRROR_HW_SYSTEM;
		return kmap_local_page(pfn_to_page(PHYS_PFN(addr))) +
		       offset_in_page(addr);
	}
	hw = bus_owner(hw, &addr);
	return local_memory(hw, addr);
}

/* A compute engine uses what is at an address. */
static void bus_note_access(struct dmirror_hw *hw, u64 addr)
{
	unsigned long block;

	if (addr & DMIRROR_HW_SYSTEM)
		return;
	hw = bus_owner(hw, &addr);
	block = addr / DMIRROR_BLOCK_SIZE;
	/* Mostly it is set: to look first keeps the line shared. */
	if (!test_bit(block, hw->accessed))
		set_bit(block, hw->accessed);
}

static void bus_unmap(u64 addr, void *mem)
{
	if (addr & DMIRROR_HW_SYSTEM)
		kunmap_local(mem);
}

/*
 * How much from an address is in one piece: of device memory to the end of its
 * block, of system memory all, unless the kernel has to map it by pages.
 */
static u64 bus_reach(u64 addr, u64 len)
{
	if (!(addr & DMIRROR_HW_SYSTEM))
		return min(len, DMIRROR_BLOCK_SIZE - addr % DMIRROR_BLOCK_SIZE);
	if (IS_ENABLED(CONFIG_HIGHMEM))
		return min_t(u64, len, PAGE_SIZE - offset_in_page(addr));
	return len;
}

/* Returns how much it copied: what is in one piece on both sides. */
static u64 copy_piece(struct dmirror_hw *hw, u64 to, u64 from, u64 len)
{
	void *dst, *src;

	len = bus_reach(to, len);
	if (!(from & DMIRROR_HW_ZERO))
		len = bus_reach(from, len);

	dst = bus_map(hw, to);
	if (from & DMIRROR_HW_ZERO) {
		memset(dst, 0, len);
	} else {
		src = bus_map(hw, from);
		memcpy(dst, src, len);
		bus_unmap(from, src);
	}
	bus_unmap(to, dst);
	return len;
}

static void copy_segment(struct dmirror_hw *hw,
			 const struct dmirror_hw_segment *seg)
{
	u64 pos;

	for (pos = 0; pos < seg->len; )
		pos += copy_piece(hw, seg->dst + pos, seg->src + pos,
				  seg->len - pos);
}

static struct copy_job *to_copy_job(struct dma_fence *fence)
{
	return container_of(fence, struct copy_job, fence);
}

static const char *fence_driver_name(struct dma_fence *fence)
{
	return "dmirror";
}

static const char *fence_timeline_name(struct dma_fence *fence)
{
	return "copy";
}

static void copy_job_free(struct rcu_head *rcu)
{
	struct copy_job *job = to_copy_job(container_of(rcu, struct dma_fence,
							rcu));

	mempool_free(job, job->engine->hw->jobs);
}

static void fence_release(struct dma_fence *fence)
{
	call_rcu(&fence->rcu, copy_job_free);
}

static const struct dma_fence_ops copy_fence_ops = {
	.get_driver_name   = fence_driver_name,
	.get_timeline_name = fence_timeline_name,
	.release	   = fence_release,
};

/*
 * The engine at work. Others wait for the fence under any lock, so that from
 * here to the signal nothing may wait for memory.
 */
static void copy_job_run(struct copy_job *job)
{
	struct dmirror_hw_engine *engine = job->engine;
	bool cookie = dma_fence_begin_signalling();
	u64 since = local_clock(), ns;
	unsigned long flags;
	unsigned int i;
	int error = 0;

	if (dmirror_should_fail_copy())
		error = -EIO;
	for (i = 0; i < job->nr && !error; i++)
		copy_segment(engine->hw, &job->segments[i]);
	ns = local_clock() - since;

	spin_lock_irqsave(&engine->lock, flags);
	trace_dmirror_copy(engine->hw->id, engine - engine->hw->engines,
			   job->fence.seqno, job->nr, job->bytes,
			   engine->depth, ns, error);
	engine->depth--;
	engine->jobs++;
	engine->errors += !!error;
	engine->bytes += error ? 0 : job->bytes;
	engine->ns += ns;
	if (error)
		dma_fence_set_error(&job->fence, error);
	dma_fence_signal_locked(&job->fence);
	spin_unlock_irqrestore(&engine->lock, flags);
	dma_fence_end_signalling(cookie);
}

static void copy_job_work(struct work_struct *work)
{
	struct copy_job *job = container_of(work, struct copy_job, work);
	struct dmirror_hw_engine *engine = job->engine;

	mutex_lock(&engine->busy);
	copy_job_run(job);
	mutex_unlock(&engine->busy);
	dma_fence_put(&job->fence);
}

/*
 * Make the job the engine's next. True if it is its only one as well and is to
 * be done @at_once, by the caller. Fences of an engine signal in the order of
 * their numbers, so a job gets its number and its place in the queue as one.
 */
static bool copy_job_enqueue(struct copy_job *job, bool at_once)
{
	struct dmirror_hw_engine *engine = job->engine;
	unsigned long flags;

	spin_lock_irqsave(&engine->lock, flags);
	at_once &= !engine->depth++;
	engine->depth_max = max(engine->depth_max, engine->depth);
	dma_fence_init(&job->fence, &copy_fence_ops, &engine->lock,
		       engine->context, ++engine->seqno);
	if (!at_once) {
		dma_fence_get(&job->fence);
		queue_work(engine->queue, &job->work);
	}
	spin_unlock_irqrestore(&engine->lock, flags);
	return at_once;
}

/* An idle engine, or else they take turns. */
static struct dmirror_hw_engine *choose_engine(struct dmirror_hw *hw)
{
	unsigned int first = atomic_inc_return(&hw->next_engine), i;
	struct dmirror_hw_engine *engine;

	for (i = 0; i < hw->nr_engines; i++) {
		engine = &hw->engines[(first + i) % hw->nr_engines];
		if (!READ_ONCE(engine->depth))
			return engine;
	}
	return &hw->engines[first % hw->nr_engines];
}

/**
 * dmirror_hw_copy() - have a copy engine move pages
 * @hw: the hardware
 * @segments: what to copy, whole pages; to stay until the fence signals
 * @nr: how many
 * @gfp: GFP_KERNEL, or GFP_NOWAIT for who holds a fence already, or will wait for
 *	memory before he waits for this one: what is set aside is not for him
 * @last: the caller has no more to submit, and is about to wait. An idle engine then
 *	gets the CPU that would do so, as by dmirror_hw_help()
 *
 * When the fence signals without an error the data is in place and visible to
 * the CPU, as migrate_vma_finalize() demands. With one, -EIO, the destinations
 * are undefined and the sources as they were.
 *
 * Context: may sleep. The sources are locked and unmapped.
 * Return: the fence, with a reference for the caller; NULL, only with
 * GFP_NOWAIT, if there is no memory for a job.
 */
struct dma_fence *dmirror_hw_copy(struct dmirror_hw *hw,
				  const struct dmirror_hw_segment *segments,
				  unsigned int nr, gfp_t gfp, bool last)
{
	struct dmirror_hw_engine *engine = choose_engine(hw);
	struct copy_job *job;
	bool idle;

	job = gfpflags_allow_blocking(gfp) ? mempool_alloc(hw->jobs, gfp) :
					     kmalloc(sizeof(*job), gfp | __GFP_NOWARN);
	if (!job)
		return NULL;
	*job = (struct copy_job) {
		.engine	  = engine,
		.segments = segments,
		.nr	  = nr,
	};
	while (nr--)
		job->bytes += segments[nr].len;
	INIT_WORK(&job->work, copy_job_work);

	/* With the engine in hand, a job that is its only one can run. */
	idle = last && mutex_trylock(&engine->busy);
	if (copy_job_enqueue(job, idle))
		copy_job_run(job);
	if (idle)
		mutex_unlock(&engine->busy);
	return &job->fence;
}

/**
 * dmirror_hw_help() - lend the engine the CPU that would wait for it
 * @fence: of dmirror_hw_copy()
 *
 * Silicon does not wait to be scheduled; a simulation of it should not either. Where a
 * worker runs this job, and there is no other, the waiter for the lock may spin, and so
 * be there when it is done. Delete this with the simulation.
 *
 * Context: may sleep, and hold whatever dmirror_hw_copy() may be called with.
 */
void dmirror_hw_help(struct dma_fence *fence)
{
	struct copy_job *job = to_copy_job(fence);
	struct dmirror_hw_engine *engine = job->engine;

	if (dma_fence_is_signaled(fence))
		return;
	if (!mutex_trylock(&engine->busy)) {
		/* For the jobs of others there is the fence to wait for. */
		if (READ_ONCE(engine->depth) > 1)
			return;
		mutex_lock(&engine->busy);
	}
	/* Only the next in order, and if nobody has begun with it. */
	if (engine->jobs + 1 == fence->seqno && cancel_work(&job->work)) {
		copy_job_run(job);
		dma_fence_put(fence);
	}
	mutex_unlock(&engine->busy);
}

/* What @mem, aligned to the job's width, held before the operation. */
static u64 atomic_operation(void *mem, const struct dmirror_hw_job *job)
{
	if (job->width == sizeof(u32)) {
		if (job->op == DMIRROR_HW_CAS)
			return (u32)atomic_cmpxchg(mem, job->compare,
						   job->operand);
		return (u32)atomic_fetch_add(job->operand, mem);
	}
	if (job->op == DMIRROR_HW_CAS)
		return atomic64_cmpxchg(mem, job->compare, job->operand);
	return atomic64_fetch_add(job->operand, mem);
}

/**
 * dmirror_hw_bus_atomic() - have the bus carry out an atomic operation
 * @page: that the operand is in, pinned by the caller
 * @job: operation, width, operand and compare; the address is the operand's
 *
 * Context: any.
 * Return: what the operand was before.
 */
u64 dmirror_hw_bus_atomic(struct page *page, const struct dmirror_hw_job *job)
{
	void *mem = kmap_local_page(page);
	u64 result = atomic_operation(mem + offset_in_page(job->addr), job);

	kunmap_local(mem);
	return result;
}

/* Translate, or note the fault and say that the job cannot go on. */
static bool translate(const struct dmirror_pt *pt, struct dmirror_hw_job *job,
		      u64 addr, u64 need, u64 *bus)
{
	u64 dpte = dmirror_pt_lookup(pt, addr);

	/* An atomic operation needs exclusivity only outside of the device. */
	if (!(dpte & (DPTE_SYSTEM | DPTE_PEER)))
		need &= ~DPTE_ATOMIC;

	if ((dpte & need) != need) {
		job->fault_addr = addr;
		job->fault_write = need & DPTE_WRITE;
		return false;
	}

	*bus = (dpte & DPTE_ADDR_MASK & PAGE_MASK) + offset_in_page(addr);
	if (dpte & DPTE_SYSTEM)
		*bus |= DMIRROR_HW_SYSTEM;
	if (dpte & DPTE_PEER)
		*bus |= DMIRROR_HW_PEER;
	return true;
}

static void fill_pattern(void *mem, u64 pattern, size_t len)
{
	memset64(mem, pattern, len / sizeof(pattern));
}

/*
 * To the job's buffer. A buffer of the program's must be there: a CPU fault
 * could need the lock that is held over the page table.
 */
static size_t buffer_write(struct dmirror_hw_job *job, const void *mem,
			   size_t len)
{
	size_t left;

	if (job->buf) {
		memcpy(job->buf + job->done, mem, len);
		return len;
	}
	pagefault_disable();
	left = __copy_to_user_inatomic(job->user + job->done, mem, len);
	pagefault_enable();
	job->user_fault = left == len;
	return len - left;
}

static size_t buffer_read(struct dmirror_hw_job *job, void *mem, size_t len)
{
	size_t left;

	if (job->buf) {
		memcpy(mem, job->buf + job->done, len);
		return len;
	}
	pagefault_disable();
	left = __copy_from_user_inatomic(mem, job->user + job->done, len);
	pagefault_enable();
	job->user_fault = left == len;
	return len - left;
}

/* Work on up to a page; returns how much was done, 0 on a fault. */
static size_t run_step(struct dmirror_hw *hw, const struct dmirror_pt *pt,
		       struct dmirror_hw_job *job)
{
	u64 addr = job->addr + job->done;
	u64 need = DPTE_VALID;
	u64 src_bus = 0, bus;
	void *mem, *src;
	size_t len;

	if (job->op != DMIRROR_HW_READ)
		need |= DPTE_WRITE;
	if (job->op == DMIRROR_HW_ADD || job->op == DMIRROR_HW_CAS)
		need |= DPTE_ATOMIC;
	if (!translate(pt, job, addr, need, &bus))
		return 0;
	len = min_t(u64, job->len - job->done, PAGE_SIZE - offset_in_page(addr));

	if (job->op == DMIRROR_HW_COPY) {
		u64 from = job->src + job->done;

		if (!translate(pt, job, from, DPTE_VALID, &src_bus))
			return 0;
		len = min_t(u64, len, PAGE_SIZE - offset_in_page(from));
		bus_note_access(hw, src_bus);
	}

	bus_note_access(hw, bus);
	mem = bus_map(hw, bus);
	switch (job->op) {
	case DMIRROR_HW_READ:
		len = buffer_write(job, mem, len);
		break;
	case DMIRROR_HW_WRITE:
		len = buffer_read(job, mem, len);
		break;
	case DMIRROR_HW_FILL:
		fill_pattern(mem, job->operand, len);
		break;
	case DMIRROR_HW_COPY:
		src = bus_map(hw, src_bus);
		memcpy(mem, src, len);
		bus_unmap(src_bus, src);
		break;
	case DMIRROR_HW_ADD:
	case DMIRROR_HW_CAS:
		job->result = atomic_operation(mem, job);
		job->local = !(bus & DMIRROR_HW_SYSTEM);
		break;
	}
	bus_unmap(bus, mem);
	return len;
}

/**
 * dmirror_hw_run() - have the compute engine work on mirrored memory
 * @hw: the hardware
 * @pt: the page table to walk
 * @job: the job, which goes on where it stopped
 *
 * Context: the mirror's lock held for reading, so that what the page table
 * maps stays; invalidation waits for the engine by taking it for writing. Does
 * not sleep.
 * Return: 0 when the job is complete, -EAGAIN if it has more to do and the
 * lock should be given up in between, -EFAULT on a page fault of the device,
 * with the fault in @job, or of the CPU on the program's buffer, with
 * @job->user_fault set.
 */
int dmirror_hw_run(struct dmirror_hw *hw, const struct dmirror_pt *pt,
		   struct dmirror_hw_job *job)
{
	u64 stop = min_t(u64, job->len, job->done + RUN_QUANTUM);

	if (job->pt_lock)
		lockdep_assert_held(job->pt_lock);
	job->user_fault = false;
	while (job->done < stop) {
		size_t len = run_step(hw, pt, job);

		if (!len)
			return -EFAULT;
		job->done += len;
	}
	return job->done == job->len ? 0 : -EAGAIN;
}

/* One quantum, with the page table as it is now. */
static int job_step(struct dmirror_hw_job *job)
{
	int ret;

	if (READ_ONCE(job->cancelled))
		return -ECANCELED;
	down_read(job->pt_lock);
	ret = dmirror_hw_run(job->hw, job->pt, job);
	up_read(job->pt_lock);
	return ret;
}

/* Report the job's fault. Once it is in the buffer the job is not ours. */
static bool report_fault(struct dmirror_hw *hw, struct dmirror_hw_job *job)
{
	struct dmirror_hw_faults *faults = &hw->faults;
	bool room;

	spin_lock(&faults->lock);
	room = faults->nr < faults->size;
	if (room) {
		list_add_tail(&job->fault_link, &faults->list);
		faults->nr++;
		faults->reported++;
		/* Under the lock: with the job gone the device may go as well. */
		faults->interrupt(hw);
	}
	spin_unlock(&faults->lock);
	return room;
}

/* The buffer is full: nothing is lost, the engine waits. */
static void stall(struct dmirror_hw *hw, struct dmirror_hw_job *job)
{
	bool reported = false;

	spin_lock(&hw->faults.lock);
	hw->faults.stalls++;
	spin_unlock(&hw->faults.lock);
	wait_event(hw->faults.space, (reported = report_fault(hw, job)) ||
		   READ_ONCE(job->cancelled));
	if (!reported)
		job->complete(job, -ECANCELED);
}

static void compute_work(struct work_struct *work)
{
	struct dmirror_hw_job *job = container_of(work, struct dmirror_hw_job,
						  work);
	struct dmirror_hw *hw = job->hw;
	int ret;

	while ((ret = job_step(job)) == -EAGAIN)
		cond_resched();
	if (ret != -EFAULT)
		job->complete(job, ret);
	else if (!report_fault(hw, job))
		stall(hw, job);
}

/*
 * A short job whose memory is mapped is complete before this returns, as it
 * would be on a device before the CPU could go to sleep.
 */
static void job_start(struct dmirror_hw_job *job)
{
	struct dmirror_hw *hw = job->hw;
	int ret = job_step(job);

	if (ret == -EAGAIN || (ret == -EFAULT && !report_fault(hw, job)))
		queue_work(hw->compute, &job->work);
	else if (ret != -EFAULT)
		job->complete(job, ret);
}

/**
 * dmirror_hw_submit() - give the compute engine a job
 * @job: the job; the caller set the operation, @hw, @pt, @pt_lock and @complete
 *
 * Context: may sleep; job->pt_lock is not held.
 */
void dmirror_hw_submit(struct dmirror_hw_job *job)
{
	INIT_WORK(&job->work, compute_work);
	job_start(job);
}

/**
 * dmirror_hw_replay() - have a job go on where it faulted
 * @job: a job from dmirror_hw_next_fault()
 *
 * Context: may sleep; job->pt_lock is not held.
 */
void dmirror_hw_replay(struct dmirror_hw_job *job)
{
	job_start(job);
}

/**
 * dmirror_hw_cancel() - have a job end soon
 * @job: a job that is not freed; it may not even be submitted yet
 *
 * It completes with -ECANCELED, unless it was about to complete.
 *
 * Context: any.
 */
void dmirror_hw_cancel(struct dmirror_hw_job *job)
{
	struct dmirror_hw *hw = job->hw;

	WRITE_ONCE(job->cancelled, true);
	wake_up_all(&hw->faults.space);
	hw->faults.interrupt(hw);
}

/**
 * dmirror_hw_next_fault() - take a fault out of the buffer
 * @hw: the hardware
 *
 * Context: process context.
 * Return: the job that faulted, to be replayed or completed with an error;
 * NULL if there is none. While faults are held only cancelled jobs come out.
 */
struct dmirror_hw_job *dmirror_hw_next_fault(struct dmirror_hw *hw)
{
	struct dmirror_hw_faults *faults = &hw->faults;
	struct dmirror_hw_job *job, *found = NULL;

	spin_lock(&faults->lock);
	list_for_each_entry(job, &faults->list, fault_link) {
		if (!faults->held || READ_ONCE(job->cancelled)) {
			list_del(&job->fault_link);
			faults->nr--;
			found = job;
			break;
		}
	}
	spin_unlock(&faults->lock);
	if (found)
		wake_up_all(&faults->space);
	return found;
}

/**
 * dmirror_hw_hold_faults() - leave faults in the buffer, or no longer
 * @hw: the hardware
 * @hold: what to do
 *
 * So that a test can see the buffer full.
 *
 * Context: process context.
 */
void dmirror_hw_hold_faults(struct dmirror_hw *hw, bool hold)
{
	spin_lock(&hw->faults.lock);
	hw->faults.held = hold;
	spin_unlock(&hw->faults.lock);
	hw->faults.interrupt(hw);
}
