// SPDX-License-Identifier: GPL-2.0
/*
 * The driver's own ABI: one table of ioctls, every check of an argument, and
 * the dispatch. What each does is said in include/uapi/linux/dmirror.h.
 */
#include <linux/eventfd.h>
#include <linux/fs.h>
#include <linux/hmm.h>
#include <linux/overflow.h>
#include <linux/sched/mm.h>
#include <linux/seq_file.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dmirror.h"

/* Reads and writes go through a buffer of this size, whatever their length. */
#define BOUNCE_SIZE	SZ_64K

union ioctl_arg {
	__u32 size;
	struct dmirror_query query;
	struct dmirror_migrate migrate;
	struct dmirror_rw rw;
	struct dmirror_fill fill;
	struct dmirror_copy copy;
	struct dmirror_atomic atomic;
	struct dmirror_snapshot snapshot;
	struct dmirror_submit submit;
	struct dmirror_wait wait;
	struct dmirror_advise advise;
};

/* The range must be in the address space, and aligned if @align is not 1. */
static int check_range(const struct dmirror_svm *svm, u64 addr, u64 length,
		       u64 align, u64 *end)
{
	if (!length || (addr | length) & (align - 1))
		return -EINVAL;
	if (check_add_overflow(addr, length, end) ||
	    *end > svm->mm->task_size)
		return -EOVERFLOW;
	return 0;
}

static int ioctl_query(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_device *dev = svm->dev;
	struct dmirror_counters *counters = &dev->counters;

	arg->query = (struct dmirror_query) {
		.size		 = arg->size,
		.version	 = DMIRROR_ABI_VERSION,
		.capabilities	 = DMIRROR_CAP_MIGRATE | DMIRROR_CAP_ATOMIC |
				   DMIRROR_CAP_JOBS,
		.device		 = dev->id,
		.memory_type	 = dev->type,
		.memory_size	 = dev->hw.size,
		.memory_used	 = PFN_PHYS(READ_ONCE(dev->devmem.used)),
		.page_size	 = PAGE_SIZE,
		.large_page_size = PAGE_SIZE,
		.to_device	 = atomic64_read(&counters->to_device),
		.to_system	 = atomic64_read(&counters->to_system),
		.cpu_faults	 = atomic64_read(&counters->cpu_faults),
		.device_faults	 = atomic64_read(&counters->device_faults),
		.invalidations	 = atomic64_read(&counters->invalidations),
		.evicted	 = atomic64_read(&counters->evicted),
		.copy_errors	 = atomic64_read(&counters->copy_errors),
		.refaults	 = atomic64_read(&counters->refaults),
		.purged		 = atomic64_read(&counters->purged),
		.poisoned	 = PFN_PHYS(READ_ONCE(dev->devmem.poisoned)),
	};
	if (dev->placeholders.nr_blocks)
		arg->query.capabilities |= DMIRROR_CAP_PURGE;
	if (dmirror_has_large_folios(dev)) {
		arg->query.capabilities |= DMIRROR_CAP_LARGE_FOLIO;
		arg->query.large_page_size = DMIRROR_BLOCK_SIZE;
	}
	return 0;
}

static bool valid_target(u64 target)
{
	return target >= DMIRROR_TARGET_SYSTEM && target <= DMIRROR_TARGET_STAY;
}

static int ioctl_migrate(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_migrate *args = &arg->migrate;
	struct dmirror_migrate_stats stats = {};
	u64 end;
	int ret;

	args->moved = 0;
	args->resident = 0;
	args->no_memory = 0;
	args->busy = 0;
	args->unsupported = 0;
	args->failed = 0;
	args->fault_addr = 0;
	if (!valid_target(args->target))
		return -EINVAL;
	ret = check_range(svm, args->addr, args->length, PAGE_SIZE, &end);
	if (ret)
		return ret;

	ret = dmirror_migrate_range(svm, args->target, args->addr, end, &stats);
	args->moved = stats.moved;
	args->resident = stats.resident;
	args->no_memory = stats.no_memory;
	args->busy = stats.busy;
	args->unsupported = stats.unsupported;
	args->failed = stats.failed;
	args->fault_addr = stats.fault_addr;
	return ret;
}

/* In pieces through a bounce buffer: user memory may fault, but not under the engine. */
static int read_write(struct dmirror_svm *svm, struct dmirror_rw *args,
		      bool write, u64 end)
{
	void __user *data = u64_to_user_ptr(args->data);
	size_t size = min_t(u64, args->length, BOUNCE_SIZE);
	struct dmirror_hw_job job;
	void *bounce;
	int ret = 0;

	bounce = kvmalloc(size, GFP_KERNEL_ACCOUNT);
	if (!bounce)
		return -ENOMEM;

	while (args->done < args->length && !ret) {
		/* What is mapped is done without a wait that could be killed. */
		cond_resched();
		if (dmirror_svm_stopped(svm)) {
			ret = -EINTR;
			break;
		}
		job = (struct dmirror_hw_job) {
			.op   = write ? DMIRROR_HW_WRITE : DMIRROR_HW_READ,
			.addr = args->addr + args->done,
			.len  = min_t(u64, args->length - args->done, size),
			.buf  = bounce,
		};
		if (write && copy_from_user(bounce, data + args->done, job.len)) {
			ret = -EFAULT;
			break;
		}
		ret = dmirror_job_run(svm, &job, end, &args->faults);
		args->fault_addr = ret ? job.fault_addr : 0;
		if (!write && copy_to_user(data + args->done, bounce, job.done)) {
			ret = -EFAULT;
			break;
		}
		args->done += job.done;
	}
	kvfree(bounce);
	return ret;
}

static int ioctl_rw(struct dmirror_svm *svm, union ioctl_arg *arg, bool write)
{
	struct dmirror_rw *args = &arg->rw;
	u64 end;
	int ret;

	args->done = 0;
	args->fault_addr = 0;
	args->faults = 0;
	if (args->reserved)
		return -EINVAL;
	ret = check_range(svm, args->addr, args->length, 1, &end);
	if (ret)
		return ret;
	return read_write(svm, args, write, end);
}

static int ioctl_read(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	return ioctl_rw(svm, arg, false);
}

static int ioctl_write(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	return ioctl_rw(svm, arg, true);
}

/* A fill or a copy, if its arguments are right, and the end of what it writes to. */
static int compute_job(struct dmirror_svm *svm, enum dmirror_hw_op op, u64 addr,
		       u64 length, u64 argument, struct dmirror_hw_job *job,
		       u64 *end)
{
	u64 src_end;
	int ret;

	*job = (struct dmirror_hw_job) {
		.op   = op,
		.addr = addr,
		.len  = length,
	};
	if (op == DMIRROR_HW_FILL) {
		job->operand = argument;
		return check_range(svm, addr, length, sizeof(u64), end);
	}
	job->src = argument;
	ret = check_range(svm, addr, length, 1, end);
	if (!ret)
		ret = check_range(svm, argument, length, 1, &src_end);
	if (!ret && addr < src_end && argument < *end)
		ret = -EINVAL;
	return ret;
}

static int ioctl_fill(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_fill *args = &arg->fill;
	struct dmirror_hw_job job;
	u64 end;
	int ret;

	args->done = 0;
	args->fault_addr = 0;
	args->faults = 0;
	if (args->reserved)
		return -EINVAL;
	ret = compute_job(svm, DMIRROR_HW_FILL, args->addr, args->length,
			  args->pattern, &job, &end);
	if (ret)
		return ret;

	ret = dmirror_job_run(svm, &job, end, &args->faults);
	args->done = job.done;
	args->fault_addr = ret ? job.fault_addr : 0;
	return ret;
}

static int ioctl_copy(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_copy *args = &arg->copy;
	struct dmirror_hw_job job;
	u64 end;
	int ret;

	args->done = 0;
	args->fault_addr = 0;
	args->faults = 0;
	if (args->reserved)
		return -EINVAL;
	ret = compute_job(svm, DMIRROR_HW_COPY, args->dst, args->length,
			  args->src, &job, &end);
	if (ret)
		return ret;

	ret = dmirror_job_run(svm, &job, end, &args->faults);
	args->done = job.done;
	args->fault_addr = ret ? job.fault_addr : 0;
	return ret;
}

static int ioctl_atomic(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_atomic *args = &arg->atomic;
	struct dmirror_hw_job job = {
		.op	 = DMIRROR_HW_ADD,
		.addr	 = args->addr,
		.len	 = args->width,
		.width	 = args->width,
		.operand = args->operand,
		.compare = args->compare,
	};
	u64 end;
	int ret;

	args->flags = 0;
	args->result = 0;
	args->fault_addr = 0;
	if (args->width != sizeof(u32) && args->width != sizeof(u64))
		return -EINVAL;
	if (args->width == sizeof(u32) &&
	    upper_32_bits(args->operand | args->compare))
		return -EINVAL;
	if (args->op == DMIRROR_ATOMIC_CAS)
		job.op = DMIRROR_HW_CAS;
	else if (args->op != DMIRROR_ATOMIC_ADD || args->compare)
		return -EINVAL;
	ret = check_range(svm, args->addr, args->width, args->width, &end);
	if (ret)
		return ret;

	ret = dmirror_atomic(svm, &job, &args->flags);
	args->result = job.result;
	args->fault_addr = ret ? job.fault_addr : 0;
	return ret;
}

static int ioctl_submit(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_submit *args = &arg->submit;
	struct eventfd_ctx *eventfd = NULL;
	struct dmirror_hw_job job;
	u64 end;
	int ret = -EINVAL;

	args->job = 0;
	if (args->reserved || args->eventfd < -1)
		return -EINVAL;
	if (args->op == DMIRROR_JOB_FILL)
		ret = compute_job(svm, DMIRROR_HW_FILL, args->addr, args->length,
				  args->argument, &job, &end);
	else if (args->op == DMIRROR_JOB_COPY)
		ret = compute_job(svm, DMIRROR_HW_COPY, args->addr, args->length,
				  args->argument, &job, &end);
	else if (args->op == DMIRROR_JOB_MIGRATE && valid_target(args->argument))
		ret = check_range(svm, args->addr, args->length, PAGE_SIZE,
				  &end);
	if (ret)
		return ret;

	if (args->eventfd >= 0) {
		eventfd = eventfd_ctx_fdget(args->eventfd);
		if (IS_ERR(eventfd))
			return -EBADF;
	}
	if (args->op == DMIRROR_JOB_MIGRATE)
		return dmirror_job_migrate(svm, args->argument, args->addr, end,
					   eventfd, &args->job);
	return dmirror_job_submit(svm, &job, eventfd, &args->job);
}

static int ioctl_wait(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_wait *args = &arg->wait;
	struct dmirror_job *job;

	args->error = 0;
	args->done = 0;
	args->fault_addr = 0;
	args->faults = 0;
	args->stayed = 0;
	if (args->flags & ~DMIRROR_WAIT_POLL)
		return -EINVAL;
	job = dmirror_job_wait(svm, args->job, args->flags & DMIRROR_WAIT_POLL);
	if (IS_ERR(job))
		return PTR_ERR(job);

	args->error = -job->ret;
	args->done = job->bytes;
	args->fault_addr = job->ret ? job->fault_addr : 0;
	args->faults = job->faults;
	args->stayed = job->stats.no_memory + job->stats.busy +
		       job->stats.unsupported + job->stats.failed;
	dmirror_job_finish(svm, job);
	return 0;
}

static int advise_place(struct dmirror_svm *svm, struct dmirror_advise *args,
			u64 end)
{
	static const enum dmirror_preference what[] = {
		[DMIRROR_ADVICE_PREFER_DEVICE] = DMIRROR_PREFER_DEVICE,
		[DMIRROR_ADVICE_PREFER_SYSTEM] = DMIRROR_PREFER_SYSTEM,
		[DMIRROR_ADVICE_PREFER_NONE]   = DMIRROR_PREFER_NONE,
	};
	int ret;

	ret = dmirror_prefer(svm, what[args->advice], args->addr, end);
	args->applied = ret ? 0 : args->length;
	return ret;
}

static int ioctl_advise(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_advise *args = &arg->advise;
	struct dmirror_advice_stats stats = {};
	bool needed = args->advice == DMIRROR_ADVICE_WILLNEED;
	u64 end;
	int ret;

	args->applied = 0;
	args->dropped = 0;
	args->shared = 0;
	args->busy = 0;
	args->untouched = 0;
	args->fault_addr = 0;
	args->retained = 0;
	if (args->reserved || !args->advice ||
	    args->advice > DMIRROR_ADVICE_PREFER_NONE)
		return -EINVAL;
	ret = check_range(svm, args->addr, args->length, PAGE_SIZE, &end);
	if (ret)
		return ret;
	if (args->advice >= DMIRROR_ADVICE_PREFER_DEVICE)
		return advise_place(svm, args, end);
	if (args->advice == DMIRROR_ADVICE_READ_MOSTLY ||
	    (!needed && !svm->dev->placeholders.nr_blocks))
		return -EOPNOTSUPP;

	ret = dmirror_advise_range(svm, needed, args->addr, end, &stats);
	args->applied = stats.applied;
	args->dropped = stats.dropped;
	args->shared = stats.shared;
	args->busy = stats.busy;
	args->untouched = stats.untouched;
	args->fault_addr = stats.fault_addr;
	args->retained = needed && !ret && !stats.dropped;
	return ret;
}

/* What a snapshot says of one page. */
static struct dmirror_page describe(struct dmirror_svm *svm,
				    unsigned long hmm_pfn, u64 dpte)
{
	struct dmirror_page answer = {};
	struct dmirror_device *dev;
	unsigned long pfn;
	int error;

	if (dpte)
		answer.flags |= DMIRROR_PAGE_MAPPED;
	if (dpte & DPTE_ATOMIC) {
		/* mm keeps an entry there that reads as a hole. */
		answer.place = DMIRROR_PLACE_SYSTEM;
		answer.flags |= DMIRROR_PAGE_EXCLUSIVE | DMIRROR_PAGE_READ |
				DMIRROR_PAGE_WRITE;
		return answer;
	}
	if (hmm_pfn & HMM_PFN_ERROR) {
		answer.flags |= DMIRROR_PAGE_DENIED;
		return answer;
	}
	if (!(hmm_pfn & HMM_PFN_VALID))
		return answer;

	pfn = page_to_pfn(hmm_pfn_to_page(hmm_pfn));
	dev = dmirror_pfn_device(pfn);
	/* Another device may go, and its marks with it. */
	error = dev == svm->dev ? dmirror_pfn_check(pfn) : 0;
	if (error) {
		answer.place = error == -EHWPOISON ? DMIRROR_PLACE_POISONED :
						     DMIRROR_PLACE_DROPPED;
		answer.device = dev->id;
	} else if (dev) {
		answer.place = dev == svm->dev ? DMIRROR_PLACE_LOCAL :
						 DMIRROR_PLACE_REMOTE;
		answer.device = dev->id;
	} else if (is_zero_pfn(pfn)) {
		answer.place = DMIRROR_PLACE_ZERO;
	} else {
		answer.place = DMIRROR_PLACE_SYSTEM;
	}
	answer.flags |= DMIRROR_PAGE_READ;
	if (hmm_pfn & HMM_PFN_WRITE)
		answer.flags |= DMIRROR_PAGE_WRITE;
	answer.order = hmm_pfn_to_map_order(hmm_pfn);
	return answer;
}

/* The arrays of a snapshot of up to a block. */
struct snapshot_batch {
	unsigned long pfns[DMIRROR_BLOCK_PAGES];
	u64 dptes[DMIRROR_BLOCK_PAGES];
	struct dmirror_page pages[DMIRROR_BLOCK_PAGES];
};

/*
 * mm tells private pages from holes only to their owner: ask as each of the
 * other devices about the pages that still look like holes. A coherent device has
 * such pages too, as placeholders.
 */
static int find_remote(struct dmirror_svm *svm, u64 start, unsigned long nr,
		       struct snapshot_batch *batch)
{
	struct dmirror_device *dev;
	unsigned int number;
	unsigned long i;
	int ret;

	for (number = 0; (dev = dmirror_device_nr(number)); number++) {
		if (dev == svm->dev)
			continue;

		for (i = 0; i < nr; i++)
			if (batch->pages[i].place == DMIRROR_PLACE_HOLE)
				break;
		if (i == nr)
			return 0;

		ret = dmirror_snapshot(svm, dev, start, nr, batch->pfns, NULL);
		if (ret)
			return ret;
		for (i = 0; i < nr; i++)
			if (batch->pages[i].place == DMIRROR_PLACE_HOLE)
				batch->pages[i] = describe(svm, batch->pfns[i],
							   0);
	}
	return 0;
}

static int snapshot_block(struct dmirror_svm *svm, u64 start, unsigned long nr,
			  struct snapshot_batch *batch)
{
	unsigned long i;
	int ret;

	ret = dmirror_snapshot(svm, svm->dev, start, nr, batch->pfns,
			       batch->dptes);
	if (ret)
		return ret;
	for (i = 0; i < nr; i++)
		batch->pages[i] = describe(svm, batch->pfns[i],
					   batch->dptes[i]);
	return find_remote(svm, start, nr, batch);
}

static int ioctl_snapshot(struct dmirror_svm *svm, union ioctl_arg *arg)
{
	struct dmirror_snapshot *args = &arg->snapshot;
	struct dmirror_page __user *pages = u64_to_user_ptr(args->pages);
	struct snapshot_batch *batch;
	u64 addr = args->addr, end;
	int ret;

	args->done = 0;
	if (args->reserved)
		return -EINVAL;
	ret = check_range(svm, args->addr, args->length, PAGE_SIZE, &end);
	if (ret)
		return ret;

	batch = kvmalloc_obj(*batch, GFP_KERNEL_ACCOUNT);
	if (!batch)
		return -ENOMEM;
	while (addr < end) {
		u64 next = dmirror_block_end(addr, end);
		unsigned long nr = (next - addr) >> PAGE_SHIFT;

		ret = snapshot_block(svm, addr, nr, batch);
		if (ret)
			break;
		if (copy_to_user(pages + args->done, batch->pages,
				 nr * sizeof(*pages))) {
			ret = -EFAULT;
			break;
		}
		args->done += nr;
		addr = next;
		cond_resched();
	}
	kvfree(batch);
	return ret;
}

/**
 * struct ioctl_entry - an ioctl
 * @cmd: its number, with the size of the structure that this driver knows
 * @min_size: of the structure's first version, the least that is accepted
 * @func: does it, with the structure copied in; copies nothing out
 */
struct ioctl_entry {
	unsigned int cmd;
	size_t min_size;
	int (*func)(struct dmirror_svm *svm, union ioctl_arg *arg);
};

#define IOCTL(_cmd, _struct, _last, _func)				\
	{								\
		.cmd	  = _cmd,					\
		.min_size = offsetofend(struct _struct, _last),		\
		.func	  = _func,					\
	}

static const struct ioctl_entry ioctls[] = {
	IOCTL(DMIRROR_IOC_QUERY, dmirror_query, copy_errors, ioctl_query),
	IOCTL(DMIRROR_IOC_MIGRATE, dmirror_migrate, fault_addr, ioctl_migrate),
	IOCTL(DMIRROR_IOC_READ, dmirror_rw, faults, ioctl_read),
	IOCTL(DMIRROR_IOC_WRITE, dmirror_rw, faults, ioctl_write),
	IOCTL(DMIRROR_IOC_FILL, dmirror_fill, faults, ioctl_fill),
	IOCTL(DMIRROR_IOC_COPY, dmirror_copy, faults, ioctl_copy),
	IOCTL(DMIRROR_IOC_ATOMIC, dmirror_atomic, fault_addr, ioctl_atomic),
	IOCTL(DMIRROR_IOC_SNAPSHOT, dmirror_snapshot, done, ioctl_snapshot),
	IOCTL(DMIRROR_IOC_SUBMIT, dmirror_submit, job, ioctl_submit),
	IOCTL(DMIRROR_IOC_WAIT, dmirror_wait, stayed, ioctl_wait),
	IOCTL(DMIRROR_IOC_ADVISE, dmirror_advise, fault_addr, ioctl_advise),
};

/* A newer program's number differs only in the size of its structure. */
static const struct ioctl_entry *find_ioctl(unsigned int cmd)
{
	unsigned int size_mask = _IOC_SIZEMASK << _IOC_SIZESHIFT;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(ioctls); i++)
		if (!((cmd ^ ioctls[i].cmd) & ~size_mask))
			return &ioctls[i];
	return NULL;
}

/* What became of its jobs can be asked for when the device is gone. */
static int dispatch(struct dmirror_svm *svm, const struct ioctl_entry *entry,
		    union ioctl_arg *arg)
{
	int ret;

	if (entry->func == ioctl_wait)
		return ioctl_wait(svm, arg);
	ret = dmirror_svm_enter(svm);
	return ret ?: dmirror_svm_exit(svm, entry->func(svm, arg));
}

static long dmirror_ioctl(struct file *file, unsigned int cmd,
			  unsigned long uarg)
{
	struct dmirror_svm *svm = file->private_data;
	void __user *user = (void __user *)uarg;
	const struct ioctl_entry *entry;
	union ioctl_arg arg = {};
	u32 size;
	int ret;

	entry = find_ioctl(cmd);
	if (!entry)
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < entry->min_size)
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	ret = copy_struct_from_user(&arg, _IOC_SIZE(entry->cmd), user, size);
	if (ret)
		return ret;
	/* It may have changed in between; the first answer counts. */
	arg.size = size;

	if (!mmget_not_zero(svm->mm))
		return -ESRCH;
	ret = current->mm == svm->mm ? dispatch(svm, entry, &arg) : -EXDEV;
	mmput(svm->mm);

	if (!copy_to_user(user, &arg, min(size, _IOC_SIZE(entry->cmd))))
		return ret;
	if (entry->func == ioctl_submit && !ret)
		dmirror_job_forget(svm, arg.submit.job);
	return -EFAULT;
}

static int dmirror_open(struct inode *inode, struct file *file)
{
	struct dmirror_device *dev = container_of(file->private_data,
						  struct dmirror_device, misc);
	struct dmirror_svm *svm = dmirror_svm_create(dev);

	if (IS_ERR(svm))
		return PTR_ERR(svm);
	svm->through_system = true;
	file->private_data = svm;
	return 0;
}

/**
 * dmirror_release() - the last reference to a file is gone
 * @inode: of the node
 * @file: of either ABI
 *
 * Context: may sleep.
 * Return: 0.
 */
int dmirror_release(struct inode *inode, struct file *file)
{
	dmirror_svm_destroy(file->private_data);
	return 0;
}

/**
 * dmirror_show_fdinfo() - what /proc/PID/fdinfo/FD says
 * @m: where to print
 * @file: of either ABI
 *
 * Context: may sleep.
 */
void dmirror_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct dmirror_svm *svm = file->private_data;
	struct dmirror_device *dev = svm->dev;

	seq_printf(m, "dmirror-device:\t%u\n", dev->id);
	seq_printf(m, "dmirror-memory-type:\t%s\n",
		   dev->type == DMIRROR_MEMORY_PRIVATE ? "private" : "coherent");
	seq_printf(m, "dmirror-memory-size:\t%llu\n", dev->hw.size);
	seq_printf(m, "dmirror-memory-used:\t%llu\n",
		   PFN_PHYS(READ_ONCE(dev->devmem.used)));
	seq_printf(m, "dmirror-faults:\t%lld\n", atomic64_read(&svm->nr_faults));
	seq_printf(m, "dmirror-invalidations:\t%lld\n",
		   atomic64_read(&svm->invalidations));
	seq_printf(m, "dmirror-notifiers:\t%d\n",
		   atomic_read(&svm->notifiers));
}

const struct file_operations dmirror_fops = {
	.owner		= THIS_MODULE,
	.open		= dmirror_open,
	.release	= dmirror_release,
	.unlocked_ioctl	= dmirror_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= dmirror_show_fdinfo,
};
