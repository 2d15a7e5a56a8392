/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Failures on purpose: the n-th allocation, or access to a program's buffer, that
 * a thread causes in the kernel; the n-th copy of a device's engines; faults that
 * lose the race with the notifier.
 */
#ifndef SELFTESTS_DMIRROR_INJECT_H
#define SELFTESTS_DMIRROR_INJECT_H

#include <sys/syscall.h>
#if __has_include("sys/rseq.h")
#include <sys/rseq.h>
#endif

#include "dmirror_load.h"

#define DM_FAIL_NTH	"/proc/thread-self/fail-nth"

/*
 * When a thread comes back from where it was preempted, the kernel writes to its
 * area for restartable sequences, and a failure of that is a SIGSEGV.
 */
static inline void dm_nth_no_rseq(void)
{
#ifdef RSEQ_SIG
	char *area = (char *)__builtin_thread_pointer() + __rseq_offset;

	if (syscall(SYS_rseq, area, 32, RSEQ_FLAG_UNREGISTER, RSEQ_SIG))
		syscall(SYS_rseq, area, __rseq_size, RSEQ_FLAG_UNREGISTER,
			RSEQ_SIG);
#endif
}

/*
 * Lets the n-th allocation fail, of whatever kind: NULL, or why that cannot be.
 */
static inline const char *dm_nth_setup(void)
{
	static const char * const switches[][2] = {
		{ "/sys/kernel/debug/failslab/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/failslab/verbose", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/ignore-gfp-highmem", "N" },
		{ "/sys/kernel/debug/fail_page_alloc/min-order", "0" },
		{ "/sys/kernel/debug/fail_page_alloc/verbose", "0" },
		{ "/sys/kernel/debug/fail_usercopy/verbose", "0" },
		{ DM_DEBUGFS "/fail_copy/verbose", "0" },
		{ DM_DEBUGFS "/lose_race/verbose", "0" },
	};
	unsigned int i, done = 0;

	dm_nth_no_rseq();
	if (access(DM_FAIL_NTH, W_OK))
		return "no " DM_FAIL_NTH ": CONFIG_FAULT_INJECTION";
	for (i = 0; i < ARRAY_SIZE(switches); i++)
		done += !dm_file_write(switches[i][0], switches[i][1]);
	if (done < 6)
		return "CONFIG_FAILSLAB, CONFIG_FAIL_PAGE_ALLOC, CONFIG_FAULT_INJECTION_DEBUG_FS";
	return NULL;
}

/*
 * Opened once in a process, by the thread that has the failures: what it takes to
 * open a file could fail as well.
 */
static inline int dm_nth_file(void)
{
	static pid_t opener;
	static int fd;

	if (opener != getpid()) {
		fd = open(DM_FAIL_NTH, O_RDWR | O_CLOEXEC);
		opener = getpid();
	}
	return fd;
}

static inline int dm_nth_start(unsigned int nth)
{
	char text[16];
	int fd = dm_nth_file(), n;

	n = snprintf(text, sizeof(text), "%u", nth);
	return pwrite(fd, text, n, 0) == n ? 0 : -errno;
}

/* How many allocations before the one that is to fail */
static inline unsigned int dm_nth_left(void)
{
	char text[16] = "";

	return pread(dm_nth_file(), text, sizeof(text) - 1, 0) > 0 ?
	       strtoul(text, NULL, 10) : 0;
}

/* Whether a failure was injected since dm_nth_start() */
static inline bool dm_nth_stop(void)
{
	char text[16] = "";
	int fd = dm_nth_file();
	bool done;

	/* To read it can be what fails, and then it was not before. */
	done = pread(fd, text, sizeof(text) - 1, 0) > 0 && !strtol(text, NULL, 10);
	while (pwrite(fd, "0", 1, 0) != 1)
		;
	return done;
}

/*
 * Pages of @order and up, and no smaller ones, are not to be had: by this thread, or
 * by anybody. Without @order they are again.
 */
static inline int dm_refuse_pages(const char *order, bool only_me)
{
	const char * const settings[][2] = {
		{ "probability", "0" },
		{ "verbose", "0" },
		{ "interval", "1" },
		{ "space", "0" },
		{ "times", order ? "-1" : "1" },
		{ "min-order", order ?: "1" },
		{ "ignore-gfp-wait", order ? "N" : "Y" },
		{ "ignore-gfp-highmem", order ? "N" : "Y" },
		{ "task-filter", only_me ? "Y" : "N" },
		{ "probability", order ? "100" : "0" },
	};
	/* Who cannot have pages may not be able to open a file. */
	static int me = -1;
	unsigned int i;
	char path[128];
	int ret = 0;

	if (!order && only_me && pwrite(me, "0", 1, 0) != 1)
		return -errno;
	for (i = 0; i < ARRAY_SIZE(settings) && !ret; i++) {
		snprintf(path, sizeof(path),
			 "/sys/kernel/debug/fail_page_alloc/%s", settings[i][0]);
		ret = dm_file_write(path, settings[i][1]);
	}
	if (ret || !order || !only_me)
		return ret;
	me = open("/proc/thread-self/make-it-fail", O_WRONLY | O_CLOEXEC);
	return me >= 0 && pwrite(me, "1", 1, 0) == 1 ? 0 : -errno;
}

/*
 * The driver's own: @attr has @times failures in a row, whoever it is that causes
 * them, from the @nth occasion on. Says why not if it cannot be.
 */
static inline const char *dm_attr_start(const char *attr, unsigned int nth,
					int times)
{
	char count[16], space[16];

	snprintf(count, sizeof(count), "%d", times);
	snprintf(space, sizeof(space), "%u", nth);
	if (dm_attr_set(attr, "probability", "0"))
		return "no debugfs file to inject failures: CONFIG_FAULT_INJECTION_DEBUG_FS";
	if (dm_attr_set(attr, "verbose", "0") ||
	    dm_attr_set(attr, "interval", "1") ||
	    dm_attr_set(attr, "space", space) ||
	    dm_attr_set(attr, "times", count) ||
	    dm_attr_set(attr, "probability", "100"))
		return "cannot inject failures";
	return NULL;
}

/* How many of them there still were to be */
static inline long dm_attr_stop(const char *attr)
{
	char path[128];

	dm_attr_set(attr, "probability", "0");
	dm_attr_set(attr, "space", "0");
	snprintf(path, sizeof(path), DM_DEBUGFS "/%s/times", attr);
	return dm_file_number(path);
}

#endif
