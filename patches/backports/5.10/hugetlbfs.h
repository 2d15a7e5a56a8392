/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What 5.10's hmm-tests take from libhugetlbfs, so that it need not be there for
 * that: one size of huge pages, and one region of them at a time.
 */
#ifndef HUGETLBFS_H
#define HUGETLBFS_H

#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>

#define GHR_STRICT	0

static size_t hugetlbfs_len;

static inline int gethugepagesizes(long *sizes, int n)
{
	FILE *f = fopen("/proc/meminfo", "r");
	char line[128];
	int found = 0;

	while (f && n > 0 && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "Hugepagesize: %ld kB", sizes) != 1)
			continue;
		*sizes *= 1024;
		found = 1;
	}
	if (f)
		fclose(f);
	return found;
}

static inline void *get_hugepage_region(size_t len, int flags)
{
	void *mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE |
			 MAP_ANONYMOUS | MAP_HUGETLB, -1, 0);

	(void)flags;
	if (mem == MAP_FAILED)
		return NULL;
	hugetlbfs_len = len;
	return mem;
}

static inline void free_hugepage_region(void *mem)
{
	munmap(mem, hugetlbfs_len);
}

#endif
