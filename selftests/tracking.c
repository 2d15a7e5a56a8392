// SPDX-License-Identifier: GPL-2.0
/*
 * Those who track a program's memory: soft-dirty bits, and userfaultfd, which hands
 * over missing and write-protected pages. The bits go where the page goes, and the
 * events come after it has come back as they came before.
 */
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/syscall.h>

#include "dmirror_scan.h"
#include "dmirror_state.h"

#define PAGEMAP_SOFT_DIRTY	0x0080000000000000ULL
#define PAGEMAP_UFFD_WP		0x0200000000000000ULL
#define MAX_PAGES		(DM_HUGE / 4096)

#ifndef UFFDIO_MOVE
#define UFFD_FEATURE_MOVE	0x10000
struct uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};

#define UFFDIO_MOVE		_IOWR(UFFDIO, 5, struct uffdio_move)
#endif

/*
 * 6.1 takes what is dirty for soft-dirty when it has moved to where the CPU maps it:
 * of coherent memory more pages have the bit than should, and none fewer.
 */
static bool more_is_right;

/* Whether exactly the pages that @want says have the bit */
static bool bits_are(const char *mem, size_t len, __u64 bit, const bool *want)
{
	size_t n = len / dm_page_size(), i, more = 0, less = 0;
	static __u64 entries[MAX_PAGES];

	if (dm_pagemap(mem, len, entries))
		return false;
	for (i = 0; i < n; i++) {
		more += entries[i] & bit && !want[i];
		less += !(entries[i] & bit) && want[i];
	}
	if ((!more || more_is_right) && !less)
		return true;
	fprintf(stderr, "# of %zu pages %zu have the bit and should not, %zu do not and should\n",
		n, more, less);
	return false;
}

static void bits(const char *mem, size_t len, __u64 bit, bool *have)
{
	static __u64 entries[MAX_PAGES];
	size_t i;

	memset(entries, 0, sizeof(entries));
	dm_pagemap(mem, len, entries);
	for (i = 0; i < len / dm_page_size(); i++)
		have[i] = entries[i] & bit;
}

static bool any(const bool *have)
{
	return memchr(have, true, MAX_PAGES);
}

static int clear_soft_dirty(void)
{
	return dm_file_write("/proc/self/clear_refs", "4");
}

static const bool none[MAX_PAGES];

/* False where the kernel has no such bits */
static bool is_dirty_when_written(char *mem)
{
	bool dirty[1];

	dm_poke(mem, dm_peek(mem));
	bits(mem, dm_page_size(), PAGEMAP_SOFT_DIRTY, dirty);
	return dirty[0];
}

/* What the CPU has written to is known when the memory has been away. */
TEST_F(state, soft_dirty)
{
	bool dirty[MAX_PAGES] = { 0 };
	unsigned int way;
	size_t at;

	more_is_right = dm_kernel_before(6, 12) &&
		variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, clear_soft_dirty());
		for (at = 0; at < self->len; at += 4 * self->page)
			dm_poke(self->mem + at, dm_peek(self->mem + at));
		bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
		if (!any(dirty))
			SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_SOFT_DIRTY,
				     dirty));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_SOFT_DIRTY,
				     dirty));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
}

/*
 * Cleared while it is there. Of a device that writes to its private memory mm
 * learns nothing: the entry stays writable, so there is no fault. And 7.2 does
 * not clear the bit of a huge private page. With 0010 of patches/mm it is well.
 */
TEST_F(state, soft_dirty_cleared_there)
{
	bool coherent = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	bool large = dm_large(&self->dm), fixed = dm_avoids_nothing();
	bool dirty[MAX_PAGES] = { 0 };

	more_is_right = dm_kernel_before(6, 12) && coherent;
	if (!is_dirty_when_written(self->mem))
		SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
	bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, clear_soft_dirty());
	EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_SOFT_DIRTY,
			     large && !fixed ? dirty : none));
	ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
	bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
	EXPECT_EQ(coherent || large || fixed, dirty[0]);
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty));
	EXPECT_EQ(1, dm_peek(self->mem));
}

/* Cleared while the device has it mapped to write to: what it goes on to write is seen. */
TEST_F(state, soft_dirty_cleared_as_it_writes)
{
	bool coherent = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	bool dirty[MAX_PAGES] = { 0 };
	unsigned int turn;

	if (!is_dirty_when_written(self->mem))
		SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
	for (turn = 0; turn < (coherent ? 2 : 1); turn++) {
		if (turn)
			ASSERT_EQ(0, dm_to_device(self->fd, self->mem,
						  self->len));
		ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
		ASSERT_EQ(0, clear_soft_dirty());
		bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
		ASSERT_FALSE(dirty[0]);
		ASSERT_EQ(0, dm_write64(self->fd, self->mem, 2));
		bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
		EXPECT_TRUE(dirty[0]);
	}
	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, self->len));
	bits(self->mem, self->len, PAGEMAP_SOFT_DIRTY, dirty);
	EXPECT_TRUE(dirty[0]);
}

/* What is mapped somewhere else than before counts as written to, on the device too. */
TEST_F(state, soft_dirty_moved)
{
	size_t len = 4 * self->page;
	char *to = dm_map(&self->dm, self->len), *at = to + self->page;
	bool all[MAX_PAGES];

	ASSERT_NE(NULL, to);
	memset(all, true, sizeof(all));
	if (!is_dirty_when_written(self->mem))
		SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
	ASSERT_EQ(0, clear_soft_dirty());
	ASSERT_EQ(at, mremap(self->mem + 8 * self->page, len, len,
			     MREMAP_MAYMOVE | MREMAP_FIXED, at));
	EXPECT_TRUE(dm_all(self->fd, at, len, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(bits_are(at, len, PAGEMAP_SOFT_DIRTY, all));
	ASSERT_EQ(0, dm_to_system(self->fd, at, len));
	EXPECT_TRUE(bits_are(at, len, PAGEMAP_SOFT_DIRTY, all));
	EXPECT_EQ(0, dm_bad_from(at, len, SEED, 8));
	munmap(to, self->len);
}

/*
 * A hole that becomes coherent memory can be written to without a fault: it is dirty. The
 * entries of private memory, which a CPU has to fault for, begin without.
 */
TEST_F(state, soft_dirty_hole)
{
	char *mem = dm_map(&self->dm, self->len);
	bool coherent = variant->backing.memory_type == DMIRROR_MEMORY_COHERENT;
	bool written[MAX_PAGES];
	unsigned int way;

	ASSERT_NE(NULL, mem);
	memset(written, coherent, sizeof(written));
	if (!is_dirty_when_written(self->mem))
		SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, madvise(mem, self->len, MADV_DONTNEED));
		ASSERT_EQ(0, clear_soft_dirty());
		ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
		EXPECT_TRUE(bits_are(mem, self->len, PAGEMAP_SOFT_DIRTY, written));
		ASSERT_EQ(0, dm_back(self->fd, mem, self->len, way));
		EXPECT_TRUE(bits_are(mem, self->len, PAGEMAP_SOFT_DIRTY, written));
	}
	munmap(mem, self->len);
}

/*
 * What the device writes to by an atomic operation mm does see, since it has made the
 * page writable for it: also while the device has the page for itself.
 */
TEST_F(state, soft_dirty_exclusive)
{
	bool dirty[MAX_PAGES] = { 0 };
	struct dmirror_atomic a;

	if (!is_dirty_when_written(self->mem))
		SKIP(return, "no soft-dirty bits: CONFIG_MEM_SOFT_DIRTY");
	ASSERT_EQ(0, clear_soft_dirty());
	bits(self->mem, self->page, PAGEMAP_SOFT_DIRTY, dirty);
	ASSERT_FALSE(dirty[0]);

	ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, self->mem, 8, 1, 0,
			       &a));
	bits(self->mem, self->page, PAGEMAP_SOFT_DIRTY, dirty);
	EXPECT_TRUE(dirty[0]);
	if (!variant->backing.thp)
		EXPECT_EQ(DMIRROR_ATOMIC_EXCLUSIVE, a.flags);

	/* And when the CPU has it again */
	EXPECT_EQ(dm_word(SEED, 0, 0) + 1, dm_peek(self->mem));
	bits(self->mem, self->page, PAGEMAP_SOFT_DIRTY, dirty);
	EXPECT_TRUE(dirty[0]);
}

/*
 * userfaultfd
 */

/* A descriptor for memory that is registered in a mode: NULL, or why not */
static const char *watch_with(char *mem, size_t len, __u64 mode, __u64 features,
			      int *uffd)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	struct uffdio_register reg = {
		.range = { (uintptr_t)mem, len },
		.mode = mode,
	};

	*uffd = syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (*uffd < 0)
		return "no userfaultfd: CONFIG_USERFAULTFD";
	if (ioctl(*uffd, UFFDIO_API, &api))
		return features & UFFD_FEATURE_WP_UNPOPULATED ?
		       "userfaultfd protects no holes: from 6.4 on, with PTE_MARKER_UFFD_WP" :
		       "userfaultfd cannot do this mode here";
	if (ioctl(*uffd, UFFDIO_REGISTER, &reg))
		return "the memory cannot be registered with userfaultfd";
	return NULL;
}

static const char *watch(char *mem, size_t len, __u64 mode, int *uffd)
{
	return watch_with(mem, len, mode, mode & UFFDIO_REGISTER_MODE_WP ?
			  UFFD_FEATURE_PAGEFAULT_FLAG_WP : 0, uffd);
}

static int protect(int uffd, char *mem, size_t len, bool on)
{
	struct uffdio_writeprotect wp = {
		.range = { (uintptr_t)mem, len },
		.mode = on ? UFFDIO_WRITEPROTECT_MODE_WP : 0,
	};

	return ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* Waits for an event, at most a time: its address, and its flags */
static char *event_within(int uffd, int ms, __u64 *flags)
{
	struct pollfd pollfd = { .fd = uffd, .events = POLLIN };
	struct uffd_msg msg;

	if (poll(&pollfd, 1, ms) != 1 ||
	    read(uffd, &msg, sizeof(msg)) != sizeof(msg) ||
	    msg.event != UFFD_EVENT_PAGEFAULT)
		return NULL;
	*flags = msg.arg.pagefault.flags;
	return (char *)(uintptr_t)(msg.arg.pagefault.address &
				   ~(dm_page_size() - 1));
}

static char *event(int uffd, __u64 *flags)
{
	return event_within(uffd, 60000, flags);
}

static void *touch_thread(void *arg)
{
	return (void *)dm_peek(arg);
}

static void *write_thread(void *arg)
{
	dm_poke(arg, 7);
	return NULL;
}

/*
 * PAGEMAP_SCAN: the kernel lets go of the protection by itself when somebody writes, and
 * tells afterwards which pages that were. Each way, protected there and here: what is not
 * written is not told of when it has moved, and what the device or the CPU writes is.
 *
 * But what is protected on a private device mm leaves writable there, without 0032 of
 * patches/mm: what the device writes is not told, and what comes back is, written or not.
 * With PAGE_TABLE_CHECK it warns of that, so that this is left out.
 */
TEST_F(state, written_since_scan)
{
	bool private = variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	__u64 word = dm_word(SEED, 0, 0);
	long page = self->page;
	unsigned int way;
	const char *why;
	int uffd;

	why = watch_with(self->mem, self->len, UFFDIO_REGISTER_MODE_WP,
			 UFFD_FEATURE_WP_ASYNC, &uffd);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(self->len, dm_scan_written(self->mem, self->len));
	for (way = 0; way < DM_WAYS; way++) {
		EXPECT_EQ(0, dm_scan_written(self->mem, self->len));
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		EXPECT_EQ(0, dm_scan_written(self->mem, self->len));
		ASSERT_EQ(0, dm_write64(self->fd, self->mem, word));
		EXPECT_EQ(page, dm_scan_written(self->mem, self->len));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_EQ(0, dm_scan_written(self->mem, self->len));
		dm_poke(self->mem, word);
		EXPECT_EQ(page, dm_scan_written(self->mem, self->len));

		if (private && !dm_avoids_nothing())
			continue;
		/* Written here, protected there */
		dm_poke(self->mem, word);
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		EXPECT_EQ(page, dm_scan_written(self->mem, self->len));
		ASSERT_EQ(0, dm_write64(self->fd, self->mem, word));
		EXPECT_EQ(page, dm_scan_written(self->mem, self->len));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_EQ(0, dm_scan_written(self->mem, self->len));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(uffd);
}

/*
 * Missing pages are for the handler to bring: migration does not take holes, nor
 * does the device get one filled. What the handler has brought migrates, and what
 * is then discarded on the device is missing again.
 */
TEST_F(state, uffd_missing)
{
	char *mem = dm_map(&self->dm, self->len), *gap;
	struct dmirror_migrate m;
	struct uffdio_copy copy;
	const char *why;
	pthread_t thread;
	void *value;
	__u64 flags;
	int uffd;

	ASSERT_NE(NULL, mem);
	why = watch(mem, self->len, UFFDIO_REGISTER_MODE_MISSING, &uffd);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_migrate_raw(self->fd, mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(0, m.moved);
	EXPECT_EQ(self->len, m.busy);
	EXPECT_EQ(-EFAULT, dm_read(self->fd, mem, self->buf, self->page));

	copy = (struct uffdio_copy) {
		.dst = (uintptr_t)mem,
		.src = (uintptr_t)self->mem,
		.len = self->len,
	};
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_COPY, &copy));
	ASSERT_EQ(0, dm_to_device(self->fd, mem, self->len));
	ASSERT_EQ(0, dm_read(self->fd, mem, self->buf, self->len));
	EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));

	gap = mem + 20 * self->page;
	ASSERT_EQ(0, madvise(gap, self->page, MADV_DONTNEED));
	ASSERT_EQ(0, pthread_create(&thread, NULL, touch_thread, gap));
	ASSERT_EQ(gap, event(uffd, &flags));
	copy.dst = (uintptr_t)gap;
	copy.src = (uintptr_t)self->mem + 20 * self->page;
	copy.len = self->page;
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_COPY, &copy));
	ASSERT_EQ(0, pthread_join(thread, &value));
	EXPECT_EQ(dm_word(SEED, 20, 0), (__u64)(uintptr_t)value);
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
	close(uffd);
	munmap(mem, self->len);
}

/*
 * Half of it is protected, here or there; when it is back a write is an event. All
 * of it where half would leave a huge page that no migration can split.
 */
TEST_F(state, uffd_wp)
{
	size_t half = dm_splits(&self->dm) ? self->len / 2 : self->len, i;
	bool want[MAX_PAGES] = { 0 };
	const char *why;
	pthread_t thread;
	unsigned int way;
	bool there;
	__u64 flags;
	int uffd;

	why = watch(self->mem, self->len, UFFDIO_REGISTER_MODE_WP, &uffd);
	if (why)
		SKIP(return, "%s", why);
	for (i = 0; i < half / self->page; i++)
		want[i] = true;
	for (way = 0; way < DM_WAYS; way++) {
		there = way & 1;
		if (there)
			ASSERT_EQ(0, dm_to_device(self->fd, self->mem,
						  self->len));
		ASSERT_EQ(0, protect(uffd, self->mem, half, true));
		ASSERT_TRUE(bits_are(self->mem, self->len, PAGEMAP_UFFD_WP,
				     want));
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_UFFD_WP,
				     want));

		/* The device may read all and write to the rest. */
		ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf,
				     self->len));
		EXPECT_EQ(0, dm_bad(self->buf, self->len, SEED));
		EXPECT_NE(0, dm_write64(self->fd, self->mem, 1));
		if (half < self->len)
			EXPECT_EQ(0, dm_write64(self->fd, self->mem + half,
						dm_word(SEED, half / self->page,
							0)));
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));

		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_UFFD_WP,
				     want));
		ASSERT_EQ(0, pthread_create(&thread, NULL, write_thread,
					    self->mem));
		ASSERT_EQ(self->mem, event(uffd, &flags));
		EXPECT_TRUE(flags & UFFD_PAGEFAULT_FLAG_WP);
		EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
		ASSERT_EQ(0, protect(uffd, self->mem, half, false));
		ASSERT_EQ(0, pthread_join(thread, NULL));
		EXPECT_EQ(7, dm_peek(self->mem));
		dm_poke(self->mem, dm_word(SEED, 0, 0));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(uffd);
}

/*
 * Holes that are protected: they stay, since what is marked is not empty; the device
 * reads zeroes and may not write; and they are protected all the time.
 */
TEST_F(state, uffd_wp_hole)
{
	char *mem = dm_map(&self->dm, self->len);
	struct dmirror_migrate m;
	bool want[MAX_PAGES];
	const char *why;
	int uffd;

	ASSERT_NE(NULL, mem);
	memset(want, true, sizeof(want));
	why = watch_with(mem, self->len, UFFDIO_REGISTER_MODE_WP,
			 UFFD_FEATURE_PAGEFAULT_FLAG_WP |
			 UFFD_FEATURE_WP_UNPOPULATED, &uffd);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, protect(uffd, mem, self->len, true));
	ASSERT_TRUE(bits_are(mem, self->len, PAGEMAP_UFFD_WP, want));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(0, m.moved);
	EXPECT_EQ(self->len, dm_migrate_sum(&m));
	EXPECT_TRUE(bits_are(mem, self->len, PAGEMAP_UFFD_WP, want));

	memset(self->buf, 1, self->len);
	ASSERT_EQ(0, dm_read(self->fd, mem, self->buf, self->len));
	EXPECT_TRUE(dm_zero(self->buf, self->len));
	EXPECT_TRUE(bits_are(mem, self->len, PAGEMAP_UFFD_WP, want));
	EXPECT_NE(0, dm_write64(self->fd, mem, 1));
	EXPECT_TRUE(dm_zero(mem, self->len));

	ASSERT_EQ(0, protect(uffd, mem, self->len, false));
	ASSERT_EQ(0, dm_write64(self->fd, mem, 1));
	EXPECT_EQ(1, dm_peek(mem));
	close(uffd);
	munmap(mem, self->len);
}

/*
 * The page of zeroes, protected: mm forgets of that what it replaces. So it stays, and
 * the write is an event.
 */
TEST_F(state, uffd_wp_zero)
{
	char *mem = dm_map(&self->dm, self->len);
	struct dmirror_migrate m;
	bool want[MAX_PAGES];
	const char *why;
	pthread_t thread;
	__u64 flags;
	int uffd;

	ASSERT_NE(NULL, mem);
	why = watch(mem, self->len, UFFDIO_REGISTER_MODE_WP, &uffd);
	if (why)
		SKIP(return, "%s", why);
	memset(want, true, sizeof(want));
	EXPECT_TRUE(dm_zero(mem, self->len));
	ASSERT_EQ(0, protect(uffd, mem, self->len, true));
	ASSERT_TRUE(bits_are(mem, self->len, PAGEMAP_UFFD_WP, want));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, mem, self->len,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(self->len, m.unsupported);
	/* In the other direction there is nothing to move, as ever. */
	ASSERT_EQ(0, dm_migrate_raw(self->fd, mem, self->len,
				    DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(self->len, m.resident);
	EXPECT_TRUE(bits_are(mem, self->len, PAGEMAP_UFFD_WP, want));
	EXPECT_NE(0, dm_write64(self->fd, mem, 1));

	ASSERT_EQ(0, pthread_create(&thread, NULL, write_thread, mem));
	ASSERT_EQ(mem, event(uffd, &flags));
	EXPECT_TRUE(flags & UFFD_PAGEFAULT_FLAG_WP);
	ASSERT_EQ(0, protect(uffd, mem, self->len, false));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(7, dm_peek(mem));
	close(uffd);
	munmap(mem, self->len);
}

/* Protected while the device has it mapped to write to: it may no longer. */
TEST_F(state, uffd_wp_as_it_writes)
{
	const char *why;
	unsigned int turn;
	int uffd;

	why = watch(self->mem, self->len, UFFDIO_REGISTER_MODE_WP, &uffd);
	if (why)
		SKIP(return, "%s", why);
	for (turn = 0; turn < 2; turn++) {
		if (turn)
			ASSERT_EQ(0, dm_to_device(self->fd, self->mem,
						  self->len));
		ASSERT_EQ(0, dm_write64(self->fd, self->mem, 1));
		ASSERT_EQ(0, protect(uffd, self->mem, self->len, true));
		EXPECT_NE(0, dm_write64(self->fd, self->mem, 2));
		EXPECT_EQ(1, dm_peek(self->mem));
		ASSERT_EQ(0, protect(uffd, self->mem, self->len, false));
		EXPECT_EQ(0, dm_write64(self->fd, self->mem, 3));
		EXPECT_EQ(3, dm_peek(self->mem));
	}
	close(uffd);
}

struct watched {
	int uffd;
	int fd;
	char *mem;
	size_t len;
	const char *contents;
	unsigned long missing;
	unsigned long protected;
};

/* A thread: what is missing gets its contents, what is protected is let go. */
static int handle_event(struct dm_worker *w)
{
	struct watched *s = w->arg;
	size_t page = dm_page_size();
	struct uffdio_copy copy = { .len = page };
	__u64 flags;
	char *at = event_within(s->uffd, 10, &flags);

	if (!at)
		return 0;
	if (flags & UFFD_PAGEFAULT_FLAG_WP) {
		s->protected++;
		return protect(s->uffd, at, page, false) ? -errno : 0;
	}
	s->missing++;
	copy.dst = (uintptr_t)at;
	copy.src = (uintptr_t)s->contents + (at - s->mem);
	return ioctl(s->uffd, UFFDIO_COPY, &copy) ? -errno : 0;
}

/* Another one */
static int there_and_back(struct dm_worker *w)
{
	struct watched *s = w->arg;
	struct dmirror_migrate m;
	int ret = dm_migrate_raw(s->fd, s->mem, s->len,
				 w->done & 1 ? DMIRROR_TARGET_SYSTEM :
					       DMIRROR_TARGET_DEVICE, &m);

	return ret ?: dm_migrate_sum(&m) == s->len ? 0 : -EILSEQ;
}

/*
 * Each time a page is discarded, or protected, and then touched there is an event, also
 * while all of it goes there and back all the time.
 */
TEST_F_TIMEOUT(state, uffd_as_it_migrates, 120)
{
	char *mem = dm_alloc(&self->dm, self->len, SEED), *at;
	struct watched s = {
		.fd = self->fd, .mem = mem, .len = self->len, .contents = self->mem,
	};
	struct dm_worker handler = { .step = handle_event, .arg = &s, .limit = ~0UL };
	struct dm_worker mover = { .step = there_and_back, .arg = &s, .limit = ~0UL };
	size_t n = self->len / self->page, i;
	/* Few everywhere: each waits for the memory to get there, often more than once. */
	unsigned int round, rounds = 50;
	const char *why;

	ASSERT_NE(NULL, mem);
	why = watch(mem, self->len, UFFDIO_REGISTER_MODE_MISSING |
		    UFFDIO_REGISTER_MODE_WP, &s.uffd);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_worker_start(&handler));
	ASSERT_EQ(0, dm_worker_start(&mover));
	for (round = 0; round < rounds; round++) {
		i = round * 7 % n;
		at = mem + i * self->page;
		if (round & 1) {
			ASSERT_EQ(0, protect(s.uffd, at, self->page, true));
			dm_poke(at, dm_word(SEED, i, 0));
		} else {
			ASSERT_EQ(0, madvise(at, self->page, MADV_DONTNEED));
			EXPECT_EQ(dm_word(SEED, i, 0), dm_peek(at));
		}
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, dm_worker_stop(&handler));
	EXPECT_LE(rounds / 2, s.missing);
	EXPECT_LE(rounds / 2, s.protected);
	EXPECT_EQ(0, dm_bad(mem, self->len, SEED));
	EXPECT_EQ(0, dm_stuck(self->fd, mem, self->len));
	close(s.uffd);
	munmap(mem, self->len);
}

/* A fork takes no protection away, of the device's memory neither. */
TEST_F(state, uffd_wp_and_fork)
{
	bool want[MAX_PAGES];
	unsigned int way;
	const char *why;
	pid_t pid;
	int uffd;

	memset(want, true, sizeof(want));
	why = watch(self->mem, self->len, UFFDIO_REGISTER_MODE_WP, &uffd);
	if (why)
		SKIP(return, "%s", why);
	for (way = 0; way < DM_WAYS; way++) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, self->len));
		ASSERT_EQ(0, protect(uffd, self->mem, self->len, true));
		pid = fork();
		if (!pid)
			_exit(0);
		EXPECT_EQ(0, dm_wait(pid));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_UFFD_WP,
				     want));
		ASSERT_EQ(0, dm_back(self->fd, self->mem, self->len, way));
		EXPECT_TRUE(bits_are(self->mem, self->len, PAGEMAP_UFFD_WP,
				     want));
		ASSERT_EQ(0, protect(uffd, self->mem, self->len, false));
	}
	EXPECT_EQ(0, dm_bad(self->mem, self->len, SEED));
	close(uffd);
}

/* Pages that userfaultfd has moved elsewhere: the device does not use them here. */
TEST_F(state, uffd_move)
{
	char *to = dm_map(&self->dm, self->len);
	struct uffdio_move move = {
		.dst = (uintptr_t)to,
		.src = (uintptr_t)self->mem,
		.len = self->len,
	};
	__u64 value = 1;
	const char *why;
	int uffd;

	ASSERT_NE(NULL, to);
	why = watch_with(to, self->len, UFFDIO_REGISTER_MODE_MISSING,
			 UFFD_FEATURE_MOVE, &uffd);
	if (why)
		SKIP(return, "%s", why);
	dm_fill(self->buf, self->len, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, self->len));
	ASSERT_EQ(0, ioctl(uffd, UFFDIO_MOVE, &move));
	EXPECT_EQ(0, dm_bad(to, self->len, SEED + 1));
	EXPECT_EQ(0, dm_read64(self->fd, self->mem, &value));
	EXPECT_EQ(0, value);
	EXPECT_EQ(0, dm_write64(self->fd, self->mem, 9));
	EXPECT_EQ(0, dm_bad(to, self->len, SEED + 1));
	EXPECT_EQ(9, dm_peek(self->mem));
	close(uffd);
	munmap(to, self->len);
}

/* What is protected while the device has it exclusively is so when the CPU has it again. */
TEST_F(state, uffd_wp_exclusive)
{
	struct dmirror_atomic a;
	const char *why;
	pthread_t thread;
	__u64 flags;
	int uffd;

	why = watch(self->mem, self->len, UFFDIO_REGISTER_MODE_WP, &uffd);
	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, self->mem, 8, 1, 0,
			       &a));
	ASSERT_EQ(DMIRROR_ATOMIC_EXCLUSIVE, a.flags);
	ASSERT_EQ(0, protect(uffd, self->mem, self->page, true));
	ASSERT_EQ(0, pthread_create(&thread, NULL, write_thread, self->mem));
	ASSERT_EQ(self->mem, event(uffd, &flags));
	EXPECT_TRUE(flags & UFFD_PAGEFAULT_FLAG_WP);
	EXPECT_EQ(dm_word(SEED, 0, 0) + 1, dm_peek(self->mem));
	ASSERT_EQ(0, protect(uffd, self->mem, self->page, false));
	ASSERT_EQ(0, pthread_join(thread, NULL));
	EXPECT_EQ(7, dm_peek(self->mem));
	close(uffd);
}

TEST_HARNESS_MAIN
