/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What was written since it was protected, by PAGEMAP_SCAN: for headers that are older
 * than it, too.
 */
#ifndef SELFTESTS_DMIRROR_SCAN_H
#define SELFTESTS_DMIRROR_SCAN_H

#include <linux/userfaultfd.h>

#include "dmirror_test.h"

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED	0x2000
#endif

#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC	0x8000
#endif

#ifndef PAGEMAP_SCAN
#define PAGE_IS_WRITTEN		0x2
#define PM_SCAN_WP_MATCHING	0x1
struct pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};

#define PAGEMAP_SCAN		_IOWR('f', 16, struct pm_scan_arg)
#endif

/*
 * How many bytes were written to since they were protected, at most 8 regions of them;
 * they are protected anew. Negative: where the kernel cannot tell, or an error
 */
static inline long dm_scan_written(char *mem, size_t len)
{
	struct { __u64 start, end, categories; } regions[8];
	struct pm_scan_arg arg = {
		.size = sizeof(arg),
		.flags = PM_SCAN_WP_MATCHING,
		.start = (uintptr_t)mem,
		.end = (uintptr_t)mem + len,
		.vec = (uintptr_t)regions,
		.vec_len = ARRAY_SIZE(regions),
		.category_mask = PAGE_IS_WRITTEN,
		.return_mask = PAGE_IS_WRITTEN,
	};
	int fd = open("/proc/self/pagemap", O_RDONLY), nr, i;
	long written = 0;

	nr = ioctl(fd, PAGEMAP_SCAN, &arg);
	close(fd);
	for (i = 0; i < nr; i++)
		written += regions[i].end - regions[i].start;
	return nr < 0 ? -1 : written;
}

#endif
