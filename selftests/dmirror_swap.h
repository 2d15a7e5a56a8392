/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Swap for the time of a test: a zram device, or a loop device over memory, from
 * which a page comes in through the swap cache, also if nobody else has it.
 */
#ifndef SELFTESTS_DMIRROR_SWAP_H
#define SELFTESTS_DMIRROR_SWAP_H

#include <linux/loop.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/swap.h>

#include "dmirror_test.h"

#define DM_ZRAM		"/dev/zram0"
#define DM_LOOP		"/dev/loop0"
#define DM_SWAP_BYTES	(32UL << 20)

static inline void dm_swap_end(void)
{
	int loop = open(DM_LOOP, O_RDWR | O_CLOEXEC);

	swapoff(DM_ZRAM);
	dm_file_write("/sys/block/zram0/reset", "1");
	swapoff(DM_LOOP);
	if (loop >= 0) {
		ioctl(loop, LOOP_CLR_FD);
		close(loop);
	}
}

/* The header of a swap area: one page, of which most is empty */
static inline bool dm_swap_header(const char *device)
{
	size_t page = dm_page_size();
	__u32 *header = calloc(1, page);
	bool ok = false;
	int fd = open(device, O_WRONLY | O_CLOEXEC);

	if (fd >= 0 && header) {
		header[256] = 1;			/* version */
		header[257] = DM_SWAP_BYTES / page - 1;	/* last page */
		memcpy((char *)header + page - 10, "SWAPSPACE2", 10);
		ok = write(fd, header, page) == (ssize_t)page && !fsync(fd);
	}
	if (fd >= 0)
		close(fd);
	free(header);
	return ok;
}

/* NULL, or why there is nothing to swap to. A test that failed leaves it on. */
static inline const char *dm_swap_begin(void)
{
	if (access(DM_ZRAM, W_OK))
		return "no block device to swap to: CONFIG_SWAP, CONFIG_ZRAM";
	dm_swap_end();
	if (dm_file_write("/sys/block/zram0/disksize", "33554432") ||
	    !dm_swap_header(DM_ZRAM) || swapon(DM_ZRAM, 0))
		return "cannot swap to zram: CONFIG_SWAP";
	return NULL;
}

/* The same with a loop device */
static inline const char *dm_swap_begin_loop(void)
{
	int loop, file = memfd_create("swap", MFD_CLOEXEC);
	bool ok;

	dm_swap_end();
	loop = open(DM_LOOP, O_RDWR | O_CLOEXEC);
	ok = loop >= 0 && file >= 0 && !ftruncate(file, DM_SWAP_BYTES) &&
	     !ioctl(loop, LOOP_SET_FD, file);
	if (loop >= 0)
		close(loop);
	if (file >= 0)
		close(file);
	if (!ok)
		return "no loop device to swap to: CONFIG_BLK_DEV_LOOP";
	if (!dm_swap_header(DM_LOOP) || swapon(DM_LOOP, 0))
		return "cannot swap to a loop device: CONFIG_SWAP";
	return NULL;
}

/* How many pages of the range pagemap says are not in memory */
static inline size_t dm_in_swap(const char *mem, size_t len)
{
	size_t n = len / dm_page_size(), i, count = 0;
	__u64 *entries = calloc(n, sizeof(*entries));

	if (entries && !dm_pagemap(mem, len, entries))
		for (i = 0; i < n; i++)
			count += !!(entries[i] & DM_PAGEMAP_SWAP);
	free(entries);
	return count;
}

/* Writes all of it out: 0. A page can be in use for a moment. */
static inline int dm_page_out(const char *mem, size_t len)
{
	unsigned int tries;

	for (tries = 0; tries < DM_RETRIES; tries++) {
		dm_settle();
		madvise((void *)mem, len, MADV_PAGEOUT);
		if (dm_in_swap(mem, len) == len / dm_page_size())
			return 0;
	}
	fprintf(stderr, "# %zu of %zu pages are written out\n",
		dm_in_swap(mem, len), len / dm_page_size());
	return -EAGAIN;
}

#endif
