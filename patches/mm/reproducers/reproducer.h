/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the reproducers of patches/mm share: programs for the kernel's own
 * test_hmm, each for the patch of the same number. They end with status 0 if the
 * kernel does right, and without panic_on_warn most would not notice all of it.
 */
#ifndef PATCHES_MM_REPRODUCER_H
#define PATCHES_MM_REPRODUCER_H

#include "dmirror_test.h"
#include "dmirror_state.h"

#define PRIVATE	0		/* the number of a device of that kind */
#define COHERENT 2

static inline size_t npages(size_t len)
{
	return len / dm_page_size();
}

/* Filled memory, huge or not at all */
static inline char *memory(size_t len, bool huge)
{
	char *mem = dm_map_flags(len, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
				 PROT_READ | PROT_WRITE,
				 MAP_PRIVATE | MAP_ANONYMOUS);

	DM_CHECK(mem);
	dm_fill(mem, len, SEED);
	if (huge)
		DM_CHECK(dm_thp_kib(mem) >= (long)len / 1024);
	return mem;
}

static inline int device(int number)
{
	int fd = hmm_open(number);

	DM_CHECK(fd >= 0);
	return fd;
}

/* One call with a buffer: all is read back, or is written from it */
static inline int with_buffer(int fd, unsigned long request, void *mem,
			      size_t len, __u64 seed, struct hmm_cmd *out)
{
	char *buf = malloc(len);
	int ret;

	DM_CHECK(buf);
	dm_fill(buf, len, seed);
	ret = hmm_call(fd, request, mem, buf, npages(len), out);
	if (!ret && request != HMM_WRITE && dm_bad(buf, len, seed))
		ret = -EILSEQ;
	free(buf);
	return ret;
}

/* All of it, also of memory that was touched or locked a moment ago */
static inline int to_device(int fd, void *mem, size_t len)
{
	int ret = -ENOENT, tries;

	for (tries = 0; ret == -ENOENT && tries < 50; tries++) {
		dm_settle();
		ret = with_buffer(fd, HMM_TO_DEV, mem, len, SEED, NULL);
	}
	return ret;
}

static inline int device_read(int fd, void *mem, size_t len, __u64 seed)
{
	return with_buffer(fd, HMM_READ, mem, len, seed, NULL);
}

static inline int device_write(int fd, void *mem, size_t len, __u64 seed)
{
	return with_buffer(fd, HMM_WRITE, mem, len, seed, NULL);
}

/* Have the pages mapped by PTEs, without another effect */
static inline void split_pmd(char *mem)
{
	char *page = mem + 8 * dm_page_size();

	DM_CHECK(!mprotect(page, dm_page_size(), PROT_READ));
	DM_CHECK(!mprotect(page, dm_page_size(), PROT_READ | PROT_WRITE));
}

/*
 * For a race that has to hit: the threads that race on CPU 0, one with priority. That
 * one comes in between whatever the others do, where it likes. One that only looks
 * on is on CPU 1.
 */
static inline void run_on_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	DM_CHECK(!sched_setaffinity(0, sizeof(set), &set));
}

static inline void take_priority(void)
{
	struct sched_param priority = { .sched_priority = 1 };

	DM_CHECK(!sched_setscheduler(0, SCHED_FIFO, &priority));
}

static inline void any_moment(long min_us, long max_us)
{
	long us = min_us + rand() % (max_us - min_us);
	struct timespec moment = { 0, us * 1000 };

	nanosleep(&moment, NULL);
}

#endif
