// SPDX-License-Identifier: GPL-2.0
/*
 * The ABI of lib/test_hmm.c on /dev/hmm_dmirrorN, as calls into this driver,
 * so that unmodified hmm-tests run on it. A driver of your own has no use for
 * this file.
 *
 * The layout and the numbers are that driver's, and so are the errors; they
 * are terser than those of the driver's own ABI, and here and there the
 * reason for a comment. It says nothing about a file that was inherited from
 * the process that opened it: the calls are about that process's memory.
 */
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/hmm.h>
#include <linux/mm.h>
#include <linux/overflow.h>
#include <linux/pagemap.h>
#include <linux/sched/mm.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "dmirror.h"

/* How often a range is made exclusive before the answer is that it is not. */
#define EXCLUSIVE_RANGE_TRIES	8

/* How much of a program's buffer is faulted in at a time. */
#define USER_FAULT_SIZE	SZ_64K

/* Memory that the CPU cannot store to, though it can be faulted in, is no buffer. */
#define USER_FAULTS_MAX	1000

/* How often what is busy is tried: compaction, say, has a page for a moment. */
#define BUSY_TRIES	10

#define MMAP_PAGES_MAX	(SZ_16M >> PAGE_SHIFT)

struct hmm_cmd {
	__u64 addr;
	__u64 ptr;
	__u64 npages;
	__u64 cpages;
	__u64 faults;
};

#define HMM_READ		_IOWR('H', 0, struct hmm_cmd)
#define HMM_WRITE		_IOWR('H', 1, struct hmm_cmd)
#define HMM_MIGRATE_TO_DEV	_IOWR('H', 2, struct hmm_cmd)
#define HMM_MIGRATE_TO_SYS	_IOWR('H', 3, struct hmm_cmd)
#define HMM_SNAPSHOT		_IOWR('H', 4, struct hmm_cmd)
#define HMM_EXCLUSIVE		_IOWR('H', 5, struct hmm_cmd)
#define HMM_CHECK_EXCLUSIVE	_IOWR('H', 6, struct hmm_cmd)
#define HMM_RELEASE		_IOWR('H', 7, struct hmm_cmd)
#define HMM_FLAGS		_IOWR('H', 8, struct hmm_cmd)

#define HMM_FLAG_FAIL_ALLOC	BIT_ULL(0)

enum hmm_prot {
	HMM_PROT_ERROR			= 0xff,
	HMM_PROT_NONE			= 0x00,
	HMM_PROT_READ			= 0x01,
	HMM_PROT_WRITE			= 0x02,
	HMM_PROT_PMD			= 0x04,
	HMM_PROT_PUD			= 0x08,
	HMM_PROT_ZERO			= 0x10,
	HMM_PROT_DEV_PRIVATE_LOCAL	= 0x20,
	HMM_PROT_DEV_PRIVATE_REMOTE	= 0x30,
	HMM_PROT_DEV_COHERENT_LOCAL	= 0x40,
	HMM_PROT_DEV_COHERENT_REMOTE	= 0x50,
};

/*
 * Have some of the program's buffer there, where the CPU found it was not. The
 * device may never come to read so far, and the buffer may be what it reads: so
 * nothing is stored there.
 */
static int fault_in_buffer(const struct dmirror_hw_job *job)
{
	size_t size = min_t(u64, job->len - job->done, USER_FAULT_SIZE);
	size_t left;

	if (job->op == DMIRROR_HW_READ)
		left = fault_in_safe_writeable(job->user + job->done, size);
	else
		left = fault_in_readable(job->user + job->done, size);
	return left < size ? 0 : -EFAULT;
}

/*
 * Run a job here, serving its faults: each brings in all that is left of the request,
 * up to end. The job's buffer is the program's. Returns 0 when it is done, -EFAULT if
 * the buffer is not to be had, or the error of dmirror_fault_range(); the job then
 * says how far it came and why not further.
 */
static int run_job(struct dmirror_svm *svm, struct dmirror_hw_job *job, u64 end,
		   u64 *faults)
{
	u64 left, bad, first, user_done = 0;
	unsigned int user_faults = 0;
	int ret;

	for (;; cond_resched()) {
		down_read(&svm->lock);
		ret = dmirror_hw_run(&svm->dev->hw, &svm->pt, job);
		up_read(&svm->lock);
		if (!ret)
			return 0;
		if (dmirror_svm_stopped(svm))
			return -EINTR;
		if (ret == -EAGAIN)
			continue;
		if (job->user_fault) {
			if (job->done != user_done)
				user_faults = 0;
			user_done = job->done;
			ret = fault_in_buffer(job);
			if (ret || ++user_faults > USER_FAULTS_MAX)
				return -EFAULT;
			continue;
		}

		(*faults)++;
		left = end - (job->addr + job->done);
		first = job->fault_addr & PAGE_MASK;
		ret = dmirror_fault_range(svm, first,
					  PAGE_ALIGN(job->fault_addr + left),
					  job->fault_write, &bad);
		/* An error further on is for when the job gets there. */
		if (ret && (bad == first || !dmirror_is_address_error(ret))) {
			job->fault_addr = max(bad, job->fault_addr);
			return ret;
		}
	}
}

/* Between the device's memory and the caller's, copied once. */
static int transfer(struct dmirror_svm *svm, struct hmm_cmd *cmd, u64 end,
		    bool write)
{
	struct dmirror_hw_job job = {
		.op   = write ? DMIRROR_HW_WRITE : DMIRROR_HW_READ,
		.addr = cmd->addr,
		.len  = end - cmd->addr,
		.user = u64_to_user_ptr(cmd->ptr),
	};
	int ret;

	if (!access_ok(job.user, job.len))
		return -EFAULT;
	ret = run_job(svm, &job, end, &cmd->faults);
	cmd->cpages = job.done >> PAGE_SHIFT;
	/* A fault brings in all that is left: more of them are replays of it. */
	cmd->faults = min(cmd->faults, 1ULL);
	return ret;
}

/* This ABI has no word for an address: an invalid one is an invalid argument. */
static int migrate_errno(int ret, const struct dmirror_migrate_stats *stats)
{
	if (ret == -EFAULT || stats->refused)
		return -EINVAL;
	if (ret == -ENOSPC || ret == -EIO)
		return -ENOMEM;
	return ret;
}

static struct dmirror_device *hmm_device(unsigned long hmm_pfn)
{
	return dmirror_pfn_device(page_to_pfn(hmm_pfn_to_page(hmm_pfn)));
}

/* What the device's page table says of a range, as an error. */
static int look_up_local(struct dmirror_svm *svm, u64 start, u64 end)
{
	int ret = 0;
	u64 addr, dpte;

	down_read(&svm->lock);
	for (addr = start; addr < end && ret != -ENOENT; addr += PAGE_SIZE) {
		dpte = dmirror_pt_lookup(&svm->pt, addr);
		if (!dpte)
			ret = -EAGAIN;
		else if (dpte & (DPTE_SYSTEM | DPTE_PEER))
			ret = -ENOENT;
	}
	up_read(&svm->lock);
	return ret;
}

/*
 * Have the device map the range: -ENOENT unless every page of it is in the
 * device's memory. Where somebody takes a page back meanwhile, it was there.
 */
static int map_local(struct dmirror_svm *svm, u64 start, u64 end)
{
	u64 addr, next, bad;
	int ret;

	for (addr = start; addr < end; addr = next) {
		next = dmirror_block_end(addr, end);
		ret = dmirror_fault_range(svm, addr, next, false, &bad);
		if (!ret)
			ret = look_up_local(svm, addr, next);
		if (ret && ret != -EAGAIN)
			return ret == -EFAULT ? -ENOENT : ret;
		cond_resched();
	}
	return 0;
}

/* This ABI has no word for what is busy, and its callers count on all of it. */
static int migrate_busy(struct dmirror_svm *svm, enum dmirror_target target,
			const struct hmm_cmd *cmd, u64 end,
			struct dmirror_migrate_stats *stats)
{
	unsigned int tries = 0;
	int ret;

	for (;;) {
		stats->busy = 0;
		ret = dmirror_migrate_range(svm, target, cmd->addr, end, stats);
		if (ret || !stats->busy || ++tries == BUSY_TRIES)
			return ret;
		schedule_timeout_killable(1);
		if (fatal_signal_pending(current))
			return -EINTR;
	}
}

/*
 * In that driver a block is a huge page in coherent memory too, and where there
 * is none to move it to, pages are tried. Here it is in pages already, and they
 * are tried again.
 */
static bool try_again(struct dmirror_svm *svm, const struct hmm_cmd *cmd,
		      u64 end)
{
	return svm->dev->type == DMIRROR_MEMORY_COHERENT &&
	       ALIGN(cmd->addr, DMIRROR_BLOCK_SIZE) + DMIRROR_BLOCK_SIZE <= end;
}

static int hmm_migrate(struct dmirror_svm *svm, enum dmirror_target target,
		       const struct hmm_cmd *cmd, u64 end,
		       struct dmirror_migrate_stats *stats)
{
	int ret;

	ret = migrate_busy(svm, target, cmd, end, stats);
	if (!stats->no_memory || !try_again(svm, cmd, end))
		return ret;
	stats->no_memory = 0;
	return migrate_busy(svm, target, cmd, end, stats);
}

static int hmm_migrate_to_dev(struct dmirror_svm *svm, struct hmm_cmd *cmd,
			      u64 end)
{
	struct dmirror_migrate_stats stats = {};
	int ret;

	ret = hmm_migrate(svm, DMIRROR_TARGET_DEVICE, cmd, end, &stats);
	ret = migrate_errno(ret, &stats);
	/* What did not fit is, to the caller, a page that is not there. */
	if (ret && !stats.no_memory && !stats.failed)
		return ret;

	ret = map_local(svm, cmd->addr, end);
	if (ret)
		return ret;
	ret = transfer(svm, cmd, end, false);
	/* The read-back is not for the caller to count faults of. */
	cmd->faults = 0;
	return ret;
}

static int hmm_migrate_to_sys(struct dmirror_svm *svm, struct hmm_cmd *cmd,
			      u64 end)
{
	struct dmirror_migrate_stats stats = {};
	int ret;

	ret = hmm_migrate(svm, DMIRROR_TARGET_SYSTEM, cmd, end, &stats);
	cmd->cpages = stats.entries;
	return migrate_errno(ret, &stats);
}

static u8 hmm_prot(struct dmirror_svm *svm, unsigned long hmm_pfn)
{
	struct dmirror_device *dev;
	u8 prot;

	if (hmm_pfn & HMM_PFN_ERROR)
		return HMM_PROT_ERROR;
	if (!(hmm_pfn & HMM_PFN_VALID))
		return HMM_PROT_NONE;

	dev = hmm_device(hmm_pfn);
	if (dev && dev->type == DMIRROR_MEMORY_PRIVATE)
		prot = dev == svm->dev ? HMM_PROT_DEV_PRIVATE_LOCAL :
					 HMM_PROT_DEV_PRIVATE_REMOTE;
	else if (dev)
		prot = dev == svm->dev ? HMM_PROT_DEV_COHERENT_LOCAL :
					 HMM_PROT_DEV_COHERENT_REMOTE;
	else
		prot = is_zero_pfn(page_to_pfn(hmm_pfn_to_page(hmm_pfn))) ?
			HMM_PROT_ZERO : HMM_PROT_NONE;

	prot |= hmm_pfn & HMM_PFN_WRITE ? HMM_PROT_WRITE : HMM_PROT_READ;
	if (hmm_pfn_to_map_order(hmm_pfn) == PMD_SHIFT - PAGE_SHIFT)
		prot |= HMM_PROT_PMD;
	else if (hmm_pfn_to_map_order(hmm_pfn) == PUD_SHIFT - PAGE_SHIFT)
		prot |= HMM_PROT_PUD;
	return prot;
}

static int hmm_snapshot(struct dmirror_svm *svm, struct hmm_cmd *cmd, u64 end)
{
	u8 __user *user = u64_to_user_ptr(cmd->ptr);
	unsigned long *pfns, i, nr;
	u64 addr;
	u8 *prots;
	int ret = 0;

	pfns = kmalloc_array(DMIRROR_BLOCK_PAGES, sizeof(*pfns) + sizeof(*prots),
			     GFP_KERNEL_ACCOUNT);
	if (!pfns)
		return -ENOMEM;
	prots = (u8 *)(pfns + DMIRROR_BLOCK_PAGES);

	for (addr = cmd->addr; addr < end; addr += nr * PAGE_SIZE) {
		nr = (dmirror_block_end(addr, end) - addr) >> PAGE_SHIFT;
		ret = dmirror_snapshot(svm, svm->dev, addr, nr, pfns, NULL);
		if (ret)
			break;
		for (i = 0; i < nr; i++)
			prots[i] = hmm_prot(svm, pfns[i]);
		ret = -EFAULT;
		if (copy_to_user(user + cmd->cpages, prots, nr))
			break;
		ret = 0;
		cmd->cpages += nr;
		cond_resched();
	}
	kfree(pfns);
	return ret;
}

/* Look for an address that is device-exclusive, or for one that is not. */
static bool find_exclusive(struct dmirror_svm *svm, u64 addr, u64 end, bool is)
{
	bool found = false;
	u64 dpte;

	for (; addr < end && !found; addr += PAGE_SIZE) {
		down_read(&svm->lock);
		dpte = dmirror_pt_lookup(&svm->pt, addr);
		up_read(&svm->lock);
		found = !!(dpte & DPTE_ATOMIC) == is;
		if (dmirror_svm_stopped(svm))
			break;
		cond_resched();
	}
	return found;
}

static int make_exclusive(struct dmirror_svm *svm, u64 addr, u64 end)
{
	int ret;

	for (; addr < end; addr += PAGE_SIZE) {
		if (find_exclusive(svm, addr, addr + PAGE_SIZE, true))
			continue;
		ret = dmirror_exclusive_page(svm, addr);
		if (ret)
			return ret;
	}
	return 0;
}

/* While the later pages are made exclusive, khugepaged may revoke the first. */
static int hmm_exclusive(struct dmirror_svm *svm, struct hmm_cmd *cmd, u64 end)
{
	unsigned int tries = 0;
	int ret;

	do {
		if (tries++ == EXCLUSIVE_RANGE_TRIES)
			return -ENOENT;
		ret = make_exclusive(svm, cmd->addr, end);
		if (ret)
			return ret;
	} while (find_exclusive(svm, cmd->addr, end, false));

	ret = transfer(svm, cmd, end, false);
	cmd->faults = 0;
	return ret;
}

static int hmm_check_exclusive(struct dmirror_svm *svm, struct hmm_cmd *cmd,
			       u64 end)
{
	if (find_exclusive(svm, cmd->addr, end, true))
		return -EPERM;
	return dmirror_svm_stopped(svm) ? -EINTR : 0;
}

static void hmm_flags(struct dmirror_svm *svm, const struct hmm_cmd *cmd)
{
	WRITE_ONCE(svm->dev->devmem.fail_next,
		   cmd->npages & HMM_FLAG_FAIL_ALLOC ? svm->mm : NULL);
}

static int hmm_dispatch(struct dmirror_svm *svm, unsigned int command,
			struct hmm_cmd *cmd, u64 end)
{
	switch (command) {
	case HMM_READ:
		return transfer(svm, cmd, end, false);
	case HMM_WRITE:
		return transfer(svm, cmd, end, true);
	case HMM_MIGRATE_TO_DEV:
		return hmm_migrate_to_dev(svm, cmd, end);
	case HMM_MIGRATE_TO_SYS:
		return hmm_migrate_to_sys(svm, cmd, end);
	case HMM_SNAPSHOT:
		return hmm_snapshot(svm, cmd, end);
	case HMM_EXCLUSIVE:
		return hmm_exclusive(svm, cmd, end);
	case HMM_CHECK_EXCLUSIVE:
		return hmm_check_exclusive(svm, cmd, end);
	default:
		return -EINVAL;
	}
}

/* What a process that is gone gives, and addresses that no process has. */
static int nowhere_errno(unsigned int command)
{
	return command == HMM_READ || command == HMM_WRITE ? -EFAULT : -EINVAL;
}

static long dmirror_hmm_ioctl(struct file *file, unsigned int command,
			      unsigned long uarg)
{
	struct dmirror_svm *svm = file->private_data;
	void __user *user = (void __user *)uarg;
	struct hmm_cmd cmd;
	u64 size, end;
	int ret;

	if (copy_from_user(&cmd, user, sizeof(cmd)))
		return -EFAULT;
	if (cmd.addr & ~PAGE_MASK || !cmd.npages ||
	    check_mul_overflow(cmd.npages, (u64)PAGE_SIZE, &size) ||
	    check_add_overflow(cmd.addr, size, &end))
		return -EINVAL;
	cmd.cpages = 0;
	cmd.faults = 0;

	ret = dmirror_svm_enter(svm);
	if (ret)
		return ret;
	if (command == HMM_RELEASE) {
		ret = dmirror_evict_all(svm->dev, DMIRROR_EVICT_RELEASE);
	} else if (command == HMM_FLAGS) {
		hmm_flags(svm, &cmd);
	} else if (end <= svm->mm->task_size && mmget_not_zero(svm->mm)) {
		ret = hmm_dispatch(svm, command, &cmd, end);
		mmput(svm->mm);
	} else {
		ret = nowhere_errno(command);
	}
	ret = dmirror_svm_exit(svm, ret);
	if (ret)
		return ret;
	return copy_to_user(user, &cmd, sizeof(cmd)) ? -EFAULT : 0;
}

static int dmirror_hmm_open(struct inode *inode, struct file *file)
{
	struct dmirror_device *dev = container_of(file->private_data,
						  struct dmirror_device,
						  hmm_misc);
	struct dmirror_svm *svm = dmirror_svm_create(dev);

	if (IS_ERR(svm))
		return PTR_ERR(svm);
	file->private_data = svm;
	return 0;
}

static int dmirror_hmm_release(struct inode *inode, struct file *file)
{
	struct dmirror_svm *svm = file->private_data;

	/* A later mm could be at the same address. */
	dmirror_devmem_fail_once(&svm->dev->devmem, svm->mm);
	return dmirror_release(inode, file);
}

/* One of hmm-tests wants a mapping with pages that are not anonymous. */
static int dmirror_hmm_mmap(struct file *file, struct vm_area_struct *vma)
{
	unsigned long addr;
	struct page *page;
	int ret;

	if (vma_pages(vma) > MMAP_PAGES_MAX)
		return -EINVAL;
	for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
		if (fatal_signal_pending(current))
			return -EINTR;
		page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);
		if (!page)
			return -ENOMEM;
		ret = vm_insert_page(vma, addr, page);
		put_page(page);
		if (ret)
			return ret;
	}
	return 0;
}

const struct file_operations dmirror_hmm_fops = {
	.owner		= THIS_MODULE,
	.open		= dmirror_hmm_open,
	.release	= dmirror_hmm_release,
	.mmap		= dmirror_hmm_mmap,
	.unlocked_ioctl	= dmirror_hmm_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.show_fdinfo	= dmirror_show_fdinfo,
};
