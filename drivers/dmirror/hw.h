/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The hardware, as the rest of the driver sees it. These are the functions to
 * re-implement for a device of your own.
 */
#ifndef DMIRROR_HW_H
#define DMIRROR_HW_H

#include <linux/atomic.h>
#include <linux/gfp_types.h>
#include <linux/mempool.h>
#include <linux/mutex.h>
#include <linux/rwsem.h>
#include <linux/spinlock.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>

struct dma_fence;
struct dmirror_hw;
struct dmirror_pt;

/*
 * An address as the device's engines take it: an offset in the device's own
 * memory, a bus address with DMIRROR_HW_SYSTEM set, or an offset in the memory
 * of another device on the interconnect, with DMIRROR_HW_PEER and that device's
 * number set. As a source, the address DMIRROR_HW_ZERO reads as zeroes.
 */
#define DMIRROR_HW_PEER_SHIFT	48
#define DMIRROR_HW_PEERS_MAX	256
#define DMIRROR_HW_PEER		BIT_ULL(61)
#define DMIRROR_HW_SYSTEM	BIT_ULL(62)
#define DMIRROR_HW_ZERO		BIT_ULL(63)

#define DMIRROR_HW_ENGINES_MAX	8

/**
 * struct dmirror_hw_engine - one copy engine
 * @hw: of which it is a part
 * @queue: runs its jobs, one after the other; NULL while it is stopped
 * @busy: held while a job runs
 * @lock: protects what follows; also the lock of the jobs' fences
 * @context: of the fences
 * @seqno: of the last job that was submitted
 * @depth: jobs submitted and not yet complete
 * @depth_max: the highest that was
 * @jobs: completed, with the failed ones
 * @errors: of these, failed
 * @bytes: copied
 * @ns: spent copying
 */
struct dmirror_hw_engine {
	struct dmirror_hw *hw;
	struct workqueue_struct *queue;
	/* Jobs run one at a time, whoever runs them. */
	struct mutex busy;
	/* Protects what follows; taken with interrupts off. */
	spinlock_t lock;
	u64 context;
	u64 seqno;
	unsigned int depth;
	unsigned int depth_max;
	u64 jobs;
	u64 errors;
	u64 bytes;
	u64 ns;
};

/**
 * struct dmirror_hw_faults - the buffer that the compute engine reports faults in
 * @lock: protects what follows
 * @list: jobs that have faulted and wait, oldest first
 * @nr: how many
 * @size: how many at most; the engine stalls then
 * @held: nobody takes faults out, for tests
 * @space: where a stalled engine waits
 * @reported: faults that were put in
 * @stalls: times that the engine found it full
 * @interrupt: called when there is something to take out; any context
 */
struct dmirror_hw_faults {
	/* Protects what follows. These engines report in process context. */
	spinlock_t lock;
	struct list_head list;
	unsigned int nr;
	unsigned int size;
	bool held;
	wait_queue_head_t space;
	u64 reported;
	u64 stalls;
	void (*interrupt)(struct dmirror_hw *hw);
};

/**
 * struct dmirror_hw_link - an interconnect
 * @members: the devices on it, by number; set while nobody uses it
 */
struct dmirror_hw_link {
	struct dmirror_hw *members[DMIRROR_HW_PEERS_MAX];
};

/**
 * struct dmirror_hw - one device's hardware
 * @id: of the device
 * @engines: the copy engines, @nr_engines of them
 * @nr_engines: how many
 * @share: bytes that each engine gets of a block that is in one piece
 * @next_engine: where to look for an idle one
 * @jobs: memory for copy jobs, so that one at a time never fails. Who has it waits
 *	for nothing but the engine
 * @link: the interconnect that the device is on, or NULL
 * @compute: the compute engine
 * @faults: what its jobs found not to be mapped
 * @size: bytes of device memory
 * @base: where the CPU sees the device's memory, NULL if it does not
 * @cells: what stands in for memory that the CPU does not see: one vmalloc
 *	area for each block of it, made when the block is first used
 * @accessed: of each block of memory, whether a compute engine has used it
 */
struct dmirror_hw {
	unsigned int id;
	struct dmirror_hw_engine engines[DMIRROR_HW_ENGINES_MAX];
	unsigned int nr_engines;
	u64 share;
	atomic_t next_engine;
	mempool_t *jobs;
	struct dmirror_hw_link *link;
	struct workqueue_struct *compute;
	struct dmirror_hw_faults faults;
	u64 size;
	void *base;
	void **cells;
	unsigned long *accessed;
};

/**
 * struct dmirror_hw_segment - one run for the copy engine
 * @dst: device address to write
 * @src: device address to read, or DMIRROR_HW_ZERO
 * @len: bytes
 */
struct dmirror_hw_segment {
	u64 dst;
	u64 src;
	u64 len;
};

/**
 * enum dmirror_hw_op - what a compute job does
 * @DMIRROR_HW_READ: copy from mirrored memory into a buffer
 * @DMIRROR_HW_WRITE: copy from the buffer to mirrored memory
 * @DMIRROR_HW_FILL: store the job's operand over and over
 * @DMIRROR_HW_COPY: copy from mirrored to mirrored memory
 * @DMIRROR_HW_ADD: atomically add
 * @DMIRROR_HW_CAS: atomically compare and swap
 */
enum dmirror_hw_op {
	DMIRROR_HW_READ,
	DMIRROR_HW_WRITE,
	DMIRROR_HW_FILL,
	DMIRROR_HW_COPY,
	DMIRROR_HW_ADD,
	DMIRROR_HW_CAS,
};

/**
 * struct dmirror_hw_job - a compute job on mirrored memory
 * @op: what to do
 * @width: of an atomic operation, 4 or 8 bytes
 * @addr: virtual address to work on
 * @src: virtual address that DMIRROR_HW_COPY reads
 * @len: bytes to work on
 * @buf: of a read or write, @len bytes
 * @user: where @buf is NULL, memory of the program whose context the job runs in;
 *	hmm_abi.c only
 * @user_fault: the CPU could not access @user
 * @operand: of a fill or an atomic operation
 * @compare: of a compare and swap
 * @result: what the memory held before an atomic operation
 * @local: the atomic operation was on the device's own memory
 * @done: bytes done so far, where the job goes on
 * @fault_addr: the virtual address that the device's page table does not map,
 *	or not with the right that the job needs
 * @fault_write: the job was to write there
 * @pt: the page table to walk
 * @pt_lock: held for reading by who walks it, so that who changes it waits for
 *	the engine
 * @cancelled: the job is to end
 * @hw: the hardware that it is for
 * @complete: called at the end, with 0 or an error; the job may be freed in it
 * @work: the engine's
 * @fault_link: in the fault buffer, and then in the list of who serves faults
 */
struct dmirror_hw_job {
	enum dmirror_hw_op op;
	unsigned int width;
	u64 addr;
	u64 src;
	u64 len;
	void *buf;
	void __user *user;
	bool user_fault;
	u64 operand;
	u64 compare;
	u64 result;
	bool local;
	u64 done;
	u64 fault_addr;
	bool fault_write;
	const struct dmirror_pt *pt;
	struct rw_semaphore *pt_lock;
	bool cancelled;
	void (*complete)(struct dmirror_hw_job *job, int ret);
	struct dmirror_hw *hw;
	struct work_struct work;
	struct list_head fault_link;
};

void dmirror_hw_init(struct dmirror_hw *hw, u64 size, unsigned int engines,
		     unsigned int fault_entries);
int dmirror_hw_start(struct dmirror_hw *hw, void *base);
void dmirror_hw_stop(struct dmirror_hw *hw);
int dmirror_hw_populate(struct dmirror_hw *hw, u64 offset);
void dmirror_hw_trim_all(struct dmirror_hw *hw);
bool dmirror_hw_test_and_clear_accessed(struct dmirror_hw *hw, u64 offset);

struct dma_fence *dmirror_hw_copy(struct dmirror_hw *hw,
				  const struct dmirror_hw_segment *segments,
				  unsigned int nr, gfp_t gfp, bool last);
void dmirror_hw_help(struct dma_fence *fence);
int dmirror_hw_run(struct dmirror_hw *hw, const struct dmirror_pt *pt,
		   struct dmirror_hw_job *job);
void dmirror_hw_submit(struct dmirror_hw_job *job);
void dmirror_hw_replay(struct dmirror_hw_job *job);
void dmirror_hw_cancel(struct dmirror_hw_job *job);
struct dmirror_hw_job *dmirror_hw_next_fault(struct dmirror_hw *hw);
void dmirror_hw_hold_faults(struct dmirror_hw *hw, bool hold);
u64 dmirror_hw_bus_atomic(struct page *page, const struct dmirror_hw_job *job);

#endif /* DMIRROR_HW_H */
