/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the tests of dmirror share: finding devices, memory of each kind with a
 * pattern in it, one wrapper per ioctl, snapshots, and the kernel's own view.
 * A wrapper answers 0 or a negative errno.
 */
#ifndef SELFTESTS_DMIRROR_TEST_H
#define SELFTESTS_DMIRROR_TEST_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/dmirror.h>

#include "hmm_abi.h"

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE	25
#endif

#ifndef ARRAY_SIZE
#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))
#endif

#define DM_HUGE		(2UL << 20)
#define DM_PAGES	64
#define DM_CPU_WINDOW	(64UL << 10)	/* what a CPU fault brings back */
#define DM_COPY_SHARE	(256UL << 10)	/* what a copy job has of small pages */
#define DM_MAX_DEVICES	32
#define DM_RETRIES	20

/*
 * Before 6.3 the harness runs a test whose setup asked to skip it, unless the
 * setup ends the process with the status that stands for a skipped test.
 */
#ifdef KSELFTEST_PRIO_TEST
#define DM_SKIP_STATUS	KSFT_SKIP
#else
#define DM_SKIP_STATUS	255
#endif

/* In a forked child: say what is wrong, and end with a status that is not 0 */
#define DM_CHECK(cond) dm_check(cond, __FILE__, __LINE__, #cond)

static inline void dm_check(bool cond, const char *file, int line,
			    const char *text)
{
	if (cond)
		return;
	fprintf(stderr, "# %s:%d: child %d: not true: %s\n", file, line,
		getpid(), text);
	_exit(1);
}

/* What a test runs on: a kind of device and a kind of page */
struct dm_backing {
	unsigned int memory_type;
	bool thp;
};

struct dm {
	struct dm_backing backing;
	struct dmirror_query query;
	size_t page;
	size_t len;
	int device;
	int fd;
};

/*
 * How often to try for a race: @n times, or an eighth of that, but at least 2,
 * where the Makefile was told that the kernel is slow.
 */
static inline unsigned int dm_rounds(unsigned int n)
{
#ifdef DM_SLOW_KERNEL
	if (n > 2)
		return n / 8 > 2 ? n / 8 : 2;
#endif
	return n;
}

static inline size_t dm_page_size(void)
{
	return sysconf(_SC_PAGESIZE);
}

/* The version of the kernel that runs, or zeroes */
static inline void dm_kernel_version(unsigned int *major, unsigned int *minor)
{
	struct utsname name;

	if (uname(&name) ||
	    sscanf(name.release, "%u.%u", major, minor) != 2)
		*major = *minor = 0;
}

/* For what a kernel is known not to do: is this one older? */
static inline bool dm_kernel_before(unsigned int major, unsigned int minor)
{
	unsigned int has_major, has_minor;

	dm_kernel_version(&has_major, &has_minor);
	return has_major && (has_major < major ||
			     (has_major == major && has_minor < minor));
}

static inline double dm_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static inline void dm_msleep(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* A knob of the driver in debugfs, or one of its parameters */
static inline bool dm_knob(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY);
	bool ok = fd >= 0 && write(fd, value, strlen(value)) ==
			     (ssize_t)strlen(value);

	if (fd >= 0)
		close(fd);
	return ok;
}

#define DM_PARAM(name)	"/sys/module/dmirror/parameters/" name

/*
 * Devices and their ioctls
 */

static inline int dm_call(int fd, unsigned long request, void *arg)
{
	int ret;

	do {
		ret = ioctl(fd, request, arg);
	} while (ret < 0 && errno == EINTR);
	return ret < 0 ? -errno : 0;
}

static inline int dm_open_number(unsigned int number)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/dmirror%u", number);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline int dm_query(int fd, struct dmirror_query *query)
{
	memset(query, 0, sizeof(*query));
	query->size = sizeof(*query);
	return dm_call(fd, DMIRROR_IOC_QUERY, query);
}

/* Opens the @nth device that has memory of this type: its number, or -1 */
static inline int dm_find(unsigned int memory_type, unsigned int nth, int *fd)
{
	struct dmirror_query query;
	unsigned int i;

	for (i = 0; i < DM_MAX_DEVICES; i++) {
		*fd = dm_open_number(i);
		if (*fd < 0)
			continue;
		if (!dm_query(*fd, &query) && query.memory_type == memory_type &&
		    !nth--)
			return i;
		close(*fd);
	}
	*fd = -1;
	return -1;
}

static inline int dm_migrate_raw(int fd, const void *addr, size_t len,
				 unsigned int target,
				 struct dmirror_migrate *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->target = target;
	out->addr = (uintptr_t)addr;
	out->length = len;
	return dm_call(fd, DMIRROR_IOC_MIGRATE, out);
}

/*
 * A page can be busy for a moment for reasons that no test controls, so try
 * again: @moved is the sum of all tries, the rest is of the last one.
 */
static inline int dm_migrate(int fd, const void *addr, size_t len,
			     unsigned int target, struct dmirror_migrate *out)
{
	__u64 moved = 0;
	unsigned int tries;
	int ret;

	for (tries = 0; tries < DM_RETRIES; tries++) {
		ret = dm_migrate_raw(fd, addr, len, target, out);
		moved += out->moved;
		if (ret || !out->busy)
			break;
		dm_msleep(5);
	}
	if (!ret && moved > out->moved && out->resident >= moved - out->moved)
		out->resident -= moved - out->moved;
	out->moved = moved;
	return ret;
}

static inline __u64 dm_migrate_sum(const struct dmirror_migrate *m)
{
	return m->moved + m->resident + m->no_memory + m->busy +
	       m->unsupported + m->failed;
}

/* All of it: 0 if every byte is at the target afterwards */
static inline int dm_to_device(int fd, const void *addr, size_t len)
{
	struct dmirror_migrate m;
	int ret = dm_migrate(fd, addr, len, DMIRROR_TARGET_DEVICE, &m);

	if (!ret && m.moved + m.resident != len)
		ret = -EAGAIN;
	if (ret)
		fprintf(stderr,
			"# to device: %d: of %zu moved %llu resident %llu no_memory %llu busy %llu unsupported %llu failed %llu\n",
			ret, len, m.moved, m.resident, m.no_memory, m.busy,
			m.unsupported, m.failed);
	return ret;
}

static inline int dm_to_system(int fd, const void *addr, size_t len)
{
	struct dmirror_migrate m;
	int ret = dm_migrate(fd, addr, len, DMIRROR_TARGET_SYSTEM, &m);

	if (!ret && m.moved + m.resident != len)
		ret = -EAGAIN;
	if (ret)
		fprintf(stderr,
			"# to system: %d: of %zu moved %llu resident %llu no_memory %llu busy %llu unsupported %llu failed %llu\n",
			ret, len, m.moved, m.resident, m.no_memory, m.busy,
			m.unsupported, m.failed);
	return ret;
}

static inline int dm_rw(int fd, unsigned long request, const void *addr,
			const void *data, size_t len, struct dmirror_rw *out)
{
	struct dmirror_rw local;

	if (!out)
		out = &local;
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->addr = (uintptr_t)addr;
	out->length = len;
	out->data = (uintptr_t)data;
	return dm_call(fd, request, out);
}

static inline int dm_read(int fd, const void *addr, void *data, size_t len)
{
	return dm_rw(fd, DMIRROR_IOC_READ, addr, data, len, NULL);
}

static inline int dm_write(int fd, void *addr, const void *data, size_t len)
{
	return dm_rw(fd, DMIRROR_IOC_WRITE, addr, data, len, NULL);
}

static inline int dm_read64(int fd, const void *addr, __u64 *value)
{
	return dm_read(fd, addr, value, sizeof(*value));
}

static inline int dm_write64(int fd, void *addr, __u64 value)
{
	return dm_write(fd, addr, &value, sizeof(value));
}

static inline int dm_fill_device(int fd, void *addr, size_t len,
				 __u64 pattern)
{
	struct dmirror_fill f = {
		.size = sizeof(f),
		.addr = (uintptr_t)addr,
		.length = len,
		.pattern = pattern,
	};

	return dm_call(fd, DMIRROR_IOC_FILL, &f);
}

static inline int dm_copy(int fd, void *dst, const void *src, size_t len)
{
	struct dmirror_copy c = {
		.size = sizeof(c),
		.dst = (uintptr_t)dst,
		.src = (uintptr_t)src,
		.length = len,
	};

	return dm_call(fd, DMIRROR_IOC_COPY, &c);
}

static inline int dm_submit(int fd, unsigned int op, const void *addr,
			    size_t len, __u64 argument, int eventfd,
			    __u64 *job)
{
	struct dmirror_submit args = {
		.size = sizeof(args),
		.op = op,
		.addr = (uintptr_t)addr,
		.length = len,
		.argument = argument,
		.eventfd = eventfd,
	};
	int ret = dm_call(fd, DMIRROR_IOC_SUBMIT, &args);

	*job = args.job;
	return ret;
}

static inline int dm_wait_job(int fd, __u64 job, unsigned int flags,
			      struct dmirror_wait *result)
{
	*result = (struct dmirror_wait) {
		.size = sizeof(*result),
		.flags = flags,
		.job = job,
	};
	return dm_call(fd, DMIRROR_IOC_WAIT, result);
}

/* In the background, and waited for: @result says what came of it. */
static inline int dm_migrate_job(int fd, const void *addr, size_t len,
				 unsigned int target,
				 struct dmirror_wait *result)
{
	__u64 job;

	return dm_submit(fd, DMIRROR_JOB_MIGRATE, addr, len, target, -1,
			 &job) ?:
	       dm_wait_job(fd, job, 0, result);
}

static inline int dm_atomic(int fd, unsigned int op, void *addr,
			    unsigned int width, __u64 operand,
			    __u64 compare, struct dmirror_atomic *out)
{
	memset(out, 0, sizeof(*out));
	out->size = sizeof(*out);
	out->op = op;
	out->addr = (uintptr_t)addr;
	out->width = width;
	out->operand = operand;
	out->compare = compare;
	return dm_call(fd, DMIRROR_IOC_ATOMIC, out);
}

static inline int dm_add64(int fd, void *addr, __u64 operand)
{
	struct dmirror_atomic a;
	unsigned int tries;
	int ret;

	for (tries = 0; tries < DM_RETRIES; tries++) {
		ret = dm_atomic(fd, DMIRROR_ATOMIC_ADD, addr, 8, operand, 0, &a);
		if (ret != -EBUSY)
			break;
		dm_msleep(5);
	}
	return ret;
}

static inline int dm_snapshot(int fd, const void *addr, size_t len,
			      struct dmirror_page *pages)
{
	struct dmirror_snapshot s = {
		.size = sizeof(s),
		.addr = (uintptr_t)addr,
		.length = len,
		.pages = (uintptr_t)pages,
	};

	return dm_call(fd, DMIRROR_IOC_SNAPSHOT, &s);
}

/* How many pages of the range are at this place, or a negative errno */
static inline long dm_count(int fd, const void *addr, size_t len,
			    unsigned int place)
{
	size_t n = len / dm_page_size(), i;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	long count = 0;
	int ret;

	if (!pages)
		return -ENOMEM;
	ret = dm_snapshot(fd, addr, len, pages);
	for (i = 0; i < n; i++)
		count += pages[i].place == place;
	free(pages);
	return ret ? ret : count;
}

static inline bool dm_all(int fd, const void *addr, size_t len,
			  unsigned int place)
{
	long count = dm_count(fd, addr, len, place);

	if (count == (long)(len / dm_page_size()))
		return true;
	fprintf(stderr, "# %ld of %zu pages at place %u\n", count,
		len / dm_page_size(), place);
	return false;
}

/* How many pages of the range have all of these flags */
static inline long dm_count_flags(int fd, const void *addr, size_t len,
				  unsigned int flags)
{
	size_t n = len / dm_page_size(), i;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	long count = 0;
	int ret;

	if (!pages)
		return -ENOMEM;
	ret = dm_snapshot(fd, addr, len, pages);
	for (i = 0; i < n; i++)
		count += (pages[i].flags & flags) == flags;
	free(pages);
	return ret ? ret : count;
}

/* The snapshot of one page */
static inline struct dmirror_page dm_where(int fd, const void *addr)
{
	struct dmirror_page page = { .place = 0xff };
	size_t size = dm_page_size();

	addr = (const void *)((uintptr_t)addr & ~(size - 1));
	if (dm_snapshot(fd, addr, size, &page))
		page.place = 0xff;
	return page;
}

/*
 * The test_hmm ABI
 */

static inline int hmm_open(int number)
{
	char path[32];

	snprintf(path, sizeof(path), "/dev/hmm_dmirror%d", number);
	return open(path, O_RDWR | O_CLOEXEC);
}

static inline int hmm_call(int fd, unsigned long request, const void *addr,
			   const void *ptr, __u64 npages,
			   struct hmm_cmd *out)
{
	struct hmm_cmd local;

	if (!out)
		out = &local;
	memset(out, 0, sizeof(*out));
	out->addr = (uintptr_t)addr;
	out->ptr = (uintptr_t)ptr;
	out->npages = npages;
	return dm_call(fd, request, out);
}

/* Takes back what HMM_FLAG_FAIL_ALLOC asked for, if nothing failed since */
static inline void hmm_clear_flags(int fd)
{
	hmm_call(fd, HMM_FLAGS, NULL, NULL, ~(__u64)HMM_FLAG_FAIL_ALLOC & 0xff,
		 NULL);
}

/*
 * Memory with a pattern: every page differs from every other, and its last
 * word is the sum of the others, so that a page that is torn, moved or stale
 * is known even where the seed is not.
 */

static inline __u64 dm_word(__u64 seed, __u64 page, __u64 word)
{
	__u64 x = seed * 0x9e3779b97f4a7c15ULL + page * 0xff51afd7ed558ccdULL +
		     word + 1;

	x ^= x >> 29;
	x *= 0xbf58476d1ce4e5b9ULL;
	return x ^ (x >> 32);
}

static inline void dm_fill_from(void *addr, size_t len, __u64 seed,
				__u64 first)
{
	size_t words = dm_page_size() / sizeof(__u64), i, w;
	__u64 *p = addr, sum;

	for (i = 0; i < len / dm_page_size(); i++, p += words) {
		for (sum = 0, w = 0; w < words - 1; w++) {
			p[w] = dm_word(seed, first + i, w);
			sum += p[w];
		}
		p[w] = sum;
	}
}

/* How many pages do not hold what dm_fill_from() put there */
static inline size_t dm_bad_from(const void *addr, size_t len, __u64 seed,
				 __u64 first)
{
	size_t words = dm_page_size() / sizeof(__u64), i, w, bad = 0;
	const __u64 *p = addr;
	__u64 sum;

	for (i = 0; i < len / dm_page_size(); i++, p += words) {
		for (sum = 0, w = 0; w < words - 1; w++) {
			if (p[w] != dm_word(seed, first + i, w))
				break;
			sum += p[w];
		}
		if (w == words - 1 && p[w] == sum)
			continue;
		if (!bad++)
			fprintf(stderr,
				"# page %zu of %zu is wrong at word %zu: 0x%llx\n",
				i, len / dm_page_size(), w,
				p[w]);
	}
	return bad;
}

static inline void dm_fill(void *addr, size_t len, __u64 seed)
{
	dm_fill_from(addr, len, seed, 0);
}

static inline size_t dm_bad(const void *addr, size_t len, __u64 seed)
{
	return dm_bad_from(addr, len, seed, 0);
}

static inline bool dm_zero(const void *addr, size_t len)
{
	const __u64 *p = addr;
	size_t i;

	for (i = 0; i < len / sizeof(*p); i++)
		if (p[i])
			return false;
	return true;
}

static inline __u64 dm_peek(const void *addr)
{
	return __atomic_load_n((const __u64 *)addr, __ATOMIC_SEQ_CST);
}

static inline void dm_poke(void *addr, __u64 value)
{
	__atomic_store_n((__u64 *)addr, value, __ATOMIC_SEQ_CST);
}

/* A number out of a file of text lines "Name: number", or -1 */
static inline long dm_file_value(const char *path, const char *name)
{
	size_t n = strlen(name);
	char line[256];
	long value = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f))
		if (!strncmp(line, name, n) && (line[n] == ':' || line[n] == ' '))
			value = strtol(line + n + 1, NULL, 0);
	fclose(f);
	return value;
}

/* KiB that smaps says under @name of all mappings in a range, or -1 */
static inline long dm_smaps(const void *addr, size_t len, const char *name)
{
	uintptr_t first = (uintptr_t)addr, end, start;
	size_t n = strlen(name);
	bool mine = false;
	char line[512];
	long kib = 0;
	FILE *f = fopen("/proc/self/smaps", "r");

	if (!f)
		return -1;
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			mine = start < first + len && end > first;
		else if (mine && !strncmp(line, name, n) && line[n] == ':')
			kib += strtol(line + n + 1, NULL, 0);
	}
	fclose(f);
	return kib;
}

/* How many KiB of the mapping that holds @addr are huge pages */
static inline long dm_thp_kib(const void *addr)
{
	return dm_smaps(addr, 1, "AnonHugePages");
}

/* Address space for @len bytes, aligned to a huge page if there is room */
static inline char *dm_map_flags(size_t len, int advice, int prot, int flags)
{
	size_t room = len + (len >= DM_HUGE ? DM_HUGE : 0);
	char *p = mmap(NULL, room, prot, flags, -1, 0);
	uintptr_t start;

	if (p == MAP_FAILED)
		return NULL;
	if (room > len) {
		start = ((uintptr_t)p + DM_HUGE - 1) & ~(DM_HUGE - 1);
		if (start != (uintptr_t)p)
			munmap(p, start - (uintptr_t)p);
		munmap((char *)start + len, (uintptr_t)p + room - start - len);
		p = (char *)start;
	}
	if (advice >= 0)
		madvise(p, len, advice);
	return p;
}

/* Private anonymous memory of the kind that the test runs on, untouched */
static inline char *dm_map(const struct dm *dm, size_t len)
{
	return dm_map_flags(len,
			    dm->backing.thp ? MADV_HUGEPAGE : MADV_NOHUGEPAGE,
			    PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
}

/* The same, filled; in huge pages if the test runs on those */
static inline char *dm_alloc(const struct dm *dm, size_t len, __u64 seed)
{
	char *p = dm_map(dm, len);
	unsigned int tries;

	if (!p)
		return NULL;
	dm_fill(p, len, seed);
	for (tries = 0; dm->backing.thp && tries < DM_RETRIES &&
	     dm_thp_kib(p) < (long)(len / DM_HUGE * 2048); tries++)
		madvise(p, len, MADV_COLLAPSE);
	return p;
}

/*
 * Sets up @dm for a backing: NULL, or why the backing does not exist here. A
 * private device must be there whenever the driver is.
 */
static inline const char *dm_setup(struct dm *dm, const struct dm_backing *b)
{
	char *p;

	dm->backing = *b;
	dm->page = dm_page_size();
	dm->len = b->thp ? DM_HUGE : DM_PAGES * dm->page;
	dm->device = dm_find(b->memory_type, 0, &dm->fd);
	if (dm->device < 0 && b->memory_type == DMIRROR_MEMORY_COHERENT)
		return "no coherent device: the driver needs spm_addr_dev0 and spm_addr_dev1";
	if (dm->device < 0)
		return NULL;
	dm_query(dm->fd, &dm->query);
	if (b->thp) {
		p = dm_alloc(dm, DM_HUGE, 1);
		if (!p || dm_thp_kib(p) < 2048)
			return "no transparent huge page to be had: CONFIG_TRANSPARENT_HUGEPAGE";
		munmap(p, DM_HUGE);
	}
	return NULL;
}

/* Whether a whole huge page is one folio on this device */
static inline bool dm_large(const struct dm *dm)
{
	return dm->backing.thp &&
	       dm->query.capabilities & DMIRROR_CAP_LARGE_FOLIO;
}

/*
 * Whether this kernel can migrate a huge page that is mapped page by page.
 * Before large folios could go to devices, only one that is mapped as a whole
 * could be split for it: such memory is busy then. Tried, not looked up.
 */
static inline bool dm_splits(const struct dm *dm)
{
	struct dmirror_migrate m = { 0 };
	unsigned int tries;
	char *p;

	if (!dm->backing.thp)
		return true;
	p = dm_alloc(dm, DM_HUGE, 1);
	if (!p)
		return false;
	mprotect(p, dm->page, PROT_READ);
	for (tries = 0; !m.moved && tries < 5; tries++)
		dm_migrate_raw(dm->fd, p + dm->page, dm->page,
			       DMIRROR_TARGET_DEVICE, &m);
	munmap(p, DM_HUGE);
	return m.moved != 0;
}

/*
 * Nobody can hold private memory: 0 if the page at @mem, which is on the device,
 * comes back first when somebody takes hold of it.
 */
static inline int dm_hold_fetches(int fd, char *mem)
{
	struct iovec iov = { mem, dm_page_size() };
	int pipes[2], ret = -EBUSY;

	if (pipe(pipes))
		return -errno;
	if (dm_all(fd, mem, iov.iov_len, DMIRROR_PLACE_LOCAL) &&
	    vmsplice(pipes[1], &iov, 1, 0) == (ssize_t)iov.iov_len &&
	    dm_all(fd, mem, iov.iov_len, DMIRROR_PLACE_SYSTEM))
		ret = 0;
	close(pipes[0]);
	close(pipes[1]);
	return ret;
}

/*
 * The kernel's own view
 */

/* An entry of /proc/self/pagemap for each page of the range */
static inline int dm_pagemap(const void *addr, size_t len, __u64 *entries)
{
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	ssize_t size = len / dm_page_size() * sizeof(*entries);
	int ret = 0;

	if (fd < 0)
		return -errno;
	if (pread(fd, entries, size,
		  (uintptr_t)addr / dm_page_size() * sizeof(*entries)) != size)
		ret = -EIO;
	close(fd);
	return ret;
}

#define DM_PAGEMAP_PRESENT	0x8000000000000000ULL
#define DM_PAGEMAP_SWAP		0x4000000000000000ULL

/*
 * Pages whose entry is neither present, nor empty, nor device memory: without
 * swap in use these are migration entries, and whoever touches them waits for
 * ever. Looks without touching.
 */
static inline long dm_stuck(int fd, const void *addr, size_t len)
{
	size_t n = len / dm_page_size(), i;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	__u64 *entries = calloc(n, sizeof(*entries));
	long stuck = 0;
	int ret = -ENOMEM;

	if (pages && entries)
		ret = dm_pagemap(addr, len, entries) ?:
		      dm_snapshot(fd, addr, len, pages);
	for (i = 0; !ret && i < n; i++)
		stuck += entries[i] & DM_PAGEMAP_SWAP &&
			 pages[i].place == DMIRROR_PLACE_HOLE &&
			 !(pages[i].flags & DMIRROR_PAGE_EXCLUSIVE);
	free(pages);
	free(entries);
	return ret ? ret : stuck;
}

/* A number out of a one-line file, or -1 */
static inline long dm_file_number(const char *path)
{
	long value = -1;
	FILE *f = fopen(path, "r");

	if (!f)
		return -1;
	if (fscanf(f, "%ld", &value) != 1)
		value = -1;
	fclose(f);
	return value;
}

static inline int dm_file_write(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = write(fd, text, strlen(text));
	close(fd);
	return n == (ssize_t)strlen(text) ? 0 : -EIO;
}

/*
 * CPUs hold back pages that go to a list, or that are locked or unlocked, and
 * what they have counted. This has them all deliver it: to begin with, move_pages()
 * does, also if there is nothing to move.
 */
static inline void dm_settle(void)
{
	char text[64];
	int fd;

	syscall(SYS_move_pages, 0, 0UL, NULL, text, text, 0);
	fd = open("/proc/sys/vm/stat_refresh", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		while (read(fd, text, sizeof(text)) > 0)
			;
		close(fd);
	}
}

/*
 * For pages that a CPU may hold still. A migration of locked memory leaves some with
 * the CPU that it began on, if it is then moved to another one; and whoever gives up
 * a hold on memory may take his time.
 */
static inline int dm_settled(int (*move)(int fd, const void *addr, size_t len),
			     int fd, const void *addr, size_t len)
{
	unsigned int tries;
	int ret = -EAGAIN;

	for (tries = 0; ret == -EAGAIN && tries < 50; tries++) {
		dm_settle();
		ret = move(fd, addr, len);
	}
	return ret;
}

static inline int dm_to_device_settled(int fd, const void *addr, size_t len)
{
	return dm_settled(dm_to_device, fd, addr, len);
}

static inline int dm_to_system_settled(int fd, const void *addr, size_t len)
{
	return dm_settled(dm_to_system, fd, addr, len);
}

/*
 * KSM
 */

#define DM_KSM	"/sys/kernel/mm/ksm/"

/* Has ksmd look for pages of equal contents, without a pause to speak of. */
static inline bool dm_ksm_start(void)
{
	return dm_knob(DM_KSM "sleep_millisecs", "1") &&
	       dm_knob(DM_KSM "run", "1");
}

/* Has it give back what it has merged, for which it reads that, and rest. */
static inline bool dm_ksm_stop(void)
{
	return dm_knob(DM_KSM "run", "2") && dm_knob(DM_KSM "run", "0");
}

/* Waits until one of its counts is so much: whether it got there in time */
static inline bool dm_ksm_reaches(const char *name, long count)
{
	double end = dm_now() + 60;
	char path[64];

	snprintf(path, sizeof(path), DM_KSM "%s", name);
	while (dm_file_number(path) < count) {
		if (dm_now() > end)
			return false;
		dm_msleep(1);
	}
	return true;
}

/*
 * Children
 */

/* fork() fails where somebody has a page locked just then that a device has exclusively. */
static inline pid_t dm_fork(void)
{
	unsigned int tries;
	pid_t pid;

	for (tries = 0; tries < DM_RETRIES; tries++) {
		pid = fork();
		if (pid >= 0 || errno != ENOMEM)
			break;
		dm_msleep(1);
	}
	return pid;
}

/* What became of a child: its exit status, or minus the signal that ended it */
static inline int dm_wait(pid_t pid)
{
	int status;

	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return 255;
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* As dm_wait(), but gives up and answers 254 after a number of seconds */
static inline int dm_wait_for(pid_t pid, unsigned int seconds)
{
	double end = dm_now() + seconds;
	int status;

	while (waitpid(pid, &status, WNOHANG) != pid) {
		if (dm_now() > end)
			return 254;
		dm_msleep(10);
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

/* A word that parent and child share */
static inline __u64 *dm_shared(void)
{
	void *p = mmap(NULL, dm_page_size(), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Spins no longer than a moment: who is waited for may need the CPU */
static inline void dm_await(const void *word, __u64 value)
{
	unsigned int tries;

	for (tries = 0; dm_peek(word) < value; tries++) {
		if (tries < 100)
			sched_yield();
		else
			dm_msleep(1);
	}
}

/*
 * A thread that does something again and again, until it is told to stop or
 * has done it @limit times
 */
struct dm_worker {
	pthread_t thread;
	int (*step)(struct dm_worker *worker);
	void *arg;
	unsigned long limit;
	unsigned long done;
	int error;
	bool stop;
};

static inline void *dm_worker_run(void *arg)
{
	struct dm_worker *w = arg;
	unsigned long done = 0;

	while (done < w->limit && !w->error &&
	       !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE)) {
		w->error = w->step(w);
		__atomic_store_n(&w->done, ++done, __ATOMIC_RELEASE);
	}
	return NULL;
}

static inline int dm_worker_start(struct dm_worker *w)
{
	return pthread_create(&w->thread, NULL, dm_worker_run, w);
}

static inline int dm_worker_stop(struct dm_worker *w)
{
	__atomic_store_n(&w->stop, true, __ATOMIC_RELEASE);
	pthread_join(w->thread, NULL);
	return w->error;
}

/* Whether nothing of mm is to be avoided: the environment says that it has patches/mm. */
static inline bool dm_avoids_nothing(void)
{
	return getenv("MM_FIXED");
}

#endif
