// SPDX-License-Identifier: GPL-2.0
/*
 * What the page tables of a process hold, under their locks: a program writes the
 * number of a process to /sys/kernel/debug/dmirror_entries and reads back how many
 * entries there are of each kind, and how many of mm's migration entries belong to a
 * page that is not locked. There must never be one: whoever unlocks the page has
 * removed the entries, or the next access waits for nobody.
 *
 * mm's walker is not for modules. This one looks at entries only, and so can do
 * without what a walker has to do about races: a page table is looked at under its
 * lock, after a second look at what points to it.
 */
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/hugetlb.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>
#include <linux/swap.h>
#include <linux/swapops.h>
#include <linux/uaccess.h>

#define TEXT_SIZE	256

/**
 * struct entries - how many entries of each kind, in pages
 * @present: what the CPU can use
 * @swap: in swap
 * @migration: on its way
 * @unlocked: of @migration, the page is not locked
 * @device: private memory of a device
 * @other: what a device has exclusively, broken pages, markers
 */
struct entries {
	unsigned long present;
	unsigned long swap;
	unsigned long migration;
	unsigned long unlocked;
	unsigned long device;
	unsigned long other;
};

static bool page_is_locked(unsigned long pfn)
{
	/* A split makes tail pages folios, which are locked before it shows. */
	smp_rmb();
	return folio_test_locked(page_folio(pfn_to_page(pfn)));
}

/* @arch is what the architecture has for an entry of @nr pages. */
static void count_special(struct entries *e, swp_entry_t arch, unsigned long nr)
{
	switch (__swp_type(arch)) {
	case SWP_MIGRATION_READ:
	case SWP_MIGRATION_READ_EXCLUSIVE:
	case SWP_MIGRATION_WRITE:
		e->migration += nr;
		if (!page_is_locked(__swp_offset(arch) & SWP_PFN_MASK))
			e->unlocked += nr;
		break;
	case SWP_DEVICE_READ:
	case SWP_DEVICE_WRITE:
		e->device += nr;
		break;
	default:
		if (__swp_type(arch) < MAX_SWAPFILES)
			e->swap += nr;
		else
			e->other += nr;
	}
}

static void count_table(struct entries *e, pmd_t table, unsigned long addr,
			unsigned long end)
{
	pte_t *pte = pte_offset_kernel(&table, addr), entry;

	for (; addr < end; addr += PAGE_SIZE, pte++) {
		entry = READ_ONCE(*pte);
		if (pte_none(entry))
			continue;
		if (pte_present(entry))
			e->present++;
		else
			count_special(e, __pte_to_swp_entry(pte_swp_clear_flags(entry)),
				      1);
	}
}

static void count_huge(struct entries *e, struct mm_struct *mm, pmd_t *pmd,
		       unsigned long nr)
{
	spinlock_t *ptl = pmd_lock(mm, pmd);
	pmd_t entry = READ_ONCE(*pmd);

	if (pmd_present(entry)) {
		e->present += nr;
	} else if (!pmd_none(entry)) {
		entry = pmd_swp_clear_soft_dirty(entry);
		entry = pmd_swp_clear_uffd_wp(entry);
		count_special(e, __pmd_to_swp_entry(entry), nr);
	}
	spin_unlock(ptl);
}

/* A table that is freed meanwhile stays readable: this is an RCU section. */
static void count_locked(struct entries *e, struct mm_struct *mm, pmd_t *pmd,
			 pmd_t table, unsigned long addr, unsigned long end)
{
	spinlock_t *ptl = pte_lockptr(mm, &table);

	spin_lock(ptl);
	/* If it has gone, there is nothing, or the next look will find more. */
	if (pmd_same(table, READ_ONCE(*pmd)))
		count_table(e, table, addr, end);
	spin_unlock(ptl);
}

static void count_pmd(struct entries *e, struct mm_struct *mm, pmd_t *pmd,
		      unsigned long addr, unsigned long end)
{
	pmd_t table = READ_ONCE(*pmd);

	if (pmd_none(table))
		return;
	if (!pmd_present(table) || pmd_trans_huge(table)) {
		count_huge(e, mm, pmd, (end - addr) >> PAGE_SHIFT);
		return;
	}
	rcu_read_lock();
	count_locked(e, mm, pmd, table, addr, end);
	rcu_read_unlock();
}

static pmd_t *find_pmd(struct mm_struct *mm, unsigned long addr)
{
	pgd_t *pgd = pgd_offset(mm, addr);
	p4d_t *p4d;
	pud_t *pud;

	if (pgd_none(READ_ONCE(*pgd)))
		return NULL;
	p4d = p4d_offset(pgd, addr);
	if (p4d_none(READ_ONCE(*p4d)))
		return NULL;
	pud = pud_offset(p4d, addr);
	if (pud_none(READ_ONCE(*pud)) || pud_leaf(READ_ONCE(*pud)))
		return NULL;
	return pmd_offset(pud, addr);
}

/* mmap_lock is held, so that tables above the lowest stay. */
static void count_range(struct entries *e, struct mm_struct *mm,
			unsigned long addr, unsigned long end)
{
	unsigned long next;
	pmd_t *pmd;

	for (; addr < end; addr = next) {
		pmd = find_pmd(mm, addr);
		next = min(end, pmd ? (addr & PMD_MASK) + PMD_SIZE :
				      (addr & PUD_MASK) + PUD_SIZE);
		if (pmd)
			count_pmd(e, mm, pmd, addr, next);
		if (fatal_signal_pending(current))
			return;
		cond_resched();
	}
}

static int count_mm(struct entries *e, struct mm_struct *mm)
{
	VMA_ITERATOR(vmi, mm, 0);
	struct vm_area_struct *vma;

	if (mmap_read_lock_killable(mm))
		return -EINTR;
	for_each_vma(vmi, vma)
		if (!is_vm_hugetlb_page(vma) && !(vma->vm_flags & VM_PFNMAP))
			count_range(e, mm, vma->vm_start, vma->vm_end);
	mmap_read_unlock(mm);
	return fatal_signal_pending(current) ? -EINTR : 0;
}

static int count_process(struct entries *e, int nr)
{
	struct pid *pid = find_get_pid(nr);
	struct task_struct *task = get_pid_task(pid, PIDTYPE_PID);
	struct mm_struct *mm = NULL;
	int ret = -ESRCH;

	put_pid(pid);
	if (task) {
		mm = get_task_mm(task);
		put_task_struct(task);
	}
	if (mm) {
		ret = count_mm(e, mm);
		mmput(mm);
	}
	return ret;
}

static int entries_open(struct inode *inode, struct file *file)
{
	file->private_data = kzalloc(TEXT_SIZE, GFP_KERNEL);
	return file->private_data ? 0 : -ENOMEM;
}

static int entries_release(struct inode *inode, struct file *file)
{
	kfree(file->private_data);
	return 0;
}

/* Threads have a file each. */
static ssize_t entries_write(struct file *file, const char __user *user,
			     size_t size, loff_t *pos)
{
	struct entries e = {};
	int nr, ret;

	ret = kstrtoint_from_user(user, size, 0, &nr);
	if (!ret)
		ret = count_process(&e, nr);
	if (ret)
		return ret;
	snprintf(file->private_data, TEXT_SIZE,
		 "present %lu\nswap %lu\nmigration %lu\nunlocked %lu\ndevice %lu\nother %lu\n",
		 e.present, e.swap, e.migration, e.unlocked, e.device, e.other);
	return size;
}

static ssize_t entries_read(struct file *file, char __user *user, size_t size,
			    loff_t *pos)
{
	const char *text = file->private_data;

	return simple_read_from_buffer(user, size, pos, text, strlen(text));
}

static const struct file_operations entries_fops = {
	.owner	 = THIS_MODULE,
	.open	 = entries_open,
	.release = entries_release,
	.write	 = entries_write,
	.read	 = entries_read,
	.llseek	 = default_llseek,
};

static struct dentry *entries_file;

static int __init entries_init(void)
{
	entries_file = debugfs_create_file("dmirror_entries", 0600, NULL, NULL,
					   &entries_fops);
	return PTR_ERR_OR_ZERO(entries_file);
}

static void __exit entries_exit(void)
{
	debugfs_remove(entries_file);
}

module_init(entries_init);
module_exit(entries_exit);
MODULE_DESCRIPTION("Counts the entries of a process's page tables, for tests of dmirror");
MODULE_LICENSE("GPL");
