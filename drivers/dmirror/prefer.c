// SPDX-License-Identifier: GPL-2.0
/*
 * Preferred location: where a program wants ranges of its memory to be when the
 * device faults on them, whatever the module's policy is.
 *
 * It is a property of addresses and of one mirror, and not of pages: another
 * device may be told something else of the same memory, and whatever is mapped at
 * the addresses later has it too. A maple tree keeps the ranges, RANGES_MAX at
 * most.
 */
#include <linux/maple_tree.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

#include "dmirror.h"

/* Of one mirror. */
#define RANGES_MAX	1024

/* How many ranges there are if this one is stored over what there is, or cleared. */
static unsigned int count_with(struct maple_tree *tree, u64 start, u64 last,
			       void *stored)
{
	MA_STATE(mas, tree, 0, 0);
	unsigned int nr = stored ? 1 : 0;
	void *entry;

	mas_lock(&mas);
	mas_for_each(&mas, entry, ULONG_MAX) {
		if (mas.last < start || mas.index > last)
			nr++;
		else	/* What is left of it on either side */
			nr += (mas.index < start) + (mas.last > last);
	}
	mas_unlock(&mas);
	return nr;
}

/* What was said before of what is next to a range is one with it if it is the same. */
static void widen(struct maple_tree *tree, u64 *start, u64 *last, void *entry)
{
	MA_STATE(mas, tree, 0, 0);

	mas_lock(&mas);
	if (*start) {
		mas_set(&mas, *start - 1);
		if (mas_walk(&mas) == entry)
			*start = mas.index;
	}
	mas_set(&mas, *last + 1);
	if (mas_walk(&mas) == entry)
		*last = mas.last;
	mas_unlock(&mas);
}

/**
 * dmirror_prefer() - say where a range is to be
 * @svm: the mirror
 * @what: where it is to be
 * @start: first address, page aligned
 * @end: first address after it, page aligned
 *
 * Context: may sleep.
 * Return: 0; -ENOSPC if there would be too many ranges; -ENOMEM; -EINTR on a fatal
 * signal.
 */
int dmirror_prefer(struct dmirror_svm *svm, enum dmirror_preference what,
		   u64 start, u64 end)
{
	void *entry = what == DMIRROR_PREFER_NONE ? NULL : xa_mk_value(what);
	u64 last = end - 1;
	int ret = -ENOSPC;

	/* What was counted is to be so still when it is stored. */
	if (mutex_lock_killable(&svm->prefer_lock))
		return -EINTR;
	if (entry)
		widen(&svm->preferred, &start, &last, entry);
	if (count_with(&svm->preferred, start, last, entry) <= RANGES_MAX)
		ret = mtree_store_range(&svm->preferred, start, last, entry,
					GFP_KERNEL_ACCOUNT);
	mutex_unlock(&svm->prefer_lock);
	return ret;
}

/**
 * dmirror_preferred() - where is an address to be?
 * @svm: the mirror
 * @addr: the address
 * @start: raised to where the range begins of which this is true
 * @end: lowered to where it ends
 *
 * Context: any but in an interrupt.
 * Return: what dmirror_prefer() was told.
 */
enum dmirror_preference dmirror_preferred(struct dmirror_svm *svm, u64 addr,
					  u64 *start, u64 *end)
{
	MA_STATE(mas, &svm->preferred, addr, addr);
	void *entry;

	mas_lock(&mas);
	entry = mas_walk(&mas);
	*start = max_t(u64, *start, mas.index);
	if (mas.last < *end)
		*end = (u64)mas.last + 1;
	mas_unlock(&mas);
	return entry ? xa_to_value(entry) : DMIRROR_PREFER_NONE;
}
