// SPDX-License-Identifier: GPL-2.0
/*
 * Transparent huge pages and devices. A device with DMIRROR_CAP_LARGE_FOLIO
 * moves one as one folio; any other moves the same memory page by page, and
 * has to pass the same tests.
 */
#include "kselftest_harness.h"
#include "dmirror_test.h"
#include "dmirror_advice.h"
#include "dmirror_inject.h"

#define SEED	0x74b

FIXTURE(thp)
{
	struct dm dm;
	unsigned int order;
	unsigned int refused;	/* pages that stay when the first allocation fails */
	size_t page;
	char *mem;
	char *buf;
	int hmm;
	int fd;
};

FIXTURE_VARIANT(thp)
{
	struct dm_backing backing;
};

FIXTURE_VARIANT_ADD(thp, private)
{
	.backing = { DMIRROR_MEMORY_PRIVATE, true },
};

FIXTURE_VARIANT_ADD(thp, coherent)
{
	.backing = { DMIRROR_MEMORY_COHERENT, true },
};

FIXTURE_SETUP(thp)
{
	const char *why = dm_setup(&self->dm, &variant->backing);

	if (why)
		SKIP(_exit(DM_SKIP_STATUS), "%s", why);
	ASSERT_LE(0, self->dm.device);
	self->fd = self->dm.fd;
	self->hmm = hmm_open(self->dm.device);
	self->page = self->dm.page;

	/* What a snapshot says of a huge page on this device */
	self->order = dm_large(&self->dm) ? 9 : 0;
	/*
	 * From 6.19 on the huge page is what is refused, and small ones do. Coherent
	 * memory is tried twice by that ABI, see try_again() in hmm_abi.c.
	 */
	self->refused = dm_kernel_before(6, 19) &&
			variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE;
	self->mem = dm_alloc(&self->dm, DM_HUGE, SEED);
	ASSERT_NE(NULL, self->mem);
	ASSERT_EQ(2048, dm_thp_kib(self->mem));
	self->buf = malloc(DM_HUGE);
	ASSERT_NE(NULL, self->buf);
}

FIXTURE_TEARDOWN(thp)
{
	dm_refuse_pages(NULL, false);
	free(self->buf);
	munmap(self->mem, DM_HUGE);
	if (self->hmm >= 0) {
		hmm_clear_flags(self->hmm);
		close(self->hmm);
	}
	close(self->fd);
}

/* How many pages of a huge page are mapped by an entry of this order */
static long count_order(int fd, const char *addr, unsigned int order)
{
	size_t n = DM_HUGE / dm_page_size(), i;
	struct dmirror_page *pages = calloc(n, sizeof(*pages));
	long count = 0;
	int ret;

	if (!pages)
		return -ENOMEM;
	ret = dm_snapshot(fd, addr, DM_HUGE, pages);
	for (i = 0; i < n; i++)
		count += pages[i].order == order;
	free(pages);
	return ret ? ret : count;
}

/* There as one folio, back as one folio. */
TEST_F(thp, there_and_back)
{
	long all = DM_HUGE / self->page;

	EXPECT_EQ(all, count_order(self->fd, self->mem, 9));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	EXPECT_TRUE(dm_all(self->fd, self->mem, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(all, count_order(self->fd, self->mem, self->order));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, DM_HUGE));
	EXPECT_EQ(0, dm_bad(self->buf, DM_HUGE, SEED));

	ASSERT_EQ(0, dm_to_system(self->fd, self->mem, DM_HUGE));
	EXPECT_TRUE(dm_all(self->fd, self->mem, DM_HUGE, DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(all, count_order(self->fd, self->mem, self->order));
	EXPECT_EQ(self->order ? 2048 : 0, dm_thp_kib(self->mem));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* The device reads and writes on it as on any memory. */
TEST_F(thp, access)
{
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	dm_fill(self->buf, DM_HUGE, SEED + 1);
	ASSERT_EQ(0, dm_write(self->fd, self->mem, self->buf, DM_HUGE));
	ASSERT_EQ(0, dm_fill_device(self->fd, self->mem + 100 * self->page,
				    self->page, 0));
	EXPECT_EQ(DM_HUGE / self->page,
		  count_order(self->fd, self->mem, self->order));
	EXPECT_TRUE(dm_zero(self->mem + 100 * self->page, self->page));
	dm_fill_from(self->mem + 100 * self->page, self->page, SEED + 1, 100);
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED + 1));
}

/* A CPU fault in the middle of it. */
TEST_F(thp, cpu_fault)
{
	char *p = self->mem + 137 * self->page;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	EXPECT_EQ(0, dm_bad_from(p, self->page, SEED, 137));
	if (variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE)
		EXPECT_EQ(DMIRROR_PLACE_SYSTEM, dm_where(self->fd, p).place);
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* Untouched memory, and the huge zero page, become a huge page of zeros. */
TEST_F(thp, hole)
{
	char *hole = dm_map(&self->dm, DM_HUGE);
	unsigned int i;

	ASSERT_NE(NULL, hole);
	for (i = 0; i < 2; i++) {
		if (i)
			EXPECT_TRUE(dm_zero(hole, DM_HUGE));
		ASSERT_EQ(0, dm_to_device(self->fd, hole, DM_HUGE));
		EXPECT_TRUE(dm_all(self->fd, hole, DM_HUGE,
				   DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(DM_HUGE / self->page,
			  count_order(self->fd, hole, self->order));
		memset(self->buf, 0xee, DM_HUGE);
		ASSERT_EQ(0, dm_read(self->fd, hole, self->buf, DM_HUGE));
		EXPECT_TRUE(dm_zero(self->buf, DM_HUGE));
		ASSERT_EQ(0, dm_write64(self->fd, hole + self->page, 5));
		EXPECT_EQ(5, dm_peek(hole + self->page));
		dm_poke(hole + self->page, 0);
		EXPECT_TRUE(dm_zero(hole, DM_HUGE));
		ASSERT_EQ(0, madvise(hole, DM_HUGE, MADV_DONTNEED));
	}
	munmap(hole, DM_HUGE);
}

/* Where the program wants no huge pages, a hole becomes none. */
TEST_F(thp, not_wanted)
{
	char *hole = dm_map(&self->dm, DM_HUGE);

	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, madvise(hole, DM_HUGE, MADV_NOHUGEPAGE));
	ASSERT_EQ(0, dm_to_device(self->fd, hole, DM_HUGE));
	EXPECT_TRUE(dm_all(self->fd, hole, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, count_order(self->fd, hole, 9));
	ASSERT_EQ(0, dm_to_system(self->fd, hole, DM_HUGE));
	EXPECT_EQ(0, dm_thp_kib(hole));
	EXPECT_TRUE(dm_zero(hole, DM_HUGE));
	munmap(hole, DM_HUGE);
}

/* A range that cuts into huge pages at both ends. */
TEST_F(thp, unaligned_range)
{
	char *mem = dm_alloc(&self->dm, 3 * DM_HUGE, SEED + 1);
	size_t cut = 7 * self->page;
	struct dmirror_migrate m;

	ASSERT_NE(NULL, mem);
	ASSERT_EQ(0, dm_migrate(self->fd, mem + cut, 3 * DM_HUGE - 2 * cut,
				DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(3 * DM_HUGE - 2 * cut, m.moved);
	EXPECT_TRUE(dm_all(self->fd, mem + cut, 3 * DM_HUGE - 2 * cut,
			   DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(14, dm_count(self->fd, mem, 3 * DM_HUGE,
			       DMIRROR_PLACE_SYSTEM));
	EXPECT_EQ(self->order,
		  dm_where(self->fd, mem + DM_HUGE).order);
	EXPECT_EQ(0, dm_bad(mem, 3 * DM_HUGE, SEED + 1));
	munmap(mem, 3 * DM_HUGE);
}

/* Half of it back to system memory: the folio on the device is split. */
TEST_F(thp, migrate_half_back)
{
	size_t half = DM_HUGE / 2;
	struct dmirror_migrate m;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	ASSERT_EQ(0, dm_migrate(self->fd, self->mem + half, half,
				DMIRROR_TARGET_SYSTEM, &m));
	EXPECT_EQ(half, m.moved);
	EXPECT_TRUE(dm_all(self->fd, self->mem, half, DMIRROR_PLACE_LOCAL));
	EXPECT_TRUE(dm_all(self->fd, self->mem + half, half,
			   DMIRROR_PLACE_SYSTEM));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, DM_HUGE));
	EXPECT_EQ(0, dm_bad(self->buf, DM_HUGE, SEED));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* Parts of it unmapped, from the start, the middle and the end. */
TEST_F(thp, partial_unmap)
{
	static const unsigned int first[] = { 0, 200, 448 };
	size_t part = 64 * self->page;
	struct dmirror_query before, after;
	char *mem;
	size_t i;

	ASSERT_EQ(0, dm_query(self->fd, &before));
	for (i = 0; i < ARRAY_SIZE(first); i++) {
		size_t at = first[i] * self->page;

		mem = dm_alloc(&self->dm, DM_HUGE, SEED + i);
		ASSERT_NE(NULL, mem);
		ASSERT_EQ(0, dm_to_device(self->fd, mem, DM_HUGE));
		ASSERT_EQ(0, munmap(mem + at, part));
		EXPECT_EQ(448, dm_count(self->fd, mem, DM_HUGE,
					DMIRROR_PLACE_LOCAL));

		/* By the device, then by the CPU. */
		if (at) {
			ASSERT_EQ(0, dm_read(self->fd, mem, self->buf, at));
			EXPECT_EQ(0, dm_bad(self->buf, at, SEED + i));
			EXPECT_EQ(0, dm_bad(mem, at, SEED + i));
		}
		if (at + part < DM_HUGE) {
			EXPECT_EQ(0, dm_bad_from(mem + at + part,
						 DM_HUGE - at - part, SEED + i,
						 first[i] + 64));
		}
		munmap(mem, DM_HUGE);
	}
	ASSERT_EQ(0, dm_query(self->fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
}

/* All but one page unmapped: that one is whole, and is freed in the end. */
TEST_F(thp, all_but_one_page)
{
	struct dmirror_query before, after;
	char *mem, *last;

	ASSERT_EQ(0, dm_query(self->fd, &before));
	mem = dm_alloc(&self->dm, DM_HUGE, SEED + 1);
	ASSERT_NE(NULL, mem);
	last = mem + DM_HUGE - self->page;
	ASSERT_EQ(0, dm_to_device(self->fd, mem, DM_HUGE));
	ASSERT_EQ(0, munmap(mem, DM_HUGE - self->page));
	ASSERT_EQ(0, dm_read(self->fd, last, self->buf, self->page));
	EXPECT_EQ(0, dm_bad_from(self->buf, self->page, SEED + 1, 511));
	EXPECT_EQ(0, dm_bad_from(last, self->page, SEED + 1, 511));
	ASSERT_EQ(0, munmap(last, self->page));
	ASSERT_EQ(0, dm_query(self->fd, &after));
	EXPECT_EQ(before.memory_used, after.memory_used);
}

/* The whole of it moved to another address, aligned and not. */
TEST_F(thp, remap)
{
	char *to = dm_map(&self->dm, 2 * DM_HUGE), *at;
	unsigned int i;

	ASSERT_NE(NULL, to);
	for (i = 0; i < 2; i++) {
		at = to + i * 5 * self->page;
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(at, mremap(self->mem, DM_HUGE, DM_HUGE,
				     MREMAP_MAYMOVE | MREMAP_FIXED, at));
		EXPECT_TRUE(dm_all(self->fd, at, DM_HUGE,
				   DMIRROR_PLACE_LOCAL));
		ASSERT_EQ(0, dm_read(self->fd, at, self->buf, DM_HUGE));
		EXPECT_EQ(0, dm_bad(self->buf, DM_HUGE, SEED));
		EXPECT_EQ(0, dm_bad(at, DM_HUGE, SEED));
		ASSERT_EQ(self->mem,
			  mremap(at, DM_HUGE, DM_HUGE,
				 MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
		EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	}
	munmap(to, 2 * DM_HUGE);
}

/* fork(), then both write to one page of it each. */
TEST_F(thp, fork)
{
	size_t at = 300 * self->page;
	pid_t pid;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	pid = fork();
	if (!pid) {
		dm_poke(self->mem + at, 1);
		DM_CHECK(!dm_bad(self->mem, at, SEED));
		dm_poke(self->mem + at, dm_word(SEED, 300, 0));
		DM_CHECK(!dm_bad(self->mem, DM_HUGE, SEED));
		_exit(0);
	}
	dm_poke(self->mem + at, 2);
	ASSERT_EQ(0, dm_write64(self->fd, self->mem + at + self->page, 3));
	EXPECT_EQ(0, dm_wait(pid));
	EXPECT_EQ(2, dm_peek(self->mem + at));
	EXPECT_EQ(3, dm_peek(self->mem + at + self->page));
	dm_poke(self->mem + at, dm_word(SEED, 300, 0));
	dm_poke(self->mem + at + self->page, dm_word(SEED, 301, 0));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/*
 * Shared with a child since fork(): it moves for both, as one or in pages, and
 * each of them finds it whole. The two map it by an entry each, and both of
 * these have to be split where the folio is.
 */
static int shared_rounds(const struct dm *dm, int hmm, unsigned int rounds)
{
	unsigned int i, step;
	char *buf = malloc(DM_HUGE);
	int bad = !buf, ret;

	for (i = 0; i < rounds && !bad; i++) {
		char *mem = dm_alloc(dm, DM_HUGE, SEED + i);
		__u64 *word = dm_shared();
		pid_t pid = fork();

		if (!pid) {
			dm_await(word, 1);
			_exit(!!dm_bad(mem, DM_HUGE, SEED + i));
		}
		for (step = 0; step < 4; step++) {
			struct dmirror_migrate m;

			if (hmm >= 0)
				hmm_call(hmm, HMM_FLAGS, mem, NULL,
					 HMM_FLAG_FAIL_ALLOC, NULL);
			ret = dm_migrate_raw(dm->fd, mem, DM_HUGE,
					     step & 1 ? DMIRROR_TARGET_SYSTEM :
							DMIRROR_TARGET_DEVICE,
					     &m);
			bad += ret && ret != -ENOSPC && ret != -ENOMEM;
			bad += dm_migrate_sum(&m) != DM_HUGE;
			bad += dm_read(dm->fd, mem, buf, DM_HUGE) != 0;
			bad += dm_bad(buf, DM_HUGE, SEED + i) != 0;
		}
		dm_poke(word, 1);
		bad += dm_wait(pid) != 0;
		bad += dm_bad(mem, DM_HUGE, SEED + i) != 0;
		munmap(word, dm->page);
		munmap(mem, DM_HUGE);
	}
	free(buf);
	return bad;
}

TEST_F_TIMEOUT(thp, shared, 120)
{
	EXPECT_EQ(0, shared_rounds(&self->dm, -1, 4));
}

/* The same where no huge page is to be had for it. */
TEST_F_TIMEOUT(thp, shared_no_room, 120)
{
	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	EXPECT_EQ(0, shared_rounds(&self->dm, self->hmm, 4));
}

/* One word somewhere in it: that word changes, and no other. */
TEST_F(thp, access_inside)
{
	static const unsigned int pages[] = { 1, 255, 511 };
	unsigned int i;
	__u64 value;
	char *p;

	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		p = self->mem + pages[i] * self->page;
		madvise(self->mem, DM_HUGE, MADV_COLLAPSE);
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(0, dm_read64(self->fd, p, &value));
		EXPECT_EQ(dm_word(SEED, pages[i], 0), value);
		EXPECT_EQ(DMIRROR_PLACE_LOCAL, dm_where(self->fd, p).place);

		/* With nothing mapped on the device but this page. */
		ASSERT_EQ(0, dm_to_system(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(0, dm_write64(self->fd, p, 5));
		EXPECT_EQ(5, dm_peek(p));
		dm_poke(p, dm_word(SEED, pages[i], 0));
		EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	}
}

/* PTEs map it, and the CPU's first touch is neither of its first page nor far. */
TEST_F(thp, fault_near_its_head)
{
	unsigned int i;

	for (i = 1; i < 16; i += 7) {
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(0, mprotect(self->mem + 40 * self->page, self->page,
				      PROT_READ));
		EXPECT_EQ(dm_word(SEED, i, 0),
			  dm_peek(self->mem + i * self->page));
		EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
		ASSERT_EQ(0, mprotect(self->mem + 40 * self->page, self->page,
				      PROT_READ | PROT_WRITE));
		madvise(self->mem, DM_HUGE, MADV_COLLAPSE);
	}
}

/* One page of it gets other rights, which splits the mapping of all. */
TEST_F(thp, split_by_protection)
{
	char *p = self->mem + 77 * self->page;

	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, DM_HUGE));
	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ));
	EXPECT_EQ(0, dm_where(self->fd, p).order);
	EXPECT_TRUE(dm_all(self->fd, self->mem, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(-EPERM, dm_write64(self->fd, p, 1));
	ASSERT_EQ(0, dm_write64(self->fd, p + self->page, 1));
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, DM_HUGE));
	EXPECT_EQ(1, dm_peek(self->buf + 78 * self->page));
	EXPECT_EQ(1, dm_peek(self->mem + 78 * self->page));
	dm_poke(self->mem + 78 * self->page, dm_word(SEED, 78, 0));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ | PROT_WRITE));

	/* There again, and out of the pages a whole one can be made. */
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* The kernel gathers pages into a huge one while they are on the device. */
TEST_F(thp, collapse)
{
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem + self->page,
				  7 * self->page));
	if (madvise(self->mem, DM_HUGE, MADV_COLLAPSE))
		TH_LOG("MADV_COLLAPSE: %s", strerror(errno));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	if (madvise(self->mem, DM_HUGE, MADV_COLLAPSE))
		TH_LOG("MADV_COLLAPSE: %s", strerror(errno));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

#define NODE_MOVES	24

/* The huge page goes from one node to the other, and stays a huge one on its way. */
static int change_node(struct dm_worker *w)
{
	int node = !(w->done & 1), status;
	void *page = w->arg;

	syscall(SYS_move_pages, 0, 1UL, &page, &node, &status, 2);
	return 0;
}

/*
 * The device reads a huge page of the system's that moves all the time: each move has
 * it fault, and while the page is on its way it waits.
 */
TEST_F_TIMEOUT(thp, moves_between_nodes, 60)
{
	struct dm_worker mover = {
		.step = change_node, .arg = self->mem, .limit = dm_rounds(NODE_MOVES),
	};
	char *p = self->mem + 200 * self->page;
	unsigned long reads = 0, bad = 0;
	__u64 value;
	int ret = 0;

	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return, "there is one node: boot with numa=fake=2");
	ASSERT_EQ(0, dm_read64(self->fd, p, &value));
	ASSERT_EQ(0, dm_worker_start(&mover));
	while (!ret && __atomic_load_n(&mover.done, __ATOMIC_ACQUIRE) < mover.limit) {
		ret = dm_read64(self->fd, p, &value);
		bad += value != dm_word(SEED, 200, 0);
		reads++;
	}
	EXPECT_EQ(0, dm_worker_stop(&mover));
	EXPECT_EQ(0, ret);
	EXPECT_EQ(0, bad);
	TH_LOG("%lu reads in %lu moves, %ld KiB are still a huge page", reads, mover.done,
	       dm_thp_kib(self->mem));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* A huge page that is mapped page by page, as mprotect() leaves it. */
TEST_F(thp, mapped_by_pages)
{
	char *p = self->mem + 9 * self->page;
	bool splits = dm_splits(&self->dm);
	struct dmirror_migrate m;

	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ));
	ASSERT_EQ(0, mprotect(p, self->page, PROT_READ | PROT_WRITE));
	ASSERT_EQ(0, dm_migrate_raw(self->fd, self->mem, DM_HUGE,
				    DMIRROR_TARGET_DEVICE, &m));
	EXPECT_EQ(DM_HUGE, splits ? m.moved : m.busy);
	EXPECT_EQ(m.moved / self->page,
		  dm_count(self->fd, self->mem, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* Atomics on every kind of huge page that is in system memory. */
TEST_F(thp, atomic)
{
	__u64 *word = (__u64 *)(self->mem + 33 * self->page);
	const unsigned int system = DMIRROR_ATOMIC_EXCLUSIVE |
				    DMIRROR_ATOMIC_BUS;
	struct dmirror_atomic a;
	unsigned int i;

	for (i = 0; i < 3; i++) {
		*word = 40;
		/* First mapped as a whole, then page by page. */
		if (i == 1) {
			madvise(self->mem, DM_HUGE, MADV_COLLAPSE);
			ASSERT_EQ(0, mprotect(self->mem, self->page,
					      PROT_READ));
			ASSERT_EQ(0, mprotect(self->mem, self->page,
					      PROT_READ | PROT_WRITE));
		}
		/* Then with a part of it gone. */
		if (i == 2)
			ASSERT_EQ(0, munmap(self->mem, self->page));
		ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_ADD, word, 8, 2,
				       0, &a));
		EXPECT_EQ(40, a.result);
		EXPECT_TRUE(a.flags & system);
		EXPECT_EQ(0, a.flags & ~system);
		ASSERT_EQ(0, dm_atomic(self->fd, DMIRROR_ATOMIC_CAS, word, 8,
				       50, 42, &a));
		EXPECT_EQ(42, a.result);
		EXPECT_EQ(50, *word);
	}
	*word = dm_word(SEED, 33, 0);
	EXPECT_EQ(0, dm_bad_from(self->mem + self->page, DM_HUGE - self->page,
				 SEED, 1));
}

/* No huge page to be had on the device: small ones do. */
TEST_F(thp, no_room_on_device)
{
	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_EQ(0, hmm_call(self->hmm, HMM_FLAGS, self->mem, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	hmm_call(self->hmm, HMM_TO_DEV, self->mem, self->buf, 512, NULL);
	/* Only the first was refused: the huge page, or one of the small ones. */
	if (self->order) {
		EXPECT_TRUE(dm_all(self->fd, self->mem, DM_HUGE,
				   DMIRROR_PLACE_LOCAL));
		EXPECT_EQ(512, count_order(self->fd, self->mem, 0));
	} else {
		EXPECT_EQ(512 - self->refused,
			  dm_count(self->fd, self->mem, DM_HUGE, DMIRROR_PLACE_LOCAL));
	}
	ASSERT_EQ(0, dm_read(self->fd, self->mem, self->buf, DM_HUGE));
	EXPECT_EQ(0, dm_bad(self->buf, DM_HUGE, SEED));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
}

/* No huge page to be had in system memory: small ones do there too. */
TEST_F(thp, no_room_in_system)
{
	unsigned int i;

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	for (i = 0; i < 2; i++) {
		madvise(self->mem, DM_HUGE, MADV_COLLAPSE);
		ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
		ASSERT_EQ(0, hmm_call(self->hmm, HMM_FLAGS, self->mem, NULL,
				      HMM_FLAG_FAIL_ALLOC, NULL));
		/* By a call, then by the CPU. */
		if (!i) {
			hmm_call(self->hmm, HMM_TO_SYS, self->mem, NULL, 512,
				 NULL);
			EXPECT_EQ(self->refused,
				  dm_count(self->fd, self->mem, DM_HUGE,
					   DMIRROR_PLACE_LOCAL));
		}
		EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
		EXPECT_EQ(0, dm_thp_kib(self->mem));
		EXPECT_EQ(0, dm_stuck(self->fd, self->mem, DM_HUGE));
	}
}

/* Nor does the engine copy: an error, and not a CPU that faults for ever. */
TEST_F(thp, no_room_and_no_copy)
{
	const char *why = dm_attr_start("fail_copy", 0, -1);

	if (why)
		SKIP(return, "%s", why);
	dm_attr_stop("fail_copy");
	if (dm_refuse_pages(NULL, false))
		SKIP(return, "no huge pages to be refused: CONFIG_FAIL_PAGE_ALLOC");
	ASSERT_EQ(0, dm_trap_init());
	ASSERT_EQ(0, dm_to_device(self->fd, self->mem, DM_HUGE));
	ASSERT_EQ(0, dm_refuse_pages("9", false));
	ASSERT_EQ(NULL, dm_attr_start("fail_copy", 0, -1));
	/* The CPU needs no copy of coherent memory. */
	EXPECT_EQ(variant->backing.memory_type == DMIRROR_MEMORY_PRIVATE ? 3 : 0,
		  dm_count_code(self->mem + 5 * self->page, 3 * self->page,
				BUS_ADRERR));
	dm_attr_stop("fail_copy");
	EXPECT_EQ(0, dm_refuse_pages(NULL, false));
	EXPECT_EQ(0, dm_bad(self->mem, DM_HUGE, SEED));
	EXPECT_EQ(0, dm_stuck(self->fd, self->mem, DM_HUGE));
}

/* A hole for which there is no huge page */
TEST_F(thp, no_room_for_hole)
{
	char *hole = dm_map(&self->dm, DM_HUGE);

	if (self->hmm < 0)
		SKIP(return, "the driver was loaded with hmm_abi=0");
	ASSERT_NE(NULL, hole);
	ASSERT_EQ(0, hmm_call(self->hmm, HMM_FLAGS, hole, NULL,
			      HMM_FLAG_FAIL_ALLOC, NULL));
	hmm_call(self->hmm, HMM_TO_DEV, hole, self->buf, 512, NULL);
	EXPECT_EQ(512 - self->refused,
		  dm_count(self->fd, hole, DM_HUGE, DMIRROR_PLACE_LOCAL));
	EXPECT_EQ(0, count_order(self->fd, hole, 9));
	memset(self->buf, 0xee, DM_HUGE);
	ASSERT_EQ(0, dm_read(self->fd, hole, self->buf, DM_HUGE));
	EXPECT_TRUE(dm_zero(self->buf, DM_HUGE));
	EXPECT_TRUE(dm_zero(hole, DM_HUGE));
	munmap(hole, DM_HUGE);
}

/* Many of them, there and back, more than once. */
TEST_F_TIMEOUT(thp, many, 60)
{
	const size_t len = 8 * DM_HUGE;
	char *mem = dm_alloc(&self->dm, len, SEED + 1);
	unsigned int i;

	ASSERT_NE(NULL, mem);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, dm_to_device(self->fd, mem, len));
		EXPECT_TRUE(dm_all(self->fd, mem, len, DMIRROR_PLACE_LOCAL));
		ASSERT_EQ(0, dm_to_system(self->fd, mem, len));
	}
	EXPECT_EQ(0, dm_bad(mem, len, SEED + 1));
	munmap(mem, len);
}

TEST_HARNESS_MAIN
