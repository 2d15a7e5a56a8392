/* SPDX-License-Identifier: GPL-2.0 */
/*
 * dmirror: the structures, and what each file offers to the others.
 *
 * Lock order, from the outside in:
 *
 *	dmirror_device.plug_lock, by whoever unplugs a device or plugs it in
 *	  the lock of the devices' lists of mirrors, in svm.c
 *	  dmirror_device.evict_lock, by whoever evicts, holding nothing but the first
 *	mmap_lock of the mirrored process
 *	  folio locks, held by mm between migrate_vma_setup() and _finalize()
 *	    dmirror_hw_engine.busy, only tried
 *	    dmirror_svm.lock
 *	      the lock of dmirror_svm.chunks, a leaf
 *	dmirror_svm.prefer_lock, by whoever says where memory is to be: outside of
 *	  dmirror_svm.lock, since it allocates
 *	dmirror_svm.jobs_lock, then those of wait queues and of the workqueue
 *	the lock of the hardware's fault buffer, then that of the workqueue
 *	dmirror_hw_engine.lock, then those of whoever waits for its fences and of the
 *	  workqueue; taken with interrupts off
 *	dmirror_devmem.lock, a leaf, taken with interrupts off
 *
 * memory_failure() holds a lock of mm's. What it calls here only tries evict_lock,
 * since whoever evicts may call it in turn. Marks of pages, purgeable or not, change
 * under the page's folio lock, and dmirror_devmem.lock for the word that they are in.
 *
 * dmirror_svm.lock is taken by the notifier, which mm calls under nearly every
 * lock of its own and from reclaim. So nothing is allocated under it that
 * could reclaim, and nothing under it faults. dmirror_devmem.lock is taken when
 * a device folio is freed, under page table locks and from any context. No
 * lock of the driver but evict_lock, and plug_lock around it, is held across a
 * migration, so that a CPU fault on device memory needs none that its waiter could
 * hold. Nor is any held where a chunk is made or removed: the one may take
 * mmap_lock, the other waits for invalidations. svm.c teaches lockdep the order
 * from plug_lock to dmirror_devmem.lock when the module is loaded.
 *
 * Whoever unplugs a device waits, with plug_lock held, for those who have entered
 * it. So whoever has entered takes neither that nor anything that it is taken under.
 */
#ifndef DMIRROR_H
#define DMIRROR_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/maple_tree.h>
#include <linux/memremap.h>
#include <linux/migrate.h>
#include <linux/miscdevice.h>
#include <linux/mm_types.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/percpu-refcount.h>
#include <linux/rwsem.h>
#include <linux/sched/signal.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include <linux/dmirror.h>

#include "hw.h"
#include "pagetable.h"

struct dmirror_batch;
struct eventfd_ctx;
struct mem_cgroup;
struct seq_file;

#define DMIRROR_NAME_LEN	24

/**
 * struct dmirror_counters - what a device has done since it was made
 * @to_device: bytes migrated to the device
 * @to_system: bytes migrated from it
 * @evicted: bytes of @to_system that went by eviction
 * @refaults: bytes of @to_device that had been evicted before
 * @from_peers: bytes of @to_device that came straight from another device
 * @cpu_faults: CPU faults on device memory
 * @device_faults: batches of mirrored memory faulted in for the device
 * @retries: looks at mirrored memory that raced with an invalidation
 * @invalidations: notifier callbacks
 * @exclusive: pages made device-exclusive
 * @copy_errors: copy jobs that failed
 * @duplicate_faults: faults that another one had served already
 * @full: allocations of device memory that failed
 * @purged: bytes of purgeable memory that were dropped
 * @unpurged: bytes of it that were not, for want of placeholders, each time that
 *	they could have been
 */
struct dmirror_counters {
	atomic64_t to_device;
	atomic64_t to_system;
	atomic64_t evicted;
	atomic64_t refaults;
	atomic64_t from_peers;
	atomic64_t cpu_faults;
	atomic64_t device_faults;
	atomic64_t retries;
	atomic64_t invalidations;
	atomic64_t exclusive;
	atomic64_t copy_errors;
	atomic64_t duplicate_faults;
	atomic64_t full;
	atomic64_t purged;
	atomic64_t unpurged;
};

/**
 * struct dmirror_block - the allocator's view of a block of device memory
 * @link: in the list of struct dmirror_devmem that fits @used and @withheld; in
 *	none while the block is being evicted
 * @lru: in the list of blocks by when they were last used, unless @used is 0
 * @since: when a page of it was last allocated, in jiffies
 * @used: pages allocated
 * @evicting: the block is being evicted or held, and nothing of it is given out
 * @unready: it is being made into a large folio, and its pages change from what they
 *	were: nobody is to look at them
 * @map: which
 * @purgeable: of these, which the program does not need; of placeholders, which
 *	it has not said to need again
 * @poisoned: which a memory error has hit, in use or not; of placeholders, which
 *	stand for such
 * @withheld: of @poisoned, how many are not in use, nor ever will be
 */
struct dmirror_block {
	struct list_head link;
	struct list_head lru;
	unsigned long since;
	unsigned int used;
	bool evicting;
	bool unready;
	unsigned long map[BITS_TO_LONGS(DMIRROR_BLOCK_PAGES)];
	unsigned long purgeable[BITS_TO_LONGS(DMIRROR_BLOCK_PAGES)];
	unsigned long poisoned[BITS_TO_LONGS(DMIRROR_BLOCK_PAGES)];
	unsigned int withheld;
};

/**
 * struct dmirror_devmem - a device's memory as ZONE_DEVICE pages
 * @pagemap: what mm knows of it; its owner is the struct dmirror_device
 * @lock: protects what follows, but for what says otherwise
 * @blocks: one for each block of memory, @nr_blocks of them
 * @nr_blocks: how many
 * @first_pfn: of block 0; higher than any while the device has no memory, and
 *	then read without the lock
 * @evicted: pfns that pages were evicted to, hashed by pfn; not under the lock
 * @empty: blocks of which nothing is allocated
 * @partial: blocks that have some pages free
 * @full: blocks that have none
 * @lru: blocks that have pages allocated, least recently used first
 * @used: pages allocated
 * @purgeable: pages that are marked as such
 * @poisoned: pages that a memory error has hit; not counted of placeholders
 * @withheld: pages that are poisoned and not in use
 * @no_memory: there is none behind the pages: they are placeholders; set once
 * @closed: how many want nothing to be allocated, while they evict
 * @fail_next: the next allocation for a migration of this program's memory fails,
 *	once; only compared, never looked into
 */
struct dmirror_devmem {
	struct dev_pagemap pagemap;
	/* Protects what follows; a leaf, taken with interrupts off. */
	spinlock_t lock;
	struct dmirror_block *blocks;
	unsigned long nr_blocks;
	unsigned long first_pfn;
	unsigned long *evicted;
	struct list_head empty;
	struct list_head partial;
	struct list_head full;
	struct list_head lru;
	unsigned long used;
	unsigned long purgeable;
	unsigned long poisoned;
	unsigned long withheld;
	bool no_memory;
	unsigned int closed;
	const struct mm_struct *fail_next;
};

/**
 * struct dmirror_run - small pages of a device that are allocated together
 * @next: number of the next one in the device's memory
 * @nr: how many are left
 */
struct dmirror_run {
	unsigned long next;
	unsigned int nr;
};

/**
 * struct dmirror_device - one device
 * @id: the number in the names of its nodes
 * @type: kind of memory
 * @start: physical address of coherent memory, 0 for private
 * @owner: what mm knows the owner of its memory by: the device, or the
 *	interconnect, whose devices are to see each other's memory
 * @hw: the hardware
 * @devmem: its memory
 * @placeholders: private pages without memory, that stand where pages were whose
 *	contents are gone
 * @counters: what it has done
 * @workers: runs what no program waits for, and serves faults, which may take
 *	as long as programs like
 * @dispatcher: runs @fault_work, which waits for nobody
 * @fault_work: empties the fault buffer
 * @evict_lock: held by who evicts
 * @evict_batch: what it works with, protected by @evict_lock
 * @misc: /dev/dmirrorN
 * @hmm_misc: /dev/hmm_dmirrorN, if there is one
 * @name: of @misc
 * @hmm_name: of @hmm_misc
 * @plug_lock: held by who unplugs the device or plugs it in
 * @present: there is hardware, protected by @plug_lock; @hw then is started and
 *	@devmem initialised
 * @users: who uses it just now; dying while the device is closed to users
 * @unused: nobody uses it any more, and it is closed
 * @mirrors: all mirrors, protected by a lock of svm.c
 *
 * Lives from module init to module exit, plugged in or not. Files hold the
 * module, not the device.
 */
struct dmirror_device {
	unsigned int id;
	enum dmirror_memory_type type;
	u64 start;
	void *owner;
	struct dmirror_hw hw;
	struct dmirror_devmem devmem;
	struct dmirror_devmem placeholders;
	struct dmirror_counters counters;
	struct workqueue_struct *workers;
	struct workqueue_struct *dispatcher;
	struct work_struct fault_work;
	/* One evicts at a time. Outermost, never taken by a fault. */
	struct mutex evict_lock;
	struct dmirror_batch *evict_batch;
	struct miscdevice misc;
	struct miscdevice hmm_misc;
	char name[DMIRROR_NAME_LEN];
	char hmm_name[DMIRROR_NAME_LEN];
	/* One unplugs or plugs in at a time. Outermost of all. */
	struct mutex plug_lock;
	bool present;
	struct percpu_ref users;
	struct completion unused;
	struct list_head mirrors;
};

/**
 * struct dmirror_claim - a page that is being made device-exclusive
 * @link: in the list of struct dmirror_svm
 * @addr: the page
 * @lost: somebody else changed the page meanwhile
 */
struct dmirror_claim {
	struct list_head link;
	u64 addr;
	bool lost;
};

/**
 * struct dmirror_chunk - a block of a mirrored address space that is watched
 * @notifier: tells of every change of it
 * @svm: the mirror
 * @link: in the list of idle chunks, while it has no users and is to go
 * @users: how many look at the block just now
 * @collect: nothing of the block is mapped, and the chunk goes when it has no
 *	users; changes under the lock of the mirror as well
 *
 * Exists from when the device first maps something in the block until soon after
 * the program unmaps that. @link, @users and @collect are protected by the
 * lock of dmirror_svm.chunks.
 */
struct dmirror_chunk {
	struct mmu_interval_notifier notifier;
	struct dmirror_svm *svm;
	struct list_head link;
	unsigned int users;
	bool collect;
};

/**
 * struct dmirror_svm - a mirrored address space: one open file
 * @dev: the device that mirrors it
 * @link: in the list of mirrors of the device
 * @mm: the address space; a reference on the structure, not on its contents
 * @chunks: what of it is watched, by number of block; its own lock protects it,
 *	@idle, and what struct dmirror_chunk says
 * @idle: chunks for @collector to remove
 * @collector: removes them
 * @notifiers: chunks that there are
 * @lock: held for writing to change the page table, for reading while the
 *	device's engines use what it maps
 * @pt: the device's page table, protected by @lock
 * @claims: pages that are being made exclusive just now, protected by @lock
 * @had_exclusive: the device has, or had, pages exclusively; set once
 * @prefer_lock: held to change @preferred
 * @preferred: where ranges are to be, see prefer.c; has a lock of its own, a leaf
 * @jobs_lock: protects @faults, @jobs, @nr_jobs, @last_job and changes of
 *	@stopped
 * @faults: jobs whose faults are to be served
 * @fault_work: serves them
 * @jobs: all of them, complete or not
 * @nr_jobs: how many are in the background, with those that somebody waits for
 * @last_job: number of the last one
 * @through_system: memory on another device may be migrated by way of the system
 * @stopped: the file is being closed, or the device was unplugged: whoever works
 *	for it is to stop
 * @nr_faults: batches faulted in for the device
 * @invalidations: notifier callbacks
 */
struct dmirror_svm {
	struct dmirror_device *dev;
	struct list_head link;
	struct mm_struct *mm;
	struct xarray chunks;
	struct list_head idle;
	struct work_struct collector;
	atomic_t notifiers;
	struct rw_semaphore lock;
	struct dmirror_pt pt;
	struct list_head claims;
	bool had_exclusive;
	/* Changes come one at a time; taken with nothing held. */
	struct mutex prefer_lock;
	struct maple_tree preferred;
	/* Protects what follows up to @last_job. */
	spinlock_t jobs_lock;
	struct list_head faults;
	struct work_struct fault_work;
	struct list_head jobs;
	unsigned int nr_jobs;
	u64 last_job;
	bool through_system;
	bool stopped;
	atomic64_t nr_faults;
	atomic64_t invalidations;
};

/**
 * enum dmirror_preference - where a program would have its memory
 * @DMIRROR_PREFER_NONE: wherever the policy has it
 * @DMIRROR_PREFER_DEVICE: on the device that faults on it
 * @DMIRROR_PREFER_SYSTEM: in system memory
 */
enum dmirror_preference {
	DMIRROR_PREFER_NONE,
	DMIRROR_PREFER_DEVICE,
	DMIRROR_PREFER_SYSTEM,
};

/**
 * struct dmirror_migrate_stats - what a migration came to, in bytes
 * @moved: moved to the target
 * @resident: at the target already
 * @no_memory: stayed, the target had no memory
 * @busy: stayed, held or changed by somebody
 * @unsupported: stayed, memory of this kind does not migrate
 * @failed: stayed, the copy failed, or a memory error has taken the contents
 * @refused: bytes of @unsupported in mappings that mm refuses to look at
 * @entries: of mm's source array that moved: a large folio counts once
 * @fault_addr: the address that an error is about
 */
struct dmirror_migrate_stats {
	u64 moved;
	u64 resident;
	u64 no_memory;
	u64 busy;
	u64 unsupported;
	u64 failed;
	u64 refused;
	u64 entries;
	u64 fault_addr;
};

/**
 * struct dmirror_advice_stats - what an advice came to, in bytes
 * @applied: of memory to which it applies now
 * @dropped: of @applied, whose contents had been dropped
 * @shared: of memory that may be another process's too
 * @busy: of memory that could not be had
 * @untouched: of what the advice has nothing to do with
 * @fault_addr: the address that an error is about
 */
struct dmirror_advice_stats {
	u64 applied;
	u64 dropped;
	u64 shared;
	u64 busy;
	u64 untouched;
	u64 fault_addr;
};

/**
 * struct dmirror_job - something that a program had the device do
 * @svm: the mirror that it belongs to; it stays until the job is complete
 * @end: where the memory that it needs ends; of a compute job as an address like
 *	@hw.addr
 * @hw: of a compute job, what the hardware is given
 * @target: of a migration, 0 for a compute job
 * @start: of a migration, the first address
 * @stats: of a migration
 * @work: of a migration
 * @link: among the jobs of the mirror
 * @id: its number, 0 if it does not run in the background
 * @claimed: somebody waits for it and will get it, protected by the mirror's
 *	jobs_lock
 * @faults: how many times its memory was not mapped
 * @last_done: how far it was when memory was migrated for it
 * @migrations: how often that was, at this point
 * @eventfd: to signal, or NULL
 * @done: that it is complete
 * @ret: what came of it
 * @bytes: how much was done
 * @fault_addr: the address that an error is about
 */
struct dmirror_job {
	struct dmirror_svm *svm;
	u64 end;
	struct dmirror_hw_job hw;
	enum dmirror_target target;
	u64 start;
	struct dmirror_migrate_stats stats;
	struct work_struct work;
	struct list_head link;
	u64 id;
	bool claimed;
	u64 faults;
	u64 last_done;
	unsigned int migrations;
	struct eventfd_ctx *eventfd;
	struct completion done;
	int ret;
	u64 bytes;
	u64 fault_addr;
};

/**
 * enum dmirror_evict - why all of a device's memory is evicted
 * @DMIRROR_EVICT_RELEASE: a program asks for it: give up if it takes long, or on
 *	a fatal signal
 * @DMIRROR_EVICT_UNPLUG: the device goes away: do not give up, but on a signal
 * @DMIRROR_EVICT_UNLOAD: the module goes away: never give up
 */
enum dmirror_evict {
	DMIRROR_EVICT_RELEASE,
	DMIRROR_EVICT_UNPLUG,
	DMIRROR_EVICT_UNLOAD,
};

/*
 * Whether an error is about an address, and further on there may be none. Others
 * are about the call.
 */
static inline bool dmirror_is_address_error(int error)
{
	return error == -EFAULT || error == -EPERM || error == -ENODATA ||
	       error == -EHWPOISON;
}

/* Whoever works for a mirror is to stop: on its own account, or the file's. */
static inline bool dmirror_svm_stopped(const struct dmirror_svm *svm)
{
	return fatal_signal_pending(current) || READ_ONCE(svm->stopped);
}

/*
 * Whether a huge page can move to this device as one folio. mm cannot migrate
 * coherent memory that one PMD maps back, so that is kept in pages.
 */
static inline bool dmirror_has_large_folios(const struct dmirror_device *dev)
{
	return MIGRATE_PFN_COMPOUND != 0 &&
	       IS_ENABLED(CONFIG_TRANSPARENT_HUGEPAGE) &&
	       dev->type == DMIRROR_MEMORY_PRIVATE;
}

/* The end of the part of a range that lies in the block of addr. */
static inline u64 dmirror_block_end(u64 addr, u64 end)
{
	return addr + min_t(u64, end - addr,
			    DMIRROR_BLOCK_SIZE - (addr & ~DMIRROR_BLOCK_MASK));
}

/* main.c */
bool dmirror_ready(void);
struct dmirror_device *dmirror_device_nr(unsigned int nr);
u64 dmirror_placeholder_size(void);
unsigned long dmirror_min_residency(void);
u64 dmirror_cpu_fault_window(void);
u64 dmirror_device_fault_window(void);

/* ioctl.c */
extern const struct file_operations dmirror_fops;
int dmirror_release(struct inode *inode, struct file *file);
void dmirror_show_fdinfo(struct seq_file *m, struct file *file);

/* hmm_abi.c */
extern const struct file_operations dmirror_hmm_fops;

/* plug.c */
int dmirror_plug_init(struct dmirror_device *dev);
void dmirror_plug_fini(struct dmirror_device *dev);
int dmirror_plug(struct dmirror_device *dev);
int dmirror_unplug(struct dmirror_device *dev);
bool dmirror_device_enter(struct dmirror_device *dev);
void dmirror_device_hold(struct dmirror_device *dev);
void dmirror_device_exit(struct dmirror_device *dev);
bool dmirror_device_closed(struct dmirror_device *dev);

/* svm.c */
void dmirror_svm_teach_lockdep(struct dmirror_device *dev);
struct dmirror_svm *dmirror_svm_create(struct dmirror_device *dev);
void dmirror_svm_destroy(struct dmirror_svm *svm);
int dmirror_svm_enter(struct dmirror_svm *svm);
int dmirror_svm_exit(struct dmirror_svm *svm, int ret);
struct mem_cgroup *dmirror_svm_memcg(struct dmirror_svm *svm);
void dmirror_mirrors_stop(struct dmirror_device *dev);
void dmirror_mirrors_unmap(struct dmirror_device *dev);
struct dmirror_chunk *dmirror_chunk_get(struct dmirror_svm *svm, u64 addr);
void dmirror_chunk_keep(struct dmirror_chunk *chunk);
void dmirror_chunk_put(struct dmirror_chunk *chunk);

/* fault.c */
int dmirror_fault_range(struct dmirror_svm *svm, u64 start, u64 end, bool write,
			u64 *fault_addr);
int dmirror_snapshot(struct dmirror_svm *svm, struct dmirror_device *owner,
		     u64 start, unsigned long nr, unsigned long *pfns,
		     u64 *dptes);
int dmirror_find_page(struct dmirror_svm *svm, u64 addr);

void dmirror_fault_interrupt(struct dmirror_hw *hw);
void dmirror_fault_work(struct work_struct *work);
void dmirror_serve_faults(struct work_struct *work);

/* job.c */
int dmirror_job_run(struct dmirror_svm *svm, struct dmirror_hw_job *template,
		    u64 end, u64 *faults);
int dmirror_job_submit(struct dmirror_svm *svm,
		       const struct dmirror_hw_job *template,
		       struct eventfd_ctx *eventfd, u64 *id);
int dmirror_job_migrate(struct dmirror_svm *svm, enum dmirror_target target,
			u64 start, u64 end, struct eventfd_ctx *eventfd, u64 *id);
struct dmirror_job *dmirror_job_wait(struct dmirror_svm *svm, u64 id,
				     bool poll);
void dmirror_job_finish(struct dmirror_svm *svm, struct dmirror_job *job);
void dmirror_job_forget(struct dmirror_svm *svm, u64 id);
void dmirror_jobs_stop(struct dmirror_svm *svm);
void dmirror_jobs_cancel(struct dmirror_svm *svm);

/* migrate.c */
int dmirror_migrate_range(struct dmirror_svm *svm, enum dmirror_target target,
			  u64 start, u64 end,
			  struct dmirror_migrate_stats *stats);
void dmirror_migrate_window(struct dmirror_svm *svm, u64 addr, u64 start,
			    u64 end);
vm_fault_t dmirror_migrate_to_ram(struct vm_fault *vmf);
int dmirror_evict_init(struct dmirror_device *dev);
void dmirror_evict_fini(struct dmirror_device *dev);
int dmirror_evict_all(struct dmirror_device *dev, enum dmirror_evict why);
unsigned long dmirror_evict_some(struct dmirror_device *dev,
				 unsigned long wanted);
int dmirror_poison(struct dmirror_device *dev, u64 offset);
int dmirror_evict_now(struct dmirror_device *dev, unsigned long wanted);

/* advise.c */
int dmirror_advise_range(struct dmirror_svm *svm, bool needed, u64 start,
			 u64 end, struct dmirror_advice_stats *stats);

/* prefer.c */
int dmirror_prefer(struct dmirror_svm *svm, enum dmirror_preference what,
		   u64 start, u64 end);
enum dmirror_preference dmirror_preferred(struct dmirror_svm *svm, u64 addr,
					  u64 *start, u64 *end);

/* exclusive.c */
int dmirror_exclusive_page(struct dmirror_svm *svm, u64 addr);
int dmirror_atomic(struct dmirror_svm *svm, struct dmirror_hw_job *job,
		   u32 *flags);

/* devmem.c */
int dmirror_devmem_init(struct dmirror_device *dev);
void dmirror_devmem_fini(struct dmirror_device *dev);
struct folio *dmirror_devmem_alloc(struct dmirror_device *dev,
				   unsigned int order, struct dmirror_run *run,
				   unsigned int want);
void dmirror_devmem_put_run(struct dmirror_device *dev, struct dmirror_run *run);
struct folio *dmirror_placeholder_alloc(struct dmirror_device *dev,
					unsigned int order);
bool dmirror_placeholders_left(struct dmirror_device *dev, unsigned int order);
unsigned long dmirror_devmem_used_pfns(struct dmirror_devmem *devmem,
				       unsigned long block, bool purgeable,
				       unsigned long *pfns);
void dmirror_devmem_touch(struct dmirror_devmem *devmem, u64 offset);
bool dmirror_devmem_hold(struct dmirror_devmem *devmem, unsigned long block);
void dmirror_devmem_release(struct dmirror_devmem *devmem, unsigned long block);
long dmirror_devmem_isolate(struct dmirror_devmem *devmem,
			    unsigned long residency, unsigned long *young);
void dmirror_devmem_putback(struct dmirror_devmem *devmem, unsigned long block);
void dmirror_devmem_note_evicted(struct dmirror_devmem *devmem,
				 unsigned long pfn);
bool dmirror_devmem_refaulted(struct dmirror_devmem *devmem, unsigned long pfn);
void dmirror_devmem_close(struct dmirror_device *dev);
void dmirror_devmem_open(struct dmirror_device *dev);
bool dmirror_devmem_fail_once(struct dmirror_devmem *devmem,
			      const struct mm_struct *mm);
struct dmirror_device *dmirror_zone_device(const struct page *page);

/**
 * dmirror_page_device() - whose memory a page is
 * @page: any page
 *
 * Context: the caller knows that the page stays: it holds a reference, or the
 * mirror's lock with a valid notifier sequence.
 * Return: the device, also for its placeholders; NULL if the page is not memory of
 * this driver.
 */
static inline struct dmirror_device *
dmirror_page_device(const struct page *page)
{
	return is_zone_device_page(page) ? dmirror_zone_device(page) : NULL;
}

struct dmirror_device *dmirror_pfn_device(unsigned long pfn);
bool dmirror_devmem_poison(struct dmirror_devmem *devmem, unsigned long page);
void dmirror_page_set_poisoned(const struct page *page);
bool dmirror_page_is_placeholder(const struct page *page);
bool dmirror_page_purgeable(const struct page *page);
void dmirror_page_set_purgeable(const struct page *page, unsigned long nr,
				bool purgeable);
int dmirror_pages_check(const struct page *page, unsigned long nr);
int dmirror_pfn_check(unsigned long pfn);
u64 dmirror_bus_addr(const struct dmirror_device *dev, const struct page *page);
#if IS_ENABLED(CONFIG_KUNIT)
int dmirror_blocks_init(struct dmirror_devmem *devmem, u64 size);
void dmirror_blocks_free(struct dmirror_devmem *devmem);
long dmirror_pages_take(struct dmirror_devmem *devmem, unsigned int order,
			unsigned int *nr);
void dmirror_pages_return(struct dmirror_devmem *devmem, unsigned long page,
			  unsigned int order);
#endif

/* debugfs.c */
void dmirror_debugfs_init(void);
void dmirror_debugfs_exit(void);
#ifdef CONFIG_FAULT_INJECTION_DEBUG_FS
bool dmirror_should_fail_copy(void);
bool dmirror_should_fail_fault(void);
bool dmirror_should_lose_race(void);
#else
static inline bool dmirror_should_fail_copy(void) { return false; }
static inline bool dmirror_should_fail_fault(void) { return false; }
static inline bool dmirror_should_lose_race(void) { return false; }
#endif

#endif /* DMIRROR_H */
